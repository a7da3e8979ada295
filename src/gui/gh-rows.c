/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/gh-rows.h"

#include "gui/gh-util.h"

static GtkWidget *plain (GtkWidget *row, AdwPreferencesGroup *group, const char *title)
{
    adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (row), FALSE);
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    adw_preferences_group_add (group, row);
    return row;
}

GtkWidget *gh_row_new (AdwPreferencesGroup *group, const char *icon, const char *title, const char *subtitle)
{
    GtkWidget *row = plain (adw_action_row_new (), group, title);

    if (subtitle)
        adw_action_row_set_subtitle (ADW_ACTION_ROW (row), subtitle);
    if (icon)
        adw_action_row_set_icon_name (ADW_ACTION_ROW (row), icon);
    return row;
}

GtkWidget *gh_row_add_icon_button (GtkWidget *row, const char *icon, const char *label)
{
    GtkWidget *button = gtk_button_new_from_icon_name (icon);

    gtk_widget_set_valign (button, GTK_ALIGN_CENTER);
    gtk_widget_add_css_class (button, "flat");
    gtk_widget_set_tooltip_text (button, label);
    gh_set_label (button, label);
    adw_action_row_add_suffix (ADW_ACTION_ROW (row), button);
    return button;
}

void gh_row_add_control (GtkWidget *row, GtkWidget *control)
{
    gtk_widget_set_valign (control, GTK_ALIGN_CENTER);
    gh_set_label (control, adw_preferences_row_get_title (ADW_PREFERENCES_ROW (row)));
    adw_action_row_add_suffix (ADW_ACTION_ROW (row), control);
    adw_action_row_set_activatable_widget (ADW_ACTION_ROW (row), control);
}

GtkWidget *gh_row_add_number (AdwPreferencesGroup *group, const char *title, double lower, double upper, double step, GtkSpinButton **ret)
{
    GtkWidget *row = gh_row_new (group, NULL, title, NULL), *number = gtk_spin_button_new_with_range (lower, upper, step);

    gtk_spin_button_set_numeric (GTK_SPIN_BUTTON (number), TRUE);
    gh_row_add_control (row, number);
    *ret = GTK_SPIN_BUTTON (number);
    return row;
}

GtkWidget *gh_row_add_choice (AdwPreferencesGroup *group, const char *title, const char *const *words)
{
    GtkWidget *row = plain (adw_combo_row_new (), group, title);
    g_autoptr (GtkStringList) model = words ? gtk_string_list_new (words) : NULL;

    if (model)
        adw_combo_row_set_model (ADW_COMBO_ROW (row), G_LIST_MODEL (model));
    return row;
}

GtkWidget *gh_row_add_entry (AdwPreferencesGroup *group, const char *title) { return plain (adw_entry_row_new (), group, title); }
