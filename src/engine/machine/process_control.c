/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the outside may ask of a running machine, and what it hears from it: the control verbs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "disk/block.h"
#include "engine/machine/control.h"
#include "engine/machine/display.h"
#include "engine/machine/gdb.h"
#include "engine/machine/machine_internal.h"
#include "engine/machine/net.h"
#include "engine/machine/process_internal.h"
#include "engine/machine/sandbox.h"

enum { FLUSH_MS = 500 };

static const char *state_name(enum gh_machine_state state)
{
    static const char *const names[] = { "created", "running", "paused", "stopped" };
    return names[state];
}

/* gh_control_<verb>_args and _reply, for struct gh_process as opaque. */
#define OP(verb)                                                                                   \
    static int op_##verb(void *opaque, struct gh_control_##verb##_args *args,                      \
                         struct gh_control_##verb##_reply *ret, struct gh_error *err)

/* ---- State ---------------------------------------------------------------------------------- */
OP(status)
{
    struct gh_process *p = opaque;
    struct gh_display_mode mode = { 0 };

    gh_machine_display_mode(p->machine, &mode);
    snprintf(ret->state, sizeof ret->state, "%s", state_name(gh_machine_state(p->machine)));
    snprintf(ret->reason, sizeof ret->reason, "%s", p->trouble.id);
    snprintf(ret->text, sizeof ret->text, "%s", p->trouble.text);
    snprintf(ret->message, sizeof ret->message, "%s", p->trouble.message);
    snprintf(ret->accel, sizeof ret->accel, "%s", p->choice.accel->name);
    snprintf(ret->why, sizeof ret->why, "%.*s", (int)sizeof ret->why - 1, p->choice.why);
    ret->vcpus = p->launch->vcpus;
    ret->memory_bytes = p->launch->memory_bytes;
    ret->run_ns = gh_clock_now(&p->machine->clock);
    ret->width = mode.width;
    ret->height = mode.height;
    ret->pointer_absolute = gh_machine_pointer_is_absolute(p->machine);
    return 0;
}

OP(pause)
{
    gh_machine_pause(((struct gh_process *)opaque)->machine);
    return 0;
}

OP(resume)
{
    struct gh_process *p = opaque;

    gh_machine_lock(p->machine);
    for (unsigned i = 0; i < p->disk_count; i++)
        if (gh_disk_block_stalled(p->disk[i]))
            gh_disk_block_resume(p->disk[i], args->report);
    gh_machine_unlock(p->machine);
    gh_error_clear(&p->trouble);
    gh_machine_resume(p->machine);
    return 0;
}

OP(reset)
{
    gh_machine_reset(((struct gh_process *)opaque)->machine);
    return 0;
}

OP(power_button)
{
    gh_machine_power_button(((struct gh_process *)opaque)->machine);
    return 0;
}

OP(power_off)
{
    gh_machine_stop(((struct gh_process *)opaque)->machine, 0);
    return 0;
}

OP(quit)
{
    gh_machine_stop(((struct gh_process *)opaque)->machine, 0);
    return 0;
}

/* ---- Input and screen -------------------------------------------------------------------------- */
OP(key)
{
    struct gh_process *p = opaque;
    gh_machine_key(p->machine, (uint16_t)args->code, args->down);
    return 0;
}

OP(pointer_absolute)
{
    struct gh_process *p = opaque;
    gh_machine_pointer_abs(p->machine, (uint16_t)args->x, (uint16_t)args->y);
    gh_machine_input_sync(p->machine);
    return 0;
}

OP(pointer_relative)
{
    struct gh_process *p = opaque;
    gh_machine_pointer_rel(p->machine, args->dx, args->dy, args->wheel);
    gh_machine_input_sync(p->machine);
    return 0;
}

OP(button)
{
    struct gh_process *p = opaque;
    gh_machine_button(p->machine, (uint16_t)args->code, args->down);
    gh_machine_input_sync(p->machine);
    return 0;
}

OP(screenshot)
{
    struct gh_process *p = opaque;
    struct gh_display_mode mode = { 0 };
    struct stat st;

    /* Writing to a pipe that nobody reads would stop the machine. */
    if (fstat(args->fd, &st) || !S_ISREG(st.st_mode))
        return gh_error_option(err, -EINVAL, "DescriptorNotFile", "fd",
                               "The descriptor must be a regular file or a memfd.");
    int r = gh_display_screenshot(p->display, args->fd, args->max_width, args->max_height, err);
    if (r)
        return r;
    gh_machine_display_mode(p->machine, &mode);
    ret->width = mode.width;
    ret->height = mode.height;
    ret->bytes = fstat(args->fd, &st) ? 0 : (uint64_t)st.st_size;
    return 0;
}

/* ---- Media ------------------------------------------------------------------------------------------ */
static struct gh_block *find_drive(struct gh_process *p, const char *name, struct gh_error *err)
{
    for (unsigned i = 0; i < p->backend_count; i++)
        if (p->backend[i].type == GH_T_BLOCK && !strcmp(p->backend[i].name, name)) {
            struct gh_block *b = p->backend[i].handle;
            struct gh_block_info info;
            b->ops->info(b, &info);
            if (info.removable || info.hot_plug)
                return b;
            gh_error_option(err, -EINVAL, "DriveNotRemovable", "drive", "“%s” is a disk that stays; CDs, floppies and hot-plug "
                            "disks can be changed while the machine runs.", name);
            return NULL;
        }
    gh_error_option(err, -ENOENT, "DriveUnknown", "drive", "The machine has no drive “%s”.", name);
    return NULL;
}

void gh_process_tell_medium(struct gh_process *p, const char *drive, bool present)
{
    struct gh_control_medium_event event = { .present = present };

    snprintf(event.drive, sizeof event.drive, "%s", drive);
    gh_control_emit(p->control, GH_CONTROL_EVENT_medium, &event);
}

void gh_process_tell_error(struct gh_process *p, const struct gh_error *err)
{
    struct gh_control_error_event event = { 0 };

    gh_log(GH_LOG_WARN, "%s [%s]", err->text, err->id);
    snprintf(event.id, sizeof event.id, "%s", err->id);
    snprintf(event.text, sizeof event.text, "%s", err->text);
    snprintf(event.message, sizeof event.message, "%s", err->message);
    snprintf(event.option, sizeof event.option, "%s", err->option);
    if (p->control)
        gh_control_emit(p->control, GH_CONTROL_EVENT_error, &event);
}

OP(eject)
{
    struct gh_process *p = opaque;

    gh_machine_lock(p->machine);
    struct gh_block *b = find_drive(p, args->drive, err);
    int r = b ? gh_disk_block_eject(b, args->force, err) : -ENOENT;
    gh_machine_unlock(p->machine);
    if (!r)
        gh_process_tell_medium(p, args->drive, false);
    return r;
}

OP(insert)
{
    struct gh_process *p = opaque;

    gh_machine_lock(p->machine);
    struct gh_block *b = find_drive(p, args->drive, err);
    gh_machine_unlock(p->machine);
    if (!b)
        return -ENOENT;
    int flags = fcntl(args->fd, F_GETFL);
    struct gh_image_spec spec = {
        .format = args->format[0] ? args->format : "raw", .label = args->label[0] ? args->label : args->drive,
        .writable = !args->read_only && flags >= 0 && (flags & O_ACCMODE) == O_RDWR, .fd = gh_steal_fd(&args->fd),
    };
    struct gh_image *image = gh_image_open(&spec, err);
    if (!image)
        return -EIO;
    gh_machine_lock(p->machine);
    int r = gh_disk_block_insert(b, image, false, err);
    gh_machine_unlock(p->machine);
    if (!r)
        gh_process_tell_medium(p, args->drive, true);
    return r;
}

/* One at a time: an earlier one that nobody uses any more makes room. */
OP(gdb)
{
    struct gh_process *p = opaque;

    gh_gdb_close(p->gdb);
    p->gdb = NULL;
    return gh_gdb_new(p->loop, p->machine, gh_steal_fd(&args->fd), &p->gdb, err);
}

OP(backend)
{
    struct gh_process *p = opaque;

    if (!strcmp(args->kind, "net")) {
        struct gh_net *n = gh_process_net(p, args->name, err);
        return n ? gh_net_connect(n, args->connect[0] ? args->connect : NULL, args->forwards, gh_steal_fd(&args->fd), err) : -ENOENT;
    }
    if (strcmp(args->kind, "display"))
        return gh_error_option(err, -EOPNOTSUPP, "VerbUnsupported", "kind", "A backend of kind “%s” cannot be "
                               "replaced while the machine runs.", args->kind);
    if (args->fd < 0)
        return gh_error_option(err, -EINVAL, "ArgumentMissing", "fd", "A display's backend comes with its socket.");
    return gh_display_add_backend(p->display, gh_steal_fd(&args->fd), err);
}

static void op_input_sync(void *opaque) { gh_machine_input_sync(((struct gh_process *)opaque)->machine); }

static void op_counters(void *opaque, void (*visit)(void *, const char *, uint64_t), void *visit_opaque)
{
    struct gh_process *p = opaque;

    gh_machine_counters(p->machine, visit, visit_opaque);
    for (unsigned i = 0; i < p->disk_count; i++) {
        struct gh_disk_block_counters c;
        gh_disk_block_counters(p->disk[i], &c);
        const struct { const char *what; uint64_t value; } rows[] = {
            { "reads", c.reads }, { "writes", c.writes }, { "flushes", c.flushes }, { "read-bytes", c.read_bytes },
            { "write-bytes", c.write_bytes }, { "errors", c.errors },
        };
        for (unsigned k = 0; k < GH_ARRAY_LEN(rows); k++) {
            char name[64];
            snprintf(name, sizeof name, "%.32s.%s", p->disk[i]->name, rows[k].what);
            visit(visit_opaque, name, rows[k].value);
        }
    }
    gh_process_net_counters(p, visit, visit_opaque);
}

static struct gh_control_ops ops = { /* process_net.c adds its own */
    .status = op_status, .pause = op_pause, .resume = op_resume, .reset = op_reset, .power_button = op_power_button,
    .power_off = op_power_off, .quit = op_quit, .key = op_key, .pointer_absolute = op_pointer_absolute,
    .pointer_relative = op_pointer_relative, .button = op_button, .screenshot = op_screenshot, .eject = op_eject,
    .insert = op_insert, .gdb = op_gdb, .backend = op_backend, .input_sync = op_input_sync, .counters = op_counters,
};

/* ---- Events ------------------------------------------------------------------------------------------- */
static void on_state(void *opaque, enum gh_machine_state state, const struct gh_error *why)
{
    struct gh_process *p = opaque;
    struct gh_control_state_event event = { 0 };

    gh_error_clear(&p->trouble);
    if (gh_error_is_set(why)) {
        p->trouble = *why;
        gh_log(GH_LOG_WARN, "%s [%s]", why->text, why->id);
    }
    snprintf(event.state, sizeof event.state, "%s", state_name(state));
    snprintf(event.reason, sizeof event.reason, "%s", p->trouble.id);
    snprintf(event.text, sizeof event.text, "%s", p->trouble.text);
    snprintf(event.message, sizeof event.message, "%s", p->trouble.message);
    gh_control_emit(p->control, GH_CONTROL_EVENT_state, &event);
    if (state == GH_MACHINE_PAUSED)
        gh_gdb_paused(p->gdb);
}

static void on_guest_panic(void *opaque, uint64_t bits)
{
    struct gh_process *p = opaque;
    struct gh_control_guest_panic_event event = { .bits = (uint32_t)bits };

    gh_control_emit(p->control, GH_CONTROL_EVENT_guest_panic, &event);
}

static void on_screen(void *opaque, const struct gh_display_mode *mode)
{
    struct gh_process *p = opaque;
    struct gh_control_screen_event event = { .width = mode->width, .height = mode->height };

    gh_control_emit(p->control, GH_CONTROL_EVENT_screen, &event);
}

static void on_stopped(void *opaque, int status)
{
    struct gh_process *p = opaque;
    struct gh_control_stopped_event event = { .status = status };

    gh_log(GH_LOG_INFO, "the machine stopped with status %d", status);
    gh_gdb_ended(p->gdb, status);
    gh_control_emit(p->control, GH_CONTROL_EVENT_stopped, &event);
    gh_loop_quit(p->loop, status);
}

/* Nobody is left who holds the machine's lock: end in order. */
static void on_supervisor_lost(void *opaque)
{
    struct gh_process *p = opaque;

    if (p->machine)
        gh_machine_stop(p->machine, 0);
    else
        gh_loop_quit(p->loop, 1);
}

/* ---- Lifetime ------------------------------------------------------------------------------------------ */
int gh_process_control(struct gh_process *p, const struct gh_process_hooks *hooks, struct gh_machine_events *events, struct gh_error *err)
{
    p->hooks = hooks;
    if (p->launch->accel_note[0])
        snprintf(p->choice.why, sizeof p->choice.why, "%s", p->launch->accel_note);
    events->state = on_state;
    events->guest_panic = on_guest_panic;
    events->screen = on_screen;
    events->stopped = on_stopped;
    gh_process_net_ops(&ops);
    int r = gh_control_new(p->loop, &ops, p, p->launch->name, p->launch->uuid, &p->control, err);
    if (r == 0 && hooks && hooks->control_fd >= 0)
        r = gh_control_add(p->control, hooks->control_fd, true, on_supervisor_lost, p, err);
    return r ? r : gh_display_new(&gh_display_machine_host, NULL, 0, &p->display, err);
}

/* The main thread runs no guest. By post: the vCPU threads, made after the sandbox, inherit its filters. */
static void narrow_main(void *opaque)
{
    struct gh_error err = { 0 };

    if (gh_sandbox_thread(GH_SANDBOX_MAIN, &err))
        gh_log(GH_LOG_WARN, "%s", err.text);
}

int gh_process_ready(struct gh_process *p, struct gh_error *err)
{
    struct gh_control_started_event event = { 0 };
    int r = 0;

    gh_display_bind_machine(p->display, p->machine);
    for (unsigned i = 0; r == 0 && i < p->launch->backend_count; i++)
        if (!strcmp(p->launch->backends[i].kind, "display"))
            r = gh_display_add_backend(p->display, gh_steal_fd(&p->launch->backends[i].fd), err);
    if (r == 0)
        r = gh_display_start(p->display, err);
    if (r == 0 && p->launch->gdb_fd >= 0)
        r = gh_gdb_new(p->loop, p->machine, gh_steal_fd(&p->launch->gdb_fd), &p->gdb, err);
    if (r == 0 && p->hooks && p->hooks->enter)
        r = p->hooks->enter(p->hooks->opaque, err);
    if (r)
        return r;
    gh_loop_post(p->loop, narrow_main, p);
    gh_display_sandboxed(p->display);
    snprintf(event.accel, sizeof event.accel, "%s", p->choice.accel->name);
    snprintf(event.text, sizeof event.text, "%.*s", (int)sizeof event.text - 1, p->choice.why);
    gh_control_emit(p->control, GH_CONTROL_EVENT_started, &event);
    return 0;
}

void gh_process_control_free(struct gh_process *p)
{
    gh_gdb_free(p->gdb);
    p->gdb = NULL;
    gh_control_flush(p->control, FLUSH_MS);
    gh_control_free(p->control);
    p->control = NULL;
    gh_display_free(p->display);
    p->display = NULL;
}
