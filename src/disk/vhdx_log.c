/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The log: a ring of entries, each a header, descriptors and 4 KiB data pages. The valid sequence is the
 * chain of whole entries with rising numbers that ends with the highest one and contains its tail.
 */
#include <errno.h>
#include <stdlib.h>

#include "disk/vhdx.h"

#define LOG_MAX_BYTES (64ull << 20)
#define PAGES_MAX 65536

static uint32_t crc_table[256];
static void fill_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = i;
        for (unsigned k = 0; k < 8; k++)
            v = v & 1 ? v >> 1 ^ 0x82f63b78u : v >> 1;
        crc_table[i] = v;
    }
}

uint32_t vhdx_crc32c(const uint8_t *p, size_t len, size_t zero_at)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint32_t c = ~0u;
    pthread_once(&once, fill_table);
    for (size_t i = 0; i < len; i++) {
        uint8_t b = i >= zero_at && i < zero_at + 4 ? 0 : p[i];
        c = crc_table[(c ^ b) & 0xff] ^ c >> 8;
    }
    return ~c;
}

struct log { const uint8_t *ring; uint64_t bytes; const uint8_t *guid; uint8_t *entry; };

/* Copies the entry at this place in one piece; its length, or 0: none is whole here. */
static uint64_t take_entry(const struct log *l, uint64_t at)
{
    const uint8_t *h = l->ring + at;
    uint64_t bytes = gh_le32_get(h + 8), count = gh_le32_get(h + 24);
    if (gh_le32_get(h) != 0x65676f6c || bytes < VHDX_PAGE || bytes % VHDX_PAGE || bytes > l->bytes ||
        gh_le32_get(h + 12) % VHDX_PAGE || gh_le32_get(h + 12) >= l->bytes || !gh_le64_get(h + 16) ||
        count > (bytes - 64) / 32 || memcmp(h + 32, l->guid, 16))
        return 0;
    uint64_t first = gh_min_u64(bytes, l->bytes - at);
    memcpy(l->entry, h, first);
    memcpy(l->entry + first, l->ring, bytes - first);
    return vhdx_crc32c(l->entry, bytes, 4) == gh_le32_get(l->entry + 4) ? bytes : 0;
}

static int add_page(struct vhdx *v, uint64_t at, const uint8_t *data)
{
    for (size_t i = 0; i < v->pages; i++)
        if (v->page[i].at == at) {
            memcpy(v->page[i].data, data, VHDX_PAGE);
            return 0;
        }
    struct vhdx_page *more = v->pages < PAGES_MAX ? realloc(v->page, (v->pages + 1) * sizeof *more) : NULL;
    if (!more)
        return -ENOMEM;
    v->page = more;
    v->page[v->pages].at = at;
    memcpy(v->page[v->pages++].data, data, VHDX_PAGE);
    return 0;
}

static int apply_entry(struct gh_image *img, const uint8_t *e, uint64_t bytes)
{
    struct vhdx *v = img->state;
    uint64_t count = gh_le32_get(e + 24), seq = gh_le64_get(e + 16);
    uint64_t data = gh_round_up(64 + count * 32, VHDX_PAGE);
    uint8_t page[VHDX_PAGE];
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *d = e + 64 + i * 32;
        uint64_t at = gh_le64_get(d + 16);
        if (gh_le64_get(d + 24) != seq || at % VHDX_PAGE || at > GH_IMAGE_MAX_BYTES)
            return -EUCLEAN;
        if (gh_le32_get(d) == 0x6f72657a) {
            uint64_t len = gh_le64_get(d + 8);
            memset(page, 0, sizeof page);
            if (len % VHDX_PAGE || len / VHDX_PAGE > PAGES_MAX)
                return -EUCLEAN;
            for (uint64_t k = 0; k < len; k += VHDX_PAGE) {
                int r = add_page(v, at + k, page);
                if (r < 0)
                    return r;
            }
        } else if (gh_le32_get(d) == 0x63736564) {
            if (data + VHDX_PAGE > bytes)
                return -EUCLEAN;
            const uint8_t *s = e + data;
            if (gh_le32_get(s) != 0x61746164 || ((uint64_t)gh_le32_get(s + 4) << 32 | gh_le32_get(s + 4092)) != seq)
                return -EUCLEAN;
            memcpy(page, d + 8, 8);           /* the first 8 and last 4 bytes wait in the descriptor */
            memcpy(page + 8, s + 8, 4084);
            memcpy(page + 4092, d + 4, 4);
            int r = add_page(v, at, page);
            if (r < 0)
                return r;
            data += VHDX_PAGE;
        } else {
            return -EUCLEAN;
        }
    }
    return 0;
}

/* The start of the newest complete sequence and its number of entries. */
static unsigned find_sequence(const struct log *l, uint64_t *ret_start)
{
    unsigned best_count = 0;
    uint64_t best_seq = 0;
    for (uint64_t start = 0; start < l->bytes; start += VHDX_PAGE) {
        uint64_t at = start, seq = 0, bytes, used = 0, tail = 0;
        unsigned count = 0;
        while (used < l->bytes && (bytes = take_entry(l, at))) {
            uint64_t s = gh_le64_get(l->entry + 16);
            if (count && s != seq + 1)
                break;
            seq = s;
            tail = gh_le32_get(l->entry + 12);
            at = (at + bytes) % l->bytes;
            used += bytes;
            count++;
        }
        if (!count || seq <= best_seq)
            continue;
        /* The sequence must begin at the tail that its last entry states. */
        if (tail != start)
            continue;
        best_seq = seq;
        best_count = count;
        *ret_start = start;
    }
    return best_count;
}

int vhdx_log_replay(struct gh_image *img, struct gh_error *err)
{
    struct vhdx *v = img->state;
    uint64_t bytes = gh_le32_get(v->header + 68), offset = gh_le64_get(v->header + 72), start = 0;
    if (gh_uuid_is_null(v->header + 48))
        return 0;
    if (!bytes || bytes % VHDX_MIB || bytes > LOG_MAX_BYTES || offset % VHDX_MIB || offset < VHDX_MIB)
        return gh_image_bad(img, err, "its log has %llu bytes", (unsigned long long)bytes);
    uint8_t *ring = gh_file_memory(bytes, LOG_MAX_BYTES), *entry = gh_file_memory(bytes, LOG_MAX_BYTES);
    int r = ring && entry ? gh_file_read(img->file, offset, ring, bytes) : -ENOMEM;
    struct log l = { ring, bytes, v->header + 48, entry };
    unsigned count = r ? 0 : find_sequence(&l, &start);
    for (uint64_t at = start; count && !r; count--) {
        uint64_t n = take_entry(&l, at);
        r = n ? apply_entry(img, entry, n) : -EUCLEAN;
        at = (at + n) % bytes;
    }
    free(ring);
    free(entry);
    if (r == -EUCLEAN)
        return gh_image_bad(img, err, "its log is damaged");
    if (r < 0 || !img->writable)
        return r;
    for (size_t i = 0; i < v->pages && !r; i++)
        r = gh_file_write(img->file, v->page[i].at, v->page[i].data, VHDX_PAGE);
    if (!r)
        r = gh_file_flush(img->file);
    memset(v->header + 48, 0, 16);
    if (!r)
        r = vhdx_write_header(img);
    if (!r)
        r = vhdx_write_header(img);
    if (!r)
        v->pages = 0;
    return r;
}

int vhdx_read(struct gh_image *img, uint64_t at, void *buf, size_t len)
{
    struct vhdx *v = img->state;
    int r = gh_file_read(img->file, at, buf, len);
    for (size_t i = 0; i < v->pages && !r; i++) {
        uint64_t from = v->page[i].at > at ? v->page[i].at : at;
        uint64_t to = gh_min_u64(v->page[i].at + VHDX_PAGE, at + len);
        if (from < to)
            memcpy((uint8_t *)buf + (from - at), v->page[i].data + (from - v->page[i].at), to - from);
    }
    return r;
}
