/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An RFB client on a UNIX socket: libvncclient behind an interface without its headers (they redefine TRUE).
 *
 * Connecting blocks and happens in a thread; everything else, callbacks included, on the GTK main thread.
 * Pixels are B8G8R8X8, four bytes each, without padding; the buffer belongs to the client and is valid until the next
 * `resized`. Reading stops after each update until gh_rfb_continue: the painter sets the pace.
 */
#pragma once
#include <glib.h>

struct gh_rfb;

struct gh_rfb_events {
    void (*opened) (gpointer opaque);
    void (*closed) (gpointer opaque);  /* also when connecting failed; the struct stays valid until free */
    void (*resized) (gpointer opaque);
    void (*updated) (gpointer opaque); /* call gh_rfb_continue when painted */
    /* B8G8R8A8 premultiplied pixels, owned by the callee. */
    void (*cursor) (gpointer opaque, GBytes *pixels, int width, int height, int hot_x, int hot_y);
};

struct gh_rfb *gh_rfb_open (const char *socket, const struct gh_rfb_events *events, gpointer opaque);
void gh_rfb_free (struct gh_rfb *rfb); /* NULL is fine */
gboolean gh_rfb_is_open (const struct gh_rfb *rfb);
const guint8 *gh_rfb_pixels (const struct gh_rfb *rfb, int *ret_width, int *ret_height); /* NULL: none yet */
void gh_rfb_continue (struct gh_rfb *rfb);
void gh_rfb_pointer (struct gh_rfb *rfb, int x, int y, int buttons);
/* evdev_code 0: by keysym alone. */
void gh_rfb_key (struct gh_rfb *rfb, guint keysym, guint16 evdev_code, gboolean down);
