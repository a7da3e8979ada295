/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Left out on purpose: the CFI query, lock bits, suspended erases, buffered writes (a driver that tries one
 * finds a command error in the status register and programs byte by byte).
 */
#include "devices/firmware/pflash.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/backend.h"
#include "devices/classes.h"

enum { RANGE_ARRAY, RANGE_COMMANDS };
enum { SIZE_MAX_BYTES = 16 << 20, WRITE_DELAY_NS = 20000000 };
enum { CMD_PROGRAM_ALT = 0x10, CMD_ERASE = 0x20, CMD_PROGRAM = 0x40, CMD_CLEAR_STATUS = 0x50, CMD_READ_STATUS = 0x70,
       CMD_READ_ID = 0x90, CMD_CONFIRM = 0xd0, CMD_READ_ARRAY = 0xff };
enum { STATUS_READY = 0x80, STATUS_ERASE_ERROR = 0x20, STATUS_PROGRAM_ERROR = 0x10 };
enum { ID_MANUFACTURER = 0x89, ID_DEVICE = 0x18 };
enum mode { MODE_ARRAY, MODE_STATUS, MODE_ID, MODE_PROGRAM, MODE_ERASE, MODES };

struct pflash {
    uint64_t base;
    uint32_t size;
    struct gh_block *block;
    uint8_t *bytes;
    uint8_t mode, status;
    uint8_t dirty[SIZE_MAX_BYTES / GH_PFLASH_BLOCK];   /* a flag a block */
    uint32_t dirty_count;
    bool writing, flush_due;
    uint8_t copy[GH_PFLASH_BLOCK];            /* what is on its way to the backend */
    struct iovec iov;
    struct gh_block_request request;
    struct gh_timer write_back;
    struct gh_device *dev;
    struct gh_done *quiesced;
};

static const struct gh_option options[] = {
    GH_OPT(GH_T_U64, struct pflash, base, "base", 0, 0, "0xffc00000", "Address in memory; with the size, as the 4 MiB OVMF wants it"),
    GH_OPT(GH_T_U32, struct pflash, size, "size", GH_PFLASH_BLOCK, SIZE_MAX_BYTES, "540672", "Size in bytes"),
    GH_OPT(GH_T_BLOCK, struct pflash, block, "drive", 0, 0, NULL, "File that keeps the variables"),
    { 0 },
};
static const struct gh_field fields[] = {
    GH_FIELD(GH_T_U8, struct pflash, mode, 1),
    GH_FIELD(GH_T_U8, struct pflash, status, 1),
    { 0 },
};

/* ---- Writing back -------------------------------------------------------------------------------------- */

static void write_next(struct pflash *s);

static void write_done(struct gh_block_request *request, int result)
{
    struct pflash *s = request->opaque;
    s->writing = false;
    if (result < 0) {
        struct gh_error why = { 0 };
        gh_error_set(&why, result, "NvramWriteFailed", "The firmware's variables could not be written (error %d); "
                     "make space on the host and resume the machine.", -result);
        s->dev->ops->request(s->dev->board, s->dev, GH_REQUEST_PAUSE, 0, &why);
        if (request->op == GH_BLOCK_WRITE) {
            uint32_t n = (uint32_t)(request->offset / GH_PFLASH_BLOCK);
            s->dirty_count += !s->dirty[n];
            s->dirty[n] = 1;
        } else {
            s->flush_due = true;
        }
        gh_timer_arm(&s->write_back, gh_now_ns(s->dev) + 1000000000u);
        if (!s->quiesced)
            return;
    } else {
        write_next(s);
    }
    if (s->quiesced && !s->writing) {
        struct gh_done *done = s->quiesced;
        s->quiesced = NULL;
        done->fn(done);
    }
}

/* One block at a time, then a flush. */
static void write_next(struct pflash *s)
{
    if (s->writing || !s->block)
        return;
    s->request = (struct gh_block_request){ .done = write_done, .opaque = s };
    if (s->dirty_count) {
        uint32_t n = 0;
        while (!s->dirty[n])
            n++;
        s->dirty[n] = 0;
        s->dirty_count--;
        s->flush_due = true;
        memcpy(s->copy, s->bytes + (size_t)n * GH_PFLASH_BLOCK, GH_PFLASH_BLOCK);
        s->iov = (struct iovec){ .iov_base = s->copy, .iov_len = GH_PFLASH_BLOCK };
        s->request.op = GH_BLOCK_WRITE;
        s->request.offset = (uint64_t)n * GH_PFLASH_BLOCK;
        s->request.bytes = GH_PFLASH_BLOCK;
        s->request.iov = &s->iov;
        s->request.iov_count = 1;
    } else if (s->flush_due) {
        s->flush_due = false;
        s->request.op = GH_BLOCK_FLUSH;
    } else {
        return;
    }
    s->writing = true;
    s->block->ops->submit(s->block, &s->request);
}

static void pflash_write_back(struct gh_device *dev, struct gh_timer *timer)
{
    write_next(dev->state);
}

static void changed(struct pflash *s, uint64_t offset)
{
    uint32_t n = (uint32_t)(offset / GH_PFLASH_BLOCK);
    s->dirty_count += !s->dirty[n];
    s->dirty[n] = 1;
    if (s->block && !s->write_back.deadline_ns)
        gh_timer_arm(&s->write_back, gh_now_ns(s->dev) + WRITE_DELAY_NS);
}

/* ---- Commands ------------------------------------------------------------------------------------------------ */

/* In array mode the guest reads memory directly, otherwise every access comes here. */
static void set_mode(struct pflash *s, enum mode mode)
{
    if ((s->mode == MODE_ARRAY) != (mode == MODE_ARRAY))
        gh_range_set(s->dev, RANGE_COMMANDS, mode != MODE_ARRAY, s->base);
    s->mode = mode;
}

static void command(struct pflash *s, uint8_t value)
{
    switch (value) {
    case CMD_PROGRAM: case CMD_PROGRAM_ALT: set_mode(s, MODE_PROGRAM); break;
    case CMD_ERASE: set_mode(s, MODE_ERASE); break;
    /* OVMF takes a chip for flash only where the status is 0 after this, without the ready bit. */
    case CMD_CLEAR_STATUS: s->status = 0; set_mode(s, MODE_ARRAY); break;
    case CMD_READ_STATUS: set_mode(s, MODE_STATUS); break;
    case CMD_READ_ID: set_mode(s, MODE_ID); break;
    case CMD_READ_ARRAY: case 0: set_mode(s, MODE_ARRAY); break;
    default:
        gh_guest_error(s->dev, "flash command %#x is not modelled", value);
        s->status |= STATUS_READY | STATUS_PROGRAM_ERROR | STATUS_ERASE_ERROR;
        set_mode(s, MODE_STATUS);
        break;
    }
}

static void write_byte(struct pflash *s, uint64_t offset, uint8_t value)
{
    switch (s->mode) {
    case MODE_PROGRAM:
        s->bytes[offset] &= value;            /* programming only clears bits */
        changed(s, offset);
        s->status |= STATUS_READY;
        set_mode(s, MODE_STATUS);
        break;
    case MODE_ERASE:
        if (value == CMD_CONFIRM) {
            memset(s->bytes + (offset & ~(uint64_t)(GH_PFLASH_BLOCK - 1)), 0xff, GH_PFLASH_BLOCK);
            changed(s, offset);
        } else {
            s->status |= STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR;
        }
        s->status |= STATUS_READY;
        set_mode(s, MODE_STATUS);
        break;
    default:
        command(s, value);
        break;
    }
}

static uint8_t read_byte(const struct pflash *s, uint64_t offset)
{
    if (s->mode == MODE_ARRAY)
        return s->bytes[offset];
    if (s->mode == MODE_ID)
        return (offset & 0xff) == 0 ? ID_MANUFACTURER : (offset & 0xff) == 1 ? ID_DEVICE : 0;
    return s->status;
}

static bool pflash_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct pflash *s = dev->state;
    gh_trace(pflash_access, "%s %#llx width %u value %#llx mode %u", a->write ? "write" : "read",
             (unsigned long long)a->offset, a->width, a->write ? (unsigned long long)a->value : 0ull, s->mode);
    if (a->write) {
        write_byte(s, a->offset, (uint8_t)a->value);
        return true;
    }
    a->value = 0;
    for (unsigned i = 0; i < a->width; i++)
        a->value |= (uint64_t)read_byte(s, a->offset + i) << (i * 8);
    return true;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

int gh_pflash_fill(struct gh_device *dev, const void *data, size_t len, struct gh_error *err)
{
    struct pflash *s = dev->state;
    if (len > s->size)
        return gh_error_option(err, -EINVAL, "NvramTooLarge", "nvram", "The variable store has %zu bytes and the flash %u; "
                               "use the store that belongs to this firmware.", len, s->size);
    memcpy(s->bytes, data, len);
    return 0;
}

static int pflash_attach(struct gh_device *dev, struct gh_error *err)
{
    struct pflash *s = dev->state;
    uint64_t end;
    s->dev = dev;
    if (s->size % GH_PFLASH_BLOCK || s->base % GH_PFLASH_BLOCK || !s->size || s->size > SIZE_MAX_BYTES ||
        !gh_add_u64(s->base, s->size, &end) || end > 1ull << 32)
        return gh_error_option(err, -EINVAL, "NvramPlaceInvalid", "base", "A flash of %u bytes cannot stand at %#llx; both must "
                               "be multiples of 4096, below 4 GiB.", s->size, (unsigned long long)s->base);
    gh_timer_init(&s->write_back, dev, pflash_write_back);
    s->bytes = dev->ops->ram_alloc(dev->board, s->size, "nvram", err);
    if (!s->bytes)
        return -ENOMEM;
    memset(s->bytes, 0xff, s->size);
    const struct gh_range_desc ranges[] = {
        [RANGE_ARRAY] = { .name = "pflash", .space = GH_SPACE_MMIO, .kind = GH_RANGE_ROM, .base = s->base, .size = s->size,
                          .priority = 1, .host = s->bytes, .widths = GH_W8 | GH_W16 | GH_W32, .fn = pflash_access },
        [RANGE_COMMANDS] = { .name = "pflash-commands", .space = GH_SPACE_MMIO, .base = s->base, .size = s->size,
                             .priority = 2, .disabled = true, .widths = GH_W8 | GH_W16 | GH_W32, .fn = pflash_access },
    };
    int r = gh_range_add(dev, RANGE_ARRAY, &ranges[RANGE_ARRAY], err);
    return r < 0 ? r : gh_range_add(dev, RANGE_COMMANDS, &ranges[RANGE_COMMANDS], err);
}

static void pflash_reset(struct gh_device *dev, enum gh_reset why)
{
    struct pflash *s = dev->state;
    s->status = STATUS_READY;
    set_mode(s, MODE_ARRAY);
}

static int pflash_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct pflash *s = dev->state;
    if (s->mode >= MODES)
        return gh_error_set(err, -EINVAL, "SavedStateDamaged", "The saved state of \"%s\" is in mode %u, which does not exist; "
                            "discard it and start the machine anew.", dev->id, s->mode);
    gh_range_set(dev, RANGE_COMMANDS, s->mode != MODE_ARRAY, s->base);
    return 0;
}

static void pflash_quiesce(struct gh_device *dev, struct gh_done *done)
{
    struct pflash *s = dev->state;
    write_next(s);
    if (s->writing)
        s->quiesced = done;
    else
        done->fn(done);
}

static void pflash_detach(struct gh_device *dev)
{
    gh_timer_disarm(&((struct pflash *)dev->state)->write_back);
}

const struct gh_device_class gh_class_pflash = {
    .name = "pflash", .summary = "Flash memory for UEFI variables", .state_size = sizeof(struct pflash), .version = 1,
    .options = options, .saved = fields, .attach = pflash_attach, .reset = pflash_reset, .loaded = pflash_loaded,
    .quiesce = pflash_quiesce, .detach = pflash_detach,
};
