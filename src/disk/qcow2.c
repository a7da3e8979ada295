/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADER_V2 = 72, HEADER_V3 = 104, HEADER_OURS = 112 };
enum { EXT_END = 0, EXT_BACKING_FORMAT = 0xe2792aca, EXT_BITMAPS = 0x23852875, EXT_DATA_FILE = 0x44415441 };
enum { MAX_SNAPSHOTS = 65536 };
#define MAGIC 0x514649fbu

static int qcow2_probe(const uint8_t *head, size_t len, const uint8_t *tail, uint64_t file_bytes)
{ return len >= 8 && gh_be32_get(head) == MAGIC && gh_be32_get(head + 4) >= 2 && gh_be32_get(head + 4) <= 3 ? 100 : 0; }

/* The fields that change after creation, in one write: they share a sector. */
int qcow2_write_header_fields(struct qcow2 *q)
{
    uint8_t h[HEADER_V3];
    int r = gh_file_read(q->file, 0, h, sizeof h);
    if (r < 0)
        return r;
    gh_be64_put(h + 48, q->reftable_offset);
    gh_be32_put(h + 56, q->reftable_clusters);
    gh_be32_put(h + 36, q->l1_size);
    gh_be64_put(h + 40, q->l1_offset);
    if (q->version >= 3) {
        gh_be64_put(h + 72, q->incompatible);
        gh_be64_put(h + 80, q->compatible);
        gh_be64_put(h + 88, q->autoclear);
    }
    return gh_file_write(q->file, 0, h, q->version >= 3 ? HEADER_V3 : HEADER_V2);
}

static int write_size(struct qcow2 *q, uint64_t bytes)
{
    uint8_t v[8];
    gh_be64_put(v, bytes);
    return gh_file_write(q->file, 24, v, 8);
}

static int read_extensions(struct gh_image *img, uint64_t from, uint64_t to, struct gh_error *err)
{
    struct qcow2 *q = img->state;
    for (unsigned i = 0; i < 64 && from + 8 <= to; i++) {
        uint8_t h[8];
        int r = gh_file_read(q->file, from, h, 8);
        uint32_t type = gh_be32_get(h), len = gh_be32_get(h + 4);
        if (r < 0)
            return r;
        if (type == EXT_END) {
            q->end_at = from;
            return 0;
        }
        if (len > to - from - 8)
            return gh_image_bad(img, err, "a header extension is longer than the header");
        if (type == EXT_BACKING_FORMAT && len < sizeof img->info.parent_format)
            r = gh_file_read(q->file, from + 8, img->info.parent_format, len);
        if (type == EXT_DATA_FILE && len < sizeof img->info.data_file)
            r = gh_file_read(q->file, from + 8, img->info.data_file, len);
        if (type == QCOW2_EXT_SEEN && len == QCOW2_SEEN_BYTES)
            q->seen_at = from + 8;
        if (type == EXT_BITMAPS)
            q->has_bitmaps = q->autoclear & 1;
        if (r < 0)
            return r;
        from += 8 + gh_round_up(len, 8);
    }
    return 0;
}

static int read_header(struct gh_image *img, struct gh_error *err)
{
    struct qcow2 *q = img->state;
    uint8_t h[HEADER_OURS];
    int r = gh_file_read(q->file, 0, h, sizeof h);
    if (r < 0)
        return r;
    q->version = gh_be32_get(h + 4);
    if (gh_be32_get(h) != MAGIC)
        return gh_image_bad(img, err, "it is not a qcow2 image");
    if (q->version != 2 && q->version != 3)
        return gh_image_unsupported(img, err, "it is a qcow2 image of version %u, and only 2 and 3 are known", q->version);
    q->cluster_bits = gh_be32_get(h + 20);
    if (q->cluster_bits < 9 || q->cluster_bits > 21)
        return gh_image_bad(img, err, "its clusters have 2^%u bytes", q->cluster_bits);
    q->cluster = 1ull << q->cluster_bits;
    img->bytes = gh_be64_get(h + 24);
    if (gh_be32_get(h + 32)) {
        img->info.encrypted = true;
        return gh_image_unsupported(img, err, "it is encrypted; decrypt it with qemu-img first");
    }
    uint64_t header_bytes = HEADER_V2;
    q->refcount_order = 4;
    if (q->version >= 3) {
        q->incompatible = gh_be64_get(h + 72);
        q->compatible = gh_be64_get(h + 80);
        q->autoclear = gh_be64_get(h + 88);
        q->refcount_order = gh_be32_get(h + 96);
        header_bytes = gh_be32_get(h + 100);
        if (header_bytes < HEADER_V3 || header_bytes > q->cluster || header_bytes % 8)
            return gh_image_bad(img, err, "its header claims %llu bytes", (unsigned long long)header_bytes);
        uint64_t unknown = q->incompatible & ~(uint64_t)(QCOW2_DIRTY | QCOW2_CORRUPT | QCOW2_DATA_FILE | QCOW2_COMPRESSION | QCOW2_EXTENDED_L2);
        if (unknown)
            return gh_image_unsupported(img, err, "it uses features (%#llx) that are not known here", (unsigned long long)unknown);
        if (q->incompatible & QCOW2_COMPRESSION) {
            if (header_bytes <= HEADER_V3 || h[104] > 1)
                return gh_image_unsupported(img, err, "its compression type is not known");
            q->zstd = h[104] == 1;
        }
        q->extended = q->incompatible & QCOW2_EXTENDED_L2;
        if (q->extended && q->cluster_bits < 14)
            return gh_image_bad(img, err, "its clusters are too small for subclusters");
    }
    if (q->refcount_order > 6)
        return gh_image_bad(img, err, "its reference counts have 2^%u bits", q->refcount_order);
    img->info.dirty = q->incompatible & QCOW2_DIRTY;
    img->info.corrupt = q->incompatible & QCOW2_CORRUPT;
    q->entry_bytes = q->extended ? 16 : 8;
    q->l2_entries = (unsigned)(q->cluster / q->entry_bytes);
    q->l2_span = q->l2_entries * q->cluster;
    q->block_entries = q->cluster * 8 >> q->refcount_order;
    q->l1_size = gh_be32_get(h + 36);
    q->l1_offset = gh_be64_get(h + 40);
    q->reftable_offset = gh_be64_get(h + 48);
    q->reftable_clusters = gh_be32_get(h + 56);
    q->snapshots = gh_be32_get(h + 60);
    q->snapshot_offset = gh_be64_get(h + 64);
    uint64_t backing = gh_be64_get(h + 8), backing_len = gh_be32_get(h + 16);
    r = read_extensions(img, header_bytes, backing ? gh_min_u64(backing, q->cluster) : q->cluster, err);
    if (r < 0)
        return r;
    if (q->incompatible & QCOW2_DATA_FILE)
        return gh_image_unsupported(img, err, "its data lie in another file (“%s”), which is refused", img->info.data_file);
    if (backing) {
        if (backing_len >= sizeof img->info.parent_name || !gh_range_in(backing, backing_len, q->cluster))
            return gh_image_bad(img, err, "the name of its backing file does not fit the header");
        r = gh_file_read(q->file, backing, img->info.parent_name, backing_len);
        img->needs_parent = backing_len > 0;
        q->name_at = backing;
        uint8_t seen[QCOW2_SEEN_BYTES];
        if (!r && q->seen_at && !(r = gh_file_read(q->file, q->seen_at, seen, sizeof seen)))
            qcow2_seen_decode(img, seen);
    }
    return r;
}

static int read_tables(struct gh_image *img, struct gh_error *err)
{
    struct qcow2 *q = img->state;
    uint64_t need = img->bytes / q->l2_span + (img->bytes % q->l2_span != 0);
    if (img->bytes > GH_IMAGE_MAX_BYTES)
        return gh_error_set(err, -EFBIG, "DiskTooLarge", "“%s” claims %llu bytes; the limit is 64 TiB.", img->label,
                            (unsigned long long)img->bytes);
    if (q->l1_size < need || q->l1_size > QCOW2_L1_MAX_BYTES / 8)
        return gh_image_bad(img, err, "its L1 table has %u entries, %llu are needed", q->l1_size, (unsigned long long)need);
    if (q->l1_offset % q->cluster || q->reftable_offset % q->cluster || !q->l1_offset != !q->l1_size || !q->reftable_offset)
        return gh_image_bad(img, err, "a table does not begin at a cluster");
    if (q->reftable_clusters > QCOW2_REFTABLE_MAX_BYTES / q->cluster || !q->reftable_clusters)
        return gh_image_bad(img, err, "its reference table has %u clusters", q->reftable_clusters);
    if (q->snapshots > MAX_SNAPSHOTS)
        return gh_image_bad(img, err, "it claims %u snapshots", q->snapshots);
    img->info.snapshots = q->snapshots;
    q->reftable_size = (uint32_t)(q->reftable_clusters * (q->cluster / 8));
    if (!img->repair && !gh_range_in(q->l1_offset, (uint64_t)q->l1_size * 8, gh_file_bytes(q->file)))
        return gh_image_bad(img, err, "its L1 table lies outside the file");
    q->l1 = gh_file_memory((uint64_t)q->l1_size * 8, QCOW2_L1_MAX_BYTES);
    q->l2 = gh_file_memory((uint64_t)q->l1_size * sizeof *q->l2, QCOW2_L1_MAX_BYTES * 4);
    q->reftable = gh_file_memory((uint64_t)q->reftable_size * 8, QCOW2_REFTABLE_MAX_BYTES);
    q->refblock = gh_file_memory((uint64_t)q->reftable_size * sizeof *q->refblock, QCOW2_REFTABLE_MAX_BYTES);
    if (!q->l1 || !q->l2 || !q->reftable || !q->refblock)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for the tables of “%s”.", img->label);
    int r = gh_file_read(q->file, q->l1_offset, q->l1, (size_t)q->l1_size * 8);
    if (!r)
        r = gh_file_read(q->file, q->reftable_offset, q->reftable, (size_t)q->reftable_size * 8);
    for (uint32_t i = 0; i < q->l1_size; i++)
        q->l1[i] = be64toh(q->l1[i]);
    for (uint32_t i = 0; i < q->reftable_size; i++)
        q->reftable[i] = be64toh(q->reftable[i]);
    return r;
}

static int qcow2_open(struct gh_image *img, struct gh_error *err)
{
    struct qcow2 *q = calloc(1, sizeof *q);
    struct gh_check_report report = { 0 };
    if (!q)
        return -ENOMEM;
    img->state = q;
    q->file = img->file;
    pthread_mutex_init(&q->cache_lock, NULL);
    pthread_mutex_init(&q->pack_lock, NULL);
    int r = read_header(img, err);
    if (!r)
        r = read_tables(img, err);
    if (r < 0)
        return r;
    img->cluster_bytes = q->cluster;
    snprintf(img->info.variant, sizeof img->info.variant, "v%u%s%s", q->version, q->extended ? ", extended L2" : "",
             q->zstd ? ", zstd" : "");
    r = gh_image_check_parent(img, err);
    if (r < 0 || !img->writable || img->repair)
        return r;
    if (q->incompatible & QCOW2_CORRUPT)
        return gh_error_set(err, -EUCLEAN, "DiskDamaged",
                            "“%s” is marked as damaged. Check and repair it, or open it read-only.", img->label);
    if (q->incompatible & QCOW2_DIRTY) {       /* its last user was killed: the counts may lag */
        uint64_t missing;
        r = gh_image_missing(img, true, &missing);
        if (!r)
            r = qcow2_check(img, true, &report, err);
        if (!r && report.errors > report.errors_fixed)
            r = gh_image_bad(img, err, "%s", report.first);
    }
    return r;
}

static void qcow2_close(struct gh_image *img)
{
    struct qcow2 *q = img->state;
    if (!q)
        return;
    if (img->marked && q->refblock)
        qcow2_pool_release(q);
    if (img->marked && q->version >= 3 && !gh_file_flush(q->file)) {
        q->incompatible &= ~(uint64_t)QCOW2_DIRTY;
        qcow2_write_header_fields(q);
    }
    for (uint32_t i = 0; q->l2 && i < q->l1_size; i++)
        free(q->l2[i].data);
    for (uint32_t i = 0; q->refblock && i < q->reftable_size; i++)
        free(q->refblock[i]);
    for (unsigned i = 0; i < QCOW2_PACK_CACHE; i++)
        free(q->pack[i].data);
    qcow2_packed_close(q);
    free(q->l1);
    free(q->l2);
    free(q->reftable);
    free(q->refblock);
    pthread_mutex_destroy(&q->cache_lock);
    pthread_mutex_destroy(&q->pack_lock);
    free(q);
    img->state = NULL;
}

/* From the first write on the child depends on its parent as it is now, whoever made it. */
static int watch_parent(struct gh_image *img)
{
    struct gh_parent_seen seen;
    if (!img->parent || img->seen.known || img->accept_parent)
        return 0;
    gh_parent_record(img->parent, &seen);
    return seen.known ? qcow2_remember_parent(img, &seen, &img->parent->info) : 0;
}

static int qcow2_first_write(struct gh_image *img)
{
    struct qcow2 *q = img->state;
    if (q->version < 3)
        return watch_parent(img);
    q->incompatible |= QCOW2_DIRTY;
    q->autoclear = 0;                          /* nothing that lives there is kept up to date here */
    q->has_bitmaps = false;
    int r = qcow2_write_header_fields(q);
    if (!r)
        r = gh_file_flush(q->file);
    return r < 0 ? r : watch_parent(img);
}

static int grow_l1(struct qcow2 *q, uint64_t need)
{
    uint64_t bytes = gh_round_up(need * 8, q->cluster), host;
    uint8_t *disk = gh_file_memory(bytes, QCOW2_L1_MAX_BYTES);
    uint64_t *l1 = gh_file_memory(need * 8, QCOW2_L1_MAX_BYTES);
    struct qcow2_l2 *l2 = gh_file_memory(need * sizeof *l2, QCOW2_L1_MAX_BYTES * 4);
    bool fresh;
    int r = disk && l1 && l2 ? qcow2_alloc(q, bytes / q->cluster, &host, &fresh) : -ENOMEM;
    if (!r) {
        for (uint32_t i = 0; i < q->l1_size; i++) {
            gh_be64_put(disk + i * 8, q->l1[i]);
            l1[i] = q->l1[i];
            l2[i] = q->l2[i];
        }
        r = gh_file_write(q->file, host, disk, bytes);
    }
    if (!r)
        r = gh_file_flush(q->file);
    free(disk);
    if (r < 0) {
        free(l1);
        free(l2);
        return r;
    }
    uint64_t old = q->l1_offset, old_bytes = (uint64_t)q->l1_size * 8;
    free(q->l1);
    free(q->l2);
    q->l1 = l1;
    q->l2 = l2;
    q->l1_size = (uint32_t)need;
    q->l1_offset = host;
    r = qcow2_write_header_fields(q);
    if (!r)
        r = gh_file_flush(q->file);
    return r < 0 ? r : qcow2_unref(q, old, old_bytes, false);
}

static int qcow2_resize(struct gh_image *img, uint64_t bytes, struct gh_error *err)
{
    struct qcow2 *q = img->state;
    uint64_t need = bytes / q->l2_span + (bytes % q->l2_span != 0);
    int r = 0;
    if (need > QCOW2_L1_MAX_BYTES / 8)
        return gh_error_set(err, -EFBIG, "DiskSizeInvalid", "A qcow2 disk with clusters of %llu bytes cannot have %llu bytes.",
                            (unsigned long long)q->cluster, (unsigned long long)bytes);
    if (bytes < img->bytes) {
        /* The lost end must not come back when the disk grows again. */
        uint64_t from = gh_round_up(bytes, q->cluster);
        if (from < img->bytes)
            r = qcow2_cut(img, from, img->bytes - from);
    } else if (need > q->l1_size) {
        r = grow_l1(q, need);
    }
    return r < 0 ? r : write_size(q, bytes);
}

static int qcow2_create(struct gh_file *file, const struct gh_image_create *how, struct gh_error *err)
{
    uint64_t cluster = how->cluster_bytes ? how->cluster_bytes : 65536;
    unsigned version = how->version ? how->version : 3, entry = how->extended_l2 ? 16 : 8;
    if (!gh_is_pow2(cluster) || cluster < (how->extended_l2 ? 16384 : 512) || cluster > 2u << 20)
        return gh_error_set(err, -EINVAL, "DiskClusterInvalid", "%llu is not a cluster size for qcow2: use a power of two from 512 to 2 MiB.",
                            (unsigned long long)cluster);
    if (version < 2 || version > 3 || (version == 2 && (how->extended_l2 || how->compression)))
        return gh_error_set(err, -EINVAL, "DiskVariantUnknown", "qcow2 version %u cannot do that; use version 3.", version);
    uint64_t span = cluster / entry * cluster, l1_size = how->bytes / span + (how->bytes % span != 0);
    uint64_t l1_clusters = gh_round_up(l1_size * 8, cluster) / cluster, per = cluster / 2, blocks = 1, table = 1;
    if (l1_size > QCOW2_L1_MAX_BYTES / 8)
        return gh_error_set(err, -EFBIG, "DiskSizeInvalid", "Clusters of %llu bytes are too small for %llu bytes; use 64 KiB.",
                            (unsigned long long)cluster, (unsigned long long)how->bytes);
    while (blocks * per < 1 + table + blocks + l1_clusters) {
        blocks++;
        table = gh_round_up(blocks * 8, cluster) / cluster;
    }
    uint64_t total = 1 + table + blocks + l1_clusters, name_at = 0;
    size_t name_len = how->parent_name ? strlen(how->parent_name) : 0;
    size_t seen_len = how->parent && name_len ? 8 + QCOW2_SEEN_BYTES : 0;
    const char *format = how->parent_format ? gh_image_name_for_qemu(how->parent_format) : "";
    size_t format_len = name_len ? strlen(format) : 0;
    uint8_t *h = gh_file_memory(cluster, 2u << 20);
    if (!h)
        return -ENOMEM;
    bool zstd = how->compression && !strcmp(how->compression, "zstd");
    uint64_t at = version == 2 ? HEADER_V2 : HEADER_OURS;
    if (name_len > 1023 || format_len > 15 || at + 8 + 16 + seen_len + 8 + name_len > cluster) {
        free(h);
        return gh_error_set(err, -ENAMETOOLONG, "DiskNameTooLong", "The name of the backing file is too long for the header.");
    }
    gh_be32_put(h, MAGIC);
    gh_be32_put(h + 4, version);
    gh_be32_put(h + 20, gh_log2(cluster));
    gh_be64_put(h + 24, how->bytes);
    gh_be32_put(h + 36, (uint32_t)l1_size);
    gh_be64_put(h + 40, (1 + table + blocks) * cluster);
    gh_be64_put(h + 48, cluster);
    gh_be32_put(h + 56, (uint32_t)table);
    if (version >= 3) {
        gh_be64_put(h + 72, (zstd ? QCOW2_COMPRESSION : 0) | (how->extended_l2 ? QCOW2_EXTENDED_L2 : 0));
        gh_be32_put(h + 96, 4);
        gh_be32_put(h + 100, HEADER_OURS);
        h[104] = zstd;
    }
    if (format_len) {
        gh_be32_put(h + at, EXT_BACKING_FORMAT);
        gh_be32_put(h + at + 4, (uint32_t)format_len);
        memcpy(h + at + 8, format, format_len);
        at += 8 + gh_round_up(format_len, 8);
    }
    if (seen_len) {
        struct gh_parent_seen seen;
        gh_parent_record(how->parent, &seen);
        gh_be32_put(h + at, QCOW2_EXT_SEEN);
        gh_be32_put(h + at + 4, QCOW2_SEEN_BYTES);
        qcow2_seen_encode(h + at + 8, &seen, how->parent_name);
        at += seen_len;
    }
    at += 8;                                   /* the end extension: zeros */
    if (name_len) {
        name_at = at;
        memcpy(h + name_at, how->parent_name, name_len);
        gh_be64_put(h + 8, name_at);
        gh_be32_put(h + 16, (uint32_t)name_len);
    }
    int r = gh_file_truncate(file, total * cluster);
    uint8_t v[8];
    for (uint64_t i = 0; i < blocks && !r; i++) {
        gh_be64_put(v, (1 + table + i) * cluster);
        r = gh_file_write(file, cluster + i * 8, v, 8);
    }
    gh_be16_put(v, 1);
    for (uint64_t i = 0; i < total && !r; i++)
        r = gh_file_write(file, (1 + table) * cluster + i * 2, v, 2);
    if (!r)
        r = gh_file_flush(file);
    if (!r)
        r = gh_file_write(file, 0, h, cluster);
    free(h);
    return r;
}

static const char *const variants[] = { "dynamic", NULL };
const struct gh_image_driver gh_image_qcow2 = {
    .format = { "qcow2", "QEMU disk with snapshots and compression", variants, true, true, true, "qcow2" },
    .probe = qcow2_probe, .open = qcow2_open, .close = qcow2_close, .map = qcow2_map, .read_packed = qcow2_read_packed, .pack = qcow2_pack, .write_packed = qcow2_write_packed,
    .reserve = qcow2_reserve, .link = qcow2_link,
    .link_run = qcow2_link_run, .unreserve = qcow2_unreserve, .zero = qcow2_zero,
    .first_write = qcow2_first_write, .resize = qcow2_resize, .remember_parent = qcow2_remember_parent, .check = qcow2_check, .create = qcow2_create,
};
