/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One press forwards a port of this computer to the guest's SSH and puts the command on the clipboard. GTK main thread. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_SSH_ROW (gh_ssh_row_get_type ())
G_DECLARE_FINAL_TYPE (GhSshRow, gh_ssh_row, GH, SSH_ROW, AdwActionRow)

GtkWidget *gh_ssh_row_new (GhMachine *machine);
/* The adapter, and its forwards, a(ssqq). */
void gh_ssh_row_show (GhSshRow *self, const char *adapter, GVariant *forwards);
