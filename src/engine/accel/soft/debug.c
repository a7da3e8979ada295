/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Single step and debug registers. Intel SDM volume 3, chapter "Debug, Branch Profile, ...". And what a debugger
 * outside of the guest asks for: the guest sees nothing of it. */
#include "engine/accel/soft/block.h"
#include "engine/accel/soft/far.h"
#include "engine/accel/soft/handlers.h"

#define DR6_FIXED  0xffff0ff0ull
#define DR6_BS     (1u << 14)
#define DR6_BT     (1u << 15)

void soft_begin_insn(struct soft_cpu *cpu)
{
    uint64_t linear = cpu->rip + (cpu->code_mode == 64 ? 0 : cpu->seg[GH_CS].base);
    uint32_t hits = 0;
    bool enabled = false;

    bool resume = cpu->rflags_rest & FL_RF;

    cpu->shadow_seen = cpu->int_shadow;
    cpu->rflags_rest &= ~FL_RF;       /* for one instruction; IRET may set it for the next, faults push it set anyway */
    if (!(cpu->dr7 & 0xff) || resume || (cpu->int_shadow && cpu->shadow_is_ss))
        return;                       /* after MOV SS and POP SS as if RF were set */
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

/* ---- A debugger outside ---------------------------------------------------------------------------------- */
void soft_debug_stop(struct soft_cpu *cpu, enum gh_debug_kind kind, uint64_t address)
{
    if (cpu->debug_hit == GH_DEBUG_NONE) {
        cpu->debug_hit = (uint8_t)kind;
        cpu->debug_address = address;
    }
    atomic_fetch_or(&cpu->attention, SOFT_ATTN_KICK);
}

/* Stands in for the instruction at an execution point. */
SOFT_OP(debug_break) { soft_debug_stop(cpu, GH_DEBUG_EXEC, cpu->rip); }

void soft_debug_step(struct soft_cpu *cpu, bool on)
{
    cpu->debug_step = on;
    soft_update_mode(cpu);
}

/* Pages with execution points run uncached, one instruction at a time (soft_block_find); pages with data points
 * have no fast tags, and everything is stepped, so that the stop is exact. */
void soft_debug_set(struct soft_vm *vm, const struct gh_debug *debug)
{
    bool code = false, data = false;

    vm->debug = *debug;
    for (unsigned i = 0; i < debug->count; i++)
        *(debug->point[i].kind == GH_DEBUG_EXEC ? &code : &data) = true;
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        struct soft_cpu *cpu = vm->cpu[i];
        if (!cpu)
            continue;
        cpu->debug_code = code;
        cpu->debug_data = data;
        soft_tlb_flush(cpu, true);
        soft_blocks_forget(cpu);
        soft_update_mode(cpu);
    }
}

unsigned soft_debug_rights(const struct soft_cpu *cpu, uint64_t page)
{
    const struct gh_debug *d = &cpu->vm->debug;
    unsigned lost = 0;

    page &= ~(uint64_t)0xfff;
    for (unsigned i = 0; i < d->count; i++) {
        const struct gh_debug_point *p = &d->point[i];
        if (p->kind != GH_DEBUG_EXEC && p->address <= page + 0xfff && p->address + (p->length - 1u) >= page)
            lost |= p->kind == GH_DEBUG_WRITE ? SOFT_R_WRITE : SOFT_R_READ | SOFT_R_WRITE;
    }
    return lost;
}

void soft_debug_watch(struct soft_cpu *cpu, uint64_t linear, unsigned bytes, bool write)
{
    const struct gh_debug *d = &cpu->vm->debug;

    for (unsigned i = 0; i < d->count; i++) {
        const struct gh_debug_point *p = &d->point[i];
        bool wanted = p->kind == GH_DEBUG_ACCESS || p->kind == (write ? GH_DEBUG_WRITE : GH_DEBUG_READ);
        if (wanted && linear <= p->address + (p->length - 1u) && p->address <= linear + (bytes - 1u))
            soft_debug_stop(cpu, p->kind, p->address);
    }
}

bool soft_debug_page(const struct soft_cpu *cpu, uint64_t linear)
{
    const struct gh_debug *d = &cpu->vm->debug;

    for (unsigned i = 0; i < d->count; i++)
        if (d->point[i].kind == GH_DEBUG_EXEC && (d->point[i].address ^ linear) >> 12 == 0)
            return true;
    return false;
}

bool soft_debug_break(const struct soft_cpu *cpu, uint64_t linear)
{
    const struct gh_debug *d = &cpu->vm->debug;

    for (unsigned i = 0; i < d->count; i++)
        if (d->point[i].kind == GH_DEBUG_EXEC && d->point[i].address == linear)
            return true;
    return false;
}
