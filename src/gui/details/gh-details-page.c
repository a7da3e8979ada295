/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-details-page.h"

#include <glib/gi18n.h>

#include "gui/details/gh-files-group.h"
#include "gui/details/gh-general-group.h"
#include "gui/details/gh-hardware-group.h"
#include "gui/details/gh-media-group.h"
#include "gui/details/gh-network-group.h"
#include "gui/gh-util.h"
#include "gui/list/gh-thumbnail.h"

struct _GhDetailsPage {
    GtkBox parent_instance;
    GhMachine *machine;
    GtkRevealer *trouble;
    GtkInfoBar *trouble_bar;
    GtkScrolledWindow *scroll;
    GtkLabel *trouble_text, *name, *subtitle;
    GtkImage *state_icon;
    GhThumbnail *thumbnail;
    GtkWidget *start, *show, *pause, *resume, *shut_down;
    /* One file each; a new one is added here, in the .ui file, in set_groups and in class_init. */
    GhGeneralGroup *general;
    GhHardwareGroup *hardware;
    GhMediaGroup *media;
    GhNetworkGroup *network;
    GhFilesGroup *files;
};

G_DEFINE_FINAL_TYPE (GhDetailsPage, gh_details_page, GTK_TYPE_BOX)

static void refresh_trouble (GhDetailsPage *self)
{
    g_autofree char *trouble = gh_machine_get_trouble (self->machine);

    if (trouble)
        gtk_label_set_text (self->trouble_text, trouble);
    gtk_revealer_set_reveal_child (self->trouble, trouble != NULL);
    gtk_widget_set_visible (GTK_WIDGET (self->trouble), trouble != NULL);
}

static void refresh (GhDetailsPage *self)
{
    GhEngine1Machine *proxy = gh_machine_get_proxy (self->machine);
    const char *os = gh_engine1_machine_get_os_name (proxy), *state = gh_machine_get_state (self->machine);
    gboolean on = gh_machine_is_on (self->machine), paused = g_str_equal (state, "paused");
    g_autofree char *subtitle = g_strdup_printf ("%s · %s", os && os[0] ? os : _ ("Unknown system"), gh_machine_get_state_text (self->machine));

    gtk_label_set_text (self->name, gh_machine_get_name (self->machine));
    gtk_label_set_text (self->subtitle, subtitle);
    gtk_image_set_from_icon_name (self->state_icon, gh_machine_get_state_icon (self->machine));
    gtk_widget_set_visible (self->start, !on);
    gtk_widget_set_visible (self->show, on);
    gtk_widget_set_visible (self->pause, g_str_equal (state, "running"));
    gtk_widget_set_visible (self->resume, paused);
    gtk_widget_set_visible (self->shut_down, g_str_equal (state, "running"));
    refresh_trouble (self);
}

static void on_trouble_closed (GhDetailsPage *self)
{
    if (self->machine)
        gh_engine1_machine_call_clear_error (gh_machine_get_proxy (self->machine), NULL, NULL, NULL);
}

static void set_groups (GhDetailsPage *self, GhMachine *machine)
{
    gh_thumbnail_set_machine (self->thumbnail, machine);
    gh_general_group_set_machine (self->general, machine);
    gh_hardware_group_set_machine (self->hardware, machine);
    gh_media_group_set_machine (self->media, machine);
    gh_network_group_set_machine (self->network, machine);
    gh_files_group_set_machine (self->files, machine);
}

void gh_details_page_set_machine (GhDetailsPage *self, GhMachine *machine)
{
    if (self->machine)
        g_signal_handlers_disconnect_by_data (self->machine, self);
    if (self->machine != machine && self->general) {
        set_groups (self, machine);
        gtk_adjustment_set_value (gtk_scrolled_window_get_vadjustment (self->scroll), 0); /* another machine begins at its top */
    }
    g_set_object (&self->machine, machine);
    if (!machine)
        return;
    g_signal_connect_object (machine, "changed", G_CALLBACK (refresh), self, G_CONNECT_SWAPPED);
    refresh (self);
}

void gh_details_page_edit_name (GhDetailsPage *self) { gh_general_group_edit_name (self->general); }

static void gh_details_page_dispose (GObject *object)
{
    GhDetailsPage *self = GH_DETAILS_PAGE (object);

    self->general = NULL; /* the groups let go of their machine themselves */
    gh_details_page_set_machine (self, NULL);
    G_OBJECT_CLASS (gh_details_page_parent_class)->dispose (object);
}

static void gh_details_page_class_init (GhDetailsPageClass *klass)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS (klass);

    G_OBJECT_CLASS (klass)->dispose = gh_details_page_dispose;
    g_type_ensure (GH_TYPE_GENERAL_GROUP);
    g_type_ensure (GH_TYPE_THUMBNAIL);
    g_type_ensure (GH_TYPE_HARDWARE_GROUP);
    g_type_ensure (GH_TYPE_MEDIA_GROUP);
    g_type_ensure (GH_TYPE_NETWORK_GROUP);
    g_type_ensure (GH_TYPE_FILES_GROUP);
    gtk_widget_class_set_template_from_resource (widget, "/org/gasthaus/Gasthaus/details/gh-details-page.ui");
#define CHILD(name) gtk_widget_class_bind_template_child (widget, GhDetailsPage, name)
    CHILD (scroll);
    CHILD (trouble);
    CHILD (trouble_bar);
    CHILD (trouble_text);
    CHILD (name);
    CHILD (subtitle);
    CHILD (thumbnail);
    CHILD (start);
    CHILD (show);
    CHILD (pause);
    CHILD (resume);
    CHILD (shut_down);
    CHILD (state_icon);
    CHILD (general);
    CHILD (hardware);
    CHILD (media);
    CHILD (network);
    CHILD (files);
#undef CHILD
}

static void gh_details_page_init (GhDetailsPage *self)
{
    gtk_widget_init_template (GTK_WIDGET (self));
    gh_thumbnail_set_size (self->thumbnail, 160, 104, 96, 96);
    g_signal_connect_swapped (self->trouble_bar, "response", G_CALLBACK (on_trouble_closed), self);
}
