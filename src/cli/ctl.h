/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * gasthausctl: every verb of the engine from a shell. One file per command group; a command is a row of
 * a table with its own option parsing by GOption.
 *
 * Exit status: 0 done, 1 the engine refused (sentence and message id on stderr), 2 wrong usage.
 * With --json results are JSON on stdout, errors too on stderr.
 */
#pragma once
#include <gio/gio.h>
#include <glib/gi18n.h>
#include <jansson.h>

#include "engine-dbus.h"

struct ctl { GDBusConnection *bus; GhEngine1 *engine; GDBusObjectManager *manager; gboolean json; json_t *notes; };
struct ctl_command {
    const char *name, *args, *help;
    int (*run)(struct ctl *ctl, int argc, char **argv);
    gboolean no_daemon;
};
extern const struct ctl_command ctl_machine_commands[], ctl_create_commands[], ctl_screen_commands[], ctl_host_commands[], ctl_appliance_commands[],
    ctl_network_commands[], ctl_media_commands[], ctl_disk_commands[];

/* client.c */
int  ctl_connect(struct ctl *ctl);                                    /* starts the daemon if needed */
GhEngine1Machine *ctl_machine(struct ctl *ctl, const char *name);     /* by name or UUID (prefix); NULL after a message; unref it */
int  ctl_fail(struct ctl *ctl, GError *error);                         /* prints and frees; returns 1 */
int  ctl_usage(const char *text);                                      /* prints; returns 2 */
int  ctl_error(struct ctl *ctl, const char *id, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
void ctl_print_json(json_t *value);                                    /* takes it over */
int  ctl_print_id(struct ctl *ctl, const char *id);                    /* of what was made; 0 */
json_t *ctl_variant_to_json(GVariant *v);
/* appliance.c: shows progress on a terminal, and notes on stderr (with --json they are in ctl->notes, NULL: none), until the job ended;
 * Ctrl+C cancels it. The results may be NULL. */
void ctl_catch_interrupts(void);                                       /* before the job is asked for */
int  ctl_wait_job(struct ctl *ctl, const char *path, char **ret_machine, char **ret_result);
gboolean ctl_parse_size(const char *text, guint64 *ret);
