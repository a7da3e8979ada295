/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Message signalled interrupts. MSI comes with a 64-bit address and without per-vector masking;
 * MSI-X with its table and pending bits in memory of the device's state.
 *
 * The bus's leaf lock covers the registers that a sender reads; the message itself is sent after
 * it was released, to the interrupt controllers and never through the memory bus.
 */
#include <errno.h>

#include "devices/chipset/pci_bus.h"
#include "devices/chipset/pci_regs.h"

#define MSI_CONTROL    2u
#define MSI_ADDRESS    4u
#define MSI_DATA       12u
#define MSI_BYTES      14u
#define MSIX_CONTROL   2u
#define MSIX_TABLE     4u
#define MSIX_PBA       8u
#define MSIX_BYTES     12u
#define MSIX_ENTRY     16u
#define MSIX_MAX       2048u

/* ---- MSI -------------------------------------------------------------------------------------- */

int gh_pci_msi_init(struct gh_pci *pci, unsigned vectors)
{
    unsigned log2 = 0;
    while ((1u << log2) < vectors)
        log2++;
    if (!vectors || log2 > 5)
        return -EINVAL;
    uint8_t cap = gh_pci_capability(pci, PCI_CAP_ID_MSI, MSI_BYTES);
    pci->msi_cap = cap;
    gh_le16_put(pci->config + cap + MSI_CONTROL, (uint16_t)(PCI_MSI_64BIT | log2 << 1));
    gh_le16_put(pci->writable + cap + MSI_CONTROL, PCI_MSI_ENABLE | 7 << 4);
    gh_le32_put(pci->writable + cap + MSI_ADDRESS, ~3u);
    gh_le32_put(pci->writable + cap + MSI_ADDRESS + 4, ~0u);
    gh_le16_put(pci->writable + cap + MSI_DATA, 0xffff);
    return 0;
}

static uint16_t msi_control(const struct gh_pci *pci)
{
    return gh_le16_get(pci->config + pci->msi_cap + MSI_CONTROL);
}

bool gh_pci_msi_enabled(const struct gh_pci *pci)
{
    return pci->msi_cap && (msi_control(pci) & PCI_MSI_ENABLE);
}

void gh_pci_msi_notify(struct gh_pci *pci, unsigned vector)
{
    pthread_mutex_lock(&pci->bus->lock);
    bool send = gh_pci_msi_enabled(pci) && gh_pci_bus_master(pci);
    uint64_t address = 0;
    uint32_t data = 0;
    if (send) {
        unsigned offered = msi_control(pci) >> 1 & 7, given = msi_control(pci) >> 4 & 7;
        unsigned vectors = 1u << (given < offered ? given : offered);
        address = gh_le64_get(pci->config + pci->msi_cap + MSI_ADDRESS);
        data = gh_le16_get(pci->config + pci->msi_cap + MSI_DATA);
        data = (data & ~(vectors - 1)) | (vector & (vectors - 1));
    }
    pthread_mutex_unlock(&pci->bus->lock);
    if (send)
        gh_msi_send(pci->dev, address, data);
}

/* ---- MSI-X ------------------------------------------------------------------------------------ */

int gh_pci_msix_init(struct gh_pci *pci, unsigned bar, uint32_t table_offset, uint32_t pba_offset, unsigned vectors,
                     struct gh_pci_msix_entry *table, uint32_t *pending)
{
    if (!vectors || vectors > MSIX_MAX || bar > 5 || (table_offset | pba_offset) & 7)
        return -EINVAL;
    uint8_t cap = gh_pci_capability(pci, PCI_CAP_ID_MSIX, MSIX_BYTES);
    pci->msix_cap = cap;
    pci->msix_count = vectors;
    pci->msix_table = table;
    pci->msix_pending = pending;
    gh_le16_put(pci->config + cap + MSIX_CONTROL, (uint16_t)(vectors - 1));
    gh_le16_put(pci->writable + cap + MSIX_CONTROL, PCI_MSIX_ENABLE | PCI_MSIX_FUNCTION_MASK);
    gh_le32_put(pci->config + cap + MSIX_TABLE, table_offset | bar);
    gh_le32_put(pci->config + cap + MSIX_PBA, pba_offset | bar);
    gh_pci_msi_reset(pci);
    return 0;
}

static uint16_t msix_control(const struct gh_pci *pci)
{
    return gh_le16_get(pci->config + pci->msix_cap + MSIX_CONTROL);
}

bool gh_pci_msix_enabled(const struct gh_pci *pci)
{
    return pci->msix_cap && (msix_control(pci) & PCI_MSIX_ENABLE);
}

/* With the lock: takes the message if it may go now, else remembers it. */
static bool msix_take(struct gh_pci *pci, unsigned vector, struct gh_pci_msix_entry *ret)
{
    const struct gh_pci_msix_entry *entry = &pci->msix_table[vector];
    uint32_t bit = 1u << (vector % 32), *word = &pci->msix_pending[vector / 32];
    if (!gh_pci_msix_enabled(pci))
        return false;
    if ((msix_control(pci) & PCI_MSIX_FUNCTION_MASK) || (entry->control & PCI_MSIX_ENTRY_MASK) ||
        !gh_pci_bus_master(pci)) {
        *word |= bit;
        return false;
    }
    *word &= ~bit;
    *ret = *entry;
    return true;
}

void gh_pci_msix_notify(struct gh_pci *pci, unsigned vector)
{
    struct gh_pci_msix_entry entry = { 0 };
    if (vector >= pci->msix_count)
        return;
    pthread_mutex_lock(&pci->bus->lock);
    bool send = msix_take(pci, vector, &entry);
    pthread_mutex_unlock(&pci->bus->lock);
    if (send)
        gh_msi_send(pci->dev, entry.address, entry.data);
}

static bool is_pending(const struct gh_pci *pci, unsigned vector)
{
    return pci->msix_pending[vector / 32] >> (vector % 32) & 1;
}

void gh_pci_msi_changed(struct gh_pci *pci)
{
    for (unsigned vector = 0; vector < pci->msix_count; vector++)
        if (is_pending(pci, vector))
            gh_pci_msix_notify(pci, vector);
}

void gh_pci_msi_reset(struct gh_pci *pci)
{
    if (!pci->msix_count)
        return;
    for (unsigned vector = 0; vector < pci->msix_count; vector++)
        pci->msix_table[vector] = (struct gh_pci_msix_entry){ .control = PCI_MSIX_ENTRY_MASK };
    memset(pci->msix_pending, 0, (pci->msix_count + 31) / 32 * sizeof *pci->msix_pending);
}

static uint32_t *msix_dword(struct gh_pci_msix_entry *entry, unsigned dword, uint32_t *address_half)
{
    switch (dword) {
    case 2: return &entry->data;
    case 3: return &entry->control;
    default:
        *address_half = (uint32_t)(entry->address >> (dword * 32));
        return address_half;
    }
}

static uint32_t table_read(struct gh_pci *pci, uint64_t offset)
{
    uint32_t half;
    return *msix_dword(&pci->msix_table[offset / MSIX_ENTRY], offset / 4 % 4, &half);
}

static void table_write(struct gh_pci *pci, uint64_t offset, uint32_t value)
{
    unsigned vector = (unsigned)(offset / MSIX_ENTRY), dword = offset / 4 % 4;
    struct gh_pci_msix_entry *entry = &pci->msix_table[vector];
    pthread_mutex_lock(&pci->bus->lock);
    switch (dword) {
    case 0: entry->address = (entry->address & ~0xffffffffull) | (value & ~3u); break;
    case 1: entry->address = (entry->address & 0xffffffffull) | (uint64_t)value << 32; break;
    case 2: entry->data = value; break;
    default: entry->control = value & PCI_MSIX_ENTRY_MASK; break;
    }
    pthread_mutex_unlock(&pci->bus->lock);
    if (dword == 3 && is_pending(pci, vector))
        gh_pci_msix_notify(pci, vector);
}

bool gh_pci_msix_access(struct gh_pci *pci, struct gh_access *a, bool pba)
{
    uint64_t size = pba ? (pci->msix_count + 63) / 64 * 8 : (uint64_t)pci->msix_count * MSIX_ENTRY;
    if ((a->width != 4 && a->width != 8) || a->offset % a->width || !gh_range_in(a->offset, a->width, size))
        return false;
    uint64_t value = 0;
    for (unsigned at = 0; at < a->width; at += 4) {
        uint64_t offset = a->offset + at;
        if (a->write) {
            if (!pba)                         /* the pending bits are read-only */
                table_write(pci, offset, (uint32_t)(a->value >> (at * 8)));
        } else if (pba) {
            bool inside = offset / 4 < (pci->msix_count + 31) / 32;
            value |= (uint64_t)(inside ? pci->msix_pending[offset / 4] : 0) << (at * 8);
        } else {
            value |= (uint64_t)table_read(pci, offset) << (at * 8);
        }
    }
    if (!a->write)
        a->value = value;
    return true;
}
