/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The device itself: options, ranges, PCI identity, reset, saved state. */
#include "devices/display/vga.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/classes.h"
#include "devices/display/edid.h"
#include "devices/display/vga_state.h"

/* The legacy window lies over the machine's RAM; its shortcut over the window. */
enum { PRIORITY_WINDOW = 10, PRIORITY_WINDOW_RAM = 11 };

void vga_changed(struct vga *v)
{
    if (v->hinted)
        return;
    v->hinted = true;
    v->dev->ops->display_changed(v->dev->board, v->dev);
}

void vga_dirty_all(struct vga *v) { memset(v->dirty, 0xff, (v->vram_bytes >> VGA_PAGE_SHIFT) / 8); }

void gh_vga_set_rom(struct gh_device *dev, const uint8_t *bytes, size_t size)
{
    struct vga *v = dev->state;

    v->rom = bytes;
    v->rom_bytes = size;
}

/* ---- Coming up ------------------------------------------------------------------------------------ */

static int add_ranges(struct gh_device *dev, struct gh_error *err)
{
    struct vga *v = dev->state;
    const struct { unsigned range; struct gh_range_desc desc; } table[] = {
        { VGA_RANGE_PORTS, { .name = "vga", .space = GH_SPACE_PIO, .base = 0x3b0, .size = 0x30, .widths = GH_W8,
                             .fn = vga_port_access } },
        { VGA_RANGE_DISPI, { .name = "vbe", .space = GH_SPACE_PIO, .base = 0x1ce, .size = 3,
                             .widths = GH_W8 | GH_W16, .fn = vga_dispi_access } },
        { VGA_RANGE_WINDOW, { .name = "vga-window", .space = GH_SPACE_MMIO, .base = 0xa0000,
                              .size = VGA_WINDOW_BYTES, .priority = PRIORITY_WINDOW, .fn = vga_window_access } },
        { VGA_RANGE_WINDOW_RAM, { .name = "vga-window-ram", .space = GH_SPACE_MMIO, .kind = GH_RANGE_RAM,
                                  .base = 0xa0000, .size = VGA_BANK_BYTES, .priority = PRIORITY_WINDOW_RAM,
                                  .disabled = true, .dirty_log = true, .host = v->vram } },
        { VGA_RANGE_LFB, { .name = "vga-lfb", .space = GH_SPACE_MMIO, .kind = GH_RANGE_RAM, .size = v->vram_bytes,
                           .priority = 1, .disabled = true, .dirty_log = true, .host = v->vram } },
        { VGA_RANGE_MMIO, { .name = "vga-mmio", .space = GH_SPACE_MMIO, .size = VGA_MMIO_BYTES, .priority = 1,
                            .disabled = true, .fn = vga_mmio_access } },
    };

    for (unsigned i = 0; i < GH_ARRAY_LEN(table); i++) {
        int r = gh_range_add(dev, table[i].range, &table[i].desc, err);
        if (r)
            return r;
    }
    return 0;
}

static int add_rom(struct gh_device *dev, struct gh_error *err)
{
    struct vga *v = dev->state;
    uint64_t bytes = 4096;

    if (!v->rom || !v->rom_bytes)
        return 0;
    if (v->rom_bytes > 1 << 20)
        return gh_error_set(err, -EFBIG, "VgaBiosTooLarge", "The VGA BIOS has %zu bytes and at most 1 MiB is possible; "
                            "use the vgabios-stdvga.bin of SeaBIOS.", v->rom_bytes);
    while (bytes < v->rom_bytes)
        bytes *= 2;
    v->rom_host = dev->ops->ram_alloc(dev->board, bytes, "vga.rom", err);
    if (!v->rom_host)
        return -ENOMEM;
    memcpy(v->rom_host, v->rom, v->rom_bytes);
    const struct gh_range_desc desc = { .name = "vga-rom", .space = GH_SPACE_MMIO, .kind = GH_RANGE_ROM,
                                        .size = bytes, .priority = 1, .disabled = true, .host = v->rom_host };
    int r = gh_range_add(dev, VGA_RANGE_ROM, &desc, err);
    if (!r)
        gh_pci_rom(&v->pci, bytes, VGA_RANGE_ROM);
    v->rom = NULL;
    return r;
}

static int vga_attach(struct gh_device *dev, struct gh_error *err)
{
    static const struct gh_pci_id id = { .vendor = 0x1234, .device = 0x1111, .sub_vendor = 0x1af4,
                                         .sub_device = 0x1100, .revision = 2, .class_code = 0x030000 };
    struct vga *v = dev->state;

    v->dev = dev;
    if (v->vram_mb & (v->vram_mb - 1))
        return gh_error_option(err, -EINVAL, "VideoMemoryNotPowerOfTwo", "vram_mb",
                               "Video memory of %u MiB is not possible because its size must be a power of two; "
                               "choose 8, 16, 32 or 64.", v->vram_mb);
    v->vram_bytes = v->vram_mb << 20;
    v->dirty = calloc((v->vram_bytes >> VGA_PAGE_SHIFT) / 64, sizeof *v->dirty);
    v->line = calloc(VGA_MAX_WIDTH, sizeof *v->line);
    v->text = vga_text_cache_new();
    if (!v->dirty || !v->line || !v->text)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is not enough memory for the display adapter; "
                            "close other programs and start the machine again.");
    v->vram = dev->ops->ram_alloc(dev->board, v->vram_bytes, "vga.vram", err);
    if (!v->vram)
        return -ENOMEM;
    int r = gh_pci_attach(dev, &v->pci, v->addr, &id, err);
    if (!r)
        r = add_ranges(dev, err);
    if (r)
        return r;
    gh_pci_bar(&v->pci, 0, GH_BAR_MEM32_PREFETCH, v->vram_bytes, VGA_RANGE_LFB);
    gh_pci_bar(&v->pci, 2, GH_BAR_MEM32, VGA_MMIO_BYTES, VGA_RANGE_MMIO);
    r = add_rom(dev, err);
    if (r)
        return r;
    gh_edid_build(v->edid, v->xres, v->yres, "Gasthaus");
    dev->ops->display_add(dev->board, dev, &vga_display_ops);
    return 0;
}

static void vga_reset(struct gh_device *dev, enum gh_reset why)
{
    struct vga *v = dev->state;

    gh_pci_reset(&v->pci);
    vga_registers_reset(v);
    vga_vbe_reset(v);
    vga_window_update(v);
    v->palette_stale = v->redraw = true;
    vga_changed(v);
}

static void vga_detach(struct gh_device *dev)
{
    struct vga *v = dev->state;

    gh_pci_detach(&v->pci);
    free(v->dirty);
    free(v->line);
    free(v->text);
    v->dirty = NULL;
    v->line = NULL;
    v->text = NULL;
}

/* ---- Saved state ---------------------------------------------------------------------------------- */

static int vga_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct vga *v = dev->state;

    if (v->seq_index > 7 || v->gfx_index > 15 || v->crtc_index > 31 || v->attr_index > 63 || v->dac_part > 2 ||
        v->vbe[VBE_BANK] >= v->vram_bytes / VGA_BANK_BYTES)
        return gh_error_set(err, -EINVAL, "SavedStateImpossible",
                            "The saved state of %s holds register values that the hardware cannot have; "
                            "the file is damaged, start the machine without it.", dev->id);
    int r = gh_pci_loaded(&v->pci, err);
    if (r)
        return r;
    /* Values beyond a register's bits cannot be told from a newer version's; the bits are cut. */
    for (unsigned i = 0; i < sizeof v->gfx; i++)
        v->gfx[i] &= i == 8 || i == 7 ? 0xff : 0x7f;
    v->gfx[0] &= 15, v->gfx[1] &= 15, v->gfx[2] &= 15, v->gfx[3] &= 31, v->gfx[4] &= 3, v->gfx[7] &= 15;
    v->seq[2] &= 15;
    vga_vbe_settle(v);
    vga_window_update(v);
    vga_dirty_all(v);
    v->palette_stale = v->redraw = v->cells_stale = true;
    vga_changed(v);
    return 0;
}

static const struct gh_option vga_options[] = {
    GH_OPT(GH_T_STRING, struct vga, addr, "addr", 0, 0, "", "PCI slot and function"),
    GH_OPT(GH_T_U32, struct vga, vram_mb, "vram_mb", 1, 256, "16", "Video memory in MiB"),
    GH_OPT(GH_T_U32, struct vga, xres, "xres", 64, 4095, "1280", "Preferred width told to the guest"),
    GH_OPT(GH_T_U32, struct vga, yres, "yres", 64, 4095, "800", "Preferred height told to the guest"),
    { 0 },
};

static const struct gh_field vga_fields[] = {
    GH_PCI_FIELDS(struct vga, pci, 1),
    GH_FIELD(GH_T_U8, struct vga, misc, 1),
    GH_FIELD(GH_T_U8, struct vga, feature, 1),
    GH_FIELD(GH_T_U8, struct vga, enable, 1),
    GH_FIELD(GH_T_U8, struct vga, seq_index, 1),
    GH_FIELD_ARRAY(GH_T_U8, struct vga, seq, 8, 1),
    GH_FIELD(GH_T_U8, struct vga, gfx_index, 1),
    GH_FIELD_ARRAY(GH_T_U8, struct vga, gfx, 16, 1),
    GH_FIELD(GH_T_U8, struct vga, crtc_index, 1),
    GH_FIELD_ARRAY(GH_T_U8, struct vga, crtc, 32, 1),
    GH_FIELD(GH_T_U8, struct vga, attr_index, 1),
    GH_FIELD_ARRAY(GH_T_U8, struct vga, attr, 32, 1),
    GH_FIELD(GH_T_BOOL, struct vga, attr_data, 1),
    GH_FIELD(GH_T_U8, struct vga, dac_mask, 1),
    GH_FIELD(GH_T_U8, struct vga, dac_state, 1),
    GH_FIELD(GH_T_U8, struct vga, dac_read, 1),
    GH_FIELD(GH_T_U8, struct vga, dac_write, 1),
    GH_FIELD(GH_T_U8, struct vga, dac_part, 1),
    GH_FIELD_ARRAY(GH_T_U8, struct vga, dac_latch, 3, 1),
    GH_FIELD_ARRAY(GH_T_U8, struct vga, dac, 768, 1),
    GH_FIELD_ARRAY(GH_T_U8, struct vga, latch, 4, 1),
    GH_FIELD(GH_T_U16, struct vga, vbe_index, 1),
    GH_FIELD_ARRAY(GH_T_U16, struct vga, vbe, VBE_REGISTERS, 1),
    { 0 },
};

const struct gh_device_class gh_class_vga = {
    .name = "vga", .summary = "Standard VGA with Bochs VBE", .state_size = sizeof(struct vga), .version = 1,
    .options = vga_options, .saved = vga_fields, .attach = vga_attach, .reset = vga_reset, .loaded = vga_loaded,
    .detach = vga_detach,
};
