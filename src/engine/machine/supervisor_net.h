/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The networks of a machine as its supervisor sees them: for each a backend process, started before the
 * machine, restarted when it dies, and told which name servers the host uses now. Supervisor's thread.
 */
#pragma once
#include "base/loop.h"
#include "engine/machine/launch.h"

struct gh_supervisor_net;

/* Starts what the launch's nets need and gives them their descriptors. hand_over gets the descriptor of a
 * later backend of the net, and owns it; net says what it is, or is NULL: the same as before. fd -1: nothing carries
 * frames now. *ret may be NULL: no networks.
 * folder: where machines have theirs; internal networks meet in "networks" beside them. */
int  gh_supervisor_net_new(struct gh_loop *loop, struct gh_launch *launch, const char *folder, void (*hand_over)(void *opaque, const char *name, const struct gh_launch_net *net, int fd),
                           void *opaque, struct gh_supervisor_net **ret, struct gh_error *err);
/* Connects the net otherwise: net is what a start would have (its fd is ignored). The guest sees its cable pulled and
 * plugged in. Refused, or what cannot be started: the net stays as it was. */
int  gh_supervisor_net_change(struct gh_supervisor_net *s, const char *name, const struct gh_launch_net *net, struct gh_error *err);
/* The machine says that what carried a net's frames has gone. */
void gh_supervisor_net_lost(struct gh_supervisor_net *s, const char *name);
void gh_supervisor_net_free(struct gh_supervisor_net *s);

/* supervisor_resolv.c: follows a resolv.conf(5), through links and replacement. */
struct gh_resolv;
enum { GH_RESOLV_SERVERS = 4, GH_RESOLV_DOMAINS = 6 };
struct gh_resolv_state {
    struct { char address[46]; uint16_t port; uint32_t scope; } server[GH_RESOLV_SERVERS];
    unsigned server_count;
    char domain[GH_RESOLV_DOMAINS][256];
    unsigned domain_count;
};
/* Also "nameserver [ADDRESS]:PORT". */
void gh_resolv_parse(const char *text, struct gh_resolv_state *ret);
/* GH_RESOLV_CONF names another file than /etc/resolv.conf. changed is called when the servers are others. */
struct gh_resolv *gh_resolv_new(struct gh_loop *loop, void (*changed)(void *opaque, const struct gh_resolv_state *state), void *opaque);
const struct gh_resolv_state *gh_resolv_state(const struct gh_resolv *r);
void gh_resolv_free(struct gh_resolv *r);
