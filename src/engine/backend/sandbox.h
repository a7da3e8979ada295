/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The sandbox every backend enters once it has its descriptors: no capabilities, no new privileges, no
 * dumps, no files and no connections (Landlock, where the kernel has it), and an allow-list of system
 * calls; anything else kills the process. A few calls that libraries try and can do without fail with
 * EPERM instead. The supervisor starts a new backend.
 *
 * Thread: the only one of the process. Not undoable.
 */
#pragma once
#include "base/error.h"

/* extra: names of further system calls this kind needs, ends with NULL; may be NULL. */
int gh_backend_sandbox(const char *const *extra, struct gh_error *err);

struct gh_backend_rights {
    const char *const *calls;              /* as extra above */
    bool network;                          /* may bind and connect */
    int  read_folder;                      /* everything below it may be read; -1: nothing */
};
int gh_backend_sandbox_with(const struct gh_backend_rights *rights, struct gh_error *err);
