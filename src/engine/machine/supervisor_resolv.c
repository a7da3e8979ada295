/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/machine/supervisor_net.h"

enum { FILE_BYTES_MAX = 16384, SETTLE_NS = 100000000 };

struct gh_resolv {
    char path[PATH_MAX];
    struct gh_loop *loop;
    struct gh_loop_source *source;
    struct gh_loop_timer *timer;           /* one reading for the several events of one replacement */
    int  inotify;
    void (*changed)(void *opaque, const struct gh_resolv_state *state);
    void *opaque;
    struct gh_resolv_state state;
};

static void add_server(const char *word, struct gh_resolv_state *s)
{
    char address[64];
    unsigned long port = 53;
    uint8_t binary[16];

    if (s->server_count == GH_RESOLV_SERVERS || strlen(word) >= sizeof address)
        return;
    memcpy(address, word, strlen(word) + 1);
    if (word[0] == '[') {
        const char *close = strchr(word, ']');
        char *end;
        if (!close || close[1] != ':')
            return;
        memcpy(address, word + 1, (size_t)(close - word - 1));
        address[close - word - 1] = '\0';
        port = strtoul(close + 2, &end, 10);
        if (*end || port < 1 || port > 65535)
            return;
    }
    char *zone = strchr(address, '%');
    if (zone)
        *zone = '\0';
    if (inet_pton(AF_INET, address, binary) != 1 && inet_pton(AF_INET6, address, binary) != 1)
        return;
    snprintf(s->server[s->server_count].address, sizeof s->server[0].address, "%s", address);
    s->server[s->server_count].port = (uint16_t)port;
    s->server[s->server_count++].scope = zone ? if_nametoindex(zone + 1) : 0;
}

void gh_resolv_parse(const char *text, struct gh_resolv_state *ret)
{
    char line[1024], *save = NULL;

    memset(ret, 0, sizeof *ret);
    while (*text) {
        size_t n = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(n < sizeof line - 1 ? n : sizeof line - 1), text);
        text += n + (text[n] == '\n');
        line[strcspn(line, "#;")] = '\0';
        const char *key = strtok_r(line, " \t\r", &save), *word;
        if (!key)
            continue;
        if (!strcmp(key, "nameserver") && (word = strtok_r(NULL, " \t\r", &save))) {
            add_server(word, ret);
        } else if (!strcmp(key, "search") || !strcmp(key, "domain")) {
            ret->domain_count = 0;         /* the last line counts */
            while ((word = strtok_r(NULL, " \t\r", &save)) && ret->domain_count < GH_RESOLV_DOMAINS)
                if (strcmp(word, ".") && strlen(word) < sizeof ret->domain[0])
                    snprintf(ret->domain[ret->domain_count++], sizeof ret->domain[0], "%s", word);
        }
    }
    if (!ret->server_count)                /* resolv.conf(5): then it is the local machine */
        add_server("127.0.0.1", ret);
}

static void read_file(const char *path, struct gh_resolv_state *ret)
{
    char text[FILE_BYTES_MAX + 1];
    gh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? 0 : read(fd, text, FILE_BYTES_MAX);

    text[n > 0 ? n : 0] = '\0';
    gh_resolv_parse(text, ret);
}

/* The folder of the name and that of the file behind its links: replacement shows in either. */
static void watch(struct gh_resolv *r)
{
    char folder[PATH_MAX], real[PATH_MAX];
    const uint32_t mask = IN_MOVED_TO | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_ONLYDIR;
    const char *const paths[] = { r->path, realpath(r->path, real) };

    for (unsigned i = 0; i < 2; i++) {
        if (!paths[i])
            continue;
        snprintf(folder, sizeof folder, "%s", paths[i]);
        char *slash = strrchr(folder, '/');
        if (slash)
            slash[slash == folder] = '\0';
        inotify_add_watch(r->inotify, slash ? folder : ".", mask);
    }
}

static void on_settled(void *opaque)
{
    struct gh_resolv *r = opaque;
    struct gh_resolv_state now;

    watch(r);
    read_file(r->path, &now);
    if (!memcmp(&now, &r->state, sizeof now))
        return;
    r->state = now;
    r->changed(r->opaque, &r->state);
}

static void on_event(void *opaque, int fd, uint32_t events)
{
    struct gh_resolv *r = opaque;
    char buffer[4096] __attribute__((aligned(8)));
    ssize_t n = read(fd, buffer, sizeof buffer);
    bool ours = false;

    for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= n;) {
        const struct inotify_event *e = (const void *)(buffer + at);
        ours |= !e->len || strstr(e->name, "resolv") || strstr(r->path, e->name);
        at += (ssize_t)(sizeof *e + e->len);
    }
    if (ours)
        gh_loop_timer_arm(r->timer, gh_loop_now_ns() + SETTLE_NS);
}

struct gh_resolv *gh_resolv_new(struct gh_loop *loop, void (*changed)(void *opaque, const struct gh_resolv_state *state), void *opaque)
{
    struct gh_resolv *r = calloc(1, sizeof *r);
    const char *path = getenv("GH_RESOLV_CONF");

    if (!r)
        return NULL;
    snprintf(r->path, sizeof r->path, "%s", path ? path : "/etc/resolv.conf");
    r->loop = loop;
    r->changed = changed;
    r->opaque = opaque;
    r->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    r->timer = gh_loop_timer(loop, on_settled, r);
    if (r->inotify >= 0 && r->timer) {     /* without: the servers of the start stay */
        r->source = gh_loop_fd(loop, r->inotify, EPOLLIN, on_event, r);
        watch(r);
    }
    read_file(r->path, &r->state);
    return r;
}

const struct gh_resolv_state *gh_resolv_state(const struct gh_resolv *r) { return &r->state; }

void gh_resolv_free(struct gh_resolv *r)
{
    if (!r)
        return;
    gh_loop_fd_free(r->source);
    gh_loop_timer_free(r->timer);
    if (r->inotify >= 0)
        close(r->inotify);
    free(r);
}
