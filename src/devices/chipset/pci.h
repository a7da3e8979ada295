/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * PCI functions and the bus they sit on. PCI Local Bus Specification 3.0; MSI and MSI-X included.
 *
 * A device embeds struct gh_pci, fills the identity and calls gh_pci_attach from its attach. BARs
 * are ranges of the device: the bus switches and moves them as the guest programs BARs and COMMAND.
 * All calls with the machine lock, except gh_pci_msi/msix_notify and gh_pci_intx (any thread, as
 * gh_irq_set).
 */
#pragma once
#include "devices/device.h"

struct gh_pci_bus;                        /* service "pci.0" */
struct gh_pci;

enum gh_pci_bar_kind { GH_BAR_NONE, GH_BAR_IO, GH_BAR_MEM32, GH_BAR_MEM64, GH_BAR_MEM32_PREFETCH };
struct gh_pci_bar { enum gh_pci_bar_kind kind; uint64_t size; unsigned range; /* the device's range number */
                    uint64_t base; bool mapped; };
struct gh_pci_msix_entry { uint64_t address; uint32_t data, control; };

struct gh_pci {
    struct gh_device *dev;
    struct gh_pci_bus *bus;
    uint8_t  devfn;
    uint8_t  config[256], writable[256], write_one_clear[256]; /* masks per byte */
    struct gh_pci_bar bar[6];
    struct { uint64_t size; unsigned range; uint64_t base; bool mapped; } rom;
    uint8_t  intx_pin;                    /* 0 none, 1..4 INTA..INTD; also config byte 0x3d, see gh_pci_pin */
    bool     intx_level;                  /* what the device asks for */
    bool     intx_out;                    /* what reaches the PIRQ: not while INTx is disabled */
    uint8_t  capability_end;              /* first free byte after the last capability */
    bool     sealed;                      /* initial is filled (first reset) */
    uint8_t  initial[256];                /* config as attached: the read-only bits of a loaded state come from here */
    uint8_t  device_owned[256];           /* bits the device itself changes outside of writable */
    uint8_t  msi_cap, msix_cap;           /* offsets in config, 0: none */
    unsigned msix_count;
    struct gh_pci_msix_entry *msix_table; /* owned by the device's state */
    uint32_t *msix_pending;
    /* Optional hooks of the device. config_write runs after the generic handling. */
    void (*config_written)(struct gh_device *dev, struct gh_pci *pci, unsigned offset, unsigned width);
    bool (*config_read)(struct gh_device *dev, struct gh_pci *pci, unsigned offset, unsigned width, uint32_t *value);
};

struct gh_pci_id { uint16_t vendor, device, sub_vendor, sub_device; uint8_t revision; uint32_t class_code; /* 24 bit */ uint8_t header_type; };

/* addr: "slot.function" hexadecimal as option "addr", e.g. "03.0"; empty: the next free slot. */
int  gh_pci_attach(struct gh_device *dev, struct gh_pci *pci, const char *addr, const struct gh_pci_id *id, struct gh_error *err);
/* Which interrupt pin the function drives: 1..4. */
void gh_pci_pin(struct gh_pci *pci, uint8_t pin);
/* Makes bits of a config dword writable by the guest and gives their value at reset. */
void gh_pci_register(struct gh_pci *pci, unsigned offset, uint32_t value, uint32_t writable);
/* Config space as the bus sees it; offset + width inside 256 bytes, width 1, 2 or 4. */
uint32_t gh_pci_config_read(struct gh_pci *pci, unsigned offset, unsigned width);
void gh_pci_config_write(struct gh_pci *pci, unsigned offset, unsigned width, uint32_t value);
/* Before the first config cycle; range must already be added with disabled = true. */
void gh_pci_bar(struct gh_pci *pci, unsigned n, enum gh_pci_bar_kind kind, uint64_t size, unsigned range);
void gh_pci_rom(struct gh_pci *pci, uint64_t size, unsigned range);
uint8_t gh_pci_capability(struct gh_pci *pci, uint8_t id, uint8_t bytes);   /* returns its offset */
int  gh_pci_msi_init(struct gh_pci *pci, unsigned vectors);
/* The table and PBA live in the device's BAR at these offsets; the device forwards accesses there. */
int  gh_pci_msix_init(struct gh_pci *pci, unsigned bar, uint32_t table_offset, uint32_t pba_offset, unsigned vectors,
                      struct gh_pci_msix_entry *table, uint32_t *pending);
bool gh_pci_msix_access(struct gh_pci *pci, struct gh_access *a, bool pba); /* offset relative to table or PBA */
void gh_pci_intx(struct gh_pci *pci, bool level);
bool gh_pci_msi_enabled(const struct gh_pci *pci);
bool gh_pci_msix_enabled(const struct gh_pci *pci);
void gh_pci_msi_notify(struct gh_pci *pci, unsigned vector);
void gh_pci_msix_notify(struct gh_pci *pci, unsigned vector);
bool gh_pci_bus_master(const struct gh_pci *pci);
void gh_pci_reset(struct gh_pci *pci);         /* COMMAND, BARs, MSI; the device calls it in reset */
void gh_pci_detach(struct gh_pci *pci);
extern const struct gh_field gh_pci_fields[];  /* offsets into struct gh_pci: config, BARs are rederived */
/* The same rows for a device's own table: GH_PCI_FIELDS(struct ide, pci, 1). */
#define GH_PCI_FIELDS(struct_, member_, since_)                                                    \
    { .name = "pci.config", .type = GH_T_U8, .offset = offsetof(struct_, member_.config), .count = 256, .since = since_ }, \
    { .name = "pci.intx_level", .type = GH_T_BOOL, .offset = offsetof(struct_, member_.intx_level), .count = 1, .since = since_ }
/* After a saved state was filled: refuses another device's config, then remaps BARs from it. The
 * device was reset before its state was filled. */
int  gh_pci_loaded(struct gh_pci *pci, struct gh_error *err);
