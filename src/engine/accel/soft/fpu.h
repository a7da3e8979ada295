/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside of the floating point and vector half of the software CPU.
 *
 * Every arithmetic result comes from the host's own unit: an operation is a thunk (the guest's
 * opcode and RET) that runs on the host between a load and a store of the guest's state. So
 * rounding, NaNs, stack faults, tags, sticky flags and undefined corners are the hardware's.
 *
 * Threads: the vCPU's own. Nothing here keeps host FPU state across a call: on return the host's
 * control words have their ABI defaults again.
 */
#pragma once
#include "engine/accel/soft/cpu.h"

#define SOFT_CR0_MP (1u << 1)
#define SOFT_CR0_EM (1u << 2)
#define SOFT_CR0_TS (1u << 3)
#define SOFT_CR0_NE (1u << 5)
#define SOFT_CR4_OSFXSR     (1u << 9)
#define SOFT_CR4_OSXMMEXCPT (1u << 10)
#define SOFT_CR4_OSXSAVE    (1u << 18)

/* FSW bits. */
#define X87_EXCEPTIONS 0x3fu /* IE DE ZE OE UE PE */
#define X87_IE 0x01u
#define X87_PE 0x20u
#define X87_SF 0x40u
#define X87_ES 0x80u
#define X87_C1 0x200u
#define X87_TOP_SHIFT 11
#define X87_TOP (7u << X87_TOP_SHIFT)
#define X87_BUSY 0x8000u

#define MXCSR_FLAGS 0x3fu
#define MXCSR_MASKS 0x1f80u
#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_VALID 0xffffu

/* What FNSAVE writes and FRSTOR reads in the 32-bit protected form. */
struct soft_x87_image {
    uint32_t fcw, fsw, ftw, fip, fcs_fop, fdp, fds;
    uint8_t st[8][10]; /* ST(0) first */
};

/* ---- fpu_host.c: running thunks -------------------------------------------------------------- */
/* Thunk of the register form esc (0xd8..0xdf) modrm (0xc0..0xff), and of the memory form with the
 * operand at the pointer given to soft_x87_run. */
const void *soft_x87_reg_thunk(unsigned esc, unsigned modrm);
const void *soft_x87_mem_thunk(unsigned esc, unsigned reg);
/* Loads the image, runs the thunk with the arithmetic flags and mem, saves the image again. Pending
 * unmasked exceptions end up in the image's FSW and are never taken by the host. */
soft_aflags soft_x87_run(struct soft_x87_image *image, const void *thunk, void *mem,
                         soft_aflags flags);

/* Calls fn(arg) with a SIGFPE turned into a false return; *ret_mxcsr is then MXCSR as the
 * hardware left it at the fault. fn loads MXCSR itself. For guests that unmask exceptions. */
bool soft_fpu_guarded(void (*fn)(void *arg), void *arg, uint32_t *ret_mxcsr);

/* ---- x87.c ----------------------------------------------------------------------------------- */
void soft_x87_to_image(const struct soft_cpu *cpu, struct soft_x87_image *ret);
void soft_x87_from_image(struct soft_cpu *cpu, const struct soft_x87_image *image);
/* Does an instruction only compute (no control instruction)? Memory forms: bytes of the operand, with 0x80 where it
 * is written; 0: no. */
bool soft_x87_register_form(unsigned esc, unsigned modrm);
unsigned soft_x87_memory_form(unsigned esc, unsigned reg);
uint16_t soft_x87_full_tags(const struct soft_cpu *cpu); /* FNSTENV's two bits a register */
/* #NM, and for waiting instructions #MF or the FERR# protocol. */
void soft_x87_enter(struct soft_cpu *cpu, bool waiting);
void soft_x87_init(struct soft_cpu *cpu); /* FNINIT */
/* ES and B follow from FSW, FCW. */
void soft_x87_update_summary(struct soft_cpu *cpu);

/* x87_env.c: the control instructions; esc and /reg select. True if it was one. */
bool soft_x87_control(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc);

/* x87_fast.c: true: done, but for the pointers. */
bool soft_x87_fast_reg(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc);
bool soft_x87_fast_mem(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc);

/* Reports a pending exception the DOS way; returns where it is to be ignored. */
void soft_x87_ferr(struct soft_cpu *cpu);

/* ---- fpu_state.c: for the accelerator -------------------------------------------------------- */
/* Power-on values; INIT leaves all of it alone. */
void soft_fpu_reset(struct soft_cpu *cpu, bool init_only);
/* The standard-format XSAVE area of struct gh_cpu_state (x87, SSE, AVX). set: -EINVAL where the
 * area is compacted or MXCSR has reserved bits; nothing has changed then. */
void soft_fpu_get(const struct soft_cpu *cpu, uint8_t *xsave);
int  soft_fpu_set(struct soft_cpu *cpu, const uint8_t *xsave);
