/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/backend/net/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

enum { PREFIX = 4, RX_BYTES = 512 * 1024, LENGTH_MASK = 0xffffff };
_Static_assert(RX_BYTES > 2 * (GH_WIRE_RECORD_MAX + PREFIX), "a record must fit behind the rest of another");

int gh_wire_init(struct gh_wire *w, int fd, size_t tx_capacity)
{
    *w = (struct gh_wire){ .fd = fd, .tx_capacity = tx_capacity };
    int flags = fcntl(fd, F_GETFL);
    w->rx = malloc(RX_BYTES);
    w->tx = malloc(tx_capacity);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || !w->rx || !w->tx) {
        gh_wire_fini(w);
        return -ENOMEM;
    }
    return 0;
}

void gh_wire_fini(struct gh_wire *w)
{
    if (w->fd >= 0 && w->rx)
        close(w->fd);
    free(w->rx);
    free(w->tx);
    *w = (struct gh_wire){ .fd = -1 };
}

bool gh_wire_put(struct gh_wire *w, enum gh_wire_kind kind, const struct iovec *iov, unsigned count)
{
    size_t len = 0;

    for (unsigned i = 0; i < count; i++)
        len += iov[i].iov_len;
    if (len > GH_WIRE_RECORD_MAX)
        return true;                              /* no wire takes it: lost */
    if (gh_wire_waiting(w) + PREFIX + len > w->tx_capacity)
        return false;
    if (w->tx_end + PREFIX + len > w->tx_capacity) {
        memmove(w->tx, w->tx + w->tx_start, gh_wire_waiting(w));
        w->tx_end -= w->tx_start;
        w->tx_start = 0;
    }
    gh_be32_put(w->tx + w->tx_end, (uint32_t)len | (uint32_t)kind << 24);
    w->tx_end += PREFIX;
    for (unsigned i = 0; i < count; i++) {
        memcpy(w->tx + w->tx_end, iov[i].iov_base, iov[i].iov_len);
        w->tx_end += iov[i].iov_len;
    }
    return true;
}

int gh_wire_flush(struct gh_wire *w)
{
    while (w->tx_start < w->tx_end) {
        ssize_t n = send(w->fd, w->tx + w->tx_start, w->tx_end - w->tx_start, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        w->tx_start += (size_t)n;
    }
    w->tx_start = w->tx_end = 0;
    return 0;
}

int gh_wire_fill(struct gh_wire *w)
{
    if (w->rx_start == w->rx_end)
        w->rx_start = w->rx_end = 0;
    /* Room for a whole record is kept, so that one recv usually brings many. */
    if (RX_BYTES - w->rx_end < GH_WIRE_RECORD_MAX + PREFIX && w->rx_start) {
        memmove(w->rx, w->rx + w->rx_start, w->rx_end - w->rx_start);
        w->rx_end -= w->rx_start;
        w->rx_start = 0;
    }
    if (w->rx_end == RX_BYTES)
        return -ENOBUFS;
    ssize_t n;
    do
        n = recv(w->fd, w->rx + w->rx_end, RX_BYTES - w->rx_end, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    w->rx_end += (size_t)n;
    return (int)n;
}

int gh_wire_next(struct gh_wire *w, struct gh_wire_record *ret)
{
    size_t have = w->rx_end - w->rx_start;

    if (have < PREFIX)
        return 0;
    uint32_t word = gh_be32_get(w->rx + w->rx_start), len = word & LENGTH_MASK, kind = word >> 24;
    if (len > GH_WIRE_RECORD_MAX || kind > GH_WIRE_CONTROL)
        return -EPROTO;
    if (have < PREFIX + len)
        return 0;
    *ret = (struct gh_wire_record){ kind, w->rx + w->rx_start + PREFIX, len };
    w->rx_start += PREFIX + len;
    return 1;
}

void gh_wire_unget(struct gh_wire *w, const struct gh_wire_record *record) { w->rx_start -= PREFIX + record->len; }
