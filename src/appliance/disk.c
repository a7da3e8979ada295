/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "appliance/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/i18n.h"
#include "base/bytes.h"
#include "disk/driver.h"
#include "disk/resolve.h"

enum { MAP_CALLS_MAX = 200000, PIECES_MAX = 100000 };

static int refused(struct gh_error *err, struct gh_package *p, const char *source, const char *to)
{
    return gh_error_set(err, -EPERM, "DiskReferenceRefused", "The disk “%s” of “%s” refers to “%s”, which is not part of the appliance.", source, p->path, to);
}

static int64_t changed_ns(const struct stat *st) { return st->st_mtim.tv_sec * 1000000000ll + st->st_mtim.tv_nsec; }

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

static void note_disk(struct gh_appliance *a, const struct gh_appliance_medium *m, unsigned index)
{
    bool small = m->virtual_bytes < 1ull << 30;

    gh_appliance_note(a, GH_KEPT, small ? _("Disk %u: %.80s, %.1f MiB, on %s") : _("Disk %u: %.80s, %.1f GiB, on %s"), index + 1, m->source,
                      (double)m->virtual_bytes / (small ? 1ull << 20 : 1ull << 30), m->bus);
}

/* A description or an error page under the name of an image would become a disk full of text. */
static bool is_misnamed(const struct gh_appliance_medium *m)
{
    static const char *const endings[] = { ".vmdk", ".vdi", ".vhdx", ".qcow2", ".qed" };
    size_t n = strlen(m->source);

    for (size_t i = 0; i < GH_ARRAY_LEN(endings); i++) {
        size_t k = strlen(endings[i]);
        if (n > k && !strcasecmp(m->source + n - k, endings[i]))
            return strcmp(m->format, "raw") == 0 && !(n > 10 && !strcasecmp(m->source + n - 10, "-flat.vmdk"));
    }
    return false;
}

/* What gzip says at its end of what is in it: the length in 32 bits. At least what is there packed. */
static uint64_t unpacked_bytes(struct gh_package *p, const struct gh_appliance_medium *m)
{
    int fd = m->pieces ? -1 : m->path ? open(m->path, O_RDONLY | O_CLOEXEC) : fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
    off_t bytes = fd < 0 ? 0 : m->path ? lseek(fd, 0, SEEK_END) : (off_t)m->bytes;
    uint64_t packed = m->pieces ? m->bytes : bytes > 0 ? (uint64_t)bytes : 0, most = m->virtual_bytes + m->virtual_bytes / 8;
    uint8_t end[4];

    bool told = packed >= 18 && fd >= 0 && pread(fd, end, 4, (off_t)((m->path ? 0 : m->at) + packed - 4)) == 4;
    if (fd >= 0)
        close(fd);
    uint64_t said = told ? gh_le32_get(end) : 0;
    while (said < packed && said + (1ull << 32) <= most)
        said += 1ull << 32;
    return said > packed && said <= most + (16 << 20) ? said : packed;
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
    if (m->packed || m->pieces) { /* put together or unpacked once on the way, then converted */
        uint64_t whole = m->packed ? unpacked_bytes(p, m) : m->bytes, populated = m->needed_bytes;
        uint64_t data = whole < m->virtual_bytes ? whole : m->virtual_bytes;
        m->needed_bytes = whole + (populated > data ? populated : data) + (1 << 20);
        note_disk(a, m, index);
        return 0;
    }
    struct gh_image *img = gh_medium_open(p, m, NULL, err);
    if (!img)
        return err->code ? err->code : -EIO;
    gh_image_info(img, &info);
    snprintf(m->format, sizeof m->format, "%s", info.format);
    m->virtual_bytes = info.bytes;
    if (is_misnamed(m))
        gh_appliance_note(a, GH_WARNING, _("“%.80s” is no image of the kind that its name says; its bytes are taken as they are."), m->source);
    m->needed_bytes = measure(img);
    struct gh_check_report rep = { 0 };
    bool cut = gh_image_is_cut(img);
    int checked = cut || info.dirty ? 0 : gh_image_check(img, false, &rep, NULL);
    if (cut || (!checked && rep.errors)) {
        gh_image_close(img);
        return gh_error_set(err, -EUCLEAN, "DiskDamaged", "“%s” is damaged: %s. Get it again, or mend it (gasthaus-image check --repair).", m->source,
                            cut ? "its end is missing" : rep.first);
    }
    m->can_stay = m->path && writable_format(info.format) && !access(m->path, W_OK) && strcmp(info.variant, "streamOptimized") &&
                  !a->snapshot[0]; /* other states build on a snapshot's disk */
    gh_image_close(img);
    if (info.snapshots && !(a->in_place && m->can_stay))
        gh_appliance_note(a, GH_DROPPED, _("Snapshots inside “%.80s”: %u; its current state is taken, the source keeps them"), m->source, (unsigned)info.snapshots);
    if (stated && stated != info.bytes)
        gh_appliance_note(a, GH_WARNING, _("“%.80s” has %llu bytes, its description says %llu."), m->source, (unsigned long long)info.bytes,
                          (unsigned long long)stated);
    if (m->needed_bytes > (10ull << 30) && info.file_bytes && m->needed_bytes / 200 > info.file_bytes)
        gh_appliance_note(a, GH_WARNING, _("“%.80s” grows to %llu times its size when it is copied."), m->source,
                          (unsigned long long)(m->needed_bytes / info.file_bytes));
    note_disk(a, m, index);
    return 0;
}

struct search { struct gh_package *p; struct gh_appliance_medium *m; unsigned left; };

static bool has_uuid(const char *path, const char *uuid)
{
    struct gh_error ignored = { 0 };
    struct gh_image_info info = { 0 };
    struct gh_image *img = gh_image_open_path(path, &(struct gh_image_open_how){ .unlocked = true, .top_only = true, .accept_parent = true }, &ignored);

    if (img)
        gh_image_info(img, &info);
    gh_image_close(img);
    return img && !strcasecmp(info.uuid, uuid);
}

static bool search_folder(struct search *s, const char *folder, unsigned depth)
{
    static const char *const endings[] = { ".vdi", ".vmdk", ".vhd" };
    DIR *dir = opendir(folder);
    bool found = false;

    for (struct dirent *e; dir && !found && s->left && (e = readdir(dir)); s->left--) {
        char path[PATH_MAX];
        const char *dot = strrchr(e->d_name, '.');
        if (e->d_name[0] == '.' || snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= (int)sizeof path)
            continue;
        if (e->d_type == DT_DIR && depth)
            found = search_folder(s, path, depth - 1);
        for (size_t i = 0; dot && e->d_type == DT_REG && !found && i < GH_ARRAY_LEN(endings); i++)
            if (!strcasecmp(dot, endings[i]) && has_uuid(path, s->m->uuid)) {
                gh_appliance_text_new(&s->m->path, path, PATH_MAX);
                found = s->m->path && !strcmp(s->m->path, path);
            }
    }
    if (dir)
        closedir(dir);
    return found;
}

/* VirtualBox before 4.0 kept the list of images elsewhere: they are known by what they call themselves. */
static int find_uuid(struct gh_package *p, struct gh_appliance_medium *m)
{
    struct search s = { p, m, 2000 };

    if (!search_folder(&s, p->folder, 2) && !(p->allow[0] && search_folder(&s, p->allow, 2)))
        return -ENOENT;
    gh_appliance_text_new(&m->source, strrchr(m->path, '/') + 1, 1000);
    return 0;
}

/* A path of the computer that the machine comes from: the longest end of it that is a file here, below the description's folder. */
static int find_moved(struct gh_package *p, struct gh_appliance *a, struct gh_appliance_medium *m, char path[PATH_MAX])
{
    const char *s = m->source;
    bool windows = strchr(s, '\\') != NULL, elsewhere = windows || !strncmp(s, "/vmfs/", 6);
    char here[1024];

    if (snprintf(here, sizeof here, "%s", s) >= (int)sizeof here)
        return -ENOENT;
    for (char *c = here; *c && windows; c++)
        if (*c == '\\')
            *c = '/';
    for (const char *end = windows ? here : strchr(here, '/'); end; end = strchr(end, '/')) {
        end += *end == '/';
        if (gh_package_name_is_plain(end) && !gh_package_resolve(p, end, path, NULL)) {
            gh_appliance_note(a, GH_CHANGED, elsewhere ? _("“%.200s” is a place on another computer; “%.200s” beside the description is taken")
                                                       : _("“%.200s” lies outside of the description's folder or is not there; “%.200s” inside is taken"), s, end);
            return 0;
        }
    }
    return -ENOENT;
}

int gh_medium_piece(struct gh_package *p, const struct gh_appliance_medium *m, uint32_t k, uint64_t *at, uint64_t *bytes, struct gh_error *err)
{
    char name[1100], path[PATH_MAX];
    struct stat st;

    if (snprintf(name, sizeof name, "%s.%09u", m->source, k) >= (int)sizeof name)
        return -ENOENT;
    if (p->kind == GH_PACKAGE_OVA) {
        const struct gh_tar_member *member = gh_tar_find(&p->tar, name);
        if (!member)
            return -ENOENT;
        *at = member->at;
        *bytes = member->bytes;
        return fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
    }
    int r = gh_package_resolve(p, name, path, err);
    int fd = r < 0 ? r : open(path, O_RDONLY | O_CLOEXEC);
    if (r < 0)
        return r;
    if (fd < 0 || fstat(fd, &st) < 0) {
        r = -errno;
        if (fd >= 0)
            close(fd);
        return gh_error_set(err, r, "FileUnreadable", "“%s” cannot be read: %s.", path, strerror(-r));
    }
    *at = 0;
    *bytes = (uint64_t)st.st_size;
    return fd;
}

/* All pieces must be there; a disk whose pieces were joined already is none in pieces. */
static int find_pieces(struct gh_package *p, struct gh_appliance_medium *m, struct gh_error *err)
{
    uint64_t stated = m->bytes, count = stated / m->piece_bytes + (stated % m->piece_bytes != 0), at, bytes, all = 0;

    for (uint32_t k = 0; !stated || k < count; k++) {
        int fd = k < PIECES_MAX ? gh_medium_piece(p, m, k, &at, &bytes, err) : gh_error_set(err, -E2BIG, "ApplianceTooLarge", "“%s” has too many pieces.", m->source);
        if (fd == -ENOENT && (!k || !stated))
            break;
        if (fd == -ENOENT)
            return gh_error_set(err, -EUCLEAN, "ApplianceDamaged", "“%s” is cut into %llu pieces, of which “%s.%09u” is missing. Get it again.", m->source,
                                (unsigned long long)count, m->source, k);
        if (fd < 0)
            return fd;
        close(fd);
        all += bytes;
        m->pieces = k + 1;
    }
    if (m->pieces && stated && all != stated)
        return gh_error_set(err, -EUCLEAN, "ApplianceDamaged", "The pieces of “%s” have %llu bytes together; the description says %llu. Get it again.", m->source,
                            (unsigned long long)all, (unsigned long long)stated);
    m->bytes = all;
    return 0;
}

/* OVF names files by URI references, which some writers take literally: "My%20VM.vmdk" may be either. */
static bool decode(struct gh_appliance_medium *m)
{
    char plain[1100], hex[3] = { 0 }, *out = plain;

    if (!strchr(m->source, '%') || strlen(m->source) >= sizeof plain)
        return false;
    for (const char *s = m->source; *s; s++) {
        if (*s == '%' && strspn(s + 1, "0123456789abcdefABCDEF") >= 2) {
            memcpy(hex, s + 1, 2);
            *out++ = (char)strtoul(hex, NULL, 16);
            s += 2;
        } else {
            *out++ = *s;
        }
    }
    *out = 0;
    if (strlen(plain) != (size_t)(out - plain) || !gh_package_name_is_plain(plain))
        return false;
    gh_appliance_text_new(&m->source, plain, sizeof plain);
    return m->source && !strcmp(m->source, plain);
}

/* -ENOENT: not there. */
static int find_file(struct gh_package *p, struct gh_appliance_medium *m, struct gh_error *err)
{
    char path[PATH_MAX];
    int r = m->uuid[0] ? find_uuid(p, m) : m->piece_bytes ? find_pieces(p, m, err) : 0;

    if (m->uuid[0])
        return r;

    if (r < 0 || m->pieces)
        return r;
    if (p->kind == GH_PACKAGE_OVA) {
        const struct gh_tar_member *member = gh_tar_find(&p->tar, m->source);
        m->at = member ? member->at : 0;
        m->bytes = member ? member->bytes : 0;
        return member ? 0 : -ENOENT;
    }
    r = gh_package_resolve(p, m->source, path, err);
    if (!r)
        gh_appliance_text_new(&m->path, path, PATH_MAX);
    return r;
}

static void remember(struct gh_appliance_medium *m)
{
    struct stat st;

    if (m->path && !stat(m->path, &st)) {
        m->seen_bytes = (uint64_t)st.st_size;
        m->seen_ns = changed_ns(&st);
    }
}

int gh_package_unchanged(struct gh_package *p, const struct gh_appliance *a, struct gh_error *err)
{
    const char *changed = NULL;
    struct stat st;

    if (p->fd >= 0 && !fstat(p->fd, &st) && ((uint64_t)st.st_size != p->bytes || changed_ns(&st) != p->seen_ns))
        changed = p->path;
    for (unsigned i = 0; i < a->media_count && !changed; i++) {
        const struct gh_appliance_medium *m = &a->media[i];
        if (m->path && m->seen_ns && m->target[0] && !stat(m->path, &st) && ((uint64_t)st.st_size != m->seen_bytes || changed_ns(&st) != m->seen_ns))
            changed = m->path;
    }
    return changed ? gh_error_set(err, -EBUSY, "FileChanged", "“%s” was changed while it was imported; something still writes it. Import it again when that has "
                                  "ended. Nothing was imported.", changed) : 0;
}

int gh_media_locate(struct gh_package *p, struct gh_appliance *a, struct gh_error *err)
{
    unsigned disks = 0, others = 0, found = 0, lost = 0;
    int r = 0;

    for (unsigned i = 0; i < a->media_count && !r; i++) {
        struct gh_appliance_medium *m = &a->media[i];
        bool disk = !strcmp(m->kind, "disk"), ovf = p->kind == GH_PACKAGE_OVA || p->kind == GH_PACKAGE_OVF;
        char path[PATH_MAX];
        if (!m->source)
            continue;
        if (!strcmp(m->format, "empty")) {
            r = examine_disk(p, a, m, disks++, err);
            continue;
        }
        r = find_file(p, m, err);
        if (r == -ENOENT && ovf) {
            g_autofree char *literal = g_strdup(m->source);
            r = decode(m) ? find_file(p, m, err) : r;
            if (r == -ENOENT)
                gh_appliance_text_new(&m->source, literal, PATH_MAX);
        } else if (r < 0 && !ovf && !find_moved(p, a, m, path)) {
            r = 0;
            memset(err, 0, sizeof *err);
            gh_appliance_text_new(&m->path, path, PATH_MAX);
        }
        bool refused = !disk && r == -EPERM;
        if (refused) { /* the machine comes all the same, with an empty drive */
            gh_appliance_note(a, GH_WARNING, _("The medium “%.200s” lies outside of the description's folder; its drive is empty. Allow that folder (--allow) to keep it."),
                              m->source);
            memset(err, 0, sizeof *err);
            m->missing = true;
            r = 0;
            continue;
        }
        m->missing = r == -ENOENT;
        r = m->missing ? 0 : r;
        if (m->missing && m->is_new) {
            m->missing = false;
            snprintf(m->format, sizeof m->format, "empty");
            gh_appliance_note(a, GH_CHANGED, _("“%.200s” is not there yet; the machine gets a new, empty disk of %.0f GiB."), m->source,
                              (double)m->virtual_bytes / (1ull << 30));
            found++;
            r = examine_disk(p, a, m, disks++, err);
            continue;
        }
        if (!r && m->missing) {
            gh_appliance_note(a, GH_WARNING, disk ? _("The disk “%.200s” is missing and is left out.") : _("The medium “%.200s” is missing; its drive is empty."),
                              m->source);
            lost += disk;
            if (disk && !ovf)
                gh_appliance_text_new(&a->blocker, _("A disk is missing; without it the machine may not start."), 900);
            continue;
        }
        if (r)
            break;
        found += disk;
        remember(m);
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
    if (!r && lost && !found)
        gh_appliance_text_new(&a->blocker, _("A disk is missing; without it the machine may not start."), 900);
    return r;
}
