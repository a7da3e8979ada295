/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A PS/2 keyboard, part of the i8042's state. Specification: IBM PS/2 hardware interface, keyboard.
 *
 * Modelled: scan code sets 1 and 2, LEDs, identify, echo, resend, enable, defaults, reset with its
 * self-test answer; Pause, Break, Print Screen and SysRq sequences. Answers to commands go before
 * queued keys, so a guest that switches LEDs while text is typed loses nothing. Repeated presses of
 * a key are passed on as its typematic repeat: the host's keyboard sets the pace.
 * Left out: set 3 (F0h 03h is answered with a resend request), key types, the E0 12h "fake shifts".
 *
 * Machine lock. No allocation; a queue of fixed capacity, in which a press is refused early enough
 * that the release of every accepted key still fits.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/input/ps2ring.h"

enum { GH_PS2KBD_QUEUE = 16384, GH_PS2KBD_ANSWERS = 16, GH_PS2KBD_KEYS = 256 };

struct gh_ps2kbd {
    uint8_t  queue[GH_PS2KBD_QUEUE], answers[GH_PS2KBD_ANSWERS];
    struct gh_ps2_ring keys, answer;
    uint8_t  command;                     /* waits for its parameter; 0: none */
    uint8_t  set, leds, typematic, last;
    bool     scanning;
    uint8_t  down[GH_PS2KBD_KEYS / 8];    /* keys whose press was queued */
    uint8_t  down_count;
};

void gh_ps2kbd_reset(struct gh_ps2kbd *k);
/* A byte from the controller. */
void gh_ps2kbd_write(struct gh_ps2kbd *k, uint8_t byte);
/* The next byte for the controller; false: nothing to send. */
bool gh_ps2kbd_read(struct gh_ps2kbd *k, uint8_t *ret);
void gh_ps2kbd_key(struct gh_ps2kbd *k, uint16_t evdev, bool down);
bool gh_ps2kbd_possible(const struct gh_ps2kbd *k);
extern const struct gh_field gh_ps2kbd_fields[];
