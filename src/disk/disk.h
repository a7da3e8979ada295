/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Disk images: a chain of files opened from descriptors, read and written as one virtual disk.
 *
 * Promises: A. a write that returned survives the death of this process, flushed or not; B. what was
 * written before a gh_image_flush that returned 0 survives power loss, and no parent is ever changed.
 * Nothing here opens a path, probes a format or follows a reference: the caller resolved the chain
 * (resolve.h does it for programs that may open files).
 *
 * Threads: gh_image_read, write, zero, discard, flush and map from any thread at once; everything
 * else by one thread while no request runs. Calls block on host I/O: machines use block.h.
 * Units: bytes; any alignment. Errors: negative errno; gh_error where a sentence is possible.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"

struct gh_image;
struct gh_image_driver;

#define GH_IMAGE_MAX_BYTES (64ull << 40)      /* 64 TiB: more is refused */
#define GH_IMAGE_MAX_CHAIN 64                 /* files behind each other */

struct gh_image_part {                         /* an extent, data or split file, by the name the image uses */
    const char *name;
    int fd;
};
struct gh_image_spec {
    const char *format;                        /* as recorded: raw, qcow2, vdi, ... */
    const char *label;                         /* how messages call it: the path the user knows */
    int  fd;                                   /* taken over in every case, as those of parts and parents */
    bool writable;
    bool unlocked;                             /* the caller holds or does not want the lock */
    bool shared_writers;                       /* several machines write it at once (raw, fixed size) */
    bool draft;                                /* not published yet: nothing of it is made durable (draft.h) */
    bool repair;                               /* opened for check: damage that check can mend is accepted */
    bool after_crash;                          /* whoever wrote it may have been stopped by a power loss: what the file is too short to
                                                * hold was never promised, and the file grows to hold zeros there */
    bool accept_parent;                        /* a parent that was changed under its child is no error */
    uint64_t window_at, window_bytes;          /* window_at not 0: only this range of fd, an archive's member */
    const struct gh_image_part *parts;
    unsigned part_count;
    const struct gh_image_spec *parent;        /* NULL: the image must not need one */
    struct gh_image *opened_parent;            /* instead of parent: an image opened read-only; taken over */
};
struct gh_image *gh_image_open(const struct gh_image_spec *spec, struct gh_error *err);
/* Makes an empty qcow2 in fd (an unnamed temporary file) on top of base: an immutable disk, whose changes go
 * with the file. Takes both over in every case. */
struct gh_image *gh_image_overlay(int fd, const char *label, struct gh_image *base, struct gh_error *err);
/* Writes clean marks and what belongs at the end, flushes, unlocks, closes. The error is the first of these. */
int gh_image_close(struct gh_image *img);

struct gh_image_info {
    const char *format;
    char     variant[24];                      /* "dynamic", "fixed", "v3", ... */
    uint64_t bytes;                            /* virtual size */
    uint64_t file_bytes, used_bytes;           /* of this file alone, on the host */
    uint64_t cluster_bytes;                    /* 0: none */
    bool     writable, dirty, corrupt, has_parent, encrypted, compressed_clusters;
    uint32_t snapshots;                        /* internal ones */
    uint32_t cylinders, heads, sectors;        /* geometry the image states, or 0 */
    char     parent_name[1024];                /* the reference as written; never followed here */
    char     parent_format[16];
    char     uuid[37], parent_uuid[37];        /* text form, or empty */
    char     change_id[37], parent_change_id[37]; /* grows new with each first write; the child remembers it */
    char     data_file[1024];                  /* external data file reference, or empty */
};
void gh_image_info(struct gh_image *img, struct gh_image_info *ret);
/* How much the top file may still grow and how much its file system has left; -EOPNOTSUPP on a device. Any thread. */
int gh_image_space(struct gh_image *img, uint64_t *ret_growth, uint64_t *ret_free);
uint64_t gh_image_bytes(const struct gh_image *img);
const char *gh_image_label(const struct gh_image *img);
struct gh_image *gh_image_parent(struct gh_image *img);
bool gh_image_writable(const struct gh_image *img);

int gh_image_readv(struct gh_image *img, uint64_t off, const struct iovec *iov, unsigned n, uint64_t len);
int gh_image_writev(struct gh_image *img, uint64_t off, const struct iovec *iov, unsigned n, uint64_t len);
int gh_image_read(struct gh_image *img, uint64_t off, void *buf, size_t len);
int gh_image_write(struct gh_image *img, uint64_t off, const void *buf, size_t len);
int gh_image_zero(struct gh_image *img, uint64_t off, uint64_t len);
/* A hint; afterwards the range reads as before or as zeros, never as a parent's content. */
int gh_image_discard(struct gh_image *img, uint64_t off, uint64_t len);
int gh_image_flush(struct gh_image *img);

/* img (writable) is a child: its file remembers parent as it is now, so that a later change of parent is refused
 * (DiskParentChanged). NULL: nothing is known of it, since it is about to change by our own doing. Formats without a
 * place for that do nothing. The time of the file's last change stays. */
int gh_image_remember_parent(struct gh_image *img, struct gh_image *parent, struct gh_error *err);

/* img, open for reading, ends earlier from now on. Before anybody else uses it. */
void gh_image_cut(struct gh_image *img, uint64_t bytes);

enum gh_map_kind { GH_MAP_HOLE, GH_MAP_ZERO, GH_MAP_DATA, GH_MAP_PACKED };
struct gh_map {
    enum gh_map_kind kind;                     /* HOLE: no file of the chain has it, reads as zeros */
    uint64_t bytes;                            /* how far it goes */
    unsigned depth;                            /* which file of the chain decides, 0: the top */
    uint64_t file_offset;                      /* DATA */
};
int gh_image_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_map *ret);

/* Grows, or shrinks when allow_shrink and the format can; the lost end is gone. */
int gh_image_resize(struct gh_image *img, uint64_t bytes, bool allow_shrink, struct gh_error *err);

/* Is the end of a file of the chain missing, other than by a crash that its file knows of? What lay there reads as zeros. Walks
 * through all tables. missing.c */
bool gh_image_is_cut(struct gh_image *img);

struct gh_check_report {
    uint64_t checked, leaks, errors, leaks_fixed, errors_fixed; /* clusters, blocks or grains */
    uint64_t allocated;
    char     first[200];                       /* the first problem in words */
};
/* Looks at the metadata of the top file. repair: mends what can be mended without losing data.
 * 0 even with errors found; negative when the check itself failed. */
int gh_image_check(struct gh_image *img, bool repair, struct gh_check_report *ret, struct gh_error *err);

/* ---- Creation ------------------------------------------------------------------------------------ */
struct gh_image_create {
    const char *format;
    const char *variant;                       /* NULL: the format's first */
    uint64_t bytes;
    uint64_t cluster_bytes;                    /* 0: default */
    const char *parent_name, *parent_format;   /* child of: name as it shall be written, or NULL */
    struct gh_image *parent;                   /* for identity (UUID, CID, time); may be NULL */
    struct gh_image *like;                     /* takes the place of this one: gets its UUID and change id; may be NULL */
    int  (*new_part)(void *opaque, const char *suffix); /* split formats: a new empty file's descriptor */
    void *opaque;
    const char *own_name;                      /* base name of the main file, for descriptors inside */
    unsigned version;                          /* 0: default */
    const char *compression;                   /* "zlib", "zstd" or NULL */
    bool extended_l2;
    bool preallocate;                          /* metadata and space */
    uint64_t window_at;                        /* not 0: the image begins there in fd, and is the end of it */
    bool draft;                                /* as in gh_image_spec */
};
/* Makes an image in the empty file fd (taken over) and closes it, flushed. */
int gh_image_create(int fd, const char *label, const struct gh_image_create *how, struct gh_error *err);

/* Which format the head of a file has; NULL: none known (raw). For programs that import; a machine
 * never asks. */
const char *gh_image_probe(const uint8_t *head, size_t len, const uint8_t *tail512, uint64_t file_bytes);

struct gh_image_format {
    const char *name, *summary;
    const char *const *variants;               /* what create knows, NULL-terminated; NULL: cannot create */
    bool can_write, can_parent, can_resize;
    const char *suffix;
};
const struct gh_image_format *gh_image_formats(void);   /* ends with name NULL */
