/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/chardev.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"

/* The pending output of a reader that is slow; a chunk that a writable pipe always takes. */
enum { PENDING_BYTES = 64 * 1024, CHUNK = 4096 };

struct gh_chardev {
    struct gh_char handle;
    struct gh_loop *loop;
    struct gh_machine *machine;
    enum gh_chardev_kind kind;
    int in_fd, out_fd, listen_fd;
    bool in_is_socket, out_is_file;
    struct gh_loop_source *in, *out, *listener;
    size_t pending;                    /* bytes in buffer; machine lock */
    bool   starved;                    /* the device was given a short count */
    uint8_t buffer[PENDING_BYTES];
};

static ssize_t write_some(struct gh_chardev *c, const uint8_t *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        size_t n = len - done < CHUNK ? len - done : CHUNK;
        struct pollfd p = { .fd = c->out_fd, .events = POLLOUT };
        if (!c->out_is_file && (poll(&p, 1, 0) != 1 || !(p.revents & (POLLOUT | POLLERR | POLLHUP))))
            break;
        ssize_t r = write(c->out_fd, data + done, n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 && errno == EAGAIN)
            break;
        if (r <= 0)
            return (ssize_t)len; /* the reader is gone: output goes nowhere, as on a real line */
        done += (size_t)r;
    }
    return (ssize_t)done;
}

static size_t chardev_write(struct gh_char *handle, const void *data, size_t len)
{
    struct gh_chardev *c = GH_CONTAINER_OF(handle, struct gh_chardev, handle);
    size_t taken = 0;

    if (c->out_fd < 0)
        return len;
    if (!c->pending)
        taken = (size_t)write_some(c, data, len);
    size_t rest = len - taken, room = PENDING_BYTES - c->pending;
    if (rest) {
        size_t n = rest < room ? rest : room;
        memcpy(c->buffer + c->pending, (const uint8_t *)data + taken, n);
        c->pending += n;
        taken += n;
        c->starved = taken < len;
        if (c->out)
            gh_loop_fd_events(c->out, EPOLLOUT);
        else if (c->in && c->out_fd == c->in_fd)
            gh_loop_fd_events(c->in, EPOLLIN | EPOLLOUT);
    }
    return taken;
}

static void set_input(struct gh_chardev *c, bool on)
{
    uint32_t out = c->pending && c->out_fd == c->in_fd ? EPOLLOUT : 0;

    if (c->in)
        gh_loop_fd_events(c->in, (on ? EPOLLIN : 0) | out);
}

static void unmute(void *opaque) { set_input(opaque, true); }

static void chardev_receive_ready(struct gh_char *handle)
{
    struct gh_chardev *c = GH_CONTAINER_OF(handle, struct gh_chardev, handle);

    gh_loop_post(c->loop, unmute, c);
}

static const struct gh_char_ops ops = { .write = chardev_write, .receive_ready = chardev_receive_ready };

static void tell(struct gh_chardev *c, bool open)
{
    if (c->handle.event)
        c->handle.event(c->handle.opaque, open);
}

static void close_stream(struct gh_chardev *c)
{
    if (c->in)
        gh_loop_fd_free(c->in);
    if (c->out)
        gh_loop_fd_free(c->out);
    c->in = c->out = NULL;
    if (c->in_fd >= 0)
        close(c->in_fd);
    if (c->out_fd >= 0 && c->out_fd != c->in_fd)
        close(c->out_fd);
    c->in_fd = c->out_fd = -1;
    c->pending = 0;
}

static void drain(struct gh_chardev *c)
{
    ssize_t n = write_some(c, c->buffer, c->pending);

    memmove(c->buffer, c->buffer + n, c->pending - (size_t)n);
    c->pending -= (size_t)n;
    if (c->starved && c->pending < PENDING_BYTES / 2) {
        c->starved = false;
        if (c->handle.writable)
            c->handle.writable(c->handle.opaque);
    }
    if (!c->pending && c->out)
        gh_loop_fd_events(c->out, 0);
}

/* Returns false when the stream ended. */
static bool take_input(struct gh_chardev *c)
{
    uint8_t data[CHUNK];
    size_t room = c->handle.can_receive ? c->handle.can_receive(c->handle.opaque) : sizeof data;

    if (!room) {
        set_input(c, false);
        return true;
    }
    ssize_t n = read(c->in_fd, data, room < sizeof data ? room : sizeof data);
    if (n == 0)
        return false;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (c->handle.receive)
        c->handle.receive(c->handle.opaque, data, (size_t)n);
    return true;
}

static void stream_event(void *opaque, int fd, uint32_t events)
{
    struct gh_chardev *c = opaque;

    if (!c->machine)
        return;
    gh_machine_lock(c->machine);
    if (events & EPOLLOUT && c->pending) {
        drain(c);
        if (c->in && c->out_fd == c->in_fd)
            set_input(c, true);
    }
    if (fd == c->in_fd && events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !take_input(c)) {
        tell(c, false);
        if (c->kind == GH_CHARDEV_LISTEN || c->out_fd == c->in_fd) {
            close_stream(c);
        } else { /* input ended (a pipe, /dev/null): output goes on */
            gh_loop_fd_free(c->in);
            c->in = NULL;
        }
    }
    gh_machine_unlock(c->machine);
}

static int watch(struct gh_chardev *c)
{

    if (c->in_fd >= 0)
        c->in = gh_loop_fd(c->loop, c->in_fd, EPOLLIN, stream_event, c); /* NULL: a plain file has no input */
    if (c->out_fd >= 0 && c->out_fd != c->in_fd)
        c->out = gh_loop_fd(c->loop, c->out_fd, 0, stream_event, c);
    c->out_is_file = c->out_fd >= 0 && !c->out && c->out_fd != c->in_fd;
    return 0;
}

static void accept_client(void *opaque, int fd, uint32_t events)
{
    struct gh_chardev *c = opaque;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (client < 0 || !c->machine) {
        if (client >= 0)
            close(client);
        return;
    }
    gh_machine_lock(c->machine);
    close_stream(c);
    c->in_fd = c->out_fd = client;
    watch(c);
    tell(c, true);
    gh_machine_unlock(c->machine);
}

int gh_chardev_new(struct gh_loop *loop, enum gh_chardev_kind kind, int in_fd, int out_fd,
                   struct gh_chardev **ret, struct gh_error *err)
{
    struct gh_chardev *c = calloc(1, sizeof *c);

    if (!c)
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left for a character backend.");
    c->handle.ops = &ops;
    c->loop = loop;
    c->kind = kind;
    c->in_fd = c->out_fd = c->listen_fd = -1;
    if (kind == GH_CHARDEV_LISTEN) {
        c->listen_fd = in_fd;
        c->listener = gh_loop_fd(loop, in_fd, EPOLLIN, accept_client, c);
    } else if (kind == GH_CHARDEV_STREAM) {
        c->in_fd = in_fd;
        c->out_fd = out_fd >= 0 ? out_fd : in_fd;
        watch(c);
    }
    *ret = c;
    return 0;
}

void gh_chardev_free(struct gh_chardev *c)
{
    if (!c)
        return;
    close_stream(c);
    if (c->listener)
        gh_loop_fd_free(c->listener);
    if (c->listen_fd >= 0)
        close(c->listen_fd);
    free(c);
}

struct gh_char *gh_chardev_handle(struct gh_chardev *c) { return &c->handle; }
void gh_chardev_set_machine(struct gh_chardev *c, struct gh_machine *m) { c->machine = m; }
