/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The software TLB: direct-mapped ways per MMU mode, a log of filled ways so that a flush costs
 * what was filled and not what could have been, and a filter that tells INVLPG whether pieces of large
 * pages may be present.
 */
#include "engine/accel/soft/block.h"
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/vm.h"

/* Linear address armed in DRi overlaps the page: such a page never gets fast tags. */
static unsigned watched_rights(const struct soft_cpu *cpu, uint64_t page)
{
    unsigned lost = soft_unlikely(cpu->debug_data) ? soft_debug_rights(cpu, page) : 0;

    if (soft_likely(!(cpu->dr7 & 0xff)))
        return lost;
    for (unsigned i = 0; i < 4; i++) {
        unsigned type = cpu->dr7 >> (16 + i * 4) & 3;
        if (!(cpu->dr7 >> (i * 2) & 3) || type == 0)
            continue;
        if (((cpu->dr[i] ^ page) & ~SOFT_PAGE_MASK) == 0 || (((cpu->dr[i] + 7) ^ page) & ~SOFT_PAGE_MASK) == 0)
            lost |= type == 1 ? SOFT_R_WRITE : SOFT_R_READ | SOFT_R_WRITE;
    }
    return lost;
}

/* info->page of an empty way. */
#define NO_PAGE (~0ull)

static bool tag_valid(uint64_t tag, unsigned way) { return ((tag >> 12) & (SOFT_TLB_SIZE - 1)) == way; }

/* Where a way without page points to: nothing should get there, and if, it is nobody's memory. */
static uint8_t nowhere[0x2000] __attribute__((aligned(4096)));

static void entry_clear(struct soft_tlb_entry *e, unsigned way)
{
    e->tag_read = e->tag_exec = SOFT_TAG_NONE(way);
    __atomic_store_n(&e->tag_write, SOFT_TAG_NONE(way), __ATOMIC_RELAXED);
    __atomic_store_n(&e->delta, (uintptr_t)nowhere - SOFT_TAG_NONE(way), __ATOMIC_RELEASE);
}

/* Every flush is a new generation: what was found by linear address under an old one is stale. */
static void new_generation(struct soft_cpu *cpu, struct soft_tlb_ctx *x)
{
    x->gen = ++cpu->tlb_gen_last;
    if (x == cpu->ctx)
        cpu->tlb_gen = x->gen;
}

static void new_high_generation(struct soft_cpu *cpu) { cpu->tlb_gen_high = ++cpu->tlb_gen_last; }

void soft_tlb_init(struct soft_cpu *cpu)
{
    for (unsigned c = 0; c < SOFT_TLB_CONTEXTS; c++) {
        struct soft_tlb_ctx *x = &cpu->tlb_ctx[c];
        for (unsigned m = 0; m < SOFT_MMU_MODES; m++) {
            for (unsigned i = 0; i < SOFT_TLB_SIZE; i++) {
                entry_clear(&x->set[m][i], i);
                x->info[m][i] = (struct soft_tlb_info){ .page = NO_PAGE };
            }
            x->log_count[m] = 0;
        }
        x->valid = c == 0;
        x->pcid = 0;
        new_generation(cpu, x);
    }
    cpu->ctx = &cpu->tlb_ctx[0];
    cpu->tlb_gen = cpu->ctx->gen;
    new_high_generation(cpu);
    soft_use_tlb(cpu, cpu->ctx->set[cpu->mmu_mode]);
}

static void flush_context(struct soft_cpu *cpu, struct soft_tlb_ctx *x, bool global_too)
{
    for (unsigned m = 0; m < SOFT_MMU_MODES; m++) {
        unsigned kept = 0;
        for (unsigned n = 0; n < x->log_count[m]; n++) {
            unsigned i = x->log[m][n];
            if (!global_too && (x->info[m][i].rights & SOFT_R_GLOBAL)) {
                x->log[m][kept++] = (uint16_t)i;
                continue;
            }
            entry_clear(&x->set[m][i], i);
            x->info[m][i].page = NO_PAGE;
            x->info[m][i].rights = 0;
        }
        x->log_count[m] = kept;
    }
    if (global_too) {
        memset(x->large, 0, sizeof x->large);
        x->huge = false;
        memset(x->exec, 0, sizeof x->exec);
    }
    if (x->high_local && x == cpu->ctx)
        new_high_generation(cpu);
    x->high_local = false;
    new_generation(cpu, x);
}

/* Everything of the other address spaces goes when they are entered next. */
static void forget_others(struct soft_cpu *cpu)
{
    for (unsigned c = 0; c < SOFT_TLB_CONTEXTS; c++)
        if (&cpu->tlb_ctx[c] != cpu->ctx)
            cpu->tlb_ctx[c].valid = false;
}

void soft_tlb_flush(struct soft_cpu *cpu, bool global_too)
{
    SOFT_COUNT(cpu->vm, tlb_flush);
    flush_context(cpu, cpu->ctx, global_too);
    if (global_too) {
        forget_others(cpu);
        new_high_generation(cpu);
        /* Only now, with no entry left: code found by a kept entry would not be noted again. */
        memset(cpu->high_exec, 0, sizeof cpu->high_exec);
        memset(cpu->high_large, 0, sizeof cpu->high_large);
        cpu->high_huge = false;
    }
    cpu->map_generation = (cpu->vm->map ? cpu->vm->map->generation : 0) + cpu->vm->a20_generation;
}

static struct soft_tlb_ctx *context_of(struct soft_cpu *cpu, uint16_t pcid)
{
    for (unsigned c = 0; c < SOFT_TLB_CONTEXTS; c++)
        if (cpu->tlb_ctx[c].valid && cpu->tlb_ctx[c].pcid == pcid)
            return &cpu->tlb_ctx[c];
    return NULL;
}

void soft_tlb_switch(struct soft_cpu *cpu, uint16_t pcid, bool keep)
{
    struct soft_tlb_ctx *x = context_of(cpu, pcid);

    cpu->ctx->used = ++cpu->tlb_gen_last;
    if (x) {
        if (!keep)
            flush_context(cpu, x, false);
    } else {
        x = &cpu->tlb_ctx[0];
        for (unsigned c = 0; c < SOFT_TLB_CONTEXTS; c++) {
            struct soft_tlb_ctx *t = &cpu->tlb_ctx[c];
            if (!t->valid) {
                x = t;
                break;
            }
            if (t->used < x->used)
                x = t;
        }
        flush_context(cpu, x, true);
        x->valid = true;
        x->pcid = pcid;
    }
    if (x->high_local || cpu->ctx->high_local)
        new_high_generation(cpu);
    cpu->ctx = x;
    cpu->tlb_gen = x->gen;
    soft_use_tlb(cpu, x->set[cpu->mmu_mode]);
}

void soft_tlb_flush_pcid(struct soft_cpu *cpu, uint16_t pcid)
{
    struct soft_tlb_ctx *x = context_of(cpu, pcid);

    if (x)
        flush_context(cpu, x, false);
}

void soft_tlb_flush_all_but_global(struct soft_cpu *cpu)
{
    for (unsigned c = 0; c < SOFT_TLB_CONTEXTS; c++)
        if (cpu->tlb_ctx[c].valid)
            flush_context(cpu, &cpu->tlb_ctx[c], false);
}

static unsigned large_hash(uint64_t linear) { return (unsigned)((linear >> 21) ^ (linear >> 30)) & 511; }

static unsigned exec_hash(uint64_t linear) { return (unsigned)((linear >> 12) ^ (linear >> 24)) & 4095; }

static bool filter_has(const uint64_t *filter, unsigned h) { return filter[h >> 6] >> (h & 63) & 1; }
static void filter_add(uint64_t *filter, unsigned h) { filter[h >> 6] |= 1ull << (h & 63); }

static void drop_page(struct soft_cpu *cpu, struct soft_tlb_ctx *x, uint64_t linear)
{
    bool pieces = x->huge || filter_has(x->large, large_hash(linear));

    for (unsigned m = 0; m < SOFT_MMU_MODES; m++) {
        unsigned i = (unsigned)(linear >> 12) & (SOFT_TLB_SIZE - 1);
        struct soft_tlb_info *info = &x->info[m][i];
        if (info->page == (linear & ~SOFT_PAGE_MASK)) {
            entry_clear(&x->set[m][i], i);
            info->page = NO_PAGE;
        }
        for (unsigned n = 0; pieces && n < x->log_count[m]; n++) {
            i = x->log[m][n];
            info = &x->info[m][i];
            if (info->page != NO_PAGE && info->shift > 12 && (info->page ^ linear) >> info->shift == 0) {
                entry_clear(&x->set[m][i], i);
                info->page = NO_PAGE;
            }
        }
    }
    /* Blocks are found by linear address without a look at the TLB: only a page that had code matters to them. */
    if (!(linear >> 63) && (pieces || filter_has(x->exec, exec_hash(linear))))
        new_generation(cpu, x);
}

static void drop_high_code(struct soft_cpu *cpu, uint64_t linear)
{
    if (linear >> 63 && (cpu->high_huge || filter_has(cpu->high_exec, exec_hash(linear)) ||
                         filter_has(cpu->high_large, large_hash(linear))))
        new_high_generation(cpu);
}

/* INVLPG takes global translations, too, and those are in every context: so it takes the page everywhere. */
void soft_tlb_flush_page(struct soft_cpu *cpu, uint64_t linear)
{
    for (unsigned c = 0; c < SOFT_TLB_CONTEXTS; c++)
        if (cpu->tlb_ctx[c].valid)
            drop_page(cpu, &cpu->tlb_ctx[c], linear);
    drop_high_code(cpu, linear);
}

void soft_tlb_flush_pcid_page(struct soft_cpu *cpu, uint16_t pcid, uint64_t linear)
{
    struct soft_tlb_ctx *x = context_of(cpu, pcid);

    if (x)
        drop_page(cpu, x, linear);
    drop_high_code(cpu, linear);
}

void soft_tlb_drop_dirty(struct soft_cpu *cpu)
{
    struct soft_map *map = cpu->vm->map;

    for (unsigned c = 0; c < SOFT_TLB_CONTEXTS; c++)
        for (unsigned m = 0; m < SOFT_MMU_MODES; m++) {
            struct soft_tlb_ctx *x = &cpu->tlb_ctx[c];
            for (unsigned n = 0; n < x->log_count[m]; n++) {
                unsigned i = x->log[m][n];
                struct soft_tlb_info *info = &x->info[m][i];
                struct soft_tlb_entry *e = &x->set[m][i];
                if (info->page == NO_PAGE || !tag_valid(e->tag_write, i) || info->slot >= map->count)
                    continue;
                struct soft_slot *s = &map->slot[info->slot];
                if (!s->dirty)
                    continue;
                __atomic_store_n(&e->tag_write, SOFT_TAG_NONE(i), __ATOMIC_RELAXED);
                if (x->valid)         /* written between the harvest and now, perhaps */
                    soft_slot_mark_dirty(s, info->gpa);
            }
        }
}

static void revoke_in(struct soft_tlb_entry *set, const uint8_t *host_page)
{
    for (unsigned i = 0; i < SOFT_TLB_SIZE; i++) {
        uint64_t tag = __atomic_load_n(&set[i].tag_write, __ATOMIC_RELAXED);
        if (tag_valid(tag, i) && __atomic_load_n(&set[i].delta, __ATOMIC_RELAXED) + tag == (uintptr_t)host_page)
            __atomic_store_n(&set[i].tag_write, SOFT_TAG_NONE(i), __ATOMIC_SEQ_CST);
    }
}

/* The same for the own thread's, which may look at the log. */
static void revoke_filled(struct soft_tlb_ctx *x, unsigned m, const uint8_t *host_page)
{
    for (unsigned n = 0; n < x->log_count[m]; n++) {
        unsigned i = x->log[m][n];
        struct soft_tlb_entry *e = &x->set[m][i];
        if (e->delta + e->tag_write == (uintptr_t)host_page && tag_valid(e->tag_write, i))
            __atomic_store_n(&e->tag_write, SOFT_TAG_NONE(i), __ATOMIC_SEQ_CST);
    }
}

void soft_tlb_revoke_write(struct soft_vm *vm, const uint8_t *host_page)
{
    for (unsigned v = 0; v < vm->vcpu_count; v++)
        for (unsigned c = 0; vm->cpu[v] && c < SOFT_TLB_CONTEXTS; c++) {
            /* A context that turns valid meanwhile starts empty, and fills see that the page has code. */
            struct soft_tlb_ctx *x = &vm->cpu[v]->tlb_ctx[c];
            for (unsigned m = 0; x->valid && m < SOFT_MMU_MODES; m++)
                if (vm->cpu[v] == soft_current)
                    revoke_filled(x, m, host_page);
                else
                    revoke_in(x->set[m], host_page);
        }
}

/* The fast write tag of a page: only where a store has nothing else to do. */
static void install_write_tag(struct soft_cpu *cpu, struct soft_tlb_entry *e, struct soft_slot *s,
                              uint64_t gpa, uint64_t page)
{
    _Atomic uint8_t *flags = &s->page_flags[(gpa - s->gpa) >> 12];
    uint8_t seen = atomic_load_explicit(flags, memory_order_relaxed);

    if (seen & SOFT_PAGE_CODE)
        return;
    if (!(seen & SOFT_PAGE_WTAG))
        atomic_fetch_or(flags, SOFT_PAGE_WTAG);
    __atomic_store_n(&e->tag_write, page, __ATOMIC_RELAXED);
    if (cpu->vm->vcpu_count == 1)
        return;
    /* Pairs with soft_code_page_add: it sets CODE, then looks for WTAG and for the tags. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(flags, memory_order_relaxed) & SOFT_PAGE_CODE)
        __atomic_store_n(&e->tag_write, SOFT_TAG_NONE((page >> 12) & (SOFT_TLB_SIZE - 1)), __ATOMIC_RELAXED);
}

/* What INVLPG must know later: where code may have been found by linear address. */
static void note_code(struct soft_cpu *cpu, uint64_t page, const struct soft_tlb_info *info)
{
    if (!(page >> 63)) {
        filter_add(cpu->ctx->exec, exec_hash(page));
        return;
    }
    if (info->shift > 12)
        filter_add(cpu->high_large, large_hash(page));
    filter_add(cpu->high_exec, exec_hash(page));
    cpu->high_huge |= info->shift == 30;
    cpu->ctx->high_local |= !(info->rights & SOFT_R_GLOBAL);
}

static void install(struct soft_cpu *cpu, unsigned mode, uint64_t page, const struct soft_tlb_info *info,
                    bool for_write)
{
    unsigned i = (unsigned)(page >> 12) & (SOFT_TLB_SIZE - 1);
    struct soft_tlb_entry *e = &cpu->ctx->set[mode][i];
    struct soft_slot *s = info->slot == SOFT_NO_SLOT ? NULL : &cpu->vm->map->slot[info->slot];
    unsigned fast = info->rights & ~watched_rights(cpu, page);

    if (!(fast & SOFT_R_READ))
        fast = 0; /* no write tag without a read tag */

    entry_clear(e, i);
    if (!s)
        return;
    /* The tag goes first and delta changes only while no tag is valid: soft_tlb_revoke_write reads both. */
    __atomic_store_n(&e->delta, (uintptr_t)(s->host + (info->gpa - s->gpa)) - page, __ATOMIC_RELEASE);
    if (fast & SOFT_R_READ)
        e->tag_read = page;
    if (info->rights & SOFT_R_EXEC) {
        e->tag_exec = page;
        note_code(cpu, page, info);
    }
    if ((fast & SOFT_R_WRITE) && (fast & SOFT_R_DIRTY) && (s->flags & GH_SLOT_WRITABLE)) {
        if (!s->dirty)
            install_write_tag(cpu, e, s, info->gpa, page);
        else if (for_write) {
            soft_slot_mark_dirty(s, info->gpa);
            install_write_tag(cpu, e, s, info->gpa, page);
        }
    }
}

static bool apic_page(const struct soft_cpu *cpu, uint64_t gpa)
{
    return ((cpu->lapic.base_msr ^ gpa) & SOFT_PHYS_MASK & ~SOFT_PAGE_MASK) == 0 &&
           (cpu->lapic.base_msr & 0xc00) == 0x800;   /* enabled, not x2APIC */
}

/* The flat fast paths do not look at the segment: find out from the instruction whether it is #SS or #GP. */
_Noreturn void soft_raise_not_canonical(struct soft_cpu *cpu, uint64_t linear)
{
    struct soft_insn in;
    const struct soft_tlb_entry *e = soft_tlb_at(cpu->tlb, cpu->rip);
    bool stack = false;

    if (soft_canonical(cpu->rip) && (cpu->rip & ~SOFT_PAGE_MASK) == e->tag_exec && cpu->code_mode == 64) {
        unsigned room = 0x1000 - (unsigned)(cpu->rip & SOFT_PAGE_MASK);
        const uint8_t *code = (const uint8_t *)(uintptr_t)(cpu->rip + e->delta);
        if (soft_decode(cpu->state_key, code, room < 15 ? room : 15, &in) && in.op != SOFT_OP_INVALID) {
            bool operand = in.is_mem && linear - soft_offset(cpu, &in) < 64;
            stack = operand ? in.seg == GH_SS : soft_rows[in.op].attr & A_STK;
        }
    }
    soft_raise_error(cpu, stack ? SOFT_SS_ : SOFT_GP, 0);
}

struct soft_xlat soft_translate(struct soft_cpu *cpu, uint64_t linear, enum soft_access access, unsigned mode)
{
    static const uint8_t need[] = { SOFT_R_READ, SOFT_R_WRITE | SOFT_R_DIRTY, SOFT_R_EXEC };
    uint64_t page = linear & ~SOFT_PAGE_MASK;
    struct soft_tlb_info *info = &cpu->ctx->info[mode][(page >> 12) & (SOFT_TLB_SIZE - 1)];
    struct soft_map *map = cpu->vm->map;
    unsigned i = (unsigned)(info - cpu->ctx->info[mode]);

    if (soft_unlikely(cpu->long_mode && !soft_canonical(linear)))
        soft_raise_not_canonical(cpu, linear);
    if (info->page != page || (info->rights & need[access]) != need[access]) {
        struct soft_walk w;
        if (soft_unlikely(!soft_canonical(linear)))
            soft_gp(cpu, 0); /* flat operands come here unchecked */
        soft_walk(cpu, linear, access, mode, &w);
        if (w.fault) {
            SOFT_COUNT(cpu->vm, page_fault);
            soft_raise_page_fault(cpu, linear, w.error);
        }
        SOFT_COUNT(cpu->vm, tlb_fill);
        w.gpa &= cpu->vm->a20_mask;
        struct soft_slot *s = apic_page(cpu, w.gpa) ? NULL : soft_map_find(cpu->vm, w.gpa);
        if (!(info->rights & SOFT_R_LOGGED))
            cpu->ctx->log[mode][cpu->ctx->log_count[mode]++] = (uint16_t)i;
        *info = (struct soft_tlb_info){ .page = page, .gpa = w.gpa, .shift = w.shift,
                                        .slot = s ? (uint16_t)(s - map->slot) : SOFT_NO_SLOT,
                                        .rights = w.rights | SOFT_R_LOGGED };
        if (w.shift > 12) {
            filter_add(cpu->ctx->large, large_hash(linear));
            cpu->ctx->huge |= w.shift == 30;
        }
        install(cpu, mode, page, info, access == SOFT_WRITE);
    } else if (access == SOFT_WRITE && info->slot != SOFT_NO_SLOT &&
               !tag_valid(cpu->ctx->set[mode][i].tag_write, i)) {
        install(cpu, mode, page, info, true);   /* code gone from the page, or dirty bit harvested */
    }
    struct soft_xlat x = { .gpa = info->gpa | (linear & SOFT_PAGE_MASK) };
    if (info->slot != SOFT_NO_SLOT) {
        x.slot = &map->slot[info->slot];
        x.host = x.slot->host + (x.gpa - x.slot->gpa);
        if (access == SOFT_WRITE && !(x.slot->flags & GH_SLOT_WRITABLE))
            x.host = NULL;                      /* ROM: the write goes to the machine */
        else if (access == SOFT_WRITE)
            soft_slot_mark_dirty(x.slot, x.gpa);
    }
    return x;
}
