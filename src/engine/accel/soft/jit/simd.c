/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Vector instructions: the handler runs all of them. */
#include "engine/accel/soft/jit/gen.h"

bool jit_simd(struct jit_gen *g, const struct soft_insn *in)
{
    (void)g;
    (void)in;
    return false;
}

void jit_simd_thunks(struct jit_gen *g) { g->jit->thunk_vec_load = g->jit->thunk_vec_save = NULL; }
