/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/display/gh-display.h"

#include <gdk/gdkkeysyms.h>
#include <glib/gi18n.h>
#include <math.h>

#include "engine/backend/display/keymap.h"
#include "gui/display/gh-rfb.h"
#include "gui/display/gh-screen.h"
#include "gui/display/gh-warp.h"

#define KEYS_HELD 32
#define EVDEV_OFFSET 8       /* GDK's hardware key codes are evdev's plus this, on X11 and on Wayland */
#define RETRY_MS 500
#define LONGEST_PAUSE_MS 250 /* a window that is not painted still reads, or the server would drop it */
#define DOT 5

struct _GhDisplay {
    GtkWidget parent_instance;
    struct gh_rfb *rfb;
    struct gh_screen *screen;
    char *socket;
    gboolean fill, inhibit, grabbed, chord;
    gboolean relative, caught, warped; /* the guest takes movements; its pointer is ours; the next event may still be from before */
    struct gh_lock *lock;                    /* how it is caught on Wayland */
    GdkCursor *shape, *dot, *nothing;
    double last_x, last_y, rest_x, rest_y;
    guint retry, pace;
    int buttons;
    double wheel;
    guint16 held[KEYS_HELD];
    guint held_keysym[KEYS_HELD];
};

G_DEFINE_FINAL_TYPE (GhDisplay, gh_display, GTK_TYPE_WIDGET)

enum { STATUS, RESIZED, N_SIGNALS };
static guint signals[N_SIGNALS];

static void open_socket (GhDisplay *self);

/* ---- The picture ------------------------------------------------------------------------------ */
static gboolean place (GhDisplay *self, struct gh_placement *ret)
{
    GtkWidget *widget = GTK_WIDGET (self);
    int width, height;

    gh_screen_get_size (self->screen, &width, &height);
    return gh_placement_make (ret, gtk_widget_get_width (widget), gtk_widget_get_height (widget), width, height,
                              gtk_widget_get_scale_factor (widget), self->fill);
}

static void proceed (GhDisplay *self)
{
    g_clear_handle_id (&self->pace, g_source_remove);
    gh_rfb_continue (self->rfb);
}

static void gh_display_snapshot (GtkWidget *widget, GtkSnapshot *snapshot)
{
    GhDisplay *self = GH_DISPLAY (widget);
    graphene_rect_t all = GRAPHENE_RECT_INIT (0, 0, (float) gtk_widget_get_width (widget), (float) gtk_widget_get_height (widget));
    struct gh_placement p;

    gtk_snapshot_append_color (snapshot, &(GdkRGBA){ 0, 0, 0, 1 }, &all);
    if (place (self, &p))
        gh_screen_draw (self->screen, snapshot, &p, gtk_widget_get_scale_factor (widget));
    proceed (self);
}

static void gh_display_measure (GtkWidget *widget, GtkOrientation orientation, int for_size, int *minimum, int *natural,
                                int *minimum_baseline, int *natural_baseline)
{
    int width, height;

    gh_screen_get_size (GH_DISPLAY (widget)->screen, &width, &height);
    if (!width) {
        width = 720;
        height = 400;
    }
    *minimum = 64;
    *natural = MAX (64, (orientation == GTK_ORIENTATION_HORIZONTAL ? width : height) / gtk_widget_get_scale_factor (widget));
    *minimum_baseline = *natural_baseline = -1;
}

/* ---- The cursor: the guest's shape; a dot where it draws its own, so that both are seen; nothing while movements are caught ---- */
static GdkCursor *cursor_of (const guint32 *pixels, int width, int height, int hot_x, int hot_y)
{
    g_autoptr (GBytes) bytes = g_bytes_new (pixels, (gsize) width * (gsize) height * 4);
    g_autoptr (GdkTexture) texture = gdk_memory_texture_new (width, height, GDK_MEMORY_B8G8R8A8_PREMULTIPLIED, bytes, (gsize) width * 4);
    g_autoptr (GdkCursor) fallback = gdk_cursor_new_from_name ("default", NULL);

    return gdk_cursor_new_from_texture (texture, CLAMP (hot_x, 0, width - 1), CLAMP (hot_y, 0, height - 1), fallback);
}

static GdkCursor *make_dot (void)
{
    guint32 pixels[DOT * DOT];

    for (int i = 0; i < DOT * DOT; i++) {
        int x = i % DOT, y = i / DOT;
        gboolean edge = x == 0 || y == 0 || x == DOT - 1 || y == DOT - 1;
        pixels[i] = GUINT32_TO_LE (edge ? 0xffffffffu : 0xff000000u);
    }
    return cursor_of (pixels, DOT, DOT, DOT / 2, DOT / 2);
}

static void choose_cursor (GhDisplay *self)
{
    if (!self->dot) {
        self->dot = make_dot ();
        self->nothing = gdk_cursor_new_from_name ("none", NULL);
    }
    gtk_widget_set_cursor (GTK_WIDGET (self), !gh_rfb_is_open (self->rfb) ? NULL : self->caught ? self->nothing
                                              : self->shape ? self->shape : self->dot);
}

/* ---- The pointer caught or let go ----------------------------------------------------------------- */
static void on_locked_movement (gpointer data, double dx, double dy);

static void set_caught (GhDisplay *self, gboolean caught)
{
    if (caught && !self->lock)
        self->lock = gh_lock_new (GTK_WIDGET (self), on_locked_movement, self);
    else if (!caught)
        g_clear_pointer (&self->lock, gh_lock_free);
    self->caught = caught && (self->lock || gh_warp_possible (GTK_WIDGET (self)));
    choose_cursor (self);
}

/* ---- Events of the connection ----------------------------------------------------------------- */
static void on_opened (gpointer data)
{
    choose_cursor (data);
    g_signal_emit (data, signals[STATUS], 0);
}

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
        self->retry = g_timeout_add (RETRY_MS, on_retry, self);
    set_caught (self, FALSE);
    g_signal_emit (self, signals[STATUS], 0);
}

static gboolean on_pace (gpointer data)
{
    GhDisplay *self = data;

    self->pace = 0;
    gh_rfb_continue (self->rfb);
    return G_SOURCE_REMOVE;
}

static void on_updated (gpointer data, const struct gh_screen_rect *rects, guint count)
{
    GhDisplay *self = data;
    int width, height, was_width, was_height;
    const guint8 *pixels = gh_rfb_pixels (self->rfb, &width, &height);

    gh_screen_get_size (self->screen, &was_width, &was_height);
    if (!pixels || !gh_screen_take (self->screen, pixels, width, height, rects, count) || !gtk_widget_get_mapped (data)) {
        gh_rfb_continue (self->rfb);
    } else {
        gtk_widget_queue_draw (data);
        if (!self->pace)
            self->pace = g_timeout_add (LONGEST_PAUSE_MS, on_pace, self);
    }
    if (pixels && (width != was_width || height != was_height)) {
        gtk_widget_queue_resize (data);
        g_signal_emit (self, signals[RESIZED], 0);
    }
}

static void on_cursor (gpointer data, GBytes *pixels, int width, int height, int hot_x, int hot_y)
{
    GhDisplay *self = data;
    g_autoptr (GBytes) bytes = pixels;

    g_clear_object (&self->shape);
    self->shape = cursor_of (g_bytes_get_data (bytes, NULL), width, height, hot_x, hot_y);
    choose_cursor (self);
}

static void on_pointer_kind (gpointer data, gboolean relative)
{
    GhDisplay *self = data;

    self->relative = relative;
    set_caught (self, self->caught && relative);
}

static void open_socket (GhDisplay *self)
{
    static const struct gh_rfb_events events = { on_opened, on_closed, on_updated, on_cursor, on_pointer_kind };

    g_clear_handle_id (&self->pace, g_source_remove);
    g_clear_pointer (&self->rfb, gh_rfb_free);
    self->relative = FALSE;
    set_caught (self, FALSE);
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
GdkTexture *gh_display_picture (GhDisplay *self) { return gh_screen_picture (self->screen); }

void gh_display_get_guest_size (GhDisplay *self, int *ret_width, int *ret_height)
{ gh_screen_get_size (self->screen, ret_width, ret_height); }

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
        if (!grab)
            gdk_toplevel_restore_system_shortcuts (GDK_TOPLEVEL (surface));
        else if (self->inhibit)
            gdk_toplevel_inhibit_system_shortcuts (GDK_TOPLEVEL (surface), NULL);
    }
    self->grabbed = grab;
    set_caught (self, self->caught && grab);
    g_signal_emit (self, signals[STATUS], 0);
}

void gh_display_set_inhibit (GhDisplay *self, gboolean inhibit) { self->inhibit = inhibit; }

static gboolean is_ctrl_or_alt (guint keysym)
{
    return keysym == GDK_KEY_Control_L || keysym == GDK_KEY_Control_R || keysym == GDK_KEY_Alt_L || keysym == GDK_KEY_Meta_L;
}

static guint16 evdev_of (guint code) { return code > EVDEV_OFFSET && code < 0x300 ? (guint16) (code - EVDEV_OFFSET) : 0; }

static gboolean on_key (GtkEventControllerKey *controller, guint keysym, guint code, GdkModifierType state, GhDisplay *self)
{
    guint16 evdev = evdev_of (code);
    guint slot = KEYS_HELD;

    /* Ctrl and Alt together and nothing else: the way out. Decided when they are let go. */
    self->chord = is_ctrl_or_alt (keysym) && (state & (GDK_CONTROL_MASK | GDK_ALT_MASK));
    for (guint i = 0; i < KEYS_HELD; i++) {
        if (self->held[i] == evdev && evdev) {
            slot = i;
            break;
        }
        if (!self->held[i] && slot == KEYS_HELD)
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
    guint16 evdev = evdev_of (code);

    for (guint i = 0; i < KEYS_HELD; i++)
        if (self->held[i] == evdev)
            self->held[i] = 0;
    gh_rfb_key (self->rfb, keysym, evdev, FALSE);
    if (self->chord && is_ctrl_or_alt (keysym)) {
        self->chord = FALSE;
        release_all (self);
        set_grab (self, FALSE);
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
    enum gh_keysym_shift shift;
    guint n = 0;

    for (; keysyms[n]; n++)
        gh_rfb_key (self->rfb, keysyms[n], gh_evdev_from_keysym (keysyms[n], &shift), TRUE);
    while (n-- > 0)
        gh_rfb_key (self->rfb, keysyms[n], gh_evdev_from_keysym (keysyms[n], &shift), FALSE);
}

/* ---- Pointer ------------------------------------------------------------------------------------ */
static void send_position (GhDisplay *self, double x, double y, int buttons)
{
    struct gh_placement p;
    int guest_x, guest_y;

    if (!place (self, &p))
        return;
    gh_placement_to_guest (&p, x, y, &guest_x, &guest_y);
    gh_rfb_pointer (self->rfb, guest_x, guest_y, buttons);
}

/* In whole pixels of the guest; what is left over waits for the next. */
static void send_steps (GhDisplay *self, double dx, double dy)
{
    struct gh_placement p;

    if (!place (self, &p))
        return;
    self->rest_x += dx / p.scale;
    self->rest_y += dy / p.scale;
    int whole_x = (int) self->rest_x, whole_y = (int) self->rest_y;
    self->rest_x -= whole_x;
    self->rest_y -= whole_y;
    if (whole_x || whole_y)
        gh_rfb_pointer (self->rfb, whole_x, whole_y, self->buttons);
}

static void on_locked_movement (gpointer data, double dx, double dy)
{
    GhDisplay *self = data;

    if (self->caught && self->relative)
        send_steps (self, dx, dy);
}

/* Movements: what the hand did, not where it ended; before the edge stops it the pointer goes back to the middle. */
static void send_movement (GhDisplay *self, double x, double y)
{
    double width = gtk_widget_get_width (GTK_WIDGET (self)), height = gtk_widget_get_height (GTK_WIDGET (self));
    double dx = x - self->last_x, dy = y - self->last_y;

    if (self->warped && (fabs (x - floor (width / 2)) > width / 8 || fabs (y - floor (height / 2)) > height / 8))
        return; /* on its way before the jump */
    self->warped = FALSE;
    self->last_x = x;
    self->last_y = y;
    send_steps (self, dx, dy);
    if (fabs (x - width / 2) > width / 4 || fabs (y - height / 2) > height / 4) {
        self->last_x = floor (width / 2);
        self->last_y = floor (height / 2);
        self->warped = TRUE;
        gh_warp (GTK_WIDGET (self), self->last_x, self->last_y);
    }
}

static void send_buttons (GhDisplay *self, double x, double y, int buttons)
{
    if (self->relative)
        gh_rfb_pointer (self->rfb, 0, 0, buttons);
    else
        send_position (self, x, y, buttons);
}

static void on_motion (GtkEventControllerMotion *m, double x, double y, GhDisplay *self)
{
    if (!self->relative) {
        send_position (self, x, y, self->buttons);
    } else if (self->lock) {
        return; /* movements come by themselves */
    } else if (self->caught) {
        send_movement (self, x, y);
    } else if (self->grabbed && !gh_warp_possible (GTK_WIDGET (self)) && !gh_lock_possible (GTK_WIDGET (self))) { /* without a way to hold the pointer: as far as it goes */
        gh_rfb_pointer (self->rfb, (int) (x - self->last_x), (int) (y - self->last_y), self->buttons);
        self->last_x = x;
        self->last_y = y;
    } else {
        self->last_x = x;
        self->last_y = y;
    }
}

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
    if (self->relative && !self->caught) {
        set_caught (self, TRUE);
        self->warped = FALSE;
        self->last_x = x;
        self->last_y = y;
        self->rest_x = self->rest_y = 0;
        g_signal_emit (self, signals[STATUS], 0);
        if (self->caught)
            return; /* the click that catches it is not the guest's */
    }
    self->buttons |= button_bit (g);
    send_buttons (self, x, y, self->buttons);
}

static void on_release (GtkGestureClick *g, int n, double x, double y, GhDisplay *self)
{
    self->buttons &= ~button_bit (g);
    send_buttons (self, x, y, self->buttons);
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
        send_buttons (self, x, y, self->buttons | bit);
        send_buttons (self, x, y, self->buttons);
        self->wheel -= self->wheel < 0 ? -1 : 1;
    }
    return TRUE;
}

static void gh_display_dispose (GObject *object)
{
    GhDisplay *self = GH_DISPLAY (object);

    g_clear_pointer (&self->lock, gh_lock_free);
    g_clear_pointer (&self->socket, g_free);
    g_clear_handle_id (&self->retry, g_source_remove);
    g_clear_handle_id (&self->pace, g_source_remove);
    g_clear_pointer (&self->rfb, gh_rfb_free);
    g_clear_object (&self->shape);
    g_clear_object (&self->dot);
    g_clear_object (&self->nothing);
    G_OBJECT_CLASS (gh_display_parent_class)->dispose (object);
}

static void gh_display_finalize (GObject *object)
{
    gh_screen_free (GH_DISPLAY (object)->screen);
    G_OBJECT_CLASS (gh_display_parent_class)->finalize (object);
}

static void gh_display_class_init (GhDisplayClass *klass)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS (klass);

    G_OBJECT_CLASS (klass)->dispose = gh_display_dispose;
    G_OBJECT_CLASS (klass)->finalize = gh_display_finalize;
    widget->snapshot = gh_display_snapshot;
    widget->measure = gh_display_measure;
    gtk_widget_class_set_accessible_role (widget, GTK_ACCESSIBLE_ROLE_IMG);
    signals[STATUS] = g_signal_new ("status", GH_TYPE_DISPLAY, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[RESIZED] = g_signal_new ("resized", GH_TYPE_DISPLAY, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void gh_display_init (GhDisplay *self)
{
    GtkEventController *key = gtk_event_controller_key_new (), *focus = gtk_event_controller_focus_new ();
    GtkEventController *motion = gtk_event_controller_motion_new ();
    GtkEventController *scroll = gtk_event_controller_scroll_new (GTK_EVENT_CONTROLLER_SCROLL_VERTICAL);
    GtkGesture *click = gtk_gesture_click_new ();

    self->screen = gh_screen_new ();
    self->inhibit = TRUE;
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
