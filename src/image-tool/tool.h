/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line of gasthaus-image, parsed, and its commands. One thread. */
#pragma once
#include <jansson.h>

#include "disk/ops.h"
#include "disk/resolve.h"

struct tool {
    const char *arg[2];
    unsigned ovf, system;
    const char *from, *to, *variant, *compression, *parent, *parent_format, *allow, *snapshot, *size;
    uint64_t cluster;
    bool flatten, unsafe, repair, shrink, force, json, progress, in_place, plain, verify, accept_parent;
    int last_percent;
};
int  tool_fail(struct tool *t, const struct gh_error *err);      /* prints; returns the exit status */
void tool_note(struct tool *t, const struct gh_error *note);      /* on standard error; the work goes on */
bool tool_progress(void *opaque, uint64_t done, uint64_t total);
/* What is written may hold any bytes, JSON only text: what is none becomes U+FFFD. */
json_t *tool_text(const char *text);
void tool_dump(json_t *j);                                        /* to standard output; takes j */
struct gh_image *tool_open(struct tool *t, const char *path, const char *format, bool writable, struct gh_error *err);
/* To be copied: nothing of it may be missing. */
struct gh_image *tool_open_whole(struct tool *t, const char *path, const char *format, struct gh_error *err);
int  tool_wrong_size(struct tool *t, const char *text);
void tool_tell_space(struct tool *t, struct gh_image *img);       /* a note if it may outgrow its file system */
int  tool_done(struct tool *t, const char *path, const char *format); /* with --json: what there is now. 0 */
/* --cluster and --compression where the format has no such choice are refused, not ignored. */
int  tool_check_options(const struct tool *t, const char *format, struct gh_error *err);
bool tool_size(const char *text, uint64_t *ret);                  /* "20G"; false: not a size */

int tool_create(struct tool *t);
int tool_info(struct tool *t);
int tool_convert(struct tool *t);
int tool_check(struct tool *t);
int tool_resize(struct tool *t);
int tool_compact(struct tool *t);
int tool_compare(struct tool *t);
int tool_map(struct tool *t);
int tool_rebase(struct tool *t);
int tool_commit(struct tool *t);
int tool_hash(struct tool *t);
/* src/image-tool/appliance.c */
int tool_inspect(struct tool *t);
int tool_import(struct tool *t);
int tool_survey(struct tool *t);                                  /* paths come as JSON on standard input */
int tool_export(struct tool *t);                                  /* the machine comes as JSON on standard input */
