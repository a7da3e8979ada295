/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The translator: one piece of host code for each decoded block, made on the block's Nth run. The seam to
 * block.c (kills, forgets), interp.c (the run loop) and soft.c (life, counters).
 *
 * Registers: the guest's RAX RCX RDX RBX RBP RSI RDI R8 R9 are in the same host registers, RSP in R12, R12 and R13 in
 * R10 and R11; R10, R11, R14, R15, which compilers use least, are in soft_cpu.gpr. Host R14 is the address of
 * soft_cpu + SOFT_JIT_BIAS, R13 and R15 are scratch, RSP is the host's stack. Everything is in soft_cpu when C
 * code runs.
 * Arithmetic flags: in soft_cpu.aflags at block boundaries, or in EFLAGS between linked blocks of which the second
 * writes them before it reads them; inside a block in EFLAGS after a producer, stored before what destroys
 * them. Flags that no instruction will read are not stored: the frame of an exception or of an interrupt may
 * then hold older ones. That is the one difference to the interpreter.
 * Memory: the TLB way of an operand is computed, or guessed (the stack's last; where the instruction found its page
 * last), and its tag compared. Accesses of a block through one register share that (group.c); a block that jumps to
 * itself has a version for later rounds in which pointers that step by constants are checked once a page (loop.c).
 * Attention is looked at at block heads, but not by jumps forward within a page, and by loops every few rounds.
 * Calls of the guest are calls of the host (flow.c), so that returns go where the host's processor expects them.
 * Code is independent of the linear address: rip is soft_jit_env.rip_page + a constant.
 *
 * What has no template, and every access that misses the TLB, runs the interpreter's handler for
 * that one instruction (soft_jit_one), so there is one definition of everything that is difficult.
 *
 * Thread: the vCPU's own; soft_jit_counters is read by any thread. Memory: one memfd for each vCPU,
 * mapped once writable and once executable; it fills up and is then forgotten as a whole at a block
 * head. Where the host refuses executable memory there is no translator and the log says so once.
 */
#pragma once
#include "engine/accel/soft/block.h"

#define SOFT_JIT_BIAS 208  /* so that the hot fields, from gpr[10] on, have 8-bit displacements */

struct soft_jit_counters {
    uint64_t blocks, bytes_in, bytes_out;  /* translated */
    uint64_t enters;                       /* from the run loop */
    uint64_t links, cross_links;           /* exits patched to their target; across pages */
    uint64_t slow;                         /* instructions run by their handler out of translated code */
    uint64_t kills, forgets;
    uint64_t loops;                        /* versions of blocks for later rounds of a loop */
    uint64_t plain, bails;                 /* blocks translated again without groups; how often they were entered so */
    uint64_t compared;                     /* lockstep: blocks that agreed */
};

enum soft_jit_mode {
    SOFT_JIT_OFF,
    SOFT_JIT_ON,
    SOFT_JIT_UNLINKED,  /* every block returns to the run loop: for tests and lockstep */
};

/* Before the vCPU's first run. Without translator (off, or the host refuses) jit_state stays NULL. */
void soft_jit_new(struct soft_cpu *cpu, enum soft_jit_mode mode, unsigned threshold);
/* What GH_DEBUG says: soft:interp, soft:jit, soft:threshold=N, soft:unlinked, soft:lockstep, soft:disasm,
 * soft:profile, soft:maxblocks=N. */
void soft_jit_new_default(struct soft_cpu *cpu);
void soft_jit_free(struct soft_cpu *cpu);
const struct soft_jit_counters *soft_jit_counters(const struct soft_cpu *cpu);
/* Handlers run out of translated code, by instruction name. */
void soft_jit_visit_slow(const struct soft_cpu *cpu, void (*visit)(void *opaque, const char *name, uint64_t count), void *opaque);

/* block.c: a block with jit set died; all blocks are gone. */
void soft_jit_kill(struct soft_cpu *cpu, struct soft_block *b);
void soft_jit_forget(struct soft_cpu *cpu);

/* The run loop. A link is an exit of translated code that wants to be patched; NULL: none. */
struct soft_jit_link;
/* Counts a run; true: it has (now) host code, or a longer one that replaces it has. */
bool soft_jit_ready(struct soft_cpu *cpu, struct soft_block **block);
/* Patches the exit to go to b, whose linear address is rip. */
void soft_jit_connect(struct soft_cpu *cpu, const struct soft_jit_link *link, const struct soft_block *b);
/* Runs from b, at rip. On return rip is the next instruction's. Faults leave by fault_jump. */
const struct soft_jit_link *soft_jit_run(struct soft_cpu *cpu, const struct soft_block *b);
/* GH_DEBUG=soft:lockstep: run the block by jit_lockstep_run instead. */
bool soft_jit_in_lockstep(const struct soft_cpu *cpu);
void jit_lockstep_run(struct soft_cpu *cpu, const struct soft_block *b);
/* Blocks are chained, so that a limit on their number cannot be kept. */
bool soft_jit_chains(const struct soft_cpu *cpu);
