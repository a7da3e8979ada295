/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The short path of the common x87 instructions: all exceptions masked, every register they read
 * in use, room for what they push. Only the operands visit the host's unit. Whatever is not clear-cut
 * is left to the general path, which this one must equal bit for bit.
 *
 * Between two instructions the host's FSW has no exception flag set.
 */
#include "engine/accel/soft/fpu.h"
#include "engine/accel/soft/handlers.h"

struct f80 { uint8_t b[10]; };
#define X87_CC 0x4700u /* C0 C1 C2 C3 */

static inline unsigned top_of(const struct soft_cpu *cpu) { return (cpu->x87.fsw >> X87_TOP_SHIFT) & 7; }
static inline bool used(const struct soft_cpu *cpu, unsigned phys) { return cpu->x87.ftw_abridged & (1u << phys); }
static inline struct f80 *reg(struct soft_cpu *cpu, unsigned phys) { return (struct f80 *)cpu->x87.reg[phys]; }

static inline void set_top(struct soft_cpu *cpu, unsigned top)
{
    cpu->x87.fsw = (uint16_t)((cpu->x87.fsw & ~X87_TOP) | (top & 7) << X87_TOP_SHIFT);
}

static inline void pop(struct soft_cpu *cpu)
{
    unsigned top = top_of(cpu);
    cpu->x87.ftw_abridged &= (uint8_t)~(1u << top);
    set_top(cpu, top + 1);
}

static inline struct f80 *push(struct soft_cpu *cpu)
{
    unsigned top = (top_of(cpu) - 1) & 7;
    set_top(cpu, top);
    cpu->x87.ftw_abridged |= (uint8_t)(1u << top);
    cpu->x87.fsw &= (uint16_t)~X87_C1;
    return reg(cpu, top);
}

/* The guest's control word around an operation; most guests have the host's. */
static inline void begin(const struct soft_cpu *cpu)
{
    if (soft_unlikely(cpu->x87.fcw != 0x37f))
        __asm__ volatile("fldcw %0" : : "m"(cpu->x87.fcw));
}

static inline void end(struct soft_cpu *cpu, uint16_t host, uint16_t cc)
{
    static const uint16_t usual = 0x37f;
    if (soft_unlikely(cpu->x87.fcw != 0x37f))
        __asm__ volatile("fldcw %0" : : "m"(usual));
    cpu->x87.fsw = (uint16_t)((cpu->x87.fsw & ~cc) | (host & (cc | X87_EXCEPTIONS)));
    if (host & X87_EXCEPTIONS)
        __asm__ volatile("fnclex");
}

/* ---- Arithmetic ------------------------------------------------------------------------------ */
#define BINARY(insn)                                                                               \
    __asm__ volatile("fldt %[b]\n\tfldt %[a]\n\t" insn " %%st(1), %%st\n\tfnstsw %%ax\n\t"         \
                     "fstpt %[a]\n\tfstp %%st(0)" : "=&a"(sw), [a] "+m"(*a) : [b] "m"(*b) : "st", "st(1)")
/* a <- a op b, by D8's numbering; 2 and 3 are comparisons and do not come here. */
static void arithmetic(struct soft_cpu *cpu, unsigned op, struct f80 *a, const struct f80 *b)
{
    uint16_t sw;
    begin(cpu);
    switch (op) {
    case 0: BINARY("fadd"); break;
    case 1: BINARY("fmul"); break;
    case 4: BINARY("fsub"); break;
    case 5: BINARY("fsubr"); break;
    case 6: BINARY("fdiv"); break;
    default: BINARY("fdivr"); break;
    }
    end(cpu, sw, X87_C1);
}

#define WITH_MEM(insn, type)                                                                       \
    __asm__ volatile("fldt %[a]\n\t" insn " %[m]\n\tfnstsw %%ax\n\tfstpt %[a]"                     \
                     : "=&a"(sw), [a] "+m"(*a) : [m] "m"(*(const type *)m) : "st")
#define COMPARE_MEM(insn, type)                                                                    \
    __asm__ volatile("fldt %[a]\n\t" insn " %[m]\n\tfnstsw %%ax\n\tfstp %%st(0)"                   \
                     : "=&a"(sw) : [a] "m"(*a), [m] "m"(*(const type *)m) : "st")
#define ARITHMETIC_MEM(name, i, suffix, type)                                                      \
    static void name(struct soft_cpu *cpu, unsigned op, struct f80 *a, const void *m)              \
    {                                                                                              \
        uint16_t sw;                                                                               \
        begin(cpu);                                                                                \
        switch (op) {                                                                              \
        case 0: WITH_MEM("f" i "add" suffix, type); break;                                         \
        case 1: WITH_MEM("f" i "mul" suffix, type); break;                                         \
        case 2: case 3: COMPARE_MEM("f" i "com" suffix, type); break;                              \
        case 4: WITH_MEM("f" i "sub" suffix, type); break;                                         \
        case 5: WITH_MEM("f" i "subr" suffix, type); break;                                        \
        case 6: WITH_MEM("f" i "div" suffix, type); break;                                         \
        default: WITH_MEM("f" i "divr" suffix, type); break;                                       \
        }                                                                                          \
        end(cpu, sw, (op & 6) == 2 ? X87_CC : X87_C1);                                             \
        if (op == 3)                                                                               \
            pop(cpu);                                                                              \
    }
ARITHMETIC_MEM(with_m32, "", "s", uint32_t)
ARITHMETIC_MEM(with_m64, "", "l", uint64_t)
ARITHMETIC_MEM(with_i32, "i", "l", uint32_t)
ARITHMETIC_MEM(with_i16, "i", "s", uint16_t)

#define COMPARE(insn, tail)                                                                        \
    __asm__ volatile("fldt %[b]\n\tfldt %[a]\n\t" insn "\n\t" tail "fnstsw %%ax\n\tfstp %%st(0)\n\t" \
                     "fstp %%st(0)"                                                                \
                     : "=&a"(sw), [f] "=&r"(flags) : [a] "m"(*a), [b] "m"(*b) : "st", "st(1)", "cc")
enum compare { COM, UCOM, COMI, UCOMI };
static void compare(struct soft_cpu *cpu, enum compare how, const struct f80 *a, const struct f80 *b)
{
    uint16_t sw;
    unsigned flags = 0;
    begin(cpu);
    switch (how) {
    case COM: COMPARE("fcom %%st(1)", "xorl %[f], %[f]\n\t"); break;
    case UCOM: COMPARE("fucom %%st(1)", "xorl %[f], %[f]\n\t"); break;
    case COMI: COMPARE("fcomi %%st(1), %%st", "lahf\n\tseto %%al\n\tmovl %%eax, %[f]\n\t"); break;
    case UCOMI: COMPARE("fucomi %%st(1), %%st", "lahf\n\tseto %%al\n\tmovl %%eax, %[f]\n\t"); break;
    }
    end(cpu, sw, how <= UCOM ? X87_CC : 0);
    if (how >= COMI)
        cpu->aflags = (soft_aflags)flags;
}

#define UNARY(insn)                                                                                \
    __asm__ volatile("fldt %[a]\n\t" insn "\n\tfnstsw %%ax\n\tfstpt %[a]"                          \
                     : "=&a"(sw), [a] "+m"(*a) : : "st")
static bool d9_unary(struct soft_cpu *cpu, unsigned modrm)
{
    static const struct f80 one = {{0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f}}, zero = {{0}};
    unsigned top = top_of(cpu);
    struct f80 *a = reg(cpu, top);
    uint16_t sw;
    if (modrm == 0xe8 || modrm == 0xee) { /* FLD1, FLDZ */
        if (used(cpu, (top - 1) & 7))
            return false;
        *push(cpu) = modrm == 0xe8 ? one : zero;
        return true;
    }
    if (!used(cpu, top))
        return false;
    switch (modrm) {
    case 0xe0: a->b[9] ^= 0x80; cpu->x87.fsw &= (uint16_t)~X87_C1; return true;
    case 0xe1: a->b[9] &= 0x7f; cpu->x87.fsw &= (uint16_t)~X87_C1; return true;
    case 0xfa: begin(cpu); UNARY("fsqrt"); break;
    case 0xfc: begin(cpu); UNARY("frndint"); break;
    default: return false;
    }
    end(cpu, sw, X87_C1);
    return true;
}

/* ---- Register forms -------------------------------------------------------------------------- */
static inline bool quiet(const struct soft_cpu *cpu)
{
    return (cpu->x87.fcw & X87_EXCEPTIONS) == X87_EXCEPTIONS && !(cpu->x87.fsw & X87_ES);
}

/* FCMOV, FFREE, transcendental and undocumented forms are not here. */
bool soft_x87_fast_reg(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc)
{
    unsigned op = (in->modrm >> 3) & 7, top = top_of(cpu), i = (top + in->modrm) & 7;
    if (soft_unlikely(!quiet(cpu)))
        return false;
    if (esc == 1 && in->modrm >= 0xe0)
        return d9_unary(cpu, in->modrm);
    if (soft_unlikely(!used(cpu, top)))
        return esc == 1 && op == 0 && used(cpu, i) && !used(cpu, (top - 1) & 7)
                   ? (*push(cpu) = *reg(cpu, i), true) : false;
    struct f80 *st = reg(cpu, top), *sti = reg(cpu, i);
    bool both = used(cpu, i);
    switch (esc << 3 | op) {
    case 0x00: case 0x01: case 0x04: case 0x05: case 0x06: case 0x07: /* D8: ST(0) op= ST(i) */
        if (both)
            arithmetic(cpu, op, st, sti);
        return both;
    case 0x20: case 0x21: case 0x24: case 0x25: case 0x26: case 0x27: /* DC: ST(i) op= ST(0) */
    case 0x30: case 0x31: case 0x34: case 0x35: case 0x36: case 0x37: /* DE: and pop */
        if (!both)
            return false;
        arithmetic(cpu, op < 4 ? op : op ^ 1, sti, st);
        if (esc == 6)
            pop(cpu);
        return true;
    case 0x02: case 0x03: case 0x2c: case 0x2d: /* FCOM, FCOMP, FUCOM, FUCOMP */
        if (!both)
            return false;
        compare(cpu, esc ? UCOM : COM, st, sti);
        if (op & 1)
            pop(cpu);
        return true;
    case 0x1d: case 0x1e: case 0x3d: case 0x3e: /* FUCOMI, FCOMI, and pop */
        if (!both)
            return false;
        compare(cpu, op == 5 ? UCOMI : COMI, st, sti);
        if (esc == 7)
            pop(cpu);
        return true;
    case 0x08: /* FLD ST(i) */
        if (!both || used(cpu, (top - 1) & 7))
            return false;
        *push(cpu) = *sti;
        return true;
    case 0x09: { /* FXCH */
        struct f80 t = *st;
        if (!both)
            return false;
        *st = *sti;
        *sti = t;
        cpu->x87.fsw &= (uint16_t)~X87_C1;
        return true;
    }
    case 0x2a: case 0x2b: /* FST, FSTP ST(i) */
        *sti = *st;
        cpu->x87.ftw_abridged |= (uint8_t)(1u << i);
        cpu->x87.fsw &= (uint16_t)~X87_C1;
        if (op & 1)
            pop(cpu);
        return true;
    default:
        return false;
    }
}

/* ---- Memory forms ---------------------------------------------------------------------------- */
#define LOAD(insn, type, n)                                                                        \
    do {                                                                                           \
        type v = (type)soft_ldm##n(cpu, in);                                                       \
        struct f80 r;                                                                              \
        __asm__ volatile(insn " %[m]\n\tfnstsw %%ax\n\tfstpt %[r]"                                 \
                         : "=&a"(sw), [r] "=m"(r) : [m] "m"(v) : "st");                             \
        *push(cpu) = r;                                                                            \
        cpu->x87.fsw |= sw & X87_EXCEPTIONS;                                                       \
        if (sw & X87_EXCEPTIONS)                                                                   \
            __asm__ volatile("fnclex");                                                            \
    } while (0)
/* The status is merged only after the store, which may fault; the flags wait in sw. */
#define STORE(insn, type, n)                                                                       \
    do {                                                                                           \
        type v;                                                                                    \
        begin(cpu);                                                                                \
        __asm__ volatile("fldt %[a]\n\t" insn " %[m]\n\tfnstsw %%ax\n\tfnclex"                     \
                         : "=&a"(sw), [m] "=m"(v) : [a] "m"(*st) : "st");                           \
        end(cpu, 0, 0);                                                                            \
        soft_stm##n(cpu, in, (uint##n##_t)v);                                                      \
        cpu->x87.fsw = (uint16_t)((cpu->x87.fsw & ~X87_C1) | (sw & (X87_C1 | X87_EXCEPTIONS)));    \
    } while (0)

static bool load_or_store(struct soft_cpu *cpu, const struct soft_insn *in, unsigned key, unsigned top)
{
    struct f80 *st = reg(cpu, top);
    uint16_t sw;
    bool room = !used(cpu, (top - 1) & 7);
    if (key == 0x08 || key == 0x28 || key == 0x18 || key == 0x38 || key == 0x3d ? !room : !used(cpu, top))
        return false;
    switch (key) {
    case 0x08: LOAD("flds", uint32_t, 32); break;
    case 0x28: LOAD("fldl", uint64_t, 64); break;
    case 0x18: LOAD("fildl", uint32_t, 32); break;
    case 0x38: LOAD("filds", uint16_t, 16); break;
    case 0x3d: LOAD("fildll", uint64_t, 64); break;
    case 0x0a: { STORE("fstps", uint32_t, 32); break; }
    case 0x0b: { STORE("fstps", uint32_t, 32); pop(cpu); break; }
    case 0x2a: { STORE("fstpl", uint64_t, 64); break; }
    case 0x2b: { STORE("fstpl", uint64_t, 64); pop(cpu); break; }
    case 0x1a: { STORE("fistpl", uint32_t, 32); break; }
    case 0x1b: { STORE("fistpl", uint32_t, 32); pop(cpu); break; }
    case 0x3a: { STORE("fistps", uint16_t, 16); break; }
    case 0x3b: { STORE("fistps", uint16_t, 16); pop(cpu); break; }
    case 0x3f: { STORE("fistpll", uint64_t, 64); pop(cpu); break; }
    case 0x19: { STORE("fisttpl", uint32_t, 32); pop(cpu); break; }
    case 0x39: { STORE("fisttps", uint16_t, 16); pop(cpu); break; }
    case 0x29: { STORE("fisttpll", uint64_t, 64); pop(cpu); break; }
    default: return false;
    }
    return true;
}

bool soft_x87_fast_mem(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc)
{
    unsigned op = (in->modrm >> 3) & 7, top = top_of(cpu);
    if (soft_unlikely(!quiet(cpu)))
        return false;
    if (esc & 1)
        return load_or_store(cpu, in, esc << 3 | op, top);
    if (!used(cpu, top))
        return false;
    struct f80 *st = reg(cpu, top);
    if (esc == 0) {
        uint32_t v = soft_ldm32(cpu, in);
        with_m32(cpu, op, st, &v);
    } else if (esc == 2) {
        uint32_t v = soft_ldm32(cpu, in);
        with_i32(cpu, op, st, &v);
    } else if (esc == 4) {
        uint64_t v = soft_ldm64(cpu, in);
        with_m64(cpu, op, st, &v);
    } else {
        uint16_t v = soft_ldm16(cpu, in);
        with_i16(cpu, op, st, &v);
    }
    return true;
}
