/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-adapter-row.h"

#include <glib/gi18n.h>

#include "gui/details/gh-capture-row.h"
#include "gui/details/gh-forward-form.h"
#include "gui/details/gh-nat-row.h"
#include "gui/details/gh-ssh-row.h"
#include "gui/gh-util.h"

/* A number is saved when the hand rests. */
#define SAVE_AFTER_MS 700

struct _GhAdapterRow {
    AdwExpanderRow parent_instance;
    GhMachine *machine;
    char *id;
    GtkWidget *model, *mode, *network, *socket, *mac, *problem, *cable_row, *cable, *limit, *ssh, *capture, *details;
    guint limit_timer;
    GtkWidget *add, *remove;
    GhForwardForm *form;
    gboolean form_shown;
    GhForward edited;              /* host_port 0: the form makes a new one */
    GhForward replaced;            /* taken away for the one that is being added; host_port 0: none */
    GPtrArray *forward_rows;
    GVariant *card, *all;          /* as last told */
    GVariant *forwards, *all_forwards;
    gboolean nat;                  /* as placed */
    gboolean filling;
};

G_DEFINE_FINAL_TYPE (GhAdapterRow, gh_adapter_row, ADW_TYPE_EXPANDER_ROW)

static const char *const models[] = { "virtio-net", "e1000" }, *const modes[] = { "nat", "internal", "none", "passt", "stream" };

static guint index_of (const char *const *names, guint count, const char *name)
{
    for (guint i = 0; i < count; i++)
        if (g_str_equal (names[i], name))
            return i;
    return 0;
}

static GhEngine1Machine *proxy (GhAdapterRow *self) { return gh_machine_get_proxy (self->machine); }

/* ---- Changes ---------------------------------------------------------------------------------------------- */

static void complain (GhAdapterRow *self, const char *text)
{
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (self->problem), text ? text : "");
    gtk_widget_set_visible (self->problem, text != NULL);
}

static void mark (GtkWidget *row, gboolean wrong)
{
    if (wrong)
        gtk_widget_add_css_class (row, "error");
    else
        gtk_widget_remove_css_class (row, "error");
}

struct changing { GhAdapterRow *self; GtkWidget *row; /* to mark, may be NULL */ };

static void on_changed (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autofree struct changing *c = data;
    g_autoptr (GhAdapterRow) self = c->self;
    g_autoptr (GError) error = NULL;
    gboolean good = gh_engine1_machine_call_change_adapter_finish (GH_ENGINE1_MACHINE (source), result, &error);
    g_autofree char *message = good ? NULL : gh_error_message (error);

    if (!self->machine)
        return;                    /* the row is gone */
    mark (self->mac, !good && c->row == self->mac);
    mark (self->network, !good && c->row == self->network);
    mark (self->socket, !good && c->row == self->socket);
    complain (self, message);
    if (!good && !c->row)
        gh_adapter_row_show (self, self->card, self->all); /* choices and switches go back */
}

/* A socket has no default: choosing it only shows where its path goes. */
static gboolean waits_for_path (GhAdapterRow *self, const char *key, GVariant *value)
{
    return g_str_equal (key, "mode") && g_str_equal (g_variant_get_string (value, NULL), "stream") && !gtk_editable_get_text (GTK_EDITABLE (self->socket))[0];
}

static void change (GhAdapterRow *self, const char *key, GVariant *value)
{
    GVariantBuilder settings;

    if (self->filling)
        return;
    if (waits_for_path (self, key, value)) {
        gtk_widget_set_visible (self->socket, TRUE);
        gtk_widget_grab_focus (self->socket);
        g_variant_unref (g_variant_ref_sink (value));
        return;
    }
    g_variant_builder_init (&settings, G_VARIANT_TYPE_VARDICT);
    g_variant_builder_add (&settings, "{sv}", key, value);
    if (g_str_equal (key, "mode") && g_str_equal (g_variant_get_string (value, NULL), "internal") && !gtk_editable_get_text (GTK_EDITABLE (self->network))[0])
        g_variant_builder_add (&settings, "{sv}", "network", g_variant_new_string ("internal"));
    if (g_str_equal (key, "socket"))
        g_variant_builder_add (&settings, "{sv}", "mode", g_variant_new_string ("stream"));
    struct changing *c = g_new0 (struct changing, 1);
    *c = (struct changing){ g_object_ref (self), g_str_equal (key, "mac") ? self->mac : g_str_equal (key, "network") ? self->network
                            : g_str_equal (key, "socket") ? self->socket : NULL };
    gh_engine1_machine_call_change_adapter (proxy (self), self->id, g_variant_builder_end (&settings), NULL, on_changed, c);
}

static void on_model (GhAdapterRow *self)
{
    guint i = adw_combo_row_get_selected (ADW_COMBO_ROW (self->model));

    if (i < G_N_ELEMENTS (models))
        change (self, "adapter", g_variant_new_string (models[i]));
}

static void on_mode (GhAdapterRow *self)
{
    guint i = adw_combo_row_get_selected (ADW_COMBO_ROW (self->mode));

    if (i < G_N_ELEMENTS (modes))
        change (self, "mode", g_variant_new_string (modes[i]));
}

static void on_network (GhAdapterRow *self) { change (self, "network", g_variant_new_string (gtk_editable_get_text (GTK_EDITABLE (self->network)))); }
static void on_socket (GhAdapterRow *self) { change (self, "socket", g_variant_new_string (gtk_editable_get_text (GTK_EDITABLE (self->socket)))); }
static void on_details (GhAdapterRow *self, const char *key, GVariant *value) { change (self, key, value); }
static void on_mac (GhAdapterRow *self) { change (self, "mac", g_variant_new_string (gtk_editable_get_text (GTK_EDITABLE (self->mac)))); }
static void on_cable (GhAdapterRow *self) { change (self, "connected", g_variant_new_boolean (gtk_switch_get_active (GTK_SWITCH (self->cable)))); }

static gboolean on_limit_rest (gpointer data)
{
    GhAdapterRow *self = data;

    self->limit_timer = 0;
    change (self, "limit-kbits", g_variant_new_uint32 ((guint32) gtk_spin_button_get_value_as_int (GTK_SPIN_BUTTON (self->limit))));
    return G_SOURCE_REMOVE;
}

static void on_limit (GhAdapterRow *self)
{
    if (self->filling)
        return;
    g_clear_handle_id (&self->limit_timer, g_source_remove);
    self->limit_timer = g_timeout_add (SAVE_AFTER_MS, on_limit_rest, self);
}

static void on_removed (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GtkWidget) self = data;
    g_autoptr (GError) error = NULL;

    if (!gh_engine1_machine_call_remove_adapter_finish (GH_ENGINE1_MACHINE (source), result, &error))
        gh_toast_error (self, error);
}

static void on_remove (GhAdapterRow *self) { gh_engine1_machine_call_remove_adapter (proxy (self), self->id, NULL, on_removed, g_object_ref (self)); }

/* ---- Forwards ------------------------------------------------------------------------------------------------ */

static void show_form (GhAdapterRow *self, gboolean shown);

static void close_form (GhAdapterRow *self)
{
    if (!self->machine)
        return;                    /* the row is gone */
    show_form (self, FALSE);
}

static void add (GhAdapterRow *self, const GhForward *f, GAsyncReadyCallback done)
{
    gh_engine1_machine_call_add_forward (proxy (self), self->id, f->protocol, f->address, f->host_port, f->guest_port, NULL, done, g_object_ref (self));
}

static void on_restored (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhAdapterRow) self = data;
    g_autoptr (GError) error = NULL;

    if (gh_engine1_machine_call_add_forward_finish (GH_ENGINE1_MACHINE (source), result, &error))
        return;
    gh_toast_error (GTK_WIDGET (self), error);
    self->edited.host_port = 0;    /* nothing is left to be replaced */
}

static void on_added (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhAdapterRow) self = data;
    g_autoptr (GError) error = NULL;
    const GhForward old = self->replaced;

    gboolean added = gh_engine1_machine_call_add_forward_finish (GH_ENGINE1_MACHINE (source), result, &error);
    self->replaced.host_port = 0;
    if (added) {
        close_form (self);
        return;
    }
    g_autofree char *message = gh_error_message (error);
    if (!self->machine)
        return;                    /* the row is gone */
    gh_forward_form_refuse (self->form, message);
    if (old.host_port) {           /* what was edited stays as it was */
        self->edited = old;
        add (self, &old, on_restored);
    }
}

static void add_typed (GhAdapterRow *self)
{
    GhForward f;

    gh_forward_form_get (self->form, &f);
    add (self, &f, on_added);
}

static void on_old_gone (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhAdapterRow) self = data;
    g_autoptr (GError) error = NULL;

    gboolean gone = gh_engine1_machine_call_remove_forward_finish (GH_ENGINE1_MACHINE (source), result, &error);
    if (!self->machine)
        return;                    /* the row is gone */
    if (gone) {
        self->replaced = self->edited;
        self->edited.host_port = 0;
        add_typed (self);
        return;
    }
    g_autofree char *message = gh_error_message (error);
    gh_forward_form_refuse (self->form, message);
}

static void on_forward_gone (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GtkWidget) self = data;
    g_autoptr (GError) error = NULL;

    if (!gh_engine1_machine_call_remove_forward_finish (GH_ENGINE1_MACHINE (source), result, &error))
        gh_toast_error (self, error);
}

static void remove_forward (GhAdapterRow *self, const GhForward *f, GAsyncReadyCallback done)
{
    gh_engine1_machine_call_remove_forward (proxy (self), self->id, f->protocol, f->address, f->host_port, NULL, done, g_object_ref (self));
}

static void on_form_apply (GhAdapterRow *self)
{
    if (self->edited.host_port)
        remove_forward (self, &self->edited, on_old_gone);
    else
        add_typed (self);
}

/* What a new one may not collide with: all forwards of the machine but the one that is being edited. */
static GVariant *others (GhAdapterRow *self)
{
    GVariantBuilder list;
    const char *protocol, *address;
    guint16 host_port, guest_port;
    GVariantIter iter;

    g_variant_builder_init (&list, G_VARIANT_TYPE ("a(ssqq)"));
    g_variant_iter_init (&iter, self->all_forwards);
    while (g_variant_iter_next (&iter, "(&s&sqq)", &protocol, &address, &host_port, &guest_port))
        if (host_port != self->edited.host_port || !g_str_equal (protocol, self->edited.protocol) || !g_str_equal (address, self->edited.address))
            g_variant_builder_add (&list, "(ssqq)", protocol, address, host_port, guest_port);
    return g_variant_builder_end (&list);
}

static void open_form (GhAdapterRow *self, const GhForward *f)
{
    self->edited = f ? *f : (GhForward){ .host_port = 0 };
    show_form (self, TRUE);
    gh_forward_form_start (self->form, self->edited.host_port ? &self->edited : NULL, others (self));
}

static void on_add_forward (GhAdapterRow *self) { open_form (self, NULL); }
static void on_edit_forward (GtkWidget *button, GhAdapterRow *self) { open_form (self, g_object_get_data (G_OBJECT (button), "forward")); }

static void on_remove_forward (GtkWidget *button, GhAdapterRow *self)
{
    remove_forward (self, g_object_get_data (G_OBJECT (button), "forward"), on_forward_gone);
}

static void add_button (GhAdapterRow *self, GtkWidget *row, const char *icon, const char *label, const GhForward *f, GCallback handler)
{
    GtkWidget *button = gtk_button_new_from_icon_name (icon);

    gtk_widget_set_valign (button, GTK_ALIGN_CENTER);
    gtk_widget_add_css_class (button, "flat");
    gtk_widget_set_tooltip_text (button, label);
    gh_set_label (button, label);
    g_object_set_data_full (G_OBJECT (button), "forward", g_memdup2 (f, sizeof *f), g_free);
    g_signal_connect (button, "clicked", handler, self);
    adw_action_row_add_suffix (ADW_ACTION_ROW (row), button);
}

/* How often a port of this computer is asked for. */
static guint uses (GhAdapterRow *self, const GhForward *f)
{
    const char *protocol, *address;
    guint16 host_port, guest_port;
    GVariantIter iter;
    guint n = 0;

    g_variant_iter_init (&iter, self->all_forwards);
    while (g_variant_iter_next (&iter, "(&s&sqq)", &protocol, &address, &host_port, &guest_port))
        n += host_port == f->host_port && g_str_equal (protocol, f->protocol) &&
             gh_forward_addresses_meet (address, f->address);
    return n;
}

static GtkWidget *forward_row (GhAdapterRow *self, const GhForward *f)
{
    GtkWidget *row = adw_action_row_new ();
    g_autofree char *protocol = g_ascii_strup (f->protocol, -1);
    g_autofree char *title = g_strdup_printf (strchr (f->address, ':') ? _ ("%s [%s]:%u to port %u of the guest") : _ ("%s %s:%u to port %u of the guest"), protocol, f->address, f->host_port, f->guest_port);
    gboolean twice = uses (self, f) > 1;

    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (row), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    adw_action_row_set_icon_name (ADW_ACTION_ROW (row), twice ? "dialog-warning-symbolic" : "go-next-symbolic");
    adw_action_row_set_subtitle (ADW_ACTION_ROW (row), twice ? _ ("Another forward of this machine has the same port") : "");
    mark (row, twice);
    add_button (self, row, "document-edit-symbolic", _ ("Edit Port Forward"), f, G_CALLBACK (on_edit_forward));
    add_button (self, row, "user-trash-symbolic", _ ("Remove Port Forward"), f, G_CALLBACK (on_remove_forward));
    return row;
}

/* Forwards are the last rows. The form and the button that opens it stand in front of them, one of both seen. */
static void place_forwards (GhAdapterRow *self)
{
    const char *protocol, *address;
    guint16 host_port, guest_port;
    GVariantIter iter;

    for (guint i = 0; i < self->forward_rows->len; i++)
        adw_expander_row_remove (ADW_EXPANDER_ROW (self), g_ptr_array_index (self->forward_rows, i));
    g_ptr_array_set_size (self->forward_rows, 0);
    g_variant_iter_init (&iter, self->forwards);
    while (self->nat && g_variant_iter_next (&iter, "(&s&sqq)", &protocol, &address, &host_port, &guest_port)) {
        GhForward f = { .host_port = host_port, .guest_port = guest_port };
        g_strlcpy (f.protocol, protocol, sizeof f.protocol);
        g_strlcpy (f.address, address, sizeof f.address);
        GtkWidget *row = forward_row (self, &f);
        adw_expander_row_add_row (ADW_EXPANDER_ROW (self), row);
        g_ptr_array_add (self->forward_rows, row);
    }
}

static void show_form (GhAdapterRow *self, gboolean shown)
{
    self->form_shown = shown;
    gtk_widget_set_visible (GTK_WIDGET (self->form), self->nat && shown);
    gtk_widget_set_visible (self->add, self->nat && !shown);
    gtk_widget_set_visible (self->ssh, self->nat);
}

/* ---- What the machine says ------------------------------------------------------------------------------------ */

static GVariant *all_forwards (GVariant *all)
{
    GVariantBuilder list;
    GVariantIter cards, iter;
    GVariant *card, *one;

    g_variant_builder_init (&list, G_VARIANT_TYPE ("a(ssqq)"));
    g_variant_iter_init (&cards, all);
    while ((card = g_variant_iter_next_value (&cards))) {
        g_autoptr (GVariant) forwards = g_variant_lookup_value (card, "forwards", G_VARIANT_TYPE ("a(ssqq)"));
        if (forwards) {
            g_variant_iter_init (&iter, forwards);
            while ((one = g_variant_iter_next_value (&iter))) {
                g_variant_builder_add_value (&list, one);
                g_variant_unref (one);
            }
        }
        g_variant_unref (card);
    }
    return g_variant_ref_sink (g_variant_builder_end (&list));
}

/* Digits that are not a value yet. */
static gboolean is_typed (GtkSpinButton *spin)
{
    return g_ascii_strtod (gtk_editable_get_text (GTK_EDITABLE (spin)), NULL) != gtk_spin_button_get_value (spin);
}

static char *describe (GVariant *card, gboolean on)
{
    const char *mode = "", *network = "", *address = "", *address6 = "";
    gboolean connected = TRUE;

    g_variant_lookup (card, "mode", "&s", &mode);
    g_variant_lookup (card, "network", "&s", &network);
    g_variant_lookup (card, "address", "&s", &address);
    g_variant_lookup (card, "address6", "&s", &address6);
    g_variant_lookup (card, "connected", "b", &connected);
    const char *where = g_str_equal (mode, "nat") ? _ ("NAT") : g_str_equal (mode, "internal") ? network : g_str_equal (mode, "passt") ? _ ("NAT by passt")
                        : g_str_equal (mode, "stream") ? _ ("Socket") : _ ("Not connected");
    const char *guest = !on ? "" : address[0] ? address : address6;
    return g_strjoin (" · ", where, !connected ? _ ("Cable unplugged") : guest[0] ? guest : on ? _ ("No address yet") : NULL, NULL);
}

void gh_adapter_row_show (GhAdapterRow *self, GVariant *card, GVariant *all)
{
    const char *id = "", *adapter = "", *mode = "", *network = "", *mac = "", *socket = "";
    gboolean connected = TRUE, on = gh_machine_is_on (self->machine);
    guint32 kbits = 0;
    g_autofree char *subtitle = describe (card, on);
    g_autoptr (GVariant) forwards = g_variant_lookup_value (card, "forwards", G_VARIANT_TYPE ("a(ssqq)")), of_all = all_forwards (all);

    if (!forwards)
        forwards = g_variant_ref_sink (g_variant_new_array (G_VARIANT_TYPE ("(ssqq)"), NULL, 0));
    g_variant_lookup (card, "id", "&s", &id);
    g_variant_lookup (card, "adapter", "&s", &adapter);
    g_variant_lookup (card, "mode", "&s", &mode);
    g_variant_lookup (card, "network", "&s", &network);
    g_variant_lookup (card, "mac", "&s", &mac);
    g_variant_lookup (card, "socket", "&s", &socket);
    g_variant_lookup (card, "connected", "b", &connected);
    g_variant_lookup (card, "limit-kbits", "u", &kbits);
    g_variant_ref (card); /* they may be the ones that are let go */
    g_variant_ref (all);
    g_clear_pointer (&self->card, g_variant_unref);
    g_clear_pointer (&self->all, g_variant_unref);
    self->card = card;
    self->all = all;
    g_free (self->id);
    self->id = g_strdup (id);
    self->filling = TRUE;
    adw_expander_row_set_subtitle (ADW_EXPANDER_ROW (self), subtitle);
    adw_combo_row_set_selected (ADW_COMBO_ROW (self->model), index_of (models, G_N_ELEMENTS (models), adapter));
    adw_combo_row_set_selected (ADW_COMBO_ROW (self->mode), index_of (modes, G_N_ELEMENTS (modes), mode));
    gh_tell_text (self->network, network);
    gh_tell_text (self->mac, mac);
    gh_tell_text (self->socket, socket);
    gtk_widget_set_visible (self->network, g_str_equal (mode, "internal"));
    gtk_widget_set_visible (self->socket, g_str_equal (mode, "stream"));
    gh_nat_row_show (GH_NAT_ROW (self->details), card);
    gh_capture_row_show (GH_CAPTURE_ROW (self->capture), card);
    gh_ssh_row_show (GH_SSH_ROW (self->ssh), id, forwards);
    gtk_switch_set_active (GTK_SWITCH (self->cable), connected);
    if (!self->limit_timer && !is_typed (GTK_SPIN_BUTTON (self->limit)))
        gtk_spin_button_set_value (GTK_SPIN_BUTTON (self->limit), kbits);
    GtkWidget *const needs_off[] = { self->model, self->socket, self->mac, self->remove };
    for (guint i = 0; i < G_N_ELEMENTS (needs_off); i++)
        gtk_widget_set_sensitive (needs_off[i], !on);
    adw_action_row_set_subtitle (ADW_ACTION_ROW (self->cable_row), on ? _ ("Changes at once") : "");
    self->filling = FALSE;
    /* Rows are put anew only where something changed: a person may be typing into the form. */
    gboolean nat = g_str_equal (mode, "nat") || g_str_equal (mode, "passt");
    if (self->forwards && nat == self->nat && g_variant_equal (self->forwards, forwards) && g_variant_equal (self->all_forwards, of_all))
        return;
    self->nat = nat;
    g_clear_pointer (&self->all_forwards, g_variant_unref);
    self->all_forwards = g_steal_pointer (&of_all);
    g_clear_pointer (&self->forwards, g_variant_unref);
    self->forwards = g_steal_pointer (&forwards);
    place_forwards (self);
    show_form (self, self->form_shown);
}

/* ---- Life --------------------------------------------------------------------------------------------------------- */

static GtkWidget *add_choice (GhAdapterRow *self, const char *title, const char *const *names, GCallback handler)
{
    GtkWidget *row = adw_combo_row_new ();
    g_autoptr (GtkStringList) list = gtk_string_list_new (names);

    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    adw_combo_row_set_model (ADW_COMBO_ROW (row), G_LIST_MODEL (list));
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), row);
    g_signal_connect_swapped (row, "notify::selected", handler, self);
    return row;
}

static GtkWidget *add_entry (GhAdapterRow *self, const char *title, GCallback handler)
{
    GtkWidget *row = adw_entry_row_new ();

    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    adw_entry_row_set_show_apply_button (ADW_ENTRY_ROW (row), TRUE);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), row);
    g_signal_connect_swapped (row, "apply", handler, self);
    return row;
}

/* A row that is a button. */
static GtkWidget *add_button_row (GhAdapterRow *self, const char *label, GCallback handler)
{
    GtkWidget *row = adw_preferences_row_new (), *button = gtk_button_new_with_mnemonic (label);

    gtk_widget_add_css_class (button, "flat");
    g_signal_connect_swapped (button, "clicked", handler, self);
    gtk_list_box_row_set_child (GTK_LIST_BOX_ROW (row), button);
    gtk_list_box_row_set_activatable (GTK_LIST_BOX_ROW (row), FALSE);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), row);
    return row;
}

static void add_limit (GhAdapterRow *self)
{
    GtkWidget *row = adw_action_row_new ();

    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), _ ("Speed Limit in kbit/s"));
    adw_action_row_set_subtitle (ADW_ACTION_ROW (row), _ ("Each way; 0 is no limit"));
    self->limit = gtk_spin_button_new_with_range (0, 1000000000, 1000);
    gtk_widget_set_valign (self->limit, GTK_ALIGN_CENTER);
    gtk_spin_button_set_numeric (GTK_SPIN_BUTTON (self->limit), TRUE);
    gh_set_label (self->limit, _ ("Speed Limit in kbit/s"));
    adw_action_row_add_suffix (ADW_ACTION_ROW (row), self->limit);
    adw_action_row_set_activatable_widget (ADW_ACTION_ROW (row), self->limit);
    g_signal_connect_swapped (self->limit, "value-changed", G_CALLBACK (on_limit), self);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), row);
}

static GtkWidget *add_remove (GhAdapterRow *self)
{
    GtkWidget *button = gtk_button_new_from_icon_name ("user-trash-symbolic");

    gtk_widget_set_valign (button, GTK_ALIGN_CENTER);
    gtk_widget_add_css_class (button, "flat");
    gtk_widget_set_tooltip_text (button, _ ("Remove Network Card"));
    gh_set_label (button, _ ("Remove Network Card"));
    g_signal_connect_swapped (button, "clicked", G_CALLBACK (on_remove), self);
    adw_expander_row_add_action (ADW_EXPANDER_ROW (self), button);
    return button;
}

static void gh_adapter_row_dispose (GObject *object)
{
    GhAdapterRow *self = GH_ADAPTER_ROW (object);

    g_clear_handle_id (&self->limit_timer, g_source_remove);
    g_clear_object (&self->machine);
    self->form = NULL;
    g_clear_pointer (&self->forward_rows, g_ptr_array_unref);
    g_clear_pointer (&self->card, g_variant_unref);
    g_clear_pointer (&self->all, g_variant_unref);
    g_clear_pointer (&self->forwards, g_variant_unref);
    g_clear_pointer (&self->all_forwards, g_variant_unref);
    g_clear_pointer (&self->id, g_free);
    G_OBJECT_CLASS (gh_adapter_row_parent_class)->dispose (object);
}

static void gh_adapter_row_class_init (GhAdapterRowClass *klass) { G_OBJECT_CLASS (klass)->dispose = gh_adapter_row_dispose; }

static void gh_adapter_row_init (GhAdapterRow *self)
{
    self->forward_rows = g_ptr_array_new ();
    self->filling = TRUE;
    self->model = add_choice (self, _ ("Model"), (const char *[]){ _ ("virtio (fast)"), _ ("Intel e1000"), NULL },
                              G_CALLBACK (on_model));
    self->mode = add_choice (self, _ ("Attached To"), (const char *[]){ _ ("NAT"), _ ("Internal network"), _ ("Not connected"), _ ("NAT by passt"), _ ("Socket"), NULL },
                             G_CALLBACK (on_mode));
    self->network = add_entry (self, _ ("Name of the Internal Network"), G_CALLBACK (on_network));
    self->socket = add_entry (self, _ ("Socket That Carries Frames"), G_CALLBACK (on_socket));
    self->mac = add_entry (self, _ ("Hardware Address"), G_CALLBACK (on_mac));
    self->problem = adw_action_row_new ();
    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (self->problem), FALSE);
    adw_action_row_set_icon_name (ADW_ACTION_ROW (self->problem), "dialog-warning-symbolic");
    adw_action_row_set_title_lines (ADW_ACTION_ROW (self->problem), 4);
    gtk_widget_add_css_class (self->problem, "error");
    gtk_widget_set_visible (self->problem, FALSE);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), self->problem);
    self->cable_row = adw_action_row_new ();
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (self->cable_row), _ ("Cable Connected"));
    self->cable = gtk_switch_new ();
    gtk_widget_set_valign (self->cable, GTK_ALIGN_CENTER);
    gh_set_label (self->cable, _ ("Cable Connected"));
    adw_action_row_add_suffix (ADW_ACTION_ROW (self->cable_row), self->cable);
    adw_action_row_set_activatable_widget (ADW_ACTION_ROW (self->cable_row), self->cable);
    g_signal_connect_swapped (self->cable, "notify::active", G_CALLBACK (on_cable), self);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), self->cable_row);
    add_limit (self);
    self->filling = FALSE;
}

static void add_machine_rows (GhAdapterRow *self)
{
    self->details = gh_nat_row_new ();
    g_signal_connect_swapped (self->details, "change", G_CALLBACK (on_details), self);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), self->details);
    self->capture = gh_capture_row_new (self->machine);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), self->capture);
    self->ssh = gh_ssh_row_new (self->machine);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), self->ssh);
    self->remove = add_remove (self);
    self->add = add_button_row (self, _ ("_Add Port Forward"), G_CALLBACK (on_add_forward));
    self->form = GH_FORWARD_FORM (gh_forward_form_new ());
    gtk_widget_set_visible (GTK_WIDGET (self->form), FALSE);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), GTK_WIDGET (self->form));
    g_signal_connect_swapped (self->form, "apply", G_CALLBACK (on_form_apply), self);
    g_signal_connect_swapped (self->form, "cancel", G_CALLBACK (close_form), self);
}

GtkWidget *gh_adapter_row_new (GhMachine *machine, guint number)
{
    GhAdapterRow *self = g_object_new (GH_TYPE_ADAPTER_ROW, NULL);
    g_autofree char *title = g_strdup_printf (_ ("Network Card %u"), number);

    self->machine = g_object_ref (machine);
    add_machine_rows (self);
    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (self), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (self), title);
    adw_expander_row_set_icon_name (ADW_EXPANDER_ROW (self), "network-wired-symbolic");
    return GTK_WIDGET (self);
}
