/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Integer operations on values, with the arithmetic flags exactly as the host computes them, also
 * the ones the manuals call undefined. Each executes the real instruction and takes the flags by
 * LAHF and SETO (the layout of soft_aflags). Pure: no guest state.
 */
#pragma once
#include "engine/accel/soft/cpu.h"

#define SOFT_TAKE_FLAGS_ "\n\tlahf\n\tseto %%al"
/* CF only, from an operand named [f]; or all six, from AX itself (OF by overflow of 7fh + OF). */
#define SOFT_GIVE_CARRY_ "btw $8, %w[f]\n\t"
#define SOFT_GIVE_FLAGS_ "addb $0x7f, %%al\n\tsahf\n\t"

#define SOFT_FOR_SIZES(M, ...) M(8, uint8_t, int8_t, "q", __VA_ARGS__) M(16, uint16_t, int16_t, "r", __VA_ARGS__) \
                               M(32, uint32_t, int32_t, "r", __VA_ARGS__) M(64, uint64_t, int64_t, "r", __VA_ARGS__)

/* r = soft_v_add32(a, b, &flags), and the locked form on host memory. carry: flags in *f on entry. */
#define SOFT_BINARY_(n, type, stype, reg, op, give)                                                \
    static inline type soft_v_##op##n(type d, type s, soft_aflags *f)                              \
    {                                                                                              \
        uint32_t ax;                                                                               \
        __asm__(give #op " %[s], %[d]" SOFT_TAKE_FLAGS_                                            \
                : [d] "+" reg(d), "=a"(ax) : [s] reg(s), [f] "r"(*f) : "cc");                      \
        *f = (soft_aflags)ax;                                                                      \
        return d;                                                                                  \
    }                                                                                              \
    static inline void soft_lock_##op##n(type *p, type s, soft_aflags *f)                          \
    {                                                                                              \
        uint32_t ax;                                                                               \
        __asm__ volatile(give "lock " #op " %[s], %[d]" SOFT_TAKE_FLAGS_                           \
                         : [d] "+m"(*p), "=a"(ax) : [s] reg(s), [f] "r"(*f) : "cc", "memory");     \
        *f = (soft_aflags)ax;                                                                      \
    }
SOFT_FOR_SIZES(SOFT_BINARY_, add, "")
SOFT_FOR_SIZES(SOFT_BINARY_, or, "")
SOFT_FOR_SIZES(SOFT_BINARY_, adc, SOFT_GIVE_CARRY_)
SOFT_FOR_SIZES(SOFT_BINARY_, sbb, SOFT_GIVE_CARRY_)
SOFT_FOR_SIZES(SOFT_BINARY_, and, "")
SOFT_FOR_SIZES(SOFT_BINARY_, sub, "")
SOFT_FOR_SIZES(SOFT_BINARY_, xor, "")
#undef SOFT_BINARY_

#define SOFT_COMPARE_(n, type, stype, reg, op)                                                     \
    static inline soft_aflags soft_v_##op##n(type d, type s)                                       \
    {                                                                                              \
        uint32_t ax;                                                                               \
        __asm__(#op " %[s], %[d]" SOFT_TAKE_FLAGS_ : "=a"(ax) : [d] reg(d), [s] reg(s) : "cc");    \
        return (soft_aflags)ax;                                                                    \
    }
SOFT_FOR_SIZES(SOFT_COMPARE_, cmp)
SOFT_FOR_SIZES(SOFT_COMPARE_, test)
#undef SOFT_COMPARE_

/* A memory operand alone does not say its size. */
#define SOFT_SUFFIX_8  "b"
#define SOFT_SUFFIX_16 "w"
#define SOFT_SUFFIX_32 "l"
#define SOFT_SUFFIX_64 "q"

/* One operand; INC and DEC keep CF, so *f is an input. */
#define SOFT_UNARY_(n, type, stype, reg, op, give)                                                 \
    static inline type soft_v_##op##n(type d, soft_aflags *f)                                      \
    {                                                                                              \
        uint32_t ax;                                                                               \
        __asm__(give #op " %[d]" SOFT_TAKE_FLAGS_ : [d] "+" reg(d), "=a"(ax) : [f] "r"(*f) : "cc"); \
        *f = (soft_aflags)ax;                                                                      \
        return d;                                                                                  \
    }                                                                                              \
    static inline void soft_lock_##op##n(type *p, soft_aflags *f)                                  \
    {                                                                                              \
        uint32_t ax;                                                                               \
        __asm__ volatile(give "lock " #op SOFT_SUFFIX_##n " %[d]" SOFT_TAKE_FLAGS_                 \
                         : [d] "+m"(*p), "=a"(ax) : [f] "r"(*f) : "cc", "memory");                 \
        *f = (soft_aflags)ax;                                                                      \
    }
SOFT_FOR_SIZES(SOFT_UNARY_, inc, SOFT_GIVE_CARRY_)
SOFT_FOR_SIZES(SOFT_UNARY_, dec, SOFT_GIVE_CARRY_)
SOFT_FOR_SIZES(SOFT_UNARY_, neg, "")
#undef SOFT_UNARY_

/* Shifts and rotates: count is the guest's CL or immediate; the host masks it as the guest would.
 * A count of zero leaves the flags, so all of them go in. */
#define SOFT_SHIFT_(n, type, stype, reg, op)                                                       \
    static inline type soft_v_##op##n(type d, uint8_t count, soft_aflags *f)                       \
    {                                                                                              \
        uint32_t ax = *f;                                                                          \
        __asm__(SOFT_GIVE_FLAGS_ #op " %%cl, %[d]" SOFT_TAKE_FLAGS_                                \
                : [d] "+" reg(d), "+a"(ax) : "c"(count) : "cc");                                   \
        *f = (soft_aflags)ax;                                                                      \
        return d;                                                                                  \
    }
SOFT_FOR_SIZES(SOFT_SHIFT_, rol)
SOFT_FOR_SIZES(SOFT_SHIFT_, ror)
SOFT_FOR_SIZES(SOFT_SHIFT_, rcl)
SOFT_FOR_SIZES(SOFT_SHIFT_, rcr)
SOFT_FOR_SIZES(SOFT_SHIFT_, shl)
SOFT_FOR_SIZES(SOFT_SHIFT_, shr)
SOFT_FOR_SIZES(SOFT_SHIFT_, sar)
#undef SOFT_SHIFT_

/* A destination and a source, all flags in and out: what is undefined stays as the host leaves it. */
#define SOFT_KEEP_(n, type, stype, reg, op)                                                        \
    static inline type soft_v_##op##n(type d, type s, soft_aflags *f)                              \
    {                                                                                              \
        uint32_t ax = *f;                                                                          \
        __asm__(SOFT_GIVE_FLAGS_ #op " %[s], %[d]" SOFT_TAKE_FLAGS_                                \
                : [d] "+r"(d), "+a"(ax) : [s] "r"(s) : "cc");                                      \
        *f = (soft_aflags)ax;                                                                      \
        return d;                                                                                  \
    }
#define SOFT_FOR_WORDS(M, ...) M(16, uint16_t, int16_t, "r", __VA_ARGS__)                          \
                               M(32, uint32_t, int32_t, "r", __VA_ARGS__) M(64, uint64_t, int64_t, "r", __VA_ARGS__)
SOFT_FOR_WORDS(SOFT_KEEP_, imul)
SOFT_FOR_WORDS(SOFT_KEEP_, bsf)
SOFT_FOR_WORDS(SOFT_KEEP_, bsr)
SOFT_FOR_WORDS(SOFT_KEEP_, bt)
SOFT_FOR_WORDS(SOFT_KEEP_, bts)
SOFT_FOR_WORDS(SOFT_KEEP_, btr)
SOFT_FOR_WORDS(SOFT_KEEP_, btc)
SOFT_FOR_WORDS(SOFT_KEEP_, popcnt)
SOFT_FOR_WORDS(SOFT_KEEP_, tzcnt)
SOFT_FOR_WORDS(SOFT_KEEP_, lzcnt)
#undef SOFT_KEEP_

/* Conditions of Jcc, SETcc, CMOVcc on the flags word. */
static inline bool soft_cc_o(soft_aflags f) { return f & SOFT_OF; }
static inline bool soft_cc_b(soft_aflags f) { return f & SOFT_CF; }
static inline bool soft_cc_e(soft_aflags f) { return f & SOFT_ZF; }
static inline bool soft_cc_be(soft_aflags f) { return f & (SOFT_CF | SOFT_ZF); }
static inline bool soft_cc_s(soft_aflags f) { return f & SOFT_SF; }
static inline bool soft_cc_p(soft_aflags f) { return f & SOFT_PF; }
static inline bool soft_cc_l(soft_aflags f) { return ((unsigned)f >> 15 ^ f) & 1; }
static inline bool soft_cc_le(soft_aflags f) { return soft_cc_l(f) || (f & SOFT_ZF); }
static inline bool soft_cc_no(soft_aflags f) { return !soft_cc_o(f); }
static inline bool soft_cc_ae(soft_aflags f) { return !soft_cc_b(f); }
static inline bool soft_cc_ne(soft_aflags f) { return !soft_cc_e(f); }
static inline bool soft_cc_a(soft_aflags f) { return !soft_cc_be(f); }
static inline bool soft_cc_ns(soft_aflags f) { return !soft_cc_s(f); }
static inline bool soft_cc_np(soft_aflags f) { return !soft_cc_p(f); }
static inline bool soft_cc_ge(soft_aflags f) { return !soft_cc_l(f); }
static inline bool soft_cc_g(soft_aflags f) { return !soft_cc_le(f); }

/* By the condition's number in opcodes. */
static inline bool soft_condition(soft_aflags f, unsigned cc)
{
    bool is = false;
    switch (cc >> 1) {
    case 0: is = soft_cc_o(f); break;
    case 1: is = soft_cc_b(f); break;
    case 2: is = soft_cc_e(f); break;
    case 3: is = soft_cc_be(f); break;
    case 4: is = soft_cc_s(f); break;
    case 5: is = soft_cc_p(f); break;
    case 6: is = soft_cc_l(f); break;
    case 7: is = soft_cc_le(f); break;
    }
    return is != (cc & 1);
}
