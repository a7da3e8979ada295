/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/memmap.h"

#include <errno.h>
#include <stdlib.h>

struct gh_range *gh_memmap_add(struct gh_memmap *map, struct gh_device *dev, unsigned number,
                            const struct gh_range_desc *desc)
{
    struct gh_range *range = calloc(1, sizeof *range);

    if (!range)
        return NULL;
    range->desc = *desc;
    range->dev = dev;
    range->number = number;
    range->enabled = !desc->disabled;
    range->base = desc->base;
    range->slot_id = ++map->next_slot_id;
    struct gh_range **at = &map->ranges;
    while (*at && (*at)->desc.priority > desc->priority)
        at = &(*at)->next;
    range->next = *at;
    *at = range;
    map->edited = true;
    return range;
}

struct gh_range *gh_memmap_find(struct gh_memmap *map, const struct gh_device *dev, unsigned number)
{
    for (struct gh_range *r = map->ranges; r; r = r->next)
        if (r->dev == dev && r->number == number)
            return r;
    return NULL;
}

void gh_memmap_remove_device(struct gh_memmap *map, const struct gh_device *dev)
{
    for (struct gh_range **at = &map->ranges; *at;) {
        struct gh_range *r = *at;
        if (r->dev == dev) {
            *at = r->next;
            free(r);
            map->edited = true;
        } else {
            at = &r->next;
        }
    }
}

void gh_memmap_set(struct gh_memmap *map, struct gh_range *range, bool enabled, uint64_t base)
{
    if (range->enabled == enabled && (!enabled || range->base == base))
        return;
    range->enabled = enabled;
    range->base = base;
    map->edited = true;
}

void gh_memmap_set_host(struct gh_memmap *map, struct gh_range *range, uint8_t *host)
{
    if (range->desc.host == host)
        return;
    range->desc.host = host;
    range->slot_id = ++map->next_slot_id; /* other memory: another identity */
    map->edited = true;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The highest range that covers address; the list is in priority order. */
static struct gh_range *top_at(struct gh_memmap *map, enum gh_range_space space, uint64_t address)
{
    for (struct gh_range *r = map->ranges; r; r = r->next)
        if (r->enabled && r->desc.space == space && address >= r->base &&
            address - r->base < r->desc.size)
            return r;
    return NULL;
}

static int render_space(struct gh_memmap *map, enum gh_range_space space, struct gh_flat_view *view)
{
    unsigned count = 0, edges = 0;

    for (struct gh_range *r = map->ranges; r; r = r->next)
        count += r->enabled && r->desc.space == space;
    uint64_t *edge = calloc(count * 2 + 1, sizeof *edge);
    struct gh_flat *flat = calloc(count * 2 + 1, sizeof *flat);
    if (!edge || !flat) {
        free(edge);
        free(flat);
        return -ENOMEM;
    }
    for (struct gh_range *r = map->ranges; r; r = r->next) {
        if (!r->enabled || r->desc.space != space)
            continue;
        edge[edges++] = r->base;
        edge[edges++] = r->base + r->desc.size;
    }
    qsort(edge, edges, sizeof *edge, compare_u64);
    unsigned n = 0;
    for (unsigned i = 0; i + 1 < edges; i++) {
        uint64_t start = edge[i], end = edge[i + 1];
        struct gh_range *r = start == end ? NULL : top_at(map, space, start);
        if (!r)
            continue;
        struct gh_flat *last = n ? &flat[n - 1] : NULL;
        if (last && last->range == r && last->start + last->size == start)
            last->size += end - start;
        else
            flat[n++] = (struct gh_flat){ start, end - start, start - r->base, r };
    }
    free(edge);
    free(view->flat);
    view->flat = flat;
    view->count = n;
    return 0;
}

/* RAM and ROM pieces, cut to whole pages; what is not page aligned stays a handler. */
static int render_slots(struct gh_memmap *map)
{
    struct gh_slot *slots = calloc(map->mem.count + 1, sizeof *slots);
    unsigned n = 0;

    if (!slots)
        return -ENOMEM;
    for (unsigned i = 0; i < map->mem.count; i++) {
        const struct gh_flat *f = &map->mem.flat[i];
        const struct gh_range_desc *d = &f->range->desc;
        if (d->kind == GH_RANGE_HANDLER || !d->host)
            continue;
        if ((f->start | f->size | f->offset) & 0xfff)
            continue;
        unsigned flags = (d->kind == GH_RANGE_RAM ? GH_SLOT_WRITABLE : 0) |
                         (d->dirty_log ? GH_SLOT_DIRTY : 0);
        slots[n++] = (struct gh_slot){ f->start, f->size, d->host + f->offset, flags,
                                       f->range->slot_id, f->offset };
    }
    free(map->slot_array);
    map->slot_array = slots;
    map->slots.slots = slots;
    map->slots.slot_count = n;
    map->slots.generation++;
    return 0;
}

int gh_memmap_render(struct gh_memmap *map)
{
    int r = render_space(map, GH_SPACE_PIO, &map->pio);
    if (!r)
        r = render_space(map, GH_SPACE_MMIO, &map->mem);
    if (!r)
        r = render_slots(map);
    if (!r)
        map->edited = false;
    return r;
}

const struct gh_flat *gh_memmap_lookup(const struct gh_flat_view *view, uint64_t address)
{
    unsigned lo = 0, hi = view->count;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        const struct gh_flat *f = &view->flat[mid];
        if (address < f->start)
            hi = mid;
        else if (address - f->start >= f->size)
            lo = mid + 1;
        else
            return f;
    }
    return NULL;
}

void gh_memmap_fini(struct gh_memmap *map)
{
    while (map->ranges) {
        struct gh_range *r = map->ranges;
        map->ranges = r->next;
        free(r);
    }
    free(map->pio.flat);
    free(map->mem.flat);
    free(map->slot_array);
    *map = (struct gh_memmap){ 0 };
}

/* The widest width that the range allows and that is not wider than asked. */
static unsigned allowed_width(const struct gh_range_desc *d, unsigned width)
{
    unsigned widths = d->widths ? d->widths : GH_W_ALL;

    while (width > 1 && !(widths & width))
        width /= 2;
    return width;
}

static bool call_handler(struct gh_range *r, uint64_t offset, bool write, unsigned width,
                         uint64_t *value)
{
    struct gh_access a = { .offset = offset, .width = (uint8_t)width, .write = write, .count = 1,
                           .value = write ? *value : 0 };

    bool ok = r->desc.fn && r->desc.fn(r->dev, r->number, &a);
    if (!write)
        *value = ok ? a.value & gh_width_mask(width) : gh_width_mask(width);
    if (!ok && r->dev && r->desc.fn) {
        r->dev->guest_errors++;
        gh_trace(guest_bad_register, "%s %s+%#llx width %u %s", r->dev->id, r->desc.name,
                 (unsigned long long)offset, width, write ? "write" : "read");
    }
    return ok;
}

/* One element of at most 8 bytes; recurses only through narrower widths. */
static void access_one(struct gh_memmap *map, const struct gh_flat_view *view, uint64_t address,
                       bool write, unsigned width, uint8_t *data)
{
    while (width) {
        const struct gh_flat *f = gh_memmap_lookup(view, address);
        if (!f) {
            if (!write)
                data[0] = 0xff;
            address++, data++, width--;
            continue;
        }
        struct gh_range *r = f->range;
        uint64_t offset = f->offset + (address - f->start);
        uint64_t left = f->size - (address - f->start);
        unsigned step = width >= 8 ? 8 : width >= 4 ? 4 : width >= 2 ? 2 : 1;
        while (step > left)
            step /= 2;
        if (r->desc.kind != GH_RANGE_HANDLER && !(write && r->desc.kind == GH_RANGE_ROM)) {
            if (write)
                memcpy(r->desc.host + offset, data, step);
            else
                memcpy(data, r->desc.host + offset, step);
        } else {
            step = allowed_width(&r->desc, step);
            uint64_t value = 0;
            if (write)
                memcpy(&value, data, step);
            call_handler(r, offset, write, step, &value);
            if (!write)
                memcpy(data, &value, step);
        }
        address += step, data += step, width -= step;
    }
}

void gh_memmap_access(struct gh_memmap *map, enum gh_range_space space, uint64_t address, bool write,
                   unsigned width, unsigned count, void *data)
{
    const struct gh_flat_view *view = space == GH_SPACE_PIO ? &map->pio : &map->mem;

    if (count > 1) {
        const struct gh_flat *f = gh_memmap_lookup(view, address);
        if (f && f->range->desc.repeat && allowed_width(&f->range->desc, width) == width &&
            address - f->start + width <= f->size) {
            struct gh_access a = { .offset = f->offset + (address - f->start),
                                   .width = (uint8_t)width, .write = write, .count = count,
                                   .data = data };
            if (!f->range->desc.fn(f->range->dev, f->range->number, &a) && !write)
                memset(data, 0xff, (size_t)width * count);
            return;
        }
    }
    for (unsigned i = 0; i < count; i++)
        access_one(map, view, address, write, width, (uint8_t *)data + (size_t)i * width);
}
