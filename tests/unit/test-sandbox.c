/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Each case in a child of its own: prepared, sandboxed, then one call. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "engine/machine/sandbox.h"

#define DIES 1000                     /* by SIGSYS */

static int file_fd, sock[2];
static char page[8192] __attribute__((aligned(4096)));

static int call_openat(void) { return open("/etc/passwd", O_RDONLY); }
static int call_open(void) { return (int)syscall(SYS_open, "/etc/passwd", O_RDONLY); }
static int call_creat(void) { return (int)syscall(SYS_creat, "/tmp/gh-test-sandbox", 0600); }
static int call_openat2(void) { return (int)syscall(437, AT_FDCWD, "/etc/passwd", page, 24); }
static int call_socket(void) { return socket(AF_INET, SOCK_STREAM, 0); }
static int call_unix(void) { return socket(AF_UNIX, SOCK_STREAM, 0); }
static int call_connect(void) { return connect(sock[0], (struct sockaddr *)page, 2); }
static int call_bind(void) { return bind(sock[0], (struct sockaddr *)page, 2); }
static int call_execve(void) { char *none[] = { NULL }; return execve("/bin/true", none, none); }
static int call_fork(void) { pid_t p = fork(); if (!p) _exit(0); return p < 0; }
static int call_vfork(void) { return (int)syscall(SYS_vfork); }
static int call_exec_map(void) { return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED; }
static int call_exec_protect(void) { return mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC); }
static int call_ptrace(void) { return (int)ptrace(PTRACE_TRACEME, 0, 0, 0); }
static int call_kill(void) { return kill(getppid(), 0); }
static int call_tgkill_other(void) { return (int)syscall(SYS_tgkill, getppid(), getppid(), 0); }
static int call_ioctl(void) { return ioctl(file_fd, TIOCSTI, "x"); }
static int call_create_vm(void) { return ioctl(file_fd, KVM_CREATE_VM, 0); }
static int call_io_uring(void) { return (int)syscall(425, 1, page); }
static int call_bpf(void) { return (int)syscall(SYS_bpf, 0, page, 8); }
static int call_userfaultfd(void) { return (int)syscall(SYS_userfaultfd, 0); }
static int call_mount(void) { return (int)syscall(SYS_mount, "a", "/", "b", 0, 0); }
static int call_unlink(void) { return unlink("/tmp/gh-test-none"); }
static int call_chmod(void) { return chmod("/tmp", 0777); }
static int call_setuid(void) { return setuid(0); }
static int call_memfd(void) { return memfd_create("x", 0); }
static int call_dumpable(void) { return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); }
static int call_x32(void) { return (int)syscall(0x40000000 + SYS_getpid); }

static int call_rw(void)
{
    char c = 'x';
    return !(pwrite(file_fd, &c, 1, 0) == 1 && pread(file_fd, &c, 1, 0) == 1 && c == 'x' && fsync(file_fd) == 0);
}
static int call_memory(void)
{
    char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *big = malloc(10 << 20);
    if (p == MAP_FAILED || !big)
        return 1;
    memset(big, 1, 10 << 20);
    free(big);
    return mprotect(p, 4096, PROT_READ) || munmap(p, 1 << 20);
}
static void *thread_main(void *opaque) { return opaque; }
/* Frees enough on another thread for its heap to shrink, if it had one of its own. */
static void *heap_main(void *opaque)
{
    void *p[64];
    for (unsigned i = 0; i < 64; i++)
        if (!(p[i] = malloc(60000)))
            return NULL;
    for (unsigned i = 64; i-- > 0;)
        free(p[i]);
    return opaque;
}
static int call_heap(void)
{
    pthread_t t;
    void *r = NULL;
    return pthread_create(&t, NULL, heap_main, page) || pthread_join(t, &r) || r != page;
}
static int call_thread(void)
{
    pthread_t t;
    void *r = NULL;
    return pthread_create(&t, NULL, thread_main, page) || pthread_join(t, &r) || r != page;
}
static int call_fstat(void) { struct stat st; return fstat(file_fd, &st) || !S_ISREG(st.st_mode); }
static int call_signal_self(void) { signal(SIGUSR1, SIG_IGN); return raise(SIGUSR1); }
static int call_print(void) { return fprintf(stdout, "%s", "") < 0; }
static int call_state(void)
{
    struct rlimit core = { 1, 1 };
    getrlimit(RLIMIT_CORE, &core);
    return core.rlim_cur != 0;
}

static const struct { const char *name; int (*fn)(void); int expected; } cases[] = {
    { "openat", call_openat, DIES }, { "open", call_open, DIES }, { "creat", call_creat, DIES },
    { "openat2", call_openat2, DIES }, { "socket", call_socket, DIES }, { "unix socket", call_unix, DIES },
    { "connect", call_connect, DIES }, { "bind", call_bind, DIES }, { "execve", call_execve, DIES },
    { "fork", call_fork, DIES }, { "vfork", call_vfork, DIES }, { "executable mapping", call_exec_map, DIES },
    { "executable protection", call_exec_protect, DIES }, { "ptrace", call_ptrace, DIES }, { "kill", call_kill, DIES },
    { "tgkill of another", call_tgkill_other, DIES }, { "other ioctl", call_ioctl, DIES },
    { "KVM_CREATE_VM", call_create_vm, DIES }, { "io_uring", call_io_uring, DIES }, { "bpf", call_bpf, DIES },
    { "userfaultfd", call_userfaultfd, DIES }, { "mount", call_mount, DIES }, { "unlink", call_unlink, DIES },
    { "chmod", call_chmod, DIES }, { "setuid", call_setuid, DIES }, { "memfd_create", call_memfd, DIES },
    { "dumpable", call_dumpable, DIES }, { "x32", call_x32, DIES },
    { "read and write", call_rw, 0 }, { "memory", call_memory, 0 }, { "threads", call_thread, 0 }, { "a thread's heap", call_heap, 0 },
    { "fstat", call_fstat, 0 }, { "raise", call_signal_self, 0 }, { "print", call_print, 0 },
};

static int finish(pid_t pid)
{
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? DIES : -WTERMSIG(status);
    return WEXITSTATUS(status);
}

static int enter(enum gh_sandbox_mode mode)
{
    struct gh_error err = { 0 };
    if (gh_sandbox_prepare(mode, &err) || gh_sandbox_enter(mode, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return 0;
}

static int in_child(int (*fn)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(10);
        if (enter(GH_SANDBOX_ON))
            _exit(50);
        _exit(fn() ? 51 : 0);
    }
    return finish(pid);
}

/* A thread that exists before the sandbox is in it as well. */
static int go[2];
static void *early_thread(void *opaque)
{
    char c;
    if (read(go[0], &c, 1) == 1)
        (void)!open("/etc/passwd", O_RDONLY);
    return NULL;
}
static int call_early(void)
{
    pthread_t t;
    if (pipe(go) || pthread_create(&t, NULL, early_thread, NULL) || enter(GH_SANDBOX_ON))
        _exit(50);
    if (write(go[1], "x", 1) != 1)
        _exit(51);
    pthread_join(t, NULL);
    _exit(52);
}

static int as_vcpu(void)
{
    if (gh_sandbox_thread(GH_SANDBOX_VCPU, NULL))
        return 1;
    if (call_rw() || call_memory())
        return 1;
    return (int)recv(sock[0], page, 1, MSG_DONTWAIT);
}
static int as_io(void)
{
    if (gh_sandbox_thread(GH_SANDBOX_IO, NULL) || call_rw())
        return 1;
    return ioctl(file_fd, KVM_RUN, 0);
}
static int vcpu_ioctl_allowed(void)
{
    if (gh_sandbox_thread(GH_SANDBOX_VCPU, NULL))
        return 1;
    return !(ioctl(file_fd, KVM_RUN, 0) == -1 && errno == ENOTTY);
}
static int io_allowed(void)
{
    return gh_sandbox_thread(GH_SANDBOX_IO, NULL) || call_rw() || recv(sock[0], page, 1, MSG_DONTWAIT) != -1;
}
static int refilter(void) { return gh_sandbox_thread(GH_SANDBOX_IO, NULL) || gh_sandbox_thread(GH_SANDBOX_IO, NULL); }

static void logging(void)
{
    char line[200] = "";
    int p[2];
    CHECK_FATAL(pipe(p) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(p[1], STDERR_FILENO);
        if (enter(GH_SANDBOX_LOG))
            _exit(50);
        call_socket();
        _exit(51);
    }
    close(p[1]);
    CHECK_EQ(finish(pid), 159);
    CHECK(read(p[0], line, sizeof line - 1) > 0);
    CHECK_STR(line, "gasthaus-vm: the sandbox refused system call 41\n");
    close(p[0]);
}

/* Without seccomp, what remains after prepare. */
static void prepared(void)
{
    bool landlock = syscall(444, NULL, 0, 1) >= 1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (gh_sandbox_prepare(GH_SANDBOX_ON, NULL))
            _exit(50);
        if (landlock && (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES))
            _exit(51);
        if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 || call_state())
            _exit(52);
        if (prctl(PR_CAPBSET_READ, 21, 0, 0, 0) == 1 && geteuid() == 0) /* CAP_SYS_ADMIN */
            _exit(53);
        if (geteuid() == 0 && sethostname("x", 1) == 0)
            _exit(54);
        _exit(0);
    }
    CHECK_EQ(finish(pid), 0);
    if (!landlock)
        printf("note: no Landlock here, files not checked\n");
}

static int stays_off(void)
{
    return gh_sandbox_active() || gh_sandbox_thread(GH_SANDBOX_VCPU, NULL) || call_openat() < 0;
}

int main(void)
{
    char name[] = "/tmp/gh-test-sandbox-XXXXXX";

    file_fd = mkstemp(name);
    CHECK_FATAL(file_fd >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sock) == 0);
    unlink(name);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int got = in_child(cases[i].fn);
        if (got != cases[i].expected)
            fprintf(stderr, "%s:\n", cases[i].name);
        CHECK_EQ(got, cases[i].expected);
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        call_early();
    CHECK_EQ(finish(pid), DIES);
    CHECK_EQ(in_child(as_vcpu), DIES);
    CHECK_EQ(in_child(as_io), DIES);
    CHECK_EQ(in_child(vcpu_ioctl_allowed), 0);
    CHECK_EQ(in_child(io_allowed), 0);
    CHECK_EQ(in_child(refilter), DIES);
    logging();
    prepared();
    CHECK_EQ(gh_sandbox_mode_parse("on"), GH_SANDBOX_ON);
    CHECK_EQ(gh_sandbox_mode_parse("maybe"), -1);
    CHECK_EQ(enter(GH_SANDBOX_OFF), 0);
    CHECK(!stays_off());
    return check_result();
}
