/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Without libFuzzer: runs a target over changed copies of the files named on the command line, some seconds long.
 *     fuzz-image-qcow2 SECONDS FILE...
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t state = 88172645463325252ull;
static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static uint8_t *load(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(8 << 20);

    *size = f && data ? fread(data, 1, 8 << 20, f) : 0;
    if (f)
        fclose(f);
    return data;
}

/* Most formats keep what matters in front: half of the changes go there. */
static size_t change(uint8_t *data, size_t size, size_t room)
{
    static const uint64_t odd[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX, 1ull << 62, 1ull << 40 };
    unsigned n = 1 + (unsigned)(next() % 6);

    while (n-- && size) {
        size_t at = next() % 2 ? next() % size : next() % (size < 1024 ? size : 1024), width = 1u << next() % 4;
        switch (next() % 8) {
        case 0: data[at] ^= (uint8_t)(1u << next() % 8); break;
        case 1: data[at] = (uint8_t)next(); break;
        case 2: case 3: {
            uint64_t v = odd[next() % (sizeof odd / sizeof *odd)];
            if (next() % 2)
                v = __builtin_bswap64(v) >> (64 - width * 8);
            memcpy(data + at, &v, at + width <= size ? width : size - at);
            break;
        }
        case 4: size = at; break;
        case 5: { /* a piece again elsewhere */
            size_t from = next() % size, len = next() % 64 + 1;
            if (from + len <= size && at + len <= size)
                memmove(data + at, data + from, len);
            break;
        }
        case 6: { /* a piece out */
            size_t len = next() % 32 + 1;
            if (at + len < size) {
                memmove(data + at, data + at + len, size - at - len);
                size -= len;
            }
            break;
        }
        default: { /* a piece twice */
            size_t len = next() % 256 + 1;
            if (at + len <= size && size + len <= room) {
                memmove(data + at + len, data + at, size - at);
                size += len;
            }
        }
        }
    }
    return size;
}

int main(int argc, char **argv)
{
    time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 1);
    uint8_t *copy = malloc(9 << 20);
    unsigned long runs = 0;

    if (argc < 3 || !copy)
        return 2;
    do
        for (int i = 2; i < argc; i++) {
            size_t size;
            uint8_t *data = load(argv[i], &size);
            for (unsigned k = 0; k < 40 && data && size; k++, runs++) {
                memcpy(copy, data, size);
                LLVMFuzzerTestOneInput(copy, k || runs ? change(copy, size, 9 << 20) : size);
            }
            free(data);
        }
    while (time(NULL) < end);
    free(copy);
    printf("%lu inputs\n", runs);
    return runs ? 0 : 1;
}
