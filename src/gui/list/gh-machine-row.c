/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/list/gh-machine-row.h"

#include <glib/gi18n.h>

#include "gui/gh-util.h"
#include "gui/list/gh-thumbnail.h"

struct _GhMachineRow {
    GtkListBoxRow parent_instance;
    GhMachine *machine;
    GhThumbnail *thumbnail;
    GtkImage *state_icon;
    GtkLabel *name, *os, *state;
    GtkBox *work;
};

G_DEFINE_FINAL_TYPE (GhMachineRow, gh_machine_row, GTK_TYPE_LIST_BOX_ROW)

static void refresh (GhMachineRow *self)
{
    const char *os = gh_engine1_machine_get_os_name (gh_machine_get_proxy (self->machine));
    g_autofree char *address = gh_machine_get_address (self->machine);
    g_autofree char *state = g_strjoin (" · ", gh_machine_get_state_text (self->machine), address, NULL);

    gtk_label_set_text (self->name, gh_machine_get_name (self->machine));
    gtk_label_set_text (self->os, os && os[0] ? os : _ ("Unknown system"));
    gtk_label_set_text (self->state, state);
    gtk_image_set_from_icon_name (self->state_icon, gh_machine_get_state_icon (self->machine));
    gh_set_label (GTK_WIDGET (self), gh_machine_get_name (self->machine));
    gtk_accessible_update_property (GTK_ACCESSIBLE (self), GTK_ACCESSIBLE_PROPERTY_DESCRIPTION,
                                    gh_machine_get_state_text (self->machine), -1);
}

GhMachine *gh_machine_row_get_machine (GhMachineRow *self) { return self->machine; }

GtkBox *gh_machine_row_get_work (GhMachineRow *self) { return self->work; }

GtkWidget *gh_machine_row_new (GhMachine *machine)
{
    GhMachineRow *self = g_object_new (GH_TYPE_MACHINE_ROW, NULL);

    self->machine = g_object_ref (machine);
    gh_thumbnail_set_machine (self->thumbnail, machine);
    g_signal_connect_object (machine, "changed", G_CALLBACK (refresh), self, G_CONNECT_SWAPPED);
    refresh (self);
    return GTK_WIDGET (self);
}

static void gh_machine_row_dispose (GObject *object)
{
    GhMachineRow *self = GH_MACHINE_ROW (object);

    g_clear_object (&self->machine);
    G_OBJECT_CLASS (gh_machine_row_parent_class)->dispose (object);
}

static void gh_machine_row_class_init (GhMachineRowClass *klass)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS (klass);

    g_type_ensure (GH_TYPE_THUMBNAIL);
    G_OBJECT_CLASS (klass)->dispose = gh_machine_row_dispose;
    gtk_widget_class_set_template_from_resource (widget, "/org/gasthaus/Gasthaus/list/gh-machine-row.ui");
    gtk_widget_class_bind_template_child (widget, GhMachineRow, thumbnail);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, name);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, os);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, state);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, state_icon);
    gtk_widget_class_bind_template_child (widget, GhMachineRow, work);
}

static void gh_machine_row_init (GhMachineRow *self) { gtk_widget_init_template (GTK_WIDGET (self)); }
