/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/display/gh-display.h"

#include <glib/gi18n.h>
#include <gdk/gdkkeysyms.h>

#include "gui/display/gh-rfb.h"

#define KEYS_HELD 32
#define EVDEV_OFFSET 8 /* GDK's hardware key codes are evdev's plus this, on X11 and on Wayland */

struct _GhDisplay {
    GtkWidget parent_instance;
    struct gh_rfb *rfb;
    char *socket;
    GdkTexture *texture;
    gboolean dirty, fill, grabbed, chord;
    guint retry;
    int buttons;
    double wheel;
    guint16 held[KEYS_HELD];
    guint held_keysym[KEYS_HELD];
};

G_DEFINE_FINAL_TYPE (GhDisplay, gh_display, GTK_TYPE_WIDGET)

enum { STATUS, RELEASED, N_SIGNALS };
static guint signals[N_SIGNALS];

static void open_socket (GhDisplay *self);

/* ---- The picture ------------------------------------------------------------------------------ */
static gboolean place (GhDisplay *self, graphene_rect_t *ret, double *ret_scale)
{
    int w, h, own_w = gtk_widget_get_width (GTK_WIDGET (self)), own_h = gtk_widget_get_height (GTK_WIDGET (self));

    if (!self->texture)
        return FALSE;
    w = gdk_texture_get_width (self->texture);
    h = gdk_texture_get_height (self->texture);
    /* One guest pixel on one pixel of the monitor, whatever the desktop's scale factor. */
    double unit = 1.0 / gtk_widget_get_scale_factor (GTK_WIDGET (self));
    double scale = MIN ((double) own_w / w, (double) own_h / h);
    if (!self->fill)
        scale = MIN (scale, unit);
    int x = (int) ((own_w - w * scale) / 2), y = (int) ((own_h - h * scale) / 2);
    graphene_rect_init (ret, (float) x, (float) y, (float) (w * scale), (float) (h * scale));
    *ret_scale = scale;
    return TRUE;
}

static void take_picture (GhDisplay *self)
{
    int w, h;
    const guint8 *pixels = gh_rfb_pixels (self->rfb, &w, &h);

    if (!pixels)
        return;
    gsize count = (gsize) w * (gsize) h;
    guint32 *copy = g_try_malloc (count * 4);
    if (!copy)
        return;
    /* The unused byte is zero on the wire; it must be opaque here. */
    const guint32 *from = (const guint32 *) (gconstpointer) pixels;
    for (gsize i = 0; i < count; i++)
        copy[i] = from[i] | GUINT32_TO_LE (0xff000000u);
    g_autoptr (GBytes) bytes = g_bytes_new_take (copy, count * 4);
    g_clear_object (&self->texture);
    self->texture = gdk_memory_texture_new (w, h, GDK_MEMORY_B8G8R8A8_PREMULTIPLIED, bytes, (gsize) w * 4);
}

static void gh_display_snapshot (GtkWidget *widget, GtkSnapshot *snapshot)
{
    GhDisplay *self = GH_DISPLAY (widget);
    graphene_rect_t all = GRAPHENE_RECT_INIT (0, 0, (float) gtk_widget_get_width (widget), (float) gtk_widget_get_height (widget)), r;
    double scale;

    if (self->dirty)
        take_picture (self);
    self->dirty = FALSE;
    gtk_snapshot_append_color (snapshot, &(GdkRGBA){ 0, 0, 0, 1 }, &all);
    if (place (self, &r, &scale))
        gtk_snapshot_append_texture (snapshot, self->texture, &r);
    gh_rfb_continue (self->rfb);
}

static void gh_display_measure (GtkWidget *widget, GtkOrientation orientation, int for_size, int *minimum, int *natural,
                                int *minimum_baseline, int *natural_baseline)
{
    GhDisplay *self = GH_DISPLAY (widget);
    int n = orientation == GTK_ORIENTATION_HORIZONTAL ? 720 : 400;

    if (self->texture)
        n = orientation == GTK_ORIENTATION_HORIZONTAL ? gdk_texture_get_width (self->texture) : gdk_texture_get_height (self->texture);
    *minimum = 64;
    *natural = MAX (64, n / gtk_widget_get_scale_factor (widget));
    *minimum_baseline = *natural_baseline = -1;
}

/* ---- Events of the connection ----------------------------------------------------------------- */
static void on_opened (gpointer data) { g_signal_emit (data, signals[STATUS], 0); }

static gboolean on_retry (gpointer data)
{
    GhDisplay *self = data;

    self->retry = 0;
    open_socket (self);
    return G_SOURCE_REMOVE;
}

static void on_closed (gpointer data)
{
    GhDisplay *self = data;

    memset (self->held, 0, sizeof self->held);
    if (self->socket && !self->retry)
        self->retry = g_timeout_add (500, on_retry, self);
    g_signal_emit (self, signals[STATUS], 0);
}

static void on_resized (gpointer data)
{
    GhDisplay *self = data;

    self->dirty = TRUE;
    take_picture (self);
    gtk_widget_queue_resize (data);
}

static void on_updated (gpointer data)
{
    GhDisplay *self = data;

    self->dirty = TRUE;
    if (gtk_widget_get_mapped (data)) {
        gtk_widget_queue_draw (data);
    } else {
        gh_rfb_continue (self->rfb);
    }
}

static void on_cursor (gpointer data, GBytes *pixels, int w, int h, int hot_x, int hot_y)
{
    g_autoptr (GBytes) bytes = pixels;
    g_autoptr (GdkTexture) texture = gdk_memory_texture_new (w, h, GDK_MEMORY_B8G8R8A8_PREMULTIPLIED, bytes, (gsize) w * 4);
    g_autoptr (GdkCursor) fallback = gdk_cursor_new_from_name ("default", NULL);
    g_autoptr (GdkCursor) cursor = gdk_cursor_new_from_texture (texture, CLAMP (hot_x, 0, w - 1), CLAMP (hot_y, 0, h - 1), fallback);

    gtk_widget_set_cursor (data, cursor);
}

static void open_socket (GhDisplay *self)
{
    static const struct gh_rfb_events events = { on_opened, on_closed, on_resized, on_updated, on_cursor };

    g_clear_pointer (&self->rfb, gh_rfb_free);
    if (self->socket)
        self->rfb = gh_rfb_open (self->socket, &events, self);
}

void gh_display_set_socket (GhDisplay *self, const char *path)
{
    if (!g_strcmp0 (self->socket, path) && (!path || self->rfb))
        return;
    g_free (self->socket);
    self->socket = g_strdup (path);
    g_clear_handle_id (&self->retry, g_source_remove);
    open_socket (self);
    g_signal_emit (self, signals[STATUS], 0);
}

gboolean gh_display_is_connected (GhDisplay *self) { return gh_rfb_is_open (self->rfb); }
gboolean gh_display_has_grab (GhDisplay *self) { return self->grabbed; }

void gh_display_set_zoom (GhDisplay *self, gboolean fill)
{
    self->fill = fill;
    gtk_widget_queue_draw (GTK_WIDGET (self));
}

/* ---- Keys --------------------------------------------------------------------------------------- */
static void release_all (GhDisplay *self)
{
    for (guint i = 0; i < KEYS_HELD; i++)
        if (self->held[i]) {
            gh_rfb_key (self->rfb, self->held_keysym[i], self->held[i], FALSE);
            self->held[i] = 0;
        }
}

static void set_grab (GhDisplay *self, gboolean grab)
{
    GtkNative *native = gtk_widget_get_native (GTK_WIDGET (self));
    GdkSurface *surface = native ? gtk_native_get_surface (native) : NULL;

    if (surface && GDK_IS_TOPLEVEL (surface) && grab != self->grabbed) {
        if (grab)
            gdk_toplevel_inhibit_system_shortcuts (GDK_TOPLEVEL (surface), NULL);
        else
            gdk_toplevel_restore_system_shortcuts (GDK_TOPLEVEL (surface));
    }
    self->grabbed = grab;
    g_signal_emit (self, signals[STATUS], 0);
}

static gboolean is_ctrl_or_alt (guint keysym)
{
    return keysym == GDK_KEY_Control_L || keysym == GDK_KEY_Control_R || keysym == GDK_KEY_Alt_L || keysym == GDK_KEY_Meta_L;
}

static gboolean on_key (GtkEventControllerKey *controller, guint keysym, guint code, GdkModifierType state, GhDisplay *self)
{
    guint16 evdev = code > EVDEV_OFFSET && code < 0x300 ? (guint16) (code - EVDEV_OFFSET) : 0;
    guint slot = KEYS_HELD;

    /* Ctrl and Alt together and nothing else: the way out. Decided when they are let go. */
    self->chord = is_ctrl_or_alt (keysym) && (state & (GDK_CONTROL_MASK | GDK_ALT_MASK));
    for (guint i = 0; i < KEYS_HELD; i++) {
        if (self->held[i] == evdev && evdev)
            slot = i;
        else if (!self->held[i] && slot == KEYS_HELD)
            slot = i;
    }
    if (slot < KEYS_HELD && evdev) {
        self->held[slot] = evdev;
        self->held_keysym[slot] = keysym;
    }
    gh_rfb_key (self->rfb, keysym, evdev, TRUE);
    return TRUE;
}

static void on_key_up (GtkEventControllerKey *controller, guint keysym, guint code, GdkModifierType state, GhDisplay *self)
{
    guint16 evdev = code > EVDEV_OFFSET && code < 0x300 ? (guint16) (code - EVDEV_OFFSET) : 0;

    for (guint i = 0; i < KEYS_HELD; i++)
        if (self->held[i] == evdev)
            self->held[i] = 0;
    gh_rfb_key (self->rfb, keysym, evdev, FALSE);
    if (self->chord && is_ctrl_or_alt (keysym)) {
        self->chord = FALSE;
        release_all (self);
        set_grab (self, FALSE);
        g_signal_emit (self, signals[RELEASED], 0);
    }
}

static void on_focus_in (GtkEventControllerFocus *controller, GhDisplay *self) { set_grab (self, TRUE); }

static void on_focus_out (GtkEventControllerFocus *controller, GhDisplay *self)
{
    release_all (self);
    set_grab (self, FALSE);
}

void gh_display_send_keys (GhDisplay *self, const guint *keysyms)
{
    guint n = 0;

    for (; keysyms[n]; n++)
        gh_rfb_key (self->rfb, keysyms[n], 0, TRUE);
    while (n-- > 0)
        gh_rfb_key (self->rfb, keysyms[n], 0, FALSE);
}

/* ---- Pointer ------------------------------------------------------------------------------------ */
static void send_pointer (GhDisplay *self, double x, double y, int buttons)
{
    graphene_rect_t r;
    double scale;

    if (!place (self, &r, &scale))
        return;
    int w = gdk_texture_get_width (self->texture), h = gdk_texture_get_height (self->texture);
    gh_rfb_pointer (self->rfb, CLAMP ((int) ((x - r.origin.x) / scale), 0, w - 1), CLAMP ((int) ((y - r.origin.y) / scale), 0, h - 1), buttons);
}

static void on_motion (GtkEventControllerMotion *m, double x, double y, GhDisplay *self) { send_pointer (self, x, y, self->buttons); }

static int button_bit (GtkGestureClick *g)
{
    guint b = gtk_gesture_single_get_current_button (GTK_GESTURE_SINGLE (g));

    return b >= 1 && b <= 3 ? 1 << (b - 1) : 0;
}

static void on_press (GtkGestureClick *g, int n, double x, double y, GhDisplay *self)
{
    gtk_widget_grab_focus (GTK_WIDGET (self));
    if (!self->grabbed)
        set_grab (self, TRUE);
    self->buttons |= button_bit (g);
    send_pointer (self, x, y, self->buttons);
}

static void on_release (GtkGestureClick *g, int n, double x, double y, GhDisplay *self)
{
    self->buttons &= ~button_bit (g);
    send_pointer (self, x, y, self->buttons);
}

static gboolean on_scroll (GtkEventControllerScroll *s, double dx, double dy, GhDisplay *self)
{
    GdkEvent *event = gtk_event_controller_get_current_event (GTK_EVENT_CONTROLLER (s));
    double x = 0, y = 0, wx = 0, wy = 0;
    GtkNative *native = gtk_widget_get_native (GTK_WIDGET (self));

    if (!event || !native || !gdk_event_get_position (event, &x, &y))
        return FALSE;
    gtk_native_get_surface_transform (native, &wx, &wy);
    gtk_widget_translate_coordinates (GTK_WIDGET (native), GTK_WIDGET (self), x - wx, y - wy, &x, &y);
    self->wheel += dy;
    for (int i = 0; i < 10 && ABS (self->wheel) >= 1; i++) {
        int bit = self->wheel < 0 ? 8 : 16;
        send_pointer (self, x, y, self->buttons | bit);
        send_pointer (self, x, y, self->buttons);
        self->wheel -= self->wheel < 0 ? -1 : 1;
    }
    return TRUE;
}

gboolean gh_display_save (GhDisplay *self, const char *path, GError **error)
{
    if (self->texture && gdk_texture_save_to_png (self->texture, path))
        return TRUE;
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, _ ("The picture could not be written to “%s”."), path);
    return FALSE;
}

static void gh_display_dispose (GObject *object)
{
    GhDisplay *self = GH_DISPLAY (object);

    g_clear_pointer (&self->socket, g_free);
    g_clear_handle_id (&self->retry, g_source_remove);
    g_clear_pointer (&self->rfb, gh_rfb_free);
    g_clear_object (&self->texture);
    G_OBJECT_CLASS (gh_display_parent_class)->dispose (object);
}

static void gh_display_class_init (GhDisplayClass *klass)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS (klass);

    G_OBJECT_CLASS (klass)->dispose = gh_display_dispose;
    widget->snapshot = gh_display_snapshot;
    widget->measure = gh_display_measure;
    gtk_widget_class_set_accessible_role (widget, GTK_ACCESSIBLE_ROLE_IMG);
    signals[STATUS] = g_signal_new ("status", GH_TYPE_DISPLAY, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[RELEASED] = g_signal_new ("released", GH_TYPE_DISPLAY, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void gh_display_init (GhDisplay *self)
{
    GtkEventController *key = gtk_event_controller_key_new (), *focus = gtk_event_controller_focus_new ();
    GtkEventController *motion = gtk_event_controller_motion_new ();
    GtkEventController *scroll = gtk_event_controller_scroll_new (GTK_EVENT_CONTROLLER_SCROLL_VERTICAL);
    GtkGesture *click = gtk_gesture_click_new ();

    gtk_widget_set_focusable (GTK_WIDGET (self), TRUE);
    gtk_widget_set_overflow (GTK_WIDGET (self), GTK_OVERFLOW_HIDDEN);
    gtk_accessible_update_property (GTK_ACCESSIBLE (self), GTK_ACCESSIBLE_PROPERTY_LABEL, _ ("Screen of the machine"), -1);
    gtk_gesture_single_set_button (GTK_GESTURE_SINGLE (click), 0);
    /* Before any shortcut of the window: what is typed here belongs to the guest. */
    gtk_event_controller_set_propagation_phase (key, GTK_PHASE_CAPTURE);
    g_signal_connect (key, "key-pressed", G_CALLBACK (on_key), self);
    g_signal_connect (key, "key-released", G_CALLBACK (on_key_up), self);
    g_signal_connect (focus, "enter", G_CALLBACK (on_focus_in), self);
    g_signal_connect (focus, "leave", G_CALLBACK (on_focus_out), self);
    g_signal_connect (motion, "motion", G_CALLBACK (on_motion), self);
    g_signal_connect (click, "pressed", G_CALLBACK (on_press), self);
    g_signal_connect (click, "released", G_CALLBACK (on_release), self);
    g_signal_connect (scroll, "scroll", G_CALLBACK (on_scroll), self);
    gtk_widget_add_controller (GTK_WIDGET (self), key);
    gtk_widget_add_controller (GTK_WIDGET (self), focus);
    gtk_widget_add_controller (GTK_WIDGET (self), motion);
    gtk_widget_add_controller (GTK_WIDGET (self), scroll);
    gtk_widget_add_controller (GTK_WIDGET (self), GTK_EVENT_CONTROLLER (click));
}

GtkWidget *gh_display_new (void) { return g_object_new (GH_TYPE_DISPLAY, NULL); }
