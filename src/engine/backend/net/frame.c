/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/net/frame.h"

#include <string.h>

#include "base/bytes.h"
#include "engine/backend/net/wire.h"

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

bool gh_frame_finish(const uint8_t *header, struct gh_frame *f)
{
    bool segments = (header[GH_VNET_GSO_TYPE] & ~GH_VNET_GSO_ECN) != GH_VNET_GSO_NONE;

    if (segments && f->ip) {
        size_t payload = f->len - (size_t)(f->ip - f->eth);
        if (payload > 65535)
            return false;
        if (f->version == 4) {
            gh_be16_put(f->ip + 2, (uint16_t)payload);
            gh_be16_put(f->ip + 10, 0);
            gh_be16_put(f->ip + 10, (uint16_t)~gh_sum_fold(gh_sum(f->ip, f->header, 0)));
        } else {
            gh_be16_put(f->ip + 4, (uint16_t)(payload - 40));
        }
        gh_frame_parse(f->eth, f->len, f);
    }
    if (segments)
        return f->protocol == GH_IP_TCP && gh_frame_checksum(f);
    if (header[GH_VNET_FLAGS] & GH_VNET_NEEDS_CSUM) {
        size_t start = gh_le16_get(header + GH_VNET_CSUM_START), offset = gh_le16_get(header + GH_VNET_CSUM_OFFSET);
        if (!gh_range_in(start + offset, 2, f->len))
            return false;
        uint16_t sum = (uint16_t)~gh_sum_fold(gh_sum(f->eth + start, f->len - start, 0));
        gh_be16_put(f->eth + start + offset, sum ? sum : 0xffff);
    }
    return true;
}

void gh_frame_segment(const struct gh_frame *f, unsigned size, void (*emit)(void *opaque, const uint8_t *piece, size_t len), void *opaque)
{
    uint8_t piece[GH_ETH_HEADER + 4 + GH_ETH_MTU];

    if (!f->transport || f->protocol != GH_IP_TCP)
        return;
    unsigned tcp_header = (f->transport[12] >> 4) * 4u;
    size_t ip_at = (size_t)(f->ip - f->eth), before = (size_t)(f->transport - f->eth) + tcp_header, done = 0;
    if (tcp_header < 20 || tcp_header > f->transport_len || before >= ip_at + GH_ETH_MTU)
        return;
    size_t total = f->transport_len - tcp_header, step = ip_at + GH_ETH_MTU - before;
    if (size && size < step)
        step = size < 64 ? 64 : size;          /* no guest makes a thousand frames of one */
    uint16_t id = f->version == 4 ? gh_be16_get(f->ip + 4) : 0;
    do {
        size_t len = total - done < step ? total - done : step;
        struct gh_frame part;
        memcpy(piece, f->eth, before);
        memcpy(piece + before, f->eth + before + done, len);
        uint8_t *ip = piece + ip_at, *tcp = piece + (f->transport - f->eth);
        gh_be32_put(tcp + 4, gh_be32_get(tcp + 4) + (uint32_t)done);
        if (done + len < total)
            tcp[13] &= (uint8_t)~0x09;         /* FIN and PSH are the last one's */
        if (f->version == 4) {
            gh_be16_put(ip + 2, (uint16_t)(f->header + tcp_header + len));
            gh_be16_put(ip + 4, id++);
            gh_be16_put(ip + 10, 0);
            gh_be16_put(ip + 10, (uint16_t)~gh_sum_fold(gh_sum(ip, f->header, 0)));
        } else {
            gh_be16_put(ip + 4, (uint16_t)(tcp_header + len));
        }
        gh_frame_parse(piece, before + len, &part);
        gh_frame_checksum(&part);
        emit(opaque, piece, before + len);
        done += len;
    } while (done < total);
}
