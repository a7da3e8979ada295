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

#define STEADY_NS 60000000000ull           /* lived that long: its earlier deaths are forgotten */
enum { ARGUMENTS = 24, SOCKET_BYTES = 1 << 20 };

struct net_backend {
    struct gh_supervisor_net *owner;
    const struct gh_launch_net *cfg;       /* a copy of ours, without its descriptor and lists */
    int      control, pidfd;
    pid_t    pid;
    unsigned deaths;
    uint64_t started_ns;
    struct gh_loop_source *source;
    struct gh_loop_timer *retry;
};

struct gh_supervisor_net {
    struct gh_loop *loop;
    char  machine[64], folder[PATH_MAX - 128], *program;
    struct gh_resolv *resolv;
    void (*hand_over)(void *opaque, const char *name, int fd);
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

struct words { char *word[ARGUMENTS]; unsigned count; char text[4096]; size_t used; };

static void add_word(struct words *w, const char *format, const char *value)
{
    int n = snprintf(w->text + w->used, sizeof w->text - w->used, format, value);

    if (n < 0 || (size_t)n >= sizeof w->text - w->used || w->count + 1 >= ARGUMENTS)
        return;
    w->word[w->count++] = w->text + w->used;
    w->used += (size_t)n + 1;
}

/* A name that DHCP may carry. */
static void host_name(const char *name, char out[64])
{
    size_t n = 0;

    for (; *name && n < 62; name++)
        if ((*name | 32) >= 'a' && (*name | 32) <= 'z')
            out[n++] = *name;
        else if ((*name >= '0' && *name <= '9') || (*name == '-' && n))
            out[n++] = *name;
        else if (n && out[n - 1] != '-')
            out[n++] = '-';
    while (n && out[n - 1] == '-')
        n--;
    out[n] = '\0';
}

static void build_words(const struct net_backend *b, struct words *w)
{
    const struct gh_resolv_state *state = gh_resolv_state(b->owner->resolv);
    char name[64];

    *w = (struct words){ .count = 0 };
    add_word(w, "%s", "gasthaus-backend");
    add_word(w, "%s", "net");
    add_word(w, "%s", "--frames-fd=3");
    add_word(w, "%s", "--control-fd=4");
    host_name(b->owner->machine, name);
    if (name[0])
        add_word(w, "--hostname=%s", name);
    if (b->cfg->network[0])
        add_word(w, "--network=%s", b->cfg->network);
    if (b->cfg->host_loopback)
        add_word(w, "%s", "--allow-host-loopback");
    if (b->cfg->no_ipv6)
        add_word(w, "%s", "--no-ipv6");
    if (b->cfg->tftp[0])
        add_word(w, "--tftp=%s", b->cfg->tftp);
    if (b->cfg->bootfile[0])
        add_word(w, "--bootfile=%s", b->cfg->bootfile);
    for (unsigned i = 0; i < state->domain_count; i++)
        add_word(w, "--search=%s", state->domain[i]);
}

/* ret_fd: the machine's end of the wire. */
static int spawn(struct net_backend *b, int *ret_fd, struct gh_error *err)
{
    struct words w;
    int wire[2], control[2], bytes = SOCKET_BYTES;

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
    build_words(b, &w);
    const struct gh_child_fd fds[] = { { wire[1], 3 }, { control[1], 4 } };
    r = gh_child_spawn(b->owner->program, w.word, fds, 2, &b->pid, &b->pidfd, err);
    close(wire[1]);
    close(control[1]);
    if (r) {
        close(wire[0]);
        close(control[0]);
        return r;
    }
    fcntl(control[0], F_SETFL, O_NONBLOCK);
    b->control = control[0];
    b->started_ns = gh_loop_now_ns();
    b->source = gh_loop_fd(b->owner->loop, b->pidfd, EPOLLIN, on_end, b);
    tell_servers(b, gh_resolv_state(b->owner->resolv));
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

static int start(struct net_backend *b, int *ret_fd, struct gh_error *err)
{ return !strcmp(b->cfg->kind, "internal") ? join(b, ret_fd, err) : spawn(b, ret_fd, err); }

static void on_retry(void *opaque)
{
    struct net_backend *b = opaque;
    struct gh_error err = { 0 };
    int fd = -1;

    if (start(b, &fd, &err))
        gh_log(GH_LOG_ERROR, "%s", err.text);
    else
        b->owner->hand_over(b->owner->opaque, b->cfg->name, fd);
}

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
    gh_log(GH_LOG_WARN, "the network “%s” of “%s” ended (%s %d) and is started again", b->cfg->name, b->owner->machine,
           WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    try_again(b);
}

/* ---- Lifetime --------------------------------------------------------------------------------------------------- */
static int add(struct gh_supervisor_net *s, struct gh_launch_net *net, struct gh_error *err)
{
    struct net_backend *b = &s->backend[s->count++];
    struct gh_launch_net *copy = malloc(sizeof *copy);

    *b = (struct net_backend){ .owner = s, .control = -1, .pidfd = -1 };
    b->retry = gh_loop_timer(s->loop, on_retry, b);
    if (!copy || !b->retry) {
        free(copy);
        return no_memory(err);
    }
    *copy = *net;
    copy->forwards = NULL;                 /* the machine's own matter */
    copy->forward_count = 0;
    b->cfg = copy;
    return start(b, &net->fd, err);
}

static bool ours(const struct gh_launch_net *n) { return !strcmp(n->kind, "nat") || !strcmp(n->kind, "internal"); }

int gh_supervisor_net_new(struct gh_loop *loop, struct gh_launch *launch, const char *folder, void (*hand_over)(void *opaque, const char *name, int fd),
                          void *opaque, struct gh_supervisor_net **ret, struct gh_error *err)
{
    unsigned wanted = 0;
    int r = 0;

    *ret = NULL;
    for (unsigned i = 0; i < launch->net_count; i++)
        wanted += ours(&launch->nets[i]);
    if (!wanted)
        return 0;
    struct gh_supervisor_net *s = calloc(1, sizeof *s);
    if (!s)
        return no_memory(err);
    *s = (struct gh_supervisor_net){ .loop = loop, .hand_over = hand_over, .opaque = opaque };
    snprintf(s->machine, sizeof s->machine, "%s", launch->name);
    const char *slash = strrchr(folder, '/');
    snprintf(s->folder, sizeof s->folder, "%.*s/networks", slash ? (int)(slash - folder) : 1, slash ? folder : ".");
    s->program = gh_child_program("gasthaus-backend");
    s->backend = calloc(wanted, sizeof *s->backend);
    if (!s->program)
        r = gh_error_set(err, -ENOENT, "ProgramMissing", "The program “gasthaus-backend”, which carries networks, is missing; install Gasthaus again.");
    else if (!s->backend || !(s->resolv = gh_resolv_new(loop, on_servers, s)))
        r = no_memory(err);
    for (unsigned i = 0; i < launch->net_count && !r; i++)
        if (ours(&launch->nets[i]))
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
        struct net_backend *b = &s->backend[i];
        pid_t pid = b->pid;
        bool nat = b->cfg && !strcmp(b->cfg->kind, "nat");
        bury(b);
        if (pid && nat) {                  /* a switch may have other machines */
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
        gh_loop_timer_free(b->retry);
        free((void *)(uintptr_t)b->cfg);
    }
    gh_resolv_free(s->resolv);
    free(s->backend);
    free(s->program);
    free(s);
}
