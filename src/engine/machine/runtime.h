/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A running machine's folder, $XDG_RUNTIME_DIR/gasthaus/UUID/ (/tmp/gasthaus-UID/UUID/ where there is no
 * runtime directory): mode 0700 and ours.
 *
 *   lock     held by the supervisor for life (OFD lock: a new process with the old pid cannot fool it)
 *   status   JSON: schema, boot id, pid, start time, name, state; in the end how it ended
 *   control, display, serial, supervisor: sockets
 *
 * Thread: the supervisor's. A status file that cannot be written is logged, never fatal.
 */
#pragma once
#include <limits.h>
#include <sys/types.h>

#include "base/error.h"

#define GH_RUNTIME_SCHEMA 1

struct gh_runtime {
    int  dir_fd, lock_fd;
    char path[PATH_MAX - 64];
    char name[256], uuid[37], state[16];
    pid_t machine_pid;
    bool temporary;                    /* a machine without identity: the folder goes with it */
};

/* uuid empty: one is made up and the folder is removed at the end. A machine that runs already is
 * refused (MachineRunning). */
int  gh_runtime_open(const char *uuid, const char *name, struct gh_runtime *ret, struct gh_error *err);
/* Writes the status file: while it runs; state is "starting", "running", "paused". */
void gh_runtime_state(struct gh_runtime *rt, const char *state);
/* At the end: exit_status, or signal_number if that is not 0; why may be NULL. */
void gh_runtime_ended(struct gh_runtime *rt, int exit_status, int signal_number, const struct gh_error *why);
void gh_runtime_close(struct gh_runtime *rt);
