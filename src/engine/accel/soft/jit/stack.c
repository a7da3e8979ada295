/* SPDX-License-Identifier: GPL-3.0-or-later */
/* PUSH, POP, LEAVE of the code's own width. RSP changes after the access, so that a fault leaves it. */
#include "engine/accel/soft/jit/gen.h"

void jit_stack_add(struct jit_gen *g, int n) { jit_rm(g, 0x8d | g->wide, JIT_SP, JIT_SP, n); }

void jit_push_slot(struct jit_gen *g)
{
    jit_push_operand(g);
    jit_operand_to_a(g);
}

void jit_top_slot(struct jit_gen *g)
{
    jit_top_operand(g);
    jit_operand_to_a(g);
}

static bool push(struct jit_gen *g, const struct soft_insn *in)
{
    switch (soft_rows[in->op].form) {
    case F_O:
        jit_push_operand(g);
        jit_mem(g, 0x89 | g->wide, jit_use(g, in->reg, jit_spare(g)));
        break;
    case F_IZ: case F_I8:
        jit_push_operand(g);
        jit_mem(g, 0xc7 | g->wide, 0);
        jit_e32(g, (uint32_t)in->imm);
        break;
    default:
        if (!in->is_mem || !jit_can_address(g, in))
            return false;
        jit_operand(g, in, g->word, false);
        jit_mem(g, 0x8b | g->wide, JIT_A);
        jit_store(g, JIT_A, JIT_ENV_OF(jit.tmp[0]));
        jit_push_operand(g);
        unsigned h = jit_spare(g);
        jit_load(g, h, JIT_ENV_OF(jit.tmp[0]));
        jit_mem(g, 0x89 | g->wide, h);
    }
    jit_stack_add(g, -(int)g->word);
    return true;
}

static bool pop(struct jit_gen *g, const struct soft_insn *in)
{
    if (soft_rows[in->op].form != F_O)
        return false;
    jit_top_operand(g);
    unsigned h = jit_pinned(in->reg) == JIT_NONE ? jit_spare(g) : jit_pinned(in->reg);
    jit_mem(g, 0x8b | g->wide, h);
    jit_done(g, in->reg, h);
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
