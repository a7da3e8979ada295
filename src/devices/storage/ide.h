/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The PIIX3 IDE function's insides, shared by ide.c (registers), ide_ata.c (disk commands),
 * ide_atapi.c (packet commands) and ide_dma.c (bus master). ATA/ATAPI-7, Bus Master IDE 1.0, 82371SB.
 *
 * Life of a command: registers -> BSY, then one of the phases. A PIO transfer goes in chunks through
 * buf; each chunk goes to the guest in DRQ blocks [pos, block_end). DMA goes straight to guest RAM.
 * Thread: everything with the machine lock.
 */
#pragma once
#include "devices/backend.h"
#include "devices/chipset/pci.h"
#include "devices/device.h"
#include "devices/storage/ata.h"
#include "devices/storage/mmc.h"

enum {
    IDE_BUFFER = 65536,                   /* a PIO chunk: 128 sectors */
    IDE_DMA_CHUNK = 1 << 20,              /* one backend request of a DMA command */
    IDE_DMA_PIECES = 260,                 /* host pieces of such a chunk; page-sized ones fill 1 MiB */
    IDE_IRQ_PRIMARY = 14, IDE_IRQ_SECONDARY = 15,
};
enum { ST_ERR = 0x01, ST_DRQ = 0x08, ST_DSC = 0x10, ST_DF = 0x20, ST_DRDY = 0x40, ST_BSY = 0x80 };
enum { ER_ABRT = 0x04, ER_IDNF = 0x10, ER_UNC = 0x40 };
enum { CTL_NIEN = 0x02, CTL_SRST = 0x04, CTL_HOB = 0x80 };
enum { DEV_UNIT = 0x10, DEV_LBA = 0x40 };
enum { BM_START = 0x01, BM_READ = 0x08 };                     /* command */
enum { BM_ACTIVE = 0x01, BM_ERROR = 0x02, BM_IRQ = 0x04 };    /* status */

enum ide_phase { IDE_IDLE, IDE_PIO_IN, IDE_PIO_OUT, IDE_DMA_WAIT, IDE_BUSY };
enum ide_job {                            /* what the phase serves */
    JOB_NONE, JOB_DATA,                   /* DATA: buf holds all of it, to the guest */
    JOB_READ, JOB_WRITE, JOB_FLUSH, JOB_TRIM,
    JOB_PACKET, JOB_PACKET_DATA, JOB_PACKET_READ, JOB_PACKET_PARAMS,
};

struct ide;
struct ide_channel;
struct ide_drive {
    struct ide_channel *channel;
    struct gh_block *block;
    bool     atapi;
    /* Task file; hob_ is the previous value, for 48-bit commands. */
    uint8_t  feature, nsector, sector, lcyl, hcyl, select, status, error, command;
    uint8_t  hob_feature, hob_nsector, hob_sector, hob_lcyl, hob_hcyl;
    uint8_t  multiple;                    /* sectors a DRQ block of READ MULTIPLE has, 0: off */
    uint8_t  transfer_mode;               /* as SET FEATURES 3 gave it */
    uint8_t  write_cache, smart;
    uint16_t heads, sectors;              /* the translation in use */
    uint8_t  phase, job, dma, fua;
    uint64_t lba;                         /* next byte address / 512 of the medium (2048: ATAPI) */
    uint64_t left;                        /* bytes of the command beyond buf */
    uint32_t pos, end, block_end;         /* in buf */
    uint32_t block_bytes;                 /* DRQ block of this command */
    uint8_t  cdb[12];
    uint32_t trim_next;                   /* DATA SET MANAGEMENT: entry to do */
    struct gh_mmc mmc;
    uint8_t  buf[IDE_BUFFER];

    /* Not saved: nothing is in flight then. */
    struct gh_block_request req;
    struct iovec iov;
    bool     in_flight, aborted;
    uint32_t chunk;                       /* bytes of the request in flight */
};

struct ide_channel {
    struct ide *ide;
    struct ide_drive drive[2];
    uint8_t  number, unit, control;
    bool     irq;                         /* INTRQ */
    uint8_t  bm_command, bm_status;
    uint32_t bm_table;                    /* as programmed */
    uint32_t prd_next, prd_address, prd_left; /* walk: next descriptor, what is left of the current one */
    uint8_t  prd_last;                    /* the current one has the end mark */
    struct gh_dma piece[IDE_DMA_PIECES];
    struct iovec vec[IDE_DMA_PIECES];
    unsigned pieces;
};

struct ide {
    struct gh_device *dev;
    struct gh_pci pci;
    char     addr[8];
    struct gh_block *block[4];            /* options */
    struct ide_channel channel[2];
    struct gh_done *quiesced;
};

static inline struct ide_drive *ide_selected(struct ide_channel *c) { return &c->drive[c->unit]; }
static inline bool ide_present(const struct ide_drive *d) { return d->block != NULL; }
static inline struct gh_device *ide_device(struct ide_drive *d) { return d->channel->ide->dev; }

/* ide.c */
void ide_irq(struct ide_channel *c, bool level);
void ide_done_ok(struct ide_drive *d);                       /* status good, interrupt */
void ide_done_error(struct ide_drive *d, uint8_t error);     /* status ERR, interrupt */
void ide_signature(struct ide_drive *d);
/* Sends one request; its end comes to ide_request_done. iov NULL: no data. */
void ide_submit(struct ide_drive *d, enum gh_block_op op, uint64_t offset, uint64_t bytes, const struct iovec *iov, unsigned n);
void ide_submit_buffer(struct ide_drive *d, enum gh_block_op op, uint64_t offset, uint32_t bytes); /* buf[0..bytes) */
/* Hands buf[0..bytes) to the guest, or takes it from the guest, in DRQ blocks. */
void ide_pio_in(struct ide_drive *d, enum ide_job job, uint32_t bytes);
void ide_pio_out(struct ide_drive *d, enum ide_job job, uint32_t bytes, bool interrupt);

/* ide_ata.c */
void ide_ata_command(struct ide_drive *d, uint8_t command);
void ide_ata_buffer_done(struct ide_drive *d);               /* the guest took or filled buf */
void ide_ata_request_done(struct ide_drive *d, int result);
void ide_ata_dma_data(struct ide_drive *d);                  /* DMA brought buf (TRIM) */

/* ide_atapi.c */
void ide_atapi_command(struct ide_drive *d, uint8_t command);
void ide_atapi_block(struct ide_drive *d);                   /* a DRQ block begins: byte count registers */
void ide_atapi_buffer_done(struct ide_drive *d);
void ide_atapi_request_done(struct ide_drive *d, int result);
void ide_atapi_complete(struct ide_drive *d, bool failed);

/* ide_dma.c */
void ide_dma_wait(struct ide_drive *d, enum ide_job job);    /* a DMA command is ready for the bus master */
void ide_dma_run(struct ide_channel *c);                     /* goes on if drive and bus master both are */
void ide_dma_chunk_done(struct ide_drive *d, int result);    /* unmaps; then the next chunk or the end */
void ide_dma_reset(struct ide_channel *c);
uint8_t ide_bm_read(struct ide_channel *c, unsigned reg);
void ide_bm_write(struct ide_channel *c, unsigned reg, uint8_t value);
