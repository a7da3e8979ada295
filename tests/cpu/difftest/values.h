/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Random numbers of a case, and operand values that find bugs. Any thread; state is the caller's. */
#pragma once
#include <stdint.h>
#include <string.h>

struct dt_rng { uint64_t s; };

static inline uint64_t dt_rand(struct dt_rng *r) /* splitmix64 */
{
    uint64_t z = (r->s += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
static inline unsigned dt_below(struct dt_rng *r, unsigned n) { return (unsigned)(dt_rand(r) >> 32) % n; }
static inline int dt_chance(struct dt_rng *r, unsigned percent) { return dt_below(r, 100) < percent; }

uint64_t dt_value_int(struct dt_rng *r);
uint64_t dt_value_double(struct dt_rng *r);
uint32_t dt_value_float(struct dt_rng *r);
void dt_value_x87(struct dt_rng *r, uint8_t ret[10]);
/* n bytes of one kind: integers of some width, floats, doubles, BCD, extended. */
void dt_fill(struct dt_rng *r, uint8_t *ret, unsigned n);
