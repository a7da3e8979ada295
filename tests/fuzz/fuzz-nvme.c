/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The NVMe controller driven by the input: registers, doorbells, admin and I/O commands, PRP lists, time,
 * media, resets. What is missing at the end of the input is zero.
 */
#include "fuzz.h"

#include <errno.h>

enum { DEVFN = 4 << 3, ASQ = 0x10000, ACQ = 0x12000, SQ = 0x20000, CQ = 0x30000, GAP = 0x1000, LISTS = 0x40000, ENTRIES = 16,
       DISK_BYTES = 256 << 10 };
#define BAR 0xd0000000u

struct guest { struct gh_board *b; unsigned tail[4]; };

static void put(struct guest *g, unsigned q, const uint8_t sqe[64])
{
    memcpy(g->b->ram + (q ? SQ + q * GAP : ASQ) + g->tail[q] * 64, sqe, 64);
    g->tail[q] = (g->tail[q] + 1) % ENTRIES;
    fake_write(g->b, BAR + 0x1000 + q * 8, 4, g->tail[q]);
}

static void make_queue(struct guest *g, unsigned q)
{
    uint8_t e[64] = { 5 };
    gh_le64_put(e + 24, CQ + q * GAP);
    gh_le32_put(e + 40, (ENTRIES - 1) << 16 | q);
    gh_le32_put(e + 44, 3);
    put(g, 0, e);
    e[0] = 1;
    gh_le64_put(e + 24, SQ + q * GAP);
    gh_le32_put(e + 44, q << 16 | 1);
    put(g, 0, e);
    fake_write(g->b, BAR + 0x1004, 4, g->tail[0]);
}

static void enable(struct guest *g)
{
    struct gh_board *b = g->b;
    cfg_write32(b, DEVFN, 0x10, BAR);
    cfg_write32(b, DEVFN, 0x14, 0);
    cfg_write16(b, DEVFN, 4, 6);
    fake_write(b, BAR + 0x14, 4, 0);
    fake_write(b, BAR + 0x24, 4, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    fake_write(b, BAR + 0x28, 8, ASQ);
    fake_write(b, BAR + 0x30, 8, ACQ);
    fake_write(b, BAR + 0x14, 4, 0x460001);
    memset(g->tail, 0, sizeof g->tail);
    for (unsigned q = 1; q < 4; q++)
        make_queue(g, q);
}

static void command(struct fuzz *in, struct guest *g, unsigned q)
{
    uint8_t e[64] = { 0 };
    e[0] = fuzz_u8(in) & (q ? 0x0f : 0x1f);
    gh_le16_put(e + 2, (uint16_t)g->tail[q]);
    e[4] = 1;
    gh_le64_put(e + 24, fuzz_u16(in) * 256ull);
    gh_le64_put(e + 32, fuzz_u16(in) * 256ull);
    fuzz_bytes(in, e + 40, 3);
    gh_le16_put(e + 44, fuzz_u8(in));
    gh_le16_put(e + 48, fuzz_u8(in));
    put(g, q, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = { data, size };
    struct gh_board *b = fuzz_board();
    struct guest g = { .b = b };
    struct fake_disk disk;
    fake_disk_init(&disk, b, DISK_BYTES);
    disk.info.can_discard = true;
    struct gh_device *dev = fake_create(b, "nvme", "nvme0");
    fake_set_options(dev, "addr=04.0", NULL);
    fake_set_backend(dev, "drive", &disk.block);
    if (fake_attach(dev, NULL) < 0)
        abort();
    for (unsigned i = 0; i < 512; i++)
        gh_le64_put(b->ram + LISTS + i * 8, 0x100000 + i * 4096);
    for (unsigned steps = 0; steps < 300 && (in.left || !steps); steps++) {
        uint8_t what = fuzz_u8(&in), q = what >> 3 & 3;
        if (!steps || what == 0xff) {
            enable(&g);
            continue;
        }
        switch (what & 7) {
        case 0: case 1: command(&in, &g, q); break;
        case 2: {
            uint8_t e[64];
            fuzz_bytes(&in, e, sizeof e);
            put(&g, q, e);
            break;
        }
        case 3: fake_write(b, BAR + 0x1000 + (what >> 3) * 4, 4, fuzz_u8(&in) & (what & 0x80 ? 0xff : ENTRIES - 1)); break;
        case 4: fake_write(b, BAR + (fuzz_u16(&in) & 0x3ffc), what & 8 ? 8 : 4, fuzz_u32(&in)); break;
        case 5: fake_read(b, BAR + (fuzz_u16(&in) & 0x3fff), 1u << (what >> 3 & 3)); break;
        case 6:
            if (what & 0x80)
                fake_reset(b, GH_RESET_WARM);
            else if (what & 0x40)
                fake_disk_medium(&disk, what & 0x10 ? DISK_BYTES : 0);
            else if (what & 0x20)
                disk.fail = what & 0x10 ? -EIO : 0;
            else
                fuzz_memory(&in, b, LISTS + fuzz_u16(&in) % 4096u * 8u, 16);
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
