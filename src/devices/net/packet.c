/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/net/packet.h"

#include <string.h>

#include "base/bytes.h"

enum { TYPE_VLAN = 0x8100, TYPE_QINQ = 0x88a8, TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };
enum { IPV4_MIN = 20, IPV4_LENGTH = 2, IPV4_ID = 4, IPV4_FRAGMENT = 6, IPV4_PROTOCOL = 9, IPV4_CHECKSUM = 10, IPV4_ADDRESSES = 12,
       IPV6_HEADER = 40, IPV6_LENGTH = 4, IPV6_NEXT = 6, IPV6_ADDRESSES = 8 };
enum { TCP_SEQUENCE = 4, TCP_DATA_OFFSET = 12, TCP_FLAGS = 13, TCP_MIN = 20, TCP_CHECKSUM = 16, FIN = 0x01, PUSH = 0x08, CWR = 0x80,
       UDP_LENGTH = 4, UDP_CHECKSUM = 6, UDP_HEADER = 8 };

/* ---- Checksums --------------------------------------------------------------------------------------- */

uint64_t gh_packet_sum(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t a = 0, b = 0;
    for (; len >= 32; len -= 32, p += 32) {
        uint64_t v[4];
        memcpy(v, p, sizeof v);
        a += (v[0] & UINT32_MAX) + (v[0] >> 32) + (v[1] & UINT32_MAX) + (v[1] >> 32);
        b += (v[2] & UINT32_MAX) + (v[2] >> 32) + (v[3] & UINT32_MAX) + (v[3] >> 32);
    }
    a += b;
    for (; len >= 2; len -= 2, p += 2) {
        uint16_t v;
        memcpy(&v, p, sizeof v);
        a += v;
    }
    if (len) {
        const uint8_t last[2] = { *p, 0 };
        uint16_t v;
        memcpy(&v, last, sizeof v);
        a += v;
    }
    return a;
}

uint16_t gh_packet_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* 0 would say "no checksum" in UDP, and means the same as all ones elsewhere. */
static void store_sum(uint8_t *at, uint64_t sum)
{
    uint16_t value = (uint16_t)~gh_packet_fold(sum);
    if (!value)
        value = 0xffff;
    memcpy(at, &value, sizeof value);
}

bool gh_packet_checksum(uint8_t *frame, size_t len, size_t start, size_t end, size_t at)
{
    if (start > end || end > len || !gh_range_in(at, 2, len))
        return false;
    store_sum(frame + at, gh_packet_sum(frame + start, end - start));
    return true;
}

/* ---- Segmentation ------------------------------------------------------------------------------------ */

bool gh_segments_check(const struct gh_segments *s)
{
    unsigned l3_bytes = s->ipv4 ? IPV4_MIN : IPV6_HEADER, l4_bytes = s->tcp ? TCP_MIN : UDP_HEADER;
    if (s->header > GH_SEGMENT_HEADER_MAX || s->header > s->len || !s->size || !gh_range_in(s->l3, l3_bytes, s->header) ||
        !gh_range_in(s->l4, l4_bytes, s->header) || s->l4 < s->l3)
        return false;
    if (s->l3_checksum && (s->l3 > s->l3_end || s->l3_end > s->header || !gh_range_in(s->l3_at, 2, s->header)))
        return false;
    return !s->l4_checksum || gh_range_in(s->l4_at, 2, s->header);
}

unsigned gh_segments_count(const struct gh_segments *s)
{
    size_t payload = s->len - s->header;
    return payload ? (unsigned)((payload + s->size - 1) / s->size) : 1;
}

void gh_segments_make(const struct gh_segments *s, unsigned index, uint8_t *header, struct iovec *ret_payload)
{
    size_t offset = (size_t)index * s->size, left = s->len - s->header - offset, n = left < s->size ? left : s->size;
    const uint8_t *payload = s->frame + s->header + offset;
    unsigned l4_bytes = (unsigned)(s->header - s->l4 + n);
    uint8_t *l3 = header + s->l3, *l4 = header + s->l4;

    *ret_payload = (struct iovec){ .iov_base = (void *)(uintptr_t)payload, .iov_len = n };
    memcpy(header, s->frame, s->header);
    if (s->ipv4) {
        gh_be16_put(l3 + IPV4_LENGTH, (uint16_t)(s->header - s->l3 + n));
        gh_be16_put(l3 + IPV4_ID, (uint16_t)(gh_be16_get(l3 + IPV4_ID) + index));
    } else {
        gh_be16_put(l3 + IPV6_LENGTH, (uint16_t)(s->header - s->l3 - IPV6_HEADER + n));
    }
    if (s->tcp) {
        gh_be32_put(l4 + TCP_SEQUENCE, (uint32_t)(gh_be32_get(l4 + TCP_SEQUENCE) + offset));
        if (left > n)
            l4[TCP_FLAGS] &= (uint8_t)~(FIN | PUSH);
        if (index)
            l4[TCP_FLAGS] &= (uint8_t)~CWR;
    } else if (s->udp_lengths) {
        gh_be16_put(l4 + UDP_LENGTH, (uint16_t)l4_bytes);
    }
    if (s->l3_checksum) {
        memset(header + s->l3_at, 0, 2);
        gh_packet_checksum(header, s->header, s->l3, s->l3_end, s->l3_at);
    }
    if (s->l4_checksum) {
        /* The payload begins on an even place of the sum only if the header's length is even. */
        uint64_t body = gh_packet_fold(gh_packet_sum(payload, n));
        if ((s->header - s->l4) & 1)
            body = __builtin_bswap16((uint16_t)body);
        memset(header + s->l4_at, 0, 2);
        store_sum(header + s->l4_at, gh_packet_sum(l4, s->header - s->l4) + body + s->seed + htobe16((uint16_t)l4_bytes));
    }
}

uint16_t gh_segments_pseudo(const struct gh_segments *s)
{
    const uint8_t *l3 = s->frame + s->l3;
    uint64_t sum = s->ipv4 ? gh_packet_sum(l3 + IPV4_ADDRESSES, 8) : gh_packet_sum(l3 + IPV6_ADDRESSES, 32);
    return gh_packet_fold(sum + htobe16(s->tcp ? PROTOCOL_TCP : PROTOCOL_UDP));
}

/* ---- What a frame carries ---------------------------------------------------------------------------- */

bool gh_segments_from_packet(struct gh_segments *s, const uint8_t *frame, size_t len, unsigned size)
{
    struct gh_packet_info info;
    gh_packet_parse(frame, len, false, &info);
    if (!info.tcp)
        return false;
    *s = (struct gh_segments){
        .frame = frame, .len = info.l4 + info.l4_bytes, .header = info.l4 + (frame[info.l4 + TCP_DATA_OFFSET] >> 4) * 4u,
        .size = size, .l3 = info.l3, .l4 = info.l4, .ipv4 = info.ipv4, .tcp = true, .l3_checksum = info.ipv4, .l4_checksum = true,
        .l3_end = info.l4, .l3_at = info.l3 + IPV4_CHECKSUM, .l4_at = info.l4 + TCP_CHECKSUM,
    };
    if (!gh_segments_check(s))
        return false;
    s->seed = gh_segments_pseudo(s);
    return true;
}

static void parse_l4(const uint8_t *frame, const struct gh_segments *addresses, bool verify, struct gh_packet_info *ret)
{
    const uint8_t *l4 = frame + ret->l4;
    ret->tcp &= ret->l4_bytes >= TCP_MIN && !ret->fragment;
    ret->udp &= ret->l4_bytes >= UDP_HEADER && !ret->fragment;
    if (!verify || (!ret->tcp && !ret->udp))
        return;
    if (ret->udp && !gh_be16_get(l4 + UDP_CHECKSUM))
        return;                               /* the sender computed none */
    ret->l4_checked = true;
    uint64_t sum = gh_packet_sum(l4, ret->l4_bytes) + gh_segments_pseudo(addresses) + htobe16((uint16_t)ret->l4_bytes);
    ret->l4_good = gh_packet_fold(sum) == 0xffff;
}

static void parse_ipv4(const uint8_t *frame, size_t len, bool verify, struct gh_packet_info *ret)
{
    const uint8_t *ip = frame + ret->l3;
    size_t room = len - ret->l3, header, total;
    if (room < IPV4_MIN || ip[0] >> 4 != 4)
        return;
    header = (ip[0] & 15) * 4u;
    total = gh_be16_get(ip + IPV4_LENGTH);
    if (header < IPV4_MIN || header > total || total > room)
        return;
    ret->ipv4 = true;
    ret->ip_good = verify && gh_packet_fold(gh_packet_sum(ip, header)) == 0xffff;
    ret->fragment = gh_be16_get(ip + IPV4_FRAGMENT) & 0x3fff;
    ret->tcp = ip[IPV4_PROTOCOL] == PROTOCOL_TCP;
    ret->udp = ip[IPV4_PROTOCOL] == PROTOCOL_UDP;
    ret->l4 = ret->l3 + (unsigned)header;
    ret->l4_bytes = total - header;
    const struct gh_segments addresses = { .frame = frame, .l3 = ret->l3, .ipv4 = true, .tcp = ret->tcp };
    parse_l4(frame, &addresses, verify, ret);
}

static void parse_ipv6(const uint8_t *frame, size_t len, bool verify, struct gh_packet_info *ret)
{
    const uint8_t *ip = frame + ret->l3;
    size_t room = len - ret->l3;
    if (room < IPV6_HEADER || ip[0] >> 4 != 6 || gh_be16_get(ip + IPV6_LENGTH) > room - IPV6_HEADER)
        return;
    ret->ipv6 = true;
    ret->tcp = ip[IPV6_NEXT] == PROTOCOL_TCP;
    ret->udp = ip[IPV6_NEXT] == PROTOCOL_UDP;
    ret->l4 = ret->l3 + IPV6_HEADER;
    ret->l4_bytes = gh_be16_get(ip + IPV6_LENGTH);
    const struct gh_segments addresses = { .frame = frame, .l3 = ret->l3, .tcp = ret->tcp };
    parse_l4(frame, &addresses, verify, ret);
}

void gh_packet_parse(const uint8_t *frame, size_t len, bool verify, struct gh_packet_info *ret)
{
    *ret = (struct gh_packet_info){ 0 };
    if (len < GH_ETH_HEADER)
        return;
    ret->l3 = GH_ETH_HEADER;
    unsigned type = gh_be16_get(frame + 12);
    if ((type == TYPE_VLAN || type == TYPE_QINQ) && len >= GH_ETH_HEADER + GH_VLAN_TAG) {
        type = gh_be16_get(frame + 16);
        ret->l3 += GH_VLAN_TAG;
    }
    if (type == TYPE_IPV4)
        parse_ipv4(frame, len, verify, ret);
    else if (type == TYPE_IPV6)
        parse_ipv6(frame, len, verify, ret);
}
