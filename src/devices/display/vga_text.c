/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Text modes. The screen is a stack of bands, each a piece of one character row (cut by smooth
 * scrolling and by the split); a cell is drawn when its word in the cache differs.
 */
#include <stdlib.h>

#include "devices/display/vga_state.h"

enum {
    CELLS_MAX = 320 + 1,                         /* VGA_MAX_WIDTH / 8, one more when panned */
    CELL_KNOWN = 1u << 31, CELL_CURSOR = 1u << 16, CELL_HIDDEN = 1u << 17,
    MODE_MONO = 0x02, MODE_LINE_GRAPHICS = 0x04, MODE_BLINK = 0x08,
    CURSOR_OFF = 0x20,
};

struct vga_text_cache { uint32_t cell[VGA_MAX_HEIGHT][CELLS_MAX]; };

struct band { uint32_t y, lines, row_scan, row_index, pan, double_scan; };

struct text {
    const struct vga *v;
    const struct vga_view *view;
    uint8_t *pixels;
    uint32_t stride;
    uint32_t cursor_index;                       /* VRAM index of the cursor's cell, ~0: not shown */
    bool     blink_off;
    uint32_t font[2];                            /* plane offsets: attribute bit 3 clear, set */
};

/* Touched rows become resident as they are used. */
struct vga_text_cache *vga_text_cache_new(void) { return calloc(1, sizeof(struct vga_text_cache)); }

static uint32_t font_offset(unsigned select) { return (select & 3) * 0x4000 + (select >> 2) * 0x2000; }

static uint32_t cell_word(const struct text *t, uint32_t index)
{
    const uint8_t *p = t->v->vram + index;
    uint32_t word = CELL_KNOWN | p[0] | (uint32_t)p[1] << 8;

    if (index == t->cursor_index)
        word |= CELL_CURSOR;
    if (t->blink_off && p[1] & 0x80 && t->view->attributes & MODE_BLINK)
        word |= CELL_HIDDEN;
    return word;
}

/* Nine bits of one scan of a character, the leftmost dot in bit 8. */
static uint32_t cell_bits(const struct text *t, uint32_t word, uint32_t scan)
{
    uint32_t mode = t->view->attributes, character = word & 0xff, attribute = word >> 8 & 0xff;
    uint32_t at = t->font[attribute >> 3 & 1] + character * 32 + scan;
    uint32_t bits = word & CELL_HIDDEN ? 0 : (uint32_t)t->v->vram[at * 4 + 2] << 1;

    if (mode & MODE_LINE_GRAPHICS && character >= 0xc0 && character <= 0xdf)
        bits |= bits >> 1 & 1;
    if (mode & MODE_MONO && (attribute & 7) == 1 && scan == (t->view->attributes >> 16 & 0x1f))
        bits = 0x1ff;
    if (word & CELL_CURSOR && scan >= (t->view->cursor_shape & 0x1f) && scan <= (t->view->cursor_shape >> 8 & 0x1f))
        bits = 0x1ff;
    return bits;
}

static void draw_cell(const struct text *t, const struct band *b, uint32_t column, uint32_t word)
{
    const struct vga_view *w = t->view;
    uint32_t attribute = word >> 8 & 0xff;
    uint32_t fore = t->v->palette16[attribute & 0xf];
    uint32_t back = t->v->palette16[w->attributes & MODE_BLINK ? attribute >> 4 & 7 : attribute >> 4];
    uint32_t left = column * w->cell_w, right = left + w->cell_w, edge = w->cells * w->cell_w;
    uint32_t skip = left < b->pan ? b->pan - left : 0;

    left = left + skip - b->pan;
    right -= b->pan;
    if (right > edge)
        right = edge;
    for (uint32_t i = 0; i < b->lines; i++) {
        uint32_t bits = cell_bits(t, word, (b->row_scan + (i >> b->double_scan)) & 0x1f) << skip;
        uint32_t *out = (uint32_t *)(t->pixels + (size_t)(b->y + i) * t->stride) + left * w->xscale;
        for (uint32_t x = left; x < right; x++, bits <<= 1) {
            uint32_t colour = bits & 0x100 ? fore : back;
            *out++ = colour;
            if (w->xscale == 2)
                *out++ = colour;
        }
    }
}

static void draw_band(struct text *t, const struct band *b, uint32_t *cache, bool full, struct vga_rects *rects)
{
    const struct vga_view *w = t->view;
    uint32_t columns = w->cells + (b->pan != 0);

    for (uint32_t column = 0; column < columns; column++) {
        uint32_t index = (b->row_index + column * 4) & (VGA_PLANES_BYTES - 4);
        uint32_t word = cell_word(t, index);
        if (!full && cache[column] == word)
            continue;
        cache[column] = word;
        if ((column + 1) * w->cell_w <= b->pan)
            continue;                            /* panned out of sight altogether */
        draw_cell(t, b, column, word);
        uint32_t x = column * w->cell_w < b->pan ? 0 : column * w->cell_w - b->pan;
        uint32_t end = (column + 1) * w->cell_w - b->pan;
        if (end > w->cells * w->cell_w)
            end = w->cells * w->cell_w;
        if (end > x)
            vga_rects_add(rects, x * w->xscale, b->y, (end - x) * w->xscale, b->lines);
    }
}

void vga_text_render(struct vga *v, const struct vga_view *view, uint8_t *pixels, uint32_t stride, bool full,
                     struct vga_rects *rects)
{
    uint32_t shape = view->cursor_shape;
    unsigned a = (v->seq[3] >> 2 & 3) | (v->seq[3] >> 3 & 4), b = (v->seq[3] & 3) | (v->seq[3] >> 2 & 4);
    struct text t = {
        .v = v, .view = view, .pixels = pixels, .stride = stride,
        .cursor_index = ((uint32_t)v->crtc[0x0e] << 8 | v->crtc[0x0f]) * 4 & (VGA_PLANES_BYTES - 1),
        .blink_off = v->blink_phase & 2,
        .font = { font_offset(b), font_offset(a) },
    };
    if (shape & CURSOR_OFF || (shape & 0x1f) > (shape >> 8 & 0x1f) || v->blink_phase & 1)
        t.cursor_index = ~0u;

    struct vga_scan scan;
    vga_scan_start(view, &scan);
    for (uint32_t y = 0, n = 0; y < view->height; n++) {
        struct band band = { y, 0, scan.row_scan, scan.row_index, scan.pan, view->double_scan };
        /* A band ends where the next line does not continue the same row. */
        do {
            struct vga_scan before = scan;
            vga_scan_next(view, &scan);
            band.lines++;
            y++;
            if (scan.row_index != before.row_index || scan.row_scan < before.row_scan ||
                (scan.row_scan == before.row_scan && !scan.second))
                break;
        } while (y < view->height);
        draw_band(&t, &band, v->text->cell[n], full, rects);
    }
}
