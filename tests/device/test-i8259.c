/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The 8259 pair: initialization, priorities, every EOI form, level lines, poll, spurious vectors. */
#include "check.h"
#include "fakeboard.h"
#include "devices/irq/i8259.h"

#include <sched.h>

static struct gh_board *b;
static struct gh_pic *pic;
static unsigned output_changes;
static bool output_level;

static void output(void *opaque, bool level)
{
    output_changes++;
    output_level = level;
}

static void init(uint8_t icw4)
{
    fake_outb(b, 0x20, 0x11);
    fake_outb(b, 0x21, 0x20);
    fake_outb(b, 0x21, 0x04);
    fake_outb(b, 0x21, icw4);
    fake_outb(b, 0xa0, 0x11);
    fake_outb(b, 0xa1, 0x28);
    fake_outb(b, 0xa1, 0x02);
    fake_outb(b, 0xa1, icw4 & ~0x10);
}

static void pulse(unsigned n)
{
    gh_pic_set_irq(pic, n, true);
    gh_pic_set_irq(pic, n, false);
}

static uint8_t isr(uint16_t port)
{
    fake_outb(b, port, 0x0b);
    return fake_inb(b, port);
}

static uint8_t irr(uint16_t port)
{
    fake_outb(b, port, 0x0a);
    return fake_inb(b, port);
}

static void test_basic(void)
{
    init(1);
    fake_outb(b, 0x21, 0xfa);
    fake_outb(b, 0xa1, 0xef);
    CHECK_EQ(fake_inb(b, 0x21), 0xfa);
    CHECK_EQ(fake_inb(b, 0xa1), 0xef);
    CHECK(!gh_pic_output(pic));

    gh_pic_set_irq(pic, 1, true);         /* masked */
    CHECK(!gh_pic_output(pic));
    CHECK_EQ(irr(0x20), 0x02);
    gh_pic_set_irq(pic, 1, false);
    fake_outb(b, 0x21, 0xf8);             /* unmasked: the edge was latched */
    CHECK(gh_pic_output(pic) && output_level);
    CHECK_EQ(gh_pic_intack(pic), 0x21);
    CHECK(!gh_pic_output(pic) && !output_level);
    CHECK_EQ(isr(0x20), 0x02);
    CHECK_EQ(irr(0x20), 0x00);

    pulse(12);                            /* lower than IRQ 1 because of the cascade's place */
    CHECK(!gh_pic_output(pic));
    pulse(0);                             /* higher: nests */
    CHECK(gh_pic_output(pic));
    CHECK_EQ(gh_pic_intack(pic), 0x20);
    CHECK_EQ(isr(0x20), 0x03);
    fake_outb(b, 0x20, 0x20);             /* non-specific EOI ends the highest */
    CHECK_EQ(isr(0x20), 0x02);
    fake_outb(b, 0x20, 0x61);             /* specific */
    CHECK_EQ(isr(0x20), 0x00);
    CHECK_EQ(gh_pic_intack(pic), 0x2c);
    CHECK_EQ(isr(0x20), 0x04);
    CHECK_EQ(isr(0xa0), 0x10);
    CHECK(!gh_pic_output(pic));
    fake_outb(b, 0xa0, 0x20);
    fake_outb(b, 0x20, 0x20);
    CHECK_EQ(isr(0xa0), 0);
    CHECK_EQ(isr(0x20), 0);
    fake_outb(b, 0x20, 0x20);             /* nothing to end */

    CHECK_EQ(gh_pic_intack(pic), 0x27);   /* spurious: no ISR bit */
    CHECK_EQ(isr(0x20), 0);
    gh_pic_set_irq(pic, 2, true);         /* no such input */
    gh_pic_set_irq(pic, 16, true);
    CHECK(!gh_pic_output(pic));
}

static void test_edge_needs_edge(void)
{
    init(1);
    gh_pic_set_irq(pic, 3, true);
    CHECK_EQ(gh_pic_intack(pic), 0x23);
    fake_outb(b, 0x20, 0x20);
    CHECK(!gh_pic_output(pic));           /* still high: no second interrupt */
    gh_pic_set_irq(pic, 3, true);
    CHECK(!gh_pic_output(pic));
    init(1);                              /* initialization clears the edge detector */
    CHECK_EQ(irr(0x20), 0);
    gh_pic_set_irq(pic, 3, false);
    gh_pic_set_irq(pic, 3, true);
    CHECK_EQ(irr(0x20), 8);
    gh_pic_set_irq(pic, 3, false);
    gh_pic_intack(pic);
    fake_outb(b, 0x20, 0x20);
}

static void test_level(void)
{
    init(1);
    fake_outb(b, 0x4d0, 0xff);
    fake_outb(b, 0x4d1, 0xff);
    CHECK_EQ(fake_inb(b, 0x4d0), 0xf8);
    CHECK_EQ(fake_inb(b, 0x4d1), 0xde);
    gh_pic_set_irq(pic, 11, true);
    CHECK_EQ(gh_pic_intack(pic), 0x2b);
    CHECK(!gh_pic_output(pic));
    fake_outb(b, 0xa0, 0x20);
    fake_outb(b, 0x20, 0x20);
    CHECK(gh_pic_output(pic));            /* still asserted */
    gh_pic_set_irq(pic, 11, false);
    CHECK(!gh_pic_output(pic));           /* withdrawn */
    gh_pic_set_irq(pic, 11, true);
    gh_pic_set_irq(pic, 11, false);
    CHECK_EQ(gh_pic_intack(pic), 0x27);   /* too late: spurious from the master */
    fake_outb(b, 0x4d0, 0);
    fake_outb(b, 0x4d1, 0);
}

static void test_aeoi_and_rotation(void)
{
    init(3);
    pulse(0);
    CHECK_EQ(gh_pic_intack(pic), 0x20);
    CHECK_EQ(isr(0x20), 0);
    fake_outb(b, 0x20, 0x80);             /* rotate in automatic EOI */
    pulse(0);
    CHECK_EQ(gh_pic_intack(pic), 0x20);   /* 0 becomes the lowest */
    pulse(0);
    pulse(5);
    CHECK_EQ(gh_pic_intack(pic), 0x25);
    CHECK_EQ(gh_pic_intack(pic), 0x20);
    fake_outb(b, 0x20, 0x00);

    init(1);
    fake_outb(b, 0x20, 0xc4);             /* lowest 4: highest 5 */
    pulse(4);
    pulse(6);
    pulse(0);
    CHECK_EQ(gh_pic_intack(pic), 0x26);
    fake_outb(b, 0x20, 0xa0);             /* rotate on non-specific EOI: lowest 6 */
    pulse(6);
    CHECK_EQ(gh_pic_intack(pic), 0x20);
    fake_outb(b, 0x20, 0xe0);             /* rotate on specific EOI: lowest 0 */
    pulse(0);
    CHECK_EQ(gh_pic_intack(pic), 0x24);
    fake_outb(b, 0x20, 0x20);
    CHECK_EQ(gh_pic_intack(pic), 0x26);
    fake_outb(b, 0x20, 0x20);
    CHECK_EQ(gh_pic_intack(pic), 0x20);
    fake_outb(b, 0x20, 0x20);
    CHECK_EQ(isr(0x20), 0);
}

static void test_special_mask_and_nesting(void)
{
    init(1);
    pulse(1);
    CHECK_EQ(gh_pic_intack(pic), 0x21);
    pulse(4);
    CHECK(!gh_pic_output(pic));
    fake_outb(b, 0x21, 0x02);
    fake_outb(b, 0x20, 0x68);             /* special mask: a masked in-service level blocks nobody */
    CHECK(gh_pic_output(pic));
    CHECK_EQ(gh_pic_intack(pic), 0x24);
    fake_outb(b, 0x20, 0x20);             /* does not end the masked one */
    CHECK_EQ(isr(0x20), 0x02);
    fake_outb(b, 0x20, 0x61);
    fake_outb(b, 0x20, 0x48);
    fake_outb(b, 0x21, 0);

    init(0x11);                           /* special fully nested: the slave interrupts itself */
    pulse(12);
    CHECK_EQ(gh_pic_intack(pic), 0x2c);
    pulse(9);
    CHECK(gh_pic_output(pic));
    CHECK_EQ(gh_pic_intack(pic), 0x29);
    fake_outb(b, 0xa0, 0x20);
    fake_outb(b, 0xa0, 0x20);
    fake_outb(b, 0x20, 0x20);
    CHECK_EQ(isr(0xa0) | isr(0x20), 0);
    init(1);                              /* without it the master blocks */
    pulse(12);
    CHECK_EQ(gh_pic_intack(pic), 0x2c);
    pulse(9);
    CHECK(!gh_pic_output(pic));
}

static void test_poll(void)
{
    init(1);
    fake_outb(b, 0x20, 0x0c);
    CHECK_EQ(fake_inb(b, 0x20), 0);
    pulse(6);
    fake_outb(b, 0x20, 0x0c);
    CHECK_EQ(fake_inb(b, 0x20), 0x86);
    CHECK_EQ(isr(0x20), 0x40);
    CHECK(!gh_pic_output(pic));
    fake_outb(b, 0x20, 0x20);
}

/* Two threads drive lines while a third acknowledges: no edge is lost, none is invented. */
enum { EDGES = 2000 };
static _Atomic unsigned acknowledged[16];
static _Atomic unsigned running;

static void *drive(void *arg)
{
    unsigned n = (unsigned)(uintptr_t)arg;

    for (unsigned i = 0; i < EDGES; i++) {
        gh_pic_set_irq(pic, n, true);
        gh_pic_set_irq(pic, n, false);
        while (acknowledged[n] <= i)
            sched_yield();
    }
    running--;
    return NULL;
}

static void test_threads(void)
{
    pthread_t thread[2];
    static const unsigned line[2] = {5, 10};

    init(1);
    gh_pic_set_output(pic, NULL, NULL);
    running = 2;
    for (unsigned i = 0; i < 2; i++)
        CHECK_FATAL(pthread_create(&thread[i], NULL, drive, (void *)(uintptr_t)line[i]) == 0);
    while (running) {
        if (!gh_pic_output(pic)) {
            sched_yield();
            continue;
        }
        unsigned n = (unsigned)gh_pic_intack(pic) - 0x20;
        CHECK(n == 5 || n == 10);
        fake_outb(b, 0xa0, 0x20);
        fake_outb(b, 0x20, 0x20);
        if (n < 16)
            acknowledged[n]++;
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        CHECK_EQ(acknowledged[line[i]], EDGES);
    }
}

int main(void)
{
    b = fake_board_new();
    fake_add(b, "i8259", "pic", NULL);
    pic = fake_lookup_service(b, "pic");
    CHECK_FATAL(pic);
    gh_pic_set_output(pic, output, NULL);
    CHECK_EQ(output_changes, 1);          /* told the present level */
    test_basic();
    test_edge_needs_edge();
    test_level();
    test_aeoi_and_rotation();
    test_special_mask_and_nesting();
    test_poll();
    test_threads();
    fake_outb(b, 0x20, 0x13);             /* single, ICW4: no ICW3 */
    fake_outb(b, 0x21, 0x48);
    fake_outb(b, 0x21, 0x01);
    fake_outb(b, 0x21, 0x55);
    CHECK_EQ(fake_inb(b, 0x21), 0x55);
    fake_outb(b, 0x21, 0);
    pulse(4);
    CHECK_EQ(gh_pic_intack(pic), 0x4c);
    fake_reset(b, GH_RESET_WARM);
    CHECK(!gh_pic_output(pic));
    CHECK_EQ(isr(0x20), 0);
    fake_board_free(b);
    return check_result();
}
