/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Image locks. QEMU locks single bytes of the image with open-file-description locks: byte 100 + p says
 * "I use permission p", byte 200 + p says "I do not share permission p". All are read locks, so that
 * holders can coexist; a conflict is found by asking whether a write lock would be possible. The same
 * bytes tell two machines of ours apart.
 */
#include "disk/file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { USES_BASE = 100, DENIES_BASE = 200 };
enum { PERM_READ = 1 << 0, PERM_WRITE = 1 << 1, PERM_RESIZE = 1 << 3, PERM_BITS = 4 };

static int lock_byte(int fd, short type, off_t byte)
{
    struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

/* 0: nobody else holds a lock on this byte. */
static int test_byte(int fd, off_t byte)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    if (fcntl(fd, F_OFD_GETLK, &fl) < 0)
        return -errno;
    return fl.l_type == F_UNLCK ? 0 : -EAGAIN;
}

static void name_of(const char *pid, char *buf, size_t len)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%.16s/comm", pid);
    gh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, len - 1) : 0;
    buf[n > 0 ? n : 0] = 0;
    buf[strcspn(buf, "\n")] = 0;
}

/* Which other process has this inode open; the kernel does not tell who owns an OFD lock. */
static void find_holder(int fd, char *buf, size_t len)
{
    struct stat mine, st;
    buf[0] = 0;
    DIR *proc = opendir("/proc");
    if (!proc || fstat(fd, &mine) < 0)
        goto out;
    for (struct dirent *d; !buf[0] && (d = readdir(proc));) {
        char path[300];
        if (!isdigit((unsigned char)d->d_name[0]) || strtol(d->d_name, NULL, 10) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/%.16s/fd", d->d_name);
        DIR *fds = opendir(path);
        if (!fds)
            continue;
        for (struct dirent *e; (e = readdir(fds));) {
            if (fstatat(dirfd(fds), e->d_name, &st, 0) < 0 || st.st_ino != mine.st_ino || st.st_dev != mine.st_dev)
                continue;
            char name[32];
            name_of(d->d_name, name, sizeof name);
            snprintf(buf, len, "%s (process %.16s)", name, d->d_name);
            break;
        }
        closedir(fds);
    }
out:
    if (proc)
        closedir(proc);
}

static int refuse(struct gh_file *f, int code, struct gh_error *err)
{
    if (code == -EAGAIN || code == -EACCES) {
        char who[80];
        find_holder(f->fd, who, sizeof who);
        return gh_error_set(err, -EBUSY, "DiskLocked", "“%s” is in use by %s. Close it there, then try again.",
                            f->label, who[0] ? who : GH_WORD("another program"));
    }
    return gh_error_set(err, code, "DiskLockFailed", "“%s” cannot be locked: %s. Use a file system with locks.",
                        f->label, strerror(-code));
}

int gh_file_lock(struct gh_file *f, enum gh_file_lock kind, struct gh_error *err)
{
    static const struct { unsigned uses, denies; } want[] = {
        [GH_LOCK_NONE] = { 0, 0 },
        [GH_LOCK_SHARED] = { PERM_READ, PERM_WRITE | PERM_RESIZE },
        [GH_LOCK_EXCLUSIVE] = { PERM_READ | PERM_WRITE | PERM_RESIZE, PERM_WRITE | PERM_RESIZE },
        [GH_LOCK_SHARED_WRITERS] = { PERM_READ | PERM_WRITE, PERM_RESIZE },
    };
    unsigned uses = want[kind].uses, denies = want[kind].denies;
    int r = 0;
    /* Locks first, tests second: two who come at once both see each other. */
    for (unsigned p = 0; p < PERM_BITS && !r; p++) {
        r = lock_byte(f->fd, uses & 1u << p ? F_RDLCK : F_UNLCK, USES_BASE + p);
        if (!r)
            r = lock_byte(f->fd, denies & 1u << p ? F_RDLCK : F_UNLCK, DENIES_BASE + p);
    }
    for (unsigned p = 0; p < PERM_BITS && !r; p++) {
        if (uses & 1u << p)
            r = test_byte(f->fd, DENIES_BASE + p);
        if (!r && denies & 1u << p)
            r = test_byte(f->fd, USES_BASE + p);
    }
    if (!r)
        return 0;
    for (unsigned p = 0; p < PERM_BITS; p++) {
        lock_byte(f->fd, F_UNLCK, USES_BASE + p);
        lock_byte(f->fd, F_UNLCK, DENIES_BASE + p);
    }
    return refuse(f, r, err);
}
