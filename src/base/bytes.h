/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unaligned loads and stores with a stated byte order, and checked 64-bit arithmetic. Pure. */
#pragma once
#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define GH_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define GH_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

#define GH_BYTES_(name, type, to_host, from_host)                                                  \
    static inline type gh_##name##_get(const void *p)                                              \
    { type v; memcpy(&v, p, sizeof v); return to_host(v); }                                        \
    static inline void gh_##name##_put(void *p, type v)                                            \
    { v = from_host(v); memcpy(p, &v, sizeof v); }
GH_BYTES_(le16, uint16_t, le16toh, htole16)
GH_BYTES_(le32, uint32_t, le32toh, htole32)
GH_BYTES_(le64, uint64_t, le64toh, htole64)
GH_BYTES_(be16, uint16_t, be16toh, htobe16)
GH_BYTES_(be32, uint32_t, be32toh, htobe32)
GH_BYTES_(be64, uint64_t, be64toh, htobe64)
#undef GH_BYTES_

/* All ones in the low n bytes (n = 1..8). */
static inline uint64_t gh_width_mask(unsigned n) { return n >= 8 ? ~0ull : (1ull << (n * 8)) - 1; }
static inline bool gh_add_u64(uint64_t a, uint64_t b, uint64_t *ret) { return !__builtin_add_overflow(a, b, ret); }
static inline bool gh_mul_u64(uint64_t a, uint64_t b, uint64_t *ret) { return !__builtin_mul_overflow(a, b, ret); }
/* True when [off, off+len) lies inside [0, size). */
static inline bool gh_range_in(uint64_t off, uint64_t len, uint64_t size)
{ return off <= size && len <= size - off; }
