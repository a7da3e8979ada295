/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/list/gh-job-list.h"

#include <glib/gi18n.h>

#include "gui/gh-util.h"
#include "gui/list/gh-machine-row.h"

struct list { GtkWidget *box; AdwToastOverlay *toasts; GhConnection *connection; GtkListBox *machines; GPtrArray *shown; };

static void on_cancel (GtkButton *button, GhEngine1Job *job) { gh_engine1_job_call_cancel (job, NULL, NULL, NULL); }

/* ---- Where a job is shown: in its machine's row, or in one of its own while there is no machine ------------------------ */
static GhMachineRow *row_of (struct list *l, GhEngine1Job *job)
{
    const char *path = gh_engine1_job_get_machine (job);
    GhMachine *machine = path && path[1] ? gh_connection_find (l->connection, path) : NULL;

    for (int i = 0; machine; i++) {
        GtkListBoxRow *row = gtk_list_box_get_row_at_index (l->machines, i);
        if (!row)
            break;
        if (gh_machine_row_get_machine (GH_MACHINE_ROW (row)) == machine)
            return GH_MACHINE_ROW (row);
    }
    return NULL;
}

static void take_out (struct list *l, GtkWidget *shown)
{
    GtkWidget *parent = gtk_widget_get_parent (shown);

    if (parent)
        gtk_box_remove (GTK_BOX (parent), shown);
    gtk_widget_set_visible (l->box, gtk_widget_get_first_child (l->box) != NULL);
}

static void place (struct list *l, GtkWidget *shown)
{
    GhMachineRow *row = row_of (l, g_object_get_data (G_OBJECT (shown), "job"));
    GtkWidget *goal = row ? GTK_WIDGET (gh_machine_row_get_work (row)) : l->box;

    if (gtk_widget_get_parent (shown) == goal)
        return;
    take_out (l, shown);
    GtkWidget *title = g_object_get_data (G_OBJECT (shown), "title");
    gtk_widget_set_visible (g_object_get_data (G_OBJECT (shown), "icon"), !row);
    gtk_widget_remove_css_class (title, row ? "heading" : "caption");
    gtk_widget_add_css_class (title, row ? "caption" : "heading");
    gtk_box_append (GTK_BOX (goal), shown);
    gtk_widget_set_visible (l->box, gtk_widget_get_first_child (l->box) != NULL);
}

static void on_machine (GhEngine1Job *job, GParamSpec *spec, GtkWidget *shown)
{
    struct list *l = g_object_get_data (G_OBJECT (shown), "list");

    if (!g_strcmp0 (gh_engine1_job_get_state (job), "running"))
        place (l, shown);
}

static void on_progress (GhEngine1Job *job, GParamSpec *spec, GtkProgressBar *bar)
{
    double fraction = gh_engine1_job_get_progress (job);
    g_autofree char *text = g_strdup_printf (_ ("%d %%"), (int) (fraction * 100));

    gtk_progress_bar_set_fraction (bar, fraction);
    gtk_accessible_update_property (GTK_ACCESSIBLE (bar), GTK_ACCESSIBLE_PROPERTY_VALUE_TEXT, text, -1);
}

static void toast (struct list *l, const char *text) { adw_toast_overlay_add_toast (l->toasts, gh_toast_new (text)); }

/* What is worth knowing while it goes on, or beside its end; each once. */
static void on_notes (GhEngine1Job *job, GParamSpec *spec, GtkWidget *shown)
{
    g_autofree char *text = gh_job_notes (job);

    if (text)
        toast (g_object_get_data (G_OBJECT (shown), "list"), text);
}

static void on_state (GhEngine1Job *job, GParamSpec *spec, GtkWidget *shown)
{
    struct list *l = g_object_get_data (G_OBJECT (shown), "list");
    const char *state = gh_engine1_job_get_state (job), *machine = gh_engine1_job_get_machine (job);

    if (!g_strcmp0 (state, "running"))
        return;
    if (!g_strcmp0 (state, "failed")) {
        g_autofree char *text = gh_job_error (job);
        toast (l, text);
    } else if (!g_strcmp0 (state, "done") && machine && machine[1] && g_object_get_data (G_OBJECT (shown), "import")) {
        g_action_group_activate_action (G_ACTION_GROUP (g_application_get_default ()), "machine-created", g_variant_new ("(sb)", machine, FALSE));
    }
    take_out (l, shown);
    g_ptr_array_remove (l->shown, shown);
}

static void add (struct list *l, GhEngine1Job *job)
{
    GtkWidget *shown = gtk_box_new (GTK_ORIENTATION_HORIZONTAL, 12), *column = gtk_box_new (GTK_ORIENTATION_VERTICAL, 3);
    GtkWidget *icon = gtk_image_new_from_icon_name ("document-save-symbolic"), *title = gtk_label_new (gh_engine1_job_get_title (job));
    GtkWidget *bar = gtk_progress_bar_new (), *cancel = gtk_button_new_from_icon_name ("process-stop-symbolic");
    const char *machine = gh_engine1_job_get_machine (job);

    if (g_strcmp0 (gh_engine1_job_get_state (job), "running"))
        return;
    gtk_image_set_pixel_size (GTK_IMAGE (icon), 32);
    gtk_widget_set_size_request (icon, 84, 40); /* as the pictures above it */
    gtk_label_set_ellipsize (GTK_LABEL (title), PANGO_ELLIPSIZE_MIDDLE);
    gtk_label_set_xalign (GTK_LABEL (title), 0);
    gtk_widget_set_hexpand (column, TRUE);
    gtk_widget_set_valign (column, GTK_ALIGN_CENTER);
    gtk_box_append (GTK_BOX (column), title);
    gtk_box_append (GTK_BOX (column), bar);
    gtk_widget_add_css_class (cancel, "flat");
    gtk_widget_set_valign (cancel, GTK_ALIGN_CENTER);
    gtk_widget_set_tooltip_text (cancel, _ ("Cancel"));
    gh_set_label (cancel, _ ("Cancel"));
    gh_set_label (bar, gh_engine1_job_get_title (job));
    gtk_box_append (GTK_BOX (shown), icon);
    gtk_box_append (GTK_BOX (shown), column);
    gtk_box_append (GTK_BOX (shown), cancel);
    g_object_set_data (G_OBJECT (shown), "list", l);
    g_object_set_data (G_OBJECT (shown), "icon", icon);
    g_object_set_data (G_OBJECT (shown), "title", title);
    g_object_set_data_full (G_OBJECT (shown), "job", g_object_ref (job), g_object_unref);
    g_object_set_data (G_OBJECT (shown), "import", GINT_TO_POINTER (!machine || !machine[1])); /* its machine comes at the end */
    g_ptr_array_add (l->shown, g_object_ref_sink (shown));
    place (l, shown);
    g_signal_connect_object (cancel, "clicked", G_CALLBACK (on_cancel), job, 0);
    g_signal_connect_object (job, "notify::progress", G_CALLBACK (on_progress), bar, 0);
    g_signal_connect_object (job, "notify::machine", G_CALLBACK (on_machine), shown, 0);
    g_signal_connect_object (job, "notify::notes", G_CALLBACK (on_notes), shown, 0);
    g_signal_connect_object (job, "notify::state", G_CALLBACK (on_state), shown, 0);
    on_notes (job, NULL, shown);
    on_progress (job, NULL, GTK_PROGRESS_BAR (bar));
}

static void on_jobs (GListModel *jobs, guint position, guint removed, guint added, struct list *l)
{
    /* When the daemon is gone, so is its work. */
    while (!g_list_model_get_n_items (jobs) && l->shown->len) {
        take_out (l, g_ptr_array_index (l->shown, 0));
        g_ptr_array_remove_index (l->shown, 0);
    }
    for (guint i = 0; i < added; i++) {
        g_autoptr (GhEngine1Job) job = g_list_model_get_item (jobs, position + i);
        add (l, job);
    }
}

/* Rows are made anew when machines come and go: their work moves into the new ones. */
static void on_machines (GListModel *machines, guint position, guint removed, guint added, struct list *l)
{
    for (guint i = 0; i < l->shown->len; i++)
        place (l, g_ptr_array_index (l->shown, i));
}

static void on_gone (struct list *l, GObject *box)
{
    g_ptr_array_unref (l->shown);
    g_free (l);
}

static void watch (struct list *l, GListModel *model, GCallback handler)
{
    GClosure *closure = g_cclosure_new (handler, l, NULL);

    g_object_watch_closure (G_OBJECT (l->box), closure);
    g_signal_connect_closure (model, "items-changed", closure, TRUE);
}

GtkWidget *gh_job_list_new (GhConnection *connection, GtkListBox *machines, AdwToastOverlay *toasts)
{
    struct list *l = g_new0 (struct list, 1);
    GListModel *jobs = gh_connection_get_jobs (connection);

    *l = (struct list){ gtk_box_new (GTK_ORIENTATION_VERTICAL, 6), toasts, connection, machines, g_ptr_array_new_with_free_func (g_object_unref) };
    gtk_widget_set_margin_start (l->box, 14);
    gtk_widget_set_margin_end (l->box, 8);
    gtk_widget_set_margin_top (l->box, 6);
    gtk_widget_set_margin_bottom (l->box, 6);
    gh_set_label (l->box, _ ("Work in Progress"));
    gtk_widget_set_visible (l->box, FALSE);
    watch (l, jobs, G_CALLBACK (on_jobs));
    watch (l, gh_connection_get_machines (connection), G_CALLBACK (on_machines));
    g_object_weak_ref (G_OBJECT (l->box), (GWeakNotify) on_gone, l);
    on_jobs (jobs, 0, 0, g_list_model_get_n_items (jobs), l);
    return l->box;
}
