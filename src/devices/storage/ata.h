/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What an ATA device says of itself, the same behind IDE and AHCI: the answers of IDENTIFY DEVICE and
 * IDENTIFY PACKET DEVICE (ATA/ATAPI-7, ACS-2), SMART data, transfer modes. Pure; any thread.
 */
#pragma once
#include "devices/backend.h"

enum {                                    /* operation codes */
    ATA_NOP = 0x00, ATA_DATA_SET_MANAGEMENT = 0x06, ATA_DEVICE_RESET = 0x08, ATA_READ_SECTORS = 0x20,
    ATA_READ_SECTORS_NORETRY = 0x21, ATA_READ_SECTORS_EXT = 0x24, ATA_READ_DMA_EXT = 0x25, ATA_READ_NATIVE_MAX_EXT = 0x27,
    ATA_READ_MULTIPLE_EXT = 0x29, ATA_READ_LOG_EXT = 0x2f, ATA_WRITE_SECTORS = 0x30, ATA_WRITE_SECTORS_NORETRY = 0x31,
    ATA_WRITE_SECTORS_EXT = 0x34, ATA_WRITE_DMA_EXT = 0x35, ATA_WRITE_MULTIPLE_EXT = 0x39, ATA_WRITE_VERIFY = 0x3c,
    ATA_WRITE_DMA_FUA_EXT = 0x3d, ATA_VERIFY = 0x40, ATA_VERIFY_NORETRY = 0x41, ATA_VERIFY_EXT = 0x42,
    ATA_READ_LOG_DMA_EXT = 0x47, ATA_READ_FPDMA = 0x60, ATA_WRITE_FPDMA = 0x61, ATA_DIAGNOSTIC = 0x90,
    ATA_INITIALIZE_PARAMETERS = 0x91, ATA_CHECK_POWER_OLD = 0x98, ATA_PACKET = 0xa0, ATA_IDENTIFY_PACKET = 0xa1,
    ATA_SMART = 0xb0, ATA_READ_MULTIPLE = 0xc4, ATA_WRITE_MULTIPLE = 0xc5, ATA_SET_MULTIPLE = 0xc6, ATA_READ_DMA = 0xc8,
    ATA_READ_DMA_NORETRY = 0xc9, ATA_WRITE_DMA = 0xca, ATA_WRITE_DMA_NORETRY = 0xcb, ATA_WRITE_MULTIPLE_FUA_EXT = 0xce,
    ATA_CHECK_POWER = 0xe5, ATA_FLUSH_CACHE = 0xe7, ATA_FLUSH_CACHE_EXT = 0xea, ATA_IDENTIFY = 0xec,
    ATA_SET_FEATURES = 0xef, ATA_SECURITY_FREEZE = 0xf5, ATA_READ_NATIVE_MAX = 0xf8,
};
enum { ATA_MULTIPLE_MAX = 128 };

struct gh_ata_identity {
    const char *name;                     /* the serial number of a drive that has none */
    uint16_t heads, sectors;              /* the translation in use */
    uint8_t  multiple, transfer_mode;     /* as SET MULTIPLE and SET FEATURES 3 gave them */
    bool     write_cache, smart;
    uint16_t trim_blocks;                 /* blocks DATA SET MANAGEMENT takes */
    uint8_t  queue_depth;                 /* not 0: Serial ATA with so many queued commands */
};
void gh_ata_identify(uint8_t ret[512], const struct gh_block_info *info, const struct gh_ata_identity *id);
void gh_ata_identify_packet(uint8_t ret[512], const struct gh_block_info *info, const struct gh_ata_identity *id);
/* Text as the standard has it: two characters a word, the first in the high byte, padded with spaces. */
void gh_ata_string(uint8_t *words, const char *text, size_t bytes);
void gh_ata_smart_data(uint8_t ret[512]);          /* a healthy disk without attributes */
bool gh_ata_transfer_mode_known(uint8_t mode);
