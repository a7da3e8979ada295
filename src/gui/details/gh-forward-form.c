/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-forward-form.h"

#include <glib/gi18n.h>

#include "gui/gh-util.h"

struct _GhForwardForm {
    AdwPreferencesRow parent_instance;
    GtkDropDown *protocol;
    GtkEditable *address, *host_port, *guest_port;
    GtkWidget *apply;
    GtkLabel *problem;
    GVariant *taken;
};

G_DEFINE_FINAL_TYPE (GhForwardForm, gh_forward_form, ADW_TYPE_PREFERENCES_ROW)

static const char *const protocols[] = { "tcp", "udp" };
static guint signal_apply, signal_cancel;

/* 0: not a port. */
static guint16 port_of (GtkEditable *field)
{
    const char *text = gtk_editable_get_text (field);
    char *end;
    guint64 n = g_ascii_strtoull (text, &end, 10);

    return g_ascii_isdigit (text[0]) && !*end && n <= G_MAXUINT16 ? (guint16) n : 0;
}

static gboolean is_address (const char *text)
{
    GInetAddress *address = g_inet_address_new_from_string (text);
    gboolean good = address != NULL;

    g_clear_object (&address);
    return good;
}

static void mark (GtkEditable *field, gboolean wrong)
{
    if (wrong)
        gtk_widget_add_css_class (GTK_WIDGET (field), "error");
    else
        gtk_widget_remove_css_class (GTK_WIDGET (field), "error");
    gtk_accessible_update_state (GTK_ACCESSIBLE (field), GTK_ACCESSIBLE_STATE_INVALID, wrong ? GTK_ACCESSIBLE_INVALID_TRUE : GTK_ACCESSIBLE_INVALID_FALSE, -1);
}

static void say (GhForwardForm *self, const char *text)
{
    gtk_label_set_text (self->problem, text ? text : "");
    gtk_widget_set_visible (GTK_WIDGET (self->problem), text && text[0]);
}

static gboolean is_any (const char *address) { return g_str_equal (address, "0.0.0.0") || g_str_equal (address, "::"); }

gboolean gh_forward_addresses_meet (const char *a, const char *b)
{ return !strchr (a, ':') == !strchr (b, ':') && (g_str_equal (a, b) || is_any (a) || is_any (b)); }

static gboolean collides (GhForwardForm *self, const GhForward *f)
{
    const char *protocol, *address;
    guint16 host_port, guest_port;
    GVariantIter iter;

    if (!self->taken)
        return FALSE;
    g_variant_iter_init (&iter, self->taken);
    while (g_variant_iter_next (&iter, "(&s&sqq)", &protocol, &address, &host_port, &guest_port))
        if (host_port == f->host_port && g_str_equal (protocol, f->protocol) && gh_forward_addresses_meet (address, f->address))
            return TRUE;
    return FALSE;
}

void gh_forward_form_get (GhForwardForm *self, GhForward *ret)
{
    const char *address = gtk_editable_get_text (self->address);

    *ret = (GhForward){ .host_port = port_of (self->host_port), .guest_port = port_of (self->guest_port) };
    g_strlcpy (ret->protocol, protocols[gtk_drop_down_get_selected (self->protocol) == 1], sizeof ret->protocol);
    g_strlcpy (ret->address, address[0] ? address : "127.0.0.1", sizeof ret->address);
}

/* Empty fields are not wrong yet, only unfinished. */
static void check (GhForwardForm *self)
{
    const char *address = gtk_editable_get_text (self->address);
    gboolean host_typed = gtk_editable_get_text (self->host_port)[0], guest_typed = gtk_editable_get_text (self->guest_port)[0];
    gboolean bad_address = address[0] && !is_address (address);
    GhForward f;

    gh_forward_form_get (self, &f);
    gboolean bad_host = host_typed && !f.host_port, bad_guest = guest_typed && !f.guest_port;
    gboolean twice = f.host_port && !bad_address && collides (self, &f);
    mark (self->address, bad_address);
    mark (self->host_port, bad_host || twice);
    mark (self->guest_port, bad_guest);
    say (self, bad_address             ? _ ("The address is one of this computer, such as 127.0.0.1 or ::1; 0.0.0.0 and :: are all of them.")
               : bad_host || bad_guest ? _ ("Ports are numbers from 1 to 65535.")
               : twice                 ? _ ("This port of this computer is forwarded already; choose another.")
                                       : NULL);
    gtk_widget_set_sensitive (self->apply, f.host_port && f.guest_port && !bad_address && !twice);
}

static void on_apply (GhForwardForm *self)
{
    if (gtk_widget_get_sensitive (self->apply))
        g_signal_emit (self, signal_apply, 0);
}

static void on_cancel (GhForwardForm *self) { g_signal_emit (self, signal_cancel, 0); }

void gh_forward_form_start (GhForwardForm *self, const GhForward *forward, GVariant *taken)
{
    g_autofree char *host = forward ? g_strdup_printf ("%u", forward->host_port) : g_strdup ("");
    g_autofree char *guest = forward ? g_strdup_printf ("%u", forward->guest_port) : g_strdup ("");

    g_clear_pointer (&self->taken, g_variant_unref);
    self->taken = taken ? g_variant_ref_sink (taken) : NULL;
    gtk_drop_down_set_selected (self->protocol, forward && g_str_equal (forward->protocol, "udp"));
    gtk_editable_set_text (self->address, forward ? forward->address : "127.0.0.1");
    gtk_editable_set_text (self->host_port, host);
    gtk_editable_set_text (self->guest_port, guest);
    check (self);
    gtk_widget_grab_focus (GTK_WIDGET (self->host_port));
}

void gh_forward_form_refuse (GhForwardForm *self, const char *text)
{
    mark (self->host_port, TRUE);
    say (self, text);
}

static GtkEditable *add_field (GhForwardForm *self, GtkWidget *line, const char *label, int chars)
{
    GtkWidget *entry = gtk_entry_new ();

    gtk_editable_set_width_chars (GTK_EDITABLE (entry), chars);
    gtk_editable_set_max_width_chars (GTK_EDITABLE (entry), chars);
    gtk_entry_set_placeholder_text (GTK_ENTRY (entry), label);
    gtk_widget_set_tooltip_text (entry, label);
    gh_set_label (entry, label);
    g_signal_connect_swapped (entry, "changed", G_CALLBACK (check), self);
    g_signal_connect_swapped (entry, "activate", G_CALLBACK (on_apply), self);
    gtk_box_append (GTK_BOX (line), entry);
    return GTK_EDITABLE (entry);
}

static GtkWidget *add_button (GhForwardForm *self, GtkWidget *line, const char *label, GCallback handler)
{
    GtkWidget *button = gtk_button_new_with_mnemonic (label);

    g_signal_connect_swapped (button, "clicked", handler, self);
    gtk_box_append (GTK_BOX (line), button);
    return button;
}

static void gh_forward_form_finalize (GObject *object)
{
    g_clear_pointer (&GH_FORWARD_FORM (object)->taken, g_variant_unref);
    G_OBJECT_CLASS (gh_forward_form_parent_class)->finalize (object);
}

static void gh_forward_form_class_init (GhForwardFormClass *klass)
{
    G_OBJECT_CLASS (klass)->finalize = gh_forward_form_finalize;
    signal_apply = g_signal_new ("apply", GH_TYPE_FORWARD_FORM, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signal_cancel = g_signal_new ("cancel", GH_TYPE_FORWARD_FORM, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void gh_forward_form_init (GhForwardForm *self)
{
    GtkWidget *box = gtk_box_new (GTK_ORIENTATION_VERTICAL, 6), *fields = gtk_box_new (GTK_ORIENTATION_HORIZONTAL, 6);
    GtkWidget *buttons = gtk_box_new (GTK_ORIENTATION_HORIZONTAL, 6), *problem = gtk_label_new ("");

    gtk_widget_set_margin_top (box, 9);
    gtk_widget_set_margin_bottom (box, 9);
    gtk_widget_set_margin_start (box, 12);
    gtk_widget_set_margin_end (box, 12);
    self->protocol = GTK_DROP_DOWN (gtk_drop_down_new_from_strings ((const char *[]){ "TCP", "UDP", NULL }));
    gh_set_label (GTK_WIDGET (self->protocol), _ ("Protocol"));
    g_signal_connect_swapped (self->protocol, "notify::selected", G_CALLBACK (check), self);
    gtk_box_append (GTK_BOX (fields), GTK_WIDGET (self->protocol));
    self->address = add_field (self, fields, _ ("Host address"), 11);
    self->host_port = add_field (self, fields, _ ("Host port"), 7);
    gtk_box_append (GTK_BOX (fields), gtk_label_new ("→"));
    self->guest_port = add_field (self, fields, _ ("Guest port"), 7);
    self->problem = GTK_LABEL (problem);
    gtk_label_set_wrap (self->problem, TRUE);
    gtk_label_set_xalign (self->problem, 0);
    gtk_widget_add_css_class (problem, "error");
    self->apply = add_button (self, buttons, _ ("_Save"), G_CALLBACK (on_apply));
    gtk_widget_add_css_class (self->apply, "suggested-action");
    add_button (self, buttons, _ ("_Discard"), G_CALLBACK (on_cancel));
    gtk_widget_set_halign (buttons, GTK_ALIGN_END);
    gtk_box_append (GTK_BOX (box), fields);
    gtk_box_append (GTK_BOX (box), problem);
    gtk_box_append (GTK_BOX (box), buttons);
    gtk_list_box_row_set_child (GTK_LIST_BOX_ROW (self), box);
    gtk_list_box_row_set_activatable (GTK_LIST_BOX_ROW (self), FALSE);
    check (self);
}

GtkWidget *gh_forward_form_new (void) { return g_object_new (GH_TYPE_FORWARD_FORM, NULL); }
