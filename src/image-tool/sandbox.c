/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "image-tool/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"

/* The kernel's interface by number: the headers here may be older than the kernel. */
enum { LANDLOCK_CREATE = 444, LANDLOCK_ADD = 445, LANDLOCK_RESTRICT = 446, LANDLOCK_PATH_BENEATH = 1 };
enum { FS_WRITE = 1 << 1, FS_READ = 1 << 2, FS_LIST = 1 << 3, FS_REMOVE = 1 << 5, FS_MAKE = 1 << 8, FS_TRUNCATE = 1 << 14, FS_IOCTL = 1 << 15 };
struct landlock_rules { uint64_t fs, net, scoped; };
struct __attribute__((packed)) landlock_beneath { uint64_t allowed; int32_t fd; };

static int fail(struct gh_error *err, const char *what)
{
    int code = errno ? -errno : -EIO;

    return gh_error_set(err, code, "SandboxFailed", "The sandbox could not be set up (%s: %s); nothing was opened.", what, strerror(-code));
}

static int allow(int rules, const char *path, uint64_t rights, uint64_t handled)
{
    struct stat st;
    gh_autoclose int fd = open(path, O_PATH | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0)
        return 0;
    if (!S_ISDIR(st.st_mode))
        rights &= FS_READ | FS_WRITE | FS_TRUNCATE | FS_IOCTL;
    struct landlock_beneath rule = { rights & handled, fd };
    return (int)syscall(LANDLOCK_ADD, rules, LANDLOCK_PATH_BENEATH, &rule, 0);
}

static int landlock(const char *const *readable, const char *const *writable, struct gh_error *err)
{
    long abi = syscall(LANDLOCK_CREATE, NULL, 0, 1u);

    if (abi < 1)
        return 0;
    struct landlock_rules rules = {
        .fs = abi >= 5 ? 0xffff : abi >= 3 ? 0x7fff : abi == 2 ? 0x3fff : 0x1fff,
        .net = abi >= 4 ? 3 : 0, .scoped = abi >= 6 ? 3 : 0,
    };
    size_t size = abi >= 6 ? sizeof rules : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    gh_autoclose int fd = (int)syscall(LANDLOCK_CREATE, &rules, size, 0);
    if (fd < 0)
        return fail(err, "Landlock");
    for (; readable && *readable; readable++)
        if (allow(fd, *readable, FS_READ | FS_LIST | FS_IOCTL, rules.fs) < 0)
            return fail(err, "Landlock");
    for (; writable && *writable; writable++)
        if (allow(fd, *writable, FS_READ | FS_LIST | FS_WRITE | FS_REMOVE | FS_MAKE | FS_TRUNCATE | FS_IOCTL, rules.fs) < 0)
            return fail(err, "Landlock");
    return syscall(LANDLOCK_RESTRICT, fd, 0) ? fail(err, "Landlock") : 0;
}

#define C(name) SCMP_SYS(name)
static const int allowed[] = {
    C(read), C(write), C(readv), C(writev), C(pread64), C(pwrite64), C(preadv), C(pwritev), C(preadv2), C(pwritev2), C(lseek),
    C(open), C(openat), C(close), C(stat), C(lstat), C(fstat), C(newfstatat), C(statx), C(statfs), C(fstatfs), C(access), C(faccessat),
    C(faccessat2), C(readlink), C(readlinkat), C(getdents64), C(getcwd), C(fcntl), C(ioctl), C(dup), C(fsync), C(fdatasync),
    C(sync_file_range), C(fadvise64), C(copy_file_range), C(fallocate), C(ftruncate), C(fchmod), C(fchown), C(utimensat), C(rename), C(renameat), C(renameat2), C(unlink), C(unlinkat),
    C(poll), C(ppoll), C(futex), C(nanosleep), C(clock_nanosleep), C(sched_yield), C(restart_syscall),
    C(clock_gettime), C(clock_getres), C(gettimeofday), C(time), C(getcpu), C(getpid), C(gettid), C(getuid), C(geteuid), C(getgid), C(getegid),
    C(getrandom), C(sched_getaffinity), C(getrusage), C(sysinfo), C(uname), C(prlimit64),
    C(munmap), C(mremap), C(madvise), C(brk), C(membarrier), C(mincore),
    C(exit), C(exit_group), C(set_robust_list), C(rseq), C(rt_sigreturn), C(rt_sigprocmask), C(rt_sigaction), C(sigaltstack), C(tgkill),
};

static int filter(struct gh_error *err)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int r = f ? 0 : -ENOMEM;

    for (unsigned i = 0; i < GH_ARRAY_LEN(allowed) && !r; i++)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
    /* Memory never becomes executable; threads, but no processes. clone3 hides its flags: libc falls back. */
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), C(clone3), 0);
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    if (!r)
        r = seccomp_load(f);
    seccomp_release(f);
    errno = r < 0 ? -r : 0;
    return r ? fail(err, "seccomp") : 0;
}

int tool_sandbox(const char *const *readable, const char *const *writable, struct gh_error *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fail(err, "no new privileges");
#ifdef GH_SANITIZE
    return 0; /* the sanitizers look at /proc and map what they like */
#endif
    int r = landlock(readable, writable, err);
    return r ? r : filter(err);
}
