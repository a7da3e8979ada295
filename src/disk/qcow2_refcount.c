/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reference counts: every change goes to the file at once; counts are raised before a pointer is
 * written and lowered after it is gone, so that what a crash leaves is a leak. */
#include <errno.h>
#include <stdlib.h>

#include "disk/qcow2.h"

static uint64_t get_bits(const uint8_t *block, unsigned order, uint64_t i)
{
    switch (order) {
    case 6: return gh_be64_get(block + i * 8);
    case 5: return gh_be32_get(block + i * 4);
    case 4: return gh_be16_get(block + i * 2);
    case 3: return block[i];
    default: return block[i >> (3 - order)] >> ((i << order) & 7) & ((1u << (1u << order)) - 1);
    }
}

static void set_bits(uint8_t *block, unsigned order, uint64_t i, uint64_t v)
{
    switch (order) {
    case 6: gh_be64_put(block + i * 8, v); break;
    case 5: gh_be32_put(block + i * 4, (uint32_t)v); break;
    case 4: gh_be16_put(block + i * 2, (uint16_t)v); break;
    case 3: block[i] = (uint8_t)v; break;
    default: {
        unsigned shift = (unsigned)(i << order) & 7, mask = (1u << (1u << order)) - 1;
        uint8_t *p = &block[i >> (3 - order)];
        *p = (uint8_t)((*p & ~(mask << shift)) | v << shift);
    }
    }
}

static uint64_t max_count(const struct qcow2 *q)
{ return q->refcount_order == 6 ? UINT64_MAX : (1ull << (1u << q->refcount_order)) - 1; }

/* The block that counts this cluster; NULL in *ret: there is none, all its counts are 0. */
static int load_block(struct qcow2 *q, uint64_t index, uint8_t **ret)
{
    *ret = NULL;
    if (index >= q->reftable_size || !q->reftable[index])
        return 0;
    if (q->reftable[index] & (q->cluster - 1))
        return -EUCLEAN;
    if (!q->refblock[index]) {
        uint8_t *data = gh_file_memory(q->cluster, 2u << 20);
        if (!data)
            return -ENOMEM;
        int r = gh_file_read(q->file, q->reftable[index], data, q->cluster);
        if (r < 0) {
            free(data);
            return r;
        }
        q->refblock[index] = data;
    }
    *ret = q->refblock[index];
    return 0;
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *ret)
{
    uint8_t *block;
    int r = load_block(q, cluster / q->block_entries, &block);
    *ret = block ? get_bits(block, q->refcount_order, cluster % q->block_entries) : 0;
    return r;
}

static int put_count(struct qcow2 *q, uint64_t cluster, uint64_t value)
{
    uint64_t index = cluster / q->block_entries, i = cluster % q->block_entries;
    uint64_t byte = (i << q->refcount_order) / 8, width = q->refcount_order > 3 ? 1u << (q->refcount_order - 3) : 1;
    uint8_t *block = q->refblock[index];
    uint64_t old = get_bits(block, q->refcount_order, i);
    set_bits(block, q->refcount_order, i, value);
    int r = gh_file_write(q->file, q->reftable[index] + byte, block + byte, width);
    if (r < 0)
        set_bits(block, q->refcount_order, i, old);
    return r;
}

/* Count 1 for n free clusters of one block, in one write. */
static int claim(struct qcow2 *q, uint64_t cluster, uint64_t n)
{
    uint64_t index = cluster / q->block_entries, i = cluster % q->block_entries;
    uint64_t first = (i << q->refcount_order) / 8, last = (((i + n) << q->refcount_order) - 1) / 8;
    uint8_t *block = q->refblock[index];
    for (uint64_t k = 0; k < n; k++)
        set_bits(block, q->refcount_order, i + k, 1);
    int r = gh_file_write(q->file, q->reftable[index] + first, block + first, last - first + 1);
    for (uint64_t k = 0; k < n && r; k++)
        set_bits(block, q->refcount_order, i + k, 0);
    return r;
}

/* A bigger table, at host cluster `at`; the block of that region must exist already. */
static int grow_table(struct qcow2 *q, uint64_t need, uint64_t at, uint64_t *ret_clusters)
{
    uint64_t clusters = gh_round_up((need + need / 2 + 1) * 8, q->cluster) / q->cluster;
    uint64_t entries = clusters * (q->cluster / 8);
    uint8_t *disk = gh_file_memory(entries * 8, QCOW2_REFTABLE_MAX_BYTES);
    uint64_t *table = disk ? calloc(entries, sizeof *table) : NULL;
    uint8_t **blocks = table ? calloc(entries, sizeof *blocks) : NULL;
    int r = blocks ? 0 : -ENOMEM;
    if (!r) {
        memcpy(table, q->reftable, q->reftable_size * sizeof *table);
        memcpy(blocks, q->refblock, q->reftable_size * sizeof *blocks);
        for (uint32_t i = 0; i < q->reftable_size; i++)
            gh_be64_put(disk + i * 8, table[i]);
        r = gh_file_write(q->file, at * q->cluster, disk, entries * 8);
    }
    free(disk);
    if (r < 0) {
        free(table);
        free(blocks);
        return r;
    }
    free(q->reftable);
    free(q->refblock);
    q->reftable = table;
    q->refblock = blocks;
    q->reftable_size = (uint32_t)entries;
    *ret_clusters = clusters;
    return 0;
}

/* Puts a new block for region `index` at host cluster `at`, which lies in that region and is free. If
 * the table is too short, its successor comes right behind the block. */
static int new_block_here(struct qcow2 *q, uint64_t index, uint64_t at)
{
    uint64_t old_table = q->reftable_offset, old_clusters = q->reftable_clusters, clusters = 0;
    uint64_t first = at % q->block_entries;
    bool grown = index >= q->reftable_size;
    uint8_t *block = gh_file_memory(q->cluster, 2u << 20);
    if (!block)
        return -ENOMEM;
    int r = 0;
    if (grown) {
        r = grow_table(q, index + 1, at + 1, &clusters);
        if (!r && first + 1 + clusters > q->block_entries)
            r = -EFBIG;
    }
    for (uint64_t i = 0; !r && i < 1 + clusters; i++)
        set_bits(block, q->refcount_order, first + i, 1);
    if (!r)
        r = gh_file_write(q->file, at * q->cluster, block, q->cluster);
    if (r < 0) {
        free(block);
        return r;
    }
    free(q->refblock[index]);                  /* a damaged table may have lost one that was loaded */
    q->refblock[index] = block;
    q->reftable[index] = at * q->cluster;
    uint8_t entry[8];
    gh_be64_put(entry, q->reftable[index]);
    uint64_t table = grown ? (at + 1) * q->cluster : q->reftable_offset;
    /* A block that lands on a used-before cluster must not be seen with its old content. */
    r = gh_file_flush(q->file);
    if (!r)
        r = gh_file_write(q->file, table + index * 8, entry, 8);
    if (!r && grown) {
        q->reftable_offset = table;
        q->reftable_clusters = (uint32_t)clusters;
        r = gh_file_flush(q->file);
        if (!r)
            r = qcow2_write_header_fields(q);
        if (!r)
            r = gh_file_flush(q->file);
        if (!r)
            r = qcow2_unref(q, old_table, old_clusters * q->cluster, false);
    }
    return r;
}

/* Repair may count clusters whose region has no block: it goes behind everything. */
static int block_for(struct qcow2 *q, uint64_t index)
{
    uint8_t *block;
    int r = load_block(q, index, &block);
    if (r < 0 || block)
        return r;
    uint64_t end = gh_round_up(gh_file_bytes(q->file), q->cluster) / q->cluster;
    if (end < index * q->block_entries)
        end = index * q->block_entries;
    uint64_t there = end / q->block_entries;
    if (there == index)
        return new_block_here(q, index, end);
    r = load_block(q, there, &block);
    if (!r && !block)
        r = new_block_here(q, there, end);
    end = gh_round_up(gh_file_bytes(q->file), q->cluster) / q->cluster;
    if (r < 0 || end / q->block_entries != there)
        return r < 0 ? r : -EFBIG;
    uint8_t *data = gh_file_memory(q->cluster, 2u << 20);
    if (!data)
        return -ENOMEM;
    r = gh_file_write(q->file, end * q->cluster, data, q->cluster);
    if (!r)
        r = put_count(q, end, 1);
    if (!r)
        r = gh_file_flush(q->file);
    if (r < 0) {
        free(data);
        return r;
    }
    q->refblock[index] = data;
    q->reftable[index] = end * q->cluster;
    uint8_t entry[8];
    gh_be64_put(entry, q->reftable[index]);
    return gh_file_write(q->file, q->reftable_offset + index * 8, entry, 8);
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value)
{
    if (value > max_count(q))
        return -ERANGE;
    int r = block_for(q, cluster / q->block_entries);
    return r < 0 ? r : put_count(q, cluster, value);
}

void qcow2_pool_release(struct qcow2 *q)
{
    uint64_t left = q->pool_left;
    q->pool_left = 0;
    if (left)
        qcow2_unref(q, q->pool, left * q->cluster, false);
}

/* Beyond the end of the file, clusters are counted a pool at a time: what a crash leaves of it is a leak,
 * which the dirty bit's check takes back. */
static int fill_pool(struct qcow2 *q, uint64_t start)
{
    uint64_t n = 1, room = q->block_entries - start % q->block_entries;
    uint8_t *block = q->refblock[start / q->block_entries];
    while (n < QCOW2_POOL && n < room && !get_bits(block, q->refcount_order, (start + n) % q->block_entries))
        n++;
    int r = claim(q, start, n);
    if (!r) {
        q->pool = start * q->cluster;
        q->pool_left = n;
        q->free_hint = start + n;
    }
    return r;
}

int qcow2_alloc(struct qcow2 *q, uint64_t n, uint64_t *ret_host, bool *fresh)
{
    if (n == 1 && q->pool_left) {
        *fresh = q->pool >= gh_file_bytes(q->file);
        *ret_host = q->pool;
        q->pool += q->cluster;
        q->pool_left--;
        return 0;
    }
    if (!q->free_hint)                         /* the header's cluster is in use, whatever its count says */
        q->free_hint = 1;
    uint64_t start = q->free_hint, run = 0;
    uint64_t limit = (QCOW2_OFFSET >> q->cluster_bits) - n;
    uint64_t end = gh_round_up(gh_file_bytes(q->file), q->cluster) / q->cluster;
    for (uint64_t c = q->free_hint; run < n; c++) {
        uint8_t *block;
        uint64_t index = c / q->block_entries;
        if (c >= limit)
            return -EFBIG;
        int r = load_block(q, index, &block);
        if (!r && !block) {
            r = new_block_here(q, index, c);
            block = !r ? q->refblock[index] : NULL;
        }
        if (r < 0)
            return r;
        if (get_bits(block, q->refcount_order, c % q->block_entries)) {
            run = 0;
            start = c + 1;
            continue;
        }
        run++;
    }
    *fresh = start >= end;
    if (!*fresh && q->frees_unflushed) {
        /* Nobody may still point here after power loss. */
        int r = gh_file_flush(q->file);
        if (r < 0)
            return r;
        q->frees_unflushed = false;
    }
    if (n == 1 && *fresh && q->version >= 3) {
        int r = fill_pool(q, start);
        return r < 0 ? r : qcow2_alloc(q, 1, ret_host, fresh);
    }
    for (uint64_t i = 0; i < n; i++) {
        int r = put_count(q, start + i, 1);
        if (r < 0)
            return r;
    }
    if (n == 1 || start == q->free_hint)
        q->free_hint = start + n;
    *ret_host = start * q->cluster;
    return 0;
}

int qcow2_unref(struct qcow2 *q, uint64_t host, uint64_t bytes, bool punch)
{
    if (!bytes)
        return 0;
    for (uint64_t c = host / q->cluster; c <= (host + bytes - 1) / q->cluster; c++) {
        uint64_t count;
        int r = qcow2_refcount_get(q, c, &count);
        if (r < 0)
            return r;
        if (!count)
            continue;                          /* damaged already; check tells */
        r = put_count(q, c, count - 1);
        if (r < 0)
            return r;
        if (count > 1)
            continue;
        q->frees_unflushed = true;
        if (c < q->free_hint)
            q->free_hint = c;
        if (punch)
            gh_file_punch(q->file, c * q->cluster, q->cluster);
    }
    return 0;
}
