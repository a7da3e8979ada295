/* SPDX-License-Identifier: GPL-3.0-or-later */
/* PUSH, POP, PUSHA, POPA, ENTER, LEAVE, PUSHF, POPF. */
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/stack.h"
#include "engine/accel/soft/vm.h"

#define STACK_OPS(n, type)                                                                         \
    SOFT_OP(push_r_##n) { soft_push##n(cpu, soft_reg##n(cpu, in->reg)); }                          \
    SOFT_OP(push_i_##n) { soft_push##n(cpu, (type)in->imm); }                                      \
    SOFT_OP(push_rm_##n) { soft_push##n(cpu, soft_get_rm##n(cpu, in)); }                           \
    SOFT_OP(pop_r_##n)                                                                             \
    {                                                                                              \
        type v = soft_pop##n(cpu);                                                                 \
        soft_set_reg##n(cpu, in->reg, v);                                                          \
    }                                                                                              \
    SOFT_OP(pop_rm_##n)                                                                            \
    {                                                                                              \
        if (!in->is_mem) {                                                                         \
            type r = soft_pop##n(cpu);                                                             \
            soft_set_reg##n(cpu, in->rm, r);                                                       \
            return;                                                                                \
        }                                                                                          \
        /* The address is formed with RSP after the pop, but a fault must leave RSP. */            \
        type v = soft_top##n(cpu);                                                                 \
        uint64_t old = cpu->gpr[GH_RSP];                                                           \
        soft_set_sp(cpu, old + n / 8);                                                             \
        uint64_t offset = soft_offset(cpu, in);                                                    \
        cpu->gpr[GH_RSP] = old;                                                                    \
        soft_st##n(cpu, soft_linear(cpu, in->seg, offset, n / 8, true), v);                        \
        soft_set_sp(cpu, old + n / 8);                                                             \
    }                                                                                              \
    SOFT_OP(leave_##n)                                                                             \
    {                                                                                              \
        uint64_t frame = soft_sp_wrap(cpu, cpu->gpr[GH_RBP]);                                      \
        type v = soft_ld##n(cpu, soft_stack_addr(cpu, frame, n / 8, false));                       \
        soft_set_sp(cpu, frame + n / 8);                                                           \
        soft_set_reg##n(cpu, GH_RBP, v);                                                           \
    }                                                                                              \
    SOFT_OP(enter_##n)                                                                             \
    {                                                                                              \
        unsigned level = in->imm2 & 31;                                                            \
        uint64_t sp = soft_sp_wrap(cpu, cpu->gpr[GH_RSP] - n / 8), top = sp;                       \
        uint64_t bp = cpu->gpr[GH_RBP];                                                            \
        /* The frame pointer is all of ESP, also where the stack uses SP only. */                  \
        uint64_t frame = (cpu->gpr[GH_RSP] & ~soft_sp_wrap(cpu, ~0ull)) | top;                     \
        /* Prove the whole frame writable before anything changes; the final RSP too. */           \
        uint64_t final_sp = soft_sp_wrap(cpu, sp - level * (n / 8) - in->imm);                     \
        soft_check_write(cpu, soft_stack_addr(cpu, final_sp, n / 8, true), n / 8);                 \
        soft_st##n(cpu, soft_stack_addr(cpu, sp, n / 8, true), soft_reg##n(cpu, GH_RBP));          \
        for (unsigned i = 1; i < level; i++) {                                                     \
            bp = soft_sp_wrap(cpu, bp - n / 8);                                                    \
            sp = soft_sp_wrap(cpu, sp - n / 8);                                                    \
            type v = soft_ld##n(cpu, soft_stack_addr(cpu, bp, n / 8, false));                      \
            soft_st##n(cpu, soft_stack_addr(cpu, sp, n / 8, true), v);                             \
        }                                                                                          \
        if (level) {                                                                               \
            sp = soft_sp_wrap(cpu, sp - n / 8);                                                    \
            soft_st##n(cpu, soft_stack_addr(cpu, sp, n / 8, true), (type)frame);                   \
        }                                                                                          \
        soft_set_reg##n(cpu, GH_RBP, (type)frame);                                                 \
        soft_set_sp(cpu, sp - in->imm);                                                            \
    }
STACK_OPS(16, uint16_t)
STACK_OPS(32, uint32_t)
STACK_OPS(64, uint64_t)

#define PUSHA(n, type)                                                                             \
    SOFT_OP(pusha_##n)                                                                             \
    {                                                                                              \
        uint64_t sp = soft_sp(cpu);                                                                \
        for (unsigned i = 0; i < 8; i++) { /* one after the other: those before a fault stay written */ \
            uint64_t at = soft_sp_wrap(cpu, sp - (i + 1) * (n / 8));                               \
            soft_st##n(cpu, soft_stack_addr(cpu, at, n / 8, true), soft_reg##n(cpu, i));           \
        }                                                                                          \
        soft_set_sp(cpu, sp - 8 * (n / 8));                                                        \
    }                                                                                              \
    SOFT_OP(popa_##n)                                                                              \
    {                                                                                              \
        uint64_t sp = soft_sp(cpu);                                                                \
        type v[8];                                                                                 \
        for (unsigned i = 0; i < 8; i++) {                                                         \
            uint64_t at = soft_sp_wrap(cpu, sp + i * (n / 8));                                     \
            v[7 - i] = soft_ld##n(cpu, soft_stack_addr(cpu, at, n / 8, false));                    \
        }                                                                                          \
        for (unsigned i = 0; i < 8; i++)                                                           \
            if (i != GH_RSP)                                                                       \
                soft_set_reg##n(cpu, i, v[i]);                                                     \
        soft_set_sp(cpu, sp + 8 * (n / 8));                                                        \
    }
PUSHA(16, uint16_t)
PUSHA(32, uint32_t)
SOFT_OP(pusha_64) { soft_ud(cpu); }
SOFT_OP(popa_64) { soft_ud(cpu); }

/* ---- Flags ---------------------------------------------------------------------------------------- */
/* In V86 mode with IOPL < 3: #GP, or with CR4.VME and 16 bits the virtual interrupt flag. */
static bool v86_virtual_if(struct soft_cpu *cpu, bool word)
{
    if (!soft_v86(cpu) || soft_iopl(cpu) == 3)
        return false;
    if (!(cpu->cr4 & CR4_VME) || !word)
        soft_gp(cpu, 0);
    return true;
}

SOFT_OP(pushf_16)
{
    uint64_t f = soft_get_rflags(cpu);
    if (v86_virtual_if(cpu, true)) {
        f = (f & ~(uint64_t)FL_IF) | FL_IOPL;
        if (f & FL_VIF)
            f |= FL_IF;
    }
    soft_push16(cpu, (uint16_t)f);
}

SOFT_OP(pushf_32)
{
    v86_virtual_if(cpu, false);
    soft_push32(cpu, (uint32_t)(soft_get_rflags(cpu) & ~(uint64_t)(FL_VM | FL_RF)));
}

SOFT_OP(pushf_64)
{
    soft_push64(cpu, soft_get_rflags(cpu) & ~(uint64_t)(FL_VM | FL_RF));
}

static void pop_flags(struct soft_cpu *cpu, const struct soft_insn *in, uint64_t value, uint64_t mask)
{
    if (soft_v86(cpu) ? soft_iopl(cpu) == 3 : cpu->cpl == 0 || !(cpu->cr0 & CR0_PE))
        mask |= FL_IF;
    else if (cpu->cpl <= soft_iopl(cpu) && !soft_v86(cpu))
        mask |= FL_IF;
    if (!soft_v86(cpu) && cpu->cpl == 0)
        mask |= FL_IOPL;
    soft_set_rflags(cpu, value, mask);
    soft_update_mode(cpu);
    soft_next(cpu, in);
}
#define POPF_MASK (SOFT_ARITH_MASK | FL_TF | FL_DF | FL_NT)

SOFT_OP(popf_16)
{
    if (v86_virtual_if(cpu, true)) {
        uint64_t v = soft_top16(cpu);
        if ((v & FL_TF) || ((v & FL_IF) && (cpu->rflags_rest & FL_VIP)))
            soft_gp(cpu, 0);
        soft_set_sp(cpu, cpu->gpr[GH_RSP] + 2);
        soft_set_rflags(cpu, v | (v & FL_IF ? FL_VIF : 0), POPF_MASK | FL_VIF);
        soft_update_mode(cpu);
        soft_next(cpu, in);
        return;
    }
    uint64_t v = soft_pop16(cpu);
    pop_flags(cpu, in, v, POPF_MASK);
}

SOFT_OP(popf_32)
{
    v86_virtual_if(cpu, false);
    uint64_t v = soft_pop32(cpu);
    pop_flags(cpu, in, v & ~(uint64_t)FL_RF, POPF_MASK | FL_RF | FL_AC | FL_ID);
}

SOFT_OP(popf_64)
{
    uint64_t v = soft_pop64(cpu);
    pop_flags(cpu, in, v & ~(uint64_t)FL_RF, POPF_MASK | FL_RF | FL_AC | FL_ID);
}
