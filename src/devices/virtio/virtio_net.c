/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Network device (Virtual I/O Device specification 1.1, "Network Device"): one queue pair and the
 * control queue, mergeable receive buffers, checksum and segmentation offload (done by the backend where
 * it can, otherwise here), filters, link status, MTU.
 *
 * Left out on purpose: several queue pairs, UDP fragmentation, changing offloads while running.
 */
#include "devices/virtio/virtio_net.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/classes.h"

static const struct gh_option options[] = {
    GH_VIRTIO_OPT_ADDR(struct virtio_net, v),
    GH_OPT(GH_T_NET, struct virtio_net, net, "netdev", 0, 0, NULL, "Where the network card is connected"),
    GH_OPT(GH_T_BYTES, struct virtio_net, mac, "mac", 0, 0, NULL, "Ethernet address; not given: the connection's"),
    GH_OPT(GH_T_U16, struct virtio_net, mtu, "mtu", 0, 65535, "0", "Largest packet that the guest is told (68 to 65535); 0: not told"),
    { 0 },
};
static const struct gh_field fields[] = {
    GH_VIRTIO_FIELD(struct virtio_net, v, 1),
    GH_FIELD_TABLE(struct virtio_net, filter, struct virtio_net_filter, virtio_net_filter_fields, 1, 2),
    { 0 },
};

void gh_virtio_net_set_rom(struct gh_device *dev, const uint8_t *data, size_t size)
{
    struct virtio_net *s = dev->state;
    s->rom = (struct gh_nic_rom){ data, size };
}

/* ---- Events ------------------------------------------------------------------------------------------------ */

static void receive_ready(struct virtio_net *s)
{
    if (s->net && s->net->ops->receive_ready)
        s->net->ops->receive_ready(s->net);
}

static void net_kick(struct gh_virtio *v, struct gh_virtq *vq)
{
    struct virtio_net *s = v->dev->state;
    if (vq->index == VNET_TRANSMIT)
        virtio_net_transmit(s);
    else if (vq->index == VNET_CONTROL)
        virtio_net_control(s);
    else
        receive_ready(s);
}

static void net_writable(void *opaque)
{
    struct virtio_net *s = opaque;
    if (gh_virtio_running(&s->v))
        virtio_net_transmit(s);
}

static uint16_t present_status(struct virtio_net *s)
{
    s->link_up = s->net && s->net->link_up;
    return s->link_up ? VNET_LINK_UP : 0;
}

void virtio_net_set_status(struct virtio_net *s, uint16_t clear, uint16_t set)
{
    uint8_t *at = s->v.config + VNET_CFG_STATUS;
    if (!gh_virtio_has(&s->v, VNET_F_GUEST_ANNOUNCE))
        set &= (uint16_t)~VNET_ANNOUNCE;
    uint16_t old = gh_le16_get(at), now = (uint16_t)((old & ~clear) | set);
    gh_le16_put(at, now);
    if (now != old)
        gh_virtio_config_changed(&s->v);
}

static void net_link(void *opaque, bool up)
{
    struct virtio_net *s = opaque;
    bool was = s->link_up;
    s->link_up = up;
    virtio_net_set_status(s, VNET_LINK_UP, up ? VNET_LINK_UP | (was ? 0 : VNET_ANNOUNCE) : 0);
    net_writable(s);                          /* what waited for a full backend goes, or is lost */
    if (up)
        receive_ready(s);
}

/* ---- Negotiation -------------------------------------------------------------------------------------------- */

/* One switch for both directions: only what the driver takes both ways is asked of the backend. */
static void negotiate(struct virtio_net *s)
{
    const struct gh_virtio *v = &s->v;
    const struct gh_net_offload can = s->net ? s->net->can : (struct gh_net_offload){ 0 };
    struct gh_net_offload o = { .csum = can.csum && gh_virtio_has(v, VNET_F_CSUM) && gh_virtio_has(v, VNET_F_GUEST_CSUM) };
    o.tso4 = o.csum && can.tso4 && gh_virtio_has(v, VNET_F_HOST_TSO4) && gh_virtio_has(v, VNET_F_GUEST_TSO4);
    o.tso6 = o.csum && can.tso6 && gh_virtio_has(v, VNET_F_HOST_TSO6) && gh_virtio_has(v, VNET_F_GUEST_TSO6);
    o.mergeable = gh_virtio_has(v, VNET_F_MRG_RXBUF);
    s->offload = o;
    if (s->net && s->net->ops->set_offload)
        s->net->ops->set_offload(s->net, &s->offload);
}

static void net_started(struct gh_virtio *v)
{
    struct virtio_net *s = v->dev->state;
    negotiate(s);
    receive_ready(s);
}

static void config_reset(struct virtio_net *s)
{
    memset(s->v.config, 0, VNET_CFG_BYTES);
    memcpy(s->v.config + VNET_CFG_MAC, s->mac, 6);
    gh_le16_put(s->v.config + VNET_CFG_STATUS, present_status(s));
    gh_le16_put(s->v.config + VNET_CFG_PAIRS, 1);
    gh_le16_put(s->v.config + VNET_CFG_MTU, s->mtu);
    s->announce = false;
}

static bool net_stop(struct gh_virtio *v)
{
    struct virtio_net *s = v->dev->state;
    virtio_net_transmit_drop(s);
    virtio_net_filter_reset(s);
    config_reset(s);
    return true;
}

#define F(name) (1ull << VNET_F_##name)
static const struct gh_virtio_type net_type = {
    .id = GH_VIRTIO_NET, .class_code = 0x020000, .config_bytes = VNET_CFG_BYTES, .kick = net_kick, .doorbells = true, .started = net_started,
    .stop = net_stop,
    .features = F(CSUM) | F(GUEST_CSUM) | F(MAC) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN) | F(MRG_RXBUF) | F(STATUS) | F(CTRL_VQ) |
                F(CTRL_RX) | F(CTRL_VLAN) | F(CTRL_RX_EXTRA) | F(GUEST_ANNOUNCE) | F(CTRL_MAC_ADDR),
};

static uint64_t extra_features(const struct virtio_net *s)
{
    uint64_t f = s->mtu ? F(MTU) : 0;
    if (!s->net || !s->net->can.csum)
        return f;
    return f | (s->net->can.tso4 ? F(GUEST_TSO4) : 0) | (s->net->can.tso6 ? F(GUEST_TSO6) : 0);
}

/* ---- Life ---------------------------------------------------------------------------------------------------- */

static int net_attach(struct gh_device *dev, struct gh_error *err)
{
    static const uint8_t none[6], fallback[6] = { 0x52, 0x54, 0x00, 0x47, 0x48, 0x01 };
    struct virtio_net *s = dev->state;
    if (s->mtu && s->mtu < 68)
        return gh_error_option(err, -ERANGE, "MtuTooSmall", "mtu", "An MTU of %u is not possible for \"%s\"; choose 68 to 65535.",
                               s->mtu, dev->id);
    s->flat = malloc(VNET_FRAME_MAX);
    if (!s->flat)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the network card \"%s\"; close other programs.", dev->id);
    if (!memcmp(s->mac, none, 6))
        memcpy(s->mac, s->net && memcmp(s->net->mac, none, 6) ? s->net->mac : fallback, 6);
    config_reset(s);
    virtio_net_filter_reset(s);
    if (s->net) {
        s->net->opaque = s;
        s->net->batches = true;
        s->net->receive = virtio_net_receive;
        s->net->writable = net_writable;
        s->net->link = net_link;
    }
    int r = gh_virtio_attach(dev, &s->v, &net_type, VNET_QUEUES, VNET_QUEUE_SIZE, extra_features(s), err);
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
    virtio_net_transmit_return(dev->state);
    done->fn(done);
}

static int net_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct virtio_net *s = dev->state;
    if (!virtio_net_filter_possible(s))
        return gh_error_set(err, -EINVAL, "SavedStateDamaged", "The saved state of \"%s\" has an impossible filter; discard it and "
                            "start the machine anew.", dev->id);
    uint16_t announce = gh_le16_get(s->v.config + VNET_CFG_STATUS) & VNET_ANNOUNCE;
    gh_le16_put(s->v.config + VNET_CFG_STATUS, present_status(s) | announce);
    gh_le16_put(s->v.config + VNET_CFG_PAIRS, 1);
    gh_le16_put(s->v.config + VNET_CFG_MTU, s->mtu);
    int r = gh_virtio_loaded(&s->v, err);
    if (r == 0)
        negotiate(s);
    s->announce = r == 0;                     /* the network may have moved on meanwhile */
    return r;
}

static void net_detach(struct gh_device *dev)
{
    struct virtio_net *s = dev->state;
    if (s->net && s->net->opaque == s) {
        s->net->receive = NULL;
        s->net->writable = NULL;
        s->net->link = NULL;
    }
    virtio_net_transmit_drop(s);
    gh_virtio_detach(&s->v);
    free(s->flat);
    s->flat = NULL;
}

const struct gh_device_class gh_class_virtio_net = {
    .name = "virtio-net", .summary = "Network card (virtio)", .state_size = sizeof(struct virtio_net), .version = 2,
    .options = options, .saved = fields, .attach = net_attach, .reset = net_reset, .loaded = net_loaded,
    .quiesce = net_quiesce, .detach = net_detach,
};
