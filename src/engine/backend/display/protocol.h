/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Messages between a machine and its display backend: one SOCK_SEQPACKET socket, one struct a
 * packet, host byte order (both run on this host from one build). The first message of the machine is
 * HELLO with three descriptors: surface memfd, frame eventfd, ask eventfd. Both sides check type and
 * length, ignore unknown types, and trust no value. Keys and buttons are Linux evdev codes.
 */
#pragma once
#include <stdint.h>

enum gh_display_message_type {
    /* machine -> backend */
    GH_DISPLAY_HELLO = 1,     /* a: GH_DISPLAY_PROTOCOL */
    GH_DISPLAY_POINTER,       /* a: 1 the guest takes absolute positions, 0 movements only */
    GH_DISPLAY_LEDS,          /* a: GH_DISPLAY_LED_* */
    GH_DISPLAY_CURSOR,        /* a: width, b: height, c: hot x | hot y << 16, then width * height ARGB words
                                 (premultiplied); width 0: no shape of its own */
    /* backend -> machine */
    GH_DISPLAY_KEY = 64,      /* a: code, b: 1 down 0 up */
    GH_DISPLAY_MOVE_TO,       /* a, b: 0..32767 across the screen */
    GH_DISPLAY_MOVE_BY,       /* a, b: signed pixels, c: signed wheel steps, up is positive */
    GH_DISPLAY_BUTTON,        /* a: code, b: 1 down 0 up */
    GH_DISPLAY_SYNC,          /* end of one pointer report */
    GH_DISPLAY_RESIZE,        /* a: width, b: height that a viewer would like */
    GH_DISPLAY_CLIENTS,       /* a: how many viewers are connected */
};

enum { GH_DISPLAY_PROTOCOL = 1, GH_DISPLAY_CURSOR_MAX = 128,
       GH_DISPLAY_LED_SCROLL = 1, GH_DISPLAY_LED_NUM = 2, GH_DISPLAY_LED_CAPS = 4 };

struct gh_display_message { uint32_t type, a, b, c; };

/* A cursor message is this; all others end after head. */
struct gh_display_cursor_message {
    struct gh_display_message head;
    uint32_t pixels[GH_DISPLAY_CURSOR_MAX * GH_DISPLAY_CURSOR_MAX];
};
