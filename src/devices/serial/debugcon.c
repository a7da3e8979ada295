/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Debug console port: what is written goes to a character backend; reads answer E9h, which is how
 * firmware finds it. Ports by custom: E9h (Bochs), 402h (SeaBIOS, OVMF). Output that a slow backend
 * does not take is dropped: a guest cannot wait on this port.
 */
#include "devices/classes.h"
#include "devices/serial/charout.h"

enum { PRESENT = 0xe9 };

struct debugcon {
    struct gh_charout out;
    struct gh_char *chr;                  /* options */
    uint16_t port;
};

static bool debugcon_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct debugcon *d = dev->state;

    if (a->count > 1) {
        if (a->write)
            gh_charout_put(&d->out, a->data, a->count);
        else
            memset(a->data, PRESENT, a->count);
    } else if (a->write) {
        uint8_t byte = (uint8_t)a->value;
        gh_charout_put(&d->out, &byte, 1);
    } else {
        a->value = PRESENT;
    }
    return true;
}

static void output_due(struct gh_device *dev, struct gh_timer *timer)
{
    gh_charout_flush(&((struct debugcon *)dev->state)->out);
}

static void writable(void *opaque)
{
    gh_charout_flush(&((struct debugcon *)opaque)->out);
}

static int debugcon_attach(struct gh_device *dev, struct gh_error *err)
{
    struct debugcon *d = dev->state;
    const struct gh_range_desc desc = {.name = "debugcon", .base = d->port, .size = 1, .widths = GH_W8,
                                       .fn = debugcon_access, .repeat = true};

    gh_charout_init(&d->out, dev, d->chr, output_due);
    if (d->chr) {
        d->chr->writable = writable;
        d->chr->opaque = d;
    }
    return gh_range_add(dev, 0, &desc, err);
}

static void debugcon_reset(struct gh_device *dev, enum gh_reset why)
{
    gh_charout_flush(&((struct debugcon *)dev->state)->out);
}

static void debugcon_quiesce(struct gh_device *dev, struct gh_done *done)
{
    gh_charout_flush(&((struct debugcon *)dev->state)->out);
    done->fn(done);
}

static void debugcon_detach(struct gh_device *dev)
{
    struct debugcon *d = dev->state;

    gh_charout_fini(&d->out);
    if (d->chr && d->chr->opaque == d)
        d->chr->writable = NULL;
}

static const struct gh_option debugcon_options[] = {
    GH_OPT(GH_T_CHAR, struct debugcon, chr, "chardev", 0, 0, NULL, "Where the output goes"),
    GH_OPT(GH_T_U16, struct debugcon, port, "port", 0, 0xffff, "0xe9", "I/O port"),
    {0},
};

const struct gh_device_class gh_class_debugcon = {
    .name = "debugcon",
    .summary = "Debug console port",
    .state_size = sizeof(struct debugcon),
    .version = 1,
    .options = debugcon_options,
    .attach = debugcon_attach,
    .reset = debugcon_reset,
    .quiesce = debugcon_quiesce,
    .detach = debugcon_detach,
};
