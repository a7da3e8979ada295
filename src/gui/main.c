/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gasthaus: the application. Knows the engine by D-Bus alone. */
#include <adwaita.h>
#include <glib/gi18n.h>
#include <locale.h>

#include "gui/display/gh-display-window.h"
#include "gui/engine/gh-connection.h"
#include "gui/gh-prefs-window.h"
#include "gui/gh-prefs.h"
#include "gui/gh-resources.h"
#include "gui/gh-window.h"
#include "gui/host/gh-host-window.h"
#include "gui/import/gh-import-window.h"
#include "gui/media/gh-media-window.h"
#include "gui/wizard/gh-create-window.h"

#define APP_ID "org.gasthaus.Gasthaus"

struct app {
    AdwApplication *app;
    GhConnection *connection;
    GtkWidget *window, *media; /* media: that of disks and media, while it is open */
    GPtrArray *pending;      /* paths that wait for the connection */
    char *pending_machine;   /* waits for the new object */
    gboolean pending_start, at_once;
};

static void on_window_gone (struct app *a) { a->window = NULL; }

static void activate (GApplication *application, struct app *a)
{
    if (!a->window) {
        a->window = gh_window_new (GTK_APPLICATION (a->app), a->connection);
        g_signal_connect_swapped (a->window, "destroy", G_CALLBACK (on_window_gone), a);
    }
    gtk_window_present (GTK_WINDOW (a->window));
}

static void new_machine (struct app *a, const char *medium, gboolean at_once)
{
    activate (NULL, a);
    gtk_window_present (GTK_WINDOW (gh_create_window_new (GTK_WINDOW (a->window), a->connection, medium, at_once)));
}

/* A CD image makes a new machine, everything else is looked at by the importer, which knows CD images by their content. */
static void open_file (struct app *a, const char *path, gboolean at_once)
{
    g_autofree char *lower = g_ascii_strdown (path, -1);

    activate (NULL, a);
    if (g_str_has_suffix (lower, ".iso"))
        new_machine (a, path, at_once);
    else if (!gh_connection_is_open (a->connection))
        g_ptr_array_add (a->pending, g_strdup (path));
    else
        gtk_window_present (GTK_WINDOW (gh_import_window_new (GTK_WINDOW (a->window), a->connection, path)));
}

static void on_open_file (GSimpleAction *action, GVariant *path, gpointer data) { open_file (data, g_variant_get_string (path, NULL), FALSE); }

static void on_media (GSimpleAction *action, GVariant *p, gpointer data)
{
    struct app *a = data;

    activate (NULL, a);
    if (!a->media) {
        a->media = gh_media_window_new (GTK_WINDOW (a->window), a->connection);
        g_object_add_weak_pointer (G_OBJECT (a->media), (gpointer *) &a->media);
    }
    gtk_window_present (GTK_WINDOW (a->media));
}

static void on_new (GSimpleAction *action, GVariant *p, gpointer data) { new_machine (data, NULL, FALSE); }

static void show_screen (struct app *a, GhMachine *machine)
{
    for (GList *l = gtk_application_get_windows (GTK_APPLICATION (a->app)); l; l = l->next)
        if (GH_IS_DISPLAY_WINDOW (l->data) && gh_display_window_get_machine (l->data) == machine) {
            gtk_window_present (l->data);
            return;
        }
    gtk_window_present (GTK_WINDOW (gh_display_window_new (GTK_APPLICATION (a->app), machine)));
}

/* A deleted machine's screen goes with it. */
static void close_orphans (struct app *a)
{
    GListModel *machines = gh_connection_get_machines (a->connection);
    g_autoptr (GList) windows = g_list_copy (gtk_application_get_windows (GTK_APPLICATION (a->app)));

    for (GList *l = windows; l; l = l->next) {
        gboolean known = FALSE;
        if (!GH_IS_DISPLAY_WINDOW (l->data))
            continue;
        for (guint i = 0; i < g_list_model_get_n_items (machines) && !known; i++) {
            g_autoptr (GhMachine) m = g_list_model_get_item (machines, i);
            known = gh_display_window_get_machine (l->data) == m;
        }
        if (!known)
            gtk_window_destroy (l->data);
    }
}

static void on_show_screen (GSimpleAction *action, GVariant *uuid, gpointer data)
{
    struct app *a = data;
    GListModel *machines = gh_connection_get_machines (a->connection);

    for (guint i = 0; i < g_list_model_get_n_items (machines); i++) {
        g_autoptr (GhMachine) m = g_list_model_get_item (machines, i);
        if (g_str_equal (gh_machine_get_uuid (m), g_variant_get_string (uuid, NULL)))
            show_screen (a, m);
    }
}

/* Closing a screen stops nothing; who closes it is told, in the window or, without one, by the desktop. */
static void on_screen_closed (GSimpleAction *action, GVariant *uuid, gpointer data)
{
    struct app *a = data;
    GListModel *machines = gh_connection_get_machines (a->connection);

    for (guint i = 0; i < g_list_model_get_n_items (machines); i++) {
        g_autoptr (GhMachine) m = g_list_model_get_item (machines, i);
        if (!g_str_equal (gh_machine_get_uuid (m), g_variant_get_string (uuid, NULL)))
            continue;
        if (a->window) {
            gh_window_say_goes_on (GH_WINDOW (a->window), m);
            continue;
        }
        g_autofree char *text = g_strdup_printf (_ ("“%s” goes on running."), gh_machine_get_name (m));
        g_autoptr (GNotification) note = g_notification_new (text);
        g_notification_set_default_action_and_target (note, "app.show-screen", "s", gh_machine_get_uuid (m));
        g_application_send_notification (G_APPLICATION (a->app), gh_machine_get_uuid (m), note);
    }
}

/* The reply to creation may come before or after the new object. */
static void pending_machine (struct app *a)
{
    GhMachine *m = a->pending_machine ? gh_connection_find (a->connection, a->pending_machine) : NULL;

    if (!m || !a->window)
        return;
    g_clear_pointer (&a->pending_machine, g_free);
    gh_window_select (GH_WINDOW (a->window), m);
    if (a->pending_start)
        gtk_widget_activate_action (a->window, "machine.start", NULL);
}

static void on_machine_created (GSimpleAction *action, GVariant *p, gpointer data)
{
    struct app *a = data;

    g_free (a->pending_machine);
    g_variant_get (p, "(sb)", &a->pending_machine, &a->pending_start);
    pending_machine (a);
}

static void on_machines (struct app *a)
{
    close_orphans (a);
    pending_machine (a);
}

static void on_connection (struct app *a)
{
    while (a->pending->len && gh_connection_is_open (a->connection)) {
        g_autofree char *path = g_ptr_array_steal_index (a->pending, 0);
        open_file (a, path, a->at_once);
    }
}

static void open_files (GApplication *application, GFile **files, int n, const char *hint, struct app *a)
{
    activate (application, a);
    a->at_once = n == 1; /* “gasthaus FILE.iso” starts it; of several each is asked for */
    for (int i = 0; i < n; i++) {
        char *path = g_file_get_path (files[i]);
        if (path)
            g_ptr_array_add (a->pending, path);
    }
    on_connection (a);
}

static void on_chosen (GtkNativeDialog *dialog, int response, struct app *a)
{
    if (response == GTK_RESPONSE_ACCEPT) {
        g_autoptr (GFile) file = gtk_file_chooser_get_file (GTK_FILE_CHOOSER (dialog));
        g_autofree char *path = g_file_get_path (file);
        if (path)
            open_file (a, path, FALSE);
    }
    g_object_unref (dialog);
}

static void on_open (GSimpleAction *action, GVariant *p, gpointer data)
{
    struct app *a = data;
    GtkFileChooserNative *chooser = gtk_file_chooser_native_new (_ ("Open a CD Image, a Machine or a Disk"), GTK_WINDOW (a->window),
                                                                 GTK_FILE_CHOOSER_ACTION_OPEN, NULL, NULL);

    g_signal_connect (chooser, "response", G_CALLBACK (on_chosen), a);
    gtk_native_dialog_show (GTK_NATIVE_DIALOG (chooser));
}

static void on_host (GSimpleAction *action, GVariant *p, gpointer data)
{
    struct app *a = data;

    activate (NULL, a);
    gtk_window_present (GTK_WINDOW (gh_host_window_new (GTK_WINDOW (a->window), a->connection)));
}

static void on_preferences (GSimpleAction *action, GVariant *p, gpointer data)
{
    struct app *a = data;

    activate (NULL, a);
    gtk_window_present (GTK_WINDOW (gh_prefs_window_new (GTK_WINDOW (a->window))));
}

static void on_new_from (GSimpleAction *action, GVariant *path, gpointer data) { new_machine (data, g_variant_get_string (path, NULL), FALSE); }

/* Made when it is asked for and gone when it is closed. As the window's help overlay it would always be there, hidden, and GTK
 * 4.8 ends the program when an accessibility tool asks for a window that was just closed while the last one of all is hidden. */
static void on_shortcuts (GSimpleAction *action, GVariant *p, gpointer data)
{
    struct app *a = data;
    g_autoptr (GtkBuilder) builder = gtk_builder_new_from_resource ("/org/gasthaus/Gasthaus/shortcuts.ui");
    GtkWindow *window = GTK_WINDOW (gtk_builder_get_object (builder, "shortcuts"));

    gtk_window_set_transient_for (window, gtk_application_get_active_window (GTK_APPLICATION (a->app)));
    gtk_window_present (window);
}

static void on_about (GSimpleAction *action, GVariant *p, gpointer data)
{
    struct app *a = data;

    adw_show_about_window (GTK_WINDOW (a->window), "application-name", "Gasthaus", "application-icon", APP_ID, "version", GH_VERSION,
                           "developer-name", _ ("The Gasthaus developers"), "license-type", GTK_LICENSE_GPL_3_0, "comments",
                           _ ("A house for guests: runs other systems beside your own."), "translator-credits", _ ("translator-credits"), NULL);
}

static void on_quit (GSimpleAction *action, GVariant *p, gpointer data)
{
    struct app *a = data;

    g_application_quit (G_APPLICATION (a->app));
}

static void startup (GApplication *application, struct app *a)
{
    static const GActionEntry entries[] = {
        { "new-machine", on_new }, { "open", on_open }, { "host", on_host }, { "about", on_about }, { "preferences", on_preferences },
        { "new-from", on_new_from, "s" }, { "open-file", on_open_file, "s" }, { "media", on_media }, { "quit", on_quit },
        { "show-screen", on_show_screen, "s" }, { "screen-closed", on_screen_closed, "s" }, { "machine-created", on_machine_created, "(sb)" },
        { "shortcuts", on_shortcuts },
    };
    static const struct { const char *action, *keys; } accels[] = {
        { "app.new-machine", "<Control>n" }, { "app.open", "<Control>o" }, { "app.quit", "<Control>q" }, { "app.preferences", "<Control>comma" },
        { "window.close", "<Control>w" }, { "machine.start", "<Control>Return" }, { "machine.show", "<Control>d" },
        { "app.shortcuts", "<Control>question" },
    };

    gh_prefs_apply ();
    gtk_icon_theme_add_resource_path (gtk_icon_theme_get_for_display (gdk_display_get_default ()), "/org/gasthaus/Gasthaus/icons");
    gtk_window_set_default_icon_name (APP_ID);
    g_action_map_add_action_entries (G_ACTION_MAP (a->app), entries, G_N_ELEMENTS (entries), a);
    for (guint i = 0; i < G_N_ELEMENTS (accels); i++)
        gtk_application_set_accels_for_action (GTK_APPLICATION (a->app), accels[i].action, (const char *[]){ accels[i].keys, NULL });
    a->connection = gh_connection_new ();
    g_signal_connect_swapped (a->connection, "changed", G_CALLBACK (on_connection), a);
    g_signal_connect_data (gh_connection_get_machines (a->connection), "items-changed", G_CALLBACK (on_machines), a, NULL,
                           G_CONNECT_SWAPPED | G_CONNECT_AFTER);
    gh_connection_open (a->connection);
}

int main (int argc, char **argv)
{
    struct app a = { 0 };
    const char *locale = g_getenv ("GASTHAUS_LOCALEDIR");

    setlocale (LC_ALL, "");
    bindtextdomain ("gasthaus", locale ? locale : GH_LOCALEDIR);
    bind_textdomain_codeset ("gasthaus", "UTF-8");
    textdomain ("gasthaus");
    g_resources_register (gh_get_resource ());
    a.pending = g_ptr_array_new_with_free_func (g_free);
    a.app = adw_application_new (APP_ID, G_APPLICATION_HANDLES_OPEN);
    g_signal_connect_after (a.app, "startup", G_CALLBACK (startup), &a);
    g_signal_connect (a.app, "activate", G_CALLBACK (activate), &a);
    g_signal_connect (a.app, "open", G_CALLBACK (open_files), &a);
    int status = g_application_run (G_APPLICATION (a.app), argc, argv);
    g_clear_object (&a.connection);
    g_object_unref (a.app);
    g_ptr_array_unref (a.pending);
    g_free (a.pending_machine);
    return status;
}
