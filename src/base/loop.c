/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct gh_loop_source {
    struct gh_loop        *loop;
    int                    fd;
    bool                   dead;
    gh_loop_fd_fn          fn;
    void                  *opaque;
    struct gh_loop_source *prev, *next;
};

struct gh_loop_timer {
    struct gh_loop       *loop;
    gh_loop_fn            fn;
    void                 *opaque;
    uint64_t              deadline_ns; /* 0: not in the sorted list */
    struct gh_loop_timer *prev, *next; /* by deadline, under the lock */
    struct gh_loop_timer *all_prev, *all_next;
};

struct task {
    gh_loop_fn   fn;
    void        *opaque;
    struct task *next;
};

struct gh_loop {
    int                    epoll_fd, event_fd, timer_fd;
    struct gh_loop_source *sources;
    bool                   dispatching, have_dead;
    struct gh_loop_timer  *timers_all;

    pthread_mutex_t       lock; /* everything below */
    struct gh_loop_timer *timers;
    struct task          *tasks, **tasks_tail;
    bool                  quitting;
    int                   status;
};

uint64_t gh_loop_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int gh_loop_new(struct gh_loop **ret, struct gh_error *err)
{
    struct gh_loop *loop = calloc(1, sizeof *loop);

    *ret = NULL;
    if (!loop)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for an event loop.");
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    loop->tasks_tail = &loop->tasks;
    pthread_mutex_init(&loop->lock, NULL);

    struct epoll_event wake = { .events = EPOLLIN, .data.ptr = &loop->event_fd };
    struct epoll_event timer = { .events = EPOLLIN, .data.ptr = &loop->timer_fd };
    if (loop->epoll_fd < 0 || loop->event_fd < 0 || loop->timer_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->event_fd, &wake) ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->timer_fd, &timer)) {
        int code = -errno;
        gh_loop_free(loop);
        return gh_error_set(err, code, "EventLoopFailed",
                            "The event loop could not be set up (%s); raise the limit of open files "
                            "with 'ulimit -n' if that is the reason.", strerror(-code));
    }
    *ret = loop;
    return 0;
}

void gh_loop_free(struct gh_loop *loop)
{
    if (!loop)
        return;
    while (loop->sources) {
        struct gh_loop_source *s = loop->sources;
        loop->sources = s->next;
        free(s);
    }
    while (loop->timers_all) {
        struct gh_loop_timer *t = loop->timers_all;
        loop->timers_all = t->all_next;
        free(t);
    }
    while (loop->tasks) {
        struct task *t = loop->tasks;
        loop->tasks = t->next;
        free(t);
    }
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->event_fd >= 0)
        close(loop->event_fd);
    if (loop->timer_fd >= 0)
        close(loop->timer_fd);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

static void wake(struct gh_loop *loop)
{
    uint64_t one = 1;
    ssize_t  ignored = write(loop->event_fd, &one, sizeof one); /* full counter: already awake */
    (void)ignored;
}

void gh_loop_quit(struct gh_loop *loop, int status)
{
    pthread_mutex_lock(&loop->lock);
    if (!loop->quitting) {
        loop->quitting = true;
        loop->status = status;
    }
    pthread_mutex_unlock(&loop->lock);
    wake(loop);
}

/* ---- Descriptors ------------------------------------------------------------------------- */
struct gh_loop_source *gh_loop_fd(struct gh_loop *loop, int fd, uint32_t events, gh_loop_fd_fn fn,
                                  void *opaque)
{
    struct gh_loop_source *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    *s = (struct gh_loop_source){ .loop = loop, .fd = fd, .fn = fn, .opaque = opaque };
    struct epoll_event ev = { .events = events, .data.ptr = s };
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
        free(s);
        return NULL;
    }
    s->next = loop->sources;
    if (s->next)
        s->next->prev = s;
    loop->sources = s;
    return s;
}

void gh_loop_fd_events(struct gh_loop_source *s, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.ptr = s };
    epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev);
}

static void source_unlink(struct gh_loop_source *s)
{
    if (s->prev)
        s->prev->next = s->next;
    else
        s->loop->sources = s->next;
    if (s->next)
        s->next->prev = s->prev;
    free(s);
}

void gh_loop_fd_free(struct gh_loop_source *s)
{
    if (!s || s->dead)
        return;
    epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    /* The batch being dispatched may still hold its address. */
    if (s->loop->dispatching) {
        s->dead = true;
        s->loop->have_dead = true;
    } else {
        source_unlink(s);
    }
}

static void bury(struct gh_loop *loop)
{
    if (!loop->have_dead)
        return;
    loop->have_dead = false;
    for (struct gh_loop_source *s = loop->sources, *next; s; s = next) {
        next = s->next;
        if (s->dead)
            source_unlink(s);
    }
}

/* ---- Timers ------------------------------------------------------------------------------ */
static void timer_set(struct gh_loop *loop) /* lock held */
{
    uint64_t          ns = loop->timers ? loop->timers->deadline_ns : 0;
    struct itimerspec its = { .it_value = { .tv_sec = (time_t)(ns / 1000000000u),
                                            .tv_nsec = (long)(ns % 1000000000u) } };
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static void timer_unlink(struct gh_loop_timer *t) /* lock held */
{
    if (!t->deadline_ns)
        return;
    if (t->prev)
        t->prev->next = t->next;
    else
        t->loop->timers = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->prev = t->next = NULL;
    t->deadline_ns = 0;
}

struct gh_loop_timer *gh_loop_timer(struct gh_loop *loop, gh_loop_fn fn, void *opaque)
{
    struct gh_loop_timer *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    *t = (struct gh_loop_timer){ .loop = loop, .fn = fn, .opaque = opaque };
    t->all_next = loop->timers_all;
    if (t->all_next)
        t->all_next->all_prev = t;
    loop->timers_all = t;
    return t;
}

void gh_loop_timer_arm(struct gh_loop_timer *t, uint64_t deadline_ns)
{
    struct gh_loop *loop = t->loop;

    /* The largest time_t in nanoseconds is beyond any clock; keep tv_sec positive. */
    if (deadline_ns > INT64_MAX)
        deadline_ns = INT64_MAX;
    pthread_mutex_lock(&loop->lock);
    struct gh_loop_timer *first = loop->timers;
    uint64_t              first_ns = first ? first->deadline_ns : 0;
    timer_unlink(t);
    if (deadline_ns) {
        struct gh_loop_timer *after = NULL, *at = loop->timers;
        while (at && at->deadline_ns <= deadline_ns) {
            after = at;
            at = at->next;
        }
        t->deadline_ns = deadline_ns;
        t->prev = after;
        t->next = at;
        if (after)
            after->next = t;
        else
            loop->timers = t;
        if (at)
            at->prev = t;
    }
    if ((loop->timers ? loop->timers->deadline_ns : 0) != first_ns)
        timer_set(loop);
    pthread_mutex_unlock(&loop->lock);
}

void gh_loop_timer_free(struct gh_loop_timer *t)
{
    if (!t)
        return;
    gh_loop_timer_arm(t, 0);
    if (t->all_prev)
        t->all_prev->all_next = t->all_next;
    else
        t->loop->timers_all = t->all_next;
    if (t->all_next)
        t->all_next->all_prev = t->all_prev;
    free(t);
}

static void run_timers(struct gh_loop *loop)
{
    uint64_t now = gh_loop_now_ns(), expirations;
    ssize_t  ignored = read(loop->timer_fd, &expirations, sizeof expirations);

    (void)ignored;
    for (;;) {
        pthread_mutex_lock(&loop->lock);
        struct gh_loop_timer *t = loop->timers;
        /* One reading of the clock: a timer that re-arms itself for now waits for the next round. */
        if (!t || t->deadline_ns > now || loop->quitting) {
            timer_set(loop);
            pthread_mutex_unlock(&loop->lock);
            return;
        }
        timer_unlink(t);
        pthread_mutex_unlock(&loop->lock);
        t->fn(t->opaque);
    }
}

/* ---- Posted work ------------------------------------------------------------------------- */
int gh_loop_post(struct gh_loop *loop, gh_loop_fn fn, void *opaque)
{
    struct task *task = malloc(sizeof *task);

    if (!task)
        return -ENOMEM;
    *task = (struct task){ .fn = fn, .opaque = opaque };
    pthread_mutex_lock(&loop->lock);
    bool first = !loop->tasks;
    *loop->tasks_tail = task;
    loop->tasks_tail = &task->next;
    pthread_mutex_unlock(&loop->lock);
    if (first)
        wake(loop);
    return 0;
}

static void run_tasks(struct gh_loop *loop)
{
    uint64_t count;
    ssize_t  ignored = read(loop->event_fd, &count, sizeof count);

    (void)ignored;
    pthread_mutex_lock(&loop->lock);
    struct task *list = loop->tasks;
    loop->tasks = NULL;
    loop->tasks_tail = &loop->tasks;
    pthread_mutex_unlock(&loop->lock);
    while (list) {
        struct task *task = list;
        list = task->next;
        task->fn(task->opaque);
        free(task);
    }
}

int gh_loop_once(struct gh_loop *loop, int timeout_ms)
{
    struct epoll_event ev[16];
    int                n = epoll_wait(loop->epoll_fd, ev, 16, timeout_ms);

    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    loop->dispatching = true;
    for (int i = 0; i < n; i++) {
        if (ev[i].data.ptr == &loop->event_fd) {
            run_tasks(loop);
        } else if (ev[i].data.ptr == &loop->timer_fd) {
            run_timers(loop);
        } else {
            struct gh_loop_source *s = ev[i].data.ptr;
            if (!s->dead)
                s->fn(s->opaque, s->fd, ev[i].events);
        }
    }
    loop->dispatching = false;
    bury(loop);
    return 0;
}

int gh_loop_run(struct gh_loop *loop)
{
    for (;;) {
        pthread_mutex_lock(&loop->lock);
        bool quitting = loop->quitting;
        int  status = loop->status;
        pthread_mutex_unlock(&loop->lock);
        if (quitting)
            return status;
        int r = gh_loop_once(loop, -1);
        if (r < 0)
            return r;
    }
}
