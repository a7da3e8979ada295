/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Handlers: segment registers, descriptor tables, LAR and its like. */
#include "engine/accel/soft/far.h"
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/stack.h"

static void need_ring0(struct soft_cpu *cpu)
{
    if (cpu->cpl)
        soft_gp(cpu, 0);
}

/* User-mode instruction prevention: SGDT, SIDT, SLDT, STR, SMSW. */
static void need_umip(struct soft_cpu *cpu)
{
    if ((cpu->cr4 & CR4_UMIP) && cpu->cpl)
        soft_gp(cpu, 0);
}

static uint16_t rm_word(struct soft_cpu *cpu, const struct soft_insn *in)
{
    return in->is_mem ? soft_ldm16(cpu, in) : soft_reg16(cpu, in->rm);
}

/* A 16-bit value into memory as a word, into a register in full operand size. */
static void put_word(struct soft_cpu *cpu, const struct soft_insn *in, uint64_t value)
{
    if (in->is_mem)
        soft_stm16(cpu, in, (uint16_t)value);
    else if (in->opsize == 2)
        soft_set_reg16(cpu, in->rm, (uint16_t)value);
    else
        cpu->gpr[in->rm] = in->opsize == 4 ? (uint32_t)value : value;
}

static void put_reg(struct soft_cpu *cpu, const struct soft_insn *in, uint64_t value)
{
    if (in->opsize == 2)
        soft_set_reg16(cpu, in->reg, (uint16_t)value);
    else if (in->opsize == 4)
        soft_set_reg32(cpu, in->reg, (uint32_t)value);
    else
        cpu->gpr[in->reg] = value;
}

static void set_zf(struct soft_cpu *cpu, bool on)
{
    cpu->aflags = (soft_aflags)(on ? cpu->aflags | SOFT_ZF : cpu->aflags & ~SOFT_ZF);
}

/* MOV SS and POP SS hold interrupts and debug traps back for one instruction. */
static void open_shadow(struct soft_cpu *cpu)
{
    cpu->int_shadow = cpu->shadow_is_ss = true;
    cpu->shadow_seen = false;
    soft_update_mode(cpu);
}

SOFT_OP(mov_from_sreg)
{
    if ((in->reg & 7) > GH_GS)
        soft_ud(cpu);
    put_word(cpu, in, cpu->seg[in->reg & 7].selector);
}

SOFT_OP(mov_to_sreg)
{
    unsigned seg = in->reg & 7;

    if (seg == GH_CS || seg > GH_GS)
        soft_ud(cpu);
    soft_load_segment(cpu, seg, rm_word(cpu, in));
    if (seg == GH_SS)
        open_shadow(cpu);
    soft_next(cpu, in);
}

static void push_seg(struct soft_cpu *cpu, const struct soft_insn *in, unsigned seg)
{
    uint16_t sel = cpu->seg[seg].selector;

    if (in->opsize == 2) {
        soft_push16(cpu, sel);
        return;
    }
    /* Processors write the low word only, in a slot of the full width. */
    uint64_t sp = soft_sp_wrap(cpu, cpu->gpr[GH_RSP] - in->opsize);
    soft_st16(cpu, soft_stack_addr(cpu, sp, 2, true), sel);
    soft_set_sp(cpu, sp);
}

static void pop_seg(struct soft_cpu *cpu, const struct soft_insn *in, unsigned seg)
{
    bool wide = cpu->code_mode == 64, stack32 = cpu->stack32;
    uint64_t sp = soft_sp(cpu);
    uint16_t sel = soft_ld16(cpu, soft_stack_addr(cpu, sp, 2, false));

    soft_load_segment(cpu, seg, sel);
    /* POP SS moves the pointer by the width the stack had before. */
    if (wide)
        cpu->gpr[GH_RSP] += in->opsize;
    else if (stack32)
        soft_set_reg32(cpu, GH_RSP, (uint32_t)sp + in->opsize);
    else
        soft_set_reg16(cpu, GH_RSP, (uint16_t)(sp + in->opsize));
    if (seg == GH_SS)
        open_shadow(cpu);
    soft_next(cpu, in);
}

SOFT_OP(push_es) { push_seg(cpu, in, GH_ES); }
SOFT_OP(push_cs) { push_seg(cpu, in, GH_CS); }
SOFT_OP(push_ss) { push_seg(cpu, in, GH_SS); }
SOFT_OP(push_ds) { push_seg(cpu, in, GH_DS); }
SOFT_OP(push_fs) { push_seg(cpu, in, GH_FS); }
SOFT_OP(push_gs) { push_seg(cpu, in, GH_GS); }
SOFT_OP(pop_es) { pop_seg(cpu, in, GH_ES); }
SOFT_OP(pop_ss) { pop_seg(cpu, in, GH_SS); }
SOFT_OP(pop_ds) { pop_seg(cpu, in, GH_DS); }
SOFT_OP(pop_fs) { pop_seg(cpu, in, GH_FS); }
SOFT_OP(pop_gs) { pop_seg(cpu, in, GH_GS); }

static void load_far_pointer(struct soft_cpu *cpu, const struct soft_insn *in, unsigned seg)
{
    uint64_t offset;
    uint16_t sel;

    soft_read_far(cpu, in, &offset, &sel);
    soft_load_segment(cpu, seg, sel);
    put_reg(cpu, in, offset);
    if (seg == GH_SS)
        open_shadow(cpu);
    soft_next(cpu, in);
}
SOFT_OP(les) { load_far_pointer(cpu, in, GH_ES); }
SOFT_OP(lds) { load_far_pointer(cpu, in, GH_DS); }
SOFT_OP(lss) { load_far_pointer(cpu, in, GH_SS); }
SOFT_OP(lfs) { load_far_pointer(cpu, in, GH_FS); }
SOFT_OP(lgs) { load_far_pointer(cpu, in, GH_GS); }

/* ---- Tables ------------------------------------------------------------------------------------- */
static void store_table(struct soft_cpu *cpu, const struct soft_insn *in, const struct gh_table *t)
{
    uint8_t raw[10];
    unsigned bytes = cpu->code_mode == 64 ? 10 : 6;

    need_umip(cpu);
    if (in->addrsize == 2) {
        struct soft_insn second = soft_second_part(in, 2);
        soft_stm16(cpu, in, t->limit);
        soft_stm32(cpu, &second, (uint32_t)t->base);
        return;
    }
    memcpy(raw, &t->limit, 2);
    memcpy(raw + 2, &t->base, 8);
    soft_write(cpu, soft_addr(cpu, in, bytes, true), raw, bytes);
}

static void load_table(struct soft_cpu *cpu, const struct soft_insn *in, struct gh_table *t)
{
    uint8_t raw[10] = { 0 };
    unsigned bytes = cpu->code_mode == 64 ? 10 : 6;
    uint64_t base;

    need_ring0(cpu);
    if (in->addrsize == 2) {
        struct soft_insn second = soft_second_part(in, 2);
        soft_read(cpu, soft_addr(cpu, in, 2, false), raw, 2);
        soft_read(cpu, soft_addr(cpu, &second, 4, false), raw + 2, 4);
    } else {
        soft_read(cpu, soft_addr(cpu, in, bytes, false), raw, bytes);
    }
    memcpy(&base, raw + 2, 8);
    if (cpu->code_mode == 64) {
        if (!soft_canonical(base))
            soft_gp(cpu, 0);
    } else {
        base &= in->opsize == 2 ? 0xffffff : 0xffffffffu;
    }
    memcpy(&t->limit, raw, 2);
    t->base = base;
}
SOFT_OP(sgdt) { store_table(cpu, in, &cpu->gdt); }
SOFT_OP(sidt) { store_table(cpu, in, &cpu->idt); }
SOFT_OP(lgdt) { load_table(cpu, in, &cpu->gdt); }
SOFT_OP(lidt) { load_table(cpu, in, &cpu->idt); }

SOFT_OP(sldt) { need_umip(cpu); put_word(cpu, in, cpu->seg[GH_LDTR].selector); }
SOFT_OP(str) { need_umip(cpu); put_word(cpu, in, cpu->seg[GH_TR].selector); }

/* LDT and TSS descriptors are 16 bytes in long mode. */
static void read_system(struct soft_cpu *cpu, uint16_t sel, struct soft_desc *d, struct gh_segment *s)
{
    if ((sel & 4) || !soft_desc_read(cpu, sel, d) || (d->hi & DESC_S))
        soft_gp(cpu, SEL_ERR(sel));
    *s = soft_desc_segment(sel, d);
    if (cpu->long_mode) {
        if ((sel & ~7u) + 15 > cpu->gdt.limit)
            soft_gp(cpu, SEL_ERR(sel));
        uint64_t high = soft_sys_ld(cpu, d->linear + 8, 8);
        s->base |= high << 32;
        if ((high >> 40 & 0x1f) || !soft_canonical(s->base))
            soft_gp(cpu, SEL_ERR(sel));
    }
}

SOFT_OP(lldt)
{
    struct soft_desc d;
    struct gh_segment s;

    need_ring0(cpu);
    uint16_t sel = rm_word(cpu, in);
    if (SEL_NULL(sel)) {
        cpu->seg[GH_LDTR] = soft_null_segment(sel);
        return;
    }
    read_system(cpu, sel, &d, &s);
    if (DESC_TYPE(d.hi) != SYS_LDT)
        soft_gp(cpu, SEL_ERR(sel));
    if (!(d.hi & DESC_P))
        soft_raise_error(cpu, SOFT_NP, SEL_ERR(sel));
    cpu->seg[GH_LDTR] = s;
}

SOFT_OP(ltr)
{
    struct soft_desc d;
    struct gh_segment s;

    need_ring0(cpu);
    uint16_t sel = rm_word(cpu, in);
    if (SEL_NULL(sel))
        soft_gp(cpu, 0);
    read_system(cpu, sel, &d, &s);
    if (DESC_TYPE(d.hi) != SYS_TSS && (DESC_TYPE(d.hi) != SYS_TSS16 || cpu->long_mode))
        soft_gp(cpu, SEL_ERR(sel));
    if (!(d.hi & DESC_P))
        soft_raise_error(cpu, SOFT_NP, SEL_ERR(sel));
    soft_sys_st(cpu, d.linear + 5, (d.hi >> 8 & 0xff) | 2, 1);
    s.attr |= 2;
    cpu->seg[GH_TR] = s;
}

/* ---- Questions about a selector ---------------------------------------------------------------------- */
static bool visible(const struct soft_cpu *cpu, uint16_t sel, const struct soft_desc *d)
{
    if (DESC_IS_CODE(d->hi) && DESC_IS_CONFORMING(d->hi))
        return true;
    return DESC_DPL(d->hi) >= cpu->cpl && DESC_DPL(d->hi) >= SEL_RPL(sel);
}

static bool lar_type(const struct soft_cpu *cpu, uint32_t hi, bool with_gates)
{
    if (hi & DESC_S)
        return true;
    switch (DESC_TYPE(hi)) {
    case SYS_LDT: case SYS_TSS: case SYS_TSS_BUSY: return true;
    case SYS_TSS16: case SYS_TSS16_BUSY: return !cpu->long_mode;
    case SYS_CALL: return with_gates;
    case SYS_CALL16: case SYS_TASK_GATE: return with_gates && !cpu->long_mode;
    default: return false;
    }
}

SOFT_OP(lar)
{
    struct soft_desc d;
    uint16_t sel = rm_word(cpu, in);
    bool ok = soft_desc_read(cpu, sel, &d) && visible(cpu, sel, &d) && lar_type(cpu, d.hi, true);

    set_zf(cpu, ok);
    if (ok)
        put_reg(cpu, in, d.hi & 0x00ffff00);
}

SOFT_OP(lsl)
{
    struct soft_desc d;
    uint16_t sel = rm_word(cpu, in);
    bool ok = soft_desc_read(cpu, sel, &d) && visible(cpu, sel, &d) && lar_type(cpu, d.hi, false);

    set_zf(cpu, ok);
    if (ok)
        put_reg(cpu, in, soft_desc_segment(sel, &d).limit);
}

SOFT_OP(verr)
{
    struct soft_desc d;
    uint16_t sel = rm_word(cpu, in);

    set_zf(cpu, soft_desc_read(cpu, sel, &d) && visible(cpu, sel, &d) &&
                    (DESC_IS_DATA(d.hi) || (DESC_IS_CODE(d.hi) && DESC_IS_WRITABLE(d.hi))));
}

SOFT_OP(verw)
{
    struct soft_desc d;
    uint16_t sel = rm_word(cpu, in);

    set_zf(cpu, soft_desc_read(cpu, sel, &d) && visible(cpu, sel, &d) && DESC_IS_DATA(d.hi) && DESC_IS_WRITABLE(d.hi));
}

SOFT_OP(arpl)
{
    uint16_t sel = rm_word(cpu, in), rpl = soft_reg16(cpu, in->reg) & 3;
    bool raise = (sel & 3) < rpl;

    if (raise) {
        sel = (uint16_t)((sel & ~3u) | rpl);
        if (in->is_mem)
            soft_stm16(cpu, in, sel);
        else
            soft_set_reg16(cpu, in->rm, sel);
    }
    set_zf(cpu, raise);
}
