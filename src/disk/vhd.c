/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Microsoft's VHD 1.0: fixed, dynamic and differencing. All numbers are big-endian.
 *
 *     footer copy | dynamic header | table: be32 sector per block | blocks | footer
 *     block: bitmap, one bit a sector, padded to 512 | data
 *
 * A new block takes the footer's place: the next footer is written behind it first, and the copy at
 * the start stays valid throughout. The bitmap counts in differencing images only: other writers leave
 * it behind, and in dynamic ones both answers are the same.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "disk/drivers.h"

enum { TYPE_FIXED = 2, TYPE_DYNAMIC = 3, TYPE_DIFF = 4 };
enum { FOOTER = 512, DYNAMIC_HEADER = 1024, BLOCK = 2 << 20 };
#define UNUSED 0xffffffffu
#define EPOCH_2000 946684800
#define OUR_CHILD "ghst"                       /* creator: the parent's time stamp is that of its file */
#define TABLE_MAX_BYTES (128ull << 20)
#define MAX_BYTES (2040ull << 30)             /* sector numbers have 32 bits */

struct vhd {
    uint32_t type, blocks;
    uint64_t table_at, block, bitmap, end;    /* end: where the next block goes */
    uint32_t *table;                          /* host order, sectors */
    uint8_t *whole;                           /* blocks whose bitmap is known to be all ones */
    uint8_t footer[FOOTER], header[DYNAMIC_HEADER];
};

static int vhd_probe(const uint8_t *head, size_t len, const uint8_t *tail, uint64_t file_bytes)
{
    if (len >= 8 && !memcmp(head, "conectix", 8))
        return 100;
    return file_bytes > FOOTER && !memcmp(tail, "conectix", 8) ? 90 : 0;
}

static uint32_t checksum(const uint8_t *p, size_t len, size_t at)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        if (i < at || i >= at + 4)
            sum += p[i];
    return ~sum;
}

static bool footer_good(const uint8_t *f)
{ return !memcmp(f, "conectix", 8) && gh_be32_get(f + 0x40) == checksum(f, FOOTER, 0x40); }

/* Cylinders, heads, sectors as the specification's appendix derives them. */
static void geometry(uint64_t bytes, uint8_t *g)
{
    uint64_t total = bytes / 512, spt, heads, cth;
    if (total > 65535ull * 16 * 255)
        total = 65535ull * 16 * 255;
    if (total > 65535ull * 16 * 63) {
        spt = 255;
        heads = 16;
        cth = total / spt;
    } else {
        spt = 17;
        cth = total / spt;
        heads = (cth + 1023) / 1024;
        if (heads < 4)
            heads = 4;
        if (cth >= heads * 1024 || heads > 16) {
            spt = 31;
            heads = 16;
            cth = total / spt;
        }
        if (cth >= heads * 1024) {
            spt = 63;
            heads = 16;
            cth = total / spt;
        }
    }
    gh_be16_put(g, (uint16_t)(cth / heads));
    g[2] = (uint8_t)heads;
    g[3] = (uint8_t)spt;
}

/* UTF-16BE to UTF-8, as far as it fits. */
static void utf16_name(char *out, size_t room, const uint8_t *in, size_t units)
{
    size_t n = 0;
    for (size_t i = 0; i < units && n + 5 < room; i++) {
        uint32_t c = gh_be16_get(in + i * 2);
        if (!c)
            break;
        if (c >= 0xd800 && c < 0xdc00 && i + 1 < units)
            c = 0x10000 + ((c & 0x3ff) << 10) + (gh_be16_get(in + ++i * 2) & 0x3ff);
        if (c < 0x80) {
            out[n++] = (char)c;
        } else if (c < 0x800) {
            out[n++] = (char)(0xc0 | c >> 6);
            out[n++] = (char)(0x80 | (c & 63));
        } else if (c < 0x10000) {
            out[n++] = (char)(0xe0 | c >> 12);
            out[n++] = (char)(0x80 | (c >> 6 & 63));
            out[n++] = (char)(0x80 | (c & 63));
        } else {
            out[n++] = (char)(0xf0 | c >> 18);
            out[n++] = (char)(0x80 | (c >> 12 & 63));
            out[n++] = (char)(0x80 | (c >> 6 & 63));
            out[n++] = (char)(0x80 | (c & 63));
        }
    }
    out[n] = 0;
    for (char *p = out; *p; p++)
        if (*p == '\\')
            *p = '/';
}

static int open_dynamic(struct gh_image *img, struct gh_error *err)
{
    struct vhd *v = img->state;
    uint64_t at = gh_be64_get(v->footer + 0x10);
    int r = gh_file_read(img->file, at, v->header, DYNAMIC_HEADER);
    if (r < 0)
        return r;
    if (memcmp(v->header, "cxsparse", 8) || gh_be32_get(v->header + 0x24) != checksum(v->header, DYNAMIC_HEADER, 0x24))
        return gh_image_bad(img, err, "its dynamic header is wrong");
    v->table_at = gh_be64_get(v->header + 0x10);
    v->blocks = gh_be32_get(v->header + 0x1c);
    v->block = gh_be32_get(v->header + 0x20);
    if (!gh_is_pow2(v->block) || v->block < 4096 || v->block > 256u << 20)
        return gh_image_bad(img, err, "its blocks have %llu bytes", (unsigned long long)v->block);
    if (!img->bytes || (img->bytes - 1) / v->block >= v->blocks)
        return gh_image_bad(img, err, "%u blocks do not make %llu bytes", v->blocks, (unsigned long long)img->bytes);
    v->bitmap = gh_round_up(v->block / 512 / 8, 512);
    v->table = gh_file_memory((uint64_t)v->blocks * 4, TABLE_MAX_BYTES);
    v->whole = gh_file_memory(v->blocks, TABLE_MAX_BYTES);
    if (!v->table || !v->whole)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for the table of “%s”.", img->label);
    r = gh_file_read(img->file, v->table_at, v->table, (size_t)v->blocks * 4);
    v->end = gh_round_up(v->table_at + (uint64_t)v->blocks * 4, 512);
    if (v->end < at + DYNAMIC_HEADER)
        v->end = at + DYNAMIC_HEADER;
    /* A crash can leave entries beyond the end, but not further than all blocks together are long. */
    uint64_t limit = gh_file_bytes(img->file) + v->blocks * (v->block + v->bitmap);
    for (uint32_t i = 0; i < v->blocks && !r; i++) {
        v->table[i] = be32toh(v->table[i]);
        uint64_t place = (uint64_t)v->table[i] * 512;
        if (v->table[i] == UNUSED)
            continue;
        if (place >= limit && !img->repair)
            return gh_image_bad(img, err, "block %u claims sector %u outside the file", i, v->table[i]);
        if (place < limit && place + v->bitmap + v->block > v->end)
            v->end = place + v->bitmap + v->block;
    }
    img->cluster_bytes = v->block;
    if (v->type == TYPE_DIFF) {
        img->needs_parent = true;
        gh_uuid_text(img->info.parent_uuid, v->header + 0x28, false);
        utf16_name(img->info.parent_name, sizeof img->info.parent_name, v->header + 0x40, 256);
        gh_parent_from_windows(img->info.parent_name);
        snprintf(img->info.parent_format, sizeof img->info.parent_format, "vhd");
        /* Others do not agree on whose time this is. */
        uint32_t stamp = gh_be32_get(v->header + 0x38);
        if (stamp && !memcmp(v->footer + 0x1c, OUR_CHILD, 4))
            img->seen = (struct gh_parent_seen){ .known = true, .seconds_only = true, .sec = (int64_t)stamp + EPOCH_2000 };
    }
    return r;
}

static int write_bitmap(struct gh_image *img, uint64_t place);

/* A crash while the image grew: the footer's copy counts, and blocks that the table has already but the file
 * does not get their place, with whole bitmaps and zeros. */
static int finish_growth(struct gh_image *img, uint64_t size)
{
    struct vhd *v = img->state;
    int r = gh_file_write(img->file, v->end, v->footer, FOOTER);
    if (!r)
        r = gh_file_truncate(img->file, v->end + FOOTER);
    for (uint32_t i = 0; i < v->blocks && !r && v->type == TYPE_DYNAMIC; i++)
        if (v->table[i] != UNUSED && (uint64_t)v->table[i] * 512 + FOOTER >= size)
            r = write_bitmap(img, (uint64_t)v->table[i] * 512);
    return r;
}

static int vhd_open(struct gh_image *img, struct gh_error *err)
{
    struct vhd *v = calloc(1, sizeof *v);
    uint64_t size = gh_file_bytes(img->file);
    if (!v)
        return -ENOMEM;
    img->state = v;
    int r = gh_file_read(img->file, size >= FOOTER ? size - FOOTER : 0, v->footer, FOOTER);
    bool lost = !r && !footer_good(v->footer);
    if (lost)
        r = gh_file_read(img->file, 0, v->footer, FOOTER);
    if (r < 0)
        return r;
    if (!footer_good(v->footer))
        return gh_image_bad(img, err, "neither its footer nor the copy of it is whole");
    v->type = gh_be32_get(v->footer + 0x3c);
    img->bytes = gh_be64_get(v->footer + 0x30);
    img->bytes -= img->bytes % 512;
    gh_uuid_text(img->info.uuid, v->footer + 0x44, false);
    img->info.cylinders = gh_be16_get(v->footer + 0x38);
    img->info.heads = v->footer[0x3a];
    img->info.sectors = v->footer[0x3b];
    /* Programs that think in geometry state a size that its product does not reach; such a disk ends where
     * its own guest saw the end. */
    static const char *const by_geometry[] = { "vpc ", "vs  ", "qemu" };
    uint64_t chs = (uint64_t)img->info.cylinders * img->info.heads * img->info.sectors * 512;
    for (unsigned i = 0; i < GH_ARRAY_LEN(by_geometry); i++)
        if (!memcmp(v->footer + 0x1c, by_geometry[i], 4) && chs && img->bytes < 65535ull * 16 * 255 * 512 && chs < img->bytes)
            img->bytes = chs;
    if (v->type == TYPE_FIXED) {
        snprintf(img->info.variant, sizeof img->info.variant, "fixed");
        if (img->bytes > size - FOOTER)
            return gh_image_bad(img, err, "it is shorter than its size says");
        return 0;
    }
    if (v->type != TYPE_DYNAMIC && v->type != TYPE_DIFF)
        return gh_image_unsupported(img, err, "it is a VHD image of type %u", v->type);
    snprintf(img->info.variant, sizeof img->info.variant, v->type == TYPE_DIFF ? "differencing" : "dynamic");
    r = open_dynamic(img, err);
    if (!r && img->writable && (lost || v->end + FOOTER > size))
        r = finish_growth(img, size);
    return r < 0 ? r : gh_image_check_parent(img, err);
}

static void vhd_close(struct gh_image *img)
{
    struct vhd *v = img->state;
    if (v)
        free(v->table);
    if (v)
        free(v->whole);
    free(v);
    img->state = NULL;
}

/* A run of sectors of one block that are all here, or all the parent's. */
static int map_sectors(struct gh_image *img, uint64_t place, uint64_t within, uint64_t len, struct gh_extent *ret)
{
    struct vhd *v = img->state;
    uint8_t bits[512];
    uint64_t first = within / 512, n = 0, base = first / 8 / 512 * 512;
    int r = gh_file_read(img->file, place + base, bits, sizeof bits);
    if (r < 0)
        return r;
    uint64_t limit = gh_min_u64((base + 512) * 8, v->block / 512);
    bool here = bits[first / 8 - base] >> (7 - first % 8) & 1;
    while (first + n < limit && n * 512 < len + 512 && (bits[(first + n) / 8 - base] >> (7 - (first + n) % 8) & 1) == here)
        n++;
    ret->kind = here ? GH_EXTENT_DATA : GH_EXTENT_NONE;
    ret->file_offset = place + v->bitmap + within;
    ret->bytes = gh_min_u64(n * 512 - within % 512, len);
    return 0;
}

/* We read a dynamic disk's block whatever its bitmap says, other programs do not: before the first write into a
 * block all its bits have to be set. Not so after a power loss, and in images of programs that set them singly. */
static int bitmap_whole(struct gh_image *img, uint64_t i, uint64_t place)
{
    struct vhd *v = img->state;
    uint8_t bits[512];
    if (__atomic_load_n(&v->whole[i], __ATOMIC_RELAXED))
        return 1;
    for (uint64_t at = 0; at < v->bitmap; at += sizeof bits) {
        int r = gh_file_read(img->file, place + at, bits, sizeof bits);
        if (r < 0)
            return r;
        if (bits[0] != 0xff || memcmp(bits, bits + 1, sizeof bits - 1))
            return 0;
    }
    __atomic_store_n(&v->whole[i], 1, __ATOMIC_RELAXED);
    return 1;
}

static int vhd_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret)
{
    struct vhd *v = img->state;
    *ret = (struct gh_extent){ GH_EXTENT_DATA, len, img->file, off, true };
    if (v->type == TYPE_FIXED)
        return 0;
    uint64_t i = off / v->block, within = off % v->block;
    ret->bytes = gh_min_u64(len, v->block - within);
    if (v->table[i] == UNUSED) {
        ret->kind = GH_EXTENT_NONE;
        while (ret->bytes < len && ++i < v->blocks && v->table[i] == UNUSED)
            ret->bytes = gh_min_u64(len, ret->bytes + v->block);
        return 0;
    }
    uint64_t place = (uint64_t)v->table[i] * 512;
    if (v->type == TYPE_DIFF)
        return map_sectors(img, place, within, ret->bytes, ret);
    ret->file_offset = place + v->bitmap + within;
    if (!img->writable)
        return 0;
    int whole = bitmap_whole(img, i, place);
    ret->in_place = whole > 0;
    return whole < 0 ? whole : 0;
}

static int write_bitmap(struct gh_image *img, uint64_t place)
{
    struct vhd *v = img->state;
    uint8_t ones[512];
    int r = 0;
    memset(ones, 0xff, sizeof ones);
    for (uint64_t at = 0; at < v->bitmap && !r; at += sizeof ones)
        r = gh_file_write(img->file, place + at, ones, sizeof ones);
    return r;
}

static int vhd_reserve(struct gh_image *img, uint64_t off, struct gh_file **file, uint64_t *file_off, bool *fresh)
{
    struct vhd *v = img->state;
    uint32_t entry = v->table[off / v->block];
    *file = img->file;
    *fresh = false;
    if (entry != UNUSED) {                    /* a block with the parent's sectors in between is filled up */
        *file_off = (uint64_t)entry * 512 + v->bitmap;
        return 0;
    }
    uint64_t place = v->end, next = place + v->bitmap + v->block;
    if (next / 512 >= UNUSED)
        return -EFBIG;
    *fresh = place + FOOTER >= gh_file_bytes(img->file);
    int r = gh_file_write(img->file, next, v->footer, FOOTER);
    if (!r)
        r = write_bitmap(img, place);
    if (r < 0)
        return r;
    v->end = next;
    *file_off = place + v->bitmap;
    return 0;
}

static void vhd_unreserve(struct gh_image *img, uint64_t off, uint64_t file_off)
{
    struct vhd *v = img->state;
    if (v->table[off / v->block] == UNUSED && file_off + v->block == v->end) {
        v->end = file_off - v->bitmap;
        gh_file_write(img->file, v->end, v->footer, FOOTER);
        gh_file_truncate(img->file, v->end + FOOTER);
    }
}

static int vhd_link(struct gh_image *img, uint64_t off, uint64_t file_off)
{
    struct vhd *v = img->state;
    uint64_t i = off / v->block, place = file_off - v->bitmap;
    uint8_t e[4];
    if (v->table[i] != UNUSED)
        return write_bitmap(img, place);
    gh_be32_put(e, (uint32_t)(place / 512));
    int r = gh_file_write(img->file, v->table_at + i * 4, e, 4);
    if (!r)
        v->table[i] = (uint32_t)(place / 512);
    return r;
}

static int vhd_zero(struct gh_image *img, uint64_t off, uint64_t len, bool discard)
{
    struct vhd *v = img->state;
    int r = 0;
    if (v->type == TYPE_FIXED) {
        r = discard ? gh_file_punch(img->file, off, len) : gh_file_zero(img->file, off, len);
        return r == -EOPNOTSUPP ? 0 : r;
    }
    if (v->type == TYPE_DIFF)
        return -ENOTSUP;                      /* the format has no mark for zeros that hide a parent */
    for (uint64_t i = off / v->block; i * v->block < off + len && !r; i++) {
        uint64_t data = (uint64_t)v->table[i] * 512 + v->bitmap;
        if (v->table[i] == UNUSED)
            continue;
        r = discard ? gh_file_punch(img->file, data, v->block) : gh_file_zero(img->file, data, v->block);
        if (r == -EOPNOTSUPP)
            r = 0;
    }
    return r;
}

static void seal(uint8_t *footer) { gh_be32_put(footer + 0x40, checksum(footer, FOOTER, 0x40)); }

static int vhd_resize(struct gh_image *img, uint64_t bytes, struct gh_error *err)
{
    struct vhd *v = img->state;
    if (bytes > MAX_BYTES)
        return gh_error_set(err, -EFBIG, "DiskSizeInvalid", "A VHD disk has at most 2040 GiB. Convert it to VHDX or qcow2.");
    if (v->type != TYPE_FIXED && (bytes + v->block - 1) / v->block > v->blocks)
        return gh_error_set(err, -ENOTSUP, "DiskCannotResize", "The table of “%s” has no room for that size. Convert it with the new size instead.",
                            img->label);
    int r = 0;
    if (bytes < img->bytes && v->type != TYPE_FIXED) {
        uint64_t from = gh_round_up(bytes, v->block);
        r = from < img->bytes ? vhd_zero(img, from, img->bytes - from, true) : 0;
    }
    gh_be64_put(v->footer + 0x30, bytes);
    geometry(bytes, v->footer + 0x38);
    seal(v->footer);
    if (v->type == TYPE_FIXED) {
        if (!r)
            r = gh_file_write(img->file, bytes, v->footer, FOOTER);
        if (!r && bytes > img->bytes)
            r = gh_file_zero(img->file, img->bytes, gh_min_u64(FOOTER, bytes - img->bytes));
        return r < 0 ? r : gh_file_truncate(img->file, bytes + FOOTER);
    }
    if (!r)
        r = gh_file_write(img->file, v->end, v->footer, FOOTER);
    if (!r)
        r = gh_file_flush(img->file);
    return r < 0 ? r : gh_file_write(img->file, 0, v->footer, FOOTER);
}

static int vhd_check(struct gh_image *img, bool repair, struct gh_check_report *rep, struct gh_error *err)
{
    struct vhd *v = img->state;
    uint8_t last[FOOTER];
    uint64_t size = gh_file_bytes(img->file);
    int r = gh_file_read(img->file, size >= FOOTER ? size - FOOTER : 0, last, FOOTER);
    if (!r && !footer_good(last)) {
        rep->errors++;
        gh_check_note(rep, "the footer is damaged; its copy is whole");
        if (repair && v->type != TYPE_FIXED) {
            r = gh_file_write(img->file, v->end, v->footer, FOOTER);
            if (!r)
                r = gh_file_truncate(img->file, v->end + FOOTER);
            rep->errors_fixed += !r;
        }
    }
    for (uint32_t i = 0; i < v->blocks && !r; i++) {
        rep->checked++;
        if (v->table[i] == UNUSED)
            continue;
        rep->allocated++;
        uint64_t place = (uint64_t)v->table[i] * 512;
        if (place < v->table_at || place >= size) {
            rep->errors++;
            gh_check_note(rep, "block %u claims sector %u", i, v->table[i]);
        }
    }
    return r;
}

static uint32_t stamp_of(const struct gh_parent_seen *seen)
{
    int64_t t = seen ? seen->sec - EPOCH_2000 : 0;
    return seen && seen->known && t > 0 && t <= UINT32_MAX ? (uint32_t)t : 0;
}

/* Time stamp and checksum share a sector. */
static int vhd_remember_parent(struct gh_image *img, const struct gh_parent_seen *seen, const struct gh_image_info *parent)
{
    struct vhd *v = img->state;
    if (memcmp(v->footer + 0x1c, OUR_CHILD, 4))
        return 0;
    gh_be32_put(v->header + 0x38, stamp_of(seen));
    gh_be32_put(v->header + 0x24, checksum(v->header, DYNAMIC_HEADER, 0x24));
    img->seen.known = false;
    return gh_file_write(img->file, gh_be64_get(v->footer + 0x10), v->header, 512);
}

/* Who a differencing disk builds on: its id, its name as others show it, and a relative path that they follow. */
static int name_parent(const struct gh_image_create *how, uint8_t header[DYNAMIC_HEADER], uint8_t locator[512])
{
    struct gh_image_info parent;
    const char *name = how->parent_name;
    size_t n = strlen(name);

    if (!how->parent)
        return -EINVAL;
    gh_image_info(how->parent, &parent);
    if (strcmp(parent.format, "vhd") || !gh_uuid_parse(header + 0x28, parent.uuid, false))
        return -EINVAL;
    struct gh_parent_seen seen;
    gh_parent_record(how->parent, &seen);
    gh_be32_put(header + 0x38, stamp_of(&seen));
    if (n > 250)
        return -ENAMETOOLONG;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)name[i] >= 0x80)
            return -EILSEQ;
        gh_be16_put(header + 0x40 + i * 2, (uint8_t)name[i]);
        gh_le16_put(locator + i * 2, name[i] == '/' ? '\\' : (uint8_t)name[i]);
    }
    gh_be32_put(header + 0x240, 0x57327275);   /* "W2ru": UTF-16, relative */
    gh_be32_put(header + 0x244, 512);
    gh_be32_put(header + 0x248, (uint32_t)n * 2);
    gh_be64_put(header + 0x250, FOOTER + DYNAMIC_HEADER);
    return 0;
}

static int vhd_create(struct gh_file *file, const struct gh_image_create *how, struct gh_error *err)
{
    uint8_t locator[512] = { 0 };
    uint8_t f[FOOTER] = "conectix", h[DYNAMIC_HEADER] = "cxsparse", fill[512];
    bool fixed = how->variant && !strcmp(how->variant, "fixed");
    uint64_t blocks = (how->bytes + BLOCK - 1) / BLOCK, table = FOOTER + DYNAMIC_HEADER + (how->parent_name ? sizeof locator : 0);
    if (fixed && how->parent_name)
        return gh_error_set(err, -ENOTSUP, "DiskNoParents", "A fixed VHD disk cannot build on another one. Use the variant dynamic.");
    if (how->bytes > MAX_BYTES)
        return gh_error_set(err, -EFBIG, "DiskSizeInvalid", "A VHD disk has at most 2040 GiB. Use VHDX or qcow2.");
    gh_be32_put(f + 8, 2);
    gh_be32_put(f + 12, 0x00010000);
    gh_be64_put(f + 16, fixed ? UINT64_MAX : FOOTER);
    gh_be32_put(f + 24, (uint32_t)(time(NULL) - EPOCH_2000));
    memcpy(f + 28, how->parent_name ? OUR_CHILD : "win ", 4); /* readers take the size, not the geometry, from the latter */
    gh_be32_put(f + 32, 0x00060001);
    memcpy(f + 36, "Wi2k", 4);
    gh_be64_put(f + 40, how->bytes);
    gh_be64_put(f + 48, how->bytes);
    geometry(how->bytes, f + 56);
    gh_be32_put(f + 60, fixed ? TYPE_FIXED : how->parent_name ? TYPE_DIFF : TYPE_DYNAMIC);
    struct gh_image_info same = { 0 };
    if (how->like)
        gh_image_info(how->like, &same);
    if (strcmp(how->like ? same.format : "", "vhd") || !gh_uuid_parse(f + 68, same.uuid, false))
        gh_uuid_random(f + 68);
    seal(f);
    if (fixed) {
        int r = how->preallocate ? gh_file_allocate(file, 0, how->bytes) : -EOPNOTSUPP;
        return r < 0 && r != -EOPNOTSUPP ? r : gh_file_write(file, how->bytes, f, FOOTER);
    }
    gh_be64_put(h + 8, UINT64_MAX);
    gh_be64_put(h + 16, table);
    gh_be32_put(h + 24, 0x00010000);
    gh_be32_put(h + 28, (uint32_t)blocks);
    gh_be32_put(h + 32, BLOCK);
    int named = 0;
    if (how->parent_name) {
        named = name_parent(how, h, locator);
        if (!named)
            named = gh_file_write(file, FOOTER + DYNAMIC_HEADER, locator, sizeof locator);
    }
    if (named < 0)
        return gh_error_set(err, named, "DiskNoParents", "A VHD disk builds on a VHD disk with a short plain name; “%s” is none.", how->parent_name);
    gh_be32_put(h + 36, checksum(h, sizeof h, 36));
    memset(fill, 0xff, sizeof fill);
    int r = 0;
    uint64_t end = table;
    for (; end < gh_round_up(table + blocks * 4, 512) && !r; end += sizeof fill)
        r = gh_file_write(file, end, fill, sizeof fill);
    if (!r)
        r = gh_file_write(file, end, f, FOOTER);
    if (!r)
        r = gh_file_write(file, FOOTER, h, sizeof h);
    if (!r)
        r = gh_file_flush(file);
    return r < 0 ? r : gh_file_write(file, 0, f, FOOTER);
}

static const char *const variants[] = { "dynamic", "fixed", NULL };
const struct gh_image_driver gh_image_vhd = {
    .format = { "vhd", "Virtual PC and Hyper-V disk", variants, true, true, true, "vhd" },
    .probe = vhd_probe, .open = vhd_open, .close = vhd_close, .map = vhd_map, .reserve = vhd_reserve, .link = vhd_link,
    .unreserve = vhd_unreserve, .zero = vhd_zero, .remember_parent = vhd_remember_parent, .resize = vhd_resize, .check = vhd_check, .create = vhd_create,
};
