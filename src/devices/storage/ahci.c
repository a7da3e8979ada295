/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * AHCI controller of the ICH9: six ports with queued commands, disks and CD drives, hot plug.
 * Modelled: all registers of AHCI 1.3 that the capabilities announce, COMRESET, controller reset, MSI.
 * A disk whose backend loses its medium is pulled out, and plugged in when it has one again.
 * Left out on purpose: legacy mode, port multipliers, FIS-based switching, enclosure management, command
 * completion coalescing, power states of the link.
 */
#include "devices/storage/ahci.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/classes.h"

enum { RANGE_ABAR, ABAR_BYTES = 4096, PORT_BASE = 0x100, PORT_BYTES = 0x80 };
enum { REG_CAP = 0x00, REG_GHC = 0x04, REG_IS = 0x08, REG_PI = 0x0c, REG_VS = 0x10, REG_CAP2 = 0x24 };
enum { PX_CLB = 0x00, PX_CLBU = 0x04, PX_FB = 0x08, PX_FBU = 0x0c, PX_IS = 0x10, PX_IE = 0x14, PX_CMD = 0x18, PX_TFD = 0x20,
       PX_SIG = 0x24, PX_SSTS = 0x28, PX_SCTL = 0x2c, PX_SERR = 0x30, PX_SACT = 0x34, PX_CI = 0x38 };
#define GHC_HR 1u
#define GHC_IE 2u
#define GHC_AE 0x80000000u
/* 64 bit, queueing, command list override, AHCI only, 6 Gbit/s, multiple DRQ blocks, slumber, partial, 32 slots. */
#define CAP_VALUE (1u << 31 | 1u << 30 | 1u << 24 | 3u << 20 | 1u << 18 | 1u << 15 | 1u << 14 | 1u << 13 | (AHCI_SLOTS - 1) << 8 | (AHCI_PORTS - 1))
#define SSTS_UP 0x133u                    /* present, generation 3, active */
#define SIG_DISK 0x00000101u
#define SIG_PACKET 0xeb140101u
#define SERR_X (1u << 26)                 /* exchanged: shows as PxIS.PCS */
#define SERR_N (1u << 16)                 /* ready line changed: shows as PxIS.PRCS */
#define IE_BITS 0x7dc000ffu
#define CMD_WRITABLE (CMD_ST | CMD_SUD | CMD_POD | CMD_FRE | CMD_ATAPI | 0xf6000000u)

/* ---- Interrupt --------------------------------------------------------------------------------------- */
static uint32_t port_is(const struct ahci_port *p)
{
    return p->is | (p->serr & SERR_X ? IS_PCS : 0) | (p->serr & SERR_N ? IS_PRCS : 0);
}

void ahci_irq(struct ahci *s)
{
    uint32_t was = s->is;
    for (unsigned i = 0; i < AHCI_PORTS; i++)
        if (port_is(&s->port[i]) & s->port[i].ie)
            s->is |= 1u << i;
    bool msi = gh_pci_msi_enabled(&s->pci);
    gh_pci_intx(&s->pci, !msi && s->ghc & GHC_IE && s->is);
    if (msi && s->ghc & GHC_IE && s->is & ~was)
        gh_pci_msi_notify(&s->pci, 0);
}

/* ---- The cable ------------------------------------------------------------------------------------------ */
void ahci_drive_reset(struct ahci_port *p)
{
    p->multiple = 16;
    p->write_cache = p->smart = 1;
    p->transfer_mode = 0;
    p->failed_tag = 0x80;
    p->soft_reset = false;
    if (p->present && p->atapi)
        gh_mmc_reset(&p->mmc);
}

void ahci_signature(struct ahci_port *p)
{
    if (!p->present || (p->ssts & 0x0f) != 3)
        return;
    p->signature_due = !(p->cmd & CMD_FRE) || p->aborting;
    if (p->signature_due)
        return;
    p->sig = p->atapi ? SIG_PACKET : SIG_DISK;
    ahci_post_d2h(p, &(struct ahci_registers){ .lba = p->sig >> 8, .count = 1 }, p->atapi ? 0 : ST_DRDY | ST_DSC, 1, false);
}

/* The link comes up, or finds nobody. */
static void link_up(struct ahci_port *p)
{
    p->tfd = 0x7f;
    p->sig = 0xffffffff;
    p->halted = p->soft_reset = false;
    if (!p->present) {
        p->ssts = 0;
        p->signature_due = false;
        return;
    }
    p->ssts = SSTS_UP;
    p->serr |= SERR_X;
    p->tfd = 0x80;                        /* busy until its first FIS */
    ahci_signature(p);
}

/* A pulled or plugged cable. */
static void presence(struct ahci_port *p, bool present)
{
    if (p->present == present)
        return;
    p->present = present;
    gh_trace(ahci_plug, "%s port %u %s", p->ahci->dev->id, p->number, present ? "plugged" : "pulled");
    ahci_abort(p);
    ahci_drive_reset(p);
    p->serr |= SERR_N | SERR_X;
    if ((p->sctl & 0x0f) == 0)
        link_up(p);
    ahci_irq(p->ahci);
}

static void medium_event(void *opaque, bool eject_request)
{
    struct ahci_port *p = opaque;
    struct gh_block_info info;
    if (p->atapi) {
        gh_mmc_medium_event(&p->mmc, eject_request);
        return;
    }
    p->block->ops->info(p->block, &info);
    presence(p, info.medium);
}

/* ---- Resets ------------------------------------------------------------------------------------------------ */
static void port_reset(struct ahci_port *p)
{
    struct gh_block_info info = { 0 };
    p->cmd = CMD_SUD | CMD_POD | CMD_HPCP;
    ahci_abort(p);
    if (p->block)
        p->block->ops->info(p->block, &info);
    p->present = p->block && (p->atapi || info.medium);
    p->clb = p->clbu = p->fb = p->fbu = p->is = p->ie = p->sctl = p->serr = p->sact = p->ci = 0;
    p->next_slot = 0;
    ahci_drive_reset(p);
    link_up(p);
}

static void controller_reset(struct ahci *s)
{
    s->ghc = GHC_AE;
    s->is = 0;
    for (unsigned i = 0; i < AHCI_PORTS; i++)
        port_reset(&s->port[i]);
    ahci_irq(s);
}

void ahci_drained(struct ahci_port *p)
{
    struct ahci *s = p->ahci;
    if (!(p->cmd & CMD_ST))
        p->cmd &= ~(uint32_t)CMD_CR;
    if (p->signature_due)
        ahci_signature(p);
    bool busy = false;
    for (unsigned i = 0; i < AHCI_PORTS; i++)
        busy |= s->port[i].aborting;
    if (s->ghc & GHC_HR && !busy)
        controller_reset(s);
    ahci_run(p);
}

/* ---- Port registers ------------------------------------------------------------------------------------------ */
static void write_cmd(struct ahci_port *p, uint32_t v)
{
    uint32_t was = p->cmd;
    p->cmd = (p->cmd & ~CMD_WRITABLE) | (v & CMD_WRITABLE & ~0xf0000000u);   /* link states are taken at once */
    if (v & CMD_CLO)
        p->tfd &= ~(uint32_t)(ST_BSY | ST_DRQ);
    if (p->cmd & CMD_FRE)
        p->cmd |= CMD_FR;
    else
        p->cmd &= ~(uint32_t)CMD_FR;
    if (p->signature_due && p->cmd & CMD_FRE)
        ahci_signature(p);
    if (p->cmd & CMD_ST && !(was & CMD_ST)) {
        p->cmd = (p->cmd & ~0x1f00u) | CMD_CR;
        p->halted = false;
        p->next_slot = 0;
        ahci_run(p);
    } else if (!(p->cmd & CMD_ST) && was & CMD_ST) {
        p->ci = p->sact = 0;
        p->halted = false;
        ahci_abort(p);
        p->cmd &= ~0x1f00u;
        if (!p->aborting)
            p->cmd &= ~(uint32_t)CMD_CR;
    }
}

static void write_sctl(struct ahci_port *p, uint32_t v)
{
    unsigned was = p->sctl & 0x0f, now = v & 0x0f;
    p->sctl = v & 0xfff;
    if (was == now)
        return;
    if (now == 1 || now == 4) {           /* COMRESET begins, or the interface goes off */
        p->ssts = now == 4 ? 4 : p->present ? 1 : 0;
        p->tfd = 0x7f;
        p->signature_due = false;
        ahci_abort(p);
    } else if (now == 0) {
        ahci_drive_reset(p);
        p->serr |= p->present ? SERR_N : 0;
        link_up(p);
    }
}

static uint32_t read_port(struct ahci_port *p, unsigned reg)
{
    switch (reg) {
    case PX_CLB: return p->clb;
    case PX_CLBU: return p->clbu;
    case PX_FB: return p->fb;
    case PX_FBU: return p->fbu;
    case PX_IS: return port_is(p);
    case PX_IE: return p->ie;
    case PX_CMD: return p->cmd;
    case PX_TFD: return p->tfd;
    case PX_SIG: return p->sig;
    case PX_SSTS: return p->ssts;
    case PX_SCTL: return p->sctl;
    case PX_SERR: return p->serr;
    case PX_SACT: return p->sact;
    case PX_CI: return p->ci;
    default: return 0;                    /* no port multiplier, no switching, no sleep: reserved */
    }
}

static void write_port(struct ahci_port *p, unsigned reg, uint32_t v)
{
    gh_trace(ahci_port_write, "%s port %u %#x = %#x", p->ahci->dev->id, p->number, reg, v);
    switch (reg) {
    case PX_CLB: p->clb = v & ~0x3ffu; break;
    case PX_CLBU: p->clbu = v; break;
    case PX_FB: p->fb = v & ~0xffu; break;
    case PX_FBU: p->fbu = v; break;
    case PX_IS: p->is &= ~v; break;
    case PX_IE: p->ie = v & IE_BITS; break;
    case PX_CMD: write_cmd(p, v); break;
    case PX_SCTL: write_sctl(p, v); break;
    case PX_SERR: p->serr &= ~v; break;
    case PX_SACT:
        if (p->cmd & CMD_ST)
            p->sact |= v;
        break;
    case PX_CI:
        if (p->cmd & CMD_ST) {
            p->ci |= v;
            ahci_run(p);
        }
        break;
    default: break;                       /* read-only or reserved */
    }
    ahci_irq(p->ahci);
}

/* ---- Global registers ------------------------------------------------------------------------------------------ */
static uint32_t read_global(struct ahci *s, unsigned reg)
{
    switch (reg) {
    case REG_CAP: return CAP_VALUE;
    case REG_GHC: return s->ghc;
    case REG_IS: return s->is;
    case REG_PI: return (1u << AHCI_PORTS) - 1;
    case REG_VS: return 0x00010300;
    default: return 0;
    }
}

static void write_global(struct ahci *s, unsigned reg, uint32_t v)
{
    if (reg == REG_IS) {
        s->is &= ~v;
    } else if (reg == REG_GHC && v & GHC_HR) {
        bool busy = false;
        for (unsigned i = 0; i < AHCI_PORTS; i++) {
            s->port[i].ci = s->port[i].sact = 0;
            ahci_abort(&s->port[i]);
            busy |= s->port[i].aborting;
        }
        s->ghc |= GHC_HR;                 /* reads so until the backends let go */
        if (!busy)
            controller_reset(s);
    } else if (reg == REG_GHC) {
        s->ghc = (s->ghc & GHC_HR) | GHC_AE | (v & GHC_IE);
    }
    ahci_irq(s);
}

static bool ahci_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct ahci *s = dev->state;
    unsigned offset = (unsigned)a->offset, reg = offset & ~3u, shift = (offset & 3) * 8;
    struct ahci_port *p = NULL;
    if (reg >= PORT_BASE) {
        if ((reg - PORT_BASE) / PORT_BYTES >= AHCI_PORTS)
            return false;
        p = &s->port[(reg - PORT_BASE) / PORT_BYTES];
        reg = (reg - PORT_BASE) % PORT_BYTES;
    }
    if (!a->write) {
        a->value = (p ? read_port(p, reg) : read_global(s, reg)) >> shift & gh_width_mask(a->width);
        return true;
    }
    if (a->width != 4)
        return false;                     /* registers are written whole */
    if (p)
        write_port(p, reg, (uint32_t)a->value);
    else
        write_global(s, reg, (uint32_t)a->value);
    return true;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */
static void config_written(struct gh_device *dev, struct gh_pci *pci, unsigned offset, unsigned width)
{
    struct ahci *s = dev->state;
    for (unsigned i = 0; offset <= 5 && i < AHCI_PORTS; i++)
        ahci_run(&s->port[i]);            /* bus mastering may have been switched on */
    ahci_irq(s);                          /* and MSI */
}

static int ahci_attach(struct gh_device *dev, struct gh_error *err)
{
    static const struct gh_pci_id id = { .vendor = 0x8086, .device = 0x2922, .sub_vendor = 0x8086, .sub_device = 0x2922,
                                         .revision = 2, .class_code = 0x010601 };
    static const struct gh_range_desc abar = { .name = "ahci", .space = GH_SPACE_MMIO, .kind = GH_RANGE_HANDLER,
        .size = ABAR_BYTES, .disabled = true, .widths = GH_W8 | GH_W16 | GH_W32, .fn = ahci_access };
    struct ahci *s = dev->state;
    s->dev = dev;
    int r = gh_pci_attach(dev, &s->pci, s->addr, &id, err);
    if (r == 0)
        r = gh_range_add(dev, RANGE_ABAR, &abar, err);
    if (r == 0)
        r = gh_pci_msi_init(&s->pci, 1);
    if (r < 0)
        return r;
    gh_pci_pin(&s->pci, 1);
    gh_pci_bar(&s->pci, 5, GH_BAR_MEM32, ABAR_BYTES, RANGE_ABAR);
    gh_pci_register(&s->pci, 0x90, 0x3f3f0040, 0x013f0000);     /* mode: AHCI; ports enabled, all wired */
    s->pci.config_written = config_written;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        struct ahci_port *p = &s->port[i];
        struct gh_block_info info;
        p->ahci = s;
        p->number = (uint8_t)i;
        p->block = p->mmc.block = s->block[i];
        if (!p->block)
            continue;
        p->block->ops->info(p->block, &info);
        p->atapi = info.removable;
        p->block->medium_event = medium_event;
        p->block->event_opaque = p;
    }
    return 0;
}

static void ahci_reset(struct gh_device *dev, enum gh_reset why)
{
    struct ahci *s = dev->state;
    gh_pci_reset(&s->pci);
    controller_reset(s);
}

static int ahci_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct ahci *s = dev->state;
    s->ghc = GHC_AE | (s->ghc & GHC_IE);
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        struct ahci_port *p = &s->port[i];
        if ((p->present && !p->block) || p->next_slot >= AHCI_SLOTS || p->multiple > ATA_MULTIPLE_MAX)
            return gh_error_set(err, -EINVAL, "SavedStateInvalid", "The saved state of port %u of “%s” is impossible.", i, dev->id);
        p->ie &= IE_BITS;
        p->clb &= ~0x3ffu;
        p->fb &= ~0xffu;
    }
    int r = gh_pci_loaded(&s->pci, err);
    for (unsigned i = 0; r == 0 && i < AHCI_PORTS; i++)
        if (s->block[i])
            medium_event(&s->port[i], false);     /* pulled or plugged meanwhile */
    return r;
}

static void ahci_quiesce(struct gh_device *dev, struct gh_done *done)
{
    struct ahci *s = dev->state;
    s->quiesced = done;
    ahci_check_quiet(s);
}

static void ahci_detach(struct gh_device *dev)
{
    struct ahci *s = dev->state;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (s->block[i]) {
            s->block[i]->medium_event = NULL;
            s->block[i]->event_opaque = NULL;
        }
        for (unsigned k = 0; k < AHCI_SLOTS; k++) {
            free(s->port[i].command[k]);
            s->port[i].command[k] = NULL;
        }
    }
    gh_pci_detach(&s->pci);
}

#define PORT(type_, member_) GH_FIELD(type_, struct ahci_port, member_, 1)
static const struct gh_field port_fields[] = {
    PORT(GH_T_BOOL, present), PORT(GH_T_U32, clb), PORT(GH_T_U32, clbu), PORT(GH_T_U32, fb), PORT(GH_T_U32, fbu),
    PORT(GH_T_U32, is), PORT(GH_T_U32, ie), PORT(GH_T_U32, cmd), PORT(GH_T_U32, tfd), PORT(GH_T_U32, sig),
    PORT(GH_T_U32, ssts), PORT(GH_T_U32, sctl), PORT(GH_T_U32, serr), PORT(GH_T_U32, sact), PORT(GH_T_U32, ci),
    PORT(GH_T_BOOL, halted), PORT(GH_T_BOOL, soft_reset), PORT(GH_T_BOOL, signature_due), PORT(GH_T_U8, next_slot),
    PORT(GH_T_U8, multiple), PORT(GH_T_U8, transfer_mode), PORT(GH_T_U8, write_cache), PORT(GH_T_U8, smart),
    PORT(GH_T_U8, failed_tag), PORT(GH_T_U8, failed_status), PORT(GH_T_U8, failed_error), PORT(GH_T_U64, failed_lba),
    PORT(GH_T_U16, failed_count),
    GH_FIELD_TABLE(struct ahci_port, mmc, struct gh_mmc, gh_mmc_fields, 1, 1),
    { 0 },
};
static const struct gh_field ahci_fields[] = {
    GH_PCI_FIELDS(struct ahci, pci, 1),
    GH_FIELD(GH_T_U32, struct ahci, ghc, 1),
    GH_FIELD(GH_T_U32, struct ahci, is, 1),
    GH_FIELD_TABLE(struct ahci, port, struct ahci_port, port_fields, AHCI_PORTS, 1),
    { 0 },
};

#define DRIVE(n_) GH_OPT(GH_T_BLOCK, struct ahci, block[n_], "drive" #n_, 0, 0, NULL, "Drive on port " #n_)
static const struct gh_option ahci_options[] = {
    GH_OPT(GH_T_STRING, struct ahci, addr, "addr", 0, 0, "", "PCI address (slot.function); empty: the next free one"),
    DRIVE(0), DRIVE(1), DRIVE(2), DRIVE(3), DRIVE(4), DRIVE(5),
    { 0 },
};

const struct gh_device_class gh_class_ahci = {
    .name = "ahci", .summary = "SATA controller for disks and CD drives (AHCI, ICH9)", .state_size = sizeof(struct ahci),
    .version = 1, .options = ahci_options, .saved = ahci_fields, .attach = ahci_attach, .reset = ahci_reset,
    .loaded = ahci_loaded, .quiesce = ahci_quiesce, .detach = ahci_detach,
};
