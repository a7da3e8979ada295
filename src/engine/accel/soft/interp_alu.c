/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ADD..CMP, TEST, INC, DEC, NOT, NEG, MUL, IMUL, DIV, IDIV. */
#include "engine/accel/soft/flags.h"
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/rmw.h"

#define LOCKED (in->prefixes & SOFT_P_LOCK)

#define BINARY(n, type, stype, reg_, op)                                                           \
    SOFT_OP(op##_mr_r##n)                                                                          \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_set_reg##n(cpu, in->rm, soft_v_##op##n(soft_reg##n(cpu, in->rm), soft_reg##n(cpu, in->reg), &f)); \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(op##_rm_r##n)                                                                          \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_set_reg##n(cpu, in->reg, soft_v_##op##n(soft_reg##n(cpu, in->reg), soft_reg##n(cpu, in->rm), &f)); \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(op##_rm_m##n)                                                                          \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_set_reg##n(cpu, in->reg, soft_v_##op##n(soft_reg##n(cpu, in->reg), soft_ldm##n(cpu, in), &f)); \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(op##_mi_r##n)                                                                          \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_set_reg##n(cpu, in->rm, soft_v_##op##n(soft_reg##n(cpu, in->rm), (type)in->imm, &f)); \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(op##_mr_m##n)                                                                          \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        type s = soft_reg##n(cpu, in->reg);                                                        \
        SOFT_RMW(n, type, in, soft_addr(cpu, in, n / 8, true), LOCKED,                             \
                 soft_v_##op##n(old, s, &f), soft_lock_##op##n(p_, s, &f));                        \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(op##_mi_m##n)                                                                          \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        type s = (type)in->imm;                                                                    \
        SOFT_RMW(n, type, in, soft_addr(cpu, in, n / 8, true), LOCKED,                             \
                 soft_v_##op##n(old, s, &f), soft_lock_##op##n(p_, s, &f));                        \
        cpu->aflags = f;                                                                           \
    }
SOFT_FOR_SIZES(BINARY, add)
SOFT_FOR_SIZES(BINARY, or)
SOFT_FOR_SIZES(BINARY, adc)
SOFT_FOR_SIZES(BINARY, sbb)
SOFT_FOR_SIZES(BINARY, and)
SOFT_FOR_SIZES(BINARY, sub)
SOFT_FOR_SIZES(BINARY, xor)

#define COMPARE(n, type, stype, reg_, op)                                                          \
    SOFT_OP(op##_mr_r##n) { cpu->aflags = soft_v_##op##n(soft_reg##n(cpu, in->rm), soft_reg##n(cpu, in->reg)); } \
    SOFT_OP(op##_mr_m##n) { cpu->aflags = soft_v_##op##n(soft_ldm##n(cpu, in), soft_reg##n(cpu, in->reg)); }     \
    SOFT_OP(op##_mi_r##n) { cpu->aflags = soft_v_##op##n(soft_reg##n(cpu, in->rm), (type)in->imm); }             \
    SOFT_OP(op##_mi_m##n) { cpu->aflags = soft_v_##op##n(soft_ldm##n(cpu, in), (type)in->imm); }
SOFT_FOR_SIZES(COMPARE, cmp)
SOFT_FOR_SIZES(COMPARE, test)
#define COMPARE_RM(n, type, stype, reg_, op)                                                       \
    SOFT_OP(op##_rm_r##n) { cpu->aflags = soft_v_##op##n(soft_reg##n(cpu, in->reg), soft_reg##n(cpu, in->rm)); } \
    SOFT_OP(op##_rm_m##n) { cpu->aflags = soft_v_##op##n(soft_reg##n(cpu, in->reg), soft_ldm##n(cpu, in)); }
SOFT_FOR_SIZES(COMPARE_RM, cmp)

#define UNARY(n, type, stype, reg_, op)                                                            \
    SOFT_OP(op##_r##n)                                                                             \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_set_reg##n(cpu, in->rm, soft_v_##op##n(soft_reg##n(cpu, in->rm), &f));                \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(op##_m##n)                                                                             \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        SOFT_RMW(n, type, in, soft_addr(cpu, in, n / 8, true), LOCKED,                             \
                 soft_v_##op##n(old, &f), soft_lock_##op##n(p_, &f));                              \
        cpu->aflags = f;                                                                           \
    }
SOFT_FOR_SIZES(UNARY, inc)
SOFT_FOR_SIZES(UNARY, dec)
SOFT_FOR_SIZES(UNARY, neg)

#define NOT(n, type, stype, reg_, ...)                                                             \
    SOFT_OP(not_r##n) { soft_set_reg##n(cpu, in->rm, (type)~soft_reg##n(cpu, in->rm)); }           \
    SOFT_OP(not_m##n)                                                                              \
    {                                                                                              \
        SOFT_RMW(n, type, in, soft_addr(cpu, in, n / 8, true), LOCKED, (type)~old,                 \
                 __atomic_fetch_xor(p_, (type)~(type)0, __ATOMIC_SEQ_CST));                        \
    }
SOFT_FOR_SIZES(NOT, )

/* ---- Multiply and divide ----------------------------------------------------------------------- */
#define MUL8(name, op)                                                                             \
    SOFT_OP(name##_8)                                                                              \
    {                                                                                              \
        uint8_t s = soft_get_rm8(cpu, in);                                                         \
        uint16_t product = soft_reg16(cpu, GH_RAX);                                                \
        uint32_t f = cpu->aflags;                                                                  \
        /* AX is both the flags' way in and the operand: load the flags first, by another register. */ \
        __asm__("movl %k[f], %%eax\n\taddb $0x7f, %%al\n\tsahf\n\tmovzwl %w[p], %%eax\n\t" op " %b[s]\n\t" \
                "movw %%ax, %w[p]\n\tlahf\n\tseto %%al\n\tmovl %%eax, %k[f]"                       \
                : [p] "+r"(product), [f] "+r"(f) : [s] "q"(s) : "eax", "cc");                      \
        soft_set_reg16(cpu, GH_RAX, product);                                                      \
        cpu->aflags = (soft_aflags)f;                                                              \
    }
MUL8(mul, "mul")
MUL8(imul1, "imul")

#define MUL(n, type, stype, reg_, name, op)                                                        \
    SOFT_OP(name##_##n)                                                                            \
    {                                                                                              \
        type s = soft_get_rm##n(cpu, in);                                                          \
        type lo = soft_reg##n(cpu, GH_RAX), hi;                                                    \
        uint64_t f = cpu->aflags, keep = lo;                                                       \
        __asm__("movq %[f], %%rax\n\taddb $0x7f, %%al\n\tsahf\n\tmovq %[lo], %%rax\n\t" op " %[s]\n\t" \
                "movq %%rax, %[lo]\n\tlahf\n\tseto %%al\n\tmovq %%rax, %[f]"                       \
                : [lo] "+&r"(keep), "=&d"(hi), [f] "+&r"(f) : [s] "r"(s) : "rax", "cc");           \
        soft_set_reg##n(cpu, GH_RAX, (type)keep);                                                  \
        soft_set_reg##n(cpu, GH_RDX, hi);                                                          \
        cpu->aflags = (soft_aflags)f;                                                              \
    }
SOFT_FOR_WORDS(MUL, mul, "mul")
SOFT_FOR_WORDS(MUL, imul1, "imul")

#define IMUL(n, type, stype, reg_, ...)                                                            \
    SOFT_OP(imul2_r##n)                                                                            \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_set_reg##n(cpu, in->reg, soft_v_imul##n(soft_reg##n(cpu, in->reg), soft_reg##n(cpu, in->rm), &f)); \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(imul2_m##n)                                                                            \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_set_reg##n(cpu, in->reg, soft_v_imul##n(soft_reg##n(cpu, in->reg), soft_ldm##n(cpu, in), &f)); \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(imul3_r##n)                                                                            \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_set_reg##n(cpu, in->reg, soft_v_imul##n((type)in->imm, soft_reg##n(cpu, in->rm), &f)); \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(imul3_m##n)                                                                            \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_set_reg##n(cpu, in->reg, soft_v_imul##n((type)in->imm, soft_ldm##n(cpu, in), &f));    \
        cpu->aflags = f;                                                                           \
    }
SOFT_FOR_WORDS(IMUL, )

/* Quotients are checked in wider arithmetic first: a host #DE would be a signal. The flags stay as
 * they are, which is one of the things undefined may mean. */
SOFT_OP(div_8)
{
    uint16_t n = soft_reg16(cpu, GH_RAX);
    uint8_t d = soft_get_rm8(cpu, in);
    if (!d || n / d > 0xff)
        soft_raise(cpu, SOFT_DE);
    soft_set_reg16(cpu, GH_RAX, (uint16_t)(n / d | n % d << 8));
}

SOFT_OP(idiv_8)
{
    int n = (int16_t)soft_reg16(cpu, GH_RAX), d = (int8_t)soft_get_rm8(cpu, in);
    if (!d || n / d != (int8_t)(n / d))
        soft_raise(cpu, SOFT_DE);
    soft_set_reg16(cpu, GH_RAX, (uint16_t)((uint8_t)(n / d) | (uint8_t)(n % d) << 8));
}

#define DIV(n, type, stype, wide, swide)                                                           \
    SOFT_OP(div_##n)                                                                               \
    {                                                                                              \
        wide num = (wide)soft_reg##n(cpu, GH_RDX) << n | soft_reg##n(cpu, GH_RAX);                 \
        type d = soft_get_rm##n(cpu, in);                                                          \
        if (!d || soft_reg##n(cpu, GH_RDX) >= d)                                                   \
            soft_raise(cpu, SOFT_DE);                                                              \
        type q = (type)(num / d), r = (type)(num % d);                                             \
        soft_set_reg##n(cpu, GH_RAX, q);                                                           \
        soft_set_reg##n(cpu, GH_RDX, r);                                                           \
    }                                                                                              \
    SOFT_OP(idiv_##n)                                                                              \
    {                                                                                              \
        swide num = (swide)((wide)soft_reg##n(cpu, GH_RDX) << n | soft_reg##n(cpu, GH_RAX));       \
        stype d = (stype)soft_get_rm##n(cpu, in);                                                  \
        /* The one quotient that overflows the wide type is -2^(2n-1) / -1. */                     \
        if (!d || (d == -1 && (wide)num == (wide)1 << (2 * n - 1)))                                \
            soft_raise(cpu, SOFT_DE);                                                              \
        swide q = num / d;                                                                         \
        if (q != (stype)q)                                                                         \
            soft_raise(cpu, SOFT_DE);                                                              \
        stype r = (stype)(num % d);                                                                \
        soft_set_reg##n(cpu, GH_RAX, (type)q);                                                     \
        soft_set_reg##n(cpu, GH_RDX, (type)r);                                                     \
    }
DIV(16, uint16_t, int16_t, uint32_t, int32_t)
DIV(32, uint32_t, int32_t, uint64_t, int64_t)

/* 128 by 64 bits: the host instruction once the quotient is known to fit. */
SOFT_OP(div_64)
{
    uint64_t d = soft_get_rm64(cpu, in), lo = cpu->gpr[GH_RAX], hi = cpu->gpr[GH_RDX];
    if (hi >= d)
        soft_raise(cpu, SOFT_DE);
    __asm__("divq %2" : "+a"(lo), "+d"(hi) : "r"(d) : "cc");
    cpu->gpr[GH_RAX] = lo;
    cpu->gpr[GH_RDX] = hi;
}

SOFT_OP(idiv_64)
{
    uint64_t raw = soft_get_rm64(cpu, in), lo = cpu->gpr[GH_RAX], hi = cpu->gpr[GH_RDX];
    bool negative = (int64_t)hi < 0, flip = negative != ((int64_t)raw < 0);
    uint64_t d = (int64_t)raw < 0 ? -raw : raw;
    unsigned __int128 num = (unsigned __int128)hi << 64 | lo;
    if (negative)
        num = -num;
    uint64_t nhi = (uint64_t)(num >> 64), nlo = (uint64_t)num;
    if (nhi >= d)
        soft_raise(cpu, SOFT_DE);
    __asm__("divq %2" : "+a"(nlo), "+d"(nhi) : "r"(d) : "cc");
    if (nlo > (uint64_t)INT64_MAX + flip)
        soft_raise(cpu, SOFT_DE);
    cpu->gpr[GH_RAX] = flip ? -nlo : nlo;
    cpu->gpr[GH_RDX] = negative ? -nhi : nhi;
}
