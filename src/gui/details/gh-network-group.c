/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-network-group.h"

#include <glib/gi18n.h>

#include "gui/gh-util.h"

struct _GhNetworkGroup {
    AdwPreferencesGroup parent_instance;
    GhMachine *machine;
    GPtrArray *rows; /* made anew when the cards change */
    GVariant *shown;
};

G_DEFINE_FINAL_TYPE (GhNetworkGroup, gh_network_group, ADW_TYPE_PREFERENCES_GROUP)

static void add_row (GhNetworkGroup *self, const char *icon, const char *title, const char *subtitle)
{
    GtkWidget *row = adw_action_row_new ();

    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (row), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    adw_action_row_set_subtitle (ADW_ACTION_ROW (row), subtitle);
    adw_action_row_set_icon_name (ADW_ACTION_ROW (row), icon);
    adw_preferences_group_add (ADW_PREFERENCES_GROUP (self), row);
    g_ptr_array_add (self->rows, row);
}

static void add_card (GhNetworkGroup *self, GVariant *card)
{
    const char *adapter = "", *mode = "", *mac = "", *address = "";

    g_variant_lookup (card, "adapter", "&s", &adapter);
    g_variant_lookup (card, "mode", "&s", &mode);
    g_variant_lookup (card, "mac", "&s", &mac);
    g_variant_lookup (card, "address", "&s", &address);
    g_autofree char *text = g_strjoin (" · ", adapter, mode, mac, address[0] ? address : NULL, NULL);
    add_row (self, "network-wired-symbolic", _ ("Network Card"), text);
}

static void refresh (GhNetworkGroup *self)
{
    GVariant *cards = gh_engine1_machine_get_networks (gh_machine_get_proxy (self->machine)), *card;
    GVariantIter iter;

    if (!cards || (self->shown && g_variant_equal (cards, self->shown)))
        return;
    for (guint i = 0; i < self->rows->len; i++)
        adw_preferences_group_remove (ADW_PREFERENCES_GROUP (self), g_ptr_array_index (self->rows, i));
    g_ptr_array_set_size (self->rows, 0);
    g_clear_pointer (&self->shown, g_variant_unref);
    self->shown = g_variant_ref (cards);
    g_variant_iter_init (&iter, cards);
    while ((card = g_variant_iter_next_value (&iter))) {
        add_card (self, card);
        g_variant_unref (card);
    }
    if (!self->rows->len)
        add_row (self, "network-offline-symbolic", _ ("Not Connected"), _ ("This machine has no network card."));
}

void gh_network_group_set_machine (GhNetworkGroup *self, GhMachine *machine)
{
    if (self->machine)
        g_signal_handlers_disconnect_by_data (self->machine, self);
    g_set_object (&self->machine, machine);
    if (!machine)
        return;
    g_signal_connect_object (machine, "changed", G_CALLBACK (refresh), self, G_CONNECT_SWAPPED);
    refresh (self);
}

static void gh_network_group_dispose (GObject *object)
{
    GhNetworkGroup *self = GH_NETWORK_GROUP (object);

    gh_network_group_set_machine (self, NULL);
    g_clear_pointer (&self->rows, g_ptr_array_unref);
    g_clear_pointer (&self->shown, g_variant_unref);
    G_OBJECT_CLASS (gh_network_group_parent_class)->dispose (object);
}

static void gh_network_group_class_init (GhNetworkGroupClass *klass) { G_OBJECT_CLASS (klass)->dispose = gh_network_group_dispose; }

static void gh_network_group_init (GhNetworkGroup *self)
{
    self->rows = g_ptr_array_new ();
    adw_preferences_group_set_title (ADW_PREFERENCES_GROUP (self), _ ("Network"));
}
