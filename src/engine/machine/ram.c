/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/ram.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

uint8_t *gh_ram_alloc(struct gh_ram *ram, uint64_t bytes, const char *name, struct gh_error *err)
{
    const uint64_t huge = 2u << 20;
    uint64_t size = (bytes + 0xfff) & ~0xfffull, want = size >= huge ? size + huge : size;
    struct gh_ram_piece *piece = calloc(1, sizeof *piece);
    uint8_t *host = piece ? mmap(NULL, want, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : MAP_FAILED;

    if (host == MAP_FAILED) {
        int code = piece ? -errno : -ENOMEM;
        free(piece);
        gh_error_set(err, code, "NoMemory", "The host has no %llu MiB left for “%s”; close other programs or give the "
                     "machine less memory.", (unsigned long long)(bytes >> 20), name);
        return NULL;
    }
    if (want != size) { /* align to a huge page and give the margins back */
        uint8_t *aligned = (uint8_t *)(((uintptr_t)host + huge - 1) & ~(uintptr_t)(huge - 1));
        if (aligned != host)
            munmap(host, (size_t)(aligned - host));
        if (aligned + size != host + want)
            munmap(aligned + size, (size_t)(host + want - aligned - size));
        host = aligned;
        madvise(host, size, MADV_HUGEPAGE);
    }
    madvise(host, size, MADV_DONTDUMP);
    snprintf(piece->name, sizeof piece->name, "%s", name);
    piece->host = host;
    piece->bytes = size;
    piece->next = ram->pieces;
    ram->pieces = piece;
    return host;
}

int gh_ram_init(struct gh_ram *ram, uint64_t bytes, struct gh_error *err)
{
    *ram = (struct gh_ram){ .bytes = bytes };
    ram->below_4g = bytes < GH_RAM_BELOW_4G_MAX ? bytes : GH_RAM_BELOW_4G_MAX;
    ram->above_4g = bytes - ram->below_4g;
    ram->guest = gh_ram_alloc(ram, bytes, "guest RAM", err);
    return ram->guest ? 0 : -ENOMEM;
}

void gh_ram_fini(struct gh_ram *ram)
{
    while (ram->pieces) {
        struct gh_ram_piece *piece = ram->pieces;
        ram->pieces = piece->next;
        munmap(piece->host, piece->bytes);
        free(piece);
    }
    ram->guest = NULL;
}

uint8_t *gh_ram_host(const struct gh_ram *ram, uint64_t gpa, uint64_t *ret_left)
{
    const uint64_t high = 1ull << 32;

    if (gpa < ram->below_4g) {
        *ret_left = ram->below_4g - gpa;
        return ram->guest + gpa;
    }
    if (gpa >= high && gpa - high < ram->above_4g) {
        *ret_left = ram->above_4g - (gpa - high);
        return ram->guest + ram->below_4g + (gpa - high);
    }
    return NULL;
}
