/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Copying a whole disk: readers fill a ring of buffers and find the zeros in them; one thread writes, in the order of the
 * disk, because a file takes one write at a time however many ask; the caller's thread tells the progress and starts the
 * host's disk on what is written. */
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
enum { GRAIN = 4096, SECTOR = 512, RING = 16, READERS_MAX = 4, STEP_NS = 10000000 };

struct piece { uint32_t from, to; };           /* of a chunk: not all zeros */
struct slot {
    uint8_t *buf;
    struct piece *pieces;
    unsigned count;
    bool ready;
};

struct copy {
    struct gh_image *src, *dst;
    uint64_t bytes, chunks, unit;
    bool blank;
    struct slot ring[RING];
    pthread_mutex_t lock;                      /* all below, and ready */
    pthread_cond_t room, filled, ended;
    uint64_t claimed, written;                 /* chunks: a reader has it, it is in dst */
    unsigned waiting;                          /* readers without a slot */
    bool writer_waits, done, read_side;
    int result;
};

static void stop(struct copy *c, int r, bool read_side)    /* lock held */
{
    if (!c->result) {
        c->result = r;
        c->read_side = read_side;
    }
    pthread_cond_broadcast(&c->room);
    pthread_cond_signal(&c->filled);
}

/* Units are the destination's clusters, so that a cluster of zeros stays unallocated and one with data is written in one call. */
static void find_pieces(const struct copy *c, struct slot *s, uint64_t off, size_t from, size_t to)
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

static int read_chunk(struct copy *c, struct slot *s, uint64_t off, uint64_t len)
{
    s->count = 0;
    for (uint64_t at = 0, n; at < len; at += n) {
        bool zero;
        int r = gh_image_known_zero(c->src, off + at, len - at, &zero, &n);
        if (!r && !zero)
            r = gh_image_read(c->src, off + at, s->buf + at, n);
        if (r < 0)
            return r;
        if (zero && n == len)
            return 0;
        if (zero)
            memset(s->buf + at, 0, n);
    }
    find_pieces(c, s, off, 0, len);
    return 0;
}

static void *reader(void *arg)
{
    struct copy *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->result && c->claimed < c->chunks) {
        if (c->claimed - c->written >= RING) {
            c->waiting++;
            pthread_cond_wait(&c->room, &c->lock);
            c->waiting--;
            continue;
        }
        uint64_t i = c->claimed++, off = i * CHUNK;
        struct slot *s = &c->ring[i % RING];
        pthread_mutex_unlock(&c->lock);
        int r = read_chunk(c, s, off, gh_min_u64(CHUNK, c->bytes - off));
        pthread_mutex_lock(&c->lock);
        if (r < 0)
            stop(c, r, true);
        s->ready = true;
        if (c->writer_waits && i == c->written)
            pthread_cond_signal(&c->filled);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static int write_chunk(struct copy *c, const struct slot *s, uint64_t off, uint64_t len)
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

static void *writer(void *arg)
{
    struct copy *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->result && c->written < c->chunks) {
        struct slot *s = &c->ring[c->written % RING];
        if (!s->ready) {
            c->writer_waits = true;
            pthread_cond_wait(&c->filled, &c->lock);
            c->writer_waits = false;
            continue;
        }
        uint64_t off = c->written * CHUNK;
        pthread_mutex_unlock(&c->lock);
        int r = write_chunk(c, s, off, gh_min_u64(CHUNK, c->bytes - off));
        pthread_mutex_lock(&c->lock);
        s->ready = false;
        c->written++;
        if (r < 0)
            stop(c, r, false);
        /* Waking is dear: when there is work for a while. */
        if (c->waiting && c->claimed - c->written <= RING / 2)
            pthread_cond_broadcast(&c->room);
    }
    c->done = true;
    pthread_cond_broadcast(&c->room);
    pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Waits at most one step of the progress display; false: the writer has ended. */
static bool wait_step(struct copy *c, uint64_t *ret_bytes)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += STEP_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&c->lock);
    if (!c->done)
        pthread_cond_timedwait(&c->ended, &c->lock, &until);
    bool left = !c->done;
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
    pthread_t thread[READERS_MAX + 1];
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = 0, want = cpus < 2 ? 2 : cpus > READERS_MAX ? READERS_MAX : (unsigned)cpus;
    if (pthread_create(&thread[n], NULL, writer, c))
        return -EAGAIN;
    for (n = 1; n <= want && !pthread_create(&thread[n], NULL, reader, c); n++) {
    }
    if (n == 1) {
        pthread_mutex_lock(&c->lock);
        stop(c, -EAGAIN, false);
        pthread_mutex_unlock(&c->lock);
    }
    for (uint64_t begun = 0, copied; wait_step(c, &copied);) {
        if (copied - begun >= WRITE_BACK_STEP) {
            begun = copied;
            write_back(c->dst);
        }
        if (!tell(progress, copied, c->bytes)) {
            pthread_mutex_lock(&c->lock);
            stop(c, -ECANCELED, false);
            pthread_mutex_unlock(&c->lock);
        }
    }
    while (n)
        pthread_join(thread[--n], NULL);
    return c->result;
}

int gh_image_copy(struct gh_image *src, struct gh_image *dst, bool blank, const struct gh_progress *progress, struct gh_error *err)
{
    struct copy c = { .src = src, .dst = dst, .bytes = src->bytes, .chunks = (src->bytes + CHUNK - 1) / CHUNK, .blank = blank };
    int r = 0;
    /* Large clusters are filled in parts: what stays zero in a new one stays a hole of the file. */
    c.unit = dst->cluster_bytes ? gh_min_u64(dst->cluster_bytes, blank ? 1 << 16 : CHUNK) : GRAIN;
    if (dst->bytes < src->bytes)
        return gh_error_set(err, -ENOSPC, "DiskTooSmall", "“%s” has %llu bytes, “%s” needs %llu.", dst->label,
                            (unsigned long long)dst->bytes, src->label, (unsigned long long)src->bytes);
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.room, NULL);
    pthread_cond_init(&c.filled, NULL);
    pthread_cond_init(&c.ended, NULL);
    for (unsigned i = 0; i < RING && !r; i++) {
        c.ring[i].buf = malloc(CHUNK);
        c.ring[i].pieces = calloc(CHUNK / SECTOR, sizeof *c.ring[i].pieces);
        r = c.ring[i].buf && c.ring[i].pieces ? 0 : -ENOMEM;
    }
    if (!r)
        r = run(&c, progress);
    for (unsigned i = 0; i < RING; i++) {
        free(c.ring[i].buf);
        free(c.ring[i].pieces);
    }
    pthread_cond_destroy(&c.ended);
    pthread_cond_destroy(&c.filled);
    pthread_cond_destroy(&c.room);
    pthread_mutex_destroy(&c.lock);
    if (!r && !blank && dst->bytes > src->bytes)
        r = gh_image_zero(dst, src->bytes, dst->bytes - src->bytes);
    if (!r)
        r = gh_image_flush(dst);
    if (r == -ECANCELED)
        return gh_error_set(err, r, "Cancelled", "Copying “%s” was cancelled.", src->label);
    if (r < 0)
        return gh_error_set(err, r, "DiskCopyFailed", "“%s” could not be %s: %s.", c.read_side ? src->label : dst->label,
                            c.read_side ? GH_WORD("read") : GH_WORD("written"), strerror(-r));
    tell(progress, c.bytes, c.bytes);
    return 0;
}
