/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Hardware task switches with 16- and 32-bit task state segments. Intel SDM volume 3, chapter
 * "Task Management": everything that can be checked in the old task is checked first; faults after
 * the registers were loaded belong to the new task.
 */
#include "engine/accel/soft/far.h"

/* Offsets in a TSS: 32-bit, 16-bit. */
struct tss_layout { unsigned width, min_limit, ip, flags, gpr, seg, seg_step, nseg, ldt, cr3; };
static const struct tss_layout layout32 = { 4, 0x67, 0x20, 0x24, 0x28, 0x48, 4, 6, 0x60, 0x1c };
static const struct tss_layout layout16 = { 2, 0x2b, 0x0e, 0x10, 0x12, 0x22, 2, 4, 0x2a, 0 };

struct task_image { uint32_t ip, flags, gpr[8], cr3; uint16_t seg[6], ldt; };

static const struct tss_layout *layout_of(unsigned type)
{
    return type & 8 ? &layout32 : &layout16;
}

static void save_old(struct soft_cpu *cpu, uint64_t base, const struct tss_layout *l, uint64_t ip, uint32_t flags)
{
    soft_sys_st(cpu, (uint32_t)(base + l->ip), ip, l->width);
    soft_sys_st(cpu, (uint32_t)(base + l->flags), flags, l->width);
    for (unsigned i = 0; i < 8; i++)
        soft_sys_st(cpu, (uint32_t)(base + l->gpr + i * l->width), cpu->gpr[i], l->width);
    for (unsigned i = 0; i < l->nseg; i++)
        soft_sys_st(cpu, (uint32_t)(base + l->seg + i * l->seg_step), cpu->seg[i].selector, 2);
}

static void load_new(struct soft_cpu *cpu, uint64_t base, const struct tss_layout *l, struct task_image *t)
{
    *t = (struct task_image){ 0 };
    if (l->cr3)
        t->cr3 = (uint32_t)soft_sys_ld(cpu, (uint32_t)(base + l->cr3), 4);
    t->ip = (uint32_t)soft_sys_ld(cpu, (uint32_t)(base + l->ip), l->width);
    t->flags = (uint32_t)soft_sys_ld(cpu, (uint32_t)(base + l->flags), l->width);
    for (unsigned i = 0; i < 8; i++) {
        t->gpr[i] = (uint32_t)soft_sys_ld(cpu, (uint32_t)(base + l->gpr + i * l->width), l->width);
        if (l->width == 2)
            t->gpr[i] |= 0xffff0000u;
    }
    for (unsigned i = 0; i < l->nseg; i++)
        t->seg[i] = (uint16_t)soft_sys_ld(cpu, (uint32_t)(base + l->seg + i * l->seg_step), 2);
    t->ldt = (uint16_t)soft_sys_ld(cpu, (uint32_t)(base + l->ldt), 2);
}

static void set_busy(struct soft_cpu *cpu, uint64_t linear, bool busy)
{
    uint64_t type = soft_sys_ld(cpu, linear + 5, 1);

    soft_sys_st(cpu, linear + 5, busy ? type | 2 : type & ~2ull, 1);
}

/* The new task's LDT; #TS in the new task. */
static void load_ldt(struct soft_cpu *cpu, uint16_t selector)
{
    struct soft_desc d;

    cpu->seg[GH_LDTR] = soft_null_segment(selector);
    if (SEL_NULL(selector))
        return;
    if ((selector & 4) || !soft_desc_read(cpu, selector, &d) || (d.hi & DESC_S) || DESC_TYPE(d.hi) != SYS_LDT ||
        !(d.hi & DESC_P))
        soft_raise_error(cpu, SOFT_TS, SEL_ERR(selector) | soft_ext(cpu));
    cpu->seg[GH_LDTR] = soft_desc_segment(selector, &d);
}

static void load_task_segment(struct soft_cpu *cpu, unsigned seg, uint16_t selector, unsigned cpl)
{
    struct soft_desc d;
    uint32_t error = SEL_ERR(selector) | soft_ext(cpu);
    unsigned rpl = SEL_RPL(selector);
    bool ok;

    if (SEL_NULL(selector)) {
        if (seg == GH_CS || seg == GH_SS)
            soft_raise_error(cpu, SOFT_TS, error);
        return;
    }
    if (!soft_desc_read(cpu, selector, &d))
        soft_raise_error(cpu, SOFT_TS, error);
    unsigned dpl = DESC_DPL(d.hi);
    if (seg == GH_CS)
        ok = DESC_IS_CODE(d.hi) && (DESC_IS_CONFORMING(d.hi) ? dpl <= rpl : dpl == rpl);
    else if (seg == GH_SS) /* whether it is present comes before its level */
        ok = DESC_IS_DATA(d.hi) && DESC_IS_WRITABLE(d.hi) && (!(d.hi & DESC_P) || (dpl == cpl && rpl == cpl));
    else if (DESC_IS_CODE(d.hi))
        ok = DESC_IS_WRITABLE(d.hi) && (DESC_IS_CONFORMING(d.hi) || (dpl >= rpl && dpl >= cpl));
    else
        ok = DESC_IS_DATA(d.hi) && dpl >= rpl && dpl >= cpl;
    if (!ok)
        soft_raise_error(cpu, SOFT_TS, error);
    if (!(d.hi & DESC_P))
        soft_raise_error(cpu, seg == GH_SS ? SOFT_SS_ : SOFT_NP, error);
    soft_desc_set_accessed(cpu, &d);
    cpu->seg[seg] = soft_desc_segment(selector, &d);
}

static void enter_task(struct soft_cpu *cpu, const struct task_image *t, const struct tss_layout *l)
{
    static const uint8_t order[] = { GH_CS, GH_ES, GH_DS, GH_FS, GH_GS };

    for (unsigned i = 0; i < 8; i++)
        cpu->gpr[i] = t->gpr[i];
    cpu->rip = t->ip;
    for (unsigned i = GH_ES; i <= GH_GS; i++)
        cpu->seg[i] = soft_null_segment(i < l->nseg ? t->seg[i] : 0);
    soft_set_rflags(cpu, t->flags, ~0ull);
    if (t->flags & FL_VM) {
        cpu->cpl = 3;
        soft_set_v86_segments(cpu);
        load_ldt(cpu, t->ldt);
    } else {
        /* Without a stack segment a fault needs the stack of an inner level: as if it came from level 3. */
        unsigned cpl = SEL_RPL(t->seg[GH_CS]);
        cpu->cpl = 3;
        load_ldt(cpu, t->ldt);
        load_task_segment(cpu, GH_SS, t->seg[GH_SS], cpl);
        cpu->cpl = (uint8_t)cpl;
        for (unsigned i = 0; i < sizeof order; i++)
            if (order[i] < l->nseg)
                load_task_segment(cpu, order[i], t->seg[order[i]], cpl);
    }
    soft_update_mode(cpu);
    soft_check_target(cpu, &cpu->seg[GH_CS], t->ip);
}

void soft_task_switch(struct soft_cpu *cpu, uint16_t selector, struct soft_desc *d, enum soft_task_source source,
                      uint64_t rip_next)
{
    struct gh_segment next = soft_desc_segment(selector, d);
    const struct tss_layout *nl = layout_of(DESC_TYPE(d->hi));
    struct gh_segment *tr = &cpu->seg[GH_TR];
    const struct tss_layout *ol = layout_of(tr->attr & 0xf);
    struct task_image image;

    if (next.limit < nl->min_limit)
        soft_raise_error(cpu, SOFT_TS, SEL_ERR(selector) | soft_ext(cpu));
    /* Both TSSs are touched for writing and reading first: page faults belong to the old task. */
    soft_sys_check_write(cpu, (uint32_t)tr->base, ol->min_limit + 1);
    soft_sys_check_write(cpu, (uint32_t)next.base, 2);
    load_new(cpu, next.base, nl, &image);
    uint64_t old_desc = cpu->gdt.base + (tr->selector & ~7u);
    uint32_t flags = (uint32_t)soft_get_rflags(cpu);
    if (source == SOFT_TASK_IRET)
        flags &= ~FL_NT;
    save_old(cpu, tr->base, ol, rip_next, flags);
    if (source == SOFT_TASK_JMP || source == SOFT_TASK_IRET)
        set_busy(cpu, (uint32_t)old_desc, false);
    if (source == SOFT_TASK_CALL || source == SOFT_TASK_GATE) {
        soft_sys_st(cpu, (uint32_t)next.base, tr->selector, 2);
        image.flags |= FL_NT;
    }
    if (source != SOFT_TASK_IRET)
        set_busy(cpu, d->linear, true);
    next.attr |= 2;
    *tr = next;
    cpu->cr0 |= CR0_TS;
    if (nl->cr3 && (cpu->cr0 & CR0_PG)) {
        cpu->cr3 = image.cr3;
        soft_load_pdptes_quiet(cpu);
        soft_tlb_flush(cpu, false);
    }
    cpu->dr7 &= ~0x155ull;            /* local breakpoints */
    if (nl->width == 4 && (soft_sys_ld(cpu, (uint32_t)(next.base + 0x64), 1) & 1))
        cpu->pending_db |= 1u << 15 | SOFT_DB_TRAP;
    if (cpu->pending_db)
        soft_attention_set(cpu, SOFT_ATTN_IRQ);
    enter_task(cpu, &image, nl);
}
