/* SPDX-License-Identifier: GPL-3.0-or-later */
/* AVX and AVX2: masks, inserts, extracts, blends, tests, permutes, broadcasts, shifts. No MXCSR here. */
#include "engine/accel/soft/simd.h"
#include "engine/accel/soft/simd_thunk.h"
#define X(...)

#define YMM(n) (cpu->ymm[n].q)

/* ---- Regular families ------------------------------------------------------------------------ */
#define SIMD_V(map, op, name, attr)                                                                \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        const void *s = simd_rm(cpu, in, in->opsize, false);                                       \
        void *a = xmm_reg(cpu, in->vvvv), *d = xmm_reg(cpu, in->reg);                              \
        if (in->opsize == 32)                                                                      \
            ASM_VEX3("v" #name, "ymm", d, a, s, struct soft_v32);                                  \
        else                                                                                       \
            V_128(name, d, a, s);                                                                  \
    }
#define V_128(name, d, a, s) V_128_##name(d, a, s)
#define V_PLAIN_(name, d, a, s) ASM_VEX3("v" #name, "xmm", d, a, s, struct soft_v16)
#define V_128_permilps(d, a, s) V_PLAIN_(permilps, d, a, s)
#define V_128_permilpd(d, a, s) V_PLAIN_(permilpd, d, a, s)
#define V_128_psllvd(d, a, s) V_PLAIN_(psllvd, d, a, s)
#define V_128_psllvq(d, a, s) V_PLAIN_(psllvq, d, a, s)
#define V_128_psrlvd(d, a, s) V_PLAIN_(psrlvd, d, a, s)
#define V_128_psrlvq(d, a, s) V_PLAIN_(psrlvq, d, a, s)
#define V_128_psravd(d, a, s) V_PLAIN_(psravd, d, a, s)
#define V_128_permd(d, a, s) soft_ud(cpu) /* 256 bits only */
#define V_128_permps(d, a, s) soft_ud(cpu)

#define SIMD_VB(op, name, bytes, attr)                                                             \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        uint64_t r[4];                                                                             \
        avx_enter(cpu);                                                                            \
        const uint8_t *s = simd_rm(cpu, in, bytes, false);                                         \
        for (unsigned i = 0; i < 32; i += (bytes))                                                 \
            memcpy((uint8_t *)r + i, s, bytes);                                                    \
        memcpy(YMM(in->reg), r, 32);                                                               \
        if (in->opsize == 16)                                                                      \
            avx_clear_upper(cpu, in->reg);                                                         \
    }

/* Thunks: register 0 <- 0, 1, imm8 and, for one source, 0 <- 1, imm8. */
#define RUN_VEX(r, thunk, d, a, s)                                                                 \
    __asm__ volatile("vmovdqu (%[a]), %%" r "0\n\tvmovdqu (%[s]), %%" r "1\n\t" CALL_THUNK         \
                     "vmovdqu %%ymm0, (%[d])\n\tvzeroupper"                                        \
                     : : [d] "r"(d), [a] "r"(a), [s] "r"(s), [t] "r"(thunk) : "xmm0", "xmm1", "memory")

static void run_imm(struct soft_cpu *cpu, const struct soft_insn *in, const void *wide, const void *narrow)
{
    avx_enter(cpu);
    if (!narrow && in->opsize == 16)
        soft_ud(cpu);
    const void *s = simd_rm(cpu, in, in->opsize, false);
    void *d = xmm_reg(cpu, in->reg), *a = xmm_reg(cpu, in->vvvv);
    if (in->opsize == 32)
        RUN_VEX("ymm", wide, d, a, s);
    else
        RUN_VEX("xmm", narrow, d, a, s);
}
THUNKS_(soft_ty_pblendd, "vpblendd " IMM ", %ymm1, %ymm0, %ymm0")
THUNKS_(soft_tv_pblendd, "vpblendd " IMM ", %xmm1, %xmm0, %xmm0")
THUNKS_(soft_ty_perm2f128, "vperm2f128 " IMM ", %ymm1, %ymm0, %ymm0")
THUNKS_(soft_ty_permilps, "vpermilps " IMM ", %ymm1, %ymm0")
THUNKS_(soft_tv_permilps, "vpermilps " IMM ", %xmm1, %xmm0")
THUNKS_(soft_ty_permilpd, "vpermilpd " IMM ", %ymm1, %ymm0")
THUNKS_(soft_tv_permilpd, "vpermilpd " IMM ", %xmm1, %xmm0")
THUNKS_(soft_ty_permq, "vpermq " IMM ", %ymm1, %ymm0")
#define N (in->imm & 0xff)
SOFT_OP(vpblendd) { run_imm(cpu, in, soft_ty_pblendd[N], soft_tv_pblendd[N]); }
SOFT_OP(vperm2f128) { run_imm(cpu, in, soft_ty_perm2f128[N], NULL); }
SOFT_OP(vperm2i128) { run_imm(cpu, in, soft_ty_perm2f128[N], NULL); }
SOFT_OP(vpermilps_i) { run_imm(cpu, in, soft_ty_permilps[N], soft_tv_permilps[N]); }
SOFT_OP(vpermilpd_i) { run_imm(cpu, in, soft_ty_permilpd[N], soft_tv_permilpd[N]); }
SOFT_OP(vpermq) { run_imm(cpu, in, soft_ty_permq[N], NULL); }
SOFT_OP(vpermpd) { run_imm(cpu, in, soft_ty_permq[N], NULL); }
#define SIMD_VIMM(...)
#define SIMD_VUIMM(...)
#define SIMD_FMA(...)
#define SIMD_FMAS(...)
#include "engine/accel/soft/insns_simd.def"

/* ---- Masks, tests ---------------------------------------------------------------------------- */
#define MASK(name)                                                                                 \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        uint32_t r;                                                                                \
        avx_enter(cpu);                                                                            \
        if (in->opsize == 32)                                                                      \
            __asm__("vmovdqa %1, %%ymm0\n\tv" #name " %%ymm0, %0\n\tvzeroupper"                    \
                    : "=r"(r) : "m"(cpu->ymm[in->rm]) : "xmm0");                                   \
        else                                                                                       \
            __asm__("vmovdqa %1, %%xmm0\n\tv" #name " %%xmm0, %0"                                  \
                    : "=r"(r) : "m"(cpu->ymm[in->rm]) : "xmm0");                                   \
        cpu->gpr[in->reg] = r;                                                                     \
    }
MASK(movmskps)
MASK(movmskpd)
MASK(pmovmskb)

#define TEST(name)                                                                                 \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        unsigned flags;                                                                            \
        avx_enter(cpu);                                                                            \
        const void *s = simd_rm(cpu, in, in->opsize, false);                                       \
        if (in->opsize == 32)                                                                      \
            __asm__("vmovdqa %1, %%ymm0\n\tvmovdqu %2, %%ymm1\n\tv" #name " %%ymm1, %%ymm0\n\t"    \
                    "lahf\n\tseto %%al\n\tvzeroupper"                                              \
                    : "=&a"(flags) : "m"(cpu->ymm[in->reg]), "m"(*(const struct soft_v32 *)s)      \
                    : "xmm0", "xmm1", "cc");                                                       \
        else                                                                                       \
            __asm__("vmovdqa %1, %%xmm0\n\tvmovdqu %2, %%xmm1\n\tv" #name " %%xmm1, %%xmm0\n\t"    \
                    "lahf\n\tseto %%al"                                                            \
                    : "=&a"(flags) : "m"(cpu->ymm[in->reg]), "m"(*(const struct soft_v16 *)s)      \
                    : "xmm0", "xmm1", "cc");                                                       \
        cpu->aflags = (soft_aflags)flags;                                                          \
    }
TEST(ptest)
TEST(testps)
TEST(testpd)

/* ---- Blends by a fourth register (imm8 bits 4-7; bits 4-6 outside 64-bit mode) --------------- */
#define BLENDV(name)                                                                               \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        const void *s = simd_rm(cpu, in, in->opsize, false);                                       \
        const void *m = &cpu->ymm[((in->imm >> 4) & (cpu->code_mode == 64 ? 15 : 7))];             \
        if (in->opsize == 32)                                                                      \
            __asm__ volatile("vmovdqa %1, %%ymm0\n\tvmovdqu %2, %%ymm1\n\tvmovdqa %3, %%ymm2\n\t"  \
                             "v" #name " %%ymm2, %%ymm1, %%ymm0, %%ymm0\n\t"                       \
                             "vmovdqa %%ymm0, %0\n\tvzeroupper"                                    \
                             : "=m"(cpu->ymm[in->reg])                                             \
                             : "m"(cpu->ymm[in->vvvv]), "m"(*(const struct soft_v32 *)s),          \
                               "m"(*(const struct soft_v32 *)m) : "xmm0", "xmm1", "xmm2");         \
        else                                                                                       \
            __asm__ volatile("vmovdqa %1, %%xmm0\n\tvmovdqu %2, %%xmm1\n\tvmovdqa %3, %%xmm2\n\t"  \
                             "v" #name " %%xmm2, %%xmm1, %%xmm0, %%xmm0\n\t"                       \
                             "vmovdqa %%ymm0, %0\n\tvzeroupper"                                    \
                             : "=m"(cpu->ymm[in->reg])                                             \
                             : "m"(cpu->ymm[in->vvvv]), "m"(*(const struct soft_v16 *)s),          \
                               "m"(*(const struct soft_v16 *)m) : "xmm0", "xmm1", "xmm2");         \
    }
BLENDV(blendvps)
BLENDV(blendvpd)
BLENDV(pblendvb)

/* ---- Inserts and extracts: the SSE forms on a copy of vvvv ----------------------------------- */
#define INSERT(name, sse, type, lanes, value)                                                      \
    SOFT_OP(name)                                                                                  \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        type v = (type)(value);                                                                    \
        cpu->ymm[in->reg] = cpu->ymm[in->vvvv];                                                    \
        ((type *)YMM(in->reg))[in->imm & ((lanes) - 1)] = v;                                       \
        avx_clear_upper(cpu, in->reg);                                                             \
    }
INSERT(vpinsrb, pinsrb, uint8_t, 16, in->is_mem ? soft_ldm8(cpu, in) : cpu->gpr[in->rm & 15])
INSERT(vpinsrw, pinsrw, uint16_t, 8, in->is_mem ? soft_ldm16(cpu, in) : cpu->gpr[in->rm & 15])
INSERT(vpinsr_32, pinsrd, uint32_t, 4, soft_get_rm32(cpu, in))
INSERT(vpinsr_64, pinsrq, uint64_t, 2, soft_get_rm64(cpu, in))

SOFT_OP(vinsertps)
{
    avx_enter(cpu);
    uint32_t v = in->is_mem ? soft_ldm32(cpu, in) : ((uint32_t *)YMM(in->rm))[(in->imm >> 6) & 3];
    cpu->ymm[in->reg] = cpu->ymm[in->vvvv];
    uint32_t *d = (uint32_t *)YMM(in->reg);
    d[(in->imm >> 4) & 3] = v;
    for (unsigned i = 0; i < 4; i++)
        if (in->imm & (1u << i))
            d[i] = 0;
    avx_clear_upper(cpu, in->reg);
}

/* The VEX form has no alignment check: a copy of the operand in the instruction's own terms. */
SOFT_OP(vaeskeygenassist)
{
    avx_enter(cpu);
    const void *s = simd_rm(cpu, in, 16, false);
    soft_aeskeygenassist(xmm_reg(cpu, in->reg), s, in->imm & 0xff);
    avx_clear_upper(cpu, in->reg);
}

/* ---- Shifts by an immediate ------------------------------------------------------------------ */
#define SHIFT(name)                                                                                \
    SOFT_OP(v##name##_i)                                                                           \
    {                                                                                              \
        struct soft_v16 count = {{(uint8_t)in->imm}};                                              \
        avx_enter(cpu);                                                                            \
        if (in->opsize == 32)                                                                      \
            __asm__ volatile("vmovdqa %1, %%ymm0\n\tvmovdqu %2, %%xmm1\n\t"                        \
                             "v" #name " %%xmm1, %%ymm0, %%ymm0\n\tvmovdqa %%ymm0, %0\n\tvzeroupper" \
                             : "=m"(cpu->ymm[in->vvvv]) : "m"(cpu->ymm[in->rm]), "m"(count)        \
                             : "xmm0", "xmm1");                                                    \
        else                                                                                       \
            __asm__ volatile("vmovdqa %1, %%xmm0\n\tvmovdqu %2, %%xmm1\n\t"                        \
                             "v" #name " %%xmm1, %%xmm0, %%xmm0\n\tvmovdqa %%ymm0, %0\n\tvzeroupper" \
                             : "=m"(cpu->ymm[in->vvvv]) : "m"(cpu->ymm[in->rm]), "m"(count)        \
                             : "xmm0", "xmm1");                                                    \
    }
SHIFT(psrlw)
SHIFT(psraw)
SHIFT(psllw)
SHIFT(psrld)
SHIFT(psrad)
SHIFT(pslld)
SHIFT(psrlq)
SHIFT(psllq)

static void shift_bytes(struct soft_cpu *cpu, const struct soft_insn *in, bool left)
{
    unsigned n = (uint8_t)in->imm;
    uint8_t out[32] = {0}, lane[48] = {0};
    avx_enter(cpu);
    for (unsigned i = 0; i < in->opsize; i += 16) {
        memcpy(lane + 16, (uint8_t *)YMM(in->rm) + i, 16);
        if (n < 16)
            memcpy(out + i, left ? lane + 16 - n : lane + 16 + n, 16);
    }
    memcpy(YMM(in->vvvv), out, 32);
}
SOFT_OP(vpsrldq_i) { shift_bytes(cpu, in, false); }
SOFT_OP(vpslldq_i) { shift_bytes(cpu, in, true); }
