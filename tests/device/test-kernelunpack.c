/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A kernel that the host unpacks: segments, relocations, the ways to pack it, and what is left to the kernel itself. */
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "check.h"
#include "devices/device.h"
#include "devices/firmware/kernelunpack.h"

#define MAP 0xffffffff80000000ull
enum { PREF = 0x1000000, INIT = 0x800000, ALIGN = 0x200000, TEXT_AT = 0x1000, DATA_AT = 0x6000, SHOFF = 0x8000, ELF_LEN = SHOFF + 64,
       DATA_TO = 0x4000, DATA_LEN = 0x1800, TEXT_LEN = 0x3000,
       WIDE = 0x100, NARROW = 0x208, PHYSICAL = 0x20c, DIFFERENCE = DATA_TO + 0x10 };

static uint8_t elf[ELF_LEN + 64];
static size_t elf_len;

/* Two segments with a hole between them; behind the file what depends on where it will be. */
static void make(bool differences)
{
    Elf64_Ehdr *e = (void *)elf;
    Elf64_Phdr *p = (void *)(elf + 64);
    memset(elf, 0xee, sizeof elf);
    *e = (Elf64_Ehdr){ .e_ident = "\177ELF\2\1\1", .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_entry = PREF + 0x40, .e_phoff = 64,
                       .e_shoff = SHOFF, .e_phentsize = 56, .e_phnum = 2, .e_shentsize = 64, .e_shnum = 1 };
    p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = TEXT_AT, .p_paddr = PREF, .p_filesz = TEXT_LEN, .p_memsz = TEXT_LEN };
    p[1] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = DATA_AT, .p_paddr = PREF + DATA_TO, .p_filesz = DATA_LEN, .p_memsz = 0x100000 };
    memset(elf + TEXT_AT, 0x11, TEXT_LEN);
    memset(elf + DATA_AT, 0x22, DATA_LEN);
    gh_le64_put(elf + TEXT_AT + WIDE, MAP + PREF + 0x1234);
    gh_le32_put(elf + TEXT_AT + NARROW, (uint32_t)(MAP + PREF + 0x4321));
    gh_le32_put(elf + TEXT_AT + PHYSICAL, PREF + 0x77);
    gh_le32_put(elf + DATA_AT + 0x10, 0x5000);
    uint8_t *r = elf + ELF_LEN;
    const uint32_t words[] = { 0, (uint32_t)(MAP + PREF + WIDE), 0, (uint32_t)(MAP + PREF + DIFFERENCE), 0,
                               (uint32_t)(MAP + PREF + NARROW), (uint32_t)(MAP + PREF + PHYSICAL) };
    for (unsigned i = 0; i < GH_ARRAY_LEN(words); i++)
        if (differences || (i != 3 && i != 4)) {
            gh_le32_put(r, words[i]);
            r += 4;
        }
    elf_len = (size_t)(r - elf);
}

enum packing { GZIP, XZ, ZSTD, LZ4, PACKINGS };

static size_t pack(enum packing how, uint8_t *out, size_t room)
{
    size_t n = 0;
    if (how == GZIP) {
        z_stream z = { .next_in = elf, .avail_in = (uInt)elf_len, .next_out = out, .avail_out = (uInt)room };
        CHECK_EQ(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
        CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
        n = z.total_out;
        deflateEnd(&z);
    } else if (how == XZ) {
        CHECK_EQ(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, elf, elf_len, out, &n, room), LZMA_OK);
    } else if (how == ZSTD) {
        n = ZSTD_compress(out, room, elf, elf_len, 3);
    } else {
        int r = LZ4_compress_default((char *)elf, (char *)out + 8, (int)elf_len, (int)room - 8);
        gh_le32_put(out, 0x184c2102);
        gh_le32_put(out + 4, (uint32_t)r);
        n = (size_t)r + 8;
    }
    gh_le32_put(out + n, (uint32_t)elf_len);
    return n + 4;
}

static uint8_t packed[65536];

static struct gh_kernel_packed described(size_t len, bool randomize)
{
    return (struct gh_kernel_packed){ .payload = packed, .payload_len = len, .pref_address = PREF, .init_size = INIT, .alignment = ALIGN,
                                      .ram_end = 255u << 20, .randomize = randomize };
}

static void looks_right(struct gh_kernel_image *k, bool randomized)
{
    CHECK_EQ(gh_kernel_image_len(k), GH_KERNEL_ENTRY_BYTES + DATA_TO + DATA_LEN);
    const uint8_t *image = gh_kernel_image_open(k), *flat = image + GH_KERNEL_ENTRY_BYTES;
    CHECK_FATAL(image);
    uint64_t at = gh_kernel_image_address(k) + GH_KERNEL_ENTRY_BYTES, delta = gh_le64_get(flat + WIDE) - (MAP + PREF + 0x1234);
    CHECK(at % ALIGN == 0 && at >= PREF && at + INIT <= 255u << 20);
    CHECK(delta % ALIGN == 0 && PREF + delta + INIT <= 1u << 30);
    CHECK_EQ(gh_le32_get(flat + NARROW), (uint32_t)(MAP + PREF + 0x4321 + delta));
    CHECK_EQ(gh_le32_get(flat + PHYSICAL), (uint32_t)(PREF + 0x77 + delta));
    CHECK_EQ(flat[0], 0x11);
    CHECK_EQ(flat[TEXT_LEN], 0);              /* the hole */
    CHECK_EQ(flat[DATA_TO - 1], 0);
    CHECK_EQ(flat[DATA_TO + DATA_LEN - 1], 0x22);
    CHECK_EQ(gh_le32_get(image + 12), at + 0x40);
    CHECK_EQ(gh_le32_get(image + 16), randomized ? 2 : 0);
    /* The page tables map the first and the last of four GiB to themselves. */
    uint32_t tables = gh_le32_get(image + 8), base = gh_kernel_image_address(k);
    uint32_t pdpt = (uint32_t)gh_le64_get(image + (tables - base)) & ~0xfffu;
    uint32_t last = (uint32_t)gh_le64_get(image + (pdpt - base) + 3 * 8) & ~0xfffu;
    CHECK_EQ(gh_le64_get(image + (last - base) + 511 * 8), 0xffe00083);
    if (!randomized) {
        CHECK_EQ(delta, 0);
        CHECK_EQ(at, PREF);
    }
}

static void test_packings(void)
{
    for (int how = 0; how < PACKINGS; how++) {
        make(true);
        size_t len = pack(how, packed, sizeof packed);
        struct gh_kernel_packed p = described(len, false);
        struct gh_kernel_image *k = gh_kernel_unpack(&p);
        CHECK_FATAL(k);
        looks_right(k, false);
        gh_kernel_image_free(k);
    }
}

static void test_random(void)
{
    uint64_t places[64], seen = 0;
    make(true);
    size_t len = pack(GZIP, packed, sizeof packed);
    struct gh_kernel_packed p = described(len, true);
    for (unsigned i = 0; i < 64; i++) {
        struct gh_kernel_image *k = gh_kernel_unpack(&p);
        CHECK_FATAL(k);
        looks_right(k, true);
        const uint8_t *flat = gh_kernel_image_open(k) + GH_KERNEL_ENTRY_BYTES;
        CHECK_EQ(gh_le32_get(flat + DIFFERENCE), (uint32_t)(0x5000 - (gh_le64_get(flat + WIDE) - (MAP + PREF + 0x1234))));
        /* Closed and opened again it is the same one: the machine was reset. */
        places[i] = gh_le64_get(flat + WIDE) + gh_kernel_image_address(k);
        gh_kernel_image_close(k);
        flat = gh_kernel_image_open(k) + GH_KERNEL_ENTRY_BYTES;
        CHECK_EQ(gh_le64_get(flat + WIDE) + gh_kernel_image_address(k), places[i]);
        gh_kernel_image_free(k);
        for (unsigned n = 0; n < i && places[n] != places[i]; n++)
            seen += n + 1 == i;
    }
    CHECK(seen > 40);                         /* of 63: hundreds of places by a hundred */

    make(false);                              /* a newer kernel: what would be a difference is none */
    p.payload_len = pack(GZIP, packed, sizeof packed);
    struct gh_kernel_image *k = gh_kernel_unpack(&p);
    CHECK_FATAL(k);
    looks_right(k, true);
    CHECK_EQ(gh_le32_get(gh_kernel_image_open(k) + GH_KERNEL_ENTRY_BYTES + DIFFERENCE), 0x5000);
    gh_kernel_image_free(k);

    make(true);                               /* not built for it */
    elf_len = ELF_LEN;
    p.payload_len = pack(GZIP, packed, sizeof packed);
    k = gh_kernel_unpack(&p);
    CHECK_FATAL(k);
    looks_right(k, false);
    gh_kernel_image_free(k);
}

static void left_alone(const struct gh_kernel_packed *p) { CHECK(!gh_kernel_unpack(p)); }

static void test_refused(void)
{
    Elf64_Ehdr *e = (void *)elf;
    Elf64_Phdr *ph = (void *)(elf + 64);
    struct gh_kernel_packed p;
    for (unsigned i = 0; i < 14; i++) {
        make(true);
        switch (i) {
        case 0: e->e_machine = EM_386; break;
        case 1: e->e_phoff = ~0ull - 8; break;
        case 2: e->e_shoff = ELF_LEN * 2; break;
        case 3: e->e_phnum = 40; break;
        case 4: e->e_entry = PREF - 1; break;
        case 5: e->e_entry = PREF + 0x10000; break;
        case 6: ph[0].p_offset = ~0ull; break;
        case 7: ph[1].p_filesz = ph[1].p_memsz = ~0ull - 0x100; break;
        case 8: ph[1].p_paddr = PREF + 0x1000; break;       /* over the first one */
        case 9: ph[1].p_memsz = INIT; break;
        case 10: ph[0].p_paddr = PREF - 0x1000; break;
        case 11: gh_le32_put(elf + ELF_LEN + 4, 0x7fffffff); break; /* places outside */
        case 12: gh_le32_put(elf + ELF_LEN + 4, (uint32_t)(MAP + PREF + DATA_TO + DATA_LEN - 4)); break;
        case 13: gh_le32_put(elf + ELF_LEN, 5); break;
        }
        p = described(pack(GZIP, packed, sizeof packed), true);
        left_alone(&p);
    }
    make(true);
    size_t len = pack(GZIP, packed, sizeof packed);
    for (size_t n = 0; n < len; n += 13) {
        p = described(n, true);
        left_alone(&p);
    }
    for (unsigned i = 0; i < 6; i++) {
        p = described(len, true);
        switch (i) {
        case 0: p.ram_end = PREF + INIT - 1; break;
        case 1: p.alignment = 0; break;
        case 2: p.alignment = 0x300000; break;
        case 3: p.init_size = 0xffffffff; break;
        case 4: p.pref_address = ~0ull; break;
        case 5: p.pref_address = 0x100000; break;
        }
        left_alone(&p);
    }
    gh_le32_put(packed + len - 4, 0xffffffff); /* says that it is huge */
    p = described(len, true);
    left_alone(&p);
    gh_le32_put(packed + len - 4, (uint32_t)elf_len + 1);
    left_alone(&p);
    memset(packed, 'x', 6);
    left_alone(&p);
}

int main(void)
{
    test_packings();
    test_random();
    test_refused();
    return check_result();
}
