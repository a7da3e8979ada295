/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Another program's machine: what would be kept, changed and left out, before anything is copied; then the
 * import, whose progress the list of jobs shows. A file that turns out to be a CD image opens the wizard instead.
 */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-connection.h"

GtkWidget *gh_import_window_new (GtkWindow *parent, GhConnection *connection, const char *path);
