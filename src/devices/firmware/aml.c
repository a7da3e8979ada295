/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/firmware/aml.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "devices/firmware/aml_op.h"

enum { LENGTH_BYTES = 3 };                    /* PkgLength is always written with 3 bytes: 20 bits */

void gh_aml_fini(struct gh_aml *a)
{
    free(a->data);
    *a = (struct gh_aml){ 0 };
}

void gh_aml_bytes(struct gh_aml *a, const void *bytes, size_t len)
{
    if (a->failed)
        return;
    if (len > a->capacity - a->len) {
        size_t capacity = (a->len + len) * 2 + 1024;
        uint8_t *data = realloc(a->data, capacity);
        if (!data) {
            a->failed = true;
            return;
        }
        a->data = data;
        a->capacity = capacity;
    }
    memcpy(a->data + a->len, bytes, len);
    a->len += len;
}

void gh_aml_u8(struct gh_aml *a, uint8_t v) { gh_aml_bytes(a, &v, 1); }

static void put_u16(struct gh_aml *a, uint16_t v) { v = htole16(v); gh_aml_bytes(a, &v, 2); }
static void put_u32(struct gh_aml *a, uint32_t v) { v = htole32(v); gh_aml_bytes(a, &v, 4); }
static void put_u64(struct gh_aml *a, uint64_t v) { v = htole64(v); gh_aml_bytes(a, &v, 8); }

void gh_aml_path(struct gh_aml *a, const char *path)
{
    unsigned segments = *path ? 1 : 0;
    if (*path == '\\') {
        gh_aml_u8(a, '\\');
        path++;
    }
    for (const char *p = path; *p; p++)
        segments += *p == '.';
    if (!*path) {
        gh_aml_u8(a, 0);
        return;
    }
    if (segments == 2)
        gh_aml_u8(a, AML_DUAL_NAME);
    else if (segments > 2)
        gh_aml_bytes(a, (uint8_t[]){ AML_MULTI_NAME, (uint8_t)segments }, 2);
    while (*path) {
        char segment[4] = { '_', '_', '_', '_' };
        for (unsigned i = 0; *path && *path != '.'; i++, path++)
            if (i < 4)
                segment[i] = *path;
        gh_aml_bytes(a, segment, 4);
        path += *path == '.';
    }
}

void gh_aml_integer(struct gh_aml *a, uint64_t v)
{
    if (v <= 1) {
        gh_aml_u8(a, v ? AML_ONE : AML_ZERO);
    } else if (v <= 0xff) {
        gh_aml_u8(a, AML_BYTE);
        gh_aml_u8(a, (uint8_t)v);
    } else if (v <= 0xffff) {
        gh_aml_u8(a, AML_WORD);
        put_u16(a, (uint16_t)v);
    } else if (v <= 0xffffffff) {
        gh_aml_u8(a, AML_DWORD);
        put_u32(a, (uint32_t)v);
    } else {
        gh_aml_u8(a, AML_QWORD);
        put_u64(a, v);
    }
}

void gh_aml_string(struct gh_aml *a, const char *s)
{
    gh_aml_u8(a, AML_STRING);
    gh_aml_bytes(a, s, strlen(s) + 1);
}

/* Three letters of five bits, then four hexadecimal digits, stored big endian. */
void gh_aml_eisa(struct gh_aml *a, const char *id)
{
    uint16_t letters = (uint16_t)((id[0] - '@') << 10 | (id[1] - '@') << 5 | (id[2] - '@'));
    uint8_t bytes[4] = { (uint8_t)(letters >> 8), (uint8_t)letters };
    unsigned digits = (unsigned)strtoul(id + 3, NULL, 16);
    bytes[2] = (uint8_t)(digits >> 8);
    bytes[3] = (uint8_t)digits;
    gh_aml_u8(a, AML_DWORD);
    gh_aml_bytes(a, bytes, 4);
}

/* ---- Blocks ------------------------------------------------------------------------------------- */

static size_t reserve_length(struct gh_aml *a)
{
    size_t mark = a->len;
    gh_aml_bytes(a, (uint8_t[LENGTH_BYTES]){ 0 }, LENGTH_BYTES);
    return mark;
}

void gh_aml_end(struct gh_aml *a, size_t mark)
{
    if (a->failed)
        return;
    size_t len = a->len - mark;
    a->data[mark] = (uint8_t)(2 << 6 | (len & 15));
    a->data[mark + 1] = (uint8_t)(len >> 4);
    a->data[mark + 2] = (uint8_t)(len >> 12);
}

size_t gh_aml_scope(struct gh_aml *a, const char *path)
{
    gh_aml_u8(a, AML_SCOPE);
    size_t mark = reserve_length(a);
    gh_aml_path(a, path);
    return mark;
}

size_t gh_aml_device(struct gh_aml *a, const char *name)
{
    gh_aml_bytes(a, (uint8_t[]){ AML_EXT, AML_EXT_DEVICE }, 2);
    size_t mark = reserve_length(a);
    gh_aml_path(a, name);
    return mark;
}

size_t gh_aml_method(struct gh_aml *a, const char *name, unsigned args)
{
    gh_aml_u8(a, AML_METHOD);
    size_t mark = reserve_length(a);
    gh_aml_path(a, name);
    gh_aml_u8(a, (uint8_t)args);
    return mark;
}

size_t gh_aml_package(struct gh_aml *a, uint8_t elements)
{
    gh_aml_u8(a, AML_PACKAGE);
    size_t mark = reserve_length(a);
    gh_aml_u8(a, elements);
    return mark;
}

size_t gh_aml_if(struct gh_aml *a)
{
    gh_aml_u8(a, AML_IF);
    return reserve_length(a);
}

void gh_aml_processor(struct gh_aml *a, const char *name, uint8_t id)
{
    gh_aml_bytes(a, (uint8_t[]){ AML_EXT, AML_EXT_PROCESSOR }, 2);
    size_t mark = reserve_length(a);
    gh_aml_path(a, name);
    gh_aml_bytes(a, (uint8_t[]){ id, 0, 0, 0, 0, 0 }, 6);     /* no P_BLK */
    gh_aml_end(a, mark);
}

void gh_aml_name(struct gh_aml *a, const char *name)
{
    gh_aml_u8(a, AML_NAME);
    gh_aml_path(a, name);
}

void gh_aml_name_integer(struct gh_aml *a, const char *name, uint64_t v)
{
    gh_aml_name(a, name);
    gh_aml_integer(a, v);
}

void gh_aml_name_eisa(struct gh_aml *a, const char *name, const char *id)
{
    gh_aml_name(a, name);
    gh_aml_eisa(a, id);
}

void gh_aml_name_string(struct gh_aml *a, const char *name, const char *s)
{
    gh_aml_name(a, name);
    gh_aml_string(a, s);
}

/* ---- Resource descriptors ------------------------------------------------------------------------- */

struct gh_aml_resources gh_aml_resources(struct gh_aml *a, const char *name)
{
    struct gh_aml_resources r;
    gh_aml_name(a, name);
    gh_aml_u8(a, AML_BUFFER);
    r.mark = reserve_length(a);
    gh_aml_u8(a, AML_WORD);
    r.size_at = a->len;
    put_u16(a, 0);
    r.start = a->len;
    return r;
}

void gh_aml_resources_end(struct gh_aml *a, struct gh_aml_resources r)
{
    gh_aml_bytes(a, (uint8_t[]){ 0x79, 0 }, 2);               /* a checksum of 0 is never verified */
    if (!a->failed)
        gh_le16_put(a->data + r.size_at, (uint16_t)(a->len - r.start));
    gh_aml_end(a, r.mark);
}

void gh_aml_io(struct gh_aml *a, uint16_t base, uint8_t len)
{
    gh_aml_bytes(a, (uint8_t[]){ 0x47, 1 }, 2);
    put_u16(a, base);
    put_u16(a, base);
    gh_aml_bytes(a, (uint8_t[]){ 1, len }, 2);
}

void gh_aml_irq(struct gh_aml *a, unsigned irq)
{
    gh_aml_u8(a, 0x22);
    put_u16(a, (uint16_t)(1u << irq));
}

void gh_aml_dma(struct gh_aml *a, unsigned channel)
{
    gh_aml_bytes(a, (uint8_t[]){ 0x2a, (uint8_t)(1u << channel), 0 }, 3);
}

void gh_aml_memory32(struct gh_aml *a, uint32_t base, uint32_t len)
{
    gh_aml_bytes(a, (uint8_t[]){ 0x86, 9, 0, 1 }, 4);
    put_u32(a, base);
    put_u32(a, len);
}

void gh_aml_interrupts(struct gh_aml *a, const uint8_t *irqs, unsigned count)
{
    gh_aml_u8(a, 0x89);
    put_u16(a, (uint16_t)(2 + count * 4));
    gh_aml_bytes(a, (uint8_t[]){ 0x09, (uint8_t)count }, 2);  /* consumer, level, active high, shared */
    for (unsigned i = 0; i < count; i++)
        put_u32(a, irqs[i]);
}

/* Producer, positive decode, fixed minimum and maximum. */
static void window_head(struct gh_aml *a, uint8_t tag, uint16_t len, enum gh_aml_space space, uint8_t type_flags)
{
    gh_aml_u8(a, tag);
    put_u16(a, len);
    gh_aml_bytes(a, (uint8_t[]){ (uint8_t)space, 0x0c, type_flags }, 3);
}

void gh_aml_window16(struct gh_aml *a, enum gh_aml_space space, uint16_t first, uint16_t last)
{
    window_head(a, 0x88, 13, space, space == GH_AML_IO ? 3 : 0);   /* I/O: the entire range */
    put_u16(a, 0);
    put_u16(a, first);
    put_u16(a, last);
    put_u16(a, 0);
    put_u16(a, (uint16_t)(last - first + 1));
}

void gh_aml_window32(struct gh_aml *a, uint32_t first, uint32_t last, bool cacheable)
{
    window_head(a, 0x87, 23, GH_AML_MEMORY, cacheable ? 3 : 1);
    put_u32(a, 0);
    put_u32(a, first);
    put_u32(a, last);
    put_u32(a, 0);
    put_u32(a, last - first + 1);
}

void gh_aml_window64(struct gh_aml *a, uint64_t first, uint64_t last)
{
    window_head(a, 0x8a, 43, GH_AML_MEMORY, 3);
    put_u64(a, 0);
    put_u64(a, first);
    put_u64(a, last);
    put_u64(a, 0);
    put_u64(a, last - first + 1);
}
