/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pvpanic, ISA variant at 505h: the guest kernel says that it crashed. Specification: QEMU's
 * docs/specs/pvpanic. Reading tells which events are understood; writing reports them.
 */
#include "devices/classes.h"

enum { PANICKED = 0x01, CRASH_LOADED = 0x02, SUPPORTED = PANICKED | CRASH_LOADED };

struct pvpanic { uint16_t iobase; };

static bool pvpanic_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    if (!a->write) {
        a->value = SUPPORTED;
        return true;
    }
    if (a->value & ~(uint64_t)SUPPORTED)
        gh_guest_error(dev, "unknown event bits %#x", (unsigned)a->value);
    if (a->value & SUPPORTED)
        dev->ops->request(dev->board, dev, GH_REQUEST_GUEST_PANIC, a->value & SUPPORTED, NULL);
    return true;
}

static int pvpanic_attach(struct gh_device *dev, struct gh_error *err)
{
    struct pvpanic *p = dev->state;
    const struct gh_range_desc desc = {
        .name = "pvpanic", .base = p->iobase, .size = 1, .widths = GH_W8, .fn = pvpanic_access};

    return gh_range_add(dev, 0, &desc, err);
}

static const struct gh_option pvpanic_options[] = {
    GH_OPT(GH_T_U16, struct pvpanic, iobase, "iobase", 0, 0xffff, "0x505", "I/O port"),
    {0},
};

const struct gh_device_class gh_class_pvpanic = {
    .name = "pvpanic",
    .summary = "Reports a crash of the guest's kernel",
    .state_size = sizeof(struct pvpanic),
    .version = 1,
    .options = pvpanic_options,
    .attach = pvpanic_attach,
};
