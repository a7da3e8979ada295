/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * streamOptimized: compressed grains, each behind a marker with its sector; then the tables, the
 * directory and the header again. Written once, with increasing offsets; unfinished until close.
 *
 *     marker of a grain:    le64 sector | le32 bytes | data, padded to 512
 *     marker of a structure: le64 sectors that follow | le32 0 | le32 type, padded to 512
 */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "disk/vmdk.h"

enum { MARKER_END = 0, MARKER_TABLE = 1, MARKER_DIRECTORY = 2, MARKER_FOOTER = 3 };

int vmdk_unpack(struct gh_image *img, struct vmdk_extent *e, uint64_t at, uint8_t *out)
{
    uint64_t grain = e->grain * 512, limit = grain * 2 + 1024;
    uint64_t bytes = 0, skip = 0;
    if (e->markers) {
        uint8_t marker[12];
        int r = gh_file_read(e->file, at, marker, sizeof marker);
        if (r < 0)
            return r;
        bytes = gh_le32_get(marker + 8);
        skip = sizeof marker;
        if (!bytes || bytes > limit)
            return -EUCLEAN;
    } else {
        bytes = limit;                        /* no length is stated: the stream ends by itself */
    }
    uint8_t *in = malloc(bytes);
    int r = in ? gh_file_read(e->file, at + skip, in, bytes) : -ENOMEM;
    if (!r) {
        z_stream z = { .next_in = in, .avail_in = (uInt)bytes, .next_out = out, .avail_out = (uInt)grain };
        if (inflateInit(&z) != Z_OK) {
            r = -ENOMEM;
        } else {
            int s = inflate(&z, Z_FINISH);
            /* The last grain of a disk may be short: the rest is zeros already. */
            r = s == Z_STREAM_END || (s == Z_BUF_ERROR && !z.avail_out) ? 0 : -EUCLEAN;
            inflateEnd(&z);
        }
    }
    free(in);
    return r;
}

static int put_grain(struct gh_image *img, uint64_t g)
{
    struct vmdk *v = img->state;
    struct vmdk_extent *e = &v->extent[0];
    uint64_t grain = e->grain * 512, number = g / VMDK_GTES;
    uLongf bytes = compressBound((uLong)grain);
    static const uint8_t nothing[4096];
    bool zero = true;
    for (uint64_t i = 0; i < grain && zero; i += sizeof nothing)
        zero = !memcmp(v->stream_grain + i, nothing, sizeof nothing);
    if (zero)
        return 0;
    uint8_t *out = calloc(1, 12 + bytes + 512);
    if (!out)
        return -ENOMEM;
    int r = compress2(out + 12, &bytes, v->stream_grain, (uLong)grain, Z_DEFAULT_COMPRESSION) == Z_OK ? 0 : -ENOMEM;
    gh_le64_put(out, g * e->grain);
    gh_le32_put(out + 8, (uint32_t)bytes);
    uint64_t whole = gh_round_up(12 + bytes, 512);
    if (!r)
        r = gh_file_write(e->file, e->end, out, whole);
    free(out);
    if (!r && !e->table[number]) {
        e->table[number] = calloc(VMDK_GTES, 4);
        r = e->table[number] ? 0 : -ENOMEM;
    }
    if (!r)
        gh_le32_put(e->table[number] + g % VMDK_GTES * 4, (uint32_t)(e->end / 512));
    e->end += whole;
    return r;
}

int vmdk_stream_write(struct gh_image *img, uint64_t off, struct gh_vec *vec, uint64_t len)
{
    struct vmdk *v = img->state;
    if (!v->stream)
        return -ENOTSUP;
    struct vmdk_extent *e = &v->extent[0];
    uint64_t grain = e->grain * 512;
    if (!v->stream_grain) {
        v->stream_grain = malloc(grain);
        if (!v->stream_grain)
            return -ENOMEM;
        e->end = gh_round_up(gh_file_bytes(e->file), 512);
    }
    if (off % grain || off < v->stream_next || (len % grain && off + len != img->bytes))
        return -EINVAL;                       /* out of order: a stream cannot go back */
    for (uint64_t done = 0; done < len; done += grain) {
        uint64_t n = gh_min_u64(grain, len - done);
        gh_vec_get(vec, v->stream_grain, n);
        memset(v->stream_grain + n, 0, grain - n);
        int r = put_grain(img, (off + done) / grain);
        if (r < 0)
            return r;
        v->stream_next = off + done + grain;
    }
    return 0;
}

static int marker(struct vmdk_extent *e, uint64_t sectors, uint32_t type)
{
    uint8_t m[512] = { 0 };
    gh_le64_put(m, sectors);
    gh_le32_put(m + 12, type);
    int r = gh_file_write(e->file, e->end, m, sizeof m);
    e->end += sizeof m;
    return r;
}

int vmdk_stream_finish(struct gh_image *img)
{
    struct vmdk *v = img->state;
    struct vmdk_extent *e = &v->extent[0];
    uint8_t h[VMDK_HEADER];
    uint64_t bytes = gh_round_up(e->tables * 4, 512);
    uint8_t *directory = calloc(1, bytes);
    int r = directory ? gh_file_read(e->file, 0, h, sizeof h) : -ENOMEM;
    if (!v->stream_grain)
        e->end = gh_round_up(gh_file_bytes(e->file), 512);
    for (uint64_t i = 0; i < e->tables && !r; i++) {
        if (!e->table[i])
            continue;
        r = marker(e, VMDK_GTES * 4 / 512, MARKER_TABLE);
        gh_le32_put(directory + i * 4, (uint32_t)(e->end / 512));
        if (!r)
            r = gh_file_write(e->file, e->end, e->table[i], VMDK_GTES * 4);
        e->end += VMDK_GTES * 4;
    }
    if (!r)
        r = marker(e, bytes / 512, MARKER_DIRECTORY);
    uint64_t at = e->end;
    if (!r)
        r = gh_file_write(e->file, at, directory, bytes);
    e->end += bytes;
    free(directory);
    if (!r)
        r = marker(e, 1, MARKER_FOOTER);
    if (!r) {
        gh_le64_put(h + 56, at / 512);
        r = gh_file_write(e->file, e->end, h, sizeof h);
        e->end += sizeof h;
    }
    if (!r)
        r = marker(e, 0, MARKER_END);
    if (!r)
        r = gh_file_flush(e->file);
    /* Only now does the first header say that the end counts. */
    if (!r) {
        gh_le64_put(h + 56, UINT64_MAX);
        r = gh_file_write(e->file, 0, h, sizeof h);
    }
    return r;
}
