/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Page walks: no paging, 32-bit with PSE-36, PAE, 4-level. Intel SDM volume 3, chapter "Paging".
 * Protection keys of user and of supervisor pages. PAT, PCD and PWT are ignored: memory types do not exist here.
 * LA57 and shadow stacks are not modelled and not advertised.
 */
#include "engine/accel/soft/mmu.h"
#include "engine/accel/soft/vm.h"

#define PTE_P   (1ull << 0)
#define PTE_RW  (1ull << 1)
#define PTE_US  (1ull << 2)
#define PTE_A   (1ull << 5)
#define PTE_D   (1ull << 6)
#define PTE_PS  (1ull << 7)
#define PTE_G   (1ull << 8)
#define PTE_NX  (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull
#define PF_P    (1u << 0)
#define PF_W    (1u << 1)
#define PF_U    (1u << 2)
#define PF_RSVD (1u << 3)
#define PF_I    (1u << 4)
#define PF_PK   (1u << 5)
#define MAX_LEVELS 4
#define MAX_RETRIES 64 /* another vCPU keeps changing the entry: then set A/D without compare */

struct entry_ref { uint8_t *host; uint64_t gpa, value; struct soft_slot *slot; };

struct tables {                       /* what the paging mode fixes for the whole walk */
    unsigned levels, entry_bytes, index_bits;
    uint64_t root;
    bool nx;                          /* bit 63 means no-execute */
};

static struct entry_ref load_entry(struct soft_cpu *cpu, uint64_t gpa, unsigned bytes)
{
    struct entry_ref r = { .gpa = gpa & cpu->vm->a20_mask };

    r.slot = soft_map_find(cpu->vm, r.gpa);
    if (!r.slot) {
        r.value = ~0ull;              /* a hole answers all ones: reserved bits make it fault */
    } else {
        r.host = r.slot->host + (r.gpa - r.slot->gpa);
        r.value = bytes == 8 ? __atomic_load_n((uint64_t *)(void *)r.host, __ATOMIC_RELAXED)
                             : __atomic_load_n((uint32_t *)(void *)r.host, __ATOMIC_RELAXED);
    }
    return r;
}

/* false: the entry changed meanwhile, walk again. */
static bool set_bits(struct soft_cpu *cpu, struct entry_ref *r, uint64_t bits, unsigned bytes, bool force)
{
    uint64_t want = r->value | bits;
    bool ok;

    if (want == r->value || !r->slot || !(r->slot->flags & GH_SLOT_WRITABLE))
        return true;
    if (force) {
        __atomic_fetch_or((uint32_t *)(void *)r->host, (uint32_t)bits, __ATOMIC_SEQ_CST);
        ok = true;
    } else if (bytes == 8) {
        uint64_t old = r->value;
        ok = __atomic_compare_exchange_n((uint64_t *)(void *)r->host, &old, want, false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    } else {
        uint32_t old = (uint32_t)r->value;
        ok = __atomic_compare_exchange_n((uint32_t *)(void *)r->host, &old, (uint32_t)want, false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
    if (!ok)
        return false;
    soft_slot_mark_dirty(r->slot, r->gpa);
    if (atomic_load(&r->slot->page_flags[(r->gpa - r->slot->gpa) >> 12]) & SOFT_PAGE_CODE)
        soft_code_written(cpu->vm, r->host, bytes);
    return true;
}

static struct tables tables_of(const struct soft_cpu *cpu)
{
    if (cpu->long_mode)
        return (struct tables){ 4, 8, 9, cpu->cr3 & PTE_ADDR, cpu->efer & EFER_NXE };
    if (cpu->cr4 & CR4_PAE)
        return (struct tables){ 2, 8, 9, 0, cpu->efer & EFER_NXE };
    return (struct tables){ 2, 4, 10, cpu->cr3 & 0xfffff000u, false };
}

/* Bits that must be zero in a present entry. level 1 is the last table. */
static uint64_t reserved_bits(const struct soft_cpu *cpu, const struct tables *t, unsigned level, uint64_t e)
{
    uint64_t rsvd;

    if (t->entry_bytes == 4)          /* PSE-36 gives address bits 32-39 in 13-20; bit 21 is left */
        return level == 2 && (e & PTE_PS) && (cpu->cr4 & CR4_PSE) ? 1ull << 21 : 0;
    rsvd = PTE_ADDR & ~SOFT_PHYS_MASK;
    if (!t->nx)
        rsvd |= PTE_NX;
    if (!cpu->long_mode)
        rsvd |= 0x7ff0000000000000ull;
    if (level == 4)
        rsvd |= PTE_PS;
    else if (level == 3 && (e & PTE_PS))
        rsvd |= 0x3fffe000;
    else if (level == 2 && (e & PTE_PS))
        rsvd |= 0x1fe000;
    return rsvd;
}

static bool is_large(const struct soft_cpu *cpu, const struct tables *t, unsigned level, uint64_t e)
{
    if (level == 1 || level == 4 || !(e & PTE_PS))
        return false;
    return t->entry_bytes == 8 || (cpu->cr4 & CR4_PSE);
}

static uint64_t leaf_address(const struct tables *t, unsigned level, uint64_t e, uint64_t linear,
                             uint8_t *ret_shift)
{
    unsigned shift = 12 + (level - 1) * t->index_bits;
    uint64_t inside = (1ull << shift) - 1;
    uint64_t base = (t->entry_bytes == 4 ? e & 0xfffff000u : e & PTE_ADDR) & ~inside;

    if (t->entry_bytes == 4 && level == 2)
        base |= (e >> 13 & 0xff) << 32;
    *ret_shift = (uint8_t)shift;
    return base | (linear & inside & ~SOFT_PAGE_MASK);
}

/* Rights of the mode from the accumulated bits of all levels. */
static unsigned rights_of(const struct soft_cpu *cpu, unsigned mode, uint64_t acc, bool nx)
{
    bool user_page = acc & PTE_US, writable = acc & PTE_RW;
    unsigned r = 0;

    if (mode == SOFT_MMU_USER) {
        if (user_page)
            r = SOFT_R_READ | (writable ? SOFT_R_WRITE : 0) | (nx ? 0 : SOFT_R_EXEC);
        return r;
    }
    if (!(user_page && mode == SOFT_MMU_KERNEL_SMAP))
        r = SOFT_R_READ | (writable || !(cpu->cr0 & CR0_WP) ? SOFT_R_WRITE : 0);
    if (!nx && !(user_page && (cpu->cr4 & CR4_SMEP)))
        r |= SOFT_R_EXEC;
    return r;
}

/* Rights that the page's protection key takes from data accesses; entry: of the page itself. */
static unsigned key_takes(const struct soft_cpu *cpu, unsigned mode, uint64_t acc, uint64_t entry)
{
    bool user_page = acc & PTE_US;

    if (!cpu->long_mode || !(cpu->cr4 & (user_page ? CR4_PKE : CR4_PKS)))
        return 0;
    unsigned bits = (user_page ? cpu->pkru : cpu->pkrs) >> (entry >> 59 & 15) * 2 & 3;
    if (bits & 1)
        return SOFT_R_READ | SOFT_R_WRITE;
    return bits && (mode == SOFT_MMU_USER || (cpu->cr0 & CR0_WP)) ? SOFT_R_WRITE : 0;
}

static void fault(const struct soft_cpu *cpu, struct soft_walk *ret, enum soft_access access,
                  unsigned mode, uint32_t bits)
{
    ret->fault = true;
    ret->error = bits | (access == SOFT_WRITE ? PF_W : 0) | (mode == SOFT_MMU_USER ? PF_U : 0);
    if (access == SOFT_EXEC && ((cpu->cr4 & CR4_SMEP) ||
                                ((cpu->cr4 & CR4_PAE) && (cpu->efer & EFER_NXE))))
        ret->error |= PF_I;
}

/* One attempt; false: an entry changed under the walk. */
static bool walk_once(struct soft_cpu *cpu, uint64_t linear, enum soft_access access, unsigned mode,
                      struct soft_walk *ret, bool force)
{
    static const uint8_t need[] = { SOFT_R_READ, SOFT_R_WRITE, SOFT_R_EXEC };
    struct tables t = tables_of(cpu);
    struct entry_ref ref[MAX_LEVELS];
    uint64_t table = t.root, acc = PTE_RW | PTE_US, e = 0;
    bool nx = false;
    unsigned level = t.levels, n = 0;

    if (!cpu->long_mode && (cpu->cr4 & CR4_PAE)) {
        uint64_t pdpte = cpu->pdpte[linear >> 30 & 3];
        if (!(pdpte & PTE_P)) {
            fault(cpu, ret, access, mode, 0);
            return true;
        }
        table = pdpte & PTE_ADDR;
    }
    for (;; level--) {
        uint64_t index = linear >> (12 + (level - 1) * t.index_bits) & ((1u << t.index_bits) - 1);
        ref[n] = load_entry(cpu, table + index * t.entry_bytes, t.entry_bytes);
        e = ref[n++].value;
        if (!(e & PTE_P)) {
            fault(cpu, ret, access, mode, 0);
            return true;
        }
        if (e & reserved_bits(cpu, &t, level, e)) {
            fault(cpu, ret, access, mode, PF_P | PF_RSVD);
            return true;
        }
        acc &= e;
        nx |= t.nx && (e & PTE_NX);
        if (level == 1 || is_large(cpu, &t, level, e))
            break;
        table = t.entry_bytes == 4 ? e & 0xfffff000u : e & PTE_ADDR;
    }
    unsigned rights = rights_of(cpu, mode, acc, nx);
    unsigned taken = key_takes(cpu, mode, acc, e);
    if (!(rights & need[access] & ~taken)) {
        fault(cpu, ret, access, mode, PF_P | (taken & need[access] ? PF_PK : 0));
        return true;
    }
    rights &= ~taken;
    for (unsigned i = 0; i < n; i++) {
        uint64_t bits = PTE_A | (i == n - 1 && access == SOFT_WRITE ? PTE_D : 0);
        if (!set_bits(cpu, &ref[i], bits, t.entry_bytes, force))
            return false;
    }
    if ((e & PTE_D) || access == SOFT_WRITE)
        rights |= SOFT_R_DIRTY;
    if ((e & PTE_G) && (cpu->cr4 & CR4_PGE))
        rights |= SOFT_R_GLOBAL;
    ret->gpa = leaf_address(&t, level, e, linear, &ret->shift);
    ret->rights = (uint8_t)rights;
    return true;
}

void soft_walk(struct soft_cpu *cpu, uint64_t linear, enum soft_access access, unsigned mode,
               struct soft_walk *ret)
{
    *ret = (struct soft_walk){ .shift = 12 };
    SOFT_COUNT(cpu->vm, walk);
    if (!(cpu->cr0 & CR0_PG)) {
        ret->gpa = linear & 0xfffff000u;
        ret->rights = SOFT_R_READ | SOFT_R_WRITE | SOFT_R_EXEC | SOFT_R_DIRTY;
        return;
    }
    for (unsigned tries = 0; !walk_once(cpu, linear, access, mode, ret, tries >= MAX_RETRIES); tries++)
        *ret = (struct soft_walk){ .shift = 12 };
}
