/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-files-group.h"

#include <glib/gi18n.h>

#include "gui/details/gh-log-window.h"
#include "gui/gh-rows.h"
#include "gui/gh-util.h"

struct _GhFilesGroup {
    AdwPreferencesGroup parent_instance;
    GhMachine *machine;
    GtkWidget *folder, *log;
};

G_DEFINE_FINAL_TYPE (GhFilesGroup, gh_files_group, ADW_TYPE_PREFERENCES_GROUP)

static void refresh (GhFilesGroup *self)
{
    const char *folder = gh_engine1_machine_get_folder (gh_machine_get_proxy (self->machine));
    g_autofree char *text = gh_format_path (folder ? folder : "");

    adw_action_row_set_subtitle (ADW_ACTION_ROW (self->folder), text);
}

static void on_folder (GhFilesGroup *self)
{
    g_autoptr (GFile) folder = g_file_new_for_path (gh_engine1_machine_get_folder (gh_machine_get_proxy (self->machine)));
    g_autofree char *uri = g_file_get_uri (folder);

    gtk_show_uri (GTK_WINDOW (gtk_widget_get_root (GTK_WIDGET (self))), uri, GDK_CURRENT_TIME);
}

static void on_log (GhFilesGroup *self)
{ gtk_window_present (GTK_WINDOW (gh_log_window_new (GTK_WINDOW (gtk_widget_get_root (GTK_WIDGET (self))), self->machine))); }

void gh_files_group_set_machine (GhFilesGroup *self, GhMachine *machine)
{
    if (self->machine)
        g_signal_handlers_disconnect_by_data (self->machine, self);
    g_set_object (&self->machine, machine);
    if (!machine)
        return;
    g_signal_connect_object (machine, "changed", G_CALLBACK (refresh), self, G_CONNECT_SWAPPED);
    refresh (self);
}

static void gh_files_group_dispose (GObject *object)
{
    gh_files_group_set_machine (GH_FILES_GROUP (object), NULL);
    G_OBJECT_CLASS (gh_files_group_parent_class)->dispose (object);
}

static void gh_files_group_class_init (GhFilesGroupClass *klass) { G_OBJECT_CLASS (klass)->dispose = gh_files_group_dispose; }

static GtkWidget *add_row (GhFilesGroup *self, const char *icon, const char *title, const char *verb, GCallback handler)
{
    GtkWidget *row = gh_row_new (ADW_PREFERENCES_GROUP (self), NULL, title, NULL), *button = gh_row_add_icon_button (row, icon, verb);

    g_signal_connect_swapped (button, "clicked", handler, self);
    adw_action_row_set_activatable_widget (ADW_ACTION_ROW (row), button);
    return row;
}

static void gh_files_group_init (GhFilesGroup *self)
{
    adw_preferences_group_set_title (ADW_PREFERENCES_GROUP (self), _ ("Files"));
    self->folder = add_row (self, "folder-open-symbolic", _ ("Folder"), _ ("Open the Folder"), G_CALLBACK (on_folder));
    self->log = add_row (self, "go-next-symbolic", _ ("Log"), _ ("Show the Log"), G_CALLBACK (on_log));
    adw_action_row_set_subtitle (ADW_ACTION_ROW (self->log), _ ("What the machine reported since its last start"));
}
