/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The virtio disk: chains, headers, ranges, two queues, registers, memory, media, errors, resets. */
#include "fuzz.h"

#include <errno.h>

#include "../device/virtio-helper.h"

enum { DEVFN = 4 << 3, BUFFERS = 0x400000, DISK_BYTES = 256 << 10 };

/* A request: header, data, status; the first bits say how well it is made. */
static void offer(struct fuzz *in, struct vio *d, unsigned queue, uint8_t what)
{
    static const uint8_t types[] = { 0, 1, 4, 8, 11, 13, 0, 1 };
    unsigned head = what >> 5 & 3;
    uint64_t at = BUFFERS + head * 0x40000u;
    uint8_t type = types[what & 7];
    head *= 3;
    memset(d->b->ram + at, 0, 16);
    d->b->ram[at] = type;
    gh_le16_put(d->b->ram + at + 8, fuzz_u16(in));
    fuzz_memory(in, d->b, at + 0x1000, what & 8 ? 16 : 0);
    uint16_t length = fuzz_u16(in);
    vq_set(d, queue, head, at, what & 16 ? fuzz_u8(in) : 16, D_NEXT, (uint16_t)(head + 1));
    vq_set(d, queue, head + 1, at + 0x1000, type == 11 || type == 13 ? 16 : length & 0xfe00u,
           (uint16_t)(D_NEXT | (type == 0 || type == 8 ? D_WRITE : 0)), (uint16_t)(head + 2));
    vq_set(d, queue, head + 2, at + 0x30000, 1, D_WRITE, 0);
    vq_offer(d, queue, (uint16_t)head);
    vq_kick(d, queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = { data, size };
    struct gh_board *b = fuzz_board();
    struct fake_disk disk;
    struct vio d;
    uint8_t first = fuzz_u8(&in);
    fake_disk_init(&disk, b, DISK_BYTES);
    disk.info.can_discard = first & 1;
    disk.info.read_only = first & 2;
    struct gh_device *dev = fake_create(b, "virtio-blk", "disk0");
    fake_set_options(dev, "addr=04.0,queues=2", NULL);
    fake_set_backend(dev, "drive", &disk.block);
    if (fake_attach(dev, NULL) < 0)
        abort();
    vio_start(&d, b, DEVFN, first & 8 ? ~0ull : (uint64_t)fuzz_u32(&in) | 1ull << 32, 2, 16);
    for (unsigned steps = 0; in.left && steps < 300; steps++) {
        uint8_t what = fuzz_u8(&in);
        switch (what & 7) {
        case 0: case 1: case 2: offer(&in, &d, what & 1, fuzz_u8(&in)); break;
        case 3: {                             /* a descriptor as the input wants it */
            uint16_t flags = fuzz_u8(&in) & 7;
            vq_set(&d, what >> 3 & 1, fuzz_u8(&in) % 16, BUFFERS + fuzz_u16(&in) * 64ull, fuzz_u16(&in), flags, fuzz_u8(&in) % 20);
            break;
        }
        case 4: fake_write(b, VIO_BAR + (fuzz_u16(&in) & 0x5fff), 1u << (what >> 3 & 3), fuzz_u32(&in)); break;
        case 5: fuzz_memory(&in, b, VQ_BASE + fuzz_u16(&in) * 8u, 1u + (what >> 3)); break;
        case 6:
            if (what & 0x80)
                vio_start(&d, b, DEVFN, ~0ull, 2, 16);
            else if (what & 0x40)
                fake_disk_medium(&disk, what & 0x10 ? DISK_BYTES : 64 << 10);
            else
                disk.fail = what & 0x10 ? -EIO : 0;
            break;
        default: fake_step_ns(b, fuzz_u16(&in) * 100u); break;
        }
    }
    disk.fail = 0;
    fuzz_state(b);
    int r = fuzz_end(b);
    fake_disk_fini(&disk);
    return r;
}
