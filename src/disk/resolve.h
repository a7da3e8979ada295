/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From a path to the descriptors of a whole chain. For programs that may open files (daemon, importer,
 * gasthaus-image, supervisor); never inside the machine.
 *
 * References are followed only to plain files inside the folder of the first image or a granted one,
 * after symbolic links are resolved. Names with a protocol ("nbd:", "json:") are refused.
 */
#pragma once
#include "disk/disk.h"

struct gh_image_open_how {
    const char *format;                       /* recorded; NULL: probe (import only) */
    bool writable, unlocked, repair;
    bool top_only;                            /* parents may be missing and are not opened */
    bool accept_parent;                       /* changed parents are no error */
    const char *folder;                       /* granted beside the image's own; may be NULL */
};
/* Opens path and everything behind it. */
struct gh_image *gh_image_open_path(const char *path, const struct gh_image_open_how *how, struct gh_error *err);
/* The same files, not read further: take gets each from the top down, whose label is its real path, and owns its
 * descriptor and those of its parts; names are the caller's to copy. parent is not set. It fails: so does this. */
int gh_image_resolve_path(const char *path, const struct gh_image_open_how *how,
                          int (*take)(void *opaque, const struct gh_image_spec *file), void *opaque, struct gh_error *err);
/* Probes the open file; "raw" if nothing else fits. */
int gh_image_probe_fd(int fd, const char *label, const char **ret_format, struct gh_error *err);
