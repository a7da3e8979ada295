/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bytes to struct soft_insn, driven by the table of insns.def. Intel SDM volume 2, chapter 2. */
#include "engine/accel/soft/decode.h"
#include "engine/accel/soft/handlers.h"

#define P_(f) soft_op_##f
#define H1(f)  { P_(f), P_(f), P_(f), P_(f), P_(f), P_(f), P_(f), P_(f) }
#define HRM(f) { P_(f##_r), P_(f##_r), P_(f##_r), P_(f##_r), P_(f##_m), P_(f##_m), P_(f##_m), P_(f##_m) }
#define HS(f)  { P_(f##_8), P_(f##_16), P_(f##_32), P_(f##_64), P_(f##_8), P_(f##_16), P_(f##_32), P_(f##_64) }
#define HV(f)  { NULL, P_(f##_16), P_(f##_32), P_(f##_64), NULL, P_(f##_16), P_(f##_32), P_(f##_64) }
#define HY(f)  { NULL, NULL, P_(f##_32), P_(f##_64), NULL, NULL, P_(f##_32), P_(f##_64) }
#define HA(f)  { P_(f##_r8), P_(f##_r16), P_(f##_r32), P_(f##_r64), P_(f##_m8), P_(f##_m16), P_(f##_m32), P_(f##_m64) }
#define HAV(f) { NULL, P_(f##_r16), P_(f##_r32), P_(f##_r64), NULL, P_(f##_m16), P_(f##_m32), P_(f##_m64) }
#define HAY(f) { NULL, NULL, P_(f##_r32), P_(f##_r64), NULL, NULL, P_(f##_m32), P_(f##_m64) }
const struct soft_op_row soft_rows[] = {
#define X(id, name, map, opcode, count, prefix, ext, form, size, attr, klass, handlers)            \
    { name, map, opcode, count, prefix, ext, form, size, klass, attr, handlers },
#include "engine/accel/soft/insns.def"
#undef X
};
const unsigned soft_row_count = SOFT_OP_COUNT;

/* Rows of each opcode, in table order: rows_of[index_of[map][opcode] .. + count_of[map][opcode]]. */
static uint16_t rows_of[SOFT_OP_COUNT * 16];
static uint16_t index_of[SOFT_MAPS][256];
static uint8_t count_of[SOFT_MAPS][256];

__attribute__((constructor)) static void build_index(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SOFT_OP_COUNT; i++)
        for (unsigned k = 0; k < soft_rows[i].count; k++)
            count_of[soft_rows[i].map][soft_rows[i].opcode + k]++;
    for (unsigned m = 0; m < SOFT_MAPS; m++)
        for (unsigned o = 0; o < 256; o++) {
            index_of[m][o] = n;
            n += count_of[m][o];
            count_of[m][o] = 0;
        }
    for (unsigned i = 0; i < SOFT_OP_COUNT; i++)
        for (unsigned k = 0; k < soft_rows[i].count; k++) {
            unsigned m = soft_rows[i].map, o = soft_rows[i].opcode + k;
            rows_of[index_of[m][o] + count_of[m][o]++] = i;
        }
}

struct cursor {
    const uint8_t *bytes;
    unsigned pos, avail;
    bool short_of_bytes;    /* more than avail needed */
    bool too_long;          /* more than 15 needed */
    uint64_t key;
    bool mode64;
    uint8_t rex, seg_override, pp;   /* pp: enum soft_row_prefix of the last of F2/F3, else 66, else NP */
    uint8_t map, opcode, vvvv;
    bool opsize16, addr_toggle, lock, vex, vex_l, has_modrm;
    uint8_t rep, modrm;
};
enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

static unsigned take(struct cursor *c)
{
    if (c->pos >= 15) {
        c->too_long = true;
        return 0;
    }
    if (c->pos >= c->avail) {
        c->short_of_bytes = true;
        return 0;
    }
    return c->bytes[c->pos++];
}

static uint64_t take_le(struct cursor *c, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)take(c) << (i * 8);
    return v;
}

static int64_t take_signed(struct cursor *c, unsigned bytes)
{
    uint64_t v = take_le(c, bytes);
    unsigned shift = 64 - bytes * 8;
    return (int64_t)(v << shift) >> shift;
}

/* Legacy prefixes, REX, and the escape bytes; leaves the last opcode byte in c->opcode. */
static bool take_opcode(struct cursor *c)
{
    unsigned b;
    bool p66 = false;
    for (;;) {
        b = take(c);
        if (c->short_of_bytes || c->too_long)
            return true;
        if (c->mode64 && (b & 0xf0) == 0x40) {
            c->rex = b & 0xf;
            c->rex |= 0x40;
            continue;
        }
        bool prefix = true;
        switch (b) {
        case 0x66: p66 = true; break;
        case 0x67: c->addr_toggle = true; break;
        case 0xf0: c->lock = true; break;
        case 0xf2: c->rep = SOFT_P_REPNE; break;
        case 0xf3: c->rep = SOFT_P_REP; break;
        case 0x26: c->seg_override = c->mode64 ? c->seg_override : GH_ES; break;
        case 0x2e: c->seg_override = c->mode64 ? c->seg_override : GH_CS; break;
        case 0x36: c->seg_override = c->mode64 ? c->seg_override : GH_SS; break;
        case 0x3e: c->seg_override = c->mode64 ? c->seg_override : GH_DS; break;
        case 0x64: c->seg_override = GH_FS; break;
        case 0x65: c->seg_override = GH_GS; break;
        default: prefix = false; break;
        }
        if (!prefix)
            break;
        c->rex = 0; /* REX counts only right before the opcode */
    }
    c->opsize16 = p66;
    c->pp = c->rep == SOFT_P_REPNE ? P_F2 : c->rep == SOFT_P_REP ? P_F3 : p66 ? P_66 : P_NP;
    c->map = M_1;
    if (b == 0x0f) {
        b = take(c);
        c->map = M_0F;
        if (b == 0x38 || b == 0x3a) {
            c->map = b == 0x38 ? M_38 : M_3A;
            b = take(c);
        }
    } else if ((b == 0xc4 || b == 0xc5) && (c->mode64 || (c->pos < c->avail && c->bytes[c->pos] >= 0xc0))) {
        static const uint8_t pps[4] = { P_NP, P_66, P_F3, P_F2 };
        if (!c->mode64 && !(c->key & SOFT_KEY_PROT))
            return false;
        if (c->rex || c->pp != P_NP || c->lock)
            return false;
        unsigned v = take(c), w;
        c->rex = 0x40 | (v & 0x80 ? 0 : REX_R);
        if (b == 0xc5) {
            c->map = M_V0F;
            w = v & 0x7f;
        } else {
            unsigned m = v & 0x1f;
            c->rex |= (v & 0x40 ? 0 : REX_X) | (v & 0x20 ? 0 : REX_B);
            w = take(c);
            c->rex |= w & 0x80 ? REX_W : 0;
            if (m < 1 || m > 3)
                return c->short_of_bytes || c->too_long;
            c->map = M_V0F + m - 1;
        }
        if (!c->mode64)
            c->rex &= 0x40 | REX_W;
        c->vvvv = (~w >> 3 & 15) & (c->mode64 ? 15 : 7);
        c->vex = true;
        c->vex_l = w & 4;
        c->pp = pps[w & 3];
        b = take(c);
    }
    c->opcode = b;
    return true;
}

static bool form_has_modrm(unsigned form)
{
    switch (form) {
    case F_MR: case F_RM: case F_M: case F_MR_I8: case F_RM_I8: case F_M_I8:
    case F_M_IZ: case F_RM_IZ: case F_RVM: case F_RVM_I8:
        return true;
    default:
        return false;
    }
}

static bool row_fits(struct cursor *c, const struct soft_op_row *r)
{
    if (r->prefix != P_ANY && r->prefix != c->pp)
        return false;
    if (c->mode64 ? r->attr & A_I64 : r->attr & A_O64)
        return false;
    if ((r->attr & A_PROT) && !(c->key & SOFT_KEY_PROT))
        return false;
    if ((r->attr & A_ZCNT) && (c->key & SOFT_KEY_OLD_BITS))
        return false;
    bool w = c->rex & REX_W;
    if ((r->attr & A_W0 && w) || (r->attr & A_W1 && !w))
        return false;
    if ((r->attr & A_L0 && c->vex_l) || (r->attr & A_L1 && !c->vex_l))
        return false;
    if (form_has_modrm(r->form)) {
        if (!c->has_modrm) {
            c->modrm = take(c);
            c->has_modrm = true;
        }
        if (r->ext >= 0xc0 ? r->ext != c->modrm : r->ext >= 0 && r->ext != (c->modrm >> 3 & 7))
            return false;
        bool is_reg = c->modrm >= 0xc0;
        if ((r->attr & A_MEM && is_reg) || (r->attr & A_REG && !is_reg))
            return false;
    }
    if (c->vex && !(r->attr & A_VV) && c->vvvv)
        return false;
    return true;
}

static unsigned operand_size(const struct cursor *c, unsigned size, unsigned addrsize)
{
    bool w = c->rex & REX_W, code32 = c->key & SOFT_KEY_CODE32;
    unsigned legacy = code32 != c->opsize16 ? 4 : 2;
    switch (size) {
    case S_B: return 1;
    case S_W: return 2;
    case S_D: return 4;
    case S_Q: return 8;
    case S_O: return 16;
    case S_V: return !c->mode64 ? legacy : w ? 8 : c->opsize16 ? 2 : 4;
    case S_V64: return !c->mode64 ? legacy : w || !c->opsize16 ? 8 : 2;
    case S_F64: return !c->mode64 ? legacy : 8;
    case S_Y: return c->mode64 && w ? 8 : 4;
    case S_M64: return c->mode64 ? 8 : 4;
    case S_X: return c->vex_l ? 32 : 16;
    default: return addrsize;
    }
}

/* What the addressing mode's registers mean for the linear address. */
static void classify_memory(const struct cursor *c, struct soft_insn *in)
{
    if (c->mode64) {
        if (in->addrsize != 8)
            in->is_mem = SOFT_MEM_GENERIC;
        else if (in->seg == GH_FS || in->seg == GH_GS)
            in->is_mem = SOFT_MEM_SEG64;
        else
            in->is_mem = in->base == SOFT_RIP_REG ? SOFT_MEM_RIP64 : SOFT_MEM_FLAT64;
    } else {
        bool flat = in->addrsize == 4 && in->seg != GH_CS && (c->key & SOFT_KEY_FLAT(in->seg));
        in->is_mem = flat ? SOFT_MEM_FLAT32 : SOFT_MEM_GENERIC;
    }
}

static void memory16(struct cursor *c, struct soft_insn *in)
{
    static const uint8_t bases[8] = { GH_RBX, GH_RBX, GH_RBP, GH_RBP, GH_RSI, GH_RDI, GH_RBP, GH_RBX };
    static const uint8_t indexes[8] = { GH_RSI, GH_RDI, GH_RSI, GH_RDI, SOFT_NO_REG, SOFT_NO_REG, SOFT_NO_REG, SOFT_NO_REG };
    unsigned mod = c->modrm >> 6, rm = c->modrm & 7;
    in->base = bases[rm];
    in->index = indexes[rm];
    if (mod == 0 && rm == 6) {
        in->base = SOFT_NO_REG;
        in->disp = take_signed(c, 2);
    } else if (mod) {
        in->disp = take_signed(c, mod == 1 ? 1 : 2);
    }
    in->seg = in->base == GH_RBP ? GH_SS : GH_DS;
}

static void memory32(struct cursor *c, struct soft_insn *in, bool vsib)
{
    unsigned mod = c->modrm >> 6, rm = c->modrm & 7;
    in->base = rm | (c->rex & REX_B ? 8 : 0);
    if (rm == 4) {
        unsigned sib = take(c);
        in->scale = sib >> 6;
        in->index = (sib >> 3 & 7) | (c->rex & REX_X ? 8 : 0);
        if (in->index == GH_RSP && !vsib) {
            in->index = SOFT_NO_REG;
            in->scale = 0;
        }
        rm = sib & 7;
        in->base = rm | (c->rex & REX_B ? 8 : 0);
    } else if (rm == 5 && mod == 0) {
        in->base = c->mode64 ? SOFT_RIP_REG : SOFT_NO_REG;
        in->disp = take_signed(c, 4);
        return;
    }
    if (rm == 5 && mod == 0) {
        in->base = SOFT_NO_REG;
        in->disp = take_signed(c, 4);
    } else if (mod) {
        in->disp = take_signed(c, mod == 1 ? 1 : 4);
    }
    if (in->base == GH_RSP || in->base == GH_RBP)
        in->seg = GH_SS;
}

static void take_modrm_operands(struct cursor *c, const struct soft_op_row *r, struct soft_insn *in)
{
    in->modrm = c->modrm;
    in->reg = (c->modrm >> 3 & 7) | (c->rex & REX_R && !(r->attr & A_NOSEGREX) ? 8 : 0);
    if (c->modrm >= 0xc0 || (r->attr & A_MODRM0F)) {
        in->rm = (c->modrm & 7) | (c->rex & REX_B && !(r->attr & A_NOREXB) ? 8 : 0);
        if (c->seg_override != SOFT_NO_REG)
            in->seg = c->seg_override; /* of the implied operand of MASKMOVQ */
        return;
    }
    if (in->addrsize == 2)
        memory16(c, in);
    else
        memory32(c, in, r->attr & A_VSIB);
    if (c->seg_override != SOFT_NO_REG)
        in->seg = c->seg_override;
    classify_memory(c, in);
}

static void take_immediates(struct cursor *c, const struct soft_op_row *r, struct soft_insn *in)
{
    unsigned z = in->opsize > 4 ? 4 : in->opsize;
    switch (r->form) {
    case F_MR_I8: case F_RM_I8: case F_M_I8: case F_AI8: case F_I8: case F_J8: case F_RVM_I8:
        in->imm = take_signed(c, 1);
        break;
    case F_M_IZ: case F_RM_IZ: case F_AIZ: case F_IZ:
        in->imm = take_signed(c, z);
        break;
    case F_JZ:
        in->imm = take_signed(c, in->opsize == 2 ? 2 : 4);
        break;
    case F_OI:
        in->imm = take_signed(c, in->opsize);
        break;
    case F_I16:
        in->imm = take_le(c, 2);
        break;
    case F_I16_I8:
        in->imm = take_le(c, 2);
        in->imm2 = take(c);
        break;
    case F_FAR:
        in->imm = take_le(c, in->opsize == 2 ? 2 : 4);
        in->disp = take_le(c, 2);
        break;
    case F_MOFFS:
        in->imm = take_le(c, in->addrsize);
        in->seg = c->seg_override != SOFT_NO_REG ? c->seg_override : GH_DS;
        in->is_mem = SOFT_MEM_GENERIC;
        break;
    case F_STR_SI: case F_STR_BOTH:
        in->seg = c->seg_override != SOFT_NO_REG ? c->seg_override : GH_DS;
        break;
    case F_STR_DI:
        in->seg = GH_ES;
        break;
    default:
        break;
    }
}

static uint8_t byte_register(const struct cursor *c, unsigned n)
{
    return c->rex || n < 4 || n > 7 ? n : (n - 4) | 0x10;
}

static unsigned set_invalid(const struct cursor *c, struct soft_insn *in, soft_op_fn fn)
{
    in->fn = fn;
    in->op = SOFT_OP_INVALID;
    in->klass = K_CALL;
    in->flags = SOFT_F_UD | SOFT_F_END | SOFT_F_FAULT;
    in->len = c->pos ? c->pos : 1;
    return in->len;
}

static unsigned fill(struct cursor *c, unsigned op, struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[op];
    unsigned mode_addr = c->mode64 ? 8 : (bool)(c->key & SOFT_KEY_CODE32) != c->addr_toggle ? 4 : 2;
    in->op = op;
    in->klass = r->klass;
    in->addrsize = c->mode64 && c->addr_toggle ? 4 : mode_addr;
    in->opsize = operand_size(c, r->size, in->addrsize);
    in->imm2 = c->opcode;
    in->vvvv = c->vvvv;
    in->prefixes = (c->lock ? SOFT_P_LOCK : 0) | c->rep | (c->opsize16 ? SOFT_P_OPSIZE : 0)
                 | (c->addr_toggle ? SOFT_P_ADDRSIZE : 0) | (c->rex ? SOFT_P_REX : 0)
                 | (c->rex & REX_W ? SOFT_P_REXW : 0) | (c->vex_l ? SOFT_P_VEXL : 0);
    if (c->has_modrm)
        take_modrm_operands(c, r, in);
    else if (r->form == F_O || r->form == F_OI)
        in->reg = in->rm = (c->opcode & 7) | (c->rex & REX_B ? 8 : 0);
    take_immediates(c, r, in);
    if (c->too_long)
        return set_invalid(c, in, soft_op_too_long);
    if (c->short_of_bytes)
        return 0;
    if (r->size == S_B) {
        in->reg = byte_register(c, in->reg);
        if (!in->is_mem)
            in->rm = byte_register(c, in->rm);
    } else if ((r->attr & A_RM8) && !in->is_mem) {
        in->rm = byte_register(c, in->rm);
    }
    in->len = c->pos;
    unsigned log = in->opsize >= 8 ? 3 : in->opsize >> 1;
    in->fn = r->fn[(in->is_mem ? 4 : 0) | (log > 2 ? 3 : log)];
    if (!in->fn || (c->lock && (!(r->attr & A_LOCK) || !in->is_mem)))
        return set_invalid(c, in, soft_op_invalid);
    bool end = r->attr & A_END || (r->attr & A_STR && c->rep);
    bool faults = r->attr & (A_FLT | A_STK | A_STR) || (in->is_mem && r->attr & (A_LD | A_ST));
    in->flags = (end ? SOFT_F_END : 0) | (faults ? SOFT_F_FAULT : 0) | (r->attr & A_RF ? SOFT_F_RF : 0)
              | (r->attr & A_WF ? SOFT_F_WF : 0) | (in->is_mem && r->attr & A_LD ? SOFT_F_LOAD : 0)
              | (in->is_mem && r->attr & A_ST ? SOFT_F_STORE : 0);
    return in->len;
}

unsigned soft_decode(uint64_t key, const uint8_t *bytes, unsigned avail, struct soft_insn *ret)
{
    struct cursor c = { .bytes = bytes, .avail = avail, .key = key, .mode64 = key & SOFT_KEY_CODE64,
                        .seg_override = SOFT_NO_REG };
    *ret = (struct soft_insn){ .base = SOFT_NO_REG, .index = SOFT_NO_REG, .seg = GH_DS };
    bool known = take_opcode(&c);
    if (c.too_long)
        return set_invalid(&c, ret, soft_op_too_long);
    if (c.short_of_bytes)
        return 0;
    if (!known)
        return set_invalid(&c, ret, soft_op_invalid);
    unsigned first = index_of[c.map][c.opcode], count = count_of[c.map][c.opcode];
    for (unsigned i = 0; i < count; i++)
        if (row_fits(&c, &soft_rows[rows_of[first + i]]) && !c.short_of_bytes && !c.too_long)
            return fill(&c, rows_of[first + i], ret);
    if (c.too_long)
        return set_invalid(&c, ret, soft_op_too_long);
    return c.short_of_bytes ? 0 : set_invalid(&c, ret, soft_op_invalid);
}

const char *soft_insn_name(const struct soft_insn *in)
{
    return in->op < SOFT_OP_COUNT ? soft_rows[in->op].name : "(bad)";
}
