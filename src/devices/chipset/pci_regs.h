/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Configuration registers and bits as the PCI Local Bus Specification 3.0 spells them. */
#pragma once

#define PCI_VENDOR_ID           0x00
#define PCI_DEVICE_ID           0x02
#define PCI_COMMAND             0x04
#define  PCI_COMMAND_IO         0x0001
#define  PCI_COMMAND_MEMORY     0x0002
#define  PCI_COMMAND_MASTER     0x0004
#define  PCI_COMMAND_PARITY     0x0040
#define  PCI_COMMAND_SERR       0x0100
#define  PCI_COMMAND_INTX_OFF   0x0400
#define PCI_STATUS              0x06
#define  PCI_STATUS_INTERRUPT   0x0008
#define  PCI_STATUS_CAP_LIST    0x0010
#define  PCI_STATUS_ERRORS      0xf900u  /* write one to clear */
#define PCI_REVISION_ID         0x08
#define PCI_CLASS_PROG          0x09
#define PCI_CACHE_LINE_SIZE     0x0c
#define PCI_LATENCY_TIMER       0x0d
#define PCI_HEADER_TYPE         0x0e
#define  PCI_HEADER_MULTI       0x80
#define PCI_BASE_ADDRESS_0      0x10
#define  PCI_BASE_IO            0x01
#define  PCI_BASE_MEM_64        0x04
#define  PCI_BASE_PREFETCH      0x08
#define PCI_SUBSYSTEM_VENDOR_ID 0x2c
#define PCI_SUBSYSTEM_ID        0x2e
#define PCI_ROM_ADDRESS         0x30
#define  PCI_ROM_ENABLE         0x01
#define PCI_CAPABILITY_LIST     0x34
#define PCI_INTERRUPT_LINE      0x3c
#define PCI_INTERRUPT_PIN       0x3d

#define PCI_CAP_ID_PM           0x01
#define PCI_CAP_ID_MSI          0x05
#define PCI_CAP_ID_VENDOR       0x09
#define PCI_CAP_ID_MSIX         0x11

/* Message Control of MSI. */
#define PCI_MSI_ENABLE          0x0001
#define PCI_MSI_64BIT           0x0080
/* Message Control of MSI-X, and Vector Control of a table entry. */
#define PCI_MSIX_FUNCTION_MASK  0x4000
#define PCI_MSIX_ENABLE         0x8000
#define PCI_MSIX_ENTRY_MASK     0x00000001u
