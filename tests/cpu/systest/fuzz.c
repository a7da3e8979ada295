/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Guest of the system-instruction comparison: random descriptors, gates, task state segments and
 * stacks, one random privileged or segment operation a case, at every privilege level and in
 * virtual-8086 mode. Each case ends in an exception (the code areas are full of INT3); what it
 * arrived with is one line on port 0xe9. The lines of two implementations of the architecture
 * must be the same for the same seed.
 *
 * Memory: INT3 below 0x2f000, guest at 0x30000, its stack below 0x70000, ring stacks below 0x80000, tables
 * and TSSs at 0x80000; 1 MiB of data at 1 MiB that cases may write, 1 MiB of INT3 at 3 MiB.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

struct note {
    u32 vector, error, cs, eip, flags, outer_ss, outer_esp, ss, esp, ds, es, fs, gs;
    u32 eax, ebx, ecx, edx, esi, edi, ebp, cr0, tr, ldtr, v86_es, v86_ds, v86_fs, v86_gs, cr2;
};
struct start { u32 ebx, ecx, edx, ebp, edi, ds, es, fs, gs, esi, eax, eip, cs, flags, esp, ss, ves, vds, vfs, vgs; };
void launch(struct start *s) __attribute__((noreturn));
void df_entry(void);
extern const u32 vectors[32];

#define GDT_ENTRIES 64
#define LDT_ENTRIES 16
#define FIXED 16 /* first random entry of the GDT */
#define TASKS 8
#define GDT ((u32 *)0x80000)
#define LDT ((u32 *)0x80400)
#define IDT ((u32 *)0x80800)
#define TSS(n) (0x81000 + (n) * 0x100)
#define MAIN_TSS 0x82000
#define DF_TSS 0x82100
#define OPS 0x83000    /* the case's code; V86 can reach it */
#define PD ((u32 *)0x84000)
#define PT(n) ((u32 *)(0x85000 + (n) * 0x1000)) /* 0: the first 4 MiB; 1 to 4: the windows */
#define WINDOWS 4
#define WINDOW 0x800000
#define PAGES 16       /* of a window */
#define DATA 0x100000
#define FILL 0x300000
#define FRAME 0x7e000  /* where a case's start state is popped from; at level 0 it goes on below that */
#define AREA 0x100000
enum { SEL_CODE = 8, SEL_DATA = 16, SEL_TSS = 0x18, SEL_DF = 0x20, SEL_LDT = 0x28, SEL_CODE16 = 0x30, SEL_RING = 0x38 };

static u32 seed, left, number, detail, op_now, ring_now, paging;

static u32 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed * 0x9e3779b1u >> 3 ^ seed;
}
static u32 below(u32 n) { return (rnd() >> 4) % n; }
static int chance(u32 percent) { return below(100) < percent; }

static void out(u8 c) { __asm__ volatile("outb %0, %1" : : "a"(c), "Nd"((u16)0xe9)); }
static void hex(u32 v)
{
    int started = 0;
    for (int i = 28; i >= 0; i -= 4) {
        u32 d = v >> i & 15;
        if (!d && !started && i)
            continue;
        started = 1;
        out((u8)(d < 10 ? '0' + d : 'a' + d - 10));
    }
}
static void field(const char *name, u32 v)
{
    out(' ');
    while (*name)
        out((u8)*name++);
    out('=');
    hex(v);
}

static void descriptor(u32 *d, u32 base, u32 limit, u32 access, u32 ext)
{
    d[0] = (base & 0xffff) << 16 | (limit & 0xffff);
    d[1] = (base & 0xff000000u) | ext << 20 | (limit & 0xf0000) | access << 8 | (base >> 16 & 0xff);
}
static void gate(u32 *d, u32 selector, u32 offset, u32 access, u32 count)
{
    d[0] = selector << 16 | (offset & 0xffff);
    d[1] = (offset & 0xffff0000u) | access << 8 | count;
}

static u32 random_selector(void)
{
    if (chance(4))
        return below(4); /* null */
    if (chance(3))
        return below(0x1000);
    u32 rpl = below(4);
    if (chance(12))
        return (SEL_RING + below(8) * 8) | rpl;
    if (chance(5))
        return below(FIXED) * 8 | rpl;
    if (chance(25))
        return below(LDT_ENTRIES + 1) * 8 | 4 | rpl;
    return (FIXED + below(GDT_ENTRIES - FIXED)) * 8 | rpl;
}

static u32 random_limit(void)
{
    static const u32 limits[] = { 0, 7, 0xff, 0xfff, 0x1fff, 0xffff, 0xfffff };
    return chance(60) ? limits[4 + below(3)] : limits[below(7)];
}

static u32 random_offset(void)
{
    if (chance(75))
        return below(0x1000);
    if (chance(60))
        return below(0x20000);
    return chance(50) ? 0xfff0 + below(32) : (0x40000000u | (rnd() & 0xfffffffu));
}

static void random_descriptor(u32 *d)
{
    u32 dpl = below(4) << 5, present = chance(92) ? 0x80 : 0;
    if (chance(70)) {
        u32 type = below(16);
        u32 base = type & 8 ? FILL + (below(16) << 12) : DATA + (below(64) << 12);
        if (chance(5))
            base += below(16);
        /* An expand-down segment with a small limit reaches what lies outside: keep it 64 KiB or inside. */
        u32 ext = (chance(50) ? 4u : 0) | (chance(30) ? 8u : 0) | (chance(20) ? 1u : 0);
        u32 limit = random_limit();
        if (ext & 8)
            limit &= 0xff;
        if ((type & 0xc) == 4)
            ext &= ~4u;
        descriptor(d, base, limit, present | dpl | 0x10 | type, ext);
        return;
    }
    u32 type = below(16);
    switch (type) {
    case 1: case 3: case 9: case 11:
        descriptor(d, TSS(below(TASKS)), chance(90) ? (type & 8 ? 0x67u + below(32) : 0x2bu + below(16)) : below(0x68),
                   present | dpl | (chance(75) ? type & ~2u : type), chance(10) ? 8 : 0);
        break;
    case 2:
        descriptor(d, (u32)LDT, chance(80) ? LDT_ENTRIES * 8 - 1 : below(0x90), present | dpl | 2, 0);
        break;
    case 0: case 8: case 10: case 13:
        descriptor(d, rnd(), random_limit(), present | dpl | type, below(16));
        break;
    default:
        gate(d, random_selector(), random_offset(), present | dpl | type, chance(70) ? below(3) : below(32));
    }
}

static void random_tss(u32 base)
{
    u32 *t = (u32 *)base;
    for (u32 i = 0; i < 64; i++)
        t[i] = 0;
    if (chance(35)) { /* laid out for 16 bits */
        u16 *w = (u16 *)base;
        w[0] = 0;
        w[1] = 0x7800; w[2] = SEL_RING; /* stacks of rings 0 to 2 */
        w[3] = 0x7400; w[4] = SEL_RING + 8 + 1;
        w[5] = 0x7000; w[6] = SEL_RING + 16 + 2;
        w[7] = (u16)below(0x1000);
        w[8] = (u16)((rnd() & 0x7cd5) | 2);
        for (u32 i = 9; i < 17; i++)
            w[i] = (u16)rnd();
        w[13] = 0x4000;
        for (u32 i = 17; i < 21; i++)
            w[i] = (u16)random_selector();
        w[21] = chance(70) ? SEL_LDT : (u16)random_selector();
        if (paging) /* some descriptors take it for a 32-bit one */
            t[7] = (u32)PD;
        return;
    }
    t[1] = 0x7f000; t[2] = SEL_DATA;
    t[3] = 0x7d000; t[4] = SEL_RING + 8 + 1;
    t[5] = 0x7b000; t[6] = SEL_RING + 16 + 2;
    t[7] = paging ? (u32)PD : 0;
    t[8] = below(0x1000);
    t[9] = (rnd() & 0x27cd5) | 2;
    if (chance(80))
        t[9] &= ~0x20000u;
    if (chance(85))
        t[9] &= ~0x100u;
    for (u32 i = 10; i < 18; i++)
        t[i] = rnd();
    t[14] = 0x4000 + (rnd() & 0xfff); /* ESP */
    t[15] = rnd() & 0xffff;
    for (u32 i = 18; i < 24; i++)
        t[i] = random_selector();
    t[24] = chance(70) ? SEL_LDT : random_selector();
    t[25] = (chance(70) ? 0x68u << 16 : rnd() & 0xffff0000u);
}

static u32 page_flags(void)
{
    return (chance(88) ? 1u : 0) | (chance(70) ? 2u : 0) | (chance(70) ? 4u : 0) | (chance(30) ? 0x20u : 0);
}
static void renew_pages(void)
{
    for (u32 n = 0; n < WINDOWS; n++) {
        PD[2 + n] = chance(15) ? page_flags() | 0x80 : (u32)PT(1 + n) | page_flags();
        for (u32 i = 0; i < PAGES; i++)
            PT(1 + n)[i] = (chance(70) ? DATA : FILL) + (below(64) << 12) + (page_flags() | (chance(40) ? 0x40u : 0));
    }
}
static u32 page_sum(void)
{
    u32 s = 0;
    for (u32 n = 0; n < WINDOWS; n++) {
        s = s * 31 + PD[2 + n];
        for (u32 i = 0; i < PAGES; i++)
            s = s * 31 + PT(1 + n)[i];
    }
    return s;
}
static void start_paging(void)
{
    for (u32 i = 0; i < 1024; i++) {
        PD[i] = 0;
        PT(0)[i] = i << 12 | 0x67;
        for (u32 n = 0; n < WINDOWS; n++)
            PT(1 + n)[i] = 0;
    }
    PD[0] = (u32)PT(0) | 0x67;
    PD[1] = 0x400000 | 0xe7;
    renew_pages();
    __asm__ volatile("mov %0, %%cr4; mov %1, %%cr3; mov %%cr0, %%eax; or $0x80000000, %%eax; mov %%eax, %%cr0"
                     : : "r"(0x10), "r"(PD) : "eax");
}
static u32 window_address(void)
{
    return WINDOW + below(WINDOWS) * 0x400000 + below(PAGES) * 0x1000 + (chance(40) ? 0xffc + below(4) : below(0xff0));
}

static void renew(void)
{
    /* Cases may have written to what others execute. */
    for (u32 *p = (u32 *)0; p < (u32 *)0x2f000; p++)
        *p = 0xcccccccc;
    for (u32 *p = (u32 *)FILL; p < (u32 *)(FILL + 0x60000); p++)
        *p = 0xcccccccc;
    for (u32 i = FIXED; i < GDT_ENTRIES; i++)
        random_descriptor(GDT + 2 * i);
    for (u32 i = 0; i < LDT_ENTRIES; i++)
        random_descriptor(LDT + 2 * i);
    for (u32 i = 0; i < TASKS; i++)
        random_tss(TSS(i));
    if (paging)
        renew_pages();
    for (u32 v = 32; v < 64; v++) {
        static const u8 types[] = { 5, 6, 7, 14, 15, 14, 15, 12 };
        gate(IDT + 2 * v, random_selector(), random_offset(), (chance(92) ? 0x80u : 0) | below(4) << 5 | types[below(8)], 0);
    }
}

static u32 sum_of(u32 at, u32 bytes)
{
    u32 s = 0;
    const u32 *p = (const u32 *)at;
    for (u32 i = 0; i < bytes / 4; i++)
        s = (s << 1 | s >> 31) + p[i];
    return s;
}

static void set_tables(void)
{
    struct { u16 limit; u32 base; } __attribute__((packed)) g = { GDT_ENTRIES * 8 - 1, (u32)GDT }, i = { 64 * 8 - 1, (u32)IDT };
    GDT[2 * (SEL_TSS >> 3) + 1] &= ~0x200u; /* not busy */
    GDT[2 * (SEL_DF >> 3) + 1] &= ~0x200u;
    __asm__ volatile("lgdt %0; lidt %1; ljmp $8, $1f; 1: ltr %w2; lldt %w3" : : "m"(g), "m"(i), "r"(SEL_TSS), "r"(SEL_LDT));
}

static void dump(const char *name, u32 at, u32 words)
{
    for (u32 i = 0; i < words; i += 2) {
        out('D');
        field(name, i / 2 * 8);
        for (u32 k = 0; k < 2; k++) {
            out(' ');
            hex(((const u32 *)at)[i + k]);
        }
        out('\n');
    }
}
static void dump_all(void)
{
    dump("gdt", (u32)GDT, GDT_ENTRIES * 2);
    dump("ldt", (u32)LDT, LDT_ENTRIES * 2);
    dump("idt", (u32)IDT + 256, 64);
    dump("tss", TSS(0), TASKS * 64);
    dump("main", MAIN_TSS, 26);
    if (paging) {
        dump("pd", (u32)(PD + 2), WINDOWS);
        for (u32 n = 0; n < WINDOWS; n++)
            dump(n == 0 ? "pt0" : n == 1 ? "pt1" : n == 2 ? "pt2" : "pt3", (u32)PT(1 + n), PAGES);
    }
    dump("code", OPS, 20);
    dump("stack", 0x79000 - 64, 16);
    dump("stack0", 0x7e038 - 64, 16);
}

static u8 *op;
static void b(u32 v) { *op++ = (u8)v; }
static void w(u32 v) { b(v); b(v >> 8); }
static void d(u32 v) { w(v); w(v >> 16); }
static int wide; /* 32-bit code */
static void ofs(u32 v) { if (wide) d(v); else w(v); }
static void imm(u32 v) { ofs(v); }
static void mov_ax(u32 v) { b(0xb8); imm(v); }
static void push_imm(u32 v) { b(0x68); imm(v); }
/* An operand-size prefix now and then: the other size's form of the same instruction. */
static int other(void) { if (!chance(15)) return 0; b(0x66); return 1; }
static void push_sized(u32 v, int flip)
{
    if (flip)
        b(0x66);
    b(0x68);
    if (wide != flip)
        d(v);
    else
        w(v);
}

static const u8 segment_prefix[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };

static u32 load_segment(u32 n)
{
    static const u8 modrm[] = { 0xc0, 0xc8, 0xd0, 0xd8, 0xe0, 0xe8 };
    u32 selector = random_selector();
    mov_ax(selector);
    b(0x8e);
    b(modrm[n]);
    return selector;
}

static void access_through(u32 n)
{
    static const u8 forms[][2] = { { 0x8a, 1 }, { 0x8b, 2 }, { 0x88, 1 }, { 0x89, 2 }, { 0xff, 0 }, { 0x00, 1 } };
    u32 f = below(6);
    b(segment_prefix[n]);
    if (chance(10))
        b(0x66);
    b(forms[f][0]);
    if (wide) {
        b(0x05); /* [disp32], register 0 */
        d(random_offset());
    } else {
        b(0x06);
        w(random_offset());
    }
}

static void make_case(u32 kind)
{
    static const u8 pop_segment[] = { 0x07, 0x16, 0x16, 0x1f, 0, 0 };
    u32 n = below(6);
    int flip;
    switch (kind) {
    case 0:
        load_segment(n);
        break;
    case 1:
        if (n != 1) /* CS: as it is */
            load_segment(n);
        for (u32 i = 0; i <= below(3); i++)
            access_through(n);
        break;
    case 2: /* POP into a segment register */
        flip = chance(15);
        push_sized(random_selector(), flip);
        if (flip)
            b(0x66);
        if (n >= 4) {
            b(0x0f);
            b(n == 4 ? 0xa1 : 0xa9);
        } else {
            b(pop_segment[n]);
        }
        break;
    case 3: { /* LES LDS LSS LFS LGS from a pointer in memory at OPS + 0x100 */
        static const u8 codes[] = { 0xc4, 0xc5, 0xb2, 0xb4, 0xb5 };
        n = below(5);
        u32 *p = (u32 *)(OPS + 0x100);
        p[0] = rnd();
        p[1] = random_selector();
        if (!wide)
            p[0] = (p[0] & 0xffff) | random_selector() << 16;
        b(0x2e);
        if (n >= 2)
            b(0x0f);
        b(codes[n]);
        b(wide ? 0x05 : 0x06);
        ofs(wide ? OPS + 0x100 : 0x100);
        break;
    }
    case 4: /* LAR LSL VERR VERW */
        mov_ax(random_selector());
        b(0xbb);
        imm(0x55555555);
        other();
        b(0x0f);
        n = below(4);
        b(n == 0 ? 2 : n == 1 ? 3 : 0);
        b(n == 0 || n == 1 ? 0xd8 : n == 2 ? 0xe0 : 0xe8);
        break;
    case 5: /* far jump */
        flip = other();
        b(0xea);
        if (wide != flip)
            d(random_offset());
        else
            w(random_offset());
        w(random_selector());
        break;
    case 6: /* far call */
        for (u32 i = below(4); i; i--)
            push_imm(rnd());
        flip = other();
        b(0x9a);
        if (wide != flip)
            d(random_offset());
        else
            w(random_offset());
        w(random_selector());
        break;
    case 7: /* far return, to an outer level too */
        flip = chance(15);
        push_sized(random_selector(), flip);
        push_sized(0x4000 + below(0x1000), flip);
        n = chance(30) ? below(5) * 4 : 0;
        for (u32 i = 0; i < n; i += wide != flip ? 4 : 2)
            push_sized(rnd(), flip);
        push_sized(random_selector(), flip);
        push_sized(random_offset(), flip);
        if (flip)
            b(0x66);
        b(n ? 0xca : 0xcb);
        if (n)
            w(n);
        break;
    case 8: /* IRET */
        flip = chance(15);
        if (chance(50))
            for (u32 i = 0; i < 4; i++)
                push_sized(random_selector(), flip);
        push_sized(random_selector(), flip);
        push_sized(0x4000 + below(0x1000), flip);
        push_sized((rnd() & (chance(25) ? 0x274cd5u : 0x44cd5u)) | (chance(5) ? 0x100 : 0), flip);
        push_sized(random_selector(), flip);
        push_sized(ring_now == 5 ? random_offset() & 0xffff : random_offset(), flip); /* V86: implementations differ */
        if (flip)
            b(0x66);
        b(0xcf);
        break;
    case 9: /* interrupts */
        n = below(10);
        if (n == 0) {
            b(0xcc);
        } else if (n == 1) {
            b(0xce);
        } else {
            b(0xcd);
            b(n == 2 ? rnd() : 32 + below(34));
        }
        break;
    case 10: /* system registers */
        switch (below(9)) {
        case 0: mov_ax(random_selector()); b(0x0f); b(0); b(0xd0); break;           /* LLDT */
        case 1: mov_ax(random_selector()); b(0x0f); b(0); b(0xd8); break;           /* LTR */
        case 2: other(); b(0x0f); b(0); b(0xc0 | below(2) << 3); break;             /* SLDT STR */
        case 3: b(0x0f); b(6); break;                                               /* CLTS */
        case 4: other(); b(0x0f); b(1); b(0xe0); break;                             /* SMSW */
        case 5: b(0xb8); imm(below(16) << 1 & 8); b(0x0f); b(1); b(0xf0); break;   /* LMSW */
        case 6: b(0x0f); b(0x20); b(0xc0); break;                                   /* MOV EAX, CR0 */
        case 7: mov_ax(rnd()); b(0xbb); imm(rnd()); b(0x63); b(0xd8); break;        /* ARPL */
        default: b(ring_now == 0 || ring_now == 4 ? 0xfa : 0xf4); break;            /* HLT where it is refused */
        }
        break;
    case 11: /* flags and I/O privilege */
        switch (below(8)) {
        case 0: b(0xfa); break;
        case 1: flip = other(); b(0x9c); if (flip) b(0x66); b(0x58); break;
        case 2: flip = chance(15); push_sized((rnd() & 0x47dd5) & ~0x100u, flip); if (flip) b(0x66); b(0x9d); b(0x9c); b(0x58); break;
        case 3: b(0x66); b(0xba); if (wide) w(0x300 + below(512)); else d(0x300 + below(512)); b(0xec); b(0xb8); imm(0); break;
        case 4: b(0xe4); b(0x80); b(0xb8); imm(0); break;
        case 5: b(0xfb); b(0xfa); break;
        case 6: b(0x66); b(0xba); if (wide) w(0x380); else d(0x380); b(0xb8); imm(0); b(0xef - below(2)); break;
        default: b(0xfd); b(0xfc); break;
        }
        break;
    case 12: /* stack instructions on another stack */
        if (load_segment(2) >> 3 >= FIXED && chance(60)) { /* a flat stack at its end would reach what is not RAM */
            b(0xbc);
            imm(chance(50) ? below(0x40) : random_offset());
        }
        switch (below(6)) {
        case 0: other(); b(0x60); break;
        case 1: other(); b(0xc8); w(below(64)); b(below(4)); break;
        case 2: other(); b(0x9c); break;
        case 3: other(); b(0x50); b(0x5b); break;
        case 4: other(); b(0x61); break;
        default: b(0xbd); imm(below(0x2000)); other(); b(0xc9); break;
        }
        break;
    case 14: { /* one access, or one that crosses pages */
        static const u8 forms[][3] = { { 0x8a, 0x05 }, { 0x8b, 0x05 }, { 0x88, 0x05 }, { 0x89, 0x05 }, { 0x28, 0x05 },
            { 0x01, 0x05 }, { 0x87, 0x05 }, { 0xff, 0x35 }, { 0x8f, 0x05 }, { 0xf7, 0x15 }, { 0xff, 0x05 }, { 0x66, 0x8b, 0x05 },
            { 0x66, 0x01, 0x05 }, { 0x0f, 0xb1, 0x05 }, { 0x0f, 0xab, 0x05 }, { 0xf0, 0x01, 0x05 }, { 0x0f, 0xc1, 0x05 } };
        n = below(sizeof forms / 3);
        if (n == 8)
            push_imm(rnd());
        for (u32 i = 0; i < 3; i++)
            if (forms[n][i])
                b(forms[n][i]);
        d(window_address());
        break;
    }
    case 15: /* string operations between and inside windows, code in them */
        if (chance(30)) {
            u32 at = window_address(), *pte = &PT((at >> 22) - 1)[at >> 12 & 1023];
            *pte = (*pte & 0xfff) | (FILL + (below(64) << 12)); /* data would be code of any kind */
            mov_ax(at);
            b(0xff);
            b(0xe0);
            break;
        }
        b(0xbe); imm(window_address());
        b(0xbf); imm(chance(60) ? window_address() : 0x4000 + below(64));
        b(0xb9); imm(below(3000));
        b(0xf3);
        b(chance(40) ? 0xa5 : chance(50) ? 0xa4 : chance(50) ? 0xab : 0xa7);
        break;
    default: /* BOUND, descriptor table stores, XLAT and string operations through odd segments */
        n = below(4);
        load_segment(n == 1 ? 3 : n);
        if (n == 2)
            n = 3;
        b(0xbe); imm(random_offset());
        b(0xbf); imm(random_offset());
        b(0xb9); imm(1 + below(8));
        if (chance(50))
            b(0xf3);
        switch (below(5)) {
        case 0: other(); b(0xa5); break;
        case 1: b(0xaa); break;
        case 2: b(0xac); break;
        case 3: b(0xa6); break;
        default: other(); b(0xab); break;
        }
    }
    b(0xcc);
}

static void next_case(void)
{
    struct start *s = (struct start *)FRAME;
    if (!left--) {
        for (const char *p = "END\n"; *p; p++)
            out((u8)*p);
        for (const char *p = "Shutdown"; *p; p++) /* ends Bochs */
            __asm__ volatile("outb %0, %1" : : "a"(*p), "Nd"((u16)0x8900));
        __asm__ volatile("outl %0, %1" : : "a"(0), "Nd"((u16)0xf4));
        for (;;)
            __asm__ volatile("cli; hlt");
    }
    if (number % 64 == 0) {
        renew();
        if (number) {
            out('M');
            hex(sum_of(DATA, 0x60000));
            out('\n');
        }
    }
    number++;
    /* Code that was written over may be x87 instructions: with an exception unmasked, as after reset, and CR0.NE clear,
     * the one behind a fault would wait for an interrupt for ever. */
    __asm__ volatile("fninit");
    set_tables();
    ((u32 *)MAIN_TSS)[0] = 0;
    op = (u8 *)OPS;
    for (u32 i = 0; i < 0x200; i++)
        op[i] = 0xcc;
    op_now = paging && chance(35) ? 14 + below(2) : below(14);
    u32 where = below(20);
    ring_now = where < 8 ? 0 : where < 10 ? 1 : where < 12 ? 2 : where < 16 ? 3 : where < 18 ? 4 : 5;
    u32 flags = 2 | (chance(20) ? 0x3000 : 0) | (chance(10) ? 0x4000 : 0);
    u8 *zero = (u8 *)s;
    for (u32 i = 0; i < sizeof *s; i++)
        zero[i] = 0;
    s->ecx = rnd();
    s->edx = rnd();
    s->ebp = 0x7000;
    s->eax = 0x11111111;
    s->ebx = 0x22222222;
    s->esi = s->edi = 0x100;
    s->ds = s->es = s->fs = s->gs = SEL_DATA;
    if (op_now >= 14 && ring_now >= 4)
        ring_now = 3;
    if (paging) /* CR0.WP as it comes; a new CR3 drops what the TLB remembers */
        __asm__ volatile("mov %%cr0, %%eax; and $~0x10000, %%eax; or %0, %%eax; mov %%eax, %%cr0; mov %%cr3, %%eax; mov %%eax, %%cr3"
                         : : "r"(chance(50) ? 0x10000u : 0u) : "eax");
    if (ring_now == 5) { /* virtual-8086 */
        wide = 0;
        make_case(op_now);
        s->flags = flags | 0x20000;
        s->cs = OPS >> 4;
        s->eip = 0;
        s->ss = 0x7000;
        s->esp = 0x8000;
        for (u32 i = 0; i < 0x200; i += 4)
            *(u32 *)(0x77f00 + i) = 0;
        s->ves = s->vds = s->vfs = s->vgs = 0x7000;
        if (number == detail)
            dump_all();
        launch(s);
    }
    u32 ring = ring_now == 4 ? 0 : ring_now;
    wide = ring_now != 4;
    make_case(op_now);
    s->flags = flags;
    if (number == detail)
        dump_all();
    if (!ring) {
        s->flags &= ~0x4000u;
        /* No change of level: the frame has no stack, and it goes on below this one. */
        s->cs = ring_now == 4 ? SEL_CODE16 : SEL_CODE;
        s->eip = ring_now == 4 ? 0 : OPS;
        launch(s);
    }
    s->ds = s->es = s->fs = s->gs = (SEL_RING + 8 * ring) | ring;
    s->cs = (SEL_RING + 32 + 8 * ring) | ring;
    s->eip = OPS;
    s->ss = (SEL_RING + 8 * ring) | ring;
    s->esp = 0x78000 + ring * 0x1000;
    launch(s);
}

void fuzz_event(const struct note *n)
{
    if (number == detail)
        dump_all();
    hex(number);
    field("op", op_now);
    field("ring", ring_now);
    field("v", n->vector);
    field("e", n->error);
    field("at", n->cs & 0xffff);
    out(':');
    hex(n->eip);
    field("fl", n->flags & ~0x10000u);
    field("os", n->outer_ss & 0xffff);
    out(':');
    hex(n->outer_esp);
    field("ss", n->ss & 0xffff);
    out(':');
    hex(n->esp);
    field("seg", n->ds & 0xffff);
    out(' ');
    hex(n->es & 0xffff);
    out(' ');
    hex(n->fs & 0xffff);
    out(' ');
    hex(n->gs & 0xffff);
    field("r", n->eax);
    const u32 regs[] = { n->ebx, n->ecx, n->edx, n->esi, n->edi, n->ebp };
    for (u32 i = 0; i < 6; i++) {
        out(' ');
        hex(regs[i]);
    }
    field("cr0", n->cr0 & 0xf);
    field("tr", n->tr & 0xffff);
    field("ldt", n->ldtr & 0xffff);
    if (n->flags & 0x20000) {
        field("v86", n->v86_es & 0xffff);
        out(' ');
        hex(n->v86_ds & 0xffff);
        out(' ');
        hex(n->v86_fs & 0xffff);
        out(' ');
        hex(n->v86_gs & 0xffff);
    }
    field("g", sum_of((u32)GDT, GDT_ENTRIES * 8));
    if (paging) {
        field("cr2", n->vector == 14 ? n->cr2 : 0);
        field("pg", page_sum());
    }
    field("l", sum_of((u32)LDT, LDT_ENTRIES * 8));
    field("t", sum_of(TSS(0), TASKS * 0x100));
    out('\n');
    next_case();
}

void fuzz_start(u32 first_seed, u32 count, u32 show)
{
    detail = show;
    u32 cr0;
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 & ~0x60000000u)); /* as the firmware left them */
    seed = first_seed * 2654435761u | 1;
    left = count;
    u32 *p = (u32 *)FILL;
    for (u32 i = 0; i < AREA / 4; i++)
        p[i] = 0xcccccccc;
    p = (u32 *)DATA;
    for (u32 i = 0; i < AREA / 4; i++)
        p[i] = i * 0x01000193u;
    for (u32 i = 0; i < 0x4000 / 4; i++)
        GDT[i] = 0;
    descriptor(GDT + 2, 0, 0xfffff, 0x9b, 12);
    descriptor(GDT + 4, 0, 0xfffff, 0x93, 12);
    descriptor(GDT + 6, MAIN_TSS, 0x88, 0x89, 0);
    descriptor(GDT + 8, DF_TSS, 0x67, 0x89, 0);
    descriptor(GDT + 10, (u32)LDT, LDT_ENTRIES * 8 - 1, 0x82, 0);
    descriptor(GDT + 12, OPS, 0xfff, 0x9b, 0);
    for (u32 r = 0; r < 4; r++) {
        descriptor(GDT + 2 * ((SEL_RING >> 3) + r), 0, 0xfffff, 0x93 | r << 5, 12);
        descriptor(GDT + 2 * ((SEL_RING >> 3) + 4 + r), 0, 0xfffff, 0x9b | r << 5, 12);
    }
    for (u32 v = 0; v < 32; v++)
        gate(IDT + 2 * v, SEL_CODE, vectors[v], v == 3 ? 0xee : 0x8e, 0);
    gate(IDT + 16, SEL_DF, 0, 0x85, 0);
    u32 *t = (u32 *)MAIN_TSS;
    t[7] = first_seed & 1 ? (u32)PD : 0;
    t[1] = 0x7f000; t[2] = SEL_DATA;
    t[3] = 0x7d000; t[4] = SEL_RING + 8 + 1;
    t[5] = 0x7b000; t[6] = SEL_RING + 16 + 2;
    t[24] = SEL_LDT;
    t[25] = 0x68u << 16;
    t[26] = 0x00ff00ff; /* ports 0..7 and 16..23 refused */
    t[34] = 0xff;
    t = (u32 *)DF_TSS;
    t[7] = first_seed & 1 ? (u32)PD : 0;
    t[8] = (u32)df_entry;
    t[9] = 2;
    t[14] = 0x6f000;
    t[18] = SEL_DATA; t[19] = SEL_CODE; t[20] = SEL_DATA; t[21] = SEL_DATA; t[22] = SEL_DATA; t[23] = SEL_DATA;
    t[25] = 0x68u << 16;
    paging = first_seed & 1;
    if (paging)
        start_paging();
    else
        __asm__ volatile("mov %0, %%cr3" : : "r"(0));
    next_case();
}
