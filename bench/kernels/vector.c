/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Floating point, vectors and string instructions. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <emmintrin.h>

#include "kernels.h"

void k_double(unsigned long count)
{
    double x = 1.000001, y = 0.5, z = 0.25;

    for (unsigned long i = 0; i < count; i++) {
        y = y * x + 0.125;
        z = (z + y) * 0.5 - x;
        y = y - z * 0.5;
        __asm__ volatile("" : "+x"(y), "+x"(z));
    }
    sink = (unsigned long)(int64_t)(y + z);
}

void k_float(unsigned long count)
{
    enum { N = 4096 };
    static float a[N] __attribute__((aligned(64))), b[N] __attribute__((aligned(64)));

    if (a[1] == 0)
        for (unsigned i = 0; i < N; i++) {
            a[i] = (float)i * 0.5f;
            b[i] = 1.0f / (float)(i + 1);
        }
    const __m128 half = _mm_set1_ps(0.5f), tenth = _mm_set1_ps(0.1f);
    while (count--) {
        for (unsigned i = 0; i < N; i += 4) {
            __m128 x = _mm_load_ps(a + i), y = _mm_load_ps(b + i);
            x = _mm_add_ps(_mm_mul_ps(x, half), _mm_mul_ps(y, tenth));
            _mm_store_ps(a + i, x);
        }
        __asm__ volatile("" ::: "memory");
    }
    sink = (unsigned long)a[7];
}

void k_x87(unsigned long count)
{
    long double x = 1.5L;

    while (count--) {
        x = x * 0.75L + 0.5L;
        __asm__ volatile("" : "+t"(x));
    }
    sink = (unsigned long)x;
}

static uint8_t from[1 << 20] __attribute__((aligned(4096))), to[1 << 20] __attribute__((aligned(4096)));

void k_movsb(unsigned long count)
{
    while (count--) {
        void *d = to;
        const void *s = from;
        size_t n = 4096;
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) :: "memory");
    }
}

void k_stosq(unsigned long count)
{
    while (count--) {
        void *d = to;
        size_t n = 512;
        __asm__ volatile("rep stosq" : "+D"(d), "+c"(n) : "a"(0l) : "memory");
    }
}

/* 1 MiB by 16-byte moves: what a C library does without REP. */
void k_memcpy(unsigned long count)
{
    while (count--) {
        for (size_t i = 0; i < sizeof from; i += 64) {
            __m128i a = _mm_load_si128((const __m128i *)(from + i)), b = _mm_load_si128((const __m128i *)(from + i + 16)),
                    c = _mm_load_si128((const __m128i *)(from + i + 32)), d = _mm_load_si128((const __m128i *)(from + i + 48));
            _mm_store_si128((__m128i *)(to + i), a);
            _mm_store_si128((__m128i *)(to + i + 16), b);
            _mm_store_si128((__m128i *)(to + i + 32), c);
            _mm_store_si128((__m128i *)(to + i + 48), d);
        }
        __asm__ volatile("" ::: "memory");
    }
}
