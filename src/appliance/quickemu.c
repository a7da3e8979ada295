/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Quickemu's .conf: shell assignments, of which only plain strings are taken; nothing is executed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/i18n.h"
#include "appliance/keys.h"
#include "appliance/package.h"

static void plain(struct gh_appliance *a, struct gh_keys *k, const char *key, char *out, size_t size)
{
    gh_keys_text(k, key, out, size);
    if (strpbrk(out, "$`")) {
        gh_appliance_note(a, GH_DROPPED, _("The setting “%.40s”, which would have to be computed"), key);
        out[0] = 0;
    }
}

static uint64_t size_of(const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    unsigned shift = *end == 'K' || *end == 'k' ? 10 : *end == 'M' || *end == 'm' ? 20 : *end == 'G' || *end == 'g' ? 30 : *end == 'T' ? 40 : 0;

    return n < 1ull << (60 - shift) ? n << shift : 0;
}

int gh_read_quickemu(struct gh_package *p, struct gh_appliance *a, struct gh_error *err)
{
    static const char *const lost[] = { "port_forwards", "public_dir", "usb_devices", "tpm", "secureboot", "macos_release", "extra_args", "img" };
    struct gh_keys k;
    char os[64], text[1024];
    int r = gh_keys_read(&k, p->text, p->text_bytes, true, p->path, err);

    if (!r) {
        snprintf(a->dialect, sizeof a->dialect, "Quickemu");
        snprintf(a->name, sizeof a->name, "%s", p->stem);
        plain(a, &k, "guest_os", os, sizeof os);
        /* "linux" alone says little: the file is usually named after the distribution. */
        bool generic = !strcmp(os, "linux") || !strncmp(os, "windows", 7) || !os[0];
        gh_appliance_text(a->os, sizeof a->os, generic && gh_appliance_os_id(p->stem)[0] ? p->stem : os);
        plain(a, &k, "ram", text, sizeof text);
        a->memory_bytes = text[0] ? size_of(text) >> 20 << 20 : 4ull << 30;
        unsigned long long cpus = gh_keys_number(&k, "cpu_cores");
        a->cpus = cpus > 4096 ? 4096 : cpus ? (uint32_t)cpus : 2;
        plain(a, &k, "boot", text, sizeof text);
        bool bios = !strcmp(text, "legacy") || !strcmp(text, "bios"); /* its own default is EFI */
        snprintf(a->firmware, sizeof a->firmware, "%s", bios ? "bios" : "uefi");
        if (!strncmp(os, "windows", 7))
            strcpy(a->clock_base, "local");
        plain(a, &k, "disk_img", text, sizeof text);
        struct gh_appliance_medium *disk = text[0] ? gh_appliance_add_medium(a, "disk", "virtio", text, err) : NULL;
        if (text[0] && !disk)
            r = -E2BIG;
        plain(a, &k, "disk_size", text, sizeof text);
        if (disk && (text[0] || gh_keys_raw(&k, "iso"))) { /* it is made at the first start */
            uint64_t bytes = size_of(text);
            disk->is_new = true;
            disk->virtual_bytes = bytes >= 1 << 20 && bytes <= 64ull << 40 ? bytes : strncmp(os, "windows", 7) ? 16ull << 30 : 64ull << 30;
        }
        static const char *const images[] = { "iso", "fixed_iso", "floppy" };
        for (unsigned i = 0; i < 3 && !r; i++) {
            plain(a, &k, images[i], text, sizeof text);
            if (text[0] && !gh_appliance_add_medium(a, i < 2 ? "cdrom" : "floppy", i < 2 ? "ide" : "fdc", text, err))
                r = -E2BIG;
        }
        for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) {
            plain(a, &k, lost[i], text, sizeof text);
            if (gh_keys_raw(&k, lost[i]) && strcmp(text, "off"))
                gh_appliance_note(a, GH_DROPPED, _("The setting “%.40s”"), lost[i]);
        }
        if (!strcmp(os, "macos"))
            gh_appliance_text_new(&a->blocker, _("macOS needs hardware that this application does not imitate."), 900);
        char mac[40];
        plain(a, &k, "network", text, sizeof text);
        plain(a, &k, "macaddr", mac, sizeof mac);
        if (!r && strcmp(text, "none") && !gh_appliance_add_network(a, "virtio-net", gh_appliance_network_mode(a, text), mac, err))
            r = err->code;
    }
    gh_keys_free(&k);
    return r;
}
