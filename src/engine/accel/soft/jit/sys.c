/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What kernels do often and that needs no C code: CLI, STI, SWAPGS, PUSHF at level 0. */
#include "engine/accel/soft/jit/gen.h"
#include "engine/accel/soft/vm.h"

#define GS_BASE ((int)offsetof(struct soft_cpu, seg) + GH_GS * (int)sizeof(struct gh_segment) + \
                 (int)offsetof(struct gh_segment, base) - SOFT_JIT_BIAS)

static void only_level_0(struct jit_gen *g)
{
    jit_flags_to_env(g);
    jit_env(g, 0x80, 7, JIT_ENV_OF(cpl));
    jit_e8(g, 0);
    jit_slow_if(g, CC_NE);
    g->flags = JIT_FLAGS_ENV;
}

/* The following instruction is in the same block (soft_op_sti_held), so there is no shadow to keep. */
static void sti(struct jit_gen *g)
{
    only_level_0(g);
    jit_env(g, 0x80, 7, JIT_ENV_OF(irq_waiting));
    jit_e8(g, 0);
    jit_slow_if(g, CC_NE);
    jit_env(g, 0x81, 1, JIT_ENV_OF(rflags_rest));
    jit_e32(g, FL_IF);
}

static void cli(struct jit_gen *g)
{
    only_level_0(g);
    jit_env(g, 0x81, 4, JIT_ENV_OF(rflags_rest));
    jit_e32(g, ~(uint32_t)FL_IF);
}

static void swapgs(struct jit_gen *g)
{
    only_level_0(g);
    jit_load(g, JIT_A, GS_BASE);
    jit_load(g, JIT_B, JIT_ENV_OF(kernel_gs_base));
    jit_store(g, JIT_B, GS_BASE);
    jit_store(g, JIT_A, JIT_ENV_OF(kernel_gs_base));
}

static void pushf(struct jit_gen *g)
{
    jit_flags_to_env(g);
    jit_push_slot(g);
    jit_store(g, JIT_A, JIT_ENV_OF(jit.tmp[0]));
    jit_env(g, 0xb7 | O_0F, JIT_B, JIT_ENV_OF(aflags));  /* movzx r15d, word */
    jit_rr(g, 0x89, JIT_B, JIT_A);
    jit_rr(g, 0xc1, 5, JIT_A);                           /* shr r13d, 8: SF ZF AF PF CF */
    jit_e8(g, 8);
    jit_rr(g, 0x81, 4, JIT_A);
    jit_e32(g, 0xd5);
    jit_rr(g, 0x83, 4, JIT_B);                           /* and r15d, 1; shl r15d, 11: OF */
    jit_e8(g, 1);
    jit_rr(g, 0xc1, 4, JIT_B);
    jit_e8(g, 11);
    jit_rr(g, 0x09, JIT_B, JIT_A);
    jit_env(g, 0x8b, JIT_B, JIT_ENV_OF(rflags_rest));
    jit_rr(g, 0x81, 4, JIT_B);
    jit_e32(g, ~(uint32_t)(FL_VM | FL_RF));
    jit_rr(g, 0x09, JIT_B, JIT_A);
    jit_rr(g, 0x83, 1, JIT_A);                           /* or r13d, 2 */
    jit_e8(g, 2);
    jit_load(g, JIT_B, JIT_ENV_OF(jit.tmp[0]));
    jit_rm(g, 0x89 | O_W, JIT_A, JIT_B, 0);
    g->flags = JIT_FLAGS_ENV;
    jit_stack_add(g, -8);
}

bool jit_sys(struct jit_gen *g, const struct soft_insn *in)
{
    switch (in->op) {
    case SOFT_OP_pushf:
        if (!g->mode64 || in->opsize != 8)
            return false;
        pushf(g);
        return true;
    case SOFT_OP_cli:
        if (g->b->key & SOFT_KEY_USER)
            return false;
        cli(g);
        return true;
    case SOFT_OP_sti:
        if (g->b->key & SOFT_KEY_USER || in->flags & SOFT_F_END)
            return false;
        sti(g);
        return true;
    case SOFT_OP_swapgs:
        if (g->b->key & SOFT_KEY_USER || !g->mode64)
            return false;
        swapgs(g);
        return true;
    default:
        return false;
    }
}
