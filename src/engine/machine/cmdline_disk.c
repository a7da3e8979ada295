/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --disk, --cdrom, --floppy: PATH[,word...], a drive, the files behind it, and the place it is connected to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "disk/file.h"
#include "disk/resolve.h"
#include "engine/machine/cmdline_internal.h"

enum { AHCI_PORTS = 6 };               /* of one controller */

/* Disks take the first free IDE place, CD drives prefer the second channel, as on real machines. */
static int place_ide(struct gh_cmdline_state *s, bool cd, const char *name, struct gh_error *err)
{
    static const char *const places[] = { "primary-master", "primary-slave", "secondary-master", "secondary-slave" };
    static const unsigned order[2][4] = { { 0, 1, 2, 3 }, { 2, 3, 1, 0 } };

    for (unsigned i = 0; i < 4; i++) {
        unsigned place = order[cd][i];
        if (s->ide_used & (1u << place))
            continue;
        s->ide_used |= 1u << place;
        return gh_cmdline_connect(s, "piix3-ide", "ide", places[place], name, err);
    }
    return gh_error_set(err, -ENOSPC, "TooManyMedia", "IDE has room for 4 drives; put further disks on another bus with bus=virtio.");
}

struct disk_words { char path[4200], format[12], bus[12], mode[12], cache[14]; bool read_only, no_discard, hot_plug; uint64_t limit_bytes; uint32_t limit_ops; };

/* Connects a drive to the next free place of its bus. */
static int place_drive(struct gh_cmdline_state *s, const char *bus, bool cd, const char *name, struct gh_error *err)
{
    char id[32], option[32];

    if (!strcmp(bus, "ide"))
        return place_ide(s, cd, name, err);
    if (!strcmp(bus, "ahci")) {
        snprintf(id, sizeof id, "ahci%u", s->ahci_used / AHCI_PORTS);
        snprintf(option, sizeof option, "drive%u", s->ahci_used++ % AHCI_PORTS);
        return gh_cmdline_connect(s, "ahci", id, option, name, err);
    }
    if (!strcmp(bus, "nvme") && !cd) {
        snprintf(id, sizeof id, "nvme%u", s->nvme_used++);
        return gh_cmdline_connect(s, "nvme", id, "drive", name, err);
    }
    if (!strcmp(bus, "virtio") && !cd) {
        snprintf(id, sizeof id, "virtio-blk%u", s->devices++);
        return gh_cmdline_connect(s, "virtio-blk", id, "drive", name, err);
    }
    return gh_error_option(err, -EINVAL, "BusUnknown", cd ? "cdrom" : "disk",
                           cd ? "“%s” is not a bus for CD drives; use ide or ahci." : "“%s” is not a bus for disks; use ide, ahci, nvme or virtio.", bus);
}

/* PATH[,format=F][,bus=B][,readonly][,snapshot]; a comma in a path is written twice. */
static int split_disk(const char *option, const char *v, struct disk_words *w, struct gh_error *err)
{
    char word[4200];
    bool first = true;
    uint64_t ops;

    *w = (struct disk_words){ .bus = "ide" };
    while (*v) {
        size_t n = 0;
        while (*v && (*v != ',' || v[1] == ',') && n < sizeof word - 1) {
            v += *v == ',';
            word[n++] = *v++;
        }
        word[n] = 0;
        v += *v == ',';
        if (!strncmp(word, "file=", 5))
            snprintf(w->path, sizeof w->path, "%s", word + 5);
        else if (!strncmp(word, "format=", 7))
            snprintf(w->format, sizeof w->format, "%.11s", word + 7);
        else if (!strncmp(word, "bus=", 4))
            snprintf(w->bus, sizeof w->bus, "%.11s", word + 4);
        else if (!strncmp(word, "cache=", 6))
            snprintf(w->cache, sizeof w->cache, "%.13s", word + 6);
        else if (!strcmp(word, "hotplug"))
            w->hot_plug = true;
        else if (!strcmp(word, "discard=off"))
            w->no_discard = true;
        else if (!strncmp(word, "bps=", 4) && gh_parse_size(word + 4, 1, &w->limit_bytes) == 0 && w->limit_bytes)
            ;
        else if (!strncmp(word, "iops=", 5) && gh_parse_size(word + 5, 1, &ops) == 0 && ops && ops <= UINT32_MAX)
            w->limit_ops = (uint32_t)ops;
        else if (!strcmp(word, "readonly"))
            w->read_only = true;
        else if (!strcmp(word, "snapshot"))
            strcpy(w->mode, "snapshot");
        else if (first)
            snprintf(w->path, sizeof w->path, "%s", word);
        else
            return gh_error_option(err, -EINVAL, "DiskOptionUnknown", option, "“%s” is not an option of a disk; use format=, bus=, cache=, bps=, iops=, discard=off, hotplug, readonly or snapshot.", word);
        first = false;
    }
    return w->path[0] ? 0 : gh_error_option(err, -EINVAL, "DiskOptionUnknown", option, "--%s needs a file.", option);
}

/* An immutable disk's changes go into a file without a name, beside the disk or where there is room. */
static int add_scratch(struct gh_launch_disk *disk, const char *path, struct gh_error *err)
{
    char folder[4200];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    int fd = open(slash ? folder : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return gh_error_option(err, -errno, "ScratchNotCreated", "disk", "No temporary file for the changes to “%s” can be made: %s.",
                               path, strerror(errno));
    return gh_launch_add_layer(disk, "qcow2", "temporary changes", fd) ? 0 : gh_cmdline_no_memory(err);
}

/* What the guest wrote into a raw disk must never decide how the file is read: without format= it is
 * looked at, and only a name that says the same is believed. */
static int choose_format(struct disk_words *w, int fd, struct gh_error *err)
{
    const char *found, *dot = strrchr(w->path, '.'), *name = dot && !strchr(dot, '/') ? dot + 1 : "";

    if (w->format[0])
        return 0;
    int r = gh_image_probe_fd(fd, w->path, &found, err);
    if (r)
        return r;
    if (strcmp(found, "raw") && strcasecmp(name, found) && !(!strcmp(found, "vhd") && !strcasecmp(name, "vpc")))
        return gh_error_option(err, -EINVAL, "DiskFormatNeeded", "disk", "“%s” looks like a %s image, but its name does not say so; add "
                               "format=%s, or format=raw if a guest wrote that.", w->path, found, found);
    snprintf(w->format, sizeof w->format, "%s", found);
    return 0;
}

struct layers { struct gh_launch_disk *disk; const char *top; };

static int take_layer(void *opaque, const struct gh_image_spec *file)
{
    struct layers *l = opaque;
    struct gh_launch_layer *layer = gh_launch_add_layer(l->disk, file->format, l->top ? l->top : file->label, file->fd);

    l->top = NULL;
    if (!layer)
        close(file->fd);
    else if (file->part_count)
        layer->extents = calloc(file->part_count, sizeof *layer->extents);
    for (unsigned i = 0; i < file->part_count; i++) {
        if (!layer || !layer->extents) {
            close(file->parts[i].fd);
            continue;
        }
        snprintf(layer->extents[i].name, sizeof layer->extents[i].name, "%s", file->parts[i].name);
        layer->extents[i].fd = file->parts[i].fd;
        layer->extent_count = i + 1;
    }
    return layer && layer->extent_count == file->part_count ? 0 : -ENOMEM;
}

/* The file, what it refers to and what lies behind it, as descriptors: the machine follows no name. */
static int add_image(struct gh_launch_disk *disk, struct disk_words *w, struct gh_error *err)
{
    bool writable = !w->read_only && !w->mode[0];
    int fd = gh_cmdline_open("disk", w->path, writable ? O_RDWR : O_RDONLY, err);
    int r = fd < 0 ? fd : choose_format(w, fd, err);

    if (r == 0 && !strcmp(w->format, "raw"))
        return gh_launch_add_layer(disk, "raw", w->path, fd) ? 0 : gh_cmdline_no_memory(err);
    if (fd >= 0)
        close(fd);
    struct gh_image_open_how how = { .format = w->format, .writable = writable };
    struct layers layers = { disk, w->path };
    return r ? r : gh_image_resolve_path(w->path, &how, take_layer, &layers, err);
}

int gh_cmdline_disk(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    struct disk_words w;
    char name[32];
    int r = split_disk("disk", v, &w, err);

    if (r)
        return r;
    snprintf(name, sizeof name, "disk%u", s->disks++);
    s->drives++;
    struct gh_launch_disk *disk = gh_launch_add_disk(s->l, name);
    if (!disk)
        return gh_cmdline_no_memory(err);
    bool empty = w.hot_plug && !strcmp(w.path, "none");
    if (w.hot_plug && strcmp(w.bus, "ahci") && strcmp(w.bus, "nvme"))
        return gh_error_option(err, -EINVAL, "BusUnknown", "disk", "Disks on bus “%s” cannot be pulled out; use ahci or nvme.", w.bus);
    if (w.mode[0] && !empty)
        r = add_scratch(disk, w.path, err);
    if (r == 0 && !empty)
        r = add_image(disk, &w, err);
    /* The machine takes the locks, but behind its sandbox it cannot say who has them. */
    for (unsigned i = w.mode[0] != 0; i < disk->layer_count && !r; i++)
        r = gh_file_lock_ask(disk->layers[i].fd, i || w.read_only ? GH_LOCK_SHARED : GH_LOCK_EXCLUSIVE, disk->layers[i].label, err);
    if (r)
        return r;
    disk->read_only = w.read_only;
    disk->snapshot = w.mode[0] != 0;
    disk->hot_plug = w.hot_plug;
    disk->discard = !w.no_discard;
    disk->limit_bytes = w.limit_bytes;
    disk->limit_ops = w.limit_ops;
    memcpy(disk->cache, w.cache, sizeof disk->cache);
    if (w.cache[0] && strcmp(w.cache, "writeback") && strcmp(w.cache, "writethrough") && strcmp(w.cache, "unsafe"))
        return gh_error_option(err, -EINVAL, "DiskOptionUnknown", "disk", "“%s” is not a cache policy; use writeback, writethrough or unsafe.", w.cache);
    snprintf(disk->serial, sizeof disk->serial, "GH%08u", s->drives);
    return place_drive(s, w.bus, false, name, err);
}

/* PATH[,bus=B] */
int gh_cmdline_cdrom(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    struct disk_words w;
    char name[32];
    int r = split_disk("cdrom", v, &w, err);

    if (r)
        return r;
    snprintf(name, sizeof name, "cdrom%u", s->cdroms++);
    s->drives++;
    struct gh_launch_disk *disk = gh_launch_add_disk(s->l, name);
    if (!disk)
        return gh_cmdline_no_memory(err);
    disk->read_only = disk->removable = true;
    if (strcmp(w.path, "none")) {
        int fd = gh_cmdline_open("cdrom", w.path, O_RDONLY, err);
        if (fd < 0)
            return fd;
        if (!gh_launch_add_layer(disk, "raw", w.path, fd))
            return gh_cmdline_no_memory(err);
    }
    return place_drive(s, w.bus, true, name, err);
}

int gh_cmdline_floppy(struct gh_cmdline_state *s, const char *v, struct gh_error *err)
{
    char name[32];

    if (s->floppies == 2)
        return gh_error_option(err, -ENOSPC, "TooManyMedia", "floppy", "A machine can have 2 floppy drives.");
    int fd = gh_cmdline_open("floppy", v, O_RDWR, err);
    if (fd < 0 && err->code == -EACCES) {
        gh_error_clear(err);
        fd = gh_cmdline_open("floppy", v, O_RDONLY, err);
    }
    if (fd < 0)
        return fd;
    snprintf(name, sizeof name, "floppy%u", s->floppies);
    struct gh_launch_disk *disk = gh_launch_add_disk(s->l, name);
    if (!disk || !gh_launch_add_layer(disk, "raw", v, fd))
        return gh_cmdline_no_memory(err);
    disk->removable = true;
    disk->read_only = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
    return gh_cmdline_connect(s, "fdc", "fdc", s->floppies++ ? "drive1" : "drive0", name, err);
}
