/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * IPv4 fragments of guests become whole packets here (RFC 791, RFC 815), strictly: no overlap, no change of mind
 * about the length, a fixed number at once. libslirp, whose own reassembly writes where it should not, never
 * sees a fragment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "engine/backend/net/nat.h"

enum { SLOTS = 8, HEADERS = GH_ETH_HEADER + 20, DATA_MAX = 65535 - 20, UNITS = 8192 };
#define LIFE_NS 5000000000ull

struct slot {
    uint64_t born_ns;                      /* 0: free */
    uint8_t  key[11];                      /* source, destination, id, protocol */
    size_t   have, total;                  /* total 0: the last one has not come */
    uint8_t  unit[UNITS / 8];              /* one bit for eight bytes */
    uint8_t  frame[HEADERS + DATA_MAX];
};
struct nat_fragments { struct slot slot[SLOTS]; };

int nat_fragments_new(struct nat_fragments **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

static struct slot *slot_for(struct nat_fragments *r, const uint8_t key[11])
{
    uint64_t now = gh_loop_now_ns();
    struct slot *oldest = &r->slot[0];

    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *s = &r->slot[i];
        if (s->born_ns && now - s->born_ns > LIFE_NS)
            s->born_ns = 0;
        if (s->born_ns && !memcmp(s->key, key, 11))
            return s;
        if (s->born_ns < oldest->born_ns)
            oldest = s;
    }
    memset(oldest, 0, offsetof(struct slot, frame));
    oldest->born_ns = now;
    memcpy(oldest->key, key, 11);
    return oldest;
}

bool nat_fragment(struct nat_fragments *r, const struct gh_frame *f, struct gh_frame *ret)
{
    uint16_t word = gh_be16_get(f->ip + 6);
    size_t at = (word & 0x1fff) * 8u, len = f->ip_len - f->header;
    bool more = word & 0x2000;
    uint8_t key[11];

    if (f->header != 20 || !len || at + len > DATA_MAX || (more && len % 8) || (size_t)(f->ip - f->eth) != GH_ETH_HEADER)
        return false;
    memcpy(key, f->ip + 12, 8);
    memcpy(key + 8, f->ip + 4, 2);
    key[10] = f->ip[9];
    struct slot *s = slot_for(r, key);
    size_t first = at / 8, units = (len + 7) / 8;
    bool bad = (s->total && (at + len > s->total || !more)) || (!more && s->have > at);
    for (size_t u = first; u < first + units && !bad; u++) {
        bad = s->unit[u / 8] & (1u << (u % 8));
        s->unit[u / 8] |= (uint8_t)(1u << (u % 8));
    }
    if (bad) {
        s->born_ns = 0;
        return false;
    }
    memcpy(s->frame + HEADERS + at, f->ip + 20, len);
    if (!at)
        memcpy(s->frame, f->eth, HEADERS);
    if (!more)
        s->total = at + len;
    s->have += len;
    if (!s->total || s->have != s->total || !(s->unit[0] & 1))
        return false;
    s->born_ns = 0;
    uint8_t *ip = s->frame + GH_ETH_HEADER;
    gh_be16_put(ip + 2, (uint16_t)(20 + s->total));
    gh_be16_put(ip + 6, 0);
    gh_be16_put(ip + 10, 0);
    gh_be16_put(ip + 10, (uint16_t)~gh_sum_fold(gh_sum(ip, 20, 0)));
    gh_frame_parse(s->frame, HEADERS + s->total, ret);
    return ret->ip != NULL;
}
