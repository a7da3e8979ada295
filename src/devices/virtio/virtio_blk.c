/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Block device (Virtual I/O Device specification, "Block Device"): several queues, flush, discard and
 * write zeroes, resize. Left out on purpose: zoned devices, lifetime, secure erase.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/backend.h"
#include "devices/classes.h"
#include "devices/virtio/virtio.h"

enum { QUEUE_SIZE = 256, QUEUES_MAX = 8, SECTOR = 512, HEADER_BYTES = 16, SEGMENT_BYTES = 16, ID_BYTES = 20 };
enum { F_SEG_MAX = 2, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_TOPOLOGY = 10, F_MQ = 12, F_DISCARD = 13, F_WRITE_ZEROES = 14 };
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum { ZEROES_UNMAP = 1, RANGE_SECTORS_MAX = 1 << 21 };
/* Offsets in the device configuration. */
enum { CFG_CAPACITY = 0, CFG_SEG_MAX = 12, CFG_BLK_SIZE = 20, CFG_PHYSICAL_EXP = 24, CFG_NUM_QUEUES = 34,
       CFG_DISCARD_MAX = 36, CFG_DISCARD_SEGS = 40, CFG_DISCARD_ALIGN = 44, CFG_ZEROES_MAX = 48, CFG_ZEROES_SEGS = 52,
       CFG_ZEROES_UNMAP = 56, CFG_BYTES = 60 };

struct virtio_blk {
    struct gh_virtio v;
    struct gh_block *block;
    uint8_t queues;
    char serial[ID_BYTES + 1];                /* empty: the backend's */
    unsigned in_flight;
    struct gh_done *quiesced;                 /* waits for in_flight to become 0 */
};

/* One request at the backend; iov is the chain's data without header and status byte. */
struct request {
    struct gh_block_request req;
    struct virtio_blk *s;
    struct gh_virtq_element *e;
    struct iovec iov[];
};

static const struct gh_option options[] = {
    GH_VIRTIO_OPT_ADDR(struct virtio_blk, v),
    GH_OPT(GH_T_BLOCK, struct virtio_blk, block, "drive", 0, 0, NULL, "Disk image"),
    GH_OPT(GH_T_U8, struct virtio_blk, queues, "queues", 1, QUEUES_MAX, "1", "Request queues; best one for each virtual CPU"),
    GH_OPT(GH_T_STRING, struct virtio_blk, serial, "serial", 0, 0, "", "Serial number; empty: the image's own"),
    { 0 },
};
static const struct gh_field fields[] = { GH_VIRTIO_FIELD(struct virtio_blk, v, 1), { 0 } };

/* ---- Configuration ----------------------------------------------------------------------------------- */

static void get_info(const struct virtio_blk *s, struct gh_block_info *ret)
{
    *ret = (struct gh_block_info){ 0 };
    if (s->block)
        s->block->ops->info(s->block, ret);
}

static void fill_config(struct virtio_blk *s)
{
    struct gh_block_info info;
    uint8_t *c = s->v.config, exponent = 0;
    get_info(s, &info);
    uint32_t logical = info.logical_sector >= SECTOR ? info.logical_sector : SECTOR;
    while ((logical << (exponent + 1)) <= info.physical_sector && exponent < 8)
        exponent++;
    gh_le64_put(c + CFG_CAPACITY, info.bytes / SECTOR);
    gh_le32_put(c + CFG_SEG_MAX, QUEUE_SIZE - 2);
    gh_le32_put(c + CFG_BLK_SIZE, logical);
    c[CFG_PHYSICAL_EXP] = exponent;
    gh_le16_put(c + CFG_NUM_QUEUES, s->queues);
    gh_le32_put(c + CFG_DISCARD_MAX, RANGE_SECTORS_MAX);
    gh_le32_put(c + CFG_DISCARD_SEGS, 1);
    gh_le32_put(c + CFG_DISCARD_ALIGN, logical / SECTOR);
    gh_le32_put(c + CFG_ZEROES_MAX, RANGE_SECTORS_MAX);
    gh_le32_put(c + CFG_ZEROES_SEGS, 1);
    c[CFG_ZEROES_UNMAP] = info.can_discard;
}

static void blk_medium_event(void *opaque, bool eject_request)
{
    struct virtio_blk *s = opaque;
    fill_config(s);
    gh_virtio_config_changed(&s->v);
}

/* ---- Completion ------------------------------------------------------------------------------------------ */

/* The status byte is the last one that the device writes. */
static void finish(struct gh_virtq_element *e, uint8_t status, uint64_t written)
{
    struct gh_virtq *vq = e->vq;
    gh_virtq_write(e, e->in_bytes - 1, &status, 1);
    gh_virtq_push(vq, e, (uint32_t)(written + 1));
    gh_virtq_signal(vq);
}

static void one_less(struct virtio_blk *s)
{
    if (--s->in_flight)
        return;
    gh_virtio_stopped(&s->v);
    struct gh_done *done = s->quiesced;
    s->quiesced = NULL;
    if (done)
        done->fn(done);
}

static void request_done(struct gh_block_request *req, int result)
{
    struct request *r = GH_CONTAINER_OF(req, struct request, req);
    struct virtio_blk *s = r->s;
    if (s->v.stopping)
        gh_virtq_drop(r->e);                  /* the driver has reset: nobody waits for it */
    else
        finish(r->e, result < 0 ? S_IOERR : S_OK, req->op == GH_BLOCK_READ && result >= 0 ? req->bytes : 0);
    free(r);
    one_less(s);
}

/* ---- Requests ------------------------------------------------------------------------------------------------- */

/* The parts of iov between skip and skip + bytes. Returns how many. */
static unsigned cut(struct iovec *to, const struct iovec *iov, unsigned count, uint64_t skip, uint64_t bytes)
{
    unsigned n = 0;
    for (unsigned i = 0; i < count && bytes; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t len = iov[i].iov_len - skip;
        if (len > bytes)
            len = bytes;
        to[n++] = (struct iovec){ .iov_base = (uint8_t *)iov[i].iov_base + skip, .iov_len = len };
        bytes -= len;
        skip = 0;
    }
    return n;
}

static uint8_t submit(struct virtio_blk *s, struct gh_virtq_element *e, enum gh_block_op op, uint64_t offset, uint64_t bytes)
{
    bool read = op == GH_BLOCK_READ, data = read || op == GH_BLOCK_WRITE;
    unsigned pieces = !data ? 0 : read ? e->in_count : e->out_count;
    struct request *r = malloc(sizeof *r + pieces * sizeof *r->iov);
    if (!r)
        return S_IOERR;
    r->req = (struct gh_block_request){ .op = op, .offset = offset, .bytes = bytes, .iov = r->iov, .done = request_done };
    r->s = s;
    r->e = e;
    if (read)
        r->req.iov_count = cut(r->iov, e->in, e->in_count, 0, bytes);
    else if (data)
        r->req.iov_count = cut(r->iov, e->out, e->out_count, HEADER_BYTES, bytes);
    /* A driver that cannot flush must find every write on the medium. */
    r->req.fua = op == GH_BLOCK_WRITE && !gh_virtio_has(&s->v, F_FLUSH);
    s->in_flight++;
    s->block->ops->submit(s->block, &r->req);
    return S_OK;
}

static bool in_medium(const struct gh_block_info *info, uint64_t sector, uint64_t bytes)
{
    return sector <= info->bytes / SECTOR && gh_range_in(sector * SECTOR, bytes, info->bytes);
}

static uint8_t transfer(struct virtio_blk *s, struct gh_virtq_element *e, const struct gh_block_info *info,
                        enum gh_block_op op, uint64_t sector)
{
    uint64_t bytes = op == GH_BLOCK_READ ? e->in_bytes - 1 : e->out_bytes - HEADER_BYTES;
    uint32_t logical = info->logical_sector >= SECTOR ? info->logical_sector : SECTOR;
    if (!bytes || bytes % logical || sector * SECTOR % logical || !in_medium(info, sector, bytes) ||
        (op == GH_BLOCK_WRITE && info->read_only))
        return S_IOERR;
    return submit(s, e, op, sector * SECTOR, bytes);
}

static uint8_t clear_range(struct virtio_blk *s, struct gh_virtq_element *e, const struct gh_block_info *info, uint32_t type)
{
    uint8_t segment[SEGMENT_BYTES];
    bool discard = type == T_DISCARD;
    if (!gh_virtio_has(&s->v, discard ? F_DISCARD : F_WRITE_ZEROES))
        return S_UNSUPP;
    if (e->out_bytes != HEADER_BYTES + SEGMENT_BYTES || gh_virtq_read(e, HEADER_BYTES, segment, sizeof segment) != sizeof segment)
        return S_IOERR;
    uint64_t sector = gh_le64_get(segment);
    uint32_t sectors = gh_le32_get(segment + 8), flags = gh_le32_get(segment + 12);
    if (flags & ~(discard ? 0u : (uint32_t)ZEROES_UNMAP))
        return S_UNSUPP;
    if (!sectors || sectors > RANGE_SECTORS_MAX || !in_medium(info, sector, (uint64_t)sectors * SECTOR) || info->read_only)
        return S_IOERR;
    return submit(s, e, discard ? GH_BLOCK_DISCARD : GH_BLOCK_ZERO, sector * SECTOR, (uint64_t)sectors * SECTOR);
}

static void get_id(struct virtio_blk *s, struct gh_virtq_element *e, const struct gh_block_info *info)
{
    char id[ID_BYTES + 1] = { 0 };
    const char *from = *s->serial ? s->serial : info->serial;
    memcpy(id, from, strnlen(from, ID_BYTES));
    size_t room = e->in_bytes - 1 < ID_BYTES ? e->in_bytes - 1 : ID_BYTES;
    finish(e, S_OK, gh_virtq_write(e, 0, id, room));
}

static void one_request(struct virtio_blk *s, struct gh_virtq_element *e)
{
    uint8_t header[HEADER_BYTES], status;
    struct gh_block_info info;
    struct gh_virtq *vq = e->vq;
    if (!e->in_bytes || gh_virtq_read(e, 0, header, sizeof header) != sizeof header) {
        gh_virtq_drop(e);
        gh_virtio_fail(&s->v, "queue %u: a request has no header or no status byte", vq->index);
        return;
    }
    uint32_t type = gh_le32_get(header);
    uint64_t sector = gh_le64_get(header + 8);
    get_info(s, &info);
    if (!s->block) {
        status = S_IOERR;
    } else {
        switch (type) {
        case T_IN: status = transfer(s, e, &info, GH_BLOCK_READ, sector); break;
        case T_OUT: status = transfer(s, e, &info, GH_BLOCK_WRITE, sector); break;
        case T_FLUSH: status = submit(s, e, GH_BLOCK_FLUSH, 0, 0); break;
        case T_DISCARD: case T_WRITE_ZEROES: status = clear_range(s, e, &info, type); break;
        case T_GET_ID: get_id(s, e, &info); return;
        default: status = S_UNSUPP; break;
        }
    }
    if (status != S_OK)
        finish(e, status, 0);                 /* otherwise the backend has it */
}

static void blk_kick(struct gh_virtio *v, struct gh_virtq *vq)
{
    struct virtio_blk *s = v->dev->state;
    unsigned budget = vq->size;
    struct gh_virtq_element *e;
    while (budget-- && vq->in_flight < vq->size && (e = gh_virtq_pop(vq)))
        one_request(s, e);
    if (budget + 1 == 0 && gh_virtq_pending(vq))
        gh_virtio_again(v);
}

/* ---- Life ---------------------------------------------------------------------------------------------------------- */

static bool blk_stop(struct gh_virtio *v)
{
    struct virtio_blk *s = v->dev->state;
    if (!s->in_flight)
        return true;
    s->block->ops->cancel_all(s->block);
    return s->in_flight == 0;
}

static const struct gh_virtio_type blk_type = {
    .id = GH_VIRTIO_BLK, .class_code = 0x010000, .config_bytes = CFG_BYTES, .kick = blk_kick, .stop = blk_stop, .doorbells = true,
    .features = 1ull << F_SEG_MAX | 1ull << F_BLK_SIZE | 1ull << F_FLUSH | 1ull << F_TOPOLOGY | 1ull << F_MQ,
};

static int blk_attach(struct gh_device *dev, struct gh_error *err)
{
    struct virtio_blk *s = dev->state;
    struct gh_block_info info;
    get_info(s, &info);
    uint64_t extra = info.read_only ? 1ull << F_RO : 1ull << F_WRITE_ZEROES | (info.can_discard ? 1ull << F_DISCARD : 0);
    fill_config(s);
    if (s->block) {
        s->block->medium_event = blk_medium_event;
        s->block->event_opaque = s;
    }
    return gh_virtio_attach(dev, &s->v, &blk_type, s->queues, QUEUE_SIZE, extra, err);
}

static void blk_reset(struct gh_device *dev, enum gh_reset why) { gh_virtio_reset(dev->state); }

static int blk_loaded(struct gh_device *dev, struct gh_error *err)
{
    fill_config(dev->state);                  /* the medium decides, not the saved state */
    return gh_virtio_loaded(dev->state, err);
}

static void blk_quiesce(struct gh_device *dev, struct gh_done *done)
{
    struct virtio_blk *s = dev->state;
    if (s->in_flight)
        s->quiesced = done;
    else
        done->fn(done);
}

static void blk_detach(struct gh_device *dev)
{
    struct virtio_blk *s = dev->state;
    if (s->block)
        s->block->medium_event = NULL;
    gh_virtio_detach(&s->v);
}

const struct gh_device_class gh_class_virtio_blk = {
    .name = "virtio-blk", .summary = "Disk (virtio)", .state_size = sizeof(struct virtio_blk), .version = 1,
    .options = options, .saved = fields, .attach = blk_attach, .reset = blk_reset, .loaded = blk_loaded,
    .quiesce = blk_quiesce, .detach = blk_detach,
};
