/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a device is and what the world gives it. The world (struct gh_board) is the machine, or
 * the fake board of the device tests with its fake clock: devices cannot tell.
 *
 * Threads and locks: every callback of a class runs with the machine lock held by the caller.
 * Only gh_irq_set, gh_msi_send, gh_now_ns and gh_defer may be called from other threads.
 * Ownership: the board allocates dev and dev->state (zeroed) and frees both after detach.
 * Nothing a guest does may reach an assert; every guest-driven loop has a step budget.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"

struct gh_device;
struct gh_board;
struct gh_block;
struct gh_char;
struct gh_netdev;

/* ---- Guest accesses -------------------------------------------------------------------------- */
/* Width (1, 2, 4, 8) and bounds are checked against the range. count > 1: REP INS/OUTS elements of
 * the same width at data, otherwise value is used. */
struct gh_access {
    uint64_t offset;
    uint8_t  width;
    bool     write;
    uint32_t count;
    union { uint64_t value; void *data; };
};
/* false: no such register; reads become all ones, counted as a guest error. */
typedef bool (*gh_access_fn)(struct gh_device *dev, unsigned range, struct gh_access *a);

enum gh_range_space { GH_SPACE_PIO, GH_SPACE_MMIO };
enum gh_range_kind {
    GH_RANGE_HANDLER,      /* every access calls fn */
    GH_RANGE_RAM,          /* RAM-backed piece (VRAM): fast, dirty-logged if asked */
    GH_RANGE_ROM,          /* reads from memory, writes call fn (may be NULL: ignored) */
};
enum gh_width_mask { GH_W8 = 1, GH_W16 = 2, GH_W32 = 4, GH_W64 = 8, GH_W_ALL = 15 };

struct gh_range_desc {
    const char *name;
    enum gh_range_space space;
    enum gh_range_kind kind;
    uint64_t base, size;
    int      priority;     /* higher wins where ranges overlap; RAM of the machine is 0 */
    bool     disabled;     /* comes up switched off (BARs, PAM) */
    bool     dirty_log;
    unsigned widths;       /* enum gh_width_mask; other widths are split into the widest allowed, 0: all */
    gh_access_fn fn;
    uint8_t *host;         /* RAM and ROM: memory from gh_ram_alloc, page aligned */
    bool     repeat;       /* fn takes count > 1 itself */
    bool     lockless;     /* fn may run without the machine lock, on any thread (PM timer, HPET counter) */
};

/* ---- Options: data, so that --help, settings rows and validation come from one table ----------- */
enum gh_type { GH_T_BOOL, GH_T_U8, GH_T_U16, GH_T_U32, GH_T_U64, GH_T_STRING /* char[n] */, GH_T_BYTES,
               GH_T_BLOCK, GH_T_CHAR, GH_T_NET /* named backend, a pointer field */,
               GH_T_TABLE /* saved fields only: embedded structs described by a table of their own */ };
struct gh_option {
    const char *name;
    enum gh_type type;
    uint32_t offset, size; /* into the state struct */
    uint64_t min, max;     /* numbers */
    const char *fallback;  /* default as text; NULL: must be given (backends: may stay NULL) */
    const char *help;      /* translatable */
};
#define GH_OPT(type_, struct_, member_, name_, min_, max_, fallback_, help_)                       \
    { .name = name_, .type = type_, .offset = offsetof(struct_, member_),                          \
      .size = sizeof(((struct_ *)0)->member_), .min = min_, .max = max_, .fallback = fallback_, .help = help_ }

/* ---- Saved state: stable name, type, place, how many, and the version that added it ------------- */
/* BYTES and STRING: count is the size in bytes. TABLE: count structs of stride bytes. */
struct gh_field {
    const char *name; enum gh_type type; uint32_t offset, count; uint16_t since;
    const struct gh_field *table; uint32_t stride;
};
#define GH_FIELD(type_, struct_, member_, since_)                                                  \
    { .name = #member_, .type = type_, .offset = offsetof(struct_, member_), .count = 1, .since = since_ }
#define GH_FIELD_ARRAY(type_, struct_, member_, count_, since_)                                    \
    { .name = #member_, .type = type_, .offset = offsetof(struct_, member_), .count = count_, .since = since_ }
/* An embedded struct of type element_, or an array of count_ of them. */
#define GH_FIELD_TABLE(struct_, member_, element_, table_, count_, since_)                         \
    { .name = #member_, .type = GH_T_TABLE, .offset = offsetof(struct_, member_), .count = count_,   \
      .since = since_, .table = table_, .stride = sizeof(element_) }

enum gh_reset {
    GH_RESET_COLD, GH_RESET_WARM,
    GH_RESET_WAKE,                    /* from sleep (ACPI S3): memory and what maps it stay */
};

/* ---- Completion of asynchronous work ------------------------------------------------------------ */
struct gh_done { void (*fn)(struct gh_done *done); void *opaque; };

struct gh_device_class {
    const char *name;                 /* stable in definitions and saved states */
    const char *summary;              /* translatable; the GUI and `--list-devices` show it */
    size_t state_size;                /* allocated zeroed by the board, one per instance */
    uint16_t version;                 /* of the saved fields */
    const struct gh_option *options;  /* ends with name NULL; may be NULL */
    const struct gh_field *saved;     /* ends with name NULL; may be NULL */
    int  (*attach)(struct gh_device *dev, struct gh_error *err); /* claim ranges, lines, timers; may fail */
    void (*reset)(struct gh_device *dev, enum gh_reset why);     /* cannot fail */
    int  (*loaded)(struct gh_device *dev, struct gh_error *err); /* optional: refuse impossible saved state */
    void (*quiesce)(struct gh_device *dev, struct gh_done *done);/* optional: stop new I/O, finish what flies */
    void (*detach)(struct gh_device *dev);                       /* accepts a half-attached device */
};

struct gh_device {
    const struct gh_device_class *class;
    struct gh_board *board;
    const struct gh_board_ops *ops;
    char  id[32];                     /* instance: "ide0", "com1" */
    void *state;
    uint64_t guest_errors;
    uint64_t guest_error_second;      /* rate limit of the log, device.c */
    unsigned guest_errors_logged;
};

/* ---- Timers on the machine clock ------------------------------------------------------------------ */
struct gh_timer {                     /* embedded in the device's state; zeroed = disarmed */
    void (*fn)(struct gh_device *dev, struct gh_timer *timer);
    struct gh_device *dev;
    uint64_t deadline_ns;             /* 0: disarmed */
    struct gh_timer *prev, *next;     /* the board's */
};

/* ---- DMA: guest RAM only --------------------------------------------------------------------------- */
struct gh_dma { void *host; uint64_t gpa; uint64_t bytes; bool write; };

/* The guest rang doorbell number of the device: on a worker's thread, machine lock held. */
typedef void (*gh_doorbell_fn)(struct gh_device *dev, unsigned number);

enum gh_request {                     /* what a device asks of the whole machine */
    GH_REQUEST_RESET, GH_REQUEST_POWEROFF,
    GH_REQUEST_SUSPEND,               /* ACPI S3: the vCPUs stop, devices and clock go on until WAKE or a reset */
    GH_REQUEST_WAKE,                  /* a reset that firmware takes for the end of S3; nothing unless asleep */
    GH_REQUEST_DEBUG_EXIT,            /* arg: the exit status */
    GH_REQUEST_GUEST_PANIC,           /* arg: pvpanic bits */
    GH_REQUEST_PAUSE,                 /* storage error and the like; err says why */
    GH_REQUEST_A20,                   /* arg: 0 or 1 */
    GH_REQUEST_INIT,                  /* a PC's CPU reset: keyboard controller, port 92h. A whole reset
                                       * unless CMOS 0Fh says where the guest goes on */
};

/* ---- Display and input: what devices offer to the machine -------------------------------------------- */
struct gh_rect { uint32_t x, y, w, h; };
struct gh_display_mode { uint32_t width, height; uint64_t generation; };  /* generation: changes with the mode */
struct gh_display_ops {
    void (*mode)(struct gh_device *dev, struct gh_display_mode *ret);
    /* Converts what changed since the last call (everything if full) into XRGB8888 at pixels;
     * returns how many rects it filled, 0: nothing changed. Must be cheap when idle. */
    unsigned (*render)(struct gh_device *dev, uint32_t *pixels, uint32_t stride_bytes, bool full,
                       struct gh_rect *rects, unsigned max_rects);
};
enum gh_input_kind { GH_INPUT_KEYBOARD = 1, GH_INPUT_RELATIVE = 2, GH_INPUT_ABSOLUTE = 4 };
struct gh_input_ops {                 /* codes are Linux evdev codes (KEY_*, BTN_*) */
    void (*key)(struct gh_device *dev, uint16_t code, bool down);
    void (*relative)(struct gh_device *dev, int32_t dx, int32_t dy, int32_t wheel);
    void (*absolute)(struct gh_device *dev, uint16_t x, uint16_t y);  /* 0..32767 across the screen */
    void (*button)(struct gh_device *dev, uint16_t code, bool down);
    void (*sync)(struct gh_device *dev);                              /* end of one report */
    bool (*active)(struct gh_device *dev);  /* the guest drives it now; NULL: always */
};

/* ---- The world ------------------------------------------------------------------------------------------ */
struct gh_board_ops {
    int  (*range_add)(struct gh_board *, struct gh_device *, unsigned range, const struct gh_range_desc *,
                      struct gh_error *);       /* range: the device's own number, passed back to fn */
    /* Takes effect at the end of the guest's instruction. */
    void (*range_set)(struct gh_board *, struct gh_device *, unsigned range, bool enabled, uint64_t base);
    void (*range_host)(struct gh_board *, struct gh_device *, unsigned range, uint8_t *host); /* new backing */
    unsigned (*range_dirty)(struct gh_board *, struct gh_device *, unsigned range, uint64_t *bitmap,
                            size_t pages);      /* harvest: ORs and clears; returns pages set */
    uint8_t *(*ram_alloc)(struct gh_board *, uint64_t bytes, const char *name, struct gh_error *);
    void (*irq_set)(struct gh_board *, unsigned gsi, bool level);
    void (*msi_send)(struct gh_board *, uint64_t address, uint32_t data);
    uint64_t (*now_ns)(struct gh_board *);
    uint64_t (*wall_ns)(struct gh_board *);     /* UTC, nanoseconds since 1970, for the RTC only */
    void (*timer_arm)(struct gh_board *, struct gh_timer *, uint64_t deadline_ns);
    void (*timer_disarm)(struct gh_board *, struct gh_timer *);
    /* Maps as much of [gpa, gpa+bytes) as is contiguous RAM; false: not RAM. unmap of a write marks
     * dirty pages and invalidates translated code before the device signals completion. */
    bool (*dma_map)(struct gh_board *, uint64_t gpa, uint64_t bytes, bool write, struct gh_dma *ret);
    void (*dma_unmap)(struct gh_board *, struct gh_dma *);
    /* Runs fn on the machine's main thread, with the lock. Any thread. */
    void (*defer)(struct gh_board *, struct gh_device *, void (*fn)(struct gh_device *, void *), void *arg);
    void (*request)(struct gh_board *, struct gh_device *, enum gh_request, uint64_t arg,
                    const struct gh_error *why);
    void *(*lookup)(struct gh_board *, const char *service); /* "pci.0", "pic", "ioapic", "isa-dma", "fw_cfg" */
    void (*provide)(struct gh_board *, const char *service, void *object);
    void (*display_add)(struct gh_board *, struct gh_device *, const struct gh_display_ops *);
    void (*display_changed)(struct gh_board *, struct gh_device *); /* hint: something to show soon */
    void (*input_add)(struct gh_board *, struct gh_device *, unsigned kinds, const struct gh_input_ops *);
    struct gh_device *(*find)(struct gh_board *, const char *id);
    /* From attach: writes of width bytes at offset of an MMIO range call fn, whatever is written, without the vCPU's
     * waiting, where the accelerator can. Other widths, and all writes elsewhere, go on reaching the range's handler;
     * a ring may be late (after a reset, with the queue gone) or stand for several. Optional. */
    bool (*doorbell)(struct gh_board *, struct gh_device *, unsigned range, uint64_t offset, unsigned width,
                     gh_doorbell_fn fn, unsigned number);
};

static inline int gh_range_add(struct gh_device *d, unsigned r, const struct gh_range_desc *desc, struct gh_error *e)
{ return d->ops->range_add(d->board, d, r, desc, e); }
static inline void gh_range_set(struct gh_device *d, unsigned r, bool on, uint64_t base)
{ d->ops->range_set(d->board, d, r, on, base); }
static inline void gh_irq_set(struct gh_device *d, unsigned gsi, bool level) { d->ops->irq_set(d->board, gsi, level); }
static inline void gh_msi_send(struct gh_device *d, uint64_t a, uint32_t v) { d->ops->msi_send(d->board, a, v); }
static inline uint64_t gh_now_ns(struct gh_device *d) { return d->ops->now_ns(d->board); }
static inline void gh_timer_init(struct gh_timer *t, struct gh_device *d, void (*fn)(struct gh_device *, struct gh_timer *))
{ *t = (struct gh_timer){ .fn = fn, .dev = d }; }
static inline void gh_timer_arm(struct gh_timer *t, uint64_t deadline_ns)
{ t->dev->ops->timer_arm(t->dev->board, t, deadline_ns ? deadline_ns : 1); }
static inline void gh_timer_disarm(struct gh_timer *t) { if (t->dev) t->dev->ops->timer_disarm(t->dev->board, t); }
static inline void gh_defer(struct gh_device *d, void (*fn)(struct gh_device *, void *), void *arg)
{ d->ops->defer(d->board, d, fn, arg); }
static inline bool gh_doorbell(struct gh_device *d, unsigned range, uint64_t offset, unsigned width, gh_doorbell_fn fn, unsigned number)
{ return d->ops->doorbell && d->ops->doorbell(d->board, d, range, offset, width, fn, number); }
static inline void *gh_lookup(struct gh_device *d, const char *service) { return d->ops->lookup(d->board, service); }

/* device.c: helpers over the ops. */
bool gh_dma_read(struct gh_device *dev, uint64_t gpa, void *buf, uint64_t bytes);   /* false: part not RAM */
bool gh_dma_write(struct gh_device *dev, uint64_t gpa, const void *buf, uint64_t bytes);
/* Guest errors: counted, logged at most 10 a second per device. */
void gh_guest_error(struct gh_device *dev, const char *fmt, ...) GH_PRINTF(2, 3);
/* Sets one option from text; the error names the row. Backends are set by pointer. */
int  gh_option_set(const struct gh_option *table, void *state, const char *name, const char *value, struct gh_error *err);
int  gh_option_defaults(const struct gh_option *table, void *state, struct gh_error *err);
int  gh_option_pointer(const struct gh_option *table, void *state, const char *name, void *pointer, struct gh_error *err);

/* registry.c: the one visible table of all classes, NULL-terminated. */
extern const struct gh_device_class *const gh_device_classes[];
const struct gh_device_class *gh_device_class_find(const char *name);
