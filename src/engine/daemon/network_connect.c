/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What an adapter is connected to, in the words of gasthaus-vm's --net; and the supervisor's socket, where a running
 * machine's adapter is connected otherwise. */
#include <errno.h>
#include <glib-unix.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "engine/daemon/daemon.h"

/* A supervisor forks at most one program for the answer. */
enum { ANSWER_SECONDS = 20 };

static void append(GString *text, const char *word, const char *value)
{
    if (value[0])
        g_string_append_printf(text, ",%s=%s", word, value);
}

char *gh_network_words(const struct gh_network *n)
{
    GString *text = g_string_new(NULL);
    gboolean nat = !strcmp(n->mode, "nat"), either = gh_network_takes_forwards(n);

    g_string_printf(text, "%s,model=%s,mac=%s,link=%s", n->mode, n->adapter, n->mac, n->connected ? "on" : "off");
    if (n->limit_kbits)
        g_string_append_printf(text, ",limit=%uk", n->limit_kbits);
    append(text, "name", strcmp(n->mode, "internal") ? "" : n->name);
    append(text, "path", strcmp(n->mode, "stream") ? "" : n->socket);
    append(text, "network", either ? n->subnet : "");
    append(text, "tftp", nat ? n->tftp : "");
    append(text, "bootfile", nat ? n->bootfile : "");
    if (either && n->host_loopback)
        g_string_append(text, ",host-loopback");
    if (either && n->no_ipv6)
        g_string_append(text, ",no-ipv6");
    for (unsigned f = 0; either && f < n->forward_count; f++)
        g_string_append_printf(text, strchr(n->forward[f].host_address, ':') ? ",forward=%s:[%s]:%u:%u" : ",forward=%s:%s:%u:%u", n->forward[f].protocol,
                               n->forward[f].host_address, n->forward[f].host_port, n->forward[f].guest_port);
    return g_string_free(text, FALSE);
}

struct request { struct gh_daemon_machine *m; int fd; guint watch, timer; gh_network_done done; void *opaque; };

static void finish(struct request *q, const struct gh_error *err)
{
    if (q->watch)
        g_source_remove(q->watch);
    if (q->timer)
        g_source_remove(q->timer);
    if (q->fd >= 0)
        close(q->fd);
    q->m->connecting = NULL;
    q->done(q->m, err, q->opaque);
    g_free(q);
}

static gboolean on_silence(gpointer data)
{
    struct request *q = data;
    struct gh_error err = { 0 };

    q->timer = 0;
    gh_error_set(&err, -ETIMEDOUT, "NetworkFailed", "The network of “%s” did not change within %d seconds; look into its log.", q->m->definition->name, ANSWER_SECONDS);
    finish(q, &err);
    return G_SOURCE_REMOVE;
}

static gboolean on_answer(int fd, GIOCondition condition, gpointer data)
{
    struct request *q = data;
    struct gh_packet packet = { 0 };
    struct gh_error err = { 0 };
    int r = gh_packet_recv(fd, &packet, &err);

    if (r == -EAGAIN)
        return G_SOURCE_CONTINUE;
    q->watch = 0;
    if (r <= 0) {
        gh_error_set(&err, -ECONNRESET, "MachineOff", "“%s” ended meanwhile.", q->m->definition->name);
    } else {
        json_t *error = json_object_get(packet.json, "error");
        const char *id = json_string_value(json_object_get(error, "id")), *text = json_string_value(json_object_get(error, "text"));
        const char *option = json_string_value(json_object_get(error, "option"));
        if (error)
            gh_error_carry(&err, -EIO, id ? id : "NetworkFailed", option ? option : "", text ? text : "The network cannot be changed.",
                           json_string_value(json_object_get(error, "message")));
        gh_packet_clear(&packet);
    }
    finish(q, err.code ? &err : NULL);
    return G_SOURCE_REMOVE;
}

void gh_network_reconnect(struct gh_daemon_machine *m, const char *id, const struct gh_network *n, gh_network_done done, void *opaque)
{
    g_autofree char *path = gh_instance_socket(m, "supervisor"), *words = gh_network_words(n);
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct gh_error err = { 0 };
    struct request *q = g_new0(struct request, 1);
    json_t *packet = json_pack("{s:s, s:s, s:s}", "verb", "net-connect", "adapter", id, "net", words);

    *q = (struct request){ .m = m, .fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), .done = done, .opaque = opaque };
    g_strlcpy(a.sun_path, path, sizeof a.sun_path);
    if (m->connecting)
        gh_error_set(&err, -EBUSY, "NetworkRestarted", "A network of “%s” is being changed; try again in a moment.", m->definition->name);
    else if (q->fd < 0 || strlen(path) >= sizeof a.sun_path || connect(q->fd, (struct sockaddr *)&a, sizeof a))
        gh_error_set(&err, -ENOTCONN, "NetworkFailed", "“%s” cannot be asked to change its network; switch it off first.", m->definition->name);
    else
        gh_packet_send(q->fd, packet, NULL, 0, &err);
    json_decref(packet);
    if (err.code) {
        struct request *busy = m->connecting;
        finish(q, &err);
        m->connecting = busy;
        return;
    }
    m->connecting = q;
    q->watch = g_unix_fd_add(q->fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_answer, q);
    q->timer = g_timeout_add_seconds(ANSWER_SECONDS, on_silence, q);
}

void gh_network_abandon(struct gh_daemon_machine *m)
{
    struct gh_error err = { 0 };

    if (!m->connecting)
        return;
    gh_error_set(&err, -ECONNRESET, "MachineOff", "“%s” ended meanwhile.", m->definition ? m->definition->name : "");
    finish(m->connecting, &err);
}
