/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The run loop. Attention, interrupts and mode changes are looked at between blocks only; inside a
 * block there is nothing but the handlers. Handlers that raise come back through fault_jump with the
 * state of before their instruction.
 */
#include "engine/accel/soft/block.h"
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/jit/jit.h"
#include "engine/accel/soft/vm.h"

SOFT_OP(stale)
{
    (void)in;
    longjmp(cpu->fault_jump, SOFT_JUMP_AGAIN);
}

static inline uint64_t code_linear(const struct soft_cpu *cpu)
{
    return cpu->code_mode == 64 ? cpu->rip : (uint32_t)(cpu->rip + cpu->seg[GH_CS].base);
}

/* rip went past the end of 32-bit code only here: elsewhere the wrap is part of the branch. Of the instruction there is the
 * handler only. */
void soft_op_block_end(struct soft_cpu *cpu, const struct soft_insn *in)
{
    (void)in;
    if (cpu->code_mode != 64)
        cpu->rip = (uint32_t)cpu->rip;
}

static inline void run_block(struct soft_cpu *cpu, const struct soft_block *b)
{
    b->insn[0].fn(cpu, b->insn);
}

/* TF, breakpoints or an interrupt shadow: one instruction with its surroundings. */
static void run_stepped(struct soft_cpu *cpu)
{
    soft_begin_insn(cpu);
    struct soft_block *b = soft_block_find(cpu, code_linear(cpu));
    bool tf = cpu->rflags_rest & 0x100;
    cpu->step_taken = false;
    run_block(cpu, b);
    if (soft_unlikely(cpu->debug_hit == GH_DEBUG_EXEC))
        return; /* nothing was executed */
    cpu->insn_count++;
    soft_end_insn(cpu, tf && !cpu->step_taken);
    if (soft_unlikely(cpu->debug_step))
        soft_debug_stop(cpu, GH_DEBUG_STEP, 0);
}

static inline struct soft_block *next_block(struct soft_cpu *cpu, uint64_t linear)
{
    struct soft_block *b = soft_block_cached(cpu, linear);
    return b ? b : soft_block_find(cpu, linear);
}

void soft_run_blocks(struct soft_cpu *cpu, uint64_t max_blocks)
{
    volatile uint64_t left = max_blocks;
    soft_current = cpu;
    switch (setjmp(cpu->fault_jump)) {
    case SOFT_JUMP_FAULT:
        soft_deliver_fault(cpu);
        cpu->debug_hit = GH_DEBUG_NONE; /* the access did not happen */
        if (soft_unlikely(cpu->debug_step))
            soft_debug_stop(cpu, GH_DEBUG_STEP, 0);
        break;
    default: /* first pass, or a block that overwrote itself: rip is right, go on */
        break;
    }
    const struct soft_jit_link *link = NULL;
    bool jit = cpu->jit_state && (!max_blocks || !soft_jit_chains(cpu));
    for (;;) {
        if (max_blocks) {
            if (!left)
                break;
            left = left - 1;
        }
        if (soft_unlikely(cpu->attention)) {
            link = NULL; /* an attention may free blocks and code */
            if (!soft_attend(cpu))
                break;
        }
        if (soft_unlikely(cpu->state_key & SOFT_KEY_STEP)) {
            link = NULL;
            run_stepped(cpu);
            continue;
        }
        struct soft_block *b = next_block(cpu, code_linear(cpu));
        if (jit && soft_jit_ready(cpu, &b)) {
            if (soft_unlikely(soft_jit_in_lockstep(cpu))) {
                jit_lockstep_run(cpu, b);
                continue;
            }
            if (link)
                soft_jit_connect(cpu, link, b);
            link = soft_jit_run(cpu, b);
            continue;
        }
        link = NULL;
        run_block(cpu, b);
        cpu->insn_count += b->count;
    }
    soft_current = NULL;
}

void soft_run(struct soft_cpu *cpu)
{
    soft_run_blocks(cpu, 0);
}
