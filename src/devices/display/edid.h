/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A monitor's description after VESA E-EDID 1.4, 128 bytes, with one preferred mode. Pure. */
#pragma once
#include <stdint.h>

enum { GH_EDID_BYTES = 128, GH_EDID_MAX_SIZE = 4095 };

/* width and height are clamped to 64..GH_EDID_MAX_SIZE; name is cut after 13 characters. */
void gh_edid_build(uint8_t ret[GH_EDID_BYTES], uint32_t width, uint32_t height, const char *name);
