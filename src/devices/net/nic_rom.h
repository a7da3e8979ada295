/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The boot ROM of a network card as its PCI expansion ROM. The machine names an image before the
 * device is attached; without one the card has no ROM and cannot be booted from.
 * Lock: the machine lock. Ownership: the image is read during attach only.
 */
#pragma once
#include "devices/chipset/pci.h"

struct gh_nic_rom { const uint8_t *data; size_t size; };

/* From the device's attach, after gh_pci_attach: adds the range (disabled) and the ROM register. The
 * image's PCI header and checksum are made to fit the function, since firmware compares them. */
int gh_nic_rom_attach(struct gh_device *dev, struct gh_nic_rom *rom, struct gh_pci *pci, unsigned range, struct gh_error *err);

/* Between creation and attach. true: the class takes a boot ROM, and has it now. */
bool gh_nic_set_rom(struct gh_device *dev, const uint8_t *data, size_t size);
/* Name of the image a class wants, NULL: none. Here, because who opens the files links no devices. */
static inline const char *gh_nic_rom_name(const char *class_name)
{ return !strcmp(class_name, "e1000") ? "pxe-e1000" : !strcmp(class_name, "virtio-net") ? "pxe-virtio" : NULL; }

/* The devices' own: e1000.c and virtio_net.c. */
void gh_e1000_set_rom(struct gh_device *dev, const uint8_t *data, size_t size);
void gh_virtio_net_set_rom(struct gh_device *dev, const uint8_t *data, size_t size);
