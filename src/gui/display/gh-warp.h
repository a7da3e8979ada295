/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Puts the pointer somewhere, for guests that take movements only. GTK 4 cannot; X11 can. GTK main thread. */
#pragma once
#include <gtk/gtk.h>

gboolean gh_warp_possible (GtkWidget *widget);
void gh_warp (GtkWidget *widget, double x, double y); /* in the widget's coordinates */
