/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Saving and loading the x87, SSE and AVX state: FXSAVE, XSAVE, XSAVEOPT, XSAVEC and their
 * counterparts, MXCSR, and the accelerator-neutral area of struct gh_cpu_state.
 * Intel SDM volume 1, chapter "Managing State Using the XSAVE Feature Set".
 *
 *     0  x87 control    24 MXCSR    32 ST(0)..ST(7)    160 XMM    512 header    576 YMM high halves
 *
 * State components are x87 (bit 0), SSE (bit 1), AVX (bit 2) and PKRU (bit 9), which alone lies elsewhere in the
 * compacted format. In use means: differs from the initial state.
 */
#include "engine/accel/soft/fpu.h"
#include "engine/accel/soft/simd.h"
#include "engine/accel/soft/vm.h"

#include <errno.h>

#define OFF_MXCSR  24
#define OFF_ST     32
#define OFF_XMM    160
#define OFF_HEADER 512
#define OFF_YMM    576
#define AREA_BYTES 832
#define OFF_PKRU   2688
#define PKRU_BYTES 8
enum { PART_X87 = 1, PART_SSE = 2, PART_AVX = 4, PART_PKRU = 0x200 };
#define COMPACTED (1ull << 63)

/* ---- Building and taking the parts ----------------------------------------------------------- */

static void build_x87(const struct soft_cpu *cpu, bool wide, uint8_t *p)
{
    unsigned top = (cpu->x87.fsw & X87_TOP) >> X87_TOP_SHIFT;
    memcpy(p, &cpu->x87.fcw, 2);
    memcpy(p + 2, &cpu->x87.fsw, 2);
    p[4] = cpu->x87.ftw_abridged;
    p[5] = 0;
    memcpy(p + 6, &cpu->x87.fop, 2);
    memcpy(p + 8, &cpu->x87.fip, 8);
    memcpy(p + 16, &cpu->x87.fdp, 8);
    if (!wide) {
        uint32_t fcs = cpu->x87.fcs, fds = cpu->x87.fds;
        memcpy(p + 12, &fcs, 4);
        memcpy(p + 20, &fds, 4);
    }
    memset(p + OFF_ST, 0, 128);
    for (unsigned i = 0; i < 8; i++)
        memcpy(p + OFF_ST + 16 * i, cpu->x87.reg[(top + i) & 7], 10);
}

static void take_x87(struct soft_cpu *cpu, bool wide, const uint8_t *p)
{
    uint16_t fcw, fsw;
    memcpy(&fcw, p, 2);
    memcpy(&fsw, p + 2, 2);
    cpu->x87.fcw = (fcw & 0x1f3f) | 0x40;
    cpu->x87.fsw = fsw;
    cpu->x87.ftw_abridged = p[4];
    memcpy(&cpu->x87.fop, p + 6, 2);
    cpu->x87.fop &= 0x7ff;
    memcpy(&cpu->x87.fip, p + 8, 8);
    memcpy(&cpu->x87.fdp, p + 16, 8);
    if (!wide) {
        cpu->x87.fip = (uint32_t)cpu->x87.fip;
        cpu->x87.fdp = (uint32_t)cpu->x87.fdp;
    }
    cpu->x87.fcs = cpu->x87.fds = 0;
    soft_x87_update_summary(cpu);
    unsigned top = (fsw & X87_TOP) >> X87_TOP_SHIFT;
    for (unsigned i = 0; i < 8; i++)
        memcpy(cpu->x87.reg[(top + i) & 7], p + OFF_ST + 16 * i, 10);
}

static void init_x87(struct soft_cpu *cpu)
{
    soft_x87_init(cpu);
    memset(cpu->x87.reg, 0, sizeof cpu->x87.reg);
}

static unsigned xmm_count(const struct soft_cpu *cpu)
{
    return cpu->code_mode == 64 ? 16 : 8;
}

static void build_mxcsr(const struct soft_cpu *cpu, uint8_t *p)
{
    uint32_t mask = MXCSR_VALID;
    memcpy(p + OFF_MXCSR, &cpu->mxcsr, 4);
    memcpy(p + OFF_MXCSR + 4, &mask, 4);
}

static unsigned in_use(const struct soft_cpu *cpu, unsigned xmms)
{
    unsigned parts = cpu->pkru ? PART_PKRU : 0;
    if (cpu->x87.fcw != 0x37f || cpu->x87.fsw || cpu->x87.ftw_abridged || cpu->x87.fop ||
        cpu->x87.fip || cpu->x87.fdp)
        parts |= PART_X87;
    for (unsigned i = 0; i < 8 && !(parts & PART_X87); i++) {
        uint64_t low, high = 0;
        memcpy(&low, cpu->x87.reg[i], 8);
        memcpy(&high, cpu->x87.reg[i] + 8, 2);
        if (low | high)
            parts |= PART_X87;
    }
    for (unsigned i = 0; i < xmms; i++) {
        if (cpu->ymm[i].q[0] | cpu->ymm[i].q[1])
            parts |= PART_SSE;
        if (cpu->ymm[i].q[2] | cpu->ymm[i].q[3])
            parts |= PART_AVX;
    }
    return parts;
}

/* ---- FXSAVE, FXRSTOR ------------------------------------------------------------------------- */

static uint64_t area_address(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes,
                             unsigned align, bool write)
{
    uint64_t linear = soft_ea(cpu, in, bytes, write);
    if (linear & (align - 1))
        soft_gp(cpu, 0);
    return linear;
}

SOFT_OP(fxsave)
{
    uint8_t area[OFF_HEADER];
    soft_x87_enter(cpu, false);
    unsigned bytes = OFF_XMM + 16 * xmm_count(cpu);
    uint64_t linear = area_address(cpu, in, OFF_HEADER, 16, true);
    build_x87(cpu, in->opsize == 8, area);
    build_mxcsr(cpu, area);
    for (unsigned i = 0; i < xmm_count(cpu); i++)
        memcpy(area + OFF_XMM + 16 * i, &cpu->ymm[i], 16);
    soft_check_write(cpu, linear, OFF_HEADER);
    soft_write(cpu, linear, area, bytes);
}

SOFT_OP(fxrstor)
{
    uint8_t area[OFF_HEADER];
    uint32_t mxcsr;
    soft_x87_enter(cpu, false);
    soft_read(cpu, area_address(cpu, in, OFF_HEADER, 16, false), area, OFF_HEADER);
    memcpy(&mxcsr, area + OFF_MXCSR, 4);
    if (mxcsr & ~MXCSR_VALID)
        soft_gp(cpu, 0);
    take_x87(cpu, in->opsize == 8, area);
    cpu->mxcsr = mxcsr;
    for (unsigned i = 0; i < xmm_count(cpu); i++)
        memcpy(&cpu->ymm[i], area + OFF_XMM + 16 * i, 16);
}

/* ---- XSAVE family ---------------------------------------------------------------------------- */

static unsigned xsave_enter(struct soft_cpu *cpu)
{
    if (!(cpu->cr4 & SOFT_CR4_OSXSAVE))
        soft_ud(cpu);
    if (cpu->cr0 & SOFT_CR0_TS)
        soft_raise(cpu, SOFT_NM);
    return (uint32_t)cpu->gpr[GH_RAX] & cpu->xcr0 & (PART_X87 | PART_SSE | PART_AVX | PART_PKRU);
}

static unsigned offset_of_pkru(bool compact, uint64_t layout)
{
    return !compact ? OFF_PKRU : layout & PART_AVX ? AREA_BYTES : OFF_YMM;
}

/* Where an area with these components ends. */
static unsigned end_of(unsigned wanted, bool compact, uint64_t layout)
{
    if (wanted & PART_PKRU)
        return offset_of_pkru(compact, layout) + PKRU_BYTES;
    return wanted & PART_AVX ? AREA_BYTES : OFF_YMM;
}

/* Writes the parts; mxcsr says whether MXCSR is written too. */
static void write_parts(struct soft_cpu *cpu, uint64_t linear, unsigned parts, bool mxcsr, bool wide)
{
    uint8_t area[AREA_BYTES];
    unsigned n = xmm_count(cpu);
    if (parts & PART_X87) {
        build_x87(cpu, wide, area);
        soft_write(cpu, linear, area, OFF_MXCSR);
        soft_write(cpu, linear + OFF_ST, area + OFF_ST, OFF_XMM - OFF_ST);
    }
    if (mxcsr) {
        build_mxcsr(cpu, area);
        soft_write(cpu, linear + OFF_MXCSR, area + OFF_MXCSR, 8);
    }
    if (parts & PART_SSE) {
        for (unsigned i = 0; i < n; i++)
            memcpy(area + 16 * i, &cpu->ymm[i], 16);
        soft_write(cpu, linear + OFF_XMM, area, 16 * n);
    }
    if (parts & PART_AVX) {
        for (unsigned i = 0; i < n; i++)
            memcpy(area + 16 * i, &cpu->ymm[i].q[2], 16);
        soft_write(cpu, linear + OFF_YMM, area, 16 * n);
    }
}

/* What write_parts and the header need must be writable before anything is written; what is left out need not be there. */
static void check_parts(struct soft_cpu *cpu, uint64_t linear, unsigned parts, bool mxcsr, unsigned pkru_at)
{
    unsigned n = xmm_count(cpu);

    soft_check_write(cpu, linear + OFF_HEADER, 16);
    if (parts & PART_X87)
        soft_check_write(cpu, linear, OFF_XMM);
    if (mxcsr)
        soft_check_write(cpu, linear + OFF_MXCSR, 8);
    if (parts & PART_SSE)
        soft_check_write(cpu, linear + OFF_XMM, 16 * n);
    if (parts & PART_AVX)
        soft_check_write(cpu, linear + OFF_YMM, 16 * n);
    if (parts & PART_PKRU)
        soft_check_write(cpu, linear + pkru_at, PKRU_BYTES);
}

enum save_kind { SAVE_PLAIN, SAVE_OPT, SAVE_COMPACT };

static void save(struct soft_cpu *cpu, const struct soft_insn *in, enum save_kind kind)
{
    unsigned wanted = xsave_enter(cpu);
    unsigned used = in_use(cpu, xmm_count(cpu));
    bool compact = kind == SAVE_COMPACT;
    unsigned bytes = end_of(wanted, compact, wanted);
    uint64_t linear = area_address(cpu, in, bytes, 64, true);
    uint64_t header[2];
    if (kind == SAVE_COMPACT && cpu->mxcsr != MXCSR_DEFAULT)
        used |= PART_SSE;
    unsigned parts = kind == SAVE_PLAIN ? wanted : wanted & used;
    bool mxcsr = kind == SAVE_COMPACT ? (parts & PART_SSE) != 0 : (wanted & (PART_SSE | PART_AVX)) != 0;
    check_parts(cpu, linear, parts, mxcsr, offset_of_pkru(compact, wanted));
    write_parts(cpu, linear, parts, mxcsr, in->opsize == 8);
    if (parts & PART_PKRU)
        soft_st64(cpu, linear + offset_of_pkru(compact, wanted), cpu->pkru);
    if (kind == SAVE_COMPACT) {
        header[0] = wanted & used;
        header[1] = COMPACTED | wanted;
        soft_write(cpu, linear + OFF_HEADER, header, 16);
    } else {
        uint64_t old = soft_ld64(cpu, linear + OFF_HEADER);
        soft_st64(cpu, linear + OFF_HEADER, (old & ~(uint64_t)wanted) | (wanted & used));
    }
}

SOFT_OP(xsave) { save(cpu, in, SAVE_PLAIN); }
SOFT_OP(xsaveopt) { save(cpu, in, SAVE_OPT); }
SOFT_OP(xsavec) { save(cpu, in, SAVE_COMPACT); }

/* Takes the components in `wanted` from area where XSTATE_BV has them, else initialises them. */
static void take_parts(struct soft_cpu *cpu, const uint8_t *area, unsigned wanted, uint64_t present,
                       bool wide, unsigned xmms)
{
    if (wanted & PART_X87) {
        if (present & PART_X87)
            take_x87(cpu, wide, area);
        else
            init_x87(cpu);
    }
    for (unsigned i = 0; i < xmms; i++) {
        if ((wanted & PART_SSE) && (present & PART_SSE))
            memcpy(&cpu->ymm[i], area + OFF_XMM + 16 * i, 16);
        else if (wanted & PART_SSE)
            memset(&cpu->ymm[i], 0, 16);
        if ((wanted & PART_AVX) && (present & PART_AVX))
            memcpy(&cpu->ymm[i].q[2], area + OFF_YMM + 16 * i, 16);
        else if (wanted & PART_AVX)
            memset(&cpu->ymm[i].q[2], 0, 16);
    }
}

SOFT_OP(xrstor)
{
    uint8_t area[AREA_BYTES];
    uint64_t header[8];
    unsigned wanted = xsave_enter(cpu);
    uint64_t linear = area_address(cpu, in, OFF_YMM, 64, false);
    soft_read(cpu, linear, area, OFF_YMM);
    memcpy(header, area + OFF_HEADER, sizeof header);
    uint64_t present = header[0], layout = header[1];
    bool compact = layout & COMPACTED;
    uint64_t legal = compact ? layout & ~COMPACTED : cpu->xcr0;
    uint64_t zero = compact ? 0 : layout | header[2];
    if (compact)
        for (unsigned i = 2; i < 8; i++)
            zero |= header[i];
    if (zero || (legal & ~cpu->xcr0) || (present & ~legal))
        soft_gp(cpu, 0);
    if ((wanted & PART_AVX) && (present & PART_AVX))
        soft_read(cpu, soft_ea(cpu, in, AREA_BYTES, false) + OFF_YMM, area + OFF_YMM,
                  AREA_BYTES - OFF_YMM);
    uint32_t mxcsr = cpu->mxcsr, pkru = wanted & PART_PKRU ? 0 : cpu->pkru;
    if (wanted & present & PART_PKRU) {
        unsigned off = offset_of_pkru(compact, layout);
        pkru = soft_ld32(cpu, soft_ea(cpu, in, off + PKRU_BYTES, false) + off);
    }
    if (compact) {
        if (wanted & PART_SSE) {
            mxcsr = MXCSR_DEFAULT;
            if (present & PART_SSE)
                memcpy(&mxcsr, area + OFF_MXCSR, 4);
        }
    } else if (wanted & (PART_SSE | PART_AVX)) {
        memcpy(&mxcsr, area + OFF_MXCSR, 4);
    }
    if (mxcsr & ~MXCSR_VALID)
        soft_gp(cpu, 0);
    take_parts(cpu, area, wanted, present, in->opsize == 8, xmm_count(cpu));
    cpu->mxcsr = mxcsr;
    soft_next(cpu, in);
    soft_set_pkru(cpu, pkru);
}

/* ---- MXCSR ----------------------------------------------------------------------------------- */

static void mxcsr_enter(struct soft_cpu *cpu)
{
    if ((cpu->cr0 & SOFT_CR0_EM) || !(cpu->cr4 & SOFT_CR4_OSFXSR))
        soft_ud(cpu);
    if (cpu->cr0 & SOFT_CR0_TS)
        soft_raise(cpu, SOFT_NM);
}

SOFT_OP(ldmxcsr)
{
    mxcsr_enter(cpu);
    uint32_t v = soft_ldm32(cpu, in);
    if (v & ~MXCSR_VALID)
        soft_gp(cpu, 0);
    cpu->mxcsr = v;
}

SOFT_OP(stmxcsr)
{
    mxcsr_enter(cpu);
    soft_stm32(cpu, in, cpu->mxcsr);
}

SOFT_OP(vldmxcsr)
{
    avx_enter(cpu);
    soft_body_ldmxcsr(cpu, in);
}

SOFT_OP(vstmxcsr)
{
    avx_enter(cpu);
    soft_body_stmxcsr(cpu, in);
}

/* ---- For the accelerator --------------------------------------------------------------------- */

void soft_fpu_reset(struct soft_cpu *cpu, bool init_only)
{
    if (!init_only) {
        init_x87(cpu);
        memset(cpu->ymm, 0, sizeof cpu->ymm);
        cpu->mxcsr = MXCSR_DEFAULT;
        cpu->x87.fcw = 0x40;
        cpu->x87.ftw_abridged = 0xff;
    }
}

void soft_fpu_get(const struct soft_cpu *cpu, uint8_t *xsave)
{
    uint64_t present = PART_X87 | PART_SSE | PART_AVX | (cpu->pkru ? PART_PKRU : 0);
    memset(xsave, 0, AREA_BYTES);
    memset(xsave + OFF_PKRU, 0, PKRU_BYTES);
    memcpy(xsave + OFF_PKRU, &cpu->pkru, 4);
    build_x87(cpu, true, xsave);
    build_mxcsr(cpu, xsave);
    memcpy(xsave + OFF_HEADER, &present, 8);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(xsave + OFF_XMM + 16 * i, &cpu->ymm[i], 16);
        memcpy(xsave + OFF_YMM + 16 * i, &cpu->ymm[i].q[2], 16);
    }
}

int soft_fpu_set(struct soft_cpu *cpu, const uint8_t *xsave)
{
    uint64_t present, layout;
    uint32_t mxcsr;
    memcpy(&present, xsave + OFF_HEADER, 8);
    memcpy(&layout, xsave + OFF_HEADER + 8, 8);
    memcpy(&mxcsr, xsave + OFF_MXCSR, 4);
    if (layout || (mxcsr & ~MXCSR_VALID))
        return -EINVAL;
    take_parts(cpu, xsave, PART_X87 | PART_SSE | PART_AVX, present, true, 16);
    cpu->mxcsr = mxcsr;
    cpu->pkru = 0;
    if (present & PART_PKRU)
        memcpy(&cpu->pkru, xsave + OFF_PKRU, 4);
    return 0;
}
