/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk/block.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "disk/block_trouble.h"

enum { MAX_THREADS = 16, BATCH_MAX = 8, BATCH_BYTES = 64 << 10, TRIES = 16 };
/* While requests take no longer than copying, more workers than these only get into each other's way; while they wait for the
 * host's disk, each gets a worker of its own. */
enum { BUSY_WORKERS = 4, SLOW_NS = 30000, SLOWEST_NS = 250000 };
#define SPACE_STEP (64ull << 20)               /* of writes between two looks */

/* A medium lives until the last request on it is done, also after it was ejected. */
struct medium { struct gh_image *image; unsigned refs; };

struct drive {
    struct gh_block block;
    struct gh_disk_block_params params;
    char serial[21], model[41];
    pthread_mutex_t lock;                      /* all below; below the machine lock in the order */
    pthread_cond_t work, idle, pace;
    struct gh_block_request *queue, **queue_tail, *held, **held_tail, *done, **done_tail;
    struct medium *medium;
    uint64_t generation, next_seq;
    uint64_t pace_ns;                          /* when the next request may begin under the limit */
    bool tray_open, door_locked, ending, stopping, stalled, posted;
    uint64_t cost_ns;                          /* of a request, lately */
    unsigned queued, running, threads, resting; /* requests waiting, running or being delivered; workers, those that wait */
    uint64_t seq[MAX_THREADS];                 /* what each worker runs; 0: nothing */
    pthread_t thread[MAX_THREADS];
    struct gh_error why, low;
    uint64_t space_next;                       /* bytes written when the host's space is looked at again */
    bool low_told;
    struct gh_disk_block_counters counters;
};

static struct drive *drive_of(struct gh_block *b) { return GH_CONTAINER_OF(b, struct drive, block); }

/* A request's scratch: next in its list, its sequence number, its result. */
static struct gh_block_request *next_of(struct gh_block_request *r) { return r->backend[0]; }
static void append(struct gh_block_request ***tail, struct gh_block_request *r)
{
    r->backend[0] = NULL;
    **tail = r;
    *tail = (struct gh_block_request **)&r->backend[0];
}
static struct gh_block_request *take(struct gh_block_request **head, struct gh_block_request ***tail)
{
    struct gh_block_request *r = *head;
    if (r && !(*head = next_of(r)))
        *tail = head;
    return r;
}

static void medium_put(struct drive *d, struct medium *m)      /* lock held; dropped around the close */
{
    if (!m || --m->refs)
        return;
    pthread_mutex_unlock(&d->lock);
    gh_image_close(m->image);
    free(m);
    pthread_mutex_lock(&d->lock);
}

static void deliver_posted(void *arg) { gh_disk_block_deliver(&((struct drive *)arg)->block); }

static bool slow(const struct drive *d) { return d->cost_ns > SLOW_NS; }      /* lock held */

/* For so many new requests that no awake worker will come for. Lock held. */
static void wake_workers(struct drive *d, unsigned n)
{
    unsigned awake = d->threads - d->resting, may = slow(d) ? d->threads : BUSY_WORKERS;
    for (unsigned i = 0; i < n && i < d->resting && awake + i < may; i++)
        pthread_cond_signal(&d->work);
}

static void want_delivery(struct drive *d)                     /* lock held */
{
    if (d->posted)
        return;
    d->posted = true;
    d->params.post(d->params.opaque, deliver_posted, d);
}

static void complete(struct drive *d, struct gh_block_request *r, int result)  /* lock held; delivery follows */
{
    r->backend[2] = (void *)(intptr_t)result;
    append(&d->done_tail, r);
}

static struct gh_block_request *take_done(struct drive *d)     /* lock held */
{
    struct gh_block_request *list = d->done;
    d->done = NULL;
    d->done_tail = &d->done;
    return list;
}

static void tell_done(struct gh_block_request *list)
{
    while (list) {
        struct gh_block_request *r = list;
        list = next_of(r);
        r->done(r, (int)(intptr_t)r->backend[2]);
    }
}

/* The drive whose completions this worker runs: it looks at the queue itself afterwards, so what they submit wakes nobody. */
static _Thread_local const struct drive *delivering;

static void deliver_here(void *arg)                            /* a worker; machine lock held */
{
    struct drive *d = arg;
    pthread_mutex_lock(&d->lock);
    struct gh_block_request *list = take_done(d);
    pthread_mutex_unlock(&d->lock);
    delivering = d;
    tell_done(list);
    delivering = NULL;
}

/* By the worker itself where the machine lock is free, which saves the way through another thread. Lock held, dropped. */
static void deliver_soon(struct drive *d)
{
    if (!d->done || d->posted)
        return;
    bool here = false;
    if (d->params.run_now && !d->stopping) {
        pthread_mutex_unlock(&d->lock);
        /* Who submitted it may still be about to give the lock back: a few microseconds, less than the way through a post. */
        for (unsigned tries = 0; tries < TRIES && !(here = d->params.run_now(d->params.opaque, deliver_here, d)); tries++)
            for (unsigned i = 0; i < 8; i++)
                __builtin_ia32_pause();
        pthread_mutex_lock(&d->lock);
    }
    if (!here && d->done)
        want_delivery(d);
    if (d->queued > 1)
        wake_workers(d, d->queued - 1);        /* this worker takes one itself */
}

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The limit: each request moves the time at which the next one may begin; a tenth of a second may be
 * caught up after a rest. Lock held, dropped while waiting. */
static void wait_for_turn(struct drive *d, const struct gh_block_request *r)
{
    const struct gh_disk_block_params *p = &d->params;
    bool data = r->op == GH_BLOCK_READ || r->op == GH_BLOCK_WRITE;
    uint64_t cost = 0, now = clock_ns();
    if (data && p->limit_bytes)
        cost = (uint64_t)((double)r->bytes * 1e9 / (double)p->limit_bytes);
    if (r->op != GH_BLOCK_FLUSH && p->limit_ops && 1000000000u / p->limit_ops > cost)
        cost = 1000000000u / p->limit_ops;
    if (!cost)
        return;
    if (d->pace_ns + 100000000u < now)
        d->pace_ns = now - 100000000u;
    uint64_t begin = d->pace_ns;
    d->pace_ns += cost;
    struct timespec until = { (time_t)(begin / 1000000000u), (long)(begin % 1000000000u) };
    while (!d->ending && clock_ns() < begin)
        pthread_cond_timedwait(&d->pace, &d->lock, &until);
}

static int run_request(struct drive *d, struct gh_image *img, struct gh_block_request *r)
{
    enum gh_disk_cache cache = d->params.cache;
    int e = 0;
    switch (r->op) {
    case GH_BLOCK_READ: return gh_image_readv(img, r->offset, r->iov, r->iov_count, r->bytes);
    case GH_BLOCK_WRITE: e = gh_image_writev(img, r->offset, r->iov, r->iov_count, r->bytes); break;
    case GH_BLOCK_ZERO: e = gh_image_zero(img, r->offset, r->bytes); break;
    case GH_BLOCK_DISCARD: return gh_image_discard(img, r->offset, r->bytes);
    case GH_BLOCK_FLUSH: return cache == GH_DISK_UNSAFE ? 0 : gh_image_flush(img);
    default: return -ENOTSUP;
    }
    bool durable = cache == GH_DISK_WRITETHROUGH || (r->fua && cache != GH_DISK_UNSAFE);
    return !e && durable ? gh_image_flush(img) : e;
}

/* A flush also covers the writes submitted before it that still run. */
static void wait_for_older(struct drive *d, uint64_t seq)
{
    for (unsigned i = 0; i < d->threads; i++)
        while (d->seq[i] && d->seq[i] < seq)
            pthread_cond_wait(&d->idle, &d->lock);
}

static void count(struct drive *d, const struct gh_block_request *r, int e)
{
    d->counters.errors += e < 0;
    if (r->op == GH_BLOCK_READ) {
        d->counters.reads++;
        d->counters.read_bytes += r->bytes;
    } else if (r->op == GH_BLOCK_WRITE) {
        d->counters.writes++;
        d->counters.write_bytes += r->bytes;
    } else if (r->op == GH_BLOCK_FLUSH) {
        d->counters.flushes++;
    }
}

struct worker { struct drive *drive; unsigned index; };

/* Takes what one worker does at once: a flush alone, small requests several when many wait, so that the
 * threads need not meet for each of them. The first one's sequence number stands for all. Lock held. */
static unsigned take_batch(struct drive *d, struct gh_block_request *batch[BATCH_MAX])
{
    unsigned n = 0, share = slow(d) ? 1 : d->queued / (2 * BUSY_WORKERS);
    do {
        struct gh_block_request *r = d->queue;
        bool alone = r->op == GH_BLOCK_FLUSH || r->bytes > BATCH_BYTES || d->params.limit_bytes || d->params.limit_ops;
        if (n && alone)
            break;
        batch[n++] = take(&d->queue, &d->queue_tail);
        d->queued--;
        if (alone)
            break;
    } while (d->queue && n < share && n < BATCH_MAX);
    return n;
}

/* What a request costs: a running mean of time spent, a large one counting as several. Lock held. */
static void note_cost(struct drive *d, struct gh_block_request **batch, unsigned n, uint64_t ns)
{
    uint64_t units = 0;
    for (unsigned i = 0; i < n; i++) {
        if (batch[i]->op != GH_BLOCK_READ && batch[i]->op != GH_BLOCK_WRITE)
            return;
        units += 1 + batch[i]->bytes / BATCH_BYTES;
    }
    d->cost_ns = (7 * d->cost_ns + (ns / units < SLOWEST_NS ? ns / units : SLOWEST_NS)) / 8;
}

static void finish_batch(struct drive *d, const struct gh_image *img, struct gh_block_request **batch, const int *result, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct gh_block_request *r = batch[i];
        int e = result[i];
        count(d, r, e);
        if (e < 0 && !d->params.removable && !d->stopping && gh_disk_trouble(img, r, e, &d->why)) {
            d->stalled = true;
            r->backend[2] = (void *)(intptr_t)e;
            append(&d->held_tail, r);
            want_delivery(d);                  /* which tells the machine, too */
        } else {
            complete(d, r, e);
        }
    }
}

/* Is it time to look at the host's space? Lock held. */
static bool space_due(struct drive *d, const struct gh_block_request *r)
{
    if (d->low_told || !d->params.space_low || (r->op != GH_BLOCK_WRITE && r->op != GH_BLOCK_ZERO) || d->counters.write_bytes < d->space_next)
        return false;
    d->space_next = d->counters.write_bytes + SPACE_STEP;
    return true;
}

static void look_at_space(struct drive *d, struct gh_image *img)
{
    struct gh_error low = { 0 };
    if (!gh_disk_space_is_low(img, &low))
        return;
    pthread_mutex_lock(&d->lock);
    if (!d->low_told) {
        d->low_told = true;
        d->low = low;
        want_delivery(d);
    }
    pthread_mutex_unlock(&d->lock);
}

static void *worker_main(void *arg)
{
    struct worker w = *(struct worker *)arg;
    struct drive *d = w.drive;
    struct gh_block_request *batch[BATCH_MAX];
    int result[BATCH_MAX];
    free(arg);
    pthread_mutex_lock(&d->lock);
    for (;;) {
        while (!d->stopping && (d->stalled || !d->queue)) {
            d->resting++;
            pthread_cond_wait(&d->work, &d->lock);
            d->resting--;
        }
        if (d->stopping)
            break;
        unsigned n = take_batch(d, batch);
        uint64_t seq = (uint64_t)(uintptr_t)batch[0]->backend[1];
        struct medium *m = d->medium;
        if (!m || d->tray_open) {
            for (unsigned i = 0; i < n; i++)
                complete(d, batch[i], batch[i]->op == GH_BLOCK_FLUSH ? 0 : -ENOMEDIUM);
            want_delivery(d);
            pthread_cond_broadcast(&d->idle);
            continue;
        }
        m->refs++;
        d->running += n;
        d->seq[w.index] = seq;
        if (batch[0]->op == GH_BLOCK_FLUSH)
            wait_for_older(d, seq);
        else if (n == 1)
            wait_for_turn(d, batch[0]);
        bool look = space_due(d, batch[0]);
        pthread_mutex_unlock(&d->lock);
        if (d->params.working)
            d->params.working();
        uint64_t begin = clock_ns();
        for (unsigned i = 0; i < n; i++)
            result[i] = run_request(d, m->image, batch[i]);
        uint64_t spent = clock_ns() - begin;
        if (look)
            look_at_space(d, m->image);
        pthread_mutex_lock(&d->lock);
        d->seq[w.index] = 0;
        note_cost(d, batch, n, spent);
        finish_batch(d, m->image, batch, result, n);
        medium_put(d, m);
        pthread_cond_broadcast(&d->idle);      /* a flush may wait for these */
        deliver_soon(d);
        d->running -= n;
        pthread_cond_broadcast(&d->idle);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

void gh_disk_block_deliver(struct gh_block *b)
{
    struct drive *d = drive_of(b);
    bool tell = false;
    struct gh_error why = { 0 };
    pthread_mutex_lock(&d->lock);
    struct gh_error low;
    bool note = gh_error_is_set(&d->low);
    if (note) {
        low = d->low;
        gh_error_clear(&d->low);
    }
    d->posted = false;
    struct gh_block_request *list = take_done(d);
    if (d->stalled && d->why.code) {
        tell = true;
        why = d->why;
        gh_error_clear(&d->why);
    }
    pthread_mutex_unlock(&d->lock);
    tell_done(list);
    if (note)
        d->params.space_low(d->params.opaque, b, &low);
    if (tell && d->params.stalled)
        d->params.stalled(d->params.opaque, b, &why);
}

/* ---- The ops -------------------------------------------------------------------------------------------- */
static void drive_submit(struct gh_block *b, struct gh_block_request *r)
{
    struct drive *d = drive_of(b);
    pthread_mutex_lock(&d->lock);
    r->backend[1] = (void *)(uintptr_t)++d->next_seq;
    if (!d->ending) {
        append(&d->queue_tail, r);
        d->queued++;
    }
    if (delivering != d)
        wake_workers(d, 1);
    pthread_mutex_unlock(&d->lock);
}

static void drive_info(struct gh_block *b, struct gh_block_info *ret)
{
    struct drive *d = drive_of(b);
    pthread_mutex_lock(&d->lock);
    bool there = d->medium && !d->tray_open;
    *ret = (struct gh_block_info){
        .bytes = there ? gh_image_bytes(d->medium->image) : 0,
        .read_only = !there || !gh_image_writable(d->medium->image),
        .removable = d->params.removable, .hot_plug = d->params.hot_plug, .medium = there, .locked = d->door_locked,
        .tray_open = d->tray_open,
        .can_discard = there && gh_image_writable(d->medium->image) && !d->params.no_discard,
        .logical_sector = d->params.removable ? 2048 : 512,
        .physical_sector = d->params.removable ? 2048 : 4096,
        .medium_generation = d->generation,
    };
    memcpy(ret->serial, d->serial, sizeof ret->serial);
    memcpy(ret->model, d->model, sizeof ret->model);
    pthread_mutex_unlock(&d->lock);
}

static void cancel_list(struct drive *d, struct gh_block_request **head, struct gh_block_request ***tail, int result)
{
    for (struct gh_block_request *r; (r = take(head, tail));)
        complete(d, r, result ? result : (int)(intptr_t)r->backend[2]);
    if (d->done)
        want_delivery(d);
}

static void drive_cancel_all(struct gh_block *b)
{
    struct drive *d = drive_of(b);
    pthread_mutex_lock(&d->lock);
    cancel_list(d, &d->queue, &d->queue_tail, -ECANCELED);
    d->queued = 0;
    cancel_list(d, &d->held, &d->held_tail, -ECANCELED);
    pthread_mutex_unlock(&d->lock);
}

static int drive_eject(struct gh_block *b, bool load)
{
    struct drive *d = drive_of(b);
    bool moved = false;
    int r = 0;
    pthread_mutex_lock(&d->lock);
    if (!d->params.removable)
        r = -ENOTSUP;
    else if (!load && d->door_locked)
        r = -EBUSY;
    else if (d->tray_open == load) {
        d->tray_open = !load;
        d->generation++;
        moved = true;
    }
    pthread_mutex_unlock(&d->lock);
    if (moved && d->params.tray)
        d->params.tray(d->params.opaque, b, load);
    return r;
}

static void drive_lock(struct gh_block *b, bool locked)
{
    struct drive *d = drive_of(b);
    pthread_mutex_lock(&d->lock);
    d->door_locked = locked;
    pthread_mutex_unlock(&d->lock);
}

static const struct gh_block_ops drive_ops = {
    .submit = drive_submit, .info = drive_info, .cancel_all = drive_cancel_all, .eject = drive_eject, .lock = drive_lock,
};

/* ---- The machine's side ------------------------------------------------------------------------------------ */
static struct medium *medium_new(struct gh_image *image)
{
    struct medium *m = image ? calloc(1, sizeof *m) : NULL;
    if (m)
        *m = (struct medium){ image, 1 };
    return m;
}

struct gh_block *gh_disk_block_new(const struct gh_disk_block_params *p, struct gh_image *image, struct gh_error *err)
{
    struct drive *d = calloc(1, sizeof *d);
    struct medium *m = medium_new(image);
    if (!d || (image && !m)) {
        gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for another disk.");
        free(d);
        free(m);
        gh_image_close(image);
        return NULL;
    }
    d->block.ops = &drive_ops;
    d->params = *p;
    d->params.name = d->params.serial = d->params.model = NULL;
    snprintf(d->block.name, sizeof d->block.name, "%s", p->name ? p->name : "disk");
    snprintf(d->serial, sizeof d->serial, "%s", p->serial ? p->serial : "");
    snprintf(d->model, sizeof d->model, "%s", p->model ? p->model : "");
    d->medium = m;
    d->generation = 1;
    d->queue_tail = &d->queue;
    d->held_tail = &d->held;
    d->done_tail = &d->done;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->work, NULL);
    pthread_cond_init(&d->idle, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->pace, &attr);
    pthread_condattr_destroy(&attr);
    unsigned n = p->threads ? p->threads : MAX_THREADS;
    for (unsigned i = 0; i < n && i < MAX_THREADS; i++) {
        struct worker *w = malloc(sizeof *w);
        if (w)
            *w = (struct worker){ d, i };
        if (!w || pthread_create(&d->thread[i], NULL, worker_main, w)) {
            free(w);
            break;
        }
        d->threads++;
    }
    if (!d->threads) {
        gh_error_set(err, -EAGAIN, "OutOfThreads", "The host refuses another thread, which “%s” needs.", d->block.name);
        gh_disk_block_free(&d->block);
        return NULL;
    }
    return &d->block;
}

void gh_disk_block_stop(struct gh_block *b)
{
    struct drive *d = drive_of(b);
    pthread_mutex_lock(&d->lock);
    d->ending = true;                          /* no limit holds what is left */
    pthread_cond_broadcast(&d->pace);
    while (d->threads && (d->running || (d->queue && !d->stalled)))
        pthread_cond_wait(&d->idle, &d->lock);
    d->stopping = true;
    pthread_cond_broadcast(&d->work);
    pthread_mutex_unlock(&d->lock);
    for (unsigned i = 0; i < d->threads; i++)
        pthread_join(d->thread[i], NULL);
    d->threads = 0;
    d->posted = true;                          /* delivered here, not by post */
    drive_cancel_all(b);
    gh_disk_block_deliver(b);
    d->posted = true;
}

int gh_disk_block_free(struct gh_block *b)
{
    if (!b)
        return 0;
    struct drive *d = drive_of(b);
    gh_disk_block_stop(b);
    int r = d->medium ? gh_image_close(d->medium->image) : 0;
    free(d->medium);
    pthread_cond_destroy(&d->pace);
    pthread_cond_destroy(&d->idle);
    pthread_cond_destroy(&d->work);
    pthread_mutex_destroy(&d->lock);
    free(d);
    return r;
}

void gh_disk_block_resume(struct gh_block *b, bool report)
{
    struct drive *d = drive_of(b);
    pthread_mutex_lock(&d->lock);
    if (report) {
        cancel_list(d, &d->held, &d->held_tail, 0);
    } else if (d->held) {
        for (struct gh_block_request *r = d->held; r; r = next_of(r))
            d->queued++;
        *d->held_tail = d->queue;              /* held ones are older: in front */
        if (!d->queue)
            d->queue_tail = d->held_tail;
        d->queue = d->held;
        d->held = NULL;
        d->held_tail = &d->held;
    }
    d->stalled = false;
    gh_error_clear(&d->why);
    pthread_cond_broadcast(&d->work);
    pthread_mutex_unlock(&d->lock);
}

bool gh_disk_block_stalled(struct gh_block *b)
{
    struct drive *d = drive_of(b);
    pthread_mutex_lock(&d->lock);
    bool r = d->stalled;
    pthread_mutex_unlock(&d->lock);
    return r;
}

void gh_disk_block_drain(struct gh_block *b)
{
    struct drive *d = drive_of(b);
    pthread_mutex_lock(&d->lock);
    while (d->running || (d->queue && !d->stalled))
        pthread_cond_wait(&d->idle, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

static int change_medium(struct gh_block *b, struct gh_image *image, bool force, struct gh_error *err)
{
    struct drive *d = drive_of(b);
    struct medium *m = medium_new(image);
    int r = 0;
    if (image && !m)
        r = gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory to insert a medium.");
    pthread_mutex_lock(&d->lock);
    if (!r && !d->params.removable && !d->params.hot_plug)
        r = gh_error_set(err, -ENOTSUP, "MediumFixed", "“%s” has no removable medium.", b->name);
    bool ask = !r && d->door_locked && d->medium && !d->tray_open && !force;
    if (ask)
        r = gh_error_set(err, -EBUSY, "MediumLocked",
                         "The guest holds the medium of “%s”. It was asked to release it; try again, or force it.", b->name);
    if (!r) {
        struct medium *old = d->medium;
        d->medium = m;
        d->tray_open = !image;
        d->generation++;
        if (!image || force)
            d->door_locked = false;
        medium_put(d, old);
    }
    pthread_mutex_unlock(&d->lock);
    if (r < 0) {
        free(m);
        gh_image_close(image);
    }
    if ((ask || !r) && b->medium_event)
        b->medium_event(b->event_opaque, ask);
    return r;
}

int gh_disk_block_insert(struct gh_block *b, struct gh_image *image, bool force, struct gh_error *err)
{ return change_medium(b, image, force, err); }

int gh_disk_block_eject(struct gh_block *b, bool force, struct gh_error *err)
{ return change_medium(b, NULL, force, err); }

void gh_disk_block_counters(struct gh_block *b, struct gh_disk_block_counters *ret)
{
    struct drive *d = drive_of(b);
    pthread_mutex_lock(&d->lock);
    *ret = d->counters;
    pthread_mutex_unlock(&d->lock);
}
