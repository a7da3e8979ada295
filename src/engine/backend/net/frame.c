/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/net/frame.h"

#include <string.h>

#include "base/bytes.h"

static void parse4(struct gh_frame *f, uint8_t *ip, size_t left)
{
    if (left < 20 || ip[0] >> 4 != 4)
        return;
    unsigned header = (ip[0] & 15u) * 4;
    size_t total = gh_be16_get(ip + 2);
    if (header < 20 || total < header || total > left)
        return;
    uint16_t fragment = gh_be16_get(ip + 6);
    f->ip = ip;
    f->ip_len = total;
    f->version = 4;
    f->header = header;
    f->protocol = ip[9];
    f->fragment = (fragment & 0x1fff) != 0;
}

static void parse6(struct gh_frame *f, uint8_t *ip, size_t left)
{
    if (left < 40 || ip[0] >> 4 != 6)
        return;
    size_t total = 40u + gh_be16_get(ip + 4);
    if (total > left)
        return;
    f->ip = ip;
    f->ip_len = total;
    f->version = 6;
    f->header = 40;
    f->protocol = ip[6];
}

void gh_frame_parse(uint8_t *data, size_t len, struct gh_frame *ret)
{
    size_t at = GH_ETH_HEADER;

    *ret = (struct gh_frame){ .eth = data, .len = len };
    if (len < GH_ETH_HEADER)
        return;
    ret->type = gh_be16_get(data + 12);
    if (ret->type == 0x8100 && len >= GH_ETH_HEADER + 4) {
        ret->type = gh_be16_get(data + 16);
        at += 4;
    }
    if (ret->type == GH_ETH_IPV4)
        parse4(ret, data + at, len - at);
    else if (ret->type == GH_ETH_IPV6)
        parse6(ret, data + at, len - at);
    if (!ret->ip || ret->fragment)
        return;
    static const struct { uint8_t protocol, bytes; } least[] = { { GH_IP_TCP, 20 }, { GH_IP_UDP, 8 }, { GH_IP_ICMP, 8 }, { GH_IP_ICMP6, 8 } };
    for (unsigned i = 0; i < GH_ARRAY_LEN(least); i++)
        if (ret->protocol == least[i].protocol && ret->ip_len - ret->header >= least[i].bytes) {
            ret->transport = ret->ip + ret->header;
            ret->transport_len = ret->ip_len - ret->header;
        }
}

uint64_t gh_sum(const void *data, size_t len, uint64_t sum)
{
    const uint8_t *p = data;

    /* Host order throughout: a ones' complement sum only needs its bytes swapped at the end. */
    uint64_t wide = 0;
    for (; len >= 32; len -= 32, p += 32) {
        uint32_t w[8];
        memcpy(w, p, sizeof w);
        wide += (uint64_t)w[0] + w[1] + w[2] + w[3] + w[4] + w[5] + w[6] + w[7];
    }
    for (; len >= 4; len -= 4, p += 4) {
        uint32_t w;
        memcpy(&w, p, 4);
        wide += w;
    }
    if (len >= 2) {
        uint16_t w;
        memcpy(&w, p, 2);
        wide += w;
        len -= 2;
        p += 2;
    }
    if (len) {
        const uint8_t last[2] = { *p, 0 };
        uint16_t w;
        memcpy(&w, last, 2);
        wide += w;
    }
    while (wide >> 16)
        wide = (wide & 0xffff) + (wide >> 16);
    return sum + be16toh((uint16_t)wide);
}

uint16_t gh_sum_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

uint64_t gh_frame_pseudo(const struct gh_frame *f)
{
    uint64_t sum = f->version == 4 ? gh_sum(f->ip + 12, 8, 0) : gh_sum(f->ip + 8, 32, 0);
    return sum + f->protocol + (f->ip_len - f->header);
}

bool gh_frame_checksum(const struct gh_frame *f)
{
    if (!f->transport || (f->protocol != GH_IP_TCP && f->protocol != GH_IP_UDP))
        return false;
    uint8_t *field = f->transport + (f->protocol == GH_IP_TCP ? 16 : 6);
    gh_be16_put(field, 0);
    uint16_t sum = (uint16_t)~gh_sum_fold(gh_sum(f->transport, f->transport_len, gh_frame_pseudo(f)));
    gh_be16_put(field, sum || f->protocol == GH_IP_TCP ? sum : 0xffff);
    return true;
}
