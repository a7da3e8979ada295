/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One block into host code, in one pass. What usually runs, together with that of other blocks:
 *
 *             nop of 2 bytes                           entry with flags in EFLAGS, in a block that forgets them
 *     entry:  cmp [attention], 0; jne gone
 *             the instructions
 *
 * and what seldom does, elsewhere in the buffer:
 *
 *     stub:   mov r13, block; jmp thunk_one            handlers are called through it
 *     gone:   mov r15d, offset; jmp thunk_head         attention
 *             refills: call thunk_refill; cmp; jbe back into a stack access; jmp slow path
 *             slow paths: mov r15d, what; call stub; jmp behind the instruction
 *             bails: mov r15d, what; mov r13, block; jmp thunk_bail
 *             exits: [EFLAGS to aflags]; call thunk_link; data    until they are patched
 *
 * Memory of dead code is not reused before the whole buffer is forgotten, so that nobody needs to know
 * who links to a block: killing makes its entry look like an exit that is not patched yet.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/accel/soft/jit/gen.h"

#define ROOM_FOR_A_BLOCK 32768u
#define COLD_PIECE (8 * ROOM_FOR_A_BLOCK)
#define SLOTS_PIECE 16384u
#define SLOTS_OF_A_BLOCK ((4 * SOFT_BLOCK_INSNS + 8) * sizeof(struct jit_slot))
/* Killing overwrites the block's start: jmp gone at the entry; jmp spill behind the look at attention, JIT_HEAD bytes on;
 * at 16: gone: call thunk_link, data; spill: call thunk_spill, jmp gone. */
#define KILL_GONE   16
#define KILL_SPILL  (KILL_GONE + 5 + sizeof(struct soft_jit_link))
#define KILL_END    (KILL_SPILL + 10)
_Static_assert(JIT_ENV_OF(attention) && JIT_ENV_OF(attention) == (int8_t)JIT_ENV_OF(attention), "JIT_HEAD counts on it");

static jit_family family_of(unsigned klass)
{
    switch (klass) {
    case K_MOV: case K_ALU: case K_ALU1: case K_TEST: case K_LEA: case K_SHIFT: case K_SHIFTD: case K_MUL: case K_MOVX:
    case K_XCHG: case K_SETCC: case K_CMOV: case K_BT: case K_BITS: case K_NOP: case K_FLAG: case K_CONV: case K_ATOMIC:
    case K_DIV:
        return jit_int;
    case K_PUSH: case K_POP: case K_LEAVE:
        return jit_stack;
    case K_JCC: case K_JMP: case K_CALLREL: case K_RET: case K_JMPIND: case K_CALLIND:
        return jit_flow;
    case K_SSE: case K_SSE_GPR: case K_MMX:
        return jit_simd;
    case K_BMI:
        return jit_bmi;
    case K_X87:
        return jit_x87;
    case K_SYS: case K_CALL:
        return jit_sys;
    default:
        return NULL;
    }
}

/* ---- Slow paths -------------------------------------------------------------------------------------- */
void jit_slow_at(struct jit_gen *g, uint8_t *site)
{
    if (g->in_loop) {
        jit_loop_leave(g, site);
        return;
    }
    struct jit_slow_path *s = g->slow_count ? &g->slow[g->slow_count - 1] : NULL;
    if (!s || s->index != g->index) {
        s = &g->slow[g->slow_count++];
        *s = (struct jit_slow_path){ .index = (uint8_t)g->index, .off = (uint16_t)g->off };
    }
    if (site)
        s->jump[s->jumps++] = site;
}

void jit_slow_if(struct jit_gen *g, unsigned cc) { jit_slow_at(g, jit_jcc(g, cc)); }

static void call_one(struct jit_gen *g, unsigned index, unsigned off, uint32_t bits)
{
    jit_e8(g, 0x41);
    jit_e8(g, 0xbf);                         /* mov r15d, what */
    jit_e32(g, bits | index << 16 | off);
    jit_call(g, g->stub);
}

void jit_call_handler(struct jit_gen *g, const struct soft_insn *in)
{
    (void)in;
    if (g->in_loop) {
        g->loop.failed = true;
        return;
    }
    jit_flags_to_env(g);
    call_one(g, g->index, g->off, 0);
    g->flags = JIT_FLAGS_ENV;
    g->vec = g->x87 = false;
}

static bool begins_group(const struct jit_gen *g, unsigned index)
{
    for (unsigned i = 0; i < g->bail_count; i++)
        if (g->bail[i].index == index)
            return true;
    return false;
}

static void emit_slow_paths(struct jit_gen *g)
{
    unsigned refill = 0;
    for (unsigned i = 0; i < g->slow_count; i++) {
        struct jit_slow_path *s = &g->slow[i];
        for (; refill < g->refill_count && g->refill[refill].index == s->index; refill++) {
            struct jit_refill *r = &g->refill[refill];
            jit_patch(r->jump, g->at);
            jit_call(g, g->jit->thunk_refill[r->write][r->site != JIT_STACK_WAY]);
            if (r->site != JIT_STACK_WAY)
                jit_refill_site(g, r);
            jit_rr(g, 0x81 | O_W, 7, JIT_A);
            jit_e32(g, r->limit);
            jit_patch(jit_jcc(g, CC_BE), r->back);
            if (r->bails) {
                for (unsigned k = 0; k < g->bail_count; k++)
                    if (g->bail[k].index == r->index && !g->bail[k].jump) {
                        jit_e8(g, 0xe9);
                        g->at += 4;
                        g->bail[k].jump = g->at - 4;
                        break;
                    }
            } else if ((s->falls = true) && refill + 1 < g->refill_count && g->refill[refill + 1].index == s->index) {
                jit_e8(g, 0xe9);             /* another one of the same instruction follows */
                g->at += 4;
                s->jump[s->jumps++] = g->at - 4;
                s->falls = false;
            }
        }
        for (unsigned k = 0; k < g->retarget_count; k++) {
            if (g->retarget[k].index != s->index)
                continue;
            if (s->falls) {
                jit_e8(g, 0xe9);
                g->at += 4;
                s->jump[s->jumps++] = g->at - 4;
            }
            jit_patch(g->retarget[k].jump, g->at);
            jit_call(g, g->jit->thunk_retarget);
            jit_patch(jit_jcc(g, CC_E), g->retarget[k].back);
            s->falls = true;
        }
        for (unsigned k = 0; k < s->jumps; k++)
            jit_patch(s->jump[k], g->at);
        if (!s->jumps && !s->falls)
            continue;
        /* The handler would leave a group without its lookup that begins in this instruction. */
        if (begins_group(g, s->index)) {
            jit_e8(g, 0xe9);
            g->at += 4;
            g->bail[g->bail_count++] = (struct jit_bail){ g->at - 4, (uint8_t)s->index, (uint16_t)s->off };
            continue;
        }
        bool late = (s->vec || s->x87) && s->reload; /* loading the other registers destroys EFLAGS */
        call_one(g, s->index, s->off, s->reload && !late ? JIT_ONE_RELOAD : 0);
        if (s->ends)
            continue;
        if (s->x87)
            jit_call(g, g->jit->thunk_x87_load);
        if (s->vec)
            jit_call(g, g->jit->thunk_vec_load);
        if (late) {
            g->flags = JIT_FLAGS_ENV;
            jit_flags_to_host(g, JIT_B);
        }
        if (s->held >= 0)
            jit_load(g, JIT_B, JIT_ENV_OF(jit.delta[0]) + s->held * 8);
        jit_jmp(g, s->back);
    }
}

static void emit_bails(struct jit_gen *g)
{
    uint8_t *first = NULL;
    for (unsigned i = 0; i < g->bail_count; i++) {
        jit_patch(g->bail[i].jump, g->at);
        jit_e8(g, 0x41);
        jit_e8(g, 0xbf);
        jit_e32(g, (uint32_t)g->bail[i].index << 16 | g->bail[i].off);
        if (first) {
            jit_jmp(g, first);
            continue;
        }
        first = g->at;
        jit_imm64(g, JIT_A, (uintptr_t)g->b);
        jit_jmp(g, g->jit->thunk_bail);
    }
}

/* ---- Exits ------------------------------------------------------------------------------------------------ */
void jit_exit_at(struct jit_gen *g, uint8_t *site, int32_t target)
{
    if (g->in_loop) {
        jit_loop_exit(g, site, target);
        return;
    }
    g->exit[g->exit_count++] = (struct jit_exit){ site, target, g->flags == JIT_FLAGS_HOST };
}

static void compare_slot(struct jit_gen *g, unsigned prefix, unsigned modrm, uint32_t offset)
{
    jit_e8(g, prefix);
    jit_e8(g, 0x3b);
    jit_e8(g, modrm);                                        /* [rip + disp32] */
    g->at += 4;
    jit_patch(g->at - 4, g->jit->rw + offset);
}

/* The checked sequence; leaves by the jumps in c where the link is not (known to be) valid. Flags must be in env. */
static void cross_sequence(struct jit_gen *g, int32_t target, bool call, struct jit_cross *c)
{
    struct soft_jit *j = g->jit;
    *c = (struct jit_cross){ .start = (uint32_t)(g->at - j->rw), .slot = (uint32_t)j->slots, .target = target };
    memcpy(j->rw + j->slots, &(struct jit_slot){ .page = ~0ull }, sizeof(struct jit_slot));
    j->slots += sizeof(struct jit_slot);
    jit_load(g, JIT_A, JIT_ENV_OF(jit.rip_page));
    jit_rr(g, 0x81 | O_W, 0, JIT_A);
    jit_e32(g, (uint32_t)target & ~0xfffu);
    compare_slot(g, 0x4c, 0x2d, c->slot + (uint32_t)offsetof(struct jit_slot, page));
    c->jump[0] = jit_jcc(g, CC_NE);
    jit_env(g, 0x8b, JIT_B, g->cpu->rip >> 63 ? JIT_ENV_OF(tlb_gen_high) : JIT_ENV_OF(tlb_gen));
    compare_slot(g, 0x44, 0x3d, c->slot + (uint32_t)offsetof(struct jit_slot, gen));
    c->jump[1] = jit_jcc(g, CC_NE);
    jit_store(g, JIT_A, JIT_ENV_OF(jit.rip_page));
    jit_e8(g, call ? 0xe8 : 0xe9);
    jit_e32(g, 0);
    c->back = call ? g->at : NULL;
}
_Static_assert(JIT_ENV_OF(jit.rip_page) == (int8_t)JIT_ENV_OF(jit.rip_page) &&
               JIT_ENV_OF(tlb_gen_high) == (int8_t)JIT_ENV_OF(tlb_gen_high), "JIT_CROSS_... count on it");

static void cross_miss(struct jit_gen *g, const struct jit_cross *c)
{
    for (unsigned i = 0; i < 2; i++)
        jit_patch(c->jump[i], g->at);
    if (c->back) {                                           /* lea r15, [behind the call]; push r15 */
        jit_e8(g, 0x4c);
        jit_e8(g, 0x8d);
        jit_e8(g, 0x3d);
        g->at += 4;
        jit_patch(g->at - 4, c->back);
        jit_e8(g, 0x41);
        jit_e8(g, 0x57);
    }
    jit_call(g, g->jit->thunk_cross);
    struct soft_jit_cross x = { .link = { c->target, c->start, JIT_LINK_CROSS }, .slot = c->slot };
    memcpy(g->at, &x, sizeof x);
    g->at += sizeof x;
}

static bool leaves_page(int32_t target) { return target < 0 || target >= 0x1000; }

void jit_exit_jmp(struct jit_gen *g, int32_t target)
{
    if (leaves_page(target)) {
        if (g->flags == JIT_FLAGS_HOST)
            jit_spill(g);
        cross_sequence(g, target, false, &g->cross[g->cross_count++]);
        return;
    }
    jit_e8(g, 0xe9);
    g->at += 4;
    jit_exit_at(g, g->at - 4, target);
}

void jit_pad_call(struct jit_gen *g)
{
    while (!g->plain && g->at < g->entry + KILL_END)
        jit_e8(g, 0x90);
}

void jit_exit_call(struct jit_gen *g, int32_t target)
{
    jit_pad_call(g);
    if (leaves_page(target)) {
        cross_sequence(g, target, true, &g->cross[g->cross_count++]);
        return;
    }
    jit_e8(g, 0xe8);
    g->at += 4;
    jit_exit_at(g, g->at - 4, target);
}

static void link_data(struct jit_gen *g, int32_t target, const uint8_t *site, unsigned kind)
{
    struct soft_jit_link l = { target, (uint32_t)(site - g->jit->rw), (uint8_t)kind };
    memcpy(g->at, &l, sizeof l);
    g->at += sizeof l;
}

/* looped: where later rounds go, or NULL. */
static void emit_exits(struct jit_gen *g, const uint8_t *looped)
{
    int32_t own = (int32_t)((uintptr_t)g->b->host & 0xfff);
    for (unsigned i = 0; i < g->exit_count; i++) {
        struct jit_exit *e = &g->exit[i];
        bool loops = e->target == own && g->jit->mode == SOFT_JIT_ON;
        uint8_t *entry = g->plain ? g->b->jit : g->entry;
        if (loops && looped && e->target == own && g->b->jit_forgets) {
            jit_patch(e->site, looped);
            continue;
        }
        if (loops && (!e->flags || g->b->jit_forgets)) {
            jit_patch(e->site, e->flags ? entry - 2 : entry);
            continue;
        }
        jit_patch(e->site, g->at);
        if (e->flags)
            jit_spill(g);
        if (loops) {
            jit_jmp(g, entry);
        } else if (!leaves_page(e->target)) {
            jit_call(g, g->jit->thunk_link);
            link_data(g, e->target, e->site, !e->flags ? JIT_LINK_PAGE : e->target > own ? JIT_LINK_PAGE_FLAGS_ON : JIT_LINK_PAGE_FLAGS);
        } else {
            struct jit_cross c;
            cross_sequence(g, e->target, false, &c);
            cross_miss(g, &c);
        }
    }
    for (unsigned i = 0; i < g->cross_count; i++)
        cross_miss(g, &g->cross[i]);
}

/* ---- The block ---------------------------------------------------------------------------------------------- */
static void emit_stub(struct jit_gen *g)
{
    g->stub = g->at;
    jit_e8(g, 0x49);
    jit_e8(g, 0xbd);
    jit_e64(g, (uintptr_t)g->b);
    jit_jmp(g, g->jit->thunk_one);
}

static void emit_head(struct jit_gen *g, uint8_t **cold)
{
    uint8_t *hot = g->at;
    g->at = *cold;
    emit_stub(g);
    uint8_t *gone = g->at;
    jit_e8(g, 0x41);
    jit_e8(g, 0xbf);
    jit_e32(g, g->off);
    jit_jmp(g, g->jit->thunk_head);
    *cold = g->at;
    g->at = hot;
    if (g->b->jit_forgets) {
        jit_e8(g, 0x66);
        jit_e8(g, 0x90);
    }
    g->entry = g->at;
    jit_env(g, 0x83, 7, JIT_ENV_OF(attention));
    jit_e8(g, 0);
    jit_patch(jit_jcc(g, CC_NE), gone);
    g->b->jit_check = NULL;
    if (!g->b->second)
        return;
    /* Who comes here by a link within the first page knows nothing of the second one. */
    g->b->jit_check = g->at;
    jit_env(g, 0x81, 7, JIT_ENV_OF(tlb_gen));
    jit_e32(g, 0);
    jit_patch(jit_jcc(g, CC_NE), gone);
    jit_e8(g, 0x49);                                         /* mov r13, page */
    jit_e8(g, 0xbd);
    jit_e64(g, 0);
    jit_env(g, 0x3b | O_W, JIT_A, JIT_ENV_OF(jit.rip_page));
    jit_patch(jit_jcc(g, CC_NE), gone);
}

/* What killing needs is there. */
static void pad(struct jit_gen *g)
{
    while (g->at < g->entry + KILL_END)
        jit_e8(g, 0xcc);
}

void soft_jit_kill(struct soft_cpu *cpu, struct soft_block *b)
{
    struct soft_jit *j = cpu->jit_state;
    struct jit_gen g = { .jit = j, .at = b->jit };
    uint8_t *entry = b->jit;
    jit_jmp(&g, entry + KILL_GONE);
    g.at = entry + KILL_GONE;
    jit_call(&g, j->thunk_link);
    link_data(&g, (int32_t)((uintptr_t)b->host & 0xfff), entry, JIT_LINK_FORWARD);
    if (b->jit_forgets) {
        entry[-2] = 0xeb;
        entry[-1] = KILL_SPILL;
        jit_call(&g, j->thunk_spill);
        jit_jmp(&g, entry + KILL_GONE);
        g.at = entry + JIT_HEAD;
        jit_jmp(&g, entry + KILL_SPILL);
    }
    b->jit = NULL;
    j->count.kills++;
}

static void emit_insn(struct jit_gen *g, const struct soft_insn *in)
{
    if (g->plain && (g->loops || g->access[g->index][0].group >= 0 || g->access[g->index][1].group >= 0)) { /* where the other version may come in: nothing is known but the state in soft_cpu's form */
        jit_flags_to_env(g);
        g->plain_at[g->index] = (uint32_t)(g->at - g->jit->rw);
        g->held = -1;
        g->vec = g->x87 = false;
    }
    jit_family f = in->op == SOFT_OP_INVALID ? NULL : family_of(in->klass);
    unsigned slow_before = g->slow_count;
    if (!f || !f(g, in))
        jit_call_handler(g, in);
    if (g->slow_count != slow_before) {
        struct jit_slow_path *s = &g->slow[g->slow_count - 1];
        s->back = g->at;
        s->reload = g->flags != JIT_FLAGS_ENV;
        s->ends = in->flags & SOFT_F_END;
        s->vec = g->vec;
        s->x87 = g->x87;
        s->held = g->held;
    }
}

static void print_bytes(const char *what, const uint8_t *p, size_t n)
{
    fprintf(stderr, "soft:disasm %s", what);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, " %02x", p[i]);
    fputc('\n', stderr);
}

/* Room for a block, or the whole buffer is forgotten at the next block head. */
static bool has_room(struct soft_cpu *cpu, struct soft_jit *j)
{
    if (!j->full && j->cold + ROOM_FOR_A_BLOCK > j->cold_end && j->used + COLD_PIECE <= j->cold_low) {
        j->cold_end = j->cold_low;
        j->cold = j->cold_low -= COLD_PIECE;
    }
    if (!j->full && j->slots + SLOTS_OF_A_BLOCK > j->slots_end && j->used + SLOTS_PIECE <= j->cold_low) {
        j->slots_end = j->cold_low;
        j->slots = j->cold_low -= SLOTS_PIECE;
    }
    if (!j->full && j->slots + SLOTS_OF_A_BLOCK <= j->slots_end && j->used + ROOM_FOR_A_BLOCK <= j->cold_low && j->cold + ROOM_FOR_A_BLOCK <= j->cold_end) {
        jit_back(j);
        return true;
    }
    if (!j->full)
        soft_blocks_forget(cpu);
    j->full = true;
    return false;
}

static void begin(struct jit_gen *g, struct soft_cpu *cpu, struct soft_block *b)
{
    memset(g, 0, offsetof(struct jit_gen, slow));
    g->jit = cpu->jit_state;
    g->cpu = cpu;
    g->b = b;
    g->at = g->jit->rw + g->jit->used;
    g->off = (uintptr_t)b->host & 0xfff;
    g->mode64 = b->key & SOFT_KEY_CODE64;
    g->stack = g->mode64 || ((b->key & SOFT_KEY_STACK32) && (b->key & SOFT_KEY_FLAT(GH_SS)));
    g->word = g->mode64 ? 8 : 4;
    g->wide = g->mode64 ? O_W : 0;
    g->held = -1;
    jit_find_groups(g);
}

/* The instructions at g->at, and the rest at cold. */
static void emit_block(struct jit_gen *g, uint8_t *cold)
{
    struct soft_block *b = g->b;
    struct soft_jit *j = g->jit;
    for (g->index = 0; g->index < b->count; g->index++) {
        emit_insn(g, &b->insn[g->index]);
        g->off += b->insn[g->index].len;
    }
    if (!(b->insn[b->count - 1].flags & SOFT_F_END))
        jit_exit_jmp(g, (int32_t)g->off);
    if (!g->plain)
        pad(g);
    unsigned off = g->off;
    const uint8_t *looped = g->plain ? NULL : jit_make_loop(g, emit_insn);
    g->off = off;
    size_t hot = (size_t)(g->at - j->rw);
    g->at = cold;
    jit_flow_cold(g);
    emit_slow_paths(g);
    emit_bails(g);
    if (looped)
        jit_loop_cold(g);
    emit_exits(g, looped);
    j->count.bytes_out += hot - j->used + (size_t)(g->at - j->rw) - j->cold;
    j->used = hot;
    j->cold = (size_t)(g->at - j->rw);
}

/* With the first word cut off, the lines are what perf report wants in /tmp/perf-PID.map. */
static void print_map(const struct jit_gen *g, size_t hot, size_t cold)
{
    const struct soft_jit *j = g->jit;
    uint64_t offset;
    const char *symbol = jit_symbol(g->cpu->rip, &offset);
    char name[320], level = g->b->key & SOFT_KEY_USER ? 'u' : 'k';
    if (symbol)
        snprintf(name, sizeof name, "%s+%#" PRIx64, symbol, offset);
    else
        snprintf(name, sizeof name, "%c%" PRIx64, level, g->cpu->rip);
    fprintf(stderr, "soft:perfmap %" PRIxPTR " %zx %s\n", (uintptr_t)(j->rx + hot), j->used - hot, name);
    fprintf(stderr, "soft:perfmap %" PRIxPTR " %zx %s.cold\n", (uintptr_t)(j->rx + cold), j->cold - cold, name);
}

bool jit_translate(struct soft_cpu *cpu, struct soft_block *b)
{
    struct soft_jit *j = cpu->jit_state;
    struct jit_gen g;
    if (!has_room(cpu, j))
        return false;
    begin(&g, cpu, b);
    b->jit_forgets = jit_flags_dead(b, 0);
    size_t hot = j->used, cold_start = j->cold;
    uint8_t *cold = j->rw + j->cold;
    emit_head(&g, &cold);
    emit_block(&g, cold);
    b->jit = g.entry;
    b->jit_plain = NULL;
    j->count.blocks++;
    j->count.bytes_in += b->bytes;
    if (j->perfmap)
        print_map(&g, hot, cold_start);
    if (j->disasm) {
        fprintf(stderr, "soft:disasm block %" PRIx64 " key %" PRIx64 " at %zx\n", cpu->rip, b->key,
                (size_t)(g.entry - j->rw));
        print_bytes("guest", b->host, b->second ? 0x1000 - ((uintptr_t)b->host & 0xfff) : b->bytes);
        for (unsigned i = 0, off = 0; i < b->count; off += b->insn[i++].len) {
            char text[96];
            soft_insn_text(&b->insn[i], cpu->rip + off, text, sizeof text);
            fprintf(stderr, "soft:disasm %6x  %s\n", off, text);
        }
        print_bytes("host", g.entry, (size_t)(j->rw + j->used - g.entry));
    }
    return true;
}

/* Its offsets are at the start of its cold part. */
bool jit_translate_plain(struct soft_cpu *cpu, struct soft_block *b)
{
    struct soft_jit *j = cpu->jit_state;
    struct jit_gen g;
    if (!has_room(cpu, j))
        return false;
    begin(&g, cpu, b);
    g.plain = true;
    uint8_t *hot = g.at, *cold = j->rw + ((j->cold + 3) & ~(size_t)3);
    g.plain_at = (uint32_t *)(void *)cold;
    g.at = cold + b->count * sizeof *g.plain_at;
    emit_stub(&g);
    cold = g.at;
    g.at = hot;
    emit_block(&g, cold);
    b->jit_plain = g.plain_at;
    j->count.plain++;
    return true;
}
