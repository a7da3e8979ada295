/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Page walks in every mode, the software TLB, dirty log, code pages, A20, memory map changes. */
#include <setjmp.h>
#include <sys/mman.h>

#include "check.h"
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/vm.h"

#define RAM (32u << 20)    /* more than a TLB of pages */
#define ROM_AT 0xf0000000u
#define HOLE   0xe0000000u

static uint8_t *ram, *rom;
static struct soft_vm *vm;
static struct soft_cpu *cpu;
static struct { unsigned reads, writes, width; uint64_t gpa, value; } io;

static void mmio(void *o, unsigned vcpu, uint64_t gpa, bool write, unsigned width, void *data)
{
    io.gpa = gpa;
    io.width = width;
    if (write) {
        io.writes++;
        io.value = 0;
        memcpy(&io.value, data, width);
    } else {
        io.reads++;
        memset(data, 0xa5, width);
    }
}
static void pio(void *o, unsigned vcpu, uint16_t port, bool write, unsigned width, unsigned count, void *data) {}
static int intack(void *o, unsigned vcpu) { return -1; }
static void eoi(void *o, unsigned vcpu, uint8_t vector) {}
static uint64_t now(void *o) { return 1; }
static void down(void *o, unsigned vcpu) {}

/* The access; -1: no fault, else the page-fault error code (or 0x100 + vector). */
static int try_at(uint64_t linear, bool write, unsigned bytes)
{
    uint8_t buf[64] = { 0x5a, 1, 2, 3, 4, 5, 6, 7 };

    if (setjmp(cpu->fault_jump))
        return cpu->fault.vector == SOFT_PF_ ? (int)cpu->fault.error : 0x100 + cpu->fault.vector;
    if (write)
        soft_write(cpu, linear, buf, bytes);
    else
        soft_read(cpu, linear, buf, bytes);
    return -1;
}
static int rd(uint64_t linear) { return try_at(linear, false, 4); }
static int wr(uint64_t linear) { return try_at(linear, true, 4); }
static int ex(uint64_t linear)
{
    if (setjmp(cpu->fault_jump))
        return cpu->fault.vector == SOFT_PF_ ? (int)cpu->fault.error : 0x100 + cpu->fault.vector;
    soft_exec_host(cpu, linear);
    return -1;
}

static uint64_t *at64(uint64_t gpa) { return (uint64_t *)(void *)(ram + gpa); }
static uint32_t *at32(uint64_t gpa) { return (uint32_t *)(void *)(ram + gpa); }

static void paging(uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer, unsigned cpl)
{
    cpu->cr0 = cr0 | CR0_PE | CR0_ET;
    cpu->cr3 = cr3;
    cpu->cr4 = cr4;
    cpu->efer = efer;
    cpu->long_mode = efer & EFER_LMA;
    cpu->cpl = (uint8_t)cpl;
    cpu->seg[GH_CS].attr = (uint16_t)(0x9b | (cpu->long_mode ? GH_SEG_L : GH_SEG_DB));
    soft_load_pdptes_quiet(cpu);
    soft_tlb_flush(cpu, true);
    soft_update_mode(cpu);
}

static void as_level(unsigned cpl)
{
    cpu->cpl = (uint8_t)cpl;
    soft_update_mode(cpu);
}

static void publish(unsigned ram_flags, uint64_t ram_bytes)
{
    struct gh_slot slot[] = { { 0, ram_bytes, ram, GH_SLOT_WRITABLE | ram_flags, 1 }, { ROM_AT, 0x1000, rom, 0, 2 } };
    struct gh_flat_map map = { 1, 2, slot };
    struct gh_error err = { 0 };

    CHECK_EQ(gh_accel_soft.publish((struct gh_accel_vm *)vm, &map, &err), 0);
    soft_tlb_revalidate(cpu);
}

static void walk_32(void)
{
    memset(ram, 0, RAM);
    for (unsigned i = 0; i < 1024; i++)
        *at32(0x2000 + i * 4) = i << 12 | 7;
    *at32(0x1000) = 0x2007;
    *at32(0x1004) = 0x00200087;                  /* 4 MiB page at 4 MiB: bit 21 is reserved */
    *at32(0x1008) = 0x00000087;
    *at32(0x100c) = 0x00002087 | 1u << 13;       /* PSE-36: above 4 GiB, a hole */
    paging(CR0_PG, 0x1000, CR4_PSE, 0, 0);
    CHECK_EQ(rd(0x5000), -1);
    CHECK_EQ(*at32(0x2000 + 5 * 4), 0x5027);
    CHECK_EQ(wr(0x5000), -1);
    CHECK_EQ(*at32(0x2000 + 5 * 4), 0x5067);
    CHECK_EQ(*at32(0x1000), 0x2027);
    CHECK_EQ(rd(0x400000), 9);
    CHECK_EQ(wr(0x400000), 11);
    CHECK_EQ(rd(0x800000), -1);
    io.reads = 0;
    CHECK_EQ(rd(0xc00000), -1);
    CHECK_EQ(io.reads, 1);
    CHECK_EQ(io.gpa, 0x100000000ull);
    CHECK_EQ(rd(0x1000000), 0);
    CHECK_EQ(wr(0x1000000), 2);
    as_level(3);
    CHECK_EQ(wr(0x1000000), 6);
    *at32(0x2000 + 7 * 4) &= ~4u;
    CHECK_EQ(rd(0x7000), 5);
    *at32(0x2000 + 8 * 4) &= ~2u;
    CHECK_EQ(rd(0x8000), -1);
    CHECK_EQ(wr(0x8000), 7);
    as_level(0);
    CHECK_EQ(wr(0x8000), -1);                    /* without WP */
    cpu->cr0 |= CR0_WP;
    soft_tlb_flush(cpu, true);
    CHECK_EQ(wr(0x8000), 3);
    CHECK_EQ(try_at(0x7ffe, true, 4), 3);        /* the second page refuses: nothing is written */
    CHECK_EQ(ram[0x7ffe], 0);
    CHECK_EQ(ex(0x5000), -1);
    CHECK_EQ(ex(0x1000000), 0);                  /* no I/D bit without NX and SMEP */
}

static void walk_pae(void)
{
    memset(ram, 0, RAM);
    *at64(0x1000) = 0x2001;
    *at64(0x2000) = 0x3007;
    *at64(0x2008) = 0x200087;
    *at64(0x2010) = 0x202087;                    /* reserved bits of a 2 MiB page */
    *at64(0x3000 + 9 * 8) = 0x9007 | 1ull << 63;
    *at64(0x3000 + 10 * 8) = 0xa007 | 1ull << 41;
    paging(CR0_PG, 0x1000, CR4_PAE, EFER_NXE, 0);
    CHECK_EQ(rd(0x9000), -1);
    CHECK_EQ(ex(0x9000), 0x11);
    CHECK_EQ(rd(0xa000), 9);
    CHECK_EQ(wr(0x200000 + 8), -1);
    CHECK_EQ(*at64(0x2008), 0x2000e7);
    CHECK_EQ(rd(0x400000), 9);
    CHECK_EQ(rd(0x40000000), 0);                 /* PDPTE not present */
    paging(CR0_PG, 0x1000, CR4_PAE, 0, 0);
    CHECK_EQ(rd(0x9000), 9);                     /* bit 63 is reserved without NXE */
}

static void long_tables(void)
{
    memset(ram, 0, RAM);
    *at64(0x1000) = 0x2007;
    *at64(0x1008) = 0x2087;                      /* PS in a PML4E is reserved */
    *at64(0x2000) = 0x3007;
    *at64(0x2008) = 0x40000087;                  /* 1 GiB page into a hole */
    *at64(0x3000) = 0x4007;
    *at64(0x3008) = 0x200087;
    for (uint64_t i = 0; i < 512; i++)
        *at64(0x4000 + i * 8) = i << 12 | 7;
}

static void walk_long(void)
{
    long_tables();
    paging(CR0_PG | CR0_WP, 0x1000, CR4_PAE | CR4_PGE, EFER_LME | EFER_LMA | EFER_NXE, 0);
    CHECK_EQ(rd(0x10000), -1);
    CHECK_EQ(rd(1ull << 39), 9);
    CHECK_EQ(rd(1ull << 47), 0x100 + SOFT_GP);
    CHECK_EQ(rd(0xffff800000000000ull), 0);
    CHECK_EQ(rd(0x40000000), -1);
    CHECK_EQ(io.gpa, 0x40000000);
    *at64(0x4000 + 0x11 * 8) = 0x11005;
    CHECK_EQ(wr(0x11000), 3);
    cpu->cr4 |= CR4_SMEP | CR4_SMAP;
    soft_tlb_flush(cpu, true);
    soft_update_mode(cpu);
    *at64(0x4000 + 0x12 * 8) &= ~4ull;
    CHECK_EQ(rd(0x12000), -1);
    CHECK_EQ(rd(0x13000), 1);
    CHECK_EQ(ex(0x13000), 0x11);
    cpu->rflags_rest |= FL_AC;
    soft_update_mode(cpu);
    CHECK_EQ(rd(0x13000), -1);
    CHECK_EQ(ex(0x13000), 0x11);
    cpu->rflags_rest &= ~FL_AC;
    soft_update_mode(cpu);
    CHECK_EQ(rd(0x13000), 1);                    /* no flush was needed for that */
    as_level(3);
    CHECK_EQ(rd(0x13000), -1);
    CHECK_EQ(rd(0x12000), 5);
    as_level(0);
}

static void flushes(void)
{
    long_tables();
    paging(CR0_PG, 0x1000, CR4_PAE | CR4_PGE, EFER_LME | EFER_LMA, 0);
    *at64(0x4000 + 0x20 * 8) = 0x20107;          /* global */
    *at32(0x20000) = 0x20;
    *at32(0x21000) = 0x21;
    *at32(0x22000) = 0x22;
    CHECK_EQ(soft_ld32(cpu, 0x20000), 0x20);
    CHECK_EQ(soft_ld32(cpu, 0x21000), 0x21);
    *at64(0x4000 + 0x20 * 8) = 0x22107;
    *at64(0x4000 + 0x21 * 8) = 0x22007;
    CHECK_EQ(soft_ld32(cpu, 0x21000), 0x21);     /* cached */
    soft_tlb_flush(cpu, false);
    CHECK_EQ(soft_ld32(cpu, 0x21000), 0x22);
    CHECK_EQ(soft_ld32(cpu, 0x20000), 0x20);     /* global: stays */
    soft_tlb_flush_page(cpu, 0x20123);
    CHECK_EQ(soft_ld32(cpu, 0x20000), 0x22);     /* INVLPG takes it */
    /* INVLPG anywhere in a large page takes all its pieces. */
    *at32(0x200000) = 0x77;
    *at32(0x3ff000) = 0x88;
    CHECK_EQ(soft_ld32(cpu, 0x200000), 0x77);
    CHECK_EQ(soft_ld32(cpu, 0x3ff000), 0x88);
    *at64(0x3008) = 0x400087;
    *at32(0x5ff000) = 0x99;
    soft_tlb_flush_page(cpu, 0x201000);
    CHECK_EQ(soft_ld32(cpu, 0x3ff000), 0x99);
}

static void address_spaces(void)
{
    /* Two address spaces that differ in page 0x21 and share a global page of code in the upper half. */
    long_tables();
    memcpy(ram + 0x5000, ram + 0x1000, 0x1000);
    *at64(0x5000) = 0x6007;
    *at64(0x6000) = 0x7007;
    *at64(0x7000) = 0x8007;
    for (uint64_t i = 0; i < 512; i++)
        *at64(0x8000 + i * 8) = i << 12 | 7;
    *at64(0x8000 + 0x21 * 8) = 0x22007;
    *at64(0x1000 + 256 * 8) = *at64(0x5000 + 256 * 8) = 0x9007;
    *at64(0x9000) = 0xa007;
    *at64(0xa000) = 0xb007;
    *at64(0xb000) = 0x23107;
    *at32(0x21000) = 0x21;
    *at32(0x22000) = 0x22;
    uint64_t high = 0xffff800000000000ull;
    paging(CR0_PG, 0x1000, CR4_PAE | CR4_PGE | CR4_PCIDE, EFER_LME | EFER_LMA, 0);
    soft_tlb_switch(cpu, 1, false);
    CHECK_EQ(soft_ld32(cpu, 0x21000), 0x21);
    CHECK_EQ(ex(high), -1);
    uint64_t gen = soft_gen(cpu, 0x21000), gen_high = soft_gen(cpu, high);
    cpu->cr3 = 0x5000;
    soft_tlb_switch(cpu, 2, false);
    CHECK_EQ(soft_ld32(cpu, 0x21000), 0x22);
    CHECK_EQ(ex(high), -1);
    CHECK(soft_gen(cpu, 0x21000) != gen);
    CHECK_EQ(soft_gen(cpu, high), gen_high);
    *at64(0x4000 + 0x21 * 8) = 0x20007;          /* the first one's, behind its back */
    cpu->cr3 = 0x1000;
    soft_tlb_switch(cpu, 1, true);
    CHECK_EQ(soft_ld32(cpu, 0x21000), 0x21);     /* kept */
    CHECK_EQ(soft_gen(cpu, 0x21000), gen);
    soft_tlb_flush_pcid_page(cpu, 1, 0x21000);
    CHECK_EQ(soft_ld32(cpu, 0x21000), *at32(0x20000));
    /* INVLPG of global code reaches every address space and ends block lookups there. */
    soft_tlb_flush_page(cpu, high + 0x123000);
    CHECK_EQ(soft_gen(cpu, high), gen_high);     /* no code was there */
    *at64(0xb000) = 0x24107;
    soft_tlb_flush_page(cpu, high);
    CHECK(soft_gen(cpu, high) != gen_high);
    CHECK(soft_exec_host(cpu, high) == ram + 0x24000);
    cpu->cr3 = 0x5000;
    soft_tlb_switch(cpu, 2, true);
    CHECK(soft_exec_host(cpu, high) == ram + 0x24000);
    /* More address spaces than contexts: the oldest is forgotten, not mixed up. */
    for (uint16_t i = 10; i < 20; i++)
        soft_tlb_switch(cpu, i, true);
    *at64(0x8000 + 0x21 * 8) = 0x23007;
    soft_tlb_switch(cpu, 2, true);
    CHECK_EQ(soft_ld32(cpu, 0x21000), *at32(0x23000));
    /* Code in the upper half that is not global ends with its address space. */
    *at64(0xb000) = 0x24007;
    soft_tlb_flush(cpu, true);
    CHECK_EQ(ex(high), -1);
    gen_high = soft_gen(cpu, high);
    soft_tlb_switch(cpu, 3, true);
    CHECK(soft_gen(cpu, high) != gen_high);
    soft_tlb_switch(cpu, 0, false);
}

static void dirty_log(void)
{
    uint64_t bits[RAM >> 18] = { 0 };

    paging(0, 0, 0, 0, 0);
    publish(GH_SLOT_DIRTY, RAM);
    CHECK_EQ(rd(0x30000), -1);
    soft_map_harvest(vm, 1, bits, RAM >> 12);
    CHECK_EQ(bits[0], 0);                        /* reading is not writing */
    soft_st32(cpu, 0x31000, 1);
    soft_st32(cpu, 0x31004, 1);
    soft_map_harvest(vm, 1, bits, RAM >> 12);
    CHECK_EQ(bits[0], 1ull << 0x31);
    CHECK(atomic_load(&cpu->attention) & SOFT_ATTN_DIRTY);
    soft_st32(cpu, 0x31008, 2);                  /* by the tag that is still there */
    soft_tlb_drop_dirty(cpu);
    bits[0] = 0;
    soft_map_harvest(vm, 1, bits, RAM >> 12);
    CHECK_EQ(bits[0], 1ull << 0x31);             /* and it was not lost */
    soft_tlb_drop_dirty(cpu);
    bits[0] = 0;
    soft_map_harvest(vm, 1, bits, RAM >> 12);
    CHECK_EQ(bits[0], 0);
    soft_st32(cpu, 0x31008, 3);
    soft_map_dma_written(vm, 0x3fff0, 0x20);
    publish(GH_SLOT_DIRTY, RAM - 0x1000);        /* a new map keeps what nobody took */
    soft_map_harvest(vm, 1, bits, RAM >> 12);
    CHECK_EQ(bits[0], 1ull << 0x31 | 1ull << 0x3f);
    CHECK_EQ(bits[1], 1);
    publish(0, RAM);
}

static void code_pages(void)
{
    paging(0, 0, 0, 0, 0);
    soft_st32(cpu, 0x40000, 1);
    CHECK(soft_hit_write(cpu, 0x40000, 4) != NULL);
    soft_code_page_add(vm, ram + 0x40000);
    CHECK(soft_hit_write(cpu, 0x40000, 4) == NULL);
    CHECK(soft_hit_read(cpu, 0x40000, 4) != NULL);
    uint64_t before = vm->count.smc;
    soft_st32(cpu, 0x40010, 7);
    CHECK_EQ(*at32(0x40010), 7);
    CHECK_EQ(vm->count.smc, before + 1);
    CHECK(soft_probe(cpu, 0x40010, 4, true) == ram + 0x40010);
    CHECK_EQ(vm->count.smc, before + 2);
    CHECK_EQ(cpu->late_code_bytes, 4);
    cpu->late_code_bytes = 0;
    soft_code_page_remove(vm, ram + 0x40000);
    soft_st32(cpu, 0x40010, 8);
    CHECK(soft_hit_write(cpu, 0x40010, 4) != NULL);
}

static void others(void)
{
    paging(0, 0, 0, 0, 0);
    /* MMIO: one access where it fits, pieces at a page border, ROM writes go to the machine. */
    io.reads = io.writes = 0;
    soft_st32(cpu, HOLE + 2, 0x11223344);
    CHECK_EQ(io.writes, 1);
    CHECK_EQ(io.gpa, HOLE + 2);
    CHECK_EQ(io.value, 0x11223344);
    CHECK_EQ(soft_ld16(cpu, HOLE), 0xa5a5);
    io.writes = 0;
    soft_st32(cpu, HOLE + 0xffe, 0x11223344);
    CHECK_EQ(io.writes, 2);
    CHECK_EQ(io.value, 0x1122);
    rom[4] = 9;
    io.writes = 0;
    soft_st8(cpu, ROM_AT + 4, 1);
    CHECK_EQ(rom[4], 9);
    CHECK_EQ(io.writes, 1);
    CHECK_EQ(soft_ld8(cpu, ROM_AT + 4), 9);
    CHECK(soft_probe(cpu, ROM_AT, 4, true) == NULL);
    CHECK(soft_probe(cpu, HOLE, 4, false) == NULL);
    CHECK(soft_probe(cpu, 0x50ffe, 4, true) == NULL);
    /* 4 GiB wrap outside 64-bit mode. */
    *at32(0) = 0x01020304;
    io.reads = 0;
    CHECK_EQ(soft_ld32(cpu, 0xfffffffe) >> 16, 0x0304);
    /* A20. */
    *at32(0x100000) = 0x100;
    *at32(0) = 0x55;
    CHECK_EQ(soft_ld32(cpu, 0x100000), 0x100);
    gh_accel_soft.set_a20((struct gh_accel_vm *)vm, false);
    soft_tlb_revalidate(cpu);
    CHECK_EQ(soft_ld32(cpu, 0x100000), 0x55);
    gh_accel_soft.set_a20((struct gh_accel_vm *)vm, true);
    soft_tlb_revalidate(cpu);
    CHECK_EQ(soft_ld32(cpu, 0x100000), 0x100);
    /* A new map takes the old translations away. */
    CHECK_EQ(rd(RAM - 0x1000), -1);
    publish(0, RAM - 0x1000);
    io.reads = 0;
    CHECK_EQ(rd(RAM - 0x1000), -1);
    CHECK_EQ(io.reads, 1);
    publish(0, RAM);
    /* Entries replaced by others of the same way come back right. */
    uint64_t span = (uint64_t)SOFT_TLB_SIZE << 12;
    for (unsigned i = 0; i < 2; i++) {
        *at32(0x60000) = 1;
        *at32(0x60000 + span) = 2;
        CHECK_EQ(soft_ld32(cpu, 0x60000), 1);
        CHECK_EQ(soft_ld32(cpu, 0x60000 + span), 2);
    }
}

int main(void)
{
    struct gh_accel_env env = { NULL, pio, mmio, intack, eoi, now, down };
    struct gh_cpu_model model;
    struct gh_error err = { 0 };
    struct gh_accel_vm *accel;
    struct gh_vcpu *vcpu;

    ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    rom = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(gh_cpu_model_build(NULL, "soft", 1, &model, &err), 0);
    CHECK_EQ(gh_cpu_model_build("pentium", "soft", 1, &model, &err), -22);
    CHECK_STR(err.id, "CpuModelUnknown");
    gh_error_clear(&err);
    gh_cpu_model_build(NULL, "soft", 1, &model, &err);
    struct gh_accel_config cfg = { .env = &env, .model = &model, .vcpu_count = 1 };
    CHECK_EQ(gh_accel_soft.vm_new(-1, &cfg, &accel, &err), 0);
    vm = (struct soft_vm *)accel;               /* its first member */
    CHECK_EQ(gh_accel_soft.vcpu_new(accel, 0, &vcpu, &err), 0);
    CHECK(gh_accel_soft.vcpu_new(accel, 1, &vcpu, &err) < 0);
    cpu = vm->cpu[0];
    publish(0, RAM);
    walk_32();
    walk_pae();
    walk_long();
    flushes();
    address_spaces();
    dirty_log();
    code_pages();
    others();
    gh_accel_soft.vcpu_free((struct gh_vcpu *)cpu);
    gh_accel_soft.vm_free(accel);
    return check_result();
}
