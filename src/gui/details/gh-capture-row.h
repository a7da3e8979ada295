/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Writes what a running machine's network card sends and receives into a file, for tools such as Wireshark. GTK main thread. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_CAPTURE_ROW (gh_capture_row_get_type ())
G_DECLARE_FINAL_TYPE (GhCaptureRow, gh_capture_row, GH, CAPTURE_ROW, AdwActionRow)

GtkWidget *gh_capture_row_new (GhMachine *machine);
/* An element of the machine's Networks. */
void gh_capture_row_show (GhCaptureRow *self, GVariant *card);
