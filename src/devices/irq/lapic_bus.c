/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Interrupt messages between local APICs: who is addressed, and what an arriving message does. Any thread. */
#include <stddef.h>

#include "devices/irq/lapic.h"

#define ESR_SEND_ILLEGAL    (1u << 5)
#define ESR_RECEIVE_ILLEGAL (1u << 6)
#define SVR_ENABLE          (1u << 8)

struct message {
    uint32_t destination;
    enum gh_lapic_mode mode;
    uint8_t vector;
    bool logical, level;
    bool wide;                /* destination has 32 bits (x2APIC sender) */
};

static uint32_t reg(const struct gh_lapic *l, unsigned r) { return __atomic_load_n(&l->regs[r], __ATOMIC_RELAXED); }

void gh_lapic_deliver(struct gh_lapic *l, enum gh_lapic_mode mode, uint8_t vector, bool level)
{
    uint32_t bit = 1u << (vector & 31);

    switch (mode) {
    case GH_DELIVER_NMI: l->env.nmi(l->env.opaque); return;
    case GH_DELIVER_INIT: l->env.init(l->env.opaque); return;
    case GH_DELIVER_STARTUP: l->env.startup(l->env.opaque, vector); return;
    case GH_DELIVER_SMI: return;
    case GH_DELIVER_EXTINT: l->env.attention(l->env.opaque); return;
    case GH_DELIVER_FIXED: case GH_DELIVER_LOWEST: break;
    default: return;
    }
    if (vector < 16) {
        __atomic_fetch_or(&l->esr_pending, ESR_RECEIVE_ILLEGAL, __ATOMIC_SEQ_CST);
        return;
    }
    if (!(reg(l, GH_LAPIC_SVR) & SVR_ENABLE) || !(l->base_msr & GH_LAPIC_BASE_ENABLE))
        return;
    if (level)
        __atomic_fetch_or(&l->tmr[vector >> 5], bit, __ATOMIC_SEQ_CST);
    else
        __atomic_fetch_and(&l->tmr[vector >> 5], ~bit, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&l->irr[vector >> 5], bit, __ATOMIC_SEQ_CST);
    l->env.attention(l->env.opaque);
}

static bool addressed(const struct gh_lapic *l, const struct message *m)
{
    bool x2 = l->base_msr & GH_LAPIC_BASE_X2;

    if (!(l->base_msr & GH_LAPIC_BASE_ENABLE) && m->mode != GH_DELIVER_INIT && m->mode != GH_DELIVER_STARTUP)
        return false;
    if (m->wide ? m->destination == 0xffffffffu : m->destination == 0xff)
        return true;
    if (!m->logical)
        return x2 || m->wide ? l->id == m->destination : reg(l, GH_LAPIC_ID) >> 24 == m->destination;
    uint32_t ldr = reg(l, GH_LAPIC_LDR);
    if (x2)
        return ldr >> 16 == m->destination >> 16 && (ldr & m->destination & 0xffff);
    uint32_t have = ldr >> 24, want = m->destination & 0xff;
    if (reg(l, GH_LAPIC_DFR) >> 28 == 0xf)
        return have & want;
    return ((want >> 4) == (have >> 4) || want >> 4 == 0xf) && (have & want & 0xf);
}

static unsigned send(struct gh_lapic_bus *bus, const struct message *m, const struct gh_lapic *except)
{
    struct gh_lapic *best = NULL;
    unsigned accepted = 0;

    for (unsigned i = 0; i < bus->count; i++) {
        struct gh_lapic *l = bus->apic[i];
        if (!l || l == except || !addressed(l, m))
            continue;
        if (m->mode == GH_DELIVER_LOWEST) {
            if (!(reg(l, GH_LAPIC_SVR) & SVR_ENABLE))
                continue;
            if (!best || (reg(l, GH_LAPIC_TPR) & 0xf0) < (reg(best, GH_LAPIC_TPR) & 0xf0))
                best = l;
            continue;
        }
        gh_lapic_deliver(l, m->mode, m->vector, m->level);
        accepted++;
    }
    if (best) {
        gh_lapic_deliver(best, GH_DELIVER_FIXED, m->vector, m->level);
        accepted++;
    }
    return accepted;
}

void gh_lapic_command(struct gh_lapic *l, uint32_t low, uint32_t destination)
{
    struct message m = { .destination = destination, .mode = (enum gh_lapic_mode)(low >> 8 & 7),
                         .vector = (uint8_t)low, .logical = low & 1u << 11,
                         .wide = l->base_msr & GH_LAPIC_BASE_X2 };
    unsigned shorthand = low >> 18 & 3;

    if (m.mode == GH_DELIVER_INIT && !(low & 1u << 14))
        return;                          /* de-assert: only old APICs had an arbitration id to reset */
    if ((m.mode == GH_DELIVER_FIXED || m.mode == GH_DELIVER_LOWEST) && m.vector < 16) {
        gh_lapic_error(l, ESR_SEND_ILLEGAL);
        return;
    }
    if (shorthand == 1) {
        if (m.mode == GH_DELIVER_FIXED)
            gh_lapic_deliver(l, m.mode, m.vector, false);
        return;
    }
    if (shorthand) {
        m.destination = m.wide ? 0xffffffffu : 0xff;
        m.logical = false;
    }
    send(l->bus, &m, shorthand == 3 ? l : NULL);
}

unsigned gh_lapic_bus_msi(struct gh_lapic_bus *bus, uint64_t address, uint32_t data)
{
    struct message m = { .destination = (uint32_t)(address >> 12) & 0xff, .logical = address & 4,
                         .mode = (enum gh_lapic_mode)(data >> 8 & 7), .vector = (uint8_t)data,
                         .level = data & 1u << 15 };

    if (m.mode == GH_DELIVER_STARTUP)
        return 0;                        /* not a mode of a message from a device */
    return send(bus, &m, NULL);
}
