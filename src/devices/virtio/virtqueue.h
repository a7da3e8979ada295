/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Split virtqueues, device side (Virtual I/O Device specification 1.1, "Split Virtqueues"), with
 * indirect descriptors and event index.
 *
 * Everything in guest memory is hostile: each descriptor is copied once before it is looked at, a chain
 * is never longer than the queue, one level of indirection, lengths add up below 4 GiB, and buffers are
 * RAM. Whatever is wrong makes the whole device need a reset (gh_virtio_fail) and pop answer NULL.
 *
 * Lock: the machine lock, or the queue's own once a device has workers. Ownership: pop returns an
 * element that the device gives back with push or drop; until then its buffers stay mapped.
 */
#pragma once
#include <sys/uio.h>

#include "devices/device.h"

struct gh_virtio;

enum { GH_VIRTQ_SIZE_MAX = 256, GH_VIRTQ_PIECES_MAX = 1024 /* mapped pieces of one chain */ };

struct gh_virtq {
    struct gh_virtio *virtio;
    uint16_t index;
    uint16_t size, size_max;
    bool     enabled;
    uint16_t vector;                      /* MSI-X, 0xffff: none */
    uint64_t desc, driver, device;        /* addresses of the three parts */
    uint16_t last_avail, used;            /* positions, modulo 2^16 */
    uint16_t signalled;                   /* used position of the last interrupt decision */
    bool     signalled_valid;             /* not after a state was loaded: then better once too often */
    unsigned in_flight;                   /* popped and neither pushed nor dropped */
};

struct gh_virtq_element {
    struct gh_virtq *vq;
    uint16_t head;
    unsigned out_count, in_count, piece_count;
    uint64_t out_bytes, in_bytes;         /* device reads, device writes */
    struct iovec *out, *in;               /* iov: first all out, then all in */
    struct gh_dma *piece;
    void *opaque;                         /* the device's */
    struct iovec iov[];
};

/* The next chain, or NULL: none, or the queue is not usable. */
struct gh_virtq_element *gh_virtq_pop(struct gh_virtq *vq);
/* Unmaps, frees, and tells the driver that written bytes of the in part are valid. */
void gh_virtq_push(struct gh_virtq *vq, struct gh_virtq_element *e, uint32_t written);
/* The same for chains that belong together (merged receive buffers): the driver sees all at once. */
void gh_virtq_push_all(struct gh_virtq *vq, struct gh_virtq_element *const *e, const uint32_t *written, unsigned count);
/* Unmaps and frees without telling: after a reset. */
void gh_virtq_drop(struct gh_virtq_element *e);
/* Gives the last popped chain back to the ring, to be popped again (nothing was consumed). */
void gh_virtq_unpop(struct gh_virtq *vq, struct gh_virtq_element *e);
/* Interrupts the driver if it asked to be told about what was pushed since the last call. */
void gh_virtq_signal(struct gh_virtq *vq);
/* Are there chains to pop? Arms the driver's notification if not. */
bool gh_virtq_pending(struct gh_virtq *vq);

/* Copies between a flat buffer and the element's parts; return how many bytes there were. */
size_t gh_virtq_read(const struct gh_virtq_element *e, uint64_t offset, void *to, size_t len);
size_t gh_virtq_write(const struct gh_virtq_element *e, uint64_t offset, const void *from, size_t len);

/* Are the parts aligned and without wrapping around? */
bool gh_virtq_placed(const struct gh_virtq *vq);
void gh_virtq_reset(struct gh_virtq *vq);
extern const struct gh_field gh_virtq_fields[];
