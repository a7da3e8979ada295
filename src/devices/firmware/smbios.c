/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/firmware/smbios.h"

#include <errno.h>
#include <stdio.h>

#include "devices/firmware/aml.h"             /* its byte buffer */

enum { ANCHOR_BYTES = 31, STRINGS_MAX = 8, STRING_BYTES = 64 };
enum { HANDLE_BIOS = 0x0000, HANDLE_SYSTEM = 0x0100, HANDLE_CHASSIS = 0x0300, HANDLE_CPU = 0x0400,
       HANDLE_ARRAY = 0x1000, HANDLE_DIMM = 0x1100, HANDLE_MAPPED = 0x1300, HANDLE_BOOT = 0x2000, HANDLE_END = 0x7f00 };

struct writer { struct gh_aml out; unsigned count; uint16_t largest; };

/* One structure: formatted part p[0..len), then its strings, then an empty string. */
static void structure(struct writer *w, uint8_t type, uint16_t handle, uint8_t *p, uint8_t len, const char *const *strings)
{
    size_t start = w->out.len;
    p[0] = type;
    p[1] = len;
    gh_le16_put(p + 2, handle);
    gh_aml_bytes(&w->out, p, len);
    unsigned n = 0;
    for (; strings && strings[n]; n++) {
        char text[STRING_BYTES];
        snprintf(text, sizeof text, "%s", *strings[n] ? strings[n] : " ");   /* an empty string would end the list */
        gh_aml_bytes(&w->out, text, strlen(text) + 1);
    }
    gh_aml_bytes(&w->out, "\0", n ? 1 : 2);
    w->count++;
    if (w->out.len - start > w->largest)
        w->largest = (uint16_t)(w->out.len - start);
}

static const char *or_default(const char *s, const char *fallback) { return s ? s : fallback; }

static void bios_and_system(struct writer *w, const struct gh_smbios_config *c)
{
    uint8_t bios[0x18] = { [4] = 1, [5] = 2, [8] = 3, [0x14] = 0, [0x15] = 0, [0x16] = 0xff, [0x17] = 0xff };
    gh_le16_put(bios + 6, 0xe800);
    gh_le64_put(bios + 0x0a, 0x08);           /* characteristics are not supported */
    bios[0x13] = 0x14;                        /* virtual machine, targeted content distribution */
    structure(w, 0, HANDLE_BIOS, bios, sizeof bios, (const char *[]){ "Gasthaus", "1.0", "01/01/2025", NULL });

    uint8_t system[0x1b] = { [4] = 1, [5] = 2, [6] = 3, [7] = 4, [0x18] = 6, [0x19] = 5, [0x1a] = 6 };
    /* The first three fields of the UUID are stored little endian. */
    static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
    for (unsigned i = 0; i < 16; i++)
        system[8 + i] = c->uuid[order[i]];
    system[0x18] = 6;                         /* woken by the power switch */
    structure(w, 1, HANDLE_SYSTEM, system, sizeof system,
              (const char *[]){ or_default(c->manufacturer, "Gasthaus"), or_default(c->product, "Gasthaus"),
                                or_default(c->version, "pc"), or_default(c->serial, "0"), or_default(c->sku, "pc"),
                                or_default(c->family, "Virtual Machine"), NULL });

    uint8_t chassis[0x15] = { [4] = 1, [5] = 1, [6] = 2, [9] = 3, [10] = 3, [11] = 3, [12] = 2 };
    structure(w, 3, HANDLE_CHASSIS, chassis, sizeof chassis, (const char *[]){ "Gasthaus", "pc", NULL });
}

static void processors(struct writer *w, const struct gh_smbios_config *c)
{
    for (unsigned i = 0; i < c->cpus; i++) {
        char socket[16];
        uint8_t cpu[0x2a] = { [4] = 1, [5] = 3, [6] = 1, [7] = 2, [0x10] = 3, [0x18] = 0x41, [0x19] = 1,
                              [0x23] = 1, [0x24] = 1, [0x25] = 1 };
        snprintf(socket, sizeof socket, "CPU %u", i);
        gh_le16_put(cpu + 0x1a, 0xffff);      /* no cache information */
        gh_le16_put(cpu + 0x1c, 0xffff);
        gh_le16_put(cpu + 0x1e, 0xffff);
        gh_le16_put(cpu + 0x14, 2000);
        gh_le16_put(cpu + 0x16, 2000);
        gh_le16_put(cpu + 0x26, 0x04);        /* 64-bit capable */
        gh_le16_put(cpu + 0x28, 1);
        structure(w, 4, (uint16_t)(HANDLE_CPU + i), cpu, sizeof cpu, (const char *[]){ socket, "Gasthaus", "pc", NULL });
    }
}

static void mapped(struct writer *w, unsigned n, uint64_t start, uint64_t bytes)
{
    uint8_t range[0x1f] = { 0 };
    uint64_t last = start + bytes - 1;
    if (!bytes)
        return;
    if (last / 1024 < UINT32_MAX) {
        gh_le32_put(range + 4, (uint32_t)(start / 1024));
        gh_le32_put(range + 8, (uint32_t)(last / 1024));
    } else {
        gh_le32_put(range + 4, UINT32_MAX);
        gh_le32_put(range + 8, UINT32_MAX);
        gh_le64_put(range + 0x0f, start);
        gh_le64_put(range + 0x17, last);
    }
    gh_le16_put(range + 0x0c, HANDLE_ARRAY);
    range[0x0e] = 1;
    structure(w, 19, (uint16_t)(HANDLE_MAPPED + n), range, sizeof range, NULL);
}

static void memory(struct writer *w, const struct gh_smbios_config *c)
{
    uint64_t bytes = c->ram_below_4g + c->ram_above_4g, kib = bytes >> 10, mib = bytes >> 20;
    uint8_t array[0x17] = { [4] = 1, [5] = 3, [6] = 6 };      /* other place, system memory, multi-bit ECC */
    gh_le32_put(array + 7, kib < 0x80000000u ? (uint32_t)kib : 0x80000000u);
    gh_le16_put(array + 0x0b, 0xfffe);
    gh_le16_put(array + 0x0d, 1);
    if (kib >= 0x80000000u)
        gh_le64_put(array + 0x0f, bytes);
    structure(w, 16, HANDLE_ARRAY, array, sizeof array, NULL);

    uint8_t dimm[0x28] = { [0x0e] = 9, [0x10] = 1, [0x12] = 7, [0x17] = 2 };   /* DIMM of RAM */
    gh_le16_put(dimm + 4, HANDLE_ARRAY);
    gh_le16_put(dimm + 6, 0xfffe);
    gh_le16_put(dimm + 8, 64);
    gh_le16_put(dimm + 10, 64);
    gh_le16_put(dimm + 0x0c, mib < 0x7fff ? (uint16_t)mib : 0x7fff);
    if (mib >= 0x7fff)
        gh_le32_put(dimm + 0x1c, (uint32_t)mib);
    gh_le16_put(dimm + 0x13, 0x02);
    structure(w, 17, HANDLE_DIMM, dimm, sizeof dimm, (const char *[]){ "DIMM 0", "Gasthaus", NULL });
    mapped(w, 0, 0, c->ram_below_4g);
    mapped(w, 1, 1ull << 32, c->ram_above_4g);
}

int gh_smbios_publish(struct gh_fw_cfg *fw, const struct gh_smbios_config *c, struct gh_error *err)
{
    struct writer w = { 0 };
    uint8_t boot[0x0b] = { 0 }, end[4] = { 0 }, anchor[ANCHOR_BYTES] = "_SM_";
    bios_and_system(&w, c);
    processors(&w, c);
    memory(&w, c);
    structure(&w, 32, HANDLE_BOOT, boot, sizeof boot, NULL);
    structure(&w, 127, HANDLE_END, end, sizeof end, NULL);
    if (w.out.failed || w.out.len > 0xffff) {
        gh_aml_fini(&w.out);
        return gh_error_set(err, -ENOMEM, "SmbiosTooLarge",
                            "The SMBIOS tables for %u virtual CPUs do not fit; use fewer.", c->cpus);
    }
    /* Firmware places the tables and computes address and checksums. */
    anchor[5] = ANCHOR_BYTES;
    anchor[6] = 2;
    anchor[7] = 8;
    gh_le16_put(anchor + 8, w.largest);
    memcpy(anchor + 0x10, "_DMI_", 5);
    gh_le16_put(anchor + 0x16, (uint16_t)w.out.len);
    gh_le16_put(anchor + 0x1c, (uint16_t)w.count);
    anchor[0x1e] = 0x28;
    int r = gh_fw_cfg_file(fw, "etc/smbios/smbios-tables", w.out.data, w.out.len, err);
    if (r == 0)
        r = gh_fw_cfg_file(fw, "etc/smbios/smbios-anchor", anchor, sizeof anchor, err);
    gh_aml_fini(&w.out);
    return r;
}
