/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "appliance/tar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

enum { EXTENSION_BYTES_MAX = 65536 };
enum { NAME = 0, NAME_LEN = 100, MODE = 100, UID = 108, GID = 116, SIZE = 124, MTIME = 136, SUM = 148, TYPE = 156, MAGIC = 257, PREFIX = 345, PREFIX_LEN = 155 };

/* Octal digits, or GNU's base 256 when the top bit is set. */
static bool number(const uint8_t *p, size_t n, uint64_t *ret)
{
    uint64_t v = 0;
    size_t i = 0;

    if (p[0] & 0x80) {
        if (p[0] != 0x80)
            return false;
        for (i = 1; i < n; i++) {
            if (v >> 55)
                return false;
            v = v << 8 | p[i];
        }
        *ret = v;
        return true;
    }
    while (i < n && p[i] == ' ')
        i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
        v = v << 3 | (uint64_t)(p[i] - '0');
    if (i < n && p[i] && p[i] != ' ')
        return false;
    *ret = v;
    return true;
}

static bool sum_is_right(const uint8_t *b)
{
    uint64_t stated;
    uint32_t sum = 0;

    for (unsigned i = 0; i < GH_TAR_BLOCK; i++)
        sum += i >= SUM && i < SUM + 8 ? ' ' : b[i];
    return number(b + SUM, 8, &stated) && stated == sum;
}

bool gh_tar_probe(const uint8_t *head, size_t len)
{ return len >= GH_TAR_BLOCK && head[0] && sum_is_right(head) && (!memcmp(head + MAGIC, "ustar", 5) || !head[MAGIC]); }

static int damaged(struct gh_error *err, const char *label, const char *what)
{ return gh_error_set(err, -EUCLEAN, "ApplianceDamaged", "“%s” is damaged: %s. Get it again from where it came from.", label, what); }

static int check_member(const struct gh_tar *tar, const char *label, const char *name, char type, struct gh_error *err)
{
    const char *why = NULL;

    if (type == 'S')
        why = GH_WORD("is a sparse file, which only tar unpacks: pack it without --sparse");
    else if (type != '0' && type != 0)
        why = GH_WORD("is not a plain file");
    else if (!name[0] || strchr(name, '/') || strchr(name, '\\') || !strcmp(name, ".") || !strcmp(name, ".."))
        why = GH_WORD("does not stay in its folder");
    else if (gh_tar_find(tar, name))
        why = GH_WORD("is there twice");
    for (const char *p = name; *p && !why; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            why = GH_WORD("has control characters in its name");
    if (!why)
        return 0;
    return gh_error_set(err, -EPERM, "ApplianceMemberRefused", "“%s” is refused: its member “%.100s” %s. Nothing was imported.", label, name, why);
}

/* pax records "<length> <key>=<value>\n": only name and size matter. */
static int take_pax(char *text, size_t len, char *name, size_t room, uint64_t *size, bool *has_size)
{
    for (size_t at = 0; at < len;) {
        char *end;
        unsigned long n = strtoul(text + at, &end, 10);
        size_t skip = (size_t)(end - text) - at + 1;
        if (!n || n > len - at || *end != ' ' || skip >= n || text[at + n - 1] != '\n')
            return -EUCLEAN;
        text[at + n - 1] = 0;
        char *record = end + 1;
        if (strlen(record) != n - skip - 1)
            return -EUCLEAN;
        if (!strncmp(record, "path=", 5)) {
            if (strlen(record + 5) >= room)
                return -EUCLEAN;
            snprintf(name, room, "%s", record + 5);
        } else if (!strncmp(record, "size=", 5)) {
            *size = strtoull(record + 5, &end, 10);
            *has_size = true;
            if (*end || *size > INT64_MAX)
                return -EUCLEAN;
        } else if (!strncmp(record, "GNU.sparse", 10) || !strncmp(record, "linkpath=", 9)) {
            return -EUCLEAN;
        }
        at += n;
    }
    return 0;
}

int gh_tar_read(int fd, const char *label, struct gh_tar *tar, struct gh_error *err)
{
    struct stat st;
    uint64_t at = 0, pax_size = 0;
    char long_name[256] = "";
    bool has_size = false;

    memset(tar, 0, sizeof *tar);
    if (fstat(fd, &st) < 0)
        return gh_error_set(err, -errno, "FileUnreadable", "“%s” cannot be read: %s.", label, strerror(errno));
    uint64_t whole = (uint64_t)st.st_size;
    for (;;) {
        uint8_t b[GH_TAR_BLOCK + 1] = { 0 };
        static const uint8_t none[GH_TAR_BLOCK];
        if (at == whole && tar->count) /* no end marker: some writers stop here */
            return 0;
        if (!gh_range_in(at, GH_TAR_BLOCK, whole) || pread(fd, b, GH_TAR_BLOCK, (off_t)at) != GH_TAR_BLOCK)
            return damaged(err, label, GH_WORD("it ends too early"));
        if (!memcmp(b, none, GH_TAR_BLOCK))
            return tar->count ? 0 : damaged(err, label, GH_WORD("it is empty"));
        uint64_t bytes;
        if (!sum_is_right(b) || !number(b + SIZE, 12, &bytes))
            return damaged(err, label, GH_WORD("a member's header makes no sense"));
        at += GH_TAR_BLOCK;
        char type = (char)b[TYPE];
        bool extension = type == 'x' || type == 'g' || type == 'L';
        if (has_size && !extension)
            bytes = pax_size;
        if (!gh_range_in(at, bytes, whole))
            return damaged(err, label, GH_WORD("a member is longer than the file"));
        if (extension) {
            if (bytes > EXTENSION_BYTES_MAX)
                return damaged(err, label, GH_WORD("a member's extended header is too long"));
            char *text = calloc(1, bytes + 1);
            int r = !text ? -ENOMEM : pread(fd, text, bytes, (off_t)at) != (ssize_t)bytes ? -EIO : 0;
            if (!r && type == 'L')
                r = strlen(text) < sizeof long_name ? snprintf(long_name, sizeof long_name, "%s", text), 0 : -EUCLEAN;
            else if (!r && type == 'x')
                r = take_pax(text, bytes, long_name, sizeof long_name, &pax_size, &has_size);
            free(text);
            if (r < 0)
                return damaged(err, label, GH_WORD("a member's extended header makes no sense"));
        } else {
            char name[256 + 2];
            bool ustar = !memcmp(b + MAGIC, "ustar", 6) && b[PREFIX];
            if (long_name[0])
                snprintf(name, sizeof name, "%s", long_name);
            else
                snprintf(name, sizeof name, "%.*s%s%.*s", ustar ? PREFIX_LEN : 0, b + PREFIX, ustar ? "/" : "", NAME_LEN, b + NAME);
            if (tar->count == GH_TAR_MEMBERS_MAX)
                return gh_error_set(err, -E2BIG, "ApplianceTooLarge", "“%s” is refused: it has more than %d members.", label, GH_TAR_MEMBERS_MAX);
            /* "./name" is what "tar c ." writes. */
            const char *simple = !strncmp(name, "./", 2) && name[2] ? name + 2 : name;
            if (type == '5' && !bytes && (!strcmp(name, "./") || !strcmp(name, "."))) { /* and this, for the folder itself */
                long_name[0] = 0;
                has_size = false;
                continue;
            }
            int r = check_member(tar, label, simple, type, err);
            if (r < 0)
                return r;
            struct gh_tar_member *m = &tar->member[tar->count++];
            snprintf(m->name, sizeof m->name, "%.255s", simple);
            m->at = at;
            m->bytes = bytes;
            long_name[0] = 0;
            has_size = false;
        }
        at += (bytes + GH_TAR_BLOCK - 1) / GH_TAR_BLOCK * GH_TAR_BLOCK;
        if (at > whole) /* the last member's padding may be missing */
            at = whole;
    }
}

const struct gh_tar_member *gh_tar_find(const struct gh_tar *tar, const char *name)
{
    for (unsigned i = 0; i < tar->count; i++)
        if (!strcmp(tar->member[i].name, name))
            return &tar->member[i];
    return NULL;
}

int gh_tar_header(uint8_t b[GH_TAR_BLOCK], const char *name, uint64_t bytes, int64_t mtime)
{
    uint32_t sum = 0;

    if (strlen(name) >= NAME_LEN)
        return -ENAMETOOLONG;
    memset(b, 0, GH_TAR_BLOCK);
    memcpy(b + NAME, name, strlen(name));
    memcpy(b + MODE, "0000644", 8);
    memcpy(b + UID, "0000000", 8);
    memcpy(b + GID, "0000000", 8);
    if (bytes >> 33) { /* eleven octal digits do not hold it */
        b[SIZE] = 0x80;
        gh_be64_put(b + SIZE + 4, bytes);
    } else {
        snprintf((char *)b + SIZE, 12, "%011llo", (unsigned long long)bytes);
    }
    snprintf((char *)b + MTIME, 12, "%011llo", (unsigned long long)(mtime < 0 ? 0 : mtime) & 077777777777ull);
    b[TYPE] = '0';
    memcpy(b + MAGIC, "ustar\00000", 8);
    memset(b + SUM, ' ', 8);
    for (unsigned i = 0; i < GH_TAR_BLOCK; i++)
        sum += b[i];
    snprintf((char *)b + SUM, 8, "%06o", sum);
    b[SUM + 7] = ' ';
    return 0;
}
