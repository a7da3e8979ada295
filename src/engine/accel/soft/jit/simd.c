/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * SSE instructions are copied: the guest's XMM registers and MXCSR are in the host's from a block's first
 * vector instruction until C code is called. The host runs them with the guest's rounding and sticky
 * flags, but never with an exception unmasked: a guest that unmasks one has its vector instructions
 * run by the handlers (soft_jit.no_simd).
 *
 * Where the guest has AVX (XCR0), the upper halves move with them. VEX encodings: vex.c. Not copied: MMX forms, and what
 * has class K_CALL.
 */
#include "engine/accel/soft/jit/gen.h"
#include "engine/accel/soft/simd.h"

/* Bytes of the memory operand where the row's size is another. */
#define SIMD_I(...)
#define SIMD_SH(...)
#define SIMD_IS(...)
#define SIMD_ABS(...)
#define SIMD_X(...)
#define SIMD_X1(...)
#define SIMD_U(m, prefix, op, name, bytes) [SOFT_OP_##name##_x] = bytes,
#define SIMD_U1(m, prefix, op, name, bytes) [SOFT_OP_##name##_x] = bytes,
#define SIMD_FP(...)
#define SIMD_FS(prefix, op, name, bytes) [SOFT_OP_##name##_x] = bytes,
#define SIMD_FU(prefix, op, name, bytes, vbytes) [SOFT_OP_##name##_x] = bytes,
#define SIMD_CMP(prefix, op, name, bytes) [SOFT_OP_##name##_x] = bytes,
#define SIMD_IMM(...)
#define SIMD_IMM1(...)
#define SIMD_UIMM(...)
#define SIMD_FIMM(...)
#define SIMD_FSIMM(m, prefix, op, name, bytes) [SOFT_OP_##name##_x] = bytes,
#define SIMD_FUIMM(...)
#define X(...)
static const uint8_t operand_bytes[SOFT_OP_COUNT] = {
#include "engine/accel/soft/insns_simd.def"
    [SOFT_OP_insertps] = 4, [SOFT_OP_pextrb] = 1, [SOFT_OP_pinsrb] = 1, [SOFT_OP_pextrw_st] = 2, [SOFT_OP_pinsrw_x] = 2,
    [SOFT_OP_cvttss2si] = 4, [SOFT_OP_cvtss2si] = 4, [SOFT_OP_cvttsd2si] = 8, [SOFT_OP_cvtsd2si] = 8,
};
#undef X

static bool unaligned_allowed(unsigned op)
{
    switch (op) {
    case SOFT_OP_movups_ld: case SOFT_OP_movupd_ld: case SOFT_OP_movups_st: case SOFT_OP_movupd_st:
    case SOFT_OP_movdqu_ld: case SOFT_OP_movdqu_st: case SOFT_OP_lddqu:
        return true;
    default:
        return false;
    }
}

/* Which side of a K_SSE_GPR instruction is the general register. */
static bool reg_is_general(unsigned op)
{
    switch (op) {
    case SOFT_OP_cvttss2si: case SOFT_OP_cvttsd2si: case SOFT_OP_cvtss2si: case SOFT_OP_cvtsd2si:
    case SOFT_OP_movmskps: case SOFT_OP_movmskpd: case SOFT_OP_pmovmskb_x: case SOFT_OP_pextrw_x:
    case SOFT_OP_vcvttss2si: case SOFT_OP_vcvttsd2si: case SOFT_OP_vcvtss2si: case SOFT_OP_vcvtsd2si:
    case SOFT_OP_vmovmskps: case SOFT_OP_vmovmskpd: case SOFT_OP_vpmovmskb: case SOFT_OP_vpextrw:
        return true;
    default:
        return false;
    }
}

/* RAX, RDX and RCX, which they use implicitly, are in the same host registers. */
static bool compares_strings(unsigned op)
{
    return op == SOFT_OP_pcmpestrm || op == SOFT_OP_pcmpestri || op == SOFT_OP_pcmpistrm || op == SOFT_OP_pcmpistri;
}

static bool host_has(unsigned op)
{
    switch (op) {
    case SOFT_OP_aesimc_x: case SOFT_OP_aesenc_x: case SOFT_OP_aesenclast_x: case SOFT_OP_aesdec_x: case SOFT_OP_aesdeclast_x:
    case SOFT_OP_aeskeygenassist:
        return __builtin_cpu_supports("aes");
    case SOFT_OP_pclmulqdq_x:
        return __builtin_cpu_supports("pclmul");
    case SOFT_OP_sha1nexte: case SOFT_OP_sha1msg1: case SOFT_OP_sha1msg2: case SOFT_OP_sha256rnds2: case SOFT_OP_sha256msg1:
    case SOFT_OP_sha256msg2: case SOFT_OP_sha1rnds4:
        return false;
    default:
        return true;
    }
}

static uint32_t opcode_of(const struct soft_insn *in, const struct soft_op_row *r)
{
    uint32_t op = in->imm2;
    op |= r->map == M_38 ? O_38 : r->map == M_3A ? O_3A : O_0F;
    op |= r->prefix == P_66 ? O_66 : r->prefix == P_F3 ? O_F3 : r->prefix == P_F2 ? O_F2 : 0;
    if (compares_strings(in->op)) /* REX.W: lengths of 64 bits */
        op |= in->prefixes & SOFT_P_REXW ? O_W : 0;
    return op | (r->size == S_Y && in->opsize == 8 ? O_W : 0);
}

static bool has_imm(const struct soft_op_row *r)
{
    return r->form == F_RM_I8 || r->form == F_MR_I8 || r->form == F_M_I8;
}

void jit_simd_enter(struct jit_gen *g)
{
    if (g->vec)
        return;
    jit_flags_to_env(g);
    jit_env(g, 0x83, 7, JIT_ENV_OF(jit.vec_live));
    jit_e8(g, 0);
    jit_e8(g, 0x75);
    uint8_t *skip = g->at++;
    jit_e8(g, 0x41);
    jit_e8(g, 0xbf);                         /* mov r15d, offset: where the block is left if it may not */
    jit_e32(g, g->off);
    jit_call(g, g->jit->thunk_vec_enter);
    *skip = (uint8_t)(g->at - (skip + 1));
    g->flags = JIT_FLAGS_ENV;
    g->vec = true;
}

unsigned jit_simd_bytes(const struct soft_insn *in)
{
    if (soft_rows[in->op].map >= M_V0F)
        return jit_vex_bytes(in);
    return operand_bytes[in->op] ? operand_bytes[in->op] : in->opsize;
}

bool jit_simd_aligned(const struct soft_insn *in)
{
    return soft_rows[in->op].map < M_V0F && jit_simd_bytes(in) == 16 && !unaligned_allowed(in->op) && !compares_strings(in->op);
}

static void memory(struct jit_gen *g, const struct soft_insn *in, const struct soft_op_row *r)
{
    unsigned bytes = jit_simd_bytes(in);
    jit_operand(g, in, bytes, r->attr & A_ST);
    if (!jit_simd_aligned(in) || (g->in_loop && g->loop.group_of[g->index] >= 0))
        return;
    const struct jit_access *a = &g->access[g->index][0];
    struct jit_group *k = g->plain || g->in_loop || a->group < 0 ? NULL : &g->group[a->group];
    if (k && k->aligned && ((unsigned)a->rel & 15) == k->align)
        return;
    jit_flags_to_env(g);
    g->flags = JIT_FLAGS_ENV;
    unsigned h = JIT_A;
    if (g->mem_base != JIT_A)                /* pages are aligned: so is the guest's address */
        h = g->mem_disp & 15 ? (jit_rm(g, 0x8d, JIT_A, g->mem_base, g->mem_disp), JIT_A) : g->mem_base;
    jit_rr(g, 0xf6 | O_BRM, 0, h);           /* test, 15 */
    jit_e8(g, 15);
    jit_slow_if(g, CC_NE);
    if (k) {
        k->aligned = true;
        k->align = (uint8_t)a->rel & 15;
    }
}

void jit_simd_copy(struct jit_gen *g, const struct soft_insn *in, uint32_t op, int imm)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    bool general = in->klass == K_SSE_GPR && !compares_strings(in->op);
    unsigned guest = JIT_NONE, host = JIT_NONE; /* the general register that is written */
    if (r->form == F_M_I8) {                 /* shifts by an immediate */
        jit_rr(g, op, in->modrm >> 3 & 7, in->rm);
    } else if (general && reg_is_general(in->op)) {
        guest = in->reg;
        host = jit_pinned(guest) == JIT_NONE ? JIT_A : jit_pinned(guest);
        if (in->is_mem)
            jit_mem(g, op, host);
        else
            jit_rr(g, op, host, in->rm);
    } else if (in->is_mem) {
        jit_mem(g, op, in->reg);
    } else if (general && r->attr & A_ST) {
        guest = in->rm;
        host = jit_pinned(guest) == JIT_NONE ? JIT_B : jit_pinned(guest);
        jit_rr(g, op, in->reg, host);
    } else if (general) {
        jit_rr(g, op, in->reg, jit_use(g, in->rm, JIT_B));
    } else {
        jit_rr(g, op, in->reg, in->rm);
    }
    if (imm >= 0)
        jit_e8(g, (unsigned)imm);
    if (guest != JIT_NONE)
        jit_done(g, guest, host);
    else if (r->attr & A_WF)
        g->flags = JIT_FLAGS_HOST;
}

bool jit_simd(struct jit_gen *g, const struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    if (r->map >= M_V0F)
        return jit_vex(g, in);
    if (!g->jit->thunk_vec_load || g->jit->no_simd || in->klass == K_MMX || !host_has(in->op) ||
        (g->b->key & SIMD_KEYS) != SOFT_KEY_OSFXSR || (in->is_mem && !jit_can_address(g, in)))
        return false;
    uint32_t op = opcode_of(in, r);
    jit_simd_enter(g);
    if (in->is_mem)
        memory(g, in, r);
    jit_simd_copy(g, in, op, has_imm(r) ? (uint8_t)in->imm : -1);
    return true;
}

/* ---- Thunks ---------------------------------------------------------------------------------------------- */
#define XCR0_AVX 4
static int ymm_of(unsigned n) { return (int)(offsetof(struct soft_cpu, ymm) + n * sizeof(struct soft_ymm)) - SOFT_JIT_BIAS; }

/* VMOVAPS or MOVAPS of all; upper halves only where the guest has them. */
static void emit_moves(struct jit_gen *g, unsigned op)
{
    uint8_t *narrow = NULL, *done = NULL;
    if (jit_host_has_avx()) {
        jit_env(g, 0xf6, 0, JIT_ENV_OF(xcr0));           /* test byte, AVX */
        jit_e8(g, XCR0_AVX);
        narrow = jit_jcc(g, CC_E);
        for (unsigned i = 0; i < 16; i++)
            jit_env(g, op | O_0F | O_VEX | O_L, i, ymm_of(i));
        if (op == 0x29) {                                /* VZEROUPPER, as C code expects and SSE code likes it */
            jit_e8(g, 0xc5);
            jit_e8(g, 0xf8);
            jit_e8(g, 0x77);
        }
        jit_e8(g, 0xe9);
        g->at += 4;
        done = g->at - 4;
        jit_patch(narrow, g->at);
    }
    for (unsigned i = 0; i < 16; i++)
        jit_env(g, op | O_0F, i, ymm_of(i));
    if (done)
        jit_patch(done, g->at);
}

static void emit_load(struct jit_gen *g)
{
    emit_moves(g, 0x28);
    jit_env(g, 0xae | O_0F, 2, JIT_ENV_OF(mxcsr));       /* ldmxcsr */
    jit_env(g, 0xc7, 0, JIT_ENV_OF(jit.vec_live));
    jit_e32(g, 1);
    jit_e8(g, 0xc3);
}

void jit_simd_thunks(struct jit_gen *g)
{
    g->jit->thunk_vec_load = g->at;
    emit_load(g);
    g->jit->thunk_vec_save = g->at;
    emit_moves(g, 0x29);
    jit_env(g, 0xae | O_0F, 3, JIT_ENV_OF(mxcsr));       /* stmxcsr */
    jit_imm64(g, JIT_A, (uintptr_t)&soft_host_mxcsr);
    jit_rm(g, 0xae | O_0F, 2, JIT_A, 0);
    jit_env(g, 0xc7, 0, JIT_ENV_OF(jit.vec_live));
    jit_e32(g, 0);
    jit_e8(g, 0xc3);
}

/* Called with R15 = offset in the page. Loads, or leaves the block there. */
void jit_simd_enter_thunk(struct jit_gen *g)
{
    g->jit->thunk_vec_enter = g->at;
    jit_env(g, 0x8b, JIT_A, JIT_ENV_OF(mxcsr));
    jit_rr(g, 0xf7, 2, JIT_A);                           /* not */
    jit_rr(g, 0xf7, 0, JIT_A);                           /* test: all exceptions masked? */
    jit_e32(g, MXCSR_MASKS);
    uint8_t *refuse = jit_jcc(g, CC_NE);
    emit_load(g);
    jit_patch(refuse, g->at);
    jit_env(g, 0xc7, 0, JIT_ENV_OF(jit.vec_refused));
    jit_e32(g, 1);
    jit_rr(g, 0x83 | O_W, 0, H_RSP);                     /* the return address */
    jit_e8(g, 8);
    jit_jmp(g, g->jit->thunk_head);
}
