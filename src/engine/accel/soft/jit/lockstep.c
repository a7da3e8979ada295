/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GH_DEBUG=soft:lockstep. Each translated block runs, its stores are taken back by a log, the interpreter
 * runs the same block from the same state, and registers, flags and the stored bytes must agree. The first
 * difference prints both states and ends the process. Blocks in which a handler was called are not
 * compared: the handler is the interpreter, and a device access cannot be taken back. With several
 * vCPUs, or DMA into what a block reads, a difference may be the guest's own race.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/accel/soft/jit/gen.h"

#define LOG_ENTRIES 256u
struct entry { uint64_t host; uint32_t bytes, unused; uint8_t old[48]; };
_Static_assert(sizeof(struct entry) == 64, "emitted");

struct state { uint64_t gpr[16], rip, gs[2]; soft_aflags aflags; uint32_t rest, mxcsr; struct soft_ymm ymm[16]; uint8_t x87[sizeof ((struct soft_cpu *)0)->x87]; };

struct lockstep { struct entry log[LOG_ENTRIES]; uint8_t new[LOG_ENTRIES][48]; };

int jit_lockstep_new(struct soft_jit *j)
{
    j->lockstep = calloc(1, sizeof *j->lockstep);
    return j->lockstep ? 0 : -1;
}

void jit_log_store(struct jit_gen *g, unsigned bytes)
{
    if (!g->jit->lockstep)
        return;
    jit_load(g, JIT_B, JIT_ENV_OF(jit.log));
    jit_rm(g, 0x89 | O_W, JIT_A, JIT_B, (int)offsetof(struct entry, host));
    jit_rm(g, 0xc7, 0, JIT_B, (int)offsetof(struct entry, bytes));
    jit_e32(g, bytes);
    jit_store(g, H_RAX, JIT_ENV_OF(jit.tmp[1]));
    for (unsigned at = 0; at < bytes;) {
        unsigned n = bytes - at >= 8 ? 8 : bytes - at >= 4 ? 4 : bytes - at >= 2 ? 2 : 1;
        uint32_t size = n == 8 ? O_W : n == 2 ? O_66 : 0, byte = n == 1 ? 0 : 1;
        jit_rm(g, (0x8a + byte) | size, H_RAX, JIT_A, (int)at);
        jit_rm(g, (0x88 + byte) | size, H_RAX, JIT_B, (int)(offsetof(struct entry, old) + at));
        at += n;
    }
    jit_load(g, H_RAX, JIT_ENV_OF(jit.tmp[1]));
    jit_rm(g, 0x8d | O_W, JIT_B, JIT_B, (int)sizeof(struct entry));
    jit_store(g, JIT_B, JIT_ENV_OF(jit.log));
}

static struct state take(const struct soft_cpu *cpu)
{
    struct state s = { .rip = cpu->rip, .aflags = cpu->aflags, .rest = cpu->rflags_rest, .mxcsr = cpu->mxcsr };
    memcpy(s.gpr, cpu->gpr, sizeof s.gpr);
    s.gs[0] = cpu->seg[GH_GS].base;
    s.gs[1] = cpu->kernel_gs_base;
    memcpy(s.ymm, cpu->ymm, sizeof s.ymm);
    memcpy(s.x87, &cpu->x87, sizeof s.x87);
    return s;
}

static void give(struct soft_cpu *cpu, const struct state *s)
{
    memcpy(cpu->gpr, s->gpr, sizeof s->gpr);
    cpu->rip = s->rip;
    cpu->seg[GH_GS].base = s->gs[0];         /* SWAPGS */
    cpu->kernel_gs_base = s->gs[1];
    cpu->aflags = s->aflags;
    cpu->rflags_rest = s->rest;
    soft_update_level(cpu);                  /* STAC and CLAC choose the half of the TLB */
    cpu->mxcsr = s->mxcsr;
    memcpy(cpu->ymm, s->ymm, sizeof s->ymm);
    memcpy(&cpu->x87, s->x87, sizeof s->x87);
}

/* Flags to compare. Shifts by a constant above 1 leave OF (and AF) undefined, and processors answer differently
 * for a count in the instruction, which is what was copied, and one in CL, which the handlers use. */
static soft_aflags defined_flags(const struct soft_block *b)
{
    for (unsigned i = 0; i < b->count; i++)
        if (b->insn[i].klass == K_SHIFT || b->insn[i].klass == K_SHIFTD)
            return (soft_aflags)~(SOFT_OF | SOFT_AF);
    return (soft_aflags)~0u;
}

static void print_state(const char *name, const struct state *s)
{
    fprintf(stderr, "%s: rip %#" PRIx64 " flags %#x rest %#x", name, s->rip, s->aflags, s->rest);
    for (unsigned i = 0; i < 16; i++)
        fprintf(stderr, "%s%2u %016" PRIx64, i % 4 ? "  " : "\n  ", i, s->gpr[i]);
    fprintf(stderr, "\n  mxcsr %#x", s->mxcsr);
    for (unsigned i = 0; i < 16; i++)
        fprintf(stderr, "%sx%-2u %016" PRIx64 "%016" PRIx64, i % 2 ? "  " : "\n  ", i, s->ymm[i].q[1], s->ymm[i].q[0]);
    fputc('\n', stderr);
}

_Noreturn static void differ(const struct soft_block *b, const struct soft_jit *j, const struct state *start,
                             const struct state *jit, const struct state *interp)
{
    fprintf(stderr, "soft:lockstep: the translated block and the interpreter disagree (key %#" PRIx64 "):", b->key);
    for (unsigned i = 0; i < b->count; i++)
        fprintf(stderr, " %s", soft_insn_name(&b->insn[i]));
    fprintf(stderr, "\nguest bytes:");
    for (unsigned i = 0; i < b->bytes && (((uintptr_t)b->host + i) & 0xfff) >= ((uintptr_t)b->host & 0xfff); i++)
        fprintf(stderr, " %02x", b->host[i]);
    fprintf(stderr, "\nhost bytes:");
    const uint8_t *p = b->jit;
    for (unsigned i = 0; p && i < 600 && p + i < j->rw + j->used; i++)
        fprintf(stderr, " %02x", p[i]);
    fputc('\n', stderr);
    print_state("start", start);
    print_state("translated", jit);
    print_state("interpreted", interp);
    abort();
}

void jit_lockstep_run(struct soft_cpu *cpu, const struct soft_block *b)
{
    struct soft_jit *j = cpu->jit_state;
    struct lockstep *l = j->lockstep;
    struct state start = take(cpu), after, again;
    uint64_t slow = j->count.slow;
    cpu->jit.log = (uintptr_t)l->log;
    soft_jit_run(cpu, b);
    after = take(cpu);
    if (j->count.slow != slow || after.rip == start.rip || b->key == SOFT_DEAD_KEY)
        return;                              /* a handler ran, or attention kept the block from running */
    unsigned n = (unsigned)((struct entry *)cpu->jit.log - l->log);
    for (unsigned i = n; i--;) {
        memcpy(l->new[i], (void *)l->log[i].host, l->log[i].bytes);
        memcpy((void *)l->log[i].host, l->log[i].old, l->log[i].bytes);
    }
    give(cpu, &start);
    b->insn[0].fn(cpu, b->insn);
    again = take(cpu);
    bool same = !memcmp(after.gpr, again.gpr, sizeof after.gpr) && after.rip == again.rip &&
                !memcmp(after.gs, again.gs, sizeof after.gs) &&
                !((after.aflags ^ again.aflags) & defined_flags(b)) && after.rest == again.rest &&
                after.mxcsr == again.mxcsr && !memcmp(after.ymm, again.ymm, sizeof after.ymm) &&
                !memcmp(after.x87, again.x87, sizeof after.x87);
    for (unsigned i = n; i-- && same;)       /* later stores may cover earlier ones: the last word counts */
        for (unsigned k = 0; k < l->log[i].bytes; k++) {
            uint64_t at = l->log[i].host + k;
            bool covered = false;
            for (unsigned m = i + 1; m < n && !covered; m++)
                covered = at >= l->log[m].host && at < l->log[m].host + l->log[m].bytes;
            if (!covered && *(uint8_t *)at != l->new[i][k]) {
                fprintf(stderr, "soft:lockstep: store %u of %u differs in byte %u\n", i, n, k);
                same = false;
                break;
            }
        }
    if (!same)
        differ(b, j, &start, &after, &again);
    j->count.compared++;
}
