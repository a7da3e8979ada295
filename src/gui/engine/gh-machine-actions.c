/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/engine/gh-machine-actions.h"

#include <glib/gi18n.h>

#include "gui/gh-prefs.h"
#include "gui/gh-util.h"

struct context {
    GtkWidget *widget;
    GhMachine *machine;
    AdwToastOverlay *toasts;
    GSimpleActionGroup *group;
};

static void context_free (gpointer data, GClosure *closure)
{
    struct context *c = data;

    g_object_unref (c->machine);
    g_object_unref (c->toasts);
    g_free (c);
}

static void on_done (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (AdwToastOverlay) toasts = data;
    g_autoptr (GError) error = NULL;
    g_autoptr (GVariant) reply = g_dbus_proxy_call_finish (G_DBUS_PROXY (source), result, &error);

    if (reply)
        return;
    g_autofree char *message = gh_error_message (error);
    adw_toast_overlay_add_toast (toasts, gh_toast_new (message));
}

/* Why a machine does not start is its own trouble, which its pages show. */
static void on_start_done (GObject *source, GAsyncResult *result, gpointer data)
{
    GhEngine1Machine *proxy = GH_ENGINE1_MACHINE (source);
    g_autofree char *id = NULL;
    g_autoptr (GError) error = NULL;
    g_autoptr (AdwToastOverlay) toasts = data;

    if (gh_engine1_machine_call_start_finish (proxy, result, &error))
        return;
    id = gh_error_id (error);
    if (!g_strcmp0 (gh_engine1_machine_get_error_id (proxy), id))
        return;
    g_autofree char *message = gh_error_message (error);
    adw_toast_overlay_add_toast (toasts, gh_toast_new (message));
}

static void call (struct context *c, const char *method, GVariant *parameters)
{
    g_dbus_proxy_call (G_DBUS_PROXY (gh_machine_get_proxy (c->machine)), method, parameters, G_DBUS_CALL_FLAGS_NONE, 60000, NULL,
                       on_done, g_object_ref (c->toasts));
}

static void on_start (GSimpleAction *a, GVariant *p, gpointer data)
{
    struct context *c = data;
    GApplication *app = g_application_get_default ();

    gh_engine1_machine_call_start (gh_machine_get_proxy (c->machine), g_variant_new ("a{sv}", NULL), NULL, on_start_done,
                                   g_object_ref (c->toasts));
    if (gh_prefs_get (GH_PREFS_SHOW_SCREEN))
        g_action_group_activate_action (G_ACTION_GROUP (app), "show-screen", g_variant_new_string (gh_machine_get_uuid (c->machine)));
}

static void on_show (GSimpleAction *a, GVariant *p, gpointer data)
{
    struct context *c = data;

    g_action_group_activate_action (G_ACTION_GROUP (g_application_get_default ()), "show-screen",
                                    g_variant_new_string (gh_machine_get_uuid (c->machine)));
}

static void on_pause (GSimpleAction *a, GVariant *p, gpointer data) { call (data, "Pause", NULL); }
static void on_resume (GSimpleAction *a, GVariant *p, gpointer data) { call (data, "Resume", NULL); }
static void on_shut_down (GSimpleAction *a, GVariant *p, gpointer data) { call (data, "PowerButton", NULL); }

static void on_answer (AdwMessageDialog *dialog, const char *response, gpointer data)
{
    struct context *c = data;

    if (g_str_equal (response, "Delete"))
        call (c, response, g_variant_new ("(b)", TRUE));
    else if (!g_str_equal (response, "cancel"))
        call (c, response, NULL);
}

static void ask (struct context *c, const char *method, const char *title, const char *body, const char *verb)
{
    g_autofree char *heading = g_strdup_printf (title, gh_machine_get_name (c->machine));
    GtkWidget *dialog = adw_message_dialog_new (GTK_WINDOW (gtk_widget_get_root (c->widget)), heading, body);
    struct context *copy = g_new0 (struct context, 1);

    /* The question may outlive the page that asked it: the machine and the toasts go along. */
    *copy = (struct context){ NULL, g_object_ref (c->machine), g_object_ref (c->toasts), NULL };
    adw_message_dialog_add_responses (ADW_MESSAGE_DIALOG (dialog), "cancel", _ ("_Cancel"), method, verb, NULL);
    adw_message_dialog_set_response_appearance (ADW_MESSAGE_DIALOG (dialog), method, ADW_RESPONSE_DESTRUCTIVE);
    adw_message_dialog_set_close_response (ADW_MESSAGE_DIALOG (dialog), "cancel");
    g_signal_connect_data (dialog, "response", G_CALLBACK (on_answer), copy, context_free, 0);
    gtk_window_present (GTK_WINDOW (dialog));
}

static void on_reset (GSimpleAction *a, GVariant *p, gpointer data)
{
    ask (data, "Reset", _ ("Reset “%s”?"), _ ("The machine restarts at once, as with its reset button. What is not saved inside it is lost."),
         _ ("_Reset"));
}

static void on_force_off (GSimpleAction *a, GVariant *p, gpointer data)
{
    ask (data, "Stop", _ ("Force “%s” Off?"), _ ("This is like pulling the plug: what is not saved inside the machine is lost."),
         _ ("_Force Off"));
}

static void on_delete (GSimpleAction *a, GVariant *p, gpointer data)
{
    ask (data, "Delete", _ ("Delete “%s”?"), _ ("The machine and its disks are removed from this computer. This cannot be undone. CD images stay."),
         _ ("_Delete"));
}

static void on_export_place (GtkNativeDialog *dialog, int response, gpointer data)
{
    struct context *c = data;

    if (response == GTK_RESPONSE_ACCEPT) {
        g_autoptr (GFile) file = gtk_file_chooser_get_file (GTK_FILE_CHOOSER (dialog));
        g_autofree char *path = g_file_get_path (file);
        GVariantDict options;
        g_variant_dict_init (&options, NULL);
        g_variant_dict_insert (&options, "force", "b", TRUE); /* the chooser asked already */
        if (path)
            call (c, "Export", g_variant_new ("(s@a{sv})", path, g_variant_dict_end (&options)));
        else
            g_variant_dict_clear (&options);
    }
    g_object_unref (dialog);
}

static void on_export (GSimpleAction *a, GVariant *p, gpointer data)
{
    struct context *c = data, *copy = g_new0 (struct context, 1);
    g_autofree char *name = g_strdup_printf ("%s.ova", gh_machine_get_name (c->machine));
    GtkFileChooserNative *chooser = gtk_file_chooser_native_new (_ ("Export as an Appliance"), GTK_WINDOW (gtk_widget_get_root (c->widget)),
                                                                 GTK_FILE_CHOOSER_ACTION_SAVE, _ ("_Export"), NULL);

    *copy = (struct context){ NULL, g_object_ref (c->machine), g_object_ref (c->toasts), NULL };
    gtk_file_chooser_set_current_name (GTK_FILE_CHOOSER (chooser), name);
    g_signal_connect_data (chooser, "response", G_CALLBACK (on_export_place), copy, context_free, 0);
    gtk_native_dialog_show (GTK_NATIVE_DIALOG (chooser));
}

static void enable (struct context *c, const char *name, gboolean enabled)
{
    GAction *action = g_action_map_lookup_action (G_ACTION_MAP (c->group), name);

    g_simple_action_set_enabled (G_SIMPLE_ACTION (action), enabled);
}

static void update (GhMachine *machine, gpointer data)
{
    struct context *c = data;
    const char *state = gh_machine_get_state (machine);
    gboolean on = gh_machine_is_on (machine), running = g_str_equal (state, "running"), paused = g_str_equal (state, "paused");

    enable (c, "start", !on && !g_str_equal (state, "inaccessible"));
    enable (c, "show", on);
    enable (c, "pause", running);
    enable (c, "resume", paused);
    enable (c, "shut-down", running);
    enable (c, "reset", running || paused);
    enable (c, "force-off", on);
    enable (c, "delete", !on);
    enable (c, "export", !on);
}

void gh_machine_actions_install (GtkWidget *widget, GhMachine *machine, AdwToastOverlay *toasts)
{
    static const GActionEntry entries[] = {
        { "start", on_start }, { "show", on_show }, { "pause", on_pause }, { "resume", on_resume }, { "shut-down", on_shut_down },
        { "reset", on_reset }, { "force-off", on_force_off }, { "delete", on_delete }, { "export", on_export },
    };
    g_autoptr (GSimpleActionGroup) group = g_simple_action_group_new ();
    struct context *c = g_new0 (struct context, 1);

    *c = (struct context){ widget, g_object_ref (machine), g_object_ref (toasts), group };
    g_action_map_add_action_entries (G_ACTION_MAP (group), entries, G_N_ELEMENTS (entries), c);
    gtk_widget_insert_action_group (widget, "machine", G_ACTION_GROUP (group));
    /* The group is the key of the handler: it ends with the group, and frees the context after it. */
    GClosure *closure = g_cclosure_new (G_CALLBACK (update), c, context_free);
    g_object_watch_closure (G_OBJECT (group), closure);
    g_signal_connect_closure (machine, "changed", closure, FALSE);
    update (machine, c);
}
