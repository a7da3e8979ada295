/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Console device with one port (Virtual I/O Device specification, "Console Device"). Queue 0 takes input
 * to the guest, queue 1 its output. Left out on purpose: several ports, the console size, emergency write.
 */
#include "devices/backend.h"
#include "devices/classes.h"
#include "devices/virtio/virtio.h"

enum { QUEUE_SIZE = 64, RECEIVE = 0, TRANSMIT = 1, INPUT_BYTES = 4096, CHUNK = 4096 };

struct virtio_console {
    struct gh_virtio v;
    struct gh_char *chr;
    uint8_t input[INPUT_BYTES];               /* arrived while the driver had no buffers */
    uint32_t input_len;
    struct gh_virtq_element *sending;         /* the backend took a part of it */
    uint64_t sent;                            /* bytes of the first unfinished chain */
};

static const struct gh_option options[] = {
    GH_VIRTIO_OPT_ADDR(struct virtio_console, v),
    GH_OPT(GH_T_CHAR, struct virtio_console, chr, "chardev", 0, 0, NULL, "Where the console is connected"),
    { 0 },
};
static const struct gh_field fields[] = {
    GH_VIRTIO_FIELD(struct virtio_console, v, 1),
    GH_FIELD_ARRAY(GH_T_U8, struct virtio_console, input, INPUT_BYTES, 1),
    GH_FIELD(GH_T_U32, struct virtio_console, input_len, 1),
    GH_FIELD(GH_T_U64, struct virtio_console, sent, 1),
    { 0 },
};

static void deliver(struct virtio_console *s)
{
    struct gh_virtq *vq = &s->v.queue[RECEIVE];
    unsigned budget = QUEUE_SIZE;
    bool full = s->input_len == INPUT_BYTES;
    struct gh_virtq_element *e;
    while (s->input_len && budget-- && (e = gh_virtq_pop(vq))) {
        size_t n = gh_virtq_write(e, 0, s->input, s->input_len);
        memmove(s->input, s->input + n, s->input_len - n);
        s->input_len -= (uint32_t)n;
        gh_virtq_push(vq, e, (uint32_t)n);
    }
    gh_virtq_signal(vq);
    if (full && s->input_len < INPUT_BYTES && s->chr && s->chr->ops->receive_ready)
        s->chr->ops->receive_ready(s->chr);
}

/* Sends what is left of one chain; false: the backend is full. */
static bool send_rest(struct virtio_console *s, struct gh_virtq_element *e)
{
    while (s->sent < e->out_bytes) {
        uint8_t chunk[CHUNK];
        size_t n = gh_virtq_read(e, s->sent, chunk, sizeof chunk);
        size_t taken = s->chr ? s->chr->ops->write(s->chr, chunk, n) : n;
        s->sent += taken;
        if (taken < n)
            return false;
    }
    return true;
}

static void transmit(struct virtio_console *s)
{
    struct gh_virtq *vq = &s->v.queue[TRANSMIT];
    for (unsigned budget = QUEUE_SIZE; budget; budget--) {
        if (!s->sending)
            s->sending = gh_virtq_pop(vq);
        if (!s->sending || !send_rest(s, s->sending))
            break;
        gh_virtq_push(vq, s->sending, 0);
        s->sending = NULL;
        s->sent = 0;
    }
    gh_virtq_signal(vq);
    if (!s->sending && gh_virtq_pending(vq))
        gh_virtio_again(&s->v);
}

static void console_kick(struct gh_virtio *v, struct gh_virtq *vq)
{
    struct virtio_console *s = v->dev->state;
    if (vq->index == RECEIVE)
        deliver(s);
    else
        transmit(s);
}

static bool console_stop(struct gh_virtio *v)
{
    struct virtio_console *s = v->dev->state;
    gh_virtq_drop(s->sending);
    s->sending = NULL;
    s->sent = 0;
    s->input_len = 0;
    return true;
}

/* ---- The backend's side ----------------------------------------------------------------------------- */

static size_t console_can_receive(void *opaque)
{
    struct virtio_console *s = opaque;
    return gh_virtio_running(&s->v) ? INPUT_BYTES - s->input_len : 0;
}

static void console_receive(void *opaque, const uint8_t *data, size_t len)
{
    struct virtio_console *s = opaque;
    if (len > INPUT_BYTES - s->input_len)
        len = INPUT_BYTES - s->input_len;
    memcpy(s->input + s->input_len, data, len);
    s->input_len += (uint32_t)len;
    deliver(s);
}

static void console_writable(void *opaque)
{
    transmit(opaque);
}

static void console_started(struct gh_virtio *v)
{
    struct virtio_console *s = v->dev->state;
    if (s->chr && s->chr->ops->receive_ready)
        s->chr->ops->receive_ready(s->chr);
}

static const struct gh_virtio_type console_type = {
    .id = GH_VIRTIO_CONSOLE, .class_code = 0x078000, .kick = console_kick, .started = console_started, .stop = console_stop,
};

static int console_attach(struct gh_device *dev, struct gh_error *err)
{
    struct virtio_console *s = dev->state;
    if (s->chr) {
        s->chr->opaque = s;
        s->chr->can_receive = console_can_receive;
        s->chr->receive = console_receive;
        s->chr->writable = console_writable;
    }
    return gh_virtio_attach(dev, &s->v, &console_type, 2, QUEUE_SIZE, 0, err);
}

static void console_reset(struct gh_device *dev, enum gh_reset why)
{
    struct virtio_console *s = dev->state;
    console_stop(&s->v);
    gh_virtio_reset(&s->v);
}

/* A chain that was half sent goes back into the ring, so that a saved state has none in flight. */
static void console_quiesce(struct gh_device *dev, struct gh_done *done)
{
    struct virtio_console *s = dev->state;
    if (s->sending) {
        gh_virtq_unpop(&s->v.queue[TRANSMIT], s->sending);
        s->sending = NULL;
    }
    done->fn(done);
}

static int console_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct virtio_console *s = dev->state;
    if (s->input_len > INPUT_BYTES)
        s->input_len = 0;
    return gh_virtio_loaded(&s->v, err);
}

static void console_detach(struct gh_device *dev)
{
    struct virtio_console *s = dev->state;
    if (s->chr)
        s->chr->can_receive = NULL;
    if (s->v.dev)
        console_stop(&s->v);
    gh_virtio_detach(&s->v);
}

const struct gh_device_class gh_class_virtio_console = {
    .name = "virtio-console", .summary = "Console (virtio)", .state_size = sizeof(struct virtio_console), .version = 1,
    .options = options, .saved = fields, .attach = console_attach, .reset = console_reset, .loaded = console_loaded,
    .quiesce = console_quiesce, .detach = console_detach,
};
