/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Guest memory for the debugger: page tables walked without a trace in them. Intel SDM volume 3, chapter "Paging". */
#include "engine/machine/gdb_internal.h"

#define CR0_PG    (1ull << 31)
#define CR4_PSE   (1ull << 4)
#define CR4_PAE   (1ull << 5)
#define CR4_LA57  (1ull << 12)
#define EFER_LMA  (1ull << 10)
#define PRESENT   1ull
#define LARGE     (1ull << 7)
#define ADDRESS   0x000ffffffffff000ull

/* RAM, ROM and video memory as the guest sees them now; NULL: devices or nothing. left: bytes to the slot's end. */
static uint8_t *physical(struct gh_gdb *g, uint64_t gpa, bool write, uint64_t *left)
{
    const struct gh_flat_map *map = &g->machine->map.slots;

    for (unsigned i = 0; i < map->slot_count; i++) {
        const struct gh_slot *s = &map->slots[i];
        if (gpa - s->gpa >= s->size || gpa < s->gpa)
            continue;
        if (write && !(s->flags & GH_SLOT_WRITABLE))
            return NULL;
        *left = s->size - (gpa - s->gpa);
        return s->host + (gpa - s->gpa);
    }
    return NULL;
}

static bool entry(struct gh_gdb *g, uint64_t table, uint64_t index, unsigned width, uint64_t *ret)
{
    uint64_t left;
    const uint8_t *p = physical(g, table + index * width, false, &left);

    if (!p || left < width)
        return false;
    *ret = width == 8 ? gh_le64_get(p) : gh_le32_get(p);
    return *ret & PRESENT;
}

static bool walk_long(struct gh_gdb *g, const struct gh_cpu_state *s, uint64_t linear, uint64_t *ret)
{
    uint64_t e = s->cr3;

    for (int shift = s->cr4 & CR4_LA57 ? 48 : 39; shift >= 12; shift -= 9) {
        if (!entry(g, e & ADDRESS, linear >> shift & 511, 8, &e))
            return false;
        if (shift == 12 || ((shift == 21 || shift == 30) && e & LARGE)) {
            uint64_t mask = (1ull << shift) - 1;
            *ret = (e & ADDRESS & ~mask) | (linear & mask);
            return true;
        }
    }
    return false;
}

static bool walk_pae(struct gh_gdb *g, const struct gh_cpu_state *s, uint32_t linear, uint64_t *ret)
{
    uint64_t e;

    if (!entry(g, s->cr3 & 0xffffffe0u, linear >> 30, 8, &e) || !entry(g, e & ADDRESS, linear >> 21 & 511, 8, &e))
        return false;
    if (e & LARGE) {
        *ret = (e & ADDRESS & ~0x1fffffull) | (linear & 0x1fffff);
        return true;
    }
    if (!entry(g, e & ADDRESS, linear >> 12 & 511, 8, &e))
        return false;
    *ret = (e & ADDRESS) | (linear & 0xfff);
    return true;
}

static bool walk_32(struct gh_gdb *g, const struct gh_cpu_state *s, uint32_t linear, uint64_t *ret)
{
    uint64_t e;

    if (!entry(g, s->cr3 & 0xfffff000u, linear >> 22, 4, &e))
        return false;
    if (e & LARGE && s->cr4 & CR4_PSE) {
        *ret = (e & 0xffc00000u) | (e >> 13 & 0xff) << 32 | (linear & 0x3fffff);
        return true;
    }
    if (!entry(g, e & 0xfffff000u, linear >> 12 & 1023, 4, &e))
        return false;
    *ret = (e & 0xfffff000u) | (linear & 0xfff);
    return true;
}

bool gdb_walk(struct gh_gdb *g, const struct gh_cpu_state *s, uint64_t linear, uint64_t *ret_gpa)
{
    if (s->efer & EFER_LMA)
        return walk_long(g, s, linear, ret_gpa);
    linear = (uint32_t)linear;
    if (s->cr0 & CR0_PG)
        return s->cr4 & CR4_PAE ? walk_pae(g, s, (uint32_t)linear, ret_gpa) : walk_32(g, s, (uint32_t)linear, ret_gpa);
    *ret_gpa = linear;
    return true;
}

static size_t transfer(struct gh_gdb *g, uint64_t address, uint8_t *data, size_t len, bool write)
{
    struct gh_machine *m = g->machine;
    struct gh_cpu_state s;
    size_t done = 0;

    if (!g->physical && !gdb_state(g, g->thread, GH_CPU_SREGS, &s))
        return 0;
    gh_machine_lock(m);
    while (done < len) {
        uint64_t at = address + done, gpa = at, left, n = 0x1000 - (at & 0xfff);
        if (!g->physical && !gdb_walk(g, &s, at, &gpa))
            break;
        uint8_t *host = physical(g, gpa, write, &left);
        if (!host)
            break;
        n = n < left ? n : left;
        n = n < len - done ? n : len - done;
        if (write)
            memcpy(host, data + done, n);
        else
            memcpy(data + done, host, n);
        if (write && m->cfg.accel->dma_written)
            m->cfg.accel->dma_written(m->vm, gpa, n);
        done += n;
    }
    gh_machine_unlock(m);
    return done;
}

size_t gdb_read_memory(struct gh_gdb *g, uint64_t address, uint8_t *ret, size_t len) { return transfer(g, address, ret, len, false); }

size_t gdb_write_memory(struct gh_gdb *g, uint64_t address, const uint8_t *data, size_t len)
{
    return transfer(g, address, (uint8_t *)(uintptr_t)data, len, true);
}
