/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-media-group.h"

#include <glib/gi18n.h>

#include "gui/details/gh-disk-row.h"
#include "gui/gh-rows.h"
#include "gui/gh-util.h"
#include "gui/media/gh-new-disk.h"

struct _GhMediaGroup {
    AdwPreferencesGroup parent_instance;
    GhMachine *machine;
    GPtrArray *rows; /* disks keep theirs, which a person may be typing into; the others are made anew when they change */
    GVariant *shown;
    GtkWidget *add;
    gboolean shown_on;
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

static gboolean is_disk (GVariant *drive)
{
    const char *kind = "";

    return g_variant_lookup (drive, "kind", "&s", &kind) && g_str_equal (kind, "disk");
}

/* A drive for media. */
static void add_drive (GhMediaGroup *self, GVariant *drive)
{
    const char *id = "", *kind = "", *file = "";
    gboolean present = TRUE;

    g_variant_lookup (drive, "id", "&s", &id);
    g_variant_lookup (drive, "kind", "&s", &kind);
    g_variant_lookup (drive, "file", "&s", &file);
    g_variant_lookup (drive, "present", "b", &present);
    gboolean is_cd = g_str_equal (kind, "cdrom");
    g_autofree char *base = file[0] ? g_path_get_basename (file) : NULL;
    g_autofree char *text = !base ? g_strdup (_ ("No medium")) : !present ? g_strdup_printf (_ ("%s is missing"), base) : g_strdup (base);
    GtkWidget *row = add_row (self, is_cd ? "media-optical-symbolic" : "media-floppy-symbolic", is_cd ? _ ("CD Drive") : _ ("Floppy Drive"), text);
    if (file[0])
        gtk_widget_set_tooltip_text (row, file);
    if (base)
        add_button (self, row, "media-eject-symbolic", _ ("Eject"), id, G_CALLBACK (on_eject));
    add_button (self, row, "document-open-symbolic", _ ("Insert a Medium"), id, G_CALLBACK (on_insert));
}

/* The same drives as are shown, and the media in them too: only disks are otherwise. */
static gboolean only_disks_differ (GhMediaGroup *self, GVariant *drives)
{
    if (!self->shown || !g_variant_n_children (drives) || g_variant_n_children (drives) != g_variant_n_children (self->shown))
        return FALSE;
    for (gsize i = 0; i < g_variant_n_children (drives); i++) {
        g_autoptr (GVariant) now = g_variant_get_child_value (drives, i), then = g_variant_get_child_value (self->shown, i);
        if (is_disk (now) != is_disk (then) || (!is_disk (now) && !g_variant_equal (now, then)))
            return FALSE;
    }
    return TRUE;
}

static void clear (GhMediaGroup *self)
{
    for (guint i = 0; i < self->rows->len; i++)
        adw_preferences_group_remove (ADW_PREFERENCES_GROUP (self), g_ptr_array_index (self->rows, i));
    g_ptr_array_set_size (self->rows, 0);
    g_clear_pointer (&self->shown, g_variant_unref);
}

static void make_rows (GhMediaGroup *self, GVariant *drives)
{
    gboolean open[16] = { FALSE };

    for (guint i = 0; i < self->rows->len && i < G_N_ELEMENTS (open); i++)
        open[i] = GH_IS_DISK_ROW (g_ptr_array_index (self->rows, i)) && adw_expander_row_get_expanded (g_ptr_array_index (self->rows, i));
    clear (self);
    for (gsize i = 0; i < g_variant_n_children (drives); i++) {
        g_autoptr (GVariant) drive = g_variant_get_child_value (drives, i);
        if (!is_disk (drive)) {
            add_drive (self, drive);
            continue;
        }
        GtkWidget *row = gh_disk_row_new (self->machine);
        adw_preferences_group_add (ADW_PREFERENCES_GROUP (self), row);
        adw_expander_row_set_expanded (ADW_EXPANDER_ROW (row), i < G_N_ELEMENTS (open) && open[i]);
        g_ptr_array_add (self->rows, row);
    }
    if (!self->rows->len)
        add_row (self, NULL, _ ("None"), "");
}

static void refresh (GhMediaGroup *self)
{
    GVariant *drives = gh_engine1_machine_get_disks (gh_machine_get_proxy (self->machine));
    gboolean on = gh_machine_is_on (self->machine);

    if (!drives || (self->shown && on == self->shown_on && g_variant_equal (drives, self->shown)))
        return;
    if (!only_disks_differ (self, drives))
        make_rows (self, drives);
    g_variant_ref (drives);
    g_clear_pointer (&self->shown, g_variant_unref);
    self->shown = drives;
    self->shown_on = on;
    gtk_widget_set_sensitive (self->add, !on);
    for (gsize i = 0; i < g_variant_n_children (drives); i++) {
        g_autoptr (GVariant) drive = g_variant_get_child_value (drives, i);
        if (is_disk (drive))
            gh_disk_row_show (g_ptr_array_index (self->rows, i), drive);
    }
}

/* ---- Another disk --------------------------------------------------------------------------------------- */
static void on_added (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GtkWidget) self = data;
    g_autoptr (GError) error = NULL;

    if (!gh_engine1_machine_call_add_disk_finish (GH_ENGINE1_MACHINE (source), NULL, result, &error))
        gh_toast_error (self, error);
}

static void on_disk_chosen (GtkNativeDialog *dialog, int response, GhMediaGroup *self)
{
    g_autoptr (GFile) file = response == GTK_RESPONSE_ACCEPT ? gtk_file_chooser_get_file (GTK_FILE_CHOOSER (dialog)) : NULL;
    g_autofree char *path = file ? g_file_get_path (file) : NULL;

    if (path && self->machine)
        gh_engine1_machine_call_add_disk (gh_machine_get_proxy (self->machine), path, g_variant_new ("a{sv}", NULL), NULL, on_added, g_object_ref (self));
    g_object_unref (dialog);
}

static void on_existing (GtkWidget *widget, const char *action, GVariant *unused)
{
    GtkFileChooserNative *chooser = gtk_file_chooser_native_new (_ ("Choose a Disk"), GTK_WINDOW (gtk_widget_get_root (widget)),
                                                                 GTK_FILE_CHOOSER_ACTION_OPEN, NULL, NULL);

    g_signal_connect_object (chooser, "response", G_CALLBACK (on_disk_chosen), widget, 0);
    gtk_native_dialog_show (GTK_NATIVE_DIALOG (chooser));
}

static void on_created (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GtkWidget) self = data;
    g_autoptr (GError) error = NULL;

    /* How the job ends is said where jobs are shown. */
    if (!gh_engine1_call_media_action_finish (GH_ENGINE1 (source), NULL, result, &error))
        gh_toast_error (self, error);
}

static void on_new_chosen (gpointer data, const char *path, GVariant *options)
{
    GhMediaGroup *self = data;
    g_autoptr (GVariant) kept = g_variant_ref_sink (options);
    g_autoptr (GhEngine1) engine = self->machine ? gh_machine_new_engine (self->machine) : NULL;

    if (engine)
        gh_engine1_call_media_action (engine, "create", path, kept, NULL, on_created, g_object_ref (self));
}

static void on_new (GtkWidget *widget, const char *action, GVariant *unused)
{
    GhMediaGroup *self = GH_MEDIA_GROUP (widget);

    if (self->machine)
        gh_new_disk_ask (widget, NULL, self->machine, on_new_chosen, self);
}

void gh_media_group_set_machine (GhMediaGroup *self, GhMachine *machine)
{
    if (self->machine)
        g_signal_handlers_disconnect_by_data (self->machine, self);
    if (self->machine != machine && machine)
        clear (self);
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

static void gh_media_group_class_init (GhMediaGroupClass *klass)
{
    G_OBJECT_CLASS (klass)->dispose = gh_media_group_dispose;
    gtk_widget_class_install_action (GTK_WIDGET_CLASS (klass), "disks.new", NULL, on_new);
    gtk_widget_class_install_action (GTK_WIDGET_CLASS (klass), "disks.existing", NULL, on_existing);
}

static void gh_media_group_init (GhMediaGroup *self)
{
    g_autoptr (GMenu) menu = g_menu_new ();

    self->rows = g_ptr_array_new ();
    adw_preferences_group_set_title (ADW_PREFERENCES_GROUP (self), _ ("Disks and Media"));
    g_menu_append (menu, _ ("_New Disk…"), "disks.new");
    g_menu_append (menu, _ ("_Existing Disk…"), "disks.existing");
    self->add = gtk_menu_button_new ();
    gtk_menu_button_set_icon_name (GTK_MENU_BUTTON (self->add), "list-add-symbolic");
    gtk_menu_button_set_menu_model (GTK_MENU_BUTTON (self->add), G_MENU_MODEL (menu));
    gtk_widget_add_css_class (self->add, "flat");
    gtk_widget_set_tooltip_text (self->add, _ ("Add a Disk"));
    gh_set_label (self->add, _ ("Add a Disk"));
    adw_preferences_group_set_header_suffix (ADW_PREFERENCES_GROUP (self), self->add);
}
