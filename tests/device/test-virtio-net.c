/* SPDX-License-Identifier: GPL-3.0-or-later */
/* virtio-net: both directions, mergeable buffers, checksums, header checks, a full backend, link, offloads. */
#include "check.h"
#include "fakebackend.h"
#include "virtio-helper.h"

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
    CHECK(!(d.features & 1 << 11));
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

int main(void)
{
    test_transmit();
    test_receive();
    test_offload();
    return check_result();
}
