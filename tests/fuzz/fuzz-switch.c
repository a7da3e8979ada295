/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The switch of internal networks: wire records as they come from four ports, in pieces, through the wire's own reader. */
#include <unistd.h>

#include <sys/socket.h>

#include "engine/backend/net/frame.h"
#include "engine/backend/net/switch.h"
#include "fuzz.h"

static unsigned sent;

static void on_send(void *opaque, unsigned port, enum gh_wire_kind kind, const struct iovec *iov, unsigned count)
{
    const struct gh_switch *s = opaque;
    const uint8_t *first = iov[0].iov_base;
    struct gh_frame f;

    if (port >= SWITCH_PORTS || !s->port[port].used || count != 1 || iov[0].iov_len > GH_WIRE_RECORD_MAX || kind == GH_WIRE_CONTROL)
        abort();
    if (kind == GH_WIRE_OFFLOAD && !s->port[port].csum)
        abort();                               /* it was never asked for */
    if (kind == GH_WIRE_FRAME) {
        static uint8_t copy[GH_WIRE_RECORD_MAX];
        memcpy(copy, first, iov[0].iov_len);
        gh_frame_parse(copy, iov[0].iov_len, &f);
        if (f.transport && (f.transport < copy || f.transport + f.transport_len > copy + iov[0].iov_len))
            abort();
    }
    sent++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gh_switch s;
    static uint8_t text[GH_WIRE_RECORD_MAX];
    struct fuzz in = { data, size };

    if (gh_switch_init(&s, on_send, &s))
        abort();
    for (unsigned i = 0; i < 4; i++)
        gh_switch_attach(&s, i);
    sent = 0;
    for (unsigned steps = 0; in.left && steps < 200; steps++) {
        uint8_t what = fuzz_u8(&in);
        unsigned port = what & 3;
        struct gh_wire_record r = { GH_WIRE_FRAME, text, 0 };
        switch (what >> 2 & 7) {
        case 0: case 1: case 2:
            r.kind = what >> 2 & 7;
            r.len = fuzz_u8(&in) + (what & 0x20 ? 1500u : 0) + (what & 0x40 ? 40000u : 0);
            memset(text, 0, 128);
            fuzz_bytes(&in, text, r.len < 100 ? r.len : 100);
            break;
        case 3: case 4: case 5: {              /* an offload record with a TCP frame in it, nearly right */
            uint8_t *f = text + GH_WIRE_HEADER;
            r.kind = GH_WIRE_OFFLOAD;
            r.len = GH_WIRE_HEADER + 60u + fuzz_u16(&in) % 60000;
            memset(text, 0, 128);
            text[0] = GH_VNET_NEEDS_CSUM;
            text[1] = GH_VNET_GSO_TCPV4;
            f[5] = what >> 5;
            f[11] = (uint8_t)port;
            gh_be16_put(f + 12, 0x0800);
            f[14] = 0x45;
            gh_be16_put(f + 16, (uint16_t)(r.len - GH_WIRE_HEADER - 14));
            f[23] = 6;
            f[46] = 0x50;
            gh_le16_put(text + GH_VNET_GSO_SIZE, fuzz_u16(&in));
            for (unsigned n = fuzz_u8(&in) & 3; n; n--) {
                uint8_t at = fuzz_u8(&in);
                text[at & 127] = fuzz_u8(&in);
            }
            break;
        }
        case 6: {
            const char *offload = what & 0x20 ? "{\"verb\": \"offload\", \"csum\": true, \"tso4\": true, \"tso6\": true}" : "{\"verb\": \"offload\"}";
            r = (struct gh_wire_record){ GH_WIRE_CONTROL, text, strlen(offload) };
            memcpy(text, offload, r.len);
            break;
        }
        default:
            if (s.port[port].used)
                gh_switch_detach(&s, port);
            else
                gh_switch_attach(&s, port);
            continue;
        }
        if (s.port[port].used)
            gh_switch_take(&s, port, &r, fuzz_u8(&in) * 10u);
    }
    gh_switch_fini(&s);

    /* The wire's reader on the same bytes. */
    int pair[2];
    struct gh_wire w;
    struct gh_wire_record r;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || gh_wire_init(&w, pair[0], 4096))
        abort();
    ssize_t ignored = write(pair[1], data, size < 60000 ? size : 60000);
    (void)ignored;
    gh_wire_fill(&w);
    while (gh_wire_next(&w, &r) == 1)
        if (r.len > GH_WIRE_RECORD_MAX || r.data + r.len > w.rx + w.rx_end)
            abort();
    gh_wire_fini(&w);
    close(pair[1]);
    return 0;
}
