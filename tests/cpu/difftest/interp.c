/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The interpreter's handlers alone: one decoded instruction, no blocks, no event delivery: the fault
 * record itself is what is compared.
 */
#include "guest.h"

#include "engine/accel/soft/handlers.h"

#include <setjmp.h>
#include <string.h>

static uint64_t rip_linear(void)
{
    return dt_cpu->code_mode == 64 ? dt_cpu->rip : (uint32_t)(dt_cpu->rip + dt_cpu->seg[GH_CS].base);
}

/* Decodes at rip; a second fetch where the instruction goes on in the next page. */
static void decode_here(struct soft_insn *in)
{
    uint8_t bytes[16];
    uint64_t linear = rip_linear();
    unsigned n = soft_fetch(dt_cpu, linear, bytes, 15);
    if (!soft_decode(dt_cpu->state_key, bytes, n, in)) {
        n += soft_fetch(dt_cpu, linear + n, bytes + n, 15 - n);
        if (!soft_decode(dt_cpu->state_key, bytes, n, in))
            soft_ud(dt_cpu);
    }
}

static void run_instructions(unsigned instructions, struct dt_result *r)
{
    struct soft_insn in;
    volatile uint64_t start = dt_cpu->rip;
    volatile unsigned steps = 0;
    if (setjmp(dt_cpu->fault_jump)) {
        r->vector = dt_cpu->fault.vector;
        r->error = dt_cpu->fault.has_error ? dt_cpu->fault.error : 0;
        r->cr2 = dt_cpu->fault.vector == SOFT_PF_ ? dt_cpu->cr2 : 0;
        return;
    }
    decode_here(&in);
    do { /* a REP instruction may want to be continued */
        soft_insn_run(dt_cpu, &in);
    } while (dt_cpu->rip == start && ++steps < 100000);
    uint8_t byte;
    soft_fetch(dt_cpu, rip_linear(), &byte, 1); /* the INT3 there, or the rest of a sequence */
    for (volatile unsigned i = 1; i < instructions && byte != 0xcc; i++) {
        decode_here(&in);
        soft_insn_run(dt_cpu, &in);
        soft_fetch(dt_cpu, rip_linear(), &byte, 1);
    }
    r->vector = SOFT_BP;
    r->error = 0;
    r->cr2 = 0;
}

static void run_interp(const struct dt_case *c, struct dt_result *r)
{
    dt_guest_load(c);
    run_instructions(c->count, r);
    dt_guest_collect(r);
}

static void run_wrong(const struct dt_case *c, struct dt_result *r)
{
    run_interp(c, r);
    if (!strcmp(soft_rows[c->row].name, "adc") && r->vector == SOFT_BP)
        r->end.rflags ^= 0x10;
}

const struct dt_engine dt_interp = {"interp", run_interp};
const struct dt_engine dt_wrong = {"wrong", run_wrong};
