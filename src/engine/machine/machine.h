/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One running machine: memory map, devices, vCPU threads, clock, and what the outside may ask.
 *
 * Threads: create, the verbs and destroy on the main thread (the one that runs the loop), without
 * the machine lock; they take it. Events are called on the main thread without the lock.
 * Errors: 0 or negative errno with a sentence. The config is copied where it must live on.
 */
#pragma once
#include "base/error.h"
#include "devices/backend.h"
#include "devices/device.h"
#include "engine/accel/accel.h"

struct gh_loop;
struct gh_machine;

enum gh_machine_state { GH_MACHINE_CREATED, GH_MACHINE_RUNNING, GH_MACHINE_PAUSED, GH_MACHINE_STOPPED };

struct gh_blob { const uint8_t *data; size_t size; };
/* A named backend for options of type block, char or net. */
struct gh_backend_ref { const char *name; enum gh_type type; void *handle; };
struct gh_device_config {
    const char *class, *id;
    struct { const char *name, *value; } option[12]; /* ends with name NULL */
};

struct gh_machine_config {
    const char *name;
    uint8_t  uuid[16];
    uint64_t memory_bytes;
    unsigned cpus;
    const struct gh_accel_class *accel;
    int      accel_fd;
    const char *accel_options;
    struct gh_cpu_model model;
    struct gh_blob bios, vgabios;
    struct gh_blob pxe_e1000, pxe_virtio;  /* boot ROMs of network cards */
    struct gh_blob vars;                   /* UEFI variables: a device pflash stands below the firmware with them */
    struct gh_blob kernel, initrd;
    const char *cmdline;                   /* NULL without a kernel */
    bool     kernel_as_is;                 /* it unpacks itself, in the guest */
    const char *boot_order;                /* letters: c disk, d CD, a floppy, n network */
    const struct gh_device_config *devices;
    unsigned device_count;
    const struct gh_backend_ref *backends;
    unsigned backend_count;
    bool     rtc_local;
    bool     hyperv;                       /* as gh_accel_config has it */
    bool     no_reboot;                    /* a reset ends the machine */
    bool     start_paused;
};

struct gh_machine_events {
    void *opaque;
    void (*state)(void *opaque, enum gh_machine_state state, const struct gh_error *why);
    void (*guest_panic)(void *opaque, uint64_t bits);
    void (*screen)(void *opaque, const struct gh_display_mode *mode);
    void (*reset)(void *opaque);
    void (*stopped)(void *opaque, int exit_status); /* power-off, debug exit, no_reboot */
};

int  gh_machine_new(const struct gh_machine_config *cfg, struct gh_loop *loop,
                    const struct gh_machine_events *events, struct gh_machine **ret, struct gh_error *err);
/* Starts the vCPU threads; they wait until resume unless start_paused was false. */
int  gh_machine_start(struct gh_machine *m, struct gh_error *err);
void gh_machine_free(struct gh_machine *m);

void gh_machine_pause(struct gh_machine *m);     /* returns when every vCPU stands still */
void gh_machine_resume(struct gh_machine *m);
void gh_machine_reset(struct gh_machine *m);
void gh_machine_power_button(struct gh_machine *m);
void gh_machine_stop(struct gh_machine *m, int exit_status); /* pulls the plug */
enum gh_machine_state gh_machine_state(const struct gh_machine *m);

/* Input goes to the devices that want it: absolute to the tablet while the guest drives it. */
void gh_machine_key(struct gh_machine *m, uint16_t evdev_code, bool down);
void gh_machine_pointer_abs(struct gh_machine *m, uint16_t x, uint16_t y);
void gh_machine_pointer_rel(struct gh_machine *m, int32_t dx, int32_t dy, int32_t wheel);
void gh_machine_button(struct gh_machine *m, uint16_t evdev_code, bool down);
void gh_machine_input_sync(struct gh_machine *m);
bool gh_machine_pointer_is_absolute(struct gh_machine *m);

/* The primary display. Lock is taken inside; false without a display. */
bool gh_machine_display_mode(struct gh_machine *m, struct gh_display_mode *ret);
unsigned gh_machine_display_render(struct gh_machine *m, uint32_t *pixels, uint32_t stride_bytes,
                                   bool full, struct gh_rect *rects, unsigned max_rects);
/* Called on any thread with the machine lock when a device says that something changed. */
void gh_machine_on_display_change(struct gh_machine *m, void (*fn)(void *opaque), void *opaque);

void gh_machine_counters(struct gh_machine *m, void (*visit)(void *opaque, const char *name, uint64_t value),
                         void *opaque);
/* For backends: the machine lock around calls into devices. */
void gh_machine_lock(struct gh_machine *m);
void gh_machine_unlock(struct gh_machine *m);
/* Any thread: runs fn(arg) on the main thread with the machine lock. */
void gh_machine_post(struct gh_machine *m, void (*fn)(void *arg), void *arg);
/* Any thread without the lock: runs fn(arg) here and now if the lock is free; otherwise false. */
bool gh_machine_run_now(struct gh_machine *m, void (*fn)(void *arg), void *arg);
struct gh_device *gh_machine_device(struct gh_machine *m, const char *id);
/* Any thread, with or without the lock: what a device or backend asks of the whole machine. */
void gh_machine_ask(struct gh_machine *m, enum gh_request what, uint64_t arg, const struct gh_error *why);
