/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Suspend to memory, ACPI S3: nothing runs behind it, the clock's alarm wakes, firmware jumps to the waking vector. */
#include "suite.h"

extern const u8 woken[], woken_end[];
static const u8 *table(u32 signature)
{
    const u8 *at = (u8 *)0xe0000;

    while (at < (u8 *)0x100000 && *(const u64 *)at != 0x2052545020445352ul) /* "RSD PTR " */
        at += 16;
    if (at == (u8 *)0x100000)
        return 0;
    const u32 *list = (const u32 *)(u64)*(const u32 *)(at + 16);
    for (u32 i = 9; i < list[1] / 4; i++)
        if (*(const u32 *)(u64)list[i] == signature)
            return (const u8 *)(u64)list[i];
    return 0;
}
static void clock_write(u8 reg, u8 v) { outb(0x70, reg); outb(0x71, v); }
static u8 clock_read(u8 reg) { outb(0x70, reg); return inb(0x71); }

void test_sleep(void)
{
    const u8 *fadt = table(0x50434146); /* "FACP" */
    u8 *copy = (u8 *)0x7000;
    volatile u32 *mark = (u32 *)0x6ff0;

    if (!fadt) {
        report(false, "ACPI tables");
        return;
    }
    *(volatile u32 *)(u64)(*(const u32 *)(fadt + 36) + 12) = 0x7000; /* FACS: waking vector */
    for (const u8 *at = woken; at < woken_end; at++)
        *copy++ = *at;
    u16 events = *(const u16 *)(fadt + 56), control = *(const u16 *)(fadt + 64);
    outw((u16)(events + 2), 0x400);                             /* the alarm wakes */
    while (!(clock_read(10) & 0x80))
        ;
    while (clock_read(10) & 0x80)
        ;
    for (u8 reg = 1; reg < 6; reg += 2)
        clock_write(reg, 0xc0);                                 /* every second */
    clock_read(12);
    clock_write(11, clock_read(11) | 0x20);
    print("asleep\n");
    *mark = 0x15;
    outw(control, 0x2400);
    for (;;)
        *mark = 1;
}
