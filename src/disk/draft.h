/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A new image that nobody sees before it is whole. It grows in hidden files beside its place (".NAME.gasthaus-new");
 * publish makes them durable and gives them their names, the one that others refer to last. Until that last
 * rename an older image of the same name stays as it was, also when this process or the host dies; what a killed
 * one leaves behind is taken over by the next draft of that name.
 *
 * A block device has no place beside it: it is written where it is.
 *
 * For programs that may open files. One thread.
 */
#pragma once
#include "disk/disk.h"

struct gh_image_draft;

/* What may be at path already. It stays locked until publish, so that nobody's disk is taken from under him
 * (DiskLocked), and its permissions are kept. */
enum gh_draft_mode {
    GH_DRAFT_NEW,                              /* nothing: FileExists */
    GH_DRAFT_OVER,                             /* an image that nobody uses, of whatever format */
    GH_DRAFT_REWRITE,                          /* the same content, which the caller and others may have open for reading */
};
/* how: own_name, new_part and draft are filled in here. */
struct gh_image_draft *gh_image_draft_new(const char *path, const struct gh_image_create *how, enum gh_draft_mode mode, struct gh_error *err);
/* The image, for writing or looking into; the caller closes it before publish. parent (may be NULL) is taken over
 * in every case. Flushes do nothing: publish does them all. */
struct gh_image *gh_image_draft_open(struct gh_image_draft *d, bool writable, struct gh_image *parent, struct gh_error *err);
/* Reads as zeros now: copying may skip them. Not so for a block device. */
bool gh_image_draft_blank(const struct gh_image_draft *d);
/* Frees d in every case; on failure as drop. */
int  gh_image_draft_publish(struct gh_image_draft *d, struct gh_error *err);
/* Removes what was made. NULL is allowed. */
void gh_image_draft_drop(struct gh_image_draft *d);

/* An empty image at path: a draft, published at once. */
int gh_image_create_path(const char *path, const struct gh_image_create *how, bool replace, struct gh_error *err);
