/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/media/gh-new-disk.h"

#include <adwaita.h>
#include <glib/gi18n.h>
#include <string.h>

#include "gui/gh-rows.h"
#include "gui/gh-util.h"
#include "gui/media/gh-space.h"

static const char *const formats[] = { "qcow2", "vdi", "vmdk", "vhd", "vhdx", "raw" };

struct form {
    GtkWidget *dialog, *name, *format, *machine, *note;
    GtkSpinButton *size;
    GhMachine *only;      /* gets it; or NULL */
    GListModel *machines; /* those that are off: only they can get a disk */
    GWeakRef asker;
    GhNewDiskChosen chosen;
    gpointer data;
};

static void form_free (gpointer data)
{
    struct form *f = data;

    g_weak_ref_clear (&f->asker);
    g_clear_object (&f->only);
    g_object_unref (f->machines);
    g_free (f);
}

static GhMachine *machine_of (struct form *f)
{
    guint i = f->only ? 0 : adw_combo_row_get_selected (ADW_COMBO_ROW (f->machine));
    GhMachine *machine = i ? g_list_model_get_item (f->machines, i - 1) : NULL;

    if (machine)
        g_object_unref (machine); /* the list keeps it */
    return f->only ? f->only : machine;
}

static guint64 bytes_of (struct form *f) { return (guint64) (gtk_spin_button_get_value (f->size) * 1024) << 20; }
static const char *format_of (struct form *f) { return formats[MIN (adw_combo_row_get_selected (ADW_COMBO_ROW (f->format)), G_N_ELEMENTS (formats) - 1)]; }

static char *path_of (struct form *f)
{
    GhMachine *machine = machine_of (f);
    const char *format = format_of (f);
    g_autofree char *leaf = g_strdup_printf ("%s.%s", gtk_editable_get_text (GTK_EDITABLE (f->name)), g_str_equal (format, "raw") ? "img" : format);

    return machine ? g_build_filename (gh_engine1_machine_get_folder (gh_machine_get_proxy (machine)), leaf, NULL)
                   : g_build_filename (g_get_user_data_dir (), "gasthaus", "disks", leaf, NULL);
}

/* What can be known before: whether the name is free, and whether the file can grow that far. */
static void on_changed (struct form *f)
{
    const char *name = gtk_editable_get_text (GTK_EDITABLE (f->name));
    g_autofree char *path = path_of (f), *outgrows = gh_space_may_outgrow (path, bytes_of (f), 0);
    gboolean taken = name[0] && g_file_test (path, G_FILE_TEST_EXISTS), possible = name[0] && name[0] != '.' && !strchr (name, '/');

    gh_note_say (f->note, taken ? _ ("There is a file of this name already. Choose another name.")
                          : name[0] && !possible ? _ ("A name does not begin with a dot and contains no slash.") : outgrows);
    adw_message_dialog_set_response_enabled (ADW_MESSAGE_DIALOG (f->dialog), "create", possible && !taken);
}

static void on_response (AdwMessageDialog *dialog, const char *response, struct form *f)
{
    g_autoptr (GObject) asker = g_weak_ref_get (&f->asker);
    GhMachine *machine = machine_of (f);
    g_autofree char *path = path_of (f);
    GVariantDict dict;

    if (!g_str_equal (response, "create") || !asker)
        return;
    g_variant_dict_init (&dict, NULL);
    g_variant_dict_insert (&dict, "bytes", "t", bytes_of (f));
    g_variant_dict_insert (&dict, "to", "s", format_of (f));
    if (machine)
        g_variant_dict_insert (&dict, "machine", "s", gh_machine_get_uuid (machine));
    f->chosen (f->data, path, g_variant_dict_end (&dict));
}

static void add_machines (struct form *f, AdwPreferencesGroup *group, GListModel *all)
{
    g_autoptr (GtkStringList) names = gtk_string_list_new ((const char *[]){ _ ("None"), NULL });

    for (guint i = 0; i < g_list_model_get_n_items (all); i++) {
        g_autoptr (GhMachine) machine = g_list_model_get_item (all, i);
        if (gh_machine_is_on (machine))
            continue;
        g_list_store_append (G_LIST_STORE (f->machines), machine);
        gtk_string_list_append (names, gh_machine_get_name (machine));
    }
    f->machine = gh_row_add_choice (group, _ ("Machine"), NULL);
    adw_combo_row_set_model (ADW_COMBO_ROW (f->machine), G_LIST_MODEL (names));
    g_signal_connect_swapped (f->machine, "notify::selected", G_CALLBACK (on_changed), f);
}

void gh_new_disk_ask (GtkWidget *asker, GListModel *machines, GhMachine *machine, GhNewDiskChosen chosen, gpointer data)
{
    struct form *f = g_new0 (struct form, 1);
    GtkWidget *group = adw_preferences_group_new (), *box = gtk_box_new (GTK_ORIENTATION_VERTICAL, 12);
    g_autofree char *heading = machine ? g_strdup_printf (_ ("New Disk for “%s”"), gh_machine_get_name (machine)) : g_strdup (_ ("New Disk"));

    *f = (struct form){ .only = machine ? g_object_ref (machine) : NULL, .machines = G_LIST_MODEL (g_list_store_new (GH_TYPE_MACHINE)), .chosen = chosen, .data = data };
    g_weak_ref_init (&f->asker, asker);
    f->dialog = adw_message_dialog_new (GTK_WINDOW (gtk_widget_get_root (asker)), heading, _ ("The space on this computer is taken as the disk fills."));
    f->name = gh_row_add_entry (ADW_PREFERENCES_GROUP (group), _ ("Name"));
    gh_row_add_number (ADW_PREFERENCES_GROUP (group), _ ("Size in GiB"), 0.01, 65536, 1, &f->size);
    gtk_spin_button_set_digits (f->size, 2);
    gtk_editable_set_width_chars (GTK_EDITABLE (f->size), 8); /* all of 65536.00 */
    gtk_spin_button_set_value (f->size, 20);
    f->format = gh_row_add_choice (ADW_PREFERENCES_GROUP (group), _ ("Format"), (const char *[]){ "QCOW2", "VDI", "VMDK", "VHD", "VHDX", "RAW", NULL });
    if (!machine)
        add_machines (f, ADW_PREFERENCES_GROUP (group), machines);
    f->note = gh_note_new ();
    gtk_box_append (GTK_BOX (box), group);
    gtk_box_append (GTK_BOX (box), f->note);
    adw_message_dialog_add_responses (ADW_MESSAGE_DIALOG (f->dialog), "cancel", _ ("_Cancel"), "create", _ ("C_reate"), NULL);
    adw_message_dialog_set_close_response (ADW_MESSAGE_DIALOG (f->dialog), "cancel");
    adw_message_dialog_set_default_response (ADW_MESSAGE_DIALOG (f->dialog), "create");
    adw_message_dialog_set_response_appearance (ADW_MESSAGE_DIALOG (f->dialog), "create", ADW_RESPONSE_SUGGESTED);
    gtk_widget_set_size_request (box, 320, -1);
    adw_message_dialog_set_extra_child (ADW_MESSAGE_DIALOG (f->dialog), box);
    g_object_set_data_full (G_OBJECT (f->dialog), "form", f, form_free);
    g_signal_connect_swapped (f->name, "changed", G_CALLBACK (on_changed), f);
    g_signal_connect_swapped (f->size, "value-changed", G_CALLBACK (on_changed), f);
    g_signal_connect_swapped (f->format, "notify::selected", G_CALLBACK (on_changed), f);
    g_signal_connect (f->dialog, "response", G_CALLBACK (on_response), f);
    on_changed (f);
    gtk_window_present (GTK_WINDOW (f->dialog));
}
