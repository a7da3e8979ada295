/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Guest memory as instructions see it: the inline TLB probe and the slow functions behind it.
 * Paging as in the Intel SDM volume 3, chapter "Paging".
 *
 * Thread: the vCPU's own, except the functions that say otherwise. Addresses are linear (segment
 * base already added, truncated to 32 bits outside 64-bit mode). All values are little endian as
 * on the host. Any access may leave by soft_raise_page_fault; nothing but A/D bits has then
 * changed, also where the operand crosses a page.
 *
 * A probe is: index by bits 12.., compare the page of the operand's LAST byte with the tag, add
 * what host and linear addresses of the page differ by. A page can only sit at its own index, so comparing the
 * last byte's page also rejects an operand that crosses into the next page. Tags are SOFT_TAG_NONE
 * when the fast path must not be taken: absent, not allowed, MMIO, not yet dirty, a page with
 * decoded code (write), a page with an armed breakpoint.
 *
 *     entry = cpu->tlb[(linear >> 12) & (SOFT_TLB_SIZE - 1)]
 *     hit   = ((linear + bytes - 1) & ~0xfff) == entry.tag_read
 *     host  = linear + entry.delta
 */
#pragma once
#include <string.h>

#include "engine/accel/soft/cpu.h"

#define SOFT_PAGE_MASK 0xfffull
#define soft_likely(x)   __builtin_expect(!!(x), 1)
#define soft_unlikely(x) __builtin_expect(!!(x), 0)

static inline struct soft_tlb_entry *soft_tlb_at(struct soft_tlb_entry *tlb, uint64_t linear)
{
    return &tlb[(linear >> 12) & (SOFT_TLB_SIZE - 1)];
}

static inline void soft_use_tlb(struct soft_cpu *cpu, struct soft_tlb_entry *tlb)
{
    if (cpu->tlb != tlb)
        cpu->jit.stack = soft_tlb_at(tlb, cpu->gpr[GH_RSP]);
    cpu->tlb = tlb;
}

/* ---- Slow paths (access.c): walk, cross pages, MMIO, code pages, breakpoints ---------------- */
/* Value zero-extended; bytes 1, 2, 4 or 8. */
uint64_t soft_ld_slow(struct soft_cpu *cpu, uint64_t linear, unsigned bytes);
void soft_st_slow(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned bytes);

/* Any length up to 4096 (FXSAVE, 80-bit, vectors). A write is checked whole before its first byte. */
void soft_read(struct soft_cpu *cpu, uint64_t linear, void *buf, unsigned bytes);
void soft_write(struct soft_cpu *cpu, uint64_t linear, const void *buf, unsigned bytes);

/* Accesses with the kernel's rights whatever the CPL: descriptor tables, TSS, IDT, stacks of an
 * inner level. Page faults have the U/S bit clear. */
uint64_t soft_sys_ld(struct soft_cpu *cpu, uint64_t linear, unsigned bytes);
void soft_sys_st(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned bytes);
void soft_sys_check_write(struct soft_cpu *cpu, uint64_t linear, unsigned bytes);
/* The same with the rights of an explicit level: a far transfer pushes on the new stack with the
 * CPL it is going to. */
uint64_t soft_ld_cpl(struct soft_cpu *cpu, uint64_t linear, unsigned bytes, unsigned cpl);
void soft_st_cpl(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned bytes, unsigned cpl);
void soft_check_write_cpl(struct soft_cpu *cpu, uint64_t linear, unsigned bytes, unsigned cpl);

#define SOFT_LD_(name, type, bytes)                                                                \
    static inline type soft_ld##name(struct soft_cpu *cpu, uint64_t linear)                        \
    {                                                                                              \
        const struct soft_tlb_entry *e_ = soft_tlb_at(cpu->tlb, linear);                           \
        if (soft_likely(((linear + (bytes) - 1) & ~SOFT_PAGE_MASK) == e_->tag_read)) {             \
            type v_;                                                                               \
            memcpy(&v_, (const void *)(uintptr_t)(linear + e_->delta), sizeof v_);                \
            return v_;                                                                             \
        }                                                                                          \
        return (type)soft_ld_slow(cpu, linear, bytes);                                             \
    }                                                                                              \
    static inline void soft_st##name(struct soft_cpu *cpu, uint64_t linear, type value)            \
    {                                                                                              \
        const struct soft_tlb_entry *e_ = soft_tlb_at(cpu->tlb, linear);                           \
        if (soft_likely(((linear + (bytes) - 1) & ~SOFT_PAGE_MASK) == e_->tag_write))              \
            memcpy((void *)(uintptr_t)(linear + e_->delta), &value, sizeof value);                \
        else                                                                                       \
            soft_st_slow(cpu, linear, value, bytes);                                               \
    }
SOFT_LD_(8, uint8_t, 1)
SOFT_LD_(16, uint16_t, 2)
SOFT_LD_(32, uint32_t, 4)
SOFT_LD_(64, uint64_t, 8)
#undef SOFT_LD_

/* Host pointer where the whole operand lies in one RAM page with the right, NULL: use soft_probe,
 * which fills the TLB, or the slow functions. Never faults. */
static inline void *soft_hit_read(struct soft_cpu *cpu, uint64_t linear, unsigned bytes)
{
    const struct soft_tlb_entry *e = soft_tlb_at(cpu->tlb, linear);
    return soft_likely(((linear + bytes - 1) & ~SOFT_PAGE_MASK) == e->tag_read)
               ? (void *)(uintptr_t)(linear + e->delta) : NULL;
}
static inline void *soft_hit_write(struct soft_cpu *cpu, uint64_t linear, unsigned bytes)
{
    const struct soft_tlb_entry *e = soft_tlb_at(cpu->tlb, linear);
    return soft_likely(((linear + bytes - 1) & ~SOFT_PAGE_MASK) == e->tag_write)
               ? (void *)(uintptr_t)(linear + e->delta) : NULL;
}

/* ---- Code ------------------------------------------------------------------------------------ */
/* Host address of the instruction byte at linear, for the block lookup: raises #PF (I/D bit where
 * the mode has it). NULL: the page is MMIO or a ROM without backing; fetch bytes with soft_fetch. */
uint8_t *soft_exec_slow(struct soft_cpu *cpu, uint64_t linear);
static inline uint8_t *soft_exec_host(struct soft_cpu *cpu, uint64_t linear)
{
    const struct soft_tlb_entry *e = soft_tlb_at(cpu->tlb, linear);
    return soft_likely((linear & ~SOFT_PAGE_MASK) == e->tag_exec)
               ? (uint8_t *)(uintptr_t)(linear + e->delta) : soft_exec_slow(cpu, linear);
}

/* block.c tells the MMU which host pages hold decoded code. soft_code_page_add BEFORE the bytes
 * are read for decoding: when it returns, no vCPU has a fast write tag for the page, and from then
 * on every store there calls soft_code_written after it was made. soft_code_page_remove after the
 * last block of the page is gone. Both with block.c's own lock for the page; any thread; host is
 * any address in the page, pages outside every slot are ignored. */
void soft_code_page_add(struct soft_vm *vm, const uint8_t *host);
void soft_code_page_remove(struct soft_vm *vm, const uint8_t *host);

/* ---- Physical memory --------------------------------------------------------------------------- */
/* Host pointer of RAM or ROM at gpa (A20 applied), NULL: hole. write: only where writable. */
uint8_t *soft_phys_host(struct soft_vm *vm, uint64_t gpa, bool write);
