/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Doorbells: registers whose written value does not matter, so that the accelerator can turn a guest's write into a
 * count on an eventfd without leaving the guest. A worker for each waits there and calls the device.
 *
 * The accelerator knows a doorbell by its guest address: place follows each publish. Where the address is hidden or
 * the accelerator refuses, the write leaves the guest and reaches the range's handler as everywhere.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/machine/machine_internal.h"
#include "engine/machine/sandbox.h"

struct gh_doorbell {
    struct gh_machine *machine;
    struct gh_device *dev;
    unsigned range, number;
    uint64_t offset;
    unsigned width;
    gh_doorbell_fn fn;
    int       fd;
    pthread_t worker;
    bool      placed, refused, ending;
    uint64_t  at;                      /* where it is placed, or was refused */
    uint64_t  rings;
    struct gh_doorbell *next;
};

static void *work(void *opaque)
{
    struct gh_doorbell *d = opaque;
    struct gh_machine *m = d->machine;
    bool narrowed = false;
    uint64_t count;
    char name[16];

    snprintf(name, sizeof name, "%.11s.%u", d->dev->id, d->number);
    pthread_setname_np(pthread_self(), name);
    for (;;) {
        ssize_t n = read(d->fd, &count, sizeof count);
        if (n < 0 && errno != EINTR)
            return NULL;
        if (!narrowed && gh_sandbox_active()) /* it was made before the sandbox closed */
            narrowed = gh_sandbox_thread(GH_SANDBOX_IO, NULL) == 0;
        gh_machine_lock(m);
        if (d->ending) {
            gh_machine_unlock(m);
            return NULL;
        }
        if (n > 0) {
            d->rings += count;
            d->fn(d->dev, d->number);
            if (m->map.edited)
                gh_machine_publish(m, -1, NULL);
        }
        gh_machine_unlock(m);
    }
}

bool gh_doorbell_add(struct gh_machine *m, struct gh_device *dev, unsigned range, uint64_t offset, unsigned width, gh_doorbell_fn fn,
                     unsigned number)
{
    struct gh_doorbell *d = m->cfg.accel->ioeventfd ? calloc(1, sizeof *d) : NULL;

    if (!d)
        return false;
    *d = (struct gh_doorbell){ .machine = m, .dev = dev, .range = range, .number = number, .offset = offset, .width = width,
                               .fn = fn, .next = m->doorbells };
    d->fd = eventfd(0, EFD_CLOEXEC);
    if (d->fd < 0 || pthread_create(&d->worker, NULL, work, d)) {
        if (d->fd >= 0)
            close(d->fd);
        free(d);
        return false;
    }
    m->doorbells = d;
    return true;
}

/* Where the guest reaches it now; false: nowhere, or something lies over it. */
static bool address(const struct gh_doorbell *d, uint64_t *ret)
{
    struct gh_memmap *map = &d->machine->map;
    const struct gh_range *r = gh_memmap_find(map, d->dev, d->range);

    if (!r || !r->enabled || r->desc.space != GH_SPACE_MMIO)
        return false;
    *ret = r->base + d->offset;
    const struct gh_flat *f = gh_memmap_lookup(&map->mem, *ret);
    return f && f->range == r && f->start + f->size - *ret >= d->width;
}

static int tell(struct gh_doorbell *d, bool add)
{
    struct gh_machine *m = d->machine;
    return m->cfg.accel->ioeventfd(m->vm, d->fd, d->at, d->width, false, false, 0, add);
}

void gh_doorbells_place(struct gh_machine *m)
{
    /* First all that move away: another one's new place may be an old one. */
    for (struct gh_doorbell *d = m->doorbells; d; d = d->next) {
        uint64_t at;
        bool there = address(d, &at);
        if ((d->placed || d->refused) && (!there || at != d->at)) {
            if (d->placed)
                tell(d, false);
            d->placed = d->refused = false;
        }
    }
    for (struct gh_doorbell *d = m->doorbells; d; d = d->next)
        if (!d->placed && !d->refused && address(d, &d->at)) {
            d->placed = tell(d, true) == 0;
            d->refused = !d->placed;
        }
}

void gh_doorbells_free(struct gh_machine *m)
{
    static const uint64_t one = 1;

    gh_machine_lock(m);
    for (struct gh_doorbell *d = m->doorbells; d; d = d->next)
        d->ending = true;
    gh_machine_unlock(m);
    while (m->doorbells) {
        struct gh_doorbell *d = m->doorbells;
        if (d->placed)
            tell(d, false);
        ssize_t ignored = write(d->fd, &one, sizeof one);
        (void)ignored;
        pthread_join(d->worker, NULL);
        close(d->fd);
        m->doorbells = d->next;
        free(d);
    }
}

void gh_doorbells_counters(struct gh_machine *m, void (*visit)(void *, const char *, uint64_t), void *opaque)
{
    char name[64];

    for (struct gh_doorbell *d = m->doorbells; d; d = d->next) {
        snprintf(name, sizeof name, "%s.doorbell%u", d->dev->id, d->number);
        visit(opaque, name, d->rings);
    }
}
