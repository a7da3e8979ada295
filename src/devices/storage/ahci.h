/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The AHCI controller's insides, shared by ahci.c (registers, resets, life), ahci_port.c (command lists,
 * FISes, DMA) and ahci_command.c (ATA and packet commands). Serial ATA AHCI 1.3, ICH9 (8086:2922).
 *
 *   PxCLB -> 32 headers of 32 bytes -> table: CFIS at 0, ACMD at 0x40, regions at 0x80
 *   PxFB  -> received FISes: PIO setup at 0x20, D2H register at 0x40, set device bits at 0x58
 *
 * A command runs from start to finish; its data moves in chunks of at most 1 MiB straight between guest
 * RAM and the backend, small answers through buf. Aborted commands whose request is still at the backend
 * keep their memory mapped until it comes back; the port starts nothing until then.
 * Thread: everything with the machine lock.
 */
#pragma once
#include "devices/backend.h"
#include "devices/chipset/pci.h"
#include "devices/device.h"
#include "devices/storage/ata.h"
#include "devices/storage/mmc.h"

enum { AHCI_PORTS = 6, AHCI_SLOTS = 32, AHCI_CHUNK = 1 << 20, AHCI_PIECES = 260, AHCI_BUFFER = GH_MMC_BUFFER,
       AHCI_TRIM_BLOCKS = AHCI_BUFFER / 512, AHCI_REGIONS_MAX = 65535 };
enum { ST_ERR = 0x01, ST_DRQ = 0x08, ST_DSC = 0x10, ST_DF = 0x20, ST_DRDY = 0x40, ST_BSY = 0x80 };
enum { ER_ABRT = 0x04, ER_IDNF = 0x10, ER_UNC = 0x40 };
enum ahci_is {                            /* PxIS, PxIE */
    IS_DHRS = 1 << 0, IS_PSS = 1 << 1, IS_DSS = 1 << 2, IS_SDBS = 1 << 3, IS_UFS = 1 << 4, IS_DPS = 1 << 5, IS_PCS = 1 << 6,
    IS_PRCS = 1 << 22, IS_OFS = 1 << 24, IS_IFS = 1 << 27, IS_HBDS = 1 << 28, IS_HBFS = 1 << 29, IS_TFES = 1 << 30,
};
enum ahci_cmd { CMD_ST = 1 << 0, CMD_SUD = 1 << 1, CMD_POD = 1 << 2, CMD_CLO = 1 << 3, CMD_FRE = 1 << 4, CMD_FR = 1 << 14,
                CMD_CR = 1 << 15, CMD_HPCP = 1 << 18, CMD_ATAPI = 1 << 24 };

struct ahci;
struct ahci_port;
/* A place in a command's table of regions. */
struct ahci_cursor { uint32_t region, offset; };

/* What a command came with and its end reports. */
struct ahci_registers { uint64_t lba; uint16_t count; uint8_t device; };

enum ahci_job { AHCI_DATA_IN, AHCI_READ, AHCI_WRITE, AHCI_FLUSH, AHCI_TRIM, AHCI_PACKET_READ };

struct ahci_command {
    struct ahci_port *port;
    uint8_t  slot, job, opcode;
    bool     queued, pio, fua;
    bool     flying;                      /* req is at the backend */
    bool     aborted;
    bool     region_done;                 /* a region with its interrupt bit was used up */
    uint8_t  fis[20], cdb[16];
    uint64_t table;                       /* address of the command table */
    uint32_t regions;
    struct ahci_cursor at;
    uint64_t offset, left, moved;         /* bytes: place on the medium, still to move, moved */
    uint32_t chunk, next, end;            /* of the request in flight; TRIM entries in buf */
    struct ahci_registers reg;
    struct gh_block_request req;
    unsigned pieces;
    struct gh_dma piece[AHCI_PIECES];
    struct iovec  vec[AHCI_PIECES];
    struct ahci_cursor before[AHCI_PIECES];
    uint8_t  buf[AHCI_BUFFER];
};

struct ahci_port {
    struct ahci *ahci;
    struct gh_block *block;
    uint8_t  number;
    bool     atapi;                       /* from the backend, decided at attach */
    bool     present;                     /* a drive hangs on the cable */
    uint32_t clb, clbu, fb, fbu, is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
    bool     halted;                      /* an error stopped the list until ST is cleared */
    bool     soft_reset;                  /* a FIS with SRST came, the one without did not yet */
    bool     signature_due;               /* the drive's first FIS waits for FRE */
    uint8_t  next_slot;
    uint8_t  multiple, transfer_mode, write_cache, smart;
    uint8_t  failed_tag, failed_status, failed_error;    /* log 10h; tag 0x80: nothing failed */
    uint64_t failed_lba;
    uint16_t failed_count;
    struct gh_mmc mmc;

    /* Not saved: nothing runs then. */
    uint32_t running;                     /* slots */
    unsigned flying;                      /* requests at the backend */
    bool     aborting;                    /* aborted ones are among them */
    struct ahci_command *command[AHCI_SLOTS];    /* made at first use, kept */
};

struct ahci {
    struct gh_device *dev;
    struct gh_pci pci;
    char     addr[8];
    struct gh_block *block[AHCI_PORTS];   /* options */
    uint32_t ghc, is;
    struct ahci_port port[AHCI_PORTS];
    struct gh_done *quiesced;
};

/* ahci.c */
void ahci_irq(struct ahci *s);                               /* recomputes IS and the line */
void ahci_drained(struct ahci_port *p);                      /* no aborted request is left */
void ahci_signature(struct ahci_port *p);                    /* the drive says who it is, when FRE allows */
void ahci_drive_reset(struct ahci_port *p);                  /* its settings after power-up */

/* ahci_port.c */
void ahci_run(struct ahci_port *p);                          /* starts what may start */
void ahci_abort(struct ahci_port *p);
void ahci_finish(struct ahci_command *c, uint8_t status, uint8_t error);
void ahci_fatal(struct ahci_port *p, uint32_t is, const char *what);   /* the list stops, IS says why */
bool ahci_post_d2h(struct ahci_port *p, const struct ahci_registers *r, uint8_t status, uint8_t error, bool interrupt);
/* Between buf and the command's regions; how many bytes there was room for. */
uint32_t ahci_move(struct ahci_command *c, uint8_t *buf, uint32_t bytes, bool to_guest);
void ahci_submit(struct ahci_command *c, enum gh_block_op op, uint64_t offset, uint64_t bytes);
void ahci_transfer(struct ahci_command *c);                  /* the next chunk of a read or write */
void ahci_check_quiet(struct ahci *s);

/* ahci_command.c */
void ahci_command_start(struct ahci_command *c);
void ahci_command_done(struct ahci_command *c, int result);  /* its request is done, data is unmapped */
bool ahci_is_queued(uint8_t opcode);
