/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The items of a virtual hardware section: CIM_ResourceAllocationSettingData by resource type. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/i18n.h"
#include "appliance/ovf.h"
#include "appliance/xml.h"

enum { ITEMS_MAX = 256 };
enum { CPU = 3, MEMORY = 4, IDE = 5, SCSI = 6, ETHERNET = 10, FLOPPY = 14, CD = 15, DVD = 16, DISK = 17, EXTENT = 19,
       OTHER_STORAGE = 20, USB = 23, VIDEO = 24, SOUND = 35 };

struct item {
    unsigned type;
    char sub[64], id[32], parent[32], address[64], host[512], unit[64], quantity[32], name[128], connection[64];
    unsigned on_parent;
    unsigned cores, sockets;
    char own_bus[16], own_adapter[16], own_network[64], own_cable[8], own_mode[16]; /* of our own export */
    bool option;                           /* only there with the deployment option that is taken */
};

static void read_item(xmlNodePtr n, struct item *i)
{
    char text[64];

    memset(i, 0, sizeof *i);
    gh_xml_child_text(n, "ResourceType", text, sizeof text);
    i->type = (unsigned)strtoul(text, NULL, 10);
    if (i->type == EXTENT) /* XenServer's disks */
        i->type = DISK;
    gh_xml_child_text(n, "ResourceSubType", i->sub, sizeof i->sub);
    gh_xml_child_text(n, "InstanceID", i->id, sizeof i->id);
    if (!i->id[0])
        gh_xml_child_text(n, "InstanceId", i->id, sizeof i->id);
    gh_xml_child_text(n, "Parent", i->parent, sizeof i->parent);
    gh_xml_child_text(n, "AddressOnParent", text, sizeof text);
    i->on_parent = (unsigned)strtoul(text, NULL, 10);
    gh_xml_child_text(n, "Address", i->address, sizeof i->address);
    if (!i->address[0])
        gh_xml_child_text(n, "MACAddress", i->address, sizeof i->address);
    gh_xml_child_text(n, "HostResource", i->host, sizeof i->host);
    gh_xml_child_text(n, "AllocationUnits", i->unit, sizeof i->unit);
    gh_xml_child_text(n, "VirtualQuantity", i->quantity, sizeof i->quantity);
    gh_xml_child_text(n, "ElementName", i->name, sizeof i->name);
    if (!i->name[0])
        gh_xml_child_text(n, "Caption", i->name, sizeof i->name);
    gh_xml_child_text(n, "Connection", i->connection, sizeof i->connection);
    gh_xml_child_text(n, "num_of_sockets", text, sizeof text);
    i->sockets = (unsigned)strtoul(text, NULL, 10);
    gh_xml_child_text(n, "cpu_per_socket", text, sizeof text);
    i->cores = (unsigned)strtoul(text, NULL, 10);
}

/* What our own export says beside OVF's words; only words that are known count. */
static void read_own(xmlNodePtr n, struct item *i)
{
    static const char *const buses[] = { "virtio", "nvme", "ahci", "ide" };
    char text[16];

    gh_xml_attr(n, "bus", text, sizeof text);
    for (size_t k = 0; k < sizeof buses / sizeof *buses; k++)
        if (!strcmp(text, buses[k]))
            snprintf(i->own_bus, sizeof i->own_bus, "%s", buses[k]);
    static const char *const modes[] = { "immutable", "write-through", "read-only" };
    gh_xml_attr(n, "mode", text, sizeof text);
    for (size_t k = 0; k < sizeof modes / sizeof *modes; k++)
        if (!strcmp(text, modes[k]))
            snprintf(i->own_mode, sizeof i->own_mode, "%s", modes[k]);
    gh_xml_attr(n, "adapter", text, sizeof text);
    if (!strcmp(text, "virtio-net") || !strcmp(text, "e1000"))
        snprintf(i->own_adapter, sizeof i->own_adapter, "%s", text);
    gh_xml_attr(n, "network", i->own_network, sizeof i->own_network);
    gh_xml_attr(n, "cable", i->own_cable, sizeof i->own_cable);
}

static const struct item *controller(const struct item *list, unsigned count, const char *id)
{
    for (unsigned i = 0; id[0] && i < count; i++)
        if (!strcmp(list[i].id, id) && (list[i].type == IDE || list[i].type == SCSI || list[i].type == OTHER_STORAGE))
            return &list[i];
    return NULL;
}

static const char *bus_of(struct gh_ovf *o, const struct item *c, const struct item *item, const struct gh_ovf_disk *disk)
{
    bool ovirt = !strcmp(o->a->dialect, "oVirt");

    if (!c && ovirt) /* names no controllers */
        return gh_appliance_bus(o->a, disk && disk->interface[0] ? disk->interface : "virtio");
    if (!c)
        return gh_appliance_bus(o->a, item->sub[0] && strcasecmp(item->sub, "disk") ? item->sub : "ide");
    if (c->type == IDE)
        return gh_appliance_bus(o->a, "ide");
    if (c->type == SCSI)
        return gh_appliance_bus(o->a, c->sub[0] ? c->sub : "scsi");
    if (strcasestr(c->sub, "nvme") || strcasestr(c->name, "nvme"))
        return gh_appliance_bus(o->a, "nvme");
    if (strcasestr(c->sub, "virtio"))
        return gh_appliance_bus(o->a, "virtio-scsi");
    return gh_appliance_bus(o->a, "sata");
}

static const struct gh_ovf_file *file_by_id(struct gh_ovf *o, const char *id)
{
    for (unsigned i = 0; i < o->files; i++)
        if (!strcmp(o->file[i].id, id) || !strcmp(o->file[i].href, id))
            return &o->file[i];
    return NULL;
}

/* "ovf:/disk/ID", "/disk/ID", "ovf:/file/ID", or oVirt's "image/volume". */
static int find_source(struct gh_ovf *o, const char *host, const struct gh_ovf_file **file, const struct gh_ovf_disk **disk, struct gh_error *err)
{
    const char *id = strstr(host, "/disk/");
    bool direct = false;

    *file = NULL;
    *disk = NULL;
    if (id) {
        id += 6;
    } else if ((id = strstr(host, "/file/"))) {
        *file = file_by_id(o, id + 6);
        return *file ? 0 : gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” has a drive with the file “%s”, which it does not list.", o->p->path, host);
    } else {
        id = host;
        direct = true;
    }
    for (unsigned i = 0; i < o->disks && !*disk; i++)
        if (!strcmp(o->disk[i].id, id) || (direct && !strcmp(o->disk[i].file, id)))
            *disk = &o->disk[i];
    if (!*disk)
        return gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” has a drive with the disk “%s”, which it does not list.", o->p->path, host);
    if ((*disk)->file[0] && !(*file = file_by_id(o, (*disk)->file)))
        return gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” has a disk in the file “%s”, which it does not list.", o->p->path, (*disk)->file);
    return 0;
}

static bool is_gzip_name(const char *name)
{
    size_t n = strlen(name);

    return n > 3 && !strcasecmp(name + n - 3, ".gz");
}

/* bus NULL: of the controller. */
static int add_drive(struct gh_ovf *o, const struct item *i, const char *kind, const char *bus, const struct item *c, struct gh_error *err)
{
    const struct gh_ovf_file *file = NULL;
    const struct gh_ovf_disk *disk = NULL;
    int r = i->host[0] ? find_source(o, i->host, &file, &disk, err) : 0;

    if (r < 0)
        return r;
    if (!bus)
        bus = i->own_bus[0] ? i->own_bus : bus_of(o, c, i, disk);
    if (disk && disk->child)
        return gh_error_set(err, -ENOTSUP, "ApplianceUnsupported", "“%s” has a disk that builds on another one; export it without snapshots.", o->p->path);
    struct gh_appliance_medium *m = gh_appliance_add_medium(o->a, kind, bus, file ? file->href : NULL, err);
    if (!m)
        return -E2BIG;
    if (i->own_mode[0] && !strcmp(kind, "disk"))
        gh_appliance_set_mode(o->a, m, i->own_mode);
    if (disk && !file && !strcmp(kind, "disk")) { /* an empty disk that only has a size */
        m->virtual_bytes = disk->bytes;
        snprintf(m->format, sizeof m->format, "empty");
        gh_appliance_text_new(&m->source, disk->id, 200);
        return 0;
    }
    if (disk) {
        m->virtual_bytes = disk->bytes;
        m->needed_bytes = disk->populated;
    }
    if (file && file->compression[0] && strcasecmp(file->compression, "identity")) {
        if (strcasecmp(file->compression, "gzip"))
            return gh_error_set(err, -ENOTSUP, "ApplianceUnsupported", "“%s” is packed by “%s”, which is not known; only gzip is.", file->href, file->compression);
        m->packed = true;
    } else if (file && is_gzip_name(file->href)) {
        m->packed = true; /* some writers do not say it */
    }
    if (file && file->chunk) {
        m->piece_bytes = file->chunk;
        m->bytes = file->bytes;
    }
    return 0;
}

static int add_network(struct gh_ovf *o, const struct item *i, struct gh_error *err)
{
    const char *adapter = i->sub;

    if (!strcmp(o->a->dialect, "oVirt")) /* numbers: 3 is virtio */
        adapter = !strcmp(i->sub, "3") ? "virtio" : !strcmp(i->sub, "2") ? "e1000" : "rtl8139";
    const char *mode = o->ours && !strcmp(i->connection, "Null") ? "none" : gh_appliance_network_mode(o->a, i->connection);
    struct gh_appliance_network *n = gh_appliance_add_network(o->a, i->own_adapter[0] ? i->own_adapter : gh_appliance_adapter(o->a, adapter), mode, i->address, err);
    if (!n)
        return err->code;
    if (!strcmp(mode, "internal"))
        snprintf(n->name, sizeof n->name, "%s", i->own_network[0] ? i->own_network : "intnet");
    if (!strcmp(i->own_cable, "out"))
        n->connected = false;
    return 0;
}

static int take_item(struct gh_ovf *o, const struct item *list, unsigned count, const struct item *i, struct gh_error *err)
{
    switch (i->type) {
    case CPU: {
        unsigned long n = strtoul(i->quantity, NULL, 10);
        if (!n && i->sockets)
            n = (unsigned long)i->sockets * (i->cores ? i->cores : 1);
        o->a->cpus = n && n <= 4096 ? (uint32_t)n : n ? 4096 : 1;
        return 0;
    }
    case MEMORY: {
        unsigned long long n = strtoull(i->quantity, NULL, 10), unit = gh_ovf_unit(i->unit, 1 << 20);
        o->a->memory_bytes = n && n < (1ull << 60) / unit ? n * unit : 0;
        return 0;
    }
    case ETHERNET:
        return add_network(o, i, err);
    case FLOPPY:
        return add_drive(o, i, "floppy", "fdc", NULL, err);
    case CD:
    case DVD:
        return add_drive(o, i, "cdrom", "ide", NULL, err);
    case DISK: /* virt-v2v writes a host resource only for disks, and none for empty drives */
        return add_drive(o, i, "disk", NULL, controller(list, count, i->parent), err);
    case SOUND:
        gh_appliance_note(o->a, GH_DROPPED, _("The sound card"));
        return 0;
    case USB:
        gh_appliance_note(o->a, GH_DROPPED, _("The USB controller"));
        return 0;
    case IDE: case SCSI: case OTHER_STORAGE: case VIDEO: case 0: case 1: case 11: case 13: case 18: case 21: case 22:
        return 0;
    default:
        gh_appliance_note(o->a, GH_DROPPED, _("The device “%.60s”"), i->name[0] ? i->name : i->sub);
        return 0;
    }
}

/* Disks in the order of their controllers and addresses, which is the order the guest boots them in. */
static int by_place(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->type != DISK || y->type != DISK || strcmp(x->parent, y->parent))
        return 0;
    return x->on_parent < y->on_parent ? -1 : x->on_parent > y->on_parent;
}

static void sort_disks(struct item *list, unsigned count)
{
    for (unsigned i = 1; i < count; i++)
        for (unsigned k = i; k > 0 && by_place(&list[k - 1], &list[k]) > 0; k--) {
            struct item t = list[k];
            list[k] = list[k - 1];
            list[k - 1] = t;
        }
}

static bool names_option(const char *list, const char *option)
{
    size_t n = strlen(option);

    for (const char *p = list; *p;) {
        size_t len = strcspn(p, " \t");
        if (n && len == n && !strncmp(p, option, n))
            return true;
        p += len;
        p += strspn(p, " \t");
    }
    return false;
}

/* An item may be there only with some options, in place of the general one with its number, or only state a range. */
static int add_item(struct gh_ovf *o, xmlNodePtr n, struct item *list, unsigned *count, struct gh_error *err)
{
    char options[512], bound[16];
    struct item i;

    gh_xml_attr(n, "bound", bound, sizeof bound);
    gh_xml_attr(n, "configuration", options, sizeof options);
    if (!strcmp(bound, "min") || !strcmp(bound, "max") || (options[0] && !names_option(options, o->option)))
        return 0;
    read_item(n, &i);
    if (o->ours)
        read_own(n, &i);
    i.option = options[0] != 0;
    for (unsigned k = 0; k < *count; k++)
        if (i.id[0] && !strcmp(list[k].id, i.id) && list[k].option != i.option) {
            if (i.option)
                list[k] = i;
            return 0;
        }
    if (*count == ITEMS_MAX)
        return gh_error_set(err, -E2BIG, "ApplianceTooLarge", "“%s” has more than %d devices.", o->p->path, ITEMS_MAX);
    list[(*count)++] = i;
    return 0;
}

int gh_ovf_hardware(struct gh_ovf *o, xmlNodePtr section, struct gh_error *err)
{
    struct item *list = calloc(ITEMS_MAX, sizeof *list);
    unsigned count = 0;
    char family[64];
    int r = list ? 0 : -ENOMEM;

    gh_xml_child_text(gh_xml_child(section, "System"), "VirtualSystemType", family, sizeof family);
    if (strcasestr(family, "virtualbox"))
        snprintf(o->a->dialect, sizeof o->a->dialect, "VirtualBox");
    else if (strcasestr(family, "vmx"))
        snprintf(o->a->dialect, sizeof o->a->dialect, "VMware");
    else if (strcasestr(family, "ENGINE") || strcasestr(family, "RHEVM") || gh_xml_is(section, "Section"))
        snprintf(o->a->dialect, sizeof o->a->dialect, "oVirt");
    else if (!strncasecmp(family, "hvm-", 4) || !strncasecmp(family, "xen-", 4))
        snprintf(o->a->dialect, sizeof o->a->dialect, "XenServer");
    if (o->ours) {
        gh_xml_attr(section, "boot", family, sizeof family);
        if (family[0] && strlen(family) <= 4 && !family[strspn(family, "acdn")])
            snprintf(o->a->boot_order, sizeof o->a->boot_order, "%s", family);
        gh_xml_attr(section, "clock", family, sizeof family);
        if (!strcmp(family, "local"))
            strcpy(o->a->clock_base, "local");
    }
    for (xmlNodePtr n = section->children; n && !r; n = n->next) {
        if (!gh_xml_is(n, "Item") && !gh_xml_is(n, "StorageItem") && !gh_xml_is(n, "EthernetPortItem"))
            continue;
        r = add_item(o, n, list, &count, err);
    }
    if (!r)
        sort_disks(list, count);
    for (unsigned i = 0; i < count && !r; i++)
        r = take_item(o, list, count, &list[i], err);
    free(list);
    return r;
}
