/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Guest physical memory of the software CPU: slots, dirty bitmaps, which pages hold code. */
#include <errno.h>
#include <stdlib.h>

#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/vm.h"

static uint64_t slot_pages(uint64_t bytes) { return (bytes + 0xfff) >> 12; }

struct soft_slot *soft_map_find(const struct soft_vm *vm, uint64_t gpa)
{
    const struct soft_map *map = vm->map;
    unsigned lo = 0, hi = map ? map->count : 0;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        const struct soft_slot *s = &map->slot[mid];
        if (gpa < s->gpa)
            hi = mid;
        else if (gpa - s->gpa >= s->size)
            lo = mid + 1;
        else
            return (struct soft_slot *)s;
    }
    return NULL;
}

uint8_t *soft_phys_host(struct soft_vm *vm, uint64_t gpa, bool write)
{
    gpa &= vm->a20_mask;
    struct soft_slot *s = soft_map_find(vm, gpa);
    if (!s || (write && !(s->flags & GH_SLOT_WRITABLE)))
        return NULL;
    return s->host + (gpa - s->gpa);
}

static void release_arrays(struct soft_slot *s)
{
    free(s->page_flags);
    free(s->dirty);
    s->page_flags = NULL;
    s->dirty = NULL;
}

/* What the old map knew about the same host memory moves into the new slot. Code pages stay known because
 * decoded blocks are indexed by host page; dirty bits stay because nobody harvested them. */
static void inherit(struct soft_slot *s, struct soft_map *old)
{
    for (unsigned i = 0; old && i < old->count; i++) {
        struct soft_slot *o = &old->slot[i];
        if (!o->page_flags || o->host >= s->host + s->size || s->host >= o->host + o->size)
            continue;
        uint8_t *from = o->host > s->host ? o->host : s->host;
        uint8_t *to = o->host + o->size < s->host + s->size ? o->host + o->size : s->host + s->size;
        uint64_t so = (uint64_t)(from - s->host) >> 12, oo = (uint64_t)(from - o->host) >> 12;
        for (uint64_t p = 0; p < slot_pages((uint64_t)(to - from)); p++) {
            s->page_flags[so + p] |= o->page_flags[oo + p];
            if (s->dirty && o->dirty && o->id == s->id && (o->dirty[(oo + p) >> 6] >> ((oo + p) & 63) & 1))
                s->dirty[(so + p) >> 6] |= 1ull << ((so + p) & 63);
        }
    }
}

static struct soft_slot *same_slot(struct soft_map *old, const struct soft_slot *s)
{
    for (unsigned i = 0; old && i < old->count; i++) {
        struct soft_slot *o = &old->slot[i];
        if (o->page_flags && o->host == s->host && o->size == s->size && o->id == s->id &&
            !(o->flags & GH_SLOT_DIRTY) == !(s->flags & GH_SLOT_DIRTY))
            return o;
    }
    return NULL;
}

static void map_drop(struct soft_map *map)
{
    if (!map)
        return;
    for (unsigned i = 0; i < map->count; i++)
        release_arrays(&map->slot[i]);
    free(map);
}

static int fill_slots(struct soft_map *map, struct soft_map *old, struct gh_error *err)
{
    for (unsigned i = 0; i < map->count; i++) {
        struct soft_slot *s = &map->slot[i];
        uint64_t pages = slot_pages(s->size);
        if (same_slot(old, s))
            continue;
        s->page_flags = calloc(pages, 1);
        s->dirty = s->flags & GH_SLOT_DIRTY ? calloc((pages + 63) / 64, 8) : NULL;
        if (!s->page_flags || ((s->flags & GH_SLOT_DIRTY) && !s->dirty))
            return gh_error_set(err, -ENOMEM, "OutOfMemory",
                                "The host has no memory for the tables of %llu KiB of guest memory; "
                                "close other programs or give the machine less memory.",
                                (unsigned long long)(s->size >> 10));
        inherit(s, old);
    }
    /* Nothing can fail any more: take over what did not change. */
    for (unsigned i = 0; i < map->count; i++) {
        struct soft_slot *s = &map->slot[i];
        struct soft_slot *o = s->page_flags ? NULL : same_slot(old, s);
        if (!o)
            continue;
        s->page_flags = o->page_flags;
        s->dirty = o->dirty;
        o->page_flags = NULL;
        o->dirty = NULL;
    }
    return 0;
}

static bool same_map(const struct soft_map *map, const struct gh_flat_map *flat)
{
    if (!map || map->count != flat->slot_count)
        return false;
    for (unsigned i = 0; i < map->count; i++) {
        const struct soft_slot *s = &map->slot[i];
        const struct gh_slot *f = &flat->slots[i];
        if (s->gpa != f->gpa || s->size != f->size || s->host != (uint8_t *)f->host || s->flags != f->flags || s->id != f->id)
            return false;
    }
    return true;
}

/* Host memory of the old map is not in the new one. */
static bool loses_memory(const struct soft_map *old, const struct soft_map *map)
{
    for (unsigned i = 0; old && i < old->count; i++) {
        const struct soft_slot *o = &old->slot[i];
        bool kept = false;
        for (unsigned k = 0; k < map->count && !kept; k++)
            kept = map->slot[k].host <= o->host && o->host + o->size <= map->slot[k].host + map->slot[k].size;
        if (!kept)
            return true;
    }
    return false;
}

int soft_map_publish(struct soft_vm *vm, const struct gh_flat_map *flat, struct gh_error *err)
{
    struct soft_map *old = vm->map;
    if (same_map(old, flat))
        return SOFT_MAP_SAME;                   /* only devices' own ranges moved: nothing of it is cached */
    struct soft_map *map = calloc(1, sizeof *map + flat->slot_count * sizeof map->slot[0]);

    if (!map || flat->slot_count >= SOFT_NO_SLOT) {
        free(map);
        return gh_error_set(err, -ENOMEM, "OutOfMemory",
                            "The host has no memory for a map of %u guest memory ranges; close other programs.",
                            flat->slot_count);
    }
    map->count = flat->slot_count;
    map->generation = old ? old->generation + 1 : 1;
    for (unsigned i = 0; i < map->count; i++) {
        const struct gh_slot *f = &flat->slots[i];
        map->slot[i] = (struct soft_slot){ .gpa = f->gpa, .size = f->size, .host = f->host,
                                           .flags = f->flags, .id = f->id };
    }
    int rc = fill_slots(map, old, err);
    if (rc < 0) {
        map_drop(map);
        return rc;
    }
    bool lost = loses_memory(old, map);
    vm->map = map;
    map_drop(vm->retired);
    vm->retired = old;
    SOFT_COUNT(vm, publish);
    return lost ? SOFT_MAP_LOST : SOFT_MAP_GREW;
}

void soft_map_free(struct soft_vm *vm)
{
    map_drop(vm->map);
    map_drop(vm->retired);
    vm->map = vm->retired = NULL;
}

/* Where several slots show one piece (RAM around a hole), the bitmap counts from its lowest host address. */
static uint8_t *piece_start(const struct soft_map *map, unsigned id)
{
    uint8_t *start = NULL;

    for (unsigned i = 0; i < map->count; i++)
        if (map->slot[i].id == id && (!start || map->slot[i].host < start))
            start = map->slot[i].host;
    return start;
}

int soft_map_harvest(struct soft_vm *vm, unsigned id, uint64_t *bitmap, size_t pages)
{
    struct soft_map *map = vm->map;
    bool any = false;

    if (!map)
        return -ENOENT;
    uint8_t *start = piece_start(map, id);
    for (unsigned i = 0; i < map->count; i++) {
        struct soft_slot *s = &map->slot[i];
        if (s->id != id || !s->dirty)
            continue;
        uint64_t first = (uint64_t)(s->host - start) >> 12, n = slot_pages(s->size);
        for (uint64_t w = 0; w < (n + 63) / 64; w++) {
            uint64_t bits = atomic_load_explicit(&s->dirty[w], memory_order_relaxed);
            if (!bits)
                continue;
            bits = atomic_exchange(&s->dirty[w], 0);
            any = true;
            for (; bits; bits &= bits - 1) {
                uint64_t page = first + w * 64 + (unsigned)__builtin_ctzll(bits);
                if (page < pages)
                    bitmap[page >> 6] |= 1ull << (page & 63);
            }
        }
    }
    if (any)  /* a vCPU that still holds a write tag marks its page again when it drops the tag */
        for (unsigned i = 0; i < vm->vcpu_count; i++)
            if (vm->cpu[i])
                atomic_fetch_or(&vm->cpu[i]->attention, SOFT_ATTN_DIRTY);
    return 0;
}

void soft_map_dma_written(struct soft_vm *vm, uint64_t gpa, uint64_t bytes)
{
    while (bytes) {
        struct soft_slot *s = soft_map_find(vm, gpa);
        uint64_t n = 0x1000 - (gpa & 0xfff);
        if (n > bytes)
            n = bytes;
        if (s) {
            uint64_t page = (gpa - s->gpa) >> 12;
            soft_slot_mark_dirty(s, gpa);
            if (atomic_load(&s->page_flags[page]) & SOFT_PAGE_CODE)
                soft_code_written(vm, s->host + (gpa - s->gpa), (unsigned)n);
        }
        gpa += n;
        bytes -= n;
    }
}

void soft_code_page_add(struct soft_vm *vm, const uint8_t *host)
{
    const uint8_t *page = (const uint8_t *)((uintptr_t)host & ~SOFT_PAGE_MASK);
    bool revoke = false;

    for (unsigned i = 0; i < vm->map->count; i++) {
        struct soft_slot *s = &vm->map->slot[i];
        if (page < s->host || page >= s->host + s->size)
            continue;
        _Atomic uint8_t *flags = &s->page_flags[(uint64_t)(page - s->host) >> 12];
        /* Pairs with install_write_tag: either it sees CODE, or we see WTAG. */
        if (atomic_fetch_or(flags, SOFT_PAGE_CODE) & SOFT_PAGE_WTAG)
            revoke = true;
    }
    if (revoke) {
        soft_tlb_revoke_write(vm, page);
        for (unsigned i = 0; i < vm->map->count; i++) {
            struct soft_slot *s = &vm->map->slot[i];
            if (page >= s->host && page < s->host + s->size)
                atomic_fetch_and(&s->page_flags[(uint64_t)(page - s->host) >> 12], (uint8_t)~SOFT_PAGE_WTAG);
        }
    }
}

void soft_code_page_remove(struct soft_vm *vm, const uint8_t *host)
{
    for (unsigned i = 0; i < vm->map->count; i++) {
        struct soft_slot *s = &vm->map->slot[i];
        if (host >= s->host && host < s->host + s->size)
            atomic_fetch_and(&s->page_flags[(uint64_t)(host - s->host) >> 12], (uint8_t)~SOFT_PAGE_CODE);
    }
}
