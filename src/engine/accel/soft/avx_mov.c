/* SPDX-License-Identifier: GPL-3.0-or-later */
/* AVX moves, broadcasts of lanes, masked loads and stores, gathers. Every write of a 128-bit result clears
 * the upper half. */
#include "engine/accel/soft/simd.h"

#define YMM(n) (cpu->ymm[n].q)

static inline void load(struct soft_cpu *cpu, const struct soft_insn *in, bool aligned)
{
    avx_enter(cpu);
    const void *s = simd_rm(cpu, in, in->opsize, aligned);
    memmove(&cpu->ymm[in->reg], s, in->opsize);
    if (in->opsize == 16)
        avx_clear_upper(cpu, in->reg);
}

static inline void store(struct soft_cpu *cpu, const struct soft_insn *in, bool aligned)
{
    avx_enter(cpu);
    if (in->is_mem) {
        simd_store(cpu, simd_addr(cpu, in, in->opsize, aligned, true), &cpu->ymm[in->reg], in->opsize);
        return;
    }
    memmove(&cpu->ymm[in->rm], &cpu->ymm[in->reg], in->opsize);
    if (in->opsize == 16)
        avx_clear_upper(cpu, in->rm);
}

SOFT_OP(vmova_ld) { load(cpu, in, true); }
SOFT_OP(vmovu_ld) { load(cpu, in, false); }
SOFT_OP(vmova_st) { store(cpu, in, true); }
SOFT_OP(vmovu_st) { store(cpu, in, false); }

/* ---- Scalars and halves ---------------------------------------------------------------------- */
static void set128(struct soft_cpu *cpu, unsigned n, uint64_t low, uint64_t high)
{
    YMM(n)[0] = low;
    YMM(n)[1] = high;
    avx_clear_upper(cpu, n);
}

static uint64_t merge32(uint64_t into, uint64_t low)
{
    return (into & ~0xffffffffull) | (uint32_t)low;
}

SOFT_OP(vmovss_ld) { avx_enter(cpu); set128(cpu, in->reg, soft_ldm32(cpu, in), 0); }
SOFT_OP(vmovsd_ld) { avx_enter(cpu); set128(cpu, in->reg, soft_ldm64(cpu, in), 0); }
SOFT_OP(vmovss_st) { avx_enter(cpu); soft_stm32(cpu, in, (uint32_t)YMM(in->reg)[0]); }
SOFT_OP(vmovsd_st) { avx_enter(cpu); soft_stm64(cpu, in, YMM(in->reg)[0]); }
SOFT_OP(vmovss_rr)
{
    avx_enter(cpu);
    set128(cpu, in->reg, merge32(YMM(in->vvvv)[0], YMM(in->rm)[0]), YMM(in->vvvv)[1]);
}
SOFT_OP(vmovss_rs)
{
    avx_enter(cpu);
    set128(cpu, in->rm, merge32(YMM(in->vvvv)[0], YMM(in->reg)[0]), YMM(in->vvvv)[1]);
}
SOFT_OP(vmovsd_rr) { avx_enter(cpu); set128(cpu, in->reg, YMM(in->rm)[0], YMM(in->vvvv)[1]); }
SOFT_OP(vmovsd_rs) { avx_enter(cpu); set128(cpu, in->rm, YMM(in->reg)[0], YMM(in->vvvv)[1]); }
SOFT_OP(vmovhlps) { avx_enter(cpu); set128(cpu, in->reg, YMM(in->rm)[1], YMM(in->vvvv)[1]); }
SOFT_OP(vmovlhps) { avx_enter(cpu); set128(cpu, in->reg, YMM(in->vvvv)[0], YMM(in->rm)[0]); }
SOFT_OP(vmovl_ld) { avx_enter(cpu); set128(cpu, in->reg, soft_ldm64(cpu, in), YMM(in->vvvv)[1]); }
SOFT_OP(vmovh_ld) { avx_enter(cpu); set128(cpu, in->reg, YMM(in->vvvv)[0], soft_ldm64(cpu, in)); }
SOFT_OP(vmovl_st) { avx_enter(cpu); soft_stm64(cpu, in, YMM(in->reg)[0]); }
SOFT_OP(vmovh_st) { avx_enter(cpu); soft_stm64(cpu, in, YMM(in->reg)[1]); }
SOFT_OP(vmovddup)
{
    uint64_t s[4];
    avx_enter(cpu);
    memcpy(s, simd_rm(cpu, in, in->opsize == 32 ? 32 : 8, false), in->opsize == 32 ? 32 : 8);
    set128(cpu, in->reg, s[0], s[0]);
    if (in->opsize == 32)
        YMM(in->reg)[2] = YMM(in->reg)[3] = s[2];
}
SOFT_OP(vmovd_ld_32) { avx_enter(cpu); set128(cpu, in->reg, soft_get_rm32(cpu, in), 0); }
SOFT_OP(vmovd_ld_64) { avx_enter(cpu); set128(cpu, in->reg, soft_get_rm64(cpu, in), 0); }
SOFT_OP(vmovd_st_32) { avx_enter(cpu); soft_put_rm32(cpu, in, (uint32_t)YMM(in->reg)[0]); }
SOFT_OP(vmovd_st_64) { avx_enter(cpu); soft_put_rm64(cpu, in, YMM(in->reg)[0]); }
SOFT_OP(vmovq_ld) { avx_enter(cpu); set128(cpu, in->reg, in->is_mem ? soft_ldm64(cpu, in) : YMM(in->rm)[0], 0); }
SOFT_OP(vmovq_st)
{
    avx_enter(cpu);
    if (in->is_mem)
        soft_stm64(cpu, in, YMM(in->reg)[0]);
    else
        set128(cpu, in->rm, YMM(in->reg)[0], 0);
}

SOFT_OP(vzeroupper)
{
    avx_enter(cpu);
    for (unsigned i = 0; i < (cpu->code_mode == 64 ? 16u : 8u); i++)
        avx_clear_upper(cpu, i);
}
SOFT_OP(vzeroall)
{
    avx_enter(cpu);
    memset(cpu->ymm, 0, (cpu->code_mode == 64 ? 16u : 8u) * sizeof *cpu->ymm);
}

/* ---- Lanes ----------------------------------------------------------------------------------- */
SOFT_OP(vbroadcast128)
{
    avx_enter(cpu);
    const void *s = simd_rm(cpu, in, 16, false);
    memcpy(YMM(in->reg), s, 16);
    memcpy(YMM(in->reg) + 2, s, 16);
}
SOFT_OP(vinsert128)
{
    uint64_t lane[2];
    avx_enter(cpu);
    memcpy(lane, simd_rm(cpu, in, 16, false), 16);
    struct soft_ymm r = cpu->ymm[in->vvvv];
    memcpy(r.q + (in->imm & 1) * 2, lane, 16);
    cpu->ymm[in->reg] = r;
}
SOFT_OP(vextract128)
{
    avx_enter(cpu);
    const uint64_t *lane = YMM(in->reg) + (in->imm & 1) * 2;
    if (in->is_mem)
        simd_store(cpu, simd_addr(cpu, in, 16, false, true), lane, 16);
    else
        set128(cpu, in->rm, lane[0], lane[1]);
}

/* ---- Masked elements: memory is touched only where the mask's sign bit is set ---------------- */
#define ELEMENT(write)                                                                             \
    soft_linear(cpu, in->seg, offset + i * sizeof *mask, sizeof *mask, write)
#define MASKED(n, type)                                                                            \
    SOFT_OP(vmask##n##_ld)                                                                         \
    {                                                                                              \
        type r[32 / sizeof(type)] = {0};                                                           \
        avx_enter(cpu);                                                                            \
        const type *mask = (const type *)YMM(in->vvvv);                                            \
        uint64_t offset = soft_offset(cpu, in);                                                    \
        for (unsigned i = 0; i < in->opsize / sizeof(type); i++)                                   \
            if (mask[i] >> (n - 1))                                                                \
                r[i] = soft_ld##n(cpu, ELEMENT(false));                                            \
        memcpy(YMM(in->reg), r, 32);                                                               \
    }                                                                                              \
    SOFT_OP(vmask##n##_st)                                                                         \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        const type *mask = (const type *)YMM(in->vvvv), *v = (const type *)YMM(in->reg);           \
        uint64_t offset = soft_offset(cpu, in);                                                    \
        for (unsigned i = 0; i < in->opsize / sizeof(type); i++)                                   \
            if (mask[i] >> (n - 1))                                                                \
                soft_check_write(cpu, ELEMENT(true), sizeof(type));                                \
        for (unsigned i = 0; i < in->opsize / sizeof(type); i++)                                   \
            if (mask[i] >> (n - 1))                                                                \
                soft_st##n(cpu, ELEMENT(true), v[i]);                                              \
    }
MASKED(32, uint32_t)
MASKED(64, uint64_t)

/* ---- Gathers: elements done before a fault stay done, their mask elements are cleared -------- */
/* From the least significant element up, as the architecture promises for faults. */
#define GATHER(name, itype, n, type, count_of)                                                     \
    SOFT_OP(vgather_##name)                                                                        \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        if (in->reg == in->vvvv || in->reg == in->index || in->vvvv == in->index || in->addrsize == 2) \
            soft_ud(cpu);                                                                          \
        unsigned count = in->opsize / (count_of);                                                  \
        type *d = (type *)YMM(in->reg), *mask = (type *)YMM(in->vvvv);                             \
        const itype *index = (const itype *)YMM(in->index);                                        \
        uint64_t base = soft_any_reg(cpu, in->base) + (int64_t)in->disp;                           \
        if (in->base == SOFT_RIP_REG)                                                              \
            soft_ud(cpu);                                                                          \
        for (unsigned i = 0; i < in->opsize / sizeof(type); i++)                                   \
            mask[i] = (type)(mask[i] >> (n - 1) ? (type)~(type)0 : 0);                             \
        memset((uint8_t *)mask + in->opsize, 0, 32u - in->opsize);                                 \
        for (unsigned i = 0; i < count; i++) {                                                     \
            if (!mask[i])                                                                          \
                continue;                                                                          \
            uint64_t offset = base + ((uint64_t)(int64_t)index[i] << in->scale);                   \
            if (in->addrsize == 4)                                                                 \
                offset = (uint32_t)offset;                                                         \
            d[i] = soft_ld##n(cpu, soft_linear(cpu, in->seg, offset, n / 8, false));               \
            mask[i] = 0;                                                                           \
            memset((uint8_t *)d + in->opsize, 0, 32u - in->opsize);                                \
        }                                                                                          \
        memset((uint8_t *)d + count * sizeof(type), 0, 32 - count * sizeof(type));                 \
        memset(mask, 0, 32);                                                                       \
    }
GATHER(dd, int32_t, 32, uint32_t, 4)
GATHER(dq, int32_t, 64, uint64_t, 8)
GATHER(qd, int64_t, 32, uint32_t, 8)
GATHER(qq, int64_t, 64, uint64_t, 8)
