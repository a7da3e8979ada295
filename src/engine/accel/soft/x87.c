/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * x87: dispatch of the eight escape opcodes and every instruction that computes.
 * Intel SDM volume 1, chapter "Programming with the x87 FPU".
 *
 * The general path builds the hardware's own state image, runs the instruction in it on the host
 * and takes the image back: tags, stack faults, C1, unmasked responses come out right by
 * construction. x87_fast.c has a short path for the common operations on valid registers with all
 * exceptions masked.
 *
 * What is modelled as on current processors: FDP changes only with an unmasked exception
 * (CPUID 7.EBX bit 6) and FCS and FDS are always zero (bit 13).
 */
#include "engine/accel/soft/fpu.h"
#include "engine/accel/soft/handlers.h"

#include <string.h>

uint16_t soft_x87_full_tags(const struct soft_cpu *cpu)
{
    uint16_t tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        unsigned tag = 3;
        if (cpu->x87.ftw_abridged & (1u << i)) {
            uint64_t mantissa;
            uint16_t exponent;
            memcpy(&mantissa, cpu->x87.reg[i], 8);
            memcpy(&exponent, cpu->x87.reg[i] + 8, 2);
            exponent &= 0x7fff;
            if (exponent == 0)
                tag = mantissa ? 2 : 1;
            else if (exponent == 0x7fff || !(mantissa >> 63))
                tag = 2;
            else
                tag = 0;
        }
        tags |= (uint16_t)(tag << (2 * i));
    }
    return tags;
}

void soft_x87_to_image(const struct soft_cpu *cpu, struct soft_x87_image *ret)
{
    unsigned top = (cpu->x87.fsw & X87_TOP) >> X87_TOP_SHIFT;
    uint32_t tags = 0;
    ret->fcw = cpu->x87.fcw | 0xffff0000u;
    ret->fsw = cpu->x87.fsw | 0xffff0000u;
    for (unsigned i = 0; i < 8; i++) {
        /* FRSTOR classifies non-empty registers itself. */
        if (!(cpu->x87.ftw_abridged & (1u << i)))
            tags |= 3u << (2 * i);
        memcpy(ret->st[i], cpu->x87.reg[(top + i) & 7], 10);
    }
    ret->ftw = tags | 0xffff0000u;
    ret->fip = ret->fcs_fop = ret->fdp = ret->fds = 0;
}

void soft_x87_from_image(struct soft_cpu *cpu, const struct soft_x87_image *image)
{
    unsigned top = (image->fsw & X87_TOP) >> X87_TOP_SHIFT;
    uint8_t tags = 0;
    cpu->x87.fcw = (uint16_t)image->fcw;
    cpu->x87.fsw = (uint16_t)image->fsw;
    for (unsigned i = 0; i < 8; i++) {
        if (((image->ftw >> (2 * i)) & 3) != 3)
            tags |= (uint8_t)(1u << i);
        memcpy(cpu->x87.reg[(top + i) & 7], image->st[i], 10);
    }
    cpu->x87.ftw_abridged = tags;
}

void soft_x87_update_summary(struct soft_cpu *cpu)
{
    if (cpu->x87.fsw & ~cpu->x87.fcw & X87_EXCEPTIONS)
        cpu->x87.fsw |= X87_ES | X87_BUSY;
    else
        cpu->x87.fsw &= (uint16_t)~(X87_ES | X87_BUSY);
}

void soft_x87_init(struct soft_cpu *cpu)
{
    cpu->x87.fcw = 0x37f;
    cpu->x87.fsw = 0;
    cpu->x87.ftw_abridged = 0;
    cpu->x87.fop = 0;
    cpu->x87.fip = cpu->x87.fdp = 0;
    cpu->x87.fcs = cpu->x87.fds = 0;
}

void soft_x87_enter(struct soft_cpu *cpu, bool waiting)
{
    if (soft_unlikely(cpu->cr0 & (SOFT_CR0_EM | SOFT_CR0_TS)))
        soft_raise(cpu, SOFT_NM);
    if (soft_unlikely(waiting && (cpu->x87.fsw & X87_ES))) {
        if (cpu->cr0 & SOFT_CR0_NE)
            soft_raise(cpu, SOFT_MF);
        soft_x87_ferr(cpu);
    }
}

/* ---- What exists ----------------------------------------------------------------------------- */

/* Bit n of [esc]: the register form with ModRM 0xc0 + n computes. Control instructions (FNINIT,
 * FNCLEX, FNSTSW AX, FENI...) are x87_env.c's. */
#define ROW(n) (0xffull << (8 * (n)))
static const uint64_t reg_forms[8] = {
    [0] = ~0ull,
    [1] = ROW(0) | ROW(1) | 1ull << 0x10 | ROW(3) | 0x33ull << 0x20 | 0x7full << 0x28 | ROW(6) | ROW(7),
    [2] = ROW(0) | ROW(1) | ROW(2) | ROW(3) | 1ull << 0x29,
    [3] = ROW(0) | ROW(1) | ROW(2) | ROW(3) | ROW(5) | ROW(6),
    [4] = ~0ull,
    [5] = ROW(0) | ROW(1) | ROW(2) | ROW(3) | ROW(4) | ROW(5),
    [6] = ROW(0) | ROW(1) | ROW(2) | 1ull << 0x19 | ROW(4) | ROW(5) | ROW(6) | ROW(7),
    [7] = ROW(0) | ROW(1) | ROW(2) | ROW(3) | ROW(5) | ROW(6),
};
#undef ROW

/* Memory forms: operand bytes, and whether it is a store. 0: not a computing instruction. */
#define LD(n) (n)
#define ST(n) (0x80 | (n))
static const uint8_t mem_forms[8][8] = {
    [0] = {LD(4), LD(4), LD(4), LD(4), LD(4), LD(4), LD(4), LD(4)},
    [1] = {LD(4), 0, ST(4), ST(4), 0, 0, 0, 0},
    [2] = {LD(4), LD(4), LD(4), LD(4), LD(4), LD(4), LD(4), LD(4)},
    [3] = {LD(4), ST(4), ST(4), ST(4), 0, LD(10), 0, ST(10)},
    [4] = {LD(8), LD(8), LD(8), LD(8), LD(8), LD(8), LD(8), LD(8)},
    [5] = {LD(8), ST(8), ST(8), ST(8), 0, 0, 0, 0},
    [6] = {LD(2), LD(2), LD(2), LD(2), LD(2), LD(2), LD(2), LD(2)},
    [7] = {LD(2), ST(2), ST(2), ST(2), LD(10), LD(8), ST(10), ST(8)},
};
#undef LD
#undef ST

bool soft_x87_register_form(unsigned esc, unsigned modrm)
{
    return modrm >= 0xc0 && (reg_forms[esc & 7] >> (modrm - 0xc0) & 1);
}

unsigned soft_x87_memory_form(unsigned esc, unsigned reg) { return mem_forms[esc & 7][reg & 7]; }

/* ---- The general path ------------------------------------------------------------------------ */

static void record_pointers(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc,
                            uint64_t offset)
{
    cpu->x87.fip = cpu->rip;
    cpu->x87.fcs = 0;
    if (cpu->x87.fsw & X87_ES) {
        cpu->x87.fop = (uint16_t)(((esc & 7) << 8) | in->modrm);
        if (in->is_mem)
            cpu->x87.fdp = offset;
        cpu->x87.fds = 0;
    }
}

/* With NE clear and the interrupt controller out of the way, an instruction may run although an
 * exception is pending: the host must not see that one. */
static soft_aflags run(struct soft_x87_image *image, const void *thunk, void *operand,
                       soft_aflags flags)
{
    uint32_t held = image->fsw & X87_ES ? image->fsw & (X87_EXCEPTIONS | X87_ES | X87_BUSY) : 0;
    image->fsw &= ~held;
    flags = soft_x87_run(image, thunk, operand, flags);
    image->fsw |= held;
    return flags;
}

static __attribute__((noinline)) void reg_general(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc)
{
    struct soft_x87_image image;
    soft_x87_to_image(cpu, &image);
    cpu->aflags = run(&image, soft_x87_reg_thunk(esc, in->modrm), NULL, cpu->aflags);
    soft_x87_from_image(cpu, &image);
    record_pointers(cpu, in, esc, 0);
}

static __attribute__((noinline)) void load_general(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc,
                         unsigned bytes)
{
    struct soft_x87_image image;
    uint64_t linear = soft_ea(cpu, in, bytes, false);
    uint8_t operand[16];
    soft_read(cpu, linear, operand, bytes);
    soft_x87_to_image(cpu, &image);
    run(&image, soft_x87_mem_thunk(esc, in->modrm >> 3), operand, 0);
    soft_x87_from_image(cpu, &image);
    record_pointers(cpu, in, esc, soft_offset(cpu, in));
}

static __attribute__((noinline)) void store_general(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc,
                          unsigned bytes)
{
    struct soft_x87_image image, again;
    uint8_t operand[16], other[16];
    soft_x87_to_image(cpu, &image);
    again = image;
    memset(operand, 0x55, sizeof operand);
    run(&image, soft_x87_mem_thunk(esc, in->modrm >> 3), operand, 0);
    bool stored = true;
    if (image.fsw & X87_ES) {
        /* Some unmasked responses store and some do not; a second background tells which. */
        memset(other, 0xaa, sizeof other);
        run(&again, soft_x87_mem_thunk(esc, in->modrm >> 3), other, 0);
        stored = !memcmp(operand, other, bytes);
    }
    if (stored) /* the address faults only where something is stored */
        soft_write(cpu, soft_addr(cpu, in, bytes, true), operand, bytes);
    soft_x87_from_image(cpu, &image);
    record_pointers(cpu, in, esc, soft_offset(cpu, in));
}

static inline __attribute__((always_inline)) void escape(struct soft_cpu *cpu,
                                                         const struct soft_insn *in, unsigned esc)
{
    if (!in->is_mem) {
        if (!(reg_forms[esc] & (1ull << (in->modrm & 63)))) {
            if (!soft_x87_control(cpu, in, esc))
                soft_ud(cpu);
            return;
        }
        soft_x87_enter(cpu, true);
        if (soft_x87_fast_reg(cpu, in, esc))
            record_pointers(cpu, in, esc, 0);
        else
            reg_general(cpu, in, esc);
        return;
    }
    unsigned form = mem_forms[esc][(in->modrm >> 3) & 7];
    if (!form) {
        if (!soft_x87_control(cpu, in, esc))
            soft_ud(cpu);
        return;
    }
    soft_x87_enter(cpu, true);
    if (soft_x87_fast_mem(cpu, in, esc))
        record_pointers(cpu, in, esc, 0);
    else if (form & 0x80)
        store_general(cpu, in, esc, form & 0x7f);
    else
        load_general(cpu, in, esc, form);
}

#define ESCAPE(n)                                                                                  \
    SOFT_OP(x87_d##n)                                                                              \
    {                                                                                              \
        escape(cpu, in, 0x##n - 8);                                                                \
    }
ESCAPE(8)
ESCAPE(9)
ESCAPE(a)
ESCAPE(b)
ESCAPE(c)
ESCAPE(d)
ESCAPE(e)
ESCAPE(f)
#undef ESCAPE

SOFT_OP(x87_fwait)
{
    if ((cpu->cr0 & (SOFT_CR0_MP | SOFT_CR0_TS)) == (SOFT_CR0_MP | SOFT_CR0_TS))
        soft_raise(cpu, SOFT_NM);
    if (cpu->x87.fsw & X87_ES) {
        if (cpu->cr0 & SOFT_CR0_NE)
            soft_raise(cpu, SOFT_MF);
        soft_x87_ferr(cpu);
    }
}
