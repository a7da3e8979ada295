/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Intel 82371SB (PIIX3), function 0: ISA bridge. Routes PIRQA..PIRQD to ISA interrupt lines, in PIC and
 * in I/O APIC mode alike (GSI = ISA IRQ, level triggered), and has the reset control register 0xcf9.
 * Left out on purpose: bus timing, mouse and keyboard chip selects, SMI generation (registers are kept).
 */
#include "devices/chipset/pci_bus.h"
#include "devices/classes.h"

#define PIRQRC        0x60u                   /* four bytes */
#define PIRQRC_OFF    0x80u
#define RC_HARD       0x02u
#define RC_RESET      0x04u
/* IRQ 0, 1, 2, 8 and 13 are reserved in PIRQRC. */
#define ROUTABLE_IRQS 0xdef8u

struct piix3 {
    struct gh_pci pci;
    bool pirq_level[GH_PCI_PIRQS];            /* under the bus's lock, like driven */
    uint16_t onboard;                         /* lines that functions of the chip itself hold high */
    uint16_t driven;                          /* ISA lines held high now */
    uint8_t reset_control;
};

static const struct gh_field piix3_fields[] = {
    GH_PCI_FIELDS(struct piix3, pci, 1),
    GH_FIELD(GH_T_U8, struct piix3, reset_control, 1),
    { 0 },
};

/* Several PIRQs and the SCI may share a line: it is high while one of them is. */
static void drive_lines(struct gh_device *dev)
{
    struct piix3 *s = dev->state;
    uint16_t want = 0;
    for (unsigned i = 0; i < GH_PCI_PIRQS; i++) {
        uint8_t route = s->pci.config[PIRQRC + i];
        if (s->pirq_level[i] && !(route & PIRQRC_OFF))
            want |= (uint16_t)(1u << (route & 15));
    }
    want = (uint16_t)((want & ROUTABLE_IRQS) | s->onboard);
    uint16_t changed = want ^ s->driven;
    s->driven = want;
    for (unsigned irq = 0; changed >> irq; irq++)
        if (changed >> irq & 1)
            gh_irq_set(dev, irq, want >> irq & 1);
}

/* Any thread, with the bus's lock. */
static void piix3_route(void *opaque, unsigned pirq, bool level)
{
    struct gh_device *dev = opaque;
    struct piix3 *s = dev->state;

    s->pirq_level[pirq] = level;
    drive_lines(dev);
}

static void piix3_onboard(void *opaque, unsigned irq, bool level)
{
    struct gh_device *dev = opaque;
    struct piix3 *s = dev->state;
    uint16_t bit = (uint16_t)(1u << (irq & 15));

    s->onboard = (uint16_t)(level ? s->onboard | bit : s->onboard & ~bit);
    drive_lines(dev);
}

static void piix3_config_written(struct gh_device *dev, struct gh_pci *pci, unsigned offset, unsigned width)
{
    if (offset < PIRQRC + GH_PCI_PIRQS && offset + width > PIRQRC)
        gh_pci_bus_reroute(pci->bus);
}

static bool piix3_reset_control(void *opaque, struct gh_access *a)
{
    struct gh_device *dev = opaque;
    struct piix3 *s = dev->state;
    if (!a->write) {
        a->value = s->reset_control;
        return true;
    }
    uint8_t value = (uint8_t)a->value;
    bool fire = (value & RC_RESET) && !(s->reset_control & RC_RESET);
    s->reset_control = value & (RC_HARD | RC_RESET);
    if (fire)
        dev->ops->request(dev->board, dev, GH_REQUEST_RESET, 0, NULL);
    return true;
}

static int piix3_attach(struct gh_device *dev, struct gh_error *err)
{
    struct piix3 *s = dev->state;
    static const struct gh_pci_id id = { .vendor = 0x8086, .device = 0x7000, .class_code = 0x060100,
                                         .sub_vendor = 0x1af4, .sub_device = 0x1100, .header_type = 0x80 };
    int r = gh_pci_attach(dev, &s->pci, "01.0", &id, err);
    if (r < 0)
        return r;
    struct gh_pci *pci = &s->pci;
    pci->config_written = piix3_config_written;
    gh_pci_register(pci, 0x4c, 0x0003004d, 0xffffffff);       /* I/O recovery, X-bus chip select */
    gh_pci_register(pci, PIRQRC, 0x80808080, 0x8f8f8f8f);
    gh_pci_register(pci, 0x68, 0x00000200, 0x0000ff00);       /* top of memory */
    gh_pci_register(pci, 0x70, 0x00000080, 0x0000ffff);       /* motherboard IRQ routing */
    gh_pci_register(pci, 0x74, 0x0c0c0000, 0x8f8f0000);       /* motherboard DMA */
    gh_pci_register(pci, 0x78, 0x00000002, 0x0000ffff);       /* programmable chip select */
    gh_pci_register(pci, 0xa0, 0x00000008, 0x00ffffff);       /* SMI control, enables */
    gh_pci_register(pci, 0xa8, 0x0000000f, 0x0000ffff);       /* fast-off timer */
    pci->bus->reset_control = piix3_reset_control;
    pci->bus->reset_opaque = dev;
    pci->bus->onboard = piix3_onboard;
    gh_pci_bus_set_route(pci->bus, piix3_route, dev);
    return 0;
}

static void piix3_reset(struct gh_device *dev, enum gh_reset why)
{
    struct piix3 *s = dev->state;
    s->reset_control = 0;
    gh_pci_reset(&s->pci);
    gh_pci_bus_reroute(s->pci.bus);
}

static int piix3_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct piix3 *s = dev->state;
    int r = gh_pci_loaded(&s->pci, err);
    if (r < 0)
        return r;
    s->reset_control &= RC_HARD | RC_RESET;
    gh_pci_bus_reroute(s->pci.bus);
    return 0;
}

static void piix3_detach(struct gh_device *dev)
{
    struct piix3 *s = dev->state;
    struct gh_pci_bus *bus = s->pci.bus;
    if (!bus)
        return;
    gh_pci_bus_set_route(bus, NULL, NULL);
    bus->onboard = NULL;
    bus->reset_control = NULL;
    gh_pci_detach(&s->pci);
}

const struct gh_device_class gh_class_piix3 = {
    .name = "piix3", .summary = "Intel PIIX3 ISA bridge", .state_size = sizeof(struct piix3), .version = 1,
    .saved = piix3_fields, .attach = piix3_attach, .reset = piix3_reset, .loaded = piix3_loaded,
    .detach = piix3_detach,
};
