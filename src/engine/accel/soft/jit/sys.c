/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What kernels do often and that needs no C code: CLI, STI, STAC, CLAC, SWAPGS, PUSHF, MOV from CR0-CR4 at level 0. */
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

/* From one half of the TLB to the other; the stack's way is the same one there. */
static void other_half(struct jit_gen *g, enum soft_mmu_mode to)
{
    jit_env(g, 0xc6, 0, JIT_ENV_OF(mmu_mode));
    jit_e8(g, to);
    const int field[] = { JIT_ENV_OF(tlb), JIT_ENV_OF(jit.stack) };
    for (unsigned i = 0; i < 2; i++) {                       /* add or sub qword, imm32 */
        jit_env(g, 0x81 | O_W, to == SOFT_MMU_KERNEL ? 5 : 0, field[i]);
        jit_e32(g, (uint32_t)sizeof ((struct soft_tlb_ctx *)0)->set[0]);
    }
}
_Static_assert(SOFT_MMU_KERNEL_SMAP == SOFT_MMU_KERNEL + 1, "halves are neighbours");

/* Where AC is clear already, as on most ways into a kernel, nothing happens. The handler serves a CPU without SMAP. */
static void clac(struct jit_gen *g, const struct soft_insn *in)
{
    only_level_0(g);
    jit_env(g, 0xf7, 0, JIT_ENV_OF(cr4));
    jit_e32(g, (uint32_t)CR4_SMAP);
    jit_slow_if(g, CC_E);
    jit_env(g, 0xf7, 0, JIT_ENV_OF(rflags_rest));
    jit_e32(g, FL_AC);
    uint8_t *clear = jit_jcc(g, CC_E);
    jit_env(g, 0x81, 4, JIT_ENV_OF(rflags_rest));
    jit_e32(g, ~(uint32_t)FL_AC);
    other_half(g, SOFT_MMU_KERNEL_SMAP);
    jit_patch(clear, g->at);
    jit_exit_jmp(g, (int32_t)g->off + in->len);
}

static void stac(struct jit_gen *g, const struct soft_insn *in)
{
    only_level_0(g);
    jit_env(g, 0x80, 7, JIT_ENV_OF(mmu_mode));
    jit_e8(g, SOFT_MMU_KERNEL_SMAP);
    jit_slow_if(g, CC_NE);
    jit_env(g, 0x81, 1, JIT_ENV_OF(rflags_rest));
    jit_e32(g, FL_AC);
    other_half(g, SOFT_MMU_KERNEL);
    jit_exit_jmp(g, (int32_t)g->off + in->len);
}

static bool mov_from_cr(struct jit_gen *g, const struct soft_insn *in)
{
    static const int16_t field[] = { JIT_ENV_OF(cr0), 0, JIT_ENV_OF(cr2), JIT_ENV_OF(cr3), JIT_ENV_OF(cr4) };
    if (in->reg > 4 || in->reg == 1 || in->rm == GH_RSP)
        return false;
    only_level_0(g);
    unsigned h = jit_pinned(in->rm) == JIT_NONE ? JIT_A : jit_pinned(in->rm);
    jit_load(g, h, field[in->reg]);
    jit_done(g, in->rm, h);
    return true;
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
    case SOFT_OP_clac: case SOFT_OP_stac:
        if (g->b->key & SOFT_KEY_USER || !g->mode64)
            return false;
        if (in->op == SOFT_OP_clac)
            clac(g, in);
        else
            stac(g, in);
        return true;
    case SOFT_OP_mov_from_cr:
        return !(g->b->key & SOFT_KEY_USER) && g->mode64 && mov_from_cr(g, in);
    default:
        return false;
    }
}
