/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * struct virtio_net_hdr_v1 (Virtual I/O Device specification 1.1, "Device Operation"), little endian: in
 * front of a virtio driver's frames, and of every frame between a device and its backend once
 * gh_net_ops.set_offload has asked for anything.
 *
 *   u8 flags, u8 gso_type, le16 hdr_len, gso_size, csum_start, csum_offset, num_buffers
 */
#pragma once

enum { VNET_HEADER = 12, VNET_H_FLAGS = 0, VNET_H_GSO_TYPE = 1, VNET_H_LEN = 2, VNET_H_GSO_SIZE = 4, VNET_H_CSUM_START = 6,
       VNET_H_CSUM_OFFSET = 8, VNET_H_BUFFERS = 10 };
enum { VNET_NEEDS_CSUM = 1, VNET_DATA_VALID = 2, VNET_GSO_NONE = 0, VNET_GSO_TCPV4 = 1, VNET_GSO_TCPV6 = 4, VNET_GSO_ECN = 0x80 };
