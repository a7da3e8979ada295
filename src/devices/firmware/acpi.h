/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ACPI tables of the pc board, generated and handed to firmware through fw_cfg: "etc/acpi/tables",
 * "etc/acpi/rsdp" and the linker script "etc/table-loader". RSDP revision 2 with RSDT and XSDT, FADT
 * revision 3, FACS, MADT, HPET, WAET and one DSDT. Advanced Configuration and Power Interface 6.
 *
 * Machine lock. The tables are built when published, and once more when firmware reads them, because
 * only then is the address of the PM registers known; their sizes do not depend on it.
 */
#pragma once
#include "devices/firmware/fw_cfg.h"

struct gh_acpi_config {
    unsigned cpus;                            /* 1..254, APIC id = index */
    uint64_t ram_below_4g;                    /* PCI memory starts there ... */
    uint64_t pci64_base, pci64_bytes;         /* ... and here; bytes 0: no window above 4 GiB */
    bool hpet, fdc, lpt, pvpanic, ps2;
    bool com[4];                              /* COM1..COM4 at their usual places */
    struct gh_device *pm;                     /* piix4-pm; NULL: registers at GH_PM_DEFAULT_BASE */
};

/* Everything of config is copied; pm must outlive fw. */
int gh_acpi_publish(struct gh_fw_cfg *fw, const struct gh_acpi_config *config, struct gh_error *err);

/* The body of the DSDT, after its header. */
struct gh_aml;
void gh_acpi_dsdt(struct gh_aml *a, const struct gh_acpi_config *config, uint16_t pm_base);
