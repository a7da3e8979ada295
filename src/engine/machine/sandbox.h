/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a machine process gives up, in two steps that cannot be undone.
 *
 *   gh_sandbox_prepare  single-threaded, once every descriptor is there: capabilities, groups, core
 *                       dumps, ptrace, new privileges; Landlock without any file, port or foreign signal
 *   gh_sandbox_enter    when all threads, signal handlers and code mappings exist, before the first
 *                       guest instruction: a seccomp allow-list for every thread
 *   gh_sandbox_thread   each thread afterwards, on itself: what its class never needs. No-op outside.
 *
 * A refused call kills the process (SIGSYS); in mode log it is named on stderr first, and the process
 * exits with 159. Specifications: seccomp(2), landlock(7), capabilities(7).
 */
#pragma once
#include "base/error.h"

enum gh_sandbox_mode { GH_SANDBOX_ON, GH_SANDBOX_LOG, GH_SANDBOX_OFF };
enum gh_sandbox_thread { GH_SANDBOX_MAIN, GH_SANDBOX_VCPU, GH_SANDBOX_IO };

/* "on", "log", "off"; anything else is -1. */
int  gh_sandbox_mode_parse(const char *text);
/* OFF: only core dumps are switched off. An older kernel without Landlock is not an error. */
int  gh_sandbox_prepare(enum gh_sandbox_mode mode, struct gh_error *err);
int  gh_sandbox_enter(enum gh_sandbox_mode mode, struct gh_error *err);
int  gh_sandbox_thread(enum gh_sandbox_thread class, struct gh_error *err);
bool gh_sandbox_active(void);
