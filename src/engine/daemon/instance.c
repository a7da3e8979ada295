/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A running machine as the daemon sees it: a control connection, nothing else. The process is started
 * in a session of its own and outlives the daemon; a new daemon finds it by its socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "engine/daemon/daemon.h"
#include "engine/machine/cmdline.h"

enum { CONNECT_INTERVAL_MS = 50, CONNECT_TRIES = 400, LOG_BYTES_MAX = 10 << 20 };

struct call { guint32 id; gh_instance_reply reply; void *opaque; };

struct gh_instance {
    struct gh_daemon_machine *machine;
    GPid pid;                          /* 0: found again, not our child */
    guint child_watch, connect_timer, socket_watch;
    unsigned tries;
    int socket;
    gboolean ready;                    /* hello was answered */
    guint32 next_id;
    GList *calls;
    char state[16], running_on[12], running_why[700];
    guint32 width, height;
    char *error_path;                  /* the program's last words */
    int notify;                        /* where the supervisor says how the start went; -1: it has */
    guint notify_watch;
    struct gh_error failure;
};

static char *runtime_folder(const struct gh_daemon_machine *m)
{ return g_build_filename(m->daemon->runtime, m->definition->uuid, NULL); }

char *gh_instance_socket(const struct gh_daemon_machine *m, const char *name)
{
    g_autofree char *folder = runtime_folder(m);
    return g_build_filename(folder, name, NULL);
}

const char *gh_instance_state(const struct gh_daemon_machine *m)
{ return m->instance ? m->instance->state : "off"; }

static void set_state(struct gh_instance *i, const char *state)
{
    g_strlcpy(i->state, state, sizeof i->state);
    gh_engine1_machine_set_state(i->machine->iface, i->state);
    g_dbus_interface_skeleton_flush(G_DBUS_INTERFACE_SKELETON(i->machine->iface));
}

void gh_instance_describe(struct gh_daemon_machine *m)
{
    struct gh_instance *i = m->instance;

    gh_engine1_machine_set_state(m->iface, i->state);
    gh_engine1_machine_set_running_on(m->iface, i->running_on);
    gh_engine1_machine_set_running_why(m->iface, i->running_why);
    gh_engine1_machine_set_pid(m->iface, (guint)i->pid);
    gh_engine1_machine_set_screen_width(m->iface, i->width);
    gh_engine1_machine_set_screen_height(m->iface, i->height);
    g_dbus_interface_skeleton_flush(G_DBUS_INTERFACE_SKELETON(m->iface));
}

static void answer(struct gh_instance *i, struct call *c, const struct gh_error *err, json_t *reply)
{
    if (c->reply)
        c->reply(i->machine, err, reply, -1, c->opaque);
    g_free(c);
}

static void forget_calls(struct gh_instance *i)
{
    struct gh_error gone = { 0 };

    gh_error_set(&gone, -ECONNRESET, "MachineGone", "“%s” ended before it answered.", i->machine->definition->name);
    while (i->calls) {
        struct call *c = i->calls->data;
        i->calls = g_list_delete_link(i->calls, i->calls);
        answer(i, c, &gone, NULL);
    }
}

static void close_socket(struct gh_instance *i)
{
    g_clear_handle_id(&i->socket_watch, g_source_remove);
    g_clear_handle_id(&i->connect_timer, g_source_remove);
    if (i->socket >= 0)
        close(i->socket);
    i->socket = -1;
}

static void close_notify(struct gh_instance *i)
{
    g_clear_handle_id(&i->notify_watch, g_source_remove);
    if (i->notify >= 0)
        close(i->notify);
    i->notify = -1;
}

void gh_instance_free(struct gh_daemon_machine *m)
{
    struct gh_instance *i = m->instance;

    if (!i)
        return;
    forget_calls(i);
    close_socket(i);
    close_notify(i);
    g_clear_handle_id(&i->child_watch, g_source_remove);
    g_free(i->error_path);
    g_free(i);
    m->instance = NULL;
    gh_network_forget(m);
}

/* "gasthaus-vm: sentence [Id]" is what the program says when it cannot run. */
static void last_words(struct gh_instance *i, int status, struct gh_error *err)
{
    g_autofree char *text = NULL;
    const char *name = i->machine->definition->name;

    if (gh_error_is_set(&i->failure)) {
        *err = i->failure;
        return;
    }
    if (i->error_path && g_file_get_contents(i->error_path, &text, NULL, NULL)) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (unsigned n = g_strv_length(lines); n-- > 0;) {
            char *open = strrchr(lines[n], '['), *close = strrchr(lines[n], ']'), *colon = strstr(lines[n], ": ");
            if (!open || !close || close < open || !colon || colon > open)
                continue;
            g_autofree char *id = g_strndup(open + 1, (gsize)(close - open - 1));
            g_autofree char *sentence = g_strndup(colon + 2, (gsize)(open - colon - 2));
            if (id[0] && !strpbrk(id, " .")) {
                gh_error_set(err, -EIO, id, "%s", g_strstrip(sentence));
                return;
            }
        }
    }
    if (WIFSIGNALED(status))
        gh_error_set(err, -EIO, "MachineCrashed", "“%s” stopped unexpectedly (signal %d). What it wrote to its disks is there; start it again, "
                     "or look at its log.", name, WTERMSIG(status));
    else
        gh_error_set(err, -EIO, "MachineFailed", "“%s” ended with status %d; its log says more.", name, WEXITSTATUS(status));
}

static void ended(struct gh_daemon_machine *m, gboolean failed, int status)
{
    struct gh_error err = { 0 };

    if (failed)
        last_words(m->instance, status, &err);
    gh_instance_free(m);
    if (failed)
        gh_daemon_machine_error(m, &err);
    gh_daemon_machine_refresh(m);
}

static void child_exited(GPid pid, int status, gpointer data)
{
    struct gh_daemon_machine *m = data;
    /* 2: it could not start; 128 + n: its supervisor saw the machine killed by signal n. */
    gboolean clean = WIFEXITED(status) && WEXITSTATUS(status) != 2 && WEXITSTATUS(status) <= 128;

    m->instance->child_watch = 0;
    g_spawn_close_pid(pid);
    ended(m, !clean, status);
}

/* ---- The connection ---------------------------------------------------------------------------- */
static void take_status(struct gh_instance *i, json_t *status)
{
    const char *state = json_string_value(json_object_get(status, "state"));
    const char *accel = json_string_value(json_object_get(status, "accel"));
    const char *why = json_string_value(json_object_get(status, "why"));

    if (accel)
        g_strlcpy(i->running_on, accel, sizeof i->running_on);
    if (why)
        g_strlcpy(i->running_why, why, sizeof i->running_why);
    i->width = (guint32)json_integer_value(json_object_get(status, "width"));
    i->height = (guint32)json_integer_value(json_object_get(status, "height"));
    if (state)
        g_strlcpy(i->state, !strcmp(state, "created") ? "starting" : state, sizeof i->state);
    gh_instance_describe(i->machine);
}

void gh_instance_take_status(struct gh_daemon_machine *m, void *status)
{
    if (m->instance)
        take_status(m->instance, status);
}

static void take_event(struct gh_instance *i, const char *event, json_t *json)
{
    struct gh_error err = { 0 };
    const char *id = json_string_value(json_object_get(json, "id")), *text = json_string_value(json_object_get(json, "text"));
    const char *message = json_string_value(json_object_get(json, "message"));

    if (!strcmp(event, "state")) {
        const char *state = json_string_value(json_object_get(json, "state"));
        const char *reason = json_string_value(json_object_get(json, "reason"));
        if (state)
            set_state(i, !strcmp(state, "stopped") ? "stopping" : state);
        if (reason && reason[0]) {
            gh_error_carry(&err, -EIO, reason, NULL, text ? text : reason, message);
            gh_daemon_machine_error(i->machine, &err);
        }
    } else if (!strcmp(event, "screen-size")) {
        i->width = (guint32)json_integer_value(json_object_get(json, "width"));
        i->height = (guint32)json_integer_value(json_object_get(json, "height"));
        gh_instance_describe(i->machine);
    } else if (!strcmp(event, "guest-panic")) {
        gh_engine1_machine_emit_panicked(i->machine->iface);
    } else if (!strcmp(event, "net")) {
        gh_network_ask(i->machine, json_string_value(json_object_get(json, "adapter")));
    } else if (!strcmp(event, "error") && id) {
        gh_error_carry(&err, -EIO, id, NULL, text ? text : id, message);
        gh_daemon_machine_error(i->machine, &err);
    }
}

static void take_reply(struct gh_instance *i, json_t *json)
{
    guint32 id = (guint32)json_integer_value(json_object_get(json, "id"));
    json_t *error = json_object_get(json, "error");
    struct gh_error err = { 0 };

    for (GList *l = i->calls; l; l = l->next) {
        struct call *c = l->data;
        if (c->id != id)
            continue;
        i->calls = g_list_delete_link(i->calls, l);
        if (error) {
            const char *eid = json_string_value(json_object_get(error, "id")), *text = json_string_value(json_object_get(error, "text"));
            gh_error_carry(&err, -EIO, eid ? eid : "Failed", NULL, text ? text : "The machine refused.",
                           json_string_value(json_object_get(error, "message")));
        }
        answer(i, c, error ? &err : NULL, json_object_get(json, "ok"));
        return;
    }
}

static gboolean socket_ready(int fd, GIOCondition condition, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_packet packet = { 0 };
    struct gh_error err = { 0 };
    int r = gh_packet_recv(fd, &packet, &err);

    if (r == -EAGAIN)
        return G_SOURCE_CONTINUE;
    if (r <= 0) { /* the machine is gone, or talks nonsense: either way this connection has ended */
        struct gh_instance *i = m->instance;
        i->socket_watch = 0;
        close_socket(i);
        if (!i->pid)
            ended(m, FALSE, 0);
        return G_SOURCE_REMOVE;
    }
    const char *event = json_string_value(json_object_get(packet.json, "event"));
    if (event)
        take_event(m->instance, event, packet.json);
    else
        take_reply(m->instance, packet.json);
    gh_packet_clear(&packet);
    return G_SOURCE_CONTINUE;
}

void gh_instance_call(struct gh_daemon_machine *m, const char *verb, void *parameters, int fd, gh_instance_reply reply, void *opaque)
{
    struct gh_instance *i = m->instance;
    json_t *request = parameters ? parameters : json_object();
    struct gh_error err = { 0 };
    struct call *c = g_new0(struct call, 1);

    *c = (struct call){ ++i->next_id, reply, opaque };
    json_object_set_new(request, "id", json_integer(c->id));
    json_object_set_new(request, "verb", json_string(verb));
    if (fd >= 0)
        json_object_set_new(request, "fd", json_integer(0));
    if (i->socket < 0)
        gh_error_set(&err, -ENOTCONN, "MachineStarting", "“%s” is still starting; try again in a moment.", m->definition->name);
    else
        gh_packet_send(i->socket, request, fd >= 0 ? &fd : NULL, fd >= 0, &err);
    json_decref(request);
    if (fd >= 0)
        close(fd);
    if (err.code)
        answer(i, c, &err, NULL);
    else
        i->calls = g_list_append(i->calls, c);
}

static void status_done(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque)
{
    if (!err && m->instance)
        take_status(m->instance, reply);
}

static void hello_done(struct gh_daemon_machine *m, const struct gh_error *err, void *reply, int fd, void *opaque)
{
    if (err || !m->instance)
        return;
    m->instance->ready = TRUE;
    gh_network_ask(m, NULL);
    gh_instance_call(m, "status", NULL, -1, status_done, NULL);
}

static gboolean try_connect(struct gh_instance *i)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    g_autofree char *path = gh_instance_socket(i->machine, "control");

    if (strlen(path) >= sizeof a.sun_path)
        return FALSE;
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        if (fd >= 0)
            close(fd);
        return FALSE;
    }
    i->socket = fd;
    i->socket_watch = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, socket_ready, i->machine);
    gh_instance_call(i->machine, "hello", json_pack("{s:i, s:s}", "version", 1, "client", "gasthausd"), -1, hello_done, NULL);
    return TRUE;
}

static gboolean connect_again(gpointer data)
{
    struct gh_daemon_machine *m = data;

    if (try_connect(m->instance) || ++m->instance->tries > CONNECT_TRIES) {
        m->instance->connect_timer = 0;
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static struct gh_instance *instance_new(struct gh_daemon_machine *m)
{
    struct gh_instance *i = g_new0(struct gh_instance, 1);

    i->machine = m;
    i->socket = i->notify = -1;
    strcpy(i->state, "starting");
    m->instance = i;
    return i;
}

gboolean gh_instance_attach(struct gh_daemon_machine *m)
{
    struct gh_instance *i = instance_new(m);

    if (try_connect(i))
        return TRUE;
    gh_instance_free(m);
    return FALSE;
}

/* ---- Starting ---------------------------------------------------------------------------------------- */
static void arg(GPtrArray *args, const char *option, const char *value)
{
    g_ptr_array_add(args, g_strdup(option));
    if (value)
        g_ptr_array_add(args, g_strdup(value));
}

/* A comma in a file's name is doubled, as the option's syntax wants it. */
static char *quote_commas(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, ",", -1);
    return g_strjoinv(",,", parts);
}

static void media_args(GPtrArray *args, const struct gh_daemon_machine *m)
{
    for (unsigned n = 0; n < m->definition->medium_count; n++) {
        const struct gh_medium *medium = &m->definition->medium[n];
        g_autofree char *path = gh_daemon_machine_medium_path(m, medium);
        if (medium->kind == GH_MEDIUM_CDROM) {
            g_autofree char *quoted = quote_commas(path ? path : "none");
            g_autofree char *value = g_strdup_printf("%s,bus=%s", quoted, medium->bus);
            arg(args, "--cdrom", value);
        } else if (medium->kind == GH_MEDIUM_FLOPPY && path) {
            arg(args, "--floppy", path);
        } else if (medium->kind == GH_MEDIUM_DISK && path) {
            g_autofree char *quoted = quote_commas(path);
            g_autoptr(GString) value = g_string_new(NULL);
            g_string_printf(value, "file=%s,format=%s,bus=%s%s%s%s", quoted, medium->format, medium->bus,
                            strcmp(medium->mode, "read-only") && strcmp(medium->mode, "shared") ? "" : ",readonly", strcmp(medium->mode, "immutable") ? "" : ",snapshot",
                            medium->keep_space ? ",discard=off" : "");
            if (medium->cache[0])
                g_string_append_printf(value, ",cache=%s", medium->cache);
            if (medium->limit_bytes)
                g_string_append_printf(value, ",bps=%llu", (unsigned long long)medium->limit_bytes);
            if (medium->limit_ops)
                g_string_append_printf(value, ",iops=%u", medium->limit_ops);
            arg(args, "--disk", value->str);
        }
    }
}

static void network_args(GPtrArray *args, const struct gh_definition *d)
{
    for (unsigned i = 0; i < d->network_count; i++) {
        g_autofree char *words = gh_network_words(&d->network[i]);
        arg(args, "--net", words);
    }
}

static GPtrArray *command(const struct gh_daemon_machine *m, const char *folder, gboolean paused, struct gh_error *err)
{
    const struct gh_definition *d = m->definition;
    GPtrArray *args = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *memory = g_strdup_printf("%lluM", (unsigned long long)(d->memory_bytes >> 20));
    g_autofree char *cpus = g_strdup_printf("%u", d->cpus);
    g_autofree char *video = g_strdup_printf("vga,id=vga,vram_mb=%u", d->video_mib);

    arg(args, m->daemon->vm_program, NULL);
    arg(args, "--name", d->name);
    arg(args, "--uuid", d->uuid);
    arg(args, "--memory", memory);
    arg(args, "--cpus", cpus);
    arg(args, "--accel", d->accelerator);
    arg(args, "--boot", d->boot_order);
    arg(args, "--rtc", d->clock_base);
    arg(args, "--device", video);
    if (d->cpu_model[0])
        arg(args, "--cpu", d->cpu_model);
    /* Windows brings no drivers for these; everything else that people run today does. */
    gboolean virtio = !strstr(d->os_id, "microsoft");
    if (!strcmp(d->pointer, "tablet") || (!strcmp(d->pointer, "auto") && virtio))
        arg(args, "--device", "virtio-tablet,id=tablet");
    if (virtio)
        arg(args, "--device", "virtio-rng,id=rng");
    else
        arg(args, "--hyperv", NULL);
    if (paused)
        arg(args, "--paused", NULL);
    static const char *const sockets[][2] = { { "--display", "display" }, { "--control", "control" }, { "--serial", "serial" } };
    for (unsigned n = 0; n < G_N_ELEMENTS(sockets); n++) {
        g_autofree char *value = g_strdup_printf("unix:%s/%s", folder, sockets[n][1]);
        arg(args, sockets[n][0], value);
    }
    media_args(args, m);
    network_args(args, d);
    if (gh_firmware_args(m, args, err) < 0) {
        g_ptr_array_unref(args);
        return NULL;
    }
    g_ptr_array_add(args, NULL);
    return args;
}

/* The supervisor says once how the start went. */
static gboolean notified(int fd, GIOCondition condition, gpointer data)
{
    struct gh_daemon_machine *m = data;
    struct gh_packet packet = { 0 };

    if (gh_packet_recv(fd, &packet, NULL) > 0) {
        const char *event = json_string_value(json_object_get(packet.json, "event"));
        const char *id = json_string_value(json_object_get(packet.json, "id")), *text = json_string_value(json_object_get(packet.json, "text"));
        if (event && !strcmp(event, "failed") && id && text)
            gh_error_carry(&m->instance->failure, -EIO, id, NULL, text, json_string_value(json_object_get(packet.json, "message")));
        gh_packet_clear(&packet);
    }
    m->instance->notify_watch = 0;
    close_notify(m->instance);
    return G_SOURCE_REMOVE;
}

/* The launch description, files opened, from the options that a person would give. */
static int describe_launch(const struct gh_daemon_machine *m, const char *folder, gboolean paused, struct gh_cmdline *cmd, struct gh_error *err)
{
    g_autoptr(GPtrArray) args = command(m, folder, paused, err);

    if (!args)
        return err->code;
    int r = gh_cmdline_parse((int)args->len - 1, (char **)args->pdata, cmd, err);
    return r < 0 ? r : 0;
}

/* Starts the program with its end of the pair as descriptor 3; it makes a session of its own. */
static int spawn(struct gh_daemon_machine *m, int launch_fd, int log_fd, GPid *ret_pid, struct gh_error *err)
{
    static const int target = 3;
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "GH_LOG", "info", FALSE);
    const char *const argv[] = { m->daemon->vm_program, "--launch-fd", "3", NULL };

    if (g_spawn_async_with_pipes_and_fds(NULL, argv, (const char *const *)env, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDIN_FROM_DEV_NULL, NULL, NULL,
                                         -1, log_fd, log_fd, &launch_fd, &target, 1, ret_pid, NULL, NULL, NULL, &error))
        return 0;
    return gh_error_set(err, -EIO, "ProgramFailed", "The program “%s” cannot be started: %s.", m->daemon->vm_program, error->message);
}

static int open_log(struct gh_daemon_machine *m, char **ret_path, struct gh_error *err)
{
    g_autofree char *logs = g_build_filename(m->folder, "logs", NULL);
    g_autofree char *path = g_build_filename(logs, "machine.log", NULL);
    g_autofree char *old = g_strconcat(path, ".1", NULL);
    GStatBuf st;

    g_mkdir(logs, 0700);
    if (g_stat(path, &st) == 0 && st.st_size > LOG_BYTES_MAX)
        g_rename(path, old);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return gh_error_set(err, -errno, "LogFailed", "The log “%s” cannot be written: %s.", path, strerror(errno));
    *ret_path = g_steal_pointer(&path);
    return fd;
}

int gh_instance_start(struct gh_daemon_machine *m, gboolean paused, struct gh_error *err)
{
    g_autofree char *folder = runtime_folder(m);
    g_autofree char *log = NULL;
    struct gh_cmdline cmd = { 0 };
    int pair[2] = { -1, -1 }, log_fd = -1;
    GPid pid = 0;

    if (g_mkdir_with_parents(folder, 0700) < 0)
        return gh_error_set(err, -errno, "RuntimeFolderFailed", "The folder “%s” cannot be made: %s.", folder, strerror(errno));
    int r = describe_launch(m, folder, paused, &cmd, err);
    if (r == 0)
        r = log_fd = open_log(m, &log, err);
    if (r >= 0) {
        dprintf(log_fd, "--- start of %s\n", m->definition->name);
        r = gh_packet_pair(pair, err);
    }
    if (r == 0)
        r = spawn(m, pair[1], log_fd, &pid, err);
    if (r == 0) {
        struct gh_instance *i = instance_new(m);
        i->pid = pid;
        i->error_path = g_steal_pointer(&log);
        i->child_watch = g_child_watch_add(pid, child_exited, m);
        i->connect_timer = g_timeout_add(CONNECT_INTERVAL_MS, connect_again, m);
        i->notify = pair[0];
        pair[0] = -1;
        i->notify_watch = g_unix_fd_add(i->notify, G_IO_IN | G_IO_HUP | G_IO_ERR, notified, m);
        r = gh_launch_send(cmd.launch, i->notify, err);
        if (r) /* it ends by itself: nobody says what to run */
            close_notify(i);
    }
    gh_cmdline_fini(&cmd); /* the machine has its own descriptors now */
    const int fds[] = { pair[0], pair[1], log_fd };
    for (unsigned n = 0; n < G_N_ELEMENTS(fds); n++)
        if (fds[n] >= 0)
            close(fds[n]);
    return r < 0 ? r : 0;
}
