/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Image layout: PCI Firmware Specification 3.0, "PCI Expansion ROM Header" and "PCI Data Structure". */
#include "devices/net/nic_rom.h"

#include <errno.h>

#include "devices/chipset/pci_regs.h"

enum { ROM_MAX = 1 << 20, ROM_SIGNATURE = 0xaa55, ROM_BLOCKS = 2, ROM_CHECKSUM = 6, ROM_PCIR = 0x18, BLOCK = 512,
       PCIR_VENDOR = 4, PCIR_DEVICE = 6, PCIR_BYTES = 0x18, PCIR_CODE_TYPE = 0x14, PCIR_INDICATOR = 0x15, CODE_X86 = 0 };

static const struct { const char *class_name; void (*set)(struct gh_device *, const uint8_t *, size_t); } cards[] = {
    { "e1000", gh_e1000_set_rom }, { "virtio-net", gh_virtio_net_set_rom },
};

bool gh_nic_set_rom(struct gh_device *dev, const uint8_t *data, size_t size)
{
    for (unsigned i = 0; i < GH_ARRAY_LEN(cards); i++)
        if (!strcmp(cards[i].class_name, dev->class->name)) {
            cards[i].set(dev, data, size);
            return true;
        }
    return false;
}

/* The x86 image's vendor and device become the function's; a spare byte keeps the sum at 0. */
static void patch_identity(uint8_t *rom, size_t size, const struct gh_pci *pci)
{
    size_t pcir = gh_le16_get(rom + ROM_PCIR), length = (size_t)rom[ROM_BLOCKS] * BLOCK;
    if (gh_le16_get(rom) != ROM_SIGNATURE || !gh_range_in(pcir, PCIR_BYTES, size) || memcmp(rom + pcir, "PCIR", 4) ||
        rom[pcir + PCIR_CODE_TYPE] != CODE_X86 || !length || length > size ||
        !memcmp(rom + pcir + PCIR_VENDOR, pci->config + PCI_VENDOR_ID, 4))
        return;
    memcpy(rom + pcir + PCIR_VENDOR, pci->config + PCI_VENDOR_ID, 4);
    uint8_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + rom[i]);
    rom[ROM_CHECKSUM] = (uint8_t)(rom[ROM_CHECKSUM] - sum);
}

int gh_nic_rom_attach(struct gh_device *dev, struct gh_nic_rom *rom, struct gh_pci *pci, unsigned range, struct gh_error *err)
{
    uint64_t bytes = 4096;
    if (!rom->data || !rom->size)
        return 0;
    if (rom->size < BLOCK || rom->size > ROM_MAX)
        return gh_error_set(err, -EFBIG, "BootRomSize", "The boot ROM of \"%s\" has %zu bytes, and 512 bytes to 1 MiB are possible; "
                            "use the images of the package ipxe-qemu.", dev->id, rom->size);
    while (bytes < rom->size)
        bytes *= 2;
    uint8_t *host = dev->ops->ram_alloc(dev->board, bytes, "nic.rom", err);
    if (!host)
        return -ENOMEM;
    memcpy(host, rom->data, rom->size);
    patch_identity(host, rom->size, pci);
    const struct gh_range_desc desc = { .name = "nic-rom", .space = GH_SPACE_MMIO, .kind = GH_RANGE_ROM, .size = bytes,
                                        .priority = 1, .disabled = true, .host = host };
    int r = gh_range_add(dev, range, &desc, err);
    if (r == 0)
        gh_pci_rom(pci, bytes, range);
    *rom = (struct gh_nic_rom){ 0 };
    return r;
}
