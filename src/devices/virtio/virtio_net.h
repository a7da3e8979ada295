/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside of the virtio network card; the files virtio_net*.c share it. Names follow the Virtual I/O
 * Device specification 1.1, "Network Device". Lock: the machine lock.
 */
#pragma once
#include "devices/backend.h"
#include "devices/net/nic_rom.h"
#include "devices/net/packet.h"
#include "devices/net/vnet_header.h"
#include "devices/virtio/virtio.h"

enum { VNET_QUEUE_SIZE = 256, VNET_RECEIVE = 0, VNET_TRANSMIT = 1, VNET_CONTROL = 2, VNET_QUEUES = 3,
       VNET_FRAME_MAX = 65536 + 64, VNET_TABLE_MAX = 64, VNET_VLAN_WORDS = 128 };
enum { VNET_F_CSUM = 0, VNET_F_GUEST_CSUM = 1, VNET_F_MTU = 3, VNET_F_MAC = 5, VNET_F_GUEST_TSO4 = 7, VNET_F_GUEST_TSO6 = 8,
       VNET_F_GUEST_ECN = 9, VNET_F_HOST_TSO4 = 11, VNET_F_HOST_TSO6 = 12, VNET_F_HOST_ECN = 13, VNET_F_MRG_RXBUF = 15,
       VNET_F_STATUS = 16, VNET_F_CTRL_VQ = 17, VNET_F_CTRL_RX = 18, VNET_F_CTRL_VLAN = 19, VNET_F_CTRL_RX_EXTRA = 20,
       VNET_F_GUEST_ANNOUNCE = 21, VNET_F_CTRL_MAC_ADDR = 23 };
enum { VNET_CFG_MAC = 0, VNET_CFG_STATUS = 6, VNET_CFG_PAIRS = 8, VNET_CFG_MTU = 10, VNET_CFG_BYTES = 12, VNET_LINK_UP = 1,
       VNET_ANNOUNCE = 2 };
enum { VNET_IOV_MAX = 32 };

/* What the driver asked to receive. */
struct virtio_net_filter {
    bool     promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
    bool     unicast_overflow, multicast_overflow;       /* the table was too small: everything of the kind */
    uint8_t  unicasts, multicasts;
    uint8_t  table[VNET_TABLE_MAX * 6];                  /* unicast, then multicast addresses */
    uint32_t vlan[VNET_VLAN_WORDS];
};

/* A frame taken from the ring that the backend has not, or not wholly, taken. */
struct virtio_net_frame {
    struct gh_virtq_element *element;     /* NULL: none */
    bool     segmented;
    struct iovec iov[VNET_IOV_MAX];       /* into guest memory, or the flat buffer */
    unsigned iov_count;
    uint8_t  header[VNET_HEADER];
    struct gh_segments segments;
    unsigned next, count;
};

struct virtio_net {
    struct gh_virtio v;
    struct gh_netdev *net;
    struct gh_nic_rom rom;
    uint8_t  mac[6];                      /* as configured; the driver's own stands in the configuration space */
    uint16_t mtu;                         /* 0: not told */
    bool     link_up;
    bool     announce;                    /* after loading: with the first frame that comes */
    struct gh_net_offload offload;        /* told to the backend; any: its frames have the header */
    struct virtio_net_frame tx;
    struct virtio_net_filter filter;
    uint8_t *flat;                        /* VNET_FRAME_MAX, of tx */
    bool     in_transmit;
};

static inline bool virtio_net_header(const struct virtio_net *s) { return s->offload.csum || s->offload.tso4 || s->offload.tso6; }

/* virtio_net_tx.c */
void virtio_net_transmit(struct virtio_net *s);
void virtio_net_transmit_drop(struct virtio_net *s);     /* after a reset */
void virtio_net_transmit_return(struct virtio_net *s);   /* the frame that waits goes back into the ring */

/* virtio_net_rx.c; opaque is struct virtio_net. */
bool virtio_net_receive(void *opaque, const uint8_t *data, size_t len);

/* virtio_net_ctrl.c: the control queue and the filter it sets. */
void virtio_net_control(struct virtio_net *s);
void virtio_net_filter_reset(struct virtio_net *s);
bool virtio_net_filter_passes(struct virtio_net *s, const uint8_t *frame, size_t len);
bool virtio_net_filter_possible(const struct virtio_net *s);   /* after loading */
extern const struct gh_field virtio_net_filter_fields[];

/* virtio_net.c */
void virtio_net_set_status(struct virtio_net *s, uint16_t clear, uint16_t set);   /* and tells the driver */
