/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Delivery of exceptions and interrupts: real-mode vectors, 16/32-bit gates, task gates, 64-bit IDT.
 * Intel SDM volume 3, chapter "Interrupt and Exception Handling".
 *
 * soft_raise* notes the exception and jumps to the run loop, which calls soft_deliver_fault. A fault
 * inside a delivery combines by the double-fault table; the third ends in GH_RUN_SHUTDOWN.
 */
#include "base/log.h"
#include "engine/accel/soft/far.h"

#define NOT_A_FAULT 256            /* cpu->delivering for interrupts and INT n: benign in the table */

struct event {
    unsigned vector;
    bool     soft;                 /* INT n, INT3, INTO: gate DPL is checked */
    bool     has_error;
    uint32_t error;
    uint64_t rip;                  /* what is pushed */
    uint32_t flags;
};

static bool contributory(int v) { return v == SOFT_DE || (v >= SOFT_TS && v <= SOFT_GP); }

_Noreturn static void note(struct soft_cpu *cpu, unsigned vector, bool has_error, uint32_t error)
{
    int first = cpu->delivering;

    if (first == SOFT_DF) {
        cpu->run_state = GH_RUN_SHUTDOWN;
        atomic_fetch_or(&cpu->attention, SOFT_ATTN_IRQ);
        SOFT_COUNT(cpu->vm, triple_fault);
    } else if ((contributory(first) && contributory((int)vector)) ||
               (first == SOFT_PF_ && (contributory((int)vector) || vector == SOFT_PF_))) {
        vector = SOFT_DF;
        has_error = true;
        error = 0;
    }
    cpu->fault.vector = (uint8_t)vector;
    cpu->fault.has_error = has_error;
    cpu->fault.error = error;
    longjmp(cpu->fault_jump, 1);
}

_Noreturn void soft_raise(struct soft_cpu *cpu, enum soft_vector v) { note(cpu, v, false, 0); }

_Noreturn void soft_raise_error(struct soft_cpu *cpu, enum soft_vector v, uint32_t error)
{
    note(cpu, v, true, error);
}

_Noreturn void soft_raise_page_fault(struct soft_cpu *cpu, uint64_t linear, uint32_t error)
{
    cpu->cr2 = linear;
    note(cpu, SOFT_PF_, true, error);
}

/* ---- Real mode ------------------------------------------------------------------------------ */
static void deliver_real(struct soft_cpu *cpu, const struct event *e)
{
    if (e->vector * 4 + 3 > cpu->idt.limit)
        soft_gp(cpu, e->vector * 8 + 2);
    uint32_t entry = (uint32_t)soft_sys_ld(cpu, cpu->idt.base + e->vector * 4, 4);
    struct soft_stack st = soft_stack_now(cpu);

    soft_stack_push(cpu, &st, e->flags & 0xffff, 2);
    soft_stack_push(cpu, &st, cpu->seg[GH_CS].selector, 2);
    soft_stack_push(cpu, &st, e->rip, 2);
    soft_stack_commit_sp(cpu, &st);
    soft_load_real(cpu, GH_CS, (uint16_t)(entry >> 16));
    cpu->rip = entry & 0xffff;
    soft_set_rflags(cpu, 0, FL_IF | FL_TF | FL_AC | FL_RF);
}

/* ---- Gates ------------------------------------------------------------------------------------ */
struct gate { uint16_t selector; uint64_t offset; unsigned type, ist; struct soft_desc code; };

static void read_gate(struct soft_cpu *cpu, const struct event *e, struct gate *g)
{
    unsigned step = cpu->long_mode ? 16 : 8;
    uint32_t error = e->vector * 8 + 2;
    uint32_t ext = soft_ext(cpu);

    if (e->vector * step + step - 1 > cpu->idt.limit)
        soft_gp(cpu, error | ext);
    uint64_t at = cpu->idt.base + e->vector * step;
    if (!cpu->long_mode)
        at = (uint32_t)at;
    uint64_t lo = soft_sys_ld(cpu, at, 8);
    uint32_t hi = (uint32_t)(lo >> 32);
    *g = (struct gate){ .selector = (uint16_t)(lo >> 16), .type = DESC_TYPE(hi),
                        .offset = (lo & 0xffff) | (hi & 0xffff0000u) };
    bool ok = !(hi & DESC_S) && (g->type == SYS_INT || g->type == SYS_TRAP ||
              (!cpu->long_mode && (g->type == SYS_INT16 || g->type == SYS_TRAP16 || g->type == SYS_TASK_GATE)));
    if (!ok)
        soft_gp(cpu, error | ext);
    if (e->soft && DESC_DPL(hi) < cpu->cpl)
        soft_gp(cpu, error);
    if (!(hi & DESC_P))
        soft_raise_error(cpu, SOFT_NP, error | ext);
    if (cpu->long_mode) {
        g->offset |= soft_sys_ld(cpu, at + 8, 4) << 32;
        g->ist = hi & 7;
    } else if (!(g->type & 8)) {
        g->offset &= 0xffff;
    }
}

static void read_target(struct soft_cpu *cpu, struct gate *g)
{
    uint32_t ext = soft_ext(cpu);

    if (SEL_NULL(g->selector))
        soft_gp(cpu, ext);
    soft_desc_need(cpu, g->selector, SOFT_GP, &g->code);
    if (!DESC_IS_CODE(g->code.hi) || DESC_DPL(g->code.hi) > cpu->cpl ||
        (cpu->long_mode && (!(g->code.hi & DESC_L) || (g->code.hi & DESC_DB))))
        soft_gp(cpu, SEL_ERR(g->selector) | ext);
    if (!(g->code.hi & DESC_P))
        soft_raise_error(cpu, SOFT_NP, SEL_ERR(g->selector) | ext);
}

static void deliver_task(struct soft_cpu *cpu, const struct event *e, const struct gate *g)
{
    struct soft_desc d;
    uint32_t ext = soft_ext(cpu);

    if ((g->selector & 4) || !soft_desc_read(cpu, g->selector, &d))
        soft_gp(cpu, SEL_ERR(g->selector) | ext);
    if ((d.hi & DESC_S) || (DESC_TYPE(d.hi) != SYS_TSS && DESC_TYPE(d.hi) != SYS_TSS16))
        soft_gp(cpu, SEL_ERR(g->selector) | ext);
    if (!(d.hi & DESC_P))
        soft_raise_error(cpu, SOFT_NP, SEL_ERR(g->selector) | ext);
    cpu->rflags_rest |= e->flags & FL_RF; /* as the frame of a fault through another gate has it */
    soft_task_switch(cpu, g->selector, &d, SOFT_TASK_GATE, e->rip);
    if (e->has_error) {
        struct soft_stack st = soft_stack_now(cpu);
        soft_stack_push(cpu, &st, e->error, cpu->seg[GH_TR].attr & 8 ? 4 : 2);
        soft_stack_commit_sp(cpu, &st);
    }
}

static void clear_entry_flags(struct soft_cpu *cpu, unsigned gate_type)
{
    uint64_t mask = FL_TF | FL_NT | FL_RF | FL_VM;

    if (gate_type == SYS_INT || gate_type == SYS_INT16)
        mask |= FL_IF;
    soft_set_rflags(cpu, 0, mask);
}

static void push_frame(struct soft_cpu *cpu, struct soft_stack *st, const struct event *e, unsigned width)
{
    soft_stack_push(cpu, st, e->flags, width);
    soft_stack_push(cpu, st, cpu->seg[GH_CS].selector, width);
    soft_stack_push(cpu, st, e->rip, width);
    if (e->has_error)
        soft_stack_push(cpu, st, e->error, width);
}

static void deliver_protected(struct soft_cpu *cpu, const struct event *e)
{
    struct gate g;
    struct soft_stack st;
    bool from_v86 = soft_v86(cpu);

    read_gate(cpu, e, &g);
    if (g.type == SYS_TASK_GATE) {
        deliver_task(cpu, e, &g);
        return;
    }
    read_target(cpu, &g);
    unsigned cpl = DESC_IS_CONFORMING(g.code.hi) ? cpu->cpl : DESC_DPL(g.code.hi), width = g.type & 8 ? 4 : 2;
    if (from_v86 && cpl != 0)
        soft_gp(cpu, SEL_ERR(g.selector) | soft_ext(cpu));
    struct gh_segment cs = soft_desc_segment(g.selector, &g.code);
    if (cpl != cpu->cpl) {
        soft_tss_stack(cpu, cpl, soft_ext(cpu), &st);
        if (from_v86) {
            soft_stack_push(cpu, &st, cpu->seg[GH_GS].selector, width);
            soft_stack_push(cpu, &st, cpu->seg[GH_FS].selector, width);
            soft_stack_push(cpu, &st, cpu->seg[GH_DS].selector, width);
            soft_stack_push(cpu, &st, cpu->seg[GH_ES].selector, width);
        }
        soft_stack_push(cpu, &st, cpu->seg[GH_SS].selector, width);
        soft_stack_push(cpu, &st, cpu->gpr[GH_RSP], width);
    } else {
        st = soft_stack_now(cpu);
    }
    push_frame(cpu, &st, e, width);
    soft_check_target(cpu, &cs, g.offset);
    soft_desc_set_accessed(cpu, &g.code);
    cs.attr |= 1;
    if (from_v86)
        for (unsigned i = GH_ES; i <= GH_GS; i++)
            cpu->seg[i] = soft_null_segment(0);
    cpu->seg[GH_SS] = st.ss;
    clear_entry_flags(cpu, g.type);
    soft_stack_commit_sp(cpu, &st);
    soft_commit_cs(cpu, &cs, cpl, g.offset);
}

static void deliver_long(struct soft_cpu *cpu, const struct event *e)
{
    struct gate g;
    struct soft_stack st;

    read_gate(cpu, e, &g);
    read_target(cpu, &g);
    unsigned cpl = DESC_IS_CONFORMING(g.code.hi) ? cpu->cpl : DESC_DPL(g.code.hi);
    struct gh_segment cs = soft_desc_segment(g.selector, &g.code);
    if (cpl != cpu->cpl || g.ist)
        soft_tss_stack64(cpu, cpl, g.ist, soft_ext(cpu), &st);
    else
        st = (struct soft_stack){ .ss = cpu->seg[GH_SS], .sp = cpu->gpr[GH_RSP], .cpl = cpl, .wide = true };
    st.sp &= ~15ull;
    soft_stack_push(cpu, &st, cpu->seg[GH_SS].selector, 8);
    soft_stack_push(cpu, &st, cpu->gpr[GH_RSP], 8);
    push_frame(cpu, &st, e, 8);
    soft_check_target(cpu, &cs, g.offset);
    soft_desc_set_accessed(cpu, &g.code);
    cs.attr |= 1;
    cpu->seg[GH_SS] = st.ss;
    clear_entry_flags(cpu, g.type);
    soft_stack_commit_sp(cpu, &st);
    soft_commit_cs(cpu, &cs, cpl, g.offset);
}

static void deliver(struct soft_cpu *cpu, const struct event *e, int table_vector, bool external)
{
    cpu->delivering = table_vector;
    cpu->event_external = external;
    if (!(cpu->cr0 & CR0_PE))
        deliver_real(cpu, e);
    else if (cpu->long_mode)
        deliver_long(cpu, e);
    else
        deliver_protected(cpu, e);
    cpu->delivering = -1;
    cpu->event_external = false;
    cpu->int_shadow = cpu->shadow_is_ss = false;
    if (cpu->run_state == GH_RUN_HALTED)
        cpu->run_state = GH_RUN_RUNNABLE;
    soft_update_mode(cpu);
}

void soft_deliver_fault(struct soft_cpu *cpu)
{
    struct event e = { .vector = cpu->fault.vector, .has_error = cpu->fault.has_error, .error = cpu->fault.error,
                       .rip = cpu->rip, .flags = (uint32_t)soft_get_rflags(cpu) };

    if (cpu->run_state == GH_RUN_SHUTDOWN)
        return;
    SOFT_COUNT(cpu->vm, exception);
    cpu->exception_count[e.vector & 31]++;
    gh_trace(soft_exception, "cpu%u vector %u error %#x cs %#x rip %#llx cr2 %#llx", cpu->index, e.vector,
             e.error, cpu->seg[GH_CS].selector, (unsigned long long)cpu->rip, (unsigned long long)cpu->cr2);
    if (e.vector == SOFT_DB)
        cpu->dr7 &= ~(1ull << 13);    /* GD */
    else
        e.flags |= FL_RF;             /* a fault restarts past its instruction breakpoint */
    deliver(cpu, &e, e.vector, true);
}

void soft_deliver_event(struct soft_cpu *cpu, unsigned vector)
{
    struct event e = { .vector = vector, .rip = cpu->rip, .flags = (uint32_t)soft_get_rflags(cpu) };

    SOFT_COUNT(cpu->vm, irq);
    deliver(cpu, &e, NOT_A_FAULT, true);
}

void soft_deliver_trap(struct soft_cpu *cpu, uint8_t vector)
{
    struct event e = { .vector = vector, .rip = cpu->rip, .flags = (uint32_t)soft_get_rflags(cpu) };

    SOFT_COUNT(cpu->vm, exception);
    cpu->exception_count[vector & 31]++;
    if (vector == SOFT_DB)
        cpu->dr7 &= ~(1ull << 13);
    deliver(cpu, &e, vector, true);
}

void soft_interrupt(struct soft_cpu *cpu, uint8_t vector, bool is_int_n, uint64_t rip_next)
{
    struct event e = { .vector = vector, .soft = true, .rip = rip_next, .flags = (uint32_t)soft_get_rflags(cpu) };

    if (is_int_n && soft_v86(cpu) && soft_iopl(cpu) < 3)
        soft_gp(cpu, 0);
    deliver(cpu, &e, NOT_A_FAULT, false);
    cpu->step_taken = true;
}

void soft_icebp(struct soft_cpu *cpu, uint64_t rip_next)
{
    struct event e = { .vector = SOFT_DB, .rip = rip_next, .flags = (uint32_t)soft_get_rflags(cpu) };

    /* What MOV SS held back is part of this exception; a single step is not reported again. */
    cpu->dr6 = (cpu->dr6 & ~0xfull) | (cpu->pending_db & 0xf);
    cpu->pending_db = 0;
    cpu->dr7 &= ~(1ull << 13);
    deliver(cpu, &e, NOT_A_FAULT, true);
    cpu->step_taken = true;
}
