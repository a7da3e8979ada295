/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A block that jumps to its own start gets a second version, for its second and later rounds:
 *
 *     rounds: attention, or a pointer's page is not in the TLB -> the block's entry (one round there)
 *             how many rounds until the first pointer leaves its page; differences of host and guest address
 *     body:   sub rounds, 1; jb end of the rounds
 *             the instructions, without checks where the address is a pointer that steps by constants
 *             jcc body
 *
 * Registers that the block does not use carry the counter, the guest's registers that have none, and the
 * differences; so before the body is left they are given back. All that may leave in the middle of a round goes to the
 * plain version (jit_bail) with nothing of the instruction done. Nobody looks at attention in the body: rounds are
 * bounded.
 */
#include <string.h>

#include "engine/accel/soft/jit/gen.h"
#include "engine/accel/soft/vm.h"

#define ROUNDS_MAX 4096u
/* With other vCPUs: their wish that a page with code be written the slow way (soft_code_page_add) is seen so often. */
#define ROUNDS_SHARED 64u
#define SPAN_MAX 1024
#define LONG_BLOCK 12u

static const uint8_t canonical[16] = { H_RAX, H_RCX, H_RDX, H_RBX, JIT_SP, H_RBP, H_RSI, H_RDI, H_R8, H_R9,
                                       JIT_NONE, JIT_NONE, H_R10, H_R11, JIT_NONE, JIT_NONE };
_Thread_local const uint8_t *jit_registers = canonical;

/* ---- Analysis ------------------------------------------------------------------------------------------ */
/* Guest registers that it uses; false: not an instruction for loops. */
static bool uses(const struct soft_insn *in, unsigned *mask)
{
    const struct soft_op_row *r = &soft_rows[in->op];
    unsigned m = 0;
    if (in->op == SOFT_OP_INVALID || (in->is_mem && in->is_mem != SOFT_MEM_FLAT64 && in->is_mem != SOFT_MEM_RIP64 &&
                                      in->is_mem != SOFT_MEM_SEG64) || in->prefixes & SOFT_P_LOCK)
        return false;
    switch (in->klass) {
    case K_MOV: case K_ALU: case K_ALU1: case K_TEST: case K_LEA: case K_MOVX: case K_SETCC: case K_CMOV: case K_NOP: case K_JCC:
        break;
    case K_SHIFT: case K_SHIFTD:
        m |= 1u << GH_RCX;
        break;
    case K_BMI:
        m |= 1u << in->vvvv | (in->op == SOFT_OP_mulx ? 1u << GH_RDX : 0);
        break;
    case K_MUL: case K_CONV:
        m |= 1u << GH_RAX | 1u << GH_RDX;
        break;
    case K_SSE: case K_SSE_GPR:
        if (in->flags & SOFT_F_END)
            return false;
        m |= in->klass == K_SSE_GPR ? 1u << GH_RAX | 1u << GH_RCX | 1u << GH_RDX : 0;
        break;
    default:
        return false;
    }
    if (r->form == F_AIZ)
        m |= 1u << GH_RAX;
    if (in->klass != K_SSE && in->klass != K_JCC) {
        m |= in->reg & 0x10 ? 0xfu : in->reg < 16 ? 1u << in->reg : 0;
        if (!in->is_mem)
            m |= in->rm & 0x10 ? 0xfu : in->rm < 16 ? 1u << in->rm : 0;
    }
    if (in->is_mem || in->klass == K_LEA) {
        m |= in->base < 16 ? 1u << in->base : 0;
        m |= in->index < 16 ? 1u << in->index : 0;
    }
    *mask |= m;
    return true;
}

static bool accesses(const struct soft_insn *in) { return in->is_mem && in->klass != K_LEA && in->klass != K_NOP; }

/* The group of a pointer; -1: none, or no more. */
static int group_for(struct jit_loop *l, unsigned base, unsigned index, unsigned scale)
{
    for (unsigned k = 0; k < l->group_count; k++)
        if (l->group[k].base == base && l->group[k].index == index && l->group[k].scale == scale)
            return (int)k;
    if (l->group_count == JIT_GROUPS)
        return -1;
    l->group[l->group_count] = (struct jit_loop_group){ .base = (uint8_t)base, .index = (uint8_t)index, .scale = (uint8_t)scale,
                                                        .low = INT32_MAX, .high = INT32_MIN, .reg = JIT_NONE };
    return (int)l->group_count++;
}

static void add_access(struct jit_gen *g, unsigned i, const int32_t *moved)
{
    struct jit_loop *l = &g->loop;
    const struct soft_insn *in = &g->b->insn[i];
    unsigned known = g->steps | g->stays;
    l->group_of[i] = -1;
    if (!accesses(in) || in->is_mem != SOFT_MEM_FLAT64 || (in->base >= 16 && in->index >= 16) ||
        (in->base < 16 && !(known >> in->base & 1)) || (in->index < 16 && !(known >> in->index & 1)))
        return;
    bool vector = in->klass == K_SSE || in->klass == K_SSE_GPR;
    int32_t bytes = (int32_t)(vector ? jit_simd_bytes(in) : jit_memory_bytes(in));
    int64_t rel = in->disp;
    int64_t step = 0;
    if (in->base < 16) {
        rel += moved[in->base];
        step += l->step[in->base];
    }
    if (in->index < 16) {
        rel += (int64_t)moved[in->index] * (1 << in->scale);
        step += (int64_t)l->step[in->index] * (1 << in->scale);
    }
    bool aligned = vector && jit_simd_aligned(in);
    if (rel < -0x100000 || rel > 0x100000 || step < -1024 || step > 1024 || (aligned && step & 15))
        return;
    int k = group_for(l, in->base, in->index, in->scale);
    if (k < 0)
        return;
    struct jit_loop_group *q = &l->group[k];
    int32_t low = (int32_t)rel < q->low ? (int32_t)rel : q->low;
    int32_t high = (int32_t)rel + bytes > q->high ? (int32_t)rel + bytes : q->high;
    if (high - low > SPAN_MAX || (aligned && q->aligned && (((uint32_t)rel ^ (uint32_t)q->align) & 15)))
        return;
    if (aligned) {
        q->aligned = true;
        q->align = (int32_t)rel;
    }
    q->low = low;
    q->high = high;
    q->step = (int32_t)step;
    q->write |= soft_rows[in->op].attr & A_ST;
    q->members++;
    l->group_of[i] = (int8_t)k;
}

static bool analyse(struct jit_gen *g)
{
    struct jit_loop *l = &g->loop;
    const struct soft_block *b = g->b;
    int32_t moved[16] = { 0 };
    unsigned used = 0, reg;
    int32_t by;
    memset(l, 0, sizeof *l);
    for (unsigned i = 0; i < b->count; i++) {
        const struct soft_insn *in = &b->insn[i];
        if (!uses(in, &used) || (in->flags & SOFT_F_END && i + 1 != b->count))
            return false;
        l->vec |= in->klass == K_SSE || in->klass == K_SSE_GPR;
        l->written |= jit_written(in);
        if (jit_step(in, &reg, &by))
            l->step[reg] += by;
        if (l->step[0] > 0x10000 || l->step[0] < -0x10000)
            return false;
    }
    for (unsigned i = 0; i < b->count; i++) {
        add_access(g, i, moved);
        if (jit_step(&b->insn[i], &reg, &by))
            moved[reg] += by;
    }
    for (unsigned k = 0; k < l->group_count; k++)
        if (!l->group[k].members)
            l->group[k].low = l->group[k].high = 0;
    l->used = used;
    return true;
}

/* ---- Registers ------------------------------------------------------------------------------------------- */
static unsigned count_uses(const struct soft_block *b, unsigned guest)
{
    unsigned n = 0;
    for (unsigned i = 0; i < b->count; i++) {
        unsigned m = 0;
        uses(&b->insn[i], &m);
        n += m >> guest & 1;
    }
    return n;
}

static unsigned take(struct jit_loop *l)
{
    for (unsigned i = 0; i < 16; i++)
        if (canonical[i] != JIT_NONE && !((l->used | l->lent) >> i & 1)) {
            l->lent |= 1u << i;
            l->map[i] = JIT_NONE;
            return canonical[i];
        }
    return JIT_NONE;
}

static void assign(struct jit_gen *g)
{
    struct jit_loop *l = &g->loop;
    memcpy(l->map, canonical, sizeof l->map);
    l->counter = JIT_NONE;
    if (g->b->count < LONG_BLOCK)
        l->counter = (uint8_t)take(l);
    unsigned homeless[4], n = 0;
    for (unsigned r = 0; r < 16; r++)
        if (canonical[r] == JIT_NONE && l->used >> r & 1)
            homeless[n++] = r;
    for (unsigned i = 0; i < n; i++)         /* the most used first */
        for (unsigned k = i + 1; k < n; k++)
            if (count_uses(g->b, homeless[k]) > count_uses(g->b, homeless[i])) {
                unsigned t = homeless[i];
                homeless[i] = homeless[k];
                homeless[k] = t;
            }
    for (unsigned i = 0; i < n; i++) {
        unsigned h = take(l);
        if (h == JIT_NONE)
            return;
        l->map[homeless[i]] = (uint8_t)h;
        l->housed |= 1u << homeless[i];
    }
    if (l->counter == JIT_NONE)
        l->counter = (uint8_t)take(l);
    for (unsigned k = 0; k < l->group_count; k++)
        if (l->group[k].members)
            l->group[k].reg = (uint8_t)take(l);
}

static void borrow(struct jit_gen *g)
{
    struct jit_loop *l = &g->loop;
    for (unsigned i = 0; i < 16; i++)
        if (l->lent >> i & 1)
            jit_store(g, canonical[i], JIT_GPR_OF(i));
    for (unsigned i = 0; i < 16; i++)
        if (l->housed >> i & 1)
            jit_load(g, l->map[i], JIT_GPR_OF(i));
    for (unsigned k = 0; k < l->group_count; k++)
        if (l->group[k].reg != JIT_NONE)
            jit_load(g, l->group[k].reg, JIT_ENV_OF(jit.delta[0]) + (int)k * 8);
    if (l->counter != JIT_NONE)
        jit_load(g, l->counter, JIT_ENV_OF(jit.rounds));
}

/* EFLAGS and R15 stay. */
static void give_back(struct jit_gen *g)
{
    struct jit_loop *l = &g->loop;
    for (unsigned i = 0; i < 16; i++)
        if (l->housed >> i & 1 && l->written >> i & 1)
            jit_store(g, l->map[i], JIT_GPR_OF(i));
    for (unsigned i = 0; i < 16; i++)
        if (l->lent >> i & 1)
            jit_load(g, canonical[i], JIT_GPR_OF(i));
}

/* ---- Code ---------------------------------------------------------------------------------------------------- */
void jit_loop_operand(struct jit_gen *g, const struct soft_insn *in, unsigned group)
{
    struct jit_loop *l = &g->loop;
    struct jit_loop_group *q = &l->group[group];
    unsigned delta = q->reg;
    if (delta == JIT_NONE) {
        delta = JIT_B;
        if (in->base < 16 && in->index < 16)
            g->held = -1;                    /* forming the address may use R15 */
    }
    unsigned base = in->base < 16 ? jit_pinned(in->base) : JIT_NONE;
    if (in->index >= 16 && base != JIT_NONE) {
        if (delta == JIT_B && g->held != (int)group) {
            jit_load(g, JIT_B, JIT_ENV_OF(jit.delta[0]) + (int)group * 8);
            g->held = (int8_t)group;
        }
        g->mem_base = (uint8_t)base;
        g->mem_index = (uint8_t)delta;
        g->mem_disp = in->disp;
        return;
    }
    jit_address(g, in);
    if (delta == JIT_B) {
        jit_env(g, 0x03 | O_W, JIT_A, JIT_ENV_OF(jit.delta[0]) + (int)group * 8); /* adds: EFLAGS */
        g->mem_base = JIT_A;
        g->mem_index = JIT_NONE;
        g->mem_disp = 0;
        return;
    }
    g->mem_base = JIT_A;
    g->mem_index = (uint8_t)delta;
    g->mem_disp = 0;
}

/* Whether the operand's address can be formed without touching EFLAGS. */
bool jit_loop_keeps_flags(const struct jit_gen *g, const struct soft_insn *in, unsigned group)
{
    return g->loop.group[group].reg != JIT_NONE || (in->index >= 16 && in->base < 16 && jit_pinned(in->base) != JIT_NONE);
}

static uint8_t *jump_out(struct jit_gen *g, unsigned cc, uint8_t **out, unsigned *n)
{
    return out[(*n)++] = jit_jcc(g, cc);
}

static void round_count(struct jit_gen *g, const struct jit_loop_group *q, uint32_t limit)
{
    int32_t s = q->step;
    uint32_t by = (uint32_t)(s < 0 ? -s : s);
    if (s > 0) {
        jit_rr(g, 0xf7 | O_W, 3, JIT_A);                     /* neg; add limit: bytes left */
        jit_rr(g, 0x81 | O_W, 0, JIT_A);
        jit_e32(g, limit);
    }
    jit_rr(g, 0x69, JIT_A, JIT_A);                           /* imul by 65536 / step: not more than the quotient */
    jit_e32(g, 65536u / by);
    jit_rr(g, 0xc1, 5, JIT_A);
    jit_e8(g, 16);
    jit_rr(g, 0x83, 0, JIT_A);
    jit_e8(g, 1);
    jit_env(g, 0x3b, JIT_A, JIT_ENV_OF(jit.rounds));
    jit_e8(g, 0x73);                                         /* jae */
    uint8_t *skip = g->at++;
    jit_env(g, 0x89, JIT_A, JIT_ENV_OF(jit.rounds));
    *skip = (uint8_t)(g->at - (skip + 1));
}

static void prepare(struct jit_gen *g, uint8_t **out, unsigned *n)
{
    struct jit_loop *l = &g->loop;
    bool writes = false;
    jit_env(g, 0x83, 7, JIT_ENV_OF(attention));
    jit_e8(g, 0);
    jump_out(g, CC_NE, out, n);
    if (l->vec) {
        jit_env(g, 0x83, 7, JIT_ENV_OF(jit.vec_live));
        jit_e8(g, 0);
        jump_out(g, CC_E, out, n);
    }
    for (unsigned k = 0; k < l->group_count; k++)
        writes |= l->group[k].members && l->group[k].write;
    jit_env(g, 0xc7 | O_W, 0, JIT_ENV_OF(jit.rounds));
    jit_e32(g, writes && g->cpu->vm->vcpu_count > 1 ? ROUNDS_SHARED : ROUNDS_MAX);
    for (unsigned k = 0; k < l->group_count; k++) {
        struct jit_loop_group *q = &l->group[k];
        if (!q->members)
            continue;
        uint32_t limit = 0x1000u - (uint32_t)(q->high - q->low);
        unsigned base = q->base < 16 ? jit_use(g, q->base, JIT_A) : JIT_NONE;
        unsigned index = q->index < 16 ? jit_use(g, q->index, JIT_B) : JIT_NONE;
        jit_rx(g, 0x8d | O_W, JIT_A, base, index, q->scale, q->low);
        if (q->aligned) {
            jit_rm(g, 0x8d, JIT_B, JIT_A, q->align - q->low);
            jit_rr(g, 0xf6 | O_BRM, 0, JIT_B);
            jit_e8(g, 15);
            jump_out(g, CC_NE, out, n);
        }
        jit_way_offset(g);
        jit_env(g, 0x03 | O_W, JIT_B, JIT_ENV_OF(tlb));
        jit_rm(g, 0x2b | O_W, JIT_A, JIT_B, q->write ? (int)offsetof(struct soft_tlb_entry, tag_write) : (int)offsetof(struct soft_tlb_entry, tag_read));
        jit_rr(g, 0x81 | O_W, 7, JIT_A);
        jit_e32(g, limit);
        jump_out(g, CC_A, out, n);
        jit_rm(g, 0x8b | O_W, JIT_B, JIT_B, (int)offsetof(struct soft_tlb_entry, delta));
        jit_store(g, JIT_B, JIT_ENV_OF(jit.delta[0]) + (int)k * 8);
        if (q->step)
            round_count(g, q, limit);
    }
}

/* Where the body's instruction begins anew in the plain version. */
void jit_loop_leave(struct jit_gen *g, uint8_t *site)
{
    struct jit_loop *l = &g->loop;
    if (l->leave_count == sizeof l->leave / sizeof l->leave[0]) {
        l->failed = true;
        return;
    }
    l->leave[l->leave_count++] = (struct jit_bail){ site, (uint8_t)g->index, (uint16_t)g->off };
}

/* The same for a jump inside the body that leaves the loop. */
void jit_loop_exit(struct jit_gen *g, uint8_t *site, int32_t target)
{
    struct jit_loop *l = &g->loop;
    l->exit[l->exit_count++] = (struct jit_exit){ site, target, g->flags == JIT_FLAGS_HOST };
}

static void pad_by(struct jit_gen *g, unsigned n)
{
    static const uint8_t nops[9][8] = { { 0 }, { 0x90 }, { 0x66, 0x90 }, { 0x0f, 0x1f, 0 }, { 0x0f, 0x1f, 0x40, 0 },
                                        { 0x0f, 0x1f, 0x44, 0, 0 }, { 0x66, 0x0f, 0x1f, 0x44, 0, 0 }, { 0x0f, 0x1f, 0x80, 0, 0, 0, 0 },
                                        { 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0 } };
    n = n < 8 ? n : 8;
    for (unsigned i = 0; i < n; i++)
        jit_e8(g, nops[n][i]);
}

uint8_t *jit_make_loop(struct jit_gen *g, jit_emit_insn emit)
{
    struct jit_loop *l = &g->loop;
    const struct soft_block *b = g->b;
    unsigned start_off = (uintptr_t)b->host & 0xfff, outs = 0, exits = g->exit_count;
    uint8_t *start = g->at, *out[3 * JIT_GROUPS + 2], *end;
    if (!g->loops || !b->jit_forgets || !g->mode64 || b->second || g->jit->mode != SOFT_JIT_ON || g->jit->lockstep || !analyse(g))
        return NULL;
    prepare(g, out, &outs);
    assign(g);
    borrow(g);
    jit_registers = l->map;
    g->in_loop = true;
    g->flags = JIT_FLAGS_ENV;
    g->held = -1;
    g->x87 = false;
    g->vec = l->vec;
    while ((uintptr_t)g->at & 31)            /* NOPs of up to 8 bytes */
        pad_by(g, 32 - ((unsigned)(uintptr_t)g->at & 31));
    uint8_t *body = g->at;
    if (l->counter != JIT_NONE) {
        jit_rr(g, 0x83 | O_W, 5, l->counter);
    } else {
        jit_env(g, 0x83, 5, JIT_ENV_OF(jit.rounds));
    }
    jit_e8(g, 1);
    end = jit_jcc(g, CC_B);
    g->off = start_off;
    for (g->index = 0; g->index + 1 < b->count; g->index++) {
        emit(g, &b->insn[g->index]);
        g->off += b->insn[g->index].len;
    }
    const struct soft_insn *last = &b->insn[g->index];
    jit_flags_to_host(g, JIT_A);
    jit_patch(jit_jcc(g, last->imm2 & 15), body);
    give_back(g);
    jit_registers = canonical;
    g->in_loop = false;
    if (l->failed) {
        g->at = start;
        g->exit_count = exits;
        return NULL;
    }
    jit_exit_jmp(g, (int32_t)g->off + last->len);
    g->off += last->len;
    for (unsigned i = 0; i < outs; i++)
        jit_patch(out[i], g->entry);
    l->end = end;
    l->start = start;
    g->jit->count.loops++;
    return start;
}

void jit_loop_cold(struct jit_gen *g)
{
    struct jit_loop *l = &g->loop;
    jit_patch(l->end, g->at);
    give_back(g);
    jit_jmp(g, l->start);
    for (unsigned i = 0; i < l->exit_count; i++) {
        jit_patch(l->exit[i].site, g->at);
        give_back(g);
        g->flags = l->exit[i].flags ? JIT_FLAGS_HOST : JIT_FLAGS_ENV;
        jit_exit_jmp(g, l->exit[i].target);
    }
    uint8_t *first = NULL;
    for (unsigned i = 0; i < l->leave_count; i++) {
        jit_patch(l->leave[i].jump, g->at);
        jit_e8(g, 0x41);
        jit_e8(g, 0xbf);                     /* mov r15d, instruction */
        jit_e32(g, (uint32_t)l->leave[i].index << 16 | l->leave[i].off);
        if (first) {
            jit_jmp(g, first);
            continue;
        }
        first = g->at;
        give_back(g);
        jit_imm64(g, JIT_A, (uintptr_t)g->b);
        jit_jmp(g, g->jit->thunk_bail);
    }
}
