/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which event comes first, and where: exceptions, software and hardware interrupts, priorities, NMIs inside NMIs. */
#include "suite.h"

#define TO_ITSELF 0x44000u
#define NMI_TO_FIRST 0x4400u
static volatile unsigned low, high, order, first, software_first;
static volatile u32 divisor;

static void came_low(struct regs *r) { (void)r; low++; first = order++ ? first : 1; apic_write(APIC_EOI, 0); }
static void came_high(struct regs *r) { (void)r; high++; first = order++ ? first : 2; apic_write(APIC_EOI, 0); }
static void came_software(struct regs *r) { (void)r; software_first = low == 0; }
static void mend_divisor(struct regs *r) { (void)r; divisor = 10; }
static void count_trap(struct regs *r) { (void)r; high++; }
static void clear(void) { low = high = order = first = software_first = 0; }

/* A gate whose code segment is absent; the handler mends it, and INT is executed again. */
static volatile u64 np_error;
static void mend_gate(struct regs *r)
{
    np_error = r->error;
    high++;
    gate_segment(0x42, 8);
}

static volatile unsigned nmi_depth, nmi_count;
static volatile bool nmi_nested;
static volatile u64 nmi_second;
extern const u8 inner_return[];
static void nested(struct regs *r)
{
    nmi_nested |= nmi_depth != 0;
    nmi_second = r->rip;
    if (++nmi_count > 1)
        return;
    nmi_depth++;
    apic_command(NMI_TO_FIRST, 0);
    for (unsigned i = 0; i < 1000; i++)
        pause_();
    nmi_depth--;
}
/* IRET ends the block wherever it is executed: the next NMI comes before the instruction that it goes to. */
static void inner_iret(struct regs *r)
{
    nmi_second = r->rip;
    if (++nmi_count > 1)
        return;
    apic_command(NMI_TO_FIRST, 0);
    __asm__ volatile("mov %%rsp, %%rax\n\tmov %%ss, %%ecx\n\tpush %%rcx\n\tpush %%rax\n\tpushf\n\tmov %%cs, %%ecx\n\tpush %%rcx\n\t"
                     "lea inner_return(%%rip), %%rax\n\tpush %%rax\n\tiretq\n\t.globl inner_return\ninner_return:" : : : "rax", "rcx", "memory");
}

static void nmis(void)
{
    handler[NMI] = nested;
    nmi_count = nmi_depth = 0;
    nmi_nested = false;
    apic_command(NMI_TO_FIRST, 0);
    for (u64 t = rdtsc(); nmi_count < 2 && rdtsc() - t < 20000000000;)
        pause_();
    report(nmi_count == 2 && !nmi_nested, "an NMI inside an NMI waits for IRET");
    handler[NMI] = inner_iret;
    nmi_count = 0;
    apic_command(NMI_TO_FIRST, 0);
    for (u64 t = rdtsc(); nmi_count < 2 && rdtsc() - t < 20000000000;)
        pause_();
    report(nmi_count == 2 && nmi_second == (u64)inner_return, "any IRET, and it comes right there");
    handler[NMI] = 0;
}

/* An interrupt to itself has come when the instruction behind the one that lets it in is done; HLT ends by it. */
static void to_itself(bool x2)
{
    unsigned wrong = 0;

    handler[0x41] = came_low;
    for (unsigned i = 0; i < 3000; i++) {
        clear();
        __asm__ volatile("cli");
        if (i & 4)
            WRITE_CR(8, 15);
        if (x2 && i & 8)
            wrmsr(0x83f, 0x41);
        else
            apic_command(TO_ITSELF | 0x41, 0);
        if (i & 4)
            WRITE_CR(8, 0);
        if (i & 1)
            __asm__ volatile("sti; nop" : : : "memory");
        else
            __asm__ volatile("sti; hlt" : : : "memory");
        wrong += low != 1;
    }
    report(!wrong, x2 ? "interrupts to itself, x2APIC" : "interrupts to itself, xAPIC");
    wrong = 0;
    for (unsigned i = 0; i < 300; i++) {
        clear();
        WRITE_CR(8, 15);
        apic_command(TO_ITSELF | 0x41, 0);
        wrong += low != 0;
        WRITE_CR(8, 0);
        __asm__ volatile("nop" : : : "memory");
        wrong += low != 1;
    }
    report(!wrong, "the task priority holds one back exactly as long as it is high");
    if (!(cpuid(1, 0).c & 1u << 24))
        return;
    apic_write(APIC_LVT_TIMER, 0x40000 | 0x41);
    wrong = 0;
    for (unsigned i = 0; i < 300; i++) {
        clear();
        wrmsr(0x6e0, rdtsc() + (i & 1 ? 3000 : 0));
        for (u64 t = rdtsc(); !low && rdtsc() - t < 20000000000;)
            __asm__ volatile("" : : : "memory");
        wrong += low != 1 || rdmsr(0x6e0) != 0;
    }
    report(!wrong, "deadlines come once");
    apic_write(APIC_LVT_TIMER, 0x10000);
}

void test_events(void)
{
    u32 quotient;

    handler[DE] = mend_divisor;
    divisor = 0;
    __asm__ volatile("divl %2" : "=a"(quotient) : "d"(0), "m"(divisor), "a"(1500));
    handler[DE] = 0;
    report(quotient == 150, "a division is executed again with a mended divisor");
    handler[BP] = count_trap;
    clear();
    __asm__ volatile("int3; int $3");
    report(high == 2, "INT3 and INT 3");
    handler[BP] = 0;

    handler[0x41] = came_low;
    handler[0x71] = came_high;
    clear();
    __asm__ volatile("cli");
    apic_command(TO_ITSELF | 0x41, 0);
    apic_command(TO_ITSELF | 0x71, 0);
    __asm__ volatile("sti; nop; cli" : : : "memory");
    report(low == 1 && high == 1 && first == 2, "two that wait both come, the higher one first");
    handler[0x42] = came_software;
    clear();
    apic_command(TO_ITSELF | 0x41, 0);
    __asm__ volatile("sti; int $0x42; cli" : : : "memory");
    report(software_first && low == 1, "INT in the shadow of STI comes before the interrupt that waits");
    clear();
    WRITE_CR(8, 15);
    __asm__ volatile("sti");
    apic_command(TO_ITSELF | 0x41, 0);
    apic_command(TO_ITSELF | 0x71, 0);
    apic_write(APIC_TPR, 0x40);
    __asm__ volatile("nop" : : : "memory");
    bool ok = low == 0 && high == 1;
    apic_write(APIC_TPR, 0);
    for (u64 t = rdtsc(); !low && rdtsc() - t < 20000000000;)
        pause_();
    report(ok && low == 1, "the task priority lets through what is above it");
    handler[NP] = mend_gate;
    handler[0x42] = count_trap;
    clear();
    gdt[37] = gdt[1] & ~(1ul << 47);
    gate_segment(0x42, 37 * 8);
    __asm__ volatile("int $0x42" : : : "memory");
    report(high == 2 && np_error == 37 * 8, "INT through a gate whose segment is absent, and again when it is there");
    handler[NP] = 0;
    gdt[37] = 0;
    nmis();
    to_itself(false);
    if (apic_enable_x2()) {
        to_itself(true);
        apic_reset();
    }
}
