/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One case from a seed and a number: a row of the instruction table, its bytes, and a start state in
 * which a memory operand lands where the case wants it. */
#include "difftest.h"
#include "values.h"

#include <string.h>

/* ---- Which rows ------------------------------------------------------------------------------ */

/* Left out: what leaves user mode, reads time, random numbers or the machine, or changes a segment. */
static const char *const left_out[] = {
    "int", "int1", "icebp", "int3", "into", "syscall", "sysenter", "sysret", "sysexit", "hlt", "cpuid", "rdtsc", "rdtscp",
    "rdpmc", "rdrand", "rdseed", "rdpid", "xgetbv", "xsetbv", "iret", "in", "out", "ins", "outs", "cli",
    "sti", "ret far", "retf", "call far", "jmp far", "callf", "jmpf", "les", "lds", "lss", "lfs", "lgs", "bound",
    "rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase", "xbegin", "xabort", "xend", "xtest", "vmcall", "monitor",
    "mwait", "arpl", "clts", "invd", "wbinvd", "invlpg", "umonitor", "rdmsr", "wrmsr",
};

bool dt_row_usable(unsigned row, bool mode64)
{
    const struct soft_op_row *r = &soft_rows[row];
    if (r->klass == K_SYS || r->form == F_FAR || (mode64 ? r->attr & A_I64 : r->attr & A_O64))
        return false;
    for (unsigned i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (!strcmp(r->name, left_out[i]))
            return false;
    if (r->map == M_1 && (r->opcode == 0x8c || r->opcode == 0x8e || r->opcode == 0x07 || r->opcode == 0x17 ||
                          r->opcode == 0x1f || r->opcode == 0x06 || r->opcode == 0x0e || r->opcode == 0x16 ||
                          r->opcode == 0x1e || (r->opcode >= 0x6c && r->opcode <= 0x6f) ||
                          (r->opcode & 0xf4) == 0xe4))
        return (r->opcode & 0xf4) == 0xe4 && r->opcode != 0xe4 && r->opcode < 0xec && r->opcode > 0xe7;
    if (r->map == M_0F && (r->opcode == 0xa0 || r->opcode == 0xa1 || r->opcode == 0xa8 || r->opcode == 0xa9))
        return false;
    if (r->map >= M_V0F && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                             __builtin_cpu_supports("bmi2")))
        return false;
    return true;
}

/* ---- Memory background ----------------------------------------------------------------------- */

#define PATTERNS 8
static uint8_t patterns[PATTERNS][DT_RW + DT_PAGE];

void dt_background_init(uint64_t seed)
{
    struct dt_rng r = {seed ^ 0xbacc};
    for (unsigned p = 0; p < PATTERNS; p++) {
        for (unsigned i = 0; i < DT_RW; i += 64)
            dt_fill(&r, patterns[p] + i, 64);
        if (p)
            memcpy(patterns[p] + DT_RW, patterns[0] + DT_RW, DT_PAGE);
        else
            for (unsigned i = 0; i < DT_PAGE; i += 64)
                dt_fill(&r, patterns[0] + DT_RW + i, 64);
    }
}

void dt_background(const struct dt_case *c, uint8_t *data, bool with_ro)
{
    memcpy(data, patterns[c->pattern % PATTERNS], with_ro ? DT_RW + DT_PAGE : DT_RW);
    memcpy(data + c->poke_at, c->poke, c->poke_len);
}

/* ---- Start state ----------------------------------------------------------------------------- */

static void make_fpu(struct dt_rng *r, uint8_t *x)
{
    uint16_t fcw = 0x37f, fsw = 0;
    uint8_t tags = 0xff;
    uint32_t mxcsr = 0x1f80;
    uint64_t present = 7, v;
    memset(x, 0, DT_XSAVE);
    if (dt_chance(r, 40)) {
        fcw = (uint16_t)(0x40 | (dt_below(r, 4) << 10) | (dt_below(r, 4) << 8));
        fcw |= dt_chance(r, 60) ? 0x3f : (uint16_t)dt_below(r, 64);
    }
    fsw = (uint16_t)(dt_rand(r) & 0x7f7f);
    if (dt_chance(r, 92))
        fsw &= (uint16_t)~(~fcw & 0x3f); /* no exception pending */
    if (fsw & ~fcw & 0x3f)
        fsw |= 0x8080;
    if (dt_chance(r, 30)) {
        tags = (uint8_t)dt_rand(r);
    } else if (dt_chance(r, 60)) { /* a stack with room: ST(0) and the next few in use */
        unsigned top = (fsw >> 11) & 7, used = (1u << (1 + dt_below(r, 7))) - 1;
        tags = (uint8_t)(used << top | used >> (8 - top));
    }
    if (dt_chance(r, 40)) {
        mxcsr = (uint32_t)dt_rand(r) & 0xe07f;
        mxcsr |= dt_chance(r, 60) ? 0x1f80 : (uint32_t)dt_rand(r) & 0x1f80;
    }
    memcpy(x, &fcw, 2);
    memcpy(x + 2, &fsw, 2);
    x[4] = tags;
    v = dt_rand(r) & 0x7ff;
    memcpy(x + 6, &v, 2);
    v = dt_rand(r) & 0x7fffffff;
    memcpy(x + 8, &v, 8);
    v = dt_rand(r) & 0x7fffffff;
    memcpy(x + 16, &v, 8);
    memcpy(x + 24, &mxcsr, 4);
    memcpy(x + 512, &present, 8);
    for (unsigned i = 0; i < 8; i++)
        dt_value_x87(r, x + 32 + 16 * i);
    for (unsigned i = 0; i < 16; i++) {
        dt_fill(r, x + 160 + 16 * i, 16);
        dt_fill(r, x + 576 + 16 * i, 16);
    }
}

/* Where a memory operand should be: mostly aligned or not inside, often at the seams. */
static uint64_t target_address(struct dt_rng *r, bool mode64)
{
    static const uint32_t seams[] = {DT_DATA, DT_DATA + DT_PAGE, DT_RO, DT_RO + DT_PAGE};
    unsigned pick = dt_below(r, 100);
    if (pick < 55)
        return DT_DATA + 64 + (uint64_t)dt_below(r, (DT_RW - 1024) / 64) * 64;
    if (pick < 75)
        return DT_DATA + 64 + dt_below(r, DT_RW - 1024);
    if (pick < 88)
        return DT_DATA + DT_PAGE - 40 + dt_below(r, 44);
    if (pick < 97)
        return seams[dt_below(r, 4)] - 40 + dt_below(r, 56);
    if (pick < 98)
        return DT_RO + dt_below(r, 4000);
    return mode64 && dt_chance(r, 50) ? 0x8000000000000000ull + dt_below(r, 4096) : 0x7000 + dt_below(r, 64);
}

/* ---- Encoding -------------------------------------------------------------------------------- */

struct enc {
    struct dt_rng *r;
    struct dt_case *c;
    const struct soft_op_row *row;
    uint8_t rex, vvvv;
    bool vex, vex_l, p66, p67, has_modrm;
    bool fixed;            /* part of a sequence: memory operands by address only */
    unsigned start;        /* of this instruction in the case's bytes */
    uint8_t modrm, sib;
    bool has_sib;
    unsigned disp_len, imm_len;
    int32_t disp;
    uint64_t imm;
    uint64_t target;
};

static bool has_modrm(unsigned form)
{
    switch (form) {
    case F_MR: case F_RM: case F_M: case F_MR_I8: case F_RM_I8: case F_M_I8:
    case F_M_IZ: case F_RM_IZ: case F_RVM: case F_RVM_I8:
        return true;
    default:
        return false;
    }
}

static unsigned operand_bytes(const struct enc *e)
{
    bool w = e->rex & 8, m64 = e->c->mode64, small = e->p66 != e->c->mode16;
    switch (e->row->size) {
    case S_B: return 1;
    case S_W: return 2;
    case S_V: return m64 && w ? 8 : small ? 2 : 4;
    case S_V64: return m64 ? (e->p66 && !w ? 2 : 8) : small ? 2 : 4;
    case S_F64: return m64 ? 8 : small ? 2 : 4;
    case S_Q: return 8;
    default: return 4;
    }
}

/* The 16-bit forms: BX or BP and SI or DI. Outside 16-bit cases the target is out of their reach. */
static void make_memory16(struct enc *e, unsigned mod, unsigned reg, uint64_t origin)
{
    static const uint8_t first[8] = {GH_RBX, GH_RBX, GH_RBP, GH_RBP, GH_RSI, GH_RDI, GH_RBP, GH_RBX};
    static const uint8_t second[4] = {GH_RSI, GH_RDI, GH_RSI, GH_RDI};
    unsigned rm = dt_below(e->r, 8);
    bool absolute = mod == 0 && rm == 6;
    uint64_t *gpr = e->c->start.gpr, offset = e->target - origin;
    e->modrm = (uint8_t)(mod << 6 | (reg & 7) << 3 | rm);
    e->disp_len = mod == 1 ? 1 : mod == 2 || absolute ? 2 : 0;
    e->disp = mod == 1 ? (int8_t)dt_rand(e->r) : (int16_t)dt_rand(e->r);
    if (absolute)
        e->disp = (int32_t)offset;
    else
        gpr[first[rm]] = (gpr[first[rm]] & 0xffff0000) |
                         (uint16_t)(offset - (mod ? (uint32_t)e->disp : 0) - (rm < 4 ? gpr[second[rm]] : 0));
    if (offset > 0xffff)
        e->target = 0;
}

/* A memory operand: picks the addressing form, then sets the registers so that it lands on target. */
static void make_memory(struct enc *e, unsigned reg)
{
    struct dt_rng *r = e->r;
    struct dt_case *c = e->c;
    uint64_t *gpr = c->start.gpr;
    bool m64 = c->mode64, vsib = e->row->attr & A_VSIB;
    unsigned mod = dt_below(r, 3), base = dt_below(r, m64 ? 16 : 8), index = 4, scale = 0;
    e->target = target_address(r, m64);
    uint64_t origin = c->mode16 ? DT_DS16_BASE : 0;
    if (e->p67 != c->mode16 && !m64) {
        make_memory16(e, mod, reg, origin);
        return;
    }
    if (!vsib && (e->fixed || dt_chance(r, 12))) { /* disp32: RIP-relative in 64-bit mode */
        e->modrm = (uint8_t)((reg & 7) << 3 | 5);
        e->rex &= (uint8_t)~1;
        e->disp_len = 4;
        if (m64 && e->target >> 31)
            e->target = DT_DATA + 256;
        e->disp = (int32_t)(uint32_t)(e->target - origin); /* made relative when the length is known */
        return;
    }
    if (vsib || dt_chance(r, 40) || (base & 7) == 4) {
        e->has_sib = true;
        index = dt_below(r, m64 ? 16 : 8);
        scale = dt_below(r, 4);
        if (index == base && !vsib)
            index = 4;
        if (vsib && dt_chance(r, 50)) /* keep the elements near */
            for (unsigned i = 0; i < 8; i++) {
                uint32_t v = e->row->attr & A_W1 && 0 ? 0 : dt_below(r, 64);
                memcpy(c->start.xsave + (i < 4 ? 160 + 4 * i : 576 + 4 * (i - 4)) + 16 * index, &v, 4);
            }
    }
    if (mod == 0 && (base & 7) == 5)
        mod = 1;
    e->disp_len = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    e->disp = mod == 1 ? (int8_t)dt_rand(r) : mod == 2 ? (int32_t)(dt_rand(r) & 0xffff) - 0x8000 : 0;
    uint64_t sum = (uint64_t)(int64_t)e->disp;
    if (e->has_sib && index != 4 && !vsib) {
        if (dt_chance(r, 70))
            gpr[index] = (uint64_t)(int64_t)(int16_t)dt_rand(r);
        sum += gpr[index] << scale;
    }
    gpr[base] = e->target - origin - sum;
    if (e->p67 && m64) { /* upper halves do not count */
        e->target = (uint32_t)e->target;
        if (dt_chance(r, 50))
            gpr[base] |= dt_rand(r) << 32;
    }
    e->rex = (uint8_t)((e->rex & ~3) | (base >> 3) | (index >> 3) << 1);
    if (e->has_sib) {
        e->modrm = (uint8_t)(mod << 6 | (reg & 7) << 3 | 4);
        e->sib = (uint8_t)(scale << 6 | (index & 7) << 3 | (base & 7));
    } else {
        e->modrm = (uint8_t)(mod << 6 | (reg & 7) << 3 | (base & 7));
    }
}

static void make_modrm(struct enc *e)
{
    const struct soft_op_row *row = e->row;
    struct dt_rng *r = e->r;
    unsigned reg = dt_below(r, 8);
    e->has_modrm = true;
    if (row->ext >= 0xc0) {
        e->modrm = (uint8_t)row->ext;
        return;
    }
    if (row->ext >= 0)
        reg = (unsigned)row->ext;
    bool mem = row->attr & A_MEM ? true : row->attr & (A_REG | A_MODRM0F) ? false : dt_chance(r, e->fixed ? 35 : 55);
    if (e->fixed && row->klass == K_BT)
        mem = false; /* a register would choose the address */
    if (mem)
        make_memory(e, reg);
    else
        e->modrm = (uint8_t)(0xc0 | reg << 3 | dt_below(r, 8));
}

static void make_immediate(struct enc *e)
{
    struct dt_rng *r = e->r;
    unsigned n = operand_bytes(e);
    e->imm = dt_value_int(r);
    switch (e->row->form) {
    case F_MR_I8: case F_RM_I8: case F_M_I8: case F_AI8: case F_I8: case F_RVM_I8:
        e->imm_len = 1;
        if (e->row->klass != K_ALU && dt_chance(r, 60))
            e->imm = dt_rand(r);
        break;
    case F_M_IZ: case F_RM_IZ: case F_AIZ: case F_IZ:
        e->imm_len = n > 4 ? 4 : n;
        break;
    case F_OI:
        e->imm_len = n;
        break;
    case F_I16:
        e->imm_len = 2;
        break;
    case F_I16_I8:
        e->imm_len = 3;
        e->imm = dt_below(r, 512) | (uint64_t)dt_below(r, 40) << 16;
        break;
    case F_J8: case F_JZ: /* forward, behind the instruction, inside the code page */
        e->imm_len = e->row->form == F_J8 ? 1 : n == 8 ? 4 : n;
        e->imm = dt_chance(r, 90) ? dt_below(r, 128) : (uint64_t)-(int64_t)(20 + dt_below(r, 100));
        break;
    case F_MOFFS:
        e->target = target_address(r, e->c->mode64);
        e->imm_len = e->c->mode64 ? (e->p67 ? 4 : 8) : e->p67 != e->c->mode16 ? 2 : 4;
        e->imm = e->target - (e->c->mode16 ? DT_DS16_BASE : 0);
        break;
    default:
        break;
    }
}

static void put(struct enc *e, unsigned byte)
{
    if (e->c->len - e->start < 15)
        e->c->bytes[e->c->len++] = (uint8_t)byte;
}

/* Vector opcodes whose other prefixes select other vector instructions, or none. */
static bool vector_opcode(const struct soft_op_row *row)
{
    unsigned o = row->opcode;
    if (row->prefix == P_ANY)
        return false;
    if (row->map == M_0F)
        return (o >= 0x10 && o <= 0x17) || (o >= 0x28 && o <= 0x2f) || (o >= 0x50 && o <= 0x7f) ||
               o == 0xc2 || (o >= 0xc4 && o <= 0xc6) || o >= 0xd0;
    return (row->map == M_38 && o <= 0x41) || (row->map == M_3A && o <= 0x63);
}

static void legacy_prefixes(struct enc *e)
{
    const struct soft_op_row *row = e->row;
    struct dt_rng *r = e->r;
    static const uint8_t segments[] = {0x26, 0x2e, 0x36, 0x3e, 0x65};
    if (e->p67)
        put(e, 0x67);
    if (dt_chance(r, 3))
        put(e, segments[dt_below(r, e->c->mode64 ? 5 : 4)]);
    if (e->p66)
        put(e, 0x66);
    if ((row->attr & A_LOCK) ? dt_chance(r, 15) : dt_chance(r, 1))
        put(e, 0xf0);
    if (vector_opcode(row) && dt_chance(r, 3)) { /* the wrong one */
        static const uint8_t other[] = {0x66, 0xf2, 0xf3};
        put(e, other[dt_below(r, 3)]);
        return;
    }
    if (row->prefix == P_F2 || row->prefix == P_F3)
        put(e, row->prefix == P_F2 ? 0xf2 : 0xf3);
    else if (row->prefix == P_ANY && ((row->attr & A_STR) ? dt_chance(r, 60) : row->map == M_1 && dt_chance(r, 2)))
        put(e, dt_chance(r, 50) ? 0xf2 : 0xf3);
}

static void vex_prefix(struct enc *e)
{
    static const uint8_t pp[] = {[P_ANY] = 0, [P_NP] = 0, [P_66] = 1, [P_F3] = 2, [P_F2] = 3};
    bool w = e->rex & 8;
    /* Sometimes what must not be: a vvvv operand where there is none, another prefix. */
    unsigned vvvv = e->row->attr & A_VV || dt_chance(e->r, 2) ? e->vvvv : 0;
    unsigned prefix = e->row->map == M_V0F && e->row->opcode != 0xae && dt_chance(e->r, 3)
                          ? dt_below(e->r, 4) : pp[e->row->prefix];
    unsigned low = (~vvvv & 15) << 3 | (e->vex_l ? 4 : 0) | prefix;
    if (e->row->map == M_V0F && !w && !(e->rex & 3) && dt_chance(e->r, 50)) {
        put(e, 0xc5);
        put(e, (e->rex & 4 ? 0 : 0x80) | low);
        return;
    }
    put(e, 0xc4);
    put(e, (e->rex & 4 ? 0 : 0x80) | (e->rex & 2 ? 0 : 0x40) | (e->rex & 1 ? 0 : 0x20) |
                  (e->row->map - M_V0F + 1));
    put(e, (w ? 0x80 : 0) | low);
}

static void emit(struct enc *e)
{
    const struct soft_op_row *row = e->row;
    struct dt_case *c = e->c;
    unsigned opcode = row->opcode + dt_below(e->r, row->count);
    if (e->vex) {
        vex_prefix(e);
    } else {
        legacy_prefixes(e);
        if (c->mode64 && (e->rex || dt_chance(e->r, 5)))
            put(e, 0x40 | e->rex);
        if (row->map != M_1)
            put(e, 0x0f);
        if (row->map == M_38 || row->map == M_3A)
            put(e, row->map == M_38 ? 0x38 : 0x3a);
    }
    put(e, opcode);
    if (e->has_modrm)
        put(e, e->modrm);
    if (e->has_sib)
        put(e, e->sib);
    bool relative = c->mode64 && e->has_modrm && (e->modrm & 0xc7) == 5;
    if (relative)
        e->disp -= (int32_t)(c->at + c->len + 4 + e->imm_len);
    for (unsigned i = 0; i < e->disp_len; i++)
        put(e, (uint32_t)e->disp >> 8 * i);
    for (unsigned i = 0; i < e->imm_len; i++)
        put(e, (unsigned)(e->imm >> 8 * i) & 0xff);
}

/* ---- What some instructions need ------------------------------------------------------------- */

static void poke(struct dt_case *c, uint64_t address, const void *bytes, unsigned n)
{
    if (address < DT_DATA || address + n > DT_DATA + DT_RW || n > DT_POKE)
        return;
    c->poke_at = (uint32_t)(address - DT_DATA);
    c->poke_len = n;
    memcpy(c->poke, bytes, n);
}

static bool named(const struct soft_op_row *row, const char *name)
{
    return !strncmp(row->name, name, strlen(name));
}

/* An FXSAVE or XSAVE image that is mostly loadable. */
static void poke_state(struct enc *e)
{
    uint8_t area[DT_POKE];
    uint64_t header[8] = {dt_below(e->r, 8)};
    make_fpu(e->r, area);
    if (dt_chance(e->r, 30))
        header[1] = 1ull << 63 | header[0] | (dt_chance(e->r, 50) ? 7 : 0);
    if (dt_chance(e->r, 5))
        header[dt_below(e->r, 8)] |= dt_rand(e->r) & 0xf;
    if (dt_chance(e->r, 5))
        area[24 + dt_below(e->r, 4)] = (uint8_t)dt_rand(e->r);
    memcpy(area + 512, header, sizeof header);
    poke(e->c, e->target, area, named(e->row, "fx") ? 512 : DT_XSAVE);
}

static void adjust(struct enc *e)
{
    struct dt_case *c = e->c;
    struct dt_rng *r = e->r;
    const struct soft_op_row *row = e->row;
    uint64_t *gpr = c->start.gpr;
    uint8_t bytes[64];
    if (row->attr & A_STR) {
        gpr[GH_RCX] = dt_chance(r, 90) ? dt_below(r, 70) : (uint64_t)dt_below(r, 9000);
        gpr[GH_RSI] = target_address(r, c->mode64);
        gpr[GH_RDI] = dt_chance(r, 20) ? gpr[GH_RSI] + dt_below(r, 64) - 32 : target_address(r, c->mode64);
        if (dt_chance(r, 50)) /* equal bytes, for compares */
            c->pattern = PATTERNS - 1;
    }
    if (named(row, "xlat"))
        gpr[GH_RBX] = target_address(r, c->mode64);
    if (named(row, "maskmov"))
        gpr[GH_RDI] = target_address(r, c->mode64);
    if (named(row, "xsave") || named(row, "xrstor")) {
        gpr[GH_RAX] &= 7;
        gpr[GH_RDX] = 0;
    }
    if (e->target >= DT_DATA && e->target < DT_RO && dt_chance(r, 80)) {
        dt_fill(r, bytes, sizeof bytes);
        poke(c, e->target, bytes, sizeof bytes);
    }
    if (named(row, "fxrstor") || named(row, "xrstor"))
        poke_state(e);
    if (named(row, "ldmxcsr") && dt_chance(r, 80)) {
        uint32_t v = (uint32_t)dt_rand(r) & 0xffff;
        poke(c, e->target, &v, 4);
    }
    uint64_t code = DT_INSN + 64 + dt_below(r, 512) - (c->mode16 ? DT_CS16_BASE : 0);
    if ((row->klass == K_JMPIND || row->klass == K_CALLIND) && dt_chance(r, 80)) {
        if (e->modrm >= 0xc0)
            gpr[(e->modrm & 7) | (c->mode64 ? (e->rex & 1) << 3 : 0)] = code;
        else
            poke(c, e->target, &code, 8);
    }
    if (row->klass == K_RET && dt_chance(r, 85))
        poke(c, gpr[GH_RSP], &code, 8);
    if (named(row, "popf")) { /* no single step, no alignment checks */
        uint64_t flags = dt_rand(r) & 0x200cd5;
        gpr[GH_RSP] = dt_chance(r, 90) ? DT_DATA + 512 + (uint64_t)dt_below(r, 5000) : 0x7000;
        poke(c, gpr[GH_RSP], &flags, 8);
    }
    if (row->klass == K_DIV && dt_chance(r, 60)) /* quotients that fit */
        gpr[GH_RDX] = dt_chance(r, 50) ? 0 : dt_below(r, 3);
}

/* Prefixes, operands and bytes of one instruction, behind what the case has. */
static void make_instruction(struct enc *e)
{
    struct dt_case *c = e->c;
    struct dt_rng *r = e->r;

    e->start = c->len;
    e->vex = e->row->map >= M_V0F;
    e->rex = (uint8_t)(c->mode64 ? dt_below(r, 16) & (dt_chance(r, 60) ? 15 : 7) : 0);
    e->vvvv = (uint8_t)dt_below(r, c->mode64 ? 16 : 8);
    e->vex_l = e->row->attr & A_L1 ? true : e->row->attr & A_L0 ? dt_chance(r, 2) : dt_chance(r, 50);
    if (named(e->row, "vaes") || named(e->row, "vpclmul"))
        e->vex_l = false; /* the host may have the 256-bit forms, which no CPU model offers */
    if (e->row->attr & A_W1)
        e->rex |= 8;
    if (e->row->attr & A_W0)
        e->rex &= (uint8_t)~8;
    if (!c->mode64 && e->vex && (e->row->attr & A_W1))
        e->rex = 8;
    e->p66 = e->row->prefix == P_66 || (e->row->prefix == P_ANY && dt_chance(r, 20));
    e->p67 = !e->vex && !e->fixed && dt_chance(r, 4);
    if (e->vex)
        e->p66 = false;
    if (has_modrm(e->row->form))
        make_modrm(e);
    make_immediate(e);
    if (!e->fixed)
        adjust(e);
    emit(e);
}

/* ---- Sequences ------------------------------------------------------------------------------- */
static bool fits_sequence(unsigned row)
{
    const struct soft_op_row *r = &soft_rows[row];

    if (r->attr & (A_END | A_STR | A_STK | A_VSIB) || dt_row_open(row) || (r->klass == K_DIV && row & 1))
        return false;
    return r->form != F_STR_SI && r->form != F_STR_DI && r->form != F_STR_BOTH && !named(r, "xlat") && !named(r, "maskmov") &&
           !named(r, "popf") && !named(r, "leave") && !named(r, "bound");
}

static void put_bytes(struct dt_case *c, const uint8_t *bytes, unsigned n)
{
    memcpy(c->bytes + c->len, bytes, n);
    c->len = (uint8_t)(c->len + n);
}

/* MOV byte [the immediate of an instruction further on], imm8; its place is filled in by complete_change. */
static unsigned begin_change(struct dt_case *c, uint8_t value)
{
    unsigned at = c->len;

    put_bytes(c, (const uint8_t[]){ 0xc6, 0x05, 0, 0, 0, 0, value }, 7);
    return at;
}

static void complete_change(struct dt_rng *r, struct dt_case *c, unsigned change)
{
    uint8_t victim[5] = { (uint8_t)(0xb8 | dt_below(r, 8)), 1, 2, 3, 4 }; /* MOV r32, imm32; not the stack pointer */
    unsigned byte = c->len + 1 + dt_below(r, 4);

    if (victim[0] == 0xbc)
        victim[0] = 0xb8;
    put_bytes(c, victim, sizeof victim);
    uint32_t address = (uint32_t)c->at + byte;
    if (c->mode64)
        address -= (uint32_t)c->at + change + 7;
    memcpy(c->bytes + change + 2, &address, 4);
}

static void make_sequence(struct enc *first, const uint16_t *rows, unsigned row_count)
{
    struct dt_case *c = first->c;
    struct dt_rng *r = first->r;
    unsigned wanted = 2 + dt_below(r, DT_SEQUENCE - 1), change = 0;
    bool changes = dt_chance(r, 25), open = false;

    if (dt_chance(r, 10))       /* it runs out of its page */
        c->at = DT_CODE + DT_PAGE - 1 - dt_below(r, 40);
    for (unsigned tries = 0; c->count < wanted && tries < 200; tries++) {
        unsigned row = rows[dt_below(r, row_count)];
        if (!dt_row_usable(row, c->mode64) || !fits_sequence(row) || c->len > DT_BYTES - 32)
            continue;
        if (changes && !open && c->count == wanted / 2) {
            change = begin_change(c, (uint8_t)dt_rand(r));
            c->rows[c->count++] = (uint16_t)row;
            open = true;
        }
        struct enc e = { .r = r, .c = c, .row = &soft_rows[row], .fixed = true };
        make_instruction(&e);
        if (!c->count)
            c->row = (uint16_t)row;
        c->rows[c->count++] = (uint16_t)row;
    }
    if (open)
        complete_change(r, c, change);
    c->count = (uint8_t)(c->count + open);
}

void dt_generate(uint64_t seed, uint64_t number, const uint16_t *rows, unsigned row_count,
                 struct dt_case *c)
{
    struct dt_rng rng = {seed * 0x9e3779b97f4a7c15ull + number * 0xd1342543de82ef95ull};
    struct dt_rng *r = &rng;
    struct enc e = {.r = r, .c = c};
    memset(c, 0, offsetof(struct dt_case, poke));
    c->number = number;
    c->mode64 = !dt_chance(r, 20);
    do {
        c->row = rows[dt_below(r, row_count)];
        if (!dt_row_usable(c->row, c->mode64))
            c->mode64 = !c->mode64;
    } while (!dt_row_usable(c->row, c->mode64));
    e.row = &soft_rows[c->row];
    c->mode16 = dt_mode16 && !c->mode64 && dt_chance(r, 45);
    c->at = DT_INSN;
    c->pattern = dt_below(r, PATTERNS);
    for (unsigned i = 0; i < 16; i++)
        c->start.gpr[i] = c->mode64 ? dt_value_int(r) : i < 8 ? (uint32_t)dt_value_int(r) : 0;
    c->start.gpr[GH_RSP] = dt_chance(r, 80) ? DT_DATA + 2048 + (uint64_t)dt_below(r, 4096) : target_address(r, c->mode64);
    if (dt_chance(r, 70))
        c->start.gpr[GH_RSP] &= ~7ull;
    if (e.row->attr & A_STK && dt_chance(r, 70))
        c->start.gpr[GH_RBP] = target_address(r, c->mode64);
    c->start.rflags = 0x202 | (dt_rand(r) & 0x8d5) | (dt_chance(r, 30) ? 0x400 : 0);
    make_fpu(r, c->start.xsave);

    if (!c->mode16 && dt_chance(r, 25))
        make_sequence(&e, rows, row_count);
    if (!c->count) {
        make_instruction(&e);
        c->count = 1;
        c->operand = e.target;
    }
    if (!c->mode64)
        for (unsigned i = 0; i < 8; i++) {
            c->start.gpr[i] = (uint32_t)c->start.gpr[i];
            if (c->mode16 && c->start.gpr[i] - DT_DS16_BASE < 0x10000) /* pointers become offsets */
                c->start.gpr[i] -= DT_DS16_BASE;
        }
}
