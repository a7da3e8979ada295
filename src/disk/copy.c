/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Copying a whole disk: workers take chunk after chunk, read it and find the zeros in it. Then one after the other, in the
 * order of the disk, gives its chunk a place in the new image; the data follows side by side, past the host's cache, where
 * that is possible (a draft on a file system with direct I/O), and in order where it is not, because a file takes one cached
 * write at a time however many ask. The caller's thread tells the progress and starts the host's disk on what is written. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "disk/driver.h"
#include "disk/ops.h"

#define CHUNK (512ull << 10)                   /* stays in the processors' caches between reading and writing */
#define WRITE_BACK_STEP (16ull << 20)
#define ZERO_RUN (1ull << 30)                  /* bounds what one look into a map may cost */
enum { GRAIN = 4096, SECTOR = 512, WORKERS_MIN = 4, WORKERS_MAX = 8, STEP_NS = 10000000 };

struct piece { uint32_t from, to; };           /* of a chunk: not all zeros */
struct worker {
    struct copy *copy;
    pthread_t thread;
    pthread_cond_t turn;                       /* mine has come, or all is over */
    uint8_t *buf;
    struct piece *pieces;
    unsigned count;
    uint64_t chunk, span;                      /* span: more than one only of what is known to be zeros */
    bool empty;                                /* the chunk was */
};

struct copy {
    struct gh_image *src, *dst;
    uint64_t bytes, chunks, unit;
    bool blank, side_by_side;
    struct worker worker[WORKERS_MAX];
    unsigned workers;
    pthread_mutex_t lock;                      /* all below */
    pthread_cond_t ended;
    uint64_t claimed, placed, written;         /* chunks: a worker has it; in order, it has its place; it is in dst */
    unsigned live;
    bool read_side, sparse;                    /* sparse: the last chunk was known to be zeros */
    int result;
};

static void stop(struct copy *c, int r, bool read_side)    /* lock held */
{
    if (!c->result) {
        c->result = r;
        c->read_side = read_side;
    }
    for (unsigned i = 0; i < c->workers; i++)
        pthread_cond_signal(&c->worker[i].turn);
}

/* Units are the destination's clusters, so that a cluster of zeros stays unallocated and one with data is written in one call. */
static void find_pieces(const struct copy *c, struct worker *s, uint64_t off, size_t from, size_t to)
{
    for (size_t at = from; at < to;) {
        size_t n = (size_t)gh_min_u64(to - at, c->unit - (off + at) % c->unit);
        if (!gh_is_zero(s->buf + at, n)) {
            struct piece *last = s->count ? &s->pieces[s->count - 1] : NULL;
            if (last && last->to == at)
                last->to = (uint32_t)(at + n);
            else
                s->pieces[s->count++] = (struct piece){ (uint32_t)at, (uint32_t)(at + n) };
        }
        at += n;
    }
}

static int read_chunk(struct copy *c, struct worker *s, uint64_t off, uint64_t len)
{
    s->count = 0;
    s->empty = false;
    for (uint64_t at = 0, n; at < len; at += n) {
        bool zero;
        int r = gh_image_known_zero(c->src, off + at, len - at, &zero, &n);
        if (!r && !zero)
            r = gh_image_read(c->src, off + at, s->buf + at, n);
        if (r < 0)
            return r;
        s->empty = zero && n == len;
        if (s->empty)
            return 0;
        if (zero)
            memset(s->buf + at, 0, n);
    }
    find_pieces(c, s, off, 0, len);
    return 0;
}

static int write_chunk(struct copy *c, const struct worker *s, uint64_t off, uint64_t len)
{
    uint64_t done = 0;
    int r = 0;
    for (unsigned i = 0; i <= s->count && !r; i++) {
        struct piece p = i < s->count ? s->pieces[i] : (struct piece){ (uint32_t)len, (uint32_t)len };
        if (!c->blank && p.from > done)
            r = gh_image_zero(c->dst, off + done, p.from - done);
        if (!r && p.to > p.from)
            r = gh_image_write(c->dst, off + p.from, s->buf + p.from, p.to - p.from);
        done = p.to;
    }
    return r;
}

/* Gives the pieces of a chunk their places. */
static int place_chunk(struct copy *c, const struct worker *s, uint64_t off)
{
    int r = 0;
    for (unsigned i = 0; i < s->count && !r; i++)
        r = gh_image_allocate(c->dst, off + s->pieces[i].from, s->pieces[i].to - s->pieces[i].from);
    return r;
}

static int fill_chunk(struct copy *c, const struct worker *s, uint64_t off)
{
    int r = 0;
    for (unsigned i = 0; i < s->count && !r; i++)
        r = gh_image_write_allocated(c->dst, off + s->pieces[i].from, s->buf + s->pieces[i].from, s->pieces[i].to - s->pieces[i].from);
    return r;
}

static void pass_on(struct copy *c, uint64_t chunks)       /* lock held */
{
    c->placed += chunks;
    for (unsigned i = 0; i < c->workers; i++)
        if (c->worker[i].chunk == c->placed)
            pthread_cond_signal(&c->worker[i].turn);
}

/* Lock held. Most of a large disk is often nothing: then one look takes many chunks. */
static uint64_t claim(struct copy *c, struct worker *w)
{
    uint64_t off = c->claimed * CHUNK, n;
    bool zero;
    w->chunk = c->claimed;
    w->span = 1;
    if (c->sparse && !gh_image_known_zero(c->src, off, gh_min_u64(ZERO_RUN, c->bytes - off), &zero, &n) && zero)
        w->span = n >= c->bytes - off ? c->chunks - w->chunk : n < CHUNK ? 1 : n / CHUNK;
    c->sparse &= w->span > 1;
    c->claimed += w->span;
    return off;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct copy *c = w->copy;
    pthread_mutex_lock(&c->lock);
    while (!c->result && c->claimed < c->chunks) {
        uint64_t off = claim(c, w), len = gh_min_u64(w->span * CHUNK, c->bytes - off);
        int r = 0;
        w->count = 0;
        if (w->span == 1) {
            pthread_mutex_unlock(&c->lock);
            r = read_chunk(c, w, off, len);
            pthread_mutex_lock(&c->lock);
            c->sparse = w->empty;
        }
        if (r < 0)
            stop(c, r, true);
        while (!c->result && c->placed != w->chunk)
            pthread_cond_wait(&w->turn, &c->lock);
        if (c->result)
            break;
        pthread_mutex_unlock(&c->lock);
        r = c->side_by_side ? place_chunk(c, w, off) : write_chunk(c, w, off, len);
        pthread_mutex_lock(&c->lock);
        pass_on(c, w->span);
        if (c->side_by_side && !r && w->count) {
            pthread_mutex_unlock(&c->lock);
            r = fill_chunk(c, w, off);
            pthread_mutex_lock(&c->lock);
        }
        if (r < 0)
            stop(c, r, false);
        c->written += w->span;
    }
    if (!--c->live)
        pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Waits at most one step of the progress display; false: all workers have. */
static bool wait_step(struct copy *c, uint64_t *ret_bytes)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += STEP_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&c->lock);
    if (c->live)
        pthread_cond_timedwait(&c->ended, &c->lock, &until);
    bool left = c->live != 0;
    *ret_bytes = gh_min_u64(c->written * CHUNK, c->bytes);
    pthread_mutex_unlock(&c->lock);
    return left;
}

/* The host's disk works while we copy, instead of all at once in the flush at the end. */
static void write_back(struct gh_image *img)
{
    gh_file_write_back(img->file);
    for (unsigned i = 0; i < img->part_count; i++)
        gh_file_write_back(img->parts[i]);
}

static bool tell(const struct gh_progress *p, uint64_t done, uint64_t total)
{ return !p || !p->fn || p->fn(p->opaque, done, total); }

static int run(struct copy *c, const struct gh_progress *progress)
{
    unsigned begun = 0;
    pthread_mutex_lock(&c->lock);
    for (; begun < c->workers && !pthread_create(&c->worker[begun].thread, NULL, work, &c->worker[begun]); begun++)
        c->live++;
    if (!begun)
        c->result = -EAGAIN;
    pthread_mutex_unlock(&c->lock);
    for (uint64_t pushed = 0, copied; wait_step(c, &copied);) {
        if (copied - pushed >= WRITE_BACK_STEP && !c->side_by_side) {
            pushed = copied;
            write_back(c->dst);
        }
        if (!tell(progress, copied, c->bytes)) {
            pthread_mutex_lock(&c->lock);
            stop(c, -ECANCELED, false);
            pthread_mutex_unlock(&c->lock);
        }
    }
    while (begun)
        pthread_join(c->worker[--begun].thread, NULL);
    return c->result;
}

/* Nobody counts on it before its end, nothing is there yet, and places can be given before the data comes. */
static bool goes_side_by_side(const struct gh_image *dst, bool blank)
{
    bool direct = gh_file_is_direct(dst->file);
    for (unsigned i = 0; i < dst->part_count; i++)
        direct |= gh_file_is_direct(dst->parts[i]);
    return blank && direct && !dst->in_order;
}

static unsigned worker_count(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return cpus < WORKERS_MIN ? WORKERS_MIN : cpus > WORKERS_MAX ? WORKERS_MAX : (unsigned)cpus;
}

int gh_image_copy(struct gh_image *src, struct gh_image *dst, bool blank, const struct gh_progress *progress, struct gh_error *err)
{
    struct copy c = { .src = src, .dst = dst, .bytes = src->bytes, .chunks = (src->bytes + CHUNK - 1) / CHUNK, .blank = blank,
                      .side_by_side = goes_side_by_side(dst, blank), .workers = worker_count() };
    int r = 0;
    /* Large clusters are filled in parts: what stays zero in a new one stays a hole of the file. */
    c.unit = dst->cluster_bytes ? gh_min_u64(dst->cluster_bytes, blank ? 1 << 16 : CHUNK) : GRAIN;
    if (dst->bytes < src->bytes)
        return gh_error_set(err, -ENOSPC, "DiskTooSmall", "“%s” has %llu bytes, “%s” needs %llu.", dst->label,
                            (unsigned long long)dst->bytes, src->label, (unsigned long long)src->bytes);
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.ended, NULL);
    for (unsigned i = 0; i < c.workers; i++) {
        struct worker *w = &c.worker[i];
        void *buf = NULL;
        if (posix_memalign(&buf, GRAIN, CHUNK))
            buf = NULL;
        *w = (struct worker){ .copy = &c, .buf = buf, .pieces = calloc(CHUNK / SECTOR, sizeof *w->pieces), .chunk = UINT64_MAX };
        pthread_cond_init(&w->turn, NULL);
        if (!w->buf || !w->pieces)
            r = -ENOMEM;
    }
    if (!r)
        r = run(&c, progress);
    for (unsigned i = 0; i < c.workers; i++) {
        free(c.worker[i].buf);
        free(c.worker[i].pieces);
        pthread_cond_destroy(&c.worker[i].turn);
    }
    pthread_cond_destroy(&c.ended);
    pthread_mutex_destroy(&c.lock);
    if (!r && !blank && dst->bytes > src->bytes)
        r = gh_image_zero(dst, src->bytes, dst->bytes - src->bytes);
    if (!r)
        r = gh_image_flush(dst);
    if (r == -ECANCELED)
        return gh_error_set(err, r, "Cancelled", "Copying “%s” was cancelled.", src->label);
    if (r < 0)
        return gh_error_set(err, r, "DiskCopyFailed", "“%s” could not be %s: %s.", c.read_side ? src->label : dst->label,
                            c.read_side ? GH_WORD("read") : GH_WORD("written"), gh_image_reason(r));
    tell(progress, c.bytes, c.bytes);
    return 0;
}
