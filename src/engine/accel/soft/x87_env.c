/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * x87 control instructions: control and status word, FNINIT, FNCLEX, environment and full saves in
 * their 16- and 32-bit, real and protected layouts, and the FERR# way of reporting exceptions.
 */
#include "engine/accel/soft/fpu.h"
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/vm.h"

#include <string.h>

/* Reserved FCW bits read as the hardware fixes them: bit 6 one, 7 and 13-15 zero. */
#define FCW_KEEP 0x1f3fu
#define FCW_ONE  0x0040u

static void set_control(struct soft_cpu *cpu, uint16_t value)
{
    cpu->x87.fcw = (value & FCW_KEEP) | FCW_ONE;
    soft_x87_update_summary(cpu);
}

/* The environment has a segmented layout where there are no selectors to save. */
static bool real_layout(const struct soft_cpu *cpu)
{
    return !(cpu->cr0 & 1) || (cpu->rflags_rest & (1u << 17));
}

/* DOS-compatible error reporting: raise FERR#, which the board turns into IRQ 13, and hold the
 * instruction until the interrupt was taken. The handler clears the exception with instructions
 * that do not wait. Without a board that listens the exception is ignored. */
void soft_x87_ferr(struct soft_cpu *cpu)
{
    const struct gh_accel_env *env = &cpu->vm->env;
    if (!env->ferr)
        return;
    cpu->ferr_raised = true;
    env->ferr(env->opaque, cpu->index, true);
    longjmp(cpu->fault_jump, SOFT_JUMP_AGAIN);
}

static void drop_ferr(struct soft_cpu *cpu)
{
    if (cpu->ferr_raised && !(cpu->x87.fsw & X87_ES)) {
        cpu->ferr_raised = false;
        cpu->vm->env.ferr(cpu->vm->env.opaque, cpu->index, false);
    }
}

/* ---- Environment ----------------------------------------------------------------------------- */

static unsigned env_bytes(const struct soft_insn *in)
{
    return in->opsize == 2 ? 14 : 28;
}

static void put16(uint8_t *p, uint32_t v) { memcpy(p, &(uint16_t){(uint16_t)v}, 2); }
static void put32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static uint32_t get16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }

static void build_env(struct soft_cpu *cpu, bool small, uint8_t *p)
{
    uint32_t fip = (uint32_t)cpu->x87.fip, fdp = (uint32_t)cpu->x87.fdp;
    uint32_t fop = cpu->x87.fop & 0x7ff;
    bool real = real_layout(cpu);
    uint16_t words[3] = {cpu->x87.fcw, cpu->x87.fsw, soft_x87_full_tags(cpu)};
    if (small) {
        for (unsigned i = 0; i < 3; i++)
            put16(p + 2 * i, words[i]);
        put16(p + 6, fip);
        put16(p + 8, real ? fop | ((fip >> 4) & 0xf000) : cpu->x87.fcs);
        put16(p + 10, fdp);
        put16(p + 12, real ? (fdp >> 4) & 0xf000 : cpu->x87.fds);
        return;
    }
    for (unsigned i = 0; i < 3; i++)
        put32(p + 4 * i, words[i] | 0xffff0000u);
    if (real) {
        put32(p + 12, fip | 0xffff0000u);
        put32(p + 16, fop | ((fip >> 16) << 12));
        put32(p + 20, fdp | 0xffff0000u);
        put32(p + 24, (fdp >> 16) << 12);
    } else {
        put32(p + 12, fip);
        put32(p + 16, cpu->x87.fcs | fop << 16);
        put32(p + 20, fdp);
        put32(p + 24, cpu->x87.fds | 0xffff0000u);
    }
}

static void take_env(struct soft_cpu *cpu, bool small, const uint8_t *p)
{
    uint32_t tags, fip, fdp, fop = 0;
    bool real = real_layout(cpu);
    cpu->x87.fcs = cpu->x87.fds = 0;
    if (small) {
        cpu->x87.fcw = (uint16_t)get16(p);
        cpu->x87.fsw = (uint16_t)get16(p + 2);
        tags = get16(p + 4);
        fip = get16(p + 6);
        fdp = get16(p + 10);
        if (real) {
            fop = get16(p + 8) & 0x7ff;
            fip |= (get16(p + 8) & 0xf000) << 4;
            fdp |= (get16(p + 12) & 0xf000) << 4;
        }
    } else {
        cpu->x87.fcw = (uint16_t)get16(p);
        cpu->x87.fsw = (uint16_t)get16(p + 4);
        tags = get16(p + 8);
        if (real) {
            fop = get16(p + 16) & 0x7ff;
            fip = get16(p + 12) | (get32(p + 16) & 0x0ffff000u) << 4;
            fdp = get16(p + 20) | (get32(p + 24) & 0x0ffff000u) << 4;
        } else {
            fip = get32(p + 12);
            fop = (get32(p + 16) >> 16) & 0x7ff;
            fdp = get32(p + 20);
        }
    }
    cpu->x87.fip = fip;
    cpu->x87.fdp = fdp;
    cpu->x87.fop = (uint16_t)fop;
    cpu->x87.ftw_abridged = 0;
    for (unsigned i = 0; i < 8; i++)
        if (((tags >> (2 * i)) & 3) != 3)
            cpu->x87.ftw_abridged |= (uint8_t)(1u << i);
    set_control(cpu, cpu->x87.fcw);
}

static void store_env(struct soft_cpu *cpu, const struct soft_insn *in)
{
    uint8_t env[28];
    unsigned bytes = env_bytes(in);
    uint64_t linear = soft_ea(cpu, in, bytes, true);
    build_env(cpu, in->opsize == 2, env);
    soft_write(cpu, linear, env, bytes);
    cpu->x87.fcw |= X87_EXCEPTIONS;
    soft_x87_update_summary(cpu);
}

static void save_all(struct soft_cpu *cpu, const struct soft_insn *in)
{
    uint8_t area[28 + 80];
    unsigned env = env_bytes(in), top = (cpu->x87.fsw & X87_TOP) >> X87_TOP_SHIFT;
    uint64_t linear = soft_ea(cpu, in, env + 80, true);
    build_env(cpu, in->opsize == 2, area);
    for (unsigned i = 0; i < 8; i++)
        memcpy(area + env + 10 * i, cpu->x87.reg[(top + i) & 7], 10);
    soft_write(cpu, linear, area, env + 80);
    soft_x87_init(cpu);
}

static void restore_all(struct soft_cpu *cpu, const struct soft_insn *in)
{
    uint8_t area[28 + 80];
    unsigned env = env_bytes(in);
    soft_read(cpu, soft_ea(cpu, in, env + 80, false), area, env + 80);
    take_env(cpu, in->opsize == 2, area);
    unsigned top = (cpu->x87.fsw & X87_TOP) >> X87_TOP_SHIFT;
    for (unsigned i = 0; i < 8; i++)
        memcpy(cpu->x87.reg[(top + i) & 7], area + env + 10 * i, 10);
}

/* ---- Dispatch -------------------------------------------------------------------------------- */

static bool control_mem(struct soft_cpu *cpu, const struct soft_insn *in, unsigned key)
{
    uint8_t env[28];
    switch (key) {
    case 0x14: /* FLDENV */
        soft_x87_enter(cpu, true);
        soft_read(cpu, soft_ea(cpu, in, env_bytes(in), false), env, env_bytes(in));
        take_env(cpu, in->opsize == 2, env);
        break;
    case 0x15: /* FLDCW */
        soft_x87_enter(cpu, true);
        set_control(cpu, soft_ld16(cpu, soft_ea(cpu, in, 2, false)));
        break;
    case 0x16: /* FNSTENV */
        soft_x87_enter(cpu, false);
        store_env(cpu, in);
        break;
    case 0x17: /* FNSTCW */
        soft_x87_enter(cpu, false);
        soft_st16(cpu, soft_ea(cpu, in, 2, true), cpu->x87.fcw);
        break;
    case 0x54: /* FRSTOR */
        soft_x87_enter(cpu, true);
        restore_all(cpu, in);
        break;
    case 0x56: /* FNSAVE */
        soft_x87_enter(cpu, false);
        save_all(cpu, in);
        break;
    case 0x57: /* FNSTSW m16 */
        soft_x87_enter(cpu, false);
        soft_st16(cpu, soft_ea(cpu, in, 2, true), cpu->x87.fsw);
        break;
    default:
        return false;
    }
    return true;
}

bool soft_x87_control(struct soft_cpu *cpu, const struct soft_insn *in, unsigned esc)
{
    bool known = true;
    if (in->is_mem) {
        known = control_mem(cpu, in, esc << 4 | ((in->modrm >> 3) & 7));
    } else if (esc == 3 && in->modrm == 0xe2) { /* FNCLEX */
        soft_x87_enter(cpu, false);
        cpu->x87.fsw &= 0x7f00;
    } else if (esc == 3 && in->modrm == 0xe3) { /* FNINIT */
        soft_x87_enter(cpu, false);
        soft_x87_init(cpu);
    } else if (esc == 3 && (in->modrm == 0xe0 || in->modrm == 0xe1 || in->modrm == 0xe4)) {
        soft_x87_enter(cpu, false); /* FENI, FDISI, FSETPM of the 8087 and 287 */
    } else if (esc == 7 && in->modrm == 0xe0) { /* FNSTSW AX */
        soft_x87_enter(cpu, false);
        memcpy(&cpu->gpr[GH_RAX], &cpu->x87.fsw, 2);
    } else {
        known = false;
    }
    if (known && cpu->ferr_raised)
        drop_ferr(cpu);
    return known;
}
