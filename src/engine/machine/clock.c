/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/clock.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* A guest that programs a timer into the past again and again must not keep the main loop here. */
enum { EXPIRE_BUDGET = 256 };

static int64_t host_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int gh_clock_init(struct gh_clock *c)
{
    c->head.next = c->head.prev = &c->head;
    c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    return c->timer_fd < 0 ? -errno : 0;
}

void gh_clock_fini(struct gh_clock *c)
{
    if (c->timer_fd >= 0)
        close(c->timer_fd);
    c->timer_fd = -1;
}

uint64_t gh_clock_now(const struct gh_clock *c)
{
    if (!atomic_load_explicit(&c->running, memory_order_acquire))
        return atomic_load_explicit(&c->frozen_ns, memory_order_relaxed);
    return (uint64_t)(host_ns() + atomic_load_explicit(&c->offset_ns, memory_order_relaxed));
}

static void program(struct gh_clock *c)
{
    uint64_t next = c->head.next == &c->head || !atomic_load(&c->running) ? 0 : c->head.next->deadline_ns;

    if (next == c->armed_ns)
        return;
    c->armed_ns = next;
    struct itimerspec spec = { 0 };
    if (next) {
        int64_t host = (int64_t)next - atomic_load(&c->offset_ns);
        if (host <= 0)
            host = 1;
        spec.it_value.tv_sec = host / 1000000000;
        spec.it_value.tv_nsec = host % 1000000000;
    }
    timerfd_settime(c->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void gh_clock_start(struct gh_clock *c)
{
    if (atomic_load(&c->running))
        return;
    atomic_store(&c->offset_ns, (int64_t)atomic_load(&c->frozen_ns) - host_ns());
    atomic_store_explicit(&c->running, true, memory_order_release);
    c->armed_ns = 0;
    program(c);
}

void gh_clock_stop(struct gh_clock *c)
{
    if (!atomic_load(&c->running))
        return;
    atomic_store(&c->frozen_ns, gh_clock_now(c));
    atomic_store_explicit(&c->running, false, memory_order_release);
    program(c);
}

static void unlink_timer(struct gh_timer *t)
{
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->prev = t->next = NULL;
    t->deadline_ns = 0;
}

void gh_clock_arm(struct gh_clock *c, struct gh_timer *t, uint64_t deadline_ns)
{
    if (t->next)
        unlink_timer(t);
    t->deadline_ns = deadline_ns ? deadline_ns : 1;
    struct gh_timer *at = c->head.next;
    while (at != &c->head && at->deadline_ns <= t->deadline_ns)
        at = at->next;
    t->next = at;
    t->prev = at->prev;
    at->prev->next = t;
    at->prev = t;
    program(c);
}

void gh_clock_disarm(struct gh_clock *c, struct gh_timer *t)
{
    if (!t->next)
        return;
    unlink_timer(t);
    program(c);
}

void gh_clock_expire(struct gh_clock *c)
{
    uint64_t now = gh_clock_now(c);

    c->armed_ns = 0; /* the timerfd has fired or is stale: program anew below */
    for (unsigned i = 0; i < EXPIRE_BUDGET && atomic_load(&c->running); i++) {
        struct gh_timer *t = c->head.next;
        if (t == &c->head || t->deadline_ns > now)
            break;
        unlink_timer(t);
        t->fn(t->dev, t);
    }
    c->armed_ns = 0;
    program(c);
    if (c->armed_ns == 0)
        timerfd_settime(c->timer_fd, 0, &(struct itimerspec){ 0 }, NULL);
}
