/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The virtio transport and queues through a mini driver: negotiation, interrupts, event index, indirect
 * tables, then everything a hostile driver may write into its rings; and the rng, console and input devices.
 */
#include "check.h"
#include "devices/virtio/virtio.h"
#include "fakebackend.h"
#include "virtio-helper.h"

#include <linux/input-event-codes.h>

enum { DEVFN = 4 << 3, BUFFER = 0x400000 };
#define V1       (1ull << 32)
#define INDIRECT (1ull << 28)
#define EVENT    (1ull << 29)

static struct gh_board *board(const char *class, struct gh_device **ret)
{
    struct gh_board *b = fake_board_new();
    fake_add(b, "i440fx", "pci0", NULL);
    fake_add(b, "piix3", "isa0", NULL);
    cfg_write32(b, 1 << 3, 0x60, 0x0b0a0b0a);                 /* PIRQs to 10 and 11 */
    *ret = fake_add(b, class, "dev0", "addr=04.0");
    return b;
}

static void test_transport(void)
{
    struct gh_device *dev;
    struct gh_board *b = board("virtio-rng", &dev);
    struct vio d;
    CHECK_EQ(cfg_read32(b, DEVFN, 0), 0x10441af4);
    CHECK_EQ(cfg_read8(b, DEVFN, 8), 1);
    unsigned types = 0;
    for (unsigned cap = cfg_capability(b, DEVFN, 9, 0); cap; cap = cfg_capability(b, DEVFN, 9, cap))
        types |= 1u << cfg_read8(b, DEVFN, cap + 3);
    CHECK_EQ(types, 0x3e);
    /* Features without VERSION_1 are not accepted, nor such that were not offered. */
    CHECK(!(vio_start(&d, b, DEVFN, EVENT, 1, 8) & 8));
    CHECK(vio_status(&d) & 0x40);
    CHECK_EQ(vio_start(&d, b, DEVFN, V1, 1, 8), 0xf);
    fake_write(b, VIO_BAR + 0x14, 1, 0);
    CHECK_EQ(vio_status(&d), 0);
    fake_write(b, VIO_BAR + 8, 4, 1);
    fake_write(b, VIO_BAR + 0xc, 4, 1);
    fake_write(b, VIO_BAR + 8, 4, 0);
    fake_write(b, VIO_BAR + 0xc, 4, 1 << 20);
    fake_write(b, VIO_BAR + 0x14, 1, 0xb);
    CHECK_EQ(vio_status(&d), 3);

    /* A queue: sizes that are refused, then one request with INTx. */
    CHECK_EQ(vio_start(&d, b, DEVFN, V1, 1, 8), 0xf);
    fake_write(b, VIO_BAR + 0x16, 2, 5);                      /* no such queue */
    CHECK_EQ(fake_read(b, VIO_BAR + 0x18, 2), 0);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x12, 2), 1);
    vq_set(&d, 0, 3, BUFFER, 100, D_WRITE, 0);
    vq_offer(&d, 0, 3);
    vq_kick(&d, 0);
    CHECK_EQ(vq_used(&d, 0), 1);
    CHECK_EQ(vq_used_id(&d, 0, 0), 3);
    CHECK_EQ(vq_used_len(&d, 0, 0), 100);
    unsigned zero = 0;
    for (unsigned i = 0; i < 100; i++)
        zero += b->ram[BUFFER + i] == 0;
    CHECK(zero < 10);
    CHECK_EQ(b->ram[BUFFER + 100], 0);
    CHECK(fake_irq(b, 11));                                   /* slot 4, INTA: PIRQD */
    CHECK_EQ(fake_read(b, VIO_BAR + 0x1000, 1), 1);
    CHECK(!fake_irq(b, 11));
    CHECK_EQ(fake_read(b, VIO_BAR + 0x1000, 1), 0);
    /* The driver does not want to hear. */
    gh_le16_put(b->ram + vq_desc(0) + VQ_AVAIL, 1);
    vq_offer(&d, 0, 3);
    vq_kick(&d, 0);
    CHECK_EQ(vq_used(&d, 0), 2);
    CHECK(!fake_irq(b, 11));
    CHECK_EQ(b->dma_maps_open, 0);
    /* Without bus mastering nothing moves. */
    cfg_write16(b, DEVFN, 4, 2);
    vq_offer(&d, 0, 3);
    vq_kick(&d, 0);
    CHECK_EQ(vq_used(&d, 0), 2);
    /* Configuration access through config space reaches the same registers. */
    unsigned cap = 0;
    for (unsigned at = cfg_capability(b, DEVFN, 9, 0); at; at = cfg_capability(b, DEVFN, 9, at))
        if (cfg_read8(b, DEVFN, at + 3) == 5)
            cap = at;
    cfg_write8(b, DEVFN, cap + 4, 4);
    cfg_write32(b, DEVFN, cap + 8, 0x14);
    cfg_write32(b, DEVFN, cap + 12, 1);
    CHECK_EQ(cfg_read8(b, DEVFN, cap + 16), 0xf);
    cfg_write8(b, DEVFN, cap + 16, 0);
    CHECK_EQ(vio_status(&d), 0);
    cfg_write32(b, DEVFN, cap + 8, 0xfffffff0);
    CHECK_EQ(cfg_read8(b, DEVFN, cap + 16), 0);
    cfg_write32(b, DEVFN, cap + 12, 3);
    CHECK_EQ(cfg_read8(b, DEVFN, cap + 16), 0);
    fake_board_free(b);
}

static void test_msix_event(void)
{
    struct gh_device *dev;
    struct gh_board *b = board("virtio-rng", &dev);
    struct vio d;
    vio_start(&d, b, DEVFN, V1 | EVENT | INDIRECT, 1, 8);
    unsigned cap = cfg_capability(b, DEVFN, 0x11, 0);
    cfg_write16(b, DEVFN, cap + 2, 0x8000);
    fake_write(b, VIO_MSIX + 16, 4, 0xfee00000);
    fake_write(b, VIO_MSIX + 24, 4, 0x41);
    fake_write(b, VIO_MSIX + 28, 4, 0);
    fake_write(b, VIO_BAR + 0x16, 2, 0);
    fake_write(b, VIO_BAR + 0x1a, 2, 9);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x1a, 2), 0xffff);        /* no such vector */
    fake_write(b, VIO_BAR + 0x1a, 2, 1);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x1a, 2), 1);
    uint8_t *used_event = b->ram + vq_desc(0) + VQ_AVAIL + 4 + 16, *avail_event = b->ram + vq_desc(0) + VQ_USED + 4 + 64;
    vq_set(&d, 0, 0, BUFFER, 8, D_WRITE, 0);
    vq_offer(&d, 0, 0);
    vq_kick(&d, 0);
    CHECK_EQ(b->msi_count, 1);
    CHECK_EQ(b->msi[0].data, 0x41);
    CHECK_EQ(gh_le16_get(avail_event), 1);
    gh_le16_put(used_event, 3);                               /* tell me after the fourth */
    for (unsigned i = 0; i < 3; i++) {
        vq_offer(&d, 0, 0);
        vq_kick(&d, 0);
        CHECK_EQ(b->msi_count, i < 2 ? 1 : 2);
    }
    /* An indirect table. */
    uint8_t *table = b->ram + 0x500000;
    memset(table, 0, 64);
    for (unsigned i = 0; i < 3; i++) {
        gh_le64_put(table + i * 16, BUFFER + i * 0x100);
        gh_le32_put(table + i * 16 + 8, 16);
        gh_le16_put(table + i * 16 + 12, i < 2 ? D_WRITE | D_NEXT : D_WRITE);
        gh_le16_put(table + i * 16 + 14, (uint16_t)(i + 1));
    }
    b->dma_chunk = 16;                                        /* and RAM in small pieces */
    vq_set(&d, 0, 0, 0x500000, 48, D_INDIRECT, 0);
    vq_offer(&d, 0, 0);
    vq_kick(&d, 0);
    CHECK_EQ(vq_used_len(&d, 0, 4), 48);
    b->dma_chunk = 0;
    /* Indices wrap. */
    vq_set(&d, 0, 0, BUFFER, 8, D_WRITE, 0);
    for (unsigned i = 0; i < 70000; i++) {
        vq_offer(&d, 0, 0);
        vq_kick(&d, 0);
    }
    CHECK_EQ(vq_used(&d, 0), (uint16_t)70005);
    CHECK_EQ(vio_status(&d), 0xf);
    CHECK_EQ(b->dma_maps_open, 0);
    fake_board_free(b);
}

struct hostile { const char *what; void (*make)(struct vio *d); };
static void put_indirect(struct vio *d, unsigned i, uint64_t address, uint32_t len, uint16_t flags, uint16_t next)
{
    uint8_t *p = d->b->ram + 0x500000 + i * 16;
    gh_le64_put(p, address);
    gh_le32_put(p + 8, len);
    gh_le16_put(p + 12, flags);
    gh_le16_put(p + 14, next);
}
static void h_loop(struct vio *d) { vq_set(d, 0, 0, BUFFER, 8, D_NEXT | D_WRITE, 1); vq_set(d, 0, 1, BUFFER, 8, D_NEXT | D_WRITE, 0); vq_offer(d, 0, 0); }
static void h_self(struct vio *d) { vq_set(d, 0, 0, BUFFER, 8, D_NEXT | D_WRITE, 0); vq_offer(d, 0, 0); }
static void h_next(struct vio *d) { vq_set(d, 0, 0, BUFFER, 8, D_NEXT | D_WRITE, 8); vq_offer(d, 0, 0); }
static void h_head(struct vio *d) { vq_offer(d, 0, 8); }
static void h_head_max(struct vio *d) { vq_offer(d, 0, 0xffff); }
static void h_not_ram(struct vio *d) { vq_set(d, 0, 0, FAKE_RAM_BYTES, 8, D_WRITE, 0); vq_offer(d, 0, 0); }
static void h_edge(struct vio *d) { vq_set(d, 0, 0, FAKE_RAM_BYTES - 4, 8, D_WRITE, 0); vq_offer(d, 0, 0); }
static void h_own_bar(struct vio *d) { vq_set(d, 0, 0, VIO_BAR + 0x4000, 8, D_WRITE, 0); vq_offer(d, 0, 0); }
static void h_own_msix(struct vio *d) { vq_set(d, 0, 0, VIO_MSIX, 16, D_WRITE, 0); vq_offer(d, 0, 0); }
static void h_wrap(struct vio *d) { vq_set(d, 0, 0, UINT64_MAX - 3, 8, D_WRITE, 0); vq_offer(d, 0, 0); }
static void h_huge(struct vio *d) { vq_set(d, 0, 0, 0, 0xffffffff, D_WRITE, 0); vq_offer(d, 0, 0); }
static void h_empty(struct vio *d) { vq_set(d, 0, 0, BUFFER, 0, D_WRITE, 0); vq_offer(d, 0, 0); }
static void h_order(struct vio *d) { vq_set(d, 0, 0, BUFFER, 8, D_NEXT | D_WRITE, 1); vq_set(d, 0, 1, BUFFER, 8, 0, 0); vq_offer(d, 0, 0); }
static void h_many(struct vio *d) { gh_le16_put(d->b->ram + vq_desc(0) + VQ_AVAIL + 2, 9); }
static void h_many_max(struct vio *d) { gh_le16_put(d->b->ram + vq_desc(0) + VQ_AVAIL + 2, 0xffff); }
static void h_ind_size(struct vio *d) { vq_set(d, 0, 0, 0x500000, 17, D_INDIRECT, 0); vq_offer(d, 0, 0); }
static void h_ind_empty(struct vio *d) { vq_set(d, 0, 0, 0x500000, 0, D_INDIRECT, 0); vq_offer(d, 0, 0); }
static void h_ind_far(struct vio *d) { vq_set(d, 0, 0, FAKE_RAM_BYTES - 8, 32, D_INDIRECT, 0); vq_offer(d, 0, 0); }
static void h_ind_wrap(struct vio *d) { vq_set(d, 0, 0, UINT64_MAX - 15, 32, D_INDIRECT, 0); vq_offer(d, 0, 0); }
static void h_ind_next(struct vio *d) { put_indirect(d, 0, BUFFER, 8, D_WRITE, 0); vq_set(d, 0, 0, 0x500000, 16, D_INDIRECT | D_NEXT, 1); vq_set(d, 0, 1, BUFFER, 8, D_WRITE, 0); vq_offer(d, 0, 0); }
static void h_ind_ind(struct vio *d) { put_indirect(d, 0, 0x500000, 16, D_INDIRECT, 0); vq_set(d, 0, 0, 0x500000, 16, D_INDIRECT, 0); vq_offer(d, 0, 0); }
static void h_ind_out(struct vio *d) { put_indirect(d, 0, BUFFER, 8, D_WRITE | D_NEXT, 1); vq_set(d, 0, 0, 0x500000, 16, D_INDIRECT, 0); vq_offer(d, 0, 0); }
static void h_ind_long(struct vio *d)
{
    for (unsigned i = 0; i < 9; i++)
        put_indirect(d, i, BUFFER, 8, i < 8 ? D_WRITE | D_NEXT : D_WRITE, (uint16_t)(i + 1));
    vq_set(d, 0, 0, 0x500000, 9 * 16, D_INDIRECT, 0);
    vq_offer(d, 0, 0);
}
static void h_ind_loop(struct vio *d) { put_indirect(d, 0, BUFFER, 8, D_WRITE | D_NEXT, 0); vq_set(d, 0, 0, 0x500000, 0xfffffff0, D_INDIRECT, 0); vq_offer(d, 0, 0); }

static const struct hostile hostile[] = {
    { "loop", h_loop }, { "self", h_self }, { "next", h_next }, { "head", h_head }, { "head max", h_head_max },
    { "not RAM", h_not_ram }, { "edge", h_edge }, { "own BAR", h_own_bar }, { "own MSI-X", h_own_msix }, { "wrap", h_wrap },
    { "huge", h_huge }, { "empty", h_empty }, { "order", h_order }, { "many", h_many }, { "many max", h_many_max },
    { "indirect size", h_ind_size }, { "indirect empty", h_ind_empty }, { "indirect far", h_ind_far },
    { "indirect wrap", h_ind_wrap }, { "indirect and next", h_ind_next }, { "indirect in indirect", h_ind_ind },
    { "indirect outside", h_ind_out }, { "indirect long", h_ind_long }, { "indirect loop", h_ind_loop },
};

static void test_hostile(void)
{
    struct gh_device *dev;
    struct gh_board *b = board("virtio-rng", &dev);
    struct vio d;
    for (unsigned i = 0; i < GH_ARRAY_LEN(hostile); i++) {
        vio_start(&d, b, DEVFN, V1 | INDIRECT, 1, 8);
        uint64_t errors = dev->guest_errors;
        hostile[i].make(&d);
        vq_kick(&d, 0);
        if (vio_status(&d) != 0x4f || vq_used(&d, 0) || dev->guest_errors == errors)
            fprintf(stderr, "case %s\n", hostile[i].what);
        CHECK_EQ(vio_status(&d), 0x4f);
        CHECK_EQ(vq_used(&d, 0), 0);
        CHECK(dev->guest_errors > errors);
        CHECK_EQ(b->dma_maps_open, 0);
        CHECK(fake_read(b, VIO_BAR + 0x1000, 1) & 2);         /* the driver is told */
        vq_kick(&d, 0);
        CHECK_EQ(vq_used(&d, 0), 0);                          /* and nothing moves until it resets */
    }
    /* Indirect tables that were not negotiated; the rings themselves outside of RAM, or not aligned. */
    vio_start(&d, b, DEVFN, V1, 1, 8);
    put_indirect(&d, 0, BUFFER, 8, D_WRITE, 0);
    vq_set(&d, 0, 0, 0x500000, 16, D_INDIRECT, 0);
    vq_offer(&d, 0, 0);
    vq_kick(&d, 0);
    CHECK_EQ(vio_status(&d), 0x4f);
    static const struct { unsigned reg; uint64_t value; } places[] = {
        { 0x20, 0xf0000000 }, { 0x28, 0xf0000000 }, { 0x30, 0xf0000000 }, { 0x20, 0xfffffffffffffff0 },
        { 0x28, 0xfffffffffffffffe }, { 0x30, 0xfffffffffffffffc }, { 0x20, VQ_BASE + 8 }, { 0x28, VQ_BASE + 1 }, { 0x30, VQ_BASE + 2 },
    };
    for (unsigned i = 0; i < GH_ARRAY_LEN(places); i++) {
        vio_start(&d, b, DEVFN, V1, 0, 8);
        fake_write(b, VIO_BAR + 0x16, 2, 0);
        fake_write(b, VIO_BAR + 0x18, 2, 8);
        fake_write(b, VIO_BAR + 0x20, 4, vq_desc(0));
        fake_write(b, VIO_BAR + 0x28, 4, vq_desc(0) + VQ_AVAIL);
        fake_write(b, VIO_BAR + 0x30, 4, vq_desc(0) + VQ_USED);
        fake_write(b, VIO_BAR + places[i].reg, 4, places[i].value & 0xffffffff);
        fake_write(b, VIO_BAR + places[i].reg + 4, 4, places[i].value >> 32);
        fake_write(b, VIO_BAR + 0x1c, 2, 1);
        memset(b->ram + vq_desc(0), 0, VQ_STRIDE);
        vq_set(&d, 0, 0, BUFFER, 8, D_WRITE, 0);
        vq_offer(&d, 0, 0);
        vq_kick(&d, 0);
        CHECK(vio_status(&d) & 0x40);
        CHECK_EQ(b->dma_maps_open, 0);
    }
    fake_board_free(b);
}

/* Rings full of noise: whatever comes of it, the process lives and no mapping stays behind. */
static void test_noise(void)
{
    struct gh_device *dev;
    struct gh_board *b = board("virtio-console", &dev);
    struct vio d;
    uint64_t x = 88172645463325252ull;
    unsigned failed = 0;
    for (unsigned round = 0; round < 3000; round++) {
        vio_start(&d, b, DEVFN, ~0ull, 2, 16);
        for (unsigned q = 0; q < 2; q++)
            for (unsigned i = 0; i < 64; i++) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                /* Mostly near the truth: addresses in or about RAM, small lengths, some flags. */
                uint64_t address = x & 7 ? x >> 8 & 0x1ffffff : x;
                uint32_t length = x & 24 ? (uint32_t)(x >> 40 & 0xfff) : (uint32_t)(x >> 20);
                if (i < 16)
                    vq_set(&d, q, i, address & 3 ? address : vq_desc(q), length & 3 ? length : length & 0xff0, x >> 33 & 7, x >> 36 & 0x1f);
                else
                    gh_le16_put(b->ram + vq_desc(q) + VQ_AVAIL + 4 + (i & 15) * 2, x >> 50 & 0x1f);
            }
        for (unsigned q = 0; q < 2; q++) {
            gh_le16_put(b->ram + vq_desc(q) + VQ_AVAIL + 2, (uint16_t)(round % 18));
            vq_kick(&d, q);
        }
        failed += vio_status(&d) == 0x4f;
        fake_write(b, VIO_BAR + 0x14, 1, 0);
        CHECK_EQ(b->dma_maps_open, 0);
    }
    CHECK(failed > 1000 && failed < 3000);                    /* both outcomes were met */
    fake_board_free(b);
}

static void test_console(void)
{
    struct gh_board *b = fake_board_new();
    struct fake_char c;
    struct vio d;
    fake_char_init(&c);
    fake_add(b, "i440fx", "pci0", NULL);
    struct gh_device *dev = fake_create(b, "virtio-console", "con0");
    fake_set_options(dev, "addr=04.0", NULL);
    fake_set_backend(dev, "chardev", &c.chr);
    CHECK_FATAL(fake_attach(dev, NULL) == 0);
    CHECK_EQ(fake_char_send(&c, "early", 5), 0);              /* nobody listens yet */
    vio_start(&d, b, DEVFN, V1, 2, 8);
    CHECK(c.ready_calls > 0);
    memcpy(b->ram + BUFFER, "hello, world", 12);
    vq_set(&d, 1, 0, BUFFER, 5, D_NEXT, 1);
    vq_set(&d, 1, 1, BUFFER + 5, 7, 0, 0);
    vq_offer(&d, 1, 0);
    vq_kick(&d, 1);
    CHECK(c.out_len == 12 && !memcmp(c.out, "hello, world", 12));
    /* The backend fills up in the middle of a chain. */
    c.room = 3;
    vq_offer(&d, 1, 0);
    vq_kick(&d, 1);
    CHECK_EQ(c.out_len, 15);
    CHECK_EQ(vq_used(&d, 1), 1);
    fake_char_open_room(&c, SIZE_MAX);
    CHECK(c.out_len == 24 && !memcmp(c.out + 12, "hello, world", 12));
    CHECK_EQ(vq_used(&d, 1), 2);
    /* Input waits for buffers. */
    CHECK_EQ(fake_char_send(&c, "abcdef", 6), 6);
    CHECK_EQ(vq_used(&d, 0), 0);
    vq_set(&d, 0, 0, BUFFER + 0x100, 4, D_WRITE, 0);
    vq_offer(&d, 0, 0);
    vq_offer(&d, 0, 0);
    vq_kick(&d, 0);
    CHECK_EQ(vq_used(&d, 0), 2);
    CHECK_EQ(vq_used_len(&d, 0, 0), 4);
    CHECK_EQ(vq_used_len(&d, 0, 1), 2);
    CHECK(!memcmp(b->ram + BUFFER + 0x100, "efcd", 4));
    /* Reset in the middle of a chain; then state with a half-sent one. */
    c.room = 1;
    vq_offer(&d, 1, 0);
    vq_kick(&d, 1);
    CHECK(b->dma_maps_open > 0);
    fake_write(b, VIO_BAR + 0x14, 1, 0);
    CHECK_EQ(b->dma_maps_open, 0);
    CHECK_EQ(vio_status(&d), 0);
    vio_start(&d, b, DEVFN, V1, 2, 8);
    c.out_len = 0;
    c.room = 4;
    vq_set(&d, 1, 0, BUFFER, 12, 0, 0);
    vq_offer(&d, 1, 0);
    vq_kick(&d, 1);
    struct gh_state_buffer first = { 0 }, second = { 0 };
    fake_save(b, &first);
    CHECK_EQ(b->dma_maps_open, 0);
    CHECK_EQ(fake_load(b, first.data, first.len, NULL), 0);
    fake_save(b, &second);
    CHECK(first.len == second.len && !memcmp(first.data, second.data, first.len));
    c.room = SIZE_MAX;
    fake_run_deferred(b);
    CHECK(c.out_len == 12 && !memcmp(c.out, "hello, world", 12));
    gh_state_buffer_fini(&first);
    gh_state_buffer_fini(&second);
    fake_board_free(b);
}

static void test_input(void)
{
    struct gh_device *dev, *found;
    struct gh_board *b = board("virtio-tablet", &dev);
    struct vio d;
    const struct gh_input_ops *ops = fake_input(b, GH_INPUT_ABSOLUTE, &found);
    CHECK_FATAL(ops && found == dev);
    CHECK(!ops->active(dev));
    vio_start(&d, b, DEVFN, V1, 2, 16);
    CHECK(ops->active(dev));
    fake_write(b, VIO_BAR + 0x2000, 1, 0x12);                 /* ABS_INFO of ABS_Y */
    fake_write(b, VIO_BAR + 0x2001, 1, 1);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2002, 1), 20);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2008 + 4, 4), 32767);
    fake_write(b, VIO_BAR + 0x2001, 1, 2);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2002, 1), 0);
    fake_write(b, VIO_BAR + 0x2000, 1, 1);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2002, 1), strlen("Gasthaus Tablet"));
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2000 + 136, 1), 0xff);
    for (uint16_t i = 0; i < 4; i++) {
        vq_set(&d, 0, i, BUFFER + i * 8u, 8, D_WRITE, 0);
        vq_offer(&d, 0, i);
    }
    ops->absolute(dev, 100, 65535);
    CHECK_EQ(vq_used(&d, 0), 0);                              /* not before the report is complete */
    ops->button(dev, BTN_LEFT, true);
    ops->sync(dev);
    CHECK_EQ(vq_used(&d, 0), 4);
    static const uint16_t expected[4][3] = { { EV_ABS, ABS_X, 100 }, { EV_ABS, ABS_Y, 32767 }, { EV_KEY, BTN_LEFT, 1 }, { EV_SYN, 0, 0 } };
    for (unsigned i = 0; i < 4; i++) {
        CHECK_EQ(gh_le16_get(b->ram + BUFFER + i * 8), expected[i][0]);
        CHECK_EQ(gh_le16_get(b->ram + BUFFER + i * 8 + 2), expected[i][1]);
        CHECK_EQ(gh_le32_get(b->ram + BUFFER + i * 8 + 4), expected[i][2]);
    }
    /* Many reports without buffers: whole ones are kept, the rest is dropped, nothing overflows. */
    for (unsigned i = 0; i < 1000; i++) {
        ops->absolute(dev, (uint16_t)i, 0);
        ops->sync(dev);
    }
    unsigned used = vq_used(&d, 0), syncs = 0, events = 0;
    for (unsigned i = 0; i < 1000; i++) {
        vq_offer(&d, 0, 0);
        vq_kick(&d, 0);
        if (vq_used(&d, 0) == used)
            break;
        used = vq_used(&d, 0);
        events++;
        syncs += gh_le16_get(b->ram + BUFFER) == EV_SYN;
    }
    CHECK_EQ(events, 255);
    CHECK_EQ(syncs, 85);
    fake_board_free(b);
    b = board("virtio-keyboard", &dev);
    vio_start(&d, b, DEVFN, V1, 2, 16);
    fake_write(b, VIO_BAR + 0x2000, 2, 0x0111);               /* EV_BITS of EV_KEY */
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2002, 1), 32);
    ops = fake_input(b, GH_INPUT_KEYBOARD, &found);
    vq_set(&d, 0, 0, BUFFER, 8, D_WRITE, 0);
    vq_offer(&d, 0, 0);
    ops->key(dev, KEY_A, true);
    ops->sync(dev);
    CHECK_EQ(gh_le16_get(b->ram + BUFFER + 2), KEY_A);
    fake_write(b, VIO_BAR + 0x14, 1, 0);
    CHECK(!ops->active(dev));
    fake_board_free(b);
}

static void test_state(void)
{
    struct gh_device *dev;
    struct gh_board *b = board("virtio-rng", &dev);
    struct vio d;
    struct gh_state_buffer buf = { 0 };
    vio_start(&d, b, DEVFN, V1, 1, 8);
    vq_set(&d, 0, 0, BUFFER, 8, D_WRITE, 0);
    vq_offer(&d, 0, 0);
    fake_save(b, &buf);                                       /* offered, never kicked */
    CHECK_EQ(fake_load(b, buf.data, buf.len, NULL), 0);
    fake_run_deferred(b);
    CHECK_EQ(vq_used(&d, 0), 1);
    struct gh_virtio *v = dev->state;
    static const struct { uint16_t size; uint64_t desc; } bad[] = { { 0, 0 }, { 7, 0 }, { 512, 0 }, { 8, 1 } };
    for (unsigned i = 0; i < GH_ARRAY_LEN(bad); i++) {
        v->queue[0].size = bad[i].size;
        v->queue[0].desc = bad[i].desc;
        CHECK(gh_virtio_loaded(v, NULL) < 0);
    }
    gh_state_buffer_fini(&buf);
    fake_board_free(b);
}

int main(void)
{
    test_transport();
    test_msix_event();
    test_hostile();
    test_noise();
    test_console();
    test_input();
    test_state();
    return check_result();
}
