/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A guest's screen: draws it (sharp at 1:1, smaller when the window is smaller, larger when asked), sends keys by their
 * place and the pointer by its absolute position. Connects again by itself while a socket is set.
 *
 * Signals: "status" (connected or not), "released" (the person pressed Ctrl+Alt alone: keys go to the desktop again).
 */
#pragma once
#include <gtk/gtk.h>

#define GH_TYPE_DISPLAY (gh_display_get_type ())
G_DECLARE_FINAL_TYPE (GhDisplay, gh_display, GH, DISPLAY, GtkWidget)

GtkWidget *gh_display_new (void);
void gh_display_set_socket (GhDisplay *self, const char *path); /* NULL: disconnect */
gboolean gh_display_is_connected (GhDisplay *self);
void gh_display_set_zoom (GhDisplay *self, gboolean fill);      /* also enlarge to fill */
/* keysyms pressed in this order, released in reverse; ends with 0. */
void gh_display_send_keys (GhDisplay *self, const guint *keysyms);
gboolean gh_display_save (GhDisplay *self, const char *path, GError **error); /* PNG */
gboolean gh_display_has_grab (GhDisplay *self);
