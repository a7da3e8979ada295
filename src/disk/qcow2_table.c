/* SPDX-License-Identifier: GPL-3.0-or-later */
/* L1 and L2 tables: where a virtual cluster lies, and how it is made to lie elsewhere. */
#include <errno.h>
#include <stdlib.h>

#include "disk/qcow2.h"

static void evict(struct qcow2 *q)
{
    uint32_t oldest = UINT32_MAX;
    for (uint32_t i = 0; i < q->l1_size; i++)
        if (q->l2[i].data && (oldest == UINT32_MAX || q->l2[i].used < q->l2[oldest].used))
            oldest = i;
    if (oldest == UINT32_MAX)
        return;
    free(q->l2[oldest].data);
    q->l2[oldest].data = NULL;
    q->l2_cached_bytes -= q->cluster;
}

int qcow2_l2_load(struct qcow2 *q, uint32_t i1, struct qcow2_l2 **ret)
{
    uint64_t host = q->l1[i1] & QCOW2_OFFSET;
    struct qcow2_l2 *t = &q->l2[i1];
    *ret = NULL;
    if (!host)
        return 0;
    if (host & (q->cluster - 1))
        return -EUCLEAN;
    t->used = ++q->tick;
    if (!t->data || t->host != host) {
        if (!t->data) {
            if (q->l2_cached_bytes + q->cluster > QCOW2_CACHE_BYTES)
                evict(q);
            t->data = gh_file_memory(q->cluster, 2u << 20);
            if (!t->data)
                return -ENOMEM;
            q->l2_cached_bytes += q->cluster;
        }
        int r = gh_file_read(q->file, host, t->data, q->cluster);
        if (r < 0) {
            free(t->data);
            t->data = NULL;
            q->l2_cached_bytes -= q->cluster;
            return r;
        }
        t->host = host;
    }
    *ret = t;
    return 0;
}

void qcow2_packed_range(const struct qcow2 *q, uint64_t entry, uint64_t *host, uint64_t *bytes)
{
    unsigned x = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (entry & (QCOW2_PACKED - 1)) >> x;
    *host = entry & ((1ull << x) - 1);
    *bytes = (sectors + 1) * 512 - (*host & 511);
}

/* One piece: a cluster, or a run of like subclusters of it. within: offset inside the cluster. */
static int decode(const struct qcow2 *q, const uint8_t *e, uint64_t within, struct gh_extent *x)
{
    uint64_t entry = gh_be64_get(e), host = entry & QCOW2_OFFSET;
    x->bytes = q->cluster - within;
    x->file = q->file;
    x->in_place = entry >> 63;
    x->file_offset = host + within;
    if (entry & QCOW2_PACKED) {
        x->kind = GH_EXTENT_PACKED;
        x->in_place = false;
        return 0;
    }
    if (host & (q->cluster - 1))
        return -EUCLEAN;
    if (!q->extended) {
        x->kind = entry & QCOW2_ZERO && q->version >= 3 ? GH_EXTENT_ZERO : host ? GH_EXTENT_DATA : GH_EXTENT_NONE;
        return 0;
    }
    uint64_t bits = gh_be64_get(e + 8), sub = q->cluster / 32;
    unsigned first = (unsigned)(within / sub), n = first;
    enum gh_extent_kind kind = GH_EXTENT_NONE;
    for (; n < 32; n++) {
        bool allocated = bits >> n & 1, zero = bits >> (32 + n) & 1;
        if ((allocated && zero) || (allocated && !host))
            return -EUCLEAN;
        enum gh_extent_kind k = zero ? GH_EXTENT_ZERO : allocated ? GH_EXTENT_DATA : GH_EXTENT_NONE;
        if (n == first)
            kind = k;
        else if (k != kind)
            break;
    }
    x->kind = kind;
    x->bytes = n * sub - within;
    return 0;
}

int qcow2_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret)
{
    struct qcow2 *q = img->state;
    uint32_t i1 = (uint32_t)(off / q->l2_span);
    uint64_t table_end = ((uint64_t)i1 + 1) * q->l2_span;
    struct qcow2_l2 *t;
    int r = 0;
    if (len > table_end - off)
        len = table_end - off;
    pthread_mutex_lock(&q->cache_lock);
    if (i1 >= q->l1_size)
        r = -EUCLEAN;
    else
        r = qcow2_l2_load(q, i1, &t);
    if (!r && !t)
        *ret = (struct gh_extent){ GH_EXTENT_NONE, len, q->file, 0, false };
    if (!r && t) {
        uint64_t done = 0;
        do {
            struct gh_extent x = { 0 };
            uint64_t at = off + done;
            unsigned i2 = (unsigned)(at / q->cluster % q->l2_entries);
            r = decode(q, t->data + (size_t)i2 * q->entry_bytes, at % q->cluster, &x);
            if (r < 0)
                break;
            if (done) {
                if (x.kind != ret->kind || x.kind == GH_EXTENT_PACKED ||
                    (x.kind == GH_EXTENT_DATA && (x.in_place != ret->in_place || x.file_offset != ret->file_offset + done)))
                    break;
            } else {
                *ret = x;
            }
            done += x.bytes;
        } while (done < len && ret->kind != GH_EXTENT_PACKED);
        if (done)
            r = 0;                             /* what follows is another extent's trouble */
        ret->bytes = gh_min_u64(done, len);
    }
    pthread_mutex_unlock(&q->cache_lock);
    return r;
}

static int write_l1(struct qcow2 *q, uint32_t i1, uint64_t value)
{
    uint8_t e[8];
    gh_be64_put(e, value);
    int r = gh_file_write(q->file, q->l1_offset + (uint64_t)i1 * 8, e, 8);
    if (!r)
        q->l1[i1] = value;
    return r;
}

/* Gives back what an entry pointed to. The entry is gone already: what fails here is a leak, no error.
 * Without a dirty bit the count may only fall when the pointer is safely gone. */
static void drop(struct qcow2 *q, uint64_t entry, bool punch)
{
    uint64_t host = entry & QCOW2_OFFSET, bytes = host ? q->cluster : 0;
    if (entry & QCOW2_PACKED)
        qcow2_packed_range(q, entry, &host, &bytes);
    if (bytes && (q->version >= 3 || !gh_file_flush(q->file)))
        qcow2_unref(q, host, bytes, punch && !(entry & QCOW2_PACKED));
}

/* The table of i1, owned by this image alone, made or copied if need be. */
static int own_l2(struct qcow2 *q, uint32_t i1, struct qcow2_l2 **ret)
{
    struct qcow2_l2 *old = NULL;
    uint64_t was, host;
    bool fresh;
    if (i1 >= q->l1_size)
        return -EUCLEAN;
    int r = qcow2_l2_load(q, i1, &old);
    if (r < 0)
        return r;
    was = q->l1[i1] & QCOW2_OFFSET;
    if (old && q->l1[i1] & QCOW2_COPIED) {
        *ret = old;
        return 0;
    }
    r = qcow2_alloc(q, 1, &host, &fresh);
    if (r < 0)
        return r;
    uint8_t *data = gh_file_memory(q->cluster, 2u << 20);
    if (!data)
        return -ENOMEM;
    if (old)
        memcpy(data, old->data, q->cluster);
    r = gh_file_write(q->file, host, data, q->cluster);
    /* Zeros at the place are as good as an empty table; anything else must be there first. */
    if (!r && (old || !fresh || q->version < 3))
        r = gh_file_flush(q->file);
    if (!r)
        r = write_l1(q, i1, host | QCOW2_COPIED);
    free(data);
    if (r < 0) {
        qcow2_unref(q, host, q->cluster, false);
        return r;
    }
    drop(q, was, false);
    return qcow2_l2_load(q, i1, ret);
}

int qcow2_reserve(struct gh_image *img, uint64_t off, struct gh_file **file, uint64_t *file_off, bool *fresh)
{
    struct qcow2 *q = img->state;
    *file = q->file;
    if (q->extended) {                         /* an own cluster with holes is filled where it is */
        struct qcow2_l2 *t;
        uint32_t i1 = (uint32_t)(off / q->l2_span);
        pthread_mutex_lock(&q->cache_lock);
        int r = i1 < q->l1_size ? qcow2_l2_load(q, i1, &t) : -EUCLEAN;
        uint64_t e = !r && t ? gh_be64_get(t->data + off / q->cluster % q->l2_entries * q->entry_bytes) : 0;
        pthread_mutex_unlock(&q->cache_lock);
        if (r < 0)
            return r;
        if (e & QCOW2_COPIED && e & QCOW2_OFFSET && !(e & QCOW2_PACKED)) {
            *file_off = e & QCOW2_OFFSET;
            *fresh = false;
            return 0;
        }
    }
    return qcow2_alloc(q, 1, file_off, fresh);
}

static uint8_t *entry_of(struct qcow2 *q, struct qcow2_l2 *t, uint64_t off, uint64_t *file_off)
{
    uint64_t at = off / q->cluster % q->l2_entries * q->entry_bytes;
    *file_off = t->host + at;
    return t->data + at;
}

/* n clusters of one table, in one write. */
static int link_in_table(struct qcow2 *q, uint64_t off, uint64_t host, unsigned n)
{
    struct qcow2_l2 *t = NULL;
    uint64_t at = 0;
    size_t bytes = (size_t)n * q->entry_bytes;
    int r = own_l2(q, (uint32_t)(off / q->l2_span), &t);
    if (!r && q->version < 3)                  /* no dirty bit: the counts must be safe first */
        r = gh_file_flush(q->file);
    uint8_t *was = r ? NULL : malloc(bytes);
    if (r < 0 || !was)
        return r < 0 ? r : -ENOMEM;
    uint8_t *e = entry_of(q, t, off, &at);
    memcpy(was, e, bytes);
    for (unsigned i = 0; i < n; i++) {
        gh_be64_put(e + i * q->entry_bytes, (host + i * q->cluster) | QCOW2_COPIED);
        if (q->extended)
            gh_be64_put(e + i * q->entry_bytes + 8, 0xffffffff);
    }
    r = gh_file_write(q->file, at, e, bytes);
    if (r < 0)
        memcpy(e, was, bytes);
    for (unsigned i = 0; i < n && !r; i++) {
        uint64_t old = gh_be64_get(was + i * q->entry_bytes);
        if ((old & QCOW2_OFFSET) != host + i * q->cluster)
            drop(q, old, false);
    }
    free(was);
    return r;
}

int qcow2_link_run(struct gh_image *img, uint64_t off, uint64_t host, unsigned n, unsigned *done)
{
    struct qcow2 *q = img->state;
    int r = 0;
    pthread_mutex_lock(&q->cache_lock);
    for (*done = 0; *done < n && !r;) {
        uint64_t at = off + *done * q->cluster, room = (q->l2_span - at % q->l2_span) / q->cluster;
        unsigned step = (unsigned)gh_min_u64(n - *done, room);
        r = link_in_table(q, at, host + *done * q->cluster, step);
        if (!r)
            *done += step;
    }
    pthread_mutex_unlock(&q->cache_lock);
    return r;
}

int qcow2_link(struct gh_image *img, uint64_t off, uint64_t host)
{
    unsigned done;
    return qcow2_link_run(img, off, host, 1, &done);
}

/* A compressed cluster of n bytes at host, which need not be aligned. */
int qcow2_link_packed(struct gh_image *img, uint64_t off, uint64_t host, size_t n)
{
    struct qcow2 *q = img->state;
    struct qcow2_l2 *t = NULL;
    unsigned x = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (host + n - 1) / 512 - host / 512, at = 0;

    if (q->extended || host >> x)
        return -ENOTSUP;
    pthread_mutex_lock(&q->cache_lock);
    int r = own_l2(q, (uint32_t)(off / q->l2_span), &t);
    if (!r && q->version < 3)
        r = gh_file_flush(q->file);
    if (!r) {
        uint8_t *e = entry_of(q, t, off, &at), was[8];
        memcpy(was, e, 8);
        gh_be64_put(e, QCOW2_PACKED | sectors << x | host);
        r = gh_file_write(q->file, at, e, 8);
        if (r < 0)
            memcpy(e, was, 8);
        else
            drop(q, gh_be64_get(was), false);
    }
    pthread_mutex_unlock(&q->cache_lock);
    return r;
}

void qcow2_unreserve(struct gh_image *img, uint64_t off, uint64_t host)
{
    struct qcow2 *q = img->state;
    struct gh_extent x;
    if (q->extended && !qcow2_map(img, off, q->cluster, &x) && (x.file_offset & ~(q->cluster - 1)) == host)
        return;                                /* it was in use before */
    qcow2_unref(q, host, q->cluster, false);
}

/* All clusters of [off, off+len) that one table holds. hide: they hide a parent's. */
static int zero_in_table(struct gh_image *img, uint64_t off, uint64_t len, bool discard, bool hide)
{
    struct qcow2 *q = img->state;
    uint32_t i1 = (uint32_t)(off / q->l2_span);
    struct qcow2_l2 *t = NULL;
    uint64_t first = 0, n = (len + q->cluster - 1) / q->cluster, changed = 0;
    if (i1 >= q->l1_size)
        return -EUCLEAN;
    if (!hide && !(q->l1[i1] & QCOW2_OFFSET))
        return 0;
    if (hide && q->version < 3)
        return -ENOTSUP;
    int r = own_l2(q, i1, &t);
    if (r < 0)
        return r;
    size_t bytes = (size_t)n * q->entry_bytes;
    uint8_t *e = entry_of(q, t, off, &first), *old = malloc(bytes);
    if (!old)
        return -ENOMEM;
    memcpy(old, e, bytes);
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *p = e + i * q->entry_bytes;
        gh_be64_put(p, hide && !q->extended ? QCOW2_ZERO : 0);
        if (q->extended)
            gh_be64_put(p + 8, hide ? 0xffffffffull << 32 : 0);
        changed += memcmp(p, old + i * q->entry_bytes, q->entry_bytes) != 0;
    }
    if (changed)
        r = gh_file_write(q->file, first, e, bytes);
    if (r < 0)
        memcpy(e, old, bytes);
    for (uint64_t i = 0; i < n && !r; i++)
        drop(q, gh_be64_get(old + i * q->entry_bytes), discard);
    free(old);
    return r;
}

static int zero_range(struct gh_image *img, uint64_t off, uint64_t len, bool discard, bool hide)
{
    struct qcow2 *q = img->state;
    int r = 0;
    pthread_mutex_lock(&q->cache_lock);
    for (uint64_t done = 0; done < len && !r;) {
        uint64_t step = gh_min_u64(len - done, q->l2_span - (off + done) % q->l2_span);
        r = zero_in_table(img, off + done, step, discard, hide);
        done += step;
    }
    pthread_mutex_unlock(&q->cache_lock);
    return r;
}

int qcow2_zero(struct gh_image *img, uint64_t off, uint64_t len, bool discard)
{ return zero_range(img, off, len, discard, img->parent || img->needs_parent); }

/* What lies behind the new end. Version 2 cannot hide the parent's content, but nobody will see it. */
int qcow2_cut(struct gh_image *img, uint64_t off, uint64_t len)
{ return zero_range(img, off, len, true, ((struct qcow2 *)img->state)->version > 2 && (img->parent || img->needs_parent)); }
