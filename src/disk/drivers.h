/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The formats, one file (or group of files) each. All const; listed in drivers.c. */
#pragma once
#include "base/bytes.h"
#include "disk/driver.h"

extern const struct gh_image_driver gh_image_raw, gh_image_qcow2, gh_image_vdi, gh_image_vhd, gh_image_vmdk,
    gh_image_vhdx, gh_image_qed, gh_image_hdd, gh_image_dmg;
