/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/input/ps2mouse.h"

#include <linux/input-event-codes.h>

enum {
    SCALING_1_1 = 0xe6, SCALING_2_1 = 0xe7, RESOLUTION = 0xe8, STATUS = 0xe9, STREAM = 0xea, READ_DATA = 0xeb,
    WRAP_OFF = 0xec, WRAP_ON = 0xee, REMOTE = 0xf0, IDENTIFY = 0xf2, RATE = 0xf3, ENABLE = 0xf4, DISABLE = 0xf5,
    DEFAULTS = 0xf6, RESEND = 0xfe, RESET = 0xff,
};
enum { ACK = 0xfa, NAK = 0xfc, SELF_TEST_PASSED = 0xaa };
enum { ID_PLAIN = 0, ID_WHEEL = 3, ID_FIVE_BUTTONS = 4 };
enum { LEFT = 1, RIGHT = 2, MIDDLE = 4, SIDE = 8, EXTRA = 16 };
enum { PACKET_ALWAYS = 0x08, PACKET_X_SIGN = 0x10, PACKET_Y_SIGN = 0x20 };
enum { PACKET_BYTES = 4, MOTION_QUEUE = 16, MOTION_MAX = 1 << 20 };

/* ---- Packets ----------------------------------------------------------------------------------------- */

static int32_t clamp(int64_t v, int32_t most)
{
    return (int32_t)(v > most ? most : v < -most ? -most : v);
}

/* As the specification's table for 2:1. */
static int32_t scale(int32_t v)
{
    static const uint8_t small[6] = {0, 1, 1, 3, 6, 9};
    int32_t size = v < 0 ? -v : v;

    size = size < 6 ? small[size] : size * 2;
    return v < 0 ? -size : size;
}

/* Takes as much motion as fits into one packet. */
static unsigned make_packet(struct gh_ps2mouse *m, uint8_t packet[PACKET_BYTES], bool scaled)
{
    int32_t most = scaled ? 127 : 255, most_z = m->id == ID_FIVE_BUTTONS ? 7 : 127;
    int32_t dx = clamp((int32_t)m->dx, most), dy = clamp((int32_t)m->dy, most), dz = clamp((int32_t)m->dz, most_z);

    m->dx -= (uint32_t)dx;
    m->dy -= (uint32_t)dy;
    m->dz -= (uint32_t)dz;
    m->sent_buttons = m->buttons;
    if (scaled) {
        dx = scale(dx);
        dy = scale(dy);
    }
    packet[0] = (uint8_t)(PACKET_ALWAYS | (m->buttons & 7) | (dx < 0 ? PACKET_X_SIGN : 0) | (dy < 0 ? PACKET_Y_SIGN : 0));
    packet[1] = (uint8_t)dx;
    packet[2] = (uint8_t)dy;
    packet[3] = (uint8_t)dz;
    if (m->id == ID_FIVE_BUTTONS)
        packet[3] = (uint8_t)((dz & 15) | (m->buttons & (SIDE | EXTRA)) << 1);
    return m->id == ID_PLAIN ? 3 : 4;
}

static bool something_new(const struct gh_ps2mouse *m)
{
    uint8_t seen = m->id == ID_FIVE_BUTTONS ? 0x1f : 7;

    return m->dx || m->dy || (m->id != ID_PLAIN && m->dz) || ((m->buttons ^ m->sent_buttons) & seen);
}

/* Clicks are queued at once; motion only while little is queued, so that it does not lag behind. */
static void report(struct gh_ps2mouse *m)
{
    uint8_t packet[PACKET_BYTES];

    if (!m->reporting || m->remote || m->wrap)
        return;
    while (something_new(m)) {
        uint32_t most = m->buttons != m->sent_buttons ? GH_PS2MOUSE_QUEUE : MOTION_QUEUE;
        if (m->packets.count + PACKET_BYTES > most)
            break;
        unsigned n = make_packet(m, packet, m->scaling);
        for (unsigned i = 0; i < n; i++)
            gh_ps2_ring_push(&m->packets, m->queue, GH_PS2MOUSE_QUEUE, packet[i]);
    }
}

void gh_ps2mouse_move(struct gh_ps2mouse *m, int32_t dx, int32_t dy, int32_t wheel)
{
    if (!m->reporting)
        return;
    m->dx = (uint32_t)clamp((int64_t)(int32_t)m->dx + dx, MOTION_MAX);
    m->dy = (uint32_t)clamp((int64_t)(int32_t)m->dy - dy, MOTION_MAX);
    m->dz = (uint32_t)clamp((int64_t)(int32_t)m->dz - wheel, MOTION_MAX);
}

void gh_ps2mouse_button(struct gh_ps2mouse *m, uint16_t evdev, bool down)
{
    uint8_t bit = evdev == BTN_LEFT ? LEFT : evdev == BTN_RIGHT ? RIGHT : evdev == BTN_MIDDLE ? MIDDLE
                : evdev == BTN_SIDE ? SIDE : evdev == BTN_EXTRA ? EXTRA : 0;
    uint8_t buttons = (uint8_t)(down ? m->buttons | bit : m->buttons & ~bit);

    if (buttons == m->buttons)
        return;
    if ((m->buttons ^ m->sent_buttons) & bit)
        report(m);                        /* a second change must not hide the first */
    m->buttons = buttons;
}

void gh_ps2mouse_sync(struct gh_ps2mouse *m)
{
    report(m);
}

/* ---- Commands ---------------------------------------------------------------------------------------- */

static void answer(struct gh_ps2mouse *m, uint8_t byte)
{
    gh_ps2_ring_push(&m->answer, m->answers, GH_PS2MOUSE_ANSWERS, byte);
}

static void forget_motion(struct gh_ps2mouse *m)
{
    m->packets = (struct gh_ps2_ring){0};
    m->dx = m->dy = m->dz = 0;
    m->sent_buttons = m->buttons;
}

static void defaults(struct gh_ps2mouse *m)
{
    forget_motion(m);
    m->rate = 100;
    m->resolution = 2;
    m->reporting = m->remote = m->wrap = m->scaling = false;
}

void gh_ps2mouse_reset(struct gh_ps2mouse *m)
{
    defaults(m);
    m->answer = (struct gh_ps2_ring){0};
    m->command = m->knock = m->last = 0;
    m->id = ID_PLAIN;
}

/* The knock by which a driver asks for more than a plain mouse. */
enum { KNOCK_NONE, KNOCK_200, KNOCK_200_100, KNOCK_200_200 };

static void set_rate(struct gh_ps2mouse *m, uint8_t rate)
{
    uint8_t before = m->knock;

    m->rate = rate;
    m->knock = KNOCK_NONE;
    if (rate == 200)
        m->knock = before == KNOCK_200 || before == KNOCK_200_200 ? KNOCK_200_200 : KNOCK_200;
    else if (rate == 100 && before != KNOCK_NONE && before != KNOCK_200_100)
        m->knock = KNOCK_200_100;
    else if (rate == 80 && before == KNOCK_200_100)
        m->id = ID_WHEEL;
    else if (rate == 80 && before == KNOCK_200_200)
        m->id = ID_FIVE_BUTTONS;
}

static void send_status(struct gh_ps2mouse *m)
{
    answer(m, (uint8_t)(m->remote << 6 | m->reporting << 5 | m->scaling << 4 | (m->buttons & LEFT ? 4 : 0) |
                        (m->buttons & MIDDLE ? 2 : 0) | (m->buttons & RIGHT ? 1 : 0)));
    answer(m, m->resolution);
    answer(m, m->rate);
}

static void command(struct gh_ps2mouse *m, uint8_t byte)
{
    uint8_t packet[PACKET_BYTES];

    if (byte == RESET) {
        gh_ps2mouse_reset(m);
        answer(m, ACK);
        answer(m, SELF_TEST_PASSED);
        answer(m, m->id);
        return;
    }
    if (byte == RESEND) {
        answer(m, m->last);
        return;
    }
    answer(m, ACK);
    switch (byte) {
    case SCALING_1_1: m->scaling = false; break;
    case SCALING_2_1: m->scaling = true; break;
    case RATE:
    case RESOLUTION:  m->command = byte; break;
    case STATUS:      send_status(m); break;
    case STREAM:      m->remote = false; forget_motion(m); break;
    case REMOTE:      m->remote = true; forget_motion(m); break;
    case WRAP_OFF:    break;
    case WRAP_ON:     m->wrap = true; break;
    case IDENTIFY:    answer(m, m->id); break;
    case ENABLE:      m->reporting = true; forget_motion(m); break;
    case DISABLE:     m->reporting = false; forget_motion(m); break;
    case DEFAULTS:    defaults(m); break;
    case READ_DATA: {
        unsigned n = make_packet(m, packet, false);
        for (unsigned i = 0; i < n; i++)
            answer(m, packet[i]);
        break;
    }
    default:                              /* replace the acknowledge */
        m->answer.count--;
        answer(m, RESEND);
        break;
    }
}

void gh_ps2mouse_write(struct gh_ps2mouse *m, uint8_t byte)
{
    uint8_t waiting = m->command;

    if (m->wrap && byte != RESET) {
        m->wrap = byte != WRAP_OFF;
        answer(m, m->wrap ? byte : ACK);
        return;
    }
    m->command = 0;
    if (waiting == RATE) {
        set_rate(m, byte);
        answer(m, ACK);
    } else if (waiting == RESOLUTION && byte > 3) {
        answer(m, NAK);
    } else if (waiting == RESOLUTION) {
        m->resolution = byte;
        answer(m, ACK);
    } else {
        command(m, byte);
    }
}

bool gh_ps2mouse_read(struct gh_ps2mouse *m, uint8_t *ret)
{
    if (!gh_ps2_ring_pop(&m->answer, m->answers, GH_PS2MOUSE_ANSWERS, ret)) {
        if (m->command || !gh_ps2_ring_pop(&m->packets, m->queue, GH_PS2MOUSE_QUEUE, ret))
            return false;
        if (!m->packets.count)
            report(m);
    }
    m->last = *ret;
    return true;
}

/* ---- Saved state --------------------------------------------------------------------------------------- */

bool gh_ps2mouse_possible(const struct gh_ps2mouse *m)
{
    return gh_ps2_ring_possible(&m->packets, GH_PS2MOUSE_QUEUE) && gh_ps2_ring_possible(&m->answer, GH_PS2MOUSE_ANSWERS) &&
           (m->id == ID_PLAIN || m->id == ID_WHEEL || m->id == ID_FIVE_BUTTONS) && m->knock <= KNOCK_200_200 &&
           (!m->command || m->command == RATE || m->command == RESOLUTION) && m->buttons < 32 &&
           clamp((int32_t)m->dx, MOTION_MAX) == (int32_t)m->dx && clamp((int32_t)m->dy, MOTION_MAX) == (int32_t)m->dy &&
           clamp((int32_t)m->dz, MOTION_MAX) == (int32_t)m->dz;
}

static const struct gh_field ring_fields[] = {
    GH_FIELD(GH_T_U32, struct gh_ps2_ring, head, 1),
    GH_FIELD(GH_T_U32, struct gh_ps2_ring, count, 1),
    {0},
};
const struct gh_field gh_ps2mouse_fields[] = {
    GH_FIELD_ARRAY(GH_T_BYTES, struct gh_ps2mouse, queue, GH_PS2MOUSE_QUEUE, 1),
    GH_FIELD_ARRAY(GH_T_BYTES, struct gh_ps2mouse, answers, GH_PS2MOUSE_ANSWERS, 1),
    GH_FIELD_TABLE(struct gh_ps2mouse, packets, struct gh_ps2_ring, ring_fields, 1, 1),
    GH_FIELD_TABLE(struct gh_ps2mouse, answer, struct gh_ps2_ring, ring_fields, 1, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2mouse, command, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2mouse, last, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2mouse, id, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2mouse, rate, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2mouse, resolution, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2mouse, knock, 1),
    GH_FIELD(GH_T_BOOL, struct gh_ps2mouse, reporting, 1),
    GH_FIELD(GH_T_BOOL, struct gh_ps2mouse, remote, 1),
    GH_FIELD(GH_T_BOOL, struct gh_ps2mouse, wrap, 1),
    GH_FIELD(GH_T_BOOL, struct gh_ps2mouse, scaling, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2mouse, buttons, 1),
    GH_FIELD(GH_T_U8, struct gh_ps2mouse, sent_buttons, 1),
    GH_FIELD(GH_T_U32, struct gh_ps2mouse, dx, 1),
    GH_FIELD(GH_T_U32, struct gh_ps2mouse, dy, 1),
    GH_FIELD(GH_T_U32, struct gh_ps2mouse, dz, 1),
    {0},
};
