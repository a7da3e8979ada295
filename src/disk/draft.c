/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk/draft.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "disk/driver.h"
#include "disk/resolve.h"

enum { MAX_PARTS = 1024, NAME_ROOM = 256, STEM_TRIES = 1000, OPEN_TRIES = 100 };
#define SUFFIX ".gasthaus-new"

struct part { char name[NAME_ROOM]; struct gh_file *file; bool placed; }; /* name: the final one */

struct gh_image_draft {
    char folder[PATH_MAX], name[NAME_ROOM];    /* where it shall be; the folder's path is real */
    char format[16];
    struct gh_file *file;                      /* holds the lock of the hidden file */
    struct gh_file *old;                       /* what is replaced, locked; may be NULL */
    struct stat old_stat;
    char (*old_parts)[NAME_ROOM];
    unsigned old_part_count;
    struct part *parts;
    unsigned part_count;
    char stem[NAME_ROOM];                      /* what the names of parts begin with */
    enum gh_draft_mode mode;
    bool keep_id;                              /* its ids are those of what it takes the place of */
    bool device, taken;                        /* taken: a part's name is in use */
    struct gh_error *err;                      /* while it is made */
};

static int path_of(const struct gh_image_draft *d, const char *name, bool hidden, char ret[PATH_MAX])
{
    int n = snprintf(ret, PATH_MAX, "%s/%s%s%s", d->folder, hidden ? "." : "", name, hidden ? SUFFIX : "");
    return n < PATH_MAX && strlen(name) + (hidden ? sizeof SUFFIX : 0) < NAME_ROOM ? 0 : -ENAMETOOLONG;
}

/* Opens and locks a hidden file; one that somebody was killed over is taken over, one in use is refused. */
static int open_hidden(struct gh_image_draft *d, const char *name, struct gh_file **ret)
{
    char path[PATH_MAX], label[PATH_MAX];
    int r = path_of(d, name, true, path);

    if (!r)
        r = path_of(d, name, false, label);
    if (r < 0)
        return gh_error_set(d->err, r, "FileNameTooLong", "The name “%s” is too long.", name);
    for (unsigned i = 0; i < OPEN_TRIES; i++) {
        struct stat mine, there;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return gh_error_set(d->err, -errno, "FileNotCreated", "“%s” cannot be made: %s.", label, strerror(errno));
        struct gh_file *f = gh_file_new(fd, true, label, d->err);
        if (!f)
            return -EINVAL;
        r = gh_file_lock(f, GH_LOCK_EXCLUSIVE, d->err);
        /* Whoever had it may have published it between our open and our lock. */
        bool same = !r && !fstat(f->fd, &mine) && !stat(path, &there) && mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
        if (same && gh_file_bytes(f))
            r = gh_file_truncate(f, 0);
        if (same && !r) {
            *ret = f;
            return 0;
        }
        gh_file_free(f);
        if (r < 0)
            return r;
    }
    return gh_error_set(d->err, -EBUSY, "DiskLocked", "“%s” is being made by another program. Try again later.", label);
}

static int new_part(void *opaque, const char *suffix)
{
    struct gh_image_draft *d = opaque;
    char path[PATH_MAX];
    struct part p = { .file = NULL };

    if (d->part_count == MAX_PARTS || snprintf(p.name, sizeof p.name, "%s%s", d->stem, suffix) >= (int)sizeof p.name ||
        path_of(d, p.name, false, path) < 0)
        return -ENAMETOOLONG;
    if (!access(path, F_OK)) {
        d->taken = true;
        return gh_error_set(d->err, -EEXIST, "FileExists", "“%s” exists already. Choose another name, or overwrite it.", path);
    }
    struct part *more = realloc(d->parts, (d->part_count + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    d->parts = more;
    int r = open_hidden(d, p.name, &p.file);
    if (r < 0)
        return r;
    d->parts[d->part_count++] = p;
    int fd = fcntl(p.file->fd, F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? -errno : fd;
}

static void drop_parts(struct gh_image_draft *d)
{
    char path[PATH_MAX];

    for (unsigned i = 0; i < d->part_count; i++) {
        if (!path_of(d, d->parts[i].name, !d->parts[i].placed, path))
            unlink(path);
        gh_file_free(d->parts[i].file);
    }
    free(d->parts);
    d->parts = NULL;
    d->part_count = 0;
}

static void draft_free(struct gh_image_draft *d)
{
    gh_file_free(d->file);
    gh_file_free(d->old);
    free(d->old_parts);
    free(d);
}

void gh_image_draft_drop(struct gh_image_draft *d)
{
    char path[PATH_MAX];

    if (!d)
        return;
    drop_parts(d);
    if (d->file && !d->device && !path_of(d, d->name, true, path))
        unlink(path);
    draft_free(d);
}

static void note_old_part(void *opaque, const char *name)
{
    struct gh_image_draft *d = opaque;
    char (*more)[NAME_ROOM] = d->old_part_count < MAX_PARTS && strlen(name) < NAME_ROOM
                            ? realloc(d->old_parts, (d->old_part_count + 1) * sizeof *more) : NULL;
    if (!more)
        return;
    d->old_parts = more;
    snprintf(d->old_parts[d->old_part_count++], NAME_ROOM, "%s", name);
}

/* The older image: nobody may write to it until the new one is in its place. */
static int take_old(struct gh_image_draft *d, const char *path)
{
    const char *format = NULL;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return gh_error_set(d->err, -errno, "FileNotPermitted", "“%s” may not be overwritten: %s.", path, strerror(errno));
    d->old = gh_file_new(fd, true, path, d->err);
    if (!d->old)
        return -EINVAL;
    int r = gh_file_lock(d->old, d->mode == GH_DRAFT_REWRITE ? GH_LOCK_SHARED : GH_LOCK_EXCLUSIVE, d->err);
    if (!r && fstat(d->old->fd, &d->old_stat) < 0)
        r = gh_error_set(d->err, -errno, "DiskUnreadable", "“%s” cannot be examined: %s.", path, strerror(errno));
    const struct gh_image_driver *drv = !r && !gh_image_probe_fd(d->old->fd, path, &format, NULL) ? gh_image_driver_find(format) : NULL;
    if (drv && drv->references)
        drv->references(d->old, note_old_part, d, NULL);
    return r;
}

/* A part of the older image that bears its name, and is none of the new one's, goes with it. */
static void remove_old_parts(struct gh_image_draft *d, const char *stem)
{
    size_t n = strlen(stem);

    for (unsigned i = 0; i < d->old_part_count; i++) {
        const char *name = d->old_parts[i], *dot = strrchr(name, '.');
        char path[PATH_MAX];
        bool ours = !strchr(name, '/') && !strncmp(name, stem, n) && name[n] == '-' && dot && !strcmp(dot, ".vmdk");
        for (unsigned k = 0; ours && k < d->part_count; k++)
            ours = strcmp(name, d->parts[k].name) != 0;
        if (ours && !path_of(d, name, false, path))
            unlink(path);
    }
}

static void stem_of(const struct gh_image_draft *d, char ret[NAME_ROOM])
{
    const char *dot = strrchr(d->name, '.');
    snprintf(ret, NAME_ROOM, "%.*s", dot && dot != d->name ? (int)(dot - d->name) : (int)strlen(d->name), d->name);
}

/* The image in its hidden files. Parts of the older one keep their names, so the new ones get others. */
static int make_image(struct gh_image_draft *d, const struct gh_image_create *how, const char *label)
{
    char own[NAME_ROOM + 16], stem[NAME_ROOM];
    int r = -EEXIST;

    stem_of(d, stem);
    for (unsigned i = 1; i < STEM_TRIES && r == -EEXIST; i++) {
        struct gh_image_create with = *how;
        if (d->taken)
            gh_error_clear(d->err);
        d->taken = false;
        int n = i == 1 ? snprintf(d->stem, sizeof d->stem, "%s", stem) : snprintf(d->stem, sizeof d->stem, "%s-%u", stem, i);
        if (n >= (int)sizeof d->stem)
            return gh_error_set(d->err, -ENAMETOOLONG, "FileNameTooLong", "The name “%s” is too long.", d->name);
        snprintf(own, sizeof own, "%s%s", d->stem, d->name + strlen(stem));
        with.own_name = own;
        with.new_part = new_part;
        with.opaque = d;
        with.draft = true;
        int fd = fcntl(d->file->fd, F_DUPFD_CLOEXEC, 3);
        r = fd < 0 ? -errno : gh_image_create(fd, label, &with, d->err);
        if (r < 0)
            drop_parts(d);
        if (r < 0 && d->taken && d->mode != GH_DRAFT_NEW)
            r = gh_file_truncate(d->file, 0) < 0 ? -EIO : -EEXIST;
        else
            break;
    }
    return r;
}

struct gh_image_draft *gh_image_draft_new(const char *path, const struct gh_image_create *how, enum gh_draft_mode mode,
                                          struct gh_error *err)
{
    struct gh_error local = { 0 };
    struct gh_image_draft *d = calloc(1, sizeof *d);
    struct stat st;
    char real[PATH_MAX];
    bool exists = !stat(path, &st);
    int r = 0;

    if (!err)
        err = &local;
    if (!d) {
        gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory to make “%s”.", path);
        return NULL;
    }
    d->err = err;
    d->mode = mode;
    d->keep_id = how->like != NULL;
    snprintf(d->format, sizeof d->format, "%s", how->format);
    if (exists && mode == GH_DRAFT_NEW)
        r = gh_error_set(err, -EEXIST, "FileExists", "“%s” exists already. Choose another name, or overwrite it.", path);
    else if (exists && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        r = gh_error_set(err, -EINVAL, "DiskNotAFile", "“%s” is neither a file nor a block device and cannot be overwritten.", path);
    if (!r && (exists ? !realpath(path, real) : snprintf(real, sizeof real, "%s", path) >= (int)sizeof real))
        r = gh_error_set(err, -ENAMETOOLONG, "FileNameTooLong", "The name “%s” is too long.", path);
    if (!r) {
        char *slash = strrchr(real, '/'), *name = slash ? slash + 1 : real;
        if (snprintf(d->name, sizeof d->name, "%s", name) >= (int)sizeof d->name || !d->name[0])
            r = gh_error_set(err, -EINVAL, "FileNameInvalid", "“%s” is not the name of a file.", path);
        if (slash)
            *slash = 0;
        if (!realpath(slash ? slash == real ? "/" : real : ".", d->folder) && !r)
            r = gh_error_set(err, -errno, "FileNotCreated", "“%s” cannot be made: %s.", path, strerror(errno));
        if (slash)
            *slash = '/';
    }
    if (!r && exists && S_ISBLK(st.st_mode)) {
        int fd = open(real, O_RDWR | O_CLOEXEC);
        d->device = true;
        d->file = fd < 0 ? NULL : gh_file_new(fd, true, path, err);
        r = !d->file ? gh_error_set(err, -errno, "FileNotPermitted", "“%s” may not be overwritten: %s.", path, strerror(errno))
                     : gh_file_lock(d->file, GH_LOCK_EXCLUSIVE, err);
    } else if (!r) {
        r = exists ? take_old(d, real) : 0;
        if (!r)
            r = open_hidden(d, d->name, &d->file);
    }
    if (!r)
        r = make_image(d, how, path);
    if (r < 0) {
        gh_error_set(err, r, "FileNotCreated", "“%s” cannot be made: %s.", path, strerror(-r));
        gh_image_draft_drop(d);
        return NULL;
    }
    d->err = NULL;
    return d;
}

bool gh_image_draft_blank(const struct gh_image_draft *d) { return !d->device; }

/* What is written in large pieces need not pass the host's cache. */
static void go_direct(const struct gh_image_draft *d, const char *name, struct gh_file *f)
{
    char path[PATH_MAX];
    struct stat mine, there;
    int fd = path_of(d, name, true, path) < 0 ? -1 : open(path, O_RDWR | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);

    if (fd >= 0 && (fstat(f->fd, &mine) < 0 || fstat(fd, &there) < 0 || mine.st_ino != there.st_ino || mine.st_dev != there.st_dev)) {
        close(fd);
        fd = -1;
    }
    gh_file_set_direct(f, fd);
}

struct gh_image *gh_image_draft_open(struct gh_image_draft *d, bool writable, struct gh_image *parent, struct gh_error *err)
{
    struct gh_image_part *parts = calloc(d->part_count + 1, sizeof *parts);

    if (!parts) {
        gh_image_close(parent);
        return NULL;
    }
    for (unsigned i = 0; i < d->part_count; i++)
        parts[i] = (struct gh_image_part){ d->parts[i].name, fcntl(d->parts[i].file->fd, F_DUPFD_CLOEXEC, 3) };
    struct gh_image *img = gh_image_open(&(struct gh_image_spec){ .format = d->format, .label = d->file->label,
        .fd = fcntl(d->file->fd, F_DUPFD_CLOEXEC, 3), .writable = writable, .unlocked = true, .draft = true,
        .parts = parts, .part_count = d->part_count, .opened_parent = parent }, err);
    free(parts);
    if (img)
        img->keep_id = d->keep_id;
    if (img && writable && !d->device) {
        go_direct(d, d->name, img->file);
        for (unsigned i = 0; i < img->part_count; i++)
            go_direct(d, d->parts[i].name, img->parts[i]);
    }
    return img;
}

/* Everything that any descriptor of the file wrote. */
static int settle(struct gh_file *f)
{
    atomic_fetch_add(&f->changes, 1);
    return gh_file_flush(f);
}

static int place(struct gh_image_draft *d, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX];
    int r = path_of(d, name, true, from);

    if (!r)
        r = path_of(d, name, false, to);
    return r < 0 ? r : gh_file_rename(AT_FDCWD, from, to);
}

int gh_image_draft_publish(struct gh_image_draft *d, struct gh_error *err)
{
    char stem[NAME_ROOM];
    int r = 0;

    stem_of(d, stem);
    if (d->old) { /* as far as we are allowed to */
        if (fchown(d->file->fd, d->old_stat.st_uid, d->old_stat.st_gid) < 0)
            d->old_stat.st_mode &= 0777;
        fchmod(d->file->fd, d->old_stat.st_mode & 07777);
    }
    /* What builds on it knows it by that time; its content is the same. */
    if (d->old && d->mode == GH_DRAFT_REWRITE && !d->device)
        gh_file_set_time(d->file, &d->old_stat.st_mtim);
    for (unsigned i = 0; i < d->part_count && !r; i++)
        r = settle(d->parts[i].file);
    if (!r)
        r = settle(d->file);
    for (unsigned i = 0; i < d->part_count && !r; i++) {
        r = place(d, d->parts[i].name);
        d->parts[i].placed = !r;
    }
    if (!r && !d->device)
        r = place(d, d->name);
    if (r < 0) {
        gh_error_set(err, r, r == -ENOSPC || r == -EDQUOT ? "DiskFull" : "DiskFlushFailed", "“%s” could not be completed: %s.", d->file->label,
                     strerror(-r));
        gh_image_draft_drop(d);
        return r;
    }
    remove_old_parts(d, stem);
    for (unsigned i = 0; i < d->part_count; i++)
        gh_file_free(d->parts[i].file);
    free(d->parts);
    draft_free(d);
    return 0;
}

int gh_image_create_path(const char *path, const struct gh_image_create *how, bool replace, struct gh_error *err)
{
    struct gh_image_draft *d = gh_image_draft_new(path, how, replace ? GH_DRAFT_OVER : GH_DRAFT_NEW, err);

    return d ? gh_image_draft_publish(d, err) : err && err->code ? err->code : -EIO;
}
