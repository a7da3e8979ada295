/* SPDX-License-Identifier: GPL-3.0-or-later */
/* EFLAGS, and what CS, SS, CPL and the control registers make of the execution mode. */
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/system.h"
#include "engine/accel/soft/vm.h"

#define FLAGS_WRITABLE 0x3f7fd5u

uint64_t soft_get_rflags(const struct soft_cpu *cpu)
{
    return (cpu->aflags >> 8 & 0xd5u) | (cpu->aflags & 1u) << 11 | cpu->rflags_rest | 2;
}

void soft_set_rflags(struct soft_cpu *cpu, uint64_t value, uint64_t mask)
{
    uint32_t m = (uint32_t)mask & FLAGS_WRITABLE, rest = m & ~SOFT_ARITH_MASK;

    if (m & SOFT_ARITH_MASK) {
        uint32_t f = ((uint32_t)soft_get_rflags(cpu) & ~m) | ((uint32_t)value & m);
        cpu->aflags = (soft_aflags)((f & 0xd5) << 8 | 0x200 | (f >> 11 & 1));
    }
    uint32_t was = cpu->rflags_rest;
    cpu->rflags_rest = (was & ~rest) | ((uint32_t)value & rest) | 2;
    if (cpu->irq_waiting && (cpu->rflags_rest & ~was & FL_IF))
        atomic_fetch_or(&cpu->attention, SOFT_ATTN_IRQ);
}

/* Segment that needs no check: base 0, whole 4 GiB, present; writable data, or in CS readable code (which
 * the decoder lets nobody write). */
static bool flat(const struct soft_cpu *cpu, unsigned seg)
{
    const struct gh_segment *s = &cpu->seg[seg];

    if (s->base || s->limit != 0xffffffffu || (s->attr & (GH_SEG_P | GH_SEG_S | GH_SEG_UNUSABLE)) != (GH_SEG_P | GH_SEG_S))
        return false;
    return s->attr & 8 ? seg == GH_CS && (s->attr & 2) : (s->attr & 6) == 2;
}

void soft_update_level(struct soft_cpu *cpu)
{
    uint64_t key = cpu->state_key & ~(uint64_t)(SOFT_KEY_USER | SOFT_KEY_STACK32 | SOFT_KEY_STEP);

    cpu->stack32 = cpu->seg[GH_SS].attr & GH_SEG_DB;
    cpu->mmu_mode = (uint8_t)soft_mode_cpl(cpu, cpu->cpl);
    soft_use_tlb(cpu, cpu->ctx->set[cpu->mmu_mode]);
    cpu->state_key = key | (cpu->stack32 && cpu->code_mode != 64 ? SOFT_KEY_STACK32 : 0) | (cpu->cpl == 3 ? SOFT_KEY_USER : 0) |
                     (soft_needs_step(cpu) ? SOFT_KEY_STEP : 0);
}

void soft_update_mode(struct soft_cpu *cpu)
{
    uint16_t cs = cpu->seg[GH_CS].attr;
    uint64_t key = 0;

    if (cpu->long_mode && (cs & GH_SEG_L) && (cpu->cr0 & CR0_PE)) {
        cpu->code_mode = 64;
        key = SOFT_KEY_CODE64 | SOFT_KEY_FLAT(GH_ES) | SOFT_KEY_FLAT(GH_CS) | SOFT_KEY_FLAT(GH_SS) | SOFT_KEY_FLAT(GH_DS);
    } else {
        cpu->code_mode = cs & GH_SEG_DB ? 32 : 16;
        if (cs & GH_SEG_DB)
            key = SOFT_KEY_CODE32;
        for (unsigned i = GH_ES; i <= GH_GS; i++)
            if (flat(cpu, i))
                key |= SOFT_KEY_FLAT(i);
    }
    cpu->stack32 = cpu->seg[GH_SS].attr & GH_SEG_DB;
    cpu->mmu_mode = (uint8_t)soft_mode_cpl(cpu, cpu->cpl);
    soft_use_tlb(cpu, cpu->ctx->set[cpu->mmu_mode]);
    /* Not in 64-bit code: a kernel runs the same code with the SS of a system call and with the null SS of an exception. */
    if (cpu->stack32 && cpu->code_mode != 64)
        key |= SOFT_KEY_STACK32;
    if (cpu->cpl == 3)
        key |= SOFT_KEY_USER;
    if (soft_protected(cpu))
        key |= SOFT_KEY_PROT;
    if (soft_needs_step(cpu))
        key |= SOFT_KEY_STEP;
    if (cpu->long_mode)
        key |= SOFT_KEY_LMA;
    key |= (cpu->cr0 & CR0_TS ? SOFT_KEY_TS : 0) | (cpu->cr0 & CR0_EM ? SOFT_KEY_EM : 0) |
           (cpu->cr0 & CR0_MP ? SOFT_KEY_MP : 0) | (cpu->cr4 & CR4_OSFXSR ? SOFT_KEY_OSFXSR : 0) |
           (cpu->cr4 & CR4_OSXSAVE ? SOFT_KEY_OSXSAVE : 0) | (cpu->xcr0 & 4 ? SOFT_KEY_AVX : 0) |
           (cpu->vm->a20_mask != ~0ull ? SOFT_KEY_A20OFF : 0) | cpu->vm->key_always;
    cpu->state_key = key;
}
