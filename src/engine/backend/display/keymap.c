/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/display/keymap.h"

#include <linux/input-event-codes.h>

/* Numbers 1-58h are evdev codes themselves, apart from these few. */
static const uint8_t from_xt[256] = {
    [0x54] = KEY_SYSRQ, [0x59] = KEY_KPEQUAL,
    [0x64] = KEY_F13, [0x65] = KEY_F14, [0x66] = KEY_F15, [0x67] = KEY_F16, [0x68] = KEY_F17, [0x69] = KEY_F18,
    [0x6a] = KEY_F19, [0x6b] = KEY_F20, [0x6c] = KEY_F21, [0x6d] = KEY_F22, [0x6e] = KEY_F23, [0x76] = KEY_F24,
    [0x70] = KEY_KATAKANAHIRAGANA, [0x73] = KEY_RO, [0x77] = KEY_HIRAGANA, [0x78] = KEY_KATAKANA,
    [0x79] = KEY_HENKAN, [0x7b] = KEY_MUHENKAN, [0x7d] = KEY_YEN, [0x7e] = KEY_KPCOMMA,
    [0xf1] = KEY_HANJA, [0xf2] = KEY_HANGEUL,
    [0x90] = KEY_PREVIOUSSONG, [0x99] = KEY_NEXTSONG, [0x9c] = KEY_KPENTER, [0x9d] = KEY_RIGHTCTRL,
    [0xa0] = KEY_MUTE, [0xa1] = KEY_CALC, [0xa2] = KEY_PLAYPAUSE, [0xa4] = KEY_STOPCD, [0xae] = KEY_VOLUMEDOWN,
    [0xb0] = KEY_VOLUMEUP, [0xb2] = KEY_HOMEPAGE, [0xb5] = KEY_KPSLASH, [0xb7] = KEY_SYSRQ, [0xb8] = KEY_RIGHTALT,
    [0xc6] = KEY_PAUSE, [0xc7] = KEY_HOME, [0xc8] = KEY_UP, [0xc9] = KEY_PAGEUP, [0xcb] = KEY_LEFT,
    [0xcd] = KEY_RIGHT, [0xcf] = KEY_END, [0xd0] = KEY_DOWN, [0xd1] = KEY_PAGEDOWN, [0xd2] = KEY_INSERT,
    [0xd3] = KEY_DELETE, [0xdb] = KEY_LEFTMETA, [0xdc] = KEY_RIGHTMETA, [0xdd] = KEY_COMPOSE, [0xde] = KEY_POWER,
    [0xdf] = KEY_SLEEP, [0xe3] = KEY_WAKEUP, [0xe5] = KEY_SEARCH, [0xe6] = KEY_BOOKMARKS, [0xe7] = KEY_REFRESH,
    [0xe8] = KEY_STOP, [0xe9] = KEY_FORWARD, [0xea] = KEY_BACK, [0xeb] = KEY_COMPUTER, [0xec] = KEY_MAIL,
    [0xed] = KEY_MEDIA,
};

uint16_t gh_evdev_from_xt(uint32_t xt)
{
    if (xt >= 256)
        return 0;
    if (from_xt[xt])
        return from_xt[xt];
    return xt >= KEY_ESC && xt <= KEY_F12 ? (uint16_t)xt : 0;
}

uint32_t gh_xt_from_evdev(uint16_t code)
{
    if (!code)
        return 0;
    if (code <= KEY_F12)
        return code == KEY_ZENKAKUHANKAKU ? 0 : code;
    for (uint32_t xt = 0; xt < 256; xt++)
        if (from_xt[xt] == code)
            return xt;
    return 0;
}

/* US keyboard: unshifted and shifted symbol of each printing key. */
static const struct { char plain, shifted; uint8_t code; } printing[] = {
    { '1', '!', KEY_1 }, { '2', '@', KEY_2 }, { '3', '#', KEY_3 }, { '4', '$', KEY_4 }, { '5', '%', KEY_5 },
    { '6', '^', KEY_6 }, { '7', '&', KEY_7 }, { '8', '*', KEY_8 }, { '9', '(', KEY_9 }, { '0', ')', KEY_0 },
    { '-', '_', KEY_MINUS }, { '=', '+', KEY_EQUAL }, { '[', '{', KEY_LEFTBRACE }, { ']', '}', KEY_RIGHTBRACE },
    { ';', ':', KEY_SEMICOLON }, { '\'', '"', KEY_APOSTROPHE }, { '`', '~', KEY_GRAVE }, { '\\', '|', KEY_BACKSLASH },
    { ',', '<', KEY_COMMA }, { '.', '>', KEY_DOT }, { '/', '?', KEY_SLASH },
};

static const uint8_t letters[26] = {
    KEY_A, KEY_B, KEY_C, KEY_D, KEY_E, KEY_F, KEY_G, KEY_H, KEY_I, KEY_J, KEY_K, KEY_L, KEY_M,
    KEY_N, KEY_O, KEY_P, KEY_Q, KEY_R, KEY_S, KEY_T, KEY_U, KEY_V, KEY_W, KEY_X, KEY_Y, KEY_Z,
};

static const struct { uint16_t keysym; uint8_t code; } special[] = {
    { 0x20, KEY_SPACE }, { 0xff08, KEY_BACKSPACE }, { 0xff09, KEY_TAB }, { 0xfe20, KEY_TAB }, { 0xff0d, KEY_ENTER },
    { 0xff13, KEY_PAUSE }, { 0xff14, KEY_SCROLLLOCK }, { 0xff15, KEY_SYSRQ }, { 0xff1b, KEY_ESC },
    { 0xff50, KEY_HOME }, { 0xff51, KEY_LEFT }, { 0xff52, KEY_UP }, { 0xff53, KEY_RIGHT }, { 0xff54, KEY_DOWN },
    { 0xff55, KEY_PAGEUP }, { 0xff56, KEY_PAGEDOWN }, { 0xff57, KEY_END }, { 0xff61, KEY_SYSRQ },
    { 0xff63, KEY_INSERT }, { 0xff67, KEY_COMPOSE }, { 0xff6b, KEY_PAUSE }, { 0xff7e, KEY_RIGHTALT },
    { 0xff7f, KEY_NUMLOCK }, { 0xff8d, KEY_KPENTER }, { 0xff95, KEY_KP7 }, { 0xff96, KEY_KP4 }, { 0xff97, KEY_KP8 },
    { 0xff98, KEY_KP6 }, { 0xff99, KEY_KP2 }, { 0xff9a, KEY_KP9 }, { 0xff9b, KEY_KP3 }, { 0xff9c, KEY_KP1 },
    { 0xff9d, KEY_KP5 }, { 0xff9e, KEY_KP0 }, { 0xff9f, KEY_KPDOT }, { 0xffaa, KEY_KPASTERISK },
    { 0xffab, KEY_KPPLUS }, { 0xffac, KEY_KPCOMMA }, { 0xffad, KEY_KPMINUS }, { 0xffae, KEY_KPDOT },
    { 0xffaf, KEY_KPSLASH }, { 0xffb0, KEY_KP0 }, { 0xffb1, KEY_KP1 }, { 0xffb2, KEY_KP2 }, { 0xffb3, KEY_KP3 },
    { 0xffb4, KEY_KP4 }, { 0xffb5, KEY_KP5 }, { 0xffb6, KEY_KP6 }, { 0xffb7, KEY_KP7 }, { 0xffb8, KEY_KP8 },
    { 0xffb9, KEY_KP9 }, { 0xffbd, KEY_KPEQUAL }, { 0xffbe, KEY_F1 }, { 0xffbf, KEY_F2 }, { 0xffc0, KEY_F3 },
    { 0xffc1, KEY_F4 }, { 0xffc2, KEY_F5 }, { 0xffc3, KEY_F6 }, { 0xffc4, KEY_F7 }, { 0xffc5, KEY_F8 },
    { 0xffc6, KEY_F9 }, { 0xffc7, KEY_F10 }, { 0xffc8, KEY_F11 }, { 0xffc9, KEY_F12 }, { 0xffe1, KEY_LEFTSHIFT },
    { 0xffe2, KEY_RIGHTSHIFT }, { 0xffe3, KEY_LEFTCTRL }, { 0xffe4, KEY_RIGHTCTRL }, { 0xffe5, KEY_CAPSLOCK },
    { 0xffe7, KEY_LEFTALT }, { 0xffe8, KEY_RIGHTALT }, { 0xffe9, KEY_LEFTALT }, { 0xffea, KEY_RIGHTALT },
    { 0xffeb, KEY_LEFTMETA }, { 0xffec, KEY_RIGHTMETA }, { 0xfe03, KEY_RIGHTALT }, { 0xffff, KEY_DELETE },
};

uint16_t gh_evdev_from_keysym(uint32_t keysym, enum gh_keysym_shift *ret_shift)
{
    *ret_shift = GH_SHIFT_ANY;
    if ((keysym | 0x20) >= 'a' && (keysym | 0x20) <= 'z') {
        *ret_shift = keysym & 0x20 ? GH_SHIFT_LETTER_UP : GH_SHIFT_LETTER_DOWN;
        return letters[(keysym | 0x20) - 'a'];
    }
    for (unsigned i = 0; i < sizeof printing / sizeof printing[0]; i++)
        if (keysym == (uint8_t)printing[i].plain || keysym == (uint8_t)printing[i].shifted) {
            *ret_shift = keysym == (uint8_t)printing[i].plain ? GH_SHIFT_UP : GH_SHIFT_DOWN;
            return printing[i].code;
        }
    for (unsigned i = 0; i < sizeof special / sizeof special[0]; i++)
        if (special[i].keysym == keysym)
            return special[i].code;
    return 0;
}
