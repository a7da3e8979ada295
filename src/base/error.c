/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/error.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void fill(struct gh_error *err, int code, const char *id, const char *option,
                 const char *fmt, va_list ap)
{
    if (!err || err->code)
        return;
    err->code = code;
    snprintf(err->id, sizeof err->id, "%s", id);
    snprintf(err->option, sizeof err->option, "%s", option);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
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

void gh_error_prefix(struct gh_error *err, const char *fmt, ...)
{
    char    prefix[256];
    char    joined[sizeof err->text];
    va_list ap;

    if (!gh_error_is_set(err))
        return;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    size_t used = (size_t)snprintf(joined, sizeof joined, "%s: ", prefix);
    snprintf(joined + used, sizeof joined - used, "%.*s", (int)(sizeof joined - used - 1), err->text);
    memcpy(err->text, joined, sizeof joined);
}

void gh_error_clear(struct gh_error *err)
{
    if (err)
        memset(err, 0, sizeof *err);
}
