/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What network cards compute about frames: Internet checksums (RFC 1071), segmentation of TCP and UDP
 * payloads, and what a received frame carries. Pure functions over memory the caller owns; any thread.
 *
 * A sum is kept in the host's byte order over 16-bit words as they lie in memory: one's complement
 * sums do not care, and the folded result is stored with memcpy.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { GH_ETH_HEADER = 14, GH_ETH_MIN = 60, GH_VLAN_TAG = 4, GH_SEGMENT_HEADER_MAX = 256 };

/* Unfolded sum of len bytes; an odd last byte counts as if a zero followed it. */
uint64_t gh_packet_sum(const void *data, size_t len);
uint16_t gh_packet_fold(uint64_t sum);
/* Stores the checksum of [start, end) at `at`; the field's present value counts, if it lies inside.
 * Impossible places (start > end, end > len, at + 2 > len) change nothing: false. */
bool gh_packet_checksum(uint8_t *frame, size_t len, size_t start, size_t end, size_t at);

/* ---- Segmentation ------------------------------------------------------------------------------------ */

struct gh_segments {
    const uint8_t *frame;                 /* headers, then payload */
    size_t   len;
    unsigned header;                      /* bytes repeated in front of every piece, at most GH_SEGMENT_HEADER_MAX */
    unsigned size;                        /* payload bytes of a segment, at least 1 */
    unsigned l3, l4;                      /* where the IP and the TCP or UDP header begin */
    bool     ipv4, tcp;                   /* otherwise IPv6, UDP */
    bool     l3_checksum, l4_checksum;    /* compute them */
    unsigned l3_end, l3_at, l4_at;        /* IP header's end, and where the checksums are */
    uint16_t seed;                        /* sum of the pseudo header without its length */
    bool     udp_lengths;                 /* UDP: the length field follows the segment */
};
/* Whether the places lie inside the header; nothing else here may be called before. */
bool gh_segments_check(const struct gh_segments *s);
unsigned gh_segments_count(const struct gh_segments *s);
/* Fills header (s->header bytes) for segment `index` and says which piece of the frame follows it. */
void gh_segments_make(const struct gh_segments *s, unsigned index, uint8_t *header, struct iovec *ret_payload);
/* Fills all from a packet of TCP with correct lengths, for segments of size bytes; false: it is none. */
bool gh_segments_from_packet(struct gh_segments *s, const uint8_t *frame, size_t len, unsigned size);
/* Sum of the addresses and the protocol of the IP header at s->l3, for the seed. */
uint16_t gh_segments_pseudo(const struct gh_segments *s);

/* ---- What a frame carries -------------------------------------------------------------------------------- */

struct gh_packet_info {
    bool     ipv4, ipv6, tcp, udp, fragment;
    unsigned l3, l4;                      /* 0: none */
    size_t   l4_bytes;                    /* by the IP header's length; inside the frame */
    bool     ip_good, l4_good, l4_checked;/* l4_checked: there is a checksum that could be computed */
};
/* Reads Ethernet (one VLAN tag at most), IPv4 or IPv6 without extension headers. verify: compute the sums. */
void gh_packet_parse(const uint8_t *frame, size_t len, bool verify, struct gh_packet_info *ret);

/* Which destination a frame has. */
static inline bool gh_packet_multicast(const uint8_t *frame) { return frame[0] & 1; }
static inline bool gh_packet_broadcast(const uint8_t *frame)
{ return (frame[0] & frame[1] & frame[2] & frame[3] & frame[4] & frame[5]) == 0xff; }
