/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "appliance/digest.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { CHUNK = 1 << 20 };

int gh_digest(GChecksumType type, int fd, uint64_t at, uint64_t bytes, bool (*tell)(void *opaque, uint64_t more), void *opaque,
              char ret[GH_DIGEST_TEXT])
{
    g_autoptr(GChecksum) sum = g_checksum_new(type);
    g_autofree guchar *buf = g_malloc(CHUNK);

    for (uint64_t done = 0; done < bytes;) {
        ssize_t n = pread(fd, buf, bytes - done < CHUNK ? (size_t)(bytes - done) : CHUNK, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        g_checksum_update(sum, buf, n);
        done += (uint64_t)n;
        if (tell && !tell(opaque, (uint64_t)n))
            return -ECANCELED;
    }
    snprintf(ret, GH_DIGEST_TEXT, "%s", g_checksum_get_string(sum));
    return 0;
}
