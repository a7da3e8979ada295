/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/net_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/machine/launch.h"

#define HOLD_NS   700000000ull         /* a link that is down for less goes unnoticed, and the guest keeps its address */
#define NOTIFY_NS 200000000ull         /* a guest may change its address with each frame */

void gh_net_lock(struct gh_net *n)
{
    if (n->machine)
        gh_machine_lock(n->machine);
}

/* Callbacks of others run without the lock. */
void gh_net_unlock(struct gh_net *n)
{
    struct gh_net_finished f;

    for (;;) {
        bool have = n->finished_count > 0;
        if (have) {
            f = n->finished[0];
            memmove(n->finished, n->finished + 1, --n->finished_count * sizeof f);
        }
        if (n->machine)
            gh_machine_unlock(n->machine);
        if (!have)
            return;
        if (f.of.done)
            f.of.done(f.of.opaque, f.err.code ? &f.err : NULL);
        else if (f.err.code && n->events.trouble)
            n->events.trouble(n->events.opaque, n, &f.err);
        gh_net_lock(n);
    }
}

void gh_net_notify(struct gh_net *n)
{
    uint64_t now = gh_loop_now_ns(), due = n->notified_ns + NOTIFY_NS;

    if (n->notify_pending)
        return;
    n->notify_pending = true;
    gh_loop_timer_arm(n->notify_timer, due > now ? due : now);
}

static void on_notify(void *opaque)
{
    struct gh_net *n = opaque;

    gh_net_lock(n);
    n->notify_pending = false;
    n->notified_ns = gh_loop_now_ns();
    gh_net_unlock(n);
    if (n->events.changed)
        n->events.changed(n->events.opaque, n);
}

void gh_net_set_link(struct gh_net *n)
{
    bool up = n->plugged && !n->held && n->wire.fd >= 0;

    if (n->dev.link_up == up)
        return;
    n->dev.link_up = up;
    if (n->dev.link && n->machine)
        n->dev.link(n->dev.opaque, up);
}

void gh_net_disconnect(struct gh_net *n)
{
    gh_loop_fd_free(n->source);
    n->source = NULL;
    if (n->wire.fd >= 0)
        gh_wire_fini(&n->wire);
    n->rx_stalled = n->rx_limited = false;
    for (; n->pending_count && n->finished_count < GH_NET_PENDING; n->pending_count--) {
        struct gh_net_finished *f = &n->finished[n->finished_count++];
        *f = (struct gh_net_finished){ .of = n->pending[n->pending_count - 1] };
        if (f->of.done)                /* those without are asked again */
            gh_error_set(&f->err, -ECONNRESET, "NetworkRestarted", "The network of “%s” is being restarted; try again in a moment.", n->name);
    }
    n->pending_count = 0;
    gh_net_set_link(n);
    if (n->tx_blocked && n->dev.writable) {
        n->tx_blocked = false;
        n->dev.writable(n->dev.opaque); /* what waits is lost, as with a cable that is pulled */
    }
    gh_net_notify(n);
}

/* ---- What the outside changes ------------------------------------------------------------------------------------------------ */
static void join(struct gh_net *n)
{
    n->source = gh_loop_fd(n->loop, n->wire.fd, EPOLLIN, gh_net_on_wire, n);
    gh_net_put_offload(n);
    for (unsigned i = 0; i < n->forward_count; i++)
        gh_net_ask_forward(n, true, &n->forward[i], NULL, NULL, NULL);
    gh_net_flush(n);
}

static void on_hold(void *opaque)
{
    struct gh_net *n = opaque;

    gh_net_lock(n);
    n->held = false;
    gh_net_set_link(n);
    gh_net_unlock(n);
}

static bool is_ours(const char *kind) { return !strcmp(kind, "nat") || !strcmp(kind, "internal"); }

static void become(struct gh_net *n, const char *kind, const char *forwards)
{
    struct gh_net_forward f = { 0 };
    int used;

    snprintf(n->kind, sizeof n->kind, "%s", kind);
    n->ours = is_ours(kind);
    n->forward_count = 0;
    for (; n->forward_count < GH_NET_FORWARDS && sscanf(forwards, "%3s %45s %hu %hu;%n", f.protocol, f.address, &f.host_port, &f.guest_port, &used) == 4; forwards += used) {
        n->forward[n->forward_count++] = f;
        f = (struct gh_net_forward){ 0 };
    }
    memset(n->watch.v4, 0, sizeof n->watch.v4);
    memset(n->watch.v6, 0, sizeof n->watch.v6);
}

int gh_net_connect(struct gh_net *n, const char *kind, const char *forwards, int fd, struct gh_error *err)
{
    int r = 0;

    gh_net_lock(n);
    if (kind && n->header && !is_ours(kind) && strcmp(kind, "null"))
        r = gh_error_option(err, -EOPNOTSUPP, "NetworkUnmovable", "mode", "“%s” passes large segments, which “%s” does not take; switch the machine off first.", n->name, kind);
    if (!r) {
        gh_net_disconnect(n);
        if (kind) {
            become(n, kind, forwards);
            n->held = true;
            gh_loop_timer_arm(n->hold_timer, gh_loop_now_ns() + HOLD_NS);
        }
    }
    if (!r && fd >= 0) {
        r = gh_wire_init(&n->wire, fd, GH_NET_WIRE_BYTES);
        if (r)
            gh_error_set(err, r, "OutOfMemory", "There is no memory for the network “%s”.", n->name);
        else
            join(n);
        fd = r ? fd : -1;
    }
    if (fd >= 0)
        close(fd);
    gh_net_set_link(n);
    gh_net_notify(n);
    gh_net_unlock(n);
    return r;
}

void gh_net_plug(struct gh_net *n, bool plugged)
{
    gh_net_lock(n);
    n->plugged = plugged;
    gh_net_set_link(n);
    gh_net_notify(n);
    gh_net_unlock(n);
}

void gh_net_limit(struct gh_net *n, uint64_t bits_per_second)
{
    gh_net_lock(n);
    n->limit_bits = bits_per_second;
    n->tx_tokens = n->rx_tokens = 0;
    n->refilled_ns = gh_loop_now_ns();
    gh_net_notify(n);
    gh_net_unlock(n);
    gh_net_on_rate(n);
}

int gh_net_capture(struct gh_net *n, int fd, struct gh_error *err)
{
    struct gh_net_capture next = { .fd = -1 };
    int r = fd < 0 ? 0 : gh_net_capture_open(&next, fd, n->name, err);

    if (r)
        return r;
    gh_net_lock(n);
    gh_net_capture_close(&n->capture);
    n->capture = next;
    gh_net_notify(n);
    gh_net_unlock(n);
    return 0;
}

void gh_net_info(struct gh_net *n, struct gh_net_info *ret)
{
    static const uint8_t none[16];
    const uint8_t *a = n->watch.v4, *b = n->watch.v6;

    gh_net_lock(n);
    *ret = (struct gh_net_info){ .connected = n->plugged, .backend = n->wire.fd >= 0, .capturing = n->capture.buffer != NULL, .limit_bits = n->limit_bits };
    memcpy(ret->name, n->name, sizeof ret->name);
    memcpy(ret->kind, n->kind, sizeof ret->kind);
    memcpy(ret->mac, n->mac_text, sizeof ret->mac);
    if (memcmp(a, none, 4))
        inet_ntop(AF_INET, a, ret->address, sizeof ret->address);
    if (memcmp(b, none, 16))
        inet_ntop(AF_INET6, b, ret->address6, sizeof ret->address6);
    gh_net_unlock(n);
}

void gh_net_counters(struct gh_net *n, struct gh_net_counters *ret)
{
    gh_net_lock(n);
    *ret = n->counters;
    gh_net_unlock(n);
}

/* ---- Lifetime ------------------------------------------------------------------------------------------------------------------- */
int gh_net_new(struct gh_loop *loop, struct gh_launch_net *net, const struct gh_net_events *events, struct gh_net **ret,
               struct gh_error *err)
{
    struct gh_net *n = calloc(1, sizeof *n);
    int fd = gh_steal_fd(&net->fd), r = -ENOMEM;

    if (n) {
        n->wire.fd = -1;
        n->capture.fd = -1;
        n->scratch = malloc(GH_WIRE_RECORD_MAX);
        n->rate_timer = gh_loop_timer(loop, gh_net_on_rate, n);
        n->notify_timer = gh_loop_timer(loop, on_notify, n);
        n->capture_timer = gh_loop_timer(loop, gh_net_on_capture, n);
        n->hold_timer = gh_loop_timer(loop, on_hold, n);
        r = !n->scratch || !n->hold_timer || !n->rate_timer || !n->notify_timer || !n->capture_timer ? -ENOMEM
            : fd >= 0 ? gh_wire_init(&n->wire, fd, GH_NET_WIRE_BYTES) : 0;
    }
    if (r) {
        if (fd >= 0)
            close(fd);
        if (n)
            gh_net_free(n);
        return gh_error_set(err, r, "OutOfMemory", "There is no memory for the network “%s”.", net->name);
    }
    n->loop = loop;
    n->dev.ops = &gh_net_ops;
    n->events = *events;
    n->ours = is_ours(net->kind);
    n->plugged = !net->unplugged;
    n->limit_bits = net->limit_bits;
    n->refilled_ns = gh_loop_now_ns();
    memcpy(n->name, net->name, sizeof n->name);
    memcpy(n->kind, net->kind, sizeof n->kind);
    memcpy(n->mac_text, net->mac, sizeof n->mac_text);
    unsigned b[6] = { 0 };
    if (sscanf(net->mac, "%2x:%2x:%2x:%2x:%2x:%2x", b, b + 1, b + 2, b + 3, b + 4, b + 5) == 6)
        for (unsigned i = 0; i < 6; i++)
            n->dev.mac[i] = n->watch.mac[i] = (uint8_t)b[i];
    if (n->ours)
        n->dev.can = (struct gh_net_offload){ .csum = true, .tso4 = true, .tso6 = true, .mergeable = true };
    for (unsigned i = 0; i < net->forward_count && i < GH_NET_FORWARDS; i++) {
        struct gh_net_forward *f = &n->forward[n->forward_count++];
        memcpy(f->protocol, net->forwards[i].protocol, sizeof f->protocol);
        memcpy(f->address, net->forwards[i].address, sizeof f->address);
        f->host_port = (uint16_t)net->forwards[i].host_port;
        f->guest_port = (uint16_t)net->forwards[i].guest_port;
    }
    n->dev.link_up = n->plugged && n->wire.fd >= 0;
    *ret = n;
    return 0;
}

void gh_net_set_machine(struct gh_net *n, struct gh_machine *m)
{
    n->machine = m;
    gh_net_lock(n);
    if (n->wire.fd >= 0)
        join(n);
    gh_net_unlock(n);
}

struct gh_netdev *gh_net_handle(struct gh_net *n) { return &n->dev; }

void gh_net_free(struct gh_net *n)
{
    gh_loop_fd_free(n->source);
    if (n->wire.fd >= 0)
        gh_wire_fini(&n->wire);
    gh_net_capture_close(&n->capture);
    gh_loop_timer_free(n->rate_timer);
    gh_loop_timer_free(n->notify_timer);
    gh_loop_timer_free(n->capture_timer);
    gh_loop_timer_free(n->hold_timer);
    free(n->scratch);
    free(n);
}
