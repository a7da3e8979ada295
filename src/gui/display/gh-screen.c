/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/display/gh-screen.h"

#include <string.h>

#define TILE 128 /* small enough that a line of text is not half a megabyte, large enough that a screen is not thousands */

struct gh_screen {
    guint32 *pixels; /* opaque */
    int width, height, columns, rows;
    GdkTexture **tile; /* NULL: has changed since it was made */
};

struct gh_screen *gh_screen_new (void) { return g_new0 (struct gh_screen, 1); }

static void forget (struct gh_screen *s)
{
    for (int i = 0; i < s->columns * s->rows; i++)
        g_clear_object (&s->tile[i]);
    g_clear_pointer (&s->tile, g_free);
    g_clear_pointer (&s->pixels, g_free);
    s->width = s->height = s->columns = s->rows = 0;
}

void gh_screen_free (struct gh_screen *s)
{
    if (s)
        forget (s);
    g_free (s);
}

static gboolean resize (struct gh_screen *s, int width, int height)
{
    guint32 *pixels = g_try_malloc0 ((gsize) width * (gsize) height * 4);

    if (!pixels)
        return FALSE;
    forget (s);
    s->pixels = pixels;
    s->width = width;
    s->height = height;
    s->columns = (width + TILE - 1) / TILE;
    s->rows = (height + TILE - 1) / TILE;
    s->tile = g_new0 (GdkTexture *, (gsize) s->columns * (gsize) s->rows);
    return TRUE;
}

static void take_rect (struct gh_screen *s, const guint8 *pixels, struct gh_screen_rect r)
{
    int right = MIN (r.x + r.width, s->width), bottom = MIN (r.y + r.height, s->height);

    r.x = MAX (r.x, 0);
    r.y = MAX (r.y, 0);
    for (int y = r.y; y < bottom; y++) {
        const guint32 *from = (const guint32 *) (gconstpointer) pixels + (gsize) y * (gsize) s->width;
        guint32 *to = s->pixels + (gsize) y * (gsize) s->width;
        for (int x = r.x; x < right; x++) /* the unused byte is zero on the wire; it must be opaque here */
            to[x] = from[x] | GUINT32_TO_LE (0xff000000u);
    }
    for (int row = r.y / TILE; row * TILE < bottom; row++)
        for (int column = r.x / TILE; column * TILE < right; column++)
            g_clear_object (&s->tile[row * s->columns + column]);
}

gboolean gh_screen_take (struct gh_screen *s, const guint8 *pixels, int width, int height, const struct gh_screen_rect *rects, guint count)
{
    struct gh_screen_rect all = { 0, 0, width, height };

    if (width != s->width || height != s->height) {
        if (!resize (s, width, height))
            return FALSE;
        rects = &all;
        count = 1;
    }
    for (guint i = 0; i < count; i++)
        take_rect (s, pixels, rects[i]);
    return TRUE;
}

void gh_screen_get_size (const struct gh_screen *s, int *ret_width, int *ret_height)
{
    *ret_width = s->width;
    *ret_height = s->height;
}

static GdkTexture *texture_of (const struct gh_screen *s, int x, int y, int width, int height)
{
    gsize line = (gsize) width * 4;
    guint8 *copy = g_malloc (line * (gsize) height);

    for (int i = 0; i < height; i++)
        memcpy (copy + (gsize) i * line, s->pixels + (gsize) (y + i) * (gsize) s->width + x, line);
    g_autoptr (GBytes) bytes = g_bytes_new_take (copy, line * (gsize) height);
    return gdk_memory_texture_new (width, height, GDK_MEMORY_B8G8R8A8_PREMULTIPLIED, bytes, line);
}

void gh_screen_draw (struct gh_screen *s, GtkSnapshot *snapshot, const struct gh_placement *p, double factor)
{
    for (int row = 0; row < s->rows; row++)
        for (int column = 0; column < s->columns; column++) {
            int x = column * TILE, y = row * TILE, width = MIN (TILE, s->width - x), height = MIN (TILE, s->height - y);
            GdkTexture **tile = &s->tile[row * s->columns + column];
            double left = gh_placement_column (p, x, factor), top = gh_placement_row (p, y, factor);
            double right = gh_placement_column (p, x + width, factor), bottom = gh_placement_row (p, y + height, factor);
            if (!*tile)
                *tile = texture_of (s, x, y, width, height);
            if (right > left && bottom > top)
                gtk_snapshot_append_texture (snapshot, *tile, &GRAPHENE_RECT_INIT ((float) left, (float) top, (float) (right - left),
                                                                                   (float) (bottom - top)));
        }
}

GdkTexture *gh_screen_picture (const struct gh_screen *s) { return s->pixels ? texture_of (s, 0, 0, s->width, s->height) : NULL; }
