/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every disk and CD image: who uses it, what it takes on this computer, what nobody uses; and what can be done with each. */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-connection.h"

GtkWidget *gh_media_window_new (GtkWindow *parent, GhConnection *connection);
