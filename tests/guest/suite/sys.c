/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Hypercalls, MSRs, XCR0, SYSCALL with TF, control register bits, instructions that the model may lack, clocks. */
#include "suite.h"

#define NOT_CANONICAL 0xaaaaaaaaaaaaaaaaul
#define CANONICAL_57 0xffaaaaaaaaaaaaaaul
#define CANONICAL_48 0xffffaaaaaaaaaaaaul

/* ---- Hypercalls ------------------------------------------------------------------------------------------- */
static u64 table[3][512] __attribute__((aligned(4096)));
static u8 page[4096] __attribute__((aligned(4096)));

static bool at_the_edge(u8 last)
{
    u8 *top = (u8 *)((1ul << 47) - 4096);

    pml4[255] = (u64)table[0] | 7;
    table[0][511] = (u64)table[1] | 7;
    table[1][511] = (u64)table[2] | 7;
    table[2][511] = (u64)page | 7;
    WRITE_CR(3, READ_CR(3));
    set_memory(page, 0xcc, sizeof page);
    top[4093] = 0x0f;
    top[4094] = 0x01;
    top[4095] = last;
    u64 rax = ~0ul;
    TRY("jmp *%1", : "+a"(rax) : "r"(top + 4093) : "memory");
    return got == GP && got_rip == 1ul << 47;
}

void test_hypercall(void)
{
    u64 rax = 0xffffffffu;
    report(TRY("vmcall", : "+a"(rax)) == -1 && rax == (u64)-1000l, "VMCALL with an unknown number");
    rax = 0xffffffffu;
    report(TRY("vmmcall", : "+a"(rax)) == -1 && rax == (u64)-1000l, "VMMCALL with an unknown number");
    rax = 10;
    report(TRY("vmcall", : "+a"(rax) : "b"(0xffffffffl), "c"(0l), "d"(0xffffffffl), "S"(0l)) == -1 && rax == 0, "interrupts to nobody");
    report(at_the_edge(0xc1), "VMCALL at the edge of the canonical addresses");
    report(at_the_edge(0xd9), "VMMCALL at the edge of the canonical addresses");
}

/* ---- MSRs ------------------------------------------------------------------------------------------------- */
static bool keeps(u32 msr, u64 value)
{
    u64 old = rdmsr(msr);
    wrmsr(msr, value);
    bool ok = rdmsr(msr) == value;
    wrmsr(msr, old);
    return ok;
}

void test_msr(void)
{
    static const u32 addresses[] = { 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000082, 0xc0000083 };
    u64 v;
    bool ok = keeps(0x174, 0x1234) && keeps(0x175, 0x123456789abc) && keeps(0x176, 0x123456789abc) && keeps(0x277, 0x07070707) &&
              keeps(0xc0000084, 0xffffffff) && keeps(0x1a0, (0x400c50809 & ~0x1880ul) | (rdmsr(0x1a0) & 0x1880));
    for (unsigned i = 0; i < 5; i++)
        ok &= keeps(addresses[i], 0x123456789abc) && try_wrmsr(addresses[i], NOT_CANONICAL) == GP && try_wrmsr(addresses[i], CANONICAL_57) == GP &&
              keeps(addresses[i], CANONICAL_48);
    report(ok, "MSRs keep what they may and refuse addresses that are not canonical");
    report(keeps(0x4b564d02, 0x1043) && try_wrmsr(0x4b564d02, 0x1013) == GP, "asynchronous page faults can be asked for");
    v = rdmsr(0xc0000080);
    report(keeps(0xc0000080, v | 1) && try_wrmsr(0xc0000080, v ^ 0x100) == GP && try_wrmsr(0xc0000080, v | 1u << 13) == GP, "EFER");
    report(try_wrmsr(0x277, 2) == GP && try_wrmsr(0x277, 8) == GP, "memory types that do not exist");
    ok = true;
    for (unsigned bank = (unsigned)rdmsr(0x179) & 0xff; bank < 32; bank++)
        for (unsigned i = 0; i < 4; i++)
            ok &= try_rdmsr(0x400 + bank * 4 + i, &v) == GP && try_wrmsr(0x400 + bank * 4 + i, 0) == GP;
    report(ok, "error banks that do not exist");
    ok = true;
    for (unsigned m = 0x800; m < 0x900; m++)
        ok &= try_rdmsr(m, &v) == GP && try_wrmsr(m, 0) == GP && try_wrmsr(m, ~0ul) == GP;
    report(ok, "no x2APIC register in xAPIC mode");
    if (!apic_enable_x2())
        return;
    ok = true;
    for (unsigned r = 0; r < 0x100; r++) {
        bool ro = r == 2 || r == 3 || r == 0xa || r == 0xd || (r >= 0x10 && r < 0x28) || r == 0x39;
        bool rw = r == 8 || r == 0xf || r == 0x28 || r == 0x30 || (r >= 0x32 && r <= 0x38) || r == 0x3e;
        bool wo = r == 0xb || r == 0x3f;
        if (!rw && !wo)
            ok &= try_wrmsr(0x800 + r, 0) == GP;
        if (!rw && !ro)
            ok &= try_rdmsr(0x800 + r, &v) == GP;
        if (r != 0x30)
            ok &= try_wrmsr(0x800 + r, ~0ul) == GP;
        if (rw && r != 0xf)
            ok &= keeps(0x800 + r, 0);
        if (!ok) {
            print_hex(r);
            break;
        }
    }
    report(ok, "x2APIC registers by their kind");
    report(try_wrmsr(0x83f, 0x100) == GP && try_wrmsr(0x83f, 0xff00) == GP && try_wrmsr(0x83f, 0xff000000) == GP, "self interrupt beyond 255");
    apic_reset();
}

/* ---- XCR0 ------------------------------------------------------------------------------------------------- */
static int try_xsetbv(u64 index, u64 v) { return TRY("xsetbv", : : "a"((u32)v), "d"((u32)(v >> 32)), "c"(index) : "memory"); }
static int try_xgetbv(u64 index, u64 *v)
{
    u32 a = 0, d = 0;
    int r = TRY("xgetbv", : "+a"(a), "+d"(d) : "c"(index));
    *v = a | (u64)d << 32;
    return r;
}

static u8 area[4096] __attribute__((aligned(64)));
static u32 rdpkru(void) { u32 v; __asm__ volatile("rdpkru" : "=a"(v) : "c"(0) : "rdx"); return v; }
static void wrpkru(u32 v) { __asm__ volatile("wrpkru" : : "a"(v), "c"(0), "d"(0) : "memory"); }

static void keys_in_xsave(void)
{
    struct cpuid c = cpuid(0xd, 9);
    WRITE_CR(4, READ_CR(4) | 1u << 22);
    report(cpuid(7, 0).c & 1u << 4, "OSPKE follows CR4");
    report(c.a == 8 && c.b == 2688 && try_xsetbv(0, 0x207) == -1 && cpuid(0xd, 0).b == 2696 && cpuid(0xd, 1).b == 840, "size and place of PKRU");
    set_memory(area, 0, sizeof area);
    wrpkru(0x12345670);
    __asm__ volatile("xsave %0" : "+m"(area) : "a"(0x200), "d"(0) : "memory");
    wrpkru(0);
    report(*(u32 *)(area + 2688) == 0x12345670 && *(u64 *)(area + 512) == 0x200, "XSAVE keeps PKRU");
    __asm__ volatile("xrstor %0" : : "m"(area), "a"(0x200), "d"(0) : "memory");
    report(rdpkru() == 0x12345670, "XRSTOR takes it");
    set_memory(area, 0, sizeof area);
    __asm__ volatile("xsavec %0" : "+m"(area) : "a"(0x204), "d"(0) : "memory");
    report(*(u32 *)(area + 832) == 0x12345670 && *(u64 *)(area + 520) == (0x204 | 1ul << 63), "XSAVEC puts it behind the others");
    *(u64 *)(area + 512) = 0;
    __asm__ volatile("xrstor %0" : : "m"(area), "a"(0x200), "d"(0) : "memory");
    report(rdpkru() == 0, "XRSTOR of what is not there");
    u32 a;
    report(TRY("rdpkru", : "=a"(a) : "c"(1) : "rdx") == GP && TRY("wrpkru", : : "a"(0), "c"(0), "d"(1)) == GP, "RDPKRU, WRPKRU with other registers");
    WRITE_CR(4, READ_CR(4) & ~(1ul << 22));
    report(TRY("rdpkru", : "=a"(a) : "c"(0) : "rdx") == UD, "RDPKRU without CR4.PKE");
}

void test_xsave(void)
{
    u64 v, cr4 = READ_CR(4);
    bool ok = true;

    report(!(cpuid(1, 0).c & 1u << 27) && try_xgetbv(0, &v) == UD && try_xsetbv(0, 3) == UD, "XGETBV and XSETBV without OSXSAVE");
    if (!(cpuid(1, 0).c & 1u << 26)) {
        report(try_cr4(cr4 | 1u << 18) == GP, "OSXSAVE cannot be set without XSAVE");
        return;
    }
    WRITE_CR(4, cr4 | 1u << 18);
    report(cpuid(1, 0).c & 1u << 27, "OSXSAVE shows in CPUID");
    u64 alias = rdtsc() << 32;
    ok = try_xsetbv(alias, 1) == -1 && try_xgetbv(alias, &v) == -1 && v == 1 && try_xsetbv(0, 3) == -1 && try_xgetbv(0, &v) == -1 && v == 3;
    report(ok, "XCR0 by numbers with high bits");
    if (cpuid(0xd, 0).a & 4)
        report(try_xsetbv(0, 7) == -1 && try_xsetbv(0, 4) == GP && try_xsetbv(0, 5) == GP, "AVX needs SSE");
    report(try_xsetbv(0, 0) == GP && try_xsetbv(0, 2) == GP, "x87 stays");
    ok = true;
    for (unsigned i = 1; i < 64; i++) {
        ok &= (i == 1 || try_xgetbv(i, &v) == GP) && try_xsetbv(i, 1) == GP && try_xsetbv(i, 3) == GP;
        if (i < 32)
            ok &= try_xgetbv(1u << i, &v) == GP && try_xsetbv(1u << i, 3) == GP;
    }
    report(ok, "other XCRs");
    if (cpuid(7, 0).c & 8)
        keys_in_xsave();
    WRITE_CR(4, cr4);
    report(!(cpuid(1, 0).c & 1u << 27), "OSXSAVE goes with CR4");
}

/* ---- SYSCALL and TF --------------------------------------------------------------------------------------- */
static volatile u16 cs_at_db;
static volatile unsigned db_count;
static void syscall_db(struct regs *r)
{
    db_count++;
    cs_at_db = (u16)r->cs;
    r->rflags &= ~0x100ul;
}

/* The first #UD goes on behind its instruction of two bytes, the second back to the kernel. */
static volatile u16 cs_at_ud;
static volatile unsigned ud_count;
static volatile u64 ud_back, ud_stack;
static void compat_ud(struct regs *r)
{
    if (!ud_count++) {
        cs_at_ud = (u16)r->cs;
        r->rip += 2;
        return;
    }
    r->rip = ud_back;
    r->cs = 8;
    r->rsp = ud_stack;
    r->ss = 0x10;
}

/* A kernel that knows a processor without SYSCALL in 32-bit programs gives it no target; such a program gets #UD. */
static void syscall_without_target(void)
{
    wrmsr(0xc0000083, 0);
    handler[UD] = compat_ud;
    ud_count = 0;
    __asm__ volatile("push %%rbp\n\tpush %%rbx\n\tlea 1f(%%rip), %%rax\n\tmov %%rax, ud_back\n\tmov %%rsp, ud_stack\n\t"
                     "pushf; pop %%r11\n\tmov $compat_syscall, %%ecx\n\tsysretl\n"
                     "\t.code32\ncompat_syscall:\n\tmov $user_stack_top, %%esp\n\tsyscall\n\tud2\n\t.code64\n"
                     "1:\tpop %%rbx\n\tpop %%rbp"
                     : : : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory");
    handler[UD] = 0;
    report(ud_count == 2 && cs_at_ud == 0x23, "SYSCALL in 32-bit code without a target is #UD");
}

void test_syscall(void)
{
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
    wrmsr(0xc0000084, 0x100 | 0x400 | 0x200 | 0x4000);
    wrmsr(0xc0000081, 0x20ul << 48 | 0x8ul << 32);
    syscall_without_target();
    u64 target;
    __asm__ volatile("lea syscall32_target(%%rip), %0" : "=r"(target));
    wrmsr(0xc0000083, target);
    handler[DB] = syscall_db;
    cs_at_db = 0;
    db_count = 0;
    /* To 32-bit code that sets TF and calls: no trap in the kernel, one right after SYSRET, none behind it. */
    __asm__ volatile("push %%rbp\n\tpush %%rbx\n\tmov %%rsp, %%rbx\n\tpushf; pop %%r11\n\tmov $syscall_user32, %%ecx\n\tsysretl\n"
                     "\t.code32\nsyscall_user32:\n\tmov $user_stack_top, %%esp\n\tpushf; pop %%eax; or $0x100, %%eax; push %%eax; popf\n\tsyscall\n\tsyscall\n\t.code64\n"
                     "syscall32_target:\n\tcmpw $0, cs_at_db\n\tjne 1f\n\tmov %%eax, %%r11d\n\tsysretl\n"
                     "1:\tmov %%rbx, %%rsp\n\tmov $0x10, %%ecx; mov %%ecx, %%ss\n\tpop %%rbx\n\tpop %%rbp"
                     : : : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory");
    handler[DB] = 0;
    report(cs_at_db == 0x23 && db_count == 1, "TF at the end of SYSCALL and of SYSRET decides");
}

/* ---- Control registers, tables, absent instructions ------------------------------------------------------- */
static u64 user_tables(void)
{
    struct { u16 limit; u64 base; } __attribute__((packed)) p;
    u64 faults = 0, v = 0;
    faults |= (u64)(TRY("sgdt %0", : "=m"(p) : : "memory") == GP);
    faults |= (u64)(TRY("sidt %0", : "=m"(p) : : "memory") == GP) << 1;
    faults |= (u64)(TRY("sldt %%ax", : "+a"(v)) == GP) << 2;
    faults |= (u64)(TRY("str %%ax", : "+a"(v)) == GP) << 3;
    faults |= (u64)(TRY("smsw %%ax", : "+a"(v)) == GP) << 4;
    faults |= (u64)(TRY("mov %%cr0, %%rax", : "+a"(v)) == GP) << 5;
    return faults;
}

static int try_invpcid(u64 type, u64 pcid, u64 address)
{
    u64 d[2] = { pcid, address };
    return TRY("invpcid %0, %1", : : "m"(d), "r"(type) : "memory");
}

static void caches(void)
{
    static u64 target;
    struct cpuid c = cpuid(7, 0);
    report(TRY("clflush %0", : "+m"(target)) == -1 && TRY("sfence") == -1 && TRY("lfence") == -1 && TRY("mfence") == -1, "CLFLUSH and fences");
    report(TRY(".byte 0x66, 0x0f, 0xae, 0x3b", : : "b"(&target) : "memory") == (c.b >> 23 & 1 ? -1 : UD), "CLFLUSHOPT as CPUID says");
    report(TRY(".byte 0x66, 0x0f, 0xae, 0x33", : : "b"(&target) : "memory") == (c.b >> 24 & 1 ? -1 : UD), "CLWB as CPUID says");
    report(TRY(".byte 0x66, 0x0f, 0xae, 0xf0") == (c.c >> 5 & 1 ? -1 : UD) && TRY(".byte 0x66, 0x0f, 0xae, 0xf8") == UD, "no CLWB of a register, no PCOMMIT");
    report(TRY(".byte 0x0f, 0x01, 0xfd", : : "c"(0) : "rax", "rdx") == UD, "no RDPRU");
    report(TRY(".byte 0x0f, 0x38, 0xf0, 0xc0") == UD && TRY(".byte 0x8d, 0xc0") == UD, "MOVBE and LEA of registers");
}

static u64 user_selectors(void)
{
    u16 ds, es, fs, gs;
    __asm__ volatile("mov %%ds, %0\n\tmov %%es, %1\n\tmov %%fs, %2\n\tmov %%gs, %3" : "=r"(ds), "=r"(es), "=r"(fs), "=r"(gs));
    return ds | (u64)es << 16 | (u64)fs << 32 | (u64)gs << 48;
}

/* The selectors 1, 2 and 3 are null as well, and a return to another level makes them 0; bases stay. */
static void null_selectors(void)
{
    u64 old = user_selectors(), gs_base = rdmsr(0xc0000101);

    __asm__ volatile("mov %0, %%ds\n\tmov %1, %%es\n\tmov %2, %%fs\n\tmov %2, %%gs" : : "r"(3), "r"(1), "r"(2));
    wrmsr(0xc0000100, 0x12345678);
    wrmsr(0xc0000101, gs_base);
    u64 before = user_selectors(), user = in_user(user_selectors, 0x2);
    u64 base = rdmsr(0xc0000100), kept = rdmsr(0xc0000101);
    __asm__ volatile("mov %w0, %%ds\n\tmov %w1, %%es\n\tmov %w2, %%fs\n\tmov %w3, %%gs"
                     : : "r"(old), "r"(old >> 16), "r"(old >> 32), "r"(old >> 48));
    wrmsr(0xc0000101, gs_base);
    report(before == 0x0002000200010003, "null selectors keep their level");
    report(user == 0 && base == 0x12345678 && kept == gs_base, "a return to level 3 makes null selectors 0, their bases stay");
}

void test_system(void)
{
    u64 cr0 = READ_CR(0), cr3 = READ_CR(3), cr4 = READ_CR(4), v;
    struct cpuid c7 = cpuid(7, 0);
    struct { u16 limit; u64 base; } __attribute__((packed)) old, p;

    report(TRY("mov %0, %%cr4", : : "r"(0xfffffffful)) == GP && got_flags & 1u << 16, "#GP pushes RF");
    report(TRY("ud2") == UD && got_flags & 1u << 16, "#UD pushes RF");
    report(try_cr4(cr4 | 1u << 12) == GP, "no LA57 in 64-bit mode");
    report(try_cr3(cr3 | 1ul << 61) == GP && try_cr3(cr3 | 1ul << 62) == GP && try_cr4(cr4 | 1u << 28) == GP, "no linear address masking");
    report(try_cr4(cr4 | 1u << 17) == -1 && TRY("mov %0, %%cr0", : : "r"(cr0 & ~(1ul << 31))) == GP, "no paging switched off under PCIDE");
    WRITE_CR(4, cr4);
    WRITE_CR(3, cr3 | 1);
    report(try_cr4(cr4 | 1u << 17) == GP, "PCIDE needs PCID 0");
    WRITE_CR(3, cr3);
    report(try_invpcid(1, 0, 0) == -1 && try_invpcid(1, 1, 0) == GP && try_invpcid(4, 0, 0) == GP && try_invpcid(1, 0x1000, 0) == GP, "INVPCID without PCIDE");
    WRITE_CR(4, cr4 | 1u << 17);
    report(try_invpcid(2, 10, 0) == -1 && try_invpcid(0, 10, CANONICAL_48) == -1 && try_invpcid(0, 10, CANONICAL_57) == GP && try_invpcid(0, 10, NOT_CANONICAL) == GP, "INVPCID");
    WRITE_CR(4, cr4);

    __asm__ volatile("sgdt %0" : "=m"(old));
    p = old;
    p.base = CANONICAL_48;
    int good = TRY("lgdt %0; lgdt %1", : : "m"(p), "m"(old) : "memory");
    p.base = NOT_CANONICAL;
    report(good == -1 && TRY("lgdt %0", : : "m"(p) : "memory") == GP, "LGDT looks at the address");
    __asm__ volatile("sidt %0" : "=m"(old));
    p = old;
    p.base = NOT_CANONICAL;
    report(TRY("lidt %0", : : "m"(p) : "memory") == GP, "LIDT too");
    gdt[36] = 0x8200ul << 32 | 0xffff;
    gdt[37] = 0xffffaaaa;
    report(TRY("lldt %w0", : : "r"(36 * 8)) == -1, "LLDT of a canonical base");
    gdt[37] = 0xaaaaaaaa;
    report(TRY("lldt %w0", : : "r"(36 * 8)) == GP && got_error == 36 * 8, "LLDT of another");
    gdt[36] = 0x8900ul << 32 | 0x67;
    report(TRY("ltr %w0", : : "r"(36 * 8)) == GP && got_error == 36 * 8, "LTR too");
    __asm__ volatile("lldt %w0" : : "r"(0));

    v = in_user(user_tables, 0x3002);
    report(v == 1u << 5, "without UMIP tables can be read at level 3");
    if (c7.c & 4) {
        WRITE_CR(4, cr4 | 1u << 11);
        report(user_tables() == 0 && in_user(user_tables, 0x3002) == 0x3f, "with UMIP only at level 0");
        WRITE_CR(4, cr4);
    }
    caches();
    null_selectors();
    for (u64 aux = 0; aux < 3; aux++) {
        u32 c;
        u64 id;
        wrmsr(0xc0000103, aux * 10);
        __asm__ volatile("rdtscp" : "=c"(c) : : "rax", "rdx");
        __asm__ volatile(".byte 0xf3, 0x0f, 0xc7, 0xf8" : "=a"(id));
        report(c == aux * 10 && id == aux * 10, "RDTSCP and RDPID");
    }
    wrmsr(0xc0000103, 0);
    report(rdmsr(0x3b) == 0, "TSC_ADJUST is 0");
    u64 t = rdtsc();
    wrmsr(0x3b, 100000000000);
    report(rdmsr(0x3b) == 100000000000 && rdtsc() - t >= 100000000000, "TSC_ADJUST moves the TSC");
    wrmsr(0x3b, 0);
    t = rdtsc();
    wrmsr(0x10, 100000000000);
    u64 after = rdtsc();
    report(t <= 100000000000 - rdmsr(0x3b) && after >= 100000000000, "writing the TSC moves TSC_ADJUST");
    wrmsr(0x3b, 0);
}

/* ---- KVM's clock ------------------------------------------------------------------------------------------- */
static struct { u32 version, pad; u64 tsc, time; u32 mul; signed char shift; u8 flags, pad2[2]; } clock[2] __attribute__((aligned(64)));
static volatile u64 last, warps, rounds;

static u64 clock_read(unsigned cpu)
{
    __asm__ volatile("mfence" : : : "memory");
    u64 delta = rdtsc() - clock[cpu].tsc;
    delta = clock[cpu].shift < 0 ? delta >> -clock[cpu].shift : delta << clock[cpu].shift;
    return clock[cpu].time + (u64)((unsigned __int128)delta * clock[cpu].mul >> 32);
}
static volatile bool clock_lock;
static void clock_check(void)
{
    for (unsigned i = 0; i < 100000; i++) {
        while (__atomic_test_and_set(&clock_lock, __ATOMIC_ACQUIRE))
            pause_();
        u64 now = clock_read(this_cpu() != 0);
        if (now < last)
            warps++;
        last = now;
        __atomic_clear(&clock_lock, __ATOMIC_RELEASE);
    }
    __atomic_fetch_add(&rounds, 1, __ATOMIC_SEQ_CST);
}
static void clock_on(void) { wrmsr(0x4b564d01, (u64)&clock[this_cpu() != 0] | 1); }

void test_kvmclock(void)
{
    static struct { u32 version, seconds, nanoseconds; } wall;
    unsigned n = processors() > 1 ? 2 : 1;

    clock_on();
    wrmsr(0x4b564d00, (u64)&wall);
    report(clock[0].version == 2 && clock[0].flags & 1, "the clock page");
    bool ok = false;
    for (unsigned i = 0; i < 50 && !ok; i++) { /* the host may do other work between two readings */
        u64 t0 = rdtsc(), c0 = clock_read(0);
        while (rdtsc() - t0 < 50000000)
            pause_();
        u64 ticks = rdtsc() - t0, ns = clock_read(0) - c0;
        ok = ns > ticks - ticks / 16 && ns < ticks + ticks / 4;
    }
    report(ok, "it runs like the TSC (1 GHz)");
    print("WALL ");
    print_hex(wall.seconds + (wall.nanoseconds + clock_read(0)) / 1000000000);
    print("\n");
    if (n > 1)
        on_cpu(1, clock_on);
    if (n > 1)
        on_cpu_async(1, clock_check);
    clock_check();
    while (rounds < n)
        pause_();
    report(warps == 0, "it never goes back between processors");
    u64 before = clock_read(0);
    wrmsr(0x10, 0);
    u64 behind = clock_read(0);
    report(behind >= before && behind - before < 60000000000, "it does not follow a write of the TSC");
    wrmsr(0x3b, 0);
    wrmsr(0x4b564d01, 0);
}
