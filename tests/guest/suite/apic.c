/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The local APIC: modes, identity, messages, NMIs, timer. The I/O APIC: registers, edges, levels, destinations. */
#include "suite.h"

#define SELF_FIXED 0x44000u
#define NMI_TO 0x4400u
#define FIXED_TO 0x4000u

static volatile unsigned count, hits;
static void counted(struct regs *r)
{
    (void)r;
    __atomic_fetch_add(&count, 1, __ATOMIC_SEQ_CST);
    apic_write(APIC_EOI, 0);
}
static bool wait_count(unsigned want)
{
    for (u64 t = rdtsc(); rdtsc() - t < 60000000000 && count < want;)
        pause_();
    return count == want;
}
static int base(u64 v) { return try_wrmsr(APIC_BASE, v); }

static bool memory_is_off(void)
{
    volatile u32 *at = (u32 *)0xfee00000ul;
    u64 cr8 = READ_CR(8), now;

    set_memory((void *)0xfee00000ul, 0xff, 4096);
    bool ok = at[APIC_VERSION * 4] == ~0u && READ_CR(8) == cr8;
    WRITE_CR(8, cr8 ^ 15);
    now = READ_CR(8);
    ok &= now == (cr8 ^ 15) && at[APIC_TPR * 4] == ~0u;
    WRITE_CR(8, cr8);
    return ok;
}

static void modes(void)
{
    u64 old = rdmsr(APIC_BASE), off = old & ~(EN | EXTD);
    volatile u32 *at = (u32 *)0xfee00000ul;
    u32 version = apic_read(APIC_VERSION);

    report((version & 0xff) >= 0x10 && (version & 0xff) <= 0x15, "version");
    wrmsr(APIC_BASE, off);
    report(!(cpuid(1, 0).d & 1u << 9) && memory_is_off(), "switched off: no CPUID bit, no registers, CR8 works");
    apic_reset();
    bool ok = cpuid(1, 0).d & 1u << 9 && at[APIC_VERSION * 4] == version;
    WRITE_CR(8, 9);
    ok &= at[APIC_TPR * 4] == 0x90;
    WRITE_CR(8, 0);
    report(ok, "on again: CR8 is the task priority");
    report(base(off | EXTD) == GP, "x2APIC without the APIC");
    if (apic_enable_x2()) {
        report(memory_is_off(), "x2APIC has no registers in memory");
        report(base(off | EXTD) == GP && base(off | EN) == GP, "x2APIC is left only to off");
        report(base(off) == -1 && base(off | EXTD) == GP && base(off | EXTD | EN) == GP && base(off | EN) == -1, "off only to xAPIC");
    }
    wrmsr(APIC_BASE, off);
    wrmsr(APIC_BASE, 0xfed40000ul | 0x100 | EN);
    report(*(volatile u32 *)(0xfed40000ul + APIC_VERSION * 16) == version, "moved");
    wrmsr(APIC_BASE, old);
    report(base(old | 1ul << (cpuid(0x80000008u, 0).a & 0xff)) == GP && base(old | 1) == GP, "reserved bits of the base");
    apic_reset();
}

static volatile bool id_ok;
static void identity(void)
{
    u32 initial = cpuid(1, 0).b >> 24, id = apic_read(APIC_ID) >> 24;
    id_ok = initial == id;
    apic_write(APIC_ID, (id + 1) << 24);
    u32 now = apic_read(APIC_ID) >> 24;
    id_ok &= now == id || now == id + 1;
    if (apic_enable_x2())
        id_ok &= try_wrmsr(0x802, 5) == GP && apic_read(APIC_ID) == cpuid(0xb, 0).d && apic_read(APIC_ID) == initial;
    apic_reset();
    id_ok &= apic_read(APIC_ID) >> 24 == initial;
}

static void messages(bool x2)
{
    unsigned n = processors();

    handler[0xf1] = counted;
    __asm__ volatile("sti");
    count = 0;
    apic_command(SELF_FIXED | 0xf1, 0);
    report(wait_count(1), x2 ? "to itself, x2APIC" : "to itself, xAPIC");
    count = 0;
    apic_command(FIXED_TO | 0xf1, x2 ? ~0u : 0xff);
    report(wait_count(n), "to everybody by address");
    count = 0;
    apic_command(0x80000 | FIXED_TO | 0xf1, 0);
    report(wait_count(n), "to everybody by shorthand");
}

/* NMIs never come between STI and the next instruction. */
static volatile unsigned private_count, shown, in_shadow;
static volatile bool loop_on;
extern void after_sti(void);
static void sti_nmi(struct regs *r)
{
    private_count++;
    in_shadow += r->rip == (u64)after_sti;
}
static void sti_loop(void)
{
    for (u64 k = 0; loop_on; k++) {
        __asm__ volatile(".globl after_sti\n\tsti\nafter_sti:\n\ttestb $0, (%0)\n\tnop\n\tcli" : : "r"(k * 4096 % (16ul << 20)) : "memory");
        shown = private_count;
    }
}
static volatile bool nmi_done, flushed;
static volatile unsigned received, cpu0_a, cpu1_a, cpu0_b, cpu1_b;
static void count_nmi(struct regs *r) { (void)r; received++; }
static void flush(struct regs *r) { (void)r; flushed = true; apic_write(APIC_EOI, 0); }
static void kick(void)
{
    while (!nmi_done) {
        cpu1_a++;
        while (cpu1_a != cpu0_a && !nmi_done)
            pause_();
        if (nmi_done)
            return;
        apic_command(NMI_TO, 0);
        apic_command(FIXED_TO | 0x44, 0);
        cpu1_b++;
        while (cpu1_b != cpu0_b && !nmi_done)
            pause_();
    }
}
static void nmi_again(struct regs *r)
{
    (void)r;
    if (++received == 1)
        for (unsigned i = 0; i < 10; i++)
            apic_command(NMI_TO, 0);
}

static void nmis(void)
{
    handler[NMI] = sti_nmi;
    loop_on = true;
    on_cpu_async(1, sti_loop);
    while (shown < 1000) {
        unsigned old = shown;
        apic_command(NMI_TO, 1);
        while (shown == old)
            ;
    }
    loop_on = false;
    report(!in_shadow, "no NMI right behind STI");
    handler[NMI] = count_nmi;
    handler[0x44] = flush;
    on_cpu_async(1, kick);
    unsigned i;
    for (i = 0; i < 5000; i++) {
        flushed = false;
        received = 0;
        cpu0_a++;
        while (cpu1_a != cpu0_a)
            pause_();
        apic_command(NMI_TO, 0);
        while (!flushed)
            pause_();
        if (received != 2)
            break;
        cpu0_b++;
        while (cpu1_b != cpu0_b)
            pause_();
    }
    nmi_done = true;
    report(i == 5000, "two NMIs at once are two");
    handler[NMI] = nmi_again;
    for (i = 0; i < 5000; i++) {
        received = 0;
        apic_command(NMI_TO, 0);
        while (received < 2)
            pause_();
        if (received != 2)
            break;
    }
    report(received == 2, "ten NMIs during one are one more");
    handler[NMI] = 0;
}

static void wait_zero(u32 initial, bool half, bool wrap)
{
    u32 n = apic_read(APIC_TMCCT);
    if (!n)
        return;
    while (n > initial / 2)
        n = apic_read(APIC_TMCCT);
    if (half)
        return;
    while (n <= initial / 2 && n)
        n = apic_read(APIC_TMCCT);
    while (wrap && !n)
        n = apic_read(APIC_TMCCT);
}
static void mode(u32 m) { apic_write(APIC_LVT_TIMER, (apic_read(APIC_LVT_TIMER) & ~0x60000u) | m); }

/* Where other work of the host takes long in the wrong place, a count runs out: nothing is wrong then. */
static const char *change_modes(void)
{
    const u32 n = 0x999999 * 8;

    apic_write(APIC_TMICT, n);
    mode(0x20000);
    if (apic_read(APIC_TMICT) != n)
        return "the initial count stays when the mode changes";
    mode(0);
    apic_write(APIC_TMICT, n);
    if (!apic_read(APIC_TMCCT))
        return "a count runs";
    wait_zero(n, false, false);
    if (apic_read(APIC_TMCCT))
        return "counted down";
    apic_write(APIC_TMICT, n);
    wait_zero(n, true, false);
    mode(0x20000);
    u32 left = apic_read(APIC_TMCCT);
    if (!left || left > n / 2)
        return "to periodic: it goes on from where it was";
    wait_zero(n, false, true);
    if (apic_read(APIC_TMCCT) <= n / 2)
        return "and begins again";
    wait_zero(n, true, false);
    mode(0);
    if (apic_read(APIC_TMCCT) > n / 2)
        return "to one-shot: it goes on from where it was";
    wait_zero(n, false, false);
    mode(0x20000);
    return apic_read(APIC_TMCCT) ? "a one-shot that ended stays ended" : 0;
}

static void timer(void)
{
    const char *wrong;

    handler[0xee] = counted;
    __asm__ volatile("sti");
    count = 0;
    apic_write(APIC_LVT_TIMER, 0xee);
    apic_write(APIC_TDCR, 0xb);
    u64 t = rdtsc();
    apic_write(APIC_TMICT, 0x10000);
    while (!count)
        ;
    report(count == 1 && rdtsc() - t >= 0x10000, "one shot, not early");
    for (unsigned i = 0; (wrong = change_modes()) && i < 20; i++)
        mode(0);
    report(!wrong, wrong ? wrong : "the count when the mode changes");
    apic_write(APIC_LVT_TIMER, 0x10000);
    if (!(cpuid(1, 0).c & 1u << 24))
        return;
    count = 0;
    apic_write(APIC_LVT_TIMER, 0x40000 | 0xee);
    wrmsr(0x6e0, rdmsr(0x10));
    __asm__ volatile("nop");
    report(count == 1 && rdmsr(0x6e0) == 0, "a deadline that has passed interrupts at once");
    apic_write(APIC_LVT_TIMER, 0x10000);
}

void test_apic(void)
{
    modes();
    if (processors() > 1) {
        on_cpu(1, identity);
        report(id_ok, "identity of the second processor");
    }
    messages(false);
    if (apic_enable_x2())
        messages(true);
    if (processors() > 1)
        nmis();
    timer();
    apic_reset();
    timer();
}

/* ---- I/O APIC --------------------------------------------------------------------------------------------- */
static u32 io_read(u8 reg)
{
    *(volatile u32 *)0xfec00000ul = reg;
    return *(volatile u32 *)0xfec00010ul;
}
static void io_write(u8 reg, u32 v)
{
    *(volatile u32 *)0xfec00000ul = reg;
    *(volatile u32 *)0xfec00010ul = v;
}
static void line(unsigned n, u8 v) { outb((u16)(0x2000 + n), v); }
static void redirect(unsigned pin, u32 low, u32 destination)
{
    io_write((u8)(0x10 + pin * 2), 1u << 16);
    io_write((u8)(0x11 + pin * 2), destination << 24);
    io_write((u8)(0x10 + pin * 2), low);
}
static void mask(bool on) { io_write(0x10 + 28, (io_read(0x10 + 28) & ~(1u << 16)) | (on ? 1u << 16 : 0)); }
#define LEVEL (1u << 15)
#define NOP() __asm__ volatile("nop" : : : "memory")

static volatile int tmr, order, first;
static volatile u64 rip_low, rip_high;
static int trigger_bit(unsigned v) { return apic_read(APIC_TMR + v / 32) >> v % 32 & 1; }
static void lowered(struct regs *r) { (void)r; count++; tmr = trigger_bit(0x79); line(14, 0); apic_write(APIC_EOI, 0); }
static void edge_low(struct regs *r) { count++; first = order ? first : 1; order++; rip_low = r->rip; apic_write(APIC_EOI, 0); }
static void edge_high(struct regs *r) { count++; first = order ? first : 2; order++; rip_high = r->rip; apic_write(APIC_EOI, 0); }
static void raised_again(struct regs *r)
{
    (void)r;
    if (++count == 1) {
        line(14, 0);
        line(14, 1);
    }
    line(14, 0);
    apic_write(APIC_EOI, 0);
}
static void twice(struct regs *r) { (void)r; if (++count == 2) line(14, 0); apic_write(APIC_EOI, 0); }
static void masks(struct regs *r) { (void)r; count++; mask(true); apic_write(APIC_EOI, 0); }
static void moves(struct regs *r)
{
    (void)r;
    count++;
    line(14, 0);
    io_write(0x11 + 28, 1u << 24);
    apic_write(APIC_EOI, 0);
}
static void locked(struct regs *r) { (void)r; __atomic_fetch_add(&count, 1, __ATOMIC_SEQ_CST); line(14, 0); apic_write(APIC_EOI, 0); }
static void delay(void) { for (u64 t = rdtsc(); rdtsc() - t < 20000000;) pause_(); }
static void toggle_there(void) { __asm__ volatile("cli"); delay(); line(14, 1); line(14, 0); __asm__ volatile("sti"); }
static void raise_there(void) { __asm__ volatile("cli"); delay(); line(14, 1); __asm__ volatile("sti"); }
static void flat_destination(void) { *(volatile u32 *)0xfee000d0ul = 1u << (24 + this_cpu()); }

static bool trigger_mode(u32 level, bool before)
{
    handler[0x79] = lowered;
    redirect(14, level | 0x79, 0);
    bool was = trigger_bit(0x79);
    tmr = -1;
    line(14, 1);
    line(14, 0);
    NOP();
    return was == before && tmr == (level != 0);
}
static bool trigger_mode_smp(u32 level, bool before)
{
    tmr = -1;
    redirect(14, level | 0x79, 0);
    bool was = trigger_bit(0x79);
    on_cpu_async(1, level ? raise_there : toggle_there);
    while (tmr == -1)
        pause_();
    return was == before && tmr == (level != 0);
}

void test_ioapic(void)
{
    u32 v = io_read(1);
    io_write(1, ~v);
    report(io_read(1) == v, "version is fixed");
    v = io_read(0);
    io_write(0, ~v);
    report((io_read(0) ^ v) == 0x0f000000, "identity has four bits");
    io_write(0, 0x0f000000);
    io_write(2, 0);
    report(io_read(2) == 0x0f000000, "arbitration follows it");
    io_write(0, v);
    __asm__ volatile("sti");
    handler[0x76] = lowered;
    count = 0;
    redirect(14, 0x76, 0);
    line(14, 1);
    line(14, 0);
    NOP();
    report(count == 1, "edge");
    count = 0;
    redirect(14, LEVEL | 0x76, 0);
    line(14, 1);
    NOP();
    report(count == 1, "level");
    handler[0x78] = edge_high;
    handler[0x66] = edge_low;
    count = 0;
    redirect(14, 0x78, 0);
    redirect(15, 0x66, 0);
    __asm__ volatile("cli");
    line(15, 1);
    line(15, 0);
    line(14, 1);
    line(14, 0);
    __asm__ volatile("sti");
    NOP();
    report(count == 2 && first == 2 && rip_low == rip_high, "two at once: the higher one first, both at one place");
    handler[0x98] = raised_again;
    count = 0;
    redirect(14, LEVEL | 0x98, 0);
    line(14, 1);
    NOP();
    report(count == 1, "a level that falls and rises while it is served");
    handler[0x98] = lowered;
    count = 0;
    line(14, 1);
    line(14, 1);
    NOP();
    report(count == 2, "two levels, one after the other");
    handler[0x9a] = twice;
    count = 0;
    redirect(14, LEVEL | 0x9a, 0);
    __asm__ volatile("cli");
    line(14, 1);
    for (unsigned i = 0; i < 10 && count != 2; i++)
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    __asm__ volatile("sti");
    report(count == 2, "a level that stays comes again after EOI");
    count = 0;
    redirect(14, 0x76, 0);
    mask(true);
    line(14, 1);
    line(14, 0);
    NOP();
    bool ok = count == 0;
    mask(false);
    line(14, 1);
    NOP();
    report(ok && count == 1, "a masked edge is lost");
    count = 0;
    redirect(14, LEVEL | 0x76, 0);
    mask(true);
    line(14, 1);
    NOP();
    ok = count == 0;
    mask(false);
    NOP();
    report(ok && count == 1, "a masked level is not");
    handler[0x83] = masks;
    count = 0;
    redirect(14, LEVEL | 0x83, 0);
    line(14, 1);
    NOP();
    mask(false);
    NOP();
    line(14, 0);
    report(count == 2, "a level masked by its handler comes with the mask's end");
    mask(false);
    report(trigger_mode(0, false) && trigger_mode(LEVEL, false) && trigger_mode(LEVEL, true) && trigger_mode(0, true), "the trigger mode register");
    if (processors() < 2)
        return;
    handler[0x85] = lowered;
    count = 0;
    redirect(14, LEVEL | 0x85, 1);
    line(14, 1);
    report(wait_count(1), "physical destination");
    handler[0x79] = lowered;
    report(trigger_mode_smp(0, false) && trigger_mode_smp(LEVEL, false) && trigger_mode_smp(LEVEL, true) && trigger_mode_smp(0, true), "trigger mode, from another processor");
    handler[0x84] = moves;
    count = 0;
    redirect(14, LEVEL | 0x84, 0);
    line(14, 1);
    NOP();
    report(count == 1 && !(io_read(0x10 + 28) & 1u << 14), "a handler that moves its own interrupt away");
    if (processors() < 4)
        return;
    for (unsigned i = 1; i < 4; i++)
        on_cpu(i, flat_destination);
    flat_destination();
    handler[0x86] = locked;
    count = 0;
    redirect(14, LEVEL | 1u << 11 | 0x86, 0xd);
    line(14, 1);
    report(wait_count(3), "logical destination: three of four");
}
