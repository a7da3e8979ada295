/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The machine's two address spaces: guest physical memory and I/O ports.
 *
 * Ranges (RAM, ROM, device handlers) overlap by priority. Edits are batched: gh_memmap_edit marks the
 * map, gh_memmap_render makes a new flat view, which the publisher hands to the accelerator.
 *
 * Lock: everything here under the machine lock. Flat views are immutable once rendered.
 */
#pragma once
#include "devices/device.h"
#include "engine/accel/accel.h"

struct gh_range {
    struct gh_range_desc desc;
    struct gh_device *dev;          /* NULL: the machine's own (RAM, BIOS) */
    unsigned number;                /* the device's own range number */
    bool     enabled;
    uint64_t base;
    unsigned slot_id;               /* identity of the memory behind it */
    struct gh_range *next;
};

/* A piece of a flat view: [start, start+size) belongs to range, at offset within it. */
struct gh_flat { uint64_t start, size, offset; struct gh_range *range; };
struct gh_flat_view { unsigned count; struct gh_flat *flat; };

struct gh_memmap {
    struct gh_range *ranges;        /* highest priority first; same priority: newest first */
    struct gh_flat_view pio, mem;
    struct gh_flat_map slots;       /* what the accelerator sees */
    struct gh_slot *slot_array;
    unsigned next_slot_id;
    bool     edited;
};

struct gh_range *gh_memmap_add(struct gh_memmap *map, struct gh_device *dev, unsigned number,
                            const struct gh_range_desc *desc);
struct gh_range *gh_memmap_find(struct gh_memmap *map, const struct gh_device *dev, unsigned number);
void gh_memmap_remove_device(struct gh_memmap *map, const struct gh_device *dev);
void gh_memmap_set(struct gh_memmap *map, struct gh_range *range, bool enabled, uint64_t base);
void gh_memmap_set_host(struct gh_memmap *map, struct gh_range *range, uint8_t *host);
/* Builds both flat views and the slot list; returns 0 or -ENOMEM. Clears `edited`. */
int  gh_memmap_render(struct gh_memmap *map);
const struct gh_flat *gh_memmap_lookup(const struct gh_flat_view *view, uint64_t address);
void gh_memmap_fini(struct gh_memmap *map);

/* One guest access: finds the range, checks width and bounds, splits, calls the handler. Absent
 * ranges read as all ones. count > 1: port string elements at data. */
void gh_memmap_access(struct gh_memmap *map, enum gh_range_space space, uint64_t address, bool write,
                   unsigned width, unsigned count, void *data);
