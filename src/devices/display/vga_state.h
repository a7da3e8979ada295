/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * State shared by the files of the VGA model; nobody else includes this.
 *
 * VRAM holds the four planes interleaved: byte 4 * offset + plane. Chain-4 and odd/even addressing
 * are compressed into the same form (a chain-4 address is its own index), so that mode 13h, mode X
 * and the linear frame buffer see one picture, and CRTC start and offset count alike in all modes.
 *
 *   planar   index = 4 * A + plane              odd/even  index = 4 * (A / 2) + (A & 1) + plane pair
 *   chain-4  index = A                          linear    index = bank * 64 KiB + A
 *
 * Every index is masked by index_mask() before it is used.
 */
#pragma once
#include "devices/chipset/pci.h"
#include "devices/device.h"

enum vga_range {
    VGA_RANGE_PORTS,          /* 3b0-3df */
    VGA_RANGE_DISPI,          /* 1ce-1d0 */
    VGA_RANGE_WINDOW,         /* a0000-bffff, the handler */
    VGA_RANGE_WINDOW_RAM,     /* a0000-affff straight onto VRAM, while that is equivalent */
    VGA_RANGE_LFB,            /* BAR 0 */
    VGA_RANGE_MMIO,           /* BAR 2 */
    VGA_RANGE_ROM,
};

enum {
    VGA_MAX_WIDTH = 2560, VGA_MAX_HEIGHT = 2048,     /* of what render produces */
    VBE_MAX_X = 2560, VBE_MAX_Y = 1600, VBE_MAX_BPP = 32,
    VGA_PLANES_BYTES = 256 << 10,
    VGA_PAGE_SHIFT = 12,
    VGA_WINDOW_BYTES = 128 << 10, VGA_BANK_BYTES = 64 << 10,
    VGA_MMIO_BYTES = 4096,
};

enum vbe_register {
    VBE_ID, VBE_XRES, VBE_YRES, VBE_BPP, VBE_ENABLE, VBE_BANK, VBE_VIRT_WIDTH, VBE_VIRT_HEIGHT,
    VBE_X_OFFSET, VBE_Y_OFFSET, VBE_MEMORY_64K, VBE_REGISTERS,
};
enum { VBE_ENABLED = 0x01, VBE_GETCAPS = 0x02, VBE_8BIT_DAC = 0x20, VBE_LFB = 0x40, VBE_NOCLEAR = 0x80 };

enum vga_kind {
    VGA_BLANK, VGA_TEXT, VGA_PLANAR, VGA_CGA4, VGA_256,
    VGA_LINEAR8, VGA_LINEAR15, VGA_LINEAR16, VGA_LINEAR24, VGA_LINEAR32,
};

/* What the registers say is to be shown, validated; compared bytewise, so always zeroed first. */
struct vga_view {
    uint32_t kind;            /* enum vga_kind */
    uint32_t width, height;   /* of the output */
    uint32_t start, pitch;    /* VRAM bytes: first line, line to line */
    uint32_t xscale, yscale;  /* output pixels per source pixel and line */
    uint32_t scanlines, repeat;/* CRT lines; how many of them show one source line */
    uint32_t cells, cell_w, cell_h; /* text */
    uint32_t max_scan, double_scan; /* CRT lines a row has less one; each line shown twice */
    uint32_t line_compare;    /* in CRT lines */
    uint32_t pan, pan_split;  /* source pixels to skip; the same below the split */
    uint32_t preset_row;
    uint32_t address_mode;    /* CRTC 17h */
    uint32_t attributes;      /* mode control, plane enable, fonts, underline: what needs a redraw */
    uint32_t cursor_shape;
};

struct vga_text_cache;

struct vga {
    struct gh_pci pci;
    struct gh_device *dev;

    /* Options */
    char     addr[8];
    uint32_t vram_mb, xres, yres;

    /* Registers, saved */
    uint8_t  misc, feature, enable;
    uint8_t  seq_index, seq[8];
    uint8_t  gfx_index, gfx[16];
    uint8_t  crtc_index, crtc[32];
    uint8_t  attr_index, attr[32];
    bool     attr_data;       /* the next write to 3c0 is data */
    uint8_t  dac_mask, dac_state, dac_read, dac_write, dac_part, dac_latch[3];
    uint8_t  dac[768];
    uint8_t  latch[4];
    uint16_t vbe_index, vbe[VBE_REGISTERS];

    /* Memory */
    uint8_t *vram;
    uint32_t vram_bytes;      /* a power of two */
    uint8_t *rom_host;
    const uint8_t *rom;       /* the caller's, until attach */
    size_t   rom_bytes;
    uint8_t  edid[128];

    /* Derived, never saved */
    bool     window_ram;      /* VGA_RANGE_WINDOW_RAM is switched on */
    uint32_t window_base;     /* ... with this VRAM index */
    unsigned window_hits;     /* handled accesses since it could have been on */
    bool     hinted;          /* the board was told; render clears it */
    bool     redraw, palette_stale, cells_stale;
    uint32_t palette[256];    /* XRGB8888, after the pel mask */
    uint32_t palette16[16];   /* the same through the attribute controller */
    uint64_t *dirty;          /* one bit a VRAM page, written since the last render */
    uint64_t *harvest;        /* scratch of the same size */
    struct vga_view shown;    /* what the last render showed */
    struct gh_display_mode announced; /* what the last mode call said; render produces no other size */
    uint64_t blink_phase;
    uint32_t *line;           /* one converted line */
    struct vga_text_cache *text;
};

static inline bool vga_vbe_on(const struct vga *v) { return v->vbe[VBE_ENABLE] & VBE_ENABLED; }
static inline bool vga_vbe_linear(const struct vga *v) { return vga_vbe_on(v) && v->vbe[VBE_BPP] >= 8; }
/* Standard modes see 256 KiB, as the real card. */
static inline uint32_t vga_index_mask(const struct vga *v)
{ return (vga_vbe_on(v) ? v->vram_bytes : VGA_PLANES_BYTES) - 1; }
static inline void vga_dirty_page(struct vga *v, uint32_t index)
{ v->dirty[index >> (VGA_PAGE_SHIFT + 6)] |= 1ull << (index >> VGA_PAGE_SHIFT & 63); }

/* vga.c */
void vga_changed(struct vga *v);                 /* something to show soon; cheap */
void vga_dirty_all(struct vga *v);
/* vga_regs.c */
bool vga_port_access(struct gh_device *dev, unsigned range, struct gh_access *a);
uint8_t vga_port_read(struct vga *v, uint16_t port);
void vga_port_write(struct vga *v, uint16_t port, uint8_t value);
void vga_registers_reset(struct vga *v);
/* vga_mem.c */
bool vga_window_access(struct gh_device *dev, unsigned range, struct gh_access *a);
void vga_window_update(struct vga *v);           /* after a register that decides the mapping */
void vga_window_harvest(struct vga *v);          /* dirty pages of the mapped window into v->dirty */
/* vga_vbe.c */
bool vga_dispi_access(struct gh_device *dev, unsigned range, struct gh_access *a);
bool vga_mmio_access(struct gh_device *dev, unsigned range, struct gh_access *a);
void vga_vbe_reset(struct vga *v);
void vga_vbe_settle(struct vga *v);
uint32_t vga_vbe_line_bytes(const struct vga *v);
/* vga_view.c */
void vga_view_get(const struct vga *v, struct vga_view *ret);
/* vga_render.c */
extern const struct gh_display_ops vga_display_ops;
/* vga_text.c: cells that changed; all of them if full. Reports through vga_rects. */
struct vga_rects { struct gh_rect *rect; unsigned count, max; };
void vga_rects_add(struct vga_rects *r, uint32_t x, uint32_t y, uint32_t w, uint32_t h);
void vga_text_render(struct vga *v, const struct vga_view *view, uint8_t *pixels, uint32_t stride,
                     bool full, struct vga_rects *rects);
struct vga_text_cache *vga_text_cache_new(void);
/* Walks the CRT lines of a view from the top (vga_view.c). */
struct vga_scan { uint32_t line, row_index, row_scan, pan, second; };
void vga_scan_start(const struct vga_view *view, struct vga_scan *ret);
void vga_scan_next(const struct vga_view *view, struct vga_scan *scan);
