/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The crash harness of test-crash.c in parts. One thread. No part but test-crash.c itself may use CHECK, whose counts are each
 * file's own: the others return how much is wrong, or give up by CHECK_FATAL.
 *
 * A sector holds 64 times its number and version, so that any misplaced sector shows.
 */
#pragma once
#include "../check.h"
#include "disk/driver.h"

enum { SECTOR = 512, DISK_SECTORS = 16384, MAX_WRITE = 300, MAX_OPS = 600 };

/* ---- The images under test (crash-image.c) --------------------------------------------------------------- */
struct kind { const char *name, *format, *variant; uint64_t cluster; bool child, extended; unsigned version; };
extern const struct kind kinds[];
extern const unsigned kind_count;
extern const struct kind *kind;                /* the one that is tested */
extern uint32_t seed;
uint32_t rnd(uint32_t n);                      /* below n; 0: any */

int make(void);                                /* a new image in memory; its descriptor is the caller's */
struct gh_image *open_fd(int fd, bool writable, struct gh_error *err);
uint32_t first_version(uint32_t sector);       /* what a sector of a new image holds */
uint32_t version_of(const uint8_t *buf, uint32_t sector); /* 0: zeros; UINT32_MAX: nothing that was ever written */
/* Is this what a sector's write leaves that was ended in its middle: at first the new words, then the old ones? The kernel stops between
 * pages of the writer's memory, and early where one of them was just being moved. */
bool half_written(const uint8_t *buf, uint32_t sector, uint32_t before, uint32_t after);
/* 1: gh_image_check finds errors. open_ops: operations that may have been interrupted. */
int repaired(struct gh_image *img, uint32_t open_ops);

/* One random operation of the guest. */
struct op { uint32_t sector, count, version; bool zero; };
struct op random_op(uint32_t version);
int carry_out(struct gh_image *img, const struct op *o);
static inline uint32_t shown(const struct op *o) { return o->zero ? 0 : o->version; }

/* ---- The shim (crash-shim.c) --------------------------------------------------------------------------------- */
/* The rules, broken by the shim. */
enum plant {
    PLANT_NONE,
    PLANT_NO_BARRIER,        /* data is not durable before the pointer that hides what was there */
    PLANT_EMPTY_FLUSH,       /* a flush completes without making anything durable */
    PLANT_POINTER_IN_MEMORY, /* a completed write is known to our memory only */
    PLANT_LATE_REFCOUNT,     /* a cluster is used before its count says so */
    PLANT_BELIEVED_WRITE,    /* a write that failed counts as done */
    PLANT_FORGOTTEN_FLUSH,   /* a failed flush is forgotten at the next try */
    PLANT_EARLY_FREE,        /* a count falls before the pointer is gone */
    PLANT_NO_DIRTY_MARK,     /* qcow2's dirty bit is not durable before the first change */
    PLANT_ONE_TABLE,         /* VMDK's second grain table is not written */
    PLANT_NO_FOOTER,         /* VHD's footer is not written again behind a new block */
};
extern enum plant plant;

struct record { enum gh_file_op op; uint64_t offset, bytes; uint8_t *data; bool guest_flush; uint32_t guest_op; };
/* What records, and what breaks rules. */
struct shim {
    struct record *records;
    unsigned record_count, record_room;
    bool recording, in_guest_flush;
    uint32_t current_op;
    unsigned countdown;                        /* the call that fails; 0: none */
    int fail_code;
    bool fail_memory, failed_flush;
};
extern struct shim shim;
extern struct gh_file_hook hook;
void find_second_tables(int fd);               /* VMDK: where its second tables lie */

/* ---- Power loss (crash-power.c) ------------------------------------------------------------------------------- */
/* One history of writes and so many images of a crash in it. Returns how many are wrong, and stops after five of them. */
unsigned power_history(unsigned crashes, uint64_t *ret_looked_at);
