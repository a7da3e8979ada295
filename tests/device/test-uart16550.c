/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The serial port: registers, FIFO and triggers, interrupt priorities, timeout, loopback, back-pressure. */
#include "check.h"
#include "fakebackend.h"

static struct gh_board *b;
static struct fake_char line;

static uint8_t get(unsigned reg) { return fake_inb(b, (uint16_t)(0x3f8 + reg)); }
static void put(unsigned reg, uint8_t v) { fake_outb(b, (uint16_t)(0x3f8 + reg), v); }

static void test_registers(void)
{
    put(7, 0x5a);
    CHECK_EQ(get(7), 0x5a);
    put(3, 0x80);
    put(0, 0x01);
    put(1, 0x02);
    CHECK_EQ(get(0), 0x01);
    CHECK_EQ(get(1), 0x02);
    put(1, 0);
    put(3, 0x03);
    put(1, 0xff);
    CHECK_EQ(get(1), 0x0f);
    put(1, 0);
    put(4, 0xff);
    CHECK_EQ(get(4), 0x1f);
    put(4, 0);
    CHECK_EQ(get(5), 0x60);
    CHECK_EQ(get(6) & 0xf0, 0xb0);
    CHECK_EQ(get(2), 0x01);
    put(2, 0x01);
    CHECK_EQ(get(2), 0xc1);
    put(5, 0);
    put(6, 0);
    CHECK_EQ(get(5), 0x60);
}

static void test_output(void)
{
    static const char text[] = "hello\n";

    for (const char *p = text; *p; p++) {
        CHECK(get(5) & 0x20);
        put(0, (uint8_t)*p);
    }
    CHECK_EQ(line.out_len, 6);            /* a line at once */
    CHECK(!memcmp(line.out, text, 6));
    put(0, 'x');
    CHECK_EQ(line.out_len, 6);
    fake_step_ns(b, 3000000);
    CHECK_EQ(line.out_len, 7);            /* or a little later */

    put(4, 0x08);
    fake_irq_take(b, 4);
    put(1, 0x02);                         /* THRE interrupt as soon as it is enabled */
    CHECK(fake_irq(b, 4));
    CHECK_EQ(get(2), 0xc2);
    CHECK(!fake_irq(b, 4));               /* reading IIR takes it back */
    put(0, 'y');
    CHECK(fake_irq(b, 4));
    put(4, 0);                            /* OUT2 gates the line */
    CHECK(!fake_irq(b, 4));
    put(4, 0x08);
    put(1, 0);
    fake_step_ns(b, 3000000);

    line.room = 0;                        /* the reader stopped */
    line.out_len = 0;
    unsigned sent = 0;
    while ((get(5) & 0x20) && sent < 100000) {
        put(0, 'z');
        sent++;
    }
    CHECK(sent > 16 && sent < 2000);
    put(1, 0x02);
    CHECK(!fake_irq(b, 4));
    fake_char_open_room(&line, SIZE_MAX);
    CHECK_EQ(line.out_len, sent);         /* nothing lost */
    CHECK(get(5) & 0x20);
    CHECK(fake_irq(b, 4));
    put(1, 0);
}

static void test_input(void)
{
    uint8_t data[64];

    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    put(2, 0x47);                         /* FIFO, trigger 4, cleared */
    put(1, 0x01);
    CHECK_EQ(fake_char_send(&line, data, 3), 3);
    CHECK(!fake_irq(b, 4));
    CHECK(get(5) & 1);
    fake_step_ns(b, 500000000);
    CHECK(fake_irq(b, 4));
    CHECK_EQ(get(2), 0xcc);               /* character timeout */
    CHECK_EQ(get(0), 0);
    CHECK(!fake_irq(b, 4));
    CHECK_EQ(fake_char_send(&line, data + 3, 2), 2);
    CHECK(fake_irq(b, 4));                /* four again */
    CHECK_EQ(get(2), 0xc4);
    for (unsigned i = 1; i < 5; i++)
        CHECK_EQ(get(0), i);
    CHECK_EQ(get(5), 0x60);
    CHECK_EQ(get(2), 0xc1);

    CHECK_EQ(fake_char_send(&line, data, 64), 16);
    CHECK_EQ(fake_char_send(&line, data, 1), 0);
    unsigned ready = line.ready_calls;
    for (unsigned i = 0; i < 16; i++)
        CHECK_EQ(get(0), i);
    CHECK_EQ(line.ready_calls, ready + 1);
    CHECK_EQ(get(0), 0);
    put(2, 0);                            /* without FIFO: one byte */
    CHECK_EQ(fake_char_send(&line, data, 64), 1);
    CHECK(fake_irq(b, 4));
    get(0);
    CHECK(!fake_irq(b, 4));
    put(1, 0);
}

static void test_loopback(void)
{
    put(2, 0x07);
    put(4, 0x10);
    CHECK_EQ(get(6) & 0xf0, 0);
    get(6);
    put(4, 0x1f);
    CHECK_EQ(get(6), 0xfb);               /* all lines, deltas of all but RI (its trailing edge only) */
    CHECK_EQ(get(6), 0xf0);
    size_t before = line.out_len;
    for (unsigned i = 0; i < 17; i++)
        put(0, (uint8_t)(0x40 + i));
    CHECK_EQ(line.out_len, before);
    put(1, 0x05);
    CHECK_EQ(get(2), 0xc6);               /* overrun: line status comes first */
    CHECK_EQ(get(5) & 3, 3);
    CHECK_EQ(get(2), 0xc4);
    for (unsigned i = 0; i < 16; i++)
        CHECK_EQ(get(0), 0x40 + i);
    put(1, 0);
    put(4, 0x1b);                         /* RI falls */
    CHECK_EQ(get(6) & 0x0f, 0x04);
    put(4, 0x08);
    get(6);
    line.chr.event(line.chr.opaque, false);
    CHECK_EQ(get(6), 0x0b);               /* the other end left */
    put(1, 0x08);
    line.chr.event(line.chr.opaque, true);
    CHECK(fake_irq(b, 4));
    CHECK_EQ(get(2), 0xc0);
    CHECK_EQ(get(6), 0xbb);
    CHECK(!fake_irq(b, 4));
    put(1, 0);
}

int main(void)
{
    b = fake_board_new();
    fake_char_init(&line);
    struct gh_device *com = fake_create(b, "uart16550", "com1");
    fake_set_backend(com, "chardev", &line.chr);
    CHECK_EQ(fake_set_options(com, "iobase=0x3f8,irq=4", NULL), 0);
    CHECK_FATAL(fake_attach(com, NULL) == 0);
    test_registers();
    test_output();
    test_input();
    test_loopback();
    fake_reset(b, GH_RESET_WARM);
    CHECK_EQ(get(5), 0x60);
    CHECK_EQ(get(2), 0x01);

    fake_add(b, "uart16550", "com2", "iobase=0x2f8,irq=3"); /* nothing at the other end */
    CHECK_EQ(fake_inb(b, 0x2fe) & 0xf0, 0);
    for (unsigned i = 0; i < 5000; i++)
        fake_outb(b, 0x2f8, 'a');
    CHECK_EQ(fake_inb(b, 0x2fd), 0x60);
    fake_board_free(b);
    return check_result();
}
