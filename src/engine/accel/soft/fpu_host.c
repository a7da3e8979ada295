/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The host's floating point units at the guest's service: x87 thunks and the SIGFPE guard.
 *
 * The x87 never needs the guard: an unmasked exception stays pending until the next waiting
 * instruction, and what follows the thunk is FNSAVE, which does not wait and leaves the unit
 * initialised.
 */
#include "engine/accel/soft/fpu.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

_Static_assert(sizeof(struct soft_x87_image) == 108, "FNSAVE's 32-bit form");

/* One thunk of 8 bytes for each encoding. Memory forms address (%rdx). Encodings that are not
 * instructions exist in the table too; x87.c never selects them. */
__asm__(".pushsection .text\n"
        ".balign 16\n"
        "soft_x87_reg_thunks:\n"
        ".set x87_i, 0\n"
        ".rept 512\n"
        ".byte 0xd8 + (x87_i >> 6), 0xc0 + (x87_i & 63)\n"
        "ret\n"
        ".balign 8\n"
        ".set x87_i, x87_i + 1\n"
        ".endr\n"
        "soft_x87_mem_thunks:\n"
        ".set x87_i, 0\n"
        ".rept 64\n"
        ".byte 0xd8 + (x87_i >> 3), ((x87_i & 7) << 3) | 2\n"
        "ret\n"
        ".balign 8\n"
        ".set x87_i, x87_i + 1\n"
        ".endr\n"
        /* soft_aflags soft_x87_run(image rdi, thunk rsi, mem rdx, flags ecx): AL + 0x7f sets OF
         * from 0 or 1, SAHF the rest. */
        ".globl soft_x87_run\n"
        ".type soft_x87_run, @function\n"
        "soft_x87_run:\n"
        "frstor (%rdi)\n"
        "movl %ecx, %eax\n"
        "addb $0x7f, %al\n"
        "sahf\n"
        "call *%rsi\n"
        "lahf\n"
        "seto %al\n"
        "fnsave (%rdi)\n"
        "movzwl %ax, %eax\n"
        "ret\n"
        ".size soft_x87_run, . - soft_x87_run\n"
        ".popsection\n");

extern const uint8_t soft_x87_reg_thunks[512 * 8] __attribute__((visibility("hidden")));
extern const uint8_t soft_x87_mem_thunks[64 * 8] __attribute__((visibility("hidden")));

const void *soft_x87_reg_thunk(unsigned esc, unsigned modrm)
{
    return soft_x87_reg_thunks + (((esc & 7) << 6) | (modrm & 63)) * 8;
}

const void *soft_x87_mem_thunk(unsigned esc, unsigned reg)
{
    return soft_x87_mem_thunks + (((esc & 7) << 3) | (reg & 7)) * 8;
}

/* ---- The guard ------------------------------------------------------------------------------- */

struct guard {
    sigjmp_buf jump;
    uint32_t mxcsr;
};
static _Thread_local struct guard *volatile guard_now;
static struct sigaction previous_sigfpe;

static void on_sigfpe(int sig, siginfo_t *info, void *context)
{
    struct guard *g = guard_now;
    if (g) {
        const ucontext_t *uc = context;
        g->mxcsr = uc->uc_mcontext.fpregs->mxcsr;
        siglongjmp(g->jump, 1);
    }
    /* Not ours: whoever had the signal before gets it. */
    if (previous_sigfpe.sa_flags & SA_SIGINFO)
        previous_sigfpe.sa_sigaction(sig, info, context);
    else if (previous_sigfpe.sa_handler != SIG_DFL && previous_sigfpe.sa_handler != SIG_IGN)
        previous_sigfpe.sa_handler(sig);
    else
        sigaction(SIGFPE, &previous_sigfpe, NULL); /* returns to the fault, which then kills */
}

/* SA_NODEFER, so that leaving by longjmp restores no signal mask. */
static void install_guard(void)
{
    struct sigaction sa = {.sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_NODEFER};
    struct sigaction old;
    sigaction(SIGFPE, NULL, &old);
    if ((old.sa_flags & SA_SIGINFO) && old.sa_sigaction == on_sigfpe)
        return;
    previous_sigfpe = old;
    sigaction(SIGFPE, &sa, NULL);
}

/* The handler is in place before main: a sandboxed machine cannot install one later. */
__attribute__((constructor)) static void guard_at_start(void)
{
    install_guard();
}

bool soft_fpu_guarded(void (*fn)(void *arg), void *arg, uint32_t *ret_mxcsr)
{
    struct guard g;
    bool done = false;
    guard_now = &g;
    if (!sigsetjmp(g.jump, 0)) {
        fn(arg);
        done = true;
    }
    guard_now = NULL;
    uint32_t host = MXCSR_DEFAULT;
    __asm__ volatile("ldmxcsr %0" : : "m"(host));
    if (!done)
        *ret_mxcsr = g.mxcsr;
    return done;
}
