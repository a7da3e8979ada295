/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/appliance.h"
#include "appliance/i18n.h"
#include "base/schema.h"

enum { LINE_BYTES_MAX = 1000, DESCRIPTION_BYTES_MAX = 16384, PATH_BYTES_MAX = 4096 };
#define SPACE_MAX (1ull << 56)

static const struct gh_schema_field line_fields[] = {
    GH_S_STRING(struct gh_appliance_line, kind, "kind", true, "kept, changed, dropped or warning"),
    GH_S_TEXT(struct gh_appliance_line, text, "text", true, LINE_BYTES_MAX + 8, "one sentence"),
    GH_S_END,
};
static const struct gh_schema line_schema = { "line", sizeof(struct gh_appliance_line), line_fields };

static const struct gh_schema_field medium_fields[] = {
    GH_S_STRING(struct gh_appliance_medium, kind, "kind", true, "disk, cdrom or floppy"),
    GH_S_STRING(struct gh_appliance_medium, bus, "bus", true, "as machine.xml has it"),
    GH_S_TEXT(struct gh_appliance_medium, source, "source", false, PATH_BYTES_MAX, "the file as described"),
    GH_S_TEXT(struct gh_appliance_medium, path, "path", false, PATH_BYTES_MAX, "where it is on this host"),
    GH_S_STRING(struct gh_appliance_medium, format, "format", false, "as found"),
    GH_S_STRING(struct gh_appliance_medium, target, "target", false, "file in the machine's folder"),
    GH_S_STRING(struct gh_appliance_medium, mode, "mode", false, "how it is used, as machine.xml has it"),
    GH_S_U64(struct gh_appliance_medium, at, "at", false, 0, INT64_MAX, "byte in the package"),
    GH_S_U64(struct gh_appliance_medium, bytes, "bytes", false, 0, INT64_MAX, "size in the package"),
    GH_S_U64(struct gh_appliance_medium, virtual_bytes, "virtual_bytes", false, 0, INT64_MAX, "what the guest sees"),
    GH_S_U64(struct gh_appliance_medium, needed_bytes, "needed_bytes", false, 0, INT64_MAX, "space when copied"),
    GH_S_BOOL(struct gh_appliance_medium, packed, "packed", "gzip around it"),
    GH_S_BOOL(struct gh_appliance_medium, missing, "missing", "named, but not there"),
    GH_S_BOOL(struct gh_appliance_medium, can_stay, "can_stay", "may be used where it is"),
    GH_S_END,
};
static const struct gh_schema medium_schema = { "medium", sizeof(struct gh_appliance_medium), medium_fields };

static const struct gh_schema_field network_fields[] = {
    GH_S_STRING(struct gh_appliance_network, adapter, "adapter", true, "as machine.xml has it"),
    GH_S_STRING(struct gh_appliance_network, mode, "mode", true, "as machine.xml has it"),
    GH_S_STRING(struct gh_appliance_network, name, "name", false, "of an internal network"),
    GH_S_STRING(struct gh_appliance_network, mac, "mac", false, "hardware address; empty: a new one"),
    GH_S_BOOL(struct gh_appliance_network, connected, "connected", "cable plugged in"),
    GH_S_END,
};
static const struct gh_schema network_schema = { "network", sizeof(struct gh_appliance_network), network_fields };

static const struct gh_schema_field system_fields[] = {
    GH_S_STRING(struct gh_appliance_system, name, "name", true, "as the package calls it"),
    GH_S_END,
};
static const struct gh_schema system_schema = { "system", sizeof(struct gh_appliance_system), system_fields };

static const struct gh_schema_field snapshot_fields[] = {
    GH_S_STRING(struct gh_appliance_snapshot, name, "name", true, "as the source calls it"),
    GH_S_STRING(struct gh_appliance_snapshot, id, "id", false, "as the source has it"),
    GH_S_STRING(struct gh_appliance_snapshot, time, "time", false, "when it was taken"),
    GH_S_END,
};
static const struct gh_schema snapshot_schema = { "snapshot", sizeof(struct gh_appliance_snapshot), snapshot_fields };

static const struct gh_schema_field fields[] = {
    GH_S_STRING(struct gh_appliance, kind, "kind", true, "what the file is"),
    GH_S_STRING(struct gh_appliance, dialect, "dialect", false, "who wrote it"),
    GH_S_STRING(struct gh_appliance, name, "name", true, "of the machine"),
    GH_S_TEXT(struct gh_appliance, description, "description", false, DESCRIPTION_BYTES_MAX + 8, "for people"),
    GH_S_STRING(struct gh_appliance, os, "os", false, "the system as the source calls it"),
    GH_S_STRING(struct gh_appliance, os_id, "os_id", false, "libosinfo's id"),
    GH_S_U64(struct gh_appliance, memory_bytes, "memory_bytes", true, 0, INT64_MAX, "memory"),
    GH_S_U32(struct gh_appliance, cpus, "cpus", true, 1, 4096, "processors"),
    GH_S_STRING(struct gh_appliance, firmware, "firmware", true, "bios or uefi"),
    GH_S_STRING(struct gh_appliance, clock_base, "clock_base", true, "utc or local"),
    GH_S_STRING(struct gh_appliance, boot_order, "boot_order", true, "letters c d a n"),
    GH_S_U32(struct gh_appliance, system, "system", false, 0, GH_APPLIANCE_SYSTEMS_MAX, "which machine of the package"),
    GH_S_STRING(struct gh_appliance, snapshot, "snapshot", false, "which one instead of the current state"),
    GH_S_LIST(struct gh_appliance, snapshots, snapshot_count, "snapshots", &snapshot_schema, GH_APPLIANCE_SNAPSHOTS_MAX, "of the machine"),
    GH_S_BOOL(struct gh_appliance, in_place, "in_place", "disks that can stay do"),
    GH_S_LIST(struct gh_appliance, systems, system_count, "systems", &system_schema, GH_APPLIANCE_SYSTEMS_MAX, "machines of the package"),
    GH_S_LIST(struct gh_appliance, media, media_count, "media", &medium_schema, GH_APPLIANCE_MEDIA_MAX, "drives"),
    GH_S_LIST(struct gh_appliance, networks, network_count, "networks", &network_schema, GH_APPLIANCE_NETWORKS_MAX, "network adapters"),
    GH_S_LIST(struct gh_appliance, lines, line_count, "lines", &line_schema, GH_APPLIANCE_LINES_MAX + 1, "the report"),
    GH_S_U64(struct gh_appliance, space_needed, "space_needed", true, 0, INT64_MAX, "bytes to copy"),
    GH_S_TEXT(struct gh_appliance, blocker, "blocker", false, LINE_BYTES_MAX + 8, "why it cannot start as it is"),
    GH_S_END,
};
static const struct gh_schema schema = { "appliance", sizeof(struct gh_appliance), fields };

struct gh_appliance *gh_appliance_new(void)
{
    struct gh_appliance *a = malloc(sizeof *a);

    if (!a)
        return NULL;
    gh_schema_init(&schema, a);
    a->cpus = 1;
    strcpy(a->firmware, "bios");
    strcpy(a->clock_base, "utc");
    strcpy(a->boot_order, "cd");
    return a;
}

void gh_appliance_free(struct gh_appliance *a)
{
    if (!a)
        return;
    gh_schema_fini(&schema, a);
    free(a);
}

json_t *gh_appliance_to_json(const struct gh_appliance *a)
{
    unsigned fds = 0;

    return gh_schema_write(&schema, a, NULL, &fds, 0);
}

int gh_appliance_from_json(const json_t *j, struct gh_appliance **ret, struct gh_error *err)
{
    struct gh_appliance *a = malloc(sizeof *a);
    int r = a ? gh_schema_read(&schema, j, NULL, NULL, a, err) : -ENOMEM;

    if (r < 0) {
        free(a);
        return r;
    }
    for (unsigned i = 0; i < a->media_count; i++) {
        const char *t = a->media[i].target;
        if (strchr(t, '/') || t[0] == '.') {
            gh_appliance_free(a);
            return gh_error_set(err, -EINVAL, "ApplianceDamaged", "The importer answered with an impossible file name.");
        }
    }
    *ret = a;
    return 0;
}

/* ---- Text ------------------------------------------------------------------------------------------- */
/* Bytes of the UTF-8 character at p, at most n; 0: not one, or not printable. */
static size_t character(const unsigned char *p, size_t n)
{
    size_t want = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

    if (!want || want > n || p[0] < 0x20 || p[0] == 0x7f)
        return 0;
    for (size_t i = 1; i < want; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    if (p[0] == 0xc2 && p[1] < 0xa0) /* C1 controls */
        return 0;
    if (p[0] == 0xe2 && ((p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae) || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)))
        return 0; /* direction overrides: a name shall read as what it is */
    return want;
}

static void clean(char *out, size_t size, const char *text, bool lines)
{
    const unsigned char *p = (const unsigned char *)(text ? text : "");
    size_t left = strlen((const char *)p), used = 0;

    while (left && isspace(*p))
        p++, left--;
    while (left) {
        size_t n = character(p, left);
        bool blank = !n && (*p == '\n' || *p == '\t' || *p == '\r');
        if (blank && used + 1 < size && *p != '\r')
            out[used++] = lines ? (char)*p : ' ';
        else if (n && used + n < size)
            memcpy(out + used, p, n), used += n;
        else if (n)
            break;
        p += n ? n : 1;
        left -= n ? n : 1;
    }
    while (used && isspace((unsigned char)out[used - 1]))
        used--;
    out[used] = 0;
}

void gh_appliance_text(char *out, size_t size, const char *text) { clean(out, size, text, false); }

void gh_appliance_text_new(char **out, const char *text, size_t limit)
{
    size_t n = text ? strlen(text) : 0;

    free(*out);
    *out = NULL;
    if (!n)
        return;
    n = n < limit ? n : limit;
    char *t = malloc(n + 1);
    if (!t)
        return;
    clean(t, n + 1, text, true);
    if (t[0])
        *out = t;
    else
        free(t);
}

static const char *const note_kinds[] = { "kept", "changed", "dropped", "warning" };

void gh_appliance_note(struct gh_appliance *a, enum gh_note kind, const char *fmt, ...)
{
    char text[LINE_BYTES_MAX * 2], cleaned[LINE_BYTES_MAX];
    va_list ap;

    if (a->line_count > GH_APPLIANCE_LINES_MAX)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, a->line_count == GH_APPLIANCE_LINES_MAX ? _("There is more, which is not listed.") : fmt, ap);
    va_end(ap);
    gh_appliance_text(cleaned, sizeof cleaned, text);
    for (unsigned i = 0; i < a->line_count; i++)
        if (!strcmp(a->lines[i].text, cleaned))
            return;
    struct gh_appliance_line *more = realloc(a->lines, (a->line_count + 1) * sizeof *more);
    if (!more)
        return;
    a->lines = more;
    more += a->line_count;
    snprintf(more->kind, sizeof more->kind, "%s", note_kinds[kind]);
    more->text = strdup(cleaned);
    a->line_count += more->text != NULL;
}

struct gh_appliance_medium *gh_appliance_add_medium(struct gh_appliance *a, const char *kind, const char *bus, const char *source,
                                                    struct gh_error *err)
{
    struct gh_appliance_medium *m = a->media_count < GH_APPLIANCE_MEDIA_MAX ? realloc(a->media, (a->media_count + 1) * sizeof *m) : NULL;

    if (!m) {
        gh_error_set(err, -E2BIG, "ApplianceTooLarge", "This machine has more than %d drives.", GH_APPLIANCE_MEDIA_MAX);
        return NULL;
    }
    a->media = m;
    m += a->media_count++;
    memset(m, 0, sizeof *m);
    snprintf(m->kind, sizeof m->kind, "%s", kind);
    snprintf(m->bus, sizeof m->bus, "%s", bus);
    if (source && source[0])
        gh_appliance_text_new(&m->source, source, PATH_BYTES_MAX - 8);
    return m;
}

void gh_appliance_set_mode(struct gh_appliance *a, struct gh_appliance_medium *m, const char *mode)
{
    snprintf(m->mode, sizeof m->mode, "%s", mode);
    gh_appliance_note(a, GH_KEPT, _("How the disk “%.80s” is used: %s"), m->source ? m->source : "", mode);
}

static bool mac_is_good(const char *mac)
{
    unsigned b[6];
    char rest;

    return strlen(mac) == 17 && sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", b, b + 1, b + 2, b + 3, b + 4, b + 5, &rest) == 6 && !(b[0] & 1);
}

void gh_appliance_mac(char out[18], const char *text)
{
    char digits[13] = "", mac[18];
    size_t n = 0;

    for (const char *p = text ? text : ""; *p && n < sizeof digits; p++) {
        if (isxdigit((unsigned char)*p) && n < 12)
            digits[n++] = (char)tolower((unsigned char)*p);
        else if (*p != ':' && *p != '-')
            return;
    }
    if (n != 12)
        return;
    for (unsigned i = 0; i < 6; i++)
        snprintf(mac + i * 3, sizeof mac - i * 3, "%c%c%s", digits[i * 2], digits[i * 2 + 1], i < 5 ? ":" : "");
    if (mac_is_good(mac))
        memcpy(out, mac, sizeof mac);
}

struct gh_appliance_network *gh_appliance_add_network(struct gh_appliance *a, const char *adapter, const char *mode,
                                                      const char *mac, struct gh_error *err)
{
    if (a->network_count == GH_APPLIANCE_NETWORKS_MAX) {
        gh_appliance_note(a, GH_DROPPED, _("Only %d network adapters are possible; one is left out."), GH_APPLIANCE_NETWORKS_MAX);
        return &a->networks[a->network_count - 1];
    }
    struct gh_appliance_network *n = realloc(a->networks, (a->network_count + 1) * sizeof *n);
    if (!n) {
        gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
        return NULL;
    }
    a->networks = n;
    n += a->network_count++;
    memset(n, 0, sizeof *n);
    snprintf(n->adapter, sizeof n->adapter, "%s", adapter);
    snprintf(n->mode, sizeof n->mode, "%s", mode);
    gh_appliance_mac(n->mac, mac);
    if (mac && mac[0] && !n->mac[0])
        gh_appliance_note(a, GH_CHANGED, _("“%.40s” is no hardware address of a network adapter; it gets a new one."), mac);
    n->connected = true;
    return n;
}

/* ---- Hardware of others ------------------------------------------------------------------------------- */
struct word { const char *theirs, *ours; bool same; };

static const struct word buses[] = {
    { "ide", "ide", true }, { "piix4", "ide", true }, { "piix3", "ide", true }, { "ich6", "ide", true },
    { "sata", "ahci", true }, { "ahci", "ahci", true }, { "intelahci", "ahci", true }, { "vmware.sata.ahci", "ahci", true },
    { "nvme", "nvme", true }, { "vmware.nvme.controller", "nvme", true },
    { "virtio", "virtio", true }, { "virtio-blk", "virtio", true }, { "virtio_blk", "virtio", true }, { "xen", "virtio", false },
    { "xvd", "virtio", false }, { "virtio-scsi", "virtio", false }, { "virtio_scsi", "virtio", false }, { "virtioscsi", "virtio", false },
    { "scsi", "ahci", false }, { "lsilogic", "ahci", false }, { "lsilogicsas", "ahci", false }, { "lsisas1068", "ahci", false }, { "lsisas", "ahci", false }, { "buslogic", "ahci", false },
    { "virtualscsi", "ahci", false }, { "pvscsi", "ahci", false }, { "sas", "ahci", false }, { "usb", "ahci", false }, { "fdc", "fdc", true },
};
static const struct word adapters[] = {
    { "e1000", "e1000", true }, { "82540em", "e1000", true }, { "82543gc", "e1000", false }, { "82545em", "e1000", false },
    { "e1000e", "e1000", false }, { "virtio", "virtio-net", true }, { "virtio-net", "virtio-net", true }, { "virtio-net-pci", "virtio-net", true },
    { "virtionet", "virtio-net", true },
};

static const struct word *look_up(const struct word *list, size_t n, const char *theirs)
{
    for (size_t i = 0; i < n; i++)
        if (!strcasecmp(list[i].theirs, theirs))
            return &list[i];
    return NULL;
}

const char *gh_appliance_bus(struct gh_appliance *a, const char *theirs)
{
    const struct word *w = look_up(buses, sizeof buses / sizeof *buses, theirs);
    const char *ours = w ? w->ours : "ide";

    if (theirs[0] && (!w || !w->same))
        gh_appliance_note(a, GH_CHANGED, _("The disk controller “%.40s” becomes %s."), theirs, ours);
    return ours;
}

const char *gh_appliance_adapter(struct gh_appliance *a, const char *theirs)
{
    char one[40];
    const struct word *w = NULL;

    /* VMware lists alternatives: the first one that is here too. */
    for (const char *p = theirs; *p && !(w && w->same);) {
        size_t n = strcspn(p, " ");
        snprintf(one, sizeof one, "%.*s", (int)(n < sizeof one ? n : sizeof one - 1), p);
        const struct word *found = look_up(adapters, sizeof adapters / sizeof *adapters, one);
        w = found && (!w || found->same) ? found : w;
        p += n;
        p += strspn(p, " ");
    }
    const char *ours = w ? w->ours : "e1000";

    if (theirs[0] && (!w || !w->same))
        gh_appliance_note(a, GH_CHANGED, _("The network adapter “%.40s” becomes %s."), theirs, ours);
    return ours;
}

const char *gh_appliance_network_mode(struct gh_appliance *a, const char *theirs)
{
    if (!theirs[0] || !strcasecmp(theirs, "nat") || !strcasecmp(theirs, "user") || !strcasecmp(theirs, "default"))
        return "nat";
    if (!strcasecmp(theirs, "internal") || !strcasecmp(theirs, "intnet"))
        return "internal";
    gh_appliance_note(a, GH_CHANGED, _("The network connection “%.60s” becomes NAT."), theirs);
    return "nat";
}

/* ---- What every import ends with ------------------------------------------------------------------------ */
static void safe_name(struct gh_appliance *a, const char *fallback)
{
    char name[256];
    size_t characters = 0;

    gh_appliance_text(name, sizeof name, a->name[0] ? a->name : fallback);
    for (char *p = name; *p; p++) {
        if (*p == '/')
            *p = '_';
        if ((*p & 0xc0) != 0x80 && ++characters > 63) {
            *p = 0;
            break;
        }
    }
    if (!name[0] || !strcmp(name, ".") || !strcmp(name, ".."))
        snprintf(name, sizeof name, "%s", _("Imported machine"));
    snprintf(a->name, sizeof a->name, "%s", name);
}

static void limits(struct gh_appliance *a)
{
    uint64_t mib = a->memory_bytes >> 20;

    if (!a->memory_bytes) {
        mib = 1024;
        gh_appliance_note(a, GH_CHANGED, _("The memory is not stated; the machine gets %u MiB."), (unsigned)mib);
    } else if (mib < 4 || mib > 1 << 20) {
        uint64_t asked = mib;
        mib = mib < 4 ? 4 : 1 << 20;
        gh_appliance_note(a, GH_CHANGED, _("%llu MiB of memory are not possible; the machine gets %u MiB."), (unsigned long long)asked, (unsigned)mib);
    } else {
        gh_appliance_note(a, GH_KEPT, _("%u MiB of memory"), (unsigned)mib);
    }
    a->memory_bytes = mib << 20;
    if (!a->cpus)
        a->cpus = 1;
    if (a->cpus > 64) {
        gh_appliance_note(a, GH_CHANGED, _("%u processors are not possible; the machine gets %u."), a->cpus, 64u);
        a->cpus = 64;
    } else {
        gh_appliance_note(a, GH_KEPT, a->cpus == 1 ? _("%u processor") : _("%u processors"), a->cpus);
    }
}

/* Four IDE places and two floppies are all there is; AHCI has room for more CD drives. */
static void places(struct gh_appliance *a)
{
    unsigned ide = 0, floppies = 0;

    for (unsigned i = 0; i < a->media_count; i++) {
        struct gh_appliance_medium *m = &a->media[i];
        if (strcmp(m->kind, "disk"))
            snprintf(m->bus, sizeof m->bus, "%s", strcmp(m->kind, "floppy") ? "ide" : "fdc");
    }
    for (unsigned i = 0; i < a->media_count; i++) {
        struct gh_appliance_medium *m = &a->media[i];
        bool drop = !strcmp(m->bus, "fdc") && ++floppies > 2;
        if (!strcmp(m->kind, "cdrom") && ide >= 4)
            snprintf(m->bus, sizeof m->bus, "ahci");
        if (!drop && !strcmp(m->bus, "ide") && ++ide > 4) {
            gh_appliance_note(a, GH_CHANGED, _("IDE has room for four drives; “%.80s” goes to virtio."), m->source ? m->source : "");
            snprintf(m->bus, sizeof m->bus, "virtio");
        }
        if (!drop)
            continue;
        gh_appliance_note(a, GH_DROPPED, _("There is no room for one more drive of the kind “%s”."), m->kind);
        free(m->source);
        free(m->path);
        memmove(m, m + 1, (--a->media_count - i) * sizeof *m);
        i--;
    }
}

/* The names of internal networks are simple here; machines of one network keep meeting in it, as all are changed alike. */
static void network_names(struct gh_appliance *a)
{
    for (unsigned i = 0; i < a->network_count; i++) {
        struct gh_appliance_network *n = &a->networks[i];
        char old[sizeof n->name];
        if (strcmp(n->mode, "internal"))
            continue;
        snprintf(old, sizeof old, "%s", n->name[0] ? n->name : "intnet");
        snprintf(n->name, sizeof n->name, "%s", old);
        n->name[47] = 0;
        for (char *p = n->name; *p; p++)
            if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
                *p = '-';
        if (n->name[0] == '.')
            n->name[0] = 'n';
        if (strcmp(old, n->name))
            gh_appliance_note(a, GH_CHANGED, _("The internal network “%.60s” is called “%.40s” here."), old, n->name);
    }
}

int gh_appliance_finish(struct gh_appliance *a, const char *fallback_name, struct gh_error *err)
{
    unsigned disks = 0;

    safe_name(a, fallback_name);
    limits(a);
    places(a);
    network_names(a);
    if (!a->os_id[0] && a->os[0])
        snprintf(a->os_id, sizeof a->os_id, "%s", gh_appliance_os_id(a->os));
    if (a->os[0] && a->os_id[0])
        gh_appliance_note(a, GH_KEPT, _("The operating system: %.100s"), a->os);
    else if (a->os[0])
        gh_appliance_note(a, GH_DROPPED, _("The operating system “%.100s” is not known here; choose one in the settings."), a->os);
    if (!strcmp(a->firmware, "uefi"))
        gh_appliance_note(a, GH_KEPT, _("UEFI firmware; the boot entries it remembered start anew."));
    a->space_needed = 0;
    for (unsigned i = 0; i < a->media_count; i++) {
        struct gh_appliance_medium *m = &a->media[i];
        if (m->missing || !m->source)
            continue;
        disks += !strcmp(m->kind, "disk");
        if (m->target[0] && !(a->in_place && m->can_stay))
            a->space_needed += m->needed_bytes < SPACE_MAX ? m->needed_bytes : SPACE_MAX;
    }
    for (unsigned i = 0; i < a->network_count; i++)
        gh_appliance_note(a, GH_KEPT, _("Network adapter %u: %s, %s"), i + 1, a->networks[i].adapter, a->networks[i].mode);
    if (!disks)
        gh_appliance_note(a, GH_WARNING, _("The machine has no disk."));
    if (a->blocker)
        gh_appliance_note(a, GH_WARNING, "%s", a->blocker);
    return 0;
}
