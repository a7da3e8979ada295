/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Debug console port: what is written goes to a character backend; reads answer E9h, which is how
 * firmware finds it. Ports by custom: E9h (Bochs), 402h (SeaBIOS, OVMF). Output that a slow backend
 * does not take is dropped: a guest cannot wait on this port.
 *
 * With hex=on each byte becomes a line of two digits and reads answer the last one: the display of power-on self test
 * codes that PCs have at port 80h.
 */
#include <stdio.h>

#include "devices/classes.h"
#include "devices/serial/charout.h"

enum { PRESENT = 0xe9 };

struct debugcon {
    struct gh_charout out;
    struct gh_char *chr;                  /* options */
    uint16_t port;
    bool     hex;
    uint8_t  last;
};

static void put(struct debugcon *d, const uint8_t *data, size_t count)
{
    if (!d->hex) {
        gh_charout_put(&d->out, data, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char line[4];
        d->last = data[i];
        snprintf(line, sizeof line, "%02x\n", data[i]);
        gh_charout_put(&d->out, (const uint8_t *)line, 3);
    }
}

static bool debugcon_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct debugcon *d = dev->state;

    if (a->count > 1) {
        if (a->write)
            put(d, a->data, a->count);
        else
            memset(a->data, d->hex ? d->last : PRESENT, a->count);
    } else if (a->write) {
        uint8_t byte = (uint8_t)a->value;
        put(d, &byte, 1);
    } else {
        a->value = d->hex ? d->last : PRESENT;
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
    GH_OPT(GH_T_BOOL, struct debugcon, hex, "hex", 0, 1, "off", "Each byte as a line of two digits"),
    {0},
};
static const struct gh_field debugcon_fields[] = {
    GH_FIELD(GH_T_U8, struct debugcon, last, 2),
    {0},
};

const struct gh_device_class gh_class_debugcon = {
    .name = "debugcon",
    .summary = "Debug console port",
    .state_size = sizeof(struct debugcon),
    .version = 2,
    .options = debugcon_options,
    .saved = debugcon_fields,
    .attach = debugcon_attach,
    .reset = debugcon_reset,
    .quiesce = debugcon_quiesce,
    .detach = debugcon_detach,
};
