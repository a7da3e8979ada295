/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "model/definition.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

static void random_bytes(void *buffer, size_t n)
{
    if (getrandom(buffer, n, 0) != (ssize_t)n)
        abort();
}

static void new_uuid(char out[37])
{
    uint8_t b[16];

    random_bytes(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

struct gh_definition *gh_definition_new(void)
{
    struct gh_definition *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    new_uuid(d->uuid);
    d->created = time(NULL);
    d->memory_bytes = 1ull << 30;
    d->cpus = 1;
    d->video_mib = 16;
    strcpy(d->accelerator, "auto");
    strcpy(d->board, "pc");
    strcpy(d->firmware, "bios");
    strcpy(d->boot_order, "dc");
    strcpy(d->clock_base, "utc");
    strcpy(d->pointer, "auto");
    return d;
}

struct gh_definition *gh_definition_copy(const struct gh_definition *d)
{
    struct gh_definition *c = malloc(sizeof *c);

    if (!c)
        return NULL;
    *c = *d;
    c->description = d->description ? strdup(d->description) : NULL;
    for (unsigned i = 0; i < c->medium_count; i++)
        c->medium[i].file = d->medium[i].file ? strdup(d->medium[i].file) : NULL;
    return c;
}

void gh_definition_free(struct gh_definition *d)
{
    if (!d)
        return;
    free(d->description);
    for (unsigned i = 0; i < d->medium_count; i++)
        free(d->medium[i].file);
    free(d);
}

int gh_definition_add_medium(struct gh_definition *d, enum gh_medium_kind kind, const char *bus,
                             const char *format, const char *file, struct gh_error *err)
{
    if (d->medium_count == GH_MEDIA_MAX)
        return gh_error_set(err, -ENOSPC, "TooManyMedia", "A machine can have at most %d drives.", GH_MEDIA_MAX);
    struct gh_medium *m = &d->medium[d->medium_count];
    *m = (struct gh_medium){ .kind = kind };
    snprintf(m->bus, sizeof m->bus, "%s", bus);
    snprintf(m->format, sizeof m->format, "%s", format);
    snprintf(m->mode, sizeof m->mode, "%s", kind == GH_MEDIUM_CDROM ? "read-only" : "normal");
    if (file && !(m->file = strdup(file)))
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
    d->medium_count++;
    return 0;
}

struct gh_network *gh_definition_add_network(struct gh_definition *d, const char *adapter, const char *mode,
                                             struct gh_error *err)
{
    uint8_t r[3];

    if (d->network_count == GH_NETWORKS_MAX) {
        gh_error_set(err, -ENOSPC, "TooManyNetworks", "A machine can have at most %d network adapters.", GH_NETWORKS_MAX);
        return NULL;
    }
    struct gh_network *n = &d->network[d->network_count++];
    *n = (struct gh_network){ .connected = true };
    snprintf(n->adapter, sizeof n->adapter, "%s", adapter);
    snprintf(n->mode, sizeof n->mode, "%s", mode);
    random_bytes(r, sizeof r);
    snprintf(n->mac, sizeof n->mac, "52:54:00:%02x:%02x:%02x", r[0], r[1], r[2]);
    return n;
}

struct gh_network *gh_definition_network(struct gh_definition *d, const char *name)
{
    char *end;

    if (strncmp(name, "net", 3) || name[3] < '0' || name[3] > '9')
        return NULL;
    unsigned long index = strtoul(name + 3, &end, 10);
    return *end || index >= d->network_count ? NULL : &d->network[index];
}

struct gh_medium *gh_definition_drive(struct gh_definition *d, const char *name)
{
    static const char *const kinds[] = { "disk", "cdrom", "floppy" };

    for (unsigned k = 0; k < 3; k++) {
        size_t n = strlen(kinds[k]);
        if (strncmp(name, kinds[k], n))
            continue;
        char *end;
        unsigned long index = strtoul(name + n, &end, 10);
        if (*end || end == name + n)
            return NULL;
        for (unsigned i = 0; i < d->medium_count; i++)
            if (d->medium[i].kind == (enum gh_medium_kind)k && index-- == 0)
                return &d->medium[i];
    }
    return NULL;
}

static bool one_of(const char *value, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(value, *list))
            return true;
    return false;
}

static int check_name(const char *name, struct gh_error *err)
{
    size_t characters = 0;

    for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
        if (*p < 0x20 || *p == 0x7f || *p == '/')
            return gh_error_option(err, -EINVAL, "NameInvalid", "name",
                                   "“%s” cannot be a machine's name: control characters and “/” are not allowed.", name);
        characters += (*p & 0xc0) != 0x80;
    }
    if (!characters || !strcmp(name, ".") || !strcmp(name, ".."))
        return gh_error_option(err, -EINVAL, "NameInvalid", "name", "A machine needs a name; type one.");
    if (characters > GH_NAME_MAX)
        return gh_error_option(err, -EINVAL, "NameInvalid", "name",
                               "The name has %zu characters; at most %d are possible.", characters, GH_NAME_MAX);
    return 0;
}

static int check_media(const struct gh_definition *d, struct gh_error *err)
{
    static const char *const formats[] = { "raw", "qcow2", "vdi", "vmdk", "vhd", "vhdx", "qed", "hdd", "dmg", NULL };
    static const char *const buses[] = { "ide", "ahci", "nvme", "virtio", "fdc", NULL };
    unsigned ide = 0, floppies = 0;

    for (unsigned i = 0; i < d->medium_count; i++) {
        const struct gh_medium *m = &d->medium[i];
        if (!one_of(m->bus, buses))
            return gh_error_option(err, -EINVAL, "BusUnknown", "bus", "“%s” is not a bus for drives; use ide, ahci, nvme or virtio.", m->bus);
        if (!one_of(m->format, formats))
            return gh_error_option(err, -EINVAL, "FormatUnknown", "format", "“%s” is not a disk format; gasthaus-image lists those there are.", m->format);
        if (m->kind == GH_MEDIUM_CDROM && strcmp(m->bus, "ide") && strcmp(m->bus, "ahci"))
            return gh_error_option(err, -EINVAL, "BusUnknown", "bus", "“%s” is not a bus for CD drives; use ide or ahci.", m->bus);
        if (m->cache[0] && strcmp(m->cache, "writeback") && strcmp(m->cache, "writethrough") && strcmp(m->cache, "unsafe"))
            return gh_error_option(err, -EINVAL, "CacheUnknown", "cache", "“%s” is not a cache policy; use writeback, writethrough or unsafe.", m->cache);
        ide += !strcmp(m->bus, "ide");
        floppies += m->kind == GH_MEDIUM_FLOPPY;
        for (unsigned k = 0; k < i; k++)
            if (m->kind == GH_MEDIUM_DISK && d->medium[k].kind == GH_MEDIUM_DISK && m->file && d->medium[k].file &&
                !strcmp(m->file, d->medium[k].file))
                return gh_error_option(err, -EINVAL, "DiskTwice", "disk", "“%s” is attached twice; a disk can be in one drive only.", m->file);
    }
    if (ide > 4)
        return gh_error_option(err, -EINVAL, "TooManyMedia", "bus", "IDE has room for 4 drives, and this machine has %u; put disks on another bus.", ide);
    if (floppies > 2)
        return gh_error_option(err, -EINVAL, "TooManyMedia", "floppy", "A machine can have 2 floppy drives, not %u.", floppies);
    return 0;
}

static bool mac_is_valid(const char *mac)
{
    unsigned b[6];
    char rest;

    return strlen(mac) == 17 && sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", b, b + 1, b + 2, b + 3, b + 4, b + 5, &rest) == 6 && !(b[0] & 1);
}

/* Ports are the host's: they collide across the adapters of a machine too. */
static int check_forwards(const struct gh_definition *d, unsigned adapter, struct gh_error *err)
{
    const struct gh_network *n = &d->network[adapter];

    for (unsigned f = 0; f < n->forward_count; f++) {
        const struct gh_forward *a = &n->forward[f];
        struct in_addr address;
        if ((strcmp(a->protocol, "tcp") && strcmp(a->protocol, "udp")) || !a->host_port || !a->guest_port || inet_pton(AF_INET, a->host_address, &address) != 1)
            return gh_error_option(err, -EINVAL, "ForwardInvalid", "forward", "“%s:%s:%u:%u” is not a port forward; give tcp or udp, an IPv4 address of this computer, "
                                   "and ports from 1 to 65535.", a->protocol, a->host_address, a->host_port, a->guest_port);
        for (unsigned i = 0; i <= adapter; i++)
            for (unsigned k = 0; k < (i == adapter ? f : d->network[i].forward_count); k++) {
                const struct gh_forward *b = &d->network[i].forward[k];
                if (a->host_port == b->host_port && !strcmp(a->protocol, b->protocol) &&
                    (!strcmp(a->host_address, b->host_address) || !strcmp(a->host_address, "0.0.0.0") || !strcmp(b->host_address, "0.0.0.0")))
                    return gh_error_option(err, -EINVAL, "ForwardCollides", "forward", "Host port %u (%s) is forwarded twice; choose another host port.",
                                           a->host_port, a->protocol);
            }
    }
    return 0;
}

static int check_networks(const struct gh_definition *d, struct gh_error *err)
{
    static const char *const adapters[] = { "e1000", "virtio-net", NULL };
    static const char *const modes[] = { "nat", "internal", "none", NULL };

    for (unsigned i = 0; i < d->network_count; i++) {
        const struct gh_network *n = &d->network[i];
        if (!one_of(n->adapter, adapters))
            return gh_error_option(err, -EINVAL, "AdapterUnknown", "adapter", "“%s” is not a network adapter; use e1000 or virtio-net.", n->adapter);
        if (!one_of(n->mode, modes))
            return gh_error_option(err, -EINVAL, "NetworkModeUnknown", "mode", "“%s” is not a network mode; use nat, internal or none.", n->mode);
        if (!mac_is_valid(n->mac))
            return gh_error_option(err, -EINVAL, "MacInvalid", "mac", "“%s” is not a hardware address of one adapter, such as 52:54:00:12:34:56.", n->mac);
        if (!strcmp(n->mode, "internal") && n->name[strspn(n->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")])
            return gh_error_option(err, -EINVAL, "NetworkNameInvalid", "network", "“%s” cannot be an internal network's name; use letters, digits, “.”, “_” and “-”.", n->name);
        for (unsigned k = 0; k < i; k++)
            if (!strcasecmp(n->mac, d->network[k].mac))
                return gh_error_option(err, -EINVAL, "MacTwice", "mac", "Two adapters have the hardware address %s; give each its own.", n->mac);
        int r = check_forwards(d, i, err);
        if (r)
            return r;
    }
    return 0;
}

int gh_definition_check(const struct gh_definition *d, struct gh_error *err)
{
    static const char *const accelerators[] = { "auto", "kvm", "kmod", "soft", NULL };
    static const char *const clocks[] = { "utc", "local", NULL };
    static const char *const firmware[] = { "bios", "uefi", NULL };
    int r = check_name(d->name, err);

    if (r)
        return r;
    if (d->memory_bytes < GH_MEMORY_MIN_BYTES || d->memory_bytes > GH_MEMORY_MAX_BYTES)
        return gh_error_option(err, -ERANGE, "MemoryOutOfRange", "memory-bytes",
                               "%llu MiB of memory is not possible; give the machine between 4 MiB and 1 TiB.",
                               (unsigned long long)(d->memory_bytes >> 20));
    if (d->memory_bytes & 0xfffff)
        return gh_error_option(err, -EINVAL, "MemoryOutOfRange", "memory-bytes",
                               "%llu bytes of memory is not a whole number of MiB.", (unsigned long long)d->memory_bytes);
    if (d->cpus < 1 || d->cpus > GH_CPUS_LIMIT)
        return gh_error_option(err, -ERANGE, "CpusOutOfRange", "cpus", "%u CPUs are not possible; give the machine 1 to %u.", d->cpus, GH_CPUS_LIMIT);
    if (!one_of(d->accelerator, accelerators))
        return gh_error_option(err, -EINVAL, "AcceleratorUnknown", "accelerator", "“%s” is not an accelerator; use auto, kvm or soft.", d->accelerator);
    if (!one_of(d->firmware, firmware))
        return gh_error_option(err, -EINVAL, "FirmwareUnknown", "firmware", "“%s” is not a firmware; use bios or uefi.", d->firmware);
    if (!one_of(d->clock_base, clocks))
        return gh_error_option(err, -EINVAL, "ClockUnknown", "clock-base", "“%s” is not a clock base; use utc or local.", d->clock_base);
    if (d->boot_order[strspn(d->boot_order, "cdan")] || !d->boot_order[0])
        return gh_error_option(err, -EINVAL, "BootOrderInvalid", "boot-order", "“%s” is not a boot order; use the letters c (disk), d (CD), a (floppy), n (network).", d->boot_order);
    r = check_media(d, err);
    return r ? r : check_networks(d, err);
}
