/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The software CPU as an accelerator: struct gh_accel_class gh_accel_soft. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/accel/soft/block.h"
#include "engine/accel/soft/fpu.h"
#include "engine/accel/soft/jit/jit.h"
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/system.h"
#include "engine/accel/soft/vm.h"

#define DEFAULT_TSC_HZ 1000000000u   /* one tick a nanosecond: reading it is reading the machine clock */

struct gh_accel_vm { struct soft_vm soft; struct gh_cpu_model model; };
struct gh_vcpu { struct soft_cpu cpu; };

static int probe(int fd, struct gh_accel_caps *ret, struct gh_error *err)
{
    *ret = (struct gh_accel_caps){ .dirty_log = true, .max_vcpus = SOFT_MAX_VCPUS, .tsc_hz = DEFAULT_TSC_HZ };
    snprintf(ret->detail, sizeof ret->detail, "The software CPU needs no privileges and works on every x86-64 computer.");
    return 0;
}

static void fit_frequency(struct gh_cpu_model *m, uint64_t hz)
{
    for (unsigned i = 0; i < m->leaf_count; i++) {
        struct gh_cpuid_leaf *l = &m->leaf[i];
        if (l->leaf == 0x15 && hz % l->ecx) { /* not a small multiple of the crystal: TSC = ECX * EBX / EAX */
            l->eax = 1;
            l->ebx = (uint32_t)(hz / 1000000);
            l->ecx = 1000000;
        } else if (l->leaf == 0x15)
            l->ebx = (uint32_t)(hz / l->ecx) * l->eax;
        else if (l->leaf == 0x16)
            l->eax = l->ebx = (uint32_t)(hz / 1000000);
        else if (l->leaf == 0x40000010)
            l->eax = (uint32_t)(hz / 1000);
    }
}

static void vm_free(struct gh_accel_vm *v)
{
    if (!v)
        return;
    soft_timer_stop(&v->soft);
    soft_blocks_vm_free(&v->soft);
    soft_map_free(&v->soft);
    free(v);
}

static int vm_new(int fd, const struct gh_accel_config *cfg, struct gh_accel_vm **ret, struct gh_error *err)
{
    if (cfg->vcpu_count < 1 || cfg->vcpu_count > SOFT_MAX_VCPUS)
        return gh_error_option(err, -EINVAL, "TooManyCpus", "cpus",
                               "The software CPU runs 1 to %u processors, not %u.", (unsigned)SOFT_MAX_VCPUS, cfg->vcpu_count);
    struct gh_accel_vm *v = calloc(1, sizeof *v);
    if (!v)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "The host has no memory for the software CPU; close other programs.");
    struct soft_vm *vm = &v->soft;
    v->model = *cfg->model;
    vm->model = &v->model;
    vm->env = *cfg->env;
    vm->vcpu_count = cfg->vcpu_count;
    vm->tsc_hz = cfg->tsc_hz ? cfg->tsc_hz : DEFAULT_TSC_HZ;
    vm->code_cache_bytes = cfg->code_cache_bytes;
    vm->a20_mask = ~0ull;
    fit_frequency(&v->model, vm->tsc_hz);
    for (unsigned i = 0; i < v->model.leaf_count; i++)
        if (v->model.leaf[i].leaf == 0x80000001u && !(v->model.leaf[i].ecx & 1u << 5))
            vm->key_always = SOFT_KEY_OLD_BITS;
    int rc = soft_blocks_vm_new(vm);
    if (rc < 0)
        gh_error_set(err, rc, "OutOfMemory", "The host has no memory for the software CPU; close other programs.");
    else
        rc = soft_timer_start(vm, err);
    if (rc < 0) {
        vm_free(v);
        return rc;
    }
    *ret = v;
    return 0;
}

/* The calling vCPU's own TLB is checked when the callback that published returns (soft_tlb_revalidate). */
static int publish(struct gh_accel_vm *v, const struct gh_flat_map *map, struct gh_error *err)
{
    int rc = soft_map_publish(&v->soft, map, err);

    if (rc < 0)
        return rc;
    for (unsigned i = 0; rc != SOFT_MAP_SAME && i < v->soft.vcpu_count; i++)
        if (v->soft.cpu[i]) {
            if (rc == SOFT_MAP_LOST)
                soft_blocks_forget(v->soft.cpu[i]);
            atomic_fetch_or(&v->soft.cpu[i]->attention, SOFT_ATTN_FLUSH);
        }
    return 0;
}

/* ---- The local APIC's world --------------------------------------------------------------------------- */
static void apic_attention(void *opaque) { soft_attention_set(opaque, SOFT_ATTN_IRQ); }

static void apic_nmi(void *opaque)
{
    struct soft_cpu *cpu = opaque;

    uint8_t had = atomic_load(&cpu->nmi_pending);

    while (had < 2 && !atomic_compare_exchange_weak(&cpu->nmi_pending, &had, had + 1))
        ;
    soft_attention_set(cpu, SOFT_ATTN_IRQ);
}

static void apic_init(void *opaque)
{
    struct soft_cpu *cpu = opaque;

    atomic_store(&cpu->init_pending, true);
    soft_attention_set(cpu, SOFT_ATTN_IRQ);
}

static void apic_startup(void *opaque, uint8_t page)
{
    struct soft_cpu *cpu = opaque;

    atomic_store(&cpu->sipi_page, page);
    atomic_store(&cpu->sipi_pending, true);
    soft_attention_set(cpu, SOFT_ATTN_IRQ);
}

static void apic_eoi(void *opaque, uint8_t vector)
{
    struct soft_cpu *cpu = opaque;

    cpu->vm->env.eoi(cpu->vm->env.opaque, cpu->index, vector);
    soft_tlb_revalidate(cpu);
}

static uint64_t apic_now(void *opaque)
{
    struct soft_cpu *cpu = opaque;
    return cpu->vm->env.now_ns(cpu->vm->env.opaque);
}

static uint64_t apic_tsc(void *opaque) { return soft_rdtsc(opaque); }

static int vcpu_new(struct gh_accel_vm *v, unsigned index, struct gh_vcpu **ret, struct gh_error *err)
{
    struct soft_vm *vm = &v->soft;
    struct gh_vcpu *vcpu = NULL;

    if (index >= vm->vcpu_count)
        return gh_error_set(err, -EINVAL, "CpuIndexInvalid", "There is no processor %u in a machine of %u.", index, vm->vcpu_count);
    if (posix_memalign((void **)&vcpu, 2 << 20, sizeof *vcpu))
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "The host has no memory for processor %u; close other programs.", index);
    madvise(vcpu, sizeof *vcpu, MADV_HUGEPAGE);             /* the TLB is most of it, and is used all the time */
    memset(vcpu, 0, sizeof *vcpu);
    struct soft_cpu *cpu = &vcpu->cpu;
    struct gh_lapic_env env = { .opaque = cpu, .attention = apic_attention, .nmi = apic_nmi, .init = apic_init,
                                .startup = apic_startup, .eoi = apic_eoi, .now_ns = apic_now, .read_tsc = apic_tsc,
                                .tsc_hz = vm->tsc_hz };
    cpu->vm = vm;
    cpu->index = index;
    soft_tlb_init(cpu);
    if (soft_blocks_new(cpu) < 0) {
        free(vcpu);
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "The host has no memory for processor %u; close other programs.", index);
    }
    soft_jit_new_default(cpu);
    gh_lapic_init(&cpu->lapic, &vm->bus, index, index == 0, &env);
    soft_vcpu_reset(cpu, false);
    vm->bus.apic[index] = &cpu->lapic;
    if (vm->bus.count <= index)
        vm->bus.count = index + 1;
    vm->cpu[index] = cpu;
    *ret = vcpu;
    return 0;
}

static void vcpu_free(struct gh_vcpu *vcpu)
{
    if (!vcpu)
        return;
    struct soft_vm *vm = vcpu->cpu.vm;
    vm->bus.apic[vcpu->cpu.index] = NULL;
    vm->cpu[vcpu->cpu.index] = NULL;
    soft_jit_free(&vcpu->cpu);
    soft_blocks_free(&vcpu->cpu);
    free(vcpu);
}

static int debug(struct gh_accel_vm *v, const struct gh_debug *debug, struct gh_error *err)
{
    soft_debug_set(&v->soft, debug);
    return 0;
}

static int debug_step(struct gh_vcpu *vcpu, bool on, struct gh_error *err)
{
    soft_debug_step(&vcpu->cpu, on);
    return 0;
}

static void run(struct gh_vcpu *vcpu, struct gh_exit *ret) { soft_vcpu_run(&vcpu->cpu, ret); }
static void kick(struct gh_vcpu *vcpu) { soft_attention_set(&vcpu->cpu, SOFT_ATTN_KICK); }
static void reset(struct gh_vcpu *vcpu) { soft_vcpu_reset(&vcpu->cpu, false); }
static void nmi(struct gh_vcpu *vcpu) { apic_nmi(&vcpu->cpu); }

static int get_state(struct gh_vcpu *vcpu, unsigned groups, struct gh_cpu_state *ret, struct gh_error *err)
{
    return soft_state_get(&vcpu->cpu, groups, ret, err);
}

static int set_state(struct gh_vcpu *vcpu, unsigned groups, const struct gh_cpu_state *s, struct gh_error *err)
{
    return soft_state_set(&vcpu->cpu, groups, s, err);
}

static void set_intr(struct gh_vcpu *vcpu, bool level)
{
    atomic_store(&vcpu->cpu.intr_line, level);
    if (level)
        soft_attention_set(&vcpu->cpu, SOFT_ATTN_IRQ);
}

static int msi(struct gh_accel_vm *v, uint64_t address, uint32_t data)
{
    if ((address & 0xfff00000u) != 0xfee00000u)
        return -EINVAL;
    gh_lapic_bus_msi(&v->soft.bus, address, data);
    return 0;
}

static int dirty_harvest(struct gh_accel_vm *v, unsigned slot_id, uint64_t *bitmap, size_t pages)
{
    return soft_map_harvest(&v->soft, slot_id, bitmap, pages);
}

static void dma_written(struct gh_accel_vm *v, uint64_t gpa, uint64_t bytes) { soft_map_dma_written(&v->soft, gpa, bytes); }

static void set_a20(struct gh_accel_vm *v, bool on)
{
    v->soft.a20_mask = on ? ~0ull : ~(1ull << 20);
    atomic_fetch_add(&v->soft.a20_generation, 1);
    for (unsigned i = 0; i < v->soft.vcpu_count; i++)
        if (v->soft.cpu[i])
            soft_attention_set(v->soft.cpu[i], SOFT_ATTN_FLUSH);
}

static void counters(struct gh_accel_vm *v, void (*visit)(void *opaque, const char *name, uint64_t value), void *opaque)
{
    struct soft_counters *c = &v->soft.count;
    const struct { const char *name; _Atomic uint64_t *value; } list[] = {
        { "tlb-fill", &c->tlb_fill }, { "tlb-flush", &c->tlb_flush }, { "page-walk", &c->walk },
        { "page-fault", &c->page_fault }, { "mmio", &c->mmio }, { "pio", &c->pio }, { "interrupt", &c->irq },
        { "exception", &c->exception }, { "code-write", &c->smc }, { "publish", &c->publish },
        { "msr-refused", &c->unknown_msr }, { "triple-fault", &c->triple_fault }, { "halt", &c->halt },
    };
    uint64_t insns = 0;
    struct soft_jit_counters jit = { 0 };

    for (unsigned i = 0; i < v->soft.vcpu_count; i++)
        if (v->soft.cpu[i]) {
            const struct soft_jit_counters *j = soft_jit_counters(v->soft.cpu[i]);
            jit.blocks += j->blocks;
            jit.bytes_in += j->bytes_in;
            jit.bytes_out += j->bytes_out;
            jit.enters += j->enters;
            jit.links += j->links;
            jit.cross_links += j->cross_links;
            jit.slow += j->slow;
            jit.kills += j->kills;
            jit.forgets += j->forgets;
            jit.plain += j->plain;
            jit.loops += j->loops;
            jit.bails += j->bails;
            insns += v->soft.cpu[i]->insn_count;
        }
    visit(opaque, "interpreted-instructions", insns);
    visit(opaque, "jit-blocks", jit.blocks);
    visit(opaque, "jit-bytes-in", jit.bytes_in);
    visit(opaque, "jit-bytes-out", jit.bytes_out);
    visit(opaque, "jit-enters", jit.enters);
    visit(opaque, "jit-links", jit.links);
    visit(opaque, "jit-cross-links", jit.cross_links);
    visit(opaque, "jit-slow", jit.slow);
    visit(opaque, "jit-kills", jit.kills);
    visit(opaque, "jit-forgets", jit.forgets);
    visit(opaque, "jit-plain-blocks", jit.plain);
    visit(opaque, "jit-loops", jit.loops);
    visit(opaque, "jit-bails", jit.bails);
    for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++)
        visit(opaque, list[i].name, atomic_load_explicit(list[i].value, memory_order_relaxed));
}

const struct gh_accel_class gh_accel_soft = {
    .name = "soft",
    .summary = "Software CPU: runs everywhere, needs no privileges",
    .probe = probe,
    .vm_new = vm_new,
    .vm_free = vm_free,
    .publish = publish,
    .vcpu_new = vcpu_new,
    .vcpu_free = vcpu_free,
    .run = run,
    .kick = kick,
    .get_state = get_state,
    .set_state = set_state,
    .reset = reset,
    .set_intr = set_intr,
    .nmi = nmi,
    .msi = msi,
    .dirty_harvest = dirty_harvest,
    .dma_written = dma_written,
    .set_a20 = set_a20,
    .debug_points = GH_DEBUG_POINTS,
    .debug = debug,
    .debug_step = debug_step,
    .counters = counters,
};
