/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One machine as the window knows it. Outlives the daemon: when the connection goes away the object stays with
 * its last known properties, and gets a new proxy when the daemon is back.
 *
 * Signal "changed": any property, or the proxy, changed. GTK main thread only.
 */
#pragma once
#include <gtk/gtk.h>

#include "engine-dbus.h"

#define GH_TYPE_MACHINE (gh_machine_get_type ())
G_DECLARE_FINAL_TYPE (GhMachine, gh_machine, GH, MACHINE, GObject)

GhMachine *gh_machine_new (GhEngine1Machine *proxy);
void gh_machine_set_proxy (GhMachine *self, GhEngine1Machine *proxy);
/* Never NULL; borrowed. Calls on it fail while the daemon is away. */
GhEngine1Machine *gh_machine_get_proxy (GhMachine *self);
GhEngine1 *gh_machine_new_engine (GhMachine *self);       /* the engine that has it; unref it */
const char *gh_machine_get_name (GhMachine *self);
const char *gh_machine_get_uuid (GhMachine *self);
const char *gh_machine_get_state (GhMachine *self);
const char *gh_machine_get_state_text (GhMachine *self); /* translated */
const char *gh_machine_get_state_icon (GhMachine *self);
const char *gh_machine_get_os_icon (GhMachine *self);
char *gh_machine_get_trouble (GhMachine *self);          /* "Sentence [Id]"; NULL: none. Free with g_free */
char *gh_machine_get_address (GhMachine *self);          /* the guest's first known one, or NULL; free with g_free */
gboolean gh_machine_is_on (GhMachine *self);             /* has a process, whatever it does */
/* Changes one setting (the keys of the API's Change; value may be floating). A refusal is said over widget, and "changed" follows so
 * that rows show the old value again. */
void gh_machine_change (GhMachine *self, const char *key, GVariant *value, GtkWidget *widget);
