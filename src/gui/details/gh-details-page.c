/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-details-page.h"

#include <glib/gi18n.h>

#include "gui/gh-util.h"

struct _GhDetailsPage {
    GtkBox parent_instance;
    GhMachine *machine;
    GtkRevealer *trouble;
    GtkInfoBar *trouble_bar;
    GtkLabel *trouble_text, *name, *subtitle;
    GtkImage *icon;
    GtkWidget *start, *show, *pause, *resume;
    AdwActionRow *memory, *cpus, *accel, *folder;
    AdwPreferencesGroup *disks, *networks;
    GPtrArray *rows; /* of disks and networks: made anew when these change */
    GVariant *shown_disks, *shown_networks;
};

G_DEFINE_FINAL_TYPE (GhDetailsPage, gh_details_page, GTK_TYPE_BOX)

static void add_row (GhDetailsPage *self, AdwPreferencesGroup *group, const char *icon, const char *title, const char *subtitle)
{
    GtkWidget *row = adw_action_row_new ();

    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (row), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    adw_action_row_set_subtitle (ADW_ACTION_ROW (row), subtitle);
    adw_action_row_set_subtitle_lines (ADW_ACTION_ROW (row), 2);
    adw_action_row_set_icon_name (ADW_ACTION_ROW (row), icon);
    gtk_widget_set_tooltip_text (row, subtitle);
    adw_preferences_group_add (group, row);
    g_ptr_array_add (self->rows, row);
}

static void fill_disks (GhDetailsPage *self, GVariant *disks)
{
    GVariantIter iter;
    GVariant *disk;
    guint n = 0;

    g_variant_iter_init (&iter, disks);
    while ((disk = g_variant_iter_next_value (&iter))) {
        const char *kind = "", *file = "", *format = "";
        guint64 bytes = 0;
        gboolean present = TRUE, is_disk;
        g_variant_lookup (disk, "kind", "&s", &kind);
        g_variant_lookup (disk, "file", "&s", &file);
        g_variant_lookup (disk, "format", "&s", &format);
        g_variant_lookup (disk, "host-bytes", "t", &bytes);
        g_variant_lookup (disk, "present", "b", &present);
        is_disk = g_str_equal (kind, "disk");
        const char *title = is_disk ? _ ("Disk") : g_str_equal (kind, "cdrom") ? _ ("CD Drive") : _ ("Floppy Drive");
        g_autofree char *base = file[0] ? g_path_get_basename (file) : NULL;
        g_autofree char *size = gh_format_size (bytes);
        g_autofree char *text = !base                ? g_strdup (_ ("No medium"))
                                : !present           ? g_strdup_printf (_ ("%s is missing"), base)
                                : is_disk            ? g_strdup_printf (_ ("%s, %s on this computer"), base, size)
                                                     : g_strdup (base);
        add_row (self, self->disks, is_disk ? "drive-harddisk-symbolic" : "media-optical-symbolic", title, text);
        g_variant_unref (disk);
        n++;
    }
    if (!n)
        add_row (self, self->disks, NULL, _ ("None"), "");
}

static void fill_networks (GhDetailsPage *self, GVariant *networks)
{
    GVariantIter iter;
    GVariant *net;
    guint n = 0;

    g_variant_iter_init (&iter, networks);
    while ((net = g_variant_iter_next_value (&iter))) {
        const char *adapter = "", *mode = "", *mac = "";
        g_variant_lookup (net, "adapter", "&s", &adapter);
        g_variant_lookup (net, "mode", "&s", &mode);
        g_variant_lookup (net, "mac", "&s", &mac);
        g_autofree char *text = g_strdup_printf ("%s · %s · %s", adapter, mode, mac);
        add_row (self, self->networks, "network-wired-symbolic", _ ("Network Card"), text);
        g_variant_unref (net);
        n++;
    }
    if (!n)
        add_row (self, self->networks, "network-offline-symbolic", _ ("Not Connected"), _ ("This machine has no network card."));
}

static gboolean same (GVariant *a, GVariant *b) { return a == b || (a && b && g_variant_equal (a, b)); }

static void refresh_lists (GhDetailsPage *self, GhEngine1Machine *proxy)
{
    GVariant *disks = gh_engine1_machine_get_disks (proxy), *networks = gh_engine1_machine_get_networks (proxy);

    if (!disks || !networks || (same (disks, self->shown_disks) && same (networks, self->shown_networks)))
        return;
    for (guint i = 0; i < self->rows->len; i++) {
        GtkWidget *row = g_ptr_array_index (self->rows, i);
        AdwPreferencesGroup *group = gtk_widget_is_ancestor (row, GTK_WIDGET (self->disks)) ? self->disks : self->networks;
        adw_preferences_group_remove (group, row);
    }
    g_ptr_array_set_size (self->rows, 0);
    fill_disks (self, disks);
    fill_networks (self, networks);
    g_clear_pointer (&self->shown_disks, g_variant_unref);
    g_clear_pointer (&self->shown_networks, g_variant_unref);
    self->shown_disks = g_variant_ref (disks);
    self->shown_networks = g_variant_ref (networks);
}

static void refresh_trouble (GhDetailsPage *self, GhEngine1Machine *proxy)
{
    const char *id = gh_engine1_machine_get_error_id (proxy), *text = gh_engine1_machine_get_error_text (proxy);
    gboolean any = id && id[0];

    if (any) {
        g_autofree char *shown = g_strdup_printf ("%s [%s]", text ? text : "", id);
        gtk_label_set_text (self->trouble_text, shown);
    }
    gtk_revealer_set_reveal_child (self->trouble, any);
    gtk_widget_set_visible (GTK_WIDGET (self->trouble), any);
}

static void refresh (GhDetailsPage *self)
{
    GhEngine1Machine *proxy = gh_machine_get_proxy (self->machine);
    const char *os = gh_engine1_machine_get_os_name (proxy), *on_what = gh_engine1_machine_get_running_on (proxy);
    const char *why = gh_engine1_machine_get_running_why (proxy), *accel = gh_engine1_machine_get_accelerator (proxy);
    gboolean on = gh_machine_is_on (self->machine), paused = g_str_equal (gh_machine_get_state (self->machine), "paused");
    g_autofree char *memory = gh_format_size (gh_engine1_machine_get_memory_bytes (proxy));
    g_autofree char *cpus = g_strdup_printf ("%u", gh_engine1_machine_get_cpus (proxy));
    g_autofree char *subtitle = g_strdup_printf ("%s · %s", os && os[0] ? os : _ ("Unknown system"), gh_machine_get_state_text (self->machine));

    gtk_label_set_text (self->name, gh_machine_get_name (self->machine));
    gtk_label_set_text (self->subtitle, subtitle);
    gtk_image_set_from_icon_name (self->icon, gh_machine_get_os_icon (self->machine));
    adw_action_row_set_subtitle (self->memory, memory);
    adw_action_row_set_subtitle (self->cpus, cpus);
    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (self->accel), FALSE);
    g_autofree char *chosen = on_what && on_what[0] ? g_strdup_printf ("%s — %s", on_what, why ? why : "")
                              : !g_strcmp0 (accel, "auto") ? g_strdup (_ ("Chosen at the start")) : g_strdup (accel ? accel : "");
    adw_action_row_set_subtitle (self->accel, chosen);
    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (self->folder), FALSE);
    adw_action_row_set_subtitle (self->folder, gh_engine1_machine_get_folder (proxy));
    gtk_widget_set_visible (self->start, !on);
    gtk_widget_set_visible (self->show, on);
    gtk_widget_set_visible (self->pause, on && !paused);
    gtk_widget_set_visible (self->resume, paused);
    refresh_lists (self, proxy);
    refresh_trouble (self, proxy);
}

static void on_trouble_closed (GhDetailsPage *self)
{
    if (self->machine)
        gh_engine1_machine_call_clear_error (gh_machine_get_proxy (self->machine), NULL, NULL, NULL);
}

void gh_details_page_set_machine (GhDetailsPage *self, GhMachine *machine)
{
    if (self->machine)
        g_signal_handlers_disconnect_by_data (self->machine, self);
    g_set_object (&self->machine, machine);
    if (!machine)
        return;
    g_signal_connect_object (machine, "changed", G_CALLBACK (refresh), self, G_CONNECT_SWAPPED);
    refresh (self);
}

static void gh_details_page_dispose (GObject *object)
{
    GhDetailsPage *self = GH_DETAILS_PAGE (object);

    gh_details_page_set_machine (self, NULL);
    g_clear_pointer (&self->rows, g_ptr_array_unref);
    g_clear_pointer (&self->shown_disks, g_variant_unref);
    g_clear_pointer (&self->shown_networks, g_variant_unref);
    G_OBJECT_CLASS (gh_details_page_parent_class)->dispose (object);
}

static void gh_details_page_class_init (GhDetailsPageClass *klass)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS (klass);

    G_OBJECT_CLASS (klass)->dispose = gh_details_page_dispose;
    gtk_widget_class_set_template_from_resource (widget, "/org/gasthaus/Gasthaus/details/gh-details-page.ui");
#define CHILD(name) gtk_widget_class_bind_template_child (widget, GhDetailsPage, name)
    CHILD (trouble);
    CHILD (trouble_bar);
    CHILD (trouble_text);
    CHILD (name);
    CHILD (subtitle);
    CHILD (icon);
    CHILD (start);
    CHILD (show);
    CHILD (pause);
    CHILD (resume);
    CHILD (memory);
    CHILD (cpus);
    CHILD (accel);
    CHILD (folder);
    CHILD (disks);
    CHILD (networks);
#undef CHILD
}

static void gh_details_page_init (GhDetailsPage *self)
{
    gtk_widget_init_template (GTK_WIDGET (self));
    self->rows = g_ptr_array_new ();
    g_signal_connect_swapped (self->trouble_bar, "response", G_CALLBACK (on_trouble_closed), self);
}
