/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which accelerator a machine runs on. `auto` opens and measures: a /dev/kvm that emulates guest kernels
 * slower than our own CPU is not chosen. Any thread; before the sandbox.
 */
#pragma once
#include "engine/accel/accel.h"

struct gh_accel_choice {
    const struct gh_accel_class *accel;
    int  fd;                           /* the opened device, or -1; the caller's */
    char why[700];                     /* one sentence for the banner and the log */
};

/* name: auto or an accelerator; kvm_fd: an opened /dev/kvm (duplicated), or -1: opened here. */
int gh_accel_choose(const char *name, int kvm_fd, struct gh_accel_choice *ret, struct gh_error *err);
