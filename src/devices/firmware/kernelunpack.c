/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/firmware/kernelunpack.h"

#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <zlib.h>
#include <zstd.h>

#include "devices/device.h"
#include "devices/firmware/optrom/optrom.h"

#define UNPACKED_MAX   (512u << 20)
#define XZ_MEMORY_MAX  (256u << 20)
#define LZ4_BLOCK      (8u << 20)
#define SEGMENTS_MAX   32
#define KERNEL_MAP     0xffffffff80000000ull   /* virtual address of physical 0 as the kernel is linked */
#define VIRTUAL_BYTES  (1ull << 30)            /* room for a kernel that can be relocated */
#define PAGE_TABLES    0x1000u                 /* in the entry code's piece: PML4, PDPT, four directories */
#define MAPPED_GIB     4u

struct gh_kernel_image {
    struct gh_kernel_packed packed;
    uint64_t physical, virtual, entry;         /* virtual: as if at this physical address of the linked map */
    bool randomized;
    size_t flat_len, map_len;
    uint8_t *map;                              /* entry code, then the kernel; NULL: closed */
};

/* ---- Compression ------------------------------------------------------------------------------------- */
static bool from_xz(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    uint64_t limit = XZ_MEMORY_MAX;
    size_t in_at = 0, out_at = 0;
    return lzma_stream_buffer_decode(&limit, 0, NULL, in, &in_at, in_len, out, &out_at, out_len) == LZMA_OK && out_at == out_len;
}

static bool from_gzip(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    z_stream z = { .next_in = (uint8_t *)in, .avail_in = (uInt)in_len, .next_out = out, .avail_out = (uInt)out_len };
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return false;
    bool ok = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == out_len;
    inflateEnd(&z);
    return ok;
}

static bool from_zstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    size_t frame = ZSTD_findFrameCompressedSize(in, in_len);
    return !ZSTD_isError(frame) && ZSTD_decompress(out, out_len, in, frame) == out_len;
}

/* The frame without checksums that the kernel's build makes: blocks with their lengths before them. */
static bool from_lz4(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    size_t at = 4, made = 0;
    while (made < out_len) {
        if (in_len - at < 4)
            return false;
        size_t n = gh_le32_get(in + at), room = out_len - made;
        at += 4;
        if (n > in_len - at || n > LZ4_BLOCK * 2)
            return false;
        int r = LZ4_decompress_safe((const char *)in + at, (char *)out + made, (int)n, (int)(room < LZ4_BLOCK ? room : LZ4_BLOCK));
        if (r <= 0)
            return false;
        at += n;
        made += (size_t)r;
    }
    return true;
}

static bool decompress(const struct gh_kernel_packed *p, uint8_t *out, size_t out_len)
{
    static const struct { uint8_t magic[6], len; bool (*decode)(const uint8_t *, size_t, uint8_t *, size_t); } formats[] = {
        { { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, from_xz }, { { 0x1f, 0x8b }, 2, from_gzip },
        { { 0x28, 0xb5, 0x2f, 0xfd }, 4, from_zstd }, { { 0x02, 0x21, 0x4c, 0x18 }, 4, from_lz4 },
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!memcmp(p->payload, formats[i].magic, formats[i].len))
            return formats[i].decode(p->payload, p->payload_len - 4, out, out_len);
    return false;
}

/* ---- The ELF file, in place ---------------------------------------------------------------------------- */
/* Moves the segments to where they belong from out on; the rest up to their end becomes zeros. */
static bool place_segments(struct gh_kernel_image *k, uint8_t *out, size_t len, size_t *ret_elf_end)
{
    Elf64_Ehdr e;
    Elf64_Phdr ph[SEGMENTS_MAX];
    if (len < sizeof e)
        return false;
    memcpy(&e, out, sizeof e);
    if (memcmp(e.e_ident, ELFMAG, SELFMAG) || e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_ident[EI_DATA] != ELFDATA2LSB ||
        e.e_machine != EM_X86_64 || !e.e_phnum || e.e_phnum > SEGMENTS_MAX || e.e_phentsize != sizeof *ph ||
        e.e_phoff > len || (size_t)e.e_phnum * sizeof *ph > len - e.e_phoff || e.e_shentsize != sizeof(Elf64_Shdr) ||
        e.e_shoff > len || (size_t)e.e_shnum * sizeof(Elf64_Shdr) > len - e.e_shoff)
        return false;
    memcpy(ph, out + e.e_phoff, (size_t)e.e_phnum * sizeof *ph);
    uint64_t base = k->packed.pref_address, done = 0;
    *ret_elf_end = e.e_shoff + (size_t)e.e_shnum * sizeof(Elf64_Shdr);
    for (unsigned i = 0; i < e.e_phnum; i++) {
        if (ph[i].p_type != PT_LOAD)
            continue;
        if (ph[i].p_offset > len || ph[i].p_filesz > len - ph[i].p_offset || ph[i].p_memsz < ph[i].p_filesz || ph[i].p_paddr < base ||
            ph[i].p_paddr - base > k->packed.init_size || ph[i].p_memsz > k->packed.init_size - (ph[i].p_paddr - base))
            return false;
        uint64_t to = ph[i].p_paddr - base;
        if ((!done && to) || to < done || to > ph[i].p_offset) /* in order, and towards the start: nothing is overwritten */
            return false;
        if (ph[i].p_offset + ph[i].p_filesz > *ret_elf_end)
            *ret_elf_end = ph[i].p_offset + ph[i].p_filesz;
        memset(out + done, 0, to - done);
        memmove(out + to, out + ph[i].p_offset, ph[i].p_filesz);
        done = to + ph[i].p_filesz;
    }
    if (e.e_entry < base || e.e_entry - base >= done)
        return false;
    k->flat_len = done;
    k->entry = e.e_entry - base;
    return true;
}

/* Behind the ELF file: 32-bit words, the addresses of what depends on the kernel's place. 0, 64-bit places, 0, [places
 * that hold a difference, 0,] 32-bit places. Newer kernels have no differences. */
struct relocations { const uint8_t *from[3]; size_t count[3]; unsigned lists; };

static bool find_relocations(const uint8_t *at, size_t len, struct relocations *ret)
{
    *ret = (struct relocations){ 0 };
    if (len % 4 || len < 12 || gh_le32_get(at))
        return false;
    for (size_t i = 4, start = 4; i <= len; i += 4) {
        if (i < len && gh_le32_get(at + i))
            continue;
        if (ret->lists == 3)
            return false;
        ret->from[ret->lists] = at + start;
        ret->count[ret->lists++] = (i - start) / 4;
        start = i + 4;
    }
    return ret->lists >= 2;
}

/* Only looks where apply is false: all places are inside, and hold addresses where they should. */
static bool relocate(const struct gh_kernel_image *k, uint8_t *flat, const struct relocations *r, bool apply)
{
    uint64_t delta = k->virtual - k->packed.pref_address;
    for (unsigned list = 0; list < r->lists; list++) {
        bool wide = list == 0, inverse = r->lists == 3 && list == 1;
        for (size_t i = 0; i < r->count[list]; i++) {
            uint64_t at = (uint64_t)(int32_t)gh_le32_get(r->from[list] + i * 4) - KERNEL_MAP - k->packed.pref_address;
            if (at >= k->flat_len || k->flat_len - at < (wide ? 8 : 4))
                return false;
            uint8_t *p = flat + at;
            uint64_t v = wide ? gh_le64_get(p) : (uint64_t)(int32_t)gh_le32_get(p);
            if (!inverse && v >= VIRTUAL_BYTES && v - KERNEL_MAP >= VIRTUAL_BYTES) /* linked, or what is physical of it */
                return false;
            if (apply && wide)
                gh_le64_put(p, v + delta);
            else if (apply)
                gh_le32_put(p, (uint32_t)(inverse ? v - delta : v + delta));
        }
    }
    return true;
}

/* ---- Where to ---------------------------------------------------------------------------------------------- */
static uint64_t random_slot(uint64_t slots)
{
    uint64_t v = 0;
    return getrandom(&v, sizeof v, GRND_NONBLOCK) == sizeof v ? v % slots : 0;
}

static void choose_place(struct gh_kernel_image *k)
{
    const struct gh_kernel_packed *p = &k->packed;
    k->virtual = k->physical = p->pref_address;
    if (!k->randomized)
        return;
    uint64_t align = p->alignment;
    k->physical += random_slot((p->ram_end - p->pref_address - p->init_size) / align + 1) * align;
    k->virtual += random_slot((VIRTUAL_BYTES - p->pref_address - p->init_size) / align + 1) * align;
}

static bool has_room(const struct gh_kernel_packed *p)
{
    uint64_t end;
    return p->payload_len > 16 && p->pref_address >= (1u << 20) + GH_KERNEL_ENTRY_BYTES && p->pref_address < VIRTUAL_BYTES && p->init_size &&
           p->init_size <= UNPACKED_MAX && p->alignment >= 0x1000 && !(p->alignment & (p->alignment - 1)) &&
           !(p->pref_address & (p->alignment - 1)) && (end = p->pref_address + p->init_size) <= p->ram_end && end <= VIRTUAL_BYTES &&
           p->ram_end <= (uint64_t)MAPPED_GIB << 30;
}

/* ---- The image ----------------------------------------------------------------------------------------------- */
static void put_entry(const struct gh_kernel_image *k)
{
    uint32_t tables = gh_kernel_image_address(k) + PAGE_TABLES;
    memcpy(k->map, gh_optrom_kernelentry, gh_optrom_kernelentry_bytes);
    gh_le32_put(k->map + 8, tables);
    gh_le32_put(k->map + 12, (uint32_t)(k->physical + k->entry));
    gh_le32_put(k->map + 16, k->randomized ? 2 : 0);                     /* KASLR_FLAG of loadflags */
    uint8_t *t = k->map + PAGE_TABLES;
    gh_le64_put(t, (tables + 0x1000) | 3);
    for (unsigned i = 0; i < MAPPED_GIB; i++)
        gh_le64_put(t + 0x1000 + i * 8, (tables + 0x2000 + i * 0x1000) | 3);
    for (unsigned i = 0; i < MAPPED_GIB * 512; i++)
        gh_le64_put(t + 0x2000 + i * 8, ((uint64_t)i << 21) | 0x83);     /* present, writable, 2 MiB */
}
_Static_assert(PAGE_TABLES + (2 + MAPPED_GIB) * 0x1000 <= GH_KERNEL_ENTRY_BYTES - 0x1000, "and a page of stack");

static bool build(struct gh_kernel_image *k, bool first)
{
    const struct gh_kernel_packed *p = &k->packed;
    size_t len = gh_le32_get(p->payload + p->payload_len - 4), elf_end;
    struct relocations r = { 0 };
    if (len < 4096 || len > UNPACKED_MAX)
        return false;
    k->map_len = GH_KERNEL_ENTRY_BYTES + len;
    k->map = mmap(NULL, k->map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (k->map == MAP_FAILED) {
        k->map = NULL;
        return false;
    }
    madvise(k->map, k->map_len, MADV_HUGEPAGE);    /* every page is written, so that each fault counts; a wish only */
    uint8_t *flat = k->map + GH_KERNEL_ENTRY_BYTES;
    if (!decompress(p, flat, len) || !place_segments(k, flat, len, &elf_end) || k->flat_len > elf_end || elf_end > len)
        return false;
    if (elf_end < len && (!find_relocations(flat + elf_end, len - elf_end, &r) || !relocate(k, flat, &r, false)))
        return false;
    if (first) {
        k->randomized = p->randomize && r.lists;   /* without relocations the kernel was not built for it */
        choose_place(k);
    }
    if (k->virtual != p->pref_address)
        relocate(k, flat, &r, true);
    put_entry(k);
    return true;
}

struct gh_kernel_image *gh_kernel_unpack(const struct gh_kernel_packed *packed)
{
    if (!has_room(packed))
        return NULL;
    struct gh_kernel_image *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->packed = *packed;
    if (build(k, true))
        return k;
    gh_kernel_image_free(k);
    return NULL;
}

uint32_t gh_kernel_image_address(const struct gh_kernel_image *k) { return (uint32_t)k->physical - GH_KERNEL_ENTRY_BYTES; }

size_t gh_kernel_image_len(const struct gh_kernel_image *k) { return GH_KERNEL_ENTRY_BYTES + k->flat_len; }

const uint8_t *gh_kernel_image_open(void *opaque)
{
    struct gh_kernel_image *k = opaque;
    if (!k->map && !build(k, false))
        gh_kernel_image_close(k);
    return k->map;
}

void gh_kernel_image_close(void *opaque)
{
    struct gh_kernel_image *k = opaque;
    if (k->map)
        munmap(k->map, k->map_len);
    k->map = NULL;
}

void gh_kernel_image_free(void *opaque)
{
    if (opaque)
        gh_kernel_image_close(opaque);
    free(opaque);
}
