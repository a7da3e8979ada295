/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/machine/net_internal.h"

#define BURST_NS 20000000            /* what may pass at once after silence */
enum { SEGMENT_HEADERS = 54 };

static void refill(struct gh_net *n)
{
    uint64_t now = gh_loop_now_ns(), ns = now - n->refilled_ns;
    int64_t most = (int64_t)(n->limit_bits / 8 * BURST_NS / 1000000000u) + 2048;

    if (ns > 1000000000u)
        ns = 1000000000u;
    int64_t more = (int64_t)((__uint128_t)n->limit_bits * ns / 8000000000u);
    if (!more)
        return;                        /* too little time for a byte: it is not forgotten */
    n->refilled_ns = now;
    n->tx_tokens = n->tx_tokens + more < most ? n->tx_tokens + more : most;
    n->rx_tokens = n->rx_tokens + more < most ? n->rx_tokens + more : most;
}

int64_t gh_net_cost(const uint8_t *header, size_t len)
{
    unsigned size = header && header[GH_VNET_GSO_TYPE] ? header[GH_VNET_GSO_SIZE] | header[GH_VNET_GSO_SIZE + 1] << 8 : 0;
    return (int64_t)(size ? len + (len / size) * SEGMENT_HEADERS : len);
}

bool gh_net_within(struct gh_net *n, int64_t *tokens)
{
    if (!n->limit_bits)
        return true;
    if (*tokens <= 0)
        refill(n);
    if (*tokens > 0)
        return true;
    uint64_t ns = (uint64_t)((__uint128_t)(uint64_t)(1 - *tokens) * 8000000000u / n->limit_bits);
    gh_loop_timer_arm(n->rate_timer, gh_loop_now_ns() + (ns < 500000 ? 500000 : ns));
    return false;
}

void gh_net_on_rate(void *opaque)
{
    struct gh_net *n = opaque;

    gh_net_lock(n);
    refill(n);
    bool receive_again = n->rx_limited;
    n->rx_limited = false;
    if (n->tx_blocked && (!n->limit_bits || n->tx_tokens > 0)) {
        n->tx_blocked = false;
        if (n->dev.writable)
            n->dev.writable(n->dev.opaque);
    } else if (n->tx_blocked) {
        gh_net_within(n, &n->tx_tokens);
    }
    gh_net_unlock(n);
    if (receive_again)
        gh_net_resume_receive(n);
}
