/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Guest code assembled by the build. Option ROMs: whole 512-byte units, checksums right. Constant data. */
#pragma once
#include <stdint.h>

extern const uint8_t gh_optrom_linuxboot[];
extern const unsigned gh_optrom_linuxboot_bytes;

/* Not a ROM: what enters an unpacked kernel. */
extern const uint8_t gh_optrom_kernelentry[];
extern const unsigned gh_optrom_kernelentry_bytes;
