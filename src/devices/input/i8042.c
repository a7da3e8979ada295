/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The 8042 keyboard controller of a PS/2 PC at 60h and 64h, with a keyboard (IRQ 1) and a mouse
 * (IRQ 12) plugged in. Specification: IBM PS/2 hardware interface, keyboard controller.
 *
 * Modelled: the command byte with both interrupts, both clocks and translation, the controller's 32
 * bytes of memory, self and interface tests, output port with A20 and reset, pulses, writes into
 * either output buffer. Answers of the controller go first, then the keyboard's bytes, then the
 * mouse's; a byte follows as soon as the one before was read.
 * Left out: the pace of the serial lines, the password, the key lock, time-outs.
 */
#include <errno.h>

#include "devices/chipset/port92.h"
#include "devices/classes.h"
#include "devices/input/keymap.h"
#include "devices/input/ps2kbd.h"
#include "devices/input/ps2mouse.h"

enum { RANGE_DATA, RANGE_COMMAND };
enum { STATUS_OBF = 0x01, STATUS_SYS = 0x04, STATUS_COMMAND = 0x08, STATUS_UNLOCKED = 0x10, STATUS_AUX = 0x20 };
enum { CTR_KBD_INT = 0x01, CTR_AUX_INT = 0x02, CTR_SYS = 0x04, CTR_KBD_OFF = 0x10, CTR_AUX_OFF = 0x20,
       CTR_TRANSLATE = 0x40 };
enum {
    READ_RAM = 0x20, WRITE_RAM = 0x60, AUX_OFF = 0xa7, AUX_ON = 0xa8, AUX_TEST = 0xa9, SELF_TEST = 0xaa,
    KBD_TEST = 0xab, KBD_OFF = 0xad, KBD_ON = 0xae, READ_INPUT = 0xc0, READ_OUTPUT = 0xd0, WRITE_OUTPUT = 0xd1,
    WRITE_KBD_BUFFER = 0xd2, WRITE_AUX_BUFFER = 0xd3, WRITE_AUX = 0xd4, A20_OFF = 0xdd, A20_ON = 0xdf,
    READ_TEST = 0xe0, PULSE = 0xf0, PASSWORD_TEST = 0xa4,
};
enum { OUTPUT_NOT_RESET = 0x01, OUTPUT_A20 = 0x02, OUTPUT_OBF = 0x10, OUTPUT_AUX_OBF = 0x20, OUTPUT_IDLE = 0xcc };
enum { SELF_TEST_OK = 0x55, TEST_OK = 0x00, NO_PASSWORD = 0xf1, INPUT_NOT_LOCKED = 0x80 };
enum { KBD_IRQ = 1, AUX_IRQ = 12, BREAK_PREFIX = 0xf0, RAM_BYTES = 32 };

struct kbc {
    uint8_t  ram[RAM_BYTES];              /* byte 0: the command byte */
    uint8_t  status, data;
    uint8_t  command;                     /* waits for its byte at 60h; 0: none */
    uint8_t  answer;                      /* of the controller, waiting for the buffer */
    bool     answer_waits, answer_aux, break_seen;
    struct gh_ps2kbd kbd;
    struct gh_ps2mouse mouse;
    struct gh_device *dev;
    bool     a20;                         /* only where no port92 keeps it */
};

/* ---- Output buffer ------------------------------------------------------------------------------------- */

static void update_irq(struct kbc *k)
{
    bool full = k->status & STATUS_OBF, aux = k->status & STATUS_AUX;

    gh_irq_set(k->dev, KBD_IRQ, full && !aux && (k->ram[0] & CTR_KBD_INT));
    gh_irq_set(k->dev, AUX_IRQ, full && aux && (k->ram[0] & CTR_AUX_INT));
}

static bool next_kbd_byte(struct kbc *k, uint8_t *ret)
{
    while (gh_ps2kbd_read(&k->kbd, ret)) {
        if (!(k->ram[0] & CTR_TRANSLATE))
            return true;
        if (*ret == BREAK_PREFIX) {       /* becomes bit 7 of the code that follows */
            k->break_seen = true;
            continue;
        }
        *ret = gh_keymap_translate[*ret] | (k->break_seen ? 0x80 : 0);
        k->break_seen = false;
        return true;
    }
    return false;
}

/* Puts the next byte into an empty output buffer. */
static void refill(struct kbc *k)
{
    bool aux = false;

    if (!(k->status & STATUS_OBF)) {
        bool filled = true;
        if (k->answer_waits) {
            k->data = k->answer;
            aux = k->answer_aux;
            k->answer_waits = false;
        } else if (!(k->ram[0] & CTR_KBD_OFF) && next_kbd_byte(k, &k->data)) {
            aux = false;
        } else if (!(k->ram[0] & CTR_AUX_OFF) && gh_ps2mouse_read(&k->mouse, &k->data)) {
            aux = true;
        } else {
            filled = false;
        }
        if (filled)
            k->status = (uint8_t)((k->status & ~STATUS_AUX) | STATUS_OBF | (aux ? STATUS_AUX : 0));
    }
    update_irq(k);
}

static void reply(struct kbc *k, uint8_t byte, bool aux)
{
    k->answer = byte;
    k->answer_aux = aux;
    k->answer_waits = true;
}

/* ---- Output port ----------------------------------------------------------------------------------------- */

static bool get_a20(struct kbc *k)
{
    const struct gh_port92 *port = gh_lookup(k->dev, "port92");
    return port ? gh_port92_a20(port) : k->a20;
}

static void set_a20(struct kbc *k, bool on)
{
    struct gh_port92 *port = gh_lookup(k->dev, "port92");

    if (port)
        gh_port92_set_a20(port, on);
    else if (k->a20 != on)
        k->dev->ops->request(k->dev->board, k->dev, GH_REQUEST_A20, on, NULL);
    k->a20 = on;
}

static void request_reset(struct kbc *k)
{
    k->dev->ops->request(k->dev->board, k->dev, GH_REQUEST_INIT, 0, NULL);
}

static uint8_t output_port(struct kbc *k)
{
    uint8_t v = OUTPUT_IDLE | OUTPUT_NOT_RESET | (get_a20(k) ? OUTPUT_A20 : 0);

    if (k->status & STATUS_OBF)
        v |= k->status & STATUS_AUX ? OUTPUT_AUX_OBF : OUTPUT_OBF;
    return v;
}

static void write_output_port(struct kbc *k, uint8_t value)
{
    set_a20(k, value & OUTPUT_A20);
    if (!(value & OUTPUT_NOT_RESET))
        request_reset(k);
}

/* ---- Commands -------------------------------------------------------------------------------------------- */

static void write_command(struct kbc *k, uint8_t value)
{
    gh_trace(i8042_command, "%#x", value);
    k->command = 0;
    switch (value) {
    case READ_RAM ... READ_RAM + RAM_BYTES - 1:
        reply(k, k->ram[value - READ_RAM], false);
        break;
    case WRITE_RAM ... WRITE_RAM + RAM_BYTES - 1:
    case WRITE_OUTPUT:
    case WRITE_KBD_BUFFER:
    case WRITE_AUX_BUFFER:
    case WRITE_AUX:
        k->command = value;
        break;
    case PASSWORD_TEST: reply(k, NO_PASSWORD, false); break;
    case AUX_OFF:       k->ram[0] |= CTR_AUX_OFF; break;
    case AUX_ON:        k->ram[0] &= (uint8_t)~CTR_AUX_OFF; break;
    case AUX_TEST:
    case KBD_TEST:      reply(k, TEST_OK, false); break;
    case SELF_TEST:
        k->status |= STATUS_SYS;
        k->ram[0] |= CTR_SYS;
        reply(k, SELF_TEST_OK, false);
        break;
    case KBD_OFF:       k->ram[0] |= CTR_KBD_OFF; break;
    case KBD_ON:        k->ram[0] &= (uint8_t)~CTR_KBD_OFF; break;
    case READ_INPUT:    reply(k, INPUT_NOT_LOCKED, false); break;
    case READ_OUTPUT:   reply(k, output_port(k), false); break;
    case READ_TEST:     reply(k, 0, false); break;
    case A20_OFF:       set_a20(k, false); break;
    case A20_ON:        set_a20(k, true); break;
    case PULSE ... PULSE + 15:            /* a zero bit pulses its line low; only reset is connected */
        if (!(value & OUTPUT_NOT_RESET))
            request_reset(k);
        break;
    default:
        gh_guest_error(k->dev, "unknown controller command %#x", value);
        break;
    }
}

static void write_data(struct kbc *k, uint8_t value)
{
    uint8_t command = k->command;

    k->command = 0;
    switch (command) {
    case WRITE_RAM ... WRITE_RAM + RAM_BYTES - 1:
        k->ram[command - WRITE_RAM] = value;
        if (command == WRITE_RAM)
            k->status = (uint8_t)((k->status & ~STATUS_SYS) | (value & CTR_SYS));
        break;
    case WRITE_OUTPUT:
        write_output_port(k, value);
        break;
    case WRITE_KBD_BUFFER:
    case WRITE_AUX_BUFFER:
        reply(k, value, command == WRITE_AUX_BUFFER);
        break;
    case WRITE_AUX:                       /* talking to a device starts its clock */
        k->ram[0] &= (uint8_t)~CTR_AUX_OFF;
        gh_ps2mouse_write(&k->mouse, value);
        break;
    default:
        k->ram[0] &= (uint8_t)~CTR_KBD_OFF;
        gh_ps2kbd_write(&k->kbd, value);
        break;
    }
}

static bool i8042_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct kbc *k = dev->state;
    uint8_t value = (uint8_t)a->value;

    if (range == RANGE_DATA && !a->write) {
        a->value = k->data;
        k->status &= (uint8_t)~STATUS_OBF;
        update_irq(k);                    /* the next byte needs an edge of its own */
    } else if (!a->write) {
        a->value = k->status;
        return true;
    } else if (range == RANGE_COMMAND) {
        k->status |= STATUS_COMMAND;
        write_command(k, value);
    } else {
        k->status &= (uint8_t)~STATUS_COMMAND;
        write_data(k, value);
    }
    refill(k);
    return true;
}

/* ---- Input ------------------------------------------------------------------------------------------------- */

static void input_key(struct gh_device *dev, uint16_t code, bool down)
{
    struct kbc *k = dev->state;

    gh_ps2kbd_key(&k->kbd, code, down);
    refill(k);
}

static const struct gh_input_ops keyboard_ops = {.key = input_key};

static void input_relative(struct gh_device *dev, int32_t dx, int32_t dy, int32_t wheel)
{
    gh_ps2mouse_move(&((struct kbc *)dev->state)->mouse, dx, dy, wheel);
}

static void input_button(struct gh_device *dev, uint16_t code, bool down)
{
    gh_ps2mouse_button(&((struct kbc *)dev->state)->mouse, code, down);
}

static void input_sync(struct gh_device *dev)
{
    struct kbc *k = dev->state;

    gh_ps2mouse_sync(&k->mouse);
    refill(k);
}

static bool input_active(struct gh_device *dev)
{
    const struct gh_ps2mouse *m = &((const struct kbc *)dev->state)->mouse;
    return m->reporting || m->remote;
}

static const struct gh_input_ops mouse_ops = {
    .relative = input_relative, .button = input_button, .sync = input_sync, .active = input_active,
};

/* ---- Class ------------------------------------------------------------------------------------------------- */

static void i8042_reset(struct gh_device *dev, enum gh_reset why)
{
    struct kbc *k = dev->state;

    memset(k->ram, 0, sizeof k->ram);
    k->ram[0] = CTR_KBD_INT | CTR_AUX_INT;
    k->status = STATUS_COMMAND | STATUS_UNLOCKED;
    k->data = k->command = 0;
    k->answer_waits = k->break_seen = false;
    k->a20 = true;
    gh_ps2kbd_reset(&k->kbd);
    gh_ps2mouse_reset(&k->mouse);
    update_irq(k);
}

static int i8042_attach(struct gh_device *dev, struct gh_error *err)
{
    const struct gh_range_desc data = {
        .name = "i8042-data", .base = 0x60, .size = 1, .widths = GH_W8, .fn = i8042_access};
    const struct gh_range_desc command = {
        .name = "i8042-command", .base = 0x64, .size = 1, .widths = GH_W8, .fn = i8042_access};

    ((struct kbc *)dev->state)->dev = dev;
    int r = gh_range_add(dev, RANGE_DATA, &data, err);
    if (r == 0)
        r = gh_range_add(dev, RANGE_COMMAND, &command, err);
    if (r == 0) {
        dev->ops->input_add(dev->board, dev, GH_INPUT_KEYBOARD, &keyboard_ops);
        dev->ops->input_add(dev->board, dev, GH_INPUT_RELATIVE, &mouse_ops);
    }
    return r;
}

static int i8042_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct kbc *k = dev->state;

    if (!gh_ps2kbd_possible(&k->kbd) || !gh_ps2mouse_possible(&k->mouse))
        return gh_error_set(err, -EBADMSG, "SavedStateDamaged",
                            "The saved state of keyboard and mouse is impossible; "
                            "discard it and start the machine anew.");
    return 0;
}

static const struct gh_field kbc_fields[] = {
    GH_FIELD_ARRAY(GH_T_BYTES, struct kbc, ram, RAM_BYTES, 1),
    GH_FIELD(GH_T_U8, struct kbc, status, 1),
    GH_FIELD(GH_T_U8, struct kbc, data, 1),
    GH_FIELD(GH_T_U8, struct kbc, command, 1),
    GH_FIELD(GH_T_U8, struct kbc, answer, 1),
    GH_FIELD(GH_T_BOOL, struct kbc, answer_waits, 1),
    GH_FIELD(GH_T_BOOL, struct kbc, answer_aux, 1),
    GH_FIELD(GH_T_BOOL, struct kbc, break_seen, 1),
    GH_FIELD_TABLE(struct kbc, kbd, struct gh_ps2kbd, gh_ps2kbd_fields, 1, 1),
    GH_FIELD_TABLE(struct kbc, mouse, struct gh_ps2mouse, gh_ps2mouse_fields, 1, 1),
    GH_FIELD(GH_T_BOOL, struct kbc, a20, 1),
    {0},
};

const struct gh_device_class gh_class_i8042 = {
    .name = "i8042",
    .summary = "PS/2 keyboard and mouse",
    .state_size = sizeof(struct kbc),
    .version = 1,
    .saved = kbc_fields,
    .attach = i8042_attach,
    .reset = i8042_reset,
    .loaded = i8042_loaded,
};
