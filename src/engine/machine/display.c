/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/display.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/backend/display/protocol.h"
#include "engine/machine/png.h"
#include "engine/machine/sandbox.h"
#include "engine/machine/surface.h"

enum {
    BACKENDS = 4, VIEWERS = 8, CONSUMERS = BACKENDS + VIEWERS,
    RECTS = 256,
    MESSAGES_PER_TURN = 128,
    FRAME_NS = 16000000,      /* at most about 60 frames a second */
    QUIET_NS = 33000000,      /* between looks while nothing changes: linear writes give no hint */
    LIVELY_NS = 500000000,    /* a change makes further ones likely for so long */
    POINTER_NS = 500000000,   /* how often the pointer kind is looked at */
};

/* Slots with their descriptors exist from the start; a sandboxed machine makes no new ones. */
struct consumer {
    int      frame_fd, ask_fd;
    bool     used, asked;
    uint64_t asked_ns;
};

struct backend {
    int      fd;              /* -1: free */
    bool     hello_sent, cursor_sent, leds_sent, pointer_sent;
    uint64_t down[(KEY_MAX + 64) / 64];          /* keys and buttons held */
};

struct gh_display {
    const struct gh_display_host *host;
    void    *opaque;
    struct gh_surface *surface;
    pthread_t thread;
    bool     started;
    int      wake_fd;
    atomic_bool stop, kicked;

    pthread_mutex_t frame_lock;                  /* surface, mode; held while converting */
    struct gh_display_mode mode;
    bool     have_mode;
    struct gh_rect rects[RECTS];

    pthread_mutex_t lock;                        /* the rest; never held around host callbacks */
    struct consumer consumer[CONSUMERS];         /* the first BACKENDS belong to backend[] */
    struct backend backend[BACKENDS];
    unsigned leds, clients;
    bool     absolute;
    struct gh_display_cursor_message cursor;
    uint64_t last_render_ns, last_change_ns, pointer_ns; /* the thread's */
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void signal_fd(int fd)
{
    const uint64_t one = 1;
    ssize_t ignored = write(fd, &one, sizeof one);
    (void)ignored;
}

static bool drain_fd(int fd)
{
    uint64_t count;

    return read(fd, &count, sizeof count) == sizeof count;
}

/* ---- Frames -------------------------------------------------------------------------------------- */

/* Brings the surface up to date; returns whether it changed. With frame_lock. */
static bool render_locked(struct gh_display *d)
{
    struct gh_display_mode mode;
    uint32_t width, height, stride;

    /* The guest may change the mode between the two calls; then nothing is drawn and it starts over. */
    for (unsigned tries = 0; tries < 3; tries++) {
        bool full = false;
        if (!d->host->mode(d->opaque, &mode))
            return false;
        if (!d->have_mode || mode.width != d->mode.width || mode.height != d->mode.height ||
            mode.generation != d->mode.generation) {
            if (gh_surface_set_size(d->surface, mode.width, mode.height))
                return false;                    /* too large to show: the last picture stays */
            d->mode = mode;
            d->have_mode = full = true;
        }
        uint32_t *pixels = gh_surface_pixels(d->surface, &width, &height, &stride);
        unsigned count = d->host->render(d->opaque, pixels, stride, full, d->rects, RECTS);
        if (count) {
            gh_surface_commit(d->surface, d->rects, count);
            return true;
        }
        if (!full)
            return false;
        d->have_mode = false;
    }
    return false;
}

static bool render(struct gh_display *d)
{
    atomic_store(&d->kicked, false);
    pthread_mutex_lock(&d->frame_lock);
    bool changed = render_locked(d);
    pthread_mutex_unlock(&d->frame_lock);
    if (!changed)
        return false;
    pthread_mutex_lock(&d->lock);
    for (unsigned i = 0; i < CONSUMERS; i++)
        if (d->consumer[i].used) {
            d->consumer[i].asked = false;
            signal_fd(d->consumer[i].frame_fd);
        }
    pthread_mutex_unlock(&d->lock);
    return true;
}

void gh_display_changed(struct gh_display *d)
{
    if (!atomic_exchange(&d->kicked, true))
        signal_fd(d->wake_fd);
}

int gh_display_screenshot(struct gh_display *d, int fd, uint32_t max_width, uint32_t max_height, struct gh_error *err)
{
    uint32_t width, height, stride;

    render(d);
    pthread_mutex_lock(&d->frame_lock);
    uint32_t *pixels = gh_surface_pixels(d->surface, &width, &height, &stride);
    gh_autofree uint32_t *copy = NULL;
    if (width && height)
        copy = gh_picture_shrink(pixels, width, height, stride, max_width, max_height, &width, &height);
    pthread_mutex_unlock(&d->frame_lock);
    if (!width || !height)
        return gh_error_set(err, -ENODEV, "NoScreen", "The machine has no screen to take a picture of; "
                            "add a display adapter or wait until it has started.");
    if (!copy)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for the screenshot; close other programs.");
    return gh_png_write(fd, copy, width, height, width * 4, err);
}

/* ---- Consumers ------------------------------------------------------------------------------------ */

int gh_display_open_viewer(struct gh_display *d, int ret_fds[3], struct gh_error *err)
{
    struct consumer *c = NULL;

    pthread_mutex_lock(&d->lock);
    for (unsigned i = BACKENDS; i < CONSUMERS; i++) {
        struct consumer *x = &d->consumer[i];
        if (!c || (c->used && (!x->used || x->asked_ns < c->asked_ns)))
            c = x;
    }
    ret_fds[0] = fcntl(gh_surface_fd(d->surface), F_DUPFD_CLOEXEC, 0);
    ret_fds[1] = fcntl(c->frame_fd, F_DUPFD_CLOEXEC, 0);
    ret_fds[2] = fcntl(c->ask_fd, F_DUPFD_CLOEXEC, 0);
    int e = errno;
    bool ok = ret_fds[0] >= 0 && ret_fds[1] >= 0 && ret_fds[2] >= 0;
    if (ok) {
        c->used = true;
        c->asked = false;
        c->asked_ns = now_ns();
    }
    pthread_mutex_unlock(&d->lock);
    if (ok)
        return 0;
    for (unsigned i = 0; i < 3; i++)
        if (ret_fds[i] >= 0)
            close(ret_fds[i]);
    return gh_error_set(err, -e, "TooManyFiles", "The screen could not be shared: %s; close other windows.", strerror(e));
}

/* ---- Messages to backends ---------------------------------------------------------------------------- */

static bool send_hello(struct gh_display *d, unsigned slot)
{
    struct gh_display_message m = { .type = GH_DISPLAY_HELLO, .a = GH_DISPLAY_PROTOCOL };
    int fds[3] = { gh_surface_fd(d->surface), d->consumer[slot].frame_fd, d->consumer[slot].ask_fd };
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof fds)]; } control = { 0 };
    struct iovec iov = { &m, sizeof m };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    return sendmsg(d->backend[slot].fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof m;
}

static bool send_to(const struct backend *b, const void *message, size_t bytes)
{ return send(b->fd, message, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)bytes; }

/* Sends what a backend does not know yet; what its queue does not take waits for the next turn. With lock. */
static bool update_backend(struct gh_display *d, unsigned slot)
{
    struct backend *b = &d->backend[slot];
    struct gh_display_message pointer = { .type = GH_DISPLAY_POINTER, .a = d->absolute };
    struct gh_display_message leds = { .type = GH_DISPLAY_LEDS, .a = d->leds };

    if (!b->hello_sent)
        b->hello_sent = send_hello(d, slot);
    if (!b->hello_sent)
        return false;
    if (!b->pointer_sent)
        b->pointer_sent = send_to(b, &pointer, sizeof pointer);
    if (!b->leds_sent)
        b->leds_sent = send_to(b, &leds, sizeof leds);
    if (!b->cursor_sent)
        b->cursor_sent = send_to(b, &d->cursor, sizeof d->cursor.head + (size_t)d->cursor.head.a * d->cursor.head.b * 4);
    return b->pointer_sent && b->leds_sent && b->cursor_sent;
}

void gh_display_set_leds(struct gh_display *d, unsigned leds)
{
    pthread_mutex_lock(&d->lock);
    bool differs = d->leds != leds;
    d->leds = leds;
    for (unsigned i = 0; differs && i < BACKENDS; i++)
        d->backend[i].leds_sent = false;
    pthread_mutex_unlock(&d->lock);
    if (differs)
        signal_fd(d->wake_fd);
}

void gh_display_set_cursor(struct gh_display *d, const uint32_t *pixels, uint32_t width, uint32_t height,
                           uint32_t hot_x, uint32_t hot_y)
{
    if (!pixels || width > GH_DISPLAY_CURSOR_MAX || height > GH_DISPLAY_CURSOR_MAX)
        width = height = 0;
    if (hot_x >= width || hot_y >= height)
        hot_x = hot_y = 0;
    pthread_mutex_lock(&d->lock);
    d->cursor.head = (struct gh_display_message){ .type = GH_DISPLAY_CURSOR, .a = width, .b = height,
                                                  .c = hot_x | hot_y << 16 };
    if (width)
        memcpy(d->cursor.pixels, pixels, (size_t)width * height * 4);
    for (unsigned i = 0; i < BACKENDS; i++)
        d->backend[i].cursor_sent = false;
    pthread_mutex_unlock(&d->lock);
    signal_fd(d->wake_fd);
}

int gh_display_add_backend(struct gh_display *d, int control_fd, struct gh_error *err)
{
    struct backend *b = NULL;

    pthread_mutex_lock(&d->lock);
    for (unsigned i = 0; i < BACKENDS && !b; i++)
        if (d->backend[i].fd < 0) {
            b = &d->backend[i];
            *b = (struct backend){ .fd = control_fd };
            drain_fd(d->consumer[i].frame_fd);
            drain_fd(d->consumer[i].ask_fd);
            d->consumer[i].used = true;
            d->consumer[i].asked = false;
        }
    pthread_mutex_unlock(&d->lock);
    if (!b) {
        close(control_fd);
        return gh_error_set(err, -EBUSY, "TooManyDisplayBackends", "The machine has %d display backends already; "
                            "stop one before starting another.", BACKENDS);
    }
    signal_fd(d->wake_fd);
    return 0;
}

/* ---- Input ------------------------------------------------------------------------------------------- */

static bool is_button(unsigned code) { return code >= BTN_MISC && code < KEY_OK; }

static void set_down(struct gh_display *d, struct backend *b, unsigned code, bool down)
{
    uint64_t bit = 1ull << (code & 63);

    if (down)
        b->down[code >> 6] |= bit;
    else
        b->down[code >> 6] &= ~bit;
    if (is_button(code))
        d->host->button(d->opaque, (uint16_t)code, down);
    else
        d->host->key(d->opaque, (uint16_t)code, down);
}

static int32_t clamp_step(uint32_t v)
{
    int32_t s = (int32_t)v;

    return s < -4096 ? -4096 : s > 4096 ? 4096 : s;
}

static void message(struct gh_display *d, struct backend *b, const struct gh_display_message *m)
{
    switch (m->type) {
    case GH_DISPLAY_KEY: case GH_DISPLAY_BUTTON:
        if (m->a > 0 && m->a <= KEY_MAX && is_button(m->a) == (m->type == GH_DISPLAY_BUTTON))
            set_down(d, b, m->a, m->b & 1);
        break;
    case GH_DISPLAY_MOVE_TO:
        if (m->a <= 32767 && m->b <= 32767)
            d->host->pointer_abs(d->opaque, (uint16_t)m->a, (uint16_t)m->b);
        break;
    case GH_DISPLAY_MOVE_BY:
        d->host->pointer_rel(d->opaque, clamp_step(m->a), clamp_step(m->b), clamp_step(m->c));
        break;
    case GH_DISPLAY_SYNC:
        d->host->sync(d->opaque);
        break;
    case GH_DISPLAY_RESIZE:
        if (d->host->resize && m->a >= 64 && m->b >= 64 && m->a <= 8192 && m->b <= 8192)
            d->host->resize(d->opaque, m->a, m->b);
        break;
    case GH_DISPLAY_CLIENTS:
        d->clients = m->a;
        if (d->host->clients)
            d->host->clients(d->opaque, m->a);
        break;
    default:                                     /* a newer backend's */
        break;
    }
}

/* The backend died or misbehaves: nothing it held stays down. */
static void drop_backend(struct gh_display *d, struct backend *b)
{
    bool any = false;

    for (unsigned code = 0; code <= KEY_MAX; code++)
        if (b->down[code >> 6] >> (code & 63) & 1) {
            set_down(d, b, code, false);
            any = true;
        }
    if (any)
        d->host->sync(d->opaque);
    pthread_mutex_lock(&d->lock);
    close(b->fd);
    b->fd = -1;
    d->consumer[b - d->backend].used = d->consumer[b - d->backend].asked = false;
    pthread_mutex_unlock(&d->lock);
    if (d->host->clients)
        d->host->clients(d->opaque, 0);
}

static void read_backend(struct gh_display *d, struct backend *b)
{
    struct gh_display_message m;

    for (unsigned i = 0; i < MESSAGES_PER_TURN; i++) {
        ssize_t n = recv(b->fd, &m, sizeof m, MSG_DONTWAIT | MSG_TRUNC);
        if (n == (ssize_t)sizeof m) {
            message(d, b, &m);
            d->last_change_ns = now_ns();        /* input makes changes likely */
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        drop_backend(d, b);
        return;
    }
}

/* ---- The thread ----------------------------------------------------------------------------------------- */

/* When to look at the screen next; UINT64_MAX: nobody asked. */
static uint64_t next_look(struct gh_display *d, uint64_t now)
{
    bool asked = false;

    pthread_mutex_lock(&d->lock);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        struct consumer *c = &d->consumer[i];
        if (c->used && drain_fd(c->ask_fd)) {
            c->asked = true;
            c->asked_ns = now;
        }
        asked |= c->used && c->asked;
    }
    pthread_mutex_unlock(&d->lock);
    if (!asked)
        return UINT64_MAX;
    bool lively = atomic_load(&d->kicked) || now - d->last_change_ns < LIVELY_NS;
    return d->last_render_ns + (lively ? FRAME_NS : QUIET_NS);
}

static void look_at_pointer(struct gh_display *d, uint64_t now)
{
    if (now - d->pointer_ns < POINTER_NS)
        return;
    d->pointer_ns = now;
    bool absolute = d->host->pointer_is_absolute(d->opaque);
    pthread_mutex_lock(&d->lock);
    if (absolute != d->absolute) {
        d->absolute = absolute;
        for (unsigned i = 0; i < BACKENDS; i++)
            d->backend[i].pointer_sent = false;
    }
    pthread_mutex_unlock(&d->lock);
}

static void *display_thread(void *arg)
{
    struct gh_display *d = arg;
    struct pollfd p[1 + CONSUMERS + BACKENDS];
    bool narrowed = false;

    pthread_setname_np(pthread_self(), "gh-display"); /* another thread's name is a file, which Landlock keeps shut */
    while (!atomic_load(&d->stop)) {
        if (!narrowed && gh_sandbox_active()) { /* the sandbox closes after this thread was made */
            narrowed = true;
            gh_sandbox_thread(GH_SANDBOX_IO, NULL);
        }
        uint64_t now = now_ns(), due = next_look(d, now);
        if (due <= now) {
            d->last_render_ns = now;
            if (render(d))
                d->last_change_ns = now;
            due = next_look(d, now);
        }
        bool connected = false, pending = false;
        pthread_mutex_lock(&d->lock);
        p[0] = (struct pollfd){ d->wake_fd, POLLIN, 0 };
        for (unsigned i = 0; i < CONSUMERS; i++)
            p[1 + i] = (struct pollfd){ d->consumer[i].used ? d->consumer[i].ask_fd : -1, POLLIN, 0 };
        for (unsigned i = 0; i < BACKENDS; i++) {
            p[1 + CONSUMERS + i] = (struct pollfd){ d->backend[i].fd, POLLIN, 0 };
            if (d->backend[i].fd >= 0) {
                connected = true;
                pending |= !update_backend(d, i);
            }
        }
        pthread_mutex_unlock(&d->lock);
        now = now_ns();
        uint64_t wait_ns = due == UINT64_MAX ? UINT64_MAX : due > now ? due - now : 0;
        if (connected && wait_ns > POINTER_NS)
            wait_ns = POINTER_NS;                /* a guest that starts to drive its tablet tells nobody */
        if (pending && wait_ns > FRAME_NS)
            wait_ns = FRAME_NS;
        struct timespec timeout = { (time_t)(wait_ns / 1000000000), (long)(wait_ns % 1000000000) };
        if (ppoll(p, GH_ARRAY_LEN(p), wait_ns == UINT64_MAX ? NULL : &timeout, NULL) < 0 && errno != EINTR)
            break;
        if (p[0].revents)
            drain_fd(d->wake_fd);
        for (unsigned i = 0; i < BACKENDS; i++)
            if (p[1 + CONSUMERS + i].fd >= 0 && p[1 + CONSUMERS + i].revents)
                read_backend(d, &d->backend[i]);
        if (connected)
            look_at_pointer(d, now_ns());
    }
    return NULL;
}

/* ---- Life ------------------------------------------------------------------------------------------------- */

int gh_display_new(const struct gh_display_host *host, void *opaque, uint64_t max_bytes, struct gh_display **ret,
                   struct gh_error *err)
{
    struct gh_display *d = calloc(1, sizeof *d);

    if (!d)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for the screen; close other programs.");
    d->host = host;
    d->opaque = opaque;
    pthread_mutex_init(&d->frame_lock, NULL);
    pthread_mutex_init(&d->lock, NULL);
    d->cursor.head.type = GH_DISPLAY_CURSOR;
    for (unsigned i = 0; i < BACKENDS; i++)
        d->backend[i].fd = -1;
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = d->wake_fd >= 0;
    for (unsigned i = 0; i < CONSUMERS; i++) {
        d->consumer[i].frame_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        d->consumer[i].ask_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        ok = ok && d->consumer[i].frame_fd >= 0 && d->consumer[i].ask_fd >= 0;
    }
    int r = ok ? gh_surface_new(max_bytes ? max_bytes : 64ull << 20, &d->surface, err)
               : gh_error_set(err, -errno, "TooManyFiles", "The screen's descriptors could not be made: %s; "
                              "raise the limit of open files.", strerror(errno));
    if (r) {
        gh_display_free(d);
        return r;
    }
    *ret = d;
    return 0;
}

void gh_display_set_opaque(struct gh_display *d, void *opaque) { d->opaque = opaque; }

int gh_display_start(struct gh_display *d, struct gh_error *err)
{
    int e = pthread_create(&d->thread, NULL, display_thread, d);

    if (e)
        return gh_error_set(err, -e, "ThreadFailed", "The display thread could not be started: %s; "
                            "close other programs.", strerror(e));
    d->started = true;
    return 0;
}

void gh_display_sandboxed(struct gh_display *d) { signal_fd(d->wake_fd); }

void gh_display_free(struct gh_display *d)
{
    if (!d)
        return;
    if (d->started) {
        atomic_store(&d->stop, true);
        signal_fd(d->wake_fd);
        pthread_join(d->thread, NULL);
    }
    for (unsigned i = 0; i < BACKENDS; i++)
        if (d->backend[i].fd >= 0)
            drop_backend(d, &d->backend[i]);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        if (d->consumer[i].frame_fd >= 0)
            close(d->consumer[i].frame_fd);
        if (d->consumer[i].ask_fd >= 0)
            close(d->consumer[i].ask_fd);
    }
    if (d->wake_fd >= 0)
        close(d->wake_fd);
    gh_surface_free(d->surface);
    pthread_mutex_destroy(&d->lock);
    pthread_mutex_destroy(&d->frame_lock);
    free(d);
}
