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
#define PAGE_PLACES (2 * PAGES_MAX)              /* 2^17: find_page takes the topmost 17 bits */
#define WORK_MAX (16ull * PAGES_MAX)           /* pages that a log may write, again and again */

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

/* What begins at a page of the ring, once it was looked at. */
struct place { uint64_t seq; uint32_t bytes, tail; bool known; };
struct log {
    const uint8_t *ring;
    uint64_t bytes;
    const uint8_t *guid;
    uint8_t *entry;
    struct place *place;
    uint64_t budget;                           /* bytes that may still be summed: entries of a made-up log can overlap */
};

/* Copies the entry at this place in one piece; its length, or 0: none is whole here. */
static uint64_t take_entry(struct log *l, uint64_t at)
{
    const uint8_t *h = l->ring + at;
    uint64_t bytes = gh_le32_get(h + 8), count = gh_le32_get(h + 24);
    if (gh_le32_get(h) != 0x65676f6c || bytes < VHDX_PAGE || bytes % VHDX_PAGE || bytes > l->bytes || bytes > l->budget ||
        gh_le32_get(h + 12) % VHDX_PAGE || gh_le32_get(h + 12) >= l->bytes || !gh_le64_get(h + 16) ||
        count > (bytes - 64) / 32 || memcmp(h + 32, l->guid, 16))
        return 0;
    l->budget -= bytes;
    uint64_t first = gh_min_u64(bytes, l->bytes - at);
    memcpy(l->entry, h, first);
    memcpy(l->entry + first, l->ring, bytes - first);
    return vhdx_crc32c(l->entry, bytes, 4) == gh_le32_get(l->entry + 4) ? bytes : 0;
}

static const struct place *look_at(struct log *l, uint64_t at)
{
    struct place *p = &l->place[at / VHDX_PAGE];
    if (!p->known) {
        p->bytes = (uint32_t)take_entry(l, at);
        p->seq = gh_le64_get(l->ring + at + 16);
        p->tail = gh_le32_get(l->ring + at + 12);
        p->known = true;
    }
    return p;
}

/* The page of the file at at: where its number is in the table of pages, or the free place for it. */
static uint32_t *find_page(const struct vhdx *v, uint64_t at)
{
    uint64_t i = (at / VHDX_PAGE * 0x9e3779b97f4a7c15ull) >> 47;
    while (v->page_index[i] && v->page[v->page_index[i] - 1].at != at)
        i = (i + 1) % PAGE_PLACES;
    return &v->page_index[i];
}

static int add_page(struct vhdx *v, uint64_t at, const uint8_t *data)
{
    if (!v->page_index && !(v->page_index = calloc(PAGE_PLACES, sizeof *v->page_index)))
        return -ENOMEM;
    uint32_t *number = find_page(v, at);
    if (!*number) {
        if (v->pages == v->page_room) {
            size_t room = v->page_room ? v->page_room * 2 : 64;
            struct vhdx_page *more = v->pages < PAGES_MAX ? realloc(v->page, room * sizeof *more) : NULL;
            if (!more)
                return -ENOMEM;
            v->page = more;
            v->page_room = room;
        }
        v->page[v->pages].at = at;
        *number = (uint32_t)++v->pages;
    }
    memcpy(v->page[*number - 1].data, data, VHDX_PAGE);
    return 0;
}

static int apply_entry(struct gh_image *img, const uint8_t *e, uint64_t bytes, uint64_t *work)
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
            if (len % VHDX_PAGE || len / VHDX_PAGE > PAGES_MAX || len / VHDX_PAGE > *work)
                return -EUCLEAN;
            *work -= len / VHDX_PAGE;
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
static unsigned find_sequence(struct log *l, uint64_t *ret_start)
{
    unsigned best_count = 0;
    uint64_t best_seq = 0;
    for (uint64_t start = 0; start < l->bytes; start += VHDX_PAGE) {
        const struct place *p = look_at(l, start), *last = NULL;
        uint64_t at = start, used = 0;
        unsigned count = 0;
        if (!p->bytes)
            continue;
        for (; used < l->bytes && p->bytes && (!last || p->seq == last->seq + 1); p = look_at(l, at), count++) {
            last = p;
            at = (at + p->bytes) % l->bytes;
            used += p->bytes;
        }
        /* The sequence must begin at the tail that its last entry states. */
        if (last->seq <= best_seq || last->tail != start)
            continue;
        best_seq = last->seq;
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
    struct log l = { ring, bytes, v->header + 48, entry, calloc(bytes / VHDX_PAGE, sizeof *l.place), 8 * bytes };
    uint64_t work = WORK_MAX;
    int r = ring && entry && l.place ? gh_file_read(img->file, offset, ring, bytes) : -ENOMEM;
    unsigned count = r ? 0 : find_sequence(&l, &start);
    l.budget = bytes;
    for (uint64_t at = start; count && !r; count--) {
        uint64_t n = take_entry(&l, at);
        r = n ? apply_entry(img, entry, n, &work) : -EUCLEAN;
        at = (at + n) % bytes;
    }
    free(ring);
    free(entry);
    free(l.place);
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
    for (uint64_t page = at - at % VHDX_PAGE; !r && v->pages && page < at + len; page += VHDX_PAGE) {
        uint32_t number = *find_page(v, page);
        uint64_t from = page > at ? page : at, to = gh_min_u64(page + VHDX_PAGE, at + len);
        if (number)
            memcpy((uint8_t *)buf + (from - at), v->page[number - 1].data + (from - page), to - from);
    }
    return r;
}
