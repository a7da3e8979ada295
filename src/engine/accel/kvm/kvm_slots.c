/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Memory slots: publish changes only what differs from the kernel's view, because deleting a slot
 * makes the kernel drop all nested page tables.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "engine/accel/kvm/kvm_int.h"

#define PAGE_SHIFT 12

static bool same_memory(const struct gh_slot *a, const struct gh_slot *b)
{
    return a->gpa == b->gpa && a->size == b->size && a->host == b->host &&
           (a->flags & GH_SLOT_WRITABLE) == (b->flags & GH_SLOT_WRITABLE);
}

static int set_region(struct gh_accel_vm *vm, unsigned number, const struct gh_slot *s, bool present,
                      struct gh_error *err)
{
    struct kvm_userspace_memory_region r = {
        .slot = number,
        .flags = (s->flags & GH_SLOT_WRITABLE ? 0 : KVM_MEM_READONLY) |
                 (s->flags & GH_SLOT_DIRTY ? KVM_MEM_LOG_DIRTY_PAGES : 0),
        .guest_phys_addr = s->gpa,
        .memory_size = present ? s->size : 0,
        .userspace_addr = (uintptr_t)s->host,
    };
    return ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &r)
               ? kvm_fail(err, errno, "map a piece of guest memory") : 0;
}

/* The log dies with its slot; everything counts as dirty at the next harvest. */
static int remember_lost(struct gh_accel_vm *vm, unsigned id)
{
    for (unsigned i = 0; i < vm->lost_count; i++)
        if (vm->lost_ids[i] == id)
            return 0;
    unsigned *bigger = realloc(vm->lost_ids, (vm->lost_count + 1) * sizeof *bigger);
    if (!bigger)
        return -ENOMEM;
    vm->lost_ids = bigger;
    bigger[vm->lost_count++] = id;
    return 0;
}

static int keep_or_delete(struct gh_accel_vm *vm, const struct gh_flat_map *map, bool *placed,
                          struct gh_error *err)
{
    int r = 0;

    for (unsigned k = 0; k < vm->mem_count; k++)
        vm->mem[k].kept = false;
    for (unsigned i = 0; i < map->slot_count && !r; i++) {
        for (unsigned k = 0; k < vm->mem_count && !placed[i]; k++) {
            struct kvm_mem *m = &vm->mem[k];
            if (!m->used || m->kept || !same_memory(&m->slot, &map->slots[i]))
                continue;
            placed[i] = m->kept = true;
            if (m->slot.flags != map->slots[i].flags)
                r = set_region(vm, k, &map->slots[i], true, err);
            if (!r)                    /* else the kernel has the old one, and the next publish tries again */
                m->slot = map->slots[i];
        }
    }
    for (unsigned k = 0; k < vm->mem_count && !r; k++) {
        struct kvm_mem *m = &vm->mem[k];
        if (!m->used || m->kept)
            continue;
        if (m->slot.flags & GH_SLOT_DIRTY && remember_lost(vm, m->slot.id))
            r = kvm_fail(err, ENOMEM, "map guest memory");
        if (!r)
            r = set_region(vm, k, &m->slot, false, err);
        m->used = r != 0;
    }
    return r;
}

static int free_number(struct gh_accel_vm *vm, unsigned *ret, struct gh_error *err)
{
    for (unsigned k = 0; k < vm->mem_count; k++)
        if (!vm->mem[k].used) {
            *ret = k;
            return 0;
        }
    unsigned count = vm->mem_count ? vm->mem_count * 2 : 32;
    if (count > vm->mem_max)
        count = vm->mem_max;
    if (count == vm->mem_count)
        return gh_error_set(err, -ENOSPC, "KvmTooManySlots",
                            "KVM takes at most %u pieces of guest memory; remove devices with memory of "
                            "their own.", vm->mem_max);
    struct kvm_mem *bigger = realloc(vm->mem, count * sizeof *bigger);
    if (!bigger)
        return kvm_fail(err, ENOMEM, "map a piece of guest memory");
    memset(bigger + vm->mem_count, 0, (count - vm->mem_count) * sizeof *bigger);
    vm->mem = bigger;
    *ret = vm->mem_count;
    vm->mem_count = count;
    return 0;
}

int kvm_publish(struct gh_accel_vm *vm, const struct gh_flat_map *map, struct gh_error *err)
{
    gh_autofree bool *placed = calloc(map->slot_count + 1, sizeof *placed);

    if (!placed)
        return kvm_fail(err, ENOMEM, "map guest memory");
    /* Old pieces go first: the kernel refuses overlaps. */
    int r = keep_or_delete(vm, map, placed, err);
    for (unsigned i = 0; i < map->slot_count && !r; i++) {
        unsigned k = 0;
        if (placed[i])
            continue;
        r = free_number(vm, &k, err);
        if (r)
            break;
        r = set_region(vm, k, &map->slots[i], true, err);
        if (!r)
            vm->mem[k] = (struct kvm_mem){ .used = true, .slot = map->slots[i] };
    }
    return r;
}

static void or_pages(uint64_t *bitmap, size_t pages, size_t first, const uint64_t *log, size_t count)
{
    for (size_t w = 0; w * 64 < count; w++) {
        uint64_t bits = log ? log[w] : ~0ull;
        if (!bits)
            continue;
        for (size_t b = 0; b < 64 && w * 64 + b < count; b++) {
            size_t page = first + w * 64 + b;
            if ((bits >> b & 1) && page < pages)
                bitmap[page / 64] |= 1ull << (page % 64);
        }
    }
}

int kvm_dirty_harvest(struct gh_accel_vm *vm, unsigned slot_id, uint64_t *bitmap, size_t pages)
{
    for (unsigned i = 0; i < vm->lost_count; i++)
        if (vm->lost_ids[i] == slot_id) {
            vm->lost_ids[i] = vm->lost_ids[--vm->lost_count];
            or_pages(bitmap, pages, 0, NULL, pages);
        }
    for (unsigned k = 0; k < vm->mem_count; k++) {
        const struct gh_slot *s = &vm->mem[k].slot;
        if (!vm->mem[k].used || s->id != slot_id || !(s->flags & GH_SLOT_DIRTY))
            continue;
        size_t count = s->size >> PAGE_SHIFT;
        gh_autofree uint64_t *log = calloc((count + 63) / 64, sizeof *log);
        struct kvm_dirty_log request = { .slot = k, .dirty_bitmap = log };
        if (!log)
            return -ENOMEM;
        if (ioctl(vm->vm_fd, KVM_GET_DIRTY_LOG, &request))
            return -errno;
        or_pages(bitmap, pages, s->offset >> PAGE_SHIFT, log, count);
    }
    return 0;
}

const uint8_t *kvm_slot_host(const struct gh_accel_vm *vm, uint64_t gpa)
{
    for (unsigned k = 0; k < vm->mem_count; k++) {
        const struct gh_slot *s = &vm->mem[k].slot;
        if (vm->mem[k].used && gpa >= s->gpa && gpa - s->gpa < s->size)
            return s->host + (gpa - s->gpa);
    }
    return NULL;
}

void kvm_slots_fini(struct gh_accel_vm *vm)
{
    free(vm->mem);
    free(vm->lost_ids);
}
