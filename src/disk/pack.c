/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Copying into compressed clusters: workers read and compress; the image's lock orders the writing. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "disk/driver.h"
#include "disk/ops.h"

enum { WORKERS = 4 };

struct packing {
    struct gh_image *src, *dst;
    uint64_t bytes;
    _Atomic uint64_t next, done;
    _Atomic int result;
    _Atomic unsigned live;
};

static int begin(struct gh_image *img)
{
    if (img->marked)
        return 0;
    int r = img->driver->first_write ? img->driver->first_write(img) : 0;
    img->marked = !r;
    return r;
}

static int one_cluster(struct packing *p, uint64_t off, uint8_t *plain, uint8_t *packed)
{
    struct gh_image *dst = p->dst;
    uint64_t unit = dst->cluster_bytes, n = gh_min_u64(unit, p->bytes - off);
    struct gh_map m;
    int r = gh_image_map(p->src, off, n, &m);

    if (r < 0 || (m.bytes >= n && (m.kind == GH_MAP_HOLE || m.kind == GH_MAP_ZERO)))
        return r;
    memset(plain + n, 0, unit - n);
    r = gh_image_read(p->src, off, plain, n);
    if (r < 0 || gh_is_zero(plain, unit))
        return r;
    size_t small = dst->driver->pack(dst, plain, packed, unit);
    if (!small)
        return gh_image_write(dst, off, plain, gh_min_u64(unit, dst->bytes - off));
    pthread_rwlock_wrlock(&dst->lock);
    r = begin(dst);
    if (!r)
        r = dst->driver->write_packed(dst, off, packed, small);
    pthread_rwlock_unlock(&dst->lock);
    return r;
}

static void *worker(void *arg)
{
    struct packing *p = arg;
    uint64_t unit = p->dst->cluster_bytes;
    uint8_t *plain = malloc(unit), *packed = malloc(unit);
    int r = plain && packed ? 0 : -ENOMEM;

    while (!r && !atomic_load(&p->result)) {
        uint64_t off = atomic_fetch_add(&p->next, unit);
        if (off >= p->bytes)
            break;
        r = one_cluster(p, off, plain, packed);
        atomic_fetch_add(&p->done, unit);
    }
    int none = 0;
    if (r < 0)
        atomic_compare_exchange_strong(&p->result, &none, r);
    free(plain);
    free(packed);
    atomic_fetch_sub(&p->live, 1);
    return NULL;
}

int gh_image_copy_packed(struct gh_image *src, struct gh_image *dst, const struct gh_progress *progress, struct gh_error *err)
{
    struct packing p = { .src = src, .dst = dst, .bytes = src->bytes };
    pthread_t thread[WORKERS];
    unsigned n = 0;

    if (!dst->driver->pack || !dst->cluster_bytes)
        return gh_error_set(err, -ENOTSUP, "DiskNoCompression", "A %s image cannot hold compressed clusters. Use qcow2, or vmdk with the variant stream-optimized.",
                            dst->driver->format.name);
    if (dst->bytes < src->bytes)
        return gh_error_set(err, -ENOSPC, "DiskTooSmall", "“%s” is smaller than “%s”.", dst->label, src->label);
    for (; n < WORKERS; n++) {
        atomic_fetch_add(&p.live, 1);
        if (pthread_create(&thread[n], NULL, worker, &p)) {
            atomic_fetch_sub(&p.live, 1);
            break;
        }
    }
    if (!n) {
        atomic_fetch_add(&p.live, 1);
        worker(&p);
    }
    while (atomic_load(&p.live)) {
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
        if (progress && progress->fn && !progress->fn(progress->opaque, gh_min_u64(atomic_load(&p.done), p.bytes), p.bytes)) {
            int none = 0;
            atomic_compare_exchange_strong(&p.result, &none, -ECANCELED);
        }
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    int r = p.result ? p.result : gh_image_flush(dst);
    if (r == -ECANCELED)
        return gh_error_set(err, r, "Cancelled", "Copying “%s” was cancelled.", src->label);
    return r < 0 ? gh_error_set(err, r, "DiskCopyFailed", "“%s” could not be copied to “%s”: %s.", src->label, dst->label, gh_image_reason(r)) : 0;
}
