/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The software CPU's vCPU and what its parts call in each other.
 *
 *   decode.c  insns.def     bytes -> struct soft_insn (one table: decoder, dispatch, translator, tests)
 *   block.c                 decoded blocks, indexed by physical page and state key
 *   interp*.c               handlers: alu, shift, bit, string, flow, stack
 *   x87.c sse*.c            floating point and vectors, on the host's units
 *   mmu.c                   software TLB, page walks, A20, guest memory accessors
 *   seg.c flow_far.c task.c segment loads, far transfers, gates, task switches
 *   event.c                 exceptions and interrupts: priorities, delivery, shadows
 *   sys.c msr.c cpuid.c     control registers, MSRs, CPUID, SYSCALL/SYSENTER
 *   soft.c                  the gh_accel_class: threads, kicks, state in and out
 *   jit/                    the translator (later; the interpreter stays as slow path and oracle)
 *
 * Threads: a soft_cpu belongs to its vCPU thread; only `attention` and `pending_*` are written by
 * others, atomically. Faults leave a handler by soft_raise (longjmp to the run loop): a handler
 * checks everything (reads, write probes) before it changes architectural state, so that every
 * instruction restarts.
 */
#pragma once
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/irq/lapic.h"
#include "engine/accel/accel.h"

struct soft_vm;
struct soft_cpu;
struct soft_insn;

/* Arithmetic flags are kept as the host's LAHF/SETO leave them in AX: bits 8-15 SF ZF - AF - PF 1 CF,
 * bits 0-7 OF as 0 or 1. Handlers take them from real host instructions, so undefined flags are
 * the host's. The other EFLAGS bits (and bit 1) live in rflags_rest. */
typedef uint16_t soft_aflags;
#define SOFT_CF 0x0100u
#define SOFT_PF 0x0400u
#define SOFT_AF 0x1000u
#define SOFT_ZF 0x4000u
#define SOFT_SF 0x8000u
#define SOFT_OF 0x0001u
#define SOFT_ARITH_MASK 0x8d5u /* CF PF AF ZF SF OF in EFLAGS */

enum soft_vector { SOFT_DE, SOFT_DB, SOFT_NMI, SOFT_BP, SOFT_OF_, SOFT_BR, SOFT_UD, SOFT_NM, SOFT_DF, SOFT_TS = 10,
                   SOFT_NP, SOFT_SS_, SOFT_GP, SOFT_PF_, SOFT_MF = 16, SOFT_AC, SOFT_MC, SOFT_XM };

/* One TLB way. Tags hold the linear address of the page; SOFT_TAG_NONE(way), a page two ways off
 * (an operand may reach into the next one), means: go to the slow path. delta is host minus linear
 * address. Translated code relies on the layout, on tags that no address of the way can match, and that tag_read
 * is valid where tag_write is. */
struct soft_tlb_entry { uint64_t tag_read, tag_write, tag_exec; uintptr_t delta; };
#define SOFT_TLB_BITS 12
#define SOFT_TLB_SIZE (1u << SOFT_TLB_BITS)
#define SOFT_TAG_NONE(way) (0x8000000000000000ull | (uint64_t)((way) ^ 2) << 12)
/* What the slow path knows beside each way: rights from the last walk, so that MMIO, code and
 * dirty-logged pages need no new walk. page is ~0 when the way is empty. */
struct soft_tlb_info {
    uint64_t page, gpa;
    uint16_t slot;       /* index into the current map; SOFT_NO_SLOT: MMIO */
    uint8_t  rights;     /* enum soft_right */
    uint8_t  shift;      /* 12, 21, 22 or 30: size of the page it came from */
};
#define SOFT_NO_SLOT 0xffff
enum soft_right { SOFT_R_READ = 1, SOFT_R_WRITE = 2, SOFT_R_EXEC = 4, SOFT_R_DIRTY = 8, SOFT_R_GLOBAL = 16,
                  SOFT_R_LOGGED = 32 /* way is in the fill log */ };
enum soft_mmu_mode { SOFT_MMU_KERNEL, SOFT_MMU_KERNEL_SMAP, SOFT_MMU_USER, SOFT_MMU_MODES };

/* Translations of one address space (PCID). Without CR4.PCIDE there is one. */
#define SOFT_TLB_CONTEXTS 6
struct soft_tlb_ctx {
    struct soft_tlb_entry set[SOFT_MMU_MODES][SOFT_TLB_SIZE];
    struct soft_tlb_info  info[SOFT_MMU_MODES][SOFT_TLB_SIZE];
    uint16_t log[SOFT_MMU_MODES][SOFT_TLB_SIZE];       /* ways filled since the last flush */
    unsigned log_count[SOFT_MMU_MODES];
    uint64_t large[8];               /* filter: 2 MiB regions that hold pieces of large pages */
    uint64_t exec[64];               /* filter: pages of the lower half that were executable since the last flush */
    bool     huge;                   /* pieces of 1 GiB pages are present */
    bool     high_local;             /* code in the upper half that is not global was seen */
    bool     valid;                  /* pcid is one that the guest used since the last full flush */
    uint16_t pcid;
    uint64_t gen, used;              /* tlb_gen while it is current; when it was left */
};

struct soft_vec { uint8_t b[32]; } __attribute__((aligned(32)));
/* The vector registers in FXSAVE order: ymm[i] low half is XMM i. */
struct soft_ymm { uint64_t q[4]; };

#define SOFT_DB_TRAP (1u << 31)     /* in pending_db, not a DR6 bit */

enum soft_attention {               /* bits of soft_cpu.attention; set by any thread */
    SOFT_ATTN_KICK  = 1u << 0,      /* leave run() */
    SOFT_ATTN_IRQ   = 1u << 1,      /* look at LAPIC, INTR pin, NMI, INIT, SIPI */
    SOFT_ATTN_FLUSH = 1u << 2,      /* drop the whole TLB (publish, A20) */
    SOFT_ATTN_TIMER = 1u << 3,      /* LAPIC timer deadline passed */
    SOFT_ATTN_DIRTY = 1u << 4,      /* drop write tags of dirty-logged slots */
    SOFT_ATTN_CODE  = 1u << 5,      /* code was invalidated elsewhere; current block may be stale */
};

/* What a longjmp to soft_cpu.fault_jump means: deliver soft_cpu.fault, or go on at rip, which may be
 * the same instruction again. */
enum soft_jump { SOFT_JUMP_FAULT = 1, SOFT_JUMP_AGAIN = 2 };

/* What translated code keeps beside the registers (jit/). */
#define SOFT_JIT_SITES 256
struct soft_jit_env {
    uint64_t rip_page;               /* linear page of the running block: code is position independent */
    uint64_t salt_high, salt_low;    /* generation and state_key of lookups in each half of the address space */
    struct soft_tlb_entry *stack;    /* way of the last stack access; of the current tlb */
    void *targets;                   /* struct soft_jit_target[]: where indirect jumps went */
    uint8_t *slots;                  /* the code's memory, writable: struct jit_slot are at offsets */
    uint64_t frames, frames_end;     /* the host's RSP without frames of calls, and with as many as may be (jit/flow.c) */
    uint64_t delta[8];               /* inside a block: host minus guest address of a page (jit/group.c) */
    uint64_t tmp[2];                 /* scratch inside one instruction */
    uint64_t rounds;                 /* that a loop may still run (jit/loop.c) */
    uint32_t site[SOFT_JIT_SITES];   /* offset of the way where an instruction found its page last (jit/mem.c) */
    uint64_t log;                    /* lockstep.c */
    uint32_t vec_live;               /* the guest's vector registers and MXCSR are in the host's */
    uint32_t vec_refused;            /* translated code met an unmasked exception */
    uint32_t x87_live;               /* the guest's x87 state is in the host's unit */
    uint32_t x87_last;               /* offset in x87_page of the last x87 instruction run there */
    uint64_t x87_page;
};

struct soft_cpu {
    /* ---- hot: small offsets, addressed by translated code ------------------------------- */
    uint64_t gpr[16];
    uint64_t rip;                    /* of the instruction being executed (see handlers.h) */
    uint64_t zero;                   /* always 0: what register number SOFT_NO_REG reads */
    soft_aflags aflags;
    _Atomic uint32_t attention;
    uint32_t rflags_rest;            /* TF IF DF IOPL NT RF VM AC VIF VIP ID, and bit 1 */
    uint8_t  cpl;
    uint8_t  mmu_mode;               /* enum soft_mmu_mode for data accesses now */
    uint8_t  code_mode;              /* 16, 32 or 64: default operand/address size of CS */
    bool     stack32;                /* SS.B (ignored in 64-bit mode) */
    uint64_t state_key;              /* SOFT_KEY_*: what decoded blocks depend on; recomputed by soft_update_mode */
    /* Grow when translations of code may have changed: lookups of blocks by linear address end with them. The
     * upper half has its own, because kernels map it alike (global) in every address space: soft_gen. */
    uint64_t tlb_gen, tlb_gen_high;
    struct soft_tlb_entry *tlb;      /* = ctx->set[mmu_mode] */
    struct soft_jit_env jit;
    struct gh_segment seg[GH_SEG_COUNT];
    struct soft_tlb_ctx *ctx;        /* the current address space's translations */
    uint64_t map_generation;         /* of the vm map the TLB was filled from */

    /* ---- system registers ---------------------------------------------------------------- */
    uint64_t cr0, cr2, cr3, cr4, efer, xcr0, pdpte[4]; /* pdpte: loaded with CR3 in PAE mode */
    uint64_t dr[4], dr6, dr7;
    struct gh_table gdt, idt;
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux, pat, misc_enable;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_phys[16], tsc_offset, tsc_adjust;
    uint64_t feature_control, mcg_status, spec_ctrl, clock_page, async_faults;
    uint32_t pkru, pkrs;             /* protection keys: of user pages, of supervisor pages */
    bool     long_mode;              /* EFER.LMA */

    /* ---- floating point and vectors: values, in the host's own formats ------------------- */
    struct { uint8_t reg[8][16]; uint16_t fcw, fsw; uint8_t ftw_abridged; uint16_t fop;
             uint64_t fip, fdp; uint16_t fcs, fds; } x87; /* reg[] physical R0..R7, 80 bits used */
    struct soft_ymm ymm[16] __attribute__((aligned(32)));
    uint32_t mxcsr;
    /* Scratch of the vector handlers, not state: a memory operand, and the record of one operation. */
    struct soft_vec vec_buf;
    struct soft_fp_call { void *d; const void *a, *s; const void *thunk; uint64_t gpr; uint32_t csr; uint8_t fast;
                          soft_aflags flags; } fp_call;
    bool     ferr_raised;            /* FERR# is up: CR0.NE = 0 and an unmasked exception */

    /* ---- events ---------------------------------------------------------------------------- */
    enum gh_run_state run_state;
    bool     int_shadow;             /* STI or MOV/POP SS: interrupts held for one instruction */
    bool     shadow_is_ss;           /* MOV/POP SS: #DB and NMI held as well */
    bool     shadow_seen;            /* the shadow was there before the current instruction */
    bool     nmi_blocked;
    _Atomic bool init_pending, sipi_pending, intr_line;
    _Atomic uint8_t nmi_pending;     /* latched: two before the first is taken, one while it is handled */
    _Atomic uint8_t sipi_page;
    int      delivering;             /* vector being delivered, -1 none: double-fault logic */
    bool     event_external;         /* faults while delivering carry the EXT bit */
    bool     kicked, shutdown_told;  /* leave run() with GH_EXIT_KICKED; GH_EXIT_SHUTDOWN was given */
    _Atomic bool sleeping;           /* in the futex on attention */
    bool     irq_waiting;            /* an interrupt was seen that IF, TPR shadow or NMI blocking holds back */
    bool     step_taken;             /* INT n cleared TF on its way into the handler: no single-step trap after it */
    uint32_t pending_db;             /* DR6 bits to report after this instruction; SOFT_DB_TRAP: do raise */
    uint8_t *late_code_write;        /* soft_probe gave a pointer into a code page: invalidate again later */
    unsigned late_code_bytes;
    struct { uint8_t vector; bool has_error, is_soft; uint32_t error; uint64_t linear; } fault; /* what soft_raise* said */
    jmp_buf  fault_jump;             /* to the run loop */

    /* What a debugger outside asked for: debug.c. Points are the machine's. */
    bool     debug_step, debug_code, debug_data; /* stop after one instruction; there are points of these kinds */
    uint8_t  debug_hit;              /* enum gh_debug_kind: run() is to return with it */
    uint64_t debug_address;

    uint64_t insn_count, exception_count[32];
    unsigned index;
    struct soft_vm *vm;
    struct gh_lapic lapic;
    uint64_t tlb_gen_last;           /* generations given out */
    /* Filters of the upper half's code since the last full flush: 4 KiB pages, regions of larger pages. */
    uint64_t high_exec[64], high_large[8];
    bool     high_huge;
    struct soft_tlb_ctx tlb_ctx[SOFT_TLB_CONTEXTS];
    void *block_state;               /* block.c's per-vCPU lookup caches */
    void *jit_state;
};

/* ---- state_key: everything a decoded block depends on besides its bytes ---------------------- */
#define SOFT_KEY_CODE32   0x0001u  /* code_mode 32 */
#define SOFT_KEY_CODE64   0x0002u  /* code_mode 64; neither: 16 */
#define SOFT_KEY_STACK32  0x0004u  /* never with CODE64 */
#define SOFT_KEY_USER     0x0008u  /* CPL 3 */
#define SOFT_KEY_PROT     0x0010u  /* CR0.PE and not VM: selectors are protected-mode ones */
#define SOFT_KEY_STEP     0x0020u  /* soft_needs_step: blocks of one instruction */
#define SOFT_KEY_LMA      0x0040u
/* Segment n (GH_ES..GH_GS) has base 0, limit 4 GiB, is present and readable+writable (CS: readable):
 * bit SOFT_KEY_FLAT0 << n. Outside 64-bit mode only; set all in 64-bit mode but FS and GS. */
#define SOFT_KEY_FLAT0    0x0100u
#define SOFT_KEY_FLAT(n)  (SOFT_KEY_FLAT0 << (n))
#define SOFT_KEY_TS       0x010000u /* CR0.TS */
#define SOFT_KEY_EM       0x020000u
#define SOFT_KEY_MP       0x040000u
#define SOFT_KEY_OSFXSR   0x080000u
#define SOFT_KEY_OSXSAVE  0x100000u
#define SOFT_KEY_AVX      0x200000u /* XCR0 enables AVX state */
#define SOFT_KEY_A20OFF   0x400000u
#define SOFT_KEY_OLD_BITS 0x800000u /* the model has no LZCNT and TZCNT: their bytes are BSR and BSF. The last of 24 bits */

/* How a memory operand's linear address is formed (operand.h). */
enum soft_mem {
    SOFT_MEM_NONE,      /* register operand */
    SOFT_MEM_FLAT64,    /* base + index << scale + disp, 64 bits, no segment */
    SOFT_MEM_RIP64,     /* rip + len + disp */
    SOFT_MEM_SEG64,     /* as FLAT64 or RIP64, plus the base of FS or GS */
    SOFT_MEM_FLAT32,    /* truncated to 32 bits, segment flat by state_key */
    SOFT_MEM_GENERIC,   /* everything else: 16-bit forms, 67h in 64-bit mode, limits, bases */
};

/* ---- Decoded instructions ------------------------------------------------------------------- */
/* Operand access helpers take what they need from here. disp/imm are sign-extended as the
 * instruction says. 48 bytes at most; blocks are arrays of them. */
typedef void (*soft_op_fn)(struct soft_cpu *cpu, const struct soft_insn *in);
#define SOFT_NO_REG  17 /* the word after rip: see soft_cpu.zero */
#define SOFT_RIP_REG 16
enum soft_prefix { SOFT_P_LOCK = 1, SOFT_P_REP = 2, SOFT_P_REPNE = 4, SOFT_P_OPSIZE = 8, SOFT_P_ADDRSIZE = 16,
                   SOFT_P_REX = 32, SOFT_P_REXW = 64, SOFT_P_VEXL = 128 };
struct soft_insn {
    soft_op_fn fn;
    uint64_t imm;
    int32_t  disp;
    uint16_t op;          /* row of insns.def */
    uint8_t  reg;         /* ModRM.reg with REX.R (or register operand) */
    uint8_t  rm;          /* ModRM.rm with REX.B, when is_mem is 0 */
    uint8_t  base, index; /* memory operand; SOFT_NO_REG none; base 16: RIP-relative (disp is from next) */
    uint8_t  scale;       /* 0..3 */
    uint8_t  seg;         /* effective segment, default or override */
    uint8_t  is_mem;      /* enum soft_mem; 0: rm is a register */
    uint8_t  opsize;      /* 1, 2, 4, 8 bytes: size of the operation; SIMD rows: 16, 32 */
    uint8_t  addrsize;    /* 2, 4, 8 */
    uint8_t  len;         /* bytes of the instruction */
    uint8_t  prefixes;    /* enum soft_prefix */
    uint8_t  vvvv;        /* VEX.vvvv register, 0..15 */
    uint8_t  modrm;       /* raw byte: x87 and groups look at it */
    uint8_t  imm2;        /* the last opcode byte (x87 looks at it); ENTER's level there */
    uint8_t  klass;       /* enum soft_class of insns.def: what the translator does with it */
    uint8_t  flags;       /* enum soft_insn_flags: ends block, may fault, reads/writes flags */
};

/* ---- Faults: never return --------------------------------------------------------------------- */
_Noreturn void soft_raise(struct soft_cpu *cpu, enum soft_vector v);                    /* no error code */
_Noreturn void soft_raise_error(struct soft_cpu *cpu, enum soft_vector v, uint32_t error);
_Noreturn void soft_raise_page_fault(struct soft_cpu *cpu, uint64_t linear, uint32_t error);
#define soft_gp(cpu, e) soft_raise_error(cpu, SOFT_GP, e)
#define soft_ud(cpu)    soft_raise(cpu, SOFT_UD)

/* ---- Guest memory (mmu.h has the inline fast paths) ------------------------------------------ */
/* Linear address = segment base + offset with limit, type and canonical checks (#GP or #SS).
 * write is for the type check only; bytes for the limit. */
uint64_t soft_linear(struct soft_cpu *cpu, unsigned seg, uint64_t offset, unsigned bytes, bool write);
/* Effective offset of a memory operand, masked to the address size (no segment base). */
uint64_t soft_offset(struct soft_cpu *cpu, const struct soft_insn *in);
/* Address of the operand, checked for `bytes`. */
uint64_t soft_ea(struct soft_cpu *cpu, const struct soft_insn *in, unsigned bytes, bool write);

/* Host pointer for [linear, linear+bytes) if it lies in one page of RAM with the right access,
 * after the fault checks; NULL if it crosses a page or is MMIO: then use the slow functions. */
void *soft_probe(struct soft_cpu *cpu, uint64_t linear, unsigned bytes, bool write);
/* Raises #PF now if any byte is not accessible; changes nothing but A/D bits. */
void soft_check_write(struct soft_cpu *cpu, uint64_t linear, unsigned bytes);

/* Code fetch for the decoder: up to max bytes from linear, stops at page end; raises #PF. */
unsigned soft_fetch(struct soft_cpu *cpu, uint64_t linear, uint8_t *buf, unsigned max);

/* Generation of block lookups at a linear address. */
static inline uint64_t soft_gen(const struct soft_cpu *cpu, uint64_t linear)
{
    return linear >> 63 ? cpu->tlb_gen_high : cpu->tlb_gen;
}

/* ---- State changes that others must learn of ---------------------------------------------------- */
/* After any change of CS/SS/CPL/CR0/CR4/EFER/VM/TF/DR7/AC: recomputes mmu_mode, tlb, code_mode,
 * state_key. Cheap enough to call always. */
void soft_update_mode(struct soft_cpu *cpu);
/* The same where 64-bit code stays 64-bit code, and only CPL, SS and RFLAGS may have changed: system calls. */
void soft_update_level(struct soft_cpu *cpu);
void soft_tlb_flush(struct soft_cpu *cpu, bool global_too);
void soft_tlb_flush_page(struct soft_cpu *cpu, uint64_t linear);
/* Somebody (CPU store, DMA) wrote bytes of RAM that may hold decoded code. block.c; any thread. */
void soft_code_written(struct soft_vm *vm, uint8_t *host, unsigned bytes);
uint64_t soft_get_rflags(const struct soft_cpu *cpu);
void soft_set_rflags(struct soft_cpu *cpu, uint64_t value, uint64_t mask); /* mask: bits that change */
uint64_t soft_rdtsc(struct soft_cpu *cpu);
