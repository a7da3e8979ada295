/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Floppy controller with ISA DMA: reset, seek, read, write, format, errors, media, hostile command bytes. */
#include "check.h"
#include "fakebackend.h"

enum { BUFFER = 0x20000, FLOPPY = 1474560 };
static struct gh_board *b;
static struct fake_disk disk;
static uint8_t result[16];

static void step(void) { fake_step_ns(b, 1000000); }

static void send(const uint8_t *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        CHECK_EQ(fake_inb(b, 0x3f4) & 0xc0, 0x80);
        fake_outb(b, 0x3f5, bytes[i]);
    }
}
#define SEND(...) do { static const uint8_t cmd_[] = {__VA_ARGS__}; send(cmd_, sizeof cmd_); } while (0)

static unsigned results(void)
{
    unsigned n = 0;

    while ((fake_inb(b, 0x3f4) & 0xf0) == 0xd0 && n < sizeof result)
        result[n++] = fake_inb(b, 0x3f5);
    CHECK_EQ(fake_inb(b, 0x3f4) & 0xd0, 0x80);
    return n;
}

/* Channel 2; mode 46h: to memory, 4Ah: from memory. */
static void program_dma(uint8_t mode, uint32_t address, uint16_t bytes)
{
    fake_outb(b, 0x0a, 6);
    fake_outb(b, 0x0c, 0);
    fake_outb(b, 0x0b, mode);
    fake_outb(b, 0x04, (uint8_t)address);
    fake_outb(b, 0x04, (uint8_t)(address >> 8));
    fake_outb(b, 0x81, (uint8_t)(address >> 16));
    fake_outb(b, 0x05, (uint8_t)(bytes - 1));
    fake_outb(b, 0x05, (uint8_t)((bytes - 1) >> 8));
    fake_outb(b, 0x0a, 2);
}

static void init(void)
{
    fake_outb(b, 0xd6, 0xc0);             /* cascade */
    fake_outb(b, 0xd4, 0);
    fake_outb(b, 0x3f2, 0);
    fake_outb(b, 0x3f2, 0x1c);
    step();
    CHECK(fake_irq(b, 6));
    for (unsigned i = 0; i < 4; i++) {
        SEND(8);
        CHECK_EQ(results(), 2);
        CHECK_EQ(result[0], 0xc0 | i);
    }
    CHECK(!fake_irq(b, 6));
    SEND(8);
    CHECK_EQ(results(), 1);
    CHECK_EQ(result[0], 0x80);
    SEND(3, 0xaf, 0x02);
    fake_outb(b, 0x3f7, 0);               /* 500 kb/s */
}

static void seek_to(uint8_t cylinder)
{
    const uint8_t cmd[] = {0x0f, 0, cylinder};

    send(cmd, 3);
    CHECK_EQ(fake_inb(b, 0x3f4) & 1, 1);
    step();
    CHECK(fake_irq(b, 6));
    SEND(8);
    CHECK_EQ(results(), 2);
    CHECK_EQ(result[0], 0x20);
    CHECK_EQ(result[1], cylinder);
    CHECK(!fake_irq(b, 6));
}

static void pattern(void)
{
    for (unsigned i = 0; i < FLOPPY; i++)
        disk.data[i] = (uint8_t)(i / 512 * 7 + i);
}

static void test_commands(void)
{
    init();
    SEND(0x10);
    CHECK_EQ(results(), 1);
    CHECK_EQ(result[0], 0x90);
    SEND(0x13, 0, 0x57, 0);
    SEND(0x94);
    CHECK_EQ(results(), 1);
    CHECK_EQ(result[0], 0x10);
    SEND(0x0e);
    CHECK_EQ(results(), 10);
    CHECK_EQ(result[4], 0xaf);
    CHECK_EQ(result[7], 0x80);
    CHECK_EQ(result[8], 0x57);
    SEND(0x14);
    results();
    SEND(0x13, 0, 0, 0);
    SEND(0x12, 0x84);
    SEND(0x04, 0);
    CHECK_EQ(results(), 1);
    CHECK_EQ(result[0], 0x38);            /* ready, two sides, track 0 */
    SEND(0x1f);
    CHECK_EQ(results(), 1);
    CHECK_EQ(result[0], 0x80);
    SEND(0x18);                           /* PART ID: of the 82078, by which systems tell it */
    CHECK_EQ(results(), 1);
    CHECK_EQ(result[0], 0x80);

    CHECK_EQ(fake_inb(b, 0x3f7) & 0x80, 0x80); /* nobody moved the head since the disk came */
    seek_to(5);
    CHECK_EQ(fake_inb(b, 0x3f7) & 0x80, 0);
    SEND(0xcf, 0, 3);                     /* three further in */
    step();
    SEND(8);
    results();
    CHECK_EQ(result[1], 8);
    SEND(7, 0);
    step();
    SEND(8);
    results();
    CHECK_EQ(result[1], 0);
    SEND(7, 1);                           /* no second drive */
    step();
    SEND(8);
    results();
    CHECK_EQ(result[0], 0x71);
    SEND(0x4a, 0);
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[0], 0);
    CHECK(result[5] >= 1 && result[5] <= 18);
    CHECK_EQ(result[6], 2);
}

static void test_read(void)
{
    init();
    seek_to(10);
    program_dma(0x46, BUFFER, 18 * 512);
    SEND(0xe6, 0, 10, 0, 1, 2, 18, 0x1b, 0xff);
    CHECK_EQ(fake_inb(b, 0x3f4), 0x10);   /* busy, waiting for the backend */
    CHECK(!fake_irq(b, 6));
    step();
    CHECK(fake_irq(b, 6));
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[0] | result[1] | result[2], 0x04 & result[0]);
    CHECK(!fake_irq(b, 6));
    CHECK(!memcmp(b->ram + BUFFER, disk.data + 10 * 36 * 512, 18 * 512));
    CHECK_EQ(disk.reads, 1);
    CHECK_EQ(fake_inb(b, 0x08) & 4, 4);   /* terminal count, once */
    CHECK_EQ(fake_inb(b, 0x08) & 4, 0);

    /* Both heads, from the middle, across a split DMA mapping. */
    b->dma_chunk = 4096;
    program_dma(0x46, BUFFER + 100, 20 * 512);
    SEND(0xe6, 0, 10, 0, 10, 2, 18, 0x1b, 0xff);
    step();
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[0] & 0xc0, 0);
    CHECK_EQ(result[4], 1);
    CHECK_EQ(result[5], 12);              /* the next sector */
    CHECK(!memcmp(b->ram + BUFFER + 100, disk.data + (10 * 36 + 9) * 512, 20 * 512));
    b->dma_chunk = 0;

    /* Too long a count: end of cylinder. */
    program_dma(0x46, BUFFER, 4096);
    SEND(0x46, 0, 10, 0, 18, 2, 18, 0x1b, 0xff);
    step();
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[0], 0x40);
    CHECK_EQ(result[1], 0x80);
    CHECK_EQ(result[3], 11);
    CHECK_EQ(result[5], 1);
    CHECK_EQ(b->dma_maps_open, 0);
}

static void test_write_and_format(void)
{
    init();
    seek_to(20);
    memset(b->ram + BUFFER, 0x5a, 4096);
    program_dma(0x4a, BUFFER, 1024 + 100);
    SEND(0xc5, 4, 20, 1, 3, 2, 18, 0x1b, 0xff);
    step();
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[0], 0x04);
    const uint8_t *at = disk.data + (20 * 36 + 18 + 2) * 512;
    CHECK_EQ(at[0], 0x5a);
    CHECK_EQ(at[1123], 0x5a);
    CHECK_EQ(at[1124], 0);                /* the rest of the sector */
    CHECK_EQ(at[1536], (uint8_t)((20 * 36 + 18 + 5) * 7 + (20 * 36 + 18 + 5) * 512));

    for (unsigned i = 0; i < 18; i++)
        memcpy(b->ram + BUFFER + i * 4, (uint8_t[]){20, 0, (uint8_t)(i + 1), 2}, 4);
    program_dma(0x4a, BUFFER, 72);
    SEND(0x4d, 0, 2, 18, 0x50, 0xf6);
    step();
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[0], 0);
    at = disk.data + 20 * 36 * 512;
    CHECK(at[0] == 0xf6 && at[18 * 512 - 1] == 0xf6 && at[18 * 512] != 0xf6);

    disk.info.read_only = true;
    SEND(0xc5, 0, 20, 0, 1, 2, 18, 0x1b, 0xff);
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[0], 0x40);
    CHECK_EQ(result[1], 0x02);
    SEND(0x04, 0);
    results();
    CHECK(result[0] & 0x40);
    disk.info.read_only = false;
}

static void test_non_dma(void)
{
    uint8_t buffer[1024];

    init();
    SEND(3, 0xaf, 0x03);
    seek_to(0);
    SEND(0x46, 0, 0, 0, 1, 2, 2, 0x1b, 0xff);
    step();
    for (unsigned i = 0; i < sizeof buffer; i++) {
        CHECK(fake_irq(b, 6));
        CHECK_EQ(fake_inb(b, 0x3f4), 0xf0);
        buffer[i] = fake_inb(b, 0x3f5);
    }
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[0] & 0xc0, 0);
    CHECK(!memcmp(buffer, disk.data, sizeof buffer));
    SEND(0x45, 0, 0, 0, 2, 2, 2, 0x1b, 0xff);
    for (unsigned i = 0; i < 512; i++) {
        CHECK_EQ(fake_inb(b, 0x3f4), 0xb0);
        fake_outb(b, 0x3f5, (uint8_t)~i);
    }
    step();
    CHECK_EQ(results(), 7);
    CHECK_EQ(disk.data[512], 0xff);
    CHECK_EQ(disk.data[1023], 0x00);
    SEND(3, 0xaf, 0x02);
}

static void expect_error(const uint8_t cmd[9], uint8_t st1, uint8_t st2)
{
    program_dma(0x46, BUFFER, 512);
    send(cmd, 9);
    step();
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[0] & 0xc0, 0x40);
    CHECK_EQ(result[1], st1);
    CHECK_EQ(result[2], st2);
}

static void test_errors(void)
{
    init();
    seek_to(1);
    expect_error((const uint8_t[]){0xe6, 0, 1, 0, 19, 2, 19, 0x1b, 0xff}, 0x04, 0);
    expect_error((const uint8_t[]){0xe6, 0, 1, 0, 0, 2, 18, 0x1b, 0xff}, 0x04, 0);
    expect_error((const uint8_t[]){0xe6, 0, 2, 0, 1, 2, 18, 0x1b, 0xff}, 0x04, 0x10);
    expect_error((const uint8_t[]){0xe6, 0, 1, 0, 1, 7, 18, 0x1b, 0xff}, 0x04, 0);
    expect_error((const uint8_t[]){0xe6, 1, 1, 0, 1, 2, 18, 0x1b, 0xff}, 0x01, 0);
    fake_outb(b, 0x3f7, 2);               /* wrong rate for this medium */
    expect_error((const uint8_t[]){0xe6, 0, 1, 0, 1, 2, 18, 0x1b, 0xff}, 0x01, 0);
    fake_outb(b, 0x3f7, 0);
    disk.fail = -5;
    expect_error((const uint8_t[]){0xe6, 0, 1, 0, 1, 2, 18, 0x1b, 0xff}, 0x20, 0);
    disk.fail = 0;
    fake_outb(b, 0x0a, 6);                /* DMA never comes */
    SEND(0xe6, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
    fake_step_ns(b, 1000000000);
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[1], 0x10);
    fake_outb(b, 0xd4, 4);                /* the cascade is masked */
    program_dma(0x46, BUFFER, 512);
    SEND(0xe6, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
    step();
    CHECK_EQ(fake_inb(b, 0x3f4), 0x10);
    fake_outb(b, 0xd4, 0);                /* late, but in time */
    fake_step_ns(b, 5000000);
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[0] & 0xc0, 0);

    /* DMA into nowhere harms nobody. */
    program_dma(0x46, 0xfffff0, 512);
    fake_outb(b, 0x81, 0xff);
    SEND(0xe6, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
    step();
    CHECK_EQ(results(), 7);
}

static void test_reset_in_flight(void)
{
    init();
    seek_to(3);
    disk.latency_ns = UINT64_MAX;
    program_dma(0x46, BUFFER, 512);
    memset(b->ram + BUFFER, 0xcc, 1024);
    SEND(0xe6, 0, 3, 0, 1, 2, 18, 0x1b, 0xff);
    CHECK_EQ(disk.in_flight, 1);
    fake_outb(b, 0x3f2, 0x18);
    init();
    seek_to(4);
    SEND(0xe6, 0, 4, 0, 1, 2, 18, 0x1b, 0xff); /* waits for the buffer */
    CHECK_EQ(disk.in_flight, 1);
    fake_disk_release(&disk);
    CHECK(!fake_irq(b, 6));
    CHECK_EQ(b->ram[BUFFER], 0xcc);       /* the old result went nowhere */
    CHECK_EQ(disk.in_flight, 1);
    fake_disk_release(&disk);
    CHECK(fake_irq(b, 6));
    CHECK_EQ(results(), 7);
    CHECK(!memcmp(b->ram + BUFFER, disk.data + 4 * 36 * 512, 512));
    disk.latency_ns = 10000;
}

static void test_media(void)
{
    static const struct { uint32_t bytes; uint8_t rate, last; } media[] = {
        {368640, 2, 9}, {737280, 2, 9}, {1228800, 0, 15}, {1474560, 0, 18}, {2949120, 3, 36},
    };
    for (unsigned i = 0; i < GH_ARRAY_LEN(media); i++) {
        fake_disk_medium(&disk, media[i].bytes);
        CHECK_EQ(fake_inb(b, 0x3f7) & 0x80, 0x80);
        fake_outb(b, 0x3f7, media[i].rate);
        seek_to(1);
        seek_to(0);
        CHECK_EQ(fake_inb(b, 0x3f7) & 0x80, 0);
        disk.data[(2 * media[i].last - 1u) * 512] = (uint8_t)(0xa0 + i);
        program_dma(0x46, BUFFER, 512);
        const uint8_t cmd[9] = {0x46, 4, 0, 1, media[i].last, 2, media[i].last, 0x1b, 0xff};
        send(cmd, 9);
        step();
        CHECK_EQ(results(), 7);
        CHECK_EQ(result[0] & 0xc0, 0);
        CHECK_EQ(b->ram[BUFFER], 0xa0 + i);
    }
    fake_disk_medium(&disk, 0);
    fake_outb(b, 0x3f7, 0);
    seek_to(2);
    CHECK_EQ(fake_inb(b, 0x3f7) & 0x80, 0x80); /* no disk: the line stays */
    seek_to(0);
    expect_error((const uint8_t[]){0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}, 0x01, 0);
    fake_disk_medium(&disk, 64 << 20);    /* too large for a floppy */
    expect_error((const uint8_t[]){0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}, 0x01, 0);
    fake_disk_medium(&disk, FLOPPY);
    pattern();
}

static void test_saved(void)
{
    struct gh_state_buffer saved = {0};

    init();
    seek_to(7);
    fake_outb(b, 0x0a, 6);
    SEND(0xe6, 0, 7, 0, 1, 2, 18, 0x1b, 0xff);
    step();
    fake_save(b, &saved);                 /* the data is there, DMA is not */
    fake_reset(b, GH_RESET_COLD);
    CHECK_EQ(fake_load(b, saved.data, saved.len, NULL), 0);
    program_dma(0x46, BUFFER, 512);
    fake_step_ns(b, 5000000);
    CHECK_EQ(results(), 7);
    CHECK_EQ(result[0] & 0xc0, 0);
    CHECK(!memcmp(b->ram + BUFFER, disk.data + 7 * 36 * 512, 512));
    gh_state_buffer_fini(&saved);
}

/* Every command byte with random parameters, bytes given and taken as MSR asks: FIFO and buffer hold. */
static void test_hostile(void)
{
    uint32_t seed = 12345;

    for (unsigned round = 0; round < 12 * 256; round++) {
        fake_outb(b, 0x3f2, 0);
        fake_outb(b, 0x3f2, 0x1c);
        step();
        seed = seed * 1664525 + 1013904223;
        fake_outb(b, 0x3f7, seed >> 30);
        program_dma(seed >> 29 & 1 ? 0x46 : 0x4a, BUFFER, (uint16_t)(seed >> 8));
        fake_outb(b, 0x3f5, (uint8_t)round);
        for (unsigned i = 0; i < 1500; i++) {
            uint8_t msr = fake_inb(b, 0x3f4);
            if (!(msr & 0x10))
                break;
            seed = seed * 1664525 + 1013904223;
            if (!(msr & 0x80))
                step();
            else if (msr & 0x40)
                fake_inb(b, 0x3f5);
            else
                fake_outb(b, 0x3f5, (uint8_t)(seed >> 24 & (i % 3 ? 0x1f : 0xff)));
        }
    }
    fake_outb(b, 0x3f2, 0);
    step();
    init();
}

int main(void)
{
    b = fake_board_new();
    fake_add(b, "i8237", "dma", NULL);
    fake_disk_init(&disk, b, FLOPPY);
    pattern();
    struct gh_device *fdc = fake_create(b, "fdc", "fdc");
    fake_set_backend(fdc, "drive0", &disk.block);
    CHECK_FATAL(fake_attach(fdc, NULL) == 0);
    test_commands();
    test_read();
    test_write_and_format();
    test_non_dma();
    test_errors();
    test_reset_in_flight();
    test_media();
    test_saved();
    test_hostile();
    fake_board_free(b);
    fake_disk_fini(&disk);
    return check_result();
}
