/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the machine tells its firmware: the BIOS image at the top of 4 GiB, and by fw_cfg and CMOS the
 * size of memory, CPUs, boot order, tables and the kernel of a direct boot.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/backend.h"
#include "devices/firmware/acpi.h"
#include "devices/firmware/fw_cfg.h"
#include "devices/firmware/kernelboot.h"
#include "devices/firmware/pcfw.h"
#include "devices/firmware/smbios.h"
#include "devices/timer/mc146818.h"
#include "engine/machine/machine_internal.h"

/* Where the kvm accelerator keeps its identity map and task segment; on every accelerator, so that a guest
 * finds the same machine. */
#define KVM_PIECE_BASE  0xfeffc000u
#define KVM_PIECE_BYTES 0x4000u

int gh_firmware_load(struct gh_machine *m, struct gh_error *err)
{
    const struct gh_blob *bios = &m->cfg.bios;

    if (bios->size < 0x10000 || bios->size > (16u << 20) || bios->size & 0xfff)
        return gh_error_set(err, -EINVAL, "FirmwareInvalid", "The firmware image has %zu bytes; it must have between 64 KiB and 16 MiB, in "
                            "whole pages.", bios->size);
    m->bios_host = gh_ram_alloc(&m->ram, bios->size, "BIOS", err);
    if (!m->bios_host)
        return -ENOMEM;
    m->bios_bytes = bios->size;
    memcpy(m->bios_host, bios->data, bios->size);
    struct gh_range_desc d = { .name = "BIOS", .space = GH_SPACE_MMIO, .kind = GH_RANGE_ROM, .base = (1ull << 32) - bios->size,
                               .size = bios->size, .host = m->bios_host, .priority = 1 };
    return gh_memmap_add(&m->map, &m->self, 110, &d) ? 0 : -ENOMEM;
}

static uint8_t floppy_type(const struct gh_machine *m, const char *name)
{
    for (unsigned i = 0; i < m->cfg.backend_count; i++) {
        const struct gh_backend_ref *b = &m->cfg.backends[i];
        if (b->type != GH_T_BLOCK || strcmp(b->name, name))
            continue;
        struct gh_block *block = b->handle;
        struct gh_block_info info = { 0 };
        block->ops->info(block, &info);
        if (info.bytes > 1474560)
            return 5;
        return info.bytes == 1228800 ? 2 : info.bytes == 737280 ? 3 : info.bytes == 368640 ? 1 : 4;
    }
    return 0;
}

/* CMOS bytes that PC firmware has read since the AT; SeaBIOS still does. */
static void tell_cmos(struct gh_machine *m, struct gh_rtc *rtc)
{
    static const char letters[] = "\0acdn"; /* 1 floppy, 2 disk, 3 CD, 4 network */
    uint64_t low = m->ram.below_4g;
    uint64_t ext_kib = low > (1u << 20) ? (low >> 10) - 1024 : 0, high = low > (16u << 20) ? (low - (16u << 20)) >> 16 : 0;
    uint8_t nibble[3] = { 0 }, floppies = (uint8_t)(floppy_type(m, "floppy0") << 4 | floppy_type(m, "floppy1"));

    if (ext_kib > 0xffff)
        ext_kib = 0xffff;
    gh_rtc_cmos_set(rtc, 0x15, 640 & 0xff);
    gh_rtc_cmos_set(rtc, 0x16, 640 >> 8);
    gh_rtc_cmos_set(rtc, 0x17, (uint8_t)ext_kib);
    gh_rtc_cmos_set(rtc, 0x18, (uint8_t)(ext_kib >> 8));
    gh_rtc_cmos_set(rtc, 0x30, (uint8_t)ext_kib);
    gh_rtc_cmos_set(rtc, 0x31, (uint8_t)(ext_kib >> 8));
    gh_rtc_cmos_set(rtc, 0x34, (uint8_t)high);
    gh_rtc_cmos_set(rtc, 0x35, (uint8_t)(high >> 8));
    for (unsigned i = 0; i < 3; i++)
        gh_rtc_cmos_set(rtc, 0x5b + i, (uint8_t)(m->ram.above_4g >> (16 + 8 * i)));
    gh_rtc_cmos_set(rtc, 0x5f, (uint8_t)(m->cfg.cpus - 1));
    gh_rtc_cmos_set(rtc, 0x10, floppies);
    gh_rtc_cmos_set(rtc, 0x14, (uint8_t)(0x06 | (floppies ? 1 | (floppies & 15 ? 0x40 : 0) : 0)));
    for (unsigned i = 0, n = 0; m->cfg.boot_order && m->cfg.boot_order[i] && n < 3; i++)
        for (uint8_t k = 1; k < 5; k++)
            if (letters[k] == m->cfg.boot_order[i])
                nibble[n++] = k;
    gh_rtc_cmos_set(rtc, 0x3d, (uint8_t)(nibble[0] | nibble[1] << 4));
    gh_rtc_cmos_set(rtc, 0x38, (uint8_t)(nibble[2] << 4));
}

static void *service(struct gh_machine *m, const char *name) { return gh_machine_board_ops.lookup(&m->board, name); }

static int tell_tables(struct gh_machine *m, struct gh_fw_cfg *fw, struct gh_error *err)
{
    struct gh_acpi_config acpi = {
        .cpus = m->cfg.cpus, .ram_below_4g = m->ram.below_4g, .hpet = gh_machine_device(m, "hpet") != NULL,
        .fdc = gh_machine_device(m, "fdc") != NULL, .pvpanic = true, .ps2 = true, .com = { true, true }, .pm = gh_machine_device(m, "pm"),
    };
    struct gh_smbios_config smbios = { .cpus = m->cfg.cpus, .ram_below_4g = m->ram.below_4g, .ram_above_4g = m->ram.above_4g };
    int r;

    memcpy(smbios.uuid, m->cfg.uuid, sizeof smbios.uuid);
    r = gh_acpi_publish(fw, &acpi, err);
    return r ? r : gh_smbios_publish(fw, &smbios, err);
}

/* UEFI starts a kernel as the PE program that its file is, so it must have that file. Its images begin with
 * the header of a firmware volume (UEFI PI 1.7 volume 3, 3.2.1). */
static bool is_uefi(const struct gh_machine *m)
{
    return m->cfg.vars.size || (m->cfg.bios.size > 44 && !memcmp((const uint8_t *)m->cfg.bios.data + 40, "_FVH", 4));
}

static int tell_kernel(struct gh_machine *m, struct gh_fw_cfg *fw, struct gh_error *err)
{
    struct gh_kernelboot boot = {
        .kernel = m->cfg.kernel.data, .kernel_len = m->cfg.kernel.size, .initrd = m->cfg.initrd.data,
        .initrd_len = m->cfg.initrd.size, .cmdline = m->cfg.cmdline, .ram_below_4g = m->ram.below_4g,
        .ram_above_4g = m->ram.above_4g, .as_is = m->cfg.kernel_as_is || is_uefi(m),
    };

    return m->cfg.kernel.size ? gh_kernelboot_publish(fw, &boot, err) : 0;
}

static int tell_board(struct gh_machine *m, struct gh_fw_cfg *fw, struct gh_error *err)
{
    struct gh_pcfw board = {
        .ram_below_4g = m->ram.below_4g, .ram_above_4g = m->ram.above_4g, .cpus = m->cfg.cpus, .retry_ms = -1,
        .reserved_base = KVM_PIECE_BASE, .reserved_bytes = KVM_PIECE_BYTES,
        .boot_order = m->cfg.kernel.size ? GH_KERNELBOOT_BOOT_PATH "\n" : NULL,
    };

    memcpy(board.uuid, m->cfg.uuid, sizeof board.uuid);
    return gh_pcfw_publish(fw, &board, err);
}

int gh_firmware_tables(struct gh_machine *m, struct gh_error *err)
{
    struct gh_fw_cfg *fw = service(m, "fw_cfg");
    struct gh_rtc *rtc = service(m, "rtc");

    if (!fw)
        return 0;
    int r = tell_board(m, fw, err);
    if (r == 0)
        r = tell_tables(m, fw, err);
    if (r == 0)
        r = tell_kernel(m, fw, err);
    if (r == 0 && rtc)
        tell_cmos(m, rtc);
    return r;
}

void gh_firmware_reset(struct gh_machine *m, enum gh_reset why)
{
    /* The guest may have written to the shadow, never to the image; CMOS keeps what firmware was told. */
    struct gh_rtc *rtc = service(m, "rtc");

    if (rtc)
        tell_cmos(m, rtc);
    if (rtc && why == GH_RESET_WAKE)
        gh_rtc_cmos_set(rtc, 0x0f, 0xfe);     /* SeaBIOS's code for "wake from S3" */
}
