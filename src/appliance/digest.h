/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Digests of parts of files, for manifests. Any thread. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { GH_DIGEST_TEXT = 129 };                 /* SHA-512 in hexadecimal digits, and its end */

/* The bytes from at on of fd, in lower case digits. tell (may be NULL) hears how many bytes each step took; false from it
 * ends with -ECANCELED. Returns 0 or -errno; -EIO: the file is shorter. */
int gh_digest(GChecksumType type, int fd, uint64_t at, uint64_t bytes, bool (*tell)(void *opaque, uint64_t more), void *opaque,
              char ret[GH_DIGEST_TEXT]);
