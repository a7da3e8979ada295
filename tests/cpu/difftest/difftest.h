/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The differential test of the software CPU: random user-mode instructions from the one instruction
 * table run on the host CPU and on an engine under test; registers, flags, x87, SSE and AVX
 * state, memory and exceptions must be equal.
 *
 *   gen.c        a case from a number: instruction bytes and start state
 *   native.c     runs cases on the host CPU, in a child process
 *   guest.c      the guest machine of the engines
 *   interp.c     engine: one handler call
 *   blocks.c     engine: the run loop with block cache and event delivery
 *   exempt.c     what the architecture leaves open, with reasons
 *   main.c       batches, comparison, report
 *
 * The instruction sits in a code page otherwise full of INT3 and the case ends with the first
 * exception: normally the INT3 after it or at its jump target. Guest linear addresses are the
 * same on both sides:
 *
 *     CODE           read, write, execute
 *     CODE + 1 page  nothing
 *     DATA - 1 page  nothing
 *     DATA           read, write     2 pages
 *     RO             read            1 page, adjacent
 *     RO + 1 page    nothing
 *
 * Some cases are sequences: several instructions in a row, whose memory operands have fixed addresses (page seams and
 * protected pages among them), so that flags, registers and a fault in the middle go through a whole block. Some
 * of them change an instruction further on; and some run into the end of the code page, also inside an instruction.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/accel/soft/decode.h"

#define DT_PAGE   4096u
#define DT_CODE   0x10000000u
#define DT_INSN   (DT_CODE + 0x800u)
#define DT_DATA   0x20001000u
#define DT_RW     (2 * DT_PAGE)
#define DT_RO     (DT_DATA + DT_RW)
#define DT_XSAVE  832u
#define DT_POKE   832u
#define DT_BATCH  256u
#define DT_BYTES  128u  /* of a case's code */
#define DT_SEQUENCE 7u  /* instructions of a sequence at most, with what they change themselves */

#define DT_CS64 0x33
#define DT_CS32 0x23
#define DT_SS   0x2b
/* 16-bit cases: entries 0 and 1 of a local descriptor table. The stack segment is 32-bit. */
#define DT_CS16      0x07
#define DT_DS16      0x0f
#define DT_CS16_BASE DT_CODE
#define DT_CS16_LIMIT 0xfffu
#define DT_DS16_BASE (DT_DATA - DT_PAGE)
#define DT_DS16_LIMIT 0x57ffu

struct dt_regs {
    uint64_t gpr[16];
    uint64_t rip, rflags;
    _Alignas(64) uint8_t xsave[DT_XSAVE]; /* standard format, XSTATE_BV 7 */
};

struct dt_case {
    uint64_t number;
    uint16_t row;            /* enum soft_op it was made from */
    bool     mode64;
    bool     mode16;         /* 16-bit code; segments with a base and a limit */
    uint8_t  count;          /* instructions; above 1: a sequence */
    uint8_t  len;
    uint8_t  bytes[DT_BYTES];
    uint16_t rows[DT_SEQUENCE + 2]; /* of a sequence, for the report */
    uint64_t at;             /* address of the instruction */
    uint64_t operand;        /* linear address of the memory operand, 0: none */
    uint32_t pattern;        /* which background the data pages start with */
    uint32_t poke_at, poke_len;
    uint8_t  poke[DT_POKE];  /* bytes put at DT_DATA + poke_at */
    struct dt_regs start;
};

struct dt_result {
    struct dt_regs end;      /* rip of the exception; after the INT3's own byte for #BP: before it */
    uint8_t  vector;         /* 3: ran to its end */
    uint32_t error;
    uint64_t cr2;
    uint8_t  data[DT_RW];
};

/* An engine runs one case. The table of engines is main.c's. */
struct dt_engine {
    const char *name;
    void (*run)(const struct dt_case *c, struct dt_result *ret);
    /* In the frame of an exception, arithmetic flags that no later instruction reads may be old ones. */
    bool dead_flags;
};
extern const struct dt_engine dt_interp;
extern const struct dt_engine dt_blocks;
extern const struct dt_engine dt_jit;      /* the same with the translator */
extern const struct dt_engine dt_wrong;   /* the interpreter with one planted error: the test must find it */

/* ---- gen.c ----------------------------------------------------------------------------------- */
/* Makes case `number` of a seed. rows: which table rows may be used. */
void dt_generate(uint64_t seed, uint64_t number, const uint16_t *rows, unsigned row_count,
                 struct dt_case *ret);
/* Can the row run in user mode under this test at all? */
bool dt_row_usable(unsigned row, bool mode64);
/* How many bytes of the code lie in the code page. */
static inline unsigned dt_code_bytes(const struct dt_case *c)
{
    uint64_t room = DT_CODE + DT_PAGE - c->at;
    return c->len < room ? c->len : (unsigned)room;
}
/* The data pages a case starts with: RW and RO page. */
void dt_background(const struct dt_case *c, uint8_t *data, bool with_ro);
void dt_background_init(uint64_t seed);

/* ---- native.c -------------------------------------------------------------------------------- */
/* Starts the child; cases and results are shared memory of DT_BATCH entries. 0 or -errno. */
int  dt_native_start(struct dt_case **ret_cases, struct dt_result **ret_results);
extern bool dt_mode16;   /* the host has local descriptor tables: 16-bit cases are made */
void dt_native_begin(unsigned count);   /* run cases 0..count-1 */
/* Waits; false: the child died, *ret_at is the case it was running. */
bool dt_native_finish(unsigned *ret_at);
void dt_native_stop(void);

/* ---- exempt.c -------------------------------------------------------------------------------- */
struct dt_open {
    uint64_t rflags;        /* flags not to compare */
    bool     xstate_bv;     /* XSTATE_BV in memory */
    bool     address;       /* which byte of the operand CR2 names, with the error code's P and W bits */
    bool     memory;        /* bytes of a store that did not complete */
    bool     fault;         /* whether there is a page fault at all */
    bool     order;         /* which of several faults comes first */
    bool     halves;        /* upper halves of general registers */
    bool     pointers;      /* x87 FIP and FDP */
    bool     registers;     /* registers of a load that did not complete */
    const char *why;
};
/* What is architecturally open for a case; all zero: nothing. */
/* Something is open for a row, whatever the operands: it is no part of sequences. */
bool dt_row_open(unsigned row);
struct dt_open dt_exempt(const struct dt_case *c, const struct dt_result *native);
