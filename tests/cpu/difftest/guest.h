/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The guest that all engines of the software CPU share: one vCPU, in ring 3 when a case is loaded. Single thread. */
#pragma once
#include "difftest.h"
#include "engine/accel/soft/vm.h"

#define DT_KERNEL    0xffff800030000000ull /* one supervisor page: */
#define DT_GDT       0x200u
#define DT_TSS       0x280u
#define DT_LANDING   0x400u        /* 16 bytes of HLT for each vector */
#define DT_STACK_TOP 0x1000u

extern struct soft_cpu *dt_cpu;
int  dt_guest_init(void);                       /* 0 or negative errno */
void dt_guest_load(const struct dt_case *c);    /* memory and registers of the case's start */
void dt_guest_collect(struct dt_result *r);     /* end state but for the exception */
uint64_t dt_guest_kernel_word(unsigned offset); /* 8 bytes of the supervisor page */
