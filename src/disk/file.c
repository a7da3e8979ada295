/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/bytes.h"

enum { BATCH = 64, ZERO_CHUNK = 1 << 16 };
#define MAX_OFFSET ((uint64_t)INT64_MAX)
#define DIRECT_UNIT 4096ull                    /* of offsets and lengths; no disk has larger sectors */
#define DIRECT_MIN (64ull << 10)               /* what is smaller is gathered by the host's cache */
#define REACH_STEP (64ull << 20)

static struct gh_file_hook *file_hook;
static _Atomic unsigned next_id;

void gh_file_set_hook(struct gh_file_hook *hook) { file_hook = hook; }

static void after(const struct gh_file_event *ev)
{
    if (file_hook && file_hook->after)
        file_hook->after(file_hook, ev);
}

static int before(const struct gh_file_event *ev)
{ return file_hook && file_hook->before ? file_hook->before(file_hook, ev) : 0; }

/* Counted after the call, so that a flush that began meanwhile does not claim it. */
static void changed(struct gh_file *f, const struct gh_file_event *ev)
{
    atomic_fetch_add(&f->changes, 1);
    after(ev);
}

struct gh_file *gh_file_new(int fd, bool writable, const char *label, struct gh_error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        gh_error_set(err, -errno, "DiskUnreadable", "“%s” cannot be examined: %s.", label, strerror(errno));
        goto fail;
    }
    uint64_t bytes = (uint64_t)st.st_size;
    bool device = S_ISBLK(st.st_mode);
    if (device && ioctl(fd, BLKGETSIZE64, &bytes) < 0) {
        gh_error_set(err, -errno, "DiskUnreadable", "The size of the device “%s” cannot be read: %s.", label,
                     strerror(errno));
        goto fail;
    }
    if (!device && !S_ISREG(st.st_mode)) {
        gh_error_set(err, -EINVAL, "DiskNotAFile",
                     "“%s” is %s, not a disk image. Choose a file or a block device.", label,
                     S_ISDIR(st.st_mode) ? GH_WORD("a folder") : GH_WORD("neither a file nor a block device"));
        goto fail;
    }
    struct gh_file *f = calloc(1, sizeof *f);
    if (!f) {
        gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory to open “%s”.", label);
        goto fail;
    }
    f->fd = fd;
    f->writable = writable;
    f->device = device;
    f->id = atomic_fetch_add(&next_id, 1);
    f->bytes = bytes;
    f->reach = bytes;
    f->direct = -1;
    pthread_mutex_init(&f->extent_lock, NULL);
    pthread_mutex_init(&f->reach_lock, NULL);
    snprintf(f->label, sizeof f->label, "%s", label);
    return f;
fail:
    close(fd);
    return NULL;
}

int gh_file_set_window(struct gh_file *f, uint64_t base, uint64_t bytes, struct gh_error *err)
{
    if (f->device || !gh_range_in(base, bytes, MAX_OFFSET) || (!f->writable && !gh_range_in(base, bytes, gh_file_bytes(f))))
        return gh_error_set(err, -EINVAL, "DiskDamaged", "“%s” is shorter than its archive says.", f->label);
    f->window = true;
    f->base = base;
    atomic_store(&f->bytes, bytes);
    return 0;
}

void gh_file_free(struct gh_file *f)
{
    if (!f)
        return;
    if (gh_file_is_direct(f))
        close(f->direct);
    close(f->fd);
    pthread_mutex_destroy(&f->extent_lock);
    pthread_mutex_destroy(&f->reach_lock);
    free(f);
}

static void grow_to(struct gh_file *f, uint64_t end)
{
    uint64_t now = gh_file_bytes(f);
    while (now < end && !atomic_compare_exchange_weak(&f->bytes, &now, end)) {
    }
}

/* ---- Drafts past the host's cache -------------------------------------------------------------------------- */
void gh_file_set_direct(struct gh_file *f, int fd)
{
    if (fd >= 0 && (!f->draft || !f->writable || f->device || f->window)) {
        close(fd);
        fd = -1;
    }
    atomic_store(&f->direct, fd);
}

/* Writing beyond the end of a file excludes every other write, and so does moving the end: it moves seldom. A host that
 * cannot, or would fill what it adds, leaves it to the writes. */
static void reach_to(struct gh_file *f, uint64_t end)
{
    if (end <= atomic_load(&f->reach))
        return;
    pthread_mutex_lock(&f->reach_lock);
    uint64_t now = atomic_load(&f->reach), to = end + REACH_STEP;
    struct stat before_it, st;
    if (end > now && to <= MAX_OFFSET && !fstat(f->fd, &before_it) && (uint64_t)before_it.st_size < to && !ftruncate(f->fd, (off_t)to)) {
        atomic_store(&f->reach, to);
        if (!fstat(f->fd, &st) && (uint64_t)(st.st_blocks - before_it.st_blocks) * 512 >= REACH_STEP / 2)
            atomic_store(&f->reach, UINT64_MAX);
    }
    pthread_mutex_unlock(&f->reach_lock);
}

int gh_file_settle_end(struct gh_file *f)
{
    uint64_t bytes = gh_file_bytes(f);
    struct gh_file_event ev = { .op = GH_FILE_TRUNCATE, .file = f, .bytes = bytes };
    struct stat st;
    if (!gh_file_is_direct(f) || fstat(f->fd, &st) < 0 || (uint64_t)st.st_size == bytes)
        return 0;
    int r = before(&ev);
    if (r < 0)
        return r;
    while (ftruncate(f->fd, (off_t)bytes) < 0)
        if (errno != EINTR)
            return -errno;
    atomic_store(&f->reach, bytes);
    changed(f, &ev);
    return 0;
}

/* Writes whole units from p; *ret_done: how many bytes. What the host refuses goes the other way. */
static int write_direct(struct gh_file *f, uint64_t off, const uint8_t *p, size_t len, size_t *ret_done)
{
    size_t done = 0;
    while (done < len && done % DIRECT_UNIT == 0) {
        ssize_t r = pwrite(f->direct, p + done, len - done, (off_t)(off + done));
        if (r < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (r < 0 && errno != EINVAL && errno != EOPNOTSUPP)
            return -errno;
        if (r <= 0)
            break;
        done += (size_t)r;
    }
    *ret_done = done;
    return 0;
}

static int transfer(struct gh_file *f, bool write, uint64_t off, const struct iovec *iov, unsigned n, size_t len, size_t *ret_done);

/* What fills whole units goes past the cache, the rest at both ends through it. 1: nothing was done. */
static int draft_write(struct gh_file *f, uint64_t off, uint8_t *p, size_t len)
{
    size_t head = (size_t)(-off & (DIRECT_UNIT - 1)), done = 0, end = 0;
    if (len < head + DIRECT_MIN || (uintptr_t)(p + head) % 512)
        return 1;
    int r = head ? transfer(f, true, off, &(struct iovec){ p, head }, 1, head, &end) : 0;
    if (!r)
        r = write_direct(f, off + head, p + head, (len - head) & ~(size_t)(DIRECT_UNIT - 1), &done);
    done += head;
    if (!r && done < len)
        r = transfer(f, true, off + done, &(struct iovec){ p + done, len - done }, 1, len - done, &end);
    return r;
}

/* Moves a vector (a single piece costs the kernel less by itself) until len bytes are done; *eof is the count when a read
 * met the end of the file. */
static int transfer(struct gh_file *f, bool write, uint64_t off, const struct iovec *iov, unsigned n,
                    size_t len, size_t *ret_done)
{
    size_t done = 0, skip = 0;
    unsigned i = 0;
    while (done < len) {
        struct iovec part[BATCH];
        unsigned k = 0;
        size_t planned = 0;
        for (unsigned j = i; j < n && k < BATCH && planned < len - done; j++) {
            size_t from = j == i ? skip : 0, take = iov[j].iov_len - from;
            if (take > len - done - planned)
                take = len - done - planned;
            if (!take)
                continue;
            part[k++] = (struct iovec){ (char *)iov[j].iov_base + from, take };
            planned += take;
        }
        if (!k)
            return -EINVAL;
        off_t at = (off_t)(f->base + off + done);
        ssize_t r = k > 1 ? (write ? pwritev(f->fd, part, (int)k, at) : preadv(f->fd, part, (int)k, at))
                  : write ? pwrite(f->fd, part->iov_base, part->iov_len, at) : pread(f->fd, part->iov_base, part->iov_len, at);
        if (r < 0) {
            if (errno == EINTR || errno == EAGAIN)
                continue;
            return -errno;
        }
        if (r == 0) {
            if (write)
                return -ENOSPC;
            break;
        }
        done += (size_t)r;
        for (size_t left = (size_t)r; left;) {
            size_t here = iov[i].iov_len - skip;
            if (left < here) {
                skip += left;
                break;
            }
            left -= here;
            skip = 0;
            i++;
        }
    }
    *ret_done = done;
    return 0;
}

static void zero_tail(const struct iovec *iov, unsigned n, size_t from, size_t len)
{
    for (unsigned i = 0; i < n && len > 0; i++) {
        size_t here = iov[i].iov_len < len ? iov[i].iov_len : len;
        if (from < here) {
            memset((char *)iov[i].iov_base + from, 0, here - from);
            from = 0;
        } else {
            from -= here;
        }
        len -= here;
    }
}

int gh_file_readv(struct gh_file *f, uint64_t off, const struct iovec *iov, unsigned n, size_t len)
{
    struct gh_file_event ev = { .op = GH_FILE_READ, .file = f, .offset = off, .bytes = len };
    int r = before(&ev);
    if (r < 0)
        return r;
    size_t done = 0;
    if (!gh_range_in(off, len, MAX_OFFSET - f->base)) {
        zero_tail(iov, n, 0, len);
        return 0;
    }
    size_t inside = len;
    if (f->window) {
        uint64_t size = gh_file_bytes(f);
        inside = off >= size ? 0 : len < size - off ? len : (size_t)(size - off);
    }
    r = transfer(f, false, off, iov, n, inside, &done);
    if (r < 0)
        return r;
    if (done < len)
        zero_tail(iov, n, done, len);
    return 0;
}

int gh_file_writev(struct gh_file *f, uint64_t off, const struct iovec *iov, unsigned n, size_t len)
{
    struct gh_file_event ev = { .op = GH_FILE_WRITE, .file = f, .offset = off, .bytes = len, .iov = iov, .iov_count = n };
    if (!f->writable)
        return -EROFS;
    if (!gh_range_in(off, len, MAX_OFFSET - f->base))
        return -EFBIG;
    int r = before(&ev);
    if (r < 0)
        return r;
    size_t done = 0;
    if (gh_file_is_direct(f))
        reach_to(f, off + len);
    if (r > 0)
        r = 0;
    else if (!gh_file_is_direct(f) || n < 1 || iov->iov_len < len || (r = draft_write(f, off, iov->iov_base, len)) > 0)
        r = transfer(f, true, off, iov, n, len, &done);
    if (r < 0)
        return r;
    grow_to(f, off + len);
    changed(f, &ev);
    return 0;
}

int gh_file_read(struct gh_file *f, uint64_t off, void *buf, size_t len)
{ return gh_file_readv(f, off, &(struct iovec){ buf, len }, 1, len); }

int gh_file_write(struct gh_file *f, uint64_t off, const void *buf, size_t len)
{ return gh_file_writev(f, off, &(struct iovec){ (void *)buf, len }, 1, len); }

int gh_file_flush(struct gh_file *f)
{
    struct gh_file_event ev = { .op = GH_FILE_FLUSH, .file = f };
    int r = atomic_load(&f->flush_error);
    if (r < 0)
        return r;
    uint64_t seen = atomic_load(&f->changes);
    if (!f->writable || f->draft || atomic_load(&f->synced) >= seen)
        return 0;
    r = before(&ev);
    if (!r && fdatasync(f->fd) < 0)
        r = -errno;
    if (r < 0) {
        /* The kernel may have dropped the dirty pages: a later success would be a lie. */
        int none = 0;
        atomic_compare_exchange_strong(&f->flush_error, &none, r);
        return r;
    }
    uint64_t known = atomic_load(&f->synced);
    while (known < seen && !atomic_compare_exchange_weak(&f->synced, &known, seen)) {
    }
    after(&ev);
    return 0;
}

void gh_file_write_back(struct gh_file *f)
{
    if (f->writable && !f->device)
        sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int gh_file_truncate(struct gh_file *f, uint64_t bytes)
{
    struct gh_file_event ev = { .op = GH_FILE_TRUNCATE, .file = f, .bytes = bytes };
    if (!f->writable)
        return -EROFS;
    if (bytes > MAX_OFFSET - f->base)
        return -EFBIG;
    if (f->device)
        return bytes <= gh_file_bytes(f) ? 0 : -ENOSPC;
    int r = before(&ev);
    if (r < 0)
        return r;
    bool grows = gh_file_is_direct(f) && bytes >= gh_file_bytes(f);
    if (grows)
        reach_to(f, bytes);
    while (!(grows && bytes <= atomic_load(&f->reach)) && ftruncate(f->fd, (off_t)(f->base + bytes)) < 0)
        if (errno != EINTR)
            return -errno;
    if (!grows)
        atomic_store(&f->reach, bytes);
    atomic_store(&f->bytes, bytes);
    changed(f, &ev);
    return 0;
}

static int write_zeros(struct gh_file *f, uint64_t off, uint64_t len)
{
    static const uint8_t zeros[ZERO_CHUNK];
    struct iovec iov[16];
    for (unsigned i = 0; i < GH_ARRAY_LEN(iov); i++)
        iov[i] = (struct iovec){ (void *)zeros, sizeof zeros };
    while (len) {
        size_t take = len < sizeof zeros * GH_ARRAY_LEN(iov) ? (size_t)len : sizeof zeros * GH_ARRAY_LEN(iov);
        int r = gh_file_writev(f, off, iov, GH_ARRAY_LEN(iov), take);
        if (r < 0)
            return r;
        off += take;
        len -= take;
    }
    return 0;
}

/* One fallocate with the hook around; -EOPNOTSUPP where the file system has no such mode. */
static int fallocate_hooked(struct gh_file *f, enum gh_file_op op, int mode, uint64_t off, uint64_t len)
{
    struct gh_file_event ev = { .op = op, .file = f, .offset = off, .bytes = len };
    int r = before(&ev);
    if (r < 0)
        return r;
    if (gh_file_is_direct(f) && !(mode & FALLOC_FL_KEEP_SIZE))
        reach_to(f, off + len);
    while (fallocate(f->fd, mode, (off_t)(f->base + off), (off_t)len) < 0) {
        if (errno == EINTR)
            continue;
        if (errno == ENOSYS || errno == ENODEV || errno == EINVAL || errno == ENOTTY || errno == EPERM)
            return -EOPNOTSUPP;
        return -errno;
    }
    if (!(mode & FALLOC_FL_KEEP_SIZE))
        grow_to(f, off + len);
    changed(f, &ev);
    return 0;
}

int gh_file_punch(struct gh_file *f, uint64_t off, uint64_t len)
{
    if (!f->writable)
        return -EROFS;
    uint64_t size = gh_file_bytes(f);
    if (off >= size || !len)
        return 0;
    if (len > size - off)
        len = size - off;
    if (f->no_punch)
        return -EOPNOTSUPP;
    int r = fallocate_hooked(f, GH_FILE_PUNCH, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
    if (r == -EOPNOTSUPP)
        f->no_punch = true;
    return r;
}

int gh_file_zero(struct gh_file *f, uint64_t off, uint64_t len)
{
    uint64_t end, size = gh_file_bytes(f);
    if (!f->writable)
        return -EROFS;
    if (!gh_add_u64(off, len, &end) || end > MAX_OFFSET - f->base)
        return -EFBIG;
    if (!len)
        return 0;
    if (end > size && !f->device) {
        /* What lies beyond the end is a hole once the file is longer. */
        int r = gh_file_truncate(f, end);
        if (r < 0)
            return r;
        if (off >= size)
            return 0;
        len = size - off;
    }
    if (!f->no_zero_range) {
        int r = fallocate_hooked(f, GH_FILE_ZERO, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, off, len);
        if (r != -EOPNOTSUPP)
            return r;
        f->no_zero_range = true;
    }
    int r = gh_file_punch(f, off, len);
    return r == -EOPNOTSUPP ? write_zeros(f, off, len) : r;
}

int gh_file_allocate(struct gh_file *f, uint64_t off, uint64_t len)
{
    if (!f->writable)
        return -EROFS;
    if (f->device || !len)
        return -EOPNOTSUPP;
    return fallocate_hooked(f, GH_FILE_ALLOCATE, 0, off, len);
}

uint64_t gh_file_used_bytes(struct gh_file *f)
{
    struct stat st;
    if (f->device || f->window || fstat(f->fd, &st) < 0)
        return gh_file_bytes(f);
    return (uint64_t)st.st_blocks * 512;
}

int gh_file_space(struct gh_file *f, uint64_t *ret_free)
{
    struct statfs s;
    if (f->device)
        return -EOPNOTSUPP;
    if (fstatfs(f->fd, &s) < 0)
        return -errno;
    *ret_free = (uint64_t)s.f_bavail * (uint64_t)s.f_bsize;
    return 0;
}

/* Asks the file system what begins at off; returns where it ends, UINT64_MAX: not before the file does. */
static uint64_t seek_extent(struct gh_file *f, uint64_t off, bool *hole)
{
    uint64_t at = f->base + off;
    off_t data = lseek(f->fd, (off_t)at, SEEK_DATA);
    *hole = data < 0 ? errno == ENXIO : (uint64_t)data > at;
    if (data < 0)
        return UINT64_MAX;                 /* no SEEK_DATA here: everything counts as data */
    off_t end = *hole ? data : lseek(f->fd, (off_t)at, SEEK_HOLE);
    return end < 0 || (uint64_t)end <= at ? UINT64_MAX : (uint64_t)end - f->base;
}

int gh_file_extent(struct gh_file *f, uint64_t off, uint64_t len, bool *hole, uint64_t *ret_len)
{
    uint64_t end;
    *hole = off >= gh_file_bytes(f);
    *ret_len = len;
    if (*hole || f->device)
        return 0;
    if (f->writable) {
        end = seek_extent(f, off, hole);
    } else {                               /* some file systems walk the whole extent for each question */
        pthread_mutex_lock(&f->extent_lock);
        if (off < f->extent_from || off >= f->extent_to) {
            f->extent_to = seek_extent(f, off, &f->extent_hole);
            f->extent_from = off;
        }
        *hole = f->extent_hole;
        end = f->extent_to;
        pthread_mutex_unlock(&f->extent_lock);
    }
    if (end - off < *ret_len)
        *ret_len = end - off;
    return 0;
}

int gh_file_rename(int dirfd, const char *from, const char *to)
{
    struct gh_file_event ev = { .op = GH_FILE_RENAME };
    int r = before(&ev);
    if (r < 0)
        return r;
    if (renameat(dirfd, from, dirfd, to) < 0)
        return -errno;
    int dir = dirfd;
    if (dirfd == AT_FDCWD) {
        char folder[PATH_MAX];
        snprintf(folder, sizeof folder, "%s", to);
        char *slash = strrchr(folder, '/');
        if (slash)
            slash[slash == folder] = 0;
        dir = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            return -errno;
    }
    r = fsync(dir) < 0 ? -errno : 0;
    if (dirfd == AT_FDCWD)
        close(dir);
    if (!r)
        after(&ev);
    return r;
}

void *gh_file_memory(uint64_t bytes, uint64_t limit)
{
    struct gh_file_event ev = { .op = GH_FILE_ALLOC_MEMORY, .bytes = bytes };
    if (bytes > limit || bytes > SIZE_MAX || before(&ev) < 0)
        return NULL;
    return calloc(1, bytes ? (size_t)bytes : 1);
}

void gh_file_settle_time(struct gh_file *f) { fsync(f->fd); }

void gh_file_set_time(struct gh_file *f, const struct timespec *mtime)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, *mtime };
    futimens(f->fd, times);
}
