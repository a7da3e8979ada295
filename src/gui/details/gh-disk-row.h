/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One disk of a machine: what happens with its changes, bus, cache, TRIM and limits. GTK main thread. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_DISK_ROW (gh_disk_row_get_type ())
G_DECLARE_FINAL_TYPE (GhDiskRow, gh_disk_row, GH, DISK_ROW, AdwExpanderRow)

GtkWidget *gh_disk_row_new (GhMachine *machine);
/* drive: one of the API's Disks. What a person is typing stays. */
void gh_disk_row_show (GhDiskRow *self, GVariant *drive);
