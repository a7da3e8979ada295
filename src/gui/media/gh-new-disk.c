/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/media/gh-new-disk.h"

#include <adwaita.h>
#include <glib/gi18n.h>
#include <string.h>

#include "gui/gh-rows.h"
#include "gui/gh-util.h"

static const char *const formats[] = { "qcow2", "vdi", "vmdk", "vhd", "vhdx", "raw" };

struct form {
    GtkWidget *dialog, *name, *format, *machine;
    GtkSpinButton *size;
    GListModel *machines; /* those that are off: only they can get a disk */
    GhNewDiskChosen chosen;
    gpointer data;
};

static void form_free (gpointer data)
{
    struct form *f = data;

    g_object_unref (f->machines);
    g_free (f);
}

static GhMachine *machine_of (struct form *f)
{
    guint i = adw_combo_row_get_selected (ADW_COMBO_ROW (f->machine));
    GhMachine *machine = i ? g_list_model_get_item (f->machines, i - 1) : NULL;

    if (machine)
        g_object_unref (machine); /* the list keeps it */
    return machine;
}

static void on_changed (struct form *f)
{
    const char *name = gtk_editable_get_text (GTK_EDITABLE (f->name));

    adw_message_dialog_set_response_enabled (ADW_MESSAGE_DIALOG (f->dialog), "create", name[0] && name[0] != '.' && !strchr (name, '/'));
}

static void on_response (AdwMessageDialog *dialog, const char *response, struct form *f)
{
    GhMachine *machine = machine_of (f);
    const char *format = formats[MIN (adw_combo_row_get_selected (ADW_COMBO_ROW (f->format)), G_N_ELEMENTS (formats) - 1)];
    g_autofree char *leaf = g_strdup_printf ("%s.%s", gtk_editable_get_text (GTK_EDITABLE (f->name)), g_str_equal (format, "raw") ? "img" : format);
    g_autofree char *path = machine ? g_build_filename (gh_engine1_machine_get_folder (gh_machine_get_proxy (machine)), leaf, NULL)
                                    : g_build_filename (g_get_user_data_dir (), "gasthaus", "disks", leaf, NULL);
    GVariantDict dict;

    if (!g_str_equal (response, "create"))
        return;
    g_variant_dict_init (&dict, NULL);
    g_variant_dict_insert (&dict, "bytes", "t", (guint64) (gtk_spin_button_get_value (f->size) * 1024) << 20);
    g_variant_dict_insert (&dict, "to", "s", format);
    if (machine)
        g_variant_dict_insert (&dict, "machine", "s", gh_machine_get_uuid (machine));
    f->chosen (f->data, path, g_variant_dict_end (&dict));
}

void gh_new_disk_ask (GtkWindow *parent, GhConnection *connection, GhNewDiskChosen chosen, gpointer data)
{
    struct form *f = g_new0 (struct form, 1);
    GListModel *all = gh_connection_get_machines (connection);
    GtkWidget *group = adw_preferences_group_new ();
    g_autoptr (GtkStringList) names = gtk_string_list_new ((const char *[]){ _ ("None"), NULL });
    GListStore *off = g_list_store_new (GH_TYPE_MACHINE);

    for (guint i = 0; i < g_list_model_get_n_items (all); i++) {
        g_autoptr (GhMachine) machine = g_list_model_get_item (all, i);
        if (gh_machine_is_on (machine))
            continue;
        g_list_store_append (off, machine);
        gtk_string_list_append (names, gh_machine_get_name (machine));
    }
    f->machines = G_LIST_MODEL (off);
    f->chosen = chosen;
    f->data = data;
    f->dialog = adw_message_dialog_new (parent, _ ("New Disk"), _ ("The space on this computer is taken as the disk fills."));
    f->name = gh_row_add_entry (ADW_PREFERENCES_GROUP (group), _ ("Name"));
    gh_row_add_number (ADW_PREFERENCES_GROUP (group), _ ("Size in GiB"), 0.01, 65536, 1, &f->size);
    gtk_spin_button_set_digits (f->size, 2);
    gtk_spin_button_set_value (f->size, 20);
    f->format = gh_row_add_choice (ADW_PREFERENCES_GROUP (group), _ ("Format"), (const char *[]){ "QCOW2", "VDI", "VMDK", "VHD", "VHDX", "RAW", NULL });
    f->machine = gh_row_add_choice (ADW_PREFERENCES_GROUP (group), _ ("Machine"), NULL);
    adw_combo_row_set_model (ADW_COMBO_ROW (f->machine), G_LIST_MODEL (names));
    adw_message_dialog_add_responses (ADW_MESSAGE_DIALOG (f->dialog), "cancel", _ ("_Cancel"), "create", _ ("C_reate"), NULL);
    adw_message_dialog_set_close_response (ADW_MESSAGE_DIALOG (f->dialog), "cancel");
    adw_message_dialog_set_default_response (ADW_MESSAGE_DIALOG (f->dialog), "create");
    adw_message_dialog_set_response_appearance (ADW_MESSAGE_DIALOG (f->dialog), "create", ADW_RESPONSE_SUGGESTED);
    gtk_widget_set_size_request (group, 380, -1);
    adw_message_dialog_set_extra_child (ADW_MESSAGE_DIALOG (f->dialog), group);
    g_object_set_data_full (G_OBJECT (f->dialog), "form", f, form_free);
    g_signal_connect_swapped (f->name, "changed", G_CALLBACK (on_changed), f);
    g_signal_connect (f->dialog, "response", G_CALLBACK (on_response), f);
    on_changed (f);
    gtk_window_present (GTK_WINDOW (f->dialog));
}
