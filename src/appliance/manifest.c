/* SPDX-License-Identifier: GPL-3.0-or-later */
/* OVF manifests (DSP0243): lines "SHA256(name)= hex" for the files of a package. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/digest.h"
#include "appliance/i18n.h"
#include "appliance/package.h"
#include "base/cleanup.h"

enum { MANIFEST_BYTES_MAX = 1 << 20, LINES_MAX = 256 };

struct work { struct gh_package *p; struct gh_appliance *a; bool described; uint32_t covered; bool (*progress)(void *, uint64_t, uint64_t); void *opaque; uint64_t done, total; };

static int invalid(struct gh_package *p, struct gh_error *err, const char *why)
{ return gh_error_set(err, -EINVAL, "ManifestInvalid", "The manifest of “%s” makes no sense: %s. Nothing was imported.", p->path, why); }

/* Opens a listed file: a member's range, or a file beside the description. -ENOENT: not there. */
static int locate(struct gh_package *p, const char *name, int *fd, uint64_t *at, uint64_t *bytes, struct gh_error *err)
{
    char path[PATH_MAX];
    struct stat st;

    if (p->kind == GH_PACKAGE_OVA) {
        const struct gh_tar_member *m = gh_tar_find(&p->tar, name);
        if (!m)
            return -ENOENT;
        *fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
        *at = m->at;
        *bytes = m->bytes;
        return *fd < 0 ? -errno : 0;
    }
    if (!gh_package_name_is_plain(name))
        return invalid(p, err, "it names a file outside the folder");
    int r = gh_package_resolve(p, name, path, err);
    if (r < 0)
        return r;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0 || fstat(*fd, &st) < 0)
        return gh_error_set(err, -errno, "FileUnreadable", "“%s” cannot be read: %s.", path, strerror(errno));
    *at = 0;
    *bytes = (uint64_t)st.st_size;
    return 0;
}

static bool tell(void *opaque, uint64_t more)
{
    struct work *w = opaque;

    w->done += more;
    return !w->progress || w->progress(w->opaque, w->done, w->total);
}

static const char *description_name(const struct gh_package *p)
{
    const char *slash = strrchr(p->path, '/');

    return p->description ? p->description->name : slash ? slash + 1 : p->path;
}

/* Which of the appliance's files this line is about. */
static bool cover(struct work *w, const char *name)
{
    bool known = !strcmp(name, description_name(w->p));

    w->described |= known;
    for (unsigned i = 0; w->a && i < w->a->media_count; i++) {
        const char *source = w->a->media[i].source;
        size_t n = source ? strlen(source) : 0;
        if (!n || strncmp(name, source, n) || (name[n] && !(w->a->media[i].pieces && name[n] == '.')))
            continue;
        w->covered |= 1u << i;
        known = true;
    }
    return known;
}

static void note_uncovered(struct work *w)
{
    static const char text[] = N_("The manifest says nothing of “%.200s”: whether it is complete and unchanged cannot be checked.");

    if (!w->described)
        gh_appliance_note(w->a, GH_WARNING, _(text), description_name(w->p));
    for (unsigned i = 0; i < w->a->media_count; i++) {
        const struct gh_appliance_medium *m = &w->a->media[i];
        if (m->source && !m->missing && strcmp(m->format, "empty") && !(w->covered >> i & 1))
            gh_appliance_note(w->a, GH_WARNING, _(text), m->source);
    }
}

static int check_line(struct work *w, char *line, struct gh_error *err)
{
    struct gh_package *p = w->p;
    char *open_ = strchr(line, '('), *close_ = strrchr(line, ')'), *hex;
    GChecksumType type;
    char found[GH_DIGEST_TEXT];
    gh_autoclose int fd = -1;
    uint64_t at, bytes;

    if (!open_ || !close_ || close_ < open_)
        return invalid(p, err, "a line is not of the form SHA256(name)= digits");
    *open_ = *close_ = 0;
    hex = close_ + 1 + strspn(close_ + 1, " \t=");
    for (char *e = line + strlen(line); e > line && isspace((unsigned char)e[-1]);)
        *--e = 0;
    if (!strcasecmp(line, "SHA1"))
        type = G_CHECKSUM_SHA1;
    else if (!strcasecmp(line, "SHA256"))
        type = G_CHECKSUM_SHA256;
    else if (!strcasecmp(line, "SHA384"))
        type = G_CHECKSUM_SHA384;
    else if (!strcasecmp(line, "SHA512"))
        type = G_CHECKSUM_SHA512;
    else
        return invalid(p, err, "a digest is not one of SHA1, SHA256, SHA384, SHA512");
    hex[strcspn(hex, " \t\r")] = 0;
    if (strlen(hex) != (size_t)g_checksum_type_get_length(type) * 2 || hex[strspn(hex, "0123456789abcdefABCDEF")])
        return invalid(p, err, "a digest has the wrong length");
    int r = locate(p, open_ + 1, &fd, &at, &bytes, err);
    bool known = cover(w, open_ + 1);
    if (r == -ENOENT) {
        if (w->a && !known) /* a missing disk is told elsewhere */
            gh_appliance_note(w->a, GH_WARNING, _("The manifest names “%.200s”, which is not in the package."), open_ + 1);
        return 0;
    }
    if (!r)
        r = gh_digest(type, fd, at, bytes, tell, w, found);
    if (r == -ECANCELED)
        return gh_error_set(err, r, "Cancelled", "The import was cancelled.");
    if (r < 0)
        return gh_error_set(err, r, "FileUnreadable", "“%s” cannot be read: %s.", open_ + 1, strerror(-r));
    if (strcasecmp(found, hex))
        return gh_error_set(err, -EILSEQ, "ManifestMismatch", "“%s” in “%s” is not what its manifest says: it was damaged or changed. Get it again; "
                            "nothing was imported.", open_ + 1, p->path);
    return 0;
}

static int load(struct gh_package *p, char **ret, struct gh_error *err)
{
    char name[300], path[PATH_MAX];
    gh_autoclose int fd = -1;
    uint64_t at = 0, bytes = 0;
    int r = -ENOENT;

    *ret = NULL;
    if (p->kind == GH_PACKAGE_OVA) {
        for (unsigned i = 0; i < p->tar.count && r == -ENOENT; i++) {
            size_t n = strlen(p->tar.member[i].name);
            if (n > 3 && !strcasecmp(p->tar.member[i].name + n - 3, ".mf") && strncmp(p->tar.member[i].name, "._", 2))
                r = locate(p, p->tar.member[i].name, &fd, &at, &bytes, err);
        }
    } else if (p->kind == GH_PACKAGE_OVF) {
        struct stat st;
        snprintf(name, sizeof name, "%s.mf", p->stem);
        if (snprintf(path, sizeof path, "%s/%s", p->folder, name) < (int)sizeof path && !stat(path, &st))
            r = locate(p, name, &fd, &at, &bytes, err);
    }
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    if (bytes > MANIFEST_BYTES_MAX)
        return invalid(p, err, "it is too long");
    *ret = calloc(1, bytes + 1);
    if (!*ret)
        return -ENOMEM;
    if (pread(fd, *ret, bytes, (off_t)at) != (ssize_t)bytes)
        return gh_error_set(err, -EIO, "FileUnreadable", "The manifest of “%s” cannot be read.", p->path);
    if (strlen(*ret) != bytes)
        return invalid(p, err, "it is not text");
    return 0;
}

bool gh_manifest_find(struct gh_package *p, struct gh_appliance *a, uint64_t *ret_bytes)
{
    struct gh_error ignored = { 0 };
    gh_autofree char *text = NULL;
    char path[PATH_MAX];
    struct stat st;
    bool signature = false;

    *ret_bytes = p->bytes;
    for (unsigned i = 0; i < p->tar.count; i++) {
        size_t n = strlen(p->tar.member[i].name);
        signature |= n > 5 && !strcasecmp(p->tar.member[i].name + n - 5, ".cert");
    }
    if (p->kind == GH_PACKAGE_OVF) {
        if (snprintf(path, sizeof path, "%s/%s.cert", p->folder, p->stem) < (int)sizeof path)
            signature = !stat(path, &st);
        for (unsigned i = 0; i < a->media_count; i++)
            if (a->media[i].path && !stat(a->media[i].path, &st))
                *ret_bytes += (uint64_t)st.st_size;
            else
                *ret_bytes += a->media[i].bytes;
    }
    if (signature)
        gh_appliance_note(a, GH_DROPPED, _("The signature is not checked"));
    return load(p, &text, &ignored) == 0 && text;
}

int gh_manifest_check(struct gh_package *p, struct gh_appliance *a, bool *ret_found, bool (*progress)(void *, uint64_t, uint64_t), void *opaque,
                      struct gh_error *err)
{
    struct work w = { .p = p, .a = a, .progress = progress, .opaque = opaque };
    gh_autofree char *text = NULL;
    unsigned lines = 0;
    int r = load(p, &text, err);

    *ret_found = text != NULL;
    if (r < 0 || !text)
        return r;
    for (unsigned i = 0; i < p->tar.count; i++)
        w.total += p->tar.member[i].bytes;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line && !r; line = strtok_r(NULL, "\n", &save)) {
        line += strspn(line, " \t\r");
        if (!*line)
            continue;
        if (++lines > LINES_MAX)
            return invalid(p, err, "it has too many lines");
        r = check_line(&w, line, err);
    }
    if (!r && a)
        note_uncovered(&w);
    return r;
}
