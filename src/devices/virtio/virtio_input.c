/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Input devices (Virtual I/O Device specification, "Input Device"): an absolute pointer with buttons and
 * a wheel, and a keyboard. Events are Linux evdev triples, so codes pass through as they are. LED states
 * that the guest sends are taken and not used.
 */
#include <linux/input-event-codes.h>

#include "devices/classes.h"
#include "devices/virtio/virtio.h"

enum { QUEUE_SIZE = 64, EVENTS = 0, EVENT_BYTES = 8, FIFO = 256, ABS_MAXIMUM = 32767 };
/* Device configuration: what the driver asks, and the answer. */
enum { CFG_SELECT = 0, CFG_SUBSEL = 1, CFG_SIZE = 2, CFG_DATA = 8, CFG_DATA_BYTES = 128 };
enum { SEL_NAME = 0x01, SEL_SERIAL = 0x02, SEL_IDS = 0x03, SEL_PROPERTIES = 0x10, SEL_EVENTS = 0x11, SEL_ABS = 0x12 };
enum { BUS_VIRTUAL_ID = 0x06, PRODUCT_TABLET = 3, PRODUCT_KEYBOARD = 1 };

struct event { uint16_t type, code; uint32_t value; };

struct virtio_input {
    struct gh_virtio v;
    struct event fifo[FIFO];                  /* what the driver had no buffers for */
    unsigned head, count;
    unsigned report;                          /* events since the last report ended */
    bool dropping;                            /* the rest of this report is lost */
};

static const struct gh_option options[] = { GH_VIRTIO_OPT_ADDR(struct virtio_input, v), { 0 } };
static const struct gh_field fields[] = { GH_VIRTIO_FIELD(struct virtio_input, v, 1), { 0 } };

static bool is_tablet(const struct gh_device *dev) { return dev->class == &gh_class_virtio_tablet; }

/* ---- Events ------------------------------------------------------------------------------------------ */

static void deliver(struct virtio_input *s)
{
    struct gh_virtq *vq = &s->v.queue[EVENTS];
    struct gh_virtq_element *e;
    while (s->count && (e = gh_virtq_pop(vq))) {
        uint8_t raw[EVENT_BYTES];
        const struct event *event = &s->fifo[s->head];
        gh_le16_put(raw, event->type);
        gh_le16_put(raw + 2, event->code);
        gh_le32_put(raw + 4, event->value);
        s->head = (s->head + 1) % FIFO;
        s->count--;
        gh_virtq_push(vq, e, (uint32_t)gh_virtq_write(e, 0, raw, sizeof raw));
    }
    gh_virtq_signal(vq);
}

/* A report goes in whole or not at all: half a report would leave a button or axis wrong. */
static void put_event(struct virtio_input *s, uint16_t type, uint16_t code, uint32_t value)
{
    if (!gh_virtio_running(&s->v) || s->dropping)
        return;
    if (s->count == FIFO) {
        s->count -= s->report;
        s->report = 0;
        s->dropping = true;
        return;
    }
    s->fifo[(s->head + s->count++) % FIFO] = (struct event){ type, code, value };
    s->report++;
}

static void input_sync(struct gh_device *dev)
{
    struct virtio_input *s = dev->state;
    if (s->report)
        put_event(s, EV_SYN, SYN_REPORT, 0);
    s->report = 0;
    s->dropping = false;
    deliver(s);
}

static void input_key(struct gh_device *dev, uint16_t code, bool down)
{
    put_event(dev->state, EV_KEY, code, down);
}

static void input_absolute(struct gh_device *dev, uint16_t x, uint16_t y)
{
    put_event(dev->state, EV_ABS, ABS_X, x > ABS_MAXIMUM ? ABS_MAXIMUM : x);
    put_event(dev->state, EV_ABS, ABS_Y, y > ABS_MAXIMUM ? ABS_MAXIMUM : y);
}

static void input_relative(struct gh_device *dev, int32_t dx, int32_t dy, int32_t wheel)
{
    if (wheel)
        put_event(dev->state, EV_REL, REL_WHEEL, (uint32_t)wheel);
}

static bool input_active(struct gh_device *dev)
{
    return gh_virtio_running(&((struct virtio_input *)dev->state)->v);
}

static const struct gh_input_ops keyboard_ops = { .key = input_key, .sync = input_sync, .active = input_active };
static const struct gh_input_ops tablet_ops = { .absolute = input_absolute, .relative = input_relative,
                                                .button = input_key, .sync = input_sync, .active = input_active };

/* The queue of LED states is emptied; nothing shows them. */
static void input_kick(struct gh_virtio *v, struct gh_virtq *vq)
{
    unsigned budget = vq->size;
    struct gh_virtq_element *e;
    if (vq->index == EVENTS) {
        deliver(v->dev->state);
        return;
    }
    while (budget-- && (e = gh_virtq_pop(vq)))
        gh_virtq_push(vq, e, 0);
    gh_virtq_signal(vq);
}

static bool input_stop(struct gh_virtio *v)
{
    struct virtio_input *s = v->dev->state;
    s->count = s->report = s->head = 0;
    s->dropping = false;
    return true;
}

/* ---- What the driver asks ------------------------------------------------------------------------------ */

static void set_bit(uint8_t *data, unsigned bit) { data[bit / 8] |= (uint8_t)(1u << (bit % 8)); }

static uint8_t event_bits(bool tablet, uint8_t type, uint8_t *data)
{
    if (tablet && type == EV_KEY) {
        for (unsigned code = BTN_LEFT; code <= BTN_EXTRA; code++)
            set_bit(data, code);
        return BTN_EXTRA / 8 + 1;
    }
    if (tablet && type == EV_REL) {
        set_bit(data, REL_WHEEL);
        return REL_WHEEL / 8 + 1;
    }
    if (tablet && type == EV_ABS) {
        set_bit(data, ABS_X);
        set_bit(data, ABS_Y);
        return 1;
    }
    if (!tablet && type == EV_KEY) {
        for (unsigned code = KEY_ESC; code < BTN_MISC; code++)
            set_bit(data, code);
        return BTN_MISC / 8;
    }
    if (!tablet && type == EV_REP)
        return 1;                             /* the guest repeats keys itself */
    if (!tablet && type == EV_LED) {
        set_bit(data, LED_NUML);
        set_bit(data, LED_CAPSL);
        set_bit(data, LED_SCROLLL);
        return 1;
    }
    return 0;
}

static uint8_t answer(bool tablet, uint8_t select, uint8_t subsel, uint8_t *data)
{
    static const char tablet_name[] = "Gasthaus Tablet", keyboard_name[] = "Gasthaus Keyboard";
    const char *name = tablet ? tablet_name : keyboard_name;
    switch (select) {
    case SEL_NAME:
        memcpy(data, name, strlen(name));
        return (uint8_t)strlen(name);
    case SEL_IDS:
        gh_le16_put(data, BUS_VIRTUAL_ID);
        gh_le16_put(data + 2, 0x0627);
        gh_le16_put(data + 4, tablet ? PRODUCT_TABLET : PRODUCT_KEYBOARD);
        gh_le16_put(data + 6, 1);
        return 8;
    case SEL_EVENTS:
        return event_bits(tablet, subsel, data);
    case SEL_ABS:
        if (!tablet || subsel > ABS_Y)
            return 0;
        gh_le32_put(data + 4, ABS_MAXIMUM);
        return 20;
    default:
        return 0;
    }
}

static void input_config_written(struct gh_virtio *v, unsigned offset, unsigned width)
{
    uint8_t select = v->config[CFG_SELECT], subsel = v->config[CFG_SUBSEL];
    memset(v->config + CFG_SIZE, 0, CFG_DATA - CFG_SIZE + CFG_DATA_BYTES);
    v->config[CFG_SIZE] = answer(is_tablet(v->dev), select, subsel, v->config + CFG_DATA);
}

/* ---- Life -------------------------------------------------------------------------------------------------- */

static const struct gh_virtio_type input_type = {
    .id = GH_VIRTIO_INPUT, .class_code = 0x098000, .config_bytes = CFG_DATA + CFG_DATA_BYTES, .kick = input_kick,
    .config_written = input_config_written, .stop = input_stop,
};

static int input_attach(struct gh_device *dev, struct gh_error *err)
{
    struct virtio_input *s = dev->state;
    int r = gh_virtio_attach(dev, &s->v, &input_type, 2, QUEUE_SIZE, 0, err);
    if (r == 0)
        dev->ops->input_add(dev->board, dev, is_tablet(dev) ? GH_INPUT_ABSOLUTE : GH_INPUT_KEYBOARD,
                            is_tablet(dev) ? &tablet_ops : &keyboard_ops);
    return r;
}

static void input_reset(struct gh_device *dev, enum gh_reset why)
{
    struct virtio_input *s = dev->state;
    input_stop(&s->v);
    memset(s->v.config, 0, sizeof s->v.config);
    gh_virtio_reset(&s->v);
}

static int input_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct virtio_input *s = dev->state;
    input_config_written(&s->v, 0, 1);
    return gh_virtio_loaded(&s->v, err);
}

static void input_detach(struct gh_device *dev) { gh_virtio_detach(dev->state); }

const struct gh_device_class gh_class_virtio_tablet = {
    .name = "virtio-tablet", .summary = "Absolute pointer (virtio)", .state_size = sizeof(struct virtio_input),
    .version = 1, .options = options, .saved = fields, .attach = input_attach, .reset = input_reset,
    .loaded = input_loaded, .detach = input_detach,
};
const struct gh_device_class gh_class_virtio_keyboard = {
    .name = "virtio-keyboard", .summary = "Keyboard (virtio)", .state_size = sizeof(struct virtio_input),
    .version = 1, .options = options, .saved = fields, .attach = input_attach, .reset = input_reset,
    .loaded = input_loaded, .detach = input_detach,
};
