/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stops, continues, steps and points of the debugger. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/machine/gdb_internal.h"

enum { SIGNAL_INT = 2, SIGNAL_TRAP = 5 };

/* Enough points for every plain breakpoint; with hardware's few the debugger patches those into the guest itself. */
static bool plenty(const struct gh_gdb *g) { return g->machine->cfg.accel->debug_points > 4; }

/* Every vCPU stands still from here on. */
static void stand(struct gh_gdb *g)
{
    struct gh_machine *m = g->machine;

    g->running = false;
    gh_machine_pause(m);
    gh_machine_lock(m);
    for (unsigned i = 0; i < m->cfg.cpus; i++)
        m->vcpu[i].held = false;
    gh_machine_unlock(m);
    for (unsigned i = 0; i < m->cfg.cpus; i++)
        m->cfg.accel->debug_step(m->vcpu[i].accel, false, NULL);
}

static void tell_stop(struct gh_gdb *g, unsigned signal, unsigned vcpu, uint8_t kind, uint64_t address)
{
    static const char *const why[] = { [GH_DEBUG_WRITE] = "watch", [GH_DEBUG_READ] = "rwatch", [GH_DEBUG_ACCESS] = "awatch" };
    struct gdb_out o = { .data = g->stop, .size = sizeof g->stop };

    g->thread = vcpu;
    gdb_putf(&o, "T%02xthread:%x;", signal, vcpu + 1);
    if (kind < GH_ARRAY_LEN(why) && why[kind])
        gdb_putf(&o, "%s:%llx;", why[kind], (unsigned long long)address);
    else if (kind == GH_DEBUG_EXEC)
        gdb_put(&o, plenty(g) ? "hwbreak:;" : "");
}

static void stopped(void *opaque)
{
    struct gh_gdb *g = opaque;

    if (g->fd < 0 || !g->running || g->ended)
        return;
    stand(g);
    gh_machine_lock(g->machine);
    unsigned vcpu = g->hit.vcpu;
    uint8_t kind = g->hit.kind;
    uint64_t address = g->hit.address;
    g->hit.valid = false;
    gh_machine_unlock(g->machine);
    tell_stop(g, SIGNAL_TRAP, vcpu, kind, address);
    gdb_send(g, g->stop, strlen(g->stop));
}

/* A vCPU's thread, machine lock. The first one is reported; others meet their points again when they go on. */
static void on_hit(void *opaque, unsigned vcpu, const struct gh_exit *e)
{
    struct gh_gdb *g = opaque;

    if (g->hit.valid)
        return;
    g->hit.valid = true;
    g->hit.vcpu = vcpu;
    g->hit.kind = e->debug.kind;
    g->hit.address = e->debug.address;
    gh_loop_post(g->loop, stopped, g);
}

static int set_points(struct gh_gdb *g, struct gh_error *err)
{
    return g->machine->cfg.accel->debug(g->machine->vm, &g->debug, err);
}

void gdb_attach(struct gh_gdb *g)
{
    struct gh_machine *m = g->machine;

    stand(g);
    memset(&g->debug, 0, sizeof g->debug);
    g->debug.attached = true;
    set_points(g, NULL);
    gh_machine_lock(m);
    g->hit.valid = false;
    m->debug_hit = on_hit;
    m->debug_opaque = g;
    gh_machine_unlock(m);
    tell_stop(g, SIGNAL_TRAP, 0, GH_DEBUG_NONE, 0);
}

void gdb_detach(struct gh_gdb *g)
{
    struct gh_machine *m = g->machine;

    stand(g);
    memset(&g->debug, 0, sizeof g->debug);
    set_points(g, NULL);
    gh_machine_lock(m);
    m->debug_hit = NULL;
    gh_machine_unlock(m);
    if (!g->ended)
        gh_machine_resume(m);
}

void gdb_interrupt(struct gh_gdb *g)
{
    if (!g->running)
        return;
    stand(g);
    tell_stop(g, SIGNAL_INT, g->thread, GH_DEBUG_NONE, 0);
    gdb_send(g, g->stop, strlen(g->stop));
}

enum { HOLD, RUN, STEP };

/* ";c", ";s:1;c", ";C05:2": for each thread the first action that names it, or names none. */
void gdb_continue(struct gh_gdb *g, const char *p)
{
    struct gh_machine *m = g->machine;
    uint8_t what[GH_CPUS_MAX], known[GH_CPUS_MAX] = { 0 };
    uint64_t number;

    memset(what, HOLD, sizeof what);
    while (*p == ';') {
        char action = p[1];
        uint8_t wanted = action == 's' || action == 'S' ? STEP : action == 't' ? HOLD : RUN;
        p += 2;
        if (action == 'C' || action == 'S')
            gdb_number(&p, &number);             /* signals mean nothing to a processor */
        bool all = *p != ':' || p[1] == '-';
        if (*p == ':') {
            p += all ? 3 : 1;
            if (!all && !gdb_number(&p, &number))
                break;
        }
        for (unsigned i = 0; i < m->cfg.cpus; i++)
            if (!known[i] && (all || number == i + 1 || number == 0)) {
                known[i] = true;
                what[i] = wanted;
            }
    }
    g->running = true;
    for (unsigned i = 0; i < m->cfg.cpus; i++)
        m->cfg.accel->debug_step(m->vcpu[i].accel, what[i] == STEP, NULL);
    gh_machine_lock(m);
    g->hit.valid = false;
    for (unsigned i = 0; i < m->cfg.cpus; i++)
        m->vcpu[i].held = what[i] == HOLD;
    gh_machine_unlock(m);
    gh_machine_resume(m);
}

int gdb_point(struct gh_gdb *g, bool add, unsigned type, uint64_t address, unsigned length, struct gh_error *err)
{
    static const uint8_t kinds[] = { GH_DEBUG_EXEC, GH_DEBUG_EXEC, GH_DEBUG_WRITE, GH_DEBUG_READ, GH_DEBUG_ACCESS };
    struct gh_debug *d = &g->debug;

    if (type >= GH_ARRAY_LEN(kinds) || (type == 0 && !plenty(g)))
        return -EOPNOTSUPP;
    if (!length || length > 255)
        return gh_error_set(err, -EINVAL, "DebugPointInvalid", "A debug point has 1 to 255 bytes, not %u.", length);
    struct gh_debug_point p = { address, (uint8_t)length, kinds[type] };
    unsigned i = 0;
    while (i < d->count && (d->point[i].address != p.address || d->point[i].length != p.length || d->point[i].kind != p.kind))
        i++;
    if (add && i < d->count)
        return 0;
    if (!add && i == d->count)
        return 0;
    if (add && d->count == GH_DEBUG_POINTS)
        return gh_error_set(err, -ENOSPC, "DebugPointsUsed", "%d debug points are set already; delete one.", GH_DEBUG_POINTS);
    struct gh_debug before = *d;
    if (add)
        d->point[d->count++] = p;
    else
        d->point[i] = d->point[--d->count];
    int r = set_points(g, err);
    if (r < 0) {
        *d = before;
        set_points(g, NULL);
    }
    return r;
}
