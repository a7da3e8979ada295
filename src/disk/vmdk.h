/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * VMware's VMDK 5.0: a text descriptor, alone or inside the first extent, and extents:
 *
 *     FLAT, VMFS   raw data from an offset of a file        ZERO   nothing
 *     SPARSE       header | descriptor | redundant directory and tables | directory and tables | grains
 *                  directory -> table of 512 le32 entries -> grain (sector number; 0 not here, 1 zeros)
 *     stream       grains are compressed and come with markers; directory and a second header at the end
 *
 * Everything counts in sectors of 512 bytes. Left out on purpose: COWD and SESPARSE extents.
 */
#pragma once
#include "disk/drivers.h"

enum { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO };
enum { VMDK_HEADER = 512, VMDK_GTES = 512, VMDK_DESCRIPTOR_MAX = 1 << 20, VMDK_MAX_EXTENTS = 1024 };
#define VMDK_MAGIC 0x564d444bu                /* "KDMV" */
#define VMDK_NO_PARENT 0xffffffffu
enum { VMDK_FLAG_REDUNDANT = 2, VMDK_FLAG_ZEROED = 4, VMDK_FLAG_COMPRESSED = 1 << 16, VMDK_FLAG_MARKERS = 1 << 17 };

struct vmdk_extent {
    unsigned kind;
    struct gh_file *file;                     /* borrowed from the image */
    uint64_t start, sectors;                  /* place in the virtual disk */
    uint64_t flat_at;                         /* FLAT: sector in the file */
    uint64_t grain, tables, directory_at, redundant_at; /* SPARSE, in sectors; tables: how many */
    bool     zeroed, compressed, markers;
    uint32_t *directory, *redundant;          /* host order */
    uint8_t  **table;                         /* loaded tables, as on disk */
    uint64_t end;                             /* bytes: where the next grain goes */
};

struct vmdk {
    struct vmdk_extent *extent;
    unsigned extents;
    uint32_t cid, parent_cid;
    uint64_t cid_at, parent_cid_at;           /* byte of the CID's digits in the main file */
    unsigned cid_digits, parent_cid_digits;   /* how many there are: QEMU writes none that are leading zeros */
    pthread_mutex_t lock;                     /* loading of tables; the unpacked grain */
    uint8_t *packed_grain;                    /* the grain unpacked last */
    uint64_t packed_at;
    uint8_t *stream_grain;                    /* stream being written: the grain gathered */
    uint64_t stream_next;                     /* first sector not written yet */
    bool     stream;
};

/* vmdk_text.c: the descriptor. */
struct vmdk_line { unsigned kind; uint64_t sectors, offset; char name[256]; bool sparse, known; };
struct vmdk_text {
    uint32_t cid, parent_cid;
    uint64_t cid_at, parent_cid_at;           /* byte in the text; 0: no digits there */
    unsigned cid_digits, parent_cid_digits;
    char create_type[64], parent_name[1024];
    struct vmdk_line *line;
    unsigned lines;
};
int  vmdk_text_parse(const char *text, size_t len, struct vmdk_text *ret);   /* -EUCLEAN, -ENOMEM, -E2BIG */
void vmdk_text_free(struct vmdk_text *t);
/* Reads the descriptor of a file, wherever it is; caller frees. *ret_at: its byte offset. */
int  vmdk_text_load(struct gh_file *file, char **ret, size_t *ret_len, uint64_t *ret_at);

/* vmdk_create.c */
int  vmdk_create(struct gh_file *file, const struct gh_image_create *how, struct gh_error *err);
extern const char *const vmdk_variants[];

/* vmdk_stream.c: streamOptimized, written from front to back. */
int  vmdk_stream_write(struct gh_image *img, uint64_t off, struct gh_vec *vec, uint64_t len);
int  vmdk_stream_finish(struct gh_image *img);
int  vmdk_unpack(struct gh_image *img, struct vmdk_extent *e, uint64_t grain_at, uint8_t *out);
