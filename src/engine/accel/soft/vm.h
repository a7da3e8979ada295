/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The software CPU's machine: memory map, local APICs, timer thread, counters. Private to soft/.
 *
 * Threads: `map` changes only inside publish, while every vCPU but the publisher's own is stopped.
 * The arrays of a piece are atomic and used by any thread. Counters are relaxed atomics.
 */
#pragma once
#include <pthread.h>

#include "engine/accel/soft/cpu.h"

#define SOFT_PHYS_BITS 40
#define SOFT_PHYS_MASK ((1ull << SOFT_PHYS_BITS) - 1)
#define SOFT_MAX_VCPUS GH_LAPIC_MAX

enum soft_page_flags {
    SOFT_PAGE_CODE = 1,      /* block.c holds decoded code of it */
    SOFT_PAGE_WTAG = 2,      /* some TLB may hold a fast write tag for it */
};

struct soft_slot {
    uint64_t gpa, size;
    uint8_t *host;
    unsigned flags, id;
    _Atomic uint8_t  *page_flags;  /* one per 4 KiB */
    _Atomic uint64_t *dirty;       /* one bit per 4 KiB; NULL: not logged */
};

struct soft_map {
    uint64_t generation;
    unsigned count;
    struct soft_slot slot[];
};

struct soft_counters {
    _Atomic uint64_t tlb_fill, tlb_flush, walk, page_fault, mmio, pio, irq, exception, smc, publish,
                     unknown_msr, triple_fault, halt;
};

struct soft_vm {
    struct gh_accel_env env;
    const struct gh_cpu_model *model;
    uint64_t key_always;             /* bits of every state_key, by the model */
    unsigned vcpu_count;
    uint64_t tsc_hz, host_tsc_hz;
    struct gh_lapic_bus bus;
    struct soft_cpu *cpu[SOFT_MAX_VCPUS];
    struct soft_map *map, *retired;
    uint64_t a20_mask;               /* ~0, or without bit 20 */
    _Atomic uint64_t a20_generation;
    uint64_t code_cache_bytes;
    struct soft_counters count;
    void *block_vm;                  /* block.c */
    struct gh_debug debug;           /* changes only while every vCPU is stopped */

    /* The timer thread: one sleeps until the earliest deadline of a running vCPU. vcpu.c */
    pthread_t timer_thread;
    pthread_mutex_t timer_lock;
    pthread_cond_t timer_cond;
    bool timer_started, timer_stop;
    _Atomic uint64_t deadline_ns[SOFT_MAX_VCPUS];  /* machine clock; UINT64_MAX: none */
    _Atomic uint64_t timer_target_ns;              /* what the thread sleeps for */
};

#define SOFT_COUNT(vm, name) atomic_fetch_add_explicit(&(vm)->count.name, 1, memory_order_relaxed)

/* ---- map.c ------------------------------------------------------------------------------------ */
/* What became of the old map: the same, all its host memory is in the new one, some is not. Or -errno. */
enum soft_map_change { SOFT_MAP_SAME, SOFT_MAP_GREW, SOFT_MAP_LOST };
int  soft_map_publish(struct soft_vm *vm, const struct gh_flat_map *flat, struct gh_error *err);
void soft_map_free(struct soft_vm *vm);
/* Slot that holds gpa (A20 already applied), NULL: a hole. */
struct soft_slot *soft_map_find(const struct soft_vm *vm, uint64_t gpa);
static inline void soft_slot_mark_dirty(struct soft_slot *s, uint64_t gpa)
{
    uint64_t page = (gpa - s->gpa) >> 12;

    if (s->dirty && !(atomic_load_explicit(&s->dirty[page >> 6], memory_order_relaxed) >> (page & 63) & 1))
        atomic_fetch_or(&s->dirty[page >> 6], 1ull << (page & 63));
}
int  soft_map_harvest(struct soft_vm *vm, unsigned id, uint64_t *bitmap, size_t pages);
void soft_map_dma_written(struct soft_vm *vm, uint64_t gpa, uint64_t bytes);

/* ---- walk.c ------------------------------------------------------------------------------------ */
enum soft_access { SOFT_READ, SOFT_WRITE, SOFT_EXEC };
struct soft_walk {
    uint64_t gpa;            /* of the 4 KiB page */
    uint8_t  rights;         /* enum soft_right for the mode asked */
    uint8_t  shift;
    bool     fault;
    uint32_t error;          /* page-fault error code where fault */
};
/* Walks for one access in one MMU mode, sets A (and D for a write) when it is allowed. */
void soft_walk(struct soft_cpu *cpu, uint64_t linear, enum soft_access access, unsigned mode,
               struct soft_walk *ret);

/* ---- tlb.c ------------------------------------------------------------------------------------- */
struct soft_xlat {
    uint8_t *host;           /* of the byte itself; NULL: MMIO */
    uint64_t gpa;
    struct soft_slot *slot;
};
/* Translates one byte, filling the TLB; raises #PF. */
struct soft_xlat soft_translate(struct soft_cpu *cpu, uint64_t linear, enum soft_access access, unsigned mode);
/* #SS or #GP, as the current instruction uses the address. */
_Noreturn void soft_raise_not_canonical(struct soft_cpu *cpu, uint64_t linear);
void soft_tlb_drop_dirty(struct soft_cpu *cpu);   /* SOFT_ATTN_DIRTY */
void soft_tlb_init(struct soft_cpu *cpu);
/* Enters the address space of a PCID; keep: with what is cached of it (bit 63 of MOV to CR3). */
void soft_tlb_switch(struct soft_cpu *cpu, uint16_t pcid, bool keep);
void soft_tlb_flush_pcid(struct soft_cpu *cpu, uint16_t pcid);            /* but not global entries */
void soft_tlb_flush_pcid_page(struct soft_cpu *cpu, uint16_t pcid, uint64_t linear);
void soft_tlb_flush_all_but_global(struct soft_cpu *cpu);
/* Any thread: takes the fast write tag of a host page out of every vCPU's TLB. */
void soft_tlb_revoke_write(struct soft_vm *vm, const uint8_t *host_page);
/* After a callback of the machine: a publish may have changed the map under this vCPU. */
static inline void soft_tlb_revalidate(struct soft_cpu *cpu)
{
    if (__builtin_expect(cpu->map_generation != cpu->vm->map->generation + cpu->vm->a20_generation, 0))
        soft_tlb_flush(cpu, true);
}
/* MMU mode of an access with kernel rights, and of one with an explicit CPL. */
static inline unsigned soft_mode_sys(const struct soft_cpu *cpu)
{
    return cpu->cr4 & (1u << 21) ? SOFT_MMU_KERNEL_SMAP : SOFT_MMU_KERNEL;
}
static inline unsigned soft_mode_cpl(const struct soft_cpu *cpu, unsigned cpl)
{
    if (cpl == 3)
        return SOFT_MMU_USER;
    return (cpu->cr4 & (1u << 21)) && !(cpu->rflags_rest & (1u << 18)) ? SOFT_MMU_KERNEL_SMAP : SOFT_MMU_KERNEL;
}

/* ---- Bits of the control registers --------------------------------------------------------------- */
#define CR0_PE (1ull << 0)
#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_WP (1ull << 16)
#define CR0_AM (1ull << 18)
#define CR0_NW (1ull << 29)
#define CR0_CD (1ull << 30)
#define CR0_PG (1ull << 31)
#define CR4_VME (1ull << 0)
#define CR4_PVI (1ull << 1)
#define CR4_TSD (1ull << 2)
#define CR4_DE  (1ull << 3)
#define CR4_PSE (1ull << 4)
#define CR4_PAE (1ull << 5)
#define CR4_MCE (1ull << 6)
#define CR4_PGE (1ull << 7)
#define CR4_PCE (1ull << 8)
#define CR4_OSFXSR (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP (1ull << 11)
#define CR4_FSGSBASE (1ull << 16)
#define CR4_PCIDE (1ull << 17)
#define CR4_OSXSAVE (1ull << 18)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
#define CR4_PKE  (1ull << 22)
#define CR4_PKS  (1ull << 24)
#define EFER_SCE (1ull << 0)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)
#define FL_CF (1u << 0)
#define FL_TF (1u << 8)
#define FL_IF (1u << 9)
#define FL_DF (1u << 10)
#define FL_IOPL (3u << 12)
#define FL_NT (1u << 14)
#define FL_RF (1u << 16)
#define FL_VM (1u << 17)
#define FL_AC (1u << 18)
#define FL_VIF (1u << 19)
#define FL_VIP (1u << 20)
#define FL_ID (1u << 21)
static inline unsigned soft_iopl(const struct soft_cpu *cpu) { return (cpu->rflags_rest >> 12) & 3; }
static inline bool soft_v86(const struct soft_cpu *cpu) { return cpu->rflags_rest & FL_VM; }
static inline bool soft_protected(const struct soft_cpu *cpu)
{ return (cpu->cr0 & CR0_PE) && !(cpu->rflags_rest & FL_VM); }
static inline bool soft_canonical(uint64_t a) { return (uint64_t)((int64_t)(a << 16) >> 16) == a; }
/* ---- timer.c --------------------------------------------------------------------------------------- */
int  soft_timer_start(struct soft_vm *vm, struct gh_error *err);
void soft_timer_stop(struct soft_vm *vm);
/* Publishes the vCPU's next deadline; wakes the timer thread where it is earlier than all others. */
void soft_timer_arm(struct soft_cpu *cpu, uint64_t deadline_ns);
/* ---- vcpu.c ---------------------------------------------------------------------------------------- */
void soft_vcpu_run(struct soft_cpu *cpu, struct gh_exit *ret);
void soft_vcpu_reset(struct soft_cpu *cpu, bool init);   /* init: INIT, not power-on */
/* ---- sys_cr.c -------------------------------------------------------------------------------------- */
void soft_load_pdptes_quiet(struct soft_cpu *cpu);       /* restored state: bad entries become not present */
void soft_set_pkru(struct soft_cpu *cpu, uint32_t value); /* at the end of a block: flushes the TLB */
/* ---- debug.c --------------------------------------------------------------------------------------- */
void soft_debug_set(struct soft_vm *vm, const struct gh_debug *debug);
void soft_debug_step(struct soft_cpu *cpu, bool on);
/* Leaves run() with GH_EXIT_DEBUG at the next block head. */
void soft_debug_stop(struct soft_cpu *cpu, enum gh_debug_kind kind, uint64_t address);
/* Rights that fast TLB tags of a page must not give, because a debugger watches data in it. */
unsigned soft_debug_rights(const struct soft_cpu *cpu, uint64_t page);
void soft_debug_watch(struct soft_cpu *cpu, uint64_t linear, unsigned bytes, bool write);
/* An execution point in the page of linear; exactly at linear. */
bool soft_debug_page(const struct soft_cpu *cpu, uint64_t linear);
bool soft_debug_break(const struct soft_cpu *cpu, uint64_t linear);
/* ---- state.c --------------------------------------------------------------------------------------- */
int soft_state_get(struct soft_cpu *cpu, unsigned groups, struct gh_cpu_state *ret, struct gh_error *err);
int soft_state_set(struct soft_cpu *cpu, unsigned groups, const struct gh_cpu_state *s, struct gh_error *err);
/* ---- cpuid.c --------------------------------------------------------------------------------------- */
uint64_t soft_xcr0_allowed(const struct soft_cpu *cpu);
/* Bit of a leaf's register (GH_RAX, GH_RBX, GH_RCX, GH_RDX) in the model. */
bool soft_cpu_has(const struct soft_cpu *cpu, uint32_t leaf, unsigned reg, unsigned bit);
/* ---- hypercall.c ----------------------------------------------------------------------------------- */
void soft_clock_page(struct soft_cpu *cpu);              /* writes the page of cpu->clock_page, if that is on */
void soft_clock_wall(struct soft_cpu *cpu, uint64_t gpa);
/* ---- msr.c ----------------------------------------------------------------------------------------- */
/* false: no such MSR or a value it refuses (#GP). Also the accelerator's get and set of state. */
bool soft_msr_read(struct soft_cpu *cpu, uint32_t msr, uint64_t *ret);
bool soft_msr_write(struct soft_cpu *cpu, uint32_t msr, uint64_t value);
