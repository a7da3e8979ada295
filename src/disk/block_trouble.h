/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a failed call of the host means for a running machine, in sentences. Any thread, no locks. */
#pragma once
#include "devices/backend.h"
#include "disk/disk.h"

/* Is result, a negative errno, the host's trouble (the request is held, the machine pauses) rather than the guest's (it gets the
 * error)? Then why has DiskFull, DiskTooLargeForHost, DiskReadFailed, DiskWriteFailed or DiskFlushFailed. */
bool gh_disk_trouble(const struct gh_image *img, const struct gh_block_request *r, int result, struct gh_error *why);
/* Less than 1 GiB is left, and the image may grow by more than that: note has DiskSpaceLow. */
bool gh_disk_space_is_low(struct gh_image *img, struct gh_error *note);
