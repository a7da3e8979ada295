/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/fdpass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

int gh_packet_pair(int ret_fds[2], struct gh_error *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds))
        return gh_error_set(err, -errno, "SocketFailed", "A socket pair could not be made: %s.",
                            strerror(errno));
    return 0;
}

static int send_bytes(int sock, const char *text, size_t len, const int *fds, unsigned fd_count,
                      struct gh_error *err)
{
    union {
        struct cmsghdr header; /* alignment */
        char           room[CMSG_SPACE(GH_PACKET_FDS * sizeof(int))];
    } control;
    struct iovec  iov = { .iov_base = (char *)text, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (fd_count) {
        memset(&control, 0, sizeof control);
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
    }
    for (;;) {
        if (sendmsg(sock, &msg, MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno != EINTR)
            return gh_error_set(err, -errno, "PacketSendFailed", "A message could not be sent: %s.",
                                strerror(errno));
    }
}

int gh_packet_send(int sock, const json_t *object, const int *fds, unsigned fd_count,
                   struct gh_error *err)
{
    if (fd_count > GH_PACKET_FDS)
        return gh_error_set(err, -E2BIG, "TooManyDescriptors",
                            "A message with %u descriptors cannot be sent; at most %u fit.", fd_count,
                            GH_PACKET_FDS);
    gh_autofree char *text = json_dumps(object, JSON_COMPACT);
    if (!text)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for a message.");
    size_t len = strlen(text);
    if (len > GH_PACKET_BYTES)
        return gh_error_set(err, -EMSGSIZE, "MessageTooLong",
                            "A message of %zu bytes cannot be sent; at most %u fit.", len,
                            GH_PACKET_BYTES);
    return send_bytes(sock, text, len, fds, fd_count, err);
}

/* Collects the descriptors of every SCM_RIGHTS record; the ones without a place are closed. */
static unsigned collect(struct msghdr *msg, int fd[GH_PACKET_FDS], bool *ret_excess)
{
    unsigned count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int one;
            memcpy(&one, CMSG_DATA(c) + i * sizeof one, sizeof one);
            if (count < GH_PACKET_FDS) {
                fd[count++] = one;
            } else {
                close(one);
                *ret_excess = true;
            }
        }
    }
    return count;
}

int gh_packet_recv(int sock, struct gh_packet *ret, struct gh_error *err)
{
    union {
        struct cmsghdr header;
        char           room[CMSG_SPACE(GH_PACKET_FDS * sizeof(int))];
    } control;
    gh_autofree char *text = malloc(GH_PACKET_BYTES);

    memset(ret, 0, sizeof *ret);
    if (!text)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for a message.");
    struct iovec  iov = { .iov_base = text, .iov_len = GH_PACKET_BYTES };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                          .msg_controllen = sizeof control };
    ssize_t n;
    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno == EAGAIN)
            return -EAGAIN;
        return errno == ECONNRESET ? 0
                                   : gh_error_set(err, -errno, "PacketReceiveFailed",
                                                  "A message could not be received: %s.",
                                                  strerror(errno));
    }
    bool excess = false;
    ret->fd_count = collect(&msg, ret->fd, &excess);
    if (excess || (msg.msg_flags & MSG_CTRUNC)) {
        gh_packet_clear(ret);
        return gh_error_set(err, -E2BIG, "TooManyDescriptors",
                            "A message carried more than %u descriptors and was refused.",
                            GH_PACKET_FDS);
    }
    if (msg.msg_flags & MSG_TRUNC) {
        gh_packet_clear(ret);
        return gh_error_set(err, -EMSGSIZE, "MessageTooLong",
                            "A message longer than %u bytes was refused.", GH_PACKET_BYTES);
    }
    if (n == 0) {
        gh_packet_clear(ret);
        return 0;
    }
    json_error_t why;
    ret->json = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(ret->json)) {
        gh_packet_clear(ret);
        return gh_error_set(err, -EBADMSG, "MessageMalformed",
                            "A message was refused because it is not one JSON object.");
    }
    return 1;
}

int gh_packet_take_fd(struct gh_packet *packet, json_int_t index)
{
    if (index < 0 || index >= (json_int_t)packet->fd_count)
        return -1;
    return gh_steal_fd(&packet->fd[index]);
}

void gh_packet_clear(struct gh_packet *packet)
{
    for (unsigned i = 0; i < packet->fd_count; i++)
        if (packet->fd[i] >= 0)
            close(packet->fd[i]);
    packet->fd_count = 0;
    json_decref(packet->json);
    packet->json = NULL;
}

int gh_peer_check(int sock, pid_t *ret_pid, struct gh_error *err)
{
    struct ucred cred;
    socklen_t    len = sizeof cred;

    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len))
        return gh_error_set(err, -errno, "PeerUnknown",
                            "The other end of a connection could not be identified: %s.",
                            strerror(errno));
    if (cred.uid != geteuid())
        return gh_error_set(err, -EPERM, "PeerRefused",
                            "A connection from user %u was refused; only user %u may connect here.",
                            (unsigned)cred.uid, (unsigned)geteuid());
    if (ret_pid)
        *ret_pid = cred.pid;
    return 0;
}

int gh_peer_accept(int listener)
{
    struct gh_error err = { 0 };
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (client < 0 || !gh_peer_check(client, NULL, &err))
        return client;
    gh_log(GH_LOG_WARN, "%s", err.text);
    close(client);
    return -1;
}
