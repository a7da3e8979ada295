/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The transmitter of the e1000. A packet is taken when its last descriptor is in the ring: its pieces
 * are copied into one buffer, so that what is checked is what is sent. Descriptors are given back when
 * the backend has taken the packet; while it is full, the packet waits here and the ring in RAM.
 *
 * Budgets bound what one register write may cost; the rest follows from the main loop.
 */
#include "devices/net/e1000.h"

enum { DESCRIPTOR_BUDGET = 512, BYTE_BUDGET = 1 << 20, SEGMENT_BUDGET = 512, LOWEST_TOTAL = 17 };

struct offload { bool ip, tu, legacy; uint8_t css, cso; };
struct budget { unsigned descriptors, segments; size_t bytes; };

static unsigned data_bytes(const uint8_t *d)
{
    return d[TXD_CMD] & TXD_CMD_DEXT ? gh_le32_get(d + TXD_LENGTH) & 0xfffff : gh_le16_get(d + TXD_LENGTH);
}

static bool is_context(const uint8_t *d)
{
    return d[TXD_CMD] & TXD_CMD_DEXT && d[TXD_DTYP] >> 4 == DTYP_CONTEXT;
}

/* ---- One packet ---------------------------------------------------------------------------------------- */

/* Fills the segmentation from the context; false: it cannot work for this packet. */
static bool plan_segments(struct e1000 *s, const struct offload *o)
{
    const uint8_t *c = s->context;
    uint8_t cmd = c[CTX_TUCMD];
    struct gh_segments *g = &s->tx.segments;
    unsigned l3_end = gh_le16_get(c + CTX_IPCSE);
    *g = (struct gh_segments){
        .frame = s->frame, .len = s->tx.len, .header = c[CTX_HDRLEN], .size = gh_le16_get(c + CTX_MSS), .l3 = c[CTX_IPCSS],
        .l4 = c[CTX_TUCSS], .ipv4 = cmd & TUCMD_IP, .tcp = cmd & TUCMD_TCP, .l3_checksum = o->ip && cmd & TUCMD_IP,
        .l4_checksum = o->tu, .l3_end = l3_end ? l3_end + 1 : c[CTX_TUCSS], .l3_at = c[CTX_IPCSO], .l4_at = c[CTX_TUCSO],
        .udp_lengths = true,
    };
    if (g->size > E1000_WIRE_MAX || !gh_segments_check(g))
        return false;
    memcpy(&g->seed, s->frame + g->l4_at, 2);   /* the driver's sum of the pseudo header, without a length */
    return true;
}

/* A backend that segments by itself gets the packet whole, with the fields that segmentation would have
 * filled. false: it cannot, or one segment is all there is. */
static bool hand_over(struct e1000 *s)
{
    struct e1000_packet *p = &s->tx;
    const struct gh_segments *g = &p->segments;
    uint8_t *ip = s->frame + g->l3, *h = p->header;
    size_t packet = g->len - g->l3;
    if (!g->tcp || !g->l4_checksum || g->l4_at != g->l4 + 16 || p->vlan || packet > UINT16_MAX || g->len - g->header <= g->size ||
        !(g->ipv4 ? s->offload.tso4 : s->offload.tso6))
        return false;
    if (g->ipv4) {
        gh_be16_put(ip + 2, (uint16_t)packet);
        if (g->l3_checksum) {
            memset(s->frame + g->l3_at, 0, 2);
            gh_packet_checksum(s->frame, g->len, g->l3, g->l3_end, g->l3_at);
        }
    } else {
        gh_be16_put(ip + 4, (uint16_t)(packet - 40));
    }
    uint16_t seed = gh_packet_fold((uint64_t)g->seed + htobe16((uint16_t)(g->len - g->l4)));
    memcpy(s->frame + g->l4_at, &seed, sizeof seed);
    h[VNET_H_FLAGS] = VNET_NEEDS_CSUM;
    h[VNET_H_GSO_TYPE] = g->ipv4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6;
    gh_le16_put(h + VNET_H_LEN, (uint16_t)g->header);
    gh_le16_put(h + VNET_H_GSO_SIZE, (uint16_t)g->size);
    gh_le16_put(h + VNET_H_CSUM_START, (uint16_t)g->l4);
    gh_le16_put(h + VNET_H_CSUM_OFFSET, 16);
    return true;
}

static void insert_checksums(struct e1000 *s, const struct offload *o)
{
    const uint8_t *c = s->context;
    size_t len = s->tx.len;
    if (o->legacy) {
        if (o->css < len)
            gh_packet_checksum(s->frame, len, o->css, len, o->cso);
        return;
    }
    unsigned ip_end = gh_le16_get(c + CTX_IPCSE), tu_end = gh_le16_get(c + CTX_TUCSE);
    if (o->ip)
        gh_packet_checksum(s->frame, len, c[CTX_IPCSS], ip_end && ip_end < len ? ip_end + 1u : len, c[CTX_IPCSO]);
    if (o->tu)
        gh_packet_checksum(s->frame, len, c[CTX_TUCSS], tu_end && tu_end < len ? tu_end + 1u : len, c[CTX_TUCSO]);
}

static void finish_packet(struct e1000 *s, const struct offload *o, bool segment)
{
    struct e1000_packet *p = &s->tx;
    p->next = 0;
    p->count = 1;
    p->segmented = false;
    memset(p->header, 0, sizeof p->header);
    if (p->len < LOWEST_TOTAL) {
        gh_guest_error(s->dev, "a frame of %zu bytes was dropped", p->len);
        p->count = 0;
    } else if (segment && p->len > s->context[CTX_HDRLEN]) {
        if (!plan_segments(s, o)) {
            gh_guest_error(s->dev, "a packet with an impossible segmentation was dropped");
            p->count = 0;
            return;
        }
        e1000_count(s, TSCTC, 1);
        p->segmented = e1000_loopback(s) || !hand_over(s);
        if (p->segmented)
            p->count = gh_segments_count(&p->segments);
    } else if (p->len > E1000_WIRE_MAX) {
        gh_guest_error(s->dev, "a frame of %zu bytes is longer than the wire takes", p->len);
        p->count = 0;
    } else {
        insert_checksums(s, o);
        if (p->len < GH_ETH_MIN && *e1000_reg(s, TCTL) & TCTL_PSP) {
            memset(s->frame + p->len, 0, GH_ETH_MIN - p->len);
            p->len = GH_ETH_MIN;
        }
    }
}

/* Takes the next packet, or the next context descriptor (a packet without pieces), from the ring.
 * false: the driver has not finished it. */
static bool take_packet(struct e1000 *s, uint32_t count, uint32_t head, uint32_t available)
{
    struct e1000_packet *p = &s->tx;
    struct offload o = { 0 };
    uint64_t base = e1000_base(s, TDBAL);
    bool first = true, broken = false, segment = false;
    p->head = head;
    p->descriptors = p->next = p->count = 0;
    p->len = 0;
    p->vlan = p->segmented = false;
    for (uint32_t i = 0; i < available; i++) {
        uint8_t d[DESCRIPTOR];
        if (i == E1000_PACKET_DESCRIPTORS) {
            gh_guest_error(s->dev, "a packet of more than %u descriptors was dropped", E1000_PACKET_DESCRIPTORS);
            p->descriptors = i;
            return true;
        }
        if (!gh_dma_read(s->dev, base + (uint64_t)((head + i) % count) * DESCRIPTOR, d, sizeof d)) {
            gh_guest_error(s->dev, "the transmit ring is not in RAM");
            p->descriptors = available < E1000_PACKET_DESCRIPTORS ? available : E1000_PACKET_DESCRIPTORS;
            memset(p->cmd, 0, sizeof p->cmd);
            return true;
        }
        uint8_t cmd = p->cmd[i] = d[TXD_CMD];
        if (is_context(d)) {
            memcpy(s->context, d, sizeof d);
            if (first) {
                p->descriptors = 1;
                return true;
            }
            continue;
        }
        size_t n = data_bytes(d);
        if (n && (n > E1000_FRAME_MAX - p->len || !gh_dma_read(s->dev, gh_le64_get(d), s->frame + p->len, n))) {
            broken = true;
            n = 0;
        }
        p->len += n;
        if (first && cmd & TXD_CMD_DEXT) {
            o.ip = d[TXD_POPTS] & TXD_POPTS_IXSM;
            o.tu = d[TXD_POPTS] & TXD_POPTS_TXSM;
            segment = cmd & TXD_CMD_TSE;
        }
        first = false;
        if (cmd & TXD_CMD_VLE && *e1000_reg(s, CTRL) & CTRL_VME) {
            p->vlan = true;
            p->tag = gh_le16_get(d + TXD_SPECIAL);
        }
        if (!(cmd & TXD_CMD_DEXT) && cmd & TXD_CMD_IC)
            o = (struct offload){ .legacy = true, .css = d[TXD_CSS], .cso = d[TXD_CSO] };
        if (cmd & TXD_CMD_EOP) {
            p->descriptors = i + 1;
            if (broken)
                gh_guest_error(s->dev, "a packet that is too long or not in RAM was dropped");
            else
                finish_packet(s, &o, segment);
            return true;
        }
    }
    return false;
}

/* ---- To the wire ------------------------------------------------------------------------------------------ */

static void count_sent(struct e1000 *s, const uint8_t *frame, size_t len)
{
    e1000_count(s, TPT, 1);
    e1000_count(s, GPTC, 1);
    e1000_count64(s, TOTL, len + 4);
    e1000_count64(s, GOTCL, len + 4);
    e1000_count_size(s, PTC64, len);
    if (gh_packet_broadcast(frame))
        e1000_count(s, BPTC, 1);
    else if (gh_packet_multicast(frame))
        e1000_count(s, MPTC, 1);
}

/* Room for the backend's header is in front. false: the backend is full. A frame for a cable that is not
 * there is gone. */
static bool put_on_wire(struct e1000 *s, struct iovec *iov, unsigned n, size_t len)
{
    const uint8_t *frame = iov[1].iov_base;
    if (e1000_loopback(s)) {
        uint8_t flat[E1000_WIRE_MAX + GH_SEGMENT_HEADER_MAX + GH_VLAN_TAG];
        struct iovec head = { flat, 0 }, none = { NULL, 0 };
        if (len > sizeof flat)
            return true;                      /* it was meant for a backend */
        for (unsigned i = 1; i < n; head.iov_len += iov[i++].iov_len)
            memcpy(flat + head.iov_len, iov[i].iov_base, iov[i].iov_len);
        e1000_receive(s, &head, &none, false);
    } else if (s->net && e1000_link_up(s)) {
        unsigned skip = s->offload.csum ? 0 : 1;
        if (!s->net->ops->send(s->net, iov + skip, n - skip))
            return false;
    }
    count_sent(s, frame, len);
    return true;
}

/* The next frame of the packet. */
static bool send_frame(struct e1000 *s)
{
    struct e1000_packet *p = &s->tx;
    uint8_t header[GH_SEGMENT_HEADER_MAX], tag[GH_VLAN_TAG];
    struct iovec part[2] = { { s->frame, p->len } }, iov[5] = { { p->header, VNET_HEADER } };
    unsigned parts = 1, n = 1;
    size_t len = 0;
    if (p->segmented) {
        gh_segments_make(&p->segments, p->next, header, &part[1]);
        part[0] = (struct iovec){ header, p->segments.header };
        parts = part[1].iov_len ? 2 : 1;
    }
    if (p->vlan && part[0].iov_len >= 12) {
        gh_be16_put(tag, (uint16_t)*e1000_reg(s, VET));
        gh_be16_put(tag + 2, p->tag);
        iov[n++] = (struct iovec){ part[0].iov_base, 12 };
        iov[n++] = (struct iovec){ tag, sizeof tag };
        part[0] = (struct iovec){ (uint8_t *)part[0].iov_base + 12, part[0].iov_len - 12 };
    }
    for (unsigned i = 0; i < parts; i++)
        if (part[i].iov_len)
            iov[n++] = part[i];
    for (unsigned i = 1; i < n; i++)
        len += iov[i].iov_len;
    gh_trace(e1000_send, "%s %zu bytes, piece %u of %u", s->dev->id, len, p->next, p->count);
    return put_on_wire(s, iov, n, len);
}

/* ---- The ring --------------------------------------------------------------------------------------------- */

/* The packet is done: status goes back where it was asked for, and the head moves. */
static void give_back(struct e1000 *s, uint32_t count)
{
    struct e1000_packet *p = &s->tx;
    uint64_t base = e1000_base(s, TDBAL);
    bool report = false, delay = true;
    for (uint32_t i = 0; i < p->descriptors; i++) {
        static const uint8_t done = TXD_STA_DD;
        if (!(p->cmd[i] & TXD_CMD_RS))
            continue;
        report = true;
        delay &= p->cmd[i] >> 7;
        gh_dma_write(s->dev, base + (uint64_t)((p->head + i) % count) * DESCRIPTOR + TXD_STA, &done, 1);
    }
    *e1000_reg(s, TDH) = (p->head + p->descriptors) % count;
    p->waiting = false;
    if (report)
        e1000_cause_tx(s, delay);
}

/* true: the packet in hand is on the wire. */
static bool send_packet(struct e1000 *s, struct budget *b)
{
    struct e1000_packet *p = &s->tx;
    while (p->next < p->count) {
        if (!b->segments || !send_frame(s))
            return false;
        p->next++;
        b->segments--;
    }
    return true;
}

static void again(struct gh_device *dev, void *arg)
{
    struct e1000 *s = dev->state;
    s->again_queued = false;
    e1000_transmit(s);
}

/* Everything up to the tail; false: something is left that only time can help. */
static bool drain(struct e1000 *s, uint32_t count, struct budget *b)
{
    struct e1000_packet *p = &s->tx;
    for (;;) {
        uint32_t head = *e1000_reg(s, TDH), tail = *e1000_reg(s, TDT);
        if (!p->waiting) {
            if (head == tail)
                return true;
            if (!b->descriptors || !b->bytes || !b->segments)
                return false;
            if (!take_packet(s, count, head, (tail + count - head) % count))
                return true;
            p->waiting = true;
            b->descriptors -= b->descriptors < p->descriptors ? b->descriptors : p->descriptors;
            b->bytes -= b->bytes < p->len ? b->bytes : p->len;
        }
        if (!send_packet(s, b))
            return b->segments;               /* full: the backend calls */
        give_back(s, count);
    }
}

void e1000_transmit(struct e1000 *s)
{
    struct budget b = { DESCRIPTOR_BUDGET, SEGMENT_BUDGET, BYTE_BUDGET };
    uint32_t count = e1000_ring(s, TDLEN), tail = *e1000_reg(s, TDT);
    if (s->in_transmit || !(*e1000_reg(s, TCTL) & TCTL_EN) || !gh_pci_bus_master(&s->pci) || !count)
        return;
    if (*e1000_reg(s, TDH) >= count || tail >= count) {
        gh_guest_error(s->dev, "the transmit ring of %u has its head at %u and its tail at %u", count, *e1000_reg(s, TDH), tail);
        return;
    }
    bool work = s->tx.waiting || *e1000_reg(s, TDH) != tail;
    s->in_transmit = true;                    /* a backend may call writable from send */
    bool done = drain(s, count, &b);
    s->in_transmit = false;
    if (s->net && s->net->ops->flush)
        s->net->ops->flush(s->net);
    if (!done && !s->again_queued) {
        s->again_queued = true;
        gh_defer(s->dev, again, NULL);
    }
    if (work && *e1000_reg(s, TDH) == *e1000_reg(s, TDT))
        e1000_cause(s, INT_TXQE);
}

void e1000_transmit_drop(struct e1000 *s)
{
    s->tx.waiting = false;
    s->tx.count = s->tx.next = s->tx.descriptors = 0;
}
