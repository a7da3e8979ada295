/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-network-group.h"

#include <glib/gi18n.h>

#include "gui/details/gh-adapter-row.h"
#include "gui/gh-util.h"

struct _GhNetworkGroup {
    AdwPreferencesGroup parent_instance;
    GhMachine *machine;
    GPtrArray *rows; /* one for each card */
    GtkWidget *none, *add;
    GVariant *shown;
    gboolean shown_on;
};

G_DEFINE_FINAL_TYPE (GhNetworkGroup, gh_network_group, ADW_TYPE_PREFERENCES_GROUP)

static void clear (GhNetworkGroup *self)
{
    for (guint i = 0; i < self->rows->len; i++)
        adw_preferences_group_remove (ADW_PREFERENCES_GROUP (self), g_ptr_array_index (self->rows, i));
    g_ptr_array_set_size (self->rows, 0);
    g_clear_pointer (&self->shown, g_variant_unref);
}

/* Rows that stay are left alone: a person may be typing into one. */
static void fill (GhNetworkGroup *self, guint count)
{
    while (self->rows->len > count) {
        adw_preferences_group_remove (ADW_PREFERENCES_GROUP (self), g_ptr_array_index (self->rows, self->rows->len - 1));
        g_ptr_array_set_size (self->rows, (int) self->rows->len - 1);
    }
    while (self->rows->len < count) {
        GtkWidget *row = gh_adapter_row_new (self->machine, self->rows->len + 1);
        adw_preferences_group_add (ADW_PREFERENCES_GROUP (self), row);
        adw_expander_row_set_expanded (ADW_EXPANDER_ROW (row), count == 1);
        g_ptr_array_add (self->rows, row);
    }
    gtk_widget_set_visible (self->none, !count);
}

static void refresh (GhNetworkGroup *self)
{
    GVariant *cards = gh_engine1_machine_get_networks (gh_machine_get_proxy (self->machine));
    gboolean on = gh_machine_is_on (self->machine);

    if (!cards || (self->shown && on == self->shown_on && g_variant_equal (cards, self->shown)))
        return;
    guint count = (guint) g_variant_n_children (cards);
    if (!self->shown || count != self->rows->len)
        fill (self, count);
    g_clear_pointer (&self->shown, g_variant_unref);
    self->shown = g_variant_ref (cards);
    self->shown_on = on;
    gtk_widget_set_sensitive (self->add, !on);
    for (guint i = 0; i < count; i++) {
        g_autoptr (GVariant) card = g_variant_get_child_value (cards, i);
        gh_adapter_row_show (g_ptr_array_index (self->rows, i), card, cards);
    }
}

static void on_added (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GtkWidget) self = data;
    g_autoptr (GError) error = NULL;

    if (!gh_engine1_machine_call_add_adapter_finish (GH_ENGINE1_MACHINE (source), NULL, result, &error))
        gh_toast_error (self, error);
}

static void on_add (GhNetworkGroup *self)
{
    GVariantBuilder settings;

    if (!self->machine)
        return;
    g_variant_builder_init (&settings, G_VARIANT_TYPE_VARDICT);
    gh_engine1_machine_call_add_adapter (gh_machine_get_proxy (self->machine), g_variant_builder_end (&settings), NULL, on_added, g_object_ref (self));
}

void gh_network_group_set_machine (GhNetworkGroup *self, GhMachine *machine)
{
    if (self->machine)
        g_signal_handlers_disconnect_by_data (self->machine, self);
    if (self->machine != machine && machine)
        clear (self);
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
    self->add = gtk_button_new_from_icon_name ("list-add-symbolic");
    gtk_widget_add_css_class (self->add, "flat");
    gtk_widget_set_tooltip_text (self->add, _ ("Add Network Card"));
    gh_set_label (self->add, _ ("Add Network Card"));
    g_signal_connect_swapped (self->add, "clicked", G_CALLBACK (on_add), self);
    adw_preferences_group_set_header_suffix (ADW_PREFERENCES_GROUP (self), self->add);
    self->none = adw_action_row_new ();
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (self->none), _ ("Not Connected"));
    adw_action_row_set_subtitle (ADW_ACTION_ROW (self->none), _ ("This machine has no network card."));
    adw_action_row_set_icon_name (ADW_ACTION_ROW (self->none), "network-offline-symbolic");
    adw_preferences_group_add (ADW_PREFERENCES_GROUP (self), self->none);
}
