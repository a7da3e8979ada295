/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Random loops of one block, in the translator and in the interpreter: pointers that step through pages in both
 * directions, through pages that are read-only or absent, operands that cross pages, aligned and unaligned vectors, all
 * registers in use or few, jumps out of the middle. The translator's own version for later rounds (jit/loop.c) must end
 * as the interpreter does, faults included. loops [--cases N] [--seed S]
 */
#include "guest.h"

#include "engine/accel/soft/block.h"
#include "engine/accel/soft/jit/jit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARITH = 0x8d5 };

static uint64_t state;
static uint64_t rnd(uint64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state * 0x2545f4914f6cdd1dull >> 33) % n;
}

#define EXITS 3
struct gen { struct dt_case *c; unsigned pointer[3], data[5], index, counter, pointers, exits, exit[EXITS]; };

static void put(struct gen *g, unsigned v) { g->c->bytes[g->c->len++] = (uint8_t)v; }

/* ModRM: a register, and [base (+ index << scale) + disp] or the register base. */
static void operand(struct gen *g, unsigned reg, bool mem, bool indexed, unsigned base, int disp)
{
    if (!mem) {
        put(g, 0xc0 | (reg & 7) << 3 | (base & 7));
        return;
    }
    bool sib = indexed || (base & 7) == 4;
    put(g, 0x40 | (reg & 7) << 3 | (sib ? 4 : base & 7));
    if (sib)
        put(g, (indexed ? (unsigned)rnd(3) << 6 | (g->index & 7) << 3 : 4u << 3) | (base & 7));
    put(g, (uint8_t)disp);
}

/* A ModRM instruction with a register and [pointer (+ index << scale) + disp], or a register. */
static void insn(struct gen *g, unsigned prefix, bool wide, const char *opcode, unsigned n, unsigned reg, int pointer, unsigned rm, int disp)
{
    bool mem = pointer >= 0, indexed = mem && rnd(4) == 0;
    unsigned base = mem ? g->pointer[pointer] : rm, index = g->index;
    if (prefix)
        put(g, prefix);
    put(g, 0x40 | wide << 3 | (reg >> 3) << 2 | (indexed ? (index >> 3) << 1 : 0) | base >> 3);
    for (unsigned i = 0; i < n; i++)
        put(g, (uint8_t)opcode[i]);
    operand(g, reg, mem, indexed, base, disp);
}

/* The same with a VEX prefix: map 1 to 3, pp 0 to 3, length, vvvv. */
static void vex(struct gen *g, unsigned map, unsigned pp, bool wide, bool l, unsigned opcode, unsigned v, unsigned reg, int pointer, unsigned rm,
                int disp)
{
    bool mem = pointer >= 0, indexed = mem && rnd(4) == 0;
    unsigned base = mem ? g->pointer[pointer] : rm, index = g->index;
    put(g, 0xc4);
    put(g, (~reg & 8) << 4 | (indexed && index & 8 ? 0 : 0x40u) | (~base & 8) << 2 | map);
    put(g, (unsigned)wide << 7 | (~v & 15) << 3 | (unsigned)l << 2 | pp);
    put(g, opcode);
    operand(g, reg, mem, indexed, base, disp);
}

static bool has_vex(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

static void step(struct gen *g, unsigned reg)
{
    static const int8_t by[] = { 1, 2, 4, 8, 16, 16, 32, 64, 127, -1, -4, -8, -16, -16, -64, -128 };
    int n = by[rnd(sizeof by)];
    switch (rnd(4)) {
    case 0:
        put(g, 0x48 | reg >> 3);
        put(g, 0xff);
        put(g, 0xc0 | (n < 0) << 3 | (reg & 7));
        break;
    case 1:
        put(g, 0x48 | (reg >> 3) << 2 | reg >> 3);
        put(g, 0x8d);
        put(g, 0x40 | (reg & 7) << 3 | (reg & 7));
        if ((reg & 7) == 4)
            put(g, 0x24);
        put(g, (uint8_t)n);
        break;
    default:
        put(g, 0x48 | reg >> 3);
        put(g, 0x83);
        put(g, 0xc0 | (rnd(2) ? 5u << 3 : 0) | (reg & 7));
        put(g, (uint8_t)n);
    }
}

/* A jump out of the loop, in one case of many taken soon: behind the loop's end, which is not known yet. */
static void side_exit(struct gen *g)
{
    unsigned r = g->data[rnd(5)];
    if (g->exits == EXITS)
        return;
    if (rnd(3)) {                            /* cmp r, imm32; je, jb, jl: seldom */
        put(g, 0x48 | r >> 3);
        put(g, 0x81);
        put(g, 0xf8 | (r & 7));
        uint32_t v = (uint32_t)rnd(1u << 31);
        memcpy(g->c->bytes + g->c->len, &v, 4);
        g->c->len = (uint8_t)(g->c->len + 4);
    }
    put(g, 0x0f);
    put(g, "\x84\x82\x8c\x80\x8a\x85"[rnd(rnd(4) ? 1 : 6)] & 0xff);
    g->exit[g->exits++] = g->c->len;
    g->c->len = (uint8_t)(g->c->len + 4);
}

static void body(struct gen *g)
{
    unsigned n = 2 + (unsigned)rnd(11);
    put(g, 0x48 | (g->data[0] >> 3) << 2 | g->data[1] >> 3); /* add: forgets the flags */
    put(g, 0x01);
    put(g, 0xc0 | (g->data[0] & 7) << 3 | (g->data[1] & 7));
    while (n-- && g->c->len < DT_BYTES - 42) {
        unsigned r = g->data[rnd(5)], q = g->data[rnd(5)], x = (unsigned)rnd(16), y = (unsigned)rnd(16);
        int p = (int)rnd(g->pointers), d = rnd(3) ? (int)rnd(8) * 16 - 64 : (int)rnd(200) - 100;
        bool w = rnd(2), l = rnd(2);
        switch (rnd(has_vex() ? 30 : 22)) {
        case 20: case 21: side_exit(g); break;
        case 22: vex(g, 1, 0, false, l, rnd(2) ? 0x28 : 0x29, 0, x, p, 0, d); break; /* vmovaps */
        case 23: vex(g, 1, 2, false, l, rnd(2) ? 0x6f : 0x7f, 0, x, p, 0, d); break; /* vmovdqu */
        case 24: vex(g, 1, 1, false, l, 0xfe, y, x, p, 0, d); break;  /* vpaddd */
        case 25: vex(g, 2, 1, false, l, 0x58, 0, x, p, 0, d); break;  /* vpbroadcastd */
        case 26: vex(g, 1, 1, false, l, 0xd7, 0, r, -1, x, 0); break; /* vpmovmskb */
        case 27: vex(g, 2, 0, w, false, 0xf2, q, r, rnd(2) ? p : -1, q, d); break;        /* andn */
        case 28: vex(g, 2, (unsigned)rnd(3) + 1, w, false, 0xf7, q, r, rnd(2) ? p : -1, q, d); break; /* shlx, sarx, shrx */
        case 29:
            if (rnd(2))
                vex(g, 2, 0, w, false, 0xf3, q, 1 + (unsigned)rnd(3), p, 0, d); /* blsr, blsmsk, blsi */
            else
                vex(g, 2, 3, w, false, 0xf6, q, r, p, 0, d); /* mulx */
            break;
        case 0: case 1: insn(g, 0, w, "\x8b", 1, r, p, 0, d); break;
        case 2: insn(g, 0, w, "\x89", 1, r, p, 0, d); break;
        case 3: insn(g, 0, w, "\x03", 1, r, p, 0, d); break;
        case 4: insn(g, 0, w, "\x31", 1, r, p, 0, d); break;
        case 5: insn(g, 0, false, "\x88", 1, r, p, 0, d); break;
        case 6: insn(g, 0, w, "\x0f\xb6", 2, r, p, 0, d); break;
        case 7: insn(g, 0, false, "\x0f\x28", 2, x, p, 0, d); break;  /* movaps */
        case 8: insn(g, 0, false, "\x0f\x29", 2, x, p, 0, d); break;
        case 9: insn(g, 0, false, "\x0f\x10", 2, x, p, 0, d); break;  /* movups */
        case 10: insn(g, 0, false, "\x0f\x11", 2, x, p, 0, d); break;
        case 11: insn(g, 0x66, false, "\x0f\xfe", 2, x, p, 0, d); break; /* paddd */
        case 12: insn(g, 0x66, false, "\x0f\xef", 2, x, -1, y, 0); break;
        case 13: insn(g, 0, w, "\x01", 1, r, -1, q, 0); break;
        case 14: insn(g, 0, w, "\x0f\xaf", 2, r, -1, q, 0); break;
        case 15: insn(g, 0, w, "\x11", 1, r, -1, q, 0); break;        /* adc: reads flags */
        case 16: insn(g, 0, w, "\x0f\x4c", 2, r, -1, q, 0); break;    /* cmovl */
        case 17: insn(g, 0x66, w, "\x0f\x7e", 2, x, -1, q, 0); break; /* movd */
        case 18: insn(g, 0, w, "\xd1", 1, 4 + (unsigned)rnd(2), -1, q, 0); break; /* shl, shr */
        default: step(g, rnd(4) ? g->pointer[p] : g->index); break;
        }
    }
    if (rnd(4))
        step(g, g->pointer[rnd(g->pointers)]);
}

static void make(struct dt_case *c, uint64_t number)
{
    uint8_t order[16];
    struct gen g = { .c = c };
    memset(c, 0, sizeof *c);
    c->number = number;
    c->mode64 = true;
    c->count = 2;
    c->at = DT_INSN;
    c->pattern = (uint32_t)rnd(4);
    for (unsigned i = 0; i < 16; i++)
        order[i] = (uint8_t)i;
    for (unsigned i = 15; i; i--) {
        unsigned k = (unsigned)rnd(i + 1);
        uint8_t t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
    unsigned at = 0;
    for (unsigned i = 0; i < 5; i++)         /* few registers, or many */
        g.data[i] = rnd(2) && i > 1 ? g.data[rnd(i)] : order[at++];
    for (unsigned i = 0; i < 3; i++)
        g.pointer[i] = order[at++];
    g.counter = order[at++];
    while (order[at] == 4)
        at++;
    g.index = order[at++];
    g.pointers = 1 + (unsigned)rnd(3);
    body(&g);
    put(&g, 0x48 | g.counter >> 3);          /* sub counter, 1; jnz */
    put(&g, 0x83);
    put(&g, 0xe8 | (g.counter & 7));
    put(&g, 1);
    put(&g, 0x0f);
    put(&g, rnd(8) ? 0x85 : 0x8f);
    int32_t back = -(int32_t)(c->len + 4);
    memcpy(c->bytes + c->len, &back, 4);
    c->len = (uint8_t)(c->len + 4);
    for (unsigned i = 0; i < g.exits; i++) {
        int32_t to = (int32_t)(c->len - (g.exit[i] + 4));
        memcpy(c->bytes + g.exit[i], &to, 4);
    }
    for (unsigned i = 0; i < 16; i++)
        c->start.gpr[i] = rnd(2) ? rnd(1u << 30) << 34 | rnd(1u << 30) : rnd(256);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t to = DT_DATA + rnd(DT_RW + (rnd(3) ? 0 : DT_PAGE));
        c->start.gpr[g.pointer[i]] = rnd(3) ? to & ~15ull : to;
    }
    c->start.gpr[g.index] = rnd(3) ? rnd(16) * 16 : rnd(600);
    c->start.gpr[g.counter] = 1 + rnd(rnd(4) ? 40 : 700);
    c->start.rflags = 0x202 | (rnd(1u << 12) & ARITH);
    memset(c->start.xsave, 0, sizeof c->start.xsave);
    c->start.xsave[0] = 0x7f;
    c->start.xsave[1] = 0x03;                /* FCW 37f */
    c->start.xsave[24] = 0x80;
    c->start.xsave[25] = 0x1f;               /* MXCSR 1f80 */
    c->start.xsave[512] = has_vex() ? 7 : 3;
    for (unsigned i = 160; i < 160 + 256; i++)
        c->start.xsave[i] = (uint8_t)rnd(256);
    for (unsigned i = 576; has_vex() && i < 576 + 256; i++)
        c->start.xsave[i] = (uint8_t)rnd(256);
}

static void run(const struct dt_case *c, struct dt_result *r, bool translated)
{
    unsigned steps = 0;
    dt_guest_load(c);
    while (dt_cpu->cpl == 3 && dt_cpu->run_state == GH_RUN_RUNNABLE && ++steps < 100000)
        soft_run_blocks(dt_cpu, translated ? 0 : 1);
    memset(r, 0, sizeof *r);
    dt_guest_collect(r);
    uint64_t at = dt_cpu->rip - DT_KERNEL - DT_LANDING;
    r->vector = dt_cpu->cpl || at >= 32 * 16 ? 0xff : (uint8_t)(at / 16);
    unsigned more = r->vector == SOFT_PF_ || r->vector == SOFT_GP;
    r->end.gpr[GH_RSP] = dt_guest_kernel_word(DT_STACK_TOP - 16);
    r->end.rflags = dt_guest_kernel_word(DT_STACK_TOP - 24);
    r->end.rip = dt_guest_kernel_word(DT_STACK_TOP - 40);
    r->error = more ? (uint32_t)dt_guest_kernel_word(DT_STACK_TOP - 48) : 0;
    r->cr2 = r->vector == SOFT_PF_ ? dt_cpu->cr2 : 0;
    if (r->vector != SOFT_BP)
        r->end.rflags &= ~(uint64_t)ARITH;   /* dead ones may be old */
}

static bool same(const struct dt_case *c, const struct dt_result *a, const struct dt_result *b)
{
    bool ok = a->vector == b->vector && a->error == b->error && a->cr2 == b->cr2 && !memcmp(a->data, b->data, sizeof a->data) &&
              !memcmp(&a->end, &b->end, sizeof a->end);
    if (ok)
        return true;
    printf("case %llu: interpreter: vector %u error %x cr2 %llx rip %llx flags %llx; translated: %u %x %llx %llx %llx\n",
           (unsigned long long)c->number, a->vector, a->error, (unsigned long long)a->cr2, (unsigned long long)a->end.rip,
           (unsigned long long)a->end.rflags, b->vector, b->error, (unsigned long long)b->cr2, (unsigned long long)b->end.rip,
           (unsigned long long)b->end.rflags);
    for (unsigned i = 0; i < 16; i++)
        if (a->end.gpr[i] != b->end.gpr[i])
            printf("  register %u: %llx, %llx (start %llx)\n", i, (unsigned long long)a->end.gpr[i], (unsigned long long)b->end.gpr[i],
                   (unsigned long long)c->start.gpr[i]);
    for (unsigned i = 0; i < DT_XSAVE; i++)
        if (a->end.xsave[i] != b->end.xsave[i]) {
            printf("  vector state from byte %u\n", i);
            break;
        }
    for (unsigned i = 0; i < DT_RW; i++)
        if (a->data[i] != b->data[i]) {
            printf("  memory from %x: %02x, %02x\n", DT_DATA + i, a->data[i], b->data[i]);
            break;
        }
    printf("  code:");
    for (unsigned i = 0; i < c->len; i++)
        printf(" %02x", c->bytes[i]);
    printf("\n");
    return false;
}

int main(int argc, char **argv)
{
    uint64_t cases = 20000, seed = 1, wrong = 0, ended[33] = { 0 };
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--cases"))
            cases = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--seed"))
            seed = strtoull(argv[i + 1], NULL, 0);
    }
    dt_background_init(seed);
    if (dt_guest_init() < 0)
        return 1;
    soft_jit_free(dt_cpu);
    soft_jit_new(dt_cpu, SOFT_JIT_ON, 0);
    if (!dt_cpu->jit_state) {
        printf("no translator on this host\n");
        return 77;
    }
    for (uint64_t n = 0; n < cases && wrong < 5; n++) {
        static struct dt_case c;
        static struct dt_result a, b;
        state = (seed * 0x9e3779b97f4a7c15ull + n) * 0xbf58476d1ce4e5b9ull | 1;
        make(&c, n);
        run(&c, &a, false);
        run(&c, &b, true);
        ended[a.vector < 32 ? a.vector : 32]++;
        wrong += !same(&c, &a, &b);
    }
    const struct soft_jit_counters *k = soft_jit_counters(dt_cpu);
    printf("%llu loops: %llu ended, %llu with #PF, %llu with #GP; %llu own versions, %llu rounds left in the middle; %llu different\n",
           (unsigned long long)cases, (unsigned long long)ended[SOFT_BP], (unsigned long long)ended[SOFT_PF_],
           (unsigned long long)ended[SOFT_GP], (unsigned long long)k->loops, (unsigned long long)k->bails, (unsigned long long)wrong);
    return wrong || k->loops < cases / 4 || !ended[SOFT_BP] || !ended[SOFT_PF_];
}
