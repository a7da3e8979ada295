/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "disk/drivers.h"

const struct gh_image_driver *const gh_image_drivers[] = {
    &gh_image_raw,
    &gh_image_qcow2,
    &gh_image_vdi,
    &gh_image_vmdk,
    &gh_image_vhd,
    &gh_image_vhdx,
    &gh_image_qed,
    &gh_image_hdd,
    &gh_image_dmg,
    NULL,
};

const struct gh_image_driver *gh_image_driver_find(const char *name)
{
    for (unsigned i = 0; name && gh_image_drivers[i]; i++)
        if (!strcmp(gh_image_drivers[i]->format.name, name))
            return gh_image_drivers[i];
    return NULL;
}

static const struct { const char *ours, *qemu; } other_names[] = {
    { "vhd", "vpc" }, { "hdd", "parallels" }, { "raw", "file" }, { "raw", "host_device" },
};

const char *gh_image_name_for_qemu(const char *format)
{
    for (unsigned i = 0; i < GH_ARRAY_LEN(other_names); i++)
        if (!strcmp(other_names[i].ours, format) && strcmp(format, "raw"))
            return other_names[i].qemu;
    return format;
}

const char *gh_image_name_from_qemu(const char *name)
{
    for (unsigned i = 0; i < GH_ARRAY_LEN(other_names); i++)
        if (!strcmp(other_names[i].qemu, name))
            return other_names[i].ours;
    const struct gh_image_driver *d = gh_image_driver_find(name);
    return d ? d->format.name : NULL;
}

const char *gh_image_probe(const uint8_t *head, size_t len, const uint8_t *tail512, uint64_t file_bytes)
{
    const char *best = NULL;
    int score = 0;
    for (unsigned i = 0; gh_image_drivers[i]; i++) {
        const struct gh_image_driver *d = gh_image_drivers[i];
        int s = d->probe ? d->probe(head, len, tail512, file_bytes) : 0;
        if (s > score) {
            score = s;
            best = d->format.name;
        }
    }
    return best;
}

const struct gh_image_format *gh_image_formats(void)
{
    static struct gh_image_format list[GH_ARRAY_LEN(gh_image_drivers)];
    for (unsigned i = 0; gh_image_drivers[i]; i++)
        list[i] = gh_image_drivers[i]->format;
    return list;
}
