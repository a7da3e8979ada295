/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Key codes: Linux evdev (KEY_*) to PS/2 scan code set 2, and the 8042's translation to set 1.
 * Positions, not letters: no layout is involved. Constant data, any thread.
 */
#pragma once
#include <stdint.h>

#define GH_KEY_E0 0x100u                  /* the code has an E0h prefix */

/* Set 2 make code, possibly with GH_KEY_E0; 0: the keyboard has no such key, or (Pause, Print
 * Screen, Hangeul, Hanja) the sequence is not of the usual form. */
unsigned gh_keymap_set2(uint16_t evdev);
/* What the 8042 makes of a byte from the keyboard. */
extern const uint8_t gh_keymap_translate[256];
