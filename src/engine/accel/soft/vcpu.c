/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One vCPU's life: attention at block heads, interrupts in, halting, INIT and SIPI, reset. */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/accel/soft/block.h"
#include "engine/accel/soft/fpu.h"
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/system.h"
#include "engine/accel/soft/vm.h"

#define ATTR_RESET_CODE 0x9b
#define ATTR_RESET_DATA 0x93

uint64_t soft_rdtsc(struct soft_cpu *cpu)
{
    uint64_t now = cpu->vm->env.now_ns(cpu->vm->env.opaque);

    if (cpu->vm->tsc_hz != 1000000000u)
        now = (uint64_t)((__uint128_t)now * cpu->vm->tsc_hz / 1000000000u);
    return now + cpu->tsc_offset;
}

void soft_attention_set(struct soft_cpu *cpu, uint32_t bits)
{
    atomic_fetch_or(&cpu->attention, bits);
    if (atomic_load(&cpu->sleeping))
        syscall(SYS_futex, &cpu->attention, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void soft_apic_written(struct soft_cpu *cpu)
{
    uint64_t deadline = gh_lapic_deadline_ns(&cpu->lapic);

    if (deadline != UINT64_MAX && deadline <= cpu->vm->env.now_ns(cpu->vm->env.opaque))
        atomic_fetch_or(&cpu->attention, SOFT_ATTN_TIMER); /* at once, not when the timer thread gets to it */
    else
        soft_timer_arm(cpu, deadline);
    if (gh_lapic_pending(&cpu->lapic) >= 0)
        atomic_fetch_or(&cpu->attention, SOFT_ATTN_IRQ);
}

/* ---- Interrupts ----------------------------------------------------------------------------------- */
static bool extint(const struct soft_cpu *cpu)
{
    return atomic_load_explicit(&cpu->intr_line, memory_order_relaxed) && gh_lapic_accepts_extint(&cpu->lapic);
}

static int take_vector(struct soft_cpu *cpu)
{
    int v = gh_lapic_ack(&cpu->lapic);

    if (v < 0 && extint(cpu))
        v = cpu->vm->env.intack(cpu->vm->env.opaque, cpu->index);
    return v;
}

/* Delivers one interrupt or NMI if the state lets it in. */
static void let_in(struct soft_cpu *cpu)
{
    cpu->irq_waiting = false;
    if (atomic_load_explicit(&cpu->nmi_pending, memory_order_relaxed)) {
        if (!cpu->nmi_blocked && !cpu->int_shadow) {
            atomic_fetch_sub(&cpu->nmi_pending, 1);
            cpu->nmi_blocked = true;
            cpu->run_state = GH_RUN_RUNNABLE;
            soft_deliver_event(cpu, SOFT_NMI);
            atomic_fetch_or(&cpu->attention, SOFT_ATTN_IRQ);
            return;
        }
        if (cpu->nmi_blocked)          /* the latch behind a running handler holds one */
            atomic_compare_exchange_strong(&cpu->nmi_pending, &(uint8_t){ 2 }, 1);
        cpu->irq_waiting = true;
    }
    if (gh_lapic_pending(&cpu->lapic) < 0 && !extint(cpu))
        return;
    if (!(cpu->rflags_rest & FL_IF) || cpu->int_shadow) {
        cpu->irq_waiting = true;
        return;
    }
    int v = take_vector(cpu);
    if (v < 0)
        return;
    cpu->run_state = GH_RUN_RUNNABLE;
    gh_trace(soft_interrupt, "cpu%u vector %d at %#llx", cpu->index, v, (unsigned long long)cpu->rip);
    soft_deliver_event(cpu, (unsigned)v);
    if (gh_lapic_pending(&cpu->lapic) >= 0 || extint(cpu))
        atomic_fetch_or(&cpu->attention, SOFT_ATTN_IRQ);
}

static void start_from_sipi(struct soft_cpu *cpu)
{
    uint8_t page = atomic_load(&cpu->sipi_page);

    cpu->seg[GH_CS].selector = (uint16_t)(page << 8);
    cpu->seg[GH_CS].base = (uint64_t)page << 12;
    cpu->rip = 0;
    cpu->run_state = GH_RUN_RUNNABLE;
    soft_update_mode(cpu);
}

bool soft_attend(struct soft_cpu *cpu)
{
    uint32_t a = atomic_exchange(&cpu->attention, 0);

    if (a & SOFT_ATTN_FLUSH) {
        soft_tlb_flush(cpu, true);
        soft_update_mode(cpu);
    } else {
        soft_tlb_revalidate(cpu);
    }
    if (a & SOFT_ATTN_DIRTY)
        soft_tlb_drop_dirty(cpu);
    if (cpu->late_code_bytes) {
        soft_code_written(cpu->vm, cpu->late_code_write, cpu->late_code_bytes);
        cpu->late_code_bytes = 0;
    }
    if (a & SOFT_ATTN_CODE)
        soft_blocks_sync(cpu);
    if (a & SOFT_ATTN_TIMER) {
        gh_lapic_expire(&cpu->lapic, cpu->vm->env.now_ns(cpu->vm->env.opaque));
        soft_apic_written(cpu);
    }
    if (a & SOFT_ATTN_KICK)
        cpu->kicked = true;
    if (atomic_exchange(&cpu->init_pending, false) && cpu->run_state != GH_RUN_SHUTDOWN)
        soft_vcpu_reset(cpu, true);
    if (atomic_exchange(&cpu->sipi_pending, false) && cpu->run_state == GH_RUN_WAIT_SIPI)
        start_from_sipi(cpu);
    /* A #DB held back by MOV SS is not part of the state that others see: that instruction's successor first. */
    if (cpu->kicked && cpu->int_shadow && cpu->pending_db && cpu->run_state == GH_RUN_RUNNABLE) {
        atomic_fetch_or(&cpu->attention, SOFT_ATTN_IRQ);
        return true;
    }
    if (cpu->kicked || cpu->run_state == GH_RUN_SHUTDOWN || cpu->run_state == GH_RUN_WAIT_SIPI)
        return false;
    if ((cpu->pending_db & SOFT_DB_TRAP) && !cpu->int_shadow) {
        soft_end_insn(cpu, false);
        atomic_fetch_or(&cpu->attention, SOFT_ATTN_IRQ);
        return true;
    }
    if (!cpu->debug_step || cpu->run_state == GH_RUN_HALTED) /* a debugger steps through the program, not its interrupts */
        let_in(cpu);
    else
        cpu->irq_waiting = true;
    return cpu->run_state == GH_RUN_RUNNABLE;
}

/* ---- Waiting and running ------------------------------------------------------------------------------ */
static void wait_for_attention(struct soft_cpu *cpu)
{
    uint64_t deadline = cpu->run_state == GH_RUN_HALTED ? gh_lapic_deadline_ns(&cpu->lapic) : UINT64_MAX;

    soft_timer_arm(cpu, UINT64_MAX);
    atomic_store(&cpu->sleeping, true);
    while (!atomic_load(&cpu->attention)) {
        struct timespec t, *timeout = NULL;
        if (deadline != UINT64_MAX) {
            uint64_t now = cpu->vm->env.now_ns(cpu->vm->env.opaque);
            if (deadline <= now) {
                atomic_fetch_or(&cpu->attention, SOFT_ATTN_TIMER);
                break;
            }
            t.tv_sec = (time_t)((deadline - now) / 1000000000u);
            t.tv_nsec = (long)((deadline - now) % 1000000000u);
            timeout = &t;
        }
        syscall(SYS_futex, &cpu->attention, FUTEX_WAIT_PRIVATE, 0, timeout, NULL, 0);
    }
    atomic_store(&cpu->sleeping, false);
    soft_timer_arm(cpu, gh_lapic_deadline_ns(&cpu->lapic));
}

void soft_vcpu_run(struct soft_cpu *cpu, struct gh_exit *ret)
{
    ret->reason = GH_EXIT_KICKED;
    cpu->kicked = false;
    atomic_fetch_or(&cpu->attention, SOFT_ATTN_IRQ | SOFT_ATTN_TIMER);
    for (;;) {
        soft_run(cpu);
        if (cpu->kicked) {
            cpu->kicked = false;
            soft_timer_arm(cpu, UINT64_MAX);
            if (cpu->debug_hit) {
                ret->reason = GH_EXIT_DEBUG;
                ret->debug.kind = cpu->debug_hit;
                ret->debug.address = cpu->debug_address;
                cpu->debug_hit = GH_DEBUG_NONE;
            }
            return;
        }
        if (cpu->run_state == GH_RUN_SHUTDOWN && !cpu->shutdown_told) {
            cpu->shutdown_told = true;
            ret->reason = GH_EXIT_SHUTDOWN;
            return;
        }
        if (cpu->run_state != GH_RUN_RUNNABLE)
            wait_for_attention(cpu);
    }
}

/* ---- Reset ---------------------------------------------------------------------------------------------- */
static void reset_registers(struct soft_cpu *cpu, bool init)
{
    memset(cpu->gpr, 0, sizeof cpu->gpr);
    cpu->gpr[GH_RDX] = 0x00030600;
    cpu->aflags = 0x200;
    cpu->rflags_rest = 2;
    cpu->cr0 = CR0_ET | (init ? cpu->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
    cpu->cr2 = cpu->cr3 = cpu->cr4 = cpu->efer = 0;
    cpu->long_mode = false;
    cpu->cpl = 0;
    for (unsigned i = GH_ES; i <= GH_GS; i++)
        cpu->seg[i] = (struct gh_segment){ .limit = 0xffff, .attr = ATTR_RESET_DATA };
    cpu->seg[GH_CS] = (struct gh_segment){ .base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .attr = ATTR_RESET_CODE };
    cpu->seg[GH_LDTR] = (struct gh_segment){ .limit = 0xffff, .attr = GH_SEG_P | 2 };
    cpu->seg[GH_TR] = (struct gh_segment){ .limit = 0xffff, .attr = GH_SEG_P | 11 };
    cpu->rip = 0xfff0;
    cpu->gdt = cpu->idt = (struct gh_table){ .limit = 0xffff };
    memset(cpu->dr, 0, sizeof cpu->dr);
    cpu->dr6 = 0xffff0ff0;
    cpu->dr7 = 0x400;
}

static void reset_msrs(struct soft_cpu *cpu)
{
    cpu->star = cpu->lstar = cpu->cstar = cpu->sfmask = cpu->kernel_gs_base = cpu->tsc_aux = 0;
    cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
    cpu->pat = 0x0007040600070406ull;
    cpu->misc_enable = 1;
    cpu->mtrr_def_type = 0;
    memset(cpu->mtrr_fixed, 0, sizeof cpu->mtrr_fixed);
    memset(cpu->mtrr_phys, 0, sizeof cpu->mtrr_phys);
    cpu->tsc_adjust = cpu->feature_control = cpu->mcg_status = cpu->spec_ctrl = cpu->clock_page = cpu->async_faults = 0;
    cpu->pkru = cpu->pkrs = 0;
    cpu->tsc_offset = 0;
    cpu->xcr0 = 1;
}

void soft_vcpu_reset(struct soft_cpu *cpu, bool init)
{
    reset_registers(cpu, init);
    soft_fpu_reset(cpu, init);
    if (!init)
        reset_msrs(cpu);
    gh_lapic_reset(&cpu->lapic, init);
    cpu->zero = 0;
    cpu->int_shadow = cpu->shadow_is_ss = cpu->shadow_seen = cpu->nmi_blocked = cpu->shutdown_told = false;
    cpu->pending_db = 0;
    cpu->late_code_bytes = 0;
    cpu->delivering = -1;
    cpu->event_external = cpu->irq_waiting = false;
    atomic_store(&cpu->nmi_pending, 0);
    if (!init) {
        atomic_store(&cpu->init_pending, false);
        atomic_store(&cpu->sipi_pending, false);
    }
    cpu->run_state = cpu->index == 0 ? GH_RUN_RUNNABLE : GH_RUN_WAIT_SIPI;
    soft_timer_arm(cpu, UINT64_MAX);
    soft_tlb_switch(cpu, 0, false);
    soft_tlb_flush(cpu, true);
    soft_update_mode(cpu);
}
