/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The accelerators built in, best first. */
#include <string.h>

#include "engine/accel/accel.h"

const struct gh_accel_class *const gh_accel_all[] = { &gh_accel_kvm, &gh_accel_soft, NULL };

const struct gh_accel_class *gh_accel_find(const char *name)
{
    for (const struct gh_accel_class *const *a = gh_accel_all; *a; a++)
        if (!strcmp((*a)->name, name))
            return *a;
    return NULL;
}
