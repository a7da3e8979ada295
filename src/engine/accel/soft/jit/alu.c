/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Integer instructions that are copied: the same opcode with the operands where the guest's are. What the
 * processor leaves undefined in the flags is then the host's answer, as in the interpreter.
 */
#include <cpuid.h>

#include "engine/accel/soft/flags.h"
#include "engine/accel/soft/jit/gen.h"

/* Does the host's instruction leave flags that depend on what the flags were? If not, a shift by a
 * constant, or a multiplication, needs no old flags. */
bool jit_shifts_forget, jit_multiplies_forget;

static bool same_flags(soft_aflags (*op)(soft_aflags f, uint32_t v))
{
    static const uint32_t values[] = { 0, 1, 0x80000000u, 0x12345678u, 0xffffffffu, 0x40000000u };
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++)
        if (op(0x200, values[i]) != op(0xd701, values[i]))
            return false;
    return true;
}
static soft_aflags try_shl(soft_aflags f, uint32_t v) { soft_v_shl32(v, 5, &f); return f; }
static soft_aflags try_shr(soft_aflags f, uint32_t v) { soft_v_shr32(v, 5, &f); return f; }
static soft_aflags try_sar(soft_aflags f, uint32_t v) { soft_v_sar32(v, 5, &f); return f; }
static soft_aflags try_shl1(soft_aflags f, uint32_t v) { soft_v_shl32(v, 1, &f); return f; }
static soft_aflags try_imul(soft_aflags f, uint32_t v) { soft_v_imul32(v, 0x10003, &f); return f; }

static bool host_movbe, host_adx, host_crc32;

__attribute__((constructor)) static void probe_host(void)
{
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        host_movbe = c & bit_MOVBE;
        host_crc32 = c & bit_SSE4_2;
    }
    host_adx = __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_ADX;
    jit_shifts_forget = same_flags(try_shl) && same_flags(try_shr) && same_flags(try_sar) && same_flags(try_shl1);
    jit_multiplies_forget = same_flags(try_imul);
}

/* The old flags must be in EFLAGS before it. */
static bool needs_flags(const struct jit_gen *g, const struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    unsigned kind = in->modrm >> 3 & 7;
    switch (in->klass) {
    case K_SHIFT:
        if (kind == 2 || kind == 3)
            return true;                    /* through CF */
        if (kind >= 4 && r->opcode < 0xd2 && jit_shifts_forget &&
            (r->form != F_M_I8 || (in->imm & (in->opsize == 8 ? 63 : 31))))
            return false;
        return !jit_flags_dead(g->b, g->index + 1);
    case K_ALU1: case K_SHIFTD: case K_BT: case K_BITS: /* keep some or all */
        if (r->map == M_38)
            return in->flags & SOFT_F_RF;   /* ADCX, ADOX */
        return in->flags & SOFT_F_RF && !jit_flags_dead(g->b, g->index + 1);
    case K_MUL:
        return !jit_multiplies_forget;
    default:
        return in->flags & SOFT_F_RF;
    }
}

static bool copyable(const struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    switch (in->klass) {
    case K_MOV: case K_ALU: case K_ALU1: case K_TEST: case K_SHIFT: case K_SHIFTD: case K_MUL: case K_SETCC: case K_CMOV:
    case K_CONV:
        return true;
    case K_MOVX:
        return r->map != M_38 || host_movbe;
    case K_XCHG:
        return true;
    case K_BT:
        return !in->is_mem || r->form != F_MR; /* a bit string in memory */
    case K_BITS:
        return r->map == M_0F || (in->flags & SOFT_F_RF ? host_adx : host_crc32);
    case K_ATOMIC:
        return in->opsize <= 8 && r->ext == E_ANY && in->is_mem;
    default:
        return false;
    }
}

unsigned jit_memory_bytes(const struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    if (r->attr & A_RM8)
        return 1;
    if (r->attr & A_RM16)
        return 2;
    if (in->op == SOFT_OP_movsxd && in->opsize == 8)
        return 4;
    return in->opsize;
}

static uint32_t opcode_of(const struct soft_insn *in, const struct soft_op_row *r)
{
    uint32_t op = in->imm2;
    if (r->map == M_1 && op == 0x82)         /* the alias that 64-bit mode does not have */
        op = 0x80;
    op |= r->map == M_0F ? O_0F : r->map == M_38 ? O_38 : 0;
    if (r->size == S_V || r->size == S_Y)
        op |= (in->opsize == 2 ? O_66 : 0) | (in->opsize == 8 ? O_W : 0);
    op |= r->prefix == P_F3 ? O_F3 : r->prefix == P_F2 ? O_F2 : r->prefix == P_66 ? O_66 : 0;
    op |= in->prefixes & SOFT_P_LOCK ? O_LOCK : 0;
    return op;
}

static void immediate(struct jit_gen *g, const struct soft_insn *in, unsigned form)
{
    if (form == F_M_I8 || form == F_MR_I8 || form == F_RM_I8 || in->opsize == 1)
        jit_e8(g, (uint8_t)in->imm);
    else if (in->opsize == 2) {
        jit_e8(g, (uint8_t)in->imm);
        jit_e8(g, (uint8_t)(in->imm >> 8));
    } else
        jit_e32(g, (uint32_t)in->imm);
}

static bool has_immediate(unsigned form)
{
    return form == F_M_I8 || form == F_MR_I8 || form == F_RM_I8 || form == F_M_IZ || form == F_RM_IZ || form == F_AIZ;
}

static void flags_after(struct jit_gen *g, const struct soft_insn *in)
{
    if (in->flags & SOFT_F_WF)
        g->flags = JIT_FLAGS_HOST;
}

/* Host register of the reg operand; its old value is loaded where something of it stays. */
static unsigned use_reg(struct jit_gen *g, const struct soft_insn *in, const struct soft_op_row *r, unsigned scratch)
{
    if (r->attr & A_RW && !(r->attr & A_RR) && in->opsize >= 4 && jit_pinned(in->reg) == JIT_NONE)
        return scratch;
    return jit_use(g, in->reg, scratch);
}

/* ModRM instructions. reg_gpr: the reg field is a register and not part of the opcode. */
static bool with_modrm(struct jit_gen *g, const struct soft_insn *in, const struct soft_op_row *r)
{
    bool reg_gpr = r->form == F_MR || r->form == F_RM || r->form == F_MR_I8 || r->form == F_RM_I8 || r->form == F_RM_IZ;
    bool byte = r->size == S_B;
    bool high_reg = byte && reg_gpr && in->reg & 0x10, high_rm = !in->is_mem && in->rm & 0x10;
    uint32_t op = opcode_of(in, r);
    unsigned reg = in->modrm >> 3 & 7, rm = JIT_NONE, bytes = jit_memory_bytes(in);
    bool locks = in->is_mem && (in->klass == K_XCHG || in->prefixes & SOFT_P_LOCK);
    bool reg_w = reg_gpr && r->attr & A_RW, rm_w = r->attr & A_ST;
    bool flags = needs_flags(g, in);

    if (byte)
        op |= O_BREG | O_BRM;
    if (r->attr & A_RM8)
        op |= O_BRM;
    if (!reg_gpr)
        op &= ~O_BREG;
    if (high_reg || high_rm) {
        if (in->is_mem || (op & O_W))
            return false;
        if (!high_reg && reg_gpr && in->reg == GH_RSP)
            return false;                    /* R12 would need a REX prefix */
        op |= O_NOREX;
    }
    if (in->is_mem ? !jit_can_address(g, in) : (in->klass == K_XCHG || in->klass == K_ATOMIC) && in->reg == in->rm)
        return false;
    if (in->is_mem) {
        jit_operand(g, in, bytes, rm_w);
        if (locks && bytes > 1) {
            jit_flags_to_env(g);
            jit_operand_to_a(g);
            jit_check_lockable(g, bytes);
            g->flags = JIT_FLAGS_ENV;
        }
        if (flags)
            jit_flags_to_host(g, jit_spare(g));
        if (reg_gpr)
            reg = high_reg ? (in->reg & 3u) + 4 : use_reg(g, in, r, high_reg || jit_pinned(in->reg) != JIT_NONE ? JIT_B : jit_spare(g));
        jit_mem(g, op, reg);
        if (has_immediate(r->form))
            immediate(g, in, r->form);
        if (reg_w)
            jit_done(g, in->reg, reg);
        flags_after(g, in);
        return true;
    }
    if (flags)
        jit_flags_to_host(g, JIT_A);
    if (r->form == F_MR && (in->klass == K_MOV || in->klass == K_ALU) && !high_reg && !high_rm &&
        jit_pinned(in->reg) == JIT_NONE && jit_pinned(in->rm) != JIT_NONE) {
        jit_env(g, op ^ 2, jit_pinned(in->rm), JIT_GPR_OF(in->reg)); /* the other direction */
        flags_after(g, in);
        return true;
    }
    if (reg_gpr)
        reg = high_reg ? (in->reg & 3u) + 4 : use_reg(g, in, r, JIT_B);
    bool in_env = !high_rm && jit_pinned(in->rm) == JIT_NONE, half = rm_w && in->opsize == 4;
    if (in_env && half && !(r->attr & A_LD)) {
        jit_rr(g, op, reg, rm = JIT_A);      /* nothing of the old value stays */
    } else if (in_env && !half && in->klass != K_BT && in->klass != K_XCHG && !(op & O_LOCK)) {
        jit_env(g, op, reg, JIT_GPR_OF(in->rm));
    } else {
        rm = high_rm ? (in->rm & 3u) + 4 : jit_use(g, in->rm, JIT_A);
        jit_rr(g, op, reg, rm);
    }
    if (has_immediate(r->form))
        immediate(g, in, r->form);
    if (rm != JIT_NONE && rm_w && !high_rm)
        jit_done(g, in->rm, rm);
    if (reg_w && !high_reg)
        jit_done(g, in->reg, reg);
    flags_after(g, in);
    return true;
}

/* MOV r, imm: everything fits in a register of ours or in memory. */
static bool mov_imm(struct jit_gen *g, const struct soft_insn *in)
{
    unsigned h = in->reg & 0x10 ? JIT_NONE : jit_pinned(in->reg);
    if (in->reg & 0x10) {
        jit_e8(g, 0xb0 | ((in->reg & 3) + 4));
        jit_e8(g, (uint8_t)in->imm);
    } else if (h == JIT_NONE && in->opsize == 8) {
        jit_imm64(g, JIT_A, in->imm);
        jit_store(g, JIT_A, JIT_GPR_OF(in->reg));
    } else if (h == JIT_NONE && in->opsize == 4) {
        jit_imm64(g, JIT_A, (uint32_t)in->imm);
        jit_store(g, JIT_A, JIT_GPR_OF(in->reg));
    } else if (in->opsize >= 4) {
        jit_imm64(g, h, in->opsize == 4 ? (uint32_t)in->imm : in->imm);
    } else {
        uint32_t op = in->opsize == 1 ? 0xc6 | O_BRM : 0xc7 | O_66;
        if (h == JIT_NONE)
            jit_env(g, op, 0, JIT_GPR_OF(in->reg));
        else
            jit_rr(g, op, 0, h);
        immediate(g, in, F_M_IZ);
    }
    return true;
}

/* One register in the opcode: BSWAP, XCHG with the accumulator, INC and DEC of 32-bit code. */
static bool in_opcode(struct jit_gen *g, const struct soft_insn *in)
{
    uint32_t size = (in->opsize == 2 ? O_66 : 0) | (in->opsize == 8 ? O_W : 0);
    if (in->klass == K_BITS) {
        if (in->opsize == 2)
            return false;
        unsigned h = jit_use(g, in->reg, JIT_A);
        unsigned rex = (in->opsize == 8 ? 8 : 0) | h >> 3;
        if (rex)
            jit_e8(g, 0x40 | rex);
        jit_e8(g, 0x0f);
        jit_e8(g, 0xc8 | (h & 7));
        jit_done(g, in->reg, h);
        return true;
    }
    if (in->klass == K_XCHG) {
        if (in->reg == GH_RAX)
            return true;
        unsigned h = jit_use(g, in->reg, JIT_A);
        jit_rr(g, 0x87 | size, H_RAX, h);
        jit_done(g, in->reg, h);
        return true;
    }
    if (in->klass == K_ALU1) {
        if (needs_flags(g, in))
            jit_flags_to_host(g, JIT_A);
        jit_rr(g, 0xff | size, in->imm2 >= 0x48, jit_pinned(in->reg));
        g->flags = JIT_FLAGS_HOST;
        return true;
    }
    return false;
}

static bool lea(struct jit_gen *g, const struct soft_insn *in)
{
    if (in->is_mem == SOFT_MEM_GENERIC)
        return false;
    struct soft_insn plain = *in;
    if (in->is_mem == SOFT_MEM_SEG64)
        plain.is_mem = SOFT_MEM_FLAT64;
    unsigned to = jit_pinned(in->reg);
    unsigned base = in->base == SOFT_NO_REG ? JIT_NONE : in->base < 16 ? jit_pinned(in->base) : JIT_NONE;
    unsigned index = in->index == SOFT_NO_REG ? JIT_NONE : jit_pinned(in->index);
    bool direct = to != JIT_NONE && in->opsize >= 4 && in->base < 16 && base != JIT_NONE &&
                  (in->index == SOFT_NO_REG || index != JIT_NONE);
    uint32_t width = in->opsize == 8 ? O_W : 0;
    if (direct) {
        jit_rx(g, 0x8d | width, to, base, index, in->scale, in->disp);
        return true;
    }
    jit_address(g, &plain);
    if (in->opsize == 2) {
        unsigned h = jit_use(g, in->reg, JIT_B);
        jit_rr(g, 0x89 | O_66, JIT_A, h);
        jit_done(g, in->reg, h);
    } else if (to != JIT_NONE) {
        jit_rr(g, 0x89 | width, JIT_A, to);
    } else {
        if (in->opsize == 4)
            jit_rr(g, 0x89, JIT_A, JIT_A);
        jit_store(g, JIT_A, JIT_GPR_OF(in->reg));
    }
    return true;
}

static bool flag_ops(struct jit_gen *g, const struct soft_insn *in)
{
    if (in->op == SOFT_OP_cld || in->op == SOFT_OP_std) {
        jit_flags_to_env(g);
        g->flags = JIT_FLAGS_ENV;
        jit_env(g, 0x81, in->op == SOFT_OP_cld ? 4 : 1, JIT_ENV_OF(rflags_rest));
        jit_e32(g, in->op == SOFT_OP_cld ? ~0x400u : 0x400u);
        return true;
    }
    jit_flags_to_host(g, JIT_A);
    jit_e8(g, in->imm2);                     /* CLC, STC, CMC, SAHF, LAHF */
    flags_after(g, in);
    return true;
}

/* Quotients that surely fit; what is left goes to the handler. It leaves the flags, so they are kept. */
static bool divide(struct jit_gen *g, const struct soft_insn *in)
{
    uint32_t wide = in->opsize == 8 ? O_W : 0;
    bool is_signed = (in->modrm >> 3 & 7) == 7;
    if (in->opsize < 4 || (in->is_mem && !jit_can_address(g, in)))
        return false;
    jit_flags_to_env(g);
    if (in->is_mem) {
        jit_operand(g, in, in->opsize, false);
        jit_mem(g, 0x8b | wide, JIT_A);
    } else {
        unsigned h = jit_use(g, in->rm, JIT_A);
        if (h != JIT_A)
            jit_rr(g, 0x89 | wide, h, JIT_A);
    }
    g->flags = JIT_FLAGS_ENV;
    if (is_signed) {
        jit_rr(g, 0x89 | wide, H_RAX, JIT_B);
        jit_rr(g, 0xc1 | wide, 7, JIT_B);    /* the high half must be the low half's sign, */
        jit_e8(g, in->opsize * 8u - 1);
        jit_rr(g, 0x39 | wide, H_RDX, JIT_B);
        jit_slow_if(g, CC_NE);
        jit_rm(g, 0x8d | wide, JIT_B, JIT_A, 1); /* the divisor neither 0 nor -1 */
        jit_rr(g, 0x83 | wide, 7, JIT_B);
        jit_e8(g, 1);
        jit_slow_if(g, CC_BE);
    } else {
        jit_rr(g, 0x39 | wide, JIT_A, H_RDX);
        jit_slow_if(g, CC_AE);
    }
    jit_rr(g, 0xf7 | wide, is_signed ? 7 : 6, JIT_A);
    return true;
}

bool jit_int(struct jit_gen *g, const struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[in->op];

    if (in->klass == K_NOP)
        return true;
    if (in->klass == K_LEA)
        return lea(g, in);
    if (in->klass == K_FLAG)
        return flag_ops(g, in);
    if (in->klass == K_DIV)
        return divide(g, in);
    if (!copyable(in))
        return false;
    switch (r->form) {
    case F_OI:
        return mov_imm(g, in);
    case F_O:
        return in_opcode(g, in);
    case F_NONE:                             /* CBW, CWD families: on RAX and RDX */
        if (in->opsize != 4)
            jit_e8(g, in->opsize == 8 ? 0x48 : 0x66);
        jit_e8(g, in->imm2);
        return true;
    case F_AIZ: {
        if (needs_flags(g, in))
            jit_flags_to_host(g, JIT_A);
        if (in->opsize == 2 || in->opsize == 8)
            jit_e8(g, in->opsize == 8 ? 0x48 : 0x66);
        jit_e8(g, in->imm2);
        immediate(g, in, r->form);
        flags_after(g, in);
        return true;
    }
    default:
        return with_modrm(g, in, r);
    }
}
