/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The regular integer and bitwise vector instructions: MMX, SSE and VEX forms of one line each. */
#include "engine/accel/soft/simd.h"
#define X(...)

/* reg <- reg op rm in MMX registers; the operand of PUNPCKL* is a doubleword. */
#define MMX_OP(op, name)                                                                           \
    SOFT_OP(name##_q)                                                                              \
    {                                                                                              \
        mmx_enter(cpu);                                                                            \
        const void *s = mmx_rm(cpu, in, (op) <= 0x62 && (op) >= 0x60 ? 4 : 8);                     \
        mmx_touch(cpu);                                                                            \
        ASM_MMX2(#name, mmx_reg(cpu, in->reg), s);                                                 \
        mmx_written(cpu, in->reg);                                                                 \
    }
#define XMM_OP(name, bytes)                                                                        \
    SOFT_OP(name##_x)                                                                              \
    {                                                                                              \
        simd_enter(cpu);                                                                           \
        const void *s = simd_rm(cpu, in, bytes, (bytes) == 16);                                    \
        ASM_XMM2(#name, xmm_reg(cpu, in->reg), s);                                                 \
    }
#define VEX_OP(name)                                                                               \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        const void *s = simd_rm(cpu, in, in->opsize, false);                                       \
        void *a = xmm_reg(cpu, in->vvvv), *d = xmm_reg(cpu, in->reg);                              \
        if (in->opsize == 32)                                                                      \
            ASM_VEX3("v" #name, "ymm", d, a, s, struct soft_v32);                                  \
        else                                                                                       \
            ASM_VEX3("v" #name, "xmm", d, a, s, struct soft_v16);                                  \
    }
#define VEX_OP128(name)                                                                            \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        const void *s = simd_rm(cpu, in, 16, false);                                               \
        ASM_VEX3("v" #name, "xmm", xmm_reg(cpu, in->reg), xmm_reg(cpu, in->vvvv), s,               \
                 struct soft_v16);                                                                 \
    }
/* The count operand stays 128 bits in the 256-bit form. */
#define VEX_SHIFT(name)                                                                            \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        const void *s = simd_rm(cpu, in, 16, false);                                               \
        void *a = xmm_reg(cpu, in->vvvv), *d = xmm_reg(cpu, in->reg);                              \
        if (in->opsize == 32)                                                                      \
            __asm__ volatile("vmovdqu %1, %%ymm0\n\tvmovdqu %2, %%xmm1\n\t"                        \
                             "v" #name " %%xmm1, %%ymm0, %%ymm0\n\t"                               \
                             "vmovdqu %%ymm0, %0\n\tvzeroupper"                                    \
                             : "=m"(*(struct soft_vec *)d)                                         \
                             : "m"(*(struct soft_v32 *)a), "m"(*(const struct soft_v16 *)s)        \
                             : "xmm0", "xmm1");                                                    \
        else                                                                                       \
            ASM_VEX3("v" #name, "xmm", d, a, s, struct soft_v16);                                  \
    }
#define VEX_U(name, bytes)                                                                         \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        unsigned n = (bytes) * (in->opsize / 16u);                                                 \
        const void *s = simd_rm(cpu, in, n, false);                                                \
        void *d = xmm_reg(cpu, in->reg);                                                           \
        if (in->opsize == 32)                                                                      \
            ASM_VEX2("v" #name " %%" SRC_##bytes "1, %%ymm0", SRC_##bytes, d, s, TYPE_##bytes);    \
        else                                                                                       \
            ASM_VEX2("v" #name " %%xmm1, %%xmm0", "xmm", d, s, struct soft_v16);                   \
    }
/* Source register of a 256-bit one-source form whose 128-bit operand has that many bytes. */
#define SRC_2 "xmm"
#define SRC_4 "xmm"
#define SRC_8 "xmm"
#define SRC_16 "ymm"
#define TYPE_2 struct soft_v16
#define TYPE_4 struct soft_v16
#define TYPE_8 struct soft_v16
#define TYPE_16 struct soft_v32
#define VEX_U128(name, bytes)                                                                      \
    SOFT_OP(v##name)                                                                               \
    {                                                                                              \
        avx_enter(cpu);                                                                            \
        const void *s = simd_rm(cpu, in, bytes, false);                                            \
        ASM_VEX2("v" #name " %%xmm1, %%xmm0", "xmm", xmm_reg(cpu, in->reg), s, struct soft_v16);   \
    }

#define SIMD_I(op, name) MMX_OP(op, name) XMM_OP(name, 16) VEX_OP(name)
#define SIMD_SH(op, name) MMX_OP(op, name) XMM_OP(name, 16) VEX_SHIFT(name)
#define SIMD_IS(op, name) MMX_OP(op, name) XMM_OP(name, 16) VEX_OP(name)
#define SIMD_ABS(op, name) MMX_OP(op, name) XMM_OP(name, 16) VEX_U(name, 16)
#define SIMD_X(map, prefix, op, name) XMM_OP(name, 16) VEX_OP(name)
#define SIMD_X1(map, prefix, op, name) XMM_OP(name, 16) VEX_OP128(name)
#define SIMD_U(map, prefix, op, name, bytes) XMM_OP(name, bytes) VEX_U(name, bytes)
#define SIMD_U1(map, prefix, op, name, bytes) XMM_OP(name, bytes) VEX_U128(name, bytes)
#include "engine/accel/soft/insns_simd.def"
