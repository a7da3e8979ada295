/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * VMware's .vmx files. A machine with snapshots names the newest child disk; its parents are found by the disk library. The
 * .vmsd file beside it lists the snapshots and the disks of each; the hardware is the current one's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <fcntl.h>
#include <unistd.h>

#include "appliance/i18n.h"
#include "appliance/keys.h"
#include "appliance/package.h"

static void unescape(char *text) /* "|0A" is a line break */
{
    char *to = text;

    for (char *p = text; *p; p++) {
        char hex[3] = { 0 };
        if (*p == '|' && strspn(p + 1, "0123456789abcdefABCDEF") >= 2) {
            memcpy(hex, p + 1, 2);
            *to++ = (char)strtoul(hex, NULL, 16);
            p += 2;
        } else {
            *to++ = *p;
        }
    }
    *to = 0;
}

enum { VMSD_BYTES_MAX = 1 << 20 };
struct vmsd { struct gh_keys k; int wanted; };   /* wanted: number of the snapshot that is asked for, or -1 */

static int read_vmsd(struct gh_package *p, struct gh_appliance *a, struct vmsd *v, struct gh_error *err)
{
    char path[PATH_MAX];
    int fd = -1, r = 0;

    v->wanted = -1;
    if (snprintf(path, sizeof path, "%s/%s.vmsd", p->folder, p->stem) < (int)sizeof path)
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    char *text = fd < 0 ? NULL : malloc(VMSD_BYTES_MAX);
    ssize_t n = text ? pread(fd, text, VMSD_BYTES_MAX, 0) : 0;
    if (n > 0)
        r = gh_keys_read(&v->k, text, (size_t)n, false, path, err);
    free(text);
    if (fd >= 0)
        close(fd);
    unsigned long long count = r ? 0 : gh_keys_number(&v->k, "snapshot.numSnapshots");
    for (unsigned long long i = 0; i < count; i++) {
        char key[48], name[128], uid[24];
        snprintf(key, sizeof key, "snapshot%llu.displayName", i);
        gh_keys_text(&v->k, key, name, sizeof name);
        unescape(name);
        snprintf(key, sizeof key, "snapshot%llu.uid", i);
        gh_keys_text(&v->k, key, uid, sizeof uid);
        if (!gh_appliance_add_snapshot(a, name, uid, ""))
            break;
        if (v->wanted < 0 && gh_appliance_wants(a, name, uid))
            v->wanted = (int)i;
    }
    return r;
}

/* What a place of the machine held at the snapshot. */
static void disk_then(struct vmsd *v, const char *place, char *file, size_t size)
{
    char key[64], node[24];

    for (unsigned i = 0; v->wanted >= 0 && i < GH_APPLIANCE_MEDIA_MAX * 2; i++) {
        snprintf(key, sizeof key, "snapshot%d.disk%u.node", v->wanted, i);
        gh_keys_text(&v->k, key, node, sizeof node);
        if (strcasecmp(node, place))
            continue;
        snprintf(key, sizeof key, "snapshot%d.disk%u.fileName", v->wanted, i);
        gh_keys_text(&v->k, key, file, size);
        return;
    }
}

static int take_drive(struct gh_package *p, struct gh_appliance *a, struct gh_keys *k, struct vmsd *v, const char *place, const char *theirs,
                      struct gh_error *err)
{
    char key[40], type[40], file[1024], mode[40];

    snprintf(key, sizeof key, "%s.present", place);
    if (gh_keys_raw(k, key) && !gh_keys_true(k, key))
        return 0;
    snprintf(key, sizeof key, "%s.fileName", place);
    gh_keys_text(k, key, file, sizeof file);
    snprintf(key, sizeof key, "%s.deviceType", place);
    gh_keys_text(k, key, type, sizeof type);
    snprintf(key, sizeof key, "%s.mode", place);
    gh_keys_text(k, key, mode, sizeof mode);
    if (!file[0] && !type[0])
        return 0;
    bool cd = strcasestr(type, "cdrom") != NULL;
    if (!cd)
        disk_then(v, place, file, sizeof file);
    unescape(file);
    if (cd && strcasecmp(type, "cdrom-image")) {
        if (file[0] && strcasecmp(file, "auto detect"))
            gh_appliance_note(a, GH_DROPPED, _("A drive of the other computer; the drive is empty"));
        file[0] = 0;
    }
    if (!cd && strcasestr(type, "raw"))
        return gh_error_set(err, -ENOTSUP, "ApplianceUnsupported", "“%s” uses a whole disk of the other computer, which cannot be imported.", p->path);
    if (!cd && !file[0])
        return 0;
    struct gh_appliance_medium *m = gh_appliance_add_medium(a, cd ? "cdrom" : "disk", cd ? "ide" : gh_appliance_bus(a, theirs), file, err);
    if (m && !cd && strcasestr(mode, "nonpersistent"))
        gh_appliance_set_mode(a, m, "immutable");
    else if (m && !cd && !strcasecmp(mode, "independent-persistent"))
        gh_appliance_set_mode(a, m, "write-through");
    return m ? 0 : -E2BIG;
}

static int take_storage(struct gh_package *p, struct gh_appliance *a, struct gh_keys *k, struct vmsd *v, struct gh_error *err)
{
    static const struct { const char *name; unsigned controllers, units; } buses[] = { { "ide", 2, 2 }, { "sata", 4, 30 }, { "scsi", 4, 16 }, { "nvme", 4, 15 } };
    char key[40], place[24], theirs[40];
    int r = 0;

    for (size_t b = 0; b < 4; b++)
        for (unsigned c = 0; c < buses[b].controllers; c++) {
            snprintf(key, sizeof key, "%s%u.virtualDev", buses[b].name, c);
            gh_keys_text(k, key, theirs, sizeof theirs);
            for (unsigned u = 0; u < buses[b].units && !r; u++) {
                snprintf(place, sizeof place, "%s%u:%u", buses[b].name, c, u);
                r = take_drive(p, a, k, v, place, theirs[0] ? theirs : buses[b].name, err);
            }
        }
    return r;
}

static int take_networks(struct gh_appliance *a, struct gh_keys *k, struct gh_error *err)
{
    for (unsigned i = 0; i < 10; i++) {
        char key[40], kind[40], device[40], mac[24];
        snprintf(key, sizeof key, "ethernet%u.present", i);
        if (!gh_keys_true(k, key))
            continue;
        snprintf(key, sizeof key, "ethernet%u.connectionType", i);
        gh_keys_text(k, key, kind, sizeof kind);
        snprintf(key, sizeof key, "ethernet%u.virtualDev", i);
        gh_keys_text(k, key, device, sizeof device);
        snprintf(key, sizeof key, "ethernet%u.address", i);
        gh_keys_text(k, key, mac, sizeof mac);
        if (!mac[0]) {
            snprintf(key, sizeof key, "ethernet%u.generatedAddress", i);
            gh_keys_text(k, key, mac, sizeof mac);
        }
        if (!kind[0]) { /* ESXi */
            snprintf(key, sizeof key, "ethernet%u.networkName", i);
            gh_keys_text(k, key, kind, sizeof kind);
        }
        /* VMware: nothing stated means bridged. */
        struct gh_appliance_network *n = gh_appliance_add_network(a, gh_appliance_adapter(a, device[0] ? device : "vlance"),
            gh_appliance_network_mode(a, kind[0] ? kind : "bridged"), mac, err);
        if (!n)
            return err->code;
        snprintf(key, sizeof key, "ethernet%u.startConnected", i);
        n->connected = !gh_keys_raw(k, key) || gh_keys_true(k, key);
    }
    return 0;
}

static int take_floppies(struct gh_appliance *a, struct gh_keys *k, struct gh_error *err)
{
    for (unsigned i = 0; i < 2; i++) {
        char key[40], file[1024], type[24];
        snprintf(key, sizeof key, "floppy%u.present", i);
        /* Absent means there for the first one, but only a named image is worth a drive. */
        if (gh_keys_raw(k, key) && !gh_keys_true(k, key))
            continue;
        snprintf(key, sizeof key, "floppy%u.fileType", i);
        gh_keys_text(k, key, type, sizeof type);
        snprintf(key, sizeof key, "floppy%u.fileName", i);
        gh_keys_text(k, key, file, sizeof file);
        unescape(file);
        if (!strcasecmp(type, "file") && file[0] && !gh_appliance_add_medium(a, "floppy", "fdc", file, err))
            return -E2BIG;
    }
    return 0;
}

/* "cdrom,hdd,ethernet0" */
static void take_boot(struct gh_appliance *a, struct gh_keys *k)
{
    static const struct { const char *name; char letter; } letters[] = { { "hdd", 'c' }, { "cdrom", 'd' }, { "floppy", 'a' }, { "ethernet", 'n' } };
    char text[128], order[5] = "";
    size_t n = 0;

    gh_keys_text(k, "bios.bootOrder", text, sizeof text);
    for (const char *p = text; *p;) {
        p += strspn(p, " ,");
        for (size_t i = 0; i < 4; i++)
            if (!strncasecmp(p, letters[i].name, strlen(letters[i].name)) && !strchr(order, letters[i].letter))
                order[n++] = letters[i].letter, order[n] = 0;
        p += strcspn(p, ",");
    }
    if (order[0])
        snprintf(a->boot_order, sizeof a->boot_order, "%s", order);
}

static void extras(struct gh_appliance *a, struct gh_keys *k)
{
    static const struct { const char *key, *text; } lost[] = {
        { "sound.present", N_("The sound card") }, { "usb.present", N_("The USB controller") }, { "usb_xhci.present", N_("The USB controller") },
        { "ehci.present", N_("The USB controller") }, { "vtpm.present", N_("The TPM with what it holds") },
        { "mks.enable3d", N_("3D acceleration") }, { "sharedFolder0.present", N_("Shared folders") }, { "serial0.present", N_("Serial ports") },
        { "parallel0.present", N_("Parallel ports") }, { "uefi.secureBoot.enabled", N_("Secure Boot") },
    };
    char state[300];

    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++)
        if (gh_keys_true(k, lost[i].key))
            gh_appliance_note(a, GH_DROPPED, "%s", _(lost[i].text));
    gh_keys_text(k, "checkpoint.vmState", state, sizeof state);
    if (state[0] && !a->snapshot[0])
        gh_appliance_note(a, GH_DROPPED, _("The saved state; the machine starts as after pulling the plug"));
}

int gh_read_vmx(struct gh_package *p, struct gh_appliance *a, struct gh_error *err)
{
    struct gh_keys k;
    struct vmsd v = { .wanted = -1 };
    char text[128], state[300] = "";
    int r = gh_keys_read(&k, p->text, p->text_bytes, false, p->path, err);

    snprintf(a->dialect, sizeof a->dialect, "VMware");
    if (!r && gh_keys_raw(&k, "encryption.keySafe"))
        r = gh_error_set(err, -ENOTSUP, "ApplianceEncrypted", "“%s” is encrypted; decrypt it in VMware first.", p->path);
    if (!r && !gh_keys_raw(&k, "config.version") && !gh_keys_raw(&k, "virtualHW.version") && !gh_keys_raw(&k, "displayName"))
        r = gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” describes no VMware machine.", p->path);
    if (!r) {
        unsigned long long cpus = gh_keys_number(&k, "numvcpus"), mib = gh_keys_number(&k, "memsize");
        gh_keys_text(&k, "displayName", a->name, sizeof a->name);
        unescape(a->name);
        gh_appliance_text(text, sizeof text, a->name);
        snprintf(a->name, sizeof a->name, "%s", text);
        gh_keys_text(&k, "guestOS", a->os, sizeof a->os);
        char *annotation = calloc(1, 16384);
        if (annotation) {
            gh_keys_text(&k, "annotation", annotation, 16384);
            unescape(annotation);
            gh_appliance_text_new(&a->description, annotation, 16000);
        }
        free(annotation);
        a->cpus = cpus > 4096 ? 4096 : cpus ? (uint32_t)cpus : 1;
        a->memory_bytes = (mib && mib < 1ull << 30 ? mib : mib ? 1ull << 30 : 256) << 20; /* VMware's own default */
        gh_keys_text(&k, "firmware", text, sizeof text);
        if (!strcasecmp(text, "efi"))
            strcpy(a->firmware, "uefi");
        if (strcasestr(a->os, "win") && !gh_keys_true(&k, "rtc.utc"))
            strcpy(a->clock_base, "local");
        take_boot(a, &k);
        r = read_vmsd(p, a, &v, err);
        if (!r && v.wanted >= 0) {
            char key[48];
            snprintf(key, sizeof key, "snapshot%d.type", v.wanted); /* 1: with memory */
            gh_keys_text(&v.k, key, state, sizeof state);
        }
        if (!r)
            r = gh_appliance_from_snapshot(a, v.wanted >= 0, !strcmp(state, "1"), p->path, err);
        if (!r)
            r = take_storage(p, a, &k, &v, err);
    }
    if (!r)
        r = take_floppies(a, &k, err);
    if (!r)
        r = take_networks(a, &k, err);
    if (!r)
        extras(a, &k);
    gh_keys_free(&k);
    gh_keys_free(&v.k);
    return r;
}
