/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The IDE function: task file, PIO and DMA on disks, packets on CDs, resets, hostile tables. */
#include <errno.h>

#include "../check.h"
#include "fakebackend.h"
#include "fakeboard.h"

enum { DISK_BYTES = 8 << 20, CD_BYTES = 2 << 20, BM = 0xc000, MS = 1000000 };

static struct gh_board *b;
static struct fake_disk disk, cd;
static struct gh_device *ide;

static void config_write(unsigned devfn, unsigned reg, uint32_t v)
{
    fake_outl(b, 0xcf8, 0x80000000u | devfn << 8 | reg);
    fake_outl(b, 0xcfc, v);
}

static void set_up(void)
{
    struct gh_error err = { 0 };
    b = fake_board_new();
    fake_add(b, "i440fx", "pci", NULL);
    fake_disk_init(&disk, b, DISK_BYTES);
    fake_disk_init(&cd, b, CD_BYTES);
    cd.info.removable = cd.info.read_only = true;
    for (unsigned i = 0; i < DISK_BYTES; i++)
        disk.data[i] = (uint8_t)(i * 31 + i / 512);
    for (unsigned i = 0; i < CD_BYTES; i++)
        cd.data[i] = (uint8_t)(i * 13 + i / 2048);
    ide = fake_create(b, "piix3-ide", "ide0");
    fake_set_backend(ide, "primary-master", &disk.block);
    fake_set_backend(ide, "secondary-master", &cd.block);
    CHECK_FATAL(fake_attach(ide, &err) == 0);
    config_write(0x09, 0x20, BM | 1);
    config_write(0x09, 0x04, 5);
}

static void tear_down(void)
{
    CHECK_EQ(b->dma_maps_open, 0);
    fake_board_free(b);
    fake_disk_fini(&disk);
    fake_disk_fini(&cd);
}

static uint8_t wait_not_busy(uint16_t base)
{
    for (unsigned i = 0; i < 100 && fake_inb(b, base + 0x206) & 0x80; i++)
        fake_step_ns(b, MS / 10);
    return fake_inb(b, base + 7);
}

static void lba28(uint16_t base, uint8_t unit, uint32_t lba, uint8_t count)
{
    fake_outb(b, base + 6, (uint8_t)(0xe0 | unit << 4 | lba >> 24));
    fake_outb(b, base + 2, count);
    fake_outb(b, base + 3, (uint8_t)lba);
    fake_outb(b, base + 4, (uint8_t)(lba >> 8));
    fake_outb(b, base + 5, (uint8_t)(lba >> 16));
}

static void test_identify(void)
{
    uint16_t id[256];
    set_up();
    CHECK_EQ(fake_inb(b, 0x1f2), 1);
    CHECK_EQ(fake_inb(b, 0x1f4), 0);
    CHECK_EQ(fake_inb(b, 0x174), 0x14);
    CHECK_EQ(fake_inb(b, 0x175), 0xeb);
    fake_outb(b, 0x1f7, 0xec);
    CHECK_EQ(wait_not_busy(0x1f0), 0x58);
    CHECK_EQ(fake_irq_take(b, 14), 1);
    fake_rep(b, 0x1f0, 2, false, 256, id);
    CHECK_EQ(id[60] | id[61] << 16, DISK_BYTES / 512);
    CHECK_EQ(id[47] & 0xff, 128);
    CHECK_EQ(id[83] & 0x400, 0x400);
    CHECK_EQ(fake_inb(b, 0x1f7), 0x50);
    CHECK_EQ(fake_irq_take(b, 14), 0);
    /* The CD refuses IDENTIFY with its signature and answers the packet one. */
    fake_outb(b, 0x177, 0xec);
    CHECK_EQ(wait_not_busy(0x170) & 1, 1);
    CHECK_EQ(fake_inb(b, 0x174), 0x14);
    fake_outb(b, 0x177, 0xa1);
    CHECK_EQ(wait_not_busy(0x170), 0x58);
    fake_rep(b, 0x170, 2, false, 256, id);
    CHECK_EQ(id[0], 0x85c0);
    /* The absent slave. */
    fake_outb(b, 0x1f6, 0xb0);
    CHECK_EQ(fake_inb(b, 0x1f7), 0);
    fake_outb(b, 0x1f7, 0xec);
    CHECK_EQ(fake_inb(b, 0x1f7), 0);
    tear_down();
}

static void test_pio(void)
{
    static uint8_t buf[256 * 512];
    set_up();
    /* 200 sectors by one-sector blocks: an interrupt each. */
    lba28(0x1f0, 0, 7, 200);
    fake_outb(b, 0x1f7, 0x20);
    for (unsigned i = 0; i < 200; i++) {
        CHECK_FATAL(wait_not_busy(0x1f0) == 0x58);
        fake_rep(b, 0x1f0, 2, false, 256, buf + i * 512);
    }
    CHECK_EQ(fake_irq_take(b, 14), 200);
    CHECK(!memcmp(buf, disk.data + 7 * 512, 200 * 512));
    /* READ MULTIPLE EXT of 16. */
    lba28(0x1f0, 0, 0, 16);
    fake_outb(b, 0x1f7, 0xc6);
    CHECK_EQ(wait_not_busy(0x1f0), 0x50);
    fake_irq_take(b, 14);
    fake_outb(b, 0x1f2, 0);
    fake_outb(b, 0x1f2, 20);
    for (unsigned i = 3; i < 6; i++) {
        fake_outb(b, 0x1f0 + i, 0);
        fake_outb(b, 0x1f0 + i, 0);
    }
    fake_outb(b, 0x1f7, 0x29);
    CHECK_EQ(wait_not_busy(0x1f0), 0x58);
    fake_rep(b, 0x1f0, 4, false, 16 * 128, buf);
    CHECK_EQ(wait_not_busy(0x1f0), 0x58);
    fake_rep(b, 0x1f0, 4, false, 4 * 128, buf + 16 * 512);
    CHECK_EQ(fake_irq_take(b, 14), 2);
    CHECK_EQ(fake_inb(b, 0x1f7), 0x50);
    CHECK(!memcmp(buf, disk.data, 20 * 512));
    /* Write 256 sectors (count 0): two chunks. */
    for (unsigned i = 0; i < sizeof buf; i++)
        buf[i] = (uint8_t)(i * 3 + 1);
    lba28(0x1f0, 0, 100, 0);
    fake_outb(b, 0x1f7, 0x30);
    for (unsigned i = 0; i < 256; i++) {
        CHECK_FATAL(wait_not_busy(0x1f0) == 0x58);
        fake_rep(b, 0x1f0, 2, true, 256, buf + i * 512);
    }
    CHECK_EQ(wait_not_busy(0x1f0), 0x50);
    CHECK_EQ(fake_irq_take(b, 14), 256);
    CHECK(!memcmp(buf, disk.data + 100 * 512, sizeof buf));
    CHECK_EQ(disk.writes, 2);
    /* CHS: cylinder 1, head 2, sector 3 with 16 heads and 63 sectors. */
    fake_outb(b, 0x1f6, 0xa2);
    fake_outb(b, 0x1f2, 1);
    fake_outb(b, 0x1f3, 3);
    fake_outb(b, 0x1f4, 1);
    fake_outb(b, 0x1f5, 0);
    fake_outb(b, 0x1f7, 0x20);
    CHECK_EQ(wait_not_busy(0x1f0), 0x58);
    fake_rep(b, 0x1f0, 2, false, 256, buf);
    CHECK(!memcmp(buf, disk.data + ((1 * 16 + 2) * 63 + 2) * 512, 512));
    /* Beyond the end; the last sector; a failing medium; flush. */
    lba28(0x1f0, 0, DISK_BYTES / 512, 1);
    fake_outb(b, 0x1f7, 0x20);
    CHECK_EQ(wait_not_busy(0x1f0), 0x51);
    CHECK_EQ(fake_inb(b, 0x1f1), 0x10);
    lba28(0x1f0, 0, DISK_BYTES / 512 - 1, 1);
    fake_outb(b, 0x1f7, 0x20);
    CHECK_EQ(wait_not_busy(0x1f0), 0x58);
    disk.fail = -EIO;
    fake_outb(b, 0x1f7, 0x20);
    CHECK_EQ(wait_not_busy(0x1f0), 0x51);
    CHECK_EQ(fake_inb(b, 0x1f1), 0x40);
    disk.fail = 0;
    fake_outb(b, 0x1f7, 0xe7);
    CHECK_EQ(wait_not_busy(0x1f0), 0x50);
    CHECK_EQ(disk.flushes, 1);
    tear_down();
}

static void prd(unsigned i, uint32_t address, uint32_t bytes, bool last)
{
    fake_write(b, 0x1000 + i * 8, 4, address);
    fake_write(b, 0x1004 + i * 8, 4, (bytes & 0xffff) | (last ? 0x80000000u : 0));
}

static void dma(uint16_t base, uint16_t bm, bool read)
{
    fake_outl(b, bm + 4, 0x1000);
    fake_outb(b, bm + 2, 6);
    fake_outb(b, bm, read ? 8 : 0);
    fake_outb(b, bm, read ? 9 : 1);
}

static void test_dma(void)
{
    set_up();
    b->dma_chunk = 4096;
    /* Unaligned pieces that are no multiple of a sector each. */
    prd(0, 0x20002, 1000, false);
    prd(1, 0x30000, 0x10000, false);
    prd(2, 0x50000, 256 * 512 - 1000 - 0x10000, true);
    lba28(0x1f0, 0, 64, 0);
    fake_outb(b, 0x1f7, 0xc8);
    dma(0x1f0, BM, true);
    CHECK_EQ(wait_not_busy(0x1f0), 0x50);
    CHECK_EQ(fake_inb(b, BM + 2) & 7, 4);
    CHECK_EQ(fake_irq_take(b, 14), 1);
    CHECK(!memcmp(b->ram + 0x20002, disk.data + 64 * 512, 1000));
    CHECK(!memcmp(b->ram + 0x30000, disk.data + 64 * 512 + 1000, 0x10000));
    CHECK(!memcmp(b->ram + 0x50000, disk.data + 64 * 512 + 1000 + 0x10000, 256 * 512 - 1000 - 0x10000));
    fake_outb(b, BM, 0);
    /* Write; the bus master starts before the command. */
    memset(b->ram + 0x20000, 0x5a, 4096);
    prd(0, 0x20000, 4096, true);
    dma(0x1f0, BM, false);
    lba28(0x1f0, 0, 8, 8);
    fake_outb(b, 0x1f7, 0xca);
    CHECK_EQ(wait_not_busy(0x1f0), 0x50);
    CHECK_EQ(disk.data[8 * 512], 0x5a);
    CHECK_EQ(disk.data[16 * 512 - 1], 0x5a);
    fake_outb(b, BM, 0);
    /* The table points at nothing: error, no hang. */
    prd(0, 0xfee00000, 4096, true);
    lba28(0x1f0, 0, 8, 8);
    fake_outb(b, 0x1f7, 0xc8);
    dma(0x1f0, BM, true);
    CHECK_EQ(wait_not_busy(0x1f0), 0x51);
    CHECK_EQ(fake_inb(b, BM + 2) & 3, 2);
    fake_outb(b, BM, 0);
    /* A table that is too short leaves the drive waiting; a software reset frees it. */
    prd(0, 0x20000, 512, true);
    lba28(0x1f0, 0, 8, 8);
    fake_outb(b, 0x1f7, 0xc8);
    dma(0x1f0, BM, true);
    for (unsigned i = 0; i < 10; i++)
        fake_step_ns(b, MS);
    CHECK_EQ(fake_inb(b, 0x3f6), 0x58);
    CHECK_EQ(fake_inb(b, BM + 2) & 1, 0);
    fake_outb(b, 0x3f6, 4);
    CHECK_EQ(fake_inb(b, 0x1f7) & 0x80, 0x80);
    fake_outb(b, 0x3f6, 0);
    CHECK_EQ(fake_inb(b, 0x1f7), 0x50);
    fake_outb(b, BM, 0);
    /* Reset while a request is in flight: it is cancelled, and its memory let go. */
    disk.latency_ns = UINT64_MAX;
    prd(0, 0x20000, 4096, true);
    lba28(0x1f0, 0, 8, 8);
    fake_outb(b, 0x1f7, 0xc8);
    dma(0x1f0, BM, true);
    fake_outb(b, 0x3f6, 4);
    fake_outb(b, 0x3f6, 0);
    fake_run_deferred(b);
    CHECK_EQ(disk.cancelled, 1);
    CHECK_EQ(fake_inb(b, 0x1f7), 0x50);
    CHECK_EQ(b->dma_maps_open, 0);
    /* TRIM: two ranges. */
    disk.latency_ns = 10000;
    disk.info.can_discard = true;
    memset(b->ram + 0x20000, 0, 512);
    gh_le64_put(b->ram + 0x20000, 100 | 4ull << 48);
    gh_le64_put(b->ram + 0x20008, 200 | 1ull << 48);
    prd(0, 0x20000, 512, true);
    fake_outb(b, 0x1f1, 1);
    fake_outb(b, 0x1f2, 0);
    fake_outb(b, 0x1f2, 1);
    fake_outb(b, 0x1f6, 0xe0);
    fake_outb(b, 0x1f7, 0x06);
    dma(0x1f0, BM, false);
    CHECK_EQ(wait_not_busy(0x1f0), 0x50);
    CHECK_EQ(disk.others, 2);
    CHECK_EQ(disk.data[100 * 512 + 5] | disk.data[104 * 512 - 1] | disk.data[200 * 512], 0);
    tear_down();
}

static uint8_t packet(const uint8_t *cdb, uint16_t limit, bool by_dma)
{
    uint8_t padded[12] = { 0 };
    memcpy(padded, cdb, 12);
    fake_outb(b, 0x176, 0xa0);
    fake_outb(b, 0x171, by_dma);
    fake_outb(b, 0x174, (uint8_t)limit);
    fake_outb(b, 0x175, (uint8_t)(limit >> 8));
    fake_outb(b, 0x177, 0xa0);
    CHECK_EQ(wait_not_busy(0x170), 0x58);
    CHECK_EQ(fake_inb(b, 0x172) & 3, 1);
    fake_rep(b, 0x170, 2, true, 6, padded);
    return wait_not_busy(0x170);
}
#define CDB(...) (const uint8_t[12]){ __VA_ARGS__ }

/* Takes all DRQ blocks; returns bytes. */
static size_t drain(uint8_t *buf, size_t room)
{
    size_t n = 0;
    while (wait_not_busy(0x170) & 8) {
        uint32_t step = fake_inb(b, 0x174) | (uint32_t)fake_inb(b, 0x175) << 8;
        CHECK_EQ(fake_inb(b, 0x172) & 3, 2);
        if (!step || n + step > room + 1)
            break;
        fake_rep(b, 0x170, 2, false, (step + 1) / 2, buf + n);
        n += step;
    }
    CHECK_EQ(fake_inb(b, 0x172) & 3, 3);
    return n;
}

static uint32_t sense(void)
{
    uint8_t s[18 + 2];
    packet(CDB(0x03, 0, 0, 0, 18), 0xfffe, false);
    CHECK_EQ(drain(s, 18), 18);
    return (uint32_t)s[2] << 16 | (uint32_t)s[12] << 8 | s[13];
}

static void test_packets(void)
{
    static uint8_t buf[128 * 2048 + 2];
    set_up();
    CHECK_EQ(packet(CDB(0), 0, false), 0x50);
    CHECK_EQ(packet(CDB(0x12, 0, 0, 0, 36), 0xfffe, false), 0x58);
    CHECK_EQ(drain(buf, 36), 36);
    CHECK_EQ(buf[0], 5);
    CHECK_EQ(packet(CDB(0x25), 8, false), 0x58);
    CHECK_EQ(drain(buf, 8), 8);
    CHECK_EQ(gh_be32_get(buf), CD_BYTES / 2048 - 1);
    CHECK_EQ(gh_be32_get(buf + 4), 2048);
    /* PIO with several byte-count limits. */
    for (unsigned i = 0; i < 4; i++) {
        static const uint16_t limits[] = { 2048, 0xfffe, 0, 999 };
        memset(buf, 0, sizeof buf);
        CHECK_EQ(packet(CDB(0x28, 0, 0, 0, 0, 5, 0, 0, 100), limits[i], false), 0x58);
        CHECK_EQ(drain(buf, 100 * 2048), 100 * 2048);
        CHECK(!memcmp(buf, cd.data + 5 * 2048, 100 * 2048));
    }
    /* DMA. */
    prd(0, 0x100000, 0, false);
    prd(1, 0x110000, 0, true);
    packet(CDB(0xa8, 0, 0, 0, 0, 9, 0, 0, 0, 64), 0, true);
    dma(0x170, BM + 8, true);
    CHECK_EQ(wait_not_busy(0x170), 0x50);
    CHECK(!memcmp(b->ram + 0x100000, cd.data + 9 * 2048, 64 * 2048));
    CHECK_EQ(fake_inb(b, BM + 10) & 7, 4);
    /* Out of range, unknown command, medium error, each with its sense. */
    CHECK_EQ(packet(CDB(0x28, 0, 0, 0x10, 0, 0, 0, 0, 1), 2048, false) & 1, 1);
    CHECK_EQ(fake_inb(b, 0x171) >> 4, 5);
    CHECK_EQ(sense(), 0x052100);
    CHECK_EQ(packet(CDB(0xfe), 2048, false) & 1, 1);
    CHECK_EQ(sense(), 0x052000);
    cd.fail = -EIO;
    CHECK_EQ(packet(CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 2048, false) & 1, 1);
    CHECK_EQ(sense(), 0x031100);
    cd.fail = 0;
    /* TOC, both formats of address; event; configuration. */
    packet(CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 20), 0xfffe, false);
    CHECK_EQ(drain(buf, 20), 20);
    CHECK_EQ(gh_be32_get(buf + 16), CD_BYTES / 2048);
    packet(CDB(0x46, 0, 0, 0, 0, 0, 0, 1, 0), 0xfffe, false);
    drain(buf, 256);
    CHECK_EQ(gh_be16_get(buf + 6), 8);
    /* The medium changes: unit attention once, then the new capacity. */
    fake_disk_medium(&cd, 1 << 20);
    CHECK_EQ(packet(CDB(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 8, false), 0x58);
    CHECK_EQ(drain(buf, 8), 8);
    CHECK_EQ(buf[4], 2);
    CHECK_EQ(packet(CDB(0), 0, false), 0x51);
    CHECK_EQ(sense(), 0x062800);
    CHECK_EQ(packet(CDB(0), 0, false), 0x50);
    packet(CDB(0x25), 8, false);
    drain(buf, 8);
    CHECK_EQ(gh_be32_get(buf), (1 << 20) / 2048 - 1);
    /* Door: locked, refused, unlocked, ejected. */
    CHECK_EQ(packet(CDB(0x1e, 0, 0, 0, 1), 0, false), 0x50);
    CHECK(cd.door_locked);
    CHECK_EQ(packet(CDB(0x1b, 0, 0, 0, 2), 0, false), 0x51);
    CHECK_EQ(sense(), 0x055302);
    cd.block.medium_event(cd.block.event_opaque, true);
    packet(CDB(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 8, false);
    drain(buf, 8);
    CHECK_EQ(buf[4], 1);
    CHECK_EQ(packet(CDB(0x1e, 0, 0, 0, 0), 0, false), 0x50);
    CHECK_EQ(packet(CDB(0x1b, 0, 0, 0, 2), 0, false), 0x50);
    CHECK_EQ(cd.ejected, 0);
    CHECK_EQ(packet(CDB(0), 0, false), 0x51);
    CHECK_EQ(sense(), 0x023a00);
    tear_down();
}

static void test_state(void)
{
    struct gh_state_buffer one = { 0 }, two = { 0 };
    struct gh_error err = { 0 };
    uint8_t buf[1024];
    set_up();
    lba28(0x1f0, 0, 7, 2);
    fake_outb(b, 0x1f7, 0x20);
    CHECK_EQ(wait_not_busy(0x1f0), 0x58);
    fake_rep(b, 0x1f0, 2, false, 100, buf);
    fake_save(b, &one);
    tear_down();
    set_up();
    CHECK_EQ(fake_load(b, one.data, one.len, &err), 0);
    fake_save(b, &two);
    CHECK(one.len == two.len && !memcmp(one.data, two.data, one.len));
    fake_rep(b, 0x1f0, 2, false, 156, buf + 200);
    CHECK_EQ(wait_not_busy(0x1f0), 0x58);
    fake_rep(b, 0x1f0, 2, false, 256, buf + 512);
    CHECK(!memcmp(buf, disk.data + 7 * 512, 1024));
    gh_state_buffer_fini(&one);
    gh_state_buffer_fini(&two);
    tear_down();
}

/* Random pokes: nothing may crash, hang or leave a mapping behind. */
static void test_smoke(void)
{
    uint32_t seed = 12345;
    set_up();
    disk.info.can_discard = true;
    for (unsigned i = 0; i < 60000; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t r = seed >> 8;
        uint16_t base = r & 1 ? 0x1f0 : 0x170;
        switch (r >> 1 & 15) {
        case 0: fake_outb(b, base + 0x206, (uint8_t)(r >> 8)); break;
        case 1: fake_outl(b, BM + (r >> 8 & 12), r << 4); break;
        case 2: fake_outb(b, BM + (r >> 8 & 15), (uint8_t)(r >> 12)); break;
        case 3: case 4: fake_outb(b, base + 7, (uint8_t)(r >> 8)); break;
        case 5: fake_outb(b, base + 7, (const uint8_t[]){ 0xa0, 0x20, 0x30, 0xc8, 0xca, 0x06, 0xec, 0xc4 }[r >> 8 & 7]); break;
        case 6: fake_rep(b, base, 2, r & 64, r >> 8 & 511, b->ram + 0x8000); break;
        case 7: fake_inb(b, base + (r >> 8 & 7)); break;
        case 8: fake_step_ns(b, r & 0xffff); break;
        case 9: fake_write(b, r & 0xfff8, 8, (uint64_t)r << 20 | r); break;
        default: fake_outb(b, base + 1 + (r >> 8) % 6, (uint8_t)(r >> 12)); break;
        }
    }
    fake_reset(b, GH_RESET_WARM);
    CHECK_EQ(fake_inb(b, 0x1f7), 0x50);
    tear_down();
}

int main(void)
{
    test_identify();
    test_pio();
    test_dma();
    test_packets();
    test_state();
    test_smoke();
    return check_result();
}
