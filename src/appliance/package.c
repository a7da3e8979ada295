/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "appliance/package.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/xml.h"
#include "base/bytes.h"
#include "disk/resolve.h"

static const char *const kind_names[] = { "ova", "ovf", "vbox", "vmx", "libvirt", "xen", "quickemu", "disk" };
const char *gh_package_kind_name(enum gh_package_kind kind) { return kind_names[kind]; }

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && !strcasecmp(text + n - m, end);
}

static void take_stem(struct gh_package *p, const char *path)
{
    const char *slash = strrchr(path, '/');

    gh_appliance_text(p->stem, sizeof p->stem, slash ? slash + 1 : path);
    char *dot = strrchr(p->stem, '.');
    if (dot && dot != p->stem)
        *dot = 0;
}

static int read_text(struct gh_package *p, uint64_t at, uint64_t bytes, struct gh_error *err)
{
    if (bytes > GH_XML_BYTES_MAX)
        return gh_error_set(err, -E2BIG, "XmlRefused", "The description in “%s” has %llu bytes; more than %d are refused.", p->path,
                            (unsigned long long)bytes, GH_XML_BYTES_MAX);
    p->text = calloc(1, bytes + 4);
    if (!p->text)
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
    while (p->text_bytes < bytes) {
        ssize_t n = pread(p->fd, p->text + p->text_bytes, bytes - p->text_bytes, (off_t)(at + p->text_bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return gh_error_set(err, n < 0 ? -errno : -EIO, "FileUnreadable", "“%s” cannot be read: %s.", p->path, strerror(n < 0 ? errno : EIO));
        p->text_bytes += (size_t)n;
    }
    return 0;
}

static int unknown(struct gh_error *err, const char *path)
{
    return gh_error_set(err, -EINVAL, "ImportFormatUnknown", "“%s” is nothing that can be imported: not an OVA, OVF, .vbox, .vmx, libvirt, Xen or "
                        "Quickemu description, and not a disk image.", path);
}

/* The first element's name, after declarations and comments; namespaces' prefixes do not count. */
static void root_name(const char *text, char *out, size_t size)
{
    const char *p = text;

    out[0] = 0;
    while ((p = strchr(p, '<'))) {
        if (p[1] == '?' || p[1] == '!') {
            const char *end = strstr(p, !strncmp(p, "<!--", 4) ? "-->" : ">");
            if (!end)
                return;
            p = end;
            continue;
        }
        size_t n = strcspn(++p, " \t\r\n/>");
        const char *colon = memchr(p, ':', n);
        if (colon) {
            n -= (size_t)(colon + 1 - p);
            p = colon + 1;
        }
        snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), p);
        return;
    }
}

/* Does a line begin with this key? */
static bool has_key(const char *text, const char *key)
{
    size_t n = strlen(key);

    for (const char *p = text; p; p = strchr(p, '\n')) {
        p += strspn(p, "\n\r \t");
        if (!strncasecmp(p, key, n) && p[n + strspn(p + n, " \t")] == '=')
            return true;
    }
    return false;
}

static int recognise_text(struct gh_package *p, struct gh_error *err)
{
    static const struct { const char *root; enum gh_package_kind kind; } roots[] = {
        { "Envelope", GH_PACKAGE_OVF }, { "VirtualBox", GH_PACKAGE_VBOX }, { "domain", GH_PACKAGE_LIBVIRT },
        { "domstatus", GH_PACKAGE_LIBVIRT },
    };
    const unsigned char *t = (const unsigned char *)p->text;
    bool wide = p->text_bytes > 1 && ((t[0] == 0xff && t[1] == 0xfe) || (t[0] == 0xfe && t[1] == 0xff));
    char root[40];
    size_t skip = strspn(p->text, " \t\r\n\xef\xbb\xbf");

    if (wide || p->text[skip] == '<') {
        root_name(p->text, root, sizeof root);
        for (size_t i = 0; i < GH_ARRAY_LEN(roots); i++)
            if (!strcmp(root, roots[i].root)) {
                p->kind = roots[i].kind;
                return 0;
            }
        if (ends_with(p->path, ".ovf") || ends_with(p->path, ".vbox")) {
            p->kind = ends_with(p->path, ".ovf") ? GH_PACKAGE_OVF : GH_PACKAGE_VBOX;
            return 0; /* its reader says what is wrong */
        }
        return unknown(err, p->path);
    }
    if (memchr(p->text, 0, p->text_bytes))
        return unknown(err, p->path);
    if (ends_with(p->path, ".vmx") || has_key(p->text, "virtualHW.version"))
        p->kind = GH_PACKAGE_VMX;
    else if (has_key(p->text, "guest_os") || has_key(p->text, "disk_img"))
        p->kind = GH_PACKAGE_QUICKEMU;
    else if ((has_key(p->text, "disk") || has_key(p->text, "vif")) && (has_key(p->text, "name") || has_key(p->text, "memory")))
        p->kind = GH_PACKAGE_XEN;
    else
        return unknown(err, p->path);
    return 0;
}

static int open_archive(struct gh_package *p, struct gh_error *err)
{
    int r = gh_tar_read(p->fd, p->path, &p->tar, err);

    p->kind = GH_PACKAGE_OVA;
    for (unsigned i = 0; i < p->tar.count && !r; i++) {
        if (!ends_with(p->tar.member[i].name, ".ovf") || !strncmp(p->tar.member[i].name, "._", 2)) /* "._x" is what macOS's tar adds */
            continue;
        if (p->description)
            return gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” has two descriptions; an appliance has one.", p->path);
        p->description = &p->tar.member[i];
    }
    if (!r && !p->description)
        return gh_error_set(err, -EINVAL, "ApplianceDamaged", "“%s” is an archive without a description (.ovf): it is not an appliance.", p->path);
    return r ? r : read_text(p, p->description->at, p->description->bytes, err);
}

static bool is_disk(struct gh_package *p, const uint8_t *head, size_t n, const char *probed)
{
    static const char *const endings[] = { ".raw", ".img", ".dd", ".bin", ".hdd", ".vhd", ".dmg" };
    static const char zeros[512];

    if (strcmp(probed, "raw"))
        return true;
    for (size_t i = 0; i < GH_ARRAY_LEN(endings); i++)
        if (ends_with(p->path, endings[i]) && p->bytes >= 512 && !(p->bytes % 512))
            return true;
    /* A boot sector that is no text. */
    return n >= 512 && head[510] == 0x55 && head[511] == 0xaa && !(p->bytes % 512) && memcmp(head, zeros, 440);
}

static int recognise(struct gh_package *p, struct gh_error *err)
{
    uint8_t head[4096] = { 0 }, volume[8] = { 0 };
    const char *probed = "raw";
    ssize_t n = pread(p->fd, head, sizeof head, 0);

    if (n <= 0)
        return n < 0 ? gh_error_set(err, -errno, "FileUnreadable", "“%s” cannot be read: %s.", p->path, strerror(errno))
                     : gh_error_set(err, -EINVAL, "ImportFormatUnknown", "“%s” is empty.", p->path);
    if (gh_tar_probe(head, (size_t)n))
        return open_archive(p, err);
    int r = gh_image_probe_fd(p->fd, p->path, &probed, err);
    if (r < 0)
        return r;
    if (!strcmp(probed, "raw") && pread(p->fd, volume, sizeof volume, 32768) == sizeof volume && !memcmp(volume + 1, "CD001", 5))
        return gh_error_set(err, -EINVAL, "ImportIsCdImage", "“%s” is a CD image: make a new machine with it.", p->path);
    if (is_disk(p, head, (size_t)n, probed)) {
        p->kind = GH_PACKAGE_DISK;
        snprintf(p->format, sizeof p->format, "%s", probed);
        return 0;
    }
    if (p->bytes > GH_XML_BYTES_MAX && memchr(head, 0, (size_t)n))
        return unknown(err, p->path);
    r = read_text(p, 0, p->bytes, err);
    return r ? r : recognise_text(p, err);
}

int gh_package_open(struct gh_package *p, const char *path, const char *allow, struct gh_error *err)
{
    struct stat st;

    memset(p, 0, sizeof *p);
    p->fd = -1;
    if (!realpath(path, p->path))
        return gh_error_set(err, -errno, errno == ENOENT ? "FileNotFound" : "FileUnreadable", "“%s” cannot be opened: %s.", path, strerror(errno));
    if (allow && !realpath(allow, p->allow))
        return gh_error_set(err, -errno, "FolderUnreadable", "The folder “%s” cannot be opened: %s.", allow, strerror(errno));
    snprintf(p->folder, sizeof p->folder, "%s", p->path);
    char *slash = strrchr(p->folder, '/');
    slash[slash == p->folder] = 0;
    take_stem(p, p->path);
    p->fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (p->fd < 0 || fstat(p->fd, &st) < 0)
        return gh_error_set(err, -errno, "FileUnreadable", "“%s” cannot be opened: %s.", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return gh_error_set(err, -EINVAL, "ImportFormatUnknown", "“%s” is not a plain file.", path);
    p->bytes = (uint64_t)st.st_size;
    p->seen_ns = st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec;
    return recognise(p, err);
}

int gh_package_from_text(struct gh_package *p, const char *name, const char *text, size_t bytes, struct gh_error *err)
{
    memset(p, 0, sizeof *p);
    p->fd = -1;
    snprintf(p->path, sizeof p->path, "/nowhere/%s", name);
    snprintf(p->folder, sizeof p->folder, "/nowhere");
    take_stem(p, name);
    p->text = calloc(1, bytes + 4);
    if (!p->text)
        return -ENOMEM;
    memcpy(p->text, text, bytes);
    p->text_bytes = bytes;
    return recognise_text(p, err);
}

void gh_package_close(struct gh_package *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    free(p->text);
    p->text = NULL;
}

bool gh_package_name_is_plain(const char *name)
{
    if (!name[0] || name[0] == '/' || strchr(name, ':') || strchr(name, '\\') || strlen(name) > 1024)
        return false;
    for (const char *p = name; *p;) {
        size_t n = strcspn(p, "/");
        if (!n || (n == 2 && !strncmp(p, "..", 2)) || (n == 1 && *p == '.'))
            return false;
        p += n;
        if (*p == '/' && !*++p)
            return false;
    }
    return true;
}

static bool inside(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    return n && !strncmp(path, folder, n) && (path[n] == '/' || folder[n - 1] == '/');
}

int gh_package_resolve(const struct gh_package *p, const char *reference, char ret[PATH_MAX], struct gh_error *err)
{
    char joined[PATH_MAX];
    struct stat st;

    if (!reference[0] || strstr(reference, "://") || !strncmp(reference, "json:", 5) || !strncmp(reference, "nbd:", 4))
        return gh_error_set(err, -EPERM, "DiskReferenceRefused", "“%s” refers to “%s”, which is not a plain file name.", p->path, reference);
    if (snprintf(joined, sizeof joined, "%s%s%s", reference[0] == '/' ? "" : p->folder, reference[0] == '/' ? "" : "/", reference) >= (int)sizeof joined)
        return gh_error_set(err, -ENAMETOOLONG, "DiskReferenceRefused", "“%s” refers to a name that is too long.", p->path);
    /* What lies outside is refused also when it is not there: the answer shall not tell what exists. */
    bool known = realpath(joined, ret);
    int e = errno;
    char named[PATH_MAX];
    if (!known) {
        snprintf(named, sizeof named, "%s", joined);
        char *slash = strrchr(named, '/'), last[PATH_MAX];
        snprintf(last, sizeof last, "%s", slash + 1);
        slash[slash == named] = 0;
        if (!realpath(named, ret) || snprintf(ret + strlen(ret), PATH_MAX - strlen(ret), "/%s", last) >= PATH_MAX)
            snprintf(ret, PATH_MAX, "%s", joined);
    }
    if (!inside(ret, p->folder) && !inside(ret, p->allow))
        return gh_error_set(err, -EPERM, "DiskReferenceRefused", "“%s” refers to “%s”, which lies outside its folder. Allow that folder if you trust "
                            "the file (--allow).", p->path, known ? ret : joined);
    if (!known)
        return e == ENOENT || e == ENOTDIR ? -ENOENT
               : gh_error_set(err, -e, "FileUnreadable", "“%s” cannot be opened: %s.", joined, strerror(e));
    if (stat(ret, &st) < 0)
        return gh_error_set(err, -errno, "FileUnreadable", "“%s” cannot be opened: %s.", ret, strerror(errno));
    if (!S_ISREG(st.st_mode) && !(S_ISBLK(st.st_mode) && p->allow[0] && inside(ret, p->allow)))
        return gh_error_set(err, -EPERM, "DiskReferenceRefused", "“%s” refers to “%s”, which is not a plain file.", p->path, ret);
    return 0;
}

int gh_read_description(struct gh_package *p, struct gh_appliance *a, struct gh_error *err)
{
    static int (*const readers[])(struct gh_package *, struct gh_appliance *, struct gh_error *) = {
        gh_read_ovf, gh_read_ovf, gh_read_vbox, gh_read_vmx, gh_read_libvirt, gh_read_xen, gh_read_quickemu, gh_read_bare_disk,
    };

    snprintf(a->kind, sizeof a->kind, "%s", gh_package_kind_name(p->kind));
    return readers[p->kind](p, a, err);
}
