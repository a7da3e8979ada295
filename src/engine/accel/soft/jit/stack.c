/* SPDX-License-Identifier: GPL-3.0-or-later */
/* PUSH, POP, LEAVE of the code's own width. RSP changes after the access, so that a fault leaves it. */
#include "engine/accel/soft/jit/gen.h"

void jit_stack_add(struct jit_gen *g, int n) { jit_rm(g, 0x8d | g->wide, JIT_SP, JIT_SP, n); }

void jit_push_slot(struct jit_gen *g)
{
    jit_rm(g, 0x8d | g->wide, JIT_A, JIT_SP, -(int)g->word);
    jit_lookup_stack(g, g->word, true);
}

void jit_top_slot(struct jit_gen *g)
{
    jit_rr(g, 0x89 | g->wide, JIT_SP, JIT_A);
    jit_lookup_stack(g, g->word, false);
}

static bool push(struct jit_gen *g, const struct soft_insn *in)
{
    switch (soft_rows[in->op].form) {
    case F_O: {
        jit_flags_to_env(g);
        jit_push_slot(g);
        unsigned h = jit_use(g, in->reg, JIT_B);
        jit_rm(g, 0x89 | g->wide, h, JIT_A, 0);
        break;
    }
    case F_IZ: case F_I8:
        jit_flags_to_env(g);
        jit_push_slot(g);
        jit_rm(g, 0xc7 | g->wide, 0, JIT_A, 0);
        jit_e32(g, (uint32_t)in->imm);
        break;
    default:
        if (!in->is_mem || !jit_can_address(g, in))
            return false;
        jit_operand(g, in, g->word, false);
        jit_rm(g, 0x8b | g->wide, JIT_A, JIT_A, 0);
        jit_store(g, JIT_A, JIT_ENV_OF(jit.tmp[0]));
        jit_push_slot(g);
        jit_load(g, JIT_B, JIT_ENV_OF(jit.tmp[0]));
        jit_rm(g, 0x89 | g->wide, JIT_B, JIT_A, 0);
    }
    g->flags = JIT_FLAGS_ENV;
    jit_stack_add(g, -(int)g->word);
    return true;
}

static bool pop(struct jit_gen *g, const struct soft_insn *in)
{
    if (soft_rows[in->op].form != F_O)
        return false;
    jit_flags_to_env(g);
    jit_top_slot(g);
    g->flags = JIT_FLAGS_ENV;
    unsigned h = jit_pinned(in->reg);
    jit_rm(g, 0x8b | g->wide, h == JIT_NONE ? JIT_B : h, JIT_A, 0);
    jit_done(g, in->reg, JIT_B);
    if (in->reg != GH_RSP)
        jit_stack_add(g, (int)g->word);
    return true;
}

bool jit_stack(struct jit_gen *g, const struct soft_insn *in)
{
    if (!g->stack || in->opsize != g->word)
        return false;
    switch (in->klass) {
    case K_PUSH:
        return push(g, in);
    case K_POP:
        return pop(g, in);
    default:                                 /* LEAVE */
        jit_flags_to_env(g);
        jit_rr(g, 0x89 | g->wide, H_RBP, JIT_A);
        jit_lookup(g, g->word, false);
        g->flags = JIT_FLAGS_ENV;
        jit_rm(g, 0x8d | g->wide, JIT_SP, H_RBP, (int)g->word);
        jit_rm(g, 0x8b | g->wide, H_RBP, JIT_A, 0);
        return true;
    }
}
