/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/sha256.h"
#include "disk/draft.h"
#include "image-tool/tool.h"

/* An error page, or half a download, under the name of an image: its bytes are a raw disk, but hardly the one that is meant. */
static void tell_misnamed(struct tool *t, const char *path, struct gh_image *img)
{
    static const char *const endings[] = { ".vmdk", ".vdi", ".vhd", ".vhdx", ".qcow2", ".qed" };
    struct gh_error note = { 0 };
    struct gh_image_info info;
    const char *dot = strrchr(path, '.');
    size_t n = strlen(path);

    gh_image_info(img, &info);
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(dot, endings[i]) && !strcmp(info.format, "raw") && !(n > 10 && !strcasecmp(path + n - 10, "-flat.vmdk"))) {
            gh_error_set(&note, -EINVAL, "DiskMisnamed", "“%s” is no image of the kind that its name says; its bytes are taken as they are.", path);
            tool_note(t, &note);
        }
}

struct gh_image *tool_open(struct tool *t, const char *path, const char *format, bool writable, struct gh_error *err)
{
    struct gh_image *img = gh_image_open_path(path, &(struct gh_image_open_how){ .format = format, .writable = writable, .folder = t->allow }, err);
    if (img && !format)
        tell_misnamed(t, path, img);
    return img;
}

struct gh_image *tool_open_whole(struct tool *t, const char *path, const char *format, struct gh_error *err)
{
    struct gh_image *img = tool_open(t, path, format, false, err);
    if (img && gh_image_is_cut(img)) {
        gh_error_set(err, -EUCLEAN, "DiskDamaged", "“%s” is damaged: %s. Get it again, or mend it (gasthaus-image check --repair).", path,
                     GH_WORD("its end is missing"));
        gh_image_close(img);
        return NULL;
    }
    return img;
}

void tool_dump(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(j);
}

int tool_wrong_size(struct tool *t, const char *text)
{
    struct gh_error err = { 0 };
    gh_error_set(&err, -EINVAL, "DiskSizeInvalid", "“%s” is not a size. Write 20G, 512M or a number of bytes.", text);
    return tool_fail(t, &err);
}

/* The image may become larger than what its file system has left: worth knowing before a machine fills it. A note. */
void tool_tell_space(struct tool *t, struct gh_image *img)
{
    struct gh_error note = { 0 };
    uint64_t growth, left;

    if (!img || gh_image_space(img, &growth, &left) < 0 || growth <= left)
        return;
    gh_error_set(&note, -ENOSPC, "DiskMayOutgrowHost", "“%s” may grow by %llu MiB, but only %llu MiB are left where it lies. Keep space free, or move "
                 "it before it is full.", gh_image_label(img), (unsigned long long)(growth >> 20), (unsigned long long)(left >> 20));
    tool_note(t, &note);
}

int tool_check_options(const struct tool *t, const char *format, struct gh_error *err)
{
    bool qcow2 = !strcmp(format, "qcow2"), stream = t->variant && !strcmp(t->variant, "stream-optimized");
    if (t->cluster && !qcow2 && strcmp(format, "vhdx"))
        return gh_error_set(err, -EINVAL, "DiskClusterInvalid", "The size of clusters can be chosen for qcow2 and vhdx only, not for %s.", format);
    if (t->compression && strcmp(t->compression, "zlib") && strcmp(t->compression, "zstd"))
        return gh_error_set(err, -EINVAL, "DiskNoCompression", "“%s” is not a compression that is known here. Use zlib or zstd.", t->compression);
    if (t->compression && !qcow2 && !(stream && !strcmp(format, "vmdk") && !strcmp(t->compression, "zlib")))
        return gh_error_set(err, -ENOTSUP, "DiskNoCompression", "A %s image cannot hold compressed clusters. Use qcow2, or vmdk with the variant stream-optimized.",
                            format);
    return 0;
}

int tool_create(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_image_create how = { .format = t->to ? t->to : t->from ? t->from : "qcow2", .variant = t->variant,
        .cluster_bytes = t->cluster, .compression = t->compression, .parent_name = t->parent, .parent_format = t->parent_format };
    if (!tool_size(t->arg[1], &how.bytes))
        return tool_wrong_size(t, t->arg[1]);
    if (tool_check_options(t, how.format, &err) < 0)
        return tool_fail(t, &err);
    how.bytes = (how.bytes + 511) / 512 * 512;
    struct gh_image_info info = { 0 };
    if (t->parent) {
        char path[PATH_MAX];
        const char *slash = strrchr(t->arg[0], '/');
        snprintf(path, sizeof path, "%.*s%s", t->parent[0] == '/' || !slash ? 0 : (int)(slash + 1 - t->arg[0]), t->arg[0], t->parent);
        how.parent = tool_open(t, path, t->parent_format, false, &err);
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
    tool_tell_space(t, img);
    gh_image_close(img);
    return tool_done(t, t->arg[0], how.format);
}

static json_t *info_json(struct gh_image *img)
{
    struct gh_image_info i;
    gh_image_info(img, &i);
    json_t *j = json_pack("{s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:b}", "file", tool_text(gh_image_label(img)), "format", i.format,
        "variant", i.variant, "bytes", (json_int_t)i.bytes, "file_bytes", (json_int_t)i.file_bytes, "used_bytes",
        (json_int_t)i.used_bytes, "cluster_bytes", (json_int_t)i.cluster_bytes, "dirty", i.dirty, "corrupt", i.corrupt);
    if (i.snapshots)
        json_object_set_new(j, "snapshots", json_integer(i.snapshots));
    if (i.uuid[0])
        json_object_set_new(j, "uuid", json_string(i.uuid));
    if (i.has_parent) {
        json_object_set_new(j, "parent", tool_text(i.parent_name));
        if (i.parent_format[0])
            json_object_set_new(j, "parent_format", tool_text(i.parent_format));
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

int tool_done(struct tool *t, const char *path, const char *format)
{
    if (!t->json)
        return 0;
    struct gh_image *img = gh_image_open_path(path, &(struct gh_image_open_how){ .format = format, .unlocked = true, .top_only = true,
        .folder = t->allow }, NULL);
    tool_dump(img ? info_json(img) : json_pack("{s:o}", "file", tool_text(path)));
    gh_image_close(img);
    return 0;
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
        tool_dump(info_json(img));
    else
        info_text(img);
    gh_image_close(img);
    return 0;
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
        tool_dump(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "checked", (json_int_t)rep.checked, "allocated",
            (json_int_t)rep.allocated, "errors", (json_int_t)rep.errors, "errors_fixed", (json_int_t)rep.errors_fixed,
            "leaks", (json_int_t)rep.leaks, "leaks_fixed", (json_int_t)rep.leaks_fixed, "first", tool_text(rep.first)));
    else if (!rep.errors && !rep.leaks)
        printf("No damage found (%llu checked).\n", (unsigned long long)rep.checked);
    else
        printf("%llu errors (%llu mended), %llu leaks (%llu mended). First: %s.\n", (unsigned long long)rep.errors,
               (unsigned long long)rep.errors_fixed, (unsigned long long)rep.leaks, (unsigned long long)rep.leaks_fixed, rep.first);
    return rep.errors > rep.errors_fixed || rep.leaks > rep.leaks_fixed;
}

int tool_compare(struct tool *t)
{
    struct gh_error err = { 0 };
    uint64_t at = 0;
    struct gh_image *a = tool_open(t, t->arg[0], t->from, false, &err);
    struct gh_image *b = a ? tool_open(t, t->arg[1], t->to, false, &err) : NULL;
    struct gh_progress p = { tool_progress, t };
    int r = b ? gh_image_compare(a, b, &at, &p, &err) : -EIO;
    bool sizes = b && gh_image_bytes(a) != gh_image_bytes(b);
    gh_image_close(a);
    gh_image_close(b);
    if (r < 0)
        return tool_fail(t, &err);
    if (t->json)
        tool_dump(json_pack("{s:b, s:b, s:I}", "same", r == 0, "same_size", !sizes, "first_difference", (json_int_t)(r ? at : 0)));
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
    struct gh_image *img = tool_open(t, t->arg[0], t->from, false, &err);
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
            if (list) {
                json_t *one = json_pack("{s:I, s:I, s:s, s:i}", "start", (json_int_t)start, "length", (json_int_t)run.bytes, "kind",
                                        kinds[run.kind], "depth", (int)run.depth);
                if (run.kind == GH_MAP_DATA)
                    json_object_set_new(one, "offset", json_integer((json_int_t)run.file_offset));
                json_array_append_new(list, one);
            }
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
        tool_dump(list);
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
    if (gh_image_is_cut(top)) {
        gh_error_set(&err, -EUCLEAN, "DiskDamaged", "“%s” is damaged: %s. Get it again, or mend it (gasthaus-image check --repair).", t->arg[0],
                     GH_WORD("its end is missing"));
        gh_image_close(top);
        return tool_fail(t, &err);
    }
    if (!gh_image_parent(top)) {
        gh_error_set(&err, -EINVAL, "DiskHasNoParent", "“%s” does not build on another disk.", t->arg[0]);
        gh_image_close(top);
        return tool_fail(t, &err);
    }
    gh_image_info(gh_image_parent(top), &i);
    char below[PATH_MAX];
    gh_image_info(top, &ti);
    snprintf(below, sizeof below, "%s", gh_image_label(gh_image_parent(top)));
    struct gh_image *base = tool_open(t, below, i.format, true, &err);
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
        base = tool_open(t, below, i.format, false, &err);
        r = base ? gh_image_remember_parent(mark, base, &err) : -EIO;
        gh_image_close(base);
    }
    gh_image_close(mark);
    gh_image_close(top);
    return r < 0 ? tool_fail(t, &err) : tool_done(t, below, i.format);
}

int tool_hash(struct tool *t)
{
    struct gh_error err = { 0 };
    struct gh_progress p = { tool_progress, t };
    uint8_t digest[GH_IMAGE_HASH_BYTES];
    char text[GH_SHA256_TEXT];
    struct gh_image *img = tool_open(t, t->arg[0], t->from, false, &err);
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
        tool_dump(json_pack("{s:o, s:I, s:s, s:s}", "file", tool_text(t->arg[0]), "bytes", (json_int_t)bytes, "algorithm", kind, "hash", text));
    else
        printf("%s:%s  %s\n", kind, text, t->arg[0]);
    return 0;
}
