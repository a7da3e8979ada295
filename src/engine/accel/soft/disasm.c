/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Decoded instructions as text, from the table that decoder, dispatch and translator use: what is shown is what is
 * executed. Order of operands and names as in the Intel SDM; implied operands are not shown.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/accel/soft/decode.h"

struct text { char *at, *end; unsigned operands; };

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(t->at, (size_t)(t->end - t->at), fmt, ap);
    va_end(ap);
    if (n > 0)
        t->at += n < t->end - t->at ? n : t->end - t->at - 1;
}

static void next(struct text *t) { put(t, t->operands++ ? ", " : " "); }

static const char *const segments[] = { "es", "cs", "ss", "ds", "fs", "gs" };

/* Byte registers as the decoder gives them: 0x10 and up are AH, CH, DH, BH. */
static void put_gpr(struct text *t, unsigned r, unsigned size)
{
    static const char *const low[] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };
    static const char *const byte[] = { "al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil" };
    static const char *const high[] = { "ah", "ch", "dh", "bh" };

    if (r >= 8 && r < 16)
        put(t, "r%u%s", r, size == 8 ? "" : size == 4 ? "d" : size == 2 ? "w" : "b");
    else if (r < 8 && size == 1)
        put(t, "%s", byte[r]);
    else if (r & 0x10)
        put(t, "%s", high[r & 3]);
    else if (r < 8)
        put(t, "%s%s", size == 8 ? "r" : size == 4 ? "e" : "", low[r]);
}

static void put_number(struct text *t, int64_t v, bool sign)
{
    uint64_t size = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    put(t, "%s%s%" PRIx64, v < 0 ? "-" : sign ? "+" : "", size < 10 ? "" : "0x", size);
}

static void put_memory(struct text *t, const struct soft_insn *in, unsigned size)
{
    static const char *const sizes[] = { [1] = "byte ", [2] = "word ", [4] = "dword ", [8] = "qword ", [16] = "xmmword ", [32] = "ymmword " };
    bool vsib = in->op < SOFT_OP_COUNT && soft_rows[in->op].attr & A_VSIB, first = true;

    if (size <= 32 && size && sizes[size])
        put(t, "%s", sizes[size]);
    put(t, "[");
    if (in->seg != (in->base == GH_RSP || in->base == GH_RBP ? GH_SS : GH_DS) && in->seg < 6)
        put(t, "%s:", segments[in->seg]);
    if (in->base == SOFT_RIP_REG) {
        put(t, "rip");
        first = false;
    } else if (in->base < 16) {
        put_gpr(t, in->base, in->addrsize);
        first = false;
    }
    if (in->index < 16) {
        put(t, first ? "" : "+");
        if (vsib)
            put(t, "%cmm%u", in->opsize == 32 ? 'y' : 'x', in->index);
        else
            put_gpr(t, in->index, in->addrsize);
        if (in->scale)
            put(t, "*%u", 1u << in->scale);
        first = false;
    }
    if (first)
        put(t, "0x%x", (uint32_t)in->disp);
    else if (in->disp)
        put_number(t, in->disp, true);
    put(t, "]");
}

static bool begins(const char *name, const char *const *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!strncmp(name, list[i], strlen(list[i])))
            return true;
    return false;
}

/* Of an instruction between vector and general registers: is ModRM.reg the general one? */
static bool reg_is_general(const char *name)
{
    static const char *const rm_general[] = { "cvtsi2", "vcvtsi2", "cvtpi2", "movd", "vmovd", "movq", "vmovq", "pinsr", "vpinsr", "pextr", "vpextr", "extractps",
                                              "vextractps" };
    return !begins(name, rm_general, sizeof rm_general / sizeof *rm_general);
}

static void put_register(struct text *t, const struct soft_insn *in, const struct soft_op_row *row, unsigned r, bool is_reg)
{
    bool narrow = !is_reg && row->attr & (A_RM8 | A_RM16);

    if (row->klass == K_SSE || (row->klass == K_SSE_GPR && is_reg != reg_is_general(row->name)))
        put(t, "%cmm%u", in->opsize == 32 ? 'y' : 'x', r);
    else if (row->klass == K_MMX)
        put(t, "mm%u", r & 7);
    else if (is_reg && row->attr & A_NOSEGREX)
        put(t, "%s", r < 6 ? segments[r] : "?");
    else if (row->attr & A_MODRM0F && is_reg)
        put(t, "%s%u", row->opcode & 1 ? "dr" : "cr", r);
    else
        put_gpr(t, r, narrow ? row->attr & A_RM8 ? 1 : 2 : in->opsize > 8 ? 8 : in->opsize);
}

static void put_rm(struct text *t, const struct soft_insn *in, const struct soft_op_row *row)
{
    next(t);
    if (in->is_mem)
        put_memory(t, in, row->klass == K_LEA || row->klass == K_X87 ? 0 : row->attr & A_RM8 ? 1 : row->attr & A_RM16 ? 2 : in->opsize);
    else if (row->klass == K_X87)
        put(t, "st%u", in->modrm & 7u);
    else
        put_register(t, in, row, in->rm, false);
}

static void put_reg(struct text *t, const struct soft_insn *in, const struct soft_op_row *row)
{
    next(t);
    put_register(t, in, row, in->reg, true);
}

static void put_imm(struct text *t, uint64_t v)
{
    next(t);
    put_number(t, (int64_t)v, false);
}

/* The bit instructions whose count or control is the VEX register: it comes last. */
static const char *const count_last[] = { "sarx", "shlx", "shrx", "bextr", "bzhi" };

static void put_operands(struct text *t, const struct soft_insn *in, const struct soft_op_row *row, uint64_t rip)
{
    switch (row->form) {
    case F_MR: case F_MR_I8:
        if (row->attr & A_MODRM0F && row->opcode & 2) { /* MOV to CR or DR */
            put_reg(t, in, row);
            put_rm(t, in, row);
            break;
        }
        put_rm(t, in, row);
        put_reg(t, in, row);
        break;
    case F_RM: case F_RM_I8: case F_RM_IZ: put_reg(t, in, row); put_rm(t, in, row); break;
    case F_M: case F_M_I8: case F_M_IZ:
        if (row->attr & A_VV) {
            next(t);
            put_register(t, in, row, in->vvvv, true);
        }
        put_rm(t, in, row);
        break;
    case F_RVM: case F_RVM_I8:
        put_reg(t, in, row);
        if (row->attr & A_VV && begins(row->name, count_last, sizeof count_last / sizeof *count_last)) {
            put_rm(t, in, row);
            next(t);
            put_register(t, in, row, in->vvvv, true);
            break;
        }
        if (row->attr & A_VV) {
            next(t);
            put_register(t, in, row, in->vvvv, row->klass != K_SSE_GPR);
        }
        put_rm(t, in, row);
        break;
    case F_O: case F_OI: case F_AI8: case F_AIZ: put_reg(t, in, row); break;
    case F_J8: case F_JZ:
        next(t);
        put(t, "0x%" PRIx64, rip + in->len + in->imm);
        return;
    case F_FAR:
        next(t);
        put(t, "0x%x:0x%" PRIx64, (uint16_t)in->disp, in->imm);
        return;
    case F_MOFFS:
        next(t);
        put_gpr(t, 0, in->opsize);
        next(t);
        put(t, "[%s:0x%" PRIx64 "]", in->seg < 6 ? segments[in->seg] : "ds", in->imm);
        return;
    default: break;
    }
    switch (row->form) {
    case F_MR_I8: case F_RM_I8: case F_M_I8: case F_M_IZ: case F_RM_IZ: case F_OI: case F_AI8: case F_AIZ: case F_I8: case F_IZ: case F_I16: case F_RVM_I8:
        put_imm(t, in->imm);
        break;
    case F_I16_I8:
        put_imm(t, in->imm);
        put_imm(t, in->imm2);
        break;
    default: break;
    }
}

void soft_insn_text(const struct soft_insn *in, uint64_t rip, char *ret, size_t size)
{
    struct text t = { ret, ret + size, 0 };

    if (!size)
        return;
    ret[0] = 0;
    if (in->op >= SOFT_OP_COUNT || in->flags & SOFT_F_UD) {
        put(&t, "(bad)");
        return;
    }
    const struct soft_op_row *row = &soft_rows[in->op];
    if (in->prefixes & SOFT_P_LOCK)
        put(&t, "lock ");
    if (row->attr & A_STR && in->prefixes & (SOFT_P_REP | SOFT_P_REPNE))
        put(&t, in->prefixes & SOFT_P_REP ? "rep " : "repne ");
    put(&t, "%s", row->name);
    if (row->attr & A_STR)
        put(&t, "%c", in->opsize == 1 ? 'b' : in->opsize == 2 ? 'w' : in->opsize == 4 ? 'd' : 'q');
    put_operands(&t, in, row, rip);
}
