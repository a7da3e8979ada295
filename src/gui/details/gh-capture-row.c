/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-capture-row.h"

#include <glib/gi18n.h>

#include "gui/gh-util.h"

struct _GhCaptureRow {
    AdwActionRow parent_instance;
    GhMachine *machine;
    char *adapter, *last;          /* last: the file that was begun here, or that is being written */
    GtkWidget *button, *folder;
    gboolean capturing;
};

G_DEFINE_FINAL_TYPE (GhCaptureRow, gh_capture_row, ADW_TYPE_ACTION_ROW)

static void refresh (GhCaptureRow *self)
{
    g_autofree char *path = self->last ? gh_format_path (self->last) : NULL;
    g_autofree char *text = self->capturing && path ? g_strdup_printf (_ ("Writing %s"), path)
                            : path                 ? g_strdup_printf (_ ("Written to %s"), path)
                                                   : NULL;

    adw_action_row_set_subtitle (ADW_ACTION_ROW (self), text ? text : self->capturing ? _ ("Writing") : _ ("Writes what this card sends and receives into a file"));
    gtk_button_set_label (GTK_BUTTON (self->button), self->capturing ? _ ("Stop _Capture") : _ ("Start _Capture"));
    gtk_widget_set_visible (self->folder, self->last != NULL);
}

static void on_done (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhCaptureRow) self = data;
    g_autoptr (GError) error = NULL;

    if (gh_engine1_machine_call_capture_finish (GH_ENGINE1_MACHINE (source), result, &error) || !self->machine)
        return;
    gh_toast_error (GTK_WIDGET (self), error);
    if (!self->capturing)
        g_clear_pointer (&self->last, g_free); /* it was not begun */
    refresh (self);
}

static void on_button (GhCaptureRow *self)
{
    GhEngine1Machine *proxy = gh_machine_get_proxy (self->machine);
    g_autoptr (GDateTime) now = g_date_time_new_now_local ();
    g_autofree char *when = g_date_time_format (now, "%Y-%m-%d-%H%M%S");
    g_autofree char *name = g_strdup_printf ("%s-%s.pcapng", self->adapter, when);

    if (!self->capturing) {
        g_free (self->last);
        self->last = g_build_filename (gh_engine1_machine_get_folder (proxy), "logs", name, NULL);
    }
    gh_engine1_machine_call_capture (proxy, self->adapter, self->capturing ? "" : self->last, NULL, on_done, g_object_ref (self));
}

static void on_folder (GhCaptureRow *self)
{
    g_autofree char *folder = g_path_get_dirname (self->last);
    g_autofree char *uri = g_filename_to_uri (folder, NULL, NULL);

    if (uri)
        gtk_show_uri (GTK_WINDOW (gtk_widget_get_root (GTK_WIDGET (self))), uri, GDK_CURRENT_TIME);
}

void gh_capture_row_show (GhCaptureRow *self, GVariant *card)
{
    const char *adapter = "", *path = "";

    self->capturing = FALSE;
    g_variant_lookup (card, "id", "&s", &adapter);
    g_variant_lookup (card, "capture", "&s", &path);
    g_variant_lookup (card, "capturing", "b", &self->capturing);
    g_free (self->adapter);
    self->adapter = g_strdup (adapter);
    if (self->capturing && path[0]) {
        g_free (self->last);
        self->last = g_strdup (path);
    }
    gtk_widget_set_visible (GTK_WIDGET (self), gh_machine_is_on (self->machine));
    refresh (self);
}

static void gh_capture_row_dispose (GObject *object)
{
    GhCaptureRow *self = GH_CAPTURE_ROW (object);

    g_clear_object (&self->machine);
    g_clear_pointer (&self->adapter, g_free);
    g_clear_pointer (&self->last, g_free);
    G_OBJECT_CLASS (gh_capture_row_parent_class)->dispose (object);
}

static void gh_capture_row_class_init (GhCaptureRowClass *klass) { G_OBJECT_CLASS (klass)->dispose = gh_capture_row_dispose; }

static void gh_capture_row_init (GhCaptureRow *self)
{
    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (self), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (self), _ ("Packet Capture"));
    adw_action_row_set_subtitle_lines (ADW_ACTION_ROW (self), 3);
    self->folder = gtk_button_new_from_icon_name ("folder-open-symbolic");
    gtk_widget_set_valign (self->folder, GTK_ALIGN_CENTER);
    gtk_widget_add_css_class (self->folder, "flat");
    gtk_widget_set_tooltip_text (self->folder, _ ("Open the Folder"));
    gh_set_label (self->folder, _ ("Open the Capture's Folder"));
    g_signal_connect_swapped (self->folder, "clicked", G_CALLBACK (on_folder), self);
    adw_action_row_add_suffix (ADW_ACTION_ROW (self), self->folder);
    self->button = gtk_button_new_with_mnemonic (_ ("Start _Capture"));
    gtk_widget_set_valign (self->button, GTK_ALIGN_CENTER);
    g_signal_connect_swapped (self->button, "clicked", G_CALLBACK (on_button), self);
    adw_action_row_add_suffix (ADW_ACTION_ROW (self), self->button);
}

GtkWidget *gh_capture_row_new (GhMachine *machine)
{
    GhCaptureRow *self = g_object_new (GH_TYPE_CAPTURE_ROW, NULL);

    self->machine = g_object_ref (machine);
    refresh (self);
    return GTK_WIDGET (self);
}
