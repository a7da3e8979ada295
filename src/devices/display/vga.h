/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Standard VGA with the Bochs VBE extension (class "vga", PCI 1234:1111).
 *
 * Modelled: all IBM VGA registers that change the picture, the legacy window with its write and
 * read modes, text with fonts from plane 2, planar, CGA and 256-colour modes, VBE dispi up to id
 * B0C5 (I/O ports and BAR 2), a linear frame buffer in BAR 0, EDID, retrace bits from the clock.
 * Left out: light pen, vertical retrace interrupt, byte-exact dot timing, interlace.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct gh_device;

/* Bytes of the VGA BIOS (vgabios-stdvga.bin), shown in the ROM BAR. To be called before attach;
 * the bytes are copied by attach and need to live until then only. NULL: no ROM BAR. */
void gh_vga_set_rom(struct gh_device *dev, const uint8_t *bytes, size_t size);
