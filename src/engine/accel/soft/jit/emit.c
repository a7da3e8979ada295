/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Encoder of host instructions, and the places of guest registers and flags. */
#include <string.h>

#include "engine/accel/soft/jit/gen.h"

void jit_e8(struct jit_gen *g, unsigned v) { *g->at++ = (uint8_t)v; }
void jit_e32(struct jit_gen *g, uint32_t v) { memcpy(g->at, &v, 4); g->at += 4; }
void jit_e64(struct jit_gen *g, uint64_t v) { memcpy(g->at, &v, 8); g->at += 8; }

static void vex_and_opcode(struct jit_gen *g, uint32_t op, unsigned rex)
{
    unsigned map = op & O_38 ? 2 : op & O_3A ? 3 : 1, prefix = op & O_66 ? 1 : op & O_F3 ? 2 : op & O_F2 ? 3 : 0;
    unsigned low = (~(op >> 24) & 15) << 3 | (op & O_L ? 4 : 0) | prefix;
    if (map == 1 && !(rex & 11)) {
        jit_e8(g, 0xc5);
        jit_e8(g, (~rex & 4) << 5 | low);
    } else {
        jit_e8(g, 0xc4);
        jit_e8(g, (~rex & 7) << 5 | map);
        jit_e8(g, (rex & 8) << 4 | low);
    }
    jit_e8(g, op & 0xff);
}

static void prefixes_and_opcode(struct jit_gen *g, uint32_t op, unsigned rex)
{
    if (op & O_VEX) {
        vex_and_opcode(g, op, rex);
        return;
    }
    if (op & O_LOCK)
        jit_e8(g, 0xf0);
    if (op & O_66)
        jit_e8(g, 0x66);
    if (op & O_F3)
        jit_e8(g, 0xf3);
    if (op & O_F2)
        jit_e8(g, 0xf2);
    if (rex)
        jit_e8(g, 0x40 | rex);
    if (op & (O_0F | O_38 | O_3A))
        jit_e8(g, 0x0f);
    if (op & O_38)
        jit_e8(g, 0x38);
    if (op & O_3A)
        jit_e8(g, 0x3a);
    jit_e8(g, op & 0xff);
}

/* W R X B, and an empty REX (bit 6, dropped by the 0x40) for SPL, BPL, SIL, DIL. */
static unsigned rex_of(uint32_t op, unsigned reg, unsigned index, unsigned rm)
{
    unsigned rex = (op & O_W ? 8 : 0) | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (rm >> 3 & 1);
    if (!(op & O_NOREX) && (op & O_BREG) && reg >= 4 && reg < 8)
        rex |= 0x40;
    return rex;
}

void jit_rr(struct jit_gen *g, uint32_t op, unsigned reg, unsigned rm)
{
    if (reg == JIT_B || rm == JIT_B)
        g->held = -1;
    unsigned rex = rex_of(op, reg, 0, rm);
    if (!(op & O_NOREX) && (op & O_BRM) && rm >= 4 && rm < 8)
        rex |= 0x40;
    prefixes_and_opcode(g, op, rex);
    jit_e8(g, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static void displacement(struct jit_gen *g, unsigned mod, int32_t disp)
{
    if (mod == 1)
        jit_e8(g, (uint8_t)disp);
    else if (mod == 2)
        jit_e32(g, (uint32_t)disp);
}

void jit_rx(struct jit_gen *g, uint32_t op, unsigned reg, unsigned base, unsigned index, unsigned scale, int32_t disp)
{
    unsigned no_base = base == JIT_NONE, no_index = index == JIT_NONE;
    if (reg == JIT_B)
        g->held = -1;
    prefixes_and_opcode(g, op, rex_of(op, reg, no_index ? 0 : index, no_base ? 0 : base));
    unsigned field = (reg & 7) << 3;
    if (no_base) { /* SIB without base: 32-bit displacement */
        jit_e8(g, field | 4);
        jit_e8(g, scale << 6 | (no_index ? 4 : index & 7) << 3 | 5);
        jit_e32(g, (uint32_t)disp);
        return;
    }
    unsigned mod = !disp && (base & 7) != 5 ? 0 : disp == (int8_t)disp ? 1 : 2;
    if (no_index && (base & 7) != 4) {
        jit_e8(g, mod << 6 | field | (base & 7));
    } else {
        jit_e8(g, mod << 6 | field | 4);
        jit_e8(g, scale << 6 | (no_index ? 4 : index & 7) << 3 | (base & 7));
    }
    displacement(g, mod, disp);
}

void jit_rm(struct jit_gen *g, uint32_t op, unsigned reg, unsigned base, int32_t disp)
{
    jit_rx(g, op, reg, base, JIT_NONE, 0, disp);
}

void jit_env(struct jit_gen *g, uint32_t op, unsigned reg, int disp) { jit_rm(g, op, reg, JIT_ENV, disp); }
void jit_mov(struct jit_gen *g, unsigned to, unsigned from) { jit_rr(g, 0x89 | O_W, from, to); }
void jit_load(struct jit_gen *g, unsigned to, int env_disp) { jit_env(g, 0x8b | O_W, to, env_disp); }
void jit_store(struct jit_gen *g, unsigned from, int env_disp) { jit_env(g, 0x89 | O_W, from, env_disp); }

void jit_imm64(struct jit_gen *g, unsigned to, uint64_t v)
{
    if (to == JIT_B)
        g->held = -1;
    if (v <= UINT32_MAX) {
        if (to & 8)
            jit_e8(g, 0x41);
        jit_e8(g, 0xb8 | (to & 7));
        jit_e32(g, (uint32_t)v);
    } else {
        jit_e8(g, 0x48 | (to >> 3));
        jit_e8(g, 0xb8 | (to & 7));
        jit_e64(g, v);
    }
}

void jit_patch(uint8_t *site, const uint8_t *target)
{
    int32_t rel = (int32_t)(target - (site + 4));
    memcpy(site, &rel, 4);
}

void jit_jmp(struct jit_gen *g, const uint8_t *target)
{
    jit_e8(g, 0xe9);
    g->at += 4;
    jit_patch(g->at - 4, target);
}

void jit_call(struct jit_gen *g, const uint8_t *target)
{
    g->held = -1;
    jit_e8(g, 0xe8);
    g->at += 4;
    jit_patch(g->at - 4, target);
}

uint8_t *jit_jcc(struct jit_gen *g, unsigned cc)
{
    jit_e8(g, 0x0f);
    jit_e8(g, 0x80 | cc);
    g->at += 4;
    return g->at - 4;
}

/* ---- Guest registers ------------------------------------------------------------------------------ */
unsigned jit_use(struct jit_gen *g, unsigned guest, unsigned scratch)
{
    unsigned h = jit_pinned(guest);
    if (h != JIT_NONE)
        return h;
    jit_load(g, scratch, JIT_GPR_OF(guest));
    return scratch;
}

void jit_done(struct jit_gen *g, unsigned guest, unsigned host)
{
    if (jit_pinned(guest) == JIT_NONE)
        jit_store(g, host, JIT_GPR_OF(guest));
}

void jit_store_all(struct jit_gen *g)
{
    for (unsigned i = 0; i < 16; i++)
        if (jit_pinned(i) != JIT_NONE)
            jit_store(g, jit_pinned(i), JIT_GPR_OF(i));
}

void jit_load_all(struct jit_gen *g)
{
    for (unsigned i = 0; i < 16; i++)
        if (jit_pinned(i) != JIT_NONE)
            jit_load(g, jit_pinned(i), JIT_GPR_OF(i));
}

/* ---- Flags ------------------------------------------------------------------------------------------ */
void jit_flags_to_env(struct jit_gen *g)
{
    if (g->flags != JIT_FLAGS_HOST)
        return;
    if (g->b && jit_flags_dead(g->b, g->index)) {
        g->flags = JIT_FLAGS_ENV;
        return;
    }
    jit_spill(g);
    g->flags = JIT_FLAGS_BOTH;
}

void jit_spill(struct jit_gen *g)
{
    jit_mov(g, JIT_A, H_RAX);
    jit_e8(g, 0x9f);                                /* lahf */
    jit_rr(g, 0x90 | O_0F | O_BRM, 0, H_RAX);       /* seto al */
    jit_env(g, 0x89 | O_66, H_RAX, JIT_ENV_OF(aflags));
    jit_mov(g, H_RAX, JIT_A);
}

void jit_flags_to_host(struct jit_gen *g, unsigned scratch)
{
    if (g->flags != JIT_FLAGS_ENV)
        return;
    jit_mov(g, scratch, H_RAX);
    jit_env(g, 0xb7 | O_0F, H_RAX, JIT_ENV_OF(aflags)); /* movzx eax, word */
    jit_e8(g, 0x04);                                /* add al, 7f: OF */
    jit_e8(g, 0x7f);
    jit_e8(g, 0x9e);                                /* sahf */
    jit_mov(g, H_RAX, scratch);
    g->flags = JIT_FLAGS_BOTH;
}

/* What the instruction does to the flags' liveness. */
enum effect { READS, KILLS, PASSES };

static enum effect effect_of(const struct soft_insn *in)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    unsigned kind = in->modrm >> 3 & 7;
    if (in->op == SOFT_OP_INVALID || in->flags & SOFT_F_END)
        return READS;
    switch (in->klass) {
    case K_ALU: case K_TEST: case K_ATOMIC: case K_SSE:
        return in->flags & SOFT_F_RF ? READS : in->flags & SOFT_F_WF ? KILLS : PASSES;
    case K_ALU1:                                    /* INC, DEC keep CF: they read nothing themselves */
        return in->flags & SOFT_F_WF && !(in->flags & SOFT_F_RF) ? KILLS : PASSES;
    case K_MUL:
        return jit_multiplies_forget ? KILLS : PASSES;
    case K_SHIFT:
        if (kind == 2 || kind == 3)
            return READS;
        if (kind < 4 || r->opcode >= 0xd2 || !jit_shifts_forget)
            return PASSES;
        return r->form != F_M_I8 || (in->imm & (in->opsize == 8 ? 63 : 31)) ? KILLS : PASSES;
    case K_SHIFTD: case K_BT:
        return PASSES;
    case K_BMI:
        return !(in->flags & SOFT_F_WF) ? PASSES : jit_bmi_forgets ? KILLS : READS;
    case K_BITS:
        return r->map == M_0F ? PASSES : in->flags & SOFT_F_RF ? READS : PASSES;
    default:
        return in->flags & SOFT_F_RF ? READS : PASSES;
    }
}

bool jit_flags_dead(const struct soft_block *b, unsigned from)
{
    for (unsigned i = from; i < b->count; i++) {
        enum effect e = effect_of(&b->insn[i]);
        if (e != PASSES)
            return e == KILLS;
    }
    return false;
}
