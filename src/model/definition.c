/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "model/definition.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    static const char *const modes[] = { "normal", "read-only", "immutable", "write-through", "shared", NULL };
    static const char *const buses[] = { "ide", "ahci", "nvme", "virtio", "fdc", NULL };
    unsigned ide = 0, floppies = 0;

    for (unsigned i = 0; i < d->medium_count; i++) {
        const struct gh_medium *m = &d->medium[i];
        if (!one_of(m->bus, buses))
            return gh_error_option(err, -EINVAL, "BusUnknown", "bus", "“%s” is not a bus for drives; use ide, ahci, nvme or virtio.", m->bus);
        if (!one_of(m->format, formats))
            return gh_error_option(err, -EINVAL, "FormatUnknown", "format", "“%s” is not a disk format; gasthaus-image lists those there are.", m->format);
        if (m->kind == GH_MEDIUM_DISK && !strcmp(m->bus, "fdc"))
            return gh_error_option(err, -EINVAL, "BusUnknown", "bus", "“%s” is not a bus for drives; use ide, ahci, nvme or virtio.", m->bus);
        if (m->kind == GH_MEDIUM_CDROM && strcmp(m->bus, "ide") && strcmp(m->bus, "ahci"))
            return gh_error_option(err, -EINVAL, "BusUnknown", "bus", "“%s” is not a bus for CD drives; use ide or ahci.", m->bus);
        if (m->kind == GH_MEDIUM_DISK && !one_of(m->mode, modes))
            return gh_error_option(err, -EINVAL, "DiskModeUnknown", "mode", "“%s” is not a way to use a disk; use normal, read-only, immutable, write-through or shared.", m->mode);
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
    return r ? r : gh_definition_check_networks(d, err);
}
