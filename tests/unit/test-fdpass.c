/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "check.h"

static unsigned open_fds(void)
{
    unsigned n = 0;
    DIR     *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Raw packets, as a hostile peer would make them. */
static int raw_send(int sock, const void *data, size_t len, const int *fds, unsigned n)
{
    union { struct cmsghdr h; char room[CMSG_SPACE(250 * sizeof(int))]; } control = { 0 };
    struct iovec  iov = { (void *)data, len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (n) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    return sendmsg(sock, &msg, 0) < 0 ? -errno : 0;
}

static void round_trip(int s[2])
{
    struct gh_packet p;
    int              pipes[2];
    char             c = 0;

    CHECK_FATAL(pipe(pipes) == 0);
    json_t *o = json_pack("{s:s,s:i}", "verb", "insert", "fd", 0);
    CHECK_EQ(gh_packet_send(s[0], o, pipes, 2, NULL), 0);
    CHECK_EQ(gh_packet_recv(s[1], &p, NULL), 1);
    CHECK(json_equal(p.json, o));
    CHECK_EQ(p.fd_count, 2);
    int w = gh_packet_take_fd(&p, 1);
    CHECK(w >= 0);
    CHECK(fcntl(w, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(gh_packet_take_fd(&p, 1), -1);
    CHECK_EQ(gh_packet_take_fd(&p, 2), -1);
    CHECK_EQ(gh_packet_take_fd(&p, -1), -1);
    CHECK_EQ(write(w, "z", 1), 1);
    CHECK_EQ(read(pipes[0], &c, 1), 1);
    CHECK_EQ(c, 'z');
    close(w);
    gh_packet_clear(&p);
    gh_packet_clear(&p);
    json_decref(o);
    close(pipes[0]);
    close(pipes[1]);
}

static void hostile(int s[2])
{
    static char      big[GH_PACKET_BYTES + 1];
    static const char *const bad[] = { "[]", "{", "{}x", "{\"a\":1,\"a\":2}", "3", "\xff\xfe", "null", "{\"a\":\"\\u0000\"}" };
    struct gh_packet p;
    int              fds[250];

    for (unsigned i = 0; i < 250; i++)
        fds[i] = s[0];
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct gh_error err = { 0 };
        CHECK_EQ(raw_send(s[0], bad[i], strlen(bad[i]), fds, 3), 0);
        CHECK_EQ(gh_packet_recv(s[1], &p, &err), -EBADMSG);
        CHECK_STR(err.id, "MessageMalformed");
        CHECK_EQ(p.fd_count, 0);
    }
    struct gh_error err = { 0 };
    CHECK_EQ(raw_send(s[0], "{}", 2, fds, GH_PACKET_FDS + 1), 0);
    CHECK_EQ(gh_packet_recv(s[1], &p, &err), -E2BIG);
    CHECK_STR(err.id, "TooManyDescriptors");
    memset(big, ' ', sizeof big);
    memcpy(big, "{}", 2);
    CHECK_EQ(raw_send(s[0], big, sizeof big, fds, 2), 0);
    CHECK_EQ(gh_packet_recv(s[1], &p, NULL), -EMSGSIZE);
    CHECK_EQ(raw_send(s[0], big, sizeof big - 1, fds, 2), 0);  /* exactly 64 KiB is fine */
    CHECK_EQ(gh_packet_recv(s[1], &p, NULL), 1);
    CHECK_EQ(p.fd_count, 2);
    gh_packet_clear(&p);

    memset(big, 'x', sizeof big - 1);
    json_t *o = json_object();
    json_object_set_new(o, "s", json_stringn(big, sizeof big - 1));
    CHECK_EQ(gh_packet_send(s[0], o, NULL, 0, NULL), -EMSGSIZE);
    CHECK_EQ(gh_packet_send(s[0], o, fds, GH_PACKET_FDS + 1, NULL), -E2BIG);
    json_decref(o);
}

int main(void)
{
    int s[2];

    CHECK_FATAL(gh_packet_pair(s, NULL) == 0);
    CHECK(fcntl(s[0], F_GETFD) & FD_CLOEXEC);
    unsigned before = open_fds();
    round_trip(s);
    hostile(s);
    CHECK_EQ(open_fds(), before); /* nothing a refused packet carried stays open */

    pid_t pid = 0;
    CHECK_EQ(gh_peer_check(s[0], &pid, NULL), 0);
    CHECK_EQ(pid, getpid());

    struct gh_packet p;
    fcntl(s[1], F_SETFL, O_NONBLOCK);
    CHECK_EQ(gh_packet_recv(s[1], &p, NULL), -EAGAIN);
    close(s[0]);
    CHECK_EQ(gh_packet_recv(s[1], &p, NULL), 0);
    json_t *o = json_object();
    CHECK_EQ(gh_packet_send(s[1], o, NULL, 0, NULL), -EPIPE);
    json_decref(o);
    close(s[1]);
    return check_result();
}
