/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Memory operands that the inline forms of operand.h do not serve. */
#include "engine/accel/soft/operand.h"

uint64_t soft_offset(struct soft_cpu *cpu, const struct soft_insn *in)
{
    uint64_t v = soft_any_reg(cpu, in->base) + (soft_any_reg(cpu, in->index) << in->scale) + (uint64_t)(int64_t)in->disp;

    if (in->base == SOFT_RIP_REG)
        v += in->len;
    return in->addrsize == 8 ? v : in->addrsize == 4 ? (uint32_t)v : (uint16_t)v;
}

uint64_t soft_ea(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes, bool write)
{
    uint64_t offset = soft_offset(cpu, in);

    if (soft_likely(in->is_mem == SOFT_MEM_SEG64)) {
        uint64_t linear = offset + cpu->seg[in->seg].base;
        /* Not canonical: no tag matches, the slow path raises. */
        return linear;
    }
    return soft_linear(cpu, in->seg, offset, bytes, write);
}
