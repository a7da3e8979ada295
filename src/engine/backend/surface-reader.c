/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/surface-reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEQUENCE_TRIES = 100 };

struct gh_surface_reader {
    const struct gh_surface_header *header;
    size_t   bytes;
    uint64_t tail;            /* rectangles seen */
    struct gh_surface_view view;
    bool     all;
};

int gh_surface_reader_open(int fd, struct gh_surface_reader **ret)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);

    if (fstat(fd, &st))
        return -errno;
    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return -EPERM;
    if (st.st_size < (off_t)GH_SURFACE_PIXELS || (uint64_t)st.st_size > 1ull << 32)
        return -EPROTO;
    struct gh_surface_reader *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->bytes = (size_t)st.st_size;
    void *map = mmap(NULL, r->bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        int e = -errno;
        free(r);
        return e;
    }
    r->header = map;
    if (r->header->magic != GH_SURFACE_MAGIC) {
        gh_surface_reader_free(r);
        return -EPROTO;
    }
    *ret = r;
    return 0;
}

void gh_surface_reader_free(struct gh_surface_reader *r)
{
    if (!r)
        return;
    munmap((void *)r->header, r->bytes);
    free(r);
}

void gh_surface_reader_all(struct gh_surface_reader *r) { r->all = true; }

#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

/* A consistent copy of the geometry, then every bound: the producer may be hostile. */
static int geometry(const struct gh_surface_reader *r, struct gh_surface_view *ret)
{
    const struct gh_surface_header *h = r->header;

    for (unsigned i = 0; i < SEQUENCE_TRIES; i++) {
        uint32_t before = __atomic_load_n(&h->sequence, __ATOMIC_ACQUIRE);
        uint32_t width = LOAD(h->width), height = LOAD(h->height), stride = LOAD(h->stride);
        uint32_t format = LOAD(h->format);
        uint64_t offset = LOAD(h->pixels_offset), generation = LOAD(h->generation);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (before & 1 || LOAD(h->sequence) != before)
            continue;
        if (!width && !height)
            return -EAGAIN;
        if (format != GH_SURFACE_FORMAT_XRGB || !width || !height || width > GH_SURFACE_MAX_SIZE ||
            height > GH_SURFACE_MAX_SIZE || stride % 4 || stride < width * 4 || stride > GH_SURFACE_MAX_SIZE * 8 ||
            offset % 4 || offset < sizeof *h || offset > r->bytes || (uint64_t)stride * height > r->bytes - offset)
            return -EPROTO;
        ret->pixels = (const uint32_t *)((const uint8_t *)h + offset);
        ret->width = width;
        ret->height = height;
        ret->stride = stride;
        ret->generation = generation;
        return 0;
    }
    return -EAGAIN;
}

/* Cut to the screen; false: nothing left. */
static bool clip(struct gh_surface_rect *rect, const struct gh_surface_view *view)
{
    if (rect->x >= view->width || rect->y >= view->height)
        return false;
    if (rect->w > view->width - rect->x)
        rect->w = (uint16_t)(view->width - rect->x);
    if (rect->h > view->height - rect->y)
        rect->h = (uint16_t)(view->height - rect->y);
    return rect->w && rect->h;
}

static void join(struct gh_surface_rect *into, const struct gh_surface_rect *rect)
{
    unsigned x0 = rect->x < into->x ? rect->x : into->x, y0 = rect->y < into->y ? rect->y : into->y;
    unsigned x1 = into->x + into->w > rect->x + rect->w ? into->x + into->w : rect->x + rect->w;
    unsigned y1 = into->y + into->h > rect->y + rect->h ? into->y + into->h : rect->y + rect->h;

    *into = (struct gh_surface_rect){ (uint16_t)x0, (uint16_t)y0, (uint16_t)(x1 - x0), (uint16_t)(y1 - y0) };
}

int gh_surface_reader_update(struct gh_surface_reader *r, struct gh_surface_view *ret, struct gh_surface_rect *rects,
                             unsigned max)
{
    const struct gh_surface_header *h = r->header;
    struct gh_surface_view view = { 0 };

    if (!max)
        return -EINVAL;
    uint64_t head = __atomic_load_n(&h->ring_head, __ATOMIC_ACQUIRE);
    int e = geometry(r, &view);
    if (e)
        return e;
    view.resized = view.width != r->view.width || view.height != r->view.height || view.stride != r->view.stride ||
                   view.pixels != r->view.pixels || view.generation != r->view.generation;
    bool whole = view.resized || r->all || head - r->tail > GH_SURFACE_RING;
    unsigned count = 0;
    if (!whole) {
        for (uint64_t n = r->tail; n != head; n++) {
            struct gh_surface_rect rect = h->ring[n % GH_SURFACE_RING];
            if (!clip(&rect, &view))
                continue;
            if (count < max)
                rects[count++] = rect;
            else
                join(&rects[max - 1], &rect);
        }
        /* What was overwritten while it was read cannot be told from the rest. */
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        whole = LOAD(h->ring_head) - r->tail > GH_SURFACE_RING;
    }
    if (whole) {
        rects[0] = (struct gh_surface_rect){ 0, 0, (uint16_t)view.width, (uint16_t)view.height };
        count = 1;
    }
    r->tail = head;
    r->view = view;
    r->all = false;
    *ret = view;
    return (int)count;
}

void gh_surface_ask(int ask_fd)
{
    const uint64_t one = 1;
    ssize_t ignored = write(ask_fd, &one, sizeof one); /* full means that it was asked already */
    (void)ignored;
}

void gh_surface_drain(int frame_fd)
{
    uint64_t count;
    ssize_t  ignored = read(frame_fd, &count, sizeof count);
    (void)ignored;
}
