/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Near stack accesses by the stack's own width: RSP in 64-bit mode, else ESP or SP by SS.B.
 * The access comes before RSP changes, so that a fault leaves it. Thread: the vCPU's own.
 */
#pragma once
#include "engine/accel/soft/operand.h"

static inline uint64_t soft_sp(const struct soft_cpu *cpu)
{
    return cpu->code_mode == 64 ? cpu->gpr[GH_RSP]
           : cpu->stack32 ? (uint32_t)cpu->gpr[GH_RSP] : (uint16_t)cpu->gpr[GH_RSP];
}
/* Wraps an offset as the stack pointer would. */
static inline uint64_t soft_sp_wrap(const struct soft_cpu *cpu, uint64_t sp)
{
    return cpu->code_mode == 64 ? sp : cpu->stack32 ? (uint32_t)sp : (uint16_t)sp;
}
static inline void soft_set_sp(struct soft_cpu *cpu, uint64_t sp)
{
    if (soft_likely(cpu->code_mode == 64))
        cpu->gpr[GH_RSP] = sp;
    else if (cpu->stack32)
        soft_set_reg32(cpu, GH_RSP, (uint32_t)sp);
    else
        soft_set_reg16(cpu, GH_RSP, (uint16_t)sp);
}
/* Linear address of an offset in the stack segment. */
static inline uint64_t soft_stack_addr(struct soft_cpu *cpu, uint64_t sp, unsigned bytes, bool write)
{
    if (soft_likely(cpu->code_mode == 64))
        return sp;
    return soft_linear(cpu, GH_SS, sp, bytes, write);
}

#define SOFT_STACK_(n, type)                                                                       \
    static inline void soft_push##n(struct soft_cpu *cpu, type v)                                  \
    {                                                                                              \
        uint64_t sp = soft_sp_wrap(cpu, cpu->gpr[GH_RSP] - n / 8);                                 \
        soft_st##n(cpu, soft_stack_addr(cpu, sp, n / 8, true), v);                                 \
        soft_set_sp(cpu, sp);                                                                      \
    }                                                                                              \
    static inline type soft_top##n(struct soft_cpu *cpu) /* the value POP would give; RSP stays */ \
    {                                                                                              \
        return soft_ld##n(cpu, soft_stack_addr(cpu, soft_sp(cpu), n / 8, false));                  \
    }                                                                                              \
    static inline type soft_pop##n(struct soft_cpu *cpu)                                           \
    {                                                                                              \
        type v = soft_top##n(cpu);                                                                 \
        soft_set_sp(cpu, cpu->gpr[GH_RSP] + n / 8);                                                \
        return v;                                                                                  \
    }
SOFT_STACK_(16, uint16_t)
SOFT_STACK_(32, uint32_t)
SOFT_STACK_(64, uint64_t)
#undef SOFT_STACK_
