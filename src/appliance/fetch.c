/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bringing the media of an appliance into a machine's folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>

#include "appliance/disk.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "disk/draft.h"
#include "disk/resolve.h"

enum { CHUNK = 1 << 20 };
#define SLACK (16ull << 20)

struct share { const struct gh_progress *p; uint64_t before, mine, all; };

static bool tell(void *opaque, uint64_t done, uint64_t total)
{
    struct share *s = opaque;
    uint64_t here = total ? (uint64_t)((double)done / (double)total * (double)s->mine) : s->mine;

    return !s->p || !s->p->fn || s->p->fn(s->p->opaque, s->before + here, s->all ? s->all : 1);
}

uint64_t gh_space_there(const char *folder)
{
    struct statvfs v;

    return statvfs(folder, &v) < 0 ? 0 : (uint64_t)v.f_bavail * v.f_frsize;
}

/* As a user knows it: the daemon's hidden folder of an import is none of theirs. */
static const char *shown(const char *folder, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s", folder);
    char *slash = strrchr(out, '/');
    if (slash && slash != out && slash[1] == '.')
        *slash = 0;
    return out;
}

static int no_space(struct gh_error *err, uint64_t needed, uint64_t there, const char *folder)
{
    char name[PATH_MAX];

    return gh_error_set(err, -ENOSPC, "NoSpace", "The import needs %llu MiB, and “%s” has %llu MiB left. Make space or choose another folder.",
                        (unsigned long long)(needed >> 20) + 1, shown(folder, name), (unsigned long long)(there >> 20));
}

static int write_all(int fd, const uint8_t *buf, size_t n, uint64_t at)
{
    while (n) {
        ssize_t w = pwrite(fd, buf, n, (off_t)at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return w < 0 ? -errno : -ENOSPC;
        buf += w;
        at += (uint64_t)w;
        n -= (size_t)w;
    }
    return 0;
}

/* The medium's bytes as they are, from its first to its last piece. */
struct input { struct gh_package *p; const struct gh_appliance_medium *m; int fd; uint32_t piece; uint64_t at, left, total; };

static int input_open(struct input *in, struct gh_error *err)
{
    const struct gh_appliance_medium *m = in->m;

    if (m->pieces) {
        in->fd = gh_medium_piece(in->p, m, in->piece++, &in->at, &in->left, err);
        in->total = m->bytes;
        return in->fd < 0 ? in->fd : 0;
    }
    in->fd = m->path ? open(m->path, O_RDONLY | O_CLOEXEC) : fcntl(in->p->fd, F_DUPFD_CLOEXEC, 3);
    if (in->fd < 0)
        return -errno;
    in->at = m->path ? 0 : m->at;
    in->total = in->left = m->path ? (uint64_t)lseek(in->fd, 0, SEEK_END) : m->bytes;
    return 0;
}

static void input_close(struct input *in)
{
    if (in->fd >= 0)
        close(in->fd);
    in->fd = -1;
}

/* 0: the end. Less than there should be is -EIO. */
static ssize_t input_read(struct input *in, uint8_t *buf, size_t n, struct gh_error *err)
{
    while (!in->left && in->piece < in->m->pieces) {
        input_close(in);
        int r = input_open(in, err);
        if (r < 0)
            return r;
    }
    n = n < in->left ? n : (size_t)in->left;
    if (!n)
        return 0;
    ssize_t got;
    do
        got = pread(in->fd, buf, n, (off_t)in->at);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return got < 0 ? -errno : -EIO;
    in->at += (uint64_t)got;
    in->left -= (uint64_t)got;
    return got;
}

static int copy_bytes(struct gh_package *p, const struct gh_appliance_medium *m, const char *path, struct share *s, struct gh_error *err)
{
    struct input in = { .p = p, .m = m, .fd = -1 };
    gh_autoclose int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    gh_autofree uint8_t *buf = malloc(CHUNK);
    int r = out < 0 ? -errno : !buf ? -ENOMEM : input_open(&in, err);
    uint64_t done = 0;

    while (!r) {
        ssize_t n = input_read(&in, buf, CHUNK, err);
        if (n <= 0) {
            r = (int)n;
            break;
        }
        r = write_all(out, buf, (size_t)n, done);
        done += (uint64_t)n;
        if (!r && !tell(s, done, in.total))
            r = -ECANCELED;
    }
    input_close(&in);
    return r ? r : fsync(out) < 0 ? -errno : 0;
}

/* gzip around an image, unpacked beside the target; never longer than the disk it claims to hold. */
static int unpack(struct gh_package *p, const struct gh_appliance_medium *m, const char *path, struct share *s, struct gh_error *err)
{
    uint64_t limit = m->virtual_bytes + m->virtual_bytes / 8 + SLACK, written = 0;
    struct input in = { .p = p, .m = m, .fd = -1 };
    gh_autoclose int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    gh_autofree uint8_t *buf = malloc(CHUNK), *plain = malloc(CHUNK);
    z_stream z = { 0 };
    int r = out < 0 ? -errno : !buf || !plain || inflateInit2(&z, 15 + 16) != Z_OK ? -ENOMEM : input_open(&in, err), state = Z_OK;
    uint64_t done = 0;

    while (!r) {
        if (!z.avail_in) {
            ssize_t n = input_read(&in, buf, CHUNK, err);
            if (!n && state == Z_STREAM_END)
                break;
            if (n <= 0) {
                r = n < 0 ? (int)n : gh_error_set(err, -EUCLEAN, "ApplianceDamaged", "The packed disk “%s” ends too early.", m->source);
                break;
            }
            done += (uint64_t)n;
            z.next_in = buf;
            z.avail_in = (uInt)n;
        }
        /* Several gzip streams behind each other are one file. */
        if (state == Z_STREAM_END && inflateReset(&z) != Z_OK)
            r = -ENOMEM;
        z.next_out = plain;
        z.avail_out = CHUNK;
        state = inflate(&z, Z_NO_FLUSH);
        size_t n = CHUNK - z.avail_out;
        if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR)
            r = gh_error_set(err, -EUCLEAN, "ApplianceDamaged", "The packed disk “%s” is damaged.", m->source);
        else if (written + n > limit)
            r = gh_error_set(err, -EFBIG, "ApplianceTooLarge", "The packed disk “%s” is larger than the %llu bytes its description says.", m->source,
                             (unsigned long long)m->virtual_bytes);
        else
            r = write_all(out, plain, n, written);
        written += n;
        if (!r && !tell(s, done / 2, in.total))
            r = -ECANCELED;
    }
    inflateEnd(&z);
    input_close(&in);
    return r;
}

static int convert(struct gh_package *p, struct gh_appliance_medium *m, const char *unpacked, const char *path, struct share *s, struct gh_error *err)
{
    struct gh_image_create how = { .format = "qcow2", .bytes = m->virtual_bytes };
    struct gh_image_draft *d;
    struct gh_image *src = NULL, *dst;
    struct gh_progress progress = { tell, s };
    int r = 0;

    if (strcmp(m->format, "empty")) {
        src = gh_medium_open(p, m, unpacked, err);
        if (!src)
            return err->code ? err->code : -EIO;
        how.bytes = (gh_image_bytes(src) + 511) / 512 * 512;
        m->virtual_bytes = how.bytes;
    }
    d = gh_image_draft_new(path, &how, GH_DRAFT_NEW, err);
    r = d ? 0 : err->code;
    if (!r && src) {
        dst = gh_image_draft_open(d, true, NULL, err);
        r = dst ? gh_image_copy(src, dst, true, &progress, err) : -EIO;
        int closed = gh_image_close(dst);
        if (!r && closed < 0)
            r = gh_error_set(err, closed, "DiskFlushFailed", "“%s” could not be completed: %s.", path, strerror(-closed));
    }
    gh_image_close(src);
    if (!r)
        r = gh_image_draft_publish(d, err);
    else
        gh_image_draft_drop(d);
    if (!r)
        snprintf(m->format, sizeof m->format, "qcow2");
    return r;
}

static int fetch_one(struct gh_package *p, struct gh_appliance_medium *m, const char *folder, struct share *s, struct gh_error *err)
{
    char path[PATH_MAX], temp[PATH_MAX] = "", shown_path[PATH_MAX];
    bool disk = !strcmp(m->kind, "disk");
    int r = 0;

    if (snprintf(path, sizeof path, "%s/%s", folder, m->target) >= (int)sizeof path ||
        ((m->packed || m->pieces) && disk && snprintf(temp, sizeof temp, "%s/.unpacked-%s", folder, m->target) >= (int)sizeof temp))
        return gh_error_set(err, -ENAMETOOLONG, "FileNameTooLong", "The name “%s” is too long.", folder);
    if (m->packed && disk)
        r = unpack(p, m, temp, s, err);
    else if (temp[0])
        r = copy_bytes(p, m, temp, s, err);
    if (!r)
        r = !disk ? (m->packed ? unpack(p, m, path, s, err) : copy_bytes(p, m, path, s, err)) : convert(p, m, temp[0] ? temp : NULL, path, s, err);
    if (temp[0])
        unlink(temp);
    if (r < 0) {
        if (r != -EEXIST) /* what was there before is not ours */
            unlink(path);
        if (r == -ECANCELED)
            gh_error_set(err, r, "Cancelled", "The import was cancelled.");
        else
            gh_error_set(err, r, r == -ENOSPC ? "NoSpace" : "ImportFailed", "“%s” could not be brought into “%s”: %s.", m->source, shown(folder, shown_path), strerror(-r));
    }
    return r;
}

int gh_media_fetch(struct gh_package *p, struct gh_appliance *a, const char *folder, bool in_place, const struct gh_progress *progress,
                   struct gh_error *err)
{
    struct share s = { .p = progress };
    int r = 0;

    for (unsigned i = 0; i < a->media_count; i++) {
        struct gh_appliance_medium *m = &a->media[i];
        if (in_place && m->can_stay)
            m->target[0] = 0;
        if (m->target[0])
            s.all += m->needed_bytes;
    }
    uint64_t there = gh_space_there(folder);
    if (s.all + SLACK > there)
        return no_space(err, s.all + SLACK, there, folder);
    for (unsigned i = 0; i < a->media_count && !r; i++) {
        struct gh_appliance_medium *m = &a->media[i];
        if (!m->target[0] || m->missing)
            continue;
        s.mine = m->needed_bytes;
        r = fetch_one(p, m, folder, &s, err);
        s.before += s.mine;
        bool made = !r;
        if (!r)
            r = gh_package_unchanged(p, a, err);
        for (unsigned k = 0; r < 0 && k < i + made; k++) {
            char path[PATH_MAX];
            if (a->media[k].target[0] && snprintf(path, sizeof path, "%s/%s", folder, a->media[k].target) < (int)sizeof path)
                unlink(path);
        }
    }
    return r;
}
