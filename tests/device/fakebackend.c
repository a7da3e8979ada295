/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fakebackend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Disk ------------------------------------------------------------------------------------------ */

static int carry_out(struct fake_disk *d, struct gh_block_request *req)
{
    uint64_t offset = req->offset;

    if (d->fail)
        return d->fail;
    if (req->op == GH_BLOCK_FLUSH)
        return 0;
    if (!d->info.medium)
        return -ENOMEDIUM;
    if (req->offset % 512 || req->bytes % 512 || !gh_range_in(req->offset, req->bytes, d->info.bytes))
        return -EINVAL;
    if (req->op != GH_BLOCK_READ && d->info.read_only)
        return -EROFS;
    if (req->op == GH_BLOCK_ZERO || req->op == GH_BLOCK_DISCARD) {
        memset(d->data + offset, 0, req->bytes);
        return 0;
    }
    for (unsigned i = 0; i < req->iov_count; i++) {
        if (!gh_range_in(offset, req->iov[i].iov_len, req->offset + req->bytes))
            return -EINVAL;
        if (req->op == GH_BLOCK_READ)
            memcpy(req->iov[i].iov_base, d->data + offset, req->iov[i].iov_len);
        else
            memcpy(d->data + offset, req->iov[i].iov_base, req->iov[i].iov_len);
        offset += req->iov[i].iov_len;
    }
    return offset == req->offset + req->bytes ? 0 : -EINVAL;
}

static void arm(struct fake_disk *d)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < d->in_flight; i++)
        if (d->queue[i].due < next)
            next = d->queue[i].due;
    if (next == UINT64_MAX)
        gh_timer_disarm(&d->timer);
    else
        gh_timer_arm(&d->timer, next);
}

/* At most `most` requests: done may submit more. */
static void complete(struct fake_disk *d, uint64_t until, bool cancel, unsigned most)
{
    for (unsigned i = 0; i < d->in_flight && most;) {
        if (d->queue[i].due > until) {
            i++;
            continue;
        }
        most--;
        struct gh_block_request *req = d->queue[i].req;
        d->in_flight--;
        memmove(&d->queue[i], &d->queue[i + 1], (d->in_flight - i) * sizeof d->queue[0]);
        req->done(req, cancel ? -ECANCELED : carry_out(d, req));
        i = 0;
    }
    arm(d);
}

static void disk_timer(struct gh_device *dev, struct gh_timer *timer)
{
    struct fake_disk *d = GH_CONTAINER_OF(timer, struct fake_disk, timer);
    complete(d, d->board->now_ns, false, UINT32_MAX);
}

static void disk_submit(struct gh_block *block, struct gh_block_request *req)
{
    struct fake_disk *d = (struct fake_disk *)block;

    if (d->in_flight == FAKE_DISK_REQUESTS) {
        fprintf(stderr, "fake disk: more than %d requests in flight\n", FAKE_DISK_REQUESTS);
        exit(1);
    }
    switch (req->op) {
    case GH_BLOCK_READ:  d->reads++; break;
    case GH_BLOCK_WRITE: d->writes++; break;
    case GH_BLOCK_FLUSH: d->flushes++; break;
    default:             d->others++; break;
    }
    d->queue[d->in_flight].req = req;
    d->queue[d->in_flight++].due = d->latency_ns == UINT64_MAX ? UINT64_MAX : d->board->now_ns + d->latency_ns;
    arm(d);
}

static void disk_info(struct gh_block *block, struct gh_block_info *ret)
{
    *ret = ((struct fake_disk *)block)->info;
}

static void cancel_deferred(struct gh_device *dev, void *arg)
{
    struct fake_disk *d = arg;
    complete(d, UINT64_MAX, true, d->in_flight);
}

static void disk_cancel_all(struct gh_block *block)
{
    struct fake_disk *d = (struct fake_disk *)block;
    d->cancelled += d->in_flight;
    gh_defer(&d->host, cancel_deferred, d);
}

static int disk_eject(struct gh_block *block, bool load)
{
    struct fake_disk *d = (struct fake_disk *)block;
    d->ejected = load;
    if (!load)
        d->info.medium = false;
    return 0;
}

static void disk_lock(struct gh_block *block, bool locked)
{
    ((struct fake_disk *)block)->door_locked = locked;
}

static const struct gh_block_ops disk_ops = {
    .submit = disk_submit, .info = disk_info, .cancel_all = disk_cancel_all, .eject = disk_eject,
    .lock = disk_lock,
};

static void set_medium(struct fake_disk *d, uint64_t bytes)
{
    free(d->data);
    d->data = bytes ? calloc(1, bytes) : NULL;
    if (bytes && !d->data) {
        fprintf(stderr, "fake disk: no memory\n");
        exit(1);
    }
    d->info.bytes = bytes;
    d->info.medium = bytes != 0;
    d->info.medium_generation++;
}

void fake_disk_init(struct fake_disk *d, struct gh_board *b, uint64_t bytes)
{
    /* Timers of the board need a device; any would do, its ops are what counts. */
    static const struct gh_device_class host_class = {.name = "fake-disk"};

    *d = (struct fake_disk){.block = {.ops = &disk_ops, .name = "fake"}, .board = b, .latency_ns = 10000,
                            .ejected = -1};
    d->info = (struct gh_block_info){.logical_sector = 512, .physical_sector = 512, .serial = "FAKE0001",
                                     .model = "Fake disk"};
    d->host = (struct gh_device){.class = &host_class, .board = b, .ops = fake_board_ops(), .id = "fake-disk"};
    gh_timer_init(&d->timer, &d->host, disk_timer);
    set_medium(d, bytes);
}

void fake_disk_medium(struct fake_disk *d, uint64_t bytes)
{
    set_medium(d, bytes);
    if (d->block.medium_event)
        d->block.medium_event(d->block.event_opaque, false);
}

void fake_disk_release(struct fake_disk *d)
{
    complete(d, UINT64_MAX, false, d->in_flight);
}

void fake_disk_fini(struct fake_disk *d)
{
    free(d->data);
    d->data = NULL;
}

/* ---- Character ------------------------------------------------------------------------------------- */

static size_t char_write(struct gh_char *chr, const void *data, size_t len)
{
    struct fake_char *c = (struct fake_char *)chr;

    if (len > c->room)
        len = c->room;
    if (len > sizeof c->out - c->out_len)
        len = sizeof c->out - c->out_len;
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
    if (c->room != SIZE_MAX)
        c->room -= len;
    return len;
}

static void char_receive_ready(struct gh_char *chr)
{
    ((struct fake_char *)chr)->ready_calls++;
}

static const struct gh_char_ops char_ops = {.write = char_write, .receive_ready = char_receive_ready};

void fake_char_init(struct fake_char *c)
{
    *c = (struct fake_char){.chr = {.ops = &char_ops}, .room = SIZE_MAX};
}

size_t fake_char_send(struct fake_char *c, const void *data, size_t len)
{
    size_t room = c->chr.can_receive ? c->chr.can_receive(c->chr.opaque) : 0;

    if (len > room)
        len = room;
    if (len)
        c->chr.receive(c->chr.opaque, data, len);
    return len;
}

void fake_char_open_room(struct fake_char *c, size_t room)
{
    c->room = room;
    if (c->chr.writable)
        c->chr.writable(c->chr.opaque);
}

/* ---- Network ----------------------------------------------------------------------------------------- */

static bool net_send(struct gh_netdev *net, const struct iovec *iov, unsigned iov_count)
{
    struct fake_net *n = (struct fake_net *)net;
    size_t len = 0;

    if (n->full)
        return false;
    for (unsigned i = 0; i < iov_count; i++) {
        if (n->frames < GH_ARRAY_LEN(n->frame) && len + iov[i].iov_len <= sizeof n->frame[0].data)
            memcpy(n->frame[n->frames].data + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    if (n->frames < GH_ARRAY_LEN(n->frame))
        n->frame[n->frames].len = len;
    n->frames++;
    n->bytes += len;
    return true;
}

static void net_receive_ready(struct gh_netdev *net) { ((struct fake_net *)net)->ready_calls++; }

static void net_set_offload(struct gh_netdev *net, const struct gh_net_offload *offload)
{
    ((struct fake_net *)net)->offload = *offload;
}

static const struct gh_net_ops net_ops = {
    .send = net_send, .receive_ready = net_receive_ready, .set_offload = net_set_offload,
};

void fake_net_init(struct fake_net *n)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

    memset(n, 0, sizeof *n);
    n->net.ops = &net_ops;
    n->net.link_up = true;
    memcpy(n->net.mac, mac, 6);
}

bool fake_net_send(struct fake_net *n, const void *frame, size_t len)
{
    return n->net.receive && n->net.receive(n->net.opaque, frame, len);
}
