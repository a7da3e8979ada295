/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk/ops.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "disk/driver.h"

#define CHUNK (2ull << 20)
#define WRITE_BACK_STEP (16ull << 20)
enum { GRAIN = 4096, WORKERS = 4, STEP_NS = 10000000 };

bool gh_is_zero(const void *data, size_t len)
{
    typedef uint64_t lane __attribute__((vector_size(16), aligned(1), may_alias));
    const uint8_t *p = data;
    size_t i = 0;

    for (; i + 64 <= len; i += 64) {
        lane v = (*(const lane *)(p + i) | *(const lane *)(p + i + 16)) | (*(const lane *)(p + i + 32) | *(const lane *)(p + i + 48));
        if (v[0] | v[1])
            return false;
    }
    for (; i < len; i++)
        if (p[i])
            return false;
    return true;
}

static bool tell(const struct gh_progress *p, uint64_t done, uint64_t total)
{ return !p || !p->fn || p->fn(p->opaque, done, total); }

struct copy {
    struct gh_image *src, *dst;
    uint64_t bytes, unit;
    bool blank, sequential;
    _Atomic uint64_t next, done;
    _Atomic int result;
    _Atomic bool read_side;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned live;                        /* workers, with lock */
};

int gh_image_known_zero(struct gh_image *img, uint64_t off, uint64_t len, bool *zero, uint64_t *n)
{
    struct gh_map m;
    int r = gh_image_map(img, off, len, &m);
    if (r < 0)
        return r;
    *zero = m.kind == GH_MAP_HOLE || m.kind == GH_MAP_ZERO;
    *n = m.bytes;
    return 0;
}

/* Writes the non-zero runs of buf; units are the destination's clusters, so that a cluster of zeros
 * stays unallocated and one with data is written in one call. */
static int write_runs(struct copy *c, uint64_t off, const uint8_t *buf, size_t len)
{
    size_t from = 0;
    while (from < len) {
        size_t at = from;
        while (at < len) {
            size_t n = (size_t)gh_min_u64(len - at, c->unit - (off + at) % c->unit);
            if (!gh_is_zero(buf + at, n))
                break;
            at += n;
        }
        size_t end = at;
        while (end < len) {
            size_t n = (size_t)gh_min_u64(len - end, c->unit - (off + end) % c->unit);
            if (gh_is_zero(buf + end, n))
                break;
            end += n;
        }
        if (!c->blank && at > from) {
            int r = gh_image_zero(c->dst, off + from, at - from);
            if (r < 0)
                return r;
        }
        if (end > at) {
            int r = gh_image_write(c->dst, off + at, buf + at, end - at);
            if (r < 0)
                return r;
        }
        from = end;
    }
    return 0;
}

static int copy_chunk(struct copy *c, uint64_t off, uint64_t len, uint8_t *buf)
{
    bool any = false;
    for (uint64_t at = 0; at < len;) {
        bool zero;
        uint64_t n = len - at;
        int r = gh_image_known_zero(c->src, off + at, n, &zero, &n);
        if (!r && zero)
            memset(buf + at, 0, n);
        else if (!r)
            r = gh_image_read(c->src, off + at, buf + at, n);
        if (r < 0) {
            atomic_store(&c->read_side, true);
            return r;
        }
        any |= !zero;
        at += n;
    }
    if (!any && c->blank)
        return 0;
    return write_runs(c, off, buf, len);
}

static void *copy_worker(void *arg)
{
    struct copy *c = arg;
    uint8_t *buf = malloc(CHUNK);
    int r = buf ? 0 : -ENOMEM;
    while (!r && !atomic_load(&c->result)) {
        uint64_t off = atomic_fetch_add(&c->next, CHUNK);
        if (off >= c->bytes)
            break;
        uint64_t len = gh_min_u64(CHUNK, c->bytes - off);
        r = copy_chunk(c, off, len, buf);
        atomic_fetch_add(&c->done, len);
    }
    int none = 0;
    if (r < 0)
        atomic_compare_exchange_strong(&c->result, &none, r);
    free(buf);
    pthread_mutex_lock(&c->lock);
    if (!--c->live)
        pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Waits at most one step of the progress display; false: no worker is left. */
static bool wait_step(struct copy *c)
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
    pthread_mutex_unlock(&c->lock);
    return left;
}

/* The disk works while we copy, instead of all at once in the flush at the end. */
static void write_back(struct gh_image *img)
{
    gh_file_write_back(img->file);
    for (unsigned i = 0; i < img->part_count; i++)
        gh_file_write_back(img->parts[i]);
}

int gh_image_copy(struct gh_image *src, struct gh_image *dst, bool blank, bool sequential,
                  const struct gh_progress *progress, struct gh_error *err)
{
    struct copy c = { .src = src, .dst = dst, .bytes = src->bytes, .blank = blank, .sequential = sequential };
    pthread_t thread[WORKERS];
    unsigned n = 0;
    /* Large clusters are filled in parts: what stays zero in a new one stays a hole of the file. */
    c.unit = dst->cluster_bytes ? gh_min_u64(dst->cluster_bytes, blank ? 1 << 16 : CHUNK) : GRAIN;
    if (dst->bytes < src->bytes)
        return gh_error_set(err, -ENOSPC, "DiskTooSmall", "“%s” has %llu bytes, “%s” needs %llu.", dst->label,
                            (unsigned long long)dst->bytes, src->label, (unsigned long long)src->bytes);
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.ended, NULL);
    pthread_mutex_lock(&c.lock);
    for (; n < (sequential ? 1 : WORKERS); n++)
        if (pthread_create(&thread[n], NULL, copy_worker, &c))
            break;
    c.live = n ? n : 1;
    pthread_mutex_unlock(&c.lock);
    if (!n)
        copy_worker(&c);
    for (uint64_t begun = 0; wait_step(&c);) {
        uint64_t copied = atomic_load(&c.done);
        if (copied - begun >= WRITE_BACK_STEP) {
            begun = copied;
            write_back(dst);
        }
        if (!tell(progress, atomic_load(&c.done), c.bytes)) {
            int none = 0;
            atomic_compare_exchange_strong(&c.result, &none, -ECANCELED);
        }
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    pthread_cond_destroy(&c.ended);
    pthread_mutex_destroy(&c.lock);
    int r = c.result;
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

/* Reads off..len of either image, zeros beyond its end or where it is known to be zero. */
static int read_padded(struct gh_image *img, uint64_t off, uint8_t *buf, uint64_t len, bool *zero)
{
    uint64_t inside = img && off < img->bytes ? gh_min_u64(len, img->bytes - off) : 0;
    memset(buf + inside, 0, len - inside);
    *zero = true;
    for (uint64_t at = 0; at < inside;) {
        bool z;
        uint64_t n = inside - at;
        int r = gh_image_known_zero(img, off + at, n, &z, &n);
        if (!r && z)
            memset(buf + at, 0, n);
        else if (!r)
            r = gh_image_read(img, off + at, buf + at, n);
        if (r < 0)
            return r;
        *zero &= z;
        at += n;
    }
    return 0;
}

int gh_image_compare(struct gh_image *a, struct gh_image *b, uint64_t *ret_off, const struct gh_progress *progress,
                     struct gh_error *err)
{
    uint64_t bytes = a->bytes > b->bytes ? a->bytes : b->bytes;
    uint8_t *one = malloc(CHUNK), *two = malloc(CHUNK);
    int r = one && two ? 0 : -ENOMEM;
    for (uint64_t off = 0; off < bytes && !r; off += CHUNK) {
        uint64_t len = gh_min_u64(CHUNK, bytes - off);
        bool za, zb;
        r = read_padded(a, off, one, len, &za);
        if (!r)
            r = read_padded(b, off, two, len, &zb);
        if (!r && !(za && zb) && memcmp(one, two, len)) {
            uint64_t i = 0;
            while (one[i] == two[i])
                i++;
            *ret_off = off + i;
            r = 1;
        }
        if (!r && !tell(progress, off + len, bytes))
            r = -ECANCELED;
    }
    free(one);
    free(two);
    if (r < 0)
        gh_error_set(err, r, r == -ECANCELED ? "Cancelled" : "DiskCompareFailed", "“%s” and “%s” could not be compared: %s.",
                     a->label, b->label, strerror(-r));
    return r;
}

int gh_image_commit(struct gh_image *top, struct gh_image *base, const struct gh_progress *progress, struct gh_error *err)
{
    uint8_t *buf = malloc(CHUNK);
    int r = buf ? 0 : -ENOMEM;
    if (!r && top->bytes > base->bytes)
        r = gh_image_resize(base, top->bytes, false, err);
    for (uint64_t off = 0; off < top->bytes && !r;) {
        struct gh_extent e = { 0 };
        uint64_t len = gh_min_u64(CHUNK, top->bytes - off);
        pthread_rwlock_rdlock(&top->lock);
        r = top->driver->map(top, off, len, &e);
        pthread_rwlock_unlock(&top->lock);
        if (r < 0)
            break;
        if (e.kind == GH_EXTENT_ZERO) {
            r = gh_image_zero(base, off, e.bytes);
        } else if (e.kind != GH_EXTENT_NONE) {
            r = gh_image_read(top, off, buf, e.bytes);
            if (!r)
                r = gh_image_write(base, off, buf, e.bytes);
        }
        off += e.bytes;
        if (!r && !tell(progress, off, top->bytes))
            r = -ECANCELED;
    }
    if (!r)
        r = gh_image_flush(base);
    free(buf);
    if (r < 0)
        gh_error_set(err, r, r == -ECANCELED ? "Cancelled" : "DiskCommitFailed", "“%s” could not be merged into “%s”: %s.",
                     top->label, base->label, strerror(-r));
    return r;
}

int gh_image_copy_difference(struct gh_image *src, struct gh_image *dst, const struct gh_progress *progress, struct gh_error *err)
{
    uint64_t unit = dst->cluster_bytes ? gh_min_u64(dst->cluster_bytes, CHUNK) : GRAIN;
    uint8_t *want = malloc(CHUNK), *have = malloc(CHUNK);
    int r = want && have ? 0 : -ENOMEM;
    for (uint64_t off = 0; off < src->bytes && !r; off += CHUNK) {
        uint64_t len = gh_min_u64(CHUNK, src->bytes - off);
        bool zero;
        r = read_padded(src, off, want, len, &zero);
        if (!r)
            r = read_padded(dst, off, have, len, &zero);
        for (uint64_t at = 0; at < len && !r; at += unit) {
            uint64_t n = gh_min_u64(unit, len - at);
            if (memcmp(want + at, have + at, n))
                r = gh_is_zero(want + at, n) ? gh_image_zero(dst, off + at, n) : gh_image_write(dst, off + at, want + at, n);
        }
        if (!r && !tell(progress, off + len, src->bytes))
            r = -ECANCELED;
    }
    if (!r)
        r = gh_image_flush(dst);
    free(want);
    free(have);
    if (r < 0)
        gh_error_set(err, r, r == -ECANCELED ? "Cancelled" : "DiskCopyFailed", "“%s” could not be copied to “%s”: %s.",
                     src->label, dst->label, strerror(-r));
    return r;
}
