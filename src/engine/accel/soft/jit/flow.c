/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Near jumps, calls and returns of the code's own width. Direct ones leave by exits that are patched to their
 * target; indirect ones look the target up in a table of where such jumps went, and what is not there
 * runs the handler, which also checks the target.
 *
 * A call of the guest is a call of the host, below the guest's return address: that is a frame, 16 bytes of the host's stack. A
 * return that goes where the last frame says is a return of the host, to behind the call, from where it is a link to
 * the guest's next instruction. Any other return drops one frame, takes the one below if that is the right one, or the
 * table. Frames are valid for what they were made in: the mapping, the state key, the code's memory. Whatever changes one
 * of these is done by C code, which then leaves without frames (soft_jit_one), or leaves translated code altogether.
 * A killed block stays in memory, and its places to return to with it.
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

static void enter_page(struct jit_gen *g)
{
    jit_rm(g, 0x8b | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_jit_target, linear));
    jit_rr(g, 0x81 | O_W, 4, JIT_A);                          /* its page */
    jit_e32(g, ~0xfffu);
    jit_store(g, JIT_A, JIT_ENV_OF(jit.rip_page));
}

void jit_indirect_go(struct jit_gen *g)
{
    enter_page(g);
    jit_rm(g, 0xff, 4, JIT_B, (int)offsetof(struct soft_jit_target, code));
}

static void find(struct jit_gen *g)
{
    uint8_t *miss[2];
    jit_indirect_find(g, miss);
    jit_slow_at(g, miss[0]);
    g->retarget[g->retarget_count++] = (struct jit_retarget){ miss[1], g->at, (uint8_t)g->index };
}

/* Stores the address of the next instruction below RSP and moves RSP. Returns the host register that holds it. */
static unsigned push_return(struct jit_gen *g, const struct soft_insn *in)
{
    jit_push_operand(g);
    unsigned h = jit_spare(g);
    jit_load(g, h, JIT_ENV_OF(jit.rip_page));
    jit_rm(g, 0x8d | O_W, h, h, (int32_t)g->off + in->len);
    jit_mem(g, 0x89 | g->wide, h);
    jit_stack_add(g, -(int)g->word);
    return h;
}

/* ---- Frames --------------------------------------------------------------------------------------------------- */
static bool pairs(const struct jit_gen *g) { return g->jit->mode == SOFT_JIT_ON; }

/* The frame's upper half: the return address, in R13 or R15. The host call makes the lower one. */
static void push_frame(struct jit_gen *g, unsigned h)
{
    jit_env(g, 0x3b | O_W, H_RSP, JIT_ENV_OF(jit.frames_end));
    g->drop[g->drop_count].jump = jit_jcc(g, CC_E);
    g->drop[g->drop_count++].back = g->at;
    jit_e8(g, 0x41);                                          /* push h */
    jit_e8(g, 0x50 | (h & 7));
}

/* Behind the host call. */
static void come_back(struct jit_gen *g, const struct soft_insn *in)
{
    int32_t next = (int32_t)g->off + in->len;
    jit_e8(g, 0x41);                                          /* pop r15 */
    jit_e8(g, 0x5f);
    jit_rm(g, 0x8d | O_W, JIT_B, JIT_B, -next);
    jit_store(g, JIT_B, JIT_ENV_OF(jit.rip_page));
    g->flags = JIT_FLAGS_ENV;
    jit_exit_jmp(g, next);
}

void jit_flow_cold(struct jit_gen *g)
{
    for (unsigned i = 0; i < g->drop_count; i++) {
        jit_patch(g->drop[i].jump, g->at);
        jit_load(g, H_RSP, JIT_ENV_OF(jit.frames));
        jit_jmp(g, g->drop[i].back);
    }
    for (unsigned i = 0; i < g->mismatch_count; i++) {
        const struct jit_mismatch *m = &g->mismatch[i];
        g->index = m->index;
        g->off = m->off;
        jit_patch(m->jump, g->at);
        jit_env(g, 0x3b | O_W, H_RSP, JIT_ENV_OF(jit.frames));
        uint8_t *none = jit_jcc(g, CC_E);
        jit_rr(g, 0x83 | O_W, 0, H_RSP);
        jit_e8(g, 16);
        jit_rm(g, 0x3b | O_W, JIT_A, H_RSP, 8);
        jit_patch(jit_jcc(g, CC_E), m->take);
        jit_patch(none, g->at);
        find(g);
        jit_stack_add(g, m->add);
        jit_indirect_go(g);
    }
}

static bool jcc(struct jit_gen *g, const struct soft_insn *in)
{
    jit_flags_to_host(g, JIT_A);
    jit_exit_at(g, jit_jcc(g, in->imm2 & 15), relative(g, in));
    if (in->flags & SOFT_F_END)              /* else the block goes on */
        jit_exit_jmp(g, (int32_t)g->off + in->len);
    return true;
}

static bool ret(struct jit_gen *g, const struct soft_insn *in)
{
    int add = (int)g->word + (soft_rows[in->op].form == F_I16 ? (int)in->imm : 0);
    jit_top_operand(g);
    jit_mem(g, 0x8b | g->wide, JIT_A);
    if (!pairs(g) || add != (int16_t)add) {
        find(g);
        jit_stack_add(g, add);
        jit_indirect_go(g);
        return true;
    }
    jit_slow_at(g, NULL);                                     /* jit_flow_cold needs it */
    jit_rm(g, 0x3b | O_W, JIT_A, H_RSP, 8);
    uint8_t *jump = jit_jcc(g, CC_NE);
    g->mismatch[g->mismatch_count++] = (struct jit_mismatch){ jump, g->at, (uint8_t)g->index, (uint16_t)g->off, (int16_t)add };
    jit_stack_add(g, add);
    jit_e8(g, 0xc3);
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

static void call_indirect(struct jit_gen *g, const struct soft_insn *in)
{
    indirect_target(g, in);
    find(g);
    jit_store(g, JIT_B, JIT_ENV_OF(jit.tmp[0]));
    unsigned h = push_return(g, in);
    if (pairs(g))
        push_frame(g, h);
    jit_load(g, JIT_B, JIT_ENV_OF(jit.tmp[0]));
    if (!pairs(g)) {
        jit_indirect_go(g);
        return;
    }
    enter_page(g);
    jit_pad_call(g);
    jit_rm(g, 0xff, 2, JIT_B, (int)offsetof(struct soft_jit_target, code));
    come_back(g, in);
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
        unsigned h = push_return(g, in);
        if (!pairs(g)) {
            jit_exit_jmp(g, relative(g, in));
            return true;
        }
        push_frame(g, h);
        jit_exit_call(g, relative(g, in));
        come_back(g, in);
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
        call_indirect(g, in);
        return true;
    default:
        return false;
    }
}
