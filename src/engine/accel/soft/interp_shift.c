/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ROL, ROR, RCL, RCR, SHL, SHR, SAR, SHLD, SHRD. */
#include "engine/accel/soft/flags.h"
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/rmw.h"

/* Counts: _i the immediate, _1 one, _c CL. */
#define COUNT_i ((uint8_t)in->imm)
#define COUNT_1 1
#define COUNT_c ((uint8_t)cpu->gpr[GH_RCX])

#define SHIFT(n, type, stype, reg_, op, how)                                                       \
    SOFT_OP(op##_##how##_r##n)                                                                     \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_set_reg##n(cpu, in->rm, soft_v_##op##n(soft_reg##n(cpu, in->rm), COUNT_##how, &f));   \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(op##_##how##_m##n)                                                                     \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        SOFT_RMW(n, type, in, soft_addr(cpu, in, n / 8, true), false,                              \
                 soft_v_##op##n(old, COUNT_##how, &f), (void)0);                                   \
        cpu->aflags = f;                                                                           \
    }
#define SHIFT_ALL(op) SOFT_FOR_SIZES(SHIFT, op, i) SOFT_FOR_SIZES(SHIFT, op, 1) SOFT_FOR_SIZES(SHIFT, op, c)
SHIFT_ALL(rol)
SHIFT_ALL(ror)
SHIFT_ALL(rcl)
SHIFT_ALL(rcr)
SHIFT_ALL(shl)
SHIFT_ALL(shr)
SHIFT_ALL(sar)

#define DOUBLE_VALUE(n, type, stype, reg_, op)                                                     \
    static type op##_value##n(type d, type s, uint8_t count, soft_aflags *f)                       \
    {                                                                                              \
        uint32_t ax = *f;                                                                          \
        __asm__(SOFT_GIVE_FLAGS_ #op " %%cl, %[s], %[d]" SOFT_TAKE_FLAGS_                          \
                : [d] "+r"(d), "+a"(ax) : [s] "r"(s), "c"(count) : "cc");                          \
        *f = (soft_aflags)ax;                                                                      \
        return d;                                                                                  \
    }
SOFT_FOR_WORDS(DOUBLE_VALUE, shld)
SOFT_FOR_WORDS(DOUBLE_VALUE, shrd)

#define DOUBLE(n, type, stype, reg_, op, how)                                                      \
    SOFT_OP(op##_##how##_r##n)                                                                     \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_set_reg##n(cpu, in->rm, op##_value##n(soft_reg##n(cpu, in->rm),                       \
                                                   soft_reg##n(cpu, in->reg), COUNT_##how, &f));   \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(op##_##how##_m##n)                                                                     \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        type s = soft_reg##n(cpu, in->reg);                                                        \
        SOFT_RMW(n, type, in, soft_addr(cpu, in, n / 8, true), false,                              \
                 op##_value##n(old, s, COUNT_##how, &f), (void)0);                                 \
        cpu->aflags = f;                                                                           \
    }
SOFT_FOR_WORDS(DOUBLE, shld, i)
SOFT_FOR_WORDS(DOUBLE, shld, c)
SOFT_FOR_WORDS(DOUBLE, shrd, i)
SOFT_FOR_WORDS(DOUBLE, shrd, c)
