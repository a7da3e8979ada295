/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Backend handles as devices see them: block, character, network. The machine (or a test) owns
 * the objects and implements the ops. Devices call with the machine lock (or a queue's lock);
 * completions arrive with the same lock held, on the machine's side, never inside submit.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"

struct gh_block;
struct gh_char;
struct gh_netdev;

/* ---- Block --------------------------------------------------------------------------------------- */
enum gh_block_op { GH_BLOCK_READ, GH_BLOCK_WRITE, GH_BLOCK_FLUSH, GH_BLOCK_DISCARD, GH_BLOCK_ZERO };
struct gh_block_request {
    enum gh_block_op op;
    uint64_t offset, bytes;               /* bytes; a multiple of 512 */
    const struct iovec *iov; unsigned iov_count; /* sum = bytes; memory stays valid until done */
    bool fua;
    void (*done)(struct gh_block_request *req, int result); /* 0 or negative errno */
    void *opaque;
    void *backend[4];                     /* the backend's scratch */
};
struct gh_block_info {
    uint64_t bytes;                       /* 0: no medium */
    bool     read_only, removable, medium, can_discard, locked, tray_open;
    bool     hot_plug;                    /* not removable, and yet the medium may go and come */
    uint32_t logical_sector, physical_sector;
    char     serial[21], model[41];
    uint64_t medium_generation;           /* grows with each medium change */
};
struct gh_block_ops {
    void (*submit)(struct gh_block *b, struct gh_block_request *req);
    void (*info)(struct gh_block *b, struct gh_block_info *ret);
    void (*cancel_all)(struct gh_block *b);            /* requests complete with -ECANCELED or their result */
    /* Removable media: the guest ejects or loads, locks or unlocks the door. */
    int  (*eject)(struct gh_block *b, bool load);
    void (*lock)(struct gh_block *b, bool locked);
};
struct gh_block {
    const struct gh_block_ops *ops;
    char  name[32];
    /* The device's: the medium changed, or the user asks for ejection. May be NULL. */
    void (*medium_event)(void *opaque, bool eject_request);
    void *event_opaque;
};

/* ---- Character ------------------------------------------------------------------------------------- */
struct gh_char_ops {
    /* Takes what it can without blocking; returns bytes taken. */
    size_t (*write)(struct gh_char *c, const void *data, size_t len);
    /* The device can take input again after can_receive said 0. */
    void   (*receive_ready)(struct gh_char *c);
};
struct gh_char {
    const struct gh_char_ops *ops;
    /* The device's: how many bytes it can take now; input; writable again; peer open or closed. */
    size_t (*can_receive)(void *opaque);
    void   (*receive)(void *opaque, const uint8_t *data, size_t len);
    void   (*writable)(void *opaque);
    void   (*event)(void *opaque, bool open);
    void  *opaque;
};

/* ---- Network --------------------------------------------------------------------------------------- */
struct gh_net_offload { bool csum, tso4, tso6, mergeable; };
struct gh_net_ops {
    /* One Ethernet frame (with the negotiated header in front, if any). false: queue full; the
     * device keeps it and is called by writable. */
    bool (*send)(struct gh_netdev *n, const struct iovec *iov, unsigned iov_count);
    void (*receive_ready)(struct gh_netdev *n);        /* the device has room again */
    void (*set_offload)(struct gh_netdev *n, const struct gh_net_offload *offload);
    /* After a run of sends, by a device that set `batches`: what was taken leaves now. May be NULL. */
    void (*flush)(struct gh_netdev *n);
};
struct gh_netdev {
    const struct gh_net_ops *ops;
    /* The device's. receive: false: no room, keep the frame until receive_ready. */
    bool (*receive)(void *opaque, const uint8_t *frame, size_t len);
    void (*writable)(void *opaque);
    void (*link)(void *opaque, bool up);
    void *opaque;
    bool  batches;                         /* the device's: it calls flush after its sends */
    uint8_t mac[6];
    bool  link_up;
    struct gh_net_offload can;             /* what the backend is able to do */
};
