/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Option ROMs assembled by the build; whole 512-byte units, checksums right. Constant data. */
#pragma once
#include <stdint.h>

extern const uint8_t gh_optrom_linuxboot[];
extern const unsigned gh_optrom_linuxboot_bytes;
