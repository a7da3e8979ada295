/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The commands that write an image: as a draft beside its place, complete before it gets there (disk/draft.h), or in place. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "disk/draft.h"
#include "image-tool/tool.h"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Before a copy begins: what src holds may be more than the file system of dst has left. Zeros in it will need nothing, so this
 * is a note. */
static void tell_need(struct tool *t, struct gh_image *src, struct gh_image *dst)
{
    struct gh_error note = { 0 };
    uint64_t growth, left, held = 0, bytes = gh_image_bytes(src);
    struct gh_map m;

    if (gh_image_space(dst, &growth, &left) < 0 || growth <= left)
        return;
    for (uint64_t off = 0; off < bytes && held <= left; off += m.bytes) {
        if (gh_image_map(src, off, bytes - off, &m) < 0)
            return;
        held += m.kind == GH_MAP_DATA || m.kind == GH_MAP_PACKED ? m.bytes : 0;
    }
    if (held <= left)
        return;
    gh_error_set(&note, -ENOSPC, "DiskSpaceShort", "“%s” holds more data than the %llu MiB that are left for “%s”. If they are used up, nothing new "
                 "stays; make space, or choose another folder.", gh_image_label(src), (unsigned long long)(left >> 20), gh_image_label(dst));
    tool_note(t, &note);
}

/* Copying takes the first half of the progress when a comparison follows. */
struct stage { struct tool *t; unsigned from, to; };
static bool staged(void *opaque, uint64_t done, uint64_t total)
{
    struct stage *s = opaque;
    return tool_progress(s->t, s->from + (uint64_t)((double)(s->to - s->from) * (double)done / (double)(total ? total : 1)), 1000);
}

static int differs(struct gh_error *err, const char *path, struct gh_image *src, uint64_t at)
{
    return gh_error_set(err, -EIO, "DiskVerifyFailed", "The new file for “%s” differs from “%s” at byte %llu and was dropped.", path,
                        gh_image_label(src), (unsigned long long)at);
}

/* Copies src into a new image, which takes its place at path when it is complete, durable and, if asked for, compared. */
static int copy_to(struct tool *t, struct gh_image *src, const char *path, const struct gh_image_create *how, enum gh_draft_mode mode,
                   bool packed, bool verify, struct gh_error *err)
{
    struct stage stage = { t, 0, verify ? 500 : 1000 };
    struct gh_progress p = { staged, &stage };
    struct gh_check_report rep;
    struct gh_image_draft *d = gh_image_draft_new(path, how, mode, err);
    struct gh_image *dst = d ? gh_image_draft_open(d, true, NULL, err) : NULL;
    if (dst && !packed)
        tell_need(t, src, dst);
    int r = !dst ? -EIO : packed ? gh_image_copy_packed(src, dst, &p, err) : gh_image_copy(src, dst, gh_image_draft_blank(d), &p, err);

    if (dst) {
        int closed = gh_image_close(dst);
        if (!r && closed < 0)
            r = gh_error_set(err, closed, "DiskFlushFailed", "“%s” could not be completed: %s.", path, strerror(-closed));
    }
    if (!r) { /* as others will open it */
        dst = gh_image_draft_open(d, false, NULL, err);
        r = dst ? gh_image_check(dst, false, &rep, err) : -EIO;
        if (!r && rep.errors)
            r = gh_error_set(err, -EIO, "DiskVerifyFailed", "The new file for “%s” is damaged (%s) and was dropped.", path, rep.first);
        if (!r && verify) {
            uint64_t at;
            stage = (struct stage){ t, 500, 1000 };
            r = gh_image_compare(src, dst, &at, &p, err);
            if (r == 1)
                r = differs(err, path, src, at);
        }
        if (!r)
            tool_tell_space(t, dst);
        gh_image_close(dst);
    }
    if (r < 0) {
        gh_image_draft_drop(d);
        return r;
    }
    return gh_image_draft_publish(d, err);
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Another size than src has, from here on; a smaller one only where that was allowed. */
static int take_size(struct gh_image *src, uint64_t bytes, bool shrink, struct gh_image_create *how, struct gh_error *err)
{
    if (bytes < gh_image_bytes(src) && !shrink)
        return gh_error_set(err, -EINVAL, "DiskShrinkRefused",
                            "“%s” has %llu bytes; making it smaller cuts off its end. Shrink the partitions inside, then allow it.",
                            gh_image_label(src), (unsigned long long)gh_image_bytes(src));
    gh_image_cut(src, bytes);
    how->bytes = bytes;
    return 0;
}

int tool_convert(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_image_create how = { .format = t->to ? t->to : "qcow2", .variant = t->variant, .cluster_bytes = t->cluster,
                                   .compression = t->compression };
    uint64_t bytes = 0;
    if (t->size && !tool_size(t->size, &bytes))
        return tool_wrong_size(t, t->size);
    if (tool_check_options(t, how.format, &err) < 0)
        return tool_fail(t, &err);
    if (same_file(t->arg[0], t->arg[1])) {
        gh_error_set(&err, -EINVAL, "FileSame", "“%s” cannot be converted onto itself.", t->arg[0]);
        return tool_fail(t, &err);
    }
    struct gh_image *src = tool_open_whole(t, t->arg[0], t->from, &err);
    if (!src)
        return tool_fail(t, &err);
    how.bytes = (gh_image_bytes(src) + 511) / 512 * 512;
    int r = t->size ? take_size(src, (bytes + 511) / 512 * 512, t->shrink, &how, &err) : 0;
    if (!r)
        r = copy_to(t, src, t->arg[1], &how, t->force ? GH_DRAFT_OVER : GH_DRAFT_NEW, how.compression && !strcmp(how.format, "qcow2"), t->verify, &err);
    gh_image_close(src);
    return r < 0 ? tool_fail(t, &err) : tool_done(t, t->arg[1], how.format);
}

static bool has_packed(struct gh_image *img)
{
    struct gh_map m;
    for (uint64_t off = 0, bytes = gh_image_bytes(img); off < bytes && !gh_image_map(img, off, bytes - off, &m); off += m.bytes)
        if (m.kind == GH_MAP_PACKED)
            return true;
    return false;
}

/* How to make another one of the same kind. full: with all its space from the beginning, if it had that. */
static struct gh_image_create same_kind(const struct gh_image_info *i, bool full)
{
    static const struct { const char *format, *states, *variant; bool full; } kinds[] = {
        { "vmdk", "twoGbMaxExtentSparse", "split-sparse", false }, { "vmdk", "streamOptimized", "stream-optimized", false },
        { "vmdk", "twoGbMaxExtentFlat", "split-flat", true }, { "vmdk", "monolithicFlat", "monolithic-flat", true },
        { "vmdk", "vmfs", "monolithic-flat", true }, { "vdi", "fixed", "fixed", true }, { "vhd", "fixed", "fixed", true },
    };
    struct gh_image_create how = { .format = i->format, .bytes = i->bytes, .cluster_bytes = strcmp(i->format, "raw") ? i->cluster_bytes : 0 };

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (!strcmp(i->format, kinds[k].format) && !strcmp(i->variant, kinds[k].states) && full >= kinds[k].full)
            how.variant = kinds[k].variant;
    if (!strcmp(i->format, "qcow2")) {
        how.version = i->variant[1] == '2' ? 2 : 3;
        how.extended_l2 = strstr(i->variant, "extended L2");
        how.compression = strstr(i->variant, "zstd") ? "zstd" : NULL;
    }
    return how;
}

/* The format has no room for that size: a new image of the same kind takes the place of the old one. */
static int resize_anew(struct tool *t, uint64_t bytes, struct gh_error *err)
{
    struct gh_error first = *err;
    struct gh_image_info i;
    struct gh_image *src = tool_open(t, t->arg[0], t->from, false, err);
    if (!src)
        return -EIO;
    gh_image_info(src, &i);
    struct gh_image_create how = same_kind(&i, true);
    int r = 0;
    how.like = src;
    if (i.has_parent || i.snapshots || !strcmp(i.format, "raw"))
        return gh_image_close(src), first.code;
    gh_error_clear(err);
    r = take_size(src, bytes, t->shrink, &how, err);
    if (!r)
        r = copy_to(t, src, t->arg[0], &how, GH_DRAFT_REWRITE, false, true, err);
    gh_image_close(src);
    /* What builds on it shall see that it is another disk now, as after a change in place. */
    struct gh_image *img = r ? NULL : tool_open(t, t->arg[0], i.format, true, err);
    if (img) {
        r = gh_image_resize(img, bytes, false, err);
        gh_image_close(img);
    }
    return r || img ? r : -EIO;
}

int tool_resize(struct tool *t)
{
    struct gh_error err = { 0 };
    uint64_t bytes;
    bool plus = t->arg[1][0] == '+';
    if (!tool_size(t->arg[1] + plus, &bytes))
        return tool_wrong_size(t, t->arg[1]);
    struct gh_image *img = tool_open(t, t->arg[0], t->from, true, &err);
    if (!img)
        return tool_fail(t, &err);
    struct gh_image_info i;
    gh_image_info(img, &i);
    bytes = (bytes + (plus ? gh_image_bytes(img) : 0) + 511) / 512 * 512;
    int r = gh_image_resize(img, bytes, t->shrink, &err);
    if (!r)
        tool_tell_space(t, img);
    int closed = gh_image_close(img);
    if (!r && closed < 0)
        r = gh_error_set(&err, closed, "DiskFlushFailed", "“%s” could not be completed: %s.", t->arg[0], strerror(-closed));
    if (r < 0 && !strcmp(err.id, "DiskCannotResize"))
        r = resize_anew(t, bytes, &err);
    return r < 0 ? tool_fail(t, &err) : tool_done(t, t->arg[0], i.format);
}

int tool_compact(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_image *src = tool_open_whole(t, t->arg[0], t->from, &err);
    if (!src)
        return tool_fail(t, &err);
    struct gh_image_info i;
    gh_image_info(src, &i);
    struct gh_image_create how = same_kind(&i, false);
    struct stat st;
    int r = 0;
    how.like = src;
    if (!stat(t->arg[0], &st) && S_ISBLK(st.st_mode))
        r = gh_error_set(&err, -ENOTSUP, "DiskCompactFailed", "“%s” is a device; its size is fixed.", t->arg[0]);
    else if (i.has_parent || i.snapshots)
        r = gh_error_set(&err, -EBUSY, "DiskHasSnapshots", "“%s” belongs to a tree of snapshots and cannot be rewritten alone.", t->arg[0]);
    if (!r)
        r = copy_to(t, src, t->arg[0], &how, GH_DRAFT_REWRITE, !strcmp(i.format, "qcow2") && !how.extended_l2 && has_packed(src), true, &err);
    gh_image_close(src);
    if (r < 0)
        gh_error_set(&err, r, "DiskCompactFailed", "“%s” could not be replaced: %s.", t->arg[0], strerror(-r));
    return r < 0 ? tool_fail(t, &err) : tool_done(t, t->arg[0], i.format);
}

/* The user knows that the changed parent is right: from now on the child knows it as it is. */
static int accept_parent(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_image *img = gh_image_open_path(t->arg[0], &(struct gh_image_open_how){ .format = t->from, .writable = true,
        .accept_parent = true, .folder = t->allow }, &err);
    if (!img)
        return tool_fail(t, &err);
    int r = gh_image_parent(img) ? gh_image_remember_parent(img, gh_image_parent(img), &err)
                                 : gh_error_set(&err, -EINVAL, "DiskHasNoParent", "“%s” does not build on another disk.", t->arg[0]);
    if (gh_image_close(img) < 0 && !r)
        r = gh_error_set(&err, -EIO, "DiskFlushFailed", "“%s” could not be completed: %s.", t->arg[0], strerror(EIO));
    return r < 0 ? tool_fail(t, &err) : tool_done(t, t->arg[0], t->from);
}

int tool_rebase(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_image_info i = { 0 }, pi = { 0 };
    char path[PATH_MAX];
    if (t->accept_parent && !t->parent && !t->flatten)
        return accept_parent(t);
    if (!t->parent == !t->flatten) {
        fprintf(stderr, "gasthaus-image: rebase needs --parent FILE, --flatten or --accept-parent\n");
        return 2;
    }
    struct gh_image *src = t->unsafe ? NULL : tool_open_whole(t, t->arg[0], t->from, &err), *base = NULL;
    int r = src ? 0 : -EIO;
    if (t->unsafe)
        gh_error_set(&err, -ENOTSUP, "DiskCannotRebase", "Changing only the reference is not offered: the content could not be trusted.");
    if (!r && t->parent) {
        const char *slash = strrchr(t->arg[0], '/');
        snprintf(path, sizeof path, "%.*s%s", t->parent[0] == '/' || !slash ? 0 : (int)(slash + 1 - t->arg[0]), t->arg[0], t->parent);
        base = tool_open(t, path, t->parent_format, false, &err);
        r = base ? 0 : -EIO;
    }
    if (r < 0) {
        gh_image_close(src);
        return tool_fail(t, &err);
    }
    gh_image_info(src, &i);
    if (base)
        gh_image_info(base, &pi);
    /* A new file with what differs from the new parent, complete before it takes the old one's place. */
    struct gh_image_create how = same_kind(&i, false);
    how.like = src;
    how.parent = base;
    how.parent_name = base ? t->parent : NULL;
    how.parent_format = base ? pi.format : NULL;
    struct stage stage = { t, 0, 500 };
    struct gh_progress p = { staged, &stage };
    struct gh_image_draft *d = gh_image_draft_new(t->arg[0], &how, GH_DRAFT_REWRITE, &err);
    struct gh_image *dst = d ? gh_image_draft_open(d, true, base, &err) : NULL;
    r = dst ? gh_image_copy_difference(src, dst, &p, &err) : -EIO;
    if (dst && gh_image_close(dst) < 0 && !r)
        r = -EIO;
    if (!d)
        gh_image_close(base);
    if (!r) {
        uint64_t at;
        stage = (struct stage){ t, 500, 1000 };
        base = t->parent ? tool_open(t, path, t->parent_format, false, &err) : NULL;
        dst = t->parent && !base ? NULL : gh_image_draft_open(d, false, base, &err);
        r = dst ? gh_image_compare(src, dst, &at, &p, &err) : -EIO;
        if (r == 1)
            r = differs(&err, t->arg[0], src, at);
        gh_image_close(dst);
    }
    gh_image_close(src);
    if (r < 0) {
        gh_error_set(&err, r, "DiskRebaseFailed", "“%s” could not be rebased: %s.", base_name(t->arg[0]), strerror(-r));
        gh_image_draft_drop(d);
    } else {
        r = gh_image_draft_publish(d, &err);
    }
    return r < 0 ? tool_fail(t, &err) : tool_done(t, t->arg[0], i.format);
}
