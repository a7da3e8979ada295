/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cases on the host CPU. A child process maps the code and data pages at the guest's addresses, loads
 * the whole register state and enters by IRETQ, also into 32-bit code; every case ends with a
 * signal whose frame holds the end state.
 */
#include "difftest.h"

#include <asm/ldt.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* What dt_enter loads, in this order. */
struct entry {
    uint64_t gpr[16];
    uint64_t rip, cs, rflags, rsp, ss; /* IRETQ's frame */
    const void *xsave;
    uint64_t ds;
};
_Static_assert(offsetof(struct entry, rip) == 128 && offsetof(struct entry, xsave) == 168,
               "offsets used by dt_enter");
_Noreturn void dt_enter(const struct entry *e);
__asm__(".pushsection .text\n"
        ".globl dt_enter\n"
        "dt_enter:\n"
        "movq 168(%rdi), %rsi\n"
        "movl $7, %eax\n"
        "xorl %edx, %edx\n"
        "xrstor64 (%rsi)\n"
        "movl 176(%rdi), %eax\n"
        "movl %eax, %ds\n"
        "movl %eax, %es\n"
        "leaq 128(%rdi), %rsp\n"
        "movq 0(%rdi), %rax\n"
        "movq 8(%rdi), %rcx\n"
        "movq 16(%rdi), %rdx\n"
        "movq 24(%rdi), %rbx\n"
        "movq 40(%rdi), %rbp\n"
        "movq 48(%rdi), %rsi\n"
        "movq 64(%rdi), %r8\n"
        "movq 72(%rdi), %r9\n"
        "movq 80(%rdi), %r10\n"
        "movq 88(%rdi), %r11\n"
        "movq 96(%rdi), %r12\n"
        "movq 104(%rdi), %r13\n"
        "movq 112(%rdi), %r14\n"
        "movq 120(%rdi), %r15\n"
        "movq 56(%rdi), %rdi\n"
        "iretq\n"
        ".popsection\n");

struct shared {
    struct dt_case cases[DT_BATCH];
    struct dt_result results[DT_BATCH];
    _Atomic unsigned running;      /* index the child is at */
};
static struct shared *shared;
static int to_child[2], from_child[2];
static pid_t child;

static uint8_t *code_alias;
static sigjmp_buf back;
static struct dt_result *current;

static void on_signal(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;
    const greg_t *g = uc->uc_mcontext.gregs;
    static const uint8_t order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                      REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11,
                                      REG_R12, REG_R13, REG_R14, REG_R15};
    struct dt_result *r = current;
    __builtin_ia32_writeeflags_u64(0x202); /* a case may have left AC set */
    (void)sig;
    (void)info;
    for (unsigned i = 0; i < 16; i++)
        r->end.gpr[i] = (uint64_t)g[order[i]];
    r->vector = (uint8_t)g[REG_TRAPNO];
    r->error = (uint32_t)g[REG_ERR];
    r->cr2 = r->vector == 14 ? (uint64_t)g[REG_CR2] : 0;
    r->end.rip = (uint64_t)g[REG_RIP] - (r->vector == 3);
    r->end.rflags = (uint64_t)g[REG_EFL];
    /* A missing component is in its initial state. */
    uint64_t present;
    uint8_t *x = r->end.xsave;
    memcpy(x, uc->uc_mcontext.fpregs, DT_XSAVE);
    memcpy(&present, x + 512, 8);
    if (!(present & 1)) {
        memset(x, 0, 24);
        memset(x + 32, 0, 128);
        x[0] = 0x7f;
        x[1] = 3;
    }
    if (!(present & 2))
        memset(x + 160, 0, 256);
    if (!(present & 4))
        memset(x + 576, 0, 256);
    siglongjmp(back, 1);
}

static void run_native(const struct dt_case *c, struct dt_result *r)
{
    struct entry e;
    current = r;
    memset(code_alias, 0xcc, DT_PAGE);
    memcpy(code_alias + (c->at - DT_CODE), c->bytes, dt_code_bytes(c));
    dt_background(c, (uint8_t *)(uintptr_t)DT_DATA, false);
    memcpy(e.gpr, c->start.gpr, sizeof e.gpr);
    e.rip = c->mode16 ? c->at - DT_CS16_BASE : c->at;
    e.cs = c->mode64 ? DT_CS64 : c->mode16 ? DT_CS16 : DT_CS32;
    e.rflags = c->start.rflags;
    e.rsp = c->start.gpr[GH_RSP];
    e.ss = e.ds = c->mode16 ? DT_DS16 : DT_SS;
    e.xsave = c->start.xsave;
    if (!sigsetjmp(back, 0))
        dt_enter(&e);
    memcpy(r->data, (void *)(uintptr_t)DT_DATA, DT_RW);
}

static bool map_pages(void)
{
    int fd = memfd_create("difftest-code", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, DT_PAGE) < 0)
        return false;
    void *code = mmap((void *)(uintptr_t)DT_CODE, DT_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
    code_alias = mmap(NULL, DT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void *data = mmap((void *)(uintptr_t)DT_DATA, DT_RW + DT_PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (code == MAP_FAILED || code_alias == MAP_FAILED || data == MAP_FAILED)
        return false;
    struct dt_case c = {0};
    dt_background(&c, data, true);
    return !mprotect((uint8_t *)data + DT_RW, DT_PAGE, PROT_READ);
}

_Noreturn static void child_main(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    static uint8_t stack[65536];
    stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    unsigned count;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!map_pages())
        _exit(2);
    sigaltstack(&alt, NULL);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &sa, NULL);
    while (read(to_child[0], &count, sizeof count) == sizeof count) {
        for (unsigned i = 0; i < count; i++) {
            atomic_store(&shared->running, i);
            run_native(&shared->cases[i], &shared->results[i]);
        }
        if (write(from_child[1], &count, sizeof count) != sizeof count)
            break;
    }
    _exit(0);
}

bool dt_mode16;

/* Inherited by the child. */
static bool make_ldt(void)
{
    struct user_desc code = {.entry_number = 0, .base_addr = DT_CS16_BASE, .limit = DT_CS16_LIMIT,
                             .contents = MODIFY_LDT_CONTENTS_CODE};
    struct user_desc data = {.entry_number = 1, .base_addr = DT_DS16_BASE, .limit = DT_DS16_LIMIT,
                             .seg_32bit = 1};
    return !syscall(SYS_modify_ldt, 1, &code, sizeof code) &&
           !syscall(SYS_modify_ldt, 1, &data, sizeof data);
}

int dt_native_start(struct dt_case **ret_cases, struct dt_result **ret_results)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || pipe(to_child) || pipe(from_child))
        return -errno;
    dt_mode16 = make_ldt();
    child = fork();
    if (child < 0)
        return -errno;
    if (!child) {
        close(to_child[1]);
        close(from_child[0]);
        child_main();
    }
    close(to_child[0]);
    close(from_child[1]);
    *ret_cases = shared->cases;
    *ret_results = shared->results;
    return 0;
}

void dt_native_begin(unsigned count)
{
    if (write(to_child[1], &count, sizeof count) != sizeof count)
        perror("difftest: native child");
}

bool dt_native_finish(unsigned *ret_at)
{
    unsigned count;
    if (read(from_child[0], &count, sizeof count) == sizeof count)
        return true;
    *ret_at = atomic_load(&shared->running);
    return false;
}

void dt_native_stop(void)
{
    close(to_child[1]);
    waitpid(child, NULL, 0);
}
