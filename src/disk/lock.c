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

/* Does this descriptor of the process hold a lock? The kernel lists them beside the descriptor. */
static bool holds_lock(const char *pid, const char *fd)
{
    char path[64], text[2048];
    snprintf(path, sizeof path, "/proc/%.16s/fdinfo/%.16s", pid, fd);
    gh_autoclose int info = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = info >= 0 ? read(info, text, sizeof text - 1) : 0;
    text[n > 0 ? n : 0] = 0;
    return strstr(text, "OFDLCK");
}

/* Looks through one process; true: it has the file open, *holds: and locked. */
static bool has_open(const char *pid, const struct stat *mine, bool *holds)
{
    char path[64];
    struct stat st;
    bool open_there = false;
    snprintf(path, sizeof path, "/proc/%.16s/fd", pid);
    DIR *fds = opendir(path);
    *holds = false;
    for (struct dirent *e; fds && !*holds && (e = readdir(fds));) {
        if (fstatat(dirfd(fds), e->d_name, &st, 0) < 0 || st.st_ino != mine->st_ino || st.st_dev != mine->st_dev)
            continue;
        open_there = true;
        *holds = holds_lock(pid, e->d_name);
    }
    if (fds)
        closedir(fds);
    return open_there;
}

/* The kernel does not tell who owns such a lock, but /proc shows who has the file open, and on which descriptors locks are. */
static void find_holder(const struct stat *mine, char *buf, size_t len)
{
    DIR *proc = opendir("/proc");
    bool holds = false;
    buf[0] = 0;
    for (struct dirent *d; proc && !holds && (d = readdir(proc));) {
        char name[32];
        if (!isdigit((unsigned char)d->d_name[0]) || strtol(d->d_name, NULL, 10) == getpid() || !has_open(d->d_name, mine, &holds) ||
            (buf[0] && !holds))
            continue;
        name_of(d->d_name, name, sizeof name);
        snprintf(buf, len, "%s (process %.16s)", name, d->d_name);
    }
    if (proc)
        closedir(proc);
}

/* What was seen before a sandbox took /proc away. */
enum { WITNESSED_MAX = 8 };
static struct { dev_t dev; ino_t ino; char who[80]; } witnessed[WITNESSED_MAX];
static unsigned witnessed_count;

void gh_file_lock_witness(const char *path)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = USES_BASE, .l_len = DENIES_BASE - USES_BASE + PERM_BITS };
    struct stat st;
    gh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0 || fcntl(fd, F_OFD_GETLK, &fl) < 0 || fl.l_type == F_UNLCK || witnessed_count == WITNESSED_MAX)
        return;
    witnessed[witnessed_count].dev = st.st_dev;
    witnessed[witnessed_count].ino = st.st_ino;
    find_holder(&st, witnessed[witnessed_count].who, sizeof witnessed[0].who);
    witnessed_count++;
}

static void holder_of(int fd, char *buf, size_t len)
{
    struct stat mine;
    buf[0] = 0;
    if (fstat(fd, &mine) < 0)
        return;
    find_holder(&mine, buf, len);
    for (unsigned i = 0; i < witnessed_count && !buf[0]; i++)
        if (witnessed[i].ino == mine.st_ino && witnessed[i].dev == mine.st_dev)
            snprintf(buf, len, "%s", witnessed[i].who);
}

static int refuse(int fd, const char *label, int code, struct gh_error *err)
{
    if (code == -EAGAIN || code == -EACCES) {
        char who[80];
        holder_of(fd, who, sizeof who);
        return gh_error_set(err, -EBUSY, "DiskLocked", "“%s” is in use by %s. Close it there, then try again.",
                            label, who[0] ? who : GH_WORD("another program"));
    }
    return gh_error_set(err, code, "DiskLockFailed", "“%s” cannot be locked: %s. Use a file system with locks.",
                        label, strerror(-code));
}

static const struct { unsigned uses, denies; } want[] = {
    [GH_LOCK_NONE] = { 0, 0 },
    [GH_LOCK_SHARED] = { PERM_READ, PERM_WRITE | PERM_RESIZE },
    [GH_LOCK_EXCLUSIVE] = { PERM_READ | PERM_WRITE | PERM_RESIZE, PERM_WRITE | PERM_RESIZE },
    [GH_LOCK_SHARED_WRITERS] = { PERM_READ | PERM_WRITE, PERM_RESIZE },
};

/* 0: no other descriptor stands in the way. */
static int test_all(int fd, unsigned uses, unsigned denies)
{
    int r = 0;
    for (unsigned p = 0; p < PERM_BITS && !r; p++) {
        if (uses & 1u << p)
            r = test_byte(fd, DENIES_BASE + p);
        if (!r && denies & 1u << p)
            r = test_byte(fd, USES_BASE + p);
    }
    return r;
}

int gh_file_lock_ask(int fd, enum gh_file_lock kind, const char *label, struct gh_error *err)
{
    int r = test_all(fd, want[kind].uses, want[kind].denies);
    return r == -EAGAIN ? refuse(fd, label, r, err) : 0;
}

int gh_file_lock(struct gh_file *f, enum gh_file_lock kind, struct gh_error *err)
{
    unsigned uses = want[kind].uses, denies = want[kind].denies;
    int r = 0;
    /* Locks first, tests second: two who come at once both see each other. */
    for (unsigned p = 0; p < PERM_BITS && !r; p++) {
        r = lock_byte(f->fd, uses & 1u << p ? F_RDLCK : F_UNLCK, USES_BASE + p);
        if (!r)
            r = lock_byte(f->fd, denies & 1u << p ? F_RDLCK : F_UNLCK, DENIES_BASE + p);
    }
    if (!r)
        r = test_all(f->fd, uses, denies);
    if (!r)
        return 0;
    for (unsigned p = 0; p < PERM_BITS; p++) {
        lock_byte(f->fd, F_UNLCK, USES_BASE + p);
        lock_byte(f->fd, F_UNLCK, DENIES_BASE + p);
    }
    return refuse(f->fd, f->label, r, err);
}
