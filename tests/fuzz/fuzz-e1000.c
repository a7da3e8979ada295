/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The e1000 driven by the input: register accesses, memory contents, frames from the wire, time, link.
 * One operation is a byte that says what, and its operands; what is missing at the end is zero.
 */
#include "fuzz.h"

#include "devices/net/e1000_regs.h"

enum { DEVFN = 3 << 3, BAR = 0xd0000000 };
/* Registers worth writing first: a byte selects one of these, or two bytes any. */
static const uint16_t registers[] = { CTRL, EECD, EERD, CTRL_EXT, MDIC, VET, ICR, ITR, ICS, IMS, IMC, RCTL, RDBAL, RDBAH, RDLEN, RDH,
                                      RDT, RDTR, RADV, RXCSUM, TCTL, TDBAL, TDBAH, TDLEN, TDH, TDT, TIDV, TADV, MTA, RAL, RAH, VFTA };

/* TCP over IPv4 and IPv6, behind a header that the input fills. */
static const uint8_t large4[86] = { [24] = 8, [26] = 0x45, [28] = 0x10, [34] = 64, 6, [58] = 0x50 };
static const uint8_t large6[86] = { [24] = 0x86, 0xdd, 0x60, [30] = 0x10, [32] = 6, [78] = 0x50 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t frame[20000];
    struct fuzz in = { data, size };
    struct gh_board *b = fuzz_board();
    struct fake_net net;
    fake_net_init(&net);
    uint8_t first = fuzz_u8(&in);
    net.net.can = (struct gh_net_offload){ .csum = first & 1, .tso4 = first & 2, .tso6 = first & 4 };
    struct gh_device *dev = fake_create(b, "e1000", "net0");
    fake_set_options(dev, "addr=03.0", NULL);
    fake_set_backend(dev, "netdev", &net.net);
    if (fake_attach(dev, NULL) < 0)
        abort();
    cfg_write32(b, DEVFN, 0x10, BAR);
    cfg_write32(b, DEVFN, 0x18, 0xc000);
    cfg_write16(b, DEVFN, 4, 7);
    /* A driver that has set itself up; the input may undo it. */
    static const struct { uint16_t reg; uint32_t value; } setup[] = {
        { TDBAL, 0x1000 }, { TDLEN, 1024 }, { RDBAL, 0x2000 }, { RDLEN, 1024 }, { TCTL, TCTL_EN | TCTL_PSP }, { RDT, 40 },
        { RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_LPE }, { IMS, INT_ALL }, { RXCSUM, 0x300 },
    };
    for (unsigned i = 0; i < GH_ARRAY_LEN(setup); i++)
        fake_write(b, BAR + setup[i].reg, 4, setup[i].value);
    for (unsigned i = 0; i < 64; i++)
        gh_le64_put(b->ram + 0x2000 + i * 16, 0x10000 + i * 0x1000);
    for (unsigned steps = 0; in.left && steps < 400; steps++) {
        uint8_t what = fuzz_u8(&in);
        switch (what & 7) {
        case 0: fake_write(b, BAR + registers[(what >> 3) % GH_ARRAY_LEN(registers)], 4, fuzz_u32(&in)); break;
        case 1: fake_write(b, BAR + (fuzz_u16(&in) & 0x1fffc), 4, fuzz_u32(&in)); break;
        case 2: fake_read(b, BAR + (fuzz_u16(&in) & 0x1ffff), 1u << (what >> 3 & 3)); break;
        case 3: fuzz_memory(&in, b, 0x1000 + (what >> 3) * 16, 16); break;        /* a descriptor */
        case 4: fake_write(b, BAR + TDT, 4, fuzz_u8(&in)); break;
        case 5: {
            size_t n = (fuzz_u16(&in) * 3u) % sizeof frame;
            memcpy(frame, what & 128 ? large4 : large6, sizeof large4);
            fuzz_bytes(&in, frame, what >> 3 & 3 ? 12 : 24);
            if (what & 32)
                frame[12 + fuzz_u8(&in) % 74] = fuzz_u8(&in);
            fake_net_send(&net, frame, n);
            break;
        }
        case 6:
            net.full = what & 8;
            if (what & 16)
                net.net.writable(net.net.opaque);
            if (what & 32)
                net.net.link(net.net.opaque, what & 64);
            fuzz_memory(&in, b, fuzz_u16(&in) * 8u, what >> 3);
            break;
        default: fake_step_ns(b, fuzz_u16(&in) * 100u); break;
        }
    }
    if (size % 16 == 15)                      /* costs more than all the rest */
        fuzz_state(b);
    return fuzz_end(b);
}
