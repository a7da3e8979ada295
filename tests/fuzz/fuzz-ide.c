/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The IDE function with a disk and a CD drive, driven by the input: task files, data port, bus master, media. */
#include "fuzz.h"

#include <errno.h>

enum { DEVFN = 9, BM = 0xc000, DISK_BYTES = 256 << 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t words[2048];
    struct fuzz in = { data, size };
    struct gh_board *b = fuzz_board();
    struct fake_disk disk, cd;
    fake_disk_init(&disk, b, DISK_BYTES);
    fake_disk_init(&cd, b, DISK_BYTES);
    disk.info.can_discard = true;
    cd.info.removable = cd.info.read_only = true;
    struct gh_device *dev = fake_create(b, "piix3-ide", "ide0");
    fake_set_backend(dev, "primary-master", &disk.block);
    fake_set_backend(dev, "secondary-master", &cd.block);
    if (fake_attach(dev, NULL) < 0)
        abort();
    cfg_write32(b, DEVFN, 0x20, BM | 1);
    cfg_write16(b, DEVFN, 4, 5);
    for (unsigned i = 0; i < 8; i++) {
        gh_le32_put(b->ram + 0x1000 + i * 8, 0x10000 + i * 0x2000);
        gh_le32_put(b->ram + 0x1004 + i * 8, i == 7 ? 0x80002000 : 0x2000);
    }
    for (unsigned steps = 0; in.left && steps < 500; steps++) {
        uint8_t what = fuzz_u8(&in);
        uint16_t base = what & 8 ? 0x170 : 0x1f0, bm = what & 8 ? BM + 8 : BM;
        switch (what & 7) {
        case 0: fake_outb(b, (uint16_t)(base + 7), fuzz_u8(&in)); break;
        case 1: fake_outb(b, (uint16_t)(base + 1 + (what >> 4) % 6), fuzz_u8(&in)); break;
        case 2: {
            unsigned n = 1 + fuzz_u8(&in);
            if (what & 0x10)
                fuzz_bytes(&in, words, 12);
            fake_rep(b, base, 2, what & 0x10, n, words);
            break;
        }
        case 3:
            fake_outl(b, (uint16_t)(bm + 4), what & 0x80 ? fuzz_u32(&in) : 0x1000);
            fake_outb(b, (uint16_t)(bm + 2), 6);
            fake_outb(b, bm, (uint8_t)(1 | (what & 0x40 ? 8 : 0)));
            break;
        case 4: fake_outb(b, (uint16_t)(bm + (what >> 4 & 7)), fuzz_u8(&in)); break;
        case 5: fuzz_memory(&in, b, 0x1000 + (what >> 4) * 8u, 8); break;
        case 6:
            if (what & 0x80)
                fake_outb(b, (uint16_t)(base + 0x206), fuzz_u8(&in));
            else if (what & 0x40)
                fake_disk_medium(&cd, what & 0x10 ? DISK_BYTES : 0);
            else if (what & 0x20)
                disk.fail = cd.fail = what & 0x10 ? -EIO : 0;
            else
                fake_inb(b, (uint16_t)(base + 7));
            break;
        default: fake_step_ns(b, fuzz_u16(&in) * 100u); break;
        }
    }
    disk.fail = cd.fail = 0;
    fuzz_state(b);
    int r = fuzz_end(b);
    fake_disk_fini(&disk);
    fake_disk_fini(&cd);
    return r;
}
