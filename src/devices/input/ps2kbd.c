/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/input/ps2kbd.h"

#include <linux/input-event-codes.h>

#include "devices/input/keymap.h"

enum {
    SET_LEDS = 0xed, ECHO = 0xee, SCAN_SET = 0xf0, IDENTIFY = 0xf2, TYPEMATIC = 0xf3, ENABLE = 0xf4,
    DISABLE = 0xf5, DEFAULTS = 0xf6, ALL_KEYS_FIRST = 0xf7, ALL_KEYS_LAST = 0xfa, RESEND = 0xfe, RESET = 0xff,
};
enum { ACK = 0xfa, SELF_TEST_PASSED = 0xaa, BREAK = 0xf0 };
enum { RELEASE_BYTES = 8 };               /* of the longest release sequence, rounded up */

/* ---- Keys -------------------------------------------------------------------------------------------- */

static bool is_down(const struct gh_ps2kbd *k, uint16_t evdev)
{
    return evdev < GH_PS2KBD_KEYS && (k->down[evdev / 8] >> (evdev % 8) & 1);
}

static bool any_down(const struct gh_ps2kbd *k, uint16_t a, uint16_t b)
{
    return is_down(k, a) || is_down(k, b);
}

static void send(struct gh_ps2kbd *k, uint8_t byte)
{
    gh_ps2_ring_push(&k->keys, k->queue, GH_PS2KBD_QUEUE, byte);
}

/* One make or break code in the set of now; code is of set 2. */
static void send_code(struct gh_ps2kbd *k, unsigned code, bool down)
{
    if (code & GH_KEY_E0)
        send(k, 0xe0);
    if (k->set == 1) {
        send(k, gh_keymap_translate[code & 0xff] | (down ? 0 : 0x80));
    } else {
        if (!down)
            send(k, BREAK);
        send(k, (uint8_t)code);
    }
}

/* Pause tells its release together with its press. */
static void send_pause(struct gh_ps2kbd *k)
{
    if (any_down(k, KEY_LEFTCTRL, KEY_RIGHTCTRL)) { /* Break */
        send_code(k, GH_KEY_E0 | 0x7e, true);
        send_code(k, GH_KEY_E0 | 0x7e, false);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        send(k, 0xe1);
        send_code(k, 0x14, i == 0);
        send_code(k, 0x77, i == 0);
    }
}

static void send_print_screen(struct gh_ps2kbd *k, bool down)
{
    if (any_down(k, KEY_LEFTALT, KEY_RIGHTALT)) { /* SysRq */
        send_code(k, 0x84, down);
        return;
    }
    bool alone = !any_down(k, KEY_LEFTSHIFT, KEY_RIGHTSHIFT) && !any_down(k, KEY_LEFTCTRL, KEY_RIGHTCTRL);
    if (alone && down)
        send_code(k, GH_KEY_E0 | 0x12, true);
    send_code(k, GH_KEY_E0 | 0x7c, down);
    if (alone && !down)
        send_code(k, GH_KEY_E0 | 0x12, false);
}

static void send_key(struct gh_ps2kbd *k, uint16_t evdev, bool down)
{
    switch (evdev) {
    case KEY_PAUSE:
        if (down)
            send_pause(k);
        break;
    case KEY_SYSRQ:
        send_print_screen(k, down);
        break;
    case KEY_HANGEUL:                     /* the two Korean keys send one byte and no release */
    case KEY_HANJA:
        if (down)
            send(k, evdev == KEY_HANGEUL ? 0xf2 : 0xf1);
        break;
    default:
        send_code(k, gh_keymap_set2(evdev), down);
        break;
    }
}

static bool exists(uint16_t evdev)
{
    return evdev < GH_PS2KBD_KEYS && (gh_keymap_set2(evdev) || evdev == KEY_PAUSE || evdev == KEY_SYSRQ ||
                                      evdev == KEY_HANGEUL || evdev == KEY_HANJA);
}

void gh_ps2kbd_key(struct gh_ps2kbd *k, uint16_t evdev, bool down)
{
    if (!exists(evdev) || !k->scanning)
        return;
    bool was_down = is_down(k, evdev);
    if (down) {
        uint32_t kept = (k->down_count + 2u) * RELEASE_BYTES;
        if (GH_PS2KBD_QUEUE - k->keys.count < kept)
            return;
    } else if (!was_down) {
        return;                           /* its press was refused, or came before a reset */
    }
    send_key(k, evdev, down);
    if (down == was_down)
        return;
    k->down[evdev / 8] ^= (uint8_t)(1u << (evdev % 8));
    k->down_count = (uint8_t)(down ? k->down_count + 1 : k->down_count - 1);
}

/* ---- Commands ---------------------------------------------------------------------------------------- */

static void answer(struct gh_ps2kbd *k, uint8_t byte)
{
    gh_ps2_ring_push(&k->answer, k->answers, GH_PS2KBD_ANSWERS, byte);
}

static void forget_keys(struct gh_ps2kbd *k)
{
    k->keys = (struct gh_ps2_ring){0};
    memset(k->down, 0, sizeof k->down);
    k->down_count = 0;
}

static void defaults(struct gh_ps2kbd *k)
{
    forget_keys(k);
    k->set = 2;
    k->leds = 0;
    k->typematic = 0x2b;
}

void gh_ps2kbd_reset(struct gh_ps2kbd *k)
{
    defaults(k);
    k->answer = (struct gh_ps2_ring){0};
    k->command = 0;
    k->last = 0;
    k->scanning = true;
}

static void parameter(struct gh_ps2kbd *k, uint8_t byte)
{
    uint8_t command = k->command;

    k->command = 0;
    switch (command) {
    case SET_LEDS:
        k->leds = byte & 7;
        answer(k, ACK);
        break;
    case TYPEMATIC:
        k->typematic = byte & 0x7f;
        answer(k, ACK);
        break;
    default:                              /* SCAN_SET */
        if (byte > 2) {
            answer(k, RESEND);
            break;
        }
        answer(k, ACK);
        if (byte)
            k->set = byte;
        else
            answer(k, k->set);
        break;
    }
}

void gh_ps2kbd_write(struct gh_ps2kbd *k, uint8_t byte)
{
    if (k->command && byte < SET_LEDS) {
        parameter(k, byte);
        return;
    }
    k->command = 0;
    switch (byte) {
    case SET_LEDS:
    case SCAN_SET:
    case TYPEMATIC:
        k->command = byte;
        answer(k, ACK);
        break;
    case ECHO:
        answer(k, ECHO);
        break;
    case IDENTIFY:
        answer(k, ACK);
        answer(k, 0xab);
        answer(k, 0x83);
        break;
    case ENABLE:
        forget_keys(k);
        k->scanning = true;
        answer(k, ACK);
        break;
    case DISABLE:
    case DEFAULTS:
        defaults(k);
        k->scanning = byte == DEFAULTS;
        answer(k, ACK);
        break;
    case RESEND:
        answer(k, k->last);
        break;
    case RESET:
        gh_ps2kbd_reset(k);
        answer(k, ACK);
        answer(k, SELF_TEST_PASSED);
        break;
    default:
        answer(k, byte >= ALL_KEYS_FIRST && byte <= ALL_KEYS_LAST ? ACK : RESEND);
        break;
    }
}

bool gh_ps2kbd_read(struct gh_ps2kbd *k, uint8_t *ret)
{
    /* Between a command and its parameter the keyboard holds its keys back. */
    if (!gh_ps2_ring_pop(&k->answer, k->answers, GH_PS2KBD_ANSWERS, ret) &&
        (k->command || !gh_ps2_ring_pop(&k->keys, k->queue, GH_PS2KBD_QUEUE, ret)))
        return false;
    k->last = *ret;
    return true;
}

/* ---- Saved state --------------------------------------------------------------------------------------- */

bool gh_ps2kbd_possible(const struct gh_ps2kbd *k)
{
    unsigned count = 0;

    for (unsigned i = 0; i < sizeof k->down; i++)
        count += (unsigned)__builtin_popcount(k->down[i]);
    return gh_ps2_ring_possible(&k->keys, GH_PS2KBD_QUEUE) && gh_ps2_ring_possible(&k->answer, GH_PS2KBD_ANSWERS) &&
           (k->set == 1 || k->set == 2) && count == k->down_count &&
           (!k->command || k->command == SET_LEDS || k->command == SCAN_SET || k->command == TYPEMATIC);
}

static const struct gh_field ring_fields[] = {
    GH_FIELD(GH_T_U32, struct gh_ps2_ring, head, 1),
    GH_FIELD(GH_T_U32, struct gh_ps2_ring, count, 1),
    {0},
};
const struct gh_field gh_ps2kbd_fields[] = {
    GH_FIELD_ARRAY(GH_T_BYTES, struct gh_ps2kbd, queue, GH_PS2KBD_QUEUE, 1),
    GH_FIELD_ARRAY(GH_T_BYTES, struct gh_ps2kbd, answers, GH_PS2KBD_ANSWERS, 1),
    GH_FIELD_TABLE(struct gh_ps2kbd, keys, struct gh_ps2_ring, ring_fields, 1, 1),
    GH_FIELD_TABLE(struct gh_ps2kbd, answer, struct gh_ps2_ring, ring_fields, 1, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2kbd, command, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2kbd, set, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2kbd, leds, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2kbd, typematic, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2kbd, last, 1),
    GH_FIELD(GH_T_BOOL, struct gh_ps2kbd, scanning, 1),
    GH_FIELD_ARRAY(GH_T_BYTES, struct gh_ps2kbd, down, GH_PS2KBD_KEYS / 8, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2kbd, down_count, 1),
    {0},
};
