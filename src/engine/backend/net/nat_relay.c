/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/net/nat_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTENERS = 32, PAIRS = 64, PEERS = 64, BUFFER_BYTES = 65536, BACKLOG = 16, DATAGRAMS_PER_TURN = 32 };

struct listener { int fd; bool udp; struct sockaddr_in6 address; uint16_t inner; };
struct way { uint8_t *data; size_t from, to; bool ended, shut; };  /* what one side said and the other has not taken */
struct pair { int fd[2]; bool connecting; struct way way[2]; };    /* 0: who came; 1: libslirp */
struct peer { int fd; unsigned listener; struct sockaddr_in6 address; uint64_t serial; };

struct nat_relay {
    struct listener listener[LISTENERS];
    struct pair pair[PAIRS];
    struct peer peer[PEERS];
    uint64_t serial;
};

int nat_relay_new(struct nat_relay **ret)
{
    struct nat_relay *r = calloc(1, sizeof *r);

    if (!r)
        return -ENOMEM;
    for (unsigned i = 0; i < LISTENERS; i++)
        r->listener[i].fd = -1;
    for (unsigned i = 0; i < PAIRS; i++)
        r->pair[i].fd[0] = r->pair[i].fd[1] = -1;
    for (unsigned i = 0; i < PEERS; i++)
        r->peer[i].fd = -1;
    *ret = r;
    return 0;
}

static int open_socket(int family, bool udp) { return socket(family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

static int connect_inner(bool udp, uint16_t inner)
{
    const struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(inner), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = open_socket(AF_INET, udp);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS) {
        close(fd);
        fd = -1;
    }
    return fd;
}

uint16_t nat_relay_free_port(bool udp)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = open_socket(AF_INET, udp);
    bool good = fd >= 0 && !bind(fd, (const struct sockaddr *)&a, sizeof a) && !getsockname(fd, (struct sockaddr *)&a, &len);

    if (fd >= 0)
        close(fd);
    return good ? ntohs(a.sin_port) : 0;
}

/* ---- Forwards --------------------------------------------------------------------------------------- */
int nat_relay_add(struct nat_relay *r, bool udp, const struct in6_addr *address, uint16_t port, uint16_t inner)
{
    const struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = *address };
    struct listener *l = NULL;
    int on = 1, code;

    for (unsigned i = 0; i < LISTENERS && !l; i++)
        if (r->listener[i].fd < 0)
            l = &r->listener[i];
    if (!l)
        return -ENOSPC;
    int fd = open_socket(AF_INET6, udp);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) || (!udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on)) ||
        bind(fd, (const struct sockaddr *)&a, sizeof a) || (!udp && listen(fd, BACKLOG))) {
        code = -errno;
        close(fd);
        return code;
    }
    *l = (struct listener){ fd, udp, a, inner };
    return 0;
}

static void end_peer(struct peer *p)
{
    close(p->fd);
    p->fd = -1;
}

uint16_t nat_relay_remove(struct nat_relay *r, bool udp, const struct in6_addr *address, uint16_t port)
{
    for (unsigned i = 0; i < LISTENERS; i++) {
        struct listener *l = &r->listener[i];
        if (l->fd < 0 || l->udp != udp || l->address.sin6_port != htons(port) || memcmp(&l->address.sin6_addr, address, sizeof *address))
            continue;
        for (unsigned k = 0; k < PEERS; k++)
            if (r->peer[k].fd >= 0 && r->peer[k].listener == i)
                end_peer(&r->peer[k]);
        close(l->fd);
        l->fd = -1;
        return l->inner;
    }
    return 0;
}

/* ---- TCP --------------------------------------------------------------------------------------------- */
static void end_pair(struct pair *p)
{
    for (unsigned i = 0; i < 2; i++) {
        if (p->fd[i] >= 0)
            close(p->fd[i]);
        free(p->way[i].data);
    }
    *p = (struct pair){ .fd = { -1, -1 } };
}

static struct pair *free_pair(struct nat_relay *r)
{
    for (unsigned i = 0; i < PAIRS; i++)
        if (r->pair[i].fd[0] < 0)
            return &r->pair[i];
    return NULL;
}

static void accept_one(struct nat_relay *r, const struct listener *l)
{
    struct pair *p = free_pair(r);
    int fd = p ? accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;

    if (fd < 0)
        return;
    *p = (struct pair){ .fd = { fd, connect_inner(false, l->inner) }, .connecting = true };
    p->way[0].data = malloc(BUFFER_BYTES);
    p->way[1].data = malloc(BUFFER_BYTES);
    if (p->fd[1] < 0 || !p->way[0].data || !p->way[1].data)
        end_pair(p);
}

/* From side i into its buffer. false: the connection is broken. */
static bool take(struct pair *p, unsigned i)
{
    struct way *w = &p->way[i];

    if (w->ended || w->to == BUFFER_BYTES)
        return true;
    ssize_t n = recv(p->fd[i], w->data + w->to, BUFFER_BYTES - w->to, MSG_DONTWAIT);
    if (n > 0)
        w->to += (size_t)n;
    else if (n == 0)
        w->ended = true;
    return n >= 0 || errno == EAGAIN || errno == EINTR;
}

/* What side i said goes to the other. */
static bool pass(struct pair *p, unsigned i)
{
    struct way *w = &p->way[i];

    while (w->from < w->to) {
        ssize_t n = send(p->fd[!i], w->data + w->from, w->to - w->from, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        w->from += (size_t)n;
    }
    w->from = w->to = 0;
    if (w->ended && !w->shut) {
        w->shut = true;
        shutdown(p->fd[!i], SHUT_WR);
    }
    return true;
}

static void run_pair(struct pair *p, unsigned side, short events)
{
    bool alive = true;

    if (side == 1 && p->connecting && events) {
        int code = 0;
        socklen_t len = sizeof code;
        p->connecting = false;
        alive = !getsockopt(p->fd[1], SOL_SOCKET, SO_ERROR, &code, &len) && !code;
    }
    if (alive && events & (POLLIN | POLLHUP | POLLERR))
        alive = take(p, side);
    if (alive && !p->connecting)
        alive = pass(p, 0) && pass(p, 1);
    if (!alive || (p->way[0].shut && p->way[1].shut))
        end_pair(p);
}

/* ---- UDP ------------------------------------------------------------------------------------------------ */
/* The socket that stands for a sender; the one that has been silent longest makes room. */
static struct peer *find_peer(struct nat_relay *r, unsigned listener, const struct sockaddr_in6 *from)
{
    struct peer *p = &r->peer[0];

    for (unsigned i = 0; i < PEERS; i++) {
        struct peer *k = &r->peer[i];
        if (k->fd >= 0 && k->listener == listener && k->address.sin6_port == from->sin6_port &&
            !memcmp(&k->address.sin6_addr, &from->sin6_addr, sizeof from->sin6_addr))
            return k;
        if (k->fd < 0 ? p->fd >= 0 : p->fd >= 0 && k->serial < p->serial)
            p = k;
    }
    if (p->fd >= 0)
        end_peer(p);
    *p = (struct peer){ connect_inner(true, r->listener[listener].inner), listener, *from, 0 };
    return p->fd >= 0 ? p : NULL;
}

static void run_listener(struct nat_relay *r, unsigned i)
{
    static uint8_t data[65536];
    struct sockaddr_in6 from;

    if (!r->listener[i].udp) {
        accept_one(r, &r->listener[i]);
        return;
    }
    for (unsigned k = 0; k < DATAGRAMS_PER_TURN; k++) {
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(r->listener[i].fd, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
        if (n < 0)
            return;
        struct peer *p = find_peer(r, i, &from);
        if (p) {
            p->serial = ++r->serial;
            send(p->fd, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
}

static void run_peer(struct nat_relay *r, struct peer *p)
{
    static uint8_t data[65536];

    for (unsigned k = 0; k < DATAGRAMS_PER_TURN; k++) {
        ssize_t n = recv(p->fd, data, sizeof data, MSG_DONTWAIT);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR)
                end_peer(p);
            return;
        }
        sendto(r->listener[p->listener].fd, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&p->address, sizeof p->address);
    }
}

/* ---- Poll --------------------------------------------------------------------------------------------------- */
static void add(struct pollfd *p, unsigned max, unsigned *n, int fd, short events)
{
    if (*n < max)
        p[(*n)++] = (struct pollfd){ fd, events, 0 };
}

unsigned nat_relay_poll(struct nat_relay *r, struct pollfd *p, unsigned max)
{
    bool room = free_pair(r) != NULL;
    unsigned n = 0;

    for (unsigned i = 0; i < LISTENERS; i++)
        if (r->listener[i].fd >= 0 && (room || r->listener[i].udp))
            add(p, max, &n, r->listener[i].fd, POLLIN);
    for (unsigned i = 0; i < PAIRS; i++)
        for (unsigned side = 0; side < 2 && r->pair[i].fd[0] >= 0; side++) {
            const struct pair *k = &r->pair[i];
            bool out = side == 1 && k->connecting ? true : k->way[!side].from < k->way[!side].to && !k->connecting;
            bool in = !k->way[side].ended && k->way[side].to < BUFFER_BYTES && !(side == 1 && k->connecting);
            /* A side that only has a hang-up to tell would be told so for ever. */
            if (in || out)
                add(p, max, &n, k->fd[side], (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0)));
        }
    for (unsigned i = 0; i < PEERS; i++)
        if (r->peer[i].fd >= 0)
            add(p, max, &n, r->peer[i].fd, POLLIN);
    return n;
}

static void run_one(struct nat_relay *r, int fd, short events)
{
    for (unsigned i = 0; i < LISTENERS; i++)
        if (r->listener[i].fd == fd) {
            run_listener(r, i);
            return;
        }
    for (unsigned i = 0; i < PAIRS; i++)
        for (unsigned side = 0; side < 2; side++)
            if (r->pair[i].fd[side] == fd) {
                run_pair(&r->pair[i], side, events);
                return;
            }
    for (unsigned i = 0; i < PEERS; i++)
        if (r->peer[i].fd == fd) {
            run_peer(r, &r->peer[i]);
            return;
        }
}

void nat_relay_run(struct nat_relay *r, const struct pollfd *p, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (p[i].revents)
            run_one(r, p[i].fd, p[i].revents);
}
