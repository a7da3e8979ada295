/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Rows of preference groups, made the same way everywhere. Text is text, never markup. GTK main thread. */
#pragma once
#include <adwaita.h>

/* Appended to group. icon and subtitle may be NULL. */
GtkWidget *gh_row_new (AdwPreferencesGroup *group, const char *icon, const char *title, const char *subtitle);
/* A flat button with a symbol at the row's end; label is its tooltip and its name. */
GtkWidget *gh_row_add_icon_button (GtkWidget *row, const char *icon, const char *label);
/* A control at the row's end that a click on the row reaches too; it is named as the row. */
void gh_row_add_control (GtkWidget *row, GtkWidget *control);
GtkWidget *gh_row_add_number (AdwPreferencesGroup *group, const char *title, double lower, double upper, double step, GtkSpinButton **ret);
/* words: NULL-terminated, or NULL: set a model later. */
GtkWidget *gh_row_add_choice (AdwPreferencesGroup *group, const char *title, const char *const *words);
GtkWidget *gh_row_add_entry (AdwPreferencesGroup *group, const char *title);
