/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Serial port with a 16550A. Specification: National Semiconductor PC16550D data sheet.
 *
 * Modelled: all registers, both FIFOs, the four interrupts with their priorities and the character
 * timeout (four characters at the programmed rate), loopback with modem lines, OUT2 as the gate of
 * the IRQ line, DCD following the backend. Sending takes no time: a byte is gone when it was
 * written, unless the backend takes nothing; then the transmitter stays busy until it does.
 * Left out: the pace of the line, parity and framing errors, break, DMA mode pins.
 */
#include <errno.h>

#include "devices/classes.h"
#include "devices/serial/charout.h"

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };
enum { IER_RDA = 0x01, IER_THRE = 0x02, IER_LINE = 0x04, IER_MODEM = 0x08, IER_WRITABLE = 0x0f };
enum { IIR_NONE = 0x01, IIR_MODEM = 0x00, IIR_THRE = 0x02, IIR_RDA = 0x04, IIR_LINE = 0x06, IIR_TIMEOUT = 0x0c,
       IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_CLEAR_TX = 0x04 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT1 = 0x04, MCR_OUT2 = 0x08, MCR_LOOP = 0x10, MCR_WRITABLE = 0x1f };
enum { LSR_DR = 0x01, LSR_OE = 0x02, LSR_THRE = 0x20, LSR_TEMT = 0x40, LSR_ERRORS = 0x1e };
enum { MSR_DELTAS = 0x0f, MSR_TERI = 0x04, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };
enum { FIFO_BYTES = 16, UART_HZ = 115200 };

struct fifo { uint8_t data[FIFO_BYTES], count; };

struct uart {
    uint8_t  ier, fcr, lcr, mcr, lsr, msr, scr;
    uint16_t divisor;
    struct fifo rx;
    bool     thre_pending, timeout_pending;
    bool     starved;                     /* told the backend that there is no room */
    bool     connected;
    struct gh_charout out;
    struct gh_timer timeout;
    struct gh_device *dev;
    struct gh_char *chr;                  /* options */
    uint16_t iobase;
    uint8_t  irq;
};

/* ---- Receive FIFO ------------------------------------------------------------------------------------ */

static unsigned capacity(const struct uart *u)
{
    return u->fcr & FCR_ENABLE ? FIFO_BYTES : 1;
}

static bool push(struct uart *u, uint8_t byte)
{
    if (u->rx.count >= capacity(u)) {
        u->lsr |= LSR_OE;
        return false;
    }
    u->rx.data[u->rx.count++] = byte;
    return true;
}

static uint8_t pop(struct uart *u)
{
    uint8_t byte = u->rx.data[0];

    if (!u->rx.count)
        return 0;
    u->rx.count--;
    memmove(u->rx.data, u->rx.data + 1, u->rx.count);
    return byte;
}

static unsigned trigger(const struct uart *u)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};
    return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

/* ---- Interrupts ------------------------------------------------------------------------------------ */

static uint8_t cause(const struct uart *u)
{
    if ((u->ier & IER_LINE) && (u->lsr & LSR_ERRORS))
        return IIR_LINE;
    if ((u->ier & IER_RDA) && u->rx.count >= trigger(u))
        return IIR_RDA;
    if ((u->ier & IER_RDA) && u->rx.count && u->timeout_pending)
        return IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->thre_pending)
        return IIR_THRE;
    if ((u->ier & IER_MODEM) && (u->msr & MSR_DELTAS))
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_irq(struct uart *u)
{
    gh_irq_set(u->dev, u->irq, cause(u) != IIR_NONE && (u->mcr & MCR_OUT2));
}

/* Four characters of ten bits after the last byte moved. */
static void arm_timeout(struct uart *u)
{
    u->timeout_pending = false;
    if (!u->rx.count || u->rx.count >= trigger(u) || !(u->ier & IER_RDA)) {
        gh_timer_disarm(&u->timeout);
        return;
    }
    uint64_t bit_ns = 1000000000ull * (u->divisor ? u->divisor : 1) / UART_HZ;
    gh_timer_arm(&u->timeout, gh_now_ns(u->dev) + 40 * bit_ns);
}

static void timed_out(struct gh_device *dev, struct gh_timer *timer)
{
    struct uart *u = dev->state;

    u->timeout_pending = true;
    update_irq(u);
}

/* ---- Backend ----------------------------------------------------------------------------------------- */

static size_t can_receive(void *opaque)
{
    struct uart *u = opaque;
    size_t room = u->mcr & MCR_LOOP ? 0 : capacity(u) - u->rx.count;

    u->starved = u->starved || !room;
    return room;
}

static void receive(void *opaque, const uint8_t *data, size_t len)
{
    struct uart *u = opaque;

    for (size_t i = 0; i < len && push(u, data[i]); i++)
        ;
    arm_timeout(u);
    update_irq(u);
}

static void ask_for_input(struct uart *u)
{
    if (!u->starved || (u->mcr & MCR_LOOP) || u->rx.count > capacity(u) / 2)
        return;
    u->starved = false;
    if (u->chr && u->chr->ops->receive_ready)
        u->chr->ops->receive_ready(u->chr);
}

static void transmitted(struct uart *u)
{
    bool room = gh_charout_room(&u->out) >= FIFO_BYTES; /* the guest may send a FIFO full */

    if (room && !(u->lsr & LSR_THRE))
        u->thre_pending = true;
    u->lsr = (uint8_t)(room ? u->lsr | LSR_THRE | LSR_TEMT : u->lsr & ~(LSR_THRE | LSR_TEMT));
}

static void writable(void *opaque)
{
    struct uart *u = opaque;

    gh_charout_flush(&u->out);
    transmitted(u);
    update_irq(u);
}

static void output_due(struct gh_device *dev, struct gh_timer *timer)
{
    writable(dev->state);
}

/* The other end's lines, or our own in loopback. */
static uint8_t modem_lines(const struct uart *u)
{
    if (!(u->mcr & MCR_LOOP))
        return u->connected ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
    return (uint8_t)((u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
                     (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static void update_modem(struct uart *u)
{
    uint8_t lines = modem_lines(u), changed = (uint8_t)((u->msr ^ lines) & 0xf0);

    if (changed & MSR_RI && lines & MSR_RI) /* only its trailing edge is a delta */
        changed &= (uint8_t)~MSR_RI;
    u->msr = (uint8_t)(lines | (u->msr & MSR_DELTAS) | changed >> 4);
}

static void connection(void *opaque, bool open)
{
    struct uart *u = opaque;

    u->connected = open;
    update_modem(u);
    update_irq(u);
}

/* ---- Registers ----------------------------------------------------------------------------------------- */

static void write_thr(struct uart *u, uint8_t value)
{
    u->thre_pending = false;
    if (u->mcr & MCR_LOOP) {
        push(u, value);
        arm_timeout(u);
    } else if (gh_charout_put(&u->out, &value, 1)) {
        u->lsr &= (uint8_t)~LSR_THRE;
    }
    if (u->mcr & MCR_LOOP)
        u->thre_pending = true;
    transmitted(u);
}

static void write_fcr(struct uart *u, uint8_t value)
{
    if ((value ^ u->fcr) & FCR_ENABLE)
        value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    if (!(value & FCR_ENABLE))
        value &= FCR_CLEAR_RX | FCR_CLEAR_TX;
    if (value & FCR_CLEAR_RX)
        u->rx.count = 0;
    if (value & FCR_CLEAR_TX)
        u->thre_pending = true;
    u->fcr = value & 0xc9;
    arm_timeout(u);
    ask_for_input(u);
}

static void write_register(struct uart *u, unsigned reg, uint8_t value)
{
    switch (reg) {
    case RBR_THR:
        if (u->lcr & LCR_DLAB)
            u->divisor = (uint16_t)((u->divisor & 0xff00) | value);
        else
            write_thr(u, value);
        break;
    case IER:
        if (u->lcr & LCR_DLAB) {
            u->divisor = (uint16_t)((u->divisor & 0xff) | value << 8);
            break;
        }
        if ((value & ~u->ier & IER_THRE) && (u->lsr & LSR_THRE))
            u->thre_pending = true;
        u->ier = value & IER_WRITABLE;
        arm_timeout(u);
        break;
    case IIR_FCR:
        write_fcr(u, value);
        break;
    case LCR:
        u->lcr = value;
        break;
    case MCR:
        u->mcr = value & MCR_WRITABLE;
        update_modem(u);
        ask_for_input(u);
        break;
    case SCR:
        u->scr = value;
        break;
    default:                              /* LSR and MSR: factory test only */
        break;
    }
}

static uint8_t read_register(struct uart *u, unsigned reg)
{
    uint8_t value;

    switch (reg) {
    case RBR_THR:
        if (u->lcr & LCR_DLAB)
            return (uint8_t)u->divisor;
        value = pop(u);
        arm_timeout(u);
        ask_for_input(u);
        return value;
    case IER:
        return u->lcr & LCR_DLAB ? (uint8_t)(u->divisor >> 8) : u->ier;
    case IIR_FCR:
        value = cause(u);
        if (value == IIR_THRE)
            u->thre_pending = false;
        return value | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
    case LCR:
        return u->lcr;
    case MCR:
        return u->mcr;
    case LSR:
        value = u->lsr | (u->rx.count ? LSR_DR : 0);
        u->lsr &= (uint8_t)~LSR_ERRORS;
        return value;
    case MSR:
        value = u->msr;
        u->msr &= (uint8_t)~MSR_DELTAS;
        return value;
    default:
        return u->scr;
    }
}

static bool uart_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct uart *u = dev->state;

    if (a->write)
        write_register(u, (unsigned)a->offset, (uint8_t)a->value);
    else
        a->value = read_register(u, (unsigned)a->offset);
    update_irq(u);
    return true;
}

/* ---- Class ------------------------------------------------------------------------------------------- */

static void uart_reset(struct gh_device *dev, enum gh_reset why)
{
    struct uart *u = dev->state;

    gh_charout_flush(&u->out);
    u->ier = u->fcr = u->lcr = u->mcr = u->scr = 0;
    u->lsr = LSR_THRE | LSR_TEMT;
    u->divisor = 12;                      /* 9600 */
    u->rx.count = 0;
    u->thre_pending = false;
    u->msr = modem_lines(u);
    arm_timeout(u);
    transmitted(u);
    ask_for_input(u);
    update_irq(u);
}

static int uart_attach(struct gh_device *dev, struct gh_error *err)
{
    struct uart *u = dev->state;
    const struct gh_range_desc desc = {
        .name = "uart", .base = u->iobase, .size = 8, .widths = GH_W8, .fn = uart_access};

    u->dev = dev;
    gh_timer_init(&u->timeout, dev, timed_out);
    gh_charout_init(&u->out, dev, u->chr, output_due);
    u->connected = u->chr != NULL;
    if (u->chr) {
        u->chr->can_receive = can_receive;
        u->chr->receive = receive;
        u->chr->writable = writable;
        u->chr->event = connection;
        u->chr->opaque = u;
    }
    return gh_range_add(dev, 0, &desc, err);
}

static void uart_quiesce(struct gh_device *dev, struct gh_done *done)
{
    gh_charout_flush(&((struct uart *)dev->state)->out);
    done->fn(done);
}

static void uart_detach(struct gh_device *dev)
{
    struct uart *u = dev->state;

    gh_timer_disarm(&u->timeout);
    gh_charout_fini(&u->out);
    if (u->chr && u->chr->opaque == u) {
        u->chr->can_receive = NULL;
        u->chr->receive = NULL;
        u->chr->writable = NULL;
        u->chr->event = NULL;
    }
}

static int uart_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct uart *u = dev->state;

    if (u->rx.count > capacity(u) || (u->fcr & ~0xc9) || (u->mcr & ~MCR_WRITABLE) || (u->ier & ~IER_WRITABLE) ||
        !gh_charout_loaded(&u->out))
        return gh_error_set(err, -EBADMSG, "SavedStateDamaged",
                            "The saved state of serial port \"%s\" is impossible; "
                            "discard it and start the machine anew.", dev->id);
    bool timeout = u->timeout_pending;
    arm_timeout(u);
    u->timeout_pending = timeout;
    transmitted(u);
    return 0;
}

static const struct gh_option uart_options[] = {
    GH_OPT(GH_T_CHAR, struct uart, chr, "chardev", 0, 0, NULL, "Where the other end of the line is"),
    GH_OPT(GH_T_U16, struct uart, iobase, "iobase", 0, 0xfff8, "0x3f8", "First I/O port"),
    GH_OPT(GH_T_U8, struct uart, irq, "irq", 0, 15, "4", "Interrupt"),
    {0},
};
static const struct gh_field fifo_fields[] = {
    GH_FIELD_ARRAY(GH_T_BYTES, struct fifo, data, FIFO_BYTES, 1),
    GH_FIELD(GH_T_U8, struct fifo, count, 1),
    {0},
};
static const struct gh_field uart_fields[] = {
    GH_FIELD(GH_T_U8, struct uart, ier, 1),
    GH_FIELD(GH_T_U8, struct uart, fcr, 1),
    GH_FIELD(GH_T_U8, struct uart, lcr, 1),
    GH_FIELD(GH_T_U8, struct uart, mcr, 1),
    GH_FIELD(GH_T_U8, struct uart, lsr, 1),
    GH_FIELD(GH_T_U8, struct uart, msr, 1),
    GH_FIELD(GH_T_U8, struct uart, scr, 1),
    GH_FIELD(GH_T_U16, struct uart, divisor, 1),
    GH_FIELD_TABLE(struct uart, rx, struct fifo, fifo_fields, 1, 1),
    GH_FIELD(GH_T_BOOL, struct uart, thre_pending, 1),
    GH_FIELD(GH_T_BOOL, struct uart, timeout_pending, 1),
    GH_FIELD_TABLE(struct uart, out, struct gh_charout, gh_charout_fields, 1, 1),
    {0},
};

const struct gh_device_class gh_class_uart16550 = {
    .name = "uart16550",
    .summary = "Serial port",
    .state_size = sizeof(struct uart),
    .version = 1,
    .options = uart_options,
    .saved = uart_fields,
    .attach = uart_attach,
    .reset = uart_reset,
    .loaded = uart_loaded,
    .quiesce = uart_quiesce,
    .detach = uart_detach,
};
