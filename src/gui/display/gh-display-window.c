/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/display/gh-display-window.h"

#include <glib/gi18n.h>

#include "gui/display/gh-display.h"
#include "gui/engine/gh-machine-actions.h"
#include "gui/gh-prefs.h"
#include "gui/gh-util.h"

/* In full screen the bar shows while the pointer is within this many pixels of the top. */
#define EDGE 3
#define BAR_HEIGHT 60
#define WINDOW_MARGIN 24 /* what a monitor has less than its size, for a panel or a frame */

struct _GhDisplayWindow {
    AdwWindow parent_instance;
    GhMachine *machine;
    GtkOverlay *overlay;
    GtkBox *box;
    GtkRevealer *bar_revealer;
    GtkWidget *bar;
    AdwWindowTitle *title;
    AdwToastOverlay *toasts;
    GtkStack *stack;
    GhDisplay *display;
    AdwStatusPage *status;
    GtkWidget *start_button, *keys_button;
    gboolean asking, hint_shown, bar_floats, filled, sized; /* sized: as the person left it */
};

G_DEFINE_FINAL_TYPE (GhDisplayWindow, gh_display_window, ADW_TYPE_WINDOW)

static void toast (GhDisplayWindow *self, const char *text) { adw_toast_overlay_add_toast (self->toasts, gh_toast_new (text)); }

static void on_display_opened (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhDisplayWindow) self = data;
    g_autofree char *path = NULL;

    self->asking = FALSE;
    if (gh_engine1_machine_call_open_display_finish (GH_ENGINE1_MACHINE (source), &path, result, NULL) && self->machine)
        gh_display_set_socket (self->display, path);
}

static void refresh (GhDisplayWindow *self)
{
    gboolean on = gh_machine_is_on (self->machine), connected = gh_display_is_connected (self->display);
    const char *name = gh_machine_get_name (self->machine);

    gtk_window_set_title (GTK_WINDOW (self), name);
    adw_window_title_set_title (self->title, name);
    adw_window_title_set_subtitle (self->title, connected && gh_display_has_grab (self->display)
                                                    ? _ ("Press Ctrl+Alt to release keyboard and pointer")
                                                    : gh_machine_get_state_text (self->machine));
    gtk_stack_set_visible_child_name (self->stack, on && connected ? "screen" : "status");
    adw_status_page_set_title (self->status, on ? _ ("Connecting to the Screen…") : gh_machine_get_state_text (self->machine));
    g_autofree char *trouble = on ? NULL : gh_machine_get_trouble (self->machine);
    g_autofree char *escaped = trouble ? g_markup_escape_text (trouble, -1) : NULL;
    adw_status_page_set_description (self->status, escaped);
    gtk_widget_set_visible (self->start_button, !on);
    gtk_widget_set_sensitive (self->keys_button, connected);
    if (!on) {
        gh_display_set_socket (self->display, NULL);
    } else if (!connected && !self->asking) {
        self->asking = TRUE;
        gh_engine1_machine_call_open_display (gh_machine_get_proxy (self->machine), NULL, on_display_opened, g_object_ref (self));
    }
}

static void on_display_status (GhDisplayWindow *self)
{
    gboolean was = g_str_equal (gtk_stack_get_visible_child_name (self->stack) ? gtk_stack_get_visible_child_name (self->stack) : "", "screen");

    if (!self->machine)
        return;
    refresh (self);
    if (!was && gh_display_is_connected (self->display))
        gtk_widget_grab_focus (GTK_WIDGET (self->display));
    if (!self->hint_shown && gh_prefs_get (GH_PREFS_HINT) && gh_display_is_connected (self->display) && gh_display_has_grab (self->display)) {
        self->hint_shown = TRUE;
        toast (self, _ ("The keyboard belongs to the machine now. Press Ctrl+Alt to release it."));
    }
}

static void send_keys (GtkWidget *widget, const char *action, GVariant *target)
{
    GhDisplayWindow *self = GH_DISPLAY_WINDOW (widget);
    g_auto (GStrv) names = g_strsplit (g_variant_get_string (target, NULL), " ", 8);
    guint keysyms[9] = { 0 };

    for (guint i = 0; names[i] && i < 8; i++)
        keysyms[i] = gdk_keyval_from_name (names[i]);
    gh_display_send_keys (self->display, keysyms);
    gtk_widget_grab_focus (GTK_WIDGET (self->display));
}

/* A guest that shows more than the window holds gets a larger window, as far as the monitor goes; never a smaller one. */
static void on_guest_resized (GhDisplayWindow *self)
{
    GtkWindow *window = GTK_WINDOW (self);
    GdkSurface *surface = gtk_native_get_surface (GTK_NATIVE (self));
    GdkMonitor *monitor = surface ? gdk_display_get_monitor_at_surface (gdk_surface_get_display (surface), surface) : NULL;
    int width, height, own_width, own_height, factor = gtk_widget_get_scale_factor (GTK_WIDGET (self));
    GdkRectangle room;

    gh_display_get_guest_size (self->display, &width, &height);
    if (self->sized || !monitor || !width || gtk_window_is_fullscreen (window) || gtk_window_is_maximized (window))
        return;
    gdk_monitor_get_geometry (monitor, &room);
    gtk_window_get_default_size (window, &own_width, &own_height); /* what it is now, with what is around the screen */
    width = own_width + (width + factor - 1) / factor - gtk_widget_get_width (GTK_WIDGET (self->stack));
    height = own_height + (height + factor - 1) / factor - gtk_widget_get_height (GTK_WIDGET (self->stack));
    width = MIN (width, room.width - WINDOW_MARGIN);
    height = MIN (height, room.height - WINDOW_MARGIN);
    if (gtk_widget_get_width (GTK_WIDGET (self->stack)) && (width > own_width || height > own_height))
        gtk_window_set_default_size (window, MAX (width, own_width), MAX (height, own_height));
}

static void set_fullscreen (GtkWidget *widget, const char *action, GVariant *target)
{
    if (gtk_window_is_fullscreen (GTK_WINDOW (widget)))
        gtk_window_unfullscreen (GTK_WINDOW (widget));
    else
        gtk_window_fullscreen (GTK_WINDOW (widget));
}

/* In full screen the bar floats over the picture, which keeps its place then. */
static void float_bar (GhDisplayWindow *self, gboolean floats)
{
    g_autoptr (GtkWidget) bar = g_object_ref (GTK_WIDGET (self->bar_revealer));

    if (floats == self->bar_floats)
        return;
    self->bar_floats = floats;
    if (floats) {
        gtk_box_remove (self->box, bar);
        gtk_overlay_add_overlay (self->overlay, bar);
        gtk_widget_add_css_class (self->bar, "osd");
    } else {
        gtk_overlay_remove_overlay (self->overlay, bar);
        gtk_box_prepend (self->box, bar);
        gtk_widget_remove_css_class (self->bar, "osd");
    }
}

static void on_fullscreened (GhDisplayWindow *self)
{
    gboolean full = gtk_window_is_fullscreen (GTK_WINDOW (self));

    float_bar (self, full);
    gtk_revealer_set_reveal_child (self->bar_revealer, !full);
    if (full)
        toast (self, _ ("Move the pointer to the top for the bar; F11 leaves full screen."));
}

static void on_window_motion (GtkEventControllerMotion *m, double x, double y, GhDisplayWindow *self)
{
    if (!gtk_window_is_fullscreen (GTK_WINDOW (self)))
        return;
    if (y <= EDGE)
        gtk_revealer_set_reveal_child (self->bar_revealer, TRUE);
    else if (y > BAR_HEIGHT)
        gtk_revealer_set_reveal_child (self->bar_revealer, FALSE);
}

static gboolean on_window_key (GtkEventControllerKey *k, guint keysym, guint code, GdkModifierType state, GhDisplayWindow *self)
{
    if (keysym == GDK_KEY_F11 && !(state & (GDK_CONTROL_MASK | GDK_ALT_MASK | GDK_SHIFT_MASK))) {
        set_fullscreen (GTK_WIDGET (self), NULL, NULL);
        return TRUE;
    }
    /* Ctrl+Q and the like are the guest's while it has the keyboard, not the application's. */
    return gh_display_has_grab (self->display) && gtk_widget_has_focus (GTK_WIDGET (self->display)) &&
           gtk_event_controller_key_forward (GTK_EVENT_CONTROLLER_KEY (k), GTK_WIDGET (self->display));
}

/* What was pressed on its way through here is let go through here too: the controller stops the release of what it handled. */
static void on_window_key_up (GtkEventControllerKey *k, guint keysym, guint code, GdkModifierType state, GhDisplayWindow *self)
{
    if (gtk_widget_has_focus (GTK_WIDGET (self->display)))
        gtk_event_controller_key_forward (k, GTK_WIDGET (self->display));
}

static void take_screenshot (GtkWidget *widget, const char *action, GVariant *target)
{
    GhDisplayWindow *self = GH_DISPLAY_WINDOW (widget);
    const char *pictures = g_get_user_special_dir (G_USER_DIRECTORY_PICTURES);
    g_autofree char *folder = g_build_filename (pictures ? pictures : g_get_home_dir (), "Screenshots", NULL);
    g_autoptr (GDateTime) now = g_date_time_new_now_local ();
    g_autofree char *time = g_date_time_format (now, "%Y-%m-%d %H-%M-%S");
    g_autofree char *name = g_strdup_printf ("%s %s.png", gh_machine_get_name (self->machine), time);
    g_autofree char *path = g_build_filename (folder, g_strdelimit (name, "/", '_'), NULL);
    g_autoptr (GdkTexture) picture = gh_display_picture (self->display);

    g_mkdir_with_parents (folder, 0755);
    if (picture)
        gdk_clipboard_set_texture (gtk_widget_get_clipboard (widget), picture);
    gboolean ok = picture && gdk_texture_save_to_png (picture, path);
    g_autofree char *text = g_strdup_printf (ok ? _ ("Saved as “%s”, and copied") : _ ("The picture could not be written to “%s”."), path);
    toast (self, text);
}

static void set_fill (GtkWidget *widget, const char *action, GVariant *target)
{
    GhDisplayWindow *self = GH_DISPLAY_WINDOW (widget);

    self->filled = !self->filled;
    gh_display_set_zoom (self->display, self->filled);
}

static void on_typed (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhDisplayWindow) self = data;
    g_autoptr (GError) error = NULL;

    if (!gh_engine1_machine_call_type_text_finish (GH_ENGINE1_MACHINE (source), result, &error) && self->machine) {
        g_autofree char *message = gh_error_message (error);
        toast (self, message);
    }
}

static void on_clipboard_read (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhDisplayWindow) self = data;
    g_autofree char *text = gdk_clipboard_read_text_finish (GDK_CLIPBOARD (source), result, NULL);

    if (!self->machine)
        return;
    if (text && text[0])
        gh_engine1_machine_call_type_text (gh_machine_get_proxy (self->machine), text, NULL, on_typed, g_object_ref (self));
    else
        toast (self, _ ("There is no text on the clipboard."));
}

static void type_clipboard (GtkWidget *widget, const char *action, GVariant *target)
{
    gdk_clipboard_read_text_async (gtk_widget_get_clipboard (widget), NULL, on_clipboard_read, g_object_ref (widget));
    gtk_widget_grab_focus (GTK_WIDGET (GH_DISPLAY_WINDOW (widget)->display));
}

static void on_panicked (GhDisplayWindow *self)
{ toast (self, _ ("The system in the machine reports that it has crashed.")); }

GhMachine *gh_display_window_get_machine (GhDisplayWindow *self) { return self->machine; }

static void restore_size (GhDisplayWindow *self)
{
    int width, height;
    gboolean maximized;

    self->sized = gh_prefs_get_screen (gh_machine_get_uuid (self->machine), &width, &height, &maximized);
    if (self->sized)
        gtk_window_set_default_size (GTK_WINDOW (self), width, height);
    gh_fit_screen (GTK_WINDOW (self));
    if (self->sized && maximized)
        gtk_window_maximize (GTK_WINDOW (self));
}

GtkWidget *gh_display_window_new (GtkApplication *app, GhMachine *machine)
{
    GhDisplayWindow *self = g_object_new (GH_TYPE_DISPLAY_WINDOW, "application", app, NULL);
    GtkEventController *key = gtk_event_controller_key_new ();

    /* Added last, so that it comes before the application's shortcuts. */
    gtk_event_controller_set_propagation_phase (key, GTK_PHASE_CAPTURE);
    g_signal_connect (key, "key-pressed", G_CALLBACK (on_window_key), self);
    g_signal_connect (key, "key-released", G_CALLBACK (on_window_key_up), self);
    gtk_widget_add_controller (GTK_WIDGET (self), key);
    self->machine = g_object_ref (machine);
    restore_size (self);
    gh_machine_actions_install (GTK_WIDGET (self), machine, self->toasts);
    g_signal_connect_object (machine, "changed", G_CALLBACK (refresh), self, G_CONNECT_SWAPPED);
    g_signal_connect_object (gh_machine_get_proxy (machine), "panicked", G_CALLBACK (on_panicked), self, G_CONNECT_SWAPPED);
    g_autofree char *label = g_strdup_printf (_ ("Screen of “%s”"), gh_machine_get_name (machine));
    gh_set_label (GTK_WIDGET (self->display), label);
    refresh (self);
    return GTK_WIDGET (self);
}

static gboolean gh_display_window_close_request (GtkWindow *window)
{
    GhDisplayWindow *self = GH_DISPLAY_WINDOW (window);
    int width, height;

    gtk_window_get_default_size (window, &width, &height);
    if (self->machine && !gtk_window_is_fullscreen (window))
        gh_prefs_set_screen (gh_machine_get_uuid (self->machine), width, height, gtk_window_is_maximized (window));
    if (self->machine && gh_machine_is_on (self->machine))
        g_action_group_activate_action (G_ACTION_GROUP (g_application_get_default ()), "screen-closed",
                                        g_variant_new_string (gh_machine_get_uuid (self->machine)));
    return GTK_WINDOW_CLASS (gh_display_window_parent_class)->close_request (window);
}

static void gh_display_window_dispose (GObject *object)
{
    GhDisplayWindow *self = GH_DISPLAY_WINDOW (object);

    if (self->display) {
        g_signal_handlers_disconnect_by_data (self->display, self);
        gh_display_set_socket (self->display, NULL);
        self->display = NULL;
    }
    g_clear_object (&self->machine);
    G_OBJECT_CLASS (gh_display_window_parent_class)->dispose (object);
}

static void gh_display_window_class_init (GhDisplayWindowClass *klass)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS (klass);

    g_type_ensure (GH_TYPE_DISPLAY);
    G_OBJECT_CLASS (klass)->dispose = gh_display_window_dispose;
    GTK_WINDOW_CLASS (klass)->close_request = gh_display_window_close_request;
    gtk_widget_class_set_template_from_resource (widget, "/org/gasthaus/Gasthaus/display/gh-display-window.ui");
    gtk_widget_class_bind_template_child (widget, GhDisplayWindow, overlay);
    gtk_widget_class_bind_template_child (widget, GhDisplayWindow, box);
    gtk_widget_class_bind_template_child (widget, GhDisplayWindow, bar);
    gtk_widget_class_bind_template_child (widget, GhDisplayWindow, bar_revealer);
    gtk_widget_class_bind_template_child (widget, GhDisplayWindow, title);
    gtk_widget_class_bind_template_child (widget, GhDisplayWindow, toasts);
    gtk_widget_class_bind_template_child (widget, GhDisplayWindow, stack);
    gtk_widget_class_bind_template_child (widget, GhDisplayWindow, display);
    gtk_widget_class_bind_template_child (widget, GhDisplayWindow, status);
    gtk_widget_class_bind_template_child (widget, GhDisplayWindow, start_button);
    gtk_widget_class_bind_template_child (widget, GhDisplayWindow, keys_button);
    gtk_widget_class_install_action (widget, "display.send-keys", "s", send_keys);
    gtk_widget_class_install_action (widget, "display.fullscreen", NULL, set_fullscreen);
    gtk_widget_class_install_action (widget, "display.screenshot", NULL, take_screenshot);
    gtk_widget_class_install_action (widget, "display.fill", NULL, set_fill);
    gtk_widget_class_install_action (widget, "display.type-clipboard", NULL, type_clipboard);
}

static void gh_display_window_init (GhDisplayWindow *self)
{
    GtkEventController *motion = gtk_event_controller_motion_new ();

    gtk_widget_init_template (GTK_WIDGET (self));
    gtk_event_controller_set_propagation_phase (motion, GTK_PHASE_CAPTURE);
    g_signal_connect (motion, "motion", G_CALLBACK (on_window_motion), self);
    gtk_widget_add_controller (GTK_WIDGET (self), motion);
    g_signal_connect (self, "notify::fullscreened", G_CALLBACK (on_fullscreened), NULL);
    g_signal_connect_swapped (self->display, "status", G_CALLBACK (on_display_status), self);
    g_signal_connect_swapped (self->display, "resized", G_CALLBACK (on_guest_resized), self);
    self->filled = gh_prefs_get (GH_PREFS_FILL);
    gh_display_set_zoom (self->display, self->filled);
    gh_display_set_inhibit (self->display, gh_prefs_get (GH_PREFS_INHIBIT));
}
