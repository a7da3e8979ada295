/* SPDX-License-Identifier: GPL-3.0-or-later */
/* libvirt's domain XML, as "virsh dumpxml" prints it or /etc/libvirt/qemu holds it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/i18n.h"
#include "appliance/package.h"
#include "appliance/xml.h"

static uint64_t memory(xmlNodePtr domain, const char *name)
{
    static const struct { const char *unit; uint64_t bytes; } units[] = {
        { "", 1024 }, { "KiB", 1024 }, { "k", 1024 }, { "b", 1 }, { "bytes", 1 }, { "KB", 1000 }, { "MiB", 1 << 20 }, { "M", 1 << 20 }, { "MB", 1000000 },
        { "GiB", 1 << 30 }, { "G", 1 << 30 }, { "GB", 1000000000 }, { "TiB", 1ull << 40 }, { "T", 1ull << 40 },
    };
    char text[40], unit[16];
    xmlNodePtr n = gh_xml_child(domain, name);

    gh_xml_text(n, text, sizeof text);
    gh_xml_attr(n, "unit", unit, sizeof unit);
    uint64_t v = text[0] == '-' ? 0 : strtoull(text, NULL, 10);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(unit, units[i].unit))
            return v < (1ull << 62) / units[i].bytes ? v * units[i].bytes : 1ull << 60;
    return 0;
}

/* A guest that found its disk there has virtio's drivers. */
static bool has_virtio_scsi(xmlNodePtr devices)
{
    for (xmlNodePtr n = gh_xml_child(devices, "controller"); n; n = gh_xml_next(n, "controller")) {
        char type[16], model[40];
        gh_xml_attr(n, "type", type, sizeof type);
        gh_xml_attr(n, "model", model, sizeof model);
        if (!strcmp(type, "scsi") && !strncmp(model, "virtio", 6))
            return true;
    }
    return false;
}

static int take_disk(struct gh_package *p, struct gh_appliance *a, xmlNodePtr n, struct gh_error *err)
{
    char device[16], type[16], file[1024] = "", bus[24];
    xmlNodePtr source = gh_xml_child(n, "source");

    gh_xml_attr(n, "device", device, sizeof device);
    gh_xml_attr(n, "type", type, sizeof type);
    gh_xml_attr(gh_xml_child(n, "target"), "bus", bus, sizeof bus);
    const char *kind = !strcmp(device, "cdrom") ? "cdrom" : !strcmp(device, "floppy") ? "floppy" : "disk";
    gh_xml_attr(source, "file", file, sizeof file);
    if (!file[0])
        gh_xml_attr(source, "dev", file, sizeof file);
    if (source && !file[0] && strcmp(type, "file") && strcmp(type, "block")) {
        if (!strcmp(kind, "disk"))
            return gh_error_set(err, -ENOTSUP, "ApplianceUnsupported", "“%s” has a disk of the kind “%s”, which is not on this computer as a file; "
                                "copy it to one first.", p->path, type);
        gh_appliance_note(a, GH_DROPPED, _("A medium of the kind “%.20s”; the drive is empty"), type);
    }
    if (!strcmp(device, "lun"))
        return gh_error_set(err, -ENOTSUP, "ApplianceUnsupported", "“%s” hands a whole SCSI device to the guest, which cannot be imported.", p->path);
    if (!file[0] && !strcmp(kind, "disk"))
        return 0;
    if (gh_xml_child(n, "encryption") || gh_xml_child(source, "encryption"))
        return gh_error_set(err, -ENOTSUP, "ApplianceEncrypted", "A disk of “%s” is encrypted; decrypt it first.", p->path);
    const char *theirs = !strcmp(bus, "scsi") && has_virtio_scsi(n->parent) ? "virtio-scsi" : bus;
    struct gh_appliance_medium *m = gh_appliance_add_medium(a, kind, strcmp(kind, "disk") ? "ide" : gh_appliance_bus(a, theirs), file, err);
    if (m && !strcmp(kind, "disk") && (gh_xml_child(n, "transient") || gh_xml_child(n, "readonly")))
        gh_appliance_set_mode(a, m, gh_xml_child(n, "readonly") ? "read-only" : "immutable");
    return m ? 0 : -E2BIG;
}

static int take_interface(struct gh_appliance *a, xmlNodePtr n, struct gh_error *err)
{
    char type[24], mac[24], model[32], network[64], state[8];

    gh_xml_attr(n, "type", type, sizeof type);
    gh_xml_attr(gh_xml_child(n, "mac"), "address", mac, sizeof mac);
    gh_xml_attr(gh_xml_child(n, "model"), "type", model, sizeof model);
    gh_xml_attr(gh_xml_child(n, "source"), "network", network, sizeof network);
    gh_xml_attr(gh_xml_child(n, "link"), "state", state, sizeof state);
    if (!strcmp(type, "hostdev"))
        gh_appliance_note(a, GH_CHANGED, _("A network card of the host becomes an adapter of the machine."));
    const char *mode = !strcmp(type, "user") || (!strcmp(type, "network") && (!network[0] || !strcmp(network, "default"))) ? "nat"
                       : network[0] ? network : type;
    struct gh_appliance_network *net = gh_appliance_add_network(a, gh_appliance_adapter(a, model), gh_appliance_network_mode(a, mode), mac, err);
    if (!net)
        return err->code;
    net->connected = strcmp(state, "down") != 0;
    return 0;
}

static int take_devices(struct gh_package *p, struct gh_appliance *a, xmlNodePtr devices, struct gh_error *err)
{
    static const struct { const char *element, *text; } lost[] = {
        { "sound", N_("The sound card") }, { "filesystem", N_("Shared folders") }, { "hostdev", N_("A device of the other computer") },
        { "tpm", N_("The TPM with what it holds") }, { "smartcard", N_("The smart card reader") }, { "shmem", N_("Memory shared with other machines") },
        { "watchdog", N_("The watchdog") }, { "redirdev", N_("USB redirection") }, { "parallel", N_("Parallel ports") },
    };
    int r = 0;

    for (xmlNodePtr n = devices ? devices->children : NULL; n && !r; n = n->next) {
        if (gh_xml_is(n, "disk"))
            r = take_disk(p, a, n, err);
        else if (gh_xml_is(n, "interface"))
            r = take_interface(a, n, err);
        for (size_t i = 0; i < sizeof lost / sizeof *lost; i++)
            if (gh_xml_is(n, lost[i].element))
                gh_appliance_note(a, GH_DROPPED, "%s", _(lost[i].text));
    }
    return r;
}

/* Orders of the devices themselves (boot order='1'), which virt-manager writes; order has room for four letters. */
static void take_device_order(xmlNodePtr devices, char order[5])
{
    static const struct { const char *device; char letter; } kinds[] = { { "disk", 'c' }, { "", 'c' }, { "cdrom", 'd' }, { "floppy", 'a' } };
    unsigned place[4] = { 0 };

    for (xmlNodePtr n = devices ? devices->children : NULL; n; n = n->next) {
        char text[16], device[16];
        bool disk = gh_xml_is(n, "disk");
        gh_xml_attr(gh_xml_child(n, "boot"), "order", text, sizeof text);
        unsigned at = (unsigned)strtoul(text, NULL, 10);
        if (!at || (!disk && !gh_xml_is(n, "interface")))
            continue;
        char letter = 'n';
        gh_xml_attr(n, "device", device, sizeof device);
        for (size_t i = 0; disk && i < 4; i++)
            if (!strcmp(device, kinds[i].device))
                letter = kinds[i].letter;
        size_t i = (size_t)(strchr("cdan", letter) - "cdan");
        if (!place[i] || at < place[i])
            place[i] = at;
    }
    for (size_t used = 0; used < 4; used++) {
        size_t best = 4;
        for (size_t i = 0; i < 4; i++)
            if (place[i] && (best == 4 || place[i] < place[best]))
                best = i;
        if (best == 4)
            break;
        place[best] = 0;
        order[used] = "cdan"[best];
        order[used + 1] = 0;
    }
}

static bool is_enabled(xmlNodePtr n, const char *attribute)
{
    char text[8];

    gh_xml_attr(n, attribute, text, sizeof text);
    return !strcmp(text, "yes");
}

static void take_os(struct gh_appliance *a, xmlNodePtr domain)
{
    static const struct { const char *dev; char letter; } letters[] = { { "hd", 'c' }, { "cdrom", 'd' }, { "fd", 'a' }, { "network", 'n' } };
    xmlNodePtr os = gh_xml_child(domain, "os"), loader = gh_xml_child(os, "loader");
    char text[256], order[5] = "";
    size_t n = 0;

    gh_xml_attr(os, "firmware", text, sizeof text);
    bool uefi = !strcmp(text, "efi");
    gh_xml_attr(loader, "type", text, sizeof text);
    uefi |= !strcmp(text, "pflash");
    gh_xml_text(loader, text, sizeof text);
    if (uefi || strcasestr(text, "ovmf") || strcasestr(text, "edk2"))
        strcpy(a->firmware, "uefi");
    bool secure = is_enabled(loader, "secure");
    for (xmlNodePtr f = gh_xml_path(os, "firmware", "feature"); f; f = gh_xml_next(f, "feature")) {
        gh_xml_attr(f, "name", text, sizeof text);
        secure |= !strcmp(text, "secure-boot") && is_enabled(f, "enabled");
    }
    if (secure)
        gh_appliance_note(a, GH_DROPPED, _("Secure Boot"));
    take_device_order(gh_xml_child(domain, "devices"), order);
    n = strlen(order);
    for (xmlNodePtr b = n ? NULL : gh_xml_child(os, "boot"); b && n < 4; b = gh_xml_next(b, "boot")) {
        gh_xml_attr(b, "dev", text, sizeof text);
        for (size_t i = 0; i < 4; i++)
            if (!strcmp(text, letters[i].dev) && !strchr(order, letters[i].letter))
                order[n++] = letters[i].letter, order[n] = 0;
    }
    if (n)
        snprintf(a->boot_order, sizeof a->boot_order, "%s", order);
    if (gh_xml_child(os, "kernel"))
        gh_appliance_note(a, GH_DROPPED, _("A kernel started directly; the machine boots from its disk"));
    gh_xml_text(gh_xml_child(os, "type"), text, sizeof text);
    if (!strcmp(text, "linux") || !strcmp(text, "xen") || !strcmp(text, "exe"))
        gh_appliance_text_new(&a->blocker, _("It is a paravirtualized or container machine without firmware; it needs a boot loader on its disk to start here."), 900);
    gh_xml_attr(gh_xml_child(os, "type"), "arch", text, sizeof text);
    if (text[0] && strcmp(text, "x86_64") && strcmp(text, "i686"))
        gh_appliance_text_new(&a->blocker, _("It is made for another processor; only x86 machines run here."), 900);
}

/* libosinfo's id lies somewhere below metadata, in whatever nesting a tool chose. */
static void take_osinfo(struct gh_appliance *a, xmlNodePtr domain)
{
    xmlNodePtr meta = gh_xml_child(domain, "metadata");

    for (xmlNodePtr n = meta ? meta->children : NULL; n; n = n->next) {
        xmlNodePtr os = gh_xml_is(n, "libosinfo") ? gh_xml_child(n, "os") : NULL;
        if (!os)
            continue;
        gh_xml_attr(os, "id", a->os_id, sizeof a->os_id);
        snprintf(a->os, sizeof a->os, "%s", a->os_id);
    }
}

int gh_read_libvirt(struct gh_package *p, struct gh_appliance *a, struct gh_error *err)
{
    xmlDocPtr doc = gh_xml_parse(p->text, p->text_bytes, p->path, err);
    xmlNodePtr domain = doc ? xmlDocGetRootElement(doc) : NULL;
    char text[64];
    int r = 0;

    if (gh_xml_is(domain, "domstatus"))
        domain = gh_xml_child(domain, "domain");
    if (!doc)
        return -EINVAL;
    if (!domain || !gh_xml_child(domain, "devices"))
        r = gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” describes no libvirt machine.", p->path);
    if (!r) {
        snprintf(a->dialect, sizeof a->dialect, "libvirt");
        gh_xml_child_text(domain, "title", a->name, sizeof a->name);
        if (!a->name[0])
            gh_xml_child_text(domain, "name", a->name, sizeof a->name);
        char *description = gh_xml_text_new(gh_xml_child(domain, "description"));
        gh_appliance_text_new(&a->description, description, 16000);
        free(description);
        a->memory_bytes = memory(domain, "memory");
        gh_xml_attr(gh_xml_child(domain, "vcpu"), "current", text, sizeof text); /* the number itself is the most there can be */
        if (!text[0])
            gh_xml_child_text(domain, "vcpu", text, sizeof text);
        unsigned long cpus = strtoul(text, NULL, 10);
        a->cpus = cpus > 4096 ? 4096 : cpus ? (uint32_t)cpus : 1;
        gh_xml_attr(gh_xml_child(domain, "clock"), "offset", text, sizeof text);
        if (!strcmp(text, "localtime"))
            strcpy(a->clock_base, "local");
        take_os(a, domain);
        take_osinfo(a, domain);
        if (gh_xml_child(domain, "commandline") || gh_xml_child(domain, "override"))
            gh_appliance_note(a, GH_DROPPED, _("What is given to QEMU on its own command line"));
        r = take_devices(p, a, gh_xml_child(domain, "devices"), err);
    }
    xmlFreeDoc(doc);
    return r;
}
