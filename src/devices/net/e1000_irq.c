/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Interrupts of the e1000: causes collect in ICR; the line rises when an enabled one is there and the
 * interval of ITR (units of 256 ns) since the last rise is over. RDTR/RADV and TIDV/TADV (units of
 * 1.024 us) delay the causes themselves: the first value restarts with each packet, the second does not.
 */
#include "devices/net/e1000.h"

enum { ITR_UNIT_NS = 256, DELAY_UNIT_NS = 1024 };

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return !a ? b : !b || a < b ? a : b;
}

/* The timer may fire early: moving it with each packet would cost more than a look in vain. */
static void arm(struct e1000 *s, uint64_t now)
{
    bool held = !s->line && *e1000_reg(s, ICR) & *e1000_reg(s, IMS) && s->quiet_until > now;
    uint64_t next = earlier(held ? s->quiet_until : 0, earlier(s->rx_due, s->tx_due));
    if (next && (!s->moderation.deadline_ns || next < s->moderation.deadline_ns))
        gh_timer_arm(&s->moderation, next);
}

void e1000_irq_update(struct e1000 *s)
{
    uint64_t now = gh_now_ns(s->dev);
    bool pending = *e1000_reg(s, ICR) & *e1000_reg(s, IMS);
    if (pending != s->line && (!pending || now >= s->quiet_until)) {
        s->line = pending;
        if (pending)
            s->quiet_until = now + (uint64_t)(*e1000_reg(s, ITR) & 0xffff) * ITR_UNIT_NS;
        gh_pci_intx(&s->pci, pending);
    }
    arm(s, now);
}

void e1000_cause(struct e1000 *s, uint32_t causes)
{
    *e1000_reg(s, ICR) |= causes & INT_ALL;
    e1000_irq_update(s);
}

static void delayed(struct e1000 *s, uint32_t delay, uint32_t absolute, uint64_t *due, uint64_t *latest)
{
    uint64_t now = gh_now_ns(s->dev);
    if (absolute && !*latest)
        *latest = now + (uint64_t)absolute * DELAY_UNIT_NS;
    *due = earlier(now + (uint64_t)delay * DELAY_UNIT_NS, *latest);
    arm(s, now);
}

void e1000_cause_rx(struct e1000 *s)
{
    uint32_t delay = *e1000_reg(s, RDTR) & 0xffff;
    if (!delay)
        e1000_cause(s, INT_RXT0);
    else
        delayed(s, delay, *e1000_reg(s, RADV) & 0xffff, &s->rx_due, &s->rx_latest);
}

void e1000_cause_tx(struct e1000 *s, bool delay)
{
    uint32_t value = *e1000_reg(s, TIDV) & 0xffff;
    if (!delay || !value)
        e1000_cause(s, INT_TXDW);
    else
        delayed(s, value, *e1000_reg(s, TADV) & 0xffff, &s->tx_due, &s->tx_latest);
}

static uint32_t expire(uint64_t now, uint32_t cause, uint64_t *due, uint64_t *latest)
{
    if (!*due || now < *due)
        return 0;
    *due = *latest = 0;
    return cause;
}

static void moderation(struct gh_device *dev, struct gh_timer *timer)
{
    struct e1000 *s = dev->state;
    uint64_t now = gh_now_ns(dev);
    uint32_t causes = expire(now, INT_RXT0, &s->rx_due, &s->rx_latest) | expire(now, INT_TXDW, &s->tx_due, &s->tx_latest);
    e1000_cause(s, causes);
}

void e1000_irq_flush(struct e1000 *s, bool rx)
{
    if (expire(UINT64_MAX, 1, rx ? &s->rx_due : &s->tx_due, rx ? &s->rx_latest : &s->tx_latest))
        e1000_cause(s, rx ? INT_RXT0 : INT_TXDW);
}

/* Reading clears. What waits in a delay timer comes along: the driver is looking anyway. */
uint32_t e1000_icr_read(struct e1000 *s)
{
    uint32_t *icr = e1000_reg(s, ICR), value = *icr;
    if (value) {
        value |= expire(UINT64_MAX, INT_RXT0, &s->rx_due, &s->rx_latest);
        value |= expire(UINT64_MAX, INT_TXDW, &s->tx_due, &s->tx_latest);
    }
    *icr = 0;
    e1000_irq_update(s);
    return value;
}

void e1000_irq_init(struct e1000 *s)
{
    gh_timer_init(&s->moderation, s->dev, moderation);
}

void e1000_irq_reset(struct e1000 *s)
{
    gh_timer_disarm(&s->moderation);
    s->quiet_until = s->rx_due = s->rx_latest = s->tx_due = s->tx_latest = 0;
    s->line = false;
    gh_pci_intx(&s->pci, false);
}
