/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parallels' expanding disk, read only: a header and one le32 entry a cluster. Snapshots are refused. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "disk/drivers.h"

enum { HEADER = 64 };
#define TABLE_MAX_BYTES (256ull << 20)

struct hdd { uint64_t cluster, entries, unit; uint32_t *table; };

static bool old_magic(const uint8_t *h) { return !memcmp(h, "WithoutFreeSpace", 16); }
static bool new_magic(const uint8_t *h) { return !memcmp(h, "WithouFreSpacExt", 16); }

static int hdd_probe(const uint8_t *head, size_t len, const uint8_t *tail, uint64_t file_bytes)
{ return len >= HEADER && (old_magic(head) || new_magic(head)) ? 100 : 0; }

static int hdd_open(struct gh_image *img, struct gh_error *err)
{
    struct hdd *d = calloc(1, sizeof *d);
    uint8_t h[HEADER];
    if (!d)
        return -ENOMEM;
    img->state = d;
    int r = gh_file_read(img->file, 0, h, sizeof h);
    if (r < 0)
        return r;
    uint64_t tracks = gh_le32_get(h + 28), sectors = gh_le64_get(h + 36);
    if ((!old_magic(h) && !new_magic(h)) || gh_le32_get(h + 16) != 2)
        return gh_image_unsupported(img, err, "it is not a Parallels disk of version 2");
    if (old_magic(h))
        sectors &= 0xffffffff;
    d->entries = gh_le32_get(h + 32);
    d->unit = new_magic(h) ? tracks * 512 : 512;
    d->cluster = tracks * 512;
    if (!tracks || tracks > (256u << 20) / 512 || !sectors || sectors > GH_IMAGE_MAX_BYTES / 512 || (sectors - 1) / tracks >= d->entries)
        return gh_image_bad(img, err, "%llu entries do not make %llu sectors", (unsigned long long)d->entries, (unsigned long long)sectors);
    d->table = gh_file_memory(d->entries * 4, TABLE_MAX_BYTES);
    if (!d->table)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for the table of “%s”.", img->label);
    img->bytes = sectors * 512;
    img->cluster_bytes = d->cluster;
    img->info.dirty = gh_le32_get(h + 44) == 0x746f6e59;
    return gh_file_read(img->file, HEADER, d->table, d->entries * 4);
}

static void hdd_close(struct gh_image *img)
{
    struct hdd *d = img->state;
    if (d)
        free(d->table);
    free(d);
    img->state = NULL;
}

static int hdd_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret)
{
    struct hdd *d = img->state;
    uint64_t e = le32toh(d->table[off / d->cluster]), within = off % d->cluster;
    *ret = (struct gh_extent){ e ? GH_EXTENT_DATA : GH_EXTENT_NONE, gh_min_u64(len, d->cluster - within), img->file,
                               e * d->unit + within, false };
    return 0;
}

static int hdd_check(struct gh_image *img, bool repair, struct gh_check_report *rep, struct gh_error *err)
{
    struct hdd *d = img->state;
    uint64_t places = gh_file_bytes(img->file) / d->unit + 1, count = d->cluster / d->unit;
    uint8_t *seen = gh_file_memory(places / 8 + 1, TABLE_MAX_BYTES);
    if (!seen)
        return -ENOMEM;
    for (uint64_t i = 0; i < d->entries; i++) {
        uint64_t e = le32toh(d->table[i]), at = e / count;
        rep->checked++;
        if (!e)
            continue;
        rep->allocated++;
        if (e * d->unit < HEADER + d->entries * 4 || e * d->unit >= gh_file_bytes(img->file)) {
            rep->errors++;
            gh_check_note(rep, "cluster %llu lies outside the file, or on its table", (unsigned long long)i);
        } else if (seen[at / 8] >> at % 8 & 1) {
            rep->errors++;
            gh_check_note(rep, "two clusters lie at one place, one is cluster %llu", (unsigned long long)i);
        } else {
            seen[at / 8] |= (uint8_t)(1 << at % 8);
        }
    }
    free(seen);
    return 0;
}

const struct gh_image_driver gh_image_hdd = {
    .format = { "hdd", "Parallels disk", NULL, false, false, false, "hdd" },
    .probe = hdd_probe, .open = hdd_open, .close = hdd_close, .map = hdd_map, .check = hdd_check,
};
