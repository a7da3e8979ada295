/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The NVMe controller: start, identify, queues, PRPs of all shapes, features, logs, events, shutdown, reset
 * with requests in flight, a namespace that goes and comes, saved state, 10,000 hostile command lists. */
#include <errno.h>
#include <inttypes.h>

#include "../check.h"
#include "fakebackend.h"
#include "pci-helper.h"

enum { DISK_BYTES = 8 << 20, MS = 1000000, DEVFN = 0x20, ENTRIES = 64 };
enum { ASQ = 0x10000, ACQ = 0x12000, SQ = 0x20000, CQ = 0x30000, QUEUE_GAP = 0x1000, DATA = 0x100000, LISTS = 0x400000 };
enum { CC = 0x14, CSTS = 0x1c, AQA = 0x24 };
enum { OP_FLUSH, OP_WRITE, OP_READ, OP_ZEROES = 8, OP_DSM = 9 };
#define BAR 0xd0000000ull

static struct gh_board *b;
static struct fake_disk disk;
static struct gh_device *nvme;
static struct { unsigned tail, head; bool phase; } queue[17];
static uint16_t next_cid;

struct sqe { uint8_t b[64]; };
struct end { bool there; uint16_t status, cid, sqid, sqhead; uint32_t result; };

static uint8_t *ram(uint64_t at) { return b->ram + at; }
static uint32_t rd(unsigned reg) { return (uint32_t)fake_read(b, BAR + reg, 4); }
static void wr(unsigned reg, uint32_t v) { fake_write(b, BAR + reg, 4, v); }
static uint64_t sq_base(unsigned q) { return q ? SQ + q * (uint64_t)QUEUE_GAP : ASQ; }
static uint64_t cq_base(unsigned q) { return q ? CQ + q * (uint64_t)QUEUE_GAP : ACQ; }

static void enable(void)
{
    cfg_write32(b, DEVFN, 0x10, (uint32_t)BAR);
    cfg_write32(b, DEVFN, 0x14, 0);
    cfg_write16(b, DEVFN, 4, 6);
    wr(AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    fake_write(b, BAR + 0x28, 8, ASQ);
    fake_write(b, BAR + 0x30, 8, ACQ);
    memset(ram(ACQ), 0, QUEUE_GAP);
    memset(queue, 0, sizeof queue);
    for (unsigned i = 0; i < 17; i++)
        queue[i].phase = true;
    wr(CC, 0x460001);
    CHECK_EQ(rd(CSTS), 1);
}

static void set_up(void)
{
    struct gh_error err = { 0 };
    b = fake_board_new();
    fake_add(b, "i440fx", "pci", NULL);
    fake_disk_init(&disk, b, DISK_BYTES);
    disk.info.can_discard = true;
    for (unsigned i = 0; i < DISK_BYTES; i++)
        disk.data[i] = (uint8_t)(i * 31 + i / 512);
    nvme = fake_create(b, "nvme", "nvme0");
    fake_set_options(nvme, "addr=04.0", &err);
    fake_set_backend(nvme, "drive", &disk.block);
    CHECK_FATAL(fake_attach(nvme, &err) == 0);
    enable();
}

static void tear_down(void)
{
    CHECK_EQ(b->dma_maps_open, 0);
    fake_board_free(b);
    fake_disk_fini(&disk);
}

static struct sqe command(uint8_t op, uint32_t nsid, uint64_t prp1, uint64_t prp2)
{
    struct sqe e = { { op } };
    gh_le16_put(e.b + 2, ++next_cid);
    gh_le32_put(e.b + 4, nsid);
    gh_le64_put(e.b + 24, prp1);
    gh_le64_put(e.b + 32, prp2);
    return e;
}
static struct sqe dwords(struct sqe e, uint32_t d10, uint32_t d11, uint32_t d12)
{
    gh_le32_put(e.b + 40, d10);
    gh_le32_put(e.b + 44, d11);
    gh_le32_put(e.b + 48, d12);
    return e;
}
static struct sqe io(uint8_t op, uint64_t lba, uint32_t count, uint64_t prp1, uint64_t prp2)
{
    return dwords(command(op, 1, prp1, prp2), (uint32_t)lba, (uint32_t)(lba >> 32), count - 1);
}

static void put(unsigned q, struct sqe e)
{
    memcpy(ram(sq_base(q) + queue[q].tail * 64), &e, 64);
    queue[q].tail = (queue[q].tail + 1) % ENTRIES;
}
static void ring(unsigned q) { wr(0x1000 + q * 8, queue[q].tail); }

static struct end take(unsigned q)
{
    const uint8_t *e = ram(cq_base(q) + queue[q].head * 16);
    struct end r = { .there = (gh_le16_get(e + 14) & 1) == queue[q].phase };
    if (!r.there)
        return r;
    r.result = gh_le32_get(e);
    r.sqhead = gh_le16_get(e + 8);
    r.sqid = gh_le16_get(e + 10);
    r.cid = gh_le16_get(e + 12);
    r.status = gh_le16_get(e + 14) >> 1;
    if (++queue[q].head == ENTRIES) {
        queue[q].head = 0;
        queue[q].phase = !queue[q].phase;
    }
    wr(0x1000 + q * 8 + 4, queue[q].head);
    return r;
}

static struct end run(unsigned q, struct sqe e)
{
    struct end r = { 0 };
    put(q, e);
    ring(q);
    for (unsigned i = 0; i < 100 && !r.there; i++) {
        r = take(q);
        if (!r.there)
            fake_step_ns(b, MS);
    }
    CHECK(r.there);
    CHECK_EQ(r.cid, gh_le16_get(e.b + 2));
    return r;
}
static uint16_t status(unsigned q, struct sqe e) { return run(q, e).status; }

static void make_queue(unsigned q, unsigned vector)
{
    memset(ram(cq_base(q)), 0, QUEUE_GAP);
    CHECK_EQ(status(0, dwords(command(5, 0, cq_base(q), 0), (ENTRIES - 1) << 16 | q, vector << 16 | 3, 0)), 0);
    CHECK_EQ(status(0, dwords(command(1, 0, sq_base(q), 0), (ENTRIES - 1) << 16 | q, q << 16 | 1, 0)), 0);
}

static void test_identify(void)
{
    set_up();
    CHECK_EQ(cfg_read32(b, DEVFN, 8) >> 8, 0x010802);
    CHECK_EQ(rd(0x08), 0x00010400);
    CHECK_EQ(rd(0x00) & 0xffff, 1023);
    CHECK_EQ(fake_read(b, BAR, 8) >> 37 & 1, 1);
    CHECK_EQ(status(0, dwords(command(6, 0, DATA, 0), 1, 0, 0)), 0);
    CHECK_EQ(gh_le32_get(ram(DATA + 80)), 0x00010400);
    CHECK_EQ(ram(DATA)[512], 0x66);
    CHECK_EQ(ram(DATA)[513], 0x44);
    CHECK_EQ(gh_le32_get(ram(DATA + 516)), 1);
    CHECK_EQ(gh_le16_get(ram(DATA + 520)), 0x0c);
    CHECK_EQ(ram(DATA)[77], 8);
    /* The same, across a page. */
    memset(ram(DATA), 0xee, 0x4000);
    CHECK_EQ(status(0, dwords(command(6, 0, DATA + 0x800, DATA + 0x2000), 1, 0, 0)), 0);
    CHECK_EQ(ram(DATA)[0x800 + 512], 0x66);
    CHECK_EQ(ram(DATA)[0x1000], 0xee);
    CHECK_EQ(gh_le16_get(ram(DATA + 0x2000)), 500);
    CHECK_EQ(status(0, dwords(command(6, 1, DATA, 0), 0, 0, 0)), 0);
    CHECK_EQ(gh_le64_get(ram(DATA)), DISK_BYTES / 512);
    CHECK_EQ(ram(DATA)[130], 9);
    CHECK_EQ(status(0, dwords(command(6, 0, DATA, 0), 2, 0, 0)), 0);
    CHECK_EQ(gh_le64_get(ram(DATA)), 1);
    CHECK_EQ(status(0, dwords(command(6, 1, DATA, 0), 3, 0, 0)), 0);
    CHECK_EQ(gh_le16_get(ram(DATA)), 0x1003);
    /* What is wrong has its status. */
    CHECK_EQ(status(0, dwords(command(6, 2, DATA, 0), 0, 0, 0)), 0x400b);
    CHECK_EQ(status(0, dwords(command(6, 0, DATA, 0), 0x77, 0, 0)), 0x4002);
    CHECK_EQ(status(0, command(0x7f, 0, 0, 0)), 0x4001);
    CHECK_EQ(status(0, dwords(command(6, 0, 0xfffffff000ull, 0), 1, 0, 0)), 0x4004);
    CHECK_EQ(status(0, dwords(command(6, 0, DATA + 2, 0), 1, 0, 0)), 0x4013);
    tear_down();
}

static void test_queues(void)
{
    set_up();
    CHECK_EQ(run(0, dwords(command(9, 0, 0, 0), 7, 0x000f000f, 0)).result, 0x00070007);
    CHECK_EQ(status(0, dwords(command(1, 0, SQ, 0), 63 << 16 | 1, 1 << 16 | 1, 0)), 0x4100);   /* no completion queue yet */
    CHECK_EQ(status(0, dwords(command(5, 0, CQ, 0), 63 << 16 | 0, 1, 0)), 0x4101);
    CHECK_EQ(status(0, dwords(command(5, 0, CQ, 0), 63 << 16 | 9, 1, 0)), 0x4101);
    CHECK_EQ(status(0, dwords(command(5, 0, CQ, 0), 0xffffu << 16 | 1, 1, 0)), 0x4102);
    CHECK_EQ(status(0, dwords(command(5, 0, CQ, 0), 0 << 16 | 1, 1, 0)), 0x4102);
    CHECK_EQ(status(0, dwords(command(5, 0, CQ, 0), 63 << 16 | 1, 40 << 16 | 1, 0)), 0x4108);
    CHECK_EQ(status(0, dwords(command(5, 0, CQ + 8, 0), 63 << 16 | 1, 1, 0)), 0x4002);
    make_queue(1, 0);
    make_queue(2, 0);
    CHECK_EQ(status(0, dwords(command(5, 0, CQ, 0), 63 << 16 | 1, 1, 0)), 0x4101);
    CHECK_EQ(status(0, dwords(command(4, 0, 0, 0), 1, 0, 0)), 0x410c);     /* still used */
    CHECK_EQ(status(1, io(OP_READ, 7, 8, DATA, 0)), 0);
    CHECK(!memcmp(ram(DATA), disk.data + 7 * 512, 4096));
    /* Deleting waits for what runs. */
    disk.latency_ns = 10 * MS;
    put(2, io(OP_READ, 0, 8, DATA, 0));
    ring(2);
    put(0, dwords(command(0, 0, 0, 0), 2, 0, 0));
    ring(0);
    CHECK(!take(0).there);
    fake_step_ns(b, 20 * MS);
    CHECK_EQ(take(2).there, true);
    struct end e = take(0);
    CHECK(e.there && e.status == 0);
    CHECK_EQ(status(0, dwords(command(4, 0, 0, 0), 2, 0, 0)), 0);
    CHECK_EQ(status(0, dwords(command(0, 0, 0, 0), 2, 0, 0)), 0x4101);
    disk.latency_ns = 10000;
    /* Full completion queue: commands wait in their queue, none is lost. */
    for (unsigned i = 0; i < ENTRIES - 1; i++)
        put(1, io(OP_READ, i, 1, DATA, 0));
    ring(1);
    fake_step_ns(b, MS);
    for (unsigned i = 0; i < 20; i++)
        put(1, io(OP_FLUSH, 0, 1, 0, 0));
    ring(1);
    fake_step_ns(b, MS);
    CHECK_EQ(disk.flushes, 0);
    unsigned got = 0;
    for (unsigned i = 0; i < 200; i++) {
        got += take(1).there;
        fake_step_ns(b, 20000);
    }
    CHECK_EQ(got, ENTRIES - 1 + 20);
    CHECK_EQ(disk.flushes, 20);
    tear_down();
}

static void test_io(void)
{
    set_up();
    make_queue(1, 0);
    /* One page, two pages, a list, a list with an offset, lists in a chain: up to 1 MiB. */
    static const unsigned sizes[] = { 1, 8, 9, 16, 17, 100, 1024, 2048 };
    for (unsigned i = 0; i < GH_ARRAY_LEN(sizes); i++) {
        for (unsigned offset = 0; offset <= 0xe00; offset += 0xe00) {
            uint64_t bytes = sizes[i] * 512u, first = 4096 - offset, pages = bytes > first ? (bytes - first + 4095) / 4096 : 0;
            uint64_t list = LISTS + (i & 1 ? 0xff0 : 0), prp2 = pages > 1 ? list : pages ? DATA + 0x1000 : 0;
            for (uint64_t n = 0, at = list; pages > 1 && n < pages; n++) {
                if (at % 4096 == 4088 && n + 1 < pages) {      /* the last entry leads on */
                    gh_le64_put(ram(at), (at & ~0xfffull) + 0x1000);
                    at = (at & ~0xfffull) + 0x1000;
                }
                gh_le64_put(ram(at), DATA + (n + 1) * 4096);
                at += 8;
            }
            memset(ram(DATA), 0, 0x102000);
            CHECK_EQ(status(1, io(OP_READ, 3, sizes[i], DATA + offset, prp2)), 0);
            CHECK(!memcmp(ram(DATA + offset), disk.data + 3 * 512, bytes));
            for (unsigned k = 0; k < bytes; k++)
                ram(DATA + offset)[k] = (uint8_t)(k * 7 + i);
            CHECK_EQ(status(1, io(OP_WRITE, 4096, sizes[i], DATA + offset, prp2)), 0);
            CHECK(!memcmp(ram(DATA + offset), disk.data + 4096 * 512, bytes));
        }
    }
    CHECK_EQ(status(1, io(OP_READ, 0, 2049, DATA, LISTS)), 0x4002);
    CHECK_EQ(status(1, io(OP_READ, DISK_BYTES / 512 - 7, 8, DATA, 0)), 0x4080);
    CHECK_EQ(status(1, io(OP_READ, UINT64_MAX, 8, DATA, 0)), 0x4080);
    CHECK_EQ(status(1, io(OP_READ, 0, 16, DATA, DATA + 0x1004)), 0x4013);
    CHECK_EQ(status(1, io(OP_READ, 0, 64, DATA, 0xf00000000ull)), 0x4004);
    /* A list that leads to its own last entry again and again. */
    gh_le64_put(ram(LISTS + 0xff8), LISTS + 0xff8);
    CHECK_EQ(status(1, io(OP_READ, 0, 64, DATA, LISTS + 0xff8)), 0x4013);
    /* Errors of the backend. */
    disk.fail = -EIO;
    CHECK_EQ(status(1, io(OP_READ, 0, 8, DATA, 0)), 0x281);
    CHECK_EQ(status(1, io(OP_WRITE, 0, 8, DATA, 0)), 0x280);
    disk.fail = 0;
    /* Flush, zeroes, TRIM of two ranges and an empty one. */
    CHECK_EQ(status(1, command(OP_FLUSH, UINT32_MAX, 0, 0)), 0);
    CHECK_EQ(disk.flushes, 1);
    CHECK_EQ(status(1, io(OP_ZEROES, 10, 20, 0, 0)), 0);
    CHECK_EQ(disk.data[10 * 512], 0);
    CHECK_EQ(disk.data[30 * 512 - 1], 0);
    memset(ram(DATA), 0, 4096);
    gh_le32_put(ram(DATA + 4), 8);
    gh_le64_put(ram(DATA + 8), 100);
    gh_le32_put(ram(DATA + 36), 4);
    gh_le64_put(ram(DATA + 40), 200);
    disk.data[150 * 512] = 1;
    CHECK_EQ(status(1, dwords(command(OP_DSM, 1, DATA, 0), 2, 4, 0)), 0);
    CHECK_EQ(disk.data[100 * 512], 0);
    CHECK_EQ(disk.data[203 * 512], 0);
    CHECK_EQ(disk.data[150 * 512], 1);
    gh_le64_put(ram(DATA + 40), DISK_BYTES);
    CHECK_EQ(status(1, dwords(command(OP_DSM, 1, DATA, 0), 2, 4, 0)), 0x4080);
    CHECK_EQ(status(1, command(OP_READ, 2, DATA, 0)), 0x400b);
    disk.info.read_only = true;
    CHECK_EQ(status(1, io(OP_WRITE, 0, 8, DATA, 0)), 0x4020);
    tear_down();
}

static void test_features_and_logs(void)
{
    set_up();
    CHECK_EQ(run(0, dwords(command(0x0a, 0, 0, 0), 6, 0, 0)).result, 1);
    CHECK_EQ(status(0, dwords(command(9, 0, 0, 0), 6, 0, 0)), 0);
    CHECK_EQ(run(0, dwords(command(0x0a, 0, 0, 0), 6, 0, 0)).result, 0);
    CHECK_EQ(run(0, dwords(command(0x0a, 0, 0, 0), 1 << 8 | 6, 0, 0)).result, 1);
    CHECK_EQ(status(0, dwords(command(9, 0, 0, 0), 0x80000006, 0, 0)), 0x410d);
    CHECK_EQ(status(0, dwords(command(9, 0, 0, 0), 0x55, 0, 0)), 0x4002);
    CHECK_EQ(status(0, dwords(command(2, 0, DATA, 0), 127 << 16 | 2, 0, 0)), 0);
    CHECK_EQ(gh_le16_get(ram(DATA + 1)), 310);
    CHECK_EQ(status(0, dwords(command(2, 0, DATA, 0), 15 << 16 | 1, 0, 0)), 0);
    CHECK_EQ(gh_le64_get(ram(DATA)), 2);      /* the two refused features */
    CHECK_EQ(gh_le16_get(ram(DATA + 12)) >> 1, 0x4002);
    CHECK_EQ(status(0, dwords(command(2, 0, DATA, 0), 15 << 16 | 0x70, 0, 0)), 0x4109);
    /* Events: a wrong doorbell tells, once, until the log is read. */
    put(0, command(0x0c, 0, 0, 0));
    put(0, command(0x0c, 0, 0, 0));
    ring(0);
    CHECK(!take(0).there);
    wr(0x1000 + 5 * 8, 3);
    struct end e = take(0);
    CHECK(e.there);
    CHECK_EQ(e.result, 0x00010000);
    wr(0x1000 + 5 * 8, 3);
    CHECK(!take(0).there);
    wr(0x1000, ENTRIES);
    CHECK_EQ(run(0, dwords(command(0x0a, 0, 0, 0), 6, 0, 0)).there, true);
    put(0, dwords(command(2, 0, DATA, 0), 15 << 16 | 1, 0, 0));
    ring(0);
    e = take(0);
    CHECK(e.there);
    CHECK_EQ(e.result >> 16, 1);
    CHECK(take(0).there);
    for (unsigned i = 0; i < 5; i++)
        put(0, command(0x0c, 0, 0, 0));
    ring(0);
    e = take(0);                              /* the fifth is one too many */
    CHECK_EQ(e.status, 0x4105);
    /* The namespace goes and comes; who asked for it hears. */
    CHECK_EQ(status(0, dwords(command(9, 0, 0, 0), 11, 0x100, 0)), 0);
    fake_disk_medium(&disk, 0);
    e = take(0);
    CHECK_EQ(e.result, 0x00040002);
    CHECK_EQ(status(0, dwords(command(2, 0, DATA, 0), 1023 << 16 | 4, 0, 0)), 0);
    CHECK_EQ(gh_le32_get(ram(DATA)), 1);
    CHECK_EQ(status(0, dwords(command(6, 0, DATA, 0), 2, 0, 0)), 0);
    CHECK_EQ(gh_le32_get(ram(DATA)), 0);
    fake_disk_medium(&disk, 4 << 20);
    CHECK_EQ(take(0).result, 0x00040002);
    CHECK_EQ(status(0, dwords(command(6, 1, DATA, 0), 0, 0, 0)), 0);
    CHECK_EQ(gh_le64_get(ram(DATA)), (4 << 20) / 512);
    tear_down();
}

static void test_interrupts(void)
{
    set_up();
    unsigned cap = cfg_capability(b, DEVFN, 0x11, 0);
    CHECK_FATAL(cap);
    CHECK_EQ((cfg_read16(b, DEVFN, cap + 2) & 0x7ff) + 1, 17);
    for (unsigned v = 0; v < 3; v++) {
        fake_write(b, BAR + 0x2000 + v * 16, 8, 0xfee00000);
        fake_write(b, BAR + 0x2000 + v * 16 + 8, 4, 0x50 + v);
        fake_write(b, BAR + 0x2000 + v * 16 + 12, 4, 0);
    }
    cfg_write16(b, DEVFN, cap + 2, 0x8000);
    make_queue(1, 2);
    unsigned was = b->msi_count;
    CHECK_EQ(status(1, io(OP_FLUSH, 0, 1, 0, 0)), 0);
    CHECK_EQ(b->msi_count, was + 1);
    CHECK_EQ(b->msi[was].data, 0x52);
    tear_down();
}

static void test_resets(void)
{
    set_up();
    make_queue(1, 0);
    disk.latency_ns = UINT64_MAX;
    put(1, io(OP_READ, 0, 8, DATA, 0));
    put(1, io(OP_WRITE, 0, 8, DATA, 0));
    ring(1);
    CHECK_EQ(disk.in_flight, 2);
    wr(CC, 0x460000);
    fake_step_ns(b, MS);
    CHECK_EQ(rd(CSTS), 0);
    CHECK_EQ(disk.in_flight, 0);
    CHECK_EQ(b->dma_maps_open, 0);
    disk.latency_ns = 10000;
    enable();
    make_queue(1, 0);
    CHECK_EQ(status(1, io(OP_READ, 1, 8, DATA, 0)), 0);
    /* Shutdown flushes, then says so. */
    unsigned flushes = disk.flushes;
    wr(CC, 0x464001);
    CHECK_EQ(rd(CSTS) & 0x0c, 0x04);
    fake_step_ns(b, MS);
    CHECK_EQ(rd(CSTS) & 0x0c, 0x08);
    CHECK_EQ(disk.flushes, flushes + 1);
    wr(CC, 0x460000);
    /* Settings that cannot be: fatal, and a reset helps. */
    wr(CC, 0x460081);
    CHECK_EQ(rd(CSTS) & 3, 2);
    wr(CC, 0);
    CHECK_EQ(rd(CSTS), 0);
    fake_write(b, BAR + 0x28, 8, 0xf00000000ull);
    wr(CC, 0x460001);
    wr(0x1000, 1);
    CHECK_EQ(rd(CSTS) & 2, 2);
    wr(CC, 0);
    enable();
    CHECK_EQ(status(0, dwords(command(6, 0, DATA, 0), 1, 0, 0)), 0);
    tear_down();
}

static void test_state(void)
{
    struct gh_state_buffer one = { 0 }, two = { 0 };
    struct gh_error err = { 0 };
    set_up();
    make_queue(1, 0);
    put(0, command(0x0c, 0, 0, 0));
    ring(0);
    put(1, io(OP_READ, 7, 8, DATA, 0));
    ring(1);
    fake_save(b, &one);
    uint8_t *memory = malloc(1 << 20);
    memcpy(memory, b->ram, 1 << 20);
    unsigned tails[2] = { queue[0].tail, queue[1].tail }, head = queue[0].head;
    tear_down();
    set_up();
    CHECK_EQ(fake_load(b, one.data, one.len, &err), 0);
    memcpy(b->ram, memory, 1 << 20);
    queue[0].tail = tails[0];
    queue[1].tail = tails[1];
    queue[0].head = head;
    fake_save(b, &two);
    CHECK(one.len == two.len && !memcmp(one.data, two.data, one.len));
    CHECK_EQ(take(1).there, true);
    CHECK_EQ(status(1, io(OP_READ, 9, 8, DATA, 0)), 0);
    CHECK(!memcmp(ram(DATA), disk.data + 9 * 512, 4096));
    wr(0x1000 + 5 * 8, 3);
    CHECK_EQ(take(0).result, 0x00010000);
    free(memory);
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
    static const uint64_t edges[] = { 0, 0xfffff000, 0xfffffffffffff000ull, FAKE_RAM_BYTES - 4096, FAKE_RAM_BYTES, BAR, 0xa0000, 4, LISTS + 0xff8 };
    return roll(3) ? (uint64_t)roll(FAKE_RAM_BYTES / 4096) * 4096 + (roll(4) ? 0 : roll(1024) * 4u) : edges[roll(GH_ARRAY_LEN(edges))];
}

static struct sqe hostile_command(unsigned q)
{
    static const uint8_t admin[] = { 0, 1, 2, 4, 5, 6, 8, 9, 0x0a, 0x0c }, ops[] = { 0, 1, 2, 2, 1, 8, 9 };
    struct sqe e = command(roll(8) ? q ? ops[roll(sizeof ops)] : admin[roll(sizeof admin)] : (uint8_t)roll(256), roll(8) ? 1 : roll(UINT32_MAX),
                           hostile_address(), hostile_address());
    for (unsigned i = 10; i < 16; i++)
        gh_le32_put(e.b + i * 4, i == 11 && roll(8) ? roll(2) * 4 : roll(8) ? roll(roll(2) ? 4 : 2048) : roll(UINT32_MAX));
    if (!q && roll(2))
        gh_le32_put(e.b + 40, (roll(4) ? ENTRIES - 1 : roll(65536)) << 16 | roll(10));
    if (!q && roll(2))
        gh_le32_put(e.b + 44, roll(10) << 16 | 1);
    return e;
}

static void test_hostile(void)
{
    set_up();
    disk.latency_ns = 200000;
    for (unsigned i = 0; i < 10000; i++) {
        unsigned q = roll(4);
        for (unsigned n = 1 + roll(roll(8) ? 4 : ENTRIES); n--;)
            put(q, hostile_command(q));
        for (unsigned n = roll(16); n--;)
            gh_le64_put(ram(LISTS + roll(2048) * 8), hostile_address());
        ring(q);
        if (!roll(4))
            fake_step_ns(b, roll(1000000));
        while (roll(8) && take(q).there) {
        }
        switch (roll(64)) {
        case 0: wr(CC, 0x460000 | roll(2)); break;
        case 1: wr(0x1000 + roll(1024) * 4, roll(UINT32_MAX)); break;
        case 2: fake_disk_medium(&disk, roll(2) ? 0 : DISK_BYTES); break;
        case 3: wr(roll(64) * 4, roll(UINT32_MAX)); break;
        case 4: disk.fail = roll(2) ? -EIO : 0; break;
        case 5: fake_reset(b, GH_RESET_WARM); break;
        case 6: cfg_write16(b, DEVFN, 4, (uint16_t)roll(8)); break;
        default: break;
        }
        if (rd(CSTS) != 1 || !roll(32)) {     /* and software starts anew as a driver would */
            cfg_write32(b, DEVFN, 0x10, (uint32_t)BAR);
            cfg_write32(b, DEVFN, 0x14, 0);
            cfg_write16(b, DEVFN, 4, 6);
            wr(CC, 0);
            for (unsigned k = 0; k < 100 && rd(CSTS); k++)
                fake_step_ns(b, MS);
            enable();
            for (unsigned k = 1; k < 4; k++)
                make_queue(k, 0);
        }
    }
    CHECK(disk.reads > 500 && disk.writes > 500 && disk.others > 500);    /* hostile, yet it did get somewhere */
    fake_disk_medium(&disk, DISK_BYTES);
    disk.fail = 0;
    fake_step_ns(b, 100 * MS);
    fake_reset(b, GH_RESET_WARM);
    enable();
    make_queue(1, 0);
    CHECK_EQ(status(1, io(OP_READ, 0, 8, DATA, 0)), 0);
    CHECK(!memcmp(ram(DATA), disk.data, 4096));
    tear_down();
}

int main(void)
{
    test_identify();
    test_queues();
    test_io();
    test_features_and_logs();
    test_interrupts();
    test_resets();
    test_state();
    test_hostile();
    return check_result();
}
