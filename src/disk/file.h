/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One host file under a disk image: the only place of this library that makes I/O system calls.
 * Every call passes a hook that tests use to record (power-loss replay) and to inject faults.
 *
 * Thread: positional reads, writes, zeroing and flushes from any thread at once; set-up, truncate
 * and free by one thread while nothing else runs on the file, or under the image's write lock.
 * Ownership: a gh_file owns its descriptor. Offsets and lengths are bytes.
 * Errors: negative errno. EINTR, EAGAIN and short transfers never come out.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>

#include "base/error.h"

struct gh_file {
    int  fd;
    bool writable;
    bool device;                       /* block device: fixed size */
    bool no_punch, no_zero_range;      /* the file system refused once; not asked again */
    bool draft;                        /* nobody counts on it yet: flush does nothing (draft.h) */
    _Atomic int direct;                /* of a draft: the same file past the host's cache; -1: none */
    _Atomic uint64_t reach;            /* how long the file is on the host: a direct draft's end is moved in large steps */
    pthread_mutex_t reach_lock;
    bool window;                       /* a range of a larger file: from base on */
    uint64_t base;
    unsigned id;                       /* numbers files for the hook, in order of gh_file_new */
    _Atomic uint64_t bytes;            /* current size; only we change it */
    _Atomic int flush_error;           /* the first fsync failure; final */
    _Atomic uint64_t changes, synced;  /* flush has nothing to do when they are equal */
    pthread_mutex_t extent_lock;       /* the extent seen last; only of files that nobody changes */
    uint64_t extent_from, extent_to;
    bool extent_hole;
    char label[192];                   /* how messages call the file */
};

enum gh_file_op {
    GH_FILE_READ, GH_FILE_WRITE, GH_FILE_FLUSH, GH_FILE_TRUNCATE, GH_FILE_ZERO, GH_FILE_PUNCH,
    GH_FILE_ALLOCATE, GH_FILE_RENAME, GH_FILE_ALLOC_MEMORY,
};
struct gh_file_event {
    enum gh_file_op op;
    const struct gh_file *file;        /* NULL: rename, memory */
    uint64_t offset, bytes;            /* TRUNCATE: bytes is the new size */
    const struct iovec *iov;           /* WRITE: what is written; bytes may end inside it */
    unsigned iov_count;
};
/* before: 0, the negative errno the call shall fail with, or 1: a write or flush is left out and counts as done (a
 * planted fault). after: the call succeeded. Called on the
 * caller's thread; several threads at once. */
struct gh_file_hook {
    int  (*before)(struct gh_file_hook *hook, const struct gh_file_event *ev);
    void (*after)(struct gh_file_hook *hook, const struct gh_file_event *ev);
};
void gh_file_set_hook(struct gh_file_hook *hook);   /* process-wide, tests only; NULL: none */

/* Takes fd over, also on failure. A pipe, directory or character device is refused. */
struct gh_file *gh_file_new(int fd, bool writable, const char *label, struct gh_error *err);
void gh_file_free(struct gh_file *f);               /* closes; no flush */
/* From now on the file is only the range [base, base + bytes) of it: an archive's member. A writable one grows at
 * its end. Right after gh_file_new. */
int  gh_file_set_window(struct gh_file *f, uint64_t base, uint64_t bytes, struct gh_error *err);

/* fd is the same file, opened with O_DIRECT; taken over in every case. Large writes of a draft go there: they cost a fraction
 * of writing to the host's cache and then to its disk, and several at once keep the disk busy. Right after gh_file_new. */
void gh_file_set_direct(struct gh_file *f, int fd);
static inline bool gh_file_is_direct(struct gh_file *f) { return atomic_load_explicit(&f->direct, memory_order_relaxed) >= 0; }
/* The file on the host becomes as long as it says it is. For a draft that is complete. */
int  gh_file_settle_end(struct gh_file *f);

/* Reads exactly len; bytes beyond the end of the file read as zeros. */
int gh_file_read(struct gh_file *f, uint64_t off, void *buf, size_t len);
int gh_file_write(struct gh_file *f, uint64_t off, const void *buf, size_t len);
/* The same for a vector; iov is consumed in a copy, the caller's array stays. */
int gh_file_readv(struct gh_file *f, uint64_t off, const struct iovec *iov, unsigned n, size_t len);
int gh_file_writev(struct gh_file *f, uint64_t off, const struct iovec *iov, unsigned n, size_t len);
int gh_file_flush(struct gh_file *f);               /* fdatasync; after one failure always fails */
void gh_file_write_back(struct gh_file *f);         /* a hint: begin now what a flush will wait for */
int gh_file_truncate(struct gh_file *f, uint64_t bytes);
/* The range reads as zeros afterwards; space may stay allocated. Grows the file if it must. */
int gh_file_zero(struct gh_file *f, uint64_t off, uint64_t len);
/* The range reads as zeros and its space is given back; -EOPNOTSUPP where the host cannot. Never grows. */
int gh_file_punch(struct gh_file *f, uint64_t off, uint64_t len);
int gh_file_allocate(struct gh_file *f, uint64_t off, uint64_t len);  /* -EOPNOTSUPP: nothing done */
static inline uint64_t gh_file_bytes(struct gh_file *f) { return atomic_load_explicit(&f->bytes, memory_order_acquire); }
uint64_t gh_file_used_bytes(struct gh_file *f);     /* what it really occupies on the host */
int gh_file_space(struct gh_file *f, uint64_t *ret_free);   /* left on its file system; -EOPNOTSUPP: a device */
/* How far from off the file is all data (*hole = false) or all hole; never 0 inside the file. */
int gh_file_extent(struct gh_file *f, uint64_t off, uint64_t len, bool *hole, uint64_t *ret_len);
/* The time of the last change, for what takes the place of something that reads the same. A hint. */
void gh_file_settle_time(struct gh_file *f);        /* fsync: with the time of the last change; a hint */
void gh_file_set_time(struct gh_file *f, const struct timespec *mtime);
/* rename(2) between two names of one folder, then fsync of that folder. */
int gh_file_rename(int dirfd, const char *from, const char *to);
/* malloc for sizes that a file controls: refuses above limit, passes the fault hook. NULL: -ENOMEM. */
void *gh_file_memory(uint64_t bytes, uint64_t limit);

/* lock.c: OFD locks on the bytes QEMU uses, so that either program refuses the other's image.
 * Shared: several readers, no writer. Exclusive: one writer, no one else. DiskLocked names the holder
 * where /proc shows it. */
enum gh_file_lock { GH_LOCK_NONE, GH_LOCK_SHARED, GH_LOCK_EXCLUSIVE, GH_LOCK_SHARED_WRITERS };
int gh_file_lock(struct gh_file *f, enum gh_file_lock kind, struct gh_error *err);
/* Would the lock be given? Takes none. For a program that opens files for another one, which cannot see who holds them. */
int gh_file_lock_ask(int fd, enum gh_file_lock kind, const char *label, struct gh_error *err);
/* For programs that are about to close themselves off from /proc: remembers who holds the file at path now, if
 * anybody does. One thread; a few files. */
void gh_file_lock_witness(const char *path);
