/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * OVF descriptions (DMTF DSP0243, 1.0 to 2.x) in the dialects of VirtualBox, VMware, and oVirt/virt-v2v
 * ("Section xsi:type", "Content"). Of several machines one is read at a time, all are listed; sections that
 * only some deployer understands are named as dropped.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/i18n.h"
#include "appliance/ovf.h"
#include "appliance/xml.h"

static int take_files(struct gh_ovf *o, xmlNodePtr root, struct gh_error *err)
{
    for (xmlNodePtr n = gh_xml_path(root, "References", "File"); n; n = gh_xml_next(n, "File")) {
        if (o->files == GH_OVF_FILES_MAX)
            return gh_error_set(err, -E2BIG, "ApplianceTooLarge", "“%s” refers to more than %d files.", o->p->path, GH_OVF_FILES_MAX);
        struct gh_ovf_file *f = &o->file[o->files++];
        char number[32];
        gh_xml_attr(n, "id", f->id, sizeof f->id);
        gh_xml_attr(n, "href", f->href, sizeof f->href);
        gh_xml_attr(n, "compression", f->compression, sizeof f->compression);
        gh_xml_attr(n, "chunkSize", number, sizeof number);
        f->chunk = strtoull(number, NULL, 10);
        gh_xml_attr(n, "size", number, sizeof number);
        f->bytes = strtoull(number, NULL, 10);
        if (!gh_package_name_is_plain(f->href))
            return gh_error_set(err, -EPERM, "DiskReferenceRefused", "“%s” refers to “%s”, which is not a plain file name in its folder.",
                                o->p->path, f->href);
        for (struct gh_ovf_file *k = o->file; k < f; k++)
            if (!strcmp(k->href, f->href) || (f->id[0] && !strcmp(k->id, f->id)))
                return gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” refers to “%s” twice.", o->p->path, f->href);
    }
    return 0;
}

/* "byte * 2^30", "MegaBytes", "GB", "KiloBytes". */
uint64_t gh_ovf_unit(const char *text, uint64_t fallback)
{
    const char *power = strstr(text, "2^");

    if (!text[0])
        return fallback;
    if (power) {
        unsigned long n = strtoul(power + 2, NULL, 10);
        return n < 60 ? 1ull << n : fallback;
    }
    switch (text[0] | 0x20) {
    case 'k': return 1ull << 10;
    case 'm': return 1ull << 20;
    case 'g': return 1ull << 30;
    case 't': return 1ull << 40;
    default: return strncasecmp(text, "byte", 4) ? fallback : 1;
    }
}

static uint64_t scaled(const char *number, uint64_t unit)
{
    double v = strtod(number, NULL) * (double)unit;

    return isfinite(v) && v > 0 && v < 9e18 ? (uint64_t)v : 0;
}

static int take_disks(struct gh_ovf *o, xmlNodePtr section, struct gh_error *err)
{
    for (xmlNodePtr n = gh_xml_child(section, "Disk"); n; n = gh_xml_next(n, "Disk")) {
        if (o->disks == GH_OVF_FILES_MAX)
            return gh_error_set(err, -E2BIG, "ApplianceTooLarge", "“%s” has more than %d disks.", o->p->path, GH_OVF_FILES_MAX);
        struct gh_ovf_disk *d = &o->disk[o->disks++];
        char number[40], unit[64], parent[8];
        gh_xml_attr(n, "diskId", d->id, sizeof d->id);
        gh_xml_attr(n, "fileRef", d->file, sizeof d->file);
        gh_xml_attr(n, "format", d->format, sizeof d->format);
        gh_xml_attr(n, "disk-interface", d->interface, sizeof d->interface); /* oVirt's */
        gh_xml_attr(n, "capacity", number, sizeof number);
        gh_xml_attr(n, "capacityAllocationUnits", unit, sizeof unit);
        d->bytes = scaled(number, gh_ovf_unit(unit, 1));
        if (!number[0]) { /* oVirt states gigabytes as "size" */
            gh_xml_attr(n, "size", number, sizeof number);
            d->bytes = scaled(number, 1ull << 30);
        }
        gh_xml_attr(n, "populatedSize", number, sizeof number);
        d->populated = scaled(number, 1);
        gh_xml_attr(n, "parentRef", parent, sizeof parent);
        if (parent[0] && strcmp(parent, "0"))
            d->child = true;
        if (d->bytes > 64ull << 40)
            return gh_error_set(err, -EFBIG, "DiskTooLarge", "A disk of “%s” claims %llu bytes; the limit is 64 TiB.", o->p->path,
                                (unsigned long long)d->bytes);
    }
    return 0;
}

static bool is_section(xmlNodePtr n, const char *name)
{
    char type[80];

    if (gh_xml_is(n, name))
        return true;
    if (!gh_xml_is(n, "Section") && !gh_xml_is(n, "Content"))
        return false;
    gh_xml_attr(n, "type", type, sizeof type);
    const char *colon = strchr(type, ':');
    const char *plain = colon ? colon + 1 : type;
    size_t len = strlen(name);
    return !strncmp(plain, name, len) && (!plain[len] || plain[len] == '_');
}

static void take_os(struct gh_ovf *o, xmlNodePtr s)
{
    static const struct { unsigned id; const char *name; } cim[] = {
        { 36, "Linux" }, { 67, "Windows XP" }, { 69, "Windows Server 2003" }, { 73, "Windows Vista" }, { 76, "Windows Server 2008" },
        { 79, "RHEL 5" }, { 80, "RHEL 5" }, { 93, "Ubuntu" }, { 94, "Ubuntu" }, { 95, "Debian" }, { 96, "Debian" }, { 97, "Linux 2.4" },
        { 99, "Linux 2.6" }, { 100, "Linux 2.6" }, { 101, "Linux" }, { 103, "Windows Server 2008 R2" }, { 105, "Windows 7" },
        { 106, "CentOS" }, { 107, "CentOS" }, { 112, "Windows Server 2012" }, { 113, "Windows 8" }, { 114, "Windows 8" },
        { 115, "Windows Server 2012 R2" }, { 116, "Windows Server 2016" }, { 117, "Windows 8.1" }, { 118, "Windows 8.1" },
        { 120, "Windows 10" }, { 121, "Windows 10" },
    };
    char id[16], description[128], other[128];

    gh_xml_attr(s, "id", id, sizeof id);
    gh_xml_child_text(s, "Description", description, sizeof description);
    gh_xml_attr(s, "osType", other, sizeof other);          /* VMware's own */
    if (!other[0])
        gh_xml_child_text(s, "OSType", other, sizeof other); /* VirtualBox's own */
    const char *best = gh_appliance_os_id(description)[0] ? description : gh_appliance_os_id(other)[0] ? other : NULL;
    for (size_t i = 0; !best && i < sizeof cim / sizeof *cim; i++)
        if (strtoul(id, NULL, 10) == cim[i].id)
            best = cim[i].name;
    gh_appliance_text(o->a->os, sizeof o->a->os, description[0] ? description : other[0] ? other : best ? best : "");
    snprintf(o->a->os_id, sizeof o->a->os_id, "%s", best ? gh_appliance_os_id(best) : "");
}

/* The enabled adapters are the description's network items, in the same order. */
static void take_vbox_adapters(struct gh_appliance *a, xmlNodePtr network)
{
    unsigned count = 0, i = 0;
    char text[64];

    for (int pass = 0; pass < 2; pass++)
        for (xmlNodePtr n = gh_xml_child(network, "Adapter"); n; n = gh_xml_next(n, "Adapter")) {
            gh_xml_attr(n, "enabled", text, sizeof text);
            if (strcmp(text, "true"))
                continue;
            if (!pass) {
                count++;
                continue;
            }
            if (count != a->network_count)
                return;
            gh_xml_attr(n, "MACAddress", text, sizeof text);
            if (!a->networks[i].mac[0])
                gh_appliance_mac(a->networks[i].mac, text);
            gh_xml_attr(n, "cable", text, sizeof text);
            if (!strcmp(text, "false"))
                a->networks[i].connected = false;
            gh_xml_attr(gh_xml_child(n, "InternalNetwork"), "name", text, sizeof text);
            if (!strcmp(a->networks[i].mode, "internal") && text[0])
                snprintf(a->networks[i].name, sizeof a->networks[i].name, "%s", text);
            i++;
        }
}

/* VirtualBox puts its whole machine inside: what OVF cannot say is taken from there. */
static void take_vbox(struct gh_ovf *o, xmlNodePtr machine)
{
    char text[64];
    xmlNodePtr hw = gh_xml_child(machine, "Hardware");

    snprintf(o->a->dialect, sizeof o->a->dialect, "VirtualBox");
    gh_xml_attr(machine, "OSType", text, sizeof text);
    if (gh_appliance_os_id(text)[0]) {
        snprintf(o->a->os, sizeof o->a->os, "%s", text);
        snprintf(o->a->os_id, sizeof o->a->os_id, "%s", gh_appliance_os_id(text));
    }
    gh_xml_attr(gh_xml_child(hw, "Firmware"), "type", text, sizeof text);
    if (!strncasecmp(text, "EFI", 3))
        strcpy(o->a->firmware, "uefi");
    gh_xml_attr(gh_xml_child(hw, "RTC"), "localOrUTC", text, sizeof text);
    if (!strcasecmp(text, "local"))
        strcpy(o->a->clock_base, "local");
    gh_vbox_boot_order(o->a, hw);
    gh_vbox_note_lost(o->a, hw);
    take_vbox_adapters(o->a, gh_xml_child(hw, "Network"));
}

static void take_config(struct gh_ovf *o, xmlNodePtr n)
{
    char key[80], value[80];

    gh_xml_attr(n, "key", key, sizeof key);
    gh_xml_attr(n, "value", value, sizeof value);
    if (!strcasecmp(key, "firmware") && !strncasecmp(value, "efi", 3))
        strcpy(o->a->firmware, "uefi");
    else if (strcasestr(key, "secureBoot") && !strcasecmp(value, "true"))
        gh_appliance_note(o->a, GH_DROPPED, _("Secure Boot"));
    if (!o->a->dialect[0])
        snprintf(o->a->dialect, sizeof o->a->dialect, "VMware");
}

static int take_system(struct gh_ovf *o, xmlNodePtr system, struct gh_error *err)
{
    static const char *const ignored[] = { "Info", "Name", "BootOrderSection", "Annotation", "CreationDate", "Origin", "Section", "TemplateId", "IsStateless" };
    int r = 0;

    gh_xml_child_text(system, "Name", o->a->name, sizeof o->a->name);
    if (!o->a->name[0])
        gh_xml_attr(system, "id", o->a->name, sizeof o->a->name);
    for (xmlNodePtr n = system->children; n && !r; n = n->next) {
        if (n->type != XML_ELEMENT_NODE)
            continue;
        if (is_section(n, "OperatingSystemSection")) {
            take_os(o, n);
        } else if (is_section(n, "VirtualHardwareSection")) {
            if (o->hardware)
                continue; /* alternatives: the first is the preferred one */
            o->hardware = true;
            r = gh_ovf_hardware(o, n, err);
            for (xmlNodePtr c = n->children; c; c = c->next)
                if (gh_xml_is(c, "Config") || gh_xml_is(c, "ExtraConfig"))
                    take_config(o, c);
        } else if (is_section(n, "AnnotationSection")) {
            char *t = gh_xml_text_new(gh_xml_child(n, "Annotation"));
            gh_appliance_text_new(&o->a->description, t, 16000);
            free(t);
        } else if (is_section(n, "ProductSection")) {
            gh_appliance_note(o->a, GH_DROPPED, _("Product properties, which a deployer would hand to the guest"));
        } else if (is_section(n, "EulaSection")) {
            gh_appliance_note(o->a, GH_WARNING, _("The appliance comes with a licence that you should read."));
        } else if (gh_xml_is(n, "Description") && !o->a->description) { /* oVirt's */
            char *t = gh_xml_text_new(n);
            gh_appliance_text_new(&o->a->description, t, 16000);
            free(t);
        } else if (gh_xml_is(n, "BiosType")) { /* oVirt's: 3 and 4 are its board with UEFI, the latter with Secure Boot */
            char t[8];
            gh_xml_text(n, t, sizeof t);
            if (!strcmp(t, "3") || !strcmp(t, "4"))
                strcpy(o->a->firmware, "uefi");
            if (!strcmp(t, "4"))
                gh_appliance_note(o->a, GH_DROPPED, _("Secure Boot"));
        } else if (gh_xml_is(n, "Machine")) {
            take_vbox(o, n);
        } else {
            bool known = false;
            for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
                known |= gh_xml_is(n, ignored[i]);
            if (!known && strstr((const char *)n->name, "Section"))
                gh_appliance_note(o->a, GH_DROPPED, _("The section “%.60s”"), (const char *)n->name);
        }
    }
    if (!r && !o->hardware)
        r = gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” describes no hardware.", o->p->path);
    return r;
}

static int add_system(struct gh_appliance *a, xmlNodePtr system, const char *path, struct gh_error *err)
{
    char raw[256];

    struct gh_appliance_system *more = a->system_count < GH_APPLIANCE_SYSTEMS_MAX ? realloc(a->systems, (a->system_count + 1) * sizeof *more) : NULL;
    if (!more)
        return gh_error_set(err, -E2BIG, "ApplianceTooLarge", "“%s” has more than %d machines.", path, GH_APPLIANCE_SYSTEMS_MAX);
    a->systems = more;
    gh_xml_child_text(system, "Name", raw, sizeof raw);
    if (!raw[0])
        gh_xml_attr(system, "id", raw, sizeof raw);
    gh_appliance_text(more[a->system_count++].name, sizeof more->name, raw);
    return 0;
}

/* Every machine is listed; *ret is the one that is asked for. Collections may lie in each other, as deep as the parser allows. */
static int list_systems(struct gh_ovf *o, xmlNodePtr parent, xmlNodePtr *ret, struct gh_error *err)
{
    int r = 0;

    for (xmlNodePtr n = parent->children; n && !r; n = n->next) {
        if (is_section(n, "VirtualSystemCollection")) {
            r = list_systems(o, n, ret, err);
        } else if (is_section(n, "VirtualSystem")) {
            if (o->a->system_count == o->a->system)
                *ret = n;
            r = add_system(o->a, n, o->p->path, err);
        } else if (is_section(n, "StartupSection")) {
            gh_appliance_note(o->a, GH_DROPPED, _("The order in which the appliance's machines are started"));
        }
    }
    return r;
}

/* A vendor's sizes of one machine: that which is marked, or the first. */
static void choose_option(struct gh_ovf *o, xmlNodePtr section)
{
    xmlNodePtr chosen = NULL;
    unsigned count = 0;
    char text[128];

    for (xmlNodePtr n = gh_xml_child(section, "Configuration"); n; n = gh_xml_next(n, "Configuration")) {
        gh_xml_attr(n, "default", text, sizeof text);
        if (!count++ || !strcmp(text, "true") || !strcmp(text, "1"))
            chosen = n;
    }
    gh_xml_attr(chosen, "id", o->option, sizeof o->option);
    if (count > 1)
        gh_appliance_note(o->a, GH_CHANGED, _("The appliance can be had in %u sizes; its “%.80s” is taken. Memory and processors can be changed afterwards."), count, o->option);
}

static int choose_system(struct gh_ovf *o, xmlNodePtr root, xmlNodePtr *ret, struct gh_error *err)
{
    *ret = NULL;
    int r = list_systems(o, root, ret, err);
    if (!r && !o->a->system_count)
        return gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” describes no machine.", o->p->path);
    if (!r && !*ret)
        return gh_error_set(err, -ENOENT, "ApplianceMachineUnknown", "“%s” has %u machines; there is none with the number %u.", o->p->path,
                            o->a->system_count, o->a->system + 1);
    if (!r && o->a->system_count > 1)
        gh_appliance_note(o->a, GH_WARNING, _("The appliance has %u machines; each is imported as its own. This is number %u, “%.80s”."),
                          o->a->system_count, o->a->system + 1, o->a->systems[o->a->system].name);
    return r;
}

int gh_read_ovf(struct gh_package *p, struct gh_appliance *a, struct gh_error *err)
{
    xmlDocPtr doc = gh_xml_parse(p->text, p->text_bytes, p->path, err);
    struct gh_ovf *o = doc ? calloc(1, sizeof *o) : NULL;
    int r = !doc ? -EINVAL : !o ? -ENOMEM : 0;

    if (!r) {
        xmlNodePtr root = xmlDocGetRootElement(doc);
        *o = (struct gh_ovf){ .p = p, .a = a };
        if (!gh_xml_is(root, "Envelope"))
            r = gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” is not an OVF description.", p->path);
        if (!r)
            r = take_files(o, root, err);
        char maker[40];
        gh_xml_attr(root, "madeBy", maker, sizeof maker);
        o->ours = !strncmp(maker, "Gasthaus ", 9);
        for (xmlNodePtr n = root->children; n && !r; n = n->next) {
            if (is_section(n, "DiskSection"))
                r = take_disks(o, n, err);
            else if (is_section(n, "DeploymentOptionSection"))
                choose_option(o, n);
            else if (gh_xml_is(n, "Signature"))
                gh_appliance_note(a, GH_DROPPED, _("The signature is not checked"));
        }
        xmlNodePtr system = NULL;
        if (!r)
            r = choose_system(o, root, &system, err);
        if (!r)
            r = take_system(o, system, err);
        if (o->ours)
            snprintf(a->dialect, sizeof a->dialect, "Gasthaus");
    }
    free(o);
    xmlFreeDoc(doc);
    return r;
}
