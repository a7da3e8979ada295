/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The DSDT: PCI root with its windows and interrupt links, devices on the ISA bus, processors. */
#include <stdio.h>

#include "devices/chipset/pci_bus.h"
#include "devices/chipset/piix4pm.h"
#include "devices/firmware/acpi.h"
#include "devices/firmware/aml.h"
#include "devices/firmware/aml_op.h"

#define PCI_MEMORY_LAST 0xfebfffffu           /* below the I/O APIC */

static const uint8_t link_irqs[] = { 5, 10, 11 };

static void link_field(struct gh_aml *a, unsigned n)
{
    char name[5];
    snprintf(name, sizeof name, "PRQ%c", (char)('A' + n));
    gh_aml_path(a, name);
}

/* Store(source..., destination...) is written by the callers in AML's prefix order. */
static void interrupt_link(struct gh_aml *a, unsigned n)
{
    char name[5];
    snprintf(name, sizeof name, "LNK%c", (char)('A' + n));
    size_t device = gh_aml_device(a, name), method, block;
    gh_aml_name_eisa(a, "_HID", "PNP0C0F");
    gh_aml_name_integer(a, "_UID", n);
    struct gh_aml_resources r = gh_aml_resources(a, "_PRS");
    gh_aml_interrupts(a, link_irqs, sizeof link_irqs);
    gh_aml_resources_end(a, r);
    r = gh_aml_resources(a, "CRSB");
    gh_aml_interrupts(a, (uint8_t[]){ 0 }, 1);
    gh_aml_resources_end(a, r);

    method = gh_aml_method(a, "_STA", 0);                     /* If (And(PRQn, 0x80)) Return(9); Return(0xb) */
    block = gh_aml_if(a);
    gh_aml_u8(a, AML_AND);
    link_field(a, n);
    gh_aml_integer(a, 0x80);
    gh_aml_u8(a, 0);
    gh_aml_u8(a, AML_RETURN);
    gh_aml_integer(a, 9);
    gh_aml_end(a, block);
    gh_aml_u8(a, AML_RETURN);
    gh_aml_integer(a, 0xb);
    gh_aml_end(a, method);

    method = gh_aml_method(a, "_DIS", 0);                     /* Or(PRQn, 0x80, PRQn) */
    gh_aml_u8(a, AML_OR);
    link_field(a, n);
    gh_aml_integer(a, 0x80);
    link_field(a, n);
    gh_aml_end(a, method);

    /* The interrupt number stands 5 bytes into the descriptor. */
    method = gh_aml_method(a, "_CRS", 0);
    gh_aml_u8(a, AML_DWORD_FIELD);
    gh_aml_path(a, "CRSB");
    gh_aml_integer(a, 5);
    gh_aml_path(a, "IRQW");
    gh_aml_u8(a, AML_AND);
    link_field(a, n);
    gh_aml_integer(a, 0xf);
    gh_aml_path(a, "IRQW");
    gh_aml_u8(a, AML_RETURN);
    gh_aml_path(a, "CRSB");
    gh_aml_end(a, method);

    method = gh_aml_method(a, "_SRS", 1);
    gh_aml_u8(a, AML_DWORD_FIELD);
    gh_aml_u8(a, AML_ARG0);
    gh_aml_integer(a, 5);
    gh_aml_path(a, "IRQW");
    gh_aml_u8(a, AML_STORE);
    gh_aml_path(a, "IRQW");
    link_field(a, n);
    gh_aml_end(a, method);
    gh_aml_end(a, device);
}

static void routing_table(struct gh_aml *a)
{
    static const char *const links[] = { "LNKA", "LNKB", "LNKC", "LNKD" };
    gh_aml_name(a, "_PRT");
    size_t table = gh_aml_package(a, 32 * 4);
    for (unsigned slot = 0; slot < 32; slot++)
        for (unsigned pin = 0; pin < 4; pin++) {
            size_t row = gh_aml_package(a, 4);
            gh_aml_integer(a, (uint64_t)slot << 16 | 0xffff);
            gh_aml_integer(a, pin);
            gh_aml_path(a, links[gh_pci_pirq((uint8_t)(slot << 3), (uint8_t)(pin + 1))]);
            gh_aml_integer(a, 0);
            gh_aml_end(a, row);
        }
    gh_aml_end(a, table);
}

static void root_windows(struct gh_aml *a, const struct gh_acpi_config *config)
{
    struct gh_aml_resources r = gh_aml_resources(a, "_CRS");
    gh_aml_window16(a, GH_AML_BUS, 0, 0xff);
    gh_aml_io(a, 0xcf8, 8);
    gh_aml_window16(a, GH_AML_IO, 0, 0xcf7);
    gh_aml_window16(a, GH_AML_IO, 0xd00, 0xffff);
    gh_aml_window32(a, 0xa0000, 0xbffff, true);
    if (config->ram_below_4g < PCI_MEMORY_LAST)
        gh_aml_window32(a, (uint32_t)config->ram_below_4g, PCI_MEMORY_LAST, false);
    if (config->pci64_bytes)
        gh_aml_window64(a, config->pci64_base, config->pci64_base + config->pci64_bytes - 1);
    gh_aml_resources_end(a, r);
}

struct isa_device { const char *name, *hid; uint16_t io[2]; uint8_t io_len[2], irq, dma, uid; };

static void isa_device(struct gh_aml *a, const struct isa_device *d)
{
    size_t mark = gh_aml_device(a, d->name);
    gh_aml_name_eisa(a, "_HID", d->hid);
    if (d->uid)
        gh_aml_name_integer(a, "_UID", d->uid);
    gh_aml_name_integer(a, "_STA", 0xf);
    struct gh_aml_resources r = gh_aml_resources(a, "_CRS");
    for (unsigned i = 0; i < 2; i++)
        if (d->io_len[i])
            gh_aml_io(a, d->io[i], d->io_len[i]);
    if (d->irq)
        gh_aml_irq(a, d->irq);
    if (d->dma)
        gh_aml_dma(a, d->dma);
    gh_aml_resources_end(a, r);
    gh_aml_end(a, mark);
}

static void isa_bridge(struct gh_aml *a, const struct gh_acpi_config *config, uint16_t pm_base)
{
    static const struct isa_device keyboard = { "KBD", "PNP0303", { 0x60, 0x64 }, { 1, 1 }, .irq = 1 },
        mouse = { "MOU", "PNP0F13", .irq = 12 }, rtc = { "RTC", "PNP0B00", { 0x70 }, { 8 }, .irq = 8 },
        floppy = { "FDC0", "PNP0700", { 0x3f2, 0x3f7 }, { 4, 1 }, .irq = 6, .dma = 2 },
        printer = { "LPT1", "PNP0400", { 0x378 }, { 8 }, .irq = 7, .uid = 1 };
    static const uint16_t com_base[4] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
    size_t bridge = gh_aml_device(a, "ISA");
    gh_aml_name_integer(a, "_ADR", 0x00010000);
    gh_aml_bytes(a, (uint8_t[]){ AML_EXT, AML_EXT_REGION }, 2);
    gh_aml_path(a, "PIRQ");
    gh_aml_u8(a, 2);                                          /* PCI_Config */
    gh_aml_integer(a, 0x60);
    gh_aml_integer(a, GH_PCI_PIRQS);
    isa_device(a, &rtc);
    if (config->ps2) {
        isa_device(a, &keyboard);
        isa_device(a, &mouse);
    }
    if (config->fdc)
        isa_device(a, &floppy);
    if (config->lpt)
        isa_device(a, &printer);
    for (unsigned i = 0; i < 4; i++) {
        char name[5];
        snprintf(name, sizeof name, "COM%u", i + 1);
        struct isa_device com = { name, "PNP0501", { com_base[i] }, { 8 }, .irq = i & 1 ? 3 : 4, .uid = (uint8_t)(i + 1) };
        if (config->com[i])
            isa_device(a, &com);
    }
    struct isa_device board = { "MBRD", "PNP0C02", { pm_base, 0xb2 }, { 0x40, 2 } };
    isa_device(a, &board);
    gh_aml_end(a, bridge);
}

/* Field(\_SB.PCI0.ISA.PIRQ, ByteAcc, NoLock, Preserve) { PRQA, 8, ... }, in the scope of _SB. */
static void link_fields(struct gh_aml *a)
{
    gh_aml_bytes(a, (uint8_t[]){ AML_EXT, AML_EXT_FIELD }, 2);
    size_t at = a->len;
    gh_aml_bytes(a, (uint8_t[]){ 0, 0, 0 }, 3);
    gh_aml_path(a, "PCI0.ISA.PIRQ");
    gh_aml_u8(a, 1);
    for (unsigned n = 0; n < GH_PCI_PIRQS; n++) {
        link_field(a, n);
        gh_aml_u8(a, 8);
    }
    gh_aml_end(a, at);
}

static void port_device(struct gh_aml *a, const char *name, const char *hid, uint16_t port, uint8_t len)
{
    size_t mark = gh_aml_device(a, name);
    gh_aml_name_string(a, "_HID", hid);
    gh_aml_name_integer(a, "_STA", 0xb);                      /* present, not shown to the user */
    struct gh_aml_resources r = gh_aml_resources(a, "_CRS");
    gh_aml_io(a, port, len);
    gh_aml_resources_end(a, r);
    gh_aml_end(a, mark);
}

static void system_bus(struct gh_aml *a, const struct gh_acpi_config *config, uint16_t pm_base)
{
    size_t bus = gh_aml_scope(a, "\\_SB"), mark;
    mark = gh_aml_device(a, "PCI0");
    gh_aml_name_eisa(a, "_HID", "PNP0A03");
    gh_aml_name_integer(a, "_UID", 0);
    root_windows(a, config);
    isa_bridge(a, config, pm_base);
    routing_table(a);
    gh_aml_end(a, mark);
    link_fields(a);
    for (unsigned n = 0; n < GH_PCI_PIRQS; n++)
        interrupt_link(a, n);
    if (config->hpet) {
        mark = gh_aml_device(a, "HPET");
        gh_aml_name_eisa(a, "_HID", "PNP0103");
        gh_aml_name_integer(a, "_UID", 0);
        struct gh_aml_resources r = gh_aml_resources(a, "_CRS");
        gh_aml_memory32(a, 0xfed00000, 0x400);
        gh_aml_resources_end(a, r);
        gh_aml_end(a, mark);
    }
    port_device(a, "FWCF", "QEMU0002", 0x510, 12);
    if (config->pvpanic)
        port_device(a, "PEVT", "QEMU0001", 0x505, 1);
    gh_aml_end(a, bus);
}

void gh_acpi_dsdt(struct gh_aml *a, const struct gh_acpi_config *config, uint16_t pm_base)
{
    gh_aml_name(a, "\\_S5_");
    size_t mark = gh_aml_package(a, 4);
    for (unsigned i = 0; i < 4; i++)
        gh_aml_integer(a, GH_PM_SLEEP_S5);
    gh_aml_end(a, mark);
    mark = gh_aml_scope(a, "\\_PR_");
    for (unsigned i = 0; i < config->cpus; i++) {
        char name[5];
        snprintf(name, sizeof name, "C%03X", i & 0xfff);
        gh_aml_processor(a, name, (uint8_t)i);
    }
    gh_aml_end(a, mark);
    system_bus(a, config, pm_base);
}
