/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk/ops.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "disk/driver.h"

#define CHUNK (1ull << 20)
#define LOOK_AHEAD (1ull << 30)                /* bounds what one look into a map may cost */
enum { GRAIN = 4096, LOOK_STEPS = 16 };

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

/* How far beyond off img is known to be zeros, as it is behind its end. */
static int zeros_from(struct gh_image *img, uint64_t off, uint64_t len, uint64_t *ret)
{
    uint64_t n = 0, run;
    bool zero = true;
    for (unsigned i = 0; i < LOOK_STEPS && n < len && zero; i++) {
        if (off + n >= img->bytes) {
            n = len;
            break;
        }
        int r = gh_image_known_zero(img, off + n, gh_min_u64(len - n, img->bytes - off - n), &zero, &run);
        if (r < 0)
            return r;
        n += zero ? run : 0;
    }
    *ret = n;
    return 0;
}

/* Whole chunks from off on that are known to be zeros in both: a large disk with little in it takes little time. */
static int skip_zeros(struct gh_image *a, struct gh_image *b, uint64_t off, uint64_t end, uint64_t *ret)
{
    uint64_t n = 0, left = end - off;
    int r = zeros_from(a, off, gh_min_u64(left, LOOK_AHEAD), &n);
    if (!r && n >= gh_min_u64(CHUNK, left))
        r = zeros_from(b, off, n, &n);
    *ret = n >= left ? left : n - n % CHUNK;
    return r;
}

int gh_image_compare(struct gh_image *a, struct gh_image *b, uint64_t *ret_off, const struct gh_progress *progress,
                     struct gh_error *err)
{
    uint64_t bytes = a->bytes > b->bytes ? a->bytes : b->bytes;
    uint8_t *one = malloc(CHUNK), *two = malloc(CHUNK);
    int r = one && two ? 0 : -ENOMEM;
    for (uint64_t off = 0, len; off < bytes && !r; off += len) {
        bool za = true, zb = true, look;
        r = skip_zeros(a, b, off, bytes, &len);
        look = !r && !len;
        if (look) {
            len = gh_min_u64(CHUNK, bytes - off);
            r = read_padded(a, off, one, len, &za);
        }
        if (!r && look)
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
                     a->label, b->label, gh_image_reason(r));
    return r;
}

int gh_image_commit(struct gh_image *top, struct gh_image *base, const struct gh_progress *progress, struct gh_error *err)
{
    uint8_t *buf = malloc(CHUNK);
    int r = buf ? 0 : -ENOMEM;
    /* Until the end top must find its parent again: whoever is interrupted begins anew. */
    bool keeps = !base->marked;
    base->keep_id = keeps;
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
    base->keep_id = false;
    if (!r)
        r = gh_image_flush(base);
    /* Now other children of base are told that it is another disk. */
    if (!r && keeps && base->marked && base->driver->first_write) {
        pthread_rwlock_wrlock(&base->lock);
        r = base->driver->first_write(base);
        pthread_rwlock_unlock(&base->lock);
        if (!r)
            r = gh_image_flush(base);
    }
    free(buf);
    if (r < 0)
        gh_error_set(err, r, r == -ECANCELED ? "Cancelled" : "DiskCommitFailed", "“%s” could not be merged into “%s”: %s.",
                     top->label, base->label, gh_image_reason(r));
    return r;
}

int gh_image_copy_difference(struct gh_image *src, struct gh_image *dst, const struct gh_progress *progress, struct gh_error *err)
{
    uint64_t unit = dst->cluster_bytes ? gh_min_u64(dst->cluster_bytes, CHUNK) : GRAIN;
    uint8_t *want = malloc(CHUNK), *have = malloc(CHUNK);
    int r = want && have ? 0 : -ENOMEM;
    for (uint64_t off = 0, len; off < src->bytes && !r; off += len) {
        bool zero, look;
        r = skip_zeros(src, dst, off, src->bytes, &len);
        look = !r && !len;
        if (look) {
            len = gh_min_u64(CHUNK, src->bytes - off);
            r = read_padded(src, off, want, len, &zero);
        }
        if (!r && look)
            r = read_padded(dst, off, have, len, &zero);
        for (uint64_t at = 0; at < len && !r && look; at += unit) {
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
                     src->label, dst->label, gh_image_reason(r));
    return r;
}
