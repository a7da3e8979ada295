/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/gh-window.h"

#include <glib/gi18n.h>

#include "gui/details/gh-details-page.h"
#include "gui/engine/gh-machine-actions.h"
#include "gui/list/gh-job-list.h"
#include "gui/gh-prefs.h"
#include "gui/gh-util.h"
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
    GMenuModel *row_menu;
    GtkWidget *popover;
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
    else
        gh_fit_screen (window);
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

void gh_window_say_goes_on (GhWindow *self, GhMachine *machine)
{
    g_autofree char *text = g_strdup_printf (_ ("“%s” goes on running."), gh_machine_get_name (machine));
    AdwToast *toast = gh_toast_new (text);

    adw_toast_set_button_label (toast, _ ("Show _Screen"));
    adw_toast_set_action_name (toast, "app.show-screen");
    adw_toast_set_action_target_value (toast, g_variant_new_string (gh_machine_get_uuid (machine)));
    adw_toast_overlay_add_toast (self->toasts, toast);
}

static void rename_machine (GtkWidget *widget, const char *action, GVariant *target)
{
    GhWindow *self = GH_WINDOW (widget);

    if (!gtk_list_box_get_selected_row (self->list))
        return;
    adw_leaflet_set_visible_child (self->leaflet, self->content);
    gh_details_page_edit_name (self->details);
}

/* ---- The menu of a row, by the right button or the keyboard ---------------------------------------- */
static void show_row_menu (GhWindow *self, GtkListBoxRow *row, double x, double y)
{
    if (!self->popover) {
        self->popover = gtk_popover_menu_new_from_model (self->row_menu);
        gtk_widget_set_parent (self->popover, GTK_WIDGET (self->list));
        gtk_widget_set_halign (self->popover, GTK_ALIGN_START);
        gtk_popover_set_has_arrow (GTK_POPOVER (self->popover), FALSE);
    }
    gtk_list_box_select_row (self->list, row);
    gtk_popover_set_pointing_to (GTK_POPOVER (self->popover), &(GdkRectangle){ (int) x, (int) y, 1, 1 });
    gtk_popover_popup (GTK_POPOVER (self->popover));
}

static void on_list_press (GtkGestureClick *click, int n, double x, double y, GhWindow *self)
{
    GtkListBoxRow *row = gtk_list_box_get_row_at_y (self->list, (int) y);

    if (!row || !gdk_event_triggers_context_menu (gtk_event_controller_get_current_event (GTK_EVENT_CONTROLLER (click))))
        return;
    gtk_gesture_set_state (GTK_GESTURE (click), GTK_EVENT_SEQUENCE_CLAIMED);
    show_row_menu (self, row, x, y);
}

static gboolean on_menu_key (GtkWidget *list, GVariant *args, gpointer data)
{
    GhWindow *self = data;
    GtkListBoxRow *row = gtk_list_box_get_selected_row (self->list);
    graphene_rect_t place;

    if (row && gtk_widget_compute_bounds (GTK_WIDGET (row), list, &place))
        show_row_menu (self, row, place.origin.x + 24, place.origin.y + place.size.height / 2);
    return TRUE;
}

static void add_list_keys (GhWindow *self)
{
    GtkEventController *keys = gtk_shortcut_controller_new ();
    GtkGesture *press = gtk_gesture_click_new ();

    gtk_gesture_single_set_button (GTK_GESTURE_SINGLE (press), 0);
    g_signal_connect (press, "pressed", G_CALLBACK (on_list_press), self);
    gtk_widget_add_controller (GTK_WIDGET (self->list), GTK_EVENT_CONTROLLER (press));
    gtk_shortcut_controller_add_shortcut (GTK_SHORTCUT_CONTROLLER (keys), gtk_shortcut_new (gtk_shortcut_trigger_parse_string ("Menu|<Shift>F10"),
                                                                                             gtk_callback_action_new (on_menu_key, self, NULL)));
    gtk_shortcut_controller_add_shortcut (GTK_SHORTCUT_CONTROLLER (keys), gtk_shortcut_new (gtk_keyval_trigger_new (GDK_KEY_Delete, 0),
                                                                                             gtk_named_action_new ("machine.delete")));
    gtk_widget_add_controller (GTK_WIDGET (self->list), keys);
}

static void gh_window_dispose (GObject *object)
{
    GhWindow *self = GH_WINDOW (object);

    g_clear_pointer (&self->popover, gtk_widget_unparent);
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
    gtk_widget_class_install_action (widget, "window.rename", NULL, rename_machine);
    gtk_widget_class_add_binding_action (widget, GDK_KEY_F2, 0, "window.rename", NULL);
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
    CHILD (row_menu);
#undef CHILD
}

static gboolean on_drop (GtkDropTarget *target, const GValue *value, double x, double y, GhWindow *self)
{
    g_autoptr (GSList) files = gdk_file_list_get_files (g_value_get_boxed (value));
    gboolean any = FALSE;

    for (GSList *l = files; l; l = l->next) {
        g_autofree char *path = g_file_get_path (l->data);
        if (path)
            g_action_group_activate_action (G_ACTION_GROUP (g_application_get_default ()), "open-file", g_variant_new_string (path));
        any |= path != NULL;
    }
    return any;
}

static void gh_window_init (GhWindow *self)
{
    GtkDropTarget *drop = gtk_drop_target_new (GDK_TYPE_FILE_LIST, GDK_ACTION_COPY);

    gtk_widget_init_template (GTK_WIDGET (self));
    g_signal_connect (self->list, "row-selected", G_CALLBACK (on_row_selected), self);
    g_signal_connect_swapped (self->list, "row-activated", G_CALLBACK (on_row_activated), self);
    g_signal_connect_swapped (self->back, "clicked", G_CALLBACK (on_back), self);
    g_signal_connect_swapped (self->leaflet, "notify::folded", G_CALLBACK (on_folded), self);
    add_list_keys (self);
    g_signal_connect (drop, "drop", G_CALLBACK (on_drop), self);
    gtk_widget_add_controller (GTK_WIDGET (self), GTK_EVENT_CONTROLLER (drop));
    on_folded (self);
}
