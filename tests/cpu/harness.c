/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static void die(const char *what)
{
    fprintf(stderr, "harness: %s\n", what);
    exit(1);
}

static void pio(void *opaque, unsigned vcpu, uint16_t port, bool write, unsigned width, unsigned count, void *data)
{
    struct harness *h = opaque;
    uint8_t *p = data;
    for (unsigned i = 0; i < count; i++, p += width) {
        if (!write) {
            memset(p, 0xff, width);
        } else if (port == 0xe9 && h->text_len + 1 < sizeof h->text) {
            h->text[h->text_len++] = (char)*p;
            h->text[h->text_len] = 0;
        } else if (port == 0xf4) {
            h->exited = true;
            h->exit_value = 0;
            memcpy(&h->exit_value, p, width);
            gh_accel_soft.kick(h->vcpu);
        }
    }
}

static void mmio(void *opaque, unsigned vcpu, uint64_t gpa, bool write, unsigned width, void *data)
{
    if (!write)
        memset(data, 0xff, width);
}
static int intack(void *opaque, unsigned vcpu) { return -1; }
static void eoi(void *opaque, unsigned vcpu, uint8_t vector) { }
static void shutdown_told(void *opaque, unsigned vcpu) { ((struct harness *)opaque)->shutdown = true; }
static uint64_t now_ns(void *opaque)
{
    struct harness *h = opaque;
    struct timespec t;
    if (!h->real_time)
        return h->now_ns += 100;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void harness_init(struct harness *h, uint64_t ram_bytes, const char *model)
{
    struct gh_error err = { 0 };
    memset(h, 0, sizeof *h);
    h->ram_bytes = ram_bytes;
    h->ram = mmap(NULL, ram_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (h->ram == MAP_FAILED || gh_cpu_model_build(model, "soft", 1, &h->model, &err) < 0)
        die("no memory or no such model");
    struct gh_accel_env *env = calloc(1, sizeof *env);
    *env = (struct gh_accel_env){ .opaque = h, .pio = pio, .mmio = mmio, .intack = intack, .eoi = eoi,
                                  .now_ns = now_ns, .shutdown = shutdown_told };
    struct gh_accel_config cfg = { .env = env, .model = &h->model, .vcpu_count = 1, .ram_bytes = ram_bytes };
    struct gh_slot slot = { .gpa = 0, .size = ram_bytes, .host = h->ram, .flags = GH_SLOT_WRITABLE, .id = 1 };
    struct gh_flat_map map = { .generation = 1, .slot_count = 1, .slots = &slot };
    if (gh_accel_soft.vm_new(-1, &cfg, &h->vm, &err) < 0 || gh_accel_soft.publish(h->vm, &map, &err) < 0 ||
        gh_accel_soft.vcpu_new(h->vm, 0, &h->vcpu, &err) < 0)
        die("no machine");
    free(env);
    h->cpu = (struct soft_cpu *)h->vcpu; /* its first member */
}

void harness_fini(struct harness *h)
{
    gh_accel_soft.vcpu_free(h->vcpu);
    gh_accel_soft.vm_free(h->vm);
    munmap(h->ram, h->ram_bytes);
}

void harness_long_mode(struct harness *h, uint64_t table_gpa, unsigned ring)
{
    struct soft_cpu *cpu = h->cpu;
    uint64_t *pml4 = (uint64_t *)(h->ram + table_gpa), *pdpt = pml4 + 512;
    uint64_t gib = (h->ram_bytes + (1ull << 30) - 1) >> 30;
    pml4[0] = (table_gpa + 0x1000) | 7;
    for (uint64_t g = 0; g < gib; g++) {
        uint64_t pd = table_gpa + 0x2000 + g * 0x1000;
        pdpt[g] = pd | 7;
        for (unsigned i = 0; i < 512; i++)
            ((uint64_t *)(h->ram + pd))[i] = (g << 30 | (uint64_t)i << 21) | 0xe7;
    }
    cpu->cr3 = table_gpa;
    cpu->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_MP | CR0_WP | CR0_ET;
    cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE;
    cpu->xcr0 = 7;
    cpu->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    cpu->long_mode = true;
    cpu->cpl = (uint8_t)ring;
    for (unsigned i = GH_ES; i <= GH_GS; i++)
        cpu->seg[i] = (struct gh_segment){ .limit = 0xffffffff, .selector = (uint16_t)(0x10 | ring),
                                           .attr = (uint16_t)(GH_SEG_G | GH_SEG_DB | GH_SEG_P | GH_SEG_S | ring << 5 | 3) };
    cpu->seg[GH_CS] = (struct gh_segment){ .limit = 0xffffffff, .selector = (uint16_t)(0x8 | ring),
                                           .attr = (uint16_t)(GH_SEG_G | GH_SEG_L | GH_SEG_P | GH_SEG_S | ring << 5 | 11) };
    cpu->idt.limit = 0;
    cpu->x87.fcw = 0x37f;
    cpu->mxcsr = 0x1f80;
    cpu->run_state = GH_RUN_RUNNABLE;
    soft_tlb_flush(cpu, true);
    soft_update_mode(cpu);
}

void harness_run(struct harness *h, uint64_t max_blocks)
{
    h->cpu->kicked = false;
    soft_run_blocks(h->cpu, max_blocks);
    if (h->cpu->run_state == GH_RUN_SHUTDOWN)
        h->shutdown = true;
}

bool harness_run_to(struct harness *h, uint64_t stop, uint64_t max_blocks)
{
    while (max_blocks-- && !h->shutdown && !h->exited) {
        if (h->cpu->rip == stop)
            return true;
        harness_run(h, 1);
    }
    return h->cpu->rip == stop;
}
