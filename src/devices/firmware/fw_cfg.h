/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The firmware configuration interface: keyed items and named files that the machine gives to the
 * guest's firmware. Register-compatible with what SeaBIOS and OVMF expect of a virtual pc ("QEMU
 * Firmware Configuration Device"): ports 0x510/0x511 and DMA at 0x514.
 *
 * The device provides itself as service "fw_cfg". Items are added by the machine between attach and
 * the first run; machine lock. An item that was added twice replaces the first. Failures are -ENOMEM,
 * -ENOSPC (too many files) or -ENAMETOOLONG, with err filled.
 */
#pragma once
#include "devices/device.h"

struct gh_fw_cfg;

enum gh_fw_cfg_key {
    GH_FW_SIGNATURE = 0x00, GH_FW_ID = 0x01, GH_FW_UUID = 0x02, GH_FW_RAM_SIZE = 0x03, GH_FW_NOGRAPHIC = 0x04,
    GH_FW_NB_CPUS = 0x05, GH_FW_KERNEL_ADDR = 0x07, GH_FW_KERNEL_SIZE = 0x08, GH_FW_INITRD_ADDR = 0x0a,
    GH_FW_INITRD_SIZE = 0x0b, GH_FW_BOOT_DEVICE = 0x0c, GH_FW_NUMA = 0x0d, GH_FW_BOOT_MENU = 0x0e,
    GH_FW_MAX_CPUS = 0x0f, GH_FW_KERNEL_ENTRY = 0x10, GH_FW_KERNEL_DATA = 0x11, GH_FW_INITRD_DATA = 0x12,
    GH_FW_CMDLINE_ADDR = 0x13, GH_FW_CMDLINE_SIZE = 0x14, GH_FW_CMDLINE_DATA = 0x15, GH_FW_SETUP_ADDR = 0x16,
    GH_FW_SETUP_SIZE = 0x17, GH_FW_SETUP_DATA = 0x18, GH_FW_FILE_DIR = 0x19, GH_FW_FILE_FIRST = 0x20,
    GH_FW_ACPI_TABLES = 0x8000, GH_FW_SMBIOS = 0x8001, GH_FW_IRQ0_OVERRIDE = 0x8002,
};

enum { GH_FW_FILES_MAX = 96, GH_FW_NAME_MAX = 55 };

struct gh_fw_cfg_item {
    const void *data;                          /* what it points to must stay until release */
    size_t len;
    void (*release)(void *data, size_t len);   /* NULL: fw_cfg copies data now and owns the copy */
    bool writable;                             /* by guest DMA, inside len; needs memory of its own */
    /* Before the guest reads byte 0: may change the bytes (gh_fw_cfg_data), not the length. */
    void (*selected)(void *opaque);
    /* Instead of data, for what is large and read once: made when the guest selects the item (NULL: it cannot be),
     * given back when it selects another, and at last freed. */
    const uint8_t *(*open)(void *opaque);
    void (*close)(void *opaque);
    void (*free)(void *opaque);
    void *opaque;
};

int gh_fw_cfg_add(struct gh_fw_cfg *fw, uint16_t key, const struct gh_fw_cfg_item *item, struct gh_error *err);
int gh_fw_cfg_add_file(struct gh_fw_cfg *fw, const char *name, const struct gh_fw_cfg_item *item, struct gh_error *err);
/* Copies. */
int gh_fw_cfg_bytes(struct gh_fw_cfg *fw, uint16_t key, const void *data, size_t len, struct gh_error *err);
int gh_fw_cfg_file(struct gh_fw_cfg *fw, const char *name, const void *data, size_t len, struct gh_error *err);
/* Little endian, as firmware reads integers. */
int gh_fw_cfg_u16(struct gh_fw_cfg *fw, uint16_t key, uint16_t value, struct gh_error *err);
int gh_fw_cfg_u32(struct gh_fw_cfg *fw, uint16_t key, uint32_t value, struct gh_error *err);
int gh_fw_cfg_u64(struct gh_fw_cfg *fw, uint16_t key, uint64_t value, struct gh_error *err);
/* A file's or item's bytes; NULL: there is none. Valid until the item is replaced. */
uint8_t *gh_fw_cfg_data(struct gh_fw_cfg *fw, const char *name, size_t *ret_len);
