/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The main window: the list of machines, and the chosen one's page. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-connection.h"

#define GH_TYPE_WINDOW (gh_window_get_type ())
G_DECLARE_FINAL_TYPE (GhWindow, gh_window, GH, WINDOW, AdwApplicationWindow)

GtkWidget *gh_window_new (GtkApplication *app, GhConnection *connection);
void gh_window_say_goes_on (GhWindow *self, GhMachine *machine); /* its screen was closed */
void gh_window_select (GhWindow *self, GhMachine *machine);
