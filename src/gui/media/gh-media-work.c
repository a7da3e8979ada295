/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <glib/gi18n.h>
#include <jansson.h>

#include "gui/gh-util.h"
#include "gui/media/gh-media-page.h"

/* One action under way; p is gone when cancel says so. */
struct work { struct gh_media_page *p; GCancellable *cancel; char *action, *path; GtkWidget *row, *bar, *note; GhEngine1Job *job; };

static const struct { const char *action, *doing, *failed; } words[] = {
    { "create", N_ ("Creating “%s”"), N_ ("“%s” Was Not Created") },    { "resize", N_ ("Growing “%s”"), N_ ("“%s” Was Not Grown") },
    { "compact", N_ ("Compacting “%s”"), N_ ("“%s” Was Not Compacted") }, { "check", N_ ("Checking “%s”"), N_ ("“%s” Was Not Checked") },
    { "convert", N_ ("Converting “%s”"), N_ ("“%s” Was Not Converted") }, { "move", N_ ("Moving “%s”"), N_ ("“%s” Was Not Moved") },
    { "delete", N_ ("Deleting “%s”"), N_ ("“%s” Was Not Deleted") },     { "restore", N_ ("Restoring “%s”"), N_ ("“%s” Was Not Restored") },
    { NULL, N_ ("Changing “%s”"), N_ ("“%s” Was Not Changed") },
};

static char *say_about (const char *action, const char *path, gboolean failed)
{
    g_autofree char *base = g_path_get_basename (path);
    guint i = 0;

    while (words[i].action && !g_str_equal (words[i].action, action))
        i++;
    return g_strdup_printf (_ (failed ? words[i].failed : words[i].doing), base);
}

static void work_free (struct work *w)
{
    if (!g_cancellable_is_cancelled (w->cancel) && w->row)
        gtk_box_remove (GTK_BOX (w->p->works), w->row);
    g_clear_object (&w->job);
    g_object_unref (w->cancel);
    g_free (w->action);
    g_free (w->path);
    g_free (w);
}

/* ---- What came of it ------------------------------------------------------------------------------------------ */
void gh_media_say (struct gh_media_page *p, const char *text) { adw_toast_overlay_add_toast (ADW_TOAST_OVERLAY (p->toasts), gh_toast_new (text)); }

/* A failure stays until it is read. */
void gh_media_fail (struct gh_media_page *p, const char *action, const char *path, const char *text)
{
    g_autofree char *heading = say_about (action, path, TRUE);
    GtkWidget *dialog = adw_message_dialog_new (GTK_WINDOW (p->window), heading, text);

    adw_message_dialog_add_response (ADW_MESSAGE_DIALOG (dialog), "close", _ ("_Close"));
    adw_message_dialog_set_close_response (ADW_MESSAGE_DIALOG (dialog), "close");
    gtk_window_present (GTK_WINDOW (dialog));
}

static void on_undo (AdwToast *toast, struct gh_media_page *p)
{ gh_media_run (p, "restore", g_object_get_data (G_OBJECT (toast), "path"), g_variant_new ("a{sv}", NULL)); }

static void say_deleted (struct work *w)
{
    g_autofree char *base = g_path_get_basename (w->path), *message = g_strdup_printf (_ ("“%s” is in the trash"), base);
    AdwToast *toast = gh_toast_new (message);

    adw_toast_set_button_label (toast, _ ("_Undo"));
    adw_toast_set_timeout (toast, 12);
    g_object_set_data_full (G_OBJECT (toast), "path", g_strdup (w->path), g_free);
    g_signal_connect (toast, "button-clicked", G_CALLBACK (on_undo), w->p);
    adw_toast_overlay_add_toast (ADW_TOAST_OVERLAY (w->p->toasts), toast);
}

static void say_checked (struct work *w, json_t *j)
{
    long long errors = json_integer_value (json_object_get (j, "errors")) - json_integer_value (json_object_get (j, "errors_fixed"));
    long long leaks = json_integer_value (json_object_get (j, "leaks")) - json_integer_value (json_object_get (j, "leaks_fixed"));
    long long mended = json_integer_value (json_object_get (j, "errors_fixed")) + json_integer_value (json_object_get (j, "leaks_fixed"));
    const char *first = json_string_value (json_object_get (j, "first"));

    if (errors > 0 || leaks > 0) {
        g_autofree char *found = g_strdup_printf (_ ("%lld errors and %lld places that take space for nothing. The first: %s."), errors, leaks, first ? first : "");
        gh_media_ask_repair (w->p, w->path, found);
    } else if (mended > 0) {
        g_autofree char *text = g_strdup_printf (_ ("Repaired: %lld mended, no damage left"), mended);
        gh_media_say (w->p, text);
    } else {
        gh_media_say (w->p, _ ("No damage found"));
    }
}

static void say_result (struct work *w)
{
    const char *result = gh_engine1_job_get_result (w->job);
    json_t *j = result ? json_loads (result, 0, NULL) : NULL;

    if (g_str_equal (w->action, "compact")) {
        json_int_t before = json_integer_value (json_object_get (j, "before")), after = json_integer_value (json_object_get (j, "after"));
        g_autofree char *back = gh_format_size ((guint64) MAX (before - after, 0)), *now = gh_format_size ((guint64) after);
        g_autofree char *text = before > after ? g_strdup_printf (_ ("%s returned; the disk takes %s now"), back, now)
                                               : g_strdup_printf (_ ("There was nothing to return; the disk takes %s"), now);
        gh_media_say (w->p, text);
    } else if (g_str_equal (w->action, "check")) {
        say_checked (w, j);
    } else if (g_str_equal (w->action, "delete")) {
        say_deleted (w);
    } else {
        gh_media_say (w->p, _ ("Done"));
    }
    json_decref (j);
}

/* ---- How far it is ---------------------------------------------------------------------------------------------- */
static void on_notes (GhEngine1Job *job, GParamSpec *spec, struct work *w)
{
    g_autofree char *text = g_cancellable_is_cancelled (w->cancel) ? NULL : gh_job_notes (job);

    if (text)
        gh_note_say (w->note, text);
}

static void on_progress (GhEngine1Job *job, GParamSpec *spec, struct work *w)
{
    if (!g_cancellable_is_cancelled (w->cancel))
        gtk_progress_bar_set_fraction (GTK_PROGRESS_BAR (w->bar), gh_engine1_job_get_progress (job));
}

static void on_state (GhEngine1Job *job, GParamSpec *spec, struct work *w)
{
    const char *state = gh_engine1_job_get_state (job);

    if (!g_strcmp0 (state, "running"))
        return;
    g_signal_handlers_disconnect_by_data (job, w);
    if (!g_cancellable_is_cancelled (w->cancel)) {
        g_autofree char *notes = gh_job_notes (job);
        if (!g_strcmp0 (state, "done")) {
            say_result (w);
            if (notes)
                gh_media_say (w->p, notes);
        } else if (!g_strcmp0 (state, "failed")) {
            g_autofree char *text = gh_job_error (job);
            gh_media_fail (w->p, w->action, w->path, text);
        }
        gh_media_page_load (w->p);
    }
    work_free (w);
}

static void on_cancel (GtkButton *button, struct work *w)
{
    gtk_widget_set_sensitive (GTK_WIDGET (button), FALSE);
    if (w->job)
        gh_engine1_job_call_cancel (w->job, NULL, NULL, NULL);
}

static void on_job (GObject *source, GAsyncResult *result, gpointer data)
{
    struct work *w = data;
    g_autoptr (GError) error = NULL;

    w->job = gh_engine1_job_proxy_new_finish (result, &error);
    if (!w->job) {
        if (!g_cancellable_is_cancelled (w->cancel))
            gh_media_fail (w->p, w->action, w->path, error->message);
        work_free (w);
        return;
    }
    g_signal_connect (w->job, "notify::progress", G_CALLBACK (on_progress), w);
    g_signal_connect (w->job, "notify::notes", G_CALLBACK (on_notes), w);
    g_signal_connect (w->job, "notify::state", G_CALLBACK (on_state), w);
    on_notes (w->job, NULL, w);
    on_state (w->job, NULL, w);
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
        gh_media_fail (w->p, w->action, w->path, message);
    }
    work_free (w);
}

static GtkWidget *make_row (struct work *w)
{
    g_autofree char *text = say_about (w->action, w->path, FALSE);
    GtkWidget *row = gtk_box_new (GTK_ORIENTATION_HORIZONTAL, 12), *column = gtk_box_new (GTK_ORIENTATION_VERTICAL, 4);
    GtkWidget *label = gtk_label_new (text), *cancel = gtk_button_new_from_icon_name ("process-stop-symbolic");

    w->bar = gtk_progress_bar_new ();
    w->note = gh_note_new ();
    gh_set_label (w->bar, text);
    gtk_label_set_xalign (GTK_LABEL (label), 0);
    gtk_label_set_ellipsize (GTK_LABEL (label), PANGO_ELLIPSIZE_MIDDLE);
    gtk_widget_set_hexpand (column, TRUE);
    gtk_widget_set_valign (column, GTK_ALIGN_CENTER);
    gtk_box_append (GTK_BOX (column), label);
    gtk_box_append (GTK_BOX (column), w->bar);
    gtk_box_append (GTK_BOX (column), w->note);
    gtk_widget_add_css_class (cancel, "flat");
    gtk_widget_set_valign (cancel, GTK_ALIGN_CENTER);
    gtk_widget_set_tooltip_text (cancel, _ ("Cancel"));
    gh_set_label (cancel, _ ("Cancel"));
    g_signal_connect (cancel, "clicked", G_CALLBACK (on_cancel), w);
    gtk_box_append (GTK_BOX (row), column);
    gtk_box_append (GTK_BOX (row), cancel);
    gtk_widget_set_margin_start (row, 18);
    gtk_widget_set_margin_end (row, 12);
    gtk_widget_set_margin_top (row, 6);
    gtk_widget_set_margin_bottom (row, 6);
    return row;
}

void gh_media_run (struct gh_media_page *p, const char *action, const char *path, GVariant *options)
{
    GhEngine1 *engine = gh_connection_get_engine (p->connection);
    struct work *w;

    if (!engine) {
        g_variant_unref (g_variant_ref_sink (options));
        return;
    }
    w = g_new0 (struct work, 1);
    *w = (struct work){ .p = p, .cancel = g_object_ref (p->cancel), .action = g_strdup (action), .path = g_strdup (path) };
    w->row = make_row (w);
    gtk_box_append (GTK_BOX (p->works), w->row);
    gh_engine1_call_media_action (engine, action, path, options, NULL, on_accepted, w);
}
