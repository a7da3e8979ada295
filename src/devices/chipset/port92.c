/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * System control port A at 92h: bit 1 is the A20 gate, a rising bit 0 resets the processor. As in the
 * 82371SB. Left out: password lock and disk lights.
 */
#include "devices/classes.h"
#include "devices/chipset/port92.h"

enum { FAST_RESET = 0x01, A20 = 0x02, WRITABLE = 0xfb };

struct gh_port92 {
    uint8_t value;
    struct gh_device *dev;
};

void gh_port92_set_a20(struct gh_port92 *port, bool on)
{
    if (on == !!(port->value & A20))
        return;
    port->value ^= A20;
    port->dev->ops->request(port->dev->board, port->dev, GH_REQUEST_A20, on, NULL);
}

bool gh_port92_a20(const struct gh_port92 *port)
{
    return port->value & A20;
}

static bool port92_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct gh_port92 *port = dev->state;
    uint8_t value = (uint8_t)a->value & WRITABLE;

    if (!a->write) {
        a->value = port->value;
        return true;
    }
    bool reset = (value & FAST_RESET) && !(port->value & FAST_RESET);
    gh_port92_set_a20(port, value & A20);
    port->value = value;
    if (reset)
        dev->ops->request(dev->board, dev, GH_REQUEST_INIT, 0, NULL);
    return true;
}

static void port92_reset(struct gh_device *dev, enum gh_reset why)
{
    struct gh_port92 *port = dev->state;

    gh_port92_set_a20(port, true);
    port->value = A20;
}

static int port92_attach(struct gh_device *dev, struct gh_error *err)
{
    struct gh_port92 *port = dev->state;
    const struct gh_range_desc desc = {
        .name = "port92", .base = 0x92, .size = 1, .widths = GH_W8, .fn = port92_access};

    port->dev = dev;
    port->value = A20;
    dev->ops->provide(dev->board, "port92", port);
    return gh_range_add(dev, 0, &desc, err);
}

/* The gate itself belongs to the processor: set it as the port says. */
static int port92_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct gh_port92 *port = dev->state;

    dev->ops->request(dev->board, dev, GH_REQUEST_A20, gh_port92_a20(port), NULL);
    return 0;
}

static const struct gh_field port92_fields[] = {
    GH_FIELD(GH_T_U8, struct gh_port92, value, 1),
    {0},
};

const struct gh_device_class gh_class_port92 = {
    .name = "port92",
    .summary = "A20 gate and fast reset at port 92h",
    .state_size = sizeof(struct gh_port92),
    .version = 1,
    .saved = port92_fields,
    .attach = port92_attach,
    .reset = port92_reset,
    .loaded = port92_loaded,
};
