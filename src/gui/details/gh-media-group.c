/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-media-group.h"

#include <glib/gi18n.h>

#include "gui/gh-rows.h"
#include "gui/gh-util.h"

struct _GhMediaGroup {
    AdwPreferencesGroup parent_instance;
    GhMachine *machine;
    GPtrArray *rows; /* made anew when the drives change */
    GVariant *shown;
};

G_DEFINE_FINAL_TYPE (GhMediaGroup, gh_media_group, ADW_TYPE_PREFERENCES_GROUP)

static const char *drive_of (GtkWidget *button) { return g_object_get_data (G_OBJECT (button), "drive"); }

static void on_set (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GtkWidget) self = data;
    g_autoptr (GError) error = NULL;

    if (!gh_engine1_machine_call_set_medium_finish (GH_ENGINE1_MACHINE (source), result, &error))
        gh_toast_error (self, error);
}

static void set_medium (GhMediaGroup *self, const char *drive, const char *path)
{
    if (self->machine)
        gh_engine1_machine_call_set_medium (gh_machine_get_proxy (self->machine), drive, path, NULL, on_set, g_object_ref (self));
}

static void on_eject (GtkButton *button, GhMediaGroup *self) { set_medium (self, drive_of (GTK_WIDGET (button)), ""); }

static void on_chosen (GtkNativeDialog *dialog, int response, GhMediaGroup *self)
{
    if (response == GTK_RESPONSE_ACCEPT) {
        g_autoptr (GFile) file = gtk_file_chooser_get_file (GTK_FILE_CHOOSER (dialog));
        g_autofree char *path = g_file_get_path (file);
        if (path)
            set_medium (self, g_object_get_data (G_OBJECT (dialog), "drive"), path);
    }
    g_object_unref (dialog);
}

static void on_insert (GtkButton *button, GhMediaGroup *self)
{
    GtkFileChooserNative *chooser = gtk_file_chooser_native_new (_ ("Choose a Medium"), GTK_WINDOW (gtk_widget_get_root (GTK_WIDGET (self))),
                                                                 GTK_FILE_CHOOSER_ACTION_OPEN, NULL, NULL);

    g_object_set_data_full (G_OBJECT (chooser), "drive", g_strdup (drive_of (GTK_WIDGET (button))), g_free);
    g_signal_connect_object (chooser, "response", G_CALLBACK (on_chosen), self, 0);
    gtk_native_dialog_show (GTK_NATIVE_DIALOG (chooser));
}

static void add_button (GhMediaGroup *self, GtkWidget *row, const char *icon, const char *label, const char *drive, GCallback handler)
{
    GtkWidget *button = gh_row_add_icon_button (row, icon, label);

    g_object_set_data_full (G_OBJECT (button), "drive", g_strdup (drive), g_free);
    g_signal_connect (button, "clicked", handler, self);
}

static GtkWidget *add_row (GhMediaGroup *self, const char *icon, const char *title, const char *subtitle)
{
    GtkWidget *row = gh_row_new (ADW_PREFERENCES_GROUP (self), icon, title, subtitle);

    g_ptr_array_add (self->rows, row);
    return row;
}

static void add_drive (GhMediaGroup *self, GVariant *drive)
{
    const char *id = "", *kind = "", *file = "", *bus = "";
    guint64 bytes = 0;
    gboolean present = TRUE;

    g_variant_lookup (drive, "id", "&s", &id);
    g_variant_lookup (drive, "kind", "&s", &kind);
    g_variant_lookup (drive, "bus", "&s", &bus);
    g_variant_lookup (drive, "file", "&s", &file);
    g_variant_lookup (drive, "host-bytes", "t", &bytes);
    g_variant_lookup (drive, "present", "b", &present);
    gboolean is_disk = g_str_equal (kind, "disk"), is_cd = g_str_equal (kind, "cdrom");
    const char *title = is_disk ? _ ("Disk") : is_cd ? _ ("CD Drive") : _ ("Floppy Drive");
    g_autofree char *base = file[0] ? g_path_get_basename (file) : NULL;
    g_autofree char *size = gh_format_size (bytes);
    g_autofree char *place = g_str_equal (bus, "virtio") ? g_strdup (bus) : g_ascii_strup (bus, -1); /* IDE, AHCI, NVME */
    g_autofree char *text = !base      ? g_strdup (_ ("No medium"))
                            : !present ? g_strdup_printf (_ ("%s is missing"), base)
                            : is_disk  ? g_strdup_printf (_ ("%s on %s, %s on this computer"), base, place, size)
                                       : g_strdup (base);
    GtkWidget *row = add_row (self, is_disk ? "drive-harddisk-symbolic" : is_cd ? "media-optical-symbolic" : "media-floppy-symbolic", title, text);
    if (file[0])
        gtk_widget_set_tooltip_text (row, file);
    if (is_disk)
        return;
    if (base)
        add_button (self, row, "media-eject-symbolic", _ ("Eject"), id, G_CALLBACK (on_eject));
    add_button (self, row, "document-open-symbolic", _ ("Insert a Medium"), id, G_CALLBACK (on_insert));
}

static void refresh (GhMediaGroup *self)
{
    GVariant *drives = gh_engine1_machine_get_disks (gh_machine_get_proxy (self->machine)), *drive;
    GVariantIter iter;

    if (!drives || (self->shown && g_variant_equal (drives, self->shown)))
        return;
    for (guint i = 0; i < self->rows->len; i++)
        adw_preferences_group_remove (ADW_PREFERENCES_GROUP (self), g_ptr_array_index (self->rows, i));
    g_ptr_array_set_size (self->rows, 0);
    g_clear_pointer (&self->shown, g_variant_unref);
    self->shown = g_variant_ref (drives);
    g_variant_iter_init (&iter, drives);
    while ((drive = g_variant_iter_next_value (&iter))) {
        add_drive (self, drive);
        g_variant_unref (drive);
    }
    if (!self->rows->len)
        add_row (self, NULL, _ ("None"), "");
}

void gh_media_group_set_machine (GhMediaGroup *self, GhMachine *machine)
{
    if (self->machine)
        g_signal_handlers_disconnect_by_data (self->machine, self);
    g_set_object (&self->machine, machine);
    if (!machine)
        return;
    g_signal_connect_object (machine, "changed", G_CALLBACK (refresh), self, G_CONNECT_SWAPPED);
    refresh (self);
}

static void gh_media_group_dispose (GObject *object)
{
    GhMediaGroup *self = GH_MEDIA_GROUP (object);

    gh_media_group_set_machine (self, NULL);
    g_clear_pointer (&self->rows, g_ptr_array_unref);
    g_clear_pointer (&self->shown, g_variant_unref);
    G_OBJECT_CLASS (gh_media_group_parent_class)->dispose (object);
}

static void gh_media_group_class_init (GhMediaGroupClass *klass) { G_OBJECT_CLASS (klass)->dispose = gh_media_group_dispose; }

static void gh_media_group_init (GhMediaGroup *self)
{
    self->rows = g_ptr_array_new ();
    adw_preferences_group_set_title (ADW_PREFERENCES_GROUP (self), _ ("Disks and Media"));
}
