/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/keys.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"

static const struct { const char *name; uint16_t code; } names[] = {
    { "esc", KEY_ESC }, { "minus", KEY_MINUS }, { "equal", KEY_EQUAL }, { "backspace", KEY_BACKSPACE },
    { "tab", KEY_TAB }, { "leftbrace", KEY_LEFTBRACE }, { "rightbrace", KEY_RIGHTBRACE },
    { "enter", KEY_ENTER }, { "ret", KEY_ENTER }, { "return", KEY_ENTER }, { "ctrl", KEY_LEFTCTRL },
    { "leftctrl", KEY_LEFTCTRL }, { "rightctrl", KEY_RIGHTCTRL }, { "semicolon", KEY_SEMICOLON },
    { "apostrophe", KEY_APOSTROPHE }, { "grave", KEY_GRAVE }, { "shift", KEY_LEFTSHIFT },
    { "leftshift", KEY_LEFTSHIFT }, { "rightshift", KEY_RIGHTSHIFT }, { "backslash", KEY_BACKSLASH },
    { "comma", KEY_COMMA }, { "dot", KEY_DOT }, { "slash", KEY_SLASH }, { "alt", KEY_LEFTALT },
    { "leftalt", KEY_LEFTALT }, { "altgr", KEY_RIGHTALT }, { "rightalt", KEY_RIGHTALT },
    { "space", KEY_SPACE }, { "spc", KEY_SPACE }, { "capslock", KEY_CAPSLOCK }, { "numlock", KEY_NUMLOCK },
    { "scrolllock", KEY_SCROLLLOCK }, { "102nd", KEY_102ND }, { "home", KEY_HOME }, { "up", KEY_UP },
    { "pageup", KEY_PAGEUP }, { "pgup", KEY_PAGEUP }, { "left", KEY_LEFT }, { "right", KEY_RIGHT },
    { "end", KEY_END }, { "down", KEY_DOWN }, { "pagedown", KEY_PAGEDOWN }, { "pgdn", KEY_PAGEDOWN },
    { "insert", KEY_INSERT }, { "delete", KEY_DELETE }, { "del", KEY_DELETE }, { "pause", KEY_PAUSE },
    { "print", KEY_SYSRQ }, { "sysrq", KEY_SYSRQ }, { "super", KEY_LEFTMETA }, { "meta", KEY_LEFTMETA },
    { "win", KEY_LEFTMETA }, { "rightmeta", KEY_RIGHTMETA }, { "menu", KEY_COMPOSE }, { "power", KEY_POWER },
    { "mute", KEY_MUTE }, { "volumeup", KEY_VOLUMEUP }, { "volumedown", KEY_VOLUMEDOWN },
    { "kpasterisk", KEY_KPASTERISK }, { "kpminus", KEY_KPMINUS }, { "kpplus", KEY_KPPLUS },
    { "kpdot", KEY_KPDOT }, { "kpslash", KEY_KPSLASH }, { "kpenter", KEY_KPENTER },
    { "kp0", KEY_KP0 }, { "kp1", KEY_KP1 }, { "kp2", KEY_KP2 }, { "kp3", KEY_KP3 }, { "kp4", KEY_KP4 },
    { "kp5", KEY_KP5 }, { "kp6", KEY_KP6 }, { "kp7", KEY_KP7 }, { "kp8", KEY_KP8 }, { "kp9", KEY_KP9 },
    { "f1", KEY_F1 }, { "f2", KEY_F2 }, { "f3", KEY_F3 }, { "f4", KEY_F4 }, { "f5", KEY_F5 },
    { "f6", KEY_F6 }, { "f7", KEY_F7 }, { "f8", KEY_F8 }, { "f9", KEY_F9 }, { "f10", KEY_F10 },
    { "f11", KEY_F11 }, { "f12", KEY_F12 },
};

/* The rows of a US keyboard: code of the first key, plain and shifted characters. */
static const struct { uint16_t first; const char *plain, *shifted; } rows[] = {
    { KEY_1, "1234567890-=", "!@#$%^&*()_+" },
    { KEY_Q, "qwertyuiop[]\n", "QWERTYUIOP{}" },
    { KEY_A, "asdfghjkl;'`", "ASDFGHJKL:\"~" },
    { KEY_BACKSLASH, "\\zxcvbnm,./", "|ZXCVBNM<>?" },
    { KEY_SPACE, " ", "" },
    { KEY_TAB, "\t", "" },
};

static uint16_t char_code(char c, bool *ret_shift)
{
    for (unsigned i = 0; i < GH_ARRAY_LEN(rows); i++) {
        const char *p = c ? strchr(rows[i].plain, c) : NULL;
        *ret_shift = false;
        if (p)
            return (uint16_t)(rows[i].first + (p - rows[i].plain));
        p = c ? strchr(rows[i].shifted, c) : NULL;
        *ret_shift = true;
        if (p)
            return (uint16_t)(rows[i].first + (p - rows[i].shifted));
    }
    return 0;
}

uint16_t gh_key_code(const char *name, size_t len)
{
    bool shift;

    for (unsigned i = 0; i < GH_ARRAY_LEN(names); i++)
        if (strlen(names[i].name) == len && !strncasecmp(name, names[i].name, len))
            return names[i].code;
    if (len == 1 && ((*name >= '0' && *name <= '9') || (*name >= 'a' && *name <= 'z')))
        return char_code(*name, &shift);
    return len == 1 && *name >= 'A' && *name <= 'Z' ? char_code((char)(*name | 0x20), &shift) : 0;
}

static int push(struct gh_key_change *list, size_t *count, size_t max, uint16_t code, bool down,
                struct gh_error *err)
{
    if (*count >= max)
        return gh_error_set(err, -E2BIG, "TooManyKeys", "More than %zu key changes in one request; send "
                            "them in parts.", max);
    list[(*count)++] = (struct gh_key_change){ code, down };
    return 0;
}

int gh_keys_parse(const char *keys, struct gh_key_change *list, size_t *count, size_t max, struct gh_error *err)
{
    while (*keys) {
        uint16_t held[8];
        unsigned n = 0;
        int      r = 0;
        while (*keys == ' ')
            keys++;
        while (*keys && *keys != ' ') {
            size_t   len = strcspn(keys, "- ");
            uint16_t code = gh_key_code(keys, len);
            if (!code || n == GH_ARRAY_LEN(held))
                return gh_error_option(err, -EINVAL, "KeyUnknown", "keys", "No key is named \"%.*s\"; "
                                       "names are like ctrl, alt, delete, f1, ret, a.",
                                       (int)(len < 40 ? len : 40), keys);
            held[n++] = code;
            r = push(list, count, max, code, true, err);
            if (r)
                return r;
            keys += len;
            keys += *keys == '-';
        }
        while (n && !r)
            r = push(list, count, max, held[--n], false, err);
        if (r)
            return r;
    }
    return 0;
}

int gh_keys_type(const char *text, struct gh_key_change *list, size_t *count, size_t max, struct gh_error *err)
{
    for (; *text; text++) {
        bool     shift;
        uint16_t code = char_code(*text, &shift);
        if (!code)
            return gh_error_option(err, -EINVAL, "KeyUnknown", "text", "The character %#x is not on a US "
                                   "keyboard; only those can be typed.", (unsigned char)*text);
        int r = shift ? push(list, count, max, KEY_LEFTSHIFT, true, err) : 0;
        if (!r)
            r = push(list, count, max, code, true, err);
        if (!r)
            r = push(list, count, max, code, false, err);
        if (!r && shift)
            r = push(list, count, max, KEY_LEFTSHIFT, false, err);
        if (r)
            return r;
    }
    return 0;
}
