/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The AHCI controller: identify, DMA, native queueing, packets, errors and their recovery, resets, hot
 * plug, saved state in the middle of things, and 10,000 hostile command lists. */
#include <errno.h>

#include "../check.h"
#include "fakebackend.h"
#include "pci-helper.h"

enum { DISK_BYTES = 8 << 20, CD_BYTES = 2 << 20, MS = 1000000, DEVFN = 0x20 };
enum { ABAR = 0xd0000000u, LIST = 0x10000, FISES = 0x11000, TABLES = 0x20000, DATA = 0x100000, PORT_GAP = 0x40000 };
enum { P_CLB = 0x00, P_FB = 0x08, P_IS = 0x10, P_IE = 0x14, P_CMD = 0x18, P_TFD = 0x20, P_SIG = 0x24, P_SSTS = 0x28, P_SCTL = 0x2c,
       P_SERR = 0x30, P_SACT = 0x34, P_CI = 0x38 };
enum { IS_DHRS = 1, IS_PSS = 2, IS_SDBS = 8, IS_PCS = 0x40, IS_PRCS = 1 << 22, IS_OFS = 1 << 24, IS_IFS = 1 << 27, IS_HBFS = 1 << 29,
       IS_TFES = 1 << 30 };

static struct gh_board *b;
static struct fake_disk disk, cd;
static struct gh_device *ahci;

static uint32_t rd(unsigned reg) { return (uint32_t)fake_read(b, ABAR + reg, 4); }
static void wr(unsigned reg, uint32_t v) { fake_write(b, ABAR + reg, 4, v); }
static uint32_t prd(unsigned port, unsigned reg) { return rd(0x100 + port * 0x80 + reg); }
static void pwr(unsigned port, unsigned reg, uint32_t v) { wr(0x100 + port * 0x80 + reg, v); }
static uint8_t *ram(uint64_t at) { return b->ram + at; }
static uint64_t list(unsigned port) { return LIST + port * (uint64_t)PORT_GAP; }
static uint64_t fises(unsigned port) { return FISES + port * (uint64_t)PORT_GAP; }
static uint64_t table(unsigned port, unsigned slot) { return TABLES + port * (uint64_t)PORT_GAP + slot * 0x400; }

static void port_start(unsigned port)
{
    pwr(port, P_CLB, (uint32_t)list(port));
    pwr(port, P_FB, (uint32_t)fises(port));
    pwr(port, P_CMD, 0x16);
    pwr(port, P_SERR, ~0u);
    pwr(port, P_IS, ~0u);
    pwr(port, P_IE, 0x7dc000ff);
    pwr(port, P_CMD, 0x17);
}

static void set_up(void)
{
    struct gh_error err = { 0 };
    b = fake_board_new();
    fake_add(b, "i440fx", "pci", NULL);
    fake_disk_init(&disk, b, DISK_BYTES);
    fake_disk_init(&cd, b, CD_BYTES);
    disk.info.can_discard = true;
    cd.info.removable = cd.info.read_only = true;
    for (unsigned i = 0; i < DISK_BYTES; i++)
        disk.data[i] = (uint8_t)(i * 31 + i / 512);
    for (unsigned i = 0; i < CD_BYTES; i++)
        cd.data[i] = (uint8_t)(i * 13 + i / 2048);
    ahci = fake_create(b, "ahci", "ahci0");
    fake_set_options(ahci, "addr=04.0", &err);
    fake_set_backend(ahci, "drive0", &disk.block);
    fake_set_backend(ahci, "drive1", &cd.block);
    CHECK_FATAL(fake_attach(ahci, &err) == 0);
    cfg_write32(b, DEVFN, 0x24, ABAR);
    cfg_write32(b, DEVFN, 0x04, 6);
    wr(0x04, 0x80000002);
    port_start(0);
    port_start(1);
}

static void tear_down(void)
{
    CHECK_EQ(b->dma_maps_open, 0);
    fake_board_free(b);
    fake_disk_fini(&disk);
    fake_disk_fini(&cd);
}

/* One command with its data in regions of piece bytes from DATA on. */
static void put(unsigned port, unsigned slot, const uint8_t fis[20], const uint8_t *cdb, uint32_t bytes, uint32_t piece)
{
    uint8_t *t = ram(table(port, slot)), *h = ram(list(port) + slot * 32);
    uint32_t n = 0;
    memset(t, 0, 0x80);
    memcpy(t, fis, 20);
    if (cdb)
        memcpy(t + 0x40, cdb, 12);
    for (uint32_t at = 0; at < bytes; at += piece, n++) {
        gh_le64_put(t + 0x80 + n * 16, DATA + slot * 0x10000u + at);
        gh_le32_put(t + 0x8c + n * 16, (bytes - at < piece ? bytes - at : piece) - 1);
    }
    memset(h, 0, 32);
    gh_le32_put(h, 5 | (cdb ? 0x20 : 0) | n << 16);
    gh_le64_put(h + 8, table(port, slot));
}

static void fis_lba(uint8_t fis[20], uint8_t command, uint64_t lba, uint16_t count)
{
    memset(fis, 0, 20);
    fis[0] = 0x27;
    fis[1] = 0x80;
    fis[2] = command;
    for (unsigned i = 0; i < 3; i++) {
        fis[4 + i] = (uint8_t)(lba >> (i * 8));
        fis[8 + i] = (uint8_t)(lba >> (24 + i * 8));
    }
    fis[7] = 0x40;
    gh_le16_put(fis + 12, count);
}

static void fis_queued(uint8_t fis[20], bool write, unsigned slot, uint64_t lba, uint16_t count)
{
    fis_lba(fis, write ? 0x61 : 0x60, lba, (uint16_t)(slot << 3));
    fis[3] = (uint8_t)count;
    fis[11] = (uint8_t)(count >> 8);
}

static uint32_t issue(unsigned port, unsigned slot)
{
    pwr(port, P_CI, 1u << slot);
    for (unsigned i = 0; i < 200 && prd(port, P_CI) >> slot & 1 && !(prd(port, P_IS) & IS_TFES); i++)
        fake_step_ns(b, MS);
    return prd(port, P_TFD);
}

static uint32_t simple(unsigned port, uint8_t command, uint64_t lba, uint16_t count, uint32_t bytes)
{
    uint8_t fis[20];
    fis_lba(fis, command, lba, count);
    put(port, 0, fis, NULL, bytes, 4096);
    return issue(port, 0);
}

static void recover(unsigned port)
{
    pwr(port, P_CMD, 0x16);
    for (unsigned i = 0; i < 100 && prd(port, P_CMD) & 0x8000; i++)
        fake_step_ns(b, MS);
    CHECK_EQ(prd(port, P_CMD) & 0x8000, 0);
    pwr(port, P_SERR, ~0u);
    pwr(port, P_IS, ~0u);
    pwr(port, P_CMD, 0x17);
}

static void test_basics(void)
{
    set_up();
    CHECK_EQ(cfg_read32(b, DEVFN, 0), 0x29228086);
    CHECK_EQ(cfg_read32(b, DEVFN, 8) >> 8, 0x010601);
    CHECK_EQ(rd(0x10), 0x00010300);
    CHECK_EQ(rd(0x0c), 0x3f);
    CHECK_EQ(rd(0x00) & 0x1f, 5);
    CHECK_EQ(prd(0, P_SSTS), 0x133);
    CHECK_EQ(prd(0, P_SIG), 0x00000101);
    CHECK_EQ(prd(0, P_TFD), 0x150);
    CHECK_EQ(prd(1, P_SIG), 0xeb140101);
    CHECK_EQ(prd(2, P_SSTS), 0);
    CHECK_EQ(prd(2, P_SIG), 0xffffffff);
    CHECK_EQ(ram(fises(0))[0x40], 0x34);
    /* IDENTIFY: a PIO setup FIS with the ending status. */
    CHECK_EQ(simple(0, 0xec, 0, 0, 512), 0x50);
    CHECK_EQ(prd(0, P_IS) & (IS_PSS | IS_TFES), IS_PSS);
    CHECK_EQ(ram(fises(0))[0x20], 0x5f);
    CHECK_EQ(ram(fises(0))[0x2f], 0x50);
    CHECK_EQ(gh_le32_get(ram(list(0) + 4)), 512);
    CHECK_EQ(gh_le64_get(ram(DATA + 200)), DISK_BYTES / 512);
    CHECK_EQ(gh_le16_get(ram(DATA + 75 * 2)), 31);
    CHECK_EQ(gh_le16_get(ram(DATA + 76 * 2)) & 0x100, 0x100);
    CHECK_EQ(gh_le16_get(ram(DATA + 93 * 2)), 0);
    /* The CD answers the packet one only. */
    CHECK_EQ(simple(1, 0xec, 0, 0, 512) & 1, 1);
    CHECK(prd(1, P_IS) & IS_TFES);
    recover(1);
    CHECK_EQ(simple(1, 0xa1, 0, 0, 512), 0x50);
    CHECK_EQ(gh_le16_get(ram(DATA)), 0x85c0);
    /* DMA in both directions, regions of odd sizes, 48-bit count 0 means 65536: outside this disk. */
    uint8_t fis[20];
    fis_lba(fis, 0x25, 7, 40);
    put(0, 3, fis, NULL, 40 * 512, 1000);
    CHECK_EQ(issue(0, 3), 0x50);
    CHECK(!memcmp(ram(DATA + 3 * 0x10000), disk.data + 7 * 512, 40 * 512));
    CHECK_EQ(gh_le32_get(ram(list(0) + 3 * 32 + 4)), 40 * 512);
    memset(ram(DATA), 0x5a, 0x10000);
    CHECK_EQ(simple(0, 0x35, 100, 64, 64 * 512), 0x50);
    CHECK_EQ(disk.data[100 * 512], 0x5a);
    CHECK_EQ(disk.data[164 * 512 - 1], 0x5a);
    CHECK_EQ(simple(0, 0xea, 0, 0, 0), 0x50);
    CHECK_EQ(disk.flushes, 1);
    CHECK_EQ(simple(0, 0x25, 0, 0, 0x10000), 0x1051);
    recover(0);
    /* TRIM of two ranges. */
    memset(ram(DATA), 0, 512);
    gh_le64_put(ram(DATA), 100 | 8ull << 48);
    gh_le64_put(ram(DATA + 8), 120 | 4ull << 48);
    fis_lba(fis, 0x06, 0, 1);
    fis[3] = 1;
    put(0, 0, fis, NULL, 512, 512);
    CHECK_EQ(issue(0, 0), 0x50);
    CHECK_EQ(disk.others, 2);
    CHECK_EQ(disk.data[100 * 512], 0);
    CHECK_EQ(disk.data[120 * 512], 0);
    CHECK_EQ(disk.data[110 * 512], 0x5a);
    /* A maximal transfer: 32 MiB do not fit the fake RAM, 4 MiB in many pieces do. */
    fis_lba(fis, 0x25, 0, 8192);
    put(0, 1, fis, NULL, 8192 * 512, 1 << 18);
    CHECK_EQ(issue(0, 1), 0x50);
    CHECK(!memcmp(ram(DATA + 0x10000), disk.data, 8192 * 512));
    tear_down();
}

/* The function's interrupt status bit follows its line. */
static bool line_up(void) { return cfg_read16(b, DEVFN, 6) & 8; }

static void test_interrupts(void)
{
    set_up();
    wr(0x08, ~0u);
    CHECK(!line_up());
    simple(0, 0xe5, 0, 0, 0);
    CHECK_EQ(rd(0x08), 1);
    CHECK(line_up());
    pwr(0, P_IS, ~0u);
    CHECK_EQ(rd(0x08), 1);                    /* the summary stands until it is cleared itself */
    CHECK(line_up());
    wr(0x08, 1);
    CHECK_EQ(rd(0x08), 0);
    CHECK(!line_up());
    /* By message: one for each rise of a summary bit. */
    unsigned cap = cfg_capability(b, DEVFN, 5, 0);
    CHECK_FATAL(cap);
    cfg_write32(b, DEVFN, cap + 4, 0xfee00000);
    cfg_write16(b, DEVFN, cap + 12, 0x41);
    cfg_write16(b, DEVFN, cap + 2, 1);
    unsigned was = b->msi_count;
    simple(0, 0xe5, 0, 0, 0);
    CHECK_EQ(b->msi_count, was + 1);
    CHECK_EQ(b->msi[was].data, 0x41);
    simple(0, 0xe5, 0, 0, 0);
    CHECK_EQ(b->msi_count, was + 1);          /* still pending */
    wr(0x08, 1);                              /* cleared above, not below: it comes again */
    CHECK_EQ(b->msi_count, was + 2);
    pwr(0, P_IS, ~0u);
    wr(0x08, 1);
    CHECK_EQ(rd(0x08), 0);
    CHECK_EQ(b->msi_count, was + 2);
    tear_down();
}

static void test_queueing(void)
{
    uint8_t fis[20];
    set_up();
    disk.latency_ns = 5 * MS;
    for (unsigned slot = 0; slot < 32; slot++) {
        fis_queued(fis, slot & 1, slot, 1000 + slot * 16, 16);
        memset(ram(DATA + slot * 0x10000), (int)slot, 8192);
        put(0, slot, fis, NULL, 8192, 4096);
    }
    pwr(0, P_SACT, ~0u);
    pwr(0, P_CI, ~0u);
    CHECK_EQ(prd(0, P_CI), 0);                /* all accepted at once */
    CHECK_EQ(prd(0, P_SACT), ~0u);
    CHECK_EQ(disk.in_flight, 32);
    fake_step_ns(b, 10 * MS);
    CHECK_EQ(prd(0, P_SACT), 0);
    CHECK_EQ(prd(0, P_IS) & (IS_SDBS | IS_TFES), IS_SDBS);
    CHECK_EQ(ram(fises(0))[0x58], 0xa1);
    CHECK_EQ(disk.data[(1000 + 31 * 16) * 512], 31);
    CHECK(!memcmp(ram(DATA + 2 * 0x10000), disk.data + (1000 + 32) * 512, 8192));
    /* One fails: the rest of the queue is dropped, the log names it, reading the log clears it. */
    recover(0);
    fis_queued(fis, false, 5, DISK_BYTES, 16);
    put(0, 5, fis, NULL, 8192, 4096);
    fis_queued(fis, false, 4, 0, 16);
    put(0, 4, fis, NULL, 8192, 4096);
    pwr(0, P_SACT, 0x30);
    pwr(0, P_CI, 0x30);
    fake_step_ns(b, 20 * MS);
    CHECK(prd(0, P_IS) & IS_TFES);
    CHECK_EQ(prd(0, P_SACT) & 0x20, 0x20);
    CHECK_EQ(prd(0, P_TFD) >> 8, 0x10);
    recover(0);
    CHECK_EQ(prd(0, P_SACT), 0);
    CHECK_EQ(simple(0, 0x2f, 0x10, 1, 512), 0x50);
    CHECK_EQ(ram(DATA)[0], 5);
    CHECK_EQ(ram(DATA)[3], 0x10);
    CHECK_EQ(gh_le32_get(ram(DATA + 4)) & 0xffffff, DISK_BYTES & 0xffffff);
    uint8_t sum = 0;
    for (unsigned i = 0; i < 512; i++)
        sum = (uint8_t)(sum + ram(DATA)[i]);
    CHECK_EQ(sum, 0);
    CHECK_EQ(simple(0, 0x2f, 0x10, 1, 512), 0x50);
    CHECK_EQ(ram(DATA)[0], 0x80);
    /* A command that is not queued waits for those that are. */
    fis_queued(fis, false, 7, 0, 16);
    put(0, 7, fis, NULL, 8192, 4096);
    fis_lba(fis, 0xea, 0, 0);
    put(0, 8, fis, NULL, 0, 4096);
    pwr(0, P_SACT, 0x80);
    pwr(0, P_CI, 0x180);
    CHECK_EQ(prd(0, P_CI), 0x100);
    CHECK_EQ(disk.flushes, 0);
    fake_step_ns(b, 20 * MS);
    CHECK_EQ(prd(0, P_CI), 0);
    CHECK_EQ(disk.flushes, 1);
    tear_down();
}

#define CDB(...) (const uint8_t[12]){ __VA_ARGS__ }
static uint32_t packet(const uint8_t *cdb, uint32_t bytes)
{
    uint8_t fis[20];
    fis_lba(fis, 0xa0, 0, 0);
    put(1, 0, fis, cdb, bytes, 4096);
    return issue(1, 0);
}

static void test_packets(void)
{
    set_up();
    CHECK_EQ(packet(CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 30), 30 * 2048), 0x50);
    CHECK(!memcmp(ram(DATA), cd.data + 9 * 2048, 30 * 2048));
    CHECK_EQ(gh_le32_get(ram(list(1) + 4)), 30 * 2048);
    CHECK_EQ(packet(CDB(0x12, 0, 0, 0, 36), 36), 0x50);
    CHECK_EQ(ram(DATA)[0], 5);
    CHECK_EQ(packet(CDB(0xfe), 0), 0x5451);
    recover(1);
    CHECK_EQ(packet(CDB(0x03, 0, 0, 0, 18), 18), 0x50);
    CHECK_EQ(ram(DATA)[12], 0x20);
    cd.fail = -EIO;
    CHECK_EQ(packet(CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 2048), 0x3451);
    cd.fail = 0;
    recover(1);
    fake_disk_medium(&cd, 1 << 20);           /* another disc: unit attention once */
    CHECK_EQ(packet(CDB(0), 0), 0x6451);
    recover(1);
    CHECK_EQ(packet(CDB(0), 0), 0x50);
    CHECK_EQ(prd(1, P_SSTS), 0x133);          /* the drive itself stays plugged */
    CHECK_EQ(packet(CDB(0x1b, 0, 0, 0, 2), 0), 0x50);
    CHECK_EQ(cd.ejected, 0);
    tear_down();
}

static void test_errors(void)
{
    uint8_t fis[20];
    set_up();
    /* A medium error. */
    disk.fail = -EIO;
    CHECK_EQ(simple(0, 0x25, 0, 8, 4096), 0x4051);
    CHECK_EQ(prd(0, P_CI), 1);                /* stays, so that software sees which one */
    disk.fail = 0;
    pwr(0, P_CI, 2);                          /* nothing moves until ST was cleared */
    fake_step_ns(b, MS);
    CHECK_EQ(prd(0, P_CI), 3);
    recover(0);
    CHECK_EQ(prd(0, P_CI), 0);
    CHECK_EQ(simple(0, 0x25, 0, 8, 4096), 0x50);
    /* Fewer regions than data. */
    fis_lba(fis, 0x25, 0, 16);
    put(0, 0, fis, NULL, 4096, 4096);
    issue(0, 0);
    CHECK(prd(0, P_IS) & IS_OFS);
    recover(0);
    /* Regions, tables, lists outside RAM. */
    put(0, 0, fis, NULL, 8192, 4096);
    gh_le64_put(ram(table(0, 0) + 0x90), 0xfffffffff000ull);
    issue(0, 0);
    CHECK(prd(0, P_IS) & IS_HBFS);
    recover(0);
    gh_le64_put(ram(list(0) + 8), 0xe0000000);
    issue(0, 0);
    CHECK(prd(0, P_IS) & IS_HBFS);
    recover(0);
    put(0, 0, fis, NULL, 8192, 4096);
    ram(table(0, 0))[0] = 0x46;
    issue(0, 0);
    CHECK(prd(0, P_IS) & IS_IFS);
    recover(0);
    /* Unknown command, address outside, without bus mastering. */
    CHECK_EQ(simple(0, 0xff, 0, 0, 0), 0x451);
    recover(0);
    CHECK_EQ(simple(0, 0x25, DISK_BYTES / 512, 1, 512), 0x1051);
    recover(0);
    cfg_write16(b, DEVFN, 4, 2);
    fis_lba(fis, 0xe5, 0, 0);
    put(0, 0, fis, NULL, 0, 512);
    pwr(0, P_CI, 1);
    CHECK_EQ(prd(0, P_CI), 1);
    cfg_write16(b, DEVFN, 4, 6);
    CHECK_EQ(prd(0, P_CI), 0);
    tear_down();
}

static void test_resets(void)
{
    uint8_t fis[20];
    set_up();
    /* COMRESET with a request in flight: it is cancelled, the signature comes again. */
    disk.latency_ns = UINT64_MAX;
    fis_lba(fis, 0x25, 0, 8);
    put(0, 0, fis, NULL, 4096, 4096);
    pwr(0, P_CI, 1);
    CHECK_EQ(disk.in_flight, 1);
    pwr(0, P_CMD, 0x16);
    fake_step_ns(b, MS);
    CHECK_EQ(prd(0, P_CMD) & 0x8001, 0);
    CHECK_EQ(disk.cancelled, 1);
    memset(ram(fises(0)), 0, 256);
    pwr(0, P_SCTL, 0x301);
    CHECK_EQ(prd(0, P_SSTS), 1);
    CHECK_EQ(prd(0, P_TFD), 0x7f);
    pwr(0, P_SCTL, 0x300);
    CHECK_EQ(prd(0, P_SSTS), 0x133);
    CHECK_EQ(prd(0, P_TFD), 0x150);
    CHECK_EQ(ram(fises(0))[0x40], 0x34);
    CHECK_EQ(prd(0, P_IS) & IS_PCS, IS_PCS);
    pwr(0, P_SERR, ~0u);
    CHECK_EQ(prd(0, P_IS) & IS_PCS, 0);
    disk.latency_ns = 10000;
    port_start(0);
    CHECK_EQ(simple(0, 0x25, 0, 8, 4096), 0x50);
    /* Software reset: two FISes. */
    memset(fis, 0, sizeof fis);
    fis[0] = 0x27;
    fis[15] = 4;
    put(0, 0, fis, NULL, 0, 512);
    CHECK_EQ(issue(0, 0), 0x80);
    CHECK_EQ(prd(0, P_CI), 0);
    fis[15] = 0;
    put(0, 0, fis, NULL, 0, 512);
    CHECK_EQ(issue(0, 0), 0x150);
    /* Controller reset. */
    disk.latency_ns = UINT64_MAX;
    fis_lba(fis, 0x25, 0, 8);
    put(0, 0, fis, NULL, 4096, 4096);
    pwr(0, P_CI, 1);
    wr(0x04, 0x80000001);
    fake_step_ns(b, MS);
    CHECK_EQ(rd(0x04), 0x80000000);
    CHECK_EQ(prd(0, P_CLB), 0);
    CHECK_EQ(prd(0, P_CMD) & 0xc011, 0);
    CHECK_EQ(prd(0, P_SSTS), 0x133);
    CHECK_EQ(prd(0, P_SIG), 0xffffffff);      /* the first FIS waits for FRE */
    disk.latency_ns = 10000;
    wr(0x04, 0x80000002);
    port_start(0);
    CHECK_EQ(prd(0, P_SIG), 0x101);
    CHECK_EQ(simple(0, 0x25, 0, 8, 4096), 0x50);
    tear_down();
}

static void test_hot_plug(void)
{
    uint8_t fis[20];
    set_up();
    wr(0x08, ~0u);
    fis_lba(fis, 0x25, 0, 8);
    put(0, 0, fis, NULL, 4096, 4096);
    disk.latency_ns = UINT64_MAX;
    pwr(0, P_CI, 1);
    fake_disk_medium(&disk, 0);               /* pulled out while it works */
    fake_step_ns(b, MS);
    CHECK_EQ(prd(0, P_SSTS), 0);
    CHECK_EQ(prd(0, P_IS) & (IS_PCS | IS_PRCS), IS_PCS | IS_PRCS);
    CHECK_EQ(rd(0x08), 1);
    CHECK_EQ(prd(0, P_SIG), 0xffffffff);
    pwr(0, P_CMD, 0x16);
    CHECK_EQ(prd(0, P_CMD) & 0x8000, 0);
    pwr(0, P_SERR, ~0u);
    disk.latency_ns = 10000;
    fake_disk_medium(&disk, 4 << 20);         /* another one in */
    CHECK_EQ(prd(0, P_SSTS), 0x133);
    CHECK_EQ(prd(0, P_SIG), 0x101);
    CHECK_EQ(prd(0, P_IS) & IS_PCS, IS_PCS);
    recover(0);
    CHECK_EQ(simple(0, 0xec, 0, 0, 512), 0x50);
    CHECK_EQ(gh_le64_get(ram(DATA + 200)), (4 << 20) / 512);
    tear_down();
}

static void test_state(void)
{
    struct gh_state_buffer one = { 0 }, two = { 0 };
    struct gh_error err = { 0 };
    uint8_t fis[20];
    set_up();
    fis_queued(fis, false, 5, DISK_BYTES, 16);
    put(0, 5, fis, NULL, 8192, 4096);
    pwr(0, P_SACT, 0x20);
    pwr(0, P_CI, 0x20);
    fake_step_ns(b, MS);
    fake_save(b, &one);
    uint32_t is = prd(0, P_IS), sact = prd(0, P_SACT), tfd = prd(0, P_TFD);
    tear_down();
    set_up();
    CHECK_EQ(fake_load(b, one.data, one.len, &err), 0);
    CHECK_EQ(prd(0, P_IS), is);
    CHECK_EQ(prd(0, P_SACT), sact);
    CHECK_EQ(prd(0, P_TFD), tfd);
    fake_save(b, &two);
    CHECK(one.len == two.len && !memcmp(one.data, two.data, one.len));
    recover(0);
    CHECK_EQ(simple(0, 0x2f, 0x10, 1, 512), 0x50);
    CHECK_EQ(ram(DATA)[0], 5);
    CHECK_EQ(simple(0, 0x25, 7, 8, 4096), 0x50);
    CHECK(!memcmp(ram(DATA), disk.data + 7 * 512, 4096));
    gh_state_buffer_fini(&one);
    gh_state_buffer_fini(&two);
    tear_down();
}

/* ---- Hostile command lists ------------------------------------------------------------------------------ */
static uint64_t random_state = 1;
static uint32_t roll(uint32_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33) % below;
}

static uint64_t hostile_address(void)
{
    static const uint64_t edges[] = { 0, 0xfffffff0, 0xffffffffffffff80ull, FAKE_RAM_BYTES - 8, FAKE_RAM_BYTES, ABAR, 0xa0000, 1 };
    return roll(16) ? roll(FAKE_RAM_BYTES) & ~1u : edges[roll(GH_ARRAY_LEN(edges))];
}

static void hostile_command(unsigned port, unsigned slot)
{
    static const uint8_t ops[] = { 0x25, 0x35, 0x60, 0x61, 0x60, 0x61, 0xec, 0xea, 0x06, 0x2f, 0x47, 0xa0, 0xa1, 0xef, 0xb0, 0x20, 0x30, 0xc8,
                                   0xca, 0xc4, 0x27, 0xc6, 0x08, 0x90, 0x40 };
    uint8_t *t = ram(table(port, slot)), *h = ram(list(port) + slot * 32);
    unsigned regions = roll(8) ? 1 + roll(5) : roll(65536);
    for (unsigned i = 0; i < 0x80; i++)
        t[i] = (uint8_t)(roll(3) ? 0 : roll(256));
    t[0] = roll(16) ? 0x27 : (uint8_t)roll(256);
    t[1] = roll(16) ? 0x80 : (uint8_t)roll(256);
    t[2] = port && roll(4) ? 0xa0 : roll(2) ? ops[roll(6)] : roll(8) ? ops[roll(sizeof ops)] : (uint8_t)roll(256);
    if (roll(8)) {                            /* mostly on the disk, and not too much */
        t[5] &= 0x1f;
        t[6] = t[8] = t[9] = t[10] = t[11] = t[13] = 0;
        t[3] = t[12] = (uint8_t)roll(32);
        t[7] |= 0x40;
    }
    for (unsigned i = 0x41; i < 0x4c && roll(8); i++)
        t[i] = i == 0x45 || i == 0x48 ? (uint8_t)roll(16) : i == 0x49 ? 0x10 : 0;
    t[0x40] = (uint8_t[]){ 0x28, 0x12, 0x5a, 0x55, 0xa8, 0x43, 0x46, 0x1b, 0x4a, 0xbe }[roll(10)];
    for (unsigned i = 0; i < 6; i++) {
        gh_le64_put(t + 0x80 + i * 16, hostile_address());
        gh_le32_put(t + 0x8c + i * 16, roll(3) ? roll(0x20000) | 1 : roll(UINT32_MAX));
    }
    gh_le32_put(h, (roll(16) ? 5 : roll(32)) | roll(8) << 5 | regions << 16);
    gh_le64_put(h + 8, roll(16) ? table(port, slot) : hostile_address());
}

static void test_hostile(void)
{
    set_up();
    disk.latency_ns = cd.latency_ns = 200000;
    for (unsigned i = 0; i < 10000; i++) {
        unsigned port = roll(2);
        uint32_t slots = roll(2) ? 1u << roll(32) : roll(UINT32_MAX) & roll(UINT32_MAX);
        for (unsigned slot = 0; slot < 32; slot++)
            if (slots >> slot & 1)
                hostile_command(port, slot);
        if (roll(2))
            pwr(port, P_SACT, slots);
        pwr(port, P_CI, slots);
        if (roll(2))
            fake_step_ns(b, roll(1000000));
        switch (roll(64)) {
        case 0: wr(0x04, 0x80000003); break;
        case 1: pwr(port, P_SCTL, 0x301); break;
        case 2: fake_disk_medium(&disk, roll(2) ? 0 : DISK_BYTES); break;
        case 3: pwr(port, P_CLB, roll(UINT32_MAX)); break;
        case 4: pwr(port, P_FB, roll(UINT32_MAX)); break;
        case 5: disk.fail = roll(2) ? -EIO : 0; break;
        case 6: fake_reset(b, GH_RESET_WARM); break;
        case 7: cfg_write16(b, DEVFN, 4, (uint16_t)roll(8)); break;
        case 8: pwr(port, P_CMD, roll(UINT32_MAX)); break;
        default: break;
        }
        if (prd(port, P_IS) & 0x78000000 || !roll(3)) {       /* and software recovers as a driver would */
            cfg_write32(b, DEVFN, 0x24, ABAR);
            cfg_write16(b, DEVFN, 4, 6);
            wr(0x04, 0x80000002);
            pwr(port, P_SCTL, 0x300);
            pwr(port, P_CMD, 0x16);
            port_start(port);
        }
    }
    CHECK(disk.reads > 500 && disk.writes > 500 && cd.reads > 50);      /* hostile, yet it did get somewhere */
    fake_disk_medium(&disk, DISK_BYTES);
    disk.fail = 0;
    fake_step_ns(b, 100 * MS);
    fake_reset(b, GH_RESET_WARM);
    cfg_write32(b, DEVFN, 0x24, ABAR);
    cfg_write32(b, DEVFN, 4, 6);
    wr(0x04, 0x80000002);
    port_start(0);
    CHECK_EQ(simple(0, 0x25, 0, 8, 4096), 0x50);
    CHECK(!memcmp(ram(DATA), disk.data, 4096));
    tear_down();
}

int main(void)
{
    test_basics();
    test_interrupts();
    test_queueing();
    test_packets();
    test_errors();
    test_resets();
    test_hot_plug();
    test_state();
    test_hostile();
    return check_result();
}
