/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * I/O APIC with 24 pins at FEC00000h, version 20h.
 *
 * Modelled: IOREGSEL/IOWIN, ID, version, arbitration ID, redirection entries with masks, edge and
 * level, remote IRR, delivery status (always idle), the EOI register at 40h. As the 82093AA says, an
 * edge on a masked pin is lost. Switching an entry to edge clears its remote IRR.
 * Left out: pin polarity (lines are "asserted" or not), the APIC bus's arbitration.
 */
#include <errno.h>
#include <pthread.h>

#include "devices/classes.h"
#include "devices/irq/ioapic.h"

enum { IOREGSEL = 0x00, IOWIN = 0x10, IOEOI = 0x40 };
enum { IOAPICID = 0x00, IOAPICVER = 0x01, IOAPICARB = 0x02, IOREDTBL = 0x10 };
enum { VERSION = 0x20 };

#define ENTRY_LOGICAL         (1u << 11)
#define ENTRY_REMOTE_IRR      (1u << 14)
#define ENTRY_LEVEL           (1u << 15)
#define ENTRY_MASKED          (1u << 16)
#define ENTRY_WRITABLE        0xff0000000001afffull
#define MSI_REDIRECTION_HINT  (1u << 3)
#define MSI_LOGICAL           (1u << 2)
#define MSI_ASSERT            (1u << 14)

struct gh_ioapic {
    uint32_t select, id;
    uint32_t lines;                       /* one bit a pin: asserted */
    uint64_t entry[GH_IOAPIC_PINS];
    uint64_t base;                        /* option */
    pthread_mutex_t lock;
    bool lock_made;
    void (*message)(void *opaque, uint64_t address, uint32_t data);
    void (*route)(void *opaque, unsigned pin, uint64_t address, uint32_t data, bool masked);
    void *opaque;
};

static uint64_t message_address(uint64_t entry)
{
    unsigned mode = entry >> 8 & 7;

    return 0xfee00000u | (entry >> 56) << 12 | (mode == 1 ? MSI_REDIRECTION_HINT : 0) |
           (entry & ENTRY_LOGICAL ? MSI_LOGICAL : 0);
}

static uint32_t message_data(uint64_t entry)
{
    return (uint32_t)(entry & 0x7ff) | (entry & ENTRY_LEVEL ? ENTRY_LEVEL | MSI_ASSERT : 0);
}

static void deliver(struct gh_ioapic *io, unsigned pin)
{
    uint64_t *entry = &io->entry[pin];

    if (*entry & ENTRY_LEVEL)
        *entry |= ENTRY_REMOTE_IRR;
    gh_trace(ioapic_deliver, "pin %u vector %#x", pin, (unsigned)(*entry & 0xff));
    if (io->message)
        io->message(io->opaque, message_address(*entry), message_data(*entry));
}

static void deliver_level(struct gh_ioapic *io, unsigned pin)
{
    uint64_t e = io->entry[pin];

    if ((e & ENTRY_LEVEL) && !(e & (ENTRY_MASKED | ENTRY_REMOTE_IRR)) && (io->lines >> pin & 1))
        deliver(io, pin);
}

static void announce(struct gh_ioapic *io, unsigned pin)
{
    uint64_t e = io->entry[pin];

    if (io->route)
        io->route(io->opaque, pin, message_address(e), message_data(e), e & ENTRY_MASKED);
}

void gh_ioapic_set_irq(struct gh_ioapic *io, unsigned pin, bool level)
{
    if (pin >= GH_IOAPIC_PINS)
        return;
    uint32_t bit = 1u << pin;

    pthread_mutex_lock(&io->lock);
    bool rising = level && !(io->lines & bit);
    io->lines = level ? io->lines | bit : io->lines & ~bit;
    if (io->entry[pin] & ENTRY_LEVEL)
        deliver_level(io, pin);
    else if (rising && !(io->entry[pin] & ENTRY_MASKED))
        deliver(io, pin);
    pthread_mutex_unlock(&io->lock);
}

static void end_of_interrupt(struct gh_ioapic *io, uint8_t vector)
{
    for (unsigned pin = 0; pin < GH_IOAPIC_PINS; pin++) {
        uint64_t *e = &io->entry[pin];
        if ((uint8_t)*e != vector || !(*e & ENTRY_LEVEL) || !(*e & ENTRY_REMOTE_IRR))
            continue;
        *e &= ~(uint64_t)ENTRY_REMOTE_IRR;
        deliver_level(io, pin);
    }
}

void gh_ioapic_eoi(struct gh_ioapic *io, uint8_t vector)
{
    pthread_mutex_lock(&io->lock);
    end_of_interrupt(io, vector);
    pthread_mutex_unlock(&io->lock);
}

void gh_ioapic_set_output(struct gh_ioapic *io, void (*message)(void *opaque, uint64_t address, uint32_t data),
                          void (*route)(void *opaque, unsigned pin, uint64_t address, uint32_t data, bool masked),
                          void *opaque)
{
    pthread_mutex_lock(&io->lock);
    io->message = message;
    io->route = route;
    io->opaque = opaque;
    for (unsigned pin = 0; pin < GH_IOAPIC_PINS; pin++)
        announce(io, pin);
    pthread_mutex_unlock(&io->lock);
}

/* ---- Registers ------------------------------------------------------------------------------------- */

static uint32_t read_register(const struct gh_ioapic *io)
{
    unsigned n = io->select - IOREDTBL;

    switch (io->select) {
    case IOAPICID:
    case IOAPICARB:
        return io->id;
    case IOAPICVER:
        return VERSION | (GH_IOAPIC_PINS - 1) << 16;
    default:
        return n / 2 < GH_IOAPIC_PINS ? (uint32_t)(io->entry[n / 2] >> (n % 2 * 32)) : 0;
    }
}

static void write_register(struct gh_ioapic *io, uint32_t value)
{
    unsigned n = io->select - IOREDTBL, pin = n / 2;

    if (io->select == IOAPICID)
        io->id = value & 0x0f000000;
    if (io->select < IOREDTBL || pin >= GH_IOAPIC_PINS)
        return;
    uint64_t *e = &io->entry[pin];
    uint64_t  mask = ENTRY_WRITABLE & (n % 2 ? 0xffffffff00000000ull : 0xffffffffull);
    *e = (*e & ~mask) | ((n % 2 ? (uint64_t)value << 32 : value) & mask);
    if (!(*e & ENTRY_LEVEL))
        *e &= ~(uint64_t)ENTRY_REMOTE_IRR;
    gh_trace(ioapic_entry, "pin %u %#llx", pin, (unsigned long long)*e);
    announce(io, pin);
    deliver_level(io, pin);
}

static bool ioapic_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct gh_ioapic *io = dev->state;
    bool known = true;

    pthread_mutex_lock(&io->lock);
    if (a->offset == IOREGSEL && a->write)
        io->select = a->value & 0xff;
    else if (a->offset == IOREGSEL)
        a->value = io->select;
    else if (a->offset == IOWIN && a->write)
        write_register(io, (uint32_t)a->value);
    else if (a->offset == IOWIN)
        a->value = read_register(io);
    else if (a->offset == IOEOI && a->write)
        end_of_interrupt(io, (uint8_t)a->value);
    else
        known = false;
    pthread_mutex_unlock(&io->lock);
    return known;
}

/* ---- Class ----------------------------------------------------------------------------------------- */

static void ioapic_reset(struct gh_device *dev, enum gh_reset why)
{
    struct gh_ioapic *io = dev->state;

    pthread_mutex_lock(&io->lock);
    io->select = io->id = 0;
    for (unsigned pin = 0; pin < GH_IOAPIC_PINS; pin++) {
        io->entry[pin] = ENTRY_MASKED;
        announce(io, pin);
    }
    pthread_mutex_unlock(&io->lock);
}

static int ioapic_attach(struct gh_device *dev, struct gh_error *err)
{
    struct gh_ioapic *io = dev->state;
    const struct gh_range_desc desc = {
        .name = "ioapic", .space = GH_SPACE_MMIO, .base = io->base, .size = 0x1000, .priority = 10,
        .widths = GH_W8 | GH_W16 | GH_W32, .fn = ioapic_access,
    };

    pthread_mutex_init(&io->lock, NULL);
    io->lock_made = true;
    dev->ops->provide(dev->board, "ioapic", io);
    return gh_range_add(dev, 0, &desc, err);
}

static void ioapic_detach(struct gh_device *dev)
{
    struct gh_ioapic *io = dev->state;

    if (io->lock_made)
        pthread_mutex_destroy(&io->lock);
    io->lock_made = false;
}

static int ioapic_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct gh_ioapic *io = dev->state;
    bool ok = io->select <= 0xff && !(io->lines >> GH_IOAPIC_PINS);

    for (unsigned pin = 0; pin < GH_IOAPIC_PINS; pin++)
        ok = ok && !(io->entry[pin] & ~(ENTRY_WRITABLE | ENTRY_REMOTE_IRR));
    if (!ok)
        return gh_error_set(err, -EBADMSG, "SavedStateDamaged",
                            "The saved state of the I/O APIC is impossible; discard it and start the machine anew.");
    pthread_mutex_lock(&io->lock);
    for (unsigned pin = 0; pin < GH_IOAPIC_PINS; pin++)
        announce(io, pin);
    pthread_mutex_unlock(&io->lock);
    return 0;
}

static const struct gh_option ioapic_options[] = {
    GH_OPT(GH_T_U64, struct gh_ioapic, base, "base", 0, 0xfffff000, "0xfec00000", "Address of the registers"),
    {0},
};
static const struct gh_field ioapic_fields[] = {
    GH_FIELD(GH_T_U32, struct gh_ioapic, select, 1),
    GH_FIELD(GH_T_U32, struct gh_ioapic, id, 1),
    GH_FIELD(GH_T_U32, struct gh_ioapic, lines, 1),
    GH_FIELD_ARRAY(GH_T_U64, struct gh_ioapic, entry, GH_IOAPIC_PINS, 1),
    {0},
};

const struct gh_device_class gh_class_ioapic = {
    .name = "ioapic",
    .summary = "I/O APIC with 24 pins",
    .state_size = sizeof(struct gh_ioapic),
    .version = 1,
    .options = ioapic_options,
    .saved = ioapic_fields,
    .attach = ioapic_attach,
    .reset = ioapic_reset,
    .loaded = ioapic_loaded,
    .detach = ioapic_detach,
};
