/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Intel 82540EM, "e1000" (PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual).
 * Modelled: EEPROM, PHY and link, both descriptor rings with legacy and extended transmit descriptors,
 * checksum offload both ways, TCP segmentation, VLAN tags, receive filters, interrupt causes with their
 * throttle and delays, statistics, MAC loopback. Left out on purpose: wake-up and power management, the
 * flexible filters, the packet buffer's diagnostics, writing the EEPROM, flow control frames (the backend
 * holds frames back instead), MSI (drivers do not use it on this chip).
 */
#include "devices/net/e1000.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/classes.h"

enum { MMIO_BYTES = 0x20000, IO_BYTES = 64 };

void gh_e1000_set_rom(struct gh_device *dev, const uint8_t *data, size_t size)
{
    struct e1000 *s = dev->state;
    s->rom = (struct gh_nic_rom){ data, size };
}

/* ---- The backend's side --------------------------------------------------------------------------------- */

static bool net_receive(void *opaque, const uint8_t *frame, size_t len)
{
    return e1000_from_backend(opaque, frame, len);
}

static void net_writable(void *opaque)
{
    e1000_transmit(opaque);
}

static void net_link(void *opaque, bool up)
{
    struct e1000 *s = opaque;
    bool was = e1000_link_up(s);
    s->cable = up;
    s->rx_len = 0;
    e1000_link_update(s, was);
    e1000_transmit(s);                        /* what waited for a full backend goes or is lost */
}

/* ---- Life -------------------------------------------------------------------------------------------------- */

/* CTRL.RST: everything but the PCI configuration and the PHY. */
void e1000_reset_chip(struct e1000 *s)
{
    e1000_transmit_drop(s);
    s->rx_len = 0;
    e1000_registers_reset(s);
    e1000_irq_reset(s);
    memset(s->context, 0, sizeof s->context);
}

/* The backend may hand over large segments, and take them; both are cut up and checked here. */
static void tell_offload(struct e1000 *s)
{
    const struct gh_net_offload can = s->net && s->net->ops->set_offload ? s->net->can : (struct gh_net_offload){ 0 };
    s->offload = (struct gh_net_offload){ .csum = can.csum, .tso4 = can.csum && can.tso4, .tso6 = can.csum && can.tso6 };
    if (s->net && s->net->ops->set_offload)
        s->net->ops->set_offload(s->net, &s->offload);
}

static void e1000_reset(struct gh_device *dev, enum gh_reset why)
{
    struct e1000 *s = dev->state;
    gh_pci_reset(&s->pci);
    e1000_reset_chip(s);
    tell_offload(s);
    s->cable = s->net && s->net->link_up;
    e1000_phy_reset(s);
}

static int add_ranges(struct gh_device *dev, struct gh_error *err)
{
    const struct gh_range_desc mmio = { .name = "e1000", .space = GH_SPACE_MMIO, .size = MMIO_BYTES, .priority = 1, .disabled = true,
                                        .widths = GH_W8 | GH_W16 | GH_W32, .fn = e1000_access };
    const struct gh_range_desc io = { .name = "e1000-io", .space = GH_SPACE_PIO, .size = IO_BYTES, .disabled = true,
                                      .widths = GH_W32, .fn = e1000_access };
    int r = gh_range_add(dev, E1000_RANGE_MMIO, &mmio, err);
    return r < 0 ? r : gh_range_add(dev, E1000_RANGE_IO, &io, err);
}

static void choose_mac(struct e1000 *s)
{
    static const uint8_t none[6], fallback[6] = { 0x52, 0x54, 0x00, 0x47, 0x48, 0x02 };
    if (!memcmp(s->mac, none, 6))
        memcpy(s->mac, s->net && memcmp(s->net->mac, none, 6) ? s->net->mac : fallback, 6);
}

static int e1000_attach(struct gh_device *dev, struct gh_error *err)
{
    static const struct gh_pci_id id = { .vendor = 0x8086, .device = 0x100e, .sub_vendor = 0x8086, .sub_device = 0x001e,
                                         .revision = 2, .class_code = 0x020000 };
    struct e1000 *s = dev->state;
    s->dev = dev;
    s->frame = malloc(E1000_FRAME_MAX);
    s->rx_flat = malloc(E1000_WIRE_MAX);
    if (!s->frame || !s->rx_flat)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the network card \"%s\"; close other programs.", dev->id);
    choose_mac(s);
    int r = gh_pci_attach(dev, &s->pci, s->addr, &id, err);
    if (r == 0)
        r = add_ranges(dev, err);
    if (r == 0)
        r = gh_nic_rom_attach(dev, &s->rom, &s->pci, E1000_RANGE_ROM, err);
    if (r < 0)
        return r;
    gh_pci_pin(&s->pci, 1);
    gh_pci_bar(&s->pci, 0, GH_BAR_MEM32, MMIO_BYTES, E1000_RANGE_MMIO);
    gh_pci_bar(&s->pci, 2, GH_BAR_IO, IO_BYTES, E1000_RANGE_IO);
    e1000_eeprom_fill(s);
    e1000_link_init(s);
    e1000_irq_init(s);
    if (s->net) {
        s->net->opaque = s;
        s->net->batches = true;
        s->net->receive = net_receive;
        s->net->writable = net_writable;
        s->net->link = net_link;
    }
    return 0;
}

static void e1000_detach(struct gh_device *dev)
{
    struct e1000 *s = dev->state;
    if (s->net && s->net->opaque == s) {
        s->net->receive = NULL;
        s->net->writable = NULL;
        s->net->link = NULL;
    }
    gh_timer_disarm(&s->negotiation);
    gh_timer_disarm(&s->moderation);
    gh_pci_detach(&s->pci);
    free(s->frame);
    free(s->rx_flat);
    s->frame = s->rx_flat = NULL;
}

/* A packet that waits for the backend is still in the ring: it is taken again after loading. */
static void e1000_quiesce(struct gh_device *dev, struct gh_done *done)
{
    e1000_transmit_drop(dev->state);
    done->fn(done);
}

static void resume(struct gh_device *dev, void *arg)
{
    struct e1000 *s = dev->state;
    s->again_queued = false;
    e1000_transmit(s);
    e1000_receive_ready(s);
}

static int e1000_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct e1000 *s = dev->state;
    int r = gh_pci_loaded(&s->pci, err);
    if (r < 0)
        return r;
    if (s->ee_bits > 16 || s->ee_shift > 0x1ff || (s->ee_reading && s->ee_shift >= EEPROM_WORDS))
        return gh_error_set(err, -EINVAL, "SavedStateDamaged", "The saved state of \"%s\" holds values that the hardware cannot have; "
                            "discard it and start the machine anew.", dev->id);
    e1000_eeprom_fill(s);
    tell_offload(s);
    s->rx_len = 0;
    bool was = e1000_link_up(s);
    s->cable = s->net && s->net->link_up;
    e1000_link_update(s, was);
    if (s->negotiation_due)
        gh_timer_arm(&s->negotiation, s->negotiation_due);
    gh_pci_intx(&s->pci, s->line);
    e1000_irq_update(s);
    s->again_queued = true;
    gh_defer(dev, resume, NULL);
    return 0;
}

static const struct gh_option options[] = {
    GH_OPT(GH_T_STRING, struct e1000, addr, "addr", 0, 0, "", "PCI address (slot.function); empty: the next free one"),
    GH_OPT(GH_T_NET, struct e1000, net, "netdev", 0, 0, NULL, "Where the network card is connected"),
    GH_OPT(GH_T_BYTES, struct e1000, mac, "mac", 0, 0, NULL, "Ethernet address; not given: the connection's"),
    { 0 },
};

static const struct gh_field fields[] = {
    GH_PCI_FIELDS(struct e1000, pci, 1),
    GH_FIELD_ARRAY(GH_T_U8, struct e1000, mac, 6, 1),
    GH_FIELD_ARRAY(GH_T_U32, struct e1000, reg, REGISTERS_END / 4, 1),
    GH_FIELD_ARRAY(GH_T_U16, struct e1000, phy, PHY_REGISTERS, 1),
    GH_FIELD(GH_T_U32, struct e1000, ioaddr, 1),
    GH_FIELD(GH_T_U32, struct e1000, ee_shift, 1),
    GH_FIELD(GH_T_U8, struct e1000, ee_bits, 1),
    GH_FIELD(GH_T_BOOL, struct e1000, ee_reading, 1),
    GH_FIELD(GH_T_BOOL, struct e1000, ee_do, 1),
    GH_FIELD(GH_T_U16, struct e1000, ee_out, 1),
    GH_FIELD(GH_T_BOOL, struct e1000, cable, 1),
    GH_FIELD(GH_T_BOOL, struct e1000, negotiated, 1),
    GH_FIELD(GH_T_U64, struct e1000, negotiation_due, 1),
    GH_FIELD(GH_T_BOOL, struct e1000, line, 1),
    GH_FIELD(GH_T_U64, struct e1000, quiet_until, 1),
    GH_FIELD(GH_T_U64, struct e1000, rx_due, 1),
    GH_FIELD(GH_T_U64, struct e1000, rx_latest, 1),
    GH_FIELD(GH_T_U64, struct e1000, tx_due, 1),
    GH_FIELD(GH_T_U64, struct e1000, tx_latest, 1),
    GH_FIELD_ARRAY(GH_T_U8, struct e1000, context, DESCRIPTOR, 1),
    { 0 },
};

const struct gh_device_class gh_class_e1000 = {
    .name = "e1000", .summary = "Network card (Intel 82540EM)", .state_size = sizeof(struct e1000), .version = 1,
    .options = options, .saved = fields, .attach = e1000_attach, .reset = e1000_reset, .loaded = e1000_loaded,
    .quiesce = e1000_quiesce, .detach = e1000_detach,
};
