/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One PCI function: identity, config space masks, BARs, capabilities. Not modelled: bridges,
 * PCI Express extended config space, parity and system errors.
 */
#include "devices/chipset/pci.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/chipset/pci_bus.h"
#include "devices/chipset/pci_regs.h"

#define FIRST_CAPABILITY 0x40u
#define IO_SPACE_END     0x10000ull
#define MEM32_END        0x100000000ull
#define MEM64_END        (1ull << 52)         /* the widest physical address x86 has */

const struct gh_field gh_pci_fields[] = {
    GH_FIELD_ARRAY(GH_T_U8, struct gh_pci, config, 256, 1),
    GH_FIELD(GH_T_BOOL, struct gh_pci, intx_level, 1),
    { 0 },
};

/* ---- Setting up ---------------------------------------------------------------------------------- */

void gh_pci_register(struct gh_pci *pci, unsigned offset, uint32_t value, uint32_t writable)
{
    gh_le32_put(pci->config + offset, value);
    gh_le32_put(pci->writable + offset, writable);
}

void gh_pci_pin(struct gh_pci *pci, uint8_t pin)
{
    pci->intx_pin = pin;
    pci->config[PCI_INTERRUPT_PIN] = pin;
}

int gh_pci_attach(struct gh_device *dev, struct gh_pci *pci, const char *addr, const struct gh_pci_id *id,
                  struct gh_error *err)
{
    struct gh_pci_bus *bus = gh_lookup(dev, "pci.0");
    if (!bus)
        return gh_error_set(err, -ENODEV, "PciBusMissing",
                            "The device %s needs a PCI bus and this board has none; use the board pc.", dev->id);
    pci->dev = dev;
    pci->capability_end = FIRST_CAPABILITY;
    uint8_t *c = pci->config;
    gh_le16_put(c + PCI_VENDOR_ID, id->vendor);
    gh_le16_put(c + PCI_DEVICE_ID, id->device);
    c[PCI_REVISION_ID] = id->revision;
    c[PCI_CLASS_PROG] = (uint8_t)id->class_code;
    gh_le16_put(c + PCI_CLASS_PROG + 1, (uint16_t)(id->class_code >> 8));
    c[PCI_HEADER_TYPE] = id->header_type;
    gh_le16_put(c + PCI_SUBSYSTEM_VENDOR_ID, id->sub_vendor);
    gh_le16_put(c + PCI_SUBSYSTEM_ID, id->sub_device);
    gh_le16_put(pci->writable + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_OFF);
    gh_le16_put(pci->write_one_clear + PCI_STATUS, PCI_STATUS_ERRORS);
    pci->writable[PCI_CACHE_LINE_SIZE] = pci->writable[PCI_LATENCY_TIMER] = 0xff;
    pci->writable[PCI_INTERRUPT_LINE] = 0xff;
    return gh_pci_bus_claim(bus, pci, addr, err);
}

void gh_pci_bar(struct gh_pci *pci, unsigned n, enum gh_pci_bar_kind kind, uint64_t size, unsigned range)
{
    pci->bar[n] = (struct gh_pci_bar){ .kind = kind, .size = size, .range = range };
    unsigned reg = PCI_BASE_ADDRESS_0 + n * 4;
    uint64_t mask = ~(size - 1);
    uint32_t type = kind == GH_BAR_IO ? PCI_BASE_IO : kind == GH_BAR_MEM64 ? PCI_BASE_MEM_64 | PCI_BASE_PREFETCH
                  : kind == GH_BAR_MEM32_PREFETCH ? PCI_BASE_PREFETCH : 0;
    gh_pci_register(pci, reg, type, (uint32_t)mask & (kind == GH_BAR_IO ? ~3u : ~15u));
    if (kind == GH_BAR_MEM64)
        gh_pci_register(pci, reg + 4, 0, (uint32_t)(mask >> 32));
}

void gh_pci_rom(struct gh_pci *pci, uint64_t size, unsigned range)
{
    pci->rom.size = size;
    pci->rom.range = range;
    gh_pci_register(pci, PCI_ROM_ADDRESS, 0, ((uint32_t)~(size - 1) & ~0x7ffu) | PCI_ROM_ENABLE);
}

uint8_t gh_pci_capability(struct gh_pci *pci, uint8_t id, uint8_t bytes)
{
    uint8_t offset = pci->capability_end;
    pci->capability_end = (uint8_t)(offset + ((bytes + 3u) & ~3u));
    pci->config[offset] = id;
    pci->config[offset + 1] = pci->config[PCI_CAPABILITY_LIST];
    pci->config[PCI_CAPABILITY_LIST] = offset;
    pci->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    return offset;
}

/* ---- BARs -------------------------------------------------------------------------------------------- */

/* A BAR that is 0, or that still holds the ones of a size probe, is not an address yet. */
static bool placeable(uint64_t base, uint64_t size, uint64_t end)
{
    return base && gh_range_in(base, size, end) && !(end == MEM32_END && base + size == end);
}

static void set_bar(struct gh_pci *pci, unsigned range, bool map, uint64_t new_base, bool *mapped, uint64_t *base)
{
    if (map == *mapped && (!map || new_base == *base))
        return;
    gh_trace(pci_bar, "%s range %u %s %#llx", pci->dev->id, range, map ? "at" : "off", (unsigned long long)new_base);
    *mapped = map;
    *base = new_base;
    gh_range_set(pci->dev, range, map, new_base);
}

static void update_bars(struct gh_pci *pci)
{
    uint16_t command = gh_le16_get(pci->config + PCI_COMMAND);
    for (unsigned n = 0; n < 6; n++) {
        struct gh_pci_bar *bar = &pci->bar[n];
        const uint8_t *reg = pci->config + PCI_BASE_ADDRESS_0 + n * 4;
        uint64_t base;
        bool map;
        switch (bar->kind) {
        case GH_BAR_NONE:
            continue;
        case GH_BAR_IO:
            base = gh_le32_get(reg) & ~3u;
            map = (command & PCI_COMMAND_IO) && placeable(base, bar->size, IO_SPACE_END);
            break;
        case GH_BAR_MEM64:
            base = gh_le64_get(reg) & ~15ull;
            map = (command & PCI_COMMAND_MEMORY) && placeable(base, bar->size, MEM64_END);
            break;
        default:
            base = gh_le32_get(reg) & ~15u;
            map = (command & PCI_COMMAND_MEMORY) && placeable(base, bar->size, MEM32_END);
            break;
        }
        set_bar(pci, bar->range, map, base, &bar->mapped, &bar->base);
    }
    if (pci->rom.size) {
        uint32_t reg = gh_le32_get(pci->config + PCI_ROM_ADDRESS);
        uint64_t base = reg & ~0x7ffu;
        bool map = (command & PCI_COMMAND_MEMORY) && (reg & PCI_ROM_ENABLE) &&
                   placeable(base, pci->rom.size, MEM32_END);
        set_bar(pci, pci->rom.range, map, base, &pci->rom.mapped, &pci->rom.base);
    }
}

/* ---- Config cycles ------------------------------------------------------------------------------------- */

static bool overlaps(unsigned offset, unsigned width, unsigned from, unsigned length)
{
    return offset < from + length && from < offset + width;
}

uint32_t gh_pci_config_read(struct gh_pci *pci, unsigned offset, unsigned width)
{
    uint32_t value = 0;
    if (!gh_range_in(offset, width, 256))
        return (uint32_t)gh_width_mask(width);
    if (pci->config_read && pci->config_read(pci->dev, pci, offset, width, &value))
        return value;
    for (unsigned i = 0; i < width; i++) {
        uint8_t byte = pci->config[offset + i];
        if (offset + i == PCI_STATUS && pci->intx_level)
            byte |= PCI_STATUS_INTERRUPT;
        value |= (uint32_t)byte << (i * 8);
    }
    return value;
}

void gh_pci_config_write(struct gh_pci *pci, unsigned offset, unsigned width, uint32_t value)
{
    if (!gh_range_in(offset, width, 256))
        return;
    gh_trace(pci_config_write, "%s %#x width %u value %#x", pci->dev->id, offset, width, value);
    pthread_mutex_lock(&pci->bus->lock);          /* interrupt senders read MSI registers */
    for (unsigned i = 0; i < width; i++) {
        uint8_t byte = (uint8_t)(value >> (i * 8)), *reg = &pci->config[offset + i];
        uint8_t mask = pci->writable[offset + i];
        *reg = (uint8_t)((*reg & ~mask) | (byte & mask));
        *reg &= (uint8_t)~(byte & pci->write_one_clear[offset + i]);
    }
    pthread_mutex_unlock(&pci->bus->lock);
    bool command = overlaps(offset, width, PCI_COMMAND, 2);
    if (command)
        gh_pci_bus_update_intx(pci);
    if (command || overlaps(offset, width, PCI_BASE_ADDRESS_0, 24) || overlaps(offset, width, PCI_ROM_ADDRESS, 4))
        update_bars(pci);
    if (command || (pci->msix_cap && overlaps(offset, width, pci->msix_cap, 12)))
        gh_pci_msi_changed(pci);
    if (pci->config_written)
        pci->config_written(pci->dev, pci, offset, width);
}

bool gh_pci_bus_master(const struct gh_pci *pci)
{
    return gh_le16_get(pci->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
}

/* ---- Life ------------------------------------------------------------------------------------------------ */

void gh_pci_reset(struct gh_pci *pci)
{
    if (!pci->bus)
        return;
    if (!pci->sealed) {
        memcpy(pci->initial, pci->config, sizeof pci->initial);
        pci->sealed = true;
    }
    pthread_mutex_lock(&pci->bus->lock);
    memcpy(pci->config, pci->initial, sizeof pci->config);
    pthread_mutex_unlock(&pci->bus->lock);
    gh_pci_bus_mark(pci->bus, pci->devfn);        /* neighbours may have come later */
    gh_pci_msi_reset(pci);
    gh_pci_intx(pci, false);
    update_bars(pci);
}

int gh_pci_loaded(struct gh_pci *pci, struct gh_error *err)
{
    static const struct { uint8_t offset, bytes; } identity[] = {
        { PCI_VENDOR_ID, 4 }, { PCI_REVISION_ID, 4 }, { PCI_SUBSYSTEM_VENDOR_ID, 4 },
    };
    for (unsigned i = 0; i < GH_ARRAY_LEN(identity); i++)
        if (pci->sealed && memcmp(pci->config + identity[i].offset, pci->initial + identity[i].offset, identity[i].bytes))
            return gh_error_set(err, -EINVAL, "StateDeviceMismatch",
                                "The saved state has PCI device %04x:%04x where this machine has %04x:%04x (%s); "
                                "start the machine without the saved state.",
                                gh_le16_get(pci->config), gh_le16_get(pci->config + 2),
                                gh_le16_get(pci->initial), gh_le16_get(pci->initial + 2), pci->dev->id);
    if (pci->sealed)
        for (unsigned i = 0; i < 256; i++) {
            uint8_t keep = pci->writable[i] | pci->write_one_clear[i] | pci->device_owned[i];
            pci->config[i] = (uint8_t)((pci->initial[i] & ~keep) | (pci->config[i] & keep));
        }
    gh_pci_bus_mark(pci->bus, pci->devfn);
    gh_pci_bus_update_intx(pci);
    update_bars(pci);
    gh_pci_msi_changed(pci);
    return 0;
}

void gh_pci_detach(struct gh_pci *pci)
{
    if (!pci->bus)
        return;
    gh_pci_intx(pci, false);
    gh_le16_put(pci->config + PCI_COMMAND, 0);
    update_bars(pci);
    gh_pci_bus_release(pci->bus, pci);
    pci->bus = NULL;
}
