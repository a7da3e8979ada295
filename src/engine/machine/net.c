/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "engine/backend/net/wire.h"
#include "engine/machine/launch.h"

enum { WIRE_BYTES = 512 * 1024, FILLS_PER_TURN = 2, FORWARDS = 32, PENDING = 40, SEGMENT_HEADERS = 54 };
#define NOTIFY_NS  200000000ull        /* a guest may change its address with each frame */
#define CAPTURE_NS 300000000ull
#define BURST_NS   20000000            /* of the rate limit: what may pass at once after silence */

struct pending { uint32_t id; bool add; struct gh_net_forward forward; gh_net_forward_done done; void *opaque; };
struct finished { struct pending of; struct gh_error err; };

struct gh_net {
    struct gh_netdev dev;
    struct gh_loop *loop;
    struct gh_machine *machine;
    struct gh_net_events events;
    char name[32], kind[12], mac_text[18];
    bool ours;                         /* a backend of Gasthaus: offloads and control records */
    struct gh_wire wire;               /* fd -1: nobody there */
    struct gh_loop_source *source;
    bool plugged, tx_blocked, rx_stalled, rx_limited;
    struct gh_net_offload offload;
    bool header;                       /* the device's frames have one */
    uint8_t *scratch;
    /* rate limit: bytes that may pass now, each way; below zero after a large one */
    uint64_t limit_bits, refilled_ns;
    int64_t tx_tokens, rx_tokens;
    struct gh_loop_timer *rate_timer, *notify_timer, *capture_timer;
    uint64_t notified_ns;
    bool notify_pending;
    struct gh_net_watch watch;
    struct gh_net_capture capture;
    struct gh_net_counters counters;
    struct gh_net_forward forward[FORWARDS];
    unsigned forward_count;
    struct pending pending[PENDING];
    unsigned pending_count;
    uint32_t next_id;
    struct finished finished[PENDING];
    unsigned finished_count;
};

static void lock(struct gh_net *n)
{
    if (n->machine)
        gh_machine_lock(n->machine);
}

/* Callbacks of others run without the lock. */
static void unlock(struct gh_net *n)
{
    struct finished f;

    for (;;) {
        bool have = n->finished_count > 0;
        if (have) {
            f = n->finished[0];
            memmove(n->finished, n->finished + 1, --n->finished_count * sizeof f);
        }
        if (n->machine)
            gh_machine_unlock(n->machine);
        if (!have)
            return;
        if (f.of.done)
            f.of.done(f.of.opaque, f.err.code ? &f.err : NULL);
        else if (f.err.code && n->events.trouble)
            n->events.trouble(n->events.opaque, n, &f.err);
        lock(n);
    }
}

static void notify(struct gh_net *n)
{
    uint64_t now = gh_loop_now_ns(), due = n->notified_ns + NOTIFY_NS;

    if (n->notify_pending)
        return;
    n->notify_pending = true;
    gh_loop_timer_arm(n->notify_timer, due > now ? due : now);
}

static void on_notify(void *opaque)
{
    struct gh_net *n = opaque;

    lock(n);
    n->notify_pending = false;
    n->notified_ns = gh_loop_now_ns();
    unlock(n);
    if (n->events.changed)
        n->events.changed(n->events.opaque, n);
}

static void watch_wire(struct gh_net *n)
{
    if (n->source)
        gh_loop_fd_events(n->source, (n->rx_stalled || n->rx_limited ? 0 : EPOLLIN) | (gh_wire_waiting(&n->wire) ? EPOLLOUT : 0));
}

/* ---- Rate limit -------------------------------------------------------------------------------------------- */
static void refill(struct gh_net *n)
{
    uint64_t now = gh_loop_now_ns(), ns = now - n->refilled_ns;
    int64_t most = (int64_t)(n->limit_bits / 8 * BURST_NS / 1000000000u) + 2048;

    if (ns > 1000000000u)
        ns = 1000000000u;
    int64_t more = (int64_t)((__uint128_t)n->limit_bits * ns / 8000000000u);
    if (!more)
        return;                        /* too little time for a byte: it is not forgotten */
    n->refilled_ns = now;
    n->tx_tokens = n->tx_tokens + more < most ? n->tx_tokens + more : most;
    n->rx_tokens = n->rx_tokens + more < most ? n->rx_tokens + more : most;
}

/* What a frame costs: one that stands for many has their headers too. */
static int64_t cost(const uint8_t *header, size_t len)
{
    unsigned size = header && header[GH_VNET_GSO_TYPE] ? header[GH_VNET_GSO_SIZE] | header[GH_VNET_GSO_SIZE + 1] << 8 : 0;
    return (int64_t)(size ? len + (len / size) * SEGMENT_HEADERS : len);
}

static bool within(struct gh_net *n, int64_t *tokens)
{
    if (!n->limit_bits)
        return true;
    if (*tokens <= 0)
        refill(n);
    if (*tokens > 0)
        return true;
    uint64_t ns = (uint64_t)((__uint128_t)(uint64_t)(1 - *tokens) * 8000000000u / n->limit_bits);
    gh_loop_timer_arm(n->rate_timer, gh_loop_now_ns() + (ns < 500000 ? 500000 : ns));
    return false;
}

/* ---- Capture ------------------------------------------------------------------------------------------------- */
static void capture_failed(struct gh_net *n, int r)
{
    struct finished *f = n->finished_count < PENDING ? &n->finished[n->finished_count++] : NULL;

    gh_net_capture_close(&n->capture);
    if (f) {
        *f = (struct finished){ 0 };
        gh_error_set(&f->err, r, "CaptureEnded", "The capture of “%s” ended: %s. The file holds what came before; make room and start another.",
                     n->name, strerror(-r));
    }
    notify(n);
}

static void capture(struct gh_net *n, enum gh_net_direction direction, const uint8_t *frame, size_t len)
{
    int r = gh_net_capture_frame(&n->capture, direction, &(struct iovec){ (void *)(uintptr_t)frame, len }, 1);

    if (r)
        capture_failed(n, r);
    else
        gh_loop_timer_arm(n->capture_timer, gh_loop_now_ns() + CAPTURE_NS);
}

static void on_capture(void *opaque)
{
    struct gh_net *n = opaque;

    lock(n);
    int r = n->capture.buffer ? gh_net_capture_flush(&n->capture) : 0;
    if (r)
        capture_failed(n, r);
    unlock(n);
}

/* ---- From the guest ---------------------------------------------------------------------------------------------- */
static void flush(struct gh_net *n)
{
    if (gh_wire_flush(&n->wire) == -EAGAIN)
        watch_wire(n);
    /* Any other failure arrives as a hang-up. */
}

static bool net_send(struct gh_netdev *dev, const struct iovec *iov, unsigned iov_count)
{
    struct gh_net *n = GH_CONTAINER_OF(dev, struct gh_net, dev);
    size_t len = 0, skip = n->header ? GH_WIRE_HEADER : 0;

    for (unsigned i = 0; i < iov_count; i++)
        len += iov[i].iov_len;
    if (n->wire.fd < 0 || !n->plugged || len > GH_WIRE_RECORD_MAX || len < skip + 14) {
        n->counters.dropped++;
        return true;
    }
    if (!within(n, &n->tx_tokens)) {
        n->tx_blocked = true;
        return false;
    }
    enum gh_wire_kind kind = n->header ? GH_WIRE_OFFLOAD : GH_WIRE_FRAME;
    if (!gh_wire_put(&n->wire, kind, iov, iov_count)) {
        flush(n);
        if (!gh_wire_put(&n->wire, kind, iov, iov_count)) {
            n->tx_blocked = true;
            return false;
        }
    }
    const uint8_t *data = n->wire.tx + n->wire.tx_end - len; /* in one piece now */
    if (n->limit_bits)
        n->tx_tokens -= cost(n->header ? data : NULL, len - skip);
    n->counters.tx_frames++;
    n->counters.tx_bytes += len - skip;
    if (n->capture.buffer)
        capture(n, GH_NET_SENT, data + skip, len - skip);
    if (gh_net_watch_sent(&n->watch, data + skip, len - skip))
        notify(n);
    if (!dev->batches)
        flush(n);
    return true;
}

static void net_flush(struct gh_netdev *dev)
{
    struct gh_net *n = GH_CONTAINER_OF(dev, struct gh_net, dev);

    if (gh_wire_waiting(&n->wire))
        flush(n);
}

static void put_control(struct gh_net *n, json_t *o)
{
    gh_autofree char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

    if (text && n->wire.fd >= 0)
        gh_wire_put(&n->wire, GH_WIRE_CONTROL, &(struct iovec){ text, strlen(text) }, 1);
    json_decref(o);
}

static void put_offload(struct gh_net *n)
{
    if (n->ours)
        put_control(n, json_pack("{s:s, s:b, s:b, s:b}", "verb", "offload", "csum", n->offload.csum, "tso4", n->offload.tso4, "tso6", n->offload.tso6));
}

static void net_set_offload(struct gh_netdev *dev, const struct gh_net_offload *offload)
{
    struct gh_net *n = GH_CONTAINER_OF(dev, struct gh_net, dev);

    n->offload = *offload;
    n->header = offload->csum || offload->tso4 || offload->tso6;
    put_offload(n);
    flush(n);
}

/* ---- To the guest --------------------------------------------------------------------------------------------------- */
static void take_reply(struct gh_net *n, const struct gh_wire_record *record)
{
    json_t *o = json_loadb((const char *)record->data, record->len, 0, NULL);
    json_int_t id = json_integer_value(json_object_get(o, "id"));
    const json_t *error = json_object_get(o, "error");

    for (unsigned i = 0; i < n->pending_count && n->finished_count < PENDING; i++) {
        struct finished *f = &n->finished[n->finished_count];
        if (n->pending[i].id != id)
            continue;
        *f = (struct finished){ .of = n->pending[i] };
        memmove(n->pending + i, n->pending + i + 1, (--n->pending_count - i) * sizeof n->pending[0]);
        n->finished_count++;
        if (error) {
            const char *eid = json_string_value(json_object_get(error, "id")), *text = json_string_value(json_object_get(error, "text"));
            gh_error_carry(&f->err, -EIO, eid ? eid : "ForwardFailed", "forward", text ? text : "The port cannot be forwarded.",
                           json_string_value(json_object_get(error, "message")));
        }
        unsigned at = 0;
        while (at < n->forward_count && memcmp(&n->forward[at], &f->of.forward, sizeof f->of.forward))
            at++;
        if (f->of.add && !error && at == n->forward_count && at < FORWARDS)
            n->forward[n->forward_count++] = f->of.forward;
        else if (at < n->forward_count && (f->of.add ? error != NULL : error == NULL))
            memmove(n->forward + at, n->forward + at + 1, (--n->forward_count - at) * sizeof n->forward[0]);
        notify(n);
        break;
    }
    json_decref(o);
}

/* false: the device has no room, or the limit is reached; the record is offered again. */
static bool deliver(struct gh_net *n, const struct gh_wire_record *record)
{
    uint8_t *data = record->data, *frame = record->data;
    size_t len = record->len;

    if (record->kind == GH_WIRE_OFFLOAD) {
        if (len < GH_WIRE_HEADER)
            return true;
        frame += GH_WIRE_HEADER;
        len -= GH_WIRE_HEADER;
    }
    if (!n->plugged || !n->dev.receive || len < 14 || len > GH_WIRE_FRAME_MAX) {
        n->counters.dropped++;
        return true;
    }
    if (!within(n, &n->rx_tokens)) {
        n->rx_limited = true;
        return false;
    }
    if (n->header && record->kind == GH_WIRE_FRAME) {
        memset(n->scratch, 0, GH_WIRE_HEADER);
        memcpy(n->scratch + GH_WIRE_HEADER, frame, len);
        data = n->scratch;
    } else if (!n->header && record->kind == GH_WIRE_OFFLOAD) {
        if (data[GH_VNET_FLAGS] & GH_VNET_NEEDS_CSUM || data[GH_VNET_GSO_TYPE]) {
            n->counters.dropped++;     /* sent before the device said that it takes none of that */
            return true;
        }
        data = frame;
    }
    int64_t price = cost(n->header ? data : NULL, len);
    if (!n->dev.receive(n->dev.opaque, data, len + (n->header ? GH_WIRE_HEADER : 0))) {
        n->rx_stalled = true;
        return false;
    }
    if (n->limit_bits)
        n->rx_tokens -= price;
    n->counters.rx_frames++;
    n->counters.rx_bytes += len;
    if (n->capture.buffer)
        capture(n, GH_NET_RECEIVED, frame, len);
    if (gh_net_watch_received(&n->watch, frame, len))
        notify(n);
    return true;
}

static void set_link(struct gh_net *n)
{
    bool up = n->plugged && n->wire.fd >= 0;

    if (n->dev.link_up == up)
        return;
    n->dev.link_up = up;
    if (n->dev.link && n->machine)
        n->dev.link(n->dev.opaque, up);
}

static void disconnect(struct gh_net *n)
{
    gh_loop_fd_free(n->source);
    n->source = NULL;
    if (n->wire.fd >= 0)
        gh_wire_fini(&n->wire);
    n->rx_stalled = n->rx_limited = false;
    for (; n->pending_count && n->finished_count < PENDING; n->pending_count--) {
        struct finished *f = &n->finished[n->finished_count++];
        *f = (struct finished){ .of = n->pending[n->pending_count - 1] };
        if (f->of.done)                /* those without are asked again */
            gh_error_set(&f->err, -ECONNRESET, "NetworkRestarted", "The network of “%s” is being restarted; try again in a moment.", n->name);
    }
    n->pending_count = 0;
    set_link(n);
    if (n->tx_blocked && n->dev.writable) {
        n->tx_blocked = false;
        n->dev.writable(n->dev.opaque); /* what waits is lost, as with a cable that is pulled */
    }
    notify(n);
}

/* Lock held. false: the backend is gone. */
static bool receive(struct gh_net *n)
{
    struct gh_wire_record record;

    for (unsigned i = 0;; i++) {
        int r;
        while ((r = gh_wire_next(&n->wire, &record)) == 1) {
            if (record.kind == GH_WIRE_CONTROL) {
                if (n->ours)
                    take_reply(n, &record);
            } else if (!deliver(n, &record)) {
                gh_wire_unget(&n->wire, &record);
                watch_wire(n);
                return true;
            }
        }
        if (r < 0)
            return false;
        if (i == FILLS_PER_TURN)
            return true;               /* the rest comes with the next turn: the vCPUs want the lock too */
        r = gh_wire_fill(&n->wire);
        if (r == -EAGAIN)
            return true;
        if (r <= 0)
            return false;
    }
}

static void check(struct gh_net *n, bool alive)
{
    if (!alive)
        disconnect(n);
    unlock(n);
    if (!alive && n->events.lost)
        n->events.lost(n->events.opaque, n);
}

static void on_wire(void *opaque, int fd, uint32_t events)
{
    struct gh_net *n = opaque;
    bool alive = true;

    lock(n);
    if (events & EPOLLOUT) {
        gh_wire_flush(&n->wire);
        if (n->tx_blocked && gh_wire_waiting(&n->wire) < WIRE_BYTES / 2) {
            n->tx_blocked = false;
            if (n->dev.writable)
                n->dev.writable(n->dev.opaque);
        }
        watch_wire(n);
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        if (events & (EPOLLHUP | EPOLLERR) && (n->rx_stalled || n->rx_limited))
            alive = false;             /* what it still had to say finds no room */
        else
            alive = receive(n);
    }
    check(n, alive);
}

static void resume_receive(void *opaque)
{
    struct gh_net *n = opaque;
    bool alive = true;

    lock(n);
    if (n->wire.fd >= 0 && n->source && !n->rx_stalled && !n->rx_limited) {
        watch_wire(n);
        alive = receive(n);
    }
    check(n, alive);
}

static void net_receive_ready(struct gh_netdev *dev)
{
    struct gh_net *n = GH_CONTAINER_OF(dev, struct gh_net, dev);

    if (!n->rx_stalled)
        return;
    n->rx_stalled = false;
    gh_loop_post(n->loop, resume_receive, n);
}

static void on_rate(void *opaque)
{
    struct gh_net *n = opaque;

    lock(n);
    refill(n);
    bool receive_again = n->rx_limited;
    n->rx_limited = false;
    if (n->tx_blocked && (!n->limit_bits || n->tx_tokens > 0)) {
        n->tx_blocked = false;
        if (n->dev.writable)
            n->dev.writable(n->dev.opaque);
    } else if (n->tx_blocked) {
        within(n, &n->tx_tokens);
    }
    unlock(n);
    if (receive_again)
        resume_receive(n);
}

static const struct gh_net_ops ops = {
    .send = net_send, .flush = net_flush, .receive_ready = net_receive_ready, .set_offload = net_set_offload,
};

/* ---- Forwards ---------------------------------------------------------------------------------------------------------- */
static int ask(struct gh_net *n, bool add, const struct gh_net_forward *f, gh_net_forward_done done, void *opaque, struct gh_error *err)
{
    if (strcmp(n->kind, "nat"))
        return gh_error_option(err, -EOPNOTSUPP, "ForwardUnsupported", "adapter", "Ports can be forwarded with NAT only; “%s” is connected otherwise.", n->name);
    if (n->wire.fd < 0)
        return gh_error_set(err, -ENOTCONN, "NetworkRestarted", "The network of “%s” is being restarted; try again in a moment.", n->name);
    if (n->pending_count == PENDING || (add && n->forward_count + n->pending_count >= FORWARDS && done))
        return gh_error_option(err, -ENOSPC, "TooManyForwards", "forward", "An adapter can have at most %d port forwards; remove one first.", FORWARDS);
    n->pending[n->pending_count++] = (struct pending){ ++n->next_id, add, *f, done, opaque };
    put_control(n, json_pack("{s:s, s:i, s:s, s:s, s:i, s:i}", "verb", add ? "forward-add" : "forward-remove", "id", (int)n->next_id, "protocol", f->protocol,
                             "address", f->address, "host-port", f->host_port, "guest-port", f->guest_port));
    flush(n);
    return 0;
}

int gh_net_forward_add(struct gh_net *n, const struct gh_net_forward *f, gh_net_forward_done done, void *opaque, struct gh_error *err)
{
    int r = 0;

    lock(n);
    for (unsigned i = 0; i < n->forward_count && !r; i++)
        if (n->forward[i].host_port == f->host_port && !strcmp(n->forward[i].protocol, f->protocol) &&
            (!strcmp(n->forward[i].address, f->address) || !strcmp(n->forward[i].address, "0.0.0.0") || !strcmp(f->address, "0.0.0.0")))
            r = gh_error_option(err, -EEXIST, "ForwardCollides", "forward", "Host port %u (%s) is forwarded already, to the guest's port %u; choose another host port.",
                                f->host_port, f->protocol, n->forward[i].guest_port);
    if (!r)
        r = ask(n, true, f, done, opaque, err);
    unlock(n);
    return r;
}

int gh_net_forward_remove(struct gh_net *n, const struct gh_net_forward *f, gh_net_forward_done done, void *opaque, struct gh_error *err)
{
    int r = -ENOENT;

    lock(n);
    for (unsigned i = 0; i < n->forward_count && r == -ENOENT; i++)
        if (n->forward[i].host_port == f->host_port && !strcmp(n->forward[i].protocol, f->protocol) && !strcmp(n->forward[i].address, f->address)) {
            const struct gh_net_forward known = n->forward[i];
            r = ask(n, false, &known, done, opaque, err);
            if (r == -ENOENT)
                r = -EIO;
        }
    if (r == -ENOENT)
        gh_error_option(err, r, "ForwardUnknown", "forward", "%s port %u of %s is not forwarded.", f->protocol, f->host_port, f->address);
    unlock(n);
    return r;
}

const struct gh_net_forward *gh_net_forwards(struct gh_net *n, unsigned *count)
{
    *count = n->forward_count;
    return n->forward;
}

/* ---- What the outside changes ------------------------------------------------------------------------------------------------ */
static void join(struct gh_net *n)
{
    n->source = gh_loop_fd(n->loop, n->wire.fd, EPOLLIN, on_wire, n);
    put_offload(n);
    for (unsigned i = 0; i < n->forward_count; i++)
        ask(n, true, &n->forward[i], NULL, NULL, NULL);
    flush(n);
}

int gh_net_connect(struct gh_net *n, int fd, struct gh_error *err)
{
    lock(n);
    disconnect(n);
    int r = gh_wire_init(&n->wire, fd, WIRE_BYTES);
    if (r)
        close(fd);
    else
        join(n);
    set_link(n);
    unlock(n);
    return r ? gh_error_set(err, r, "OutOfMemory", "There is no memory for the network “%s”.", n->name) : 0;
}

void gh_net_plug(struct gh_net *n, bool plugged)
{
    lock(n);
    n->plugged = plugged;
    set_link(n);
    notify(n);
    unlock(n);
}

void gh_net_limit(struct gh_net *n, uint64_t bits_per_second)
{
    lock(n);
    n->limit_bits = bits_per_second;
    n->tx_tokens = n->rx_tokens = 0;
    n->refilled_ns = gh_loop_now_ns();
    notify(n);
    unlock(n);
    on_rate(n);
}

int gh_net_capture(struct gh_net *n, int fd, struct gh_error *err)
{
    struct gh_net_capture next = { .fd = -1 };
    int r = fd < 0 ? 0 : gh_net_capture_open(&next, fd, n->name, err);

    if (r)
        return r;
    lock(n);
    gh_net_capture_close(&n->capture);
    n->capture = next;
    notify(n);
    unlock(n);
    return 0;
}

void gh_net_info(struct gh_net *n, struct gh_net_info *ret)
{
    static const uint8_t none[16];
    const uint8_t *a = n->watch.v4, *b = n->watch.v6;

    lock(n);
    *ret = (struct gh_net_info){ .connected = n->plugged, .backend = n->wire.fd >= 0, .capturing = n->capture.buffer != NULL, .limit_bits = n->limit_bits };
    memcpy(ret->name, n->name, sizeof ret->name);
    memcpy(ret->kind, n->kind, sizeof ret->kind);
    memcpy(ret->mac, n->mac_text, sizeof ret->mac);
    if (memcmp(a, none, 4))
        inet_ntop(AF_INET, a, ret->address, sizeof ret->address);
    if (memcmp(b, none, 16))
        inet_ntop(AF_INET6, b, ret->address6, sizeof ret->address6);
    unlock(n);
}

void gh_net_counters(struct gh_net *n, struct gh_net_counters *ret)
{
    lock(n);
    *ret = n->counters;
    unlock(n);
}

/* ---- Lifetime ------------------------------------------------------------------------------------------------------------------- */
int gh_net_new(struct gh_loop *loop, struct gh_launch_net *net, const struct gh_net_events *events, struct gh_net **ret,
               struct gh_error *err)
{
    struct gh_net *n = calloc(1, sizeof *n);
    int fd = gh_steal_fd(&net->fd), r = -ENOMEM;

    if (n) {
        n->wire.fd = -1;
        n->capture.fd = -1;
        n->scratch = malloc(GH_WIRE_RECORD_MAX);
        n->rate_timer = gh_loop_timer(loop, on_rate, n);
        n->notify_timer = gh_loop_timer(loop, on_notify, n);
        n->capture_timer = gh_loop_timer(loop, on_capture, n);
        r = !n->scratch || !n->rate_timer || !n->notify_timer || !n->capture_timer ? -ENOMEM
            : fd >= 0 ? gh_wire_init(&n->wire, fd, WIRE_BYTES) : 0;
    }
    if (r) {
        if (fd >= 0)
            close(fd);
        if (n)
            gh_net_free(n);
        return gh_error_set(err, r, "OutOfMemory", "There is no memory for the network “%s”.", net->name);
    }
    n->loop = loop;
    n->dev.ops = &ops;
    n->events = *events;
    n->ours = !strcmp(net->kind, "nat") || !strcmp(net->kind, "internal");
    n->plugged = !net->unplugged;
    n->limit_bits = net->limit_bits;
    n->refilled_ns = gh_loop_now_ns();
    memcpy(n->name, net->name, sizeof n->name);
    memcpy(n->kind, net->kind, sizeof n->kind);
    memcpy(n->mac_text, net->mac, sizeof n->mac_text);
    unsigned b[6] = { 0 };
    if (sscanf(net->mac, "%2x:%2x:%2x:%2x:%2x:%2x", b, b + 1, b + 2, b + 3, b + 4, b + 5) == 6)
        for (unsigned i = 0; i < 6; i++)
            n->dev.mac[i] = n->watch.mac[i] = (uint8_t)b[i];
    if (n->ours)
        n->dev.can = (struct gh_net_offload){ .csum = true, .tso4 = true, .tso6 = true, .mergeable = true };
    for (unsigned i = 0; i < net->forward_count && i < FORWARDS; i++) {
        struct gh_net_forward *f = &n->forward[n->forward_count++];
        memcpy(f->protocol, net->forwards[i].protocol, sizeof f->protocol);
        memcpy(f->address, net->forwards[i].address, sizeof f->address);
        f->host_port = (uint16_t)net->forwards[i].host_port;
        f->guest_port = (uint16_t)net->forwards[i].guest_port;
    }
    n->dev.link_up = n->plugged && n->wire.fd >= 0;
    *ret = n;
    return 0;
}

void gh_net_set_machine(struct gh_net *n, struct gh_machine *m)
{
    n->machine = m;
    lock(n);
    if (n->wire.fd >= 0)
        join(n);
    unlock(n);
}

struct gh_netdev *gh_net_handle(struct gh_net *n) { return &n->dev; }

void gh_net_free(struct gh_net *n)
{
    gh_loop_fd_free(n->source);
    if (n->wire.fd >= 0)
        gh_wire_fini(&n->wire);
    gh_net_capture_close(&n->capture);
    gh_loop_timer_free(n->rate_timer);
    gh_loop_timer_free(n->notify_timer);
    gh_loop_timer_free(n->capture_timer);
    free(n->scratch);
    free(n);
}
