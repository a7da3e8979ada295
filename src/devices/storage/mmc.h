/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A CD/DVD-ROM as a SCSI command set: SPC-3 basics and MMC-5 for read-only media. The transport
 * (ATAPI on IDE or AHCI, virtio-scsi) moves the bytes; this file only answers commands.
 *
 * Left out on purpose: audio play, raw and CD-XA sectors, writing, DVD key exchange.
 * Thread: with the machine lock. Ownership: block belongs to the machine and may change its medium.
 */
#pragma once
#include "devices/backend.h"
#include "devices/device.h"

enum { GH_MMC_SECTOR = 2048, GH_MMC_BUFFER = 4096 };

struct gh_mmc {
    struct gh_block *block;
    uint8_t  key, asc, ascq;              /* sense data of the last failed command */
    uint8_t  attention;                   /* a medium change the guest was not told of yet */
    uint8_t  event;                       /* the next media event of GET EVENT STATUS */
    uint8_t  locked;
    uint64_t generation;                  /* of the medium seen last; not saved: rederived */
};
extern const struct gh_field gh_mmc_fields[];

enum gh_mmc_status {
    GH_MMC_GOOD,                          /* answer->bytes of data are in the buffer, may be 0 */
    GH_MMC_READ,                          /* answer->bytes from answer->offset of the medium */
    GH_MMC_PARAMETERS,                    /* wants answer->bytes from the host: then gh_mmc_parameters */
    GH_MMC_CHECK,                         /* CHECK CONDITION; key, asc, ascq say why */
};
struct gh_mmc_answer { uint64_t offset, bytes; };

/* Executes one command. buf has GH_MMC_BUFFER bytes. */
enum gh_mmc_status gh_mmc_command(struct gh_mmc *m, const uint8_t cdb[12], uint8_t *buf, struct gh_mmc_answer *ret);
enum gh_mmc_status gh_mmc_parameters(struct gh_mmc *m, const uint8_t cdb[12], const uint8_t *data, size_t len);
/* The medium could not be read; result is the backend's. */
void gh_mmc_failed(struct gh_mmc *m, int result);
void gh_mmc_reset(struct gh_mmc *m);
/* The backend's medium_event. */
void gh_mmc_medium_event(struct gh_mmc *m, bool eject_request);
