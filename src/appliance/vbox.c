/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * VirtualBox's .vbox files, and the .xml files of its versions before 4.0 (settings 1.2 to 1.11): the current state of the machine, or a
 * snapshot. Its disks are images of a tree that name each other by UUID, those of the current state its leaves; resolve.c follows
 * them. Before settings 1.11 the images' places are in another file: they are looked for by their UUIDs (disk.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/i18n.h"
#include "appliance/ovf.h"
#include "appliance/package.h"
#include "appliance/xml.h"

enum { IMAGES_MAX = 512 };
struct image { char uuid[40], location[1024], format[16], type[16]; bool encrypted; };
struct reader { struct gh_package *p; struct gh_appliance *a; struct image *image; unsigned images; };

static void plain_uuid(char out[40], const char *text)
{
    size_t n = strcspn(text + (text[0] == '{'), "}");

    snprintf(out, 40, "%.*s", (int)(n < 39 ? n : 39), text + (text[0] == '{'));
}

/* An explicit stack: the tree's depth is the file's choice (and bounded by the parser). */
static int take_images(struct reader *v, xmlNodePtr list, const char *name, struct gh_error *err)
{
    xmlNodePtr n = gh_xml_child(list, name), top = list;

    while (n) {
        char uuid[64];
        if (v->images == IMAGES_MAX)
            return gh_error_set(err, -E2BIG, "ApplianceTooLarge", "“%s” registers more than %d images.", v->p->path, IMAGES_MAX);
        struct image *i = &v->image[v->images++];
        gh_xml_attr(n, "uuid", uuid, sizeof uuid);
        plain_uuid(i->uuid, uuid);
        gh_xml_attr(n, "location", i->location, sizeof i->location);
        gh_xml_attr(n, "format", i->format, sizeof i->format);
        gh_xml_attr(n, "type", i->type, sizeof i->type);
        for (xmlNodePtr q = gh_xml_child(n, "Property"); q; q = gh_xml_next(q, "Property")) {
            char key[64];
            gh_xml_attr(q, "name", key, sizeof key);
            i->encrypted |= !strcmp(key, "CRYPT/KeyStore");
        }
        xmlNodePtr next = gh_xml_child(n, name);
        while (!next && n && n != top) {
            next = gh_xml_next(n, name);
            n = n->parent;
        }
        n = next;
    }
    return 0;
}

static const struct image *find(struct reader *v, const char *uuid)
{
    for (unsigned i = 0; i < v->images; i++)
        if (!strcasecmp(v->image[i].uuid, uuid))
            return &v->image[i];
    return NULL;
}

/* What is on it: an image of the list, one that only has a UUID, one by its path (before 1.3), or nothing. */
static int add_drive(struct reader *v, xmlNodePtr device, const char *kind, const char *bus, const char *id, struct gh_error *err)
{
    char src[1024], uuid[40];
    bool disk = !strcmp(kind, "disk");

    plain_uuid(uuid, id);
    gh_xml_attr(gh_xml_child(device, "Image"), "src", src, sizeof src);
    const struct image *i = uuid[0] ? find(v, uuid) : NULL;
    if (i && i->encrypted)
        return gh_error_set(err, -ENOTSUP, "ApplianceEncrypted", "The disk “%s” of “%s” is encrypted; decrypt it in VirtualBox first.", i->location, v->p->path);
    if (gh_xml_child(device, "HostDrive"))
        gh_appliance_note(v->a, GH_DROPPED, _("A drive of the other computer; the drive is empty"));
    if (uuid[0] && !i && !disk)
        gh_appliance_note(v->a, GH_WARNING, _("Which medium was in the drive is not stated; the drive is empty."));
    struct gh_appliance_medium *m = gh_appliance_add_medium(v->a, kind, strcmp(kind, "floppy") ? bus : "fdc",
                                                            i ? i->location : uuid[0] && disk ? uuid : src[0] ? src : NULL, err);
    static const struct { const char *theirs, *ours; } modes[] = { { "Immutable", "immutable" }, { "Writethrough", "write-through" }, { "Readonly", "read-only" } };
    for (size_t k = 0; m && i && disk && k < sizeof modes / sizeof *modes; k++)
        if (!strcasecmp(i->type, modes[k].theirs))
            gh_appliance_set_mode(v->a, m, modes[k].ours);
    if (m && uuid[0] && !i && disk)
        snprintf(m->uuid, sizeof m->uuid, "%s", uuid);
    return m ? 0 : -E2BIG;
}

static int take_drive(struct reader *v, xmlNodePtr device, const char *bus, struct gh_error *err)
{
    char type[16], raw[64];

    gh_xml_attr(device, "type", type, sizeof type);
    gh_xml_attr(gh_xml_child(device, "Image"), "uuid", raw, sizeof raw);
    const char *kind = !strcasecmp(type, "HardDisk") ? "disk" : !strcasecmp(type, "Floppy") ? "floppy" : "cdrom";
    return add_drive(v, device, kind, bus, raw, err);
}

/* Before 1.9 (VirtualBox 3.1) disks were attached beside the hardware, and the other drives were part of it. */
static int take_old_drives(struct reader *v, xmlNodePtr state, xmlNodePtr hw, struct gh_error *err)
{
    int r = 0;

    for (xmlNodePtr n = gh_xml_path(state, "HardDiskAttachments", "HardDiskAttachment"); n && !r; n = gh_xml_next(n, "HardDiskAttachment")) {
        char id[64], bus[16];
        gh_xml_attr(n, "hardDisk", id, sizeof id);
        gh_xml_attr(n, "bus", bus, sizeof bus);
        bus[strcspn(bus, "0123456789")] = 0;
        r = add_drive(v, NULL, "disk", gh_appliance_bus(v->a, bus), id, err);
    }
    xmlNodePtr dvd = gh_xml_child(hw, "DVDDrive"), floppy = gh_xml_child(hw, "FloppyDrive");
    char enabled[8], id[64];
    gh_xml_attr(gh_xml_child(dvd, "Image"), "uuid", id, sizeof id);
    if (dvd && !r)
        r = add_drive(v, dvd, "cdrom", "ide", id, err);
    gh_xml_attr(floppy, "enabled", enabled, sizeof enabled);
    gh_xml_attr(gh_xml_child(floppy, "Image"), "uuid", id, sizeof id);
    if (floppy && !r && strcmp(enabled, "false"))
        r = add_drive(v, floppy, "floppy", "fdc", id, err);
    return r;
}

static int take_storage(struct reader *v, xmlNodePtr controllers, struct gh_error *err)
{
    int r = 0;

    for (xmlNodePtr c = gh_xml_child(controllers, "StorageController"); c && !r; c = gh_xml_next(c, "StorageController")) {
        char type[40];
        gh_xml_attr(c, "type", type, sizeof type);
        const char *bus = "ide";
        bool looked = false;
        for (xmlNodePtr d = gh_xml_child(c, "AttachedDevice"); d && !r; d = gh_xml_next(d, "AttachedDevice")) {
            char what[16];
            gh_xml_attr(d, "type", what, sizeof what);
            if (!looked && !strcasecmp(what, "HardDisk")) {
                bus = gh_appliance_bus(v->a, type);
                looked = true;
            }
            r = take_drive(v, d, bus, err);
        }
    }
    return r;
}

static int take_adapter(struct reader *v, xmlNodePtr n, struct gh_error *err)
{
    static const struct { const char *element, *mode; } modes[] = {
        { "NAT", "nat" }, { "NATNetwork", "NAT network" }, { "BridgedInterface", "bridged" }, { "HostOnlyInterface", "host-only" },
        { "InternalNetwork", "internal" }, { "GenericInterface", "generic" }, { "HostOnlyNetwork", "host-only" },
    };
    char enabled[8], mac[24], type[40], cable[8], name[64] = "";
    const char *mode = "none";

    gh_xml_attr(n, "enabled", enabled, sizeof enabled);
    if (strcmp(enabled, "true"))
        return 0;
    gh_xml_attr(n, "MACAddress", mac, sizeof mac);
    gh_xml_attr(n, "type", type, sizeof type);
    gh_xml_attr(n, "cable", cable, sizeof cable);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        xmlNodePtr m = gh_xml_child(n, modes[i].element);
        if (m) {
            mode = gh_appliance_network_mode(v->a, modes[i].mode);
            gh_xml_attr(m, "name", name, sizeof name);
            if (gh_xml_child(m, "Forwarding"))
                gh_appliance_note(v->a, GH_DROPPED, _("Port forwarding; set it again in the network settings"));
            break;
        }
    }
    struct gh_appliance_network *net = gh_appliance_add_network(v->a, gh_appliance_adapter(v->a, type), mode, mac, err);
    if (!net)
        return err->code;
    if (!strcmp(mode, "internal"))
        snprintf(net->name, sizeof net->name, "%s", name[0] ? name : "intnet");
    net->connected = strcmp(cable, "false") != 0;
    return 0;
}

void gh_vbox_boot_order(struct gh_appliance *a, xmlNodePtr hardware)
{
    static const struct { const char *device; char letter; } letters[] = { { "HardDisk", 'c' }, { "DVD", 'd' }, { "Floppy", 'a' }, { "Network", 'n' } };
    char order[5] = "";
    size_t n = 0;

    for (xmlNodePtr o = gh_xml_path(hardware, "Boot", "Order"); o && n < 4; o = gh_xml_next(o, "Order")) {
        char device[16];
        gh_xml_attr(o, "device", device, sizeof device);
        for (size_t i = 0; i < 4; i++)
            if (!strcmp(device, letters[i].device) && !strchr(order, letters[i].letter))
                order[n++] = letters[i].letter, order[n] = 0;
    }
    if (n)
        snprintf(a->boot_order, sizeof a->boot_order, "%s", order);
}

void gh_vbox_note_lost(struct gh_appliance *a, xmlNodePtr hw)
{
    static const struct { const char *element, *attribute, *value, *text; } extras[] = {
        { "AudioAdapter", "enabled", "true", N_("The sound card") }, { "RemoteDisplay", "enabled", "true", N_("VirtualBox's remote display") },
        { "Display", "accelerate3D", "true", N_("3D acceleration") }, { "TrustedPlatformModule", "type", "v1_2", N_("The TPM with what it holds") },
        { "TrustedPlatformModule", "type", "v2_0", N_("The TPM with what it holds") }, { "USBController", "enabled", "true", N_("The USB controller") },
    };
    static const struct { const char *list, *port, *text; } ports[] = {
        { "UART", "Port", N_("Serial ports") }, { "LPT", "Port", N_("Parallel ports") },
    };
    char text[64];

    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
        gh_xml_attr(gh_xml_child(hw, extras[i].element), extras[i].attribute, text, sizeof text);
        if (!strcasecmp(text, extras[i].value))
            gh_appliance_note(a, GH_DROPPED, "%s", _(extras[i].text));
    }
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++)
        for (xmlNodePtr n = gh_xml_path(hw, ports[i].list, ports[i].port); n; n = gh_xml_next(n, ports[i].port)) {
            gh_xml_attr(n, "enabled", text, sizeof text);
            if (!strcasecmp(text, "true"))
                gh_appliance_note(a, GH_DROPPED, "%s", _(ports[i].text));
        }
    if (gh_xml_path(gh_xml_child(hw, "USB"), "Controllers", "Controller"))
        gh_appliance_note(a, GH_DROPPED, "%s", _("The USB controller"));
    if (gh_xml_path(hw, "SharedFolders", "SharedFolder"))
        gh_appliance_note(a, GH_DROPPED, _("Shared folders"));
}

static int take_hardware(struct reader *v, xmlNodePtr hw, struct gh_error *err)
{
    char text[64];
    int r = 0;

    gh_xml_attr(gh_xml_child(hw, "CPU"), "count", text, sizeof text);
    unsigned long cpus = strtoul(text, NULL, 10);
    v->a->cpus = cpus > 4096 ? 4096 : cpus ? (uint32_t)cpus : 1;
    gh_xml_attr(gh_xml_child(hw, "Memory"), "RAMSize", text, sizeof text);
    unsigned long long mib = strtoull(text, NULL, 10);
    v->a->memory_bytes = mib < 1ull << 30 ? mib << 20 : 0;
    gh_xml_attr(gh_xml_child(hw, "Firmware"), "type", text, sizeof text);
    if (!strncasecmp(text, "EFI", 3))
        strcpy(v->a->firmware, "uefi");
    gh_xml_attr(gh_xml_child(hw, "RTC"), "localOrUTC", text, sizeof text);
    if (!strcasecmp(text, "local"))
        strcpy(v->a->clock_base, "local");
    gh_vbox_boot_order(v->a, hw);
    for (xmlNodePtr n = gh_xml_path(hw, "Network", "Adapter"); n && !r; n = gh_xml_next(n, "Adapter"))
        r = take_adapter(v, n, err);
    if (!r)
        gh_vbox_note_lost(v->a, hw);
    return r;
}

/* All snapshots; the one that is asked for, or NULL. */
static xmlNodePtr take_snapshots(struct reader *v, xmlNodePtr machine)
{
    xmlNodePtr top = machine, n = gh_xml_child(machine, "Snapshot"), wanted = NULL;

    while (n) {
        char name[128], raw[64], uuid[40], time[32];
        gh_xml_attr(n, "name", name, sizeof name);
        gh_xml_attr(n, "uuid", raw, sizeof raw);
        plain_uuid(uuid, raw);
        gh_xml_attr(n, "timeStamp", time, sizeof time);
        if (!gh_appliance_add_snapshot(v->a, name, uuid, time))
            break;
        if (!wanted && gh_appliance_wants(v->a, name, uuid))
            wanted = n;
        xmlNodePtr next = gh_xml_path(n, "Snapshots", "Snapshot");
        while (!next && n && n != top) {
            if (gh_xml_is(n, "Snapshot"))
                next = gh_xml_next(n, "Snapshot");
            n = n->parent;
        }
        n = next;
    }
    return wanted;
}

static int take_machine(struct reader *v, xmlNodePtr machine, struct gh_error *err)
{
    char text[128];
    int r = 0;

    gh_xml_attr(machine, "name", v->a->name, sizeof v->a->name);
    gh_xml_attr(machine, "OSType", v->a->os, sizeof v->a->os);
    char *description = gh_xml_text_new(gh_xml_child(machine, "Description"));
    gh_appliance_text_new(&v->a->description, description, 16000);
    free(description);
    gh_xml_attr(machine, "stateFile", text, sizeof text);
    if (text[0] && !v->a->snapshot[0])
        gh_appliance_note(v->a, GH_DROPPED, _("The saved state; the machine starts as after pulling the plug"));
    if (gh_xml_path(machine, "Encryption", NULL))
        return gh_error_set(err, -ENOTSUP, "ApplianceEncrypted", "“%s” is encrypted; decrypt it in VirtualBox first.", v->p->path);
    xmlNodePtr registry = gh_xml_child(machine, "MediaRegistry");
    r = take_images(v, gh_xml_child(registry, "HardDisks"), "HardDisk", err);
    if (!r)
        r = take_images(v, gh_xml_child(registry, "DVDImages"), "Image", err);
    if (!r)
        r = take_images(v, gh_xml_child(registry, "FloppyImages"), "Image", err);
    /* A snapshot has its own hardware and its own drives, which name other images of the same tree. */
    xmlNodePtr wanted = take_snapshots(v, machine), state = wanted ? wanted : machine;
    gh_xml_attr(wanted, "stateFile", text, sizeof text);
    if (!r)
        r = gh_appliance_from_snapshot(v->a, wanted, wanted && text[0], v->p->path, err);
    xmlNodePtr hw = gh_xml_child(state, "Hardware");
    if (!r && !hw)
        r = gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” describes no hardware.", v->p->path);
    if (!r)
        r = take_hardware(v, hw, err);
    /* Before 1.19 the controllers stood beside the hardware. */
    xmlNodePtr storage = gh_xml_child(hw, "StorageControllers");
    if (!r)
        r = take_storage(v, storage ? storage : gh_xml_child(state, "StorageControllers"), err);
    if (!r)
        r = take_old_drives(v, state, hw, err);
    return r;
}

int gh_read_vbox(struct gh_package *p, struct gh_appliance *a, struct gh_error *err)
{
    xmlDocPtr doc = gh_xml_parse(p->text, p->text_bytes, p->path, err);
    struct reader v = { .p = p, .a = a };
    int r = doc ? 0 : -EINVAL;

    v.image = r ? NULL : calloc(IMAGES_MAX, sizeof *v.image);
    if (!r && !v.image)
        r = gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
    if (!r) {
        xmlNodePtr root = xmlDocGetRootElement(doc), machine = gh_xml_child(root, "Machine");
        snprintf(a->dialect, sizeof a->dialect, "VirtualBox");
        strcpy(a->boot_order, "adc"); /* its own default, which newer versions do not write */
        if (gh_xml_child(root, "MachineEncrypted"))
            r = gh_error_set(err, -ENOTSUP, "ApplianceEncrypted", "“%s” is encrypted; decrypt it in VirtualBox first.", p->path);
        else if (!gh_xml_is(root, "VirtualBox") || !machine)
            r = gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” describes no VirtualBox machine.", p->path);
        else
            r = take_machine(&v, machine, err);
    }
    free(v.image);
    xmlFreeDoc(doc);
    return r;
}
