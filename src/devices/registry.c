/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/classes.h"

const struct gh_device_class *const gh_device_classes[] = {
#define GH_CLASS(name) &gh_class_##name,
#include "devices/classes.def"
#undef GH_CLASS
    NULL,
};

const struct gh_device_class *gh_device_class_find(const char *name)
{
    for (const struct gh_device_class *const *c = gh_device_classes; *c; c++)
        if (!strcmp((*c)->name, name))
            return *c;
    return NULL;
}
