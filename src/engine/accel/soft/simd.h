/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the vector handlers share: the checks before an instruction, operands, MXCSR and the way an
 * operation runs on the host's unit.
 *
 * Register values live in soft_cpu.ymm; an operation loads them into host registers 0..2, executes
 * the guest's instruction there and stores the result. Memory operands are read completely
 * before the destination changes. Thread: the vCPU's own.
 */
#pragma once
#include "engine/accel/soft/fpu.h"
#include "engine/accel/soft/handlers.h"

/* ---- Checks ---------------------------------------------------------------------------------- */
#define SIMD_INLINE static inline __attribute__((always_inline))
#define SIMD_KEYS (SOFT_KEY_TS | SOFT_KEY_EM | SOFT_KEY_OSFXSR)
#define AVX_KEYS (SOFT_KEY_TS | SOFT_KEY_OSXSAVE | SOFT_KEY_AVX | SOFT_KEY_PROT)
_Noreturn void soft_simd_refuse(struct soft_cpu *cpu); /* simd_fp.c: #UD or #NM */
_Noreturn void soft_avx_refuse(struct soft_cpu *cpu);

SIMD_INLINE void simd_enter(struct soft_cpu *cpu)
{
    if (soft_unlikely((cpu->state_key & SIMD_KEYS) != SOFT_KEY_OSFXSR))
        soft_simd_refuse(cpu);
}

SIMD_INLINE void avx_enter(struct soft_cpu *cpu)
{
    if (soft_unlikely((cpu->state_key & AVX_KEYS) != (AVX_KEYS & ~SOFT_KEY_TS)))
        soft_avx_refuse(cpu);
}

static inline void mmx_enter(struct soft_cpu *cpu)
{
    if (soft_unlikely((cpu->cr0 & (SOFT_CR0_EM | SOFT_CR0_TS)) || (cpu->x87.fsw & X87_ES))) {
        if (cpu->cr0 & SOFT_CR0_EM)
            soft_ud(cpu);
        soft_x87_enter(cpu, true);
    }
}

/* ---- Registers ------------------------------------------------------------------------------- */
static inline void *xmm_reg(struct soft_cpu *cpu, unsigned n) { return &cpu->ymm[n & 15]; }
static inline void *mmx_reg(struct soft_cpu *cpu, unsigned n) { return cpu->x87.reg[n & 7]; }

/* What every MMX instruction but EMMS does to the x87: all valid, top of stack 0. */
static inline void mmx_touch(struct soft_cpu *cpu)
{
    cpu->x87.fsw &= (uint16_t)~X87_TOP;
    cpu->x87.ftw_abridged = 0xff;
}

/* After a write to MMX register n: the register as a number is not one. */
static inline void mmx_written(struct soft_cpu *cpu, unsigned n)
{
    memset(cpu->x87.reg[n & 7] + 8, 0xff, 2);
}

/* VEX.128 and scalar VEX results: bits 128 and up of the destination clear. */
static inline void avx_clear_upper(struct soft_cpu *cpu, unsigned n)
{
    cpu->ymm[n & 15].q[2] = cpu->ymm[n & 15].q[3] = 0;
}

/* ---- Memory operands ------------------------------------------------------------------------- */
/* Address of the memory operand; aligned: #GP(0) where it is not a multiple of bytes. */
static inline uint64_t simd_addr(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes,
                                 bool aligned, bool write)
{
    /* Where a segment limit is crossed as well, alignment comes first. */
    if (aligned && in->is_mem == SOFT_MEM_GENERIC && cpu->code_mode != 64 &&
        ((cpu->seg[in->seg].base + soft_offset(cpu, in)) & (bytes - 1)))
        soft_gp(cpu, 0);
    uint64_t linear = soft_addr(cpu, in, bytes, write);
    if (aligned && soft_unlikely(linear & (bytes - 1)))
        soft_gp(cpu, 0);
    return linear;
}

/* The operand rm: the register itself or bytes of memory in the scratch buffer, zero-padded to 16. */
const void *soft_simd_operand(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes, bool aligned);

SIMD_INLINE const void *simd_rm(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes,
                                bool aligned)
{
    return soft_likely(!in->is_mem) ? xmm_reg(cpu, in->rm) : soft_simd_operand(cpu, in, bytes, aligned);
}

static inline const void *mmx_rm(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes)
{
    uint64_t *buf = (uint64_t *)cpu->vec_buf.b;
    if (!in->is_mem)
        return mmx_reg(cpu, in->rm);
    *buf = bytes == 4 ? soft_ldm32(cpu, in) : soft_ldm64(cpu, in);
    return buf;
}

static inline void simd_store(struct soft_cpu *cpu, uint64_t linear, const void *value, unsigned bytes)
{
    void *host = soft_hit_write(cpu, linear, bytes);
    if (soft_likely(host != NULL))
        memcpy(host, value, bytes);
    else
        soft_write(cpu, linear, value, bytes);
}

struct soft_v16 { uint8_t b[16]; };
struct soft_v32 { uint8_t b[32]; };

/* ---- Operations without MXCSR ---------------------------------------------------------------- */
/* d <- d op s, 8 bytes in MMX registers. EMMS, so that the host's x87 stays empty as the ABI has it. */
#define ASM_MMX2(insn, d, s)                                                                       \
    __asm__ volatile("movq %0, %%mm0\n\tmovq %1, %%mm1\n\t" insn " %%mm1, %%mm0\n\t"               \
                     "movq %%mm0, %0\n\temms"                                                      \
                     : "+m"(*(uint64_t *)(d)) : "m"(*(const uint64_t *)(s))                        \
                     : "mm0", "mm1", "st")
/* d <- d op s, 16 bytes; d aligned. */
#define ASM_XMM2(insn, d, s)                                                                       \
    __asm__ volatile("movdqa %0, %%xmm0\n\tmovdqu %1, %%xmm1\n\t" insn " %%xmm1, %%xmm0\n\t"       \
                     "movdqa %%xmm0, %0"                                                           \
                     : "+m"(*(struct soft_v16 *)(d)) : "m"(*(const struct soft_v16 *)(s))          \
                     : "xmm0", "xmm1")
/* d <- a op b with the full register written; insn is the AVX mnemonic. */
#define ASM_VEX3(insn, r, d, a, s, type)                                                           \
    __asm__ volatile("vmovdqu %1, %%" r "0\n\tvmovdqu %2, %%" r "1\n\t"                            \
                     insn " %%" r "1, %%" r "0, %%" r "0\n\tvmovdqu %%ymm0, %0\n\tvzeroupper"      \
                     : "=m"(*(struct soft_vec *)(d))                                               \
                     : "m"(*(const type *)(a)), "m"(*(const type *)(s)) : "xmm0", "xmm1")
/* d <- op s */
#define ASM_VEX2(insn, r, d, s, type)                                                              \
    __asm__ volatile("vmovdqu %1, %%" r "1\n\t" insn "\n\tvmovdqu %%ymm0, %0\n\tvzeroupper"        \
                     : "=m"(*(struct soft_vec *)(d)) : "m"(*(const type *)(s)) : "xmm0", "xmm1")

/* sse_misc.c: d <- AESKEYGENASSIST s, imm; for the VEX form too. */
void soft_aeskeygenassist(void *d, const void *s, unsigned imm);

/* ---- Operations with MXCSR ------------------------------------------------------------------- */
/* A leaf loads c->csr, operates, stores the result to c->d and MXCSR to c->csr; nothing is stored if
 * the host raises the exception. */
/* Runs the leaf with the guest's MXCSR; an unmasked exception becomes #XM or #UD. */
static inline __attribute__((always_inline)) void fp_run(struct soft_cpu *cpu, void (*leaf)(void *),
                                                         struct soft_fp_call *c)
{
    extern void soft_fp_run_unmasked(struct soft_cpu *, void (*)(void *), struct soft_fp_call *);
    uint32_t host;
    __asm__ volatile("stmxcsr %0" : "=m"(host));
    c->csr = cpu->mxcsr;
    c->fast = 0;
    if (soft_unlikely((cpu->mxcsr & MXCSR_MASKS) != MXCSR_MASKS)) {
        soft_fp_run_unmasked(cpu, leaf, c);
    } else if (soft_likely((host | (cpu->mxcsr & MXCSR_FLAGS)) == cpu->mxcsr)) {
        /* Same modes, and no flag that the guest has not: the costly loads can stay away. */
        c->fast = 1;
        leaf(c);
        cpu->mxcsr |= c->csr & MXCSR_FLAGS;
        return;
    } else {
        leaf(c);
    }
    cpu->mxcsr = c->csr;
}

extern const uint32_t soft_host_mxcsr;

/* Around the operation in a leaf. */
#define FP_BEGIN "cmpb $0, %[fast]\n\tjne 771f\n\tldmxcsr %[csr]\n771:\n\t"
#define FP_END "stmxcsr %[csr]\n\tcmpb $0, %[fast]\n\tjne 772f\n\tldmxcsr %[host]\n772:"

/* Body of a leaf: code uses xmm0 = a (or d), xmm1 = s, leaves the result in xmm0. */
#define FP_LEAF(name, code)                                                                        \
    static void name(void *arg)                                                                    \
    {                                                                                              \
        struct soft_fp_call *c = arg;                                                              \
        __asm__ volatile(FP_BEGIN "movdqu (%[a]), %%xmm0\n\tmovdqu (%[s]), %%xmm1\n\t"             \
                         code "\n\tmovdqu %%xmm0, (%[d])\n\t" FP_END                               \
                         : [csr] "+m"(c->csr)                                                      \
                         : [a] "r"(c->a), [s] "r"(c->s), [d] "r"(c->d),                            \
                           [host] "m"(soft_host_mxcsr), [fast] "m"(c->fast)                        \
                         : "xmm0", "xmm1", "memory");                                              \
    }
