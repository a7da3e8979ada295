/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The machine's side of the screen: converts what changed into the surface while somebody asks, at
 * most 60 times a second and at once after silence; takes input from backends; makes screenshots.
 *
 * Threads: one of its own ("gh-display") renders and reads input; everything here may be called from
 * any thread. Host callbacks run on the display thread (screenshot: on its caller), without any lock of
 * this module but the frame lock around mode and render; they take the machine lock themselves.
 * gh_display_changed may be called with the machine lock held, the others may not.
 * Everything is made by new and start, so that a sandbox may be entered after start.
 * Ownership: descriptors handed in belong to the display from then on, even on failure.
 */
#pragma once
#include "base/error.h"
#include "devices/device.h"

struct gh_display;
struct gh_machine;

struct gh_display_host {
    bool (*mode)(void *opaque, struct gh_display_mode *ret);
    unsigned (*render)(void *opaque, uint32_t *pixels, uint32_t stride_bytes, bool full, struct gh_rect *rects,
                       unsigned max_rects);
    void (*key)(void *opaque, uint16_t code, bool down);
    void (*pointer_abs)(void *opaque, uint16_t x, uint16_t y);
    void (*pointer_rel)(void *opaque, int32_t dx, int32_t dy, int32_t wheel);
    void (*button)(void *opaque, uint16_t code, bool down);
    void (*sync)(void *opaque);
    bool (*pointer_is_absolute)(void *opaque);
    void (*resize)(void *opaque, uint32_t width, uint32_t height); /* a viewer's wish; may be NULL */
    void (*clients)(void *opaque, unsigned count);                 /* viewers of a backend; may be NULL */
};
/* For struct gh_machine as opaque (display_machine.c). */
extern const struct gh_display_host gh_display_machine_host;
/* Ties both together, before start: m becomes opaque, gh_machine_on_display_change calls gh_display_changed. */
void gh_display_bind_machine(struct gh_display *d, struct gh_machine *m);

/* max_bytes: the largest screen in bytes; 0: 64 MiB (4096x4096). host is borrowed for life. */
int  gh_display_new(const struct gh_display_host *host, void *opaque, uint64_t max_bytes, struct gh_display **ret,
                    struct gh_error *err);
/* Another opaque, before start; new may be given NULL then. */
void gh_display_set_opaque(struct gh_display *d, void *opaque);
int  gh_display_start(struct gh_display *d, struct gh_error *err);
/* The sandbox has closed: its thread gives up what it does not need. */
void gh_display_sandboxed(struct gh_display *d);
void gh_display_free(struct gh_display *d);      /* stops the thread, releases held keys */

/* The control socket of a display backend (protocol.h). A second one may come while the first is
 * there, a replacement after its death too. The socket's end releases the keys it held down. */
int  gh_display_add_backend(struct gh_display *d, int control_fd, struct gh_error *err);
/* A viewer that reads the surface itself: ret_fds are surface, frame and ask descriptor, the caller's to
 * close. Of 8 such viewers the one that asked longest ago loses its place to a ninth. */
int  gh_display_open_viewer(struct gh_display *d, int ret_fds[3], struct gh_error *err);

void gh_display_changed(struct gh_display *d);
void gh_display_set_leds(struct gh_display *d, unsigned leds);
/* pixels: premultiplied ARGB, at most 128x128; NULL: no shape. */
void gh_display_set_cursor(struct gh_display *d, const uint32_t *pixels, uint32_t width, uint32_t height,
                           uint32_t hot_x, uint32_t hot_y);
/* The screen as it is now, as PNG; shrunk to fit max_width x max_height, 0: as it is. */
int  gh_display_screenshot(struct gh_display *d, int fd, uint32_t max_width, uint32_t max_height, struct gh_error *err);
