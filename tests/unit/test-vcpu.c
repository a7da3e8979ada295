/* SPDX-License-Identifier: GPL-3.0-or-later */
/* vCPU threads on an accelerator that only counts: who runs when, what needs no machine lock, and where doorbells are. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/loop.h"
#include "check.h"
#include "engine/machine/machine.h"

enum { CPUS = 3, COUNTER = 0xf0, PROBES = 20 };
#define HPET_BASE 0xfed00000ull

struct gh_vcpu { unsigned index; };
struct gh_accel_vm { int unused; };

static struct gh_accel_vm the_vm;
static struct gh_vcpu vcpus[CPUS];
static atomic_uint resets[CPUS], ran_before_reset, kicked[CPUS], rounds, lockless_reads;
static atomic_bool use_hpet, use_exit;
static atomic_uint runs_of_0, stop_status;
static const struct gh_accel_env *the_env;

static void nap(unsigned ms) { nanosleep(&(struct timespec){ ms / 1000, (long)(ms % 1000) * 1000000 }, NULL); }

static int vm_new(int fd, const struct gh_accel_config *cfg, struct gh_accel_vm **ret, struct gh_error *err)
{
    the_env = cfg->env;
    *ret = &the_vm;
    return 0;
}
static void vm_free(struct gh_accel_vm *vm) {}
static bool refuse_map;
static unsigned pauses, resumes, paused_events;
static char reason[64];
static int publish(struct gh_accel_vm *vm, const struct gh_flat_map *map, struct gh_error *err)
{
    return refuse_map ? gh_error_set(err, -ENOSPC, "NoRoomForMap", "No room.") : 0;
}
static void on_pause(struct gh_accel_vm *vm) { pauses++; }
static void on_resume(struct gh_accel_vm *vm) { resumes++; }
static int vcpu_new(struct gh_accel_vm *vm, unsigned index, struct gh_vcpu **ret, struct gh_error *err)
{
    vcpus[index].index = index;
    *ret = &vcpus[index];
    return 0;
}
static void vcpu_free(struct gh_vcpu *vcpu) {}
static void kick(struct gh_vcpu *vcpu) { atomic_store(&kicked[vcpu->index], 1); }

static void reset(struct gh_vcpu *vcpu)
{
    nap(vcpu->index * 60); /* later ones are slow, as on a busy host */
    atomic_fetch_add(&resets[vcpu->index], 1);
}

/* CPU 0 reads the HPET's counter again and again; the others do nothing. */
static void run(struct gh_vcpu *vcpu, struct gh_exit *ret)
{
    static _Atomic uint32_t value;

    for (unsigned i = 0; i < CPUS; i++)
        if (atomic_load(&resets[i]) != atomic_load(&resets[vcpu->index]))
            atomic_fetch_add(&ran_before_reset, 1);
    atomic_fetch_add(&rounds, 1);
    ret->reason = GH_EXIT_KICKED;
    if (vcpu->index == 0 && atomic_load(&use_exit)) {
        static _Atomic uint32_t second = 0x22;
        uint32_t first = 0x21;
        atomic_fetch_add(&runs_of_0, 1);
        if (atomic_exchange(&kicked[0], 0))
            return;
        the_env->pio(the_env->opaque, 0, 0xf4, true, 1, 1, &first); /* as soft does: inside run */
        ret->reason = GH_EXIT_PIO;                                    /* as kvm does: after it */
        ret->pio.port = 0xf4;
        ret->pio.write = true;
        ret->pio.width = 1;
        ret->pio.count = 1;
        ret->pio.data = (void *)&second;
        return;
    }
    if (vcpu->index == 0 && atomic_load(&use_hpet) && !atomic_load(&kicked[0])) {
        atomic_fetch_add(&lockless_reads, 1);
        ret->reason = GH_EXIT_MMIO;
        ret->mmio.gpa = HPET_BASE + COUNTER;
        ret->mmio.write = false;
        ret->mmio.width = 4;
        ret->mmio.reply = &value;
        nap(1);
        return;
    }
    for (unsigned i = 0; i < 20 && !atomic_exchange(&kicked[vcpu->index], 0); i++)
        nap(1);
}

static void set_intr(struct gh_vcpu *vcpu, bool level) {}
static int msi(struct gh_accel_vm *vm, uint64_t address, uint32_t data) { return 0; }
static int harvest(struct gh_accel_vm *vm, unsigned slot, uint64_t *bitmap, size_t pages) { return 0; }

/* What the accelerator was told last: one doorbell is enough here. */
static struct { int fd; uint64_t at; unsigned width, adds, removes; bool there; } bell;

static int ioeventfd(struct gh_accel_vm *vm, int fd, uint64_t at, unsigned width, bool pio, bool match, uint64_t value, bool add)
{
    CHECK(!pio && !match);
    CHECK_EQ(bell.there, !add);
    if (!add)
        CHECK_EQ(at, bell.at);
    bell.there = add;
    bell.fd = fd;
    bell.at = at;
    bell.width = width;
    *(add ? &bell.adds : &bell.removes) += 1;
    return 0;
}

static const struct gh_accel_class counting = {
    .name = "soft", .vm_new = vm_new, .vm_free = vm_free, .publish = publish, .vcpu_new = vcpu_new, .vcpu_free = vcpu_free,
    .run = run, .kick = kick, .reset = reset, .set_intr = set_intr, .msi = msi, .dirty_harvest = harvest,
    .ioeventfd = ioeventfd, .paused = on_pause, .resumed = on_resume,
};

static void stopped(void *opaque, int status)
{
    atomic_store(&stop_status, (unsigned)status);
    gh_loop_quit(opaque, 0);
}

static void state_changed(void *opaque, enum gh_machine_state state, const struct gh_error *why)
{
    if (state != GH_MACHINE_PAUSED || !why || !why->code)
        return;
    paused_events++;
    snprintf(reason, sizeof reason, "%s", why->id);
}

static const struct gh_device_config disk = { .class = "virtio-blk", .id = "disk", .option = { { "addr", "9.0" } } };

static struct gh_machine *machine(struct gh_loop *loop)
{
    static uint8_t bios[65536];
    struct gh_machine_config cfg = { .name = "counting", .memory_bytes = 16 << 20, .cpus = CPUS, .accel = &counting,
                                     .accel_fd = -1, .bios = { bios, sizeof bios }, .devices = &disk, .device_count = 1 };
    struct gh_error err = { 0 };
    struct gh_machine_events events = { .opaque = loop, .stopped = stopped, .state = state_changed };
    struct gh_machine *m = NULL;

    CHECK_EQ(gh_machine_new(&cfg, loop, &events, &m, &err), 0);
    CHECK_EQ(gh_machine_start(m, &err), 0);
    return m;
}

static void wait_rounds(unsigned more)
{
    unsigned until = atomic_load(&rounds) + more;
    for (unsigned i = 0; i < 20000 && atomic_load(&rounds) < until; i++)
        nap(1);
    CHECK(atomic_load(&rounds) >= until);
}

/* Firmware wakes the other processors by INIT and SIPI; a reset after that would forget them. */
static void nobody_runs_before_all_have_reset(struct gh_machine *m)
{
    wait_rounds(PROBES);
    for (unsigned i = 0; i < CPUS; i++)
        CHECK_EQ(atomic_load(&resets[i]), 1);
    gh_machine_reset(m);
    wait_rounds(PROBES);
    for (unsigned i = 0; i < CPUS; i++)
        CHECK_EQ(atomic_load(&resets[i]), 2);
    CHECK_EQ(atomic_load(&ran_before_reset), 0);
}

static void counters_are_read_without_the_machine_lock(struct gh_machine *m)
{
    atomic_store(&use_hpet, true);
    unsigned before = atomic_load(&lockless_reads);
    while (atomic_load(&lockless_reads) == before)
        nap(1);
    gh_machine_lock(m);
    before = atomic_load(&lockless_reads);
    for (unsigned i = 0; i < 20000 && atomic_load(&lockless_reads) < before + PROBES; i++)
        nap(1);
    CHECK(atomic_load(&lockless_reads) >= before + PROBES);
    gh_machine_unlock(m);
    gh_machine_pause(m); /* a vCPU that never leaves for the lock is still stopped */
    before = atomic_load(&lockless_reads);
    nap(30);
    CHECK_EQ(atomic_load(&lockless_reads), before);
    atomic_store(&use_hpet, false);
}

static void pci_write(unsigned offset, uint32_t value)
{
    uint32_t address = 0x80000000u | 9u << 11 | (offset & ~3u);

    the_env->pio(the_env->opaque, 0, 0xcf8, true, 4, 1, &address);
    the_env->pio(the_env->opaque, 0, 0xcfc, true, 4, 1, &value);
}

static void find_rings(void *opaque, const char *name, uint64_t value)
{
    if (!strcmp(name, "disk.doorbell0"))
        *(uint64_t *)opaque = value;
}

/* The machine is paused. */
static void doorbells_follow_their_register(struct gh_machine *m)
{
    enum { COMMAND = 4, BAR4 = 0x20, BAR5 = 0x24, MEMORY = 2, NOTIFY = 0x4000 };
    uint64_t rings = 0, one = 1;

    CHECK_EQ(bell.adds, 0);
    pci_write(BAR4, 0xe0000000);
    pci_write(BAR5, 0);
    CHECK_EQ(bell.adds, 0);              /* memory is not decoded yet */
    pci_write(COMMAND, MEMORY);
    CHECK_EQ(bell.adds, 1);
    CHECK_EQ(bell.at, 0xe0000000 + NOTIFY);
    CHECK_EQ(bell.width, 2);
    CHECK_EQ(write(bell.fd, &one, sizeof one), (ssize_t)sizeof one);
    for (unsigned i = 0; i < 20000 && !rings; i++) {
        nap(1);
        gh_machine_counters(m, find_rings, &rings);
    }
    CHECK_EQ(rings, 1);
    pci_write(BAR4, 0xe8000000);
    CHECK_EQ(bell.removes, 1);
    CHECK_EQ(bell.at, 0xe8000000 + NOTIFY);
    pci_write(COMMAND, 0);
    CHECK(!bell.there);
    pci_write(COMMAND, MEMORY);
    CHECK(bell.there);
    gh_machine_reset(m);                 /* the register is nowhere until firmware places it again */
    CHECK(!bell.there);
    pci_write(BAR4, 0x80000);            /* under RAM: nobody sees it there */
    pci_write(BAR5, 0);
    pci_write(COMMAND, MEMORY);
}

/* The machine is paused. A map that the accelerator refuses keeps it there, with the reason, until one is taken. */
static void a_refused_map_stops_the_machine(struct gh_machine *m, struct gh_loop *loop)
{
    unsigned resumed = resumes, before;

    CHECK_EQ(pauses, 1);
    CHECK_EQ(resumed, 1);                 /* the start */
    refuse_map = true;
    pci_write(0x20, 0xe0000000);
    for (unsigned i = 0; i < 100 && !paused_events; i++)
        CHECK(gh_loop_once(loop, 1000) >= 0);
    CHECK_EQ(paused_events, 1);
    CHECK_STR(reason, "NoRoomForMap");
    reason[0] = 0;
    before = atomic_load(&rounds);
    gh_machine_resume(m);
    nap(50);
    CHECK_EQ(gh_machine_state(m), GH_MACHINE_PAUSED);
    CHECK_EQ(paused_events, 2);
    CHECK_STR(reason, "NoRoomForMap");
    CHECK_EQ(resumes, resumed);
    CHECK_EQ(atomic_load(&rounds), before);
    refuse_map = false;
    gh_machine_resume(m);
    CHECK_EQ(gh_machine_state(m), GH_MACHINE_RUNNING);
    CHECK_EQ(resumes, resumed + 1);
    wait_rounds(PROBES);
    gh_machine_pause(m);
    CHECK_EQ(pauses, 2);
}

/* The main thread is slow to look: until it does, the guest goes no further, and its first word counts. */
static void the_end_comes_before_the_next_instruction(struct gh_machine *m, struct gh_loop *loop)
{
    atomic_store(&kicked[0], 0);
    atomic_store(&use_exit, true);
    gh_machine_resume(m);
    for (unsigned i = 0; i < 20000 && atomic_load(&runs_of_0) < 2; i++)
        nap(1);
    nap(50);
    CHECK_EQ(atomic_load(&runs_of_0), 2); /* the access is completed, and nothing follows */
    CHECK_EQ(gh_loop_run(loop), 0);
    CHECK_EQ(atomic_load(&stop_status), 0x43);
    CHECK_EQ(atomic_load(&runs_of_0), 2);
}

int main(void)
{
    struct gh_error err = { 0 };
    struct gh_loop *loop = NULL;

    CHECK_EQ(gh_loop_new(&loop, &err), 0);
    struct gh_machine *m = machine(loop);
    nobody_runs_before_all_have_reset(m);
    counters_are_read_without_the_machine_lock(m);
    doorbells_follow_their_register(m);
    a_refused_map_stops_the_machine(m, loop);
    the_end_comes_before_the_next_instruction(m, loop);
    gh_machine_free(m);
    CHECK(!bell.there);
    gh_loop_free(loop);
    return check_result();
}
