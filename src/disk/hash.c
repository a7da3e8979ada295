/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The content of an image as a number. One thread goes along the disk: it takes zeros as whole subtrees and
 * hands segments of data to workers; what they find enters the tree in the order of the disk. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/sha256.h"
#include "disk/driver.h"
#include "disk/ops.h"

enum { LEAF = 1 << 16, SEGMENT_LEVEL = 6, SEGMENT = LEAF << SEGMENT_LEVEL, LEVELS = 48, RING = 64, WORKERS_MAX = 8, SHA = GH_SHA256_BYTES };

struct tree { uint8_t digest[LEVELS][SHA]; unsigned level[LEVELS], depth; };
struct slot { uint64_t off; unsigned level; bool ready; uint8_t digest[SHA]; };

struct hashing {
    struct gh_image *img;
    uint8_t zero[LEVELS][SHA];             /* subtrees of nothing but zeros */
    struct tree tree;
    pthread_mutex_t lock;                  /* all below */
    pthread_cond_t work, found;
    struct slot ring[RING];
    uint64_t head, next, tail;             /* in the tree, for a worker to look at, for the disk to fill */
    int result;
    bool ending;
};

static void leaf_digest(const uint8_t *data, size_t n, uint8_t ret[SHA])
{
    struct gh_sha256 s;
    gh_sha256_begin(&s);
    gh_sha256_add(&s, "\0", 1);
    gh_sha256_add(&s, data, n);
    gh_sha256_end(&s, ret);
}

static void node_digest(const uint8_t left[SHA], const uint8_t right[SHA], uint8_t ret[SHA])
{
    struct gh_sha256 s;
    gh_sha256_begin(&s);
    gh_sha256_add(&s, "\1", 1);
    gh_sha256_add(&s, left, SHA);
    gh_sha256_add(&s, right, SHA);
    gh_sha256_end(&s, ret);
}

static void tree_add(struct tree *t, unsigned level, const uint8_t digest[SHA])
{
    memcpy(t->digest[t->depth], digest, SHA);
    t->level[t->depth++] = level;
    while (t->depth > 1 && t->level[t->depth - 1] == t->level[t->depth - 2]) {
        t->depth--;
        node_digest(t->digest[t->depth - 1], t->digest[t->depth], t->digest[t->depth - 1]);
        t->level[t->depth - 1]++;
    }
}

static const uint8_t *tree_root(struct tree *t)
{
    for (; t->depth > 1; t->depth--)
        node_digest(t->digest[t->depth - 2], t->digest[t->depth - 1], t->digest[t->depth - 2]);
    return t->digest[0];
}

/* The leaves of [off, off + len), len at most a segment, into t. */
static int hash_leaves(struct hashing *h, uint64_t off, uint64_t len, uint8_t *buf, struct tree *t)
{
    for (uint64_t at = 0, n; at < len; at += n) {
        bool zero;
        int r = gh_image_known_zero(h->img, off + at, len - at, &zero, &n);
        if (r < 0)
            return r;
        if (zero)
            memset(buf + at, 0, n);
        else if ((r = gh_image_read(h->img, off + at, buf + at, n)) < 0)
            return r;
    }
    for (uint64_t at = 0; at < len; at += LEAF) {
        uint64_t n = gh_min_u64(LEAF, len - at);
        uint8_t digest[SHA];
        if (n < LEAF || !gh_is_zero(buf + at, n))
            leaf_digest(buf + at, n, digest);
        else
            memcpy(digest, h->zero[0], SHA);
        tree_add(t, 0, digest);
    }
    return 0;
}

static void *worker(void *arg)
{
    struct hashing *h = arg;
    uint8_t *buf = malloc(SEGMENT);

    pthread_mutex_lock(&h->lock);
    if (!buf && !h->result)
        h->result = -ENOMEM;
    for (;;) {
        while (!h->ending && !h->result && h->next == h->tail)
            pthread_cond_wait(&h->work, &h->lock);
        if (h->result || h->next == h->tail)
            break;
        struct slot *s = &h->ring[h->next++ % RING];
        if (s->ready)
            continue;
        struct tree t = { .depth = 0 };
        pthread_mutex_unlock(&h->lock);
        int r = hash_leaves(h, s->off, SEGMENT, buf, &t);
        pthread_mutex_lock(&h->lock);
        memcpy(s->digest, t.digest[0], SHA);
        s->ready = true;
        if (r < 0 && !h->result)
            h->result = r;
        pthread_cond_signal(&h->found);
    }
    pthread_cond_broadcast(&h->work);
    pthread_cond_signal(&h->found);
    pthread_mutex_unlock(&h->lock);
    free(buf);
    return NULL;
}

/* Moves what is found into the tree, until at most `keep` slots are taken. Lock held. */
static void retire(struct hashing *h, uint64_t keep)
{
    while (!h->result && h->tail - h->head > keep) {
        struct slot *s = &h->ring[h->head % RING];
        while (!s->ready && !h->result)
            pthread_cond_wait(&h->found, &h->lock);
        if (h->result)
            return;
        tree_add(&h->tree, s->level, s->digest);
        h->head++;
    }
}

static void put_slot(struct hashing *h, uint64_t off, unsigned level, bool zero)
{
    pthread_mutex_lock(&h->lock);
    retire(h, RING - 1);
    struct slot *s = &h->ring[h->tail++ % RING];
    *s = (struct slot){ .off = off, .level = level, .ready = zero };
    if (zero)
        memcpy(s->digest, h->zero[level], SHA);
    pthread_cond_signal(&h->work);
    pthread_mutex_unlock(&h->lock);
}

static bool told(const struct gh_progress *p, uint64_t done, uint64_t total)
{ return !p || !p->fn || p->fn(p->opaque, done, total); }

/* All whole segments, zeros in the largest pieces that fit the tree. */
static int walk(struct hashing *h, uint64_t end, const struct gh_progress *progress)
{
    for (uint64_t off = 0; off < end;) {
        bool zero;
        uint64_t n;
        int r = gh_image_known_zero(h->img, off, end - off, &zero, &n);
        if (r < 0)
            return r;
        unsigned level = SEGMENT_LEVEL;
        zero &= n >= SEGMENT;
        while (zero && level + 1 < LEVELS && off % ((uint64_t)LEAF << (level + 1)) == 0 && (uint64_t)LEAF << (level + 1) <= n)
            level++;
        put_slot(h, off, level, zero);
        off += (uint64_t)LEAF << level;
        pthread_mutex_lock(&h->lock);
        r = h->result;
        pthread_mutex_unlock(&h->lock);
        if (!r && !told(progress, off, end))
            r = -ECANCELED;
        if (r < 0)
            return r;
    }
    return 0;
}

static int hash_tree(struct hashing *h, const struct gh_progress *progress, uint8_t ret[SHA])
{
    uint64_t bytes = gh_image_bytes(h->img), whole = bytes - bytes % SEGMENT;
    uint8_t *buf = calloc(1, SEGMENT), size[8];
    pthread_t thread[WORKERS_MAX];
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = 0, want = whole ? cpus < 1 ? 1 : cpus > WORKERS_MAX ? WORKERS_MAX : (unsigned)cpus : 0;

    if (!buf)
        return -ENOMEM;
    leaf_digest(buf, LEAF, h->zero[0]);
    for (unsigned i = 1; i < LEVELS; i++)
        node_digest(h->zero[i - 1], h->zero[i - 1], h->zero[i]);
    while (n < want && !pthread_create(&thread[n], NULL, worker, h))
        n++;
    int r = want && !n ? -EAGAIN : walk(h, whole, progress);
    pthread_mutex_lock(&h->lock);
    if (r < 0 && !h->result)
        h->result = r;
    h->ending = true;
    pthread_cond_broadcast(&h->work);
    retire(h, 0);
    pthread_mutex_unlock(&h->lock);
    for (unsigned i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    r = h->result;
    if (!r)
        r = hash_leaves(h, whole, bytes - whole, buf, &h->tree);
    free(buf);
    if (r < 0)
        return r;
    struct gh_sha256 s;
    gh_be64_put(size, bytes);
    gh_sha256_begin(&s);
    gh_sha256_add(&s, "\2", 1);
    gh_sha256_add(&s, size, sizeof size);
    gh_sha256_add(&s, tree_root(&h->tree), SHA);
    gh_sha256_end(&s, ret);
    told(progress, bytes, bytes);
    return 0;
}

static int hash_plain(struct gh_image *img, const struct gh_progress *progress, uint8_t ret[SHA])
{
    uint64_t bytes = gh_image_bytes(img), n = 0;
    uint8_t *buf = malloc(SEGMENT), *zeros = calloc(1, SEGMENT);
    int r = buf && zeros ? 0 : -ENOMEM;
    struct gh_sha256 s;

    gh_sha256_begin(&s);
    for (uint64_t off = 0; off < bytes && !r; off += n) {
        bool zero;
        r = gh_image_known_zero(img, off, gh_min_u64(SEGMENT, bytes - off), &zero, &n);
        if (!r && !zero)
            r = gh_image_read(img, off, buf, n);
        if (!r)
            gh_sha256_add(&s, zero ? zeros : buf, n);
        if (!r && !told(progress, off + n, bytes))
            r = -ECANCELED;
    }
    gh_sha256_end(&s, ret);
    free(buf);
    free(zeros);
    return r;
}

int gh_image_hash(struct gh_image *img, bool plain, uint8_t ret[GH_IMAGE_HASH_BYTES], const struct gh_progress *progress, struct gh_error *err)
{
    struct hashing *h = plain ? NULL : calloc(1, sizeof *h);
    int r = plain || h ? 0 : -ENOMEM;

    if (plain)
        r = hash_plain(img, progress, ret);
    if (h) {
        h->img = img;
        pthread_mutex_init(&h->lock, NULL);
        pthread_cond_init(&h->work, NULL);
        pthread_cond_init(&h->found, NULL);
        r = hash_tree(h, progress, ret);
        pthread_cond_destroy(&h->found);
        pthread_cond_destroy(&h->work);
        pthread_mutex_destroy(&h->lock);
        free(h);
    }
    if (r == -ECANCELED)
        return gh_error_set(err, r, "Cancelled", "Reading “%s” was cancelled.", img->label);
    return r < 0 ? gh_error_set(err, r, "DiskReadFailed", "“%s” could not be read: %s.", img->label, gh_image_reason(r)) : 0;
}
