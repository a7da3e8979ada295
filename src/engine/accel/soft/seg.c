/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Segments: linear addresses, descriptor reads, segment register loads in every mode. */
#include "engine/accel/soft/far.h"
#include "engine/accel/soft/operand.h"

#define SEG_CODE   (1u << 3)
#define SEG_DOWN   (1u << 2)   /* expand-down data; conforming code */
#define SEG_RW     (1u << 1)   /* writable data; readable code */
#define ATTR_REAL  0x93        /* present, data, read/write, accessed */
#define ATTR_V86   0xf3        /* the same, DPL 3 */

static _Noreturn void bad_address(struct soft_cpu *cpu, unsigned seg)
{
    soft_raise_error(cpu, seg == GH_SS ? SOFT_SS_ : SOFT_GP, 0);
}

static bool inside_limit(const struct gh_segment *s, uint64_t offset, unsigned bytes, bool data)
{
    uint64_t last = offset + bytes - 1;

    if (data && (s->attr & SEG_DOWN)) {
        uint64_t top = s->attr & GH_SEG_DB ? 0xffffffffu : 0xffffu;
        return offset > s->limit && last <= top;
    }
    return last <= s->limit || s->limit == 0xffffffffu;   /* 4 GiB segments wrap */
}

uint64_t soft_linear(struct soft_cpu *cpu, unsigned seg, uint64_t offset, unsigned bytes, bool write)
{
    const struct gh_segment *s = &cpu->seg[seg];

    if (cpu->code_mode == 64) {
        uint64_t linear = offset + (seg >= GH_FS ? s->base : 0);
        if (soft_unlikely(!soft_canonical(linear) || !soft_canonical(linear + bytes - 1)))
            bad_address(cpu, seg);
        return linear;
    }
    bool data = true;
    if (soft_protected(cpu)) {
        if (s->attr & GH_SEG_UNUSABLE)
            bad_address(cpu, seg);
        data = !(s->attr & SEG_CODE);
        if (write ? !data || !(s->attr & SEG_RW) : !data && !(s->attr & SEG_RW))
            bad_address(cpu, seg);
    }
    if (soft_unlikely(!inside_limit(s, offset, bytes, data)))
        bad_address(cpu, seg);
    return (uint32_t)(s->base + offset);
}

uint64_t soft_offset(struct soft_cpu *cpu, const struct soft_insn *in)
{
    uint64_t v = soft_any_reg(cpu, in->base) + (soft_any_reg(cpu, in->index) << in->scale) + (uint64_t)(int64_t)in->disp;

    if (in->base == SOFT_RIP_REG)
        v += in->len;
    return in->addrsize == 8 ? v : in->addrsize == 4 ? (uint32_t)v : (uint16_t)v;
}

uint64_t soft_ea(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes, bool write)
{
    return soft_linear(cpu, in->seg, soft_offset(cpu, in), bytes, write);
}

bool soft_desc_read(struct soft_cpu *cpu, uint16_t selector, struct soft_desc *ret)
{
    uint64_t base = cpu->gdt.base, limit = cpu->gdt.limit;

    if (SEL_NULL(selector))
        return false;
    if (selector & 4) {
        if ((cpu->seg[GH_LDTR].attr & GH_SEG_UNUSABLE) || !(cpu->seg[GH_LDTR].attr & GH_SEG_P))
            return false;
        base = cpu->seg[GH_LDTR].base;
        limit = cpu->seg[GH_LDTR].limit;
    }
    if ((selector | 7u) > limit)
        return false;
    ret->linear = base + (selector & ~7u);
    if (!cpu->long_mode)
        ret->linear = (uint32_t)ret->linear;
    uint64_t d = soft_sys_ld(cpu, ret->linear, 8);
    ret->lo = (uint32_t)d;
    ret->hi = (uint32_t)(d >> 32);
    return true;
}

void soft_desc_need(struct soft_cpu *cpu, uint16_t selector, enum soft_vector vector, struct soft_desc *ret)
{
    if (!soft_desc_read(cpu, selector, ret))
        soft_raise_error(cpu, vector, SEL_ERR(selector) | soft_ext(cpu));
}

void soft_desc_set_accessed(struct soft_cpu *cpu, struct soft_desc *d)
{
    if (!(d->hi & 0x100)) {
        d->hi |= 0x100;
        soft_sys_st(cpu, d->linear + 5, d->hi >> 8 & 0xff, 1);
    }
}

struct gh_segment soft_desc_segment(uint16_t selector, const struct soft_desc *d)
{
    struct gh_segment s = { .selector = selector, .attr = (uint16_t)(d->hi >> 8 & 0xf0ff) };

    s.base = (d->lo >> 16) | (d->hi & 0xff) << 16 | (d->hi & 0xff000000u);
    s.limit = (d->lo & 0xffff) | (d->hi & 0xf0000);
    if (s.attr & GH_SEG_G)
        s.limit = s.limit << 12 | 0xfff;
    return s;
}

struct gh_segment soft_null_segment(uint16_t selector)
{
    return (struct gh_segment){ .selector = selector, .attr = GH_SEG_UNUSABLE };
}

void soft_load_real(struct soft_cpu *cpu, unsigned seg, uint16_t selector)
{
    struct gh_segment *s = &cpu->seg[seg];

    s->selector = selector;
    s->base = (uint32_t)selector << 4;
    if (soft_v86(cpu)) {
        s->limit = 0xffff;
        s->attr = ATTR_V86;
    } else if (seg == GH_CS) {
        s->attr = ATTR_REAL | (s->attr & GH_SEG_G);
    } else {                            /* the limit stays: that is what "unreal mode" lives on */
        s->attr = ATTR_REAL | (s->attr & (GH_SEG_G | GH_SEG_DB));
    }
    if ((s->attr & GH_SEG_UNUSABLE) || s->limit == 0)
        s->limit = 0xffff;
}

void soft_set_v86_segments(struct soft_cpu *cpu)
{
    for (unsigned i = GH_ES; i <= GH_GS; i++)
        cpu->seg[i] = (struct gh_segment){ .base = (uint32_t)cpu->seg[i].selector << 4, .limit = 0xffff,
                                           .selector = cpu->seg[i].selector, .attr = ATTR_V86 };
}

static void load_null(struct soft_cpu *cpu, unsigned seg, uint16_t selector)
{
    if (seg == GH_SS && !(cpu->code_mode == 64 && cpu->cpl < 3 && SEL_RPL(selector) == cpu->cpl))
        soft_gp(cpu, 0);
    cpu->seg[seg] = soft_null_segment(selector);
    if (seg == GH_SS)  /* keeps DPL = CPL for whoever reads the state */
        cpu->seg[seg].attr |= (uint16_t)(cpu->cpl << 5);
}

void soft_load_segment(struct soft_cpu *cpu, unsigned seg, uint16_t selector)
{
    struct soft_desc d;

    if (!soft_protected(cpu)) {
        soft_load_real(cpu, seg, selector);
    } else if (SEL_NULL(selector)) {
        load_null(cpu, seg, selector);
    } else {
        soft_desc_need(cpu, selector, SOFT_GP, &d);
        unsigned rpl = SEL_RPL(selector), dpl = DESC_DPL(d.hi);
        bool ok;
        if (seg == GH_SS)
            ok = rpl == cpu->cpl && DESC_IS_DATA(d.hi) && DESC_IS_WRITABLE(d.hi) && dpl == cpu->cpl;
        else if (DESC_IS_CODE(d.hi))
            ok = DESC_IS_WRITABLE(d.hi) && (DESC_IS_CONFORMING(d.hi) || (dpl >= rpl && dpl >= cpu->cpl));
        else
            ok = DESC_IS_DATA(d.hi) && dpl >= rpl && dpl >= cpu->cpl;
        if (!ok)
            soft_gp(cpu, SEL_ERR(selector));
        if (!(d.hi & DESC_P))
            soft_raise_error(cpu, seg == GH_SS ? SOFT_SS_ : SOFT_NP, SEL_ERR(selector));
        soft_desc_set_accessed(cpu, &d);
        cpu->seg[seg] = soft_desc_segment(selector, &d);
    }
    soft_update_mode(cpu);
}

void soft_check_target(struct soft_cpu *cpu, const struct gh_segment *cs, uint64_t offset)
{
    bool ok = cpu->long_mode && (cs->attr & GH_SEG_L) ? soft_canonical(offset) : offset <= cs->limit;

    if (!ok)
        soft_gp(cpu, soft_ext(cpu));
}

void soft_set_rip(struct soft_cpu *cpu, uint64_t target)
{
    soft_check_target(cpu, &cpu->seg[GH_CS], target);
    cpu->rip = target;
}

void soft_commit_cs(struct soft_cpu *cpu, const struct gh_segment *cs, unsigned cpl, uint64_t rip)
{
    cpu->seg[GH_CS] = *cs;
    cpu->seg[GH_CS].selector = (uint16_t)((cs->selector & ~3u) | cpl);
    cpu->cpl = (uint8_t)cpl;
    cpu->rip = rip;
    soft_update_mode(cpu);
}

void soft_check_code_direct(struct soft_cpu *cpu, uint16_t selector, const struct soft_desc *d)
{
    unsigned dpl = DESC_DPL(d->hi);
    bool conforming = DESC_IS_CONFORMING(d->hi);

    if (conforming ? dpl > cpu->cpl : SEL_RPL(selector) > cpu->cpl || dpl != cpu->cpl)
        soft_gp(cpu, SEL_ERR(selector));
    if (cpu->long_mode && (d->hi & DESC_L) && (d->hi & DESC_DB))
        soft_gp(cpu, SEL_ERR(selector));
    if (!(d->hi & DESC_P))
        soft_raise_error(cpu, SOFT_NP, SEL_ERR(selector));
}

void soft_drop_inner_segments(struct soft_cpu *cpu, unsigned cpl)
{
    static const uint8_t list[] = { GH_ES, GH_DS, GH_FS, GH_GS };

    for (unsigned i = 0; i < sizeof list; i++) {
        struct gh_segment *s = &cpu->seg[list[i]];
        bool conforming_code = (s->attr & (SEG_CODE | SEG_DOWN)) == (SEG_CODE | SEG_DOWN);
        if ((s->attr & GH_SEG_UNUSABLE) || (!conforming_code && GH_SEG_DPL(s->attr) < cpl)) {  /* 1 to 3, null too, become 0 */
            uint64_t base = s->base;   /* long mode: FS and GS bases survive a null selector */
            *s = soft_null_segment(0);
            if (cpu->long_mode)
                s->base = base;
        }
    }
}
