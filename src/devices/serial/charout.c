/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "devices/serial/charout.h"

enum { DELAY_NS = 2000000 };

void gh_charout_init(struct gh_charout *out, struct gh_device *dev, struct gh_char *chr,
                     void (*timer)(struct gh_device *, struct gh_timer *))
{
    out->chr = chr;
    out->len = 0;
    gh_timer_init(&out->timer, dev, timer);
}

void gh_charout_flush(struct gh_charout *out)
{
    size_t taken = out->chr ? out->chr->ops->write(out->chr, out->data, out->len) : out->len;

    if (taken > out->len)
        taken = out->len;
    out->len -= (uint32_t)taken;
    memmove(out->data, out->data + taken, out->len);
    gh_timer_disarm(&out->timer);         /* what is left waits for the backend's writable */
}

size_t gh_charout_put(struct gh_charout *out, const uint8_t *data, size_t len)
{
    size_t done = 0;

    if (!out->chr)
        return len;
    while (done < len) {
        size_t n = len - done, room = gh_charout_room(out);
        bool was_empty = !out->len;
        n = n < room ? n : room;
        memcpy(out->data + out->len, data + done, n);
        out->len += (uint32_t)n;
        done += n;
        if (out->len == GH_CHAROUT_BYTES || memchr(out->data + out->len - n, '\n', n)) {
            gh_charout_flush(out);
            if (!gh_charout_room(out))
                break;
        } else if (was_empty) {
            gh_timer_arm(&out->timer, gh_now_ns(out->timer.dev) + DELAY_NS);
        }
    }
    return done;
}

void gh_charout_fini(struct gh_charout *out)
{
    if (out->timer.dev)
        gh_charout_flush(out);
}

bool gh_charout_loaded(struct gh_charout *out)
{
    if (out->len > GH_CHAROUT_BYTES)
        return false;
    if (out->len)
        gh_timer_arm(&out->timer, gh_now_ns(out->timer.dev) + DELAY_NS);
    return true;
}

const struct gh_field gh_charout_fields[] = {
    GH_FIELD(GH_T_U32, struct gh_charout, len, 1),
    GH_FIELD_ARRAY(GH_T_BYTES, struct gh_charout, data, GH_CHAROUT_BYTES, 1),
    {0},
};
