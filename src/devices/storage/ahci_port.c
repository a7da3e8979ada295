/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One port's command list: fetches commands, moves their data, posts FISes, and stops at errors.
 *
 *   header:  le32 flags (0..4 CFIS dwords, 5 packet, 6 write, 10 clear busy, 16.. regions) | le32 bytes moved |
 *            le64 table (128 aligned)
 *   region:  le64 address (even) | le32 reserved | le32 (0..21 bytes - 1, odd; 31 interrupt)
 *
 * Everything in guest memory is copied once before it is looked at.
 */
#include "devices/storage/ahci.h"

#include <errno.h>
#include <stdlib.h>

enum { HEADER_BYTES = 32, REGION_BYTES = 16, REGIONS_AT = 0x80, PACKET_AT = 0x40 };
enum { RX_PIO = 0x20, RX_D2H = 0x40, RX_SDB = 0x58 };
enum { FIS_H2D = 0x27, FIS_D2H = 0x34, FIS_PIO = 0x5f, FIS_SDB = 0xa1 };
enum { CONTROL_SRST = 4 };

static struct gh_device *device(const struct ahci_port *p) { return p->ahci->dev; }
static uint64_t list_of(const struct ahci_port *p) { return (uint64_t)p->clbu << 32 | p->clb; }

void ahci_fatal(struct ahci_port *p, uint32_t is, const char *what)
{
    gh_guest_error(device(p), "port %u: %s", p->number, what);
    p->is |= is;
    p->halted = true;
}

/* ---- FISes to the guest -------------------------------------------------------------------------------- */
static bool post(struct ahci_port *p, unsigned at, const uint8_t *fis, unsigned bytes)
{
    if (!(p->cmd & CMD_FRE))
        return true;                      /* nobody wants to see it */
    if (gh_dma_write(device(p), ((uint64_t)p->fbu << 32 | p->fb) + at, fis, bytes))
        return true;
    ahci_fatal(p, IS_HBFS, "the received FIS area is not RAM");
    return false;
}

static void put_registers(uint8_t *fis, const struct ahci_registers *r)
{
    for (unsigned i = 0; i < 3; i++) {
        fis[4 + i] = (uint8_t)(r->lba >> (i * 8));
        fis[8 + i] = (uint8_t)(r->lba >> (24 + i * 8));
    }
    fis[7] = r->device;
    gh_le16_put(fis + 12, r->count);
}

bool ahci_post_d2h(struct ahci_port *p, const struct ahci_registers *r, uint8_t status, uint8_t error, bool interrupt)
{
    uint8_t fis[20] = { FIS_D2H, interrupt ? 0x40 : 0, status, error };
    put_registers(fis, r);
    if (!post(p, RX_D2H, fis, sizeof fis))
        return false;
    p->tfd = (uint32_t)error << 8 | status;
    if (interrupt)
        p->is |= IS_DHRS;
    return true;
}

/* The end of data to the guest by PIO: the FIS in front of the last block carries the ending status. */
static void post_pio(struct ahci_command *c, uint8_t status)
{
    struct ahci_port *p = c->port;
    uint8_t fis[20] = { FIS_PIO, 0x60, ST_DRDY | ST_DSC | ST_DRQ, 0 };
    put_registers(fis, &c->reg);
    fis[15] = status;
    gh_le16_put(fis + 16, (uint16_t)(c->moved < 512 ? c->moved : 512));
    if (!post(p, RX_PIO, fis, sizeof fis))
        return;
    p->tfd = status;
    p->is |= IS_PSS;
}

static void post_sdb(struct ahci_port *p, uint32_t done, uint8_t status, uint8_t error)
{
    uint8_t fis[8] = { FIS_SDB, 0x40, status & 0x77, error };
    gh_le32_put(fis + 4, done);
    if (!post(p, RX_SDB, fis, sizeof fis))
        return;
    p->tfd = (p->tfd & 0x88) | (uint32_t)error << 8 | (status & 0x77);
    p->is |= IS_SDBS;
}

/* ---- Regions ------------------------------------------------------------------------------------------------ */
/* The region at the cursor: its address there and the bytes it has left; 0: none left, or not in RAM (*bad). */
static uint32_t region_at(struct ahci_command *c, uint64_t *address, bool *bad)
{
    uint8_t d[REGION_BYTES];
    while (c->at.region < c->regions) {
        if (!gh_dma_read(device(c->port), c->table + REGIONS_AT + (uint64_t)c->at.region * REGION_BYTES, d, sizeof d)) {
            *bad = true;
            return 0;
        }
        uint32_t info = gh_le32_get(d + 12), bytes = ((info & 0x3fffff) | 1) + 1;
        if (c->at.offset < bytes) {
            *address = (gh_le64_get(d) & ~1ull) + c->at.offset;
            return bytes - c->at.offset;
        }
        c->region_done |= info >> 31;
        c->at = (struct ahci_cursor){ c->at.region + 1, 0 };
    }
    return 0;
}

uint32_t ahci_move(struct ahci_command *c, uint8_t *buf, uint32_t bytes, bool to_guest)
{
    uint32_t done = 0;
    bool bad = false;
    while (done < bytes) {
        uint64_t address;
        uint32_t n = region_at(c, &address, &bad);
        if (!n)
            break;
        n = n < bytes - done ? n : bytes - done;
        if (!(to_guest ? gh_dma_write(device(c->port), address, buf + done, n) : gh_dma_read(device(c->port), address, buf + done, n)))
            break;
        c->at.offset += n;
        done += n;
    }
    c->moved += done;
    return done;
}

static void unmap(struct ahci_command *c)
{
    struct gh_device *dev = device(c->port);
    while (c->pieces)
        dev->ops->dma_unmap(dev->board, &c->piece[--c->pieces]);
}

/* Maps whole sectors for up to want bytes from the cursor on; less when regions or pieces run out. */
static uint32_t map_chunk(struct ahci_command *c, uint32_t want, bool to_guest, bool *bad)
{
    struct gh_device *dev = device(c->port);
    uint32_t total = 0;
    while (total < want && c->pieces < AHCI_PIECES) {
        struct gh_dma *piece = &c->piece[c->pieces];
        uint64_t address;
        uint32_t n = region_at(c, &address, bad);
        if (!n)
            break;
        n = n < want - total ? n : want - total;
        if (!dev->ops->dma_map(dev->board, address, n, to_guest, piece)) {
            *bad = true;
            break;
        }
        c->before[c->pieces] = c->at;
        c->vec[c->pieces].iov_base = piece->host;
        n = piece->bytes < n ? (uint32_t)piece->bytes : n;
        c->vec[c->pieces++].iov_len = n;
        if (!n) {
            *bad = true;
            break;
        }
        c->at.offset += n;
        total += n;
    }
    /* The odd rest of a sector goes back. Regions have at least 2 bytes: one sector always fits. */
    for (uint32_t rest = total % 512; rest && !*bad;) {
        struct iovec *last = &c->vec[c->pieces - 1];
        uint32_t cut = last->iov_len < rest ? (uint32_t)last->iov_len : rest;
        c->at = c->before[c->pieces - 1];
        c->at.offset += (uint32_t)last->iov_len - cut;
        last->iov_len -= cut;
        total -= cut;
        rest -= cut;
        if (!last->iov_len)
            dev->ops->dma_unmap(dev->board, &c->piece[--c->pieces]);
    }
    return *bad ? 0 : total;
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */
static void retire(struct ahci_command *c)
{
    c->port->running &= ~(1u << c->slot);
    c->aborted = false;
}

static void request_done(struct gh_block_request *req, int result)
{
    struct ahci_command *c = req->opaque;
    struct ahci_port *p = c->port;
    struct ahci *s = p->ahci;
    unmap(c);
    c->flying = false;
    p->flying--;
    if (c->aborted) {
        retire(c);
        bool left = false;
        for (unsigned i = 0; i < AHCI_SLOTS; i++)
            left |= p->running >> i & 1 && p->command[i]->aborted;
        p->aborting = left;
        if (!left)
            ahci_drained(p);
    } else {
        if (result >= 0) {
            c->offset += c->chunk;
            c->left -= c->chunk < c->left ? c->chunk : c->left;
            c->moved += c->chunk;
        }
        ahci_command_done(c, result);
        ahci_run(p);
    }
    ahci_irq(s);
    ahci_check_quiet(s);
}

void ahci_submit(struct ahci_command *c, enum gh_block_op op, uint64_t offset, uint64_t bytes)
{
    struct ahci_port *p = c->port;
    bool data = op == GH_BLOCK_READ || op == GH_BLOCK_WRITE;
    c->chunk = data ? (uint32_t)bytes : 0;
    c->req = (struct gh_block_request){ .op = op, .offset = offset, .bytes = bytes, .iov = c->vec, .iov_count = c->pieces,
        .fua = op == GH_BLOCK_WRITE && (c->fua || !p->write_cache), .done = request_done, .opaque = c };
    c->flying = true;
    p->flying++;
    p->block->ops->submit(p->block, &c->req);
}

void ahci_transfer(struct ahci_command *c)
{
    bool bad = false, write = c->job == AHCI_WRITE;
    uint32_t n = map_chunk(c, c->left < AHCI_CHUNK ? (uint32_t)c->left : AHCI_CHUNK, !write, &bad);
    if (n) {
        ahci_submit(c, write ? GH_BLOCK_WRITE : GH_BLOCK_READ, c->offset, n);
        return;
    }
    unmap(c);
    retire(c);
    ahci_fatal(c->port, bad ? IS_HBFS : IS_OFS, bad ? "data regions are not RAM" : "fewer data regions than data");
}

/* ---- Ends -------------------------------------------------------------------------------------------------------- */
void ahci_finish(struct ahci_command *c, uint8_t status, uint8_t error)
{
    struct ahci_port *p = c->port;
    uint32_t bit = 1u << c->slot;
    bool failed = status & (ST_ERR | ST_DF);
    uint8_t moved[4];
    if (c->region_done)
        p->is |= IS_DPS;
    c->region_done = false;
    retire(c);
    if (c->queued) {
        if (failed) {
            p->failed_tag = c->slot;
            p->failed_status = status;
            p->failed_error = error;
            p->failed_lba = c->reg.lba;
            p->failed_count = c->reg.count;
        } else {
            p->sact &= ~bit;
        }
        post_sdb(p, failed ? 0 : bit, status, error);
    } else {
        gh_le32_put(moved, (uint32_t)c->moved);
        if (!gh_dma_write(device(p), list_of(p) + (uint64_t)c->slot * HEADER_BYTES + 4, moved, sizeof moved)) {
            ahci_fatal(p, IS_HBFS, "the command list is not RAM");
            return;
        }
        if (c->pio && !failed)
            post_pio(c, status);
        else
            ahci_post_d2h(p, &c->reg, status, error, true);
        if (!failed)
            p->ci &= ~bit;
    }
    if (failed) {
        gh_trace(ahci_error, "%s port %u slot %u command %#x status %#x error %#x", device(p)->id, p->number, c->slot, c->opcode,
                 status, error);
        p->is |= IS_TFES;
        p->halted = true;
        if (c->queued)
            ahci_abort(p);                /* the drive drops the rest of its queue */
    }
}

void ahci_abort(struct ahci_port *p)
{
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        struct ahci_command *c = p->command[i];
        if (!(p->running >> i & 1))
            continue;
        c->aborted = true;
        if (c->flying)
            p->aborting = true;
        else
            retire(c);
    }
    if (p->aborting)
        p->block->ops->cancel_all(p->block);
}

void ahci_check_quiet(struct ahci *s)
{
    if (!s->quiesced)
        return;
    for (unsigned i = 0; i < AHCI_PORTS; i++)
        if (s->port[i].flying)
            return;
    struct gh_done *done = s->quiesced;
    s->quiesced = NULL;
    done->fn(done);
}

/* ---- Fetching ------------------------------------------------------------------------------------------------------ */
/* A register FIS that is no command: software reset begins or ends. */
static void control_fis(struct ahci_port *p, unsigned slot, uint8_t control)
{
    p->ci &= ~(1u << slot);
    if (control & CONTROL_SRST) {
        p->soft_reset = true;
        p->tfd = 0x80;
        p->ci &= ~p->running;
        p->sact = 0;
        ahci_abort(p);
    } else if (p->soft_reset) {
        p->soft_reset = false;
        p->failed_tag = 0x80;
        ahci_signature(p);
    }
}

static struct ahci_command *command_at(struct ahci_port *p, unsigned slot)
{
    if (!p->command[slot])
        p->command[slot] = malloc(sizeof *p->command[slot]);
    return p->command[slot];
}

/* false: it has to wait for those that run. */
static bool start(struct ahci_port *p, unsigned slot)
{
    uint8_t header[HEADER_BYTES], fis[20], cdb[16] = { 0 };
    if (!gh_dma_read(device(p), list_of(p) + (uint64_t)slot * HEADER_BYTES, header, sizeof header)) {
        ahci_fatal(p, IS_HBFS, "the command list is not RAM");
        return false;
    }
    uint32_t flags = gh_le32_get(header);
    uint64_t table = gh_le64_get(header + 8) & ~0x7full;
    if (!gh_dma_read(device(p), table, fis, sizeof fis) || !gh_dma_read(device(p), table + PACKET_AT, cdb, sizeof cdb)) {
        ahci_fatal(p, IS_HBFS, "a command table is not RAM");
        return false;
    }
    if ((flags & 0x1f) < 5 || fis[0] != FIS_H2D) {
        ahci_fatal(p, IS_IFS, "a command is not a register FIS");
        return false;
    }
    bool control = !(fis[1] & 0x80), queued = !control && !p->atapi && ahci_is_queued(fis[2]);
    if (p->running && !control && (!queued || !p->command[__builtin_ctz(p->running)]->queued))
        return false;
    p->cmd = (p->cmd & ~0x1f00u) | slot << 8;
    if (control) {
        control_fis(p, slot, fis[15]);
        return !p->aborting;
    }
    struct ahci_command *c = command_at(p, slot);
    if (!c) {
        ahci_fatal(p, IS_HBFS, "the host has no memory for a command");
        return false;
    }
    c->port = p;
    c->slot = (uint8_t)slot;
    c->opcode = fis[2];
    c->queued = queued;
    c->pio = c->fua = c->flying = c->aborted = c->region_done = false;
    memcpy(c->fis, fis, sizeof fis);
    memcpy(c->cdb, cdb, sizeof cdb);
    c->table = table;
    c->regions = flags >> 16;
    c->at = (struct ahci_cursor){ 0 };
    c->offset = c->left = c->moved = 0;
    c->chunk = c->next = c->end = c->pieces = 0;
    c->reg.lba = (uint64_t)fis[4] | (uint64_t)fis[5] << 8 | (uint64_t)fis[6] << 16 | (uint64_t)fis[8] << 24 | (uint64_t)fis[9] << 32 |
             (uint64_t)fis[10] << 40;
    c->reg.count = gh_le16_get(fis + 12);
    c->reg.device = fis[7];
    p->running |= 1u << slot;
    gh_trace(ahci_command, "%s port %u slot %u command %#x lba %#llx count %u", device(p)->id, p->number, slot, c->opcode,
             (unsigned long long)c->reg.lba, c->reg.count);
    if (queued) {
        p->ci &= ~(1u << slot);           /* accepted: free for the next one, PxSACT goes on standing */
        p->tfd = ST_DRDY | ST_DSC;
    } else {
        p->tfd = ST_DRDY | ST_BSY;
    }
    ahci_command_start(c);
    return true;
}

void ahci_run(struct ahci_port *p)
{
    for (unsigned n = 0; n < AHCI_SLOTS; n++) {
        if (!(p->cmd & CMD_ST) || p->halted || p->aborting || !p->present || (p->ssts & 0x0f) != 3 || !(p->ci & ~p->running) ||
            !gh_pci_bus_master(&p->ahci->pci))
            return;
        unsigned slot = p->next_slot;
        if (p->ci >> slot & 1 && !(p->running >> slot & 1) && !start(p, slot))
            return;
        p->next_slot = (uint8_t)((slot + 1) % AHCI_SLOTS);
    }
}
