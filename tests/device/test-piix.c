/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The pc chipset: shadow RAM registers, PIRQ routing, reset control, ACPI power management. */
#include "check.h"
#include "devices/chipset/i440fx.h"
#include "devices/chipset/pci_bus.h"
#include "devices/chipset/piix4pm.h"
#include "pci-helper.h"

enum { ISA = 1 << 3, PM = 1 << 3 | 3, BASE = 0x600 };

static struct { bool read_ram, write_ram; unsigned calls; } pam[GH_PAM_SEGMENTS];

static void note_pam(void *opaque, unsigned segment, bool read_ram, bool write_ram)
{
    pam[segment].read_ram = read_ram;
    pam[segment].write_ram = write_ram;
    pam[segment].calls++;
}

static struct gh_memory_control control = { .pam = note_pam };

static struct gh_board *board(struct gh_device **ret_pm)
{
    struct gh_board *b = fake_board_new();
    fake_provide(b, "memory-control", &control);
    fake_add(b, "i440fx", "pci0", NULL);
    fake_add(b, "piix3", "isa0", NULL);
    *ret_pm = fake_add(b, "piix4-pm", "pm0", NULL);
    return b;
}

static void test_pam(void)
{
    struct gh_device *pm;
    struct gh_board *b = board(&pm);
    memset(pam, 0, sizeof pam);
    CHECK_EQ(gh_pam_base(12), 0xf0000);
    cfg_write8(b, 0, 0x59, 0x30);
    CHECK(pam[12].read_ram && pam[12].write_ram && pam[12].calls == 1);
    cfg_write8(b, 0, 0x59, 0x10);
    CHECK(pam[12].read_ram && !pam[12].write_ram);
    cfg_write8(b, 0, 0x5a, 0x21);                             /* c0000 read, c4000 write */
    CHECK(pam[0].read_ram && !pam[0].write_ram && !pam[1].read_ram && pam[1].write_ram);
    cfg_write32(b, 0, 0x5c, 0x33333333);
    for (unsigned i = 4; i < 12; i++)
        CHECK(pam[i].read_ram && pam[i].write_ram);
    CHECK(!pam[2].calls && !pam[3].calls);
    fake_reset(b, GH_RESET_WARM);
    for (unsigned i = 0; i < GH_PAM_SEGMENTS; i++)
        CHECK(!pam[i].read_ram && !pam[i].write_ram);
    fake_board_free(b);
}

static void test_routing(void)
{
    struct gh_device *pm;
    struct gh_board *b = board(&pm);
    struct gh_pci_bus *bus = fake_lookup_service(b, "pci.0");
    CHECK_EQ(gh_pci_pirq(1 << 3, 1), 0);
    CHECK_EQ(gh_pci_pirq(3 << 3, 1), 2);
    CHECK_EQ(gh_pci_pirq(4 << 3, 2), 0);
    CHECK_EQ(gh_pci_pirq(0, 1), 3);
    struct gh_pci *fn = bus->slot[PM];                        /* any function will do: INTA of slot 1 = PIRQA */
    gh_pci_intx(fn, true);
    for (unsigned i = 0; i < 16; i++)
        CHECK(!fake_irq(b, i));
    cfg_write8(b, ISA, 0x60, 10);
    CHECK(fake_irq(b, 10));
    cfg_write8(b, ISA, 0x60, 11);
    CHECK(!fake_irq(b, 10) && fake_irq(b, 11));
    cfg_write16(b, PM, 4, 0x400);                             /* INTx disabled */
    CHECK(!fake_irq(b, 11));
    CHECK(cfg_read16(b, PM, 6) & 8);
    cfg_write16(b, PM, 4, 0);
    CHECK(fake_irq(b, 11));
    cfg_write8(b, ISA, 0x60, 13);                             /* reserved: goes nowhere */
    CHECK(!fake_irq(b, 11) && !fake_irq(b, 13));
    cfg_write8(b, ISA, 0x60, 5);
    fake_reset(b, GH_RESET_WARM);
    CHECK(!fake_irq(b, 5));
    CHECK_EQ(cfg_read32(b, ISA, 0x60), 0x80808080);
    fake_board_free(b);
}

static void test_reset_control(void)
{
    struct gh_device *pm;
    struct gh_board *b = board(&pm);
    fake_outb(b, 0xcf9, 2);
    CHECK_EQ(b->requests[GH_REQUEST_RESET], 0);
    fake_outb(b, 0xcf9, 6);
    CHECK_EQ(b->requests[GH_REQUEST_RESET], 1);
    fake_outb(b, 0xcf9, 6);                                   /* only the rising bit */
    CHECK_EQ(b->requests[GH_REQUEST_RESET], 1);
    CHECK_EQ(fake_inb(b, 0xcf9), 6);
    CHECK_EQ(fake_inl(b, 0xcf8), 0);
    fake_board_free(b);
}

static void enable_pm(struct gh_board *b)
{
    cfg_write32(b, PM, 0x40, BASE | 1);
    cfg_write8(b, PM, 0x80, 1);
}

static void test_pm(void)
{
    struct gh_device *pm;
    struct gh_board *b = board(&pm);
    CHECK_EQ(cfg_read32(b, PM, 0x58) & 1 << 25, 1 << 25);     /* firmware must skip SMM */
    CHECK_EQ(gh_piix4pm_base(pm), 0);
    CHECK_EQ(fake_inl(b, BASE + 8), 0xffffffff);
    enable_pm(b);
    CHECK_EQ(gh_piix4pm_base(pm), BASE);
    CHECK_EQ(fake_inw(b, BASE + 4), 0);
    fake_outb(b, 0xb2, 0xf1);
    CHECK_EQ(fake_inw(b, BASE + 4), 1);
    CHECK_EQ(fake_inb(b, 0xb2), 0xf1);
    /* The power button is an interrupt only where the guest asked for it. */
    gh_piix4pm_power_button(pm);
    CHECK_EQ(fake_inw(b, BASE), 0x100);
    CHECK(!fake_irq(b, 9));
    fake_outw(b, BASE + 2, 0x120);
    CHECK(fake_irq(b, 9));
    fake_outb(b, BASE, 0xff);                                 /* the other byte does not clear it */
    CHECK(fake_irq(b, 9));
    fake_outb(b, BASE + 1, 1);
    CHECK(!fake_irq(b, 9));
    CHECK_EQ(fake_inl(b, BASE), 0x01200000);
    /* General purpose events. */
    gh_piix4pm_event(pm, 1);
    CHECK(!fake_irq(b, 9));
    fake_outl(b, BASE + GH_PM_GPE_OFFSET, 0x00020000);
    CHECK(fake_irq(b, 9));
    fake_outw(b, BASE + GH_PM_GPE_OFFSET, 2);
    CHECK(!fake_irq(b, 9));
    /* Sleep: S4 is not there, S5 powers off. */
    fake_outw(b, BASE + 4, 0x2801);
    CHECK_EQ(b->requests[GH_REQUEST_SUSPEND] + b->requests[GH_REQUEST_POWEROFF], 0);
    CHECK_EQ(pm->guest_errors, 1);
    fake_outw(b, BASE + 4, 0x2001);
    CHECK_EQ(b->requests[GH_REQUEST_POWEROFF], 1);
    fake_outb(b, 0xb2, 0xf0);
    CHECK_EQ(fake_inw(b, BASE + 4), 0);
    cfg_write8(b, PM, 0x80, 0);
    CHECK_EQ(fake_inw(b, BASE + 4), 0xffff);
    fake_board_free(b);
}

static void test_sleep(void)
{
    struct gh_device *pm;
    struct gh_board *b = board(&pm);

    enable_pm(b);
    gh_piix4pm_rtc_alarm(pm);
    gh_piix4pm_power_button(pm);
    fake_outw(b, BASE + 4, 0x2400);                           /* S3 */
    CHECK_EQ(b->requests[GH_REQUEST_SUSPEND], 1);
    CHECK_EQ(fake_inw(b, BASE + 4), 0x400);                   /* SLP_EN reads as 0 */
    gh_piix4pm_rtc_alarm(pm);                                 /* not enabled */
    gh_piix4pm_sleep_button(pm);
    CHECK_EQ(b->requests[GH_REQUEST_WAKE], 0);
    fake_outw(b, BASE, 0xffff);
    fake_outw(b, BASE + 2, 0x400);
    gh_piix4pm_rtc_alarm(pm);
    CHECK_EQ(b->requests[GH_REQUEST_WAKE], 1);
    pm->class->reset(pm, GH_RESET_WAKE);
    enable_pm(b);
    CHECK_EQ(fake_inw(b, BASE), 0x8400);                      /* the guest sees that it slept, and what woke it */
    CHECK_EQ(fake_inw(b, BASE + 4), 0);
    gh_piix4pm_power_button(pm);                              /* awake: the guest's matter */
    CHECK_EQ(b->requests[GH_REQUEST_WAKE], 1);
    fake_outw(b, BASE + 4, 0x2400);
    gh_piix4pm_power_button(pm);
    CHECK_EQ(b->requests[GH_REQUEST_WAKE], 2);
    pm->class->reset(pm, GH_RESET_WARM);
    enable_pm(b);
    CHECK_EQ(fake_inw(b, BASE), 0);
    fake_board_free(b);
}

static void test_timer(void)
{
    struct gh_device *pm;
    struct gh_board *b = board(&pm);
    enable_pm(b);
    uint32_t start = fake_inl(b, BASE + 8);
    fake_step_ns(b, 1000000000);
    CHECK_EQ((fake_inl(b, BASE + 8) - start) & 0xffffff, 3579545);
    CHECK_EQ(fake_inl(b, BASE + 8) >> 24, 0);
    CHECK_EQ(fake_inw(b, BASE) & 1, 0);
    fake_step_ns(b, 1400000000);                              /* bit 23 changes after 2.34 s */
    CHECK_EQ(fake_inw(b, BASE) & 1, 1);
    fake_outw(b, BASE, 1);
    CHECK_EQ(fake_inw(b, BASE) & 1, 0);
    CHECK_EQ(fake_next_timer(b), UINT64_MAX);                 /* no host timer until it is wanted */
    fake_outw(b, BASE + 4, 1);
    fake_outw(b, BASE + 2, 1);
    CHECK(!fake_irq(b, 9));
    CHECK(fake_step_to_timer(b, 2400000000u));
    CHECK(fake_irq(b, 9));
    CHECK_EQ(fake_inl(b, BASE + 8) & 0x7fffff, 0);
    fake_outw(b, BASE, 1);
    CHECK(!fake_irq(b, 9));
    CHECK(fake_next_timer(b) != UINT64_MAX);
    fake_board_free(b);
}

/* The SCI and a PIRQ on one line: it stays high until both are quiet. */
static void test_shared_sci(void)
{
    struct gh_device *pm;
    struct gh_board *b = board(&pm);
    struct gh_pci_bus *bus = fake_lookup_service(b, "pci.0");
    enable_pm(b);
    fake_outw(b, BASE + 2, 0x100);                            /* power button */
    fake_outb(b, 0xb2, 0xf1);                                 /* SCI_EN */
    cfg_write8(b, ISA, 0x60, 9);
    gh_pci_intx(bus->slot[PM], true);
    CHECK(fake_irq(b, 9));
    gh_piix4pm_power_button(pm);
    gh_pci_intx(bus->slot[PM], false);
    CHECK(fake_irq(b, 9));
    fake_outw(b, BASE, 0x100);
    CHECK(!fake_irq(b, 9));
    gh_piix4pm_power_button(pm);
    gh_pci_intx(bus->slot[PM], true);
    fake_outw(b, BASE, 0x100);
    CHECK(fake_irq(b, 9));
    cfg_write8(b, ISA, 0x60, 0x80);
    CHECK(!fake_irq(b, 9));
    fake_board_free(b);
}

static void test_state(void)
{
    struct gh_device *pm;
    struct gh_board *b = board(&pm);
    struct gh_state_buffer first = { 0 }, second = { 0 };
    enable_pm(b);
    fake_outw(b, BASE + 4, 1);
    fake_outw(b, BASE + 2, 0x100);
    gh_piix4pm_power_button(pm);
    cfg_write8(b, ISA, 0x60, 10);
    cfg_write8(b, 0, 0x59, 0x30);
    fake_save(b, &first);
    fake_board_free(b);
    b = board(&pm);
    CHECK_EQ(fake_load(b, first.data, first.len, NULL), 0);
    CHECK(fake_irq(b, 9));
    CHECK(pam[12].read_ram);
    CHECK_EQ(fake_inw(b, BASE + 2), 0x100);
    fake_save(b, &second);
    CHECK(first.len == second.len && !memcmp(first.data, second.data, first.len));
    gh_state_buffer_fini(&first);
    gh_state_buffer_fini(&second);
    fake_board_free(b);
}

int main(void)
{
    test_pam();
    test_routing();
    test_reset_control();
    test_pm();
    test_sleep();
    test_timer();
    test_shared_sci();
    test_state();
    return check_result();
}
