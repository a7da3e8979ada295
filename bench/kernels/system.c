/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What needs a kernel: calls, faults, processes; and code that changes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels.h"

static void die(const char *what)
{
    perror(what);
    exit(1);
}

void mkdir_or_die(const char *path)
{
    struct stat st;

    if (mkdir(path, 0755) && stat(path, &st))
        die(path);
}

static uint8_t *code_page(void)
{
    static uint8_t *page;

    if (!page) {
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
            die("mmap");
        memcpy(page, (const uint8_t[]){ 0xb8, 0, 0, 0, 0, 0xc3 }, 6);   /* mov eax, imm32; ret */
    }
    return page;
}

/* A function whose constant is rewritten before every call. */
void k_smc(unsigned long count)
{
    uint8_t *page = code_page();
    uint32_t sum = 0;

    for (unsigned long i = 0; i < count; i++) {
        *(volatile uint32_t *)(page + 1) = (uint32_t)i;
        sum += ((uint32_t (*)(void))(uintptr_t)page)();
    }
    if (sum != (uint32_t)(count * (count - 1) / 2))
        printf("WRONG smc: old code ran\n");
}

void k_xadd(unsigned long count)
{
    static unsigned long word;

    while (count--)
        __atomic_fetch_add(&word, 3, __ATOMIC_SEQ_CST);
    sink = word;
}

void k_getppid(unsigned long count)
{
    while (count--)
        syscall(SYS_getppid);
}

/* First touches of anonymous pages. */
void k_fault(unsigned long count)
{
    enum { PAGES = 1024 };

    while (count) {
        unsigned long n = count < PAGES ? count : PAGES;
        uint8_t *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            die("mmap");
        madvise(p, PAGES * 4096, MADV_NOHUGEPAGE);
        for (unsigned long i = 0; i < n; i++)
            p[i * 4096] = 1;
        munmap(p, PAGES * 4096);
        count -= n;
    }
}

/* A byte to another process and back. */
void k_pipe(unsigned long count)
{
    int there[2], back[2];
    char c = 'x';

    if (pipe(there) || pipe(back))
        die("pipe");
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        close(there[1]);
        close(back[0]);
        while (read(there[0], &c, 1) == 1 && write(back[1], &c, 1) == 1)
            ;
        _exit(0);
    }
    close(there[0]);
    close(back[1]);
    while (count--)
        if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
            die("pipe");
    close(there[1]);
    close(back[0]);
    waitpid(child, NULL, 0);
}

void k_fork(unsigned long count)
{
    while (count--) {
        pid_t child = fork();
        if (child < 0)
            die("fork");
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
}

/* fork and exec of this program, which ends at once. */
void k_exec(unsigned long count)
{
    while (count--) {
        pid_t child = fork();
        if (child < 0)
            die("fork");
        if (child == 0) {
            execl("/proc/self/exe", "kernels", "exit", (char *)NULL);
            _exit(1);
        }
        int status;
        waitpid(child, &status, 0);
        if (status)
            printf("WRONG exec: status %d\n", status);
    }
}

/* A port nobody answers. Only in a guest: a process may not. */
void k_out(unsigned long count)
{
    if (ioperm(0x80, 1, 1)) {
        printf("WRONG out: no permission\n");
        return;
    }
    while (count--)
        __asm__ volatile("outb %%al, $0x80" :: "a"(0));
}

const struct kernel kernels[] = {
    { "alu", "loop", k_alu }, { "sieve", "1MiB", k_sieve }, { "chase", "load", k_chase }, { "sha256", "block", k_sha256 },
    { "qsort", "4096", k_qsort }, { "fib", "fib(20)", k_fib }, { "icall", "call", k_icall }, { "hash", "lookup", k_hash },
    { "token", "64KiB", k_token }, { "strings", "3x300B", k_strings }, { "double", "loop", k_double },
    { "float", "4096", k_float }, { "x87", "loop", k_x87 }, { "movsb", "4KiB", k_movsb }, { "stosq", "4KiB", k_stosq },
    { "memcpy", "1MiB", k_memcpy }, { "smc", "call", k_smc }, { "xadd", "op", k_xadd }, { "getppid", "call", k_getppid },
    { "fault", "page", k_fault }, { "pipe", "trip", k_pipe }, { "fork", "child", k_fork }, { "exec", "child", k_exec },
    { "out", "byte", k_out },
    { NULL, NULL, NULL },
};
