/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The translator's life, its buffer, and what the run loop asks of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/accel/soft/block.h"
#include "engine/accel/soft/jit/gen.h"
#include "engine/accel/soft/vm.h"

#define BUFFER_BYTES (64u << 20)     /* of a vCPU, which translates for itself */
#define BUFFERS_BYTES (256u << 20)   /* of all together, but at least: */
#define BUFFER_LEAST (8u << 20)
/* Code is scattered over much memory: with pages of 4 KiB, programs like compilers miss the host's instruction TLB all the time. */
#define HUGE_BYTES ((size_t)2 << 20)
#define DEFAULT_THRESHOLD 8
#define REFUSALS 50000u              /* blocks left because of an unmasked exception, before all are made anew */
#define NO_SIMD_NS 2000000000u       /* then for so long */

static inline struct soft_jit *jit_of(const struct soft_cpu *cpu) { return cpu->jit_state; }

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* ---- Life ---------------------------------------------------------------------------------------------- */
/* A mapping that begins at a multiple of 2 MiB. */
static void *map_aligned(size_t size, int prot, int fd)
{
    uint8_t *all = mmap(NULL, size + HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        return MAP_FAILED;
    size_t skip = -(uintptr_t)all & (HUGE_BYTES - 1);
    void *p = mmap(all + skip, size, prot, MAP_SHARED | MAP_FIXED, fd, 0);
    int error = errno;
    if (p == MAP_FAILED)
        munmap(all, size + HUGE_BYTES);
    else {
        if (skip)
            munmap(all, skip);
        munmap(all + skip + size, HUGE_BYTES - skip);
    }
    errno = error;
    return p;
}

static void make_huge(struct soft_jit *j, size_t at)
{
    /* The large page first; the second call only maps it. */
    if (madvise(j->rw + at, HUGE_BYTES, MADV_COLLAPSE) == 0)
        madvise((void *)(uintptr_t)(j->rx + at), HUGE_BYTES, MADV_COLLAPSE);
}

void jit_back(struct soft_jit *j)
{
    for (; j->huge_low <= j->used && j->huge_low < j->huge_high; j->huge_low += HUGE_BYTES)
        make_huge(j, j->huge_low);
    for (; j->huge_high > j->cold_low && j->huge_low < j->huge_high; j->huge_high -= HUGE_BYTES)
        make_huge(j, j->huge_high - HUGE_BYTES);
}

static int map_buffer(struct soft_jit *j)
{
    int fd = memfd_create("gasthaus-code", MFD_CLOEXEC), rc = 0;
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)j->size) < 0) {
        rc = -errno;
    } else {
        void *rw = map_aligned(j->size, PROT_READ | PROT_WRITE, fd);
        void *rx = rw == MAP_FAILED ? MAP_FAILED : map_aligned(j->size, PROT_READ | PROT_EXEC, fd);
        if (rx == MAP_FAILED) {
            rc = -errno;
            if (rw != MAP_FAILED)
                munmap(rw, j->size);
        } else {
            j->rw = rw;
            j->rx = rx;
        }
    }
    close(fd);
    return rc;
}

void soft_jit_new(struct soft_cpu *cpu, enum soft_jit_mode mode, unsigned threshold)
{
    if (mode == SOFT_JIT_OFF)
        return;
    struct soft_jit *j;
    if (posix_memalign((void **)&j, HUGE_BYTES, sizeof *j))
        return;
    madvise(j, sizeof *j, MADV_HUGEPAGE);
    memset(j, 0, sizeof *j);
    j->size = BUFFERS_BYTES / cpu->vm->vcpu_count;
    if (j->size > BUFFER_BYTES)
        j->size = BUFFER_BYTES;
    if (j->size < BUFFER_LEAST)
        j->size = BUFFER_LEAST;
    j->size &= ~(HUGE_BYTES - 1);
    int rc = map_buffer(j);
    if (rc < 0) {
        if (cpu->index == 0)
            gh_log(GH_LOG_WARN, "no executable memory (%s): the software CPU interprets, and is slow", strerror(-rc));
        free(j);
        return;
    }
    j->huge_high = j->size;
    j->mode = mode;
    j->threshold = threshold;
    j->max_blocks = j->high = UINT64_MAX;
    if (getrandom(&j->nowhere, sizeof j->nowhere, GRND_NONBLOCK) < 0)
        j->nowhere = (uintptr_t)j->rx;
    j->nowhere = (j->nowhere | 1ull << 63) & ~(1ull << 62);
    cpu->jit_state = j;
    cpu->jit.targets = j->target;
    cpu->jit.slots = j->rw;
    j->bmi2 = __builtin_cpu_supports("bmi2");
    jit_make_thunks(cpu, j);
}

void soft_jit_new_default(struct soft_cpu *cpu)
{
    enum soft_jit_mode mode = SOFT_JIT_ON;
    unsigned threshold = DEFAULT_THRESHOLD;
    uint64_t max_blocks = UINT64_MAX, low = 0, high = UINT64_MAX;
    bool disasm = false, lockstep = false, profile = false, perfmap = false;
    const char *debug = getenv("GH_DEBUG");
    while (debug && *debug) {
        size_t n = strcspn(debug, ",");
        if (!strncmp(debug, "soft:interp", n))
            mode = SOFT_JIT_OFF;
        else if (!strncmp(debug, "soft:jit", n))
            mode = SOFT_JIT_ON;
        else if (!strncmp(debug, "soft:unlinked", n))
            mode = SOFT_JIT_UNLINKED;
        else if (!strncmp(debug, "soft:lockstep", n)) {
            mode = SOFT_JIT_UNLINKED;
            lockstep = true;
        } else if (!strncmp(debug, "soft:profile", n))
            profile = true;
        else if (!strncmp(debug, "soft:disasm", n))
            disasm = true;
        else if (!strncmp(debug, "soft:perfmap", n))
            perfmap = true;
        else if (!strncmp(debug, "soft:threshold=", 15))
            threshold = (unsigned)strtoul(debug + 15, NULL, 0);
        else if (!strncmp(debug, "soft:maxblocks=", 15))
            max_blocks = strtoull(debug + 15, NULL, 0);
        else if (!strncmp(debug, "soft:range=", 11)) {
            char *end;
            low = strtoull(debug + 11, &end, 16);
            high = *end == '-' ? strtoull(end + 1, NULL, 16) : low;
        }
        debug += n + (debug[n] == ',');
    }
    soft_jit_new(cpu, mode, threshold);
    if (cpu->jit_state) {
        jit_of(cpu)->max_blocks = max_blocks;
        jit_of(cpu)->low = low;
        jit_of(cpu)->high = high;
        jit_of(cpu)->disasm = disasm;
        jit_of(cpu)->profile = profile;
        jit_of(cpu)->perfmap = perfmap;
        if (lockstep)
            jit_lockstep_new(jit_of(cpu));
    }
}

static void print_slow(void *opaque, const char *name, uint64_t count)
{
    fprintf(stderr, "soft:profile cpu %u handler %-12s %llu\n", *(unsigned *)opaque, name, (unsigned long long)count);
}

void soft_jit_free(struct soft_cpu *cpu)
{
    struct soft_jit *j = jit_of(cpu);
    if (!j)
        return;
    const struct soft_jit_counters *c = &j->count;
    if (j->profile)
        fprintf(stderr, "soft:profile cpu %u blocks %llu bytes %llu -> %llu enters %llu links %llu cross %llu handlers %llu "
                "kills %llu plain %llu bails %llu forgets %llu; in the buffer %zu KiB and %zu KiB\n", cpu->index, (unsigned long long)c->blocks, (unsigned long long)c->bytes_in,
                (unsigned long long)c->bytes_out, (unsigned long long)c->enters, (unsigned long long)c->links,
                (unsigned long long)c->cross_links, (unsigned long long)c->slow, (unsigned long long)c->kills,
                (unsigned long long)c->plain, (unsigned long long)c->bails, (unsigned long long)c->forgets, j->used >> 10,
                (j->size - j->cold_low) >> 10);
    if (j->profile)
        soft_jit_visit_slow(cpu, print_slow, &cpu->index);
    if (j->lockstep && cpu->index == 0)
        fprintf(stderr, "soft:lockstep: %llu blocks agreed, in %llu handlers were called\n",
                (unsigned long long)j->count.compared, (unsigned long long)j->count.slow);
    free(j->lockstep);
    munmap(j->rw, j->size);
    munmap((void *)(uintptr_t)j->rx, j->size);
    free(j);
    cpu->jit_state = NULL;
}

const struct soft_jit_counters *soft_jit_counters(const struct soft_cpu *cpu)
{
    static const struct soft_jit_counters none;
    return cpu->jit_state ? &jit_of(cpu)->count : &none;
}

void soft_jit_visit_slow(const struct soft_cpu *cpu, void (*visit)(void *, const char *, uint64_t), void *opaque)
{
    const struct soft_jit *j = jit_of(cpu);
    for (unsigned i = 0; j && i < SOFT_OP_COUNT; i++)
        if (j->slow_count[i])
            visit(opaque, soft_rows[i].name, j->slow_count[i]);
}

/* ---- Death of blocks --------------------------------------------------------------------------------------- */
void soft_jit_forget(struct soft_cpu *cpu)
{
    struct soft_jit *j = jit_of(cpu);
    if (!j)
        return;
    memset(j->target, 0, sizeof j->target);
    j->used = j->first;
    j->cold = j->cold_end = j->cold_low = j->slots = j->slots_end = j->size;
    j->full = false;
    if (j->no_simd)
        j->no_simd--;
    j->count.forgets++;
}

/* ---- Running -------------------------------------------------------------------------------------------------- */
static inline void refresh_salts(struct soft_cpu *cpu)
{
    cpu->jit.salt_low = cpu->tlb_gen << 24 | cpu->state_key;
    cpu->jit.salt_high = cpu->tlb_gen_high << 24 | cpu->state_key;
}

/* b was found for rip: its code is entered by that address from now on. */
static const uint8_t *note_target(struct soft_cpu *cpu, struct soft_jit *j, const struct soft_block *b)
{
    const uint8_t *code = j->rx + ((uint8_t *)b->jit - j->rw);
    if (j->mode == SOFT_JIT_ON)
        j->target[jit_target_hash(cpu->rip)] = (struct soft_jit_target){
            cpu->rip, cpu->rip >> 63 ? cpu->jit.salt_high : cpu->jit.salt_low, code,
            (uintptr_t)b->host & ~(uintptr_t)0xfff };
    if (soft_unlikely(b->jit_check != NULL)) {
        uint32_t gen = (uint32_t)soft_gen(cpu, cpu->rip);
        b->jit_check[JIT_CHECK_GEN_DISP] = (uint8_t)(cpu->rip >> 63 ? JIT_ENV_OF(tlb_gen_high) : JIT_ENV_OF(tlb_gen));
        memcpy(b->jit_check + JIT_CHECK_GEN, &gen, 4);
        memcpy(b->jit_check + JIT_CHECK_PAGE, &cpu->jit.rip_page, 8);
    }
    return code;
}

/* Whether what frames of calls depend on is as it was. */
static bool same_place(const struct soft_cpu *cpu)
{
    return cpu->jit.salt_low == (cpu->tlb_gen << 24 | cpu->state_key) &&
           cpu->jit.salt_high == (cpu->tlb_gen_high << 24 | cpu->state_key);
}

/* A handler ended its block: the code at rip, where an earlier jump there left it in the table, or what is decoded there. */
static bool find_next(struct soft_cpu *cpu, struct soft_jit *j)
{
    const struct soft_jit_target *t = &j->target[jit_target_hash(cpu->rip)];
    if (cpu->jit.vec_refused || j->mode != SOFT_JIT_ON)
        return false;
    refresh_salts(cpu);
    if (t->linear == cpu->rip && t->code && t->salt == (cpu->rip >> 63 ? cpu->jit.salt_high : cpu->jit.salt_low)) {
        cpu->jit.rip_page = cpu->rip & ~SOFT_PAGE_MASK;
        cpu->jit.tmp[0] = (uintptr_t)t->code;
        return true;
    }
    const struct soft_block *b = soft_block_cached(cpu, cpu->rip);
    if (!b || !b->jit)
        return false;
    cpu->jit.rip_page = cpu->rip & ~SOFT_PAGE_MASK;
    cpu->jit.tmp[0] = (uintptr_t)note_target(cpu, j, b);
    return true;
}

int soft_jit_one(struct soft_cpu *cpu, struct soft_block *b, uint32_t what)
{
    const struct soft_insn *in = &b->insn[what >> 16 & 0xff];
    struct soft_jit *j = jit_of(cpu);
    bool ends = in->flags & SOFT_F_END;
    uint64_t map = cpu->map_generation;
    cpu->rip = cpu->jit.rip_page + (what & 0xffff);
    j->count.slow++;
    j->slow_count[in->op < SOFT_OP_COUNT ? in->op : SOFT_OP_COUNT]++;
    if (ends) {
        in->fn(cpu, in);
        bool same = same_place(cpu);
        return !find_next(cpu, j) ? 1 : same ? 3 : 4;
    }
    soft_insn_run(cpu, in);
    /* A device may have published another memory map: what the block knows of host addresses is gone. */
    if (b->key == SOFT_DEAD_KEY || map != cpu->map_generation || !same_place(cpu))
        return 1;
    return what & JIT_ONE_RELOAD ? 2 : 0;
}

const uint8_t *soft_jit_bail(struct soft_cpu *cpu, struct soft_block *b, uint32_t what)
{
    struct soft_jit *j = jit_of(cpu);
    unsigned index = what >> 16;
    j->count.bails++;
    if (b->jit_plain || jit_translate_plain(cpu, b))
        return j->rx + ((uint32_t *)b->jit_plain)[index];
    cpu->rip = cpu->jit.rip_page + (what & 0xffff);
    j->count.slow++;
    b->insn[index].fn(cpu, &b->insn[index]); /* to the end of the block */
    return NULL;
}

static bool translatable(const struct soft_block *b)
{
    if (b->key & SOFT_KEY_STEP)
        return false;
    return b->key & SOFT_KEY_CODE64 || (b->key & SOFT_KEY_CODE32 && b->key & SOFT_KEY_FLAT(GH_CS));
}

bool soft_jit_ready(struct soft_cpu *cpu, struct soft_block **block)
{
    struct soft_jit *j = jit_of(cpu);
    struct soft_block *b = *block;
    if (soft_likely(b->jit != NULL))
        return true;
    if (b->runs++ < j->threshold || b->key == SOFT_DEAD_KEY || !translatable(b) || j->count.blocks >= j->max_blocks ||
        cpu->rip < j->low || cpu->rip > j->high)
        return false;
    *block = b = soft_block_extend(cpu, b, (j->threshold + 1) / 2);
    return jit_translate(cpu, b);
}

bool soft_jit_in_lockstep(const struct soft_cpu *cpu) { return jit_of(cpu)->lockstep; }

bool soft_jit_chains(const struct soft_cpu *cpu) { return jit_of(cpu)->mode == SOFT_JIT_ON; }

/* Also a link that has been made: it was found to be stale. */
static void connect_cross(struct soft_cpu *cpu, struct soft_jit *j, struct soft_jit_cross *x, const struct soft_block *b)
{
    uint8_t *site = j->rw + x->link.site;
    uint64_t code = (uintptr_t)(j->rx + ((uint8_t *)b->jit - j->rw));
    struct jit_slot slot = { .page = cpu->rip & ~SOFT_PAGE_MASK, .gen = (uint32_t)soft_gen(cpu, cpu->rip) };
    uint8_t disp = (uint8_t)(cpu->rip >> 63 ? JIT_ENV_OF(tlb_gen_high) : JIT_ENV_OF(tlb_gen));
    memcpy(j->rw + x->slot, &slot, sizeof slot);
    j->count.cross_links++;
    if (x->code == code && site[JIT_CROSS_GEN_DISP] == disp)
        return;
    site[JIT_CROSS_GEN_DISP] = disp;
    jit_patch(site + JIT_CROSS_JMP, b->jit);
    x->code = code;
    x->host = (uintptr_t)b->host & ~(uintptr_t)0xfff;
    x->link.kind = JIT_LINK_CROSS_DONE;
}

void soft_jit_connect(struct soft_cpu *cpu, const struct soft_jit_link *link, const struct soft_block *b)
{
    struct soft_jit *j = jit_of(cpu);
    uint8_t *site = j->rw + link->site;
    if (cpu->rip != cpu->jit.rip_page + (uint64_t)(int64_t)link->target)
        return;
    uint8_t *call = j->rw + ((const uint8_t *)link - j->rx) - 5, *entry = b->jit;
    bool on = link->kind == JIT_LINK_PAGE_FLAGS_ON, flags = on || link->kind == JIT_LINK_PAGE_FLAGS;
    if (link->kind == JIT_LINK_PAGE || (flags && b->jit_forgets)) {
        jit_patch(site, !flags ? entry : on && !b->jit_check ? entry + JIT_HEAD : entry - 2);
        j->count.links++;
        return;
    }
    if (flags || link->kind == JIT_LINK_FORWARD) {
        jit_patch(call + 1, entry);
        *call = 0xe9;
        j->count.links++;
        return;
    }
    connect_cross(cpu, j, (struct soft_jit_cross *)(void *)(j->rw + ((const uint8_t *)link - j->rx)), b);
}

static uint64_t host_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The program that runs has a floating point exception unmasked, and its block was left where that matters: the handlers
 * run the rest. Others are not touched, unless it happens all the time: then blocks are made anew, without copied vector
 * and x87 instructions, for a while. */
static void refuse_simd(struct soft_cpu *cpu)
{
    struct soft_jit *j = jit_of(cpu);
    cpu->jit.vec_refused = 0;
    if (++j->refusals >= REFUSALS || j->mode != SOFT_JIT_ON) {
        j->refusals = 0;
        j->no_simd = 2;
        j->no_simd_since = host_ns();
        soft_blocks_forget(cpu);
        return;
    }
    uint64_t linear = cpu->code_mode == 64 ? cpu->rip : (uint32_t)(cpu->rip + cpu->seg[GH_CS].base);
    const struct soft_block *rest = soft_block_find(cpu, linear);
    rest->insn[0].fn(cpu, rest->insn);
}

static void try_simd_again(struct soft_cpu *cpu, struct soft_jit *j)
{
    if (host_ns() - j->no_simd_since < NO_SIMD_NS)
        return;
    j->no_simd = 0;
    soft_blocks_forget(cpu);
}

const struct soft_jit_link *soft_jit_run(struct soft_cpu *cpu, const struct soft_block *b)
{
    struct soft_jit *j = jit_of(cpu);
    const struct soft_jit_link *(*enter)(struct soft_cpu *, const uint8_t *);
    const uint8_t *thunk = j->rx + (j->thunk_enter - j->rw);
    memcpy(&enter, &thunk, sizeof enter);
    cpu->jit.rip_page = cpu->rip & ~SOFT_PAGE_MASK;
    refresh_salts(cpu);
    j->count.enters++;
    const struct soft_jit_link *link = enter(cpu, note_target(cpu, j, b));
    if (soft_unlikely(j->no_simd && !(j->count.enters & 1023)))
        try_simd_again(cpu, j);
    if (cpu->code_mode != 64)
        cpu->rip = (uint32_t)cpu->rip;       /* past the end: connect finds that it is not where the link says */
    if (soft_unlikely(cpu->jit.vec_refused)) {
        refuse_simd(cpu);
        return NULL;
    }
    return link;
}
