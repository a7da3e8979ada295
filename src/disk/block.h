/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A disk or a CD drive as devices see it (struct gh_block), over a disk image, with worker threads.
 *
 * Threads: the gh_block ops, insert, eject, resume and free on the machine's main side with the machine
 * lock; workers never wait for it. Completions run with it: on the worker where run_now finds it free, otherwise
 * in deliver, which post's function calls. Workers are made in new, before the sandbox closes.
 *
 * Host trouble (disk full, EIO, quota, failed flush) on a hard disk completes nothing: the request is
 * held, new ones wait, and stalled tells the machine once, which pauses. gh_disk_block_resume re-issues.
 * On a removable drive errors go to the guest, as a scratched CD would.
 */
#pragma once
#include "devices/backend.h"
#include "disk/disk.h"

/* When a write counts as done: in the host's cache (a guest's flush makes it durable), durable at once, or
 * never durable on purpose (flushes do nothing; for disks that may be lost). */
enum gh_disk_cache { GH_DISK_WRITEBACK, GH_DISK_WRITETHROUGH, GH_DISK_UNSAFE };

struct gh_disk_block_params {
    const char *name, *serial, *model;         /* copied; NULL: empty */
    bool removable;
    bool hot_plug;                             /* a whole disk that insert and eject plug in and pull out */
    bool no_discard;                           /* TRIM is not offered */
    enum gh_disk_cache cache;
    uint64_t limit_bytes;                      /* a second, reads and writes together; 0: no limit */
    uint32_t limit_ops;
    unsigned threads;                          /* 16 at most; 0: as many */
    /* Runs fn(arg) on the machine's main thread with the machine lock, soon. From any thread. */
    void (*post)(void *opaque, void (*fn)(void *arg), void *arg);
    /* Runs fn(arg) on the calling worker with the machine lock, if that is free at once; otherwise false. May be NULL. */
    bool (*run_now)(void *opaque, void (*fn)(void *arg), void *arg);
    /* Main thread, lock held: a request is held; err has DiskFull, DiskTooLargeForHost, DiskReadFailed,
     * DiskWriteFailed or DiskFlushFailed. */
    void (*stalled)(void *opaque, struct gh_block *b, const struct gh_error *why);
    /* Main thread, lock held: once in the life of the drive, when little is left on the host for an image that may
     * still grow; err has DiskSpaceLow. A note: nothing stops. May be NULL. */
    void (*space_low)(void *opaque, struct gh_block *b, const struct gh_error *why);
    /* Any vCPU's thread, lock held: the guest opened (false) or closed the tray. May be NULL. */
    void (*tray)(void *opaque, struct gh_block *b, bool closed);
    /* On a worker, before each request: what the thread gives up once the machine runs. May be NULL. */
    void (*working)(void);
    void *opaque;
};
/* image (taken over, also on failure) may be NULL: an empty removable drive. */
struct gh_block *gh_disk_block_new(const struct gh_disk_block_params *params, struct gh_image *image, struct gh_error *err);
/* Waits for running requests; whatever is left completes with -ECANCELED, then closes the image. A
 * posted delivery may still be pending: call it when the loop that runs posts has ended or run dry. */
int  gh_disk_block_free(struct gh_block *b);
/* After a stall. report: held requests go to the guest as errors instead of being tried again. */
void gh_disk_block_resume(struct gh_block *b, bool report);
bool gh_disk_block_stalled(struct gh_block *b);
/* Without the machine lock: until no request runs, is being delivered or waits (or the drive is stalled). Then deliver. */
void gh_disk_block_drain(struct gh_block *b);
/* With the lock, before the devices and the guest's RAM go: what is queued runs, everything completes (what is
 * held by a stall with -ECANCELED), and whatever is submitted afterwards is forgotten. */
void gh_disk_block_stop(struct gh_block *b);
void gh_disk_block_deliver(struct gh_block *b);   /* with the lock: runs completions */
/* Removable. force: although the guest locked the door. Without it a locked drive gets an eject
 * request event and the answer is -EBUSY (MediumLocked). Takes image over in every case. */
int  gh_disk_block_insert(struct gh_block *b, struct gh_image *image, bool force, struct gh_error *err);
int  gh_disk_block_eject(struct gh_block *b, bool force, struct gh_error *err);
struct gh_disk_block_counters { uint64_t reads, writes, flushes, read_bytes, write_bytes, errors; };
void gh_disk_block_counters(struct gh_block *b, struct gh_disk_block_counters *ret);
