/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stacks of far transfers and events: pushed and popped before any register changes. */
#include "engine/accel/soft/far.h"

struct soft_stack soft_stack_now(struct soft_cpu *cpu)
{
    return (struct soft_stack){ .ss = cpu->seg[GH_SS], .sp = cpu->gpr[GH_RSP], .cpl = cpu->cpl,
                                .wide = cpu->code_mode == 64 };
}

static uint64_t sp_mask(const struct soft_stack *st)
{
    return st->wide ? ~0ull : st->ss.attr & GH_SEG_DB ? 0xffffffffu : 0xffffu;
}

static uint64_t stack_linear(struct soft_cpu *cpu, const struct soft_stack *st, uint64_t offset, unsigned bytes)
{
    const struct gh_segment *s = &st->ss;
    uint64_t last = offset + bytes - 1;
    bool ok;

    if (st->wide) {
        if (!soft_canonical(offset) || !soft_canonical(last))
            soft_raise_error(cpu, SOFT_SS_, st->error | soft_ext(cpu));
        return offset;
    }
    if ((s->attr & 0xc) == 0x4)   /* expand-down data */
        ok = offset > s->limit && last <= (s->attr & GH_SEG_DB ? 0xffffffffu : 0xffffu);
    else
        ok = last <= s->limit || s->limit == 0xffffffffu;
    if (!ok)
        soft_raise_error(cpu, SOFT_SS_, st->error | soft_ext(cpu));
    return (uint32_t)(s->base + offset);
}

void soft_stack_push(struct soft_cpu *cpu, struct soft_stack *st, uint64_t value, unsigned bytes)
{
    uint64_t mask = sp_mask(st), sp = (st->sp - bytes) & mask;

    soft_st_cpl(cpu, stack_linear(cpu, st, sp, bytes), value, bytes, st->cpl);
    st->sp = (st->sp & ~mask) | sp;
}

uint64_t soft_stack_pop(struct soft_cpu *cpu, struct soft_stack *st, unsigned bytes)
{
    uint64_t mask = sp_mask(st);
    uint64_t v = soft_ld_cpl(cpu, stack_linear(cpu, st, st->sp & mask, bytes), bytes, st->cpl);

    soft_stack_skip(st, bytes);
    return v;
}

void soft_stack_skip(struct soft_stack *st, unsigned bytes)
{
    uint64_t mask = sp_mask(st);

    st->sp = (st->sp & ~mask) | ((st->sp + bytes) & mask);
}

void soft_stack_commit_sp(struct soft_cpu *cpu, const struct soft_stack *st)
{
    uint64_t mask = sp_mask(st);

    if (mask == 0xffff)
        cpu->gpr[GH_RSP] = (cpu->gpr[GH_RSP] & ~mask) | (st->sp & mask);
    else
        cpu->gpr[GH_RSP] = st->sp & mask;
}

void soft_tss_stack(struct soft_cpu *cpu, unsigned cpl, uint32_t ext, struct soft_stack *ret)
{
    const struct gh_segment *tr = &cpu->seg[GH_TR];
    bool is32 = (tr->attr & 0xf) == SYS_TSS_BUSY || (tr->attr & 0xf) == SYS_TSS;
    uint32_t at = is32 ? cpl * 8 + 4 : cpl * 4 + 2;
    unsigned width = is32 ? 4 : 2;
    struct soft_desc d;

    if (at + width + 1 > tr->limit)
        soft_raise_error(cpu, SOFT_TS, SEL_ERR(tr->selector) | ext);
    uint64_t sp = soft_sys_ld(cpu, (uint32_t)(tr->base + at), width);
    uint16_t ss = (uint16_t)soft_sys_ld(cpu, (uint32_t)(tr->base + at + width), 2);

    if (SEL_NULL(ss))
        soft_raise_error(cpu, SOFT_TS, ext);
    if (!soft_desc_read(cpu, ss, &d))
        soft_raise_error(cpu, SOFT_TS, SEL_ERR(ss) | ext);
    if (SEL_RPL(ss) != cpl || DESC_DPL(d.hi) != cpl || !DESC_IS_DATA(d.hi) || !DESC_IS_WRITABLE(d.hi))
        soft_raise_error(cpu, SOFT_TS, SEL_ERR(ss) | ext);
    if (!(d.hi & DESC_P))
        soft_raise_error(cpu, SOFT_SS_, SEL_ERR(ss) | ext);
    soft_desc_set_accessed(cpu, &d);
    *ret = (struct soft_stack){ .ss = soft_desc_segment(ss, &d), .sp = sp, .cpl = cpl, .error = SEL_ERR(ss) };
}

void soft_tss_stack64(struct soft_cpu *cpu, unsigned cpl, unsigned ist, uint32_t ext, struct soft_stack *ret)
{
    const struct gh_segment *tr = &cpu->seg[GH_TR];
    uint32_t at = ist ? 0x24 + (ist - 1) * 8 : 4 + cpl * 8;

    if (at + 7 > tr->limit)
        soft_raise_error(cpu, SOFT_TS, SEL_ERR(tr->selector) | ext);
    uint64_t sp = soft_sys_ld(cpu, tr->base + at, 8);
    if (!soft_canonical(sp))
        soft_raise_error(cpu, SOFT_SS_, ext);
    *ret = (struct soft_stack){ .sp = sp, .cpl = cpl, .wide = true };
    if (cpl == cpu->cpl) {
        ret->ss = cpu->seg[GH_SS];
    } else {
        ret->ss = soft_null_segment((uint16_t)cpl);
        ret->ss.attr |= (uint16_t)(cpl << 5);
    }
}
