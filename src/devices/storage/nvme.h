/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The NVMe controller's insides, shared by nvme.c (registers, queues, life), nvme_admin.c (admin commands)
 * and nvme_io.c (PRPs and I/O commands). NVM Express 1.4, one namespace.
 *
 *   submission queue (64-byte entries) -> fetch -> execute -> completion queue (16-byte entries, phase bit)
 *
 * A command is fetched only when its completion queue has room for its end, so that nothing finished ever
 * waits. Data moves between guest RAM and the backend in one request of at most 1 MiB.
 * Thread: everything with the machine lock.
 */
#pragma once
#include "devices/backend.h"
#include "devices/chipset/pci.h"
#include "devices/device.h"

enum { NVME_QUEUES_MAX = 16, NVME_VECTORS = NVME_QUEUES_MAX + 1, NVME_ENTRIES_MAX = 1024, NVME_PAGE = 4096,
       NVME_TRANSFER_MAX = 1 << 20, NVME_PAGES_MAX = NVME_TRANSFER_MAX / NVME_PAGE + 1, NVME_IN_FLIGHT_MAX = 256,
       NVME_AERS = 4, NVME_SECTOR = 512, NVME_SQE = 64, NVME_CQE = 16, NVME_RANGES_MAX = 256 };
/* Status: type in bits 8..10, code below, 0x4000: do not retry. */
enum {
    NVME_OK = 0, NVME_NO_RETRY = 0x4000,
    NVME_INVALID_OPCODE = 0x4001, NVME_INVALID_FIELD = 0x4002, NVME_DATA_ERROR = 0x4004, NVME_INTERNAL = 0x0006,
    NVME_ABORTED = 0x0007, NVME_INVALID_NAMESPACE = 0x400b, NVME_SEQUENCE = 0x400c, NVME_INVALID_PRP = 0x4013,
    NVME_LBA_RANGE = 0x4080, NVME_BAD_CQ = 0x4100, NVME_BAD_QUEUE = 0x4101, NVME_BAD_SIZE = 0x4102, NVME_TOO_MANY_AERS = 0x4105,
    NVME_BAD_VECTOR = 0x4108, NVME_BAD_LOG = 0x4109, NVME_BAD_DELETION = 0x410c, NVME_NOT_SAVEABLE = 0x410d,
    NVME_NOT_CHANGEABLE = 0x410e, NVME_READ_ONLY = 0x4020, NVME_WRITE_FAULT = 0x0280, NVME_READ_FAULT = 0x0281,
    NVME_PENDING = 0xffff,                /* not a status: the end comes later */
};
enum nvme_feature_id { FEAT_ARBITRATION = 1, FEAT_POWER = 2, FEAT_TEMPERATURE = 4, FEAT_RECOVERY = 5, FEAT_WRITE_CACHE = 6, FEAT_QUEUES = 7,
       FEAT_COALESCING = 8, FEAT_VECTOR = 9, FEAT_ATOMICITY = 10, FEAT_EVENTS = 11, NVME_FEATURES = 12 };
enum { EVENT_ERROR = 1, EVENT_NAMESPACE = 2 };                /* pending asynchronous events, bits */

struct nvme_sq {
    uint64_t base;
    uint16_t entries, head, tail, cq;     /* entries 0: does not exist */
    /* Not saved: nothing runs then. */
    bool     deleting;
    uint16_t deleting_cid;
    unsigned in_flight;
};
struct nvme_cq {
    uint64_t base;
    uint16_t entries, head, tail, vector;
    bool     interrupts, phase;
    unsigned reserved;                    /* not saved: room that commands in flight have */
};
struct nvme {
    struct gh_device *dev;
    struct gh_pci pci;
    char     addr[8];
    struct gh_block *block;
    uint8_t  queues;
    uint32_t cc, csts, aqa, intm;
    uint64_t asq, acq;
    struct nvme_sq sq[NVME_VECTORS];      /* 0: admin */
    struct nvme_cq cq[NVME_VECTORS];
    uint32_t feature[NVME_FEATURES];
    uint16_t aer[NVME_AERS];              /* cids that wait for an event */
    uint8_t  aer_count, events, events_masked, error_info;
    uint64_t error_count;
    uint16_t error_sq, error_cid, error_status;
    uint64_t error_lba;
    bool     namespace_changed;
    uint64_t units_read, units_written, host_reads, host_writes; /* sectors and commands */
    struct gh_pci_msix_entry msix_table[NVME_VECTORS];
    uint32_t msix_pending[1];

    uint64_t generation;                  /* of the controller's life: older commands are nobody's */
    unsigned flying;                      /* requests at the backend */
    bool     stopping, shutdown_flush, running;
    struct gh_block_request flush;
    struct gh_done *quiesced;
};

/* One command in flight. The arrays follow it. */
struct nvme_command {
    struct gh_block_request req;
    struct nvme *s;
    uint64_t generation, lba;
    uint16_t sq, cid;
    uint16_t ranges, range;               /* dataset management: how many, the next */
    unsigned pieces;
    struct gh_dma *piece;
    struct iovec *vec;
    uint8_t *data;
};

/* nvme.c */
void nvme_complete(struct nvme *s, unsigned sq, uint16_t cid, uint16_t status, uint32_t result);
void nvme_fatal(struct nvme *s, const char *what);
void nvme_run(struct nvme *s);                                /* fetches and executes what may be */
void nvme_event(struct nvme *s, unsigned event);              /* something to tell by an asynchronous event */
void nvme_events_deliver(struct nvme *s);
void nvme_request_ended(struct nvme *s);                      /* one less at the backend */
void nvme_sq_drained(struct nvme *s, unsigned sq);            /* a queue under deletion is empty */

/* nvme_admin.c: status, or NVME_PENDING; *result is dword 0 of the completion. */
uint16_t nvme_admin(struct nvme *s, const uint8_t *sqe, uint16_t cid, uint32_t *result);

/* nvme_io.c */
uint16_t nvme_io(struct nvme *s, unsigned sq, const uint8_t *sqe, uint16_t cid);
/* Maps the pages of a command's two PRPs; returns a status. command->piece and vec have NVME_PAGES_MAX entries. */
uint16_t nvme_map(struct nvme_command *c, uint64_t prp1, uint64_t prp2, uint64_t bytes, bool to_guest);
void nvme_unmap(struct nvme_command *c);
uint16_t nvme_to_guest(struct nvme *s, const uint8_t *sqe, const void *data, size_t bytes);
struct nvme_command *nvme_command_new(struct nvme *s, unsigned sq, uint16_t cid, size_t data_bytes);
