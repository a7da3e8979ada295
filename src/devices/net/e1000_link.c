/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * EEPROM, PHY and link of the e1000. The EEPROM has 64 words behind a Microwire interface and behind
 * EERD; it cannot be written. The PHY is an 88E1011 whose partner always offers 1000 Mb/s full duplex.
 */
#include "devices/net/e1000.h"

enum { NEGOTIATION_NS = 500000000, EEPROM_SUM = 0xbaba, EE_COMMAND_BITS = 9, EE_READ = 6 };
enum { EE_COMPATIBILITY = 3, EE_CONTROL1 = 0x0a, EE_SUB_DEVICE = 0x0b, EE_SUB_VENDOR = 0x0c, EE_DEVICE = 0x0d, EE_VENDOR = 0x0e,
       EE_CONTROL2 = 0x0f, EE_CHECKSUM = 0x3f };

/* ---- EEPROM -------------------------------------------------------------------------------------------- */

void e1000_eeprom_fill(struct e1000 *s)
{
    uint16_t *e = s->eeprom, sum = 0;
    for (unsigned i = 0; i < EEPROM_WORDS; i++)
        e[i] = i < 0x38 ? 0 : 0xffff;
    for (unsigned i = 0; i < 3; i++)
        e[i] = gh_le16_get(s->mac + i * 2);
    e[EE_CONTROL1] = 0x4003;              /* valid; identities below count */
    e[EE_SUB_DEVICE] = gh_le16_get(s->pci.config + 0x2e);
    e[EE_SUB_VENDOR] = gh_le16_get(s->pci.config + 0x2c);
    e[EE_DEVICE] = gh_le16_get(s->pci.config + 2);
    e[EE_VENDOR] = gh_le16_get(s->pci.config);
    e[EE_CONTROL2] = 0x3000;              /* both directions of flow control */
    for (unsigned i = 0; i < EE_CHECKSUM; i++)
        sum = (uint16_t)(sum + e[i]);
    e[EE_CHECKSUM] = (uint16_t)(EEPROM_SUM - sum);
}

static void clock_bit(struct e1000 *s, bool in)
{
    if (s->ee_reading) {
        s->ee_do = s->ee_out >> 15;
        s->ee_out = (uint16_t)(s->ee_out << 1);
        if (++s->ee_bits == 16) {         /* the next word follows */
            s->ee_bits = 0;
            s->ee_shift = (s->ee_shift + 1) % EEPROM_WORDS;
            s->ee_out = s->eeprom[s->ee_shift];
        }
        return;
    }
    if (!s->ee_bits && !in)
        return;                           /* no start bit yet */
    if (s->ee_bits < EE_COMMAND_BITS) {
        s->ee_shift = s->ee_shift << 1 | in;
        s->ee_bits++;
    }
    if (s->ee_bits == EE_COMMAND_BITS && s->ee_shift >> 6 == EE_READ) {
        s->ee_shift %= EEPROM_WORDS;
        s->ee_out = s->eeprom[s->ee_shift];
        s->ee_reading = true;
        s->ee_bits = 0;
        s->ee_do = false;                 /* the dummy bit */
    }
}

void e1000_eeprom_clock(struct e1000 *s, uint32_t value)
{
    uint32_t *eecd = e1000_reg(s, EECD), old = *eecd;
    *eecd = value & (EECD_SK | EECD_CS | EECD_DI | EECD_REQ | 0x30);
    if (!(value & EECD_CS)) {
        s->ee_shift = s->ee_bits = 0;
        s->ee_reading = false;
        s->ee_do = true;
    } else if (value & ~old & EECD_SK && old & EECD_CS) {
        clock_bit(s, value & EECD_DI);
    }
}

uint32_t e1000_eeprom_eecd(const struct e1000 *s)
{
    uint32_t eecd = s->reg[EECD / 4];
    return eecd | EECD_PRES | (eecd & EECD_REQ ? EECD_GNT : 0) | (s->ee_do ? EECD_DO : 0);
}

uint32_t e1000_eeprom_read(const struct e1000 *s, uint32_t eerd)
{
    unsigned address = eerd >> 8 & 0xff;
    if (!(eerd & EERD_START))
        return eerd & 0xff00;
    return (uint32_t)(address < EEPROM_WORDS ? s->eeprom[address] : 0xffff) << 16 | (eerd & 0xff00) | EERD_DONE;
}

/* ---- Link ------------------------------------------------------------------------------------------------ */

bool e1000_loopback(const struct e1000 *s)
{
    return (s->reg[RCTL / 4] >> RCTL_LBM_SHIFT & 3) == 1 || s->phy[PHY_CTRL] & PHY_CTRL_LOOPBACK;
}

bool e1000_link_up(const struct e1000 *s)
{
    if (s->phy[PHY_CTRL] & PHY_CTRL_DOWN)
        return false;
    return (s->cable && s->negotiated) || s->phy[PHY_CTRL] & PHY_CTRL_LOOPBACK;
}

void e1000_link_update(struct e1000 *s, bool was)
{
    bool up = e1000_link_up(s);
    s->phy[PHY_STATUS] = (uint16_t)(0x7949 | (up ? PHY_STATUS_LINK : 0) | (up && s->phy[PHY_CTRL] & PHY_CTRL_AN ? PHY_STATUS_AN : 0));
    s->phy[M88_STATUS] = (uint16_t)(0xa000 | (up ? M88_STATUS_LINK | M88_STATUS_SOLVED : 0));
    s->phy[PHY_LPAR] = up ? 0x45e1 : 0;
    s->phy[PHY_1000T_STATUS] = up ? 0x3c00 : 0;
    if (up == was)
        return;
    s->phy[M88_INT_STATUS] |= M88_STATUS_LINK;
    e1000_cause(s, INT_LSC);
    if (up)
        e1000_receive_ready(s);
}

static void negotiated(struct gh_device *dev, struct gh_timer *timer)
{
    struct e1000 *s = dev->state;
    bool was = e1000_link_up(s);
    s->negotiated = true;
    s->negotiation_due = 0;
    e1000_link_update(s, was);
}

void e1000_link_init(struct e1000 *s)
{
    gh_timer_init(&s->negotiation, s->dev, negotiated);
}

/* ---- PHY --------------------------------------------------------------------------------------------------- */

/* Drivers see the link go and come back, as on a wire. */
static void negotiate(struct e1000 *s)
{
    s->negotiated = false;
    s->negotiation_due = gh_now_ns(s->dev) + NEGOTIATION_NS;
    gh_timer_arm(&s->negotiation, s->negotiation_due);
}

static void phy_defaults(struct e1000 *s)
{
    static const uint16_t values[PHY_REGISTERS] = {
        [PHY_CTRL] = 0x1140, [PHY_ID1] = 0x0141, [PHY_ID2] = 0x0c20, [PHY_ANAR] = 0x0de1, [PHY_NPT] = 0x2001,
        [PHY_1000T_CTRL] = 0x0e00, [PHY_EXT_STATUS] = 0x3000, [M88_CTRL] = 0x0068, [M88_EXT_CTRL] = 0x0d60,
    };
    memcpy(s->phy, values, sizeof s->phy);
}

/* Power-on: the link is there already. */
void e1000_phy_reset(struct e1000 *s)
{
    gh_timer_disarm(&s->negotiation);
    s->negotiation_due = 0;
    s->negotiated = true;
    phy_defaults(s);
    e1000_link_update(s, e1000_link_up(s));
}

static void write_ctrl(struct e1000 *s, uint16_t value)
{
    bool was = e1000_link_up(s), an_before = s->phy[PHY_CTRL] & PHY_CTRL_AN;
    if (value & PHY_CTRL_RESET) {
        phy_defaults(s);
        negotiate(s);
    } else {
        s->phy[PHY_CTRL] = value & (uint16_t)~PHY_CTRL_RESTART;
        if (!(value & PHY_CTRL_AN)) {
            gh_timer_disarm(&s->negotiation);
            s->negotiation_due = 0;
            s->negotiated = true;         /* forced */
        } else if (value & PHY_CTRL_RESTART || !an_before) {
            negotiate(s);
        }
    }
    e1000_link_update(s, was);
}

static void phy_write(struct e1000 *s, unsigned number, uint16_t value)
{
    switch (number) {
    case PHY_CTRL: write_ctrl(s, value); break;
    case PHY_ANAR: case PHY_NPT: case PHY_1000T_CTRL: case M88_CTRL: case M88_INT_ENABLE: case M88_EXT_CTRL: case M88_PAGE:
    case M88_GEN_CTRL:
        s->phy[number] = value;
        break;
    default: break;                       /* read only, or not there */
    }
}

void e1000_mdic(struct e1000 *s, uint32_t value)
{
    unsigned number = value >> 16 & 31, address = value >> 21 & 31;
    uint32_t result = (value & ~(MDIC_E | MDIC_R)) | MDIC_R, op = value & (MDIC_OP_READ | MDIC_OP_WRITE);
    if (address != PHY_ADDRESS || (op != MDIC_OP_READ && op != MDIC_OP_WRITE)) {
        result |= MDIC_E | (op == MDIC_OP_READ ? 0xffff : 0);
    } else if (op == MDIC_OP_WRITE) {
        phy_write(s, number, (uint16_t)value);
    } else {
        result = (result & ~0xffffu) | s->phy[number];
        if (number == M88_INT_STATUS)
            s->phy[number] = 0;
    }
    *e1000_reg(s, MDIC) = result;
    if (value & MDIC_I)
        e1000_cause(s, INT_MDAC);
}
