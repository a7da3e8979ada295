/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The packet protocol of ATA/ATAPI-7 around the commands of mmc.c. */
#include "devices/storage/ide.h"

#include <errno.h>

enum { REASON_COMMAND = 1, REASON_IN = 2 };     /* interrupt reason, in the sector count register */
enum { PACKET_BYTES = 12 };

static void identify(struct ide_drive *d)
{
    struct gh_block_info info;
    d->block->ops->info(d->block, &info);
    gh_ata_identify_packet(d->buf, &info, &(struct gh_ata_identity){ .name = d->block->name, .transfer_mode = d->transfer_mode });
}

void ide_atapi_command(struct ide_drive *d, uint8_t command)
{
    switch (command) {
    case ATA_PACKET:
        d->dma = d->feature & 1;
        d->block_bytes = (uint32_t)d->hcyl << 8 | d->lcyl;
        if (!d->block_bytes || d->block_bytes == 0xffff)
            d->block_bytes = 0xfffe;
        if (d->block_bytes > 1)
            d->block_bytes &= ~1u;
        ide_pio_out(d, JOB_PACKET, PACKET_BYTES, false);
        d->block_end = d->end;            /* the byte count limits data, not the packet */
        return;
    case ATA_IDENTIFY_PACKET:
        identify(d);
        ide_pio_in(d, JOB_DATA, 512);
        d->block_end = d->end;
        return;
    case ATA_SET_FEATURES:
        if (d->feature == 0x03)
            d->transfer_mode = d->nsector;
        if (d->feature == 0x03 || d->feature == 0x66 || d->feature == 0xcc || d->feature == 0x95 || d->feature == 0x31)
            ide_done_ok(d);
        else
            ide_done_error(d, ER_ABRT);
        return;
    case ATA_CHECK_POWER:
        d->nsector = 0xff;
        ide_done_ok(d);
        return;
    case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe6: case ATA_FLUSH_CACHE: case ATA_SECURITY_FREEZE:
        ide_done_ok(d);
        return;
    default:
        if (command == ATA_IDENTIFY || command == 0x20) { /* says what it is to who takes it for a disk */
            ide_signature(d);
            d->status = 0;
        }
        ide_done_error(d, ER_ABRT);
        return;
    }
}

void ide_atapi_block(struct ide_drive *d)
{
    if (d->job == JOB_PACKET) {
        d->nsector = (uint8_t)((d->nsector & ~7) | REASON_COMMAND);
        return;
    }
    uint32_t n = d->block_end - d->pos;
    d->nsector = (uint8_t)((d->nsector & ~7) | (d->job == JOB_PACKET_PARAMS ? 0 : REASON_IN));
    d->lcyl = (uint8_t)n;
    d->hcyl = (uint8_t)(n >> 8);
}

void ide_atapi_complete(struct ide_drive *d, bool failed)
{
    d->nsector = (uint8_t)((d->nsector & ~7) | REASON_COMMAND | REASON_IN);
    if (failed)
        ide_done_error(d, (uint8_t)(d->mmc.key << 4 | ER_ABRT));
    else
        ide_done_ok(d);
}

static void read_chunk(struct ide_drive *d)
{
    uint32_t n = d->left < IDE_BUFFER ? (uint32_t)d->left : IDE_BUFFER;
    d->job = JOB_PACKET_READ;
    ide_submit_buffer(d, GH_BLOCK_READ, d->lba * GH_MMC_SECTOR, n);
}

static void execute(struct ide_drive *d)
{
    struct gh_mmc_answer a;
    memcpy(d->cdb, d->buf, sizeof d->cdb);
    gh_trace(ide_packet, "%s %#x %#x", d->block->name, d->cdb[0], gh_be32_get(d->cdb + 2));
    switch (gh_mmc_command(&d->mmc, d->cdb, d->buf, &a)) {
    case GH_MMC_CHECK:
        ide_atapi_complete(d, true);
        return;
    case GH_MMC_GOOD:
        if (!a.bytes) {
            ide_atapi_complete(d, false);
            return;
        }
        d->pos = 0;
        d->end = (uint32_t)a.bytes;
        if (d->dma)
            ide_dma_wait(d, JOB_PACKET_DATA);
        else
            ide_pio_in(d, JOB_PACKET_DATA, (uint32_t)a.bytes);
        return;
    case GH_MMC_PARAMETERS:
        d->pos = 0;
        d->end = (uint32_t)a.bytes;
        if (d->dma)
            ide_dma_wait(d, JOB_PACKET_PARAMS);
        else
            ide_pio_out(d, JOB_PACKET_PARAMS, (uint32_t)a.bytes, true);
        return;
    case GH_MMC_READ:
        d->lba = a.offset / GH_MMC_SECTOR;
        d->left = a.bytes;
        if (d->dma)
            ide_dma_wait(d, JOB_PACKET_READ);
        else
            read_chunk(d);
        return;
    }
}

void ide_atapi_buffer_done(struct ide_drive *d)
{
    switch (d->job) {
    case JOB_PACKET:
        d->status = ST_BSY;
        execute(d);
        return;
    case JOB_PACKET_PARAMS:
        ide_atapi_complete(d, gh_mmc_parameters(&d->mmc, d->cdb, d->buf, d->end) == GH_MMC_CHECK);
        return;
    case JOB_PACKET_READ:
        if (d->left) {
            read_chunk(d);
            return;
        }
        ide_atapi_complete(d, false);
        return;
    default:
        ide_atapi_complete(d, false);
        return;
    }
}

void ide_atapi_request_done(struct ide_drive *d, int result)
{
    if (result < 0) {
        gh_mmc_failed(&d->mmc, result);
        ide_atapi_complete(d, true);
        return;
    }
    d->lba += d->chunk / GH_MMC_SECTOR;
    d->left -= d->chunk;
    ide_pio_in(d, JOB_PACKET_READ, d->chunk);
}
