/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Compressed clusters: raw deflate with a 4 KiB window, or one zstd frame. Output never exceeds a
 * cluster; the last few stay unpacked, as readers ask for 4 KiB at a time. */
#include <errno.h>
#include <stdlib.h>
#if GH_LIBDEFLATE
#include <libdeflate.h>
#endif
#include <zlib.h>
#include <zstd.h>

#include "disk/qcow2.h"

/* What one thread unpacks with. Making these costs as much as unpacking a cluster, so an image keeps those that are idle. */
struct qcow2_unpacker {
    struct qcow2_unpacker *next;
    ZSTD_DCtx *zstd;
#if GH_LIBDEFLATE
    struct libdeflate_decompressor *deflate;
#endif
    uint8_t *in;
    size_t room;
};

static void unpacker_free(struct qcow2_unpacker *u)
{
    ZSTD_freeDCtx(u->zstd);
#if GH_LIBDEFLATE
    libdeflate_free_decompressor(u->deflate);
#endif
    free(u->in);
    free(u);
}

void qcow2_packed_close(struct qcow2 *q)
{
    for (struct qcow2_unpacker *u = q->unpackers, *next; u; u = next) {
        next = u->next;
        unpacker_free(u);
    }
    q->unpackers = NULL;
}

static struct qcow2_unpacker *unpacker_get(struct qcow2 *q, size_t bytes)
{
    pthread_mutex_lock(&q->pack_lock);
    struct qcow2_unpacker *u = q->unpackers;
    if (u)
        q->unpackers = u->next;
    pthread_mutex_unlock(&q->pack_lock);
    if (!u && !(u = calloc(1, sizeof *u)))
        return NULL;
    if (u->room < bytes) {
        free(u->in);
        u->in = malloc(bytes);
        u->room = u->in ? bytes : 0;
    }
    if (u->in && q->zstd && !u->zstd)
        u->zstd = ZSTD_createDCtx();
#if GH_LIBDEFLATE
    if (u->in && !q->zstd && !u->deflate)
        u->deflate = libdeflate_alloc_decompressor();
#endif
    if (u->in && (!q->zstd || u->zstd))
        return u;
    unpacker_free(u);
    return NULL;
}

static void unpacker_put(struct qcow2 *q, struct qcow2_unpacker *u)
{
    pthread_mutex_lock(&q->pack_lock);
    u->next = q->unpackers;
    q->unpackers = u;
    pthread_mutex_unlock(&q->pack_lock);
}

/* in_len ends with a sector, the stream somewhere before. */
static int unpack(const struct qcow2 *q, struct qcow2_unpacker *u, size_t in_len, uint8_t *out)
{
    if (q->zstd) {
        ZSTD_inBuffer ib = { u->in, in_len, 0 };
        ZSTD_outBuffer ob = { out, q->cluster, 0 };
        ZSTD_DCtx_reset(u->zstd, ZSTD_reset_session_only);
        while (ob.pos < ob.size) {
            size_t was_in = ib.pos, was_out = ob.pos, got = ZSTD_decompressStream(u->zstd, &ob, &ib);
            if (ZSTD_isError(got) || (ib.pos == was_in && ob.pos == was_out))
                return -EUCLEAN;
        }
        return 0;
    }
#if GH_LIBDEFLATE
    size_t used, got;
    if (u->deflate && libdeflate_deflate_decompress_ex(u->deflate, u->in, in_len, out, q->cluster, &used, &got) == LIBDEFLATE_SUCCESS &&
        got == q->cluster)
        return 0;                              /* what it refuses, zlib has the last word on */
#endif
    z_stream z = { .next_in = u->in, .avail_in = (uInt)in_len, .next_out = out, .avail_out = (uInt)q->cluster };
    if (inflateInit2(&z, -12) != Z_OK)
        return -ENOMEM;
    int r = inflate(&z, Z_FINISH);
    bool full = z.avail_out == 0;
    inflateEnd(&z);
    return full && (r == Z_STREAM_END || r == Z_BUF_ERROR || r == Z_OK) ? 0 : -EUCLEAN;
}

int qcow2_read_packed(struct gh_image *img, uint64_t off, void *buf, size_t len)
{
    struct qcow2 *q = img->state;
    struct qcow2_l2 *t;
    uint64_t host, bytes, within = off % q->cluster;
    pthread_mutex_lock(&q->cache_lock);
    int r = qcow2_l2_load(q, (uint32_t)(off / q->l2_span), &t);
    uint64_t entry = !r && t ? gh_be64_get(t->data + off / q->cluster % q->l2_entries * q->entry_bytes) : 0;
    pthread_mutex_unlock(&q->cache_lock);
    if (r < 0 || !(entry & QCOW2_PACKED))
        return r < 0 ? r : -EUCLEAN;

    pthread_mutex_lock(&q->pack_lock);
    for (unsigned i = 0; i < QCOW2_PACK_CACHE; i++)
        if (q->pack[i].data && q->pack[i].entry == entry) {
            memcpy(buf, q->pack[i].data + within, len);
            q->pack[i].used = ++q->tick;
            pthread_mutex_unlock(&q->pack_lock);
            return 0;
        }
    pthread_mutex_unlock(&q->pack_lock);

    qcow2_packed_range(q, entry, &host, &bytes);
    bool whole = len == q->cluster;            /* nobody comes back for the rest of it */
    struct qcow2_unpacker *u = unpacker_get(q, bytes);
    uint8_t *out = whole ? buf : malloc(q->cluster);
    r = u && out ? gh_file_read(q->file, host, u->in, bytes) : -ENOMEM;
    if (!r)
        r = unpack(q, u, bytes, out);
    if (u)
        unpacker_put(q, u);
    if (whole)
        return r;
    if (r < 0) {
        free(out);
        return r;
    }
    memcpy(buf, out + within, len);
    pthread_mutex_lock(&q->pack_lock);
    unsigned oldest = 0;
    for (unsigned i = 1; i < QCOW2_PACK_CACHE; i++)
        if (q->pack[i].used < q->pack[oldest].used)
            oldest = i;
    free(q->pack[oldest].data);
    q->pack[oldest].data = out;
    q->pack[oldest].entry = entry;
    q->pack[oldest].used = ++q->tick;
    pthread_mutex_unlock(&q->pack_lock);
    return 0;
}

size_t qcow2_pack(struct gh_image *img, const uint8_t *cluster, uint8_t *out, size_t room)
{
    struct qcow2 *q = img->state;

    if (q->extended)
        return 0;
    if (room >= q->cluster)
        room = q->cluster - 1;                 /* what does not become smaller is stored as it is */
    if (q->zstd) {
        size_t n = ZSTD_compress(out, room, cluster, q->cluster, 3);
        return ZSTD_isError(n) ? 0 : n;
    }
    z_stream z = { .next_in = (uint8_t *)cluster, .avail_in = (uInt)q->cluster, .next_out = out, .avail_out = (uInt)room };
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    int r = deflate(&z, Z_FINISH);
    size_t n = room - z.avail_out;
    deflateEnd(&z);
    return r == Z_STREAM_END ? n : 0;
}

/* Room for n bytes: behind the last compressed cluster if they fit there, also across into the next host cluster. The count
 * of a host cluster is the number of compressed clusters that touch it. */
static int room_for(struct qcow2 *q, size_t n, uint64_t *ret_host)
{
    uint64_t next, count, end = q->packed_at + q->packed_left;
    bool fresh;
    int r = 0;

    if (q->packed_left >= n) {
        r = qcow2_refcount_get(q, q->packed_at / q->cluster, &count);
        if (!r)
            r = qcow2_refcount_set(q, q->packed_at / q->cluster, count + 1);
        if (r == -ERANGE)
            q->packed_left = 0;                /* counted full: start another one below */
        else if (r < 0)
            return r;
    }
    if (q->packed_left < n) {
        r = qcow2_alloc(q, 1, &next, &fresh);
        if (r < 0)
            return r;
        if (q->packed_left && next == end) {
            r = qcow2_refcount_get(q, q->packed_at / q->cluster, &count);
            if (!r)
                r = qcow2_refcount_set(q, q->packed_at / q->cluster, count + 1);
            if (r < 0)
                return r;
            q->packed_left += q->cluster;
        } else {
            q->packed_at = next;
            q->packed_left = q->cluster;
        }
    }
    *ret_host = q->packed_at;
    q->packed_at += n;
    q->packed_left -= n;
    return 0;
}

int qcow2_write_packed(struct gh_image *img, uint64_t off, const uint8_t *packed, size_t n)
{
    static const uint8_t zeros[512];
    struct qcow2 *q = img->state;
    uint64_t host;
    int r = room_for(q, n, &host);

    if (!r)
        r = gh_file_write(q->file, host, packed, n);
    /* Readers take whole sectors. */
    if (!r && (host + n) % 512 && gh_file_bytes(q->file) == host + n)
        r = gh_file_write(q->file, host + n, zeros, 512 - (host + n) % 512);
    return r ? r : qcow2_link_packed(img, off, host, n);
}
