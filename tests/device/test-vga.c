/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Standard VGA: programs modes by ports as a BIOS does, writes through the window, checks pixels. */
#include "check.h"
#include "device/fakeboard.h"
#include "devices/chipset/pci_bus.h"
#include "devices/display/edid.h"
#include "devices/display/vga.h"
#include "devices/display/vga_state.h"

enum { LFB = 0xe0000000, MMIO = 0xe2000000, MAX_PIXELS = VGA_MAX_WIDTH * VGA_MAX_HEIGHT, GUARD = 4096 };

static struct gh_board *b;
static struct gh_pci_bus bus;
static struct gh_device *dev;
static const struct gh_display_ops *ops;
static uint32_t *pixels;
static struct gh_display_mode mode;
static struct gh_rect rects[64];

struct regs { uint8_t misc, seq[5], crtc[25], gfx[9], attr[21]; };
static const struct regs text80 = {
    0x67, { 3, 0, 3, 0, 2 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x1f,
      0x96, 0xb9, 0xa3, 0xff },
    { 0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff },
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x0c, 0, 0x0f, 8, 0 } };
static const struct regs mode13 = {
    0x63, { 3, 1, 0x0f, 0, 0x0e },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96,
      0xb9, 0xa3, 0xff },
    { 0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff },
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0x0f, 0, 0 } };
static const struct regs mode12 = {
    0xe3, { 3, 1, 0x0f, 0, 6 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0, 0xe7, 4,
      0xe3, 0xff },
    { 0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff },
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 1, 0, 0x0f, 0, 0 } };
static const struct regs mode4 = {
    0x63, { 3, 9, 3, 0, 2 },
    { 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0, 0x96, 0xb9,
      0xa2, 0xff },
    { 0, 0, 0, 0, 0, 0x30, 0x0f, 0x0f, 0xff },
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 1, 0, 3, 0, 0 } };
static const struct regs mode6 = {
    0x63, { 3, 1, 1, 0, 6 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0, 0x96, 0xb9,
      0xc2, 0xff },
    { 0, 0, 0, 0, 0, 0, 0x0d, 0x0f, 0xff },
    { 0, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 1, 0, 1, 0, 0 } };

/* ---- Helpers --------------------------------------------------------------------------------------- */

static void seq(uint8_t i, uint8_t v) { fake_outw(b, 0x3c4, (uint16_t)(v << 8 | i)); }
static void gfx(uint8_t i, uint8_t v) { fake_outw(b, 0x3ce, (uint16_t)(v << 8 | i)); }
static void crtc(uint8_t i, uint8_t v) { fake_outw(b, 0x3d4, (uint16_t)(v << 8 | i)); }
static void attr(uint8_t i, uint8_t v)
{
    fake_inb(b, 0x3da);
    fake_outb(b, 0x3c0, i);
    fake_outb(b, 0x3c0, v);
    fake_outb(b, 0x3c0, 0x20);
}
static void vbe(uint16_t i, uint16_t v) { fake_outw(b, 0x1ce, i); fake_outw(b, 0x1cf, v); }
static uint16_t vbe_get(uint16_t i) { fake_outw(b, 0x1ce, i); return fake_inw(b, 0x1cf); }

/* Colour n of the first 16 is n * 4 in red, n * 2 in green, n in blue (6 bits each). */
static uint32_t colour(unsigned n)
{
    uint32_t r = n * 4 & 63, g = n * 2 & 63, bl = n & 63;
    return 0xff000000 | (r << 2 | r >> 4) << 16 | (g << 2 | g >> 4) << 8 | (bl << 2 | bl >> 4);
}

static void set_mode(const struct regs *r)
{
    vbe(VBE_ENABLE, 0);
    fake_inb(b, 0x3da);
    fake_outb(b, 0x3c0, 0);
    fake_outb(b, 0x3c2, r->misc);
    for (uint8_t i = 0; i < 5; i++)
        seq(i, r->seq[i]);
    crtc(0x11, 0);
    for (uint8_t i = 0; i < 25; i++)
        crtc(i, r->crtc[i]);
    for (uint8_t i = 0; i < 9; i++)
        gfx(i, r->gfx[i]);
    for (uint8_t i = 0; i < 21; i++)
        attr(i, r->attr[i]);
    fake_outb(b, 0x3c6, 0xff);
    fake_outb(b, 0x3c8, 0);
    for (unsigned i = 0; i < 256; i++) {
        fake_outb(b, 0x3c9, i * 4 & 63);
        fake_outb(b, 0x3c9, i * 2 & 63);
        fake_outb(b, 0x3c9, i & 63);
    }
}

static unsigned render(bool full)
{
    ops->mode(dev, &mode);
    CHECK_FATAL(mode.width >= 1 && mode.width <= VGA_MAX_WIDTH && mode.height >= 1 && mode.height <= VGA_MAX_HEIGHT);
    unsigned n = ops->render(dev, pixels, mode.width * 4, full, rects, GH_ARRAY_LEN(rects));
    CHECK_FATAL(n <= GH_ARRAY_LEN(rects));
    for (unsigned i = 0; i < n; i++)
        CHECK_FATAL(rects[i].w && rects[i].h && rects[i].x + rects[i].w <= mode.width &&
                    rects[i].y + rects[i].h <= mode.height);
    return n;
}
static uint32_t at(uint32_t x, uint32_t y) { return pixels[y * mode.width + x]; }

static void pci_bars(void)
{
    gh_pci_bus_config_write(&bus, 0x10, 0x10, 4, LFB);
    gh_pci_bus_config_write(&bus, 0x10, 0x18, 4, MMIO);
    gh_pci_bus_config_write(&bus, 0x10, 0x04, 2, 3);
}

/* ---- Modes ------------------------------------------------------------------------------------------ */

static void put_cell(unsigned column, unsigned row, uint8_t character, uint8_t attribute)
{ fake_write(b, 0xb8000 + (row * 80 + column) * 2, 2, character | attribute << 8); }

static void load_glyph(uint8_t character, uint8_t pattern)
{
    seq(2, 4), seq(4, 7), gfx(5, 0), gfx(6, 4), gfx(4, 2);
    for (unsigned i = 0; i < 16; i++)
        fake_write(b, 0xa0000 + character * 32u + i, 1, pattern);
    seq(2, 3), seq(4, 3), gfx(5, 0x10), gfx(6, 0x0e), gfx(4, 0);
}

static void test_text(void)
{
    set_mode(&text80);
    seq(4, 2);
    load_glyph('A', 0x81);
    load_glyph(0xc4, 0xff);
    crtc(0x0a, 0x20);
    put_cell(0, 0, 'A', 0x1e);
    put_cell(79, 24, 0xc4, 0x4f);
    CHECK(render(false) >= 1);
    CHECK_EQ(mode.width, 720);
    CHECK_EQ(mode.height, 400);
    CHECK_EQ(at(0, 0), colour(14));
    CHECK_EQ(at(1, 0), colour(1));
    CHECK_EQ(at(7, 15), colour(14));
    CHECK_EQ(at(8, 3), colour(1));               /* ninth dot is background... */
    CHECK_EQ(at(9, 0), colour(0));
    CHECK_EQ(at(719, 399), colour(15));          /* ...but of line graphics the eighth again */
    CHECK_EQ(fake_read(b, 0xb8000, 2), 0x1e41);

    CHECK_EQ(render(false), 0);                  /* idle */
    fake_write(b, 0xb8000, 1, 'A');              /* the same again */
    CHECK_EQ(render(false), 0);
    put_cell(2, 1, 'A', 7);                      /* one cell, one rectangle of its size */
    CHECK_EQ(render(false), 1);
    CHECK_EQ(rects[0].x, 18);
    CHECK_EQ(rects[0].y, 16);
    CHECK_EQ(rects[0].w, 9);
    CHECK_EQ(rects[0].h, 16);

    /* Another font changes cells that nobody wrote. */
    load_glyph('A', 0x18);
    CHECK(render(false) >= 1);
    CHECK_EQ(at(0, 0), colour(1));
    CHECK_EQ(at(3, 0), colour(14));

    /* Cursor: two scans at cell 82, then the blink phase takes it away. */
    b->now_ns = 266666667ull * 8;
    crtc(0x0e, 0), crtc(0x0f, 82), crtc(0x0a, 13), crtc(0x0b, 14);
    CHECK(render(false) >= 1);
    CHECK_EQ(at(18, 16 + 12), colour(0));
    CHECK_EQ(at(18, 16 + 13), colour(7));
    CHECK_EQ(at(26, 16 + 14), colour(7));
    CHECK_EQ(at(18, 16 + 15), colour(0));
    fake_step_ns(b, 266666667);
    CHECK_EQ(render(false), 1);
    CHECK_EQ(at(18, 16 + 13), colour(0));
    crtc(0x0a, 0x20);

    /* Blinking attribute, and the same as bright background. */
    put_cell(5, 5, 'A', 0x8f);
    b->now_ns = 266666667ull * 8;
    render(false);
    CHECK_EQ(at(48, 80), colour(15));
    fake_step_ns(b, 266666667ull * 2);
    CHECK(render(false) >= 1);
    CHECK_EQ(at(48, 80), colour(0));
    attr(0x10, 0x04);
    render(false);
    CHECK_EQ(at(48, 80), colour(15));
    CHECK_EQ(at(45, 80), colour(8));
    attr(0x10, 0x0c);

    /* Smooth scrolling: 3 lines down, 2 dots left (value 1), and a split that stays. */
    b->now_ns = 266666667ull * 8;
    crtc(8, 3), attr(0x13, 1);
    render(false);
    CHECK_EQ(at(3 - 2, 0), colour(14));
    CHECK_EQ(at(1, 12), colour(14));
    CHECK_EQ(at(1, 13), colour(0));
    CHECK_EQ(at(18 + 3 - 2, 13), colour(7));
    crtc(0x18, 199), crtc(7, 0x0f), crtc(9, 0x0f);   /* line compare 199 */
    attr(0x10, 0x2c);                            /* unpanned below */
    render(false);
    CHECK_EQ(at(3, 200), colour(14));
    CHECK_EQ(at(3, 215), colour(14));
    CHECK_EQ(at(18 + 3, 216), colour(7));
    crtc(8, 0), attr(0x13, 8), attr(0x10, 0x0c), crtc(7, 0x1f), crtc(9, 0x4f), crtc(0x18, 0xff);

    /* Start address: scrolls by a row. */
    crtc(0x0d, 80);
    render(false);
    CHECK_EQ(at(18 + 3, 0), colour(7));
    crtc(0x0d, 0);

    /* 8 dots, underline in monochrome */
    seq(1, 1), attr(0x10, 0x0e), crtc(0x14, 12), attr(0x13, 0);
    put_cell(1, 0, ' ', 0x01);
    render(false);
    CHECK_EQ(mode.width, 640);
    CHECK_EQ(at(8, 12), colour(1));
    CHECK_EQ(at(8, 11), colour(0));
    /* 40 columns: dots twice as wide */
    seq(1, 9), crtc(0x11, 0), crtc(1, 39);
    render(false);
    CHECK_EQ(mode.width, 640);
    CHECK_EQ(at(6, 0), colour(14));
    CHECK_EQ(at(7, 0), colour(14));
    CHECK_EQ(at(5, 0), colour(1));
}

static void test_256(void)
{
    set_mode(&mode13);
    for (unsigned i = 0; i < 320 * 200; i += 4)
        fake_write(b, 0xa0000 + i, 4, (i & 0xff) * 0x01010101u);
    CHECK(render(false) >= 1);
    CHECK_EQ(mode.width, 320);
    CHECK_EQ(mode.height, 200);
    CHECK_EQ(at(0, 0), colour(0));
    CHECK_EQ(at(5, 0), colour(4));
    CHECK_EQ(at(319, 199), colour((320 * 199 + 316) & 0xff));
    CHECK(((struct vga *)dev->state)->window_ram);   /* the window became plain memory */
    CHECK_EQ(render(false), 0);
    fake_write(b, 0xa0000 + 320 * 10 + 7, 1, 99);    /* ...and its writes are seen */
    CHECK_EQ(render(false), 1);
    CHECK_EQ(rects[0].x, 7);
    CHECK_EQ(rects[0].y, 10);
    CHECK_EQ(rects[0].w, 1);
    CHECK_EQ(at(7, 10), colour(99));
    fake_outb(b, 0x3c8, 99);                     /* palette alone */
    fake_outb(b, 0x3c9, 63), fake_outb(b, 0x3c9, 0), fake_outb(b, 0x3c9, 0);
    CHECK(render(false) >= 1);
    CHECK_EQ(at(7, 10), 0xffff0000);
    fake_outb(b, 0x3c7, 99);
    CHECK_EQ(fake_inb(b, 0x3c9), 63);
    fake_outb(b, 0x3c6, 0x0f);
    render(false);
    CHECK_EQ(at(7, 10), colour(3));
    fake_outb(b, 0x3c6, 0xff);

    /* Mode X: unchained, 320x240, planes hold every fourth pixel, a second page. */
    seq(4, 6), crtc(0x14, 0), crtc(0x17, 0xe3);
    CHECK(!((struct vga *)dev->state)->window_ram);
    crtc(0x11, 0), crtc(0x12, 0xdf), crtc(7, 0x3e), crtc(6, 0x0b);
    for (unsigned plane = 0; plane < 4; plane++) {
        seq(2, (uint8_t)(1 << plane));
        fake_write(b, 0xa0000 + 19200 + 80 * 100 + 3, 1, 0x40 + plane);
    }
    crtc(0x0c, 19200 >> 8), crtc(0x0d, 19200 & 255);
    render(false);
    CHECK_EQ(mode.width, 320);
    CHECK_EQ(mode.height, 240);
    for (unsigned plane = 0; plane < 4; plane++)
        CHECK_EQ(at(12 + plane, 100), colour(0x40 + plane));
    attr(0x13, 4);                               /* pan by two pixels */
    render(false);
    CHECK_EQ(at(10, 100), colour(0x40));
}

static void test_planar(void)
{
    set_mode(&mode12);
    /* Write mode 0 with set/reset: plane pattern 0101 everywhere in 8 pixels */
    gfx(0, 5), gfx(1, 15);
    fake_write(b, 0xa0000, 1, 0);
    gfx(1, 0);
    CHECK_EQ(render(false), 1);
    CHECK_EQ(mode.width, 640);
    CHECK_EQ(mode.height, 480);
    CHECK_EQ(at(0, 0), colour(5));
    CHECK_EQ(at(7, 0), colour(5));
    CHECK_EQ(at(8, 0), colour(0));

    /* Bit mask keeps the rest by the latches; write mode 2 */
    fake_read(b, 0xa0000, 1);
    gfx(8, 0x10), gfx(5, 2);
    fake_write(b, 0xa0000, 1, 10);
    render(false);
    CHECK_EQ(at(3, 0), colour(10));
    CHECK_EQ(at(4, 0), colour(5));

    /* Write mode 1 copies eight pixels with all planes at once */
    gfx(5, 1);
    fake_read(b, 0xa0000, 1);
    fake_write(b, 0xa0000 + 80 * 479 + 79, 1, 0xaa);
    render(false);
    CHECK_EQ(at(635, 479), colour(10));
    CHECK_EQ(at(636, 479), colour(5));

    /* Write mode 3: set/reset through data and bit mask; rotated by 4 */
    gfx(5, 3), gfx(8, 0xf0), gfx(0, 12), gfx(3, 4);
    fake_read(b, 0xa0001, 1);
    fake_write(b, 0xa0001, 1, 0x0f);
    render(false);
    CHECK_EQ(at(8, 0), colour(12));
    CHECK_EQ(at(11, 0), colour(12));
    CHECK_EQ(at(12, 0), colour(0));

    /* XOR twice is nothing */
    gfx(5, 0), gfx(8, 0xff), gfx(3, 0x18);
    for (unsigned i = 0; i < 2; i++) {
        fake_read(b, 0xa0000, 1);
        fake_write(b, 0xa0000, 1, 0x81);
        render(false);
        CHECK_EQ(at(0, 0), colour(i ? 5 : 10));
    }
    gfx(3, 0);

    /* Read modes */
    gfx(4, 0);
    CHECK_EQ(fake_read(b, 0xa0000, 1), 0xef);
    gfx(4, 1);
    CHECK_EQ(fake_read(b, 0xa0000, 1), 0x10);
    gfx(5, 8), gfx(2, 10), gfx(7, 15);
    CHECK_EQ(fake_read(b, 0xa0000, 1), 0x10);    /* where the colour is 10 */
    gfx(7, 0);
    CHECK_EQ(fake_read(b, 0xa0000, 1), 0xff);    /* nobody cares */

    /* Map mask */
    gfx(5, 0), seq(2, 2);
    fake_write(b, 0xa0000, 1, 0xff);
    render(false);
    CHECK_EQ(at(0, 0), colour(7));
    /* Colour select */
    attr(0x14, 0x0c);
    render(false);
    CHECK_EQ(at(0, 0), colour(0xc7));
    attr(0x14, 0);
    /* Screen off and on */
    seq(1, 0x21);
    render(false);
    CHECK_EQ(at(0, 0), 0xff000000);
    seq(1, 1);
    render(false);
    CHECK_EQ(at(0, 0), colour(7));
}

static void test_cga(void)
{
    set_mode(&mode4);
    fake_write(b, 0xb8000, 1, 0x1b);             /* 0 1 2 3 */
    fake_write(b, 0xb8001, 1, 0xe4);             /* 3 2 1 0 */
    fake_write(b, 0xba000, 1, 0xff);             /* second line */
    fake_write(b, 0xb8000 + 80, 1, 0x55);        /* third line */
    render(false);
    CHECK_EQ(mode.width, 320);
    CHECK_EQ(mode.height, 200);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_EQ(at(i, 0), colour(i));
        CHECK_EQ(at(4 + i, 0), colour(3 - i));
        CHECK_EQ(at(i, 1), colour(3));
        CHECK_EQ(at(i, 2), colour(1));
    }
    set_mode(&mode6);
    fake_write(b, 0xb8000, 1, 0x80);
    fake_write(b, 0xba000 + 79, 1, 0x01);
    render(false);
    CHECK_EQ(mode.width, 640);
    CHECK_EQ(mode.height, 400);                  /* lines doubled: the proportions of the screen */
    CHECK_EQ(at(0, 0), colour(15));
    CHECK_EQ(at(0, 1), colour(15));
    CHECK_EQ(at(1, 0), colour(0));
    CHECK_EQ(at(639, 2), colour(15));
    CHECK_EQ(at(639, 0), colour(0));
}

/* ---- VBE --------------------------------------------------------------------------------------------- */

static void vbe_mode(uint16_t x, uint16_t y, uint16_t bpp, uint16_t flags)
{
    vbe(VBE_ENABLE, 0);
    vbe(VBE_XRES, x), vbe(VBE_YRES, y), vbe(VBE_BPP, bpp);
    vbe(VBE_ENABLE, VBE_ENABLED | VBE_LFB | flags);
}

static void test_vbe(void)
{
    CHECK_EQ(vbe_get(VBE_ID), 0xb0c5);
    vbe(VBE_ID, 0xb0c2);
    CHECK_EQ(vbe_get(VBE_ID), 0xb0c2);
    vbe(VBE_ID, 0xb0c6);                         /* none of ours */
    CHECK_EQ(vbe_get(VBE_ID), 0xb0c2);
    CHECK_EQ(vbe_get(VBE_MEMORY_64K), 256);
    vbe(VBE_ENABLE, VBE_GETCAPS);
    CHECK_EQ(vbe_get(VBE_XRES), 2560);
    CHECK_EQ(vbe_get(VBE_YRES), 1600);
    CHECK_EQ(vbe_get(VBE_BPP), 32);
    fake_write(b, LFB + 100, 4, 0x12345678);

    vbe_mode(1024, 768, 32, 0);
    CHECK_EQ(fake_read(b, LFB + 100, 4), 0);     /* cleared */
    CHECK_EQ(vbe_get(VBE_VIRT_WIDTH), 1024);
    CHECK_EQ(vbe_get(VBE_VIRT_HEIGHT), 4096);
    render(false);
    CHECK_EQ(mode.width, 1024);
    CHECK_EQ(mode.height, 768);
    fake_write(b, LFB + 1024 * 4 * 700 + 1000 * 4, 4, 0x00123456);
    CHECK_EQ(render(false), 1);
    CHECK_EQ(rects[0].x, 1000);
    CHECK_EQ(rects[0].y, 700);
    CHECK_EQ(rects[0].w, 1);
    CHECK_EQ(rects[0].h, 1);
    CHECK_EQ(at(1000, 700), 0xff123456);
    CHECK_EQ(render(false), 0);
    CHECK_EQ(render(true), 1);
    CHECK_EQ(rects[0].w, 1024);
    uint64_t generation = mode.generation;
    render(false);
    CHECK_EQ(mode.generation, generation);

    /* Panning */
    vbe(VBE_Y_OFFSET, 600), vbe(VBE_X_OFFSET, 0);
    CHECK(render(false) >= 1);
    CHECK_EQ(at(1000, 100), 0xff123456);
    vbe(VBE_Y_OFFSET, 4000);                     /* beyond: clamped */
    CHECK_EQ(vbe_get(VBE_Y_OFFSET), 4096 - 768);

    /* Banked window: 64 KiB at bank 3 */
    vbe(VBE_Y_OFFSET, 0), vbe(VBE_BANK, 3);
    for (unsigned i = 0; i < 100; i++)
        fake_write(b, 0xa0000 + 8 * 4, 4, 0x00abcdef);
    CHECK_EQ(fake_read(b, LFB + 3 * 65536 + 32, 4), 0x00abcdef);
    CHECK(((struct vga *)dev->state)->window_ram);
    vbe(VBE_BANK, 4);
    fake_write(b, 0xa0000, 4, 0x00010203);
    CHECK(render(false) >= 1);
    CHECK_EQ(at(8, 48), 0xffabcdef);
    CHECK_EQ(at(0, 64), 0xff010203);
    vbe(VBE_BANK, 0xffff);
    CHECK_EQ(vbe_get(VBE_BANK), 255);

    /* The other depths */
    vbe_mode(800, 600, 16, 0);
    fake_write(b, LFB + 800 * 2 * 5 + 2, 2, 0xf81f);
    render(false);
    CHECK_EQ(mode.width, 800);
    CHECK_EQ(at(1, 5), 0xffff00ff);
    vbe_mode(800, 600, 15, 0);
    fake_write(b, LFB + 2, 2, 0x03e0);
    render(false);
    CHECK_EQ(at(1, 0), 0xff00ff00);
    vbe_mode(800, 600, 24, 0);
    fake_write(b, LFB + 3, 1, 0x11), fake_write(b, LFB + 4, 1, 0x22), fake_write(b, LFB + 5, 1, 0x33);
    render(false);
    CHECK_EQ(at(1, 0), 0xff332211);
    vbe_mode(640, 480, 8, VBE_8BIT_DAC);
    fake_outb(b, 0x3c8, 7);
    fake_outb(b, 0x3c9, 0x81), fake_outb(b, 0x3c9, 0x82), fake_outb(b, 0x3c9, 0x83);
    fake_write(b, LFB + 640, 1, 7);
    render(false);
    CHECK_EQ(at(0, 1), 0xff818283);
    vbe_mode(800, 600, 4, 0);
    seq(2, 15), seq(4, 6), gfx(5, 0), gfx(8, 0xff), gfx(3, 0), gfx(1, 15), gfx(0, 9), attr(0x12, 15);
    fake_write(b, 0xa0000 + 100 * 2, 1, 0);
    render(false);
    CHECK_EQ(mode.width, 800);
    CHECK_EQ(at(0, 2), ((struct vga *)dev->state)->palette16[9]);
    gfx(1, 0);

    /* The largest, and no clearing */
    fake_write(b, LFB + 2559 * 4, 4, 0x445566);
    vbe_mode(2560, 1600, 32, VBE_NOCLEAR);
    render(false);
    CHECK_EQ(mode.width, 2560);
    CHECK_EQ(mode.height, 1600);
    CHECK_EQ(at(2559, 0), 0xff445566);
    CHECK_EQ(pixels[2560 * 1600 - 1], 0xff000000);

    /* BAR 2: dispi, ports, EDID */
    CHECK_EQ(fake_read(b, MMIO + 0x502, 2), 2560);
    fake_write(b, MMIO + 0x400 + 8, 1, 0x55);    /* 3c8 */
    CHECK_EQ(fake_inb(b, 0x3c8), 0x55);
    CHECK_EQ(fake_read(b, MMIO + 0x600, 4), 0);
    CHECK_EQ(fake_read(b, MMIO, 8), 0x00ffffffffffff00);
    uint8_t sum = 0;
    for (unsigned i = 0; i < GH_EDID_BYTES; i++)
        sum = (uint8_t)(sum + fake_read(b, MMIO + i, 1));
    CHECK_EQ(sum, 0);
    vbe_mode(640, 480, 32, 0);
    vbe(VBE_ENABLE, 0);
}

/* ---- The rest ----------------------------------------------------------------------------------------- */

static void test_registers(void)
{
    set_mode(&text80);
    crtc(0x11, 0x8e);                            /* protects 0-7 */
    crtc(0, 0x11);
    fake_outb(b, 0x3d4, 0);
    CHECK_EQ(fake_inb(b, 0x3d5), 0x5f);
    crtc(7, 0);
    fake_outb(b, 0x3d4, 7);
    CHECK_EQ(fake_inb(b, 0x3d5), 0x0f);          /* only line compare went */
    CHECK_EQ(fake_inb(b, 0x3b4), 0xff);          /* monochrome half is silent */
    fake_outb(b, 0x3c2, 0x66);
    CHECK_EQ(fake_inb(b, 0x3d4), 0xff);
    CHECK_EQ(fake_inb(b, 0x3b4), 7);
    fake_outb(b, 0x3c2, 0x67);
    CHECK_EQ(fake_inb(b, 0x3cc), 0x67);

    /* Retrace shows up about 70 times a second. */
    crtc(0x11, 0x8e);
    crtc(7, 0x1f);
    unsigned edges = 0, displaying = 0;
    uint8_t last = 0;
    for (unsigned i = 0; i < 100000; i++) {
        fake_step_ns(b, 10000);
        uint8_t s = fake_inb(b, 0x3da);
        edges += (s & 8) && !(last & 8);
        displaying += !(s & 1);
        last = s;
    }
    CHECK(edges >= 68 && edges <= 72);
    CHECK(displaying > 50000 && displaying < 90000);

    /* The window answers nothing where it does not decode. */
    fake_outb(b, 0x3c2, 0x65);
    CHECK_EQ(fake_read(b, 0xb8000, 1), 0xff);
    fake_outb(b, 0x3c2, 0x67);
    CHECK_EQ(fake_read(b, 0xa0000, 1), 0xff);
}

static uint32_t seed = 12345;
static uint32_t rnd(void) { seed ^= seed << 13; seed ^= seed >> 17; seed ^= seed << 5; return seed; }

/* Random registers and accesses; the render target ends at a guard that must survive. */
static void test_hostile(void)
{
    for (unsigned i = 0; i < GUARD; i++)
        pixels[MAX_PIXELS + i] = 0xdeadbeef;
    for (unsigned round = 0; round < 4000; round++) {
        for (unsigned i = 0; i < 12; i++) {
            uint32_t r = rnd(), value = rnd();
            switch (r % 8) {
            case 0: crtc(r >> 8 & 31, (uint8_t)value); break;
            case 1: seq(r >> 8 & 7, (uint8_t)value); break;
            case 2: gfx(r >> 8 & 15, (uint8_t)value); break;
            case 3: attr(r >> 8 & 31, (uint8_t)value); break;
            case 4: vbe((uint16_t)(r >> 8 & 15), (uint16_t)(value & (value >> 16))); break;
            case 5: fake_outb(b, (uint16_t)(0x3b0 + (r >> 8) % 0x30), (uint8_t)value); break;
            case 6: fake_write(b, 0xa0000 + (r >> 8) % (0x20000 - 8), 1u << (value & 3), rnd()); break;
            default: fake_read(b, 0xa0000 + (r >> 8) % (0x20000 - 8), 1u << (value & 3)); break;
            }
        }
        if (round % 4 == 0)
            vbe(VBE_ENABLE, rnd() & 0xe1);
        attr(0, 0);                              /* leaves the screen on */
        if (round & 1) {
            /* Between mode and render the guest goes on: no other size may be drawn. */
            ops->mode(dev, &mode);
            crtc(0x12, (uint8_t)rnd()), crtc(1, (uint8_t)rnd());
            CHECK_FATAL(ops->render(dev, pixels + MAX_PIXELS - mode.width * mode.height, mode.width * 4, round % 16 == 1,
                                    rects, 1 + rnd() % 64) <= 64);
        } else {
            render(false);
        }
        fake_step_ns(b, 20000000);
    }
    for (unsigned i = 0; i < GUARD; i++)
        CHECK_FATAL(pixels[MAX_PIXELS + i] == 0xdeadbeef);
}

static void test_state(void)
{
    struct gh_state_buffer first = { 0 }, second = { 0 };
    struct gh_error err = { 0 };

    set_mode(&text80);
    vbe_mode(800, 600, 16, 0);
    fake_save(b, &first);
    fake_reset(b, GH_RESET_WARM);
    CHECK_EQ(vbe_get(VBE_ENABLE), 0);
    CHECK_EQ(fake_load(b, first.data, first.len, &err), 0);
    CHECK_STR(err.text, "");
    fake_save(b, &second);
    CHECK_EQ(first.len, second.len);
    CHECK(first.len == second.len && !memcmp(first.data, second.data, first.len));
    render(false);
    CHECK_EQ(mode.width, 800);

    struct vga *v = dev->state;
    v->dac_part = 3;
    gh_state_buffer_fini(&second);
    fake_save(b, &second);
    CHECK(fake_load(b, second.data, second.len, &err) < 0);
    CHECK_STR(err.id, "SavedStateImpossible");
    v->dac_part = 0;
    gh_state_buffer_fini(&first);
    gh_state_buffer_fini(&second);
}

static void test_options(void)
{
    struct gh_error err = { 0 };
    struct gh_device *bad = fake_create(b, "vga", "vga1");

    CHECK_EQ(fake_set_options(bad, "vram_mb=24", &err), 0);
    CHECK(fake_attach(bad, &err) < 0);
    CHECK_STR(err.id, "VideoMemoryNotPowerOfTwo");
    CHECK_STR(err.option, "vram_mb");
}

int main(void)
{
    static uint8_t rom[39936] = { 0x55, 0xaa, 78 };

    b = fake_board_new();
    gh_pci_bus_init(&bus);
    fake_provide(b, "pci.0", &bus);
    dev = fake_create(b, "vga", "vga0");
    CHECK_FATAL(!fake_set_options(dev, "addr=02.0,vram_mb=16", NULL));
    gh_vga_set_rom(dev, rom, sizeof rom);
    CHECK_FATAL(!fake_attach(dev, NULL));
    ops = fake_display(b, &dev);
    CHECK_FATAL(ops);
    pixels = malloc((MAX_PIXELS + GUARD) * sizeof *pixels);
    CHECK_FATAL(pixels);

    CHECK_EQ(gh_pci_bus_config_read(&bus, 0x10, 0, 4), 0x11111234);
    gh_pci_bus_config_write(&bus, 0x10, 0x30, 4, 0xe3000001);
    pci_bars();
    CHECK_EQ(fake_read(b, 0xe3000000, 4), 0x004eaa55);
    CHECK_EQ(render(true), 1);                   /* before any mode: black */
    CHECK_EQ(at(0, 0), 0xff000000);

    test_text();
    test_256();
    test_planar();
    test_cga();
    test_vbe();
    test_registers();
    test_hostile();
    test_state();
    test_options();
    free(pixels);
    fake_board_free(b);
    gh_pci_bus_fini(&bus);
    return check_result();
}
