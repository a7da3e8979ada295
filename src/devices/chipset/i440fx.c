/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Intel 82441FX host bridge (PMC): the PCI bus, its configuration ports and the shadow RAM registers
 * PAM0..PAM6. Left out on purpose: DRAM timing (registers are kept), AGP, system management RAM.
 */
#include "devices/chipset/i440fx.h"

#include "devices/chipset/pci_bus.h"
#include "devices/classes.h"

#define PAM0   0x59u
#define PAM6   0x5fu
#define SMRAM  0x72u
#define PAM_RE 1u
#define PAM_WE 2u

struct i440fx {
    struct gh_pci_bus bus;
    struct gh_pci pci;
    uint8_t pam[GH_PAM_SEGMENTS];             /* what the memory owner was last told */
    bool initialized;
};

static const struct gh_field i440fx_fields[] = {
    GH_PCI_FIELDS(struct i440fx, pci, 1),
    { .name = "config_address", .type = GH_T_U32, .offset = offsetof(struct i440fx, bus.address), .count = 1, .since = 1 },
    { 0 },
};

static bool i440fx_port(struct gh_device *dev, unsigned range, struct gh_access *a)
{
    return gh_pci_bus_port(&((struct i440fx *)dev->state)->bus, a);
}

/* PAM0 has the BIOS segment in its high nibble; PAM1..6 have two 16 KiB segments each. */
static uint8_t pam_bits(const struct i440fx *s, unsigned segment)
{
    uint8_t reg = segment == 12 ? s->pci.config[PAM0] : s->pci.config[PAM0 + 1 + segment / 2];
    bool high = segment == 12 || (segment & 1);
    return (high ? reg >> 4 : reg) & (PAM_RE | PAM_WE);
}

static void update_pam(struct gh_device *dev, bool all)
{
    struct i440fx *s = dev->state;
    struct gh_memory_control *memory = gh_lookup(dev, "memory-control");
    for (unsigned segment = 0; segment < GH_PAM_SEGMENTS; segment++) {
        uint8_t bits = pam_bits(s, segment);
        if (!all && bits == s->pam[segment])
            continue;
        s->pam[segment] = bits;
        if (memory)
            memory->pam(memory->opaque, segment, bits & PAM_RE, bits & PAM_WE);
    }
}

static void update_smram(struct gh_device *dev)
{
    struct i440fx *s = dev->state;
    struct gh_memory_control *memory = gh_lookup(dev, "memory-control");
    if (memory && memory->smram)
        memory->smram(memory->opaque, s->pci.config[SMRAM]);
}

static void i440fx_config_written(struct gh_device *dev, struct gh_pci *pci, unsigned offset, unsigned width)
{
    if (offset <= PAM6 && offset + width > PAM0)
        update_pam(dev, false);
    if (offset <= SMRAM && offset + width > SMRAM)
        update_smram(dev);
}

static int i440fx_attach(struct gh_device *dev, struct gh_error *err)
{
    struct i440fx *s = dev->state;
    /* Firmware recognises the virtual board, and with it fw_cfg, by this subsystem id. */
    static const struct gh_pci_id id = { .vendor = 0x8086, .device = 0x1237, .revision = 2, .class_code = 0x060000,
                                         .sub_vendor = 0x1af4, .sub_device = 0x1100 };
    gh_pci_bus_init(&s->bus);
    s->initialized = true;
    dev->ops->provide(dev->board, "pci.0", &s->bus);
    int r = gh_pci_attach(dev, &s->pci, "00.0", &id, err);
    if (r < 0)
        return r;
    s->pci.config_written = i440fx_config_written;
    gh_pci_register(&s->pci, 0x50, 0, 0xffffffff);            /* PMC configuration */
    gh_pci_register(&s->pci, 0x54, 0, 0xffffffff);            /* DRAM timing */
    gh_pci_register(&s->pci, 0x58, 0, 0x333330ff);            /* PAM0..PAM2 */
    gh_pci_register(&s->pci, 0x5c, 0, 0x33333333);            /* PAM3..PAM6 */
    gh_pci_register(&s->pci, 0x60, 0, 0xffffffff);            /* DRAM row boundaries */
    gh_pci_register(&s->pci, 0x64, 0, 0xffffffff);
    gh_pci_register(&s->pci, 0x70, 0x00020000, 0x007f0000);   /* SMRAM: compatible segment */
    const struct gh_range_desc ports = { .name = "pci-config", .space = GH_SPACE_PIO, .base = GH_PCI_CONFIG_PORT,
                                         .size = GH_PCI_CONFIG_PORTS, .widths = GH_W8 | GH_W16 | GH_W32,
                                         .fn = i440fx_port };
    return gh_range_add(dev, 0, &ports, err);
}

static void i440fx_reset(struct gh_device *dev, enum gh_reset why)
{
    struct i440fx *s = dev->state;
    s->bus.address = 0;
    if (why == GH_RESET_WAKE)
        return;                               /* firmware goes on in its shadow */
    gh_pci_reset(&s->pci);
    update_pam(dev, true);
    update_smram(dev);
}

static int i440fx_loaded(struct gh_device *dev, struct gh_error *err)
{
    struct i440fx *s = dev->state;
    int r = gh_pci_loaded(&s->pci, err);
    if (r < 0)
        return r;
    s->bus.address &= 0x80fffffcu;
    update_pam(dev, true);
    update_smram(dev);
    return 0;
}

static void i440fx_detach(struct gh_device *dev)
{
    struct i440fx *s = dev->state;
    if (!s->initialized)
        return;
    gh_pci_detach(&s->pci);
    gh_pci_bus_fini(&s->bus);
    s->initialized = false;
}

const struct gh_device_class gh_class_i440fx = {
    .name = "i440fx", .summary = "Intel 440FX host bridge", .state_size = sizeof(struct i440fx), .version = 1,
    .saved = i440fx_fields, .attach = i440fx_attach, .reset = i440fx_reset, .loaded = i440fx_loaded,
    .detach = i440fx_detach,
};
