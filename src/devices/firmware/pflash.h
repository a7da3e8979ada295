/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Flash memory below the firmware image that UEFI firmware keeps its variables in. Speaks the Intel command
 * set in bytes, as far as OVMF uses it: read array, status, identify, program a byte, erase a block.
 *
 * The contents come from the machine before the first run and go back to the backend "drive" (raw, of at
 * least this size) page by page soon after the guest has changed them. Machine lock.
 */
#pragma once
#include "devices/device.h"

#define GH_PFLASH_BLOCK 4096u                 /* erase block, and what is written back at once */

/* Copies len bytes to the start; -EINVAL when the flash is smaller. What is not filled is erased (0xff). */
int gh_pflash_fill(struct gh_device *dev, const void *data, size_t len, struct gh_error *err);
