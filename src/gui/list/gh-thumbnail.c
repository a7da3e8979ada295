/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/list/gh-thumbnail.h"

#include "gui/gh-prefs.h"

#define PICTURE_EVERY_MS 2000

struct _GhThumbnail {
    AdwBin parent_instance;
    GhMachine *machine;
    GtkWidget *stack, *icon, *picture, *clamp;
    guint timer;
    gboolean asking;
};

G_DEFINE_FINAL_TYPE (GhThumbnail, gh_thumbnail, ADW_TYPE_BIN)

static void on_picture (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhThumbnail) self = data;
    g_autoptr (GVariant) reply = g_dbus_proxy_call_finish (G_DBUS_PROXY (source), result, NULL);

    self->asking = FALSE;
    if (!reply || !self->machine || !gh_machine_is_on (self->machine) || G_DBUS_PROXY (gh_machine_get_proxy (self->machine)) != G_DBUS_PROXY (source))
        return;
    g_autoptr (GVariant) png = g_variant_get_child_value (reply, 0);
    g_autoptr (GBytes) bytes = g_variant_get_data_as_bytes (png);
    g_autoptr (GdkTexture) texture = g_bytes_get_size (bytes) ? gdk_texture_new_from_bytes (bytes, NULL) : NULL;
    if (texture) {
        gtk_picture_set_paintable (GTK_PICTURE (self->picture), GDK_PAINTABLE (texture));
        gtk_stack_set_visible_child_name (GTK_STACK (self->stack), "picture");
    }
}

/* Asks only while somebody can see the answer. */
static gboolean on_timer (gpointer data)
{
    GhThumbnail *self = data;

    if (!gh_prefs_get (GH_PREFS_THUMBNAILS)) {
        gtk_stack_set_visible_child_name (GTK_STACK (self->stack), "icon");
        return G_SOURCE_CONTINUE;
    }
    if (self->asking || !gtk_widget_get_mapped (data))
        return G_SOURCE_CONTINUE;
    self->asking = TRUE;
    g_dbus_proxy_call (G_DBUS_PROXY (gh_machine_get_proxy (self->machine)), "Thumbnail", NULL, G_DBUS_CALL_FLAGS_NONE, 5000, NULL,
                       on_picture, g_object_ref (self));
    return G_SOURCE_CONTINUE;
}

static void refresh (GhThumbnail *self)
{
    gtk_image_set_from_icon_name (GTK_IMAGE (self->icon), gh_machine_get_os_icon (self->machine));
    if (gh_machine_is_on (self->machine)) {
        if (!self->timer) {
            self->timer = g_timeout_add (PICTURE_EVERY_MS, on_timer, self);
            on_timer (self);
        }
    } else {
        g_clear_handle_id (&self->timer, g_source_remove);
        gtk_stack_set_visible_child_name (GTK_STACK (self->stack), "icon");
    }
}

void gh_thumbnail_set_machine (GhThumbnail *self, GhMachine *machine)
{
    if (self->machine == machine)
        return;
    if (self->machine)
        g_signal_handlers_disconnect_by_data (self->machine, self);
    g_clear_handle_id (&self->timer, g_source_remove);
    g_set_object (&self->machine, machine);
    if (!machine)
        return;
    gtk_stack_set_visible_child_name (GTK_STACK (self->stack), "icon"); /* not another machine's screen */
    g_signal_connect_object (machine, "changed", G_CALLBACK (refresh), self, G_CONNECT_SWAPPED);
    refresh (self);
}

void gh_thumbnail_set_size (GhThumbnail *self, int width, int height, int icon_size, int icon_width)
{
    gtk_image_set_pixel_size (GTK_IMAGE (self->icon), icon_size);
    gtk_widget_set_size_request (self->icon, icon_width, height);
    adw_clamp_set_maximum_size (ADW_CLAMP (self->clamp), width);
    gtk_widget_set_size_request (self->clamp, width, -1);
    gtk_widget_set_size_request (self->picture, -1, height);
}

static void on_map (GhThumbnail *self)
{
    if (self->timer)
        on_timer (self);
}

static void gh_thumbnail_dispose (GObject *object)
{
    gh_thumbnail_set_machine (GH_THUMBNAIL (object), NULL);
    G_OBJECT_CLASS (gh_thumbnail_parent_class)->dispose (object);
}

static void gh_thumbnail_class_init (GhThumbnailClass *klass) { G_OBJECT_CLASS (klass)->dispose = gh_thumbnail_dispose; }

static void gh_thumbnail_init (GhThumbnail *self)
{
    self->stack = gtk_stack_new ();
    self->icon = gtk_image_new ();
    self->picture = gtk_picture_new ();
    self->clamp = adw_clamp_new ();
    gtk_widget_set_valign (GTK_WIDGET (self), GTK_ALIGN_CENTER);
    gtk_widget_set_overflow (self->picture, GTK_OVERFLOW_HIDDEN);
    gtk_widget_set_valign (self->picture, GTK_ALIGN_CENTER);
    adw_clamp_set_child (ADW_CLAMP (self->clamp), self->picture);
    gtk_stack_set_hhomogeneous (GTK_STACK (self->stack), FALSE);
    gtk_stack_add_named (GTK_STACK (self->stack), self->icon, "icon");
    gtk_stack_add_named (GTK_STACK (self->stack), self->clamp, "picture");
    adw_bin_set_child (ADW_BIN (self), self->stack);
    gh_thumbnail_set_size (self, 84, 52, 48, 84);
    g_signal_connect (self, "map", G_CALLBACK (on_map), NULL);
}
