/* SPDX-License-Identifier: GPL-3.0-or-later */
/* New machine: a medium or none, what the system on it wants, a name; then it is made, and started. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-connection.h"

#define GH_TYPE_CREATE_WINDOW (gh_create_window_get_type ())
G_DECLARE_FINAL_TYPE (GhCreateWindow, gh_create_window, GH, CREATE_WINDOW, AdwWindow)

/* medium: a path to begin with, or NULL. at_once: create and start as soon as the medium is recognised. */
GtkWidget *gh_create_window_new (GtkWindow *parent, GhConnection *connection, const char *medium, gboolean at_once);
