/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The vCPU's state in the accelerator-neutral form. Only while the vCPU is stopped or on its thread. */
#include <errno.h>

#include "engine/accel/soft/fpu.h"
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/system.h"
#include "engine/accel/soft/vm.h"

/* MSRs that travel in gh_cpu_state.msr. TSC last: it is compared with a running clock. */
#define CLOCK_PAGE 0x4b564d01 /* after the TSC, which its contents are made from */
static const uint32_t saved_msrs[] = {
    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102, 0xc0000103, 0x174, 0x175, 0x176, 0x277, 0x1a0, 0x2ff,
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
    0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207, 0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f,
    0x3a, 0x3b, 0x17a, 0x6e0, 0x6e1, 0x10, CLOCK_PAGE,
};

static uint64_t now_ns(const struct soft_cpu *cpu)
{
    return cpu->vm->env.now_ns(cpu->vm->env.opaque);
}

/* A count that runs out unnoticed reads as zero, which a restore takes for a stopped timer: fire it
 * first, and once more where it ran out while the registers were read. */
static void save_lapic(struct soft_cpu *cpu, uint8_t page[1024])
{
    for (unsigned tries = 0; tries < 4; tries++) {
        gh_lapic_expire(&cpu->lapic, now_ns(cpu));
        gh_lapic_save(&cpu->lapic, page);
        if (gh_lapic_deadline_ns(&cpu->lapic) > now_ns(cpu))
            break;
    }
}

int soft_state_get(struct soft_cpu *cpu, unsigned groups, struct gh_cpu_state *ret, struct gh_error *err)
{
    if (groups & GH_CPU_REGS) {
        memcpy(ret->gpr, cpu->gpr, sizeof ret->gpr);
        ret->rip = cpu->rip;
        ret->rflags = soft_get_rflags(cpu);
    }
    if (groups & GH_CPU_SREGS) {
        memcpy(ret->seg, cpu->seg, sizeof ret->seg);
        ret->gdt = cpu->gdt;
        ret->idt = cpu->idt;
        ret->cr0 = cpu->cr0;
        ret->cr2 = cpu->cr2;
        ret->cr3 = cpu->cr3;
        ret->cr4 = cpu->cr4;
        ret->cr8 = gh_lapic_get_cr8(&cpu->lapic);
        ret->efer = cpu->efer;
        ret->apic_base = cpu->lapic.base_msr;
    }
    if (groups & GH_CPU_DEBUG) {
        memcpy(ret->dr, cpu->dr, sizeof ret->dr);
        ret->dr6 = cpu->dr6;
        ret->dr7 = cpu->dr7;
    }
    if (groups & GH_CPU_FPU) {
        ret->xcr0 = cpu->xcr0;
        soft_fpu_get(cpu, ret->xsave);
    }
    if (groups & (GH_CPU_MSRS | GH_CPU_LAPIC))
        gh_lapic_expire(&cpu->lapic, now_ns(cpu)); /* before the deadline MSR is read */
    if (groups & GH_CPU_MSRS) {
        ret->msr_count = 0;
        for (unsigned i = 0; i < sizeof saved_msrs / sizeof saved_msrs[0] && ret->msr_count < GH_MSR_MAX; i++) {
            struct gh_msr *m = &ret->msr[ret->msr_count];
            m->index = saved_msrs[i];
            if (soft_msr_read(cpu, m->index, &m->value) && (m->index != CLOCK_PAGE || m->value))
                ret->msr_count++;
        }
    }
    if (groups & GH_CPU_LAPIC)
        save_lapic(cpu, ret->lapic);
    if (groups & GH_CPU_EVENTS) {
        ret->run_state = cpu->run_state;
        ret->nmi_blocked = cpu->nmi_blocked;
        ret->nmi_pending = cpu->nmi_pending;
        ret->int_shadow = cpu->int_shadow;
        ret->exception_pending = false;     /* events are delivered whole before run returns */
    }
    return 0;
}

static int check(const struct gh_cpu_state *s, struct gh_error *err)
{
    bool lma = s->efer & EFER_LMA;

    if (((s->cr0 & CR0_PG) && !(s->cr0 & CR0_PE)) || (lma && !(s->cr4 & CR4_PAE)) ||
        (lma != ((s->efer & EFER_LME) && (s->cr0 & CR0_PG))))
        return gh_error_set(err, -EINVAL, "CpuStateInvalid",
                            "The saved processor state is impossible (CR0 %#llx, CR4 %#llx, EFER %#llx); the saved "
                            "state is damaged and cannot be resumed.", (unsigned long long)s->cr0,
                            (unsigned long long)s->cr4, (unsigned long long)s->efer);
    return 0;
}

static int set_sregs(struct soft_cpu *cpu, const struct gh_cpu_state *s, struct gh_error *err)
{
    int rc = check(s, err);

    if (rc < 0)
        return rc;
    memcpy(cpu->seg, s->seg, sizeof cpu->seg);
    cpu->gdt = s->gdt;
    cpu->idt = s->idt;
    cpu->cr0 = s->cr0 | CR0_ET;
    cpu->cr2 = s->cr2;
    cpu->cr3 = s->cr3;
    cpu->cr4 = s->cr4;
    cpu->efer = s->efer;
    cpu->long_mode = s->efer & EFER_LMA;
    cpu->lapic.base_msr = s->apic_base;
    gh_lapic_set_cr8(&cpu->lapic, (uint8_t)s->cr8);
    if (!(cpu->cr0 & CR0_PE))
        cpu->cpl = 0;
    else if (s->rflags & FL_VM)
        cpu->cpl = 3;
    else
        cpu->cpl = GH_SEG_DPL(s->seg[GH_SS].attr);
    soft_load_pdptes_quiet(cpu);
    soft_tlb_switch(cpu, cpu->cr4 & CR4_PCIDE ? cpu->cr3 & 0xfff : 0, false);
    return 0;
}

/* Writes of the two time registers change each other in a guest; here each is its own. What this model lacks is
 * dropped. */
static void set_msr(struct soft_cpu *cpu, uint32_t index, uint64_t value)
{
    if (index == 0x10)
        cpu->tsc_offset += value - soft_rdtsc(cpu);
    else if (index == 0x3b)
        cpu->tsc_adjust = value;
    else
        soft_msr_write(cpu, index, value);
}

int soft_state_set(struct soft_cpu *cpu, unsigned groups, const struct gh_cpu_state *s, struct gh_error *err)
{
    if (groups & GH_CPU_REGS) {
        memcpy(cpu->gpr, s->gpr, sizeof cpu->gpr);
        cpu->rip = s->rip;
        soft_set_rflags(cpu, s->rflags, ~0ull);
    }
    if (groups & GH_CPU_SREGS) {
        int rc = set_sregs(cpu, s, err);
        if (rc < 0)
            return rc;
    }
    if (groups & GH_CPU_DEBUG) {
        memcpy(cpu->dr, s->dr, sizeof cpu->dr);
        cpu->dr6 = s->dr6;
        cpu->dr7 = s->dr7;
    }
    if (groups & GH_CPU_FPU) {
        if (soft_fpu_set(cpu, s->xsave) < 0 || !(s->xcr0 & 1) || (s->xcr0 & ~soft_xcr0_allowed(cpu)))
            return gh_error_set(err, -EINVAL, "CpuStateInvalid",
                                "The saved floating point state (XCR0 %#llx) does not fit the software CPU; resume the "
                                "machine with the accelerator it was saved with.", (unsigned long long)s->xcr0);
        cpu->xcr0 = s->xcr0;
    }
    if (groups & GH_CPU_LAPIC && !gh_lapic_load(&cpu->lapic, s->lapic))
        return gh_error_set(err, -EINVAL, "CpuStateInvalid",
                            "The saved interrupt controller state is impossible; the saved state is damaged and "
                            "cannot be resumed.");
    if (groups & GH_CPU_MSRS)
        for (unsigned i = 0; i < s->msr_count && i < GH_MSR_MAX; i++)
            set_msr(cpu, s->msr[i].index, s->msr[i].value);
    if (groups & GH_CPU_EVENTS) {
        cpu->run_state = s->run_state;
        cpu->nmi_blocked = s->nmi_blocked;
        cpu->nmi_pending = s->nmi_pending;
        cpu->int_shadow = s->int_shadow;
        if (s->exception_pending)       /* it repeats when its instruction runs again */
            cpu->pending_db = 0;
    }
    soft_tlb_flush(cpu, true);
    soft_update_mode(cpu);
    atomic_fetch_or(&cpu->attention, SOFT_ATTN_IRQ | SOFT_ATTN_TIMER);
    return 0;
}
