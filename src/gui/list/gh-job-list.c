/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/list/gh-job-list.h"

#include <glib/gi18n.h>

#include "gui/gh-util.h"

struct list { GtkWidget *box; AdwToastOverlay *toasts; };

static void on_cancel (GtkButton *button, GhEngine1Job *job) { gh_engine1_job_call_cancel (job, NULL, NULL, NULL); }

static void on_progress (GhEngine1Job *job, GParamSpec *spec, GtkProgressBar *bar)
{
    double fraction = gh_engine1_job_get_progress (job);
    g_autofree char *text = g_strdup_printf (_ ("%d %%"), (int) (fraction * 100));

    gtk_progress_bar_set_fraction (bar, fraction);
    gtk_accessible_update_property (GTK_ACCESSIBLE (bar), GTK_ACCESSIBLE_PROPERTY_VALUE_TEXT, text, -1);
}

static void toast (struct list *l, const char *text)
{
    g_autofree char *escaped = g_markup_escape_text (text, -1);

    adw_toast_overlay_add_toast (l->toasts, adw_toast_new (escaped));
}

static void on_state (GhEngine1Job *job, GParamSpec *spec, GtkWidget *row)
{
    struct list *l = g_object_get_data (G_OBJECT (row), "list");
    const char *state = gh_engine1_job_get_state (job), *machine = gh_engine1_job_get_machine (job);

    if (!g_strcmp0 (state, "running"))
        return;
    if (!g_strcmp0 (state, "failed")) {
        g_autofree char *text = gh_job_error (job);
        toast (l, text);
    } else if (!g_strcmp0 (state, "done") && machine && machine[1]) {
        g_action_group_activate_action (G_ACTION_GROUP (g_application_get_default ()), "machine-created", g_variant_new ("(sb)", machine, FALSE));
    }
    gtk_box_remove (GTK_BOX (l->box), row);
    gtk_widget_set_visible (l->box, gtk_widget_get_first_child (l->box) != NULL);
}

static void add (struct list *l, GhEngine1Job *job)
{
    GtkWidget *row = gtk_box_new (GTK_ORIENTATION_HORIZONTAL, 6), *column = gtk_box_new (GTK_ORIENTATION_VERTICAL, 3);
    GtkWidget *title = gtk_label_new (gh_engine1_job_get_title (job)), *bar = gtk_progress_bar_new ();
    GtkWidget *cancel = gtk_button_new_from_icon_name ("process-stop-symbolic");

    if (g_strcmp0 (gh_engine1_job_get_state (job), "running"))
        return;
    gtk_label_set_ellipsize (GTK_LABEL (title), PANGO_ELLIPSIZE_MIDDLE);
    gtk_label_set_xalign (GTK_LABEL (title), 0);
    gtk_widget_set_hexpand (column, TRUE);
    gtk_box_append (GTK_BOX (column), title);
    gtk_box_append (GTK_BOX (column), bar);
    gtk_widget_add_css_class (cancel, "flat");
    gtk_widget_set_valign (cancel, GTK_ALIGN_CENTER);
    gtk_widget_set_tooltip_text (cancel, _ ("Cancel"));
    gh_set_label (cancel, _ ("Cancel"));
    gh_set_label (bar, gh_engine1_job_get_title (job));
    gtk_box_append (GTK_BOX (row), column);
    gtk_box_append (GTK_BOX (row), cancel);
    g_object_set_data (G_OBJECT (row), "list", l);
    gtk_box_append (GTK_BOX (l->box), row);
    gtk_widget_set_visible (l->box, TRUE);
    g_signal_connect_object (cancel, "clicked", G_CALLBACK (on_cancel), job, 0);
    g_signal_connect_object (job, "notify::progress", G_CALLBACK (on_progress), bar, 0);
    g_signal_connect_object (job, "notify::state", G_CALLBACK (on_state), row, 0);
    on_progress (job, NULL, GTK_PROGRESS_BAR (bar));
}

static void on_jobs (GListModel *jobs, guint position, guint removed, guint added, struct list *l)
{
    /* When the daemon is gone, so is its work. */
    for (GtkWidget *row = g_list_model_get_n_items (jobs) ? NULL : gtk_widget_get_first_child (l->box); row; row = gtk_widget_get_first_child (l->box))
        gtk_box_remove (GTK_BOX (l->box), row);
    if (!g_list_model_get_n_items (jobs))
        gtk_widget_set_visible (l->box, FALSE);
    for (guint i = 0; i < added; i++) {
        g_autoptr (GhEngine1Job) job = g_list_model_get_item (jobs, position + i);
        add (l, job);
    }
}

static void on_gone (struct list *l, GObject *box) { g_free (l); }

GtkWidget *gh_job_list_new (GhConnection *connection, AdwToastOverlay *toasts)
{
    struct list *l = g_new0 (struct list, 1);
    GListModel *jobs = gh_connection_get_jobs (connection);

    *l = (struct list){ gtk_box_new (GTK_ORIENTATION_VERTICAL, 6), toasts };
    gtk_widget_set_margin_start (l->box, 12);
    gtk_widget_set_margin_end (l->box, 6);
    gtk_widget_set_margin_top (l->box, 6);
    gtk_widget_set_margin_bottom (l->box, 6);
    gh_set_label (l->box, _ ("Work in Progress"));
    gtk_widget_set_visible (l->box, FALSE);
    GClosure *closure = g_cclosure_new (G_CALLBACK (on_jobs), l, NULL);
    g_object_watch_closure (G_OBJECT (l->box), closure);
    g_signal_connect_closure (jobs, "items-changed", closure, FALSE);
    g_object_weak_ref (G_OBJECT (l->box), (GWeakNotify) on_gone, l);
    on_jobs (jobs, 0, 0, g_list_model_get_n_items (jobs), l);
    return l->box;
}
