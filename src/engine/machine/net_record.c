/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/net_internal.h"

#include <string.h>

#define CAPTURE_NS 300000000ull        /* frames reach the file that soon */

static void capture_failed(struct gh_net *n, int r)
{
    struct gh_net_finished *f = n->finished_count < GH_NET_PENDING ? &n->finished[n->finished_count++] : NULL;

    gh_net_capture_close(&n->capture);
    if (f) {
        *f = (struct gh_net_finished){ 0 };
        gh_error_set(&f->err, r, "CaptureEnded", "The capture of “%s” ended: %s. The file holds what came before; make room and start another.",
                     n->name, strerror(-r));
    }
    gh_net_notify(n);
}

void gh_net_capture_one(struct gh_net *n, enum gh_net_direction direction, const uint8_t *frame, size_t len)
{
    int r = gh_net_capture_frame(&n->capture, direction, &(struct iovec){ (void *)(uintptr_t)frame, len }, 1);

    if (r)
        capture_failed(n, r);
    else
        gh_loop_timer_arm(n->capture_timer, gh_loop_now_ns() + CAPTURE_NS);
}

void gh_net_on_capture(void *opaque)
{
    struct gh_net *n = opaque;

    gh_net_lock(n);
    int r = n->capture.buffer ? gh_net_capture_flush(&n->capture) : 0;
    if (r)
        capture_failed(n, r);
    gh_net_unlock(n);
}
