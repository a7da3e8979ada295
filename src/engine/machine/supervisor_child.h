/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Starting children with exactly the descriptors they are meant to have. Supervisor's thread. */
#pragma once
#include <sys/types.h>

#include "base/error.h"

struct gh_child_fd { int fd; int number; };   /* number: what the child knows it as, 3 or more */

/* Runs program with argv (NULL-terminated). stdin and stdout are /dev/null, stderr stays; beyond those
 * only the listed descriptors. Signals for the whole group (SIGTERM, SIGINT, ...) are ignored: the supervisor decides. ret_pidfd becomes
 * readable at its end. */
int gh_child_spawn(const char *program, char *const argv[], const struct gh_child_fd *fds, unsigned fd_count,
                   pid_t *ret_pid, int *ret_pidfd, struct gh_error *err);
/* "gasthaus-backend" beside this program or in the build tree's place; malloc'd, NULL: not there. */
char *gh_child_program(const char *name);
