/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Memory operands: linear address and the inline TLB probe. See mmu.h for the TLB. */
#include "engine/accel/soft/jit/gen.h"

_Static_assert(sizeof(struct soft_tlb_entry) == 32, "the probe has it as a constant");

bool jit_can_address(const struct jit_gen *g, const struct soft_insn *in)
{
    (void)g;
    return in->is_mem == SOFT_MEM_FLAT64 || in->is_mem == SOFT_MEM_RIP64 || in->is_mem == SOFT_MEM_SEG64 ||
           in->is_mem == SOFT_MEM_FLAT32;
}

/* R13 = rip_page + a constant that may be just too large for 32 bits. */
static void rip_relative(struct jit_gen *g, int64_t off)
{
    jit_load(g, JIT_A, JIT_ENV_OF(jit.rip_page));
    if (off != (int32_t)off) {
        int32_t half = (int32_t)(off / 2);
        jit_rm(g, 0x8d | O_W, JIT_A, JIT_A, half);
        off -= half;
    }
    if (off)
        jit_rm(g, 0x8d | O_W, JIT_A, JIT_A, (int32_t)off);
}

void jit_address(struct jit_gen *g, const struct soft_insn *in)
{
    uint32_t width = in->is_mem == SOFT_MEM_FLAT32 ? 0 : O_W;
    if (in->base == SOFT_RIP_REG) {
        rip_relative(g, (int64_t)g->off + in->len + in->disp);
    } else {
        unsigned base = JIT_NONE, index = JIT_NONE;
        if (in->base != SOFT_NO_REG)
            base = jit_use(g, in->base, JIT_A);
        if (in->index != SOFT_NO_REG)
            index = jit_use(g, in->index, JIT_B);
        if (base == JIT_NONE && index == JIT_NONE) { /* mov r13, disp */
            jit_rr(g, 0xc7 | width, 0, JIT_A);
            jit_e32(g, (uint32_t)in->disp);
        } else {
            jit_rx(g, 0x8d | width, JIT_A, base, index, in->scale, in->disp);
        }
    }
    if (in->is_mem == SOFT_MEM_SEG64) {
        jit_load(g, JIT_B, (int)offsetof(struct soft_cpu, seg) + in->seg * (int)sizeof(struct gh_segment) +
                           (int)offsetof(struct gh_segment, base) - SOFT_JIT_BIAS);
        jit_rx(g, 0x8d | O_W, JIT_A, JIT_A, JIT_B, 0, 0);
    }
}

void jit_way_offset(struct jit_gen *g)
{
    static const uint8_t rorx[] = { 0xc4, 0x43, 0x7b, 0xf0, 0xfd, 7 }; /* rorx r15d, r13d, 7 */
    if (g->jit->bmi2) {
        g->held = -1;
        for (unsigned i = 0; i < sizeof rorx; i++)
            jit_e8(g, rorx[i]);
    } else {
        jit_mov(g, JIT_B, JIT_A);
        jit_rr(g, 0xc1 | O_W, 5, JIT_B);                     /* shr r15, 7 */
        jit_e8(g, 7);
    }
    jit_rr(g, 0x81, 4, JIT_B);                               /* and r15d, 1ffe0h */
    jit_e32(g, (SOFT_TLB_SIZE - 1) << 5);
}
_Static_assert(SOFT_TLB_SIZE <= 1u << 20, "the way is in the low half of the address");

static int tag_of(bool write)
{
    return write ? (int)offsetof(struct soft_tlb_entry, tag_write) : (int)offsetof(struct soft_tlb_entry, tag_read);
}
#define DELTA ((int)offsetof(struct soft_tlb_entry, delta))

static int site_slot(unsigned site) { return JIT_ENV_OF(jit.site[0]) + (int)(site * 4); }

void jit_refill_site(struct jit_gen *g, const struct jit_refill *r)
{
    jit_env(g, 0x89, JIT_B, site_slot(r->site));
    jit_env(g, 0x03 | O_W, JIT_B, JIT_ENV_OF(tlb));
    jit_rm(g, 0x2b | O_W, JIT_A, JIT_B, tag_of(r->write));
}

/* Where the TLB way of an operand comes from: computed; the way of the last stack access; the way where this
 * instruction found its page last. The guesses need no address, so that the tag is there before the address is. */
enum guess { NO_GUESS, STACK, SITE };

/* What compilers walk through in small steps, and what is at a constant address (of a thread, of a processor). */
static enum guess guess_of(const struct jit_gen *g, const struct soft_insn *in)
{
    unsigned moves = g->loops ? g->steps | g->stays : g->steps, base = in->base, index = in->index;
    if (in->is_mem == SOFT_MEM_FLAT32)
        return NO_GUESS;
    if (in->is_mem == SOFT_MEM_SEG64)
        return SITE;
    if (base == GH_RSP && index == SOFT_NO_REG)
        return STACK;
    bool base_ok = base >= 16 || moves >> base & 1, index_ok = index >= 16 || moves >> index & 1;
    if (g->loops || (base >= 16 && index >= 16))
        return base_ok && index_ok ? SITE : NO_GUESS;
    return (base < 16 && base_ok) || (index < 16 && index_ok) ? SITE : NO_GUESS;
}

/* R15 = way, R13 = linear - its tag, out of the way where that is above the limit: to the plain version, or to the
 * handler. */
static void probe(struct jit_gen *g, unsigned limit, bool write, enum guess guess, bool bails)
{
    unsigned site = JIT_STACK_WAY;
    if (g->in_loop)
        guess = NO_GUESS;
    if (guess == STACK) {
        jit_load(g, JIT_B, JIT_ENV_OF(jit.stack));
    } else {
        if (guess == SITE) {
            site = g->jit->next_site++ % SOFT_JIT_SITES;
            jit_env(g, 0x8b, JIT_B, site_slot(site));
        } else {
            jit_way_offset(g);
        }
        jit_env(g, 0x03 | O_W, JIT_B, JIT_ENV_OF(tlb));
    }
    jit_rm(g, 0x2b | O_W, JIT_A, JIT_B, tag_of(write));
    jit_rr(g, 0x81 | O_W, 7, JIT_A);
    jit_e32(g, limit);
    uint8_t *jump = jit_jcc(g, CC_A);
    bool refills = guess != NO_GUESS;
    if (refills)
        g->refill[g->refill_count++] = (struct jit_refill){ jump, g->at, (uint16_t)limit, (uint16_t)site, (uint8_t)g->index, write, bails };
    if (bails)
        g->bail[g->bail_count++] = (struct jit_bail){ refills ? NULL : jump, (uint8_t)g->index, (uint16_t)g->off };
    if (!bails || refills)
        jit_slow_at(g, refills ? NULL : jump);
}

static void operand_is(struct jit_gen *g, unsigned base, unsigned index, int32_t disp)
{
    g->mem_base = (uint8_t)base;
    g->mem_index = (uint8_t)index;
    g->mem_disp = disp;
}

/* R13 = linear - tag -> host address, after the check. Not from the tag of a write: another vCPU may have taken it
 * away (soft_tlb_revoke_write) meanwhile. */
static void to_host(struct jit_gen *g)
{
    jit_rm(g, 0x03 | O_W, JIT_A, JIT_B, (int)offsetof(struct soft_tlb_entry, tag_read));
    jit_rm(g, 0x03 | O_W, JIT_A, JIT_B, DELTA);
    operand_is(g, JIT_A, JIT_NONE, 0);
}

static int group_slot(int k) { return JIT_ENV_OF(jit.delta[0]) + k * 8; }

static bool is_ready(const struct jit_gen *g, unsigned kind)
{
    int k = g->access[g->index][kind].group;
    return !g->plain && !g->in_loop && k >= 0 && g->group[k].ready;
}

/* An access of a group that was looked up: only what is added to the address. */
static void in_group(struct jit_gen *g, unsigned kind)
{
    const struct jit_access *a = &g->access[g->index][kind];
    if (g->held != a->group) {
        jit_load(g, JIT_B, group_slot(a->group));
        g->held = a->group;
    }
    operand_is(g, a->base, JIT_B, a->disp);
}

/* The first access of a group. */
static void begin_group(struct jit_gen *g, unsigned kind, enum guess guess)
{
    const struct jit_access *a = &g->access[g->index][kind];
    struct jit_group *k = &g->group[a->group];
    k->ready = true;
    jit_rm(g, 0x8d | O_W, JIT_A, a->base, a->disp + k->low - a->rel);
    probe(g, 0x1000u - k->span, k->write, guess, true);
    jit_rm(g, 0x8b | O_W, JIT_B, JIT_B, DELTA);
    jit_store(g, JIT_B, group_slot(a->group));
    g->held = a->group;
    operand_is(g, a->base, JIT_B, a->disp);
}

static void note_store(struct jit_gen *g, unsigned bytes, bool write)
{
    if (!write || !g->jit->lockstep)
        return;
    jit_operand_to_a(g);
    jit_log_store(g, bytes);
}

void jit_operand_to_a(struct jit_gen *g)
{
    if (g->mem_base == JIT_A && g->mem_index == JIT_NONE && !g->mem_disp)
        return;
    jit_rx(g, 0x8d | O_W, JIT_A, g->mem_base, g->mem_index, 0, g->mem_disp);
    operand_is(g, JIT_A, JIT_NONE, 0);
}

unsigned jit_spare(struct jit_gen *g)
{
    if (g->mem_index == JIT_B && g->mem_base == JIT_A)
        jit_operand_to_a(g);
    return g->mem_index == JIT_B ? JIT_A : JIT_B;
}

void jit_mem(struct jit_gen *g, uint32_t op, unsigned reg)
{
    jit_rx(g, op, reg, g->mem_base, g->mem_index, 0, g->mem_disp);
}

void jit_lookup(struct jit_gen *g, unsigned bytes, bool write)
{
    probe(g, 0x1000 - bytes, write, NO_GUESS, false);
    to_host(g);
    if (write)
        jit_log_store(g, bytes);
}

/* [base + disp], without an index. */
static void based(struct jit_gen *g, unsigned base, int32_t disp, unsigned bytes, bool write, enum guess guess)
{
    jit_rm(g, 0x8d | O_W, JIT_A, base, disp);
    probe(g, 0x1000 - bytes, write, guess, false);
    jit_rm(g, 0x8b | O_W, JIT_B, JIT_B, DELTA);
    operand_is(g, base, JIT_B, disp);
}

void jit_operand(struct jit_gen *g, const struct soft_insn *in, unsigned bytes, bool write)
{
    if (g->in_loop && g->loop.group_of[g->index] >= 0) {
        unsigned group = (unsigned)g->loop.group_of[g->index];
        if (!jit_loop_keeps_flags(g, in, group)) {
            jit_flags_to_env(g);
            g->flags = JIT_FLAGS_ENV;
        }
        jit_loop_operand(g, in, group);
        return;
    }
    if (g->jit->lockstep || !is_ready(g, 0))
        jit_flags_to_env(g);
    if (is_ready(g, 0)) {
        in_group(g, 0);
    } else {
        enum guess guess = guess_of(g, in);
        if (!g->plain && !g->in_loop && g->access[g->index][0].group >= 0) {
            begin_group(g, 0, guess);
        } else if (in->is_mem == SOFT_MEM_FLAT64 && in->index == SOFT_NO_REG && in->base < 16 && jit_pinned(in->base) != JIT_NONE) {
            based(g, jit_pinned(in->base), in->disp, bytes, write, guess);
        } else {
            jit_address(g, in);
            probe(g, 0x1000 - bytes, write, guess, false);
            if (in->is_mem == SOFT_MEM_FLAT64 && in->index < 16 && jit_pinned(in->index) != JIT_NONE &&
                (in->base == SOFT_NO_REG || (in->base < 16 && jit_pinned(in->base) != JIT_NONE))) {
                jit_rm(g, 0x8b | O_W, JIT_B, JIT_B, DELTA); /* and the address again: the difference is there sooner than the sum */
                jit_address(g, in);
                operand_is(g, JIT_A, JIT_B, 0);
            } else {
                to_host(g);
            }
        }
        g->flags = JIT_FLAGS_ENV;
    }
    note_store(g, bytes, write);
}

static void on_stack(struct jit_gen *g, int32_t disp, bool write)
{
    if (g->jit->lockstep || !is_ready(g, 1))
        jit_flags_to_env(g);
    if (is_ready(g, 1)) {
        in_group(g, 1);
    } else {
        if (!g->plain && g->access[g->index][1].group >= 0) {
            begin_group(g, 1, STACK);
        } else if (g->mode64) {
            based(g, JIT_SP, disp, g->word, write, STACK);
        } else {
            jit_rm(g, 0x8d, JIT_A, JIT_SP, disp);
            probe(g, 0x1000 - g->word, write, STACK, false);
            to_host(g);
        }
        g->flags = JIT_FLAGS_ENV;
    }
    note_store(g, g->word, write);
}

void jit_push_operand(struct jit_gen *g) { on_stack(g, -(int32_t)g->word, true); }
void jit_top_operand(struct jit_gen *g) { on_stack(g, 0, false); }

void jit_check_lockable(struct jit_gen *g, unsigned bytes)
{
    if (bytes == 1)
        return;
    jit_rm(g, 0x8d | O_W, JIT_B, JIT_A, (int)bytes - 1);
    jit_rr(g, 0x31 | O_W, JIT_A, JIT_B);                     /* xor: which bits differ from the first byte's address */
    jit_rr(g, 0x83 | O_W, 7, JIT_B);
    jit_e8(g, 63);
    jit_slow_if(g, CC_A);
}
