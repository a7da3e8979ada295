/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sha256.h"
#include "disk/draft.h"
#include "image-tool/tool.h"

static struct gh_image *open_image(struct tool *t, const char *path, const char *format, bool writable, struct gh_error *err)
{
    return gh_image_open_path(path, &(struct gh_image_open_how){ .format = format, .writable = writable, .folder = t->allow }, err);
}

static void dump(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(j);
}

static int wrong_size(struct tool *t, const char *text)
{
    struct gh_error err = { 0 };
    gh_error_set(&err, -EINVAL, "DiskSizeInvalid", "“%s” is not a size. Write 20G, 512M or a number of bytes.", text);
    return tool_fail(t, &err);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The image may become larger than what its file system has left: worth knowing before a machine fills it. A note. */
static void tell_space(struct tool *t, struct gh_image *img)
{
    struct gh_error note = { 0 };
    uint64_t growth, left;

    if (!img || gh_image_space(img, &growth, &left) < 0 || growth <= left)
        return;
    gh_error_set(&note, -ENOSPC, "DiskMayOutgrowHost", "“%s” may grow by %llu MiB, but only %llu MiB are left where it lies. Keep space free, or move "
                 "it before it is full.", gh_image_label(img), (unsigned long long)(growth >> 20), (unsigned long long)(left >> 20));
    tool_note(t, &note);
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

int tool_create(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_image_create how = { .format = t->to ? t->to : t->from ? t->from : "qcow2", .variant = t->variant,
        .cluster_bytes = t->cluster, .compression = t->compression, .parent_name = t->parent, .parent_format = t->parent_format };
    if (!tool_size(t->arg[1], &how.bytes))
        return wrong_size(t, t->arg[1]);
    how.bytes = (how.bytes + 511) / 512 * 512;
    struct gh_image_info info = { 0 };
    if (t->parent) {
        char path[PATH_MAX];
        const char *slash = strrchr(t->arg[0], '/');
        snprintf(path, sizeof path, "%.*s%s", t->parent[0] == '/' || !slash ? 0 : (int)(slash + 1 - t->arg[0]), t->arg[0], t->parent);
        how.parent = open_image(t, path, t->parent_format, false, &err);
        if (!how.parent)
            return tool_fail(t, &err);
        gh_image_info(how.parent, &info);
        how.parent_format = info.format;
        if (!how.bytes)
            how.bytes = info.bytes;
    }
    int r = gh_image_create_path(t->arg[0], &how, t->force, &err);
    gh_image_close(how.parent);
    if (r < 0)
        return tool_fail(t, &err);
    struct gh_image *img = gh_image_open_path(t->arg[0], &(struct gh_image_open_how){ .format = how.format, .unlocked = true, .top_only = true,
        .folder = t->allow }, &err);
    tell_space(t, img);
    gh_image_close(img);
    return 0;
}

static json_t *info_json(struct gh_image *img)
{
    struct gh_image_info i;
    gh_image_info(img, &i);
    json_t *j = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:b}", "file", gh_image_label(img), "format", i.format,
        "variant", i.variant, "bytes", (json_int_t)i.bytes, "file_bytes", (json_int_t)i.file_bytes, "used_bytes",
        (json_int_t)i.used_bytes, "cluster_bytes", (json_int_t)i.cluster_bytes, "dirty", i.dirty, "corrupt", i.corrupt);
    if (i.snapshots)
        json_object_set_new(j, "snapshots", json_integer(i.snapshots));
    if (i.uuid[0])
        json_object_set_new(j, "uuid", json_string(i.uuid));
    if (i.has_parent) {
        json_t *name = json_string(i.parent_name);
        json_object_set_new(j, "parent", name ? name : json_string_nocheck("?"));
        if (i.parent_format[0])
            json_object_set_new(j, "parent_format", json_string(i.parent_format));
        if (i.parent_uuid[0])
            json_object_set_new(j, "parent_uuid", json_string(i.parent_uuid));
    }
    return j;
}

static void info_text(struct gh_image *img)
{
    struct gh_image_info i;
    gh_image_info(img, &i);
    printf("file:         %s\nformat:       %s (%s)\nsize:         %.2f GiB (%llu bytes)\nfile size:    %llu bytes\non the host:  %llu bytes\n",
           gh_image_label(img), i.format, i.variant, (double)i.bytes / (1ull << 30), (unsigned long long)i.bytes,
           (unsigned long long)i.file_bytes, (unsigned long long)i.used_bytes);
    if (i.cluster_bytes)
        printf("cluster:      %llu bytes\n", (unsigned long long)i.cluster_bytes);
    if (i.uuid[0])
        printf("uuid:         %s\n", i.uuid);
    if (i.has_parent)
        printf("builds on:    %s%s%s\n", i.parent_name, i.parent_uuid[0] ? " " : "", i.parent_uuid);
    if (i.snapshots)
        printf("snapshots:    %u inside\n", i.snapshots);
    if (i.dirty || i.corrupt)
        printf("state:        %s\n", i.corrupt ? "marked as damaged" : "not closed properly");
}

int tool_info(struct tool *t)
{
    struct gh_error err = { 0 };
    /* The top alone: its parents may be gone, and that is worth showing. */
    struct gh_image *img = gh_image_open_path(t->arg[0], &(struct gh_image_open_how){ .format = t->from, .unlocked = true,
        .top_only = true, .folder = t->allow }, &err);
    if (!img)
        return tool_fail(t, &err);
    if (t->json)
        dump(info_json(img));
    else
        info_text(img);
    gh_image_close(img);
    return 0;
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
            tell_space(t, dst);
        gh_image_close(dst);
    }
    if (r < 0) {
        gh_image_draft_drop(d);
        return r;
    }
    return gh_image_draft_publish(d, err);
}

int tool_convert(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_image_create how = { .format = t->to ? t->to : "qcow2", .variant = t->variant, .cluster_bytes = t->cluster,
                                   .compression = t->compression };
    char in[PATH_MAX], out[PATH_MAX];
    if (realpath(t->arg[0], in) && realpath(t->arg[1], out) && !strcmp(in, out)) {
        gh_error_set(&err, -EINVAL, "FileSame", "“%s” cannot be converted onto itself.", t->arg[0]);
        return tool_fail(t, &err);
    }
    struct gh_image *src = open_image(t, t->arg[0], t->from, false, &err);
    if (!src)
        return tool_fail(t, &err);
    how.bytes = (gh_image_bytes(src) + 511) / 512 * 512;
    int r = copy_to(t, src, t->arg[1], &how, t->force ? GH_DRAFT_OVER : GH_DRAFT_NEW, how.compression != NULL, t->verify, &err);
    gh_image_close(src);
    return r < 0 ? tool_fail(t, &err) : 0;
}

int tool_check(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_check_report rep;
    struct gh_image *img = gh_image_open_path(t->arg[0], &(struct gh_image_open_how){ .format = t->from, .writable = t->repair,
        .repair = true, .top_only = true, .folder = t->allow }, &err);
    if (!img)
        return tool_fail(t, &err);
    int r = gh_image_check(img, t->repair, &rep, &err);
    int closed = gh_image_close(img);
    if (!r && closed < 0)
        r = gh_error_set(&err, closed, "DiskFlushFailed", "“%s” could not be completed: %s.", t->arg[0], strerror(-closed));
    if (r < 0)
        return tool_fail(t, &err);
    if (t->json)
        dump(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "checked", (json_int_t)rep.checked, "allocated",
            (json_int_t)rep.allocated, "errors", (json_int_t)rep.errors, "errors_fixed", (json_int_t)rep.errors_fixed,
            "leaks", (json_int_t)rep.leaks, "leaks_fixed", (json_int_t)rep.leaks_fixed, "first", rep.first));
    else if (!rep.errors && !rep.leaks)
        printf("No damage found (%llu checked).\n", (unsigned long long)rep.checked);
    else
        printf("%llu errors (%llu mended), %llu leaks (%llu mended). First: %s.\n", (unsigned long long)rep.errors,
               (unsigned long long)rep.errors_fixed, (unsigned long long)rep.leaks, (unsigned long long)rep.leaks_fixed, rep.first);
    return rep.errors > rep.errors_fixed || rep.leaks > rep.leaks_fixed;
}

int tool_resize(struct tool *t)
{
    struct gh_error err = { 0 };
    uint64_t bytes;
    bool plus = t->arg[1][0] == '+';
    if (!tool_size(t->arg[1] + plus, &bytes))
        return wrong_size(t, t->arg[1]);
    struct gh_image *img = open_image(t, t->arg[0], t->from, true, &err);
    if (!img)
        return tool_fail(t, &err);
    int r = gh_image_resize(img, (bytes + (plus ? gh_image_bytes(img) : 0) + 511) / 512 * 512, t->shrink, &err);
    if (!r)
        tell_space(t, img);
    gh_image_close(img);
    return r < 0 ? tool_fail(t, &err) : 0;
}

static bool has_packed(struct gh_image *img)
{
    struct gh_map m;
    for (uint64_t off = 0, bytes = gh_image_bytes(img); off < bytes && !gh_image_map(img, off, bytes - off, &m); off += m.bytes)
        if (m.kind == GH_MAP_PACKED)
            return true;
    return false;
}

/* How to make another one of the same kind. */
static struct gh_image_create same_kind(const struct gh_image_info *i)
{
    static const struct { const char *states, *variant; } vmdk[] = {
        { "twoGbMaxExtentSparse", "split-sparse" }, { "streamOptimized", "stream-optimized" },
    };
    struct gh_image_create how = { .format = i->format, .bytes = i->bytes, .cluster_bytes = strcmp(i->format, "raw") ? i->cluster_bytes : 0 };

    for (size_t k = 0; k < sizeof vmdk / sizeof *vmdk; k++)
        if (!strcmp(i->format, "vmdk") && !strcmp(i->variant, vmdk[k].states))
            how.variant = vmdk[k].variant;
    if (!strcmp(i->format, "qcow2")) {
        how.version = i->variant[1] == '2' ? 2 : 3;
        how.extended_l2 = strstr(i->variant, "extended L2");
        how.compression = strstr(i->variant, "zstd") ? "zstd" : NULL;
    }
    return how;
}

int tool_compact(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_image *src = open_image(t, t->arg[0], t->from, false, &err);
    if (!src)
        return tool_fail(t, &err);
    struct gh_image_info i;
    gh_image_info(src, &i);
    struct gh_image_create how = same_kind(&i);
    int r = 0;
    how.like = src;
    if (i.has_parent || i.snapshots)
        r = gh_error_set(&err, -EBUSY, "DiskHasSnapshots", "“%s” belongs to a tree of snapshots and cannot be rewritten alone.", t->arg[0]);
    if (!r)
        r = copy_to(t, src, t->arg[0], &how, GH_DRAFT_REWRITE, !strcmp(i.format, "qcow2") && !how.extended_l2 && has_packed(src), true, &err);
    gh_image_close(src);
    if (r < 0)
        gh_error_set(&err, r, "DiskCompactFailed", "“%s” could not be replaced: %s.", t->arg[0], strerror(-r));
    return r < 0 ? tool_fail(t, &err) : 0;
}

int tool_compare(struct tool *t)
{
    struct gh_error err = { 0 };
    uint64_t at = 0;
    struct gh_image *a = open_image(t, t->arg[0], t->from, false, &err);
    struct gh_image *b = a ? open_image(t, t->arg[1], t->to, false, &err) : NULL;
    struct gh_progress p = { tool_progress, t };
    int r = b ? gh_image_compare(a, b, &at, &p, &err) : -EIO;
    bool sizes = b && gh_image_bytes(a) != gh_image_bytes(b);
    gh_image_close(a);
    gh_image_close(b);
    if (r < 0)
        return tool_fail(t, &err);
    if (t->json)
        dump(json_pack("{s:b, s:b, s:I}", "same", r == 0, "same_size", !sizes, "first_difference", (json_int_t)(r ? at : 0)));
    else if (r)
        printf("They differ at byte %llu.\n", (unsigned long long)at);
    else
        printf("They are the same%s.\n", sizes ? ", but for the size: the rest is zeros" : "");
    return r;
}

int tool_map(struct tool *t)
{
    static const char *const kinds[] = { "hole", "zero", "data", "packed" };
    struct gh_error err = { 0 };
    struct gh_image *img = open_image(t, t->arg[0], t->from, false, &err);
    if (!img)
        return tool_fail(t, &err);
    json_t *list = t->json ? json_array() : NULL;
    struct gh_map run = { 0 }, m = { 0 };
    uint64_t start = 0, off = 0, bytes = gh_image_bytes(img);
    while (off <= bytes) {
        int r = off < bytes ? gh_image_map(img, off, bytes - off, &m) : 0;
        if (r < 0) {
            gh_error_set(&err, r, "DiskDamaged", "The map of “%s” is damaged at byte %llu.", t->arg[0], (unsigned long long)off);
            json_decref(list);
            gh_image_close(img);
            return tool_fail(t, &err);
        }
        bool joins = off < bytes && off > 0 && m.kind == run.kind && m.depth == run.depth &&
                     (m.kind != GH_MAP_DATA || m.file_offset == run.file_offset + run.bytes);
        if (!joins && off > 0) {
            if (list)
                json_array_append_new(list, json_pack("{s:I, s:I, s:s, s:i}", "start", (json_int_t)start, "length",
                    (json_int_t)run.bytes, "kind", kinds[run.kind], "depth", (int)run.depth));
            else
                printf("%16llu %16llu  %-6s  %u\n", (unsigned long long)start, (unsigned long long)run.bytes, kinds[run.kind], run.depth);
        }
        if (joins) {
            run.bytes += m.bytes;
        } else {
            run = m;
            start = off;
        }
        if (off == bytes)
            break;
        off += m.bytes;
    }
    if (list)
        dump(list);
    gh_image_close(img);
    return 0;
}

int tool_commit(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_image_info i = { 0 }, ti = { 0 };
    struct gh_image *top = gh_image_open_path(t->arg[0], &(struct gh_image_open_how){ .format = t->from, .unlocked = true,
        .folder = t->allow }, &err);
    if (!top)
        return tool_fail(t, &err);
    if (!gh_image_parent(top)) {
        gh_error_set(&err, -EINVAL, "DiskHasNoParent", "“%s” does not build on another disk.", t->arg[0]);
        gh_image_close(top);
        return tool_fail(t, &err);
    }
    gh_image_info(gh_image_parent(top), &i);
    char below[PATH_MAX];
    gh_image_info(top, &ti);
    snprintf(below, sizeof below, "%s", gh_image_label(gh_image_parent(top)));
    struct gh_image *base = open_image(t, below, i.format, true, &err);
    /* The top's own file, to say in it that its parent changes by our doing: whoever is interrupted can begin anew. Where it
     * may not be written, that is so for formats that know their parents by ids. */
    struct gh_image *mark = !base ? NULL : gh_image_open_path(t->arg[0], &(struct gh_image_open_how){ .format = ti.format, .writable = true,
        .top_only = true, .folder = t->allow }, NULL);
    struct gh_progress p = { tool_progress, t };
    int r = !base ? -EIO : mark ? gh_image_remember_parent(mark, NULL, &err) : 0;
    if (!r)
        r = gh_image_commit(top, base, &p, &err);
    if (base && gh_image_close(base) < 0 && !r)
        r = gh_error_set(&err, -EIO, "DiskFlushFailed", "The merged disk could not be confirmed; “%s” still holds its changes.", t->arg[0]);
    if (!r && mark) { /* the merged parent reads as the top does, so it may stay */
        base = open_image(t, below, i.format, false, &err);
        r = base ? gh_image_remember_parent(mark, base, &err) : -EIO;
        gh_image_close(base);
    }
    gh_image_close(mark);
    gh_image_close(top);
    return r < 0 ? tool_fail(t, &err) : 0;
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
    return r < 0 ? tool_fail(t, &err) : 0;
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
    struct gh_image *src = t->unsafe ? NULL : open_image(t, t->arg[0], t->from, false, &err), *base = NULL;
    int r = src ? 0 : -EIO;
    if (t->unsafe)
        gh_error_set(&err, -ENOTSUP, "DiskCannotRebase", "Changing only the reference is not offered: the content could not be trusted.");
    if (!r && t->parent) {
        const char *slash = strrchr(t->arg[0], '/');
        snprintf(path, sizeof path, "%.*s%s", t->parent[0] == '/' || !slash ? 0 : (int)(slash + 1 - t->arg[0]), t->arg[0], t->parent);
        base = open_image(t, path, t->parent_format, false, &err);
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
    struct gh_image_create how = same_kind(&i);
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
        base = t->parent ? open_image(t, path, t->parent_format, false, &err) : NULL;
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
    return r < 0 ? tool_fail(t, &err) : 0;
}

int tool_hash(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_progress p = { tool_progress, t };
    uint8_t digest[GH_IMAGE_HASH_BYTES];
    char text[GH_SHA256_TEXT];
    struct gh_image *img = open_image(t, t->arg[0], t->from, false, &err);
    if (!img)
        return tool_fail(t, &err);
    int r = gh_image_hash(img, t->plain, digest, &p, &err);
    uint64_t bytes = gh_image_bytes(img);
    gh_image_close(img);
    if (r < 0)
        return tool_fail(t, &err);
    const char *kind = t->plain ? "sha256" : "sha256-tree";
    gh_sha256_text(digest, text);
    if (t->json)
        dump(json_pack("{s:s, s:I, s:s, s:s}", "file", t->arg[0], "bytes", (json_int_t)bytes, "algorithm", kind, "hash", text));
    else
        printf("%s:%s  %s\n", kind, text, t->arg[0]);
    return 0;
}
