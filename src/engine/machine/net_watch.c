/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/net.h"

#include <string.h>

#include "base/bytes.h"

enum { ETHERNET = 14, IPV4 = 0x0800, ARP = 0x0806, IPV6 = 0x86dd };

static bool note(uint8_t *where, const uint8_t *what, size_t n)
{
    if (!memcmp(where, what, n))
        return false;
    memcpy(where, what, n);
    return true;
}

static bool usable4(const uint8_t *a) { return a[0] && a[0] != 127 && a[0] < 224; }

bool gh_net_watch_sent(struct gh_net_watch *w, const uint8_t *frame, size_t len)
{
    if (len < ETHERNET + 20 || memcmp(frame + 6, w->mac, 6))
        return false;
    const uint8_t *p = frame + ETHERNET;
    len -= ETHERNET;
    switch (gh_be16_get(frame + 12)) {
    case IPV4:
        return usable4(p + 12) && note(w->v4, p + 12, 4);
    case ARP: /* RFC 826: Ethernet, IPv4; the sender's addresses */
        return len >= 28 && gh_be32_get(p) == 0x00010800 && gh_be16_get(p + 4) == 0x0604 && !memcmp(p + 8, w->mac, 6) &&
               usable4(p + 14) && note(w->v4, p + 14, 4);
    case IPV6: /* a routable one is worth more than a link-local one; multicast and :: are none */
        if (len < 40 || p[8] == 0xff || !(p[8] | p[9]))
            return false;
        if (p[8] == 0xfe && (p[9] & 0xc0) == 0x80 && w->v6[0] && w->v6[0] != 0xfe)
            return false;
        return note(w->v6, p + 8, 16);
    }
    return false;
}

/* A DHCP acknowledgement (RFC 2131) for this adapter. */
bool gh_net_watch_received(struct gh_net_watch *w, const uint8_t *frame, size_t len)
{
    if (len < ETHERNET + 20 + 8 + 240 || gh_be16_get(frame + 12) != IPV4)
        return false;
    const uint8_t *ip = frame + ETHERNET, *end = frame + len;
    size_t header = (ip[0] & 15u) * 4;
    if (ip[9] != 17 || header < 20 || (size_t)(end - ip) < header + 8 + 240)
        return false;
    const uint8_t *udp = ip + header, *d = udp + 8;
    if (gh_be16_get(udp) != 67 || gh_be16_get(udp + 2) != 68 || d[0] != 2 || memcmp(d + 28, w->mac, 6) || gh_be32_get(d + 236) != 0x63825363)
        return false;
    for (const uint8_t *o = d + 240; o + 2 < end && *o != 255;) {
        if (!*o) {
            o++;
            continue;
        }
        if (o[0] == 53 && o[1] == 1)
            return o[2] == 5 && usable4(d + 16) && note(w->v4, d + 16, 4);
        o += 2 + o[1];
    }
    return false;
}
