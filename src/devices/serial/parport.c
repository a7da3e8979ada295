/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Parallel printer port, compatibility mode (SPP). Specification: IEEE 1284, IBM PC/AT port layout.
 *
 * Modelled: data, status and control registers; a strobe hands the data byte to the backend; the
 * printer is always selected, and busy only while the backend takes nothing; an interrupt pulse
 * follows each acknowledged byte if enabled.
 * Left out: bidirectional, EPP and ECP modes: operating systems find a plain port.
 */
#include "devices/classes.h"
#include "devices/serial/charout.h"

enum { DATA, STATUS, CONTROL };
enum { STATUS_NOT_ERROR = 0x08, STATUS_SELECTED = 0x10, STATUS_NOT_ACK = 0x40, STATUS_NOT_BUSY = 0x80,
       STATUS_UNUSED = 0x07 };
enum { CONTROL_STROBE = 0x01, CONTROL_NOT_INIT = 0x04, CONTROL_SELECT = 0x08, CONTROL_IRQ = 0x10,
       CONTROL_UNUSED = 0xc0, CONTROL_WRITABLE = 0x1f };

struct parport {
    uint8_t  data, control;
    struct gh_charout out;
    struct gh_char *chr;                  /* options */
    uint16_t iobase;
    uint8_t  irq;
};

static void write_control(struct gh_device *dev, uint8_t value)
{
    struct parport *p = dev->state;
    bool strobe = (value & CONTROL_STROBE) && !(p->control & CONTROL_STROBE);

    p->control = value & CONTROL_WRITABLE;
    if (!strobe || !gh_charout_put(&p->out, &p->data, 1))
        return;
    if (p->control & CONTROL_IRQ) {
        gh_irq_set(dev, p->irq, true);
        gh_irq_set(dev, p->irq, false);
    }
}

static bool parport_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct parport *p = dev->state;

    switch (a->offset) {
    case DATA:
        if (a->write)
            p->data = (uint8_t)a->value;
        else
            a->value = p->data;
        return true;
    case STATUS:
        if (!a->write)
            a->value = STATUS_UNUSED | STATUS_NOT_ERROR | STATUS_SELECTED | STATUS_NOT_ACK |
                       (!p->chr || gh_charout_room(&p->out) ? STATUS_NOT_BUSY : 0);
        return true;
    default:
        if (a->write)
            write_control(dev, (uint8_t)a->value);
        else
            a->value = CONTROL_UNUSED | p->control;
        return true;
    }
}

static void output_due(struct gh_device *dev, struct gh_timer *timer)
{
    gh_charout_flush(&((struct parport *)dev->state)->out);
}

static void writable(void *opaque)
{
    gh_charout_flush(&((struct parport *)opaque)->out);
}

static int parport_attach(struct gh_device *dev, struct gh_error *err)
{
    struct parport *p = dev->state;
    const struct gh_range_desc desc = {
        .name = "parport", .base = p->iobase, .size = 3, .widths = GH_W8, .fn = parport_access};

    gh_charout_init(&p->out, dev, p->chr, output_due);
    if (p->chr) {
        p->chr->writable = writable;
        p->chr->opaque = p;
    }
    return gh_range_add(dev, 0, &desc, err);
}

static void parport_reset(struct gh_device *dev, enum gh_reset why)
{
    struct parport *p = dev->state;

    gh_charout_flush(&p->out);
    p->data = 0xff;
    p->control = CONTROL_NOT_INIT | CONTROL_SELECT;
}

static void parport_quiesce(struct gh_device *dev, struct gh_done *done)
{
    gh_charout_flush(&((struct parport *)dev->state)->out);
    done->fn(done);
}

static void parport_detach(struct gh_device *dev)
{
    struct parport *p = dev->state;

    gh_charout_fini(&p->out);
    if (p->chr && p->chr->opaque == p)
        p->chr->writable = NULL;
}

static const struct gh_option parport_options[] = {
    GH_OPT(GH_T_CHAR, struct parport, chr, "chardev", 0, 0, NULL, "Where printed bytes go"),
    GH_OPT(GH_T_U16, struct parport, iobase, "iobase", 0, 0xfffc, "0x378", "First I/O port"),
    GH_OPT(GH_T_U8, struct parport, irq, "irq", 0, 15, "7", "Interrupt"),
    {0},
};
static const struct gh_field parport_fields[] = {
    GH_FIELD(GH_T_U8, struct parport, data, 1),
    GH_FIELD(GH_T_U8, struct parport, control, 1),
    {0},
};

const struct gh_device_class gh_class_parport = {
    .name = "parport",
    .summary = "Parallel printer port",
    .state_size = sizeof(struct parport),
    .version = 1,
    .options = parport_options,
    .saved = parport_fields,
    .attach = parport_attach,
    .reset = parport_reset,
    .quiesce = parport_quiesce,
    .detach = parport_detach,
};
