/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Port I/O: rights by IOPL and the TSS bitmap, and the way to the machine. */
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/system.h"
#include "engine/accel/soft/vm.h"

void soft_check_io(struct soft_cpu *cpu, uint16_t port, unsigned bytes)
{
    const struct gh_segment *tr = &cpu->seg[GH_TR];

    if (!(cpu->cr0 & CR0_PE) || (!soft_v86(cpu) && cpu->cpl <= soft_iopl(cpu)))
        return;
    unsigned type = tr->attr & 0xf;
    if ((type != 9 && type != 11) || tr->limit < 0x67)
        soft_gp(cpu, 0);
    uint64_t mask = cpu->long_mode ? ~0ull : 0xffffffffu;
    uint32_t at = (uint32_t)soft_sys_ld(cpu, (tr->base + 0x66) & mask, 2) + port / 8u;
    if (at + 1 > tr->limit)           /* two bytes are read always, a range may cross one */
        soft_gp(cpu, 0);
    uint64_t bits = soft_sys_ld(cpu, (tr->base + at) & mask, 2) >> (port & 7);
    if (bits & ((1u << bytes) - 1))
        soft_gp(cpu, 0);
}

void soft_pio(struct soft_cpu *cpu, uint16_t port, bool write, unsigned bytes, unsigned count, void *data)
{
    SOFT_COUNT(cpu->vm, pio);
    cpu->vm->env.pio(cpu->vm->env.opaque, cpu->index, port, write, bytes, count, data);
    soft_tlb_revalidate(cpu);
}
