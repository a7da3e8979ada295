/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Key numbers: Linux evdev codes (input-event-codes.h), the XT set 1 numbers of RFB's QEMU extended key
 * event (80h stands for the E0 prefix), and X keysyms of plain RFB clients. Pure, constant tables.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

uint16_t gh_evdev_from_xt(uint32_t xt);       /* 0: no such key */
uint32_t gh_xt_from_evdev(uint16_t code);     /* 0: none; send the keysym then */

enum gh_keysym_shift { GH_SHIFT_ANY, GH_SHIFT_UP, GH_SHIFT_DOWN, GH_SHIFT_LETTER_UP, GH_SHIFT_LETTER_DOWN };
/* The key that produces the keysym on a US keyboard, and the shift state that it takes there; ANY for keys
 * without two symbols. 0: no such key. */
uint16_t gh_evdev_from_keysym(uint32_t keysym, enum gh_keysym_shift *ret_shift);
