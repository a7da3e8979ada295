/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Local APIC: registers, priorities, timer, base register. Delivery between APICs is lapic_bus.c.
 * Left out on purpose: SMI, performance and thermal interrupts (their LVT entries only store),
 * directed EOI.
 */
#include "devices/irq/lapic.h"

#include <stdatomic.h>
#include <string.h>

#define SVR_ENABLE      (1u << 8)
#define VERSION         0x00050014u   /* six LVT entries, integrated APIC */
#define TIMER_PERIODIC  1u
#define TIMER_DEADLINE  2u
#define PHYS_MASK       0xffffffffffull
#define ESR_ILLEGAL_REG (1u << 7)
#define PERIOD_MIN_NS   100000ull     /* shorter periods merge ticks: a guest must not keep the host's timers busy */

static bool x2(const struct gh_lapic *l) { return l->base_msr & GH_LAPIC_BASE_X2; }
static uint32_t timer_mode(const struct gh_lapic *l) { return l->regs[GH_LAPIC_LVT_TIMER] >> 17 & 3; }

void gh_lapic_init(struct gh_lapic *l, struct gh_lapic_bus *bus, uint32_t id, bool bsp,
                   const struct gh_lapic_env *env)
{
    memset(l, 0, sizeof *l);
    l->bus = bus;
    l->env = *env;
    l->id = id;
    l->bsp = bsp;
    gh_lapic_reset(l, false);
}

static void set_identity(struct gh_lapic *l)
{
    l->regs[GH_LAPIC_ID] = x2(l) ? l->id : l->id << 24;
    if (x2(l))
        l->regs[GH_LAPIC_LDR] = (l->id >> 4) << 16 | 1u << (l->id & 15);
}

void gh_lapic_reset(struct gh_lapic *l, bool keep_id)
{
    memset(l->regs, 0, sizeof l->regs);
    for (unsigned i = 0; i < 8; i++) {
        __atomic_store_n(&l->irr[i], 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&l->tmr[i], 0, __ATOMIC_SEQ_CST);
    }
    if (!keep_id)
        l->base_msr = 0xfee00000ull | GH_LAPIC_BASE_ENABLE | (l->bsp ? GH_LAPIC_BASE_BSP : 0);
    l->regs[GH_LAPIC_VERSION] = VERSION;
    l->regs[GH_LAPIC_DFR] = ~0u;
    l->regs[GH_LAPIC_SVR] = 0xff;
    for (unsigned r = GH_LAPIC_LVT_TIMER; r <= GH_LAPIC_LVT_ERROR; r++)
        l->regs[r] = GH_LAPIC_LVT_MASKED;
    if (l->bsp)   /* firmware that never touches the APIC gets the 8259's interrupts */
        l->regs[GH_LAPIC_LVT_LINT0] = GH_DELIVER_EXTINT << 8;
    l->timer_start_ns = l->timer_period_ns = l->deadline_tsc = 0;
    l->esr_pending = 0;
    set_identity(l);
}

/* ---- Priorities --------------------------------------------------------------------------------- */
static int highest(const uint32_t *word)
{
    for (int i = 7; i >= 0; i--) {
        uint32_t w = __atomic_load_n(&word[i], __ATOMIC_RELAXED);
        if (w)
            return i * 32 + 31 - __builtin_clz(w);
    }
    return -1;
}

static uint32_t priority(const struct gh_lapic *l)
{
    int in_service = highest(&l->regs[GH_LAPIC_ISR]);
    uint32_t tpr = l->regs[GH_LAPIC_TPR] & 0xff, isr = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;

    return (tpr & 0xf0) >= isr ? tpr : isr;
}

int gh_lapic_pending(struct gh_lapic *l)
{
    if (!(l->regs[GH_LAPIC_SVR] & SVR_ENABLE) || !(l->base_msr & GH_LAPIC_BASE_ENABLE))
        return -1;
    int v = highest(l->irr);
    return v >= 0 && ((uint32_t)v & 0xf0) > (priority(l) & 0xf0) ? v : -1;
}

int gh_lapic_ack(struct gh_lapic *l)
{
    int v = gh_lapic_pending(l);

    if (v < 0)
        return -1;
    __atomic_fetch_and(&l->irr[v >> 5], ~(1u << (v & 31)), __ATOMIC_SEQ_CST);
    l->regs[GH_LAPIC_ISR + (v >> 5)] |= 1u << (v & 31);
    return v;
}

static void eoi(struct gh_lapic *l)
{
    int v = highest(&l->regs[GH_LAPIC_ISR]);

    if (v < 0)
        return;
    l->regs[GH_LAPIC_ISR + (v >> 5)] &= ~(1u << (v & 31));
    if (__atomic_load_n(&l->tmr[v >> 5], __ATOMIC_RELAXED) >> (v & 31) & 1)
        l->env.eoi(l->env.opaque, (uint8_t)v);
}

bool gh_lapic_accepts_extint(const struct gh_lapic *l)
{
    uint32_t lvt = l->regs[GH_LAPIC_LVT_LINT0];

    if (!(l->base_msr & GH_LAPIC_BASE_ENABLE))
        return l->bsp;
    return !(lvt & GH_LAPIC_LVT_MASKED) && (lvt >> 8 & 7) == GH_DELIVER_EXTINT;
}

uint8_t gh_lapic_get_cr8(const struct gh_lapic *l) { return (uint8_t)(l->regs[GH_LAPIC_TPR] >> 4 & 0xf); }
void gh_lapic_set_cr8(struct gh_lapic *l, uint8_t cr8) { l->regs[GH_LAPIC_TPR] = (uint32_t)(cr8 & 0xf) << 4; }

void gh_lapic_error(struct gh_lapic *l, uint32_t bit)
{
    uint32_t lvt = l->regs[GH_LAPIC_LVT_ERROR];

    __atomic_fetch_or(&l->esr_pending, bit, __ATOMIC_SEQ_CST);
    if (!(lvt & GH_LAPIC_LVT_MASKED) && (lvt & 0xff) >= 16)
        gh_lapic_deliver(l, GH_DELIVER_FIXED, (uint8_t)lvt, false);
}

/* ---- Timer ------------------------------------------------------------------------------------------ */
static uint64_t divisor(const struct gh_lapic *l)
{
    uint32_t d = l->regs[GH_LAPIC_TIMER_DIVIDE];
    uint32_t code = (d & 3) | (d >> 1 & 4);

    return code == 7 ? 1 : 2ull << code;
}

static void timer_start(struct gh_lapic *l, uint64_t count)
{
    l->timer_start_ns = l->env.now_ns(l->env.opaque);
    l->timer_period_ns = count * divisor(l) * 1000000000ull / GH_LAPIC_TIMER_HZ;
}

static uint32_t timer_now(const struct gh_lapic *l)
{
    if (!l->timer_period_ns || timer_mode(l) == TIMER_DEADLINE)
        return 0;
    uint64_t gone = l->env.now_ns(l->env.opaque) - l->timer_start_ns;
    if (gone >= l->timer_period_ns) {
        if (timer_mode(l) != TIMER_PERIODIC)
            return 0;
        gone %= l->timer_period_ns;
    }
    return (uint32_t)((l->timer_period_ns - gone) / divisor(l));
}

void gh_lapic_set_deadline(struct gh_lapic *l, uint64_t tsc)
{
    if (timer_mode(l) == TIMER_DEADLINE)
        l->deadline_tsc = tsc;
}

uint64_t gh_lapic_get_deadline(const struct gh_lapic *l) { return l->deadline_tsc; }

uint64_t gh_lapic_deadline_ns(const struct gh_lapic *l)
{
    if ((l->regs[GH_LAPIC_LVT_TIMER] & GH_LAPIC_LVT_MASKED))
        return UINT64_MAX;
    if (timer_mode(l) != TIMER_DEADLINE) {
        if (!l->timer_period_ns)
            return UINT64_MAX;
        if (timer_mode(l) == TIMER_PERIODIC && l->timer_period_ns < PERIOD_MIN_NS)
            return l->timer_start_ns + PERIOD_MIN_NS;
        return l->timer_start_ns + l->timer_period_ns;
    }
    if (!l->deadline_tsc)
        return UINT64_MAX;
    uint64_t tsc = l->env.read_tsc(l->env.opaque), now = l->env.now_ns(l->env.opaque);
    if (l->deadline_tsc <= tsc)
        return now;
    __uint128_t left = (__uint128_t)(l->deadline_tsc - tsc) * 1000000000u / l->env.tsc_hz;
    return left > INT64_MAX / 2 ? UINT64_MAX - 1 : now + (uint64_t)left;
}

static void timer_fire(struct gh_lapic *l)
{
    uint32_t lvt = l->regs[GH_LAPIC_LVT_TIMER];

    if (!(lvt & GH_LAPIC_LVT_MASKED))
        gh_lapic_deliver(l, GH_DELIVER_FIXED, (uint8_t)lvt, false);
}

void gh_lapic_expire(struct gh_lapic *l, uint64_t now_ns)
{
    if (timer_mode(l) == TIMER_DEADLINE) {
        if (l->deadline_tsc && l->env.read_tsc(l->env.opaque) >= l->deadline_tsc) {
            l->deadline_tsc = 0;
            timer_fire(l);
        }
        return;
    }
    if (!l->timer_period_ns || now_ns < l->timer_start_ns + l->timer_period_ns)
        return;
    if (timer_mode(l) == TIMER_PERIODIC)   /* ticks that nobody took merge into one, as in the IRR */
        l->timer_start_ns += (now_ns - l->timer_start_ns) / l->timer_period_ns * l->timer_period_ns;
    else
        l->timer_period_ns = 0;
    timer_fire(l);
}

/* ---- Registers ------------------------------------------------------------------------------------ */
static uint32_t read_reg(struct gh_lapic *l, uint32_t reg)
{
    if (reg >= GH_LAPIC_IRR && reg < GH_LAPIC_IRR + 8)
        return __atomic_load_n(&l->irr[reg - GH_LAPIC_IRR], __ATOMIC_RELAXED);
    if (reg >= GH_LAPIC_TMR && reg < GH_LAPIC_TMR + 8)
        return __atomic_load_n(&l->tmr[reg - GH_LAPIC_TMR], __ATOMIC_RELAXED);
    switch (reg) {
    case GH_LAPIC_PPR: return priority(l);
    case GH_LAPIC_EOI: return 0;
    case GH_LAPIC_TIMER_NOW: return timer_now(l);
    default: return reg < 64 ? l->regs[reg] : 0;
    }
}

/* Bits of an LVT entry that can be written, by register from LVT_TIMER on. */
static const uint32_t lvt_mask[] = { 0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff };

static void write_lvt(struct gh_lapic *l, uint32_t reg, uint32_t value)
{
    uint32_t old_mode = timer_mode(l);

    /* A one-shot that has run down stays down whatever the new mode: settle it before the mode changes. */
    if (reg == GH_LAPIC_LVT_TIMER && old_mode != TIMER_DEADLINE)
        gh_lapic_expire(l, l->env.now_ns(l->env.opaque));

    value &= lvt_mask[reg - GH_LAPIC_LVT_TIMER];
    if (!(l->regs[GH_LAPIC_SVR] & SVR_ENABLE))
        value |= GH_LAPIC_LVT_MASKED;
    l->regs[reg] = value;
    if (reg == GH_LAPIC_LVT_TIMER && (old_mode == TIMER_DEADLINE) != (timer_mode(l) == TIMER_DEADLINE))
        l->deadline_tsc = l->timer_period_ns = 0;
}

static void write_svr(struct gh_lapic *l, uint32_t value)
{
    l->regs[GH_LAPIC_SVR] = value & 0x3ff;
    if (!(value & SVR_ENABLE))
        for (unsigned r = GH_LAPIC_LVT_TIMER; r <= GH_LAPIC_LVT_ERROR; r++)
            l->regs[r] |= GH_LAPIC_LVT_MASKED;
}

static void write_reg(struct gh_lapic *l, uint32_t reg, uint32_t value)
{
    switch (reg) {
    case GH_LAPIC_TPR: l->regs[reg] = value & 0xff; break;
    case GH_LAPIC_EOI: eoi(l); break;
    case GH_LAPIC_ID:
        if (!x2(l))
            l->regs[reg] = value & 0xff000000u;
        break;
    case GH_LAPIC_LDR:
        if (!x2(l))
            l->regs[reg] = value & 0xff000000u;
        break;
    case GH_LAPIC_DFR: l->regs[reg] = value | 0x0fffffffu; break;
    case GH_LAPIC_SVR: write_svr(l, value); break;
    case GH_LAPIC_ESR: l->regs[reg] = __atomic_exchange_n(&l->esr_pending, 0, __ATOMIC_SEQ_CST); break;
    case GH_LAPIC_ICR:
        l->regs[reg] = value & 0xcdfff & ~(1u << 12);
        gh_lapic_command(l, value, l->regs[GH_LAPIC_ICR2] >> 24);
        break;
    case GH_LAPIC_ICR2: l->regs[reg] = value & 0xff000000u; break;
    case GH_LAPIC_LVT_TIMER: case GH_LAPIC_LVT_THERMAL: case GH_LAPIC_LVT_PERF: case GH_LAPIC_LVT_LINT0:
    case GH_LAPIC_LVT_LINT1: case GH_LAPIC_LVT_ERROR:
        write_lvt(l, reg, value);
        break;
    case GH_LAPIC_TIMER_INIT:
        if (timer_mode(l) == TIMER_DEADLINE)
            break;
        l->regs[reg] = value;
        timer_start(l, value);
        break;
    case GH_LAPIC_TIMER_DIVIDE: {
        uint32_t left = timer_now(l);
        l->regs[reg] = value & 0xb;
        if (left)
            timer_start(l, left);
        break;
    }
    default:
        gh_lapic_error(l, ESR_ILLEGAL_REG);
    }
}

uint32_t gh_lapic_read(struct gh_lapic *l, uint32_t offset) { return read_reg(l, offset >> 4); }
void gh_lapic_write(struct gh_lapic *l, uint32_t offset, uint32_t value) { write_reg(l, offset >> 4, value); }

static bool readable_x2(uint32_t reg)
{
    return reg == GH_LAPIC_ID || reg == GH_LAPIC_VERSION || reg == GH_LAPIC_TPR || reg == GH_LAPIC_PPR ||
           reg == GH_LAPIC_LDR || reg == GH_LAPIC_SVR || (reg >= GH_LAPIC_ISR && reg <= GH_LAPIC_ESR) ||
           reg == GH_LAPIC_ICR || (reg >= GH_LAPIC_LVT_TIMER && reg <= GH_LAPIC_TIMER_NOW) ||
           reg == GH_LAPIC_TIMER_DIVIDE;
}

bool gh_lapic_msr_read(struct gh_lapic *l, uint32_t msr, uint64_t *ret)
{
    uint32_t reg = msr - 0x800;

    if (!x2(l) || reg > 0x3f || !readable_x2(reg))
        return false;
    *ret = read_reg(l, reg);
    if (reg == GH_LAPIC_ICR)
        *ret |= (uint64_t)l->regs[GH_LAPIC_ICR2] << 32;
    return true;
}

bool gh_lapic_msr_write(struct gh_lapic *l, uint32_t msr, uint64_t value)
{
    uint32_t reg = msr - 0x800;

    if (!x2(l))
        return false;
    switch (reg) {
    case GH_LAPIC_ICR:
        if (value & 0xfff32000u)
            return false;
        l->regs[GH_LAPIC_ICR] = (uint32_t)value;
        l->regs[GH_LAPIC_ICR2] = (uint32_t)(value >> 32);
        gh_lapic_command(l, (uint32_t)value, (uint32_t)(value >> 32));
        return true;
    case GH_LAPIC_SELF_IPI:
        if (value > 0xff)
            return false;
        gh_lapic_deliver(l, GH_DELIVER_FIXED, (uint8_t)value, false);
        return true;
    case GH_LAPIC_EOI: case GH_LAPIC_ESR:
        if (value)
            return false;
        break;
    case GH_LAPIC_TPR: case GH_LAPIC_SVR: case GH_LAPIC_LVT_TIMER: case GH_LAPIC_LVT_THERMAL:
    case GH_LAPIC_LVT_PERF: case GH_LAPIC_LVT_LINT0: case GH_LAPIC_LVT_LINT1: case GH_LAPIC_LVT_ERROR:
    case GH_LAPIC_TIMER_INIT: case GH_LAPIC_TIMER_DIVIDE:
        if (value >> 32)
            return false;
        break;
    default:
        return false;
    }
    write_reg(l, reg, (uint32_t)value);
    return true;
}

bool gh_lapic_set_base(struct gh_lapic *l, uint64_t value)
{
    uint64_t old = l->base_msr, modes = GH_LAPIC_BASE_ENABLE | GH_LAPIC_BASE_X2;

    if (value & ~(PHYS_MASK & ~0xfffull) & ~(modes | GH_LAPIC_BASE_BSP))
        return false;
    if ((value & modes) == GH_LAPIC_BASE_X2)
        return false;
    if ((old & GH_LAPIC_BASE_X2) && (value & modes) == GH_LAPIC_BASE_ENABLE)
        return false;                    /* x2APIC is left only by switching the APIC off */
    if (!(old & GH_LAPIC_BASE_ENABLE) && (value & GH_LAPIC_BASE_X2))
        return false;
    l->base_msr = (value & ~GH_LAPIC_BASE_BSP) | (l->bsp ? GH_LAPIC_BASE_BSP : 0);
    if ((old & GH_LAPIC_BASE_ENABLE) && !(value & GH_LAPIC_BASE_ENABLE))
        gh_lapic_reset(l, true);
    set_identity(l);
    return true;
}

/* ---- Saved form ------------------------------------------------------------------------------------- */
void gh_lapic_save(const struct gh_lapic *l, uint8_t page[1024])
{
    memset(page, 0, 1024);
    for (uint32_t r = 0; r < 64; r++) {
        uint32_t v = r == GH_LAPIC_ESR ? l->regs[r] | l->esr_pending : read_reg((struct gh_lapic *)(uintptr_t)l, r);
        memcpy(page + r * 16, &v, 4);
    }
}

bool gh_lapic_load(struct gh_lapic *l, const uint8_t page[1024])
{
    uint32_t reg[64];

    for (unsigned r = 0; r < 64; r++)
        memcpy(&reg[r], page + r * 16, 4);
    if ((reg[GH_LAPIC_LVT_TIMER] >> 17 & 3) == 3)
        return false;
    memcpy(l->regs, reg, sizeof reg);
    l->regs[GH_LAPIC_VERSION] = VERSION;
    memcpy(l->irr, &reg[GH_LAPIC_IRR], sizeof l->irr);
    memcpy(l->tmr, &reg[GH_LAPIC_TMR], sizeof l->tmr);
    if (x2(l))
        set_identity(l);
    l->timer_period_ns = l->timer_start_ns = 0;
    if (timer_mode(l) != TIMER_DEADLINE && reg[GH_LAPIC_TIMER_NOW]) {
        timer_start(l, reg[GH_LAPIC_TIMER_INIT]);
        uint64_t left = (uint64_t)reg[GH_LAPIC_TIMER_NOW] * divisor(l);
        if (left < l->timer_period_ns && l->timer_start_ns >= l->timer_period_ns - left)
            l->timer_start_ns -= l->timer_period_ns - left;
        else
            l->timer_period_ns = left;
    }
    return true;
}
