/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of a machine's network share. With the machine lock held, unless said otherwise:
 *   net.c           lifetime, link, what the outside changes
 *   net_transfer.c  frames both ways
 *   net_limit.c     the rate limit
 *   net_forward.c   control records: forwards and their answers
 *   net_record.c    the running capture
 */
#pragma once
#include <jansson.h>

#include "base/loop.h"
#include "engine/backend/net/wire.h"
#include "engine/machine/net.h"

enum { GH_NET_WIRE_BYTES = 512 * 1024, GH_NET_FORWARDS = 32, GH_NET_PENDING = 40 };

struct gh_net_pending { uint32_t id; bool add; struct gh_net_forward forward; gh_net_forward_done done; void *opaque; };
struct gh_net_finished { struct gh_net_pending of; struct gh_error err; };

struct gh_net {
    struct gh_netdev dev;
    struct gh_loop *loop;
    struct gh_machine *machine;
    struct gh_net_events events;
    char name[32], kind[12], mac_text[18];
    bool ours;                         /* a backend of Gasthaus: offloads and control records */
    struct gh_wire wire;               /* fd -1: nobody there */
    struct gh_loop_source *source;
    bool plugged, held, tx_blocked, rx_stalled, rx_limited;
    struct gh_net_offload offload;
    bool header;                       /* the device's frames have one */
    uint8_t *scratch;
    /* rate limit: bytes that may pass now, each way; below zero after a large one */
    uint64_t limit_bits, refilled_ns;
    int64_t tx_tokens, rx_tokens;
    struct gh_loop_timer *rate_timer, *notify_timer, *capture_timer, *hold_timer;
    uint64_t notified_ns;
    bool notify_pending;
    struct gh_net_watch watch;
    struct gh_net_capture capture;
    struct gh_net_counters counters;
    struct gh_net_forward forward[GH_NET_FORWARDS];
    unsigned forward_count;
    struct gh_net_pending pending[GH_NET_PENDING];
    unsigned pending_count;
    uint32_t next_id;
    struct gh_net_finished finished[GH_NET_PENDING];
    unsigned finished_count;
};

/* Takes the lock; the other way round it is let go, and callbacks of others run. */
void gh_net_lock(struct gh_net *n);
void gh_net_unlock(struct gh_net *n);
/* Says soon, and not too often, that something is another. */
void gh_net_notify(struct gh_net *n);
void gh_net_set_link(struct gh_net *n);
void gh_net_disconnect(struct gh_net *n);

/* net_transfer.c */
extern const struct gh_net_ops gh_net_ops;
void gh_net_flush(struct gh_net *n);
void gh_net_put_offload(struct gh_net *n);
void gh_net_watch_wire(struct gh_net *n);
void gh_net_on_wire(void *opaque, int fd, uint32_t events);     /* without the lock */
void gh_net_resume_receive(void *opaque);                       /* without the lock */

/* net_limit.c. What a frame costs: one that stands for many has their headers too. */
int64_t gh_net_cost(const uint8_t *header, size_t len);
/* false: not now; the rate timer comes. */
bool gh_net_within(struct gh_net *n, int64_t *tokens);
void gh_net_on_rate(void *opaque);                              /* without the lock */

/* net_forward.c */
void gh_net_put_control(struct gh_net *n, json_t *o);           /* takes o */
void gh_net_take_reply(struct gh_net *n, const struct gh_wire_record *record);
int  gh_net_ask_forward(struct gh_net *n, bool add, const struct gh_net_forward *f, gh_net_forward_done done, void *opaque, struct gh_error *err);

/* net_record.c */
void gh_net_capture_one(struct gh_net *n, enum gh_net_direction direction, const uint8_t *frame, size_t len);
void gh_net_on_capture(void *opaque);                           /* without the lock */
