/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the host bridge asks of whoever owns guest memory: shadow RAM between 0xc0000 and 0xfffff.
 * The machine provides it as service "memory-control"; a board without it keeps the registers only.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Segments 0..11 are 16 KiB each from 0xc0000; segment 12 is 0xf0000..0xfffff. */
#define GH_PAM_SEGMENTS 13u
static inline uint32_t gh_pam_base(unsigned segment) { return 0xc0000u + segment * 0x4000u; }
static inline uint32_t gh_pam_size(unsigned segment) { return segment == 12 ? 0x10000u : 0x4000u; }

struct gh_memory_control {
    /* With the machine lock; takes effect like gh_range_set. Where reads or writes do not go to RAM
     * they go to the ROM or bus below. */
    void (*pam)(void *opaque, unsigned segment, bool read_ram, bool write_ram);
    /* The SMRAM register was written; NULL: system management RAM is not modelled. */
    void (*smram)(void *opaque, uint8_t value);
    void *opaque;
};
