/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A machine reads zeros behind the end of a file that a crash cut short, because what was there was never promised. Whoever copies a disk
 * has to know: most files that are too short were not copied whole. */
#include <errno.h>
#include <string.h>

#include "disk/driver.h"

/* QEMU may leave the last cluster short; the others write whole blocks. */
static uint64_t slack_of(const struct gh_image *img)
{
    const char *format = img->driver->format.name;
    bool may_be_short = !strcmp(format, "qcow2") || !strcmp(format, "qed") || !strcmp(format, "vmdk");
    return may_be_short && img->cluster_bytes ? img->cluster_bytes - 1 : img->cluster_bytes ? 0 : 65535;
}

int gh_image_missing(struct gh_image *img, bool mend, uint64_t *ret_bytes)
{
    uint64_t slack = slack_of(img), off = 0, most = img->bytes + img->cluster_bytes;
    int r = 0;
    *ret_bytes = 0;
    while (off < img->bytes && !r) {
        struct gh_extent e = { 0 };
        r = img->driver->map(img, off, img->bytes - off, &e);
        if (r < 0 || !e.bytes)
            return r < 0 ? r : -EUCLEAN;
        uint64_t size = e.kind == GH_EXTENT_DATA ? gh_file_bytes(e.file) : 0, end = e.file_offset + e.bytes;
        if (e.kind == GH_EXTENT_DATA && end > size + slack) {
            *ret_bytes += gh_min_u64(e.bytes, end - size);
            if (mend && end - size <= most)    /* a pointer to nowhere makes no giant */
                r = gh_file_truncate(e.file, end);
        }
        off += e.bytes;
    }
    return r;
}

int gh_image_mend_end(struct gh_image *img)
{
    uint64_t missing;
    return img->writable && img->after_crash && !img->repair ? gh_image_missing(img, true, &missing) : 0;
}

bool gh_image_is_cut(struct gh_image *img)
{
    uint64_t missing;
    for (; img; img = img->parent) {
        if (img->info.dirty)                   /* a crash, and the next machine to write it mends that */
            continue;
        pthread_rwlock_rdlock(&img->lock);
        int r = gh_image_missing(img, false, &missing);
        pthread_rwlock_unlock(&img->lock);
        if (r < 0 || missing)
            return true;
    }
    return false;
}
