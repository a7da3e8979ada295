/* SPDX-License-Identifier: GPL-3.0-or-later */
/* QEMU's QED, read only: two levels of le64 tables; entry 0: not here, 1: zeros. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "disk/drivers.h"

enum { HEADER = 64, FEATURE_BACKING = 1, FEATURE_CHECK = 2, FEATURE_RAW = 4 };
enum { CACHED = 64 };

struct qed {
    uint64_t cluster, table_bytes, entries, span;
    uint64_t *l1;
    pthread_mutex_t lock;
    struct { uint64_t host, used; uint64_t *data; } cache[CACHED];   /* L2 tables, host order */
    uint64_t tick;
};

static int qed_probe(const uint8_t *head, size_t len, const uint8_t *tail, uint64_t file_bytes)
{ return len >= HEADER && !memcmp(head, "QED", 4) ? 100 : 0; }

static int qed_open(struct gh_image *img, struct gh_error *err)
{
    struct qed *q = calloc(1, sizeof *q);
    uint8_t h[HEADER];
    if (!q)
        return -ENOMEM;
    img->state = q;
    pthread_mutex_init(&q->lock, NULL);
    int r = gh_file_read(img->file, 0, h, sizeof h);
    if (r < 0)
        return r;
    uint64_t table = gh_le32_get(h + 8), features = gh_le64_get(h + 16), l1_at = gh_le64_get(h + 40);
    q->cluster = gh_le32_get(h + 4);
    img->bytes = gh_le64_get(h + 48);
    if (memcmp(h, "QED", 4) || !gh_is_pow2(q->cluster) || q->cluster < 4096 || q->cluster > 64u << 20 || !gh_is_pow2(table) || table > 16)
        return gh_image_bad(img, err, "its header makes no sense");
    if (features & ~(uint64_t)(FEATURE_BACKING | FEATURE_CHECK | FEATURE_RAW))
        return gh_image_unsupported(img, err, "it uses features that are not known here");
    q->table_bytes = q->cluster * table;
    q->entries = q->table_bytes / 8;
    q->span = q->entries * q->cluster;
    if (q->table_bytes > 64u << 20 || img->bytes > GH_IMAGE_MAX_BYTES || img->bytes % 512 || img->bytes / q->span + (img->bytes % q->span != 0) > q->entries ||
        l1_at % q->cluster)
        return gh_image_bad(img, err, "its tables cannot hold %llu bytes", (unsigned long long)img->bytes);
    q->l1 = gh_file_memory(q->table_bytes, 64u << 20);
    if (!q->l1)
        return -ENOMEM;
    r = gh_file_read(img->file, l1_at, q->l1, q->table_bytes);
    img->info.dirty = features & FEATURE_CHECK;
    img->cluster_bytes = q->cluster;
    if (!r && features & FEATURE_BACKING) {
        uint32_t at = gh_le32_get(h + 56), len = gh_le32_get(h + 60);
        if (len >= sizeof img->info.parent_name || !gh_range_in(at, len, q->cluster))
            return gh_image_bad(img, err, "the name of its backing file does not fit the header");
        r = gh_file_read(img->file, at, img->info.parent_name, len);
        img->needs_parent = true;
        if (features & FEATURE_RAW)
            snprintf(img->info.parent_format, sizeof img->info.parent_format, "raw");
    }
    return r;
}

static void qed_close(struct gh_image *img)
{
    struct qed *q = img->state;
    if (!q)
        return;
    for (unsigned i = 0; i < CACHED; i++)
        free(q->cache[i].data);
    free(q->l1);
    pthread_mutex_destroy(&q->lock);
    free(q);
    img->state = NULL;
}

static int load(struct gh_image *img, uint64_t host, uint64_t **ret)
{
    struct qed *q = img->state;
    unsigned oldest = 0;
    for (unsigned i = 0; i < CACHED; i++) {
        if (q->cache[i].data && q->cache[i].host == host) {
            q->cache[i].used = ++q->tick;
            *ret = q->cache[i].data;
            return 0;
        }
        if (q->cache[i].used < q->cache[oldest].used)
            oldest = i;
    }
    if (!q->cache[oldest].data)
        q->cache[oldest].data = gh_file_memory(q->table_bytes, 64u << 20);
    if (!q->cache[oldest].data)
        return -ENOMEM;
    q->cache[oldest].host = 0;
    int r = gh_file_read(img->file, host, q->cache[oldest].data, q->table_bytes);
    if (r < 0)
        return r;
    q->cache[oldest].host = host;
    q->cache[oldest].used = ++q->tick;
    *ret = q->cache[oldest].data;
    return 0;
}

static int qed_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret)
{
    struct qed *q = img->state;
    uint64_t l2_at = le64toh(q->l1[off / q->span]), within = off % q->cluster, i = off / q->cluster % q->entries, *l2;
    *ret = (struct gh_extent){ GH_EXTENT_NONE, gh_min_u64(len, q->span - off % q->span), img->file, 0, false };
    if (!l2_at)
        return 0;
    if (l2_at % q->cluster)
        return -EUCLEAN;
    pthread_mutex_lock(&q->lock);
    int r = load(img, l2_at, &l2);
    uint64_t e = r ? 0 : le64toh(l2[i]), done = q->cluster - within;
    while (!r && done < ret->bytes && i + 1 < q->entries) {
        uint64_t next = le64toh(l2[++i]);
        if (next != (e < 2 ? e : e + done + within))
            break;
        done += q->cluster;
    }
    pthread_mutex_unlock(&q->lock);
    if (r < 0 || (e > 1 && e % q->cluster))
        return r < 0 ? r : -EUCLEAN;
    ret->kind = e > 1 ? GH_EXTENT_DATA : e ? GH_EXTENT_ZERO : GH_EXTENT_NONE;
    ret->file_offset = e + within;
    ret->bytes = gh_min_u64(done, ret->bytes);
    return 0;
}

const struct gh_image_driver gh_image_qed = {
    .format = { "qed", "QEMU enhanced disk", NULL, false, true, false, "qed" },
    .probe = qed_probe, .open = qed_open, .close = qed_close, .map = qed_map,
};
