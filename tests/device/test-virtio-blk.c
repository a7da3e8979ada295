/* SPDX-License-Identifier: GPL-3.0-or-later */
/* virtio-blk: every request type, limits of the medium, errors, reset and save with requests in flight. */
#include "check.h"
#include "fakebackend.h"
#include "virtio-helper.h"

#include <errno.h>

enum { DEVFN = 4 << 3, HEADER = 0x400000, DATA = 0x410000, STATUS = 0x430000, DISK = 1 << 20 };
#define V1  (1ull << 32)
#define ALL (~0ull)

static struct fake_disk disk;
static struct gh_device *dev;

static struct gh_board *board(bool can_discard, bool read_only)
{
    struct gh_board *b = fake_board_new();
    fake_add(b, "i440fx", "pci0", NULL);
    fake_disk_init(&disk, b, DISK);
    disk.info.can_discard = can_discard;
    disk.info.read_only = read_only;
    dev = fake_create(b, "virtio-blk", "disk0");
    fake_set_options(dev, "addr=04.0,queues=2,serial=GH-0001", NULL);
    fake_set_backend(dev, "drive", &disk.block);
    CHECK_FATAL(fake_attach(dev, NULL) == 0);
    return b;
}

static void end(struct gh_board *b)
{
    CHECK_EQ(b->dma_maps_open, 0);
    fake_board_free(b);
    fake_disk_fini(&disk);
}

/* Three descriptors from 3 * slot; waits 1 ms of fake time. Returns the status byte, 0xee: none. */
static uint8_t request(struct vio *d, unsigned q, uint32_t type, uint64_t sector, uint32_t bytes, bool device_writes)
{
    uint8_t *ram = d->b->ram;
    gh_le32_put(ram + HEADER, type);
    gh_le32_put(ram + HEADER + 4, 0);
    gh_le64_put(ram + HEADER + 8, sector);
    ram[STATUS] = 0xee;
    vq_set(d, q, 0, HEADER, 16, D_NEXT, bytes ? 1 : 2);
    vq_set(d, q, 1, DATA, bytes, D_NEXT | (device_writes ? D_WRITE : 0), 2);
    vq_set(d, q, 2, STATUS, 1, D_WRITE, 0);
    vq_offer(d, q, 0);
    vq_kick(d, q);
    fake_step_ns(d->b, 1000000);
    return ram[STATUS];
}

static uint8_t range(struct vio *d, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
    gh_le64_put(d->b->ram + DATA, sector);
    gh_le32_put(d->b->ram + DATA + 8, sectors);
    gh_le32_put(d->b->ram + DATA + 12, flags);
    return request(d, 0, type, 0, 16, false);
}

static void test_requests(void)
{
    struct gh_board *b = board(true, false);
    struct vio d;
    CHECK_EQ(vio_start(&d, b, DEVFN, ALL, 2, 64), 0xf);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2000, 4), DISK / 512);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2000 + 34, 2), 2);
    CHECK(!(d.features & 1 << 5));
    memset(b->ram + DATA, 0xab, 4096);
    CHECK_EQ(request(&d, 0, 1, 8, 4096, false), 0);
    CHECK(disk.data[4096] == 0xab && disk.data[8191] == 0xab && disk.data[8192] == 0 && disk.data[4095] == 0);
    CHECK_EQ(vq_used_len(&d, 0, 0), 1);
    memset(b->ram + DATA, 0, 4096);
    CHECK_EQ(request(&d, 1, 0, 8, 4096, true), 0);            /* the other queue */
    CHECK(b->ram[DATA] == 0xab && b->ram[DATA + 4095] == 0xab);
    CHECK_EQ(vq_used_len(&d, 1, 0), 4097);
    CHECK_EQ(request(&d, 0, 4, 0, 0, false), 0);
    CHECK_EQ(disk.flushes, 1);
    CHECK_EQ(request(&d, 0, 8, 0, 20, true), 0);
    CHECK_STR((char *)b->ram + DATA, "GH-0001");
    CHECK_EQ(range(&d, 13, 8, 8, 0), 0);
    CHECK_EQ(range(&d, 13, 8, 8, 1), 0);
    CHECK_EQ(range(&d, 11, 8, 8, 0), 0);
    /* What must fail, and how. */
    unsigned ops = disk.reads + disk.writes + disk.others;
    CHECK_EQ(range(&d, 11, 8, 8, 1), 2);
    CHECK_EQ(range(&d, 13, 8, 8, 2), 2);
    CHECK_EQ(range(&d, 13, 8, 0, 0), 1);
    CHECK_EQ(range(&d, 13, DISK / 512 - 7, 8, 0), 1);
    CHECK_EQ(range(&d, 13, UINT64_MAX, 2, 0), 1);
    CHECK_EQ(range(&d, 13, 0, 0xffffffff, 0), 1);
    CHECK_EQ(request(&d, 0, 99, 0, 512, true), 2);
    CHECK_EQ(request(&d, 0, 0, DISK / 512, 512, true), 1);
    CHECK_EQ(request(&d, 0, 0, DISK / 512 - 1, 1024, true), 1);
    CHECK_EQ(request(&d, 0, 0, 0x7fffffffffffff, 1024, true), 1);
    CHECK_EQ(request(&d, 0, 0, UINT64_MAX, 512, true), 1);
    CHECK_EQ(request(&d, 0, 0, 0, 513, true), 1);
    CHECK_EQ(request(&d, 0, 0, 0, 0, true), 1);
    CHECK_EQ(disk.reads + disk.writes + disk.others, ops);
    CHECK_EQ(request(&d, 0, 0, DISK / 512 - 1, 512, true), 0);
    disk.fail = -EIO;
    CHECK_EQ(request(&d, 0, 0, 0, 512, true), 1);
    CHECK_EQ(vq_used_len(&d, 0, vq_used(&d, 0) - 1u), 1);
    disk.fail = 0;
    b->dma_chunk = 64;                                        /* many pieces */
    memset(b->ram + DATA, 0x77, 4096);
    CHECK_EQ(request(&d, 0, 1, 16, 4096, false), 0);
    CHECK(disk.data[8192] == 0x77 && disk.data[12287] == 0x77 && disk.data[12288] == 0);
    b->dma_chunk = 0;
    /* Resize: the driver is told. */
    disk.info.bytes = DISK / 2;
    uint8_t generation = (uint8_t)fake_read(b, VIO_BAR + 0x15, 1);
    disk.block.medium_event(disk.block.event_opaque, false);
    CHECK_EQ(fake_read(b, VIO_BAR + 0x2000, 4), DISK / 1024);
    CHECK(fake_read(b, VIO_BAR + 0x15, 1) != generation);
    CHECK(fake_read(b, VIO_BAR + 0x1000, 1) & 2);
    disk.info.bytes = DISK;
    /* No header, no status byte. */
    vq_set(&d, 0, 0, HEADER, 16, 0, 0);
    vq_offer(&d, 0, 0);
    vq_kick(&d, 0);
    CHECK_EQ(vio_status(&d), 0x4f);
    vio_start(&d, b, DEVFN, ALL, 2, 64);
    vq_set(&d, 0, 0, HEADER, 15, D_NEXT, 1);
    vq_set(&d, 0, 1, STATUS, 1, D_WRITE, 0);
    vq_offer(&d, 0, 0);
    vq_kick(&d, 0);
    CHECK_EQ(vio_status(&d), 0x4f);
    end(b);

    b = board(false, true);                                   /* read only, no discard */
    vio_start(&d, b, DEVFN, ALL, 2, 64);
    CHECK(d.features & 1 << 5);
    CHECK_EQ(request(&d, 0, 1, 0, 512, false), 1);
    CHECK_EQ(range(&d, 11, 8, 8, 0), 2);
    CHECK_EQ(disk.writes, 0);
    end(b);
}

static void test_reset_in_flight(void)
{
    struct gh_board *b = board(true, false);
    struct vio d;
    vio_start(&d, b, DEVFN, ALL, 2, 64);
    disk.latency_ns = UINT64_MAX;                             /* the disk holds everything */
    for (unsigned i = 0; i < 60; i++)
        CHECK_EQ(request(&d, i & 1, 0, i, 512, true), 0xee);
    CHECK_EQ(disk.in_flight, 60);
    fake_write(b, VIO_BAR + 0x14, 1, 0);
    if (disk.in_flight)
        CHECK(vio_status(&d) != 0);                           /* not yet */
    fake_disk_release(&disk);
    fake_step_ns(b, 1000000);
    CHECK_EQ(vio_status(&d), 0);
    CHECK_EQ(vq_used(&d, 0), 0);                              /* nothing is written into rings of yesterday */
    CHECK_EQ(b->dma_maps_open, 0);
    disk.latency_ns = 1000;
    vio_start(&d, b, DEVFN, V1, 2, 64);
    CHECK_EQ(request(&d, 0, 0, 0, 512, true), 0);
    /* Saved in flight: quiesce waits for the disk. */
    disk.latency_ns = 5000000;
    CHECK_EQ(request(&d, 0, 0, 1, 512, true), 0xee);
    struct gh_state_buffer first = { 0 }, second = { 0 };
    fake_save(b, &first);
    CHECK_EQ(b->ram[STATUS], 0);
    CHECK_EQ(fake_load(b, first.data, first.len, NULL), 0);
    fake_save(b, &second);
    CHECK(first.len == second.len && !memcmp(first.data, second.data, first.len));
    disk.latency_ns = 1000;
    CHECK_EQ(request(&d, 0, 0, 2, 512, true), 0);
    gh_state_buffer_fini(&first);
    gh_state_buffer_fini(&second);
    end(b);
}

int main(void)
{
    test_requests();
    test_reset_in_flight();
    return check_result();
}
