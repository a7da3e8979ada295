/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The system half's entry points: what the run loop, the handlers of insns.def and the
 * accelerator class call in event.c, seg.c, flow_far.c, task.c, sys.c and vcpu.c.
 *
 * Thread: the vCPU's own. Functions that may raise do so before they change architectural state.
 *
 * The run loop and events
 *     if (setjmp(cpu->fault_jump)) soft_deliver_fault(cpu);    a handler raised: state is as before it
 *     loop, at each block head:
 *         if (cpu->attention || cpu->step_work) if (!soft_attend(cpu)) return;
 *         run the block; after each instruction rip points at the next one;
 *         in a block of one instruction made because TF, a breakpoint or a shadow is in
 *         state_key: call soft_end_insn(cpu) after it.
 */
#pragma once
#include "engine/accel/soft/cpu.h"

/* ---- Events ----------------------------------------------------------------------------------- */
/* Delivers what soft_raise* recorded in cpu->fault; itself may raise (double fault) through
 * cpu->fault_jump. On a triple fault run_state becomes GH_RUN_SHUTDOWN. */
void soft_deliver_fault(struct soft_cpu *cpu);
/* At a block head with attention set: flushes, timer, NMI, interrupts, INIT, SIPI. Delivers at most
 * one event. false: leave the run loop (kick, halted, waiting for SIPI, shut down). */
bool soft_attend(struct soft_cpu *cpu);
/* After every instruction of single-instruction mode (see soft_needs_step): ends the interrupt shadow and
 * delivers #DB for TF, data breakpoints and task switches. tf: TF as it was before the instruction. */
void soft_end_insn(struct soft_cpu *cpu, bool tf);
/* Before every instruction of single-instruction mode: instruction breakpoints; may raise #DB. */
void soft_begin_insn(struct soft_cpu *cpu);
/* Blocks must hold one instruction now: TF, armed DR7, interrupt shadow, pending #DB, a debugger. Part of state_key. */
static inline bool soft_needs_step(const struct soft_cpu *cpu)
{
    return (cpu->rflags_rest & 0x100) || cpu->int_shadow || (cpu->dr7 & 0xff) || cpu->pending_db || cpu->debug_step || cpu->debug_data;
}
/* Delivers an external interrupt or NMI vector, or a trap exception, at an instruction boundary. */
void soft_deliver_event(struct soft_cpu *cpu, unsigned vector);
void soft_deliver_trap(struct soft_cpu *cpu, uint8_t vector);
/* INT n, INT3, INTO (is_int_n false for the last two), INT1: rip_next is pushed. */
void soft_interrupt(struct soft_cpu *cpu, uint8_t vector, bool is_int_n, uint64_t rip_next);
void soft_icebp(struct soft_cpu *cpu, uint64_t rip_next);
/* Sets bits of attention and wakes the vCPU out of HLT. Any thread. */
void soft_attention_set(struct soft_cpu *cpu, uint32_t bits);

/* After a write to the local APIC: a deadline or a priority may have changed. */
void soft_apic_written(struct soft_cpu *cpu);

/* ---- Segments and far transfers ------------------------------------------------------------------ */
void soft_load_segment(struct soft_cpu *cpu, unsigned seg, uint16_t selector);  /* not CS, TR, LDTR */
void soft_far_jump(struct soft_cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize, uint64_t rip_next);
void soft_far_call(struct soft_cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize, uint64_t rip_next);
void soft_far_return(struct soft_cpu *cpu, unsigned opsize, unsigned extra_bytes);
void soft_iret(struct soft_cpu *cpu, unsigned opsize, uint64_t rip_next);
/* Sets rip to a near target: limit of CS or canonical check first (#GP). */
void soft_set_rip(struct soft_cpu *cpu, uint64_t target);

/* ---- I/O ------------------------------------------------------------------------------------------ */
/* #GP where IOPL and the TSS bitmap forbid it. */
void soft_check_io(struct soft_cpu *cpu, uint16_t port, unsigned bytes);
/* One transfer of count elements; rights already checked. */
void soft_pio(struct soft_cpu *cpu, uint16_t port, bool write, unsigned bytes, unsigned count, void *data);
