/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/media/gh-media-window.h"

#include <glib/gi18n.h>
#include <jansson.h>
#include <string.h>

#include "gui/gh-util.h"
#include "gui/media/gh-new-disk.h"

struct page {
    GtkWidget *window, *content, *toasts, *stack, *bar; /* content: the page that is shown, made anew with each answer */
    GhConnection *connection;
    GCancellable *cancel;
    char *expanded; /* path of the row that is open */
};
struct work { struct page *p; GCancellable *cancel; char *action, *path; }; /* one action under way; p is gone when cancel says so */

static void load (struct page *p);

static void page_free (gpointer data)
{
    struct page *p = data;

    g_cancellable_cancel (p->cancel);
    g_object_unref (p->cancel);
    g_object_unref (p->connection);
    g_free (p->expanded);
    g_free (p);
}

static void work_free (struct work *w)
{
    g_object_unref (w->cancel);
    g_free (w->action);
    g_free (w->path);
    g_free (w);
}

/* ---- Actions ------------------------------------------------------------------------------------------------ */
static void run (struct page *p, const char *action, const char *path, GVariant *options);

static void on_undo (AdwToast *toast, struct page *p) { run (p, "restore", g_object_get_data (G_OBJECT (toast), "path"), g_variant_new ("a{sv}", NULL)); }

static void say (struct page *p, const char *text)
{
    g_autofree char *escaped = g_markup_escape_text (text, -1);

    adw_toast_overlay_add_toast (ADW_TOAST_OVERLAY (p->toasts), adw_toast_new (escaped));
}

static void say_result (struct work *w, GhEngine1Job *job)
{
    json_t *j = json_loads (gh_engine1_job_get_result (job), 0, NULL);
    g_autofree char *text = NULL;

    if (g_str_equal (w->action, "compact")) {
        json_int_t before = json_integer_value (json_object_get (j, "before")), after = json_integer_value (json_object_get (j, "after"));
        g_autofree char *back = gh_format_size ((guint64) MAX (before - after, 0)), *now = gh_format_size ((guint64) after);
        text = g_strdup_printf (_ ("%s returned; the disk takes %s now"), back, now);
    } else if (g_str_equal (w->action, "check")) {
        json_int_t errors = json_integer_value (json_object_get (j, "errors")), leaks = json_integer_value (json_object_get (j, "leaks"));
        text = errors || leaks ? g_strdup_printf (_ ("%lld errors, %lld leaks: %s"), (long long) errors, (long long) leaks,
                                                  json_string_value (json_object_get (j, "first")))
                               : g_strdup (_ ("No damage found"));
    } else if (g_str_equal (w->action, "delete")) {
        g_autofree char *base = g_path_get_basename (w->path), *message = g_strdup_printf (_ ("“%s” is in the trash"), base);
        g_autofree char *escaped = g_markup_escape_text (message, -1);
        AdwToast *toast = adw_toast_new (escaped);
        adw_toast_set_button_label (toast, _ ("_Undo"));
        g_object_set_data_full (G_OBJECT (toast), "path", g_strdup (w->path), g_free);
        g_signal_connect (toast, "button-clicked", G_CALLBACK (on_undo), w->p);
        adw_toast_overlay_add_toast (ADW_TOAST_OVERLAY (w->p->toasts), toast);
    } else {
        text = g_strdup (_ ("Done"));
    }
    if (text)
        say (w->p, text);
    json_decref (j);
}

static void on_state (GhEngine1Job *job, GParamSpec *spec, struct work *w)
{
    const char *state = gh_engine1_job_get_state (job);

    if (!g_strcmp0 (state, "running"))
        return;
    g_signal_handlers_disconnect_by_data (job, w);
    if (!g_cancellable_is_cancelled (w->cancel)) {
        gtk_widget_set_visible (w->p->bar, FALSE);
        if (!g_strcmp0 (state, "done")) {
            say_result (w, job);
        } else if (!g_strcmp0 (state, "failed")) {
            g_autofree char *text = gh_job_error (job);
            say (w->p, text);
        }
        load (w->p);
    }
    g_object_unref (job);
    work_free (w);
}

static void on_progress (GhEngine1Job *job, GParamSpec *spec, struct work *w)
{
    if (!g_cancellable_is_cancelled (w->cancel))
        gtk_progress_bar_set_fraction (GTK_PROGRESS_BAR (w->p->bar), gh_engine1_job_get_progress (job));
}

static void on_job (GObject *source, GAsyncResult *result, gpointer data)
{
    struct work *w = data;
    g_autoptr (GError) error = NULL;
    GhEngine1Job *job = gh_engine1_job_proxy_new_finish (result, &error);

    if (!job) {
        if (!g_cancellable_is_cancelled (w->cancel))
            say (w->p, error->message);
        work_free (w);
        return;
    }
    g_signal_connect (job, "notify::progress", G_CALLBACK (on_progress), w);
    g_signal_connect (job, "notify::state", G_CALLBACK (on_state), w);
    on_state (job, NULL, w);
}

static void on_accepted (GObject *source, GAsyncResult *result, gpointer data)
{
    struct work *w = data;
    g_autofree char *path = NULL;
    g_autoptr (GError) error = NULL;

    if (gh_engine1_call_media_action_finish (GH_ENGINE1 (source), &path, result, &error)) {
        gh_engine1_job_proxy_new (g_dbus_proxy_get_connection (G_DBUS_PROXY (source)), G_DBUS_PROXY_FLAGS_NONE, NULL, path, NULL, on_job, w);
        return;
    }
    if (!g_cancellable_is_cancelled (w->cancel)) {
        g_autofree char *message = gh_error_message (error);
        gtk_widget_set_visible (w->p->bar, FALSE);
        say (w->p, message);
    }
    work_free (w);
}

static void run (struct page *p, const char *action, const char *path, GVariant *options)
{
    GhEngine1 *engine = gh_connection_get_engine (p->connection);
    struct work *w;

    if (!engine) {
        g_variant_unref (g_variant_ref_sink (options));
        return;
    }
    w = g_new0 (struct work, 1);
    *w = (struct work){ p, g_object_ref (p->cancel), g_strdup (action), g_strdup (path) };
    gtk_progress_bar_set_fraction (GTK_PROGRESS_BAR (p->bar), 0);
    gtk_widget_set_visible (p->bar, TRUE);
    gh_engine1_call_media_action (engine, action, path, options, NULL, on_accepted, w);
}

/* ---- Questions before them ------------------------------------------------------------------------------------- */
static void on_answer (AdwMessageDialog *dialog, const char *response, struct page *p)
{
    const char *path = g_object_get_data (G_OBJECT (dialog), "path");
    GtkWidget *size = g_object_get_data (G_OBJECT (dialog), "size");
    GVariantDict dict;

    g_variant_dict_init (&dict, NULL);
    if (g_str_equal (response, "resize")) {
        guint64 old = *(guint64 *) g_object_get_data (G_OBJECT (dialog), "bytes");
        guint64 bytes = (guint64) (gtk_spin_button_get_value (GTK_SPIN_BUTTON (size)) * (1 << 10)) << 20;
        g_variant_dict_insert (&dict, "bytes", "t", MAX (bytes, old));
    } else if (g_str_equal (response, "convert")) {
        static const char *const formats[] = { "qcow2", "vdi", "vmdk", "vhd", "raw" };
        guint chosen = gtk_drop_down_get_selected (GTK_DROP_DOWN (size));
        g_variant_dict_insert (&dict, "to", "s", formats[MIN (chosen, 4)]);
        g_variant_dict_insert (&dict, "replace", "b", TRUE);
    }
    if (g_str_equal (response, "cancel"))
        g_variant_dict_clear (&dict);
    else
        run (p, response, path, g_variant_dict_end (&dict));
}

static void on_new_disk (gpointer data, const char *path, GVariant *options) { run (data, "create", path, options); }
static void on_new (struct page *p) { gh_new_disk_ask (p->window, gh_connection_get_machines (p->connection), NULL, on_new_disk, p); }

static GtkWidget *question (struct page *p, const char *action, const char *path, const char *heading, const char *body, const char *verb, GtkWidget *extra)
{
    GtkWidget *dialog = adw_message_dialog_new (GTK_WINDOW (p->window), heading, body);

    adw_message_dialog_add_responses (ADW_MESSAGE_DIALOG (dialog), "cancel", _ ("_Cancel"), action, verb, NULL);
    adw_message_dialog_set_close_response (ADW_MESSAGE_DIALOG (dialog), "cancel");
    adw_message_dialog_set_response_appearance (ADW_MESSAGE_DIALOG (dialog), action, ADW_RESPONSE_SUGGESTED);
    if (extra)
        adw_message_dialog_set_extra_child (ADW_MESSAGE_DIALOG (dialog), extra);
    g_object_set_data_full (G_OBJECT (dialog), "path", g_strdup (path), g_free);
    g_object_set_data (G_OBJECT (dialog), "size", extra);
    g_signal_connect (dialog, "response", G_CALLBACK (on_answer), p);
    gtk_window_present (GTK_WINDOW (dialog));
    return dialog;
}

static void ask_size (struct page *p, const char *path, guint64 bytes)
{
    GtkWidget *spin = gtk_spin_button_new_with_range (1, 65536, 1);
    guint64 *kept = g_new (guint64, 1);

    *kept = bytes;
    gtk_spin_button_set_digits (GTK_SPIN_BUTTON (spin), 2);
    gtk_spin_button_set_value (GTK_SPIN_BUTTON (spin), (double) bytes / (1 << 30));
    gh_set_label (spin, _ ("New size in GiB"));
    GtkWidget *dialog = question (p, "resize", path, _ ("Grow the Disk?"), _ ("The disk becomes larger for the machine; the space on this computer is taken as it fills. "
        "The partitions inside keep their size until the system in the machine enlarges them."), _ ("_Grow"), spin);
    g_object_set_data_full (G_OBJECT (dialog), "bytes", kept, g_free);
}

static void ask_format (struct page *p, const char *path)
{
    GtkWidget *choice = gtk_drop_down_new_from_strings ((const char *[]){ "QCOW2", "VDI", "VMDK", "VHD", "RAW", NULL });

    gh_set_label (choice, _ ("New format"));
    question (p, "convert", path, _ ("Convert the Disk?"), _ ("Its machines use the new file; the old one goes to the trash."), _ ("_Convert"), choice);
}

static void on_place (GtkNativeDialog *dialog, int response, struct page *p)
{
    if (response == GTK_RESPONSE_ACCEPT && !g_cancellable_is_cancelled (g_object_get_data (G_OBJECT (dialog), "cancel"))) {
        g_autoptr (GFile) file = gtk_file_chooser_get_file (GTK_FILE_CHOOSER (dialog));
        g_autofree char *target = g_file_get_path (file);
        GVariantDict dict;
        g_variant_dict_init (&dict, NULL);
        g_variant_dict_insert (&dict, "target", "s", target ? target : "");
        run (p, g_object_get_data (G_OBJECT (dialog), "action"), g_object_get_data (G_OBJECT (dialog), "path"), g_variant_dict_end (&dict));
    }
    g_object_unref (dialog);
}

static void ask_place (struct page *p, const char *action, const char *path)
{
    gboolean move = g_str_equal (action, "move");
    GtkFileChooserNative *chooser = gtk_file_chooser_native_new (move ? _ ("Move to a Folder") : _ ("Where Is It Now?"), GTK_WINDOW (p->window),
        move ? GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER : GTK_FILE_CHOOSER_ACTION_OPEN, NULL, NULL);

    g_object_set_data_full (G_OBJECT (chooser), "path", g_strdup (path), g_free);
    g_object_set_data_full (G_OBJECT (chooser), "action", g_strdup (action), g_free);
    g_object_set_data_full (G_OBJECT (chooser), "cancel", g_object_ref (p->cancel), g_object_unref);
    g_signal_connect (chooser, "response", G_CALLBACK (on_place), p);
    gtk_native_dialog_show (GTK_NATIVE_DIALOG (chooser));
}

static void on_action (GtkButton *button, struct page *p)
{
    const char *action = g_object_get_data (G_OBJECT (button), "action"), *path = g_object_get_data (G_OBJECT (button), "path");

    if (g_str_equal (action, "resize"))
        ask_size (p, path, *(guint64 *) g_object_get_data (G_OBJECT (button), "bytes"));
    else if (g_str_equal (action, "convert"))
        ask_format (p, path);
    else if (g_str_equal (action, "move") || g_str_equal (action, "relink"))
        ask_place (p, action, path);
    else if (g_str_equal (action, "release"))
        question (p, "release", path, _ ("Take It out of Its Machines?"), _ ("The file stays on this computer; no machine uses it any more."), _ ("_Release"), NULL);
    else if (g_str_equal (action, "accept-parent"))
        question (p, action, path, _ ("Use the Changed Disk Below?"), _ ("The disk that this one builds on was changed. If that was a mistake, what is on both no "
            "longer fits together: restore it from a backup instead."), _ ("_Use It"), NULL);
    else
        run (p, action, path, g_variant_new ("a{sv}", NULL));
}

/* ---- The list --------------------------------------------------------------------------------------------------- */
static void add_button (struct page *p, GtkWidget *box, const char *action, const char *label, const char *path, guint64 bytes)
{
    GtkWidget *button = gtk_button_new_with_mnemonic (label);
    guint64 *kept = g_new (guint64, 1);

    *kept = bytes;
    g_object_set_data_full (G_OBJECT (button), "bytes", kept, g_free);
    g_object_set_data_full (G_OBJECT (button), "path", g_strdup (path), g_free);
    g_object_set_data_full (G_OBJECT (button), "action", g_strdup (action), g_free);
    g_signal_connect (button, "clicked", G_CALLBACK (on_action), p);
    gtk_flow_box_append (GTK_FLOW_BOX (box), button);
}

static void add_text (GtkWidget *row, const char *title, const char *text)
{
    GtkWidget *line = adw_action_row_new (); /* of an expander, which is no group */

    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (line), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (line), title);
    adw_action_row_set_subtitle (ADW_ACTION_ROW (line), text);
    adw_action_row_set_subtitle_lines (ADW_ACTION_ROW (line), 0);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (row), line);
}

static char *users_of (json_t *m)
{
    GString *s = g_string_new (NULL);
    json_t *u;
    size_t i;

    json_array_foreach (json_object_get (m, "users"), i, u)
        g_string_append_printf (s, "%s%s", i ? ", " : "", json_string_value (json_object_get (u, "name")));
    if (!s->len)
        g_string_append (s, json_array_size (json_object_get (m, "parent_of")) ? _ ("Other disks build on it") : _ ("Used by no machine"));
    return g_string_free (s, FALSE);
}

static void on_expanded (AdwExpanderRow *row, GParamSpec *spec, struct page *p)
{
    const char *path = g_object_get_data (G_OBJECT (row), "path");

    if (adw_expander_row_get_expanded (row)) {
        g_free (p->expanded);
        p->expanded = g_strdup (path);
    } else if (!g_strcmp0 (p->expanded, path)) {
        g_clear_pointer (&p->expanded, g_free);
    }
}

static GtkWidget *make_row (struct page *p, json_t *m)
{
    const char *path = json_string_value (json_object_get (m, "path")), *format = json_string_value (json_object_get (m, "format"));
    gboolean disk = !g_strcmp0 (json_string_value (json_object_get (m, "kind")), "disk"), present = json_is_true (json_object_get (m, "present"));
    const char *error = json_string_value (json_object_get (json_object_get (m, "error"), "text"));
    guint64 bytes = (guint64) json_integer_value (json_object_get (m, "bytes"));
    g_autofree char *base = g_path_get_basename (path), *users = users_of (m), *virtual = gh_format_size (bytes);
    g_autofree char *host = gh_format_size ((guint64) json_integer_value (json_object_get (m, "host_bytes")));
    g_autofree char *subtitle = !present ? g_strdup_printf (_ ("%s — missing"), users)
                                : disk   ? g_strdup_printf (_ ("%s — %s on this computer, %s for the machine"), users, host, virtual)
                                         : g_strdup_printf (_ ("%s — %s on this computer"), users, host);
    GtkWidget *row = adw_expander_row_new (), *buttons = gtk_flow_box_new ();
    json_t *parent;
    size_t i;

    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (row), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), base);
    adw_expander_row_set_subtitle (ADW_EXPANDER_ROW (row), subtitle);
    adw_expander_row_set_icon_name (ADW_EXPANDER_ROW (row), !present || error ? "dialog-warning-symbolic" : disk ? "drive-harddisk-symbolic" : "media-optical-symbolic");
    add_text (row, _ ("File"), path);
    if (format && format[0])
        add_text (row, _ ("Format"), format);
    json_array_foreach (json_object_get (m, "chain"), i, parent)
        add_text (row, _ ("Builds On"), json_string_value (parent));
    if (error)
        add_text (row, _ ("Trouble"), error);
    gtk_flow_box_set_selection_mode (GTK_FLOW_BOX (buttons), GTK_SELECTION_NONE);
    gtk_flow_box_set_max_children_per_line (GTK_FLOW_BOX (buttons), 3); /* two even lines of what is mostly six */
    gtk_flow_box_set_homogeneous (GTK_FLOW_BOX (buttons), TRUE);
    if (disk && present) {
        add_button (p, buttons, "resize", _ ("_Grow…"), path, bytes);
        add_button (p, buttons, "compact", _ ("_Compact"), path, bytes);
        add_button (p, buttons, "check", _ ("C_heck"), path, bytes);
        add_button (p, buttons, "convert", _ ("Con_vert…"), path, bytes);
    }
    if (!g_strcmp0 (json_string_value (json_object_get (json_object_get (m, "error"), "id")), "DiskParentChanged"))
        add_button (p, buttons, "accept-parent", _ ("_Accept Below…"), path, bytes);
    add_button (p, buttons, present ? "move" : "relink", present ? _ ("_Move…") : _ ("_Find…"), path, bytes);
    if (json_array_size (json_object_get (m, "users")))
        add_button (p, buttons, "release", _ ("_Release…"), path, bytes);
    else if (present && !json_array_size (json_object_get (m, "parent_of")))
        add_button (p, buttons, "delete", _ ("_Delete"), path, bytes);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (row), buttons);
    g_object_set_data_full (G_OBJECT (row), "path", g_strdup (path), g_free);
    adw_expander_row_set_expanded (ADW_EXPANDER_ROW (row), !g_strcmp0 (path, p->expanded));
    g_signal_connect (row, "notify::expanded", G_CALLBACK (on_expanded), p);
    return row;
}

static void show_list (struct page *p, json_t *list)
{
    static const struct { const char *title; gboolean orphan, disk; } groups[] = {
        { N_ ("Disks"), FALSE, TRUE }, { N_ ("Used by No Machine"), TRUE, TRUE }, { N_ ("CD and Floppy Images"), FALSE, FALSE },
    };
    GtkWidget *page = adw_preferences_page_new ();
    json_t *m;
    size_t i;

    for (guint g = 0; g < G_N_ELEMENTS (groups); g++) {
        GtkWidget *group = NULL;
        json_array_foreach (list, i, m) {
            gboolean disk = !g_strcmp0 (json_string_value (json_object_get (m, "kind")), "disk"), orphan = json_is_true (json_object_get (m, "orphan"));
            if (!json_is_string (json_object_get (m, "path")) || orphan != groups[g].orphan || (!orphan && disk != groups[g].disk))
                continue;
            if (!group) {
                group = adw_preferences_group_new ();
                adw_preferences_group_set_title (ADW_PREFERENCES_GROUP (group), _ (groups[g].title));
                adw_preferences_page_add (ADW_PREFERENCES_PAGE (page), ADW_PREFERENCES_GROUP (group));
            }
            adw_preferences_group_add (ADW_PREFERENCES_GROUP (group), make_row (p, m));
        }
    }
    if (p->content)
        gtk_stack_remove (GTK_STACK (p->stack), p->content);
    p->content = page;
    gtk_stack_add_named (GTK_STACK (p->stack), page, "list");
    gtk_stack_set_visible_child_name (GTK_STACK (p->stack), json_array_size (list) ? "list" : "empty");
}

static void on_list (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autofree char *text = NULL;
    g_autoptr (GError) error = NULL;
    json_t *list = NULL;

    if (gh_engine1_call_list_media_finish (GH_ENGINE1 (source), &text, result, &error))
        list = json_loads (text, 0, NULL);
    if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return; /* the window is gone */
    if (json_is_array (list)) {
        show_list (data, list);
    } else if (error) {
        g_autofree char *message = gh_error_message (error);
        say (data, message);
    }
    json_decref (list);
}

static void load (struct page *p)
{
    GhEngine1 *engine = gh_connection_get_engine (p->connection);

    if (engine)
        gh_engine1_call_list_media (engine, p->cancel, on_list, p);
}

GtkWidget *gh_media_window_new (GtkWindow *parent, GhConnection *connection)
{
    struct page *p = g_new0 (struct page, 1);
    GtkWidget *box = gtk_box_new (GTK_ORIENTATION_VERTICAL, 0), *empty = adw_status_page_new (), *spinner = gtk_spinner_new ();
    GtkWidget *bar = adw_header_bar_new (), *new = gtk_button_new ();

    p->window = g_object_new (ADW_TYPE_WINDOW, "transient-for", parent, "title", _ ("Disks and Media"), "default-width", 680, "default-height", 640, NULL);
    p->connection = g_object_ref (connection);
    p->cancel = g_cancellable_new ();
    p->toasts = adw_toast_overlay_new ();
    p->stack = gtk_stack_new ();
    p->bar = gtk_progress_bar_new ();
    gtk_widget_add_css_class (p->bar, "osd");
    gtk_widget_set_visible (p->bar, FALSE);
    gh_set_label (p->bar, _ ("Progress"));
    gtk_widget_set_vexpand (p->stack, TRUE);
    gtk_spinner_start (GTK_SPINNER (spinner));
    gtk_stack_add_named (GTK_STACK (p->stack), spinner, "waiting");
    adw_status_page_set_title (ADW_STATUS_PAGE (empty), _ ("No Disks Yet"));
    adw_status_page_set_icon_name (ADW_STATUS_PAGE (empty), "drive-harddisk-symbolic");
    gtk_stack_add_named (GTK_STACK (p->stack), empty, "empty");
    gtk_button_set_icon_name (GTK_BUTTON (new), "list-add-symbolic");
    gtk_widget_set_tooltip_text (new, _ ("New Disk"));
    gh_set_label (new, _ ("New Disk"));
    g_signal_connect_swapped (new, "clicked", G_CALLBACK (on_new), p);
    adw_header_bar_pack_start (ADW_HEADER_BAR (bar), new);
    gtk_box_append (GTK_BOX (box), bar);
    gtk_box_append (GTK_BOX (box), p->bar);
    gtk_box_append (GTK_BOX (box), p->stack);
    adw_toast_overlay_set_child (ADW_TOAST_OVERLAY (p->toasts), box);
    adw_window_set_content (ADW_WINDOW (p->window), p->toasts);
    gh_close_on_escape (p->window);
    gh_fit_screen (GTK_WINDOW (p->window));
    g_object_set_data_full (G_OBJECT (p->window), "page", p, page_free);
    load (p);
    return p->window;
}
