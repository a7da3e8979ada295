/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The receiver of the e1000: filter, VLAN tag, checksums, and as many descriptors as a frame needs. A
 * frame for which the driver has no room stays with the backend. The checksum bytes of the wire, which
 * drivers cut off, are zero here.
 */
#include "devices/net/e1000.h"

enum { FCS = 4, PLAIN_MAX = 1518, TAGGED_MAX = 1522, MAC_BYTES = 6, SEGMENTS_MAX = 1024 };

struct incoming {
    struct iovec part[4];                 /* in front of a tag that is cut out, behind it, body, padding */
    size_t   bytes;                       /* of all of them */
    bool     tagged;
    uint16_t tag, checksum;
    uint8_t  status, errors;
};

/* ---- Filters ------------------------------------------------------------------------------------------- */

static bool vlan_passes(struct e1000 *s, uint16_t tag)
{
    uint32_t rctl = *e1000_reg(s, RCTL);
    if (!(rctl & RCTL_VFE))
        return true;
    if (rctl & RCTL_CFIEN && !(tag >> 12 & 1) != !(rctl & RCTL_CFI))
        return false;
    return *e1000_reg(s, VFTA + (tag >> 5 & 127) * 4) >> (tag & 31) & 1;
}

static bool multicast_hash(struct e1000 *s, const uint8_t *mac)
{
    static const uint8_t shift[] = { 4, 3, 2, 0 };
    unsigned hash = gh_le16_get(mac + 4) >> shift[*e1000_reg(s, RCTL) >> RCTL_MO_SHIFT & 3] & 0xfff;
    return *e1000_reg(s, MTA + (hash >> 5) * 4) >> (hash & 31) & 1;
}

static bool exact_match(struct e1000 *s, const uint8_t *frame)
{
    for (unsigned i = 0; i < RA_PAIRS; i++) {
        uint32_t high = *e1000_reg(s, RAH + i * 8);
        const uint8_t *mac = (high >> 16 & 3) == 1 ? frame + MAC_BYTES : frame;   /* the source may be asked for */
        if (high & RAH_AV && (high >> 16 & 3) < 2 && gh_le32_get(mac) == *e1000_reg(s, RAL + i * 8) &&
            gh_le16_get(mac + 4) == (high & 0xffff))
            return true;
    }
    return false;
}

static bool address_passes(struct e1000 *s, const uint8_t *frame, bool *ret_inexact)
{
    uint32_t rctl = *e1000_reg(s, RCTL);
    *ret_inexact = false;
    if (gh_packet_broadcast(frame) && rctl & RCTL_BAM)
        return true;
    if (exact_match(s, frame))
        return true;
    if (!gh_packet_multicast(frame))
        return rctl & RCTL_UPE;
    if (rctl & RCTL_MPE)
        return true;
    *ret_inexact = true;
    return multicast_hash(s, frame);
}

/* ---- What goes into the descriptors ------------------------------------------------------------------------ */

/* The unfinished sum of everything behind PCSS. */
static uint16_t packet_checksum(struct e1000 *s, const struct iovec *head, const struct iovec *body)
{
    size_t start = *e1000_reg(s, RXCSUM) & 0xff;
    if (start >= head->iov_len)
        return 0;
    uint16_t sum = gh_packet_fold(gh_packet_sum(body->iov_base, body->iov_len));
    if ((head->iov_len - start) & 1)
        sum = __builtin_bswap16(sum);
    return gh_packet_fold(gh_packet_sum((uint8_t *)head->iov_base + start, head->iov_len - start) + sum);
}

/* A frame in two pieces is one of ours, and valid. */
static void check_sums(struct e1000 *s, const struct iovec *head, const struct iovec *body, bool valid, struct incoming *in)
{
    uint32_t rxcsum = *e1000_reg(s, RXCSUM);
    struct gh_packet_info info;
    in->checksum = packet_checksum(s, head, body);
    if (!(rxcsum & (RXCSUM_IPOFLD | RXCSUM_TUOFLD))) {
        in->status |= RXD_IXSM;
        return;
    }
    gh_packet_parse(head->iov_base, head->iov_len, !valid, &info);
    if (valid) {
        info.ipv4 |= body->iov_len && gh_be16_get((uint8_t *)head->iov_base + 12) == 0x0800;
        info.tcp |= body->iov_len != 0;
        info.ip_good = info.l4_good = true;
        info.l4_checked = info.tcp || info.udp;
    }
    bool ip = info.ipv4 && rxcsum & RXCSUM_IPOFLD, l4 = info.l4_checked && rxcsum & RXCSUM_TUOFLD && (info.ipv4 || info.tcp);
    if (ip)
        in->status |= RXD_IPCS;
    if (ip && !info.ip_good)
        in->errors |= RXD_IPE;
    if (l4)
        in->status |= RXD_TCPCS;
    if (l4 && !info.l4_good)
        in->errors |= RXD_TCPE;
    if (!ip && !l4)
        in->status |= RXD_IXSM;
}

static uint32_t buffer_bytes(struct e1000 *s)
{
    uint32_t rctl = *e1000_reg(s, RCTL), code = rctl >> RCTL_BSIZE_SHIFT & 3;
    return rctl & RCTL_BSEX && code ? 32768u >> code : 2048u >> code;
}

static uint32_t free_descriptors(struct e1000 *s, uint32_t count)
{
    return (*e1000_reg(s, RDT) + count - *e1000_reg(s, RDH)) % count;
}

/* Copies bytes [from, from + n) of the frame as the guest sees it. */
static bool write_piece(struct e1000 *s, uint64_t gpa, const struct incoming *in, size_t from, size_t n)
{
    for (unsigned i = 0; i < GH_ARRAY_LEN(in->part) && n; i++) {
        const struct iovec *part = &in->part[i];
        if (from >= part->iov_len) {
            from -= part->iov_len;
            continue;
        }
        size_t now = part->iov_len - from < n ? part->iov_len - from : n;
        if (!gh_dma_write(s->dev, gpa, (uint8_t *)part->iov_base + from, now))
            return false;
        gpa += now;
        n -= now;
        from = 0;
    }
    return true;
}

/* Fills descriptors from the head on; there are enough. */
static void deliver(struct e1000 *s, const struct incoming *in, uint32_t count, uint32_t buffer)
{
    uint64_t base = e1000_base(s, RDBAL);
    size_t total = in->bytes, done = 0;
    uint32_t head = *e1000_reg(s, RDH);
    while (done < total) {
        uint8_t d[DESCRIPTOR];
        uint64_t at = base + (uint64_t)head * DESCRIPTOR;
        size_t n = total - done < buffer ? total - done : buffer;
        if (!gh_dma_read(s->dev, at, d, sizeof d))
            gh_guest_error(s->dev, "the receive ring is not in RAM");
        else if (gh_le64_get(d) && !write_piece(s, gh_le64_get(d), in, done, n))   /* address 0: a place holder */
            gh_guest_error(s->dev, "a receive buffer is not in RAM");
        done += n;
        gh_le16_put(d + RXD_LENGTH, (uint16_t)n);
        gh_le16_put(d + RXD_CHECKSUM, in->checksum);
        d[RXD_STATUS] = (uint8_t)(RXD_DD | in->status | (done == total ? RXD_EOP : 0));
        d[RXD_ERRORS] = done == total ? in->errors : 0;
        gh_le16_put(d + RXD_SPECIAL, in->tagged ? in->tag : 0);
        __atomic_thread_fence(__ATOMIC_RELEASE);  /* the data is there before the status says so */
        gh_dma_write(s->dev, at + RXD_LENGTH, d + RXD_LENGTH, DESCRIPTOR - RXD_LENGTH);
        head = (head + 1) % count;
    }
    *e1000_reg(s, RDH) = head;
}

/* ---- Counting ------------------------------------------------------------------------------------------------ */

static void count_received(struct e1000 *s, const uint8_t *frame, size_t len)
{
    e1000_count(s, GPRC, 1);
    e1000_count64(s, GORCL, len + FCS);
    e1000_count_size(s, PRC64, len);
    if (gh_packet_broadcast(frame))
        e1000_count(s, BPRC, 1);
    else if (gh_packet_multicast(frame))
        e1000_count(s, MPRC, 1);
}

/* true: the frame is too long for what the driver has asked for. */
static bool too_long(struct e1000 *s, size_t len, bool tagged)
{
    size_t limit = *e1000_reg(s, RCTL) & RCTL_LPE ? E1000_WIRE_MAX : tagged ? TAGGED_MAX : PLAIN_MAX;
    if (len + FCS <= limit)
        return false;
    e1000_count(s, ROC, 1);
    return true;
}

/* ---- From the wire -------------------------------------------------------------------------------------------- */

static void split(struct e1000 *s, const struct iovec *head, const struct iovec *body, bool tagged, struct incoming *in)
{
    static uint8_t zeros[GH_ETH_MIN + FCS];   /* only read */
    bool strip = tagged && *e1000_reg(s, CTRL) & CTRL_VME;
    uint8_t *frame = head->iov_base;
    size_t addresses = 2 * MAC_BYTES, fcs = *e1000_reg(s, RCTL) & RCTL_SECRC ? 0 : FCS;
    *in = (struct incoming){ .part = { *head, { 0 }, *body }, .tagged = strip };
    if (strip) {
        in->part[0].iov_len = addresses;
        in->part[1] = (struct iovec){ frame + addresses + GH_VLAN_TAG, head->iov_len - addresses - GH_VLAN_TAG };
        in->tag = gh_be16_get(frame + 14);
        in->status |= RXD_VP;
    }
    size_t bytes = in->part[0].iov_len + in->part[1].iov_len + body->iov_len;
    in->part[3] = (struct iovec){ zeros, (bytes < GH_ETH_MIN ? GH_ETH_MIN - bytes : 0) + fcs };
    in->bytes = bytes + in->part[3].iov_len;
}

static bool listening(struct e1000 *s)
{
    return *e1000_reg(s, RCTL) & RCTL_EN && (e1000_link_up(s) || e1000_loopback(s)) && gh_pci_bus_master(&s->pci);
}

bool e1000_receive(struct e1000 *s, const struct iovec *head, const struct iovec *body, bool valid)
{
    const uint8_t *frame = head->iov_base;
    size_t len = head->iov_len + body->iov_len;
    uint32_t count = e1000_ring(s, RDLEN), buffer = buffer_bytes(s);
    bool inexact;
    if (!listening(s) || head->iov_len < GH_ETH_HEADER)
        return true;                          /* nobody is there: lost, as on a wire */
    bool tagged = head->iov_len >= GH_ETH_HEADER + GH_VLAN_TAG && gh_be16_get(frame + 12) == *e1000_reg(s, VET);
    if (!count || *e1000_reg(s, RDH) >= count || *e1000_reg(s, RDT) >= count)
        return false;
    if (too_long(s, len, tagged) || (tagged && !vlan_passes(s, gh_be16_get(frame + 14))) || !address_passes(s, frame, &inexact))
        return true;
    struct incoming in;
    split(s, head, body, tagged, &in);
    uint32_t need = (uint32_t)((in.bytes + buffer - 1) / buffer), room = free_descriptors(s, count);
    gh_trace(e1000_receive, "%s %zu bytes, %u descriptors of %u", s->dev->id, len, need, room);
    if (need > room) {
        if (need < count) {
            e1000_count(s, RNBC, 1);
            return false;
        }
        e1000_count(s, MPC, 1);               /* would never fit */
        e1000_cause(s, INT_RXO);
        return true;
    }
    if (inexact)
        in.status |= RXD_PIF;
    check_sums(s, head, body, valid, &in);
    deliver(s, &in, count, buffer);
    e1000_count(s, TPR, 1);
    e1000_count64(s, TORL, len + FCS);
    count_received(s, frame, len);
    if (room - need <= count >> ((*e1000_reg(s, RCTL) >> RCTL_RDMTS_SHIFT & 3) + 1))
        *e1000_reg(s, ICR) |= INT_RXDMT0;     /* cause_rx looks at all of them */
    e1000_cause_rx(s);
    return true;
}

/* ---- From the backend ------------------------------------------------------------------------------------------ */

static bool receive_flat(struct e1000 *s, const uint8_t *frame, size_t len, bool valid)
{
    const struct iovec head = { (void *)(uintptr_t)frame, len }, none = { NULL, 0 };
    return e1000_receive(s, &head, &none, valid);
}

/* A segment larger than the wire's frames, in the pieces that it stands for. The backend offers it again
 * after the ring was full: then it goes on where it stopped. */
static bool receive_segments(struct e1000 *s, const uint8_t *frame, size_t len, unsigned size)
{
    struct gh_segments g;
    size_t known = len < sizeof s->rx_known ? len : sizeof s->rx_known;
    if (!gh_segments_from_packet(&g, frame, len, size))
        return true;
    if (s->rx_len != len || memcmp(s->rx_known, frame, known)) {
        s->rx_len = len;
        s->rx_next = 0;
        memcpy(s->rx_known, frame, known);
    }
    unsigned count = gh_segments_count(&g);
    if (count > SEGMENTS_MAX)
        return true;
    while (s->rx_next < count) {
        uint8_t header[GH_SEGMENT_HEADER_MAX];
        struct iovec head = { header, g.header }, body;
        gh_segments_make(&g, s->rx_next, header, &body);
        if (!e1000_receive(s, &head, &body, true))
            return false;
        s->rx_next++;
    }
    s->rx_len = 0;
    return true;
}

bool e1000_from_backend(struct e1000 *s, const uint8_t *data, size_t len)
{
    if (!s->offload.csum)
        return receive_flat(s, data, len, false);
    if (len < VNET_HEADER + GH_ETH_HEADER || !listening(s))
        return true;
    const uint8_t *frame = data + VNET_HEADER;
    len -= VNET_HEADER;
    if ((data[VNET_H_GSO_TYPE] & ~VNET_GSO_ECN) != VNET_GSO_NONE)
        return receive_segments(s, frame, len, gh_le16_get(data + VNET_H_GSO_SIZE));
    if (!(data[VNET_H_FLAGS] & VNET_NEEDS_CSUM))
        return receive_flat(s, frame, len, data[VNET_H_FLAGS] & VNET_DATA_VALID);
    size_t start = gh_le16_get(data + VNET_H_CSUM_START);
    if (len > E1000_WIRE_MAX)
        return true;
    memcpy(s->rx_flat, frame, len);
    bool valid = gh_packet_checksum(s->rx_flat, len, start, len, start + gh_le16_get(data + VNET_H_CSUM_OFFSET));
    return receive_flat(s, s->rx_flat, len, valid);
}

void e1000_receive_ready(struct e1000 *s)
{
    uint32_t count = e1000_ring(s, RDLEN);
    if (s->net && s->net->ops->receive_ready && *e1000_reg(s, RCTL) & RCTL_EN && count && *e1000_reg(s, RDH) < count &&
        *e1000_reg(s, RDT) < count && *e1000_reg(s, RDH) != *e1000_reg(s, RDT))
        s->net->ops->receive_ready(s->net);
}
