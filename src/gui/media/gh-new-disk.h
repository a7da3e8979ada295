/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Asks for a new disk: name, size, format, and the machine that gets it. GTK main thread. */
#pragma once
#include "gui/engine/gh-machine.h"

/* path: of the new file; options: of the API's media action "create" (floating). Called once, or never when cancelled. */
typedef void (*GhNewDiskChosen) (gpointer data, const char *path, GVariant *options);
/* machine: gets it; or NULL: one of machines (of GhMachine) that is off may be chosen, or none. Nothing is called when asker is gone. */
void gh_new_disk_ask (GtkWidget *asker, GListModel *machines, GhMachine *machine, GhNewDiskChosen chosen, gpointer data);
