/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Long work: a gasthaus-image child that reports progress, and the D-Bus object that shows it. The
 * child ends with the daemon; whoever started it cleans up in done.
 *
 * Threads: GLib's main thread. Ownership: a job belongs to the daemon and vanishes some seconds after it
 * ended, so that those who asked for it still see how.
 */
#pragma once
#include "engine/daemon/daemon.h"

struct gh_child;
/* output: what the child wrote, NUL-terminated JSON; err NULL: it succeeded. Called once. */
typedef void (*gh_child_done)(const struct gh_error *err, const char *output, void *opaque);
typedef void (*gh_child_progress)(double fraction, void *opaque);
/* Something worth knowing that fails nothing; all of them come before done. */
typedef void (*gh_child_note)(const struct gh_error *note, void *opaque);
/* Runs gasthaus-image with --json and args (NULL-terminated); input (may be NULL) goes to its standard input; progress and note may be NULL.
 * NULL: it could not be started, err says why, done is not called. */
struct gh_child *gh_child_run(const char *const *args, const char *input, gh_child_progress progress, gh_child_note note, gh_child_done done,
                              void *opaque, struct gh_error *err);
void gh_child_cancel(struct gh_child *child);

struct gh_job;
/* Exported at once, running. machine may be NULL. */
struct gh_job *gh_job_new(struct gh_daemon *d, const char *title, struct gh_daemon_machine *machine);
const char *gh_job_path(const struct gh_job *job);
/* Like gh_child_run; what it cannot start ends the job. done may call gh_job_run again for a next step, else gh_job_end. */
void gh_job_run(struct gh_job *job, const char *const *args, const char *input, gh_child_done done, void *opaque);
/* err NULL: done. result: JSON or text, may be NULL. */
void gh_job_end(struct gh_job *job, const struct gh_error *err, const char *result);
void gh_job_set_machine(struct gh_job *job, struct gh_daemon_machine *machine);
/* For server.c */
GDBusInterfaceSkeleton *gh_job_iface(const struct gh_job *job);
