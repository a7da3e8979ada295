/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/gh-util.h"

#include <gio/gio.h>
#include <string.h>

#include "gui/engine/gh-message.h"

#define SCREEN_MARGIN 60 /* for a panel and a frame */

char *gh_error_id (const GError *error)
{
    static const char prefix[] = "org.gasthaus.Error.";
    g_autofree char *name = g_dbus_error_is_remote_error (error) ? g_dbus_error_get_remote_error (error) : NULL;

    return g_strdup (name && g_str_has_prefix (name, prefix) ? name + strlen (prefix) : "Failed");
}

char *gh_error_message (const GError *error)
{
    g_autoptr (GError) copy = g_error_copy (error);
    g_autofree char *id = gh_error_id (error);

    g_dbus_error_strip_remote_error (copy);
    return g_strdup_printf ("%s [%s]", copy->message, id);
}

char *gh_job_error (GhEngine1Job *job)
{
    g_autofree char *sentence = gh_message_localize (gh_engine1_job_get_error_message (job), gh_engine1_job_get_error_text (job));

    return g_strdup_printf ("%s [%s]", sentence, gh_engine1_job_get_error_id (job));
}

char *gh_job_notes (GhEngine1Job *job)
{
    GVariant *notes = gh_engine1_job_get_notes (job);
    g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);

    for (gsize i = 0; notes && i < g_variant_n_children (notes); i++) {
        const char *id, *text;
        g_autoptr (GVariant) parts = NULL;
        g_variant_get_child (notes, i, "(&s&s@aas)", &id, &text, &parts);
        g_autofree char *said = gh_message_localize (parts, text);
        g_ptr_array_add (lines, g_strdup_printf ("%s [%s]", said, id));
    }
    if (!lines->len)
        return NULL;
    g_ptr_array_add (lines, NULL);
    return g_strjoinv ("\n", (char **) lines->pdata);
}

char *gh_format_size (guint64 bytes) { return g_format_size_full (bytes, G_FORMAT_SIZE_IEC_UNITS); }

char *gh_format_path (const char *path)
{
    const char *home = g_get_home_dir ();
    gsize n = strlen (home);

    if (n > 1 && g_str_has_prefix (path, home) && (path[n] == '/' || !path[n]))
        return g_strconcat ("~", path + n, NULL);
    return g_strdup (path);
}

void gh_set_label (GtkWidget *widget, const char *label)
{ gtk_accessible_update_property (GTK_ACCESSIBLE (widget), GTK_ACCESSIBLE_PROPERTY_LABEL, label, -1); }

AdwToast *gh_toast_new (const char *text)
{
    AdwToast *toast = adw_toast_new ("");
    GtkWidget *label = gtk_label_new (text);

    gtk_label_set_wrap (GTK_LABEL (label), TRUE);
    gtk_label_set_wrap_mode (GTK_LABEL (label), PANGO_WRAP_WORD_CHAR);
    gtk_label_set_max_width_chars (GTK_LABEL (label), 60);
    gtk_label_set_lines (GTK_LABEL (label), 6);
    gtk_label_set_ellipsize (GTK_LABEL (label), PANGO_ELLIPSIZE_END);
    gtk_label_set_xalign (GTK_LABEL (label), 0);
    gtk_widget_add_css_class (label, "heading");
    adw_toast_set_custom_title (toast, label);
    if (strlen (text) > 80)
        adw_toast_set_timeout (toast, 12); /* seconds; it takes longer to read */
    return toast;
}

void gh_toast (GtkWidget *widget, const char *text)
{
    GtkWidget *overlay = gtk_widget_get_ancestor (widget, ADW_TYPE_TOAST_OVERLAY);

    if (overlay)
        adw_toast_overlay_add_toast (ADW_TOAST_OVERLAY (overlay), gh_toast_new (text));
}

void gh_toast_error (GtkWidget *widget, const GError *error)
{
    g_autofree char *message = gh_error_message (error);

    gh_toast (widget, message);
}

GtkWidget *gh_note_new (void)
{
    GtkWidget *box = gtk_box_new (GTK_ORIENTATION_HORIZONTAL, 8), *icon = gtk_image_new_from_icon_name ("dialog-warning-symbolic"), *label = gtk_label_new ("");

    gtk_widget_set_valign (icon, GTK_ALIGN_START);
    gtk_label_set_wrap (GTK_LABEL (label), TRUE);
    gtk_label_set_wrap_mode (GTK_LABEL (label), PANGO_WRAP_WORD_CHAR);
    gtk_label_set_max_width_chars (GTK_LABEL (label), 40);
    gtk_label_set_xalign (GTK_LABEL (label), 0);
    gtk_widget_set_hexpand (label, TRUE);
    gtk_widget_add_css_class (box, "warning");
    gtk_box_append (GTK_BOX (box), icon);
    gtk_box_append (GTK_BOX (box), label);
    gtk_widget_set_visible (box, FALSE);
    return box;
}

void gh_note_say (GtkWidget *note, const char *text)
{
    gtk_label_set_text (GTK_LABEL (gtk_widget_get_last_child (note)), text ? text : "");
    gtk_widget_set_visible (note, text != NULL);
}

void gh_fit_screen (GtkWindow *window)
{
    GListModel *monitors = gdk_display_get_monitors (gtk_widget_get_display (GTK_WIDGET (window)));
    int width, height;

    gtk_window_get_default_size (window, &width, &height);
    for (guint i = 0; i < g_list_model_get_n_items (monitors); i++) {
        g_autoptr (GdkMonitor) monitor = g_list_model_get_item (monitors, i);
        GdkRectangle room;
        gdk_monitor_get_geometry (monitor, &room);
        if (room.width > 2 * SCREEN_MARGIN && room.height > 2 * SCREEN_MARGIN) {
            width = MIN (width, room.width - SCREEN_MARGIN);
            height = MIN (height, room.height - SCREEN_MARGIN);
        }
    }
    gtk_window_set_default_size (window, width, height);
}

void gh_close_on_escape (GtkWidget *window)
{
    GtkEventController *shortcuts = gtk_shortcut_controller_new ();

    gtk_shortcut_controller_add_shortcut (GTK_SHORTCUT_CONTROLLER (shortcuts), gtk_shortcut_new (gtk_keyval_trigger_new (GDK_KEY_Escape, 0),
                                                                                                  gtk_named_action_new ("window.close")));
    gtk_widget_add_controller (window, shortcuts);
}

void gh_tell_text (GtkWidget *row, const char *text)
{
    const char *told = g_object_get_data (G_OBJECT (row), "told"), *now = gtk_editable_get_text (GTK_EDITABLE (row));

    if ((!told || g_str_equal (now, told)) && !g_str_equal (now, text))
        gtk_editable_set_text (GTK_EDITABLE (row), text);
    if (g_str_equal (gtk_editable_get_text (GTK_EDITABLE (row)), text))
        g_object_set_data_full (G_OBJECT (row), "told", g_strdup (text), g_free);
}
