/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/device.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { GUEST_ERRORS_LOGGED_A_SECOND = 10 };

/* ---- DMA ----------------------------------------------------------------------------------------- */

static bool dma_copy(struct gh_device *dev, uint64_t gpa, uint8_t *buf, uint64_t bytes, bool write)
{
    while (bytes) {
        struct gh_dma map;

        if (!dev->ops->dma_map(dev->board, gpa, bytes, write, &map))
            return false;
        uint64_t n = map.bytes < bytes ? map.bytes : bytes;
        if (write)
            memcpy(map.host, buf, n);
        else
            memcpy(buf, map.host, n);
        dev->ops->dma_unmap(dev->board, &map);
        if (!n)
            return false;
        buf += n;
        bytes -= n;
        if (!gh_add_u64(gpa, n, &gpa) && bytes)
            return false;
    }
    return true;
}

bool gh_dma_read(struct gh_device *dev, uint64_t gpa, void *buf, uint64_t bytes)
{
    return dma_copy(dev, gpa, buf, bytes, false);
}

bool gh_dma_write(struct gh_device *dev, uint64_t gpa, const void *buf, uint64_t bytes)
{
    return dma_copy(dev, gpa, (uint8_t *)(uintptr_t)buf, bytes, true);
}

/* ---- Guest errors -------------------------------------------------------------------------------- */

void gh_guest_error(struct gh_device *dev, const char *fmt, ...)
{
    char    text[256];
    va_list ap;

    dev->guest_errors++;
    if (!gh_log_enabled(GH_LOG_GUEST))
        return;
    uint64_t second = gh_now_ns(dev) / 1000000000u;
    if (second != dev->guest_error_second) {
        dev->guest_error_second = second;
        dev->guest_errors_logged = 0;
    }
    if (dev->guest_errors_logged >= GUEST_ERRORS_LOGGED_A_SECOND)
        return;
    dev->guest_errors_logged++;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    gh_log(GH_LOG_GUEST, "%s: %s", dev->id, text);
}

/* ---- Options ------------------------------------------------------------------------------------- */

static const struct gh_option *find_option(const struct gh_option *table, const char *name)
{
    for (const struct gh_option *o = table; o && o->name; o++)
        if (!strcmp(o->name, name))
            return o;
    return NULL;
}

static bool is_backend(enum gh_type type)
{
    return type == GH_T_BLOCK || type == GH_T_CHAR || type == GH_T_NET;
}

static int unknown_option(const char *name, struct gh_error *err)
{
    return gh_error_option(err, -ENOENT, "DeviceOptionUnknown", name,
                           "The device has no option \"%s\"; remove it or correct its name.", name);
}

static int set_bool(const struct gh_option *o, bool *field, const char *value, struct gh_error *err)
{
    static const char *const yes[] = {"true", "on", "yes", "1"};
    static const char *const no[] = {"false", "off", "no", "0"};

    for (unsigned i = 0; i < GH_ARRAY_LEN(yes); i++) {
        if (!strcmp(value, yes[i]) || !strcmp(value, no[i])) {
            *field = !strcmp(value, yes[i]);
            return 0;
        }
    }
    return gh_error_option(err, -EINVAL, "DeviceOptionInvalid", o->name,
                           "\"%s\" is not a switch value for \"%s\"; use on or off.", value, o->name);
}

/* Decimal, 0x hexadecimal, or a number with one of the binary suffixes K, M, G, T. */
static bool parse_number(const char *text, uint64_t *ret)
{
    static const char suffixes[] = "KMGT";
    bool     hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    char    *end;

    if (!(text[0] >= '0' && text[0] <= '9'))
        return false;
    errno = 0;
    unsigned long long n = strtoull(text, &end, hex ? 16 : 10);
    if (errno || end == text)
        return false;
    *ret = n;
    if (!*end)
        return true;
    const char *suffix = strchr(suffixes, *end);
    if (hex || !suffix || end[1])
        return false;
    return gh_mul_u64(n, 1ull << (10 * (suffix - suffixes + 1)), ret);
}

static int set_number(const struct gh_option *o, void *field, const char *value, struct gh_error *err)
{
    uint64_t type_max = gh_width_mask(o->size), n;
    uint64_t max = o->max && o->max < type_max ? o->max : type_max;

    if (!parse_number(value, &n))
        return gh_error_option(err, -EINVAL, "DeviceOptionInvalid", o->name,
                               "\"%s\" is not a number for \"%s\"; write it in decimal or as 0x....",
                               value, o->name);
    if (n < o->min || n > max)
        return gh_error_option(err, -ERANGE, "DeviceOptionRange", o->name,
                               "%s is out of range for \"%s\"; choose %" PRIu64 " to %" PRIu64 ".",
                               value, o->name, o->min, max);
    switch (o->type) {
    case GH_T_U8:  *(uint8_t *)field = (uint8_t)n; break;
    case GH_T_U16: *(uint16_t *)field = (uint16_t)n; break;
    case GH_T_U32: *(uint32_t *)field = (uint32_t)n; break;
    default:       *(uint64_t *)field = n; break;
    }
    return 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Pairs of hexadecimal digits, with or without ':' or '-' between the bytes: a MAC, a UUID. */
static int set_bytes(const struct gh_option *o, uint8_t *field, const char *value, struct gh_error *err)
{
    uint8_t     bytes[64];
    const char *p = value;
    uint32_t    n = 0;

    while (*p && n < o->size && n < sizeof bytes) {
        if (n && (*p == ':' || *p == '-'))
            p++;
        int high = hex_digit(p[0]), low = high < 0 ? -1 : hex_digit(p[1]);
        if (low < 0)
            break;
        bytes[n++] = (uint8_t)(high << 4 | low);
        p += 2;
    }
    if (*p || n != o->size)
        return gh_error_option(err, -EINVAL, "DeviceOptionInvalid", o->name,
                               "\"%s\" is not %u bytes in hexadecimal for \"%s\"; write two digits a byte.",
                               value, o->size, o->name);
    memcpy(field, bytes, n);
    return 0;
}

static int set_string(const struct gh_option *o, char *field, const char *value, struct gh_error *err)
{
    size_t len = strlen(value);

    if (len >= o->size)
        return gh_error_option(err, -ENAMETOOLONG, "DeviceOptionTooLong", o->name,
                               "\"%.64s\" is too long for \"%s\"; use at most %u bytes.", value, o->name,
                               o->size - 1);
    memset(field, 0, o->size);
    memcpy(field, value, len);
    return 0;
}

int gh_option_set(const struct gh_option *table, void *state, const char *name, const char *value,
                  struct gh_error *err)
{
    const struct gh_option *o = find_option(table, name);

    if (!o)
        return unknown_option(name, err);
    void *field = (char *)state + o->offset;
    switch (o->type) {
    case GH_T_BOOL:   return set_bool(o, field, value, err);
    case GH_T_U8:
    case GH_T_U16:
    case GH_T_U32:
    case GH_T_U64:    return set_number(o, field, value, err);
    case GH_T_STRING: return set_string(o, field, value, err);
    case GH_T_BYTES:  return set_bytes(o, field, value, err);
    default:
        return gh_error_option(err, -EINVAL, "DeviceOptionBackend", name,
                               "\"%s\" connects a backend and cannot be set to the text \"%s\"; "
                               "attach a medium or a port instead.", name, value);
    }
}

int gh_option_defaults(const struct gh_option *table, void *state, struct gh_error *err)
{
    for (const struct gh_option *o = table; o && o->name; o++) {
        if (is_backend(o->type) || !o->fallback)
            continue;
        int r = gh_option_set(table, state, o->name, o->fallback, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int gh_option_pointer(const struct gh_option *table, void *state, const char *name, void *pointer,
                      struct gh_error *err)
{
    const struct gh_option *o = find_option(table, name);

    if (!o)
        return unknown_option(name, err);
    if (!is_backend(o->type))
        return gh_error_option(err, -EINVAL, "DeviceOptionBackend", name,
                               "The option \"%s\" takes a value, not a backend; give it as text.", name);
    memcpy((char *)state + o->offset, &pointer, sizeof pointer);
    return 0;
}
