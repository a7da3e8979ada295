/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <malloc.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's interface by number: the headers here may be older than the kernel. */
#define LANDLOCK_CREATE   444
#define LANDLOCK_RESTRICT 446
#define LANDLOCK_VERSION  (1u << 0)

struct landlock_rules { uint64_t fs, net, scoped; };

int gh_sandbox_mode_parse(const char *text)
{
    return !strcmp(text, "on") ? GH_SANDBOX_ON : !strcmp(text, "log") ? GH_SANDBOX_LOG
           : !strcmp(text, "off") ? GH_SANDBOX_OFF : -1;
}

static int fail(struct gh_error *err, const char *what)
{
    int code = errno ? -errno : -EIO;

    return gh_error_set(err, code, "SandboxFailed", "The machine's sandbox could not be set up (%s: %s), so it "
                        "was not started. Update the kernel, or debug with --sandbox off.", what, strerror(-code));
}

static int drop_capabilities(struct gh_error *err)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct   none[2] = { 0 };

    /* Root without capabilities still owns root's files: groups and the bounding set go too. */
    if (geteuid() == 0) {
        setgroups(0, NULL);
        for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
            if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EPERM)
                return fail(err, "bounding set");
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &head, none) ? fail(err, "capabilities") : 0;
}

/* Handled rights without a single rule: nothing of that kind is possible any more. */
static int landlock(struct gh_error *err)
{
    long abi = syscall(LANDLOCK_CREATE, NULL, 0, LANDLOCK_VERSION);
    if (abi < 1)
        return 0;
    struct landlock_rules rules = {
        .fs = abi >= 5 ? 0xffff : abi >= 3 ? 0x7fff : abi == 2 ? 0x3fff : 0x1fff,
        .net = abi >= 4 ? 3 : 0,     /* bind, connect */
        .scoped = abi >= 6 ? 3 : 0,  /* abstract sockets, signals */
    };
    size_t size = abi >= 6 ? sizeof rules : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    int fd = (int)syscall(LANDLOCK_CREATE, &rules, size, 0);
    if (fd < 0)
        return fail(err, "Landlock");
    long r = syscall(LANDLOCK_RESTRICT, fd, 0);
    int code = errno;
    close(fd);
    errno = code;
    return r ? fail(err, "Landlock") : 0;
}

int gh_sandbox_prepare(enum gh_sandbox_mode mode, struct gh_error *err)
{
    struct rlimit no_core = { 0, 0 };

    if (setrlimit(RLIMIT_CORE, &no_core))
        return fail(err, "core dumps");
    if (mode == GH_SANDBOX_OFF)
        return 0;
    /* libc's further heaps read a file of /proc when they shrink for the first time. */
    mallopt(M_ARENA_MAX, 1);
    int r = drop_capabilities(err);
    if (r)
        return r;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fail(err, "no new privileges");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        return fail(err, "ptrace");
    return landlock(err);
}
