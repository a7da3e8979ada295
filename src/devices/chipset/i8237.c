/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The two 8237A DMA controllers of a PC/AT: channels 0-3 (bytes) at 00h, 4-7 (words) at C0h, page
 * registers at 81h-8Fh. Specification: Intel 8237A data sheet; pages as in the 82371SB.
 *
 * Modelled: addresses, counts, base and current registers, flip-flop, modes (read, write, verify,
 * autoinitialize, decrement), masks, requests and terminal counts in the status register.
 * Left out: memory-to-memory, cascading anything but the first controller, software requests moving
 * data by themselves, priorities (a transfer is one call of the device, bounded by its buffer).
 */

#include "devices/chipset/i8237.h"
#include "devices/classes.h"

enum { RANGE_LOW, RANGE_HIGH, RANGE_PAGES };
enum { COMMAND_DISABLE = 0x04 };
enum { MODE_AUTO = 0x10, MODE_DECREMENT = 0x20, MODE_TRANSFER = 0x0c, MODE_VERIFY = 0x00, MODE_WRITE = 0x04, MODE_READ = 0x08 };
enum { REG_COMMAND = 8, REG_REQUEST, REG_MASK_ONE, REG_MODE, REG_FLIP_FLOP, REG_MASTER_CLEAR, REG_CLEAR_MASK, REG_MASK_ALL };

struct channel {
    uint16_t base_address, base_count, address, count; /* count: transfers left minus one */
    uint8_t  mode, page;
};
struct controller {
    struct channel channel[4];
    uint8_t  command, mask, status, request; /* status bits 0-3: terminal counts; requests are in request */
    bool     flip_flop;
};
struct gh_isa_dma {
    struct controller controller[2];
    uint8_t  pages[16];                   /* 80h-8Fh as written; those without a channel are memory */
    struct gh_device *dev;
};

static const int8_t page_channel[16] = {-1, 2, 3, 1, -1, -1, -1, 0, -1, 6, 7, 5, -1, -1, -1, 4};

/* ---- Transfers ----------------------------------------------------------------------------------------- */

void gh_isa_dma_request(struct gh_isa_dma *dma, unsigned channel, bool level)
{
    struct controller *c = &dma->controller[channel >> 2 & 1];
    uint8_t bit = (uint8_t)(1u << (channel & 3));

    c->request = (uint8_t)(level ? c->request | bit : c->request & ~bit);
}

bool gh_isa_dma_ready(const struct gh_isa_dma *dma, unsigned channel, bool to_memory)
{
    const struct controller *c = &dma->controller[channel >> 2 & 1];
    uint8_t transfer = c->channel[channel & 3].mode & MODE_TRANSFER;
    bool blocked = channel < 4 && (dma->controller[1].mask & 1); /* the cascade */

    return !(c->command & COMMAND_DISABLE) && !(c->mask >> (channel & 3) & 1) && !blocked &&
           (transfer == MODE_VERIFY || transfer == (to_memory ? MODE_WRITE : MODE_READ));
}

static void move_run(struct gh_isa_dma *dma, bool to_memory, uint64_t gpa, uint8_t *data, size_t bytes)
{
    if (to_memory) {
        if (!gh_dma_write(dma->dev, gpa, data, bytes))
            gh_guest_error(dma->dev, "transfer to %#llx, which is not RAM", (unsigned long long)gpa);
    } else if (!gh_dma_read(dma->dev, gpa, data, bytes)) {
        memset(data, 0xff, bytes);
        gh_guest_error(dma->dev, "transfer from %#llx, which is not RAM", (unsigned long long)gpa);
    }
}

size_t gh_isa_dma_transfer(struct gh_isa_dma *dma, unsigned channel, bool to_memory, uint8_t *data, size_t bytes,
                           bool *ret_tc)
{
    struct controller *c = &dma->controller[channel >> 2 & 1];
    struct channel *ch = &c->channel[channel & 3];
    unsigned unit = channel < 4 ? 1 : 2;
    size_t done = 0;

    *ret_tc = false;
    channel &= 7;
    while (bytes - done >= unit && !*ret_tc && gh_isa_dma_ready(dma, channel, to_memory)) {
        /* As far as the count goes and the 16-bit address does not wrap. */
        uint64_t run = ch->mode & MODE_DECREMENT ? 1 : 0x10000u - ch->address;
        uint64_t gpa = unit == 1 ? (uint64_t)ch->page << 16 | ch->address
                                 : (uint64_t)(ch->page & 0xfe) << 16 | (uint64_t)ch->address << 1;
        if (run > ch->count + 1u)
            run = ch->count + 1u;
        if (run > (bytes - done) / unit)
            run = (bytes - done) / unit;
        if ((ch->mode & MODE_TRANSFER) != MODE_VERIFY)
            move_run(dma, to_memory, gpa, data + done, run * unit);
        done += run * unit;
        ch->address = (uint16_t)(ch->mode & MODE_DECREMENT ? ch->address - run : ch->address + run);
        *ret_tc = run == ch->count + 1u;
        ch->count = (uint16_t)(ch->count - run);
    }
    if (*ret_tc) {
        c->status |= (uint8_t)(1u << (channel & 3));
        if (ch->mode & MODE_AUTO) {
            ch->address = ch->base_address;
            ch->count = ch->base_count;
        } else {
            c->mask |= (uint8_t)(1u << (channel & 3));
        }
    }
    return done;
}

/* ---- Registers ------------------------------------------------------------------------------------------- */

static void put_half(uint16_t *base, uint16_t *current, bool high, uint8_t value)
{
    *base = (uint16_t)(high ? (*base & 0x00ff) | value << 8 : (*base & 0xff00) | value);
    *current = *base;
}

static void master_clear(struct controller *c)
{
    c->command = c->status = 0;
    c->mask = 0x0f;
    c->flip_flop = false;
}

static void write_register(struct controller *c, unsigned reg, uint8_t value)
{
    struct channel *ch = &c->channel[reg / 2 & 3];
    uint8_t bit = (uint8_t)(1u << (value & 3));

    switch (reg) {
    case REG_COMMAND:      c->command = value; break;
    case REG_REQUEST:      c->request = (uint8_t)(value & 4 ? c->request | bit : c->request & ~bit); break;
    case REG_MASK_ONE:     c->mask = (uint8_t)(value & 4 ? c->mask | bit : c->mask & ~bit); break;
    case REG_MODE:         c->channel[value & 3].mode = value & 0xfc; break;
    case REG_FLIP_FLOP:    c->flip_flop = false; break;
    case REG_MASTER_CLEAR: master_clear(c); break;
    case REG_CLEAR_MASK:   c->mask = 0; break;
    case REG_MASK_ALL:     c->mask = value & 0x0f; break;
    default:
        if (reg & 1)
            put_half(&ch->base_count, &ch->count, c->flip_flop, value);
        else
            put_half(&ch->base_address, &ch->address, c->flip_flop, value);
        c->flip_flop = !c->flip_flop;
        break;
    }
}

static bool read_register(struct controller *c, unsigned reg, uint64_t *ret)
{
    const struct channel *ch = &c->channel[reg / 2 & 3];

    switch (reg) {
    case REG_COMMAND:
        *ret = c->status | c->request << 4;
        c->status = 0;
        return true;
    case REG_MASTER_CLEAR:                /* the temporary register */
        *ret = 0;
        return true;
    case REG_MASK_ALL:
        *ret = c->mask | 0xf0;
        return true;
    default:
        if (reg >= REG_COMMAND)
            return false;
        *ret = (reg & 1 ? ch->count : ch->address) >> (c->flip_flop ? 8 : 0) & 0xff;
        c->flip_flop = !c->flip_flop;
        return true;
    }
}

static bool controller_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct gh_isa_dma *dma = dev->state;
    struct controller *c = &dma->controller[range];
    unsigned reg = (unsigned)a->offset >> (range == RANGE_HIGH);

    if (!a->write)
        return read_register(c, reg, &a->value);
    write_register(c, reg, (uint8_t)a->value);
    return true;
}

static bool page_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct gh_isa_dma *dma = dev->state;
    unsigned n = (unsigned)a->offset + 1;

    if (!a->write) {
        a->value = dma->pages[n];
        return true;
    }
    dma->pages[n] = (uint8_t)a->value;
    if (page_channel[n] >= 0)
        dma->controller[page_channel[n] / 4].channel[page_channel[n] % 4].page = (uint8_t)a->value;
    return true;
}

/* ---- Class ----------------------------------------------------------------------------------------------- */

static void i8237_reset(struct gh_device *dev, enum gh_reset why)
{
    struct gh_isa_dma *dma = dev->state;

    memset(dma->controller, 0, sizeof dma->controller);
    memset(dma->pages, 0, sizeof dma->pages);
    master_clear(&dma->controller[0]);
    master_clear(&dma->controller[1]);
}

static int i8237_attach(struct gh_device *dev, struct gh_error *err)
{
    struct gh_isa_dma *dma = dev->state;
    const struct gh_range_desc ranges[] = {
        [RANGE_LOW] = {.name = "dma1", .base = 0x00, .size = 16, .widths = GH_W8, .fn = controller_access},
        [RANGE_HIGH] = {.name = "dma2", .base = 0xc0, .size = 32, .widths = GH_W8, .fn = controller_access},
        /* 80h stays free: firmware and systems write to it to pass the time. */
        [RANGE_PAGES] = {.name = "dma-pages", .base = 0x81, .size = 15, .widths = GH_W8, .fn = page_access},
    };

    dma->dev = dev;
    for (unsigned i = 0; i < GH_ARRAY_LEN(ranges); i++) {
        int r = gh_range_add(dev, i, &ranges[i], err);
        if (r < 0)
            return r;
    }
    dev->ops->provide(dev->board, "isa-dma", dma);
    return 0;
}

static const struct gh_field channel_fields[] = {
    GH_FIELD(GH_T_U16, struct channel, base_address, 1),
    GH_FIELD(GH_T_U16, struct channel, base_count, 1),
    GH_FIELD(GH_T_U16, struct channel, address, 1),
    GH_FIELD(GH_T_U16, struct channel, count, 1),
    GH_FIELD(GH_T_U8, struct channel, mode, 1),
    GH_FIELD(GH_T_U8, struct channel, page, 1),
    {0},
};
static const struct gh_field controller_fields[] = {
    GH_FIELD_TABLE(struct controller, channel, struct channel, channel_fields, 4, 1),
    GH_FIELD(GH_T_U8, struct controller, command, 1),
    GH_FIELD(GH_T_U8, struct controller, mask, 1),
    GH_FIELD(GH_T_U8, struct controller, status, 1),
    GH_FIELD(GH_T_U8, struct controller, request, 1),
    GH_FIELD(GH_T_BOOL, struct controller, flip_flop, 1),
    {0},
};
static const struct gh_field i8237_fields[] = {
    GH_FIELD_TABLE(struct gh_isa_dma, controller, struct controller, controller_fields, 2, 1),
    GH_FIELD_ARRAY(GH_T_BYTES, struct gh_isa_dma, pages, 16, 1),
    {0},
};

const struct gh_device_class gh_class_i8237 = {
    .name = "i8237",
    .summary = "ISA DMA controllers",
    .state_size = sizeof(struct gh_isa_dma),
    .version = 1,
    .saved = i8237_fields,
    .attach = i8237_attach,
    .reset = i8237_reset,
};
