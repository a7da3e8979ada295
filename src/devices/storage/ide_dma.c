/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bus master: walks the table of physical regions and lets the backend read and write guest RAM
 * directly, one chunk of at most 1 MiB at a time.
 *
 *   descriptor:  le32 address (even) | le16 bytes (0: 64 KiB) | le16 bit 15: last
 */
#include "devices/storage/ide.h"

#include <errno.h>

static void unmap_all(struct ide_channel *c)
{
    struct gh_device *dev = c->ide->dev;
    for (unsigned i = 0; i < c->pieces; i++)
        dev->ops->dma_unmap(dev->board, &c->piece[i]);
    c->pieces = 0;
}

/* Makes prd_left not zero; false: the table has ended, or is not in RAM (*bad). */
static bool next_region(struct ide_channel *c, bool *bad)
{
    uint8_t d[8];
    if (c->prd_left)
        return true;
    if (c->prd_last)
        return false;
    if (!gh_dma_read(c->ide->dev, c->prd_next, d, sizeof d)) {
        *bad = true;
        return false;
    }
    c->prd_next = (c->prd_next & ~0xffffu) | ((c->prd_next + 8) & 0xffff);  /* never leaves its 64 KiB */
    c->prd_address = gh_le32_get(d) & ~1u;
    c->prd_left = gh_le16_get(d + 4) & ~1u;
    if (!c->prd_left)
        c->prd_left = 0x10000;
    c->prd_last = d[7] >> 7;
    return true;
}

/* Maps guest RAM for up to want bytes; returns a multiple of 512 (unit). */
static uint32_t map_chunk(struct ide_channel *c, uint32_t want, uint32_t unit, bool to_guest, bool *bad)
{
    struct gh_device *dev = c->ide->dev;
    uint32_t total = 0;
    c->pieces = 0;
    while (total < want && c->pieces < IDE_DMA_PIECES && next_region(c, bad)) {
        uint32_t n = c->prd_left < want - total ? c->prd_left : want - total;
        struct gh_dma *p = &c->piece[c->pieces];
        if (!dev->ops->dma_map(dev->board, c->prd_address, n, to_guest, p) || !p->bytes) {
            *bad = true;
            break;
        }
        if (p->bytes < n)
            n = (uint32_t)p->bytes;
        c->vec[c->pieces++] = (struct iovec){ p->host, n };
        total += n;
        c->prd_address += n;
        c->prd_left -= n;
    }
    /* A backend request is whole sectors: the odd rest goes back onto the region. Regions are at
     * least 2 bytes, so a full set of pieces may hold less than a sector: such a table is refused. */
    uint32_t rest = total % unit;
    while (rest && c->pieces) {
        struct iovec *last = &c->vec[c->pieces - 1];
        if (last->iov_len > rest) {
            last->iov_len -= rest;
            total -= rest;
            c->prd_address -= rest;
            c->prd_left += rest;
            rest = 0;
        } else {
            *bad = true;
            break;
        }
    }
    return *bad ? 0 : total;
}

static void finish(struct ide_drive *d)
{
    struct ide_channel *c = d->channel;
    if (!c->prd_left && c->prd_last)
        c->bm_status &= (uint8_t)~BM_ACTIVE;
    if (d->atapi)
        ide_atapi_complete(d, false);
    else
        ide_done_ok(d);
}

static void fail(struct ide_drive *d)
{
    struct ide_channel *c = d->channel;
    gh_guest_error(c->ide->dev, "bus master table of channel %u leads outside RAM", c->number);
    c->bm_status = (uint8_t)((c->bm_status & ~BM_ACTIVE) | BM_ERROR);
    if (d->atapi) {
        gh_mmc_failed(&d->mmc, -EIO);
        ide_atapi_complete(d, true);
    } else {
        ide_done_error(d, ER_ABRT);
    }
}

/* Data that sits in buf, to or from the guest. */
static void move_buffer(struct ide_drive *d)
{
    struct ide_channel *c = d->channel;
    bool bad = false, to_guest = d->job == JOB_PACKET_DATA || d->job == JOB_DATA;
    while (d->pos < d->end && next_region(c, &bad)) {
        uint32_t n = c->prd_left < d->end - d->pos ? c->prd_left : d->end - d->pos;
        bool ok = to_guest ? gh_dma_write(c->ide->dev, c->prd_address, d->buf + d->pos, n)
                           : gh_dma_read(c->ide->dev, c->prd_address, d->buf + d->pos, n);
        if (!ok) {
            bad = true;
            break;
        }
        c->prd_address += n;
        c->prd_left -= n;
        d->pos += n;
    }
    if (bad) {
        fail(d);
    } else if (d->pos < d->end) {
        c->bm_status &= (uint8_t)~BM_ACTIVE;       /* table too short: the drive goes on waiting */
    } else if (d->job == JOB_TRIM) {
        c->bm_status &= (uint8_t)~BM_ACTIVE;
        ide_ata_dma_data(d);
    } else if (d->job == JOB_PACKET_PARAMS) {
        c->bm_status &= (uint8_t)~BM_ACTIVE;
        ide_atapi_buffer_done(d);
    } else {
        finish(d);
    }
}

void ide_dma_wait(struct ide_drive *d, enum ide_job job)
{
    d->phase = IDE_DMA_WAIT;
    d->job = (uint8_t)job;
    d->dma = 1;
    d->status = ST_DRDY | ST_DSC | ST_DRQ;
    ide_dma_run(d->channel);
}

void ide_dma_run(struct ide_channel *c)
{
    struct ide_drive *d = ide_selected(c);
    bool bad = false;
    if (!(c->bm_status & BM_ACTIVE) || !(c->bm_command & BM_START) || !ide_present(d) || d->phase != IDE_DMA_WAIT)
        return;
    if (!gh_pci_bus_master(&c->ide->pci)) {
        fail(d);
        return;
    }
    if (d->job != JOB_READ && d->job != JOB_WRITE && d->job != JOB_PACKET_READ) {
        move_buffer(d);
        return;
    }
    uint32_t unit = d->atapi ? GH_MMC_SECTOR : 512;
    uint32_t want = d->left < IDE_DMA_CHUNK ? (uint32_t)d->left : IDE_DMA_CHUNK;
    uint32_t n = map_chunk(c, want, unit, d->job != JOB_WRITE, &bad);
    if (bad) {
        unmap_all(c);
        fail(d);
        return;
    }
    if (!n) {
        c->bm_status &= (uint8_t)~BM_ACTIVE;       /* table too short */
        unmap_all(c);
        return;
    }
    ide_submit(d, d->job == JOB_WRITE ? GH_BLOCK_WRITE : GH_BLOCK_READ, d->lba * unit, n, c->vec, c->pieces);
}

void ide_dma_chunk_done(struct ide_drive *d, int result)
{
    unmap_all(d->channel);
    if (result < 0) {
        d->channel->bm_status &= (uint8_t)~BM_ACTIVE;
        if (d->atapi) {
            gh_mmc_failed(&d->mmc, result);
            ide_atapi_complete(d, true);
        } else {
            ide_done_error(d, d->job == JOB_READ ? ER_UNC : ER_ABRT);
        }
        return;
    }
    d->lba += d->chunk / (d->atapi ? GH_MMC_SECTOR : 512);
    d->left -= d->chunk;
    if (!d->left) {
        finish(d);
        return;
    }
    ide_dma_wait(d, d->job);
}

void ide_dma_reset(struct ide_channel *c)
{
    unmap_all(c);
    c->bm_status &= (uint8_t)~BM_ACTIVE;
}

uint8_t ide_bm_read(struct ide_channel *c, unsigned reg)
{
    switch (reg) {
    case 0: return c->bm_command;
    case 2: return c->bm_status;
    case 4: case 5: case 6: case 7: return (uint8_t)(c->bm_table >> ((reg - 4) * 8));
    default: return 0xff;
    }
}

void ide_bm_write(struct ide_channel *c, unsigned reg, uint8_t v)
{
    switch (reg) {
    case 0: {
        bool start = v & BM_START && !(c->bm_command & BM_START);
        c->bm_command = v & (BM_START | BM_READ);
        if (!(v & BM_START)) {
            c->bm_status &= (uint8_t)~BM_ACTIVE;
        } else if (start) {
            c->bm_status |= BM_ACTIVE;
            c->prd_next = c->bm_table;
            c->prd_left = c->prd_last = 0;
            ide_dma_run(c);
        }
        break;
    }
    case 2:
        c->bm_status = (uint8_t)((v & 0x60) | (c->bm_status & BM_ACTIVE) |
                                 (c->bm_status & ~v & (BM_ERROR | BM_IRQ)));
        break;
    case 4: case 5: case 6: case 7: {
        unsigned shift = (reg - 4) * 8;
        c->bm_table = ((c->bm_table & ~(0xffu << shift)) | (uint32_t)v << shift) & ~3u;
        break;
    }
    default: break;
    }
}
