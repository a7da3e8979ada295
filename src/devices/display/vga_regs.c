/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The IBM VGA register file at 3b0h-3dfh: sequencer, graphics, CRTC, attribute controller, DAC. */
#include "devices/display/vga_state.h"

enum {
    MISC_COLOUR = 0x01, MISC_CLOCK = 0x0c,
    CRTC_PROTECT = 0x80, CRTC_OVERFLOW = 7, CRTC_OVERFLOW_LINE_COMPARE = 0x10,
    STATUS_DISPLAY_OFF = 0x01, STATUS_RETRACE = 0x08,
    ATTR_SCREEN_ON = 0x20,
    CRTC_LAST = 0x18, ATTR_LAST = 0x14, SEQ_LAST = 4, GFX_LAST = 8,
};

/* Bits that exist; the others read as zero. */
static const uint8_t seq_mask[8] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0xff };
static const uint8_t gfx_mask[16] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff };
static const uint8_t attr_mask[32] = {
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
    0xef, 0xff, 0x3f, 0x0f, 0x0f,
};

void vga_registers_reset(struct vga *v)
{
    v->misc = MISC_COLOUR;
    v->feature = 0;
    v->enable = 1;
    v->seq_index = v->gfx_index = v->crtc_index = v->attr_index = 0;
    v->attr_data = false;
    memset(v->seq, 0, sizeof v->seq);
    memset(v->gfx, 0, sizeof v->gfx);
    memset(v->crtc, 0, sizeof v->crtc);
    memset(v->attr, 0, sizeof v->attr);
    memset(v->dac, 0, sizeof v->dac);
    memset(v->latch, 0, sizeof v->latch);
    v->dac_mask = 0xff;
    v->dac_state = v->dac_read = v->dac_write = v->dac_part = 0;
    v->gfx[8] = 0xff;
}

/* ---- Timing ---------------------------------------------------------------------------------- */

/* Where the beam is follows from the machine clock and the programmed totals, so a guest that waits
 * for retrace sees the rate it programmed. Nonsense totals become those of text mode. */
static uint8_t status1(struct vga *v)
{
    static const uint32_t dot_khz[4] = { 25175, 28322, 25175, 25175 };
    uint8_t  overflow = v->crtc[CRTC_OVERFLOW];
    uint32_t dots = ((uint32_t)v->crtc[0] + 5) * (v->seq[1] & 1 ? 8 : 9) * (v->seq[1] & 8 ? 2 : 1);
    uint32_t total = (v->crtc[6] | (overflow & 0x01u) << 8 | (overflow & 0x20u) << 4) + 2;
    uint32_t shown = (v->crtc[0x12] | (overflow & 0x02u) << 7 | (overflow & 0x40u) << 3) + 1;
    uint32_t retrace = v->crtc[0x10] | (overflow & 0x04u) << 6 | (overflow & 0x80u) << 2;
    uint32_t retrace_lines = (v->crtc[0x11] - retrace) & 15;
    uint64_t line_ns = (uint64_t)dots * 1000000 / dot_khz[(v->misc & MISC_CLOCK) >> 2];

    if (vga_vbe_on(v) || total < 100 || shown >= total || retrace >= total || line_ns < 10000 ||
        line_ns > 200000) {
        total = 525;
        shown = 480;
        retrace = 490;
        retrace_lines = 2;
        line_ns = 31746;
    }
    uint64_t in_frame = gh_now_ns(v->dev) % (total * line_ns);
    uint32_t line = (uint32_t)(in_frame / line_ns);
    bool in_retrace = line >= retrace && line < retrace + (retrace_lines ? retrace_lines : 16);
    bool line_blank = in_frame % line_ns > line_ns * 4 / 5;

    return (line >= shown || line_blank ? STATUS_DISPLAY_OFF : 0) | (in_retrace ? STATUS_RETRACE : 0);
}

/* ---- Reads ----------------------------------------------------------------------------------- */

static bool port_decodes(const struct vga *v, uint16_t port)
{
    bool colour = v->misc & MISC_COLOUR;

    return port >= 0x3c0 && port < 0x3d0 ? true : (port >= 0x3d0) == colour;
}

static uint8_t dac_data_read(struct vga *v)
{
    uint8_t value = v->dac[v->dac_read * 3 + v->dac_part];

    if (++v->dac_part == 3) {
        v->dac_part = 0;
        v->dac_read++;
    }
    return value;
}

uint8_t vga_port_read(struct vga *v, uint16_t port)
{
    if (!port_decodes(v, port))
        return 0xff;
    switch (port) {
    case 0x3c0: return v->attr_index;
    case 0x3c1: return (v->attr_index & 0x1f) <= ATTR_LAST ? v->attr[v->attr_index & 0x1f] : 0;
    case 0x3c2: return 0x10;                     /* switch sense: a colour monitor is there */
    case 0x3c3: return v->enable;
    case 0x3c4: return v->seq_index;
    case 0x3c5: return v->seq[v->seq_index & 7];
    case 0x3c6: return v->dac_mask;
    case 0x3c7: return v->dac_state;
    case 0x3c8: return v->dac_write;
    case 0x3c9: return dac_data_read(v);
    case 0x3ca: return v->feature;
    case 0x3cc: return v->misc;
    case 0x3ce: return v->gfx_index;
    case 0x3cf: return v->gfx_index <= GFX_LAST ? v->gfx[v->gfx_index] : 0;
    case 0x3b4: case 0x3d4: return v->crtc_index;
    case 0x3b5: case 0x3d5: return v->crtc_index <= CRTC_LAST ? v->crtc[v->crtc_index] : 0;
    case 0x3ba: case 0x3da:
        v->attr_data = false;
        return status1(v);
    default: return 0xff;
    }
}

/* ---- Writes ---------------------------------------------------------------------------------- */

static void attr_write(struct vga *v, uint8_t value)
{
    bool    data = v->attr_data;
    uint8_t index = v->attr_index & 0x1f;

    v->attr_data = !data;
    if (!data) {
        if ((v->attr_index ^ value) & ATTR_SCREEN_ON)
            vga_changed(v);
        v->attr_index = value & 0x3f;
    } else if (index <= ATTR_LAST && v->attr[index] != (value & attr_mask[index])) {
        v->attr[index] = value & attr_mask[index];
        v->palette_stale = true;
        vga_changed(v);
    }
}

static void crtc_write(struct vga *v, uint8_t value)
{
    uint8_t index = v->crtc_index;

    if (index > CRTC_LAST)
        return;
    if (v->crtc[0x11] & CRTC_PROTECT && index <= CRTC_OVERFLOW) {
        if (index != CRTC_OVERFLOW)
            return;
        value = (v->crtc[index] & ~CRTC_OVERFLOW_LINE_COMPARE) | (value & CRTC_OVERFLOW_LINE_COMPARE);
    }
    if (v->crtc[index] == value)
        return;
    v->crtc[index] = value;
    vga_changed(v);
}

static void dac_data_write(struct vga *v, uint8_t value)
{
    v->dac_latch[v->dac_part] = v->vbe[VBE_ENABLE] & VBE_8BIT_DAC ? value : value & 0x3f;
    if (++v->dac_part < 3)
        return;
    v->dac_part = 0;
    if (memcmp(v->dac + v->dac_write * 3, v->dac_latch, 3)) {
        memcpy(v->dac + v->dac_write * 3, v->dac_latch, 3);
        v->palette_stale = true;
        vga_changed(v);
    }
    v->dac_write++;
}

void vga_port_write(struct vga *v, uint16_t port, uint8_t value)
{
    if (!port_decodes(v, port))
        return;
    switch (port) {
    case 0x3c0: attr_write(v, value); break;
    case 0x3c2:
        v->misc = value & ~0x10;
        vga_window_update(v);
        vga_changed(v);
        break;
    case 0x3c3: v->enable = value & 1; break;
    case 0x3c4: v->seq_index = value & 7; break;
    case 0x3c5:
        v->seq[v->seq_index & 7] = value & seq_mask[v->seq_index & 7];
        vga_window_update(v);
        if (v->seq_index != 2)                   /* the map mask changes with every plane */
            vga_changed(v);
        break;
    case 0x3c6:
        v->palette_stale |= v->dac_mask != value;
        v->dac_mask = value;
        vga_changed(v);
        break;
    case 0x3c7:
        v->dac_read = value;
        v->dac_part = 0;
        v->dac_state = 3;
        break;
    case 0x3c8:
        v->dac_write = value;
        v->dac_part = 0;
        v->dac_state = 0;
        break;
    case 0x3c9: dac_data_write(v, value); break;
    case 0x3ce: v->gfx_index = value & 15; break;
    case 0x3cf:
        if (v->gfx_index > GFX_LAST)
            break;
        v->gfx[v->gfx_index] = value & gfx_mask[v->gfx_index];
        vga_window_update(v);
        if (v->gfx_index == 5 || v->gfx_index == 6)
            vga_changed(v);
        break;
    case 0x3b4: case 0x3d4: v->crtc_index = value & 0x1f; break;
    case 0x3b5: case 0x3d5: crtc_write(v, value); break;
    case 0x3ba: case 0x3da: v->feature = value & 0x0b; break;
    default: break;
    }
}

bool vga_port_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct vga *v = dev->state;
    uint16_t    port = (uint16_t)(0x3b0 + a->offset);

    if (a->write)
        vga_port_write(v, port, (uint8_t)a->value);
    else
        a->value = vga_port_read(v, port);
    return true;
}
