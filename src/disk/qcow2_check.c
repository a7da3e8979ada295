/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Counts every reference and compares with the stored counts. Counts too high are leaks; too low, or a
 * pointer that cannot be, is an error. Repair sets counts and copied flags; it never drops a pointer. */
#include <errno.h>
#include <stdlib.h>

#include "disk/qcow2.h"

#define COUNTS_MAX_BYTES (512ull << 20)

struct walk {
    struct qcow2 *q;
    struct gh_check_report *report;
    uint32_t *count;
    uint64_t clusters;
};

static void refer(struct walk *w, uint64_t host, uint64_t bytes, const char *what)
{
    if (!bytes)
        return;
    uint64_t first = host / w->q->cluster, last = (host + bytes - 1) / w->q->cluster;
    if (host + bytes < host || last >= w->clusters) {
        w->report->errors++;
        gh_check_note(w->report, "%s at %#llx lies outside the file", what, (unsigned long long)host);
        return;
    }
    for (uint64_t c = first; c <= last; c++)
        if (w->count[c] < UINT32_MAX)
            w->count[c]++;
}

static void damage(struct walk *w, const char *what, uint64_t value)
{
    w->report->errors++;
    gh_check_note(w->report, "%s %#llx is not possible", what, (unsigned long long)value);
}

static int walk_l2(struct walk *w, uint64_t host, bool active, uint8_t *table)
{
    struct qcow2 *q = w->q;
    int r = gh_file_read(q->file, host, table, q->cluster);
    for (unsigned i = 0; i < q->l2_entries && !r; i++) {
        uint64_t e = gh_be64_get(table + (size_t)i * q->entry_bytes), at = e & QCOW2_OFFSET, bytes = q->cluster;
        if (e & QCOW2_PACKED) {
            qcow2_packed_range(q, e, &at, &bytes);
            if (e & QCOW2_COPIED)
                damage(w, "packed L2 entry", e);
            bytes = at < w->clusters * q->cluster ? gh_min_u64(bytes, w->clusters * q->cluster - at) : bytes;
        } else if (!at) {
            continue;
        } else if (at & (q->cluster - 1)) {
            damage(w, "L2 entry", e);
            continue;
        }
        w->report->checked++;
        w->report->allocated += active;
        refer(w, at, bytes, "a data cluster");
    }
    return r;
}

static int walk_l1(struct walk *w, uint64_t offset, uint64_t entries, const uint64_t *l1, bool active)
{
    struct qcow2 *q = w->q;
    uint8_t *table = malloc(q->cluster);
    int r = table ? 0 : -ENOMEM;
    refer(w, offset, entries * 8, "an L1 table");
    for (uint64_t i = 0; i < entries && !r; i++) {
        uint64_t at = l1[i] & QCOW2_OFFSET;
        if (!at)
            continue;
        if (at & (q->cluster - 1) || at / q->cluster >= w->clusters) {
            damage(w, "L1 entry", l1[i]);
            continue;
        }
        refer(w, at, q->cluster, "an L2 table");
        r = walk_l2(w, at, active, table);
    }
    free(table);
    return r;
}

static int walk_snapshots(struct walk *w)
{
    struct qcow2 *q = w->q;
    uint64_t at = q->snapshot_offset;
    int r = 0;
    for (uint32_t i = 0; i < q->snapshots && !r; i++) {
        uint8_t h[40];
        r = gh_file_read(q->file, at, h, sizeof h);
        if (r < 0)
            return r;
        uint64_t offset = gh_be64_get(h), entries = gh_be32_get(h + 8);
        uint64_t len = 40 + (uint64_t)gh_be32_get(h + 36) + gh_be16_get(h + 12) + gh_be16_get(h + 14);
        at += gh_round_up(len, 8);
        if (at - q->snapshot_offset > 64u << 20 || entries > QCOW2_L1_MAX_BYTES / 8 || offset % q->cluster) {
            damage(w, "snapshot table at", offset);
            break;
        }
        uint64_t *l1 = gh_file_memory(entries * 8, QCOW2_L1_MAX_BYTES);
        if (!l1)
            return -ENOMEM;
        r = gh_file_read(q->file, offset, l1, entries * 8);
        for (uint64_t k = 0; k < entries; k++)
            l1[k] = be64toh(l1[k]);
        if (!r)
            r = walk_l1(w, offset, entries, l1, false);
        free(l1);
    }
    refer(w, q->snapshot_offset, q->snapshots ? at - q->snapshot_offset : 0, "the snapshot table");
    return r;
}

static int compare(struct walk *w, bool repair)
{
    struct qcow2 *q = w->q;
    struct gh_check_report *rep = w->report;
    for (uint64_t c = 0; c < w->clusters; c++) {
        uint64_t stored;
        int r = qcow2_refcount_get(q, c, &stored);
        if (r == -EUCLEAN) {
            damage(w, "reference table entry of cluster", c);
            c = (c / q->block_entries + 1) * q->block_entries - 1;
            continue;
        }
        if (r < 0)
            return r;
        if (stored == w->count[c])
            continue;
        bool leak = stored > w->count[c];
        if (leak && q->has_bitmaps)
            continue;                          /* bitmaps own clusters that are not walked */
        if (leak)
            rep->leaks++;
        else
            rep->errors++;
        gh_check_note(rep, "cluster %llu has count %llu, but %u references", (unsigned long long)c,
                      (unsigned long long)stored, w->count[c]);
        if (!repair)
            continue;
        r = qcow2_refcount_set(q, c, w->count[c]);
        if (r == -ERANGE)
            continue;
        if (r < 0)
            return r;
        if (leak)
            rep->leaks_fixed++;
        else
            rep->errors_fixed++;
    }
    return 0;
}

/* The copied flag must say exactly whether the count is 1. */
static int check_flags(struct walk *w, bool repair)
{
    struct qcow2 *q = w->q;
    int r = 0;
    for (uint32_t i = 0; i < q->l1_size && !r; i++) {
        struct qcow2_l2 *t;
        uint64_t at = q->l1[i] & QCOW2_OFFSET;
        if (!at || at / q->cluster >= w->clusters || at & (q->cluster - 1))
            continue;
        if (!!(q->l1[i] & QCOW2_COPIED) != (w->count[at / q->cluster] == 1)) {
            w->report->errors++;
            gh_check_note(w->report, "the copied flag of L1 entry %u is wrong", i);
            if (repair) {
                uint8_t v[8];
                q->l1[i] ^= QCOW2_COPIED;
                gh_be64_put(v, q->l1[i]);
                r = gh_file_write(q->file, q->l1_offset + (uint64_t)i * 8, v, 8);
                w->report->errors_fixed += !r;
            }
        }
        if (!r)
            r = qcow2_l2_load(q, i, &t);
        for (unsigned k = 0; !r && t && k < q->l2_entries; k++) {
            uint8_t *p = t->data + (size_t)k * q->entry_bytes;
            uint64_t e = gh_be64_get(p), host = e & QCOW2_OFFSET;
            if (e & QCOW2_PACKED || !host || host & (q->cluster - 1) || host / q->cluster >= w->clusters)
                continue;
            if (!!(e & QCOW2_COPIED) == (w->count[host / q->cluster] == 1))
                continue;
            w->report->errors++;
            gh_check_note(w->report, "the copied flag of the cluster at %#llx is wrong", (unsigned long long)host);
            if (repair) {
                gh_be64_put(p, e ^ QCOW2_COPIED);
                r = gh_file_write(q->file, t->host + (uint64_t)k * q->entry_bytes, p, 8);
                w->report->errors_fixed += !r;
            }
        }
    }
    return r;
}

int qcow2_check(struct gh_image *img, bool repair, struct gh_check_report *rep, struct gh_error *err)
{
    struct qcow2 *q = img->state;
    qcow2_pool_release(q);
    /* A pointer may go ahead of the end of the file, whose last cluster holds no data yet. */
    uint64_t clusters = gh_round_up(gh_file_bytes(q->file), q->cluster) / q->cluster + q->block_entries;
    struct walk w = { q, rep, gh_file_memory(clusters * 4, COUNTS_MAX_BYTES), clusters };
    if (!w.count)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory to check “%s”.", img->label);
    refer(&w, 0, q->cluster, "the header");
    refer(&w, q->reftable_offset, (uint64_t)q->reftable_clusters * q->cluster, "the reference table");
    for (uint32_t i = 0; i < q->reftable_size; i++)
        if (q->reftable[i])
            refer(&w, q->reftable[i], q->cluster, "a reference block");
    int r = walk_l1(&w, q->l1_offset, q->l1_size, q->l1, true);
    if (!r)
        r = walk_snapshots(&w);
    if (!r)
        r = compare(&w, repair);
    pthread_mutex_lock(&q->cache_lock);
    if (!r)
        r = check_flags(&w, repair);
    pthread_mutex_unlock(&q->cache_lock);
    free(w.count);
    if (!r && repair) {
        q->free_hint = 0;
        r = gh_file_flush(q->file);
        if (!r && rep->errors == rep->errors_fixed && q->version >= 3) {
            q->incompatible &= ~(uint64_t)(QCOW2_CORRUPT | (img->marked ? 0 : QCOW2_DIRTY));
            img->info.dirty = img->info.corrupt = false;
            r = qcow2_write_header_fields(q);
            if (!r)
                r = gh_file_flush(q->file);
        }
    }
    return r;
}
