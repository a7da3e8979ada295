/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * VEX encodings, copied with other operands: AVX, AVX2, FMA and F16C on the guest's registers in the host's, as SSE
 * instructions are (simd.c), and BMI1 and BMI2 on general registers.
 *
 * Memory operands of VEX instructions need no alignment, but those of the aligned moves. Not copied: gathers and masked
 * moves (faults between their elements), string comparisons, LDMXCSR and STMXCSR: class K_CALL.
 */
#include "engine/accel/soft/flags.h"
#include "engine/accel/soft/jit/gen.h"
#include "engine/accel/soft/simd.h"

bool jit_host_has_avx(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* ---- Vectors ------------------------------------------------------------------------------------------- */
/* Bytes of the memory operand where they are not what the vector's length says: of the 128-bit form, twice that
 * with 256 bits; SAME: with either. */
#define SAME 0x80
#define SIMD_I(...)
#define SIMD_SH(op, name) [SOFT_OP_v##name] = SAME | 16,
#define SIMD_IS(...)
#define SIMD_ABS(...)
#define SIMD_X(...)
#define SIMD_X1(...)
#define SIMD_U(m, prefix, op, name, bytes) [SOFT_OP_v##name] = bytes,
#define SIMD_U1(m, prefix, op, name, bytes) [SOFT_OP_v##name] = SAME | bytes,
#define SIMD_FP(...)
#define SIMD_FS(prefix, op, name, bytes) [SOFT_OP_v##name] = SAME | bytes,
#define SIMD_FU(prefix, op, name, bytes, vbytes) [SOFT_OP_v##name] = bytes,
#define SIMD_CMP(prefix, op, name, bytes) [SOFT_OP_v##name] = SAME | bytes,
#define SIMD_IMM(...)
#define SIMD_IMM1(...)
#define SIMD_UIMM(...)
#define SIMD_FIMM(...)
#define SIMD_FSIMM(m, prefix, op, name, bytes) [SOFT_OP_v##name] = SAME | bytes,
#define SIMD_FUIMM(...)
#define SIMD_V(...)
#define SIMD_VB(op, name, bytes, attr) [SOFT_OP_v##name] = SAME | bytes,
#define SIMD_VIMM(...)
#define SIMD_VUIMM(...)
#define SIMD_FMA(...)
#define SIMD_FMAS(...)
#define X(...)
static const uint8_t operand_bytes[SOFT_OP_COUNT] = {
#include "engine/accel/soft/insns_simd.def"
    [SOFT_OP_vcvttss2si] = SAME | 4, [SOFT_OP_vcvtss2si] = SAME | 4, [SOFT_OP_vcvttsd2si] = SAME | 8, [SOFT_OP_vcvtsd2si] = SAME | 8,
    [SOFT_OP_vcvtph2ps] = 8, [SOFT_OP_vcvtps2ph] = 8,
    [SOFT_OP_vpinsrw] = SAME | 2, [SOFT_OP_vpextrb] = SAME | 1, [SOFT_OP_vpextrw_st] = SAME | 2, [SOFT_OP_vpinsrb] = SAME | 1,
    [SOFT_OP_vinsertps] = SAME | 4,
    [SOFT_OP_vbroadcastf128] = SAME | 16, [SOFT_OP_vbroadcasti128] = SAME | 16, [SOFT_OP_vinsertf128] = SAME | 16,
    [SOFT_OP_vinserti128] = SAME | 16, [SOFT_OP_vextractf128] = SAME | 16, [SOFT_OP_vextracti128] = SAME | 16,
};
#undef X

unsigned jit_vex_bytes(const struct soft_insn *in)
{
    unsigned n = operand_bytes[in->op];
    if (in->op == SOFT_OP_vmovddup)
        return in->opsize == 32 ? 32 : 8;
    if (!n)
        return in->opsize;
    return n & SAME ? n & ~(unsigned)SAME : in->opsize == 32 ? 2 * n : n;
}

static bool aligned(unsigned op)
{
    switch (op) {
    case SOFT_OP_vmovaps_ld: case SOFT_OP_vmovaps_st: case SOFT_OP_vmovapd_ld: case SOFT_OP_vmovapd_st: case SOFT_OP_vmovdqa_ld:
    case SOFT_OP_vmovdqa_st: case SOFT_OP_vmovntdqa: case SOFT_OP_vmovntps: case SOFT_OP_vmovntpd: case SOFT_OP_vmovntdq:
        return true;
    default:
        return false;
    }
}

static bool host_has(unsigned op)
{
    switch (op) {
    case SOFT_OP_vaesimc: case SOFT_OP_vaesenc: case SOFT_OP_vaesenclast: case SOFT_OP_vaesdec: case SOFT_OP_vaesdeclast:
    case SOFT_OP_vaeskeygenassist:
        return __builtin_cpu_supports("aes");
    case SOFT_OP_vpclmulqdq:
        return __builtin_cpu_supports("pclmul");
    default:
        return jit_host_has_avx();
    }
}

static uint32_t opcode_of(const struct soft_insn *in, const struct soft_op_row *r)
{
    uint32_t op = in->imm2 | O_VEX;
    op |= r->map == M_V38 ? O_38 : r->map == M_V3A ? O_3A : O_0F;
    op |= r->prefix == P_66 ? O_66 : r->prefix == P_F3 ? O_F3 : r->prefix == P_F2 ? O_F2 : 0;
    op |= r->size == S_Y ? (in->opsize == 8 ? O_W : 0) : in->prefixes & SOFT_P_REXW ? O_W : 0;
    return op;
}

/* -1: there is none. */
static int immediate(const struct jit_gen *g, const struct soft_insn *in, const struct soft_op_row *r)
{
    bool fourth = in->op == SOFT_OP_vblendvps || in->op == SOFT_OP_vblendvpd || in->op == SOFT_OP_vpblendvb;
    if (r->form != F_RM_I8 && r->form != F_MR_I8 && r->form != F_M_I8 && r->form != F_RVM_I8)
        return -1;
    return (uint8_t)in->imm & (fourth && !g->mode64 ? 0x7f : 0xff); /* a register in bits 4 to 7 */
}

static void memory(struct jit_gen *g, const struct soft_insn *in, const struct soft_op_row *r)
{
    unsigned need = aligned(in->op) ? in->opsize - 1u : 0;
    if (need) {
        jit_flags_to_env(g);
        g->flags = JIT_FLAGS_ENV;
    }
    jit_operand(g, in, jit_vex_bytes(in), r->attr & A_ST);
    if (!need)
        return;
    /* Pages are aligned: what is added to the guest's address does not matter. */
    unsigned h = g->mem_base;
    if (g->mem_disp & (int32_t)need || h == JIT_NONE)
        jit_rm(g, 0x8d, h = JIT_A, g->mem_base, g->mem_disp);
    jit_rr(g, 0xf6 | O_BRM, 0, h);           /* test, need */
    jit_e8(g, need);
    jit_slow_if(g, CC_NE);
}

/* VZEROUPPER, VZEROALL. */
static bool zero(struct jit_gen *g, const struct soft_insn *in)
{
    if (!g->mode64)
        return false;                        /* of the lower eight only */
    jit_simd_enter(g);
    jit_e8(g, 0xc5);
    jit_e8(g, in->op == SOFT_OP_vzeroall ? 0xfc : 0xf8);
    jit_e8(g, 0x77);
    return true;
}

bool jit_vex(struct jit_gen *g, const struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    if (!g->jit->thunk_vec_load || g->jit->no_simd || !host_has(in->op) ||
        (g->b->key & AVX_KEYS) != (AVX_KEYS & ~SOFT_KEY_TS) || (in->is_mem && !jit_can_address(g, in)))
        return false;
    if (r->form == F_NONE)
        return zero(g, in);
    uint32_t op = opcode_of(in, r);
    op |= O_VV(r->attr & A_VV ? in->vvvv : 0) | (r->size == S_X && in->opsize == 32 ? O_L : 0);
    jit_simd_enter(g);
    if (in->is_mem)
        memory(g, in, r);
    jit_simd_copy(g, in, op, immediate(g, in, r));
    return true;
}

/* ---- General registers ------------------------------------------------------------------------------------ */
/* What they leave in the flags that the manuals call undefined does not depend on what was there. */
bool jit_bmi_forgets;
static bool host_bmi;

#define TRY(name, insn)                                                                            \
    static soft_aflags try_##name(soft_aflags f, uint32_t v)                                       \
    {                                                                                              \
        uint32_t ax = f, d;                                                                        \
        __asm__(SOFT_GIVE_FLAGS_ insn SOFT_TAKE_FLAGS_                                             \
                : [d] "=&r"(d), "+a"(ax) : [v] "r"(v), [s] "r"(0x0f0f3305u) : "cc");               \
        return (soft_aflags)ax;                                                                    \
    }
TRY(andn, "andn %[v], %[s], %[d]")
TRY(bzhi, "bzhi %[s], %[v], %[d]")
TRY(bextr, "bextr %[s], %[v], %[d]")
TRY(blsr, "blsr %[v], %[d]")
TRY(blsmsk, "blsmsk %[v], %[d]")
TRY(blsi, "blsi %[v], %[d]")

__attribute__((constructor)) static void probe_host(void)
{
    static soft_aflags (*const tries[])(soft_aflags, uint32_t) = { try_andn, try_bzhi, try_bextr, try_blsr, try_blsmsk, try_blsi };
    static const uint32_t values[] = { 0, 1, 0x80000000u, 0x12345678u, 0xffffffffu, 0x40000000u };
    __builtin_cpu_init();
    host_bmi = __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    jit_bmi_forgets = host_bmi;
    for (unsigned t = 0; host_bmi && t < sizeof tries / sizeof tries[0]; t++)
        for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++)
            jit_bmi_forgets &= tries[t](0x200, values[i]) == tries[t](0xd701, values[i]);
}

bool jit_bmi(struct jit_gen *g, const struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    bool two = in->op == SOFT_OP_mulx, group = r->ext != E_ANY, third = r->attr & A_VV && !group && !two;
    if (!host_bmi || (g->b->key & SOFT_KEY_PROT) == 0 || (in->is_mem && !jit_can_address(g, in)))
        return false;
    uint32_t op = opcode_of(in, r);
    unsigned first = group ? in->vvvv : in->reg, spare = JIT_A, other = JIT_B, rm = JIT_NONE;
    bool flags = in->flags & SOFT_F_WF && !jit_bmi_forgets && !jit_flags_dead(g->b, g->index + 1);
    if (in->is_mem) {
        jit_operand(g, in, in->opsize, false);
        spare = jit_spare(g);                /* the other holds the address until the instruction read it */
        other = spare == JIT_A ? JIT_B : JIT_A;
    }
    if (flags)
        jit_flags_to_host(g, spare);
    unsigned v = third ? jit_use(g, in->vvvv, in->is_mem ? spare : other) : 0;
    if (!in->is_mem)
        rm = jit_use(g, in->rm, spare);
    unsigned d = jit_pinned(first) == JIT_NONE ? spare : jit_pinned(first), low = JIT_NONE;
    if (two)
        v = low = jit_pinned(in->vvvv) == JIT_NONE ? other : jit_pinned(in->vvvv);
    if (group)
        v = d;
    if (d == JIT_B || low == JIT_B)
        g->held = -1;
    unsigned reg = group ? in->modrm >> 3 & 7 : d;
    op |= O_VV(r->attr & A_VV ? v : 0);
    if (in->is_mem)
        jit_mem(g, op, reg);
    else
        jit_rr(g, op, reg, rm);
    if (r->form == F_RVM_I8)
        jit_e8(g, (uint8_t)in->imm);         /* RORX */
    if (two)
        jit_done(g, in->vvvv, low);
    jit_done(g, first, d);
    if (in->flags & SOFT_F_WF)
        g->flags = JIT_FLAGS_HOST;
    return true;
}
