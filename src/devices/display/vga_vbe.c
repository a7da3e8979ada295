/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Bochs VBE display interface (dispi), ids B0C0-B0C5: index at port 1ceh, data at 1cfh (also 1d0h),
 * and in BAR 2: EDID at 0, the VGA ports 3c0h-3dfh at 400h, the dispi registers at 500h.
 */
#include "devices/display/vga_state.h"

enum { ID_FIRST = 0xb0c0, ID_LAST = 0xb0c5, MMIO_PORTS = 0x400, MMIO_DISPI = 0x500 };

void vga_vbe_reset(struct vga *v)
{
    memset(v->vbe, 0, sizeof v->vbe);
    v->vbe_index = 0;
    v->vbe[VBE_ID] = ID_LAST;
    v->vbe[VBE_BPP] = 8;
}

/* Bytes of pixels pixels; four planes of one bit each make half a byte. */
static uint32_t pixel_bytes(const struct vga *v, uint32_t pixels)
{
    unsigned bpp = v->vbe[VBE_BPP];

    return bpp == 4 ? pixels / 2 : pixels * ((bpp + 7) / 8);
}

uint32_t vga_vbe_line_bytes(const struct vga *v) { return pixel_bytes(v, v->vbe[VBE_VIRT_WIDTH]); }

/* Brings the registers of an enabled mode into what VRAM can hold. Everything below relies on it:
 * (y_offset + yres) * line + x_offset <= vram holds afterwards. */
void vga_vbe_settle(struct vga *v)
{
    static const uint8_t depths[] = { 4, 8, 15, 16, 24, 32 };
    uint16_t *r = v->vbe;
    bool      known = false;

    if (!vga_vbe_on(v))
        return;
    for (unsigned i = 0; i < sizeof depths; i++)
        known |= r[VBE_BPP] == depths[i];
    if (!known)
        r[VBE_BPP] = 8;
    if (r[VBE_XRES] < 8)
        r[VBE_XRES] = 8;
    if (r[VBE_YRES] < 1)
        r[VBE_YRES] = 1;
    if (r[VBE_XRES] > VBE_MAX_X)
        r[VBE_XRES] = VBE_MAX_X;
    if (r[VBE_YRES] > VBE_MAX_Y)
        r[VBE_YRES] = VBE_MAX_Y;
    if (r[VBE_BPP] == 4)
        r[VBE_XRES] &= ~7, r[VBE_VIRT_WIDTH] &= ~7;
    if (r[VBE_VIRT_WIDTH] < r[VBE_XRES])
        r[VBE_VIRT_WIDTH] = r[VBE_XRES];
    if ((uint64_t)vga_vbe_line_bytes(v) * r[VBE_YRES] > v->vram_bytes)
        r[VBE_VIRT_WIDTH] = r[VBE_XRES];
    uint32_t lines = v->vram_bytes / vga_vbe_line_bytes(v);
    if (r[VBE_YRES] > lines)                     /* at least 1 MiB over at most 10 KiB: not zero */
        r[VBE_YRES] = (uint16_t)lines;
    r[VBE_VIRT_HEIGHT] = (uint16_t)(lines > 0xffff ? 0xffff : lines);
    if (r[VBE_X_OFFSET] > r[VBE_VIRT_WIDTH] - r[VBE_XRES])
        r[VBE_X_OFFSET] = r[VBE_VIRT_WIDTH] - r[VBE_XRES];
    if (r[VBE_Y_OFFSET] > r[VBE_VIRT_HEIGHT] - r[VBE_YRES])
        r[VBE_Y_OFFSET] = r[VBE_VIRT_HEIGHT] - r[VBE_YRES];
}

static void enable_write(struct vga *v, uint16_t value)
{
    bool was_on = vga_vbe_on(v);

    if ((v->vbe[VBE_ENABLE] ^ value) & VBE_8BIT_DAC)
        v->palette_stale = true;
    v->vbe[VBE_ENABLE] = value & (VBE_ENABLED | VBE_GETCAPS | VBE_8BIT_DAC | VBE_LFB | VBE_NOCLEAR);
    if (!vga_vbe_on(v))
        v->vbe[VBE_BANK] = 0;
    else if (!was_on) {
        v->vbe[VBE_VIRT_WIDTH] = v->vbe[VBE_X_OFFSET] = v->vbe[VBE_Y_OFFSET] = v->vbe[VBE_BANK] = 0;
        vga_vbe_settle(v);
        if (!(value & VBE_NOCLEAR)) {
            memset(v->vram, 0, (size_t)vga_vbe_line_bytes(v) * v->vbe[VBE_YRES]);
            vga_dirty_all(v);
        }
    }
    if (was_on != vga_vbe_on(v))
        v->redraw = true;
}

static uint16_t dispi_read(const struct vga *v, unsigned index)
{
    if (index >= VBE_REGISTERS)
        return 0;
    if (v->vbe[VBE_ENABLE] & VBE_GETCAPS) {
        switch (index) {
        case VBE_XRES: return VBE_MAX_X;
        case VBE_YRES: return VBE_MAX_Y;
        case VBE_BPP: return VBE_MAX_BPP;
        default: break;
        }
    }
    return index == VBE_MEMORY_64K ? (uint16_t)(v->vram_bytes >> 16) : v->vbe[index];
}

static void dispi_write(struct vga *v, unsigned index, uint16_t value)
{
    switch (index) {
    case VBE_ID:
        if (value >= ID_FIRST && value <= ID_LAST)
            v->vbe[VBE_ID] = value;
        return;
    case VBE_BANK:
        v->vbe[VBE_BANK] = value & (uint16_t)(v->vram_bytes / VGA_BANK_BYTES - 1);
        vga_window_update(v);
        return;
    case VBE_ENABLE:
        enable_write(v, value);
        break;
    case VBE_XRES: case VBE_YRES: case VBE_BPP: case VBE_VIRT_WIDTH: case VBE_X_OFFSET: case VBE_Y_OFFSET:
        v->vbe[index] = value;
        break;
    default:                                     /* virtual height and memory size follow from others */
        return;
    }
    vga_vbe_settle(v);
    vga_window_update(v);
    vga_changed(v);
}

bool vga_dispi_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct vga *v = dev->state;

    if (a->width != 2)                           /* real users make word accesses only */
        return false;
    if (a->offset == 0) {
        if (a->write)
            v->vbe_index = (uint16_t)a->value;
        else
            a->value = v->vbe_index;
    } else if (a->write) {
        dispi_write(v, v->vbe_index, (uint16_t)a->value);
    } else {
        a->value = dispi_read(v, v->vbe_index);
    }
    return true;
}

/* ---- BAR 2 --------------------------------------------------------------------------------------- */

static bool mmio_one(struct vga *v, struct gh_access *a)
{
    if (a->offset < sizeof v->edid) {
        if (!a->write && a->offset + a->width <= sizeof v->edid) {
            a->value = 0;
            memcpy(&a->value, v->edid + a->offset, a->width);
        }
        return true;
    }
    if (a->offset >= MMIO_PORTS && a->offset < MMIO_PORTS + 0x20) {
        uint16_t port = (uint16_t)(0x3c0 + a->offset - MMIO_PORTS);
        uint64_t value = 0;
        for (unsigned i = 0; i < a->width && port + i < 0x3e0; i++) {
            if (a->write)
                vga_port_write(v, (uint16_t)(port + i), (uint8_t)(a->value >> (8 * i)));
            else
                value |= (uint64_t)vga_port_read(v, (uint16_t)(port + i)) << (8 * i);
        }
        if (!a->write)
            a->value = value;
        return true;
    }
    if (a->offset >= MMIO_DISPI && a->offset < MMIO_DISPI + 2 * VBE_REGISTERS && !(a->offset & 1) && a->width == 2) {
        unsigned index = (unsigned)(a->offset - MMIO_DISPI) / 2;
        if (a->write)
            dispi_write(v, index, (uint16_t)a->value);
        else
            a->value = dispi_read(v, index);
        return true;
    }
    return false;
}

bool vga_mmio_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    if (!a->write)
        a->value = 0;
    /* Holes read as zero: drivers probe later registers of this page by their size word. */
    mmio_one(dev->state, a);
    return true;
}
