/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Decoded-block cache and self-modifying code: see block.h. */
#include "engine/accel/soft/block.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/jit/jit.h"
#include "engine/accel/soft/vm.h"

_Thread_local struct soft_cpu *soft_current;

#define GRANULE_SHIFT 6
#define CHUNK_BYTES (1u << 20)
#define ARENA_DEFAULT (160ull << 20)
#define PAGE_BUCKETS 32768u
#define L1_SIZE 65536u
#define QUEUE_LEN 4096u
#define MAX_BLOCK_BYTES (SOFT_BLOCK_INSNS * 15)
#define DEAD_BYTES (512u << 10) /* so much of dead blocks is worth a look through l1 */

/* ---- The VM's part: which granules hold code of anybody ---------------------------------------- */
struct code_page {
    uintptr_t host;
    _Atomic uint64_t granules;
    struct code_page *_Atomic next;
};
#define VM_BUCKETS 65536u
struct vm_blocks {
    pthread_mutex_t lock;              /* inserting nodes, changing granules */
    struct code_page *_Atomic bucket[VM_BUCKETS];
};

/* ---- A vCPU's part -------------------------------------------------------------------------------- */
struct cpu_page {
    uintptr_t host;
    struct cpu_page *next;
    struct soft_block *by_granule[64];  /* blocks that start there */
    struct soft_block *entering;        /* blocks whose only instruction ends there */
};
struct chunk { struct chunk *next; size_t used; uint8_t data[]; };
/* Granules of a page that somebody else wrote to. A disk's read fills hundreds of pages at once, some of them old code. */
struct write_note { uintptr_t page; uint64_t granules; };
struct entry { uint64_t linear, gen; struct soft_block *block; };
struct cpu_blocks {
    struct soft_cpu *cpu;
    struct entry l1[L1_SIZE];
    struct cpu_page *page[PAGE_BUCKETS];
    struct chunk *chunks;
    size_t arena_used, arena_limit;
    struct soft_block *dead;            /* in no page's list any more; l1 may still have them */
    size_t dead_bytes;
    struct soft_block *spare[SOFT_BLOCK_INSNS + 1]; /* memory of blocks, by count of instructions */
    pthread_mutex_t queue_lock;
    unsigned queued;
    bool overflow;                      /* forget everything */
    struct write_note queue[QUEUE_LEN];
    struct soft_block *single;          /* for code that cannot be cached: one instruction */
};

static inline struct cpu_blocks *state_of(struct soft_cpu *cpu) { return cpu->block_state; }

int soft_blocks_vm_new(struct soft_vm *vm)
{
    struct vm_blocks *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    pthread_mutex_init(&v->lock, NULL);
    vm->block_vm = v;
    return 0;
}

void soft_blocks_vm_free(struct soft_vm *vm)
{
    struct vm_blocks *v = vm->block_vm;
    if (!v)
        return;
    for (unsigned i = 0; i < VM_BUCKETS; i++)
        for (struct code_page *p = v->bucket[i], *next; p; p = next) {
            next = p->next;
            free(p);
        }
    pthread_mutex_destroy(&v->lock);
    free(v);
    vm->block_vm = NULL;
}

int soft_blocks_new(struct soft_cpu *cpu)
{
    struct cpu_blocks *s;
    if (posix_memalign((void **)&s, 2 << 20, sizeof *s))
        return -ENOMEM;
    madvise(s, sizeof *s, MADV_HUGEPAGE);
    memset(s, 0, sizeof *s);
    s->single = calloc(1, sizeof *s->single + 2 * sizeof(struct soft_insn));
    if (!s->single) {
        free(s);
        return -ENOMEM;
    }
    s->cpu = cpu;
    s->arena_limit = ARENA_DEFAULT;
    if (cpu->vm && cpu->vm->code_cache_bytes)
        s->arena_limit = cpu->vm->code_cache_bytes > 2 * CHUNK_BYTES ? cpu->vm->code_cache_bytes : 2 * CHUNK_BYTES;
    pthread_mutex_init(&s->queue_lock, NULL);
    cpu->block_state = s;
    return 0;
}

static void forget_all(struct cpu_blocks *s)
{
    memset(s->l1, 0, sizeof s->l1);
    memset(s->page, 0, sizeof s->page);
    for (struct chunk *c = s->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    s->chunks = NULL;
    s->arena_used = 0;
    s->dead = NULL;
    s->dead_bytes = 0;
    memset(s->spare, 0, sizeof s->spare);
}

void soft_blocks_free(struct soft_cpu *cpu)
{
    struct cpu_blocks *s = state_of(cpu);
    if (!s)
        return;
    forget_all(s);
    pthread_mutex_destroy(&s->queue_lock);
    free(s->single);
    free(s);
    cpu->block_state = NULL;
}

/* NULL: out of memory, the caller runs uncached. Never more than arena_limit plus a chunk. */
static void *arena_take(struct cpu_blocks *s, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    if (!s->chunks || s->chunks->used + bytes > CHUNK_BYTES) {
        struct chunk *c = malloc(sizeof *c + CHUNK_BYTES);
        if (!c)
            return NULL;
        c->next = s->chunks;
        c->used = 0;
        s->chunks = c;
        s->arena_used += CHUNK_BYTES;
    }
    void *p = s->chunks->data + s->chunks->used;
    s->chunks->used += bytes;
    return p;
}

static size_t block_bytes(unsigned count)
{
    return sizeof(struct soft_block) + count * sizeof(struct soft_insn) + sizeof(soft_op_fn);
}

static struct soft_block *block_take(struct cpu_blocks *s, unsigned count)
{
    struct soft_block *b = s->spare[count];
    if (!b)
        return arena_take(s, block_bytes(count));
    s->spare[count] = b->next;
    return b;
}

/* At a block head, where only l1 may know dead blocks: their memory is for others from now on. Programs that write
 * code all the time would fill the arena with them. */
static void bury(struct cpu_blocks *s)
{
    for (unsigned i = 0; i < L1_SIZE; i++)
        if (s->l1[i].block && s->l1[i].block->key == SOFT_DEAD_KEY)
            s->l1[i] = (struct entry){ 0 };
    for (struct soft_block *b = s->dead, *next; b; b = next) {
        next = b->next;
        b->next = s->spare[b->count];
        s->spare[b->count] = b;
    }
    s->dead = NULL;
    s->dead_bytes = 0;
}

/* ---- Granules ----------------------------------------------------------------------------------------- */
static inline unsigned vm_bucket(uintptr_t page) { return (page >> 12) & (VM_BUCKETS - 1); }

static struct code_page *vm_page(struct vm_blocks *v, uintptr_t page)
{
    struct code_page *p = atomic_load_explicit(&v->bucket[vm_bucket(page)], memory_order_acquire);
    while (p && p->host != page)
        p = atomic_load_explicit(&p->next, memory_order_acquire);
    return p;
}

static uint64_t granule_mask(unsigned offset, unsigned bytes)
{
    unsigned first = offset >> GRANULE_SHIFT, last = (offset + bytes - 1) >> GRANULE_SHIFT;
    return (last - first == 63 ? ~0ull : (1ull << (last - first + 1)) - 1) << first;
}

/* Marks code before its bytes are trusted. False: out of memory. */
static bool mark_code(struct soft_vm *vm, const uint8_t *host, unsigned bytes)
{
    struct vm_blocks *v = vm->block_vm;
    uintptr_t page = (uintptr_t)host & ~(uintptr_t)0xfff;
    uint64_t mask = granule_mask((uintptr_t)host & 0xfff, bytes);
    struct code_page *p = vm_page(v, page);
    if (p && (atomic_load(&p->granules) & mask) == mask)
        return true;
    pthread_mutex_lock(&v->lock);
    p = vm_page(v, page);
    if (!p) {
        p = calloc(1, sizeof *p);
        if (p) {
            p->host = page;
            p->next = v->bucket[vm_bucket(page)];
            atomic_store_explicit(&v->bucket[vm_bucket(page)], p, memory_order_release);
        }
    }
    if (p) {
        bool first = !atomic_load(&p->granules);
        atomic_fetch_or(&p->granules, mask);
        if (first)
            soft_code_page_add(vm, (const uint8_t *)page);
    }
    pthread_mutex_unlock(&v->lock);
    return p;
}

/* ---- Killing ----------------------------------------------------------------------------------------------- */
static struct cpu_page *cpu_page(struct cpu_blocks *s, uintptr_t page)
{
    struct cpu_page *p = s->page[(page >> 12) & (PAGE_BUCKETS - 1)];
    while (p && p->host != page)
        p = p->next;
    return p;
}

static void kill_block(struct cpu_blocks *s, struct soft_block *b)
{
    b->key = SOFT_DEAD_KEY;
    if (b->jit)
        soft_jit_kill(s->cpu, b);
    for (unsigned i = 0; i < b->count; i++)
        b->insn[i].fn = soft_op_stale;
    if (b->second)
        return; /* it is in two lists, and taken out of one */
    b->next = s->dead;
    s->dead = b;
    s->dead_bytes += block_bytes(b->count);
    if (s->dead_bytes >= DEAD_BYTES)
        soft_attention_set(s->cpu, SOFT_ATTN_CODE);
}

/* Own thread. Kills every block that touches a granule of [host, host + bytes), within one page. */
static void kill_range(struct cpu_blocks *s, uint8_t *host, unsigned bytes)
{
    uintptr_t page = (uintptr_t)host & ~(uintptr_t)0xfff;
    struct cpu_page *p = cpu_page(s, page);
    if (!p)
        return;
    unsigned first = ((uintptr_t)host & 0xfff) >> GRANULE_SHIFT;
    unsigned last = (((uintptr_t)host & 0xfff) + bytes - 1) >> GRANULE_SHIFT;
    unsigned reach = MAX_BLOCK_BYTES / 64 + 1, g = first > reach ? first - reach : 0;
    const uint8_t *low = (const uint8_t *)page + ((size_t)first << GRANULE_SHIFT);
    for (; g <= last; g++)
        for (struct soft_block **at = &p->by_granule[g]; *at;) {
            struct soft_block *b = *at;
            if (b->host + b->bytes <= low) {
                at = &b->next;
                continue;
            }
            *at = b->next;
            kill_block(s, b);
        }
    /* Dead ones stay in the other page's list, where nobody finds them. */
    for (; !first && p->entering; p->entering = p->entering->next_second)
        kill_block(s, p->entering);
}

static void kill_granules(struct cpu_blocks *s, const struct write_note *n)
{
    for (unsigned g = 0; g < 64 && n->granules >> g; g++) {
        unsigned run = 0;
        while (g + run < 64 && (n->granules >> (g + run) & 1))
            run++;
        if (run)
            kill_range(s, (uint8_t *)n->page + ((size_t)g << GRANULE_SHIFT), run << GRANULE_SHIFT);
        g += run;
    }
}

static void queue_kill(struct soft_cpu *cpu, uint8_t *host, unsigned bytes)
{
    struct cpu_blocks *s = state_of(cpu);
    if (!s)
        return;
    uintptr_t page = (uintptr_t)host & ~(uintptr_t)0xfff;
    uint64_t mask = granule_mask((uintptr_t)host & 0xfff, bytes);
    pthread_mutex_lock(&s->queue_lock);
    if (s->queued && s->queue[s->queued - 1].page == page)
        s->queue[s->queued - 1].granules |= mask;
    else if (s->queued < QUEUE_LEN)
        s->queue[s->queued++] = (struct write_note){ page, mask };
    else
        s->overflow = true;
    pthread_mutex_unlock(&s->queue_lock);
    atomic_fetch_or(&cpu->attention, SOFT_ATTN_CODE);
}

static void written_in_page(struct soft_vm *vm, uint8_t *host, unsigned bytes)
{
    struct vm_blocks *v = vm->block_vm;
    uintptr_t page = (uintptr_t)host & ~(uintptr_t)0xfff;
    uint64_t mask = granule_mask((uintptr_t)host & 0xfff, bytes);
    struct code_page *p = vm_page(v, page);
    if (!p || !(atomic_load(&p->granules) & mask))
        return;
    pthread_mutex_lock(&v->lock);
    uint64_t left = atomic_fetch_and(&p->granules, ~mask) & ~mask;
    if (!left)
        soft_code_page_remove(vm, (const uint8_t *)page);
    pthread_mutex_unlock(&v->lock);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (!vm->cpu[i])
            continue;
        if (vm->cpu[i] == soft_current)
            kill_range(state_of(soft_current), host, bytes);
        else
            queue_kill(vm->cpu[i], host, bytes);
    }
}

void soft_code_written(struct soft_vm *vm, uint8_t *host, unsigned bytes)
{
    if (!vm->block_vm)
        return;
    while (bytes) {
        unsigned room = 0x1000 - ((uintptr_t)host & 0xfff), n = bytes < room ? bytes : room;
        written_in_page(vm, host, n);
        host += n;
        bytes -= n;
    }
}

void soft_blocks_sync(struct soft_cpu *cpu)
{
    struct cpu_blocks *s = state_of(cpu);
    if (cpu->late_code_write) {
        uint8_t *host = cpu->late_code_write;
        cpu->late_code_write = NULL;
        soft_code_written(cpu->vm, host, cpu->late_code_bytes);
    }
    if (!s)
        return;
    pthread_mutex_lock(&s->queue_lock);
    if (s->overflow) {
        forget_all(s);
        soft_jit_forget(cpu);
    } else
        for (unsigned i = 0; i < s->queued; i++)
            kill_granules(s, &s->queue[i]);
    s->queued = 0;
    s->overflow = false;
    pthread_mutex_unlock(&s->queue_lock);
    if (s->dead_bytes >= DEAD_BYTES)
        bury(s);
}

void soft_blocks_forget(struct soft_cpu *cpu)
{
    struct cpu_blocks *s = state_of(cpu);
    if (!s)
        return;
    pthread_mutex_lock(&s->queue_lock);
    s->overflow = true;
    pthread_mutex_unlock(&s->queue_lock);
    atomic_fetch_or(&cpu->attention, SOFT_ATTN_CODE);
}

/* ---- Finding and decoding -------------------------------------------------------------------------------- */
/* The first of the two entries where linear may be. */
static inline struct entry *l1_slot(struct cpu_blocks *s, uint64_t linear)
{
    return &s->l1[(linear ^ linear >> 13) & (L1_SIZE - 2)];
}

static void l1_put(struct cpu_blocks *s, const struct entry *l)
{
    struct entry *e = l1_slot(s, l->linear);
    if (e->linear != l->linear)
        e[1] = e[0];
    e[0] = *l;
}

struct soft_block *soft_block_cached(struct soft_cpu *cpu, uint64_t linear)
{
    struct entry *e = l1_slot(state_of(cpu), linear);
    e += e->linear != linear;
    struct soft_block *b = e->block;
    if (e->linear != linear || !b || b->key != cpu->state_key)
        return NULL;
    if (soft_likely(e->gen == soft_gen(cpu, linear)))
        return b;
    /* Address spaces are flushed often and seldom change where code is: perhaps the page is still the same. */
    const struct soft_tlb_entry *t = soft_tlb_at(cpu->tlb, linear);
    if ((linear & ~SOFT_PAGE_MASK) != t->tag_exec || (const uint8_t *)(uintptr_t)(linear + t->delta) != b->host || b->second ||
        cpu->debug_code)
        return NULL;
    e->gen = soft_gen(cpu, linear);
    return b;
}

/* Bytes of code left before the code segment ends; #GP when rip is already outside. */
static uint64_t code_room(struct soft_cpu *cpu)
{
    if (cpu->code_mode == 64) {
        if (!soft_canonical(cpu->rip))
            soft_gp(cpu, 0);
        return UINT64_MAX;
    }
    uint32_t limit = cpu->seg[GH_CS].limit;
    if (cpu->rip > limit)
        soft_gp(cpu, 0);
    return (uint64_t)limit - cpu->rip + 1;
}

static const soft_op_fn end = soft_op_block_end;

/* One instruction that is never cached: in MMIO, near the segment limit. */
static struct soft_block *single(struct soft_cpu *cpu, uint64_t linear, uint64_t room)
{
    struct soft_block *b = state_of(cpu)->single;
    uint8_t bytes[15];
    unsigned want = room < 15 ? (unsigned)room : 15;
    unsigned have = soft_fetch(cpu, linear, bytes, want);
    unsigned len = soft_decode(cpu->state_key, bytes, have, &b->insn[0]);
    if (!len && have < want) {
        uint64_t second = linear + have;
        have += soft_fetch(cpu, cpu->code_mode == 64 ? second : (uint32_t)second, bytes + have, want - have);
        len = soft_decode(cpu->state_key, bytes, have, &b->insn[0]);
    }
    if (!len)
        soft_gp(cpu, 0); /* the segment ends inside the instruction */
    if (soft_unlikely(cpu->debug_code) && soft_debug_break(cpu, linear)) {
        b->insn[0].fn = soft_op_debug_break;
        b->insn[0].flags = SOFT_F_END;
    }
    b->key = SOFT_DEAD_KEY; /* so that no cache takes it */
    b->count = 1;
    b->bytes = (uint16_t)len;
    b->insn[1].fn = end;
    return b;
}

static struct cpu_page *add_page(struct cpu_blocks *s, uintptr_t page)
{
    struct cpu_page *p = arena_take(s, sizeof *p);
    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    p->host = page;
    struct cpu_page **bucket = &s->page[(page >> 12) & (PAGE_BUCKETS - 1)];
    p->next = *bucket;
    *bucket = p;
    return p;
}

static struct cpu_page *page_of(struct cpu_blocks *s, const uint8_t *host)
{
    uintptr_t page = (uintptr_t)host & ~(uintptr_t)0xfff;
    struct cpu_page *p = cpu_page(s, page);
    return p ? p : add_page(s, page);
}

/* Decoded instructions become a block. NULL: out of memory. */
static struct soft_block *add_block(struct soft_cpu *cpu, const uint8_t *host, const struct soft_insn *insn, unsigned count, unsigned bytes)
{
    struct cpu_blocks *s = state_of(cpu);
    struct cpu_page *p = page_of(s, host);
    struct soft_block *b = p ? block_take(s, count) : NULL;
    if (!b)
        return NULL;
    *b = (struct soft_block){ .key = cpu->state_key, .host = host, .bytes = (uint16_t)bytes, .count = (uint16_t)count };
    memcpy(b->insn, insn, count * sizeof *insn);
    memcpy((uint8_t *)b->insn + count * sizeof *insn, &end, sizeof end);
    struct soft_block **head = &p->by_granule[((uintptr_t)host & 0xfff) >> GRANULE_SHIFT];
    b->next = *head;
    *head = b;
    return b;
}

/* NULL: not RAM. */
static const uint8_t *next_page_host(struct soft_cpu *cpu, uint64_t linear)
{
    uint64_t next = (linear & ~SOFT_PAGE_MASK) + 0x1000;
    return soft_exec_host(cpu, cpu->code_mode == 64 ? next : (uint32_t)next);
}

/* The one instruction at host that goes on in the page of second. NULL: it does not, or out of memory. */
static struct soft_block *decode_across(struct soft_cpu *cpu, const uint8_t *host, const uint8_t *second)
{
    struct soft_insn insn;
    uint8_t copy[15];
    unsigned room = 0x1000 - ((uintptr_t)host & 0xfff), len;
    do {
        memcpy(copy, host, room);
        memcpy(copy + room, second, sizeof copy - room);
        len = soft_decode(cpu->state_key, copy, sizeof copy, &insn);
        if (len <= room || !mark_code(cpu->vm, host, room) || !mark_code(cpu->vm, second, len - room))
            return NULL;
    } while (memcmp(copy, host, room) || memcmp(copy + room, second, len - room));

    struct cpu_page *p = page_of(state_of(cpu), second);
    struct soft_block *b = p ? add_block(cpu, host, &insn, 1, len) : NULL;
    if (!b)
        return NULL;
    b->second = second;
    b->next_second = p->entering;
    p->entering = b;
    return b;
}

static struct soft_block *decode_block(struct soft_cpu *cpu, const uint8_t *host, unsigned avail)
{
    struct soft_insn insn[SOFT_BLOCK_INSNS];
    uint8_t copy[MAX_BLOCK_BYTES];
    unsigned max = cpu->state_key & SOFT_KEY_STEP ? 1 : SOFT_BLOCK_INSNS, count, at;
    unsigned size = avail < sizeof copy ? avail : (unsigned)sizeof copy;
    /* Decode from a copy, mark, and look whether the bytes are still the same: what was stored
     * before the mark is in the copy, what comes later is seen by soft_code_written. */
    do {
        memcpy(copy, host, size);
        count = at = 0;
        while (count < max) {
            unsigned len = soft_decode(cpu->state_key, copy + at, size - at < 15 ? size - at : 15, &insn[count]);
            if (!len)
                break;
            at += len;
            struct soft_insn *last = &insn[count++];
            if (last->op == SOFT_OP_sti && count < max) { /* one more, and the shadow needs no bookkeeping */
                len = soft_decode(cpu->state_key, copy + at, size - at < 15 ? size - at : 15, &insn[count]);
                if (len) {
                    last->fn = soft_op_sti_held;
                    last->flags &= (uint8_t)~SOFT_F_END;
                    at += len;
                    count++;
                }
                break;
            }
            if (last->flags & SOFT_F_END)
                break;
        }
        if (!count || !mark_code(cpu->vm, host, at))
            return NULL;
    } while (memcmp(copy, host, at));
    return add_block(cpu, host, insn, count, at);
}

/* The block at host among those decoded already. An instruction across two pages raises the second one's faults, and
 * tells in *second where that is. */
static struct soft_block *find_decoded(struct soft_cpu *cpu, uint64_t linear, const uint8_t *host, const uint8_t **second)
{
    struct cpu_page *p = cpu_page(state_of(cpu), (uintptr_t)host & ~(uintptr_t)0xfff);
    struct soft_block *b = p ? p->by_granule[(linear & 0xfff) >> GRANULE_SHIFT] : NULL;
    for (; b; b = b->next) {
        if (b->host != host || b->key != cpu->state_key)
            continue;
        if (soft_likely(!b->second))
            return b;
        if (!*second)
            *second = next_page_host(cpu, linear);
        if (b->second == *second)
            return b;
    }
    return NULL;
}

/* A block goes on behind it: a conditional jump that does not go back. */
static bool goes_on(const struct soft_block *b, const struct soft_insn *last)
{
    return last->klass == K_JCC && last->op != SOFT_OP_INVALID && last->flags & SOFT_F_END && last->opsize == 8 &&
           (int64_t)last->imm >= 0 && b->key & SOFT_KEY_CODE64 && !b->second;
}

/* Its last instruction jumps to host on a condition. */
static bool jumps_to(const struct soft_block *b, const uint8_t *host)
{
    const struct soft_insn *last = &b->insn[b->count - 1];
    return last->klass == K_JCC && last->op != SOFT_OP_INVALID && last->flags & SOFT_F_END && last->opsize == 8 &&
           (int64_t)b->bytes + (int64_t)last->imm == host - b->host;
}

/* The block that begins at host, run so often and not translated yet; or one that is and leads back to first: a loop is
 * worth its second translation. */
static struct soft_block *successor(struct soft_cpu *cpu, const uint8_t *host, uint32_t runs, const uint8_t *first)
{
    struct cpu_page *p = cpu_page(state_of(cpu), (uintptr_t)host & ~(uintptr_t)0xfff);
    struct soft_block *b = p ? p->by_granule[((uintptr_t)host & 0xfff) >> GRANULE_SHIFT] : NULL;
    while (b && (b->host != host || b->key != cpu->state_key || b->second))
        b = b->next;
    if (!b && !runs)
        b = decode_block(cpu, host, 0x1000 - ((uintptr_t)host & 0xfff));
    return b && b->runs >= runs && (!b->jit || jumps_to(b, first)) ? b : NULL;
}

struct soft_block *soft_block_extend(struct soft_cpu *cpu, struct soft_block *b, uint32_t runs)
{
    struct soft_insn insn[SOFT_BLOCK_INSNS];
    unsigned count = b->count, bytes = b->bytes;
    if (!goes_on(b, &b->insn[count - 1]))
        return b;
    memcpy(insn, b->insn, count * sizeof *insn);
    while (goes_on(b, &insn[count - 1]) && ((uintptr_t)b->host & 0xfff) + bytes < 0x1000) {
        const struct soft_block *s = successor(cpu, b->host + bytes, runs, b->host);
        if (!s || count + s->count > SOFT_BLOCK_INSNS)
            break;
        insn[count - 1].fn = soft_op_jcc_on;
        insn[count - 1].flags &= (uint8_t)~SOFT_F_END;
        memcpy(insn + count, s->insn, s->count * sizeof *insn);
        count += s->count;
        bytes += s->bytes;
    }
    struct soft_block *longer = count > b->count ? add_block(cpu, b->host, insn, count, bytes) : NULL;
    if (!longer)
        return b;
    longer->runs = b->runs;
    struct soft_block **at = &longer->next;  /* in the same list */
    while (*at && *at != b)
        at = &(*at)->next;
    if (*at)
        *at = b->next;
    b->key = SOFT_DEAD_KEY;
    return longer;
}

struct soft_block *soft_block_find(struct soft_cpu *cpu, uint64_t linear)
{
    struct cpu_blocks *s = state_of(cpu);
    uint64_t room = code_room(cpu);
    const uint8_t *host = soft_exec_host(cpu, linear);
    if (!host || (soft_unlikely(cpu->debug_code) && soft_debug_page(cpu, linear)))
        return single(cpu, linear, room);
    const uint8_t *second = NULL;
    struct soft_block *b = find_decoded(cpu, linear, host, &second);
    if (!b) {
        if (s->arena_used > s->arena_limit)
            soft_blocks_forget(cpu); /* at the next block head: the caller still holds blocks */
        unsigned left = 0x1000 - (unsigned)(linear & 0xfff);
        b = decode_block(cpu, host, left);
        if (!b && left < 15 && room >= 15 && (second || (second = next_page_host(cpu, linear))))
            b = decode_across(cpu, host, second);
        if (!b)
            return single(cpu, linear, room);
    }
    if (soft_unlikely(b->bytes > room))
        return single(cpu, linear, room);
    if (cpu->code_mode == 64 || cpu->seg[GH_CS].limit == 0xffffffffu)
        l1_put(s, &(struct entry){ linear, soft_gen(cpu, linear), b });
    return b;
}
