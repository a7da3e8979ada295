/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A guest's screen: draws it (sharp at 1:1, smaller when the window is smaller, larger when asked), sends keys by their place and the
 * pointer: its position, or for guests that take only movements, its movements while it is caught. Connects again by itself while
 * a socket is set.
 *
 * Signals: "status" (connected or not, keys caught or not), "resized" (the guest's screen has another size).
 */
#pragma once
#include <gtk/gtk.h>

#define GH_TYPE_DISPLAY (gh_display_get_type ())
G_DECLARE_FINAL_TYPE (GhDisplay, gh_display, GH, DISPLAY, GtkWidget)

GtkWidget *gh_display_new (void);
void gh_display_set_socket (GhDisplay *self, const char *path); /* NULL: disconnect */
gboolean gh_display_is_connected (GhDisplay *self);
void gh_display_get_guest_size (GhDisplay *self, int *ret_width, int *ret_height); /* pixels; 0: nothing seen yet */
void gh_display_set_zoom (GhDisplay *self, gboolean fill);      /* also enlarge to fill */
void gh_display_set_inhibit (GhDisplay *self, gboolean inhibit); /* the desktop's own shortcuts go to the guest too */
/* Keys of a US keyboard by their keysyms, which say their places: pressed in this order, released in reverse; ends with 0. */
void gh_display_send_keys (GhDisplay *self, const guint *keysyms);
GdkTexture *gh_display_picture (GhDisplay *self);               /* NULL: nothing seen yet */
gboolean gh_display_has_grab (GhDisplay *self);
