/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The media of an appliance: found, opened, measured, fetched into a machine's folder. The source is
 * only ever opened for reading.
 */
#pragma once
#include "appliance/package.h"
#include "disk/ops.h"

/* Fills path, format, sizes, target of every drive; notes what is missing. */
int gh_media_locate(struct gh_package *p, struct gh_appliance *a, struct gh_error *err);
/* An image of the package, read-only, with its chain. unpacked: the file that a packed one was unpacked to; else NULL. */
struct gh_image *gh_medium_open(struct gh_package *p, const struct gh_appliance_medium *m, const char *unpacked, struct gh_error *err);
/* Brings everything with a target into folder (absolute). in_place: what can stay stays, and its target becomes empty.
 * On failure, and after Cancelled, nothing of ours is left in folder. Errors: NoSpace, ... */
int gh_media_fetch(struct gh_package *p, struct gh_appliance *a, const char *folder, bool in_place, const struct gh_progress *progress,
                   struct gh_error *err);
/* 0, or FileChanged: a file of the package is not what it was when it was opened, because something still writes it. */
int gh_package_unchanged(struct gh_package *p, const struct gh_appliance *a, struct gh_error *err);
/* A medium that is cut into pieces: opens piece k, at and bytes are its place there. -ENOENT without a message: there is none. */
int gh_medium_piece(struct gh_package *p, const struct gh_appliance_medium *m, uint32_t k, uint64_t *at, uint64_t *bytes, struct gh_error *err);
uint64_t gh_space_there(const char *folder);
