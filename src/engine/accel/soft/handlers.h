/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Handlers: one C function per row and specialisation of the instruction table, declared here from
 * the table itself.
 *
 *     SOFT_OP(bswap_32) { ... cpu, in ... }
 *
 * rip while a handler runs is the address of its own instruction.
 *   - A row without A_END: the handler does not touch rip; in->len is added after it.
 *   - A row with A_END (and A_STR rows under REP): the handler sets rip in every case, by soft_next
 *     for the following instruction, or to the target. It is the last instruction of its block;
 *     attention, state_key, run_state are looked at afterwards. Whatever changes state_key, IF,
 *     shadows, run_state or the meaning of the following bytes must be an A_END row.
 *   - A REP instruction that wants to be continued leaves rip as it is.
 *
 * A handler checks everything first and changes architectural state last; a fault leaves by
 * soft_raise* and the instruction restarts. The run loop owns insn_count.
 */
#pragma once
#include "engine/accel/soft/decode.h"
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/operand.h"
#include "engine/accel/soft/system.h"

#define SOFT_OP(name)                                                                              \
    static inline void soft_body_##name(struct soft_cpu *cpu, const struct soft_insn *in);         \
    void soft_op_##name(struct soft_cpu *cpu, const struct soft_insn *in)                          \
    {                                                                                              \
        soft_body_##name(cpu, in);                                                                 \
        SOFT_CHAIN_(cpu, in);                                                                      \
    }                                                                                              \
    static inline __attribute__((always_inline))                                                   \
    void soft_body_##name(struct soft_cpu *cpu, const struct soft_insn *in)
/* Every handler goes on to the next instruction itself, by a tail call: each has its own indirect jump
 * to predict. The last one of a block returns. Handlers use each other as soft_body_<name>. */
#define SOFT_CHAIN_(cpu, in)                                                                       \
    do {                                                                                           \
        if ((in)->flags & SOFT_F_END)                                                              \
            return;                                                                                \
        (cpu)->rip += (in)->len;                                                                   \
        (in)++;                                                                                    \
        (in)->fn((cpu), (in));                                                                     \
    } while (0)

#define SOFT_D_(f) void soft_op_##f(struct soft_cpu *cpu, const struct soft_insn *in);
#define H1(f)   SOFT_D_(f)
#define HRM(f)  SOFT_D_(f##_r) SOFT_D_(f##_m)
#define HS(f)   SOFT_D_(f##_8) SOFT_D_(f##_16) SOFT_D_(f##_32) SOFT_D_(f##_64)
#define HV(f)   SOFT_D_(f##_16) SOFT_D_(f##_32) SOFT_D_(f##_64)
#define HY(f)   SOFT_D_(f##_32) SOFT_D_(f##_64)
#define HA(f)   SOFT_D_(f##_r8) SOFT_D_(f##_m8) HAV(f)
#define HAV(f)  SOFT_D_(f##_r16) SOFT_D_(f##_m16) HAY(f)
#define HAY(f)  SOFT_D_(f##_r32) SOFT_D_(f##_r64) SOFT_D_(f##_m32) SOFT_D_(f##_m64)
#define X(id, name, map, opcode, count, prefix, ext, form, size, attr, klass, handlers) handlers
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
#include "engine/accel/soft/insns.def"
#pragma GCC diagnostic pop
#undef X
#undef H1
#undef HRM
#undef HS
#undef HV
#undef HY
#undef HA
#undef HAV
#undef HAY

SOFT_D_(invalid)    /* raises #UD */
SOFT_D_(too_long)   /* raises #GP(0) */
SOFT_D_(debug_break) /* a debugger stops here */
SOFT_D_(stale)      /* the block was overwritten: leave it */
SOFT_D_(sti_held)   /* STI with its next instruction in the same block */
SOFT_D_(jcc_on)     /* a conditional jump inside a block: leaves it where it is taken */
SOFT_D_(block_end)  /* after the last instruction of a block that does not branch */

/* One instruction alone, with rip moved on as the conventions above say. */
static inline void soft_insn_run(struct soft_cpu *cpu, const struct soft_insn *in)
{
    const struct soft_insn pair[2] = { *in, { .fn = soft_op_block_end, .flags = SOFT_F_END } };
    pair->fn(cpu, pair);
}

/* rip of the following instruction, wrapped as the code segment's size says. */
static inline void soft_next(struct soft_cpu *cpu, const struct soft_insn *in)
{
    uint64_t next = cpu->rip + in->len;
    cpu->rip = cpu->code_mode == 64 ? next : (uint32_t)next;
}
