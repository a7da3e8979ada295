/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/surface.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/backend/surface-format.h"

struct gh_surface {
    int      fd;
    uint64_t bytes;
    struct gh_surface_header *header;
    /* Own copies: readers cannot write, but nothing here depends on shared memory. */
    uint32_t width, height, stride;
    uint64_t generation, frame, ring_head;
};

int gh_surface_new(uint64_t max_bytes, struct gh_surface **ret, struct gh_error *err)
{
    struct gh_surface *s = calloc(1, sizeof *s);

    if (!s)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for the screen; close other programs.");
    s->bytes = GH_SURFACE_PIXELS + ((max_bytes + 4095) & ~4095ull);
    s->header = MAP_FAILED;
    s->fd = memfd_create("gasthaus-surface", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (s->fd >= 0 && !ftruncate(s->fd, (off_t)s->bytes))
        s->header = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    if (s->header == MAP_FAILED ||
        fcntl(s->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)) {
        int e = -errno;
        gh_surface_free(s);
        return gh_error_set(err, e, "SurfaceFailed", "The memory of the screen (%llu bytes) could not be made: %s; "
                            "Linux 5.1 or newer and free memory are needed.", (unsigned long long)max_bytes, strerror(-e));
    }
    s->header->total_bytes = s->bytes;
    s->header->format = GH_SURFACE_FORMAT_XRGB;
    s->header->pixels_offset = GH_SURFACE_PIXELS;
    s->header->magic = GH_SURFACE_MAGIC;
    *ret = s;
    return 0;
}

void gh_surface_free(struct gh_surface *s)
{
    if (!s)
        return;
    if (s->header != MAP_FAILED)
        munmap(s->header, s->bytes);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}

int gh_surface_fd(const struct gh_surface *s) { return s->fd; }

int gh_surface_set_size(struct gh_surface *s, uint32_t width, uint32_t height)
{
    struct gh_surface_header *h = s->header;

    if (!width || !height || width > GH_SURFACE_MAX_SIZE || height > GH_SURFACE_MAX_SIZE ||
        (uint64_t)width * 4 * height > s->bytes - GH_SURFACE_PIXELS)
        return -EFBIG;
    s->width = width;
    s->height = height;
    s->stride = width * 4;
    uint32_t sequence = h->sequence;
    __atomic_store_n(&h->sequence, sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&h->width, width, __ATOMIC_RELAXED);
    __atomic_store_n(&h->height, height, __ATOMIC_RELAXED);
    __atomic_store_n(&h->stride, s->stride, __ATOMIC_RELAXED);
    __atomic_store_n(&h->generation, ++s->generation, __ATOMIC_RELAXED);
    __atomic_store_n(&h->sequence, sequence + 2, __ATOMIC_RELEASE);
    return 0;
}

uint32_t *gh_surface_pixels(struct gh_surface *s, uint32_t *ret_width, uint32_t *ret_height, uint32_t *ret_stride)
{
    *ret_width = s->width;
    *ret_height = s->height;
    *ret_stride = s->stride;
    return (uint32_t *)((uint8_t *)s->header + GH_SURFACE_PIXELS);
}

void gh_surface_commit(struct gh_surface *s, const struct gh_rect *rects, unsigned count)
{
    struct gh_surface_header *h = s->header;

    for (unsigned i = 0; i < count; i++)
        h->ring[s->ring_head++ % GH_SURFACE_RING] = (struct gh_surface_rect){
            (uint16_t)rects[i].x, (uint16_t)rects[i].y, (uint16_t)rects[i].w, (uint16_t)rects[i].h };
    __atomic_store_n(&h->ring_head, s->ring_head, __ATOMIC_RELEASE);
    __atomic_store_n(&h->frame, ++s->frame, __ATOMIC_RELEASE);
}
