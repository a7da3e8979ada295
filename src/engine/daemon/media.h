/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every disk and medium: who uses it, what it takes on the host, what it builds on, and what nobody
 * uses. The list is made anew at each question from the definitions and the folders.
 *
 * Threads: main. Images are looked into by gasthaus-image.
 */
#pragma once
#include "engine/daemon/daemon.h"

typedef struct json_t gh_json;           /* jansson's */
/* list (borrowed): array of objects with path, kind, format, users, parent_of, orphan, present, bytes, host_bytes, chain,
 * parts (paths of extents), error. */
typedef void (*gh_media_ready)(gh_json *list, const struct gh_error *err, void *opaque);
void gh_media_gather(struct gh_daemon *d, const char *also, gh_media_ready ready, void *opaque);

/* Where disks lie that were made for no machine. */
char *gh_media_folder(const struct gh_daemon *d);

/* media.c: D-Bus */
void gh_media_list(struct gh_daemon *d, GDBusMethodInvocation *inv);
int  gh_media_action(struct gh_daemon *d, const char *action, const char *path, GVariant *options, const char **ret_job, struct gh_error *err);

/* trash.c: the desktop's trash, or a hidden folder beside the file where that is not possible. */
/* parts (NULL-terminated, may be NULL): what belongs to path; goes and comes back with it. */
int  gh_trash_put(const char *path, char *const *parts, struct gh_error *err);
int  gh_trash_restore(const char *path, struct gh_error *err);
