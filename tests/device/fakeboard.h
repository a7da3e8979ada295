/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A board for device tests: the world a device sees, with a fake clock and nothing behind it.
 *
 *   struct gh_board *b = fake_board_new();
 *   struct gh_device *com = fake_add(b, "uart16550", "com1", "base=0x3f8,irq=4");
 *   fake_outb(b, 0x3f9, 1);                   // poke ports
 *   fake_step_ns(b, 1000000);                 // let a millisecond pass: due timers run, in order
 *   CHECK(fake_irq(b, 4));                    // read lines
 *   fake_board_free(b);
 *
 * One thread drives the board; irq_set, msi_send and defer may come from others (own small lock).
 * Time moves only in fake_step_ns and fake_run_deferred never moves it. Timers see now_ns = their
 * deadline, so a test is exact to the nanosecond. RAM is a flat piece from 0 (16 MiB); above
 * 16 MiB there is nothing but the ranges that devices claim. What no range answers reads all ones.
 *
 * Fields of struct gh_board that are documented below may be read and set by a test directly.
 */
#pragma once
#include <pthread.h>

#include "devices/backend.h"
#include "devices/device.h"
#include "devices/state.h"

enum {
    FAKE_RAM_BYTES = 16 << 20,
    FAKE_GSIS = 256,
    FAKE_MSI_LOG = 256,
    FAKE_DEVICES = 64,
    FAKE_RANGES = 256,
    FAKE_DEFERRED = 1024,
};

struct fake_msi { uint64_t address; uint32_t data; };
struct fake_deferred { struct gh_device *dev; void (*fn)(struct gh_device *, void *); void *arg; };
struct fake_range {
    struct gh_device *dev;
    unsigned number;
    struct gh_range_desc desc;
    bool     enabled;
    uint64_t *dirty;                      /* RAM with dirty_log: one bit a page */
};

struct gh_board {
    /* Clock: machine time and the UTC at machine time 0. A test may set both before it starts. */
    uint64_t now_ns, now_drift_ns;    /* drift: time also moves by so much whenever a device looks at it */
    uint64_t wall_base_ns;

    /* Guest RAM. dma_chunk: a map never crosses a multiple of it (0: off), to test split buffers. */
    uint8_t *ram;
    uint64_t dma_chunk;
    unsigned dma_maps_open;               /* mapped and not yet unmapped: must end at 0 */
    uint64_t dma_written;                 /* bytes of writable maps that were unmapped */

    /* Lines: level now, rising edges and changes since the start; gh_irq_set does nothing else
     * unless irq_hook is set (to wire the lines to an interrupt controller under test). */
    bool     irq_level[FAKE_GSIS];
    unsigned irq_edges[FAKE_GSIS], irq_changes[FAKE_GSIS];
    void   (*irq_hook)(struct gh_board *, unsigned gsi, bool level);
    void    *hook_opaque;

    /* Messages, the first FAKE_MSI_LOG kept; msi_count goes on counting. */
    struct fake_msi msi[FAKE_MSI_LOG];
    unsigned msi_count;

    /* Requests: how often each came, its last argument, and the last text. */
    unsigned requests[GH_REQUEST_INIT + 1];
    uint64_t request_arg[GH_REQUEST_INIT + 1];
    struct gh_error request_why;

    unsigned unclaimed;                   /* accesses that no range answered */
    unsigned refused;                     /* accesses whose handler said false */
    unsigned display_hints;               /* display_changed calls */

    /* The rest is the board's own. */
    struct gh_device *device[FAKE_DEVICES];
    unsigned device_count;
    bool     attached[FAKE_DEVICES];
    struct fake_range range[FAKE_RANGES];
    unsigned range_count;
    struct gh_timer *timers;              /* sorted by deadline */
    struct fake_deferred deferred[FAKE_DEFERRED];
    unsigned deferred_count;
    struct { char name[32]; void *object; } service[32];
    unsigned service_count;
    struct { struct gh_device *dev; const struct gh_display_ops *ops; } display[8];
    unsigned display_count;
    struct { struct gh_device *dev; unsigned kinds; const struct gh_input_ops *ops; } input[8];
    unsigned input_count;
    void    *allocated[64];               /* ram_alloc */
    unsigned allocated_count;
    pthread_mutex_t lock;
};

struct gh_board *fake_board_new(void);
const struct gh_board_ops *fake_board_ops(void);
/* Detaches all devices, newest first, and frees the board. */
void fake_board_free(struct gh_board *b);

/* ---- Devices ---- */
/* The usual way: options "name=value,name=value" or NULL; attach, cold reset. Prints and exits on failure. */
struct gh_device *fake_add(struct gh_board *b, const char *class_name, const char *id, const char *options);
/* The same in steps, for backends and for errors: create (defaults set), then gh_option_set and
 * gh_option_pointer on dev->class->options and dev->state, then attach (includes the cold reset). */
struct gh_device *fake_create(struct gh_board *b, const char *class_name, const char *id);
/* The same for a class that only the test has. */
struct gh_device *fake_create_class(struct gh_board *b, const struct gh_device_class *class, const char *id);
int  fake_set_options(struct gh_device *dev, const char *options, struct gh_error *err);
void fake_set_backend(struct gh_device *dev, const char *option, void *backend);
int  fake_attach(struct gh_device *dev, struct gh_error *err);
void fake_reset(struct gh_board *b, enum gh_reset why);    /* all devices, after quiesce */
void fake_quiesce(struct gh_board *b);                     /* steps the clock until all are quiet */
void fake_provide(struct gh_board *b, const char *service, void *object);
void *fake_lookup_service(struct gh_board *b, const char *service);   /* NULL: nobody provides it */

/* ---- Guest accesses ---- */
uint8_t  fake_inb(struct gh_board *b, uint16_t port);
uint16_t fake_inw(struct gh_board *b, uint16_t port);
uint32_t fake_inl(struct gh_board *b, uint16_t port);
void fake_outb(struct gh_board *b, uint16_t port, uint8_t v);
void fake_outw(struct gh_board *b, uint16_t port, uint16_t v);
void fake_outl(struct gh_board *b, uint16_t port, uint32_t v);
/* REP INS/OUTS: count elements of width bytes; one call for ranges with repeat, else one by one. */
void fake_rep(struct gh_board *b, uint16_t port, unsigned width, bool write, uint32_t count, void *data);
/* RAM, RAM ranges and handlers; width 1, 2, 4, 8. */
uint64_t fake_read(struct gh_board *b, uint64_t gpa, unsigned width);
void fake_write(struct gh_board *b, uint64_t gpa, unsigned width, uint64_t v);

/* ---- Time ---- */
void fake_step_ns(struct gh_board *b, uint64_t ns);        /* timers and deferred calls run when due */
/* Steps to the next armed timer, at most limit_ns; false: none was armed before the limit. */
bool fake_step_to_timer(struct gh_board *b, uint64_t limit_ns);
void fake_run_deferred(struct gh_board *b);
uint64_t fake_next_timer(const struct gh_board *b);        /* UINT64_MAX: none armed */

/* ---- Lines ---- */
static inline bool fake_irq(const struct gh_board *b, unsigned gsi) { return b->irq_level[gsi]; }
/* Rising edges since the last call. */
unsigned fake_irq_take(struct gh_board *b, unsigned gsi);

/* ---- Saved state ---- */
/* Quiesces, then appends a section for each device in order. */
void fake_save(struct gh_board *b, struct gh_state_buffer *buf);
/* Into a board with the same devices; fills all, then calls loaded of all. */
int  fake_load(struct gh_board *b, const void *data, size_t len, struct gh_error *err);

/* ---- Input, display: the first that a device offered, NULL if none ---- */
const struct gh_input_ops *fake_input(struct gh_board *b, unsigned kind, struct gh_device **ret_dev);
const struct gh_display_ops *fake_display(struct gh_board *b, struct gh_device **ret_dev);
