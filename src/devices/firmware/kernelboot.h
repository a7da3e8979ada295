/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Booting a kernel that is given with the machine: a Linux bzImage (the kernel's x86 boot protocol, 2.00
 * and later, loaded high) or a Multiboot 1 image (ELF32, or addresses in its header). Publishes the
 * pieces through fw_cfg, patched and with their addresses, and the option ROM that fetches them.
 *
 * Machine lock. kernel and initrd are not copied: they must stay until the fw_cfg device is detached.
 * Both come from a file and are not trusted: every length is checked against the image.
 */
#pragma once
#include "devices/firmware/fw_cfg.h"

#define GH_KERNELBOOT_ROM "genroms/linuxboot.bin"
#define GH_KERNELBOOT_BOOT_PATH "/rom@genroms/linuxboot.bin"   /* its line in "bootorder" */

struct gh_kernelboot {
    const uint8_t *kernel;
    size_t kernel_len;
    const uint8_t *initrd;                    /* NULL: none */
    size_t initrd_len;
    const char *cmdline;                      /* NULL: empty */
    uint64_t ram_below_4g, ram_above_4g;
    bool as_is;                               /* a Linux kernel unpacks itself, in the guest; else the host does, where it can */
};

/* -EINVAL (KernelInvalid, KernelTooOld, KernelTruncated, KernelCommandLine) or -ENOSPC (KernelNoRoom). */
int gh_kernelboot_publish(struct gh_fw_cfg *fw, const struct gh_kernelboot *k, struct gh_error *err);

/* For kernelboot.c: the offset of a Multiboot header, -1: none. And its publishing. */
long gh_multiboot_find(const uint8_t *image, size_t len);
int  gh_multiboot_publish(struct gh_fw_cfg *fw, const struct gh_kernelboot *k, long header, struct gh_error *err);
/* One piece: address, size and data under their keys; data is borrowed. */
int  gh_kernelboot_piece(struct gh_fw_cfg *fw, uint16_t addr_key, uint16_t size_key, uint16_t data_key, uint32_t addr,
                         const void *data, size_t len, bool copy, struct gh_error *err);
/* Where RAM that loaders may use ends, below 4 GiB: firmware keeps its tables above. */
uint64_t gh_kernelboot_ram_end(const struct gh_kernelboot *k);
