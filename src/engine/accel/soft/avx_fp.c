/* SPDX-License-Identifier: GPL-3.0-or-later */
/* AVX conversions, dot product, F16C and FMA: everything irregular that reads MXCSR. */
#include "engine/accel/soft/simd.h"
#include "engine/accel/soft/simd_thunk.h"
#define X(...)

/* Leaf: r0 = d, r1 = a, r2 = s; the result is the whole of ymm0. */
#define LEAF(leaf, r, s_r, code)                                                                   \
    static void leaf(void *arg)                                                                    \
    {                                                                                              \
        struct soft_fp_call *c = arg;                                                              \
        __asm__ volatile(FP_BEGIN "vmovdqu (%[d]), %%" r "0\n\tvmovdqu (%[a]), %%" r               \
                         "1\n\tvmovdqu (%[s]), %%" s_r "2\n\t" code                                \
                         "\n\tvmovdqu %%ymm0, (%[d])\n\tvzeroupper\n\t" FP_END                     \
                         : [csr] "+m"(c->csr)                                                      \
                         : [a] "r"(c->a), [s] "r"(c->s), [d] "r"(c->d), [g] "r"(c->gpr),           \
                           [host] "m"(soft_host_mxcsr), [fast] "m"(c->fast)                        \
                         : "xmm0", "xmm1", "xmm2", "memory");                                      \
    }

static inline __attribute__((always_inline)) void run(struct soft_cpu *cpu, const struct soft_insn *in,
                                                      void (*leaf)(void *), unsigned bytes)
{
    avx_enter(cpu);
    struct soft_fp_call *c = &cpu->fp_call;
    *c = (struct soft_fp_call){.s = simd_rm(cpu, in, bytes, false)};
    c->a = xmm_reg(cpu, in->vvvv);
    c->d = xmm_reg(cpu, in->reg);
    fp_run(cpu, leaf, c);
}

/* ---- FMA ------------------------------------------------------------------------------------- */
#define FMA_PACKED(name)                                                                           \
    LEAF(name##_128, "xmm", "xmm", "v" #name " %%xmm2, %%xmm1, %%xmm0")                            \
    LEAF(name##_256, "ymm", "ymm", "v" #name " %%ymm2, %%ymm1, %%ymm0")                            \
    SOFT_OP(v##name) { run(cpu, in, in->opsize == 32 ? name##_256 : name##_128, in->opsize); }
#define FMA_SCALAR(name, bytes)                                                                    \
    LEAF(name##_128, "xmm", "xmm", "v" #name " %%xmm2, %%xmm1, %%xmm0")                            \
    SOFT_OP(v##name) { run(cpu, in, name##_128, bytes); }
#define SIMD_FMA(op, name) FMA_PACKED(name##ps) FMA_PACKED(name##pd)
#define SIMD_FMAS(op, name) FMA_SCALAR(name##ss, 4) FMA_SCALAR(name##sd, 8)
#include "engine/accel/soft/insns_simd.def"

/* ---- Narrowing and widening conversions ------------------------------------------------------ */
#define NARROW(name)                                                                               \
    LEAF(name##_128, "xmm", "xmm", "v" #name " %%xmm2, %%xmm0")                                    \
    LEAF(name##_256, "ymm", "ymm", "v" #name " %%ymm2, %%xmm0")                                    \
    SOFT_OP(v##name) { run(cpu, in, in->opsize == 32 ? name##_256 : name##_128, in->opsize); }
NARROW(cvtpd2ps)
NARROW(cvtpd2dq)
NARROW(cvttpd2dq)

LEAF(cvtph2ps_128, "xmm", "xmm", "vcvtph2ps %%xmm2, %%xmm0")
LEAF(cvtph2ps_256, "ymm", "xmm", "vcvtph2ps %%xmm2, %%ymm0")
SOFT_OP(vcvtph2ps) { run(cpu, in, in->opsize == 32 ? cvtph2ps_256 : cvtph2ps_128, in->opsize / 2); }

THUNKS_(soft_tv_cvtps2ph, "vcvtps2ph " IMM ", %xmm2, %xmm0")
THUNKS_(soft_ty_cvtps2ph, "vcvtps2ph " IMM ", %ymm2, %xmm0")
THUNKS_(soft_tv_dppd, "vdppd " IMM ", %xmm2, %xmm1, %xmm0")
#define THUNK_LEAF(leaf, r)                                                                        \
    static void leaf(void *arg)                                                                    \
    {                                                                                              \
        struct soft_fp_call *c = arg;                                                              \
        __asm__ volatile(FP_BEGIN "vmovdqu (%[a]), %%" r "1\n\tvmovdqu (%[s]), %%" r               \
                         "2\n\t" CALL_THUNK "vmovdqu %%ymm0, (%[d])\n\tvzeroupper\n\t"             \
                         "" FP_END                                                                 \
                         : [csr] "+m"(c->csr)                                                      \
                         : [a] "r"(c->a), [s] "r"(c->s), [d] "r"(c->d), [t] "r"(c->thunk),         \
                           [host] "m"(soft_host_mxcsr), [fast] "m"(c->fast)                        \
                         : "xmm0", "xmm1", "xmm2", "memory");                                      \
    }
THUNK_LEAF(thunk_128, "xmm")
THUNK_LEAF(thunk_256, "ymm")

SOFT_OP(vcvtps2ph)
{
    struct soft_vec result;
    bool wide = in->opsize == 32;
    avx_enter(cpu);
    struct soft_fp_call *c = &cpu->fp_call;
    *c = (struct soft_fp_call){.d = &result, .a = xmm_reg(cpu, in->reg), .s = xmm_reg(cpu, in->reg),
                        .thunk = wide ? soft_ty_cvtps2ph[in->imm & 0xff] : soft_tv_cvtps2ph[in->imm & 0xff]};
    if (in->is_mem) {
        fp_run(cpu, wide ? thunk_256 : thunk_128, c); /* a page fault finds MXCSR's flags set */
        simd_store(cpu, soft_addr(cpu, in, in->opsize / 2, true), &result, in->opsize / 2);
    } else {
        fp_run(cpu, wide ? thunk_256 : thunk_128, c);
        memcpy(&cpu->ymm[in->rm], &result, 32);
    }
}

SOFT_OP(vdppd)
{
    avx_enter(cpu);
    struct soft_fp_call *c = &cpu->fp_call;
    *c = (struct soft_fp_call){.s = simd_rm(cpu, in, 16, false), .thunk = soft_tv_dppd[in->imm & 0xff]};
    c->a = xmm_reg(cpu, in->vvvv);
    c->d = xmm_reg(cpu, in->reg);
    fp_run(cpu, thunk_128, c);
}

/* ---- General registers ----------------------------------------------------------------------- */
#define FROM_GPR(name, suffix, bits, gr)                                                           \
    LEAF(name##_##bits, "xmm", "xmm", "v" #name suffix " %" gr "[g], %%xmm1, %%xmm0")              \
    SOFT_OP(v##name##_##bits)                                                                      \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        struct soft_fp_call *c = &cpu->fp_call;                                                    \
        *c = (struct soft_fp_call){.gpr = soft_get_rm##bits(cpu, in)};                             \
        c->a = c->s = xmm_reg(cpu, in->vvvv);                                                      \
        c->d = xmm_reg(cpu, in->reg);                                                              \
        fp_run(cpu, name##_##bits, c);                                                             \
    }
FROM_GPR(cvtsi2ss, "l", 32, "k")
FROM_GPR(cvtsi2ss, "q", 64, "q")
FROM_GPR(cvtsi2sd, "l", 32, "k")
FROM_GPR(cvtsi2sd, "q", 64, "q")
