/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of the kvm accelerator share.
 *
 *   kvm.c        the class, the VM, counters        kvm_vcpu.c   run loop, kicks, injection
 *   kvm_probe.c  opening, measuring, error words    kvm_state.c  vCPU state in and out
 *   kvm_slots.c  memory slots, dirty log            kvm_cpuid.c  what CPUID shows
 *   kvm_irq.c    routes, MSI, irqfd, ioeventfd     kvm_debug.c  debugger's points and steps
 *   kvm_hyperv.c what Windows knows of a host       kvm_clock.c  time across a pause
 *   kvm_stop.c   a CPU that cannot go on
 *
 * The local APIC is the kernel's, 8259, I/O APIC and PIT are ours (split irqchip). The kernel halts
 * vCPUs itself. A vCPU belongs to the thread that calls run; other threads only set its atomic
 * request words and send the kick signal, which stays blocked outside KVM_RUN.
 * Specification: Linux Documentation/virt/kvm/api.rst.
 */
#pragma once
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "engine/accel/accel.h"

#define KVM_KICK_SIGNAL SIGUSR1
#define KVM_IOAPIC_PINS 24
#define KVM_VCPU_MAX    64
#define KVM_ROUTE_MAX   1024          /* 24 pins, the rest for MSI-X vectors behind irqfds */
#define KVM_EXIT_REASONS 64
#define KVM_CPUID_MAX   128

struct kvm_route { bool used; uint64_t address; uint32_t data; };

struct kvm_mem {
    bool used, kept;                  /* kept: scratch of publish */
    struct gh_slot slot;
};

struct kvm_carried { unsigned count; uint32_t index[GH_MSR_MAX]; };

struct gh_accel_vm {
    int kvm_fd, vm_fd;
    const struct gh_accel_env *env;
    struct gh_cpu_model model;
    unsigned vcpu_count;
    uint64_t tsc_hz;
    bool hyperv;                      /* asked for, and this kernel has what it takes */
    size_t run_bytes;
    struct gh_vcpu *vcpu[KVM_VCPU_MAX];
    struct kvm_carried msrs;

    struct kvm_mem *mem;              /* index: the kernel's slot number; machine lock */
    unsigned mem_count, mem_max;
    unsigned *lost_ids, lost_count;   /* slots whose dirty log went away with them */

    struct gh_debug debug;            /* changes only while every vCPU is stopped */
    pthread_mutex_t route_lock;
    struct kvm_route route[KVM_ROUTE_MAX];
    unsigned route_max;
    _Atomic uint64_t route_updates, msis;
    struct { bool tsc_known, clock_known; uint64_t tsc, clock; } stood; /* when it was paused; main thread */
};

struct gh_vcpu {
    struct gh_accel_vm *vm;
    unsigned index;
    int fd;
    struct kvm_run *run;
    /* Written by any thread. */
    _Atomic bool kicked, intr, nmi;
    _Atomic pid_t tid;                /* 0 until the first run */
    /* The vCPU thread's own. */
    bool io_pending;                  /* the last exit's instruction is not complete */
    bool step;                        /* one instruction at a time, for a debugger */
    bool extint_given;                /* a vector was handed over and KVM_RUN has not seen it yet */
    uint64_t exits[KVM_EXIT_REASONS], other_exits, interrupts, pokes;
    struct gh_cpu_state *power_on;
};

/* kvm_probe.c: the sentence for a failed ioctl; what is the verb, "create a virtual machine". */
int kvm_fail(struct gh_error *err, int error_number, const char *what);
int kvm_probe(int fd, struct gh_accel_caps *ret, struct gh_error *err);
int kvm_open_device(struct gh_error *err);
int kvm_check_api(int fd, struct gh_error *err);

/* kvm_slots.c */
int  kvm_publish(struct gh_accel_vm *vm, const struct gh_flat_map *map, struct gh_error *err);
int  kvm_dirty_harvest(struct gh_accel_vm *vm, unsigned slot_id, uint64_t *bitmap, size_t pages);
/* What a guest address reads, or NULL. Machine lock, or a vCPU's thread in the guest. */
const uint8_t *kvm_slot_host(const struct gh_accel_vm *vm, uint64_t gpa);
void kvm_slots_fini(struct gh_accel_vm *vm);

/* kvm_irq.c */
int kvm_msi(struct gh_accel_vm *vm, uint64_t address, uint32_t data);
int kvm_ioapic_route(struct gh_accel_vm *vm, unsigned gsi, uint64_t address, uint32_t data, bool masked);
int kvm_irqfd(struct gh_accel_vm *vm, int eventfd, unsigned gsi, bool add);
int kvm_ioeventfd(struct gh_accel_vm *vm, int eventfd, uint64_t addr, unsigned width, bool pio,
                  bool match, uint64_t value, bool add);

/* kvm_cpuid.c: fills ret (room for KVM_CPUID_MAX entries) for one vCPU. */
int kvm_cpuid_build(int kvm_fd, const struct gh_cpu_model *model, unsigned index, unsigned count,
                    uint64_t tsc_hz, bool hyperv, struct kvm_cpuid2 *ret, struct gh_error *err);
/* An entry of that number, emptied; NULL: no room. */
struct kvm_cpuid_entry2 *kvm_cpuid_add(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t subleaf, bool indexed);

/* kvm_hyperv.c */
bool kvm_hyperv_offered(int kvm_fd);
bool kvm_hyperv_msr(uint32_t index);
void kvm_hyperv_leaves(int kvm_fd, unsigned count, bool frequencies, struct kvm_cpuid2 *c);

/* kvm_vcpu.c */
int  kvm_vcpu_new(struct gh_accel_vm *vm, unsigned index, struct gh_vcpu **ret, struct gh_error *err);
void kvm_vcpu_free(struct gh_vcpu *v);
void kvm_run_vcpu(struct gh_vcpu *v, struct gh_exit *ret);
void kvm_kick(struct gh_vcpu *v);
void kvm_set_intr(struct gh_vcpu *v, bool level);
void kvm_nmi(struct gh_vcpu *v);
int  kvm_kick_setup(struct gh_error *err); /* the signal's handler, once a process */

/* kvm_clock.c; main thread, all vCPUs stopped */
void kvm_paused(struct gh_accel_vm *vm);
void kvm_resumed(struct gh_accel_vm *vm);

/* kvm_stop.c: each fills ret with GH_EXIT_ERROR. */
void kvm_stop_entry(struct gh_vcpu *v, struct gh_exit *ret);
void kvm_stop_internal(struct gh_vcpu *v, struct gh_exit *ret);
void kvm_stop_unknown(struct gh_vcpu *v, struct gh_exit *ret);
void kvm_stop_failed(struct gh_vcpu *v, int error_number, struct gh_exit *ret);

/* kvm_debug.c */
int  kvm_debug(struct gh_accel_vm *vm, const struct gh_debug *debug, struct gh_error *err);
int  kvm_debug_step(struct gh_vcpu *v, bool on, struct gh_error *err);
void kvm_debug_exit(struct gh_vcpu *v, struct gh_exit *ret); /* KVM_EXIT_DEBUG */

/* kvm_state.c */
int  kvm_msr_list_read(int kvm_fd, bool hyperv, struct kvm_carried *ret, struct gh_error *err);
int  kvm_get_state(struct gh_vcpu *v, unsigned groups, struct gh_cpu_state *ret, struct gh_error *err);
int  kvm_set_state(struct gh_vcpu *v, unsigned groups, const struct gh_cpu_state *s, struct gh_error *err);
void kvm_reset(struct gh_vcpu *v);
