/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/virtio/virtqueue.h"

#include <stdlib.h>

#include "devices/virtio/virtio.h"

/*
 *  desc:   size * { le64 address, le32 length, le16 flags, le16 next }
 *  driver: le16 flags, le16 idx, size * le16 ring, le16 used_event
 *  device: le16 flags, le16 idx, size * { le32 id, le32 length }, le16 avail_event
 */
enum { DESC_BYTES = 16, DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, AVAIL_NO_INTERRUPT = 1,
       RING_IDX = 2, RING_START = 4, USED_BYTES = 8 };

const struct gh_field gh_virtq_fields[] = {
    GH_FIELD(GH_T_U16, struct gh_virtq, size, 1),
    GH_FIELD(GH_T_BOOL, struct gh_virtq, enabled, 1),
    GH_FIELD(GH_T_U16, struct gh_virtq, vector, 1),
    GH_FIELD(GH_T_U64, struct gh_virtq, desc, 1),
    GH_FIELD(GH_T_U64, struct gh_virtq, driver, 1),
    GH_FIELD(GH_T_U64, struct gh_virtq, device, 1),
    GH_FIELD(GH_T_U16, struct gh_virtq, last_avail, 1),
    GH_FIELD(GH_T_U16, struct gh_virtq, used, 1),
    { 0 },
};

static bool event_index(const struct gh_virtq *vq)
{
    return gh_virtio_has(vq->virtio, GH_VIRTIO_RING_EVENT_IDX);
}

/* ---- Single words of the rings: atomic, because vCPUs run on -------------------------------------- */

static bool load16(struct gh_virtq *vq, uint64_t gpa, uint16_t *ret)
{
    struct gh_device *dev = vq->virtio->dev;
    struct gh_dma map;
    if (gpa & 1 || !dev->ops->dma_map(dev->board, gpa, 2, false, &map))
        return false;
    *ret = le16toh(__atomic_load_n((uint16_t *)map.host, __ATOMIC_ACQUIRE));
    dev->ops->dma_unmap(dev->board, &map);
    return true;
}

static bool store16(struct gh_virtq *vq, uint64_t gpa, uint16_t value)
{
    struct gh_device *dev = vq->virtio->dev;
    struct gh_dma map;
    if (gpa & 1 || !dev->ops->dma_map(dev->board, gpa, 2, true, &map))
        return false;
    __atomic_store_n((uint16_t *)map.host, htole16(value), __ATOMIC_RELEASE);
    dev->ops->dma_unmap(dev->board, &map);
    return true;
}

static bool usable(const struct gh_virtq *vq)
{
    return vq->enabled && vq->size && gh_virtio_running(vq->virtio);
}

/* How many chains wait; false after a failure. */
static bool available(struct gh_virtq *vq, uint16_t *ret_count)
{
    uint16_t idx;
    if (!load16(vq, vq->driver + RING_IDX, &idx)) {
        gh_virtio_fail(vq->virtio, "queue %u: the available ring is not in RAM", vq->index);
        return false;
    }
    *ret_count = (uint16_t)(idx - vq->last_avail);
    if (*ret_count > vq->size) {
        gh_virtio_fail(vq->virtio, "queue %u: %u chains are available in a ring of %u", vq->index, *ret_count, vq->size);
        return false;
    }
    return true;
}

bool gh_virtq_pending(struct gh_virtq *vq)
{
    uint16_t count;
    if (!usable(vq) || !available(vq, &count))
        return false;
    if (count || !event_index(vq))
        return count;
    store16(vq, vq->device + RING_START + (uint64_t)vq->size * USED_BYTES, vq->last_avail);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);  /* the driver may have added one before it saw that */
    return available(vq, &count) && count;
}

/* ---- Chains --------------------------------------------------------------------------------------------- */

struct desc { uint64_t address; uint32_t length; uint16_t flags, next; };

struct chain {
    struct gh_virtq *vq;
    struct gh_dma piece[GH_VIRTQ_PIECES_MAX];
    unsigned pieces, out_pieces;
    uint64_t out_bytes, in_bytes;
};

static bool read_desc(struct gh_virtq *vq, uint64_t table, uint32_t index, struct desc *ret)
{
    uint8_t raw[DESC_BYTES];
    uint64_t at;
    if (!gh_add_u64(table, (uint64_t)index * DESC_BYTES, &at) || !gh_dma_read(vq->virtio->dev, at, raw, sizeof raw))
        return false;
    *ret = (struct desc){ gh_le64_get(raw), gh_le32_get(raw + 8), gh_le16_get(raw + 12), gh_le16_get(raw + 14) };
    return true;
}

static void unmap_pieces(struct gh_virtq *vq, struct gh_dma *piece, unsigned count)
{
    struct gh_device *dev = vq->virtio->dev;
    for (unsigned i = 0; i < count; i++)
        dev->ops->dma_unmap(dev->board, &piece[i]);
}

/* Maps one buffer, in several pieces where RAM is not contiguous. Returns what is wrong, or NULL. */
static const char *map_buffer(struct chain *c, const struct desc *d)
{
    struct gh_device *dev = c->vq->virtio->dev;
    bool write = d->flags & DESC_WRITE;
    uint64_t done = 0, end;
    if (!d->length)
        return "a buffer is empty";
    if (!gh_add_u64(d->address, d->length, &end))
        return "a buffer wraps around";
    if (!write && c->in_bytes)
        return "a readable buffer follows a writable one";
    *(write ? &c->in_bytes : &c->out_bytes) += d->length;
    if (c->out_bytes + c->in_bytes > UINT32_MAX)
        return "a chain is longer than 4 GiB";
    while (done < d->length) {
        if (c->pieces == GH_VIRTQ_PIECES_MAX)
            return "a chain has too many pieces";
        if (!dev->ops->dma_map(dev->board, d->address + done, d->length - done, write, &c->piece[c->pieces]))
            return "a buffer is not in RAM";
        done += c->piece[c->pieces++].bytes;
        c->out_pieces += !write;
    }
    return NULL;
}

static const char *walk(struct chain *c, uint16_t head)
{
    struct gh_virtq *vq = c->vq;
    uint64_t table = vq->desc;
    uint32_t entries = vq->size, index = head, count = 0;
    bool indirect = false;
    for (;;) {
        struct desc d;
        if (index >= entries)
            return "a descriptor index is too large";
        if (count++ >= vq->size)
            return "a chain is longer than its queue";
        if (!read_desc(vq, table, index, &d))
            return "a descriptor is not in RAM";
        if (d.flags & DESC_INDIRECT) {
            if (indirect || (d.flags & DESC_NEXT) || !gh_virtio_has(vq->virtio, GH_VIRTIO_RING_INDIRECT))
                return "an indirect descriptor is where none may be";
            if (!d.length || d.length % DESC_BYTES)
                return "an indirect table has a wrong size";
            indirect = true;
            table = d.address;
            entries = d.length / DESC_BYTES;
            index = 0;
            count--;
            continue;
        }
        const char *wrong = map_buffer(c, &d);
        if (wrong || !(d.flags & DESC_NEXT))
            return wrong;
        index = d.next;
    }
}

static struct gh_virtq_element *new_element(const struct chain *c, uint16_t head)
{
    struct gh_virtq_element *e = malloc(sizeof *e + c->pieces * (sizeof *e->iov + sizeof *e->piece));
    if (!e)
        return NULL;
    *e = (struct gh_virtq_element){ .vq = c->vq, .head = head, .out_count = c->out_pieces,
                                    .in_count = c->pieces - c->out_pieces, .piece_count = c->pieces,
                                    .out_bytes = c->out_bytes, .in_bytes = c->in_bytes };
    e->out = e->iov;
    e->in = e->iov + c->out_pieces;
    e->piece = (struct gh_dma *)(e->iov + c->pieces);
    memcpy(e->piece, c->piece, c->pieces * sizeof *e->piece);
    for (unsigned i = 0; i < c->pieces; i++)
        e->iov[i] = (struct iovec){ .iov_base = c->piece[i].host, .iov_len = c->piece[i].bytes };
    return e;
}

struct gh_virtq_element *gh_virtq_pop(struct gh_virtq *vq)
{
    struct chain c;                           /* 40 KiB; a handler may use 64 */
    uint16_t head;
    c.vq = vq;
    c.pieces = c.out_pieces = 0;
    c.out_bytes = c.in_bytes = 0;
    if (!gh_virtq_pending(vq))
        return NULL;
    const char *wrong = NULL;
    if (!load16(vq, vq->driver + RING_START + (vq->last_avail % vq->size) * 2u, &head))
        wrong = "the available ring is not in RAM";
    else
        wrong = walk(&c, head);
    struct gh_virtq_element *e = wrong ? NULL : new_element(&c, head);
    if (!e) {
        unmap_pieces(vq, c.piece, c.pieces);
        gh_virtio_fail(vq->virtio, "queue %u: %s", vq->index, wrong ? wrong : "no memory");
        return NULL;
    }
    vq->last_avail++;
    vq->in_flight++;
    return e;
}

void gh_virtq_drop(struct gh_virtq_element *e)
{
    if (!e)
        return;
    unmap_pieces(e->vq, e->piece, e->piece_count);
    e->vq->in_flight--;
    free(e);
}

void gh_virtq_unpop(struct gh_virtq *vq, struct gh_virtq_element *e)
{
    vq->last_avail--;
    gh_virtq_drop(e);
}

void gh_virtq_push_all(struct gh_virtq *vq, struct gh_virtq_element *const *e, const uint32_t *written, unsigned count)
{
    bool good = usable(vq);
    for (unsigned i = 0; i < count; i++) {
        uint8_t entry[USED_BYTES];
        uint64_t at = vq->device + RING_START + (uint64_t)((uint16_t)(vq->used + i) % (vq->size ? vq->size : 1)) * USED_BYTES;
        gh_le32_put(entry, e[i]->head);
        gh_le32_put(entry + 4, written[i]);
        gh_virtq_drop(e[i]);                  /* dirty pages are marked before the driver hears of them */
        good = good && gh_dma_write(vq->virtio->dev, at, entry, sizeof entry);
    }
    if (!usable(vq))
        return;
    if (!good || !store16(vq, vq->device + RING_IDX, (uint16_t)(vq->used + count))) {
        gh_virtio_fail(vq->virtio, "queue %u: the used ring is not in RAM", vq->index);
        return;
    }
    vq->used = (uint16_t)(vq->used + count);
}

void gh_virtq_push(struct gh_virtq *vq, struct gh_virtq_element *e, uint32_t written)
{
    gh_virtq_push_all(vq, &e, &written, 1);
}

/* With event index: did the used position pass the one the driver named? */
static bool wants_signal(struct gh_virtq *vq)
{
    uint16_t value, old = vq->signalled;
    bool valid = vq->signalled_valid;
    vq->signalled = vq->used;
    vq->signalled_valid = true;
    if (valid && old == vq->used)
        return false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);  /* the used index is out before the wish is read */
    if (!event_index(vq))
        return load16(vq, vq->driver, &value) && !(value & AVAIL_NO_INTERRUPT);
    if (!load16(vq, vq->driver + RING_START + vq->size * 2u, &value))
        return false;
    return !valid || (uint16_t)(vq->used - value - 1) < (uint16_t)(vq->used - old);
}

void gh_virtq_signal(struct gh_virtq *vq)
{
    if (usable(vq) && wants_signal(vq))
        gh_virtio_interrupt(vq->virtio, vq->vector);
}

/* ---- Copies ------------------------------------------------------------------------------------------------- */

static size_t copy(const struct iovec *iov, unsigned count, uint64_t offset, uint8_t *flat, size_t len, bool to_iov)
{
    size_t done = 0;
    for (unsigned i = 0; i < count && done < len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t n = iov[i].iov_len - offset;
        if (n > len - done)
            n = len - done;
        uint8_t *p = (uint8_t *)iov[i].iov_base + offset;
        memcpy(to_iov ? p : flat + done, to_iov ? flat + done : p, n);
        done += n;
        offset = 0;
    }
    return done;
}

size_t gh_virtq_read(const struct gh_virtq_element *e, uint64_t offset, void *to, size_t len)
{
    return copy(e->out, e->out_count, offset, to, len, false);
}

size_t gh_virtq_write(const struct gh_virtq_element *e, uint64_t offset, const void *from, size_t len)
{
    return copy(e->in, e->in_count, offset, (uint8_t *)from, len, true);
}

bool gh_virtq_placed(const struct gh_virtq *vq)
{
    uint64_t end, slots = vq->size;
    return !(vq->desc & (DESC_BYTES - 1)) && !(vq->driver & 1) && !(vq->device & 3) &&
           gh_add_u64(vq->desc, slots * DESC_BYTES, &end) && gh_add_u64(vq->driver, RING_START + slots * 2 + 2, &end) &&
           gh_add_u64(vq->device, RING_START + slots * USED_BYTES + 2, &end);
}

void gh_virtq_reset(struct gh_virtq *vq)
{
    vq->size = vq->size_max;
    vq->enabled = false;
    vq->vector = 0xffff;
    vq->desc = vq->driver = vq->device = 0;
    vq->last_avail = vq->used = vq->signalled = 0;
    vq->signalled_valid = true;
}
