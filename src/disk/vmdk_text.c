/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The text descriptor: `key=value` lines and extent lines. Lengths are bounded before anything is copied. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "disk/vmdk.h"

void vmdk_text_free(struct vmdk_text *t)
{
    free(t->line);
    t->line = NULL;
    t->lines = 0;
}

static void unquote(char *to, size_t room, const char *from)
{
    size_t n = strlen(from);
    if (n >= 2 && from[0] == '"' && from[n - 1] == '"') {
        from++;
        n -= 2;
    }
    snprintf(to, room, "%.*s", (int)(n < room ? n : room - 1), from);
}

static int extent_line(struct vmdk_text *t, const char *line)
{
    char access[16], type[24], rest[600] = "";
    unsigned long long sectors, offset = 0;
    if (sscanf(line, "%15s %llu %23s %599[^\n]", access, &sectors, type, rest) < 3) /* a blank there is any blanks */
        return -EUCLEAN;
    if (t->lines >= VMDK_MAX_EXTENTS)
        return -E2BIG;
    struct vmdk_line *more = realloc(t->line, (t->lines + 1) * sizeof *more), *l;
    if (!more)
        return -ENOMEM;
    t->line = more;
    l = &t->line[t->lines];
    memset(l, 0, sizeof *l);
    l->sectors = sectors;
    l->known = true;
    if (rest[0] == '"') {
        char *end = strchr(rest + 1, '"');
        if (!end || end - rest - 1 >= (ptrdiff_t)sizeof l->name)
            return -EUCLEAN;
        memcpy(l->name, rest + 1, (size_t)(end - rest - 1));
        offset = strtoull(end + 1, NULL, 10);
    }
    l->offset = offset;
    if (!strcmp(type, "FLAT") || !strcmp(type, "VMFS"))
        l->kind = VMDK_FLAT;
    else if (!strcmp(type, "SPARSE"))
        l->kind = VMDK_SPARSE;
    else if (!strcmp(type, "ZERO"))
        l->kind = VMDK_ZERO;
    else
        l->known = false;
    if (l->kind != VMDK_ZERO && !l->name[0])
        return -EUCLEAN;
    t->lines++;
    return 0;
}

/* Of an id as it can be written over: up to eight, and nothing behind them. */
static unsigned digits_of(const char *value)
{
    size_t n = strspn(value, "0123456789abcdefABCDEF");
    return n <= 8 && !value[n + strspn(value + n, " \t")] ? (unsigned)n : 0;
}

int vmdk_text_parse(const char *text, size_t len, struct vmdk_text *t)
{
    int r = 0;
    *t = (struct vmdk_text){ .parent_cid = VMDK_NO_PARENT };
    for (size_t at = 0; at < len && text[at] && !r;) {
        char line[1400];
        size_t n = 0;
        while (at + n < len && text[at + n] && text[at + n] != '\n' && text[at + n] != '\r')
            n++;
        if (n >= sizeof line)
            return -EUCLEAN;
        memcpy(line, text + at, n);
        line[n] = 0;
        size_t begin = at;
        at += n + 1;
        const char *word = line + strspn(line, " \t");
        size_t letters = strcspn(word, " \t");
        if (word[letters] && ((letters == 2 && !memcmp(word, "RW", 2)) || (letters == 6 && !memcmp(word, "RDONLY", 6)) ||
                              (letters == 8 && !memcmp(word, "NOACCESS", 8)))) {
            r = extent_line(t, word);
            continue;
        }
        char *eq = strchr(line, '=');
        if (!eq || line[0] == '#')
            continue;
        *eq = 0;
        char *value = eq + 1, *key_end = eq;
        while (key_end > line && isspace((unsigned char)key_end[-1]))
            *--key_end = 0;
        while (isspace((unsigned char)*value))
            value++;
        if (!strcasecmp(line, "CID")) {
            t->cid = (uint32_t)strtoul(value, NULL, 16);
            t->cid_digits = digits_of(value);
            t->cid_at = t->cid_digits ? begin + (size_t)(value - line) : 0;
        } else if (!strcasecmp(line, "parentCID")) {
            t->parent_cid = (uint32_t)strtoul(value, NULL, 16);
            t->parent_cid_digits = digits_of(value);
            t->parent_cid_at = t->parent_cid_digits ? begin + (size_t)(value - line) : 0;
        } else if (!strcasecmp(line, "createType")) {
            unquote(t->create_type, sizeof t->create_type, value);
        } else if (!strcasecmp(line, "parentFileNameHint")) {
            unquote(t->parent_name, sizeof t->parent_name, value);
        }
    }
    if (!r && !t->lines)
        r = -EUCLEAN;
    if (r < 0)
        vmdk_text_free(t);
    return r;
}

int vmdk_text_load(struct gh_file *file, char **ret, size_t *ret_len, uint64_t *ret_at)
{
    uint8_t h[VMDK_HEADER];
    uint64_t at = 0, len = gh_file_bytes(file);
    int r = gh_file_read(file, 0, h, sizeof h);
    if (r < 0)
        return r;
    if (gh_le32_get(h) == VMDK_MAGIC) {
        uint64_t sectors = gh_le64_get(h + 36);
        at = gh_le64_get(h + 28);
        if (!at || !sectors || sectors > VMDK_DESCRIPTOR_MAX / 512 || at > UINT64_MAX / 1024)
            return -EUCLEAN;
        at *= 512;
        len = sectors * 512;
    } else if (len > VMDK_DESCRIPTOR_MAX) {
        return -EUCLEAN;
    }
    char *text = gh_file_memory(len + 1, VMDK_DESCRIPTOR_MAX + 1);
    if (!text)
        return -ENOMEM;
    r = gh_file_read(file, at, text, len);
    if (r < 0) {
        free(text);
        return r;
    }
    *ret = text;
    *ret_len = len;
    *ret_at = at;
    return 0;
}
