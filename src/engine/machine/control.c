/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "engine/machine/control_internal.h"

#define LATEST_INTERVAL_NS 50000000u
#define PACKETS_PER_TURN   16 /* a chatty client must not starve the others */

static void client_drop(struct control_client *c)
{
    struct gh_control *control = c->control;
    void (*on_lost)(void *) = c->on_lost;
    void *opaque = c->on_lost_opaque;

    if (c->fd < 0)
        return;
    if (control->typing.client == c)
        control->typing.client = NULL;
    for (unsigned i = 0; i < CONTROL_TICKETS; i++)
        if (control->ticket[i].client == c)
            control->ticket[i].client = NULL;
    gh_loop_fd_free(c->source);
    close(c->fd);
    json_decref(c->reply);
    for (unsigned i = 0; i < c->queued; i++)
        json_decref(c->queue[i].json);
    memset(c, 0, sizeof *c);
    c->control = control;
    c->fd = -1;
    if (on_lost)
        on_lost(opaque);
}

static void client_interest(struct control_client *c)
{
    gh_loop_fd_events(c->source, (c->reply ? 0 : EPOLLIN) | (c->reply || c->queued ? EPOLLOUT : 0));
}

/* true: gone, one way or the other. */
static bool try_send(struct control_client *c, const json_t *packet)
{
    int r = gh_packet_send(c->fd, packet, NULL, 0, NULL);

    if (r == -EAGAIN)
        return false;
    if (r < 0)
        c->dead = true; /* the caller's loop drops it; callers hold pointers into it */
    return true;
}

static void client_push(struct control_client *c)
{
    if (c->reply && try_send(c, c->reply)) {
        json_decref(c->reply);
        c->reply = NULL;
    }
    while (!c->dead && !c->reply && c->queued) {
        if (c->lost)
            json_object_set_new(c->queue[0].json, "lost", json_integer(c->lost));
        if (!try_send(c, c->queue[0].json))
            break;
        c->lost = 0;
        json_decref(c->queue[0].json);
        memmove(&c->queue[0], &c->queue[1], --c->queued * sizeof c->queue[0]);
    }
    if (!c->dead)
        client_interest(c);
}

/* ---- Replies -------------------------------------------------------------------------------- */
static void reply(struct control_client *c, json_int_t id, const char *key, json_t *value)
{
    json_t *packet = json_object();

    json_object_set_new(packet, "id", json_integer(id));
    json_object_set_new(packet, key, value ? value : json_object());
    json_decref(c->reply);
    c->reply = packet;
    client_push(c);
}

void control_reply_error(struct control_client *c, json_int_t id, const struct gh_error *why)
{
    json_t *e = json_object();

    json_object_set_new(e, "id", json_string(why->id[0] ? why->id : "Failed"));
    json_object_set_new(e, "text", json_string(why->text));
    if (why->message[0])
        json_object_set_new(e, "message", json_string(why->message));
    if (why->option[0])
        json_object_set_new(e, "option", json_string(why->option));
    reply(c, id, "error", e);
}

void control_reply_ok(struct control_client *c, json_int_t id, const struct gh_schema *schema, const void *value)
{
    unsigned none = 0;
    json_t  *ok = gh_schema_write(schema, value, NULL, &none, 0);
    size_t   bytes = ok ? json_dumpb(ok, NULL, 0, JSON_COMPACT) : 0;

    if (bytes > GH_PACKET_BYTES - 64) {
        struct gh_error err = { 0 };
        json_decref(ok);
        gh_error_set(&err, -EMSGSIZE, "ReplyTooLong", "The reply has %zu bytes and does not fit into a "
                     "packet; pass a descriptor.", bytes);
        control_reply_error(c, id, &err);
        return;
    }
    reply(c, id, "ok", ok);
}

/* ---- Requests --------------------------------------------------------------------------------- */
static int call(struct control_client *c, json_int_t id, unsigned verb, struct gh_packet *p, struct gh_error *err)
{
    static const char *const envelope[] = { "id", "verb", NULL };
    const struct gh_control_verb_info *info = &gh_control_verbs[verb];
    struct control_request rq = { .client = c, .id = id };
    int r;

    rq.args = malloc(info->args->size + 1);
    rq.reply = malloc(info->reply->size + 1);
    if (!rq.args || !rq.reply) {
        r = gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the request.");
    } else {
        r = gh_schema_read(info->args, p->json, p, envelope, rq.args, err);
        if (!r) {
            gh_schema_init(info->reply, rq.reply);
            c->control->current = &rq;
            c->control->current_verb = verb;
            r = control_calls[verb](c->control, &rq, err);
            c->control->current = NULL;
            if (!r)
                control_reply_ok(c, id, info->reply, rq.reply);
            gh_schema_fini(info->args, rq.args);
            gh_schema_fini(info->reply, rq.reply);
        }
    }
    free(rq.args);
    free(rq.reply);
    return r;
}

int gh_control_defer(struct gh_control *control, struct gh_error *err)
{
    for (int i = 0; control->current && i < CONTROL_TICKETS; i++)
        if (!control->ticket[i].used) {
            control->ticket[i] = (struct control_ticket){ true, control->current->client, control->current->id, control->current_verb };
            return i;
        }
    return gh_error_set(err, -EBUSY, "TooManyRequests", "%d requests wait for their answers already; try again when they have come.", CONTROL_TICKETS);
}

void gh_control_finish(struct gh_control *control, int ticket, const void *value, const struct gh_error *why)
{
    struct control_ticket t = control->ticket[ticket];

    control->ticket[ticket] = (struct control_ticket){ 0 };
    if (!t.client || t.client->fd < 0)
        return;
    if (why)
        control_reply_error(t.client, t.id, why);
    else
        control_reply_ok(t.client, t.id, gh_control_verbs[t.verb].reply, value);
}

static void request(struct control_client *c, struct gh_packet *p)
{
    const char     *name = json_string_value(json_object_get(p->json, "verb"));
    const json_t   *id_value = json_object_get(p->json, "id");
    json_int_t      id = json_integer_value(id_value);
    struct gh_error err = { 0 };
    int             r;

    if (!name || !json_is_integer(id_value)) {
        r = gh_error_set(&err, -EBADMSG, "RequestMalformed",
                         "A request needs a \"verb\" and a whole number as \"id\".");
    } else {
        unsigned verb = control_verb_find(name);
        if (!c->greeted && strcmp(name, "hello"))
            r = gh_error_set(&err, -EPROTO, "HelloExpected", "The first request must be hello, not \"%.40s\".",
                             name);
        else if (!gh_control_verbs[verb].name)
            r = gh_error_set(&err, -EOPNOTSUPP, "VerbUnknown", "This machine knows no verb \"%.40s\".", name);
        else if (gh_control_verbs[verb].supervisor && !c->supervisor)
            r = gh_error_set(&err, -EPERM, "VerbRefused", "The verb \"%.40s\" is for the supervisor.", name);
        else
            r = call(c, id, verb, p, &err);
    }
    if (r < 0 && c->fd >= 0)
        control_reply_error(c, id, &err);
}

static void client_ready(void *opaque, int fd, uint32_t events)
{
    struct control_client *c = opaque;
    struct gh_packet       p;

    if (events & EPOLLOUT)
        client_push(c);
    for (unsigned i = 0; i < PACKETS_PER_TURN && !c->dead && c->fd >= 0 && !c->reply &&
                         (events & (EPOLLIN | EPOLLHUP | EPOLLERR)); i++) {
        struct gh_error err = { 0 };
        int r = gh_packet_recv(fd, &p, &err);
        if (r == -EAGAIN)
            break;
        if (r == -EBADMSG || r == -E2BIG || r == -EMSGSIZE) {
            control_reply_error(c, 0, &err);
            continue;
        }
        if (r <= 0) {
            c->dead = true;
            break;
        }
        request(c, &p);
        gh_packet_clear(&p);
    }
    if ((c->dead || (events & EPOLLERR)) && c->fd >= 0)
        client_drop(c);
}

/* ---- Events --------------------------------------------------------------------------------------- */
static void client_event(struct control_client *c, enum gh_control_event kind, json_t *packet)
{
    if (gh_control_events[kind].latest)
        for (unsigned i = 0; i < c->queued; i++)
            if (c->queue[i].kind == kind) {
                json_decref(c->queue[i].json);
                memmove(&c->queue[i], &c->queue[i + 1], (--c->queued - i) * sizeof c->queue[0]);
            }
    if (c->queued == CONTROL_QUEUE) {
        json_decref(c->queue[0].json);
        memmove(&c->queue[0], &c->queue[1], --c->queued * sizeof c->queue[0]);
        c->lost++;
    }
    c->queue[c->queued].kind = kind;
    c->queue[c->queued++].json = json_copy(packet); /* its own: "lost" differs */
    client_push(c);
}

static void send_to_all(struct gh_control *control, enum gh_control_event kind, json_t *packet)
{
    control->sent_ns[kind] = gh_loop_now_ns();
    for (unsigned i = 0; i < GH_CONTROL_CLIENTS; i++) {
        struct control_client *c = &control->client[i];
        if (c->fd >= 0 && c->greeted && !c->dead && gh_control_events[kind].since <= c->version)
            client_event(c, kind, packet);
        /* A dead client's hang-up arrives by the loop, which drops it. */
    }
    json_decref(packet);
}

static void send_held(void *opaque)
{
    struct gh_control *control = opaque;

    for (unsigned k = 0; k < GH_CONTROL_EVENT_COUNT_; k++)
        if (control->held[k])
            send_to_all(control, k, gh_steal_ptr(&control->held[k]));
}

void gh_control_emit(struct gh_control *control, enum gh_control_event kind, const void *event)
{
    unsigned none = 0;
    json_t  *packet;

    if (!control || !(packet = gh_schema_write(gh_control_events[kind].fields, event, NULL, &none, 0)))
        return;
    json_object_set_new(packet, "event", json_string(gh_control_events[kind].name));
    uint64_t due = control->sent_ns[kind] + LATEST_INTERVAL_NS;
    if (gh_control_events[kind].latest && gh_loop_now_ns() < due) {
        json_decref(control->held[kind]);
        control->held[kind] = packet;
        gh_loop_timer_arm(control->held_timer, due);
        return;
    }
    json_decref(control->held[kind]);
    control->held[kind] = NULL;
    send_to_all(control, kind, packet);
}

void gh_control_flush(struct gh_control *control, int timeout_ms)
{
    uint64_t end = gh_loop_now_ns() + (uint64_t)timeout_ms * 1000000u;

    if (!control)
        return;
    send_held(control);
    for (unsigned i = 0; i < GH_CONTROL_CLIENTS; i++) {
        struct control_client *c = &control->client[i];
        while (c->fd >= 0 && !c->dead && (c->reply || c->queued)) {
            uint64_t      now = gh_loop_now_ns();
            struct pollfd p = { .fd = c->fd, .events = POLLOUT };
            if (now >= end || poll(&p, 1, (int)((end - now) / 1000000u) + 1) <= 0)
                break;
            client_push(c);
        }
    }
}

void gh_control_report_failure(int sock, const struct gh_error *why)
{
    struct gh_control_failed_event e;
    unsigned none = 0;

    snprintf(e.id, sizeof e.id, "%s", why->id);
    snprintf(e.text, sizeof e.text, "%s", why->text);
    snprintf(e.message, sizeof e.message, "%s", why->message);
    snprintf(e.option, sizeof e.option, "%s", why->option);
    json_t *packet = gh_schema_write(gh_control_events[GH_CONTROL_EVENT_failed].fields, &e, NULL, &none, 0);
    json_object_set_new(packet, "event", json_string("failed"));
    gh_packet_send(sock, packet, NULL, 0, NULL);
    json_decref(packet);
}

/* ---- Lifetime --------------------------------------------------------------------------------------- */
int gh_control_new(struct gh_loop *loop, const struct gh_control_ops *ops, void *opaque, const char *name,
                   const char *uuid, struct gh_control **ret, struct gh_error *err)
{
    struct gh_control *c = calloc(1, sizeof *c);

    *ret = NULL;
    if (c)
        c->held_timer = gh_loop_timer(loop, send_held, c);
    if (!c || !c->held_timer) {
        free(c);
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the control server.");
    }
    c->loop = loop;
    c->ops = ops;
    c->opaque = opaque;
    snprintf(c->name, sizeof c->name, "%s", name ? name : "");
    snprintf(c->uuid, sizeof c->uuid, "%s", uuid ? uuid : "");
    for (unsigned i = 0; i < GH_CONTROL_CLIENTS; i++) {
        c->client[i].control = c;
        c->client[i].fd = -1;
    }
    *ret = c;
    return 0;
}

void gh_control_free(struct gh_control *control)
{
    if (!control)
        return;
    control_typing_stop(control);
    for (unsigned i = 0; i < GH_CONTROL_CLIENTS; i++) {
        control->client[i].on_lost = NULL;
        client_drop(&control->client[i]);
    }
    for (unsigned k = 0; k < GH_CONTROL_EVENT_COUNT_; k++)
        json_decref(control->held[k]);
    gh_loop_timer_free(control->held_timer);
    gh_loop_timer_free(control->typing.timer);
    free(control);
}

int gh_control_add(struct gh_control *control, int sock, bool supervisor, void (*lost)(void *opaque),
                   void *opaque, struct gh_error *err)
{
    struct control_client *c = NULL;

    for (unsigned i = 0; i < GH_CONTROL_CLIENTS && !c; i++)
        if (control->client[i].fd < 0)
            c = &control->client[i];
    if (!c) {
        close(sock);
        return gh_error_set(err, -EBUSY, "TooManyClients", "The machine serves %d control clients already; "
                            "close one.", GH_CONTROL_CLIENTS);
    }
    int flags = fcntl(sock, F_GETFL);
    if (flags < 0 || fcntl(sock, F_SETFL, flags | O_NONBLOCK)) {
        int code = -errno;
        close(sock);
        return gh_error_set(err, code, "SocketFailed", "A control socket could not be used: %s.",
                            strerror(-code));
    }
    *c = (struct control_client){ .control = control, .fd = sock, .supervisor = supervisor,
                                  .greeted = supervisor, .version = supervisor ? GH_CONTROL_VERSION : 0,
                                  .on_lost = lost, .on_lost_opaque = opaque };
    c->source = gh_loop_fd(control->loop, sock, EPOLLIN, client_ready, c);
    if (!c->source) {
        int code = -errno;
        close(sock);
        c->fd = -1;
        return gh_error_set(err, code, "SocketFailed", "A control socket could not be watched: %s.",
                            strerror(-code));
    }
    return 0;
}
