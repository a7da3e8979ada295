/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The AHCI controller with a disk and a CD drive, driven by the input: registers, command lists, tables and
 * region lists, time, media, resets. What is missing at the end of the input is zero.
 */
#include "fuzz.h"

#include <errno.h>

enum { DEVFN = 4 << 3, LIST = 0x10000, FISES = 0x11000, TABLES = 0x20000, GAP = 0x40000, DISK_BYTES = 256 << 10 };
#define BAR 0xd0000000u

static void port_start(struct gh_board *b, unsigned port)
{
    unsigned at = BAR + 0x100 + port * 0x80;
    fake_write(b, at + 0x18, 4, 0x16);
    fake_write(b, at + 0x00, 4, LIST + port * GAP);
    fake_write(b, at + 0x08, 4, FISES + port * GAP);
    fake_write(b, at + 0x30, 4, 0xffffffff);
    fake_write(b, at + 0x10, 4, 0xffffffff);
    fake_write(b, at + 0x14, 4, 0x7dc000ff);
    fake_write(b, at + 0x18, 4, 0x17);
}

/* A command that is mostly well made: header, FIS, a few regions. */
static void command(struct fuzz *in, struct gh_board *b, unsigned port, unsigned slot)
{
    uint8_t *h = b->ram + LIST + port * GAP + slot * 32, *t = b->ram + TABLES + port * GAP + slot * 0x400;
    uint8_t regions = fuzz_u8(in);
    memset(t, 0, 0x80);
    t[0] = 0x27;
    t[1] = 0x80;
    fuzz_bytes(in, t + 2, 14);
    fuzz_bytes(in, t + 0x40, 12);
    for (unsigned i = 0; i < (regions & 7u); i++) {
        gh_le64_put(t + 0x80 + i * 16, fuzz_u16(in) * 256ull);
        gh_le32_put(t + 0x8c + i * 16, fuzz_u16(in));
    }
    gh_le32_put(h, 5 | (uint32_t)(regions & 0x78) << 2 | (regions & 0x80 ? 65535u : regions & 7u) << 16);
    gh_le64_put(h + 8, TABLES + port * GAP + slot * 0x400);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = { data, size };
    struct gh_board *b = fuzz_board();
    struct fake_disk disk, cd;
    fake_disk_init(&disk, b, DISK_BYTES);
    fake_disk_init(&cd, b, DISK_BYTES);
    disk.info.can_discard = true;
    cd.info.removable = cd.info.read_only = true;
    struct gh_device *dev = fake_create(b, "ahci", "ahci0");
    fake_set_options(dev, "addr=04.0", NULL);
    fake_set_backend(dev, "drive0", &disk.block);
    fake_set_backend(dev, "drive1", &cd.block);
    if (fake_attach(dev, NULL) < 0)
        abort();
    for (unsigned steps = 0; steps < 300 && (in.left || !steps); steps++) {
        uint8_t what = fuzz_u8(&in), port = what >> 3 & 1;
        if (!steps || what == 0xff) {
            cfg_write32(b, DEVFN, 0x24, BAR);
            cfg_write16(b, DEVFN, 4, 6);
            fake_write(b, BAR + 4, 4, 0x80000002);
            port_start(b, 0);
            port_start(b, 1);
            continue;
        }
        switch (what & 7) {
        case 0: fake_write(b, BAR + (fuzz_u16(&in) & 0xffc), 4, fuzz_u32(&in)); break;
        case 1: fake_read(b, BAR + (fuzz_u16(&in) & 0xfff), 1u << (what >> 4 & 3)); break;
        case 2: case 3: command(&in, b, port, what >> 4); break;
        case 4: {
            uint32_t slots = what & 0x80 ? fuzz_u32(&in) : 1u << (what >> 4 & 7);
            if (what & 0x40)
                fake_write(b, BAR + 0x134 + port * 0x80, 4, slots);
            fake_write(b, BAR + 0x138 + port * 0x80, 4, slots);
            break;
        }
        case 5: fuzz_memory(&in, b, fuzz_u16(&in) * 16u, what >> 3); break;
        case 6:
            if (what & 0x80)
                fake_reset(b, GH_RESET_WARM);
            else if (what & 0x40)
                fake_disk_medium(port ? &cd : &disk, what & 0x10 ? DISK_BYTES : 0);
            else if (what & 0x20)
                disk.fail = what & 0x10 ? -EIO : 0;
            else
                port_start(b, port);
            break;
        default: fake_step_ns(b, fuzz_u16(&in) * 100u); break;
        }
    }
    disk.fail = 0;
    fuzz_state(b);
    int r = fuzz_end(b);
    fake_disk_fini(&disk);
    fake_disk_fini(&cd);
    return r;
}
