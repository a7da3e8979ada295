/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A machine's log, with search. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

GtkWidget *gh_log_window_new (GtkWindow *parent, GhMachine *machine);
