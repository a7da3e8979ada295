/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/gh-window.h"

#include <glib/gi18n.h>

#include "gui/details/gh-details-page.h"
#include "gui/engine/gh-machine-actions.h"
#include "gui/list/gh-job-list.h"
#include "gui/gh-prefs.h"
#include "gui/list/gh-machine-row.h"

struct _GhWindow {
    AdwApplicationWindow parent_instance;
    GhConnection *connection;
    AdwToastOverlay *toasts;
    GtkRevealer *reconnecting;
    AdwLeaflet *leaflet;
    AdwHeaderBar *list_bar, *content_bar;
    AdwWindowTitle *content_title;
    AdwStatusPage *connecting;
    GtkListBox *list;
    GtkBox *rows; /* of the list, and of work that has no machine yet */
    GtkStack *stack;
    GtkWidget *content, *sidebar, *back, *power;
    GhDetailsPage *details;
};

G_DEFINE_FINAL_TYPE (GhWindow, gh_window, ADW_TYPE_APPLICATION_WINDOW)

static GtkWidget *make_row (gpointer item, gpointer data) { return gh_machine_row_new (item); }

static void show_page (GhWindow *self)
{
    gboolean any = g_list_model_get_n_items (gh_connection_get_machines (self->connection)) > 0;
    gboolean known = gh_connection_was_open (self->connection);

    gtk_stack_set_visible_child_name (self->stack, !known ? "connecting" : any ? "details" : "empty");
    gtk_widget_set_visible (self->power, any);
    gtk_revealer_set_reveal_child (self->reconnecting, known && !gh_connection_is_open (self->connection));
    if (!any) {
        adw_window_title_set_title (self->content_title, "");
        adw_leaflet_set_visible_child (self->leaflet, self->content);
    }
}

static void on_row_selected (GtkListBox *list, GtkListBoxRow *row, GhWindow *self)
{
    GhMachine *machine = row ? gh_machine_row_get_machine (GH_MACHINE_ROW (row)) : NULL;

    gh_details_page_set_machine (self->details, machine);
    if (!machine) {
        gtk_widget_insert_action_group (GTK_WIDGET (self), "machine", NULL);
        return;
    }
    gh_machine_actions_install (GTK_WIDGET (self), machine, self->toasts);
    adw_window_title_set_title (self->content_title, gh_machine_get_name (machine));
}

static void on_row_activated (GhWindow *self) { adw_leaflet_set_visible_child (self->leaflet, self->content); }
static void on_back (GhWindow *self) { adw_leaflet_set_visible_child (self->leaflet, self->sidebar); }

static void on_folded (GhWindow *self)
{
    gboolean folded = adw_leaflet_get_folded (self->leaflet);

    gtk_widget_set_visible (self->back, folded);
    adw_header_bar_set_show_end_title_buttons (self->list_bar, folded);
    adw_header_bar_set_show_start_title_buttons (self->content_bar, folded);
}

static void on_machines_changed (GhWindow *self)
{
    show_page (self);
    if (!gtk_list_box_get_selected_row (self->list)) {
        GtkListBoxRow *first = gtk_list_box_get_row_at_index (self->list, 0);
        if (first)
            gtk_list_box_select_row (self->list, first);
    }
}

static void on_failed (GhConnection *connection, const char *text, GhWindow *self)
{ adw_status_page_set_description (self->connecting, text); }

void gh_window_select (GhWindow *self, GhMachine *machine)
{
    for (int i = 0;; i++) {
        GtkListBoxRow *row = gtk_list_box_get_row_at_index (self->list, i);
        if (!row)
            return;
        if (gh_machine_row_get_machine (GH_MACHINE_ROW (row)) == machine) {
            gtk_list_box_select_row (self->list, row);
            return;
        }
    }
}

static gboolean gh_window_close_request (GtkWindow *window)
{
    int width, height;

    gtk_window_get_default_size (window, &width, &height);
    gh_prefs_set_size (width, height, gtk_window_is_maximized (window));
    return GTK_WINDOW_CLASS (gh_window_parent_class)->close_request (window);
}

static void restore_size (GtkWindow *window)
{
    int width, height;
    gboolean maximized;

    gh_prefs_get_size (&width, &height, &maximized);
    if (width && height)
        gtk_window_set_default_size (window, width, height);
    if (maximized)
        gtk_window_maximize (window);
}

GtkWidget *gh_window_new (GtkApplication *app, GhConnection *connection)
{
    GhWindow *self = g_object_new (GH_TYPE_WINDOW, "application", app, NULL);
    GListModel *machines = gh_connection_get_machines (connection);

    self->connection = g_object_ref (connection);
    restore_size (GTK_WINDOW (self));
    gtk_list_box_bind_model (self->list, machines, make_row, NULL, NULL);
    g_signal_connect_object (machines, "items-changed", G_CALLBACK (on_machines_changed), self, G_CONNECT_SWAPPED | G_CONNECT_AFTER);
    g_signal_connect_object (connection, "changed", G_CALLBACK (show_page), self, G_CONNECT_SWAPPED);
    g_signal_connect_object (connection, "failed", G_CALLBACK (on_failed), self, 0);
    gtk_box_append (self->rows, gh_job_list_new (connection, self->list, self->toasts));
    on_machines_changed (self);
    return GTK_WIDGET (self);
}

static void gh_window_dispose (GObject *object)
{
    GhWindow *self = GH_WINDOW (object);

    if (self->list)
        g_signal_handlers_disconnect_by_data (self->list, self);
    self->list = NULL;
    g_clear_object (&self->connection);
    G_OBJECT_CLASS (gh_window_parent_class)->dispose (object);
}

static void gh_window_class_init (GhWindowClass *klass)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS (klass);

    g_type_ensure (GH_TYPE_DETAILS_PAGE);
    G_OBJECT_CLASS (klass)->dispose = gh_window_dispose;
    GTK_WINDOW_CLASS (klass)->close_request = gh_window_close_request;
    gtk_widget_class_set_template_from_resource (widget, "/org/gasthaus/Gasthaus/gh-window.ui");
#define CHILD(name) gtk_widget_class_bind_template_child (widget, GhWindow, name)
    CHILD (toasts);
    CHILD (reconnecting);
    CHILD (leaflet);
    CHILD (list_bar);
    CHILD (content_bar);
    CHILD (content_title);
    CHILD (connecting);
    CHILD (list);
    CHILD (stack);
    CHILD (content);
    CHILD (sidebar);
    CHILD (rows);
    CHILD (back);
    CHILD (power);
    CHILD (details);
#undef CHILD
}

static gboolean on_drop (GtkDropTarget *target, const GValue *value, double x, double y, GhWindow *self)
{
    g_autofree char *path = g_file_get_path (g_value_get_object (value));

    if (path)
        g_action_group_activate_action (G_ACTION_GROUP (g_application_get_default ()), "open-file", g_variant_new_string (path));
    return path != NULL;
}

static void gh_window_init (GhWindow *self)
{
    GtkDropTarget *drop = gtk_drop_target_new (G_TYPE_FILE, GDK_ACTION_COPY);

    gtk_widget_init_template (GTK_WIDGET (self));
    g_signal_connect (self->list, "row-selected", G_CALLBACK (on_row_selected), self);
    g_signal_connect_swapped (self->list, "row-activated", G_CALLBACK (on_row_activated), self);
    g_signal_connect_swapped (self->back, "clicked", G_CALLBACK (on_back), self);
    g_signal_connect_swapped (self->leaflet, "notify::folded", G_CALLBACK (on_folded), self);
    g_signal_connect (drop, "drop", G_CALLBACK (on_drop), self);
    gtk_widget_add_controller (GTK_WIDGET (self), GTK_EVENT_CONTROLLER (drop));
    on_folded (self);
}
