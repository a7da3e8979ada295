/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Accesses of one block through the same register: the first looks up the range that all of them
 * use, the others add what host and guest addresses differ by. Where the range is not in one page, or not in
 * the TLB, the block goes on in its plain version, which looks up every access (jit_bail, translate.c).
 *
 * The difference stays right to the end of the block: what changes translations ends blocks, and
 * soft_jit_one leaves when a device published another memory map.
 */
#include <string.h>

#include "engine/accel/soft/jit/gen.h"

#define SPAN_MAX 512

struct open { bool valid, write, crossed; int group; int32_t low, high; uint8_t members; uint8_t insn[2 * SOFT_BLOCK_INSNS], kind[2 * SOFT_BLOCK_INSNS]; };
struct scan { struct jit_gen *g; struct open base[16]; int32_t sp; };

static void close_base(struct scan *s, unsigned r)
{
    struct open *o = &s->base[r];
    struct jit_gen *g = s->g;
    if (o->valid && o->members > 1 && g->group_count < JIT_GROUPS) {
        unsigned k = g->group_count++;
        g->group[k] = (struct jit_group){ .low = o->low, .span = (uint16_t)(o->high - o->low), .write = o->write };
        for (unsigned i = 0; i < o->members; i++)
            g->access[o->insn[i]][o->kind[i]].group = (int8_t)k;
    }
    o->valid = false;
    if (r == GH_RSP)
        s->sp = 0;
}

static void close_all(struct scan *s)
{
    for (unsigned r = 0; r < 16; r++)
        close_base(s, r);
}

/* disp: from the register as it is now; for RSP the constants it moved by are kept account of. */
static void add(struct scan *s, unsigned i, unsigned kind, unsigned r, int64_t disp, unsigned bytes, bool write)
{
    struct open *o = &s->base[r];
    int64_t rel = disp + (r == GH_RSP ? s->sp : 0);
    if (rel < -0x100000 || rel > 0x100000)
        return;
    int32_t low = (int32_t)rel, high = low + (int32_t)bytes;
    /* Behind a conditional jump a store may be one that is not made: it is no reason to want the page writable before. */
    if (o->valid && ((high > o->low + SPAN_MAX) || (o->high > low + SPAN_MAX) || (o->crossed && write && !o->write))) {
        int32_t sp = s->sp;
        close_base(s, r);
        s->sp = sp;
    }
    if (!o->valid)
        *o = (struct open){ .valid = true, .low = low, .high = high };
    if (o->members == 2 * SOFT_BLOCK_INSNS)
        return;
    o->low = low < o->low ? low : o->low;
    o->high = high > o->high ? high : o->high;
    o->write |= write;
    o->insn[o->members] = (uint8_t)i;
    o->kind[o->members++] = (uint8_t)kind;
    s->g->access[i][kind] = (struct jit_access){ .group = -1, .base = (uint8_t)jit_pinned(r), .rel = low, .disp = (int32_t)disp };
}

static void wrote(struct scan *s, unsigned reg) { close_base(s, reg & 15); }

/* RSP changes that are constants; true: it was one. */
static bool stack_constant(struct scan *s, const struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    if (in->is_mem || in->rm != GH_RSP || in->opsize != 8 || in->klass != K_ALU)
        return false;
    unsigned op = in->modrm >> 3 & 7;
    if ((r->form != F_M_I8 && r->form != F_M_IZ) || (op != 0 && op != 5))
        return false;
    int64_t n = op == 0 ? (int64_t)in->imm : -(int64_t)in->imm;
    if (n < -0x10000 || n > 0x10000)
        return false;
    s->sp += (int32_t)n;
    return true;
}

/* The instruction adds a small constant to a register, all of it. */
bool jit_step(const struct soft_insn *in, unsigned *reg, int32_t *by)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    unsigned op = in->modrm >> 3 & 7;
    int64_t n;
    if (in->op == SOFT_OP_INVALID || in->opsize != 8)
        return false;
    switch (in->klass) {
    case K_ALU:
        if (in->is_mem || (r->form != F_M_I8 && r->form != F_M_IZ) || (op != 0 && op != 5))
            return false;
        *reg = in->rm;
        n = op == 0 ? (int64_t)in->imm : -(int64_t)in->imm;
        break;
    case K_ALU1:
        if (in->is_mem || r->form == F_O || in->imm2 != 0xff || op > 1)
            return false;
        *reg = in->rm;
        n = op ? -1 : 1;
        break;
    case K_LEA:
        if (in->base != in->reg || in->index != SOFT_NO_REG || in->is_mem != SOFT_MEM_FLAT64)
            return false;
        *reg = in->reg;
        n = in->disp;
        break;
    default:
        return false;
    }
    *by = (int32_t)n;
    return n >= -1024 && n <= 1024;
}

/* Guest registers that it writes, at the most. */
unsigned jit_written(const struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    unsigned mask = 0;
    if (in->op == SOFT_OP_INVALID)
        return 0xffff;
    if (r->attr & A_RW && in->klass != K_SSE)
        mask |= 1u << (in->reg & 15);
    if (r->attr & A_ST && !in->is_mem && in->klass != K_SSE)
        mask |= 1u << (in->rm & 15);
    if ((in->reg & 0x10 || in->rm & 0x10) && in->klass != K_SSE)
        mask |= 0xf;                         /* AH, CH, DH, BH: whichever */
    switch (in->klass) {
    case K_MOV: case K_ALU: case K_ALU1: case K_TEST: case K_LEA: case K_SHIFT: case K_SHIFTD: case K_MOVX: case K_SETCC: case K_CMOV:
    case K_BT: case K_BITS: case K_NOP: case K_JCC: case K_JMP: case K_JMPIND:
        break;
    case K_MUL:
        mask |= r->form == F_M ? 1u << GH_RAX | 1u << GH_RDX : 0;
        break;
    case K_CONV: case K_DIV:
        mask |= 1u << GH_RAX | 1u << GH_RDX;
        break;
    case K_ATOMIC:
        mask |= r->ext != E_ANY ? 0xffff : 1u << GH_RAX;
        break;
    case K_XCHG:
        mask |= 1u << GH_RAX | 1u << (in->reg & 15) | (in->is_mem ? 0 : 1u << (in->rm & 15));
        break;
    case K_FLAG:
        mask |= 1u << GH_RAX;
        break;
    case K_PUSH: case K_CALLREL: case K_CALLIND: case K_RET:
        mask |= 1u << GH_RSP;
        break;
    case K_POP:
        mask |= in->is_mem ? 0xffff : 1u << GH_RSP | 1u << (in->reg & 15);
        break;
    case K_BMI:
        mask |= r->ext != E_ANY || in->op == SOFT_OP_mulx ? 1u << in->vvvv : 0;
        break;
    case K_SSE: case K_SSE_GPR:
        mask |= in->klass == K_SSE ? 0 : 1u << GH_RCX; /* of string comparisons */
        break;
    default:
        return 0xffff;
    }
    return mask;
}

static void registers_written(struct scan *s, const struct soft_insn *in)
{
    unsigned mask = jit_written(in);
    for (unsigned r = 0; r < 16; r++)
        if (mask >> r & 1)
            close_base(s, r);
}

static void operand(struct scan *s, unsigned i, const struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    if (in->is_mem != SOFT_MEM_FLAT64 || in->index != SOFT_NO_REG || in->base > 15 || jit_pinned(in->base) == JIT_NONE || in->klass == K_LEA || in->klass == K_NOP ||
        (in->klass == K_BT && r->form == F_MR))
        return;
    add(s, i, 0, in->base, in->disp, in->klass == K_SSE || in->klass == K_SSE_GPR ? jit_simd_bytes(in) : jit_memory_bytes(in),
        r->attr & A_ST);
}

static void one(struct scan *s, unsigned i, const struct soft_insn *in)
{
    switch (in->klass) {
    case K_MOV: case K_ALU: case K_ALU1: case K_TEST: case K_LEA: case K_SHIFT: case K_SHIFTD: case K_MUL: case K_MOVX:
    case K_SETCC: case K_CMOV: case K_BT: case K_BITS: case K_NOP: case K_FLAG: case K_CONV: case K_XCHG: case K_ATOMIC: case K_DIV: case K_BMI:
        operand(s, i, in);
        if (!stack_constant(s, in))
            registers_written(s, in);
        break;
    case K_PUSH:
        if (in->opsize != 8) {
            close_all(s);
            break;
        }
        operand(s, i, in);
        add(s, i, 1, GH_RSP, -8, 8, true);
        s->sp -= 8;
        break;
    case K_POP:
        if (in->opsize != 8 || in->is_mem) {
            close_all(s);
            break;
        }
        add(s, i, 1, GH_RSP, 0, 8, false);
        s->sp += 8;
        wrote(s, in->reg);
        break;
    case K_CALLREL: case K_CALLIND:
        operand(s, i, in);
        add(s, i, 1, GH_RSP, -8, 8, true);
        break;
    case K_JMPIND:
        operand(s, i, in);
        break;
    case K_JCC:
        for (unsigned k = 0; k < 16; k++)
            s->base[k].crossed = true;
        break;
    case K_RET:
        add(s, i, 1, GH_RSP, 0, 8, false);
        break;
    case K_SSE: case K_SSE_GPR:
        operand(s, i, in);
        registers_written(s, in);
        break;
    default:
        close_all(s);
    }
}

/* ---- Walking pointers ------------------------------------------------------------------------------------ */
/* Notes registers that move by small constants, and those that stay. */
static void find_steps(struct jit_gen *g)
{
    const struct soft_block *b = g->b;
    unsigned wild = 0, stepped = 0;
    for (unsigned i = 0; i < b->count; i++) {
        const struct soft_insn *in = &b->insn[i];
        int32_t by;
        unsigned reg, written = jit_written(in);
        if (jit_step(in, &reg, &by))
            stepped |= 1u << reg;
        else
            wild |= written;
    }
    g->steps = (uint16_t)(stepped & ~wild);
    g->stays = (uint16_t)~(stepped | wild);
    const struct soft_insn *last = &b->insn[b->count - 1];
    g->loops = last->klass == K_JCC && last->op != SOFT_OP_INVALID && (uint64_t)b->bytes + last->imm == 0;
}

void jit_find_groups(struct jit_gen *g)
{
    struct scan s = { .g = g };
    g->group_count = 0;
    memset(g->access, -1, sizeof g->access);
    if (!g->mode64)
        return;
    find_steps(g);
    for (unsigned i = 0; i < g->b->count; i++)
        if (g->b->insn[i].op == SOFT_OP_INVALID)
            close_all(&s);
        else
            one(&s, i, &g->b->insn[i]);
    close_all(&s);
}
