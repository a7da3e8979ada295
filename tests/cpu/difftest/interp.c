/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cases in the interpreter: a vCPU in ring 3 with four-level paging over a small RAM, one handler call
 * for one decoded instruction, no event delivery: the fault record itself is what is compared.
 */
#include "difftest.h"
#include "engine/accel/soft/fpu.h"
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RAM_PAGES 64u
enum { PAGE_PML4 = 1, PAGE_PDPT, PAGE_PD, PAGE_PT_CODE, PAGE_PT_DATA, PAGE_CODE = 16, PAGE_RW = 20, PAGE_RO = 40 };
#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_NX (1ull << 63)

static uint8_t *ram;
static struct soft_vm *vm;
static struct soft_cpu *cpu;

static uint64_t *entry(unsigned page, unsigned index)
{
    return (uint64_t *)(ram + page * DT_PAGE) + index;
}

static void map_page(unsigned table, uint64_t linear, unsigned page, uint64_t flags)
{
    *entry(table, (linear >> 12) & 511) = (uint64_t)page * DT_PAGE | flags | PTE_P | PTE_U;
}

/* The two writable pages are not neighbours in RAM: crossing them takes two translations. */
static unsigned rw_page(unsigned i) { return PAGE_RW + 3 * i; }

static void make_tables(void)
{
    uint64_t all = PTE_P | PTE_W | PTE_U;
    *entry(PAGE_PML4, 0) = PAGE_PDPT * DT_PAGE | all;
    *entry(PAGE_PDPT, 0) = PAGE_PD * DT_PAGE | all;
    *entry(PAGE_PD, DT_CODE >> 21) = PAGE_PT_CODE * DT_PAGE | all;
    *entry(PAGE_PD, DT_DATA >> 21) = PAGE_PT_DATA * DT_PAGE | all;
    map_page(PAGE_PT_CODE, DT_CODE, PAGE_CODE, 0);
    map_page(PAGE_PT_DATA, DT_DATA, rw_page(0), PTE_W | PTE_NX);
    map_page(PAGE_PT_DATA, DT_DATA + DT_PAGE, rw_page(1), PTE_W | PTE_NX);
    map_page(PAGE_PT_DATA, DT_RO, PAGE_RO, PTE_NX);
}

static void on_mmio(void *opaque, unsigned vcpu, uint64_t gpa, bool write, unsigned width, void *data)
{
    if (!write)
        memset(data, 0xff, width);
}

int dt_interp_init(void)
{
    struct gh_error err = {0};
    ram = mmap(NULL, RAM_PAGES * DT_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    vm = calloc(1, sizeof *vm);
    cpu = aligned_alloc(64, (sizeof *cpu + 63) & ~63ul);
    if (ram == MAP_FAILED || !vm || !cpu)
        return -ENOMEM;
    memset(cpu, 0, sizeof *cpu);
    struct gh_slot slot = {.gpa = 0, .size = RAM_PAGES * DT_PAGE, .host = ram, .flags = GH_SLOT_WRITABLE};
    struct gh_flat_map flat = {.generation = 1, .slot_count = 1, .slots = &slot};
    static const struct gh_cpu_model model;
    vm->env.mmio = on_mmio;
    vm->a20_mask = ~0ull;
    vm->vcpu_count = 1;
    vm->model = &model;
    vm->cpu[0] = cpu;
    int r = soft_map_publish(vm, &flat, &err);
    if (r < 0)
        return r;
    make_tables();
    cpu->vm = vm;
    cpu->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_WP | CR0_ET | CR0_MP | CR0_AM;
    cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    cpu->cr3 = PAGE_PML4 * DT_PAGE;
    cpu->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    cpu->xcr0 = 7;
    cpu->long_mode = true;
    cpu->cpl = 3;
    cpu->delivering = -1;
    for (unsigned i = GH_ES; i <= GH_GS; i++)
        cpu->seg[i] = (struct gh_segment){
            .limit = 0xffffffffu, .selector = DT_SS,
            .attr = 3 | GH_SEG_S | 3 << 5 | GH_SEG_P | GH_SEG_DB | GH_SEG_G};
    soft_tlb_init(cpu);
    soft_update_mode(cpu);
    soft_tlb_flush(cpu, true);
    struct dt_case c = {0};
    uint8_t pages[DT_RW + DT_PAGE];
    dt_background(&c, pages, true);
    memcpy(ram + PAGE_RO * DT_PAGE, pages + DT_RW, DT_PAGE);
    return 0;
}

static void set_mode(bool mode64)
{
    cpu->seg[GH_CS].selector = mode64 ? DT_CS64 : DT_CS32;
    cpu->seg[GH_CS].attr = 0xb | GH_SEG_S | 3 << 5 | GH_SEG_P | GH_SEG_G | (mode64 ? GH_SEG_L : GH_SEG_DB);
    soft_update_mode(cpu);
}

/* Decodes at rip; a second fetch where the instruction goes on in the next page. */
static void decode_here(struct soft_insn *in)
{
    uint8_t bytes[16];
    unsigned n = soft_fetch(cpu, cpu->rip, bytes, 15);
    if (!soft_decode(cpu->state_key, bytes, n, in)) {
        n += soft_fetch(cpu, cpu->rip + n, bytes + n, 15 - n);
        if (!soft_decode(cpu->state_key, bytes, n, in))
            soft_ud(cpu);
    }
}

static void one_instruction(struct dt_result *r)
{
    struct soft_insn in;
    volatile uint64_t start = cpu->rip;
    volatile unsigned steps = 0;
    if (setjmp(cpu->fault_jump)) {
        r->vector = cpu->fault.vector;
        r->error = cpu->fault.has_error ? cpu->fault.error : 0;
        r->cr2 = cpu->fault.vector == SOFT_PF_ ? cpu->cr2 : 0;
        return;
    }
    decode_here(&in);
    do { /* a REP instruction may want to be continued */
        soft_insn_run(cpu, &in);
    } while (cpu->rip == start && ++steps < 100000);
    uint8_t byte;
    soft_fetch(cpu, cpu->rip, &byte, 1); /* the INT3 there */
    r->vector = SOFT_BP;
    r->error = 0;
    r->cr2 = 0;
}

static void run_interp(const struct dt_case *c, struct dt_result *r)
{
    uint8_t pages[DT_RW];
    set_mode(c->mode64);
    memset(ram + PAGE_CODE * DT_PAGE, 0xcc, DT_PAGE);
    memcpy(ram + PAGE_CODE * DT_PAGE + (c->at - DT_CODE), c->bytes, c->len);
    dt_background(c, pages, false);
    for (unsigned i = 0; i < 2; i++)
        memcpy(ram + rw_page(i) * DT_PAGE, pages + i * DT_PAGE, DT_PAGE);
    memcpy(cpu->gpr, c->start.gpr, sizeof cpu->gpr);
    cpu->rip = c->at;
    soft_set_rflags(cpu, c->start.rflags, ~0ull);
    soft_fpu_set(cpu, c->start.xsave);
    one_instruction(r);
    memcpy(r->end.gpr, cpu->gpr, sizeof cpu->gpr);
    r->end.rip = cpu->rip;
    r->end.rflags = soft_get_rflags(cpu);
    soft_fpu_get(cpu, r->end.xsave);
    for (unsigned i = 0; i < 2; i++)
        memcpy(r->data + i * DT_PAGE, ram + rw_page(i) * DT_PAGE, DT_PAGE);
}

static void run_wrong(const struct dt_case *c, struct dt_result *r)
{
    run_interp(c, r);
    if (!strcmp(soft_rows[c->row].name, "adc") && r->vector == SOFT_BP)
        r->end.rflags ^= 0x10;
}

const struct dt_engine dt_interp = {"interp", run_interp};
const struct dt_engine dt_wrong = {"wrong", run_wrong};
