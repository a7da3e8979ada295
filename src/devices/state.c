/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { TABLE_FIELDS_MAX = 256 };          /* bound of the "seen" set; far above every table */

static unsigned element_bytes(enum gh_type type)
{
    switch (type) {
    case GH_T_U16: return 2;
    case GH_T_U32: return 4;
    case GH_T_U64: return 8;
    default:       return 1;
    }
}

static bool storable(enum gh_type type)
{
    return type <= GH_T_BYTES || type == GH_T_TABLE;
}

/* ---- Writing ------------------------------------------------------------------------------------- */

void gh_state_buffer_fini(struct gh_state_buffer *buf)
{
    free(buf->data);
    *buf = (struct gh_state_buffer){0};
}

static uint8_t *grow(struct gh_state_buffer *buf, size_t bytes)
{
    if (buf->failed)
        return NULL;
    if (bytes > buf->capacity - buf->len) {
        size_t   capacity = (buf->len + bytes) * 2 + 256;
        uint8_t *data = realloc(buf->data, capacity);
        if (!data) {
            buf->failed = true;
            return NULL;
        }
        buf->data = data;
        buf->capacity = capacity;
    }
    uint8_t *p = buf->data + buf->len;
    buf->len += bytes;
    return p;
}

static void put_u8(struct gh_state_buffer *buf, uint8_t v)
{
    uint8_t *p = grow(buf, 1);
    if (p)
        *p = v;
}

static void put_u16(struct gh_state_buffer *buf, uint16_t v)
{
    uint8_t *p = grow(buf, 2);
    if (p)
        gh_le16_put(p, v);
}

static void put_u32(struct gh_state_buffer *buf, uint32_t v)
{
    uint8_t *p = grow(buf, 4);
    if (p)
        gh_le32_put(p, v);
}

static void put_str(struct gh_state_buffer *buf, const char *s)
{
    size_t len = strlen(s);

    if (len > 63) {
        buf->failed = true;
        return;
    }
    put_u8(buf, (uint8_t)len);
    uint8_t *p = grow(buf, len);
    if (p)
        memcpy(p, s, len);
}

static void put_fields(struct gh_state_buffer *buf, const struct gh_field *table, const void *object);

static void put_value(struct gh_state_buffer *buf, const struct gh_field *f, const uint8_t *from)
{
    if (f->type == GH_T_TABLE) {
        for (uint32_t i = 0; i < f->count; i++)
            put_fields(buf, f->table, from + (size_t)i * f->stride);
        return;
    }
    unsigned width = element_bytes(f->type);
    uint8_t *p = grow(buf, (size_t)f->count * width);
    if (!p)
        return;
    if (width == 1) {
        memcpy(p, from, f->count);
        return;
    }
    for (uint32_t i = 0; i < f->count; i++, p += width, from += width) {
        if (width == 2)
            gh_le16_put(p, *(const uint16_t *)from);
        else if (width == 4)
            gh_le32_put(p, *(const uint32_t *)from);
        else
            gh_le64_put(p, *(const uint64_t *)from);
    }
}

static void put_fields(struct gh_state_buffer *buf, const struct gh_field *table, const void *object)
{
    uint16_t n = 0;

    for (const struct gh_field *f = table; f && f->name; f++)
        n++;
    put_u16(buf, n);
    for (const struct gh_field *f = table; f && f->name; f++) {
        put_str(buf, f->name);
        put_u8(buf, (uint8_t)f->type);
        put_u32(buf, f->count);
        put_value(buf, f, (const uint8_t *)object + f->offset);
    }
}

int gh_state_save(struct gh_state_buffer *buf, const char *name, const char *instance, uint16_t version,
                  const struct gh_field *table, const void *object)
{
    size_t start = buf->len;

    if (strlen(name) > 63 || strlen(instance) > 63)
        return -ENAMETOOLONG;
    put_u32(buf, 0);
    put_str(buf, name);
    put_str(buf, instance);
    put_u16(buf, version);
    put_fields(buf, table, object);
    if (buf->failed || buf->len - start - 4 > UINT32_MAX)
        return -ENOMEM;
    gh_le32_put(buf->data + start, (uint32_t)(buf->len - start - 4));
    return 0;
}

int gh_state_save_device(struct gh_state_buffer *buf, const struct gh_device *dev)
{
    return gh_state_save(buf, dev->class->name, dev->id, dev->class->version, dev->class->saved, dev->state);
}

/* ---- Reading ------------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *p;
    size_t   left;
    uint16_t version;                     /* of the section */
    const char *name, *instance;
    struct gh_error *err;
};

static const uint8_t *take(struct reader *r, size_t n)
{
    if (n > r->left)
        return NULL;
    const uint8_t *p = r->p;
    r->p += n;
    r->left -= n;
    return p;
}

static bool get_str(struct reader *r, char ret[64])
{
    const uint8_t *len = take(r, 1);
    const uint8_t *s = len && *len < 64 ? take(r, *len) : NULL;

    if (!s || memchr(s, 0, *len))
        return false;
    memcpy(ret, s, *len);
    ret[*len] = 0;
    return true;
}

static int damaged(struct gh_error *err, const char *where, const char *instance, const char *what)
{
    return gh_error_set(err, -EBADMSG, "SavedStateDamaged",
                        "The saved state of %s \"%s\" is damaged (%s); discard it and start the machine anew.",
                        where, instance, what);
}

static int unfit(struct reader *r, const char *field, const char *why)
{
    return gh_error_set(r->err, -ENOTSUP, "SavedStateUnfit",
                        "The saved state of %s \"%s\" does not fit this program: field \"%s\" %s; "
                        "resume with the version that saved it, or discard it.",
                        r->name, r->instance, field, why);
}

static int get_fields(struct reader *r, const struct gh_field *table, void *object);

static int get_value(struct reader *r, const struct gh_field *f, uint8_t *to)
{
    if (f->type == GH_T_TABLE) {
        for (uint32_t i = 0; i < f->count; i++) {
            int e = get_fields(r, f->table, to + (size_t)i * f->stride);
            if (e < 0)
                return e;
        }
        return 0;
    }
    unsigned       width = element_bytes(f->type);
    const uint8_t *p = take(r, (size_t)f->count * width);
    if (!p)
        return damaged(r->err, r->name, r->instance, "it ends inside a field");
    if (f->type == GH_T_BOOL) {
        for (uint32_t i = 0; i < f->count; i++)
            if (p[i] > 1)
                return damaged(r->err, r->name, r->instance, "a switch is neither on nor off");
    }
    if (f->type == GH_T_STRING && !memchr(p, 0, f->count))
        return damaged(r->err, r->name, r->instance, "a text does not end");
    if (width == 1) {
        memcpy(to, p, f->count);
        return 0;
    }
    for (uint32_t i = 0; i < f->count; i++, p += width, to += width) {
        if (width == 2)
            *(uint16_t *)to = gh_le16_get(p);
        else if (width == 4)
            *(uint32_t *)to = gh_le32_get(p);
        else
            *(uint64_t *)to = gh_le64_get(p);
    }
    return 0;
}

static int get_one(struct reader *r, const struct gh_field *table, bool *seen, void *object)
{
    char name[64];

    if (!get_str(r, name))
        return damaged(r->err, r->name, r->instance, "a field has no name");
    const uint8_t *head = take(r, 5);
    if (!head)
        return damaged(r->err, r->name, r->instance, "it ends inside a field");
    for (unsigned i = 0; table && table[i].name; i++) {
        const struct gh_field *f = &table[i];
        if (strcmp(f->name, name))
            continue;
        if (seen[i])
            return unfit(r, name, "is there twice");
        if (head[0] != f->type || !storable(f->type))
            return unfit(r, name, "has another type");
        if (gh_le32_get(head + 1) != f->count)
            return unfit(r, name, "has another size");
        seen[i] = true;
        return get_value(r, f, (uint8_t *)object + f->offset);
    }
    return unfit(r, name, "is unknown");
}

/* Recursion is as deep as the program's own tables: an unknown table is refused before. */
static int get_fields(struct reader *r, const struct gh_field *table, void *object)
{
    bool seen[TABLE_FIELDS_MAX] = {false};
    const uint8_t *n = take(r, 2);
    unsigned known = 0;

    while (table && table[known].name)
        known++;
    assert(known <= TABLE_FIELDS_MAX);
    if (!n)
        return damaged(r->err, r->name, r->instance, "it ends before its fields");
    for (unsigned i = 0; i < gh_le16_get(n); i++) {
        int e = get_one(r, table, seen, object);
        if (e < 0)
            return e;
    }
    for (unsigned i = 0; i < known; i++)
        if (!seen[i] && table[i].since <= r->version)
            return unfit(r, table[i].name, "is missing");
    return 0;
}

int gh_state_next(const uint8_t **data, size_t *len, struct gh_state_section *ret, struct gh_error *err)
{
    struct reader r = {.p = *data, .left = *len, .err = err};

    if (!r.left)
        return 0;
    const uint8_t *size = take(&r, 4);
    const uint8_t *section = size ? take(&r, gh_le32_get(size)) : NULL;
    if (!section)
        return damaged(err, "the machine", "", "a section is cut short");
    struct reader in = {.p = section, .left = gh_le32_get(size), .err = err};
    const uint8_t *version = NULL;
    if (get_str(&in, ret->name) && get_str(&in, ret->instance))
        version = take(&in, 2);
    if (!version)
        return damaged(err, "the machine", "", "a section has no name");
    ret->version = gh_le16_get(version);
    ret->body = in.p;
    ret->body_len = in.left;
    *data = r.p;
    *len = r.left;
    return 1;
}

int gh_state_load(const struct gh_state_section *section, uint16_t version, const struct gh_field *table,
                  void *object, struct gh_error *err)
{
    struct reader r = {.p = section->body, .left = section->body_len, .version = section->version,
                       .name = section->name, .instance = section->instance, .err = err};

    if (section->version > version)
        return gh_error_set(err, -ENOTSUP, "SavedStateNewer",
                            "The saved state of %s \"%s\" has version %u, this program knows %u; "
                            "resume with a newer program, or discard it.",
                            section->name, section->instance, section->version, version);
    int e = get_fields(&r, table, object);
    if (e < 0)
        return e;
    if (r.left)
        return damaged(err, section->name, section->instance, "bytes are left over");
    return 0;
}

int gh_state_load_device(const struct gh_state_section *section, struct gh_device *dev, struct gh_error *err)
{
    if (strcmp(section->name, dev->class->name) || strcmp(section->instance, dev->id))
        return gh_error_set(err, -ENOTSUP, "SavedStateUnfit",
                            "The saved state holds %s \"%s\" where the machine has %s \"%s\"; "
                            "restore the machine's settings or discard the saved state.",
                            section->name, section->instance, dev->class->name, dev->id);
    return gh_state_load(section, dev->class->version, dev->class->saved, dev->state, err);
}

/* ---- All devices of a machine ------------------------------------------------------------------------ */

static struct gh_device *find_device(struct gh_device *const *devices, unsigned count, const char *id,
                                     unsigned *ret_index)
{
    for (*ret_index = 0; *ret_index < count; ++*ret_index)
        if (!strcmp(devices[*ret_index]->id, id))
            return devices[*ret_index];
    return NULL;
}

static int fill_all(struct gh_device *const *devices, unsigned count, const uint8_t *data, size_t len, bool *filled,
                    int (*other)(void *, const struct gh_state_section *, struct gh_error *), void *opaque,
                    struct gh_error *err)
{
    struct gh_state_section section;
    unsigned index;
    int r;

    while ((r = gh_state_next(&data, &len, &section, err)) > 0) {
        struct gh_device *dev = find_device(devices, count, section.instance, &index);
        if (dev && filled[index])
            return damaged(err, section.name, section.instance, "it is there twice");
        if (dev) {
            r = gh_state_load_device(&section, dev, err);
            filled[index] = true;
        } else if (other) {
            r = other(opaque, &section, err);
        } else {
            r = gh_error_set(err, -ENOTSUP, "SavedStateUnfit",
                             "The saved state holds %s \"%s\", which this machine does not have; "
                             "restore the machine's settings or discard the saved state.",
                             section.name, section.instance);
        }
        if (r < 0)
            return r;
    }
    for (unsigned i = 0; r == 0 && i < count; i++)
        if (!filled[i])
            return gh_error_set(err, -ENOTSUP, "SavedStateUnfit",
                                "The saved state does not hold %s \"%s\"; "
                                "restore the machine's settings or discard the saved state.",
                                devices[i]->class->name, devices[i]->id);
    return r;
}

int gh_state_load_devices(struct gh_device *const *devices, unsigned count, const void *data, size_t len,
                          int (*other)(void *opaque, const struct gh_state_section *section, struct gh_error *err),
                          void *opaque, struct gh_error *err)
{
    struct gh_state_buffer before = {0};
    bool *filled = calloc(count + 1u, sizeof *filled);
    int r = filled ? 0 : -ENOMEM;

    for (unsigned i = 0; r == 0 && i < count; i++)
        r = gh_state_save_device(&before, devices[i]);
    if (r < 0) {
        gh_error_set(err, r, "NoMemory", "The host has no memory left to load the saved state.");
        goto out;
    }
    r = fill_all(devices, count, data, len, filled, other, opaque, err);
    for (unsigned i = 0; r == 0 && i < count; i++)
        if (devices[i]->class->loaded)
            r = devices[i]->class->loaded(devices[i], err);
    if (r < 0) {
        memset(filled, 0, count * sizeof *filled);
        fill_all(devices, count, before.data, before.len, filled, NULL, NULL, NULL);
    }
out:
    gh_state_buffer_fini(&before);
    free(filled);
    return r;
}
