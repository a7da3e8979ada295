/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Keyboard controller, keyboard and mouse: commands, sequences in both sets, translation, queues, packets. */
#include "check.h"
#include "fakeboard.h"
#include "devices/input/keymap.h"

#include <linux/input-event-codes.h>

static struct gh_board *b;
static struct gh_device *kbc;
static const struct gh_input_ops *keyboard, *mouse;

/* ---- The guest's side ---- */
static uint8_t status(void) { return fake_inb(b, 0x64); }
static void command(uint8_t v) { fake_outb(b, 0x64, v); }
static void data(uint8_t v) { fake_outb(b, 0x60, v); }
static void command_data(uint8_t c, uint8_t v) { command(c); data(v); }

/* -1: nothing there */
static int get(void) { return status() & 1 ? fake_inb(b, 0x60) : -1; }

static void expect_(int line, const char *bytes, unsigned len)
{
    for (unsigned i = 0; i < len; i++) {
        int v = get();
        if (v != (uint8_t)bytes[i])
            fprintf(stderr, "line %d, byte %u: ", line, i);
        CHECK_EQ(v, (uint8_t)bytes[i]);
    }
    CHECK_EQ(get(), -1);
}
#define EXPECT(text) expect_(__LINE__, text, sizeof text - 1)

static void press(uint16_t code) { keyboard->key(kbc, code, true); }
static void release(uint16_t code) { keyboard->key(kbc, code, false); }

/* ---- Controller ---- */
static void test_controller(void)
{
    CHECK_EQ(status() & 1, 0);
    command(0xaa);
    EXPECT("\x55");
    CHECK(status() & 4);
    command(0xab);
    EXPECT("\0");
    command(0xa9);
    EXPECT("\0");
    command(0xa4);
    EXPECT("\xf1");
    command(0xc0);
    EXPECT("\x80");
    command_data(0x60, 0x47);
    command(0x20);
    EXPECT("\x47");
    command(0xad);
    command(0x20);
    EXPECT("\x57");
    command(0xae);
    command(0xa7);
    command(0x20);
    EXPECT("\x67");
    command(0xa8);
    command_data(0x65, 0x99);
    command(0x25);
    EXPECT("\x99");
    command_data(0xd2, 0x42);
    CHECK(!(status() & 0x20));
    CHECK(fake_irq(b, 1));
    EXPECT("\x42");
    CHECK(!fake_irq(b, 1));
    command_data(0xd3, 0x43);
    CHECK(status() & 0x20);
    CHECK(fake_irq(b, 12));
    EXPECT("\x43");
    uint64_t errors = kbc->guest_errors;
    command(0x99);
    CHECK_EQ(kbc->guest_errors, errors + 1);

    command(0xd0);
    CHECK_EQ(get() & 3, 3);
    command_data(0xd1, 0xdd);             /* A20 off */
    CHECK_EQ(b->requests[GH_REQUEST_A20], 1);
    CHECK_EQ(b->request_arg[GH_REQUEST_A20], 0);
    command(0xd0);
    CHECK_EQ(get() & 3, 1);
    command(0xdf);
    CHECK_EQ(b->request_arg[GH_REQUEST_A20], 1);
    command(0xff);                        /* pulses nothing */
    CHECK_EQ(b->requests[GH_REQUEST_INIT], 0);
    command(0xfe);
    CHECK_EQ(b->requests[GH_REQUEST_INIT], 1);
    command_data(0xd1, 0xde);
    CHECK_EQ(b->requests[GH_REQUEST_INIT], 2);
}

/* ---- Keyboard ---- */
static void test_commands(void)
{
    command_data(0x60, 0x07);             /* no translation */
    data(0xff);
    EXPECT("\xfa\xaa");
    data(0xf2);
    EXPECT("\xfa\xab\x83");
    data(0xee);
    EXPECT("\xee");
    data(0xfe);
    EXPECT("\xee");
    data(0xed);
    EXPECT("\xfa");
    press(KEY_A);                         /* held back until the parameter came */
    CHECK_EQ(get(), -1);
    data(0x07);
    EXPECT("\xfa\x1c");
    release(KEY_A);
    EXPECT("\xf0\x1c");
    data(0xf3);
    data(0x20);
    EXPECT("\xfa\xfa");
    data(0xf0);
    data(0x00);
    EXPECT("\xfa\xfa\x02");
    data(0xf0);
    data(0x03);
    EXPECT("\xfa\xfe");
    data(0xf5);
    EXPECT("\xfa");
    press(KEY_A);
    CHECK_EQ(get(), -1);
    data(0xf4);
    EXPECT("\xfa");
    release(KEY_A);                       /* its press was never seen */
    CHECK_EQ(get(), -1);
    data(0x05);
    EXPECT("\xfe");
}

static void test_sequences(void)
{
    press(KEY_F7);
    release(KEY_F7);
    EXPECT("\x83\xf0\x83");
    press(KEY_UP);
    release(KEY_UP);
    EXPECT("\xe0\x75\xe0\xf0\x75");
    press(KEY_PAUSE);
    release(KEY_PAUSE);
    EXPECT("\xe1\x14\x77\xe1\xf0\x14\xf0\x77");
    press(KEY_SYSRQ);
    release(KEY_SYSRQ);
    EXPECT("\xe0\x12\xe0\x7c\xe0\xf0\x7c\xe0\xf0\x12");
    press(KEY_LEFTALT);
    press(KEY_SYSRQ);
    release(KEY_SYSRQ);
    release(KEY_LEFTALT);
    EXPECT("\x11\x84\xf0\x84\xf0\x11");
    press(KEY_RIGHTCTRL);
    press(KEY_PAUSE);
    release(KEY_PAUSE);
    release(KEY_RIGHTCTRL);
    EXPECT("\xe0\x14\xe0\x7e\xe0\xf0\x7e\xe0\xf0\x14");
    press(KEY_HANGEUL);
    release(KEY_HANGEUL);
    press(KEY_RO);
    EXPECT("\xf2\x51");
    press(KEY_RO);                        /* repeat */
    EXPECT("\x51");
    release(KEY_RO);
    EXPECT("\xf0\x51");
    press(KEY_MAX);
    release(KEY_RESERVED);
    CHECK_EQ(get(), -1);

    command_data(0x60, 0x47);             /* translated */
    press(KEY_PAUSE);
    EXPECT("\xe1\x1d\x45\xe1\x9d\xc5");
    release(KEY_PAUSE);
    press(KEY_F7);
    release(KEY_F7);
    EXPECT("\x41\xc1");
    press(KEY_DELETE);
    release(KEY_DELETE);
    EXPECT("\xe0\x53\xe0\xd3");
    command_data(0x60, 0x07);
    data(0xf0);
    data(0x01);                           /* the keyboard's own set 1 */
    EXPECT("\xfa\xfa");
    press(KEY_DELETE);
    release(KEY_DELETE);
    EXPECT("\xe0\x53\xe0\xd3");
    data(0xf6);
    EXPECT("\xfa");
}

/* evdev numbered its first keys after set 1: every one of them must come out as itself. */
static void test_table(void)
{
    unsigned keys = 0;

    command_data(0x60, 0x47);
    for (uint16_t code = KEY_ESC; code <= KEY_KPDOT; code++) {
        CHECK(gh_keymap_set2(code) != 0);
        press(code);
        CHECK_EQ(get(), code);
        release(code);
        CHECK_EQ(get(), code | 0x80);
    }
    for (uint16_t a = 1; a < 256; a++) {
        unsigned set2 = gh_keymap_set2(a);
        keys += set2 != 0;
        for (uint16_t c = (uint16_t)(a + 1); set2 && c < 256; c++)
            if (gh_keymap_set2(c) == set2)
                CHECK((a == KEY_ZENKAKUHANKAKU && c == KEY_F24) || (a == KEY_CONFIG && c == KEY_MEDIA));
    }
    CHECK(keys > 130);
    CHECK_EQ(gh_keymap_set2(0xffff), 0);
}

/* A long paste: nothing lost, in order, and a full queue never loses a release. */
static void test_queue(void)
{
    for (unsigned i = 0; i < 2000; i++) {
        press((uint16_t)(KEY_Q + i % 10));
        release((uint16_t)(KEY_Q + i % 10));
    }
    for (unsigned i = 0; i < 2000; i++) {
        CHECK_EQ(get(), KEY_Q + i % 10);
        CHECK_EQ(get(), (KEY_Q + i % 10) | 0x80);
    }
    CHECK_EQ(get(), -1);
    press(KEY_LEFTSHIFT);
    for (unsigned i = 0; i < 20000; i++) {
        press(KEY_A);
        release(KEY_A);
    }
    release(KEY_LEFTSHIFT);
    unsigned presses = 0, releases = 0;
    int v, last = -1;
    while ((v = get()) >= 0) {
        presses += v == KEY_A;
        releases += v == (KEY_A | 0x80);
        last = v;
    }
    CHECK(presses > 4000 && presses == releases);
    CHECK_EQ(last, KEY_LEFTSHIFT | 0x80);
}

/* ---- Mouse ---- */
static void to_mouse(uint8_t v) { command_data(0xd4, v); }

static void test_mouse(void)
{
    CHECK(!mouse->active(kbc));
    to_mouse(0xff);
    CHECK(status() & 0x20);
    EXPECT("\xfa\xaa\x00");
    to_mouse(0xf2);
    EXPECT("\xfa\x00");
    to_mouse(0xe8);
    to_mouse(0x03);
    EXPECT("\xfa\xfa");
    to_mouse(0xe8);
    to_mouse(0x04);
    EXPECT("\xfa\xfc");
    to_mouse(0xe9);
    EXPECT("\xfa\x00\x03\x64");
    mouse->relative(kbc, 5, 5, 0);        /* not reporting */
    mouse->sync(kbc);
    CHECK_EQ(get(), -1);
    to_mouse(0xf4);
    EXPECT("\xfa");
    CHECK(mouse->active(kbc));
    mouse->relative(kbc, 5, 3, 0);
    mouse->relative(kbc, 1, -1, 0);
    fake_irq_take(b, 12);
    mouse->sync(kbc);
    CHECK_EQ(fake_irq_take(b, 12), 1);
    EXPECT("\x28\x06\xfe");
    mouse->sync(kbc);
    CHECK_EQ(get(), -1);
    mouse->button(kbc, BTN_LEFT, true);
    mouse->button(kbc, BTN_LEFT, false);  /* a click within one report is still a click */
    mouse->sync(kbc);
    EXPECT("\x09\0\0\x08\0\0");
    mouse->button(kbc, BTN_RIGHT, true);
    mouse->relative(kbc, -300, 0, 0);
    mouse->sync(kbc);
    EXPECT("\x1a\x01\0\x1a\xd3\0");
    mouse->button(kbc, BTN_RIGHT, false);
    mouse->sync(kbc);
    EXPECT("\x08\0\0");

    static const uint8_t wheel_knock[] = {200, 100, 80}, five_knock[] = {200, 200, 80};
    for (unsigned i = 0; i < 3; i++) {
        to_mouse(0xf3);
        to_mouse(wheel_knock[i]);
        EXPECT("\xfa\xfa");
    }
    to_mouse(0xf2);
    EXPECT("\xfa\x03");
    mouse->relative(kbc, 0, 0, 1);        /* away from the user */
    mouse->sync(kbc);
    EXPECT("\x08\0\0\xff");
    for (unsigned i = 0; i < 3; i++) {
        to_mouse(0xf3);
        to_mouse(five_knock[i]);
        EXPECT("\xfa\xfa");
    }
    to_mouse(0xf2);
    EXPECT("\xfa\x04");
    mouse->button(kbc, BTN_SIDE, true);
    mouse->relative(kbc, 0, 0, -1);
    mouse->sync(kbc);
    EXPECT("\x08\0\0\x11");
    mouse->button(kbc, BTN_SIDE, false);
    mouse->sync(kbc);
    EXPECT("\x08\0\0\0");

    to_mouse(0xe7);
    EXPECT("\xfa");
    mouse->relative(kbc, 4, 0, 0);
    mouse->sync(kbc);
    EXPECT("\x08\x06\0\0");
    to_mouse(0xe6);
    EXPECT("\xfa");
    to_mouse(0xee);
    to_mouse(0x42);
    EXPECT("\xfa\x42");
    to_mouse(0xec);
    EXPECT("\xfa");
    to_mouse(0xf0);                       /* remote */
    mouse->relative(kbc, 7, 0, 0);
    mouse->sync(kbc);
    EXPECT("\xfa");
    to_mouse(0xeb);
    EXPECT("\xfa\x08\x07\0\0");
    to_mouse(0xea);
    EXPECT("\xfa");
    to_mouse(0x11);
    EXPECT("\xfe");
}

/* The guest does not read: motion adds up, nothing overflows, the sum comes out right. */
static void test_mouse_flood(void)
{
    long x = 0;

    for (unsigned i = 0; i < 10000; i++) {
        mouse->relative(kbc, 3, 0, 0);
        mouse->sync(kbc);
    }
    for (int v; (v = get()) >= 0;) {
        int dx = get();
        get();
        get();
        x += v & 0x10 ? dx - 256 : dx;
    }
    CHECK_EQ(x, 30000);
    for (unsigned i = 0; i < 5000; i++) {
        mouse->button(kbc, BTN_LEFT, i & 1);
        mouse->sync(kbc);
    }
    unsigned bytes = 0;
    while (get() >= 0)
        bytes++;
    CHECK(bytes <= 600 && bytes % 4 == 0);
}

static void test_both_and_state(void)
{
    mouse->relative(kbc, 1, 0, 0);
    mouse->sync(kbc);                     /* the mouse's byte is in the buffer */
    press(KEY_A);
    CHECK(status() & 0x20);
    get();
    CHECK(!(status() & 0x20));            /* the keyboard goes before the rest of the packet */
    struct gh_state_buffer saved = {0};
    fake_save(b, &saved);
    fake_reset(b, GH_RESET_COLD);
    CHECK_EQ(get(), -1);
    CHECK_EQ(fake_load(b, saved.data, saved.len, NULL), 0);
    CHECK_EQ(get(), KEY_A);
    EXPECT("\x01\0\0");
    release(KEY_A);
    EXPECT("\x9e");
    command_data(0x60, 0x77);             /* both clocks off */
    press(KEY_A);
    mouse->relative(kbc, 1, 0, 0);
    mouse->sync(kbc);
    CHECK_EQ(get(), -1);
    command(0xae);
    EXPECT("\x1e");
    gh_state_buffer_fini(&saved);
}

int main(void)
{
    b = fake_board_new();
    kbc = fake_add(b, "i8042", "kbc", NULL);
    keyboard = fake_input(b, GH_INPUT_KEYBOARD, NULL);
    mouse = fake_input(b, GH_INPUT_RELATIVE, NULL);
    CHECK_FATAL(keyboard && mouse);
    test_controller();
    test_commands();
    test_sequences();
    test_table();
    test_queue();
    test_mouse();
    test_mouse_flood();
    test_both_and_state();
    fake_board_free(b);
    return check_result();
}
