/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fw_cfg: selector and data port, file directory, DMA with its failures, select callback. */
#include "check.h"
#include "devices/firmware/fw_cfg.h"
#include "fakeboard.h"

#include <errno.h>

enum { DESCRIPTOR = 0x5000, BUFFER = 0x8000 };

static unsigned selects;
static void note_select(void *opaque) { selects++; memcpy(opaque, "new!", 4); }
static unsigned releases;
static void note_release(void *data, size_t len) { releases++; }

static uint32_t dma(struct gh_board *b, uint32_t control, uint32_t length, uint64_t address)
{
    gh_be32_put(b->ram + DESCRIPTOR, control);
    gh_be32_put(b->ram + DESCRIPTOR + 4, length);
    gh_be64_put(b->ram + DESCRIPTOR + 8, address);
    fake_outl(b, 0x514, 0);
    fake_outl(b, 0x518, htobe32(DESCRIPTOR));
    return gh_be32_get(b->ram + DESCRIPTOR);
}

static void read_item(struct gh_board *b, uint16_t key, void *to, unsigned len)
{
    fake_outw(b, 0x510, key);
    fake_rep(b, 0x511, 1, false, len, to);
}

static uint16_t find_file(struct gh_board *b, const char *name, uint32_t *ret_size)
{
    uint8_t count[4], entry[64];
    read_item(b, GH_FW_FILE_DIR, count, 4);
    for (unsigned i = 0; i < gh_be32_get(count); i++) {
        fake_rep(b, 0x511, 1, false, 64, entry);
        if (!strcmp((char *)entry + 8, name)) {
            *ret_size = gh_be32_get(entry);
            return gh_be16_get(entry + 4);
        }
    }
    return 0;
}

int main(void)
{
    struct gh_board *b = fake_board_new();
    struct gh_device *dev = fake_add(b, "fw_cfg", "fw0", NULL);
    struct gh_fw_cfg *fw = fake_lookup_service(b, "fw_cfg");
    CHECK_FATAL(fw);
    uint8_t data[64] = { 0 };
    uint32_t size = 0;

    read_item(b, GH_FW_SIGNATURE, data, 6);
    CHECK(!memcmp(data, "QEMU\0\0", 6));
    read_item(b, GH_FW_ID, data, 4);
    CHECK_EQ(gh_le32_get(data), 3);
    CHECK_EQ(fake_inl(b, 0x514), 0x554d4551);
    read_item(b, 0x1234, data, 4);
    CHECK_EQ(gh_le32_get(data), 0);

    CHECK_EQ(gh_fw_cfg_u64(fw, GH_FW_RAM_SIZE, 1ull << 33, NULL), 0);
    read_item(b, GH_FW_RAM_SIZE, data, 8);
    CHECK_EQ(gh_le64_get(data), 1ull << 33);
    CHECK_EQ(gh_fw_cfg_file(fw, "etc/one", "first", 5, NULL), 0);
    CHECK_EQ(gh_fw_cfg_file(fw, "etc/two", "2", 1, NULL), 0);
    uint16_t key = find_file(b, "etc/one", &size);
    CHECK_EQ(size, 5);
    read_item(b, key, data, 5);
    CHECK(!memcmp(data, "first", 5));
    CHECK_EQ(gh_fw_cfg_file(fw, "etc/one", "replaced", 8, NULL), 0);
    CHECK_EQ(find_file(b, "etc/one", &size), key);
    CHECK_EQ(size, 8);
    CHECK_EQ(find_file(b, "etc/none", &size), 0);

    /* DMA: read with padding, skip, errors. */
    memset(b->ram + BUFFER, 0xee, 16);
    CHECK_EQ(dma(b, (uint32_t)key << 16 | 0x0a, 12, BUFFER), 0);
    CHECK(!memcmp(b->ram + BUFFER, "replaced\0\0\0\0\xee", 13));
    CHECK_EQ(dma(b, (uint32_t)key << 16 | 0x0c, 2, 0), 0);
    CHECK_EQ(dma(b, 0x02, 3, BUFFER), 0);
    CHECK(!memcmp(b->ram + BUFFER, "pla", 3));
    CHECK_EQ(dma(b, (uint32_t)key << 16 | 0x0a, 8, FAKE_RAM_BYTES - 4), 1);       /* half outside */
    CHECK_EQ(dma(b, (uint32_t)key << 16 | 0x0a, 8, 0xfffffffffffffffcull), 1);
    CHECK_EQ(dma(b, (uint32_t)key << 16 | 0x0a, 0xffffffff, 0), 1);
    CHECK_EQ(dma(b, (uint32_t)key << 16 | 0x0c, 0xffffffff, 0), 0);
    CHECK_EQ(dma(b, 0x04, 0xffffffff, 0), 0);                                     /* the position saturates */
    CHECK_EQ(dma(b, 0x02, 1, BUFFER), 0);
    CHECK_EQ(b->ram[BUFFER], 0);
    CHECK_EQ(dma(b, (uint32_t)key << 16 | 0x18, 4, BUFFER), 1);                   /* not writable */
    uint64_t errors = dev->guest_errors;
    fake_outl(b, 0x514, htobe32(0xffffffff));
    fake_outl(b, 0x518, htobe32(0xfffffff8));
    CHECK_EQ(dev->guest_errors, errors + 1);

    char memory[8] = "old?abc";
    struct gh_fw_cfg_item item = { .data = memory, .len = sizeof memory, .release = note_release, .writable = true,
                                   .selected = note_select, .opaque = memory };
    CHECK_EQ(gh_fw_cfg_add_file(fw, "etc/late", &item, NULL), 0);
    key = find_file(b, "etc/late", &size);
    CHECK_EQ(selects, 0);
    read_item(b, key, data, 8);
    CHECK_EQ(selects, 1);
    CHECK(!memcmp(data, "new!abc", 8));
    memcpy(b->ram + BUFFER, "xy", 2);
    CHECK_EQ(dma(b, (uint32_t)key << 16 | 0x0c, 6, 0), 0);
    CHECK_EQ(dma(b, 0x10, 2, BUFFER), 0);
    CHECK(!memcmp(memory, "new!abxy", 8));
    CHECK_EQ(dma(b, 0x10, 1, BUFFER), 1);                                         /* past its end */

    /* Odd accesses, too long names, too many files. */
    CHECK_EQ(fake_inb(b, 0x510), 0xff);
    fake_outb(b, 0x511, 0);
    struct gh_error err = { 0 };
    CHECK_EQ(gh_fw_cfg_file(fw, "12345678901234567890123456789012345678901234567890123456", "", 0, &err), -ENAMETOOLONG);
    int r = 0;
    for (unsigned i = 0; i <= GH_FW_FILES_MAX && !r; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", i);
        r = gh_fw_cfg_file(fw, name, "x", 1, NULL);
    }
    CHECK_EQ(r, -ENOSPC);
    CHECK_EQ(releases, 0);
    fake_board_free(b);
    CHECK_EQ(releases, 1);
    return check_result();
}
