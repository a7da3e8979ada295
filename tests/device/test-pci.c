/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Config mechanism #1, BAR sizing and mapping, INTx, MSI, MSI-X, reset and saved state of a function. */
#include "check.h"
#include "devices/chipset/pci.h"
#include "pci-helper.h"

#include <errno.h>

enum { RANGE_IO, RANGE_MEM, RANGE_MEM64, RANGE_ROM };
enum { VECTORS = 40, DEVFN = 3 << 3 };

struct card {
    struct gh_pci pci;
    char addr[8];
    uint32_t regs[4];
    struct gh_pci_msix_entry table[VECTORS];
    uint32_t pending[(VECTORS + 31) / 32];
    unsigned hook_calls;
};

static const struct gh_option card_options[] = {
    GH_OPT(GH_T_STRING, struct card, addr, "addr", 0, 0, "", ""), { 0 },
};
static const struct gh_field card_fields[] = { GH_PCI_FIELDS(struct card, pci, 1), { 0 } };

static bool card_access(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    struct card *c = dev->state;
    if (range == RANGE_MEM64) {
        bool pba = a->offset >= 0x800;
        a->offset -= pba ? 0x800 : 0;
        return gh_pci_msix_access(&c->pci, a, pba);
    }
    if (a->write)
        c->regs[range] = (uint32_t)a->value;
    else
        a->value = c->regs[range];
    return true;
}

static void card_hook(struct gh_device *dev, struct gh_pci *pci, unsigned offset, unsigned width)
{
    ((struct card *)dev->state)->hook_calls++;
}

static int card_attach(struct gh_device *dev, struct gh_error *err)
{
    struct card *c = dev->state;
    static const struct gh_pci_id id = { .vendor = 0x1234, .device = 0x5678, .revision = 9, .class_code = 0x020000,
                                         .sub_vendor = 0xabcd, .sub_device = 0xef01 };
    static const struct { enum gh_range_space space; uint64_t size; } shape[] = {
        { GH_SPACE_PIO, 32 }, { GH_SPACE_MMIO, 4096 }, { GH_SPACE_MMIO, 4096 }, { GH_SPACE_MMIO, 65536 },
    };
    int r = gh_pci_attach(dev, &c->pci, c->addr, &id, err);
    for (unsigned i = 0; r == 0 && i < 4; i++) {
        struct gh_range_desc d = { .name = "card", .space = shape[i].space, .size = shape[i].size, .disabled = true,
                                   .fn = card_access };
        r = gh_range_add(dev, i, &d, err);
    }
    if (r < 0)
        return r;
    gh_pci_bar(&c->pci, 0, GH_BAR_IO, 32, RANGE_IO);
    gh_pci_bar(&c->pci, 1, GH_BAR_MEM32, 4096, RANGE_MEM);
    gh_pci_bar(&c->pci, 2, GH_BAR_MEM64, 4096, RANGE_MEM64);
    gh_pci_rom(&c->pci, 65536, RANGE_ROM);
    gh_pci_pin(&c->pci, 1);
    c->pci.config_written = card_hook;
    CHECK_EQ(gh_pci_msi_init(&c->pci, 4), 0);
    CHECK_EQ(gh_pci_msix_init(&c->pci, 2, 0, 0x800, VECTORS, c->table, c->pending), 0);
    return 0;
}
static void card_reset(struct gh_device *dev, enum gh_reset why) { gh_pci_reset(&((struct card *)dev->state)->pci); }
static int card_loaded(struct gh_device *dev, struct gh_error *err)
{ return gh_pci_loaded(&((struct card *)dev->state)->pci, err); }
static void card_detach(struct gh_device *dev) { gh_pci_detach(&((struct card *)dev->state)->pci); }

static const struct gh_device_class card_class = {
    .name = "test-card", .summary = "test", .state_size = sizeof(struct card), .version = 1, .options = card_options,
    .saved = card_fields, .attach = card_attach, .reset = card_reset, .loaded = card_loaded, .detach = card_detach,
};

static struct gh_board *board(struct card **ret_card)
{
    struct gh_board *b = fake_board_new();
    fake_add(b, "i440fx", "pci0", NULL);
    struct gh_device *dev = fake_create_class(b, &card_class, "card");
    CHECK_EQ(fake_set_options(dev, "addr=03.0", NULL), 0);
    CHECK_FATAL(fake_attach(dev, NULL) == 0);
    *ret_card = dev->state;
    return b;
}

static void test_config(void)
{
    struct card *c;
    struct gh_board *b = board(&c);
    CHECK_EQ(cfg_read32(b, 0, 0), 0x12378086);
    CHECK_EQ(cfg_read32(b, 0, 0x2c), 0x11001af4);
    CHECK_EQ(cfg_read32(b, DEVFN, 0), 0x56781234);
    CHECK_EQ(cfg_read32(b, DEVFN, 8), 0x02000009);
    CHECK_EQ(cfg_read16(b, DEVFN, 2), 0x5678);
    CHECK_EQ(cfg_read8(b, DEVFN, 3), 0x56);
    CHECK_EQ(cfg_read32(b, DEVFN, 0x2c), 0xef01abcd);
    CHECK_EQ(cfg_read8(b, DEVFN, 0x0e), 0);
    CHECK_EQ(cfg_read8(b, DEVFN, 0x3d), 1);
    CHECK_EQ(cfg_read32(b, 5 << 3, 0), 0xffffffff);           /* nothing there */
    CHECK_EQ(cfg_read32(b, DEVFN | 1, 0), 0xffffffff);
    /* The identity does not change; the interrupt line byte does. */
    cfg_write32(b, DEVFN, 0, 0);
    CHECK_EQ(cfg_read32(b, DEVFN, 0), 0x56781234);
    cfg_write8(b, DEVFN, 0x3c, 11);
    CHECK_EQ(cfg_read16(b, DEVFN, 0x3c), 0x010b);
    CHECK(c->hook_calls == 2);
    /* Status bits are cleared by ones only where they are errors. */
    CHECK_EQ(cfg_read16(b, DEVFN, 6) & 0x10, 0x10);
    c->pci.config[7] |= 0x80;
    cfg_write16(b, DEVFN, 6, 0xffff);
    CHECK_EQ(cfg_read16(b, DEVFN, 6), 0x10);
    /* Without the enable bit, and on another bus, nobody answers. */
    fake_outl(b, 0xcf8, DEVFN << 8);
    CHECK_EQ(fake_inl(b, 0xcfc), 0xffffffff);
    fake_outl(b, 0xcf8, 0x80010000u | DEVFN << 8);
    CHECK_EQ(fake_inl(b, 0xcfc), 0xffffffff);
    CHECK_EQ(fake_inl(b, 0xcf8), 0x80010000u | DEVFN << 8);
    fake_outb(b, 0xcf8, 0);                                   /* bytes do not reach the address */
    CHECK_EQ(fake_inl(b, 0xcf8), 0x80010000u | DEVFN << 8);
    fake_board_free(b);
}

static void test_bars(void)
{
    struct card *c;
    struct gh_board *b = board(&c);
    static const struct { unsigned reg; uint32_t sized; } sizes[] = {
        { 0x10, 0xffffffe1 }, { 0x14, 0xfffff000 }, { 0x18, 0xfffff00c }, { 0x1c, 0xffffffff }, { 0x20, 0 }, { 0x30, 0xffff0001 },
    };
    cfg_write16(b, DEVFN, 4, 7);
    for (unsigned i = 0; i < GH_ARRAY_LEN(sizes); i++) {
        cfg_write32(b, DEVFN, sizes[i].reg, 0xffffffff);
        CHECK_EQ(cfg_read32(b, DEVFN, sizes[i].reg), sizes[i].sized);
    }
    CHECK(!c->pci.bar[0].mapped && !c->pci.bar[1].mapped && !c->pci.bar[2].mapped && !c->pci.rom.mapped);
    cfg_write32(b, DEVFN, 0x10, 0xc001);
    cfg_write32(b, DEVFN, 0x14, 0xfebf0000);
    cfg_write32(b, DEVFN, 0x18, 0);
    cfg_write32(b, DEVFN, 0x1c, 0x10);
    CHECK(c->pci.bar[2].mapped && c->pci.bar[2].base == 0x1000000000ull);
    fake_outl(b, 0xc000, 0x11);
    fake_write(b, 0xfebf0000, 4, 0x22);
    CHECK_EQ(c->regs[RANGE_IO], 0x11);
    CHECK_EQ(c->regs[RANGE_MEM], 0x22);
    cfg_write16(b, DEVFN, 4, 2);                              /* I/O off */
    CHECK_EQ(fake_inl(b, 0xc000), 0xffffffff);
    CHECK_EQ(fake_read(b, 0xfebf0000, 4), 0x22);
    cfg_write32(b, DEVFN, 0x30, 0xfeb00000);                  /* the ROM needs its own enable */
    CHECK(!c->pci.rom.mapped);
    cfg_write32(b, DEVFN, 0x30, 0xfeb00001);
    CHECK(c->pci.rom.mapped);
    /* At the ends: I/O up to 0x10000, 64-bit never around the top. */
    cfg_write16(b, DEVFN, 4, 3);
    cfg_write32(b, DEVFN, 0x10, 0xffe0);
    CHECK(c->pci.bar[0].mapped);
    cfg_write32(b, DEVFN, 0x10, 0x10000);
    CHECK(!c->pci.bar[0].mapped);
    cfg_write32(b, DEVFN, 0x18, 0xfffff000);
    cfg_write32(b, DEVFN, 0x1c, 0xffffffff);
    CHECK(!c->pci.bar[2].mapped);
    cfg_write32(b, DEVFN, 0x1c, 0x000fffff);
    CHECK(c->pci.bar[2].mapped);
    fake_reset(b, GH_RESET_WARM);
    CHECK(!c->pci.bar[0].mapped && !c->pci.bar[1].mapped && !c->pci.bar[2].mapped && !c->pci.rom.mapped);
    CHECK_EQ(cfg_read32(b, DEVFN, 0x14), 0);
    CHECK_EQ(cfg_read16(b, DEVFN, 4), 0);
    fake_board_free(b);
}

static void test_msi(void)
{
    struct card *c;
    struct gh_board *b = board(&c);
    unsigned cap = cfg_capability(b, DEVFN, 0x05, 0);
    CHECK_FATAL(cap);
    CHECK_EQ(cfg_read16(b, DEVFN, cap + 2), 0x0084);          /* 64 bit, 4 vectors offered */
    gh_pci_msi_notify(&c->pci, 0);
    CHECK_EQ(b->msi_count, 0);
    cfg_write32(b, DEVFN, cap + 4, 0xfee01003);
    cfg_write32(b, DEVFN, cap + 8, 0);
    cfg_write16(b, DEVFN, cap + 12, 0x4043);
    cfg_write16(b, DEVFN, cap + 2, 0x0001);
    CHECK(gh_pci_msi_enabled(&c->pci));
    gh_pci_msi_notify(&c->pci, 3);
    CHECK_EQ(b->msi_count, 0);                                /* not a bus master */
    cfg_write16(b, DEVFN, 4, 4);
    gh_pci_msi_notify(&c->pci, 3);
    CHECK_EQ(b->msi_count, 1);
    CHECK_EQ(b->msi[0].address, 0xfee01000);
    CHECK_EQ(b->msi[0].data, 0x4043);                         /* one vector given: no bits of ours */
    cfg_write16(b, DEVFN, cap + 2, 0x0071);                   /* more than offered: 4 */
    gh_pci_msi_notify(&c->pci, 2);
    CHECK_EQ(b->msi[1].data, 0x4042);
    gh_pci_msi_notify(&c->pci, 1000);
    CHECK_EQ(b->msi[2].data, 0x4040);
    fake_board_free(b);
}

static void test_msix(void)
{
    struct card *c;
    struct gh_board *b = board(&c);
    unsigned cap = cfg_capability(b, DEVFN, 0x11, 0);
    CHECK_FATAL(cap);
    CHECK_EQ(cfg_read16(b, DEVFN, cap + 2), VECTORS - 1);
    CHECK_EQ(cfg_read32(b, DEVFN, cap + 4), 2);
    CHECK_EQ(cfg_read32(b, DEVFN, cap + 8), 0x802);
    const uint64_t table = 0xfe000000;
    cfg_write32(b, DEVFN, 0x18, (uint32_t)table);
    cfg_write16(b, DEVFN, 4, 6);
    CHECK_EQ(fake_read(b, table + 12, 4), 1);                 /* masked at reset */
    fake_write(b, table + 16 * 39, 8, 0x0000000123456787ull);
    fake_write(b, table + 16 * 39 + 8, 4, 0x99);
    CHECK_EQ(fake_read(b, table + 16 * 39, 8), 0x0000000123456784ull);
    gh_pci_msix_notify(&c->pci, 39);
    CHECK_EQ(fake_read(b, table + 0x800 + 4, 4), 0);          /* disabled: not even pending */
    cfg_write16(b, DEVFN, cap + 2, 0xc000);
    gh_pci_msix_notify(&c->pci, 39);
    CHECK_EQ(fake_read(b, table + 0x800, 8), 1ull << 39);
    fake_write(b, table + 16 * 39 + 12, 4, 0);                /* still the function mask */
    CHECK_EQ(b->msi_count, 0);
    cfg_write16(b, DEVFN, cap + 2, 0x8000);
    CHECK_EQ(b->msi_count, 1);
    CHECK_EQ(b->msi[0].address, 0x123456784ull);
    CHECK_EQ(b->msi[0].data, 0x99);
    CHECK_EQ(fake_read(b, table + 0x800, 8), 0);
    fake_write(b, table + 16 * 39 + 12, 4, 0xffffffff);
    gh_pci_msix_notify(&c->pci, 39);
    gh_pci_msix_notify(&c->pci, 39);
    CHECK_EQ(b->msi_count, 1);
    fake_write(b, table + 16 * 39 + 12, 4, 0);
    CHECK_EQ(b->msi_count, 2);
    /* Boundaries: one vector too many, one dword too far, odd widths, the read-only pending bits. */
    gh_pci_msix_notify(&c->pci, VECTORS);
    CHECK_EQ(b->msi_count, 2);
    unsigned refused = b->refused;
    CHECK_EQ(fake_read(b, table + 16 * VECTORS, 4), 0xffffffff);
    fake_write(b, table + 2, 2, 7);
    CHECK_EQ(fake_read(b, table + 0x808, 4), 0xffffffff);
    CHECK_EQ(b->refused, refused + 3);
    fake_write(b, table + 0x800, 8, ~0ull);
    CHECK_EQ(fake_read(b, table + 0x800, 8), 0);
    fake_board_free(b);
}

static void test_slots(void)
{
    struct card *c;
    struct gh_board *b = board(&c);
    struct gh_error err = { 0 };
    static const struct { const char *addr; int code; } bad[] = {
        { "addr=03.0", -EBUSY }, { "addr=20.0", -EINVAL }, { "addr=1.8", -EINVAL }, { "addr=x", -EINVAL },
        { "addr=4.", -EINVAL }, { "addr=4.0q", -EINVAL },
    };
    for (unsigned i = 0; i < GH_ARRAY_LEN(bad); i++) {
        struct gh_device *dev = fake_create_class(b, &card_class, "bad");
        fake_set_options(dev, bad[i].addr, NULL);
        gh_error_clear(&err);
        CHECK_EQ(fake_attach(dev, &err), bad[i].code);
        CHECK_STR(err.option, "addr");
    }
    struct gh_device *dev = fake_create_class(b, &card_class, "function1");
    fake_set_options(dev, "addr=03.1", NULL);
    CHECK_EQ(fake_attach(dev, NULL), 0);
    CHECK_EQ(cfg_read8(b, DEVFN, 0x0e), 0x80);                /* now it has functions */
    fake_reset(b, GH_RESET_COLD);
    CHECK_EQ(cfg_read8(b, DEVFN, 0x0e), 0x80);
    dev = fake_create_class(b, &card_class, "any");
    CHECK_EQ(fake_attach(dev, NULL), 0);
    CHECK_EQ(((struct card *)dev->state)->pci.devfn, 2 << 3);
    fake_board_free(b);
}

static void test_state(void)
{
    struct card *c;
    struct gh_board *b = board(&c);
    struct gh_state_buffer buf = { 0 };
    cfg_write32(b, DEVFN, 0x14, 0xfebf0000);
    cfg_write16(b, DEVFN, 4, 6);
    gh_pci_intx(&c->pci, true);
    fake_save(b, &buf);
    fake_board_free(b);
    b = board(&c);
    CHECK_EQ(fake_load(b, buf.data, buf.len, NULL), 0);
    CHECK(c->pci.bar[1].mapped && c->pci.bar[1].base == 0xfebf0000);
    CHECK(cfg_read16(b, DEVFN, 6) & 8);
    /* Read-only bits of a hostile state do not survive; another identity is refused. */
    c->pci.config[0x34] = 0xfc;
    c->pci.config[0x3d] = 4;
    CHECK_EQ(gh_pci_loaded(&c->pci, NULL), 0);
    CHECK(c->pci.config[0x34] != 0xfc && c->pci.config[0x3d] == 1);
    struct gh_error err = { 0 };
    c->pci.config[0] ^= 1;
    CHECK_EQ(gh_pci_loaded(&c->pci, &err), -EINVAL);
    CHECK_STR(err.id, "StateDeviceMismatch");
    gh_state_buffer_fini(&buf);
    fake_board_free(b);
}

int main(void)
{
    test_config();
    test_bars();
    test_msi();
    test_msix();
    test_slots();
    test_state();
    return check_result();
}
