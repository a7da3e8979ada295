/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names of the guest kernel's code, from the file that GH_SYSTEM_MAP names: lines "address type name" as in System.map. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/accel/soft/jit/gen.h"

#define MOST_SYMBOLS 1000000u

struct symbol { uint64_t address; char *name; };
static struct symbol *symbols;
static size_t count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int by_address(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;
    return x->address < y->address ? -1 : x->address > y->address;
}

static void load(void)
{
    const char *path = getenv("GH_SYSTEM_MAP");
    FILE *f = path ? fopen(path, "re") : NULL;
    char line[512], name[256], type;
    size_t room = 0;
    uint64_t address;

    if (path && !f)
        gh_log(GH_LOG_WARN, "GH_SYSTEM_MAP: “%s” cannot be opened; blocks are named by their addresses", path);
    while (f && count < MOST_SYMBOLS && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%" SCNx64 " %c %255s", &address, &type, name) != 3 || !strchr("tTwW", type))
            continue;
        if (count == room) {
            struct symbol *more = reallocarray(symbols, room = room ? room * 2 : 4096, sizeof *symbols);
            if (!more)
                break;
            symbols = more;
        }
        if (!(symbols[count].name = strdup(name)))
            break;
        symbols[count++].address = address;
    }
    if (f)
        fclose(f);
    if (count)
        qsort(symbols, count, sizeof *symbols, by_address);
}

const char *jit_symbol(uint64_t linear, uint64_t *ret_offset)
{
    pthread_once(&once, load);
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (symbols[middle].address <= linear)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low || linear - symbols[low - 1].address >= 1u << 20)
        return NULL;
    *ret_offset = linear - symbols[low - 1].address;
    return symbols[low - 1].name;
}
