/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The sandbox every backend enters once it has its descriptors: no new privileges, no dumps, no new
 * files, and an allow-list of system calls; anything else kills the process. A few calls
 * that libraries try and can do without fail with EPERM instead. The supervisor starts a new backend.
 *
 * Thread: the only one of the process. Not undoable.
 */
#pragma once
#include "base/error.h"

/* extra: names of further system calls this kind needs, ends with NULL; may be NULL. */
int gh_backend_sandbox(const char *const *extra, struct gh_error *err);
