/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The net wire: records on a stream socket between a machine and whatever carries its frames.
 *
 *   be32 word: bits 0-23 length, bits 24-31 kind; then that many bytes
 *     0 frame     one Ethernet frame without its checksum
 *     1 offload   struct virtio_net_hdr_v1 (12 bytes, little endian), then the frame
 *     2 control   one JSON object
 *
 * Kind 0 alone is the format of QEMU's stream netdev and of passt, so those can stand at the other
 * end. Kinds 1 and 2 are used only between programs of ours. Machine to backend:
 *   {"verb": "offload", "csum": b, "tso4": b, "tso6": b}   what may be sent to the guest from now on
 *   {"verb": "forward-add" | "forward-remove", "id": n, "protocol", "address", "host-port", "guest-port"}
 * and back {"id": n} or {"id": n, "error": {"id", "text"}}.
 *
 * Thread: one at a time. Ownership: the descriptor is the wire's. The peer is not trusted: a record
 * that is too long is -EPROTO, after which the wire is dead.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/uio.h>

enum gh_wire_kind { GH_WIRE_FRAME, GH_WIRE_OFFLOAD, GH_WIRE_CONTROL };
/* The largest: a header and what segmentation offload passes at once. */
enum { GH_WIRE_HEADER = 12, GH_WIRE_FRAME_MAX = 65536 + 64, GH_WIRE_RECORD_MAX = GH_WIRE_HEADER + GH_WIRE_FRAME_MAX };

/* virtio_net_hdr_v1, little endian (Virtual I/O Device specification 1.2, 5.1.6). */
enum { GH_VNET_FLAGS = 0, GH_VNET_GSO_TYPE = 1, GH_VNET_HDR_LEN = 2, GH_VNET_GSO_SIZE = 4, GH_VNET_CSUM_START = 6,
       GH_VNET_CSUM_OFFSET = 8, GH_VNET_BUFFERS = 10 };
enum { GH_VNET_NEEDS_CSUM = 1, GH_VNET_DATA_VALID = 2, GH_VNET_GSO_NONE = 0, GH_VNET_GSO_TCPV4 = 1, GH_VNET_GSO_TCPV6 = 4,
       GH_VNET_GSO_ECN = 0x80 };

struct gh_wire {
    int      fd;
    uint8_t *rx, *tx;
    size_t   rx_start, rx_end, tx_start, tx_end, tx_capacity;
};
struct gh_wire_record { enum gh_wire_kind kind; uint8_t *data; size_t len; };

/* fd becomes non-blocking. tx_capacity: bytes that may wait for a slow peer. 0 or -ENOMEM. */
int  gh_wire_init(struct gh_wire *w, int fd, size_t tx_capacity);
void gh_wire_fini(struct gh_wire *w);              /* closes fd; again is allowed */

/* Queues a record; false: no room, nothing was taken. Nothing is sent before flush. */
bool gh_wire_put(struct gh_wire *w, enum gh_wire_kind kind, const struct iovec *iov, unsigned count);
/* 0: everything is sent; -EAGAIN: the peer is slow, wait until fd is writable; else the peer is gone. */
int  gh_wire_flush(struct gh_wire *w);
static inline size_t gh_wire_waiting(const struct gh_wire *w) { return w->tx_end - w->tx_start; }

/* Reads what is there. >0: bytes; 0: the peer has closed; negative errno (-EAGAIN: nothing; -ENOBUFS: first
 * take records). */
int  gh_wire_fill(struct gh_wire *w);
/* 1: the next record; data stays valid until fill. 0: none complete. -EPROTO: nonsense. */
int  gh_wire_next(struct gh_wire *w, struct gh_wire_record *ret);
/* Puts the record that next returned last back. */
void gh_wire_unget(struct gh_wire *w, const struct gh_wire_record *record);
