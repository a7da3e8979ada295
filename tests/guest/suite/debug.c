/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Single steps with shadows and exceptions, breakpoints, watchpoints, general detection, split locks. */
#include "suite.h"

#define ACTIVE_LOW 0xffff0ff0ul
#define BS (1ul << 14)
#define BD (1ul << 13)
#define DR(n) ({ u64 v_; __asm__ volatile("mov %%dr" #n ", %0" : "=r"(v_)); v_; })
#define SET_DR(n, v) __asm__ volatile("mov %0, %%dr" #n : : "r"((u64)(v)) : "memory")
/* TF on; rax holds the flags without it behind the next instruction that clears it. */
#define STEP_ON "pushf\n\tpop %%rax\n\tor $0x100, %%rax\n\tpush %%rax\n\tpopf\n\t"

static volatile u64 n, at[16], dr6[16];
static volatile bool got_ac;
static volatile u64 value;

static void step(struct regs *r)
{
    if (n < 16) {
        at[n] = r->rip;
        dr6[n] = DR(6);
    }
    if (n < 16 && dr6[n] & 4)
        r->rflags |= 1u << 16;
    if (++n >= 10) {
        r->rflags &= ~0x100ul;
        SET_DR(7, 0x400);
    }
}
static void alignment(struct regs *r) { (void)r; got_ac = true; }

static bool stepped(u64 i, u64 rip) { return dr6[i] == (ACTIVE_LOW | BS) && at[i] == rip; }
static bool icebp(u64 i, u64 rip) { return dr6[i] == ACTIVE_LOW && at[i] == rip; }

static u64 basic(void)
{
    u64 start;
    __asm__ volatile(STEP_ON "and $~0x100, %%rax\n\t1: push %%rax\n\tpopf\n\tlea 1b(%%rip), %0" : "=r"(start) : : "rax", "memory");
    return start;
}
static bool basic_ok(u64 s) { return n == 3 && stepped(0, s) && stepped(1, s + 1) && stepped(2, s + 2); }

static u64 slow_ones(void)
{
    u64 start;
    __asm__ volatile(STEP_ON "and $~0x100, %%rax\n\t1: push %%rax\n\txor %%rax, %%rax\n\tcpuid\n\tmovl $0x3fd, %%edx\n\tinb %%dx, %%al\n\tpopf\n\tlea 1b(%%rip), %0"
                     : "=r"(start) : : "rax", "rbx", "rcx", "rdx", "memory");
    return start;
}
static bool slow_ok(u64 s)
{
    return n == 7 && stepped(0, s) && stepped(1, s + 1) && stepped(2, s + 4) && stepped(3, s + 6) && stepped(4, s + 11) && stepped(5, s + 12) &&
           stepped(6, s + 13);
}

static u64 behind_sti(void)
{
    u64 start;
    __asm__ volatile("cli\n\t" STEP_ON "sti\n\t1: and $~0x100, %%rax\n\tpush %%rax\n\tpopf\n\tlea 1b(%%rip), %0" : "=r"(start) : : "rax", "memory");
    return start;
}
static bool sti_ok(u64 s) { return n == 4 && stepped(0, s) && stepped(1, s + 6) && stepped(2, s + 7) && stepped(3, s + 8); }

static u64 behind_ss(void)
{
    u64 start;
    __asm__ volatile("pushf\n\tpop %%rax\n\tor $0x100, %%rax\n\tpush %%rax\n\tmov %%ss, %%ax\n\tpopf\n\tmov %%ax, %%ss\n\tand $~0x100, %%rax\n\t1: push %%rax\n\tpopf\n\tlea 1b(%%rip), %0"
                     : "=r"(start) : : "rax", "memory");
    return start;
}

static u64 ss_icebp(void)
{
    u64 start;
    __asm__ volatile("pushf\n\tpop %%rax\n\tor $0x100, %%rax\n\tpush %%rax\n\tmov %%ss, %%ax\n\tpopf\n\tmov %%ax, %%ss\n\t.byte 0xf1\n\t1: .byte 0xf1\n\tand $~0x100, %%rax\n\tpush %%rax\n\tpopf\n\tlea 1b(%%rip), %0"
                     : "=r"(start) : : "rax", "memory");
    return start;
}
static bool icebp_ok(u64 s)
{
    return n == 5 && icebp(0, s) && icebp(1, s + 1) && stepped(2, s + 7) && stepped(3, s + 8) && stepped(4, s + 9);
}

static u64 detect(void)
{
    u64 start;
    SET_DR(7, 1u << 13);
    __asm__ volatile("xor %0, %0\n\tpushf\n\tpop %%rax\n\tor $0x100, %%rax\n\tpush %%rax\n\tmov %%ss, %%ax\n\tpopf\n\tmov %%ax, %%ss\n\t1: mov %0, %%dr6\n\tand $~0x100, %%rax\n\tpush %%rax\n\tpopf\n\tlea 1b(%%rip), %0"
                     : "=&r"(start) : : "rax", "memory");
    return start;
}
static bool detect_ok(u64 s)
{
    return n == 5 && dr6[0] == (ACTIVE_LOW | BD) && at[0] == s && stepped(1, s + 3) && stepped(2, s + 9) && stepped(3, s + 10) && stepped(4, s + 11);
}

static void end_timer(struct regs *r) { (void)r; apic_write(APIC_EOI, 0); }
static u64 sti_hlt(void)
{
    u64 start;
    __asm__ volatile("cli");
    handler[0xee] = end_timer;
    apic_write(APIC_LVT_TIMER, 0xee);
    apic_write(APIC_TDCR, 0xb);
    apic_write(APIC_TMICT, 1000000);
    __asm__ volatile(STEP_ON "sti\n\t1: hlt\n\tand $~0x100, %%rax\n\tpush %%rax\n\tpopf\n\tlea 1b(%%rip), %0" : "=r"(start) : : "rax", "memory");
    return start;
}
static bool hlt_ok(u64 s)
{
    return n == 5 && stepped(0, s) && stepped(1, s + 1) && stepped(2, s + 7) && stepped(3, s + 8) && stepped(4, s + 9);
}

static void run(u64 (*fn)(void), bool (*ok)(u64), const char *what, bool user)
{
    n = 0;
    SET_DR(6, 0);
    u64 start = fn();
    report(ok(start), what);
    if (!user)
        return;
    n = 0;
    SET_DR(6, 0);
    in_user(fn, 0x3002);
    report(ok(start), "  the same at level 3");
}

static u64 split_lock(void)
{
    static u8 buffer[128] __attribute__((aligned(64)));
    u64 *v = (u64 *)(buffer + 60), old = 0, magic = 0xdeadbeefdeadbeef;
    set_memory(buffer, 0, sizeof buffer);
    __asm__ volatile("lock cmpxchgq %2, %0" : "+m"(*v), "+a"(old) : "r"(magic) : "memory");
    return *v;
}

static void points(void)
{
    u64 rip;

    n = 0;
    __asm__ volatile("lea hw_bp1(%%rip), %0" : "=r"(rip));
    SET_DR(6, 0);
    SET_DR(2, rip);
    SET_DR(7, 0x400 | 0x20);
    __asm__ volatile("hw_bp1: nop");
    report(n == 1 && at[0] == rip && dr6[0] == (ACTIVE_LOW | 4), "a breakpoint faults before its instruction");
    n = 0;
    __asm__ volatile("lea hw_bp2(%%rip), %0" : "=r"(rip));
    SET_DR(2, rip);
    SET_DR(6, BS | 2);
    __asm__ volatile("hw_bp2: nop");
    report(n == 1 && at[0] == rip && dr6[0] == (ACTIVE_LOW | BS | 4), "DR6.BS is not cleared");
    SET_DR(7, 0x400);
    n = 0;
    SET_DR(1, &value);
    SET_DR(6, BS);
    SET_DR(7, 0x00d0040a);
    __asm__ volatile("movl $42, %0\n\tlea 1f(%%rip), %1\n\t1:" : "=m"(*(volatile u32 *)&value), "=r"(rip) : : "memory");
    report(n == 1 && dr6[0] == (ACTIVE_LOW | BS | 2) && at[0] == rip - 7, "a watchpoint traps behind its instruction");
    n = 0;
    SET_DR(6, 0);
    __asm__ volatile("movl $42, %0" : "=m"(*(volatile u32 *)&value) : : "memory");
    report(n == 1 && dr6[0] == (ACTIVE_LOW | 2), "and does not set DR6.BS");
    n = 0;
    SET_DR(6, 0);
    __asm__ volatile(".byte 0xf1\n\tlea 1f(%%rip), %0\n\t1:" : "=r"(rip));
    report(n == 1 && dr6[0] == ACTIVE_LOW && at[0] == rip - 7, "ICEBP");
    SET_DR(7, 0x400);
    value = 0x10;
    SET_DR(7, 0x00f0040a);
    n = 0;
    SET_DR(6, 0);
    __asm__ volatile("mov %0, %%ss\n\t.byte 0x2e, 0x2e, 0xf1\n\tlea 1f(%%rip), %1\n\t1:" : : "m"(value), "r"(rip) : "memory");
    report(n == 1, "MOV SS of watched memory and ICEBP are one exception");
    n = 0;
    SET_DR(6, 0);
    __asm__ volatile("mov %0, %%ss\n\tint $1" : : "m"(value) : "memory");
    report(n == 2, "MOV SS of watched memory and INT 1 are two");
    n = 0;
    SET_DR(6, 0);
    handler[BP] = end_timer;
    __asm__ volatile("mov %0, %%ss\n\tint3" : : "m"(value) : "memory");
    handler[BP] = 0;
    report(n == 1, "MOV SS of watched memory and INT 3");
    SET_DR(7, 0x400);
}

void test_debug(void)
{
    u64 cr4 = READ_CR(4), v;

    handler[DB] = step;
    handler[AC] = alignment;
    n = 0;
    report(split_lock() == 0xdeadbeefdeadbeef && in_user(split_lock, 0x2) == 0xdeadbeefdeadbeef && !got_ac && !n, "split locks");
    handler[AC] = 0;
    WRITE_CR(4, cr4 & ~8ul);
    SET_DR(6, ACTIVE_LOW | BS | 2);
    v = 0;
    __asm__ volatile(".byte 0x0f, 0x21, 0xe0" : "=a"(v)); /* DR4 */
    report(v == (ACTIVE_LOW | BS | 2), "DR4 is DR6");
    WRITE_CR(4, cr4 | 8);
    report(TRY(".byte 0x0f, 0x21, 0xe0", : "=a"(v)) == UD, "unless CR4.DE");
    WRITE_CR(4, cr4);
    SET_DR(6, 0);
    run(basic, basic_ok, "single step", true);
    run(slow_ones, slow_ok, "of CPUID and IN", true);
    run(behind_sti, sti_ok, "behind STI", true);
    run(behind_ss, basic_ok, "behind MOV SS", true);
    run(ss_icebp, icebp_ok, "ICEBP behind MOV SS", true);
    run(detect, detect_ok, "general detection behind MOV SS", false);
    run(sti_hlt, hlt_ok, "behind STI and HLT", false);
    __asm__ volatile("cli");
    points();
    handler[DB] = 0;
}
