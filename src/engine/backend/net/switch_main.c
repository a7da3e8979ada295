/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * gasthaus-backend switch --listen-fd=N: an internal network. Machines' supervisors connect net wires
 * (wire.h) to the listening socket; the first one started this program, which belongs to none of
 * them and ends a while after the last has left.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "base/log.h"
#include "base/loop.h"
#include "engine/backend/backend.h"
#include "engine/backend/net/switch.h"
#include "engine/backend/sandbox.h"

enum { WIRE_BYTES = 1 << 20, FILLS_PER_TURN = 4, LINGER_MS = 2000 };

struct hub {
    struct gh_switch core;
    struct gh_wire wire[SWITCH_PORTS];     /* fd -1: free */
    int listen_fd;
    unsigned ports;
};

static void send_record(void *opaque, unsigned port, enum gh_wire_kind kind, const struct iovec *iov, unsigned count)
{
    struct hub *h = opaque;

    if (h->wire[port].fd >= 0 && !gh_wire_put(&h->wire[port], kind, iov, count)) {
        gh_wire_flush(&h->wire[port]);
        gh_wire_put(&h->wire[port], kind, iov, count);  /* or it is lost */
    }
}

static void leave(struct hub *h, unsigned port)
{
    gh_wire_fini(&h->wire[port]);
    gh_switch_detach(&h->core, port);
    h->ports--;
}

static void join(struct hub *h)
{
    int fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    unsigned port = 0;

    if (fd < 0)
        return;
    while (port < SWITCH_PORTS && h->wire[port].fd >= 0)
        port++;
    if (port == SWITCH_PORTS || gh_peer_check(fd, NULL, NULL) || gh_wire_init(&h->wire[port], fd, WIRE_BYTES)) {
        close(fd);
        return;
    }
    gh_switch_attach(&h->core, port);
    h->ports++;
}

/* false: it has left. */
static bool read_port(struct hub *h, unsigned port)
{
    struct gh_wire_record record;
    uint32_t now_s = (uint32_t)(gh_loop_now_ns() / 1000000000u);

    for (unsigned i = 0; i < FILLS_PER_TURN; i++) {
        int n = gh_wire_fill(&h->wire[port]), r;
        if (n == -EAGAIN)
            return true;
        if (n <= 0)
            return false;
        while ((r = gh_wire_next(&h->wire[port], &record)) == 1)
            gh_switch_take(&h->core, port, &record, now_s);
        if (r < 0)
            return false;
    }
    return true;
}

static int loop(struct hub *h)
{
    struct pollfd p[SWITCH_PORTS + 1];
    unsigned port_of[SWITCH_PORTS + 1];

    for (;;) {
        unsigned n = 1;
        p[0] = (struct pollfd){ h->listen_fd, POLLIN, 0 };
        for (unsigned i = 0; i < SWITCH_PORTS; i++) {
            if (h->wire[i].fd < 0)
                continue;
            int r = gh_wire_flush(&h->wire[i]);
            p[n] = (struct pollfd){ h->wire[i].fd, (short)(POLLIN | (r ? POLLOUT : 0)), 0 };
            port_of[n++] = i;
        }
        int r = poll(p, n, h->ports ? -1 : LINGER_MS);
        if (r == 0)
            return 0;
        if (r < 0 && errno != EINTR)
            return 1;
        if (r < 0)
            continue;
        for (unsigned i = 1; i < n; i++)
            if (p[i].revents & (POLLIN | POLLHUP | POLLERR) && !read_port(h, port_of[i]))
                leave(h, port_of[i]);
        if (p[0].revents)
            join(h);
    }
}

int gh_backend_switch_main(int argc, char **argv)
{
    static const char *const calls[] = { "accept4", "getsockopt", "fcntl", "getuid", "geteuid", NULL };
    static const struct option options[] = { { "listen-fd", required_argument, NULL, 'l' }, { 0 } };
    struct gh_error err = { 0 };
    struct hub *h = calloc(1, sizeof *h);
    char *end = NULL;
    int o;

    if (!h)
        return 1;
    h->listen_fd = -1;
    for (unsigned i = 0; i < SWITCH_PORTS; i++)
        h->wire[i].fd = -1;
    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (o == 'l')
            h->listen_fd = (int)strtol(optarg, &end, 10);
    if (h->listen_fd < 3 || (end && *end) || optind != argc) {
        fprintf(stderr, "Usage: gasthaus-backend switch --listen-fd=N\n");
        return 2;
    }
    setsid(); /* the end of a terminal or a session is not the network's */
    signal(SIGPIPE, SIG_IGN);
    fcntl(h->listen_fd, F_SETFL, O_NONBLOCK);
    if (gh_switch_init(&h->core, send_record, h) || gh_backend_sandbox(calls, &err)) {
        gh_log(GH_LOG_ERROR, "%s", err.code ? err.text : "there is no memory for the network");
        return 1;
    }
    return loop(h);
}
