/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The window of one machine's screen. Closing it stops nothing. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_DISPLAY_WINDOW (gh_display_window_get_type ())
G_DECLARE_FINAL_TYPE (GhDisplayWindow, gh_display_window, GH, DISPLAY_WINDOW, AdwWindow)

GtkWidget *gh_display_window_new (GtkApplication *app, GhMachine *machine);
GhMachine *gh_display_window_get_machine (GhDisplayWindow *self);
