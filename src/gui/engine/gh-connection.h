/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The way to the daemon: its private D-Bus socket, started on demand, found again with growing pauses when it goes
 * away. Guests are not touched by any of that. Nothing blocks; GTK main thread only.
 *
 * Signals: "changed" (connected or not), "failed" (string: why the first connection did not come about; tried again).
 */
#pragma once
#include <gio/gio.h>

#include "gui/engine/gh-machine.h"

#define GH_TYPE_CONNECTION (gh_connection_get_type ())
G_DECLARE_FINAL_TYPE (GhConnection, gh_connection, GH, CONNECTION, GObject)

GhConnection *gh_connection_new (void);
void gh_connection_open (GhConnection *self);
gboolean gh_connection_is_open (GhConnection *self);
gboolean gh_connection_was_open (GhConnection *self);     /* at least once */
GhEngine1 *gh_connection_get_engine (GhConnection *self); /* borrowed; NULL while not open */
GListModel *gh_connection_get_machines (GhConnection *self); /* of GhMachine, by name; borrowed */
GListModel *gh_connection_get_jobs (GhConnection *self); /* of GhEngine1Job, oldest first; borrowed */
GhMachine *gh_connection_find (GhConnection *self, const char *object_path); /* borrowed; NULL: unknown */
