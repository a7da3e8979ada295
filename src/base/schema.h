/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * JSON objects with a fixed shape: one table per object describes its fields, and the same table reads
 * a packet into a struct, writes the struct back, and prints the documentation.
 *
 * Unknown fields, wrong types, numbers outside their range and strings that do not fit are refused with
 * the field's path in the sentence. Thread: any; pure. Ownership: a struct filled by read owns its
 * lists, texts and descriptors until gh_schema_fini.
 */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/fdpass.h"

enum gh_schema_type {
    GH_SCHEMA_BOOL,   /* bool */
    GH_SCHEMA_U32,    /* uint32_t, min..max */
    GH_SCHEMA_I32,    /* int32_t, (int64_t)min..max */
    GH_SCHEMA_U64,    /* uint64_t, min..max; JSON numbers reach 2^63-1 */
    GH_SCHEMA_STRING, /* char[size], NUL included */
    GH_SCHEMA_TEXT,   /* char *, at most max bytes; NULL where absent */
    GH_SCHEMA_WORDS,  /* char *, a JSON list of strings joined by spaces, at most max bytes */
    GH_SCHEMA_COUNTERS, /* struct gh_schema_counter * and a count; a JSON object of numbers; only written */
    GH_SCHEMA_FD,     /* int; JSON holds the index among the packet's descriptors; -1 where absent */
    GH_SCHEMA_OBJECT, /* embedded struct, described by item */
    GH_SCHEMA_LIST,   /* pointer to an array of item, unsigned count at count_offset, at most max */
};

struct gh_schema_counter { char name[64]; uint64_t value; };
struct gh_schema;
struct gh_schema_field {
    const char         *name;
    enum gh_schema_type type;
    bool                required;
    size_t              offset, size, count_offset;
    uint64_t            min, max;
    const struct gh_schema *item;
    const char         *help;
};
struct gh_schema {
    const char *name;
    size_t      size;                      /* of the struct */
    const struct gh_schema_field *fields;  /* ends with name NULL; NULL: no fields */
};

#define GH_S_PLACE_(s, m) .offset = offsetof(s, m), .size = sizeof(((s *)0)->m)
#define GH_S_BOOL(s, m, name_, help_) \
    { .name = name_, .type = GH_SCHEMA_BOOL, GH_S_PLACE_(s, m), .help = help_ }
#define GH_S_U32(s, m, name_, req_, min_, max_, help_) \
    { .name = name_, .type = GH_SCHEMA_U32, .required = req_, GH_S_PLACE_(s, m), .min = min_, .max = max_, .help = help_ }
#define GH_S_I32(s, m, name_, req_, min_, max_, help_)                                             \
    { .name = name_, .type = GH_SCHEMA_I32, .required = req_, GH_S_PLACE_(s, m),                   \
      .min = (uint64_t)(int64_t)(min_), .max = (uint64_t)(int64_t)(max_), .help = help_ }
#define GH_S_U64(s, m, name_, req_, min_, max_, help_) \
    { .name = name_, .type = GH_SCHEMA_U64, .required = req_, GH_S_PLACE_(s, m), .min = min_, .max = max_, .help = help_ }
#define GH_S_STRING(s, m, name_, req_, help_) \
    { .name = name_, .type = GH_SCHEMA_STRING, .required = req_, GH_S_PLACE_(s, m), .help = help_ }
#define GH_S_TEXT(s, m, name_, req_, max_, help_) \
    { .name = name_, .type = GH_SCHEMA_TEXT, .required = req_, GH_S_PLACE_(s, m), .max = max_, .help = help_ }
#define GH_S_WORDS(s, m, name_, req_, max_, help_) \
    { .name = name_, .type = GH_SCHEMA_WORDS, .required = req_, GH_S_PLACE_(s, m), .max = max_, .help = help_ }
#define GH_S_COUNTERS(s, m, count_, name_, help_) \
    { .name = name_, .type = GH_SCHEMA_COUNTERS, GH_S_PLACE_(s, m), .count_offset = offsetof(s, count_), .help = help_ }
#define GH_S_FD(s, m, name_, req_, help_) \
    { .name = name_, .type = GH_SCHEMA_FD, .required = req_, GH_S_PLACE_(s, m), .help = help_ }
#define GH_S_OBJECT(s, m, name_, item_, help_) \
    { .name = name_, .type = GH_SCHEMA_OBJECT, GH_S_PLACE_(s, m), .item = item_, .help = help_ }
#define GH_S_LIST(s, m, count_, name_, item_, max_, help_)                                         \
    { .name = name_, .type = GH_SCHEMA_LIST, GH_S_PLACE_(s, m), .count_offset = offsetof(s, count_), \
      .item = item_, .max = max_, .help = help_ }
#define GH_S_END { .name = NULL }

/* Zeroes the struct and sets every descriptor to -1. */
void gh_schema_init(const struct gh_schema *schema, void *ret);
/* Initialises ret from the object; descriptors move out of packet (NULL: the object may name none).
 * ignore (may be NULL) lists NULL-terminated names that others interpret, "verb" or "id".
 * On failure ret is empty again and needs no fini. */
int  gh_schema_read(const struct gh_schema *schema, const json_t *object, struct gh_packet *packet,
                    const char *const *ignore, void *ret, struct gh_error *err);
/* A new object; descriptors are collected (not duplicated) in fds[*fd_count...]. Absent texts,
 * empty lists and descriptors that are -1 are left out. NULL: no memory or too many descriptors. */
json_t *gh_schema_write(const struct gh_schema *schema, const void *from, int *fds, unsigned *fd_count,
                        unsigned max_fds);
/* Closes descriptors, frees lists and texts; leaves the struct as init does. */
void gh_schema_fini(const struct gh_schema *schema, void *of);
/* One line per field, nested objects indented. */
void gh_schema_help(const struct gh_schema *schema, unsigned indent, FILE *out);
