/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Registers as the debugger numbers them: one table makes the target description, reads and writes. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/machine/gdb_internal.h"

enum place {
    IN_STATE,                              /* at an offset of struct gh_cpu_state */
    IN_SELECTOR,                           /* read only: a selector without its descriptor means nothing */
    IN_X87_TAG, IN_X87_WORD, IN_X87_ZERO,  /* the XSAVE area's forms differ */
    IN_MSR,
};
/* size: bytes that the debugger sees; group: which part of the state, enum gh_cpu_group. */
struct reg { const char *name, *type; uint16_t size; uint8_t place; unsigned group; uint32_t at; };

#define STATE(n, t, bits, group, member) { n, t, bits / 8, IN_STATE, group, offsetof(struct gh_cpu_state, member) }
#define XSAVE(n, t, bits, offset) { n, t, bits / 8, IN_STATE, GH_CPU_FPU, offsetof(struct gh_cpu_state, xsave) + (offset) }
#define GPR(n, i) STATE(n, "int64", 64, GH_CPU_REGS, gpr[i])
#define SEL(n, i) { n, "int32", 4, IN_SELECTOR, GH_CPU_SREGS, offsetof(struct gh_cpu_state, seg[i].selector) }
#define BASE(n, i) STATE(n, "int64", 64, GH_CPU_SREGS, seg[i].base)
#define WORD(n, offset) { n, "int", 4, IN_X87_WORD, GH_CPU_FPU, offsetof(struct gh_cpu_state, xsave) + (offset) }
#define ST(i) XSAVE("st" #i, "i387_ext", 80, 32 + 16 * i)
#define XMM(i) XSAVE("xmm" #i, "vec128", 128, 160 + 16 * i)
#define YMMH(i) XSAVE("ymm" #i "h", "uint128", 128, 576 + 16 * i)
#define MSR_KERNEL_GS_BASE 0xc0000102u

static const struct reg core[] = {
    GPR("rax", GH_RAX), GPR("rbx", GH_RBX), GPR("rcx", GH_RCX), GPR("rdx", GH_RDX), GPR("rsi", GH_RSI), GPR("rdi", GH_RDI),
    STATE("rbp", "data_ptr", 64, GH_CPU_REGS, gpr[GH_RBP]), STATE("rsp", "data_ptr", 64, GH_CPU_REGS, gpr[GH_RSP]),
    GPR("r8", 8), GPR("r9", 9), GPR("r10", 10), GPR("r11", 11), GPR("r12", 12), GPR("r13", 13), GPR("r14", 14), GPR("r15", 15),
    STATE("rip", "code_ptr", 64, GH_CPU_REGS, rip), STATE("eflags", "i386_eflags", 32, GH_CPU_REGS, rflags),
    SEL("cs", GH_CS), SEL("ss", GH_SS), SEL("ds", GH_DS), SEL("es", GH_ES), SEL("fs", GH_FS), SEL("gs", GH_GS),
    ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
    WORD("fctrl", 0), WORD("fstat", 2), { "ftag", "int", 4, IN_X87_TAG, GH_CPU_FPU, offsetof(struct gh_cpu_state, xsave) + 4 },
    { "fiseg", "int", 4, IN_X87_ZERO, GH_CPU_FPU, 0 }, XSAVE("fioff", "int", 32, 8),
    { "foseg", "int", 4, IN_X87_ZERO, GH_CPU_FPU, 0 }, XSAVE("fooff", "int", 32, 16), WORD("fop", 6),
};
static const struct reg sse[] = {
    XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7), XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14),
    XMM(15), XSAVE("mxcsr", "i386_mxcsr", 32, 24),
};
static const struct reg segments[] = { BASE("fs_base", GH_FS), BASE("gs_base", GH_GS) };
static const struct reg avx[] = {
    YMMH(0), YMMH(1), YMMH(2), YMMH(3), YMMH(4), YMMH(5), YMMH(6), YMMH(7), YMMH(8), YMMH(9), YMMH(10), YMMH(11), YMMH(12),
    YMMH(13), YMMH(14), YMMH(15),
};
static const struct reg privileged[] = {
    { "k_gs_base", "int64", 8, IN_MSR, GH_CPU_MSRS, MSR_KERNEL_GS_BASE },
    STATE("cr0", "int64", 64, GH_CPU_SREGS, cr0), STATE("cr2", "int64", 64, GH_CPU_SREGS, cr2), STATE("cr3", "int64", 64, GH_CPU_SREGS, cr3),
    STATE("cr4", "int64", 64, GH_CPU_SREGS, cr4), STATE("cr8", "int64", 64, GH_CPU_SREGS, cr8), STATE("efer", "int64", 64, GH_CPU_SREGS, efer),
    BASE("cs_base", GH_CS), BASE("ss_base", GH_SS), BASE("ds_base", GH_DS), BASE("es_base", GH_ES),
    SEL("tr", GH_TR), BASE("tr_base", GH_TR), SEL("ldtr", GH_LDTR), BASE("ldtr_base", GH_LDTR),
    STATE("gdt_base", "int64", 64, GH_CPU_SREGS, gdt.base), STATE("idt_base", "int64", 64, GH_CPU_SREGS, idt.base),
    STATE("dr0", "int64", 64, GH_CPU_DEBUG, dr[0]), STATE("dr1", "int64", 64, GH_CPU_DEBUG, dr[1]), STATE("dr2", "int64", 64, GH_CPU_DEBUG, dr[2]),
    STATE("dr3", "int64", 64, GH_CPU_DEBUG, dr[3]), STATE("dr6", "int64", 64, GH_CPU_DEBUG, dr6), STATE("dr7", "int64", 64, GH_CPU_DEBUG, dr7),
};

static const char core_types[] =
    "<flags id=\"i386_eflags\" size=\"4\"><field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"PF\" start=\"2\" end=\"2\"/>"
    "<field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/>"
    "<field name=\"OF\" start=\"11\" end=\"11\"/><field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
    "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"VIF\" start=\"19\" end=\"19\"/>"
    "<field name=\"VIP\" start=\"20\" end=\"20\"/><field name=\"ID\" start=\"21\" end=\"21\"/></flags>";
static const char sse_types[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
    "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>"
    "<flags id=\"i386_mxcsr\" size=\"4\"><field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" end=\"1\"/>"
    "<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/><field name=\"UE\" start=\"4\" end=\"4\"/>"
    "<field name=\"PE\" start=\"5\" end=\"5\"/><field name=\"DAZ\" start=\"6\" end=\"6\"/><field name=\"IM\" start=\"7\" end=\"7\"/>"
    "<field name=\"DM\" start=\"8\" end=\"8\"/><field name=\"ZM\" start=\"9\" end=\"9\"/><field name=\"OM\" start=\"10\" end=\"10\"/>"
    "<field name=\"UM\" start=\"11\" end=\"11\"/><field name=\"PM\" start=\"12\" end=\"12\"/><field name=\"FZ\" start=\"15\" end=\"15\"/></flags>";

static const struct feature { const char *name, *types, *group; const struct reg *reg; unsigned count; } features[] = {
    { "org.gnu.gdb.i386.core", core_types, NULL, core, GH_ARRAY_LEN(core) },
    { "org.gnu.gdb.i386.sse", sse_types, NULL, sse, GH_ARRAY_LEN(sse) },
    { "org.gnu.gdb.i386.segments", "", NULL, segments, GH_ARRAY_LEN(segments) },
    { "org.gnu.gdb.i386.avx", "", NULL, avx, GH_ARRAY_LEN(avx) },
    { "org.gasthaus.x86.system", "", "system", privileged, GH_ARRAY_LEN(privileged) },
};

const char *gdb_target_xml(void)
{
    static char text[20480];
    struct gdb_out o = { .data = text, .size = sizeof text };

    if (text[0])
        return text;
    gdb_put(&o, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target><architecture>i386:x86-64</architecture>");
    for (unsigned f = 0; f < GH_ARRAY_LEN(features); f++) {
        gdb_putf(&o, "<feature name=\"%s\">", features[f].name);
        gdb_put(&o, features[f].types);
        for (unsigned i = 0; i < features[f].count; i++) {
            const struct reg *r = &features[f].reg[i];
            gdb_putf(&o, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"", r->name, r->size * 8u, r->type);
            if (features[f].group)
                gdb_putf(&o, " group=\"%s\"", features[f].group);
            gdb_put(&o, r->place == IN_X87_WORD || r->place == IN_X87_TAG || r->place == IN_X87_ZERO ? " group=\"float\"/>" : "/>");
        }
        gdb_put(&o, "</feature>");
    }
    gdb_put(&o, "</target>");
    return text;
}

unsigned gdb_register_count(void)
{
    unsigned n = 0;

    for (unsigned f = 0; f < GH_ARRAY_LEN(features); f++)
        n += features[f].count;
    return n;
}

static const struct reg *find(unsigned number)
{
    for (unsigned f = 0; f < GH_ARRAY_LEN(features); number -= features[f++].count)
        if (number < features[f].count)
            return &features[f].reg[number];
    return NULL;
}

bool gdb_state(struct gh_gdb *g, unsigned vcpu, unsigned groups, struct gh_cpu_state *ret)
{
    struct gh_machine *m = g->machine;

    memset(ret, 0, sizeof *ret);
    return m->cfg.accel->get_state(m->vcpu[vcpu].accel, groups, ret, NULL) == 0;
}

static const struct gh_msr *find_msr(const struct gh_cpu_state *s, uint32_t index)
{
    for (unsigned i = 0; i < s->msr_count; i++)
        if (s->msr[i].index == index)
            return &s->msr[i];
    return NULL;
}

/* Two bits a register from one: valid, or empty. The debugger does not need zero and special told apart. */
static uint16_t full_tags(uint8_t abridged)
{
    uint16_t tags = 0;

    for (unsigned i = 0; i < 8; i++)
        tags |= (uint16_t)((abridged >> i & 1 ? 0 : 3) << i * 2);
    return tags;
}

bool gdb_read_register(const struct gh_cpu_state *s, unsigned number, struct gdb_out *o)
{
    const struct reg *r = find(number);
    const uint8_t *at = (const uint8_t *)s;
    uint8_t word[8] = { 0 };

    if (!r)
        return false;
    switch (r->place) {
    case IN_STATE: gdb_put_hex(o, at + r->at, r->size); return true;
    case IN_SELECTOR: case IN_X87_WORD: memcpy(word, at + r->at, 2); break;
    case IN_X87_TAG: gh_le16_put(word, full_tags(at[r->at])); break;
    case IN_MSR: {
        const struct gh_msr *m = find_msr(s, r->at);
        gh_le64_put(word, m ? m->value : 0);
        break;
    }
    default: break;
    }
    gdb_put_hex(o, word, r->size);
    return true;
}

static bool change(struct gh_cpu_state *s, const struct reg *r, const uint8_t *value)
{
    uint8_t *at = (uint8_t *)s;

    switch (r->place) {
    case IN_STATE: memcpy(at + r->at, value, r->size); return true;
    case IN_X87_WORD: memcpy(at + r->at, value, 2); return true;
    case IN_X87_ZERO: return true;
    case IN_SELECTOR: return gh_le16_get(at + r->at) == gh_le16_get(value);
    case IN_X87_TAG: {
        uint16_t tags = gh_le16_get(value);
        at[r->at] = 0;
        for (unsigned i = 0; i < 8; i++)
            at[r->at] |= (uint8_t)((tags >> i * 2 & 3) != 3) << i;
        return true;
    }
    case IN_MSR: {
        struct gh_msr *m = (struct gh_msr *)(uintptr_t)find_msr(s, r->at);
        if (m)
            m->value = gh_le64_get(value);
        return m;
    }
    default: return false;
    }
}

bool gdb_write_register(struct gh_gdb *g, unsigned vcpu, unsigned number, const uint8_t *value, size_t len)
{
    const struct reg *r = find(number);
    struct gh_machine *m = g->machine;
    struct gh_cpu_state s;

    if (!r || len != r->size || !gdb_state(g, vcpu, r->group, &s) || !change(&s, r, value))
        return false;
    if (r->place == IN_STATE && r->group == GH_CPU_FPU && r->at >= offsetof(struct gh_cpu_state, xsave) + 160)
        s.xsave[512] |= r->at >= offsetof(struct gh_cpu_state, xsave) + 576 ? 6 : 2; /* this part is not initial any more */
    else if (r->group == GH_CPU_FPU)
        s.xsave[512] |= 1;
    return m->cfg.accel->set_state(m->vcpu[vcpu].accel, r->group, &s, NULL) == 0;
}

bool gdb_write_registers(struct gh_gdb *g, unsigned vcpu, const char *hex)
{
    uint8_t value[16];
    unsigned changed = 0;

    for (unsigned n = 0; n < gdb_register_count(); n++) {
        const struct reg *r = find(n);
        if (gdb_bytes(hex, value, r->size) < r->size)
            break;
        hex += r->size * 2;
        changed += gdb_write_register(g, vcpu, n, value, r->size);
    }
    return changed;
}
