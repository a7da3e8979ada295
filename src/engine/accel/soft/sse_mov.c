/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SSE and MMX moves: whole registers, halves, elements, non-temporal and masked stores. */
#include "engine/accel/soft/simd.h"

/* ---- Whole registers ------------------------------------------------------------------------- */
static inline void load16(struct soft_cpu *cpu, const struct soft_insn *in, bool aligned)
{
    simd_enter(cpu);
    memcpy(xmm_reg(cpu, in->reg), simd_rm(cpu, in, 16, aligned), 16);
}

static inline void store16(struct soft_cpu *cpu, const struct soft_insn *in, bool aligned)
{
    simd_enter(cpu);
    if (in->is_mem)
        simd_store(cpu, simd_addr(cpu, in, 16, aligned, true), xmm_reg(cpu, in->reg), 16);
    else
        memcpy(xmm_reg(cpu, in->rm), xmm_reg(cpu, in->reg), 16);
}

SOFT_OP(mova_ld) { load16(cpu, in, true); }
SOFT_OP(movu_ld) { load16(cpu, in, false); }
SOFT_OP(mova_st) { store16(cpu, in, true); }
SOFT_OP(movu_st) { store16(cpu, in, false); }

/* ---- Scalars and halves ---------------------------------------------------------------------- */
#define XMM(n)  (cpu->ymm[n].q)
#define XMMD(n) ((uint32_t *)cpu->ymm[n].q)

SOFT_OP(movss_ld_r) { simd_enter(cpu); XMMD(in->reg)[0] = XMMD(in->rm)[0]; }
SOFT_OP(movss_ld_m)
{
    simd_enter(cpu);
    XMM(in->reg)[0] = soft_ldm32(cpu, in);
    XMM(in->reg)[1] = 0;
}
SOFT_OP(movsd_ld_r) { simd_enter(cpu); XMM(in->reg)[0] = XMM(in->rm)[0]; }
SOFT_OP(movsd_ld_m)
{
    simd_enter(cpu);
    XMM(in->reg)[0] = soft_ldm64(cpu, in);
    XMM(in->reg)[1] = 0;
}
SOFT_OP(movss_st_r) { simd_enter(cpu); XMMD(in->rm)[0] = XMMD(in->reg)[0]; }
SOFT_OP(movss_st_m) { simd_enter(cpu); soft_stm32(cpu, in, XMMD(in->reg)[0]); }
SOFT_OP(movsd_st_r) { simd_enter(cpu); XMM(in->rm)[0] = XMM(in->reg)[0]; }
SOFT_OP(movsd_st_m) { simd_enter(cpu); soft_stm64(cpu, in, XMM(in->reg)[0]); }

SOFT_OP(movhlps) { simd_enter(cpu); XMM(in->reg)[0] = XMM(in->rm)[1]; }
SOFT_OP(movlhps) { simd_enter(cpu); XMM(in->reg)[1] = XMM(in->rm)[0]; }
SOFT_OP(movl_ld) { simd_enter(cpu); XMM(in->reg)[0] = soft_ldm64(cpu, in); }
SOFT_OP(movl_st) { simd_enter(cpu); soft_stm64(cpu, in, XMM(in->reg)[0]); }
SOFT_OP(movh_ld) { simd_enter(cpu); XMM(in->reg)[1] = soft_ldm64(cpu, in); }
SOFT_OP(movh_st) { simd_enter(cpu); soft_stm64(cpu, in, XMM(in->reg)[1]); }
SOFT_OP(movddup)
{
    simd_enter(cpu);
    uint64_t v = in->is_mem ? soft_ldm64(cpu, in) : XMM(in->rm)[0];
    XMM(in->reg)[0] = XMM(in->reg)[1] = v;
}

/* ---- MOVD, MOVQ ------------------------------------------------------------------------------ */
static uint64_t *mm(struct soft_cpu *cpu, unsigned n)
{
    return (uint64_t *)cpu->x87.reg[n & 7];
}

static void set_mm(struct soft_cpu *cpu, unsigned n, uint64_t v)
{
    mmx_touch(cpu);
    *mm(cpu, n) = v;
    mmx_written(cpu, n);
}

/* MMX stores reset the top of stack before they reach memory and set the tags after it, as the hardware does:
 * a fault finds TOP changed. */
static void before_store(struct soft_cpu *cpu)
{
    cpu->x87.fsw &= (uint16_t)~X87_TOP;
}

SOFT_OP(movd_ld_q_32) { mmx_enter(cpu); set_mm(cpu, in->reg, soft_get_rm32(cpu, in)); }
SOFT_OP(movd_ld_q_64) { mmx_enter(cpu); set_mm(cpu, in->reg, soft_get_rm64(cpu, in)); }
SOFT_OP(movd_st_q_32)
{
    mmx_enter(cpu);
    before_store(cpu);
    soft_put_rm32(cpu, in, (uint32_t)*mm(cpu, in->reg));
    mmx_touch(cpu);
}
SOFT_OP(movd_st_q_64)
{
    mmx_enter(cpu);
    before_store(cpu);
    soft_put_rm64(cpu, in, *mm(cpu, in->reg));
    mmx_touch(cpu);
}
SOFT_OP(movd_ld_x_32)
{
    simd_enter(cpu);
    XMM(in->reg)[0] = soft_get_rm32(cpu, in);
    XMM(in->reg)[1] = 0;
}
SOFT_OP(movd_ld_x_64)
{
    simd_enter(cpu);
    XMM(in->reg)[0] = soft_get_rm64(cpu, in);
    XMM(in->reg)[1] = 0;
}
SOFT_OP(movd_st_x_32) { simd_enter(cpu); soft_put_rm32(cpu, in, XMMD(in->reg)[0]); }
SOFT_OP(movd_st_x_64) { simd_enter(cpu); soft_put_rm64(cpu, in, XMM(in->reg)[0]); }

SOFT_OP(movq_ld_q)
{
    mmx_enter(cpu);
    set_mm(cpu, in->reg, in->is_mem ? soft_ldm64(cpu, in) : *mm(cpu, in->rm));
}
SOFT_OP(movq_st_q)
{
    mmx_enter(cpu);
    uint64_t v = *mm(cpu, in->reg);
    if (in->is_mem) {
        before_store(cpu);
        soft_stm64(cpu, in, v);
        mmx_touch(cpu);
    } else {
        set_mm(cpu, in->rm, v);
    }
}
SOFT_OP(movq_ld_x)
{
    simd_enter(cpu);
    XMM(in->reg)[0] = in->is_mem ? soft_ldm64(cpu, in) : XMM(in->rm)[0];
    XMM(in->reg)[1] = 0;
}
SOFT_OP(movq_st_x)
{
    simd_enter(cpu);
    if (in->is_mem) {
        soft_stm64(cpu, in, XMM(in->reg)[0]);
    } else {
        XMM(in->rm)[0] = XMM(in->reg)[0];
        XMM(in->rm)[1] = 0;
    }
}
SOFT_OP(movq2dq)
{
    simd_enter(cpu);
    mmx_enter(cpu);
    mmx_touch(cpu);
    XMM(in->reg)[0] = *mm(cpu, in->rm);
    XMM(in->reg)[1] = 0;
}
SOFT_OP(movdq2q)
{
    simd_enter(cpu);
    mmx_enter(cpu);
    set_mm(cpu, in->reg, XMM(in->rm)[0]);
}
SOFT_OP(movnti_32) { soft_stm32(cpu, in, soft_reg32(cpu, in->reg)); }
SOFT_OP(movnti_64) { soft_stm64(cpu, in, soft_reg64(cpu, in->reg)); }

SOFT_OP(emms)
{
    mmx_enter(cpu);
    cpu->x87.fsw &= (uint16_t)~X87_TOP;
    cpu->x87.ftw_abridged = 0;
}

/* ---- Masked stores to DS:rDI ----------------------------------------------------------------- */
static uint64_t masked_byte(struct soft_cpu *cpu, const struct soft_insn *in, unsigned i)
{
    uint64_t offset = cpu->gpr[GH_RDI] + i;
    if (in->addrsize != 8)
        offset = in->addrsize == 4 ? (uint32_t)offset : (uint16_t)offset;
    return soft_linear(cpu, in->seg, offset, 1, true);
}

static void masked_store(struct soft_cpu *cpu, const struct soft_insn *in, const uint8_t *data,
                         const uint8_t *mask, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        if (mask[i] & 0x80)
            soft_check_write(cpu, masked_byte(cpu, in, i), 1);
    for (unsigned i = 0; i < bytes; i++)
        if (mask[i] & 0x80)
            soft_st8(cpu, masked_byte(cpu, in, i), data[i]);
}

SOFT_OP(maskmovq)
{
    mmx_enter(cpu);
    mmx_touch(cpu);
    masked_store(cpu, in, cpu->x87.reg[in->reg & 7], cpu->x87.reg[in->rm & 7], 8);
}
SOFT_OP(maskmovdqu)
{
    simd_enter(cpu);
    masked_store(cpu, in, xmm_reg(cpu, in->reg), xmm_reg(cpu, in->rm), 16);
}
SOFT_OP(vmaskmovdqu) { avx_enter(cpu); soft_body_maskmovdqu(cpu, in); }
