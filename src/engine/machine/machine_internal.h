/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the machine share. Lock: `lock` is the machine lock unless said otherwise. */
#pragma once
#include <pthread.h>

#include "base/loop.h"
#include "devices/chipset/i440fx.h"
#include "engine/machine/clock.h"
#include "engine/machine/machine.h"
#include "engine/machine/memmap.h"
#include "engine/machine/ram.h"

enum { GH_CPUS_MAX = 64, GH_SERVICES_MAX = 32, GH_INPUTS_MAX = 8 };

struct gh_board { struct gh_machine *machine; };

struct gh_machine_vcpu {
    struct gh_machine *machine;
    struct gh_vcpu *accel;
    pthread_t thread;
    unsigned index;
    bool started, in_guest;            /* in_guest: may touch guest memory without the lock */
    bool running;                      /* inside run, or in the middle of an instruction outside it */
    bool midway;                       /* out of run, which has to complete an access when it goes on */
    bool reset_pending, keep_lapic;
    bool held;                         /* a debugger keeps it where it is while others run */
    uint64_t exits[GH_EXIT_COUNT_];
};

struct gh_input_sink { struct gh_device *dev; unsigned kinds; const struct gh_input_ops *ops; };

struct gh_machine {
    struct gh_board board;
    struct gh_machine_config cfg;
    struct gh_machine_events events;
    struct gh_loop *loop;
    struct gh_loop_source *clock_source;
    pthread_mutex_t lock;
    pthread_cond_t vcpu_cond;          /* vCPUs stopped, or may go on */
    enum gh_machine_state state;
    bool     paused, quit;
    bool     asleep;                  /* ACPI S3: the vCPUs are out, everything else runs */
    unsigned stop_requests;            /* somebody needs all other vCPUs out of the guest */
    unsigned park_requests;            /* somebody needs them between two instructions */
    unsigned resets_pending;           /* vCPUs that have not reset themselves yet; nobody runs before the last has */

    struct gh_ram ram;
    struct gh_memmap map;
    struct gh_clock clock;
    struct gh_accel_env env;
    struct gh_accel_vm *vm;
    struct gh_machine_vcpu vcpu[GH_CPUS_MAX];

    struct gh_doorbell *doorbells;

    struct gh_device *device[64];
    unsigned device_count;
    struct gh_device self;             /* owner of the machine's own ranges */
    struct { const char *name; void *object; } service[GH_SERVICES_MAX];
    unsigned service_count;

    struct gh_memory_control memory_control;
    struct gh_pic *pic;
    struct gh_ioapic *ioapic;
    struct gh_device *display;
    const struct gh_display_ops *display_ops;
    struct gh_display_mode screen;     /* as last told to the outside */
    void (*display_change)(void *opaque);
    void *display_change_opaque;
    struct gh_input_sink input[GH_INPUTS_MAX];
    unsigned input_count;

    struct gh_range *pam[13];
    uint8_t *bios_host;                /* the BIOS image, whole, at the top of 4 GiB */
    uint64_t bios_bytes;

    _Atomic uint32_t requests;         /* 1 << enum gh_request; taken by the main thread */
    /* A reset, a pause or the end was asked for and not served yet: no vCPU starts another instruction, as after the
     * write to a real chip's port. ending: the end was asked for; the first one who did says how. */
    _Atomic bool halting, ending;
    uint64_t request_arg[8];
    struct gh_error pause_reason;
    /* A debugger's: called on the vCPU's thread with the lock when it met a debug point. NULL without one. */
    void (*debug_hit)(void *opaque, unsigned vcpu, const struct gh_exit *exit);
    void *debug_opaque;
};

extern const struct gh_board_ops gh_machine_board_ops;

static inline struct gh_machine *gh_board_machine(struct gh_board *b) { return b->machine; }

/* vcpu.c */
int  gh_vcpus_create(struct gh_machine *m, struct gh_error *err);
void gh_vcpus_start(struct gh_machine *m);
void gh_vcpus_join(struct gh_machine *m);
void gh_vcpus_kick(struct gh_machine *m);
/* Lock held. Returns with every vCPU but self (-1: none) out of the guest until _go is called. */
void gh_vcpus_stop_others(struct gh_machine *m, int self);
void gh_vcpus_go(struct gh_machine *m);
/* Lock held; not on a vCPU's thread. Returns with every vCPU between two instructions until _unpark is called. */
void gh_vcpus_park(struct gh_machine *m);
void gh_vcpus_unpark(struct gh_machine *m);
/* Lock held, all out of the guest: each resets itself, and none goes on before all have. */
void gh_vcpus_reset(struct gh_machine *m, bool keep_lapic);
void gh_vcpu_env_init(struct gh_machine *m);

/* board.c */
int  gh_board_build(struct gh_machine *m, struct gh_error *err);
void gh_board_teardown(struct gh_machine *m);
void gh_board_reset(struct gh_machine *m, enum gh_reset why);
struct gh_device *gh_board_add(struct gh_machine *m, const struct gh_device_config *cfg, struct gh_error *err);
void gh_board_counters(struct gh_machine *m, void (*visit)(void *, const char *, uint64_t), void *opaque);

/* Lock held. Publishes an edited map; self: the calling vCPU or -1. */
int  gh_machine_publish(struct gh_machine *m, int self, struct gh_error *err);
void gh_machine_request(struct gh_machine *m, enum gh_request what, uint64_t arg, const struct gh_error *why);
/* doorbell.c. Lock held, but for _free: before the devices go. _place: after each new view of the address space. */
bool gh_doorbell_add(struct gh_machine *m, struct gh_device *dev, unsigned range, uint64_t offset, unsigned width, gh_doorbell_fn fn,
                     unsigned number);
void gh_doorbells_place(struct gh_machine *m);
void gh_doorbells_free(struct gh_machine *m);
void gh_doorbells_counters(struct gh_machine *m, void (*visit)(void *, const char *, uint64_t), void *opaque);
/* irq.c: any thread. */
void gh_machine_irq(struct gh_machine *m, unsigned gsi, bool level);
void gh_irq_wire(struct gh_machine *m);
/* firmware.c */
int  gh_firmware_load(struct gh_machine *m, struct gh_error *err);
int  gh_firmware_tables(struct gh_machine *m, struct gh_error *err); /* after the devices stand */
void gh_firmware_reset(struct gh_machine *m, enum gh_reset why);
