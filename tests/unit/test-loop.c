/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/loop.h"
#include "check.h"

#define POSTS_PER_THREAD 500

struct fixture {
    struct gh_loop        *loop;
    struct gh_loop_source *source, *other;
    struct gh_loop_timer  *timer[3];
    char                   order[16];
    unsigned               reads, posts, other_calls;
    unsigned               next_from[2];
    bool                   in_order;
};

static void record(struct fixture *f, char c)
{
    size_t n = strlen(f->order);
    if (n + 1 < sizeof f->order)
        f->order[n] = c;
}
static void fire_a(void *opaque) { record(opaque, 'a'); }
static void fire_b(void *opaque) { record(opaque, 'b'); }
static void fire_quit(void *opaque)
{
    struct fixture *f = opaque;
    record(f, 'q');
    gh_loop_quit(f->loop, 7);
    gh_loop_quit(f->loop, 8); /* the first status wins */
}

static void timers(void)
{
    struct fixture f = { 0 };

    CHECK_FATAL(gh_loop_new(&f.loop, NULL) == 0);
    f.timer[0] = gh_loop_timer(f.loop, fire_a, &f);
    f.timer[1] = gh_loop_timer(f.loop, fire_b, &f);
    f.timer[2] = gh_loop_timer(f.loop, fire_quit, &f);
    uint64_t start = gh_loop_now_ns();
    gh_loop_timer_arm(f.timer[2], start + 30000000);
    gh_loop_timer_arm(f.timer[1], start + 10000000);
    gh_loop_timer_arm(f.timer[0], start + 20000000);
    gh_loop_timer_arm(f.timer[0], 1);               /* in the past: now */
    struct gh_loop_timer *never = gh_loop_timer(f.loop, fire_a, &f);
    gh_loop_timer_arm(never, start + 5000000);
    gh_loop_timer_arm(never, 0);
    CHECK_EQ(gh_loop_run(f.loop), 7);
    CHECK_STR(f.order, "abq");
    CHECK(gh_loop_now_ns() - start >= 30000000);
    gh_loop_timer_free(f.timer[1]);
    gh_loop_timer_free(NULL);
    gh_loop_free(f.loop);
}

/* The first callback frees the source whose event is in the same batch. */
static void on_both(void *opaque, int fd, uint32_t events)
{
    struct fixture *f = opaque;
    char            c;

    f->reads++;
    CHECK(events & EPOLLIN);
    CHECK_EQ(read(fd, &c, 1), 1);
    gh_loop_fd_free(f->source);
    gh_loop_fd_free(f->other);
    gh_loop_quit(f->loop, 0);
}

static void sources(void)
{
    struct fixture f = { 0 };
    int            a[2], b[2];

    CHECK_FATAL(pipe(a) == 0 && pipe(b) == 0);
    CHECK_FATAL(gh_loop_new(&f.loop, NULL) == 0);
    f.source = gh_loop_fd(f.loop, a[0], EPOLLIN, on_both, &f);
    f.other = gh_loop_fd(f.loop, b[0], EPOLLIN, on_both, &f);
    CHECK_EQ(write(a[1], "x", 1), 1);
    CHECK_EQ(write(b[1], "x", 1), 1);
    CHECK_EQ(gh_loop_run(f.loop), 0);
    CHECK_EQ(f.reads, 1);
    CHECK_EQ(gh_loop_once(f.loop, 0), 0);
    CHECK_EQ(f.reads, 1);
    errno = 0;
    CHECK(!gh_loop_fd(f.loop, -1, EPOLLIN, on_both, &f));
    CHECK_EQ(errno, EBADF);
    gh_loop_free(f.loop);
    close(a[0]); close(a[1]); close(b[0]); close(b[1]);
}

struct posted { struct fixture *f; unsigned thread, number; };
static struct posted posted[2][POSTS_PER_THREAD];

static void run_posted(void *opaque)
{
    struct posted *p = opaque;
    if (p->f->next_from[p->thread]++ != p->number)
        p->f->in_order = false;
    if (++p->f->posts == 2 * POSTS_PER_THREAD)
        gh_loop_quit(p->f->loop, 0);
}
static void *poster(void *opaque)
{
    struct posted *mine = opaque;
    for (unsigned i = 0; i < POSTS_PER_THREAD; i++)
        if (gh_loop_post(mine[i].f->loop, run_posted, &mine[i]))
            abort();
    return NULL;
}

static void posts(void)
{
    struct fixture f = { .in_order = true };
    pthread_t      thread[2];

    CHECK_FATAL(gh_loop_new(&f.loop, NULL) == 0);
    for (unsigned t = 0; t < 2; t++) {
        for (unsigned i = 0; i < POSTS_PER_THREAD; i++)
            posted[t][i] = (struct posted){ &f, t, i };
        CHECK_FATAL(pthread_create(&thread[t], NULL, poster, posted[t]) == 0);
    }
    CHECK_EQ(gh_loop_run(f.loop), 0);
    pthread_join(thread[0], NULL);
    pthread_join(thread[1], NULL);
    CHECK_EQ(f.posts, 2 * POSTS_PER_THREAD);
    CHECK(f.in_order);
    CHECK_EQ(gh_loop_post(f.loop, run_posted, &posted[0][0]), 0); /* freed unrun */
    gh_loop_free(f.loop);
    gh_loop_free(NULL);
}

int main(void)
{
    timers();
    sources();
    posts();
    return check_result();
}
