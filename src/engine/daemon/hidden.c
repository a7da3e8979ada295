/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "engine/daemon/daemon.h"

static const char *const prefixes[] = { ".importing-", ".creating-" };

static int lock(const char *folder, int how)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (fd >= 0 && flock(fd, how) < 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

int gh_hidden_make(struct gh_daemon *d, const char *prefix, const char *uuid, struct gh_hidden *ret, struct gh_error *err)
{
    *ret = (struct gh_hidden){ g_strdup_printf("%s/%s%s", d->machines_folder, prefix, uuid), -1 };
    int made = g_mkdir_with_parents(d->machines_folder, 0755), e;
    /* Between making and locking nobody may clean: whoever does holds the folder around them. */
    int around = made < 0 ? -1 : lock(d->machines_folder, LOCK_EX);

    if (around >= 0 && g_mkdir(ret->path, 0700) == 0)
        ret->fd = lock(ret->path, LOCK_EX | LOCK_NB);
    e = errno;
    if (around >= 0)
        close(around);
    if (ret->fd >= 0)
        return 0;
    g_rmdir(ret->path);
    g_clear_pointer(&ret->path, g_free);
    return gh_error_set(err, -e, "FolderNotCreated", "The folder “%s” for machines cannot be written: %s.", d->machines_folder, strerror(e));
}

void gh_hidden_end(struct gh_hidden *h, gboolean remove)
{
    if (h->path && remove)
        gh_create_remove_tree(h->path);
    if (h->path && h->fd >= 0)
        close(h->fd);
    g_free(h->path);
    *h = (struct gh_hidden){ NULL, -1 };
}

void gh_hidden_clean(struct gh_daemon *d)
{
    g_autoptr(GDir) dir = g_dir_open(d->machines_folder, 0, NULL);
    int around = dir ? lock(d->machines_folder, LOCK_EX) : -1;
    const char *name;

    while (around >= 0 && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(d->machines_folder, name, NULL);
        bool ours = false;
        for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++)
            ours |= g_str_has_prefix(name, prefixes[i]);
        int fd = ours ? lock(path, LOCK_EX | LOCK_NB) : -1; /* held: its daemon lives */
        if (fd < 0)
            continue;
        gh_create_remove_tree(path);
        close(fd);
    }
    if (around >= 0)
        close(around);
}
