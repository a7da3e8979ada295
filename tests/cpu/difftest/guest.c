/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The engines' guest: four-level paging over a small RAM, a ring-3 program, ring-0 landing places. */
#include "guest.h"

#include "engine/accel/soft/fpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RAM_PAGES 64u
enum { PAGE_PML4 = 1, PAGE_PDPT, PAGE_PD, PAGE_PT_CODE, PAGE_PT_DATA, PAGE_PT_KERNEL, PAGE_KERNEL, PAGE_PDPT_KERNEL,
       PAGE_PD_KERNEL, PAGE_CODE = 16,
       PAGE_RW = 20, PAGE_RO = 40 };
#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_NX (1ull << 63)

static uint8_t *ram;
static struct gh_accel_vm *vm;
static struct gh_cpu_model model;
struct soft_cpu *dt_cpu;

static uint64_t *entry(unsigned page, unsigned index)
{
    return (uint64_t *)(ram + page * DT_PAGE) + index;
}

static void map_page(unsigned table, uint64_t linear, unsigned page, uint64_t flags)
{
    *entry(table, (linear >> 12) & 511) = (uint64_t)page * DT_PAGE | flags | PTE_P;
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
    *entry(PAGE_PML4, 256) = PAGE_PDPT_KERNEL * DT_PAGE | all;
    *entry(PAGE_PDPT_KERNEL, 0) = PAGE_PD_KERNEL * DT_PAGE | all;
    *entry(PAGE_PD_KERNEL, (DT_KERNEL >> 21) & 511) = PAGE_PT_KERNEL * DT_PAGE | all;
    map_page(PAGE_PT_CODE, DT_CODE, PAGE_CODE, PTE_U | PTE_W);
    map_page(PAGE_PT_DATA, DT_DATA, rw_page(0), PTE_U | PTE_W | PTE_NX);
    map_page(PAGE_PT_DATA, DT_DATA + DT_PAGE, rw_page(1), PTE_U | PTE_W | PTE_NX);
    map_page(PAGE_PT_DATA, DT_RO, PAGE_RO, PTE_U | PTE_NX);
    map_page(PAGE_PT_KERNEL, DT_KERNEL, PAGE_KERNEL, PTE_W);
}

/* One page: IDT with 32 gates, GDT, TSS, a landing place of HLTs for each vector, stack at its end. */
static void make_kernel(void)
{
    uint8_t *k = ram + PAGE_KERNEL * DT_PAGE;
    memset(k + DT_LANDING, 0xf4, 32 * 16);
    for (unsigned v = 0; v < 32; v++) {
        uint64_t at = DT_KERNEL + DT_LANDING + 16 * v;
        uint64_t gate[2] = {(at & 0xffff) | 0x08ull << 16 | 0xeeull << 40 | (at >> 16 & 0xffff) << 48, at >> 32};
        memcpy(k + 16 * v, gate, 16);
    }
    uint64_t gdt[2] = {0, 0x00209b0000000000ull};
    memcpy(k + DT_GDT, gdt, sizeof gdt);
    uint64_t rsp0 = DT_KERNEL + DT_STACK_TOP;
    memcpy(k + DT_TSS + 4, &rsp0, 8);
}

static void no_pio(void *o, unsigned vcpu, uint16_t port, bool write, unsigned width, unsigned count, void *data)
{
    if (!write)
        memset(data, 0xff, width * count);
}
static void no_mmio(void *o, unsigned vcpu, uint64_t gpa, bool write, unsigned width, void *data)
{
    if (!write)
        memset(data, 0xff, width);
}
static int no_intack(void *o, unsigned vcpu) { return -1; }
static void no_eoi(void *o, unsigned vcpu, uint8_t vector) {}
static uint64_t fixed_now(void *o) { return 1; }
static void no_shutdown(void *o, unsigned vcpu) {}

int dt_guest_init(void)
{
    static const struct gh_accel_env env = {.pio = no_pio, .mmio = no_mmio, .intack = no_intack, .eoi = no_eoi,
                                            .now_ns = fixed_now, .shutdown = no_shutdown};
    struct gh_error err = {0};
    struct gh_vcpu *vcpu;
    bool wide = __builtin_cpu_supports("avx2");
    ram = mmap(NULL, RAM_PAGES * DT_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ram == MAP_FAILED)
        return -ENOMEM;
    struct gh_slot slot = {.size = RAM_PAGES * DT_PAGE, .host = ram, .flags = GH_SLOT_WRITABLE};
    struct gh_flat_map flat = {.generation = 1, .slot_count = 1, .slots = &slot};
    struct gh_accel_config cfg = {.env = &env, .model = &model, .vcpu_count = 1, .ram_bytes = slot.size};
    int r = gh_cpu_model_build(wide ? "host" : "x86-64-v2", "soft", 1, &model, &err);
    if (r < 0 || (r = gh_accel_soft.vm_new(-1, &cfg, &vm, &err)) < 0 ||
        (r = gh_accel_soft.publish(vm, &flat, &err)) < 0 || (r = gh_accel_soft.vcpu_new(vm, 0, &vcpu, &err)) < 0)
        return r;
    dt_cpu = (struct soft_cpu *)vcpu; /* its first member */
    make_tables();
    make_kernel();
    dt_cpu->cr3 = PAGE_PML4 * DT_PAGE;
    dt_cpu->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_WP | CR0_ET | CR0_MP | CR0_AM;
    dt_cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    dt_cpu->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    dt_cpu->xcr0 = wide ? 7 : 3;
    dt_cpu->long_mode = true;
    dt_cpu->idt = (struct gh_table){DT_KERNEL, 32 * 16 - 1};
    dt_cpu->gdt = (struct gh_table){DT_KERNEL + DT_GDT, 15};
    dt_cpu->seg[GH_TR] = (struct gh_segment){.base = DT_KERNEL + DT_TSS, .limit = 103, .selector = 0x40,
                                             .attr = GH_SEG_P | 0xb};
    struct dt_case c = {0};
    uint8_t pages[DT_RW + DT_PAGE];
    dt_background(&c, pages, true);
    memcpy(ram + PAGE_RO * DT_PAGE, pages + DT_RW, DT_PAGE);
    soft_tlb_flush(dt_cpu, true);
    return 0;
}

void dt_guest_load(const struct dt_case *c)
{
    uint8_t pages[DT_RW], *code = ram + PAGE_CODE * DT_PAGE;
    struct soft_cpu *cpu = dt_cpu;
    memset(code, 0xcc, DT_PAGE);
    memcpy(code + (c->at - DT_CODE), c->bytes, dt_code_bytes(c));
    soft_code_written((struct soft_vm *)vm, code, DT_PAGE);
    dt_background(c, pages, false);
    for (unsigned i = 0; i < 2; i++)
        memcpy(ram + rw_page(i) * DT_PAGE, pages + i * DT_PAGE, DT_PAGE);
    cpu->cpl = 3;
    cpu->delivering = -1;
    cpu->run_state = GH_RUN_RUNNABLE;
    cpu->int_shadow = false;
    cpu->pending_db = 0;
    for (unsigned i = GH_ES; i <= GH_GS; i++)
        cpu->seg[i] = (struct gh_segment){
            .limit = 0xffffffffu, .selector = DT_SS,
            .attr = 3 | GH_SEG_S | 3 << 5 | GH_SEG_P | GH_SEG_DB | GH_SEG_G};
    for (unsigned i = GH_ES; i <= GH_DS && c->mode16; i++)
        if (i != GH_CS)
            cpu->seg[i] = (struct gh_segment){
                .base = DT_DS16_BASE, .limit = DT_DS16_LIMIT, .selector = DT_DS16,
                .attr = 3 | GH_SEG_S | 3 << 5 | GH_SEG_P | GH_SEG_DB};
    cpu->seg[GH_CS].selector = c->mode64 ? DT_CS64 : DT_CS32;
    cpu->seg[GH_CS].attr = 0xb | GH_SEG_S | 3 << 5 | GH_SEG_P | GH_SEG_G | (c->mode64 ? GH_SEG_L : GH_SEG_DB);
    memcpy(cpu->gpr, c->start.gpr, sizeof cpu->gpr);
    if (c->mode16)
        cpu->seg[GH_CS] = (struct gh_segment){.base = DT_CS16_BASE, .limit = DT_CS16_LIMIT,
                                              .selector = DT_CS16,
                                              .attr = 0xb | GH_SEG_S | 3 << 5 | GH_SEG_P};
    cpu->rip = c->mode16 ? c->at - DT_CS16_BASE : c->at;
    soft_set_rflags(cpu, c->start.rflags, ~0ull);
    soft_fpu_set(cpu, c->start.xsave);
    soft_update_mode(cpu);
}

void dt_guest_collect(struct dt_result *r)
{
    memcpy(r->end.gpr, dt_cpu->gpr, sizeof r->end.gpr);
    r->end.rip = dt_cpu->rip;
    r->end.rflags = soft_get_rflags(dt_cpu);
    soft_fpu_get(dt_cpu, r->end.xsave);
    for (unsigned i = 0; i < 2; i++)
        memcpy(r->data + i * DT_PAGE, ram + rw_page(i) * DT_PAGE, DT_PAGE);
}

uint64_t dt_guest_kernel_word(unsigned offset)
{
    uint64_t v;
    memcpy(&v, ram + PAGE_KERNEL * DT_PAGE + offset, 8);
    return v;
}
