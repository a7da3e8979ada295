/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What test programs for processors use to make things happen: lines, ports and memory that remember. Custom of
 * QEMU ("pc-testdev"), no chip; only with --device pc-testdev.
 *
 *   E0h-E3h      32 bits that remember what was written, in any width at any offset
 *   E4h-E7h      writing a physical address makes what is cached of that page fresh: nothing to do here,
 *                because nothing is cached that guests could see; reads answer zero
 *   2000h-2017h  one port for each interrupt line: 0 lowers it, another value raises it
 *   FF000000h    64 KiB of memory that traps on each access
 */
#include "devices/classes.h"

enum { RANGE_PORT, RANGE_FLUSH, RANGE_LINES, RANGE_MEMORY };
enum { LINES = 24, MEMORY_BYTES = 0x10000 };

struct testdev {
    uint8_t port[4];
    uint32_t lines;                       /* levels, a bit each */
    uint8_t memory[MEMORY_BYTES];
};

static void remember(uint8_t *at, struct gh_access *a)
{
    if (a->write) {
        for (unsigned i = 0; i < a->width; i++)
            at[i] = (uint8_t)(a->value >> i * 8);
    } else {
        a->value = 0;
        for (unsigned i = 0; i < a->width; i++)
            a->value |= (uint64_t)at[i] << i * 8;
    }
}

static bool port_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    remember(((struct testdev *)dev->state)->port + a->offset, a);
    return true;
}

static bool flush_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    if (!a->write)
        a->value = 0;
    return true;
}

static bool line_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct testdev *d = dev->state;

    if (!a->write) {
        a->value = d->lines >> a->offset & 1;
        return true;
    }
    d->lines = (d->lines & ~(1u << a->offset)) | (a->value ? 1u : 0u) << a->offset;
    gh_irq_set(dev, (unsigned)a->offset, a->value != 0);
    return true;
}

static bool memory_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    remember(((struct testdev *)dev->state)->memory + a->offset, a);
    return true;
}

static int testdev_attach(struct gh_device *dev, struct gh_error *err)
{
    static const struct gh_range_desc ranges[] = {
        [RANGE_PORT] = { .name = "testdev-port", .base = 0xe0, .size = 4, .fn = port_access },
        [RANGE_FLUSH] = { .name = "testdev-flush", .base = 0xe4, .size = 4, .fn = flush_access },
        [RANGE_LINES] = { .name = "testdev-lines", .base = 0x2000, .size = LINES, .widths = GH_W8, .fn = line_access },
        [RANGE_MEMORY] = { .name = "testdev-memory", .space = GH_SPACE_MMIO, .base = 0xff000000, .size = MEMORY_BYTES, .fn = memory_access },
    };

    for (unsigned i = 0; i < GH_ARRAY_LEN(ranges); i++) {
        int r = gh_range_add(dev, i, &ranges[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static void testdev_reset(struct gh_device *dev, enum gh_reset why)
{
    struct testdev *d = dev->state;

    for (unsigned i = 0; i < LINES; i++)
        if (d->lines >> i & 1)
            gh_irq_set(dev, i, false);
    memset(d, 0, sizeof *d);
}

static int testdev_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct testdev *d = dev->state;

    d->lines &= (1u << LINES) - 1;
    for (unsigned i = 0; i < LINES; i++)
        gh_irq_set(dev, i, d->lines >> i & 1);
    return 0;
}

static const struct gh_field testdev_fields[] = {
    { .name = "port", .type = GH_T_BYTES, .offset = offsetof(struct testdev, port), .count = 4, .since = 1 },
    GH_FIELD(GH_T_U32, struct testdev, lines, 1),
    { .name = "memory", .type = GH_T_BYTES, .offset = offsetof(struct testdev, memory), .count = MEMORY_BYTES, .since = 1 },
    {0},
};

const struct gh_device_class gh_class_testdev = {
    .name = "pc-testdev",
    .summary = "Lines, ports and memory for processor tests",
    .state_size = sizeof(struct testdev),
    .version = 1,
    .saved = testdev_fields,
    .attach = testdev_attach,
    .reset = testdev_reset,
    .loaded = testdev_loaded,
};
