/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Guest memory accesses that the inline probe did not serve: TLB misses, operands across two pages,
 * MMIO, stores into pages with decoded code, data breakpoints.
 */
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/system.h"
#include "engine/accel/soft/vm.h"

static uint64_t next_page(const struct soft_cpu *cpu, uint64_t linear)
{
    uint64_t next = (linear & ~SOFT_PAGE_MASK) + 0x1000;

    return cpu->code_mode == 64 ? next : next & 0xffffffffu;
}

static unsigned in_page(uint64_t linear, unsigned bytes)
{
    unsigned room = 0x1000 - (unsigned)(linear & SOFT_PAGE_MASK);

    return bytes < room ? bytes : room;
}

/* An operand whose end is not canonical faults as a whole, before a page fault of its start. */
static void check_end(struct soft_cpu *cpu, uint64_t linear, unsigned bytes)
{
    if (soft_unlikely(cpu->code_mode == 64 && in_page(linear, bytes) != bytes && !soft_canonical(linear + bytes - 1)))
        soft_raise_not_canonical(cpu, linear);
}

/* Data breakpoints (the page has no fast tags, so every access comes here). Reported as a trap. */
static void watch(struct soft_cpu *cpu, uint64_t linear, unsigned bytes, bool write)
{
    if (soft_unlikely(cpu->debug_data))
        soft_debug_watch(cpu, linear, bytes, write);
    if (soft_likely(!(cpu->dr7 & 0xff)))
        return;
    for (unsigned i = 0; i < 4; i++) {
        unsigned type = cpu->dr7 >> (16 + i * 4) & 3, len = cpu->dr7 >> (18 + i * 4) & 3;
        static const uint8_t length[] = { 1, 2, 8, 4 };
        uint64_t base = cpu->dr[i] & ~(uint64_t)(length[len] - 1);
        if (type == 0 || type == 2 || (type == 1 && !write))
            continue;
        if (linear < base + length[len] && base < linear + bytes) {
            /* DR6 shows a match also for a breakpoint that is not enabled; only an enabled one traps. */
            cpu->pending_db |= 1u << i;
            if (cpu->dr7 >> (i * 2) & 3)
                cpu->pending_db |= SOFT_DB_TRAP;
        }
    }
}

static void mmio(struct soft_cpu *cpu, uint64_t gpa, bool write, unsigned bytes, void *data)
{
    uint64_t base = cpu->lapic.base_msr;

    SOFT_COUNT(cpu->vm, mmio);
    if (((base ^ gpa) & SOFT_PHYS_MASK & ~SOFT_PAGE_MASK) == 0 && (base & 0xc00) == 0x800) {
        uint32_t offset = (uint32_t)(gpa & 0xfff), value = 0;
        if (write) {
            memcpy(&value, data, bytes < 4 ? bytes : 4);
            if (!(offset & 15))       /* registers are written whole; anything else is undefined */
                gh_lapic_write(&cpu->lapic, offset, value);
            soft_apic_written(cpu);
            return;
        }
        uint64_t wide = gh_lapic_read(&cpu->lapic, offset & ~3u) >> (offset & 3) * 8;
        memcpy(data, &wide, bytes);
        return;
    }
    cpu->vm->env.mmio(cpu->vm->env.opaque, cpu->index, gpa, write, bytes, data);
    soft_tlb_revalidate(cpu);
}

/* Pieces of 8, 4, 2, 1 bytes: the machine takes powers of two only. */
static void mmio_bytes(struct soft_cpu *cpu, uint64_t gpa, bool write, unsigned bytes, uint8_t *data)
{
    while (bytes) {
        unsigned n = bytes >= 8 ? 8 : bytes >= 4 ? 4 : bytes >= 2 ? 2 : 1;
        uint64_t piece = 0;
        if (write)
            memcpy(&piece, data, n);
        mmio(cpu, gpa, write, n, &piece);
        if (!write)
            memcpy(data, &piece, n);
        gpa += n;
        data += n;
        bytes -= n;
    }
}

static void load_part(struct soft_cpu *cpu, const struct soft_xlat *x, void *buf, unsigned bytes)
{
    if (soft_likely(x->host))
        memcpy(buf, x->host, bytes);
    else
        mmio_bytes(cpu, x->gpa, false, bytes, buf);
}

static void store_part(struct soft_cpu *cpu, const struct soft_xlat *x, const void *buf, unsigned bytes)
{
    if (soft_unlikely(!x->host)) {
        mmio_bytes(cpu, x->gpa, true, bytes, (uint8_t *)(uintptr_t)buf);
        return;
    }
    /* One store instruction for the sizes the architecture makes atomic. */
    switch (bytes) {
    case 1: __atomic_store_n(x->host, *(const uint8_t *)buf, __ATOMIC_RELAXED); break;
    case 2: { uint16_t v; memcpy(&v, buf, 2); memcpy(x->host, &v, 2); break; }
    case 4: { uint32_t v; memcpy(&v, buf, 4); memcpy(x->host, &v, 4); break; }
    case 8: { uint64_t v; memcpy(&v, buf, 8); memcpy(x->host, &v, 8); break; }
    default: memcpy(x->host, buf, bytes);
    }
    if (atomic_load_explicit(&x->slot->page_flags[(x->gpa - x->slot->gpa) >> 12], memory_order_relaxed) &
        SOFT_PAGE_CODE) {
        SOFT_COUNT(cpu->vm, smc);
        soft_code_written(cpu->vm, x->host, bytes);
    }
}

static void read_mode(struct soft_cpu *cpu, uint64_t linear, void *buf, unsigned bytes, unsigned mode)
{
    unsigned first = in_page(linear, bytes);

    check_end(cpu, linear, bytes);
    struct soft_xlat a = soft_translate(cpu, linear, SOFT_READ, mode);

    watch(cpu, linear, bytes, false);
    if (soft_likely(first == bytes)) {
        load_part(cpu, &a, buf, bytes);
        return;
    }
    struct soft_xlat b = soft_translate(cpu, next_page(cpu, linear), SOFT_READ, mode);
    load_part(cpu, &a, buf, first);
    load_part(cpu, &b, (uint8_t *)buf + first, bytes - first);
}

static void write_mode(struct soft_cpu *cpu, uint64_t linear, const void *buf, unsigned bytes, unsigned mode)
{
    unsigned first = in_page(linear, bytes);

    check_end(cpu, linear, bytes);
    struct soft_xlat a = soft_translate(cpu, linear, SOFT_WRITE, mode);

    if (soft_likely(first == bytes)) {
        watch(cpu, linear, bytes, true);
        store_part(cpu, &a, buf, bytes);
        return;
    }
    struct soft_xlat b = soft_translate(cpu, next_page(cpu, linear), SOFT_WRITE, mode);
    watch(cpu, linear, bytes, true);
    store_part(cpu, &a, buf, first);
    store_part(cpu, &b, (const uint8_t *)buf + first, bytes - first);
}

uint64_t soft_ld_slow(struct soft_cpu *cpu, uint64_t linear, unsigned bytes)
{
    uint64_t v = 0;

    read_mode(cpu, linear, &v, bytes, cpu->mmu_mode);
    return v;
}

void soft_st_slow(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned bytes)
{
    write_mode(cpu, linear, &value, bytes, cpu->mmu_mode);
}

void soft_read(struct soft_cpu *cpu, uint64_t linear, void *buf, unsigned bytes)
{
    const void *host = soft_hit_read(cpu, linear, bytes);

    if (soft_likely(host != NULL))
        memcpy(buf, host, bytes);
    else
        read_mode(cpu, linear, buf, bytes, cpu->mmu_mode);
}

void soft_write(struct soft_cpu *cpu, uint64_t linear, const void *buf, unsigned bytes)
{
    void *host = soft_hit_write(cpu, linear, bytes);

    if (soft_likely(host != NULL))
        memcpy(host, buf, bytes);
    else
        write_mode(cpu, linear, buf, bytes, cpu->mmu_mode);
}

static uint64_t load_in(struct soft_cpu *cpu, uint64_t linear, unsigned bytes, unsigned mode)
{
    uint64_t v = 0;
    const struct soft_tlb_entry *e = soft_tlb_at(cpu->ctx->set[mode], linear);

    if (soft_likely(((linear + bytes - 1) & ~SOFT_PAGE_MASK) == e->tag_read))
        memcpy(&v, (const void *)(uintptr_t)(linear + e->delta), bytes);
    else
        read_mode(cpu, linear, &v, bytes, mode);
    return v;
}

static void store_in(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned bytes, unsigned mode)
{
    const struct soft_tlb_entry *e = soft_tlb_at(cpu->ctx->set[mode], linear);

    if (soft_likely(((linear + bytes - 1) & ~SOFT_PAGE_MASK) == e->tag_write))
        memcpy((void *)(uintptr_t)(linear + e->delta), &value, bytes);
    else
        write_mode(cpu, linear, &value, bytes, mode);
}

static void check_write_in(struct soft_cpu *cpu, uint64_t linear, unsigned bytes, unsigned mode)
{
    check_end(cpu, linear, bytes);
    soft_translate(cpu, linear, SOFT_WRITE, mode);
    if (in_page(linear, bytes) != bytes)
        soft_translate(cpu, next_page(cpu, linear), SOFT_WRITE, mode);
}

uint64_t soft_sys_ld(struct soft_cpu *cpu, uint64_t linear, unsigned bytes)
{
    return load_in(cpu, linear, bytes, soft_mode_sys(cpu));
}

void soft_sys_st(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned bytes)
{
    store_in(cpu, linear, value, bytes, soft_mode_sys(cpu));
}

void soft_sys_check_write(struct soft_cpu *cpu, uint64_t linear, unsigned bytes)
{
    check_write_in(cpu, linear, bytes, soft_mode_sys(cpu));
}

uint64_t soft_ld_cpl(struct soft_cpu *cpu, uint64_t linear, unsigned bytes, unsigned cpl)
{
    return load_in(cpu, linear, bytes, soft_mode_cpl(cpu, cpl));
}

void soft_st_cpl(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned bytes, unsigned cpl)
{
    store_in(cpu, linear, value, bytes, soft_mode_cpl(cpu, cpl));
}

void soft_check_write_cpl(struct soft_cpu *cpu, uint64_t linear, unsigned bytes, unsigned cpl)
{
    check_write_in(cpu, linear, bytes, soft_mode_cpl(cpu, cpl));
}

void soft_check_write(struct soft_cpu *cpu, uint64_t linear, unsigned bytes)
{
    if (soft_unlikely(!soft_hit_write(cpu, linear, bytes)))
        check_write_in(cpu, linear, bytes, cpu->mmu_mode);
}

void *soft_probe(struct soft_cpu *cpu, uint64_t linear, unsigned bytes, bool write)
{
    void *host = write ? soft_hit_write(cpu, linear, bytes) : soft_hit_read(cpu, linear, bytes);

    if (soft_likely(host != NULL))
        return host;
    check_end(cpu, linear, bytes);
    struct soft_xlat x = soft_translate(cpu, linear, write ? SOFT_WRITE : SOFT_READ, cpu->mmu_mode);
    if (in_page(linear, bytes) != bytes) {
        soft_translate(cpu, next_page(cpu, linear), write ? SOFT_WRITE : SOFT_READ, cpu->mmu_mode);
        return NULL;
    }
    if (!x.host)
        return NULL;
    watch(cpu, linear, bytes, write);
    if (write && (atomic_load_explicit(&x.slot->page_flags[(x.gpa - x.slot->gpa) >> 12],
                                       memory_order_relaxed) & SOFT_PAGE_CODE)) {
        /* The caller stores through the pointer later. Blocks here die now, for this vCPU's next
         * instruction, and once more at the next block head, for one that another vCPU decodes between. */
        SOFT_COUNT(cpu->vm, smc);
        soft_code_written(cpu->vm, x.host, bytes);
        cpu->late_code_write = x.host;
        cpu->late_code_bytes = bytes;
        atomic_fetch_or(&cpu->attention, SOFT_ATTN_CODE);
    }
    return x.host;
}

uint8_t *soft_exec_slow(struct soft_cpu *cpu, uint64_t linear)
{
    return soft_translate(cpu, linear, SOFT_EXEC, cpu->mmu_mode).host;
}

unsigned soft_fetch(struct soft_cpu *cpu, uint64_t linear, uint8_t *buf, unsigned max)
{
    unsigned n = in_page(linear, max);
    struct soft_xlat x = soft_translate(cpu, linear, SOFT_EXEC, cpu->mmu_mode);

    load_part(cpu, &x, buf, n);
    return n;
}
