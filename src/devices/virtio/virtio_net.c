/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Network device (Virtual I/O Device specification, "Network Device"): one queue pair, mergeable receive
 * buffers, checksum offload, and segmentation offload where the backend can do it.
 *
 * Frames pass through one flat buffer, so what was checked is what is sent. The header of the guest is
 * rebuilt from checked fields; checksums that the backend is not asked to do are computed here. Left out on
 * purpose: the control queue (filters, several pairs), UDP fragmentation.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/backend.h"
#include "devices/classes.h"
#include "devices/net/nic_rom.h"
#include "devices/virtio/virtio.h"

enum { QUEUE_SIZE = 256, RECEIVE = 0, TRANSMIT = 1, HEADER = 12, ETHERNET = 14, FRAME_MAX = 65536 + 64, MERGE_MAX = 64 };
enum { F_CSUM = 0, F_GUEST_CSUM = 1, F_MAC = 5, F_GUEST_TSO4 = 7, F_GUEST_TSO6 = 8, F_HOST_TSO4 = 11, F_HOST_TSO6 = 12,
       F_MRG_RXBUF = 15, F_STATUS = 16 };
enum { HDR_NEEDS_CSUM = 1, HDR_DATA_VALID = 2, GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_ECN = 0x80 };
enum { CFG_MAC = 0, CFG_STATUS = 6, CFG_BYTES = 8, STATUS_LINK_UP = 1 };

/* struct virtio_net_hdr_v1: u8 flags, u8 gso_type, le16 hdr_len, gso_size, csum_start, csum_offset, num_buffers */
enum { H_FLAGS = 0, H_GSO_TYPE = 1, H_LEN = 2, H_GSO_SIZE = 4, H_CSUM_START = 6, H_CSUM_OFFSET = 8, H_BUFFERS = 10 };

struct virtio_net {
    struct gh_virtio v;
    struct gh_netdev *net;
    struct gh_nic_rom rom;
    uint8_t mac[6];
    struct gh_net_offload offload;            /* told to the backend; any: its frames have the header */
    struct gh_virtq_element *waiting;         /* the backend was full */
    uint8_t *frame;                           /* HEADER + FRAME_MAX */
    size_t frame_len;                         /* with header; of waiting */
};

static const struct gh_option options[] = {
    GH_VIRTIO_OPT_ADDR(struct virtio_net, v),
    GH_OPT(GH_T_NET, struct virtio_net, net, "netdev", 0, 0, NULL, "Where the network card is connected"),
    GH_OPT(GH_T_BYTES, struct virtio_net, mac, "mac", 0, 0, NULL, "Ethernet address; not given: the connection's"),
    { 0 },
};
static const struct gh_field fields[] = { GH_VIRTIO_FIELD(struct virtio_net, v, 1), { 0 } };

static bool any_offload(const struct virtio_net *s) { return s->offload.csum || s->offload.tso4 || s->offload.tso6; }

/* ---- From the guest ------------------------------------------------------------------------------------ */

/* The Internet checksum from start to the end, stored at start + offset (which counts with its seed in it). */
static void complete_checksum(uint8_t *frame, size_t len, size_t start, size_t offset)
{
    uint64_t sum = 0;
    size_t at = start;
    for (; at + 1 < len; at += 2)
        sum += gh_be16_get(frame + at);
    if (at < len)
        sum += (uint64_t)frame[at] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    uint16_t checksum = (uint16_t)~sum;
    gh_be16_put(frame + start + offset, checksum ? checksum : 0xffff);
}

/* Checks the guest's header against its frame and leaves a header with nothing else in it. */
static bool rebuild_header(struct virtio_net *s, uint8_t *header, uint8_t *frame, size_t len)
{
    uint8_t flags = header[H_FLAGS] & HDR_NEEDS_CSUM, gso = header[H_GSO_TYPE];
    uint16_t gso_size = gh_le16_get(header + H_GSO_SIZE), start = gh_le16_get(header + H_CSUM_START);
    uint16_t offset = gh_le16_get(header + H_CSUM_OFFSET), header_len = gh_le16_get(header + H_LEN);
    unsigned type = gso & (unsigned)~GSO_ECN;
    if (flags && !gh_range_in((uint64_t)start + offset, 2, len))
        return false;
    if (type != GSO_NONE && !(flags && gso_size && header_len <= len &&
                              ((type == GSO_TCPV4 && s->offload.tso4) || (type == GSO_TCPV6 && s->offload.tso6))))
        return false;
    memset(header, 0, HEADER);
    if (flags && !s->offload.csum) {
        complete_checksum(frame, len, start, offset);
        return true;
    }
    header[H_FLAGS] = flags;
    gh_le16_put(header + H_CSUM_START, flags ? start : 0);
    gh_le16_put(header + H_CSUM_OFFSET, flags ? offset : 0);
    if (type != GSO_NONE) {
        header[H_GSO_TYPE] = (uint8_t)type;
        gh_le16_put(header + H_LEN, header_len);
        gh_le16_put(header + H_GSO_SIZE, gso_size);
    }
    return true;
}

/* false: the chain holds no frame to send (counted, not an error of the device). */
static bool take_frame(struct virtio_net *s, const struct gh_virtq_element *e)
{
    if (e->out_bytes < HEADER + ETHERNET || e->out_bytes > HEADER + FRAME_MAX) {
        gh_guest_error(s->v.dev, "a frame of %llu bytes was dropped", (unsigned long long)e->out_bytes);
        return false;
    }
    s->frame_len = gh_virtq_read(e, 0, s->frame, HEADER + FRAME_MAX);
    if (rebuild_header(s, s->frame, s->frame + HEADER, s->frame_len - HEADER))
        return true;
    gh_guest_error(s->v.dev, "a frame with an impossible header was dropped");
    return false;
}

static bool send_frame(struct virtio_net *s)
{
    size_t skip = any_offload(s) ? 0 : HEADER;
    struct iovec iov = { .iov_base = s->frame + skip, .iov_len = s->frame_len - skip };
    return !s->net || s->net->ops->send(s->net, &iov, 1);
}

static void transmit(struct virtio_net *s)
{
    struct gh_virtq *vq = &s->v.queue[TRANSMIT];
    unsigned budget = QUEUE_SIZE;
    while (budget) {
        struct gh_virtq_element *e = s->waiting;
        if (!e && !(e = gh_virtq_pop(vq)))
            break;
        bool take = s->waiting || take_frame(s, e);
        s->waiting = NULL;
        if (take && !send_frame(s)) {
            s->waiting = e;
            break;
        }
        gh_virtq_push(vq, e, 0);
        budget--;
    }
    gh_virtq_signal(vq);
    if (!budget && gh_virtq_pending(vq))
        gh_virtio_again(&s->v);
}

static void net_kick(struct gh_virtio *v, struct gh_virtq *vq)
{
    struct virtio_net *s = v->dev->state;
    if (vq->index == TRANSMIT)
        transmit(s);
    else if (s->net && s->net->ops->receive_ready)
        s->net->ops->receive_ready(s->net);
}

/* ---- To the guest ----------------------------------------------------------------------------------------- */

static void give_back(struct gh_virtq *vq, struct gh_virtq_element **chain, unsigned count)
{
    while (count--)
        gh_virtq_unpop(vq, chain[count]);
}

/* Header and frame into as many chains as they need. false: the driver has too few for now. */
static bool deliver(struct virtio_net *s, uint8_t *header, const uint8_t *frame, size_t len)
{
    struct gh_virtq *vq = &s->v.queue[RECEIVE];
    struct gh_virtq_element *chain[MERGE_MAX] = { NULL };
    unsigned count = 0, limit = gh_virtio_has(&s->v, F_MRG_RXBUF) ? MERGE_MAX : 1;
    uint64_t room = 0;
    while (room < HEADER + len && count < limit) {
        struct gh_virtq_element *e = gh_virtq_pop(vq);
        if (!e) {
            give_back(vq, chain, count);
            return false;
        }
        room += e->in_bytes;
        chain[count++] = e;
    }
    if (room < HEADER + len || !count || chain[0]->in_bytes < HEADER) {
        give_back(vq, chain, count);
        gh_guest_error(s->v.dev, "a received frame of %zu bytes does not fit the driver's buffers", len);
        return true;                          /* dropped: it would never fit */
    }
    gh_le16_put(header + H_BUFFERS, (uint16_t)count);
    gh_virtq_write(chain[0], 0, header, HEADER);
    size_t done = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned skip = i ? 0 : HEADER;
        size_t n = gh_virtq_write(chain[i], skip, frame + done, len - done);
        done += n;
        gh_virtq_push(vq, chain[i], (uint32_t)(n + skip));
    }
    gh_virtq_signal(vq);
    return true;
}

static bool net_receive(void *opaque, const uint8_t *data, size_t len)
{
    struct virtio_net *s = opaque;
    uint8_t header[HEADER] = { 0 };
    if (!gh_virtio_running(&s->v) || !s->v.queue[RECEIVE].enabled)
        return true;                          /* nobody is there: lost, as on a wire */
    if (any_offload(s)) {
        if (len < HEADER)
            return true;
        memcpy(header, data, HEADER);
        header[H_FLAGS] &= HDR_NEEDS_CSUM | HDR_DATA_VALID;
        data += HEADER;
        len -= HEADER;
    }
    if (len < ETHERNET || len > FRAME_MAX)
        return true;
    return deliver(s, header, data, len);
}

static void net_writable(void *opaque)
{
    struct virtio_net *s = opaque;
    if (gh_virtio_running(&s->v))
        transmit(s);
}

static void set_status(struct virtio_net *s, bool up)
{
    gh_le16_put(s->v.config + CFG_STATUS, up ? STATUS_LINK_UP : 0);
}

static void net_link(void *opaque, bool up)
{
    struct virtio_net *s = opaque;
    set_status(s, up);
    gh_virtio_config_changed(&s->v);
}

/* ---- Life ---------------------------------------------------------------------------------------------------- */

/* One switch for both directions: only what the driver takes both ways is asked of the backend. */
static void negotiate(struct virtio_net *s)
{
    const struct gh_virtio *v = &s->v;
    struct gh_net_offload o = { .csum = gh_virtio_has(v, F_CSUM) && gh_virtio_has(v, F_GUEST_CSUM) };
    o.tso4 = o.csum && gh_virtio_has(v, F_HOST_TSO4) && gh_virtio_has(v, F_GUEST_TSO4);
    o.tso6 = o.csum && gh_virtio_has(v, F_HOST_TSO6) && gh_virtio_has(v, F_GUEST_TSO6);
    s->offload = o;
    if (s->net && s->net->ops->set_offload)
        s->net->ops->set_offload(s->net, &s->offload);
}

static void net_started(struct gh_virtio *v)
{
    struct virtio_net *s = v->dev->state;
    negotiate(s);
    if (s->net && s->net->ops->receive_ready)
        s->net->ops->receive_ready(s->net);
}

static bool net_stop(struct gh_virtio *v)
{
    struct virtio_net *s = v->dev->state;
    gh_virtq_drop(s->waiting);
    s->waiting = NULL;
    return true;
}

static const struct gh_virtio_type net_type = {
    .id = GH_VIRTIO_NET, .class_code = 0x020000, .config_bytes = CFG_BYTES, .kick = net_kick, .started = net_started,
    .stop = net_stop, .features = 1ull << F_CSUM | 1ull << F_MAC | 1ull << F_MRG_RXBUF | 1ull << F_STATUS,
};

static uint64_t backend_features(const struct gh_netdev *net)
{
    if (!net || !net->can.csum)
        return 0;
    return 1ull << F_GUEST_CSUM | (net->can.tso4 ? 1ull << F_HOST_TSO4 | 1ull << F_GUEST_TSO4 : 0) |
           (net->can.tso6 ? 1ull << F_HOST_TSO6 | 1ull << F_GUEST_TSO6 : 0);
}

void gh_virtio_net_set_rom(struct gh_device *dev, const uint8_t *data, size_t size)
{
    struct virtio_net *s = dev->state;
    s->rom = (struct gh_nic_rom){ data, size };
}

static int net_attach(struct gh_device *dev, struct gh_error *err)
{
    static const uint8_t none[6], fallback[6] = { 0x52, 0x54, 0x00, 0x47, 0x48, 0x01 };
    struct virtio_net *s = dev->state;
    s->frame = malloc(HEADER + FRAME_MAX);
    if (!s->frame)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the network card \"%s\"; close other programs.", dev->id);
    if (!memcmp(s->mac, none, 6))
        memcpy(s->mac, s->net && memcmp(s->net->mac, none, 6) ? s->net->mac : fallback, 6);
    memcpy(s->v.config + CFG_MAC, s->mac, 6);
    set_status(s, !s->net || s->net->link_up);
    if (s->net) {
        s->net->opaque = s;
        s->net->receive = net_receive;
        s->net->writable = net_writable;
        s->net->link = net_link;
    }
    int r = gh_virtio_attach(dev, &s->v, &net_type, 2, QUEUE_SIZE, backend_features(s->net), err);
    return r < 0 ? r : gh_nic_rom_attach(dev, &s->rom, &s->v.pci, GH_VIRTIO_RANGE_FREE, err);
}

static void net_reset(struct gh_device *dev, enum gh_reset why)
{
    struct virtio_net *s = dev->state;
    net_stop(&s->v);
    gh_virtio_reset(&s->v);
}

/* The frame that waits goes back into the ring, so that a saved state has none in flight. */
static void net_quiesce(struct gh_device *dev, struct gh_done *done)
{
    struct virtio_net *s = dev->state;
    if (s->waiting)
        gh_virtq_unpop(&s->v.queue[TRANSMIT], s->waiting);
    s->waiting = NULL;
    done->fn(done);
}

static int net_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct virtio_net *s = dev->state;
    memcpy(s->v.config + CFG_MAC, s->mac, 6);
    set_status(s, !s->net || s->net->link_up);
    int r = gh_virtio_loaded(&s->v, err);
    if (r == 0)
        negotiate(s);
    return r;
}

static void net_detach(struct gh_device *dev)
{
    struct virtio_net *s = dev->state;
    if (s->net) {
        s->net->receive = NULL;
        s->net->writable = NULL;
        s->net->link = NULL;
    }
    if (s->v.dev)
        net_stop(&s->v);
    gh_virtio_detach(&s->v);
    free(s->frame);
    s->frame = NULL;
}

const struct gh_device_class gh_class_virtio_net = {
    .name = "virtio-net", .summary = "Network card (virtio)", .state_size = sizeof(struct virtio_net), .version = 1,
    .options = options, .saved = fields, .attach = net_attach, .reset = net_reset, .loaded = net_loaded,
    .quiesce = net_quiesce, .detach = net_detach,
};
