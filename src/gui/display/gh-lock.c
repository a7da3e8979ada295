/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/display/gh-warp.h"

#if defined GDK_WINDOWING_WAYLAND && defined GH_HAVE_WAYLAND
#include <gdk/wayland/gdkwayland.h>
#include <string.h>

#include "pointer-constraints-unstable-v1-client-protocol.h"
#include "relative-pointer-unstable-v1-client-protocol.h"

/* What the compositor offers; asked once for each display, and kept as long as it. */
struct offers {
    struct zwp_pointer_constraints_v1 *constraints;
    struct zwp_relative_pointer_manager_v1 *relative;
};

struct gh_lock {
    struct zwp_locked_pointer_v1 *locked;
    struct zwp_relative_pointer_v1 *pointer;
    gh_lock_moved moved;
    gpointer data;
};

static void on_global (void *data, struct wl_registry *registry, uint32_t name, const char *interface, uint32_t version)
{
    struct offers *o = data;

    if (!strcmp (interface, zwp_pointer_constraints_v1_interface.name))
        o->constraints = wl_registry_bind (registry, name, &zwp_pointer_constraints_v1_interface, 1);
    else if (!strcmp (interface, zwp_relative_pointer_manager_v1_interface.name))
        o->relative = wl_registry_bind (registry, name, &zwp_relative_pointer_manager_v1_interface, 1);
}

static void on_global_gone (void *data, struct wl_registry *registry, uint32_t name) {}

/* With a queue of its own, so that nothing of GDK's is dispatched meanwhile; then they belong to GDK's, which reads for us. */
static struct offers *offers_of (GdkDisplay *display)
{
    static const struct wl_registry_listener listener = { on_global, on_global_gone };
    struct offers *o = g_object_get_data (G_OBJECT (display), "gh-offers");
    struct wl_display *wl = gdk_wayland_display_get_wl_display (display);

    if (o)
        return o;
    o = g_new0 (struct offers, 1);
    g_object_set_data_full (G_OBJECT (display), "gh-offers", o, g_free);
    struct wl_event_queue *queue = wl_display_create_queue (wl);
    struct wl_display *wrapper = wl_proxy_create_wrapper (wl);
    wl_proxy_set_queue ((struct wl_proxy *) wrapper, queue);
    struct wl_registry *registry = wl_display_get_registry (wrapper);
    wl_proxy_wrapper_destroy (wrapper);
    wl_registry_add_listener (registry, &listener, o);
    wl_display_roundtrip_queue (wl, queue);
    if (o->constraints)
        wl_proxy_set_queue ((struct wl_proxy *) o->constraints, NULL);
    if (o->relative)
        wl_proxy_set_queue ((struct wl_proxy *) o->relative, NULL);
    wl_registry_destroy (registry);
    wl_event_queue_destroy (queue);
    return o;
}

static void on_moved (void *data, struct zwp_relative_pointer_v1 *pointer, uint32_t high, uint32_t low, wl_fixed_t dx, wl_fixed_t dy,
                      wl_fixed_t raw_x, wl_fixed_t raw_y)
{
    struct gh_lock *lock = data;

    lock->moved (lock->data, wl_fixed_to_double (dx), wl_fixed_to_double (dy));
}

static void on_locked (void *data, struct zwp_locked_pointer_v1 *locked) {}
static void on_unlocked (void *data, struct zwp_locked_pointer_v1 *locked) {}

static struct offers *usable (GtkWidget *widget)
{
    GdkDisplay *display = gtk_widget_get_display (widget);
    struct offers *o = GDK_IS_WAYLAND_DISPLAY (display) ? offers_of (display) : NULL;

    return o && o->constraints && o->relative ? o : NULL;
}

gboolean gh_lock_possible (GtkWidget *widget) { return usable (widget) != NULL; }

struct gh_lock *gh_lock_new (GtkWidget *widget, gh_lock_moved moved, gpointer data)
{
    static const struct zwp_relative_pointer_v1_listener movements = { on_moved };
    static const struct zwp_locked_pointer_v1_listener states = { on_locked, on_unlocked };
    GtkNative *native = gtk_widget_get_native (widget);
    GdkSurface *surface = native ? gtk_native_get_surface (native) : NULL;
    GdkSeat *seat = gdk_display_get_default_seat (gtk_widget_get_display (widget));
    GdkDevice *device = seat ? gdk_seat_get_pointer (seat) : NULL;
    struct offers *o = usable (widget);
    struct wl_pointer *pointer = o && device ? gdk_wayland_device_get_wl_pointer (device) : NULL;

    if (!pointer || !surface)
        return NULL;
    struct gh_lock *lock = g_new0 (struct gh_lock, 1);
    lock->moved = moved;
    lock->data = data;
    lock->locked = zwp_pointer_constraints_v1_lock_pointer (o->constraints, gdk_wayland_surface_get_wl_surface (surface), pointer, NULL,
                                                            ZWP_POINTER_CONSTRAINTS_V1_LIFETIME_PERSISTENT);
    zwp_locked_pointer_v1_add_listener (lock->locked, &states, lock);
    lock->pointer = zwp_relative_pointer_manager_v1_get_relative_pointer (o->relative, pointer);
    zwp_relative_pointer_v1_add_listener (lock->pointer, &movements, lock);
    return lock;
}

void gh_lock_free (struct gh_lock *lock)
{
    if (!lock)
        return;
    zwp_relative_pointer_v1_destroy (lock->pointer);
    zwp_locked_pointer_v1_destroy (lock->locked);
    g_free (lock);
}
#else
gboolean gh_lock_possible (GtkWidget *widget) { return FALSE; }
struct gh_lock *gh_lock_new (GtkWidget *widget, gh_lock_moved moved, gpointer data) { return NULL; }
void gh_lock_free (struct gh_lock *lock) {}
#endif
