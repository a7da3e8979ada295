/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Single step and debug registers. Intel SDM volume 3, chapter "Debug, Branch Profile, ...". */
#include "engine/accel/soft/far.h"

#define DR6_FIXED  0xffff0ff0ull
#define DR6_BS     (1u << 14)
#define DR6_BT     (1u << 15)

void soft_begin_insn(struct soft_cpu *cpu)
{
    uint64_t linear = cpu->rip + (cpu->code_mode == 64 ? 0 : cpu->seg[GH_CS].base);
    uint32_t hits = 0;
    bool enabled = false;

    cpu->shadow_seen = cpu->int_shadow;
    if (!(cpu->dr7 & 0xff) || (cpu->rflags_rest & FL_RF))
        return;
    if (cpu->code_mode != 64)
        linear = (uint32_t)linear;
    for (unsigned i = 0; i < 4; i++) {
        if ((cpu->dr7 >> (16 + i * 4) & 3) || cpu->dr[i] != linear)
            continue;
        hits |= 1u << i;
        enabled |= cpu->dr7 >> (i * 2) & 3;
    }
    if (enabled) {
        cpu->dr6 = (cpu->dr6 & ~0xfull) | hits | DR6_FIXED;
        soft_raise(cpu, SOFT_DB);
    }
}

void soft_end_insn(struct soft_cpu *cpu, bool tf)
{
    uint32_t db = cpu->pending_db;

    cpu->rflags_rest &= ~FL_RF;
    if (tf)
        db |= DR6_BS | SOFT_DB_TRAP;
    if (cpu->shadow_seen) {           /* it was there before this instruction: over. Else this one opened it. */
        cpu->int_shadow = cpu->shadow_is_ss = cpu->shadow_seen = false;
        if (cpu->irq_waiting)
            atomic_fetch_or(&cpu->attention, SOFT_ATTN_IRQ);
    }
    if (cpu->int_shadow && cpu->shadow_is_ss) {
        cpu->pending_db = db & ~(uint32_t)DR6_BS; /* MOV SS holds #DB back; the single step itself is lost */
        if (!(cpu->pending_db & 0xf))
            cpu->pending_db = 0;
        soft_update_mode(cpu);
        return;
    }
    cpu->pending_db = 0;
    soft_update_mode(cpu);
    if (!(db & SOFT_DB_TRAP))
        return;
    cpu->dr6 = (cpu->dr6 & ~0xfull) | (db & (0xf | DR6_BS | DR6_BT)) | DR6_FIXED | (cpu->dr6 & (DR6_BS | DR6_BT));
    soft_deliver_trap(cpu, SOFT_DB);
}
