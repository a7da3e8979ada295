/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SSE conversions from and to general and MMX registers, and narrowing packed conversions. */
#include "engine/accel/soft/simd.h"

/* ---- General register <-> scalar ------------------------------------------------------------- */
#define FROM_GPR(name, suffix, bits, gr)                                                           \
    static void name##_##bits##_leaf(void *arg)                                                    \
    {                                                                                              \
        struct soft_fp_call *c = arg;                                                              \
        __asm__ volatile(FP_BEGIN "movdqu (%[a]), %%xmm0\n\t" #name suffix                         \
                         " %" gr "[g], %%xmm0\n\tmovdqu %%xmm0, (%[d])\n\t" FP_END                 \
                         : [csr] "+m"(c->csr)                                                      \
                         : [a] "r"(c->a), [d] "r"(c->d), [g] "r"(c->gpr),                          \
                           [host] "m"(soft_host_mxcsr), [fast] "m"(c->fast)                        \
                         : "xmm0", "memory");                                                      \
    }                                                                                              \
    SOFT_OP(name##_##bits)                                                                         \
    {                                                                                              \
        simd_enter(cpu);                                                                           \
        struct soft_fp_call *c = &cpu->fp_call;                                                    \
        *c = (struct soft_fp_call){.gpr = soft_get_rm##bits(cpu, in)};                             \
        c->a = c->d = xmm_reg(cpu, in->reg);                                                       \
        fp_run(cpu, name##_##bits##_leaf, c);                                                      \
    }
FROM_GPR(cvtsi2ss, "l", 32, "k")
FROM_GPR(cvtsi2ss, "q", 64, "q")
FROM_GPR(cvtsi2sd, "l", 32, "k")
FROM_GPR(cvtsi2sd, "q", 64, "q")

#define TO_GPR(name, suffix, bits, gr, bytes)                                                      \
    static void name##_##bits##_leaf(void *arg)                                                    \
    {                                                                                              \
        struct soft_fp_call *c = arg;                                                              \
        uint64_t r;                                                                                \
        __asm__ volatile(FP_BEGIN "movdqu (%[s]), %%xmm1\n\t" #name suffix                         \
                         " %%xmm1, %" gr "[g]\n\t" FP_END                                          \
                         : [csr] "+m"(c->csr), [g] "=&r"(r)                                        \
                         : [s] "r"(c->s),                                                          \
                           [host] "m"(soft_host_mxcsr), [fast] "m"(c->fast) : "xmm1", "memory");   \
        c->gpr = r;                                                                                \
    }                                                                                              \
    SOFT_OP(name##_##bits)                                                                         \
    {                                                                                              \
        simd_enter(cpu);                                                                           \
        struct soft_fp_call *c = &cpu->fp_call;                                                    \
        *c = (struct soft_fp_call){.s = simd_rm(cpu, in, bytes, false)};                           \
        fp_run(cpu, name##_##bits##_leaf, c);                                                      \
        soft_set_reg##bits(cpu, in->reg, (uint##bits##_t)c->gpr);                                  \
    }
TO_GPR(cvtss2si, "l", 32, "k", 4)
TO_GPR(cvtss2si, "q", 64, "q", 4)
TO_GPR(cvttss2si, "l", 32, "k", 4)
TO_GPR(cvttss2si, "q", 64, "q", 4)
TO_GPR(cvtsd2si, "l", 32, "k", 8)
TO_GPR(cvtsd2si, "q", 64, "q", 8)
TO_GPR(cvttsd2si, "l", 32, "k", 8)
TO_GPR(cvttsd2si, "q", 64, "q", 8)

/* The VEX forms do the same. */
#define VEX_TO_GPR(name) SOFT_OP(v##name) { avx_enter(cpu); soft_body_##name(cpu, in); }
VEX_TO_GPR(cvtss2si_32)
VEX_TO_GPR(cvtss2si_64)
VEX_TO_GPR(cvttss2si_32)
VEX_TO_GPR(cvttss2si_64)
VEX_TO_GPR(cvtsd2si_32)
VEX_TO_GPR(cvtsd2si_64)
VEX_TO_GPR(cvttsd2si_32)
VEX_TO_GPR(cvttsd2si_64)

/* ---- MMX register <-> packed ----------------------------------------------------------------- */
/* The MMX side goes through memory operands of the host instruction or MM0; EMMS afterwards. */
FP_LEAF(cvtpi2ps_leaf, "movdq2q %%xmm1, %%mm0\n\tcvtpi2ps %%mm0, %%xmm0\n\temms")

SOFT_OP(cvtpi2ps)
{
    struct soft_vec operand;
    simd_enter(cpu);
    if (!in->is_mem) { /* from memory it is no MMX instruction */
        mmx_enter(cpu);
        mmx_touch(cpu);
    }
    memset(&operand, 0, 16);
    memcpy(&operand, mmx_rm(cpu, in, 8), 8);
    struct soft_fp_call *c = &cpu->fp_call;
    *c = (struct soft_fp_call){.s = &operand};
    c->a = c->d = xmm_reg(cpu, in->reg);
    fp_run(cpu, cvtpi2ps_leaf, c);
}

/* Always exact: no MXCSR. */
SOFT_OP(cvtpi2pd)
{
    simd_enter(cpu);
    if (!in->is_mem)
        mmx_enter(cpu);
    const void *s = mmx_rm(cpu, in, 8);
    if (!in->is_mem)
        mmx_touch(cpu);
    __asm__ volatile("movq %1, %%xmm1\n\tcvtdq2pd %%xmm1, %%xmm0\n\tmovdqa %%xmm0, %0"
                     : "=m"(cpu->ymm[in->reg]) : "m"(*(const uint64_t *)s) : "xmm0", "xmm1");
}

#define TO_MMX(name, bytes)                                                                        \
    FP_LEAF(name##_leaf, #name " %%xmm1, %%mm0\n\tmovq2dq %%mm0, %%xmm0\n\temms")                  \
    SOFT_OP(name)                                                                                  \
    {                                                                                              \
        struct soft_vec result;                                                                    \
        memset(&result, 0, 16);                                                                    \
        simd_enter(cpu);                                                                           \
        mmx_enter(cpu);                                                                            \
        struct soft_fp_call *c = &cpu->fp_call;                                                    \
        *c = (struct soft_fp_call){.s = simd_rm(cpu, in, bytes, (bytes) == 16), .a = &result,      \
                            .d = &result};                                                         \
        mmx_touch(cpu);                                                                            \
        fp_run(cpu, name##_leaf, c);                                                               \
        memcpy(cpu->x87.reg[in->reg & 7], &result, 8);                                             \
        mmx_written(cpu, in->reg);                                                                 \
    }
TO_MMX(cvtps2pi, 8)
TO_MMX(cvttps2pi, 8)
TO_MMX(cvtpd2pi, 16)
TO_MMX(cvttpd2pi, 16)

/* ---- Narrowing packed conversions ------------------------------------------------------------ */
#define NARROW(name)                                                                               \
    FP_LEAF(name##_leaf, #name " %%xmm1, %%xmm0")                                                  \
    SOFT_OP(name)                                                                                  \
    {                                                                                              \
        simd_enter(cpu);                                                                           \
        struct soft_fp_call *c = &cpu->fp_call;                                                    \
        *c = (struct soft_fp_call){.s = simd_rm(cpu, in, 16, true)};                               \
        c->a = c->d = xmm_reg(cpu, in->reg);                                                       \
        fp_run(cpu, name##_leaf, c);                                                               \
    }
NARROW(cvtpd2ps)
NARROW(cvtpd2dq)
NARROW(cvttpd2dq)
