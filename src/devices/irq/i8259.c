/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two 8259A, master at 20h and slave at A0h, the slave's INT on the master's IR2; ELCR at 4D0h/4D1h.
 *
 * Modelled: ICW1-4 in any combination, fully nested and special fully nested mode, automatic EOI,
 * specific and non-specific EOI, all rotations, special mask mode, poll, edge and level by ELCR, the
 * spurious vectors 7 and 15.
 * Left out: 8080 mode (the vector is always one byte), buffered mode, ICW1's LTIM (the PIIX3
 * ignores it too: ELCR decides), masters with other slaves than the one on IR2. An edge stays
 * latched when its line falls before the acknowledge: a real chip would answer a spurious vector.
 */
#include <errno.h>
#include <pthread.h>

#include "devices/classes.h"
#include "devices/irq/i8259.h"

enum { MASTER, SLAVE, CASCADE = 2, SPURIOUS = 7 };
enum {
    ICW1 = 0x10, ICW1_IC4 = 0x01, ICW1_SNGL = 0x02,
    ICW4_AEOI = 0x02, ICW4_SFNM = 0x10,
    OCW3 = 0x08, OCW3_RIS = 0x01, OCW3_RR = 0x02, OCW3_POLL = 0x04, OCW3_SMM = 0x20, OCW3_ESMM = 0x40,
};
/* OCW2 bits 7-5. */
enum {
    OCW2_ROTATE_AEOI_CLEAR, OCW2_EOI, OCW2_NOP, OCW2_SPECIFIC_EOI,
    OCW2_ROTATE_AEOI_SET, OCW2_ROTATE_EOI, OCW2_SET_PRIORITY, OCW2_ROTATE_SPECIFIC_EOI,
};

struct chip {
    uint8_t lines;                        /* level of the inputs now */
    uint8_t irr, isr, imr, elcr;
    uint8_t vector_base;
    uint8_t icw1, icw3, icw4;
    uint8_t icw_next;                     /* which ICW port 1 takes next, 0: OCW1 */
    uint8_t lowest;                       /* the input with the lowest priority */
    bool    rotate_aeoi, special_mask, read_isr, poll;
};

struct gh_pic {
    struct chip chip[2];
    bool intr;
    pthread_mutex_t lock;
    bool lock_made;
    void (*output)(void *opaque, bool level);
    void *opaque;
};

/* Distance from the highest priority, 0-7; 8 if no bit is set. */
static unsigned priority(const struct chip *c, uint8_t bits)
{
    unsigned p = 0;

    while (p < 8 && !(bits >> ((c->lowest + 1 + p) & 7) & 1))
        p++;
    return p;
}

/* The input that the chip asks service for, -1: none. */
static int requested(const struct chip *c, bool master)
{
    uint8_t  blocking = c->isr;
    unsigned p = priority(c, c->irr & (uint8_t)~c->imr);

    if (p == 8)
        return -1;
    if (c->special_mask)
        blocking &= (uint8_t)~c->imr;
    if (master && (c->icw4 & ICW4_SFNM))  /* the slave may nest within itself */
        blocking &= (uint8_t)~(1u << CASCADE);
    return p < priority(c, blocking) ? (int)((c->lowest + 1 + p) & 7) : -1;
}

/* The slave's INT drives the master's IR2, which follows it as a level. */
static void update(struct gh_pic *pic)
{
    struct chip *m = &pic->chip[MASTER];

    if (requested(&pic->chip[SLAVE], false) >= 0)
        m->irr |= 1u << CASCADE;
    else
        m->irr &= (uint8_t)~(1u << CASCADE);
    bool intr = requested(m, true) >= 0;
    if (intr != pic->intr) {
        pic->intr = intr;
        if (pic->output)
            pic->output(pic->opaque, intr);
    }
}

static void acknowledge(struct chip *c, unsigned n)
{
    uint8_t bit = (uint8_t)(1u << n);

    if (!(c->elcr & bit))
        c->irr &= (uint8_t)~bit;
    if (!(c->icw4 & ICW4_AEOI))
        c->isr |= bit;
    else if (c->rotate_aeoi)
        c->lowest = (uint8_t)n;
}

void gh_pic_set_irq(struct gh_pic *pic, unsigned n, bool level)
{
    if (n > 15 || n == CASCADE)
        return;
    struct chip *c = &pic->chip[n / 8];
    uint8_t bit = (uint8_t)(1u << (n & 7));

    pthread_mutex_lock(&pic->lock);
    if (level && (!(c->lines & bit) || (c->elcr & bit)))
        c->irr |= bit;
    else if (!level && (c->elcr & bit))
        c->irr &= (uint8_t)~bit;
    c->lines = (uint8_t)((c->lines & ~bit) | (level ? bit : 0));
    update(pic);
    pthread_mutex_unlock(&pic->lock);
}

int gh_pic_intack(struct gh_pic *pic)
{
    pthread_mutex_lock(&pic->lock);
    struct chip *c = &pic->chip[MASTER];
    int n = requested(c, true);

    if (n >= 0)
        acknowledge(c, (unsigned)n);
    if (n == CASCADE) {
        c = &pic->chip[SLAVE];
        n = requested(c, false);
        if (n >= 0)
            acknowledge(c, (unsigned)n);
    }
    int vector = c->vector_base + (n >= 0 ? n : SPURIOUS);
    update(pic);
    pthread_mutex_unlock(&pic->lock);
    return vector;
}

bool gh_pic_output(struct gh_pic *pic)
{
    pthread_mutex_lock(&pic->lock);
    bool intr = pic->intr;
    pthread_mutex_unlock(&pic->lock);
    return intr;
}

void gh_pic_set_output(struct gh_pic *pic, void (*output)(void *opaque, bool level), void *opaque)
{
    pthread_mutex_lock(&pic->lock);
    pic->output = output;
    pic->opaque = opaque;
    if (output)
        output(opaque, pic->intr);
    pthread_mutex_unlock(&pic->lock);
}

/* ---- Registers ------------------------------------------------------------------------------------- */

/* What ICW1 clears, and a reset as well. Level lines that are high ask again at once. */
static void initialize(struct chip *c)
{
    c->irr = c->lines & c->elcr;
    c->isr = c->imr = c->icw4 = 0;
    c->lowest = 7;
    c->rotate_aeoi = c->special_mask = c->read_isr = c->poll = false;
}

static void write_ocw2(struct chip *c, uint8_t value)
{
    uint8_t  in_service = c->special_mask ? c->isr & (uint8_t)~c->imr : c->isr;
    unsigned p = priority(c, in_service), n = value & 7;

    switch (value >> 5) {
    case OCW2_ROTATE_AEOI_CLEAR: c->rotate_aeoi = false; break;
    case OCW2_ROTATE_AEOI_SET:   c->rotate_aeoi = true; break;
    case OCW2_SET_PRIORITY:      c->lowest = (uint8_t)n; break;
    case OCW2_EOI:
    case OCW2_ROTATE_EOI:
        if (p == 8)
            break;
        n = (c->lowest + 1 + p) & 7;
        c->isr &= (uint8_t)~(1u << n);
        if (value >> 5 == OCW2_ROTATE_EOI)
            c->lowest = (uint8_t)n;
        break;
    case OCW2_SPECIFIC_EOI:
    case OCW2_ROTATE_SPECIFIC_EOI:
        c->isr &= (uint8_t)~(1u << n);
        if (value >> 5 == OCW2_ROTATE_SPECIFIC_EOI)
            c->lowest = (uint8_t)n;
        break;
    default:
        break;
    }
}

static void write_command(struct chip *c, uint8_t value)
{
    if (value & ICW1) {
        initialize(c);
        c->icw1 = value;
        c->icw_next = 2;
    } else if (value & OCW3) {
        if (value & OCW3_RR)
            c->read_isr = value & OCW3_RIS;
        if (value & OCW3_ESMM)
            c->special_mask = value & OCW3_SMM;
        c->poll = value & OCW3_POLL;
    } else {
        write_ocw2(c, value);
    }
}

static void write_data(struct chip *c, uint8_t value)
{
    switch (c->icw_next) {
    case 2:
        c->vector_base = value & 0xf8;
        c->icw_next = !(c->icw1 & ICW1_SNGL) ? 3 : c->icw1 & ICW1_IC4 ? 4 : 0;
        break;
    case 3:
        c->icw3 = value;
        c->icw_next = c->icw1 & ICW1_IC4 ? 4 : 0;
        break;
    case 4:
        c->icw4 = value;
        c->icw_next = 0;
        break;
    default:
        c->imr = value;
        break;
    }
}

static uint8_t read_register(struct chip *c, bool master, bool data_port)
{
    if (c->poll) {                        /* the next read acknowledges, whichever port it uses */
        int n = requested(c, master);
        c->poll = false;
        if (n < 0)
            return 0;
        acknowledge(c, (unsigned)n);
        return (uint8_t)(0x80 | n);
    }
    if (data_port)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static bool i8259_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct gh_pic *pic = dev->state;
    struct chip   *c = &pic->chip[range];

    pthread_mutex_lock(&pic->lock);
    if (!a->write)
        a->value = read_register(c, range == MASTER, a->offset);
    else if (a->offset)
        write_data(c, (uint8_t)a->value);
    else
        write_command(c, (uint8_t)a->value);
    update(pic);
    pthread_mutex_unlock(&pic->lock);
    return true;
}

static bool elcr_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    static const uint8_t writable[2] = {0xf8, 0xde}; /* timer, keyboard, cascade, RTC and FPU are edges */
    struct gh_pic *pic = dev->state;
    struct chip   *c = &pic->chip[a->offset];

    pthread_mutex_lock(&pic->lock);
    if (a->write) {
        c->elcr = (uint8_t)a->value & writable[a->offset];
        c->irr = (uint8_t)((c->irr & ~c->elcr) | (c->lines & c->elcr));
        update(pic);
    } else {
        a->value = c->elcr;
    }
    pthread_mutex_unlock(&pic->lock);
    return true;
}

/* ---- Class ----------------------------------------------------------------------------------------- */

static void i8259_reset(struct gh_device *dev, enum gh_reset why)
{
    struct gh_pic *pic = dev->state;

    pthread_mutex_lock(&pic->lock);
    for (unsigned i = 0; i < 2; i++) {
        struct chip *c = &pic->chip[i];
        *c = (struct chip){.lines = c->lines};
        initialize(c);
    }
    update(pic);
    pthread_mutex_unlock(&pic->lock);
}

static int i8259_attach(struct gh_device *dev, struct gh_error *err)
{
    struct gh_pic *pic = dev->state;
    const struct gh_range_desc ranges[] = {
        {.name = "pic-master", .base = 0x20, .size = 2, .widths = GH_W8, .fn = i8259_access},
        {.name = "pic-slave", .base = 0xa0, .size = 2, .widths = GH_W8, .fn = i8259_access},
        {.name = "elcr", .base = 0x4d0, .size = 2, .widths = GH_W8, .fn = elcr_access},
    };

    pthread_mutex_init(&pic->lock, NULL);
    pic->lock_made = true;
    for (unsigned i = 0; i < GH_ARRAY_LEN(ranges); i++) {
        int r = gh_range_add(dev, i, &ranges[i], err);
        if (r < 0)
            return r;
    }
    dev->ops->provide(dev->board, "pic", pic);
    return 0;
}

static void i8259_detach(struct gh_device *dev)
{
    struct gh_pic *pic = dev->state;

    if (pic->lock_made)
        pthread_mutex_destroy(&pic->lock);
    pic->lock_made = false;
}

static int i8259_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct gh_pic *pic = dev->state;

    for (unsigned i = 0; i < 2; i++) {
        const struct chip *c = &pic->chip[i];
        if (c->lowest > 7 || c->icw_next > 4 || c->icw_next == 1 || (c->vector_base & 7))
            return gh_error_set(err, -EBADMSG, "SavedStateDamaged",
                                "The saved state of the interrupt controller is impossible; "
                                "discard it and start the machine anew.");
    }
    pthread_mutex_lock(&pic->lock);
    update(pic);
    pthread_mutex_unlock(&pic->lock);
    return 0;
}

static const struct gh_field chip_fields[] = {
    GH_FIELD(GH_T_U8, struct chip, lines, 1),
    GH_FIELD(GH_T_U8, struct chip, irr, 1),
    GH_FIELD(GH_T_U8, struct chip, isr, 1),
    GH_FIELD(GH_T_U8, struct chip, imr, 1),
    GH_FIELD(GH_T_U8, struct chip, elcr, 1),
    GH_FIELD(GH_T_U8, struct chip, vector_base, 1),
    GH_FIELD(GH_T_U8, struct chip, icw1, 1),
    GH_FIELD(GH_T_U8, struct chip, icw3, 1),
    GH_FIELD(GH_T_U8, struct chip, icw4, 1),
    GH_FIELD(GH_T_U8, struct chip, icw_next, 1),
    GH_FIELD(GH_T_U8, struct chip, lowest, 1),
    GH_FIELD(GH_T_BOOL, struct chip, rotate_aeoi, 1),
    GH_FIELD(GH_T_BOOL, struct chip, special_mask, 1),
    GH_FIELD(GH_T_BOOL, struct chip, read_isr, 1),
    GH_FIELD(GH_T_BOOL, struct chip, poll, 1),
    {0},
};
static const struct gh_field i8259_fields[] = {
    GH_FIELD_TABLE(struct gh_pic, chip, struct chip, chip_fields, 2, 1),
    {0},
};

const struct gh_device_class gh_class_i8259 = {
    .name = "i8259",
    .summary = "Interrupt controller pair 8259A",
    .state_size = sizeof(struct gh_pic),
    .version = 1,
    .saved = i8259_fields,
    .attach = i8259_attach,
    .reset = i8259_reset,
    .loaded = i8259_loaded,
    .detach = i8259_detach,
};
