/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Configuration of Xen's xl and xm: assignments with strings and lists in Python's spelling, never evaluated. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/i18n.h"
#include "appliance/keys.h"
#include "appliance/package.h"

struct disk { char target[1024], vdev[32]; bool cd; };

/* hda, sdb, xvda1, with what follows; not a format. */
static bool is_place(const char *text)
{
    return (text[0] && strchr("hs", text[0]) && text[1] == 'd' && text[2] >= 'a' && text[2] <= 'z') || !strncmp(text, "xvd", 3);
}

/* xl's "key=value,..." or its positions: target, format, vdev, access; xm's "phy:target,vdev,access". */
static void split_disk(const char *text, struct disk *d)
{
    static const char *const prefixes[] = { "file:", "phy:", "tap:", "tap2:", "aio:", "qcow:", "qcow2:", "vhd:", "raw:" };
    unsigned position = 0;
    bool old = false;

    memset(d, 0, sizeof *d);
    while (*text) {
        char part[1024];
        text += strspn(text, " \t");
        size_t n = strcspn(text, ",");
        /* target= takes the rest of the line */
        if (!strncmp(text, "target=", 7))
            n = strlen(text);
        snprintf(part, sizeof part, "%.*s", (int)(n < sizeof part ? n : sizeof part - 1), text);
        char *eq = strchr(part, '=');
        if (!strcasecmp(part, "cdrom") || !strcasecmp(part, "devtype=cdrom")) {
            d->cd = true;
        } else if (eq && strcspn(part, "/:") > (size_t)(eq - part)) {
            *eq = 0;
            if (!strcmp(part, "target"))
                snprintf(d->target, sizeof d->target, "%s", eq + 1);
            else if (!strcmp(part, "vdev"))
                snprintf(d->vdev, sizeof d->vdev, "%s", eq + 1);
        } else {
            if (position == 0) {
                const char *t = part;
                for (bool again = true; again;) {
                    again = false;
                    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
                        if (!strncmp(t, prefixes[i], strlen(prefixes[i])))
                            t += strlen(prefixes[i]), again = old = true;
                }
                snprintf(d->target, sizeof d->target, "%s", t);
            } else if (position == 1 && is_place(part)) { /* xm, also for an empty drive: ",hdc:cdrom,r" */
                old = true;
                snprintf(d->vdev, sizeof d->vdev, "%.31s", part);
            } else if (position == (old ? 1u : 2u) && !d->vdev[0]) {
                snprintf(d->vdev, sizeof d->vdev, "%.31s", part);
            }
            position++;
        }
        text += n;
        text += *text == ',';
    }
    char *colon = strchr(d->vdev, ':');
    if (colon) {
        d->cd |= !strcmp(colon + 1, "cdrom");
        *colon = 0;
    }
}

static int take_disks(struct gh_appliance *a, const char *list, struct gh_error *err)
{
    char text[1100];

    while (list && gh_keys_item(&list, text, sizeof text)) {
        struct disk d;
        split_disk(text, &d);
        const char *bus = !strncmp(d.vdev, "hd", 2) ? "ide" : !strncmp(d.vdev, "sd", 2) ? "sata" : !strncmp(d.vdev, "xvd", 3) ? "xvd" : "ide";
        if (!d.target[0] && !d.cd)
            continue;
        if (!gh_appliance_add_medium(a, d.cd ? "cdrom" : "disk", d.cd ? "ide" : gh_appliance_bus(a, bus), d.target, err))
            return -E2BIG;
    }
    return 0;
}

static int take_networks(struct gh_appliance *a, const char *list, struct gh_error *err)
{
    char text[400];

    while (list && gh_keys_item(&list, text, sizeof text)) {
        char mac[24] = "", model[32] = "", *save = NULL;
        bool bridge = strstr(text, "bridge=") || !strstr(text, "script=");
        for (char *w = strtok_r(text, ", ", &save); w; w = strtok_r(NULL, ", ", &save)) {
            if (!strncmp(w, "mac=", 4))
                snprintf(mac, sizeof mac, "%.23s", w + 4);
            else if (!strncmp(w, "model=", 6))
                snprintf(model, sizeof model, "%.31s", w + 6);
        }
        if (!gh_appliance_add_network(a, gh_appliance_adapter(a, model[0] ? model : "rtl8139"), gh_appliance_network_mode(a, bridge ? "bridged" : "routed"), mac, err))
            return err->code;
    }
    return 0;
}

int gh_read_xen(struct gh_package *p, struct gh_appliance *a, struct gh_error *err)
{
    struct gh_keys k;
    char text[128], builder[16];
    int r = gh_keys_read(&k, p->text, p->text_bytes, true, p->path, err);

    if (!r) {
        snprintf(a->dialect, sizeof a->dialect, "Xen");
        gh_keys_text(&k, "name", a->name, sizeof a->name);
        unsigned long long mib = gh_keys_number(&k, "memory"), cpus = gh_keys_number(&k, "vcpus");
        a->memory_bytes = mib < 1ull << 30 ? mib << 20 : 1ull << 60;
        a->cpus = cpus > 4096 ? 4096 : cpus ? (uint32_t)cpus : 1;
        gh_keys_text(&k, "firmware", text, sizeof text);
        if (!strcasecmp(text, "uefi") || !strcasecmp(text, "ovmf"))
            strcpy(a->firmware, "uefi");
        gh_keys_text(&k, "boot", text, sizeof text);
        if (text[0] && strlen(text) <= 4 && !text[strspn(text, "acdn")])
            snprintf(a->boot_order, sizeof a->boot_order, "%s", text);
        if (gh_keys_true(&k, "localtime"))
            strcpy(a->clock_base, "local");
        gh_keys_text(&k, "type", text, sizeof text);
        gh_keys_text(&k, "builder", builder, sizeof builder);
        bool full = !strcasecmp(text, "hvm") || !strcasecmp(builder, "hvm");
        if (!full) {
            gh_appliance_text_new(&a->blocker, _("It is a paravirtualized machine: it starts here once its disk has a boot loader and a kernel that runs without Xen."), 900);
            if (gh_keys_raw(&k, "kernel") || gh_keys_raw(&k, "bootloader"))
                gh_appliance_note(a, GH_DROPPED, _("A kernel started directly; the machine boots from its disk"));
        }
        for (unsigned i = 0; i < 3; i++) {
            static const char *const lost[] = { "usbdevice", "pci", "soundhw" };
            if (gh_keys_raw(&k, lost[i]))
                gh_appliance_note(a, GH_DROPPED, _("The setting “%.40s”"), lost[i]);
        }
        r = take_disks(a, gh_keys_raw(&k, "disk"), err);
    }
    if (!r)
        r = take_networks(a, gh_keys_raw(&k, "vif"), err);
    gh_keys_free(&k);
    return r;
}
