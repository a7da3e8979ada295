/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Multiboot Specification 0.6.96: images with addresses in their header, or ELF32. The initial RAM disk
 * becomes the one module. Left out on purpose: video modes, drives, the APM table.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/firmware/kernelboot.h"

#define MB_SEARCH       8192u
#define MB_MAGIC        0x1badb002u
#define MB_UNSUPPORTED  0x0000fff8u           /* required features that nobody defined (bits 3..15) */
#define MB_ADDRESSES    0x00010000u
#define IMAGE_MAX       (256u << 20)
#define ELF_HEADERS_MAX 64u
#define LOW_START       0x1000u
#define LOW_END         0x9d000u              /* linuxboot.S works there */
#define HIGH_START      0x100000u
#define PROGRAM_NAME    "program"             /* programs expect their own name before the arguments, as GRUB puts it */

/* The information structure, what follows it, and their places in one piece. */
enum { INFO_BYTES = 116, MMAP_ENTRY = 24, MMAP_ENTRIES = 3, MODULE_BYTES = 16,
       AT_MMAP = 120, AT_MODULE = AT_MMAP + MMAP_ENTRY * MMAP_ENTRIES, AT_NAME = AT_MODULE + MODULE_BYTES,
       NAME_BYTES = 16, AT_CMDLINE = AT_NAME + NAME_BYTES };
enum { INFO_MEM = 1 << 0, INFO_CMDLINE = 1 << 2, INFO_MODS = 1 << 3, INFO_MMAP = 1 << 6, INFO_NAME = 1 << 9 };

struct image { uint8_t *data; size_t len; uint32_t addr, entry; };

long gh_multiboot_find(const uint8_t *image, size_t len)
{
    size_t end = len < MB_SEARCH ? len : MB_SEARCH;
    for (size_t at = 0; at + 12 <= end; at += 4)
        if (gh_le32_get(image + at) == MB_MAGIC &&
            gh_le32_get(image + at) + gh_le32_get(image + at + 4) + gh_le32_get(image + at + 8) == 0)
            return (long)at;
    return -1;
}

static int invalid(struct gh_error *err, const char *what)
{
    return gh_error_option(err, -EINVAL, "KernelInvalid", "kernel",
                           "The Multiboot kernel %s, so it cannot be started; build or choose another image.", what);
}

/* Room for [addr, addr + len) in RAM: above 1 MiB, or between what the BIOS keeps for itself and what the option ROM
 * works in; the image starts as zeros. */
static int new_image(const struct gh_kernelboot *k, uint64_t addr, uint64_t len, struct image *ret, struct gh_error *err)
{
    if (!len || len > IMAGE_MAX)
        return invalid(err, "is empty or larger than 256 MiB");
    if (addr < LOW_START || (addr < HIGH_START && addr + len > LOW_END))
        return invalid(err, "wants memory that the firmware needs (free are 4 KiB to 628 KiB, and 1 MiB on)");
    if (addr + len > gh_kernelboot_ram_end(k))
        return gh_error_option(err, -ENOSPC, "KernelNoRoom", "memory",
                               "The Multiboot kernel reaches up to %#llx and the machine has %llu MiB; give it more memory.",
                               (unsigned long long)(addr + len), (unsigned long long)k->ram_below_4g >> 20);
    *ret = (struct image){ .data = calloc(1, len), .len = len, .addr = (uint32_t)addr };
    return ret->data ? 0 : gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for a kernel of %llu bytes; "
                                        "close other programs.", (unsigned long long)len);
}

static int load_addressed(const struct gh_kernelboot *k, long header, struct image *ret, struct gh_error *err)
{
    const uint8_t *h = k->kernel + header;
    if (!gh_range_in((uint64_t)header, 32, k->kernel_len))
        return invalid(err, "ends inside its header");
    uint32_t header_addr = gh_le32_get(h + 12), load = gh_le32_get(h + 16), load_end = gh_le32_get(h + 20);
    uint32_t bss_end = gh_le32_get(h + 24);
    if (header_addr < load || header_addr - load > (uint64_t)header)
        return invalid(err, "has a header with impossible addresses");
    uint64_t offset = (uint64_t)header - (header_addr - load);
    uint64_t bytes = load_end ? (uint64_t)load_end - load : k->kernel_len - offset;
    if ((load_end && load_end < load) || !gh_range_in(offset, bytes, k->kernel_len))
        return invalid(err, "is shorter than its header says");
    uint64_t total = bss_end > load + bytes ? (uint64_t)bss_end - load : bytes;
    int r = new_image(k, load, total, ret, err);
    if (r < 0)
        return r;
    memcpy(ret->data, k->kernel + offset, bytes);
    ret->entry = gh_le32_get(h + 28);
    return 0;
}

struct segment { uint32_t offset, addr, file_bytes, bytes; };

static bool elf_segment(const struct gh_kernelboot *k, uint64_t at, struct segment *ret)
{
    const uint8_t *p = k->kernel + at;
    *ret = (struct segment){ gh_le32_get(p + 4), gh_le32_get(p + 12), gh_le32_get(p + 16), gh_le32_get(p + 20) };
    return gh_le32_get(p) == 1 && ret->bytes;                 /* PT_LOAD */
}

static int load_elf(const struct gh_kernelboot *k, struct image *ret, struct gh_error *err)
{
    const uint8_t *p = k->kernel;
    if (k->kernel_len < 52 || memcmp(p, "\177ELF\1\1", 6) || gh_le16_get(p + 18) != 3)
        return invalid(err, "is neither ELF32 for x86 nor has addresses in its header");
    uint32_t table = gh_le32_get(p + 28), stride = gh_le16_get(p + 42), count = gh_le16_get(p + 44);
    if (stride < 32 || !count || count > ELF_HEADERS_MAX || !gh_range_in(table, (uint64_t)stride * count, k->kernel_len))
        return invalid(err, "has a damaged program header table");
    uint64_t low = UINT64_MAX, high = 0;
    struct segment s;
    for (uint32_t i = 0; i < count; i++) {
        if (!elf_segment(k, table + (uint64_t)i * stride, &s))
            continue;
        if (s.file_bytes > s.bytes || !gh_range_in(s.offset, s.file_bytes, k->kernel_len))
            return invalid(err, "has a segment that is not in the file");
        low = s.addr < low ? s.addr : low;
        high = (uint64_t)s.addr + s.bytes > high ? (uint64_t)s.addr + s.bytes : high;
    }
    if (low >= high)
        return invalid(err, "has nothing to load");
    int r = new_image(k, low, high - low, ret, err);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < count; i++)
        if (elf_segment(k, table + (uint64_t)i * stride, &s))
            memcpy(ret->data + (s.addr - low), p + s.offset, s.file_bytes);
    ret->entry = gh_le32_get(p + 24);
    return 0;
}

static void mmap_entry(uint8_t *p, uint64_t base, uint64_t bytes)
{
    gh_le32_put(p, MMAP_ENTRY - 4);
    gh_le64_put(p + 4, base);
    gh_le64_put(p + 12, bytes);
    gh_le32_put(p + 20, 1);                   /* usable */
}

/* Information, memory map, module list, command line, then the module on a page of its own. */
static int publish_info(struct gh_fw_cfg *fw, const struct gh_kernelboot *k, const struct image *image, struct gh_error *err)
{
    const char *arguments = k->cmdline ? k->cmdline : "";
    uint64_t end = ((uint64_t)image->addr + image->len + 0xfff) & ~0xfffull, base = end > HIGH_START ? end : HIGH_START;
    uint64_t module_at = (AT_CMDLINE + sizeof PROGRAM_NAME + 1 + strlen(arguments) + 0xfff) & ~0xfffull;
    uint64_t total = module_at + k->initrd_len;
    if (base + total > gh_kernelboot_ram_end(k))
        return gh_error_option(err, -ENOSPC, "KernelNoRoom", "memory",
                               "Kernel and module reach up to %#llx and the machine has %llu MiB; give it more memory.",
                               (unsigned long long)(base + total), (unsigned long long)k->ram_below_4g >> 20);
    uint8_t *info = calloc(1, total);
    if (!info)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for a module of %zu bytes; "
                            "close other programs.", k->initrd_len);
    uint32_t at = (uint32_t)base;
    gh_le32_put(info, INFO_MEM | INFO_CMDLINE | INFO_MMAP | INFO_NAME | (k->initrd ? INFO_MODS : 0));
    gh_le32_put(info + 4, 639);
    gh_le32_put(info + 8, (uint32_t)((gh_kernelboot_ram_end(k) - 0x100000) >> 10));
    gh_le32_put(info + 16, at + AT_CMDLINE);
    gh_le32_put(info + 20, k->initrd ? 1 : 0);
    gh_le32_put(info + 24, at + AT_MODULE);
    gh_le32_put(info + 44, MMAP_ENTRY * (k->ram_above_4g ? 3u : 2u));
    gh_le32_put(info + 48, at + AT_MMAP);
    gh_le32_put(info + 64, at + AT_NAME);
    mmap_entry(info + AT_MMAP, 0, 639 * 1024);
    mmap_entry(info + AT_MMAP + MMAP_ENTRY, 0x100000, gh_kernelboot_ram_end(k) - 0x100000);
    mmap_entry(info + AT_MMAP + 2 * MMAP_ENTRY, 1ull << 32, k->ram_above_4g);
    gh_le32_put(info + AT_MODULE, at + (uint32_t)module_at);
    gh_le32_put(info + AT_MODULE + 4, at + (uint32_t)total);
    gh_le32_put(info + AT_MODULE + 8, at + AT_NAME);
    memcpy(info + AT_NAME, "gasthaus", 9);
    memcpy(info + AT_CMDLINE, PROGRAM_NAME " ", sizeof PROGRAM_NAME);
    memcpy(info + AT_CMDLINE + sizeof PROGRAM_NAME, arguments, strlen(arguments) + 1);
    if (k->initrd_len)
        memcpy(info + module_at, k->initrd, k->initrd_len);
    int r = gh_kernelboot_piece(fw, GH_FW_INITRD_ADDR, GH_FW_INITRD_SIZE, GH_FW_INITRD_DATA, at, info, total, true, err);
    free(info);
    return r;
}

int gh_multiboot_publish(struct gh_fw_cfg *fw, const struct gh_kernelboot *k, long header, struct gh_error *err)
{
    struct image image = { 0 };
    uint32_t flags = gh_le32_get(k->kernel + header + 4);
    if (flags & MB_UNSUPPORTED)
        return invalid(err, "requires Multiboot features that do not exist here");
    int r = flags & MB_ADDRESSES ? load_addressed(k, header, &image, err) : load_elf(k, &image, err);
    if (r < 0)
        return r;
    if (image.entry < image.addr || image.entry - image.addr >= image.len)
        r = invalid(err, "has an entry point outside of itself");
    if (r == 0)
        r = gh_kernelboot_piece(fw, GH_FW_KERNEL_ADDR, GH_FW_KERNEL_SIZE, GH_FW_KERNEL_DATA, image.addr,
                                image.data, image.len, true, err);
    if (r == 0)
        r = publish_info(fw, k, &image, err);
    if (r == 0)
        r = gh_fw_cfg_u32(fw, GH_FW_KERNEL_ENTRY, image.entry, err);
    /* What a Linux kernel would have used is not there. */
    if (r == 0)
        r = gh_fw_cfg_u32(fw, GH_FW_SETUP_SIZE, 0, err);
    if (r == 0)
        r = gh_fw_cfg_u32(fw, GH_FW_CMDLINE_SIZE, 0, err);
    free(image.data);
    return r;
}
