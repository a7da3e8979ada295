/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * NVMe controller with one namespace of 512-byte sectors: admin queue and up to 16 pairs of I/O queues,
 * MSI-X or a pin, shutdown that flushes, a namespace that goes and comes with the backend's medium.
 * Left out on purpose: SGLs, metadata, controller memory, namespace management, firmware update, formats.
 */
#include "devices/storage/nvme.h"

#include <errno.h>

#include "devices/classes.h"

enum { RANGE_BAR, BAR_BYTES = 0x4000, DOORBELLS = 0x1000, MSIX_TABLE = 0x2000, MSIX_PENDING = 0x3000 };
enum { CAP = 0x00, VS = 0x08, INTMS = 0x0c, INTMC = 0x10, CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30 };
enum { CC_EN = 1, CSTS_RDY = 1, CSTS_CFS = 2, CSTS_SHST = 0x0c, SHST_BUSY = 0x04, SHST_DONE = 0x08 };
#define CC_SHN(cc) ((cc) >> 14 & 3)
/* Ten seconds to become ready, NVM commands, one piece per queue, pages of 4 KiB. */
#define CAP_VALUE (1ull << 37 | 20ull << 24 | 1ull << 16 | (NVME_ENTRIES_MAX - 1))

/* ---- Interrupts ------------------------------------------------------------------------------------------- */
static void update_pin(struct nvme *s)
{
    bool level = false;
    if (!gh_pci_msix_enabled(&s->pci))
        for (unsigned i = 0; i <= s->queues; i++)
            level |= s->cq[i].entries && s->cq[i].interrupts && s->cq[i].head != s->cq[i].tail && !(s->intm >> s->cq[i].vector & 1);
    gh_pci_intx(&s->pci, level);
}

/* ---- Completions ---------------------------------------------------------------------------------------------- */
static unsigned cq_room(const struct nvme_cq *cq)
{
    return cq->entries ? (unsigned)(cq->head + cq->entries - cq->tail - 1) % cq->entries : 0;
}

void nvme_fatal(struct nvme *s, const char *what)
{
    gh_guest_error(s->dev, "%s", what);
    s->csts |= CSTS_CFS;
}

static void post(struct nvme *s, unsigned sqid, uint16_t cid, uint16_t status, uint32_t result)
{
    const struct nvme_sq *sq = &s->sq[sqid];
    struct nvme_cq *cq = &s->cq[sq->cq];
    uint8_t e[NVME_CQE] = { 0 };
    uint64_t at = cq->base + (uint64_t)cq->tail * NVME_CQE;
    gh_le32_put(e, result);
    gh_le16_put(e + 8, sq->head);
    gh_le16_put(e + 10, (uint16_t)sqid);
    gh_le16_put(e + 12, cid);
    gh_le16_put(e + 14, (uint16_t)(status << 1 | cq->phase));
    /* The phase last: the driver may look at any time. */
    if (!gh_dma_write(s->dev, at, e, 12) || !gh_dma_write(s->dev, at + 12, e + 12, 4)) {
        nvme_fatal(s, "a completion queue is not RAM");
        return;
    }
    if (++cq->tail == cq->entries) {
        cq->tail = 0;
        cq->phase = !cq->phase;
    }
    if (cq->interrupts && gh_pci_msix_enabled(&s->pci))
        gh_pci_msix_notify(&s->pci, cq->vector);
    update_pin(s);
}

void nvme_complete(struct nvme *s, unsigned sqid, uint16_t cid, uint16_t status, uint32_t result)
{
    s->cq[s->sq[sqid].cq].reserved--;
    if (status) {
        gh_trace(nvme_error, "%s queue %u command %u status %#x", s->dev->id, sqid, cid, status);
        s->error_count++;
        s->error_sq = (uint16_t)sqid;
        s->error_cid = cid;
        s->error_status = status;
    }
    post(s, sqid, cid, status, result);
}

void nvme_sq_drained(struct nvme *s, unsigned sqid)
{
    struct nvme_sq *sq = &s->sq[sqid];
    if (sq->in_flight)
        return;
    uint16_t cid = sq->deleting_cid;
    *sq = (struct nvme_sq){ 0 };
    nvme_complete(s, 0, cid, NVME_OK, 0);
}

/* ---- Asynchronous events ----------------------------------------------------------------------------------------- */
void nvme_events_deliver(struct nvme *s)
{
    static const struct { uint8_t bit; uint8_t type, info, log; } kinds[] = { { EVENT_ERROR, 0, 0, 1 }, { EVENT_NAMESPACE, 2, 0, 4 } };
    for (unsigned i = 0; i < GH_ARRAY_LEN(kinds); i++) {
        if (!(s->events & kinds[i].bit & ~s->events_masked) || !s->aer_count || cq_room(&s->cq[0]) <= s->cq[0].reserved)
            continue;
        s->events &= (uint8_t)~kinds[i].bit;
        s->events_masked |= kinds[i].bit; /* until the log was read */
        uint8_t info = kinds[i].bit == EVENT_ERROR ? s->error_info : kinds[i].info;
        uint16_t cid = s->aer[--s->aer_count];
        s->cq[0].reserved++;
        nvme_complete(s, 0, cid, NVME_OK, kinds[i].type | (uint32_t)info << 8 | (uint32_t)kinds[i].log << 16);
    }
}

void nvme_event(struct nvme *s, unsigned event)
{
    if (!(s->csts & CSTS_RDY))
        return;
    s->events |= (uint8_t)event;
    nvme_events_deliver(s);
}

/* ---- Fetching ------------------------------------------------------------------------------------------------------- */
static void execute(struct nvme *s, unsigned sqid, const uint8_t *sqe)
{
    uint16_t cid = gh_le16_get(sqe + 2), status;
    uint32_t result = 0;
    gh_trace(nvme_command, "%s queue %u command %u opcode %#x", s->dev->id, sqid, cid, sqe[0]);
    s->cq[s->sq[sqid].cq].reserved++;
    if (sqid) {
        status = nvme_io(s, sqid, sqe, cid);
    } else {
        status = nvme_admin(s, sqe, cid, &result);
        if (status == NVME_PENDING && sqe[0] == 0x0c) {
            s->cq[0].reserved--;          /* an event has no room of its own: it may wait for ever */
            nvme_events_deliver(s);
        }
    }
    if (status != NVME_PENDING)
        nvme_complete(s, sqid, cid, status, result);
}

static bool may_fetch(const struct nvme *s, const struct nvme_sq *sq)
{
    return (s->csts & (CSTS_RDY | CSTS_CFS)) == CSTS_RDY && !s->stopping && s->flying < NVME_IN_FLIGHT_MAX && sq->entries && !sq->deleting &&
           sq->head != sq->tail && cq_room(&s->cq[sq->cq]) > s->cq[sq->cq].reserved && gh_pci_bus_master(&s->pci);
}

/* Round robin, one entry of each queue a round; every entry fetched was put there by a doorbell. */
void nvme_run(struct nvme *s)
{
    uint8_t sqe[NVME_SQE];
    bool any = !s->running;
    if (s->running)
        return;
    s->running = true;
    while (any) {
        any = false;
        for (unsigned i = 0; i <= s->queues; i++) {
            struct nvme_sq *sq = &s->sq[i];
            if (!may_fetch(s, sq))
                continue;
            if (!gh_dma_read(s->dev, sq->base + (uint64_t)sq->head * NVME_SQE, sqe, sizeof sqe)) {
                nvme_fatal(s, "a submission queue is not RAM");
                break;
            }
            sq->head = (uint16_t)((sq->head + 1) % sq->entries);
            any = true;
            execute(s, i, sqe);
        }
    }
    s->running = false;
}

/* ---- Doorbells -------------------------------------------------------------------------------------------------------- */
static void doorbell_error(struct nvme *s, uint8_t info, unsigned queue, uint32_t v)
{
    gh_guest_error(s->dev, "doorbell of queue %u: %#x", queue, v);
    s->error_info = info;
    nvme_event(s, EVENT_ERROR);
}

static void doorbell(struct nvme *s, unsigned n, uint32_t v)
{
    unsigned queue = n / 2;
    if (!(s->csts & CSTS_RDY))
        return;
    if (n & 1) {
        struct nvme_cq *cq = queue <= s->queues ? &s->cq[queue] : NULL;
        if (!cq || !cq->entries) {
            doorbell_error(s, 0, queue, v);
            return;
        }
        unsigned filled = (unsigned)(cq->tail + cq->entries - cq->head) % cq->entries;
        if (v >= cq->entries || (v + cq->entries - cq->head) % cq->entries > filled) {
            doorbell_error(s, 1, queue, v);
            return;
        }
        cq->head = (uint16_t)v;
        update_pin(s);
        if (!queue)
            nvme_events_deliver(s);
    } else {
        struct nvme_sq *sq = queue <= s->queues ? &s->sq[queue] : NULL;
        if (!sq || !sq->entries || sq->deleting || v >= sq->entries) {
            doorbell_error(s, sq && sq->entries, queue, v);
            return;
        }
        sq->tail = (uint16_t)v;
    }
    nvme_run(s);
}

/* ---- On and off ----------------------------------------------------------------------------------------------------------- */
static void enable(struct nvme *s)
{
    unsigned sq = (s->aqa & 0xfff) + 1, cq = (s->aqa >> 16 & 0xfff) + 1;
    if (s->cc >> 4 & 0x3ff || s->asq % NVME_PAGE || s->acq % NVME_PAGE || sq < 2 || cq < 2) {
        nvme_fatal(s, "enabled with settings that cannot be");
        return;
    }
    s->sq[0] = (struct nvme_sq){ .base = s->asq, .entries = (uint16_t)sq };
    s->cq[0] = (struct nvme_cq){ .base = s->acq, .entries = (uint16_t)cq, .interrupts = true, .phase = true };
    s->csts = CSTS_RDY;
}

static void stopped(struct nvme *s)
{
    s->stopping = false;
    s->csts &= ~(uint32_t)(CSTS_RDY | CSTS_CFS);
    if (s->cc & CC_EN)
        enable(s);
}

/* All queues go; requests at the backend become nobody's. */
static void stop(struct nvme *s)
{
    s->generation++;
    memset(s->sq, 0, sizeof s->sq);
    memset(s->cq, 0, sizeof s->cq);
    memset(s->feature, 0, sizeof s->feature);
    s->feature[FEAT_WRITE_CACHE] = 1;
    s->feature[FEAT_TEMPERATURE] = 350;
    s->aer_count = s->events = s->events_masked = 0;
    s->intm = 0;
    update_pin(s);
    s->stopping = s->flying != 0;
    if (s->stopping)
        s->block->ops->cancel_all(s->block);
}

void nvme_request_ended(struct nvme *s)
{
    s->flying--;
    if (s->stopping && !s->flying)
        stopped(s);
    nvme_run(s);
    if (!s->flying && s->quiesced) {
        struct gh_done *done = s->quiesced;
        s->quiesced = NULL;
        done->fn(done);
    }
}

static void shutdown_done(struct gh_block_request *req, int result)
{
    struct nvme *s = req->opaque;
    s->shutdown_flush = false;
    if ((s->csts & CSTS_SHST) == SHST_BUSY)
        s->csts = (s->csts & ~(uint32_t)CSTS_SHST) | SHST_DONE;
    nvme_request_ended(s);
}

static void shut_down(struct nvme *s)
{
    struct gh_block_info info = { 0 };
    if (s->block)
        s->block->ops->info(s->block, &info);
    if (s->shutdown_flush || (s->csts & CSTS_SHST) == SHST_DONE)
        return;
    if (!info.medium || info.read_only) {
        s->csts = (s->csts & ~(uint32_t)CSTS_SHST) | SHST_DONE;
        return;
    }
    s->csts = (s->csts & ~(uint32_t)CSTS_SHST) | SHST_BUSY;
    s->shutdown_flush = true;
    s->flush = (struct gh_block_request){ .op = GH_BLOCK_FLUSH, .done = shutdown_done, .opaque = s };
    s->flying++;
    s->block->ops->submit(s->block, &s->flush);
}

static void write_cc(struct nvme *s, uint32_t v)
{
    uint32_t was = s->cc;
    s->cc = v & 0x00fffff1;
    if (CC_SHN(v) && !CC_SHN(was))
        shut_down(s);
    if (v & CC_EN && !(was & CC_EN)) {
        s->csts &= ~(uint32_t)CSTS_SHST;
        if (!s->stopping)
            enable(s);
    } else if (!(v & CC_EN) && was & CC_EN) {
        stop(s);
        s->csts &= ~(uint32_t)CSTS_SHST;
        if (!s->stopping)
            stopped(s);
    }
}

/* ---- Registers -------------------------------------------------------------------------------------------------------------- */
static uint32_t read_register(const struct nvme *s, unsigned reg)
{
    switch (reg) {
    case CAP: return (uint32_t)CAP_VALUE;
    case CAP + 4: return (uint32_t)(CAP_VALUE >> 32);
    case VS: return 0x00010400;
    case INTMS: case INTMC: return s->intm;
    case CC: return s->cc;
    case CSTS: return s->csts;
    case AQA: return s->aqa;
    case ASQ: return (uint32_t)s->asq;
    case ASQ + 4: return (uint32_t)(s->asq >> 32);
    case ACQ: return (uint32_t)s->acq;
    case ACQ + 4: return (uint32_t)(s->acq >> 32);
    default: return 0;
    }
}

static void put_half(uint64_t *reg, unsigned high, uint32_t v)
{
    *reg = high ? (*reg & 0xffffffffull) | (uint64_t)v << 32 : (*reg & ~0xffffffffull) | (v & ~0xfffu);
}

static void write_register(struct nvme *s, unsigned reg, uint32_t v)
{
    switch (reg) {
    case INTMS: s->intm |= v; break;
    case INTMC: s->intm &= ~v; break;
    case CC: write_cc(s, v); break;
    case AQA: s->aqa = v & 0x0fff0fff; break;
    case ASQ: case ASQ + 4: put_half(&s->asq, reg & 4, v); break;
    case ACQ: case ACQ + 4: put_half(&s->acq, reg & 4, v); break;
    default: break;                       /* read-only or reserved */
    }
    update_pin(s);
}

static bool nvme_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct nvme *s = dev->state;
    if (a->offset >= MSIX_TABLE) {
        bool pending = a->offset >= MSIX_PENDING;
        struct gh_access part = *a;
        part.offset -= pending ? MSIX_PENDING : MSIX_TABLE;
        bool known = gh_pci_msix_access(&s->pci, &part, pending);
        a->value = part.value;
        return known;
    }
    if (a->width < 4 && a->write)
        return false;
    if (a->offset % a->width)
        return false;
    unsigned reg = (unsigned)a->offset & ~3u, shift = ((unsigned)a->offset & 3) * 8;
    if (a->offset >= DOORBELLS) {
        if (a->write && a->width == 4)
            doorbell(s, (reg - DOORBELLS) / 4, (uint32_t)a->value);
        a->value = a->write ? a->value : 0;
        return !a->write || a->width == 4;
    }
    if (a->write) {
        write_register(s, reg, (uint32_t)a->value);
        if (a->width == 8)
            write_register(s, reg + 4, (uint32_t)(a->value >> 32));
    } else {
        uint64_t v = read_register(s, reg);
        if (a->width == 8)
            v |= (uint64_t)read_register(s, reg + 4) << 32;
        a->value = v >> shift & gh_width_mask(a->width);
    }
    return true;
}

/* ---- Life --------------------------------------------------------------------------------------------------------------------- */
static void medium_event(void *opaque, bool eject_request)
{
    struct nvme *s = opaque;
    s->namespace_changed = true;
    if (s->feature[FEAT_EVENTS] & 1 << 8)
        nvme_event(s, EVENT_NAMESPACE);
}

static void config_written(struct gh_device *dev, struct gh_pci *pci, unsigned offset, unsigned width)
{
    update_pin(dev->state);
    if (offset <= 5)
        nvme_run(dev->state);             /* bus mastering may have been switched on */
}

static int nvme_attach(struct gh_device *dev, struct gh_error *err)
{
    /* The identity that guests' databases know as a virtual controller. */
    static const struct gh_pci_id id = { .vendor = 0x1b36, .device = 0x0010, .sub_vendor = 0x1af4, .sub_device = 0x1100,
                                         .revision = 2, .class_code = 0x010802 };
    static const struct gh_range_desc bar = { .name = "nvme", .space = GH_SPACE_MMIO, .kind = GH_RANGE_HANDLER,
                                              .size = BAR_BYTES, .disabled = true, .fn = nvme_access };
    struct nvme *s = dev->state;
    s->dev = dev;
    int r = gh_pci_attach(dev, &s->pci, s->addr, &id, err);
    if (r == 0)
        r = gh_range_add(dev, RANGE_BAR, &bar, err);
    if (r < 0)
        return r;
    gh_pci_pin(&s->pci, 1);
    gh_pci_bar(&s->pci, 0, GH_BAR_MEM64, BAR_BYTES, RANGE_BAR);
    gh_pci_msix_init(&s->pci, 0, MSIX_TABLE, MSIX_PENDING, NVME_VECTORS, s->msix_table, s->msix_pending);
    s->pci.config_written = config_written;
    if (s->block) {
        s->block->medium_event = medium_event;
        s->block->event_opaque = s;
    }
    return 0;
}

static void nvme_reset(struct gh_device *dev, enum gh_reset why)
{
    struct nvme *s = dev->state;
    gh_pci_reset(&s->pci);
    s->cc = s->aqa = 0;
    s->asq = s->acq = 0;
    stop(s);
    s->csts = 0;
    s->error_count = s->error_lba = 0;
    s->error_sq = s->error_cid = s->error_status = 0;
    s->error_info = 0;
    s->namespace_changed = false;
}

static bool queue_possible(uint64_t base, unsigned entries, unsigned head, unsigned tail)
{
    return entries ? entries >= 2 && entries <= 4096 && head < entries && tail < entries && base % NVME_PAGE == 0 : !head && !tail;
}

static int nvme_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct nvme *s = dev->state;
    bool sane = s->aer_count <= NVME_AERS;
    for (unsigned i = 0; i < NVME_VECTORS && sane; i++) {
        const struct nvme_sq *sq = &s->sq[i];
        const struct nvme_cq *cq = &s->cq[i];
        sane = queue_possible(sq->base, sq->entries, sq->head, sq->tail) && queue_possible(cq->base, cq->entries, cq->head, cq->tail) &&
               cq->vector < NVME_VECTORS && (i <= s->queues || (!sq->entries && !cq->entries)) &&
               (i ? sq->cq <= s->queues && (!sq->entries || (sq->cq && s->cq[sq->cq].entries)) : sq->cq == 0 && !sq->entries == !cq->entries);
    }
    if (!sane || (s->csts & CSTS_RDY && !s->sq[0].entries))
        return gh_error_set(err, -EINVAL, "SavedStateInvalid", "The saved queues of “%s” are impossible.", dev->id);
    int r = gh_pci_loaded(&s->pci, err);
    if (r == 0)
        update_pin(s);
    return r;
}

static void nvme_quiesce(struct gh_device *dev, struct gh_done *done)
{
    struct nvme *s = dev->state;
    if (s->flying)
        s->quiesced = done;
    else
        done->fn(done);
}

static void nvme_detach(struct gh_device *dev)
{
    struct nvme *s = dev->state;
    if (s->block) {
        s->block->medium_event = NULL;
        s->block->event_opaque = NULL;
    }
    gh_pci_detach(&s->pci);
}

static const struct gh_field sq_fields[] = {
    GH_FIELD(GH_T_U64, struct nvme_sq, base, 1), GH_FIELD(GH_T_U16, struct nvme_sq, entries, 1), GH_FIELD(GH_T_U16, struct nvme_sq, head, 1),
    GH_FIELD(GH_T_U16, struct nvme_sq, tail, 1), GH_FIELD(GH_T_U16, struct nvme_sq, cq, 1), { 0 },
};
static const struct gh_field cq_fields[] = {
    GH_FIELD(GH_T_U64, struct nvme_cq, base, 1), GH_FIELD(GH_T_U16, struct nvme_cq, entries, 1), GH_FIELD(GH_T_U16, struct nvme_cq, head, 1),
    GH_FIELD(GH_T_U16, struct nvme_cq, tail, 1), GH_FIELD(GH_T_U16, struct nvme_cq, vector, 1),
    GH_FIELD(GH_T_BOOL, struct nvme_cq, interrupts, 1), GH_FIELD(GH_T_BOOL, struct nvme_cq, phase, 1), { 0 },
};
static const struct gh_field msix_fields[] = {
    GH_FIELD(GH_T_U64, struct gh_pci_msix_entry, address, 1), GH_FIELD(GH_T_U32, struct gh_pci_msix_entry, data, 1),
    GH_FIELD(GH_T_U32, struct gh_pci_msix_entry, control, 1), { 0 },
};
#define NVME(type_, member_) GH_FIELD(type_, struct nvme, member_, 1)
static const struct gh_field nvme_fields[] = {
    GH_PCI_FIELDS(struct nvme, pci, 1),
    NVME(GH_T_U32, cc), NVME(GH_T_U32, csts), NVME(GH_T_U32, aqa), NVME(GH_T_U32, intm), NVME(GH_T_U64, asq), NVME(GH_T_U64, acq),
    GH_FIELD_TABLE(struct nvme, sq, struct nvme_sq, sq_fields, NVME_VECTORS, 1),
    GH_FIELD_TABLE(struct nvme, cq, struct nvme_cq, cq_fields, NVME_VECTORS, 1),
    GH_FIELD_ARRAY(GH_T_U32, struct nvme, feature, NVME_FEATURES, 1),
    GH_FIELD_ARRAY(GH_T_U16, struct nvme, aer, NVME_AERS, 1),
    NVME(GH_T_U8, aer_count), NVME(GH_T_U8, events), NVME(GH_T_U8, events_masked), NVME(GH_T_U8, error_info),
    NVME(GH_T_U64, error_count), NVME(GH_T_U16, error_sq), NVME(GH_T_U16, error_cid), NVME(GH_T_U16, error_status),
    NVME(GH_T_U64, error_lba), NVME(GH_T_BOOL, namespace_changed), NVME(GH_T_U64, units_read), NVME(GH_T_U64, units_written),
    NVME(GH_T_U64, host_reads), NVME(GH_T_U64, host_writes),
    GH_FIELD_TABLE(struct nvme, msix_table, struct gh_pci_msix_entry, msix_fields, NVME_VECTORS, 1),
    GH_FIELD_ARRAY(GH_T_U32, struct nvme, msix_pending, 1, 1),
    { 0 },
};
static const struct gh_option nvme_options[] = {
    GH_OPT(GH_T_STRING, struct nvme, addr, "addr", 0, 0, "", "PCI address (slot.function); empty: the next free one"),
    GH_OPT(GH_T_BLOCK, struct nvme, block, "drive", 0, 0, NULL, "Disk image"),
    GH_OPT(GH_T_U8, struct nvme, queues, "queues", 1, NVME_QUEUES_MAX, "8", "Pairs of I/O queues; best one for each virtual CPU"),
    { 0 },
};

const struct gh_device_class gh_class_nvme = {
    .name = "nvme", .summary = "Disk (NVMe)", .state_size = sizeof(struct nvme), .version = 1, .options = nvme_options,
    .saved = nvme_fields, .attach = nvme_attach, .reset = nvme_reset, .loaded = nvme_loaded, .quiesce = nvme_quiesce,
    .detach = nvme_detach,
};
