/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What an error's sentence is made from: the format and each argument, whatever the arguments are. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "check.h"

#define A "\x1f"
#define P "\x1e"

static void is(const char *message, const char *wanted)
{
    if (strcmp(message, wanted))
        fprintf(stderr, "got “%s”, wanted “%s”\n", message, wanted);
    CHECK(!strcmp(message, wanted));
}

int main(void)
{
    struct gh_error e = { 0 };
    char long_name[900];

    gh_error_set(&e, -EBUSY, "DiskLocked", "“%s” is in use by %s.", "a b", "nobody");
    is(e.text, "“a b” is in use by nobody.");
    is(e.message, "“%s” is in use by %s." A "a b" A "nobody");
    gh_error_prefix(&e, "Device “%s”", "ide0");
    is(e.text, "Device “ide0”: “a b” is in use by nobody.");
    is(e.message, "Device “%s”" A "ide0" P "“%s” is in use by %s." A "a b" A "nobody");

    gh_error_clear(&e);
    gh_error_set(&e, -EIO, "Numbers", "%d %u %lld %zu %#llx %04x %c %.1f %.*s|%-4s|%3d %" PRIu64 " 100%%", -1, 2u, -3ll, (size_t)4, 0x55ull, 6u,
                 '7', 8.25, 2, "abc", "d", 9, UINT64_MAX);
    is(e.message, "%d %u %lld %zu %#llx %04x %c %.1f %.*s|%-4s|%3d %" PRIu64 " 100%%" A "-1" A "2" A "-3" A "4" A "0x55" A "0006" A "7" A
       "8.2" A "ab" A "d   " A "  9" A "18446744073709551615");

    gh_error_clear(&e);
    gh_error_set(&e, -EIO, "Plain", "Nothing was changed.");
    is(e.message, "Nothing was changed.");
    gh_error_clear(&e);
    gh_error_set(&e, -EIO, "Whole", "%s", "50% of “x" A "y”");
    is(e.message, "50%% of “x?y”"); /* a sentence from elsewhere is no format, and holds no separators */
    gh_error_clear(&e);
    gh_error_set(&e, -EIO, "Name", "“%s” is bad.", "a" A "b" P "c");
    is(e.message, "“%s” is bad." A "a?b?c");

    /* Too much to carry: the sentence alone. */
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    gh_error_clear(&e);
    gh_error_set(&e, -EIO, "Long", "%s, %s.", long_name, long_name);
    is(e.message, "");
    CHECK(strlen(e.text) == sizeof e.text - 1);

    /* Handed on from another process. */
    gh_error_clear(&e);
    CHECK_EQ(gh_error_carry(&e, -EIO, "DiskLocked", NULL, "“a” is in use.", "“%s” is in use." A "a"), -EIO);
    is(e.text, "“a” is in use.");
    is(e.message, "“%s” is in use." A "a");
    gh_error_carry(&e, -EIO, "Second", NULL, "is not heard", NULL);
    is(e.id, "DiskLocked");
    return check_result();
}
