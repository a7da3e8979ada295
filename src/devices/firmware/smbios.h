/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * SMBIOS 2.8 tables through fw_cfg: "etc/smbios/smbios-anchor" and "etc/smbios/smbios-tables".
 * Types 0, 1, 3, 4, 16, 17, 19, 32 and 127. Strings are copied; NULL takes the default. Machine lock.
 */
#pragma once
#include "devices/firmware/fw_cfg.h"

struct gh_smbios_config {
    uint8_t uuid[16];                         /* as text is read: most significant byte first */
    const char *manufacturer, *product, *version, *serial, *sku, *family;
    unsigned cpus;
    uint64_t ram_below_4g, ram_above_4g;      /* bytes */
};
int gh_smbios_publish(struct gh_fw_cfg *fw, const struct gh_smbios_config *config, struct gh_error *err);
