/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Left out on purpose: the old writable data port (only DMA writes, and only to items that allow it).
 * The contents of items are the machine's and not part of a saved state; the guest's position is.
 */
#include "devices/firmware/fw_cfg.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/classes.h"

enum { RANGE_PORTS, RANGE_DMA };
enum {
    CONTROL_PORT = 0x510, DMA_PORT = 0x514,
    ITEMS_MAX = GH_FW_FILES_MAX + 40,
    DIR_ENTRY = 64, DIR_NAME = 8,
    PADDING_MAX = 64 << 10,                    /* zeros that a DMA read may get after an item's end */
};

#define KEY_INVALID     0xffffu
#define KEY_WRITE_FLAG  0x4000u               /* old "write channel": same item */
#define ID_TRADITIONAL  1u
#define ID_DMA          2u
#define DMA_ERROR       0x01u
#define DMA_READ        0x02u
#define DMA_SKIP        0x04u
#define DMA_SELECT      0x08u
#define DMA_WRITE       0x10u

struct item {
    uint16_t key;
    uint8_t *data;
    size_t len;
    bool writable;
    void (*release)(void *data, size_t len);
    void (*selected)(void *opaque);
    const uint8_t *(*open)(void *opaque);
    void (*close)(void *opaque);
    void (*free)(void *opaque);
    void *opaque;
};

struct gh_fw_cfg {
    struct item item[ITEMS_MAX];
    unsigned items;
    char name[GH_FW_FILES_MAX][GH_FW_NAME_MAX + 1];
    unsigned files;
    uint16_t selected;
    uint32_t offset;
    uint64_t dma_address;
};

static const struct gh_field fw_cfg_fields[] = {
    GH_FIELD(GH_T_U16, struct gh_fw_cfg, selected, 1),
    GH_FIELD(GH_T_U32, struct gh_fw_cfg, offset, 1),
    GH_FIELD(GH_T_U64, struct gh_fw_cfg, dma_address, 1),
    { 0 },
};

/* ---- Items ---------------------------------------------------------------------------------------- */

static struct item *find_item(struct gh_fw_cfg *fw, uint16_t key)
{
    for (unsigned i = 0; i < fw->items; i++)
        if (fw->item[i].key == key)
            return &fw->item[i];
    return NULL;
}

static void free_copy(void *data, size_t len)
{
    free(data);
}

static void drop_data(struct item *item)
{
    if (item->free)
        item->free(item->opaque);
    else if (item->release)
        item->release(item->data, item->len);
    item->data = NULL;
    item->len = 0;
}

int gh_fw_cfg_add(struct gh_fw_cfg *fw, uint16_t key, const struct gh_fw_cfg_item *desc, struct gh_error *err)
{
    struct item *item = find_item(fw, key);
    if (!item && fw->items == ITEMS_MAX)
        return gh_error_set(err, -ENOSPC, "FirmwareItemsFull",
                            "There are more than %u firmware items; remove boot files or options.", ITEMS_MAX);
    uint8_t *data = (uint8_t *)desc->data;
    if (!desc->release && !desc->open && desc->len) {
        data = malloc(desc->len);
        if (!data)
            return gh_error_set(err, -ENOMEM, "OutOfMemory",
                                "There is no memory for a firmware item of %zu bytes; close other programs.", desc->len);
        memcpy(data, desc->data, desc->len);
    }
    if (item)
        drop_data(item);
    else
        item = &fw->item[fw->items++];
    *item = (struct item){ .key = key, .data = data, .len = desc->len, .writable = desc->writable,
                           .release = desc->release ? desc->release : free_copy,
                           .selected = desc->selected, .open = desc->open, .close = desc->close, .free = desc->free,
                           .opaque = desc->opaque };
    return 0;
}

/* Firmware searches the directory by name; keys follow the order in which files were added. */
static int write_directory(struct gh_fw_cfg *fw, struct gh_error *err)
{
    uint8_t dir[4 + GH_FW_FILES_MAX * DIR_ENTRY] = { 0 };
    gh_be32_put(dir, fw->files);
    for (unsigned i = 0; i < fw->files; i++) {
        uint8_t *entry = dir + 4 + i * DIR_ENTRY;
        struct item *item = find_item(fw, (uint16_t)(GH_FW_FILE_FIRST + i));
        gh_be32_put(entry, item ? (uint32_t)item->len : 0);
        gh_be16_put(entry + 4, (uint16_t)(GH_FW_FILE_FIRST + i));
        memcpy(entry + DIR_NAME, fw->name[i], strlen(fw->name[i]));
    }
    return gh_fw_cfg_bytes(fw, GH_FW_FILE_DIR, dir, 4 + fw->files * DIR_ENTRY, err);
}

static int file_index(const struct gh_fw_cfg *fw, const char *name)
{
    for (unsigned i = 0; i < fw->files; i++)
        if (!strcmp(fw->name[i], name))
            return (int)i;
    return -1;
}

int gh_fw_cfg_add_file(struct gh_fw_cfg *fw, const char *name, const struct gh_fw_cfg_item *desc, struct gh_error *err)
{
    size_t len = strlen(name);
    int index = file_index(fw, name);
    if (len > GH_FW_NAME_MAX || desc->len > UINT32_MAX)
        return gh_error_set(err, -ENAMETOOLONG, "FirmwareFileName",
                            "The firmware file \"%.64s\" has a name of %zu bytes (at most %d) or is too large.",
                            name, len, GH_FW_NAME_MAX);
    if (index < 0 && fw->files == GH_FW_FILES_MAX)
        return gh_error_set(err, -ENOSPC, "FirmwareFilesFull",
                            "There are already %d firmware files; \"%s\" does not fit.", GH_FW_FILES_MAX, name);
    unsigned n = index < 0 ? fw->files : (unsigned)index;
    int r = gh_fw_cfg_add(fw, (uint16_t)(GH_FW_FILE_FIRST + n), desc, err);
    if (r < 0)
        return r;
    if (index < 0) {
        memcpy(fw->name[n], name, len + 1);
        fw->files++;
    }
    return write_directory(fw, err);
}

int gh_fw_cfg_bytes(struct gh_fw_cfg *fw, uint16_t key, const void *data, size_t len, struct gh_error *err)
{
    return gh_fw_cfg_add(fw, key, &(struct gh_fw_cfg_item){ .data = data, .len = len }, err);
}

int gh_fw_cfg_file(struct gh_fw_cfg *fw, const char *name, const void *data, size_t len, struct gh_error *err)
{
    return gh_fw_cfg_add_file(fw, name, &(struct gh_fw_cfg_item){ .data = data, .len = len }, err);
}

int gh_fw_cfg_u16(struct gh_fw_cfg *fw, uint16_t key, uint16_t value, struct gh_error *err)
{
    value = htole16(value);
    return gh_fw_cfg_bytes(fw, key, &value, sizeof value, err);
}

int gh_fw_cfg_u32(struct gh_fw_cfg *fw, uint16_t key, uint32_t value, struct gh_error *err)
{
    value = htole32(value);
    return gh_fw_cfg_bytes(fw, key, &value, sizeof value, err);
}

int gh_fw_cfg_u64(struct gh_fw_cfg *fw, uint16_t key, uint64_t value, struct gh_error *err)
{
    value = htole64(value);
    return gh_fw_cfg_bytes(fw, key, &value, sizeof value, err);
}

uint8_t *gh_fw_cfg_data(struct gh_fw_cfg *fw, const char *name, size_t *ret_len)
{
    int index = file_index(fw, name);
    struct item *item = index < 0 ? NULL : find_item(fw, (uint16_t)(GH_FW_FILE_FIRST + index));
    if (ret_len)
        *ret_len = item ? item->len : 0;
    return item ? item->data : NULL;
}

/* ---- Guest side -------------------------------------------------------------------------------------- */

/* What the guest has read it need not find again before it selects it again. */
static void close_selected(struct gh_fw_cfg *fw)
{
    struct item *item = find_item(fw, fw->selected);
    if (item && item->close) {
        item->close(item->opaque);
        item->data = NULL;
    }
}

static void select_item(struct gh_fw_cfg *fw, uint16_t key)
{
    close_selected(fw);
    fw->selected = key & (uint16_t)~KEY_WRITE_FLAG;
    fw->offset = 0;
    struct item *item = find_item(fw, fw->selected);
    if (item && item->selected)
        item->selected(item->opaque);
    if (item && item->open)
        item->data = (uint8_t *)item->open(item->opaque);
}

static void advance(struct gh_fw_cfg *fw, uint32_t bytes)
{
    fw->offset = fw->offset > UINT32_MAX - bytes ? UINT32_MAX : fw->offset + bytes;
}

static size_t remaining(const struct gh_fw_cfg *fw, const struct item *item)
{
    return item && item->data && fw->offset < item->len ? item->len - fw->offset : 0;
}

/* Past the end, and for items that are not there, the data register reads zero. */
static uint8_t next_byte(struct gh_fw_cfg *fw)
{
    const struct item *item = find_item(fw, fw->selected);
    uint8_t byte = remaining(fw, item) ? item->data[fw->offset] : 0;
    advance(fw, 1);
    return byte;
}

static bool fw_cfg_ports(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct gh_fw_cfg *fw = dev->state;
    if (a->write) {
        if (a->offset != 0 || a->width != 2)
            return false;
        const uint8_t *last = a->count > 1 ? (const uint8_t *)a->data + (size_t)(a->count - 1) * 2 : NULL;
        select_item(fw, last ? gh_le16_get(last) : (uint16_t)a->value);
        return true;
    }
    if (a->offset != 1 || a->width != 1)
        return false;
    if (a->count > 1) {
        for (uint32_t i = 0; i < a->count; i++)
            ((uint8_t *)a->data)[i] = next_byte(fw);
    } else {
        a->value = next_byte(fw);
    }
    return true;
}

/* ---- DMA ------------------------------------------------------------------------------------------------ */

static bool dma_read(struct gh_device *dev, uint64_t to, uint32_t length)
{
    static const uint8_t zeros[4096];
    struct gh_fw_cfg *fw = dev->state;
    const struct item *item = find_item(fw, fw->selected);
    size_t have = remaining(fw, item);
    if (have > length)
        have = length;
    size_t padding = length - have;
    if (padding > PADDING_MAX || (have && !gh_dma_write(dev, to, item->data + fw->offset, have)))
        return false;
    for (uint64_t at = to + have; padding; ) {
        size_t n = padding < sizeof zeros ? padding : sizeof zeros;
        if (!gh_dma_write(dev, at, zeros, n))
            return false;
        at += n;
        padding -= n;
    }
    advance(fw, length);
    return true;
}

static bool dma_write(struct gh_device *dev, uint64_t from, uint32_t length)
{
    struct gh_fw_cfg *fw = dev->state;
    struct item *item = find_item(fw, fw->selected);
    if (!item || !item->writable || length > remaining(fw, item) ||
        !gh_dma_read(dev, from, item->data + fw->offset, length))
        return false;
    advance(fw, length);
    return true;
}

/* The descriptor, big endian: 0 control (key in the upper half), 4 length, 8 address. */
static void run_dma(struct gh_device *dev)
{
    struct gh_fw_cfg *fw = dev->state;
    uint64_t at = fw->dma_address;
    uint8_t descriptor[16], status[4];
    bool ok = true;
    fw->dma_address = 0;
    if (!gh_dma_read(dev, at, descriptor, sizeof descriptor)) {
        gh_guest_error(dev, "DMA descriptor at %#llx is not in RAM", (unsigned long long)at);
        return;
    }
    uint32_t control = gh_be32_get(descriptor), length = gh_be32_get(descriptor + 4);
    uint64_t address = gh_be64_get(descriptor + 8);
    if (control & DMA_SELECT)
        select_item(fw, (uint16_t)(control >> 16));
    if (control & DMA_READ)
        ok = dma_read(dev, address, length);
    else if (control & DMA_WRITE)
        ok = dma_write(dev, address, length);
    else if (control & DMA_SKIP)
        advance(fw, length);
    if (!ok)
        gh_guest_error(dev, "DMA of %u bytes at %#llx failed, item %#x", length, (unsigned long long)address, fw->selected);
    gh_be32_put(status, ok ? 0 : DMA_ERROR);
    gh_dma_write(dev, at, status, sizeof status);
}

static bool fw_cfg_dma(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    static const uint8_t signature[8] = "QEMU CFG";
    struct gh_fw_cfg *fw = dev->state;
    if (!a->write) {
        a->value = 0;
        memcpy(&a->value, signature + a->offset, a->width);
        return true;
    }
    if (a->width != 4 || a->offset % 4)
        return false;
    uint32_t half = be32toh((uint32_t)a->value);
    if (a->offset == 0) {
        fw->dma_address = (uint64_t)half << 32;
        return true;
    }
    fw->dma_address = (fw->dma_address & 0xffffffff00000000ull) | half;
    run_dma(dev);
    return true;
}

/* ---- Life -------------------------------------------------------------------------------------------------- */

static int fw_cfg_attach(struct gh_device *dev, struct gh_error *err)
{
    struct gh_fw_cfg *fw = dev->state;
    static const struct gh_range_desc ranges[] = {
        [RANGE_PORTS] = { .name = "fw-cfg", .space = GH_SPACE_PIO, .base = CONTROL_PORT, .size = 2,
                          .widths = GH_W8 | GH_W16, .repeat = true, .fn = fw_cfg_ports },
        [RANGE_DMA] = { .name = "fw-cfg-dma", .space = GH_SPACE_PIO, .base = DMA_PORT, .size = 8,
                        .widths = GH_W8 | GH_W16 | GH_W32, .fn = fw_cfg_dma },
    };
    int r;
    for (unsigned i = 0; i < GH_ARRAY_LEN(ranges); i++)
        if ((r = gh_range_add(dev, i, &ranges[i], err)) < 0)
            return r;
    if ((r = gh_fw_cfg_bytes(fw, GH_FW_SIGNATURE, "QEMU", 4, err)) < 0 ||
        (r = gh_fw_cfg_u32(fw, GH_FW_ID, ID_TRADITIONAL | ID_DMA, err)) < 0 || (r = write_directory(fw, err)) < 0)
        return r;
    dev->ops->provide(dev->board, "fw_cfg", fw);
    return 0;
}

static void fw_cfg_reset(struct gh_device *dev, enum gh_reset why)
{
    struct gh_fw_cfg *fw = dev->state;
    close_selected(fw);
    fw->selected = KEY_INVALID;
    fw->offset = 0;
    fw->dma_address = 0;
}

static void fw_cfg_detach(struct gh_device *dev)
{
    struct gh_fw_cfg *fw = dev->state;
    for (unsigned i = 0; i < fw->items; i++)
        drop_data(&fw->item[i]);
    fw->items = fw->files = 0;
}

const struct gh_device_class gh_class_fw_cfg = {
    .name = "fw_cfg", .summary = "Firmware configuration interface", .state_size = sizeof(struct gh_fw_cfg),
    .version = 1, .saved = fw_cfg_fields, .attach = fw_cfg_attach, .reset = fw_cfg_reset, .detach = fw_cfg_detach,
};
