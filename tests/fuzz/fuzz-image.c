/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A disk image of one format (FUZZ_FORMAT) made of the input: opened, looked over, read, checked, written to, resized.
 * The input is a sparse file, so that it is short and mostly tables: how many sectors the file has (32 bits), then runs of
 * sectors: the first one (24 bits), how many (8 bits), their bytes. The last byte chooses what is done. (seeds.py writes it.)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "disk/driver.h"

enum { SECTOR = 512, FILE_SECTORS = (16 << 20) / SECTOR };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gh_image *open_bytes(const uint8_t *data, size_t size, bool writable, bool repair)
{
    struct gh_error err = { 0 };
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)(size < 4 ? 0 : gh_le32_get(data) % FILE_SECTORS) * SECTOR) < 0)
        abort();
    for (size_t at = 4; at + 4 < size;) {
        uint32_t word = gh_le32_get(data + at);
        size_t n = (size_t)(word >> 24) * SECTOR;
        at += 4;
        if (n > size - at)
            n = size - at;
        if (n && pwrite(fd, data + at, n, (off_t)(word & 0xffffff) % FILE_SECTORS * SECTOR) != (ssize_t)n)
            abort();
        at += n;
    }
    return gh_image_open(&(struct gh_image_spec){ .format = FUZZ_FORMAT, .label = "fuzz", .fd = fd, .writable = writable, .unlocked = true,
                                                  .repair = repair }, &err);
}

static void look(struct gh_image *img)
{
    static uint8_t buf[1 << 16];
    struct gh_image_info info;
    uint64_t bytes = gh_image_bytes(img), off = 0;
    struct gh_map m;

    gh_image_info(img, &info);
    for (unsigned i = 0; i < 2000 && off < bytes; i++) {
        if (gh_image_map(img, off, bytes - off, &m) < 0)
            break;
        if (!m.bytes || m.bytes > bytes - off) /* a map that does not move on would never end */
            abort();
        off += m.bytes;
    }
    for (unsigned i = 0; i < 40; i++) {
        uint64_t at = bytes / 40 * i, n = gh_min_u64(bytes - at, sizeof buf);
        gh_image_read(img, at, buf, n);
    }
    if (bytes)
        gh_image_read(img, bytes - gh_min_u64(bytes, 777), buf, gh_min_u64(bytes, 777));
}

static void change(struct gh_image *img)
{
    static uint8_t buf[70000];
    uint64_t bytes = gh_image_bytes(img);

    memset(buf, 0x5a, sizeof buf);
    for (unsigned i = 0; i < 6 && bytes; i++) {
        uint64_t at = bytes / 6 * i, n = gh_min_u64(bytes - at, sizeof buf);
        if (i % 3 == 2)
            gh_image_zero(img, at, n);
        else if (i % 3 == 1)
            gh_image_discard(img, at, n);
        else
            gh_image_write(img, at, buf, n);
    }
    gh_image_flush(img);
    gh_image_resize(img, bytes + (1 << 20), false, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t how = size ? data[size - 1] : 0;
    struct gh_check_report report;

    if (size > 1 << 20)
        return 0;
    struct gh_image *img = open_bytes(data, size, how & 1, how & 2);
    if (!img)
        return 0;
    look(img);
    if (how & 1)
        change(img);
    if (how & 4)
        gh_image_check(img, how & 1, &report, NULL);
    gh_image_close(img);
    return 0;
}
