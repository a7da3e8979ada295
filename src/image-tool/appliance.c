/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gasthaus-image inspect, import, export: foreign machines, read behind the sandbox; ours, for others. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "appliance/disk.h"
#include "appliance/export.h"
#include "appliance/i18n.h"
#include "image-tool/sandbox.h"
#include "image-tool/tool.h"

enum { VERIFY_AT_ONCE_BYTES = 64 << 20 };

/* A folder's path for the sandbox: it exists, or nothing will be found there anyway. */
static void folder_of(const char *file, char out[PATH_MAX])
{
    if (!realpath(file, out))
        snprintf(out, PATH_MAX, "%s", file);
    char *slash = strrchr(out, '/');
    if (slash)
        slash[slash == out] = 0;
    else
        snprintf(out, PATH_MAX, ".");
}

static void limit_resources(rlim_t memory)
{
#ifndef GH_SANITIZE
    setrlimit(RLIMIT_AS, &(struct rlimit){ memory, memory });
#endif
}

static int read_all(struct tool *t, struct gh_package *p, struct gh_appliance **ret, struct gh_error *err)
{
    struct gh_appliance *a = gh_appliance_new();
    int r = a ? gh_package_open(p, t->arg[0], t->allow, err) : -ENOMEM;

    if (a && t->snapshot)
        gh_appliance_text(a->snapshot, sizeof a->snapshot, t->snapshot);
    if (a)
        a->system = t->system, a->in_place = t->in_place;
    if (!r)
        r = gh_read_description(p, a, err);
    if (!r && a->snapshot[0] && strcmp(a->kind, "vbox") && strcmp(a->kind, "vmx"))
        r = gh_error_set(err, -EINVAL, "SnapshotUnknown", "“%s” has no snapshots that can be chosen; VirtualBox's .vbox and VMware's .vmx may have.", t->arg[0]);
    if (!r)
        r = gh_media_locate(p, a, err);
    if (!r)
        r = gh_appliance_finish(a, p->stem, err);
    *ret = a;
    return r;
}

static void print_text(const struct gh_appliance *a, const char *dialect)
{
    static const struct { const char *kind, *title; } titles[] = {
        { "kept", N_("Kept:") }, { "changed", N_("Changed:") }, { "dropped", N_("Left out:") }, { "warning", N_("Look at:") },
    };

    printf("%s (%s%s%s)\n", a->name, a->kind, dialect[0] ? ", " : "", dialect);
    for (size_t k = 0; k < sizeof titles / sizeof *titles; k++) {
        bool any = false;
        for (unsigned i = 0; i < a->line_count; i++) {
            if (strcmp(a->lines[i].kind, titles[k].kind))
                continue;
            if (!any)
                printf("%s\n", _(titles[k].title));
            any = true;
            printf("  %s\n", a->lines[i].text);
        }
    }
    printf(_("Space needed: %.2f GiB\n"), (double)a->space_needed / (1ull << 30));
}

static int answer(struct tool *t, int r, struct gh_package *p, struct gh_appliance *a, const struct gh_error *err)
{
    if (!r && t->json) {
        json_t *j = gh_appliance_to_json(a);
        if (j)
            json_dumpf(j, stdout, JSON_INDENT(1));
        putchar('\n');
        json_decref(j);
    } else if (!r) {
        print_text(a, a->dialect);
    }
    gh_package_close(p);
    gh_appliance_free(a);
    return r ? tool_fail(t, err) : 0;
}

static void note_manifest(struct gh_appliance *a, const struct gh_package *p, bool found)
{
    if (found)
        gh_appliance_note(a, GH_KEPT, _("The checksums of the manifest are right."));
    else if (p->kind == GH_PACKAGE_OVA || p->kind == GH_PACKAGE_OVF)
        gh_appliance_note(a, GH_WARNING, _("Unverified: there is no manifest, so whether the files are complete and unchanged cannot be checked."));
}

int tool_inspect(struct tool *t)
{
    struct gh_package p = { .fd = -1 };
    struct gh_appliance *a = NULL;
    struct gh_error err = { 0 };
    char folder[PATH_MAX];
    bool found = false;

    folder_of(t->arg[0], folder);
    limit_resources(512ull << 20);
    setrlimit(RLIMIT_CPU, &(struct rlimit){ 60, 60 });
    int r = tool_sandbox((const char *[]){ folder, t->allow, NULL }, NULL, &err);
    if (!r)
        r = read_all(t, &p, &a, &err);
    if (!r && (p.kind == GH_PACKAGE_OVF || p.kind == GH_PACKAGE_OVA)) {
        uint64_t bytes;
        bool there = gh_manifest_find(&p, a, &bytes), now = bytes <= VERIFY_AT_ONCE_BYTES;
        if (now || !there)
            r = gh_manifest_check(&p, a, &found, NULL, NULL, &err);
        if (!r && there && !now)
            gh_appliance_note(a, GH_KEPT, _("The manifest, whose checksums are compared when the machine is imported."));
        else if (!r)
            note_manifest(a, &p, found);
    }
    return answer(t, r, &p, a, &err);
}

/* Checking takes the first part of the progress, copying the rest. */
struct stage { struct tool *t; unsigned from, to; };
static bool staged(void *opaque, uint64_t done, uint64_t total)
{
    struct stage *s = opaque;
    uint64_t here = total ? (uint64_t)((double)(s->to - s->from) * (double)done / (double)total) : 0;

    return tool_progress(s->t, s->from + (here > s->to - s->from ? s->to - s->from : here), 1000);
}

int tool_import(struct tool *t)
{
    struct gh_package p = { .fd = -1 };
    struct gh_appliance *a = NULL;
    struct gh_error err = { 0 };
    char folder[PATH_MAX], target[PATH_MAX];
    bool found = false;

    folder_of(t->arg[0], folder);
    if (!realpath(t->arg[1], target)) {
        gh_error_set(&err, -errno, "FolderUnreadable", "The folder “%s” cannot be opened: %s.", t->arg[1], strerror(errno));
        return tool_fail(t, &err);
    }
    limit_resources(2ull << 30);
    int r = tool_sandbox((const char *[]){ folder, t->allow, NULL }, (const char *[]){ target, NULL }, &err);
    if (!r)
        r = read_all(t, &p, &a, &err);
    if (!r) {
        struct stage s = { t, 0, 200 };
        uint64_t bytes;
        if (p.kind == GH_PACKAGE_OVF || p.kind == GH_PACKAGE_OVA)
            gh_manifest_find(&p, a, &bytes);
        r = gh_manifest_check(&p, a, &found, staged, &s, &err);
    }
    if (!r) {
        struct stage s = { t, found ? 200 : 0, 1000 };
        note_manifest(a, &p, found);
        r = gh_media_fetch(&p, a, target, t->in_place, &(struct gh_progress){ staged, &s }, &err);
    }
    return answer(t, r, &p, a, &err);
}

static int load_machine(struct gh_appliance **ret, struct gh_error *err)
{
    json_error_t e;
    json_t *j = json_loadf(stdin, JSON_REJECT_DUPLICATES, &e);
    int r = j ? gh_appliance_from_json(j, ret, err)
              : gh_error_set(err, -EINVAL, "ExportFailed", "The description of the machine is damaged: %s.", e.text);

    json_decref(j);
    return r;
}

int tool_export(struct tool *t)
{
    struct gh_appliance *a = NULL;
    struct gh_error err = { 0 };
    char out[PATH_MAX], target[PATH_MAX], folder[GH_APPLIANCE_MEDIA_MAX][PATH_MAX];
    const char *readable[GH_APPLIANCE_MEDIA_MAX + 2] = { NULL };
    unsigned n = 0;

    const char *slash = strrchr(t->arg[0], '/');
    folder_of(t->arg[0], target);
    if (!realpath(target, out) || strlen(out) + strlen(slash ? slash : t->arg[0]) + 2 > sizeof out) {
        gh_error_set(&err, -ENOENT, "FolderUnreadable", "The folder of “%s” cannot be opened.", t->arg[0]);
        return tool_fail(t, &err);
    }
    snprintf(target, sizeof target, "%s", out);
    strncat(out, "/", sizeof out - strlen(out) - 1);
    strncat(out, slash ? slash + 1 : t->arg[0], sizeof out - strlen(out) - 1);
    int r = load_machine(&a, &err);
    for (unsigned i = 0; !r && i < a->media_count; i++)
        if (a->media[i].path) {
            folder_of(a->media[i].path, folder[n]);
            readable[n] = folder[n];
            n++;
        }
    readable[n] = t->allow;
    limit_resources(2ull << 30);
    if (!r)
        r = tool_sandbox(readable, (const char *[]){ target, NULL }, &err);
    if (!r)
        r = gh_export_run(&(struct gh_export){ .a = a, .out = out, .version = t->ovf == 2 ? 2 : 1, .allow = t->allow, .force = t->force,
                                               .progress = &(struct gh_progress){ tool_progress, t } }, &err);
    gh_appliance_free(a);
    return r ? tool_fail(t, &err) : 0;
}

/* ---- Media: many images at once, for the daemon's list ---------------------------------------------------- */
/* The files beside the first one's, such as VMDK's extents. */
static int take_parts(void *opaque, const struct gh_image_spec *file)
{
    json_t *parts = opaque;
    const char *slash = strrchr(file->label, '/');

    for (unsigned i = 0; i < file->part_count; i++) {
        char joined[PATH_MAX], real[PATH_MAX];
        int n = snprintf(joined, sizeof joined, "%.*s%s", file->parts[i].name[0] == '/' || !slash ? 0 : (int)(slash + 1 - file->label), file->label,
                         file->parts[i].name);
        if (n < (int)sizeof joined && realpath(joined, real))
            json_array_append_new(parts, json_string(real));
        close(file->parts[i].fd);
    }
    close(file->fd);
    return 0;
}

static void add_parts(json_t *j, const char *path)
{
    struct gh_error ignored = { 0 };
    json_t *parts = json_array();

    gh_image_resolve_path(path, &(struct gh_image_open_how){ .format = "vmdk", .unlocked = true, .top_only = true }, take_parts, parts, &ignored);
    if (json_array_size(parts))
        json_object_set(j, "parts", parts);
    json_decref(parts);
}

static json_t *survey_one(const char *path, const char *format)
{
    struct gh_error err = { 0 };
    struct gh_image_info i;
    json_t *j = json_pack("{s:s}", "path", path);
    struct gh_image_open_how how = { .format = format, .unlocked = true };
    struct gh_image *img = gh_image_open_path(path, &how, &err);

    if (!img) { /* a parent may be changed or gone: what is there still says much */
        struct gh_error again = { 0 };
        json_object_set_new(j, "error", json_pack("{s:s, s:s, s:s}", "id", err.id, "text", err.text, "message", err.message));
        how.accept_parent = true;
        img = gh_image_open_path(path, &how, &again);
        how.top_only = true;
        if (!img)
            img = gh_image_open_path(path, &how, &again);
    }
    if (!img)
        return j;
    gh_image_info(img, &i);
    json_object_set_new(j, "format", json_string(i.format));
    json_object_set_new(j, "variant", json_string(i.variant));
    json_object_set_new(j, "bytes", json_integer((json_int_t)i.bytes));
    json_object_set_new(j, "file_bytes", json_integer((json_int_t)i.file_bytes));
    json_object_set_new(j, "used_bytes", json_integer((json_int_t)i.used_bytes));
    json_object_set_new(j, "snapshots", json_integer(i.snapshots));
    json_object_set_new(j, "needs_parent", json_boolean(i.has_parent));
    json_t *chain = json_array();
    for (struct gh_image *p = gh_image_parent(img); p; p = gh_image_parent(p))
        json_array_append_new(chain, tool_text(gh_image_label(p)));
    json_object_set_new(j, "chain", chain);
    if (!strcmp(i.format, "vmdk"))
        add_parts(j, path);
    gh_image_close(img);
    return j;
}

int tool_survey(struct tool *t)
{
    json_t *list = json_loadf(stdin, 0, NULL), *item, *out = json_array();
    const char *readable[65] = { NULL };
    static char folder[64][PATH_MAX];
    unsigned n = 0;
    size_t i;
    struct gh_error err = { 0 };

    json_array_foreach(list, i, item) {
        const char *path = json_string_value(json_object_get(item, "path"));
        bool known = !path || n == 64;
        if (!known)
            folder_of(path, folder[n]);
        for (unsigned k = 0; !known && k < n; k++)
            known = !strcmp(folder[k], folder[n]);
        if (!known) {
            readable[n] = folder[n];
            n++;
        }
    }
    limit_resources(512ull << 20);
    setrlimit(RLIMIT_CPU, &(struct rlimit){ 60, 60 });
    if (tool_sandbox(readable, NULL, &err) < 0) {
        json_decref(list);
        json_decref(out);
        return tool_fail(t, &err);
    }
    json_array_foreach(list, i, item) {
        const char *path = json_string_value(json_object_get(item, "path")), *format = json_string_value(json_object_get(item, "format"));
        if (path)
            json_array_append_new(out, survey_one(path, format));
    }
    json_dumpf(out, stdout, 0);
    putchar('\n');
    json_decref(out);
    json_decref(list);
    return 0;
}
