/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Memory of the machine: guest RAM, VRAM, ROM copies. Anonymous, page aligned, huge pages asked
 * for where it is large. Pieces live as long as the machine.
 *
 * Lock: machine lock for add; translation of addresses is read-only after the board stands.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GH_RAM_BELOW_4G_MAX 0xc0000000ull

struct gh_ram_piece { char name[24]; uint8_t *host; uint64_t bytes; struct gh_ram_piece *next; };
struct gh_ram {
    struct gh_ram_piece *pieces;
    uint8_t *guest;               /* all guest RAM, contiguous in the host */
    uint64_t bytes, below_4g, above_4g;
};

int  gh_ram_init(struct gh_ram *ram, uint64_t bytes, struct gh_error *err);
void gh_ram_fini(struct gh_ram *ram);
/* Zeroed, rounded up to pages; NULL with a sentence. */
uint8_t *gh_ram_alloc(struct gh_ram *ram, uint64_t bytes, const char *name, struct gh_error *err);
/* Guest RAM only: host address of gpa and how many bytes follow contiguously; NULL: not RAM. */
uint8_t *gh_ram_host(const struct gh_ram *ram, uint64_t gpa, uint64_t *ret_left);
