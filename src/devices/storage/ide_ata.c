/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Disk commands, ATA/ATAPI-7 and the TRIM of ACS-2. Taken for granted: the medium never changes. */
#include "devices/storage/ide.h"

#include <errno.h>
#include <stdio.h>

enum {
    DATA_SET_MANAGEMENT = 0x06, READ_SECTORS = 0x20, READ_SECTORS_NORETRY = 0x21, READ_SECTORS_EXT = 0x24,
    READ_DMA_EXT = 0x25, READ_NATIVE_MAX_EXT = 0x27, READ_MULTIPLE_EXT = 0x29, WRITE_SECTORS = 0x30,
    WRITE_SECTORS_NORETRY = 0x31, WRITE_SECTORS_EXT = 0x34, WRITE_DMA_EXT = 0x35, WRITE_MULTIPLE_EXT = 0x39,
    WRITE_VERIFY = 0x3c, WRITE_DMA_FUA_EXT = 0x3d, VERIFY = 0x40, VERIFY_NORETRY = 0x41, VERIFY_EXT = 0x42,
    INITIALIZE_PARAMETERS = 0x91, PACKET = 0xa0, IDENTIFY_PACKET = 0xa1, SMART = 0xb0, READ_MULTIPLE = 0xc4,
    WRITE_MULTIPLE = 0xc5, SET_MULTIPLE = 0xc6, READ_DMA = 0xc8, READ_DMA_NORETRY = 0xc9, WRITE_DMA = 0xca,
    WRITE_DMA_NORETRY = 0xcb, WRITE_MULTIPLE_FUA_EXT = 0xce, CHECK_POWER_OLD = 0x98, CHECK_POWER = 0xe5,
    FLUSH_CACHE = 0xe7, FLUSH_CACHE_EXT = 0xea, IDENTIFY = 0xec, SET_FEATURES = 0xef, SECURITY_FREEZE = 0xf5,
    READ_NATIVE_MAX = 0xf8,
};
enum { TRIM_MAX_BLOCKS = IDE_BUFFER / 512 };

static uint64_t total_sectors(struct ide_drive *d)
{
    struct gh_block_info info;
    d->block->ops->info(d->block, &info);
    return info.bytes / 512;
}

/* Text as the standard has it: two characters a word, the first in the high byte, padded with spaces. */
void ide_identify_string(uint8_t *words, const char *text, size_t bytes)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < bytes; i++)
        words[i ^ 1] = i < n ? (uint8_t)text[i] : ' ';
}

static void put_word(uint8_t *buf, unsigned word, uint16_t v) { gh_le16_put(buf + word * 2, v); }

static void identify(struct ide_drive *d)
{
    struct gh_block_info info;
    uint8_t *b = d->buf;
    d->block->ops->info(d->block, &info);
    uint64_t total = info.bytes / 512;
    uint64_t cylinders = total / (16 * 63);
    uint32_t chs;
    memset(b, 0, 512);
    cylinders = cylinders > 16383 ? 16383 : cylinders ? cylinders : 1;
    put_word(b, 0, 0x0040);
    put_word(b, 1, (uint16_t)cylinders);
    put_word(b, 3, 16);
    put_word(b, 6, 63);
    ide_identify_string(b + 20, info.serial[0] ? info.serial : d->block->name, 20);
    ide_identify_string(b + 46, "1.0", 8);
    ide_identify_string(b + 54, info.model[0] ? info.model : "GASTHAUS DISK", 40);
    put_word(b, 47, 0x8000 | IDE_MULTIPLE_MAX);
    put_word(b, 48, 1);
    put_word(b, 49, 0x0f00);              /* IORDY, LBA, DMA */
    put_word(b, 51, 0x0200);
    put_word(b, 53, 7);
    uint64_t now = d->heads && d->sectors ? total / ((uint64_t)d->heads * d->sectors) : 0;
    now = now > 65535 ? 65535 : now;
    put_word(b, 54, (uint16_t)now);
    put_word(b, 55, d->heads);
    put_word(b, 56, d->sectors);
    chs = (uint32_t)(now * d->heads * d->sectors);
    put_word(b, 57, (uint16_t)chs);
    put_word(b, 58, (uint16_t)(chs >> 16));
    put_word(b, 59, d->multiple ? 0x100 | d->multiple : 0);
    uint32_t lba28 = total > 0x0fffffff ? 0x0fffffff : (uint32_t)total;
    put_word(b, 60, (uint16_t)lba28);
    put_word(b, 61, (uint16_t)(lba28 >> 16));
    uint8_t mode = d->transfer_mode;
    put_word(b, 63, (uint16_t)(0x07 | (mode >> 3 == 4 ? 0x100u << (mode & 7) : 0)));
    put_word(b, 64, 0x03);
    for (unsigned w = 65; w <= 68; w++)
        put_word(b, w, 120);
    put_word(b, 69, info.can_discard ? 0x4020 : 0);             /* TRIM ends in deterministic data: zeros */
    put_word(b, 80, 0x00f0);
    put_word(b, 81, 0x0016);
    put_word(b, 82, 0x4021);              /* SMART, write cache, NOP */
    put_word(b, 83, 0x7400);              /* 48 bit, both flushes */
    put_word(b, 84, 0x4040);              /* FUA writes */
    put_word(b, 85, (uint16_t)(0x4000 | (d->write_cache ? 0x20 : 0) | (d->smart ? 1 : 0)));
    put_word(b, 86, 0x3400);
    put_word(b, 87, 0x4040);
    put_word(b, 88, (uint16_t)(0x3f | (mode >> 3 == 8 ? 0x100u << (mode & 7) : 0)));
    put_word(b, 93, 0x6001 | 0x4000);
    gh_le64_put(b + 200, total);
    put_word(b, 105, info.can_discard ? TRIM_MAX_BLOCKS : 0);
    if (info.physical_sector > 512)
        put_word(b, 106, (uint16_t)(0x6000 | (unsigned)__builtin_ctz(info.physical_sector / 512)));
    put_word(b, 169, info.can_discard ? 1 : 0);
    put_word(b, 217, 1);                  /* no rotation: the guest shall not order for a spindle */
    put_word(b, 255, 0xa5);
    uint8_t sum = 0;
    for (unsigned i = 0; i < 511; i++)
        sum = (uint8_t)(sum + b[i]);
    b[511] = (uint8_t)-sum;
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
    case 0x03: {
        uint8_t kind = d->nsector >> 3, mode = d->nsector & 7;
        bool ok = kind <= 1 || (kind == 4 && mode <= 2) || (kind == 8 && mode <= 5);
        if (!ok) {
            ide_done_error(d, ER_ABRT);
            return;
        }
        d->transfer_mode = d->nsector;
        break;
    }
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
    case 0xd0: case 0xd1: {
        memset(d->buf, 0, 512);
        d->buf[0] = 0x10;
        if (d->feature == 0xd0)
            gh_le16_put(d->buf + 368, 0x0003);
        uint8_t sum = 0;
        for (unsigned i = 0; i < 511; i++)
            sum = (uint8_t)(sum + d->buf[i]);
        d->buf[511] = (uint8_t)-sum;
        d->block_bytes = 512;
        ide_pio_in(d, JOB_DATA, 512);
        return;
    }
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
    case READ_SECTORS: case READ_SECTORS_NORETRY: transfer(d, 0); return;
    case READ_SECTORS_EXT: transfer(d, EXT); return;
    case READ_MULTIPLE: transfer(d, MULTIPLE); return;
    case READ_MULTIPLE_EXT: transfer(d, MULTIPLE | EXT); return;
    case READ_DMA: case READ_DMA_NORETRY: transfer(d, DMA); return;
    case READ_DMA_EXT: transfer(d, DMA | EXT); return;
    case WRITE_SECTORS: case WRITE_SECTORS_NORETRY: case WRITE_VERIFY: transfer(d, WRITE); return;
    case WRITE_SECTORS_EXT: transfer(d, WRITE | EXT); return;
    case WRITE_MULTIPLE: transfer(d, WRITE | MULTIPLE); return;
    case WRITE_MULTIPLE_EXT: transfer(d, WRITE | MULTIPLE | EXT); return;
    case WRITE_MULTIPLE_FUA_EXT: transfer(d, WRITE | MULTIPLE | EXT | FUA); return;
    case WRITE_DMA: case WRITE_DMA_NORETRY: transfer(d, WRITE | DMA); return;
    case WRITE_DMA_EXT: transfer(d, WRITE | DMA | EXT); return;
    case WRITE_DMA_FUA_EXT: transfer(d, WRITE | DMA | EXT | FUA); return;
    case VERIFY: case VERIFY_NORETRY: transfer(d, VERIFY_ONLY); return;
    case VERIFY_EXT: transfer(d, VERIFY_ONLY | EXT); return;
    case FLUSH_CACHE: case FLUSH_CACHE_EXT:
        d->job = JOB_FLUSH;
        ide_submit(d, GH_BLOCK_FLUSH, 0, 0, NULL, 0);
        return;
    case DATA_SET_MANAGEMENT: data_set_management(d); return;
    case IDENTIFY:
        identify(d);
        d->block_bytes = 512;
        ide_pio_in(d, JOB_DATA, 512);
        return;
    case INITIALIZE_PARAMETERS:
        d->heads = (d->select & 0x0f) + 1;
        d->sectors = d->nsector ? d->nsector : 63;
        ide_done_ok(d);
        return;
    case SET_MULTIPLE:
        if (d->nsector > IDE_MULTIPLE_MAX || (d->nsector & (d->nsector - 1))) {
            ide_done_error(d, ER_ABRT);
            return;
        }
        d->multiple = d->nsector;
        ide_done_ok(d);
        return;
    case SET_FEATURES: set_features(d); return;
    case SMART: smart(d); return;
    case CHECK_POWER: case CHECK_POWER_OLD:
        d->nsector = 0xff;                /* active */
        ide_done_ok(d);
        return;
    case READ_NATIVE_MAX: native_max(d, false); return;
    case READ_NATIVE_MAX_EXT: native_max(d, true); return;
    case 0x94: case 0x95: case 0x96: case 0x97: case 0x99: case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe6:
    case SECURITY_FREEZE:
        ide_done_ok(d);                   /* standby, idle, sleep: nothing spins */
        return;
    case PACKET: case IDENTIFY_PACKET:    /* a disk shows its signature to who takes it for a CD drive */
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
