/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "engine/accel/accel.h"
#include "engine/machine/cmdline.h"
#include "engine/machine/runtime.h"
#include "engine/machine/supervisor_child.h"
#include "engine/machine/supervisor_net.h"
#include "engine/machine/supervisor_requests.h"

#define POWER_BUTTON_GRACE_NS 20000000000ull
#define BACKEND_STEADY_NS     60000000000ull /* lived that long: its earlier deaths are forgotten */

struct display_backend {
    char    *program;
    int      listen_fd, pidfd;
    pid_t    pid;
    unsigned deaths;
    int      status;                   /* of its last end, as wait gives it */
    uint64_t started_ns;
    struct gh_loop_source *source;
    struct gh_loop_timer *retry;
};

struct supervisor {
    const struct gh_supervisor_config *cfg;
    struct gh_loop *loop;
    struct gh_runtime rt;
    int      sock, machine_pidfd, control_fd, signal_fd, notify_fd, requests_fd;
    pid_t    machine_pid;
    struct gh_loop_source *sock_source;
    struct gh_loop_timer *grace;
    unsigned next_id;
    bool     asked, started;
    struct display_backend display;
    struct gh_supervisor_net *net;
    struct gh_requests *requests;
    char   **sockets;                  /* paths to remove in the end */
    unsigned socket_count;
    int      terminal;                 /* -1: left as it is */
    struct termios terminal_was;
    int      exit_status, exit_signal;
    struct gh_error failure;
};

/* A socket of ours at path, removed again at the end. Only with the lock: one that stands there already was
 * left by a machine that ended, and nobody else's. */
static int listen_at(struct supervisor *s, const char *option, const char *path, int type, int *ret_fd, struct gh_error *err)
{
    char **more = realloc(s->sockets, (s->socket_count + 1) * sizeof *more);

    if (!more)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the supervisor.");
    s->sockets = more;
    *ret_fd = gh_listen_unix(option, path, type, err);
    if (*ret_fd < 0)
        return *ret_fd;
    more[s->socket_count] = strdup(path);
    s->socket_count += more[s->socket_count] != NULL;
    return 0;
}

/* ---- Talking to the machine process ----------------------------------------------------------- */
/* Takes object. fd stays the caller's. */
static void ask_machine(struct supervisor *s, const char *verb, json_t *object, int fd)
{
    struct gh_error err = { 0 };

    json_object_set_new(object, "id", json_integer(++s->next_id));
    json_object_set_new(object, "verb", json_string(verb));
    if (s->sock < 0 || gh_packet_send(s->sock, object, &fd, fd >= 0, &err))
        gh_log(GH_LOG_WARN, "the machine cannot be asked to %s: %s", verb, err.text);
    json_decref(object);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void machine_event(struct supervisor *s, const char *event, const json_t *packet)
{
    if (!strcmp(event, "started")) {
        s->started = true;
        gh_runtime_state(&s->rt, s->cfg->launch->paused ? "paused" : "running");
    } else if (!strcmp(event, "state")) {
        gh_runtime_state(&s->rt, text_of(packet, "state"));
    } else if (!strcmp(event, "net") && json_is_false(json_object_get(packet, "backend"))) {
        gh_supervisor_net_lost(s->net, text_of(packet, "adapter"));
    } else if (!strcmp(event, "failed")) {
        gh_error_carry(&s->failure, -EIO, text_of(packet, "id"), text_of(packet, "option"), text_of(packet, "text"),
                       text_of(packet, "message"));
    }
    /* Whoever started us by a socket learns how the start went, then hears no more here. */
    if (s->notify_fd >= 0 && (!strcmp(event, "started") || !strcmp(event, "failed"))) {
        gh_packet_send(s->notify_fd, packet, NULL, 0, NULL);
        close(s->notify_fd);
        s->notify_fd = -1;
    }
}

static void on_machine(void *opaque, int fd, uint32_t events)
{
    struct supervisor *s = opaque;
    struct gh_packet   p;
    struct gh_error    err = { 0 };
    int r = gh_packet_recv(fd, &p, &err);

    if (r == -EAGAIN)
        return;
    if (r <= 0) { /* its end, which the pidfd reports, or nonsense, which ends the conversation */
        gh_loop_fd_free(s->sock_source);
        s->sock_source = NULL;
        close(s->sock);
        s->sock = -1;
        return;
    }
    const char *event = json_string_value(json_object_get(p.json, "event"));
    const json_t *error = json_object_get(p.json, "error");
    if (event)
        machine_event(s, event, p.json);
    else if (error)
        gh_log(GH_LOG_WARN, "%s [%s]", text_of(error, "text"), text_of(error, "id"));
    gh_packet_clear(&p);
}

static void on_machine_end(void *opaque, int fd, uint32_t events)
{
    struct supervisor *s = opaque;
    int status = 0;

    if (waitpid(s->machine_pid, &status, WNOHANG) != s->machine_pid)
        return;
    while (s->sock >= 0) /* its last words */
        on_machine(s, s->sock, EPOLLIN);
    s->machine_pid = 0;
    if (WIFSIGNALED(status))
        s->exit_signal = WTERMSIG(status);
    else
        s->exit_status = WEXITSTATUS(status);
    gh_loop_quit(s->loop, 0);
}

static int machine_start(struct supervisor *s, struct gh_error *err)
{
    char *argv[] = { (char *)"gasthaus-vm", (char *)"--machine-fd", (char *)"3", NULL };
    int   pair[2];
    int   r = gh_packet_pair(pair, err);

    if (r)
        return r;
    s->sock = pair[0];
    r = gh_child_spawn("/proc/self/exe", argv, &(struct gh_child_fd){ pair[1], 3 }, 1, &s->machine_pid,
                       &s->machine_pidfd, err);
    close(pair[1]);
    if (r)
        return r;
    s->rt.machine_pid = s->machine_pid;
    r = gh_launch_send(s->cfg->launch, s->sock, err);
    if (r)
        return r;
    fcntl(s->sock, F_SETFL, O_NONBLOCK);
    s->sock_source = gh_loop_fd(s->loop, s->sock, EPOLLIN, on_machine, s);
    if (!s->sock_source || !gh_loop_fd(s->loop, s->machine_pidfd, EPOLLIN, on_machine_end, s))
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the supervisor.");
    return 0;
}

/* ---- Clients of the control socket ---------------------------------------------------------------- */
static void on_client(void *opaque, int fd, uint32_t events)
{
    struct supervisor *s = opaque;
    gh_autoclose int client = gh_peer_accept(fd);

    if (client >= 0)
        ask_machine(s, "add-client", json_pack("{s:i}", "fd", 0), client);
}

/* ---- The display backend ----------------------------------------------------------------------------- */
static void on_display_end(void *opaque, int fd, uint32_t events);

/* ret_sock: the machine's end. */
static int display_spawn(struct supervisor *s, int *ret_sock, struct gh_error *err)
{
    struct display_backend *d = &s->display;
    char  name[sizeof ((struct gh_runtime *)0)->name + 8];
    char *argv[] = { (char *)"gasthaus-backend", (char *)"display", (char *)"--control-fd=3", (char *)"--listen-fd=4",
                     name, NULL };
    int   pair[2];
    int   r = gh_packet_pair(pair, err);

    if (r)
        return r;
    snprintf(name, sizeof name, "--name=%s", s->rt.name[0] ? s->rt.name : "Gasthaus");
    const struct gh_child_fd fds[] = { { pair[1], 3 }, { d->listen_fd, 4 } };
    r = gh_child_spawn(d->program, argv, fds, 2, &d->pid, &d->pidfd, err);
    close(pair[1]);
    if (r) {
        close(pair[0]);
        return r;
    }
    d->started_ns = gh_loop_now_ns();
    d->source = gh_loop_fd(s->loop, d->pidfd, EPOLLIN, on_display_end, s);
    *ret_sock = pair[0];
    return 0;
}

static void on_display_retry(void *opaque)
{
    struct supervisor *s = opaque;
    struct gh_error    err = { 0 };
    gh_autoclose int   sock = -1;

    /* Told now and not at its end, which a machine's end is too. */
    gh_log(GH_LOG_WARN, "the display of “%s” ended (%s %d) and is started again", s->rt.name, WIFSIGNALED(s->display.status) ? "signal" : "status",
           WIFSIGNALED(s->display.status) ? WTERMSIG(s->display.status) : WEXITSTATUS(s->display.status));
    if (display_spawn(s, &sock, &err)) {
        gh_log(GH_LOG_ERROR, "%s", err.text);
        return;
    }
    ask_machine(s, "backend", json_pack("{s:s, s:s, s:i}", "kind", "display", "name", "display0", "fd", 0), sock);
}

static void on_display_end(void *opaque, int fd, uint32_t events)
{
    static const uint64_t delay_ns[] = { 200000000, 1000000000, 5000000000 };
    struct supervisor      *s = opaque;
    struct display_backend *d = &s->display;
    int status = 0;

    if (waitpid(d->pid, &status, WNOHANG) != d->pid)
        return;
    gh_loop_fd_free(d->source);
    d->source = NULL;
    close(d->pidfd);
    d->pidfd = -1;
    d->pid = 0;
    if (!s->machine_pid || s->asked)
        return;
    if (gh_loop_now_ns() - d->started_ns > BACKEND_STEADY_NS)
        d->deaths = 0;
    if (d->deaths == GH_ARRAY_LEN(delay_ns)) {
        gh_log(GH_LOG_ERROR, "the display of “%s” ended %u times and is not started again; the machine runs on. Restart "
               "the machine to see it again.", s->rt.name, d->deaths + 1);
        return;
    }
    d->status = status;
    gh_loop_timer_arm(d->retry, gh_loop_now_ns() + delay_ns[d->deaths++]);
}

static int display_start(struct supervisor *s, struct gh_error *err)
{
    struct display_backend *d = &s->display;
    int sock = -1;

    if (!s->cfg->launch->display_path[0])
        return 0;
    d->program = gh_child_program("gasthaus-backend");
    if (!d->program)
        return gh_error_set(err, -ENOENT, "ProgramMissing", "The program “gasthaus-backend”, which shows screens, is "
                            "missing; install Gasthaus again.");
    d->retry = gh_loop_timer(s->loop, on_display_retry, s);
    int r = listen_at(s, "display", s->cfg->launch->display_path, SOCK_STREAM, &d->listen_fd, err);
    if (!r)
        r = display_spawn(s, &sock, err);
    if (r)
        return r;
    if (!d->retry || !gh_launch_add_backend(s->cfg->launch, "display", "display0", sock)) {
        close(sock);
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the display.");
    }
    return 0;
}

/* ---- Networks ----------------------------------------------------------------------------------------- */
static void hand_over_net(void *opaque, const char *name, const struct gh_launch_net *net, int fd)
{
    struct supervisor *s = opaque;
    json_t *o = json_pack("{s:s, s:s}", "kind", "net", "name", name);

    if (net) {
        char forwards[2400] = "";
        size_t at = 0;
        for (unsigned i = 0; i < net->forward_count && at < sizeof forwards; i++)
            at += (size_t)snprintf(forwards + at, sizeof forwards - at, "%s %s %u %u;", net->forwards[i].protocol, net->forwards[i].address,
                                   net->forwards[i].host_port, net->forwards[i].guest_port);
        json_object_set_new(o, "connect", json_string(net->kind));
        json_object_set_new(o, "forwards", json_string(forwards));
    }
    if (fd >= 0)
        json_object_set_new(o, "fd", json_integer(0));
    if (s->machine_pid && !s->asked)
        ask_machine(s, "backend", o, fd);
    else
        json_decref(o);
    if (fd >= 0)
        close(fd);
}

/* Where the supervisor itself is asked: supervisor_requests.h. */
static int listen_requests(struct supervisor *s, struct gh_error *err)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/supervisor", s->rt.path);
    int r = listen_at(s, "supervisor", path, SOCK_SEQPACKET, &s->requests_fd, err);
    return r ? r : gh_requests_new(s->loop, s->requests_fd, s->net, &s->requests, err);
}

/* ---- Signals ------------------------------------------------------------------------------------------- */
static void pull_plug(void *opaque) { ask_machine(opaque, "power-off", json_object(), -1); }

static void on_signal(void *opaque, int fd, uint32_t events)
{
    struct supervisor *s = opaque;
    struct signalfd_siginfo info;

    if (read(fd, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGTERM && !s->asked && s->started) {
        ask_machine(s, "power-button", json_object(), -1);
        gh_loop_timer_arm(s->grace, gh_loop_now_ns() + POWER_BUTTON_GRACE_NS);
    } else {
        pull_plug(s);
    }
    s->asked = true;
}

static int watch_signals(struct supervisor *s, struct gh_error *err)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->grace = gh_loop_timer(s->loop, pull_plug, s);
    if (s->signal_fd < 0 || !s->grace || !gh_loop_fd(s->loop, s->signal_fd, EPOLLIN, on_signal, s))
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the supervisor.");
    return 0;
}

/* ---- The terminal of a machine run by hand ---------------------------------------------------------------- */
static void terminal_raw(struct supervisor *s)
{
    struct termios t;

    for (unsigned i = 0; i < s->cfg->launch->char_count; i++) {
        const struct gh_launch_char *c = &s->cfg->launch->chars[i];
        if (strcmp(c->kind, "stdio") || c->in_fd < 0 || tcgetattr(STDIN_FILENO, &s->terminal_was))
            continue;
        t = s->terminal_was;
        cfmakeraw(&t);
        t.c_oflag |= OPOST | ONLCR;
        t.c_lflag |= ISIG;               /* one key for us: Ctrl-] ends the machine */
        t.c_cc[VINTR] = 0x1d;
        t.c_cc[VQUIT] = t.c_cc[VSUSP] = _POSIX_VDISABLE;
        if (!tcsetattr(STDIN_FILENO, TCSADRAIN, &t))
            s->terminal = STDIN_FILENO;
        return;
    }
}

/* ---- From start to end ------------------------------------------------------------------------------------- */
/* The machine process opens nothing itself: it gets /dev/kvm, or is told to do without. */
static int open_kvm(struct gh_launch *l, struct gh_error *err)
{
    struct gh_error why = { 0 };

    if (l->kvm_fd >= 0 || (strcmp(l->accel, "auto") && strcmp(l->accel, "kvm")))
        return 0;
    l->kvm_fd = gh_accel_kvm.open_device(&why);
    if (l->kvm_fd >= 0)
        return 0;
    l->kvm_fd = -1;
    if (!strcmp(l->accel, "kvm")) {
        if (err)
            *err = why;
        return why.code;
    }
    snprintf(l->accel_note, sizeof l->accel_note, "The software CPU is used: %.480s", why.text);
    strcpy(l->accel, "soft");
    return 0;
}

static int listen_control(struct supervisor *s, struct gh_error *err)
{
    char own[PATH_MAX];

    snprintf(own, sizeof own, "%s/control", s->rt.path);
    int r = listen_at(s, "control", s->cfg->launch->control_path[0] ? s->cfg->launch->control_path : own, SOCK_SEQPACKET,
                      &s->control_fd, err);
    if (r)
        return r;
    return gh_loop_fd(s->loop, s->control_fd, EPOLLIN, on_client, s)
               ? 0 : gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the supervisor.");
}

/* Serial lines on sockets; the machine gets the listening descriptor. */
static int listen_chars(struct supervisor *s, struct gh_error *err)
{
    struct gh_launch *l = s->cfg->launch;
    int r = 0;

    for (unsigned i = 0; r == 0 && i < l->char_count; i++) {
        struct gh_launch_char *c = &l->chars[i];
        if (strcmp(c->kind, "listen") || c->in_fd >= 0 || !c->path[0])
            continue;
        r = listen_at(s, c->name, c->path, SOCK_STREAM, &c->in_fd, err);
        c->path[0] = 0;
    }
    return r;
}

static int start(struct supervisor *s, struct gh_error *err)
{
    struct gh_launch *l = s->cfg->launch;
    int r = gh_loop_new(&s->loop, err);

    if (!r)
        r = gh_runtime_open(l->uuid, l->name, &s->rt, err);
    if (!r)
        r = watch_signals(s, err);
    if (!r)
        r = open_kvm(l, err);
    if (!r)
        r = listen_control(s, err);
    if (!r)
        r = listen_chars(s, err);
    if (!r)
        r = display_start(s, err);
    if (!r)
        r = gh_supervisor_net_new(s->loop, l, s->rt.path, hand_over_net, s, &s->net, err);
    if (!r)
        r = listen_requests(s, err);
    if (!r)
        r = machine_start(s, err);
    if (!r) {
        gh_runtime_state(&s->rt, "starting");
        terminal_raw(s);
    }
    return r;
}

static void end_child(pid_t pid)
{
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

static void stop(struct supervisor *s)
{
    if (s->terminal >= 0)
        tcsetattr(s->terminal, TCSADRAIN, &s->terminal_was);
    end_child(s->machine_pid);
    end_child(s->display.pid);
    gh_requests_free(s->requests);
    gh_supervisor_net_free(s->net);
    for (unsigned i = 0; i < s->socket_count; i++) {
        unlink(s->sockets[i]);
        free(s->sockets[i]);
    }
    free(s->sockets);
    const int fds[] = { s->sock, s->machine_pidfd, s->control_fd, s->signal_fd, s->notify_fd, s->requests_fd, s->display.listen_fd,
                        s->display.pidfd };
    for (unsigned i = 0; i < GH_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(s->display.program);
    gh_loop_free(s->loop);
    gh_runtime_close(&s->rt);
}

/* What a person reads when the machine process did not end by itself. */
static void explain(struct supervisor *s)
{
    const char *name = s->rt.name[0] ? s->rt.name : "the machine";

    if (s->exit_signal == SIGSYS)
        gh_error_set(&s->failure, -EPERM, "OperationBlocked", "“%s” stopped because its sandbox blocked an operation. Its "
                     "disks keep what was written; please report this, with the output of --sandbox log.", name);
    else if (s->exit_signal)
        gh_error_set(&s->failure, -EIO, "MachineCrashed", "“%s” stopped unexpectedly (signal %d). What it wrote to its disks "
                     "is there; start it again, or look at its log.", name, s->exit_signal);
    else if (!s->started && s->exit_status && !gh_error_is_set(&s->failure))
        gh_error_set(&s->failure, -EIO, "MachineFailed", "“%s” could not be started (status %d); its log says more.", name,
                     s->exit_status);
}

int gh_supervisor_run(const struct gh_supervisor_config *cfg, struct gh_error *err)
{
    struct supervisor s = { .cfg = cfg, .sock = -1, .machine_pidfd = -1, .control_fd = -1, .signal_fd = -1,
                            .notify_fd = cfg->notify_fd, .requests_fd = -1, .terminal = -1, .rt = { .dir_fd = -1, .lock_fd = -1 },
                            .display = { .listen_fd = -1, .pidfd = -1 } };
    int r = start(&s, err);

    if (r == 0) {
        gh_schema_fini(&gh_launch_schema, cfg->launch); /* the machine has its own descriptors now */
        r = gh_loop_run(s.loop);
    }
    if (r == 0) {
        explain(&s);
        gh_runtime_ended(&s.rt, s.exit_status, s.exit_signal, &s.failure);
        if (gh_error_is_set(&s.failure) && err)
            *err = s.failure;
        r = gh_error_is_set(&s.failure) && !s.exit_signal ? s.failure.code
            : s.exit_signal ? 128 + s.exit_signal : s.exit_status;
    } else if (s.notify_fd >= 0 && err) {
        json_t *failed = json_pack("{s:s, s:s, s:s, s:s, s:s}", "event", "failed", "id", err->id, "text", err->text, "option",
                                   err->option, "message", err->message);
        gh_packet_send(s.notify_fd, failed, NULL, 0, NULL);
        json_decref(failed);
    }
    stop(&s);
    return r;
}
