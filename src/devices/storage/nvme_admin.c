/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Admin commands: queues, identify, features, log pages, asynchronous events. */
#include "devices/storage/nvme.h"

#include <stdio.h>
#include <stdlib.h>

enum { DELETE_SQ = 0x00, CREATE_SQ = 0x01, GET_LOG = 0x02, DELETE_CQ = 0x04, CREATE_CQ = 0x05, IDENTIFY = 0x06, ABORT = 0x08,
       SET_FEATURES = 0x09, GET_FEATURES = 0x0a, ASYNC_EVENT = 0x0c };
enum { LOG_ERRORS = 1, LOG_HEALTH = 2, LOG_FIRMWARE = 3, LOG_NAMESPACES = 4, LOG_COMMANDS = 5 };
enum { KELVIN = 310, MDTS = 8 /* 2^8 pages */ };

static uint32_t dword(const uint8_t *sqe, unsigned n) { return gh_le32_get(sqe + n * 4); }

/* ---- Queues --------------------------------------------------------------------------------------------- */
static uint16_t create_cq(struct nvme *s, const uint8_t *sqe)
{
    unsigned id = dword(sqe, 10) & 0xffff, entries = (dword(sqe, 10) >> 16) + 1;
    uint32_t dw11 = dword(sqe, 11);
    uint64_t base = gh_le64_get(sqe + 24);
    if (!id || id > s->queues || s->cq[id].entries)
        return NVME_BAD_QUEUE;
    if (entries < 2 || entries > NVME_ENTRIES_MAX)
        return NVME_BAD_SIZE;
    if (dw11 >> 16 >= NVME_VECTORS || (!gh_pci_msix_enabled(&s->pci) && dw11 >> 16))
        return NVME_BAD_VECTOR;
    if (!(dw11 & 1) || base % NVME_PAGE)
        return NVME_INVALID_FIELD;        /* has to be in one piece */
    s->cq[id] = (struct nvme_cq){ .base = base, .entries = (uint16_t)entries, .vector = (uint16_t)(dw11 >> 16),
                                  .interrupts = dw11 & 2, .phase = true };
    return NVME_OK;
}

static uint16_t create_sq(struct nvme *s, const uint8_t *sqe)
{
    unsigned id = dword(sqe, 10) & 0xffff, entries = (dword(sqe, 10) >> 16) + 1, cq = dword(sqe, 11) >> 16;
    uint64_t base = gh_le64_get(sqe + 24);
    if (!id || id > s->queues || s->sq[id].entries)
        return NVME_BAD_QUEUE;
    if (!cq || cq > s->queues || !s->cq[cq].entries)
        return NVME_BAD_CQ;
    if (entries < 2 || entries > NVME_ENTRIES_MAX)
        return NVME_BAD_SIZE;
    if (!(dword(sqe, 11) & 1) || base % NVME_PAGE)
        return NVME_INVALID_FIELD;
    s->sq[id] = (struct nvme_sq){ .base = base, .entries = (uint16_t)entries, .cq = (uint16_t)cq };
    return NVME_OK;
}

static uint16_t delete_sq(struct nvme *s, const uint8_t *sqe, uint16_t cid)
{
    unsigned id = dword(sqe, 10) & 0xffff;
    if (!id || id > s->queues || !s->sq[id].entries || s->sq[id].deleting)
        return NVME_BAD_QUEUE;
    if (s->sq[id].in_flight) {            /* what runs ends first */
        s->sq[id].deleting = true;
        s->sq[id].deleting_cid = cid;
        return NVME_PENDING;
    }
    s->sq[id] = (struct nvme_sq){ 0 };
    return NVME_OK;
}

static uint16_t delete_cq(struct nvme *s, const uint8_t *sqe)
{
    unsigned id = dword(sqe, 10) & 0xffff;
    if (!id || id > s->queues || !s->cq[id].entries)
        return NVME_BAD_QUEUE;
    for (unsigned i = 1; i <= s->queues; i++)
        if (s->sq[i].entries && s->sq[i].cq == id)
            return NVME_BAD_DELETION;
    s->cq[id] = (struct nvme_cq){ 0 };
    return NVME_OK;
}

/* ---- Identify ------------------------------------------------------------------------------------------- */
static void text(uint8_t *to, const char *from, size_t bytes)
{
    size_t n = strlen(from);
    memset(to, ' ', bytes);
    memcpy(to, from, n < bytes ? n : bytes);
}

/* A stable identity of the namespace: two FNV-1a hashes of what the drive is called. */
static void unique_id(const struct nvme *s, const struct gh_block_info *info, uint8_t ret[16])
{
    const char *name = info->serial[0] ? info->serial : s->block ? s->block->name : "";
    for (unsigned half = 0; half < 2; half++) {
        uint64_t h = 0xcbf29ce484222325ull ^ half;
        for (const char *p = name; *p; p++)
            h = (h ^ (uint8_t)*p) * 0x100000001b3ull;
        gh_be64_put(ret + half * 8, h);
    }
    ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x80);
    ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80);
}

static void identify_controller(const struct nvme *s, const struct gh_block_info *info, uint8_t *d)
{
    gh_le16_put(d, gh_le16_get(s->pci.config));
    gh_le16_put(d + 2, gh_le16_get(s->pci.config + 0x2c));
    text(d + 4, info->serial[0] ? info->serial : s->block ? s->block->name : "none", 20);
    text(d + 24, info->model[0] ? info->model : "Gasthaus NVMe", 40);
    text(d + 64, "1.0", 8);
    d[72] = 6;
    d[77] = MDTS;
    gh_le32_put(d + 80, 0x00010400);
    gh_le32_put(d + 92, 1 << 8);          /* tells of changed namespaces */
    d[111] = 1;                           /* an I/O controller */
    d[258] = 3;
    d[259] = NVME_AERS - 1;
    d[260] = 3;                           /* one firmware slot, read-only */
    d[261] = 6;                           /* commands log, extended log pages */
    gh_le16_put(d + 266, KELVIN + 40);
    gh_le16_put(d + 268, KELVIN + 60);
    d[512] = 0x66;
    d[513] = 0x44;
    gh_le32_put(d + 516, 1);
    gh_le16_put(d + 520, 1 << 3 | (info->can_discard ? 1 << 2 : 0));
    d[525] = 7;                           /* volatile write cache; flush takes all namespaces */
    snprintf((char *)d + 768, 256, "nqn.2024-01.org.gasthaus:nvme:%.20s", info->serial[0] ? info->serial : s->block ? s->block->name : "none");
    gh_le16_put(d + 2048, 500);
}

static void identify_namespace(const struct nvme *s, const struct gh_block_info *info, uint8_t *d)
{
    uint64_t sectors = info->bytes / NVME_SECTOR;
    uint32_t granule = info->physical_sector / NVME_SECTOR;
    gh_le64_put(d, sectors);
    gh_le64_put(d + 8, sectors);
    gh_le64_put(d + 16, sectors);
    d[24] = granule > 1 ? 0x10 : 0;
    for (unsigned at = 64; granule > 1 && at < 72; at += 2)
        gh_le16_put(d + at, (uint16_t)(granule - 1));
    d[99] = info->read_only ? 1 : 0;
    unique_id(s, info, d + 104);
    d[130] = 9;
}

static uint16_t identify(struct nvme *s, const uint8_t *sqe)
{
    uint8_t d[NVME_PAGE] = { 0 }, cns = sqe[40];
    uint32_t nsid = dword(sqe, 1);
    struct gh_block_info info = { 0 };
    if (s->block)
        s->block->ops->info(s->block, &info);
    switch (cns) {
    case 0:
        if (nsid != 1)
            return NVME_INVALID_NAMESPACE;
        if (info.medium)
            identify_namespace(s, &info, d);
        break;
    case 1: identify_controller(s, &info, d); break;
    case 2:
        if (nsid >= 0xfffffffe)
            return NVME_INVALID_NAMESPACE;
        gh_le32_put(d, !nsid && info.medium);
        break;
    case 3:
        if (nsid != 1 || !info.medium)
            return NVME_INVALID_NAMESPACE;
        d[0] = 3;                         /* a UUID */
        d[1] = 16;
        unique_id(s, &info, d + 4);
        break;
    default: return NVME_INVALID_FIELD;
    }
    return nvme_to_guest(s, sqe, d, sizeof d);
}

/* ---- Log pages -------------------------------------------------------------------------------------------- */
static size_t fill_log(struct nvme *s, uint8_t log, uint8_t *d)
{
    static const uint8_t admin[] = { DELETE_SQ, CREATE_SQ, GET_LOG, DELETE_CQ, CREATE_CQ, IDENTIFY, ABORT, SET_FEATURES, GET_FEATURES,
                                     ASYNC_EVENT }, io[] = { 0, 1, 2, 8, 9 };
    switch (log) {
    case LOG_ERRORS:
        gh_le64_put(d, s->error_count);
        gh_le16_put(d + 8, s->error_sq);
        gh_le16_put(d + 10, s->error_cid);
        gh_le16_put(d + 12, (uint16_t)(s->error_status << 1));
        gh_le64_put(d + 16, s->error_lba);
        gh_le32_put(d + 24, s->error_count ? 1 : 0);
        return 64;
    case LOG_HEALTH:
        gh_le16_put(d + 1, KELVIN);
        d[3] = 100;
        d[4] = 10;
        gh_le64_put(d + 32, (s->units_read + 999) / 1000);
        gh_le64_put(d + 48, (s->units_written + 999) / 1000);
        gh_le64_put(d + 64, s->host_reads);
        gh_le64_put(d + 80, s->host_writes);
        gh_le64_put(d + 112, 1);
        gh_le64_put(d + 176, s->error_count);
        return 512;
    case LOG_FIRMWARE:
        d[0] = 1;
        text(d + 8, "1.0", 8);
        return 512;
    case LOG_NAMESPACES:
        gh_le32_put(d, s->namespace_changed);
        return NVME_PAGE;
    case LOG_COMMANDS:
        for (unsigned i = 0; i < sizeof admin; i++)
            gh_le32_put(d + admin[i] * 4, 1);
        for (unsigned i = 0; i < sizeof io; i++)
            gh_le32_put(d + 1024 + io[i] * 4, 1 | (io[i] && io[i] != 2 ? 2 : 0));
        return NVME_PAGE;
    default: return 0;
    }
}

static uint16_t get_log(struct nvme *s, const uint8_t *sqe)
{
    uint8_t d[NVME_PAGE] = { 0 }, log = sqe[40];
    uint64_t dwords = ((uint64_t)(dword(sqe, 11) & 0xffff) << 16 | dword(sqe, 10) >> 16) + 1;
    uint64_t offset = gh_le64_get(sqe + 48), bytes = dwords * 4;
    size_t have = fill_log(s, log, d);
    if (!have)
        return NVME_BAD_LOG;
    if (offset & 3 || offset > have)
        return NVME_INVALID_FIELD;
    bytes = bytes < have - offset ? bytes : have - offset;
    uint16_t status = bytes ? nvme_to_guest(s, sqe, d + offset, bytes) : NVME_OK;
    if (!status && !(dword(sqe, 10) >> 15 & 1)) {     /* read: the next event of its kind may come */
        if (log == LOG_ERRORS)
            s->events_masked &= (uint8_t)~EVENT_ERROR;
        if (log == LOG_NAMESPACES) {
            s->events_masked &= (uint8_t)~EVENT_NAMESPACE;
            s->namespace_changed = false;
        }
        nvme_events_deliver(s);
    }
    return status;
}

/* ---- Features ------------------------------------------------------------------------------------------------ */
static uint16_t get_features(struct nvme *s, const uint8_t *sqe, uint32_t *result)
{
    unsigned id = dword(sqe, 10) & 0xff, select = dword(sqe, 10) >> 8 & 7;
    static const uint32_t fallback[NVME_FEATURES] = { [FEAT_WRITE_CACHE] = 1, [FEAT_TEMPERATURE] = KELVIN + 40 };
    if (!id || id >= NVME_FEATURES || id == 3 || select > 3)
        return NVME_INVALID_FIELD;
    if (select == 3) {                    /* what can be done with it: changed, not saved */
        *result = 4;
        return NVME_OK;
    }
    *result = select ? fallback[id] : s->feature[id];
    if (id == FEAT_QUEUES)
        *result = (uint32_t)(s->queues - 1) << 16 | (s->queues - 1u);
    if (id == FEAT_VECTOR) {
        if ((dword(sqe, 11) & 0xffff) >= NVME_VECTORS)
            return NVME_INVALID_FIELD;
        *result = dword(sqe, 11) & 0xffff;
    }
    return NVME_OK;
}

static uint16_t set_features(struct nvme *s, const uint8_t *sqe, uint32_t *result)
{
    uint32_t id = dword(sqe, 10) & 0xff, v = dword(sqe, 11);
    if (dword(sqe, 10) >> 31)
        return NVME_NOT_SAVEABLE;
    switch (id) {
    case FEAT_QUEUES:
        if ((v & 0xffff) == 0xffff || v >> 16 == 0xffff)
            return NVME_INVALID_FIELD;
        for (unsigned i = 1; i <= s->queues; i++)
            if (s->sq[i].entries || s->cq[i].entries)
                return NVME_SEQUENCE;
        *result = (uint32_t)(s->queues - 1) << 16 | (s->queues - 1u);
        return NVME_OK;
    case FEAT_WRITE_CACHE: v &= 1; break;
    case FEAT_EVENTS: v &= 0x1ff; break;
    case FEAT_POWER:
        if (v & 0x1f)
            return NVME_INVALID_FIELD;    /* there is one power state */
        break;
    case FEAT_ARBITRATION: case FEAT_TEMPERATURE: case FEAT_RECOVERY: case FEAT_COALESCING: case FEAT_ATOMICITY: break;
    case FEAT_VECTOR: return (v & 0xffff) < NVME_VECTORS ? NVME_OK : NVME_INVALID_FIELD;
    default: return NVME_INVALID_FIELD;
    }
    s->feature[id] = v;
    return NVME_OK;
}

uint16_t nvme_admin(struct nvme *s, const uint8_t *sqe, uint16_t cid, uint32_t *result)
{
    if (sqe[1] & 0xc3)
        return NVME_INVALID_FIELD;
    switch (sqe[0]) {
    case CREATE_CQ: return create_cq(s, sqe);
    case CREATE_SQ: return create_sq(s, sqe);
    case DELETE_CQ: return delete_cq(s, sqe);
    case DELETE_SQ: return delete_sq(s, sqe, cid);
    case IDENTIFY: return identify(s, sqe);
    case GET_LOG: return get_log(s, sqe);
    case GET_FEATURES: return get_features(s, sqe, result);
    case SET_FEATURES: return set_features(s, sqe, result);
    case ABORT:
        *result = 1;                      /* too late, as ever: commands are at the backend at once */
        return NVME_OK;
    case ASYNC_EVENT:
        if (s->aer_count == NVME_AERS)
            return NVME_TOO_MANY_AERS;
        s->aer[s->aer_count++] = cid;
        return NVME_PENDING;
    default: return NVME_INVALID_OPCODE;
    }
}
