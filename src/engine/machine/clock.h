/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The machine clock: host-monotonic nanoseconds that stand still while the machine is paused,
 * and the devices' timers on it. The only source of time for devices and local APICs.
 *
 * gh_clock_now is lock-free from any thread. Timers: machine lock. One timerfd wakes the main
 * loop for the earliest deadline.
 */
#pragma once
#include <stdatomic.h>

#include "devices/device.h"

struct gh_clock {
    _Atomic int64_t offset_ns;      /* machine = host monotonic + offset while running */
    _Atomic uint64_t frozen_ns;     /* the value while paused */
    _Atomic bool running;
    int      timer_fd;
    uint64_t armed_ns;              /* what timer_fd is set to, machine time; 0: off */
    struct gh_timer head;           /* sorted ring: head.next is the earliest */
};

int  gh_clock_init(struct gh_clock *c);
void gh_clock_fini(struct gh_clock *c);
uint64_t gh_clock_now(const struct gh_clock *c);
void gh_clock_start(struct gh_clock *c);
void gh_clock_stop(struct gh_clock *c);
void gh_clock_arm(struct gh_clock *c, struct gh_timer *t, uint64_t deadline_ns);
void gh_clock_disarm(struct gh_clock *c, struct gh_timer *t);
/* Fires what is due (bounded per call) and sets timer_fd for the rest. */
void gh_clock_expire(struct gh_clock *c);
