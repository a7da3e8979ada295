/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the drives do: ATA commands of ACS-2 with native queueing, and packets through mmc.c. */
#include "devices/storage/ahci.h"

#include <errno.h>

enum { DEV_LBA = 0x40, DEV_FUA = 0x80 };
enum { LOG_DIRECTORY = 0x00, LOG_QUEUED_ERROR = 0x10 };
enum { READ = 1, WRITE = 2, EXT = 4, PIO = 8, FUA = 16, VERIFY = 32, QUEUED = 64 };

static uint8_t flags_of(uint8_t opcode)
{
    switch (opcode) {
    case ATA_READ_SECTORS: case ATA_READ_SECTORS_NORETRY: case ATA_READ_MULTIPLE: return READ | PIO;
    case ATA_READ_SECTORS_EXT: case ATA_READ_MULTIPLE_EXT: return READ | PIO | EXT;
    case ATA_READ_DMA: case ATA_READ_DMA_NORETRY: return READ;
    case ATA_READ_DMA_EXT: return READ | EXT;
    case ATA_WRITE_SECTORS: case ATA_WRITE_SECTORS_NORETRY: case ATA_WRITE_VERIFY: case ATA_WRITE_MULTIPLE: return WRITE;
    case ATA_WRITE_SECTORS_EXT: case ATA_WRITE_MULTIPLE_EXT: case ATA_WRITE_DMA_EXT: return WRITE | EXT;
    case ATA_WRITE_DMA: case ATA_WRITE_DMA_NORETRY: return WRITE;
    case ATA_WRITE_MULTIPLE_FUA_EXT: case ATA_WRITE_DMA_FUA_EXT: return WRITE | EXT | FUA;
    case ATA_VERIFY: case ATA_VERIFY_NORETRY: return VERIFY;
    case ATA_VERIFY_EXT: return VERIFY | EXT;
    case ATA_READ_FPDMA: return READ | EXT | QUEUED;
    case ATA_WRITE_FPDMA: return WRITE | EXT | QUEUED;
    default: return 0;
    }
}

bool ahci_is_queued(uint8_t opcode) { return flags_of(opcode) & QUEUED; }

static void ok(struct ahci_command *c) { ahci_finish(c, ST_DRDY | ST_DSC, 0); }
static void refuse(struct ahci_command *c, uint8_t error) { ahci_finish(c, ST_DRDY | ST_DSC | ST_ERR, error); }

/* An answer that sits in buf. */
static void answer(struct ahci_command *c, uint32_t bytes, bool pio)
{
    c->pio = pio;
    if (ahci_move(c, c->buf, bytes, true) == bytes)
        ok(c);
    else
        refuse(c, ER_ABRT);
}

static void get_info(struct ahci_command *c, struct gh_block_info *ret) { c->port->block->ops->info(c->port->block, ret); }

/* ---- Reading and writing ---------------------------------------------------------------------------------- */
static bool place(struct ahci_command *c, uint8_t how, const struct gh_block_info *info, uint64_t *lba, uint32_t *count)
{
    uint16_t feature = (uint16_t)(c->fis[3] | c->fis[11] << 8), n = how & QUEUED ? feature : c->reg.count;
    *lba = c->reg.lba;
    if (how & EXT) {
        *count = n ? n : 65536;
    } else {
        *count = n & 0xff ? n & 0xff : 256;
        *lba = (c->reg.lba & 0xffffff) | (uint64_t)(c->fis[7] & 0x0f) << 24;
        if (!(c->fis[7] & DEV_LBA)) {     /* cylinder, head, sector: 16 heads, 63 sectors */
            uint32_t cylinder = (uint32_t)(c->reg.lba >> 8 & 0xffff), head = c->fis[7] & 0x0f, sector = c->reg.lba & 0xff;
            if (!sector || sector > 63)
                return false;
            *lba = ((uint64_t)cylinder * 16 + head) * 63 + sector - 1;
        }
    }
    return gh_range_in(*lba, *count, info->bytes / 512);
}

static void transfer(struct ahci_command *c, uint8_t how)
{
    struct gh_block_info info;
    uint64_t lba;
    uint32_t count;
    get_info(c, &info);
    if (!place(c, how, &info, &lba, &count)) {
        refuse(c, ER_IDNF);
        return;
    }
    if (how & WRITE && info.read_only) {
        refuse(c, ER_ABRT);
        return;
    }
    if (how & VERIFY) {
        ok(c);
        return;
    }
    c->job = how & WRITE ? AHCI_WRITE : AHCI_READ;
    c->pio = !!(how & PIO);
    c->fua = how & FUA || (how & QUEUED && c->fis[7] & DEV_FUA);
    c->offset = lba * 512;
    c->left = (uint64_t)count * 512;
    ahci_transfer(c);
}

/* ---- TRIM: entries of le48 first sector and le16 count ------------------------------------------------------- */
static void trim_next(struct ahci_command *c)
{
    struct gh_block_info info;
    get_info(c, &info);
    while (c->next < c->end) {
        uint64_t entry = gh_le64_get(c->buf + c->next), lba = entry & 0xffffffffffffull, count = entry >> 48;
        c->next += 8;
        if (!count)
            continue;
        if (!gh_range_in(lba, count, info.bytes / 512)) {
            refuse(c, ER_IDNF);
            return;
        }
        ahci_submit(c, GH_BLOCK_DISCARD, lba * 512, count * 512);
        return;
    }
    ok(c);
}

static void data_set_management(struct ahci_command *c)
{
    struct gh_block_info info;
    get_info(c, &info);
    c->end = c->reg.count * 512u;
    if (!(c->fis[3] & 1) || !c->reg.count || c->reg.count > AHCI_TRIM_BLOCKS || !info.can_discard || info.read_only ||
        ahci_move(c, c->buf, c->end, false) != c->end) {
        refuse(c, ER_ABRT);
        return;
    }
    c->job = AHCI_TRIM;
    trim_next(c);
}

/* ---- Settings, logs ---------------------------------------------------------------------------------------------- */
static void identify(struct ahci_command *c)
{
    struct ahci_port *p = c->port;
    struct gh_block_info info;
    struct gh_ata_identity id = { .name = p->block->name, .heads = 16, .sectors = 63, .multiple = p->multiple,
        .transfer_mode = p->transfer_mode, .write_cache = p->write_cache, .smart = p->smart, .trim_blocks = AHCI_TRIM_BLOCKS,
        .queue_depth = AHCI_SLOTS };
    get_info(c, &info);
    if (p->atapi)
        gh_ata_identify_packet(c->buf, &info, &id);
    else
        gh_ata_identify(c->buf, &info, &id);
    answer(c, 512, true);
}

static void set_features(struct ahci_command *c)
{
    struct ahci_port *p = c->port;
    switch (c->fis[3]) {
    case 0x02: p->write_cache = 1; break;
    case 0x82:                            /* cache off: what is in it must be safe first */
        p->write_cache = 0;
        c->job = AHCI_FLUSH;
        if (p->atapi)
            break;
        ahci_submit(c, GH_BLOCK_FLUSH, 0, 0);
        return;
    case 0x03:
        if (!gh_ata_transfer_mode_known((uint8_t)c->reg.count) && (uint8_t)c->reg.count != 0x46) {
            refuse(c, ER_ABRT);
            return;
        }
        p->transfer_mode = (uint8_t)c->reg.count == 0x46 ? 0x45 : (uint8_t)c->reg.count;
        break;
    case 0x05: case 0x85: case 0x42: case 0xc2: case 0x55: case 0xaa: case 0x66: case 0xcc: case 0x95: case 0x31:
        break;                            /* power, noise, look-ahead, defaults: no effect here */
    default:
        refuse(c, ER_ABRT);
        return;
    }
    ok(c);
}

static void smart(struct ahci_command *c)
{
    struct ahci_port *p = c->port;
    uint8_t feature = c->fis[3];
    if (c->fis[5] != 0x4f || c->fis[6] != 0xc2 || (!p->smart && feature != 0xd8)) {
        refuse(c, ER_ABRT);
        return;
    }
    switch (feature) {
    case 0xd0: case 0xd1:                 /* values and their thresholds */
        gh_ata_smart_data(c->buf);
        answer(c, 512, true);
        return;
    case 0xd8: p->smart = 1; break;
    case 0xd9: p->smart = 0; break;
    case 0xd2: case 0xd4: case 0xda: break; /* status: the address stays 4F C2, no threshold passed */
    default:
        refuse(c, ER_ABRT);
        return;
    }
    ok(c);
}

static void read_log(struct ahci_command *c, bool pio)
{
    struct ahci_port *p = c->port;
    uint8_t log = c->fis[4], page = c->fis[5];
    if (c->reg.count != 1 || page || (log != LOG_DIRECTORY && log != LOG_QUEUED_ERROR)) {
        refuse(c, ER_ABRT);
        return;
    }
    memset(c->buf, 0, 512);
    if (log == LOG_DIRECTORY) {
        gh_le16_put(c->buf, 1);
        gh_le16_put(c->buf + LOG_QUEUED_ERROR * 2, 1);
    } else {
        uint8_t sum = 0;
        c->buf[0] = p->failed_tag;
        c->buf[2] = p->failed_status;
        c->buf[3] = p->failed_error;
        for (unsigned i = 0; i < 3; i++) {
            c->buf[4 + i] = (uint8_t)(p->failed_lba >> (i * 8));
            c->buf[8 + i] = (uint8_t)(p->failed_lba >> (24 + i * 8));
        }
        gh_le16_put(c->buf + 12, p->failed_count);
        for (unsigned i = 0; i < 511; i++)
            sum = (uint8_t)(sum + c->buf[i]);
        c->buf[511] = (uint8_t)-sum;
        p->failed_tag = 0x80;
    }
    answer(c, 512, pio);
}

static void native_max(struct ahci_command *c, bool ext)
{
    struct gh_block_info info;
    get_info(c, &info);
    uint64_t last = info.bytes / 512 ? info.bytes / 512 - 1 : 0;
    if (!ext) {
        last = last > 0x0fffffff ? 0x0fffffff : last;
        c->reg.device = (uint8_t)((c->reg.device & 0xf0) | (last >> 24 & 0x0f));
        last &= 0xffffff;
    }
    c->reg.lba = last;
    ok(c);
}

/* ---- Packets ------------------------------------------------------------------------------------------------------- */
static void packet_end(struct ahci_command *c, bool failed)
{
    c->reg.count = 3;                         /* interrupt reason: status, to the host */
    if (failed)
        refuse(c, (uint8_t)(c->port->mmc.key << 4 | ER_ABRT));
    else
        ok(c);
}

static void packet(struct ahci_command *c)
{
    struct gh_mmc *m = &c->port->mmc;
    struct gh_mmc_answer a;
    bool failed = false;
    switch (gh_mmc_command(m, c->cdb, c->buf, &a)) {
    case GH_MMC_CHECK:
        failed = true;
        break;
    case GH_MMC_GOOD:                     /* what the guest has no room for is lost, as on the bus */
        ahci_move(c, c->buf, (uint32_t)a.bytes, true);
        break;
    case GH_MMC_PARAMETERS: {
        uint32_t n = ahci_move(c, c->buf, (uint32_t)a.bytes, false);
        failed = gh_mmc_parameters(m, c->cdb, c->buf, n) == GH_MMC_CHECK;
        break;
    }
    case GH_MMC_READ:
        c->job = AHCI_PACKET_READ;
        c->offset = a.offset;
        c->left = a.bytes;
        ahci_transfer(c);
        return;
    }
    packet_end(c, failed);
}

/* ---- Start and end --------------------------------------------------------------------------------------------------- */
static void start_packet_drive(struct ahci_command *c)
{
    struct ahci_port *p = c->port;
    switch (c->opcode) {
    case ATA_PACKET: packet(c); return;
    case ATA_IDENTIFY_PACKET: identify(c); return;
    case ATA_SET_FEATURES: set_features(c); return;
    case ATA_CHECK_POWER: c->reg.count = 0xff; ok(c); return;
    case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe6: case ATA_FLUSH_CACHE: case ATA_SECURITY_FREEZE: ok(c); return;
    case ATA_DEVICE_RESET:
        ahci_finish(c, 0, 0);
        ahci_signature(p);
        return;
    default:                              /* says what it is to who takes it for a disk */
        c->reg.lba = 0xeb1401;
        refuse(c, ER_ABRT);
        return;
    }
}

void ahci_command_start(struct ahci_command *c)
{
    struct ahci_port *p = c->port;
    uint8_t how = flags_of(c->opcode);
    if (p->atapi) {
        start_packet_drive(c);
        return;
    }
    if (how) {
        transfer(c, how);
        return;
    }
    switch (c->opcode) {
    case ATA_FLUSH_CACHE: case ATA_FLUSH_CACHE_EXT:
        c->job = AHCI_FLUSH;
        ahci_submit(c, GH_BLOCK_FLUSH, 0, 0);
        return;
    case ATA_DATA_SET_MANAGEMENT: data_set_management(c); return;
    case ATA_IDENTIFY: identify(c); return;
    case ATA_SET_FEATURES: set_features(c); return;
    case ATA_SMART: smart(c); return;
    case ATA_READ_LOG_EXT: read_log(c, true); return;
    case ATA_READ_LOG_DMA_EXT: read_log(c, false); return;
    case ATA_READ_NATIVE_MAX: native_max(c, false); return;
    case ATA_READ_NATIVE_MAX_EXT: native_max(c, true); return;
    case ATA_SET_MULTIPLE:
        if ((c->reg.count & 0xff) > ATA_MULTIPLE_MAX || (c->reg.count & 0xff & ((c->reg.count & 0xff) - 1))) {
            refuse(c, ER_ABRT);
            return;
        }
        p->multiple = (uint8_t)c->reg.count;
        ok(c);
        return;
    case ATA_CHECK_POWER: case ATA_CHECK_POWER_OLD: c->reg.count = 0xff; ok(c); return;
    case ATA_DIAGNOSTIC:
        c->reg.lba = 1;
        c->reg.count = 1;
        ahci_finish(c, ST_DRDY | ST_DSC, 0);
        return;
    case ATA_INITIALIZE_PARAMETERS: case ATA_SECURITY_FREEZE: case 0x94: case 0x95: case 0x96: case 0x97: case 0x99:
    case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe6:
        ok(c);                            /* standby, idle, sleep: nothing spins */
        return;
    default:
        if ((c->opcode & 0xf0) == 0x10 || (c->opcode & 0xf0) == 0x70)
            ok(c);                        /* RECALIBRATE, SEEK */
        else
            refuse(c, ER_ABRT);
        return;
    }
}

void ahci_command_done(struct ahci_command *c, int result)
{
    if (c->job == AHCI_PACKET_READ) {
        if (result < 0)
            gh_mmc_failed(&c->port->mmc, result);
        if (result < 0 || !c->left)
            packet_end(c, result < 0);
        else
            ahci_transfer(c);
        return;
    }
    if (result < 0) {
        refuse(c, c->job == AHCI_READ ? ER_UNC : ER_ABRT);
        return;
    }
    if (c->job == AHCI_TRIM)
        trim_next(c);
    else if ((c->job == AHCI_READ || c->job == AHCI_WRITE) && c->left)
        ahci_transfer(c);
    else
        ok(c);
}
