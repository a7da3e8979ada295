/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Scope-bound ownership: gh_autofree char *p, gh_autoclose int fd = -1. */
#pragma once
#include <stdlib.h>
#include <unistd.h>

static inline void gh_cleanup_free(void *p) { free(*(void **)p); }
static inline void gh_cleanup_close(const int *fd) { if (*fd >= 0) close(*fd); }
#define gh_autofree  __attribute__((cleanup(gh_cleanup_free)))
#define gh_autoclose __attribute__((cleanup(gh_cleanup_close)))
/* Hands a descriptor or pointer out of its scope. */
static inline int gh_steal_fd(int *fd) { int f = *fd; *fd = -1; return f; }
#define gh_steal_ptr(p) (__extension__({ __typeof__(*(p)) t_ = *(p); *(p) = NULL; t_; }))
