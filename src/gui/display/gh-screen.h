/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The application's copy of a guest's screen, kept as tiles: what changes is copied, and only the tiles that it touches are handed to
 * the renderer again. GTK main thread.
 */
#pragma once
#include <gtk/gtk.h>

#include "gui/display/gh-placement.h"

struct gh_screen;
struct gh_screen_rect { int x, y, width, height; };

struct gh_screen *gh_screen_new (void);
void gh_screen_free (struct gh_screen *s); /* NULL is fine */
/* pixels: B8G8R8X8, width * 4 bytes a line. Rects outside are cut. FALSE: no memory; the old picture stays. */
gboolean gh_screen_take (struct gh_screen *s, const guint8 *pixels, int width, int height, const struct gh_screen_rect *rects, guint count);
void gh_screen_get_size (const struct gh_screen *s, int *ret_width, int *ret_height); /* 0: nothing yet */
void gh_screen_draw (struct gh_screen *s, GtkSnapshot *snapshot, const struct gh_placement *p, double factor);
GdkTexture *gh_screen_picture (const struct gh_screen *s); /* a copy of all of it; NULL: nothing yet */
