/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The world as this machine gives it to its devices: struct gh_board_ops. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "engine/machine/machine_internal.h"

static int op_range_add(struct gh_board *b, struct gh_device *dev, unsigned range, const struct gh_range_desc *desc,
                        struct gh_error *err)
{
    if (!gh_memmap_add(&b->machine->map, dev, range, desc))
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left for device “%s”.", dev->id);
    return 0;
}

static void op_range_set(struct gh_board *b, struct gh_device *dev, unsigned range, bool enabled, uint64_t base)
{
    struct gh_range *r = gh_memmap_find(&b->machine->map, dev, range);

    if (r)
        gh_memmap_set(&b->machine->map, r, enabled, base);
}

static void op_range_host(struct gh_board *b, struct gh_device *dev, unsigned range, uint8_t *host)
{
    struct gh_range *r = gh_memmap_find(&b->machine->map, dev, range);

    if (r)
        gh_memmap_set_host(&b->machine->map, r, host);
}

static unsigned op_range_dirty(struct gh_board *b, struct gh_device *dev, unsigned range, uint64_t *bitmap, size_t pages)
{
    struct gh_machine *m = b->machine;
    struct gh_range *r = gh_memmap_find(&m->map, dev, range);
    unsigned set = 0;

    if (!r || m->cfg.accel->dirty_harvest(m->vm, r->slot_id, bitmap, pages) < 0)
        return 0;
    for (size_t i = 0; i < (pages + 63) / 64; i++)
        set += (unsigned)__builtin_popcountll(bitmap[i]);
    return set;
}

static uint8_t *op_ram_alloc(struct gh_board *b, uint64_t bytes, const char *name, struct gh_error *err)
{ return gh_ram_alloc(&b->machine->ram, bytes, name, err); }

static void op_irq_set(struct gh_board *b, unsigned gsi, bool level) { gh_machine_irq(b->machine, gsi, level); }

static void op_msi_send(struct gh_board *b, uint64_t address, uint32_t data)
{ b->machine->cfg.accel->msi(b->machine->vm, address, data); }

static uint64_t op_now(struct gh_board *b) { return gh_clock_now(&b->machine->clock); }

static uint64_t op_wall(struct gh_board *b)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void op_timer_arm(struct gh_board *b, struct gh_timer *t, uint64_t deadline_ns)
{ gh_clock_arm(&b->machine->clock, t, deadline_ns); }
static void op_timer_disarm(struct gh_board *b, struct gh_timer *t) { gh_clock_disarm(&b->machine->clock, t); }

static bool op_dma_map(struct gh_board *b, uint64_t gpa, uint64_t bytes, bool write, struct gh_dma *ret)
{
    uint64_t left;
    uint8_t *host = gh_ram_host(&b->machine->ram, gpa, &left);

    if (!host || !bytes)
        return false;
    *ret = (struct gh_dma){ host, gpa, bytes < left ? bytes : left, write };
    return true;
}

static void op_dma_unmap(struct gh_board *b, struct gh_dma *dma)
{
    struct gh_machine *m = b->machine;

    if (dma->write && dma->host && m->cfg.accel->dma_written)
        m->cfg.accel->dma_written(m->vm, dma->gpa, dma->bytes);
    dma->host = NULL;
}

struct deferred { struct gh_device *dev; void (*fn)(struct gh_device *, void *); void *arg; };

static void run_deferred(void *opaque)
{
    struct deferred d = *(struct deferred *)opaque;

    free(opaque);
    d.fn(d.dev, d.arg);
}

static void op_defer(struct gh_board *b, struct gh_device *dev, void (*fn)(struct gh_device *, void *), void *arg)
{
    struct deferred *d = malloc(sizeof *d);

    if (!d)
        abort(); /* a lost completion would hang the guest for ever */
    *d = (struct deferred){ dev, fn, arg };
    gh_machine_post(b->machine, run_deferred, d);
}

static void op_request(struct gh_board *b, struct gh_device *dev, enum gh_request what, uint64_t arg,
                       const struct gh_error *why)
{ gh_machine_request(b->machine, what, arg, why); }

static void *op_lookup(struct gh_board *b, const char *service)
{
    for (unsigned i = 0; i < b->machine->service_count; i++)
        if (!strcmp(b->machine->service[i].name, service))
            return b->machine->service[i].object;
    return NULL;
}

static void op_provide(struct gh_board *b, const char *service, void *object)
{
    struct gh_machine *m = b->machine;

    if (m->service_count < GH_SERVICES_MAX) {
        m->service[m->service_count].name = service;
        m->service[m->service_count++].object = object;
    }
}

static void op_display_add(struct gh_board *b, struct gh_device *dev, const struct gh_display_ops *ops)
{
    if (!b->machine->display) {
        b->machine->display = dev;
        b->machine->display_ops = ops;
    }
}

static void op_display_changed(struct gh_board *b, struct gh_device *dev)
{
    struct gh_machine *m = b->machine;

    if (m->display == dev && m->display_change)
        m->display_change(m->display_change_opaque);
}

static void op_input_add(struct gh_board *b, struct gh_device *dev, unsigned kinds, const struct gh_input_ops *ops)
{
    struct gh_machine *m = b->machine;

    if (m->input_count < GH_INPUTS_MAX)
        m->input[m->input_count++] = (struct gh_input_sink){ dev, kinds, ops };
}

static struct gh_device *op_find(struct gh_board *b, const char *id) { return gh_machine_device(b->machine, id); }

static bool op_doorbell(struct gh_board *b, struct gh_device *dev, unsigned range, uint64_t offset, unsigned width, gh_doorbell_fn fn,
                        unsigned number)
{ return gh_doorbell_add(b->machine, dev, range, offset, width, fn, number); }

const struct gh_board_ops gh_machine_board_ops = {
    .range_add = op_range_add, .range_set = op_range_set, .range_host = op_range_host,
    .range_dirty = op_range_dirty, .ram_alloc = op_ram_alloc, .irq_set = op_irq_set,
    .msi_send = op_msi_send, .now_ns = op_now, .wall_ns = op_wall, .timer_arm = op_timer_arm,
    .timer_disarm = op_timer_disarm, .dma_map = op_dma_map, .dma_unmap = op_dma_unmap,
    .defer = op_defer, .request = op_request, .lookup = op_lookup, .provide = op_provide,
    .display_add = op_display_add, .display_changed = op_display_changed, .input_add = op_input_add,
    .find = op_find, .doorbell = op_doorbell,
};
