/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Integer kernels: arithmetic, memory, calls, branches. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

volatile unsigned long sink;

/* A dozen dependent instructions: sums, shifts, a product, a branch that looks at their result. */
void k_alu(unsigned long count)
{
    uint64_t a = 1, b = 0x9e3779b97f4a7c15u, c = 7;

    for (unsigned long i = 0; i < count; i++) {
        c = c * 3 + b;
        b ^= c >> 5;
        if (b & 16)
            a += c;
        else
            c -= i;
        a ^= b + 9;
    }
    sink = a + b + c;
}

/* Primes below 2^20, one byte each. */
void k_sieve(unsigned long count)
{
    enum { N = 1 << 20 };
    static uint8_t composite[N];

    while (count--) {
        unsigned primes = 0;
        memset(composite, 0, N);
        for (unsigned i = 2; i < N; i++) {
            if (composite[i])
                continue;
            primes++;
            for (unsigned j = i * 2; j < N; j += i)
                composite[j] = 1;
        }
        sink = primes;
    }
}

/* Dependent loads in a random cycle through 2 MiB. */
void k_chase(unsigned long count)
{
    enum { N = 1 << 19 };
    static uint32_t next[N];
    uint32_t seed = 12345, at = 0;

    if (!next[0]) {
        for (uint32_t i = 0; i < N; i++)
            next[i] = i;
        for (uint32_t i = N - 1; i > 0; i--) {      /* one cycle through all (Sattolo) */
            seed = seed * 1664525 + 1013904223;
            uint32_t j = (uint32_t)((uint64_t)seed * i >> 32), t = next[i];
            next[i] = next[j];
            next[j] = t;
        }
    }
    while (count--)
        at = next[at];
    sink = at;
}

static uint32_t ror(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

/* One SHA-256 compression per iteration; FIPS 180-4. The constants are made as the standard defines them. */
static uint32_t sha_k[64];
static uint32_t frac_root(unsigned p)       /* first 32 bits of the fraction of the cube root, by bisection */
{
    __uint128_t lo = 0, hi = (__uint128_t)8 << 32;

    while (hi - lo > 1) {
        __uint128_t mid = (lo + hi) / 2;
        if (mid * mid * mid <= (__uint128_t)p << 96)
            lo = mid;
        else
            hi = mid;
    }
    return (uint32_t)lo;
}

static void sha_block(uint32_t h[8], const uint32_t in[16])
{
    uint32_t w[64], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], last = h[7];

    memcpy(w, in, 64);
    for (unsigned i = 16; i < 64; i++)
        w[i] = w[i - 16] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t t1 = last + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) + sha_k[i] + w[i];
        uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        last = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    const uint32_t out[8] = { a, b, c, d, e, f, g, last };
    for (unsigned i = 0; i < 8; i++)
        h[i] += out[i];
}

void k_sha256(unsigned long count)
{
    uint32_t h[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, block[16] = { 0 };

    for (unsigned n = 0, p = 2; n < 64 && !sha_k[63]; p++) {
        unsigned d = 2;
        while (p % d)
            d++;
        if (d == p)
            sha_k[n++] = frac_root(p);
    }
    while (count--) {
        block[count & 15] = h[0];
        sha_block(h, block);
    }
    sink = h[0];
}

static int by_value(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

void k_qsort(unsigned long count)
{
    enum { N = 4096 };
    static int v[N];
    unsigned seed = 1;

    while (count--) {
        for (unsigned i = 0; i < N; i++) {
            seed = seed * 1103515245 + 12345;
            v[i] = (int)(seed >> 4);
        }
        qsort(v, N, sizeof *v, by_value);
        sink = (unsigned long)v[N / 2];
    }
}

static __attribute__((noinline, optimize("no-optimize-sibling-calls", "no-inline"))) unsigned fib(unsigned n)
{
    if (n < 2)
        return n;
    unsigned a = fib(n - 1);
    __asm__ volatile("" : "+r"(a));
    return a + fib(n - 2);
}

void k_fib(unsigned long count)
{
    while (count--)
        sink = fib(20);
}

#define TARGET(n) static __attribute__((noinline)) unsigned long t##n(unsigned long x) { return x * 3 + (n); }
TARGET(0) TARGET(1) TARGET(2) TARGET(3) TARGET(4) TARGET(5) TARGET(6) TARGET(7)
void k_icall(unsigned long count)
{
    static unsigned long (*const table[8])(unsigned long) = { t0, t1, t2, t3, t4, t5, t6, t7 };
    unsigned long x = 1;

    for (unsigned long i = 0; i < count; i++)
        x = table[(i ^ i >> 3) & 7](x);
    sink = x;
}

/* Lookups in a table with chains, as compilers and kernels do all the time. */
void k_hash(unsigned long count)
{
    enum { BUCKETS = 1024, NODES = 4096 };
    static struct node { struct node *next; uint32_t key, hits; } node[NODES], *bucket[BUCKETS];

    if (!node[0].key)
        for (uint32_t i = 0; i < NODES; i++) {
            node[i].key = i * 2654435761u | 1;
            struct node **head = &bucket[node[i].key >> 22];
            node[i].next = *head;
            *head = &node[i];
        }
    for (unsigned long i = 0; i < count; i++) {   /* in the order of insertion: guessing wrong costs all processors the same */
        uint32_t key = (uint32_t)(i % NODES) * 2654435761u | 1;
        for (struct node *n = bucket[key >> 22]; n; n = n->next)
            if (n->key == key) {
                n->hits++;
                break;
            }
    }
    sink = node[5].hits;
}

/* Words, numbers and the rest of 64 KiB of text. */
void k_token(unsigned long count)
{
    enum { N = 65536 };
    static char text[N + 1];
    unsigned seed = 7;

    if (!text[0])
        for (unsigned i = 0; i < N; i++) {
            seed = seed * 1103515245 + 12345;
            text[i] = "etaoin shrdlu 0123 etaoin(){};=+ abcdefgh\nijklm "[(seed >> 16) % 48];
        }
    while (count--) {
        unsigned words = 0, numbers = 0, other = 0, hash = 0;
        for (const char *p = text; *p;) {
            if (*p >= 'a' && *p <= 'z') {
                while (*p >= 'a' && *p <= 'z')
                    hash = hash * 31 + (unsigned)*p++;
                words++;
            } else if (*p >= '0' && *p <= '9') {
                unsigned v = 0;
                while (*p >= '0' && *p <= '9')
                    v = v * 10 + (unsigned)(*p++ - '0');
                numbers += v;
            } else {
                switch (*p++) {
                case ' ': case '\n': break;
                case '(': other += 1; break;
                case ')': other += 2; break;
                case '{': other += 3; break;
                case '}': other += 5; break;
                case ';': other += 7; break;
                default: other += 11; break;
                }
            }
        }
        sink = words + numbers + other + hash;
    }
}

/* The C library's string functions on 300 bytes: vector compares and masks. */
void k_strings(unsigned long count)
{
    static char a[320], b[320];
    size_t n = 0;

    memset(a, 'x', 300);
    memset(b, 'x', 300);
    a[299] = 'y';
    b[299] = 'z';
    while (count--) {
        const char *volatile p = a, *volatile q = b;
        n += strlen(p) + (size_t)(strchr(p, 'y') - p) + (size_t)(strcmp(p, q) < 0);
    }
    sink = n;
}
