/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BT family, BSF/BSR, POPCNT, LZCNT, TZCNT, CRC32, ADX, BMI1, BMI2. */
#include "engine/accel/soft/flags.h"
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/rmw.h"

#define BIT_REG(n, type, stype, reg_, op, writes)                                                  \
    SOFT_OP(op##_mr_r##n)                                                                          \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        type v = soft_v_##op##n(soft_reg##n(cpu, in->rm), soft_reg##n(cpu, in->reg), &f);          \
        if (writes)                                                                                \
            soft_set_reg##n(cpu, in->rm, v);                                                       \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(op##_mi_r##n)                                                                          \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        type v = soft_v_##op##n(soft_reg##n(cpu, in->rm), (type)in->imm, &f);                      \
        if (writes)                                                                                \
            soft_set_reg##n(cpu, in->rm, v);                                                       \
        cpu->aflags = f;                                                                           \
    }
SOFT_FOR_WORDS(BIT_REG, bt, false)
SOFT_FOR_WORDS(BIT_REG, bts, true)
SOFT_FOR_WORDS(BIT_REG, btr, true)
SOFT_FOR_WORDS(BIT_REG, btc, true)

/* A register bit offset reaches memory beyond the operand: its signed quotient moves the address. */
#define BIT_ADDR(n, stype)                                                                         \
    static uint64_t bit_addr##n(struct soft_cpu *cpu, const struct soft_insn *in, bool write)      \
    {                                                                                              \
        int64_t move = (int64_t)((stype)soft_reg##n(cpu, in->reg) >> __builtin_ctz(n)) * (n / 8);  \
        uint64_t offset = soft_offset(cpu, in) + (uint64_t)move;                                   \
        offset = in->addrsize == 8 ? offset : in->addrsize == 4 ? (uint32_t)offset : (uint16_t)offset; \
        return soft_linear(cpu, in->seg, offset, n / 8, write);                                    \
    }
BIT_ADDR(16, int16_t)
BIT_ADDR(32, int32_t)
BIT_ADDR(64, int64_t)

#define BIT_TEST_MEM(n, type, stype, reg_, ...)                                                    \
    SOFT_OP(bt_mr_m##n)                                                                            \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_v_bt##n(soft_ld##n(cpu, bit_addr##n(cpu, in, false)), soft_reg##n(cpu, in->reg), &f); \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(bt_mi_m##n)                                                                            \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        soft_v_bt##n(soft_ldm##n(cpu, in), (type)in->imm, &f);                                     \
        cpu->aflags = f;                                                                           \
    }
SOFT_FOR_WORDS(BIT_TEST_MEM, )

#define BIT_LOCK(n, type, stype, reg_, op)                                                         \
    static void op##_lock##n(type *p, type bit, soft_aflags *f)                                    \
    {                                                                                              \
        uint32_t ax = *f;                                                                          \
        bit &= n - 1;                                                                              \
        __asm__ volatile(SOFT_GIVE_FLAGS_ "lock " #op " %[s], %[d]" SOFT_TAKE_FLAGS_               \
                         : [d] "+m"(*p), "+a"(ax) : [s] "r"(bit) : "cc", "memory");                \
        *f = (soft_aflags)ax;                                                                      \
    }                                                                                              \
    static void op##_mem##n(struct soft_cpu *cpu, const struct soft_insn *in, uint64_t linear, type bit) \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        SOFT_RMW(n, type, in, linear, in->prefixes & SOFT_P_LOCK, soft_v_##op##n(old, bit, &f),    \
                 op##_lock##n(p_, bit, &f));                                                       \
        cpu->aflags = f;                                                                           \
    }                                                                                              \
    SOFT_OP(op##_mr_m##n) { op##_mem##n(cpu, in, bit_addr##n(cpu, in, true), soft_reg##n(cpu, in->reg)); } \
    SOFT_OP(op##_mi_m##n) { op##_mem##n(cpu, in, soft_addr(cpu, in, n / 8, true), (type)in->imm); }
SOFT_FOR_WORDS(BIT_LOCK, bts)
SOFT_FOR_WORDS(BIT_LOCK, btr)
SOFT_FOR_WORDS(BIT_LOCK, btc)

#define SCAN(n, type, stype, reg_, op)                                                             \
    SOFT_OP(op##_##n)                                                                              \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        type s = soft_get_rm##n(cpu, in);                                                          \
        soft_set_reg##n(cpu, in->reg, soft_v_##op##n(soft_reg##n(cpu, in->reg), s, &f));           \
        cpu->aflags = f;                                                                           \
    }
SOFT_FOR_WORDS(SCAN, popcnt)
SOFT_FOR_WORDS(SCAN, tzcnt)
SOFT_FOR_WORDS(SCAN, lzcnt)

/* With a zero source the destination keeps all 64 bits, also for a 32-bit operand. */
#define SCAN_KEEP(n, type, stype, reg_, op)                                                        \
    SOFT_OP(op##_##n)                                                                              \
    {                                                                                              \
        soft_aflags f = cpu->aflags;                                                               \
        type s = soft_get_rm##n(cpu, in), v = soft_v_##op##n(0, s, &f);                            \
        if (s)                                                                                     \
            soft_set_reg##n(cpu, in->reg, v);                                                      \
        cpu->aflags = f;                                                                           \
    }
SOFT_FOR_WORDS(SCAN_KEEP, bsf)
SOFT_FOR_WORDS(SCAN_KEEP, bsr)

/* ---- CRC32 (Castagnoli), by table of nothing: bitwise is enough for a rare instruction ------------- */
static uint32_t crc32c(uint32_t crc, uint64_t data, unsigned bytes)
{
    if (__builtin_cpu_supports("sse4.2")) {
        if (bytes == 8) {
            uint64_t wide = crc;
            __asm__("crc32q %1, %0" : "+r"(wide) : "r"(data));
            return (uint32_t)wide;
        }
        for (unsigned i = 0; i < bytes; i++)
            __asm__("crc32b %1, %0" : "+r"(crc) : "q"((uint8_t)(data >> i * 8)));
        return crc;
    }
    for (unsigned i = 0; i < bytes; i++) {
        crc ^= (uint8_t)(data >> i * 8);
        for (unsigned k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return crc;
}
SOFT_OP(crc32_b) { soft_set_reg32(cpu, in->reg, crc32c(soft_reg32(cpu, in->reg), soft_get_rm8(cpu, in), 1)); }
SOFT_OP(crc32_16) { soft_set_reg32(cpu, in->reg, crc32c(soft_reg32(cpu, in->reg), soft_get_rm16(cpu, in), 2)); }
SOFT_OP(crc32_32) { soft_set_reg32(cpu, in->reg, crc32c(soft_reg32(cpu, in->reg), soft_get_rm32(cpu, in), 4)); }
SOFT_OP(crc32_64) { soft_set_reg32(cpu, in->reg, crc32c(soft_reg32(cpu, in->reg), soft_get_rm64(cpu, in), 8)); }

/* ---- ADX: ADC that knows one flag only ---------------------------------------------------------------- */
#define ADX(n, type, stype, name, flag)                                                            \
    SOFT_OP(name##_##n)                                                                            \
    {                                                                                              \
        type s = soft_get_rm##n(cpu, in), part, sum;                                               \
        bool c = __builtin_add_overflow(soft_reg##n(cpu, in->reg), s, &part);                      \
        c |= __builtin_add_overflow(part, (type)((cpu->aflags & flag) != 0), &sum);                \
        soft_set_reg##n(cpu, in->reg, sum);                                                        \
        cpu->aflags = (soft_aflags)((cpu->aflags & ~flag) | (c ? flag : 0));                       \
    }
ADX(32, uint32_t, int32_t, adcx, SOFT_CF)
ADX(64, uint64_t, int64_t, adcx, SOFT_CF)
ADX(32, uint32_t, int32_t, adox, SOFT_OF)
ADX(64, uint64_t, int64_t, adox, SOFT_OF)

/* ---- BMI1, BMI2: the host's instructions; a guest that runs them saw them in CPUID ---------------- */
static void need_bmi(struct soft_cpu *cpu)
{
    if (!__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
        soft_ud(cpu);
}

/* op src1, src2 -> dst with flags; a: ModRM.rm, b: vvvv. */
#define BMI_FLAGS(n, type, name, dst_reg, asm_text, rm_value, v_value)                             \
    SOFT_OP(name##_##n)                                                                            \
    {                                                                                              \
        need_bmi(cpu);                                                                             \
        type rm = rm_value, v = v_value, d = 0;                                                    \
        uint32_t ax = cpu->aflags;                                                                 \
        __asm__(SOFT_GIVE_FLAGS_ asm_text SOFT_TAKE_FLAGS_                                         \
                : [d] "=&r"(d), "+a"(ax) : [rm] "r"(rm), [v] "r"(v) : "cc");                       \
        soft_set_reg##n(cpu, dst_reg, d);                                                          \
        cpu->aflags = (soft_aflags)ax;                                                             \
    }
#define BMI_PLAIN(n, type, name, dst_reg, asm_text)                                                \
    SOFT_OP(name##_##n)                                                                            \
    {                                                                                              \
        need_bmi(cpu);                                                                             \
        type rm = soft_get_rm##n(cpu, in), v = soft_reg##n(cpu, in->vvvv), d;                      \
        __asm__(asm_text : [d] "=&r"(d) : [rm] "r"(rm), [v] "r"(v));                               \
        soft_set_reg##n(cpu, dst_reg, d);                                                          \
    }
#define RM_(n) soft_get_rm##n(cpu, in)
#define V_(n) soft_reg##n(cpu, in->vvvv)
#define BMI(n, type)                                                                               \
    BMI_FLAGS(n, type, andn, in->reg, "andn %[rm], %[v], %[d]", RM_(n), V_(n))                     \
    BMI_FLAGS(n, type, bzhi, in->reg, "bzhi %[v], %[rm], %[d]", RM_(n), V_(n))                     \
    BMI_FLAGS(n, type, bextr, in->reg, "bextr %[v], %[rm], %[d]", RM_(n), V_(n))                   \
    BMI_FLAGS(n, type, blsr, in->vvvv, "blsr %[rm], %[d]", RM_(n), 0)                              \
    BMI_FLAGS(n, type, blsmsk, in->vvvv, "blsmsk %[rm], %[d]", RM_(n), 0)                          \
    BMI_FLAGS(n, type, blsi, in->vvvv, "blsi %[rm], %[d]", RM_(n), 0)                              \
    BMI_PLAIN(n, type, pext, in->reg, "pext %[rm], %[v], %[d]")                                    \
    BMI_PLAIN(n, type, pdep, in->reg, "pdep %[rm], %[v], %[d]")                                    \
    BMI_PLAIN(n, type, shlx, in->reg, "shlx %[v], %[rm], %[d]")                                    \
    BMI_PLAIN(n, type, shrx, in->reg, "shrx %[v], %[rm], %[d]")                                    \
    BMI_PLAIN(n, type, sarx, in->reg, "sarx %[v], %[rm], %[d]")
BMI(32, uint32_t)
BMI(64, uint64_t)

SOFT_OP(rorx_32)
{
    uint32_t v = soft_get_rm32(cpu, in);
    unsigned c = in->imm & 31;
    soft_set_reg32(cpu, in->reg, v >> c | v << (-c & 31));
}
SOFT_OP(rorx_64)
{
    uint64_t v = soft_get_rm64(cpu, in);
    unsigned c = in->imm & 63;
    soft_set_reg64(cpu, in->reg, v >> c | v << (-c & 63));
}
SOFT_OP(mulx_32)
{
    uint64_t p = (uint64_t)soft_get_rm32(cpu, in) * soft_reg32(cpu, GH_RDX);
    soft_set_reg32(cpu, in->vvvv, (uint32_t)p);
    soft_set_reg32(cpu, in->reg, (uint32_t)(p >> 32)); /* same register twice: the high half stays */
}
SOFT_OP(mulx_64)
{
    unsigned __int128 p = (unsigned __int128)soft_get_rm64(cpu, in) * cpu->gpr[GH_RDX];
    cpu->gpr[in->vvvv] = (uint64_t)p;
    cpu->gpr[in->reg] = (uint64_t)(p >> 64);
}
