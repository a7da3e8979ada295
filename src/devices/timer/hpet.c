/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * High precision event timer at FED00000h: a 64-bit counter of 100 MHz and three comparators.
 * Specification: IA-PC HPET 1.0a.
 *
 * Modelled: periodic and one-shot comparators, 32 and 64 bits, edge and level, routing to I/O APIC
 * pins, FSB (message) delivery if option msi=on, legacy replacement, which takes IRQ 0 and 8 from
 * the interval timer and the clock. Reading the counter takes no lock.
 * Left out: periods that passed unseen are not delivered afterwards; interrupts of one comparator
 * closer than 20 us are merged.
 */
#include <errno.h>

#include "devices/classes.h"
#include "devices/timer/i8254.h"
#include "devices/timer/mc146818.h"

enum { RANGE_REGISTERS, RANGE_COUNTER };
enum { TIMERS = 3, TICK_NS = 10, MIN_TICKS = 2000, REGION_BYTES = 0x400 };
enum { CAPABILITIES = 0x000, CONFIGURATION = 0x010, STATUS = 0x020, COUNTER = 0x0f0, TIMER_FIRST = 0x100,
       TIMER_BYTES = 0x20, TIMER_CONFIG = 0x00, TIMER_COMPARATOR = 0x08, TIMER_ROUTE = 0x10 };
enum { ENABLE = 0x1, LEGACY = 0x2 };

#define CAPABILITIES_VALUE (10000000ull << 32 | 0x8086u << 16 | 1u << 15 | 1u << 13 | (TIMERS - 1) << 8 | 1u)
#define TN_LEVEL        (1u << 1)
#define TN_INTERRUPT    (1u << 2)
#define TN_PERIODIC     (1u << 3)
#define TN_PERIODIC_CAP (1u << 4)
#define TN_64BIT_CAP    (1u << 5)
#define TN_SET_VALUE    (1u << 6)
#define TN_32BIT        (1u << 8)
#define TN_FSB          (1u << 14)
#define TN_FSB_CAP      (1u << 15)
#define TN_WRITABLE     (TN_LEVEL | TN_INTERRUPT | TN_PERIODIC | TN_SET_VALUE | TN_32BIT | 0x1fu << 9 | TN_FSB)

struct comparator {
    uint64_t config, value, period, route;
    struct gh_timer timer;
};

struct hpet {
    uint64_t configuration, status;
    uint64_t base;                        /* counter minus machine ticks while enabled, the counter while not */
    struct comparator comparator[TIMERS];
    bool     line[TIMERS];                /* level-triggered lines that we hold high */
    struct gh_device *dev;
    uint64_t address;                     /* options */
    uint32_t pins;
    bool     msi;
};

static bool enabled(const struct hpet *h)
{
    return __atomic_load_n(&h->configuration, __ATOMIC_ACQUIRE) & ENABLE;
}

/* Any thread. */
static uint64_t counter(const struct hpet *h)
{
    uint64_t base = __atomic_load_n(&h->base, __ATOMIC_RELAXED);
    return enabled(h) ? gh_now_ns(h->dev) / TICK_NS + base : base;
}

static uint64_t width_mask(const struct comparator *c)
{
    return c->config & TN_32BIT ? UINT32_MAX : UINT64_MAX;
}

/* ---- Interrupts ---------------------------------------------------------------------------------------- */

static unsigned pin_of(const struct hpet *h, unsigned n)
{
    if ((h->configuration & LEGACY) && n < 2)
        return n == 0 ? 0 : 8;
    return h->comparator[n].config >> 9 & 0x1f;
}

static void set_line(struct hpet *h, unsigned n, bool level)
{
    if (h->line[n] == level)
        return;
    h->line[n] = level;
    gh_irq_set(h->dev, pin_of(h, n), level);
}

/* Level-triggered lines follow the status bits. */
static void update_lines(struct hpet *h)
{
    for (unsigned n = 0; n < TIMERS; n++) {
        uint64_t c = h->comparator[n].config;
        set_line(h, n, (c & TN_LEVEL) && (c & TN_INTERRUPT) && !(c & TN_FSB) && enabled(h) && (h->status >> n & 1));
    }
}

static void fire(struct hpet *h, unsigned n)
{
    const struct comparator *c = &h->comparator[n];

    if (c->config & TN_LEVEL) {
        h->status |= 1u << n;
        update_lines(h);
    } else if (!(c->config & TN_INTERRUPT)) {
        return;
    } else if (c->config & TN_FSB) {
        gh_msi_send(h->dev, c->route >> 32, (uint32_t)c->route);
    } else {
        gh_irq_set(h->dev, pin_of(h, n), true);
        gh_irq_set(h->dev, pin_of(h, n), false);
    }
}

/* Arms the host timer for the next match. A comparator just behind the counter matches after a wrap. */
static void arm(struct hpet *h, unsigned n)
{
    struct comparator *c = &h->comparator[n];
    uint64_t left = (c->value - counter(h)) & width_mask(c);

    if (!enabled(h) || !(c->config & (TN_INTERRUPT | TN_LEVEL)) || left > INT64_MAX / TICK_NS) {
        gh_timer_disarm(&c->timer);
        return;
    }
    gh_timer_arm(&c->timer, gh_now_ns(h->dev) + left * TICK_NS);
}

static void arm_all(struct hpet *h)
{
    for (unsigned n = 0; n < TIMERS; n++)
        arm(h, n);
}

static void match(struct gh_device *dev, struct gh_timer *timer)
{
    struct hpet *h = dev->state;
    struct comparator *c = GH_CONTAINER_OF(timer, struct comparator, timer);
    unsigned n = (unsigned)(c - h->comparator);

    if ((c->config & TN_PERIODIC) && c->period) {
        uint64_t step = c->period, now = counter(h);
        if (step < MIN_TICKS)
            step *= (MIN_TICKS + step - 1) / step;
        uint64_t passed = ((now - c->value) & width_mask(c)) / step + 1;
        c->value = (c->value + passed * step) & width_mask(c);
        arm(h, n);
    } else if (c->config & TN_32BIT) {    /* comes round again */
        gh_timer_arm(&c->timer, gh_now_ns(dev) + (1ull << 32) * TICK_NS);
    }
    fire(h, n);
}

/* ---- Registers ------------------------------------------------------------------------------------------- */

static uint64_t read_register(struct hpet *h, unsigned reg)
{
    unsigned n = (reg - TIMER_FIRST) / TIMER_BYTES;

    switch (reg) {
    case CAPABILITIES:  return CAPABILITIES_VALUE;
    case CONFIGURATION: return h->configuration;
    case STATUS:        return h->status;
    case COUNTER:       return counter(h);
    default:            break;
    }
    if (reg < TIMER_FIRST || n >= TIMERS)
        return 0;
    const struct comparator *c = &h->comparator[n];
    switch (reg % TIMER_BYTES) {
    case TIMER_CONFIG:
        return c->config | TN_PERIODIC_CAP | TN_64BIT_CAP | (h->msi ? TN_FSB_CAP : 0) | (uint64_t)h->pins << 32;
    case TIMER_COMPARATOR:
        return c->value;
    case TIMER_ROUTE:
        return c->route;
    default:
        return 0;
    }
}

static void mute_legacy(struct hpet *h, bool mute)
{
    struct gh_pit *pit = gh_lookup(h->dev, "pit");
    struct gh_rtc *rtc = gh_lookup(h->dev, "rtc");

    if (pit)
        gh_pit_mute_irq(pit, mute);
    if (rtc)
        gh_rtc_mute_irq(rtc, mute);
}

static void write_configuration(struct hpet *h, uint64_t value)
{
    uint64_t changed = h->configuration ^ value, now = gh_now_ns(h->dev) / TICK_NS;

    value &= ENABLE | LEGACY;
    for (unsigned n = 0; (changed & LEGACY) && n < TIMERS; n++)
        set_line(h, n, false);            /* on the old pin */
    if (changed & ENABLE)
        __atomic_store_n(&h->base, value & ENABLE ? h->base - now : h->base + now, __ATOMIC_RELAXED);
    __atomic_store_n(&h->configuration, value, __ATOMIC_RELEASE);
    if (changed & LEGACY)
        mute_legacy(h, value & LEGACY);
    if (changed & ENABLE)
        arm_all(h);
    update_lines(h);
}

static void write_comparator(struct hpet *h, unsigned n, uint64_t value, uint64_t mask)
{
    struct comparator *c = &h->comparator[n];
    bool periodic = c->config & TN_PERIODIC;

    if (!periodic || (c->config & TN_SET_VALUE))
        c->value = ((c->value & ~mask) | (value & mask)) & width_mask(c);
    if (periodic)
        c->period = ((c->period & ~mask) | (value & mask)) & width_mask(c);
    c->config &= ~(uint64_t)TN_SET_VALUE;
    arm(h, n);
}

static void write_timer_config(struct hpet *h, unsigned n, uint64_t value)
{
    struct comparator *c = &h->comparator[n];

    set_line(h, n, false);
    c->config = value & TN_WRITABLE & (h->msi ? UINT64_MAX : ~(uint64_t)TN_FSB);
    if (!(h->pins >> (c->config >> 9 & 0x1f) & 1))
        c->config &= ~(0x1full << 9);     /* no such route */
    if (c->config & TN_32BIT) {
        c->value &= UINT32_MAX;
        c->period &= UINT32_MAX;
    }
    arm(h, n);
    update_lines(h);
}

/* value and mask cover the whole register; mask has the bytes that were written. */
static void write_register(struct hpet *h, unsigned reg, uint64_t value, uint64_t mask)
{
    unsigned n = (reg - TIMER_FIRST) / TIMER_BYTES;
    uint64_t merged = (read_register(h, reg) & ~mask) | (value & mask);

    switch (reg) {
    case CONFIGURATION:
        write_configuration(h, merged);
        return;
    case STATUS:
        h->status &= ~(value & mask);
        update_lines(h);
        return;
    case COUNTER:
        if (enabled(h))
            gh_guest_error(h->dev, "the counter was written while it runs");
        else
            __atomic_store_n(&h->base, merged, __ATOMIC_RELAXED);
        return;
    default:
        break;
    }
    if (reg < TIMER_FIRST || n >= TIMERS)
        return;
    if (reg % TIMER_BYTES == TIMER_CONFIG)
        write_timer_config(h, n, merged);
    else if (reg % TIMER_BYTES == TIMER_COMPARATOR)
        write_comparator(h, n, value, mask);
    else if (reg % TIMER_BYTES == TIMER_ROUTE)
        h->comparator[n].route = merged;
}

static bool access(struct hpet *h, unsigned reg, unsigned shift, struct gh_access *a)
{
    uint64_t mask = gh_width_mask(a->width);

    if (shift + a->width > 8)
        return false;                     /* across two registers */
    if (a->write)
        write_register(h, reg, (a->value & mask) << (shift * 8), mask << (shift * 8));
    else
        a->value = read_register(h, reg) >> (shift * 8);
    return true;
}

static bool register_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    return access(dev->state, (unsigned)a->offset & ~7u, (unsigned)a->offset & 7, a);
}

static bool counter_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    return access(dev->state, COUNTER, (unsigned)a->offset, a);
}

/* ---- Class ----------------------------------------------------------------------------------------------- */

static void hpet_reset(struct gh_device *dev, enum gh_reset why)
{
    struct hpet *h = dev->state;

    write_configuration(h, 0);
    h->base = h->status = 0;
    for (unsigned n = 0; n < TIMERS; n++) {
        struct comparator *c = &h->comparator[n];
        gh_timer_disarm(&c->timer);
        set_line(h, n, false);
        c->config = c->period = c->route = 0;
        c->value = UINT64_MAX;
    }
}

static int hpet_attach(struct gh_device *dev, struct gh_error *err)
{
    struct hpet *h = dev->state;
    const struct gh_range_desc registers = {
        .name = "hpet", .space = GH_SPACE_MMIO, .base = h->address, .size = REGION_BYTES, .priority = 10,
        .fn = register_access};
    const struct gh_range_desc count = {
        .name = "hpet-counter", .space = GH_SPACE_MMIO, .base = h->address + COUNTER, .size = 8, .priority = 11,
        .lockless = true, .fn = counter_access};

    h->dev = dev;
    for (unsigned n = 0; n < TIMERS; n++)
        gh_timer_init(&h->comparator[n].timer, dev, match);
    int r = gh_range_add(dev, RANGE_REGISTERS, &registers, err);
    return r < 0 ? r : gh_range_add(dev, RANGE_COUNTER, &count, err);
}

static void hpet_detach(struct gh_device *dev)
{
    struct hpet *h = dev->state;

    for (unsigned n = 0; n < TIMERS; n++)
        gh_timer_disarm(&h->comparator[n].timer);
}

static int hpet_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct hpet *h = dev->state;
    bool ok = !(h->configuration & ~(uint64_t)(ENABLE | LEGACY)) && !(h->status >> TIMERS);

    for (unsigned n = 0; n < TIMERS; n++)
        ok = ok && !(h->comparator[n].config & ~(uint64_t)TN_WRITABLE);
    if (!ok)
        return gh_error_set(err, -EBADMSG, "SavedStateDamaged",
                            "The saved state of the HPET is impossible; discard it and start the machine anew.");
    arm_all(h);
    return 0;
}

static const struct gh_option hpet_options[] = {
    GH_OPT(GH_T_U64, struct hpet, address, "base", 0, 0xfffff000, "0xfed00000", "Address of the registers"),
    GH_OPT(GH_T_U32, struct hpet, pins, "pins", 0, 0x00ffffff, "0x00ff0104", "I/O APIC pins that comparators may use, one bit each"),
    GH_OPT(GH_T_BOOL, struct hpet, msi, "msi", 0, 0, "off", "Offer interrupts by message"),
    {0},
};
static const struct gh_field comparator_fields[] = {
    GH_FIELD(GH_T_U64, struct comparator, config, 1),
    GH_FIELD(GH_T_U64, struct comparator, value, 1),
    GH_FIELD(GH_T_U64, struct comparator, period, 1),
    GH_FIELD(GH_T_U64, struct comparator, route, 1),
    {0},
};
static const struct gh_field hpet_fields[] = {
    GH_FIELD(GH_T_U64, struct hpet, configuration, 1),
    GH_FIELD(GH_T_U64, struct hpet, status, 1),
    GH_FIELD(GH_T_U64, struct hpet, base, 1),
    GH_FIELD_TABLE(struct hpet, comparator, struct comparator, comparator_fields, TIMERS, 1),
    GH_FIELD_ARRAY(GH_T_BOOL, struct hpet, line, TIMERS, 1),
    {0},
};

const struct gh_device_class gh_class_hpet = {
    .name = "hpet",
    .summary = "High precision event timer",
    .state_size = sizeof(struct hpet),
    .version = 1,
    .options = hpet_options,
    .saved = hpet_fields,
    .attach = hpet_attach,
    .reset = hpet_reset,
    .loaded = hpet_loaded,
    .detach = hpet_detach,
};
