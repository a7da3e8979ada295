/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Physical region pages and the commands of the NVM command set.
 *
 *   PRP 1: address with offset | PRP 2: the second page, or a list of pages when there are more; the last
 *   entry of a list's page leads to the next list when that is not the end
 */
#include "devices/storage/nvme.h"

#include <errno.h>
#include <stdlib.h>

enum { FLUSH = 0x00, WRITE = 0x01, READ = 0x02, WRITE_ZEROES = 0x08, DATASET_MANAGEMENT = 0x09 };
enum { LIST_HOPS_MAX = NVME_PAGES_MAX, RANGE_BYTES = 16 };
#define FUA (1u << 30)
#define DEALLOCATE 4u

struct nvme_command *nvme_command_new(struct nvme *s, unsigned sq, uint16_t cid, size_t data_bytes)
{
    size_t arrays = NVME_PAGES_MAX * (sizeof(struct gh_dma) + sizeof(struct iovec));
    struct nvme_command *c = malloc(sizeof *c + arrays + data_bytes);
    if (!c)
        return NULL;
    *c = (struct nvme_command){ .s = s, .generation = s->generation, .sq = (uint16_t)sq, .cid = cid };
    c->piece = (struct gh_dma *)(c + 1);
    c->vec = (struct iovec *)(c->piece + NVME_PAGES_MAX);
    c->data = (uint8_t *)(c->vec + NVME_PAGES_MAX);
    return c;
}

/* ---- Pages ------------------------------------------------------------------------------------------- */
struct walk {
    struct nvme_command *c;
    uint64_t start, bytes;                /* a run of neighbouring pages that is not mapped yet */
    bool to_guest;
};

static uint16_t map_run(struct walk *w)
{
    struct nvme_command *c = w->c;
    struct gh_device *dev = c->s->dev;
    while (w->bytes) {
        struct gh_dma *p = &c->piece[c->pieces];
        if (c->pieces == NVME_PAGES_MAX || !dev->ops->dma_map(dev->board, w->start, w->bytes, w->to_guest, p))
            return NVME_DATA_ERROR;
        uint64_t n = p->bytes < w->bytes ? p->bytes : w->bytes;
        c->vec[c->pieces++] = (struct iovec){ p->host, n };
        if (!n)
            return NVME_DATA_ERROR;
        w->start += n;
        w->bytes -= n;
    }
    return NVME_OK;
}

static uint16_t add_page(struct walk *w, uint64_t address, uint64_t bytes)
{
    uint16_t status = NVME_OK;
    if (w->bytes && w->start + w->bytes != address)
        status = map_run(w);
    if (!w->bytes)
        w->start = address;
    w->bytes += bytes;
    return status;
}

uint16_t nvme_map(struct nvme_command *c, uint64_t prp1, uint64_t prp2, uint64_t bytes, bool to_guest)
{
    struct walk w = { .c = c, .to_guest = to_guest };
    uint64_t offset = prp1 % NVME_PAGE, n = NVME_PAGE - offset < bytes ? NVME_PAGE - offset : bytes;
    uint64_t list[NVME_PAGE / 8];
    if (prp1 & 3)
        return NVME_INVALID_PRP;
    uint16_t status = add_page(&w, prp1, n);
    bytes -= n;
    if (bytes && bytes <= NVME_PAGE) {
        if (prp2 % NVME_PAGE)
            return NVME_INVALID_PRP;
        status = status ? status : add_page(&w, prp2, bytes);
        bytes = 0;
    }
    for (unsigned hops = 0; bytes && !status; hops++) {
        uint64_t at = prp2 % NVME_PAGE / 8, have = NVME_PAGE / 8 - at, pages = (bytes + NVME_PAGE - 1) / NVME_PAGE;
        bool more = pages > have;         /* then the last entry is a link */
        uint64_t take = more ? have : pages;
        if (prp2 & 7 || hops == LIST_HOPS_MAX)
            return NVME_INVALID_PRP;
        if (!gh_dma_read(c->s->dev, prp2, list, take * 8))
            return NVME_DATA_ERROR;
        for (uint64_t i = 0; i < take - more && !status; i++) {
            uint64_t page = gh_le64_get(&list[i]);
            n = bytes < NVME_PAGE ? bytes : NVME_PAGE;
            status = page % NVME_PAGE ? NVME_INVALID_PRP : add_page(&w, page, n);
            bytes -= n;
        }
        if (more)
            prp2 = gh_le64_get(&list[take - 1]);
    }
    return status ? status : map_run(&w);
}

void nvme_unmap(struct nvme_command *c)
{
    struct gh_device *dev = c->s->dev;
    while (c->pieces)
        dev->ops->dma_unmap(dev->board, &c->piece[--c->pieces]);
}

/* Copies between the pages and data. */
static void move(struct nvme_command *c, uint8_t *data, bool to_guest)
{
    for (unsigned i = 0; i < c->pieces; i++) {
        if (to_guest)
            memcpy(c->vec[i].iov_base, data, c->vec[i].iov_len);
        else
            memcpy(data, c->vec[i].iov_base, c->vec[i].iov_len);
        data += c->vec[i].iov_len;
    }
}

uint16_t nvme_to_guest(struct nvme *s, const uint8_t *sqe, const void *data, size_t bytes)
{
    struct nvme_command *c = nvme_command_new(s, 0, 0, 0);
    if (!c)
        return NVME_INTERNAL;
    uint16_t status = nvme_map(c, gh_le64_get(sqe + 24), gh_le64_get(sqe + 32), bytes, true);
    if (!status)
        move(c, (uint8_t *)(uintptr_t)data, true);
    nvme_unmap(c);
    free(c);
    return status;
}

/* ---- Requests ----------------------------------------------------------------------------------------- */
static uint16_t status_of(enum gh_block_op op, int result)
{
    return result >= 0 ? NVME_OK : op == GH_BLOCK_READ ? NVME_READ_FAULT : NVME_WRITE_FAULT;
}

static bool next_range(struct nvme_command *c, uint16_t *status);

static void request_done(struct gh_block_request *req, int result)
{
    struct nvme_command *c = GH_CONTAINER_OF(req, struct nvme_command, req);
    struct nvme *s = c->s;
    uint16_t status = status_of(req->op, result);
    nvme_unmap(c);
    bool ours = c->generation == s->generation;
    if (ours && !status && c->range < c->ranges && next_range(c, &status)) {
        s->flying--;                      /* next_range counted the new one */
        return;
    }
    if (ours) {
        s->sq[c->sq].in_flight--;
        s->error_lba = status ? c->lba : s->error_lba;
        nvme_complete(s, c->sq, c->cid, status, 0);
        if (s->sq[c->sq].deleting)
            nvme_sq_drained(s, c->sq);
    }
    free(c);
    nvme_request_ended(s);
}

static void submit(struct nvme_command *c, enum gh_block_op op, uint64_t offset, uint64_t bytes, bool fua)
{
    struct nvme *s = c->s;
    c->req = (struct gh_block_request){ .op = op, .offset = offset, .bytes = bytes, .iov = c->vec, .iov_count = c->pieces, .fua = fua,
                                        .done = request_done };
    s->flying++;
    s->block->ops->submit(s->block, &c->req);
}

static uint16_t start(struct nvme_command *c, enum gh_block_op op, uint64_t offset, uint64_t bytes, bool fua)
{
    c->s->sq[c->sq].in_flight++;
    submit(c, op, offset, bytes, fua);
    return NVME_PENDING;
}

static uint16_t transfer(struct nvme *s, unsigned sq, const uint8_t *sqe, uint16_t cid, const struct gh_block_info *info)
{
    bool read = sqe[0] == READ;
    uint64_t lba = gh_le64_get(sqe + 40);
    uint32_t dw12 = gh_le32_get(sqe + 48), count = (dw12 & 0xffff) + 1;
    uint64_t bytes = (uint64_t)count * NVME_SECTOR;
    if (bytes > NVME_TRANSFER_MAX)
        return NVME_INVALID_FIELD;
    if (!gh_range_in(lba, count, info->bytes / NVME_SECTOR))
        return NVME_LBA_RANGE;
    if (!read && info->read_only)
        return NVME_READ_ONLY;
    struct nvme_command *c = nvme_command_new(s, sq, cid, 0);
    if (!c)
        return NVME_INTERNAL;
    uint16_t status = nvme_map(c, gh_le64_get(sqe + 24), gh_le64_get(sqe + 32), bytes, read);
    if (status) {
        nvme_unmap(c);
        free(c);
        return status;
    }
    c->lba = lba;
    if (read) {
        s->host_reads++;
        s->units_read += count;
    } else {
        s->host_writes++;
        s->units_written += count;
    }
    bool fua = !read && (dw12 & FUA || !(s->feature[FEAT_WRITE_CACHE] & 1));
    return start(c, read ? GH_BLOCK_READ : GH_BLOCK_WRITE, lba * NVME_SECTOR, bytes, fua);
}

static uint16_t write_zeroes(struct nvme *s, unsigned sq, const uint8_t *sqe, uint16_t cid, const struct gh_block_info *info)
{
    uint64_t lba = gh_le64_get(sqe + 40);
    uint32_t dw12 = gh_le32_get(sqe + 48), count = (dw12 & 0xffff) + 1;
    if (!gh_range_in(lba, count, info->bytes / NVME_SECTOR))
        return NVME_LBA_RANGE;
    if (info->read_only)
        return NVME_READ_ONLY;
    struct nvme_command *c = nvme_command_new(s, sq, cid, 0);
    if (!c)
        return NVME_INTERNAL;
    c->lba = lba;
    return start(c, GH_BLOCK_ZERO, lba * NVME_SECTOR, (uint64_t)count * NVME_SECTOR, dw12 & FUA || !(s->feature[FEAT_WRITE_CACHE] & 1));
}

/* The next range that is not empty goes to the backend; false: none is left, or one is wrong. */
static bool next_range(struct nvme_command *c, uint16_t *status)
{
    struct gh_block_info info;
    c->s->block->ops->info(c->s->block, &info);
    while (c->range < c->ranges) {
        const uint8_t *r = c->data + c->range++ * RANGE_BYTES;
        uint64_t count = gh_le32_get(r + 4), lba = gh_le64_get(r + 8);
        if (!count)
            continue;
        if (!gh_range_in(lba, count, info.bytes / NVME_SECTOR)) {
            *status = NVME_LBA_RANGE;
            return false;
        }
        submit(c, GH_BLOCK_DISCARD, lba * NVME_SECTOR, count * NVME_SECTOR, false);
        return true;
    }
    return false;
}

static uint16_t dataset_management(struct nvme *s, unsigned sq, const uint8_t *sqe, uint16_t cid, const struct gh_block_info *info)
{
    uint16_t ranges = (uint16_t)(gh_le32_get(sqe + 40) % NVME_RANGES_MAX + 1), status;
    if (!(gh_le32_get(sqe + 44) & DEALLOCATE) || !info->can_discard)
        return NVME_OK;                   /* the rest are hints */
    if (info->read_only)
        return NVME_READ_ONLY;
    struct nvme_command *c = nvme_command_new(s, sq, cid, NVME_RANGES_MAX * RANGE_BYTES);
    if (!c)
        return NVME_INTERNAL;
    status = nvme_map(c, gh_le64_get(sqe + 24), gh_le64_get(sqe + 32), (uint64_t)ranges * RANGE_BYTES, false);
    if (!status) {
        move(c, c->data, false);
        c->ranges = ranges;
    }
    nvme_unmap(c);
    if (!status && next_range(c, &status)) {
        s->sq[sq].in_flight++;
        return NVME_PENDING;
    }
    free(c);
    return status;
}

uint16_t nvme_io(struct nvme *s, unsigned sq, const uint8_t *sqe, uint16_t cid)
{
    struct gh_block_info info = { 0 };
    uint32_t nsid = gh_le32_get(sqe + 4);
    if (s->block)
        s->block->ops->info(s->block, &info);
    if (sqe[1] & 0xc3)
        return NVME_INVALID_FIELD;        /* fused, or lists in another form than PRPs */
    if (sqe[0] == FLUSH && nsid == UINT32_MAX)
        nsid = 1;
    if (nsid != 1 || !info.medium)
        return NVME_INVALID_NAMESPACE;
    switch (sqe[0]) {
    case FLUSH: {
        struct nvme_command *c = nvme_command_new(s, sq, cid, 0);
        return c ? start(c, GH_BLOCK_FLUSH, 0, 0, false) : NVME_INTERNAL;
    }
    case READ: case WRITE: return transfer(s, sq, sqe, cid, &info);
    case WRITE_ZEROES: return write_zeroes(s, sq, sqe, cid, &info);
    case DATASET_MANAGEMENT: return dataset_management(s, sq, sqe, cid, &info);
    default: return NVME_INVALID_OPCODE;
    }
}
