/* SPDX-License-Identifier: GPL-3.0-or-later */
/* x87 instructions: the handler runs all of them. */
#include "engine/accel/soft/jit/gen.h"

bool jit_x87(struct jit_gen *g, const struct soft_insn *in)
{
    (void)g;
    (void)in;
    return false;
}
