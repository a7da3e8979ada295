/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/supervisor_net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "engine/machine/cmdline.h"
#include "engine/machine/supervisor_child.h"
#include "engine/machine/supervisor_net_words.h"

#define STEADY_NS 60000000000ull           /* lived that long: its earlier deaths are forgotten */
enum { SOCKET_BYTES = 1 << 20 };

struct net_backend {
    struct gh_supervisor_net *owner;
    struct gh_launch_net *cfg;             /* ours, without its descriptor */
    int      control, pidfd, status;       /* status: of its last end, as wait gives it */
    pid_t    pid;
    unsigned deaths;
    uint64_t started_ns;
    struct gh_loop_source *source;
    struct gh_loop_timer *retry;
};

struct gh_supervisor_net {
    struct gh_loop *loop;
    char  machine[256], folder[PATH_MAX - 128], *program;
    struct gh_resolv *resolv;
    void (*hand_over)(void *opaque, const char *name, const struct gh_launch_net *net, int fd);
    void *opaque;
    struct net_backend *backend;
    unsigned count;
};

static int no_memory(struct gh_error *err) { return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the network."); }

/* ---- Name servers ----------------------------------------------------------------------------------------- */
static void tell_servers(struct net_backend *b, const struct gh_resolv_state *state)
{
    json_t *list = json_array(), *packet = json_pack("{s:o}", "servers", list);

    for (unsigned i = 0; i < state->server_count; i++)
        json_array_append_new(list, json_pack("{s:s, s:i, s:i}", "address", state->server[i].address, "port", state->server[i].port,
                                              "scope", (int)state->server[i].scope));
    if (b->control >= 0)
        gh_packet_send(b->control, packet, NULL, 0, NULL);
    json_decref(packet);
}

static void on_servers(void *opaque, const struct gh_resolv_state *state)
{
    struct gh_supervisor_net *s = opaque;

    for (unsigned i = 0; i < s->count; i++)
        tell_servers(&s->backend[i], state);
}

/* ---- One backend process ----------------------------------------------------------------------------------- */
static void on_end(void *opaque, int fd, uint32_t events);

/* Where passt is: a program of the system's. */
static const char *find_passt(void)
{
    static const char *const places[] = { "/usr/local/bin/passt", "/usr/bin/passt", "/bin/passt" };

    for (unsigned i = 0; i < GH_ARRAY_LEN(places); i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

/* ret_fd: the machine's end of the wire. */
static int spawn(struct net_backend *b, int *ret_fd, struct gh_error *err)
{
    const bool passt = !strcmp(b->cfg->kind, "passt");
    const char *program = passt ? find_passt() : b->owner->program;
    struct gh_words w;
    int wire[2], control[2], bytes = SOCKET_BYTES;

    if (!program)
        return gh_error_option(err, -ENOENT, "ProgramMissing", "mode", "The program “passt” is missing; install the package passt, or choose NAT.");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, wire))
        return gh_error_set(err, -errno, "SocketFailed", "The network cannot be started: %s.", strerror(errno));
    int r = gh_packet_pair(control, err);
    if (r) {
        close(wire[0]);
        close(wire[1]);
        return r;
    }
    for (unsigned i = 0; i < 2; i++)
        setsockopt(wire[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    if (passt)
        gh_words_passt(&w, b->cfg);
    else
        gh_words_nat(&w, b->cfg, b->owner->machine, gh_resolv_state(b->owner->resolv));
    const struct gh_child_fd fds[] = { { wire[1], 3 }, { control[1], 4 } };
    r = gh_child_spawn(program, w.word, fds, passt ? 1 : 2, &b->pid, &b->pidfd, err);
    close(wire[1]);
    close(control[1]);
    if (r || passt)
        close(control[0]);
    if (r) {
        close(wire[0]);
        return r;
    }
    b->started_ns = gh_loop_now_ns();
    b->source = gh_loop_fd(b->owner->loop, b->pidfd, EPOLLIN, on_end, b);
    if (!passt) {
        fcntl(control[0], F_SETFL, O_NONBLOCK);
        b->control = control[0];
        tell_servers(b, gh_resolv_state(b->owner->resolv));
    }
    *ret_fd = wire[0];
    return 0;
}

static void bury(struct net_backend *b)
{
    gh_loop_fd_free(b->source);
    b->source = NULL;
    if (b->pidfd >= 0)
        close(b->pidfd);
    if (b->control >= 0)
        close(b->control);
    b->pidfd = b->control = -1;
    b->pid = 0;
}

/* ---- Internal networks: whoever comes first starts the switch, which then belongs to nobody ------------------ */
/* Only to bury it: it may end long before this machine. */
static void on_switch_end(void *opaque, int fd, uint32_t events)
{
    struct net_backend *b = opaque;

    if (b->pid && waitpid(b->pid, NULL, WNOHANG) == b->pid)
        bury(b);
}

static int connect_socket(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static int start_switch(struct net_backend *b, const char *path, struct gh_error *err)
{
    char *argv[] = { (char *)"gasthaus-backend", (char *)"switch", (char *)"--listen-fd=3", NULL };
    gh_autoclose int listener = gh_listen_unix("net", path, SOCK_STREAM, err);

    if (listener < 0)
        return listener;
    bury(b);
    int r = gh_child_spawn(b->owner->program, argv, &(struct gh_child_fd){ listener, 3 }, 1, &b->pid, &b->pidfd, err);
    if (!r)
        b->source = gh_loop_fd(b->owner->loop, b->pidfd, EPOLLIN, on_switch_end, b);
    return r;
}

static int join(struct net_backend *b, int *ret_fd, struct gh_error *err)
{
    char path[PATH_MAX], lock[PATH_MAX];
    int bytes = SOCKET_BYTES;

    if (mkdir(b->owner->folder, 0700) && errno != EEXIST)
        return gh_error_set(err, -errno, "RuntimeFolderFailed", "The folder “%s” cannot be made: %s.", b->owner->folder, strerror(errno));
    snprintf(lock, sizeof lock, "%s/%s.lock", b->owner->folder, b->cfg->group);
    snprintf(path, sizeof path, "%s/%s", b->owner->folder, b->cfg->group);
    gh_autoclose int locked = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* Held for the moment of a start only; a second machine waits and then finds the switch. */
    if (locked < 0 || flock(locked, LOCK_EX))
        return gh_error_set(err, -errno, "NetworkFailed", "The internal network “%s” cannot be joined: %s.", b->cfg->group, strerror(errno));
    int fd = connect_socket(path);
    if (fd < 0) {
        int r = start_switch(b, path, err);
        if (r)
            return r;
        fd = connect_socket(path);
    }
    if (fd < 0)
        return gh_error_set(err, fd, "NetworkFailed", "The internal network “%s” cannot be joined: %s.", b->cfg->group, strerror(-fd));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    b->started_ns = gh_loop_now_ns();
    *ret_fd = fd;
    return 0;
}

static bool ours(const struct gh_launch_net *n) { return !strcmp(n->kind, "nat") || !strcmp(n->kind, "passt") || !strcmp(n->kind, "internal"); }

static int start(struct net_backend *b, int *ret_fd, struct gh_error *err)
{ return !strcmp(b->cfg->kind, "internal") ? join(b, ret_fd, err) : spawn(b, ret_fd, err); }

/* Unlike a screen a network is worth trying again for ever, slowly. */
static void try_again(struct net_backend *b)
{
    static const uint64_t delay_ns[] = { 200000000, 1000000000, 5000000000 };
    uint64_t now = gh_loop_now_ns();

    if (now - b->started_ns > STEADY_NS)
        b->deaths = 0;
    gh_loop_timer_arm(b->retry, now + delay_ns[b->deaths < GH_ARRAY_LEN(delay_ns) ? b->deaths : GH_ARRAY_LEN(delay_ns) - 1]);
    b->deaths++;
}

static void on_retry(void *opaque)
{
    struct net_backend *b = opaque;
    struct gh_error err = { 0 };
    int fd = -1;

    if (b->status >= 0)
        gh_log(GH_LOG_WARN, "the network “%s” of “%s” ended (%s %d) and is started again", b->cfg->name, b->owner->machine,
               WIFSIGNALED(b->status) ? "signal" : "status", WIFSIGNALED(b->status) ? WTERMSIG(b->status) : WEXITSTATUS(b->status));
    b->status = -1;
    if (!start(b, &fd, &err)) {
        b->owner->hand_over(b->owner->opaque, b->cfg->name, NULL, fd);
        return;
    }
    gh_log(GH_LOG_ERROR, "%s", err.text);
    try_again(b);
}

void gh_supervisor_net_lost(struct gh_supervisor_net *s, const char *name)
{
    for (unsigned i = 0; s && i < s->count; i++)
        if (!strcmp(s->backend[i].cfg->kind, "internal") && !strcmp(s->backend[i].cfg->name, name))
            try_again(&s->backend[i]);
}

static void on_end(void *opaque, int fd, uint32_t events)
{
    struct net_backend *b = opaque;
    int status = 0;

    if (waitpid(b->pid, &status, WNOHANG) != b->pid)
        return;
    bury(b);
    b->status = status;                    /* told when it is started again: a machine's end is its end too */
    try_again(b);
}

/* ---- Lifetime --------------------------------------------------------------------------------------------------- */
/* A copy that owns its forwards. */
static struct gh_launch_net *copy_net(const struct gh_launch_net *net)
{
    struct gh_launch_net *copy = malloc(sizeof *copy);
    struct gh_launch_forward *forwards = calloc(net->forward_count + 1, sizeof *forwards);

    if (!copy || !forwards) {
        free(copy);
        free(forwards);
        return NULL;
    }
    *copy = *net;
    if (net->forward_count)
        memcpy(forwards, net->forwards, net->forward_count * sizeof *forwards);
    copy->forwards = forwards;
    copy->fd = -1;
    return copy;
}

static void free_net(struct gh_launch_net *net)
{
    if (net)
        free(net->forwards);
    free(net);
}

static int add(struct gh_supervisor_net *s, struct gh_launch_net *net, struct gh_error *err)
{
    struct net_backend *b = &s->backend[s->count++];

    *b = (struct net_backend){ .owner = s, .control = -1, .pidfd = -1, .status = -1 };
    b->retry = gh_loop_timer(s->loop, on_retry, b);
    b->cfg = copy_net(net);
    if (!b->cfg || !b->retry)
        return no_memory(err);
    return ours(net) ? start(b, &net->fd, err) : 0;
}

/* Ends what carries the frames. A switch belongs to other machines too. */
static void end(struct net_backend *b)
{
    pid_t pid = b->pid;

    gh_loop_timer_arm(b->retry, 0);
    bury(b);
    if (pid && b->cfg && strcmp(b->cfg->kind, "internal")) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

int gh_supervisor_net_change(struct gh_supervisor_net *s, const char *name, const struct gh_launch_net *net, struct gh_error *err)
{
    struct net_backend *b = NULL;
    int fd = -1;

    for (unsigned i = 0; s && i < s->count; i++)
        if (!strcmp(s->backend[i].cfg->name, name))
            b = &s->backend[i];
    if (!b)
        return gh_error_option(err, -ENOENT, "AdapterUnknown", "adapter", "The machine has no network adapter “%s”; the first is net0.", name);
    static const char *const movable[] = { "nat", "internal", "null" };
    bool can = false;
    for (unsigned i = 0; i < GH_ARRAY_LEN(movable); i++)
        can |= !strcmp(net->kind, movable[i]);
    if (!can)
        return gh_error_option(err, -EOPNOTSUPP, "NetworkUnmovable", "mode", "A running machine can be moved to NAT, an internal network or none only; switch it off first.");
    struct gh_launch_net *next = copy_net(net), *old = b->cfg;
    if (!next)
        return no_memory(err);
    snprintf(next->name, sizeof next->name, "%s", name);
    end(b);
    b->cfg = next;
    b->deaths = 0;
    b->status = -1;
    int r = ours(next) ? start(b, &fd, err) : 0;
    if (r) {                               /* what was there before comes back */
        b->cfg = old;
        free_net(next);
        if (ours(old))
            try_again(b);
        return r;
    }
    free_net(old);
    s->hand_over(s->opaque, name, next, fd);
    return 0;
}

int gh_supervisor_net_new(struct gh_loop *loop, struct gh_launch *launch, const char *folder, void (*hand_over)(void *opaque, const char *name, const struct gh_launch_net *net, int fd),
                          void *opaque, struct gh_supervisor_net **ret, struct gh_error *err)
{
    int r = 0;

    *ret = NULL;
    if (!launch->net_count)
        return 0;
    struct gh_supervisor_net *s = calloc(1, sizeof *s);
    if (!s)
        return no_memory(err);
    *s = (struct gh_supervisor_net){ .loop = loop, .hand_over = hand_over, .opaque = opaque };
    snprintf(s->machine, sizeof s->machine, "%s", launch->name);
    const char *slash = strrchr(folder, '/');
    snprintf(s->folder, sizeof s->folder, "%.*s/networks", slash ? (int)(slash - folder) : 1, slash ? folder : ".");
    s->program = gh_child_program("gasthaus-backend");
    s->backend = calloc(launch->net_count, sizeof *s->backend);
    if (!s->program)
        r = gh_error_set(err, -ENOENT, "ProgramMissing", "The program “gasthaus-backend”, which carries networks, is missing; install Gasthaus again.");
    else if (!s->backend || !(s->resolv = gh_resolv_new(loop, on_servers, s)))
        r = no_memory(err);
    for (unsigned i = 0; i < launch->net_count && !r; i++)
        r = add(s, &launch->nets[i], err);
    if (r) {
        gh_supervisor_net_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void gh_supervisor_net_free(struct gh_supervisor_net *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->count; i++) {
        end(&s->backend[i]);
        gh_loop_timer_free(s->backend[i].retry);
        free_net(s->backend[i].cfg);
    }
    gh_resolv_free(s->resolv);
    free(s->backend);
    free(s->program);
    free(s);
}
