/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Operand values: corners of integers and of the floating point formats, mixed with random ones. */
#include "values.h"

uint64_t dt_value_int(struct dt_rng *r)
{
    static const uint64_t corners[] = {
        0, 1, 2, ~0ull, ~1ull, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff,
        0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0x5555555555555555,
        0xaaaaaaaaaaaaaaaa, 0x99, 0x9a, 0x0f, 31, 32, 33, 63, 64, 65,
    };
    switch (dt_below(r, 8)) {
    case 0: case 1: case 2: return corners[dt_below(r, sizeof corners / sizeof *corners)];
    case 3: return 1ull << dt_below(r, 64);
    case 4: return (uint64_t)(int64_t)(int8_t)dt_rand(r);
    case 5: return dt_rand(r) >> dt_below(r, 64);
    default: return dt_rand(r);
    }
}

uint64_t dt_value_double(struct dt_rng *r)
{
    static const uint64_t corners[] = {
        0, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
        0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000000, 0x7ff0000000000001,
        0xfff4000000000000, 1, 0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000,
        0x7fefffffffffffff, 0x400921fb54442d18, 0x3fe0000000000000, 0x3ff8000000000000,
        0x4004000000000000, 0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000000000,
        0x43e0000000000000, 0xc3e0000000000000, 0x41f0000000000000, 0x36a0000000000000,
        0x380fffffe0000000, 0x47efffffe0000000, 0x47f0000000000000,
    };
    switch (dt_below(r, 8)) {
    case 0: case 1: case 2: return corners[dt_below(r, sizeof corners / sizeof *corners)];
    case 3: return dt_rand(r);
    case 4: return (dt_rand(r) & 0x800fffffffffffffull); /* denormal */
    case 5: return (dt_rand(r) & 0x800fffff00000000ull) | (uint64_t)(0x3f0 + dt_below(r, 0x60)) << 52;
    default: return (dt_rand(r) & 0x800fffffffffffffull) | (uint64_t)(0x3f0 + dt_below(r, 0x60)) << 52;
    }
}

uint32_t dt_value_float(struct dt_rng *r)
{
    static const uint32_t corners[] = {
        0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000,
        0x7f800001, 0xffa00000, 1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0x40490fdb,
        0x3f000000, 0x3fc00000, 0x40200000, 0x4effffff, 0x4f000000, 0xcf000000, 0x5f000000, 0xdf000000,
    };
    switch (dt_below(r, 8)) {
    case 0: case 1: case 2: return corners[dt_below(r, sizeof corners / sizeof *corners)];
    case 3: return (uint32_t)dt_rand(r);
    case 4: return (uint32_t)dt_rand(r) & 0x807fffff;
    default: return ((uint32_t)dt_rand(r) & 0x807fffff) | (0x70 + dt_below(r, 0x30)) << 23;
    }
}

void dt_value_x87(struct dt_rng *r, uint8_t ret[10])
{
    uint64_t m = dt_rand(r);
    uint16_t e = (uint16_t)dt_rand(r);
    switch (dt_below(r, 12)) {
    case 0: m = 0, e &= 0x8000; break;                                  /* zero */
    case 1: m = 1ull << 63, e |= 0x7fff; break;                         /* infinity */
    case 2: m |= 3ull << 62, e |= 0x7fff; break;                        /* quiet NaN */
    case 3: m = (m | 1ull << 63) & ~(1ull << 62), e |= 0x7fff; break;   /* signalling NaN */
    case 4: m &= ~(1ull << 63), e &= 0x8000; break;                     /* denormal */
    case 5: m |= 1ull << 63, e &= 0x8000; break;                        /* pseudo-denormal */
    case 6: m &= ~(1ull << 63); break;                                  /* unnormal, pseudo-NaN */
    case 7: m = 1ull << 63, e = (uint16_t)(0x3fff + (e & 0x8000)); break; /* one */
    case 8: m |= 1ull << 63; break;
    case 9: m = (m | 1ull << 63) & ~0xffffffffffull; /* fall through */
    default:
        m |= 1ull << 63;
        e = (uint16_t)((e & 0x8000) | (0x3fff - 20 + dt_below(r, 90)));
        break;
    }
    memcpy(ret, &m, 8);
    memcpy(ret + 8, &e, 2);
}

void dt_fill(struct dt_rng *r, uint8_t *ret, unsigned n)
{
    unsigned kind = dt_below(r, 8);
    for (unsigned i = 0; i < n;) {
        uint64_t v;
        uint8_t ext[10];
        unsigned bytes = 8;
        switch (kind) {
        case 0: case 1: v = dt_value_double(r); break;
        case 2: case 3: v = dt_value_float(r), bytes = 4; break;
        case 4: v = dt_value_int(r); break;
        case 5: v = dt_value_int(r), bytes = 2; break;
        case 6:
            dt_value_x87(r, ext);
            memcpy(&v, ext, 8);
            if (i + 10 <= n)
                memcpy(ret + i + 8, ext + 8, 2);
            if (n - i >= 8)
                memcpy(ret + i, &v, 8);
            i += 10;
            continue;
        default: v = dt_rand(r); break;
        }
        if (bytes > n - i)
            bytes = n - i;
        memcpy(ret + i, &v, bytes);
        i += bytes;
    }
}
