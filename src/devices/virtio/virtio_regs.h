/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Registers of the virtio PCI transport, as the specification names them. */
#pragma once

#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER      0x02u
#define VIRTIO_STATUS_DRIVER_OK   0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED      0x80u

#define VIRTIO_ISR_QUEUE          0x01u
#define VIRTIO_ISR_CONFIG         0x02u
#define VIRTIO_NO_VECTOR          0xffffu

/* Vendor capabilities: cfg_type. */
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4, CAP_PCI_ACCESS = 5 };
/* Inside a vendor capability. */
enum { CAP_LEN = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12 };
#define CAP_EXTRA 16u

/* Layout of the register BAR. */
enum { AT_COMMON = 0x0000, AT_ISR = 0x1000, AT_DEVICE = 0x2000, AT_NOTIFY = 0x4000, NOTIFY_STEP = 0x1000,
       REGION = 0x1000, BAR_MSIX = 1, BAR_REGS = 4, MSIX_BYTES = 0x1000, MSIX_PENDING = 0x800 };

/* struct virtio_pci_common_cfg */
enum {
    COMMON_DFSELECT = 0x00, COMMON_DF = 0x04, COMMON_GFSELECT = 0x08, COMMON_GF = 0x0c, COMMON_MSIX = 0x10,
    COMMON_NUMQ = 0x12, COMMON_STATUS = 0x14, COMMON_GENERATION = 0x15, COMMON_Q_SELECT = 0x16, COMMON_Q_SIZE = 0x18,
    COMMON_Q_MSIX = 0x1a, COMMON_Q_ENABLE = 0x1c, COMMON_Q_NOFF = 0x1e, COMMON_Q_DESC = 0x20, COMMON_Q_DRIVER = 0x28,
    COMMON_Q_DEVICE = 0x30, COMMON_END = 0x38,
};
