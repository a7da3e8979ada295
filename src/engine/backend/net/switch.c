/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/net/switch.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/backend/net/frame.h"

enum { PROBES = 8 };

int gh_switch_init(struct gh_switch *s, void (*send)(void *opaque, unsigned port, enum gh_wire_kind kind, const struct iovec *iov, unsigned count),
                   void *opaque)
{
    memset(s, 0, sizeof *s);
    s->send = send;
    s->opaque = opaque;
    s->scratch = malloc(GH_WIRE_RECORD_MAX);
    return s->scratch ? 0 : -ENOMEM;
}

void gh_switch_fini(struct gh_switch *s)
{
    free(s->scratch);
    s->scratch = NULL;
}

void gh_switch_attach(struct gh_switch *s, unsigned port) { s->port[port] = (struct switch_port){ .used = true }; }

void gh_switch_detach(struct gh_switch *s, unsigned port)
{
    s->port[port].used = false;
    for (unsigned i = 0; i < SWITCH_ADDRESSES; i++)
        if (s->address[i].port == port)
            s->address[i].used = false;
}

/* ---- Addresses: open addressing, a few probes, the oldest makes room ------------------------------------ */
static unsigned hash(const uint8_t *mac)
{
    uint64_t v = 0;

    memcpy(&v, mac, 6);
    return (unsigned)((v * 0x9e3779b97f4a7c15u) >> 40) % SWITCH_ADDRESSES;
}

static struct switch_address *find(struct gh_switch *s, const uint8_t *mac)
{
    unsigned at = hash(mac);

    for (unsigned i = 0; i < PROBES; i++) {
        struct switch_address *a = &s->address[(at + i) % SWITCH_ADDRESSES];
        if (a->used && !memcmp(a->mac, mac, 6))
            return a;
    }
    return NULL;
}

static void learn(struct gh_switch *s, const uint8_t *mac, unsigned port, uint32_t now_s)
{
    struct switch_address *a = mac[0] & 1 ? NULL : find(s, mac), *oldest = NULL;

    if (mac[0] & 1)
        return;
    for (unsigned i = 0; !a && i < PROBES; i++) {
        struct switch_address *k = &s->address[(hash(mac) + i) % SWITCH_ADDRESSES];
        if (!k->used) {
            oldest = k;
            break;
        }
        if (!oldest || now_s - k->seen_s > now_s - oldest->seen_s)
            oldest = k;
    }
    if (!a) {
        a = oldest;
        memcpy(a->mac, mac, 6);
        a->used = true;
    }
    a->port = (uint8_t)port;
    a->seen_s = now_s;
}

/* ---- One frame to one port -------------------------------------------------------------------------------- */
struct cutting { struct gh_switch *s; unsigned port; };

static void send_piece(void *opaque, const uint8_t *piece, size_t len)
{
    struct cutting *c = opaque;
    struct iovec iov = { (void *)(uintptr_t)piece, len };

    c->s->send(c->s->opaque, c->port, GH_WIRE_FRAME, &iov, 1);
}

static void send_to(struct gh_switch *s, unsigned port, const struct gh_wire_record *record)
{
    const struct switch_port *p = &s->port[port];
    struct iovec whole = { record->data, record->len };
    uint8_t *header = record->data, *data = s->scratch;

    if (record->kind == GH_WIRE_FRAME) {
        s->send(s->opaque, port, GH_WIRE_FRAME, &whole, 1);
        return;
    }
    unsigned gso = header[GH_VNET_GSO_TYPE] & ~GH_VNET_GSO_ECN;
    if (p->csum && (gso == GH_VNET_GSO_NONE || (gso == GH_VNET_GSO_TCPV4 && p->tso4) || (gso == GH_VNET_GSO_TCPV6 && p->tso6))) {
        s->send(s->opaque, port, GH_WIRE_OFFLOAD, &whole, 1);
        return;
    }
    /* A copy: other ports may take it as it is. */
    struct gh_frame f;
    size_t len = record->len - GH_WIRE_HEADER;
    memcpy(data, header + GH_WIRE_HEADER, len);
    gh_frame_parse(data, len, &f);
    if (!gh_frame_finish(header, &f))
        return;
    struct cutting c = { s, port };
    if (gso == GH_VNET_GSO_NONE)
        send_piece(&c, data, len);
    else
        gh_frame_segment(&f, gh_le16_get(header + GH_VNET_GSO_SIZE), send_piece, &c);
}

static void take_control(struct gh_switch *s, unsigned port, const struct gh_wire_record *record)
{
    json_t *o = json_loadb((const char *)record->data, record->len, 0, NULL);
    const char *verb = json_string_value(json_object_get(o, "verb"));
    struct switch_port *p = &s->port[port];

    if (verb && !strcmp(verb, "offload")) {
        p->csum = json_is_true(json_object_get(o, "csum"));
        p->tso4 = p->csum && json_is_true(json_object_get(o, "tso4"));
        p->tso6 = p->csum && json_is_true(json_object_get(o, "tso6"));
    }
    json_decref(o);
}

void gh_switch_take(struct gh_switch *s, unsigned port, struct gh_wire_record *record, uint32_t now_s)
{
    size_t skip = record->kind == GH_WIRE_OFFLOAD ? GH_WIRE_HEADER : 0;

    if (record->kind == GH_WIRE_CONTROL) {
        take_control(s, port, record);
        return;
    }
    if (record->len < skip + GH_ETH_HEADER)
        return;
    const uint8_t *frame = record->data + skip;
    learn(s, frame + 6, port, now_s);
    const struct switch_address *to = frame[0] & 1 ? NULL : find(s, frame);
    if (to && now_s - to->seen_s <= SWITCH_AGE_S) {
        if (to->port != port)
            send_to(s, to->port, record);
        return;
    }
    for (unsigned i = 0; i < SWITCH_PORTS; i++)
        if (s->port[i].used && i != port)
            send_to(s, i, record);
}
