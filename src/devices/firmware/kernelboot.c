/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/firmware/kernelboot.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/firmware/kernelunpack.h"
#include "devices/firmware/optrom/optrom.h"

#define SETUP_ADDR    0x10000u
#define CMDLINE_ADDR  0x20000u
#define KERNEL_ADDR   0x100000u
#define FIRMWARE_KEEP 0x100000u               /* firmware's tables at the end of RAM */
#define CMDLINE_LIMIT 0x10000u
#define SECTOR        512u

/* The setup header of the boot protocol. */
enum {
    HDR_SETUP_SECTS = 0x1f1, HDR_SYSSIZE = 0x1f4, HDR_BOOT_FLAG = 0x1fe, HDR_MAGIC = 0x202, HDR_VERSION = 0x206,
    HDR_TYPE_OF_LOADER = 0x210, HDR_LOADFLAGS = 0x211, HDR_CODE32_START = 0x214, HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c, HDR_HEAP_END_PTR = 0x224, HDR_CMD_LINE_PTR = 0x228, HDR_INITRD_ADDR_MAX = 0x22c,
    HDR_ALIGNMENT = 0x230, HDR_XLOADFLAGS = 0x236, HDR_CMDLINE_SIZE = 0x238, HDR_PAYLOAD_OFFSET = 0x248, HDR_PAYLOAD_LENGTH = 0x24c,
    HDR_PREF_ADDRESS = 0x258, HDR_INIT_SIZE = 0x260, HDR_END = 0x268,
};
#define LOADED_HIGH   0x01u
#define CAN_USE_HEAP  0x80u
#define KERNEL_64     0x01u                   /* in xloadflags: has a 64-bit entry */
#define LOADER_OTHER  0xffu                   /* "undefined": we have no number */

struct bzimage {
    uint16_t version;
    size_t setup_len, kernel_len;
    uint64_t initrd_max, kernel_end;          /* last byte usable for the initrd; end of what the kernel needs */
    size_t cmdline_max;
};

static void keep(void *data, size_t len) { }

int gh_kernelboot_piece(struct gh_fw_cfg *fw, uint16_t addr_key, uint16_t size_key, uint16_t data_key, uint32_t addr,
                        const void *data, size_t len, bool copy, struct gh_error *err)
{
    struct gh_fw_cfg_item item = { .data = data, .len = len, .release = copy ? NULL : keep };
    int r = gh_fw_cfg_u32(fw, addr_key, addr, err);
    if (r == 0)
        r = gh_fw_cfg_u32(fw, size_key, (uint32_t)len, err);
    if (r == 0)
        r = gh_fw_cfg_add(fw, data_key, &item, err);
    return r;
}

uint64_t gh_kernelboot_ram_end(const struct gh_kernelboot *k)
{
    return k->ram_below_4g > 2 * FIRMWARE_KEEP ? k->ram_below_4g - FIRMWARE_KEEP : 0;
}

static int bad_kernel(struct gh_error *err, const char *id, const char *what)
{
    return gh_error_option(err, -EINVAL, id, "kernel", "The kernel image %s, so it cannot be started; "
                           "choose a Linux bzImage (the file /boot/vmlinuz-* of a distribution).", what);
}

static int parse(const struct gh_kernelboot *k, struct bzimage *ret, struct gh_error *err)
{
    const uint8_t *p = k->kernel;
    *ret = (struct bzimage){ .initrd_max = 0x37ffffff, .cmdline_max = 255 };
    if (k->kernel_len >= 4 && !memcmp(p, "\177ELF", 4))
        return bad_kernel(err, "KernelInvalid", GH_WORD("is an ELF file without a Multiboot header"));
    if (k->kernel_len >= 2 && p[0] == 0x1f && p[1] == 0x8b)
        return bad_kernel(err, "KernelInvalid", GH_WORD("is a compressed file"));
    if (k->kernel_len < HDR_END)
        return bad_kernel(err, "KernelTruncated", GH_WORD("is too short"));
    if (gh_le16_get(p + HDR_BOOT_FLAG) != 0xaa55 || memcmp(p + HDR_MAGIC, "HdrS", 4))
        return bad_kernel(err, "KernelInvalid", GH_WORD("has no Linux setup header"));
    ret->version = gh_le16_get(p + HDR_VERSION);
    if (ret->version < 0x200 || !(p[HDR_LOADFLAGS] & LOADED_HIGH))
        return bad_kernel(err, "KernelTooOld", GH_WORD("uses a boot protocol that is too old"));
    unsigned sectors = p[HDR_SETUP_SECTS] ? p[HDR_SETUP_SECTS] : 4;
    ret->setup_len = (sectors + 1u) * SECTOR;
    if (ret->setup_len > 0x8000 + SECTOR || k->kernel_len <= ret->setup_len)
        return bad_kernel(err, "KernelTruncated", GH_WORD("ends inside its setup code"));
    ret->kernel_len = k->kernel_len - ret->setup_len;
    uint64_t stated = (uint64_t)(ret->version >= 0x204 ? gh_le32_get(p + HDR_SYSSIZE) : gh_le16_get(p + HDR_SYSSIZE)) * 16;
    if (stated > ret->kernel_len + 15)
        return bad_kernel(err, "KernelTruncated", GH_WORD("is shorter than its header says"));
    ret->kernel_end = KERNEL_ADDR + (uint64_t)ret->kernel_len;
    if (ret->version >= 0x203)
        ret->initrd_max = gh_le32_get(p + HDR_INITRD_ADDR_MAX);
    if (ret->version >= 0x206 && gh_le32_get(p + HDR_CMDLINE_SIZE))
        ret->cmdline_max = gh_le32_get(p + HDR_CMDLINE_SIZE);
    if (ret->version >= 0x20a) {              /* where it unpacks itself */
        uint64_t end;
        if (!gh_add_u64(gh_le64_get(p + HDR_PREF_ADDRESS), gh_le32_get(p + HDR_INIT_SIZE), &end))
            return bad_kernel(err, "KernelInvalid", GH_WORD("has a header with impossible addresses"));
        if (end > ret->kernel_end)
            ret->kernel_end = end;
    }
    return 0;
}

static int no_room(const struct gh_kernelboot *k, uint64_t need, struct gh_error *err)
{
    return gh_error_option(err, -ENOSPC, "KernelNoRoom", "memory",
                           "Kernel and initial RAM disk need %llu MiB below 4 GiB and the machine has %llu MiB there; "
                           "give the machine more memory.", (unsigned long long)(need + 0xfffff) >> 20,
                           (unsigned long long)k->ram_below_4g >> 20);
}

static int place_initrd(const struct gh_kernelboot *k, const struct bzimage *z, uint32_t *ret_addr, struct gh_error *err)
{
    uint64_t end = gh_kernelboot_ram_end(k);
    uint64_t need = z->kernel_end + k->initrd_len + FIRMWARE_KEEP;
    if (z->kernel_end > end)
        return no_room(k, need, err);
    if (z->initrd_max + 1 < end)
        end = z->initrd_max + 1;
    *ret_addr = 0;
    if (!k->initrd_len)
        return 0;
    if (k->initrd_len > end || ((end - k->initrd_len) & ~0xfffull) < z->kernel_end)
        return no_room(k, need, err);
    *ret_addr = (uint32_t)((end - k->initrd_len) & ~0xfffull);
    return 0;
}

/* A word of the command line. */
static bool has_word(const char *line, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = line; (at = strstr(at, word)); at += len)
        if ((at == line || at[-1] == ' ') && (!at[len] || at[len] == ' '))
            return true;
    return false;
}

/* NULL: the kernel unpacks itself. */
static struct gh_kernel_image *unpack(const struct gh_kernelboot *k, const struct bzimage *z, uint32_t initrd_addr)
{
    const uint8_t *h = k->kernel;
    if (k->as_is || z->version < 0x20c || !(h[HDR_XLOADFLAGS] & KERNEL_64))
        return NULL;
    uint32_t offset = gh_le32_get(h + HDR_PAYLOAD_OFFSET), len = gh_le32_get(h + HDR_PAYLOAD_LENGTH);
    if (offset > z->kernel_len || len > z->kernel_len - offset)
        return NULL;
    return gh_kernel_unpack(&(struct gh_kernel_packed){
        .payload = h + z->setup_len + offset, .payload_len = len, .pref_address = gh_le64_get(h + HDR_PREF_ADDRESS),
        .init_size = gh_le32_get(h + HDR_INIT_SIZE), .alignment = gh_le32_get(h + HDR_ALIGNMENT),
        .ram_end = initrd_addr ? initrd_addr : gh_kernelboot_ram_end(k), .randomize = !has_word(k->cmdline ? k->cmdline : "", "nokaslr"),
    });
}

static int publish_unpacked(struct gh_fw_cfg *fw, struct gh_kernel_image *image, struct gh_error *err)
{
    struct gh_fw_cfg_item item = { .len = gh_kernel_image_len(image), .open = gh_kernel_image_open, .close = gh_kernel_image_close,
                                   .free = gh_kernel_image_free, .opaque = image };
    int r = gh_fw_cfg_u32(fw, GH_FW_KERNEL_ADDR, gh_kernel_image_address(image), err);
    if (r == 0)
        r = gh_fw_cfg_u32(fw, GH_FW_KERNEL_SIZE, (uint32_t)item.len, err);
    if (r == 0)
        r = gh_fw_cfg_add(fw, GH_FW_KERNEL_DATA, &item, err);
    if (r < 0)
        gh_kernel_image_free(image);
    return r;
}

static int publish_linux(struct gh_fw_cfg *fw, const struct gh_kernelboot *k, struct gh_error *err)
{
    struct bzimage z;
    const char *cmdline = k->cmdline ? k->cmdline : "";
    size_t cmdline_len = strlen(cmdline);
    uint32_t initrd_addr;
    int r = parse(k, &z, err);
    if (r == 0)
        r = place_initrd(k, &z, &initrd_addr, err);
    if (r < 0)
        return r;
    if (cmdline_len > z.cmdline_max || cmdline_len >= CMDLINE_LIMIT)
        return gh_error_option(err, -EINVAL, "KernelCommandLine", "append",
                               "The kernel command line has %zu characters and this kernel takes at most %zu; shorten it.",
                               cmdline_len, z.cmdline_max);
    uint8_t *setup = malloc(z.setup_len);
    if (!setup)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the kernel's setup code; close other programs.");
    memcpy(setup, k->kernel, z.setup_len);
    setup[HDR_TYPE_OF_LOADER] = LOADER_OTHER;
    gh_le32_put(setup + HDR_RAMDISK_IMAGE, initrd_addr);
    gh_le32_put(setup + HDR_RAMDISK_SIZE, (uint32_t)k->initrd_len);
    if (z.version >= 0x201) {
        setup[HDR_LOADFLAGS] |= CAN_USE_HEAP;
        gh_le16_put(setup + HDR_HEAP_END_PTR, (uint16_t)(CMDLINE_ADDR - SETUP_ADDR - 16 - 0x200));
    }
    if (z.version >= 0x202) {
        gh_le32_put(setup + HDR_CMD_LINE_PTR, CMDLINE_ADDR);
    } else {
        gh_le16_put(setup + 0x20, 0xa33f);    /* the old way: magic, and offset from the setup segment */
        gh_le16_put(setup + 0x22, (uint16_t)(CMDLINE_ADDR - SETUP_ADDR));
    }
    struct gh_kernel_image *image = unpack(k, &z, initrd_addr);
    if (image)
        gh_le32_put(setup + HDR_CODE32_START, gh_kernel_image_address(image));
    r = gh_kernelboot_piece(fw, GH_FW_SETUP_ADDR, GH_FW_SETUP_SIZE, GH_FW_SETUP_DATA, SETUP_ADDR, setup, z.setup_len, true, err);
    free(setup);
    if (r < 0)
        gh_kernel_image_free(image);
    else if (image)
        r = publish_unpacked(fw, image, err);
    else
        r = gh_kernelboot_piece(fw, GH_FW_KERNEL_ADDR, GH_FW_KERNEL_SIZE, GH_FW_KERNEL_DATA, KERNEL_ADDR,
                                k->kernel + z.setup_len, z.kernel_len, false, err);
    if (r == 0)
        r = gh_kernelboot_piece(fw, GH_FW_INITRD_ADDR, GH_FW_INITRD_SIZE, GH_FW_INITRD_DATA, initrd_addr,
                                k->initrd, k->initrd_len, false, err);
    if (r == 0)
        r = gh_kernelboot_piece(fw, GH_FW_CMDLINE_ADDR, GH_FW_CMDLINE_SIZE, GH_FW_CMDLINE_DATA, CMDLINE_ADDR,
                                cmdline, cmdline_len + 1, true, err);
    return r == 0 ? gh_fw_cfg_u32(fw, GH_FW_KERNEL_ENTRY, 0, err) : r;
}

int gh_kernelboot_publish(struct gh_fw_cfg *fw, const struct gh_kernelboot *k, struct gh_error *err)
{
    if (k->initrd_len > UINT32_MAX || k->kernel_len > UINT32_MAX)
        return bad_kernel(err, "KernelInvalid", GH_WORD("or the initial RAM disk is larger than 4 GiB"));
    long header = gh_multiboot_find(k->kernel, k->kernel_len);
    int r = header >= 0 ? gh_multiboot_publish(fw, k, header, err) : publish_linux(fw, k, err);
    return r == 0 ? gh_fw_cfg_file(fw, GH_KERNELBOOT_ROM, gh_optrom_linuxboot, gh_optrom_linuxboot_bytes, err) : r;
}
