/* SPDX-License-Identifier: GPL-3.0-or-later */
/* e1000: EEPROM, PHY, both rings, offloads, filters, interrupts, statistics, reset, saved state, and a hostile driver. */
#include "check.h"
#include "fakebackend.h"
#include "pci-helper.h"

#include "devices/net/e1000_regs.h"
#include "devices/net/nic_rom.h"
#include "devices/net/packet.h"

enum { DEVFN = 3 << 3, BAR = 0xd0000000, PORTS = 0xc000, TX_RING = 0x100000, RX_RING = 0x110000, TX_DATA = 0x200000, RX_DATA = 0x300000,
       RING = 16 };
static const uint8_t our_mac[6] = { 0x52, 0x54, 0x00, 0x01, 0x02, 0x03 };

static struct fake_net net;
static struct gh_device *dev;
static struct gh_board *b;
static unsigned tail, rx_next;

static uint32_t rd(unsigned reg) { return (uint32_t)fake_read(b, BAR + reg, 4); }
static void wr(unsigned reg, uint32_t value) { fake_write(b, BAR + reg, 4, value); }
static bool irq(void)
{
    uint16_t status = cfg_read16(b, DEVFN, 6);
    return status & 8;
}

static struct gh_net_offload can;

static void begin(void)
{
    static uint8_t rom[4096] = { 0x55, 0xaa, 8, [0x18] = 0x1c, [0x1c] = 'P', 'C', 'I', 'R', 0xaa, 0xbb, 0xcc, 0xdd };
    b = fake_board_new();
    fake_add(b, "i440fx", "pci0", NULL);
    fake_net_init(&net);
    net.net.can = can;
    dev = fake_create(b, "e1000", "net0");
    fake_set_options(dev, "addr=03.0,mac=52:54:00:01:02:03", NULL);
    fake_set_backend(dev, "netdev", &net.net);
    CHECK(gh_nic_set_rom(dev, rom, sizeof rom));
    CHECK_FATAL(fake_attach(dev, NULL) == 0);
    cfg_write32(b, DEVFN, 0x10, BAR);
    cfg_write32(b, DEVFN, 0x18, PORTS);
    cfg_write16(b, DEVFN, 4, 7);
}

static void end(void)
{
    CHECK_EQ(b->dma_maps_open, 0);
    fake_board_free(b);
}

/* Both rings of 16; receive buffers of 2048 bytes. */
static void start(void)
{
    memset(b->ram + TX_RING, 0, RING * 16);
    memset(b->ram + RX_RING, 0, RING * 16);
    wr(TDBAL, TX_RING), wr(TDLEN, RING * 16), wr(TDH, 0), wr(TDT, 0);
    wr(TCTL, TCTL_EN | TCTL_PSP);
    for (unsigned i = 0; i < RING; i++)
        gh_le64_put(b->ram + RX_RING + i * 16, RX_DATA + i * 0x1000);
    wr(RDBAL, RX_RING), wr(RDLEN, RING * 16), wr(RDH, 0), wr(RDT, RING - 1);
    wr(RCTL, RCTL_EN | RCTL_BAM);
    tail = rx_next = 0;
}

static uint8_t *tx(unsigned i) { return b->ram + TX_RING + (i % RING) * 16; }
static uint8_t *rx(unsigned i) { return b->ram + RX_RING + (i % RING) * 16; }

static void legacy(uint64_t address, uint16_t length, uint8_t cmd, uint8_t cso, uint8_t css, uint16_t special)
{
    uint8_t *d = tx(tail++);
    memset(d, 0, 16);
    gh_le64_put(d, address);
    gh_le16_put(d + TXD_LENGTH, length);
    d[TXD_CSO] = cso, d[TXD_CMD] = cmd, d[TXD_CSS] = css;
    gh_le16_put(d + TXD_SPECIAL, special);
}

static void data(uint64_t address, uint32_t length, uint8_t cmd, uint8_t popts)
{
    uint8_t *d = tx(tail++);
    gh_le64_put(d, address);
    gh_le32_put(d + 8, length | DTYP_DATA << 20 | (uint32_t)(cmd | TXD_CMD_DEXT) << 24);
    gh_le32_put(d + 12, (uint32_t)popts << 8);
}

static void context(uint8_t l3, uint8_t l4, uint8_t cmd, uint32_t payload, uint8_t header, uint16_t mss, bool tcp)
{
    uint8_t *d = tx(tail++);
    d[CTX_IPCSS] = l3, d[CTX_IPCSO] = (uint8_t)(l3 + 10);
    gh_le16_put(d + CTX_IPCSE, (uint16_t)(l4 - 1));
    d[CTX_TUCSS] = l4, d[CTX_TUCSO] = (uint8_t)(l4 + (tcp ? 16 : 6));
    gh_le16_put(d + CTX_TUCSE, 0);
    gh_le32_put(d + CTX_PAYLEN, payload | (uint32_t)(cmd | TXD_CMD_DEXT) << 24);
    d[12] = 0, d[CTX_HDRLEN] = header;
    gh_le16_put(d + CTX_MSS, mss);
}

static void go(void) { wr(TDT, tail % RING); }

/* ---- EEPROM, PHY, PCI --------------------------------------------------------------------------------- */

static uint16_t microwire(unsigned address)
{
    uint32_t command = 6u << 6 | address;
    uint16_t value = 0;
    wr(EECD, EECD_REQ);
    CHECK(rd(EECD) & EECD_GNT);
    wr(EECD, EECD_REQ | EECD_CS);
    for (int i = 8; i >= 0; i--) {
        uint32_t bit = command >> i & 1 ? EECD_DI : 0;
        wr(EECD, EECD_REQ | EECD_CS | bit);
        wr(EECD, EECD_REQ | EECD_CS | bit | EECD_SK);
    }
    CHECK(!(rd(EECD) & EECD_DO));             /* the dummy bit */
    for (int i = 0; i < 16; i++) {
        wr(EECD, EECD_REQ | EECD_CS);
        wr(EECD, EECD_REQ | EECD_CS | EECD_SK);
        value = (uint16_t)(value << 1 | !!(rd(EECD) & EECD_DO));
    }
    wr(EECD, 0);
    return value;
}

static uint32_t phy(unsigned number)
{
    wr(MDIC, MDIC_OP_READ | PHY_ADDRESS << 21 | number << 16);
    CHECK(rd(MDIC) & MDIC_R);
    return rd(MDIC) & 0xffff;
}

static void test_identity(void)
{
    begin();
    CHECK_EQ(cfg_read32(b, DEVFN, 0), 0x100e8086);
    CHECK_EQ(cfg_read32(b, DEVFN, 8) >> 8, 0x020000);
    uint16_t sum = 0;
    for (unsigned i = 0; i < 64; i++) {
        wr(EERD, i << 8 | EERD_START);
        CHECK(rd(EERD) & EERD_DONE);
        uint16_t word = (uint16_t)(rd(EERD) >> 16);
        sum = (uint16_t)(sum + word);
        CHECK_EQ(microwire(i), word);
    }
    CHECK_EQ(sum, 0xbaba);
    CHECK_EQ(microwire(0), 0x5452);
    CHECK_EQ(rd(RAL), 0x01005452);
    CHECK_EQ(rd(RAH), 0x80000302);
    CHECK_EQ(rd(0x40), 0x01005452);                           /* the old address */
    CHECK_EQ(phy(PHY_ID1), 0x0141);
    CHECK_EQ(phy(PHY_ID2), 0x0c20);
    CHECK(phy(PHY_STATUS) & PHY_STATUS_LINK);
    CHECK(rd(STATUS) & STATUS_LU);
    wr(MDIC, MDIC_OP_READ | 2u << 21 | PHY_ID1 << 16);        /* no such PHY */
    CHECK(rd(MDIC) & MDIC_E);
    fake_outl(b, PORTS, RAL);                                 /* the same through ports */
    CHECK_EQ(fake_inl(b, PORTS + 4), 0x01005452);
    unsigned refused = b->refused;
    rd(0x3ffc);
    CHECK_EQ(b->refused, refused + 1);
    cfg_write32(b, DEVFN, 0x30, 0xd1000001);                  /* the ROM, with the card's identity in it */
    CHECK_EQ(fake_read(b, 0xd1000000, 2), 0xaa55);
    CHECK_EQ(fake_read(b, 0xd1000020, 4), 0x100e8086);
    uint8_t total = 0;
    for (unsigned i = 0; i < 4096; i++)
        total = (uint8_t)(total + fake_read(b, 0xd1000000 + i, 1));
    CHECK_EQ(total, 0);
    end();
}

static void test_link(void)
{
    begin();
    wr(IMS, INT_LSC);
    net.net.link(net.net.opaque, false);
    CHECK(!(rd(STATUS) & STATUS_LU));
    CHECK(!(phy(PHY_STATUS) & PHY_STATUS_LINK));
    CHECK(irq());
    CHECK_EQ(rd(ICR), INT_LSC);
    CHECK(!irq());
    net.net.link(net.net.opaque, false);                      /* nothing new */
    CHECK(!irq());
    start();
    legacy(TX_DATA, 64, TXD_CMD_EOP | TXD_CMD_RS, 0, 0, 0);   /* sent into nowhere, and done */
    go();
    CHECK_EQ(net.frames, 0);
    CHECK(tx(0)[TXD_STA] & TXD_STA_DD);
    uint8_t frame[64] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    CHECK(fake_net_send(&net, frame, sizeof frame));
    CHECK(!(rx(0)[RXD_STATUS] & RXD_DD));
    net.net.link(net.net.opaque, true);
    CHECK(rd(STATUS) & STATUS_LU);
    rd(ICR);
    /* Auto-negotiation takes its time. */
    wr(MDIC, MDIC_OP_WRITE | PHY_ADDRESS << 21 | PHY_CTRL << 16 | PHY_CTRL_AN | PHY_CTRL_RESTART);
    CHECK(!(rd(STATUS) & STATUS_LU));
    CHECK(rd(ICR) & INT_LSC);
    fake_step_ns(b, 600000000);
    CHECK(rd(STATUS) & STATUS_LU);
    CHECK(irq() && rd(ICR) & INT_LSC);
    CHECK(phy(PHY_STATUS) & PHY_STATUS_AN);
    wr(MDIC, MDIC_OP_WRITE | MDIC_I | PHY_ADDRESS << 21 | PHY_CTRL << 16 | PHY_CTRL_AN | PHY_CTRL_DOWN);
    CHECK(!(rd(STATUS) & STATUS_LU));
    CHECK(rd(ICR) & INT_MDAC);
    end();
}

/* ---- Transmit ------------------------------------------------------------------------------------------ */

/* An IPv4 TCP or UDP frame with correct fields and no checksums; returns the header's length. */
static unsigned make_packet(uint8_t *f, bool tcp, unsigned payload, bool ipv6)
{
    unsigned l4 = ipv6 ? 54 : 34, header = l4 + (tcp ? 20 : 8), total = header - 14 + payload;
    memset(f, 0, header);
    memcpy(f, "\x02\0\0\0\0\x01", 6);
    memcpy(f + 6, our_mac, 6);
    gh_be16_put(f + 12, ipv6 ? 0x86dd : 0x0800);
    if (ipv6) {
        f[14] = 0x60;
        gh_be16_put(f + 18, (uint16_t)(total - 40));
        f[20] = tcp ? 6 : 17, f[21] = 64;
        for (unsigned i = 0; i < 32; i++)
            f[22 + i] = (uint8_t)(i * 7);
    } else {
        f[14] = 0x45, f[22] = 64, f[23] = tcp ? 6 : 17;
        gh_be16_put(f + 16, (uint16_t)total);
        gh_be16_put(f + 18, 0xfffe);
        memcpy(f + 26, "\x0a\0\x02\x0f\x0a\0\x02\x02", 8);
    }
    gh_be16_put(f + l4, 4321), gh_be16_put(f + l4 + 2, 80);
    if (tcp) {
        gh_be32_put(f + l4 + 4, 0xfffffff0);
        f[l4 + 12] = 0x50, f[l4 + 13] = 0x99;                 /* CWR, ACK, PSH, FIN */
    } else {
        gh_be16_put(f + l4 + 4, (uint16_t)(payload + 8));
    }
    for (unsigned i = 0; i < payload; i++)
        f[header + i] = (uint8_t)(i * 31 + i / 256);
    return header;
}

/* What a driver puts into the checksum field. */
static void put_seed(uint8_t *f, bool tcp, bool ipv6, unsigned l4_bytes)
{
    const struct gh_segments s = { .frame = f, .l3 = 14, .ipv4 = !ipv6, .tcp = tcp };
    uint16_t seed = gh_packet_fold((uint64_t)gh_segments_pseudo(&s) + htobe16((uint16_t)l4_bytes));
    memcpy(f + (ipv6 ? 54 : 34) + (tcp ? 16 : 6), &seed, 2);
}

static void check_good(unsigned i, bool ipv6)
{
    struct gh_packet_info info;
    gh_packet_parse(net.frame[i].data, net.frame[i].len, true, &info);
    CHECK(ipv6 ? info.ipv6 : info.ipv4 && info.ip_good);
    CHECK(info.l4_checked && info.l4_good);
}

static void test_transmit(void)
{
    begin();
    start();
    memset(b->ram + TX_DATA, 0x5a, 4096);
    legacy(TX_DATA, 40, 0, 0, 0, 0);
    go();
    CHECK_EQ(net.frames, 0);                                  /* no end of packet yet */
    legacy(TX_DATA + 1000, 60, TXD_CMD_EOP | TXD_CMD_RS, 0, 0, 0);
    wr(IMS, INT_TXDW);
    go();
    CHECK_EQ(net.frames, 1);
    CHECK_EQ(net.frame[0].len, 100);
    CHECK(tx(1)[TXD_STA] & TXD_STA_DD && !(tx(0)[TXD_STA] & TXD_STA_DD));
    CHECK_EQ(rd(TDH), 2);
    CHECK(irq());
    CHECK_EQ(rd(ICR), INT_TXDW | INT_TXQE);
    legacy(TX_DATA, 20, TXD_CMD_EOP, 0, 0, 0);                /* padded */
    go();
    CHECK_EQ(net.frame[1].len, 60);
    CHECK_EQ(net.frame[1].data[20], 0);
    CHECK_EQ(rd(ICR), INT_TXQE);
    /* Legacy checksum: 0001 f203 f4f5 f6f7 give 220d (RFC 1071). */
    static const uint8_t words[] = { 0, 0, 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
    memcpy(b->ram + TX_DATA + 90, words, sizeof words);
    legacy(TX_DATA, 100, TXD_CMD_EOP | TXD_CMD_IC, 90, 90, 0);
    legacy(TX_DATA, 100, TXD_CMD_EOP | TXD_CMD_IC, 99, 90, 0);    /* does not fit: sent as it is */
    legacy(TX_DATA, 100, TXD_CMD_EOP | TXD_CMD_VLE, 0, 0, 0x2005); /* VME is off */
    go();
    CHECK_EQ(net.frames, 5);
    CHECK_EQ(gh_be16_get(net.frame[2].data + 90), 0x220d);
    CHECK_EQ(gh_be16_get(net.frame[3].data + 90), 0);
    CHECK_EQ(net.frame[4].len, 100);
    wr(CTRL, rd(CTRL) | CTRL_VME);
    legacy(TX_DATA, 100, TXD_CMD_EOP | TXD_CMD_VLE, 0, 0, 0x2005);
    go();
    CHECK_EQ(net.frame[5].len, 104);
    CHECK_EQ(gh_be32_get(net.frame[5].data + 12), 0x81002005);
    CHECK_EQ(rd(GPTC), 6);
    CHECK_EQ(rd(GPTC), 0);
    /* A full backend: the descriptor stays the card's. */
    net.full = true;
    unsigned at = tail;
    legacy(TX_DATA, 100, TXD_CMD_EOP | TXD_CMD_RS, 0, 0, 0);
    go();
    CHECK(!(tx(at)[TXD_STA] & TXD_STA_DD));
    CHECK_EQ(rd(TDH), at % RING);
    net.full = false;
    net.net.writable(net.net.opaque);
    CHECK(tx(at)[TXD_STA] & TXD_STA_DD);
    CHECK_EQ(net.frames, 7);
    /* Delayed write-back interrupt, then its flush. */
    rd(ICR);
    wr(TIDV, 100);
    legacy(TX_DATA, 100, TXD_CMD_EOP | TXD_CMD_RS | TXD_CMD_IDE, 0, 0, 0);
    go();
    CHECK_EQ(rd(ICS) & INT_TXDW, 0);
    fake_step_ns(b, 100 * 1024 - 1);
    CHECK(!irq());
    fake_step_ns(b, 1);
    CHECK(irq());
    rd(ICR);
    legacy(TX_DATA, 100, TXD_CMD_EOP | TXD_CMD_RS | TXD_CMD_IDE, 0, 0, 0);
    go();
    wr(TIDV, 100 | RDTR_FPD);
    CHECK(irq());
    /* Loopback comes back and does not go out. */
    unsigned frames = net.frames;
    wr(RCTL, RCTL_EN | RCTL_UPE | 1 << RCTL_LBM_SHIFT);
    legacy(TX_DATA, 100, TXD_CMD_EOP, 0, 0, 0);
    go();
    CHECK_EQ(net.frames, frames);
    CHECK(rx(0)[RXD_STATUS] & RXD_DD);
    CHECK_EQ(gh_le16_get(rx(0) + RXD_LENGTH), 104);
    end();
}

static void test_offload(bool tcp, bool ipv6)
{
    begin();
    start();
    uint8_t *f = b->ram + TX_DATA;
    unsigned l4 = ipv6 ? 54 : 34, header = make_packet(f, tcp, 100, ipv6);
    put_seed(f, tcp, ipv6, header - l4 + 100);
    context(14, (uint8_t)l4, (tcp ? TUCMD_TCP : 0) | (ipv6 ? 0 : TUCMD_IP), 0, 0, 0, tcp);
    data(TX_DATA, header + 100, TXD_CMD_EOP, TXD_POPTS_TXSM | (ipv6 ? 0 : TXD_POPTS_IXSM));
    go();
    CHECK_EQ(net.frames, 1);
    CHECK_EQ(net.frame[0].len, header + 100);
    check_good(0, ipv6);
    /* Segmentation: 3500 bytes in pieces of 1460 (odd ones with 1000 for UDP), data in two descriptors. */
    unsigned mss = tcp ? 1460 : 1001, count = 3500 / mss + 1;
    make_packet(f, tcp, 3500, ipv6);
    put_seed(f, tcp, ipv6, 0);
    if (!ipv6)
        gh_be16_put(f + 16, 0);
    context(14, (uint8_t)l4, (tcp ? TUCMD_TCP : 0) | (ipv6 ? 0 : TUCMD_IP) | TXD_CMD_TSE, 3500, (uint8_t)header, (uint16_t)mss, tcp);
    data(TX_DATA, header, TXD_CMD_TSE, TXD_POPTS_TXSM | (ipv6 ? 0 : TXD_POPTS_IXSM));
    data(TX_DATA + header, 3500, TXD_CMD_TSE | TXD_CMD_EOP | TXD_CMD_RS, 0);
    go();
    CHECK_EQ(net.frames, 1 + count);
    unsigned done = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned n = 3500 - done < mss ? 3500 - done : mss;
        const uint8_t *got = net.frame[1 + i].data;
        CHECK_EQ(net.frame[1 + i].len, header + n);
        CHECK(!memcmp(got + header, f + header + done, n));
        check_good(1 + i, ipv6);
        if (!ipv6)
            CHECK_EQ(gh_be16_get(got + 18), (uint16_t)(0xfffe + i));
        if (tcp) {
            CHECK_EQ(gh_be32_get(got + l4 + 4), 0xfffffff0u + done);
            CHECK_EQ(got[l4 + 13], i == 0 ? 0x90 : i + 1 == count ? 0x19 : 0x10);
        }
        done += n;
    }
    CHECK_EQ(rd(TSCTC), 1);
    CHECK(tx(tail - 1)[TXD_STA] & TXD_STA_DD);
    end();
}

static void test_hostile_packets(void)
{
    begin();
    start();
    uint64_t errors = dev->guest_errors;
    legacy(TX_DATA, 5, TXD_CMD_EOP | TXD_CMD_RS, 0, 0, 0);                    /* a runt */
    legacy(0xffffffffff000000, 100, TXD_CMD_EOP | TXD_CMD_RS, 0, 0, 0);       /* not RAM */
    data(TX_DATA, 0xfffff, TXD_CMD_EOP | TXD_CMD_RS, 0);                      /* 1 MiB */
    data(TX_DATA, 20000, TXD_CMD_EOP | TXD_CMD_RS, 0);                        /* longer than the wire takes */
    context(200, 210, TUCMD_TCP | TUCMD_IP, 60000, 220, 0, true);             /* no segment size */
    data(TX_DATA, 60000, TXD_CMD_EOP | TXD_CMD_TSE | TXD_CMD_RS, 3);
    context(250, 252, TUCMD_TCP | TUCMD_IP, 60000, 54, 1000, true);           /* headers beyond the header */
    data(TX_DATA, 60000, TXD_CMD_EOP | TXD_CMD_TSE | TXD_CMD_RS, 3);
    go();
    CHECK_EQ(net.frames, 0);
    CHECK_EQ(dev->guest_errors - errors, 6);
    for (unsigned i = 0; i < 8; i++)
        CHECK(i == 4 || i == 6 || tx(i)[TXD_STA] & TXD_STA_DD);
    /* The most segments a packet can make, in steps. */
    context(14, 34, TUCMD_TCP | TUCMD_IP, 60000, 54, 1, true);
    data(TX_DATA, 60054, TXD_CMD_EOP | TXD_CMD_TSE | TXD_CMD_RS, 3);
    go();
    for (unsigned i = 0; i < 200 && !(tx(tail - 1)[TXD_STA] & TXD_STA_DD); i++)
        fake_run_deferred(b);
    CHECK_EQ(net.frames, 60000);
    wr(TDH, 0xffff);                                                          /* impossible places */
    go();
    wr(TDLEN, 0);
    go();
    wr(TDBAL, 0xfffffff0), wr(TDBAH, 0xffffffff), wr(TDLEN, 256), wr(TDH, 0);
    wr(TDT, 15);
    CHECK_EQ(rd(TDH), 15);
    end();
}

/* ---- Receive ------------------------------------------------------------------------------------------- */

static bool arrives(const void *frame, size_t len)
{
    unsigned at = rx_next % RING;
    rx(at)[RXD_STATUS] = 0;
    CHECK(fake_net_send(&net, frame, len));
    bool came = rx(at)[RXD_STATUS] & RXD_DD;
    if (came) {
        rx_next++;
        wr(RDT, (rx_next + RING - 1) % RING);
    }
    return came;
}

static void test_filter(void)
{
    begin();
    start();
    uint8_t frame[64] = { 0x52, 0x54, 0x00, 0x01, 0x02, 0x03, [12] = 0x08, 0x06 };
    CHECK(arrives(frame, sizeof frame));
    CHECK_EQ(gh_le16_get(rx(0) + RXD_LENGTH), 68);
    CHECK_EQ(rx(0)[RXD_STATUS] & (RXD_EOP | RXD_IXSM | RXD_PIF), RXD_EOP | RXD_IXSM);
    frame[5] = 4;
    CHECK(!arrives(frame, sizeof frame));
    wr(RCTL, RCTL_EN | RCTL_UPE);
    CHECK(arrives(frame, sizeof frame));
    wr(RCTL, RCTL_EN);
    wr(RAL + 8, 0x01005452), wr(RAH + 8, 0x80000402);         /* a second address */
    CHECK(arrives(frame, sizeof frame));
    wr(RAH + 8, 0x00000402);
    CHECK(!arrives(frame, sizeof frame));
    memset(frame, 0xff, 6);
    CHECK(!arrives(frame, sizeof frame));                     /* BAM is off */
    wr(RCTL, RCTL_EN | RCTL_BAM);
    CHECK(arrives(frame, sizeof frame));
    memcpy(frame, "\x01\0\x5e\x12\x34\x56", 6);
    CHECK(!arrives(frame, sizeof frame));
    static const uint16_t hash[] = { 0x563, 0xac6, 0x58d, 0x634 }; /* bits 47:36, 46:35, 45:34, 43:32 of the address */
    for (unsigned mo = 0; mo < 4; mo++) {
        wr(RCTL, RCTL_EN | mo << RCTL_MO_SHIFT);
        CHECK(!arrives(frame, sizeof frame));
        wr(MTA + (hash[mo] >> 5) * 4, 1u << (hash[mo] & 31));
        CHECK(arrives(frame, sizeof frame));
        CHECK(rx(rx_next - 1)[RXD_STATUS] & RXD_PIF);
        wr(MTA + (hash[mo] >> 5) * 4, 0);
    }
    wr(RCTL, RCTL_EN | RCTL_MPE);
    CHECK(arrives(frame, sizeof frame));
    CHECK(rd(MPRC) >= 5);
    CHECK_EQ(rd(MPRC), 0);
    /* VLAN: table, then stripping. */
    memset(frame, 0xff, 6);
    gh_be32_put(frame + 12, 0x81002005);
    frame[16] = 0x08, frame[17] = 0x06, frame[18] = 0x77;
    wr(RCTL, RCTL_EN | RCTL_BAM | RCTL_VFE);
    CHECK(!arrives(frame, sizeof frame));
    wr(VFTA, 1u << 5);
    CHECK(arrives(frame, sizeof frame));
    CHECK(!(rx(rx_next - 1)[RXD_STATUS] & RXD_VP));
    wr(CTRL, rd(CTRL) | CTRL_VME);
    CHECK(arrives(frame, sizeof frame));
    unsigned at = (rx_next - 1) % RING;
    CHECK(rx(at)[RXD_STATUS] & RXD_VP);
    CHECK_EQ(gh_le16_get(rx(at) + RXD_SPECIAL), 0x2005);
    CHECK_EQ(gh_le16_get(rx(at) + RXD_LENGTH), 64);
    CHECK_EQ(gh_be16_get(b->ram + RX_DATA + at * 0x1000 + 12), 0x0806);
    CHECK_EQ(b->ram[RX_DATA + at * 0x1000 + 14], 0x77);
    end();
}

static void test_receive(void)
{
    static uint8_t frame[16000];
    begin();
    wr(IMS, INT_RXT0 | INT_RXO | INT_RXDMT0);
    memset(frame, 0xff, 6);
    CHECK(fake_net_send(&net, frame, 64));                    /* the receiver is off: lost */
    start();
    CHECK(arrives(frame, 20));                                /* padded, with room for the checksum */
    CHECK_EQ(gh_le16_get(rx(0) + RXD_LENGTH), 64);
    CHECK(irq());
    CHECK_EQ(rd(ICR), INT_RXT0);
    CHECK(!arrives(frame, 1515));                             /* too long without LPE */
    CHECK_EQ(rd(ROC), 1);
    CHECK(arrives(frame, 1514));
    /* Checksums of what came in. */
    wr(RXCSUM, RXCSUM_IPOFLD | RXCSUM_TUOFLD);
    uint8_t packet[200];
    unsigned header = make_packet(packet, true, 100, false);
    memcpy(packet, our_mac, 6);
    put_seed(packet, true, false, 120);
    gh_packet_checksum(packet, header + 100, 34, header + 100, 50);
    gh_packet_checksum(packet, header + 100, 14, 34, 24);
    CHECK(arrives(packet, header + 100));
    const uint8_t *d = rx(rx_next - 1);
    CHECK_EQ(d[RXD_STATUS] & (RXD_IXSM | RXD_TCPCS | RXD_IPCS), RXD_TCPCS | RXD_IPCS);
    CHECK_EQ(d[RXD_ERRORS], 0);
    packet[100] ^= 1;
    CHECK(arrives(packet, header + 100));
    CHECK_EQ(rx(rx_next - 1)[RXD_ERRORS], RXD_TCPE);
    packet[100] ^= 1, packet[22] ^= 1;
    CHECK(arrives(packet, header + 100));
    CHECK_EQ(rx(rx_next - 1)[RXD_ERRORS], RXD_IPE);
    /* A long frame over several descriptors of 4096 bytes, without the checksum. */
    for (unsigned i = 14; i < sizeof frame; i++)
        frame[i] = (uint8_t)(i * 5 + i / 256);
    wr(RCTL, RCTL_EN | RCTL_BAM | RCTL_LPE | RCTL_BSEX | 3u << RCTL_BSIZE_SHIFT | RCTL_SECRC);
    unsigned first = rx_next;
    CHECK(arrives(frame, 10000));
    CHECK_EQ(gh_le16_get(rx(first + 2) + RXD_LENGTH), 10000 - 8192);
    CHECK_EQ(rx(first)[RXD_STATUS] & (RXD_DD | RXD_EOP), RXD_DD);
    CHECK_EQ(rx(first + 2)[RXD_STATUS] & (RXD_DD | RXD_EOP), RXD_DD | RXD_EOP);
    CHECK(!memcmp(b->ram + RX_DATA + (first % RING) * 0x1000, frame, 4096));
    CHECK(!memcmp(b->ram + RX_DATA + ((first + 2) % RING) * 0x1000, frame + 8192, 10000 - 8192));
    /* No room: the backend keeps it, and hears of new buffers. */
    wr(RDH, 0), wr(RDT, 2);
    unsigned ready = net.ready_calls;
    rd(ICR);
    CHECK(!fake_net_send(&net, frame, 10000));
    CHECK(fake_net_send(&net, frame, 8192));
    CHECK(rd(ICR) & INT_RXDMT0);
    CHECK(!fake_net_send(&net, frame, 64));
    wr(RDT, 8);
    CHECK(net.ready_calls > ready);
    CHECK(fake_net_send(&net, frame, 64));
    wr(RDLEN, 128);                                           /* 8 descriptors: 16000 bytes do not fit 256 byte buffers */
    wr(RDH, 0), wr(RDT, 7);
    wr(RCTL, RCTL_EN | RCTL_BAM | RCTL_LPE | 3u << RCTL_BSIZE_SHIFT);
    CHECK(fake_net_send(&net, frame, 16000));
    CHECK(rd(ICR) & INT_RXO);
    CHECK_EQ(rd(MPC), 1);
    end();
}

static void test_moderation(void)
{
    begin();
    start();
    uint8_t frame[64] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    wr(IMS, INT_RXT0);
    wr(ITR, 1000);                                            /* 256 us */
    CHECK(arrives(frame, sizeof frame));
    CHECK(irq());
    rd(ICR);
    CHECK(arrives(frame, sizeof frame));
    CHECK(!irq());
    fake_step_ns(b, 255999);
    CHECK(!irq());
    fake_step_ns(b, 1);
    CHECK(irq());
    rd(ICR);
    wr(ITR, 0);
    fake_step_ns(b, 1000000);
    wr(RDTR, 100), wr(RADV, 150);
    CHECK(arrives(frame, sizeof frame));
    fake_step_ns(b, 90 * 1024);
    CHECK(arrives(frame, sizeof frame));                      /* starts the first delay again */
    fake_step_ns(b, 59 * 1024);
    CHECK(!irq());
    fake_step_ns(b, 1024);                                    /* the absolute one is over */
    CHECK(irq());
    wr(IMC, INT_RXT0);
    CHECK(!irq());
    wr(IMS, INT_RXT0);
    CHECK(irq());
    wr(ICR, INT_RXT0);
    CHECK(!irq());
    wr(ICS, INT_RXT0);
    CHECK(irq());
    wr(CTRL, CTRL_RST);
    CHECK(!irq());
    CHECK_EQ(rd(RCTL), 0);
    CHECK_EQ(rd(IMS), 0);
    CHECK_EQ(rd(RAH), 0x80000302);
    CHECK_EQ(cfg_read32(b, DEVFN, 0x10), BAR);
    end();
}

static void test_state(void)
{
    struct gh_state_buffer first = { 0 }, second = { 0 };
    begin();
    start();
    wr(MDIC, MDIC_OP_WRITE | PHY_ADDRESS << 21 | PHY_CTRL << 16 | PHY_CTRL_AN | PHY_CTRL_RESTART);
    fake_step_ns(b, 600000000);
    net.full = true;
    legacy(TX_DATA, 100, TXD_CMD_EOP | TXD_CMD_RS, 0, 0, 0);
    go();
    fake_save(b, &first);
    CHECK_EQ(fake_load(b, first.data, first.len, NULL), 0);
    fake_save(b, &second);
    CHECK(first.len == second.len && !memcmp(first.data, second.data, first.len));
    net.full = false;
    CHECK_EQ(fake_load(b, first.data, first.len, NULL), 0);
    fake_run_deferred(b);
    CHECK_EQ(net.frames, 1);                                  /* the packet that waited goes out */
    CHECK(tx(0)[TXD_STA] & TXD_STA_DD);
    gh_state_buffer_fini(&first);
    gh_state_buffer_fini(&second);
    end();
}

/* ---- A backend that takes and gives large segments -------------------------------------------------------- */

static void test_backend_offload(bool ipv6)
{
    static uint8_t wire[12 + 9000];
    can = (struct gh_net_offload){ .csum = true, .tso4 = true, .tso6 = true };
    begin();
    CHECK(net.offload.csum && net.offload.tso4 && net.offload.tso6);
    start();
    uint8_t *f = b->ram + TX_DATA;
    unsigned l4 = ipv6 ? 54 : 34, header = make_packet(f, true, 100, ipv6);
    put_seed(f, true, ipv6, 120);
    context(14, (uint8_t)l4, TUCMD_TCP | (ipv6 ? 0 : TUCMD_IP), 0, 0, 0, true);
    data(TX_DATA, header + 100, TXD_CMD_EOP, TXD_POPTS_TXSM | (ipv6 ? 0 : TXD_POPTS_IXSM));
    go();
    CHECK_EQ(net.frame[0].len, 12 + header + 100);
    CHECK(!net.frame[0].data[0] && !net.frame[0].data[1]);
    make_packet(f, true, 1900, ipv6);
    put_seed(f, true, ipv6, 0);
    gh_be16_put(f + (ipv6 ? 18 : 16), 0);                     /* as Linux' driver leaves it */
    context(14, (uint8_t)l4, TUCMD_TCP | (ipv6 ? 0 : TUCMD_IP) | TXD_CMD_TSE, 1900, (uint8_t)header, 1000, true);
    data(TX_DATA, header + 1900, TXD_CMD_TSE | TXD_CMD_EOP | TXD_CMD_RS, TXD_POPTS_TXSM | (ipv6 ? 0 : TXD_POPTS_IXSM));
    go();
    CHECK_EQ(net.frames, 2);
    const uint8_t *got = net.frame[1].data;
    CHECK_EQ(net.frame[1].len, 12 + header + 1900);
    CHECK_EQ(got[0], 1);
    CHECK_EQ(got[1], ipv6 ? 4 : 1);
    CHECK_EQ(gh_le16_get(got + 4), 1000);
    CHECK_EQ(gh_le16_get(got + 6), l4);
    struct gh_segments g;
    CHECK(gh_segments_from_packet(&g, got + 12, header + 1900, 1000));
    uint16_t seed = gh_packet_fold((uint64_t)g.seed + htobe16(1920));
    CHECK(!memcmp(got + 12 + l4 + 16, &seed, 2));
    CHECK(tx(tail - 1)[TXD_STA] & TXD_STA_DD);
    /* The other way: 9000 bytes arrive as seven frames, although only four descriptors were free at first. */
    unsigned len = make_packet(wire + 12, true, 8500, ipv6) + 8500;
    memcpy(wire + 12, our_mac, 6);
    wire[0] = 1, wire[1] = ipv6 ? 4 : 1;
    gh_le16_put(wire + 4, 1400);
    wr(RXCSUM, RXCSUM_IPOFLD | RXCSUM_TUOFLD);
    wr(RDT, 4);
    CHECK(!fake_net_send(&net, wire, 12 + len));
    CHECK_EQ(rd(RDH), 4);
    wr(RDT, 12);
    CHECK(fake_net_send(&net, wire, 12 + len));
    CHECK_EQ(rd(RDH), 7);
    for (unsigned i = 0, done = 0; i < 7; i++, done += 1400) {
        unsigned n = done + 1400 < 8500 ? 1400 : 8500 - done;
        const uint8_t *frame = b->ram + RX_DATA + i * 0x1000;
        struct gh_packet_info info;
        CHECK_EQ(gh_le16_get(rx(i) + RXD_LENGTH), header + n + 4);
        CHECK_EQ(rx(i)[RXD_STATUS] & (RXD_TCPCS | RXD_IPCS | RXD_IXSM), RXD_TCPCS | (ipv6 ? 0 : RXD_IPCS));
        gh_packet_parse(frame, header + n, true, &info);
        CHECK(info.l4_good && (ipv6 || info.ip_good));
        CHECK(!memcmp(frame + header, wire + 12 + header + done, n));
        CHECK_EQ(gh_le16_get(rx(i) + RXD_CHECKSUM), gh_packet_fold(gh_packet_sum(frame, header + n)));
    }
    /* A checksum that is left to "hardware", and one that is known to be good. */
    make_packet(wire + 12, true, 100, ipv6);
    memcpy(wire + 12, our_mac, 6);
    put_seed(wire + 12, true, ipv6, 120);
    memset(wire, 0, 12);
    wire[0] = 1;
    gh_le16_put(wire + 6, (uint16_t)l4);
    gh_le16_put(wire + 8, 16);
    CHECK(fake_net_send(&net, wire, 12 + header + 100));
    struct gh_packet_info info;
    gh_packet_parse(b->ram + RX_DATA + 7 * 0x1000, header + 100, true, &info);
    CHECK(info.l4_good);
    CHECK(fake_net_send(&net, wire, 5));                      /* no whole header: dropped */
    CHECK_EQ(rd(RDH), 8);
    end();
    can = (struct gh_net_offload){ 0 };
}

/* ---- A hostile driver ----------------------------------------------------------------------------------- */

static uint64_t random_state = 1;
static uint32_t roll(uint32_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33) % below;
}

static uint64_t roll_address(void)
{
    return roll(8) ? roll(FAKE_RAM_BYTES) : (uint64_t)roll(UINT32_MAX) << roll(33);
}

/* One descriptor that is partly sensible: random bytes alone hardly get past the first check. */
static void hostile_descriptor(uint8_t *d)
{
    for (unsigned i = 0; i < 16; i++)
        d[i] = (uint8_t)roll(256);
    gh_le64_put(d, roll_address());
    if (roll(2))
        gh_le32_put(d + 8, roll(roll(2) ? 3000 : 0x100000) | roll(2) << 20 | (uint32_t)(roll(256) | (roll(3) ? TXD_CMD_DEXT : 0)) << 24);
    if (roll(4) == 0) {
        d[CTX_IPCSS] = 14, d[CTX_TUCSS] = 34, d[CTX_HDRLEN] = 54;
        gh_le32_put(d + 8, roll(65536) | (uint32_t)(0xa4 | roll(4)) << 24);
        gh_le16_put(d + CTX_MSS, (uint16_t)roll(roll(2) ? 20 : 2000));
    }
}

static void test_hostile_driver(bool offloads)
{
    static const uint32_t bases[] = { 0, 0x1000, TX_RING, FAKE_RAM_BYTES - 256, 0xfffffff0 };
    static uint8_t frame[20000];
    can = (struct gh_net_offload){ .csum = offloads, .tso4 = offloads, .tso6 = offloads };
    begin();
    for (unsigned round = 0; round < 10000; round++) {
        if (roll(4) == 0 || !round) {
            wr(TDBAL, bases[roll(5)]), wr(TDBAH, roll(16) ? 0 : roll(UINT32_MAX)), wr(TDLEN, roll(8) ? 128u << roll(4) : roll(UINT32_MAX));
            wr(RDBAL, bases[roll(5)]), wr(RDBAH, roll(16) ? 0 : roll(UINT32_MAX)), wr(RDLEN, roll(8) ? 128u << roll(4) : roll(UINT32_MAX));
            wr(TDH, roll(roll(8) ? 8 : 65536)), wr(RDH, roll(roll(8) ? 8 : 65536));
            wr(CTRL, roll(64) ? roll(2) * CTRL_VME : roll(UINT32_MAX));
            wr(TCTL, roll(8) ? TCTL_EN | TCTL_PSP : roll(UINT32_MAX));
            wr(RCTL, roll(2) ? RCTL_EN | RCTL_UPE | RCTL_LPE : roll(UINT32_MAX));
        }
        for (unsigned i = 0; i < 16; i++)
            hostile_descriptor(b->ram + bases[roll(4)] + roll(16) * 16);
        net.full = !roll(8);
        wr(TDT, roll(roll(8) ? 64 : 65536));
        wr(RDT, roll(roll(8) ? 64 : 65536));
        for (unsigned i = 0; i < 32; i++)
            frame[i] = (uint8_t)(roll(3) ? roll(256) : 0xff);
        if (offloads && roll(2)) {
            make_packet(frame + 12, true, 8000, roll(2));
            frame[0] = (uint8_t)roll(4), frame[1] = (uint8_t)(roll(2) ? 1 : roll(256));
            gh_le16_put(frame + 4, (uint16_t)roll(3000));
            frame[12 + roll(60)] = (uint8_t)roll(256);
        }
        fake_net_send(&net, frame, roll(roll(2) ? 1600 : sizeof frame));
        wr(roll(0x1800) * 4, roll(roll(2) ? 256 : UINT32_MAX));
        rd(roll(0x1800) * 4);
        if (!roll(4))
            net.net.writable(net.net.opaque);
        if (!roll(16))
            net.net.link(net.net.opaque, roll(2));
        if (!roll(16))
            fake_step_ns(b, roll(1000000));
        if (!roll(500))
            fake_reset(b, GH_RESET_WARM), cfg_write32(b, DEVFN, 0x10, BAR), cfg_write16(b, DEVFN, 4, 7);
    }
    net.full = false;
    fake_run_deferred(b);
    CHECK(net.frames > 1000);                                 /* it was not all refused at the door */
    CHECK(rd(STATUS) != UINT32_MAX);
    /* And it still works. */
    fake_reset(b, GH_RESET_COLD);
    cfg_write32(b, DEVFN, 0x10, BAR);
    cfg_write16(b, DEVFN, 4, 7);
    net.net.link(net.net.opaque, true);
    start();
    unsigned frames = net.frames;
    legacy(TX_DATA, 100, TXD_CMD_EOP | TXD_CMD_RS, 0, 0, 0);
    go();
    CHECK_EQ(net.frames, frames + 1);
    memset(frame, 0, 12);
    memcpy(frame + (offloads ? 12 : 0), our_mac, 6);
    CHECK(arrives(frame, offloads ? 76 : 64));
    end();
    can = (struct gh_net_offload){ 0 };
}

int main(void)
{
    test_identity();
    test_link();
    test_transmit();
    for (unsigned i = 0; i < 4; i++)
        test_offload(i & 1, i & 2);
    test_hostile_packets();
    test_filter();
    test_receive();
    test_moderation();
    test_state();
    test_backend_offload(false);
    test_backend_offload(true);
    test_hostile_driver(false);
    test_hostile_driver(true);
    return check_result();
}
