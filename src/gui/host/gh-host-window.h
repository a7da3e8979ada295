/* SPDX-License-Identifier: GPL-3.0-or-later */
/* This computer: which accelerator machines use here, why, and what would help. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-connection.h"

GtkWidget *gh_host_window_new (GtkWindow *parent, GhConnection *connection);
