/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * gasthaus-backend display: shows a machine's surface to RFB clients and returns their input.
 *
 *   --control-fd=N   socket to the machine (protocol.h); its end ends the backend
 *   --listen-fd=N    listening UNIX socket, bound by the supervisor with mode 0600
 *   --client-fd=N    an accepted client, may be repeated
 *   --name=TEXT      the desktop's name
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/bytes.h"
#include "base/fdpass.h"
#include "base/log.h"
#include "engine/backend/backend.h"
#include "engine/backend/display/protocol.h"
#include "engine/backend/display/rfb_server.h"
#include "engine/backend/sandbox.h"

enum { HELLO_WAIT_MS = 10000, SEND_TIMEOUT_S = 5, RECTS = 256, MESSAGES_PER_TURN = 64 };

struct backend {
    int      listen_fd, frame_fd, ask_fd;
    int      client_fd[RFB_CLIENTS_MAX];
    unsigned client_count;
    const char *name;
    struct input_sink sink;
    struct gh_surface_reader *reader;
    struct rfb_server *server;
    bool     asked;
};

/* ---- The machine ---------------------------------------------------------------------------------- */

/* The first packet: the surface and its two eventfds. */
static int receive_hello(struct backend *b)
{
    struct gh_display_message m = { 0 };
    int fds[3];
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof fds)]; } control;
    struct iovec iov = { &m, sizeof m };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes };
    struct pollfd p = { b->sink.fd, POLLIN, 0 };

    if (poll(&p, 1, HELLO_WAIT_MS) != 1)
        return -ETIMEDOUT;
    ssize_t n = recvmsg(b->sink.fd, &msg, MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (n != (ssize_t)sizeof m || m.type != GH_DISPLAY_HELLO || m.a != GH_DISPLAY_PROTOCOL || !c ||
        c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof fds))
        return -EPROTO;
    memcpy(fds, CMSG_DATA(c), sizeof fds);
    b->frame_fd = fds[1];
    b->ask_fd = fds[2];
    int r = gh_surface_reader_open(fds[0], &b->reader);
    close(fds[0]);
    return r;
}

static void machine_message(struct backend *b, const struct gh_display_cursor_message *m, size_t bytes)
{
    const struct gh_display_message *h = &m->head;
    uint32_t hot_x = h->c & 0xffff, hot_y = h->c >> 16;

    if (h->type == GH_DISPLAY_CURSOR) {
        if (h->a > GH_DISPLAY_CURSOR_MAX || h->b > GH_DISPLAY_CURSOR_MAX || bytes != sizeof *h + (size_t)h->a * h->b * 4 ||
            (h->a && (hot_x >= h->a || hot_y >= h->b)))
            return;
        rfb_server_cursor(b->server, m->pixels, h->a, h->b, hot_x, hot_y);
        return;
    }
    if (bytes != sizeof *h)
        return;
    if (h->type == GH_DISPLAY_POINTER)
        b->sink.absolute = h->a & 1;
    else if (h->type == GH_DISPLAY_LEDS)
        b->sink.leds = h->a & 7;
    else
        return;
    rfb_server_state_changed(b->server);
}

/* false: the machine is gone. */
static bool read_machine(struct backend *b)
{
    static struct gh_display_cursor_message m;   /* 64 KiB: not for the stack */

    for (unsigned i = 0; i < MESSAGES_PER_TURN; i++) {
        ssize_t n = recv(b->sink.fd, &m, sizeof m, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0)
            return false;
        if ((size_t)n >= sizeof m.head && (size_t)n <= sizeof m)
            machine_message(b, &m, (size_t)n);
    }
    return true;
}

static bool read_frame(struct backend *b)
{
    struct gh_surface_rect rects[RECTS];
    struct gh_surface_view view;

    gh_surface_drain(b->frame_fd);
    b->asked = false;
    int n = gh_surface_reader_update(b->reader, &view, rects, RECTS);
    if (n == -EPROTO)
        return false;
    return n <= 0 || rfb_server_frame(b->server, &view, rects, (unsigned)n);
}

/* ---- Start and loop --------------------------------------------------------------------------------- */

static void accept_client(struct backend *b)
{
    struct gh_error err = { 0 };
    int fd = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (gh_peer_check(fd, NULL, &err)) {         /* the socket's mode says so already */
        close(fd);
        return;
    }
    rfb_server_add(b->server, fd);
}

static int loop(struct backend *b)
{
    struct pollfd p[3 + RFB_CLIENTS_MAX];

    while (!b->sink.failed) {
        /* Not asking while nobody waits: then the machine converts nothing. */
        if (!b->asked && rfb_server_hungry(b->server)) {
            b->asked = true;
            gh_surface_ask(b->ask_fd);
        }
        p[0] = (struct pollfd){ b->sink.fd, POLLIN, 0 };
        p[1] = (struct pollfd){ b->frame_fd, POLLIN, 0 };
        p[2] = (struct pollfd){ b->listen_fd, POLLIN, 0 };
        unsigned count = rfb_server_poll(b->server, p + 3);
        if (poll(p, 3 + count, -1) < 0) {
            if (errno == EINTR)
                continue;
            return 1;
        }
        if (p[0].revents && !read_machine(b))
            return 0;
        if (p[1].revents && !read_frame(b))
            return 1;
        rfb_server_run(b->server, p + 3, count);
        if (p[2].revents)
            accept_client(b);
    }
    return 1;
}

static int parse(struct backend *b, int argc, char **argv)
{
    static const struct option options[] = {
        { "control-fd", required_argument, NULL, 'c' }, { "listen-fd", required_argument, NULL, 'l' },
        { "client-fd", required_argument, NULL, 'a' }, { "name", required_argument, NULL, 'n' }, { 0 },
    };
    int o;

    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        char *end = NULL;
        long  fd = o == 'n' || o == '?' ? -1 : strtol(optarg, &end, 10);
        if (o == '?' || (o != 'n' && (*end || fd < 3 || fd > 1 << 20)))
            return -EINVAL;
        if (o == 'c')
            b->sink.fd = (int)fd;
        else if (o == 'l')
            b->listen_fd = (int)fd;
        else if (o == 'a' && b->client_count < RFB_CLIENTS_MAX)
            b->client_fd[b->client_count++] = (int)fd;
        else if (o == 'n')
            b->name = optarg;
    }
    return b->sink.fd < 0 || optind != argc ? -EINVAL : 0;
}

int gh_backend_display_main(int argc, char **argv)
{
    /* What libvncserver does with a socket, and accepting one. */
    static const char *const calls[] = { "accept4", "accept", "fcntl", "setsockopt", "getsockopt", "getpeername",
                                         "getsockname", "getuid", "geteuid", NULL };
    const struct timeval timeout = { .tv_sec = SEND_TIMEOUT_S };
    struct backend b = { .listen_fd = -1, .frame_fd = -1, .ask_fd = -1, .name = "Gasthaus", .sink = { .fd = -1 } };
    struct gh_error err = { 0 };

    if (parse(&b, argc, argv)) {
        fprintf(stderr, "Usage: gasthaus-backend display --control-fd=N [--listen-fd=N] [--client-fd=N]... [--name=TEXT]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    setsockopt(b.sink.fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    int r = receive_hello(&b);
    if (r) {
        gh_log(GH_LOG_ERROR, "the machine did not hand over its screen: %s", strerror(-r));
        return 1;
    }
    b.server = rfb_server_new(b.name, &b.sink);
    if (!b.server || gh_backend_sandbox(calls, &err)) {
        gh_log(GH_LOG_ERROR, "%s", b.server ? err.text : "not enough memory");
        return 1;
    }
    for (unsigned i = 0; i < b.client_count; i++)
        rfb_server_add(b.server, b.client_fd[i]);
    gh_surface_ask(b.ask_fd);                    /* so that the first client finds a picture */
    int status = loop(&b);
    rfb_server_free(b.server);
    gh_surface_reader_free(b.reader);
    return status;
}
