/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From VRAM to XRGB8888. Lines whose pages nobody wrote are skipped, converted lines are compared
 * with what the target shows already, so a rectangle means that pixels differ. The high byte of
 * a pixel is always ff.
 */
#include <stdlib.h>

#include "devices/display/vga_state.h"

#define OPAQUE 0xff000000u

enum { BLINK_NS = 266666667 };                   /* 16 frames at 60 Hz, the cursor's half period */

/* ---- Rectangles ---------------------------------------------------------------------------------- */

/* Joins with the last rectangle where that costs few unchanged pixels, and always when full. */
void vga_rects_add(struct vga_rects *r, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
    if (r->count) {
        struct gh_rect *last = &r->rect[r->count - 1];
        uint32_t x0 = x < last->x ? x : last->x, y0 = y < last->y ? y : last->y;
        uint32_t x1 = x + w > last->x + last->w ? x + w : last->x + last->w;
        uint32_t y1 = y + h > last->y + last->h ? y + h : last->y + last->h;
        uint64_t both = (uint64_t)last->w * last->h + (uint64_t)w * h;
        uint64_t joined = (uint64_t)(x1 - x0) * (y1 - y0);
        if (r->count == r->max || joined <= both + both / 4 + 256) {
            *last = (struct gh_rect){ x0, y0, x1 - x0, y1 - y0 };
            return;
        }
    }
    if (r->count < r->max)
        r->rect[r->count++] = (struct gh_rect){ x, y, w, h };
}

/* ---- Palette --------------------------------------------------------------------------------------- */

static uint32_t dac_colour(const struct vga *v, unsigned index)
{
    const uint8_t *e = v->dac + (index & v->dac_mask) * 3;

    if (v->vbe[VBE_ENABLE] & VBE_8BIT_DAC)
        return OPAQUE | (uint32_t)e[0] << 16 | (uint32_t)e[1] << 8 | e[2];
    uint32_t colour = OPAQUE;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t six = e[i] & 0x3f;
        colour |= (six << 2 | six >> 4) << (16 - 8 * i);
    }
    return colour;
}

static void palette_update(struct vga *v)
{
    for (unsigned i = 0; i < 256; i++)
        v->palette[i] = dac_colour(v, i);
    for (unsigned i = 0; i < 16; i++) {
        unsigned index = v->attr[i] & 0x3f;
        if (v->attr[0x10] & 0x80)                /* bits 5-4 from the colour select register */
            index = (index & 0x0f) | (v->attr[0x14] & 3) << 4;
        v->palette16[i] = v->palette[index | (v->attr[0x14] & 0x0c) << 4];
    }
    v->palette_stale = false;
}

/* ---- One source line ------------------------------------------------------------------------------ */

/* Three of the standard shifters; each converts count pixels after skipping pan. */
static void line_planar(const struct vga *v, uint32_t index, uint32_t pan, uint32_t planes, uint32_t count,
                        uint32_t *out)
{
    uint32_t mask = vga_index_mask(v) & ~3u;

    for (uint32_t x = pan, end = pan + count; x < end;) {
        const uint8_t *p = v->vram + ((index + x / 8 * 4) & mask);
        uint32_t four = gh_le32_get(p);
        do {
            uint32_t bits = four >> (7 - (x & 7)) & 0x01010101u;
            *out++ = v->palette16[(bits | bits >> 7 | bits >> 14 | bits >> 21) & planes & 0xf];
        } while (++x < end && x & 7);
    }
}

static void line_cga4(const struct vga *v, uint32_t index, uint32_t pan, uint32_t planes, uint32_t count,
                      uint32_t *out)
{
    uint32_t mask = vga_index_mask(v) & ~3u;

    for (uint32_t x = pan, end = pan + count; x < end; x++) {
        const uint8_t *p = v->vram + ((index + x / 8 * 4) & mask);
        unsigned half = x >> 2 & 1, shift = 6 - 2 * (x & 3);
        unsigned value = (p[half] >> shift & 3) | (p[half + 2] >> shift & 3) << 2;
        *out++ = v->palette16[value & planes & 0xf];
    }
}

static void line_256(const struct vga *v, uint32_t index, uint32_t pan, uint32_t count, uint32_t *out)
{
    uint32_t mask = vga_index_mask(v);

    for (uint32_t x = 0; x < count; x++)
        out[x] = v->palette[v->vram[(index + pan + x) & mask]];
}

static uint32_t widen(uint32_t value, unsigned bits) { return value << (8 - bits) | value >> (2 * bits - 8); }

/* The most used depth by far, four pixels at a time. */
typedef uint32_t four_pixels __attribute__((vector_size(16), aligned(1), may_alias));

static void line_copy(const uint8_t *p, uint32_t count, uint32_t *out)
{
    uint32_t x = 0;

    for (; x + 4 <= count; x += 4)
        *(four_pixels *)(out + x) = *(const four_pixels *)(p + 4 * x) | OPAQUE;
    for (; x < count; x++)
        out[x] = gh_le32_get(p + 4 * x) | OPAQUE;
}

static void line_linear(const struct vga *v, uint32_t kind, uint32_t index, uint32_t count, uint32_t *out)
{
    const uint8_t *p = v->vram + index;

    switch (kind) {
    case VGA_LINEAR8:
        for (uint32_t x = 0; x < count; x++)
            out[x] = v->palette[p[x]];
        break;
    case VGA_LINEAR15:
        for (uint32_t x = 0; x < count; x++) {
            uint32_t c = gh_le16_get(p + 2 * x);
            out[x] = OPAQUE | widen(c >> 10 & 31, 5) << 16 | widen(c >> 5 & 31, 5) << 8 | widen(c & 31, 5);
        }
        break;
    case VGA_LINEAR16:
        for (uint32_t x = 0; x < count; x++) {
            uint32_t c = gh_le16_get(p + 2 * x);
            out[x] = OPAQUE | widen(c >> 11, 5) << 16 | widen(c >> 5 & 63, 6) << 8 | widen(c & 31, 5);
        }
        break;
    case VGA_LINEAR24:
        for (uint32_t x = 0; x < count; x++)
            out[x] = OPAQUE | (uint32_t)p[3 * x + 2] << 16 | (uint32_t)p[3 * x + 1] << 8 | p[3 * x];
        break;
    default:
        line_copy(p, count, out);
        break;
    }
}

/* VRAM bytes that a line of the view is made of. */
static uint32_t line_bytes(const struct vga_view *w)
{
    uint32_t pixels = w->width / w->xscale;

    switch (w->kind) {
    case VGA_256: return pixels + 4;
    case VGA_LINEAR8: return pixels;
    case VGA_LINEAR15: case VGA_LINEAR16: return 2 * pixels;
    case VGA_LINEAR24: return 3 * pixels;
    case VGA_LINEAR32: return 4 * pixels;
    default: return pixels / 2 + 8;
    }
}

static void convert(struct vga *v, const struct vga_view *w, uint32_t index, uint32_t pan)
{
    uint32_t pixels = w->width / w->xscale;

    switch (w->kind) {
    case VGA_PLANAR: line_planar(v, index, pan, w->attributes, pixels, v->line); break;
    case VGA_CGA4: line_cga4(v, index, pan, w->attributes, pixels, v->line); break;
    case VGA_256: line_256(v, index, pan, pixels, v->line); break;
    default: line_linear(v, w->kind, index, pixels, v->line); break;
    }
    if (w->xscale == 2)
        for (uint32_t x = pixels; x-- > 0;)
            v->line[2 * x] = v->line[2 * x + 1] = v->line[x];
}

/* ---- Graphics -------------------------------------------------------------------------------------- */

static bool pages_dirty(const struct vga *v, uint32_t index, uint32_t bytes)
{
    uint32_t mask = vga_index_mask(v);

    for (uint32_t page = index >> VGA_PAGE_SHIFT; page <= (index + bytes - 1) >> VGA_PAGE_SHIFT; page++) {
        uint32_t at = page & mask >> VGA_PAGE_SHIFT;
        if (v->dirty[at >> 6] >> (at & 63) & 1)
            return true;
    }
    return false;
}

/* The row scan can stand in for address bits: CGA and Hercules interleave. */
static uint32_t scan_index(const struct vga_view *w, const struct vga_scan *scan)
{
    uint32_t index = scan->row_index;
    unsigned bit = w->address_mode & 0x40 ? 15 : 14;

    if (!(w->address_mode & 1))
        index = (index & ~(1u << bit)) | (scan->row_scan & 1) << bit;
    if (!(w->address_mode & 2))
        index = (index & ~(2u << bit)) | (scan->row_scan >> 1 & 1) << (bit + 1);
    return index;
}

static void put_line(struct vga *v, const struct vga_view *w, uint8_t *pixels, uint32_t stride, uint32_t y,
                     bool full, struct vga_rects *rects)
{
    uint32_t x0 = 0, x1 = w->width, *first = (uint32_t *)(pixels + (size_t)y * stride);

    if (!full) {
        if (!memcmp(first, v->line, (size_t)w->width * 4))
            return;
        while (first[x0] == v->line[x0])
            x0++;
        while (first[x1 - 1] == v->line[x1 - 1])
            x1--;
    }
    uint32_t rows = 0;
    for (; rows < w->yscale && y + rows < w->height; rows++)
        memcpy(pixels + (size_t)(y + rows) * stride + x0 * 4, v->line + x0, (size_t)(x1 - x0) * 4);
    if (!full)
        vga_rects_add(rects, x0, y, x1 - x0, rows);
}

static void graphics_render(struct vga *v, const struct vga_view *w, uint8_t *pixels, uint32_t stride,
                            bool full, bool all, struct vga_rects *rects)
{
    bool     linear = w->kind >= VGA_LINEAR8;
    uint32_t bytes = line_bytes(w), y = 0;
    struct vga_scan scan;

    vga_scan_start(w, &scan);
    for (uint32_t line = 0; line < w->scanlines && y < w->height; line++, vga_scan_next(w, &scan)) {
        if (line % w->repeat)
            continue;
        uint32_t index = linear ? w->start + line * w->pitch : scan_index(w, &scan);
        if (linear && !gh_range_in(index, bytes, v->vram_bytes))
            break;                               /* settle makes this impossible; memory safety does not rest on it */
        if (all || pages_dirty(v, index, bytes)) {
            convert(v, w, index, scan.pan);
            put_line(v, w, pixels, stride, y, full, rects);
        }
        y += w->yscale;
    }
}

static void blank_render(const struct vga_view *w, uint8_t *pixels, uint32_t stride)
{
    for (uint32_t y = 0; y < w->height; y++) {
        uint32_t *row = (uint32_t *)(pixels + (size_t)y * stride);
        for (uint32_t x = 0; x < w->width; x++)
            row[x] = OPAQUE;
    }
}

/* ---- Display interface ------------------------------------------------------------------------------ */

static void display_mode(struct gh_device *dev, struct gh_display_mode *ret)
{
    struct vga *v = dev->state;
    struct vga_view w;

    vga_view_get(v, &w);
    if (w.width != v->announced.width || w.height != v->announced.height) {
        v->announced.width = w.width;
        v->announced.height = w.height;
        v->announced.generation++;
        v->redraw = true;
    }
    *ret = v->announced;
}

/* Text cells carry their own comparison: a moved start address alone redraws only what differs. */
static bool view_changed(const struct vga_view *a, const struct vga_view *b)
{
    struct vga_view x = *a, y = *b;

    if (x.kind == VGA_TEXT && y.kind == VGA_TEXT)
        x.start = y.start = 0;
    return memcmp(&x, &y, sizeof x) != 0;
}

static bool any_dirty(const struct vga *v)
{
    uint64_t any = 0;

    for (uint32_t i = 0; i < (v->vram_bytes >> VGA_PAGE_SHIFT) / 64; i++)
        any |= v->dirty[i];
    return any;
}

static unsigned display_render(struct gh_device *dev, uint32_t *pixels, uint32_t stride, bool full,
                               struct gh_rect *rects, unsigned max_rects)
{
    struct vga *v = dev->state;
    struct vga_view  w;
    struct vga_rects r = { .rect = rects, .max = max_rects };

    v->hinted = false;
    vga_view_get(v, &w);
    if (w.width != v->announced.width || w.height != v->announced.height || !max_rects)
        return 0;                                /* the caller asks for the mode again */
    dev->ops->range_dirty(dev->board, dev, VGA_RANGE_LFB, v->dirty, v->vram_bytes >> VGA_PAGE_SHIFT);
    vga_window_harvest(v);
    bool all = full || v->redraw || v->palette_stale || memcmp(&w, &v->shown, sizeof w);
    bool again = full || v->redraw || v->palette_stale || v->cells_stale || view_changed(&w, &v->shown);
    uint64_t phase = gh_now_ns(dev) / BLINK_NS;
    bool blinks = w.kind == VGA_TEXT && phase != v->blink_phase;

    if (!all && !blinks && !v->cells_stale && !any_dirty(v))
        return 0;
    if (v->palette_stale)
        palette_update(v);
    v->blink_phase = phase;
    bool whole = full || v->redraw;
    if (w.kind == VGA_BLANK) {
        if (whole || v->shown.kind != VGA_BLANK) {
            blank_render(&w, (uint8_t *)pixels, stride);
            whole = true;
        }
    } else if (w.kind == VGA_TEXT) {
        vga_text_render(v, &w, (uint8_t *)pixels, stride, again, &r);
    } else {
        graphics_render(v, &w, (uint8_t *)pixels, stride, whole, all, &r);
    }
    if (whole) {
        rects[0] = (struct gh_rect){ 0, 0, w.width, w.height };
        r.count = 1;
    }
    v->shown = w;
    v->redraw = v->cells_stale = false;
    memset(v->dirty, 0, (v->vram_bytes >> VGA_PAGE_SHIFT) / 8);
    return r.count;
}

const struct gh_display_ops vga_display_ops = { .mode = display_mode, .render = display_render };
