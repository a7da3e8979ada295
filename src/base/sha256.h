/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SHA-256 (FIPS 180-4), by the processor's own instructions where it has them. Any thread; no errors. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { GH_SHA256_BYTES = 32, GH_SHA256_TEXT = 65 };

struct gh_sha256 {
    uint32_t state[8];
    uint64_t bytes;                            /* taken so far */
    uint8_t  rest[64];                         /* the last, incomplete block */
};
void gh_sha256_begin(struct gh_sha256 *s);
void gh_sha256_add(struct gh_sha256 *s, const void *data, size_t len);
void gh_sha256_end(struct gh_sha256 *s, uint8_t digest[GH_SHA256_BYTES]);
void gh_sha256_text(const uint8_t digest[GH_SHA256_BYTES], char ret[GH_SHA256_TEXT]);   /* lower case */
