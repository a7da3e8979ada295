/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/storage/ata.h"

#include "base/bytes.h"

void gh_ata_string(uint8_t *words, const char *text, size_t bytes)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < bytes; i++)
        words[i ^ 1] = i < n ? (uint8_t)text[i] : ' ';
}

static void put_word(uint8_t *buf, unsigned word, uint16_t v) { gh_le16_put(buf + word * 2, v); }

static void checksum(uint8_t buf[512])
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < 511; i++)
        sum = (uint8_t)(sum + buf[i]);
    buf[511] = (uint8_t)-sum;
}

/* Which of the multiword (kind 4) or Ultra (kind 8) modes is on, beside those that exist. */
static uint16_t modes(uint8_t exist, uint8_t mode, unsigned kind)
{
    return (uint16_t)(exist | (mode >> 3 == kind ? 0x100u << (mode & 7) : 0));
}

static void put_names(uint8_t *b, const struct gh_block_info *info, const struct gh_ata_identity *id, const char *model)
{
    gh_ata_string(b + 20, info->serial[0] ? info->serial : id->name, 20);
    gh_ata_string(b + 46, "1.0", 8);
    gh_ata_string(b + 54, info->model[0] ? info->model : model, 40);
}

static void put_sata(uint8_t *b, uint8_t queue_depth, bool disk)
{
    put_word(b, 76, (uint16_t)(0x000e | (disk ? 0x0100 : 0)));  /* generations 1 to 3, queued commands */
    put_word(b, 77, 0x0006);                                    /* runs at generation 3 */
    put_word(b, 222, 0x10ff);                                   /* Serial ATA 3.x */
    if (disk)
        put_word(b, 75, (uint16_t)(queue_depth - 1));
}

void gh_ata_identify(uint8_t b[512], const struct gh_block_info *info, const struct gh_ata_identity *id)
{
    bool sata = id->queue_depth != 0;
    uint64_t total = info->bytes / 512, cylinders = total / (16 * 63);
    memset(b, 0, 512);
    cylinders = cylinders > 16383 ? 16383 : cylinders ? cylinders : 1;
    put_word(b, 0, 0x0040);
    put_word(b, 1, (uint16_t)cylinders);
    put_word(b, 3, 16);
    put_word(b, 6, 63);
    put_names(b, info, id, "GASTHAUS DISK");
    put_word(b, 47, 0x8000 | ATA_MULTIPLE_MAX);
    put_word(b, 48, 1);
    put_word(b, 49, 0x0f00);              /* IORDY, LBA, DMA */
    put_word(b, 51, 0x0200);
    put_word(b, 53, 7);
    uint64_t now = id->heads && id->sectors ? total / ((uint64_t)id->heads * id->sectors) : 0;
    now = now > 65535 ? 65535 : now;
    put_word(b, 54, (uint16_t)now);
    put_word(b, 55, id->heads);
    put_word(b, 56, id->sectors);
    gh_le32_put(b + 57 * 2, (uint32_t)(now * id->heads * id->sectors));
    put_word(b, 59, id->multiple ? 0x100 | id->multiple : 0);
    gh_le32_put(b + 60 * 2, total > 0x0fffffff ? 0x0fffffff : (uint32_t)total);
    put_word(b, 63, modes(0x07, id->transfer_mode, 4));
    put_word(b, 64, 0x03);
    for (unsigned w = 65; w <= 68; w++)
        put_word(b, w, 120);
    put_word(b, 69, info->can_discard ? 0x4000 : 0);            /* what was trimmed reads the same again and again */
    put_word(b, 80, sata ? 0x01f0 : 0x00f0);
    put_word(b, 81, 0x0016);
    put_word(b, 82, 0x4021);              /* SMART, write cache, NOP */
    put_word(b, 83, 0x7400);              /* 48 bit, both flushes */
    put_word(b, 84, sata ? 0x4060 : 0x4040);                    /* FUA writes, with Serial ATA also logs */
    put_word(b, 85, (uint16_t)(0x4000 | (id->write_cache ? 0x20 : 0) | (id->smart ? 1 : 0)));
    put_word(b, 86, 0x3400);
    put_word(b, 87, sata ? 0x4060 : 0x4040);
    put_word(b, 88, modes(0x3f, id->transfer_mode, 8));
    if (sata)
        put_sata(b, id->queue_depth, true);
    else
        put_word(b, 93, 0x6001 | 0x4000);
    gh_le64_put(b + 200, total);
    put_word(b, 105, info->can_discard ? id->trim_blocks : 0);
    if (info->physical_sector > 512)
        put_word(b, 106, (uint16_t)(0x6000 | (unsigned)__builtin_ctz(info->physical_sector / 512)));
    put_word(b, 169, info->can_discard ? 1 : 0);
    put_word(b, 217, 1);                  /* no rotation: the guest shall not order for a spindle */
    put_word(b, 255, 0xa5);
    checksum(b);
}

void gh_ata_identify_packet(uint8_t b[512], const struct gh_block_info *info, const struct gh_ata_identity *id)
{
    memset(b, 0, 512);
    put_word(b, 0, 0x85c0);               /* CD-ROM, removable, 50 us to DRQ, 12-byte packets */
    put_names(b, info, id, "GASTHAUS DVD-ROM");
    put_word(b, 49, 0x0f00);
    put_word(b, 51, 0x0200);
    put_word(b, 53, 7);
    put_word(b, 63, modes(0x07, id->transfer_mode, 4));
    put_word(b, 64, 0x03);
    for (unsigned w = 65; w <= 68; w++)
        put_word(b, w, 120);
    put_word(b, 80, 0x00f0);
    put_word(b, 82, 0x4210);              /* NOP, DEVICE RESET, PACKET */
    put_word(b, 83, 0x4000);
    put_word(b, 84, 0x4000);
    put_word(b, 85, 0x4210);
    put_word(b, 87, 0x4000);
    put_word(b, 88, modes(0x3f, id->transfer_mode, 8));
    if (id->queue_depth)
        put_sata(b, id->queue_depth, false);
    else
        put_word(b, 93, 0x6001 | 0x4000);
}

bool gh_ata_transfer_mode_known(uint8_t v)
{
    uint8_t kind = v >> 3, mode = v & 7;
    return kind <= 1 || (kind == 4 && mode <= 2) || (kind == 8 && mode <= 5);
}

void gh_ata_smart_data(uint8_t b[512])
{
    memset(b, 0, 512);
    b[0] = 0x10;
    gh_le16_put(b + 368, 0x0003);
    checksum(b);
}
