/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <glib/gi18n.h>
#include <string.h>

#include "gui/gh-rows.h"
#include "gui/gh-util.h"
#include "gui/media/gh-media-page.h"
#include "gui/media/gh-new-disk.h"
#include "gui/media/gh-space.h"

static const char *const formats[] = { "qcow2", "vdi", "vmdk", "vhd", "vhdx", "raw" };

/* One question; lives as long as its dialog. */
struct question {
    struct gh_media_page *p;
    GtkWidget *dialog, *choice, *note;
    char *action, *path;
    guint64 bytes, host_bytes;   /* of the disk; what it takes here */
    const char *formats[G_N_ELEMENTS (formats)];
    GListModel *machines;        /* to choose from */
};

static void question_free (gpointer data)
{
    struct question *q = data;

    g_clear_object (&q->machines);
    g_free (q->action);
    g_free (q->path);
    g_free (q);
}

static guint64 new_bytes (struct question *q)
{ return (guint64) (gtk_spin_button_get_value (GTK_SPIN_BUTTON (q->choice)) * 1024 + 0.5) << 20; }

static guint chosen (struct question *q) { return adw_combo_row_get_selected (ADW_COMBO_ROW (q->choice)); }

static void on_attached (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GtkWidget) window = data;
    struct gh_media_page *p = g_object_get_data (G_OBJECT (window), "page");
    g_autoptr (GError) error = NULL;

    if (gh_engine1_machine_call_add_disk_finish (GH_ENGINE1_MACHINE (source), NULL, result, &error)) {
        if (p)
            gh_media_page_load (p);
        return;
    }
    g_autofree char *text = gh_error_message (error);
    if (p)
        gh_media_say (p, text);
}

static void attach (struct question *q)
{
    g_autoptr (GhMachine) machine = g_list_model_get_item (q->machines, chosen (q));

    if (machine)
        gh_engine1_machine_call_add_disk (gh_machine_get_proxy (machine), q->path, g_variant_new ("a{sv}", NULL), NULL, on_attached, g_object_ref (q->p->window));
}

static void on_answer (AdwMessageDialog *dialog, const char *response, struct question *q)
{
    GVariantDict dict;

    if (!g_str_equal (response, "do"))
        return;
    if (g_str_equal (q->action, "attach")) {
        attach (q);
        return;
    }
    g_variant_dict_init (&dict, NULL);
    if (g_str_equal (q->action, "resize")) {
        g_variant_dict_insert (&dict, "bytes", "t", MAX (new_bytes (q), q->bytes));
    } else if (g_str_equal (q->action, "convert")) {
        g_variant_dict_insert (&dict, "to", "s", q->formats[MIN (chosen (q), G_N_ELEMENTS (formats) - 1)]);
        g_variant_dict_insert (&dict, "replace", "b", TRUE);
    } else if (g_str_equal (q->action, "check")) {
        g_variant_dict_insert (&dict, "repair", "b", TRUE);
    }
    gh_media_run (q->p, q->action, q->path, g_variant_dict_end (&dict));
}

/* extra: rows and a note below the text, or NULL. */
static struct question *question (struct gh_media_page *p, const char *action, const char *path, const char *heading, const char *body, const char *verb)
{
    struct question *q = g_new0 (struct question, 1);

    q->p = p;
    q->action = g_strdup (action);
    q->path = g_strdup (path);
    q->dialog = adw_message_dialog_new (GTK_WINDOW (p->window), heading, body);
    q->note = gh_note_new ();
    adw_message_dialog_add_responses (ADW_MESSAGE_DIALOG (q->dialog), "cancel", _ ("_Cancel"), "do", verb, NULL);
    adw_message_dialog_set_close_response (ADW_MESSAGE_DIALOG (q->dialog), "cancel");
    adw_message_dialog_set_default_response (ADW_MESSAGE_DIALOG (q->dialog), "do");
    adw_message_dialog_set_response_appearance (ADW_MESSAGE_DIALOG (q->dialog), "do", ADW_RESPONSE_SUGGESTED);
    g_object_set_data_full (G_OBJECT (q->dialog), "question", q, question_free);
    g_signal_connect (q->dialog, "response", G_CALLBACK (on_answer), q);
    return q;
}

static AdwPreferencesGroup *add_group (struct question *q)
{
    GtkWidget *box = gtk_box_new (GTK_ORIENTATION_VERTICAL, 12), *group = adw_preferences_group_new ();

    gtk_widget_set_size_request (box, 320, -1);
    gtk_box_append (GTK_BOX (box), group);
    gtk_box_append (GTK_BOX (box), q->note);
    adw_message_dialog_set_extra_child (ADW_MESSAGE_DIALOG (q->dialog), box);
    return ADW_PREFERENCES_GROUP (group);
}

static void on_size (struct question *q)
{
    guint64 bytes = new_bytes (q);
    g_autofree char *outgrows = gh_space_may_outgrow (q->path, bytes, q->host_bytes);

    gh_note_say (q->note, outgrows);
    adw_message_dialog_set_response_enabled (ADW_MESSAGE_DIALOG (q->dialog), "do", bytes > q->bytes);
}

static void ask_size (struct gh_media_page *p, const char *path, json_t *m)
{
    struct question *q = question (p, "resize", path, _ ("Grow the Disk?"), _ ("The disk becomes larger for the machine; the space on this computer is taken as it fills. "
        "The partitions inside keep their size until the system in the machine enlarges them."), _ ("_Grow"));
    AdwPreferencesGroup *group = add_group (q);
    GtkSpinButton *spin;

    q->bytes = (guint64) json_integer_value (json_object_get (m, "bytes"));
    q->host_bytes = (guint64) json_integer_value (json_object_get (m, "host_bytes"));
    g_autofree char *now = gh_format_size (q->bytes), *here = gh_format_size (q->host_bytes);
    g_autofree char *both = g_strdup_printf (_ ("%s for the machine, %s on this computer"), now, here);
    gh_row_new (group, NULL, _ ("Size Now"), both);
    gh_row_add_number (group, _ ("New Size in GiB"), MIN ((double) q->bytes / (1 << 30), 65536), 65536, 1, &spin);
    gtk_spin_button_set_digits (spin, 2);
    gtk_editable_set_width_chars (GTK_EDITABLE (spin), 8); /* all of 65536.00 */
    gtk_spin_button_set_value (spin, (double) q->bytes / (1 << 30));
    q->choice = GTK_WIDGET (spin);
    g_signal_connect_swapped (spin, "value-changed", G_CALLBACK (on_size), q);
    on_size (q);
    gtk_window_present (GTK_WINDOW (q->dialog));
}

static void ask_format (struct gh_media_page *p, const char *path, json_t *m)
{
    struct question *q = question (p, "convert", path, _ ("Convert the Disk?"), _ ("Its machines use the new file; the old one goes to the trash."), _ ("_Convert"));
    g_autoptr (GtkStringList) names = gtk_string_list_new (NULL);
    const char *now = json_string_value (json_object_get (m, "format"));
    AdwPreferencesGroup *group = add_group (q);
    guint n = 0;

    for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
        g_autofree char *upper = g_ascii_strup (formats[i], -1);
        if (!g_strcmp0 (formats[i], now))
            continue;
        q->formats[n++] = formats[i];
        gtk_string_list_append (names, upper);
    }
    q->choice = gh_row_add_choice (group, _ ("New Format"), NULL);
    adw_combo_row_set_model (ADW_COMBO_ROW (q->choice), G_LIST_MODEL (names));
    g_autofree char *space = gh_space_short (path, (guint64) json_integer_value (json_object_get (m, "host_bytes")));
    gh_note_say (q->note, space);
    gtk_window_present (GTK_WINDOW (q->dialog));
}

static void ask_machine (struct gh_media_page *p, const char *path)
{
    struct question *q = question (p, "attach", path, _ ("Use the Disk in a Machine?"), _ ("It is put in beside the disks that the machine has."), _ ("_Use"));
    GListModel *all = gh_connection_get_machines (p->connection);
    g_autoptr (GtkStringList) names = gtk_string_list_new (NULL);
    AdwPreferencesGroup *group = add_group (q);

    q->machines = G_LIST_MODEL (g_list_store_new (GH_TYPE_MACHINE));
    for (guint i = 0; i < g_list_model_get_n_items (all); i++) {
        g_autoptr (GhMachine) machine = g_list_model_get_item (all, i);
        if (gh_machine_is_on (machine))
            continue;
        g_list_store_append (G_LIST_STORE (q->machines), machine);
        gtk_string_list_append (names, gh_machine_get_name (machine));
    }
    q->choice = gh_row_add_choice (group, _ ("Machine"), NULL);
    adw_combo_row_set_model (ADW_COMBO_ROW (q->choice), G_LIST_MODEL (names));
    gboolean none = !g_list_model_get_n_items (q->machines);
    gh_note_say (q->note, none ? _ ("No machine is off. A machine takes another disk when it is off.") : NULL);
    adw_message_dialog_set_response_enabled (ADW_MESSAGE_DIALOG (q->dialog), "do", !none);
    gtk_window_present (GTK_WINDOW (q->dialog));
}

/* ---- Places -------------------------------------------------------------------------------------------------------- */
static void on_place (GtkNativeDialog *dialog, int response, struct gh_media_page *p)
{
    if (response == GTK_RESPONSE_ACCEPT && !g_cancellable_is_cancelled (g_object_get_data (G_OBJECT (dialog), "cancel"))) {
        g_autoptr (GFile) file = gtk_file_chooser_get_file (GTK_FILE_CHOOSER (dialog));
        g_autofree char *target = g_file_get_path (file);
        GVariantDict dict;
        g_variant_dict_init (&dict, NULL);
        g_variant_dict_insert (&dict, "target", "s", target ? target : "");
        gh_media_run (p, g_object_get_data (G_OBJECT (dialog), "action"), g_object_get_data (G_OBJECT (dialog), "path"), g_variant_dict_end (&dict));
    }
    g_object_unref (dialog);
}

static void ask_place (struct gh_media_page *p, const char *action, const char *path)
{
    gboolean move = g_str_equal (action, "move");
    GtkFileChooserNative *chooser = gtk_file_chooser_native_new (move ? _ ("Move to a Folder") : _ ("Where Is It Now?"), GTK_WINDOW (p->window),
        move ? GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER : GTK_FILE_CHOOSER_ACTION_OPEN, NULL, NULL);

    g_object_set_data_full (G_OBJECT (chooser), "path", g_strdup (path), g_free);
    g_object_set_data_full (G_OBJECT (chooser), "action", g_strdup (action), g_free);
    g_object_set_data_full (G_OBJECT (chooser), "cancel", g_object_ref (p->cancel), g_object_unref);
    g_signal_connect (chooser, "response", G_CALLBACK (on_place), p);
    gtk_native_dialog_show (GTK_NATIVE_DIALOG (chooser));
}

static void on_new_disk (gpointer data, const char *path, GVariant *options) { gh_media_run (data, "create", path, options); }
void gh_media_ask_new (struct gh_media_page *p) { gh_new_disk_ask (p->window, gh_connection_get_machines (p->connection), NULL, on_new_disk, p); }

void gh_media_ask_repair (struct gh_media_page *p, const char *path, const char *found)
{
    g_autofree char *base = g_path_get_basename (path), *heading = g_strdup_printf (_ ("“%s” Is Not in Order"), base);
    g_autofree char *body = g_strdup_printf (_ ("%s\n\nRepair changes the disk. If what is on it matters, copy the file first."), found);
    struct question *q = question (p, "check", path, heading, body, _ ("_Repair"));

    adw_message_dialog_set_default_response (ADW_MESSAGE_DIALOG (q->dialog), "cancel");
    gtk_window_present (GTK_WINDOW (q->dialog));
}

void gh_media_ask (struct gh_media_page *p, const char *action, json_t *m)
{
    const char *path = json_string_value (json_object_get (m, "path"));
    struct question *q = NULL;

    if (g_str_equal (action, "resize"))
        ask_size (p, path, m);
    else if (g_str_equal (action, "convert"))
        ask_format (p, path, m);
    else if (g_str_equal (action, "attach"))
        ask_machine (p, path);
    else if (g_str_equal (action, "move") || g_str_equal (action, "relink"))
        ask_place (p, action, path);
    else if (g_str_equal (action, "release"))
        q = question (p, action, path, _ ("Take It out of Its Machines?"), _ ("The file stays on this computer; no machine uses it any more."), _ ("_Release"));
    else if (g_str_equal (action, "accept-parent"))
        q = question (p, action, path, _ ("Use the Changed Disk Below?"), _ ("The disk that this one builds on was changed. If that was a mistake, what is on both no "
            "longer fits together: restore it from a backup instead."), _ ("_Use It"));
    else
        gh_media_run (p, action, path, g_variant_new ("a{sv}", NULL));
    if (q)
        gtk_window_present (GTK_WINDOW (q->dialog));
}
