/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/chipset/pci_bus.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/chipset/pci_regs.h"

#define CONFADD_ENABLE 0x80000000u
#define FIRST_FREE_SLOT 2u                    /* 0 and 1 are the chipset's */

void gh_pci_bus_init(struct gh_pci_bus *bus)
{
    *bus = (struct gh_pci_bus){ 0 };
    pthread_mutex_init(&bus->lock, NULL);
}

void gh_pci_bus_fini(struct gh_pci_bus *bus)
{
    pthread_mutex_destroy(&bus->lock);
}

unsigned gh_pci_pirq(uint8_t devfn, uint8_t pin)
{
    return ((devfn >> 3) + 3u + (pin - 1u)) % GH_PCI_PIRQS;
}

/* ---- Interrupt lines ------------------------------------------------------------------------- */

static void tell_level(struct gh_pci_bus *bus, unsigned pirq)
{
    if (bus->route)
        bus->route(bus->route_opaque, pirq, bus->pirq_count[pirq] > 0);
}

void gh_pci_bus_reroute(struct gh_pci_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    for (unsigned pirq = 0; pirq < GH_PCI_PIRQS; pirq++)
        tell_level(bus, pirq);
    pthread_mutex_unlock(&bus->lock);
}

void gh_pci_bus_set_route(struct gh_pci_bus *bus, void (*route)(void *opaque, unsigned pirq, bool level), void *opaque)
{
    pthread_mutex_lock(&bus->lock);
    bus->route = route;
    bus->route_opaque = opaque;
    pthread_mutex_unlock(&bus->lock);
    gh_pci_bus_reroute(bus);
}

bool gh_pci_bus_onboard_irq(struct gh_pci_bus *bus, unsigned irq, bool level)
{
    pthread_mutex_lock(&bus->lock);
    bool there = bus->onboard && bus->route_opaque;
    if (there)
        bus->onboard(bus->route_opaque, irq, level);
    pthread_mutex_unlock(&bus->lock);
    return there;
}

static void update_intx_locked(struct gh_pci *pci)
{
    struct gh_pci_bus *bus = pci->bus;
    bool disabled = gh_le16_get(pci->config + PCI_COMMAND) & PCI_COMMAND_INTX_OFF;
    bool out = pci->intx_level && !disabled && pci->intx_pin;
    if (out == pci->intx_out)
        return;
    pci->intx_out = out;
    unsigned pirq = gh_pci_pirq(pci->devfn, pci->intx_pin);
    unsigned before = bus->pirq_count[pirq];
    bus->pirq_count[pirq] = out ? before + 1 : before - 1;
    if (!before != !bus->pirq_count[pirq])
        tell_level(bus, pirq);
}

void gh_pci_bus_update_intx(struct gh_pci *pci)
{
    pthread_mutex_lock(&pci->bus->lock);
    update_intx_locked(pci);
    pthread_mutex_unlock(&pci->bus->lock);
}

void gh_pci_intx(struct gh_pci *pci, bool level)
{
    pthread_mutex_lock(&pci->bus->lock);
    pci->intx_level = level;
    update_intx_locked(pci);
    pthread_mutex_unlock(&pci->bus->lock);
}

/* ---- Slots ------------------------------------------------------------------------------------- */

/* "1f.2", "03" (function 0). */
static bool parse_addr(const char *text, uint8_t *ret_devfn)
{
    char *end;
    unsigned long slot = strtoul(text, &end, 16), function = 0;
    if (end == text || slot > 31)
        return false;
    if (*end == '.') {
        const char *start = end + 1;
        function = strtoul(start, &end, 16);
        if (end == start || function > 7)
            return false;
    }
    *ret_devfn = (uint8_t)(slot << 3 | function);
    return *end == '\0';
}

static bool next_free(const struct gh_pci_bus *bus, uint8_t *ret_devfn)
{
    for (unsigned slot = FIRST_FREE_SLOT; slot < 32; slot++) {
        bool used = false;
        for (unsigned function = 0; function < 8; function++)
            used |= bus->slot[slot << 3 | function] != NULL;
        if (!used) {
            *ret_devfn = (uint8_t)(slot << 3);
            return true;
        }
    }
    return false;
}

/* Software looks for functions 1..7 only where function 0 says that there are some. */
void gh_pci_bus_mark(struct gh_pci_bus *bus, uint8_t devfn)
{
    struct gh_pci *first = bus->slot[devfn & 0xf8];
    if (!first)
        return;
    bool multi = false;
    for (unsigned function = 1; function < 8; function++)
        multi |= bus->slot[(devfn & 0xf8) | function] != NULL;
    if (multi)
        first->config[PCI_HEADER_TYPE] |= PCI_HEADER_MULTI;
    else
        first->config[PCI_HEADER_TYPE] &= (uint8_t)~PCI_HEADER_MULTI;
}

int gh_pci_bus_claim(struct gh_pci_bus *bus, struct gh_pci *pci, const char *addr, struct gh_error *err)
{
    uint8_t devfn;
    if (addr && *addr) {
        if (!parse_addr(addr, &devfn))
            return gh_error_option(err, -EINVAL, "PciAddressInvalid", "addr",
                                   "The PCI address \"%s\" of %s is not of the form SLOT.FUNCTION (00.0 to 1f.7); "
                                   "correct it or leave it empty.", addr, pci->dev->id);
        if (bus->slot[devfn])
            return gh_error_option(err, -EBUSY, "PciAddressInUse", "addr",
                                   "The PCI address \"%s\" of %s is taken by %s; choose another or leave it empty.",
                                   addr, pci->dev->id, bus->slot[devfn]->dev->id);
    } else if (!next_free(bus, &devfn)) {
        return gh_error_option(err, -ENOSPC, "PciBusFull", "addr",
                               "There is no free PCI slot for %s; remove a device.", pci->dev->id);
    }
    pci->bus = bus;
    pci->devfn = devfn;
    bus->slot[devfn] = pci;
    gh_pci_bus_mark(bus, devfn);
    return 0;
}

void gh_pci_bus_release(struct gh_pci_bus *bus, struct gh_pci *pci)
{
    if (bus->slot[pci->devfn] != pci)
        return;
    bus->slot[pci->devfn] = NULL;
    gh_pci_bus_mark(bus, pci->devfn);
}

/* ---- Config cycles -------------------------------------------------------------------------------- */

uint32_t gh_pci_bus_config_read(struct gh_pci_bus *bus, uint8_t devfn, unsigned offset, unsigned width)
{
    struct gh_pci *pci = bus->slot[devfn];
    if (!pci || !gh_range_in(offset, width, 256))
        return (uint32_t)gh_width_mask(width);
    return gh_pci_config_read(pci, offset, width);
}

void gh_pci_bus_config_write(struct gh_pci_bus *bus, uint8_t devfn, unsigned offset, unsigned width, uint32_t value)
{
    struct gh_pci *pci = bus->slot[devfn];
    if (pci && gh_range_in(offset, width, 256))
        gh_pci_config_write(pci, offset, width, value);
}

static bool data_port(struct gh_pci_bus *bus, struct gh_access *a)
{
    unsigned byte = (unsigned)a->offset & 3;
    if (byte + a->width > 4)
        return false;
    bool here = (bus->address & CONFADD_ENABLE) && !(bus->address >> 16 & 0xff);
    uint8_t devfn = (uint8_t)(bus->address >> 8);
    unsigned offset = (bus->address & 0xfc) + byte;
    if (!here) {
        if (!a->write)
            a->value = gh_width_mask(a->width);
        return true;
    }
    if (a->write)
        gh_pci_bus_config_write(bus, devfn, offset, a->width, (uint32_t)a->value);
    else
        a->value = gh_pci_bus_config_read(bus, devfn, offset, a->width);
    return true;
}

bool gh_pci_bus_port(struct gh_pci_bus *bus, struct gh_access *a)
{
    if (a->offset >= 4)
        return data_port(bus, a);
    /* Only a whole dword reaches CONFADD; a byte at 0xcf9 is the reset control register. */
    if (a->offset == 0 && a->width == 4) {
        if (a->write)
            bus->address = (uint32_t)a->value & 0x80fffffcu;
        else
            a->value = bus->address;
        return true;
    }
    if (a->offset == 1 && a->width == 1 && bus->reset_control)
        return bus->reset_control(bus->reset_opaque, a);
    return false;
}
