/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Handlers: far transfers, interrupts, system calls, HLT, interrupt flag. */
#include "engine/accel/soft/far.h"
#include "engine/accel/soft/handlers.h"

#define ATTR_CODE  0x9b   /* present, code, readable, accessed */
#define ATTR_DATA  0x93
#define SYSRET_FLAGS (SOFT_ARITH_MASK | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_AC | FL_VIF | FL_VIP | FL_ID)

static uint64_t next_rip(const struct soft_cpu *cpu, const struct soft_insn *in)
{
    uint64_t next = cpu->rip + in->len;

    return cpu->code_mode == 64 ? next : (uint32_t)next;
}

SOFT_OP(callf_p) { soft_far_call(cpu, (uint16_t)in->disp, in->imm, in->opsize, next_rip(cpu, in)); }
SOFT_OP(jmpf_p) { soft_far_jump(cpu, (uint16_t)in->disp, in->imm, in->opsize, next_rip(cpu, in)); }

SOFT_OP(callf_m)
{
    uint64_t offset;
    uint16_t sel;

    soft_read_far(cpu, in, &offset, &sel);
    soft_far_call(cpu, sel, offset, in->opsize, next_rip(cpu, in));
}

SOFT_OP(jmpf_m)
{
    uint64_t offset;
    uint16_t sel;

    soft_read_far(cpu, in, &offset, &sel);
    soft_far_jump(cpu, sel, offset, in->opsize, next_rip(cpu, in));
}

SOFT_OP(retf) { soft_far_return(cpu, in->opsize, (uint16_t)in->imm); }
SOFT_OP(iret) { soft_iret(cpu, in->opsize, next_rip(cpu, in)); }
SOFT_OP(int3) { soft_interrupt(cpu, SOFT_BP, false, next_rip(cpu, in)); }
SOFT_OP(int_i) { soft_interrupt(cpu, (uint8_t)in->imm, true, next_rip(cpu, in)); }
SOFT_OP(int1) { soft_icebp(cpu, next_rip(cpu, in)); }

SOFT_OP(into)
{
    if (cpu->aflags & SOFT_OF)
        soft_interrupt(cpu, SOFT_OF_, false, next_rip(cpu, in));
    else
        soft_next(cpu, in);
}

/* Flat segments that SYSCALL and its like load without reading a descriptor. */
static void flat_segments(struct soft_cpu *cpu, uint16_t cs, uint16_t ss, unsigned cpl, bool code64)
{
    uint16_t dpl = (uint16_t)(cpl << 5);

    cpu->seg[GH_CS] = (struct gh_segment){ .limit = 0xffffffffu, .selector = (uint16_t)((cs & ~3u) | cpl),
        .attr = (uint16_t)(ATTR_CODE | dpl | GH_SEG_G | (code64 ? GH_SEG_L : GH_SEG_DB)) };
    cpu->seg[GH_SS] = (struct gh_segment){ .limit = 0xffffffffu, .selector = (uint16_t)((ss & ~3u) | cpl),
        .attr = (uint16_t)(ATTR_DATA | dpl | GH_SEG_G | GH_SEG_DB) };
    cpu->cpl = (uint8_t)cpl;
}

/* Also from compatibility mode, to CSTAR, as half of the processors have it. But a kernel that sees a vendor whose
 * processors have not leaves CSTAR 0 and must get the #UD that it counts on: a program there need not look at CPUID first. */
SOFT_OP(syscall)
{
    if (!cpu->long_mode || !(cpu->efer & EFER_SCE))
        soft_ud(cpu);
    uint64_t target = cpu->code_mode == 64 ? cpu->lstar : cpu->cstar;
    if (!target && cpu->code_mode != 64)
        soft_ud(cpu);
    cpu->gpr[GH_RCX] = next_rip(cpu, in);
    cpu->gpr[GH_R11] = soft_get_rflags(cpu) & ~(uint64_t)FL_RF;
    soft_set_rflags(cpu, 0, cpu->sfmask | FL_RF);
    cpu->step_taken = !(cpu->rflags_rest & FL_TF); /* the single step is decided by TF at the end */
    flat_segments(cpu, (uint16_t)(cpu->star >> 32), (uint16_t)((cpu->star >> 32) + 8), 0, true);
    cpu->rip = target;
    soft_update_mode(cpu);
}

SOFT_OP(sysret)
{
    uint16_t base = (uint16_t)(cpu->star >> 48);

    if (cpu->code_mode != 64 || !(cpu->efer & EFER_SCE))
        soft_ud(cpu);
    if (cpu->cpl)
        soft_gp(cpu, 0);
    bool wide = in->opsize == 8;
    uint64_t target = wide ? cpu->gpr[GH_RCX] : (uint32_t)cpu->gpr[GH_RCX];
    if (!soft_canonical(target))
        soft_gp(cpu, 0);
    flat_segments(cpu, (uint16_t)(wide ? base + 16 : base), (uint16_t)(base + 8), 3, wide);
    cpu->rip = target;
    bool tf_was_set = cpu->rflags_rest & FL_TF;
    soft_set_rflags(cpu, cpu->gpr[GH_R11], SYSRET_FLAGS | FL_RF);
    cpu->rflags_rest &= ~FL_RF;
    cpu->step_taken = !(cpu->rflags_rest & FL_TF);
    if (!tf_was_set && !cpu->step_taken) { /* TF at the end counts: the trap comes before the caller's first instruction */
        cpu->pending_db |= 1u << 14 | SOFT_DB_TRAP;
        soft_attention_set(cpu, SOFT_ATTN_IRQ);
    }
    if (wide)
        soft_update_level(cpu);
    else
        soft_update_mode(cpu);
}

SOFT_OP(sysenter)
{
    if (!(cpu->cr0 & CR0_PE) || SEL_NULL(cpu->sysenter_cs))
        soft_gp(cpu, 0);
    soft_set_rflags(cpu, 0, FL_VM | FL_IF | FL_RF);
    flat_segments(cpu, (uint16_t)cpu->sysenter_cs, (uint16_t)((cpu->sysenter_cs & ~3u) + 8), 0, cpu->long_mode);
    cpu->gpr[GH_RSP] = cpu->long_mode ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
    cpu->rip = cpu->long_mode ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
    soft_update_mode(cpu);
}

SOFT_OP(sysexit)
{
    bool wide = in->opsize == 8;
    uint16_t base = (uint16_t)(cpu->sysenter_cs & ~3u);

    if (!(cpu->cr0 & CR0_PE) || cpu->cpl || SEL_NULL(cpu->sysenter_cs))
        soft_gp(cpu, 0);
    if (wide && (!soft_canonical(cpu->gpr[GH_RCX]) || !soft_canonical(cpu->gpr[GH_RDX])))
        soft_gp(cpu, 0);
    flat_segments(cpu, (uint16_t)(base + (wide ? 32 : 16)), (uint16_t)(base + (wide ? 40 : 24)), 3, wide);
    cpu->gpr[GH_RSP] = wide ? cpu->gpr[GH_RCX] : (uint32_t)cpu->gpr[GH_RCX];
    cpu->rip = wide ? cpu->gpr[GH_RDX] : (uint32_t)cpu->gpr[GH_RDX];
    soft_update_mode(cpu);
}

SOFT_OP(hlt)
{
    if (cpu->cpl)
        soft_gp(cpu, 0);
    soft_next(cpu, in);
    SOFT_COUNT(cpu->vm, halt);
    cpu->run_state = GH_RUN_HALTED;
    atomic_fetch_or(&cpu->attention, SOFT_ATTN_IRQ);
}

/* May CLI and STI touch IF at this level? */
static void check_if_rights(struct soft_cpu *cpu)
{
    if ((cpu->cr0 & CR0_PE) && soft_iopl(cpu) < cpu->cpl)
        soft_gp(cpu, 0);
}

SOFT_OP(cli)
{
    check_if_rights(cpu);
    cpu->rflags_rest &= ~FL_IF;
}

/* Interrupts are looked at between blocks only: what follows in the block is in the shadow of its own. */
SOFT_OP(sti_held)
{
    (void)in;
    check_if_rights(cpu);
    soft_set_rflags(cpu, FL_IF, FL_IF);
}

SOFT_OP(sti)
{
    check_if_rights(cpu);
    if (!(cpu->rflags_rest & FL_IF)) {
        soft_set_rflags(cpu, FL_IF, FL_IF);
        cpu->int_shadow = true;
        cpu->shadow_seen = false;
        soft_update_mode(cpu);
    }
    soft_next(cpu, in);
}
