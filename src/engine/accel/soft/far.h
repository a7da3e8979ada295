/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Descriptors, stacks of another privilege level and task switches: what seg.c, flow_far.c, event.c
 * and task.c share. Intel SDM volume 3, chapters "Protection", "Interrupt and Exception Handling",
 * "Task Management".
 *
 * Thread: the vCPU's own. Everything may raise; nothing architectural changes before the
 * commit functions.
 */
#pragma once
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/system.h"
#include "engine/accel/soft/vm.h"

struct soft_desc { uint32_t lo, hi; uint64_t linear; }; /* linear: where the descriptor lies */

#define DESC_TYPE(hi)   ((hi) >> 8 & 0xf)
#define DESC_S          (1u << 12)
#define DESC_DPL(hi)    ((hi) >> 13 & 3)
#define DESC_P          (1u << 15)
#define DESC_L          (1u << 21)
#define DESC_DB         (1u << 22)
#define DESC_IS_CODE(hi)       (((hi) & (DESC_S | 1u << 11)) == (DESC_S | 1u << 11))
#define DESC_IS_CONFORMING(hi) ((hi) & 1u << 10)   /* of a code segment */
#define DESC_IS_DATA(hi)       (((hi) & (DESC_S | 1u << 11)) == DESC_S)
#define DESC_IS_WRITABLE(hi)   ((hi) & 1u << 9)    /* of a data segment; readable of a code segment */
enum soft_sys_type { SYS_TSS16 = 1, SYS_LDT = 2, SYS_TSS16_BUSY = 3, SYS_CALL16 = 4, SYS_TASK_GATE = 5,
                     SYS_INT16 = 6, SYS_TRAP16 = 7, SYS_TSS = 9, SYS_TSS_BUSY = 11, SYS_CALL = 12,
                     SYS_INT = 14, SYS_TRAP = 15 };

#define SEL_NULL(s) (((s) & ~3u) == 0)
#define SEL_RPL(s)  ((s) & 3u)
#define SEL_ERR(s)  ((uint32_t)(s) & 0xfffcu)

/* Reads the descriptor; false: null, outside its table, or no LDT. May raise #PF. */
bool soft_desc_read(struct soft_cpu *cpu, uint16_t selector, struct soft_desc *ret);
/* The same and error: raises vector with the selector where it cannot be read. */
void soft_desc_need(struct soft_cpu *cpu, uint16_t selector, enum soft_vector vector, struct soft_desc *ret);
void soft_desc_set_accessed(struct soft_cpu *cpu, struct soft_desc *d);
struct gh_segment soft_desc_segment(uint16_t selector, const struct soft_desc *d);
/* A null or invalidated data segment. */
struct gh_segment soft_null_segment(uint16_t selector);
/* Real mode and V86. */
void soft_load_real(struct soft_cpu *cpu, unsigned seg, uint16_t selector);
void soft_set_v86_segments(struct soft_cpu *cpu);  /* base, limit and attributes of all six from their selectors */
/* CS, CPL and rip at once; the descriptor was checked. */
void soft_commit_cs(struct soft_cpu *cpu, const struct gh_segment *cs, unsigned cpl, uint64_t rip);
/* Checks an offset against a code segment that is about to be loaded. */
void soft_check_target(struct soft_cpu *cpu, const struct gh_segment *cs, uint64_t offset);
/* After a return to an outer level: data segments that level may not use become null. */
void soft_drop_inner_segments(struct soft_cpu *cpu, unsigned cpl);
/* Privilege checks of a code descriptor for JMP/CALL without gate; #GP, #NP. */
void soft_check_code_direct(struct soft_cpu *cpu, uint16_t selector, const struct soft_desc *d);

/* A stack being pushed to or popped from before anything is committed. */
struct soft_stack {
    struct gh_segment ss;
    uint64_t sp;
    unsigned cpl;
    bool     wide;             /* 64-bit mode stack: no segment */
    uint32_t error;            /* #SS error code for a limit violation */
};
struct soft_stack soft_stack_now(struct soft_cpu *cpu);
void     soft_stack_push(struct soft_cpu *cpu, struct soft_stack *st, uint64_t value, unsigned bytes);
uint64_t soft_stack_pop(struct soft_cpu *cpu, struct soft_stack *st, unsigned bytes);
void     soft_stack_skip(struct soft_stack *st, unsigned bytes);  /* release bytes */
void     soft_stack_commit_sp(struct soft_cpu *cpu, const struct soft_stack *st);

/* Stack pointer of level cpl from the 16- or 32-bit TSS, with all #TS and #SS checks. ext: EXT bit. */
void soft_tss_stack(struct soft_cpu *cpu, unsigned cpl, uint32_t ext, struct soft_stack *ret);
/* The same in long mode: RSPn, or ISTn where ist is not 0. */
void soft_tss_stack64(struct soft_cpu *cpu, unsigned cpl, unsigned ist, uint32_t ext, struct soft_stack *ret);

enum soft_task_source { SOFT_TASK_JMP, SOFT_TASK_CALL, SOFT_TASK_IRET, SOFT_TASK_GATE };
/* Switches to the TSS (checked to be one); rip_next is what the old task resumes at. */
void soft_task_switch(struct soft_cpu *cpu, uint16_t selector, struct soft_desc *d,
                      enum soft_task_source source, uint64_t rip_next);
/* PDPTEs from CR3 in PAE mode; false: reserved bits. */
bool soft_load_pdptes(struct soft_cpu *cpu, uint64_t cr0, uint64_t cr3, uint64_t cr4);

static inline uint32_t soft_ext(const struct soft_cpu *cpu) { return cpu->delivering >= 0 && cpu->event_external; }
