/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading a surface (surface-format.h) that a machine under somebody else's control writes. Used by
 * the display backend and by the application's display widget; depends on libc only.
 *
 * Two eventfds go with a surface. A reader that wants to see the next change writes the ask
 * descriptor; the machine answers by writing the frame descriptor once, after something changed.
 * Nobody asking means that nothing is converted at all.
 *
 *   gh_surface_ask(ask_fd);
 *   ... frame_fd becomes readable ...
 *   gh_surface_drain(frame_fd);
 *   n = gh_surface_reader_update(r, &view, rects, MAX);   // draw the rects from view.pixels
 *   gh_surface_ask(ask_fd);
 *
 * Thread: one at a time per reader. Ownership: descriptors stay the caller's and may be closed after
 * open; view.pixels lives as long as the reader. Errors: negative errno.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/backend/surface-format.h"

struct gh_surface_reader;

struct gh_surface_view {
    const uint32_t *pixels;
    uint32_t width, height;
    uint32_t stride;          /* bytes, a multiple of 4; height lines of it lie inside the mapping */
    uint64_t generation;
    bool     resized;         /* differs from the last update; the rectangle is the whole screen */
};

/* -EPERM: not sealed, so it could shrink under the reader; -EPROTO: not a surface. */
int  gh_surface_reader_open(int fd, struct gh_surface_reader **ret);
void gh_surface_reader_free(struct gh_surface_reader *r);
/* What changed since the last call: returns how many rects were filled in (all inside the view), 0:
 * nothing. More than max are joined. -EAGAIN: the producer is changing the geometry, or there is none
 * yet: try again at the next frame; -EPROTO: the geometry is impossible. */
int  gh_surface_reader_update(struct gh_surface_reader *r, struct gh_surface_view *ret,
                              struct gh_surface_rect *rects, unsigned max);
/* The next update reports the whole screen. */
void gh_surface_reader_all(struct gh_surface_reader *r);

void gh_surface_ask(int ask_fd);
void gh_surface_drain(int frame_fd);      /* never blocks */
