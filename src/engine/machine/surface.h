/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The producer's side of a surface: a sealed memfd that shows the machine's screen. Its layout and
 * what readers may rely on stand in engine/backend/surface-format.h.
 *
 * Thread: one at a time (display.c holds its frame lock). Ownership: the memfd stays the surface's;
 * whoever passes it on duplicates it by sending it. Made before the sandbox is entered.
 */
#pragma once
#include "base/error.h"
#include "devices/device.h"

struct gh_surface;

/* max_bytes: for the pixels; memory is used only as far as a screen reaches. */
int  gh_surface_new(uint64_t max_bytes, struct gh_surface **ret, struct gh_error *err);
void gh_surface_free(struct gh_surface *s);
int  gh_surface_fd(const struct gh_surface *s);

/* Sets the geometry; -EFBIG where it does not fit: the old one stays. The pixels are the caller's to fill. */
int  gh_surface_set_size(struct gh_surface *s, uint32_t width, uint32_t height);
uint32_t *gh_surface_pixels(struct gh_surface *s, uint32_t *ret_width, uint32_t *ret_height, uint32_t *ret_stride);
/* Publishes what was drawn. */
void gh_surface_commit(struct gh_surface *s, const struct gh_rect *rects, unsigned count);
