/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"

/* A disk that is slow holds the machine up for one write of this size at a time. */
enum { BUFFER = 256 * 1024, SECTION = 0x0a0d0d0a, INTERFACE = 1, PACKET = 6, ETHERNET_LINK = 1, FRAME_MAX = 65536 + 64 };
enum { OPT_NAME = 2, OPT_RESOLUTION = 9, OPT_FLAGS = 2, OPT_HARDWARE_APPLICATION = 4 };

static void word(struct gh_net_capture *c, uint32_t v)
{
    memcpy(c->buffer + c->used, &v, 4); /* the section's magic says which byte order that is */
    c->used += 4;
}

static void option(struct gh_net_capture *c, uint16_t code, const void *data, size_t len)
{
    word(c, code | (uint32_t)len << 16);
    memset(c->buffer + c->used, 0, (len + 3) & ~3u);
    memcpy(c->buffer + c->used, data, len);
    c->used += (len + 3) & ~3u;
}

/* A block's length stands at both of its ends. */
static size_t begin(struct gh_net_capture *c, uint32_t type)
{
    size_t at = c->used;

    word(c, type);
    word(c, 0);
    return at;
}
static void end(struct gh_net_capture *c, size_t at)
{
    uint32_t len = (uint32_t)(c->used - at + 4);

    word(c, len);
    memcpy(c->buffer + at + 4, &len, 4);
}

int gh_net_capture_open(struct gh_net_capture *c, int fd, const char *name, struct gh_error *err)
{
    static const char program[] = "Gasthaus " GH_VERSION;
    const uint8_t nanoseconds = 9;
    struct stat st;

    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return gh_error_option(err, -EINVAL, "DescriptorNotFile", "fd", "A capture goes into a regular file.");
    }
    *c = (struct gh_net_capture){ .fd = fd, .buffer = malloc(BUFFER) };
    if (!c->buffer) {
        close(fd);
        c->fd = -1;
        return gh_error_set(err, -ENOMEM, "OutOfMemory", "There is no memory for the capture.");
    }
    size_t at = begin(c, SECTION);
    word(c, 0x1a2b3c4d);
    word(c, 1);                        /* version 1.0 */
    word(c, 0xffffffff);               /* the section's length is not known */
    word(c, 0xffffffff);
    option(c, OPT_HARDWARE_APPLICATION, program, sizeof program - 1);
    word(c, 0);
    end(c, at);
    at = begin(c, INTERFACE);
    word(c, ETHERNET_LINK);
    word(c, 0);                        /* whole frames */
    option(c, OPT_NAME, name, strlen(name));
    option(c, OPT_RESOLUTION, &nanoseconds, 1);
    word(c, 0);
    end(c, at);
    return 0;
}

int gh_net_capture_frame(struct gh_net_capture *c, enum gh_net_direction direction, const struct iovec *iov, unsigned count)
{
    struct timespec now;
    size_t len = 0;

    for (unsigned i = 0; i < count; i++)
        len += iov[i].iov_len;
    if (len > FRAME_MAX)
        return 0;
    if (c->used + len + 64 > BUFFER) {
        int r = gh_net_capture_flush(c);
        if (r)
            return r;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    const uint32_t flags = direction;
    size_t at = begin(c, PACKET);
    word(c, 0);
    word(c, (uint32_t)(ns >> 32));
    word(c, (uint32_t)ns);
    word(c, (uint32_t)len);
    word(c, (uint32_t)len);
    for (unsigned i = 0; i < count; i++) {
        memcpy(c->buffer + c->used, iov[i].iov_base, iov[i].iov_len);
        c->used += iov[i].iov_len;
    }
    while ((c->used - at) & 3)
        c->buffer[c->used++] = 0;
    option(c, OPT_FLAGS, &flags, 4);
    word(c, 0);
    end(c, at);
    return 0;
}

int gh_net_capture_flush(struct gh_net_capture *c)
{
    size_t done = 0;
    int r = 0;

    while (done < c->used && !r) {
        ssize_t n = write(c->fd, c->buffer + done, c->used - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            r = n ? -errno : -EIO;
        else
            done += (size_t)n;
    }
    c->bytes += done;
    c->used = 0;
    return r;
}

void gh_net_capture_close(struct gh_net_capture *c)
{
    if (c->fd >= 0 && c->buffer) {
        gh_net_capture_flush(c);
        close(c->fd);
    }
    free(c->buffer);
    *c = (struct gh_net_capture){ .fd = -1 };
}
