/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AT(base, offset, type) ((type *)((char *)(base) + (offset)))
#define CAT(base, offset, type) ((const type *)((const char *)(base) + (offset)))

/* Where in the tree a value stands, for the sentence: "devices[2].id". */
struct path { const struct path *up; const char *name; size_t index; bool indexed; };

static void path_text(const struct path *p, char *buf, size_t size)
{
    buf[0] = '\0';
    if (!p)
        return;
    path_text(p->up, buf, size);
    size_t n = strlen(buf);
    if (p->indexed)
        snprintf(buf + n, size - n, "[%zu]", p->index);
    else
        snprintf(buf + n, size - n, "%s%.40s", n ? "." : "", p->name);
}

static int bad(const struct path *p, const char *id, const char *what, struct gh_error *err)
{
    char where[160];

    path_text(p, where, sizeof where);
    return gh_error_option(err, -EINVAL, id, where, "The field \"%s\" %s.", where, what);
}

void gh_schema_init(const struct gh_schema *schema, void *ret)
{
    memset(ret, 0, schema->size);
    for (const struct gh_schema_field *f = schema->fields; f && f->name; f++) {
        if (f->type == GH_SCHEMA_FD)
            *AT(ret, f->offset, int) = -1;
        else if (f->type == GH_SCHEMA_OBJECT)
            gh_schema_init(f->item, AT(ret, f->offset, char));
    }
}

void gh_schema_fini(const struct gh_schema *schema, void *of)
{
    for (const struct gh_schema_field *f = schema->fields; f && f->name; f++) {
        void *place = AT(of, f->offset, char);
        if (f->type == GH_SCHEMA_FD && *(int *)place >= 0) {
            close(*(int *)place);
        } else if (f->type == GH_SCHEMA_TEXT || f->type == GH_SCHEMA_WORDS || f->type == GH_SCHEMA_COUNTERS) {
            free(*(char **)place);
        } else if (f->type == GH_SCHEMA_OBJECT) {
            gh_schema_fini(f->item, place);
        } else if (f->type == GH_SCHEMA_LIST) {
            char *items = *(char **)place;
            for (unsigned i = 0; i < *AT(of, f->count_offset, unsigned); i++)
                gh_schema_fini(f->item, items + i * f->item->size);
            free(items);
        }
    }
    gh_schema_init(schema, of);
}

static int read_object(const struct gh_schema *schema, const json_t *object, struct gh_packet *packet,
                       const char *const *ignore, void *ret, const struct path *up,
                       struct gh_error *err);

static int read_integer(const struct gh_schema_field *f, const json_t *v, void *place,
                        const struct path *p, struct gh_error *err)
{
    char text[128];

    if (!json_is_integer(v))
        return bad(p, "FieldInvalid", "must be a whole number", err);
    json_int_t n = json_integer_value(v);
    if (f->type == GH_SCHEMA_I32) {
        if (n < (int64_t)f->min || n > (int64_t)f->max) {
            snprintf(text, sizeof text, "is %" PRId64 "; it must be from %" PRId64 " to %" PRId64,
                     (int64_t)n, (int64_t)f->min, (int64_t)f->max);
            return bad(p, "FieldInvalid", text, err);
        }
        *(int32_t *)place = (int32_t)n;
        return 0;
    }
    if (n < 0 || (uint64_t)n < f->min || (uint64_t)n > f->max) {
        snprintf(text, sizeof text, "is %" PRId64 "; it must be from %" PRIu64 " to %" PRIu64,
                 (int64_t)n, f->min, f->max);
        return bad(p, "FieldInvalid", text, err);
    }
    if (f->type == GH_SCHEMA_U32)
        *(uint32_t *)place = (uint32_t)n;
    else
        *(uint64_t *)place = (uint64_t)n;
    return 0;
}

static int read_list(const struct gh_schema_field *f, const json_t *v, struct gh_packet *packet,
                     void *ret, const struct path *p, struct gh_error *err)
{
    char text[96];

    if (!json_is_array(v))
        return bad(p, "FieldInvalid", "must be a list", err);
    size_t n = json_array_size(v);
    if (n > f->max) {
        snprintf(text, sizeof text, "has %zu entries; at most %" PRIu64 " are allowed", n, f->max);
        return bad(p, "FieldInvalid", text, err);
    }
    char *items = calloc(n ? n : 1, f->item->size);
    if (!items)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for a list of %zu.", n);
    *AT(ret, f->offset, char *) = items;
    for (size_t i = 0; i < n; i++) {
        struct path at = { .up = p, .index = i, .indexed = true };
        int r = read_object(f->item, json_array_get(v, i), packet, NULL, items + i * f->item->size, &at,
                            err);
        if (r)
            return r; /* the failed entry cleaned up after itself; the caller frees the others */
        *AT(ret, f->count_offset, unsigned) = (unsigned)i + 1;
    }
    return 0;
}

static int read_words(const struct gh_schema_field *f, const json_t *v, char **place, const struct path *p,
                      struct gh_error *err)
{
    size_t n = 0;

    if (!json_is_array(v))
        return bad(p, "FieldInvalid", "must be a list of strings", err);
    char *text = malloc((size_t)f->max + 1);
    if (!text)
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for a text.");
    *place = text;
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *word = json_array_get(v, i);
        size_t len = json_string_length(word);
        if (!json_is_string(word) || strchr(json_string_value(word), ' '))
            return bad(p, "FieldInvalid", "must be a list of strings without spaces", err);
        if (len + (n != 0) > f->max - n)
            return bad(p, "FieldInvalid", "is too long", err);
        if (n)
            text[n++] = ' ';
        memcpy(text + n, json_string_value(word), len);
        n += len;
    }
    text[n] = '\0';
    return 0;
}

static int read_field(const struct gh_schema_field *f, const json_t *v, struct gh_packet *packet,
                      void *ret, const struct path *p, struct gh_error *err)
{
    void *place = AT(ret, f->offset, char);
    char  text[96];

    switch (f->type) {
    case GH_SCHEMA_BOOL:
        if (!json_is_boolean(v))
            return bad(p, "FieldInvalid", "must be true or false", err);
        *(bool *)place = json_is_true(v);
        return 0;
    case GH_SCHEMA_U32:
    case GH_SCHEMA_I32:
    case GH_SCHEMA_U64:
        return read_integer(f, v, place, p, err);
    case GH_SCHEMA_STRING:
    case GH_SCHEMA_TEXT: {
        size_t most = f->type == GH_SCHEMA_STRING ? f->size - 1 : (size_t)f->max;
        if (!json_is_string(v))
            return bad(p, "FieldInvalid", "must be a string", err);
        if (json_string_length(v) > most) {
            snprintf(text, sizeof text, "is longer than %zu bytes", most);
            return bad(p, "FieldInvalid", text, err);
        }
        if (f->type == GH_SCHEMA_STRING)
            memcpy(place, json_string_value(v), json_string_length(v) + 1);
        else if (!(*(char **)place = strdup(json_string_value(v))))
            return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for a text.");
        return 0;
    }
    case GH_SCHEMA_WORDS:
        return read_words(f, v, place, p, err);
    case GH_SCHEMA_COUNTERS:
        return bad(p, "FieldInvalid", "is only written", err);
    case GH_SCHEMA_FD:
        *(int *)place = packet && json_is_integer(v)
                            ? gh_packet_take_fd(packet, json_integer_value(v)) : -1;
        return *(int *)place >= 0
                   ? 0 : bad(p, "FieldInvalid", "names no descriptor of its message", err);
    case GH_SCHEMA_OBJECT:
        return read_object(f->item, v, packet, NULL, place, p, err);
    case GH_SCHEMA_LIST:
        return read_list(f, v, packet, ret, p, err);
    }
    return -EINVAL;
}

static int check_names(const struct gh_schema *schema, const json_t *object, const char *const *ignore,
                       const struct path *up, struct gh_error *err)
{
    const char *key;
    json_t     *value;

    json_object_foreach((json_t *)object, key, value) {
        bool known = false;
        for (const struct gh_schema_field *f = schema->fields; f && f->name && !known; f++)
            known = !strcmp(f->name, key);
        for (const char *const *i = ignore; i && *i && !known; i++)
            known = !strcmp(*i, key);
        struct path at = { .up = up, .name = key };
        if (!known)
            return bad(&at, "FieldUnknown", "is not known here", err);
    }
    for (const struct gh_schema_field *f = schema->fields; f && f->name; f++) {
        struct path at = { .up = up, .name = f->name };
        if (f->required && !json_object_get(object, f->name))
            return bad(&at, "FieldMissing", "is missing", err);
    }
    return 0;
}

static int read_object(const struct gh_schema *schema, const json_t *object, struct gh_packet *packet,
                       const char *const *ignore, void *ret, const struct path *up,
                       struct gh_error *err)
{
    gh_schema_init(schema, ret);
    if (!json_is_object(object))
        return bad(up, "FieldInvalid", "must be an object", err);
    int r = check_names(schema, object, ignore, up, err);
    for (const struct gh_schema_field *f = schema->fields; !r && f && f->name; f++) {
        const json_t *v = json_object_get(object, f->name);
        struct path   at = { .up = up, .name = f->name };
        if (v)
            r = read_field(f, v, packet, ret, &at, err);
    }
    if (r)
        gh_schema_fini(schema, ret);
    return r;
}

int gh_schema_read(const struct gh_schema *schema, const json_t *object, struct gh_packet *packet,
                   const char *const *ignore, void *ret, struct gh_error *err)
{
    return read_object(schema, object, packet, ignore, ret, NULL, err);
}

static json_t *write_counters(const struct gh_schema_counter *list, unsigned count)
{
    json_t *object = json_object();

    for (unsigned i = 0; object && i < count; i++)
        json_object_set_new(object, list[i].name, json_integer((json_int_t)(list[i].value & INT64_MAX)));
    return object;
}

static json_t *write_field(const struct gh_schema_field *f, const void *from, int *fds,
                           unsigned *fd_count, unsigned max_fds, bool *ret_absent)
{
    const void *place = CAT(from, f->offset, char);

    switch (f->type) {
    case GH_SCHEMA_BOOL:
        return json_boolean(*(const bool *)place);
    case GH_SCHEMA_U32:
        return json_integer(*(const uint32_t *)place);
    case GH_SCHEMA_I32:
        return json_integer(*(const int32_t *)place);
    case GH_SCHEMA_U64:
        return json_integer((json_int_t)*(const uint64_t *)place);
    case GH_SCHEMA_STRING:
        return json_string(place);
    case GH_SCHEMA_TEXT:
    case GH_SCHEMA_WORDS:
        *ret_absent = !*(char *const *)place;
        return *ret_absent ? NULL : json_string(*(char *const *)place);
    case GH_SCHEMA_COUNTERS:
        return write_counters(*(struct gh_schema_counter *const *)place, *CAT(from, f->count_offset, unsigned));
    case GH_SCHEMA_FD:
        *ret_absent = *(const int *)place < 0;
        if (*ret_absent || *fd_count >= max_fds)
            return NULL;
        fds[*fd_count] = *(const int *)place;
        return json_integer((json_int_t)(*fd_count)++);
    case GH_SCHEMA_OBJECT:
        return gh_schema_write(f->item, place, fds, fd_count, max_fds);
    case GH_SCHEMA_LIST: {
        unsigned n = *CAT(from, f->count_offset, unsigned);
        json_t  *list = n ? json_array() : NULL;
        *ret_absent = !n;
        for (unsigned i = 0; list && i < n; i++) {
            json_t *item = gh_schema_write(f->item, *(char *const *)place + i * f->item->size, fds,
                                           fd_count, max_fds);
            if (!item || json_array_append_new(list, item)) {
                json_decref(list);
                return NULL;
            }
        }
        return list;
    }
    }
    return NULL;
}

json_t *gh_schema_write(const struct gh_schema *schema, const void *from, int *fds, unsigned *fd_count,
                        unsigned max_fds)
{
    json_t *object = json_object();

    for (const struct gh_schema_field *f = schema->fields; object && f && f->name; f++) {
        bool    absent = false;
        json_t *v = write_field(f, from, fds, fd_count, max_fds, &absent);
        if (absent)
            continue;
        if (!v || json_object_set_new(object, f->name, v)) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

void gh_schema_help(const struct gh_schema *schema, unsigned indent, FILE *out)
{
    static const char *const names[] = { "true/false", "number", "number", "number", "string", "string",
                                         "strings", "numbers", "descriptor", "object", "list" };

    for (const struct gh_schema_field *f = schema->fields; f && f->name; f++) {
        fprintf(out, "%*s%-*s %-11s%s %s\n", (int)indent, "", 22 - (int)indent, f->name, names[f->type],
                f->required ? "*" : " ", f->help ? f->help : "");
        if (f->item)
            gh_schema_help(f->item, indent + 2, out);
    }
}
