/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * QEMU's qcow2, versions 2 and 3, after its published description.
 *
 *     header -> L1 table -> L2 tables -> data clusters       reference counts: table -> blocks
 *     L2 entry: [63 copied][62 packed][55..9 host offset][0 zeros]; extended L2 adds a word of
 *               32 "allocated" bits (low) and 32 "zeros" bits (high), one pair per subcluster
 *
 * Everything is written through at once: nothing acknowledged lives only in memory. The dirty bit is
 * set (and made durable) before the first change and cleared by close; an image found dirty gets its
 * reference counts rebuilt. Left out on purpose: encryption, external data files, writing snapshots.
 */
#pragma once
#include "disk/drivers.h"

#define QCOW2_COPIED   (1ull << 63)
#define QCOW2_PACKED   (1ull << 62)
#define QCOW2_ZERO     1ull
#define QCOW2_OFFSET   0x00fffffffffffe00ull
#define QCOW2_CACHE_BYTES (64ull << 20)        /* L2 tables in memory */
#define QCOW2_L1_MAX_BYTES (32ull << 20)
#define QCOW2_REFTABLE_MAX_BYTES (8ull << 20)

enum { QCOW2_DIRTY = 1, QCOW2_CORRUPT = 2, QCOW2_DATA_FILE = 4, QCOW2_COMPRESSION = 8, QCOW2_EXTENDED_L2 = 16 };
enum { QCOW2_EXT_SEEN = 0x67687073, QCOW2_SEEN_BYTES = 48 };
enum { QCOW2_PACK_CACHE = 8, QCOW2_POOL = 64 };

struct qcow2_l2 { uint64_t host, used; uint8_t *data; };  /* big-endian, as on disk */

struct qcow2 {
    struct gh_file *file;
    unsigned version, cluster_bits, entry_bytes, l2_entries, refcount_order;
    uint64_t cluster, l2_span;                 /* bytes a cluster, an L2 table cover */
    bool     extended, zstd, has_bitmaps;
    uint64_t incompatible, compatible, autoclear;
    uint64_t *l1;                              /* host order */
    uint32_t l1_size, snapshots;
    uint64_t l1_offset, snapshot_offset;
    uint64_t name_at, end_at, seen_at;         /* in the header: parent's name, end of extensions, what is remembered of it; 0: none */

    pthread_mutex_t cache_lock;                /* readers load tables side by side */
    struct qcow2_l2 *l2;                       /* one slot per L1 entry; data NULL: not loaded */
    uint64_t l2_cached_bytes;
    _Atomic uint64_t tick;

    uint64_t reftable_offset;
    uint32_t reftable_clusters, reftable_size; /* entries */
    uint64_t *reftable;                        /* host order */
    uint8_t  **refblock;                       /* loaded blocks */
    uint64_t block_entries;                    /* counts a block holds */
    uint64_t free_hint;                        /* no free cluster below */
    bool     frees_unflushed;
    uint64_t pool, pool_left;                  /* clusters counted ahead in one write; given back by close */

    uint64_t packed_at, packed_left;           /* where the next compressed cluster goes in a host cluster of such */

    struct { uint64_t entry, used; uint8_t *data; } pack[QCOW2_PACK_CACHE];
    struct qcow2_unpacker *unpackers;          /* idle ones */
    pthread_mutex_t pack_lock;                 /* pack, unpackers */
};

/* qcow2_refcount.c: write lock held. */
int  qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *ret);
int  qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value);   /* makes blocks as needed */
/* n clusters in a row with count 1. *fresh: they lie beyond what the file ever held. */
int  qcow2_alloc(struct qcow2 *q, uint64_t n, uint64_t *ret_host, bool *fresh);
void qcow2_pool_release(struct qcow2 *q);
int  qcow2_unref(struct qcow2 *q, uint64_t host, uint64_t bytes, bool punch); /* clusters touched by the range */
int  qcow2_write_header_fields(struct qcow2 *q);

/* qcow2_table.c */
int  qcow2_l2_load(struct qcow2 *q, uint32_t i1, struct qcow2_l2 **ret);      /* cache_lock held; *ret NULL: none */
int  qcow2_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret);
int  qcow2_reserve(struct gh_image *img, uint64_t off, struct gh_file **file, uint64_t *file_off, bool *fresh);
int  qcow2_link(struct gh_image *img, uint64_t off, uint64_t file_off);
int  qcow2_link_run(struct gh_image *img, uint64_t off, uint64_t file_off, unsigned n, unsigned *done);
void qcow2_unreserve(struct gh_image *img, uint64_t off, uint64_t file_off);
int  qcow2_zero(struct gh_image *img, uint64_t off, uint64_t len, bool discard);
int qcow2_cut(struct gh_image *img, uint64_t off, uint64_t len);
int  qcow2_link_packed(struct gh_image *img, uint64_t off, uint64_t host, size_t n);
void qcow2_packed_range(const struct qcow2 *q, uint64_t entry, uint64_t *host, uint64_t *bytes);

/* qcow2_packed.c */
void qcow2_packed_close(struct qcow2 *q);
int  qcow2_read_packed(struct gh_image *img, uint64_t off, void *buf, size_t len);
size_t qcow2_pack(struct gh_image *img, const uint8_t *cluster, uint8_t *out, size_t room);
int  qcow2_write_packed(struct gh_image *img, uint64_t off, const uint8_t *packed, size_t n);

/* qcow2_parent.c */
void qcow2_seen_encode(uint8_t p[QCOW2_SEEN_BYTES], const struct gh_parent_seen *seen, const char *name);
void qcow2_seen_decode(struct gh_image *img, const uint8_t p[QCOW2_SEEN_BYTES]);
int  qcow2_remember_parent(struct gh_image *img, const struct gh_parent_seen *seen, const struct gh_image_info *parent);

/* qcow2_check.c */
int  qcow2_check(struct gh_image *img, bool repair, struct gh_check_report *ret, struct gh_error *err);
