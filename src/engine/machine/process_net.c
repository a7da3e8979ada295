/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The networks of a machine process. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "engine/machine/control.h"
#include "engine/machine/net.h"
#include "engine/machine/process_internal.h"

static void on_lost(void *opaque, struct gh_net *n)
{
    struct gh_net_info info;

    gh_net_info(n, &info);
    gh_log(GH_LOG_WARN, "the network “%s” went away; the guest sees its cable pulled until it is back", info.name);
}

static void on_trouble(void *opaque, struct gh_net *n, const struct gh_error *err)
{
    struct gh_process *p = opaque;
    struct gh_control_error_event event = { 0 };

    gh_log(GH_LOG_WARN, "%s [%s]", err->text, err->id);
    snprintf(event.id, sizeof event.id, "%s", err->id);
    snprintf(event.text, sizeof event.text, "%s", err->text);
    snprintf(event.option, sizeof event.option, "%s", err->option);
    gh_control_emit(p->control, GH_CONTROL_EVENT_error, &event);
}

int gh_process_net_open(struct gh_process *p, struct gh_launch_net *net, struct gh_error *err)
{
    const struct gh_net_events events = { .opaque = p, .lost = on_lost, .trouble = on_trouble };
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
