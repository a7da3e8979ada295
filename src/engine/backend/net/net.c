/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * gasthaus-backend net: one network of one machine, started by its supervisor.
 *
 *   --frames-fd=N     the net wire to the machine (wire.h); its end is ours
 *   --control-fd=N    the supervisor: packets {"servers": [{"address", "port", "scope"}]}; its end too
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdpass.h"
#include "base/log.h"
#include "engine/backend/backend.h"
#include "engine/backend/net/nat.h"
#include "engine/backend/sandbox.h"

/* Descriptors bound the guest's connections; bytes bound what libslirp may lose track of. */
enum { DESCRIPTORS = 2048, WIRE_BYTES = 4 << 20, FILLS_PER_TURN = 4 };
#define MEMORY_BYTES (1ull << 30)

struct net {
    struct gh_wire wire;
    int control_fd;
    struct nat *nat;
    struct pollfd p[DESCRIPTORS + 2];
};

/* false: the machine is gone. */
static bool read_machine(struct net *b)
{
    struct gh_wire_record record;

    for (unsigned i = 0; i < FILLS_PER_TURN; i++) {
        int n = gh_wire_fill(&b->wire), r;
        if (n == -EAGAIN)
            return true;
        if (n <= 0)
            return false;
        while ((r = gh_wire_next(&b->wire, &record)) == 1)
            nat_take(b->nat, &record);
        if (r < 0)
            return false;
    }
    return true;
}

static bool read_supervisor(struct net *b)
{
    struct gh_packet p;
    int r = gh_packet_recv(b->control_fd, &p, NULL);

    if (r == -EAGAIN)
        return true;
    if (r <= 0)
        return false;
    json_t *servers = json_object_get(p.json, "servers");
    if (json_is_array(servers))
        nat_set_servers(b->nat, servers);
    gh_packet_clear(&p);
    return true;
}

static int loop(struct net *b)
{
    for (;;) {
        int timeout_ms = -1, r = gh_wire_flush(&b->wire);
        if (r && r != -EAGAIN)
            return 0;
        b->p[0] = (struct pollfd){ b->wire.fd, (short)(POLLIN | (r ? POLLOUT : 0)), 0 };
        b->p[1] = (struct pollfd){ b->control_fd, POLLIN, 0 };
        unsigned count = nat_poll(b->nat, b->p + 2, DESCRIPTORS, &timeout_ms);
        r = poll(b->p, 2 + count, timeout_ms);
        if (r < 0 && errno != EINTR)
            return 1;
        if (r > 0 && b->p[0].revents && !read_machine(b))
            return 0;
        if (r > 0 && b->p[1].revents && !read_supervisor(b))
            return 0;
        nat_run(b->nat, b->p + 2, count, r < 0);
    }
}

/* ---- Start ---------------------------------------------------------------------------------------------- */
struct arguments { struct nat_config nat; int frames_fd, control_fd; };

static bool parse_fd(const char *value, int *out)
{
    char *end;
    long fd = strtol(value, &end, 10);

    *out = (int)fd;
    return !*end && fd >= 3 && fd < 1 << 20;
}

static int parse(struct arguments *a, int argc, char **argv)
{
    static const struct option options[] = {
        { "frames-fd", required_argument, NULL, 'f' }, { "control-fd", required_argument, NULL, 'c' },
        { "network", required_argument, NULL, 'n' }, { "hostname", required_argument, NULL, 'h' },
        { "search", required_argument, NULL, 's' }, { "tftp", required_argument, NULL, 't' },
        { "bootfile", required_argument, NULL, 'b' }, { "allow-host-loopback", no_argument, NULL, 'l' },
        { "no-ipv6", no_argument, NULL, '4' }, { 0 },
    };
    unsigned searches = 0;
    bool ok = true;
    int o;

    while (ok && (o = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (o) {
        case 'f': ok = parse_fd(optarg, &a->frames_fd); break;
        case 'c': ok = parse_fd(optarg, &a->control_fd); break;
        case 'n': ok = inet_pton(AF_INET, optarg, &a->nat.network) == 1 && !(ntohl(a->nat.network.s_addr) & 0xff); break;
        case 'h': a->nat.hostname = optarg; break;
        case 's':
            if (searches < GH_ARRAY_LEN(a->nat.search) - 1)
                a->nat.search[searches++] = optarg;
            break;
        case 't': a->nat.tftp = optarg; break;
        case 'b': a->nat.bootfile = optarg; break;
        case 'l': a->nat.host_loopback = true; break;
        case '4': a->nat.no_ipv6 = true; break;
        default: ok = false;
        }
    return ok && a->frames_fd >= 0 && a->control_fd >= 0 && optind == argc ? 0 : -EINVAL;
}

static void set_limits(void)
{
    struct rlimit files = { DESCRIPTORS, DESCRIPTORS }, memory = { MEMORY_BYTES, MEMORY_BYTES }, now;

    if (!getrlimit(RLIMIT_NOFILE, &now) && now.rlim_max > files.rlim_max)
        setrlimit(RLIMIT_NOFILE, &files);
#ifndef GH_SANITIZE
    setrlimit(RLIMIT_DATA, &memory);
#else
    (void)memory;
#endif
}

int gh_backend_net_main(int argc, char **argv)
{
    /* What libslirp does with the host's sockets. */
    static const char *const calls[] = { "socket", "connect", "bind", "listen", "accept", "accept4", "getsockname", "getpeername",
                                         "setsockopt", "getsockopt", "ioctl", "fcntl", NULL };
    static const char *const calls_tftp[] = { "socket", "connect", "bind", "listen", "accept", "accept4", "getsockname", "getpeername",
                                              "setsockopt", "getsockopt", "ioctl", "fcntl", "openat", "open", "pread64", "newfstatat", NULL };
    struct arguments a = { .nat.network.s_addr = htonl(0x0a000200), .frames_fd = -1, .control_fd = -1 };
    struct gh_error err = { 0 };

    if (parse(&a, argc, argv)) {
        fprintf(stderr, "Usage: gasthaus-backend net --frames-fd=N --control-fd=N [--network=A.B.C.0] [--hostname=TEXT] [--search=DOMAIN]...\n"
                        "         [--tftp=FOLDER] [--bootfile=NAME] [--allow-host-loopback] [--no-ipv6]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct net *b = calloc(1, sizeof *b);
    if (!b || gh_wire_init(&b->wire, a.frames_fd, WIRE_BYTES) || fcntl(a.control_fd, F_SETFL, O_NONBLOCK)) {
        gh_log(GH_LOG_ERROR, "there is no memory for the network");
        return 1;
    }
    b->control_fd = a.control_fd;
    struct gh_backend_rights rights = { .calls = a.nat.tftp ? calls_tftp : calls, .network = true, .read_folder = -1 };
    if (a.nat.tftp && (rights.read_folder = open(a.nat.tftp, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) {
        gh_log(GH_LOG_ERROR, "the TFTP folder “%s” cannot be opened: %s", a.nat.tftp, strerror(errno));
        return 1;
    }
    set_limits();
    if (nat_new(&a.nat, &b->wire, &b->nat, &err) || gh_backend_sandbox_with(&rights, &err)) {
        gh_log(GH_LOG_ERROR, "%s", err.text);
        return 1;
    }
    return loop(b);
}
