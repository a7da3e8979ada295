/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Long work on whole images: copy, compare, commit, hash. Blocking, with progress and cancel.
 * Thread: the caller's; copy uses workers of its own. Images are borrowed.
 */
#pragma once
#include "disk/disk.h"

/* false: stop; the operation ends with -ECANCELED. Called on the caller's thread only. */
typedef bool (*gh_progress_fn)(void *opaque, uint64_t done, uint64_t total);
struct gh_progress { gh_progress_fn fn; void *opaque; };

/* copy.c. Everything the source reads as, into dst, which has at least its size, in increasing order. blank: dst reads as zeros
 * now, so zeros are skipped. */
int gh_image_copy(struct gh_image *src, struct gh_image *dst, bool blank, const struct gh_progress *progress, struct gh_error *err);
/* The same for a blank dst whose clusters shall be compressed (qcow2); -ENOTSUP (DiskNoCompression) where they cannot be. */
int gh_image_copy_packed(struct gh_image *src, struct gh_image *dst, const struct gh_progress *progress, struct gh_error *err);
/* 0: the same content (the longer one's rest is zeros); 1: differs at *ret_off. */
int gh_image_compare(struct gh_image *a, struct gh_image *b, uint64_t *ret_off, const struct gh_progress *progress,
                     struct gh_error *err);
/* Writes what top itself holds into base (writable, any file of the same content below). Interrupted, it can be done again: top
 * fits base until the end. */
int gh_image_commit(struct gh_image *top, struct gh_image *base, const struct gh_progress *progress, struct gh_error *err);
/* Writes into dst (a fresh child, or any disk of src's size) what src reads as and dst does not. */
int gh_image_copy_difference(struct gh_image *src, struct gh_image *dst, const struct gh_progress *progress, struct gh_error *err);

/* What the image reads as, in 32 bytes that do not depend on its format. plain: SHA-256 of all bytes in a row. Otherwise the root
 * of a tree of SHA-256, which takes no time for what is known to be zeros and several threads for the rest:
 *   leaf  = SHA-256(0x00, 64 KiB of the disk; the last leaf may be shorter)
 *   node  = SHA-256(0x01, left, right), where left is the largest full tree of 2^k leaves that leaves something on the right
 *   result = SHA-256(0x02, size in bytes as 64 bits, the most significant byte first, root) */
enum { GH_IMAGE_HASH_BYTES = 32 };
int gh_image_hash(struct gh_image *img, bool plain, uint8_t ret[GH_IMAGE_HASH_BYTES], const struct gh_progress *progress, struct gh_error *err);
