/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Backends in memory for device tests: a disk, a character port, a network card's peer.
 *
 * The disk completes a request latency_ns of fake time after it was submitted, from a timer of the
 * board, never inside submit; UINT64_MAX holds requests until fake_disk_release. Embed or declare on
 * the stack, init, pass &x.block (or .chr, .net) with fake_set_backend.
 */
#pragma once
#include "fakeboard.h"

enum { FAKE_DISK_REQUESTS = 256 };

struct fake_disk {
    struct gh_block block;                /* first: ops get back to the struct */
    struct gh_board *board;
    uint8_t *data;
    struct gh_block_info info;            /* a test may change it, then call block.medium_event */
    uint64_t latency_ns;                  /* default 10 us */
    int      fail;                        /* not 0: the next requests complete with this error */
    unsigned reads, writes, flushes, others, cancelled, in_flight;
    int      ejected;                     /* eject calls: -1 never, else the last load flag */
    bool     door_locked;
    struct { struct gh_block_request *req; uint64_t due; } queue[FAKE_DISK_REQUESTS];
    struct gh_timer timer;
    struct gh_device host;                /* owns the timer */
};
void fake_disk_init(struct fake_disk *d, struct gh_board *b, uint64_t bytes);
void fake_disk_medium(struct fake_disk *d, uint64_t bytes);  /* another medium (zeroed), 0: none; tells the device */
void fake_disk_release(struct fake_disk *d);                 /* completes everything held, now */
void fake_disk_fini(struct fake_disk *d);                    /* after fake_board_free */

struct fake_char {
    struct gh_char chr;
    uint8_t  out[65536];                  /* what the device wrote */
    size_t   out_len;
    size_t   room;                        /* bytes the next writes may take; SIZE_MAX: all */
    unsigned ready_calls;                 /* receive_ready */
};
void fake_char_init(struct fake_char *c);
/* Offers input as the backend would: only as much as the device says it can take; returns how much. */
size_t fake_char_send(struct fake_char *c, const void *data, size_t len);
void fake_char_open_room(struct fake_char *c, size_t room);  /* and tells the device: writable */

struct fake_net {
    struct gh_netdev net;
    struct { uint8_t data[2048]; size_t len; } frame[64];    /* sent by the guest, the first 64 */
    unsigned frames, ready_calls;
    size_t   bytes;
    bool     full;                        /* send says false */
    struct gh_net_offload offload;
};
void fake_net_init(struct fake_net *n);
bool fake_net_send(struct fake_net *n, const void *frame, size_t len);  /* to the guest; the device's answer */
