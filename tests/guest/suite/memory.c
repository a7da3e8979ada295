/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Instructions with operands in memory that traps, and what page tables, keys and levels allow. */
#include "suite.h"

/* ---- Operands that trap (pc-testdev's memory) ------------------------------------------------------------- */
static u8 plain[1024];
static void compare_strings(u8 *m)
{
    u8 *a, *b;
    u64 c;
    bool ok = true;

    for (unsigned i = 0; i < 200; i++) {
        plain[i] = (u8)i;
        m[i] = (u8)(i < 100 ? i : i + 1);
    }
    static const struct { u8 bytes; u16 count, left; } t[] = { { 1, 30, 0 }, { 2, 15, 0 }, { 4, 7, 0 }, { 8, 4, 0 },
                                                              { 1, 130, 29 }, { 2, 65, 14 }, { 4, 32, 6 }, { 8, 16, 3 } };
    for (unsigned i = 0; i < 8; i++) {
        a = m;
        b = plain;
        c = t[i].count;
        switch (t[i].bytes) {
        case 1: __asm__ volatile("repe cmpsb" : "+S"(a), "+D"(b), "+c"(c) : : "memory"); break;
        case 2: __asm__ volatile("repe cmpsw" : "+S"(a), "+D"(b), "+c"(c) : : "memory"); break;
        case 4: __asm__ volatile("repe cmpsl" : "+S"(a), "+D"(b), "+c"(c) : : "memory"); break;
        default: __asm__ volatile("repe cmpsq" : "+S"(a), "+D"(b), "+c"(c) : : "memory");
        }
        u64 moved = (u64)(t[i].count - t[i].left) * t[i].bytes;
        ok &= c == t[i].left && a == m + moved && b == plain + moved;
    }
    report(ok, "REPE CMPS");
    *(u64 *)m = 0x77665544332211;
    u8 z;
    a = m;
    __asm__ volatile("scasw; setz %0" : "=q"(z), "+D"(a) : "a"(0xff2211) : "memory");
    ok = z && a == m + 2;
    a = m;
    __asm__ volatile("scasq; setz %0" : "=q"(z), "+D"(a) : "a"(0x77665544332211) : "memory");
    report(ok && z && a == m + 8, "SCAS");
}

static void strings_to_ports(u8 *m)
{
    static const char text[] = "abcdefghijklmnop";
    const char *s = text;
    u64 c = 16;

    __asm__ volatile("rep outsb" : "+S"(s), "+c"(c) : "d"(0xe0) : "memory");
    bool ok = inb(0xe0) == 'p';
    s = text + 15;
    c = 16;
    __asm__ volatile("std; rep outsb; cld" : "+S"(s), "+c"(c) : "d"(0xe0) : "memory");
    report(ok && inb(0xe0) == 'a', "REP OUTS up and down");
    __asm__ volatile("outw %w0, %w1" : : "a"(0x9999), "d"(0xe0));
    u8 *to = m + 4032;
    c = 1024;
    __asm__ volatile("rep insb" : "+D"(to), "+c"(c) : "d"(0xe0) : "memory");
    report(m[4032] == 0x99 && m[4032 + 1023] == 0x99, "REP INS across pages that trap");
}

static void arithmetic(u64 *m)
{
    u64 rax = 0xfedcba9876543210;
    *m = 0x123456789abcdef;
    __asm__ volatile("xchg %%ax, %0" : "+m"(*m), "+a"(rax));
    bool ok = rax == 0xfedcba987654cdef && *m == 0x123456789ab3210;
    rax = 0xfedcba9876543210;
    *m = 0x123456789abcdef;
    __asm__ volatile("xadd %%eax, %0" : "+m"(*m), "+a"(rax));
    ok &= rax == 0x89abcdef && *m == 0x1234567ffffffff;
    *m = 5;
    rax = 5;
    __asm__ volatile("lock cmpxchgq %2, %0" : "+m"(*m), "+a"(rax) : "r"(77l));
    ok &= *m == 77;
    __asm__ volatile("lock incl %0; lock negq %0; lock notb %0; lock decl %0" : "+m"(*m));
    ok &= *m == (u64)-(0x4eul) + 0x4e - 0x100 + (u8)~(u8)-0x4e - 1;
    u32 *w = (u32 *)m;
    w[0] = w[1] = w[2] = w[3] = 0;
    __asm__ volatile("btcl $32, %0; btcl %2, %0; btcl %3, %1" : "+m"(w[0]), "+m"(w[3]) : "r"(66), "r"(-1) : "memory");
    ok &= w[0] == 1 && w[2] == (4 | 0x80000000u);
    report(ok, "XCHG, XADD, CMPXCHG, LOCK, BTC");
    *m = 0x12345678abcdef;
    __asm__ volatile("smsw %0" : "+m"(*m));
    report((u16)*m == (u16)READ_CR(0) && *m >> 16 == 0x12345678ab, "SMSW writes a word");
    *m = 0x10;
    __asm__ volatile("push %0; pop %%rcx; push %%rcx; pop %0" : "+m"(*m) : : "rcx");
    u64 rsp1, rsp2;
    __asm__ volatile("mov %%rsp, %0; pushw %2; popw %%cx; mov %%rsp, %1" : "=&r"(rsp1), "=&r"(rsp2) : "m"(*m) : "rcx");
    report(*m == 0x10 && rsp1 == rsp2, "PUSH and POP");
    *m = 0x1111111111111111;
    report(TRY("jmp *%0", : : "m"(*m)) == GP, "JMP to an address that is not canonical");
    *(u16 *)m = 0x10;
    __asm__ volatile("mov %0, %%ss" : : "m"(*(u16 *)m));
    *(u16 *)m = 3;
    report(TRY("mov %0, %%ss", : : "m"(*(u16 *)m)) == GP, "SS of another level");
}

static void vectors(u32 *m)
{
    u32 v[4] __attribute__((aligned(16))) = { 1, 2, 3, 4 }, w[4] __attribute__((aligned(16)));
    __asm__ volatile("movdqa %1, %%xmm0; movdqu %%xmm0, %0; movups %0, %%xmm1; movaps %%xmm1, %2"
                     : "+m"(*(u32(*)[4])m), "+m"(v), "=m"(w) : : "memory");
    bool ok = w[0] == 1 && w[3] == 4 && m[2] == 3;
    __asm__ volatile("movapd %0, %%xmm2; movupd %%xmm2, %1" : : "m"(*(u32(*)[4])m), "m"(w) : "memory");
    report(ok && w[2] == 3, "MOVDQU, MOVUPS, MOVAPD");
    report(TRY("movaps %%xmm0, %0", : "=m"(*(u32(*)[4])(m + 2))) == GP, "MOVAPS wants alignment");
    u64 x = 0x0102030405060708, y;
    __asm__ volatile("fninit; movq %2, %%mm0; movq %%mm0, %0; movq %0, %%mm1; movq %%mm1, %1; emms" : "+m"(*(u64 *)m), "=m"(y) : "m"(x));
    u16 control = 0;
    __asm__ volatile("fninit; fldcw %0; fldz; fldz; fdivp" : : "m"(control) : "memory");
    report(y == x && TRY("movq %%mm0, %0", : "=m"(*(u64 *)m)) == MF, "MOVQ; #MF before it writes");
    __asm__ volatile("fnclex; fninit");
    /* The same memory where code can reach it. */
    u64 *low = (u64 *)(*(u64 *)(pml4[0] & ~0xffful) & ~0xffful);
    u8 *code = plain + 512, *near = (u8 *)0x18000000;
    low[(u64)near >> 21] = 0xff000087;
    __asm__ volatile("invlpg %0" : : "m"(*near));
    code[0] = 0xc6;
    code[1] = 0x05;
    *(u32 *)(code + 2) = (u32)((u64)near + 2 - (u64)(code + 7));
    code[6] = 1;
    code[7] = 0xc3;
    *(u64 *)m = 0;
    __asm__ volatile("call *%0" : : "r"(code) : "memory");
    report(*m == 0x10000, "RIP relative");
}

/* Long enough with an exception unmasked that the translator takes another way, and back. */
static void unmasked(void)
{
    u32 open = 0x1d80, closed = 0x1f80, one = 0x3f800000, sum = 0, zero = 0, top = 0x4b000000;
    u16 control = 0x37b;
    double x = 0;
    bool ok = true;

    for (unsigned round = 0; round < 3; round++) {
        u32 n = 120000;
        __asm__ volatile("ldmxcsr %3; movss %2, %%xmm1; xorps %%xmm0, %%xmm0; 1: addss %%xmm1, %%xmm0; dec %1; jnz 1b; movss %%xmm0, %0"
                         : "=m"(sum), "+r"(n) : "m"(one), "m"(open) : "memory");
        ok &= sum == 0x47ea6000 && n == 0; /* 120000 */
        __asm__ volatile("ldmxcsr %0" : : "m"(closed));
    }
    report(ok, "vectors with an exception unmasked");
    __asm__ volatile("ldmxcsr %0; movss %1, %%xmm0" : : "m"(open), "m"(top));
    int vector = TRY("divss %0, %%xmm0", : : "m"(zero) : "memory");
    __asm__ volatile("ldmxcsr %0" : : "m"(closed));
    report(vector == 19, "and then it comes");
    for (unsigned i = 0; i < 60000; i++)
        __asm__ volatile("fninit; fldcw %1; fld1; fadd %%st(0), %%st(0); fstpl %0; fninit" : "=m"(x) : "m"(control) : "memory");
    report(*(u64 *)&x == 0x4000000000000000, "x87 with an exception unmasked");
    __asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp" : : "m"(control));
    report(TRY("fwait") == MF, "and then it comes");
    __asm__ volatile("fnclex; fninit");
}

void test_emulator(void)
{
    unmasked();
    u8 *m = (u8 *)0xff000000ul;
    u16 w;

    compare_strings(m);
    compare_strings(plain + 256 + 256);
    strings_to_ports(m);
    arithmetic((u64 *)m);
    vectors((u32 *)m);
    m[4095] = 0x99;
    m[4096] = 0x77;
    __asm__ volatile("mov %1, %0" : "=r"(w) : "m"(*(u16 *)(m + 4095)));
    bool ok = w == 0x7799;
    __asm__ volatile("mov %1, %0" : "=m"(*(u16 *)(m + 4095)) : "r"((u16)0x88aa));
    report(ok && m[4095] == 0xaa && m[4096] == 0x88, "a word across two pages that trap");
}

/* ---- Rights ----------------------------------------------------------------------------------------------- */
#define VA 0xffff923400000000ul
static u64 pdpt[512] __attribute__((aligned(4096))), pd[512] __attribute__((aligned(4096))), pt[512] __attribute__((aligned(4096)));
static u8 target[2 * 1024 * 1024] __attribute__((aligned(2 * 1024 * 1024)));
enum { W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80 };
#define NX (1ul << 63)
#define PK(e) ((e) >> 59 & 15)
#define RESERVED (1ul << 51)

static bool have_keys, have_supervisor_keys;
static u64 user_access(void);
static volatile unsigned kind; /* 0 read, 1 write, 2 fetch */
static u64 do_access(void)
{
    if (kind == 0)
        return (u64)TRY("movb (%0), %%cl", : : "r"(VA) : "rcx", "memory");
    if (kind == 1)
        return (u64)TRY("movb $0xc3, (%0)", : : "r"(VA) : "memory");
    return (u64)TRY("call *%0", : : "r"(VA) : "memory");
}
static u64 user_access(void) { return do_access(); }

static u32 pkru, pkrs;

/* What must happen; error: of the fault, accessed and dirty: of the leaf. */
static bool expect(u64 pde, u64 pte, bool user, u64 cr0, u64 cr4, bool nxe, u32 *ret_error)
{
    bool large = pde & PS, fetch = kind == 2, write = kind == 1;
    u64 all = pde & (large ? ~0ul : pte), leaf = large ? pde : pte, nx = nxe ? (pde | (large ? 0 : pte)) & NX : 0;
    u32 e = (write ? 2 : 0) | (user ? 4 : 0) | (fetch && (nxe || cr4 & 1u << 20) ? 16 : 0);
    u64 bad = RESERVED | (nxe ? 0 : NX), bad_large = bad | 1u << 13;

    *ret_error = e;
    if (!(pde & 1))
        return false;
    if (pde & (large ? bad_large : bad)) {
        *ret_error = e | 9;
        return false;
    }
    if (!large && !(pte & 1))
        return false;
    if (!large && (pte & bad)) {
        *ret_error = e | 9;
        return false;
    }
    *ret_error = e | 1;
    bool ok = !(user && !(all & U)) && !(write && !(all & W) && (user || cr0 & 1u << 16)) && !(fetch && nx) &&
              !(fetch && !user && all & U && cr4 & 1u << 20) && !(!fetch && !user && all & U && cr4 & 1u << 21);
    u64 keys_on = cr4 & (all & U ? 1u << 22 : 1u << 24);
    u32 bits = (all & U ? pkru : pkrs) >> PK(leaf) * 2 & 3;
    if (keys_on && !fetch && (bits & 1 || (bits & 2 && write && (user || cr0 & 1u << 16)))) {
        *ret_error |= 32;
        ok = false;
    }
    return ok;
}

static unsigned rnd_state = 12345;
static unsigned rnd(void) { return (rnd_state = rnd_state * 1103515245u + 12345u) >> 8 & 0xffff; }

static bool one_case(void)
{
    static const u64 bits[] = { 1, W, U, A, D, NX, RESERVED, 0 };
    u64 cr0 = READ_CR(0), cr4 = READ_CR(4), efer = rdmsr(0xc0000080);
    u64 pde = rnd() & 15 ? 1 : 0, pte = rnd() & 15 ? 1 : 0;
    unsigned r = rnd();
    bool large = rnd() & 1, user = rnd() & 1, nxe = rnd() & 7, twice = rnd() & 1;

    for (unsigned i = 1; i < 5; i++) {
        pde |= r >> i & 1 ? bits[i] : 0;
        pte |= r >> (i + 5) & 1 ? bits[i] : 0;
    }
    pde |= (rnd() & 7) == 0 ? NX : 0;
    pte |= (rnd() & 7) == 0 ? NX : 0;
    pde |= (rnd() & 31) == 0 ? RESERVED : 0;
    pte |= (rnd() & 31) == 0 ? RESERVED : 0;
    if (large)
        pde |= PS | (u64)target | (have_keys && rnd() & 1 ? 1ul << 59 : 0) | ((rnd() & 31) == 0 ? 1u << 13 : 0);
    else
        pde |= (u64)pt | (rnd() & 1 ? 2ul << 59 : 0);
    pte |= (u64)target | (have_keys && rnd() & 1 ? 1ul << 59 : 0);
    pd[0] = pde;
    pt[0] = pte;
    target[0] = 0xc3;
    __asm__ volatile("invlpg (%0)" : : "r"(VA) : "memory");
    u64 new0 = (cr0 & ~(1ul << 16)) | (rnd() & 1 ? 1u << 16 : 0);
    u64 new4 = cr4 & ~(1ul << 22 | 1ul << 24 | 1ul << 21);
    new4 |= have_keys && rnd() & 1 ? 1u << 22 : 0;
    new4 |= have_supervisor_keys && rnd() & 1 ? 1u << 24 : 0;
    new4 |= 0;
    pkru = (rnd() & 3) << 2 | 0x30;
    pkrs = (rnd() & 3) << 2 | 0x30;
    WRITE_CR(0, new0);
    WRITE_CR(4, new4);
    wrmsr(0xc0000080, (efer & ~(1ul << 11)) | (nxe ? 1u << 11 : 0));
    if (new4 & 1u << 22)
        __asm__ volatile("wrpkru" : : "a"(pkru), "c"(0), "d"(0));
    if (have_supervisor_keys)
        wrmsr(0x6e1, pkrs);
    u32 error;
    bool ok = true;
    if (twice) { /* what a first access by the kernel leaves in the TLB must not help the second */
        kind = 0;
        bool may = expect(pd[0], pt[0], false, new0, new4, nxe, &error);
        ok &= (do_access() == (u64)-1) == may;
    }
    kind = rnd() % 3;
    u64 before_pde = pd[0], before_pte = pt[0];
    bool may = expect(pd[0], pt[0], user, new0, new4, nxe, &error);
    u64 r2 = user ? in_user(user_access, 2) : do_access();
    int vector = (int)r2;
    ok &= may ? vector == -1 : vector == PF && got_error == error && got_cr2 == VA;
    u64 leaf_bits = may ? A | (kind == 1 ? D : 0) : 0;
    if (large)
        ok &= (pd[0] & ~(may ? 0ul : A)) == ((before_pde | leaf_bits) & ~(may ? 0ul : A));
    else
        ok &= pt[0] == (before_pte | leaf_bits) && (!may || pd[0] & A);
    WRITE_CR(0, cr0);
    WRITE_CR(4, cr4);
    wrmsr(0xc0000080, efer);
    if (!ok) {
        print("pde ");
        print_hex(before_pde);
        print(" pte ");
        print_hex(before_pte);
        print(user ? " user " : " kernel ");
        print_hex(kind);
        print(may ? " may" : " may not");
        print(" vector ");
        print_hex((u32)vector);
        print(" error ");
        print_hex(got_error);
        print(" wanted ");
        print_hex(error);
        print("\n");
    }
    return ok;
}

void test_access(void)
{
    struct cpuid c = cpuid(7, 0);
    unsigned bad = 0;

    have_keys = c.c & 8;
    have_supervisor_keys = c.c >> 31;
    pml4[VA >> 39 & 511] = (u64)pdpt | 7;
    pdpt[VA >> 30 & 511] = (u64)pd | 7;
    for (unsigned i = 0; i < 20000 && bad < 5; i++)
        bad += !one_case();
    report(!bad, have_keys ? "page rights, with keys" : "page rights");
    /* SMAP: the same page, by RFLAGS.AC. */
    u64 cr4 = READ_CR(4);
    if (c.b & 1u << 20) {
        pd[0] = (u64)pt | 7;
        pt[0] = (u64)target | 7;
        __asm__ volatile("invlpg (%0)" : : "r"(VA) : "memory");
        pml4[0] &= ~4ul; /* stacks and tables are the kernel's */
        WRITE_CR(3, READ_CR(3));
        WRITE_CR(4, cr4 | 1u << 21);
        kind = 0;
        u64 clear = do_access();
        bool ok = clear == PF && got_error == 1 && got_cr2 == VA;
        __asm__ volatile("stac");
        ok &= do_access() == (u64)-1;
        __asm__ volatile("clac");
        kind = 1;
        ok &= do_access() == PF && got_error == 3;
        kind = 2;
        ok &= do_access() == (u64)-1;
        WRITE_CR(4, cr4);
        pml4[0] |= 4;
        WRITE_CR(3, READ_CR(3));
        report(ok, "SMAP");
    }
}
