/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Layout of the surface: a memfd of fixed size in which a machine shows its screen. No dependencies.
 *
 *   0        struct gh_surface_header
 *   offset   pixels, stride bytes a line; XRGB8888 in host order, the high byte always ff
 *
 * The producer maps it writable and seals it (shrink, grow, future write, seal), so everybody else can
 * only read and its size never changes. Geometry changes under `sequence`: odd while it is being
 * written; a reader copies the geometry and checks that sequence was even and did not move.
 * Rectangle n that ever changed stands in ring[n % GH_SURFACE_RING]; ring_head counts them. A reader
 * that is more than GH_SURFACE_RING behind takes the whole screen as changed. Pixels are written
 * before the rectangle is published; a reader that races with the next frame sees a mixture
 * and gets the rectangle of that frame afterwards.
 * Readers trust nothing here: see surface-reader.h.
 */
#pragma once
#include <stdint.h>

#define GH_SURFACE_MAGIC        0x3130667275536847ull /* "GhSurf01" */
#define GH_SURFACE_RING         512u
#define GH_SURFACE_FORMAT_XRGB  1u
#define GH_SURFACE_MAX_SIZE     16384u                /* width and height */
#define GH_SURFACE_PIXELS       8192u                 /* offset of the pixels */

struct gh_surface_rect { uint16_t x, y, w, h; };

struct gh_surface_header {
    uint64_t magic;
    uint64_t total_bytes;
    uint32_t sequence;
    uint32_t format;
    uint32_t width, height, stride, reserved;
    uint64_t pixels_offset;
    uint64_t generation;      /* grows with each geometry */
    uint64_t frame;           /* grows with each published frame */
    uint64_t ring_head;
    struct gh_surface_rect ring[GH_SURFACE_RING];
};
_Static_assert(sizeof(struct gh_surface_header) <= GH_SURFACE_PIXELS, "the header must fit before the pixels");
