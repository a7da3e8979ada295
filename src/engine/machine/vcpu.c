/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * vCPU threads and what comes back from the accelerator.
 *
 * A vCPU is "in the guest" while it may read the published map or guest memory without the machine
 * lock. It is out while it waits for the lock, runs a device's handler, or is paused. A publisher
 * kicks all others and waits until they are out; they come back only after it has finished.
 *
 * Out of the guest may be in the middle of an instruction: one whose access a handler answers. Who pauses, resets
 * or looks at registers needs more: vCPUs that have left `run` between two instructions ("parked").
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/machine/machine_internal.h"
#include "engine/machine/sandbox.h"

static void leave_guest(struct gh_machine_vcpu *v)
{
    pthread_mutex_lock(&v->machine->lock);
    v->in_guest = false;
    if (v->machine->stop_requests)
        pthread_cond_broadcast(&v->machine->vcpu_cond);
}

static void enter_guest(struct gh_machine_vcpu *v)
{
    v->in_guest = true;
    pthread_mutex_unlock(&v->machine->lock);
}

/* Reads of a range that needs no lock, while the published view cannot go away: this vCPU is in the guest. */
static bool read_lockless(struct gh_machine_vcpu *v, enum gh_range_space space, uint64_t address, unsigned width, void *data)
{
    struct gh_machine *m = v->machine;
    const struct gh_flat *f = gh_memmap_lookup(space == GH_SPACE_PIO ? &m->map.pio : &m->map.mem, address);

    if (!f || !f->range->desc.lockless || f->range->desc.kind != GH_RANGE_HANDLER || f->size - (address - f->start) < width ||
        !((f->range->desc.widths ? f->range->desc.widths : GH_W_ALL) & width))
        return false;
    struct gh_access a = { .offset = f->offset + (address - f->start), .width = (uint8_t)width, .count = 1 };
    if (!f->range->desc.fn(f->range->dev, f->range->number, &a))
        return false;
    memcpy(data, &a.value, width);
    return true;
}

/* Between two accesses of one instruction a vCPU may only pass while nobody publishes. */
static void wait_for_publisher(struct gh_machine_vcpu *v)
{
    while (v->machine->stop_requests)
        pthread_cond_wait(&v->machine->vcpu_cond, &v->machine->lock);
}

/* Lock held. What it asked for (a reset, the end) or others want of it comes before its next instruction. */
static bool wants_parked(const struct gh_machine_vcpu *v)
{
    const struct gh_machine *m = v->machine;

    return m->quit || m->paused || m->asleep || m->park_requests || v->reset_pending || atomic_load(&m->halting);
}

/* Lock held. A vCPU between two instructions stays there. */
static bool stays_parked(const struct gh_machine_vcpu *v)
{
    const struct gh_machine *m = v->machine;

    return m->paused || m->asleep || m->park_requests || atomic_load(&m->halting) || ((m->resets_pending || v->held) && !v->reset_pending);
}

static void env_access(struct gh_machine_vcpu *v, enum gh_range_space space, uint64_t address, bool write,
                       unsigned width, unsigned count, void *data)
{
    struct gh_machine *m = v->machine;
    bool was_in_guest = v->in_guest;

    if (was_in_guest && !write && count == 1 && read_lockless(v, space, address, width, data))
        return;
    if (was_in_guest)
        leave_guest(v);
    else
        pthread_mutex_lock(&m->lock);
    gh_memmap_access(&m->map, space, address, write, width, count, data);
    if (m->map.edited)
        gh_machine_publish(m, (int)v->index, NULL);
    wait_for_publisher(v);
    if (was_in_guest && wants_parked(v))
        m->cfg.accel->kick(v->accel);  /* nobody kicked it in here; it leaves after this instruction's block */
    if (was_in_guest)
        enter_guest(v);
    else
        pthread_mutex_unlock(&m->lock);
}

static void env_pio(void *opaque, unsigned vcpu, uint16_t port, bool write, unsigned width, unsigned count, void *data)
{
    struct gh_machine *m = opaque;
    env_access(&m->vcpu[vcpu], GH_SPACE_PIO, port, write, width, count, data);
}

static void env_mmio(void *opaque, unsigned vcpu, uint64_t gpa, bool write, unsigned width, void *data)
{
    struct gh_machine *m = opaque;
    env_access(&m->vcpu[vcpu], GH_SPACE_MMIO, gpa, write, width, 1, data);
}

static uint64_t env_now(void *opaque)
{
    struct gh_machine *m = opaque;
    return gh_clock_now(&m->clock);
}

static void env_shutdown(void *opaque, unsigned vcpu)
{
    gh_machine_request(opaque, GH_REQUEST_INIT, 0, NULL);
}

void gh_vcpu_env_init(struct gh_machine *m)
{
    m->env.opaque = m;
    m->env.pio = env_pio;
    m->env.mmio = env_mmio;
    m->env.now_ns = env_now;
    m->env.shutdown = env_shutdown;
}

/* What an exit asks for without the lock: then the vCPU stays in the guest. */
static bool serve_lockless(struct gh_machine_vcpu *v, struct gh_exit *e)
{
    if (e->reason == GH_EXIT_PIO && !e->pio.write && e->pio.count == 1)
        return read_lockless(v, GH_SPACE_PIO, e->pio.port, e->pio.width, e->pio.data);
    return e->reason == GH_EXIT_MMIO && !e->mmio.write && e->mmio.reply &&
           read_lockless(v, GH_SPACE_MMIO, e->mmio.gpa, e->mmio.width, e->mmio.reply);
}

/* ---- Exits: one function each, in a const table --------------------------------------------- */
static void exit_nothing(struct gh_machine_vcpu *v, struct gh_exit *e) {}

static void exit_pio(struct gh_machine_vcpu *v, struct gh_exit *e)
{
    env_pio(v->machine, v->index, e->pio.port, e->pio.write, e->pio.width, e->pio.count, e->pio.data);
}

static void exit_mmio(struct gh_machine_vcpu *v, struct gh_exit *e)
{
    env_mmio(v->machine, v->index, e->mmio.gpa, e->mmio.write, e->mmio.width,
             e->mmio.write || !e->mmio.reply ? (void *)e->mmio.data : e->mmio.reply);
}

static void exit_eoi(struct gh_machine_vcpu *v, struct gh_exit *e)
{
    v->machine->env.eoi(v->machine, v->index, e->eoi.vector);
}

static void exit_shutdown(struct gh_machine_vcpu *v, struct gh_exit *e) { env_shutdown(v->machine, v->index); }

static void exit_debug(struct gh_machine_vcpu *v, struct gh_exit *e)
{
    struct gh_machine *m = v->machine;

    pthread_mutex_lock(&m->lock);
    if (m->debug_hit) {
        v->held = true;                /* until the others have been stopped as well */
        m->debug_hit(m->debug_opaque, v->index, e);
    }
    pthread_mutex_unlock(&m->lock);
}

static void exit_error(struct gh_machine_vcpu *v, struct gh_exit *e)
{
    gh_machine_request(v->machine, GH_REQUEST_PAUSE, 0, &e->error);
}

static void (*const exit_table[GH_EXIT_COUNT_])(struct gh_machine_vcpu *, struct gh_exit *) = {
    [GH_EXIT_KICKED] = exit_nothing,       [GH_EXIT_PIO] = exit_pio,
    [GH_EXIT_MMIO] = exit_mmio,            [GH_EXIT_HALTED] = exit_nothing,
    [GH_EXIT_IOAPIC_EOI] = exit_eoi,       [GH_EXIT_INTR_WINDOW] = exit_nothing,
    [GH_EXIT_SHUTDOWN] = exit_shutdown,    [GH_EXIT_DEBUG] = exit_debug,
    [GH_EXIT_ERROR] = exit_error,
};

/* A CPU reset alone leaves the local APIC as firmware set it up: interrupts still come. */
static void reset_cpu(struct gh_machine_vcpu *v)
{
    const struct gh_accel_class *a = v->machine->cfg.accel;
    struct gh_cpu_state *s = v->keep_lapic ? calloc(1, sizeof *s) : NULL;
    bool kept = s && a->get_state && a->set_state && a->get_state(v->accel, GH_CPU_LAPIC, s, NULL) == 0;

    a->reset(v->accel);
    if (kept)
        a->set_state(v->accel, GH_CPU_LAPIC, s, NULL);
    free(s);
}

static void *vcpu_main(void *opaque)
{
    struct gh_machine_vcpu *v = opaque;
    struct gh_machine *m = v->machine;
    struct gh_exit e;
    char name[16];

    snprintf(name, sizeof name, "vcpu%u", v->index);
    pthread_setname_np(pthread_self(), name);
    gh_sandbox_thread(GH_SANDBOX_VCPU, NULL); /* before the first guest instruction */
    pthread_mutex_lock(&m->lock);
    for (;;) {
        /* In the middle of an instruction it may only be held up by a publisher: it completes that one first. */
        while (!m->quit && (m->stop_requests || (!v->midway && stays_parked(v))))
            pthread_cond_wait(&m->vcpu_cond, &m->lock);
        if (m->quit)
            break;
        if (v->reset_pending && !v->midway) {
            v->reset_pending = false;
            reset_cpu(v);
            if (--m->resets_pending == 0)
                pthread_cond_broadcast(&m->vcpu_cond);
            continue;
        }
        if (v->midway && wants_parked(v))
            m->cfg.accel->kick(v->accel);
        v->running = true;
        enter_guest(v);
        do {
            e.reason = GH_EXIT_KICKED;
            e.error.code = 0;
            m->cfg.accel->run(v->accel, &e);
            v->exits[e.reason]++;
        } while (serve_lockless(v, &e));
        v->midway = e.reason == GH_EXIT_PIO || e.reason == GH_EXIT_MMIO;
        leave_guest(v);
        if (e.reason != GH_EXIT_KICKED) {
            pthread_mutex_unlock(&m->lock);
            exit_table[e.reason](v, &e);
            pthread_mutex_lock(&m->lock);
        }
        v->running = v->midway;
        if (!v->running && m->park_requests)
            pthread_cond_broadcast(&m->vcpu_cond);
    }
    v->running = false;
    if (m->park_requests)
        pthread_cond_broadcast(&m->vcpu_cond);
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* A vCPU that ran before another one had reset itself could send it INIT and SIPI that the reset forgets:
 * firmware would wait for that processor for ever. */
void gh_vcpus_reset(struct gh_machine *m, bool keep_lapic)
{
    for (unsigned i = 0; i < m->cfg.cpus; i++) {
        m->vcpu[i].reset_pending = true;
        m->vcpu[i].keep_lapic = keep_lapic;
    }
    m->resets_pending = m->cfg.cpus;
}

int gh_vcpus_create(struct gh_machine *m, struct gh_error *err)
{
    for (unsigned i = 0; i < m->cfg.cpus; i++) {
        struct gh_machine_vcpu *v = &m->vcpu[i];
        v->machine = m;
        v->index = i;
        int r = m->cfg.accel->vcpu_new(m->vm, i, &v->accel, err);
        if (r)
            return r;
    }
    gh_vcpus_reset(m, false);
    return 0;
}

void gh_vcpus_start(struct gh_machine *m)
{
    for (unsigned i = 0; i < m->cfg.cpus; i++)
        m->vcpu[i].started = pthread_create(&m->vcpu[i].thread, NULL, vcpu_main, &m->vcpu[i]) == 0;
}

void gh_vcpus_kick(struct gh_machine *m)
{
    for (unsigned i = 0; i < m->cfg.cpus; i++)
        if (m->vcpu[i].started)
            m->cfg.accel->kick(m->vcpu[i].accel);
}

void gh_vcpus_join(struct gh_machine *m)
{
    pthread_mutex_lock(&m->lock);
    m->quit = true;
    pthread_cond_broadcast(&m->vcpu_cond);
    pthread_mutex_unlock(&m->lock);
    gh_vcpus_kick(m);
    for (unsigned i = 0; i < m->cfg.cpus; i++) {
        if (m->vcpu[i].started)
            pthread_join(m->vcpu[i].thread, NULL);
        m->vcpu[i].started = false;
    }
}

static bool is_in_guest(const struct gh_machine_vcpu *v) { return v->in_guest; }
static bool is_running(const struct gh_machine_vcpu *v) { return v->running; }

/* Kicks and waits until that is true of no vCPU but self. Kicks again each time: a vCPU may have used one up. */
static void wait_until_none(struct gh_machine *m, int self, bool (*still)(const struct gh_machine_vcpu *))
{
    for (;;) {
        bool busy = false;
        for (unsigned i = 0; i < m->cfg.cpus; i++) {
            if ((int)i == self || !still(&m->vcpu[i]))
                continue;
            busy = true;
            m->cfg.accel->kick(m->vcpu[i].accel);
        }
        if (!busy)
            return;
        pthread_cond_wait(&m->vcpu_cond, &m->lock);
    }
}

void gh_vcpus_stop_others(struct gh_machine *m, int self)
{
    m->stop_requests++;
    wait_until_none(m, self, is_in_guest);
}

void gh_vcpus_park(struct gh_machine *m)
{
    m->park_requests++;
    wait_until_none(m, -1, is_running);
}

void gh_vcpus_unpark(struct gh_machine *m)
{
    if (--m->park_requests == 0)
        pthread_cond_broadcast(&m->vcpu_cond);
}

void gh_vcpus_go(struct gh_machine *m)
{
    if (--m->stop_requests == 0)
        pthread_cond_broadcast(&m->vcpu_cond);
}
