/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Raw: the file is the disk. Also block devices, partitions, logical volumes and ISO images. */
#include <errno.h>

#include "disk/drivers.h"

static int raw_open(struct gh_image *img, struct gh_error *err)
{
    /* A last partial sector is readable, padded with zeros, but a writable disk is whole sectors. */
    uint64_t bytes = gh_file_bytes(img->file);
    img->bytes = img->writable ? bytes - bytes % 512 : gh_round_up(bytes, 512);
    if (bytes > GH_IMAGE_MAX_BYTES)
        return gh_error_set(err, -EFBIG, "DiskTooLarge", "“%s” has %llu bytes; the limit is 64 TiB.", img->label,
                            (unsigned long long)bytes);
    if (img->part_count || img->parent)
        return gh_image_unsupported(img, err, "a raw disk has no further files");
    img->flat = true;
    return 0;
}

static int raw_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret)
{
    *ret = (struct gh_extent){ GH_EXTENT_DATA, len, img->file, off, true };
    return 0;
}

static int raw_zero(struct gh_image *img, uint64_t off, uint64_t len, bool discard)
{
    if (!discard)
        return gh_file_zero(img->file, off, len);
    int r = gh_file_punch(img->file, off, len);
    return r == -EOPNOTSUPP ? 0 : r;
}

static int raw_resize(struct gh_image *img, uint64_t bytes, struct gh_error *err)
{
    if (img->file->device)
        return gh_error_set(err, -ENOTSUP, "DiskCannotResize", "“%s” is a device; its size is fixed.", img->label);
    return gh_file_truncate(img->file, bytes);
}

static int raw_create(struct gh_file *file, const struct gh_image_create *how, struct gh_error *err)
{
    if (file->device)
        return how->bytes <= gh_file_bytes(file) ? 0 : -ENOSPC;
    bool fixed = how->preallocate || (how->variant && how->variant[0] == 'f');
    if (fixed) {
        int r = gh_file_allocate(file, 0, how->bytes);
        if (r != -EOPNOTSUPP)
            return r;
    }
    return gh_file_truncate(file, how->bytes);
}

static const char *const variants[] = { "sparse", "fixed", NULL };
const struct gh_image_driver gh_image_raw = {
    .format = { "raw", "Raw disk or CD image", variants, true, false, true, "img" },
    .open = raw_open, .map = raw_map, .zero = raw_zero, .resize = raw_resize, .create = raw_create,
};
