/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * MC146818A real-time clock with 256 bytes of CMOS: 70h/71h, extended bank 72h/73h, IRQ 8.
 * Specification: Motorola MC146818A data sheet; extended bank as in the 82371SB; century in 32h.
 *
 * Modelled: BCD and binary, 12 and 24 hours, SET, divider reset (the next second comes 500 ms after
 * it ends), UIP, alarm with don't-care bytes, update-ended and periodic interrupts, flags that are
 * set even while their interrupt is off. The time is the board's wall clock plus an offset: it runs
 * on while the machine is paused. Flags are computed when somebody looks; a host timer is armed only
 * for the next interrupt that is enabled and not pending already.
 * Catch-up: periodic interrupts that the guest had no time to take are delivered afterwards, twice
 * as fast as programmed, at most a second's worth; option catchup=off drops them.
 * Left out: daylight saving (DSE), the square wave, NMI masking by bit 7 of 70h, loss of power.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "devices/chipset/piix4pm.h"
#include "devices/classes.h"
#include "devices/timer/mc146818.h"

enum {
    SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, DAY_OF_WEEK, DAY_OF_MONTH, MONTH, YEAR,
    REG_A, REG_B, REG_C, REG_D, CENTURY = 0x32,
};
enum { A_UIP = 0x80, A_DV_RESET = 0x60, A_DV = 0x70, A_RS = 0x0f };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_SQWE = 0x08, B_DM = 0x04, B_24H = 0x02 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };
enum { D_VRT = 0x80, HOUR_PM = 0x80, ALARM_ANY = 0xc0 };
enum { SECOND_NS = 1000000000, UIP_NS = 244000, BASE_HZ = 32768 };

struct gh_rtc {
    uint8_t  cmos[256];
    uint8_t  index, extended_index;
    uint64_t offset_ns;                   /* signed: time shown minus the board's wall clock */
    uint8_t  weekday_shift;               /* the guest's idea of the day of week against the calendar */
    uint64_t second_seen;                 /* updates up to this second are in the flags */
    uint64_t period_seen;                 /* likewise for periods of the divider */
    uint32_t late_periods;
    uint64_t late_ns;                     /* when the next late one is due */
    bool     muted;
    bool     catch_up;                    /* options */
    uint8_t  irq;
    char     base[16];
    struct gh_device *dev;
    struct gh_timer timer;
};

/* ---- Time ------------------------------------------------------------------------------------------ */

static bool stopped(const struct gh_rtc *rtc)
{
    return (rtc->cmos[REG_B] & B_SET) || (rtc->cmos[REG_A] & A_DV_RESET) == A_DV_RESET;
}

static uint64_t rtc_ns(struct gh_rtc *rtc)
{
    return rtc->dev->ops->wall_ns(rtc->dev->board) + rtc->offset_ns;
}

static uint8_t encode(const struct gh_rtc *rtc, unsigned v)
{
    return (uint8_t)(rtc->cmos[REG_B] & B_DM ? v : v / 10 << 4 | v % 10);
}

static unsigned decode(const struct gh_rtc *rtc, uint8_t v)
{
    return rtc->cmos[REG_B] & B_DM ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t encode_hour(const struct gh_rtc *rtc, unsigned hour)
{
    if (rtc->cmos[REG_B] & B_24H)
        return encode(rtc, hour);
    return (uint8_t)(encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0));
}

static unsigned decode_hour(const struct gh_rtc *rtc, uint8_t v)
{
    if (rtc->cmos[REG_B] & B_24H)
        return decode(rtc, v);
    return decode(rtc, v & 0x7f) % 12 + (v & HOUR_PM ? 12 : 0);
}

/* Days since 1970 in the Gregorian calendar; the month may be anything from 0 to 255. */
static int64_t days_of_date(int64_t year, unsigned month, unsigned day)
{
    month = month ? month - 1 : 0;
    year += month / 12;
    month %= 12;
    /* Years begin in March, so that the leap day is the last one. */
    int64_t y = month < 2 ? year - 1 : year, m = (month + 10) % 12;
    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10 + (day ? day - 1 : 0) - 719468;
}

static void date_of_days(int64_t days, unsigned *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468;
    int64_t era = days / 146097, rest = days % 146097;
    int64_t year = (rest - rest / 1460 + rest / 36524 - rest / 146096) / 365;
    int64_t day = rest - (year * 365 + year / 4 - year / 100), m = (day * 5 + 2) / 153;

    *ret_day = (unsigned)(day - (m * 153 + 2) / 5 + 1);
    *ret_month = (unsigned)(m < 10 ? m + 3 : m - 9);
    *ret_year = (unsigned)(era * 400 + year + (m >= 10));
}

/* Registers from the time. */
static void show_time(struct gh_rtc *rtc)
{
    uint64_t seconds = rtc_ns(rtc) / SECOND_NS, days = seconds / 86400, tod = seconds % 86400;
    unsigned year, month, day;

    date_of_days((int64_t)days, &year, &month, &day);
    rtc->cmos[SECONDS] = encode(rtc, tod % 60);
    rtc->cmos[MINUTES] = encode(rtc, tod / 60 % 60);
    rtc->cmos[HOURS] = encode_hour(rtc, (unsigned)(tod / 3600));
    rtc->cmos[DAY_OF_WEEK] = encode(rtc, (unsigned)((days + 4 + rtc->weekday_shift) % 7 + 1));
    rtc->cmos[DAY_OF_MONTH] = encode(rtc, day);
    rtc->cmos[MONTH] = encode(rtc, month);
    rtc->cmos[YEAR] = encode(rtc, year % 100);
    rtc->cmos[CENTURY] = encode(rtc, year / 100 % 100);
}

/* The time from the registers; the fraction of the second runs on. */
static void take_time(struct gh_rtc *rtc)
{
    const uint8_t *c = rtc->cmos;
    uint64_t now = rtc_ns(rtc);
    int64_t  year = decode(rtc, c[CENTURY]) * 100 + decode(rtc, c[YEAR]);
    int64_t  days = days_of_date(year < 1970 ? 1970 : year, decode(rtc, c[MONTH]), decode(rtc, c[DAY_OF_MONTH]));
    uint64_t seconds = (uint64_t)days * 86400 + decode_hour(rtc, c[HOURS]) * 3600u +
                       decode(rtc, c[MINUTES]) * 60u + decode(rtc, c[SECONDS]);

    rtc->offset_ns += seconds * SECOND_NS + now % SECOND_NS - now;
    rtc->weekday_shift = (uint8_t)((decode(rtc, c[DAY_OF_WEEK]) + 6u + 7u - (unsigned)((days + 4) % 7)) % 7);
    rtc->second_seen = seconds;
    gh_trace(rtc_set, "%llu", (unsigned long long)seconds);
}

/* ---- Flags and interrupt --------------------------------------------------------------------------- */

/* Periods of the divider in ticks of 32768 Hz; 0: none selected, or the divider is held. */
static uint32_t period_ticks(const struct gh_rtc *rtc)
{
    unsigned rs = rtc->cmos[REG_A] & A_RS;

    if (!rs || (rtc->cmos[REG_A] & A_DV_RESET) == A_DV_RESET)
        return 0;
    return 1u << (rs < 3 ? rs + 6 : rs - 1);
}

static uint64_t periods_at(uint64_t ns, uint32_t ticks)
{
    return (uint64_t)((unsigned __int128)ns * BASE_HZ / SECOND_NS) / ticks;
}

static uint64_t ns_of_period(uint64_t period, uint32_t ticks)
{
    return (uint64_t)(((unsigned __int128)period * ticks * SECOND_NS + BASE_HZ - 1) / BASE_HZ);
}

static bool alarm_part(const struct gh_rtc *rtc, unsigned reg, unsigned value)
{
    uint8_t v = rtc->cmos[reg];

    return (v & ALARM_ANY) == ALARM_ANY || value == (reg == HOURS_ALARM ? decode_hour(rtc, v) : decode(rtc, v));
}

/* The first second after `after` that the alarm matches, UINT64_MAX: none (impossible bytes). */
static uint64_t next_alarm(const struct gh_rtc *rtc, uint64_t after)
{
    for (uint64_t t = after + 1; t <= after + 86400;) {
        unsigned tod = (unsigned)(t % 86400);
        if (!alarm_part(rtc, HOURS_ALARM, tod / 3600))
            t += 3600 - tod % 3600;
        else if (!alarm_part(rtc, MINUTES_ALARM, tod / 60 % 60))
            t += 60 - tod % 60;
        else if (!alarm_part(rtc, SECONDS_ALARM, tod % 60))
            t++;
        else
            return t;
    }
    return UINT64_MAX;
}

static void look_at_periods(struct gh_rtc *rtc, uint64_t now)
{
    uint32_t ticks = period_ticks(rtc);
    uint8_t *flags = &rtc->cmos[REG_C];

    if (!ticks) {
        rtc->late_periods = 0;
        return;
    }
    uint64_t passed = periods_at(now, ticks), n = passed - rtc->period_seen;
    if (passed > rtc->period_seen) {
        uint64_t most = BASE_HZ / ticks, late = rtc->late_periods + n - !(*flags & C_PF);
        rtc->period_seen = passed;
        rtc->late_periods = rtc->catch_up && (rtc->cmos[REG_B] & B_PIE) ? (uint32_t)(late < most ? late : most) : 0;
        *flags |= C_PF;
    } else if (rtc->late_periods && !(*flags & C_PF) && now >= rtc->late_ns) {
        rtc->late_periods--;
        *flags |= C_PF;
    }
}

static void tell_pm(struct gh_rtc *rtc)
{
    struct gh_device *pm = rtc->dev->ops->lookup(rtc->dev->board, "pm");

    if (pm)
        gh_piix4pm_rtc_alarm(pm);
}

static void look_at_seconds(struct gh_rtc *rtc)
{
    uint64_t second = rtc_ns(rtc) / SECOND_NS;

    if (stopped(rtc))
        return;
    if (second > rtc->second_seen) {
        rtc->cmos[REG_C] |= C_UF;
        if (next_alarm(rtc, rtc->second_seen) <= second) {
            if ((rtc->cmos[REG_B] & B_AIE) && !(rtc->cmos[REG_C] & C_AF))
                tell_pm(rtc);
            rtc->cmos[REG_C] |= C_AF;
        }
    }
    rtc->second_seen = second;
}

static void arm(struct gh_rtc *rtc, uint64_t now)
{
    uint8_t  wanted = rtc->cmos[REG_B] & (uint8_t)~rtc->cmos[REG_C];
    uint64_t when = UINT64_MAX, second_ns = SECOND_NS - rtc_ns(rtc) % SECOND_NS;
    uint32_t ticks = period_ticks(rtc);

    if ((wanted & B_PIE) && ticks) {
        when = ns_of_period(rtc->period_seen + 1, ticks);
        if (rtc->late_periods && rtc->late_ns < when)
            when = rtc->late_ns;
    }
    if ((wanted & B_UIE) && !stopped(rtc) && now + second_ns < when)
        when = now + second_ns;
    if ((wanted & B_AIE) && !stopped(rtc)) {
        uint64_t alarm = next_alarm(rtc, rtc->second_seen);
        if (alarm != UINT64_MAX) {
            uint64_t alarm_ns = now + second_ns + (alarm - rtc->second_seen - 1) * SECOND_NS;
            when = alarm_ns < when ? alarm_ns : when;
        }
    }
    if (when == UINT64_MAX)
        gh_timer_disarm(&rtc->timer);
    else
        gh_timer_arm(&rtc->timer, when);
}

/* Brings flags, line and timer up to date. */
static void update(struct gh_rtc *rtc)
{
    uint64_t now = gh_now_ns(rtc->dev);
    uint8_t *flags = &rtc->cmos[REG_C];

    look_at_periods(rtc, now);
    look_at_seconds(rtc);
    if (*flags & rtc->cmos[REG_B] & (C_PF | C_AF | C_UF))
        *flags |= C_IRQF;
    else
        *flags &= (uint8_t)~C_IRQF;
    if (!rtc->muted)
        gh_irq_set(rtc->dev, rtc->irq, *flags & C_IRQF);
    arm(rtc, now);
}

static void rtc_timer(struct gh_device *dev, struct gh_timer *timer)
{
    update(dev->state);
}

void gh_rtc_mute_irq(struct gh_rtc *rtc, bool mute)
{
    if (mute && !rtc->muted)
        gh_irq_set(rtc->dev, rtc->irq, false);
    rtc->muted = mute;
    update(rtc);
}

/* ---- Registers ------------------------------------------------------------------------------------- */

static bool is_time(unsigned reg)
{
    return reg == SECONDS || reg == MINUTES || reg == HOURS || (reg >= DAY_OF_WEEK && reg <= YEAR) || reg == CENTURY;
}

static uint8_t read_cmos(struct gh_rtc *rtc, unsigned reg)
{
    if (is_time(reg) && !stopped(rtc))
        show_time(rtc);
    if (reg == REG_A) {
        bool soon = !stopped(rtc) && rtc_ns(rtc) % SECOND_NS >= SECOND_NS - UIP_NS;
        return rtc->cmos[REG_A] | (soon ? A_UIP : 0);
    }
    if (reg == REG_C) {
        update(rtc);
        uint8_t  flags = rtc->cmos[REG_C];
        uint32_t ticks = period_ticks(rtc);
        rtc->cmos[REG_C] = 0;
        if (ticks)
            rtc->late_ns = gh_now_ns(rtc->dev) + ns_of_period(1, ticks) / 2;
        /* The line falls even if time has moved on and it rises at once: who counts edges must see one. */
        if (!rtc->muted)
            gh_irq_set(rtc->dev, rtc->irq, false);
        update(rtc);
        return flags;
    }
    return rtc->cmos[reg];
}

/* Registers A and B decide whether time runs: keep it across the change. */
static void write_control(struct gh_rtc *rtc, unsigned reg, uint8_t value)
{
    bool was_stopped = stopped(rtc), was_reset = (rtc->cmos[REG_A] & A_DV_RESET) == A_DV_RESET;
    uint32_t was_ticks = period_ticks(rtc);

    update(rtc);
    if (!was_stopped)
        show_time(rtc);
    else if (reg == REG_B && ((value ^ rtc->cmos[REG_B]) & B_SET))
        take_time(rtc);                   /* in the format in which it was written */
    if (reg == REG_A)
        rtc->cmos[REG_A] = value & (A_DV | A_RS);
    else
        rtc->cmos[REG_B] = value & B_SET ? value & (uint8_t)~B_UIE : value;
    if (was_stopped && !stopped(rtc)) {
        if (reg == REG_A)
            take_time(rtc);
        if (was_reset)
            rtc->offset_ns += SECOND_NS / 2 - rtc_ns(rtc) % SECOND_NS;
    }
    if (period_ticks(rtc) != was_ticks && period_ticks(rtc)) {
        rtc->period_seen = periods_at(gh_now_ns(rtc->dev), period_ticks(rtc));
        rtc->late_periods = 0;
    }
    update(rtc);
}

static void write_cmos(struct gh_rtc *rtc, unsigned reg, uint8_t value)
{
    switch (reg) {
    case REG_A:
    case REG_B:
        write_control(rtc, reg, value);
        return;
    case REG_C:
    case REG_D:
        return;
    case SECONDS_ALARM:
    case MINUTES_ALARM:
    case HOURS_ALARM:
        update(rtc);
        rtc->cmos[reg] = value;
        update(rtc);
        return;
    default:
        break;
    }
    bool set = is_time(reg) && !stopped(rtc);
    if (set)
        show_time(rtc);
    rtc->cmos[reg] = value;
    if (set) {
        take_time(rtc);
        update(rtc);
    }
}

static bool mc146818_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct gh_rtc *rtc = dev->state;
    uint8_t value = (uint8_t)a->value;

    switch (a->offset) {
    case 0:
        if (a->write)
            rtc->index = value & 0x7f;
        else
            a->value = 0xff;              /* write-only */
        break;
    case 2:
        if (a->write)
            rtc->extended_index = value & 0x7f;
        else
            a->value = rtc->extended_index;
        break;
    default: {
        unsigned reg = a->offset == 1 ? rtc->index : 128u + rtc->extended_index;
        if (a->write)
            write_cmos(rtc, reg, value);
        else
            a->value = read_cmos(rtc, reg);
        break;
    }
    }
    return true;
}

void gh_rtc_cmos_set(struct gh_rtc *rtc, unsigned reg, uint8_t value)
{
    if (reg > REG_D && reg != CENTURY && reg < sizeof rtc->cmos)
        rtc->cmos[reg] = value;
}

uint8_t gh_rtc_cmos_get(const struct gh_rtc *rtc, unsigned reg)
{
    return reg > REG_D && reg < sizeof rtc->cmos ? rtc->cmos[reg] : 0;
}

/* ---- Class ----------------------------------------------------------------------------------------- */

static void mc146818_reset(struct gh_device *dev, enum gh_reset why)
{
    struct gh_rtc *rtc = dev->state;

    rtc->cmos[REG_B] &= (uint8_t)~(B_PIE | B_AIE | B_UIE | B_SQWE);
    rtc->cmos[REG_C] = 0;
    rtc->late_periods = 0;
    rtc->muted = false;
    update(rtc);
}

/* "utc", "local", or seconds east of UTC. */
static int read_base(struct gh_rtc *rtc, struct gh_error *err)
{
    char   *end;
    int64_t seconds = 0;

    if (!strcmp(rtc->base, "local")) {
        time_t now = (time_t)(rtc->dev->ops->wall_ns(rtc->dev->board) / SECOND_NS);
        struct tm tm;
        if (localtime_r(&now, &tm))
            seconds = tm.tm_gmtoff;
    } else if (strcmp(rtc->base, "utc")) {
        seconds = strtoll(rtc->base, &end, 10);
        if (end == rtc->base || *end || seconds < -86400 * 366 || seconds > 86400 * 366)
            return gh_error_option(err, -EINVAL, "RtcBaseInvalid", "base",
                                   "\"%s\" is not a base for the clock; use utc, local, or seconds east of UTC.",
                                   rtc->base);
    }
    rtc->offset_ns = (uint64_t)seconds * SECOND_NS;
    return 0;
}

static int mc146818_attach(struct gh_device *dev, struct gh_error *err)
{
    struct gh_rtc *rtc = dev->state;
    const struct gh_range_desc desc = {
        .name = "rtc", .base = 0x70, .size = 4, .widths = GH_W8, .fn = mc146818_access};

    rtc->dev = dev;
    gh_timer_init(&rtc->timer, dev, rtc_timer);
    int r = read_base(rtc, err);
    if (r < 0)
        return r;
    rtc->cmos[REG_A] = 0x26;
    rtc->cmos[REG_B] = B_24H;
    rtc->cmos[REG_D] = D_VRT;
    rtc->second_seen = rtc_ns(rtc) / SECOND_NS;
    rtc->period_seen = periods_at(gh_now_ns(dev), period_ticks(rtc));
    dev->ops->provide(dev->board, "rtc", rtc);
    return gh_range_add(dev, 0, &desc, err);
}

static void mc146818_detach(struct gh_device *dev)
{
    gh_timer_disarm(&((struct gh_rtc *)dev->state)->timer);
}

static int mc146818_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct gh_rtc *rtc = dev->state;

    if (rtc->index > 127 || rtc->extended_index > 127 || rtc->weekday_shift > 6 || rtc->late_periods > BASE_HZ ||
        (rtc->cmos[REG_A] & A_UIP) || rtc->cmos[REG_D] != D_VRT)
        return gh_error_set(err, -EBADMSG, "SavedStateDamaged",
                            "The saved state of the clock is impossible; discard it and start the machine anew.");
    arm(rtc, gh_now_ns(dev));
    return 0;
}

static const struct gh_option mc146818_options[] = {
    GH_OPT(GH_T_STRING, struct gh_rtc, base, "base", 0, 0, "utc", "Time base: utc, local, or seconds east of UTC"),
    GH_OPT(GH_T_U8, struct gh_rtc, irq, "irq", 0, 15, "8", "Interrupt"),
    GH_OPT(GH_T_BOOL, struct gh_rtc, catch_up, "catchup", 0, 0, "on", "Deliver periodic interrupts that were missed"),
    {0},
};
static const struct gh_field mc146818_fields[] = {
    GH_FIELD_ARRAY(GH_T_BYTES, struct gh_rtc, cmos, 256, 1),
    GH_FIELD(GH_T_U8, struct gh_rtc, index, 1),
    GH_FIELD(GH_T_U8, struct gh_rtc, extended_index, 1),
    GH_FIELD(GH_T_U64, struct gh_rtc, offset_ns, 1),
    GH_FIELD(GH_T_U8, struct gh_rtc, weekday_shift, 1),
    GH_FIELD(GH_T_U64, struct gh_rtc, second_seen, 1),
    GH_FIELD(GH_T_U64, struct gh_rtc, period_seen, 1),
    GH_FIELD(GH_T_U32, struct gh_rtc, late_periods, 1),
    GH_FIELD(GH_T_U64, struct gh_rtc, late_ns, 1),
    GH_FIELD(GH_T_BOOL, struct gh_rtc, muted, 1),
    {0},
};

const struct gh_device_class gh_class_mc146818 = {
    .name = "mc146818",
    .summary = "Real-time clock and CMOS memory",
    .state_size = sizeof(struct gh_rtc),
    .version = 1,
    .options = mc146818_options,
    .saved = mc146818_fields,
    .attach = mc146818_attach,
    .reset = mc146818_reset,
    .loaded = mc146818_loaded,
    .detach = mc146818_detach,
};
