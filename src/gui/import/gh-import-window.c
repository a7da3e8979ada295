/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/import/gh-import-window.h"

#include <glib/gi18n.h>
#include <jansson.h>

#include "gui/gh-rows.h"
#include "gui/gh-util.h"

struct page {
    GtkWidget *window, *stack, *import, *allow, *name, *in_place, *space, *which, *all; /* the last two: of an appliance with several machines */
    guint64 needed, stays, there; /* bytes: when all is copied; of that, what can stay; free */
    AdwStatusPage *failed;
    AdwPreferencesPage *report;
    GhConnection *connection;
    GCancellable *cancel;
    char *path, *folder, *proposed; /* folder: granted beside the file's own */
    guint system, systems, imported; /* the machine whose report is shown; how many there are; how many imports began */
};

static void page_free (gpointer data)
{
    struct page *p = data;

    g_cancellable_cancel (p->cancel);
    g_object_unref (p->cancel);
    g_object_unref (p->connection);
    g_free (p->path);
    g_free (p->folder);
    g_free (p->proposed);
    g_free (p);
}

static void inspect (struct page *p);

/* An empty one: each machine of an appliance has its own. */
static void fresh_report (struct page *p)
{
    if (p->report)
        gtk_stack_remove (GTK_STACK (p->stack), GTK_WIDGET (p->report));
    p->report = ADW_PREFERENCES_PAGE (adw_preferences_page_new ());
    gtk_stack_add_named (GTK_STACK (p->stack), GTK_WIDGET (p->report), "report");
}

static AdwPreferencesGroup *add_group (struct page *p, const char *title)
{
    AdwPreferencesGroup *group = ADW_PREFERENCES_GROUP (adw_preferences_group_new ());

    adw_preferences_group_set_title (group, title);
    adw_preferences_page_add (p->report, group);
    return group;
}

/* Sentences, as long as they are. */
static GtkWidget *add_row (AdwPreferencesGroup *group, const char *icon, const char *text)
{
    GtkWidget *row = gh_row_new (group, icon, text, NULL);

    adw_action_row_set_title_lines (ADW_ACTION_ROW (row), 0);
    return row;
}

static void add_lines (struct page *p, json_t *report, const char *kind, const char *title, const char *icon)
{
    AdwPreferencesGroup *group = NULL;
    json_t *line;
    size_t i;

    json_array_foreach (json_object_get (report, "lines"), i, line) {
        const char *text = json_string_value (json_object_get (line, "text"));
        if (!text || g_strcmp0 (json_string_value (json_object_get (line, "kind")), kind))
            continue;
        if (!group)
            group = add_group (p, title);
        add_row (group, icon, text);
    }
}

static gboolean some_can_stay (struct page *p, json_t *report)
{
    gboolean any = FALSE;
    json_t *m;
    size_t i;

    p->stays = 0;
    json_array_foreach (json_object_get (report, "media"), i, m)
        if (json_is_true (json_object_get (m, "can_stay"))) {
            any = TRUE;
            p->stays += (guint64) json_integer_value (json_object_get (m, "needed_bytes"));
        }
    return any;
}

/* What is not copied takes no space. */
static void on_in_place (struct page *p)
{
    gboolean stays = p->in_place && gtk_switch_get_active (GTK_SWITCH (p->in_place));
    guint64 bytes = stays ? p->needed - MIN (p->stays, p->needed) : p->needed;
    g_autofree char *needed = gh_format_size (bytes), *there = gh_format_size (p->there);
    g_autofree char *text = g_strdup_printf (p->systems > 1 ? _ ("%s needed for this machine, %s free") : _ ("%s needed, %s free"), needed, there);

    adw_action_row_set_icon_name (ADW_ACTION_ROW (p->space), bytes > p->there ? "dialog-warning-symbolic" : "drive-harddisk-symbolic");
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (p->space), text);
    adw_action_row_set_subtitle (ADW_ACTION_ROW (p->space), bytes > p->there ? _ ("Make room first; without it the import is refused, and nothing is left behind.") : "");
}

static void on_name (struct page *p)
{
    const char *text = gtk_editable_get_text (GTK_EDITABLE (p->name));

    gtk_widget_set_sensitive (p->import, text[0] != 0);
}

static gboolean takes_all (struct page *p) { return p->all && gtk_switch_get_active (GTK_SWITCH (p->all)); }

/* All of them: each comes under its own name. */
static void on_all (struct page *p) { gtk_widget_set_sensitive (p->name, !takes_all (p)); }

static void on_which (struct page *p)
{
    guint chosen = adw_combo_row_get_selected (ADW_COMBO_ROW (p->which));

    if (chosen == p->system || chosen >= p->systems)
        return;
    p->system = chosen;
    inspect (p);
}

static void add_systems (struct page *p, AdwPreferencesGroup *top, json_t *report)
{
    json_t *systems = json_object_get (report, "systems"), *system;
    g_autoptr (GtkStringList) names = gtk_string_list_new (NULL);
    gboolean all = !p->systems || takes_all (p); /* the switch of the report before this one */
    size_t i;

    p->all = p->which = NULL;
    p->systems = (guint) MAX (json_array_size (systems), 1);
    if (p->systems < 2)
        return;
    json_array_foreach (systems, i, system)
        gtk_string_list_append (names, json_string_value (json_object_get (system, "name")));
    p->which = gh_row_add_choice (top, _ ("Machine"), NULL);
    adw_combo_row_set_model (ADW_COMBO_ROW (p->which), G_LIST_MODEL (names));
    adw_combo_row_set_selected (ADW_COMBO_ROW (p->which), p->system);
    g_signal_connect_swapped (p->which, "notify::selected", G_CALLBACK (on_which), p);
    g_autofree char *text = g_strdup_printf (_ ("Import All %u Machines"), p->systems);
    GtkWidget *row = add_row (top, NULL, text);
    p->all = gtk_switch_new ();
    gh_row_add_control (row, p->all);
    gtk_switch_set_active (GTK_SWITCH (p->all), all);
    g_signal_connect_swapped (p->all, "notify::active", G_CALLBACK (on_all), p);
}

static void show_report (struct page *p, json_t *report)
{
    p->needed = (guint64) json_integer_value (json_object_get (report, "space_needed"));
    p->there = (guint64) json_integer_value (json_object_get (report, "space_there"));
    gboolean stays = p->in_place && gtk_switch_get_active (GTK_SWITCH (p->in_place));

    p->in_place = NULL;
    AdwPreferencesGroup *top = ADW_PREFERENCES_GROUP (adw_preferences_group_new ());
    add_systems (p, top, report);
    fresh_report (p);
    adw_preferences_page_add (p->report, top);
    g_free (p->proposed);
    p->proposed = g_strdup (json_string_value (json_object_get (report, "name")));
    p->name = gh_row_add_entry (top, _ ("Name"));
    gtk_editable_set_text (GTK_EDITABLE (p->name), p->proposed ? p->proposed : "");
    g_signal_connect_swapped (p->name, "changed", G_CALLBACK (on_name), p);
    p->space = add_row (top, NULL, "");
    if (some_can_stay (p, report)) {
        GtkWidget *row = add_row (top, NULL, _ ("Use Disks Where They Are"));
        adw_action_row_set_subtitle (ADW_ACTION_ROW (row), _ ("Nothing is copied; the machine changes the files themselves"));
        p->in_place = gtk_switch_new ();
        gh_row_add_control (row, p->in_place);
        gtk_switch_set_active (GTK_SWITCH (p->in_place), stays);
        g_signal_connect_swapped (p->in_place, "notify::active", G_CALLBACK (on_in_place), p);
    }
    on_in_place (p);
    add_lines (p, report, "warning", _ ("Please Note"), "dialog-warning-symbolic");
    add_lines (p, report, "changed", _ ("Changed"), "document-edit-symbolic");
    add_lines (p, report, "dropped", _ ("Left Out"), "list-remove-symbolic");
    add_lines (p, report, "kept", _ ("Kept"), "emblem-ok-symbolic");
    gtk_stack_set_visible_child_name (GTK_STACK (p->stack), "report");
    gtk_widget_set_visible (p->import, TRUE);
    on_name (p);
    on_all (p);
    gtk_widget_grab_focus (p->import);
}

static void show_error (struct page *p, const GError *error)
{
    g_autofree char *id = gh_error_id (error), *message = gh_error_message (error), *escaped = g_markup_escape_text (message, -1);

    if (g_str_equal (id, "ImportIsCdImage")) { /* not for us: a new machine from it */
        g_action_group_activate_action (G_ACTION_GROUP (g_application_get_default ()), "new-from", g_variant_new_string (p->path));
        gtk_window_destroy (GTK_WINDOW (p->window));
        return;
    }
    adw_status_page_set_description (p->failed, escaped);
    gtk_widget_set_visible (p->allow, g_str_equal (id, "DiskReferenceRefused") && !p->folder);
    gtk_stack_set_visible_child_name (GTK_STACK (p->stack), "failed");
}

static void on_inspected (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autofree char *text = NULL;
    g_autoptr (GError) error = NULL;
    json_t *report = NULL;

    if (gh_engine1_call_inspect_appliance_finish (GH_ENGINE1 (source), &text, result, &error))
        report = json_loads (text, 0, NULL);
    if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return; /* the window is gone */
    if (json_is_object (report))
        show_report (data, report);
    else if (error)
        show_error (data, error);
    json_decref (report);
}

static GVariant *options (struct page *p, gboolean import, guint system)
{
    GVariantDict dict;

    g_variant_dict_init (&dict, NULL);
    if (p->folder)
        g_variant_dict_insert (&dict, "allow", "s", p->folder);
    if (system)
        g_variant_dict_insert (&dict, "system", "u", system);
    if (import && !takes_all (p) && g_strcmp0 (gtk_editable_get_text (GTK_EDITABLE (p->name)), p->proposed))
        g_variant_dict_insert (&dict, "name", "s", gtk_editable_get_text (GTK_EDITABLE (p->name)));
    if (import && p->in_place)
        g_variant_dict_insert (&dict, "in-place", "b", gtk_switch_get_active (GTK_SWITCH (p->in_place)));
    return g_variant_dict_end (&dict);
}

static void inspect (struct page *p)
{
    GhEngine1 *engine = gh_connection_get_engine (p->connection);

    gtk_stack_set_visible_child_name (GTK_STACK (p->stack), "waiting");
    gtk_widget_set_visible (p->import, FALSE);
    if (engine)
        gh_engine1_call_inspect_appliance (engine, p->path, options (p, FALSE, p->system), p->cancel, on_inspected, p);
}

static void start (struct page *p, guint system);

static void on_started (GObject *source, GAsyncResult *result, gpointer data)
{
    struct page *p = data;
    g_autofree char *job = NULL;
    g_autoptr (GError) error = NULL;

    gboolean started = gh_engine1_call_import_appliance_finish (GH_ENGINE1 (source), &job, result, &error);
    if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return; /* the window is gone */
    if (!started)
        show_error (p, error);
    else if (takes_all (p) && ++p->imported < p->systems)
        start (p, p->imported);
    else
        gtk_window_destroy (GTK_WINDOW (p->window));
}

static void start (struct page *p, guint system)
{
    GhEngine1 *engine = gh_connection_get_engine (p->connection);

    if (engine)
        gh_engine1_call_import_appliance (engine, p->path, options (p, TRUE, system), p->cancel, on_started, p);
}

static void on_import (struct page *p)
{
    gtk_widget_set_sensitive (p->import, FALSE);
    p->imported = 0;
    start (p, takes_all (p) ? 0 : p->system);
}

static void on_folder (GtkNativeDialog *dialog, int response, struct page *p)
{
    if (response == GTK_RESPONSE_ACCEPT) {
        g_autoptr (GFile) file = gtk_file_chooser_get_file (GTK_FILE_CHOOSER (dialog));
        p->folder = g_file_get_path (file);
        inspect (p);
    }
    g_object_unref (dialog);
}

static void on_allow (struct page *p)
{
    GtkFileChooserNative *chooser = gtk_file_chooser_native_new (_ ("Allow a Folder"), GTK_WINDOW (p->window),
                                                                 GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER, NULL, NULL);

    g_signal_connect (chooser, "response", G_CALLBACK (on_folder), p);
    gtk_native_dialog_show (GTK_NATIVE_DIALOG (chooser));
}

static GtkWidget *failed_page (struct page *p)
{
    GtkWidget *failed = adw_status_page_new ();

    p->failed = ADW_STATUS_PAGE (failed);
    adw_status_page_set_icon_name (p->failed, "dialog-warning-symbolic");
    adw_status_page_set_title (p->failed, _ ("This Cannot Be Imported"));
    p->allow = gtk_button_new_with_mnemonic (_ ("_Allow a Folder…"));
    gtk_widget_set_halign (p->allow, GTK_ALIGN_CENTER);
    gtk_widget_add_css_class (p->allow, "pill");
    g_signal_connect_swapped (p->allow, "clicked", G_CALLBACK (on_allow), p);
    adw_status_page_set_child (p->failed, p->allow);
    return failed;
}

GtkWidget *gh_import_window_new (GtkWindow *parent, GhConnection *connection, const char *path)
{
    struct page *p = g_new0 (struct page, 1);
    g_autofree char *base = g_path_get_basename (path), *shown = g_utf8_make_valid (base, -1);
    g_autofree char *title = g_strdup_printf (_ ("Import %s"), shown);
    GtkWidget *box = gtk_box_new (GTK_ORIENTATION_VERTICAL, 0), *bar = adw_header_bar_new (), *spinner = gtk_spinner_new ();

    p->window = g_object_new (ADW_TYPE_WINDOW, "transient-for", parent, "modal", TRUE, "title", title, "default-width", 560, "default-height", 640, NULL);
    p->path = g_strdup (path);
    p->connection = g_object_ref (connection);
    p->cancel = g_cancellable_new ();
    p->import = gtk_button_new_with_mnemonic (_ ("_Import"));
    gtk_widget_add_css_class (p->import, "suggested-action");
    gtk_widget_set_visible (p->import, FALSE);
    g_signal_connect_swapped (p->import, "clicked", G_CALLBACK (on_import), p);
    adw_header_bar_pack_end (ADW_HEADER_BAR (bar), p->import);
    p->stack = gtk_stack_new ();
    gtk_widget_set_vexpand (p->stack, TRUE);
    gtk_spinner_start (GTK_SPINNER (spinner));
    gtk_widget_set_halign (spinner, GTK_ALIGN_CENTER);
    gtk_widget_set_size_request (spinner, 32, -1);
    gh_set_label (spinner, _ ("Reading the file"));
    gtk_stack_add_named (GTK_STACK (p->stack), spinner, "waiting");
    gtk_stack_add_named (GTK_STACK (p->stack), failed_page (p), "failed");
    gtk_box_append (GTK_BOX (box), bar);
    gtk_box_append (GTK_BOX (box), p->stack);
    adw_window_set_content (ADW_WINDOW (p->window), box);
    gh_close_on_escape (p->window);
    gh_fit_screen (GTK_WINDOW (p->window));
    g_object_set_data_full (G_OBJECT (p->window), "page", p, page_free);
    inspect (p);
    return p->window;
}
