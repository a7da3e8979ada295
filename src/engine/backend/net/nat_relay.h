/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Port forwards from IPv6 addresses of the host. libslirp would bring them to the guest as IPv6, where few services and
 * not every guest listen; so what comes is passed to a forward of libslirp's on a free port of 127.0.0.1, and arrives as IPv4.
 *
 * Thread: one. Peers are whoever can reach the address: connections, senders and buffers are bounded; the sender that has
 * been silent longest makes room, a connection too many waits.
 */
#pragma once
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct nat_relay;

int  nat_relay_new(struct nat_relay **ret);
/* A port of 127.0.0.1 that nobody has at the moment; 0: none. */
uint16_t nat_relay_free_port(bool udp);
/* inner: where libslirp listens on 127.0.0.1. 0 or negative errno. */
int  nat_relay_add(struct nat_relay *r, bool udp, const struct in6_addr *address, uint16_t port, uint16_t inner);
/* Connections that stand go on. Returns inner, or 0: there was none. */
uint16_t nat_relay_remove(struct nat_relay *r, bool udp, const struct in6_addr *address, uint16_t port);
/* Before and after poll: appends what it waits for; p: the same ones. */
unsigned nat_relay_poll(struct nat_relay *r, struct pollfd *p, unsigned max);
void nat_relay_run(struct nat_relay *r, const struct pollfd *p, unsigned count);
