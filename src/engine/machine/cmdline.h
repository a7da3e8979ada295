/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * gasthaus-vm's command line, in the daemon too. Options are rows of one table, which also makes --help. Files are
 * opened here, by path, once; what comes out is a launch description.
 */
#pragma once
#include "engine/machine/launch.h"

/* Helpers of the same kind: a size such as "2G" (a bare number counts in unit), a private listening socket. */
int  gh_parse_size(const char *text, uint64_t unit, uint64_t *ret);
int  gh_listen_unix(const char *option, const char *path, int type, struct gh_error *err);

/* cmdline_net.c: adds an adapter and its network; "tcp:[ADDRESS:]HOSTPORT:GUESTPORT"; bits a second such as "10M";
 * a name that may become part of a socket's. */
int  gh_cmdline_net(struct gh_launch *launch, const char *text, struct gh_error *err);
int  gh_parse_forward(const char *text, struct gh_launch_forward *ret, struct gh_error *err);
int  gh_parse_bits(const char *text, uint64_t *ret);
bool gh_group_name_valid(const char *name);

/* DONE: --help and the like have printed. The last two are the program's, which knows devices and the host. */
enum gh_cmdline_action { GH_CMDLINE_RUN, GH_CMDLINE_DONE, GH_CMDLINE_LIST_DEVICES, GH_CMDLINE_CHECK_HOST };

struct gh_cmdline {
    struct gh_launch *launch;          /* the caller's to free */
    bool json;                         /* for CHECK_HOST */
};

/* Fills cmd; returns an action or a negative errno with a sentence. */
int  gh_cmdline_parse(int argc, char **argv, struct gh_cmdline *cmd, struct gh_error *err);
void gh_cmdline_fini(struct gh_cmdline *cmd);
