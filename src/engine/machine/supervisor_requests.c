/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/supervisor_requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fdpass.h"
#include "base/log.h"
#include "engine/machine/cmdline.h"

enum { CLIENTS = 4 };

struct client { struct gh_requests *owner; int fd; struct gh_loop_source *source; };

struct gh_requests {
    struct gh_loop *loop;
    struct gh_supervisor_net *net;
    struct gh_loop_source *source;
    struct client client[CLIENTS];
};

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

static int net_connect(struct gh_requests *q, const json_t *request, struct gh_error *err)
{
    struct gh_launch *l = gh_launch_new();
    int r = l ? gh_cmdline_net(l, text_of(request, "net"), err) : gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the network.");

    if (!r)
        r = gh_supervisor_net_change(q->net, text_of(request, "adapter"), &l->nets[0], err);
    gh_launch_free(l);
    return r;
}

static json_t *take(struct gh_requests *q, const json_t *request)
{
    struct gh_error err = { 0 };
    int r = !strcmp(text_of(request, "verb"), "net-connect") ? net_connect(q, request, &err)
            : gh_error_option(&err, -EOPNOTSUPP, "VerbUnknown", "verb", "The supervisor does not know “%.60s”.", text_of(request, "verb"));

    return r ? json_pack("{s:{s:s, s:s, s:s, s:s}}", "error", "id", err.id, "text", err.text, "message", err.message, "option", err.option) : json_pack("{s:{}}", "ok");
}

static void leave(struct client *c)
{
    gh_loop_fd_free(c->source);
    close(c->fd);
    *c = (struct client){ .fd = -1 };
}

static void on_request(void *opaque, int fd, uint32_t events)
{
    struct client *c = opaque;
    struct gh_packet p;
    int r = gh_packet_recv(fd, &p, NULL);

    if (r == -EAGAIN)
        return;
    if (r <= 0) {
        leave(c);
        return;
    }
    json_t *reply = take(c->owner, p.json);
    gh_packet_clear(&p);
    if (!reply || gh_packet_send(fd, reply, NULL, 0, NULL))
        leave(c);
    json_decref(reply);
}

static void on_client(void *opaque, int fd, uint32_t events)
{
    struct gh_requests *q = opaque;
    gh_autoclose int client = gh_peer_accept(fd);

    for (unsigned i = 0; client >= 0 && i < CLIENTS; i++)
        if (q->client[i].fd < 0) {
            struct client *c = &q->client[i];
            *c = (struct client){ q, client, gh_loop_fd(q->loop, client, EPOLLIN, on_request, c) };
            if (c->source)
                client = -1;
            else
                c->fd = -1;
            return;
        }
}

int gh_requests_new(struct gh_loop *loop, int listen_fd, struct gh_supervisor_net *net, struct gh_requests **ret, struct gh_error *err)
{
    struct gh_requests *q = calloc(1, sizeof *q);

    if (q) {
        *q = (struct gh_requests){ .loop = loop, .net = net };
        for (unsigned i = 0; i < CLIENTS; i++)
            q->client[i].fd = -1;
        q->source = gh_loop_fd(loop, listen_fd, EPOLLIN, on_client, q);
    }
    if (!q || !q->source) {
        free(q);
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the supervisor.");
    }
    *ret = q;
    return 0;
}

void gh_requests_free(struct gh_requests *q)
{
    if (!q)
        return;
    for (unsigned i = 0; i < CLIENTS; i++)
        if (q->client[i].fd >= 0)
            leave(&q->client[i]);
    gh_loop_fd_free(q->source);
    free(q);
}
