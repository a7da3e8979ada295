/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The interval timer: modes, latches, interrupts at the exact nanosecond, catch-up, gate and speaker port. */
#include "check.h"
#include "fakeboard.h"
#include "devices/timer/i8254.h"

static struct gh_board *b;

static uint64_t tick_ns(uint64_t ticks)
{
    return (ticks * 1000000000u + 1193181) / 1193182;
}

static void program(unsigned channel, unsigned mode, uint16_t count)
{
    fake_outb(b, 0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1));
    fake_outb(b, (uint16_t)(0x40 + channel), (uint8_t)count);
    fake_outb(b, (uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

static uint16_t latched(unsigned channel)
{
    fake_outb(b, 0x43, (uint8_t)(channel << 6));
    uint8_t low = fake_inb(b, (uint16_t)(0x40 + channel));
    return (uint16_t)(low | fake_inb(b, (uint16_t)(0x40 + channel)) << 8);
}

static uint8_t status(unsigned channel)
{
    fake_outb(b, 0x43, (uint8_t)(0xe0 | 2 << channel));
    return fake_inb(b, (uint16_t)(0x40 + channel));
}

/* Puts the clock on the first nanosecond of a tick, so that steps of ticks are exact. */
static void align(void)
{
    uint64_t tick = (uint64_t)((unsigned __int128)b->now_ns * 1193182 / 1000000000u) + 1;
    fake_step_ns(b, (uint64_t)(((unsigned __int128)tick * 1000000000u + 1193181) / 1193182) - b->now_ns);
}

static void test_mode2_rate(void)
{
    program(0, 2, 11932);                 /* about 100 Hz */
    fake_irq_take(b, 0);
    fake_step_ns(b, 1000000000);
    unsigned n = fake_irq_take(b, 0);
    CHECK(n >= 99 && n <= 101);
    fake_step_ns(b, 10000000000);
    n = fake_irq_take(b, 0);
    CHECK(n >= 999 && n <= 1001);

    align();
    program(0, 2, 1000);
    fake_irq_take(b, 0);
    fake_step_ns(b, tick_ns(1000));       /* load takes one tick: 1001 to the first edge */
    CHECK_EQ(fake_irq_take(b, 0), 0);
    fake_step_ns(b, tick_ns(1) + 1);
    CHECK_EQ(fake_irq_take(b, 0), 1);
    CHECK(latched(0) >= 999);
    fake_step_ns(b, tick_ns(400));
    uint16_t v = latched(0);
    CHECK(v >= 598 && v <= 601);
    CHECK_EQ(status(0), 0xb4);            /* OUT high, count loaded, both bytes, mode 2 */
}

static void test_new_count_waits(void)
{
    align();
    program(0, 2, 10000);
    fake_step_ns(b, tick_ns(101));
    fake_outb(b, 0x40, 0x64);             /* 100, from the next period */
    fake_outb(b, 0x40, 0);
    CHECK(status(0) & 0x40);              /* NULL COUNT */
    uint16_t v = latched(0);
    CHECK(v >= 9898 && v <= 9901);
    fake_irq_take(b, 0);
    fake_step_ns(b, tick_ns(9880));
    CHECK_EQ(fake_irq_take(b, 0), 0);
    fake_step_ns(b, tick_ns(1030));       /* the end of the long period, then ten short ones */
    unsigned n = fake_irq_take(b, 0);
    CHECK(n >= 10 && n <= 12);
    CHECK(!(status(0) & 0x40));
}

static void test_one_shot(void)
{
    align();
    program(0, 0, 500);
    fake_irq_take(b, 0);
    CHECK(!fake_irq(b, 0));
    CHECK(status(0) & 0x40);
    fake_step_ns(b, tick_ns(499));
    CHECK(!fake_irq(b, 0));
    CHECK(!(status(0) & 0x80));
    fake_step_ns(b, tick_ns(3));
    CHECK(fake_irq(b, 0));
    CHECK(status(0) & 0x80);
    CHECK_EQ(fake_next_timer(b), UINT64_MAX); /* nothing is armed once it fired */
    fake_step_ns(b, 1000000000);
    CHECK_EQ(fake_irq_take(b, 0), 1);

    program(0, 4, 500);
    fake_irq_take(b, 0);
    fake_step_ns(b, 1000000000);
    CHECK_EQ(fake_irq_take(b, 0), 1);     /* strobe once */
}

static void test_modes_of_count(void)
{
    align();
    fake_outb(b, 0x61, 1);
    fake_outb(b, 0x43, 0xb1);             /* channel 2, mode 0, BCD */
    fake_outb(b, 0x42, 0x00);
    fake_outb(b, 0x42, 0x10);             /* 1000 */
    fake_step_ns(b, tick_ns(11));
    uint16_t v = latched(2);
    CHECK(v == 0x0990 || v == 0x0989);
    fake_outb(b, 0x43, 0x90);             /* LSB only */
    fake_outb(b, 0x42, 200);
    fake_step_ns(b, tick_ns(51));
    uint8_t low = fake_inb(b, 0x42), again = fake_inb(b, 0x42);
    CHECK(low >= 149 && low <= 151 && again == low);
    fake_outb(b, 0x43, 0xa0);             /* MSB only */
    fake_outb(b, 0x42, 2);
    fake_step_ns(b, tick_ns(10));
    CHECK_EQ(fake_inb(b, 0x42), 1);

    program(2, 3, 1000);                  /* square wave: OUT2 half the time */
    unsigned high = 0;
    for (unsigned i = 0; i < 1000; i++) {
        fake_step_ns(b, tick_ns(7));
        high += fake_inb(b, 0x61) >> 5 & 1;
    }
    CHECK(high > 450 && high < 550);
    CHECK_EQ(latched(2) & 1, 0);          /* counts by two */

    /* Latches hold until they are read, and a second one does not replace the first. */
    program(2, 2, 60000);
    fake_step_ns(b, tick_ns(100));
    fake_outb(b, 0x43, 0x80);
    fake_step_ns(b, tick_ns(1000));
    fake_outb(b, 0x43, 0x80);
    low = fake_inb(b, 0x42);
    v = (uint16_t)(low | fake_inb(b, 0x42) << 8);
    CHECK(v > 59890 && v < 59910);
    fake_outb(b, 0x43, 0xc8);             /* read-back: status first, then the count */
    CHECK_EQ(fake_inb(b, 0x42) & 0x3f, 0x34);
    low = fake_inb(b, 0x42);
    v = (uint16_t)(low | fake_inb(b, 0x42) << 8);
    CHECK(v > 58880 && v < 58910);
}

static void test_gate(void)
{
    align();
    fake_outb(b, 0x61, 0);
    program(2, 0, 1000);
    fake_step_ns(b, tick_ns(500));
    CHECK(latched(2) >= 999);             /* gate low: nothing counts */
    fake_outb(b, 0x61, 1);
    fake_step_ns(b, tick_ns(300));
    uint16_t v = latched(2);
    CHECK(v >= 698 && v <= 701);
    fake_outb(b, 0x61, 0);
    fake_step_ns(b, tick_ns(10000));
    CHECK(latched(2) <= v && latched(2) + 2 >= v);
    CHECK(!(fake_inb(b, 0x61) & 0x20));
    fake_outb(b, 0x61, 3);
    CHECK_EQ(fake_inb(b, 0x61) & 0x0f, 3);
    fake_step_ns(b, tick_ns(702));
    CHECK(fake_inb(b, 0x61) & 0x20);

    fake_outb(b, 0x61, 0);
    program(2, 1, 400);                   /* one-shot, triggered by the gate */
    CHECK(fake_inb(b, 0x61) & 0x20);
    fake_outb(b, 0x61, 1);
    fake_step_ns(b, tick_ns(3));
    CHECK(!(fake_inb(b, 0x61) & 0x20));
    fake_step_ns(b, tick_ns(300));
    fake_outb(b, 0x61, 0);
    fake_outb(b, 0x61, 1);                /* retrigger */
    fake_step_ns(b, tick_ns(300));
    CHECK(!(fake_inb(b, 0x61) & 0x20));
    fake_step_ns(b, tick_ns(110));
    CHECK(fake_inb(b, 0x61) & 0x20);

    unsigned toggles = 0;                 /* the refresh bit: about 66 kHz */
    uint8_t last = fake_inb(b, 0x61) & 0x10;
    for (unsigned i = 0; i < 1000; i++) {
        fake_step_ns(b, 1000);
        uint8_t now = fake_inb(b, 0x61) & 0x10;
        toggles += now != last;
        last = now;
    }
    CHECK(toggles >= 64 && toggles <= 68);
}

static void test_catch_up(struct gh_device *pit)
{
    /* The host sleeps: time jumps without timers, then they run late. */
    program(0, 2, 11932);
    fake_step_ns(b, 25000000);
    fake_irq_take(b, 0);
    b->now_ns += 200000000;
    fake_step_ns(b, 0);
    CHECK_EQ(fake_irq_take(b, 0), 1);
    fake_step_ns(b, 400000000);
    unsigned n = fake_irq_take(b, 0);     /* 40 of their own and about 19 late ones */
    CHECK(n >= 57 && n <= 61);
    fake_step_ns(b, 1000000000);
    n = fake_irq_take(b, 0);
    CHECK(n >= 99 && n <= 101);           /* back to the programmed rate */

    b->now_ns += 3600000000000;           /* an hour: at most a second's worth */
    fake_step_ns(b, 3000000000);
    n = fake_irq_take(b, 0);
    CHECK(n >= 395 && n <= 405);

    CHECK_EQ(gh_option_set(pit->class->options, pit->state, "catchup", "off", NULL), 0);
    b->now_ns += 200000000;
    fake_step_ns(b, 400000000);
    n = fake_irq_take(b, 0);
    CHECK(n >= 40 && n <= 42);
}

int main(void)
{
    b = fake_board_new();
    struct gh_device *pit = fake_add(b, "i8254", "pit", NULL);
    CHECK(fake_lookup_service(b, "pit"));
    CHECK_EQ(fake_next_timer(b), UINT64_MAX);
    test_mode2_rate();
    test_new_count_waits();
    test_one_shot();
    test_modes_of_count();
    test_gate();
    test_catch_up(pit);

    program(0, 2, 1);                     /* hostile rate: bounded */
    fake_irq_take(b, 0);
    fake_step_ns(b, 100000000);
    CHECK(fake_irq_take(b, 0) <= 5000);
    gh_pit_mute_irq(fake_lookup_service(b, "pit"), true);
    fake_step_ns(b, 1000000);
    CHECK(!fake_irq(b, 0));
    CHECK_EQ(fake_inb(b, 0x43), 0xff);

    program(0, 3, 20000);
    fake_step_ns(b, 5000000);
    struct gh_state_buffer saved = {0};
    fake_save(b, &saved);
    uint16_t v = latched(0);
    uint64_t next = fake_next_timer(b);
    fake_reset(b, GH_RESET_COLD);
    CHECK_EQ(fake_load(b, saved.data, saved.len, NULL), 0);
    CHECK_EQ(latched(0), v);
    CHECK_EQ(fake_next_timer(b), next);
    gh_state_buffer_fini(&saved);
    fake_board_free(b);
    return check_result();
}
