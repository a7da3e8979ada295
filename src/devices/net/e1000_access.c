/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Register accesses of the e1000: 32 bits each, through BAR 0 or through the address and data ports of
 * BAR 2. Plain registers are a table; the rest is the two switches.
 */
#include "devices/net/e1000.h"

#include "devices/chipset/pci_regs.h"

enum { IO_ADDRESS = 0, IO_DATA = 4 };

/* Registers that keep what is written, cut to their bits; step is the distance between them. */
static const struct { uint16_t first, count, step; uint32_t mask; } plain[] = {
    { CTRL_EXT, 1, 4, 0x00dfffff }, { FCAL, 1, 4, ~0u }, { FCAH, 1, 4, 0xffff }, { FCT, 1, 4, 0xffff }, { VET, 1, 4, 0xffff },
    { ITR, 1, 4, 0xffff }, { FCTTV, 1, 4, 0xffff }, { TXCW, 1, 4, ~0u }, { TIPG, 1, 4, 0x3fffffff }, { AIT, 1, 4, 0xffff },
    { LEDCTL, 1, 4, ~0u }, { PBA, 1, 4, 0x7f }, { FCRTL, 1, 4, 0x8000fff8 }, { FCRTH, 1, 4, 0xfff8 }, { 0x2410, 5, 8, 0x1fff },
    { RDBAL, 1, 4, ~15u }, { RDBAH, 1, 4, ~0u }, { RDLEN, 1, 4, 0xfff80 }, { RDH, 1, 4, 0xffff }, { RXDCTL, 1, 4, ~0u },
    { RADV, 1, 4, 0xffff }, { RSRPD, 1, 4, 0xfff }, { RXCSUM, 1, 4, 0x7ff }, { TXDMAC, 1, 4, 1 }, { TDFH, 5, 8, 0x1fff },
    { TDBAL, 1, 4, ~15u }, { TDBAH, 1, 4, ~0u }, { TDLEN, 1, 4, 0xfff80 }, { TDH, 1, 4, 0xffff }, { TXDCTL, 1, 4, ~0u },
    { TADV, 1, 4, 0xffff }, { TSPMT, 1, 4, ~0u }, { MTA, MTA_WORDS, 4, ~0u }, { VFTA, VFTA_WORDS, 4, ~0u },
    { WUC, 1, 4, 0xf }, { WUFC, 1, 4, 0xf00ff }, { MANC, 1, 4, ~0u }, { 0x5838, 1, 4, 0x1000f }, { 0x5840, 4, 8, ~0u },
    { 0x5880, 4, 4, ~0u }, { 0x5a00, 32, 4, ~0u }, { 0x5f00, 4, 8, 0x7ff },
};

/* Addresses of the 82542 that still work. */
static const struct { uint16_t from, to, bytes; } aliases[] = {
    { 0x0040, RAL, 128 }, { 0x0108, RDTR, 4 }, { 0x0110, RDBAL, 12 }, { 0x0120, RDH, 4 }, { 0x0128, RDT, 4 }, { 0x0160, FCRTH, 4 },
    { 0x0168, FCRTL, 4 }, { 0x0200, MTA, 512 }, { 0x0420, TDBAL, 12 }, { 0x0430, TDH, 4 }, { 0x0438, TDT, 4 }, { 0x0440, TIDV, 4 },
    { 0x0600, VFTA, 512 },
};

static unsigned translate(unsigned offset)
{
    for (unsigned i = 0; i < GH_ARRAY_LEN(aliases); i++)
        if (offset - aliases[i].from < aliases[i].bytes)
            return aliases[i].to + (offset - aliases[i].from);
    return offset;
}

/* 0: not a plain register. */
static uint32_t plain_mask(unsigned offset)
{
    for (unsigned i = 0; i < GH_ARRAY_LEN(plain); i++) {
        unsigned from = offset - plain[i].first;
        if (from < (unsigned)plain[i].count * plain[i].step && from % plain[i].step == 0)
            return plain[i].mask;
    }
    return 0;
}

/* Filters, packet buffer and the like: nothing is behind them here, and drivers only clear them. */
static bool ignored(unsigned offset)
{
    return (offset >= 0x5f00 && offset < REGISTERS_END) || (offset >= 0x9000 && offset < 0xa000) || offset >= 0x10000;
}

/* ---- Statistics ---------------------------------------------------------------------------------------- */

void e1000_count(struct e1000 *s, unsigned statistic, uint32_t n)
{
    uint32_t *r = e1000_reg(s, statistic);
    if (__builtin_add_overflow(*r, n, r))
        *r = UINT32_MAX;
}

void e1000_count64(struct e1000 *s, unsigned lower, uint64_t n)
{
    uint64_t sum = (uint64_t)*e1000_reg(s, lower + 4) << 32 | *e1000_reg(s, lower);
    if (!gh_add_u64(sum, n, &sum))
        sum = UINT64_MAX;
    *e1000_reg(s, lower) = (uint32_t)sum;
    *e1000_reg(s, lower + 4) = (uint32_t)(sum >> 32);
}

void e1000_count_size(struct e1000 *s, unsigned first, size_t len)
{
    static const uint16_t limit[] = { 64, 127, 255, 511, 1023 };
    unsigned class = 0;
    while (class < GH_ARRAY_LEN(limit) && len + 4 > limit[class])
        class++;
    e1000_count(s, first + class * 4, 1);
}

static uint32_t read_statistic(struct e1000 *s, unsigned offset)
{
    uint32_t *r = e1000_reg(s, offset), value = *r;
    if (offset == GORCL || offset == GOTCL || offset == TORL || offset == TOTL)
        return value;
    *r = 0;
    if (offset == GORCH || offset == GOTCH || offset == TORH || offset == TOTH)
        r[-1] = 0;
    return value;
}

/* ---- Reading --------------------------------------------------------------------------------------------- */

static bool read_register(struct e1000 *s, unsigned offset, uint32_t *ret)
{
    *ret = 0;
    if (offset >= CRCERRS && offset < STATISTICS_END) {
        *ret = read_statistic(s, offset);
        return true;
    }
    switch (offset) {
    case STATUS: *ret = STATUS_FD | STATUS_1000 | STATUS_ASDV | (e1000_link_up(s) ? STATUS_LU : 0); return true;
    case EECD: *ret = e1000_eeprom_eecd(s); return true;
    case ICR: *ret = e1000_icr_read(s); return true;
    case ICS: *ret = *e1000_reg(s, ICR); return true;
    case IMC: *ret = *e1000_reg(s, IMS); return true;
    case CTRL: case EERD: case MDIC: case IMS: case RCTL: case TCTL: case RDT: case TDT: case RDTR: case TIDV:
        *ret = *e1000_reg(s, offset);
        return true;
    case RXCW: case WUS: return true;
    default: break;
    }
    if (offset >= RAL && offset < RAL + RA_PAIRS * 8)
        *ret = *e1000_reg(s, offset);
    else if (offset < REGISTERS_END && plain_mask(offset))
        *ret = *e1000_reg(s, offset);
    else
        return ignored(offset);
    return true;
}

/* ---- Writing --------------------------------------------------------------------------------------------- */

static void write_ctrl(struct e1000 *s, uint32_t value)
{
    if (value & CTRL_RST) {
        e1000_reset_chip(s);
        return;
    }
    *e1000_reg(s, CTRL) = value & ~CTRL_PHY_RST;
    if (value & CTRL_PHY_RST)
        e1000_mdic(s, MDIC_OP_WRITE | PHY_ADDRESS << 21 | PHY_CTRL << 16 | PHY_CTRL_RESET);
}

static void load_address(struct e1000 *s)
{
    *e1000_reg(s, RAL) = gh_le32_get(s->mac);
    *e1000_reg(s, RAH) = gh_le16_get(s->mac + 4) | RAH_AV;
}

static void write_rctl(struct e1000 *s, uint32_t value)
{
    uint32_t *r = e1000_reg(s, RCTL), old = *r;
    *r = value & 0x07dffffe;
    if (*r & ~old & RCTL_EN)
        e1000_receive_ready(s);
}

static bool write_register(struct e1000 *s, unsigned offset, uint32_t value)
{
    uint32_t *r = offset < REGISTERS_END ? e1000_reg(s, offset) : NULL, mask;
    switch (offset) {
    case CTRL: write_ctrl(s, value); return true;
    case EECD: e1000_eeprom_clock(s, value); return true;
    case EERD: *r = e1000_eeprom_read(s, value); return true;
    case MDIC: e1000_mdic(s, value); return true;
    case ICR: *r &= ~value; e1000_irq_update(s); return true;
    case ICS: e1000_cause(s, value); return true;
    case IMS: *r |= value & INT_ALL; e1000_irq_update(s); return true;
    case IMC: *e1000_reg(s, IMS) &= ~value; e1000_irq_update(s); return true;
    case RCTL: write_rctl(s, value); return true;
    case RDT: *r = value & 0xffff; e1000_receive_ready(s); return true;
    case TCTL: *r = value & 0x03fffffb; e1000_transmit(s); return true;
    case TDT: *r = value & 0xffff; e1000_transmit(s); return true;
    case RDTR: case TIDV:
        *r = value & 0xffff;
        if (value & RDTR_FPD)
            e1000_irq_flush(s, offset == RDTR);
        return true;
    case CTRL_EXT:
        if (value & CTRL_EXT_EE_RST)
            load_address(s);
        *r = value & 0x00dfdfff;
        return true;
    case STATUS: case RXCW: case WUS: return true;
    default: break;
    }
    if (offset >= RAL && offset < RAL + RA_PAIRS * 8) {
        *r = offset & 4 ? value & 0x8003ffff : value;
        return true;
    }
    if (offset < REGISTERS_END && (mask = plain_mask(offset))) {
        *r = value & mask;
        return true;
    }
    return ignored(offset) || (offset >= CRCERRS && offset < STATISTICS_END);
}

static bool register_access(struct e1000 *s, uint64_t offset, struct gh_access *a)
{
    unsigned at = translate((unsigned)offset & ~3u), shift = (unsigned)(offset & 3) * 8;
    uint32_t value = 0;
    if (a->write) {
        gh_trace(e1000_write, "%s %#x = %#llx", s->dev->id, at, (unsigned long long)a->value);
        return a->width == 4 && !shift && write_register(s, at, (uint32_t)a->value);
    }
    if (!read_register(s, at, &value))
        return false;
    gh_trace(e1000_read, "%s %#x is %#x", s->dev->id, at, value);
    a->value = value >> shift;
    return true;
}

static bool port_access(struct e1000 *s, struct gh_access *a)
{
    if (a->width != 4)
        return false;
    if (a->offset == IO_ADDRESS) {
        if (a->write)
            s->ioaddr = (uint32_t)a->value;
        else
            a->value = s->ioaddr;
        return true;
    }
    return a->offset == IO_DATA && s->ioaddr < 0x20000 && !(s->ioaddr & 3) && register_access(s, s->ioaddr, a);
}

bool e1000_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct e1000 *s = dev->state;
    return range == E1000_RANGE_IO ? port_access(s, a) : register_access(s, a->offset, a);
}

void e1000_registers_reset(struct e1000 *s)
{
    static const struct { uint16_t offset; uint32_t value; } values[] = {
        { CTRL, CTRL_FD | CTRL_SLU | 2u << 8 }, { FCAL, 0x00c28001 }, { FCAH, 0x0100 }, { FCT, 0x8808 }, { VET, 0x8100 },
        { EERD, EERD_DONE }, { MDIC, MDIC_R }, { TIPG, 0x00602008 }, { PBA, 0x30 }, { LEDCTL, 0x07068302 }, { RXDCTL, 1u << 16 },
        { MANC, 0x00402000 }, { TSPMT, 0x01000400 },
    };
    memset(s->reg, 0, sizeof s->reg);
    for (unsigned i = 0; i < GH_ARRAY_LEN(values); i++)
        *e1000_reg(s, values[i].offset) = values[i].value;
    load_address(s);
    s->ioaddr = s->ee_shift = s->ee_bits = 0;
    s->ee_reading = false;
    s->ee_do = true;
    s->ee_out = 0;
}
