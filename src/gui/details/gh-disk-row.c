/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-disk-row.h"

#include <glib/gi18n.h>
#include <math.h>

#include "gui/gh-util.h"

/* A number is saved when the hand rests. */
#define SAVE_AFTER_MS 700
#define MIB (1 << 20)

struct _GhDiskRow {
    AdwExpanderRow parent_instance;
    GhMachine *machine;
    char *id, *name;
    GtkWidget *file, *mode, *bus, *cache, *trim, *rate, *ops, *problem, *on, *remove;
    guint rate_timer, ops_timer;
    GVariant *drive;               /* as last told */
    gboolean filling;
};

G_DEFINE_FINAL_TYPE (GhDiskRow, gh_disk_row, ADW_TYPE_EXPANDER_ROW)

struct choice { const char *value, *word, *meaning; };
static const struct choice modes[] = {
    { "normal", N_ ("Normal"), N_ ("What the guest writes is kept") },
    { "read-only", N_ ("Read-Only"), N_ ("The guest cannot write") },
    { "immutable", N_ ("Immutable"), N_ ("What the guest writes is dropped when it is switched off") },
    { "write-through", N_ ("Write-Through"), N_ ("What the guest writes is kept, and is no part of snapshots") },
    { "shared", N_ ("Shared"), N_ ("Several machines can have it; each only reads it") },
};
static const struct choice buses[] = {
    { "ide", N_ ("IDE"), N_ ("Every system knows it; at most four drives") },
    { "ahci", N_ ("AHCI (SATA)"), N_ ("Nearly every system knows it") },
    { "nvme", N_ ("NVMe"), N_ ("Fast; systems since about 2014 know it") },
    { "virtio", N_ ("virtio"), N_ ("Fastest; the system needs its driver") },
};
static const struct choice caches[] = {
    { "writeback", N_ ("Write-Back"), N_ ("Writes are durable when the guest flushes them") },
    { "writethrough", N_ ("Write-Through"), N_ ("Every write is durable before the guest hears of it") },
    { "unsafe", N_ ("Unsafe"), N_ ("Flushes do nothing: after a power failure the disk may be lost") },
};

/* ---- Changes ---------------------------------------------------------------------------------------------- */
static void complain (GhDiskRow *self, const char *text)
{
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (self->problem), text ? text : "");
    gtk_widget_set_visible (self->problem, text != NULL);
}

static void on_changed (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhDiskRow) self = data;
    g_autoptr (GError) error = NULL;
    gboolean good = gh_engine1_machine_call_change_disk_finish (GH_ENGINE1_MACHINE (source), result, &error);
    g_autofree char *message = good ? NULL : gh_error_message (error);

    if (!self->machine)
        return;                    /* the row is gone */
    complain (self, message);
    if (!good)
        gh_disk_row_show (self, self->drive); /* choices go back */
}

static void change (GhDiskRow *self, const char *key, GVariant *value)
{
    GVariantBuilder settings;

    if (self->filling) {
        g_variant_unref (g_variant_ref_sink (value));
        return;
    }
    g_variant_builder_init (&settings, G_VARIANT_TYPE_VARDICT);
    g_variant_builder_add (&settings, "{sv}", key, value);
    gh_engine1_machine_call_change_disk (gh_machine_get_proxy (self->machine), self->id, g_variant_builder_end (&settings), NULL, on_changed,
                                         g_object_ref (self));
}

static void choose (GhDiskRow *self, GtkWidget *row, const char *key, const struct choice *choices, guint count)
{
    guint i = adw_combo_row_get_selected (ADW_COMBO_ROW (row));

    if (i >= count)
        return;
    adw_action_row_set_subtitle (ADW_ACTION_ROW (row), _ (choices[i].meaning));
    change (self, key, g_variant_new_string (choices[i].value));
}

static void on_mode (GhDiskRow *self) { choose (self, self->mode, "mode", modes, G_N_ELEMENTS (modes)); }
static void on_bus (GhDiskRow *self) { choose (self, self->bus, "bus", buses, G_N_ELEMENTS (buses)); }
static void on_cache (GhDiskRow *self) { choose (self, self->cache, "cache", caches, G_N_ELEMENTS (caches)); }
static void on_trim (GhDiskRow *self) { change (self, "discard", g_variant_new_boolean (gtk_switch_get_active (GTK_SWITCH (self->trim)))); }

static gboolean on_rate_rest (gpointer data)
{
    GhDiskRow *self = data;

    self->rate_timer = 0;
    change (self, "limit-bytes", g_variant_new_uint64 ((guint64) llround (gtk_spin_button_get_value (GTK_SPIN_BUTTON (self->rate)) * MIB)));
    return G_SOURCE_REMOVE;
}

static gboolean on_ops_rest (gpointer data)
{
    GhDiskRow *self = data;

    self->ops_timer = 0;
    change (self, "limit-ops", g_variant_new_uint32 ((guint32) gtk_spin_button_get_value (GTK_SPIN_BUTTON (self->ops))));
    return G_SOURCE_REMOVE;
}

static void on_rate (GhDiskRow *self)
{
    if (self->filling)
        return;
    g_clear_handle_id (&self->rate_timer, g_source_remove);
    self->rate_timer = g_timeout_add (SAVE_AFTER_MS, on_rate_rest, self);
}

static void on_ops (GhDiskRow *self)
{
    if (self->filling)
        return;
    g_clear_handle_id (&self->ops_timer, g_source_remove);
    self->ops_timer = g_timeout_add (SAVE_AFTER_MS, on_ops_rest, self);
}

/* ---- Taking it out ------------------------------------------------------------------------------------------ */
static void on_removed (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GtkWidget) self = data;
    g_autoptr (GError) error = NULL;

    if (!gh_engine1_machine_call_remove_disk_finish (GH_ENGINE1_MACHINE (source), result, &error))
        gh_toast_error (self, error);
}

static void on_answer (GhDiskRow *self, const char *response)
{
    if (self->machine && g_str_equal (response, "remove"))
        gh_engine1_machine_call_remove_disk (gh_machine_get_proxy (self->machine), self->id, NULL, on_removed, g_object_ref (self));
}

static void on_remove (GhDiskRow *self)
{
    g_autofree char *heading = g_strdup_printf (_ ("Take “%s” out of the Machine?"), self->name);
    GtkWidget *dialog = adw_message_dialog_new (GTK_WINDOW (gtk_widget_get_root (GTK_WIDGET (self))), heading,
                                                _ ("The file stays on this computer. It can be put into a machine again."));

    adw_message_dialog_add_responses (ADW_MESSAGE_DIALOG (dialog), "cancel", _ ("_Cancel"), "remove", _ ("_Take Out"), NULL);
    adw_message_dialog_set_response_appearance (ADW_MESSAGE_DIALOG (dialog), "remove", ADW_RESPONSE_DESTRUCTIVE);
    adw_message_dialog_set_close_response (ADW_MESSAGE_DIALOG (dialog), "cancel");
    g_signal_connect_object (dialog, "response", G_CALLBACK (on_answer), self, G_CONNECT_SWAPPED);
    gtk_window_present (GTK_WINDOW (dialog));
}

/* ---- What the machine says ------------------------------------------------------------------------------------ */
static void show_choice (GtkWidget *row, const struct choice *choices, guint count, const char *value)
{
    for (guint i = 0; i < count; i++)
        if (g_str_equal (choices[i].value, value)) {
            adw_combo_row_set_selected (ADW_COMBO_ROW (row), i);
            adw_action_row_set_subtitle (ADW_ACTION_ROW (row), _ (choices[i].meaning));
        }
}

static const char *word_of (const struct choice *choices, guint count, const char *value)
{
    for (guint i = 0; i < count; i++)
        if (g_str_equal (choices[i].value, value))
            return _ (choices[i].word);
    return value;
}

/* Digits that are not a value yet. */
static gboolean is_typed (GtkWidget *spin)
{
    return fabs (g_strtod (gtk_editable_get_text (GTK_EDITABLE (spin)), NULL) - gtk_spin_button_get_value (GTK_SPIN_BUTTON (spin))) > 0.06;
}

static void say (GhDiskRow *self, gboolean present, guint64 host_bytes, const char *bus, const char *mode)
{
    g_autofree char *size = gh_format_size (host_bytes);
    g_autofree char *text = !present ? g_strdup_printf (_ ("%s is missing"), self->name)
                                     : g_strdup_printf (_ ("%s on %s, %s on this computer"), self->name, word_of (buses, G_N_ELEMENTS (buses), bus), size);
    g_autofree char *whole = g_str_equal (mode, "normal") ? g_strdup (text) : g_strjoin (" · ", text, word_of (modes, G_N_ELEMENTS (modes), mode), NULL);

    adw_expander_row_set_subtitle (ADW_EXPANDER_ROW (self), whole);
    adw_expander_row_set_icon_name (ADW_EXPANDER_ROW (self), present ? "drive-harddisk-symbolic" : "dialog-warning-symbolic");
}

void gh_disk_row_show (GhDiskRow *self, GVariant *drive)
{
    const char *id = "", *bus = "", *file = "", *mode = "normal", *cache = "writeback";
    gboolean present = TRUE, discard = TRUE, on = gh_machine_is_on (self->machine);
    guint64 host_bytes = 0, limit_bytes = 0;
    guint32 limit_ops = 0;

    g_variant_ref (drive); /* it may be the one that is let go */
    g_clear_pointer (&self->drive, g_variant_unref);
    self->drive = drive;
    g_variant_lookup (drive, "id", "&s", &id);
    g_variant_lookup (drive, "bus", "&s", &bus);
    g_variant_lookup (drive, "file", "&s", &file);
    g_variant_lookup (drive, "mode", "&s", &mode);
    g_variant_lookup (drive, "cache", "&s", &cache);
    g_variant_lookup (drive, "present", "b", &present);
    g_variant_lookup (drive, "discard", "b", &discard);
    g_variant_lookup (drive, "host-bytes", "t", &host_bytes);
    g_variant_lookup (drive, "limit-bytes", "t", &limit_bytes);
    g_variant_lookup (drive, "limit-ops", "u", &limit_ops);
    g_free (self->id);
    g_free (self->name);
    self->id = g_strdup (id);
    self->name = g_path_get_basename (file);
    self->filling = TRUE;
    say (self, present, host_bytes, bus, mode);
    g_autofree char *place = gh_format_path (file);
    adw_action_row_set_subtitle (ADW_ACTION_ROW (self->file), place);
    show_choice (self->mode, modes, G_N_ELEMENTS (modes), mode);
    show_choice (self->bus, buses, G_N_ELEMENTS (buses), bus);
    show_choice (self->cache, caches, G_N_ELEMENTS (caches), cache);
    gtk_switch_set_active (GTK_SWITCH (self->trim), discard);
    if (!self->rate_timer && !is_typed (self->rate))
        gtk_spin_button_set_value (GTK_SPIN_BUTTON (self->rate), (double) limit_bytes / MIB);
    if (!self->ops_timer && !is_typed (self->ops))
        gtk_spin_button_set_value (GTK_SPIN_BUTTON (self->ops), limit_ops);
    GtkWidget *const needs_off[] = { self->mode, self->bus, self->cache, self->trim, self->rate, self->ops, self->remove };
    for (guint i = 0; i < G_N_ELEMENTS (needs_off); i++)
        gtk_widget_set_sensitive (needs_off[i], !on);
    gtk_widget_set_visible (self->on, on);
    self->filling = FALSE;
}

/* ---- Life --------------------------------------------------------------------------------------------------------- */
static GtkWidget *add_row (GhDiskRow *self, GtkWidget *row, const char *title, const char *subtitle)
{
    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (row), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    adw_action_row_set_subtitle_lines (ADW_ACTION_ROW (row), 0);
    if (subtitle)
        adw_action_row_set_subtitle (ADW_ACTION_ROW (row), subtitle);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), row);
    return row;
}

static GtkWidget *add_choice (GhDiskRow *self, const char *title, const struct choice *choices, guint count, GCallback handler)
{
    GtkWidget *row = add_row (self, adw_combo_row_new (), title, NULL);
    g_autoptr (GtkStringList) words = gtk_string_list_new (NULL);

    for (guint i = 0; i < count; i++)
        gtk_string_list_append (words, _ (choices[i].word));
    adw_combo_row_set_model (ADW_COMBO_ROW (row), G_LIST_MODEL (words));
    g_signal_connect_swapped (row, "notify::selected", handler, self);
    return row;
}

static GtkWidget *add_control (GhDiskRow *self, const char *title, const char *subtitle, GtkWidget *control)
{
    GtkWidget *row = add_row (self, adw_action_row_new (), title, subtitle);

    gtk_widget_set_valign (control, GTK_ALIGN_CENTER);
    gh_set_label (control, title);
    adw_action_row_add_suffix (ADW_ACTION_ROW (row), control);
    adw_action_row_set_activatable_widget (ADW_ACTION_ROW (row), control);
    return control;
}

static GtkWidget *make_number (double upper, double step, guint digits)
{
    GtkWidget *spin = gtk_spin_button_new_with_range (0, upper, step);

    gtk_spin_button_set_numeric (GTK_SPIN_BUTTON (spin), TRUE);
    gtk_spin_button_set_digits (GTK_SPIN_BUTTON (spin), digits);
    gtk_editable_set_width_chars (GTK_EDITABLE (spin), 8);
    return spin;
}

static GtkWidget *icon_button (const char *icon, const char *label)
{
    GtkWidget *button = gtk_button_new_from_icon_name (icon);

    gtk_widget_set_valign (button, GTK_ALIGN_CENTER);
    gtk_widget_add_css_class (button, "flat");
    gtk_widget_set_tooltip_text (button, label);
    gh_set_label (button, label);
    return button;
}

static void add_file (GhDiskRow *self)
{
    GtkWidget *manage = icon_button ("go-next-symbolic", _ ("Grow, Compact, Convert, Move…"));

    self->file = add_row (self, adw_action_row_new (), _ ("File"), NULL);
    gtk_actionable_set_action_name (GTK_ACTIONABLE (manage), "app.media");
    adw_action_row_add_suffix (ADW_ACTION_ROW (self->file), manage);
    adw_action_row_set_activatable_widget (ADW_ACTION_ROW (self->file), manage);
}

static void gh_disk_row_dispose (GObject *object)
{
    GhDiskRow *self = GH_DISK_ROW (object);

    g_clear_handle_id (&self->rate_timer, g_source_remove);
    g_clear_handle_id (&self->ops_timer, g_source_remove);
    g_clear_object (&self->machine);
    g_clear_pointer (&self->drive, g_variant_unref);
    g_clear_pointer (&self->id, g_free);
    g_clear_pointer (&self->name, g_free);
    G_OBJECT_CLASS (gh_disk_row_parent_class)->dispose (object);
}

static void gh_disk_row_class_init (GhDiskRowClass *klass) { G_OBJECT_CLASS (klass)->dispose = gh_disk_row_dispose; }

static void gh_disk_row_init (GhDiskRow *self)
{
    self->filling = TRUE;
    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (self), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (self), _ ("Disk"));
    self->remove = icon_button ("list-remove-symbolic", _ ("Take the Disk Out"));
    g_signal_connect_swapped (self->remove, "clicked", G_CALLBACK (on_remove), self);
    adw_expander_row_add_action (ADW_EXPANDER_ROW (self), self->remove);
    self->on = add_row (self, adw_action_row_new (), _ ("The machine is on. These settings can be changed when it is off."), NULL);
    adw_action_row_set_title_lines (ADW_ACTION_ROW (self->on), 0);
    gtk_widget_add_css_class (self->on, "dim-label");
    add_file (self);
    self->mode = add_choice (self, _ ("Mode"), modes, G_N_ELEMENTS (modes), G_CALLBACK (on_mode));
    self->problem = add_row (self, adw_action_row_new (), "", NULL);
    adw_action_row_set_icon_name (ADW_ACTION_ROW (self->problem), "dialog-warning-symbolic");
    adw_action_row_set_title_lines (ADW_ACTION_ROW (self->problem), 0);
    gtk_widget_add_css_class (self->problem, "error");
    gtk_widget_set_visible (self->problem, FALSE);
    self->bus = add_choice (self, _ ("Attached To"), buses, G_N_ELEMENTS (buses), G_CALLBACK (on_bus));
    self->cache = add_choice (self, _ ("Cache"), caches, G_N_ELEMENTS (caches), G_CALLBACK (on_cache));
    self->trim = add_control (self, _ ("Give Unused Space Back"), _ ("What the guest trims returns to this computer at once (TRIM)"), gtk_switch_new ());
    self->rate = add_control (self, _ ("Speed Limit in MiB/s"), _ ("0 is no limit"), make_number (65536, 10, 1));
    self->ops = add_control (self, _ ("Requests per Second"), _ ("0 is no limit"), make_number (10000000, 100, 0));
    g_signal_connect_swapped (self->trim, "notify::active", G_CALLBACK (on_trim), self);
    g_signal_connect_swapped (self->rate, "value-changed", G_CALLBACK (on_rate), self);
    g_signal_connect_swapped (self->ops, "value-changed", G_CALLBACK (on_ops), self);
    self->filling = FALSE;
}

GtkWidget *gh_disk_row_new (GhMachine *machine)
{
    GhDiskRow *self = g_object_new (GH_TYPE_DISK_ROW, NULL);

    self->machine = g_object_ref (machine);
    return GTK_WIDGET (self);
}
