/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A PS/2 mouse, part of the i8042's state: three buttons, after the usual knock (sample rates 200,
 * 100, 80) a wheel, after 200, 200, 80 five buttons. Specification: IBM PS/2 hardware interface,
 * pointing device; Microsoft IntelliMouse for the four-byte packets.
 *
 * Modelled: stream and remote mode, wrap mode, scaling 2:1, status, identify, rates and resolutions
 * (accepted, reported back). Motion is summed up while the guest is behind, clicks never are.
 * Left out: the pace of the sample rate.
 *
 * Machine lock. No allocation; a queue of fixed capacity.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/input/ps2ring.h"

enum { GH_PS2MOUSE_QUEUE = 512, GH_PS2MOUSE_ANSWERS = 16 };

struct gh_ps2mouse {
    uint8_t  queue[GH_PS2MOUSE_QUEUE], answers[GH_PS2MOUSE_ANSWERS];
    struct gh_ps2_ring packets, answer;
    uint8_t  command, last;
    uint8_t  id, rate, resolution, knock; /* knock: the last rates that were set */
    bool     reporting, remote, wrap, scaling;
    uint8_t  buttons, sent_buttons;       /* bit 0 left, 1 right, 2 middle, 3 side, 4 extra */
    uint32_t dx, dy, dz;                  /* signed: not reported yet, PS/2 directions */
};

void gh_ps2mouse_reset(struct gh_ps2mouse *m);
void gh_ps2mouse_write(struct gh_ps2mouse *m, uint8_t byte);
bool gh_ps2mouse_read(struct gh_ps2mouse *m, uint8_t *ret);
/* evdev directions: down and wheel away from the user are positive. */
void gh_ps2mouse_move(struct gh_ps2mouse *m, int32_t dx, int32_t dy, int32_t wheel);
void gh_ps2mouse_button(struct gh_ps2mouse *m, uint16_t evdev, bool down);
void gh_ps2mouse_sync(struct gh_ps2mouse *m);
bool gh_ps2mouse_possible(const struct gh_ps2mouse *m);
extern const struct gh_field gh_ps2mouse_fields[];
