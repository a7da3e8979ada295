/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * 8254 interval timer at 40h-43h and the port 61h next to it. Specification: Intel 8254 data sheet;
 * port 61h as in the 82371SB.
 *
 * Modelled: three channels, modes 0-5, binary and BCD, all access modes, counter latch, read-back,
 * NULL COUNT, a new count taking effect at the end of the period in modes 2 and 3, channel 2's gate,
 * OUT2 and the refresh bit in port 61h. Nothing counts by itself: a counter is computed from the
 * machine clock when it is read, and a host timer is armed only for the next interrupt of channel 0.
 * Catch-up: periods that passed unseen (a busy host) are delivered late, twice as fast as programmed,
 * at most a second's worth; option catchup=off drops them.
 * Left out: the sound of the speaker; the half-period details of mode 3 with odd counts; a
 * count written in modes 1 and 5 waiting for the next trigger (it takes effect at once); interrupts
 * closer than 20 us, which are merged. Channel 0's line shows the rising edges of OUT only: between
 * two of them it stays high.
 */
#include <errno.h>

#include "devices/classes.h"
#include "devices/timer/i8254.h"

enum { HZ = 1193182, IRQ_MIN_TICKS = 24, REFRESH_TOGGLE_NS = 15085 };
enum { RW_LSB = 1, RW_MSB = 2, RW_BOTH = 3 };
enum { PORT61_GATE2 = 0x01, PORT61_WRITABLE = 0x0f, PORT61_REFRESH = 0x10, PORT61_OUT2 = 0x20 };

struct channel {
    uint8_t  mode, rw;
    bool     bcd, gate;
    bool     loaded;                      /* a count was written since the control word */
    bool     running;                     /* counting from start_tick; else elapsed is held */
    uint32_t count;                       /* 1..65536 */
    uint32_t pending;                     /* the count from the next period on; 0: none */
    uint64_t start_tick, elapsed;
    bool     write_msb, read_msb;         /* the next access is the high byte */
    uint8_t  low_byte;
    bool     status_latched;
    uint8_t  status, latched_bytes;       /* latched_bytes: how many of latch remain to be read */
    uint16_t latch;
};

struct gh_pit {
    struct channel channel[3];
    uint8_t  port61;
    uint64_t irq_tick;                    /* next rising edge of OUT0, 0: none */
    uint32_t backlog;                     /* edges that are late */
    bool     muted;
    bool     catch_up;                    /* options */
    uint16_t base;
    uint8_t  irq;
    struct gh_device *dev;
    struct gh_timer timer;
};

static uint64_t tick_of_ns(uint64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * HZ / 1000000000u);
}

/* The first nanosecond of that tick. */
static uint64_t ns_of_tick(uint64_t tick)
{
    return (uint64_t)(((unsigned __int128)tick * 1000000000u + HZ - 1) / HZ);
}

static uint64_t now_tick(struct gh_pit *pit)
{
    return tick_of_ns(gh_now_ns(pit->dev));
}

static bool periodic(const struct channel *c)
{
    return c->mode == 2 || c->mode == 3;
}

static bool triggered_by_gate(const struct channel *c)
{
    return c->mode == 1 || c->mode == 5;
}

/* Lets a pending count take effect if its period has begun. */
static void roll(struct channel *c, uint64_t now)
{
    if (!c->pending || !c->running || now < c->start_tick)
        return;
    uint64_t boundary = c->start_tick + c->count;
    if (now >= boundary) {
        c->start_tick = boundary;
        c->count = c->pending;
        c->pending = 0;
    }
}

/* Ticks since the count was loaded into the counter; false: it was not yet. */
static bool elapsed(struct channel *c, uint64_t now, uint64_t *ret)
{
    roll(c, now);
    if (!c->loaded || (c->running && now < c->start_tick))
        return false;
    *ret = c->running ? now - c->start_tick : c->elapsed;
    return true;
}

static bool out(struct channel *c, uint64_t now)
{
    uint64_t d;
    bool counting = elapsed(c, now, &d);

    if (!counting)
        return c->mode != 0;
    switch (c->mode) {
    case 0:  return d >= c->count;
    case 1:  return !c->running || d >= c->count;
    case 2:  return !c->running || d % c->count != c->count - 1;
    case 3:  return !c->running || d % c->count < (c->count + 1) / 2;
    default: return !c->running || d != c->count;
    }
}

static uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static uint16_t counter(struct channel *c, uint64_t now)
{
    uint32_t modulus = c->bcd ? 10000 : 65536, value;
    uint64_t d;

    if (!elapsed(c, now, &d))
        d = 0;
    if (c->mode == 2) {
        value = c->count - (uint32_t)(d % c->count);
    } else if (c->mode == 3) {
        uint32_t phase = (uint32_t)(d % c->count), high = (c->count + 1) / 2;
        value = (c->count & ~1u) - 2 * (phase < high ? phase : phase - high);
    } else {
        value = (uint32_t)((c->count + modulus - d % modulus) % modulus);
    }
    value %= modulus;
    return c->bcd ? to_bcd(value) : (uint16_t)value;
}

/* ---- Channel 0's interrupt ------------------------------------------------------------------------- */

/* Edges closer than the bound are merged into one. */
static uint64_t irq_step(const struct channel *c)
{
    return c->count >= IRQ_MIN_TICKS ? c->count
                                     : (uint64_t)c->count * ((IRQ_MIN_TICKS + c->count - 1) / c->count);
}

static void arm(struct gh_pit *pit)
{
    const struct channel *c = &pit->channel[0];

    if (!pit->irq_tick) {
        gh_timer_disarm(&pit->timer);
        return;
    }
    uint64_t when = ns_of_tick(pit->irq_tick);
    if (pit->backlog) {
        uint64_t sooner = gh_now_ns(pit->dev) + ns_of_tick(irq_step(c)) / 2;
        when = sooner < when ? sooner : when;
    }
    gh_timer_arm(&pit->timer, when);
}

/* After channel 0 was programmed: when does OUT rise next? */
static void plan(struct gh_pit *pit)
{
    struct channel *c = &pit->channel[0];
    uint64_t now = now_tick(pit), d = 0;

    pit->irq_tick = 0;
    if (c->loaded && c->running) {
        bool counting = elapsed(c, now, &d);
        if (periodic(c))
            pit->irq_tick = c->start_tick + (counting ? (d / c->count + 1) * c->count : c->count);
        else if (c->mode == 0 && (!counting || d < c->count))
            pit->irq_tick = c->start_tick + c->count;
        else if (c->mode == 4 && (!counting || d <= c->count))
            pit->irq_tick = c->start_tick + c->count + 1;
    }
    arm(pit);
}

static void line(struct gh_pit *pit, bool level)
{
    if (!pit->muted)
        gh_irq_set(pit->dev, pit->irq, level);
}

static void i8254_timer(struct gh_device *dev, struct gh_timer *timer)
{
    struct gh_pit  *pit = dev->state;
    struct channel *c = &pit->channel[0];
    uint64_t now = now_tick(pit);

    line(pit, false);
    line(pit, true);
    if (now < pit->irq_tick) {            /* one of the late ones */
        pit->backlog -= pit->backlog > 0;
    } else if (!periodic(c)) {
        pit->irq_tick = 0;
    } else {
        roll(c, now);
        uint64_t step = irq_step(c);
        pit->irq_tick += step;
        if (pit->irq_tick <= now) {
            uint64_t missed = (now - pit->irq_tick) / step + 1, most = HZ / step;
            pit->irq_tick += missed * step;
            missed += pit->backlog;
            pit->backlog = !pit->catch_up ? 0 : (uint32_t)(missed < most ? missed : most);
        }
    }
    arm(pit);
}

void gh_pit_mute_irq(struct gh_pit *pit, bool mute)
{
    if (mute)
        line(pit, false);
    pit->muted = mute;
}

/* ---- Programming ----------------------------------------------------------------------------------- */

static void load_count(struct gh_pit *pit, struct channel *c, uint16_t value)
{
    uint64_t now = now_tick(pit);
    uint32_t count = value;

    if (c->bcd)
        count = (value & 15) + (value >> 4 & 15) * 10u + (value >> 8 & 15) * 100u + (value >> 12) * 1000u;
    if (!count)
        count = c->bcd ? 10000 : 65536;
    gh_trace(pit_load, "channel %u mode %u count %u", (unsigned)(c - pit->channel), c->mode, count);
    roll(c, now);
    if (c->loaded && c->running && periodic(c) && now >= c->start_tick) {
        /* The current period ends as it began. */
        c->start_tick += (now - c->start_tick) / c->count * c->count;
        c->pending = count;
        return;
    }
    c->count = count;
    c->pending = 0;
    if (triggered_by_gate(c)) {
        if (!c->running)
            c->elapsed = 0;
    } else {
        c->running = c->gate;
        c->start_tick = now + 1;
        c->elapsed = 0;
    }
    c->loaded = true;
    if (c == pit->channel) {
        pit->backlog = 0;
        line(pit, out(c, now));
        plan(pit);
    }
}

static void write_counter(struct gh_pit *pit, struct channel *c, uint8_t value)
{
    if (c->rw == RW_LSB) {
        load_count(pit, c, value);
    } else if (c->rw == RW_MSB) {
        load_count(pit, c, (uint16_t)(value << 8));
    } else if (c->write_msb) {
        c->write_msb = false;
        load_count(pit, c, (uint16_t)(value << 8 | c->low_byte));
    } else {
        c->write_msb = true;
        c->low_byte = value;
        if (c->mode == 0) {               /* the first byte stops the count */
            c->running = c->loaded = false;
            if (c == pit->channel) {
                line(pit, false);
                plan(pit);
            }
        }
    }
}

static uint8_t read_counter(struct gh_pit *pit, struct channel *c)
{
    uint16_t v;

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    if (c->latched_bytes) {
        v = c->latch;
        if (c->latched_bytes == 2 || c->rw == RW_LSB) {
            c->latched_bytes--;
            return (uint8_t)v;
        }
        c->latched_bytes = 0;
        return (uint8_t)(v >> 8);
    }
    v = counter(c, now_tick(pit));
    bool high = c->rw == RW_MSB || (c->rw == RW_BOTH && c->read_msb);
    c->read_msb = c->rw == RW_BOTH && !c->read_msb;
    return (uint8_t)(high ? v >> 8 : v);
}

static void latch_count(struct gh_pit *pit, struct channel *c)
{
    if (c->latched_bytes)
        return;
    c->latch = counter(c, now_tick(pit));
    c->latched_bytes = c->rw == RW_BOTH ? 2 : 1;
}

static void latch_status(struct gh_pit *pit, struct channel *c)
{
    uint64_t now = now_tick(pit), d;

    if (c->status_latched)
        return;
    bool null_count = !elapsed(c, now, &d) || c->pending;
    c->status = (uint8_t)(out(c, now) << 7 | null_count << 6 | c->rw << 4 | c->mode << 1 | c->bcd);
    c->status_latched = true;
}

static void write_control(struct gh_pit *pit, uint8_t value)
{
    unsigned n = value >> 6, rw = value >> 4 & 3, mode = value >> 1 & 7;

    if (n == 3) {                         /* read-back */
        for (unsigned i = 0; i < 3; i++) {
            if (!(value >> (i + 1) & 1))
                continue;
            if (!(value & 0x20))
                latch_count(pit, &pit->channel[i]);
            if (!(value & 0x10))
                latch_status(pit, &pit->channel[i]);
        }
        return;
    }
    struct channel *c = &pit->channel[n];
    if (!rw) {
        latch_count(pit, c);
        return;
    }
    c->rw = (uint8_t)rw;
    c->mode = (uint8_t)(mode > 5 ? mode & 3 : mode);
    c->bcd = value & 1;
    c->loaded = c->running = false;
    c->elapsed = 0;
    c->pending = 0;
    c->write_msb = c->read_msb = c->status_latched = false;
    c->latched_bytes = 0;
    if (c == pit->channel) {
        pit->backlog = 0;
        line(pit, c->mode != 0);
        plan(pit);
    }
}

static bool i8254_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct gh_pit *pit = dev->state;

    if (a->offset == 3) {
        if (!a->write)
            return false;                 /* the control register cannot be read */
        write_control(pit, (uint8_t)a->value);
    } else if (a->write) {
        write_counter(pit, &pit->channel[a->offset], (uint8_t)a->value);
    } else {
        a->value = read_counter(pit, &pit->channel[a->offset]);
    }
    return true;
}

static void set_gate(struct gh_pit *pit, struct channel *c, bool gate)
{
    uint64_t now = now_tick(pit), d;

    if (c->gate == gate)
        return;
    bool counting = elapsed(c, now, &d);
    c->gate = gate;
    if (triggered_by_gate(c)) {
        if (gate && c->loaded) {
            c->running = true;
            c->start_tick = now + 1;
        }
    } else if (!gate) {
        c->elapsed = counting && !periodic(c) ? d : 0;
        if (c->pending) {
            c->count = c->pending;
            c->pending = 0;
        }
        c->running = false;
    } else if (c->loaded) {
        c->running = true;
        c->start_tick = periodic(c) || c->elapsed > now ? now + 1 : now - c->elapsed;
    }
}

static bool port61_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct gh_pit *pit = dev->state;

    if (a->write) {
        pit->port61 = (uint8_t)a->value & PORT61_WRITABLE;
        set_gate(pit, &pit->channel[2], pit->port61 & PORT61_GATE2);
    } else {
        a->value = pit->port61;
        if (gh_now_ns(dev) / REFRESH_TOGGLE_NS & 1)
            a->value |= PORT61_REFRESH;
        if (out(&pit->channel[2], now_tick(pit)))
            a->value |= PORT61_OUT2;
    }
    return true;
}

/* ---- Class ----------------------------------------------------------------------------------------- */

static void i8254_reset(struct gh_device *dev, enum gh_reset why)
{
    struct gh_pit *pit = dev->state;

    for (unsigned i = 0; i < 3; i++)
        pit->channel[i] = (struct channel){.mode = 3, .rw = RW_BOTH, .count = 65536, .gate = i != 2};
    pit->port61 = 0;
    pit->backlog = 0;
    pit->muted = false;
    line(pit, false);
    plan(pit);
}

static int i8254_attach(struct gh_device *dev, struct gh_error *err)
{
    struct gh_pit *pit = dev->state;
    const struct gh_range_desc counters = {
        .name = "pit", .base = pit->base, .size = 4, .widths = GH_W8, .fn = i8254_access};
    const struct gh_range_desc port61 = {
        .name = "port61", .base = 0x61, .size = 1, .widths = GH_W8, .fn = port61_access};

    pit->dev = dev;
    gh_timer_init(&pit->timer, dev, i8254_timer);
    int r = gh_range_add(dev, 0, &counters, err);
    if (r == 0)
        r = gh_range_add(dev, 1, &port61, err);
    if (r == 0)
        dev->ops->provide(dev->board, "pit", pit);
    return r;
}

static void i8254_detach(struct gh_device *dev)
{
    gh_timer_disarm(&((struct gh_pit *)dev->state)->timer);
}

static bool channel_possible(const struct channel *c)
{
    return c->mode <= 5 && c->rw >= RW_LSB && c->rw <= RW_BOTH && c->count >= 1 && c->count <= 65536 &&
           c->pending <= 65536 && c->latched_bytes <= 2;
}

static int i8254_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct gh_pit *pit = dev->state;
    bool ok = true;

    for (unsigned i = 0; i < 3; i++)
        ok = ok && channel_possible(&pit->channel[i]);
    if (!ok)
        return gh_error_set(err, -EBADMSG, "SavedStateDamaged",
                            "The saved state of the interval timer is impossible; "
                            "discard it and start the machine anew.");
    uint32_t most = HZ / IRQ_MIN_TICKS;
    pit->backlog = pit->backlog < most ? pit->backlog : most;
    arm(pit);
    return 0;
}

static const struct gh_option i8254_options[] = {
    GH_OPT(GH_T_U16, struct gh_pit, base, "iobase", 0, 0xfffc, "0x40", "First I/O port"),
    GH_OPT(GH_T_U8, struct gh_pit, irq, "irq", 0, 15, "0", "Interrupt of channel 0"),
    GH_OPT(GH_T_BOOL, struct gh_pit, catch_up, "catchup", 0, 0, "on", "Deliver timer interrupts that the host was late for"),
    {0},
};
static const struct gh_field channel_fields[] = {
    GH_FIELD(GH_T_U8, struct channel, mode, 1),
    GH_FIELD(GH_T_U8, struct channel, rw, 1),
    GH_FIELD(GH_T_BOOL, struct channel, bcd, 1),
    GH_FIELD(GH_T_BOOL, struct channel, gate, 1),
    GH_FIELD(GH_T_BOOL, struct channel, loaded, 1),
    GH_FIELD(GH_T_BOOL, struct channel, running, 1),
    GH_FIELD(GH_T_U32, struct channel, count, 1),
    GH_FIELD(GH_T_U32, struct channel, pending, 1),
    GH_FIELD(GH_T_U64, struct channel, start_tick, 1),
    GH_FIELD(GH_T_U64, struct channel, elapsed, 1),
    GH_FIELD(GH_T_BOOL, struct channel, write_msb, 1),
    GH_FIELD(GH_T_BOOL, struct channel, read_msb, 1),
    GH_FIELD(GH_T_U8, struct channel, low_byte, 1),
    GH_FIELD(GH_T_BOOL, struct channel, status_latched, 1),
    GH_FIELD(GH_T_U8, struct channel, status, 1),
    GH_FIELD(GH_T_U8, struct channel, latched_bytes, 1),
    GH_FIELD(GH_T_U16, struct channel, latch, 1),
    {0},
};
static const struct gh_field i8254_fields[] = {
    GH_FIELD_TABLE(struct gh_pit, channel, struct channel, channel_fields, 3, 1),
    GH_FIELD(GH_T_U8, struct gh_pit, port61, 1),
    GH_FIELD(GH_T_U64, struct gh_pit, irq_tick, 1),
    GH_FIELD(GH_T_U32, struct gh_pit, backlog, 1),
    GH_FIELD(GH_T_BOOL, struct gh_pit, muted, 1),
    {0},
};

const struct gh_device_class gh_class_i8254 = {
    .name = "i8254",
    .summary = "Interval timer 8254 and port 61h",
    .state_size = sizeof(struct gh_pit),
    .version = 1,
    .options = i8254_options,
    .saved = i8254_fields,
    .attach = i8254_attach,
    .reset = i8254_reset,
    .loaded = i8254_loaded,
    .detach = i8254_detach,
};
