/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The instruction table and the decoder.
 *
 * insns.def and its parts insns_sys.def, insns_x87.def, insns_simd.def are the only place where
 * opcodes are written down. Every row is
 *
 *   X(id, "name", map, opcode, count, prefix, ext, form, size, attr, class, handlers)
 *
 *   id       C identifier; enum soft_op gets SOFT_OP_<id>
 *   name     mnemonic for traces
 *   map      M_1 (one byte), M_0F, M_38, M_3A; VEX encoded: M_V0F, M_V38, M_V3A
 *   opcode   the last opcode byte
 *   count    consecutive opcodes that share the row (16 for Jcc, 8 for PUSH r, else 1); the low bits
 *            reach the handler in imm2 (the whole last opcode byte)
 *   prefix   P_ANY: 66/F2/F3 do not select the instruction (66 is operand size, F2/F3 are REP or
 *            ignored); P_NP: none of them present; P_66, P_F3, P_F2: mandatory prefix (F2/F3 win over 66)
 *   ext      E_ANY; 0..7: ModRM.reg must be it; E_RM(byte): the whole ModRM byte must be it
 *   form     operands: see enum soft_form
 *   size     operation size: see enum soft_size; lands in soft_insn.opsize
 *   attr     A_*: see below
 *   class    K_*: for the translator
 *   handlers one of the H macros:
 *              H1(f)   soft_op_f for everything
 *              HRM(f)  soft_op_f_r for register rm, soft_op_f_m for memory rm
 *              HS(f)   soft_op_f_8, _16, _32, _64 by opsize
 *              HV(f)   the same without _8
 *              HY(f)   soft_op_f_32, _64
 *              HA(f)   soft_op_f_r8, _r16, _r32, _r64, _m8, _m16, _m32, _m64 by rm kind and opsize
 *              HAV(f)  the same without the 8-bit ones
 *              HAY(f)  _r32, _r64, _m32, _m64
 *            handlers.h declares them all; a combination without handler is #UD.
 *
 * Rows are tried in table order within one opcode; the first that fits map, opcode, prefix, ext,
 * mode and A_MEM/A_REG/A_W/A_L wins. No row: #UD.
 *
 * Thread: pure functions over const tables; any thread.
 */
#pragma once
#include "engine/accel/soft/cpu.h"

enum soft_opmap { M_1, M_0F, M_38, M_3A, M_V0F, M_V38, M_V3A, SOFT_MAPS };
enum soft_row_prefix { P_ANY, P_NP, P_66, P_F3, P_F2 };
#define E_ANY     (-1)
#define E_RM(b)   (b) /* 0xc0..0xff */

enum soft_form {
    F_NONE,     /* no operand bytes */
    F_MR,       /* ModRM; rm is the destination, reg the source */
    F_RM,       /* ModRM; reg is the destination, rm the source */
    F_M,        /* ModRM; rm only, reg is part of the opcode */
    F_MR_I8, F_RM_I8, F_M_I8,   /* the same and a sign-extended imm8 */
    F_M_IZ, F_RM_IZ,            /* and an immediate of opsize (32 bits sign-extended for 8) */
    F_O,        /* register in the opcode's low bits, delivered in reg and rm */
    F_OI,       /* the same and an immediate of opsize, full 64 bits */
    F_AI8,      /* accumulator (reg = 0) and sign-extended imm8 */
    F_AIZ,      /* accumulator and imm of opsize (byte for S_B) */
    F_I8, F_IZ, F_I16,
    F_I16_I8,   /* ENTER: imm, imm2 */
    F_J8, F_JZ, /* displacement from the next instruction, sign-extended, in imm */
    F_FAR,      /* ptr16:16/32: imm = offset, disp = selector */
    F_MOFFS,    /* accumulator and [address]: is_mem is set, imm = address, no base, no index */
    F_STR_SI,   /* memory operand DS:rSI with override (LODS, OUTS): seg set, is_mem 0 */
    F_STR_DI,   /* ES:rDI (STOS, SCAS, INS) */
    F_STR_BOTH, /* MOVS, CMPS */
    F_RVM,      /* VEX: reg <- vvvv, rm (without VEX the same as F_RM) */
    F_RVM_I8,   /* and imm8; bits 4-7 of it are the fourth register where there is one */
};

enum soft_size {
    S_B, S_W, S_D, S_Q, S_O,  /* 1, 2, 4, 8, 16 bytes whatever the prefixes say */
    S_V,     /* 2, 4, 8: mode, 66, REX.W */
    S_V64,   /* as S_V but 8 is the default in 64-bit mode and 4 cannot be had (PUSH, POP) */
    S_F64,   /* as S_V64 but 66 is ignored in 64-bit mode (near branches) */
    S_Y,     /* 4; 8 with REX.W (or VEX.W) in 64-bit mode; 66 is ignored */
    S_M64,   /* 8 in 64-bit mode, else 4 (MOV CR) */
    S_X,     /* 16, or 32 with VEX.L */
    S_A,     /* the address size (LOOP, JCXZ) */
};

enum soft_attr {
    A_MEM  = 1u << 0,    /* rm must be memory */
    A_REG  = 1u << 1,    /* rm must be a register */
    A_I64  = 1u << 2,    /* not in 64-bit mode */
    A_O64  = 1u << 3,    /* only in 64-bit mode */
    A_LOCK = 1u << 4,    /* LOCK allowed when rm is memory */
    A_END  = 1u << 5,    /* ends the block: the handler sets rip itself, see handlers.h */
    A_STR  = 1u << 6,    /* string instruction: with F2/F3 it behaves as A_END */
    A_RF   = 1u << 7,    /* reads arithmetic flags */
    A_WF   = 1u << 8,    /* writes arithmetic flags (some or all, maybe) */
    A_LD   = 1u << 9,    /* reads rm */
    A_ST   = 1u << 10,   /* writes rm */
    A_RR   = 1u << 11,   /* reads reg */
    A_RW   = 1u << 12,   /* writes reg */
    A_FLT  = 1u << 13,   /* may fault even without a memory operand */
    A_RM8  = 1u << 14,   /* rm is a byte register although size says otherwise (MOVZX) */
    A_RM16 = 1u << 15,   /* memory rm is a word although size says otherwise (MOVZX, MOV Sreg); information */
    A_W0   = 1u << 16, A_W1 = 1u << 17, /* VEX.W must be */
    A_L0   = 1u << 18, A_L1 = 1u << 19, /* VEX.L must be */
    A_VV   = 1u << 20,   /* VEX: vvvv is an operand (else it must be 1111, #UD) */
    A_NSIB = 1u << 21,   /* reg field selects no GPR: REX.R is still applied (SSE); information */
    A_PROT = 1u << 22,   /* #UD in real and V86 mode */
    A_STK  = 1u << 23,   /* accesses the stack */
    A_MODRM0F = 1u << 24,/* MOV CR/DR: mod is ignored, rm is always a register */
    A_VSIB = 1u << 25,   /* VEX gather: index is a vector register */
    A_NOSEGREX = 1u << 26, /* reg is a segment register or MMX register: REX.R is ignored */
    A_NOREXB = 1u << 27, /* register rm is an MMX register: REX.B is ignored */
    A_ZCNT = 1u << 28,   /* only where the model has it: SOFT_KEY_OLD_BITS */
};

enum soft_class {
    K_CALL,   /* nothing special known: call the handler */
    K_MOV, K_ALU, K_ALU1, K_TEST, K_LEA, K_SHIFT, K_SHIFTD, K_MUL, K_DIV, K_MOVX, K_PUSH, K_POP, K_XCHG,
    K_JCC, K_JMP, K_CALLREL, K_RET, K_JMPIND, K_CALLIND, K_LOOP, K_SETCC, K_CMOV, K_BT, K_BITS,
    K_STRING, K_NOP, K_FLAG, K_CONV, K_LEAVE, K_ATOMIC,
    K_SSE,    /* copyable vector instruction: operands as form says */
    K_SSE_GPR,/* vector instruction with a general register on one side */
    K_BMI,    /* VEX encoded, on general registers */
    K_X87, K_MMX,
    K_SYS,    /* system: always the handler, state may change */
};

/* soft_insn.flags */
enum soft_insn_flags {
    SOFT_F_END   = 1u << 0,  /* last instruction of its block; its handler writes rip */
    SOFT_F_FAULT = 1u << 1,  /* may raise an exception */
    SOFT_F_RF    = 1u << 2,  /* reads arithmetic flags */
    SOFT_F_WF    = 1u << 3,  /* writes arithmetic flags */
    SOFT_F_LOAD  = 1u << 4,  /* reads guest memory */
    SOFT_F_STORE = 1u << 5,  /* writes guest memory */
    SOFT_F_UD    = 1u << 6,  /* no such instruction: fn raises */
};

struct soft_op_row {
    const char *name;
    uint8_t map, opcode, count, prefix;
    int16_t ext;
    uint8_t form, size, klass;
    uint32_t attr;
    soft_op_fn fn[8];   /* [is_mem ? 4 : 0 | log2(opsize), at most 3] */
};

/* All rows; index = enum soft_op = soft_insn.op. */
extern const struct soft_op_row soft_rows[];
extern const unsigned soft_row_count;

enum soft_op {
#define X(id, ...) SOFT_OP_##id,
#include "engine/accel/soft/insns.def"
#undef X
    SOFT_OP_COUNT,
    SOFT_OP_INVALID = 0xffff,
};

/* Decodes one instruction for a state_key. Returns its length 1..15; 0: more than avail bytes are
 * needed (avail < 15). Invalid encodings give an instruction whose handler raises #UD, ones longer
 * than 15 bytes one that raises #GP(0); ret->flags then has SOFT_F_UD and SOFT_F_END. */
unsigned soft_decode(uint64_t key, const uint8_t *bytes, unsigned avail, struct soft_insn *ret);
/* Mnemonic of a decoded instruction, for traces and tests. */
const char *soft_insn_name(const struct soft_insn *in);
/* The whole instruction as text, at linear address rip; always terminated. disasm.c */
void soft_insn_text(const struct soft_insn *in, uint64_t rip, char *ret, size_t size);
