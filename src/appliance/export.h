/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A machine as an appliance for VirtualBox, VMware and us: OVF (DMTF DSP0243), disks as streamOptimized
 * VMDK, a SHA-256 manifest. OUT.ova is one ustar archive, description first; OUT.ovf a folder's files.
 * Written under temporary names and renamed when complete.
 */
#pragma once
#include "appliance/appliance.h"
#include "disk/ops.h"

struct gh_export_disk { char name[128]; uint64_t file_bytes, virtual_bytes; };
struct gh_export {
    const struct gh_appliance *a;              /* media[].path and format say what to read */
    const char *out;                           /* ends with .ova or .ovf */
    unsigned version;                          /* 1 or 2 */
    const char *allow;                         /* folder that parents of disks may lie in; may be NULL */
    bool force;
    const struct gh_progress *progress;
};
int gh_export_run(const struct gh_export *e, struct gh_error *err);

/* ovf_write.c: the description, malloced; disks in the order of the drives that have one. */
char *gh_ovf_write(const struct gh_appliance *a, unsigned version, const struct gh_export_disk *disks, unsigned count);
