/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The receiver of the e1000: filter, VLAN tag, checksums, and as many descriptors as a frame needs. A
 * frame for which the driver has no room stays with the backend. The checksum bytes of the wire, which
 * drivers cut off, are zero here.
 */
#include "devices/net/e1000.h"

enum { FCS = 4, PLAIN_MAX = 1518, TAGGED_MAX = 1522, MAC_BYTES = 6 };

struct incoming {
    const uint8_t *head, *body;           /* body follows head; head is in front of a tag that was cut out */
    size_t   head_bytes, body_bytes, pad;
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

static void check_sums(struct e1000 *s, const uint8_t *frame, size_t len, struct incoming *in)
{
    uint32_t rxcsum = *e1000_reg(s, RXCSUM), start = rxcsum & 0xff;
    struct gh_packet_info info;
    in->checksum = start < len ? gh_packet_fold(gh_packet_sum(frame + start, len - start)) : 0;
    if (!(rxcsum & (RXCSUM_IPOFLD | RXCSUM_TUOFLD))) {
        in->status |= RXD_IXSM;
        return;
    }
    gh_packet_parse(frame, len, true, &info);
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
    static const uint8_t zeros[GH_ETH_MIN + FCS];
    const struct { const uint8_t *data; size_t bytes; } part[] = {
        { in->head, in->head_bytes }, { in->body, in->body_bytes }, { zeros, in->pad },
    };
    for (unsigned i = 0; i < GH_ARRAY_LEN(part) && n; i++) {
        if (from >= part[i].bytes) {
            from -= part[i].bytes;
            continue;
        }
        size_t now = part[i].bytes - from < n ? part[i].bytes - from : n;
        if (!gh_dma_write(s->dev, gpa, part[i].data + from, now))
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
    size_t total = in->head_bytes + in->body_bytes + in->pad, done = 0;
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

static void split(struct e1000 *s, const uint8_t *frame, size_t len, bool tagged, struct incoming *in)
{
    bool strip = tagged && *e1000_reg(s, CTRL) & CTRL_VME;
    size_t fcs = *e1000_reg(s, RCTL) & RCTL_SECRC ? 0 : FCS;
    *in = (struct incoming){ .head = frame, .head_bytes = strip ? 2 * MAC_BYTES : len, .tagged = strip };
    if (strip) {
        in->body = frame + 2 * MAC_BYTES + GH_VLAN_TAG;
        in->body_bytes = len - 2 * MAC_BYTES - GH_VLAN_TAG;
        in->tag = gh_be16_get(frame + 14);
        in->status |= RXD_VP;
    }
    size_t bytes = in->head_bytes + in->body_bytes;
    in->pad = (bytes < GH_ETH_MIN ? GH_ETH_MIN - bytes : 0) + fcs;
}

bool e1000_receive(struct e1000 *s, const uint8_t *frame, size_t len)
{
    uint32_t count = e1000_ring(s, RDLEN), buffer = buffer_bytes(s);
    bool inexact;
    if (!(*e1000_reg(s, RCTL) & RCTL_EN) || !(e1000_link_up(s) || e1000_loopback(s)) || !gh_pci_bus_master(&s->pci) || len < GH_ETH_HEADER)
        return true;                          /* nobody listens: lost, as on a wire */
    bool tagged = len >= GH_ETH_HEADER + GH_VLAN_TAG && gh_be16_get(frame + 12) == *e1000_reg(s, VET);
    if (!count || *e1000_reg(s, RDH) >= count || *e1000_reg(s, RDT) >= count)
        return false;
    struct incoming in;
    split(s, frame, len, tagged, &in);
    if (too_long(s, len, tagged) || (tagged && !vlan_passes(s, gh_be16_get(frame + 14))) || !address_passes(s, frame, &inexact))
        return true;
    size_t total = in.head_bytes + in.body_bytes + in.pad;
    uint32_t need = (uint32_t)((total + buffer - 1) / buffer), room = free_descriptors(s, count);
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
    check_sums(s, frame, len, &in);
    deliver(s, &in, count, buffer);
    e1000_count(s, TPR, 1);
    e1000_count64(s, TORL, len + FCS);
    count_received(s, frame, len);
    if (room - need <= count >> ((*e1000_reg(s, RCTL) >> RCTL_RDMTS_SHIFT & 3) + 1))
        *e1000_reg(s, ICR) |= INT_RXDMT0;     /* cause_rx looks at all of them */
    e1000_cause_rx(s);
    return true;
}

void e1000_receive_ready(struct e1000 *s)
{
    uint32_t count = e1000_ring(s, RDLEN);
    if (s->net && s->net->ops->receive_ready && *e1000_reg(s, RCTL) & RCTL_EN && count && *e1000_reg(s, RDH) < count &&
        *e1000_reg(s, RDT) < count && *e1000_reg(s, RDH) != *e1000_reg(s, RDT))
        s->net->ops->receive_ready(s->net);
}
