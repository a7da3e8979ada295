/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An Ethernet switch between machines of one user: learns where addresses are, sends the rest to all.
 * Offloads pass where both ends take them; for others checksums are computed and segments cut here.
 *
 * Thread: one. Frames come from guests: a table has a fixed size, one port's full queue loses frames and
 * holds nobody else up. Group addresses are never learned.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/backend/net/wire.h"

enum { SWITCH_PORTS = 64, SWITCH_ADDRESSES = 1024, SWITCH_AGE_S = 300 };

struct switch_port { bool used, csum, tso4, tso6; };
struct switch_address { uint8_t mac[6]; uint8_t port; bool used; uint32_t seen_s; };

struct gh_switch {
    /* One record to a port; may refuse by losing it. */
    void (*send)(void *opaque, unsigned port, enum gh_wire_kind kind, const struct iovec *iov, unsigned count);
    void *opaque;
    struct switch_port port[SWITCH_PORTS];
    struct switch_address address[SWITCH_ADDRESSES];
    uint8_t *scratch;                      /* GH_WIRE_RECORD_MAX */
};

int  gh_switch_init(struct gh_switch *s, void (*send)(void *opaque, unsigned port, enum gh_wire_kind kind, const struct iovec *iov, unsigned count),
                    void *opaque);
void gh_switch_fini(struct gh_switch *s);
void gh_switch_attach(struct gh_switch *s, unsigned port);
void gh_switch_detach(struct gh_switch *s, unsigned port); /* and forgets its addresses */
/* A record that a port sent; now_s: any clock in seconds. */
void gh_switch_take(struct gh_switch *s, unsigned port, struct gh_wire_record *record, uint32_t now_s);
