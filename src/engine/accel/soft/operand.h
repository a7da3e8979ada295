/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Operands of a decoded instruction: registers by number and size, memory operands by soft_addr
 * and the accessors of mmu.h. Thread: the vCPU's own.
 *
 * Byte registers: reg and rm of byte rows (and rm of A_RM8 rows) hold number | 0x10 for AH, CH, DH, BH
 * (number 0..3); the decoder has already looked at REX.
 */
#pragma once
#include "engine/accel/soft/cpu.h"
#include "engine/accel/soft/mmu.h"

_Static_assert(offsetof(struct soft_cpu, rip) == 16 * 8 && offsetof(struct soft_cpu, zero) == 17 * 8,
               "register numbers 16 and 17 are rip and zero");

/* Any register number in[->base, ->index], including SOFT_RIP_REG and SOFT_NO_REG. */
static inline uint64_t soft_any_reg(const struct soft_cpu *cpu, unsigned n)
{
    uint64_t v;
    memcpy(&v, (const char *)cpu + n * 8, 8);
    return v;
}

static inline uint8_t *soft_reg8_at(struct soft_cpu *cpu, unsigned n)
{
    return (uint8_t *)&cpu->gpr[n & 15] + (n >> 4);
}
static inline uint8_t  soft_reg8(const struct soft_cpu *cpu, unsigned n) { return (uint8_t)(cpu->gpr[n & 15] >> (n >> 4) * 8); }
static inline uint16_t soft_reg16(const struct soft_cpu *cpu, unsigned n) { return (uint16_t)cpu->gpr[n]; }
static inline uint32_t soft_reg32(const struct soft_cpu *cpu, unsigned n) { return (uint32_t)cpu->gpr[n]; }
static inline uint64_t soft_reg64(const struct soft_cpu *cpu, unsigned n) { return cpu->gpr[n]; }
static inline void soft_set_reg8(struct soft_cpu *cpu, unsigned n, uint8_t v) { *soft_reg8_at(cpu, n) = v; }
static inline void soft_set_reg16(struct soft_cpu *cpu, unsigned n, uint16_t v) { memcpy(&cpu->gpr[n], &v, 2); }
static inline void soft_set_reg32(struct soft_cpu *cpu, unsigned n, uint32_t v) { cpu->gpr[n] = v; } /* upper half clears */
static inline void soft_set_reg64(struct soft_cpu *cpu, unsigned n, uint64_t v) { cpu->gpr[n] = v; }

/* Linear address of the memory operand. In flat segments nothing is checked here: the TLB tag
 * compare finds what is not canonical. */
static inline uint64_t soft_addr(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes, bool write)
{
    if (soft_likely(in->is_mem == SOFT_MEM_FLAT64))
        return soft_any_reg(cpu, in->base) + (soft_any_reg(cpu, in->index) << in->scale) + (int64_t)in->disp;
    if (in->is_mem == SOFT_MEM_RIP64)
        return cpu->rip + in->len + (int64_t)in->disp;
    if (in->is_mem == SOFT_MEM_FLAT32)
        return (uint32_t)(soft_any_reg(cpu, in->base) + (soft_any_reg(cpu, in->index) << in->scale) + (uint32_t)in->disp);
    return soft_ea(cpu, in, bytes, write);
}

/* Memory operand, read and write. */
static inline uint8_t  soft_ldm8(struct soft_cpu *cpu, const struct soft_insn *in) { return soft_ld8(cpu, soft_addr(cpu, in, 1, false)); }
static inline uint16_t soft_ldm16(struct soft_cpu *cpu, const struct soft_insn *in) { return soft_ld16(cpu, soft_addr(cpu, in, 2, false)); }
static inline uint32_t soft_ldm32(struct soft_cpu *cpu, const struct soft_insn *in) { return soft_ld32(cpu, soft_addr(cpu, in, 4, false)); }
static inline uint64_t soft_ldm64(struct soft_cpu *cpu, const struct soft_insn *in) { return soft_ld64(cpu, soft_addr(cpu, in, 8, false)); }
static inline void soft_stm8(struct soft_cpu *cpu, const struct soft_insn *in, uint8_t v) { soft_st8(cpu, soft_addr(cpu, in, 1, true), v); }
static inline void soft_stm16(struct soft_cpu *cpu, const struct soft_insn *in, uint16_t v) { soft_st16(cpu, soft_addr(cpu, in, 2, true), v); }
static inline void soft_stm32(struct soft_cpu *cpu, const struct soft_insn *in, uint32_t v) { soft_st32(cpu, soft_addr(cpu, in, 4, true), v); }
static inline void soft_stm64(struct soft_cpu *cpu, const struct soft_insn *in, uint64_t v) { soft_st64(cpu, soft_addr(cpu, in, 8, true), v); }

/* A memory operand of two parts, second bytes behind the first: with 16-bit addresses each part has its own wrap. */
static inline struct soft_insn soft_second_part(const struct soft_insn *in, unsigned bytes)
{
    struct soft_insn second = *in;

    second.disp += (int32_t)bytes;
    return second;
}

/* m16:16, m16:32, m16:64. */
static inline void soft_read_far(struct soft_cpu *cpu, const struct soft_insn *in, uint64_t *ret_offset, uint16_t *ret_sel)
{
    uint8_t raw[10] = { 0 };

    *ret_offset = 0;
    if (in->addrsize == 2) {
        struct soft_insn second = soft_second_part(in, in->opsize);
        soft_read(cpu, soft_addr(cpu, in, in->opsize, false), ret_offset, in->opsize);
        *ret_sel = soft_ldm16(cpu, &second);
        return;
    }
    soft_read(cpu, soft_addr(cpu, in, in->opsize + 2u, false), raw, in->opsize + 2u);
    memcpy(ret_offset, raw, in->opsize);
    memcpy(ret_sel, raw + in->opsize, 2);
}

/* rm, register or memory, decided at run time: for handlers that are not specialised. */
#define SOFT_RM_(n, type)                                                                          \
    static inline type soft_get_rm##n(struct soft_cpu *cpu, const struct soft_insn *in)            \
    { return in->is_mem ? soft_ldm##n(cpu, in) : soft_reg##n(cpu, in->rm); }                       \
    static inline void soft_put_rm##n(struct soft_cpu *cpu, const struct soft_insn *in, type v)    \
    { if (in->is_mem) soft_stm##n(cpu, in, v); else soft_set_reg##n(cpu, in->rm, v); }
SOFT_RM_(8, uint8_t)
SOFT_RM_(16, uint16_t)
SOFT_RM_(32, uint32_t)
SOFT_RM_(64, uint64_t)
#undef SOFT_RM_
