/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The window of the preferences: each row takes effect at once. */
#pragma once
#include <adwaita.h>

GtkWidget *gh_prefs_window_new (GtkWindow *parent);
