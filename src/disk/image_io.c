/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Moves data between callers and the chain. Reads, and writes to places that exist, run side by side
 * under the read lock; a write that needs new clusters takes the write lock:
 *
 *     reserve room -> write data (with the old content around it) -> [barrier] -> link
 *
 * The barrier (fdatasync) is needed exactly when power loss between data and pointer would show
 * something else than before: the old content was not zeros, or the room held other data once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "disk/driver.h"

enum { BATCH = 64 };
#define CHUNK (1u << 20)

static bool bad_range(const struct gh_image *img, uint64_t off, uint64_t len)
{ return !gh_range_in(off, len, img->bytes); }

static int map_one(struct gh_image *img, uint64_t off, uint64_t len, struct gh_extent *ret)
{
    *ret = (struct gh_extent){ .bytes = len };
    int r = img->driver->map(img, off, len, ret);
    if (!r && (!ret->bytes || ret->bytes > len))
        return -EIO;
    return r;
}

static int read_packed(struct gh_image *img, uint64_t off, struct gh_vec *vec, uint64_t len)
{
    if (vec->count && vec->iov->iov_len - vec->skip >= len) {
        int r = img->driver->read_packed(img, off, (char *)vec->iov->iov_base + vec->skip, len);
        vec->skip += len;
        return r;
    }
    void *buf = malloc(len);
    if (!buf)
        return -ENOMEM;
    int r = img->driver->read_packed(img, off, buf, len);
    if (!r)
        gh_vec_put(vec, buf, len);
    free(buf);
    return r;
}

static int read_parent(struct gh_image *parent, uint64_t off, struct gh_vec *vec, uint64_t len)
{
    uint64_t inside = parent && off < parent->bytes ? gh_min_u64(len, parent->bytes - off) : 0;
    if (inside) {
        pthread_rwlock_rdlock(&parent->lock);
        int r = gh_image_read_locked(parent, off, vec, inside);
        pthread_rwlock_unlock(&parent->lock);
        if (r < 0)
            return r;
    }
    if (inside < len)
        gh_vec_zero(vec, len - inside);
    return 0;
}

int gh_image_read_locked(struct gh_image *img, uint64_t off, struct gh_vec *vec, uint64_t len)
{
    while (len) {
        struct gh_extent e;
        int r = map_one(img, off, len, &e);
        if (r < 0)
            return r;
        switch (e.kind) {
        case GH_EXTENT_DATA: r = gh_vec_read(vec, e.file, e.file_offset, e.bytes); break;
        case GH_EXTENT_PACKED: r = read_packed(img, off, vec, e.bytes); break;
        case GH_EXTENT_NONE: r = read_parent(img->parent, off, vec, e.bytes); break;
        case GH_EXTENT_ZERO: gh_vec_zero(vec, e.bytes); break;
        }
        if (r < 0)
            return r;
        off += e.bytes;
        len -= e.bytes;
    }
    return 0;
}

int gh_image_readv(struct gh_image *img, uint64_t off, const struct iovec *iov, unsigned n, uint64_t len)
{
    struct gh_vec vec = { iov, n, 0 };
    if (bad_range(img, off, len))
        return -EINVAL;
    if (img->flat)
        return gh_file_readv(img->file, off, iov, n, len);
    pthread_rwlock_rdlock(&img->lock);
    int r = gh_image_read_locked(img, off, &vec, len);
    pthread_rwlock_unlock(&img->lock);
    return r;
}

int gh_image_read(struct gh_image *img, uint64_t off, void *buf, size_t len)
{ return gh_image_readv(img, off, &(struct iovec){ buf, len }, 1, len); }

/* ---- Map through the chain --------------------------------------------------------------------------- */
static int map_chain(struct gh_image *img, uint64_t off, uint64_t len, struct gh_map *ret)
{
    *ret = (struct gh_map){ .bytes = len };
    for (unsigned depth = 0; img; img = img->parent, depth++) {
        struct gh_extent e;
        if (off >= img->bytes)
            break;
        if (ret->bytes > img->bytes - off) /* a short parent: what follows is zeros */
            ret->bytes = img->bytes - off;
        pthread_rwlock_rdlock(&img->lock);
        int r = map_one(img, off, ret->bytes, &e);
        pthread_rwlock_unlock(&img->lock);
        if (r < 0)
            return r;
        ret->bytes = e.bytes;
        if (e.kind == GH_EXTENT_NONE)
            continue;
        ret->depth = depth;
        ret->kind = e.kind == GH_EXTENT_ZERO ? GH_MAP_ZERO : e.kind == GH_EXTENT_DATA ? GH_MAP_DATA : GH_MAP_PACKED;
        if (e.kind == GH_EXTENT_DATA) {
            bool hole;
            uint64_t run;
            ret->file_offset = e.file_offset;
            gh_file_extent(e.file, e.file_offset, e.bytes, &hole, &run);
            if (hole)
                ret->kind = GH_MAP_ZERO;
            ret->bytes = run;
        }
        return 0;
    }
    return 0;
}

int gh_image_map(struct gh_image *img, uint64_t off, uint64_t len, struct gh_map *ret)
{
    if (bad_range(img, off, len) || !len)
        return -EINVAL;
    return map_chain(img, off, len, ret);
}

/* Does [off, off+len) read as zeros without any file holding data for it? Lock held. */
static bool reads_as_zeros(struct gh_image *img, uint64_t off, uint64_t len)
{
    len = off < img->bytes ? gh_min_u64(len, img->bytes - off) : 0;
    while (len) {
        struct gh_extent e;
        if (map_one(img, off, len, &e) < 0)
            return false;
        if (e.kind == GH_EXTENT_DATA || e.kind == GH_EXTENT_PACKED)
            return false;
        if (e.kind == GH_EXTENT_NONE)
            for (uint64_t o = off, end = off + e.bytes; img->parent && o < end && o < img->parent->bytes;) {
                struct gh_map m;
                if (map_chain(img->parent, o, gh_min_u64(end, img->parent->bytes) - o, &m) < 0 ||
                    m.kind == GH_MAP_DATA || m.kind == GH_MAP_PACKED)
                    return false;
                o += m.bytes;
            }
        off += e.bytes;
        len -= e.bytes;
    }
    return true;
}

/* ---- Writing --------------------------------------------------------------------------------------------- */
static int mark_changed(struct gh_image *img)
{
    if (img->marked)
        return 0;
    int r = img->driver->first_write ? img->driver->first_write(img) : 0;
    if (!r)
        img->marked = true;
    return r;
}

/* Copies what [off, off+len) reads as to the new place. */
static int copy_old(struct gh_image *img, uint64_t off, struct gh_file *file, uint64_t file_off, uint64_t len)
{
    uint64_t inside = off < img->bytes ? gh_min_u64(len, img->bytes - off) : 0;
    size_t size = (size_t)gh_min_u64(len, CHUNK);
    void *buf = len ? malloc(size) : NULL;
    int r = 0;
    if (len && !buf)
        return -ENOMEM;
    for (uint64_t done = 0; done < len && !r;) {
        size_t take = (size_t)gh_min_u64(len - done, size);
        size_t real = done < inside ? (size_t)gh_min_u64(inside - done, take) : 0;
        struct iovec iov = { buf, take };
        struct gh_vec vec = { &iov, 1, 0 };
        r = gh_image_read_locked(img, off + done, &vec, real);
        memset((char *)buf + real, 0, take - real);
        if (!r)
            r = gh_file_write(file, file_off + done, buf, take);
        done += take;
    }
    free(buf);
    return r;
}

struct new_cluster { uint64_t off, file_off; struct gh_file *file; };

/* Makes n clusters point to their new places, neighbours in one call; room that was not used goes back. Write lock held. */
static int link_clusters(struct gh_image *img, const struct new_cluster *made, unsigned n, int r)
{
    const struct gh_image_driver *drv = img->driver;
    const uint64_t cluster = img->cluster_bytes;
    unsigned linked = 0;
    while (!r && linked < n) {
        const struct new_cluster *first = &made[linked];
        unsigned row = 1, got = 0;
        while (drv->link_run && linked + row < n && first[row].off == first->off + row * cluster &&
               first[row].file_off == first->file_off + row * cluster && first[row].file == first->file)
            row++;
        if (row > 1) {
            r = drv->link_run(img, first->off, first->file_off, row, &got);
            linked += got;
        } else {
            r = drv->link(img, first->off, first->file_off);
            linked += !r;
        }
    }
    for (unsigned i = n; i-- > linked;)
        if (drv->unreserve)
            drv->unreserve(img, made[i].off, made[i].file_off);
    return r;
}

/* Writes the leading part of [off, off+len) that has no place yet; *ret_done: how much. vec NULL: only gives it the place.
 * Write lock held. */
static int write_new(struct gh_image *img, uint64_t off, struct gh_vec *vec, uint64_t len, uint64_t *ret_done)
{
    const struct gh_image_driver *drv = img->driver;
    const uint64_t cluster = img->cluster_bytes;
    struct new_cluster made[BATCH];
    unsigned n = 0;
    bool barrier = false;
    uint64_t done = 0;
    struct { struct gh_file *file; uint64_t off, bytes; } run = { 0 };

    int r = mark_changed(img);
    while (!r && done < len && n < BATCH) {
        uint64_t at = off + done, start = at - at % cluster, head = at - start;
        uint64_t bytes = gh_min_u64(cluster - head, len - done), tail = cluster - head - bytes;
        struct gh_extent e;
        struct gh_file *file;
        uint64_t file_off;
        bool fresh = false;
        r = map_one(img, at, bytes, &e);
        if (r < 0 || (e.kind == GH_EXTENT_DATA && e.in_place))
            break;
        r = drv->reserve(img, start, &file, &file_off, &fresh);
        if (r < 0)
            break;
        made[n++] = (struct new_cluster){ start, file_off, file };
        bool zeros = reads_as_zeros(img, start, cluster);
        if (!zeros || !fresh)
            barrier = true;
        if (!zeros || !fresh) {
            r = copy_old(img, start, file, file_off, head);
            if (!r)
                r = copy_old(img, at + bytes, file, file_off + head + bytes, tail);
        } else if ((tail || !vec) && gh_file_bytes(file) < file_off + cluster) {
            r = gh_file_truncate(file, file_off + cluster);
        }
        done += bytes;
        if (!vec)
            continue;
        /* Neighbours in the file go out in one call. */
        if (!r && run.bytes && (run.file != file || run.off + run.bytes != file_off + head)) {
            r = gh_vec_write(vec, run.file, run.off, run.bytes);
            run.bytes = 0;
        }
        if (!run.bytes) {
            run.file = file;
            run.off = file_off + head;
        }
        run.bytes += bytes;
    }
    if (!r && run.bytes)
        r = gh_vec_write(vec, run.file, run.off, run.bytes);
    if (!r && barrier)
        for (unsigned i = 0; i < n && !r; i++)
            if (i == 0 || made[i].file != made[i - 1].file)
                r = gh_file_flush(made[i].file);
    r = link_clusters(img, made, n, r);
    *ret_done = done;
    return r;
}

static int write_vec(struct gh_image *img, uint64_t off, struct gh_vec *vec, uint64_t len)
{
    while (len) {
        struct gh_extent e;
        uint64_t done = 0;
        pthread_rwlock_rdlock(&img->lock);
        int r = img->marked ? 0 : 1;           /* the first change needs the write lock */
        if (!r)
            r = map_one(img, off, len, &e);
        if (!r && e.kind == GH_EXTENT_DATA && e.in_place) {
            r = gh_vec_write(vec, e.file, e.file_offset, e.bytes);
            done = e.bytes;
        }
        pthread_rwlock_unlock(&img->lock);
        if (r < 0)
            return r;
        if (!done) {
            pthread_rwlock_wrlock(&img->lock);
            r = img->cluster_bytes ? write_new(img, off, vec, len, &done) : mark_changed(img);
            if (!r && !img->cluster_bytes) {
                r = map_one(img, off, len, &e);
                if (!r && e.kind != GH_EXTENT_DATA)
                    r = -EIO;
            }
            pthread_rwlock_unlock(&img->lock);
            if (r < 0)
                return r;
        }
        off += done;
        len -= done;
    }
    return 0;
}

int gh_image_allocate(struct gh_image *img, uint64_t off, uint64_t len)
{
    int r = 0;
    if (bad_range(img, off, len))
        return -EINVAL;
    pthread_rwlock_wrlock(&img->lock);
    if (!img->cluster_bytes) {
        r = mark_changed(img);
        len = 0;
    }
    while (len && !r) {
        struct gh_extent e;
        uint64_t done = 0;
        r = map_one(img, off, len, &e);
        if (!r && e.kind == GH_EXTENT_DATA && e.in_place)
            done = e.bytes;
        else if (!r)
            r = write_new(img, off, NULL, len, &done);
        off += done;
        len -= done;
    }
    pthread_rwlock_unlock(&img->lock);
    return r;
}

/* The lock is not held while data moves: allocating would wait for it. */
int gh_image_write_allocated(struct gh_image *img, uint64_t off, const void *buf, uint64_t len)
{
    const uint8_t *p = buf;
    if (bad_range(img, off, len))
        return -EINVAL;
    for (uint64_t done = 0; done < len;) {
        struct gh_extent e;
        pthread_rwlock_rdlock(&img->lock);
        int r = map_one(img, off + done, len - done, &e);
        pthread_rwlock_unlock(&img->lock);
        if (!r)
            r = e.kind == GH_EXTENT_DATA && e.in_place ? gh_file_write(e.file, e.file_offset, p + done, e.bytes) : -EIO;
        if (r < 0)
            return r;
        done += e.bytes;
    }
    return 0;
}

int gh_image_writev(struct gh_image *img, uint64_t off, const struct iovec *iov, unsigned n, uint64_t len)
{
    struct gh_vec vec = { iov, n, 0 };
    if (!img->writable)
        return -EROFS;
    if (bad_range(img, off, len))
        return -EINVAL;
    if (img->flat)
        return gh_file_writev(img->file, off, iov, n, len);
    if (img->driver->write_stream) {
        pthread_rwlock_wrlock(&img->lock);
        int r = img->driver->write_stream(img, off, &vec, len);
        pthread_rwlock_unlock(&img->lock);
        if (r != -ENOTSUP)
            return r;
    }
    return write_vec(img, off, &vec, len);
}

int gh_image_write(struct gh_image *img, uint64_t off, const void *buf, size_t len)
{ return gh_image_writev(img, off, &(struct iovec){ (void *)buf, len }, 1, len); }

/* ---- Zeros and discard ------------------------------------------------------------------------------------ */
static int write_zeros(struct gh_image *img, uint64_t off, uint64_t len)
{
    static const uint8_t zeros[1 << 16];
    while (len) {
        size_t take = (size_t)gh_min_u64(len, sizeof zeros);
        int r = gh_image_write(img, off, zeros, take);
        if (r < 0)
            return r;
        off += take;
        len -= take;
    }
    return 0;
}

/* The driver's way for aligned ranges; -ENOTSUP: there is none. */
static int zero_whole(struct gh_image *img, uint64_t off, uint64_t len, bool discard)
{
    if (!img->driver->zero)
        return -ENOTSUP;
    pthread_rwlock_wrlock(&img->lock);
    int r = mark_changed(img);
    if (!r)
        r = img->driver->zero(img, off, len, discard);
    pthread_rwlock_unlock(&img->lock);
    return r;
}

/* Parts of clusters that are discarded stay linked; what lies there may become a hole. */
static int punch_part(struct gh_image *img, uint64_t off, uint64_t len)
{
    int r = 0;
    while (len && !r) {
        struct gh_extent e;
        pthread_rwlock_rdlock(&img->lock);
        r = img->marked ? map_one(img, off, len, &e) : -EAGAIN;
        if (!r && e.kind == GH_EXTENT_DATA && e.in_place)
            r = gh_file_punch(e.file, e.file_offset, e.bytes);
        pthread_rwlock_unlock(&img->lock);
        if (r == -EAGAIN) {
            pthread_rwlock_wrlock(&img->lock);
            r = mark_changed(img);
            pthread_rwlock_unlock(&img->lock);
            continue;
        }
        r = r == -EOPNOTSUPP ? 0 : r;
        off += e.bytes;
        len -= e.bytes;
    }
    return r;
}

static int zero_range(struct gh_image *img, uint64_t off, uint64_t len, bool discard)
{
    uint64_t unit = img->cluster_bytes ? img->cluster_bytes : 1, end = off + len;
    if (!img->writable)
        return -EROFS;
    if (bad_range(img, off, len))
        return -EINVAL;
    /* The last cluster of the disk counts as whole when the range reaches the disk's end. */
    uint64_t first = gh_min_u64(gh_round_up(off, unit), end);
    uint64_t last = end == img->bytes ? end : end - end % unit;
    if (last < first)
        last = first;
    int r = 0;
    if (off < first)
        r = discard ? punch_part(img, off, first - off) : write_zeros(img, off, first - off);
    for (uint64_t at = first; !r && at < last;) {
        uint64_t step = gh_min_u64(last - at, unit > (64u << 20) ? unit : (64u << 20));
        r = zero_whole(img, at, step, discard);
        if (r == -ENOTSUP)
            r = discard ? 0 : write_zeros(img, at, step);
        at += step;
    }
    if (!r && last < end)
        r = discard ? punch_part(img, last, end - last) : write_zeros(img, last, end - last);
    return r;
}

int gh_image_zero(struct gh_image *img, uint64_t off, uint64_t len) { return zero_range(img, off, len, false); }
int gh_image_discard(struct gh_image *img, uint64_t off, uint64_t len) { return zero_range(img, off, len, true); }

/* ---- Flush ------------------------------------------------------------------------------------------------- */
int gh_image_flush_locked(struct gh_image *img)
{
    if (!img->writable)
        return 0;
    if (img->driver->flush)
        return img->driver->flush(img);
    for (unsigned i = 0; i < img->part_count; i++) {
        int r = gh_file_flush(img->parts[i]);
        if (r < 0)
            return r;
    }
    return gh_file_flush(img->file);
}

int gh_image_flush(struct gh_image *img)
{
    /* No lock: writes that returned are in the page cache, and others are nobody's promise yet. */
    return gh_image_flush_locked(img);
}
