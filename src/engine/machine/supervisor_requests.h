/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a supervisor does itself when it is asked, by the socket "supervisor" in the machine's folder: SOCK_SEQPACKET, one
 * request a packet, {"verb": ..., ...}, one reply, {"ok": {}} or {"error": {"id", "text", "option"}}. The machine cannot reach it:
 * a captured machine must not choose its own network.
 *
 *   {"verb": "net-connect", "adapter": "net0", "net": "..."}   connects a network adapter as --net says it
 *
 * Supervisor's thread. Only processes of the same user are heard.
 */
#pragma once
#include "base/loop.h"
#include "engine/machine/supervisor_net.h"

struct gh_requests;

/* listen_fd stays the caller's. net may be NULL: a machine without adapters. */
int  gh_requests_new(struct gh_loop *loop, int listen_fd, struct gh_supervisor_net *net, struct gh_requests **ret, struct gh_error *err);
void gh_requests_free(struct gh_requests *r);
