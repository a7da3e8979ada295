/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The accelerator interface: one const table, three implementations (kvm, kmod, soft).
 *
 * Threads: a vCPU's run, get and set are called on that vCPU's thread (get/set also from another
 * thread while the vCPU is stopped); kick, set_intr, nmi, msi, dma_written may be called from
 * any thread. The machine lock is NOT held around run.
 *
 * Guest accesses that are not RAM come back through struct gh_accel_env. kvm returns from run on
 * each of them and machine/vcpu.c dispatches; soft calls the env functions inline. Either way
 * the env takes the machine lock itself.
 *
 * Errors: 0 or negative errno with a sentence; nothing a guest does ends in an assert.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/accel/cpustate.h"

/* ---- The flat view of guest physical memory that a publish hands over ------------------- */
enum gh_slot_flags {
    GH_SLOT_WRITABLE = 1u << 0,  /* clear: ROM; writes go to env->mmio */
    GH_SLOT_DIRTY    = 1u << 1,  /* log writes for dirty_harvest */
};
struct gh_slot {
    uint64_t gpa, size;          /* page aligned */
    uint8_t *host;               /* host mapping, valid until after the next publish returns */
    unsigned flags;
    unsigned id;                 /* stable identity for dirty_harvest; same RAM piece, same id */
    uint64_t offset;             /* of this slot within the piece: several slots may share an id */
};
struct gh_flat_map {
    uint64_t generation;
    unsigned slot_count;
    const struct gh_slot *slots; /* sorted by gpa, not overlapping; holes are MMIO */
};

/* ---- What the accelerator asks of the machine -------------------------------------------- */
struct gh_accel_env {
    void *opaque;
    /* One access of width 1, 2, 4 or 8 bytes (mmio) / 1, 2, 4 (pio), count elements at data for
     * string I/O to the same port. Little endian in data. Never fails: an absent device reads
     * as all ones. Called on the vCPU's thread without locks. */
    void (*pio)(void *opaque, unsigned vcpu, uint16_t port, bool write, unsigned width,
                unsigned count, void *data);
    void (*mmio)(void *opaque, unsigned vcpu, uint64_t gpa, bool write, unsigned width, void *data);
    /* The 8259's INTA cycle; returns the vector. -1: the request went away (spurious). */
    int  (*intack)(void *opaque, unsigned vcpu);
    /* A level-triggered vector was EOIed by a local APIC: tell the I/O APIC. */
    void (*eoi)(void *opaque, unsigned vcpu, uint8_t vector);
    /* IPI or MSI addressed to local APICs of the machine (used by soft and kmod only). */
    uint64_t (*now_ns)(void *opaque);   /* the machine clock */
    /* Guest CPU events the machine must know: triple fault, reset through INIT of all... */
    void (*shutdown)(void *opaque, unsigned vcpu);
    /* FERR#: an unmasked x87 exception with CR0.NE = 0; a PC raises IRQ 13 on it. NULL: ignored. */
    void (*ferr)(void *opaque, unsigned vcpu, bool level);
    /* A20: soft asks for the gate at each publish/attention instead of caching it. */
};

struct gh_accel_config {
    const struct gh_accel_env *env;
    const struct gh_cpu_model *model;
    unsigned vcpu_count;
    uint64_t ram_bytes;
    uint64_t tsc_hz;                    /* 0: the host's */
    uint64_t code_cache_bytes;          /* soft; 0: default */
    bool hyperv;                        /* show the guest Hyper-V's interfaces, where the accelerator has them */
    const char *options;                /* accelerator-specific "key=value,..." or NULL */
};

/* What a debugger watches, by linear address. EXEC stops before the instruction there, the others after the
 * one that touched any of the bytes. */
enum gh_debug_kind { GH_DEBUG_NONE, GH_DEBUG_EXEC, GH_DEBUG_WRITE, GH_DEBUG_READ, GH_DEBUG_ACCESS, GH_DEBUG_STEP };
#define GH_DEBUG_POINTS 64
struct gh_debug_point { uint64_t address; uint8_t length, kind; };
struct gh_debug {
    bool attached;                      /* a debugger is there: its own INT3 instructions stop too (kvm) */
    unsigned count;
    struct gh_debug_point point[GH_DEBUG_POINTS];
};

struct gh_accel_vm;                     /* each accelerator's own */
struct gh_vcpu;

enum gh_exit_reason {
    GH_EXIT_KICKED,      /* a kick or signal; nothing to do but look at requests */
    GH_EXIT_PIO, GH_EXIT_MMIO,           /* kvm, kmod: dispatch through env, then run again */
    GH_EXIT_HALTED,      /* HLT with nothing pending, only where halting is not in the accelerator */
    GH_EXIT_IOAPIC_EOI,
    GH_EXIT_INTR_WINDOW,
    GH_EXIT_SHUTDOWN,    /* triple fault */
    GH_EXIT_DEBUG,       /* a debug point, or a step is done */
    GH_EXIT_ERROR,       /* internal error; text in ret->error */
    GH_EXIT_COUNT_
};
struct gh_exit {
    enum gh_exit_reason reason;
    union {
        struct { uint16_t port; bool write; uint8_t width; uint32_t count; void *data; } pio;
        struct { uint64_t gpa; bool write; uint8_t width; uint8_t data[8]; void *reply; } mmio;
        struct { uint8_t vector; } eoi;
        struct { uint64_t address; uint8_t kind; } debug; /* enum gh_debug_kind; address: what was touched */
    };
    struct gh_error error;
};

struct gh_accel_caps {
    bool irqfd, ioeventfd, lapic_in_accel, dirty_log;
    unsigned max_vcpus;
    uint64_t tsc_hz;
    double   ring0_mips;                /* from the probe's measured loop; 0: not measured */
    char     detail[256];               /* one sentence for the host page */
};

struct gh_accel_class {
    const char *name;                   /* "kvm", "kmod", "soft" */
    const char *summary;
    /* Opens and measures; err says the cause and the one fix. fd -1: open the device itself. */
    int  (*probe)(int fd, struct gh_accel_caps *ret, struct gh_error *err);
    int  (*open_device)(struct gh_error *err); /* descriptor for vm_new, or -1 where none is needed */
    int  (*vm_new)(int fd, const struct gh_accel_config *cfg, struct gh_accel_vm **ret,
                   struct gh_error *err);
    void (*vm_free)(struct gh_accel_vm *vm);
    /* Called with the machine lock by the publisher, after every vCPU but the caller's own has
     * been kicked out and is waiting, or before the first run. */
    int  (*publish)(struct gh_accel_vm *vm, const struct gh_flat_map *map, struct gh_error *err);

    int  (*vcpu_new)(struct gh_accel_vm *vm, unsigned index, struct gh_vcpu **ret,
                     struct gh_error *err);
    void (*vcpu_free)(struct gh_vcpu *vcpu);
    /* Runs until something outside the accelerator must be done. */
    void (*run)(struct gh_vcpu *vcpu, struct gh_exit *ret);
    void (*kick)(struct gh_vcpu *vcpu);              /* run returns soon with GH_EXIT_KICKED */
    int  (*get_state)(struct gh_vcpu *vcpu, unsigned groups, struct gh_cpu_state *ret,
                      struct gh_error *err);
    int  (*set_state)(struct gh_vcpu *vcpu, unsigned groups, const struct gh_cpu_state *state,
                      struct gh_error *err);
    void (*reset)(struct gh_vcpu *vcpu);             /* power-on state; BSP runnable, others wait */

    void (*set_intr)(struct gh_vcpu *vcpu, bool level); /* the 8259's INTR pin */
    void (*nmi)(struct gh_vcpu *vcpu);
    /* A pause begins, and ends, with every vCPU stopped: time that the accelerator itself keeps for the guest stands still
     * in between, and guests that can be told are told. May be NULL, as where all time is env->now_ns. Main thread. */
    void (*paused)(struct gh_accel_vm *vm);
    void (*resumed)(struct gh_accel_vm *vm);
    int  (*msi)(struct gh_accel_vm *vm, uint64_t address, uint32_t data);
    /* kvm: which GSIs are level and which vectors they use, so that EOIs exit. NULL elsewhere. */
    int  (*ioapic_route)(struct gh_accel_vm *vm, unsigned gsi, uint64_t address, uint32_t data,
                         bool masked);
    int  (*irqfd)(struct gh_accel_vm *vm, int eventfd, unsigned gsi, bool add);
    int  (*ioeventfd)(struct gh_accel_vm *vm, int eventfd, uint64_t addr, unsigned width,
                      bool pio, bool match, uint64_t value, bool add);
    /* ORs the slot's dirty pages into bitmap (one bit per 4 KiB) and clears them. */
    int  (*dirty_harvest)(struct gh_accel_vm *vm, unsigned slot_id, uint64_t *bitmap, size_t pages);
    /* A device wrote guest RAM by DMA: translated code there is stale. NULL: nothing to do. */
    void (*dma_written)(struct gh_accel_vm *vm, uint64_t gpa, uint64_t bytes);
    void (*set_a20)(struct gh_accel_vm *vm, bool on);  /* NULL where it cannot be masked */
    /* Debugging, with every vCPU stopped; any thread. NULL: not offered. debug: all points at once, -ENOSPC where the
     * hardware has fewer. debug_step: run returns GH_EXIT_DEBUG after one instruction; interrupts wait. */
    unsigned debug_points;              /* how many there can be; 0: debugging is not offered */
    int  (*debug)(struct gh_accel_vm *vm, const struct gh_debug *debug, struct gh_error *err);
    int  (*debug_step)(struct gh_vcpu *vcpu, bool on, struct gh_error *err);
    /* Counters for `show --counters`: calls visit for each. */
    void (*counters)(struct gh_accel_vm *vm, void (*visit)(void *opaque, const char *name,
                     uint64_t value), void *opaque);
};

extern const struct gh_accel_class gh_accel_kvm, gh_accel_soft;
/* All accelerators built in, best first, NULL-terminated. */
extern const struct gh_accel_class *const gh_accel_all[];
const struct gh_accel_class *gh_accel_find(const char *name);
/* Builds a CPU model for an accelerator; name NULL: that accelerator's default. Topology:
 * leaf 1/4/0xb are completed per vCPU by the accelerator. cpumodel.c */
int gh_cpu_model_build(const char *name, const char *accel, unsigned vcpus,
                       struct gh_cpu_model *ret, struct gh_error *err);
