/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From registers to a validated description of what is to be shown, and the CRTC's line counter. */
#include "devices/display/vga_state.h"

enum {
    SEQ1_8DOT = 0x01, SEQ1_HALF_CLOCK = 0x08, SEQ1_SCREEN_OFF = 0x20,
    CRTC9_DOUBLE = 0x80, CRTC17_DOUBLE_LINES = 0x04,
    ATTR_MODE = 0x10, ATTR_PLANES = 0x12, ATTR_PAN = 0x13, ATTR_PAN_SPLIT = 0x20,
    ATTR_SCREEN_ON = 0x20, GFX_MISC_GRAPHICS = 0x01, GFX_MODE_CGA4 = 0x20, GFX_MODE_256 = 0x40,
};

/* ---- VBE ----------------------------------------------------------------------------------------- */

static void vbe_view(const struct vga *v, struct vga_view *w)
{
    static const struct { uint8_t bpp, kind, bytes; } table[] = {
        { 8, VGA_LINEAR8, 1 }, { 15, VGA_LINEAR15, 2 }, { 16, VGA_LINEAR16, 2 },
        { 24, VGA_LINEAR24, 3 }, { 32, VGA_LINEAR32, 4 },
    };
    uint32_t x = v->vbe[VBE_X_OFFSET];

    w->width = v->vbe[VBE_XRES];
    w->height = w->scanlines = v->vbe[VBE_YRES];
    w->pitch = vga_vbe_line_bytes(v);
    w->start = v->vbe[VBE_Y_OFFSET] * w->pitch;
    w->line_compare = UINT32_MAX;
    w->xscale = w->yscale = w->repeat = 1;
    w->address_mode = 3;
    w->kind = VGA_PLANAR;                        /* 4 bits a pixel */
    w->attributes = 0xf;
    for (unsigned i = 0; i < GH_ARRAY_LEN(table); i++)
        if (table[i].bpp == v->vbe[VBE_BPP]) {
            w->kind = table[i].kind;
            w->start += x * table[i].bytes;
            return;
        }
    w->start += x / 8 * 4;
}

/* ---- Standard modes ------------------------------------------------------------------------------ */

static void text_view(const struct vga *v, struct vga_view *w, uint32_t columns)
{
    w->kind = VGA_TEXT;
    w->xscale = v->seq[1] & SEQ1_HALF_CLOCK ? 2 : 1;
    w->yscale = w->repeat = 1;
    w->cell_w = v->seq[1] & SEQ1_8DOT ? 8 : 9;
    w->cell_h = w->max_scan + 1;
    w->cells = columns;
    if (w->cells > VGA_MAX_WIDTH / (w->cell_w * w->xscale))
        w->cells = VGA_MAX_WIDTH / (w->cell_w * w->xscale);
    w->width = w->cells * w->cell_w * w->xscale;
    w->height = w->scanlines;
    /* Nine dots: 8 means unshifted, 0-7 one to eight dots. */
    uint32_t pan = v->attr[ATTR_PAN];
    w->pan = w->cell_w == 9 ? (pan >= 8 ? 0 : pan + 1) : pan & 7;
    w->attributes = v->attr[ATTR_MODE] | (uint32_t)v->seq[3] << 8 | (uint32_t)v->crtc[0x14] << 16;
    w->cursor_shape = v->crtc[0x0a] | (uint32_t)v->crtc[0x0b] << 8;
}

/* Pixels that are two dots wide and two lines high are shown once; otherwise the smaller direction
 * is stretched so that the proportions stay those of the real screen. */
static void graphics_view(const struct vga *v, struct vga_view *w, uint32_t columns)
{
    uint32_t dots = v->seq[1] & SEQ1_HALF_CLOCK ? 2 : 1, pixels = columns * 8;

    w->kind = v->gfx[5] & GFX_MODE_256 ? VGA_256 : v->gfx[5] & GFX_MODE_CGA4 ? VGA_CGA4 : VGA_PLANAR;
    w->pan = v->attr[ATTR_PAN] & 7;
    if (w->kind == VGA_256) {
        dots = 2;
        pixels = columns * 4;
        w->pan >>= 1;
    }
    w->repeat = (w->double_scan ? 2 : 1) * ((w->address_mode & 3) == 3 ? w->max_scan + 1 : 1);
    uint32_t common = dots < w->repeat ? dots : w->repeat;
    w->xscale = dots / common;
    w->yscale = w->repeat / common;
    w->width = pixels * w->xscale;
    w->height = (w->scanlines + w->repeat - 1) / w->repeat * w->yscale;
    if (w->width > VGA_MAX_WIDTH)
        w->width = VGA_MAX_WIDTH;
    w->attributes = (v->attr[ATTR_PLANES] & 0xfu) | (uint32_t)v->attr[ATTR_MODE] << 8;
}

static void standard_view(const struct vga *v, struct vga_view *w)
{
    const uint8_t *c = v->crtc;
    uint32_t columns = c[1] + 1u;

    w->scanlines = (c[0x12] | (c[7] & 0x02u) << 7 | (c[7] & 0x40u) << 3) + 1;
    w->line_compare = c[0x18] | (c[7] & 0x10u) << 4 | (c[9] & 0x40u) << 3;
    if (c[0x17] & CRTC17_DOUBLE_LINES) {
        w->scanlines *= 2;
        w->line_compare = w->line_compare * 2 + 1;
    }
    w->pitch = c[0x13] ? c[0x13] * 8u : 2048;
    w->start = (((uint32_t)c[0x0c] << 8 | c[0x0d]) + (c[8] >> 5 & 3)) * 4;
    w->max_scan = c[9] & 0x1f;
    w->double_scan = (c[9] & CRTC9_DOUBLE) != 0;
    w->preset_row = c[8] & 0x1f;
    w->address_mode = c[0x17] & 0x43;
    if (v->gfx[6] & GFX_MISC_GRAPHICS)
        graphics_view(v, w, columns);
    else
        text_view(v, w, columns);
    w->pan_split = v->attr[ATTR_MODE] & ATTR_PAN_SPLIT ? 0 : w->pan;
    if (w->height > VGA_MAX_HEIGHT)
        w->height = VGA_MAX_HEIGHT;
}

void vga_view_get(const struct vga *v, struct vga_view *ret)
{
    memset(ret, 0, sizeof *ret);
    bool on = v->attr_index & ATTR_SCREEN_ON && !(v->seq[1] & SEQ1_SCREEN_OFF);
    if (on && vga_vbe_on(v))
        vbe_view(v, ret);
    else if (on)
        standard_view(v, ret);
    else {
        /* A mode switch blanks the screen first; keeping the size spares the viewers a flicker. */
        ret->kind = VGA_BLANK;
        ret->width = v->announced.width ? v->announced.width : 720;
        ret->height = v->announced.height ? v->announced.height : 400;
    }
}

/* ---- The line counter ------------------------------------------------------------------------- */

void vga_scan_start(const struct vga_view *view, struct vga_scan *ret)
{
    *ret = (struct vga_scan){ .row_index = view->start, .row_scan = view->preset_row, .pan = view->pan };
}

void vga_scan_next(const struct vga_view *view, struct vga_scan *scan)
{
    if (scan->line++ == view->line_compare) {
        scan->row_index = scan->row_scan = scan->second = 0;
        scan->pan = view->pan_split;
    } else if (view->double_scan && !scan->second) {
        scan->second = 1;
    } else {
        scan->second = 0;
        /* Five bits: a preset beyond the last scan counts round through 31, as the real counter. */
        if (scan->row_scan == view->max_scan) {
            scan->row_scan = 0;
            scan->row_index += view->pitch;
        } else {
            scan->row_scan = (scan->row_scan + 1) & 0x1f;
        }
    }
}
