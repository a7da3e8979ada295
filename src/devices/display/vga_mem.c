/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The legacy window a0000-bffff: decoding, latches, read modes 0-1, write modes 0-3, and the
 * shortcut that maps VRAM itself there while that cannot be told from the real path.
 */
#include "devices/display/vga_state.h"

enum {
    SEQ_MAP_MASK = 2, SEQ_MEMORY_MODE = 4, SEQ_CHAIN4 = 0x08, SEQ_SEQUENTIAL = 0x04,
    GFX_SET_RESET = 0, GFX_ENABLE_SET_RESET, GFX_COLOUR_COMPARE, GFX_ROTATE, GFX_READ_MAP, GFX_MODE,
    GFX_MISC, GFX_DONT_CARE, GFX_BIT_MASK,
    GFX_MODE_READ1 = 0x08, GFX_MODE_ODD_EVEN = 0x10,
    MISC_RAM_ENABLE = 0x02,
    /* Handled accesses before the window is mapped: switching costs a new memory map, so a guest
     * that only passes through such a mode should not pay for it. */
    WINDOW_HITS = 64,
};

/* Bit n of a nibble becomes byte n of a word. */
static const uint32_t plane_bytes[16] = {
    0x00000000, 0x000000ff, 0x0000ff00, 0x0000ffff, 0x00ff0000, 0x00ff00ff, 0x00ffff00, 0x00ffffff,
    0xff000000, 0xff0000ff, 0xff00ff00, 0xff00ffff, 0xffff0000, 0xffff00ff, 0xffffff00, 0xffffffff,
};

/* ---- Decoding -------------------------------------------------------------------------------- */

/* From an offset in the window to a display memory address; false: another card's. */
static bool window_decode(const struct vga *v, uint32_t offset, uint32_t *ret)
{
    static const struct { uint32_t base, size; } map[4] = {
        { 0, 0x20000 }, { 0, 0x10000 }, { 0x10000, 0x8000 }, { 0x18000, 0x8000 },
    };
    unsigned select = vga_vbe_on(v) ? 1 : v->gfx[GFX_MISC] >> 2 & 3;

    if (!(v->misc & MISC_RAM_ENABLE) && !vga_vbe_on(v))
        return false;
    if (offset < map[select].base || offset - map[select].base >= map[select].size)
        return false;
    *ret = offset - map[select].base;
    if (vga_vbe_on(v))
        *ret += (uint32_t)v->vbe[VBE_BANK] * VGA_BANK_BYTES;
    return true;
}

static bool chain4(const struct vga *v)
{ return vga_vbe_linear(v) || v->seq[SEQ_MEMORY_MODE] & SEQ_CHAIN4; }

static uint32_t read_byte(struct vga *v, uint32_t offset)
{
    uint32_t address, index, plane = v->gfx[GFX_READ_MAP];

    if (!window_decode(v, offset, &address))
        return 0xff;
    if (chain4(v)) {
        index = address;
        plane = address & 3;
    } else if (v->gfx[GFX_MODE] & GFX_MODE_ODD_EVEN) {
        index = address >> 1 << 2;
        plane = (plane & 2) | (address & 1);
    } else {
        index = address << 2;
    }
    index &= vga_index_mask(v) & ~3u;
    memcpy(v->latch, v->vram + index, 4);
    if (!(v->gfx[GFX_MODE] & GFX_MODE_READ1) || vga_vbe_linear(v))
        return v->latch[plane];
    uint32_t differs = (gh_le32_get(v->latch) ^ plane_bytes[v->gfx[GFX_COLOUR_COMPARE]]) &
                       plane_bytes[v->gfx[GFX_DONT_CARE]];
    differs |= differs >> 16;
    return ~(differs | differs >> 8) & 0xff;
}

static uint32_t alu(const struct vga *v, uint32_t value, uint32_t latch)
{
    switch (v->gfx[GFX_ROTATE] >> 3) {
    case 1: return value & latch;
    case 2: return value | latch;
    case 3: return value ^ latch;
    default: return value;
    }
}

/* What the graphics controller makes of a byte from the CPU: four plane bytes. */
static uint32_t write_value(const struct vga *v, uint8_t byte)
{
    uint32_t latch = gh_le32_get(v->latch), bits = v->gfx[GFX_BIT_MASK], value;
    unsigned turn = v->gfx[GFX_ROTATE] & 7;
    uint8_t  turned = (uint8_t)(byte >> turn | byte << (8 - turn));

    switch (v->gfx[GFX_MODE] & 3) {
    case 0: {
        uint32_t enable = plane_bytes[v->gfx[GFX_ENABLE_SET_RESET]];
        value = (turned * 0x01010101u & ~enable) | (plane_bytes[v->gfx[GFX_SET_RESET]] & enable);
        value = alu(v, value, latch);
        break;
    }
    case 1:
        return latch;
    case 2:
        value = alu(v, plane_bytes[byte & 15], latch);
        break;
    default:
        value = plane_bytes[v->gfx[GFX_SET_RESET]];
        bits &= turned;
        break;
    }
    bits *= 0x01010101u;
    return (value & bits) | (latch & ~bits);
}

static void write_byte(struct vga *v, uint32_t offset, uint8_t byte)
{
    uint32_t address, index, planes = v->seq[SEQ_MAP_MASK];

    if (!window_decode(v, offset, &address))
        return;
    if (vga_vbe_linear(v)) {
        index = address & vga_index_mask(v);
        v->vram[index] = byte;
        vga_dirty_page(v, index);
        return;
    }
    if (chain4(v)) {
        index = address;
        planes &= 1u << (address & 3);
    } else if (!(v->seq[SEQ_MEMORY_MODE] & SEQ_SEQUENTIAL)) {
        index = address >> 1 << 2;
        planes &= address & 1 ? 0xa : 0x5;
    } else {
        index = address << 2;
    }
    if (!planes)
        return;
    index &= vga_index_mask(v) & ~3u;
    uint8_t *at = v->vram + index;
    gh_le32_put(at, (gh_le32_get(at) & ~plane_bytes[planes]) |
                    (write_value(v, byte) & plane_bytes[planes]));
    vga_dirty_page(v, index);
    v->cells_stale |= (planes & 4) != 0;         /* plane 2 holds the fonts */
}

/* ---- The shortcut ----------------------------------------------------------------------------- */

/* True while the 64 KiB at a0000 behave as plain memory. */
static bool window_is_plain(const struct vga *v)
{
    if (vga_vbe_linear(v))
        return true;
    return !vga_vbe_on(v) && v->misc & MISC_RAM_ENABLE && v->seq[SEQ_MEMORY_MODE] & SEQ_CHAIN4 &&
           v->seq[SEQ_MAP_MASK] == 0xf && (v->gfx[GFX_MISC] >> 2 & 3) == 1 &&
           !(v->gfx[GFX_MODE] & (3 | GFX_MODE_READ1)) && !v->gfx[GFX_ENABLE_SET_RESET] &&
           !v->gfx[GFX_ROTATE] && v->gfx[GFX_BIT_MASK] == 0xff;
}

void vga_window_harvest(struct vga *v)
{
    uint64_t pages = 0;

    if (!v->window_ram)
        return;
    v->dev->ops->range_dirty(v->dev->board, v->dev, VGA_RANGE_WINDOW_RAM, &pages,
                             VGA_BANK_BYTES >> VGA_PAGE_SHIFT);
    for (unsigned i = 0; i < VGA_BANK_BYTES >> VGA_PAGE_SHIFT; i++)
        if (pages >> i & 1)
            vga_dirty_page(v, v->window_base + (i << VGA_PAGE_SHIFT));
}

/* Before the window moves. Another vCPU may write through the old mapping until the new map is out, and
 * what it dirties then is lost with the mapping, so the whole bank counts as written. */
static void window_leave(struct vga *v)
{
    for (uint32_t at = 0; at < VGA_BANK_BYTES; at += 1u << VGA_PAGE_SHIFT)
        vga_dirty_page(v, v->window_base + at);
}

void vga_window_update(struct vga *v)
{
    uint32_t base = vga_vbe_linear(v)
                  ? (uint32_t)v->vbe[VBE_BANK] * VGA_BANK_BYTES & (v->vram_bytes - 1) : 0;
    bool plain = window_is_plain(v);

    if (!plain) {
        v->window_hits = 0;
        if (v->window_ram) {
            window_leave(v);
            v->window_ram = false;
            gh_range_set(v->dev, VGA_RANGE_WINDOW_RAM, false, 0xa0000);
        }
        return;
    }
    if (v->window_ram ? v->window_base == base : v->window_hits < WINDOW_HITS)
        return;
    if (v->window_ram)
        window_leave(v);
    v->window_base = base;
    v->dev->ops->range_host(v->dev->board, v->dev, VGA_RANGE_WINDOW_RAM, v->vram + base);
    if (!v->window_ram) {
        v->window_ram = true;
        gh_range_set(v->dev, VGA_RANGE_WINDOW_RAM, true, 0xa0000);
    }
}

bool vga_window_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct vga *v = dev->state;
    uint32_t    offset = (uint32_t)a->offset;

    if (a->write) {
        for (unsigned i = 0; i < a->width; i++)
            write_byte(v, offset + i, (uint8_t)(a->value >> (8 * i)));
        vga_changed(v);
    } else {
        uint64_t value = 0;
        for (unsigned i = 0; i < a->width; i++)
            value |= (uint64_t)read_byte(v, offset + i) << (8 * i);
        a->value = value;
    }
    if (!v->window_ram && window_is_plain(v) && ++v->window_hits >= WINDOW_HITS)
        vga_window_update(v);
    return true;
}
