/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/display/gh-warp.h"

#if defined GDK_WINDOWING_X11 && __has_include(<X11/Xlib.h>)
#include <gdk/x11/gdkx.h>

static GdkSurface *surface_of (GtkWidget *widget)
{
    GtkNative *native = gtk_widget_get_native (widget);
    GdkSurface *surface = native ? gtk_native_get_surface (native) : NULL;

    return surface && GDK_IS_X11_SURFACE (surface) ? surface : NULL;
}

gboolean gh_warp_possible (GtkWidget *widget) { return surface_of (widget) != NULL; }

void gh_warp (GtkWidget *widget, double x, double y)
{
    GdkSurface *surface = surface_of (widget);
    double inside_x, inside_y, frame_x, frame_y;

    if (!surface || !gtk_widget_translate_coordinates (widget, GTK_WIDGET (gtk_widget_get_native (widget)), x, y, &inside_x, &inside_y))
        return;
    gtk_native_get_surface_transform (gtk_widget_get_native (widget), &frame_x, &frame_y);
    int factor = gdk_surface_get_scale_factor (surface);
    G_GNUC_BEGIN_IGNORE_DEPRECATIONS
    XWarpPointer (GDK_DISPLAY_XDISPLAY (gdk_surface_get_display (surface)), None, GDK_SURFACE_XID (surface), 0, 0, 0, 0,
                  (int) (inside_x + frame_x) * factor, (int) (inside_y + frame_y) * factor);
    G_GNUC_END_IGNORE_DEPRECATIONS
}
#else
gboolean gh_warp_possible (GtkWidget *widget) { return FALSE; }
void gh_warp (GtkWidget *widget, double x, double y) {}
#endif
