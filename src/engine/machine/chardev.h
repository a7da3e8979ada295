/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Character backends on descriptors: terminal, pipe, file, socket, listening socket, nothing.
 *
 * Threads: new and free on the main thread; the gh_char side is called with the machine lock.
 * Output never blocks: what the descriptor does not take waits in a bounded buffer, and when
 * that is full the device is told by a short count and later by `writable`.
 */
#pragma once
#include "engine/machine/machine.h"

struct gh_chardev;

enum gh_chardev_kind { GH_CHARDEV_NULL, GH_CHARDEV_STREAM, GH_CHARDEV_LISTEN };

/* The descriptors become the chardev's; out_fd -1: in_fd serves both ways. LISTEN: in_fd is a
 * listening socket, one client at a time, the newest wins. */
int  gh_chardev_new(struct gh_loop *loop, enum gh_chardev_kind kind, int in_fd, int out_fd,
                    struct gh_chardev **ret, struct gh_error *err);
void gh_chardev_free(struct gh_chardev *c);
struct gh_char *gh_chardev_handle(struct gh_chardev *c);
/* Once the machine stands and before it runs: callbacks into devices take its lock. */
void gh_chardev_set_machine(struct gh_chardev *c, struct gh_machine *m);
