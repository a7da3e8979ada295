/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Looking into Ethernet frames: where the headers are, checksums, and what becomes of offloads.
 * Pure; every byte comes from a guest or a peer. Specifications: RFC 791, 793, 768, 1071, 8200.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GH_ETH_HEADER = 14, GH_ETH_IPV4 = 0x0800, GH_ETH_ARP = 0x0806, GH_ETH_IPV6 = 0x86dd, GH_ETH_MTU = 1500 };
enum { GH_IP_ICMP = 1, GH_IP_TCP = 6, GH_IP_UDP = 17, GH_IP_ICMP6 = 58 };

struct gh_frame {
    uint8_t *eth;                      /* len bytes */
    size_t   len;
    uint16_t type;                     /* Ethernet type behind at most one VLAN tag */
    uint8_t *ip;                       /* NULL: no (whole) IPv4 or IPv6 header */
    size_t   ip_len;                   /* of header and payload; inside the frame */
    unsigned version, header;          /* 4 or 6; bytes of the IP header with options */
    uint8_t  protocol;
    bool     fragment;                 /* not the first: no transport header in it */
    uint8_t *transport;                /* NULL: fragment or too short */
    size_t   transport_len;
};

/* Fills ret with what is really there. IPv6 extension headers are not followed. */
void gh_frame_parse(uint8_t *data, size_t len, struct gh_frame *ret);

/* RFC 1071 over len bytes, on top of sum; fold gives the 16 bits, not complemented. */
uint64_t gh_sum(const void *data, size_t len, uint64_t sum);
uint16_t gh_sum_fold(uint64_t sum);
/* The pseudo header of TCP or UDP over IPv4 or IPv6. */
uint64_t gh_frame_pseudo(const struct gh_frame *f);
/* Writes the transport checksum of a TCP or UDP frame anew; false: it has none. */
bool gh_frame_checksum(const struct gh_frame *f);

/* Does what a virtio-net header (wire.h) leaves to "hardware" but cutting: checksums, and the lengths in the IP
 * header of large segments. false: the header does not fit the frame. */
bool gh_frame_finish(const uint8_t *header, struct gh_frame *f);
/* Cuts a TCP frame into such that fit Ethernet, with at most size bytes of data each (0: as many as fit). */
void gh_frame_segment(const struct gh_frame *f, unsigned size, void (*emit)(void *opaque, const uint8_t *piece, size_t len), void *opaque);
