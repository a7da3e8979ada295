/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * String instructions. Under REP a row ends its block and keeps rip while there is work left, so that
 * interrupts come in between; RCX, RSI and RDI are always those of the iterations done.
 *
 * MOVS and STOS forward work in bulk: as many elements as fit in the source's and the destination's
 * page, by one host copy. A copy whose ranges overlap within the distance that matters goes
 * element by element, because guests use it to fill.
 */
#include "engine/accel/soft/flags.h"
#include "engine/accel/soft/handlers.h"

#define REPEATED (in->prefixes & (SOFT_P_REP | SOFT_P_REPNE))
#define CHUNK 4096 /* elements between two looks at attention where nothing is done in bulk */

static inline uint64_t addr_cut(const struct soft_insn *in, uint64_t v)
{
    return in->addrsize == 8 ? v : in->addrsize == 4 ? (uint32_t)v : (uint16_t)v;
}

static inline void set_index(struct soft_cpu *cpu, const struct soft_insn *in, unsigned r, uint64_t v)
{
    if (in->addrsize == 2)
        soft_set_reg16(cpu, r, (uint16_t)v);
    else
        cpu->gpr[r] = in->addrsize == 4 ? (uint32_t)v : v;
}

static inline int64_t step(const struct soft_cpu *cpu, unsigned bytes)
{
    return cpu->rflags_rest & 0x400 ? -(int64_t)bytes : (int64_t)bytes;
}

static inline uint64_t source(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes)
{
    uint64_t offset = addr_cut(in, cpu->gpr[GH_RSI]);
    if (soft_likely(cpu->code_mode == 64 && in->seg < GH_FS))
        return offset;
    return soft_linear(cpu, in->seg, offset, bytes, false);
}

static inline uint64_t target(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes, bool write)
{
    uint64_t offset = addr_cut(in, cpu->gpr[GH_RDI]);
    return soft_likely(cpu->code_mode == 64) ? offset : soft_linear(cpu, GH_ES, offset, bytes, write);
}

static inline void advance(struct soft_cpu *cpu, const struct soft_insn *in, unsigned r, int64_t by)
{
    set_index(cpu, in, r, cpu->gpr[r] + (uint64_t)by);
}

/* Elements that a forward run of `left` may take before an offset wraps, its segment ends or
 * `linear` leaves its page. */
static uint64_t run_length(const struct soft_cpu *cpu, const struct soft_insn *in, unsigned seg, unsigned r,
                           uint64_t linear, unsigned bytes, uint64_t left)
{
    uint64_t n = (0x1000 - (linear & 0xfff)) / bytes;
    if (cpu->code_mode != 64) {
        uint64_t offset = addr_cut(in, cpu->gpr[r]);
        uint64_t top = in->addrsize == 2 ? 0xffff : 0xffffffff;
        const struct gh_segment *s = &cpu->seg[seg];
        bool down = GH_SEG_TYPE(s->attr) < 8 && (s->attr & 4);
        if (!down && s->limit < top)
            top = s->limit;
        uint64_t room = (top - offset + 1) / bytes;
        n = n < room ? n : room;
    }
    return n < left ? n : left;
}

/* Ends a REP: to the next instruction, or stay when there is more. */
static inline void finish(struct soft_cpu *cpu, const struct soft_insn *in, bool more)
{
    if (!more)
        soft_next(cpu, in);
}

/* One attempt in bulk; how many elements were moved (0: do one the slow way). */
static uint64_t bulk_movs(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes, uint64_t left)
{
    uint64_t from = source(cpu, in, bytes);
    if (!soft_probe(cpu, from, bytes, false)) /* the source faults before the target is looked at */
        return 0;
    uint64_t to = target(cpu, in, bytes, true);
    uint64_t n = run_length(cpu, in, in->seg, GH_RSI, from, bytes, left);
    n = run_length(cpu, in, GH_ES, GH_RDI, to, bytes, n);
    if (n < 2)
        return 0;
    unsigned total = (unsigned)(n * bytes);
    const uint8_t *src = soft_probe(cpu, from, total, false);
    uint8_t *dst = soft_probe(cpu, to, total, true);
    if (!src || !dst)
        return 0;
    if (dst > src && dst < src + total) {
        for (unsigned i = 0; i < total; i += bytes) {
            memmove(dst + i, src + i, bytes); /* a rising overlap repeats the first elements */
        }
    } else {
        memmove(dst, src, total);
    }
    return n;
}

#define MOVS(n, type, stype, reg_, ...)                                                            \
    static inline void movs_one##n(struct soft_cpu *cpu, const struct soft_insn *in)               \
    {                                                                                              \
        type v = soft_ld##n(cpu, source(cpu, in, n / 8));                                          \
        soft_st##n(cpu, target(cpu, in, n / 8, true), v);                                          \
        int64_t by = step(cpu, n / 8);                                                             \
        advance(cpu, in, GH_RSI, by);                                                              \
        advance(cpu, in, GH_RDI, by);                                                              \
    }                                                                                              \
    SOFT_OP(movs_##n)                                                                              \
    {                                                                                              \
        if (!REPEATED) {                                                                           \
            movs_one##n(cpu, in);                                                                  \
            return;                                                                                \
        }                                                                                          \
        uint64_t left = addr_cut(in, cpu->gpr[GH_RCX]);                                            \
        bool forward = step(cpu, 1) > 0, stepping = cpu->state_key & SOFT_KEY_STEP;                \
        unsigned budget = stepping ? 1 : CHUNK;                                                    \
        while (left && budget) {                                                                   \
            uint64_t done = forward && !stepping ? bulk_movs(cpu, in, n / 8, left) : 0;            \
            if (done) {                                                                            \
                advance(cpu, in, GH_RSI, (int64_t)done * (n / 8));                                 \
                advance(cpu, in, GH_RDI, (int64_t)done * (n / 8));                                 \
                budget = budget > 256 ? budget - 256 : 0;                                          \
            } else {                                                                               \
                movs_one##n(cpu, in);                                                              \
                done = 1;                                                                          \
                budget--;                                                                          \
            }                                                                                      \
            left -= done;                                                                          \
            set_index(cpu, in, GH_RCX, left);                                                      \
            if (soft_unlikely(cpu->attention))                                                     \
                break;                                                                             \
        }                                                                                          \
        finish(cpu, in, left);                                                                     \
    }
SOFT_FOR_SIZES(MOVS, )

#define STOS(n, type, stype, reg_, ...)                                                            \
    static uint64_t bulk_stos##n(struct soft_cpu *cpu, const struct soft_insn *in, uint64_t left)  \
    {                                                                                              \
        uint64_t to = target(cpu, in, n / 8, true);                                                \
        uint64_t count = run_length(cpu, in, GH_ES, GH_RDI, to, n / 8, left);                      \
        type *dst = count < 2 ? NULL : soft_probe(cpu, to, (unsigned)(count * (n / 8)), true);     \
        if (!dst)                                                                                  \
            return 0;                                                                              \
        type v = soft_reg##n(cpu, GH_RAX);                                                         \
        for (uint64_t i = 0; i < count; i++)                                                       \
            memcpy((uint8_t *)dst + i * (n / 8), &v, n / 8);                                       \
        return count;                                                                              \
    }                                                                                              \
    SOFT_OP(stos_##n)                                                                              \
    {                                                                                              \
        if (!REPEATED) {                                                                           \
            soft_st##n(cpu, target(cpu, in, n / 8, true), soft_reg##n(cpu, GH_RAX));               \
            advance(cpu, in, GH_RDI, step(cpu, n / 8));                                            \
            return;                                                                                \
        }                                                                                          \
        uint64_t left = addr_cut(in, cpu->gpr[GH_RCX]);                                            \
        bool forward = step(cpu, 1) > 0, stepping = cpu->state_key & SOFT_KEY_STEP;                \
        unsigned budget = stepping ? 1 : CHUNK;                                                    \
        while (left && budget) {                                                                   \
            uint64_t done = forward && !stepping ? bulk_stos##n(cpu, in, left) : 0;                \
            if (done) {                                                                            \
                advance(cpu, in, GH_RDI, (int64_t)done * (n / 8));                                 \
                budget = budget > 256 ? budget - 256 : 0;                                          \
            } else {                                                                               \
                soft_st##n(cpu, target(cpu, in, n / 8, true), soft_reg##n(cpu, GH_RAX));           \
                advance(cpu, in, GH_RDI, step(cpu, n / 8));                                        \
                done = 1;                                                                          \
                budget--;                                                                          \
            }                                                                                      \
            left -= done;                                                                          \
            set_index(cpu, in, GH_RCX, left);                                                      \
            if (soft_unlikely(cpu->attention))                                                     \
                break;                                                                             \
        }                                                                                          \
        finish(cpu, in, left);                                                                     \
    }
SOFT_FOR_SIZES(STOS, )

/* Runs one(cpu, in) under REP; stop_zf >= 0: until ZF is not it. */
static inline void repeat(struct soft_cpu *cpu, const struct soft_insn *in, soft_op_fn one, bool compares)
{
    if (!REPEATED) {
        one(cpu, in);
        return;
    }
    uint64_t left = addr_cut(in, cpu->gpr[GH_RCX]);
    unsigned budget = cpu->state_key & SOFT_KEY_STEP ? 1 : UINT32_MAX;
    bool want_zf = in->prefixes & SOFT_P_REP, stop = false;
    soft_aflags before = cpu->aflags, now = before;
    while (left && budget-- && !stop) {
        cpu->aflags = before; /* a fault finds the flags of before the instruction */
        one(cpu, in);
        now = cpu->aflags;
        set_index(cpu, in, GH_RCX, --left);
        stop = compares && soft_cc_e(cpu->aflags) != want_zf;
        if (soft_unlikely(cpu->attention))
            break;
    }
    cpu->aflags = now;
    finish(cpu, in, left && !stop);
}

#define OTHERS(n, type, stype, reg_, ...)                                                          \
    static void lods_one##n(struct soft_cpu *cpu, const struct soft_insn *in)                      \
    {                                                                                              \
        soft_set_reg##n(cpu, GH_RAX, soft_ld##n(cpu, source(cpu, in, n / 8)));                     \
        advance(cpu, in, GH_RSI, step(cpu, n / 8));                                                \
    }                                                                                              \
    static void cmps_one##n(struct soft_cpu *cpu, const struct soft_insn *in)                      \
    {                                                                                              \
        type b = soft_ld##n(cpu, target(cpu, in, n / 8, false)); /* first, as the hardware does */ \
        type a = soft_ld##n(cpu, source(cpu, in, n / 8));                                          \
        cpu->aflags = soft_v_cmp##n(a, b);                                                         \
        advance(cpu, in, GH_RSI, step(cpu, n / 8));                                                \
        advance(cpu, in, GH_RDI, step(cpu, n / 8));                                                \
    }                                                                                              \
    static void scas_one##n(struct soft_cpu *cpu, const struct soft_insn *in)                      \
    {                                                                                              \
        type b = soft_ld##n(cpu, target(cpu, in, n / 8, false));                                   \
        cpu->aflags = soft_v_cmp##n(soft_reg##n(cpu, GH_RAX), b);                                  \
        advance(cpu, in, GH_RDI, step(cpu, n / 8));                                                \
    }                                                                                              \
    SOFT_OP(lods_##n) { repeat(cpu, in, lods_one##n, false); }                                     \
    SOFT_OP(cmps_##n) { repeat(cpu, in, cmps_one##n, true); }                                      \
    SOFT_OP(scas_##n) { repeat(cpu, in, scas_one##n, true); }
SOFT_FOR_SIZES(OTHERS, )

/* ---- INS, OUTS: whole pages of elements go to the device in one call ------------------------------- */
static void ins(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes)
{
    uint16_t port = soft_reg16(cpu, GH_RDX);
    uint64_t left = REPEATED ? addr_cut(in, cpu->gpr[GH_RCX]) : 1;
    if (!left) {
        finish(cpu, in, false);
        return;
    }
    soft_check_io(cpu, port, bytes);
    uint64_t to = target(cpu, in, bytes, true), n = 1;
    bool many = REPEATED && step(cpu, 1) > 0 && !(cpu->state_key & SOFT_KEY_STEP);
    if (many)
        n = run_length(cpu, in, GH_ES, GH_RDI, to, bytes, left);
    uint8_t *host = n > 1 ? soft_probe(cpu, to, (unsigned)(n * bytes), true) : NULL;
    if (host) {
        /* By a buffer: the callback may publish a new memory map. */
        uint8_t buf[4096];
        soft_pio(cpu, port, false, bytes, (unsigned)n, buf);
        soft_write(cpu, to, buf, (unsigned)(n * bytes));
    } else {
        uint32_t v = 0;
        n = 1;
        soft_check_write(cpu, to, bytes);
        soft_pio(cpu, port, false, bytes, 1, &v);
        soft_write(cpu, to, &v, bytes);
    }
    advance(cpu, in, GH_RDI, step(cpu, bytes) * (int64_t)n);
    if (REPEATED) {
        set_index(cpu, in, GH_RCX, left - n);
        finish(cpu, in, left - n);
    }
}

static void outs(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes)
{
    uint16_t port = soft_reg16(cpu, GH_RDX);
    uint64_t left = REPEATED ? addr_cut(in, cpu->gpr[GH_RCX]) : 1;
    if (!left) {
        finish(cpu, in, false);
        return;
    }
    soft_check_io(cpu, port, bytes);
    uint64_t from = source(cpu, in, bytes), n = 1;
    if (REPEATED && step(cpu, 1) > 0 && !(cpu->state_key & SOFT_KEY_STEP))
        n = run_length(cpu, in, in->seg, GH_RSI, from, bytes, left);
    if (!n)
        n = 1; /* an element across two pages */
    uint8_t buf[4096];
    soft_read(cpu, from, buf, (unsigned)(n * bytes));
    soft_pio(cpu, port, true, bytes, (unsigned)n, buf);
    advance(cpu, in, GH_RSI, step(cpu, bytes) * (int64_t)n);
    if (REPEATED) {
        set_index(cpu, in, GH_RCX, left - n);
        finish(cpu, in, left - n);
    }
}
SOFT_OP(ins_8) { ins(cpu, in, 1); }
SOFT_OP(ins_16) { ins(cpu, in, 2); }
SOFT_OP(ins_32) { ins(cpu, in, 4); }
SOFT_OP(ins_64) { ins(cpu, in, 4); }  /* REX.W does not widen a port */
SOFT_OP(outs_8) { outs(cpu, in, 1); }
SOFT_OP(outs_16) { outs(cpu, in, 2); }
SOFT_OP(outs_32) { outs(cpu, in, 4); }
SOFT_OP(outs_64) { outs(cpu, in, 4); }
