/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Decoded blocks. Every vCPU has its own, found by linear address (one direct-mapped cache, valid for
 * one tlb_gen) or by host address of the code and state_key; so the same page seen through two
 * mappings shares its blocks, and a remapped page never runs old ones. An instruction across two pages
 * is a block of its own, which depends on both.
 *
 * Stores into code: the VM keeps, per host page, which 64-byte granules some vCPU has decoded. A
 * store there kills every block that touches the granule: the own vCPU's at once (the rest of a
 * running block turns into soft_op_stale), the others' at their next block head, which is when the
 * architecture lets them see it.
 *
 * Memory of dead blocks is reclaimed all at once, at a block head, when the vCPU's arena is full.
 */
#pragma once
#include "engine/accel/soft/decode.h"

#define SOFT_BLOCK_INSNS 48
#define SOFT_DEAD_KEY (~0ull)

struct soft_block;
struct soft_block {                /* what lookups need comes first: one line of the host's cache */
    uint64_t key;                  /* state_key, or SOFT_DEAD_KEY */
    const uint8_t *host;           /* first byte */
    const uint8_t *second;         /* an instruction across two pages, alone in its block: where the other one begins; or NULL */
    struct soft_block *next;       /* in its page's list */
    void *jit;                     /* translated code (jit/), NULL: none */
    uint8_t *jit_check;            /* of jit, with second: the mapping that it was entered in last */
    uint32_t runs;                 /* executions, for the translator's threshold */
    uint16_t bytes, count;
    bool jit_forgets;              /* of jit: writes the arithmetic flags before anything reads them */
    struct soft_block *next_second; /* in the second page's list */
    void *jit_plain;               /* jit.c */
    struct soft_insn insn[];       /* count of them, then the handler that ends the block: no more of that one is there */
};

/* Once per VM, and per vCPU before its first run. 0 or -ENOMEM. */
int  soft_blocks_vm_new(struct soft_vm *vm);
void soft_blocks_vm_free(struct soft_vm *vm);
int  soft_blocks_new(struct soft_cpu *cpu);
void soft_blocks_free(struct soft_cpu *cpu);

/* The block at linear = rip + CS base, decoding it where needed; raises fetch faults. Never NULL. */
struct soft_block *soft_block_find(struct soft_cpu *cpu, uint64_t linear);
/* The same through the caches only; NULL: ask soft_block_find. */
struct soft_block *soft_block_cached(struct soft_cpu *cpu, uint64_t linear);
/* b, or what takes its place: the same and the blocks behind it that were reached through conditional jumps not taken, as
 * long as those ran so often (0: whatever they did). The jumps have soft_op_jcc_on. Own thread, at a block head. */
struct soft_block *soft_block_extend(struct soft_cpu *cpu, struct soft_block *b, uint32_t runs);
/* SOFT_ATTN_CODE: kills what other threads' stores asked for. Own thread, at a block head. */
void soft_blocks_sync(struct soft_cpu *cpu);
/* Everything decoded is forgotten at the next block head (a new memory map). Any thread. */
void soft_blocks_forget(struct soft_cpu *cpu);
/* The vCPU whose run loop this thread is in; NULL elsewhere. */
extern _Thread_local struct soft_cpu *soft_current;

/* Runs until soft_attend says to leave. */
void soft_run(struct soft_cpu *cpu);
/* The same, but returns after so many block heads at the latest; 0: no limit. For tests. */
void soft_run_blocks(struct soft_cpu *cpu, uint64_t max_blocks);
