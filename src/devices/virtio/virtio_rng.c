/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Entropy device (Virtual I/O Device specification, "Entropy Device"): the host kernel's random bytes. */
#include <sys/random.h>

#include "devices/classes.h"
#include "devices/virtio/virtio.h"

enum { QUEUE_SIZE = 8, CHUNK = 256, REQUEST_MAX = 64 << 10 };

struct virtio_rng { struct gh_virtio v; };

static const struct gh_option options[] = { GH_VIRTIO_OPT_ADDR(struct virtio_rng, v), { 0 } };
static const struct gh_field fields[] = { GH_VIRTIO_FIELD(struct virtio_rng, v, 1), { 0 } };

static uint32_t fill(struct gh_virtq_element *e)
{
    uint64_t want = e->in_bytes < REQUEST_MAX ? e->in_bytes : REQUEST_MAX, done = 0;
    while (done < want) {
        uint8_t chunk[CHUNK];                 /* requests of up to 256 bytes are never cut short */
        size_t n = want - done < CHUNK ? want - done : CHUNK;
        if (getrandom(chunk, n, 0) != (ssize_t)n)
            break;
        gh_virtq_write(e, done, chunk, n);
        done += n;
    }
    return (uint32_t)done;
}

static void rng_kick(struct gh_virtio *v, struct gh_virtq *vq)
{
    unsigned budget = vq->size;
    struct gh_virtq_element *e;
    while (budget-- && (e = gh_virtq_pop(vq)))
        gh_virtq_push(vq, e, fill(e));
    gh_virtq_signal(vq);
    if (gh_virtq_pending(vq))
        gh_virtio_again(v);
}

static const struct gh_virtio_type rng_type = { .id = GH_VIRTIO_RNG, .class_code = 0x00ff00, .kick = rng_kick };

static int rng_attach(struct gh_device *dev, struct gh_error *err)
{
    return gh_virtio_attach(dev, dev->state, &rng_type, 1, QUEUE_SIZE, 0, err);
}
static void rng_reset(struct gh_device *dev, enum gh_reset why) { gh_virtio_reset(dev->state); }
static int rng_loaded(struct gh_device *dev, struct gh_error *err) { return gh_virtio_loaded(dev->state, err); }
static void rng_detach(struct gh_device *dev) { gh_virtio_detach(dev->state); }

const struct gh_device_class gh_class_virtio_rng = {
    .name = "virtio-rng", .summary = "Random number generator (virtio)", .state_size = sizeof(struct virtio_rng),
    .version = 1, .options = options, .saved = fields, .attach = rng_attach, .reset = rng_reset,
    .loaded = rng_loaded, .detach = rng_detach,
};
