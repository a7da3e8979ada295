/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Intel 82371AB (PIIX4), function 3: power management. ACPI fixed registers as chapter 4 of the ACPI
 * specification defines them, a 24-bit PM timer, GPE0, and the APM ports 0xb2/0xb3.
 * Left out on purpose: SMI (firmware finds its enable already set and installs no handler), SMBus,
 * device monitors, sleeping states other than S5 and S3. S3 works for programs that know its number, but no
 * table offers it: an operating system would fall asleep under a user who has no way to see that.
 */
#include "devices/chipset/piix4pm.h"

#include "devices/chipset/pci_bus.h"
#include "devices/classes.h"
#include "devices/chipset/pci_regs.h"

#define PMBASE         0x40u
#define PMBASE_MASK    0xffc0u
#define DEVACTB        0x58u
#define DEVACTB_APMC   0x02000000u            /* SMI on APM command */
#define PMREGMISC      0x80u
#define PMREGMISC_IOSE 0x01u

#define PM1_TMR        0x0001u
#define PM1_GBL        0x0020u
#define PM1_PWRBTN     0x0100u
#define PM1_SLPBTN     0x0200u
#define PM1_RTC        0x0400u
#define PM1_WAK        0x8000u
#define PM1_EVENTS     (PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC)
#define CNT_SCI_EN     0x0001u
#define CNT_BM_RLD     0x0002u
#define CNT_SLP_TYP    0x1c00u
#define CNT_SLP_EN     0x2000u

#define TIMER_HALF     0x800000u              /* TMR_STS is set each time bit 23 changes */
#define TIMER_MASK     0xffffffu

enum { RANGE_PM, RANGE_TIMER, RANGE_APM };
enum { REG_STS = 0, REG_EN = 2, REG_CNT = 4, REG_TMR = 8, REG_GPE_STS = 0x0c, REG_GPE_EN = 0x0e, REG_END = 0x40 };

struct piix4pm {
    struct gh_pci pci;
    uint16_t sts, en, cnt, gpe_sts, gpe_en;
    uint8_t apmc, apms;
    uint64_t next_overflow;                   /* tick at which TMR_STS is due */
    struct gh_timer overflow;
};

static const struct gh_field piix4pm_fields[] = {
    GH_PCI_FIELDS(struct piix4pm, pci, 1),
    GH_FIELD(GH_T_U16, struct piix4pm, sts, 1),
    GH_FIELD(GH_T_U16, struct piix4pm, en, 1),
    GH_FIELD(GH_T_U16, struct piix4pm, cnt, 1),
    GH_FIELD(GH_T_U16, struct piix4pm, gpe_sts, 1),
    GH_FIELD(GH_T_U16, struct piix4pm, gpe_en, 1),
    GH_FIELD(GH_T_U8, struct piix4pm, apmc, 1),
    GH_FIELD(GH_T_U8, struct piix4pm, apms, 1),
    GH_FIELD(GH_T_U64, struct piix4pm, next_overflow, 1),
    { 0 },
};

/* ---- Timer and interrupt ----------------------------------------------------------------------- */

static uint64_t ticks(struct gh_device *dev)
{
    return (uint64_t)((unsigned __int128)gh_now_ns(dev) * GH_PM_TIMER_HZ / 1000000000u);
}

static uint64_t tick_ns(uint64_t tick)
{
    return (uint64_t)(((unsigned __int128)tick * 1000000000u + GH_PM_TIMER_HZ - 1) / GH_PM_TIMER_HZ);
}

static void schedule_overflow(struct gh_device *dev)
{
    struct piix4pm *s = dev->state;
    s->next_overflow = (ticks(dev) / TIMER_HALF + 1) * TIMER_HALF;
}

static void update_status(struct gh_device *dev)
{
    struct piix4pm *s = dev->state;
    if (ticks(dev) >= s->next_overflow)
        s->sts |= PM1_TMR;
}

static void update_sci(struct gh_device *dev)
{
    struct piix4pm *s = dev->state;
    update_status(dev);
    bool level = (s->cnt & CNT_SCI_EN) && ((s->sts & s->en & PM1_EVENTS) || (s->gpe_sts & s->gpe_en));
    if (!gh_pci_bus_onboard_irq(s->pci.bus, GH_PM_SCI_IRQ, level))
        gh_irq_set(dev, GH_PM_SCI_IRQ, level);
    if ((s->en & PM1_TMR) && !(s->sts & PM1_TMR))
        gh_timer_arm(&s->overflow, tick_ns(s->next_overflow));
    else
        gh_timer_disarm(&s->overflow);
}

static void piix4pm_overflow(struct gh_device *dev, struct gh_timer *timer)
{
    update_sci(dev);
}

/* While the machine sleeps cnt keeps SLP_EN; the guest never reads it. */
static void raise_event(struct gh_device *dev, uint16_t bit)
{
    struct piix4pm *s = dev->state;
    s->sts |= bit;
    if ((s->cnt & CNT_SLP_EN) && (bit == PM1_PWRBTN || (s->en & bit)))
        dev->ops->request(dev->board, dev, GH_REQUEST_WAKE, 0, NULL);
    update_sci(dev);
}

void gh_piix4pm_power_button(struct gh_device *dev) { raise_event(dev, PM1_PWRBTN); }
void gh_piix4pm_sleep_button(struct gh_device *dev) { raise_event(dev, PM1_SLPBTN); }

void gh_piix4pm_rtc_alarm(struct gh_device *dev) { raise_event(dev, PM1_RTC); }

void gh_piix4pm_event(struct gh_device *dev, unsigned gpe)
{
    struct piix4pm *s = dev->state;
    s->gpe_sts |= (uint16_t)(1u << (gpe & 15));
    update_sci(dev);
}

/* ---- Registers ------------------------------------------------------------------------------------ */

static void write_control(struct gh_device *dev, uint16_t value)
{
    struct piix4pm *s = dev->state;
    s->cnt = value & (CNT_SCI_EN | CNT_BM_RLD | CNT_SLP_TYP);
    if (!(value & CNT_SLP_EN))
        return;
    unsigned type = (value & CNT_SLP_TYP) >> 10;
    if (type == GH_PM_SLEEP_S5)
        dev->ops->request(dev->board, dev, GH_REQUEST_POWEROFF, 0, NULL);
    else if (type == GH_PM_SLEEP_S3) {
        s->cnt |= CNT_SLP_EN;
        dev->ops->request(dev->board, dev, GH_REQUEST_SUSPEND, 0, NULL);
    } else
        gh_guest_error(dev, "sleep type %u is not offered and was ignored", type);
}

static uint16_t read_word(struct gh_device *dev, unsigned reg)
{
    struct piix4pm *s = dev->state;
    switch (reg) {
    case REG_STS: update_status(dev); return s->sts;
    case REG_EN: return s->en;
    case REG_CNT: return s->cnt & (uint16_t)~CNT_SLP_EN;
    case REG_GPE_STS: return s->gpe_sts;
    case REG_GPE_EN: return s->gpe_en;
    default: return 0;
    }
}

/* mask: the bytes of the word that are really written. */
static void write_word(struct gh_device *dev, unsigned reg, uint16_t value, uint16_t mask)
{
    struct piix4pm *s = dev->state;
    uint16_t merged = (uint16_t)((read_word(dev, reg) & ~mask) | (value & mask)), ones = value & mask;
    switch (reg) {
    case REG_STS:
        s->sts &= (uint16_t)~ones;
        if (ones & PM1_TMR)
            schedule_overflow(dev);
        break;
    case REG_EN: s->en = merged & PM1_EVENTS; break;
    case REG_CNT: write_control(dev, merged); break;
    case REG_GPE_STS: s->gpe_sts &= (uint16_t)~ones; break;
    case REG_GPE_EN: s->gpe_en = merged; break;
    default: break;                           /* PIIX4's other registers control what is left out */
    }
    update_sci(dev);
}

static bool piix4pm_pm(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < a->width;) {
        unsigned offset = (unsigned)a->offset + i, reg = offset & ~1u, shift = (offset & 1) * 8;
        unsigned bytes = shift || a->width - i == 1 ? 1 : 2;
        uint16_t mask = (uint16_t)(gh_width_mask(bytes) << shift);
        if (a->write)
            write_word(dev, reg, (uint16_t)(a->value >> (i * 8) << shift), mask);
        else
            value |= (uint64_t)(uint16_t)(read_word(dev, reg) & mask) >> shift << (i * 8);
        i += bytes;
    }
    if (!a->write)
        a->value = value;
    return true;
}

/* Runs without the machine lock: it reads nothing but the clock. */
static bool piix4pm_timer(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    if (!a->write)
        a->value = (ticks(dev) & TIMER_MASK) >> (a->offset * 8);
    return true;
}

static bool piix4pm_apm(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct piix4pm *s = dev->state;
    uint8_t *reg = a->offset ? &s->apms : &s->apmc;
    if (!a->write) {
        a->value = *reg;
        return true;
    }
    *reg = (uint8_t)a->value;
    /* What firmware's SMI handler would do for the OS that takes ACPI over or gives it back. */
    if (a->offset == 0 && *reg == GH_PM_ENABLE_ACPI)
        s->cnt |= CNT_SCI_EN;
    else if (a->offset == 0 && *reg == GH_PM_DISABLE_ACPI)
        s->cnt &= (uint16_t)~CNT_SCI_EN;
    update_sci(dev);
    return true;
}

/* ---- Life -------------------------------------------------------------------------------------------- */

uint16_t gh_piix4pm_base(struct gh_device *dev)
{
    struct piix4pm *s = dev->state;
    return s->pci.config[PMREGMISC] & PMREGMISC_IOSE ? gh_le16_get(s->pci.config + PMBASE) & PMBASE_MASK : 0;
}

static void place_registers(struct gh_device *dev)
{
    uint16_t base = gh_piix4pm_base(dev);
    gh_range_set(dev, RANGE_PM, base, base);
    gh_range_set(dev, RANGE_TIMER, base, base + (uint64_t)REG_TMR);
}

static void piix4pm_config_written(struct gh_device *dev, struct gh_pci *pci, unsigned offset, unsigned width)
{
    if ((offset < PMBASE + 4 && offset + width > PMBASE) || (offset <= PMREGMISC && offset + width > PMREGMISC))
        place_registers(dev);
}

static int piix4pm_attach(struct gh_device *dev, struct gh_error *err)
{
    struct piix4pm *s = dev->state;
    static const struct gh_pci_id id = { .vendor = 0x8086, .device = 0x7113, .revision = 3, .class_code = 0x068000,
                                         .sub_vendor = 0x1af4, .sub_device = 0x1100 };
    static const struct gh_range_desc ranges[] = {
        [RANGE_PM] = { .name = "pm", .space = GH_SPACE_PIO, .base = GH_PM_DEFAULT_BASE, .size = REG_END,
                       .disabled = true, .widths = GH_W8 | GH_W16 | GH_W32, .fn = piix4pm_pm },
        [RANGE_TIMER] = { .name = "pm-timer", .space = GH_SPACE_PIO, .base = GH_PM_DEFAULT_BASE + REG_TMR, .size = 4,
                          .priority = 1, .disabled = true, .lockless = true, .widths = GH_W8 | GH_W16 | GH_W32,
                          .fn = piix4pm_timer },
        [RANGE_APM] = { .name = "apm", .space = GH_SPACE_PIO, .base = 0xb2, .size = 2, .widths = GH_W8,
                        .fn = piix4pm_apm },
    };
    gh_timer_init(&s->overflow, dev, piix4pm_overflow);
    int r = gh_pci_attach(dev, &s->pci, "01.3", &id, err);
    if (r < 0)
        return r;
    s->pci.config_written = piix4pm_config_written;
    gh_pci_pin(&s->pci, 1);
    gh_le16_put(s->pci.config + PCI_STATUS, 0x0280);          /* fast back-to-back, medium timing */
    gh_pci_register(&s->pci, PMBASE, 1, PMBASE_MASK);
    gh_pci_register(&s->pci, DEVACTB, DEVACTB_APMC, 0xffffffff & ~DEVACTB_APMC);
    gh_pci_register(&s->pci, PMREGMISC, 0, PMREGMISC_IOSE);
    for (unsigned i = 0; i < GH_ARRAY_LEN(ranges); i++)
        if ((r = gh_range_add(dev, i, &ranges[i], err)) < 0)
            return r;
    dev->ops->provide(dev->board, "pm", dev);
    return 0;
}

static void piix4pm_reset(struct gh_device *dev, enum gh_reset why)
{
    struct piix4pm *s = dev->state;
    gh_pci_reset(&s->pci);
    s->sts = why == GH_RESET_WAKE ? s->sts | PM1_WAK : 0;
    s->en = s->cnt = s->gpe_sts = s->gpe_en = 0;
    s->apmc = s->apms = 0;
    schedule_overflow(dev);
    update_sci(dev);
    place_registers(dev);
}

static int piix4pm_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct piix4pm *s = dev->state;
    int r = gh_pci_loaded(&s->pci, err);
    if (r < 0)
        return r;
    s->sts &= PM1_EVENTS | PM1_WAK;
    s->en &= PM1_EVENTS;
    s->cnt &= CNT_SCI_EN | CNT_BM_RLD | CNT_SLP_TYP | CNT_SLP_EN;
    if (s->cnt & CNT_SLP_EN)
        dev->ops->request(dev->board, dev, GH_REQUEST_SUSPEND, 0, NULL);
    if (s->next_overflow > ticks(dev) + TIMER_HALF)
        schedule_overflow(dev);
    update_sci(dev);
    place_registers(dev);
    return 0;
}

static void piix4pm_detach(struct gh_device *dev)
{
    struct piix4pm *s = dev->state;
    gh_timer_disarm(&s->overflow);
    gh_pci_detach(&s->pci);
}

const struct gh_device_class gh_class_piix4pm = {
    .name = "piix4-pm", .summary = "Intel PIIX4 power management", .state_size = sizeof(struct piix4pm), .version = 1,
    .saved = piix4pm_fields, .attach = piix4pm_attach, .reset = piix4pm_reset, .loaded = piix4pm_loaded,
    .detach = piix4pm_detach,
};
