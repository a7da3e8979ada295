/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The long work that is going on, with title, progress and Cancel: in the row of its machine, or in a row of
 * its own below the others while it has none. */
/* Invisible while there is none. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-connection.h"

/* Failures are told over toasts; an import's machine is selected when it is there. */
GtkWidget *gh_job_list_new (GhConnection *connection, GtkListBox *machines, AdwToastOverlay *toasts);
