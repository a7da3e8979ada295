/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Private to jit/: the generator's state, the encoder and what the instruction families share.
 *
 * A family is a function `bool jit_<family>(struct jit_gen *g, const struct soft_insn *in)`, chosen by
 * class in translate.c. It returns false, having emitted nothing, for an instruction it has no
 * template for: then the handler is called. Rules for a template:
 *   - nothing architectural changes before the last check (jit_lookup, jit_slow_if);
 *   - jit_flags_to_env before the first instruction that destroys EFLAGS or may fault;
 *   - R13 and R15 are free to use, all other registers hold guest values;
 *   - g->flags says where the arithmetic flags are afterwards.
 */
#pragma once
#include "engine/accel/soft/handlers.h"
#include "engine/accel/soft/jit/jit.h"

enum { H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI, H_R8, H_R9, H_R10, H_R11, H_R12, H_R13, H_R14, H_R15 };
#define JIT_ENV    H_R14
#define JIT_A      H_R13   /* scratch; a memory operand's host address after jit_lookup */
#define JIT_B      H_R15   /* scratch */
#define JIT_SP     H_R12   /* guest RSP */
#define JIT_NONE   0xff
#define JIT_ENV_OF(field) ((int)offsetof(struct soft_cpu, field) - SOFT_JIT_BIAS)
#define JIT_GPR_OF(n)     ((int)(offsetof(struct soft_cpu, gpr) + (n) * 8u) - SOFT_JIT_BIAS)

/* Opcode word of the encoder. */
#define O_0F     0x00000100u
#define O_38     0x00000200u  /* 0F 38 */
#define O_3A     0x00000400u  /* 0F 3A */
#define O_66     0x00001000u
#define O_F3     0x00002000u
#define O_F2     0x00004000u
#define O_W      0x00008000u  /* REX.W */
#define O_BREG   0x00010000u  /* reg is a byte register: 4..7 need REX */
#define O_BRM    0x00020000u  /* rm, when a register, likewise */
#define O_LOCK   0x00040000u
#define O_VEX    0x00100000u  /* VEX form of the same; O_L: 256 bits; O_VV(register): the third operand */
#define O_L      0x00200000u
#define O_VV(n)  ((uint32_t)(n) << 24)
#define O_NOREX  0x00080000u  /* reg or rm is AH, CH, DH, BH (4..7): the caller has seen to it that no REX is needed */

enum jit_flags_at {
    JIT_FLAGS_ENV,   /* aflags is right, or nothing will read it; EFLAGS is garbage */
    JIT_FLAGS_HOST,  /* EFLAGS is right, aflags is stale */
    JIT_FLAGS_BOTH,
};

/* Across pages: what fails the check goes on at these jumps' target. start, slot: of the checked sequence. */
struct jit_cross { uint8_t *jump[2]; uint32_t start, slot; int32_t target; const uint8_t *back; /* of a call: behind it */ };
/* A target found in the table with an old salt: thunk_retarget looks whether it is still the same. */
struct jit_retarget { uint8_t *jump, *back; uint8_t index; };
/* A return to elsewhere than the last frame says. take: the return with it. */
struct jit_mismatch { uint8_t *jump, *take; uint8_t index; uint16_t off; int16_t add; };
struct jit_slow_path { uint8_t *jump[8], *back; uint8_t jumps; uint8_t index; uint16_t off; int8_t held; bool reload, ends, vec, x87, falls; };
/* site: slot of soft_jit_env.site; JIT_STACK_WAY: soft_jit_env.stack. */
struct jit_refill { uint8_t *jump, *back; uint16_t limit, site; uint8_t index; bool write, bails; };
#define JIT_STACK_WAY 0xffffu
/* Accesses that share one lookup (group.c). low: from the register as it was when the group began. */
#define JIT_GROUPS 8u
struct jit_group { int32_t low; uint16_t span; bool write, ready, aligned; uint8_t align; /* aligned: so that address & 15 of rel 0 is known */ };
struct jit_access { int8_t group; uint8_t base; int32_t rel, disp; }; /* disp: from the (host) base register now */
struct jit_bail { uint8_t *jump; uint8_t index; uint16_t off; };
struct jit_exit { uint8_t *site; int32_t target; bool flags; /* they are in EFLAGS */ };

/* Where indirect jumps went: see jit_indirect_find. 32 bytes; the layout is in the code. host: of the page with the code. */
struct soft_jit_target { uint64_t linear, salt; const uint8_t *code; uint64_t host; };
#define JIT_TARGETS 65536u /* as jit_target_hash has it */
#define JIT_TARGET_FACTOR 0x9e3779b1u
static inline unsigned jit_target_hash(uint64_t linear) { return (uint32_t)linear * JIT_TARGET_FACTOR >> (32 - 16); }

/* Data behind an exit's call: what the run loop needs to patch it. */
enum jit_link_kind {
    JIT_LINK_PAGE,        /* patch site; with flags in EFLAGS (the exit stores them before its call): see connect */
    JIT_LINK_PAGE_FLAGS,
    JIT_LINK_PAGE_FLAGS_ON, /* the same to a higher address: need not look at attention, what goes round in circles does */
    JIT_LINK_CROSS, JIT_LINK_CROSS_DONE,
    JIT_LINK_FORWARD,     /* the entry of a killed block: the call becomes a jump to its successor */
};
struct soft_jit_link {
    int32_t  target;      /* from rip_page */
    uint32_t site;        /* offset of the rel32 to patch; across pages: of the checked sequence */
    uint8_t  kind;
} __attribute__((packed));
/* Behind the call of a link across pages. code, host: its target and that one's page of memory, once it is linked. */
struct soft_jit_cross {
    struct soft_jit_link link;
    uint32_t slot;        /* offset of its struct jit_slot */
    uint64_t code, host;
} __attribute__((packed));
/* Where a link across pages may be taken: when its target is in this linear page, and code of the target's half of the
 * address space has this generation (low half of the number). Beside the code, so that a new address space
 * costs no change of code. Initially no page. */
struct jit_slot { uint64_t page; uint32_t gen, unused; };
/* From a block's entry: behind the look at attention. */
#define JIT_HEAD 11
/* Layout of the checked sequence: offsets of what connecting fills in. */
enum { JIT_CROSS_GEN_DISP = 27, JIT_CROSS_JMP = 46 };
/* The same of soft_block.jit_check. */
enum { JIT_CHECK_GEN_DISP = 3, JIT_CHECK_GEN = 4, JIT_CHECK_PAGE = 16 };

struct soft_jit {
    uint8_t *rw;
    const uint8_t *rx;
    size_t size, used, first;    /* first: after the thunks; used: of the first half */
    size_t cold, cold_end;       /* what is seldom run comes from the buffer's end, in pieces: the present one's next byte and end */
    size_t cold_low;             /* where the last piece begins */
    size_t slots, slots_end;     /* struct jit_slot, likewise */
    size_t huge_low, huge_high;  /* below and above, large pages were asked for */
    bool bmi2;                   /* the host has RORX */
    bool full;                   /* forget was asked for */
    enum soft_jit_mode mode;
    unsigned threshold;
    bool disasm, profile, perfmap;
    struct lockstep *lockstep;   /* lockstep.c; NULL: off */
    uint64_t max_blocks;         /* bisecting: translate so many */
    uint64_t low, high;          /* bisecting: translate what begins at these addresses */
    const uint8_t *thunk_enter, *thunk_one, *thunk_head, *thunk_link, *thunk_cross, *thunk_bail, *thunk_retarget, *thunk_empty; /* in rw */
    const uint8_t *thunk_spill;  /* EFLAGS -> aflags; uses R13 */
    const uint8_t *thunk_refill[2][2]; /* a lookup missed its way: read, write; of the stack, of a site */
    unsigned next_site;
    const uint8_t *thunk_vec_load, *thunk_vec_save, *thunk_vec_enter; /* simd.c; NULL: none */
    const uint8_t *thunk_x87_load, *thunk_x87_save, *thunk_x87_enter; /* x87.c */
    uint64_t nowhere;            /* what the place below all frames holds for a return address: not canonical, random */
    unsigned no_simd;            /* the guest has exceptions unmasked: handlers, until blocks were forgotten so often */
    unsigned refusals;           /* blocks that were left for that reason */
    uint64_t no_simd_since;      /* ns of the host's clock */
    struct soft_jit_counters count;
    uint32_t slow_count[SOFT_OP_COUNT + 1];
    struct soft_jit_target target[JIT_TARGETS];
};

/* The guest kernel's function at an address, where GH_SYSTEM_MAP says it; NULL: unknown. Any thread. */
const char *jit_symbol(uint64_t linear, uint64_t *ret_offset);

/* Accesses through one pointer in a loop; low, high: from the pointer as it is when a round begins. */
struct jit_loop_group { uint8_t base, index, scale, reg; bool write, aligned; uint16_t members; int32_t low, high, step, align; };
struct jit_loop {
    unsigned used, written, lent, housed; /* guest registers; lent: their host registers serve others; housed: in those */
    uint8_t map[16], counter;
    bool vec, failed;
    unsigned group_count, leave_count, exit_count;
    int32_t step[16];
    struct jit_loop_group group[JIT_GROUPS];
    int8_t group_of[SOFT_BLOCK_INSNS];
    struct jit_bail leave[3 * SOFT_BLOCK_INSNS];
    struct jit_exit exit[SOFT_BLOCK_INSNS]; /* conditional jumps inside */
    uint8_t *start, *end;
};

struct jit_gen {
    struct soft_jit *jit;
    struct soft_cpu *cpu;
    struct soft_block *b;
    uint8_t *at, *entry, *stub;
    unsigned index;              /* current instruction */
    unsigned off;                /* its offset in the page */
    enum jit_flags_at flags;
    bool mode64;                 /* else flat 32-bit code */
    bool stack;                  /* the stack is flat and as wide as the code */
    unsigned word;               /* 8 or 4: bytes of a stack slot */
    uint32_t wide;               /* O_W or 0: operations on addresses */
    bool vec;                    /* the guest's vector registers are known to be in the host's here */
    bool x87;                    /* so is the x87 state */
    bool plain;                  /* this is the version without groups */
    uint8_t mem_base, mem_index; /* memory operand after jit_operand, for jit_mem */
    int32_t mem_disp;
    int8_t held;                 /* group whose difference is in R15; -1: none */
    uint16_t steps, stays;       /* guest registers that move by small constants in the block, that nothing writes (group.c) */
    bool in_loop;                /* this is the body of jit_make_loop */
    bool loops;                  /* ends with a conditional jump to its start */
    unsigned slow_count, exit_count, cross_count, retarget_count, mismatch_count, drop_count, refill_count, group_count, bail_count;
    struct jit_group group[JIT_GROUPS];
    struct jit_access access[SOFT_BLOCK_INSNS][2]; /* memory operand, stack */
    struct jit_bail bail[2 * JIT_GROUPS]; /* with the slow paths of instructions that begin groups */
    uint32_t *plain_at;          /* offsets of its instructions that may be entered */
    struct jit_refill refill[2 * SOFT_BLOCK_INSNS];
    struct jit_slow_path slow[SOFT_BLOCK_INSNS];
    struct jit_exit exit[2 * SOFT_BLOCK_INSNS + 4];
    struct jit_cross cross[2 * SOFT_BLOCK_INSNS + 4];
    struct jit_retarget retarget[2];
    struct jit_mismatch mismatch[1];
    struct { uint8_t *jump, *back; } drop[1];
    struct jit_loop loop;
};

/* ---- Encoder (emit.c). The buffer has room: translate.c saw to it ------------------------------------ */
void jit_e8(struct jit_gen *g, unsigned v);
void jit_e32(struct jit_gen *g, uint32_t v);
void jit_e64(struct jit_gen *g, uint64_t v);
void jit_rr(struct jit_gen *g, uint32_t op, unsigned reg, unsigned rm);              /* register rm */
void jit_rm(struct jit_gen *g, uint32_t op, unsigned reg, unsigned base, int32_t disp); /* [base + disp] */
/* [base + (index << scale) + disp]; either may be JIT_NONE. */
void jit_rx(struct jit_gen *g, uint32_t op, unsigned reg, unsigned base, unsigned index, unsigned scale, int32_t disp);
void jit_env(struct jit_gen *g, uint32_t op, unsigned reg, int disp);                /* [env + disp] */
void jit_mov(struct jit_gen *g, unsigned to, unsigned from);
void jit_load(struct jit_gen *g, unsigned to, int env_disp);
void jit_store(struct jit_gen *g, unsigned from, int env_disp);
void jit_imm64(struct jit_gen *g, unsigned to, uint64_t v);
void jit_jmp(struct jit_gen *g, const uint8_t *target);                              /* rel32, rw address */
void jit_call(struct jit_gen *g, const uint8_t *target);
uint8_t *jit_jcc(struct jit_gen *g, unsigned cc);                                    /* returns the rel32 */
void jit_patch(uint8_t *site, const uint8_t *target);
enum { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };

/* ---- Registers --------------------------------------------------------------------------------------------- */
/* Host register of a guest register; JIT_NONE: it lives in soft_cpu. */
extern _Thread_local const uint8_t *jit_registers; /* a loop has others (loop.c) */
static inline unsigned jit_pinned(unsigned guest) { return jit_registers[guest]; }
/* Host register with the guest register's 64 bits, loaded into scratch where it has none. */
unsigned jit_use(struct jit_gen *g, unsigned guest, unsigned scratch);
/* Stores it back where it has none. */
void jit_done(struct jit_gen *g, unsigned guest, unsigned host);
void jit_store_all(struct jit_gen *g);
void jit_load_all(struct jit_gen *g);

/* ---- Flags --------------------------------------------------------------------------------------------------- */
/* Before EFLAGS are destroyed, or C code is called: stores them in aflags where an instruction from the current one
 * on reads them. Uses R13; EFLAGS stay. What no instruction reads is not stored, also not for the frame of
 * an exception. */
void jit_flags_to_env(struct jit_gen *g);
void jit_spill(struct jit_gen *g);                           /* EFLAGS -> aflags, always */
void jit_flags_to_host(struct jit_gen *g, unsigned scratch); /* EFLAGS = aflags unless they are there */
/* All arithmetic flags are written before an instruction reads them, from instruction `from` of the block on. */
bool jit_flags_dead(const struct soft_block *b, unsigned from);
/* The host's shifts by a constant, and its multiplications, do not look at the old flags (alu.c). */
extern bool jit_shifts_forget, jit_multiplies_forget, jit_bmi_forgets; /* the last: vex.c */

/* ---- Slow path, exits (translate.c) -------------------------------------------------------------------------- */
/* Leaves to the handler of the current instruction if cc; EFLAGS must not be pending. */
void jit_slow_if(struct jit_gen *g, unsigned cc);
/* Calls the handler of the current instruction. */
void jit_call_handler(struct jit_gen *g, const struct soft_insn *in);
/* rel32 at site goes to rip_page + target. Flags must be in env. */
void jit_exit_at(struct jit_gen *g, uint8_t *site, int32_t target);
void jit_exit_jmp(struct jit_gen *g, int32_t target);
/* A call to rip_page + target, as jit_exit_jmp; behind it, the code goes on where the frame's return comes to. */
void jit_exit_call(struct jit_gen *g, int32_t target);
/* A host call that follows is far enough from the block's start that killing the block leaves what is behind it. */
void jit_pad_call(struct jit_gen *g);
/* R13 = linear target -> R15 = its struct soft_jit_target, or a jump from one of the two sites. Destroys R13, EFLAGS. */
void jit_indirect_find(struct jit_gen *g, uint8_t *miss[2]);
/* Goes to the target at R15. */
void jit_indirect_go(struct jit_gen *g);
/* In the cold part: returns without a frame, and calls with too many (flow.c). */
void jit_flow_cold(struct jit_gen *g);
/* The slow path of the current instruction begins where these jump. */
void jit_slow_at(struct jit_gen *g, uint8_t *site);

/* ---- Memory (mem.c) -------------------------------------------------------------------------------------------- */
/* The operand's address can be formed here. */
bool jit_can_address(const struct jit_gen *g, const struct soft_insn *in);
void jit_address(struct jit_gen *g, const struct soft_insn *in);                /* R13 = linear; uses R15, not EFLAGS */
void jit_way_offset(struct jit_gen *g);                                         /* R15 = offset of R13's TLB way */
/* R13 = linear -> host address; uses R15 and EFLAGS. Slow path where the TLB has no such page or the operand leaves it. */
void jit_lookup(struct jit_gen *g, unsigned bytes, bool write);
/* Address and lookup of the memory operand, which jit_mem then uses: R13, a guest's register and R15, or both R13 and R15.
 * Flags go to env where a lookup is needed. */
void jit_operand(struct jit_gen *g, const struct soft_insn *in, unsigned bytes, bool write);
/* The same for the slot below RSP, and the one at it. */
void jit_push_operand(struct jit_gen *g);
void jit_top_operand(struct jit_gen *g);
void jit_mem(struct jit_gen *g, uint32_t op, unsigned reg);
/* A scratch register that the operand does not use, from here on. */
unsigned jit_spare(struct jit_gen *g);
/* R13 = its host address, whatever it was. */
void jit_operand_to_a(struct jit_gen *g);
/* stack.c: the same as the operands, but in R13, with R15 free; RSP moves by a constant. */
void jit_push_slot(struct jit_gen *g);
void jit_top_slot(struct jit_gen *g);
void jit_stack_add(struct jit_gen *g, int n);
/* In the slow path, after thunk_refill for a site: the right way, noted there; R13 = linear - tag. */
void jit_refill_site(struct jit_gen *g, const struct jit_refill *r);
/* After jit_operand_to_a: slow path where the operand leaves its cache line. Uses R15. */
void jit_check_lockable(struct jit_gen *g, unsigned bytes);

/* ---- Lockstep (lockstep.c) ------------------------------------------------------------------------------------------ */
int  jit_lockstep_new(struct soft_jit *j);
/* After the lookup of an operand that will be written: notes what was there. Uses R15. */
void jit_log_store(struct jit_gen *g, unsigned bytes);

/* ---- Groups --------------------------------------------------------------------------------------------------------- */
void jit_find_groups(struct jit_gen *g);
bool jit_simd_aligned(const struct soft_insn *in);       /* and that has to be aligned */
/* loop.c. The version for later rounds of a block that jumps to itself, at g->at; NULL: none. */
typedef void (*jit_emit_insn)(struct jit_gen *g, const struct soft_insn *in);
uint8_t *jit_make_loop(struct jit_gen *g, jit_emit_insn emit);
void jit_loop_cold(struct jit_gen *g);
void jit_loop_leave(struct jit_gen *g, uint8_t *site);
void jit_loop_exit(struct jit_gen *g, uint8_t *site, int32_t target);
void jit_loop_operand(struct jit_gen *g, const struct soft_insn *in, unsigned group);
bool jit_loop_keeps_flags(const struct jit_gen *g, const struct soft_insn *in, unsigned group);
bool jit_step(const struct soft_insn *in, unsigned *reg, int32_t *by);
unsigned jit_written(const struct soft_insn *in);
unsigned jit_memory_bytes(const struct soft_insn *in);   /* of an integer instruction's memory operand (alu.c) */
unsigned jit_simd_bytes(const struct soft_insn *in);     /* of an SSE or VEX instruction's (simd.c) */
unsigned jit_vex_bytes(const struct soft_insn *in);
void jit_simd_enter(struct jit_gen *g);                  /* the guest's vector registers are in the host's from here on */
/* SSE or VEX, encoded as op, with its registers or the operand that is at hand; imm: its last byte, -1: none. */
void jit_simd_copy(struct jit_gen *g, const struct soft_insn *in, uint32_t op, int imm);
bool jit_host_has_avx(void);                             /* and all else of x86-64-v3 that vex.c copies */
/* What thunk_bail calls: the code of the plain version at an instruction; NULL: leave to the run loop. */
const uint8_t *soft_jit_bail(struct soft_cpu *cpu, struct soft_block *b, uint32_t what);

/* ---- Families ----------------------------------------------------------------------------------------------------- */
typedef bool (*jit_family)(struct jit_gen *g, const struct soft_insn *in);
bool jit_int(struct jit_gen *g, const struct soft_insn *in);    /* alu.c: copied with rewritten operands */
bool jit_flow(struct jit_gen *g, const struct soft_insn *in);   /* flow.c */
bool jit_stack(struct jit_gen *g, const struct soft_insn *in);  /* stack.c */
bool jit_simd(struct jit_gen *g, const struct soft_insn *in);   /* simd.c: K_SSE, K_SSE_GPR, K_MMX */
bool jit_vex(struct jit_gen *g, const struct soft_insn *in);    /* vex.c: the same in VEX encodings */
bool jit_bmi(struct jit_gen *g, const struct soft_insn *in);    /* vex.c: K_BMI */
bool jit_x87(struct jit_gen *g, const struct soft_insn *in);    /* x87.c */
bool jit_sys(struct jit_gen *g, const struct soft_insn *in);    /* sys.c */
/* simd.c: emits thunk_vec_load and thunk_vec_save: subroutines for env <-> host vector registers and MXCSR
 * that change nothing else but EFLAGS, R13 and R15. save is called with the GPRs already stored. */
void jit_simd_thunks(struct jit_gen *g);
void jit_simd_enter_thunk(struct jit_gen *g); /* after thunk_head */
/* x87.c: thunk_x87_load and thunk_x87_save, subroutines between soft_cpu and the host's unit. load keeps the pinned
 * registers, not the vector registers and EFLAGS; before save the guest's registers are stored; it keeps R15 only. */
void jit_x87_thunks(struct jit_gen *g);
void jit_x87_enter_thunk(struct jit_gen *g); /* after thunk_head */

/* Large pages up to where code is written next. */
void jit_back(struct soft_jit *j);
void jit_make_thunks(struct soft_cpu *cpu, struct soft_jit *j);   /* thunks.c */
/* What thunk_one calls: runs instruction what >> 16 of b at page offset what & 0xffff by its handler.
 * 0: go on after it; 1: leave to the run loop. */
#define JIT_ONE_RELOAD 0x80000000u  /* bit of what: 2 instead of 0: and load the flags into EFLAGS */
/* 3: go to jit.tmp[0], the code at rip. 4: the same, and what the frames were made for has changed. */
int soft_jit_one(struct soft_cpu *cpu, struct soft_block *b, uint32_t what);
bool jit_translate(struct soft_cpu *cpu, struct soft_block *b);   /* translate.c */
bool jit_translate_plain(struct soft_cpu *cpu, struct soft_block *b);
