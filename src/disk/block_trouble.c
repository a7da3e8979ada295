/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk/block_trouble.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SPACE_LOW (1ull << 30)                 /* what is left on the host, to speak of it */

bool gh_disk_trouble(const struct gh_image *img, const struct gh_block_request *r, int e, struct gh_error *why)
{
    const char *disk = gh_image_label(img), *id = NULL;
    char text[400];
    gh_error_clear(why);
    switch (e) {
    case -ENOSPC: case -EDQUOT:
        id = "DiskFull";
        snprintf(text, sizeof text, "The host has no space left for “%s” (%s). Free space, then resume; nothing was lost.",
                 disk, strerror(-e));
        break;
    case -EFBIG:
        id = "DiskTooLargeForHost";
        snprintf(text, sizeof text, "“%s” cannot grow further on its file system. Move the disk to another one, then resume.", disk);
        break;
    case -EIO: case -ENXIO: case -ENODEV: case -ESTALE: case -EROFS: case -EUCLEAN: case -ENOMEM: case -EREMOTEIO:
        if (r->op == GH_BLOCK_READ) {
            id = "DiskReadFailed";
            snprintf(text, sizeof text, "“%s” could not be read at byte %llu: %s. Resume tries again.", disk,
                     (unsigned long long)r->offset, strerror(-e));
        } else if (r->op == GH_BLOCK_FLUSH) {
            id = "DiskFlushFailed";
            snprintf(text, sizeof text, "The host could not confirm the data of “%s”: %s. Copy the disk before going on.",
                     disk, strerror(-e));
        } else {
            id = "DiskWriteFailed";
            snprintf(text, sizeof text, "“%s” could not be written at byte %llu: %s. Copy the disk before going on.", disk,
                     (unsigned long long)r->offset, strerror(-e));
        }
        break;
    default:
        return false;
    }
    gh_error_set(why, e, id, "%s", text);
    return true;
}

bool gh_disk_space_is_low(struct gh_image *img, struct gh_error *note)
{
    uint64_t growth, left;
    if (gh_image_space(img, &growth, &left) < 0 || left >= SPACE_LOW || growth <= left)
        return false;
    gh_error_set(note, -ENOSPC, "DiskSpaceLow", "The host has only %llu MiB left for “%s”, which may still grow by %llu MiB. Free space, or "
                 "the machine will pause when it is used up.", (unsigned long long)(left >> 20), gh_image_label(img),
                 (unsigned long long)(growth >> 20));
    return true;
}
