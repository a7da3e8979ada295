/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "appliance/keys.h"

#include <ctype.h>
#include <errno.h>
#include <glib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/appliance.h"

/* The end of a value that began at p: of the line, or behind the bracket that closes it. */
static char *value_end(char *p, bool lists)
{
    unsigned depth = 0;
    char quote = 0;

    for (; *p; p++) {
        if (quote) {
            if (*p == '\\' && p[1])
                p++;
            else if (*p == quote || *p == '\n')
                quote = 0;
            if (*p == '\n' && !depth)
                return p;
            continue;
        }
        if (*p == '"' || *p == '\'')
            quote = *p;
        else if (lists && (*p == '[' || *p == '('))
            depth++;
        else if (lists && (*p == ']' || *p == ')') && depth)
            depth--;
        else if (*p == '\n' && !depth)
            return p;
    }
    return p;
}

/* VMware on Windows writes its host's code page: what is no UTF-8 is read as windows-1252, of which latin-1 is a part. out has
 * room for three bytes each. */
static void take_text(char *out, const char *text, size_t bytes)
{
    static const uint16_t upper[32] = {
        0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd,
        0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178,
    };

    if (g_utf8_validate_len(text, strnlen(text, bytes), NULL)) {
        memcpy(out, text, bytes);
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        out += g_unichar_to_utf8(c >= 0x80 && c < 0xa0 ? upper[c - 0x80] : c, out);
    }
}

int gh_keys_read(struct gh_keys *k, const char *text, size_t bytes, bool lists, const char *label, struct gh_error *err)
{
    *k = (struct gh_keys){ .store = calloc(1, bytes * 3 + 1), .pair = calloc(GH_KEYS_MAX, sizeof *k->pair) };
    if (!k->store || !k->pair)
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
    take_text(k->store, text, bytes);
    char *p = k->store;
    if (!strncmp(p, "\xef\xbb\xbf", 3))
        p += 3;
    while (*p) {
        p += strspn(p, " \t\r\n;");
        if (!*p)
            break;
        size_t n = strcspn(p, "=\n#");
        if (p[n] != '=' || !n) { /* a comment, or nothing we know */
            p += strcspn(p, "\n");
            continue;
        }
        char *key = p, *value = p + n + 1;
        bool more = value[0] == '=' || (n && (p[n - 1] == '+' || p[n - 1] == '!'));
        value += strspn(value, " \t");
        char *end = value_end(value, lists);
        p = *end ? end + 1 : end;
        *end = 0;
        key[n] = 0;
        for (char *e = key + n; e > key && isspace((unsigned char)e[-1]);)
            *--e = 0;
        for (char *e = end; e > value && isspace((unsigned char)e[-1]);)
            *--e = 0;
        if (more || strpbrk(key, " \t\"'"))
            continue;
        if (k->count == GH_KEYS_MAX)
            return gh_error_set(err, -E2BIG, "ApplianceTooLarge", "“%s” has more than %d settings.", label, GH_KEYS_MAX);
        k->pair[k->count].key = key;
        k->pair[k->count++].value = value;
    }
    return 0;
}

void gh_keys_free(struct gh_keys *k)
{
    free(k->store);
    free(k->pair);
    *k = (struct gh_keys){ 0 };
}

const char *gh_keys_raw(const struct gh_keys *k, const char *key)
{
    for (unsigned i = k->count; i-- > 0;)
        if (!strcasecmp(k->pair[i].key, key))
            return k->pair[i].value;
    return NULL;
}

void gh_keys_text(const struct gh_keys *k, const char *key, char *out, size_t size)
{
    const char *raw = gh_keys_raw(k, key);
    char quote = raw && (raw[0] == '"' || raw[0] == '\'') ? raw[0] : 0;

    out[0] = 0;
    if (!raw)
        return;
    raw += quote != 0;
    size_t n = 0;
    const char *end = quote ? strchr(raw, quote) : NULL;
    n = end ? (size_t)(end - raw) : quote ? strlen(raw) : strcspn(raw, "#");
    char *copy = strndup(raw, n);
    gh_appliance_text(out, size, copy);
    free(copy);
}

unsigned long long gh_keys_number(const struct gh_keys *k, const char *key)
{
    char text[40];

    gh_keys_text(k, key, text, sizeof text);
    return text[0] == '-' ? 0 : strtoull(text, NULL, 10);
}

bool gh_keys_true(const struct gh_keys *k, const char *key)
{
    char text[16];

    gh_keys_text(k, key, text, sizeof text);
    return !strcasecmp(text, "true") || !strcasecmp(text, "yes") || !strcasecmp(text, "on") || !strcmp(text, "1");
}

bool gh_keys_item(const char **list, char *out, size_t size)
{
    const char *p = *list + strcspn(*list, "\"'");

    if (!*p)
        return false;
    const char *end = strchr(p + 1, *p);
    if (!end)
        return false;
    char *copy = strndup(p + 1, (size_t)(end - p - 1));
    gh_appliance_text(out, size, copy);
    free(copy);
    *list = end + 1;
    return true;
}
