/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The root bus: slots, configuration mechanism #1 and the four PIRQ lines. The host bridge embeds
 * it and provides it as service "pci.0"; the ISA bridge sets the interrupt routing.
 *
 * Lock: slots and config cycles under the machine lock. The PIRQ counters and everything that MSI
 * delivery reads have the bus's own leaf lock, so that any thread may raise an interrupt; route()
 * is called with it held and may call gh_irq_set only.
 */
#pragma once
#include <pthread.h>

#include "devices/chipset/pci.h"

#define GH_PCI_PIRQS 4
#define GH_PCI_CONFIG_PORT 0xcf8u             /* address, 4 bytes; data follows at 0xcfc */
#define GH_PCI_CONFIG_PORTS 8u

struct gh_pci_bus {
    struct gh_pci *slot[256];                 /* by devfn; borrowed from the devices */
    uint32_t address;                         /* CONFADD */
    pthread_mutex_t lock;
    unsigned pirq_count[GH_PCI_PIRQS];        /* functions that assert the line */
    void (*route)(void *opaque, unsigned pirq, bool level);
    void *route_opaque;
    /* An ISA line that an on-board function shares with the PIRQs (the SCI); NULL: it has the line alone. */
    void (*onboard)(void *opaque, unsigned irq, bool level);
    /* Byte port 0xcf9 lies inside the address register; NULL: no such register. */
    bool (*reset_control)(void *opaque, struct gh_access *a);
    void *reset_opaque;
};

void gh_pci_bus_init(struct gh_pci_bus *bus);
void gh_pci_bus_fini(struct gh_pci_bus *bus);
/* The ISA bridge takes over routing; NULL takes it away. The present levels are told at once. */
void gh_pci_bus_set_route(struct gh_pci_bus *bus, void (*route)(void *opaque, unsigned pirq, bool level), void *opaque);
/* Tells the present level of every PIRQ to route(), after its table changed. */
void gh_pci_bus_reroute(struct gh_pci_bus *bus);
/* Any thread. False: nobody routes here, the caller drives the line itself. */
bool gh_pci_bus_onboard_irq(struct gh_pci_bus *bus, unsigned irq, bool level);
/* Ports 0xcf8..0xcff; offset 0 is 0xcf8. */
bool gh_pci_bus_port(struct gh_pci_bus *bus, struct gh_access *a);
/* One config cycle; a function that is not there reads all ones. */
uint32_t gh_pci_bus_config_read(struct gh_pci_bus *bus, uint8_t devfn, unsigned offset, unsigned width);
void gh_pci_bus_config_write(struct gh_pci_bus *bus, uint8_t devfn, unsigned offset, unsigned width, uint32_t value);
/* The PIRQ of a function's pin, as firmware and the ACPI tables describe it: (slot - 1 + pin - 1) mod 4. */
unsigned gh_pci_pirq(uint8_t devfn, uint8_t pin);
/* For pci.c: a slot from "slot.function" text, or the next free one. */
int  gh_pci_bus_claim(struct gh_pci_bus *bus, struct gh_pci *pci, const char *addr, struct gh_error *err);
void gh_pci_bus_release(struct gh_pci_bus *bus, struct gh_pci *pci);
/* For pci.c: sets or clears the multi-function bit of a slot's function 0. */
void gh_pci_bus_mark(struct gh_pci_bus *bus, uint8_t devfn);
/* For pci.c: recompute the line of one function. */
void gh_pci_bus_update_intx(struct gh_pci *pci);
/* For pci.c: COMMAND, enable bits or masks changed; sends what became deliverable. */
void gh_pci_msi_changed(struct gh_pci *pci);
void gh_pci_msi_reset(struct gh_pci *pci);
