/* SPDX-License-Identifier: GPL-3.0-or-later */
/* MOV, MOVZX, MOVSX, LEA, XCHG, XLAT, BSWAP, MOVBE, CBW/CWD families. */
#include "engine/accel/soft/flags.h"
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/rmw.h"

#define MOV(n, type, stype, reg_, ...)                                                             \
    SOFT_OP(mov_mr_r##n) { soft_set_reg##n(cpu, in->rm, soft_reg##n(cpu, in->reg)); }              \
    SOFT_OP(mov_mr_m##n) { soft_stm##n(cpu, in, soft_reg##n(cpu, in->reg)); }                      \
    SOFT_OP(mov_rm_r##n) { soft_set_reg##n(cpu, in->reg, soft_reg##n(cpu, in->rm)); }              \
    SOFT_OP(mov_rm_m##n) { soft_set_reg##n(cpu, in->reg, soft_ldm##n(cpu, in)); }                  \
    SOFT_OP(mov_mi_r##n) { soft_set_reg##n(cpu, in->rm, (type)in->imm); }                          \
    SOFT_OP(mov_mi_m##n) { soft_stm##n(cpu, in, (type)in->imm); }                                  \
    SOFT_OP(mov_ao_##n)                                                                            \
    {                                                                                              \
        soft_set_reg##n(cpu, GH_RAX, soft_ld##n(cpu, soft_linear(cpu, in->seg, in->imm, n / 8, false))); \
    }                                                                                              \
    SOFT_OP(mov_oa_##n)                                                                            \
    {                                                                                              \
        soft_st##n(cpu, soft_linear(cpu, in->seg, in->imm, n / 8, true), soft_reg##n(cpu, GH_RAX)); \
    }                                                                                              \
    SOFT_OP(xchg_r##n)                                                                             \
    {                                                                                              \
        type a = soft_reg##n(cpu, in->rm), b = soft_reg##n(cpu, in->reg);                          \
        soft_set_reg##n(cpu, in->rm, b);                                                           \
        soft_set_reg##n(cpu, in->reg, a);                                                          \
    }                                                                                              \
    SOFT_OP(xchg_m##n)                                                                             \
    {                                                                                              \
        type v = soft_reg##n(cpu, in->reg), got = 0;                                               \
        /* XCHG with memory locks with or without the prefix. */                                   \
        SOFT_RMW(n, type, in, soft_addr(cpu, in, n / 8, true), true, (got = old, v),               \
                 got = __atomic_exchange_n(p_, v, __ATOMIC_SEQ_CST));                              \
        soft_set_reg##n(cpu, in->reg, got);                                                        \
    }
SOFT_FOR_SIZES(MOV, )

#define WIDEN(n, type, stype)                                                                      \
    SOFT_OP(movzx_b_r##n) { soft_set_reg##n(cpu, in->reg, soft_reg8(cpu, in->rm)); }               \
    SOFT_OP(movzx_b_m##n) { soft_set_reg##n(cpu, in->reg, soft_ldm8(cpu, in)); }                   \
    SOFT_OP(movzx_w_r##n) { soft_set_reg##n(cpu, in->reg, soft_reg16(cpu, in->rm)); }              \
    SOFT_OP(movzx_w_m##n) { soft_set_reg##n(cpu, in->reg, soft_ldm16(cpu, in)); }                  \
    SOFT_OP(movsx_b_r##n) { soft_set_reg##n(cpu, in->reg, (type)(stype)(int8_t)soft_reg8(cpu, in->rm)); } \
    SOFT_OP(movsx_b_m##n) { soft_set_reg##n(cpu, in->reg, (type)(stype)(int8_t)soft_ldm8(cpu, in)); }     \
    SOFT_OP(movsx_w_r##n) { soft_set_reg##n(cpu, in->reg, (type)(stype)(int16_t)soft_reg16(cpu, in->rm)); } \
    SOFT_OP(movsx_w_m##n) { soft_set_reg##n(cpu, in->reg, (type)(stype)(int16_t)soft_ldm16(cpu, in)); }   \
    SOFT_OP(lea_##n) { soft_set_reg##n(cpu, in->reg, (type)soft_offset(cpu, in)); }                \
    SOFT_OP(xchg_a_##n)                                                                            \
    {                                                                                              \
        if (in->reg == GH_RAX)                                                                     \
            return; /* NOP: not even EAX is truncated */                                           \
        type a = soft_reg##n(cpu, GH_RAX), b = soft_reg##n(cpu, in->reg);                          \
        soft_set_reg##n(cpu, GH_RAX, b);                                                           \
        soft_set_reg##n(cpu, in->reg, a);                                                          \
    }
WIDEN(16, uint16_t, int16_t)
WIDEN(32, uint32_t, int32_t)
WIDEN(64, uint64_t, int64_t)

SOFT_OP(movsxd_r16) { soft_set_reg16(cpu, in->reg, soft_reg16(cpu, in->rm)); }
SOFT_OP(movsxd_m16) { soft_set_reg16(cpu, in->reg, soft_ldm16(cpu, in)); }
SOFT_OP(movsxd_r32) { soft_set_reg32(cpu, in->reg, soft_reg32(cpu, in->rm)); }
SOFT_OP(movsxd_m32) { soft_set_reg32(cpu, in->reg, soft_ldm32(cpu, in)); }
SOFT_OP(movsxd_r64) { cpu->gpr[in->reg] = (uint64_t)(int64_t)(int32_t)soft_reg32(cpu, in->rm); }
SOFT_OP(movsxd_m64) { cpu->gpr[in->reg] = (uint64_t)(int64_t)(int32_t)soft_ldm32(cpu, in); }

SOFT_OP(bswap_16) { soft_set_reg16(cpu, in->reg, 0); } /* undefined; what processors do */
SOFT_OP(bswap_32) { soft_set_reg32(cpu, in->reg, __builtin_bswap32(soft_reg32(cpu, in->reg))); }
SOFT_OP(bswap_64) { soft_set_reg64(cpu, in->reg, __builtin_bswap64(soft_reg64(cpu, in->reg))); }
SOFT_OP(movbe_rm_16) { soft_set_reg16(cpu, in->reg, __builtin_bswap16(soft_ldm16(cpu, in))); }
SOFT_OP(movbe_rm_32) { soft_set_reg32(cpu, in->reg, __builtin_bswap32(soft_ldm32(cpu, in))); }
SOFT_OP(movbe_rm_64) { soft_set_reg64(cpu, in->reg, __builtin_bswap64(soft_ldm64(cpu, in))); }
SOFT_OP(movbe_mr_16) { soft_stm16(cpu, in, __builtin_bswap16(soft_reg16(cpu, in->reg))); }
SOFT_OP(movbe_mr_32) { soft_stm32(cpu, in, __builtin_bswap32(soft_reg32(cpu, in->reg))); }
SOFT_OP(movbe_mr_64) { soft_stm64(cpu, in, __builtin_bswap64(soft_reg64(cpu, in->reg))); }

SOFT_OP(cbw_16) { soft_set_reg16(cpu, GH_RAX, (uint16_t)(int8_t)soft_reg8(cpu, GH_RAX)); }
SOFT_OP(cbw_32) { soft_set_reg32(cpu, GH_RAX, (uint32_t)(int16_t)soft_reg16(cpu, GH_RAX)); }
SOFT_OP(cbw_64) { cpu->gpr[GH_RAX] = (uint64_t)(int32_t)soft_reg32(cpu, GH_RAX); }
SOFT_OP(cwd_16) { soft_set_reg16(cpu, GH_RDX, (uint16_t)((int16_t)soft_reg16(cpu, GH_RAX) >> 15)); }
SOFT_OP(cwd_32) { soft_set_reg32(cpu, GH_RDX, (uint32_t)((int32_t)soft_reg32(cpu, GH_RAX) >> 31)); }
SOFT_OP(cwd_64) { cpu->gpr[GH_RDX] = (uint64_t)((int64_t)cpu->gpr[GH_RAX] >> 63); }

SOFT_OP(xlat)
{
    uint64_t offset = cpu->gpr[GH_RBX] + soft_reg8(cpu, GH_RAX);
    offset = in->addrsize == 8 ? offset : in->addrsize == 4 ? (uint32_t)offset : (uint16_t)offset;
    soft_set_reg8(cpu, GH_RAX, soft_ld8(cpu, soft_linear(cpu, in->seg, offset, 1, false)));
}
