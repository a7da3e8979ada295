/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * NAT for one machine: libslirp between the net wire and the host's sockets.
 *
 * The guest gets 10.0.2.15 (or the same place in another network) and fec0::/64 by DHCP and router
 * advertisement; .2 is the gateway, .3 answers DNS. What it sends to the host's loopback, in whatever
 * spelling, is dropped unless allowed. Everything here runs on the process's only thread, and counts as
 * captured: libslirp parses what guests send.
 */
#pragma once
#include <netinet/in.h>
#include <poll.h>

#include "base/error.h"
#include "engine/backend/net/frame.h"
#include "engine/backend/net/wire.h"

struct nat_config {
    struct in_addr network;                /* /24, host order 0 in the last byte */
    bool host_loopback, no_ipv6;
    const char *hostname, *tftp, *bootfile;
    const char *search[8];                 /* domains, ends with NULL */
};

struct nat;
struct nat_dns;

/* wire is borrowed for life. */
int  nat_new(const struct nat_config *cfg, struct gh_wire *wire, struct nat **ret, struct gh_error *err);
/* One record of the machine. */
void nat_take(struct nat *n, const struct gh_wire_record *record);
/* Servers as the supervisor sends them: [{"address", "port", "scope"}]. */
void nat_set_servers(struct nat *n, const void *json_list);
/* Before and after poll: appends what it waits for; *timeout_ms is shortened. */
unsigned nat_poll(struct nat *n, struct pollfd *p, unsigned max, int *timeout_ms);
void nat_run(struct nat *n, const struct pollfd *p, unsigned count, bool failed);

/* nat_dns.c: answers what guests ask .3, from the host's servers, each tried in turn. */
struct nat_dns_asker { unsigned version; uint8_t mac[6], guest[16], server[16]; uint16_t port; };
int  nat_dns_new(void (*answer)(void *opaque, const struct nat_dns_asker *to, const uint8_t *data, size_t len), void *opaque,
                 struct nat_dns **ret);
void nat_dns_servers(struct nat_dns *d, const void *json_list);
void nat_dns_ask(struct nat_dns *d, const struct nat_dns_asker *from, const uint8_t *data, size_t len);
/* The first IPv4 server on port 53, for DNS over TCP; false: none. */
bool nat_dns_tcp_server(const struct nat_dns *d, uint8_t address[4]);
unsigned nat_dns_poll(struct nat_dns *d, struct pollfd *p, unsigned max, int *timeout_ms);
void nat_dns_run(struct nat_dns *d, const struct pollfd *p, unsigned count);

/* nat_reassemble.c. A fragment; true: ret is the whole frame, valid until the next call. */
struct nat_fragments;
int  nat_fragments_new(struct nat_fragments **ret);
bool nat_fragment(struct nat_fragments *r, const struct gh_frame *f, struct gh_frame *ret);

/* nat_filter.c */
enum nat_verdict { NAT_PASS, NAT_DROP, NAT_DNS };
/* What may happen with a frame of the guest. */
enum nat_verdict nat_verdict(const struct nat_config *cfg, const struct gh_frame *f);
