/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/net_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

enum { FILLS_PER_TURN = 2 };

void gh_net_watch_wire(struct gh_net *n)
{
    if (n->source)
        gh_loop_fd_events(n->source, (n->rx_stalled || n->rx_limited ? 0 : EPOLLIN) | (gh_wire_waiting(&n->wire) ? EPOLLOUT : 0));
}

/* ---- From the guest ---------------------------------------------------------------------------------------------- */
void gh_net_flush(struct gh_net *n)
{
    if (gh_wire_flush(&n->wire) == -EAGAIN)
        gh_net_watch_wire(n);
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
    if (!gh_net_within(n, &n->tx_tokens)) {
        n->tx_blocked = true;
        return false;
    }
    enum gh_wire_kind kind = n->header ? GH_WIRE_OFFLOAD : GH_WIRE_FRAME;
    if (!gh_wire_put(&n->wire, kind, iov, iov_count)) {
        gh_net_flush(n);
        if (!gh_wire_put(&n->wire, kind, iov, iov_count)) {
            n->tx_blocked = true;
            return false;
        }
    }
    const uint8_t *data = n->wire.tx + n->wire.tx_end - len; /* in one piece now */
    if (n->limit_bits)
        n->tx_tokens -= gh_net_cost(n->header ? data : NULL, len - skip);
    n->counters.tx_frames++;
    n->counters.tx_bytes += len - skip;
    if (n->capture.buffer)
        gh_net_capture_one(n, GH_NET_SENT, data + skip, len - skip);
    if (gh_net_watch_sent(&n->watch, data + skip, len - skip))
        gh_net_notify(n);
    if (!dev->batches)
        gh_net_flush(n);
    return true;
}

static void net_flush(struct gh_netdev *dev)
{
    struct gh_net *n = GH_CONTAINER_OF(dev, struct gh_net, dev);

    if (gh_wire_waiting(&n->wire))
        gh_net_flush(n);
}

void gh_net_put_offload(struct gh_net *n)
{
    if (n->ours)
        gh_net_put_control(n, json_pack("{s:s, s:b, s:b, s:b}", "verb", "offload", "csum", n->offload.csum, "tso4", n->offload.tso4, "tso6", n->offload.tso6));
}

static void net_set_offload(struct gh_netdev *dev, const struct gh_net_offload *offload)
{
    struct gh_net *n = GH_CONTAINER_OF(dev, struct gh_net, dev);

    n->offload = *offload;
    n->header = offload->csum || offload->tso4 || offload->tso6;
    gh_net_put_offload(n);
    gh_net_flush(n);
}

/* ---- To the guest ------------------------------------------------------------------------------ */
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
    if (!gh_net_within(n, &n->rx_tokens)) {
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
    int64_t price = gh_net_cost(n->header ? data : NULL, len);
    if (!n->dev.receive(n->dev.opaque, data, len + (n->header ? GH_WIRE_HEADER : 0))) {
        n->rx_stalled = true;
        return false;
    }
    if (n->limit_bits)
        n->rx_tokens -= price;
    n->counters.rx_frames++;
    n->counters.rx_bytes += len;
    if (n->capture.buffer)
        gh_net_capture_one(n, GH_NET_RECEIVED, frame, len);
    if (gh_net_watch_received(&n->watch, frame, len))
        gh_net_notify(n);
    return true;
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
                    gh_net_take_reply(n, &record);
            } else if (!deliver(n, &record)) {
                gh_wire_unget(&n->wire, &record);
                gh_net_watch_wire(n);
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
        gh_net_disconnect(n);
    gh_net_unlock(n);
    if (!alive && n->events.lost)
        n->events.lost(n->events.opaque, n);
}

void gh_net_on_wire(void *opaque, int fd, uint32_t events)
{
    struct gh_net *n = opaque;
    bool alive = true;

    gh_net_lock(n);
    if (events & EPOLLOUT) {
        gh_wire_flush(&n->wire);
        if (n->tx_blocked && gh_wire_waiting(&n->wire) < GH_NET_WIRE_BYTES / 2) {
            n->tx_blocked = false;
            if (n->dev.writable)
                n->dev.writable(n->dev.opaque);
        }
        gh_net_watch_wire(n);
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        if (events & (EPOLLHUP | EPOLLERR) && (n->rx_stalled || n->rx_limited))
            alive = false;             /* what it still had to say finds no room */
        else
            alive = receive(n);
    }
    check(n, alive);
}

void gh_net_resume_receive(void *opaque)
{
    struct gh_net *n = opaque;
    bool alive = true;

    gh_net_lock(n);
    if (n->wire.fd >= 0 && n->source && !n->rx_stalled && !n->rx_limited) {
        gh_net_watch_wire(n);
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
    gh_loop_post(n->loop, gh_net_resume_receive, n);
}

const struct gh_net_ops gh_net_ops = {
    .send = net_send, .flush = net_flush, .receive_ready = net_receive_ready, .set_offload = net_set_offload,
};
