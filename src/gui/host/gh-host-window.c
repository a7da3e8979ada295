/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/host/gh-host-window.h"

#include <glib/gi18n.h>
#include <jansson.h>

#include "gui/gh-util.h"

static AdwPreferencesGroup *add_group (AdwPreferencesPage *page, const char *title)
{
    AdwPreferencesGroup *group = ADW_PREFERENCES_GROUP (adw_preferences_group_new ());

    adw_preferences_group_set_title (group, title);
    adw_preferences_page_add (page, group);
    return group;
}

static void add_row (AdwPreferencesGroup *group, const char *icon, const char *title, const char *subtitle)
{
    GtkWidget *row = adw_action_row_new ();

    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (row), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title ? title : "");
    adw_action_row_set_subtitle (ADW_ACTION_ROW (row), subtitle ? subtitle : "");
    if (icon)
        adw_action_row_set_icon_name (ADW_ACTION_ROW (row), icon);
    adw_preferences_group_add (group, row);
}

static void show_report (AdwPreferencesPage *page, json_t *report)
{
    AdwPreferencesGroup *computer = add_group (page, _ ("Hardware")), *chosen, *all;
    g_autofree char *memory = gh_format_size ((guint64) json_integer_value (json_object_get (report, "memory-bytes")));
    g_autofree char *cpus = g_strdup_printf ("%lld", (long long) json_integer_value (json_object_get (report, "cpus")));
    json_t *accel;
    size_t i;

    add_row (computer, NULL, _ ("Processor"), json_string_value (json_object_get (report, "cpu")));
    add_row (computer, NULL, _ ("Processors"), cpus);
    add_row (computer, NULL, _ ("Memory"), memory);
    chosen = add_group (page, _ ("Chosen for Machines"));
    add_row (chosen, "emblem-ok-symbolic", json_string_value (json_object_get (report, "chosen")),
             json_string_value (json_object_get (report, "why")));
    all = add_group (page, _ ("All Ways to Run Machines"));
    json_array_foreach (json_object_get (report, "accelerators"), i, accel) {
        gboolean usable = json_is_true (json_object_get (accel, "usable"));
        const char *error = json_string_value (json_object_get (accel, "error"));
        const char *detail = json_string_value (json_object_get (accel, "detail"));
        g_autofree char *title = g_strdup_printf ("%s — %s", json_string_value (json_object_get (accel, "name")),
                                                  json_string_value (json_object_get (accel, "summary")));
        add_row (all, usable ? "emblem-ok-symbolic" : "dialog-warning-symbolic", title, error && error[0] ? error : detail);
    }
}

static void on_report (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (AdwPreferencesPage) page = data;
    g_autofree char *text = NULL;
    g_autoptr (GError) error = NULL;
    json_t *report = NULL;

    if (gh_engine1_call_check_host_finish (GH_ENGINE1 (source), &text, result, &error))
        report = json_loads (text, 0, NULL);
    if (json_is_object (report)) {
        show_report (page, report);
    } else {
        g_autofree char *message = error ? gh_error_message (error) : g_strdup (_ ("The report could not be read. [HostCheckFailed]"));
        add_row (add_group (page, ""), "dialog-warning-symbolic", _ ("The Check Failed"), message);
    }
    json_decref (report);
}

GtkWidget *gh_host_window_new (GtkWindow *parent, GhConnection *connection)
{
    GtkWidget *window = g_object_new (ADW_TYPE_WINDOW, "transient-for", parent, "modal", TRUE, "title", _ ("This Computer"),
                                      "default-width", 620, "default-height", 640, NULL);
    GtkWidget *box = gtk_box_new (GTK_ORIENTATION_VERTICAL, 0), *page = adw_preferences_page_new ();
    GhEngine1 *engine = gh_connection_get_engine (connection);

    gtk_widget_set_vexpand (page, TRUE);
    gtk_box_append (GTK_BOX (box), adw_header_bar_new ());
    gtk_box_append (GTK_BOX (box), page);
    adw_window_set_content (ADW_WINDOW (window), box);
    gh_close_on_escape (window);
    gh_fit_screen (GTK_WINDOW (window));
    if (engine)
        gh_engine1_call_check_host (engine, NULL, on_report, g_object_ref (page));
    return window;
}
