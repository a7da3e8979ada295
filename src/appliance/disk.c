/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "appliance/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/i18n.h"
#include "base/bytes.h"
#include "disk/driver.h"
#include "disk/resolve.h"

enum { MAP_CALLS_MAX = 200000 };

static int refused(struct gh_error *err, struct gh_package *p, const char *source, const char *to)
{
    return gh_error_set(err, -EPERM, "DiskReferenceRefused", "The disk “%s” of “%s” refers to “%s”, which is not part of the appliance.", source, p->path, to);
}

struct first_name { char name[256]; };
static void note_name(void *opaque, const char *name)
{
    struct first_name *f = opaque;

    if (!f->name[0])
        snprintf(f->name, sizeof f->name, "%.255s", name[0] ? name : "?");
}

/* What a member is, by its content; it must be complete in itself. */
static int probe_member(struct gh_package *p, const struct gh_appliance_medium *m, char format[12], struct gh_error *err)
{
    uint8_t head[4096] = { 0 }, tail[512] = { 0 };
    size_t want = m->bytes < sizeof head ? (size_t)m->bytes : sizeof head;
    struct first_name first = { "" };

    if (pread(p->fd, head, want, (off_t)m->at) != (ssize_t)want ||
        (m->bytes >= 512 && pread(p->fd, tail, 512, (off_t)(m->at + m->bytes - 512)) != 512))
        return gh_error_set(err, -EIO, "FileUnreadable", "“%s” cannot be read.", p->path);
    const char *f = gh_image_probe(head, want, tail, m->bytes);
    snprintf(format, 12, "%s", f ? f : "raw");
    const struct gh_image_driver *drv = gh_image_driver_find(format);
    if (!drv || !drv->references)
        return 0;
    struct gh_file *file = gh_file_new(fcntl(p->fd, F_DUPFD_CLOEXEC, 3), false, m->source, err);
    int r = file ? gh_file_set_window(file, m->at, m->bytes, err) : -EIO;
    if (!r)
        r = drv->references(file, note_name, &first, err);
    gh_file_free(file);
    return r ? r : first.name[0] ? refused(err, p, m->source, first.name) : 0;
}

static struct gh_image *open_member(struct gh_package *p, const struct gh_appliance_medium *m, struct gh_error *err)
{
    char format[12];
    struct gh_image_info info = { 0 };

    if (probe_member(p, m, format, err) < 0)
        return NULL;
    /* First without insisting on a parent: one that is asked for is a reference, and is refused as such. */
    struct gh_image_spec spec = { .format = format, .label = m->source, .fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 3), .unlocked = true,
                                  .window_at = m->at, .window_bytes = m->bytes, .repair = true };
    struct gh_image *img = gh_image_open(&spec, err);
    if (!img)
        return NULL;
    gh_image_info(img, &info);
    gh_image_close(img);
    if (info.has_parent || info.data_file[0]) {
        refused(err, p, m->source, info.data_file[0] ? info.data_file : info.parent_name[0] ? info.parent_name : info.parent_uuid);
        return NULL;
    }
    spec.fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
    spec.repair = false;
    return gh_image_open(&spec, err);
}

struct gh_image *gh_medium_open(struct gh_package *p, const struct gh_appliance_medium *m, const char *unpacked, struct gh_error *err)
{
    if (unpacked) {
        struct gh_image_info info;
        struct gh_image *img = gh_image_open_path(unpacked, &(struct gh_image_open_how){ .unlocked = true, .top_only = true }, err);
        if (!img)
            return NULL;
        gh_image_info(img, &info);
        gh_image_close(img);
        if (info.has_parent) {
            refused(err, p, m->source, info.parent_name[0] ? info.parent_name : info.parent_uuid);
            return NULL;
        }
        return gh_image_open_path(unpacked, &(struct gh_image_open_how){ 0 }, err);
    }
    if (!m->path)
        return open_member(p, m, err);
    return gh_image_open_path(m->path, &(struct gh_image_open_how){ .format = m->format[0] ? m->format : NULL,
        .folder = p->allow[0] ? p->allow : p->folder }, err);
}

/* A machine reads zeros behind the end of a file that a crash cut short; an import takes no such image. */
static bool is_cut(struct gh_image *img)
{
    /* QEMU may leave the last cluster short; the others write whole blocks. */
    const char *format = img->driver->format.name;
    bool may_be_short = !strcmp(format, "qcow2") || !strcmp(format, "qed") || !strcmp(format, "vmdk");
    uint64_t slack = may_be_short && img->cluster_bytes ? img->cluster_bytes - 1 : img->cluster_bytes ? 0 : 65535, off = 0;

    for (unsigned calls = 0; off < img->bytes && calls < MAP_CALLS_MAX; calls++) {
        struct gh_extent e = { 0 };
        pthread_rwlock_rdlock(&img->lock);
        int r = img->driver->map(img, off, img->bytes - off, &e);
        pthread_rwlock_unlock(&img->lock);
        if (r < 0 || !e.bytes || (e.kind == GH_EXTENT_DATA && e.file_offset + e.bytes > gh_file_bytes(e.file) + slack))
            return true;
        off += e.bytes;
    }
    return img->parent && is_cut(img->parent);
}

/* Upper bound of what a sparse copy takes. */
static uint64_t measure(struct gh_image *img)
{
    uint64_t bytes = gh_image_bytes(img), used = 0, off = 0;

    for (unsigned calls = 0; off < bytes; calls++) {
        struct gh_map m;
        if (calls == MAP_CALLS_MAX || gh_image_map(img, off, bytes - off, &m) < 0 || !m.bytes)
            return used + bytes - off;
        if (m.kind == GH_MAP_DATA || m.kind == GH_MAP_PACKED)
            used += m.bytes;
        off += m.bytes;
    }
    return used + bytes / 4096 + (4 << 20); /* tables, and room taken ahead */
}

static bool writable_format(const char *format)
{
    for (const struct gh_image_format *f = gh_image_formats(); f->name; f++)
        if (!strcmp(f->name, format))
            return f->can_write;
    return false;
}

static int examine_disk(struct gh_package *p, struct gh_appliance *a, struct gh_appliance_medium *m, unsigned index, struct gh_error *err)
{
    struct gh_image_info info;
    uint64_t stated = m->virtual_bytes;

    snprintf(m->target, sizeof m->target, index ? "disk%u.qcow2" : "disk.qcow2", index + 1);
    if (!strcmp(m->format, "empty")) {
        m->virtual_bytes = (m->virtual_bytes + 511) / 512 * 512;
        if (!m->virtual_bytes)
            return gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” has an empty disk without a size.", p->path);
        m->needed_bytes = 1 << 20;
        return 0;
    }
    if (m->packed) {
        if (!m->needed_bytes)
            m->needed_bytes = m->virtual_bytes;
        m->needed_bytes = m->needed_bytes * 2; /* unpacked once on the way */
        return 0;
    }
    struct gh_image *img = gh_medium_open(p, m, NULL, err);
    if (!img)
        return err->code ? err->code : -EIO;
    gh_image_info(img, &info);
    snprintf(m->format, sizeof m->format, "%s", info.format);
    m->virtual_bytes = info.bytes;
    m->needed_bytes = measure(img);
    struct gh_check_report rep = { 0 };
    bool cut = is_cut(img);
    int checked = cut || info.dirty ? 0 : gh_image_check(img, false, &rep, NULL);
    if (cut || (!checked && rep.errors)) {
        gh_image_close(img);
        return gh_error_set(err, -EUCLEAN, "DiskDamaged", "“%s” is damaged: %s. Get it again, or mend it (gasthaus-image check --repair).", m->source,
                            cut ? "its end is missing" : rep.first);
    }
    m->can_stay = m->path && writable_format(info.format) && !access(m->path, W_OK) && strcmp(info.variant, "streamOptimized") &&
                  !a->snapshot[0]; /* other states build on a snapshot's disk */
    gh_image_close(img);
    if (stated && stated != info.bytes)
        gh_appliance_note(a, GH_WARNING, _("“%.80s” has %llu bytes, its description says %llu."), m->source, (unsigned long long)info.bytes,
                          (unsigned long long)stated);
    if (m->needed_bytes > (10ull << 30) && info.file_bytes && m->needed_bytes / 200 > info.file_bytes)
        gh_appliance_note(a, GH_WARNING, _("“%.80s” grows to %llu times its size when it is copied."), m->source,
                          (unsigned long long)(m->needed_bytes / info.file_bytes));
    bool small = info.bytes < 1ull << 30;
    gh_appliance_note(a, GH_KEPT, small ? _("Disk %u: %.80s, %.1f MiB, on %s") : _("Disk %u: %.80s, %.1f GiB, on %s"), index + 1, m->source,
                      (double)info.bytes / (small ? 1ull << 20 : 1ull << 30), m->bus);
    return 0;
}

/* A path of the computer that the machine comes from: the longest end of it that is a file here, below the description's folder. */
static int find_moved(struct gh_package *p, struct gh_appliance *a, struct gh_appliance_medium *m, char path[PATH_MAX])
{
    const char *s = m->source;
    bool windows = strchr(s, '\\') != NULL;
    char here[1024];

    if ((!windows && strncmp(s, "/vmfs/", 6)) || snprintf(here, sizeof here, "%s", s) >= (int)sizeof here)
        return -ENOENT;
    for (char *c = here; *c && windows; c++)
        if (*c == '\\')
            *c = '/';
    for (const char *end = here; end; end = strchr(end, '/')) {
        end += *end == '/';
        if (gh_package_name_is_plain(end) && !gh_package_resolve(p, end, path, NULL)) {
            gh_appliance_note(a, GH_CHANGED, _("“%.200s” is a place on another computer; “%.200s” beside the description is taken"), s, end);
            return 0;
        }
    }
    return -ENOENT;
}

int gh_media_locate(struct gh_package *p, struct gh_appliance *a, struct gh_error *err)
{
    unsigned disks = 0, others = 0;
    int r = 0;

    for (unsigned i = 0; i < a->media_count && !r; i++) {
        struct gh_appliance_medium *m = &a->media[i];
        bool disk = !strcmp(m->kind, "disk");
        char path[PATH_MAX];
        if (!m->source)
            continue;
        if (!strcmp(m->format, "empty")) {
            r = examine_disk(p, a, m, disks++, err);
            continue;
        }
        if (p->kind == GH_PACKAGE_OVA) {
            const struct gh_tar_member *member = gh_tar_find(&p->tar, m->source);
            m->missing = !member;
            m->at = member ? member->at : 0;
            m->bytes = member ? member->bytes : 0;
        } else {
            r = gh_package_resolve(p, m->source, path, err);
            if (r < 0 && !find_moved(p, a, m, path)) {
                r = 0;
                memset(err, 0, sizeof *err);
            }
            m->missing = r == -ENOENT;
            if (!r)
                gh_appliance_text_new(&m->path, path, PATH_MAX);
            r = m->missing ? 0 : r;
        }
        if (!r && m->missing) {
            gh_appliance_note(a, GH_WARNING, disk ? _("The disk “%.200s” is missing and is left out.") : _("The medium “%.200s” is missing; its drive is empty."),
                              m->source);
            if (disk && p->kind != GH_PACKAGE_OVA && p->kind != GH_PACKAGE_OVF)
                gh_appliance_text_new(&a->blocker, _("A disk is missing; without it the machine may not start."), 900);
            continue;
        }
        if (r)
            break;
        if (disk) {
            r = examine_disk(p, a, m, disks++, err);
        } else if (!m->path) { /* from the archive: has to be taken out */
            snprintf(m->target, sizeof m->target, "%s%u.%s", m->kind, others++, strcmp(m->kind, "cdrom") ? "img" : "iso");
            m->needed_bytes = m->bytes;
            snprintf(m->format, sizeof m->format, "raw");
        } else {
            snprintf(m->format, sizeof m->format, "raw");
            gh_appliance_note(a, GH_KEPT, _("The medium %.200s, where it is"), m->path);
        }
    }
    return r;
}
