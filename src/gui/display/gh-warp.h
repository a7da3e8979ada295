/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Holds the pointer for a guest that takes movements: the desktop's pointer stays where it is or is put back, and what the hand does
 * arrives as movements. On X11 by putting the pointer back (gh_warp), on Wayland by locking it, where the compositor can. GTK main thread.
 */
#pragma once
#include <gtk/gtk.h>

gboolean gh_warp_possible (GtkWidget *widget);
void gh_warp (GtkWidget *widget, double x, double y); /* to this place of the widget */

struct gh_lock;
typedef void (*gh_lock_moved) (gpointer data, double dx, double dy); /* in the compositor's units, as the pointer would have moved */
/* NULL: not on Wayland, or the compositor cannot. The lock holds while the surface has the keyboard's focus, until it is freed. */
struct gh_lock *gh_lock_new (GtkWidget *widget, gh_lock_moved moved, gpointer data);
void gh_lock_free (struct gh_lock *lock); /* NULL is fine */
gboolean gh_lock_possible (GtkWidget *widget);
