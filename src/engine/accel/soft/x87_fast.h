/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
#include "engine/accel/soft/fpu.h"
static inline bool soft_x87_fast_reg(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc) { return false; }
static inline bool soft_x87_fast_mem(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc) { return false; }
