/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "devices/chipset/piix4pm.h"
#include "devices/timer/mc146818.h"
#include "engine/machine/machine_internal.h"

void gh_machine_lock(struct gh_machine *m) { pthread_mutex_lock(&m->lock); }
void gh_machine_unlock(struct gh_machine *m) { pthread_mutex_unlock(&m->lock); }

static void clock_due(void *opaque, int fd, uint32_t events)
{
    struct gh_machine *m = opaque;
    uint64_t count;

    if (read(fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return;
    gh_machine_lock(m);
    gh_clock_expire(&m->clock);
    if (m->map.edited)
        gh_machine_publish(m, -1, NULL);
    gh_machine_unlock(m);
}

static void set_state(struct gh_machine *m, enum gh_machine_state state, const struct gh_error *why)
{
    if (m->state == state)
        return;
    m->state = state;
    if (m->events.state)
        m->events.state(m->events.opaque, state, why);
}

static void stopped(struct gh_machine *m, int status)
{
    if (m->state == GH_MACHINE_STOPPED)
        return;
    gh_machine_pause(m);
    set_state(m, GH_MACHINE_STOPPED, NULL);
    if (m->events.stopped)
        m->events.stopped(m->events.opaque, status);
}

/* Systems for the 80286 come back from protected mode by a reset of the CPU alone: CMOS byte 0Fh tells the
 * firmware where they go on (IBM PC/AT Technical Reference, shutdown status byte). */
static bool resumes_after_init(struct gh_machine *m)
{
    bool resumes = false;

    gh_machine_lock(m);
    const struct gh_rtc *rtc = gh_machine_board_ops.lookup(&m->board, "rtc");
    if (rtc) {
        uint8_t code = gh_rtc_cmos_get(rtc, 0x0f);
        resumes = code == 5 || (code >= 9 && code <= 12);
    }
    gh_machine_unlock(m);
    return resumes;
}

static void reset_cpus(struct gh_machine *m)
{
    gh_machine_lock(m);
    gh_vcpus_park(m);
    gh_vcpus_reset(m, true);
    gh_vcpus_unpark(m);
    gh_machine_unlock(m);
}

/* Requests after which no guest instruction may follow before they are served. */
#define REQUESTS_HALT (1u << GH_REQUEST_DEBUG_EXIT | 1u << GH_REQUEST_POWEROFF | 1u << GH_REQUEST_RESET | 1u << GH_REQUEST_INIT | \
                       1u << GH_REQUEST_PAUSE | 1u << GH_REQUEST_SUSPEND)

static int publish(struct gh_machine *m, struct gh_error *err);

static void restart(struct gh_machine *m, enum gh_reset why)
{
    gh_machine_lock(m);
    gh_vcpus_park(m);
    gh_board_reset(m, why);
    gh_vcpus_reset(m, false);
    m->asleep = false;
    publish(m, NULL);
    gh_vcpus_unpark(m);
    gh_machine_unlock(m);
}

/* An alarm may have come before anybody saw that the machine sleeps. */
static void sleep_or_wake(struct gh_machine *m, uint32_t bits)
{
    if (bits & 1u << GH_REQUEST_SUSPEND) {
        gh_machine_lock(m);
        m->asleep = true;
        gh_machine_unlock(m);
    }
    if (bits & 1u << GH_REQUEST_WAKE && m->asleep)
        restart(m, GH_RESET_WAKE);
}

static void serve(struct gh_machine *m, uint32_t bits)
{
    if (bits & (1u << GH_REQUEST_GUEST_PANIC) && m->events.guest_panic)
        m->events.guest_panic(m->events.opaque, m->request_arg[GH_REQUEST_GUEST_PANIC]);
    if (bits & (1u << GH_REQUEST_DEBUG_EXIT)) {
        stopped(m, (int)m->request_arg[GH_REQUEST_DEBUG_EXIT]);
    } else if (bits & (1u << GH_REQUEST_POWEROFF)) {
        stopped(m, 0);
    } else if (!(bits & 1u << GH_REQUEST_RESET) && bits & 1u << GH_REQUEST_INIT && resumes_after_init(m)) {
        reset_cpus(m);
    } else if (bits & (1u << GH_REQUEST_RESET | 1u << GH_REQUEST_INIT)) {
        if (m->cfg.no_reboot)
            stopped(m, 0);
        else
            gh_machine_reset(m);
    } else if (bits & (1u << GH_REQUEST_SUSPEND | 1u << GH_REQUEST_WAKE)) {
        sleep_or_wake(m, bits);
    } else if (bits & (1u << GH_REQUEST_PAUSE)) {
        gh_machine_pause(m);
        if (m->events.state)
            m->events.state(m->events.opaque, GH_MACHINE_PAUSED, &m->pause_reason);
    }
}

/* Main thread: what devices and vCPUs asked for. */
static void serve_requests(void *opaque)
{
    struct gh_machine *m = opaque;
    uint32_t bits = atomic_exchange(&m->requests, 0);

    if (m->state == GH_MACHINE_STOPPED)
        return;
    serve(m, bits);
    gh_machine_lock(m);
    atomic_store(&m->halting, false);
    if (atomic_load(&m->requests) & REQUESTS_HALT) /* another one came, and its task follows */
        atomic_store(&m->halting, true);
    pthread_cond_broadcast(&m->vcpu_cond);
    gh_machine_unlock(m);
}

void gh_machine_request(struct gh_machine *m, enum gh_request what, uint64_t arg, const struct gh_error *why)
{
    if (what == GH_REQUEST_A20) {
        if (m->cfg.accel->set_a20)
            m->cfg.accel->set_a20(m->vm, arg != 0);
        return;
    }
    if ((what == GH_REQUEST_DEBUG_EXIT || what == GH_REQUEST_POWEROFF) && atomic_exchange(&m->ending, true))
        return;
    if (1u << what & REQUESTS_HALT)
        atomic_store(&m->halting, true);
    m->request_arg[what] = arg;
    if (what == GH_REQUEST_PAUSE && why)
        m->pause_reason = *why;
    if (!(atomic_fetch_or(&m->requests, 1u << what) & (1u << what)))
        gh_loop_post(m->loop, serve_requests, m);
}

/* Lock held: what somebody else's thread does to the machine. */
static void do_to_machine(struct gh_machine *m, void (*fn)(void *), void *arg)
{
    fn(arg);
    if (m->map.edited)
        gh_machine_publish(m, -1, NULL);
}

bool gh_machine_run_now(struct gh_machine *m, void (*fn)(void *arg), void *arg)
{
    if (pthread_mutex_trylock(&m->lock))
        return false;
    do_to_machine(m, fn, arg);
    gh_machine_unlock(m);
    return true;
}

struct posted { struct gh_machine *machine; void (*fn)(void *); void *arg; };

static void run_posted(void *opaque)
{
    struct posted p = *(struct posted *)opaque;

    free(opaque);
    gh_machine_lock(p.machine);
    do_to_machine(p.machine, p.fn, p.arg);
    gh_machine_unlock(p.machine);
}

void gh_machine_post(struct gh_machine *m, void (*fn)(void *arg), void *arg)
{
    struct posted *p = malloc(sizeof *p);

    if (!p)
        abort(); /* a completion that is lost would hang the guest for ever */
    *p = (struct posted){ m, fn, arg };
    if (gh_loop_post(m->loop, run_posted, p) < 0)
        abort();
}

/* Lock held, all others out of the guest. Where nobody waits for the answer (err NULL) the machine pauses: a guest whose
 * memory is not where it put it must not go on. */
static int publish(struct gh_machine *m, struct gh_error *err)
{
    struct gh_error why = { 0 };
    int r = gh_memmap_render(&m->map);

    if (r)
        gh_error_set(&why, r, "NoMemory", "The host has no memory left for the view of the machine's memory; close other programs.");
    else
        r = m->cfg.accel->publish(m->vm, &m->map.slots, &why);
    if (r == 0) {
        gh_doorbells_place(m);
        return 0;
    }
    m->map.edited = true;              /* for the next try */
    if (err)
        *err = why;
    else
        gh_machine_request(m, GH_REQUEST_PAUSE, 0, &why);
    return r;
}

int gh_machine_publish(struct gh_machine *m, int self, struct gh_error *err)
{
    gh_vcpus_stop_others(m, self);
    int r = m->map.edited ? publish(m, err) : 0; /* another publisher may have been faster */
    gh_vcpus_go(m);
    return r;
}

int gh_machine_new(const struct gh_machine_config *cfg, struct gh_loop *loop,
                   const struct gh_machine_events *events, struct gh_machine **ret, struct gh_error *err)
{
    struct gh_machine *m = calloc(1, sizeof *m);
    pthread_mutexattr_t attr;

    if (!m)
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left for another machine.");
    m->board.machine = m;
    m->cfg = *cfg;
    m->loop = loop;
    if (events)
        m->events = *events;
    pthread_mutexattr_init(&attr);
    pthread_mutex_init(&m->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    pthread_cond_init(&m->vcpu_cond, NULL);
    m->paused = true;

    int r = gh_clock_init(&m->clock);
    if (r) {
        gh_error_set(err, r, "ClockFailed", "The machine's clock cannot be made: %s.", strerror(-r));
        goto fail;
    }
    m->clock_source = gh_loop_fd(loop, m->clock.timer_fd, EPOLLIN, clock_due, m);
    r = gh_ram_init(&m->ram, cfg->memory_bytes, err);
    if (r)
        goto fail;
    gh_vcpu_env_init(m);
    gh_irq_wire(m); /* the env's interrupt callbacks; the controllers join after the board stands */
    struct gh_accel_config accel = {
        .env = &m->env, .model = &m->cfg.model, .vcpu_count = cfg->cpus,
        .ram_bytes = cfg->memory_bytes, .options = cfg->accel_options, .hyperv = cfg->hyperv,
    };
    r = cfg->accel->vm_new(cfg->accel_fd, &accel, &m->vm, err);
    if (r)
        goto fail;
    r = gh_vcpus_create(m, err);
    if (r)
        goto fail;
    gh_machine_lock(m);
    r = gh_board_build(m, err);
    if (r == 0) {
        m->map.edited = true;
        r = gh_machine_publish(m, -1, err);
    }
    gh_machine_unlock(m);
    if (r)
        goto fail;
    *ret = m;
    return 0;
fail:
    gh_machine_free(m);
    return r;
}

int gh_machine_start(struct gh_machine *m, struct gh_error *err)
{
    gh_vcpus_start(m);
    for (unsigned i = 0; i < m->cfg.cpus; i++)
        if (!m->vcpu[i].started)
            return gh_error_set(err, -EAGAIN, "ThreadFailed",
                                "The host refused a thread for vCPU %u; close other programs and start again.", i);
    if (m->cfg.start_paused)
        set_state(m, GH_MACHINE_PAUSED, NULL);
    else
        gh_machine_resume(m);
    return 0;
}

void gh_machine_free(struct gh_machine *m)
{
    if (!m)
        return;
    gh_vcpus_join(m);
    gh_doorbells_free(m);
    gh_machine_lock(m);
    gh_clock_stop(&m->clock);
    gh_board_teardown(m);
    gh_machine_unlock(m);
    for (unsigned i = 0; i < m->cfg.cpus; i++)
        if (m->vcpu[i].accel)
            m->cfg.accel->vcpu_free(m->vcpu[i].accel);
    if (m->vm)
        m->cfg.accel->vm_free(m->vm);
    if (m->clock_source)
        gh_loop_fd_free(m->clock_source);
    gh_clock_fini(&m->clock);
    gh_memmap_fini(&m->map);
    gh_ram_fini(&m->ram);
    pthread_cond_destroy(&m->vcpu_cond);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

enum gh_machine_state gh_machine_state(const struct gh_machine *m) { return m->state; }

void gh_machine_pause(struct gh_machine *m)
{
    gh_machine_lock(m);
    if (!m->paused) {
        m->paused = true;
        gh_vcpus_park(m);
        gh_clock_stop(&m->clock);
        if (m->cfg.accel->paused)
            m->cfg.accel->paused(m->vm);
        gh_vcpus_unpark(m); /* they stay out: paused is set */
    }
    gh_machine_unlock(m);
    if (m->state == GH_MACHINE_RUNNING)
        set_state(m, GH_MACHINE_PAUSED, NULL);
}

void gh_machine_resume(struct gh_machine *m)
{
    struct gh_error err = { 0 };

    if (m->state == GH_MACHINE_STOPPED)
        return;
    gh_machine_lock(m);
    if (m->paused && m->map.edited && gh_machine_publish(m, -1, &err)) {
        gh_machine_unlock(m);
        if (m->events.state)
            m->events.state(m->events.opaque, GH_MACHINE_PAUSED, &err);
        return;
    }
    if (m->paused) {
        gh_clock_start(&m->clock);
        if (m->cfg.accel->resumed)
            m->cfg.accel->resumed(m->vm);
        m->paused = false;
        pthread_cond_broadcast(&m->vcpu_cond);
    }
    gh_machine_unlock(m);
    set_state(m, GH_MACHINE_RUNNING, NULL);
}

void gh_machine_reset(struct gh_machine *m)
{
    restart(m, GH_RESET_WARM);
    if (m->events.reset)
        m->events.reset(m->events.opaque);
}

void gh_machine_stop(struct gh_machine *m, int exit_status) { stopped(m, exit_status); }

struct gh_device *gh_machine_device(struct gh_machine *m, const char *id)
{
    for (unsigned i = 0; i < m->device_count; i++)
        if (!strcmp(m->device[i]->id, id))
            return m->device[i];
    return NULL;
}

void gh_machine_counters(struct gh_machine *m, void (*visit)(void *opaque, const char *name, uint64_t value),
                         void *opaque)
{
    gh_machine_lock(m);
    gh_board_counters(m, visit, opaque);
    gh_doorbells_counters(m, visit, opaque);
    gh_machine_unlock(m);
    if (m->cfg.accel->counters)
        m->cfg.accel->counters(m->vm, visit, opaque);
}

void gh_machine_ask(struct gh_machine *m, enum gh_request what, uint64_t arg, const struct gh_error *why)
{ gh_machine_request(m, what, arg, why); }

void gh_machine_power_button(struct gh_machine *m)
{
    gh_machine_lock(m);
    struct gh_device *pm = gh_machine_device(m, "pm");
    if (pm)
        gh_piix4pm_power_button(pm);
    gh_machine_unlock(m);
}
