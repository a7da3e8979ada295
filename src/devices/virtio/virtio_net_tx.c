/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Frames from the guest. The header is copied and checked first. Where the backend takes what the
 * header asks for, or nothing is asked, the frame goes out of guest memory as it lies there; otherwise
 * it is copied, and checksum and segmentation happen here on the copy.
 */
#include "devices/virtio/virtio_net.h"

enum { SEGMENT_BUDGET = 512, TCP_CHECKSUM = 16 };

struct wish { bool csum; uint8_t type; uint16_t gso_size, start, offset, header_len; };

static bool read_wish(struct virtio_net *s, const uint8_t *h, size_t len, struct wish *ret)
{
    uint8_t gso = h[VNET_H_GSO_TYPE];
    *ret = (struct wish){ .csum = h[VNET_H_FLAGS] & VNET_NEEDS_CSUM, .type = (uint8_t)(gso & ~VNET_GSO_ECN),
                          .gso_size = gh_le16_get(h + VNET_H_GSO_SIZE), .start = gh_le16_get(h + VNET_H_CSUM_START),
                          .offset = gh_le16_get(h + VNET_H_CSUM_OFFSET), .header_len = gh_le16_get(h + VNET_H_LEN) };
    if (ret->csum && (!gh_virtio_has(&s->v, VNET_F_CSUM) || !gh_range_in((uint64_t)ret->start + ret->offset, 2, len)))
        return false;
    if (ret->type == VNET_GSO_NONE)
        return true;
    if (!ret->csum || !ret->gso_size || ret->header_len > len)
        return false;
    return (ret->type == VNET_GSO_TCPV4 && gh_virtio_has(&s->v, VNET_F_HOST_TSO4)) ||
           (ret->type == VNET_GSO_TCPV6 && gh_virtio_has(&s->v, VNET_F_HOST_TSO6));
}

static bool backend_segments(const struct virtio_net *s, const struct wish *w)
{
    return w->type == VNET_GSO_TCPV4 ? s->offload.tso4 : w->type == VNET_GSO_TCPV6 ? s->offload.tso6 : true;
}

/* A header for the backend with nothing in it that was not checked. */
static void rebuild_header(uint8_t *h, const struct wish *w)
{
    memset(h, 0, VNET_HEADER);
    if (!w->csum)
        return;
    h[VNET_H_FLAGS] = VNET_NEEDS_CSUM;
    gh_le16_put(h + VNET_H_CSUM_START, w->start);
    gh_le16_put(h + VNET_H_CSUM_OFFSET, w->offset);
    if (w->type == VNET_GSO_NONE)
        return;
    h[VNET_H_GSO_TYPE] = w->type;
    gh_le16_put(h + VNET_H_LEN, w->header_len);
    gh_le16_put(h + VNET_H_GSO_SIZE, w->gso_size);
}

/* What a segmentation needs to know stands in the packet itself; the driver's header is only a wish. */
static bool plan_segments(struct virtio_net *s, const struct wish *w, size_t len)
{
    struct gh_segments *g = &s->tx.segments;
    return gh_segments_from_packet(g, s->flat, len, w->gso_size) && g->ipv4 == (w->type == VNET_GSO_TCPV4) && g->l4 == w->start &&
           w->offset == TCP_CHECKSUM;
}

/* ---- Taking a frame -------------------------------------------------------------------------------------- */

static void add_header(struct virtio_net *s)
{
    struct virtio_net_frame *f = &s->tx;
    if (virtio_net_header(s))
        f->iov[f->iov_count++] = (struct iovec){ f->header, VNET_HEADER };
}

/* The chain's buffers behind the header, as they lie in guest memory; false: too many pieces. */
static bool point_into_guest(struct virtio_net *s, const struct gh_virtq_element *e)
{
    struct virtio_net_frame *f = &s->tx;
    size_t skip = VNET_HEADER;
    if (e->out_count + 1 > VNET_IOV_MAX)
        return false;
    add_header(s);
    for (unsigned i = 0; i < e->out_count; i++) {
        if (skip >= e->out[i].iov_len) {
            skip -= e->out[i].iov_len;
            continue;
        }
        f->iov[f->iov_count++] = (struct iovec){ (uint8_t *)e->out[i].iov_base + skip, e->out[i].iov_len - skip };
        skip = 0;
    }
    return true;
}

static bool copy_frame(struct virtio_net *s, const struct gh_virtq_element *e, const struct wish *w, size_t len)
{
    struct virtio_net_frame *f = &s->tx;
    gh_virtq_read(e, VNET_HEADER, s->flat, len);
    if (w->type != VNET_GSO_NONE && !backend_segments(s, w)) {
        if (!plan_segments(s, w, len))
            return false;
        memset(f->header, 0, VNET_HEADER);
        f->segmented = true;
        f->count = gh_segments_count(&f->segments);
        return true;
    }
    if (w->csum && !s->offload.csum)
        gh_packet_checksum(s->flat, len, w->start, len, (size_t)w->start + w->offset);
    add_header(s);
    f->iov[f->iov_count++] = (struct iovec){ s->flat, len };
    return true;
}

/* false: the chain holds no frame to send (counted, not an error of the device). */
static bool take_frame(struct virtio_net *s, struct gh_virtq_element *e)
{
    struct virtio_net_frame *f = &s->tx;
    struct wish w;
    f->segmented = false;
    f->iov_count = f->next = 0;
    f->count = 1;
    if (e->out_bytes < VNET_HEADER + GH_ETH_HEADER || e->out_bytes > VNET_HEADER + VNET_FRAME_MAX) {
        gh_guest_error(s->v.dev, "a frame of %llu bytes was dropped", (unsigned long long)e->out_bytes);
        return false;
    }
    size_t len = e->out_bytes - VNET_HEADER;
    gh_virtq_read(e, 0, f->header, VNET_HEADER);
    if (!read_wish(s, f->header, len, &w)) {
        gh_guest_error(s->v.dev, "a frame with an impossible header was dropped");
        return false;
    }
    rebuild_header(f->header, &w);
    bool as_is = (!w.csum || s->offload.csum) && backend_segments(s, &w);
    if ((as_is && point_into_guest(s, e)) || copy_frame(s, e, &w, len))
        return true;
    gh_guest_error(s->v.dev, "a frame that cannot be segmented was dropped");
    return false;
}

/* ---- Sending ------------------------------------------------------------------------------------------------ */

static bool send_piece(struct virtio_net *s)
{
    struct virtio_net_frame *f = &s->tx;
    gh_trace(vnet_send, "%s piece %u of %u%s", s->v.dev->id, f->next, f->count, s->link_up ? "" : ", into nowhere");
    if (!s->net || !s->link_up)
        return true;                          /* nobody is there: lost, as on a wire */
    if (!f->segmented)
        return s->net->ops->send(s->net, f->iov, f->iov_count);
    uint8_t header[GH_SEGMENT_HEADER_MAX];
    struct iovec iov[3];
    unsigned n = 0;
    if (virtio_net_header(s))
        iov[n++] = (struct iovec){ f->header, VNET_HEADER };
    iov[n++] = (struct iovec){ header, f->segments.header };
    gh_segments_make(&f->segments, f->next, header, &iov[n]);
    n += iov[n].iov_len != 0;
    return s->net->ops->send(s->net, iov, n);
}

/* true: the frame in hand has gone. */
static bool send_frame(struct virtio_net *s, unsigned *segments)
{
    struct virtio_net_frame *f = &s->tx;
    while (f->next < f->count) {
        if (!*segments || !send_piece(s))
            return false;
        --*segments;
        f->next++;
    }
    return true;
}

void virtio_net_transmit(struct virtio_net *s)
{
    struct gh_virtq *vq = &s->v.queue[VNET_TRANSMIT];
    struct virtio_net_frame *f = &s->tx;
    unsigned budget = VNET_QUEUE_SIZE, segments = SEGMENT_BUDGET;
    if (s->in_transmit)
        return;                               /* a backend may call writable from send */
    s->in_transmit = true;
    while (budget && segments) {
        if (!f->element) {
            struct gh_virtq_element *e = gh_virtq_pop(vq);
            if (!e)
                break;
            budget--;
            if (!take_frame(s, e)) {
                gh_virtq_push(vq, e, 0);
                continue;
            }
            f->element = e;
        }
        if (!send_frame(s, &segments))
            break;
        struct gh_virtq_element *e = f->element;
        f->element = NULL;
        gh_virtq_push(vq, e, 0);
    }
    s->in_transmit = false;
    if (s->net && s->net->ops->flush)
        s->net->ops->flush(s->net);
    gh_virtq_signal(vq);
    if ((!budget && gh_virtq_pending(vq)) || (!segments && f->element) || (!segments && gh_virtq_pending(vq)))
        gh_virtio_again(&s->v);
}

void virtio_net_transmit_drop(struct virtio_net *s)
{
    gh_virtq_drop(s->tx.element);
    s->tx.element = NULL;
}

void virtio_net_transmit_return(struct virtio_net *s)
{
    if (s->tx.element)
        gh_virtq_unpop(&s->v.queue[VNET_TRANSMIT], s->tx.element);
    s->tx.element = NULL;
}
