/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Packets between our processes: SOCK_SEQPACKET, one JSON object of at most 64 KiB each, with the
 * descriptors that belong to it (SCM_RIGHTS, unix(7)).
 *
 * Thread: any, one at a time per socket and direction. Ownership: send borrows the object and the
 * descriptors; a received packet owns both until they are taken out or the packet is cleared. Received
 * descriptors are close-on-exec. A packet that is too long, carries too many descriptors or is not
 * one JSON object is refused as a whole and everything in it is closed.
 */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

#define GH_PACKET_BYTES 65536u
#define GH_PACKET_FDS   240u

struct gh_packet {
    json_t  *json;
    int      fd[GH_PACKET_FDS]; /* -1 where taken */
    unsigned fd_count;
};

/* A connected pair, close-on-exec. */
int gh_packet_pair(int ret_fds[2], struct gh_error *err);
/* -EAGAIN: the peer's queue is full (non-blocking socket); -EPIPE: it is gone. No SIGPIPE. */
int gh_packet_send(int sock, const json_t *object, const int *fds, unsigned fd_count,
                   struct gh_error *err);
/* 1: packet filled in; 0: the peer closed; -EAGAIN: nothing there; other errors leave no packet. */
int gh_packet_recv(int sock, struct gh_packet *ret, struct gh_error *err);
/* Hands descriptor index out to the caller; -1 if there is none or it was taken before. */
int gh_packet_take_fd(struct gh_packet *packet, json_int_t index);
void gh_packet_clear(struct gh_packet *packet); /* closes what was not taken */

/* Refuses a peer that is not the same user; ret_pid (may be NULL) gets its process id. */
int gh_peer_check(int sock, pid_t *ret_pid, struct gh_error *err);
/* A connection of the same user to a listening socket, not blocking; -1: none, a stranger (which is logged), or an error. */
int gh_peer_accept(int listener);
