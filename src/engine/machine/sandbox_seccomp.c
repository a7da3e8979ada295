/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The machine process's system calls. Everything not listed ends it. ioctl is allowed by command
 * number, memory without PROT_EXEC, new threads but no new processes, signals to itself only.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "engine/machine/sandbox.h"

#define TRAPPED_STATUS 159            /* 128 + SIGSYS, as a shell reports the kill */

static atomic_bool active;
static uint32_t refusal;              /* what a refused call meets, for later threads too */

bool gh_sandbox_active(void) { return atomic_load(&active); }

#define C(name) SCMP_SYS(name)
static const int plain[] = {
    /* descriptors that exist */
    C(read), C(write), C(readv), C(writev), C(pread64), C(pwrite64), C(preadv), C(pwritev), C(preadv2),
    C(pwritev2), C(lseek), C(fstat), C(fstatfs), C(fsync), C(fdatasync), C(fallocate), C(ftruncate), C(close),
    C(recvmsg), C(recvfrom), C(sendmsg), C(sendto), C(accept4), C(shutdown), C(getsockopt),
    /* waiting */
    C(poll), C(ppoll), C(epoll_wait), C(epoll_pwait), C(epoll_ctl), C(timerfd_settime), C(timerfd_gettime),
    C(futex), C(nanosleep), C(clock_nanosleep), C(sched_yield), C(restart_syscall),
    /* time and self-knowledge */
    C(clock_gettime), C(clock_getres), C(gettimeofday), C(time), C(getcpu), C(getpid), C(gettid), C(getrandom),
    C(sched_getaffinity), C(getrusage),
    /* memory */
    C(munmap), C(mremap), C(madvise), C(brk), C(membarrier), C(mincore),
    /* threads and signals */
    C(exit), C(exit_group), C(set_robust_list), C(rseq), C(rt_sigreturn), C(rt_sigprocmask), C(rt_sigaction),
    C(rt_sigtimedwait), C(sigaltstack),
};

static const unsigned long kvm_commands[] = {
    KVM_RUN, KVM_SET_SIGNAL_MASK, KVM_INTERRUPT, KVM_NMI, KVM_SET_GUEST_DEBUG,
    KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
    KVM_GET_XSAVE, KVM_SET_XSAVE, KVM_GET_XCRS, KVM_SET_XCRS, KVM_GET_MSRS, KVM_SET_MSRS,
    KVM_GET_LAPIC, KVM_SET_LAPIC, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, KVM_GET_MP_STATE, KVM_SET_MP_STATE,
    KVM_KVMCLOCK_CTRL, KVM_SET_USER_MEMORY_REGION, KVM_GET_DIRTY_LOG, KVM_SIGNAL_MSI, KVM_SET_GSI_ROUTING,
    KVM_IRQFD, KVM_IOEVENTFD, KVM_GET_CLOCK, KVM_SET_CLOCK, KVM_GET_DEVICE_ATTR, KVM_SET_DEVICE_ATTR, KVM_TRANSLATE,
};
static const unsigned long other_commands[] = { TCGETS, FIONREAD };

static const int fcntl_commands[] = { F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_OFD_SETLK, F_OFD_GETLK,
                                      F_ADD_SEALS, F_GET_SEALS };

static int allow_ioctls(scmp_filter_ctx f)
{
    int r = 0;

    for (unsigned i = 0; i < GH_ARRAY_LEN(kvm_commands) && !r; i++)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(ioctl), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, kvm_commands[i] & 0xffffffff));
    for (unsigned i = 0; i < GH_ARRAY_LEN(other_commands) && !r; i++)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(ioctl), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, other_commands[i]));
    return r;
}

static int build(scmp_filter_ctx f)
{
    int r = 0;

    for (unsigned i = 0; i < GH_ARRAY_LEN(plain) && !r; i++)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, plain[i], 0);
    for (unsigned i = 0; i < GH_ARRAY_LEN(fcntl_commands) && !r; i++)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)fcntl_commands[i]));
    if (!r)
        r = allow_ioctls(f);
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* Threads, not processes. clone3 hides its flags in memory; libc falls back to clone. */
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NEWUSER | CLONE_NEWNS, CLONE_THREAD));
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), C(clone3), 0);
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    /* libc's fstat; the empty-path flag must stand. */
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(newfstatat), 1, SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH));
    /* A thread may only tighten further: operation 1 is SECCOMP_SET_MODE_FILTER. */
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, C(seccomp), 1, SCMP_A0(SCMP_CMP_EQ, 1));
    /* abort(3) and raise(3) reach tgkill above; a limit query by libc is answered with "no". */
    if (!r)
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), C(prlimit64), 0);
    return r;
}

/* Async-signal-safe: formats by hand, writes, ends. */
static void on_sigsys(int signal_number, siginfo_t *info, void *context)
{
    static const char head[] = "gasthaus-vm: the sandbox refused system call ";
    char     line[80];
    size_t   n = sizeof head - 1;
    unsigned number = (unsigned)info->si_syscall, divisor = 1000;

    memcpy(line, head, n);
    while (divisor > 1 && number / divisor == 0)
        divisor /= 10;
    for (; divisor; divisor /= 10)
        line[n++] = (char)('0' + number / divisor % 10);
    line[n++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
    _exit(TRAPPED_STATUS);
}

static int load_failed(int r, struct gh_error *err)
{
    return gh_error_set(err, r, "SandboxFailed", "The machine's sandbox could not be set up (seccomp: %s), so it was "
                        "not started. Update the kernel, or debug with --sandbox off.", strerror(-r));
}

int gh_sandbox_enter(enum gh_sandbox_mode mode, struct gh_error *err)
{
    if (mode == GH_SANDBOX_OFF)
        return 0;
    if (mode == GH_SANDBOX_LOG) {
        struct sigaction act = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };
        sigaction(SIGSYS, &act, NULL);
    }
    refusal = mode == GH_SANDBOX_LOG ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS;
    scmp_filter_ctx f = seccomp_init(refusal);
    if (!f)
        return load_failed(-ENOMEM, err);
    int r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!r)
        r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (!r)
        seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: KVM_RUN is hot */
    if (!r)
        r = build(f);
    if (!r)
        r = seccomp_load(f);
    seccomp_release(f);
    if (r)
        return load_failed(r, err);
    atomic_store(&active, true);
    return 0;
}

int gh_sandbox_thread(enum gh_sandbox_thread class, struct gh_error *err)
{
    /* Guest code ends on a vCPU thread first: it needs no connections and no new threads. Workers and
     * the main thread never run a guest. */
    static const int vcpu[] = { C(accept4), C(recvmsg), C(recvfrom), C(shutdown), C(getsockopt), C(clone), C(fallocate),
                                C(ftruncate), C(epoll_wait), C(epoll_pwait) };

    if (!gh_sandbox_active())
        return 0;
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    if (!f)
        return load_failed(-ENOMEM, err);
    /* Already set, and asking again would need prctl. */
    int r = seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 0);
    if (class == GH_SANDBOX_VCPU) {
        for (unsigned i = 0; i < GH_ARRAY_LEN(vcpu) && !r; i++)
            r = seccomp_rule_add(f, refusal, vcpu[i], 0);
    } else {
        static const int io[] = { C(accept4), C(clone), C(epoll_wait), C(epoll_pwait) }; /* disks and the screen: no new peers */
        for (unsigned i = 0; class == GH_SANDBOX_IO && i < GH_ARRAY_LEN(io) && !r; i++)
            r = seccomp_rule_add(f, refusal, io[i], 0);
        if (!r)
            r = seccomp_rule_add(f, refusal, C(ioctl), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, KVM_RUN));
    }
    if (!r)
        r = seccomp_rule_add(f, refusal, C(seccomp), 0); /* the last filter of this thread */
    if (!r)
        r = seccomp_load(f);
    seccomp_release(f);
    return r ? load_failed(r, err) : 0;
}
