/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The devices of a page each: debug console, debug exit, shutdown port, test device, pvpanic, parallel port, port 92h. */
#include "check.h"
#include "fakebackend.h"
#include "devices/chipset/port92.h"

static struct gh_board *b;

static void test_debugcon(void)
{
    static struct fake_char out;
    char text[100];

    fake_char_init(&out);
    struct gh_device *dev = fake_create(b, "debugcon", "debug");
    fake_set_backend(dev, "chardev", &out.chr);
    fake_set_options(dev, "port=0x402", NULL);
    CHECK_FATAL(fake_attach(dev, NULL) == 0);
    CHECK_EQ(fake_inb(b, 0x402), 0xe9);
    memset(text, 'a', sizeof text);
    text[99] = '\n';
    fake_rep(b, 0x402, 1, true, 100, text);
    CHECK_EQ(out.out_len, 100);
    fake_rep(b, 0x402, 1, false, 100, text);
    CHECK_EQ((uint8_t)text[99], 0xe9);
    fake_outb(b, 0x402, 'b');
    CHECK_EQ(out.out_len, 100);
    fake_step_ns(b, 3000000);
    CHECK_EQ(out.out_len, 101);
    out.room = 0;
    for (unsigned i = 0; i < 10000; i++)
        fake_outb(b, 0x402, 'c');         /* dropped, never stuck */
    fake_char_open_room(&out, SIZE_MAX);
    CHECK(out.out_len > 101 && out.out_len < 2200);

    static struct fake_char codes;
    fake_char_init(&codes);
    struct gh_device *post = fake_create(b, "debugcon", "post");
    fake_set_backend(post, "chardev", &codes.chr);
    fake_set_options(post, "port=0x80,hex=on", NULL);
    CHECK_FATAL(fake_attach(post, NULL) == 0);
    fake_outb(b, 0x80, 0xa5);
    fake_outb(b, 0x80, 7);
    fake_step_ns(b, 3000000);
    CHECK_EQ(codes.out_len, 6);
    CHECK(!memcmp(codes.out, "a5\n07\n", 6));
    CHECK_EQ(fake_inb(b, 0x80), 7);
}

static void test_debug_exit(void)
{
    fake_add(b, "debug-exit", "exit", NULL);
    fake_outl(b, 0xf4, 0x10);
    CHECK_EQ(b->requests[GH_REQUEST_DEBUG_EXIT], 1);
    CHECK_EQ(b->request_arg[GH_REQUEST_DEBUG_EXIT], 0x21);
    fake_outb(b, 0xf4, 0);
    CHECK_EQ(b->request_arg[GH_REQUEST_DEBUG_EXIT], 1);
    fake_inb(b, 0xf4);
    CHECK_EQ(b->requests[GH_REQUEST_DEBUG_EXIT], 2);
    for (const char *p = "Shutdow\nShutShutdown"; *p; p++) {
        CHECK_EQ(b->requests[GH_REQUEST_POWEROFF], 0);
        fake_outb(b, 0x8900, (uint8_t)*p);
    }
    CHECK_EQ(b->requests[GH_REQUEST_POWEROFF], 1);
}

static void test_testdev(void)
{
    struct gh_device *dev = fake_add(b, "pc-testdev", "test", NULL);

    fake_outl(b, 0xe0, 0x11223344);
    fake_outb(b, 0xe1, 0x55);
    CHECK_EQ(fake_inl(b, 0xe0), 0x11225544);
    CHECK_EQ(fake_inw(b, 0xe2), 0x1122);
    fake_outl(b, 0xe4, 0x1000);
    CHECK_EQ(fake_inl(b, 0xe4), 0);
    fake_outb(b, 0x2000 + 14, 1);
    CHECK(b->irq_level[14]);
    fake_outb(b, 0x2000 + 14, 1);
    CHECK_EQ(b->irq_edges[14], 1);
    fake_outb(b, 0x2000 + 14, 0);
    CHECK(!b->irq_level[14]);
    fake_outb(b, 0x2000 + 23, 0x80);
    CHECK(b->irq_level[23]);
    fake_outb(b, 0x2000 + 24, 1);         /* no such line */
    CHECK(!b->irq_level[24]);
    fake_write(b, 0xff000ffc, 4, 0xcafe1234);
    CHECK_EQ(fake_read(b, 0xff000ffc, 4), 0xcafe1234);
    CHECK_EQ(fake_read(b, 0xff00fffc, 4), 0);
    dev->class->reset(dev, GH_RESET_WARM);
    CHECK(!b->irq_level[23]);
    CHECK_EQ(fake_read(b, 0xff000ffc, 4), 0);
}

static void test_pvpanic(void)
{
    struct gh_device *dev = fake_add(b, "pvpanic", "panic", NULL);

    CHECK_EQ(fake_inb(b, 0x505), 3);
    fake_outb(b, 0x505, 0x80);
    CHECK_EQ(b->requests[GH_REQUEST_GUEST_PANIC], 0);
    CHECK_EQ(dev->guest_errors, 1);
    fake_outb(b, 0x505, 1);
    CHECK_EQ(b->requests[GH_REQUEST_GUEST_PANIC], 1);
    CHECK_EQ(b->request_arg[GH_REQUEST_GUEST_PANIC], 1);
}

static void test_parport(void)
{
    static struct fake_char paper;

    fake_char_init(&paper);
    struct gh_device *dev = fake_create(b, "parport", "lpt1");
    fake_set_backend(dev, "chardev", &paper.chr);
    CHECK_FATAL(fake_attach(dev, NULL) == 0);
    CHECK_EQ(fake_inb(b, 0x379), 0xdf);
    for (const char *p = "Page\n"; *p; p++) {
        fake_outb(b, 0x378, (uint8_t)*p);
        CHECK_EQ(fake_inb(b, 0x378), *p);
        fake_outb(b, 0x37a, 0x1d);
        fake_outb(b, 0x37a, 0x1d);        /* only the edge counts */
        fake_outb(b, 0x37a, 0x1c);
    }
    CHECK_EQ(paper.out_len, 5);
    CHECK(!memcmp(paper.out, "Page\n", 5));
    CHECK_EQ(fake_irq_take(b, 7), 5);
    CHECK_EQ(fake_inb(b, 0x37a), 0xdc);
}

static void test_port92(void)
{
    fake_add(b, "port92", "port92", NULL);
    struct gh_port92 *port = fake_lookup_service(b, "port92");

    CHECK_EQ(fake_inb(b, 0x92), 2);
    fake_outb(b, 0x92, 0);
    CHECK_EQ(b->requests[GH_REQUEST_A20], 1);
    CHECK_EQ(b->request_arg[GH_REQUEST_A20], 0);
    CHECK(!gh_port92_a20(port));
    fake_outb(b, 0x92, 0);
    CHECK_EQ(b->requests[GH_REQUEST_A20], 1);
    gh_port92_set_a20(port, true);
    CHECK_EQ(b->request_arg[GH_REQUEST_A20], 1);
    CHECK_EQ(fake_inb(b, 0x92), 2);
    fake_outb(b, 0x92, 3);
    CHECK_EQ(b->requests[GH_REQUEST_INIT], 1);
    fake_outb(b, 0x92, 3);
    CHECK_EQ(b->requests[GH_REQUEST_INIT], 1);
    fake_reset(b, GH_RESET_WARM);
    CHECK_EQ(fake_inb(b, 0x92), 2);
}

int main(void)
{
    b = fake_board_new();
    test_debugcon();
    test_debug_exit();
    test_testdev();
    test_pvpanic();
    test_parport();
    test_port92();
    fake_board_free(b);
    return check_result();
}
