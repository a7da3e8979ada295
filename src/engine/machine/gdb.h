/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A debugger on a UNIX socket: GDB's remote serial protocol (GDB manual, appendix E). One client at a time; the
 * machine stops when it connects and runs on when it leaves. vCPUs are threads 1, 2, ...; all stop together.
 * Memory is addressed as the current thread's instructions see it; devices are not read, because that changes them.
 * Registers are always shown as 64-bit ones.
 *
 * Threads: the loop's. Ownership: the descriptor is taken; the machine must outlive the object.
 */
#pragma once
#include "base/error.h"

struct gh_gdb;
struct gh_loop;
struct gh_machine;

/* fd: a listening or a connected stream socket. -ENOTSUP: the accelerator cannot be debugged. */
int  gh_gdb_new(struct gh_loop *loop, struct gh_machine *m, int fd, struct gh_gdb **ret, struct gh_error *err);
/* The machine was paused, by whom ever: a client that waits is told. */
void gh_gdb_paused(struct gh_gdb *gdb);
/* The machine has ended: the client is told. */
void gh_gdb_ended(struct gh_gdb *gdb, int status);
/* Lets the client go; the object is freed by the loop. */
void gh_gdb_close(struct gh_gdb *gdb);
/* At the end, when the loop runs no more. */
void gh_gdb_free(struct gh_gdb *gdb);
