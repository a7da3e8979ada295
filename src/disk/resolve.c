/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk/resolve.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "disk/driver.h"

enum { MAX_PARTS = 1024 };

struct names { char (*list)[256]; unsigned count; bool failed; };
struct link {                                 /* one file of the chain while it is put together */
    struct gh_image_spec spec;
    char path[PATH_MAX], format[16];
    struct names names;
    struct gh_image_part *parts;
};

int gh_image_probe_fd(int fd, const char *label, const char **ret_format, struct gh_error *err)
{
    uint8_t head[4096] = { 0 }, tail[512] = { 0 };
    struct stat st;
    if (fstat(fd, &st) < 0)
        return gh_error_set(err, -errno, "DiskUnreadable", "“%s” cannot be examined: %s.", label, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return gh_error_set(err, -EINVAL, "DiskNotAFile", "“%s” is %s, not a disk image. Choose a file or a block device.", label,
                            S_ISDIR(st.st_mode) ? GH_WORD("a folder") : GH_WORD("neither a file nor a block device"));
    ssize_t n = pread(fd, head, sizeof head, 0);
    if (n < 0)
        return gh_error_set(err, -errno, "DiskUnreadable", "“%s” cannot be read: %s.", label, strerror(errno));
    if (st.st_size >= 512 && pread(fd, tail, sizeof tail, st.st_size - 512) < 0)
        memset(tail, 0, sizeof tail);
    const char *f = gh_image_probe(head, (size_t)n, tail, (uint64_t)st.st_size);
    *ret_format = f ? f : "raw";
    return 0;
}

static int open_checked(const char *path, bool writable, struct gh_error *err)
{
    int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        return fd;
    int e = errno;
    if (e == ENOENT)
        return gh_error_set(err, -e, "FileNotFound", "There is no file “%s”. Restore it or choose its new place.", path);
    if (e == EACCES || e == EPERM || e == EROFS)
        return gh_error_set(err, -e, "FileNotPermitted", "“%s” may not be opened for %s. Change its permissions.", path,
                            writable ? GH_WORD("writing") : GH_WORD("reading"));
    return gh_error_set(err, -e, "FileUnreadable", "“%s” cannot be opened: %s.", path, strerror(e));
}

static bool inside(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return n && !strncmp(path, folder, n) && (path[n] == '/' || folder[n - 1] == '/');
}

/* Where a reference of the image at `from` leads, if it may. root, grant: real paths. */
static int follow(const char *from, const char *name, const char *root, const char *grant, char *ret, struct gh_error *err)
{
    char joined[PATH_MAX];
    const char *colon = strchr(name, ':'), *slash = strchr(name, '/');
    char dir[PATH_MAX];
    if (!name[0])
        return gh_error_set(err, -ENOENT, "DiskParentMissing", "“%s” builds on another disk, but does not say on which. Its program may tell.", from);
    if ((colon && (!slash || colon < slash)))
        return gh_error_set(err, -EPERM, "DiskReferenceRefused", "“%s” refers to “%s”, which is not a plain file name.", from, name);
    snprintf(dir, sizeof dir, "%s", from);
    char *end = strrchr(dir, '/');
    if (end)
        *end = 0;
    int len = name[0] == '/' ? snprintf(joined, sizeof joined, "%s", name)
                             : snprintf(joined, sizeof joined, "%s/%s", dir, name);
    if (len < 0 || len >= (int)sizeof joined)
        return gh_error_set(err, -ENAMETOOLONG, "DiskReferenceRefused", "“%s” refers to a name that is too long.", from);
    if (!realpath(joined, ret))
        return gh_error_set(err, -errno, "DiskParentMissing", "“%s” builds on “%s”, which cannot be found. Restore that file or choose its new place.",
                            from, name);
    if (!inside(ret, root) && !(grant[0] && inside(ret, grant)))
        return gh_error_set(err, -EPERM, "DiskReferenceRefused",
                            "“%s” refers to “%s”, which lies outside its folder. Allow that folder if you trust the image.", from, ret);
    return 0;
}

/* VDI images name their parent by UUID alone: it lies beside them, above a folder “Snapshots”, or in the granted folder. */
static int find_by_uuid(const char *from, const char *uuid, char *root, const char *grant, char *ret, struct gh_error *err)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", from);
    char *end = strrchr(dir, '/');
    *end = 0;
    for (bool granted = false;;) {
        DIR *d = opendir(dir[0] ? dir : "/");
        for (struct dirent *e; d && (e = readdir(d));) {
            uint8_t h[0x198];
            char text[37];
            const char *dot = strrchr(e->d_name, '.');
            gh_autoclose int fd = dot && !strcasecmp(dot, ".vdi") ? openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW) : -1;
            if (fd < 0 || pread(fd, h, sizeof h, 0) != sizeof h)
                continue;
            gh_uuid_text(text, h + 0x188, true);
            if (strcmp(text, uuid) || snprintf(ret, PATH_MAX, "%s/%s", dir, e->d_name) >= PATH_MAX)
                continue;
            closedir(d);
            snprintf(root, PATH_MAX, "%s", dir);
            return 0;
        }
        if (d)
            closedir(d);
        end = strrchr(dir, '/');
        if (granted)
            break;
        if (end && !strcmp(end, "/Snapshots")) {
            *end = 0;
        } else if (grant[0]) {
            snprintf(dir, sizeof dir, "%s", grant);
            granted = true;
        } else {
            break;
        }
    }
    return gh_error_set(err, -ENOENT, "DiskParentMissing", "“%s” builds on the disk %s, which is not in its folder. Restore that file or choose its new place.",
                        from, uuid);
}

static void take_name(void *opaque, const char *name)
{
    struct names *n = opaque;
    char (*more)[256] = n->count < MAX_PARTS ? realloc(n->list, (n->count + 1) * sizeof *more) : NULL;
    if (!more || strlen(name) >= sizeof *more) {
        n->failed = true;
        n->list = more ? more : n->list;
        return;
    }
    n->list = more;
    snprintf(n->list[n->count++], sizeof *more, "%s", name);
}

static int open_parts(struct link *l, const char *root, const char *grant, struct gh_error *err)
{
    const struct gh_image_driver *drv = gh_image_driver_find(l->format);
    if (!drv || !drv->references)
        return 0;
    struct gh_file *f = gh_file_new(fcntl(l->spec.fd, F_DUPFD_CLOEXEC, 3), false, l->path, err);
    int r = f ? drv->references(f, take_name, &l->names, err) : -EIO;
    gh_file_free(f);
    if (!r && l->names.failed)
        r = gh_error_set(err, -E2BIG, "DiskReferenceRefused", "“%s” refers to too many or too long file names.", l->path);
    l->parts = r || !l->names.count ? NULL : calloc(l->names.count, sizeof *l->parts);
    if (!r && l->names.count && !l->parts)
        r = -ENOMEM;
    for (unsigned i = 0; i < l->names.count && !r; i++) {
        char path[PATH_MAX];
        r = follow(l->path, l->names.list[i], root, grant, path, err);
        int fd = r ? r : open_checked(path, l->spec.writable, err);
        if (fd < 0)
            return fd;
        l->parts[i] = (struct gh_image_part){ l->names.list[i], fd };
        l->spec.parts = l->parts;
        l->spec.part_count = i + 1;
    }
    return r;
}

/* The reference of one file: opened alone, read-only, without lock. */
static int look_behind(struct link *l, struct gh_image_info *info, struct gh_error *err)
{
    struct gh_image_part *parts = l->spec.part_count ? calloc(l->spec.part_count, sizeof *parts) : NULL;
    if (l->spec.part_count && !parts)
        return -ENOMEM;
    for (unsigned i = 0; i < l->spec.part_count; i++)
        parts[i] = (struct gh_image_part){ l->parts[i].name, fcntl(l->parts[i].fd, F_DUPFD_CLOEXEC, 3) };
    struct gh_image *img = gh_image_open(&(struct gh_image_spec){ .format = l->format, .label = l->path,
        .fd = fcntl(l->spec.fd, F_DUPFD_CLOEXEC, 3), .unlocked = true, .repair = true,
        .parts = parts, .part_count = l->spec.part_count }, err);
    free(parts);
    if (!img)
        return err && err->code ? err->code : -EIO;
    gh_image_info(img, info);
    gh_image_close(img);
    return 0;
}

/* Parallels keeps a disk as a folder, or points to it by the description in it: the one image inside is meant. path: a real one. */
static int enter_bundle(char *path, struct gh_error *err)
{
    char folder[PATH_MAX], found[PATH_MAX] = "";
    struct stat st;
    unsigned count = 0;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!strcasecmp(slash + 1, "DiskDescriptor.xml"))
        *slash = 0;
    else if (stat(folder, &st) || !S_ISDIR(st.st_mode))
        return 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *dot = strrchr(e->d_name, '.');
        if (dot && !strcasecmp(dot, ".hds") && !count++ && snprintf(found, sizeof found, "%s/%s", folder, e->d_name) >= (int)sizeof found)
            count = 0;
    }
    if (d)
        closedir(d);
    if (count > 1)
        return gh_error_set(err, -ENOTSUP, "DiskUnsupported", "“%s” is a Parallels disk of %u files. Merge its snapshots, or join its parts, in Parallels first.",
                            folder, count);
    if (count == 1 && (lstat(found, &st) || !S_ISREG(st.st_mode)))
        count = 0;
    if (count == 1)
        snprintf(path, PATH_MAX, "%s", found);
    return 0;
}

/* Opens the files from path down into chain; on failure some are there too. */
static int gather(const char *path, const struct gh_image_open_how *how, struct link **chain, unsigned *ret_count, struct gh_error *err)
{
    char root[PATH_MAX], grant[PATH_MAX] = "", next[PATH_MAX];
    unsigned n = 0;
    int r = 0;
    if (!realpath(path, next)) {
        r = open_checked(path, how->writable, err);
        if (r >= 0)
            close(r);
        return r < 0 ? r : -ENOENT;
    }
    r = enter_bundle(next, err);
    if (r < 0)
        return r;
    snprintf(root, sizeof root, "%s", next);
    char *slash = strrchr(root, '/');
    slash[slash == root] = 0;
    if (how->folder && !realpath(how->folder, grant))
        grant[0] = 0;
    const char *format = how->format;
    while (!r) {
        struct link *l = n < GH_IMAGE_MAX_CHAIN ? calloc(1, sizeof *l) : NULL;
        if (!l) {
            r = gh_error_set(err, -ELOOP, "DiskChainTooLong", "“%s” has more than %d disks behind it, or refers to itself.", path,
                             GH_IMAGE_MAX_CHAIN);
            break;
        }
        chain[n++] = l;
        snprintf(l->path, sizeof l->path, "%s", next);
        l->spec = (struct gh_image_spec){ .label = l->path, .fd = -1, .writable = how->writable && n == 1,
                                          .unlocked = how->unlocked, .repair = how->repair || (how->top_only && n == 1),
                                          .accept_parent = how->accept_parent };
        l->spec.fd = open_checked(l->path, l->spec.writable, err);
        r = l->spec.fd < 0 ? l->spec.fd : 0;
        if (!r && !format)
            r = gh_image_probe_fd(l->spec.fd, l->path, &format, err);
        if (r < 0)
            break;
        snprintf(l->format, sizeof l->format, "%s", format);
        l->spec.format = l->format;
        r = open_parts(l, root, grant, err);
        struct gh_image_info info = { 0 };
        if (!r && !how->top_only)
            r = look_behind(l, &info, err);
        if (r < 0 || how->top_only || !info.has_parent)
            break;
        r = info.parent_name[0] || !info.parent_uuid[0] ? follow(l->path, info.parent_name, root, grant, next, err)
                                                        : find_by_uuid(l->path, info.parent_uuid, root, grant, next, err);
        /* A format that is written down is believed; to guess another one would show nonsense. */
        format = info.parent_format[0] ? gh_image_name_from_qemu(info.parent_format) : NULL;
        if (!r && info.parent_format[0] && !format)
            r = gh_error_set(err, -ENOTSUP, "DiskFormatUnknown", "“%s” is not a disk format. Use one of raw, qcow2, vdi, vmdk, vhd, vhdx, qed, hdd, dmg.",
                             info.parent_format);
    }
    *ret_count = n;
    return r;
}

/* close_from: from this link on descriptors are still ours. */
static void let_go(struct link **chain, unsigned n, unsigned close_from)
{
    for (unsigned i = 0; i < n; i++) {
        if (i >= close_from) {
            if (chain[i]->spec.fd >= 0)
                close(chain[i]->spec.fd);
            for (unsigned k = 0; k < chain[i]->spec.part_count; k++)
                close(chain[i]->parts[k].fd);
        }
        free(chain[i]->names.list);
        free(chain[i]->parts);
        free(chain[i]);
    }
}

struct gh_image *gh_image_open_path(const char *path, const struct gh_image_open_how *how, struct gh_error *err)
{
    struct gh_error local = { 0 };
    struct link *chain[GH_IMAGE_MAX_CHAIN] = { 0 };
    struct gh_image *img = NULL;
    unsigned n = 0;
    if (!err)
        err = &local;
    int r = gather(path, how, chain, &n, err);
    for (unsigned i = 0; i + 1 < n; i++)
        chain[i]->spec.parent = &chain[i + 1]->spec;
    if (!r)
        img = gh_image_open(&chain[0]->spec, err);
    let_go(chain, n, r ? 0 : n);
    if (!img)
        gh_error_set(err, r < 0 ? r : -EIO, "DiskOpenFailed", "“%s” cannot be opened.", path);
    return img;
}

int gh_image_resolve_path(const char *path, const struct gh_image_open_how *how,
                          int (*take)(void *opaque, const struct gh_image_spec *file), void *opaque, struct gh_error *err)
{
    struct link *chain[GH_IMAGE_MAX_CHAIN] = { 0 };
    unsigned n = 0, taken = 0;
    int r = gather(path, how, chain, &n, err);
    while (!r && taken < n)
        r = take(opaque, &chain[taken++]->spec);
    let_go(chain, n, taken);
    return r ? gh_error_set(err, r, "DiskOpenFailed", "“%s” cannot be opened.", path) : 0;
}
