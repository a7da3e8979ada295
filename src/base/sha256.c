/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/sha256.h"

#include <immintrin.h>
#include <string.h>

#include "base/bytes.h"

enum { BLOCK = 64 };

static const uint32_t k[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t turn(uint32_t v, unsigned n) { return v >> n | v << (32 - n); }

static void blocks_plain(uint32_t state[8], const uint8_t *p, size_t n)
{
    for (; n; n--, p += BLOCK) {
        uint32_t w[64], v[8];
        for (unsigned i = 0; i < 16; i++)
            w[i] = gh_be32_get(p + i * 4);
        for (unsigned i = 16; i < 64; i++) {
            uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + w[i - 7] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
        }
        memcpy(v, state, sizeof v);
        for (unsigned i = 0; i < 64; i++) {
            uint32_t e = v[4], a = v[0];
            uint32_t one = v[7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + k[i] + w[i];
            uint32_t two = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
            memmove(v + 1, v, 7 * sizeof *v);
            v[4] += one;
            v[0] = one + two;
        }
        for (unsigned i = 0; i < 8; i++)
            state[i] += v[i];
    }
}

/* Two registers hold the state in the order ABEF and CDGH; each instruction does two of the 64 rounds. */
__attribute__((target("sha,sse4.1"))) static void blocks_fast(uint32_t state[8], const uint8_t *p, size_t n)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i t = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
    __m128i s1 = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
    __m128i s0 = _mm_alignr_epi8(t, s1, 8);
    s1 = _mm_blend_epi16(s1, t, 0xf0);
    for (; n; n--, p += BLOCK) {
        __m128i was0 = s0, was1 = s1, w[4];
        for (unsigned i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + i * 16)), swap);
#pragma GCC unroll 16
        for (unsigned i = 0; i < 16; i++) {
            __m128i now = w[i & 3], sum = _mm_add_epi32(now, _mm_load_si128((const __m128i *)(k + i * 4)));
            s1 = _mm_sha256rnds2_epu32(s1, s0, sum);
            s0 = _mm_sha256rnds2_epu32(s0, s1, _mm_shuffle_epi32(sum, 0x0e));
            if (i < 12) { /* the words four groups on, in the place of these */
                __m128i next = _mm_sha256msg1_epu32(now, w[(i + 1) & 3]);
                next = _mm_add_epi32(next, _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
                w[i & 3] = _mm_sha256msg2_epu32(next, w[(i + 3) & 3]);
            }
        }
        s0 = _mm_add_epi32(s0, was0);
        s1 = _mm_add_epi32(s1, was1);
    }
    t = _mm_shuffle_epi32(s0, 0x1b);
    s1 = _mm_shuffle_epi32(s1, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(t, s1, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(s1, t, 8));
}

static void blocks(uint32_t state[8], const uint8_t *p, size_t n)
{
    static _Atomic int fast;                   /* 0: not asked yet, 1: no, 2: yes */
    if (!fast) {
        unsigned a, b = 0, c = 0, d;
        __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
        bool sha = false;
        if (a >= 7) {
            __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
            sha = b >> 29 & 1;
        }
        fast = sha && __builtin_cpu_supports("sse4.1") ? 2 : 1;
    }
    if (fast == 2)
        blocks_fast(state, p, n);
    else
        blocks_plain(state, p, n);
}

void gh_sha256_begin(struct gh_sha256 *s)
{
    *s = (struct gh_sha256){ { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 }, 0, { 0 } };
}

void gh_sha256_add(struct gh_sha256 *s, const void *data, size_t len)
{
    const uint8_t *p = data;
    size_t have = s->bytes % BLOCK;

    s->bytes += len;
    if (have) {
        size_t n = len < BLOCK - have ? len : BLOCK - have;
        memcpy(s->rest + have, p, n);
        if (have + n < BLOCK)
            return;
        blocks(s->state, s->rest, 1);
        p += n;
        len -= n;
    }
    blocks(s->state, p, len / BLOCK);
    memcpy(s->rest, p + len / BLOCK * BLOCK, len % BLOCK);
}

void gh_sha256_end(struct gh_sha256 *s, uint8_t digest[GH_SHA256_BYTES])
{
    uint8_t tail[2 * BLOCK] = { 0 };
    size_t have = s->bytes % BLOCK, room = have < BLOCK - 8 ? BLOCK : 2 * BLOCK;

    memcpy(tail, s->rest, have);
    tail[have] = 0x80;
    gh_be64_put(tail + room - 8, s->bytes * 8);
    blocks(s->state, tail, room / BLOCK);
    for (unsigned i = 0; i < 8; i++)
        gh_be32_put(digest + i * 4, s->state[i]);
}

void gh_sha256_text(const uint8_t digest[GH_SHA256_BYTES], char ret[GH_SHA256_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < GH_SHA256_BYTES; i++) {
        ret[i * 2] = digits[digest[i] >> 4];
        ret[i * 2 + 1] = digits[digest[i] & 15];
    }
    ret[2 * GH_SHA256_BYTES] = 0;
}
