/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "model/definition.h"

enum { FILE_BYTES_MAX = 2 << 20 };

static int read_file(int dir, const char *name, char **ret, size_t *ret_length)
{
    gh_autoclose int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX)
        return -EINVAL;
    gh_autofree char *text = malloc((size_t)st.st_size + 1);
    if (!text)
        return -ENOMEM;
    size_t got = 0;
    while (got < (size_t)st.st_size) {
        ssize_t n = read(fd, text + got, (size_t)st.st_size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        got += (size_t)n;
    }
    text[got] = 0;
    *ret = gh_steal_ptr(&text);
    *ret_length = got;
    return 0;
}

static int load_one(int dir, const char *folder, const char *name, struct gh_definition **ret, struct gh_error *err)
{
    gh_autofree char *text = NULL;
    char label[512];
    size_t length = 0;

    snprintf(label, sizeof label, "%s/%s", folder, name);
    int r = read_file(dir, name, &text, &length);
    if (r)
        return gh_error_set(err, r, "DefinitionUnreadable", "“%s” cannot be read: %s.", label, strerror(-r));
    return gh_definition_parse(text, length, label, ret, err);
}

int gh_store_load(const char *folder, struct gh_definition **ret, bool *ret_restored, struct gh_error *err)
{
    gh_autoclose int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct gh_error previous = { 0 };

    *ret_restored = false;
    if (dir < 0)
        return gh_error_set(err, -errno, "FolderUnreadable", "The machine's folder “%s” cannot be opened: %s.", folder, strerror(errno));
    int r = load_one(dir, folder, GH_DEFINITION_FILE, ret, err);
    if (r == 0 || load_one(dir, folder, GH_DEFINITION_FILE ".prev", ret, &previous) != 0)
        return r;
    /* The bad copy is kept for whoever wants to look at it. */
    if (renameat(dir, GH_DEFINITION_FILE, dir, GH_DEFINITION_FILE ".damaged") < 0 && errno != ENOENT)
        return r;
    gh_error_clear(err);
    *ret_restored = true;
    return gh_store_save(folder, *ret, err);
}

static int write_all(int fd, const char *text, size_t length)
{
    while (length) {
        ssize_t n = write(fd, text, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text += n;
        length -= (size_t)n;
    }
    return 0;
}

int gh_store_save(const char *folder, struct gh_definition *d, struct gh_error *err)
{
    gh_autoclose int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    gh_autofree char *text = NULL;
    char temporary[64];
    size_t length = 0;

    if (dir < 0)
        return gh_error_set(err, -errno, "FolderUnreadable", "The machine's folder “%s” cannot be opened: %s.", folder, strerror(errno));
    d->revision++;
    int r = gh_definition_format(d, &text, &length, err);
    if (r)
        return r;
    snprintf(temporary, sizeof temporary, ".%s.%d", GH_DEFINITION_FILE, getpid());
    gh_autoclose int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    r = fd < 0 ? -errno : write_all(fd, text, length);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0) {
        /* A link, not a rename: at no moment is there no machine.xml. */
        unlinkat(dir, GH_DEFINITION_FILE ".prev", 0);
        if (linkat(dir, GH_DEFINITION_FILE, dir, GH_DEFINITION_FILE ".prev", 0) < 0 && errno != ENOENT && errno != EPERM)
            r = -errno;
    }
    if (r == 0 && renameat(dir, temporary, dir, GH_DEFINITION_FILE) < 0)
        r = -errno;
    if (r == 0)
        fsync(dir);
    if (r) {
        unlinkat(dir, temporary, 0);
        d->revision--;
        return gh_error_set(err, r, "DefinitionNotSaved", "The settings of “%s” could not be saved in “%s”: %s. Nothing was changed.",
                            d->name, folder, strerror(-r));
    }
    return 0;
}
