/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Config cycles of a device test, through ports 0xcf8 and 0xcfc as a guest makes them. */
#pragma once
#include "fakeboard.h"

static inline void cfg_select(struct gh_board *b, unsigned devfn, unsigned reg)
{
    fake_outl(b, 0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc));
}

static inline uint32_t cfg_read32(struct gh_board *b, unsigned devfn, unsigned reg)
{
    cfg_select(b, devfn, reg);
    return fake_inl(b, 0xcfc);
}

static inline uint16_t cfg_read16(struct gh_board *b, unsigned devfn, unsigned reg)
{
    cfg_select(b, devfn, reg);
    return fake_inw(b, (uint16_t)(0xcfc + (reg & 2)));
}

static inline uint8_t cfg_read8(struct gh_board *b, unsigned devfn, unsigned reg)
{
    cfg_select(b, devfn, reg);
    return fake_inb(b, (uint16_t)(0xcfc + (reg & 3)));
}

static inline void cfg_write32(struct gh_board *b, unsigned devfn, unsigned reg, uint32_t v)
{
    cfg_select(b, devfn, reg);
    fake_outl(b, 0xcfc, v);
}

static inline void cfg_write16(struct gh_board *b, unsigned devfn, unsigned reg, uint16_t v)
{
    cfg_select(b, devfn, reg);
    fake_outw(b, (uint16_t)(0xcfc + (reg & 2)), v);
}

static inline void cfg_write8(struct gh_board *b, unsigned devfn, unsigned reg, uint8_t v)
{
    cfg_select(b, devfn, reg);
    fake_outb(b, (uint16_t)(0xcfc + (reg & 3)), v);
}

/* Offset of a capability, 0: not there. */
static inline unsigned cfg_capability(struct gh_board *b, unsigned devfn, unsigned id, unsigned after)
{
    unsigned at = after ? cfg_read8(b, devfn, after + 1) : cfg_read8(b, devfn, 0x34);
    for (unsigned n = 0; at && n < 48; n++, at = cfg_read8(b, devfn, at + 1))
        if (cfg_read8(b, devfn, at) == id)
            return at;
    return 0;
}
