/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/png.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"

enum { CHUNK_BYTES = 65536, FILTER_UP = 2, LEVEL = 3 };

struct writer {
    int     fd, error;
    z_stream z;
    uint8_t chunk[12 + CHUNK_BYTES];             /* length, type, data, CRC */
};

static void write_all(struct writer *w, const void *data, size_t bytes)
{
    const uint8_t *p = data;

    while (bytes && !w->error) {
        ssize_t n = write(w->fd, p, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            w->error = n < 0 ? -errno : -EIO;
            break;
        }
        p += n;
        bytes -= (size_t)n;
    }
}

/* The data stands at chunk + 8 already. */
static void write_chunk(struct writer *w, const char *type, uint32_t bytes)
{
    gh_be32_put(w->chunk, bytes);
    memcpy(w->chunk + 4, type, 4);
    gh_be32_put(w->chunk + 8 + bytes, (uint32_t)crc32(0, w->chunk + 4, bytes + 4));
    write_all(w, w->chunk, bytes + 12);
}

/* Compresses what is pending; each full buffer becomes an IDAT chunk. */
static void deflate_line(struct writer *w, uint8_t *line, size_t bytes, int flush)
{
    w->z.next_in = line;
    w->z.avail_in = (uInt)bytes;
    for (;;) {
        int r = deflate(&w->z, flush);
        if (w->z.avail_out == 0 || r == Z_STREAM_END) {
            write_chunk(w, "IDAT", CHUNK_BYTES - w->z.avail_out);
            w->z.next_out = w->chunk + 8;
            w->z.avail_out = CHUNK_BYTES;
        }
        if (r == Z_STREAM_END || w->error)
            return;
        if (r != Z_OK && r != Z_BUF_ERROR) {
            w->error = -EIO;
            return;
        }
        if (flush != Z_FINISH && !w->z.avail_in)
            return;
    }
}

int gh_png_write(int fd, const uint32_t *pixels, uint32_t width, uint32_t height, uint32_t stride_bytes,
                 struct gh_error *err)
{
    static const uint8_t signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    size_t line_bytes = (size_t)width * 3;
    gh_autofree struct writer *w = calloc(1, sizeof *w);
    gh_autofree uint8_t *lines = calloc(3, line_bytes + 1);

    if (!w || !lines || deflateInit(&w->z, LEVEL) != Z_OK)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for the screenshot; close other programs.");
    w->fd = fd;
    write_all(w, signature, sizeof signature);
    gh_be32_put(w->chunk + 8, width);
    gh_be32_put(w->chunk + 12, height);
    memcpy(w->chunk + 16, (const uint8_t[]){ 8, 2, 0, 0, 0 }, 5);
    write_chunk(w, "IHDR", 13);

    uint8_t *before = lines, *now = lines + line_bytes, *filtered = lines + 2 * line_bytes;
    filtered[0] = FILTER_UP;
    w->z.next_out = w->chunk + 8;
    w->z.avail_out = CHUNK_BYTES;
    for (uint32_t y = 0; y < height && !w->error; y++) {
        const uint32_t *row = (const uint32_t *)((const uint8_t *)pixels + (size_t)y * stride_bytes);
        for (uint32_t x = 0; x < width; x++) {
            uint32_t c = row[x];
            now[3 * x] = (uint8_t)(c >> 16);
            now[3 * x + 1] = (uint8_t)(c >> 8);
            now[3 * x + 2] = (uint8_t)c;
        }
        for (size_t i = 0; i < line_bytes; i++)
            filtered[1 + i] = (uint8_t)(now[i] - before[i]);
        uint8_t *swap = before;
        before = now;
        now = swap;
        deflate_line(w, filtered, line_bytes + 1, y + 1 == height ? Z_FINISH : Z_NO_FLUSH);
    }
    deflateEnd(&w->z);
    write_chunk(w, "IEND", 0);
    return w->error ? gh_error_set(err, w->error, "ScreenshotFailed", "The screenshot could not be written: %s; "
                                   "check the free space and try again.", strerror(-w->error)) : 0;
}

uint32_t *gh_picture_shrink(const uint32_t *pixels, uint32_t width, uint32_t height, uint32_t stride_bytes,
                            uint32_t max_width, uint32_t max_height, uint32_t *ret_width, uint32_t *ret_height)
{
    uint32_t w = width, h = height;

    if (max_width && w > max_width) {
        h = (uint32_t)((uint64_t)height * max_width / width);
        w = max_width;
    }
    if (max_height && h > max_height) {
        w = (uint32_t)((uint64_t)width * max_height / height);
        h = max_height;
    }
    w = w ? w : 1;
    h = h ? h : 1;
    uint32_t *out = calloc((size_t)w * h, sizeof *out);
    if (!out)
        return NULL;
    for (uint32_t y = 0; y < h; y++) {
        uint32_t y0 = (uint32_t)((uint64_t)y * height / h), y1 = (uint32_t)((uint64_t)(y + 1) * height / h);
        for (uint32_t x = 0; x < w; x++) {
            uint32_t x0 = (uint32_t)((uint64_t)x * width / w), x1 = (uint32_t)((uint64_t)(x + 1) * width / w);
            uint64_t r = 0, g = 0, b = 0, n = (uint64_t)(x1 - x0) * (y1 - y0);
            for (uint32_t sy = y0; sy < y1; sy++) {
                const uint32_t *row = (const uint32_t *)((const uint8_t *)pixels + (size_t)sy * stride_bytes);
                for (uint32_t sx = x0; sx < x1; sx++) {
                    r += row[sx] >> 16 & 255;
                    g += row[sx] >> 8 & 255;
                    b += row[sx] & 255;
                }
            }
            out[(size_t)y * w + x] = 0xff000000 | (uint32_t)(r / n) << 16 | (uint32_t)(g / n) << 8 | (uint32_t)(b / n);
        }
    }
    *ret_width = w;
    *ret_height = h;
    return out;
}
