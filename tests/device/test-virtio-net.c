/* SPDX-License-Identifier: GPL-3.0-or-later */
/* virtio-net: both directions, mergeable buffers, checksums, segmentation, header checks, control queue and
 * filters, a full backend, link, offloads, and a hostile driver. */
#include "check.h"
#include "fakebackend.h"
#include "virtio-helper.h"

#include "devices/net/packet.h"

enum { DEVFN = 4 << 3, TX = 0x400000, RX = 0x420000, HDR = 12 };
#define V1    (1ull << 32)
#define MERGE (1ull << 15)

static struct fake_net net;
static struct gh_device *dev;

static struct gh_board *board(bool offloads)
{
    struct gh_board *b = fake_board_new();
    fake_add(b, "i440fx", "pci0", NULL);
    fake_net_init(&net);
    net.net.link_up = true;
    if (offloads)
        net.net.can = (struct gh_net_offload){ .csum = true, .tso4 = true };
    dev = fake_create(b, "virtio-net", "net0");
    fake_set_options(dev, "addr=04.0,mac=52:54:00:01:02:03", NULL);
    fake_set_backend(dev, "netdev", &net.net);
    CHECK_FATAL(fake_attach(dev, NULL) == 0);
    return b;
}

static void end(struct gh_board *b)
{
    CHECK_EQ(b->dma_maps_open, 0);
    fake_board_free(b);
}

/* Header and frame of len bytes from TX, in two buffers. */
static void transmit(struct vio *d, uint32_t len)
{
    vq_set(d, 1, 0, TX, HDR + 4, D_NEXT, 1);
    vq_set(d, 1, 1, TX + HDR + 4, len - 4, 0, 0);
    vq_offer(d, 1, 0);
    vq_kick(d, 1);
}

static void test_transmit(void)
{
    struct gh_board *b = board(false);
    struct vio d;
    vio_start(&d, b, DEVFN, ~0ull, 2, 16);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2000, 4), 0x01005452);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2006, 2), 1);
    CHECK(d.features & 1 << 11 && !(d.features & 1 << 7));
    memset(b->ram + TX, 0, 4096);
    memset(b->ram + TX + HDR, 0x5a, 100);
    transmit(&d, 100);
    CHECK_EQ(net.frames, 1);
    CHECK_EQ(net.frame[0].len, 100);
    CHECK_EQ(net.frame[0].data[99], 0x5a);
    /* The checksum of 0001 f203 f4f5 f6f7 is ddf2 (RFC 1071), so its complement 220d. */
    static const uint8_t words[] = { 0, 0, 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
    memcpy(b->ram + TX + HDR + 90, words, sizeof words);
    b->ram[TX] = 1;
    gh_le16_put(b->ram + TX + 6, 90);
    gh_le16_put(b->ram + TX + 8, 0);
    transmit(&d, 100);
    CHECK_EQ(gh_be16_get(net.frame[1].data + 90), 0x220d);
    /* Headers that cannot be: nothing is sent, the chain comes back. */
    static const struct { uint8_t flags, gso; uint16_t size, start, offset; } bad[] = {
        { 1, 0, 0, 99, 0 }, { 1, 0, 0, 0xffff, 0xffff }, { 1, 0, 0, 0, 99 }, { 1, 1, 1400, 14, 16 }, { 0, 1, 1400, 0, 0 },
        { 1, 3, 1400, 14, 16 }, { 1, 0x7f, 1, 14, 16 },
    };
    for (unsigned i = 0; i < GH_ARRAY_LEN(bad); i++) {
        uint16_t used = vq_used(&d, 1);
        b->ram[TX] = bad[i].flags;
        b->ram[TX + 1] = bad[i].gso;
        gh_le16_put(b->ram + TX + 4, bad[i].size);
        gh_le16_put(b->ram + TX + 6, bad[i].start);
        gh_le16_put(b->ram + TX + 8, bad[i].offset);
        transmit(&d, 100);
        CHECK_EQ(net.frames, 2);
        CHECK_EQ((uint16_t)(vq_used(&d, 1) - used), 1);
    }
    memset(b->ram + TX, 0, HDR);
    transmit(&d, 13);                                         /* shorter than an Ethernet header */
    transmit(&d, 70000);
    CHECK_EQ(net.frames, 2);
    transmit(&d, 14);
    CHECK_EQ(net.frames, 3);
    CHECK_EQ(vio_status(&d), 0xf);
    /* A full backend keeps the frame in the ring until it is writable. */
    net.full = true;
    transmit(&d, 64);
    uint16_t used = vq_used(&d, 1);
    CHECK(b->dma_maps_open > 0);
    net.full = false;
    net.net.writable(net.net.opaque);
    CHECK_EQ(net.frames, 4);
    CHECK_EQ((uint16_t)(vq_used(&d, 1) - used), 1);
    net.full = true;
    transmit(&d, 64);
    fake_write(b, VIO_BAR + 0x14, 1, 0);                      /* reset drops it */
    CHECK_EQ(b->dma_maps_open, 0);
    net.net.writable(net.net.opaque);
    CHECK_EQ(net.frames, 4);
    end(b);
}

static void offer_rx(struct vio *d, unsigned count, uint32_t bytes)
{
    for (uint16_t i = 0; i < count; i++) {
        vq_set(d, 0, i, RX + i * 0x1000u, bytes, D_WRITE, 0);
        vq_offer(d, 0, i);
    }
    vq_kick(d, 0);
}

static void test_receive(void)
{
    struct gh_board *b = board(false);
    struct vio d;
    uint8_t frame[1514];
    for (unsigned i = 0; i < sizeof frame; i++)
        frame[i] = (uint8_t)i;
    CHECK(fake_net_send(&net, frame, sizeof frame));          /* no driver: lost, not kept */
    vio_start(&d, b, DEVFN, V1 | MERGE, 2, 16);
    CHECK(!fake_net_send(&net, frame, sizeof frame));         /* no buffers: kept by the backend */
    unsigned ready = net.ready_calls;
    offer_rx(&d, 2, 512);
    CHECK(net.ready_calls > ready);
    CHECK(!fake_net_send(&net, frame, sizeof frame));         /* two are not enough, and stay there */
    CHECK_EQ(vq_used(&d, 0), 0);
    CHECK_EQ(b->dma_maps_open, 0);
    vq_set(&d, 0, 2, RX + 0x2000, 512, D_WRITE, 0);
    vq_offer(&d, 0, 2);
    CHECK(fake_net_send(&net, frame, 1024));
    CHECK_EQ(vq_used(&d, 0), 3);
    CHECK_EQ(gh_le16_get(b->ram + RX + 10), 3);
    CHECK(!memcmp(b->ram + RX + HDR, frame, 500));
    CHECK(!memcmp(b->ram + RX + 0x1000, frame + 500, 512));
    CHECK_EQ(vq_used_len(&d, 0, 2), 12);
    /* Without merging a frame must fit one chain. */
    vio_start(&d, b, DEVFN, V1, 2, 16);
    offer_rx(&d, 2, 512);
    CHECK(fake_net_send(&net, frame, 501));
    CHECK_EQ(vq_used(&d, 0), 0);
    CHECK(fake_net_send(&net, frame, 500));
    CHECK_EQ(vq_used(&d, 0), 1);
    CHECK_EQ(gh_le16_get(b->ram + RX + 10), 1);
    CHECK(fake_net_send(&net, frame, 5));                     /* a runt */
    CHECK_EQ(vq_used(&d, 0), 1);
    net.net.link(net.net.opaque, false);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2006, 2), 0);
    CHECK(fake_read(b, VIO_BAR + 0x1000, 1) & 2);
    end(b);
}

static void test_offload(void)
{
    struct gh_board *b = board(true);
    struct vio d;
    uint8_t in[HDR + 60] = { [0] = 0xff, [HDR] = 0x42 };
    vio_start(&d, b, DEVFN, ~0ull, 2, 16);
    CHECK(net.offload.csum && net.offload.tso4 && !net.offload.tso6);
    memset(b->ram + TX, 0, HDR);
    b->ram[TX] = 0xff;
    b->ram[TX + 1] = 0x81;                                    /* TCPv4 and ECN */
    gh_le16_put(b->ram + TX + 2, 54);
    gh_le16_put(b->ram + TX + 4, 1448);
    gh_le16_put(b->ram + TX + 6, 34);
    gh_le16_put(b->ram + TX + 8, 16);
    gh_le16_put(b->ram + TX + 10, 0xdead);
    transmit(&d, 1500);
    CHECK_EQ(net.frames, 1);
    CHECK_EQ(net.frame[0].len, 1500 + HDR);
    static const uint8_t rebuilt[HDR] = { 1, 1, 54, 0, 1448 & 0xff, 1448 >> 8, 34, 0, 16, 0, 0, 0 };
    CHECK(!memcmp(net.frame[0].data, rebuilt, HDR));
    gh_le16_put(b->ram + TX + 2, 1501);                       /* headers longer than the frame */
    transmit(&d, 1500);
    CHECK_EQ(net.frames, 1);
    offer_rx(&d, 1, 2048);
    CHECK(fake_net_send(&net, in, sizeof in));
    CHECK_EQ(b->ram[RX], 3);
    CHECK_EQ(b->ram[RX + HDR], 0x42);
    CHECK(fake_net_send(&net, in, 11));
    CHECK_EQ(vq_used(&d, 0), 1);
    struct gh_state_buffer first = { 0 }, second = { 0 };
    net.full = true;
    memset(b->ram + TX, 0, HDR);
    transmit(&d, 64);
    fake_save(b, &first);
    CHECK_EQ(b->dma_maps_open, 0);
    CHECK_EQ(fake_load(b, first.data, first.len, NULL), 0);
    fake_save(b, &second);
    CHECK(first.len == second.len && !memcmp(first.data, second.data, first.len));
    net.full = false;
    fake_run_deferred(b);
    CHECK_EQ(net.frames, 2);
    gh_state_buffer_fini(&first);
    gh_state_buffer_fini(&second);
    end(b);
}

/* ---- Segmentation by the card ---------------------------------------------------------------------------- */

static unsigned make_tcp(uint8_t *f, bool ipv6, unsigned payload)
{
    unsigned l4 = ipv6 ? 54 : 34, header = l4 + 20;
    memset(f, 0, header);
    memcpy(f, "\x02\0\0\0\0\x01\x52\x54\0\x01\x02\x03", 12);
    gh_be16_put(f + 12, ipv6 ? 0x86dd : 0x0800);
    if (ipv6) {
        f[14] = 0x60, f[20] = 6, f[21] = 64, f[37] = 1, f[53] = 2;
        gh_be16_put(f + 18, (uint16_t)(20 + payload));
    } else {
        f[14] = 0x45, f[22] = 64, f[23] = 6;
        gh_be16_put(f + 16, (uint16_t)(40 + payload));
        memcpy(f + 26, "\x0a\0\x02\x0f\x0a\0\x02\x02", 8);
    }
    f[l4 + 12] = 0x50, f[l4 + 13] = 0x19;
    for (unsigned i = 0; i < payload; i++)
        f[header + i] = (uint8_t)(i * 31 + i / 256);
    return header;
}

static void gso_header(uint8_t *h, uint8_t type, uint16_t size, uint16_t start, uint16_t offset)
{
    memset(h, 0, HDR);
    h[0] = 1, h[1] = type;
    gh_le16_put(h + 4, size);
    gh_le16_put(h + 6, start);
    gh_le16_put(h + 8, offset);
}

static void test_segments(bool ipv6)
{
    struct gh_board *b = board(false);
    struct vio d;
    vio_start(&d, b, DEVFN, ~0ull, 3, 16);
    unsigned l4 = ipv6 ? 54 : 34, header = make_tcp(b->ram + TX + HDR, ipv6, 4000);
    gso_header(b->ram + TX, ipv6 ? 4 : 1, 1440, (uint16_t)l4, 16);
    transmit(&d, header + 4000);
    CHECK_EQ(net.frames, 3);
    for (unsigned i = 0, done = 0; i < 3; i++, done += 1440) {
        unsigned n = i < 2 ? 1440 : 4000 - 2880;
        struct gh_packet_info info;
        CHECK_EQ(net.frame[i].len, header + n);
        gh_packet_parse(net.frame[i].data, net.frame[i].len, true, &info);
        CHECK(info.tcp && info.l4_good && (ipv6 ? info.ipv6 : info.ip_good));
        CHECK_EQ(gh_be32_get(net.frame[i].data + l4 + 4), done);
        CHECK_EQ(net.frame[i].data[l4 + 13], i == 2 ? 0x19 : 0x10);
        CHECK(!memcmp(net.frame[i].data + header, b->ram + TX + HDR + header + done, n));
    }
    /* The most segments there can be, in steps; and a backend that is full in the middle. */
    gso_header(b->ram + TX, ipv6 ? 4 : 1, 1, (uint16_t)l4, 16);
    transmit(&d, header + 4000);
    fake_run_deferred(b);
    CHECK_EQ(net.frames, 4003);
    CHECK_EQ(vq_used(&d, 1), 2);
    gso_header(b->ram + TX, ipv6 ? 1 : 4, 1440, (uint16_t)l4, 16);            /* the other family */
    transmit(&d, header + 4000);
    CHECK_EQ(net.frames, 4003);
    CHECK_EQ(vq_used(&d, 1), 3);
    end(b);
}

/* ---- Control queue ---------------------------------------------------------------------------------------- */

enum { CTL = 0x430000 };

/* Returns the answer, 0xff: none. */
static uint8_t control(struct vio *d, uint8_t class, uint8_t command, const void *data, uint32_t len)
{
    uint8_t *p = d->b->ram + CTL;
    p[0] = class, p[1] = command;
    memcpy(p + 2, data, len);
    p[0x1000] = 0xff;
    vq_set(d, 2, 0, CTL, 2 + len, D_NEXT, 1);
    vq_set(d, 2, 1, CTL + 0x1000, 1, D_WRITE, 0);
    vq_offer(d, 2, 0);
    vq_kick(d, 2);
    return p[0x1000];
}

static uint8_t mode(struct vio *d, uint8_t command, uint8_t on) { return control(d, 0, command, &on, 1); }

static bool passes(struct vio *d, const uint8_t *frame)
{
    uint16_t used = vq_used(d, 0);
    offer_rx(d, 1, 2048);
    CHECK(fake_net_send(&net, frame, 64));
    bool came = vq_used(d, 0) != used;
    if (!came) {                                              /* takes the buffer back */
        mode(d, 0, 1);
        CHECK(fake_net_send(&net, frame, 64));
        mode(d, 0, 0);
    }
    return came;
}

static void test_control(void)
{
    struct gh_board *b = board(false);
    struct vio d;
    uint8_t frame[64] = { 0x52, 0x54, 0x00, 0x01, 0x02, 0x04 };
    vio_start(&d, b, DEVFN, ~0ull, 3, 16);
    CHECK(passes(&d, frame));                                 /* open until told otherwise */
    CHECK_EQ(mode(&d, 0, 0), 0);
    CHECK(!passes(&d, frame));
    frame[5] = 3;
    CHECK(passes(&d, frame));
    CHECK_EQ(mode(&d, 4, 1), 0);
    CHECK(!passes(&d, frame));
    CHECK_EQ(mode(&d, 4, 0), 0);
    CHECK_EQ(control(&d, 1, 1, "\x52\x54\0\x09\x09\x09", 6), 0);   /* another address */
    CHECK(!passes(&d, frame));
    memcpy(frame, "\x52\x54\0\x09\x09\x09", 6);
    CHECK(passes(&d, frame));
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2002, 4), 0x09090900);
    /* The table: one unicast, one multicast address. */
    CHECK_EQ(control(&d, 1, 0, "\x01\0\0\0\x02\x11\x11\x11\x11\x11\x01\0\0\0\x01\0\x5e\0\0\xfb", 20), 0);
    memcpy(frame, "\x02\x11\x11\x11\x11\x11", 6);
    CHECK(passes(&d, frame));
    memcpy(frame, "\x01\0\x5e\0\0\xfb", 6);
    CHECK(passes(&d, frame));
    frame[5] = 0xfc;
    CHECK(!passes(&d, frame));
    CHECK_EQ(mode(&d, 1, 1), 0);
    CHECK(passes(&d, frame));
    CHECK_EQ(mode(&d, 3, 1), 0);
    CHECK(!passes(&d, frame));
    memset(frame, 0xff, 6);
    CHECK(passes(&d, frame));
    CHECK_EQ(mode(&d, 5, 1), 0);
    CHECK(!passes(&d, frame));
    CHECK_EQ(mode(&d, 5, 0), 0);
    /* More addresses than there is room for: all of the kind pass. */
    uint8_t many[8 + 100 * 6] = { 100 };
    CHECK_EQ(control(&d, 1, 0, many, sizeof many), 0);
    memcpy(frame, "\x02\x99\x99\x99\x99\x99", 6);
    CHECK(passes(&d, frame));
    /* VLANs. */
    gh_be32_put(frame + 12, 0x81000007);
    CHECK(!passes(&d, frame));
    CHECK_EQ(control(&d, 2, 0, "\x07\0", 2), 0);
    CHECK(passes(&d, frame));
    CHECK_EQ(control(&d, 2, 1, "\x07\0", 2), 0);
    CHECK(!passes(&d, frame));
    /* Commands that cannot be. */
    CHECK_EQ(control(&d, 2, 0, "\0\x10", 2), 1);
    CHECK_EQ(control(&d, 2, 2, "\0\0", 2), 1);
    CHECK_EQ(control(&d, 0, 6, "\0", 1), 1);
    CHECK_EQ(mode(&d, 0, 2), 1);
    CHECK_EQ(control(&d, 9, 0, "\0", 1), 1);
    CHECK_EQ(control(&d, 1, 1, "\0\0\0\0\0", 5), 1);
    CHECK_EQ(control(&d, 1, 0, "\xff\xff\xff\xff\0\0\0\0", 8), 1);
    CHECK_EQ(control(&d, 1, 0, "\0\0\0\0\x02\0\0\0\0\0", 10), 1);
    CHECK_EQ(control(&d, 3, 0, "", 0), 1);                    /* nothing was announced */
    CHECK_EQ(control(&d, 0, 0, "", 0), 1);
    /* The link comes back: the driver is asked to announce itself. */
    net.net.link(net.net.opaque, false);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2006, 2), 0);
    net.net.link(net.net.opaque, true);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2006, 2), 3);
    CHECK_EQ(control(&d, 3, 0, "", 0), 0);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2006, 2), 1);
    CHECK_EQ(vio_status(&d), 0xf);
    /* The driver's address and filter survive saving, and end with a reset. */
    struct gh_state_buffer first = { 0 }, second = { 0 };
    fake_save(b, &first);
    CHECK_EQ(fake_load(b, first.data, first.len, NULL), 0);
    fake_save(b, &second);
    CHECK(first.len == second.len && !memcmp(first.data, second.data, first.len));
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2002, 4), 0x09090900);
    gh_state_buffer_fini(&first);
    gh_state_buffer_fini(&second);
    vio_start(&d, b, DEVFN, V1, 2, 16);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2002, 4), 0x03020100);
    memcpy(frame, "\x02\x99\x99\x99\x99\x77", 6);
    offer_rx(&d, 1, 2048);
    CHECK(fake_net_send(&net, frame, 64));
    CHECK_EQ(vq_used(&d, 0), 1);
    end(b);
}

static void test_mtu_and_checks(void)
{
    struct gh_board *b = fake_board_new();
    struct vio d;
    fake_add(b, "i440fx", "pci0", NULL);
    fake_net_init(&net);
    dev = fake_create(b, "virtio-net", "net0");
    fake_set_options(dev, "addr=04.0,mtu=9000", NULL);
    fake_set_backend(dev, "netdev", &net.net);
    CHECK_FATAL(fake_attach(dev, NULL) == 0);
    vio_start(&d, b, DEVFN, ~0ull, 3, 16);
    CHECK(d.features & 1 << 3);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x200a, 2), 9000);
    /* A good checksum needs no second look by the guest; a wrong one does. */
    uint8_t frame[200];
    unsigned header = make_tcp(frame, false, 100);
    const struct gh_segments s = { .frame = frame, .l3 = 14, .ipv4 = true, .tcp = true };
    uint16_t seed = gh_packet_fold((uint64_t)gh_segments_pseudo(&s) + htobe16(120));
    memcpy(frame + 50, &seed, 2);
    gh_packet_checksum(frame, header + 100, 34, header + 100, 50);
    offer_rx(&d, 2, 2048);
    CHECK(fake_net_send(&net, frame, header + 100));
    CHECK_EQ(b->ram[RX], 2);
    frame[100] ^= 1;
    CHECK(fake_net_send(&net, frame, header + 100));
    CHECK_EQ(vq_used(&d, 0), 2);
    CHECK_EQ(b->ram[RX + 0x1000], 0);
    end(b);
    b = fake_board_new();
    fake_add(b, "i440fx", "pci0", NULL);
    dev = fake_create(b, "virtio-net", "net0");
    fake_set_options(dev, "mtu=60", NULL);
    struct gh_error err = { 0 };
    CHECK(fake_attach(dev, &err) < 0);
    CHECK_STR(err.id, "MtuTooSmall");
    fake_board_free(b);
}

/* ---- A hostile driver ----------------------------------------------------------------------------------- */

static uint64_t random_state = 1;
static uint32_t roll(uint32_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33) % below;
}

static void test_hostile(bool offloads)
{
    struct gh_board *b = board(offloads);
    struct vio d;
    static uint8_t in[70000];
    unsigned sent = 0, restarts = 0;
    vio_start(&d, b, DEVFN, ~0ull, 3, 16);
    for (unsigned round = 0; round < 10000; round++) {
        bool ipv6 = roll(2);
        unsigned payload = roll(roll(4) ? 3000 : 65000), header = make_tcp(b->ram + TX + HDR, ipv6, payload);
        uint8_t *h = b->ram + TX;
        gso_header(h, (uint8_t)(ipv6 ? 4 : 1), (uint16_t)(1 + roll(3000)), ipv6 ? 54 : 34, 16);
        for (unsigned n = roll(4); n--;)
            h[roll(HDR)] = (uint8_t)roll(256);
        for (unsigned n = roll(3); n--;)
            h[HDR + 12 + roll(60)] = (uint8_t)roll(256);
        net.full = !roll(10);
        unsigned before = net.frames;
        transmit(&d, roll(8) ? header + payload : 1 + roll(70000));
        fake_run_deferred(b);
        sent += net.frames != before;
        /* Control commands of noise, and frames for the guest with noise in front. */
        uint8_t noise[64];
        for (unsigned i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)(roll(2) ? roll(4) : roll(256));
        control(&d, (uint8_t)roll(5), (uint8_t)roll(7), noise, roll(sizeof noise));
        for (unsigned i = 0; i < 40; i++)
            in[i] = (uint8_t)roll(256);
        if (roll(2))
            offer_rx(&d, 1 + roll(4), 1 + roll(4000));
        fake_net_send(&net, in, roll(roll(4) ? 2000 : sizeof in));
        net.full = false;
        net.net.writable(net.net.opaque);
        if (vio_status(&d) != 0xf || !roll(200)) {
            vio_start(&d, b, DEVFN, roll(4) ? ~0ull : V1 | (uint64_t)roll(UINT32_MAX), 3, 16);
            restarts++;
        }
    }
    CHECK(sent > 1000);
    CHECK(restarts < 5000);
    vio_start(&d, b, DEVFN, V1, 3, 16);
    memset(b->ram + TX, 0, HDR);
    unsigned before = net.frames;
    transmit(&d, 64);
    CHECK_EQ(net.frames, before + 1);
    fake_quiesce(b);
    end(b);
}

int main(void)
{
    test_transmit();
    test_receive();
    test_offload();
    test_segments(false);
    test_segments(true);
    test_control();
    test_mtu_and_checks();
    test_hostile(false);
    test_hostile(true);
    return check_result();
}
