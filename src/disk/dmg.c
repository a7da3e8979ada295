/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Apple's UDIF disk image, read only: a trailer, a property list with base64 tables, packed chunks.
 * Known chunks: zeros, raw, zlib. Refused with their name: ADC, bzip2, LZFSE, LZMA.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "disk/drivers.h"

enum { TRAILER = 512, TABLE_HEADER = 204, CHUNK = 40 };
enum { LIST_MAX = 64 << 20, CHUNKS_MAX = 4 << 20, CHUNK_MAX = 64 << 20 };
enum { ZERO = 0, RAW = 1, IGNORE = 2 };
#define ADC 0x80000004u
#define ZLIB 0x80000005u
#define COMMENT 0x7ffffffeu
#define END 0xffffffffu

struct chunk { uint64_t off, bytes, at, len; uint32_t type; };
struct dmg {
    struct chunk *chunk;
    size_t count;
    pthread_mutex_t lock;
    uint8_t *data;                            /* the chunk unpacked last */
    size_t current;
};

static int dmg_probe(const uint8_t *head, size_t len, const uint8_t *tail, uint64_t file_bytes)
{ return file_bytes >= TRAILER && !memcmp(tail, "koly", 4) ? 80 : 0; }

static size_t base64(const char *in, size_t len, uint8_t *out)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;
    for (size_t i = 0; i < len && in[i] != '='; i++) {
        char c = in[i];
        int v = c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52
              : c == '+' ? 62 : c == '/' ? 63 : -1;
        if (v < 0)
            continue;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
    return n;
}

static int add_table(struct gh_image *img, const uint8_t *t, size_t len, uint64_t data_at, struct gh_error *err)
{
    struct dmg *d = img->state;
    if (len < TABLE_HEADER || memcmp(t, "mish", 4))
        return 0;
    uint64_t first = gh_be64_get(t + 8), base = gh_be64_get(t + 24), count = gh_be32_get(t + 200);
    if (count > (len - TABLE_HEADER) / CHUNK || count > CHUNKS_MAX - d->count || first > GH_IMAGE_MAX_BYTES / 512)
        return gh_image_bad(img, err, "a table claims %llu chunks", (unsigned long long)count);
    struct chunk *more = realloc(d->chunk, (d->count + count + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    d->chunk = more;
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *e = t + TABLE_HEADER + i * CHUNK;
        struct chunk c = { .type = gh_be32_get(e), .at = gh_be64_get(e + 24), .len = gh_be64_get(e + 32) };
        uint64_t sector = gh_be64_get(e + 8), sectors = gh_be64_get(e + 16), at;
        if (c.type == COMMENT || c.type == END)
            continue;
        if (c.type != ZERO && c.type != RAW && c.type != IGNORE && c.type != ZLIB)
            return gh_image_unsupported(img, err, "it is packed with %s; convert it on a Mac first", c.type == ADC ? "ADC"
                : c.type == 0x80000006 ? "bzip2" : c.type == 0x80000007 ? "LZFSE" : c.type == 0x80000008 ? "LZMA" : "an unknown method");
        if (!gh_add_u64(c.at, base, &at) || !gh_add_u64(at, data_at, &c.at) || sector > GH_IMAGE_MAX_BYTES / 512 ||
            sectors > GH_IMAGE_MAX_BYTES / 512 || (c.type == ZLIB && (sectors * 512 > CHUNK_MAX || c.len > CHUNK_MAX)) ||
            (c.type == RAW && c.len < sectors * 512) || ((c.type == RAW || c.type == ZLIB) && !gh_range_in(c.at, c.len, gh_file_bytes(img->file))))
            return gh_image_bad(img, err, "a chunk lies outside the file or is too large");
        c.off = (first + sector) * 512;
        c.bytes = sectors * 512;
        if (c.bytes)
            d->chunk[d->count++] = c;
    }
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct chunk *x = a, *y = b;
    return x->off < y->off ? -1 : x->off > y->off;
}

static int dmg_open(struct gh_image *img, struct gh_error *err)
{
    struct dmg *d = calloc(1, sizeof *d);
    uint64_t size = gh_file_bytes(img->file);
    uint8_t t[TRAILER];
    if (!d)
        return -ENOMEM;
    img->state = d;
    d->current = SIZE_MAX;
    pthread_mutex_init(&d->lock, NULL);
    int r = size < TRAILER ? -EUCLEAN : gh_file_read(img->file, size - TRAILER, t, sizeof t);
    if (r == -EUCLEAN || (!r && memcmp(t, "koly", 4)))
        return gh_image_bad(img, err, "its trailer is missing");
    if (r < 0)
        return r;
    uint64_t data_at = gh_be64_get(t + 0x18), at = gh_be64_get(t + 0xd8), len = gh_be64_get(t + 0xe0);
    if (!len || len > LIST_MAX || !gh_range_in(at, len, size))
        return gh_image_unsupported(img, err, "it has no property list");
    char *list = gh_file_memory(len + 1, LIST_MAX + 1);
    uint8_t *table = gh_file_memory(len, LIST_MAX);
    r = list && table ? gh_file_read(img->file, at, list, len) : -ENOMEM;
    /* Only the data elements that hold block tables matter. */
    for (char *p = list; !r && p && (p = strstr(p, "<data>")); ) {
        p += 6;
        char *end = strstr(p, "</data>");
        if (!end)
            break;
        r = add_table(img, table, base64(p, (size_t)(end - p), table), data_at, err);
        p = end;
    }
    free(list);
    free(table);
    if (r < 0)
        return r;
    if (d->count)
        qsort(d->chunk, d->count, sizeof *d->chunk, by_offset);
    for (size_t i = 0; i < d->count; i++) {
        uint64_t end = d->chunk[i].off + d->chunk[i].bytes;
        if (i + 1 < d->count && end > d->chunk[i + 1].off)
            return gh_image_bad(img, err, "two chunks hold the same sectors");
        if (end > img->bytes)
            img->bytes = end;
    }
    if (!img->bytes)
        return gh_image_bad(img, err, "it holds no sectors");
    img->info.compressed_clusters = true;
    return 0;
}

static void dmg_close(struct gh_image *img)
{
    struct dmg *d = img->state;
    if (!d)
        return;
    free(d->chunk);
    free(d->data);
    pthread_mutex_destroy(&d->lock);
    free(d);
    img->state = NULL;
}

/* The last chunk that begins at or before off; SIZE_MAX: none. */
static size_t find(const struct dmg *d, uint64_t off)
{
    size_t low = 0, high = d->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (d->chunk[mid].off <= off)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? low - 1 : SIZE_MAX;
}

static int dmg_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret)
{
    struct dmg *d = img->state;
    size_t i = find(d, off), next = i == SIZE_MAX ? 0 : i + 1;
    *ret = (struct gh_extent){ GH_EXTENT_ZERO, len, img->file, 0, false };
    if (i == SIZE_MAX || off - d->chunk[i].off >= d->chunk[i].bytes) {
        if (next < d->count)
            ret->bytes = gh_min_u64(len, d->chunk[next].off - off);
        return 0;
    }
    const struct chunk *c = &d->chunk[i];
    ret->kind = c->type == RAW ? GH_EXTENT_DATA : c->type == ZLIB ? GH_EXTENT_PACKED : GH_EXTENT_ZERO;
    ret->file_offset = c->at + (off - c->off);
    ret->bytes = gh_min_u64(len, c->off + c->bytes - off);
    return 0;
}

static int dmg_read_packed(struct gh_image *img, uint64_t off, void *buf, size_t len)
{
    struct dmg *d = img->state;
    size_t i = find(d, off);
    const struct chunk *c = &d->chunk[i];
    int r = 0;
    pthread_mutex_lock(&d->lock);
    if (d->current != i) {
        uint8_t *in = malloc(c->len ? c->len : 1), *out = realloc(d->data, c->bytes);
        d->current = SIZE_MAX;
        d->data = out ? out : d->data;
        r = in && out ? gh_file_read(img->file, c->at, in, c->len) : -ENOMEM;
        uLongf got = (uLongf)c->bytes;
        if (!r && (uncompress(out, &got, in, (uLong)c->len) != Z_OK || got != c->bytes))
            r = -EUCLEAN;
        if (!r)
            d->current = i;
        free(in);
    }
    if (!r)
        memcpy(buf, d->data + (off - c->off), len);
    pthread_mutex_unlock(&d->lock);
    return r;
}

const struct gh_image_driver gh_image_dmg = {
    .format = { "dmg", "Apple disk image (UDIF)", NULL, false, false, false, "dmg" },
    .probe = dmg_probe, .open = dmg_open, .close = dmg_close, .map = dmg_map, .read_packed = dmg_read_packed,
};
