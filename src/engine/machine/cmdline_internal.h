/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the options of gasthaus-vm share while they are read. One thread; errors as in cmdline.h. */
#pragma once
#include "engine/machine/cmdline.h"

/* What several options build together. */
struct gh_cmdline_state {
    struct gh_cmdline *cmd;
    struct gh_launch *l;
    unsigned ide_used;                 /* bits of the four IDE places */
    unsigned ahci_used, nvme_used;     /* ports and controllers taken */
    unsigned drives, disks, cdroms, floppies, devices;
    bool done, check_host, list_devices;
};

/* A file, not a folder and not empty (but for a disk); its descriptor or a negative errno. */
int gh_cmdline_open(const char *option, const char *path, int flags, struct gh_error *err);
int gh_cmdline_no_memory(struct gh_error *err);
/* The device of that id, which may be new; and one of its options. */
struct gh_launch_device *gh_cmdline_device(struct gh_cmdline_state *s, const char *class_name, const char *id);
int gh_cmdline_connect(struct gh_cmdline_state *s, const char *class_name, const char *id, const char *option, const char *value, struct gh_error *err);

/* cmdline_disk.c */
int gh_cmdline_disk(struct gh_cmdline_state *s, const char *v, struct gh_error *err);
int gh_cmdline_cdrom(struct gh_cmdline_state *s, const char *v, struct gh_error *err);
int gh_cmdline_floppy(struct gh_cmdline_state *s, const char *v, struct gh_error *err);
