/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The machine's end of a network: a gh_netdev for the adapter's model on one side, the net wire
 * (engine/backend/net/wire.h) to a backend on the other. What belongs to the adapter whatever carries its
 * frames is done here: cable, rate limit, capture, counters, and the guest's addresses as its frames show
 * them.
 *
 * Threads: the gh_netdev side is called with the machine lock from any thread; everything else here
 * on the main thread without it. The lock guards all state. Frames are never waited for: the wire's buffer
 * and the device's rings are bounded, and each side is told when the other has room again.
 * A backend that died is a link that is down; gh_net_connect brings the next one.
 */
#pragma once
#include "engine/machine/machine.h"

struct gh_net;
struct gh_launch_net;

struct gh_net_info {
    char name[32], kind[12], mac[18];
    bool connected;                    /* the cable is plugged in */
    bool backend;                      /* somebody is at the other end */
    bool capturing;
    uint64_t limit_bits;               /* a second, each way; 0: none */
    char address[16], address6[46];    /* empty: not seen yet */
};
struct gh_net_counters { uint64_t tx_frames, tx_bytes, rx_frames, rx_bytes, dropped; };

struct gh_net_events {
    void *opaque;
    void (*changed)(void *opaque, struct gh_net *n);                /* its info */
    void (*lost)(void *opaque, struct gh_net *n);                   /* the backend went away */
    void (*trouble)(void *opaque, struct gh_net *n, const struct gh_error *err); /* a forward at start, a capture */
};

/* Takes the descriptor out of net. */
int  gh_net_new(struct gh_loop *loop, struct gh_launch_net *net, const struct gh_net_events *events, struct gh_net **ret,
                struct gh_error *err);
void gh_net_free(struct gh_net *n);
struct gh_netdev *gh_net_handle(struct gh_net *n);
/* Once the machine stands and before it runs. */
void gh_net_set_machine(struct gh_net *n, struct gh_machine *m);

/* Takes the socket of a new backend; the forwards are asked of it again. kind: what the adapter is connected to from
 * now on ("nat", "internal", "null", for which fd is -1), with the forwards
 * "PROTOCOL ADDRESS HOSTPORT GUESTPORT;" each; NULL: as before. A
 * device that has offloads can be moved only to what has them too. */
int  gh_net_connect(struct gh_net *n, const char *kind, const char *forwards, int fd, struct gh_error *err);
void gh_net_plug(struct gh_net *n, bool plugged);
void gh_net_limit(struct gh_net *n, uint64_t bits_per_second);
/* Takes an empty regular file and writes pcapng into it; -1: ends the capture. */
int  gh_net_capture(struct gh_net *n, int fd, struct gh_error *err);

struct gh_net_forward { char protocol[4], address[46]; uint16_t host_port, guest_port; };
/* The answer of the backend, later, on the main thread; or an error now, and done is not called. */
typedef void (*gh_net_forward_done)(void *opaque, const struct gh_error *err);
int  gh_net_forward_add(struct gh_net *n, const struct gh_net_forward *f, gh_net_forward_done done, void *opaque, struct gh_error *err);
int  gh_net_forward_remove(struct gh_net *n, const struct gh_net_forward *f, gh_net_forward_done done, void *opaque, struct gh_error *err);
/* Borrowed until the next change. */
const struct gh_net_forward *gh_net_forwards(struct gh_net *n, unsigned *count);

void gh_net_info(struct gh_net *n, struct gh_net_info *ret);
void gh_net_counters(struct gh_net *n, struct gh_net_counters *ret);

/* ---- net_watch.c: the guest's addresses, from its own frames (ARP, IPv4, ND, IPv6) and DHCP's answers --- */
struct gh_net_watch { uint8_t mac[6]; uint8_t v4[4], v6[16]; };
/* true: something is new. */
bool gh_net_watch_sent(struct gh_net_watch *w, const uint8_t *frame, size_t len);
bool gh_net_watch_received(struct gh_net_watch *w, const uint8_t *frame, size_t len);

/* ---- net_capture.c: pcapng (draft-ietf-opsawg-pcapng) --------------------------------------------------------- */
struct gh_net_capture { int fd; uint8_t *buffer; size_t used; uint64_t bytes; };
enum gh_net_direction { GH_NET_RECEIVED = 1, GH_NET_SENT = 2 };
/* Takes fd. */
int  gh_net_capture_open(struct gh_net_capture *c, int fd, const char *name, struct gh_error *err);
/* Into memory; a full buffer is written at once. Negative errno: the file takes no more. */
int  gh_net_capture_frame(struct gh_net_capture *c, enum gh_net_direction direction, const struct iovec *iov, unsigned count);
int  gh_net_capture_flush(struct gh_net_capture *c);
void gh_net_capture_close(struct gh_net_capture *c);
