/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The long work that is going on, below the machines: a row with title, progress and Cancel for each. Invisible while there is none. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-connection.h"

/* Failures are told over toasts; an import's machine is selected when it is there. */
GtkWidget *gh_job_list_new (GhConnection *connection, AdwToastOverlay *toasts);
