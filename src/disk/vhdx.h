/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Microsoft's VHDX 1 (MS-VHDX): two headers, two region tables, a log, metadata, the block table.
 *
 *     0 identifier | 64K, 128K headers | 192K, 256K region tables | 1M log | metadata | table | blocks
 *     table entry: bits 0..2 state, 20..63 file offset; after every `ratio` entries one for a bitmap
 *
 * A log left by a crash of another program is replayed: into the file when it is writable, else into
 * memory only. Our own changes are single aligned 8-byte entries, which need no log.
 * Left out on purpose: writing into blocks that are only partly there (Hyper-V's differencing images; ours are whole).
 */
#pragma once
#include "disk/drivers.h"

enum { VHDX_KIB64 = 65536, VHDX_MIB = 1 << 20, VHDX_PAGE = 4096 };
#define VHDX_BAT_MAX_BYTES (512ull << 20)

struct vhdx_page { uint64_t at; uint8_t data[VHDX_PAGE]; };
struct vhdx {
    uint64_t bat_at, bat_entries, meta_at, meta_bytes;
    uint64_t block, ratio, blocks, end;       /* end: where the next block goes */
    uint32_t sector;
    bool     fixed, parent;
    uint64_t *bat;                            /* host order */
    uint64_t linkage_at;                      /* the parent's id as text, in the locator; 0: none */
    uint64_t size_at;                         /* where the metadata keep the virtual size */
    uint8_t  header[VHDX_PAGE];               /* the current one */
    unsigned current;                         /* 0 or 1 */
    struct vhdx_page *page;                   /* what the log says, when it could not be written back */
    size_t   pages, page_room;
    uint32_t *page_index;                     /* by hash: number in page, from 1; 0: none */
};

uint32_t vhdx_crc32c(const uint8_t *p, size_t len, size_t zero_at);  /* the 4 bytes at zero_at count as 0 */
int  vhdx_log_replay(struct gh_image *img, struct gh_error *err);
int  vhdx_write_header(struct gh_image *img);                        /* into the other place, then flush */
int  vhdx_read(struct gh_image *img, uint64_t at, void *buf, size_t len); /* file with the log's pages over it */
int  vhdx_create(struct gh_file *file, const struct gh_image_create *how, struct gh_error *err);
extern const uint8_t vhdx_guid_bat[16], vhdx_guid_metadata[16], vhdx_guid_parameters[16], vhdx_guid_size[16],
    vhdx_guid_page83[16], vhdx_guid_logical[16], vhdx_guid_physical[16], vhdx_guid_locator[16];
