/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What SeaBIOS reads from fw_cfg about a pc board: memory, processors, boot order and menu. Tables
 * (acpi.h, smbios.h) and kernels (kernelboot.h) are published apart. Machine lock; all is copied.
 */
#pragma once
#include "devices/firmware/fw_cfg.h"

struct gh_pcfw {
    uint64_t ram_below_4g, ram_above_4g;      /* bytes; the second starts at 4 GiB */
    /* A piece that the accelerator keeps for itself (as KVM's identity map), 0: none. */
    uint64_t reserved_base, reserved_bytes;
    unsigned cpus, max_cpus;
    uint8_t uuid[16];
    /* Lines of open firmware paths, first boots first, each ended by '\n':
     *   /pci@i0cf8/ide@1,1/drive@CHANNEL/disk@UNIT   /pci@i0cf8/scsi@SLOT/disk@0,0 (virtio-blk)
     *   /pci@i0cf8/isa@1/fdc@03f0/floppy@0           /pci@i0cf8/ethernet@SLOT
     *   GH_KERNELBOOT_BOOT_PATH.  NULL or "": firmware's own order. */
    const char *boot_order;
    bool boot_only_listed;                    /* nothing else is tried */
    bool boot_menu;                           /* offer the menu, for menu_wait_ms */
    uint32_t menu_wait_ms;
    int32_t  retry_ms;                        /* after nothing could be booted: wait and reset; -1: stay */
    uint16_t serial_console_port;             /* firmware's text also there; 0: no */
};
int gh_pcfw_publish(struct gh_fw_cfg *fw, const struct gh_pcfw *config, struct gh_error *err);
