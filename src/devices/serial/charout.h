/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Buffered output of a port that guests write byte by byte: handed to the backend at a line feed, when
 * the buffer is full, or 2 ms after its first byte, so that a console costs one call a line.
 *
 * Embedded in a device's state; machine lock. chr may be NULL: everything is swallowed.
 */
#pragma once
#include "devices/backend.h"
#include "devices/device.h"

enum { GH_CHAROUT_BYTES = 1024 };

struct gh_charout {
    struct gh_char *chr;
    struct gh_timer timer;
    uint32_t len;
    uint8_t  data[GH_CHAROUT_BYTES];
};

/* timer: the device's function, which calls gh_charout_flush. */
void gh_charout_init(struct gh_charout *out, struct gh_device *dev, struct gh_char *chr,
                     void (*timer)(struct gh_device *, struct gh_timer *));
/* Takes what fits; less than len only while the backend takes nothing. */
size_t gh_charout_put(struct gh_charout *out, const uint8_t *data, size_t len);
static inline size_t gh_charout_room(const struct gh_charout *out) { return GH_CHAROUT_BYTES - out->len; }
/* Hands over what the backend takes. */
void gh_charout_flush(struct gh_charout *out);
void gh_charout_fini(struct gh_charout *out);
/* After a saved state was filled; false: impossible. */
bool gh_charout_loaded(struct gh_charout *out);
extern const struct gh_field gh_charout_fields[];
