/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where a guest may send to. libslirp translates what is addressed to its gateway, but passes every
 * other address to the host's kernel as it stands, and that one knows several spellings of "this host".
 */
#include <string.h>

#include "base/bytes.h"
#include "engine/backend/net/nat.h"

static uint16_t udp_port(const struct gh_frame *f)
{
    return f->protocol == GH_IP_UDP && f->transport ? gh_be16_get(f->transport + 2) : 0;
}

static uint16_t any_port(const struct gh_frame *f)
{
    return f->transport && (f->protocol == GH_IP_UDP || f->protocol == GH_IP_TCP) ? gh_be16_get(f->transport + 2) : 0;
}

static enum nat_verdict verdict4(const struct nat_config *cfg, const struct gh_frame *f)
{
    uint32_t to = gh_be32_get(f->ip + 16), network = ntohl(cfg->network.s_addr);

    if (to == UINT32_MAX || to == (network | 0xff))
        return udp_port(f) == 67 ? NAT_PASS : NAT_DROP;
    if ((to & 0xffffff00) == network) {
        if ((to & 0xff) == 2)
            return NAT_PASS;
        return (to & 0xff) == 3 && any_port(f) == 53 ? NAT_DNS : NAT_DROP;
    }
    /* This host, this network (0/8 is this host on Linux), link-local with its metadata services, multicast. */
    if (to >> 24 == 0 || to >> 24 == 127 || to >> 16 == 0xa9fe || to >> 28 >= 0xe)
        return NAT_DROP;
    return NAT_PASS;
}

static enum nat_verdict verdict6(const struct nat_config *cfg, const struct gh_frame *f)
{
    static const uint8_t zero[16], prefix[8] = { 0xfe, 0xc0 };
    const uint8_t *to = f->ip + 24;

    if (cfg->no_ipv6)
        return NAT_DROP;
    if (to[0] == 0xff)                             /* neighbours, routers, DHCPv6 */
        return f->protocol == GH_IP_ICMP6 || udp_port(f) == 547 ? NAT_PASS : NAT_DROP;
    if (!memcmp(to, prefix, 8)) {
        if (!memcmp(to + 8, zero, 7) && to[15] == 2)
            return NAT_PASS;
        if (!memcmp(to + 8, zero, 7) && to[15] == 3)
            return udp_port(f) == 53 ? NAT_DNS : f->protocol == GH_IP_ICMP6 ? NAT_PASS : NAT_DROP;
        return f->protocol == GH_IP_ICMP6 ? NAT_PASS : NAT_DROP;
    }
    if (to[0] == 0xfe && (to[1] & 0xc0) == 0x80)   /* link-local: neighbour discovery with libslirp itself */
        return f->protocol == GH_IP_ICMP6 || udp_port(f) == 547 ? NAT_PASS : NAT_DROP;
    /* ::, ::1, and IPv4 in IPv6 in each of its forms (compatible, mapped, translated). */
    if (!memcmp(to, zero, 8))
        return NAT_DROP;
    static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };
    return memcmp(to, nat64, 12) ? NAT_PASS : NAT_DROP;
}

enum nat_verdict nat_verdict(const struct nat_config *cfg, const struct gh_frame *f)
{
    if (f->type == GH_ETH_ARP)
        return NAT_PASS;
    if (!f->ip || (f->version == 4 && (f->header != 20 || gh_be16_get(f->ip + 6) & 0x3fff)))
        return NAT_DROP;                           /* options serve nobody here; fragments were put together before */
    return f->version == 4 ? verdict4(cfg, f) : verdict6(cfg, f);
}
