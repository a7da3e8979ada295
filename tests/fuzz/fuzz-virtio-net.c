/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The virtio network card: chains, headers, control commands, frames from the wire, registers, memory. */
#include "fuzz.h"

#include "../device/virtio-helper.h"

enum { DEVFN = 4 << 3, BUFFERS = 0x400000 };

/* A chain of up to four descriptors into the buffers, with what the input wants in the first bytes. */
static void offer(struct fuzz *in, struct vio *d, unsigned queue, uint8_t what)
{
    unsigned count = 1 + (what & 3), head = fuzz_u8(in) % 16;
    for (unsigned i = 0; i < count; i++) {
        uint16_t length = fuzz_u16(in), flags = (uint16_t)(i + 1 < count ? D_NEXT : 0);
        uint64_t at = BUFFERS + (head + i) % 16 * 0x10000u;
        if (queue == 0 || (queue == 2 && i + 1 == count))
            flags |= D_WRITE;
        if (what & 0x80 && i == 0)
            flags = fuzz_u16(in);
        else if (queue && i == 0)
            fuzz_memory(in, d->b, at, what & 8 ? 96 : 40);
        vq_set(d, queue, (head + i) % 16, at, length, flags, (uint16_t)((head + i + 1) % 16));
    }
    vq_offer(d, queue, (uint16_t)head);
    vq_kick(d, queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t frame[70000];
    struct fuzz in = { data, size };
    struct gh_board *b = fuzz_board();
    struct fake_net net;
    struct vio d;
    fake_net_init(&net);
    uint8_t first = fuzz_u8(&in);
    net.net.can = (struct gh_net_offload){ .csum = first & 1, .tso4 = first & 2, .tso6 = first & 4 };
    struct gh_device *dev = fake_create(b, "virtio-net", "net0");
    fake_set_options(dev, "addr=04.0,mtu=1500", NULL);
    fake_set_backend(dev, "netdev", &net.net);
    if (fake_attach(dev, NULL) < 0)
        abort();
    vio_start(&d, b, DEVFN, first & 8 ? ~0ull : (uint64_t)fuzz_u32(&in) | 1ull << 32, 3, 16);
    for (unsigned steps = 0; in.left && steps < 300; steps++) {
        uint8_t what = fuzz_u8(&in);
        switch (what & 7) {
        case 0: case 1: case 2: offer(&in, &d, what & 7, what >> 3); break;
        case 3: {
            size_t n = fuzz_u16(&in) + (what >> 3);
            fuzz_bytes(&in, frame, 40);
            fake_net_send(&net, frame, n);
            break;
        }
        case 4:
            net.full = what & 8;
            if (what & 16)
                net.net.writable(net.net.opaque);
            if (what & 32)
                net.net.link(net.net.opaque, what & 64);
            break;
        case 5: fake_write(b, VIO_BAR + (fuzz_u16(&in) & 0x7fff), 1u << (what >> 3 & 3), fuzz_u32(&in)); break;
        case 6: fuzz_memory(&in, b, VQ_BASE + fuzz_u16(&in) * 3u, what >> 3); break;
        default: vio_start(&d, b, DEVFN, (uint64_t)fuzz_u32(&in) | 1ull << 32, 3, 16); break;
        }
    }
    net.full = false;
    if (size % 16 == 15)                      /* costs more than all the rest */
        fuzz_state(b);
    return fuzz_end(b);
}
