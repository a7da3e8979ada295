/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/display/input.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <sys/socket.h>

#include "engine/backend/display/keymap.h"
#include "engine/backend/display/protocol.h"

enum { WHEEL_UP = 1 << 3, WHEEL_DOWN = 1 << 4, ABSOLUTE_MAX = 32767 };

static const struct { unsigned mask; uint16_t code; } buttons_table[] = {
    { 1 << 0, BTN_LEFT }, { 1 << 1, BTN_MIDDLE }, { 1 << 2, BTN_RIGHT }, { 1 << 7, BTN_SIDE },
};

void input_send(struct input_sink *s, uint32_t type, uint32_t a, uint32_t b, uint32_t c)
{
    const struct gh_display_message m = { type, a, b, c };

    /* The socket has a send timeout of seconds: what fails then is a machine that is gone. */
    if (!s->failed && send(s->fd, &m, sizeof m, MSG_NOSIGNAL) != (ssize_t)sizeof m)
        s->failed = true;
}

/* ---- Keyboard -------------------------------------------------------------------------------------- */

static bool is_down(const struct input_viewer *v, unsigned code) { return v->down[code >> 6] >> (code & 63) & 1; }

static void send_key(struct input_sink *s, struct input_viewer *v, unsigned code, bool down)
{
    if (code >= 256 || (!down && !is_down(v, code)))
        return;
    if (down)
        v->down[code >> 6] |= 1ull << (code & 63);
    else
        v->down[code >> 6] &= ~(1ull << (code & 63));
    input_send(s, GH_DISPLAY_KEY, code, down, 0);
}

/* Does the guest's shift state have to be the other one for this symbol? Not for shortcuts. */
static bool shift_is_wrong(const struct input_sink *s, const struct input_viewer *v, enum gh_keysym_shift shift)
{
    bool have = is_down(v, KEY_LEFTSHIFT) || is_down(v, KEY_RIGHTSHIFT);
    bool caps = s->leds & GH_DISPLAY_LED_CAPS;

    if (is_down(v, KEY_LEFTCTRL) || is_down(v, KEY_RIGHTCTRL) || is_down(v, KEY_LEFTALT) || is_down(v, KEY_LEFTMETA))
        return false;
    switch (shift) {
    case GH_SHIFT_UP: return have;
    case GH_SHIFT_DOWN: return !have;
    case GH_SHIFT_LETTER_UP: return have != caps;
    case GH_SHIFT_LETTER_DOWN: return have == caps;
    default: return false;
    }
}

void input_key(struct input_sink *s, struct input_viewer *v, uint32_t xt, uint32_t keysym, bool down)
{
    enum gh_keysym_shift shift;
    unsigned code = gh_evdev_from_xt(xt);

    if (code) {                                  /* the position of the key: the guest's layout decides */
        send_key(s, v, code, down);
        return;
    }
    code = gh_evdev_from_keysym(keysym, &shift);
    if (!code)
        return;
    if (!down || !shift_is_wrong(s, v, shift)) {
        send_key(s, v, code, down);
        return;
    }
    bool left = is_down(v, KEY_LEFTSHIFT), right = is_down(v, KEY_RIGHTSHIFT);
    send_key(s, v, KEY_LEFTSHIFT, !left && !right);
    send_key(s, v, KEY_RIGHTSHIFT, false);
    send_key(s, v, code, true);
    if (!left && !right)
        send_key(s, v, KEY_LEFTSHIFT, false);
    if (left)
        send_key(s, v, KEY_LEFTSHIFT, true);
    if (right)
        send_key(s, v, KEY_RIGHTSHIFT, true);
}

/* ---- Pointer --------------------------------------------------------------------------------------- */

static uint32_t scale(int at, uint32_t size)
{
    uint32_t last = size > 1 ? size - 1 : 1, x = at < 0 ? 0 : (uint32_t)at;

    return (x > last ? last : x) * ABSOLUTE_MAX / last;
}

static void move(struct input_sink *s, struct input_viewer *v, int x, int y, bool relative)
{
    if (!relative && s->absolute) {
        if (!v->positioned || x != v->x || y != v->y)
            input_send(s, GH_DISPLAY_MOVE_TO, scale(x, s->width), scale(y, s->height), 0);
    } else {
        int dx = relative ? x : v->positioned ? x - v->x : 0, dy = relative ? y : v->positioned ? y - v->y : 0;
        if (dx || dy)
            input_send(s, GH_DISPLAY_MOVE_BY, (uint32_t)dx, (uint32_t)dy, 0);
    }
    if (!relative) {
        v->x = x;
        v->y = y;
        v->positioned = true;
    }
}

void input_pointer(struct input_sink *s, struct input_viewer *v, unsigned buttons, int x, int y, bool relative)
{
    unsigned pressed = buttons & ~v->buttons, changed = buttons ^ v->buttons;

    move(s, v, x, y, relative);
    for (unsigned i = 0; i < sizeof buttons_table / sizeof buttons_table[0]; i++)
        if (changed & buttons_table[i].mask)
            input_send(s, GH_DISPLAY_BUTTON, buttons_table[i].code, (buttons & buttons_table[i].mask) != 0, 0);
    if (pressed & WHEEL_UP)
        input_send(s, GH_DISPLAY_MOVE_BY, 0, 0, 1);
    if (pressed & WHEEL_DOWN)
        input_send(s, GH_DISPLAY_MOVE_BY, 0, 0, (uint32_t)-1);
    v->buttons = buttons;
    input_send(s, GH_DISPLAY_SYNC, 0, 0, 0);
}

void input_release(struct input_sink *s, struct input_viewer *v)
{
    bool any = v->buttons != 0;

    for (unsigned code = 0; code < 256; code++)
        if (is_down(v, code))
            send_key(s, v, code, false);
    for (unsigned i = 0; i < sizeof buttons_table / sizeof buttons_table[0]; i++)
        if (v->buttons & buttons_table[i].mask)
            input_send(s, GH_DISPLAY_BUTTON, buttons_table[i].code, 0, 0);
    if (any)
        input_send(s, GH_DISPLAY_SYNC, 0, 0, 0);
    v->buttons = 0;
}
