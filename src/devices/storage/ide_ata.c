/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Disk commands, ATA/ATAPI-7 and the TRIM of ACS-2. Taken for granted: the medium never changes. */
#include "devices/storage/ide.h"

#include <errno.h>

enum { TRIM_MAX_BLOCKS = IDE_BUFFER / 512 };

static uint64_t total_sectors(struct ide_drive *d)
{
    struct gh_block_info info;
    d->block->ops->info(d->block, &info);
    return info.bytes / 512;
}

static void identify(struct ide_drive *d)
{
    struct gh_block_info info;
    d->block->ops->info(d->block, &info);
    gh_ata_identify(d->buf, &info, &(struct gh_ata_identity){ .name = d->block->name, .heads = d->heads, .sectors = d->sectors,
                    .multiple = d->multiple, .transfer_mode = d->transfer_mode, .write_cache = d->write_cache,
                    .smart = d->smart, .trim_blocks = TRIM_MAX_BLOCKS });
}

/* Address and count of the command; false: outside the disk. */
static bool address(struct ide_drive *d, bool ext, uint64_t *lba, uint32_t *count)
{
    if (ext) {
        *lba = (uint64_t)d->hob_hcyl << 40 | (uint64_t)d->hob_lcyl << 32 | (uint64_t)d->hob_sector << 24 |
               (uint64_t)d->hcyl << 16 | (uint64_t)d->lcyl << 8 | d->sector;
        *count = (uint32_t)d->hob_nsector << 8 | d->nsector;
        *count = *count ? *count : 65536;
    } else {
        *count = d->nsector ? d->nsector : 256;
        if (d->select & DEV_LBA) {
            *lba = (uint64_t)(d->select & 0x0f) << 24 | (uint64_t)d->hcyl << 16 | (uint64_t)d->lcyl << 8 | d->sector;
        } else {
            uint32_t cylinder = (uint32_t)d->hcyl << 8 | d->lcyl, head = d->select & 0x0f;
            if (!d->sector || d->sector > d->sectors || head >= d->heads)
                return false;
            *lba = ((uint64_t)cylinder * d->heads + head) * d->sectors + d->sector - 1;
        }
    }
    return gh_range_in(*lba, *count, total_sectors(d));
}

static void read_chunk(struct ide_drive *d)
{
    uint32_t n = d->left < IDE_BUFFER ? (uint32_t)d->left : IDE_BUFFER;
    d->job = JOB_READ;
    ide_submit_buffer(d, GH_BLOCK_READ, d->lba * 512, n);
}

enum { WRITE = 1, DMA = 2, MULTIPLE = 4, EXT = 8, FUA = 16, VERIFY_ONLY = 32 };

static void transfer(struct ide_drive *d, unsigned how)
{
    uint64_t lba;
    uint32_t count;
    struct gh_block_info info;
    if (how & MULTIPLE && !d->multiple) {
        ide_done_error(d, ER_ABRT);
        return;
    }
    if (!address(d, how & EXT, &lba, &count)) {
        ide_done_error(d, ER_IDNF);
        return;
    }
    d->block->ops->info(d->block, &info);
    if (how & WRITE && info.read_only) {
        ide_done_error(d, ER_ABRT);
        return;
    }
    if (how & VERIFY_ONLY) {
        ide_done_ok(d);
        return;
    }
    d->lba = lba;
    d->left = (uint64_t)count * 512;
    d->fua = !!(how & FUA);
    d->block_bytes = how & MULTIPLE ? d->multiple * 512u : 512;
    if (how & DMA)
        ide_dma_wait(d, how & WRITE ? JOB_WRITE : JOB_READ);
    else if (how & WRITE)
        ide_pio_out(d, JOB_WRITE, d->left < IDE_BUFFER ? (uint32_t)d->left : IDE_BUFFER, false);
    else
        read_chunk(d);
}

/* ---- TRIM: entries of le48 first sector and le16 count, one discard after another -------------------------- */
static void trim_next(struct ide_drive *d)
{
    uint64_t total = total_sectors(d);
    for (unsigned budget = 0; budget < TRIM_MAX_BLOCKS * 64 && d->trim_next < d->end; budget++) {
        uint64_t entry = gh_le64_get(d->buf + d->trim_next);
        uint64_t lba = entry & 0xffffffffffffull, count = entry >> 48;
        d->trim_next += 8;
        if (!count)
            continue;
        if (!gh_range_in(lba, count, total)) {
            ide_done_error(d, ER_IDNF);
            return;
        }
        ide_submit(d, GH_BLOCK_DISCARD, lba * 512, count * 512, NULL, 0);
        return;
    }
    ide_done_ok(d);
}

static void data_set_management(struct ide_drive *d)
{
    struct gh_block_info info;
    uint32_t blocks = (uint32_t)d->hob_nsector << 8 | d->nsector;
    d->block->ops->info(d->block, &info);
    if (!(d->feature & 1) || !blocks || blocks > TRIM_MAX_BLOCKS || !info.can_discard) {
        ide_done_error(d, ER_ABRT);
        return;
    }
    d->pos = 0;
    d->end = blocks * 512;
    ide_dma_wait(d, JOB_TRIM);
}

void ide_ata_dma_data(struct ide_drive *d)
{
    d->trim_next = 0;
    trim_next(d);
}

/* ---- Settings ------------------------------------------------------------------------------------------------- */
static void set_features(struct ide_drive *d)
{
    switch (d->feature) {
    case 0x02: d->write_cache = 1; break;
    case 0x82:                            /* cache off: what is in it must be safe first */
        d->write_cache = 0;
        d->job = JOB_FLUSH;
        ide_submit(d, GH_BLOCK_FLUSH, 0, 0, NULL, 0);
        return;
    case 0x03:
        if (!gh_ata_transfer_mode_known(d->nsector)) {
            ide_done_error(d, ER_ABRT);
            return;
        }
        d->transfer_mode = d->nsector;
        break;
    case 0x05: case 0x85: case 0x42: case 0xc2: case 0x55: case 0xaa: case 0x66: case 0xcc: case 0x69: case 0x67:
        break;                            /* power, noise, look-ahead, defaults: no effect here */
    default:
        ide_done_error(d, ER_ABRT);
        return;
    }
    ide_done_ok(d);
}

/* Data structures of SMART are answered with a healthy disk that has no attributes. */
static void smart(struct ide_drive *d)
{
    if (d->lcyl != 0x4f || d->hcyl != 0xc2 || (!d->smart && d->feature != 0xd8)) {
        ide_done_error(d, ER_ABRT);
        return;
    }
    switch (d->feature) {
    case 0xd0: case 0xd1:                 /* values and their thresholds */
        gh_ata_smart_data(d->buf);
        d->block_bytes = 512;
        ide_pio_in(d, JOB_DATA, 512);
        return;
    case 0xd8: d->smart = 1; break;
    case 0xd9: d->smart = 0; break;
    case 0xd2: case 0xd4: case 0xda: break; /* status: the cylinder registers stay 4F C2, no threshold passed */
    default:
        ide_done_error(d, ER_ABRT);
        return;
    }
    ide_done_ok(d);
}

static void native_max(struct ide_drive *d, bool ext)
{
    uint64_t last = total_sectors(d);
    last = last ? last - 1 : 0;
    if (!ext && last > 0x0fffffff)
        last = 0x0fffffff;
    d->sector = (uint8_t)last;
    d->lcyl = (uint8_t)(last >> 8);
    d->hcyl = (uint8_t)(last >> 16);
    if (ext) {
        d->hob_sector = (uint8_t)(last >> 24);
        d->hob_lcyl = (uint8_t)(last >> 32);
        d->hob_hcyl = (uint8_t)(last >> 40);
    } else {
        d->select = (uint8_t)((d->select & 0xf0) | (last >> 24 & 0x0f));
    }
    ide_done_ok(d);
}

void ide_ata_command(struct ide_drive *d, uint8_t command)
{
    switch (command) {
    case ATA_READ_SECTORS: case ATA_READ_SECTORS_NORETRY: transfer(d, 0); return;
    case ATA_READ_SECTORS_EXT: transfer(d, EXT); return;
    case ATA_READ_MULTIPLE: transfer(d, MULTIPLE); return;
    case ATA_READ_MULTIPLE_EXT: transfer(d, MULTIPLE | EXT); return;
    case ATA_READ_DMA: case ATA_READ_DMA_NORETRY: transfer(d, DMA); return;
    case ATA_READ_DMA_EXT: transfer(d, DMA | EXT); return;
    case ATA_WRITE_SECTORS: case ATA_WRITE_SECTORS_NORETRY: case ATA_WRITE_VERIFY: transfer(d, WRITE); return;
    case ATA_WRITE_SECTORS_EXT: transfer(d, WRITE | EXT); return;
    case ATA_WRITE_MULTIPLE: transfer(d, WRITE | MULTIPLE); return;
    case ATA_WRITE_MULTIPLE_EXT: transfer(d, WRITE | MULTIPLE | EXT); return;
    case ATA_WRITE_MULTIPLE_FUA_EXT: transfer(d, WRITE | MULTIPLE | EXT | FUA); return;
    case ATA_WRITE_DMA: case ATA_WRITE_DMA_NORETRY: transfer(d, WRITE | DMA); return;
    case ATA_WRITE_DMA_EXT: transfer(d, WRITE | DMA | EXT); return;
    case ATA_WRITE_DMA_FUA_EXT: transfer(d, WRITE | DMA | EXT | FUA); return;
    case ATA_VERIFY: case ATA_VERIFY_NORETRY: transfer(d, VERIFY_ONLY); return;
    case ATA_VERIFY_EXT: transfer(d, VERIFY_ONLY | EXT); return;
    case ATA_FLUSH_CACHE: case ATA_FLUSH_CACHE_EXT:
        d->job = JOB_FLUSH;
        ide_submit(d, GH_BLOCK_FLUSH, 0, 0, NULL, 0);
        return;
    case ATA_DATA_SET_MANAGEMENT: data_set_management(d); return;
    case ATA_IDENTIFY:
        identify(d);
        d->block_bytes = 512;
        ide_pio_in(d, JOB_DATA, 512);
        return;
    case ATA_INITIALIZE_PARAMETERS:
        d->heads = (d->select & 0x0f) + 1;
        d->sectors = d->nsector ? d->nsector : 63;
        ide_done_ok(d);
        return;
    case ATA_SET_MULTIPLE:
        if (d->nsector > ATA_MULTIPLE_MAX || (d->nsector & (d->nsector - 1))) {
            ide_done_error(d, ER_ABRT);
            return;
        }
        d->multiple = d->nsector;
        ide_done_ok(d);
        return;
    case ATA_SET_FEATURES: set_features(d); return;
    case ATA_SMART: smart(d); return;
    case ATA_CHECK_POWER: case ATA_CHECK_POWER_OLD:
        d->nsector = 0xff;                /* active */
        ide_done_ok(d);
        return;
    case ATA_READ_NATIVE_MAX: native_max(d, false); return;
    case ATA_READ_NATIVE_MAX_EXT: native_max(d, true); return;
    case 0x94: case 0x95: case 0x96: case 0x97: case 0x99: case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe6:
    case ATA_SECURITY_FREEZE:
        ide_done_ok(d);                   /* standby, idle, sleep: nothing spins */
        return;
    case ATA_PACKET: case ATA_IDENTIFY_PACKET:    /* a disk shows its signature to who takes it for a CD drive */
    default:
        if ((command & 0xf0) == 0x10 || (command & 0xf0) == 0x70) {
            ide_done_ok(d);               /* RECALIBRATE, SEEK */
            return;
        }
        ide_done_error(d, ER_ABRT);
        return;
    }
}

void ide_ata_buffer_done(struct ide_drive *d)
{
    if (d->job == JOB_WRITE) {
        ide_submit_buffer(d, GH_BLOCK_WRITE, d->lba * 512, d->end);
        return;
    }
    if (d->job == JOB_READ && d->left) {
        read_chunk(d);
        return;
    }
    d->phase = IDE_IDLE;                  /* the last data block of a read ends without interrupt */
    d->job = JOB_NONE;
    d->status = ST_DRDY | ST_DSC;
}

void ide_ata_request_done(struct ide_drive *d, int result)
{
    if (result < 0) {
        ide_done_error(d, d->job == JOB_READ ? ER_UNC : ER_ABRT);
        return;
    }
    switch (d->job) {
    case JOB_READ:
        d->lba += d->chunk / 512;
        d->left -= d->chunk;
        ide_pio_in(d, JOB_READ, d->chunk);
        return;
    case JOB_WRITE:
        d->lba += d->chunk / 512;
        d->left -= d->chunk;
        if (d->left) {
            ide_pio_out(d, JOB_WRITE, d->left < IDE_BUFFER ? (uint32_t)d->left : IDE_BUFFER, true);
            return;
        }
        ide_done_ok(d);
        return;
    case JOB_TRIM: trim_next(d); return;
    default: ide_done_ok(d); return;
    }
}
