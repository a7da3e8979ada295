/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The OVF description that export writes: plain CIM items that VirtualBox and VMware both take. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/export.h"

#define STREAM "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
#define CIM "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
#define DSP "http://schemas.dmtf.org/wbem/wscim/1/common"

struct pen { FILE *f; unsigned version, id; };

static void escaped(FILE *f, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&': fputs("&amp;", f); break;
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '"': fputs("&quot;", f); break;
        default: fputc(*text, f);
        }
}

static void element(struct pen *p, const char *prefix, const char *name, const char *value)
{
    if (!value[0])
        return;
    fprintf(p->f, "        <%s:%s>", prefix, name);
    escaped(p->f, value);
    fprintf(p->f, "</%s:%s>\n", prefix, name);
}

/* One device; fields in alphabetical order, as the schema wants them. NULL or "": left out. */
struct device { const char *tag, *prefix, *own, *on_parent, *units, *caption, *host, *sub, *quantity, *connection, *mac; unsigned parent, type; bool automatic; };

static unsigned device(struct pen *p, struct device d)
{
    char number[16];
    const char *tag = p->version == 2 && d.tag ? d.tag : "Item", *prefix = p->version == 2 && d.prefix ? d.prefix : "rasd";
    unsigned id = ++p->id;

    fprintf(p->f, "      <%s%s>\n", tag, d.own ? d.own : ""); /* own: what OVF has no word for, for a reader of ours */
    element(p, prefix, "Address", d.mac ? d.mac : "");
    element(p, prefix, "AddressOnParent", d.on_parent ? d.on_parent : "");
    element(p, prefix, "AllocationUnits", d.units ? d.units : "");
    if (d.automatic)
        element(p, prefix, "AutomaticAllocation", "true");
    element(p, prefix, "Caption", d.caption);
    element(p, prefix, "Connection", d.connection ? d.connection : "");
    element(p, prefix, "ElementName", d.caption);
    element(p, prefix, "HostResource", d.host ? d.host : "");
    snprintf(number, sizeof number, "%u", id);
    element(p, prefix, "InstanceID", number);
    snprintf(number, sizeof number, "%u", d.parent);
    element(p, prefix, "Parent", d.parent ? number : "");
    element(p, prefix, "ResourceSubType", d.sub ? d.sub : "");
    snprintf(number, sizeof number, "%u", d.type);
    element(p, prefix, "ResourceType", number);
    element(p, prefix, "VirtualQuantity", d.quantity ? d.quantity : "");
    fprintf(p->f, "      </%s>\n", tag);
    return id;
}

static unsigned os_number(const char *os)
{
    static const struct { const char *part; unsigned id; } known[] = {
        { "debian", 96 }, { "ubuntu", 94 }, { "centos", 107 }, { "rhel", 80 }, { "red hat", 80 }, { "windows 10", 121 }, { "windows 11", 121 },
        { "windows 8", 114 }, { "windows 7", 105 }, { "windows vista", 73 }, { "windows xp", 67 }, { "linux", 101 }, { "suse", 83 }, { "fedora", 101 },
        { "freebsd", 78 }, { "openbsd", 65 }, { "netbsd", 64 }, { "dos", 6 },
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasestr(os, known[i].part))
            return known[i].id;
    return 1; /* other */
}

static void drives(struct pen *p, const struct gh_appliance *a)
{
    unsigned ide[2] = { 0 }, ahci = 0, ides = 0, ports = 0, disks = 0;

    for (unsigned i = 0; i < a->media_count; i++) {
        const struct gh_appliance_medium *m = &a->media[i];
        bool disk = !strcmp(m->kind, "disk"), floppy = !strcmp(m->kind, "floppy"), on_ide = !disk || (!strcmp(m->bus, "ide") && ides < 4);
        char place[8], name[32], host[40] = "", own[80] = "";
        unsigned parent;
        if (floppy || (disk && !m->path))
            continue;
        if (on_ide) {
            unsigned c = ides / 2;
            if (c > 1)
                continue;
            if (!ide[c]) {
                snprintf(name, sizeof name, "IDE controller %u", c);
                snprintf(place, sizeof place, "%u", c);
                ide[c] = device(p, (struct device){ .caption = name, .mac = place, .sub = "PIIX4", .type = 5 });
            }
            parent = ide[c];
            snprintf(place, sizeof place, "%u", ides++ % 2);
        } else {
            if (!ahci)
                ahci = device(p, (struct device){ .caption = "SATA controller", .mac = "0", .sub = "vmware.sata.ahci", .type = 20 });
            parent = ahci;
            snprintf(place, sizeof place, "%u", ports++);
        }
        snprintf(name, sizeof name, disk ? "Disk %u" : "CD drive %u", i + 1);
        if (disk)
            snprintf(host, sizeof host, "ovf:/disk/vmdisk%u", ++disks);
        int used = disk && !on_ide && strcmp(m->bus, "ahci") ? snprintf(own, sizeof own, " gasthaus:bus=\"%.15s\"", m->bus) : 0;
        if (disk && m->mode[0])
            snprintf(own + used, sizeof own - (size_t)used, " gasthaus:mode=\"%.15s\"", m->mode);
        device(p, (struct device){ .tag = "StorageItem", .prefix = "sasd", .own = own, .caption = name, .on_parent = place, .host = host, .parent = parent,
                                   .type = disk ? 17 : 15, .automatic = !disk });
    }
}

/* Names that VirtualBox knows; for VMware they are networks to choose for. */
static const char *connection(const struct gh_appliance_network *n)
{ return !strcmp(n->mode, "internal") ? "Internal" : !strcmp(n->mode, "none") ? "Null" : "NAT"; }

static void networks(FILE *f, const struct gh_appliance *a)
{
    static const struct { const char *name, *text; } known[] = {
        { "NAT", "Network behind the host's address" }, { "Internal", "Network of the machines alone" }, { "Null", "Not connected" },
    };

    fputs("  <NetworkSection>\n    <Info>Networks</Info>\n", f);
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        bool used = !k;
        for (unsigned i = 0; i < a->network_count; i++)
            used |= !strcmp(connection(&a->networks[i]), known[k].name);
        if (used)
            fprintf(f, "    <Network ovf:name=\"%s\"><Description>%s</Description></Network>\n", known[k].name, known[k].text);
    }
    fputs("  </NetworkSection>\n", f);
}

static char *own_network(const struct gh_appliance_network *n)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return NULL;
    if (strcmp(n->adapter, "e1000"))
        fprintf(f, " gasthaus:adapter=\"%s\"", n->adapter);
    if (n->name[0]) {
        fputs(" gasthaus:network=\"", f);
        escaped(f, n->name);
        fputc('"', f);
    }
    if (!n->connected)
        fputs(" gasthaus:cable=\"out\"", f);
    fclose(f);
    return text;
}

static void hardware(struct pen *p, const struct gh_appliance *a)
{
    char number[24], caption[64];

    fprintf(p->f, "    <VirtualHardwareSection gasthaus:boot=\"%s\" gasthaus:clock=\"%s\">\n      <Info>Virtual hardware</Info>\n      <System>\n", a->boot_order, a->clock_base);
    element(p, "vssd", "ElementName", "Virtual Hardware Family");
    element(p, "vssd", "InstanceID", "0");
    element(p, "vssd", "VirtualSystemIdentifier", a->name);
    element(p, "vssd", "VirtualSystemType", "vmx-10");
    fprintf(p->f, "      </System>\n");
    snprintf(number, sizeof number, "%u", a->cpus);
    snprintf(caption, sizeof caption, "%u virtual CPU(s)", a->cpus);
    device(p, (struct device){ .caption = caption, .units = "hertz * 10^6", .quantity = number, .type = 3 });
    snprintf(number, sizeof number, "%llu", (unsigned long long)(a->memory_bytes >> 20));
    snprintf(caption, sizeof caption, "%llu MB of memory", (unsigned long long)(a->memory_bytes >> 20));
    device(p, (struct device){ .caption = caption, .units = "byte * 2^20", .quantity = number, .type = 4 });
    drives(p, a);
    for (unsigned i = 0; i < a->network_count; i++) {
        snprintf(number, sizeof number, "%u", i + 7);
        snprintf(caption, sizeof caption, "Ethernet %u", i + 1);
        char *own = own_network(&a->networks[i]);
        device(p, (struct device){ .tag = "EthernetPortItem", .prefix = "epasd", .own = own, .caption = caption, .on_parent = number,
                                   .connection = connection(&a->networks[i]),
                                   .sub = "E1000", .type = 10, .automatic = true, .mac = a->networks[i].mac });
        free(own);
    }
    if (!strcmp(a->firmware, "uefi"))
        fprintf(p->f, "      <vmw:Config ovf:required=\"false\" vmw:key=\"firmware\" vmw:value=\"efi\"/>\n");
    fprintf(p->f, "    </VirtualHardwareSection>\n");
}

char *gh_ovf_write(const struct gh_appliance *a, unsigned version, const struct gh_export_disk *disks, unsigned count)
{
    char *text = NULL;
    size_t size = 0;
    struct pen p = { .f = open_memstream(&text, &size), .version = version };

    if (!p.f)
        return NULL;
    fprintf(p.f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Envelope ovf:version=\"%u.0\" xml:lang=\"en-US\"\n"
            " xmlns=\"http://schemas.dmtf.org/ovf/envelope/%u\" xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/%u\" xmlns:cim=\"" DSP "\"\n"
            " xmlns:rasd=\"" CIM "CIM_ResourceAllocationSettingData\" xmlns:vssd=\"" CIM "CIM_VirtualSystemSettingData\"\n"
            " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:vmw=\"http://www.vmware.com/schema/ovf\"\n", version, version, version);
    if (version == 2)
        fprintf(p.f, " xmlns:sasd=\"" CIM "CIM_StorageAllocationSettingData.xsd\" xmlns:epasd=\"" CIM "CIM_EthernetPortAllocationSettingData.xsd\"\n");
    fprintf(p.f, " xmlns:gasthaus=\"https://gasthaus.org/ns/ovf/1\" gasthaus:madeBy=\"Gasthaus " GH_VERSION "\">\n  <References>\n");
    for (unsigned i = 0; i < count; i++) {
        fprintf(p.f, "    <File ovf:id=\"file%u\" ovf:href=\"", i + 1);
        escaped(p.f, disks[i].name);
        fprintf(p.f, "\" ovf:size=\"%llu\"/>\n", (unsigned long long)disks[i].file_bytes);
    }
    fprintf(p.f, "  </References>\n  <DiskSection>\n    <Info>Virtual disks</Info>\n");
    for (unsigned i = 0; i < count; i++)
        fprintf(p.f, "    <Disk ovf:diskId=\"vmdisk%u\" ovf:fileRef=\"file%u\" ovf:capacity=\"%llu\" ovf:capacityAllocationUnits=\"byte\" ovf:format=\"" STREAM "\"/>\n",
                i + 1, i + 1, (unsigned long long)disks[i].virtual_bytes);
    fprintf(p.f, "  </DiskSection>\n");
    networks(p.f, a);
    fprintf(p.f, "  <VirtualSystem ovf:id=\"");
    escaped(p.f, a->name); /* VirtualBox takes its name from here */
    fprintf(p.f, "\">\n    <Info>A virtual machine</Info>\n    <Name>");
    escaped(p.f, a->name);
    fprintf(p.f, "</Name>\n    <OperatingSystemSection ovf:id=\"%u\">\n      <Info>The operating system</Info>\n", os_number(a->os));
    if (a->os[0]) {
        fprintf(p.f, "      <Description>");
        escaped(p.f, a->os);
        fprintf(p.f, "</Description>\n");
    }
    fprintf(p.f, "    </OperatingSystemSection>\n");
    if (a->description) {
        fprintf(p.f, "    <AnnotationSection>\n      <Info>Notes</Info>\n      <Annotation>");
        escaped(p.f, a->description);
        fprintf(p.f, "</Annotation>\n    </AnnotationSection>\n");
    }
    hardware(&p, a);
    fprintf(p.f, "  </VirtualSystem>\n</Envelope>\n");
    if (fclose(p.f)) {
        free(text);
        return NULL;
    }
    return text;
}
