/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a qcow2 child remembers of its parent lies in a header extension of our own, which other programs keep and
 * do not read. Big-endian:
 *
 *     0 version (1) | 4 flags (1: nothing is known) | 8 virtual size | 16 seconds | 24 nanoseconds | 28 CRC-32 of all,
 *     with zeros here | 32 hash of the parent's ids | 40 hash of its name as the header has it
 *
 * The last makes it void when another program gave the child another parent. A damaged one counts as none.
 */
#include <errno.h>
#include <zlib.h>

#include "disk/qcow2.h"

enum { UNKNOWN = 1, CRC_AT = 28, END_BYTES = 8, HEAD_BYTES = 8 };

static uint32_t crc_of(const uint8_t p[QCOW2_SEEN_BYTES])
{
    static const uint8_t zeros[4];
    uLong c = crc32(crc32(0, NULL, 0), p, CRC_AT);
    c = crc32(c, zeros, sizeof zeros);
    return (uint32_t)crc32(c, p + CRC_AT + 4, QCOW2_SEEN_BYTES - CRC_AT - 4);
}

void qcow2_seen_encode(uint8_t p[QCOW2_SEEN_BYTES], const struct gh_parent_seen *seen, const char *name)
{
    memset(p, 0, QCOW2_SEEN_BYTES);
    gh_be32_put(p, 1);
    gh_be32_put(p + 4, seen && seen->known ? 0 : UNKNOWN);
    if (seen && seen->known) {
        gh_be64_put(p + 8, seen->bytes);
        gh_be64_put(p + 16, (uint64_t)seen->sec);
        gh_be32_put(p + 24, seen->nsec);
        gh_be64_put(p + 32, seen->ids);
    }
    gh_be64_put(p + 40, gh_parent_name_hash(name));
    gh_be32_put(p + CRC_AT, crc_of(p));
}

void qcow2_seen_decode(struct gh_image *img, const uint8_t p[QCOW2_SEEN_BYTES])
{
    if (gh_be32_get(p) != 1 || gh_be32_get(p + CRC_AT) != crc_of(p) || gh_be32_get(p + 4) & UNKNOWN ||
        gh_be64_get(p + 40) != gh_parent_name_hash(img->info.parent_name))
        return;
    img->seen = (struct gh_parent_seen){ .known = true, .bytes = gh_be64_get(p + 8), .sec = (int64_t)gh_be64_get(p + 16),
                                         .nsec = gh_be32_get(p + 24), .ids = gh_be64_get(p + 32) };
}

static int step(struct qcow2 *q, uint64_t at, const void *data, size_t n)
{
    int r = gh_file_write(q->file, at, data, n);
    return r < 0 ? r : gh_file_flush(q->file);
}

/* An image of another program gets the extension: where its list of extensions ends, the parent's name gives way first.
 * The header is whole after each step. -ENOSPC: the header's cluster has no room. */
static int insert(struct gh_image *img, const uint8_t p[QCOW2_SEEN_BYTES])
{
    struct qcow2 *q = img->state;
    uint64_t need = q->end_at + HEAD_BYTES + QCOW2_SEEN_BYTES + END_BYTES, name_len = strlen(img->info.parent_name);
    uint8_t area[HEAD_BYTES + QCOW2_SEEN_BYTES + END_BYTES] = { 0 }, head[8];
    if (q->name_at < need) {
        uint64_t to = gh_round_up(q->name_at + name_len > need ? q->name_at + name_len : need, 8);
        if (q->name_at < q->end_at + END_BYTES || !gh_range_in(to, name_len, q->cluster))
            return -ENOSPC;
        gh_be64_put(head, to);
        int r = step(q, to, img->info.parent_name, name_len);
        if (!r)
            r = step(q, 8, head, 8);
        if (r < 0)
            return r;
        q->name_at = to;
    }
    memcpy(area + HEAD_BYTES, p, QCOW2_SEEN_BYTES);
    int r = step(q, q->end_at + HEAD_BYTES, area + HEAD_BYTES, sizeof area - HEAD_BYTES);
    gh_be32_put(head, QCOW2_EXT_SEEN);
    gh_be32_put(head + 4, QCOW2_SEEN_BYTES);
    if (!r)
        r = step(q, q->end_at, head, sizeof head);
    if (!r) {
        q->seen_at = q->end_at + HEAD_BYTES;
        q->end_at = need - END_BYTES;
    }
    return r;
}

int qcow2_remember_parent(struct gh_image *img, const struct gh_parent_seen *seen, const struct gh_image_info *parent)
{
    struct qcow2 *q = img->state;
    uint8_t p[QCOW2_SEEN_BYTES];
    qcow2_seen_encode(p, seen, img->info.parent_name);
    if (!q->seen_at && (!seen || !seen->known))
        return 0;
    int r = q->seen_at ? gh_file_write(q->file, q->seen_at, p, sizeof p) : q->end_at ? insert(img, p) : -ENOSPC;
    if (!r)
        qcow2_seen_decode(img, p);
    if (!r && (!seen || !seen->known))
        img->seen.known = false;
    return r == -ENOSPC && !q->seen_at ? 0 : r; /* it stays unwatched, as its maker left it */
}
