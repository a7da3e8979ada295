/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SSE and MMX: masks, inserts, extracts, blends, tests, shifts by an immediate, string compares. */
#include "engine/accel/soft/simd.h"
#include "engine/accel/soft/simd_thunk.h"

/* ---- Masks ----------------------------------------------------------------------------------- */
#define MASK(name)                                                                                 \
    static inline uint32_t name##_of(const void *s)                                                \
    {                                                                                              \
        uint32_t r;                                                                                \
        __asm__("movdqu %1, %%xmm0\n\t" #name " %%xmm0, %0"                                        \
                : "=r"(r) : "m"(*(const struct soft_v16 *)s) : "xmm0");                            \
        return r;                                                                                  \
    }
MASK(movmskps)
MASK(movmskpd)
MASK(pmovmskb)

SOFT_OP(movmskps) { simd_enter(cpu); cpu->gpr[in->reg] = movmskps_of(&cpu->ymm[in->rm]); }
SOFT_OP(movmskpd) { simd_enter(cpu); cpu->gpr[in->reg] = movmskpd_of(&cpu->ymm[in->rm]); }
SOFT_OP(pmovmskb_x) { simd_enter(cpu); cpu->gpr[in->reg] = pmovmskb_of(&cpu->ymm[in->rm]); }
SOFT_OP(pmovmskb_q)
{
    mmx_enter(cpu);
    struct soft_vec v = {0};
    memcpy(&v, mmx_reg(cpu, in->rm), 8);
    mmx_touch(cpu);
    cpu->gpr[in->reg] = pmovmskb_of(&v);
}

/* ---- Inserts and extracts -------------------------------------------------------------------- */
static uint16_t word_operand(struct soft_cpu *cpu, const struct soft_insn *in)
{
    return in->is_mem ? soft_ldm16(cpu, in) : (uint16_t)cpu->gpr[in->rm & 15];
}

SOFT_OP(pinsrw_q)
{
    mmx_enter(cpu);
    uint16_t v = word_operand(cpu, in);
    mmx_touch(cpu);
    memcpy(cpu->x87.reg[in->reg & 7] + 2 * (in->imm & 3), &v, 2);
    mmx_written(cpu, in->reg);
}
SOFT_OP(pinsrw_x)
{
    simd_enter(cpu);
    ((uint16_t *)xmm_reg(cpu, in->reg))[in->imm & 7] = word_operand(cpu, in);
}
SOFT_OP(pextrw_q)
{
    uint16_t v;
    mmx_enter(cpu);
    mmx_touch(cpu);
    memcpy(&v, cpu->x87.reg[in->rm & 7] + 2 * (in->imm & 3), 2);
    cpu->gpr[in->reg] = v;
}
SOFT_OP(pextrw_x)
{
    simd_enter(cpu);
    cpu->gpr[in->reg] = ((uint16_t *)xmm_reg(cpu, in->rm))[in->imm & 7];
}
SOFT_OP(pextrb)
{
    simd_enter(cpu);
    uint8_t v = ((uint8_t *)xmm_reg(cpu, in->reg))[in->imm & 15];
    if (in->is_mem)
        soft_stm8(cpu, in, v);
    else
        cpu->gpr[in->rm & 15] = v;
}
SOFT_OP(pextrw_st)
{
    simd_enter(cpu);
    uint16_t v = ((uint16_t *)xmm_reg(cpu, in->reg))[in->imm & 7];
    if (in->is_mem)
        soft_stm16(cpu, in, v);
    else
        cpu->gpr[in->rm & 15] = v;
}
SOFT_OP(pextr_32)
{
    simd_enter(cpu);
    soft_put_rm32(cpu, in, ((uint32_t *)xmm_reg(cpu, in->reg))[in->imm & 3]);
}
SOFT_OP(pextr_64)
{
    simd_enter(cpu);
    soft_put_rm64(cpu, in, cpu->ymm[in->reg].q[in->imm & 1]);
}
SOFT_OP(pinsrb)
{
    simd_enter(cpu);
    uint8_t v = in->is_mem ? soft_ldm8(cpu, in) : (uint8_t)cpu->gpr[in->rm & 15];
    ((uint8_t *)xmm_reg(cpu, in->reg))[in->imm & 15] = v;
}
SOFT_OP(pinsr_32)
{
    simd_enter(cpu);
    ((uint32_t *)xmm_reg(cpu, in->reg))[in->imm & 3] = soft_get_rm32(cpu, in);
}
SOFT_OP(pinsr_64)
{
    simd_enter(cpu);
    cpu->ymm[in->reg].q[in->imm & 1] = soft_get_rm64(cpu, in);
}
/* The VEX forms do the same. */
SOFT_OP(vpextrb) { avx_enter(cpu); soft_body_pextrb(cpu, in); }
SOFT_OP(vpextrw) { avx_enter(cpu); soft_body_pextrw_x(cpu, in); }
SOFT_OP(vpextrw_st) { avx_enter(cpu); soft_body_pextrw_st(cpu, in); }
SOFT_OP(vpextr_32) { avx_enter(cpu); soft_body_pextr_32(cpu, in); }
SOFT_OP(vpextr_64) { avx_enter(cpu); soft_body_pextr_64(cpu, in); }
/* From memory the element is the doubleword itself and the source selector is ignored. */
SOFT_OP(insertps)
{
    simd_enter(cpu);
    uint32_t *d = xmm_reg(cpu, in->reg);
    uint32_t v = in->is_mem ? soft_ldm32(cpu, in)
                            : ((uint32_t *)xmm_reg(cpu, in->rm))[(in->imm >> 6) & 3];
    d[(in->imm >> 4) & 3] = v;
    for (unsigned i = 0; i < 4; i++)
        if (in->imm & (1u << i))
            d[i] = 0;
}

/* ---- Blends by XMM0, PTEST ------------------------------------------------------------------- */
#define BLENDV(name)                                                                               \
    SOFT_OP(name)                                                                                  \
    {                                                                                              \
        simd_enter(cpu);                                                                           \
        const void *s = simd_rm(cpu, in, 16, true);                                                \
        __asm__ volatile("movdqa %2, %%xmm0\n\tmovdqu %1, %%xmm1\n\tmovdqa %0, %%xmm2\n\t" #name   \
                         " %%xmm0, %%xmm1, %%xmm2\n\tmovdqa %%xmm2, %0"                            \
                         : "+m"(*(struct soft_v16 *)xmm_reg(cpu, in->reg))                         \
                         : "m"(*(const struct soft_v16 *)s), "m"(*(struct soft_v16 *)&cpu->ymm[0]) \
                         : "xmm0", "xmm1", "xmm2");                                                \
    }
BLENDV(pblendvb)
BLENDV(blendvps)
BLENDV(blendvpd)

SOFT_OP(ptest)
{
    unsigned flags;
    simd_enter(cpu);
    const void *s = simd_rm(cpu, in, 16, true);
    __asm__("movdqu %1, %%xmm0\n\tmovdqu %2, %%xmm1\n\tptest %%xmm1, %%xmm0\n\tlahf\n\tseto %%al"
            : "=&a"(flags)
            : "m"(*(struct soft_v16 *)xmm_reg(cpu, in->reg)), "m"(*(const struct soft_v16 *)s)
            : "xmm0", "xmm1", "cc");
    cpu->aflags = (soft_aflags)flags;
}

/* ---- Immediate forms with one encoding ------------------------------------------------------- */
THUNKS_(soft_t_dppd, "dppd " IMM ", %xmm1, %xmm0")
THUNKS_(soft_t_aeskeygenassist, "aeskeygenassist " IMM ", %xmm1, %xmm0")
THUNKS_(soft_t_pshufw, "pshufw " IMM ", %mm1, %mm0")
THUNKS_(soft_t_palignr_q, "palignr " IMM ", %mm1, %mm0")
THUNKS_(soft_t_pcmpestrm, "pcmpestrm " IMM ", %xmm1, %xmm0")
THUNKS_(soft_t_pcmpestri, "pcmpestri " IMM ", %xmm1, %xmm0")
THUNKS_(soft_t_pcmpistrm, "pcmpistrm " IMM ", %xmm1, %xmm0")
THUNKS_(soft_t_pcmpistri, "pcmpistri " IMM ", %xmm1, %xmm0")
/* REX.W forms use all of RAX and RDX as lengths. */
THUNKS_(soft_t_pcmpestrm_w, ".byte 0x66, 0x48, 0x0f, 0x3a, 0x60, 0xc1, 0x\\simd_h\\simd_l")
THUNKS_(soft_t_pcmpestri_w, ".byte 0x66, 0x48, 0x0f, 0x3a, 0x61, 0xc1, 0x\\simd_h\\simd_l")

static void dppd_leaf(void *arg)
{
    struct soft_fp_call *c = arg;
    __asm__ volatile(FP_BEGIN "movdqu (%[a]), %%xmm0\n\tmovdqu (%[s]), %%xmm1\n\t" CALL_THUNK
                     "movdqu %%xmm0, (%[d])\n\t" FP_END
                     : [csr] "+m"(c->csr)
                     : [a] "r"(c->a), [s] "r"(c->s), [d] "r"(c->d), [t] "r"(c->thunk),
                       [host] "m"(soft_host_mxcsr), [fast] "m"(c->fast)
                     : "xmm0", "xmm1", "memory");
}

SOFT_OP(dppd)
{
    simd_enter(cpu);
    struct soft_fp_call *c = &cpu->fp_call;
    *c = (struct soft_fp_call){.s = simd_rm(cpu, in, 16, true), .thunk = soft_t_dppd[in->imm & 0xff]};
    c->a = c->d = xmm_reg(cpu, in->reg);
    fp_run(cpu, dppd_leaf, c);
}

void soft_aeskeygenassist(void *d, const void *s, unsigned imm)
{
    __asm__ volatile("movdqu (%[s]), %%xmm1\n\t" CALL_THUNK "movdqa %%xmm0, (%[d])"
                     : : [s] "r"(s), [d] "r"(d), [t] "r"(soft_t_aeskeygenassist[imm])
                     : "xmm0", "xmm1", "memory");
}

SOFT_OP(aeskeygenassist)
{
    simd_enter(cpu);
    soft_aeskeygenassist(xmm_reg(cpu, in->reg), simd_rm(cpu, in, 16, true), in->imm & 0xff);
}

#define MMX_IMM(name)                                                                              \
    SOFT_OP(name)                                                                                  \
    {                                                                                              \
        mmx_enter(cpu);                                                                            \
        const void *s = mmx_rm(cpu, in, 8);                                                        \
        mmx_touch(cpu);                                                                            \
        __asm__ volatile("movq (%[d]), %%mm0\n\tmovq (%[s]), %%mm1\n\t" CALL_THUNK                 \
                         "movq %%mm0, (%[d])\n\temms"                                              \
                         : : [s] "r"(s), [d] "r"(mmx_reg(cpu, in->reg)),                           \
                           [t] "r"(soft_t_##name[in->imm & 0xff])                                  \
                         : "mm0", "mm1", "st", "memory");                                          \
        mmx_written(cpu, in->reg);                                                                 \
    }
MMX_IMM(pshufw)
MMX_IMM(palignr_q)

/* ---- String compares: result in XMM0 or ECX, all arithmetic flags (LEA around the call keeps them)  */
#define STRING_COMPARE(name, pick, commit)                                                         \
    SOFT_OP(name)                                                                                  \
    {                                                                                              \
        struct soft_vec mask;                                                                      \
        uint64_t rax = cpu->gpr[GH_RAX], rcx = 0, rdx = cpu->gpr[GH_RDX];                          \
        simd_enter(cpu);                                                                           \
        const void *s = simd_rm(cpu, in, 16, false);                                               \
        __asm__ volatile("movdqu (%[s]), %%xmm1\n\tmovdqu (%[a]), %%xmm0\n\t" CALL_THUNK           \
                         "movdqa %%xmm0, (%[m])\n\tlahf\n\tseto %%al"                              \
                         : "+a"(rax), "+c"(rcx), "+d"(rdx)                                         \
                         : [s] "r"(s), [a] "r"(xmm_reg(cpu, in->reg)), [m] "r"(&mask), [t] "r"(pick) \
                         : "xmm0", "xmm1", "cc", "memory");                                        \
        commit;                                                                                    \
        cpu->aflags = (soft_aflags)rax;                                                            \
    }
#define TO_XMM0 memcpy(&cpu->ymm[0], &mask, 16)
#define IMMED (in->imm & 0xff)
/* PCMPxSTRM leave their mask in the host's XMM0, which is where the guest's first operand was. */
STRING_COMPARE(pcmpestrm, in->prefixes & SOFT_P_REXW ? soft_t_pcmpestrm_w[IMMED] : soft_t_pcmpestrm[IMMED], TO_XMM0)
STRING_COMPARE(pcmpestri, in->prefixes & SOFT_P_REXW ? soft_t_pcmpestri_w[IMMED] : soft_t_pcmpestri[IMMED],
               cpu->gpr[GH_RCX] = (uint32_t)rcx)
STRING_COMPARE(pcmpistrm, soft_t_pcmpistrm[IMMED], TO_XMM0)
STRING_COMPARE(pcmpistri, soft_t_pcmpistri[IMMED], cpu->gpr[GH_RCX] = (uint32_t)rcx)

SOFT_OP(vpcmpestri) { avx_enter(cpu); soft_body_pcmpestri(cpu, in); }
SOFT_OP(vpcmpistri) { avx_enter(cpu); soft_body_pcmpistri(cpu, in); }
SOFT_OP(vpcmpestrm) { avx_enter(cpu); soft_body_pcmpestrm(cpu, in); avx_clear_upper(cpu, 0); }
SOFT_OP(vpcmpistrm) { avx_enter(cpu); soft_body_pcmpistrm(cpu, in); avx_clear_upper(cpu, 0); }

/* ---- Shifts by an immediate: the count as a register operand, same result -------------------- */
#define SHIFT_X(name)                                                                              \
    SOFT_OP(name##_ix)                                                                             \
    {                                                                                              \
        struct soft_vec count = {0};                                                               \
        simd_enter(cpu);                                                                           \
        count.b[0] = (uint8_t)in->imm;                                                             \
        ASM_XMM2(#name, xmm_reg(cpu, in->rm), &count);                                             \
    }
#define SHIFT(name)                                                                                \
    SHIFT_X(name)                                                                                  \
    SOFT_OP(name##_iq)                                                                             \
    {                                                                                              \
        uint64_t count = (uint8_t)in->imm;                                                         \
        mmx_enter(cpu);                                                                            \
        mmx_touch(cpu);                                                                            \
        ASM_MMX2(#name, mmx_reg(cpu, in->rm), &count);                                             \
        mmx_written(cpu, in->rm);                                                                  \
    }
SHIFT(psrlw)
SHIFT(psraw)
SHIFT(psllw)
SHIFT(psrld)
SHIFT(psrad)
SHIFT(pslld)
SHIFT(psrlq)
SHIFT(psllq)

static void shift_bytes(struct soft_cpu *cpu, unsigned reg, unsigned n, bool left)
{
    uint8_t *d = xmm_reg(cpu, reg), r[48] = {0};
    memcpy(r + 16, d, 16);
    memcpy(d, n > 15 ? r : left ? r + 16 - n : r + 16 + n, 16);
}

SOFT_OP(psrldq_ix) { simd_enter(cpu); shift_bytes(cpu, in->rm, (uint8_t)in->imm, false); }
SOFT_OP(pslldq_ix) { simd_enter(cpu); shift_bytes(cpu, in->rm, (uint8_t)in->imm, true); }

/* ---- SHA ------------------------------------------------------------------------------------- */
#define SHA(name)                                                                                  \
    SOFT_OP(name)                                                                                  \
    {                                                                                              \
        simd_enter(cpu);                                                                           \
        const void *s = simd_rm(cpu, in, 16, true);                                                \
        ASM_XMM2(#name, xmm_reg(cpu, in->reg), s);                                                 \
    }
SHA(sha1nexte)
SHA(sha1msg1)
SHA(sha1msg2)
SHA(sha256msg1)
SHA(sha256msg2)
BLENDV(sha256rnds2) /* XMM0 is the third operand here too */

SOFT_OP(sha1rnds4)
{
    simd_enter(cpu);
    const void *s = simd_rm(cpu, in, 16, true);
    void *d = xmm_reg(cpu, in->reg);
    switch (in->imm & 3) {
    case 0: ASM_XMM2("sha1rnds4 $0,", d, s); break;
    case 1: ASM_XMM2("sha1rnds4 $1,", d, s); break;
    case 2: ASM_XMM2("sha1rnds4 $2,", d, s); break;
    default: ASM_XMM2("sha1rnds4 $3,", d, s); break;
    }
}
