/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/firmware/acpi.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/chipset/piix4pm.h"
#include "devices/firmware/aml.h"

#define TABLES "etc/acpi/tables"
#define RSDP   "etc/acpi/rsdp"
#define LOADER "etc/table-loader"

enum { HEADER = 36, FADT_BYTES = 244, FACS_BYTES = 64, RSDP_BYTES = 36, ALIGN = 64, TABLES_MAX = 8 };

/* ---- The linker script: fixed 128-byte commands, see "etc/table-loader" in firmware ---------------- */

enum { CMD_ALLOCATE = 1, CMD_ADD_POINTER = 2, CMD_ADD_CHECKSUM = 3, CMD_BYTES = 128, CMD_NAME = 56 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };

struct tables {
    struct gh_aml out;                        /* contents of TABLES */
    struct gh_aml loader;
    uint32_t listed[TABLES_MAX];              /* offsets of what RSDT and XSDT name */
    unsigned listed_count;
};

static void put_command(struct gh_aml *loader, const uint8_t command[CMD_BYTES])
{
    gh_aml_bytes(loader, command, CMD_BYTES);
}

static void allocate(struct gh_aml *loader, const char *file, uint32_t align, uint8_t zone)
{
    uint8_t c[CMD_BYTES] = { CMD_ALLOCATE };
    memcpy(c + 4, file, strlen(file));
    gh_le32_put(c + 4 + CMD_NAME, align);
    c[4 + CMD_NAME + 4] = zone;
    put_command(loader, c);
}

/* The bytes at offset of file hold an offset into TABLES, which becomes an address. */
static void add_pointer(struct gh_aml *loader, const char *file, uint32_t offset, uint8_t bytes)
{
    uint8_t c[CMD_BYTES] = { CMD_ADD_POINTER };
    memcpy(c + 4, file, strlen(file));
    memcpy(c + 4 + CMD_NAME, TABLES, sizeof TABLES - 1);
    gh_le32_put(c + 4 + 2 * CMD_NAME, offset);
    c[4 + 2 * CMD_NAME + 4] = bytes;
    put_command(loader, c);
}

static void add_checksum(struct gh_aml *loader, const char *file, uint32_t at, uint32_t start, uint32_t len)
{
    uint8_t c[CMD_BYTES] = { CMD_ADD_CHECKSUM };
    memcpy(c + 4, file, strlen(file));
    gh_le32_put(c + 4 + CMD_NAME, at);
    gh_le32_put(c + 4 + CMD_NAME + 4, start);
    gh_le32_put(c + 4 + CMD_NAME + 8, len);
    put_command(loader, c);
}

/* ---- Tables ------------------------------------------------------------------------------------------ */

static uint32_t begin_table(struct tables *t, const char *signature, uint8_t revision)
{
    uint8_t header[HEADER] = { 0 };
    while (t->out.len % ALIGN && !t->out.failed)
        gh_aml_u8(&t->out, 0);
    memcpy(header, signature, 4);
    header[8] = revision;
    memcpy(header + 10, "GASTHS", 6);
    memcpy(header + 16, "GASTHPC ", 8);
    gh_le32_put(header + 24, 1);
    memcpy(header + 28, "GSTH", 4);
    gh_le32_put(header + 32, 1);
    uint32_t at = (uint32_t)t->out.len;
    gh_aml_bytes(&t->out, header, HEADER);
    return at;
}

static void end_table(struct tables *t, uint32_t at, bool listed)
{
    uint32_t len = (uint32_t)t->out.len - at;
    if (t->out.failed)
        return;
    gh_le32_put(t->out.data + at + 4, len);
    add_checksum(&t->loader, TABLES, at + 9, at, len);
    if (listed)
        t->listed[t->listed_count++] = at;
}

static void put32(struct gh_aml *a, uint32_t v) { v = htole32(v); gh_aml_bytes(a, &v, 4); }

static uint32_t facs(struct tables *t)
{
    uint8_t table[FACS_BYTES] = "FACS";
    gh_le32_put(table + 4, FACS_BYTES);
    table[32] = 1;                            /* version */
    while (t->out.len % ALIGN && !t->out.failed)
        gh_aml_u8(&t->out, 0);
    uint32_t at = (uint32_t)t->out.len;
    gh_aml_bytes(&t->out, table, sizeof table);
    return at;
}

/* Generic address structure of an I/O port. */
static void gas_io(uint8_t *p, uint8_t bits, uint64_t port)
{
    p[0] = 1;
    p[1] = bits;
    gh_le64_put(p + 4, port);
}

enum {                                        /* FADT fixed feature flags */
    FADT_WBINVD = 1 << 0, FADT_PROC_C1 = 1 << 2, FADT_SLP_BUTTON = 1 << 5, FADT_FIX_RTC = 1 << 6, FADT_RESET = 1 << 10,
};

static void fadt(struct tables *t, uint32_t facs_at, uint32_t dsdt_at, uint16_t pm)
{
    uint32_t at = begin_table(t, "FACP", 3);
    uint8_t f[FADT_BYTES] = { 0 };            /* offsets as in the specification; the header is cut off */
    gh_le32_put(f + 36, facs_at);
    gh_le32_put(f + 40, dsdt_at);
    gh_le16_put(f + 46, GH_PM_SCI_IRQ);
    gh_le32_put(f + 48, 0xb2);                /* SMI_CMD */
    f[52] = GH_PM_ENABLE_ACPI;
    f[53] = GH_PM_DISABLE_ACPI;
    gh_le32_put(f + 56, pm);
    gh_le32_put(f + 64, pm + 4u);
    gh_le32_put(f + 76, pm + 8u);
    gh_le32_put(f + 80, (uint32_t)pm + GH_PM_GPE_OFFSET);
    f[88] = 4;                                /* lengths: event, control, timer, GPE0 */
    f[89] = 2;
    f[91] = 4;
    f[92] = 4;
    gh_le16_put(f + 96, 0xfff);               /* no C2, no C3 */
    gh_le16_put(f + 98, 0xfff);
    f[108] = 0x32;                            /* century in CMOS */
    gh_le16_put(f + 109, 0x0003);             /* ISA devices, 8042 */
    gh_le32_put(f + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_RESET);
    gas_io(f + 116, 8, 0xcf9);
    f[128] = 6;
    gh_le64_put(f + 140, dsdt_at);
    gas_io(f + 148, 32, pm);
    gas_io(f + 172, 16, pm + 4u);
    gas_io(f + 208, 32, pm + 8u);
    gas_io(f + 220, 32, (uint64_t)pm + GH_PM_GPE_OFFSET);
    gh_aml_bytes(&t->out, f + HEADER, FADT_BYTES - HEADER);
    add_pointer(&t->loader, TABLES, at + 36, 4);
    add_pointer(&t->loader, TABLES, at + 40, 4);
    add_pointer(&t->loader, TABLES, at + 140, 8);
    end_table(t, at, true);
}

static void interrupt_override(struct gh_aml *a, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    gh_aml_bytes(a, (uint8_t[]){ 2, 10, 0, irq }, 4);
    put32(a, gsi);
    gh_aml_bytes(a, (uint8_t[]){ (uint8_t)flags, 0 }, 2);
}

static void madt(struct tables *t, const struct gh_acpi_config *config)
{
    static const uint8_t level_irqs[] = { 5, GH_PM_SCI_IRQ, 10, 11 };
    struct gh_aml *a = &t->out;
    uint32_t at = begin_table(t, "APIC", 3);
    put32(a, 0xfee00000);
    put32(a, 1);                              /* dual 8259 present */
    for (unsigned i = 0; i < config->cpus; i++) {
        gh_aml_bytes(a, (uint8_t[]){ 0, 8, (uint8_t)i, (uint8_t)i }, 4);
        put32(a, 1);
    }
    gh_aml_bytes(a, (uint8_t[]){ 1, 12, 0, 0 }, 4);           /* I/O APIC 0, interrupts from 0 */
    put32(a, 0xfec00000);
    put32(a, 0);
    interrupt_override(a, 0, 2, 0);
    for (unsigned i = 0; i < GH_ARRAY_LEN(level_irqs); i++)
        interrupt_override(a, level_irqs[i], level_irqs[i], 0x0d);   /* level, active high */
    gh_aml_bytes(a, (uint8_t[]){ 4, 6, 0xff, 0, 0, 1 }, 6);   /* NMI on LINT1 of all */
    end_table(t, at, true);
}

static void hpet(struct tables *t)
{
    uint32_t at = begin_table(t, "HPET", 1);
    put32(&t->out, 0x8086a201);               /* as its capability register says */
    gh_aml_bytes(&t->out, (uint8_t[]){ 0, 0, 0, 0 }, 4);
    put32(&t->out, 0xfed00000);
    put32(&t->out, 0);
    gh_aml_bytes(&t->out, (uint8_t[]){ 0, 100, 0, 0 }, 4);    /* number 0, smallest period, no page protection */
    end_table(t, at, true);
}

/* Tells Windows that the RTC needs no read after each tick and the PM timer one read only. */
static void waet(struct tables *t)
{
    uint32_t at = begin_table(t, "WAET", 1);
    put32(&t->out, 3);
    end_table(t, at, true);
}

static uint32_t root_table(struct tables *t, const char *signature, uint8_t entry_bytes)
{
    uint32_t at = begin_table(t, signature, 1);
    for (unsigned i = 0; i < t->listed_count; i++) {
        uint64_t entry = htole64(t->listed[i]);
        add_pointer(&t->loader, TABLES, (uint32_t)t->out.len, entry_bytes);
        gh_aml_bytes(&t->out, &entry, entry_bytes);
    }
    end_table(t, at, false);
    return at;
}

static void build(struct tables *t, const struct gh_acpi_config *config, uint16_t pm, uint8_t rsdp[RSDP_BYTES])
{
    *t = (struct tables){ 0 };
    allocate(&t->loader, RSDP, 16, ZONE_FSEG);
    allocate(&t->loader, TABLES, ALIGN, ZONE_HIGH);
    uint32_t facs_at = facs(t);
    uint32_t dsdt_at = begin_table(t, "DSDT", 2);
    gh_acpi_dsdt(&t->out, config, pm);
    end_table(t, dsdt_at, false);
    fadt(t, facs_at, dsdt_at, pm);
    madt(t, config);
    if (config->hpet)
        hpet(t);
    waet(t);
    uint32_t rsdt = root_table(t, "RSDT", 4), xsdt = root_table(t, "XSDT", 8);
    memset(rsdp, 0, RSDP_BYTES);
    memcpy(rsdp, "RSD PTR ", 8);
    memcpy(rsdp + 9, "GASTHS", 6);
    rsdp[15] = 2;
    gh_le32_put(rsdp + 16, rsdt);
    gh_le32_put(rsdp + 20, RSDP_BYTES);
    gh_le64_put(rsdp + 24, xsdt);
    add_pointer(&t->loader, RSDP, 16, 4);
    add_pointer(&t->loader, RSDP, 24, 8);
    add_checksum(&t->loader, RSDP, 8, 0, 20);
    add_checksum(&t->loader, RSDP, 32, 0, RSDP_BYTES);
}

/* ---- Publishing -------------------------------------------------------------------------------------- */

struct published { struct gh_fw_cfg *fw; struct gh_acpi_config config; };

static uint16_t pm_base(const struct gh_acpi_config *config)
{
    uint16_t base = config->pm ? gh_piix4pm_base(config->pm) : 0;
    return base ? base : GH_PM_DEFAULT_BASE;
}

/* Firmware is about to read the tables: it has placed the PM registers by now. */
static void rebuild(void *opaque)
{
    struct published *p = opaque;
    struct tables t;
    uint8_t rsdp[RSDP_BYTES];
    size_t len;
    build(&t, &p->config, pm_base(&p->config), rsdp);
    uint8_t *tables = gh_fw_cfg_data(p->fw, TABLES, &len);
    if (!t.out.failed && tables && len == t.out.len)
        memcpy(tables, t.out.data, len);
    gh_aml_fini(&t.out);
    gh_aml_fini(&t.loader);
}

static void release_tables(void *data, size_t len)
{
    /* The config stands in front of the tables, so that both end together. */
    free((uint8_t *)data - sizeof(struct published));
}

int gh_acpi_publish(struct gh_fw_cfg *fw, const struct gh_acpi_config *config, struct gh_error *err)
{
    struct tables t;
    uint8_t rsdp[RSDP_BYTES];
    int r = -EINVAL;
    if (!config->cpus || config->cpus > 254)
        return gh_error_option(err, -EINVAL, "CpuCountInvalid", "cpus",
                               "%u virtual CPUs cannot be described to the guest; choose 1 to 254.", config->cpus);
    build(&t, config, pm_base(config), rsdp);
    struct published *p = malloc(sizeof *p + t.out.len);
    if (!p || t.out.failed || t.loader.failed) {
        r = gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the ACPI tables; close other programs.");
        free(p);
        goto out;
    }
    *p = (struct published){ .fw = fw, .config = *config };
    uint8_t *tables = (uint8_t *)(p + 1);
    memcpy(tables, t.out.data, t.out.len);
    struct gh_fw_cfg_item item = { .data = tables, .len = t.out.len, .release = release_tables,
                                   .selected = rebuild, .opaque = p };
    r = gh_fw_cfg_add_file(fw, TABLES, &item, err);
    if (r < 0) {
        free(p);
        goto out;
    }
    r = gh_fw_cfg_file(fw, RSDP, rsdp, sizeof rsdp, err);
    if (r == 0)
        r = gh_fw_cfg_file(fw, LOADER, t.loader.data, t.loader.len, err);
out:
    gh_aml_fini(&t.out);
    gh_aml_fini(&t.loader);
    return r;
}
