/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside of the Gigabit Ethernet controller 82540EM; the files e1000*.c share it.
 * Lock: the machine lock for everything.
 */
#pragma once
#include "devices/backend.h"
#include "devices/chipset/pci.h"
#include "devices/net/e1000_regs.h"
#include "devices/net/nic_rom.h"
#include "devices/net/packet.h"
#include "devices/net/vnet_header.h"

enum { E1000_RANGE_MMIO, E1000_RANGE_IO, E1000_RANGE_ROM };
/* The longest frame with segmentation (IP's limit and the headers), and on the wire. */
enum { E1000_FRAME_MAX = 65536 + 512, E1000_WIRE_MAX = 16384, E1000_PACKET_DESCRIPTORS = 256, EEPROM_WORDS = 64 };

/* A packet that was taken from the ring and is not, or not wholly, on the wire yet. */
struct e1000_packet {
    bool     waiting;
    uint32_t head, descriptors;           /* what is given back when it is sent */
    uint8_t  cmd[E1000_PACKET_DESCRIPTORS];
    bool     vlan, segmented;
    uint16_t tag;
    uint8_t  header[VNET_HEADER];         /* for a backend that segments by itself */
    size_t   len;
    struct gh_segments segments;
    unsigned next, count;                 /* segments */
};

struct e1000 {
    struct gh_device *dev;
    struct gh_pci pci;
    struct gh_netdev *net;
    struct gh_nic_rom rom;
    char     addr[8];
    uint8_t  mac[6];

    uint32_t reg[REGISTERS_END / 4];      /* plain registers by offset; see e1000_access.c for those that are not */
    uint16_t phy[PHY_REGISTERS];
    uint16_t eeprom[EEPROM_WORDS];
    uint32_t ioaddr;

    /* The serial EEPROM interface (Microwire). */
    uint32_t ee_shift;
    uint8_t  ee_bits;                     /* clocks since chip select */
    bool     ee_reading, ee_do;
    uint16_t ee_out;

    struct gh_net_offload offload;        /* told to the backend; csum: its frames have a header */

    bool     cable;                       /* what the backend says */
    bool     negotiated;                  /* auto-negotiation is done */
    struct gh_timer negotiation;
    uint64_t negotiation_due;             /* machine time, 0: not running */

    /* Interrupts. quiet_until: ITR; *_due, *_latest: the delay timers, 0: not running. */
    bool     line;
    uint64_t quiet_until, rx_due, rx_latest, tx_due, tx_latest;
    struct gh_timer moderation;

    uint8_t  context[DESCRIPTOR];         /* the last context descriptor */
    struct e1000_packet tx;
    uint8_t *frame;                       /* E1000_FRAME_MAX; of tx */
    bool     again_queued, in_transmit;

    /* A large segment from the backend that is delivered in pieces; the ring may fill up in between. */
    uint8_t  rx_known[64];                /* its first bytes */
    size_t   rx_len;                      /* 0: none */
    unsigned rx_next;
    uint8_t *rx_flat;                     /* E1000_WIRE_MAX; to complete a checksum */
};

static inline uint32_t *e1000_reg(struct e1000 *s, unsigned offset) { return &s->reg[offset / 4]; }

/* e1000_link.c: EEPROM, PHY, link. */
void e1000_eeprom_fill(struct e1000 *s);
void e1000_eeprom_clock(struct e1000 *s, uint32_t value);      /* EECD written */
uint32_t e1000_eeprom_eecd(const struct e1000 *s);
uint32_t e1000_eeprom_read(const struct e1000 *s, uint32_t eerd);
void e1000_phy_reset(struct e1000 *s);
void e1000_mdic(struct e1000 *s, uint32_t value);
bool e1000_link_up(const struct e1000 *s);
void e1000_link_update(struct e1000 *s, bool was);             /* tells the guest if it differs */
void e1000_link_init(struct e1000 *s);
bool e1000_loopback(const struct e1000 *s);

/* e1000_irq.c: causes, mask, throttling, delay timers. */
void e1000_irq_init(struct e1000 *s);
void e1000_irq_reset(struct e1000 *s);
void e1000_cause(struct e1000 *s, uint32_t causes);
void e1000_cause_rx(struct e1000 *s);                          /* RXT0, after RDTR and RADV */
void e1000_cause_tx(struct e1000 *s, bool delay);              /* TXDW, after TIDV and TADV */
uint32_t e1000_icr_read(struct e1000 *s);
void e1000_irq_update(struct e1000 *s);
void e1000_irq_flush(struct e1000 *s, bool rx);                /* the delay timer's FPD bit */

/* e1000_access.c: the registers. */
bool e1000_access(struct gh_device *dev, unsigned range, struct gh_access *a);
void e1000_registers_reset(struct e1000 *s);
void e1000_count(struct e1000 *s, unsigned statistic, uint32_t n);        /* sticks at its maximum */
void e1000_count64(struct e1000 *s, unsigned lower, uint64_t n);
/* Frames by their size: first is the register of the smallest class. len without the checksum. */
void e1000_count_size(struct e1000 *s, unsigned first, size_t len);

/* e1000_tx.c */
void e1000_transmit(struct e1000 *s);
void e1000_transmit_drop(struct e1000 *s);

/* e1000_rx.c: one frame in two pieces (body may be empty; the addresses and the VLAN tag are in head).
 * valid: its checksums are known to be right. false: no room, or not now. */
bool e1000_receive(struct e1000 *s, const struct iovec *head, const struct iovec *body, bool valid);
/* From the backend, with the header if there is one. */
bool e1000_from_backend(struct e1000 *s, const uint8_t *data, size_t len);
/* The driver has given buffers, or switched the receiver on. */
void e1000_receive_ready(struct e1000 *s);

/* e1000.c */
void e1000_reset_chip(struct e1000 *s);

/* Descriptors in a ring whose length register holds bytes. */
static inline uint32_t e1000_ring(struct e1000 *s, unsigned len) { return *e1000_reg(s, len) / DESCRIPTOR; }
static inline uint64_t e1000_base(struct e1000 *s, unsigned low)
{ return (uint64_t)*e1000_reg(s, low + 4) << 32 | (*e1000_reg(s, low) & ~15u); }
