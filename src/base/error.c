/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/error.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum { SPEC_BYTES_MAX = 48 };

/* One conversion of a format: "%-8.3ju" for every integer, so that one call prints them all. */
struct conversion {
    char        spec[SPEC_BYTES_MAX];
    char        length; /* h, H (hh), l, q (ll), z, j, t or 0 */
    char        type;   /* d u x s f c p ... */
    const char *end;    /* what follows it in the format */
};

static const char *number(const char *p, char *out, size_t size, va_list *ap)
{
    if (*p == '*') {
        snprintf(out, size, "%d", va_arg(*ap, int));
        return p + 1;
    }
    size_t n = strspn(p, "0123456789");
    snprintf(out, size, "%.*s", (int)n, p);
    return p + n;
}

static void parse(const char *p, struct conversion *c, va_list *ap)
{
    char   flags[8], width[12], precision[12] = "";
    size_t n = strspn(++p, "-+ #0'");

    snprintf(flags, sizeof flags, "%.*s", (int)n, p);
    p = number(p + n, width, sizeof width, ap);
    bool precise = *p == '.';
    if (precise)
        p = number(p + 1, precision, sizeof precision, ap);
    precise = precise && precision[0] != '-'; /* a negative one is none */
    c->length = strchr("hlzjtL", *p) && *p ? *p++ : 0;
    if (c->length && (c->length == 'h' || c->length == 'l') && *p == c->length) {
        c->length = c->length == 'h' ? 'H' : 'q';
        p++;
    }
    c->type = *p;
    c->end = *p ? p + 1 : p;
    snprintf(c->spec, sizeof c->spec, "%%%s%s%s%s%s%c", flags, width, precise ? "." : "", precise ? precision : "",
             c->type && strchr("diuxXo", c->type) ? "j" : "", c->type);
}

static intmax_t take_signed(char length, va_list *ap)
{
    switch (length) {
    case 'l': return va_arg(*ap, long);
    case 'q': return va_arg(*ap, long long);
    case 'z': return va_arg(*ap, ssize_t);
    case 'j': return va_arg(*ap, intmax_t);
    case 't': return va_arg(*ap, ptrdiff_t);
    case 'h': return (short)va_arg(*ap, int);
    case 'H': return (signed char)va_arg(*ap, int);
    default: return va_arg(*ap, int);
    }
}

static uintmax_t take_unsigned(char length, va_list *ap)
{
    switch (length) {
    case 'l': return va_arg(*ap, unsigned long);
    case 'q': return va_arg(*ap, unsigned long long);
    case 'z': return va_arg(*ap, size_t);
    case 'j': return va_arg(*ap, uintmax_t);
    case 't': return (uintmax_t)va_arg(*ap, ptrdiff_t);
    case 'h': return (unsigned short)va_arg(*ap, unsigned);
    case 'H': return (unsigned char)va_arg(*ap, unsigned);
    default: return va_arg(*ap, unsigned);
    }
}

static bool print_one(const struct conversion *c, char *out, size_t size, va_list *ap)
{
    if (strchr("di", c->type))
        snprintf(out, size, c->spec, take_signed(c->length, ap));
    else if (strchr("uxXo", c->type))
        snprintf(out, size, c->spec, take_unsigned(c->length, ap));
    else if (strchr("fFeEgG", c->type) && c->length != 'L')
        snprintf(out, size, c->spec, va_arg(*ap, double));
    else if (c->type == 'c' && !c->length)
        snprintf(out, size, c->spec, va_arg(*ap, int));
    else if (c->type == 's' && !c->length)
        snprintf(out, size, c->spec, va_arg(*ap, const char *));
    else if (c->type == 'p')
        snprintf(out, size, c->spec, va_arg(*ap, void *));
    else
        return false;
    return true;
}

/* The format, then its arguments. Nothing when they do not fit or use what error sentences do not. */
static void pack(char *out, size_t size, const char *fmt, va_list *ap)
{
    char   arg[640];
    size_t used = (size_t)snprintf(out, size, "%s", fmt);

    for (const char *p = strchr(fmt, '%'); p && used < size;) {
        struct conversion c;
        parse(p, &c, ap);
        if (c.type != '%') {
            if (!c.type || !print_one(&c, arg, sizeof arg, ap))
                break;
            for (char *a = arg; *a; a++)
                if (*a == GH_ERROR_ARGUMENT || *a == GH_ERROR_PART)
                    *a = '?'; /* a file's name may hold anything */
            used += (size_t)snprintf(out + used, size - used, "%c%s", GH_ERROR_ARGUMENT, arg);
        }
        p = strchr(c.end, '%');
        if (!p && used < size)
            return;
    }
    if (used >= size || strchr(fmt, '%'))
        out[0] = 0;
}

/* A sentence handed on whole: it is its own format. */
static void pack_whole(char *out, size_t size, const char *text)
{
    size_t used = 0;

    for (; *text && used + 3 < size; text++) {
        if (*text == '%')
            out[used++] = '%';
        out[used++] = *text == GH_ERROR_ARGUMENT || *text == GH_ERROR_PART ? '?' : *text;
    }
    out[*text ? 0 : used] = 0;
}

static void fill(struct gh_error *err, int code, const char *id, const char *option,
                 const char *fmt, va_list ap)
{
    va_list again;

    if (!err || err->code)
        return;
    err->code = code;
    snprintf(err->id, sizeof err->id, "%s", id);
    snprintf(err->option, sizeof err->option, "%s", option);
    va_copy(again, ap);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    if (strcmp(fmt, "%s"))
        pack(err->message, sizeof err->message, fmt, &again);
    else
        pack_whole(err->message, sizeof err->message, err->text);
    va_end(again);
}

int gh_error_set(struct gh_error *err, int code, const char *id, const char *fmt, ...)
{
    va_list ap;

    assert(code < 0);
    va_start(ap, fmt);
    fill(err, code, id, "", fmt, ap);
    va_end(ap);
    return code;
}

int gh_error_option(struct gh_error *err, int code, const char *id, const char *option,
                    const char *fmt, ...)
{
    va_list ap;

    assert(code < 0);
    va_start(ap, fmt);
    fill(err, code, id, option, fmt, ap);
    va_end(ap);
    return code;
}

int gh_error_carry(struct gh_error *err, int code, const char *id, const char *option, const char *text, const char *message)
{
    assert(code < 0);
    if (!err || err->code)
        return code;
    gh_error_option(err, code, id, option ? option : "", "%s", text);
    if (message && message[0] && strlen(message) < sizeof err->message)
        snprintf(err->message, sizeof err->message, "%s", message);
    return code;
}

void gh_error_prefix(struct gh_error *err, const char *fmt, ...)
{
    char    prefix[256];
    char    joined[sizeof err->text], message[sizeof err->message];
    va_list ap, again;

    if (!gh_error_is_set(err))
        return;
    va_start(ap, fmt);
    va_copy(again, ap);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    pack(message, sizeof message, fmt, &again);
    va_end(again);
    va_end(ap);
    size_t used = (size_t)snprintf(joined, sizeof joined, "%s: ", prefix);
    snprintf(joined + used, sizeof joined - used, "%.*s", (int)(sizeof joined - used - 1), err->text);
    memcpy(err->text, joined, sizeof joined);
    used = strlen(message);
    if (used && err->message[0] && used + strlen(err->message) + 2 < sizeof message)
        snprintf(message + used, sizeof message - used, "%c%.*s", GH_ERROR_PART, (int)(sizeof message - used - 2), err->message);
    else
        message[0] = 0;
    memcpy(err->message, message, sizeof message);
}

void gh_error_clear(struct gh_error *err)
{
    if (err)
        memset(err, 0, sizeof *err);
}
