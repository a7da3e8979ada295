/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <glib/gi18n.h>

#include "gui/gh-util.h"
#include "gui/media/gh-media-page.h"

static gboolean is_disk (json_t *m) { return !g_strcmp0 (json_string_value (json_object_get (m, "kind")), "disk"); }
static gboolean is_present (json_t *m) { return json_is_true (json_object_get (m, "present")); }

static gboolean is_running (json_t *m)
{
    json_t *u;
    size_t i;

    json_array_foreach (json_object_get (m, "users"), i, u)
        if (json_is_true (json_object_get (u, "running")))
            return TRUE;
    return FALSE;
}

static char *names_of (json_t *m)
{
    GString *s = g_string_new (NULL);
    json_t *u;
    size_t i;

    json_array_foreach (json_object_get (m, "users"), i, u)
        g_string_append_printf (s, "%s%s", i ? ", " : "", json_string_value (json_object_get (u, "name")));
    return g_string_free (s, FALSE);
}

static char *base_of (json_t *path) { return g_path_get_basename (json_string_value (path)); }

int gh_media_compare (json_t *a, json_t *b)
{
    g_autofree char *machine_a = names_of (a), *machine_b = names_of (b), *base_a = base_of (json_object_get (a, "path")), *base_b = base_of (json_object_get (b, "path"));
    int order = (machine_a[0] == 0) - (machine_b[0] == 0); /* what no machine uses comes last */

    if (!order)
        order = g_utf8_collate (machine_a, machine_b);
    return order ? order : g_utf8_collate (base_a, base_b);
}

/* Most machines' disks have the same name. */
static char *title_of (json_t *m)
{
    g_autofree char *base = base_of (json_object_get (m, "path")), *users = names_of (m);

    return is_disk (m) && users[0] ? g_strdup_printf ("%s: %s", users, base) : g_steal_pointer (&base);
}

static char *subtitle_of (json_t *m)
{
    g_autofree char *host = gh_format_size ((guint64) json_integer_value (json_object_get (m, "host_bytes"))), *names = names_of (m);
    g_autofree char *bytes = gh_format_size ((guint64) json_integer_value (json_object_get (m, "bytes")));
    json_t *chain = json_object_get (m, "chain");
    GString *s = g_string_new (NULL);

    if (!is_disk (m))
        g_string_append_printf (s, "%s — ", names[0] ? names : _ ("Used by no machine"));
    if (!is_present (m))
        g_string_append (s, _ ("The file is missing"));
    else if (is_disk (m) && json_integer_value (json_object_get (m, "bytes")))
        g_string_append_printf (s, _ ("%s on this computer, %s for the machine"), host, bytes);
    else
        g_string_append_printf (s, _ ("%s on this computer"), host);
    if (json_array_size (chain)) {
        g_autofree char *below = base_of (json_array_get (chain, 0));
        g_string_append (s, " — ");
        g_string_append_printf (s, _ ("builds on %s"), below);
    }
    if (json_array_size (json_object_get (m, "parent_of"))) {
        g_string_append (s, " — ");
        g_string_append (s, _ ("other disks build on it"));
    } else if (is_disk (m) && !names[0]) {
        g_string_append (s, " — ");
        g_string_append (s, _ ("used by no machine"));
    }
    return g_string_free (s, FALSE);
}

/* ---- Rows inside ------------------------------------------------------------------------------------------------- */
static void add_text (GtkWidget *row, const char *title, const char *text)
{
    GtkWidget *line = adw_action_row_new (); /* of an expander, which is no group */

    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (line), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (line), title);
    adw_action_row_set_subtitle (ADW_ACTION_ROW (line), text);
    adw_action_row_set_subtitle_lines (ADW_ACTION_ROW (line), 0);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (row), line);
}

static void add_paths (GtkWidget *row, const char *title, json_t *paths)
{
    GString *s = g_string_new (NULL);
    json_t *path;
    size_t i;

    json_array_foreach (paths, i, path) {
        g_autofree char *shown = gh_format_path (json_string_value (path));
        g_string_append_printf (s, "%s%s", i ? "\n" : "", shown);
    }
    if (s->len)
        add_text (row, title, s->str);
    g_string_free (s, TRUE);
}

static void add_users (GtkWidget *row, json_t *users)
{
    GString *s = g_string_new (NULL);
    json_t *u;
    size_t i;

    json_array_foreach (users, i, u)
        g_string_append_printf (s, "%s%s (%s)", i ? ", " : "", json_string_value (json_object_get (u, "name")), json_string_value (json_object_get (u, "drive")));
    if (s->len)
        add_text (row, _ ("Used By"), s->str);
    g_string_free (s, TRUE);
}

static void add_facts (GtkWidget *row, json_t *m)
{
    const char *format = json_string_value (json_object_get (m, "format")), *variant = json_string_value (json_object_get (m, "variant"));
    const char *error = json_string_value (json_object_get (json_object_get (m, "error"), "text"));
    const char *id = json_string_value (json_object_get (json_object_get (m, "error"), "id"));
    g_autofree char *path = gh_format_path (json_string_value (json_object_get (m, "path")));

    add_text (row, _ ("File"), path);
    if (format && format[0]) {
        g_autofree char *upper = g_ascii_strup (format, -1), *both = variant && variant[0] ? g_strdup_printf ("%s, %s", upper, variant) : NULL;
        add_text (row, _ ("Format"), both ? both : upper);
    }
    add_users (row, json_object_get (m, "users"));
    add_paths (row, _ ("Builds On"), json_object_get (m, "chain"));
    add_paths (row, _ ("Needed By"), json_object_get (m, "parent_of"));
    if (error) {
        g_autofree char *text = g_strdup_printf ("%s [%s]", error, id ? id : "");
        add_text (row, _ ("Trouble"), text);
    }
    if (is_running (m))
        add_text (row, _ ("In Use"), _ ("Its machine is on. It can be changed when the machine is off."));
}

/* ---- What can be done ---------------------------------------------------------------------------------------------- */
struct button { struct gh_media_page *p; json_t *medium; const char *action; };

static void button_free (gpointer data, GClosure *closure)
{
    struct button *b = data;

    json_decref (b->medium);
    g_free (b);
}

static void on_action (GtkButton *button, struct button *b) { gh_media_ask (b->p, b->action, b->medium); }

static void add_button (struct gh_media_page *p, GtkWidget *box, const char *action, const char *label, json_t *m, gboolean possible)
{
    GtkWidget *button = gtk_button_new_with_mnemonic (label);
    struct button *b = g_new0 (struct button, 1);

    *b = (struct button){ p, json_incref (m), action };
    gtk_widget_set_sensitive (button, possible);
    g_signal_connect_data (button, "clicked", G_CALLBACK (on_action), b, button_free, 0);
    gtk_flow_box_append (GTK_FLOW_BOX (box), button);
    gtk_widget_set_focusable (gtk_widget_get_parent (button), FALSE); /* the place around it is not another stop for the keyboard */
}

static GtkWidget *make_buttons (struct gh_media_page *p, json_t *m)
{
    GtkWidget *buttons = gtk_flow_box_new ();
    gboolean present = is_present (m), off = !is_running (m), parent = json_array_size (json_object_get (m, "parent_of")) > 0;
    gboolean child = json_is_true (json_object_get (m, "needs_parent")), used = json_array_size (json_object_get (m, "users")) > 0;

    gtk_flow_box_set_selection_mode (GTK_FLOW_BOX (buttons), GTK_SELECTION_NONE);
    gtk_flow_box_set_homogeneous (GTK_FLOW_BOX (buttons), TRUE);
    gtk_flow_box_set_column_spacing (GTK_FLOW_BOX (buttons), 6);
    gtk_flow_box_set_row_spacing (GTK_FLOW_BOX (buttons), 6);
    gtk_widget_set_margin_top (buttons, 10);
    gtk_widget_set_margin_bottom (buttons, 10);
    gtk_widget_set_margin_start (buttons, 10);
    gtk_widget_set_margin_end (buttons, 10);
    if (is_disk (m) && present) {
        add_button (p, buttons, "resize", _ ("_Grow…"), m, off && !parent);
        add_button (p, buttons, "compact", _ ("_Compact"), m, off && !parent && !child);
        add_button (p, buttons, "check", _ ("C_heck"), m, off);
        add_button (p, buttons, "convert", _ ("Con_vert…"), m, off && !parent);
    }
    if (!g_strcmp0 (json_string_value (json_object_get (json_object_get (m, "error"), "id")), "DiskParentChanged"))
        add_button (p, buttons, "accept-parent", _ ("_Accept Below…"), m, off);
    if (present)
        add_button (p, buttons, "move", _ ("_Move…"), m, off && !parent && !child);
    else
        add_button (p, buttons, "relink", _ ("_Find…"), m, off);
    if (used) {
        add_button (p, buttons, "release", _ ("_Release…"), m, off);
    } else if (present && !parent) {
        if (is_disk (m))
            add_button (p, buttons, "attach", _ ("_Use…"), m, TRUE);
        add_button (p, buttons, "delete", _ ("_Delete"), m, TRUE);
    }
    gtk_flow_box_set_max_children_per_line (GTK_FLOW_BOX (buttons), gtk_flow_box_get_child_at_index (GTK_FLOW_BOX (buttons), 6) ? 4 : 3); /* two even lines */
    return buttons;
}

static void on_expanded (AdwExpanderRow *row, GParamSpec *spec, struct gh_media_page *p)
{
    const char *path = g_object_get_data (G_OBJECT (row), "path");

    if (adw_expander_row_get_expanded (row)) {
        g_free (p->expanded);
        p->expanded = g_strdup (path);
    } else if (!g_strcmp0 (p->expanded, path)) {
        g_clear_pointer (&p->expanded, g_free);
    }
}

GtkWidget *gh_media_row_new (struct gh_media_page *p, json_t *m)
{
    const char *path = json_string_value (json_object_get (m, "path"));
    g_autofree char *title = title_of (m), *subtitle = subtitle_of (m);
    gboolean trouble = !is_present (m) || json_object_get (m, "error");
    GtkWidget *row = adw_expander_row_new ();

    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (row), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    adw_expander_row_set_subtitle (ADW_EXPANDER_ROW (row), subtitle);
    adw_expander_row_set_icon_name (ADW_EXPANDER_ROW (row), trouble ? "dialog-warning-symbolic" : is_disk (m) ? "drive-harddisk-symbolic" : "media-optical-symbolic");
    add_facts (row, m);
    adw_expander_row_add_row (ADW_EXPANDER_ROW (row), make_buttons (p, m));
    g_object_set_data_full (G_OBJECT (row), "path", g_strdup (path), g_free);
    adw_expander_row_set_expanded (ADW_EXPANDER_ROW (row), !g_strcmp0 (path, p->expanded));
    g_signal_connect (row, "notify::expanded", G_CALLBACK (on_expanded), p);
    return row;
}
