/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Media and data of the floppy controller.
 *
 * A read takes the rest of the track (up to the command's last sector) from the backend in one
 * request, then hands it to DMA or to the host's port; a write collects the same piece first. With
 * multi-track the second head follows. Terminal count ends a command; without it the last sector does,
 * which is an error for DMA (too long a count) and the normal end for the host's port, where no pin
 * could tell.
 */
#include <errno.h>

#include "devices/storage/fdc_internal.h"

enum { CMD_READ_TRACK = 0x02, CMD_WRITE = 0x05, CMD_WRITE_DELETED = 0x09, CMD_FORMAT = 0x0d, CMD_VERIFY = 0x16,
       CMD_CODE = 0x1f, CMD_MULTI_TRACK = 0x80, SPECIFY_NON_DMA = 0x01, CONFIG_IMPLIED_SEEK = 0x40 };
enum { RATE_500K = 1, RATE_300K = 2, RATE_250K = 4, RATE_1M = 8 }; /* bit n: rate selection n */
enum { DMA_RETRY_NS = 1000000, DMA_TRIES = 500, ID_BYTES = 4 };

/* ---- Media --------------------------------------------------------------------------------------------- */

/* 360 KB disks turn faster in a 1.2 MB drive, so two rates read them. */
static const struct fdc_geometry geometries[] = {
    {163840, 40, 1, 8, RATE_250K | RATE_300K}, {184320, 40, 1, 9, RATE_250K | RATE_300K},
    {327680, 40, 2, 8, RATE_250K | RATE_300K}, {368640, 40, 2, 9, RATE_250K | RATE_300K},
    {737280, 80, 2, 9, RATE_250K},             {1228800, 80, 2, 15, RATE_500K},
    {1474560, 80, 2, 18, RATE_500K},           {1720320, 80, 2, 21, RATE_500K},
    {2949120, 80, 2, 36, RATE_1M},
};

const struct fdc_geometry *fdc_medium(const struct fdc *f, unsigned unit, bool *ret_read_only)
{
    struct gh_block_info info = {0};

    *ret_read_only = false;
    if (unit >= FDC_DRIVES || !f->drive[unit].block)
        return NULL;
    struct gh_block *block = f->drive[unit].block;
    block->ops->info(block, &info);
    *ret_read_only = info.read_only;
    for (unsigned i = 0; info.medium && info.bytes && i < GH_ARRAY_LEN(geometries); i++)
        if (info.bytes <= geometries[i].bytes)
            return &geometries[i];
    return NULL;
}

/* ---- One piece of a transfer --------------------------------------------------------------------------- */

static const struct fdc_geometry *geometry(const struct fdc *f)
{
    bool read_only;
    return fdc_medium(f, f->unit, &read_only);
}

static void fail(struct fdc *f, uint8_t st1, uint8_t st2)
{
    fdc_finish(f, ST0_ABNORMAL, st1, st2);
}

static bool non_dma(const struct fdc *f)
{
    return (f->specify[1] & SPECIFY_NON_DMA) || !f->dma;
}

/* Sectors from the present one to the end of the track or the command; 0: it is not on the track. */
static unsigned piece_sectors(const struct fdc *f, const struct fdc_geometry *g)
{
    unsigned last = f->last_sector < g->sectors ? f->last_sector : g->sectors;

    if (!f->sector || f->sector > g->sectors || f->head >= g->heads)
        return 0;
    return f->sector > last ? 1 : last - f->sector + 1u;
}

static void hand_to_host(struct fdc *f);
static void collect(struct fdc *f);

static void block_done(struct gh_block_request *req, int result);

static void submit(struct fdc *f, enum gh_block_op op, const struct fdc_geometry *g, uint32_t bytes)
{
    const struct fdc_drive *d = &f->drive[f->unit];
    uint64_t sector = ((uint64_t)d->cylinder * g->heads + f->head) * g->sectors + f->sector - 1;

    f->data_len = bytes;
    f->iov = (struct iovec){.iov_base = f->data, .iov_len = bytes};
    f->request = (struct gh_block_request){
        .op = op, .offset = sector * FDC_SECTOR_BYTES, .bytes = bytes, .iov = &f->iov, .iov_count = 1,
        .done = block_done, .opaque = f};
    f->wait = FDC_WAIT_BLOCK;
    f->in_flight = true;
    d->block->ops->submit(d->block, &f->request);
}

/* Begins the next piece: reads fetch it, writes and formats collect it. */
static void begin_piece(struct fdc *f)
{
    const struct fdc_geometry *g = geometry(f);
    unsigned sectors = g ? piece_sectors(f, g) : 0;

    if (f->in_flight) {                   /* an abandoned request still uses the buffer */
        f->start_later = true;
        return;
    }
    f->data_pos = 0;
    if (!sectors) {
        fail(f, g ? ST1_NO_DATA : ST1_MISSING_MARK, 0);
    } else if (f->kind == FDC_READ) {
        submit(f, GH_BLOCK_READ, g, sectors * FDC_SECTOR_BYTES);
    } else {
        f->data_len = f->kind == FDC_WRITE ? sectors * FDC_SECTOR_BYTES : f->last_sector * ID_BYTES;
        collect(f);
    }
}

/* Moves the position behind what was transferred; false: the command's last sector was among it. */
static bool advance(struct fdc *f, unsigned sectors)
{
    if (f->sector + sectors <= f->last_sector) {
        f->sector = (uint8_t)(f->sector + sectors);
        return true;
    }
    f->sector = 1;
    if (!f->multi_track) {
        f->fifo[2]++;                     /* the result names the next cylinder */
        return false;
    }
    f->head ^= 1;
    f->fifo[2] = (uint8_t)(f->fifo[2] + !f->head);
    return f->head;
}

/* The piece is through. */
static void piece_done(struct fdc *f)
{
    unsigned sectors = (f->data_pos + FDC_SECTOR_BYTES - 1) / FDC_SECTOR_BYTES;
    bool more = advance(f, sectors);

    if (f->terminal_count || (!more && (non_dma(f) || f->verify)))
        fdc_finish(f, 0, 0, 0);
    else if (!more)
        fail(f, ST1_END, 0);
    else
        begin_piece(f);
}

static void wait_for_dma(struct fdc *f)
{
    f->wait = FDC_WAIT_DMA;
    if (f->dma_tries++ < DMA_TRIES)
        gh_timer_arm(&f->dma_timer, gh_now_ns(f->dev) + DMA_RETRY_NS);
    else
        fail(f, ST1_OVERRUN, 0);
}

/* Moves what DMA takes; false: the channel is not ready yet. */
static bool run_dma(struct fdc *f)
{
    bool to_memory = f->kind == FDC_READ;

    if (!gh_isa_dma_ready(f->dma, f->dma_channel, to_memory)) {
        wait_for_dma(f);
        return false;
    }
    gh_isa_dma_request(f->dma, f->dma_channel, true);
    f->data_pos += (uint32_t)gh_isa_dma_transfer(f->dma, f->dma_channel, to_memory, f->data + f->data_pos,
                                                 f->data_len - f->data_pos, &f->terminal_count);
    gh_isa_dma_request(f->dma, f->dma_channel, false);
    return true;
}

static void hand_to_host(struct fdc *f)
{
    if (f->verify) {
        f->data_pos = f->data_len;
        piece_done(f);
    } else if (non_dma(f)) {
        f->wait = FDC_WAIT_HOST;
        fdc_set_interrupt(f, true);
    } else if (run_dma(f)) {
        piece_done(f);
    }
}

static void write_out(struct fdc *f)
{
    const struct fdc_geometry *g = geometry(f);

    if (!g) {                             /* taken out meanwhile */
        fail(f, ST1_MISSING_MARK, 0);
    } else if (f->kind == FDC_FORMAT) {
        f->sector = 1;
        memset(f->data, f->filler, FDC_DATA_BYTES);
        submit(f, GH_BLOCK_WRITE, g, g->sectors * FDC_SECTOR_BYTES);
    } else {
        /* A sector that ends early is filled with zeros. */
        uint32_t bytes = (f->data_pos + FDC_SECTOR_BYTES - 1) / FDC_SECTOR_BYTES * FDC_SECTOR_BYTES;
        memset(f->data + f->data_pos, 0, bytes - f->data_pos);
        if (bytes)
            submit(f, GH_BLOCK_WRITE, g, bytes);
        else
            piece_done(f);
    }
}

static void collect(struct fdc *f)
{
    if (non_dma(f)) {
        f->wait = FDC_WAIT_HOST;
        fdc_set_interrupt(f, true);
    } else if (run_dma(f)) {
        write_out(f);
    }
}

static void block_done(struct gh_block_request *req, int result)
{
    struct fdc *f = req->opaque;

    f->in_flight = false;
    if (f->abandoned) {
        f->abandoned = false;
        if (f->start_later) {
            f->start_later = false;
            begin_piece(f);
        }
    } else if (result < 0) {
        gh_trace(fdc_error, "%d", result);
        fail(f, result == -EROFS ? ST1_WRITE_PROTECTED : ST1_DATA_ERROR, 0);
    } else if (f->kind == FDC_READ) {
        hand_to_host(f);
    } else if (f->kind == FDC_FORMAT) {
        fdc_finish(f, 0, 0, 0);
    } else {
        piece_done(f);
    }
    if (f->quiet && !f->in_flight) {
        struct gh_done *done = f->quiet;
        f->quiet = NULL;
        done->fn(done);
    }
}

void fdc_dma_timer(struct gh_device *dev, struct gh_timer *timer)
{
    struct fdc *f = dev->state;

    if (f->phase != FDC_EXECUTE || f->wait != FDC_WAIT_DMA)
        return;
    if (f->kind == FDC_READ)
        hand_to_host(f);
    else
        collect(f);
}

/* ---- Non-DMA ------------------------------------------------------------------------------------------- */

uint8_t fdc_host_read(struct fdc *f)
{
    uint8_t byte = 0;

    if (f->data_pos < f->data_len)
        byte = f->data[f->data_pos++];
    if (f->data_pos >= f->data_len) {
        fdc_set_interrupt(f, false);
        piece_done(f);
    }
    return byte;
}

void fdc_host_write(struct fdc *f, uint8_t byte)
{
    if (f->data_pos < f->data_len)
        f->data[f->data_pos++] = byte;
    if (f->data_pos >= f->data_len) {
        fdc_set_interrupt(f, false);
        write_out(f);
    }
}

/* ---- Start --------------------------------------------------------------------------------------------- */

void fdc_transfer_abandon(struct fdc *f)
{
    f->abandoned = f->in_flight;
    f->start_later = false;
    f->wait = FDC_WAIT_NOTHING;
    gh_timer_disarm(&f->dma_timer);
}

void fdc_transfer_start(struct fdc *f)
{
    uint8_t code = f->fifo[0] & CMD_CODE;
    bool read_only;

    f->phase = FDC_EXECUTE;
    f->unit = f->fifo[1] & 3;
    f->head = f->fifo[1] >> 2 & 1;
    f->kind = code == CMD_FORMAT ? FDC_FORMAT : code == CMD_WRITE || code == CMD_WRITE_DELETED ? FDC_WRITE : FDC_READ;
    f->verify = code == CMD_VERIFY;
    f->terminal_count = false;
    f->dma_tries = 0;
    f->multi_track = f->fifo[0] & CMD_MULTI_TRACK && code != CMD_READ_TRACK && code != CMD_FORMAT;
    const struct fdc_geometry *g = fdc_medium(f, f->unit, &read_only);
    if (f->kind == FDC_FORMAT) {
        f->sector_code = f->fifo[2];
        f->sector = 1;
        f->last_sector = f->fifo[3];
        f->filler = f->fifo[5];
        f->fifo[2] = g ? f->drive[f->unit].cylinder : 0;
    } else {
        f->sector_code = f->fifo[5];
        f->sector = code == CMD_READ_TRACK ? 1 : f->fifo[4];
        f->last_sector = f->fifo[6];
        if (g && (f->config & CONFIG_IMPLIED_SEEK) && f->fifo[2] < g->cylinders)
            f->drive[f->unit].cylinder = f->fifo[2];
    }
    if (!g || !(g->rates >> f->rate & 1))
        fail(f, ST1_MISSING_MARK, 0);
    else if (f->kind != FDC_READ && read_only)
        fail(f, ST1_WRITE_PROTECTED, 0);
    else if (f->sector_code != 2 || f->drive[f->unit].cylinder >= g->cylinders)
        fail(f, ST1_NO_DATA, 0);
    else if (f->fifo[2] != f->drive[f->unit].cylinder)
        fail(f, ST1_NO_DATA, ST2_WRONG_CYLINDER);
    else if (f->kind == FDC_FORMAT && (!f->last_sector || f->last_sector > g->sectors))
        fail(f, ST1_NO_DATA, 0);
    else
        begin_piece(f);
}
