/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Asks for a new disk: name, size, format, and the machine that gets it. GTK main thread. */
#pragma once
#include "gui/engine/gh-connection.h"

/* path: of the new file; options: of the API's media action "create" (floating). Called once, or never when cancelled. */
typedef void (*GhNewDiskChosen) (gpointer data, const char *path, GVariant *options);
/* data must live as long as parent. */
void gh_new_disk_ask (GtkWindow *parent, GhConnection *connection, GhNewDiskChosen chosen, gpointer data);
