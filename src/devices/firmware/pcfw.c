/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/firmware/pcfw.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { E820_BYTES = 20, E820_RAM = 1, E820_RESERVED = 2 };

static size_t e820_entry(uint8_t *p, uint64_t base, uint64_t bytes, uint32_t type)
{
    if (!bytes)
        return 0;
    gh_le64_put(p, base);
    gh_le64_put(p + 8, bytes);
    gh_le32_put(p + 16, type);
    return E820_BYTES;
}

static int memory(struct gh_fw_cfg *fw, const struct gh_pcfw *c, struct gh_error *err)
{
    uint8_t e820[3 * E820_BYTES], end[8];
    size_t len = e820_entry(e820, 0, c->ram_below_4g, E820_RAM);
    len += e820_entry(e820 + len, 1ull << 32, c->ram_above_4g, E820_RAM);
    len += e820_entry(e820 + len, c->reserved_base, c->reserved_bytes, E820_RESERVED);
    int r = gh_fw_cfg_u64(fw, GH_FW_RAM_SIZE, c->ram_below_4g + c->ram_above_4g, err);
    if (r == 0)
        r = gh_fw_cfg_file(fw, "etc/e820", e820, len, err);
    /* 64-bit BARs start here, if firmware needs any. */
    gh_le64_put(end, ((1ull << 32) + c->ram_above_4g + (1ull << 30) - 1) & ~((1ull << 30) - 1));
    return r == 0 ? gh_fw_cfg_file(fw, "etc/reserved-memory-end", end, sizeof end, err) : r;
}

static int file_u32(struct gh_fw_cfg *fw, const char *name, uint32_t value, struct gh_error *err)
{
    value = htole32(value);
    return gh_fw_cfg_file(fw, name, &value, sizeof value, err);
}

static int boot(struct gh_fw_cfg *fw, const struct gh_pcfw *c, struct gh_error *err)
{
    const char *order = c->boot_order ? c->boot_order : "";
    size_t len = strlen(order);
    static const char halt[] = "HALT";        /* "and nothing else" */
    char *text = malloc(len + sizeof halt);
    if (!text)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the boot order; close other programs.");
    memcpy(text, order, len);
    bool only = c->boot_only_listed && len;
    memcpy(text + len, only ? halt : "", only ? sizeof halt : 1);
    int r = len ? gh_fw_cfg_file(fw, "bootorder", text, len + (only ? sizeof halt : 1), err) : 0;
    free(text);
    uint16_t menu = c->boot_menu, wait = htole16((uint16_t)(c->menu_wait_ms < 0xffff ? c->menu_wait_ms : 0xffff));
    if (r == 0)
        r = gh_fw_cfg_u16(fw, GH_FW_BOOT_MENU, menu, err);
    if (r == 0)
        r = gh_fw_cfg_file(fw, "etc/show-boot-menu", &(uint16_t){ htole16(menu) }, 2, err);
    if (r == 0 && c->boot_menu)
        r = gh_fw_cfg_file(fw, "etc/boot-menu-wait", &wait, sizeof wait, err);
    if (r == 0)
        r = file_u32(fw, "etc/boot-fail-wait", (uint32_t)c->retry_ms, err);
    return r;
}

int gh_pcfw_publish(struct gh_fw_cfg *fw, const struct gh_pcfw *c, struct gh_error *err)
{
    /* S3 off, S4 off, S5 by writing type 0 (bit 7: offered). */
    static const uint8_t system_states[6] = { 128, 0, 0, 0, 0, 128 };
    unsigned max = c->max_cpus > c->cpus ? c->max_cpus : c->cpus;
    int r = memory(fw, c, err);
    if (r == 0)
        r = gh_fw_cfg_bytes(fw, GH_FW_UUID, c->uuid, sizeof c->uuid, err);
    if (r == 0)
        r = gh_fw_cfg_u16(fw, GH_FW_NB_CPUS, (uint16_t)c->cpus, err);
    if (r == 0)
        r = gh_fw_cfg_u16(fw, GH_FW_MAX_CPUS, (uint16_t)max, err);
    if (r == 0)
        r = gh_fw_cfg_u16(fw, GH_FW_NOGRAPHIC, 0, err);
    if (r == 0)
        r = gh_fw_cfg_u32(fw, GH_FW_IRQ0_OVERRIDE, 1, err);
    if (r == 0)
        r = gh_fw_cfg_file(fw, "etc/system-states", system_states, sizeof system_states, err);
    if (r == 0)
        r = boot(fw, c, err);
    if (r == 0 && c->serial_console_port) {
        uint16_t port = htole16(c->serial_console_port);
        r = gh_fw_cfg_file(fw, "etc/sercon-port", &port, sizeof port, err);
    }
    return r;
}
