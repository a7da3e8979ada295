/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Near jumps, calls and returns of the code's own width. Direct ones leave by exits that are patched to their
 * target; indirect ones look the target up in a table of where such jumps went, and what is not there
 * runs the handler, which also checks the target.
 */
#include "engine/accel/soft/jit/gen.h"

/* Offset of a relative target from rip_page. */
static int32_t relative(const struct jit_gen *g, const struct soft_insn *in)
{
    return (int32_t)g->off + in->len + (int32_t)in->imm;
}

static bool too_far(const struct jit_gen *g, const struct soft_insn *in)
{
    int64_t t = (int64_t)g->off + in->len + (int64_t)in->imm;
    return t != (int32_t)t;
}

void jit_indirect_find(struct jit_gen *g, uint8_t *miss[2])
{
    jit_rr(g, 0x69, JIT_B, JIT_A);                            /* the hash: jit_target_hash */
    jit_e32(g, JIT_TARGET_FACTOR);
    jit_rr(g, 0xc1, 5, JIT_B);
    jit_e8(g, 32 - 16 - 5);
    jit_rr(g, 0x81, 4, JIT_B);                                /* 32 bytes each */
    jit_e32(g, (JIT_TARGETS - 1) << 5);
    jit_env(g, 0x03 | O_W, JIT_B, JIT_ENV_OF(jit.targets));
    jit_rm(g, 0x39 | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_jit_target, linear));
    miss[0] = jit_jcc(g, CC_NE);
    jit_rr(g, 0xc1 | O_W, 7, JIT_A);                          /* -1 for the upper half, 0 for the lower one */
    jit_e8(g, 63);
    jit_rx(g, 0x8b | O_W, JIT_A, JIT_ENV, JIT_A, 3, JIT_ENV_OF(jit.salt_low));
    jit_rm(g, 0x39 | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_jit_target, salt));
    miss[1] = jit_jcc(g, CC_NE);
}
_Static_assert(offsetof(struct soft_jit_env, salt_high) + 8 == offsetof(struct soft_jit_env, salt_low), "indexed by sign");
_Static_assert(sizeof(struct soft_jit_target) == 32, "indexed by shift");

void jit_indirect_go(struct jit_gen *g)
{
    jit_rm(g, 0x8b | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_jit_target, linear));
    jit_rr(g, 0x81 | O_W, 4, JIT_A);                          /* its page */
    jit_e32(g, ~0xfffu);
    jit_store(g, JIT_A, JIT_ENV_OF(jit.rip_page));
    jit_rm(g, 0xff, 4, JIT_B, (int)offsetof(struct soft_jit_target, code));
}

static void find(struct jit_gen *g)
{
    uint8_t *miss[2];
    jit_indirect_find(g, miss);
    jit_slow_at(g, miss[0]);
    g->retarget[g->retarget_count++] = (struct jit_retarget){ miss[1], g->at, (uint8_t)g->index };
}

/* Stores the address of the next instruction below RSP and moves RSP. */
static void push_return(struct jit_gen *g, const struct soft_insn *in)
{
    jit_push_operand(g);
    unsigned h = jit_spare(g);
    jit_load(g, h, JIT_ENV_OF(jit.rip_page));
    jit_rm(g, 0x8d | O_W, h, h, (int32_t)g->off + in->len);
    jit_mem(g, 0x89 | g->wide, h);
    jit_stack_add(g, -(int)g->word);
}

static bool jcc(struct jit_gen *g, const struct soft_insn *in)
{
    jit_flags_to_host(g, JIT_A);
    jit_exit_at(g, jit_jcc(g, in->imm2 & 15), relative(g, in));
    jit_exit_jmp(g, (int32_t)g->off + in->len);
    return true;
}

static bool ret(struct jit_gen *g, const struct soft_insn *in)
{
    jit_top_operand(g);
    jit_mem(g, 0x8b | g->wide, JIT_A);
    find(g);
    jit_stack_add(g, (int)g->word + (soft_rows[in->op].form == F_I16 ? (int)in->imm : 0));
    jit_indirect_go(g);
    return true;
}

static void indirect_target(struct jit_gen *g, const struct soft_insn *in)
{
    if (in->is_mem) {
        jit_operand(g, in, g->word, false);
        jit_mem(g, 0x8b | g->wide, JIT_A);
        return;
    }
    unsigned h = jit_use(g, in->rm, JIT_A);
    if (h != JIT_A)
        jit_rr(g, 0x89 | g->wide, h, JIT_A);
}

bool jit_flow(struct jit_gen *g, const struct soft_insn *in)
{
    if (in->opsize != g->word || (in->is_mem && !jit_can_address(g, in)))
        return false;
    if (!g->stack && (in->klass == K_CALLREL || in->klass == K_RET || in->klass == K_CALLIND))
        return false;
    switch (in->klass) {
    case K_JCC:
        if (too_far(g, in))
            return false;
        return jcc(g, in);
    case K_JMP:
        if (too_far(g, in))
            return false;
        jit_exit_jmp(g, relative(g, in));
        return true;
    case K_CALLREL:
        if (too_far(g, in))
            return false;
        jit_flags_to_env(g);
        push_return(g, in);
        jit_exit_jmp(g, relative(g, in));
        return true;
    case K_RET:
        jit_flags_to_env(g);
        return ret(g, in);
    case K_JMPIND:
        jit_flags_to_env(g);
        indirect_target(g, in);
        find(g);
        jit_indirect_go(g);
        return true;
    case K_CALLIND:
        jit_flags_to_env(g);
        indirect_target(g, in);
        find(g);
        jit_store(g, JIT_B, JIT_ENV_OF(jit.tmp[0]));
        push_return(g, in);
        jit_load(g, JIT_B, JIT_ENV_OF(jit.tmp[0]));
        jit_indirect_go(g);
        return true;
    default:
        return false;
    }
}
