/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-nat-row.h"

#include <glib/gi18n.h>

#include "gui/gh-util.h"

struct _GhNatRow {
    AdwExpanderRow parent_instance;
    GtkWidget *loopback, *ipv6, *subnet, *tftp, *bootfile;
    gboolean filling;
};

G_DEFINE_FINAL_TYPE (GhNatRow, gh_nat_row, ADW_TYPE_EXPANDER_ROW)

static guint signal_change;

static void emit (GtkWidget *widget, GVariant *value)
{
    GhNatRow *self = g_object_get_data (G_OBJECT (widget), "row");

    g_variant_ref_sink (value);
    if (!self->filling)
        g_signal_emit (self, signal_change, 0, g_object_get_data (G_OBJECT (widget), "key"), value);
    g_variant_unref (value);
}

static void on_switch (GtkWidget *widget) { emit (widget, g_variant_new_boolean (gtk_switch_get_active (GTK_SWITCH (widget)))); }
static void on_apply (GtkWidget *widget) { emit (widget, g_variant_new_string (gtk_editable_get_text (GTK_EDITABLE (widget)))); }

static GtkWidget *add_switch (GhNatRow *self, const char *key, const char *title, const char *subtitle)
{
    GtkWidget *row = adw_action_row_new (), *widget = gtk_switch_new ();

    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    adw_action_row_set_subtitle (ADW_ACTION_ROW (row), subtitle);
    gtk_widget_set_valign (widget, GTK_ALIGN_CENTER);
    gh_set_label (widget, title);
    g_object_set_data (G_OBJECT (widget), "row", self);
    g_object_set_data (G_OBJECT (widget), "key", (gpointer) key);
    adw_action_row_add_suffix (ADW_ACTION_ROW (row), widget);
    adw_action_row_set_activatable_widget (ADW_ACTION_ROW (row), widget);
    g_signal_connect (widget, "notify::active", G_CALLBACK (on_switch), NULL);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), row);
    return widget;
}

static GtkWidget *add_entry (GhNatRow *self, const char *key, const char *title)
{
    GtkWidget *row = adw_entry_row_new ();

    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    adw_entry_row_set_show_apply_button (ADW_ENTRY_ROW (row), TRUE);
    g_object_set_data (G_OBJECT (row), "row", self);
    g_object_set_data (G_OBJECT (row), "key", (gpointer) key);
    g_signal_connect (row, "apply", G_CALLBACK (on_apply), NULL);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (self), row);
    return row;
}

void gh_nat_row_show (GhNatRow *self, GVariant *card)
{
    const char *mode = "", *subnet = "", *tftp = "", *bootfile = "";
    gboolean loopback = FALSE, ipv6 = TRUE;

    g_variant_lookup (card, "mode", "&s", &mode);
    g_variant_lookup (card, "subnet", "&s", &subnet);
    g_variant_lookup (card, "tftp", "&s", &tftp);
    g_variant_lookup (card, "bootfile", "&s", &bootfile);
    g_variant_lookup (card, "host-loopback", "b", &loopback);
    g_variant_lookup (card, "ipv6", "b", &ipv6);
    gboolean nat = g_str_equal (mode, "nat");
    self->filling = TRUE;
    gtk_switch_set_active (GTK_SWITCH (self->loopback), loopback);
    gtk_switch_set_active (GTK_SWITCH (self->ipv6), ipv6);
    gh_tell_text (self->subnet, subnet);
    gh_tell_text (self->tftp, tftp);
    gh_tell_text (self->bootfile, bootfile);
    gtk_widget_set_visible (self->tftp, nat);
    gtk_widget_set_visible (self->bootfile, nat);
    gtk_widget_set_visible (GTK_WIDGET (self), nat || g_str_equal (mode, "passt"));
    self->filling = FALSE;
}

static void gh_nat_row_class_init (GhNatRowClass *klass)
{
    signal_change = g_signal_new ("change", GH_TYPE_NAT_ROW, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 2, G_TYPE_STRING, G_TYPE_VARIANT);
}

static void gh_nat_row_init (GhNatRow *self)
{
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (self), _ ("Addresses and Network Boot"));
    self->loopback = add_switch (self, "host-loopback", _ ("Access to This Computer"), _ ("The guest reaches services that listen on this computer only, at its gateway"));
    self->ipv6 = add_switch (self, "ipv6", _ ("IPv6"), _ ("The guest gets an IPv6 address too"));
    self->subnet = add_entry (self, "subnet", _ ("The Guest's Network (10.0.2.0 if Empty)"));
    self->tftp = add_entry (self, "tftp", _ ("Folder Served by TFTP"));
    self->bootfile = add_entry (self, "bootfile", _ ("Boot File"));
}

GtkWidget *gh_nat_row_new (void) { return g_object_new (GH_TYPE_NAT_ROW, NULL); }
