/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The regular floating point vector instructions, which read and write MXCSR, and the way an
 * unmasked exception becomes #XM before the destination is written.
 */
#include "engine/accel/soft/simd.h"
#define X(...)

const uint32_t soft_host_mxcsr = MXCSR_DEFAULT;

void soft_fp_run_unmasked(struct soft_cpu *cpu, void (*leaf)(void *), struct soft_fp_call *c);
void soft_fp_run_unmasked(struct soft_cpu *cpu, void (*leaf)(void *), struct soft_fp_call *c)
{
    uint32_t mxcsr;
    if (soft_fpu_guarded(leaf, c, &mxcsr))
        return;
    cpu->mxcsr = mxcsr;
    soft_raise(cpu, cpu->cr4 & SOFT_CR4_OSXMMEXCPT ? SOFT_XM : SOFT_UD);
}

_Noreturn void soft_simd_refuse(struct soft_cpu *cpu)
{
    soft_raise(cpu, (cpu->cr0 & SOFT_CR0_EM) || !(cpu->cr4 & SOFT_CR4_OSFXSR) ? SOFT_UD : SOFT_NM);
}

_Noreturn void soft_avx_refuse(struct soft_cpu *cpu)
{
    unsigned off = AVX_KEYS & ~SOFT_KEY_TS & ~cpu->state_key;
    soft_raise(cpu, off ? SOFT_UD : SOFT_NM);
}

const void *soft_simd_operand(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes, bool aligned)
{
    struct soft_vec *buf = &cpu->vec_buf;
    uint64_t linear = simd_addr(cpu, in, bytes, aligned, false);
    const void *host = soft_hit_read(cpu, linear, bytes);
    if (bytes < 16)
        memset(buf, 0, 16);
    if (soft_likely(host != NULL))
        memcpy(buf, host, bytes);
    else
        soft_read(cpu, linear, buf, bytes);
    return buf;
}

#define SSE_BODY(leaf, bytes, aligned)                                                             \
    simd_enter(cpu);                                                                               \
    struct soft_fp_call *c = &cpu->fp_call;                                                        \
    *c = (struct soft_fp_call){.s = simd_rm(cpu, in, bytes, aligned)};                             \
    c->a = c->d = xmm_reg(cpu, in->reg);                                                           \
    fp_run(cpu, leaf, c);

#define SSE_FP(name, bytes)                                                                        \
    FP_LEAF(name##_leaf, #name " %%xmm1, %%xmm0")                                                  \
    SOFT_OP(name##_x)                                                                              \
    {                                                                                              \
        SSE_BODY(name##_leaf, bytes, (bytes) == 16)                                                \
    }

/* VEX leaf: r0 = a, r1 = s; the whole of ymm0 is the result. */
#define VEX_LEAF(leaf, r, s_r, code)                                                               \
    static void leaf(void *arg)                                                                    \
    {                                                                                              \
        struct soft_fp_call *c = arg;                                                              \
        __asm__ volatile(FP_BEGIN "vmovdqu (%[a]), %%" r "0\n\t"                                   \
                         "vmovdqu (%[s]), %%" s_r "1\n\t" code                                     \
                         "\n\tvmovdqu %%ymm0, (%[d])\n\tvzeroupper\n\t" FP_END                     \
                         : [csr] "+m"(c->csr)                                                      \
                         : [a] "r"(c->a), [s] "r"(c->s), [d] "r"(c->d),                            \
                           [host] "m"(soft_host_mxcsr), [fast] "m"(c->fast)                        \
                         : "xmm0", "xmm1", "memory");                                              \
    }
#define VEX_BODY(bytes)                                                                            \
    avx_enter(cpu);                                                                                \
    struct soft_fp_call *c = &cpu->fp_call;                                                        \
    *c = (struct soft_fp_call){.s = simd_rm(cpu, in, bytes, false)};                               \
    c->a = xmm_reg(cpu, in->vvvv);                                                                 \
    c->d = xmm_reg(cpu, in->reg);

#define VEX_FP(name)                                                                               \
    VEX_LEAF(v##name##_leaf128, "xmm", "xmm", "v" #name " %%xmm1, %%xmm0, %%xmm0")                 \
    VEX_LEAF(v##name##_leaf256, "ymm", "ymm", "v" #name " %%ymm1, %%ymm0, %%ymm0")                 \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        VEX_BODY(in->opsize)                                                                       \
        fp_run(cpu, in->opsize == 32 ? v##name##_leaf256 : v##name##_leaf128, c);                  \
    }
#define VEX_FS(name, bytes)                                                                        \
    VEX_LEAF(v##name##_leaf, "xmm", "xmm", "v" #name " %%xmm1, %%xmm0, %%xmm0")                    \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        VEX_BODY(bytes)                                                                            \
        fp_run(cpu, v##name##_leaf, c);                                                            \
    }
/* One source; s_r is the source register of the 256-bit form. */
#define VEX_FU(name, bytes, vbytes, s_r)                                                           \
    VEX_LEAF(v##name##_leaf128, "xmm", "xmm", "v" #name " %%xmm1, %%xmm0")                         \
    VEX_LEAF(v##name##_leaf256, "ymm", s_r, "v" #name " %%" s_r "1, %%ymm0")                       \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        VEX_BODY(in->opsize == 32 ? (vbytes) : (bytes))                                            \
        c->a = c->d;                                                                               \
        fp_run(cpu, in->opsize == 32 ? v##name##_leaf256 : v##name##_leaf128, c);                  \
    }
#define SRC_16 "xmm"
#define SRC_32 "ymm"

/* Comparisons: flags as LAHF and SETO give them. */
#define CMP_LEAF(leaf, code)                                                                       \
    static void leaf(void *arg)                                                                    \
    {                                                                                              \
        struct soft_fp_call *c = arg;                                                              \
        unsigned flags;                                                                            \
        __asm__ volatile(FP_BEGIN "movdqu (%[a]), %%xmm0\n\tmovdqu (%[s]), %%xmm1\n\t"             \
                         code "\n\tlahf\n\tseto %%al\n\t" FP_END                                   \
                         : [csr] "+m"(c->csr), "=&a"(flags)                                        \
                         : [a] "r"(c->a), [s] "r"(c->s),                                           \
                           [host] "m"(soft_host_mxcsr), [fast] "m"(c->fast)                        \
                         : "xmm0", "xmm1", "cc", "memory");                                        \
        c->flags = (soft_aflags)flags;                                                             \
    }
#define CMP(name, bytes)                                                                           \
    CMP_LEAF(name##_leaf, #name " %%xmm1, %%xmm0")                                                 \
    SOFT_OP(name##_x)                                                                              \
    {                                                                                              \
        SSE_BODY(name##_leaf, bytes, false)                                                        \
        cpu->aflags = c->flags;                                                                    \
    }                                                                                              \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        VEX_BODY(bytes)                                                                            \
        c->a = c->d;                                                                               \
        fp_run(cpu, name##_leaf, c);                                                               \
        cpu->aflags = c->flags;                                                                    \
    }

#define SIMD_FP(prefix, op, name) SSE_FP(name, 16) VEX_FP(name)
#define SIMD_FS(prefix, op, name, bytes) SSE_FP(name, bytes) VEX_FS(name, bytes)
#define SIMD_FU(prefix, op, name, bytes, vbytes) SSE_FP(name, bytes) VEX_FU(name, bytes, vbytes, SRC_##vbytes)
#define SIMD_CMP(prefix, op, name, bytes) CMP(name, bytes)
#include "engine/accel/soft/insns_simd.def"
