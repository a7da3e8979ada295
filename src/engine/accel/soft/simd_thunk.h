/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Thunks for instructions with an immediate byte: the immediate is part of the host instruction too,
 * so each has 256 thunks of 8 bytes, indexed by it. THUNKS_(symbol, "instruction with IMM").
 */
#pragma once
#include <stdint.h>

#define HEX_DIGITS "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, a, b, c, d, e, f"
#define THUNKS_(sym, insn)                                                                         \
    __asm__(".pushsection .text\n.balign 16\n" #sym ":\n"                                          \
            ".irp simd_h, " HEX_DIGITS "\n.irp simd_l, " HEX_DIGITS "\n"                           \
            insn "\nret\n.balign 8\n.endr\n.endr\n.popsection");                                   \
    extern const uint8_t sym[256][8] __attribute__((visibility("hidden")));
#define IMM "$0x\\simd_h\\simd_l"

/* In inline assembly with the thunk as operand t. Steps over the red zone. */
#define CALL_THUNK "lea -128(%%rsp), %%rsp\n\tcall *%[t]\n\tlea 128(%%rsp), %%rsp\n\t"
