/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The machine process: from a launch description to a running machine, and its control operations.
 *
 * Thread: the caller's becomes the main thread. Everything that needs the host (descriptors, threads,
 * memory) is made before `enter` is called; the sandbox closes there, then the first guest instruction.
 */
#pragma once
#include "engine/machine/launch.h"

struct gh_process_hooks {
    void *opaque;
    /* Enters the sandbox; NULL: none. */
    int (*enter)(void *opaque, struct gh_error *err);
    /* Socket of the supervisor for control, or -1. */
    int control_fd;
};

/* Runs until the machine ends. Returns the exit status (0 power-off, or the guest's debug exit status), or
 * a negative errno with a sentence when it could not be made. The launch stays the caller's. */
int gh_process_run(struct gh_launch *launch, const struct gh_process_hooks *hooks, struct gh_error *err);
