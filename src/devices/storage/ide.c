/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * PIIX3 IDE: two channels in compatibility mode with two drives each, and the bus master function.
 * Modelled: the task file with its 48-bit halves, both resets, PIO and DMA, disks and CD drives.
 * Left out on purpose: timing registers have no effect, native mode, overlapped commands.
 */
#include "devices/storage/ide.h"

#include <errno.h>
#include <stdio.h>

#include "devices/classes.h"

enum { RANGE_COMMAND_0, RANGE_CONTROL_0, RANGE_COMMAND_1, RANGE_CONTROL_1, RANGE_BM };
enum { REG_DATA, REG_ERROR, REG_NSECTOR, REG_SECTOR, REG_LCYL, REG_HCYL, REG_SELECT, REG_STATUS };

/* ---- Interrupt and the ends of commands ------------------------------------------------------------------ */
static void update_line(struct ide_channel *c)
{
    gh_irq_set(c->ide->dev, c->number ? IDE_IRQ_SECONDARY : IDE_IRQ_PRIMARY, c->irq && !(c->control & CTL_NIEN));
}

void ide_irq(struct ide_channel *c, bool level)
{
    if (level)
        c->bm_status |= BM_IRQ;
    c->irq = level;
    update_line(c);
}

static void check_quiet(struct ide *s)
{
    if (!s->quiesced)
        return;
    for (unsigned i = 0; i < 4; i++)
        if (s->channel[i / 2].drive[i % 2].in_flight)
            return;
    struct gh_done *done = s->quiesced;
    s->quiesced = NULL;
    done->fn(done);
}

static void to_idle(struct ide_drive *d, uint8_t status)
{
    d->phase = IDE_IDLE;
    d->job = JOB_NONE;
    d->left = d->pos = d->end = d->block_end = 0;
    d->status = status;
}

void ide_done_ok(struct ide_drive *d)
{
    to_idle(d, ST_DRDY | ST_DSC);
    d->error = 0;
    ide_irq(d->channel, true);
}

void ide_done_error(struct ide_drive *d, uint8_t error)
{
    to_idle(d, ST_DRDY | ST_DSC | ST_ERR);
    d->error = error;
    gh_trace(ide_error, "%s command %#x error %#x", d->block->name, d->command, error);
    ide_irq(d->channel, true);
}

/* What a drive shows after a reset: who it is. */
void ide_signature(struct ide_drive *d)
{
    to_idle(d, d->atapi ? 0 : ST_DRDY | ST_DSC);
    d->error = 1;
    d->nsector = d->sector = 1;
    d->lcyl = d->atapi ? 0x14 : 0;
    d->hcyl = d->atapi ? 0xeb : 0;
    d->hob_nsector = d->hob_sector = d->hob_lcyl = d->hob_hcyl = d->hob_feature = 0;
    d->select &= (uint8_t)~0x0f;
}

/* A reset of a drive. With a request in flight BSY stays until the backend let go of it. */
static void reset_drive(struct ide_drive *d, bool power)
{
    if (!ide_present(d))
        return;
    if (power) {
        d->multiple = 16;
        d->heads = 16;
        d->sectors = 63;
        d->write_cache = d->smart = 1;
        d->transfer_mode = 0;
        if (d->atapi)
            gh_mmc_reset(&d->mmc);
    }
    if (d->in_flight) {
        d->aborted = true;
        d->status = ST_BSY;
        d->block->ops->cancel_all(d->block);
        return;
    }
    ide_signature(d);
}

/* ---- Requests -------------------------------------------------------------------------------------------- */
static void request_done(struct gh_block_request *req, int result)
{
    struct ide_drive *d = req->opaque;
    struct ide *s = d->channel->ide;
    d->in_flight = false;
    if (d->aborted) {
        d->aborted = false;
        if (d->dma)
            ide_dma_reset(d->channel);
        ide_signature(d);
    } else if (d->dma && d->job != JOB_FLUSH && d->job != JOB_TRIM) {
        ide_dma_chunk_done(d, result);
    } else if (d->atapi) {
        ide_atapi_request_done(d, result);
    } else {
        ide_ata_request_done(d, result);
    }
    check_quiet(s);
}

void ide_submit(struct ide_drive *d, enum gh_block_op op, uint64_t offset, uint64_t bytes, const struct iovec *iov, unsigned n)
{
    d->phase = IDE_BUSY;
    d->status = ST_BSY | ST_DSC;
    d->in_flight = true;
    d->chunk = (uint32_t)bytes;
    d->req = (struct gh_block_request){ .op = op, .offset = offset, .bytes = bytes, .iov = iov, .iov_count = n,
        .fua = op == GH_BLOCK_WRITE && (d->fua || !d->write_cache), .done = request_done, .opaque = d };
    d->block->ops->submit(d->block, &d->req);
}

void ide_submit_buffer(struct ide_drive *d, enum gh_block_op op, uint64_t offset, uint32_t bytes)
{
    d->iov = (struct iovec){ d->buf, bytes };
    ide_submit(d, op, offset, bytes, &d->iov, 1);
}

/* ---- PIO --------------------------------------------------------------------------------------------------- */
static void begin_block(struct ide_drive *d, bool interrupt)
{
    uint32_t n = d->end - d->pos;
    if (d->block_bytes && n > d->block_bytes)
        n = d->block_bytes;
    d->block_end = d->pos + n;
    d->status = ST_DRDY | ST_DSC | ST_DRQ;
    if (d->atapi && d->job != JOB_DATA)
        ide_atapi_block(d);
    if (interrupt)
        ide_irq(d->channel, true);
}

void ide_pio_in(struct ide_drive *d, enum ide_job job, uint32_t bytes)
{
    d->phase = IDE_PIO_IN;
    d->job = (uint8_t)job;
    d->pos = 0;
    d->end = bytes;
    begin_block(d, true);
}

void ide_pio_out(struct ide_drive *d, enum ide_job job, uint32_t bytes, bool interrupt)
{
    d->phase = IDE_PIO_OUT;
    d->job = (uint8_t)job;
    d->pos = 0;
    d->end = bytes;
    begin_block(d, interrupt);
}

static void block_moved(struct ide_drive *d)
{
    if (d->pos < d->end)
        begin_block(d, true);
    else if (d->atapi && d->job != JOB_DATA)
        ide_atapi_buffer_done(d);
    else
        ide_ata_buffer_done(d);
}

/* Moves up to len bytes between the data port and buf; what does not fit is lost, as on the bus. */
static void data_port(struct ide_channel *c, bool write, uint8_t *data, size_t len)
{
    struct ide_drive *d = ide_selected(c);
    while (len && ide_present(d) && d->phase == (write ? IDE_PIO_OUT : IDE_PIO_IN)) {
        size_t n = d->block_end - d->pos;
        if (n > len)
            n = len;
        if (write)
            memcpy(d->buf + d->pos, data, n);
        else
            memcpy(data, d->buf + d->pos, n);
        d->pos += (uint32_t)n;
        data += n;
        len -= n;
        if (d->pos == d->block_end)
            block_moved(d);
    }
    if (len) {
        if (!write)
            memset(data, 0xff, len);
        gh_guest_error(c->ide->dev, "data port of channel %u used without data to move", c->number);
    }
}

/* ---- Registers ---------------------------------------------------------------------------------------------- */
static uint8_t read_register(struct ide_channel *c, unsigned reg)
{
    struct ide_drive *d = ide_selected(c);
    bool hob = c->control & CTL_HOB;
    if (!ide_present(&c->drive[0]) && !ide_present(&c->drive[1]))
        return 0x7f;                      /* nothing drives the bus; D7 has the pull-down */
    if (reg == REG_SELECT)
        return d->select | 0xa0;
    if (!ide_present(d))
        return 0;
    switch (reg) {
    case REG_ERROR: return hob ? d->hob_feature : d->error;
    case REG_NSECTOR: return hob ? d->hob_nsector : d->nsector;
    case REG_SECTOR: return hob ? d->hob_sector : d->sector;
    case REG_LCYL: return hob ? d->hob_lcyl : d->lcyl;
    case REG_HCYL: return hob ? d->hob_hcyl : d->hcyl;
    case REG_STATUS:
        ide_irq(c, false);
        return d->status;
    default: return 0xff;
    }
}

static void write_pair(uint8_t *hob, uint8_t *now, uint8_t v)
{
    *hob = *now;
    *now = v;
}

static void run_command(struct ide_channel *c, uint8_t command)
{
    struct ide_drive *d = ide_selected(c);
    if (command == 0x90) {                /* EXECUTE DEVICE DIAGNOSTIC: both drives, either selected */
        for (unsigned i = 0; i < 2; i++)
            if (c->drive[i].in_flight)
                return;
        for (unsigned i = 0; i < 2; i++)
            reset_drive(&c->drive[i], false);
        c->unit = 0;
        ide_irq(c, true);
        return;
    }
    if (!ide_present(d))
        return;
    if (command == 0x08 && d->atapi) {    /* DEVICE RESET works although busy, without interrupt */
        reset_drive(d, false);
        return;
    }
    if (d->status & ST_BSY)
        return;
    gh_trace(ide_command, "%s %#x", d->block->name, command);
    ide_irq(c, false);
    to_idle(d, ST_BSY);
    d->error = 0;
    d->command = command;
    d->dma = d->fua = 0;
    if (d->atapi)
        ide_atapi_command(d, command);
    else
        ide_ata_command(d, command);
}

static void write_register(struct ide_channel *c, unsigned reg, uint8_t v)
{
    c->control &= (uint8_t)~CTL_HOB;
    if (reg == REG_STATUS) {
        run_command(c, v);
        return;
    }
    if (ide_present(ide_selected(c)) && ide_selected(c)->status & ST_BSY)
        return;
    for (unsigned i = 0; i < 2; i++) {
        struct ide_drive *d = &c->drive[i];
        switch (reg) {
        case REG_ERROR: write_pair(&d->hob_feature, &d->feature, v); break;
        case REG_NSECTOR: write_pair(&d->hob_nsector, &d->nsector, v); break;
        case REG_SECTOR: write_pair(&d->hob_sector, &d->sector, v); break;
        case REG_LCYL: write_pair(&d->hob_lcyl, &d->lcyl, v); break;
        case REG_HCYL: write_pair(&d->hob_hcyl, &d->hcyl, v); break;
        case REG_SELECT: d->select = v; break;
        default: break;
        }
    }
    if (reg == REG_SELECT)
        c->unit = !!(v & DEV_UNIT);
}

static void write_control(struct ide_channel *c, uint8_t v)
{
    uint8_t was = c->control;
    c->control = v;
    if (v & CTL_SRST && !(was & CTL_SRST)) {
        ide_irq(c, false);
        for (unsigned i = 0; i < 2; i++) {
            reset_drive(&c->drive[i], false);
            c->drive[i].status |= ST_BSY;
        }
        c->unit = 0;
    } else if (!(v & CTL_SRST) && was & CTL_SRST) {
        for (unsigned i = 0; i < 2; i++)
            if (ide_present(&c->drive[i]) && !c->drive[i].in_flight)
                ide_signature(&c->drive[i]);
    }
    update_line(c);
}

static bool command_block(struct ide_channel *c, struct gh_access *a)
{
    if (a->offset == REG_DATA) {
        if (a->count > 1) {
            data_port(c, a->write, a->data, (size_t)a->count * a->width);
        } else {
            uint8_t bytes[8];
            gh_le64_put(bytes, a->value);
            data_port(c, a->write, bytes, a->width);
            if (!a->write)
                a->value = gh_le64_get(bytes) & gh_width_mask(a->width);
        }
        return true;
    }
    for (uint32_t i = 0; i < (a->count > 1 ? a->count : 1); i++) {
        uint8_t *element = a->count > 1 ? (uint8_t *)a->data + (size_t)i * a->width : NULL;
        if (a->write) {
            write_register(c, (unsigned)a->offset, element ? element[0] : (uint8_t)a->value);
        } else {
            uint8_t v = read_register(c, (unsigned)a->offset);
            if (element) {
                memset(element, 0xff, a->width);
                element[0] = v;
            } else {
                a->value = (gh_width_mask(a->width) & ~0xffull) | v;
            }
        }
    }
    return true;
}

static bool ide_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct ide *s = dev->state;
    struct ide_channel *c = &s->channel[range == RANGE_COMMAND_1 || range == RANGE_CONTROL_1];
    switch (range) {
    case RANGE_COMMAND_0: case RANGE_COMMAND_1:
        return command_block(c, a);
    case RANGE_CONTROL_0: case RANGE_CONTROL_1:
        if (a->write) {
            write_control(c, (uint8_t)a->value);
        } else {                          /* alternate status: leaves the interrupt alone */
            bool any = ide_present(&c->drive[0]) || ide_present(&c->drive[1]);
            a->value = !any ? 0x7f : ide_present(ide_selected(c)) ? ide_selected(c)->status : 0;
        }
        return true;
    default:
        c = &s->channel[a->offset >= 8];
        uint64_t value = 0;
        for (unsigned i = 0; i < a->width; i++) {
            unsigned reg = (unsigned)(a->offset & 7) + i;
            if (reg >= 8)
                break;
            if (a->write)
                ide_bm_write(c, reg, (uint8_t)(a->value >> (i * 8)));
            else
                value |= (uint64_t)ide_bm_read(c, reg) << (i * 8);
        }
        if (!a->write)
            a->value = value;
        return true;
    }
}

/* ---- Life ---------------------------------------------------------------------------------------------------- */
static void medium_event(void *opaque, bool eject_request)
{
    struct ide_drive *d = opaque;
    if (d->atapi)
        gh_mmc_medium_event(&d->mmc, eject_request);
}

static int ide_attach(struct gh_device *dev, struct gh_error *err)
{
    static const struct gh_pci_id id = { .vendor = 0x8086, .device = 0x7010, .class_code = 0x010180 };
    static const struct { const char *name; uint64_t base, size; gh_access_fn fn; bool off; unsigned widths; } ranges[] = {
        [RANGE_COMMAND_0] = { "ide0-command", 0x1f0, 8, ide_access, false, GH_W8 | GH_W16 | GH_W32 },
        [RANGE_CONTROL_0] = { "ide0-control", 0x3f6, 1, ide_access, false, GH_W8 },
        [RANGE_COMMAND_1] = { "ide1-command", 0x170, 8, ide_access, false, GH_W8 | GH_W16 | GH_W32 },
        [RANGE_CONTROL_1] = { "ide1-control", 0x376, 1, ide_access, false, GH_W8 },
        [RANGE_BM] = { "ide-bus-master", 0, 16, ide_access, true, GH_W8 | GH_W16 | GH_W32 },
    };
    struct ide *s = dev->state;
    s->dev = dev;
    int r = gh_pci_attach(dev, &s->pci, s->addr, &id, err);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < GH_ARRAY_LEN(ranges); i++) {
        struct gh_range_desc desc = { .name = ranges[i].name, .space = GH_SPACE_PIO, .kind = GH_RANGE_HANDLER,
            .base = ranges[i].base, .size = ranges[i].size, .disabled = ranges[i].off, .widths = ranges[i].widths,
            .fn = ranges[i].fn, .repeat = i == RANGE_COMMAND_0 || i == RANGE_COMMAND_1 };
        r = gh_range_add(dev, i, &desc, err);
        if (r < 0)
            return r;
    }
    gh_pci_bar(&s->pci, 4, GH_BAR_IO, 16, RANGE_BM);
    /* IDE timing: the decode enables (bit 15 of each half) are on; the times themselves mean nothing. */
    gh_pci_register(&s->pci, 0x40, 0x80008000, 0xffffffff);
    gh_pci_register(&s->pci, 0x44, 0, 0x000000ff);
    for (unsigned i = 0; i < 4; i++) {
        struct ide_channel *c = &s->channel[i / 2];
        struct ide_drive *d = &c->drive[i % 2];
        struct gh_block_info info;
        c->ide = s;
        c->number = (uint8_t)(i / 2);
        d->channel = c;
        d->block = d->mmc.block = s->block[i];
        if (!d->block)
            continue;
        d->block->ops->info(d->block, &info);
        d->atapi = info.removable;
        d->block->medium_event = medium_event;
        d->block->event_opaque = d;
    }
    return 0;
}

static void ide_reset(struct gh_device *dev, enum gh_reset why)
{
    struct ide *s = dev->state;
    gh_pci_reset(&s->pci);
    for (unsigned i = 0; i < 2; i++) {
        struct ide_channel *c = &s->channel[i];
        c->unit = c->control = 0;
        c->bm_command = c->bm_status = 0;
        c->bm_table = 0;
        for (unsigned u = 0; u < 2; u++) {
            c->drive[u].select = 0;
            reset_drive(&c->drive[u], true);
        }
        ide_irq(c, false);
    }
}

static int ide_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct ide *s = dev->state;
    for (unsigned i = 0; i < 4; i++) {
        struct ide_drive *d = &s->channel[i / 2].drive[i % 2];
        bool sane = d->pos <= d->block_end && d->block_end <= d->end && d->end <= IDE_BUFFER &&
                    d->phase < IDE_BUSY && d->job <= JOB_PACKET_PARAMS && d->multiple <= ATA_MULTIPLE_MAX &&
                    d->left <= (1ull << 44) && d->trim_next % 8 == 0 && s->channel[i / 2].unit < 2 &&
                    (d->phase == IDE_IDLE || ide_present(d));
        if (!sane)
            return gh_error_set(err, -EINVAL, "SavedStateInvalid", "The saved state of drive %u of “%s” is impossible.", i,
                                dev->id);
    }
    return gh_pci_loaded(&s->pci, err);
}

static void ide_quiesce(struct gh_device *dev, struct gh_done *done)
{
    struct ide *s = dev->state;
    s->quiesced = done;
    check_quiet(s);
}

static void ide_detach(struct gh_device *dev)
{
    struct ide *s = dev->state;
    for (unsigned i = 0; i < 4; i++)
        if (s->block[i]) {
            s->block[i]->medium_event = NULL;
            s->block[i]->event_opaque = NULL;
        }
    gh_pci_detach(&s->pci);
}

#define DRIVE(type_, member_) GH_FIELD(type_, struct ide_drive, member_, 1)
static const struct gh_field drive_fields[] = {
    DRIVE(GH_T_U8, feature), DRIVE(GH_T_U8, nsector), DRIVE(GH_T_U8, sector), DRIVE(GH_T_U8, lcyl), DRIVE(GH_T_U8, hcyl),
    DRIVE(GH_T_U8, select), DRIVE(GH_T_U8, status), DRIVE(GH_T_U8, error), DRIVE(GH_T_U8, command),
    DRIVE(GH_T_U8, hob_feature), DRIVE(GH_T_U8, hob_nsector), DRIVE(GH_T_U8, hob_sector), DRIVE(GH_T_U8, hob_lcyl),
    DRIVE(GH_T_U8, hob_hcyl), DRIVE(GH_T_U8, multiple), DRIVE(GH_T_U8, transfer_mode), DRIVE(GH_T_U8, write_cache),
    DRIVE(GH_T_U8, smart), DRIVE(GH_T_U16, heads), DRIVE(GH_T_U16, sectors), DRIVE(GH_T_U8, phase), DRIVE(GH_T_U8, job),
    DRIVE(GH_T_U8, dma), DRIVE(GH_T_U8, fua), DRIVE(GH_T_U64, lba), DRIVE(GH_T_U64, left), DRIVE(GH_T_U32, pos),
    DRIVE(GH_T_U32, end), DRIVE(GH_T_U32, block_end), DRIVE(GH_T_U32, block_bytes), DRIVE(GH_T_U32, trim_next),
    GH_FIELD_ARRAY(GH_T_BYTES, struct ide_drive, cdb, 12, 1),
    GH_FIELD_TABLE(struct ide_drive, mmc, struct gh_mmc, gh_mmc_fields, 1, 1),
    GH_FIELD_ARRAY(GH_T_BYTES, struct ide_drive, buf, IDE_BUFFER, 1),
    { 0 },
};
#define CHANNEL(type_, member_) GH_FIELD(type_, struct ide_channel, member_, 1)
static const struct gh_field channel_fields[] = {
    CHANNEL(GH_T_U8, unit), CHANNEL(GH_T_U8, control), CHANNEL(GH_T_BOOL, irq), CHANNEL(GH_T_U8, bm_command),
    CHANNEL(GH_T_U8, bm_status), CHANNEL(GH_T_U32, bm_table), CHANNEL(GH_T_U32, prd_next), CHANNEL(GH_T_U32, prd_address),
    CHANNEL(GH_T_U32, prd_left), CHANNEL(GH_T_U8, prd_last),
    GH_FIELD_TABLE(struct ide_channel, drive, struct ide_drive, drive_fields, 2, 1),
    { 0 },
};
static const struct gh_field ide_fields[] = {
    GH_PCI_FIELDS(struct ide, pci, 1),
    GH_FIELD_TABLE(struct ide, channel, struct ide_channel, channel_fields, 2, 1),
    { 0 },
};

static const struct gh_option ide_options[] = {
    GH_OPT(GH_T_STRING, struct ide, addr, "addr", 0, 0, "01.1", "PCI slot and function"),
    GH_OPT(GH_T_BLOCK, struct ide, block[0], "primary-master", 0, 0, NULL, "First drive of the first channel"),
    GH_OPT(GH_T_BLOCK, struct ide, block[1], "primary-slave", 0, 0, NULL, "Second drive of the first channel"),
    GH_OPT(GH_T_BLOCK, struct ide, block[2], "secondary-master", 0, 0, NULL, "First drive of the second channel"),
    GH_OPT(GH_T_BLOCK, struct ide, block[3], "secondary-slave", 0, 0, NULL, "Second drive of the second channel"),
    { 0 },
};

const struct gh_device_class gh_class_piix3_ide = {
    .name = "piix3-ide", .summary = "IDE controller for disks and CD drives (PIIX3)",
    .state_size = sizeof(struct ide), .version = 1, .options = ide_options, .saved = ide_fields,
    .attach = ide_attach, .reset = ide_reset, .loaded = ide_loaded, .quiesce = ide_quiesce, .detach = ide_detach,
};
