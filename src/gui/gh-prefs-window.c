/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/gh-prefs-window.h"

#include <glib/gi18n.h>

#include "gui/gh-prefs.h"
#include "gui/gh-util.h"

static void on_switched (GtkSwitch *widget, GParamSpec *pspec, gpointer pref)
{ gh_prefs_set (GPOINTER_TO_UINT (pref), gtk_switch_get_active (widget)); }

static void on_scheme (AdwComboRow *row) { gh_prefs_set_scheme (adw_combo_row_get_selected (row)); }

static void add_switch (AdwPreferencesGroup *group, enum gh_pref pref, const char *title, const char *subtitle)
{
    GtkWidget *row = adw_action_row_new (), *toggle = gtk_switch_new ();

    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    adw_action_row_set_subtitle (ADW_ACTION_ROW (row), subtitle);
    gtk_switch_set_active (GTK_SWITCH (toggle), gh_prefs_get (pref));
    gtk_widget_set_valign (toggle, GTK_ALIGN_CENTER);
    g_signal_connect (toggle, "notify::active", G_CALLBACK (on_switched), GUINT_TO_POINTER (pref));
    adw_action_row_add_suffix (ADW_ACTION_ROW (row), toggle);
    adw_action_row_set_activatable_widget (ADW_ACTION_ROW (row), toggle);
    adw_preferences_group_add (group, row);
}

static AdwPreferencesGroup *add_group (AdwPreferencesPage *page, const char *title)
{
    GtkWidget *group = adw_preferences_group_new ();

    adw_preferences_group_set_title (ADW_PREFERENCES_GROUP (group), title);
    adw_preferences_page_add (page, ADW_PREFERENCES_GROUP (group));
    return ADW_PREFERENCES_GROUP (group);
}

GtkWidget *gh_prefs_window_new (GtkWindow *parent)
{
    GtkWidget *window = g_object_new (ADW_TYPE_PREFERENCES_WINDOW, "transient-for", parent, "modal", TRUE, "title", _ ("Preferences"),
                                      "search-enabled", FALSE, "default-width", 600, "default-height", 660, NULL);
    GtkWidget *page = adw_preferences_page_new (), *scheme = adw_combo_row_new ();
    g_autoptr (GtkStringList) names = gtk_string_list_new ((const char *[]){ _ ("Like the Desktop"), _ ("Light"), _ ("Dark"), NULL });

    AdwPreferencesGroup *look = add_group (ADW_PREFERENCES_PAGE (page), _ ("Appearance"));
    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (scheme), _ ("Style"));
    adw_combo_row_set_model (ADW_COMBO_ROW (scheme), G_LIST_MODEL (names));
    adw_combo_row_set_selected (ADW_COMBO_ROW (scheme), gh_prefs_get_scheme ());
    g_signal_connect (scheme, "notify::selected", G_CALLBACK (on_scheme), NULL);
    adw_preferences_group_add (look, scheme);
    add_switch (look, GH_PREFS_THUMBNAILS, _ ("Live Pictures in the List"), _ ("Running machines show their screen"));

    AdwPreferencesGroup *screens = add_group (ADW_PREFERENCES_PAGE (page), _ ("Screens of Machines"));
    add_switch (screens, GH_PREFS_SHOW_SCREEN, _ ("Show at the Start"), _ ("Starting a machine opens its screen"));
    add_switch (screens, GH_PREFS_FILL, _ ("Enlarge to Fit"), _ ("Small screens fill their window; otherwise one pixel stays one pixel"));

    AdwPreferencesGroup *keys = add_group (ADW_PREFERENCES_PAGE (page), _ ("Keyboard"));
    add_switch (keys, GH_PREFS_INHIBIT, _ ("The Desktop's Shortcuts Too"), _ ("Super, Alt+Tab and the like go to the machine that has the keyboard"));
    add_switch (keys, GH_PREFS_HINT, _ ("Say How to Get It Back"), _ ("A reminder of Ctrl+Alt in each new window"));
    gh_fit_screen (GTK_WINDOW (window));
    adw_preferences_window_add (ADW_PREFERENCES_WINDOW (window), ADW_PREFERENCES_PAGE (page));
    return window;
}
