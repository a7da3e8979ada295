/* SPDX-License-Identifier: GPL-3.0-or-later */
/* CMPXCHG, XADD, ports, flag instructions, decimal arithmetic, BOUND, fences, hints. */
#include <pthread.h>

#include "engine/accel/soft/flags.h"
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/rmw.h"
#include "engine/accel/soft/vm.h"

/* One for the process: it orders rare accesses only, so machines sharing it do not matter. */
static pthread_mutex_t split_mutex = PTHREAD_MUTEX_INITIALIZER;
void soft_split_lock(void) { pthread_mutex_lock(&split_mutex); }
void soft_split_unlock(void) { pthread_mutex_unlock(&split_mutex); }

#define LOCKED (in->prefixes & SOFT_P_LOCK)

/* ---- Compare and exchange ------------------------------------------------------------------------ */
/* The destination is always written, with its own value on failure; a 32-bit register destination
 * and EAX are cut to 32 bits only where they are written. */
#define CMPXCHG(n, type, stype, reg_, ...)                                                         \
    SOFT_OP(cmpxchg_r##n)                                                                          \
    {                                                                                              \
        type dst = soft_reg##n(cpu, in->rm), acc = soft_reg##n(cpu, GH_RAX);                       \
        cpu->aflags = soft_v_cmp##n(acc, dst);                                                     \
        if (acc == dst)                                                                            \
            soft_set_reg##n(cpu, in->rm, soft_reg##n(cpu, in->reg));                               \
        else                                                                                       \
            soft_set_reg##n(cpu, GH_RAX, dst);                                                     \
    }                                                                                              \
    SOFT_OP(cmpxchg_m##n)                                                                          \
    {                                                                                              \
        type acc = soft_reg##n(cpu, GH_RAX), src = soft_reg##n(cpu, in->reg), got = acc;           \
        SOFT_RMW(n, type, in, soft_addr(cpu, in, n / 8, true), LOCKED,                             \
                 (got = old, old == acc ? src : old),                                              \
                 __atomic_compare_exchange_n(p_, &got, src, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)); \
        cpu->aflags = soft_v_cmp##n(acc, got);                                                     \
        if (acc != got)                                                                            \
            soft_set_reg##n(cpu, GH_RAX, got);                                                     \
    }                                                                                              \
    SOFT_OP(xadd_r##n)                                                                             \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        type dst = soft_reg##n(cpu, in->rm);                                                       \
        type sum = soft_v_add##n(dst, soft_reg##n(cpu, in->reg), &f);                              \
        soft_set_reg##n(cpu, in->reg, dst);                                                        \
        soft_set_reg##n(cpu, in->rm, sum);                                                         \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(xadd_m##n)                                                                             \
    {                                                                                              \
        type src = soft_reg##n(cpu, in->reg), got = 0;                                             \
        soft_aflags f = cpu->aflags;                                                               \
        SOFT_RMW(n, type, in, soft_addr(cpu, in, n / 8, true), LOCKED, (got = old, (type)(old + src)), \
                 got = __atomic_fetch_add(p_, src, __ATOMIC_SEQ_CST));                             \
        soft_v_add##n(got, src, &f);                                                               \
        soft_set_reg##n(cpu, in->reg, got);                                                        \
        cpu->aflags = f;                                                                           \
    }
SOFT_FOR_SIZES(CMPXCHG, )

SOFT_OP(cmpxchg8b)
{
    uint64_t acc = cpu->gpr[GH_RDX] << 32 | soft_reg32(cpu, GH_RAX), got = acc;
    uint64_t src = cpu->gpr[GH_RCX] << 32 | soft_reg32(cpu, GH_RBX);
    SOFT_RMW(64, uint64_t, in, soft_addr(cpu, in, 8, true), LOCKED, (got = old, old == acc ? src : old),
             __atomic_compare_exchange_n(p_, &got, src, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    if (got == acc) {
        cpu->aflags |= SOFT_ZF;
    } else {
        cpu->aflags &= ~SOFT_ZF;
        soft_set_reg32(cpu, GH_RAX, (uint32_t)got);
        soft_set_reg32(cpu, GH_RDX, (uint32_t)(got >> 32));
    }
}

SOFT_OP(cmpxchg16b)
{
    uint64_t linear = soft_addr(cpu, in, 16, true), lo, hi;
    bool equal;
    if (linear & 15)
        soft_gp(cpu, 0);
    uint64_t *p = soft_rmw_host(cpu, linear, 16);
    if (p) {
        lo = cpu->gpr[GH_RAX];
        hi = cpu->gpr[GH_RDX];
        __asm__ volatile("lock cmpxchg16b %[m]"
                         : [m] "+m"(*(unsigned __int128 *)p), "+a"(lo), "+d"(hi), "=@ccz"(equal)
                         : "b"(cpu->gpr[GH_RBX]), "c"(cpu->gpr[GH_RCX]) : "memory");
    } else {
        soft_split_lock();
        lo = soft_ld64(cpu, linear);
        hi = soft_ld64(cpu, linear + 8);
        equal = lo == cpu->gpr[GH_RAX] && hi == cpu->gpr[GH_RDX];
        soft_st64(cpu, linear, equal ? cpu->gpr[GH_RBX] : lo);
        soft_st64(cpu, linear + 8, equal ? cpu->gpr[GH_RCX] : hi);
        soft_split_unlock();
    }
    if (equal) {
        cpu->aflags |= SOFT_ZF;
    } else {
        cpu->aflags &= ~SOFT_ZF;
        cpu->gpr[GH_RAX] = lo;
        cpu->gpr[GH_RDX] = hi;
    }
}

/* ---- Ports ------------------------------------------------------------------------------------------ */
static void port_in(struct soft_cpu *cpu, uint16_t port, unsigned bytes)
{
    uint32_t v = 0;
    soft_check_io(cpu, port, bytes);
    soft_pio(cpu, port, false, bytes, 1, &v);
    if (bytes == 1)
        soft_set_reg8(cpu, GH_RAX, (uint8_t)v);
    else if (bytes == 2)
        soft_set_reg16(cpu, GH_RAX, (uint16_t)v);
    else
        soft_set_reg32(cpu, GH_RAX, v);
}

static void port_out(struct soft_cpu *cpu, const struct soft_insn *in, uint16_t port, unsigned bytes)
{
    uint32_t v = (uint32_t)cpu->gpr[GH_RAX];
    soft_check_io(cpu, port, bytes);
    soft_pio(cpu, port, true, bytes, 1, &v);
    soft_next(cpu, in);
}
#define PORT_OPS(n, bytes)                                                                         \
    SOFT_OP(in_i_##n) { port_in(cpu, (uint8_t)in->imm, bytes); }                                   \
    SOFT_OP(in_d_##n) { port_in(cpu, soft_reg16(cpu, GH_RDX), bytes); }                            \
    SOFT_OP(out_i_##n) { port_out(cpu, in, (uint8_t)in->imm, bytes); }                             \
    SOFT_OP(out_d_##n) { port_out(cpu, in, soft_reg16(cpu, GH_RDX), bytes); }
PORT_OPS(8, 1) PORT_OPS(16, 2) PORT_OPS(32, 4) PORT_OPS(64, 4)

/* ---- Flags -------------------------------------------------------------------------------------------- */
SOFT_OP(cmc) { cpu->aflags ^= SOFT_CF; }
SOFT_OP(clc) { cpu->aflags &= ~SOFT_CF; }
SOFT_OP(stc) { cpu->aflags |= SOFT_CF; }
SOFT_OP(cld) { cpu->rflags_rest &= ~0x400u; }
SOFT_OP(std) { cpu->rflags_rest |= 0x400u; }
SOFT_OP(sahf)
{
    const uint16_t mask = SOFT_SF | SOFT_ZF | SOFT_AF | SOFT_PF | SOFT_CF;
    cpu->aflags = (soft_aflags)((cpu->aflags & ~mask) | (soft_reg16(cpu, GH_RAX) & mask) | 0x200);
}
SOFT_OP(lahf)
{
    const uint16_t mask = SOFT_SF | SOFT_ZF | SOFT_AF | SOFT_PF | SOFT_CF;
    *soft_reg8_at(cpu, GH_RAX | 0x10) = (uint8_t)((cpu->aflags & mask) >> 8 | 2);
}
SOFT_OP(salc) { soft_set_reg8(cpu, GH_RAX, cpu->aflags & SOFT_CF ? 0xff : 0); }

/* ---- Decimal: not in the host's 64-bit mode, so in C; OF as after the last ADD or SUB of a processor ---- */
static void decimal_flags(struct soft_cpu *cpu, uint8_t al, bool af, bool cf)
{
    soft_aflags f = soft_v_test8(al, al);
    cpu->aflags = (soft_aflags)((f & ~(SOFT_AF | SOFT_CF)) | (af ? SOFT_AF : 0) | (cf ? SOFT_CF : 0));
}

static void decimal_adjust(struct soft_cpu *cpu, int sign)
{
    uint8_t old = soft_reg8(cpu, GH_RAX), al = old;
    bool cf = false, af = (al & 15) > 9 || (cpu->aflags & SOFT_AF);
    if (af) {
        cf = (cpu->aflags & SOFT_CF) || (sign > 0 ? al > 0xff - 6 : al < 6);
        al = (uint8_t)(al + sign * 6);
    }
    if (old > 0x99 || (cpu->aflags & SOFT_CF)) {
        al = (uint8_t)(al + sign * 0x60);
        cf = true;
    }
    soft_set_reg8(cpu, GH_RAX, al);
    decimal_flags(cpu, al, af, cf);
}
SOFT_OP(daa) { decimal_adjust(cpu, 1); }
SOFT_OP(das) { decimal_adjust(cpu, -1); }

static void ascii_adjust(struct soft_cpu *cpu, int sign)
{
    uint16_t ax = soft_reg16(cpu, GH_RAX);
    bool adjust = (ax & 15) > 9 || (cpu->aflags & SOFT_AF);
    if (adjust)
        ax = (uint16_t)(ax + sign * 0x106);
    ax &= 0xff0f;
    soft_set_reg16(cpu, GH_RAX, ax);
    decimal_flags(cpu, (uint8_t)ax, adjust, adjust);
}
SOFT_OP(aaa) { ascii_adjust(cpu, 1); }
SOFT_OP(aas) { ascii_adjust(cpu, -1); }

SOFT_OP(aam)
{
    uint8_t base = (uint8_t)in->imm, al = soft_reg8(cpu, GH_RAX);
    if (!base)
        soft_raise(cpu, SOFT_DE);
    soft_set_reg16(cpu, GH_RAX, (uint16_t)(al / base << 8 | al % base));
    decimal_flags(cpu, al % base, false, false);
}
SOFT_OP(aad)
{
    uint16_t ax = soft_reg16(cpu, GH_RAX);
    soft_aflags f = cpu->aflags;
    uint8_t al = soft_v_add8((uint8_t)ax, (uint8_t)((ax >> 8) * (uint8_t)in->imm), &f);
    soft_set_reg16(cpu, GH_RAX, al);
    cpu->aflags = f;
}

/* ---- The rest --------------------------------------------------------------------------------------------- */
#define BOUND(n, stype)                                                                            \
    SOFT_OP(bound_##n)                                                                             \
    {                                                                                              \
        struct soft_insn second = soft_second_part(in, n / 8);                                     \
        stype low = (stype)soft_ldm##n(cpu, in), high = (stype)soft_ldm##n(cpu, &second);          \
        stype v = (stype)soft_reg##n(cpu, in->reg);                                                \
        if (v < low || v > high)                                                                   \
            soft_raise(cpu, SOFT_BR);                                                              \
    }
BOUND(16, int16_t)
BOUND(32, int32_t)
SOFT_OP(bound_64) { soft_ud(cpu); }

SOFT_OP(nop) { }
SOFT_OP(pause) { __builtin_ia32_pause(); }
SOFT_OP(lfence) { __asm__ volatile("lfence" ::: "memory"); }
SOFT_OP(mfence) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
SOFT_OP(sfence) { __asm__ volatile("sfence" ::: "memory"); }
SOFT_OP(clflush) { soft_ldm8(cpu, in); } /* caches are coherent; the access check remains */
SOFT_OP(clwb)
{
    if (!soft_cpu_has(cpu, 7, GH_RBX, 24))
        soft_ud(cpu);
    soft_ldm8(cpu, in);
}
SOFT_OP(invalid) { soft_ud(cpu); }
SOFT_OP(too_long) { soft_gp(cpu, 0); }
