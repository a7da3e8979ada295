/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames to the guest: filter, header, and as many chains as a frame needs. */
#include "devices/virtio/virtio_net.h"

enum { MERGE_MAX = 64 };

static void give_back(struct gh_virtq *vq, struct gh_virtq_element **chain, unsigned count)
{
    while (count--)
        gh_virtq_unpop(vq, chain[count]);
}

/* Header and frame into as many chains as they need. false: the driver has too few for now. */
static bool deliver(struct virtio_net *s, uint8_t *header, const uint8_t *frame, size_t len)
{
    struct gh_virtq *vq = &s->v.queue[VNET_RECEIVE];
    struct gh_virtq_element *chain[MERGE_MAX] = { NULL };
    uint32_t written[MERGE_MAX];
    unsigned count = 0, limit = gh_virtio_has(&s->v, VNET_F_MRG_RXBUF) ? MERGE_MAX : 1;
    uint64_t room = 0;
    while (room < VNET_HEADER + len && count < limit) {
        struct gh_virtq_element *e = gh_virtq_pop(vq);
        if (!e) {
            give_back(vq, chain, count);
            return false;
        }
        room += e->in_bytes;
        chain[count++] = e;
    }
    if (room < VNET_HEADER + len || !count || chain[0]->in_bytes < VNET_HEADER) {
        give_back(vq, chain, count);
        gh_guest_error(s->v.dev, "a received frame of %zu bytes does not fit the driver's buffers", len);
        return true;                          /* dropped: it would never fit */
    }
    gh_le16_put(header + VNET_H_BUFFERS, (uint16_t)count);
    gh_virtq_write(chain[0], 0, header, VNET_HEADER);
    size_t done = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned skip = i ? 0 : VNET_HEADER;
        size_t n = gh_virtq_write(chain[i], skip, frame + done, len - done);
        done += n;
        written[i] = (uint32_t)(n + skip);
    }
    gh_virtq_push_all(vq, chain, written, count);
    gh_virtq_signal(vq);
    return true;
}

/* The guest need not look at checksums that were found good here. */
static void fill_header(struct virtio_net *s, uint8_t *header, const uint8_t *frame, size_t len)
{
    struct gh_packet_info info;
    memset(header, 0, VNET_HEADER);
    if (!gh_virtio_has(&s->v, VNET_F_GUEST_CSUM))
        return;
    gh_packet_parse(frame, len, true, &info);
    if (info.l4_good)
        header[VNET_H_FLAGS] = VNET_DATA_VALID;
}

bool virtio_net_receive(void *opaque, const uint8_t *data, size_t len)
{
    struct virtio_net *s = opaque;
    uint8_t header[VNET_HEADER];
    bool with_header = virtio_net_header(s);
    if (!gh_virtio_running(&s->v) || !s->v.queue[VNET_RECEIVE].enabled || !s->link_up)
        return true;                          /* nobody is there: lost, as on a wire */
    if (s->announce) {
        s->announce = false;
        virtio_net_set_status(s, 0, VNET_ANNOUNCE);
    }
    if (with_header) {
        if (len < VNET_HEADER)
            return true;
        memcpy(header, data, VNET_HEADER);
        header[VNET_H_FLAGS] &= VNET_NEEDS_CSUM | VNET_DATA_VALID;
        data += VNET_HEADER;
        len -= VNET_HEADER;
    }
    if (len < GH_ETH_HEADER || len > VNET_FRAME_MAX || !virtio_net_filter_passes(s, data, len))
        return true;
    if (!with_header)
        fill_header(s, header, data, len);
    bool taken = deliver(s, header, data, len);
    gh_trace(vnet_receive, "%s %zu bytes %s", s->v.dev->id, len, taken ? "delivered" : "kept");
    return taken;
}
