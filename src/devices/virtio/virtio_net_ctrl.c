/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The control queue. A command is a class, a number and its data; the answer is one byte. The filter it
 * sets starts open, as drivers without the control queue expect.
 *
 *   u8 class, u8 command, data... | u8 answer
 */
#include "devices/virtio/virtio_net.h"

enum { COMMAND_HEADER = 2, ANSWER_OK = 0, ANSWER_ERROR = 1, TYPE_VLAN = 0x8100 };
enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_VLAN = 2, CLASS_ANNOUNCE = 3 };
enum { RX_PROMISCUOUS = 0, RX_ALL_MULTICAST = 1, RX_ALL_UNICAST = 2, RX_NO_MULTICAST = 3, RX_NO_UNICAST = 4, RX_NO_BROADCAST = 5 };
enum { MAC_TABLE_SET = 0, MAC_ADDRESS_SET = 1, VLAN_ADD = 0, VLAN_DELETE = 1, ANNOUNCE_DONE = 0, MAC_BYTES = 6 };

const struct gh_field virtio_net_filter_fields[] = {
    GH_FIELD(GH_T_BOOL, struct virtio_net_filter, promiscuous, 2),
    GH_FIELD(GH_T_BOOL, struct virtio_net_filter, all_multicast, 2),
    GH_FIELD(GH_T_BOOL, struct virtio_net_filter, all_unicast, 2),
    GH_FIELD(GH_T_BOOL, struct virtio_net_filter, no_multicast, 2),
    GH_FIELD(GH_T_BOOL, struct virtio_net_filter, no_unicast, 2),
    GH_FIELD(GH_T_BOOL, struct virtio_net_filter, no_broadcast, 2),
    GH_FIELD(GH_T_BOOL, struct virtio_net_filter, unicast_overflow, 2),
    GH_FIELD(GH_T_BOOL, struct virtio_net_filter, multicast_overflow, 2),
    GH_FIELD(GH_T_U8, struct virtio_net_filter, unicasts, 2),
    GH_FIELD(GH_T_U8, struct virtio_net_filter, multicasts, 2),
    GH_FIELD_ARRAY(GH_T_U8, struct virtio_net_filter, table, VNET_TABLE_MAX * 6, 2),
    GH_FIELD_ARRAY(GH_T_U32, struct virtio_net_filter, vlan, VNET_VLAN_WORDS, 2),
    { 0 },
};

void virtio_net_filter_reset(struct virtio_net *s)
{
    s->filter = (struct virtio_net_filter){ .promiscuous = true };
}

bool virtio_net_filter_possible(const struct virtio_net *s)
{
    return s->filter.unicasts + s->filter.multicasts <= VNET_TABLE_MAX;
}

/* ---- The filter ------------------------------------------------------------------------------------------- */

static bool in_table(const struct virtio_net_filter *f, const uint8_t *mac, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        if (!memcmp(f->table + i * MAC_BYTES, mac, MAC_BYTES))
            return true;
    return false;
}

bool virtio_net_filter_passes(struct virtio_net *s, const uint8_t *frame, size_t len)
{
    const struct virtio_net_filter *f = &s->filter;
    if (f->promiscuous)
        return true;
    if (gh_virtio_has(&s->v, VNET_F_CTRL_VLAN) && len >= GH_ETH_HEADER + GH_VLAN_TAG && gh_be16_get(frame + 12) == TYPE_VLAN) {
        unsigned id = gh_be16_get(frame + 14) & 0xfff;
        if (!(f->vlan[id / 32] >> (id % 32) & 1))
            return false;
    }
    if (gh_packet_broadcast(frame))
        return !f->no_broadcast;
    if (gh_packet_multicast(frame))
        return !f->no_multicast && (f->all_multicast || f->multicast_overflow || in_table(f, frame, f->unicasts, f->multicasts));
    return !f->no_unicast && (f->all_unicast || f->unicast_overflow || !memcmp(frame, s->v.config + VNET_CFG_MAC, MAC_BYTES) ||
                              in_table(f, frame, 0, f->unicasts));
}

/* ---- Commands ----------------------------------------------------------------------------------------------- */

static bool set_mode(struct virtio_net *s, uint8_t command, const struct gh_virtq_element *e)
{
    struct virtio_net_filter *f = &s->filter;
    bool *const flag[] = { &f->promiscuous, &f->all_multicast, &f->all_unicast, &f->no_multicast, &f->no_unicast, &f->no_broadcast };
    unsigned needs = command <= RX_ALL_MULTICAST ? VNET_F_CTRL_RX : VNET_F_CTRL_RX_EXTRA;
    uint8_t on;
    if (command >= GH_ARRAY_LEN(flag) || !gh_virtio_has(&s->v, needs) || gh_virtq_read(e, COMMAND_HEADER, &on, 1) != 1 || on > 1)
        return false;
    *flag[command] = on;
    return true;
}

/* One list of the table: le32 how many, addresses. Returns the offset behind it, 0: it does not fit its buffers. */
static uint64_t read_list(const struct gh_virtq_element *e, uint64_t offset, uint8_t *table, unsigned room, uint8_t *ret_count,
                          bool *ret_overflow)
{
    uint8_t raw[4];
    uint64_t bytes;
    if (gh_virtq_read(e, offset, raw, sizeof raw) != sizeof raw)
        return 0;
    uint32_t count = gh_le32_get(raw);
    offset += sizeof raw;
    bytes = (uint64_t)count * MAC_BYTES;
    if (!gh_range_in(offset, bytes, e->out_bytes))
        return 0;
    *ret_overflow = count > room;
    *ret_count = (uint8_t)(*ret_overflow ? 0 : count);
    gh_virtq_read(e, offset, table, (size_t)*ret_count * MAC_BYTES);
    return offset + bytes;
}

static bool set_table(struct virtio_net *s, const struct gh_virtq_element *e)
{
    struct virtio_net_filter next = s->filter;
    memset(next.table, 0, sizeof next.table);
    uint64_t at = read_list(e, COMMAND_HEADER, next.table, VNET_TABLE_MAX, &next.unicasts, &next.unicast_overflow);
    if (!at || !read_list(e, at, next.table + next.unicasts * MAC_BYTES, VNET_TABLE_MAX - next.unicasts, &next.multicasts,
                          &next.multicast_overflow))
        return false;
    s->filter = next;
    return true;
}

static bool set_mac(struct virtio_net *s, uint8_t command, const struct gh_virtq_element *e)
{
    uint8_t mac[MAC_BYTES];
    if (command == MAC_TABLE_SET)
        return gh_virtio_has(&s->v, VNET_F_CTRL_RX) && set_table(s, e);
    if (command != MAC_ADDRESS_SET || !gh_virtio_has(&s->v, VNET_F_CTRL_MAC_ADDR) || e->out_bytes != COMMAND_HEADER + MAC_BYTES ||
        gh_virtq_read(e, COMMAND_HEADER, mac, sizeof mac) != sizeof mac)
        return false;
    memcpy(s->v.config + VNET_CFG_MAC, mac, sizeof mac);
    return true;
}

static bool set_vlan(struct virtio_net *s, uint8_t command, const struct gh_virtq_element *e)
{
    uint8_t raw[2];
    if (command > VLAN_DELETE || !gh_virtio_has(&s->v, VNET_F_CTRL_VLAN) ||
        gh_virtq_read(e, COMMAND_HEADER, raw, sizeof raw) != sizeof raw || gh_le16_get(raw) >= VNET_VLAN_WORDS * 32)
        return false;
    unsigned id = gh_le16_get(raw);
    if (command == VLAN_ADD)
        s->filter.vlan[id / 32] |= 1u << (id % 32);
    else
        s->filter.vlan[id / 32] &= ~(1u << (id % 32));
    return true;
}

static bool announced(struct virtio_net *s, uint8_t command)
{
    if (command != ANNOUNCE_DONE || !(gh_le16_get(s->v.config + VNET_CFG_STATUS) & VNET_ANNOUNCE))
        return false;
    uint16_t status = gh_le16_get(s->v.config + VNET_CFG_STATUS);
    gh_le16_put(s->v.config + VNET_CFG_STATUS, status & (uint16_t)~VNET_ANNOUNCE);
    return true;
}

static bool carry_out(struct virtio_net *s, const struct gh_virtq_element *e)
{
    uint8_t command[COMMAND_HEADER];
    if (gh_virtq_read(e, 0, command, sizeof command) != sizeof command)
        return false;
    switch (command[0]) {
    case CLASS_RX: return set_mode(s, command[1], e);
    case CLASS_MAC: return set_mac(s, command[1], e);
    case CLASS_VLAN: return set_vlan(s, command[1], e);
    case CLASS_ANNOUNCE: return announced(s, command[1]);
    default: return false;
    }
}

void virtio_net_control(struct virtio_net *s)
{
    struct gh_virtq *vq = &s->v.queue[VNET_CONTROL];
    unsigned budget = vq->size;
    struct gh_virtq_element *e;
    while (budget && (e = gh_virtq_pop(vq))) {
        uint8_t answer = ANSWER_ERROR;
        if (e->in_bytes && carry_out(s, e))
            answer = ANSWER_OK;
        else
            gh_guest_error(s->v.dev, "a control command was refused");
        gh_virtq_push(vq, e, (uint32_t)gh_virtq_write(e, 0, &answer, 1));
        budget--;
    }
    gh_virtq_signal(vq);
    if (!budget && gh_virtq_pending(vq))
        gh_virtio_again(&s->v);
}
