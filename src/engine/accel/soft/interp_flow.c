/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Near jumps, calls and returns, LOOP, JCXZ, SETcc, CMOVcc. Every branch sets rip itself. */
#include "engine/accel/soft/flags.h"
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/stack.h"
#include "engine/accel/soft/vm.h"

/* Checks a near target before anything changes, and returns it cut to the operand size. */
static inline uint64_t near_target(struct soft_cpu *cpu, uint64_t target, unsigned opsize)
{
    if (soft_likely(cpu->code_mode == 64)) {
        if (soft_unlikely(!soft_canonical(target)))
            soft_gp(cpu, 0);
        return target;
    }
    target = opsize == 2 ? (uint16_t)target : (uint32_t)target;
    if (soft_unlikely(target > cpu->seg[GH_CS].limit))
        soft_gp(cpu, 0);
    return target;
}

static inline uint64_t relative_target(struct soft_cpu *cpu, const struct soft_insn *in)
{
    return near_target(cpu, cpu->rip + in->len + in->imm, in->opsize);
}

static inline void jump_if(struct soft_cpu *cpu, const struct soft_insn *in, bool taken)
{
    if (taken)
        cpu->rip = relative_target(cpu, in);
    else
        soft_next(cpu, in);
}

/* No SOFT_OP: when taken, it is the last one that runs. */
void soft_op_jcc_on(struct soft_cpu *cpu, const struct soft_insn *in)
{
    if (soft_condition(cpu->aflags, in->imm2 & 15)) {
        cpu->rip = relative_target(cpu, in);
        return;
    }
    SOFT_CHAIN_(cpu, in);
}

SOFT_OP(jmp_rel) { cpu->rip = relative_target(cpu, in); }

#define CONDITION(cc)                                                                              \
    SOFT_OP(j##cc) { jump_if(cpu, in, soft_cc_##cc(cpu->aflags)); }                                \
    SOFT_OP(set##cc##_r) { soft_set_reg8(cpu, in->rm, soft_cc_##cc(cpu->aflags)); }                \
    SOFT_OP(set##cc##_m) { soft_stm8(cpu, in, soft_cc_##cc(cpu->aflags)); }                        \
    SOFT_OP(cmov##cc##_r16) { if (soft_cc_##cc(cpu->aflags)) soft_set_reg16(cpu, in->reg, soft_reg16(cpu, in->rm)); } \
    SOFT_OP(cmov##cc##_r32) { soft_set_reg32(cpu, in->reg, soft_reg32(cpu, soft_cc_##cc(cpu->aflags) ? in->rm : in->reg)); } \
    SOFT_OP(cmov##cc##_r64) { if (soft_cc_##cc(cpu->aflags)) cpu->gpr[in->reg] = cpu->gpr[in->rm]; } \
    SOFT_OP(cmov##cc##_m16)                                                                        \
    {                                                                                              \
        uint16_t v = soft_ldm16(cpu, in); /* read, and faults, whatever the condition */           \
        if (soft_cc_##cc(cpu->aflags))                                                             \
            soft_set_reg16(cpu, in->reg, v);                                                       \
    }                                                                                              \
    SOFT_OP(cmov##cc##_m32)                                                                        \
    {                                                                                              \
        uint32_t v = soft_ldm32(cpu, in);                                                          \
        soft_set_reg32(cpu, in->reg, soft_cc_##cc(cpu->aflags) ? v : soft_reg32(cpu, in->reg));    \
    }                                                                                              \
    SOFT_OP(cmov##cc##_m64)                                                                        \
    {                                                                                              \
        uint64_t v = soft_ldm64(cpu, in);                                                          \
        if (soft_cc_##cc(cpu->aflags))                                                             \
            cpu->gpr[in->reg] = v;                                                                 \
    }
CONDITION(o) CONDITION(no) CONDITION(b) CONDITION(ae) CONDITION(e) CONDITION(ne) CONDITION(be) CONDITION(a)
CONDITION(s) CONDITION(ns) CONDITION(p) CONDITION(np) CONDITION(l) CONDITION(ge) CONDITION(le) CONDITION(g)

/* ---- LOOP and JCXZ: the counter has the address size ------------------------------------------- */
static uint64_t counter(const struct soft_cpu *cpu, const struct soft_insn *in)
{
    uint64_t c = cpu->gpr[GH_RCX];
    return in->addrsize == 8 ? c : in->addrsize == 4 ? (uint32_t)c : (uint16_t)c;
}

static void set_counter(struct soft_cpu *cpu, const struct soft_insn *in, uint64_t c)
{
    if (in->addrsize == 2)
        soft_set_reg16(cpu, GH_RCX, (uint16_t)c);
    else
        cpu->gpr[GH_RCX] = in->addrsize == 4 ? (uint32_t)c : c;
}

static void loop_while(struct soft_cpu *cpu, const struct soft_insn *in, bool condition)
{
    uint64_t c = counter(cpu, in) - 1;
    c = in->addrsize == 8 ? c : in->addrsize == 4 ? (uint32_t)c : (uint16_t)c;
    jump_if(cpu, in, c && condition); /* may fault: before RCX changes */
    set_counter(cpu, in, c);
}
SOFT_OP(loop) { loop_while(cpu, in, true); }
SOFT_OP(loope) { loop_while(cpu, in, soft_cc_e(cpu->aflags)); }
SOFT_OP(loopne) { loop_while(cpu, in, soft_cc_ne(cpu->aflags)); }
SOFT_OP(jcxz) { jump_if(cpu, in, counter(cpu, in) == 0); }

/* ---- Calls and returns ---------------------------------------------------------------------------- */
#define NEAR(n, type)                                                                              \
    SOFT_OP(call_rel_##n)                                                                          \
    {                                                                                              \
        uint64_t target = relative_target(cpu, in);                                                \
        soft_push##n(cpu, (type)(cpu->rip + in->len));                                             \
        cpu->rip = target;                                                                         \
    }                                                                                              \
    SOFT_OP(call_rm_##n)                                                                           \
    {                                                                                              \
        uint64_t target = soft_get_rm##n(cpu, in), sp = cpu->gpr[GH_RSP];                          \
        soft_push##n(cpu, (type)(cpu->rip + in->len));                                             \
        uint64_t after = cpu->gpr[GH_RSP];                                                         \
        cpu->gpr[GH_RSP] = sp; /* the pushed address stays below RSP where the target faults */    \
        target = near_target(cpu, target, n / 8);                                                  \
        cpu->gpr[GH_RSP] = after;                                                                  \
        cpu->rip = target;                                                                         \
    }                                                                                              \
    SOFT_OP(jmp_rm_##n) { cpu->rip = near_target(cpu, soft_get_rm##n(cpu, in), n / 8); }           \
    SOFT_OP(ret_##n)                                                                               \
    {                                                                                              \
        uint64_t target = near_target(cpu, soft_top##n(cpu), n / 8);                               \
        soft_set_sp(cpu, cpu->gpr[GH_RSP] + n / 8);                                                \
        cpu->rip = target;                                                                         \
    }                                                                                              \
    SOFT_OP(ret_i_##n)                                                                             \
    {                                                                                              \
        uint64_t target = near_target(cpu, soft_top##n(cpu), n / 8);                               \
        soft_set_sp(cpu, cpu->gpr[GH_RSP] + n / 8 + in->imm);                                      \
        cpu->rip = target;                                                                         \
    }
NEAR(16, uint16_t)
NEAR(32, uint32_t)
NEAR(64, uint64_t)
