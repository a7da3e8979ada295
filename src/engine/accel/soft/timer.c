/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One thread per machine that notices when a running vCPU's local APIC timer is due. A halted
 * vCPU waits for its own deadline and takes itself out of the thread's list.
 */
#include <errno.h>
#include <time.h>

#include "engine/accel/soft/system.h"
#include "engine/accel/soft/vm.h"

#define STANDSTILL_NS 10000000ull  /* the machine clock stands: look again after this */

static uint64_t earliest(struct soft_vm *vm, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        uint64_t d = atomic_load(&vm->deadline_ns[i]);
        if (d <= now) {
            if (atomic_compare_exchange_strong(&vm->deadline_ns[i], &d, UINT64_MAX) && vm->cpu[i])
                soft_attention_set(vm->cpu[i], SOFT_ATTN_TIMER);
        } else if (d < next) {
            next = d;
        }
    }
    return next;
}

static void sleep_for(struct soft_vm *vm, uint64_t ns)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t at = (uint64_t)t.tv_nsec + ns % 1000000000u;
    t.tv_sec += (time_t)(ns / 1000000000u + at / 1000000000u);
    t.tv_nsec = (long)(at % 1000000000u);
    pthread_cond_timedwait(&vm->timer_cond, &vm->timer_lock, &t);
}

static void *timer_main(void *opaque)
{
    struct soft_vm *vm = opaque;
    uint64_t before = UINT64_MAX;

    pthread_setname_np(pthread_self(), "soft-timer");
    pthread_mutex_lock(&vm->timer_lock);
    while (!vm->timer_stop) {
        /* Armed deadlines compare with the target first: a vCPU either sees the new target or is seen here. */
        atomic_store(&vm->timer_target_ns, UINT64_MAX);
        uint64_t now = vm->env.now_ns(vm->env.opaque), next = earliest(vm, now);
        atomic_store(&vm->timer_target_ns, next);
        uint64_t again = earliest(vm, now);
        if (again < next)
            continue;
        if (next == UINT64_MAX)
            pthread_cond_wait(&vm->timer_cond, &vm->timer_lock);
        else
            sleep_for(vm, now == before && next - now < STANDSTILL_NS ? STANDSTILL_NS : next - now);
        before = now;
    }
    pthread_mutex_unlock(&vm->timer_lock);
    return NULL;
}

void soft_timer_arm(struct soft_cpu *cpu, uint64_t deadline_ns)
{
    struct soft_vm *vm = cpu->vm;

    atomic_store(&vm->deadline_ns[cpu->index], deadline_ns);
    if (deadline_ns >= atomic_load(&vm->timer_target_ns))
        return;
    pthread_mutex_lock(&vm->timer_lock);
    pthread_cond_signal(&vm->timer_cond);
    pthread_mutex_unlock(&vm->timer_lock);
}

int soft_timer_start(struct soft_vm *vm, struct gh_error *err)
{
    pthread_condattr_t attr;

    for (unsigned i = 0; i < SOFT_MAX_VCPUS; i++)
        atomic_init(&vm->deadline_ns[i], UINT64_MAX);
    atomic_init(&vm->timer_target_ns, UINT64_MAX);
    pthread_mutex_init(&vm->timer_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&vm->timer_cond, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&vm->timer_thread, NULL, timer_main, vm);
    if (rc)
        return gh_error_set(err, -rc, "ThreadFailed",
                            "The host refused a thread for the machine's timers (error %d); close other programs.", rc);
    vm->timer_started = true;
    return 0;
}

void soft_timer_stop(struct soft_vm *vm)
{
    if (!vm->timer_started)
        return;
    pthread_mutex_lock(&vm->timer_lock);
    vm->timer_stop = true;
    pthread_cond_signal(&vm->timer_cond);
    pthread_mutex_unlock(&vm->timer_lock);
    pthread_join(vm->timer_thread, NULL);
    pthread_cond_destroy(&vm->timer_cond);
    pthread_mutex_destroy(&vm->timer_lock);
    vm->timer_started = false;
}
