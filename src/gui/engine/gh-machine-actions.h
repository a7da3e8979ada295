/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What can be done with a machine, as an action group "machine" of a widget: start, pause, resume, shut-down, reset,
 * force-off, delete. Enabled as the machine's state allows; the destructive ones ask first; errors become toasts.
 */
#pragma once
#include <adwaita.h>

#include "gui/engine/gh-machine.h"

/* toasts must live as long as the widget. Replaces an earlier group of this widget. */
void gh_machine_actions_install (GtkWidget *widget, GhMachine *machine, AdwToastOverlay *toasts);
