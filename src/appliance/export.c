/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 *     OUT.ova:  header | description, padded | header | manifest | header | disk 1 | ... | two empty blocks
 *
 * Disks are written straight into the archive; description and manifest have lengths that are known
 * before their content is, and are filled in last.
 *
 * OUT.ovf's files grow under names with ".PID.part". Where an older appliance is replaced, its disks keep their names until
 * the new description has its own, which refers to others; so whatever ends the program, one of the two is whole.
 */
#include "appliance/export.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "appliance/digest.h"
#include "appliance/tar.h"
#include "base/cleanup.h"
#include "disk/driver.h"
#include "disk/resolve.h"

enum { SHA_DIGITS = 64, DISKS_MAX = GH_APPLIANCE_MEDIA_MAX };

struct job {
    const struct gh_export *e;
    struct gh_error *err;
    char stem[PATH_MAX], base[100];            /* OUT without its ending; its last part */
    char plain[100];                           /* base in letters that every reader takes in a reference */
    struct gh_export_disk disk[DISKS_MAX];
    char sum[DISKS_MAX][GH_DIGEST_TEXT];
    uint64_t at[DISKS_MAX];                    /* in the archive */
    const struct gh_appliance_medium *medium[DISKS_MAX];
    struct gh_image *source[DISKS_MAX];
    unsigned count, now;
    uint64_t total, before;
};

static bool tell(void *opaque, uint64_t done, uint64_t total)
{
    struct job *j = opaque;
    const struct gh_progress *p = j->e->progress;

    return !p || !p->fn || p->fn(p->opaque, j->before + done, j->total ? j->total : 1);
}

static int no_write(struct job *j, const char *path, int r)
{ return gh_error_set(j->err, r, r == -ENOSPC ? "NoSpace" : "ExportFailed", "“%s” cannot be written: %s.", path, strerror(-r)); }

static int open_sources(struct job *j)
{
    const struct gh_appliance *a = j->e->a;

    for (unsigned i = 0; i < a->media_count; i++) {
        const struct gh_appliance_medium *m = &a->media[i];
        if (strcmp(m->kind, "disk") || !m->path)
            continue;
        struct gh_image *img = gh_image_open_path(m->path, &(struct gh_image_open_how){ .format = m->format, .folder = j->e->allow }, j->err);
        if (!img)
            return j->err->code;
        unsigned k = j->count++;
        j->source[k] = img;
        j->medium[k] = m;
        j->disk[k].virtual_bytes = (gh_image_bytes(img) + 511) / 512 * 512;
        snprintf(j->disk[k].name, sizeof j->disk[k].name, "%s-disk%03u.vmdk", j->plain, k + 1);
        j->total += j->disk[k].virtual_bytes;
    }
    return 0;
}

/* Disk k as a stream at byte `at` of fd (0: the file is the disk alone). */
static int write_disk(struct job *j, unsigned k, int fd, const char *label, uint64_t at)
{
    struct gh_image_create how = { .format = "vmdk", .variant = "stream-optimized", .bytes = j->disk[k].virtual_bytes, .own_name = j->disk[k].name,
                                   .window_at = at };
    struct gh_progress p = { tell, j };
    struct stat st;
    int r = gh_image_create(fcntl(fd, F_DUPFD_CLOEXEC, 3), label, &how, j->err);

    if (r < 0 || fstat(fd, &st) < 0)
        return r < 0 ? r : -errno;
    struct gh_image *dst = gh_image_open(&(struct gh_image_spec){ .format = "vmdk", .label = label, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3), .writable = true,
        .unlocked = true, .window_at = at, .window_bytes = at ? (uint64_t)st.st_size - at : 0 }, j->err);
    if (!dst)
        return j->err->code;
    r = gh_image_copy(j->source[k], dst, true, &p, j->err);
    int closed = gh_image_close(dst);
    j->before += j->disk[k].virtual_bytes;
    if (!r && closed < 0)
        r = no_write(j, label, closed);
    if (r < 0 || fstat(fd, &st) < 0)
        return r < 0 ? r : -errno;
    j->disk[k].file_bytes = (uint64_t)st.st_size - at;
    j->at[k] = at;
    /* Opened again as others will: an end that could not be written shows here. */
    dst = gh_image_open(&(struct gh_image_spec){ .format = "vmdk", .label = label, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3), .unlocked = true,
        .window_at = at, .window_bytes = at ? j->disk[k].file_bytes : 0 }, j->err);
    if (!dst)
        return j->err->code;
    gh_image_close(dst);
    r = gh_digest(G_CHECKSUM_SHA256, fd, at, j->disk[k].file_bytes, NULL, NULL, j->sum[k]);
    return r < 0 ? no_write(j, label, r) : 0;
}

static char *manifest(struct job *j, const char *text, size_t bytes)
{
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)text, bytes);
    GString *s = g_string_new(NULL);

    g_string_append_printf(s, "SHA256(%s.ovf)= %s\n", j->base, sum);
    for (unsigned k = 0; k < j->count; k++)
        g_string_append_printf(s, "SHA256(%s)= %s\n", j->disk[k].name, j->sum[k]);
    return g_string_free(s, FALSE);
}

static int put(int fd, const void *data, size_t n, uint64_t at)
{
    for (const char *p = data; n;) {
        ssize_t w = pwrite(fd, p, n, (off_t)at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return w < 0 ? -errno : -ENOSPC;
        p += w;
        at += (uint64_t)w;
        n -= (size_t)w;
    }
    return 0;
}

static int put_header(int fd, uint64_t at, const char *name, uint64_t bytes)
{
    uint8_t b[GH_TAR_BLOCK];
    int r = gh_tar_header(b, name, bytes, (int64_t)time(NULL));

    return r < 0 ? r : put(fd, b, sizeof b, at);
}

static uint64_t blocks(uint64_t n) { return (n + GH_TAR_BLOCK - 1) / GH_TAR_BLOCK * GH_TAR_BLOCK; }

static int write_archive(struct job *j, int fd, const char *path)
{
    char name[128];
    struct gh_export_disk widest[DISKS_MAX];

    memcpy(widest, j->disk, sizeof widest);
    for (unsigned k = 0; k < j->count; k++)
        widest[k].file_bytes = UINT64_MAX; /* twenty digits */
    g_autofree char *longest = gh_ovf_write(j->e->a, j->e->version, widest, j->count);
    if (!longest)
        return -ENOMEM;
    uint64_t ovf_bytes = strlen(longest), at = GH_TAR_BLOCK + blocks(ovf_bytes);
    for (unsigned k = 0; k < j->count; k++)
        memset(j->sum[k], '0', SHA_DIGITS);
    g_autofree char *empty = manifest(j, "", 0);
    uint64_t mf_at = at, mf_bytes = strlen(empty);
    int r = 0;
    at += GH_TAR_BLOCK + blocks(mf_bytes);
    for (unsigned k = 0; k < j->count && !r; k++) {
        uint64_t header = at;
        if (ftruncate(fd, (off_t)(header + GH_TAR_BLOCK)) < 0)
            return no_write(j, path, -errno);
        r = write_disk(j, k, fd, path, header + GH_TAR_BLOCK);
        if (!r)
            r = put_header(fd, header, j->disk[k].name, j->disk[k].file_bytes);
        at = header + GH_TAR_BLOCK + blocks(j->disk[k].file_bytes);
    }
    /* Two empty blocks, rounded to a record as tar does. */
    if (!r && ftruncate(fd, (off_t)((at + 2 * GH_TAR_BLOCK + 10239) / 10240 * 10240)) < 0)
        r = -errno;
    if (r < 0)
        return r;
    g_autofree char *text = gh_ovf_write(j->e->a, j->e->version, j->disk, j->count);
    g_autofree char *padded = g_malloc(ovf_bytes);
    if (!text)
        return -ENOMEM;
    memset(padded, '\n', ovf_bytes);
    memcpy(padded, text, strlen(text));
    g_autofree char *mf = manifest(j, padded, ovf_bytes);
    snprintf(name, sizeof name, "%s.ovf", j->base);
    r = put_header(fd, 0, name, ovf_bytes);
    if (!r)
        r = put(fd, padded, ovf_bytes, GH_TAR_BLOCK);
    snprintf(name, sizeof name, "%s.mf", j->base);
    if (!r)
        r = put_header(fd, mf_at, name, mf_bytes);
    if (!r)
        r = put(fd, mf, mf_bytes, mf_at + GH_TAR_BLOCK);
    return r;
}

static int export_archive(struct job *j)
{
    char part[PATH_MAX];

    /* Its own name each time: what a killed export left stands in nobody's way. */
    if (snprintf(part, sizeof part, "%s.%d.part", j->e->out, getpid()) >= (int)sizeof part)
        return -ENAMETOOLONG;
    gh_autoclose int fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return no_write(j, part, -errno);
    int r = write_archive(j, fd, j->e->out);
    if (!r && fsync(fd) < 0)
        r = -errno;
    if (!r)
        r = gh_file_rename(AT_FDCWD, part, j->e->out);
    if (r < 0)
        unlink(part);
    return r;
}

static int save_text(const char *path, const char *text)
{
    gh_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int r = fd < 0 ? -errno : put(fd, text, strlen(text), 0);

    return !r && fsync(fd) < 0 ? -errno : r;
}

/* A name for disk k that no file has. */
static int free_name(struct job *j, const char *folder, unsigned k)
{
    char path[PATH_MAX];

    for (unsigned i = 1; i < 1000; i++) {
        char number[16] = "";
        if (i > 1)
            snprintf(number, sizeof number, "-%u", i);
        snprintf(j->disk[k].name, sizeof j->disk[k].name, "%.90s-disk%03u%s.vmdk", j->plain, k + 1, number);
        if (snprintf(path, sizeof path, "%s%s", folder, j->disk[k].name) >= (int)sizeof path)
            return -ENAMETOOLONG;
        if (access(path, F_OK) < 0)
            return 0;
    }
    return -EEXIST;
}

/* Disks that only the older description named, by names as we give them. */
static void remove_old_disks(struct job *j, const char *folder, const char *old_text)
{
    g_autoptr(GDir) dir = old_text ? g_dir_open(folder, 0, NULL) : NULL;
    g_autofree char *begins = g_strdup_printf("%s-disk", j->plain);

    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *quoted = g_strdup_printf("\"%s\"", name), *path = g_build_filename(folder, name, NULL);
        bool old = g_str_has_prefix(name, begins) && g_str_has_suffix(name, ".vmdk") && strstr(old_text, quoted);
        for (unsigned k = 0; k < j->count && old; k++)
            old = strcmp(name, j->disk[k].name) != 0;
        if (old)
            unlink(path);
    }
}

struct names { char part[DISKS_MAX + 2][PATH_MAX], end[DISKS_MAX + 2][PATH_MAX]; unsigned made, placed; };

static int add_name(struct names *n, const char *folder, const char *name)
{
    int a = snprintf(n->end[n->made], PATH_MAX, "%s%s", folder, name);
    int b = snprintf(n->part[n->made], PATH_MAX, "%s%s.%d.part", folder, name, getpid());

    return a >= PATH_MAX || b >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int write_files(struct job *j, struct names *n, const char *folder)
{
    int r = 0;

    for (unsigned k = 0; k < j->count && !r; k++) {
        r = free_name(j, folder, k);
        if (!r)
            r = add_name(n, folder, j->disk[k].name);
        gh_autoclose int fd = r ? -1 : open(n->part[n->made], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (!r && fd < 0)
            r = no_write(j, n->end[n->made], -errno);
        if (r < 0)
            break;
        n->made++;
        r = write_disk(j, k, fd, j->disk[k].name, 0);
        if (!r && fsync(fd) < 0)
            r = -errno;
    }
    g_autofree char *text = r ? NULL : gh_ovf_write(j->e->a, j->e->version, j->disk, j->count);
    if (!r && !text)
        r = -ENOMEM;
    g_autofree char *mf = r ? NULL : manifest(j, text, strlen(text));
    static const char *const endings[] = { ".ovf", ".mf" };
    for (unsigned i = 0; i < 2 && !r; i++) {
        g_autofree char *name = g_strconcat(j->base, endings[i], NULL);
        r = add_name(n, folder, name);
        if (!r)
            r = save_text(n->part[n->made], i ? mf : text);
        n->made += !r;
    }
    return r;
}

/* Disks, then the description. Between it and its manifest there is none: an appliance without one is whole. */
static int place_files(struct job *j, struct names *n, const char *folder)
{
    g_autofree char *old_text = NULL;
    unsigned ovf = n->made - 2, mf = n->made - 1;
    int r = 0;

    if (j->e->force && !g_file_get_contents(n->end[ovf], &old_text, NULL, NULL))
        old_text = NULL;
    for (; n->placed < ovf && !r; n->placed += !r)
        r = gh_file_rename(AT_FDCWD, n->part[n->placed], n->end[n->placed]);
    if (!r && old_text && unlink(n->end[mf]) < 0 && errno != ENOENT)
        r = -errno;
    if (!r)
        r = gh_file_rename(AT_FDCWD, n->part[ovf], n->end[ovf]);
    if (r < 0)
        return r;
    n->placed = n->made;
    remove_old_disks(j, folder, old_text);
    return gh_file_rename(AT_FDCWD, n->part[mf], n->end[mf]);
}

static int export_folder(struct job *j)
{
    struct names *n = calloc(1, sizeof *n);
    char folder[PATH_MAX], mf[PATH_MAX + 4];

    if (!n)
        return -ENOMEM;
    snprintf(folder, sizeof folder, "%s", j->stem);
    char *slash = strrchr(folder, '/');
    slash[1] = 0;
    snprintf(mf, sizeof mf, "%s.mf", j->stem);
    int r = !j->e->force && !access(mf, F_OK)
          ? gh_error_set(j->err, -EEXIST, "FileExists", "“%s” exists already. Choose another name, or overwrite it.", mf) : 0;
    if (!r)
        r = write_files(j, n, folder);
    if (!r)
        r = place_files(j, n, folder);
    for (unsigned i = 0; r < 0 && i < DISKS_MAX + 2; i++)
        if (n->part[i][0])
            unlink(n->part[i]);
    for (unsigned i = 0; r < 0 && n->placed < n->made && i < n->placed; i++)
        unlink(n->end[i]);
    free(n);
    return r;
}

/* References are URIs, which VMware decodes and VirtualBox does not: without blanks and umlauts both find the disk. */
static void plain_name(char *out, size_t size, const char *name)
{
    g_autofree char *valid = g_utf8_make_valid(name, -1), *ascii = g_str_to_ascii(valid, NULL);

    g_strlcpy(out, ascii, size);
    for (char *p = out; *p; p++)
        if (!g_ascii_isalnum(*p) && !strchr("-._", *p))
            *p = '_';
}

int gh_export_run(const struct gh_export *e, struct gh_error *err)
{
    struct job *j = calloc(1, sizeof *j);
    const char *dot = strrchr(e->out, '.'), *slash = strrchr(e->out, '/');
    bool archive = dot && !strcasecmp(dot, ".ova"), files = dot && !strcasecmp(dot, ".ovf");
    int r = j ? 0 : -ENOMEM;

    if (!r && ((!archive && !files) || !slash || dot < slash || dot == slash + 1 || dot - slash > 80))
        r = gh_error_set(err, -EINVAL, "ExportNameInvalid", "“%s” is not a name for an appliance: it must end with .ova or .ovf.", e->out);
    if (!r && !e->force && !access(e->out, F_OK))
        r = gh_error_set(err, -EEXIST, "FileExists", "“%s” exists already. Choose another name, or overwrite it.", e->out);
    if (!r) {
        j->e = e;
        j->err = err;
        snprintf(j->stem, sizeof j->stem, "%.*s", (int)(dot - e->out), e->out);
        snprintf(j->base, sizeof j->base, "%.*s", (int)(dot - slash - 1), slash + 1);
        plain_name(j->plain, sizeof j->plain, j->base);
        r = open_sources(j);
    }
    if (!r)
        r = archive ? export_archive(j) : export_folder(j);
    for (unsigned k = 0; j && k < j->count; k++)
        gh_image_close(j->source[k]);
    free(j);
    if (r == -ECANCELED)
        return gh_error_set(err, r, "Cancelled", "The export was cancelled.");
    return r < 0 ? gh_error_set(err, r, r == -ENOSPC ? "NoSpace" : "ExportFailed", "“%s” cannot be written: %s.", e->out, strerror(-r)) : 0;
}
