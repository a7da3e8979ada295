/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/list/gh-machine-row.h"

#include <glib/gi18n.h>

#include "gui/gh-prefs.h"
#include "gui/gh-util.h"

#define PICTURE_EVERY_MS 2000

struct _GhMachineRow {
    GtkListBoxRow parent_instance;
    GhMachine *machine;
    GtkStack *stack;
    GtkImage *icon, *state_icon;
    GtkPicture *picture;
    GtkLabel *name, *os, *state;
    GtkBox *work;
    guint timer;
    gboolean asking;
};

G_DEFINE_FINAL_TYPE (GhMachineRow, gh_machine_row, GTK_TYPE_LIST_BOX_ROW)

static void on_picture (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhMachineRow) self = data;
    g_autoptr (GVariant) reply = g_dbus_proxy_call_finish (G_DBUS_PROXY (source), result, NULL);

    self->asking = FALSE;
    if (!reply || !self->machine || !gh_machine_is_on (self->machine))
        return;
    g_autoptr (GVariant) png = g_variant_get_child_value (reply, 0);
    g_autoptr (GBytes) bytes = g_variant_get_data_as_bytes (png);
    g_autoptr (GdkTexture) texture = g_bytes_get_size (bytes) ? gdk_texture_new_from_bytes (bytes, NULL) : NULL;
    if (texture) {
        gtk_picture_set_paintable (self->picture, GDK_PAINTABLE (texture));
        gtk_stack_set_visible_child_name (self->stack, "picture");
    }
}

/* Asks only while somebody can see the answer. */
static gboolean on_timer (gpointer data)
{
    GhMachineRow *self = data;

    if (!gh_prefs_get (GH_PREFS_THUMBNAILS)) {
        gtk_stack_set_visible_child_name (self->stack, "icon");
        return G_SOURCE_CONTINUE;
    }
    if (self->asking || !gtk_widget_get_mapped (data))
        return G_SOURCE_CONTINUE;
    self->asking = TRUE;
    g_dbus_proxy_call (G_DBUS_PROXY (gh_machine_get_proxy (self->machine)), "Thumbnail", NULL, G_DBUS_CALL_FLAGS_NONE, 5000, NULL,
                       on_picture, g_object_ref (self));
    return G_SOURCE_CONTINUE;
}

static void refresh (GhMachineRow *self)
{
    const char *os = gh_engine1_machine_get_os_name (gh_machine_get_proxy (self->machine));
    gboolean on = gh_machine_is_on (self->machine);
    g_autofree char *address = gh_machine_get_address (self->machine);
    g_autofree char *state = g_strjoin (" · ", gh_machine_get_state_text (self->machine), address, NULL);

    gtk_label_set_text (self->name, gh_machine_get_name (self->machine));
    gtk_label_set_text (self->os, os && os[0] ? os : _ ("Unknown system"));
    gtk_label_set_text (self->state, state);
    gtk_image_set_from_icon_name (self->state_icon, gh_machine_get_state_icon (self->machine));
    gtk_image_set_from_icon_name (self->icon, gh_machine_get_os_icon (self->machine));
    gh_set_label (GTK_WIDGET (self), gh_machine_get_name (self->machine));
    gtk_accessible_update_property (GTK_ACCESSIBLE (self), GTK_ACCESSIBLE_PROPERTY_DESCRIPTION,
                                    gh_machine_get_state_text (self->machine), -1);
    if (on && !self->timer) {
        self->timer = g_timeout_add (PICTURE_EVERY_MS, on_timer, self);
        on_timer (self);
    } else if (!on) {
        g_clear_handle_id (&self->timer, g_source_remove);
        gtk_stack_set_visible_child_name (self->stack, "icon");
    }
}

GhMachine *gh_machine_row_get_machine (GhMachineRow *self) { return self->machine; }

GtkBox *gh_machine_row_get_work (GhMachineRow *self) { return self->work; }

GtkWidget *gh_machine_row_new (GhMachine *machine)
{
    GhMachineRow *self = g_object_new (GH_TYPE_MACHINE_ROW, NULL);

    self->machine = g_object_ref (machine);
    g_signal_connect_object (machine, "changed", G_CALLBACK (refresh), self, G_CONNECT_SWAPPED);
    refresh (self);
    return GTK_WIDGET (self);
}

static void gh_machine_row_dispose (GObject *object)
{
    GhMachineRow *self = GH_MACHINE_ROW (object);

    g_clear_handle_id (&self->timer, g_source_remove);
    g_clear_object (&self->machine);
    G_OBJECT_CLASS (gh_machine_row_parent_class)->dispose (object);
}

static void gh_machine_row_class_init (GhMachineRowClass *klass)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS (klass);

    G_OBJECT_CLASS (klass)->dispose = gh_machine_row_dispose;
    gtk_widget_class_set_template_from_resource (widget, "/org/gasthaus/Gasthaus/list/gh-machine-row.ui");
    gtk_widget_class_bind_template_child (widget, GhMachineRow, stack);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, icon);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, picture);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, name);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, os);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, state);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, state_icon);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, work);
}

static void gh_machine_row_init (GhMachineRow *self) { gtk_widget_init_template (GTK_WIDGET (self)); }
