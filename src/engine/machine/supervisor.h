/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The supervisor: what gasthaus-vm is until the machine ends. It holds the machine's lock, listens on
 * the control socket, starts the sandboxed machine process and its backends, restarts a backend that
 * died, and writes how it ended. It parses no guest bytes and no image bytes.
 *
 * From a shell it stays in the foreground: Ctrl-] ends a machine whose serial line is the terminal.
 * SIGTERM presses the power button and pulls the plug after 20 seconds or at the second signal; SIGINT
 * and SIGHUP pull it at once. The end of a daemon or a GUI means nothing to it.
 */
#pragma once
#include "engine/machine/launch.h"

struct gh_supervisor_config {
    struct gh_launch *launch;          /* its descriptors are passed on and closed here */
    int notify_fd;                     /* who sent the launch: hears started or failed; -1: nobody */
};

/* Until the machine has ended: its exit status, 128 + signal where it was killed, or a negative errno with
 * a sentence where it could not be started. */
int gh_supervisor_run(const struct gh_supervisor_config *cfg, struct gh_error *err);

/* The other side: the machine process, started with --machine-fd. Returns its exit status. */
int gh_machine_process_main(int fd);
