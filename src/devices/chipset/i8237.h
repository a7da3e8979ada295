/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ISA DMA, service "isa-dma" (struct gh_isa_dma *). Machine lock. The device side drives: when its data
 * is there it calls gh_isa_dma_transfer, which moves bytes between the buffer and guest RAM as the
 * guest programmed the channel. Only RAM is reached; the 16 MiB below 1000000h.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gh_isa_dma;

/* The device's DRQ line; shows in the status register. */
void gh_isa_dma_request(struct gh_isa_dma *dma, unsigned channel, bool level);
/* Is the channel unmasked, its controller on, and its direction the given one? to_memory: the device gives. */
bool gh_isa_dma_ready(const struct gh_isa_dma *dma, unsigned channel, bool to_memory);
/*
 * Moves at most bytes; returns how many were moved (0: masked, or the other direction). Verify
 * transfers move nothing and count. *ret_tc: the channel reached terminal count.
 * Where memory is not RAM, reads give FFh and writes vanish.
 */
size_t gh_isa_dma_transfer(struct gh_isa_dma *dma, unsigned channel, bool to_memory, uint8_t *data, size_t bytes,
                           bool *ret_tc);
