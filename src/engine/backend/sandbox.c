/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"

/* The kernel's interface by number: the headers here may be older than the kernel. */
enum { LANDLOCK_CREATE = 444, LANDLOCK_ADD = 445, LANDLOCK_RESTRICT = 446, LANDLOCK_VERSION = 1, LANDLOCK_BELOW = 1,
       LANDLOCK_READ_FILE = 1 << 2, LANDLOCK_READ_DIR = 1 << 3 };
struct landlock_rules { uint64_t fs, net, scoped; };
struct landlock_below { uint64_t rights; int32_t folder; } __attribute__((packed));

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

/* Handled rights without a rule: nothing of that kind is possible any more. An older kernel has less. */
static int landlock(const struct gh_backend_rights *rights)
{
    long abi = syscall(LANDLOCK_CREATE, NULL, 0, LANDLOCK_VERSION);
    if (abi < 1)
        return rights->read_folder >= 0 ? -ENOSYS : 0;
    struct landlock_rules rules = {
        .fs = abi >= 5 ? 0xffff : abi >= 3 ? 0x7fff : abi == 2 ? 0x3fff : 0x1fff,
        .net = abi >= 4 && !rights->network ? 3 : 0,
        .scoped = abi >= 6 ? 3 : 0,
    };
    size_t size = abi >= 6 ? sizeof rules : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    int fd = (int)syscall(LANDLOCK_CREATE, &rules, size, 0);
    if (fd < 0)
        return -errno;
    struct landlock_below below = { LANDLOCK_READ_FILE | LANDLOCK_READ_DIR, rights->read_folder };
    int r = 0;
    if (rights->read_folder >= 0 && syscall(LANDLOCK_ADD, fd, LANDLOCK_BELOW, &below, 0))
        r = -errno;
    if (!r && syscall(LANDLOCK_RESTRICT, fd, 0))
        r = -errno;
    close(fd);
    return r;
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct   none[2] = { 0 };

    return syscall(SYS_capset, &head, none) ? -errno : 0;
}

int gh_backend_sandbox(const char *const *extra, struct gh_error *err)
{ return gh_backend_sandbox_with(&(struct gh_backend_rights){ .calls = extra, .read_folder = -1 }, err); }

int gh_backend_sandbox_with(const struct gh_backend_rights *rights, struct gh_error *err)
{
    const struct rlimit none = { 0, 0 };

    /* No core: it would hold the guest's screen or packets. */
    int r = drop_capabilities();
    if (!r && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || setrlimit(RLIMIT_CORE, &none) ||
               setrlimit(RLIMIT_FSIZE, &none)))
        r = -errno;
    if (!r)
        r = landlock(rights);
    if (r)
        return gh_error_set(err, r, "SandboxFailed", "The backend's sandbox could not be entered: %s; "
                            "the machine runs without this backend.", strerror(-r));
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    r = ctx ? fill(ctx, rights->calls) : -ENOMEM;
    if (!r)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r ? gh_error_set(err, r, "SandboxFailed", "The backend's system call filter could not be installed: %s; "
                            "a kernel with seccomp filters is needed.", strerror(-r)) : 0;
}
