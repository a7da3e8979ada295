/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The HPET: counter, one-shot and periodic comparators, level, messages, legacy replacement, wraps. */
#include "check.h"
#include "fakeboard.h"

enum { BASE = 0xfed00000u };
static struct gh_board *b;

static uint64_t get(unsigned reg) { return fake_read(b, BASE + reg, 8); }
static void put(unsigned reg, uint64_t v) { fake_write(b, BASE + reg, 8, v); }
static void put32(unsigned reg, uint32_t v) { fake_write(b, BASE + reg, 4, v); }

static void test_counter(void)
{
    CHECK_EQ(get(0), 0x009896808086a201);
    CHECK_EQ(fake_read(b, BASE + 4, 4), 10000000);
    CHECK_EQ(get(0xf0), 0);
    fake_step_ns(b, 1000);
    CHECK_EQ(get(0xf0), 0);
    put(0xf0, 0x1234);
    put(0x10, 1);
    fake_step_ns(b, 1000);
    CHECK_EQ(get(0xf0), 0x1234 + 100);
    CHECK_EQ(fake_read(b, BASE + 0xf4, 4), 0);
    put(0xf0, 0);                         /* refused while it runs */
    CHECK_EQ(get(0xf0), 0x1234 + 100);
    put(0x10, 0);
    fake_step_ns(b, 1000);
    CHECK_EQ(get(0xf0), 0x1234 + 100);
    put(0xf0, 0);
    CHECK_EQ(fake_read(b, BASE + 0x106, 4), 0xffffffff); /* across two registers */
    CHECK_EQ(fake_next_timer(b), UINT64_MAX);
}

static void test_one_shot(void)
{
    put(0x10, 1);
    put(0x120, 20u << 9 | 4);             /* comparator 1, edge, pin 20 */
    CHECK_EQ(get(0x120) & 0xffffffff, (20u << 9 | 4 | 0x30));
    put(0x128, get(0xf0) + 1000);
    fake_step_ns(b, 9999);
    CHECK_EQ(fake_irq_take(b, 20), 0);
    fake_step_ns(b, 1);
    CHECK_EQ(fake_irq_take(b, 20), 1);
    fake_step_ns(b, 1000000000);
    CHECK_EQ(fake_irq_take(b, 20), 0);
    put(0x120, 3u << 9 | 4);              /* no such route */
    CHECK_EQ(get(0x120) >> 9 & 31, 0);
    put(0x120, 20u << 9 | 4 | 0x100);     /* 32 bits: comes round after 42.9 s */
    put32(0x128, (uint32_t)get(0xf0) + 100);
    fake_step_ns(b, 2000);
    CHECK_EQ(fake_irq_take(b, 20), 1);
    fake_step_ns(b, 42949672960);
    CHECK_EQ(fake_irq_take(b, 20), 1);
    put(0x120, 0);
    CHECK_EQ(fake_next_timer(b), UINT64_MAX);
}

static void test_periodic_and_level(void)
{
    put(0x100, 16u << 9 | 4 | 8 | 0x40);  /* comparator 0, periodic, value settable once */
    put(0x108, get(0xf0) + 100000);
    put(0x108, 100000);                   /* the period: 1 ms */
    fake_step_ns(b, 100000000);
    unsigned n = fake_irq_take(b, 16);
    CHECK(n >= 99 && n <= 100);
    put(0x108, 1);                        /* hostile: bounded */
    fake_step_ns(b, 100000000);
    CHECK(fake_irq_take(b, 16) <= 5001);
    put(0x100, 0);

    put(0x140, 17u << 9 | 2 | 4);         /* comparator 2, level */
    put(0x148, get(0xf0) + 1000);
    fake_step_ns(b, 20000);
    CHECK(fake_irq(b, 17));
    CHECK_EQ(get(0x20), 4);
    put(0x20, 1);
    CHECK(fake_irq(b, 17));
    put(0x20, 4);
    CHECK(!fake_irq(b, 17));
    put(0x148, get(0xf0) + 1000);
    fake_step_ns(b, 20000);
    CHECK(fake_irq(b, 17));
    put(0x10, 0);                         /* off: the line drops, the status stays */
    CHECK(!fake_irq(b, 17));
    CHECK_EQ(get(0x20), 4);
    put(0x20, 4);
    put(0x140, 0);
}

static void test_legacy(void)
{
    fake_outb(b, 0x43, 0x34);             /* the interval timer at 1000 Hz */
    fake_outb(b, 0x40, 0xa9);
    fake_outb(b, 0x40, 0x04);
    fake_irq_take(b, 0);
    fake_step_ns(b, 10000000);
    CHECK(fake_irq_take(b, 0) >= 9);
    put(0x10, 3);
    put(0x100, 4 | 8 | 0x40);
    put(0x108, get(0xf0) + 500000);
    put(0x108, 500000);                   /* 5 ms */
    put(0x120, 4);
    fake_irq_take(b, 0);
    fake_step_ns(b, 50000000);
    unsigned n = fake_irq_take(b, 0);
    CHECK(n >= 9 && n <= 10);
    put(0x128, get(0xf0) + 10);
    fake_step_ns(b, 1000);
    CHECK_EQ(fake_irq_take(b, 8), 1);
    put(0x10, 0);                         /* the old timer has its line back */
    fake_irq_take(b, 0);
    fake_step_ns(b, 10000000);
    CHECK(fake_irq_take(b, 0) >= 9);
}

static void test_message(void)
{
    CHECK(!(get(0x100) & 0x8000));
    struct gh_board *other = b;
    b = fake_board_new();
    fake_add(b, "hpet", "hpet", "msi=on");
    CHECK(get(0x100) & 0x8000);
    put(0x110, 0xfee01000ull << 32 | 0x51);
    put(0x100, 0x4000 | 4);
    put(0x10, 1);
    put(0x108, 1000);
    fake_step_ns(b, 20000);
    CHECK_EQ(b->msi_count, 1);
    CHECK_EQ(b->msi[0].address, 0xfee01000);
    CHECK_EQ(b->msi[0].data, 0x51);
    fake_board_free(b);
    b = other;
}

int main(void)
{
    b = fake_board_new();
    fake_add(b, "i8254", "pit", NULL);
    fake_add(b, "mc146818", "rtc", NULL);
    fake_add(b, "hpet", "hpet", NULL);
    test_counter();
    test_one_shot();
    test_periodic_and_level();
    test_legacy();
    test_message();

    put(0x10, 1);
    put(0x100, 16u << 9 | 4 | 8 | 0x40);
    put(0x108, get(0xf0) + 100000);
    put(0x108, 100000);
    struct gh_state_buffer saved = {0};
    fake_save(b, &saved);
    uint64_t counter = get(0xf0), next = fake_next_timer(b);
    fake_reset(b, GH_RESET_COLD);
    CHECK_EQ(get(0xf0), 0);
    CHECK_EQ(fake_load(b, saved.data, saved.len, NULL), 0);
    CHECK_EQ(get(0xf0), counter);
    CHECK_EQ(fake_next_timer(b), next);
    gh_state_buffer_fini(&saved);
    fake_board_free(b);
    return check_result();
}
