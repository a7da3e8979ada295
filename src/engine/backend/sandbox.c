/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/bytes.h"

static const char *const allowed[] = {
    "read", "write", "readv", "writev", "recvfrom", "recvmsg", "sendto", "sendmsg", "close", "shutdown",
    "poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_ctl",
    "brk", "munmap", "mremap", "madvise", "futex", "fstat", "lseek",
    "clock_gettime", "clock_getres", "gettimeofday", "time", "nanosleep", "clock_nanosleep", "getrandom",
    "getpid", "gettid", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "restart_syscall", "sigaltstack",
    "exit", "exit_group",
};

/* Probes of the C library and of the protocol libraries; they live without an answer. */
static const char *const refused[] = {
    "open", "openat", "newfstatat", "stat", "access", "readlink", "ioctl", "prlimit64", "getrlimit",
    "sched_getaffinity", "sysinfo", "uname", "socket", "connect", "fcntl", "setsockopt",
};

static int add(scmp_filter_ctx ctx, uint32_t action, const char *name)
{
    int nr = seccomp_syscall_resolve_name(name);

    return nr == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(ctx, action, nr, 0);
}

static int fill(scmp_filter_ctx ctx, const char *const *extra)
{
    int r = 0;

    for (unsigned i = 0; i < GH_ARRAY_LEN(allowed) && !r; i++)
        r = add(ctx, SCMP_ACT_ALLOW, allowed[i]);
    for (; extra && *extra && !r; extra++)
        r = add(ctx, SCMP_ACT_ALLOW, *extra);
    for (unsigned i = 0; i < GH_ARRAY_LEN(refused) && !r; i++) {
        r = add(ctx, SCMP_ACT_ERRNO(EPERM), refused[i]);
        if (r == -EEXIST)                        /* this kind is allowed it */
            r = 0;
    }
    /* Memory never becomes executable. */
    if (!r)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (!r)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return r;
}

int gh_backend_sandbox(const char *const *extra, struct gh_error *err)
{
    const struct rlimit none = { 0, 0 };

    /* No core: it would hold the guest's screen or packets. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || setrlimit(RLIMIT_CORE, &none) ||
        setrlimit(RLIMIT_FSIZE, &none))
        return gh_error_set(err, -errno, "SandboxFailed", "The backend's sandbox could not be entered: %s; "
                            "the machine runs without this backend.", strerror(errno));
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int r = ctx ? fill(ctx, extra) : -ENOMEM;
    if (!r)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r ? gh_error_set(err, r, "SandboxFailed", "The backend's system call filter could not be installed: %s; "
                            "a kernel with seccomp filters is needed.", strerror(-r)) : 0;
}
