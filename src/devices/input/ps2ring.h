/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A byte queue over an array of fixed capacity: the positions are saved, the array stays the owner's. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct gh_ps2_ring { uint32_t head, count; };

static inline bool gh_ps2_ring_push(struct gh_ps2_ring *r, uint8_t *data, uint32_t capacity, uint8_t byte)
{
    if (r->count >= capacity)
        return false;
    data[(r->head + r->count++) % capacity] = byte;
    return true;
}

static inline bool gh_ps2_ring_pop(struct gh_ps2_ring *r, const uint8_t *data, uint32_t capacity, uint8_t *ret)
{
    if (!r->count)
        return false;
    *ret = data[r->head];
    r->head = (r->head + 1) % capacity;
    r->count--;
    return true;
}

static inline bool gh_ps2_ring_possible(const struct gh_ps2_ring *r, uint32_t capacity)
{
    return r->head < capacity && r->count <= capacity;
}
