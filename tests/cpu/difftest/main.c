/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The differential test: batches of cases on the host and on an engine, comparison, report. */
#include "difftest.h"
#include "guest.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct dt_engine *const engines[] = {&dt_interp, &dt_blocks, &dt_jit, &dt_wrong};
#define FLAGS_COMPARED UINT64_C(0xcd5) /* CF PF AF ZF SF DF OF */

struct options {
    uint64_t cases, seed, only;
    const char *filter, *engine;
    bool verbose, has_only;
    unsigned show;
};

static bool dead_flags; /* the engine's */
struct tally { uint32_t runs, faults, failures; };
static const char *const reg_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
static struct tally tally[SOFT_OP_COUNT];
static uint64_t vectors[32], runs64, runs32, runs16, sequences, failures, not_comparable;

/* ---- Comparison ------------------------------------------------------------------------------ */

struct report { char text[4096]; size_t len; };

__attribute__((format(printf, 2, 3))) static void say(struct report *r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(r->text + r->len, sizeof r->text - r->len, format, ap);
    va_end(ap);
    if (n > 0 && r->len + (size_t)n < sizeof r->text)
        r->len += (size_t)n;
}

static void compare_regs(const struct dt_case *c, const struct dt_result *a, const struct dt_result *b,
                         const struct dt_open *open, struct report *out)
{
    uint64_t mask = c->mode64 && !open->halves ? ~0ull : 0xffffffffull;
    uint32_t error_mask = ~0u;
    if (open->address)
        error_mask = ~3u; /* a protected page or an absent one, a read or a write came first */
    else if (a->cr2 >> 47)
        error_mask = ~1u; /* Linux reports every kernel address as present */
    bool faulted = a->vector != SOFT_BP && b->vector != SOFT_BP;
    bool differs = a->vector != b->vector || ((a->error ^ b->error) & error_mask) ||
                   (a->cr2 != b->cr2 && !open->address);
    if (differs && !(open->order && faulted))
        say(out, "  exception: host %u error %#x cr2 %#" PRIx64 ", engine %u error %#x cr2 %#" PRIx64 "\n",
            a->vector, a->error, a->cr2, b->vector, b->error, b->cr2);
    if ((a->end.rip ^ b->end.rip) & mask)
        say(out, "  rip: host %#" PRIx64 ", engine %#" PRIx64 "\n", a->end.rip, b->end.rip);
    uint64_t flags = FLAGS_COMPARED & ~open->rflags;
    if ((a->end.rflags ^ b->end.rflags) & flags)
        say(out, "  flags: host %#" PRIx64 ", engine %#" PRIx64 ", start %#" PRIx64 "\n",
            a->end.rflags & FLAGS_COMPARED, b->end.rflags & FLAGS_COMPARED, c->start.rflags & FLAGS_COMPARED);
    for (unsigned i = 0; i < (c->mode64 ? 16 : 8) && !open->registers; i++)
        if (((a->end.gpr[i] ^ b->end.gpr[i]) & mask))
            say(out, "  %s: host %#" PRIx64 ", engine %#" PRIx64 ", start %#" PRIx64 "\n", reg_names[i],
                a->end.gpr[i], b->end.gpr[i], c->start.gpr[i]);
}

static void say_bytes(struct report *out, const char *what, const uint8_t *p, unsigned n)
{
    say(out, " %s ", what);
    for (unsigned i = n; i--;)
        say(out, "%02x", p[i]);
}

static void compare_bytes(struct report *out, const char *name, const uint8_t *a, const uint8_t *b,
                          const uint8_t *start, unsigned n)
{
    if (!memcmp(a, b, n))
        return;
    say(out, "  %s:", name);
    say_bytes(out, "host", a, n);
    say_bytes(out, "engine", b, n);
    say_bytes(out, "start", start, n);
    say(out, "\n");
}

static void compare_fpu(const struct dt_case *c, const uint8_t *a, const uint8_t *b,
                        const struct dt_open *open, struct report *out)
{
    const uint8_t *s = c->start.xsave;
    char name[16];
    compare_bytes(out, "fcw", a, b, s, 2);
    compare_bytes(out, "fsw", a + 2, b + 2, s + 2, 2);
    compare_bytes(out, "tags", a + 4, b + 4, s + 4, 1);
    compare_bytes(out, "fop", a + 6, b + 6, s + 6, 2);
    if (!open->pointers) {
        compare_bytes(out, "fip", a + 8, b + 8, s + 8, c->mode64 ? 8 : 4);
        compare_bytes(out, "fdp", a + 16, b + 16, s + 16, c->mode64 ? 8 : 4);
    }
    compare_bytes(out, "mxcsr", a + 24, b + 24, s + 24, 4);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "st%u", i);
        compare_bytes(out, name, a + 32 + 16 * i, b + 32 + 16 * i, s + 32 + 16 * i, 10);
    }
    for (unsigned i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "xmm%u", i);
        compare_bytes(out, name, a + 160 + 16 * i, b + 160 + 16 * i, s + 160 + 16 * i, 16);
        snprintf(name, sizeof name, "ymm%u.high", i);
        compare_bytes(out, name, a + 576 + 16 * i, b + 576 + 16 * i, s + 576 + 16 * i, 16);
    }
}

static void compare_memory(const struct dt_case *c, const struct dt_result *a, const struct dt_result *b,
                           const struct dt_open *open, struct report *out)
{
    uint8_t start[DT_RW];
    unsigned shown = 0;
    if (open->memory || !memcmp(a->data, b->data, DT_RW))
        return;
    dt_background(c, start, false);
    for (unsigned i = 0; i < DT_RW && shown < 8; i++) {
        if (a->data[i] == b->data[i])
            continue;
        if (open->xstate_bv && DT_DATA + i == c->operand + 512)
            continue;
        say(out, "  [%#x]: host %02x, engine %02x, start %02x\n", DT_DATA + i, a->data[i], b->data[i], start[i]);
        shown++;
    }
}

/* ---- Report ---------------------------------------------------------------------------------- */

static void print_case(const struct options *o, const struct dt_case *c, const struct report *r)
{
    printf("case %" PRIu64 " (--seed %" PRIu64 " --only %" PRIu64 "): %s, %s,", c->number, o->seed, c->number,
           soft_rows[c->row].name, c->mode64 ? "64-bit" : c->mode16 ? "16-bit" : "32-bit");
    for (unsigned i = 1; i < c->count; i++)
        printf(" %s,", soft_rows[c->rows[i]].name);
    for (unsigned i = 0; i < c->len; i++)
        printf(" %02x", c->bytes[i]);
    if (c->at != DT_INSN)
        printf(" at %#" PRIx64, c->at);
    printf("\n%s", r->text);
    if (o->verbose)
        for (unsigned i = 0; i < 16; i++)
            printf("  %s %#" PRIx64 "%s", reg_names[i], c->start.gpr[i], i % 4 == 3 ? "\n" : "");
    if (c->operand)
        printf("  operand %#" PRIx64 "\n", c->operand);
}

/* AddressSanitizer's shadow lies at addresses that a guest program finds empty: there the host has memory. */
static bool host_has_more(const struct dt_result *engine)
{
#ifdef GH_SANITIZE
    return engine->vector == 14 && engine->cr2 >= 0x7fff8000ull && engine->cr2 < 0x10007fff8000ull;
#else
    return false;
#endif
}

/* An undefined instruction at the end of the page: how many bytes of it a processor wants before it knows is its own
 * affair. The architecture orders only fetch faults of instructions that exist. */
static bool undefined_at_page_end(const struct dt_case *c, const struct dt_result *host, const struct dt_result *engine)
{
    return c->at + c->len > DT_CODE + DT_PAGE && host->vector == 14 && host->error == 0x14 && engine->vector == 6 &&
           engine->end.rip + 15 > DT_CODE + DT_PAGE;
}

static void compare(const struct options *o, const struct dt_case *c, const struct dt_result *a,
                    const struct dt_result *b)
{
    struct report out = {.len = 0};
    if (host_has_more(b) || undefined_at_page_end(c, a, b)) {
        not_comparable++;
        return;
    }
    struct dt_open open = dt_exempt(c, a);
    if (dead_flags && c->count > 1 && a->vector != SOFT_BP)
        open.rflags |= SOFT_ARITH_MASK;
    struct tally *t = &tally[c->row];
    out.text[0] = 0;
    if (!open.fault || b->vector != SOFT_BP) {
        compare_regs(c, a, b, &open, &out);
        if (!open.registers)
            compare_fpu(c, a->end.xsave, b->end.xsave, &open, &out);
        compare_memory(c, a, b, &open, &out);
    }
    t->runs++;
    t->faults += a->vector != 3;
    vectors[a->vector & 31]++;
    sequences += c->count > 1;
    *(c->mode64 ? &runs64 : c->mode16 ? &runs16 : &runs32) += 1;
    if (!out.len)
        return;
    t->failures++;
    failures++;
    if (t->failures <= o->show || o->verbose)
        print_case(o, c, &out);
}

static void print_tally(void)
{
    for (unsigned i = 0; i < SOFT_OP_COUNT; i++)
        if (tally[i].runs)
            printf("%-18s map %u opcode %02x ext %3d: %6u cases, %5u faulted, %u different\n", soft_rows[i].name,
                   soft_rows[i].map, soft_rows[i].opcode, soft_rows[i].ext, tally[i].runs, tally[i].faults,
                   tally[i].failures);
}

/* ---- Running --------------------------------------------------------------------------------- */

static unsigned pick_rows(const struct options *o, uint16_t *ret)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SOFT_OP_COUNT; i++)
        if ((dt_row_usable(i, true) || dt_row_usable(i, false)) &&
            (!o->filter || strstr(soft_rows[i].name, o->filter)))
            ret[n++] = (uint16_t)i;
    return n;
}

static int run(const struct options *o, const struct dt_engine *engine)
{
    static uint16_t rows[SOFT_OP_COUNT];
    static struct dt_result ours[DT_BATCH];
    struct dt_case *cases;
    struct dt_result *native;
    unsigned row_count = pick_rows(o, rows), at;
    if (!row_count) {
        fprintf(stderr, "difftest: no instruction matches \"%s\"\n", o->filter);
        return 2;
    }
    dead_flags = engine->dead_flags;
    dt_background_init(o->seed);
    if (dt_native_start(&cases, &native) || dt_guest_init()) {
        fprintf(stderr, "difftest: cannot map the test's pages\n");
        return 2;
    }
    for (uint64_t done = 0; done < o->cases;) {
        unsigned n = o->cases - done < DT_BATCH ? (unsigned)(o->cases - done) : DT_BATCH;
        for (unsigned i = 0; i < n; i++)
            dt_generate(o->seed, o->has_only ? o->only : done + i, rows, row_count, &cases[i]);
        dt_native_begin(n);
        for (unsigned i = 0; i < n; i++)
            engine->run(&cases[i], &ours[i]);
        if (!dt_native_finish(&at)) {
            struct report none = {.text = "  the native child died in this case\n"};
            print_case(o, &cases[at], &none);
            return 1;
        }
        for (unsigned i = 0; i < n; i++)
            compare(o, &cases[i], &native[i], &ours[i]);
        done += n;
    }
    dt_native_stop();
    return failures != 0;
}

static int usage(const char *name)
{
    fprintf(stderr, "usage: %s [--cases N] [--seed S] [--filter NAME] [--only CASE] [--engine NAME] "
                    "[--show N] [--verbose]\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"cases", 1, NULL, 'c'}, {"seed", 1, NULL, 's'}, {"filter", 1, NULL, 'f'}, {"only", 1, NULL, 'o'},
        {"engine", 1, NULL, 'e'}, {"show", 1, NULL, 'n'}, {"verbose", 0, NULL, 'v'}, {0}};
    struct options o = {.cases = 200000, .seed = 1, .show = 2};
    const struct dt_engine *engine = NULL;
    for (int k; (k = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (k) {
        case 'c': o.cases = strtoull(optarg, NULL, 0); break;
        case 's': o.seed = strtoull(optarg, NULL, 0); break;
        case 'f': o.filter = optarg; break;
        case 'o': o.only = strtoull(optarg, NULL, 0); o.has_only = true; o.cases = 1; break;
        case 'e': o.engine = optarg; break;
        case 'n': o.show = (unsigned)strtoul(optarg, NULL, 0); break;
        case 'v': o.verbose = true; break;
        default: return usage(argv[0]);
        }
    }
    for (unsigned i = 0; i < sizeof engines / sizeof *engines; i++)
        if (!o.engine || !strcmp(o.engine, engines[i]->name))
            engine = engine ? engine : engines[i];
    if (!engine || !o.cases)
        return usage(argv[0]);
    struct timespec t0, t1;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    int status = run(&o, engine);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    if (o.verbose)
        print_tally();
    unsigned kinds = 0;
    for (unsigned i = 0; i < SOFT_OP_COUNT; i++)
        kinds += tally[i].runs != 0;
    if (not_comparable)
        printf("difftest: %" PRIu64 " cases were not compared: undefined instructions at the end of the page, or the sanitizer's own memory\n", not_comparable);
    printf("difftest: engine %s, seed %" PRIu64 ": %" PRIu64 " cases (%" PRIu64 " in 64-bit, %" PRIu64
           " in 32-bit, %" PRIu64 " in 16-bit mode, %" PRIu64 " sequences) of %u instruction rows, %" PRIu64 " different, %.1f s\n",
           engine->name, o.seed, runs64 + runs32 + runs16, runs64, runs32, runs16, sequences, kinds, failures,
           (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9);
    printf("exceptions on the host:");
    for (unsigned i = 0; i < 32; i++)
        if (vectors[i] && i != 3)
            printf(" %u:%" PRIu64, i, vectors[i]);
    printf(", none: %" PRIu64 "\n", vectors[3]);
    return status;
}
