/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/net_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void gh_net_put_control(struct gh_net *n, json_t *o)
{
    gh_autofree char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

    if (text && n->wire.fd >= 0)
        gh_wire_put(&n->wire, GH_WIRE_CONTROL, &(struct iovec){ text, strlen(text) }, 1);
    json_decref(o);
}

void gh_net_take_reply(struct gh_net *n, const struct gh_wire_record *record)
{
    json_t *o = json_loadb((const char *)record->data, record->len, 0, NULL);
    json_int_t id = json_integer_value(json_object_get(o, "id"));
    const json_t *error = json_object_get(o, "error");

    for (unsigned i = 0; i < n->pending_count && n->finished_count < GH_NET_PENDING; i++) {
        struct gh_net_finished *f = &n->finished[n->finished_count];
        if (n->pending[i].id != id)
            continue;
        *f = (struct gh_net_finished){ .of = n->pending[i] };
        memmove(n->pending + i, n->pending + i + 1, (--n->pending_count - i) * sizeof n->pending[0]);
        n->finished_count++;
        if (error) {
            const char *eid = json_string_value(json_object_get(error, "id")), *text = json_string_value(json_object_get(error, "text"));
            gh_error_carry(&f->err, -EIO, eid ? eid : "ForwardFailed", "forward", text ? text : "The port cannot be forwarded.",
                           json_string_value(json_object_get(error, "message")));
        }
        unsigned at = 0;
        while (at < n->forward_count && memcmp(&n->forward[at], &f->of.forward, sizeof f->of.forward))
            at++;
        if (f->of.add && !error && at == n->forward_count && at < GH_NET_FORWARDS)
            n->forward[n->forward_count++] = f->of.forward;
        else if (at < n->forward_count && (f->of.add ? error != NULL : error == NULL))
            memmove(n->forward + at, n->forward + at + 1, (--n->forward_count - at) * sizeof n->forward[0]);
        gh_net_notify(n);
        break;
    }
    json_decref(o);
}

int gh_net_ask_forward(struct gh_net *n, bool add, const struct gh_net_forward *f, gh_net_forward_done done, void *opaque, struct gh_error *err)
{
    if (!strcmp(n->kind, "passt"))
        return gh_error_option(err, -EOPNOTSUPP, "ForwardUnsupported", "adapter", "passt takes its port forwards at its start only; switch the machine off first.");
    if (strcmp(n->kind, "nat"))
        return gh_error_option(err, -EOPNOTSUPP, "ForwardUnsupported", "adapter", "Ports can be forwarded with NAT only; “%s” is connected otherwise.", n->name);
    if (n->wire.fd < 0)
        return gh_error_set(err, -ENOTCONN, "NetworkRestarted", "The network of “%s” is being restarted; try again in a moment.", n->name);
    if (n->pending_count == GH_NET_PENDING || (add && n->forward_count + n->pending_count >= GH_NET_FORWARDS && done))
        return gh_error_option(err, -ENOSPC, "TooManyForwards", "forward", "An adapter can have at most %d port forwards; remove one first.", GH_NET_FORWARDS);
    n->pending[n->pending_count++] = (struct gh_net_pending){ ++n->next_id, add, *f, done, opaque };
    gh_net_put_control(n, json_pack("{s:s, s:i, s:s, s:s, s:i, s:i}", "verb", add ? "forward-add" : "forward-remove", "id", (int)n->next_id, "protocol", f->protocol,
                             "address", f->address, "host-port", f->host_port, "guest-port", f->guest_port));
    gh_net_flush(n);
    return 0;
}

static bool is_any(const char *address) { return !strcmp(address, "0.0.0.0") || !strcmp(address, "::"); }

static bool collide(const struct gh_net_forward *a, const struct gh_net_forward *b)
{
    return a->host_port == b->host_port && !strcmp(a->protocol, b->protocol) && !strchr(a->address, ':') == !strchr(b->address, ':') &&
           (!strcmp(a->address, b->address) || is_any(a->address) || is_any(b->address));
}

int gh_net_forward_add(struct gh_net *n, const struct gh_net_forward *f, gh_net_forward_done done, void *opaque, struct gh_error *err)
{
    int r = 0;

    gh_net_lock(n);
    for (unsigned i = 0; i < n->forward_count && !r; i++)
        if (collide(&n->forward[i], f))
            r = gh_error_option(err, -EEXIST, "ForwardCollides", "forward", "Host port %u (%s) is forwarded already, to the guest's port %u; choose another host port.",
                                f->host_port, f->protocol, n->forward[i].guest_port);
    if (!r)
        r = gh_net_ask_forward(n, true, f, done, opaque, err);
    gh_net_unlock(n);
    return r;
}

int gh_net_forward_remove(struct gh_net *n, const struct gh_net_forward *f, gh_net_forward_done done, void *opaque, struct gh_error *err)
{
    int r = -ENOENT;

    gh_net_lock(n);
    for (unsigned i = 0; i < n->forward_count && r == -ENOENT; i++)
        if (n->forward[i].host_port == f->host_port && !strcmp(n->forward[i].protocol, f->protocol) && !strcmp(n->forward[i].address, f->address)) {
            const struct gh_net_forward known = n->forward[i];
            r = gh_net_ask_forward(n, false, &known, done, opaque, err);
            if (r == -ENOENT)
                r = -EIO;
        }
    if (r == -ENOENT)
        gh_error_option(err, r, "ForwardUnknown", "forward", "%s port %u of %s is not forwarded.", f->protocol, f->host_port, f->address);
    gh_net_unlock(n);
    return r;
}

const struct gh_net_forward *gh_net_forwards(struct gh_net *n, unsigned *count)
{
    *count = n->forward_count;
    return n->forward;
}
