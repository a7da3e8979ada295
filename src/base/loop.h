/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A small event loop: descriptors, timers, and work posted from other threads.
 *
 * Threads: one thread runs the loop and all callbacks run there. Any thread may call post, quit and
 * timer_arm; everything else belongs to the loop's thread (or to the time before run).
 * Ownership: descriptors stay the caller's and are not closed. Sources and timers belong to the loop's
 * caller until the matching free call; freeing one inside any callback, its own included, is allowed.
 * Time: CLOCK_MONOTONIC nanoseconds. Every descriptor is made by new, so a sandbox may be entered
 * afterwards.
 */
#pragma once
#include <stdint.h>

#include "base/error.h"

struct gh_loop;
struct gh_loop_source;
struct gh_loop_timer;

/* events: EPOLLIN, EPOLLOUT; EPOLLHUP and EPOLLERR arrive unasked. */
typedef void (*gh_loop_fd_fn)(void *opaque, int fd, uint32_t events);
typedef void (*gh_loop_fn)(void *opaque);

uint64_t gh_loop_now_ns(void);

int  gh_loop_new(struct gh_loop **ret, struct gh_error *err);
/* Drops posted work that did not run; sources and timers still alive are freed with it. */
void gh_loop_free(struct gh_loop *loop);
/* Dispatches until quit; returns quit's status, or a negative errno where epoll itself fails. */
int  gh_loop_run(struct gh_loop *loop);
/* Dispatches what is ready, waiting at most timeout_ms (-1: for ever). */
int  gh_loop_once(struct gh_loop *loop, int timeout_ms);
/* Any thread. The first status wins; run returns after the callback in progress. */
void gh_loop_quit(struct gh_loop *loop, int status);

/* NULL with errno set where the descriptor cannot be polled. Level-triggered. */
struct gh_loop_source *gh_loop_fd(struct gh_loop *loop, int fd, uint32_t events, gh_loop_fd_fn fn,
                                  void *opaque);
void gh_loop_fd_events(struct gh_loop_source *source, uint32_t events); /* 0: muted */
void gh_loop_fd_free(struct gh_loop_source *source);                    /* before closing fd */

/* A disarmed one-shot timer. */
struct gh_loop_timer *gh_loop_timer(struct gh_loop *loop, gh_loop_fn fn, void *opaque);
/* Any thread. Fires once at or after deadline_ns; 0 disarms. A deadline in the past fires at once. */
void gh_loop_timer_arm(struct gh_loop_timer *timer, uint64_t deadline_ns);
void gh_loop_timer_free(struct gh_loop_timer *timer);

/* Any thread. Runs fn(opaque) on the loop's thread, in the order of the calls. */
int  gh_loop_post(struct gh_loop *loop, gh_loop_fn fn, void *opaque);
