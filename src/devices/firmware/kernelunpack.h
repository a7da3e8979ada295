/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Unpacks a 64-bit Linux bzImage on the host, which a guest on a software CPU takes a second for. Done is what the
 * kernel's own decompressor would have done: its ELF segments at a physical address, its relocations for a virtual
 * one, both at random unless told otherwise (KASLR), and entry in long mode with memory mapped one to one.
 *
 * Machine lock. The payload is borrowed until gh_kernel_image_free. It comes from a file and is not trusted: every
 * offset is checked, memory is bounded by init_size of its header (at most 512 MiB).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gh_kernel_packed {
    const uint8_t *payload;           /* compressed ELF, then its length (32 bits, little endian) */
    size_t payload_len;
    uint64_t pref_address;            /* of the setup header: where the kernel is linked to be */
    uint32_t init_size, alignment;    /* memory it needs from there on; a power of two */
    uint64_t ram_end;                 /* physical memory it may use ends here, below 4 GiB */
    bool randomize;
};

struct gh_kernel_image;

/* Below the kernel in the image lies the code that enters it; the image is loaded and entered (32-bit protected
 * mode, flat, ESI = boot parameters, as the boot protocol has it) at this distance. */
#define GH_KERNEL_ENTRY_BYTES 0x10000u

/* NULL: unknown format, no room, or something is not as expected; then the kernel can only unpack itself. */
struct gh_kernel_image *gh_kernel_unpack(const struct gh_kernel_packed *packed);
uint32_t gh_kernel_image_address(const struct gh_kernel_image *k);
size_t   gh_kernel_image_len(const struct gh_kernel_image *k);
/* The bytes, unpacked again after close. NULL: no memory. opaque is the image. */
const uint8_t *gh_kernel_image_open(void *opaque);
void gh_kernel_image_close(void *opaque);
void gh_kernel_image_free(void *opaque);
