/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a format must provide, and what it gets. A driver only translates: it says where a piece of
 * the virtual disk lies and links new pieces; image.c moves the data, fills copied-up clusters from the
 * parent, and keeps the order that the promises of disk.h need.
 *
 * Locks: map, read_packed with the image's lock held for reading; reserve, link, release, zero,
 * resize, check with it held for writing; open and close alone.
 */
#pragma once
#include <limits.h>
#include <pthread.h>

#include "disk/disk.h"
#include "disk/file.h"

enum gh_extent_kind {
    GH_EXTENT_NONE,                            /* not here: the parent's, or zeros */
    GH_EXTENT_ZERO,                            /* zeros, hiding the parent */
    GH_EXTENT_DATA,                            /* at file_offset of file */
    GH_EXTENT_PACKED,                          /* compressed: read_packed */
};
struct gh_extent {
    enum gh_extent_kind kind;
    uint64_t bytes;                            /* 1..asked: how far it goes */
    struct gh_file *file;
    uint64_t file_offset;
    bool in_place;                             /* DATA may be overwritten where it lies */
};

/* What a child remembers of its parent beside ids. */
struct gh_parent_seen {
    bool known, seconds_only;
    uint64_t bytes;                            /* virtual size; 0: not known */
    int64_t  sec;                              /* last change of its file, since 1970 */
    uint32_t nsec;
    uint64_t ids;                              /* of its UUID and change id; 0: it has none */
};

struct gh_image {
    const struct gh_image_driver *driver;
    struct gh_file *file;
    struct gh_file **parts;                    /* in the order of the spec */
    char (*part_names)[256];
    unsigned part_count;
    struct gh_image *parent;
    uint64_t bytes;
    uint64_t cluster_bytes;                    /* unit of allocation; 0: driver has no allocation */
    bool writable, repair;
    bool needs_parent;                         /* set by open: without a parent this is refused */
    bool accept_parent, after_crash;
    struct gh_parent_seen seen;                /* set by open: what the child holds of its parent */
    bool flat;                                 /* set by open: byte n of the disk is byte n of file, for ever; needs no lock */
    bool in_order;                             /* set by open: written front to back only */
    bool marked;                               /* first_write was done */
    bool keep_id;                              /* first_write leaves what children remember of it as it is */
    pthread_rwlock_t lock;
    void *state;                               /* the driver's, freed by its close */
    int close_error;                           /* set by close: what it could not write; 0 or negative errno */
    struct gh_image_info info;
    char label[PATH_MAX];                      /* the whole path where there is one: commit opens its parent by it */
};

struct gh_vec;
struct gh_image_driver {
    struct gh_image_format format;
    int  (*probe)(const uint8_t *head, size_t len, const uint8_t *tail512, uint64_t file_bytes); /* 0..100 */
    /* Optional: tells the names of further files that open will want, in order (VMDK extents). */
    int  (*references)(struct gh_file *file, void (*name)(void *opaque, const char *name), void *opaque, struct gh_error *err);
    int  (*open)(struct gh_image *img, struct gh_error *err);
    void (*close)(struct gh_image *img);       /* accepts a half-opened image; writes clean marks */
    int  (*map)(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret);
    int  (*read_packed)(struct gh_image *img, uint64_t off, void *buf, size_t len);
    /* Room for the cluster at virtual offset off (aligned). *fresh: the room reads as zeros now, also
     * after power loss, as nothing was ever stored there. */
    int  (*reserve)(struct gh_image *img, uint64_t off, struct gh_file **file, uint64_t *file_off, bool *fresh);
    /* The data of the whole cluster is in place: make the virtual cluster point there. */
    int  (*link)(struct gh_image *img, uint64_t off, uint64_t file_off);
    /* Optional: the same for n clusters in a row in both places; *done counts those that are linked. */
    int  (*link_run)(struct gh_image *img, uint64_t off, uint64_t file_off, unsigned n, unsigned *done);
    void (*unreserve)(struct gh_image *img, uint64_t off, uint64_t file_off); /* optional: link never came */
    /* Whole clusters become zeros without data; -ENOTSUP: image.c writes zeros. discard: space may be
     * given back too. */
    int  (*zero)(struct gh_image *img, uint64_t off, uint64_t len, bool discard);
    /* Optional: takes all writing over; -ENOTSUP: not for this image. Formats written front to back. */
    int  (*write_stream)(struct gh_image *img, uint64_t off, struct gh_vec *vec, uint64_t len);
    /* Optional, formats that can hold single compressed clusters: pack (any thread) makes one smaller, 0: it is not; write_packed
     * (lock held for writing, after first_write) stores n such bytes for the cluster at off. pack.c. */
    size_t (*pack)(struct gh_image *img, const uint8_t *cluster, uint8_t *out, size_t room);
    int  (*write_packed)(struct gh_image *img, uint64_t off, const uint8_t *packed, size_t n);
    /* Once, before the first change: dirty bits, modification ids. Optional. */
    int  (*first_write)(struct gh_image *img);
    int  (*flush)(struct gh_image *img);       /* optional: files in the right order; else every file */
    /* Optional: the child holds this of its parent from now on; NULL, NULL: nothing is known. Lock held for writing. */
    int  (*remember_parent)(struct gh_image *img, const struct gh_parent_seen *seen, const struct gh_image_info *parent);
    int  (*resize)(struct gh_image *img, uint64_t bytes, struct gh_error *err);
    int  (*check)(struct gh_image *img, bool repair, struct gh_check_report *ret, struct gh_error *err);
    int  (*create)(struct gh_file *file, const struct gh_image_create *how, struct gh_error *err);
};

/* The names that qcow2 headers give to formats are QEMU's. From: NULL where there is none here. */
const char *gh_image_name_for_qemu(const char *format);
const char *gh_image_name_from_qemu(const char *name);
extern const struct gh_image_driver *const gh_image_drivers[];   /* drivers.c, NULL-terminated */
const struct gh_image_driver *gh_image_driver_find(const char *name);

/* image_io.c: reads with the lock of img already held. */
struct gh_vec;
int gh_image_read_locked(struct gh_image *img, uint64_t off, struct gh_vec *vec, uint64_t len);
int gh_image_flush_locked(struct gh_image *img);
/* Of a draft: gives the range places, as a write would, but moves no data: the writes may then follow side by side in any order. */
int gh_image_allocate(struct gh_image *img, uint64_t off, uint64_t len);
int gh_image_write_allocated(struct gh_image *img, uint64_t off, const void *buf, uint64_t len);

/* ---- Cursor over a vector: what is left to move ------------------------------------------------------ */
struct gh_vec { const struct iovec *iov; unsigned count; size_t skip; };
int  gh_vec_read(struct gh_vec *v, struct gh_file *f, uint64_t off, uint64_t len);
int  gh_vec_write(struct gh_vec *v, struct gh_file *f, uint64_t off, uint64_t len);
void gh_vec_zero(struct gh_vec *v, uint64_t len);
void gh_vec_put(struct gh_vec *v, const void *data, uint64_t len);      /* into the vector */
void gh_vec_get(struct gh_vec *v, void *data, uint64_t len);            /* out of it */

/* ---- Small helpers of the drivers -------------------------------------------------------------------- */
int  gh_image_bad(struct gh_image *img, struct gh_error *err, const char *fmt, ...) GH_PRINTF(3, 4); /* DiskDamaged */
int  gh_image_unsupported(struct gh_image *img, struct gh_error *err, const char *fmt, ...) GH_PRINTF(3, 4);
void gh_check_note(struct gh_check_report *r, const char *fmt, ...) GH_PRINTF(2, 3);
void gh_uuid_random(uint8_t uuid[16]);
bool gh_uuid_is_null(const uint8_t uuid[16]);
/* le: the first three fields are little-endian (VDI, VHDX); else as written (VHD). */
void gh_uuid_text(char ret[37], const uint8_t uuid[16], bool le);
bool gh_uuid_parse(uint8_t ret[16], const char *text, bool le);
/* parent.c. A path of Windows, with either kind of slash, means the file beside the image: its id tells whether it is the right one. */
void gh_parent_from_windows(char *name);
/* Compares what the child remembers of its parent; DiskParentChanged names both. Empty: not compared. */
int  gh_image_check_parent(struct gh_image *img, struct gh_error *err);
/* How parent is now; known is false where nothing reliable can be said. record: to be remembered, so the time is made durable first. */
void gh_parent_look(struct gh_image *parent, struct gh_parent_seen *ret);
void gh_parent_record(struct gh_image *parent, struct gh_parent_seen *ret);
uint64_t gh_parent_name_hash(const char *name);
bool gh_is_zero(const void *data, size_t len);                          /* ops.c */
/* Is this part known to read as zeros without reading it? *n: how far the answer goes. */
int  gh_image_known_zero(struct gh_image *img, uint64_t off, uint64_t len, bool *zero, uint64_t *n);
/* strerror, but for damage, which the C library has no words for. */
const char *gh_image_reason(int r);
/* missing.c. How many bytes of the disk the image's files are too short to hold. mend: they grow, and what is missing is zeros for
 * good. img->lock held, for writing with mend. */
int  gh_image_missing(struct gh_image *img, bool mend, uint64_t *ret_bytes);
/* At the end of open, by drivers whose tables are in memory and whose files do not know of a crash. */
int  gh_image_mend_end(struct gh_image *img);
uint64_t gh_round_up(uint64_t v, uint64_t unit);
static inline uint64_t gh_min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline bool gh_is_pow2(uint64_t v) { return v && !(v & (v - 1)); }
static inline unsigned gh_log2(uint64_t v) { return 63u - (unsigned)__builtin_clzll(v); }
