/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * 82077AA floppy disk controller with up to two drives, 3F0h-3F5h and 3F7h, IRQ 6, ISA DMA 2.
 * Specification: Intel 82077AA data sheet.
 *
 * Modelled: all registers; READ, WRITE (also deleted data and track), VERIFY, FORMAT TRACK, READ ID,
 * SEEK, RELATIVE SEEK, RECALIBRATE, SENSE INTERRUPT and DRIVE STATUS, SPECIFY, CONFIGURE, DUMPREG,
 * VERSION, PERPENDICULAR MODE, LOCK; DMA and non-DMA; the data rate must fit the medium, so that
 * systems find its format; the disk-change line (the board tells firmware the drives' types). Geometry comes from the size of the image.
 * Left out: SCAN commands, sectors other than 512 bytes, tape drives, the time a motor or a head
 * needs beyond a token delay, copy protection.
 */
#include <errno.h>

#include "devices/classes.h"
#include "devices/storage/fdc_internal.h"

enum { RANGE_MAIN, RANGE_DIR };
enum { REG_SRA, REG_SRB, REG_DOR, REG_TDR, REG_MSR_DSR, REG_FIFO };
enum { DOR_DRIVE = 0x03, DOR_NOT_RESET = 0x04, DOR_GATE = 0x08, DOR_MOTOR0 = 0x10 };
enum { MSR_RQM = 0x80, MSR_DIO = 0x40, MSR_NON_DMA = 0x20, MSR_BUSY = 0x10 };
enum { DSR_RESET = 0x80, RATE_MASK = 0x03, DIR_CHANGED = 0x80, SRA_INTERRUPT = 0x80, SRB_IDLE = 0xc0 };
enum { CONFIG_POLL_OFF = 0x10, CONFIG_DEFAULT = 0x00, SPECIFY_NON_DMA = 0x01, LOCK = 0x80 };
enum { ST3_TWO_SIDES = 0x08, ST3_TRACK0 = 0x10, ST3_READY = 0x20, ST3_WRITE_PROTECTED = 0x40 };
enum { VERSION = 0x90, SEEK_NS = 200000, CYLINDER_MAX = 84 };

/* ---- Interrupt, results ---------------------------------------------------------------------------------- */

void fdc_set_interrupt(struct fdc *f, bool level)
{
    f->interrupt = level;
    gh_irq_set(f->dev, f->irq, level && (f->dor & DOR_GATE));
}

static void begin_command(struct fdc *f)
{
    f->phase = FDC_COMMAND;
    f->wait = FDC_WAIT_NOTHING;
    f->fifo_pos = f->fifo_len = 0;
}

static void begin_result(struct fdc *f, unsigned len, bool interrupt)
{
    f->phase = FDC_RESULT;
    f->wait = FDC_WAIT_NOTHING;
    f->fifo_pos = 0;
    f->fifo_len = (uint8_t)(len <= FDC_FIFO_BYTES ? len : FDC_FIFO_BYTES);
    if (interrupt)
        fdc_set_interrupt(f, true);
}

static void result_byte(struct fdc *f, uint8_t byte)
{
    f->fifo[0] = byte;
    begin_result(f, 1, false);
}

void fdc_finish(struct fdc *f, uint8_t st0, uint8_t st1, uint8_t st2)
{
    const uint8_t result[7] = {
        (uint8_t)(st0 | (f->head ? ST0_HEAD : 0) | f->unit), st1, st2, f->fifo[2], f->head, f->sector, f->sector_code};

    gh_trace(fdc_finish, "st0 %#x st1 %#x st2 %#x", result[0], st1, st2);
    memcpy(f->fifo, result, sizeof result);
    begin_result(f, sizeof result, true);
}

/* ---- Seeks and reset ------------------------------------------------------------------------------------- */

static void seek(struct fdc *f, unsigned unit, unsigned cylinder)
{
    bool read_only;

    begin_command(f);
    f->seeking |= (uint8_t)(1u << unit);
    f->seek_st0[unit] = (uint8_t)(ST0_SEEK_END | (f->fifo[1] & 7));
    if (unit < FDC_DRIVES && f->drive[unit].block) {
        f->drive[unit].cylinder = (uint8_t)(cylinder < CYLINDER_MAX ? cylinder : CYLINDER_MAX - 1);
        if (fdc_medium(f, unit, &read_only))
            f->drive[unit].changed = false; /* a step pulse with a disk in it */
    } else {
        f->seek_st0[unit] |= ST0_ABNORMAL | 0x10; /* equipment check: track 0 never came */
    }
    gh_timer_arm(&f->event_timer, gh_now_ns(f->dev) + SEEK_NS);
}

static void event(struct gh_device *dev, struct gh_timer *timer)
{
    struct fdc *f = dev->state;

    f->seek_ended |= f->seeking;
    f->seeking = 0;
    if (f->seek_ended || f->reset_senses)
        fdc_set_interrupt(f, true);
}

static void controller_reset(struct fdc *f)
{
    if (f->phase == FDC_EXECUTE)
        fdc_transfer_abandon(f);
    begin_command(f);
    fdc_set_interrupt(f, false);
    f->seeking = f->seek_ended = 0;
    f->perpendicular &= 0x3c;
    if (!f->locked) {
        f->config = CONFIG_DEFAULT;
        f->precompensation = 0;
    }
    f->reset_senses = 0;
}

static void leave_reset(struct fdc *f)
{
    f->reset_senses = f->config & CONFIG_POLL_OFF ? 0 : 4;
    gh_timer_arm(&f->event_timer, gh_now_ns(f->dev) + SEEK_NS);
}

/* ---- Commands -------------------------------------------------------------------------------------------- */

static void sense_interrupt(struct fdc *f)
{
    fdc_set_interrupt(f, false);
    for (unsigned unit = 0; unit < 4; unit++) {
        if (!(f->seek_ended >> unit & 1))
            continue;
        f->seek_ended &= (uint8_t)~(1u << unit);
        f->fifo[0] = f->seek_st0[unit];
        f->fifo[1] = unit < FDC_DRIVES ? f->drive[unit].cylinder : 0;
        begin_result(f, 2, f->seek_ended != 0);
        return;
    }
    if (!f->reset_senses) {
        result_byte(f, ST0_INVALID);
        return;
    }
    f->fifo[0] = (uint8_t)(ST0_CHANGED | (4 - f->reset_senses));
    f->fifo[1] = 4 - f->reset_senses < FDC_DRIVES ? f->drive[4 - f->reset_senses].cylinder : 0;
    f->reset_senses--;
    begin_result(f, 2, false);
}

static void sense_drive(struct fdc *f)
{
    unsigned unit = f->fifo[1] & 3;
    bool read_only, present = unit < FDC_DRIVES && f->drive[unit].block;
    uint8_t st3 = (uint8_t)(ST3_READY | ST3_TWO_SIDES | (f->fifo[1] & 7));

    fdc_medium(f, unit, &read_only);
    if (present && !f->drive[unit].cylinder)
        st3 |= ST3_TRACK0;
    if (read_only)
        st3 |= ST3_WRITE_PROTECTED;
    result_byte(f, st3);
}

static void read_id(struct fdc *f)
{
    bool read_only;

    f->unit = f->fifo[1] & 3;
    f->head = f->fifo[1] >> 2 & 1;
    f->sector_code = 2;
    f->sector = 0;
    const struct fdc_geometry *g = fdc_medium(f, f->unit, &read_only);
    if (!g || !(g->rates >> f->rate & 1) || f->head >= g->heads || f->drive[f->unit].cylinder >= g->cylinders) {
        f->fifo[2] = 0;
        fdc_finish(f, ST0_ABNORMAL, ST1_MISSING_MARK, 0);
        return;
    }
    struct fdc_drive *d = &f->drive[f->unit];
    d->id_sector = (uint8_t)((d->id_sector + 1) % g->sectors);
    f->sector = d->id_sector + 1;
    f->fifo[2] = d->cylinder;
    fdc_finish(f, 0, 0, 0);
}

static void recalibrate(struct fdc *f)
{
    seek(f, f->fifo[1] & 3, 0);
}

static void seek_command(struct fdc *f)
{
    seek(f, f->fifo[1] & 3, f->fifo[2]);
}

static void relative_seek(struct fdc *f)
{
    unsigned unit = f->fifo[1] & 3, now = unit < FDC_DRIVES ? f->drive[unit].cylinder : 0;

    if (f->fifo[0] & 0x40)
        seek(f, unit, now + f->fifo[2]);
    else
        seek(f, unit, now > f->fifo[2] ? now - f->fifo[2] : 0);
}

static void specify(struct fdc *f)
{
    f->specify[0] = f->fifo[1];
    f->specify[1] = f->fifo[2];
    begin_command(f);
}

static void configure(struct fdc *f)
{
    f->config = f->fifo[2];
    f->precompensation = f->fifo[3];
    begin_command(f);
}

static void perpendicular(struct fdc *f)
{
    f->perpendicular = f->fifo[1] & 0x80 ? f->fifo[1] & 0x3f
                                         : (uint8_t)((f->perpendicular & 0x3c) | (f->fifo[1] & 3));
    begin_command(f);
}

static void lock(struct fdc *f)
{
    f->locked = f->fifo[0] & LOCK;
    result_byte(f, f->locked ? 0x10 : 0);
}

static void version(struct fdc *f)
{
    result_byte(f, VERSION);
}

static void dump_registers(struct fdc *f)
{
    const uint8_t result[10] = {
        f->drive[0].cylinder, f->drive[1].cylinder, 0, 0, f->specify[0], f->specify[1], f->last_sector,
        (uint8_t)((f->locked ? 0x80 : 0) | f->perpendicular), f->config, f->precompensation};

    memcpy(f->fifo, result, sizeof result);
    begin_result(f, sizeof result, false);
}

static void invalid(struct fdc *f)
{
    gh_guest_error(f->dev, "unknown command %#x", f->fifo[0]);
    result_byte(f, ST0_INVALID);
}

/* Bits of the mask are options of the command. len includes the command byte. */
static const struct { uint8_t mask, code, len; void (*run)(struct fdc *f); } commands[] = {
    {0x1f, 0x06, 9, fdc_transfer_start}, /* READ DATA */
    {0x1f, 0x0c, 9, fdc_transfer_start}, /* READ DELETED DATA */
    {0x3f, 0x05, 9, fdc_transfer_start}, /* WRITE DATA */
    {0x3f, 0x09, 9, fdc_transfer_start}, /* WRITE DELETED DATA */
    {0x9f, 0x02, 9, fdc_transfer_start}, /* READ TRACK */
    {0x1f, 0x16, 9, fdc_transfer_start}, /* VERIFY */
    {0xbf, 0x0d, 6, fdc_transfer_start}, /* FORMAT TRACK */
    {0xbf, 0x0a, 2, read_id},
    {0xff, 0x07, 2, recalibrate},
    {0xff, 0x08, 1, sense_interrupt},
    {0xff, 0x03, 3, specify},
    {0xff, 0x04, 2, sense_drive},
    {0xff, 0x0f, 3, seek_command},
    {0xbf, 0x8f, 3, relative_seek},
    {0xff, 0x10, 1, version},
    {0xff, 0x13, 4, configure},
    {0xff, 0x0e, 1, dump_registers},
    {0xff, 0x12, 2, perpendicular},
    {0x7f, 0x14, 1, lock},
    {0x00, 0x00, 1, invalid},
};

static unsigned find_command(uint8_t byte)
{
    unsigned i = 0;

    while ((byte & commands[i].mask) != commands[i].code)
        i++;
    return i;
}

static void command_byte(struct fdc *f, uint8_t byte)
{
    if (!f->fifo_pos)
        f->fifo_len = commands[find_command(byte)].len;
    if (f->fifo_pos < FDC_FIFO_BYTES)
        f->fifo[f->fifo_pos++] = byte;
    if (f->fifo_pos >= f->fifo_len) {
        gh_trace(fdc_command, "%#x", f->fifo[0]);
        commands[find_command(f->fifo[0])].run(f);
    }
}

/* ---- Registers --------------------------------------------------------------------------------------------- */

static uint8_t read_fifo(struct fdc *f)
{
    if (f->phase == FDC_EXECUTE && f->wait == FDC_WAIT_HOST && f->kind == FDC_READ)
        return fdc_host_read(f);
    if (f->phase != FDC_RESULT) {
        gh_guest_error(f->dev, "data port read while nothing is to be read");
        return 0;
    }
    uint8_t byte = f->fifo[f->fifo_pos++];
    if (!f->seek_ended)
        fdc_set_interrupt(f, false);
    if (f->fifo_pos >= f->fifo_len)
        begin_command(f);
    return byte;
}

static void write_fifo(struct fdc *f, uint8_t byte)
{
    if (!(f->dor & DOR_NOT_RESET))
        return;
    if (f->phase == FDC_EXECUTE && f->wait == FDC_WAIT_HOST && f->kind != FDC_READ)
        fdc_host_write(f, byte);
    else if (f->phase == FDC_COMMAND)
        command_byte(f, byte);
    else
        gh_guest_error(f->dev, "data port written while the controller is busy");
}

static uint8_t read_msr(const struct fdc *f)
{
    uint8_t v = f->seeking;

    if (!(f->dor & DOR_NOT_RESET))
        return 0;
    switch (f->phase) {
    case FDC_COMMAND:
        return v | MSR_RQM | (f->fifo_pos ? MSR_BUSY : 0);
    case FDC_RESULT:
        return v | MSR_RQM | MSR_DIO | MSR_BUSY;
    default:
        v |= MSR_BUSY | (f->specify[1] & SPECIFY_NON_DMA ? MSR_NON_DMA : 0);
        if (f->wait == FDC_WAIT_HOST)
            v |= MSR_RQM | (f->kind == FDC_READ ? MSR_DIO : 0);
        return v;
    }
}

static void write_dor(struct fdc *f, uint8_t value)
{
    uint8_t old = f->dor;

    f->dor = value;
    if ((old & DOR_NOT_RESET) && !(value & DOR_NOT_RESET)) {
        gh_timer_disarm(&f->event_timer);
        controller_reset(f);
    } else if (!(old & DOR_NOT_RESET) && (value & DOR_NOT_RESET)) {
        leave_reset(f);
    }
    fdc_set_interrupt(f, f->interrupt);
}

static uint8_t read_dir(const struct fdc *f)
{
    unsigned unit = f->dor & DOR_DRIVE;
    bool motor = f->dor >> 4 >> unit & 1;

    return unit < FDC_DRIVES && f->drive[unit].block && motor && f->drive[unit].changed ? DIR_CHANGED : 0;
}

static bool main_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct fdc *f = dev->state;
    uint8_t value = (uint8_t)a->value;

    switch (a->offset) {
    case REG_SRA:
        a->value = f->interrupt ? SRA_INTERRUPT : 0;
        return true;
    case REG_SRB:
        a->value = SRB_IDLE | (f->dor & 1) << 5 | (f->dor >> 4 & 3);
        return true;
    case REG_DOR:
        if (a->write)
            write_dor(f, value);
        else
            a->value = f->dor;
        return true;
    case REG_TDR:
        if (a->write)
            f->tdr = value & 3;
        else
            a->value = f->tdr;
        return true;
    case REG_MSR_DSR:
        if (!a->write) {
            a->value = read_msr(f);
            return true;
        }
        f->rate = value & RATE_MASK;
        if (value & DSR_RESET) {
            controller_reset(f);
            leave_reset(f);
        }
        return true;
    default:
        if (a->write)
            write_fifo(f, value);
        else
            a->value = read_fifo(f);
        return true;
    }
}

static bool dir_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct fdc *f = dev->state;

    if (a->write)
        f->rate = (uint8_t)a->value & RATE_MASK;
    else
        a->value = read_dir(f);
    return true;
}

/* ---- Class --------------------------------------------------------------------------------------------------- */

static void medium_event(void *opaque, bool eject_request)
{
    if (!eject_request)
        ((struct fdc_drive *)opaque)->changed = true;
}

static void fdc_reset(struct gh_device *dev, enum gh_reset why)
{
    struct fdc *f = dev->state;

    f->locked = false;
    controller_reset(f);
    gh_timer_disarm(&f->event_timer);
    f->dor = f->tdr = f->reset_senses = 0;
    f->rate = 2;
    f->perpendicular = 0;
    f->specify[0] = f->specify[1] = 0;
    fdc_set_interrupt(f, false);
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        f->drive[i].cylinder = f->drive[i].id_sector = 0;
        f->drive[i].changed = true;
    }
}

static int fdc_attach(struct gh_device *dev, struct gh_error *err)
{
    struct fdc *f = dev->state;
    const struct gh_range_desc main_range = {
        .name = "fdc", .base = f->iobase, .size = 6, .widths = GH_W8, .fn = main_access};
    const struct gh_range_desc dir_range = {
        .name = "fdc-dir", .base = f->iobase + 7u, .size = 1, .widths = GH_W8, .fn = dir_access};

    f->dev = dev;
    gh_timer_init(&f->event_timer, dev, event);
    gh_timer_init(&f->dma_timer, dev, fdc_dma_timer);
    f->dma = gh_lookup(dev, "isa-dma");
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        if (!f->drive[i].block)
            continue;
        f->drive[i].block->medium_event = medium_event;
        f->drive[i].block->event_opaque = &f->drive[i];
    }
    int r = gh_range_add(dev, RANGE_MAIN, &main_range, err);
    return r < 0 ? r : gh_range_add(dev, RANGE_DIR, &dir_range, err);
}

static void fdc_quiesce(struct gh_device *dev, struct gh_done *done)
{
    struct fdc *f = dev->state;

    if (f->in_flight)
        f->quiet = done;
    else
        done->fn(done);
}

static void fdc_detach(struct gh_device *dev)
{
    struct fdc *f = dev->state;

    gh_timer_disarm(&f->event_timer);
    gh_timer_disarm(&f->dma_timer);
    for (unsigned i = 0; i < FDC_DRIVES; i++)
        if (f->drive[i].block && f->drive[i].block->event_opaque == &f->drive[i])
            f->drive[i].block->medium_event = NULL;
}

static bool possible(const struct fdc *f)
{
    bool ok = f->phase < FDC_PHASES && f->wait < FDC_WAITS && f->kind < FDC_KINDS && f->fifo_len <= FDC_FIFO_BYTES &&
              f->fifo_pos <= f->fifo_len && f->data_len <= FDC_DATA_BYTES && f->data_pos <= f->data_len &&
              f->unit < 4 && f->head < 2 && f->reset_senses <= 4 && f->rate <= RATE_MASK && f->wait != FDC_WAIT_BLOCK;

    if (f->phase == FDC_COMMAND && f->fifo_pos && f->fifo_len != commands[find_command(f->fifo[0])].len)
        ok = false;
    if ((f->phase == FDC_RESULT && f->fifo_pos >= f->fifo_len) || (f->phase == FDC_EXECUTE && f->unit >= FDC_DRIVES))
        ok = false;
    for (unsigned i = 0; i < FDC_DRIVES; i++)
        ok = ok && f->drive[i].cylinder < CYLINDER_MAX && f->drive[i].id_sector < FDC_TRACK_SECTORS;
    return ok;
}

static int fdc_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct fdc *f = dev->state;
    bool executing = f->phase == FDC_EXECUTE;

    if (!possible(f) || (executing && f->wait == FDC_WAIT_NOTHING) || (executing && !f->drive[f->unit].block) ||
        (executing && f->wait == FDC_WAIT_DMA && !f->dma))
        return gh_error_set(err, -EBADMSG, "SavedStateDamaged",
                            "The saved state of the floppy controller is impossible; "
                            "discard it and start the machine anew.");
    if (f->seeking || (f->reset_senses == 4 && (f->dor & DOR_NOT_RESET) && !f->interrupt))
        gh_timer_arm(&f->event_timer, gh_now_ns(dev) + SEEK_NS);
    if (executing && f->wait == FDC_WAIT_DMA)
        gh_timer_arm(&f->dma_timer, gh_now_ns(dev) + SEEK_NS);
    return 0;
}

static const struct gh_option fdc_options[] = {
    GH_OPT(GH_T_BLOCK, struct fdc, drive[0].block, "drive0", 0, 0, NULL, "Medium of the first drive"),
    GH_OPT(GH_T_BLOCK, struct fdc, drive[1].block, "drive1", 0, 0, NULL, "Medium of the second drive"),
    GH_OPT(GH_T_U16, struct fdc, iobase, "iobase", 0, 0xfff8, "0x3f0", "First I/O port"),
    GH_OPT(GH_T_U8, struct fdc, irq, "irq", 0, 15, "6", "Interrupt"),
    GH_OPT(GH_T_U8, struct fdc, dma_channel, "dma", 0, 3, "2", "ISA DMA channel"),
    {0},
};
static const struct gh_field drive_fields[] = {
    GH_FIELD(GH_T_U8, struct fdc_drive, cylinder, 1),
    GH_FIELD(GH_T_U8, struct fdc_drive, id_sector, 1),
    GH_FIELD(GH_T_BOOL, struct fdc_drive, changed, 1),
    {0},
};
static const struct gh_field fdc_fields[] = {
    GH_FIELD_TABLE(struct fdc, drive, struct fdc_drive, drive_fields, FDC_DRIVES, 1),
    GH_FIELD(GH_T_U8, struct fdc, dor, 1),
    GH_FIELD(GH_T_U8, struct fdc, tdr, 1),
    GH_FIELD(GH_T_U8, struct fdc, rate, 1),
    GH_FIELD_ARRAY(GH_T_BYTES, struct fdc, fifo, FDC_FIFO_BYTES, 1),
    GH_FIELD(GH_T_U8, struct fdc, fifo_len, 1),
    GH_FIELD(GH_T_U8, struct fdc, fifo_pos, 1),
    GH_FIELD(GH_T_U8, struct fdc, phase, 1),
    GH_FIELD(GH_T_U8, struct fdc, wait, 1),
    GH_FIELD(GH_T_U8, struct fdc, kind, 1),
    GH_FIELD_ARRAY(GH_T_BYTES, struct fdc, specify, 2, 1),
    GH_FIELD(GH_T_U8, struct fdc, config, 1),
    GH_FIELD(GH_T_U8, struct fdc, precompensation, 1),
    GH_FIELD(GH_T_U8, struct fdc, perpendicular, 1),
    GH_FIELD(GH_T_BOOL, struct fdc, locked, 1),
    GH_FIELD(GH_T_BOOL, struct fdc, interrupt, 1),
    GH_FIELD(GH_T_U8, struct fdc, reset_senses, 1),
    GH_FIELD(GH_T_U8, struct fdc, seeking, 1),
    GH_FIELD(GH_T_U8, struct fdc, seek_ended, 1),
    GH_FIELD_ARRAY(GH_T_BYTES, struct fdc, seek_st0, 4, 1),
    GH_FIELD(GH_T_U8, struct fdc, unit, 1),
    GH_FIELD(GH_T_U8, struct fdc, head, 1),
    GH_FIELD(GH_T_U8, struct fdc, sector, 1),
    GH_FIELD(GH_T_U8, struct fdc, last_sector, 1),
    GH_FIELD(GH_T_U8, struct fdc, filler, 1),
    GH_FIELD(GH_T_U8, struct fdc, sector_code, 1),
    GH_FIELD(GH_T_U8, struct fdc, multi_track, 1),
    GH_FIELD_ARRAY(GH_T_BYTES, struct fdc, data, FDC_DATA_BYTES, 1),
    GH_FIELD(GH_T_U32, struct fdc, data_len, 1),
    GH_FIELD(GH_T_U32, struct fdc, data_pos, 1),
    GH_FIELD(GH_T_U32, struct fdc, dma_tries, 1),
    GH_FIELD(GH_T_BOOL, struct fdc, terminal_count, 1),
    GH_FIELD(GH_T_BOOL, struct fdc, verify, 1),
    {0},
};

const struct gh_device_class gh_class_fdc = {
    .name = "fdc",
    .summary = "Floppy disk controller",
    .state_size = sizeof(struct fdc),
    .version = 1,
    .options = fdc_options,
    .saved = fdc_fields,
    .attach = fdc_attach,
    .reset = fdc_reset,
    .loaded = fdc_loaded,
    .quiesce = fdc_quiesce,
    .detach = fdc_detach,
};
