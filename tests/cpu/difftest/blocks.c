/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The whole run loop: block cache, chained handlers, self-modified code between cases, and exceptions
 * delivered through a long-mode IDT to ring 0, whose stack frame is what is compared.
 */
#include "guest.h"

#include "engine/accel/soft/block.h"
#include "engine/accel/soft/jit/jit.h"
#include "engine/accel/soft/system.h"

#include <string.h>

#define FRAME_WORD(n) dt_guest_kernel_word(DT_STACK_TOP - 8 * (n))

static bool pushes_error(unsigned vector)
{
    return vector == SOFT_DF || (vector >= SOFT_TS && vector <= SOFT_PF_) || vector == SOFT_AC;
}

static void run_blocks(const struct dt_case *c, struct dt_result *r)
{
    unsigned steps = 0;
    dt_guest_load(c);
    while (dt_cpu->cpl == 3 && dt_cpu->run_state == GH_RUN_RUNNABLE && ++steps < 100000)
        soft_run_blocks(dt_cpu, 1);
    dt_guest_collect(r);
    r->vector = 0xff;
    r->error = 0;
    r->cr2 = 0;
    uint64_t at = dt_cpu->rip - DT_KERNEL - DT_LANDING;
    if (dt_cpu->cpl || at >= 32 * 16)
        return; /* not delivered as it should be: 255 equals nothing */
    r->vector = (uint8_t)(at / 16);
    r->end.gpr[GH_RSP] = FRAME_WORD(2);
    r->end.rflags = FRAME_WORD(3);
    r->end.rip = FRAME_WORD(5) - (r->vector == SOFT_BP);
    if (pushes_error(r->vector))
        r->error = (uint32_t)FRAME_WORD(6);
    if (r->vector == SOFT_PF_)
        r->cr2 = dt_cpu->cr2;
}

/* Every block is translated at its first run. */
static void run_jit(const struct dt_case *c, struct dt_result *r)
{
    static bool started;
    if (!started) {
        started = true;
        soft_jit_free(dt_cpu);
        soft_jit_new(dt_cpu, SOFT_JIT_UNLINKED, 0);
    }
    run_blocks(c, r);
}

const struct dt_engine dt_jit = {"jit", run_jit, .dead_flags = true};
const struct dt_engine dt_blocks = {"blocks", run_blocks};
