/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The networks of a machine process. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "engine/machine/control.h"
#include "engine/machine/net.h"
#include "engine/machine/process_internal.h"

static void tell(struct gh_process *p, struct gh_net *n)
{
    struct gh_control_net_event event = { 0 };
    struct gh_net_info info;

    gh_net_info(n, &info);
    memcpy(event.adapter, info.name, sizeof event.adapter);
    event.backend = info.backend;
    gh_control_emit(p->control, GH_CONTROL_EVENT_net, &event);
}

static void on_changed(void *opaque, struct gh_net *n) { tell(opaque, n); }

static void on_lost(void *opaque, struct gh_net *n)
{
    struct gh_net_info info;

    gh_net_info(n, &info);
    gh_log(GH_LOG_WARN, "the network “%s” went away; the guest sees its cable pulled until it is back", info.name);
    tell(opaque, n);
}

static void on_trouble(void *opaque, struct gh_net *n, const struct gh_error *err) { gh_process_tell_error(opaque, err); }

int gh_process_net_open(struct gh_process *p, struct gh_launch_net *net, struct gh_error *err)
{
    const struct gh_net_events events = { .opaque = p, .changed = on_changed, .lost = on_lost, .trouble = on_trouble };
    int r = gh_net_new(p->loop, net, &events, &p->net[p->net_count], err);

    if (r == 0)
        p->net_count++;
    return r;
}

struct gh_net *gh_process_net(struct gh_process *p, const char *name, struct gh_error *err)
{
    for (unsigned i = 0; i < p->net_count; i++) {
        struct gh_net_info info;
        gh_net_info(p->net[i], &info);
        if (!strcmp(info.name, name))
            return p->net[i];
    }
    gh_error_option(err, -ENOENT, "AdapterUnknown", "adapter", "The machine has no network adapter “%s”; the first is net0.", name);
    return NULL;
}

void gh_process_net_counters(struct gh_process *p, void (*visit)(void *, const char *, uint64_t), void *opaque)
{
    for (unsigned i = 0; i < p->net_count; i++) {
        struct gh_net_counters c;
        struct gh_net_info info;
        gh_net_counters(p->net[i], &c);
        gh_net_info(p->net[i], &info);
        const struct { const char *what; uint64_t value; } rows[] = {
            { "sent-frames", c.tx_frames }, { "sent-bytes", c.tx_bytes }, { "received-frames", c.rx_frames },
            { "received-bytes", c.rx_bytes }, { "dropped-frames", c.dropped },
        };
        for (unsigned k = 0; k < GH_ARRAY_LEN(rows); k++) {
            char name[64];
            snprintf(name, sizeof name, "%.32s.%s", info.name, rows[k].what);
            visit(opaque, name, rows[k].value);
        }
    }
}

/* ---- Verbs -------------------------------------------------------------------------------------------- */
#define OP(verb)                                                                                   \
    static int op_##verb(void *opaque, struct gh_control_##verb##_args *args,                      \
                         struct gh_control_##verb##_reply *ret, struct gh_error *err)

OP(net_status)
{
    struct gh_net *n = gh_process_net(opaque, args->adapter, err);
    struct gh_net_info info;
    unsigned count;
    size_t at = 0;

    if (!n)
        return -ENOENT;
    gh_net_info(n, &info);
    memcpy(ret->kind, info.kind, sizeof ret->kind);
    memcpy(ret->mac, info.mac, sizeof ret->mac);
    memcpy(ret->address, info.address, sizeof ret->address);
    memcpy(ret->address6, info.address6, sizeof ret->address6);
    ret->connected = info.connected;
    ret->backend = info.backend;
    ret->capturing = info.capturing;
    ret->limit_kbits = (uint32_t)(info.limit_bits / 1000);
    const struct gh_net_forward *f = gh_net_forwards(n, &count);
    for (unsigned i = 0; i < count && at < sizeof ret->forwards; i++)
        at += (size_t)snprintf(ret->forwards + at, sizeof ret->forwards - at, strchr(f[i].address, ':') ? "%s%s:[%s]:%u:%u" : "%s%s:%s:%u:%u", i ? " " : "", f[i].protocol, f[i].address, f[i].host_port,
                               f[i].guest_port);
    return 0;
}

struct forwarding { struct gh_process *process; int ticket; };

static void forward_done(void *opaque, const struct gh_error *err)
{
    static const struct gh_control_net_forward_add_reply nothing;
    struct forwarding *f = opaque;

    gh_control_finish(f->process->control, f->ticket, &nothing, err);
    free(f);
}

static int forward(struct gh_process *p, const char *adapter, bool add, struct gh_net_forward *f, struct gh_error *err)
{
    struct gh_net *n = gh_process_net(p, adapter, err);
    struct in6_addr address;

    if (!n)
        return -ENOENT;
    if (!f->address[0])
        strcpy(f->address, "127.0.0.1");
    if ((strcmp(f->protocol, "tcp") && strcmp(f->protocol, "udp")) || (inet_pton(AF_INET, f->address, &address) != 1 && inet_pton(AF_INET6, f->address, &address) != 1))
        return gh_error_option(err, -EINVAL, "ForwardInvalid", "forward", "“%s:%s” cannot be forwarded; give tcp or udp, and an address of this computer.",
                               f->protocol, f->address);
    struct forwarding *later = malloc(sizeof *later);
    if (!later)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the request.");
    *later = (struct forwarding){ p, gh_control_defer(p->control, err) };
    int r = later->ticket < 0 ? later->ticket : add ? gh_net_forward_add(n, f, forward_done, later, err) : gh_net_forward_remove(n, f, forward_done, later, err);
    if (r == 0)
        return GH_CONTROL_LATER;
    bool ticket = later->ticket >= 0;
    if (ticket)                            /* given back with the answer */
        gh_control_finish(p->control, later->ticket, NULL, err);
    free(later);
    return ticket ? GH_CONTROL_LATER : r;
}

OP(net_forward_add)
{
    struct gh_net_forward f = { .host_port = (uint16_t)args->host_port, .guest_port = (uint16_t)args->guest_port };

    memcpy(f.protocol, args->protocol, sizeof f.protocol);
    memcpy(f.address, args->address, sizeof f.address);
    return forward(opaque, args->adapter, true, &f, err);
}

OP(net_forward_remove)
{
    struct gh_net_forward f = { .host_port = (uint16_t)args->host_port };

    memcpy(f.protocol, args->protocol, sizeof f.protocol);
    memcpy(f.address, args->address, sizeof f.address);
    return forward(opaque, args->adapter, false, &f, err);
}

OP(net_cable)
{
    struct gh_net *n = gh_process_net(opaque, args->adapter, err);

    if (!n)
        return -ENOENT;
    gh_net_plug(n, args->plugged);
    return 0;
}

OP(net_limit)
{
    struct gh_net *n = gh_process_net(opaque, args->adapter, err);

    if (!n)
        return -ENOENT;
    if (args->kbits && args->kbits < 8)
        return gh_error_option(err, -ERANGE, "LimitInvalid", "limit", "%u kbit/s would let nothing through; give at least 8.", args->kbits);
    gh_net_limit(n, args->kbits * 1000ull);
    return 0;
}

OP(net_capture)
{
    struct gh_net *n = gh_process_net(opaque, args->adapter, err);

    return n ? gh_net_capture(n, gh_steal_fd(&args->fd), err) : -ENOENT;
}

void gh_process_net_ops(struct gh_control_ops *ops)
{
    ops->net_status = op_net_status;
    ops->net_forward_add = op_net_forward_add;
    ops->net_forward_remove = op_net_forward_remove;
    ops->net_cable = op_net_cable;
    ops->net_limit = op_net_limit;
    ops->net_capture = op_net_capture;
}
