/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-general-group.h"

#include <glib/gi18n.h>

#include "gui/gh-rows.h"
#include "gui/gh-util.h"

struct _GhGeneralGroup {
    AdwPreferencesGroup parent_instance;
    GhMachine *machine;
    GtkWidget *name, *notes;
};

G_DEFINE_FINAL_TYPE (GhGeneralGroup, gh_general_group, ADW_TYPE_PREFERENCES_GROUP)

static void show_text (GtkWidget *row, const char *text)
{
    /* Not over what somebody is typing. */
    if (!(gtk_widget_get_state_flags (row) & GTK_STATE_FLAG_FOCUS_WITHIN) && g_strcmp0 (gtk_editable_get_text (GTK_EDITABLE (row)), text)) {
        adw_entry_row_set_show_apply_button (ADW_ENTRY_ROW (row), FALSE);
        gtk_editable_set_text (GTK_EDITABLE (row), text ? text : "");
        adw_entry_row_set_show_apply_button (ADW_ENTRY_ROW (row), TRUE);
    }
}

static void refresh (GhGeneralGroup *self)
{
    show_text (self->name, gh_machine_get_name (self->machine));
    show_text (self->notes, gh_engine1_machine_get_description (gh_machine_get_proxy (self->machine)));
}

static void on_apply (AdwEntryRow *row, GhGeneralGroup *self)
{
    const char *text = gtk_editable_get_text (GTK_EDITABLE (row));

    if (self->machine)
        gh_machine_change (self->machine, GTK_WIDGET (row) == self->name ? "name" : "description", g_variant_new_string (text), GTK_WIDGET (self));
}

void gh_general_group_set_machine (GhGeneralGroup *self, GhMachine *machine)
{
    if (self->machine)
        g_signal_handlers_disconnect_by_data (self->machine, self);
    g_set_object (&self->machine, machine);
    if (!machine)
        return;
    g_signal_connect_object (machine, "changed", G_CALLBACK (refresh), self, G_CONNECT_SWAPPED);
    refresh (self);
}

void gh_general_group_edit_name (GhGeneralGroup *self)
{
    gtk_widget_grab_focus (self->name);
    gtk_editable_select_region (GTK_EDITABLE (self->name), 0, -1);
}

static void gh_general_group_dispose (GObject *object)
{
    gh_general_group_set_machine (GH_GENERAL_GROUP (object), NULL);
    G_OBJECT_CLASS (gh_general_group_parent_class)->dispose (object);
}

static void gh_general_group_class_init (GhGeneralGroupClass *klass) { G_OBJECT_CLASS (klass)->dispose = gh_general_group_dispose; }

static GtkWidget *add_entry (GhGeneralGroup *self, const char *title)
{
    GtkWidget *row = gh_row_add_entry (ADW_PREFERENCES_GROUP (self), title);

    adw_entry_row_set_show_apply_button (ADW_ENTRY_ROW (row), TRUE);
    g_signal_connect (row, "apply", G_CALLBACK (on_apply), self);
    return row;
}

static void gh_general_group_init (GhGeneralGroup *self)
{
    adw_preferences_group_set_title (ADW_PREFERENCES_GROUP (self), _ ("General"));
    self->name = add_entry (self, _ ("Name"));
    self->notes = add_entry (self, _ ("Notes"));
}
