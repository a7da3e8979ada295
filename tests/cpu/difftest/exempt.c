/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the architecture leaves open, with the reason. Arithmetic flags that manuals call undefined are compared
 * all the same wherever handlers take them from the same host instruction.
 */
#include "difftest.h"

#include <string.h>

#define OF 0x800u
enum vector { ANY = 0, PAGE_FAULT = 14, ANY_FAULT = 255 };

struct open_row {
    const char *name;       /* mnemonic prefix; NULL: every instruction */
    enum vector vector;     /* only when the host raised it */
    struct dt_open open;
};

static const struct open_row table[] = {
    {"xsave", ANY, {.xstate_bv = true, .why = "XINUSE may be set for a component in its initial state"}},
    {"xsave", PAGE_FAULT, {.address = true, .memory = true,
        .why = "order of the accesses to a large area; parts before the fault may be written"}},
    {"xrstor", ANY_FAULT, {.address = true, .registers = true,
        .why = "order of the accesses to a large area; components before the fault may be loaded"}},
    {"fxsave", PAGE_FAULT, {.address = true, .memory = true, .why = "order of the accesses to a large area"}},
    {"fxrstor", PAGE_FAULT, {.address = true, .why = "order of the accesses to a large area"}},
    {"fnsave", PAGE_FAULT, {.address = true, .memory = true, .why = "order of the accesses to a large area"}},
    {"fnstenv", PAGE_FAULT, {.address = true, .memory = true, .why = "order of the accesses to a large area"}},
    {"frstor", PAGE_FAULT, {.address = true, .why = "order of the accesses to a large area"}},
    {"fldenv", PAGE_FAULT, {.address = true, .why = "order of the accesses to a large area"}},
    {"maskmov", ANY_FAULT, {.order = true, .address = true, .memory = true, .fault = true,
        .why = "faults for bytes whose mask is clear are implementation-specific"}},
    {"vmaskmov", ANY_FAULT, {.order = true, .address = true, .memory = true, .fault = true,
        .why = "faults for bytes whose mask is clear are implementation-specific"}},
    {"vpmaskmov", PAGE_FAULT, {.address = true, .memory = true, .why = "which element of the store CR2 names"}},
    {"fbstp", PAGE_FAULT, {.memory = true, .why = "stored in two parts; the first may stand before the fault"}},
    {"fstp", PAGE_FAULT, {.memory = true, .why = "the 80-bit form is stored in two parts"}},
    {"enter", ANY_FAULT, {.order = true, .memory = true, .why = "order of the accesses of a nested frame"}},
    {"popa", ANY_FAULT, {.registers = true, .why = "registers before the fault may be loaded"}},
    {"movs", ANY_FAULT, {.halves = true, .why = "with 67h RSI and RDI may be zero-extended before a fault"}},
    {"cmps", ANY_FAULT, {.halves = true, .why = "with 67h RSI and RDI may be zero-extended before a fault"}},
    {"stos", ANY_FAULT, {.halves = true, .why = "with 67h RDI may be zero-extended before a fault"}},
    {"scas", ANY_FAULT, {.halves = true, .why = "with 67h RDI may be zero-extended before a fault"}},
    {"lods", ANY_FAULT, {.halves = true, .why = "with 67h RSI may be zero-extended before a fault"}},
    {"fxrstor", ANY, {.pointers = true, .why = "FIP and FDP keep as many bits as a linear address has"}},
    {"xrstor", ANY, {.pointers = true, .why = "FIP and FDP keep as many bits as a linear address has"}},
    {"pusha", PAGE_FAULT, {.memory = true, .why = "words before the fault may be written"}},
    {"rol", ANY, {.rflags = OF, .why = "undefined for counts other than 1: differs between imm8 and CL forms"}},
    {"ror", ANY, {.rflags = OF, .why = "undefined for counts other than 1: differs between imm8 and CL forms"}},
};

bool dt_row_open(unsigned row)
{
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].name && !strncmp(soft_rows[row].name, table[i].name, strlen(table[i].name)))
            return true;
    return false;
}

struct dt_open dt_exempt(const struct dt_case *c, const struct dt_result *native)
{
    struct dt_open all = {0};
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
        const struct open_row *t = &table[i];
        if (t->name && strncmp(soft_rows[c->row].name, t->name, strlen(t->name)))
            continue;
        if (t->vector == ANY_FAULT ? native->vector == SOFT_BP : t->vector && t->vector != native->vector)
            continue;
        all.rflags |= t->open.rflags;
        all.xstate_bv |= t->open.xstate_bv;
        all.address |= t->open.address;
        all.memory |= t->open.memory;
        all.fault |= t->open.fault;
        all.order |= t->open.order;
        all.registers |= t->open.registers;
        all.halves |= t->open.halves && memchr(c->bytes, 0x67, 4); /* among the prefixes */
        all.pointers |= t->open.pointers;
        all.why = t->open.why;
    }
    return all;
}
