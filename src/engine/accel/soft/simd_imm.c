/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Regular vector instructions with an immediate byte, by thunks: register 0 is destination and first
 * source, register 1 the second source or the only one.
 */
#include "engine/accel/soft/simd.h"
#include "engine/accel/soft/simd_thunk.h"
#define X(...)

#define THUNKS_SSE(name) THUNKS_(soft_t_##name, #name " " IMM ", %xmm1, %xmm0")
#define THUNKS_VEX3(name)                                                                          \
    THUNKS_(soft_tv_##name, "v" #name " " IMM ", %xmm1, %xmm0, %xmm0")                             \
    THUNKS_(soft_ty_##name, "v" #name " " IMM ", %ymm1, %ymm0, %ymm0")
#define THUNKS_VEX3S(name) THUNKS_(soft_tv_##name, "v" #name " " IMM ", %xmm1, %xmm0, %xmm0")
#define THUNKS_VEX2(name)                                                                          \
    THUNKS_(soft_tv_##name, "v" #name " " IMM ", %xmm1, %xmm0")                                    \
    THUNKS_(soft_ty_##name, "v" #name " " IMM ", %ymm1, %ymm0")

static inline void run_xmm(const void *thunk, void *d, const void *s)
{
    __asm__ volatile("movdqa (%[d]), %%xmm0\n\tmovdqu (%[s]), %%xmm1\n\t" CALL_THUNK
                     "movdqa %%xmm0, (%[d])"
                     : : [d] "r"(d), [s] "r"(s), [t] "r"(thunk) : "xmm0", "xmm1", "memory");
}

static inline void run_vex128(const void *thunk, void *d, const void *a, const void *s)
{
    __asm__ volatile("vmovdqu (%[a]), %%xmm0\n\tvmovdqu (%[s]), %%xmm1\n\t" CALL_THUNK
                     "vmovdqu %%ymm0, (%[d])\n\tvzeroupper"
                     : : [d] "r"(d), [a] "r"(a), [s] "r"(s), [t] "r"(thunk) : "xmm0", "xmm1", "memory");
}

static inline void run_vex256(const void *thunk, void *d, const void *a, const void *s)
{
    __asm__ volatile("vmovdqu (%[a]), %%ymm0\n\tvmovdqu (%[s]), %%ymm1\n\t" CALL_THUNK
                     "vmovdqu %%ymm0, (%[d])\n\tvzeroupper"
                     : : [d] "r"(d), [a] "r"(a), [s] "r"(s), [t] "r"(thunk) : "xmm0", "xmm1", "memory");
}

#define THUNK_LEAF(leaf, load, r, store)                                                           \
    static void leaf(void *arg)                                                                    \
    {                                                                                              \
        struct soft_fp_call *c = arg;                                                              \
        __asm__ volatile(FP_BEGIN "" load " (%[a]), %%" r "0\n\t" load                             \
                         " (%[s]), %%" r "1\n\t" CALL_THUNK store "\n\t" FP_END                    \
                         : [csr] "+m"(c->csr)                                                      \
                         : [a] "r"(c->a), [s] "r"(c->s), [d] "r"(c->d), [t] "r"(c->thunk),         \
                           [host] "m"(soft_host_mxcsr), [fast] "m"(c->fast)                        \
                         : "xmm0", "xmm1", "memory");                                              \
    }
THUNK_LEAF(fp_xmm, "movdqu", "xmm", "movdqu %%xmm0, (%[d])")
THUNK_LEAF(fp_vex128, "vmovdqu", "xmm", "vmovdqu %%ymm0, (%[d])\n\tvzeroupper")
THUNK_LEAF(fp_vex256, "vmovdqu", "ymm", "vmovdqu %%ymm0, (%[d])\n\tvzeroupper")

#define SSE_IMM(name, bytes)                                                                       \
    SOFT_OP(name##_x)                                                                              \
    {                                                                                              \
        simd_enter(cpu);                                                                           \
        const void *s = simd_rm(cpu, in, bytes, (bytes) == 16);                                    \
        run_xmm(soft_t_##name[in->imm & 0xff], xmm_reg(cpu, in->reg), s);                          \
    }
#define VEX_IMM(name)                                                                              \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        const void *s = simd_rm(cpu, in, in->opsize, false);                                       \
        void *d = xmm_reg(cpu, in->reg), *a = xmm_reg(cpu, in->vvvv);                              \
        if (in->opsize == 32)                                                                      \
            run_vex256(soft_ty_##name[in->imm & 0xff], d, a, s);                                   \
        else                                                                                       \
            run_vex128(soft_tv_##name[in->imm & 0xff], d, a, s);                                   \
    }
#define VEX_IMM128(name)                                                                           \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        const void *s = simd_rm(cpu, in, 16, false);                                               \
        run_vex128(soft_tv_##name[in->imm & 0xff], xmm_reg(cpu, in->reg),                          \
                   xmm_reg(cpu, in->vvvv), s);                                                     \
    }
#define SSE_FIMM(name, bytes)                                                                      \
    SOFT_OP(name##_x)                                                                              \
    {                                                                                              \
        simd_enter(cpu);                                                                           \
        struct soft_fp_call *c = &cpu->fp_call;                                                    \
        *c = (struct soft_fp_call){.s = simd_rm(cpu, in, bytes, (bytes) == 16),                    \
                            .thunk = soft_t_##name[in->imm & 0xff]};                               \
        c->a = c->d = xmm_reg(cpu, in->reg);                                                       \
        fp_run(cpu, fp_xmm, c);                                                                    \
    }
#define VEX_FIMM(name)                                                                             \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        bool wide = in->opsize == 32;                                                              \
        struct soft_fp_call *c = &cpu->fp_call;                                                    \
        *c = (struct soft_fp_call){.s = simd_rm(cpu, in, in->opsize, false),                       \
                            .thunk = wide ? soft_ty_##name[in->imm & 0xff]                         \
                                          : soft_tv_##name[in->imm & 0xff]};                       \
        c->a = xmm_reg(cpu, in->vvvv);                                                             \
        c->d = xmm_reg(cpu, in->reg);                                                              \
        fp_run(cpu, wide ? fp_vex256 : fp_vex128, c);                                              \
    }
#define VEX_FSIMM(name, bytes)                                                                     \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        struct soft_fp_call *c = &cpu->fp_call;                                                    \
        *c = (struct soft_fp_call){.s = simd_rm(cpu, in, bytes, false),                            \
                            .thunk = soft_tv_##name[in->imm & 0xff]};                              \
        c->a = xmm_reg(cpu, in->vvvv);                                                             \
        c->d = xmm_reg(cpu, in->reg);                                                              \
        fp_run(cpu, fp_vex128, c);                                                                 \
    }

#define SIMD_IMM(map, prefix, op, name, bytes) THUNKS_SSE(name) THUNKS_VEX3(name) SSE_IMM(name, bytes) VEX_IMM(name)
#define SIMD_IMM1(map, prefix, op, name, bytes) THUNKS_SSE(name) THUNKS_VEX3S(name) SSE_IMM(name, bytes) VEX_IMM128(name)
#define SIMD_UIMM(map, prefix, op, name) THUNKS_SSE(name) THUNKS_VEX2(name) SSE_IMM(name, 16) VEX_IMM(name)
#define SIMD_FIMM(map, prefix, op, name) THUNKS_SSE(name) THUNKS_VEX3(name) SSE_FIMM(name, 16) VEX_FIMM(name)
#define SIMD_FSIMM(map, prefix, op, name, bytes) THUNKS_SSE(name) THUNKS_VEX3S(name) SSE_FIMM(name, bytes) VEX_FSIMM(name, bytes)
#define SIMD_FUIMM(map, prefix, op, name) THUNKS_SSE(name) THUNKS_VEX2(name) SSE_FIMM(name, 16) VEX_FIMM(name)
#include "engine/accel/soft/insns_simd.def"
