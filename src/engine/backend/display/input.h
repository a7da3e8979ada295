/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What viewers type and point at, turned into messages for the machine (protocol.h). Knows nothing
 * of RFB but its key numbers and button mask.
 *
 * Thread: one. A machine that reads nothing for seconds sets sink.failed; the backend then ends, which
 * releases every key.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct input_sink {
    int      fd;              /* control socket */
    bool     absolute;        /* the guest takes positions */
    unsigned leds;
    uint32_t width, height;   /* of the screen */
    bool     failed;
};

struct input_viewer {         /* zeroed at the start */
    uint64_t down[4];         /* keys held, by evdev code below 256 */
    unsigned buttons;         /* RFB mask */
    int      x, y;
    bool     positioned;
};

void input_send(struct input_sink *s, uint32_t type, uint32_t a, uint32_t b, uint32_t c);
/* An extended key event; xt 0 or unknown falls back to the keysym. */
void input_key(struct input_sink *s, struct input_viewer *v, uint32_t xt, uint32_t keysym, bool down);
/* relative: x and y are movements, not positions. */
void input_pointer(struct input_sink *s, struct input_viewer *v, unsigned buttons, int x, int y, bool relative);
/* The viewer is gone: nothing of it stays down. */
void input_release(struct input_sink *s, struct input_viewer *v);
