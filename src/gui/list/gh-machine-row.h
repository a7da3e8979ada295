/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A machine in the list: its drawing or live picture, name, system and state. */
#pragma once
#include <gtk/gtk.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_MACHINE_ROW (gh_machine_row_get_type ())
G_DECLARE_FINAL_TYPE (GhMachineRow, gh_machine_row, GH, MACHINE_ROW, GtkListBoxRow)

GtkWidget *gh_machine_row_new (GhMachine *machine);
GhMachine *gh_machine_row_get_machine (GhMachineRow *self);
/* Where its work in progress is shown (gh-job-list.h); borrowed. */
GtkBox *gh_machine_row_get_work (GhMachineRow *self);
