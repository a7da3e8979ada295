/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An RFB client on a UNIX socket: libvncclient behind an interface without its headers (they redefine TRUE).
 *
 * The library lives in a thread of its own, which does all reading and writing: a server that stalls in the middle of a message, or
 * reads nothing, never holds up a caller. Everything here is called on the GTK main thread, and callbacks come there.
 *
 * After `updated` the thread stands still until gh_rfb_continue: in between the picture may be read. The painter sets the pace so.
 * Pixels are B8G8R8X8, four bytes each, without padding.
 */
#pragma once
#include <glib.h>

#include "gui/display/gh-screen.h"

struct gh_rfb;

struct gh_rfb_events {
    void (*opened) (gpointer opaque);
    void (*closed) (gpointer opaque);  /* also when connecting failed; the struct stays valid until free */
    void (*updated) (gpointer opaque, const struct gh_screen_rect *rects, guint count); /* call gh_rfb_continue when done */
    /* B8G8R8A8 premultiplied pixels, owned by the callee. */
    void (*cursor) (gpointer opaque, GBytes *pixels, int width, int height, int hot_x, int hot_y);
    void (*pointer_kind) (gpointer opaque, gboolean relative); /* whether the guest takes movements instead of positions */
};

struct gh_rfb *gh_rfb_open (const char *socket, const struct gh_rfb_events *events, gpointer opaque);
void gh_rfb_free (struct gh_rfb *rfb); /* NULL is fine; never waits */
gboolean gh_rfb_is_open (const struct gh_rfb *rfb);
const guint8 *gh_rfb_pixels (const struct gh_rfb *rfb, int *ret_width, int *ret_height); /* only before gh_rfb_continue */
void gh_rfb_continue (struct gh_rfb *rfb);
/* A position, or while the guest takes movements, a movement. */
void gh_rfb_pointer (struct gh_rfb *rfb, int x, int y, int buttons);
/* evdev_code 0: by keysym alone. */
void gh_rfb_key (struct gh_rfb *rfb, guint keysym, guint16 evdev_code, gboolean down);
