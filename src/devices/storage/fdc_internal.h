/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What fdc.c (registers, commands) and fdc_transfer.c (media, data) share. Machine lock.
 *
 * A command's bytes collect in `fifo`, its data goes through `data`, which holds up to one track.
 * Both have their capacity here and are filled through checked functions only.
 */
#pragma once
#include "devices/backend.h"
#include "devices/chipset/i8237.h"
#include "devices/device.h"

enum { FDC_DRIVES = 2, FDC_FIFO_BYTES = 16, FDC_SECTOR_BYTES = 512, FDC_TRACK_SECTORS = 36,
       FDC_DATA_BYTES = FDC_TRACK_SECTORS * FDC_SECTOR_BYTES };
enum fdc_phase { FDC_COMMAND, FDC_EXECUTE, FDC_RESULT, FDC_PHASES };
/* What an executing command waits for. */
enum fdc_wait { FDC_WAIT_NOTHING, FDC_WAIT_BLOCK, FDC_WAIT_DMA, FDC_WAIT_HOST, FDC_WAITS };
enum fdc_kind { FDC_READ, FDC_WRITE, FDC_FORMAT, FDC_KINDS };

enum { ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_CHANGED = 0xc0, ST0_SEEK_END = 0x20, ST0_HEAD = 0x04 };
enum { ST1_MISSING_MARK = 0x01, ST1_WRITE_PROTECTED = 0x02, ST1_NO_DATA = 0x04, ST1_OVERRUN = 0x10,
       ST1_DATA_ERROR = 0x20, ST1_END = 0x80 };
enum { ST2_WRONG_CYLINDER = 0x10 };

struct fdc_geometry { uint32_t bytes; uint8_t cylinders, heads, sectors, rates; };

struct fdc_drive {
    struct gh_block *block;
    uint8_t  cylinder;                    /* where the head is */
    uint8_t  id_sector;                   /* what READ ID sees next, from 0 */
    bool     changed;                     /* the disk-change line */
};

struct fdc {
    struct fdc_drive drive[FDC_DRIVES];
    uint8_t  dor, tdr, rate;
    uint8_t  fifo[FDC_FIFO_BYTES], fifo_len, fifo_pos; /* command: received of len; result: read of len */
    uint8_t  phase, wait, kind;
    uint8_t  specify[2], config, precompensation, perpendicular;
    bool     locked, interrupt;
    uint8_t  reset_senses;                /* SENSE INTERRUPT answers that a reset left */
    uint8_t  seeking, seek_ended;         /* one bit a drive */
    uint8_t  seek_st0[4];
    /* The transfer of the executing command. */
    uint8_t  unit, head, sector, last_sector, filler, sector_code, multi_track;
    uint8_t  data[FDC_DATA_BYTES];
    uint32_t data_len, data_pos;
    uint32_t dma_tries;
    bool     terminal_count, verify;

    bool     in_flight, abandoned;        /* a block request; its result is not wanted any more */
    bool     start_later;                 /* a transfer waits for the abandoned request */
    struct gh_block_request request;
    struct iovec iov;
    struct gh_done *quiet;
    struct gh_isa_dma *dma;
    struct gh_device *dev;
    struct gh_timer event_timer, dma_timer;
    uint16_t iobase;                      /* options */
    uint8_t  irq, dma_channel;
};

/* fdc.c */
void fdc_set_interrupt(struct fdc *f, bool level);
/* Ends the executing command with the seven bytes of read and write commands. */
void fdc_finish(struct fdc *f, uint8_t st0, uint8_t st1, uint8_t st2);

/* fdc_transfer.c */
/* The medium's geometry; NULL: no medium, or none that a floppy drive takes. */
const struct fdc_geometry *fdc_medium(const struct fdc *f, unsigned unit, bool *ret_read_only);
/* The fifo holds a complete READ, WRITE, VERIFY, READ TRACK or FORMAT command. */
void fdc_transfer_start(struct fdc *f);
/* Non-DMA bytes at the data port. */
uint8_t fdc_host_read(struct fdc *f);
void fdc_host_write(struct fdc *f, uint8_t byte);
/* Forgets the executing transfer. */
void fdc_transfer_abandon(struct fdc *f);
void fdc_dma_timer(struct gh_device *dev, struct gh_timer *timer);
