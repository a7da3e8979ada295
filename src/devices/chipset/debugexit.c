/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two ports by which test guests end a run. Custom of QEMU and Bochs, no chip.
 *
 * Debug exit (F4h by default): writing a code ends the machine with exit status (code << 1) | 1.
 * Shutdown port (8900h, Bochs): the letters of "Shutdown" one after another switch the machine off.
 */
#include "devices/classes.h"

enum { RANGE_EXIT, RANGE_SHUTDOWN };
static const char shutdown_word[] = "Shutdown";

struct debug_exit {
    uint8_t  letters;                     /* of "Shutdown" seen so far */
    uint16_t iobase, shutdown_port;       /* options */
};

static bool exit_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    if (a->write)
        dev->ops->request(dev->board, dev, GH_REQUEST_DEBUG_EXIT, (a->value & 0x7f) << 1 | 1, NULL);
    else
        a->value = 0;
    return true;
}

static bool shutdown_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct debug_exit *d = dev->state;

    if (!a->write) {
        a->value = 0;
        return true;
    }
    if ((char)a->value == shutdown_word[d->letters])
        d->letters++;
    else
        d->letters = (char)a->value == shutdown_word[0];
    if (!shutdown_word[d->letters]) {
        d->letters = 0;
        dev->ops->request(dev->board, dev, GH_REQUEST_POWEROFF, 0, NULL);
    }
    return true;
}

static int debug_exit_attach(struct gh_device *dev, struct gh_error *err)
{
    struct debug_exit *d = dev->state;
    const struct gh_range_desc exit_port = {
        .name = "debug-exit", .base = d->iobase, .size = 4, .fn = exit_access};
    const struct gh_range_desc shutdown_port = {
        .name = "shutdown", .base = d->shutdown_port, .size = 1, .widths = GH_W8, .fn = shutdown_access};
    int r = gh_range_add(dev, RANGE_EXIT, &exit_port, err);

    return r < 0 ? r : gh_range_add(dev, RANGE_SHUTDOWN, &shutdown_port, err);
}

static void debug_exit_reset(struct gh_device *dev, enum gh_reset why)
{
    ((struct debug_exit *)dev->state)->letters = 0;
}

static int debug_exit_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct debug_exit *d = dev->state;

    if (d->letters >= sizeof shutdown_word - 1)
        d->letters = 0;
    return 0;
}

static const struct gh_option debug_exit_options[] = {
    GH_OPT(GH_T_U16, struct debug_exit, iobase, "iobase", 0, 0xfffc, "0xf4", "Port whose value becomes the exit status"),
    GH_OPT(GH_T_U16, struct debug_exit, shutdown_port, "shutdown-port", 0, 0xffff, "0x8900",
           "Port that takes the word Shutdown"),
    {0},
};
static const struct gh_field debug_exit_fields[] = {
    GH_FIELD(GH_T_U8, struct debug_exit, letters, 1),
    {0},
};

const struct gh_device_class gh_class_debug_exit = {
    .name = "debug-exit",
    .summary = "Ports by which a test guest ends the machine",
    .state_size = sizeof(struct debug_exit),
    .version = 1,
    .options = debug_exit_options,
    .saved = debug_exit_fields,
    .attach = debug_exit_attach,
    .reset = debug_exit_reset,
    .loaded = debug_exit_loaded,
};
