/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/supervisor_child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"

/* Between fork and exec: async-signal-safe calls only. Returns on failure. */
static void become(const char *program, char *const argv[], const struct gh_child_fd *fds, unsigned fd_count)
{
    static const int reset[] = { SIGCHLD, SIGPIPE, SIGUSR1, SIGUSR2 };
    static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT }; /* meant for the group: we decide */
    int moved[16], highest = 2;
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (unsigned i = 0; i < GH_ARRAY_LEN(reset); i++)
        signal(reset[i], SIG_DFL);
    for (unsigned i = 0; i < GH_ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    /* Out of the way first: a target number may be the source of another. */
    for (unsigned i = 0; i < fd_count; i++) {
        moved[i] = fcntl(fds[i].fd, F_DUPFD_CLOEXEC, 64);
        if (moved[i] < 0)
            return;
        if (fds[i].number > highest)
            highest = fds[i].number;
    }
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        return;
    for (unsigned i = 0; i < fd_count; i++)
        if (dup2(moved[i], fds[i].number) < 0)
            return;
    if (syscall(SYS_close_range, (unsigned)highest + 1, ~0u, 0))
        return;
    for (int fd = 3; fd <= highest; fd++) {
        bool wanted = false;
        for (unsigned i = 0; i < fd_count; i++)
            wanted |= fds[i].number == fd;
        if (!wanted)
            close(fd);
    }
    execv(program, argv);
}

int gh_child_spawn(const char *program, char *const argv[], const struct gh_child_fd *fds, unsigned fd_count,
                   pid_t *ret_pid, int *ret_pidfd, struct gh_error *err)
{
    if (fd_count > 16)
        return gh_error_set(err, -E2BIG, "ProgramFailed", "The program “%s” cannot be given %u descriptors.", program,
                            fd_count);
    pid_t pid = fork();
    if (pid < 0)
        return gh_error_set(err, -errno, "ProgramFailed", "The program “%s” cannot be started: %s.", program,
                            strerror(errno));
    if (pid == 0) {
        become(program, argv, fds, fd_count);
        _exit(127);
    }
    *ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (*ret_pidfd < 0) {
        int code = -errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return gh_error_set(err, code, "ProgramFailed", "The program “%s” cannot be watched: %s; a kernel from 5.9 on is "
                            "needed.", program, strerror(-code));
    }
    *ret_pid = pid;
    return 0;
}

char *gh_child_program(const char *name)
{
    static const char *const places[] = { "", "../backend/", "../lib/gasthaus/", "../libexec/gasthaus/" };
    char self[PATH_MAX], path[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n <= 0)
        return NULL;
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (unsigned i = 0; i < GH_ARRAY_LEN(places); i++) {
        snprintf(path, sizeof path, "%s/%s%s", self, places[i], name);
        if (access(path, X_OK) == 0)
            return strdup(path);
    }
    return NULL;
}
