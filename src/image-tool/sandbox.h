/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What gasthaus-image gives up before it looks into a file of unknown origin: Landlock leaves only the
 * named folders (one set to read, one to write), seccomp leaves no network, no new programs, no tracing.
 * A refused call fails; it does not kill. An older kernel without Landlock keeps the second half.
 *
 * Thread: before others exist. Not undoable. Specifications: landlock(7), seccomp(2).
 */
#pragma once
#include "base/error.h"

/* NULL-terminated lists of folders, or files for devices; entries that cannot be opened are skipped. writable may be NULL. */
int tool_sandbox(const char *const *readable, const char *const *writable, struct gh_error *err);
