/* SPDX-License-Identifier: GPL-3.0-or-later */
/* PUSH, POP, LEAVE in 64-bit code. RSP changes after the access, so that a fault leaves it. */
#include "engine/accel/soft/jit/gen.h"

static void stack_pointer_add(struct jit_gen *g, int n) { jit_rm(g, 0x8d | O_W, JIT_SP, JIT_SP, n); }

/* R13 = host address of the word below RSP. */
static void push_slot(struct jit_gen *g)
{
    jit_flags_to_env(g);
    jit_rm(g, 0x8d | O_W, JIT_A, JIT_SP, -8);
    jit_lookup_stack(g, 8, true);
    g->flags = JIT_FLAGS_ENV;
}

static void top_slot(struct jit_gen *g)
{
    jit_flags_to_env(g);
    jit_mov(g, JIT_A, JIT_SP);
    jit_lookup_stack(g, 8, false);
    g->flags = JIT_FLAGS_ENV;
}

static bool push(struct jit_gen *g, const struct soft_insn *in)
{
    switch (soft_rows[in->op].form) {
    case F_O: {
        push_slot(g);
        unsigned h = jit_use(g, in->reg, JIT_B);
        jit_rm(g, 0x89 | O_W, h, JIT_A, 0);
        break;
    }
    case F_IZ: case F_I8:
        push_slot(g);
        jit_rm(g, 0xc7 | O_W, 0, JIT_A, 0);
        jit_e32(g, (uint32_t)in->imm);
        break;
    default:
        if (!in->is_mem || !jit_can_address(g, in))
            return false;
        jit_operand(g, in, 8, false);
        jit_rm(g, 0x8b | O_W, JIT_A, JIT_A, 0);
        jit_store(g, JIT_A, JIT_ENV_OF(jit.tmp[0]));
        push_slot(g);
        jit_load(g, JIT_B, JIT_ENV_OF(jit.tmp[0]));
        jit_rm(g, 0x89 | O_W, JIT_B, JIT_A, 0);
    }
    stack_pointer_add(g, -8);
    return true;
}

static bool pop(struct jit_gen *g, const struct soft_insn *in)
{
    if (soft_rows[in->op].form != F_O)
        return false;
    top_slot(g);
    unsigned h = jit_pinned(in->reg);
    jit_rm(g, 0x8b | O_W, h == JIT_NONE ? JIT_B : h, JIT_A, 0);
    jit_done(g, in->reg, JIT_B);
    if (in->reg != GH_RSP)
        stack_pointer_add(g, 8);
    return true;
}

bool jit_stack(struct jit_gen *g, const struct soft_insn *in)
{
    if (in->opsize != 8)
        return false;
    switch (in->klass) {
    case K_PUSH:
        return push(g, in);
    case K_POP:
        return pop(g, in);
    default:                                 /* LEAVE */
        jit_flags_to_env(g);
        jit_mov(g, JIT_A, H_RBP);
        jit_lookup(g, 8, false);
        g->flags = JIT_FLAGS_ENV;
        jit_rm(g, 0x8d | O_W, JIT_SP, H_RBP, 8);
        jit_rm(g, 0x8b | O_W, H_RBP, JIT_A, 0);
        return true;
    }
}
