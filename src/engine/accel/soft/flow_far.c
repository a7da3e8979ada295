/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Far JMP, CALL and RET in every mode: direct, through call gates, to tasks. */
#include "engine/accel/soft/far.h"

static uint64_t width_mask(unsigned opsize) { return opsize == 2 ? 0xffff : opsize == 4 ? 0xffffffffu : ~0ull; }

static void check_real_target(struct soft_cpu *cpu, uint64_t offset)
{
    if (offset > (soft_v86(cpu) ? 0xffffu : cpu->seg[GH_CS].limit))
        soft_gp(cpu, 0);
}

static void real_jump(struct soft_cpu *cpu, uint16_t selector, uint64_t offset)
{
    check_real_target(cpu, offset);
    soft_load_real(cpu, GH_CS, selector);
    cpu->rip = offset;
    soft_update_mode(cpu);
}

/* A gate or TSS: rights of the descriptor itself. */
static void check_gate(struct soft_cpu *cpu, uint16_t selector, const struct soft_desc *d)
{
    if (DESC_DPL(d->hi) < cpu->cpl || DESC_DPL(d->hi) < SEL_RPL(selector))
        soft_gp(cpu, SEL_ERR(selector));
    if (!(d->hi & DESC_P))
        soft_raise_error(cpu, SOFT_NP, SEL_ERR(selector));
}

struct call_gate { uint16_t selector; uint64_t offset; unsigned width, params; struct soft_desc code; };

static void read_call_gate(struct soft_cpu *cpu, uint16_t selector, const struct soft_desc *d, struct call_gate *g)
{
    bool is16 = DESC_TYPE(d->hi) == SYS_CALL16;

    *g = (struct call_gate){ .selector = (uint16_t)(d->lo >> 16), .offset = (d->lo & 0xffff) | (d->hi & 0xffff0000u),
                             .width = is16 ? 2 : 4, .params = d->hi & 31 };
    if (is16)
        g->offset &= 0xffff;
    if (cpu->long_mode) {     /* 16-byte descriptor; its second type field must be 0 */
        uint64_t limit = selector & 4 ? cpu->seg[GH_LDTR].limit : cpu->gdt.limit;
        if ((selector & ~7u) + 15 > limit)
            soft_gp(cpu, SEL_ERR(selector));
        uint64_t high = soft_sys_ld(cpu, d->linear + 8, 8);
        if (high >> 40 & 0x1f)
            soft_gp(cpu, SEL_ERR(selector));
        g->offset |= high << 32;
        g->width = 8;
        g->params = 0;
    }
    if (SEL_NULL(g->selector))
        soft_gp(cpu, 0);
    soft_desc_need(cpu, g->selector, SOFT_GP, &g->code);
    if (!DESC_IS_CODE(g->code.hi) || DESC_DPL(g->code.hi) > cpu->cpl)
        soft_gp(cpu, SEL_ERR(g->selector));
    if (cpu->long_mode && (!(g->code.hi & DESC_L) || (g->code.hi & DESC_DB)))
        soft_gp(cpu, SEL_ERR(g->selector));
}

static void need_present(struct soft_cpu *cpu, const struct call_gate *g)
{
    if (!(g->code.hi & DESC_P))
        soft_raise_error(cpu, SOFT_NP, SEL_ERR(g->selector));
}

static void task_through(struct soft_cpu *cpu, uint16_t selector, struct soft_desc *d,
                         enum soft_task_source source, uint64_t rip_next)
{
    if (cpu->long_mode || ((selector & 4) && DESC_TYPE(d->hi) != SYS_TASK_GATE)) /* a TSS is in the GDT only */
        soft_gp(cpu, SEL_ERR(selector));
    check_gate(cpu, selector, d);
    if (DESC_TYPE(d->hi) == SYS_TASK_GATE) {
        selector = (uint16_t)(d->lo >> 16);
        if ((selector & 4) || !soft_desc_read(cpu, selector, d))
            soft_gp(cpu, SEL_ERR(selector));
        unsigned type = DESC_TYPE(d->hi);
        if ((d->hi & DESC_S) || (type != SYS_TSS && type != SYS_TSS16))
            soft_gp(cpu, SEL_ERR(selector));
        if (!(d->hi & DESC_P))
            soft_raise_error(cpu, SOFT_NP, SEL_ERR(selector));
    }
    soft_task_switch(cpu, selector, d, source, rip_next);
}

void soft_far_jump(struct soft_cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize, uint64_t rip_next)
{
    struct soft_desc d;

    offset &= width_mask(opsize);
    if (!soft_protected(cpu)) {
        real_jump(cpu, selector, offset);
        return;
    }
    if (SEL_NULL(selector))
        soft_gp(cpu, 0);
    soft_desc_need(cpu, selector, SOFT_GP, &d);
    if (DESC_IS_CODE(d.hi)) {
        soft_check_code_direct(cpu, selector, &d);
        struct gh_segment cs = soft_desc_segment(selector, &d);
        soft_check_target(cpu, &cs, offset);
        soft_desc_set_accessed(cpu, &d);
        cs.attr |= 1;
        soft_commit_cs(cpu, &cs, cpu->cpl, offset);
        return;
    }
    if (d.hi & DESC_S)
        soft_gp(cpu, SEL_ERR(selector));
    switch (DESC_TYPE(d.hi)) {
    case SYS_TSS16: case SYS_TSS: case SYS_TASK_GATE:
        task_through(cpu, selector, &d, SOFT_TASK_JMP, rip_next);
        return;
    case SYS_CALL16:
        if (cpu->long_mode)
            break;
        /* fall through */
    case SYS_CALL: {
        struct call_gate g;
        check_gate(cpu, selector, &d);
        read_call_gate(cpu, selector, &d, &g);
        if (!DESC_IS_CONFORMING(g.code.hi) && DESC_DPL(g.code.hi) != cpu->cpl)
            soft_gp(cpu, SEL_ERR(g.selector));
        need_present(cpu, &g);
        struct gh_segment cs = soft_desc_segment(g.selector, &g.code);
        soft_check_target(cpu, &cs, g.offset);
        soft_desc_set_accessed(cpu, &g.code);
        cs.attr |= 1;
        soft_commit_cs(cpu, &cs, cpu->cpl, g.offset);
        return;
    }
    default:
        break;
    }
    soft_gp(cpu, SEL_ERR(selector));
}

static struct gh_segment touched(struct soft_cpu *cpu, uint16_t selector, struct soft_desc *code)
{
    soft_desc_set_accessed(cpu, code);
    return soft_desc_segment(selector, code);
}

static void call_same_level(struct soft_cpu *cpu, uint16_t selector, struct soft_desc *code, uint64_t offset,
                            unsigned width, uint64_t rip_next)
{
    struct gh_segment cs = soft_desc_segment(selector, code);
    struct soft_stack st = soft_stack_now(cpu);

    /* A call from compatibility mode to 64-bit code pushes in the width of the gate, on a flat stack. */
    st.wide |= cpu->long_mode && (cs.attr & GH_SEG_L) && width == 8;
    soft_stack_push(cpu, &st, cpu->seg[GH_CS].selector, width);
    soft_stack_push(cpu, &st, rip_next, width);
    soft_check_target(cpu, &cs, offset);
    cs = touched(cpu, selector, code);
    soft_stack_commit_sp(cpu, &st);
    soft_commit_cs(cpu, &cs, cpu->cpl, offset);
}

static void call_inner_level(struct soft_cpu *cpu, struct call_gate *g, uint64_t rip_next)
{
    struct gh_segment cs = soft_desc_segment(g->selector, &g->code);
    unsigned cpl = DESC_DPL(g->code.hi);
    struct soft_stack in, out = soft_stack_now(cpu);
    uint64_t param[32];

    if (cpu->long_mode)
        soft_tss_stack64(cpu, cpl, 0, 0, &in);
    else
        soft_tss_stack(cpu, cpl, 0, &in);
    for (unsigned i = 0; i < g->params; i++)
        param[i] = soft_stack_pop(cpu, &out, g->width);
    soft_stack_push(cpu, &in, cpu->seg[GH_SS].selector, g->width);
    soft_stack_push(cpu, &in, cpu->gpr[GH_RSP], g->width);
    for (unsigned i = g->params; i-- > 0;)
        soft_stack_push(cpu, &in, param[i], g->width);
    soft_stack_push(cpu, &in, cpu->seg[GH_CS].selector, g->width);
    soft_stack_push(cpu, &in, rip_next, g->width);
    soft_check_target(cpu, &cs, g->offset);
    cs = touched(cpu, g->selector, &g->code);
    cpu->seg[GH_SS] = in.ss;
    soft_stack_commit_sp(cpu, &in);
    soft_commit_cs(cpu, &cs, cpl, g->offset);
}

void soft_far_call(struct soft_cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize, uint64_t rip_next)
{
    struct soft_desc d;

    offset &= width_mask(opsize);
    if (!soft_protected(cpu)) {
        struct soft_stack st = soft_stack_now(cpu);
        check_real_target(cpu, offset);
        soft_stack_push(cpu, &st, cpu->seg[GH_CS].selector, opsize);
        soft_stack_push(cpu, &st, rip_next, opsize);
        real_jump(cpu, selector, offset);
        soft_stack_commit_sp(cpu, &st);
        return;
    }
    if (SEL_NULL(selector))
        soft_gp(cpu, 0);
    soft_desc_need(cpu, selector, SOFT_GP, &d);
    if (DESC_IS_CODE(d.hi)) {
        soft_check_code_direct(cpu, selector, &d);
        call_same_level(cpu, selector, &d, offset, opsize, rip_next);
        return;
    }
    if (d.hi & DESC_S)
        soft_gp(cpu, SEL_ERR(selector));
    switch (DESC_TYPE(d.hi)) {
    case SYS_TSS16: case SYS_TSS: case SYS_TASK_GATE:
        task_through(cpu, selector, &d, SOFT_TASK_CALL, rip_next);
        return;
    case SYS_CALL16:
        if (cpu->long_mode)
            break;
        /* fall through */
    case SYS_CALL: {
        struct call_gate g;
        check_gate(cpu, selector, &d);
        read_call_gate(cpu, selector, &d, &g);
        need_present(cpu, &g);
        if (!DESC_IS_CONFORMING(g.code.hi) && DESC_DPL(g.code.hi) < cpu->cpl)
            call_inner_level(cpu, &g, rip_next);
        else
            call_same_level(cpu, g.selector, &g.code, g.offset, g.width, rip_next);
        return;
    }
    default:
        break;
    }
    soft_gp(cpu, SEL_ERR(selector));
}

/* SS of an outer level, popped from the inner stack. */
static struct gh_segment return_stack_segment(struct soft_cpu *cpu, uint16_t ss, unsigned cpl, bool to_64bit,
                                              struct soft_desc *d)
{
    *d = (struct soft_desc){ .hi = 0x100 }; /* a null selector has nothing to mark as accessed */

    if (SEL_NULL(ss)) {
        if (!to_64bit || cpl == 3 || SEL_RPL(ss) != cpl)
            soft_gp(cpu, 0);
        struct gh_segment null = soft_null_segment(ss);
        null.attr |= (uint16_t)(cpl << 5);
        return null;
    }
    soft_desc_need(cpu, ss, SOFT_GP, d);
    if (SEL_RPL(ss) != cpl || !DESC_IS_DATA(d->hi) || !DESC_IS_WRITABLE(d->hi) || DESC_DPL(d->hi) != cpl)
        soft_gp(cpu, SEL_ERR(ss));
    if (!(d->hi & DESC_P))
        soft_raise_error(cpu, SOFT_SS_, SEL_ERR(ss));
    struct gh_segment s = soft_desc_segment(ss, d);
    s.attr |= 1;
    return s;
}

/* Checks CS of a far return or IRET; fills descriptor and segment. */
static struct gh_segment return_code_segment(struct soft_cpu *cpu, uint16_t selector, struct soft_desc *d)
{
    unsigned rpl = SEL_RPL(selector);

    if (SEL_NULL(selector))
        soft_gp(cpu, 0);
    soft_desc_need(cpu, selector, SOFT_GP, d);
    if (!DESC_IS_CODE(d->hi) || rpl < cpu->cpl ||
        (DESC_IS_CONFORMING(d->hi) ? DESC_DPL(d->hi) > rpl : DESC_DPL(d->hi) != rpl))
        soft_gp(cpu, SEL_ERR(selector));
    if (cpu->long_mode && (d->hi & DESC_L) && (d->hi & DESC_DB))
        soft_gp(cpu, SEL_ERR(selector));
    if (!(d->hi & DESC_P))
        soft_raise_error(cpu, SOFT_NP, SEL_ERR(selector));
    struct gh_segment s = soft_desc_segment(selector, d);
    s.attr |= 1;
    return s;
}

/* Common tail of far return and IRET to protected code. pop_stack: SS:SP follow on the stack. */
static void return_to(struct soft_cpu *cpu, struct soft_stack *st, uint16_t selector, uint64_t offset,
                      unsigned opsize, unsigned extra, bool pop_stack, const uint64_t *flags, uint64_t flag_mask)
{
    struct soft_desc code, stack = { .hi = 0x100 };
    struct gh_segment cs = return_code_segment(cpu, selector, &code);
    unsigned cpl = SEL_RPL(selector), old_cpl = cpu->cpl;
    bool outer = cpl != cpu->cpl, to_64bit = cpu->long_mode && (cs.attr & GH_SEG_L);
    struct soft_stack next = *st;

    soft_stack_skip(&next, extra);
    if (outer || pop_stack) {
        uint64_t sp = soft_stack_pop(cpu, &next, opsize);
        uint16_t ss = (uint16_t)soft_stack_pop(cpu, &next, opsize);
        next = (struct soft_stack){ .ss = return_stack_segment(cpu, ss, cpl, to_64bit, &stack), .sp = sp, .cpl = cpl,
                                    .wide = to_64bit };
        soft_stack_skip(&next, extra);
    }
    soft_check_target(cpu, &cs, offset); /* the architecture looks at the stack segment first */
    soft_desc_set_accessed(cpu, &code);
    soft_desc_set_accessed(cpu, &stack);
    if (outer || pop_stack)
        cpu->seg[GH_SS] = next.ss;
    soft_stack_commit_sp(cpu, &next);
    soft_commit_cs(cpu, &cs, cpl, offset);
    if (flags)
        soft_set_rflags(cpu, *flags, flag_mask);
    if (cpl > old_cpl)
        soft_drop_inner_segments(cpu, cpl);
    soft_update_mode(cpu);
}

void soft_far_return(struct soft_cpu *cpu, unsigned opsize, unsigned extra_bytes)
{
    struct soft_stack st = soft_stack_now(cpu);
    uint64_t offset = soft_stack_pop(cpu, &st, opsize);
    uint16_t selector = (uint16_t)soft_stack_pop(cpu, &st, opsize);

    if (!soft_protected(cpu)) {
        soft_stack_skip(&st, extra_bytes);
        real_jump(cpu, selector, offset);
        soft_stack_commit_sp(cpu, &st);
        return;
    }
    return_to(cpu, &st, selector, offset, opsize, extra_bytes, false, NULL, 0);
}

static void iret_real(struct soft_cpu *cpu, struct soft_stack *st, unsigned opsize)
{
    uint64_t mask = SOFT_ARITH_MASK | FL_TF | FL_IF | FL_DF | FL_NT;

    if (soft_v86(cpu) && soft_iopl(cpu) < 3)
        soft_gp(cpu, 0);
    uint64_t offset = soft_stack_pop(cpu, st, opsize);
    uint16_t selector = (uint16_t)soft_stack_pop(cpu, st, opsize);
    uint64_t flags = soft_stack_pop(cpu, st, opsize);
    if (!soft_v86(cpu))
        mask |= FL_IOPL;
    if (opsize == 4)
        mask |= FL_RF | FL_AC | FL_ID;
    real_jump(cpu, selector, offset);
    soft_stack_commit_sp(cpu, st);
    soft_set_rflags(cpu, flags, mask);
}

static void iret_to_v86(struct soft_cpu *cpu, struct soft_stack *st, uint64_t offset, uint16_t cs, uint64_t flags)
{
    uint32_t sp = (uint32_t)soft_stack_pop(cpu, st, 4);
    uint16_t sel[GH_GS + 1];

    sel[GH_CS] = cs;
    sel[GH_SS] = (uint16_t)soft_stack_pop(cpu, st, 4);
    sel[GH_ES] = (uint16_t)soft_stack_pop(cpu, st, 4);
    sel[GH_DS] = (uint16_t)soft_stack_pop(cpu, st, 4);
    sel[GH_FS] = (uint16_t)soft_stack_pop(cpu, st, 4);
    sel[GH_GS] = (uint16_t)soft_stack_pop(cpu, st, 4);
    for (unsigned i = GH_ES; i <= GH_GS; i++)
        cpu->seg[i].selector = sel[i];
    soft_set_v86_segments(cpu);
    cpu->gpr[GH_RSP] = sp;
    cpu->rip = offset & 0xffff;
    cpu->cpl = 3;
    soft_set_rflags(cpu, flags, SOFT_ARITH_MASK | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC |
                                    FL_VIF | FL_VIP | FL_ID);
    soft_update_mode(cpu);
}

void soft_iret(struct soft_cpu *cpu, unsigned opsize, uint64_t rip_next)
{
    struct soft_stack st = soft_stack_now(cpu);

    bool was_blocked = cpu->nmi_blocked;

    if (!soft_protected(cpu)) {
        iret_real(cpu, &st, opsize);
    } else if ((cpu->rflags_rest & FL_NT) && !cpu->long_mode) {
        uint16_t link = (uint16_t)soft_sys_ld(cpu, (uint32_t)cpu->seg[GH_TR].base, 2);
        struct soft_desc d;
        if ((link & 4) || !soft_desc_read(cpu, link, &d))
            soft_raise_error(cpu, SOFT_TS, SEL_ERR(link));
        unsigned type = DESC_TYPE(d.hi);
        if ((d.hi & DESC_S) || (type != SYS_TSS_BUSY && type != SYS_TSS16_BUSY))
            soft_raise_error(cpu, SOFT_TS, SEL_ERR(link));
        if (!(d.hi & DESC_P))
            soft_raise_error(cpu, SOFT_NP, SEL_ERR(link));
        soft_task_switch(cpu, link, &d, SOFT_TASK_IRET, rip_next);
    } else {
        if (cpu->rflags_rest & FL_NT)
            soft_gp(cpu, 0);
        uint64_t offset = soft_stack_pop(cpu, &st, opsize);
        uint16_t selector = (uint16_t)soft_stack_pop(cpu, &st, opsize);
        uint64_t flags = soft_stack_pop(cpu, &st, opsize);
        if (!cpu->long_mode && opsize == 4 && (flags & FL_VM) && cpu->cpl == 0) {
            iret_to_v86(cpu, &st, offset, selector, flags);
        } else {
            uint64_t mask = SOFT_ARITH_MASK | FL_TF | FL_DF | FL_NT;
            if (opsize > 2)
                mask |= FL_RF | FL_AC | FL_ID;
            if (cpu->cpl <= soft_iopl(cpu))
                mask |= FL_IF;
            if (cpu->cpl == 0)
                mask |= FL_IOPL | (opsize > 2 ? FL_VIF | FL_VIP : 0);
            return_to(cpu, &st, selector, offset, opsize, 0, cpu->code_mode == 64, &flags, mask);
        }
    }
    soft_update_mode(cpu);
    cpu->nmi_blocked = false;
    if (was_blocked && cpu->nmi_pending)
        soft_attention_set(cpu, SOFT_ATTN_IRQ);
}
