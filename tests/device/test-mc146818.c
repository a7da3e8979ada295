/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The real-time clock: calendar in all formats, setting, UIP, three interrupts, catch-up, CMOS. */
#include "check.h"
#include "fakeboard.h"
#include "devices/timer/mc146818.h"

#include <errno.h>

enum { SECOND = 1000000000 };

static struct gh_board *b;

static uint8_t get(uint8_t reg)
{
    fake_outb(b, 0x70, reg);
    return fake_inb(b, 0x71);
}

static void put(uint8_t reg, uint8_t v)
{
    fake_outb(b, 0x70, reg);
    fake_outb(b, 0x71, v);
}

static void check_time(unsigned h, unsigned m, unsigned s, unsigned d, unsigned mon, unsigned y, unsigned century)
{
    CHECK_EQ(get(4), h);
    CHECK_EQ(get(2), m);
    CHECK_EQ(get(0), s);
    CHECK_EQ(get(7), d);
    CHECK_EQ(get(8), mon);
    CHECK_EQ(get(9), y);
    CHECK_EQ(get(0x32), century);
}

static void set_time(uint8_t h, uint8_t m, uint8_t s, uint8_t d, uint8_t mon, uint8_t y, uint8_t century, uint8_t reg_b)
{
    put(11, reg_b | 0x80);
    put(4, h); put(2, m); put(0, s); put(7, d); put(8, mon); put(9, y); put(0x32, century);
    put(11, reg_b);
}

static void test_calendar(void)
{
    /* The board's wall clock is 2001-09-09 01:46:40 UTC at machine time 0; it stands at 1 s. */
    check_time(0x01, 0x46, 0x41, 0x09, 0x09, 0x01, 0x20);
    CHECK_EQ(get(6), 1);                  /* Sunday */
    put(11, 0x06);                        /* binary */
    check_time(1, 46, 41, 9, 9, 1, 20);
    set_time(23, 59, 58, 28, 2, 24, 20, 0x06);
    fake_step_ns(b, 2 * (uint64_t)SECOND);
    check_time(0, 0, 0, 29, 2, 24, 20);   /* leap year */
    set_time(23, 59, 59, 31, 12, 99, 19, 0x06);
    fake_step_ns(b, SECOND);
    check_time(0, 0, 0, 1, 1, 0, 20);
    set_time(0x11, 0x59, 0x59, 0x28, 0x02, 0x23, 0x20, 0x00); /* BCD, 12 hours: 11 a.m. */
    CHECK_EQ(get(4), 0x11);
    fake_step_ns(b, SECOND);
    CHECK_EQ(get(4), 0x92);               /* 12 p.m. */
    put(11, 0x02);
    CHECK_EQ(get(4), 0x12);
    set_time(0x92, 0, 0, 1, 1, 0x26, 0x20, 0x00);
    put(11, 0x02);
    CHECK_EQ(get(4), 0x12);
    set_time(0x12, 0, 0, 1, 1, 0x26, 0x20, 0x00); /* 12 a.m. */
    put(11, 0x02);
    CHECK_EQ(get(4), 0x00);
    put(6, 3);                            /* the guest's day of week counts on */
    set_time(0x23, 0x59, 0x59, 0x10, 0x03, 0x26, 0x20, 0x02);
    fake_step_ns(b, SECOND);
    uint8_t day = get(6);
    fake_step_ns(b, 86400 * (uint64_t)SECOND);
    CHECK_EQ(get(6), day % 7 + 1);
    set_time(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02); /* nonsense is harmless */
    get(9);
    set_time(0x12, 0, 0, 1, 1, 0x26, 0x20, 0x02);
}

static void test_set_and_uip(void)
{
    put(11, 0x82);
    uint8_t s = get(0);
    fake_step_ns(b, 5 * (uint64_t)SECOND);
    CHECK_EQ(get(0), s);                  /* SET holds the time */
    CHECK(!(get(10) & 0x80));
    put(11, 0x02);
    put(10, 0x76);                        /* divider reset, then 500 ms to the next second */
    put(0, 0x10);
    put(10, 0x26);
    fake_step_ns(b, 499000000);
    CHECK_EQ(get(0), 0x10);
    fake_step_ns(b, 800000);
    CHECK(get(10) & 0x80);                /* UIP 244 us before the update */
    CHECK_EQ(get(0), 0x10);
    fake_step_ns(b, 300000);
    CHECK(!(get(10) & 0x80));
    CHECK_EQ(get(0), 0x11);
}

static void test_interrupts(void)
{
    get(12);
    put(11, 0x12);                        /* update-ended */
    fake_irq_take(b, 8);
    fake_step_ns(b, 3 * (uint64_t)SECOND);
    CHECK_EQ(fake_irq_take(b, 8), 1);     /* not again before C is read */
    CHECK(fake_irq(b, 8));
    CHECK_EQ(fake_next_timer(b), UINT64_MAX);
    CHECK_EQ(get(12) & 0xb0, 0x90);
    CHECK(!fake_irq(b, 8));
    fake_step_ns(b, SECOND);
    CHECK_EQ(fake_irq_take(b, 8), 1);
    put(11, 0x02);
    CHECK(!fake_irq(b, 8));
    get(12);

    set_time(0x10, 0x20, 0x30, 1, 1, 0x26, 0x20, 0x02);
    put(5, 0x11); put(3, 0x00); put(1, 0x05);
    put(11, 0x22);                        /* alarm at 11:00:05 */
    get(12);
    fake_step_ns(b, 2374 * (uint64_t)SECOND);
    CHECK(!fake_irq(b, 8));
    fake_step_ns(b, SECOND);
    CHECK(fake_irq(b, 8));
    CHECK_EQ(get(12) & 0xa0, 0xa0);
    put(5, 0xff); put(3, 0xc0);           /* every minute */
    fake_irq_take(b, 8);
    for (unsigned i = 0; i < 120; i++) {
        fake_step_ns(b, SECOND);
        get(12);
    }
    CHECK_EQ(fake_irq_take(b, 8), 2);
    put(1, 0x99);                         /* never */
    CHECK_EQ(fake_next_timer(b), UINT64_MAX);
    put(11, 0x02);

    put(10, 0x26);                        /* periodic, 1024 Hz */
    get(12);
    put(11, 0x42);
    fake_irq_take(b, 8);
    unsigned n = 0;
    for (uint64_t end = b->now_ns + SECOND; fake_next_timer(b) <= end;) {
        fake_step_to_timer(b, SECOND);
        n += get(12) >> 6 & 1;
    }
    CHECK(n >= 1023 && n <= 1025);

    /* The guest is away for 20 ms: about 20 periods come late. */
    fake_step_ns(b, 20000000);
    CHECK_EQ(fake_next_timer(b), UINT64_MAX);
    n = get(12) >> 6 & 1;
    for (uint64_t end = b->now_ns + SECOND; b->now_ns < end && fake_step_to_timer(b, SECOND);)
        n += get(12) >> 6 & 1;
    CHECK(n >= 1042 && n <= 1046);
    put(11, 0x02);
    get(12);
    fake_step_ns(b, 20000000);
    CHECK_EQ(get(12), 0x40);              /* the flag is set without the interrupt */
    fake_step_ns(b, 100);
    CHECK_EQ(get(12), 0);
}

/* A host so busy that a period passes while register C is read: the next interrupt is an edge all the same. */
static void test_slow_host(void)
{
    put(10, 0x26);                        /* 1024 Hz */
    put(11, 0x42);
    fake_step_ns(b, 2000000);
    b->now_drift_ns = 1000000;
    for (unsigned i = 0; i < 10; i++) {
        fake_irq_take(b, 8);
        CHECK(get(12) & 0x80);
        CHECK(!fake_irq(b, 8) || fake_irq_take(b, 8));
    }
    b->now_drift_ns = 0;
    put(11, 2);
    get(12);
    CHECK(!fake_irq(b, 8));
}

static void test_catch_up(void)
{
    unsigned n = 0;

    get(12);
    put(11, 0x42);
    b->now_ns += 50000000;                /* late by about 51 periods */
    for (uint64_t end = b->now_ns + SECOND; b->now_ns < end && fake_step_to_timer(b, SECOND);)
        n += get(12) >> 6 & 1;
    CHECK(n >= 1070 && n <= 1078);
    put(11, 0x02);
}

static void test_cmos(void)
{
    struct gh_rtc *rtc = fake_lookup_service(b, "rtc");

    gh_rtc_cmos_set(rtc, 0x34, 0xab);
    CHECK_EQ(get(0x34), 0xab);
    gh_rtc_cmos_set(rtc, 11, 0xff);       /* not a memory byte */
    CHECK_EQ(get(11), 0x02);
    gh_rtc_cmos_set(rtc, 256, 1);
    CHECK_EQ(gh_rtc_cmos_get(rtc, 256), 0);
    put(0x7f, 0x5a);
    CHECK_EQ(gh_rtc_cmos_get(rtc, 0x7f), 0x5a);
    fake_outb(b, 0x72, 0x85);
    fake_outb(b, 0x73, 0x77);
    CHECK_EQ(gh_rtc_cmos_get(rtc, 128 + 5), 0x77);
    CHECK_EQ(gh_rtc_cmos_get(rtc, 5), 0); /* an alarm byte: not to be had here */
    put(13, 0);
    CHECK_EQ(get(13), 0x80);
    put(12, 0xff);
    CHECK_EQ(get(12) & 0x0f, 0);
    CHECK_EQ(fake_inb(b, 0x70), 0xff);
    gh_rtc_mute_irq(rtc, true);
    put(11, 0x52);
    fake_step_ns(b, 2 * (uint64_t)SECOND);
    CHECK(!fake_irq(b, 8));
    gh_rtc_mute_irq(rtc, false);
    CHECK(fake_irq(b, 8));
    fake_reset(b, GH_RESET_WARM);
    CHECK(!fake_irq(b, 8));
    CHECK_EQ(get(0x34), 0xab);
    CHECK_EQ(get(11), 0x02);
}

static void test_base(void)
{
    struct gh_board *other = fake_board_new();
    struct gh_error err = {0};

    fake_add(other, "mc146818", "rtc", "base=-3600");
    fake_outb(other, 0x70, 4);
    CHECK_EQ(fake_inb(other, 0x71), 0);
    fake_board_free(other);
    other = fake_board_new();
    struct gh_device *dev = fake_create(other, "mc146818", "rtc");
    CHECK_EQ(fake_set_options(dev, "base=moon", &err), 0);
    CHECK_EQ(fake_attach(dev, &err), -EINVAL);
    CHECK_STR(err.option, "base");
    fake_board_free(other);
}

int main(void)
{
    b = fake_board_new();
    fake_add(b, "mc146818", "rtc", NULL);
    test_calendar();
    test_set_and_uip();
    test_interrupts();
    test_catch_up();
    test_cmos();
    test_base();
    test_slow_host();
    fake_board_free(b);
    return check_result();
}
