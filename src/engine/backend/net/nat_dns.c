/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A guest's questions are passed on byte for byte to the host's name servers, whatever family and port
 * those have (127.0.0.53 is one of them), and answers come back from the address that was asked. A server that
 * is silent for two seconds is followed by the next. Nothing of a message is interpreted but its length
 * and, for a refusal, its header (RFC 1035 4.1.1).
 */
#include <errno.h>
#include <jansson.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "engine/backend/net/nat.h"

enum { SERVERS = 4, QUERIES = 64, QUERY_BYTES = 1500, ANSWER_BYTES = 4096, HEADER = 12, SERVFAIL = 2, SERVER_MS = 2000 };

union server { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; };

struct query {
    int      fd;                           /* -1: free */
    struct nat_dns_asker asker;
    unsigned server, tries;
    uint64_t deadline_ns, serial;
    size_t   len;
    uint8_t  data[QUERY_BYTES];
};

struct nat_dns {
    void (*answer)(void *opaque, const struct nat_dns_asker *to, const uint8_t *data, size_t len);
    void *opaque;
    union server server[SERVERS];
    unsigned server_count;
    uint64_t serial;
    struct query query[QUERIES];
};

int nat_dns_new(void (*answer)(void *opaque, const struct nat_dns_asker *to, const uint8_t *data, size_t len), void *opaque,
                struct nat_dns **ret)
{
    struct nat_dns *d = calloc(1, sizeof *d);

    if (!d)
        return -ENOMEM;
    d->answer = answer;
    d->opaque = opaque;
    for (unsigned i = 0; i < QUERIES; i++)
        d->query[i].fd = -1;
    *ret = d;
    return 0;
}

static void finish(struct query *q)
{
    if (q->fd >= 0)
        close(q->fd);
    q->fd = -1;
}

void nat_dns_servers(struct nat_dns *d, const void *json_list)
{
    const json_t *list = json_list;

    d->server_count = 0;
    for (size_t i = 0; i < json_array_size(list) && d->server_count < SERVERS; i++) {
        const json_t *o = json_array_get(list, i);
        const char *text = json_string_value(json_object_get(o, "address"));
        in_port_t port = htons((uint16_t)json_integer_value(json_object_get(o, "port")));
        union server *s = &d->server[d->server_count];
        memset(s, 0, sizeof *s);
        if (text && inet_pton(AF_INET, text, &s->v4.sin_addr) == 1) {
            s->v4.sin_family = AF_INET;
            s->v4.sin_port = port;
        } else if (text && inet_pton(AF_INET6, text, &s->v6.sin6_addr) == 1) {
            s->v6.sin6_family = AF_INET6;
            s->v6.sin6_port = port;
            s->v6.sin6_scope_id = (uint32_t)json_integer_value(json_object_get(o, "scope"));
        } else {
            continue;
        }
        d->server_count++;
    }
    /* Questions under way: the old servers may be unreachable now. */
    for (unsigned i = 0; i < QUERIES; i++)
        if (d->query[i].fd >= 0)
            d->query[i].deadline_ns = gh_loop_now_ns();
}

bool nat_dns_tcp_server(const struct nat_dns *d, uint8_t address[4])
{
    for (unsigned i = 0; i < d->server_count; i++)
        if (d->server[i].any.sa_family == AF_INET && d->server[i].v4.sin_port == htons(53)) {
            memcpy(address, &d->server[i].v4.sin_addr, 4);
            return true;
        }
    return false;
}

static bool send_to_server(struct nat_dns *d, struct query *q)
{
    finish(q);
    for (; q->tries < d->server_count; q->tries++, q->server++) {
        const union server *s = &d->server[q->server % d->server_count];
        socklen_t len = s->any.sa_family == AF_INET ? sizeof s->v4 : sizeof s->v6;
        q->fd = socket(s->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        /* Connected: only this server's answers arrive, and an unreachable one says so at once. */
        if (q->fd >= 0 && !connect(q->fd, &s->any, len) && send(q->fd, q->data, q->len, MSG_NOSIGNAL) == (ssize_t)q->len) {
            q->tries++;
            q->server++;
            q->deadline_ns = gh_loop_now_ns() + SERVER_MS * 1000000ull;
            return true;
        }
        finish(q);
    }
    return false;
}

static void refuse(struct nat_dns *d, const struct nat_dns_asker *asker, const uint8_t *data, size_t len)
{
    uint8_t answer[QUERY_BYTES];

    memcpy(answer, data, len);
    answer[2] = (uint8_t)(0x80 | (data[2] & 0x79));  /* a response, with the question's opcode and wish for recursion */
    answer[3] = 0x80 | SERVFAIL;
    d->answer(d->opaque, asker, answer, len);
}

void nat_dns_ask(struct nat_dns *d, const struct nat_dns_asker *from, const uint8_t *data, size_t len)
{
    struct query *q = &d->query[0];

    if (len < HEADER || len > QUERY_BYTES || data[2] & 0x80)
        return;
    for (unsigned i = 0; i < QUERIES; i++) {
        struct query *k = &d->query[i];
        /* Asked again: the same place, and the next server. */
        if (k->fd >= 0 && k->len == len && !memcmp(&k->asker, from, sizeof *from) && !memcmp(k->data, data, len)) {
            k->tries = 0;
            if (!send_to_server(d, k))
                refuse(d, from, data, len);
            return;
        }
        if (k->fd < 0 ? q->fd >= 0 : q->fd >= 0 && k->serial < q->serial)
            q = k;
    }
    finish(q);                                     /* all busy: the oldest has waited longest */
    q->asker = *from;
    q->server = q->tries = 0;
    q->serial = ++d->serial;
    q->len = len;
    memcpy(q->data, data, len);
    if (!send_to_server(d, q))
        refuse(d, from, data, len);
}

unsigned nat_dns_poll(struct nat_dns *d, struct pollfd *p, unsigned max, int *timeout_ms)
{
    uint64_t now = gh_loop_now_ns();
    unsigned n = 0;

    for (unsigned i = 0; i < QUERIES; i++) {
        struct query *q = &d->query[i];
        if (q->fd < 0)
            continue;
        int left = q->deadline_ns <= now ? 0 : (int)((q->deadline_ns - now) / 1000000) + 1;
        if (*timeout_ms < 0 || left < *timeout_ms)
            *timeout_ms = left;
        if (n < max)
            p[n++] = (struct pollfd){ q->fd, POLLIN, 0 };
    }
    return n;
}

static void take_answer(struct nat_dns *d, struct query *q)
{
    uint8_t data[ANSWER_BYTES];
    ssize_t n = recv(q->fd, data, sizeof data, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n >= HEADER && !memcmp(data, q->data, 2)) {
        d->answer(d->opaque, &q->asker, data, (size_t)n);
        finish(q);
    } else if (n < 0 && !send_to_server(d, q)) {   /* refused or unreachable */
        refuse(d, &q->asker, q->data, q->len);
    }
}

void nat_dns_run(struct nat_dns *d, const struct pollfd *p, unsigned count)
{
    uint64_t now = gh_loop_now_ns();

    for (unsigned k = 0; k < count; k++)
        for (unsigned i = 0; p[k].revents && i < QUERIES; i++)
            if (d->query[i].fd == p[k].fd) {
                take_answer(d, &d->query[i]);
                break;
            }
    for (unsigned i = 0; i < QUERIES; i++) {
        struct query *q = &d->query[i];
        if (q->fd >= 0 && q->deadline_ns <= now && !send_to_server(d, q))
            refuse(d, &q->asker, q->data, q->len);
    }
}
